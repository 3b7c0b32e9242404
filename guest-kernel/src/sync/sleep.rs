//! A lock that waits by sleeping: for sections that themselves sleep, such as disk transfers.

use core::cell::UnsafeCell;
use core::fmt;
use core::ops::{Deref, DerefMut};

use super::SpinLock;
use crate::proc::{sleep, wakeup};

/// Data that one process at a time may reach, for as long as it likes.
pub struct SleepLock<T: ?Sized> {
    locked: SpinLock<bool>,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands the value to one process at a time, so `T` need only be movable.
unsafe impl<T: ?Sized + Send> Sync for SleepLock<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Send for SleepLock<T> {}

/// Access to the data of a [`SleepLock`]; dropping it releases the lock.
pub struct SleepGuard<'a, T: ?Sized> {
    lock: &'a SleepLock<T>,
}

impl<T> SleepLock<T> {
    /// A free lock; the name is for messages.
    pub const fn new(name: &'static str, value: T) -> Self {
        SleepLock { locked: SpinLock::new(name, false), value: UnsafeCell::new(value) }
    }
}

impl<T: ?Sized> SleepLock<T> {
    /// Sleeps until the lock is free and takes it.
    pub fn lock(&self) -> SleepGuard<'_, T> {
        let mut locked = self.locked.lock();
        while *locked {
            locked = sleep(self.channel(), locked);
        }
        *locked = true;
        SleepGuard { lock: self }
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> Option<SleepGuard<'_, T>> {
        let mut locked = self.locked.lock();
        if *locked {
            return None;
        }
        *locked = true;
        Some(SleepGuard { lock: self })
    }

    /// The data, without a lock: nobody else can have the lock either.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn channel(&self) -> usize {
        (&raw const self.locked).addr()
    }
}

impl<T: ?Sized> Deref for SleepGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard exists, so its owner holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for SleepGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard exists, so its owner holds the lock, and it is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for SleepGuard<'_, T> {
    fn drop(&mut self) {
        *self.lock.locked.lock() = false;
        wakeup(self.lock.channel());
    }
}

impl<T: ?Sized> fmt::Debug for SleepLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SleepLock({:?})", self.locked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn counts_from_many_processes_are_not_lost() {
        static COUNT: SleepLock<u32> = SleepLock::new("count", 0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let mut count = COUNT.lock();
                        let before = *count;
                        thread::yield_now();
                        *count = before + 1;
                    }
                });
            }
        });
        assert_eq!(*COUNT.lock(), 800);
    }

    #[test]
    fn a_held_lock_cannot_be_tried() {
        let lock = SleepLock::new("lock", ());
        let guard = lock.lock();
        assert!(lock.try_lock().is_none());
        assert!(crate::arch::interrupts_enabled(), "sleep locks do not keep interrupts away");
        drop(guard);
        assert!(lock.try_lock().is_some());
    }
}
