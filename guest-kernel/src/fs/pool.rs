//! A fixed number of reference-counted objects: an `Arc` without an allocator.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ops::Deref;
use core::sync::atomic::{AtomicU32, Ordering, fence};

/// A slot's count when it has no object and nobody wants it.
const FREE: u32 = 0;
/// A slot's count while its object is put in or taken out, by one owner. Each reference adds one.
const OWNED: u32 = 1;

/// Room for `N` objects.
pub struct Pool<T: 'static, const N: usize> {
    slots: [Slot<T>; N],
}

/// Room for one object.
pub struct Slot<T> {
    count: AtomicU32,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written and taken out by the one owner that moved the count between FREE
// and OWNED; while the count is higher it is only shared.
unsafe impl<T: Send + Sync> Sync for Slot<T> {}

/// A slot that waits for its object. Dropping it gives the slot back.
pub struct Vacancy<T: 'static> {
    slot: &'static Slot<T>,
}

/// A reference to an object of a pool. Dropping the last one drops the object.
pub struct Shared<T: 'static> {
    slot: &'static Slot<T>,
}

impl<T, const N: usize> Pool<T, N> {
    /// A pool without objects.
    pub const fn new() -> Self {
        let slots = [const {
            Slot { count: AtomicU32::new(FREE), value: UnsafeCell::new(MaybeUninit::uninit()) }
        }; N];
        Pool { slots }
    }

    /// Takes a free slot.
    pub fn reserve(&'static self) -> Option<Vacancy<T>> {
        let take = |slot: &&'static Slot<T>| {
            slot.count.compare_exchange(FREE, OWNED, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        self.slots.iter().find(take).map(|slot| Vacancy { slot })
    }

    /// Number of objects.
    #[cfg(test)]
    pub fn used(&self) -> usize {
        self.slots.iter().filter(|slot| slot.count.load(Ordering::Relaxed) != FREE).count()
    }
}

impl<T> Vacancy<T> {
    /// Puts the object in.
    pub fn fill(self, value: T) -> Shared<T> {
        let slot = self.slot;
        core::mem::forget(self);
        // SAFETY: the count is OWNED, and this is the owner.
        unsafe { (*slot.value.get()).write(value) };
        slot.count.store(OWNED + 1, Ordering::Release);
        Shared { slot }
    }
}

impl<T> Drop for Vacancy<T> {
    fn drop(&mut self) {
        self.slot.count.store(FREE, Ordering::Release);
    }
}

impl<T> Slot<T> {
    /// The object.
    ///
    /// # Safety
    /// The slot has an object, and a reference to it is counted as long as the result is used.
    pub unsafe fn object(&self) -> &T {
        // SAFETY: the caller promises that the object is there, and that nobody takes it out.
        unsafe { (*self.value.get()).assume_init_ref() }
    }

    /// Counts a reference more.
    ///
    /// # Safety
    /// The slot has an object, to which the caller knows of a reference.
    pub unsafe fn retain(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a reference less, and drops the object if it was the last.
    ///
    /// # Safety
    /// The slot has an object, and the caller's counted reference to it is not used again.
    pub unsafe fn release(&self) {
        if self.count.fetch_sub(1, Ordering::Release) != OWNED + 1 {
            return;
        }
        // What others did with the object happened before.
        fence(Ordering::Acquire);
        // SAFETY: the count is OWNED and was brought there by this call: it is the owner. The
        // object was put in, and FREE says that it is not there any more.
        let value = unsafe { (*self.value.get()).assume_init_read() };
        // Dropping the object may sleep. The slot is free before that.
        self.count.store(FREE, Ordering::Release);
        drop(value);
    }
}

impl<T> Shared<T> {
    /// The slot of the object, for counting references by hand.
    pub fn slot(&self) -> &'static Slot<T> {
        self.slot
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this reference is counted.
        unsafe { self.slot.object() }
    }
}

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Self {
        // SAFETY: this reference is one.
        unsafe { self.slot.retain() };
        Shared { slot: self.slot }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: this reference was counted, and ends here.
        unsafe { self.slot.release() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;
    use std::thread;

    static DROPS: AtomicUsize = AtomicUsize::new(0);

    struct Counted(usize);

    impl Drop for Counted {
        fn drop(&mut self) {
            DROPS.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn objects_live_as_long_as_their_references() {
        static POOL: Pool<Counted, 2> = Pool::new();
        let first = POOL.reserve().expect("free").fill(Counted(1));
        let vacancy = POOL.reserve().expect("free");
        assert!(POOL.reserve().is_none());
        drop(vacancy);
        let second = POOL.reserve().expect("free again").fill(Counted(2));
        let again = first.clone();
        drop(first);
        assert_eq!((DROPS.load(Ordering::Relaxed), again.0, second.0), (0, 1, 2));
        drop(again);
        assert_eq!((DROPS.load(Ordering::Relaxed), POOL.used()), (1, 1));

        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        if let Some(vacancy) = POOL.reserve() {
                            let shared = vacancy.fill(Counted(7));
                            assert_eq!(shared.clone().0, 7);
                        }
                    }
                });
            }
        });
        assert_eq!(POOL.used(), 1);
    }
}
