//! A vector that may fail to grow, in pages of its own: the kernel's only dynamic array.
//!
//! It is a chain of pages. Small vectors take one page, an empty one takes none, and there is
//! no limit but memory. Nothing here is infallible: [`PageVec::insert`] says when memory is
//! used up, and hands the element back.

use core::marker::PhantomData;
use core::ptr::NonNull;

use super::frame::{Frame, Owner, PAGE};

/// A growable array of `T` in frames.
pub struct PageVec<T> {
    first: Option<Frame>,
    len: usize,
    elements: PhantomData<T>,
}

/// The head of a page in the chain; the elements follow.
struct Head {
    next: Option<Frame>,
}

/// Bytes in front of the elements of a page: the head, padded for any alignment up to this.
const HEAD: usize = 16;

impl<T> PageVec<T> {
    /// Elements in a page.
    const PER_PAGE: usize = {
        assert!(align_of::<T>() <= HEAD && size_of::<T>() > 0);
        (PAGE - HEAD) / size_of::<T>()
    };

    /// An empty vector.
    pub const fn new() -> Self {
        PageVec { first: None, len: 0, elements: PhantomData }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The link to page number `page` of the chain, which is `None` one beyond the last page.
    fn link(&self, page: usize) -> *mut Option<Frame> {
        let mut link = (&raw const self.first).cast_mut();
        for _ in 0..page {
            // SAFETY: links are `self.first` and the heads of pages; whole pages in front of
            // `page` exist, since callers stay within the pages that `len` needs.
            link = unsafe { (*link).as_ref() }
                .map(|frame| &raw mut (unsafe { &mut *frame.as_ptr().cast::<Head>() }).next)
                .expect("pages for all elements");
        }
        link
    }

    /// Where element `index` lies; its page must exist.
    fn slot(&self, index: usize) -> NonNull<T> {
        // SAFETY: see `link`; nobody else refers to the chain during the call.
        let frame = unsafe { (*self.link(index / Self::PER_PAGE)).as_ref() };
        let page = frame.expect("pages for all elements").as_ptr();
        // SAFETY: the offset lies within the page.
        let slot = unsafe { page.add(HEAD).cast::<T>().add(index % Self::PER_PAGE) };
        NonNull::new(slot).expect("a frame is not at 0")
    }

    /// The element at `index`.
    pub fn get(&self, index: usize) -> Option<&T> {
        // SAFETY: slots below `len` hold elements, borrowed like the vector.
        (index < self.len).then(|| unsafe { self.slot(index).as_ref() })
    }

    /// The element at `index`, for changing it.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut T> {
        // SAFETY: as in `get`.
        (index < self.len).then(|| unsafe { self.slot(index).as_mut() })
    }

    /// The elements in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        // SAFETY: as in `get`.
        (0..self.len).map(|index| unsafe { self.slot(index).as_ref() })
    }

    /// Puts `element` in front of the one at `index`; hands it back when memory is used up.
    pub fn insert(&mut self, index: usize, element: T) -> Result<(), T> {
        assert!(index <= self.len);
        if self.len.is_multiple_of(Self::PER_PAGE) {
            let Some(mut page) = Frame::junk(Owner::Kernel) else {
                return Err(element);
            };
            // SAFETY: a fresh frame is large enough for the head, and nobody else's.
            unsafe { page.bytes_mut().as_mut_ptr().cast::<Head>().write(Head { next: None }) };
            // SAFETY: see `link`; the chain ends there, since all pages are full.
            unsafe { *self.link(self.len / Self::PER_PAGE) = Some(page) };
        }
        for to in (index + 1..=self.len).rev() {
            // SAFETY: `to - 1` holds an element, and `to` is free or was moved away before.
            unsafe { self.slot(to).copy_from_nonoverlapping(self.slot(to - 1), 1) };
        }
        // SAFETY: what was in the slot has moved.
        unsafe { self.slot(index).write(element) };
        self.len += 1;
        Ok(())
    }

    /// Puts `element` at the end; hands it back when memory is used up.
    pub fn push(&mut self, element: T) -> Result<(), T> {
        self.insert(self.len, element)
    }

    /// Takes the element at `index` out, closes the gap, and frees the last page if it is empty.
    pub fn remove(&mut self, index: usize) -> T {
        assert!(index < self.len);
        // SAFETY: the slot holds an element, and is overwritten or cut off below.
        let element = unsafe { self.slot(index).read() };
        for to in index..self.len - 1 {
            // SAFETY: what was in `to` has moved away, and `to + 1` holds an element.
            unsafe { self.slot(to).copy_from_nonoverlapping(self.slot(to + 1), 1) };
        }
        self.len -= 1;
        if self.len.is_multiple_of(Self::PER_PAGE) {
            // SAFETY: see `link`; the page behind that link is the last and has no element.
            unsafe { *self.link(self.len / Self::PER_PAGE) = None };
        }
        element
    }

    /// The first index whose element does not satisfy `below`; elements that do come first.
    pub fn partition_point(&self, below: impl Fn(&T) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len);
        while low < high {
            let middle = low.midpoint(high);
            // SAFETY: as in `get`.
            if below(unsafe { self.slot(middle).as_ref() }) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

impl<T> Default for PageVec<T> {
    fn default() -> Self {
        PageVec::new()
    }
}

impl<T> Drop for PageVec<T> {
    fn drop(&mut self) {
        while self.len > 0 {
            self.remove(self.len - 1);
        }
    }
}

// SAFETY: the vector owns its elements and its pages.
unsafe impl<T: Send> Send for PageVec<T> {}
// SAFETY: shared access gives shared access to elements only.
unsafe impl<T: Sync> Sync for PageVec<T> {}
