//! What the kernel needs from the machine, once for RISC-V and once for tests on the host.
//!
//! The rest of the kernel names items of this module only; no other file asks what it is
//! compiled for.

#[cfg(not(target_os = "none"))]
mod host;
#[cfg(target_os = "none")]
mod riscv;

#[cfg(not(target_os = "none"))]
pub use host::*;
#[cfg(target_os = "none")]
pub use riscv::*;
