//! What the kernel needs from the machine, once for RISC-V and once for tests on the host.
//!
//! The rest of the kernel names items of this module only; no other file asks what it is
//! compiled for.

mod context;
mod frame;
#[cfg(not(target_os = "none"))]
mod host;
#[cfg(target_os = "none")]
mod riscv;

pub use context::Context;
pub use frame::TrapFrame;
#[cfg(not(target_os = "none"))]
pub use host::*;
#[cfg(target_os = "none")]
pub use riscv::*;

/// What the hart tells about a trap.
#[derive(Clone, Copy, Debug)]
pub struct Trap {
    /// `scause`.
    pub cause: u64,
    /// `stval`: the address or instruction that the trap is about.
    pub value: u64,
    /// `sepc`: where the hart was.
    pub pc: u64,
    /// `sstatus`: which mode the hart was in, and what `sret` will do.
    pub status: u64,
}

/// `sstatus.SPP`: the mode a trap came from, and `sret` goes to (0 is U mode).
const SSTATUS_SPP: u64 = 1 << 8;

impl Trap {
    /// Whether the hart was in user mode.
    pub fn from_user(&self) -> bool {
        self.status & SSTATUS_SPP == 0
    }
}

/// Where the parts of the kernel in memory end; each at a page boundary.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Code, from the start of memory.
    pub text_end: u64,
    /// Constants.
    pub rodata_end: u64,
    /// Variables; free memory begins here.
    pub end: u64,
}
