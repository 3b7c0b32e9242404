//! A lock that waits by spinning, with interrupts off while it is held.
//!
//! Interrupts are off because a handler that wanted a lock which its own hart holds would spin
//! for ever. As in MIT's kernel, taking a lock twice on one hart is a kernel bug and panics.

use core::cell::UnsafeCell;
use core::fmt;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicUsize, Ordering};

use super::intr;
use crate::arch;

const FREE: usize = 0;

/// Data that one hart at a time may reach.
pub struct SpinLock<T: ?Sized> {
    name: &'static str,
    /// [`FREE`], or the holder's hart number plus one.
    holder: AtomicUsize,
    value: UnsafeCell<T>,
}

// SAFETY: the lock hands the value to one hart at a time, so `T` need only be movable.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}
// SAFETY: as above.
unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}

/// Access to the data of a [`SpinLock`]; dropping it releases the lock.
pub struct SpinGuard<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
    /// The hart that locks must unlock.
    not_send: PhantomData<*const ()>,
}

impl<T> SpinLock<T> {
    /// A free lock; the name is for messages.
    pub const fn new(name: &'static str, value: T) -> Self {
        SpinLock { name, holder: AtomicUsize::new(FREE), value: UnsafeCell::new(value) }
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Waits until the lock is free and takes it.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        intr::push_off();
        let me = arch::hart_id() + 1;
        while let Err(holder) =
            self.holder.compare_exchange(FREE, me, Ordering::Acquire, Ordering::Relaxed)
        {
            assert!(holder != me, "lock {}: taken twice", self.name);
            arch::relax();
        }
        SpinGuard { lock: self, not_send: PhantomData }
    }

    /// Whether this hart holds the lock.
    pub fn held(&self) -> bool {
        intr::push_off();
        let held = self.holder.load(Ordering::Relaxed) == arch::hart_id() + 1;
        intr::pop_off();
        held
    }

    /// Releases a lock whose guard was [forgotten](SpinGuard::forget).
    ///
    /// # Safety
    /// This hart holds the lock, and no guard for it is left.
    pub unsafe fn release(&self) {
        assert!(self.held(), "lock {}: released without being held", self.name);
        self.holder.store(FREE, Ordering::Release);
        intr::pop_off();
    }

    /// A guard for a lock whose guard was [forgotten](SpinGuard::forget).
    ///
    /// # Safety
    /// This hart holds the lock, and no other guard for it is left.
    pub unsafe fn adopt(&self) -> SpinGuard<'_, T> {
        assert!(self.held(), "lock {}: adopted without being held", self.name);
        SpinGuard { lock: self, not_send: PhantomData }
    }

    /// The data, without a lock: nobody else can have the lock either.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<'a, T: ?Sized> SpinGuard<'a, T> {
    /// Releases the lock and returns it, for taking it again later.
    pub fn unlock(guard: Self) -> &'a SpinLock<T> {
        guard.lock
    }

    /// Keeps the lock beyond the guard: another thread of control will release it.
    pub fn forget(guard: Self) {
        core::mem::forget(guard);
    }
}

impl<T: ?Sized> Deref for SpinGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the guard exists, so this hart holds the lock.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for SpinGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the guard exists, so this hart holds the lock, and `self` is borrowed mutably.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for SpinGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.lock.holder.store(FREE, Ordering::Release);
        intr::pop_off();
    }
}

impl<T: ?Sized> fmt::Debug for SpinLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpinLock({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn counts_from_many_harts_are_not_lost() {
        static COUNT: SpinLock<u32> = SpinLock::new("count", 0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        *COUNT.lock() += 1;
                    }
                });
            }
        });
        assert_eq!(*COUNT.lock(), 4000);
    }

    #[test]
    fn interrupts_are_off_while_held() {
        let lock = SpinLock::new("lock", ());
        let guard = lock.lock();
        assert!(lock.held());
        assert!(!arch::interrupts_enabled());
        drop(guard);
        assert!(!lock.held());
        assert!(arch::interrupts_enabled());
    }

    #[test]
    #[should_panic(expected = "taken twice")]
    fn taking_a_lock_twice_is_a_bug() {
        let lock = SpinLock::new("lock", ());
        let _first = lock.lock();
        let _second = lock.lock();
    }
}
