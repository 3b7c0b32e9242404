//! The image: `-append "NAME ITERATIONS"` chooses a workload. It runs in S-mode with Sv39 on,
//! prints a checksum and ends the machine; without a name it prints all names.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod machine;

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is an image for riscv64gc-unknown-none-elf: cargo xtask bench");
    std::process::exit(1);
}
