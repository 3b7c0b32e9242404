//! A value that is set once, while the kernel boots, and read without a lock ever after.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU8, Ordering};

const EMPTY: u8 = 0;
const SETTING: u8 = 1;
const SET: u8 = 2;

/// A `static` whose value is known only after something was read from a device.
pub struct SetOnce<T> {
    state: AtomicU8,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written by the one caller that moved the state away from EMPTY, and shared
// only after the state is SET; from then on it is never written.
unsafe impl<T: Send + Sync> Sync for SetOnce<T> {}

impl<T> SetOnce<T> {
    /// Without a value.
    pub const fn new() -> SetOnce<T> {
        SetOnce { state: AtomicU8::new(EMPTY), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// Gives the value; a second time is a kernel bug.
    pub fn set(&self, value: T) {
        let was = self.state.compare_exchange(EMPTY, SETTING, Ordering::Acquire, Ordering::Relaxed);
        assert!(was.is_ok(), "set twice");
        // SAFETY: only this call saw EMPTY, and nobody reads before SET.
        unsafe { (*self.value.get()).write(value) };
        self.state.store(SET, Ordering::Release);
    }

    /// Whether there is a value yet.
    pub fn is_set(&self) -> bool {
        self.state.load(Ordering::Acquire) == SET
    }

    /// The value; asking before it is set is a kernel bug.
    pub fn get(&self) -> &T {
        assert!(self.is_set(), "not set yet");
        // SAFETY: SET means that the value was written, and it is not written again.
        unsafe { (*self.value.get()).assume_init_ref() }
    }
}

impl<T> Default for SetOnce<T> {
    fn default() -> Self {
        Self::new()
    }
}
