//! Memory: frames, page tables, address spaces, the fault function.
//!
//! From the bottom up: [`frame`] counts who owns each frame of physical memory; [`pagetable`]
//! maps frames and owns what it maps; [`region`] says what is promised where; [`aspace`] is a
//! process's table and regions together. [`fault`] is the one place where a promise becomes a
//! page, for user mode and for [`copy`] alike. The remaining modules are system calls on top.

pub mod aspace;
mod carve;
pub mod copy;
pub mod fault;
pub mod file;
mod fork;
pub mod frame;
pub mod inspect;
pub mod kmalloc;
mod load;
pub mod mmap;
#[cfg(feature = "mutants")]
pub mod mutants;
pub mod pagetable;
pub mod pagevec;
mod policy;
pub mod region;
mod sbrk;
pub mod sem;
pub mod shared;
mod sharedpage;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod testing;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use aspace::AddressSpace;
pub use fault::{Kill, Resolved};
pub use frame::{Frame, Owner};
pub use policy::{Policy, policy, set_policy};
pub use region::{Access, Prot};

use core::ops::Range;

use abi::layout::{PGSIZE, TRAPFRAME};

/// One beyond the last address that a process can have memory at.
pub const USER_END: u64 = TRAPFRAME;

/// Why a memory call failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MmError {
    /// The arguments make no sense for this address space.
    Invalid,
    /// Memory is used up; nothing was changed.
    OutOfMemory,
}

/// The page that contains `va`.
pub fn page_down(va: u64) -> u64 {
    va - va % PGSIZE
}

/// The first page boundary at or above `va`, which lies in user space.
pub fn page_up(va: u64) -> u64 {
    va.next_multiple_of(PGSIZE)
}

/// The pages that `bytes` bytes at the page boundary `start` need, if they lie in user space.
pub fn user_pages(start: u64, bytes: u64) -> Option<Range<u64>> {
    let end = start.checked_add(bytes).filter(|&end| end <= USER_END)?;
    (start.is_multiple_of(PGSIZE) && bytes > 0).then(|| start..page_up(end))
}
