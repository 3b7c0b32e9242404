//! The machine: a RISC-V hart with S mode, Sv39 and Sstc.

mod csr;
mod hint;

pub use csr::*;
pub use hint::hint;

/// Number of harts that [`hart_id`] may tell apart.
pub const MAX_HARTS: usize = abi::param::NCPU;
