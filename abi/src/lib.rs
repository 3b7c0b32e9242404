//! What two sides must agree on: the kernel and its programs, the kernel and the image tools,
//! the guest and the emulator's trace.
//!
//! No dependencies, no `unsafe`, no I/O. The numbers of system calls 1–21, `struct stat`,
//! `struct dirent`, the open flags and the on-disk format are those of MIT's xv6-riscv (2025),
//! so that binaries and images can be exchanged with it.
#![no_std]
#![forbid(unsafe_code)]

pub mod fcntl;
pub mod fs;
pub mod hint;
pub mod layout;
pub mod mman;
pub mod param;
pub mod stat;
pub mod syscall;
