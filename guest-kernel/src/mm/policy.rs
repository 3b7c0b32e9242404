//! Switches that change what the memory system does, not what it promises: the boot flags.

use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// The memory system's boot flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `sbrk=lazy`: `sbrk` promises pages even when it is asked for eager ones.
    pub lazy_sbrk: bool,
    /// `fork=cow`: parent and child share frames until one writes.
    pub cow_fork: bool,
    /// `kmalloc_panic=1`: an oversized `kmalloc(2)` reaches the allocator's panic.
    pub kmalloc_panic: bool,
}

static LAZY_SBRK: AtomicBool = AtomicBool::new(true);
static COW_FORK: AtomicBool = AtomicBool::new(true);
static KMALLOC_PANIC: AtomicBool = AtomicBool::new(false);

/// The policy in force.
pub fn policy() -> Policy {
    Policy {
        lazy_sbrk: LAZY_SBRK.load(Relaxed),
        cow_fork: COW_FORK.load(Relaxed),
        kmalloc_panic: KMALLOC_PANIC.load(Relaxed),
    }
}

/// Puts another policy in force: at boot, from the flags.
pub fn set_policy(policy: Policy) {
    LAZY_SBRK.store(policy.lazy_sbrk, Relaxed);
    COW_FORK.store(policy.cow_fork, Relaxed);
    KMALLOC_PANIC.store(policy.kmalloc_panic, Relaxed);
}
