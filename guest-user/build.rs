//! Links every program with `user.ld`.

fn main() {
    println!("cargo::rerun-if-changed=user.ld");
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("none") {
        let dir = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for build scripts");
        println!("cargo::rustc-link-arg-bins=-T{dir}/user.ld");
        // Segments need page-aligned addresses, not page-aligned file offsets: no padding.
        println!("cargo::rustc-link-arg-bins=--nmagic");
    }
}
