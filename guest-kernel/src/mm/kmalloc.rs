//! `kmalloc`: objects of 1 to 4096 bytes, after Kernighan and Ritchie's storage allocator
//! ("The C Programming Language", 8.7).
//!
//! Free blocks form one list in order of their addresses; allocation takes the first block that
//! is large enough and returns its tail; freeing joins neighbours. Blocks never span pages: the
//! list is fed by single frames, and a page that is wholly free again goes back to the ledger.

use core::ops::Deref;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicUsize, Ordering};

use super::frame::{Frame, Owner, PAGE, pointer};
use crate::sync::SpinLock;

/// The largest object.
pub const KMALLOC_MAX: usize = PAGE;

/// In front of every block, free or not; also the unit of size.
#[repr(C, align(16))]
struct Header {
    /// The next free block; null at the end of the list, and in blocks that are in use.
    next: *mut Header,
    /// Size of the block with this header, in units of headers.
    units: usize,
}

/// Units of a page.
const PAGE_UNITS: usize = PAGE / size_of::<Header>();

/// The free list.
struct Arena {
    first: *mut Header,
}

// SAFETY: the list's pages belong to the allocator, whichever hart holds its lock.
unsafe impl Send for Arena {}

static ARENA: SpinLock<Arena> = SpinLock::new("kmalloc", Arena { first: null_mut() });

/// `bytes` bytes of memory, aligned to 16; `None` when memory is used up. Panics above
/// [`KMALLOC_MAX`], as the lab has it.
pub fn kmalloc(bytes: usize) -> Option<NonNull<u8>> {
    assert!(bytes <= KMALLOC_MAX, "kmalloc: {bytes} bytes");
    let units = bytes.max(1).div_ceil(size_of::<Header>()) + 1;
    if units > PAGE_UNITS {
        // With a header it would not fit in a page: the object is a page, without header.
        // Objects with headers are never page aligned, so `kmfree` can tell.
        return NonNull::new(pointer(Frame::junk(Owner::Kmalloc)?.into_raw()));
    }
    let mut arena = ARENA.lock();
    // SAFETY: `take` and `give` keep the list sound.
    unsafe {
        arena.take(units).or_else(|| {
            let page = Frame::junk(Owner::Kmalloc)?.into_raw();
            let block: *mut Header = pointer(page).cast();
            (*block).units = PAGE_UNITS;
            // Not a whole free page yet: take from it before it is on the list.
            let rest = PAGE_UNITS - units;
            let taken = block.add(rest);
            (*taken) = Header { next: null_mut(), units };
            if rest > 0 {
                (*block).units = rest;
                arena.give(block);
            }
            Some(taken)
        })
    }
    .and_then(|block| NonNull::new(block.wrapping_add(1).cast()))
}

/// Gives an object back.
///
/// # Safety
/// The object comes from [`kmalloc`] and was not given back yet; nobody uses it any more.
pub unsafe fn kmfree(object: NonNull<u8>) {
    let address = object.addr().get();
    if address.is_multiple_of(PAGE) {
        // SAFETY: only whole pages are page aligned.
        drop(unsafe { Frame::from_raw(address as u64) });
        return;
    }
    // SAFETY: the caller vouches for the object, so its header is in front of it.
    unsafe { ARENA.lock().give(object.as_ptr().cast::<Header>().sub(1)) };
}

/// Whether a block at `a` is followed by one at `b`, in the same page.
///
/// # Safety
/// `a` is a block.
unsafe fn adjacent(a: *mut Header, b: *mut Header) -> bool {
    // SAFETY: the caller says that `a` is a block.
    !a.is_null() && a.wrapping_add(unsafe { (*a).units }) == b && !b.addr().is_multiple_of(PAGE)
}

impl Arena {
    /// Takes a block of `units` units from the tail of the first free block that has as many.
    ///
    /// # Safety
    /// The list is sound: every element is a free block.
    unsafe fn take(&mut self, units: usize) -> Option<*mut Header> {
        let mut link = &raw mut self.first;
        // SAFETY: the list is sound.
        unsafe {
            while !(*link).is_null() {
                let block = *link;
                if (*block).units > units {
                    (*block).units -= units;
                    let tail = block.add((*block).units);
                    *tail = Header { next: null_mut(), units };
                    return Some(tail);
                }
                if (*block).units == units {
                    *link = (*block).next;
                    (*block).next = null_mut();
                    return Some(block);
                }
                link = &raw mut (*block).next;
            }
        }
        None
    }

    /// Puts a block in its place in the list, joins it with its neighbours, and gives the page
    /// back if all of it is free.
    ///
    /// # Safety
    /// The list is sound, and `block` is a block that is not on it and not in use.
    unsafe fn give(&mut self, block: *mut Header) {
        let mut before: *mut Header = null_mut();
        let mut before_link = &raw mut self.first;
        let mut link = &raw mut self.first;
        // SAFETY: the list is sound, and blocks lie where their neighbours' sizes say.
        unsafe {
            while !(*link).is_null() && *link < block {
                before = *link;
                before_link = link;
                link = &raw mut (*before).next;
            }
            let after = *link;
            assert!(after != block, "kmfree: freed twice");
            (*block).next = after;
            *link = block;
            let (mut joined, mut joined_link) = (block, link);
            if adjacent(block, after) {
                (*block).units += (*after).units;
                (*block).next = (*after).next;
            }
            if adjacent(before, block) {
                (*before).units += (*block).units;
                (*before).next = (*block).next;
                (joined, joined_link) = (before, before_link);
            }
            if (*joined).units == PAGE_UNITS {
                *joined_link = (*joined).next;
                drop(Frame::from_raw(joined.addr() as u64));
            }
        }
    }
}

/// A reference-counted object in memory from [`kmalloc`].
pub struct Arc<T> {
    inner: NonNull<Counted<T>>,
}

struct Counted<T> {
    refs: AtomicUsize,
    value: T,
}

impl<T> Arc<T> {
    /// Moves a value to memory of its own; drops it when memory is used up.
    pub fn new(value: T) -> Option<Arc<T>> {
        const { assert!(align_of::<Counted<T>>() <= 16) };
        let inner: NonNull<Counted<T>> = kmalloc(size_of::<Counted<T>>())?.cast();
        // SAFETY: the memory is large enough, aligned, and ours.
        unsafe { inner.write(Counted { refs: AtomicUsize::new(1), value }) };
        Some(Arc { inner })
    }

    fn counted(&self) -> &Counted<T> {
        // SAFETY: the object exists as long as a reference does.
        unsafe { self.inner.as_ref() }
    }

    /// Whether both refer to the same object.
    pub fn same(&self, other: &Arc<T>) -> bool {
        self.inner == other.inner
    }
}

impl<T> Clone for Arc<T> {
    fn clone(&self) -> Self {
        self.counted().refs.fetch_add(1, Ordering::Relaxed);
        Arc { inner: self.inner }
    }
}

impl<T> Deref for Arc<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.counted().value
    }
}

impl<T> Drop for Arc<T> {
    fn drop(&mut self) {
        // Release, then acquire: what other owners did to the object happened before its end.
        if self.counted().refs.fetch_sub(1, Ordering::AcqRel) == 1 {
            // SAFETY: this was the last reference; the value is dropped once, its memory freed.
            unsafe {
                self.inner.drop_in_place();
                kmfree(self.inner.cast());
            }
        }
    }
}

// SAFETY: like the standard library's `Arc`: the value is shared and may be dropped anywhere.
unsafe impl<T: Send + Sync> Send for Arc<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for Arc<T> {}
