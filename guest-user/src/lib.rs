//! `ulib`: what every user program stands on. System calls, formatted output, a heap, strings.
//!
//! It keeps xv6's habits: calls return a negative number when they fail, file descriptors are
//! small integers, paths end in NUL. Programs that use only calls 1–21 run on MIT's C kernel too.
//! A process has one thread and a stack of one page: large arrays belong into statics
//! ([`Scratch`]), not on the stack.
#![no_std]

mod alloc;
mod cell;
mod file;
mod io;
mod memory;
mod process;
pub mod prodcons;
pub mod shared;
mod start;
mod string;
pub mod sys;

pub use abi::fcntl::*;
pub use abi::mman::*;
pub use alloc::{free, malloc};
pub use cell::Scratch;
pub use file::*;
pub use io::*;
pub use memory::*;
pub use process::*;
pub use start::{Args, start};
pub use string::*;
