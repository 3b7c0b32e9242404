//! A full-system RISC-V machine (RV64GC, Sv39/48/57) that shows what virtual memory does.
pub mod float;
pub mod trace;
