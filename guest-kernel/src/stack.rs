//! The kernel's stacks: one for each hart's scheduler, one for each process slot.
//!
//! They are part of the kernel's own memory, so that addresses on them are physical addresses
//! that a device can be given. The page below each stack is left out of the kernel's page table,
//! and a stack with its guard page fills an aligned [`STRIDE`]: so the trap vector sees from the
//! stack pointer alone that a stack has overflowed.

use core::cell::UnsafeCell;

use abi::layout::PGSIZE;
use abi::param::{NCPU, NPROC};

/// Pages of a stack. All of MIT's usertests use less than half of it.
const PAGES: usize = 3;
/// Distance between stacks: a guard page and the stack.
pub const STRIDE: usize = (PAGES + 1) * PGSIZE as usize;
const _: () = assert!(STRIDE.is_power_of_two());

/// An array of stacks, each above its guard page.
#[repr(C, align(16384))]
pub struct Stacks<const N: usize>(UnsafeCell<[[u8; STRIDE]; N]>);

// SAFETY: nothing refers to the bytes but the stack pointer of the one thread that owns them.
unsafe impl<const N: usize> Sync for Stacks<N> {}

/// Where a hart says that its stack has overflowed.
pub static LAST_STACK: Stacks<1> = Stacks::new();
/// The stacks on which harts boot and then schedule.
pub static HART_STACKS: Stacks<NCPU> = Stacks::new();
/// The stacks of processes, by slot.
pub static PROC_STACKS: Stacks<NPROC> = Stacks::new();

impl<const N: usize> Stacks<N> {
    const fn new() -> Self {
        Stacks(UnsafeCell::new([[0; STRIDE]; N]))
    }

    fn base(&self, index: usize) -> u64 {
        assert!(index < N, "no such stack");
        (self.0.get().addr() + index * STRIDE) as u64
    }

    /// The first stack pointer of a stack.
    pub fn top(&self, index: usize) -> u64 {
        self.base(index) + STRIDE as u64
    }

    /// Whether the page at this address is a guard page of one of the stacks.
    pub fn is_guard(&self, page: u64) -> bool {
        let offset = page.wrapping_sub(self.base(0));
        offset < (N * STRIDE) as u64 && offset % (STRIDE as u64) < PGSIZE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_stack_is_above_its_guard_page() {
        for slot in 0..NPROC {
            let top = PROC_STACKS.top(slot);
            for page in 1..=PAGES as u64 {
                assert!(!PROC_STACKS.is_guard(top - page * PGSIZE));
            }
            assert!(PROC_STACKS.is_guard(top - (PAGES as u64 + 1) * PGSIZE));
        }
        assert!(!PROC_STACKS.is_guard(PROC_STACKS.top(NPROC - 1)));
        assert!(!HART_STACKS.is_guard(HART_STACKS.base(0) - PGSIZE));
        assert!(HART_STACKS.base(0).is_multiple_of(STRIDE as u64));
    }
}
