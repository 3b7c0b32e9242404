//! Links the image with `bench.ld`.

fn main() {
    println!("cargo::rerun-if-changed=bench.ld");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts");
        println!("cargo::rustc-link-arg-bins=-T{dir}/bench.ld");
    }
}
