//! Processes.

use crate::arch;
use crate::sync::SpinGuard;

/// Sleeps on a channel: releases the lock, and takes it again when woken up.
///
/// A wake-up between the two is not lost. Wake-ups may be spurious: sleep in a loop that tests
/// the condition. Where there is no process (at boot, in tests) sleeping is polling.
pub fn sleep<T: ?Sized>(_channel: usize, guard: SpinGuard<'_, T>) -> SpinGuard<'_, T> {
    let lock = SpinGuard::unlock(guard);
    arch::relax();
    lock.lock()
}

/// Wakes every process that sleeps on the channel.
pub fn wakeup(_channel: usize) {}

/// Whether somebody killed the calling process. Where there is no process, nobody did.
pub fn killed() -> bool {
    false
}
