//! The machine: a RISC-V hart with S mode, Sv39 and Sstc.

mod csr;
mod hint;
mod mmio;

pub use csr::*;
pub use hint::hint;
pub use mmio::*;

/// Number of harts that [`hart_id`] may tell apart.
pub const MAX_HARTS: usize = abi::param::NCPU;
