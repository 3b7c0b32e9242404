//! xv6 in Rust: a small Unix-like kernel for RISC-V, binary compatible with MIT's xv6-riscv.
//!
//! Everything but `main.rs` is this library. What is not tied to the machine is tested on the
//! host: there `arch` is a stub, a page of physical memory is a host allocation, and a physical
//! address is the value of a pointer.
#![no_std]

#[cfg(not(target_os = "none"))]
extern crate std;

pub mod arch;
pub mod boot;
pub mod console;
pub mod dev;
pub mod exec;
pub mod fs;
pub mod kvm;
pub mod mm;
pub mod print;
pub mod proc;
pub mod stack;
pub mod sync;
pub mod syscall;
pub mod trap;
