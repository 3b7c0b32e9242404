//! Large or mutable statics without `static mut`.

use core::cell::{Cell, UnsafeCell};

/// A value in a static, handed out once as `&'static mut`: the place for buffers that are too
/// large for the one-page stack.
pub struct Scratch<T> {
    taken: Cell<bool>,
    value: UnsafeCell<T>,
}

// SAFETY: a process has one thread.
unsafe impl<T> Sync for Scratch<T> {}

impl<T> Scratch<T> {
    /// A static that holds this value.
    pub const fn new(value: T) -> Scratch<T> {
        Scratch { taken: Cell::new(false), value: UnsafeCell::new(value) }
    }

    /// The value; panics at a second call.
    #[expect(clippy::mut_from_ref, reason = "given out once: `taken` sees to that")]
    pub fn take(&'static self) -> &'static mut T {
        assert!(!self.taken.replace(true), "this scratch buffer is already in use");
        // SAFETY: `taken` makes this the only reference ever.
        unsafe { &mut *self.value.get() }
    }

    /// Where the value is, for programs that are about memory itself.
    pub const fn as_ptr(&self) -> *mut T {
        self.value.get()
    }
}
