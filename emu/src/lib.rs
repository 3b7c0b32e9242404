//! A full-system RISC-V machine (RV64GC, Sv39/48/57) that shows what virtual memory does.
pub mod board;
pub mod bus;
pub mod cli;
pub mod console;
mod debug;
pub mod dev;
pub mod fdt;
pub mod float;
pub mod gdb;
pub mod inspect;
pub mod loader;
pub mod machine;
pub mod mem;
pub mod monitor;
pub mod symbols;
pub mod term;
pub mod trace;
