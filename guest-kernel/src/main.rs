//! The kernel's image: the library, its entry code, and what to do when it finds a bug in itself.
#![cfg_attr(target_os = "none", no_std, no_main)]

#[cfg(target_os = "none")]
mod image {
    use core::panic::PanicInfo;

    use guest_kernel::{boot, print};

    #[panic_handler]
    fn panic(info: &PanicInfo<'_>) -> ! {
        print::print_panic(&info.message(), info.location());
        boot::after_panic()
    }
}

#[cfg(not(target_os = "none"))]
fn main() {
    eprintln!("this is a kernel for riscv64gc-unknown-none-elf: cargo xtask boot");
    std::process::exit(1);
}
