//! `malloc` and `free` after Kernighan and Ritchie, *The C Programming Language*, section 8.7:
//! a circular list of free blocks in the order of addresses, first fit from where the last
//! search ended, neighbours joined when a block comes back.
//!
//! Sizes are counted in units of a header; memory comes from `sbrk` in pieces of at least 4096
//! units, and is never returned to the kernel. It is the global allocator as well.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::ptr::null_mut;

use crate::memory::sbrk;
use crate::{eprintln, exit};

/// What stands before each block; 16 bytes, which is the alignment of every block.
#[repr(C, align(16))]
struct Header {
    next: *mut Header,
    units: usize,
}

const UNIT: usize = size_of::<Header>();
const MIN_GROWTH: usize = 4096;

struct Heap {
    /// The empty block at which the list begins.
    base: UnsafeCell<Header>,
    /// Where the next search starts; null before the first.
    cursor: Cell<*mut Header>,
}

// SAFETY: a process has one thread.
unsafe impl Sync for Heap {}

static HEAP: Heap = Heap {
    base: UnsafeCell::new(Header { next: null_mut(), units: 0 }),
    cursor: Cell::new(null_mut()),
};

impl Heap {
    /// A block of at least this many bytes, null when there is no memory.
    fn allocate(&self, bytes: usize) -> *mut u8 {
        let Some(rounded) = bytes.checked_next_multiple_of(UNIT) else {
            return null_mut();
        };
        let units = rounded / UNIT + 1;
        let base = self.base.get();
        // SAFETY: `base` lives in a static; every other header on the list lies in memory that
        // sbrk gave to this heap, and nobody else writes there while the block is free.
        unsafe {
            if self.cursor.get().is_null() {
                (*base).next = base;
                self.cursor.set(base);
            }
            let mut previous = self.cursor.get();
            let mut block = (*previous).next;
            loop {
                if (*block).units >= units {
                    return self.cut(previous, block, units);
                }
                if block == self.cursor.get() {
                    if !self.grow(units) {
                        return null_mut();
                    }
                    block = self.cursor.get();
                }
                previous = block;
                block = (*block).next;
            }
        }
    }

    /// Takes `units` from the end of the free block that follows `previous`.
    ///
    /// # Safety
    ///
    /// Both must be on the list, neighbours, and the block large enough.
    unsafe fn cut(&self, previous: *mut Header, mut block: *mut Header, units: usize) -> *mut u8 {
        // SAFETY: the caller's promise; the tail of a free block is ours to make a header in.
        unsafe {
            if (*block).units == units {
                (*previous).next = (*block).next;
            } else {
                (*block).units -= units;
                block = block.add((*block).units);
                (*block).units = units;
            }
            self.cursor.set(previous);
            block.add(1).cast()
        }
    }

    /// Gets at least `units` more from the kernel and puts them on the list.
    fn grow(&self, units: usize) -> bool {
        let units = units.max(MIN_GROWTH);
        // sbrk takes a 32-bit number; more than that is more than there is.
        let Some(bytes) = units.checked_mul(UNIT).and_then(|bytes| i32::try_from(bytes).ok())
        else {
            return false;
        };
        // The break may be odd: one unit more than asked for is lost to alignment at most.
        let misaligned = crate::brk() % UNIT;
        if misaligned != 0 && sbrk((UNIT - misaligned) as isize).is_none() {
            return false;
        }
        let Some(start) = sbrk(bytes as isize) else {
            return false;
        };
        let block = start as *mut Header;
        // SAFETY: this memory is new, aligned, and `units` long.
        unsafe {
            (*block).units = units;
            self.release(block.add(1).cast());
        }
        true
    }

    /// Puts a block back and joins it with free neighbours.
    ///
    /// # Safety
    ///
    /// The block must come from `allocate` (or `grow`) and must not be used any more.
    unsafe fn release(&self, start: *mut u8) {
        // SAFETY: the header stands before the block; the list is sound (see `allocate`).
        unsafe {
            let block = start.cast::<Header>().sub(1);
            let mut before = self.cursor.get();
            while !(block > before && block < (*before).next) {
                let wraps = before >= (*before).next;
                if wraps && (block > before || block < (*before).next) {
                    break;
                }
                before = (*before).next;
            }
            let after = (*before).next;
            if block.add((*block).units) == after {
                (*block).units += (*after).units;
                (*block).next = (*after).next;
            } else {
                (*block).next = after;
            }
            if before.add((*before).units) == block {
                (*before).units += (*block).units;
                (*before).next = (*block).next;
            } else {
                (*before).next = block;
            }
            self.cursor.set(before);
        }
    }
}

/// Memory for `bytes` bytes, aligned to 16; null when there is none.
pub fn malloc(bytes: usize) -> *mut u8 {
    HEAP.allocate(bytes)
}

/// Gives a block back; null is nothing.
///
/// # Safety
///
/// The block must come from [`malloc`] and must not be used any more.
pub unsafe fn free(block: *mut u8) {
    if !block.is_null() {
        // SAFETY: the caller's promise.
        unsafe { HEAP.release(block) }
    }
}

/// The heap as Rust's allocator.
struct Malloc;

// SAFETY: blocks do not overlap, stay until freed, and are aligned to a header's 16 bytes.
unsafe impl GlobalAlloc for Malloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let block = if layout.align() > UNIT { null_mut() } else { malloc(layout.size()) };
        if block.is_null() {
            // Nobody who uses `Box` or `Vec` is ready for this.
            eprintln!("out of memory");
            exit(1);
        }
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, _layout: Layout) {
        // SAFETY: the block came from `alloc`.
        unsafe { free(block) }
    }
}

#[global_allocator]
static ALLOCATOR: Malloc = Malloc;
