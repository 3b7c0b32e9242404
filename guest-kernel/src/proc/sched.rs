//! Who runs where: each hart's scheduler, and sleeping and waking.
//!
//! A process's kernel thread and a hart's scheduler hand the process's state lock to each other
//! across a switch: whoever switches holds it, and whoever is switched to releases it. So nobody
//! sees a process that is between two harts.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use abi::hint::Hint;
use abi::stat::ProcState;

use super::table::{Proc, State, all};
use crate::arch::{self, Context};
use crate::sync::{self, SpinGuard, pop_off, push_off};

/// A hart's part in scheduling. Only the hart itself touches it, with interrupts off.
struct Hart {
    /// The scheduler while a process runs.
    scheduler: UnsafeCell<Context>,
    /// The slot of the process that runs, plus one; 0 for none.
    running: AtomicUsize,
}

// SAFETY: each element is used by one hart only.
unsafe impl Sync for Hart {}

static HARTS: [Hart; arch::MAX_HARTS] =
    [const { Hart { scheduler: UnsafeCell::new(Context::EMPTY), running: AtomicUsize::new(0) } };
        arch::MAX_HARTS];

fn this_hart() -> &'static Hart {
    &HARTS[arch::hart_id()]
}

/// The process whose kernel thread this is; none in a scheduler, at boot, and in tests.
pub fn current() -> Option<&'static Proc> {
    push_off();
    let running = this_hart().running.load(Relaxed);
    pop_off();
    running.checked_sub(1).map(|slot| &all()[slot])
}

/// Whether somebody killed the calling process. Where there is no process, nobody did.
pub fn killed() -> bool {
    current().is_some_and(Proc::is_killed)
}

/// Runs processes, for ever.
pub fn scheduler() -> ! {
    let hart = this_hart();
    loop {
        // The last process may have left interrupts off; if all are asleep, only an interrupt
        // can change that. Off again, so that none comes between the search and WFI.
        arch::interrupts_on();
        arch::interrupts_off();
        let mut found = false;
        for proc in all() {
            let mut state = proc.state.lock();
            if state.run != ProcState::Runnable {
                continue;
            }
            found = true;
            state.run = ProcState::Running;
            hart.running.store(proc.slot() + 1, Relaxed);
            let here = arch::hart_id() + 1;
            if proc.last_hart.swap(here, Relaxed) != here {
                arch::fence_i();
            }
            let name = (&raw const state.name).addr() as u64;
            arch::hint(Hint::ProcSwitched, state.pid as u64, name, proc.satp.load(Relaxed));
            // SAFETY: the lock is held, and the context is this hart's.
            unsafe { proc.enter(hart.scheduler.get()) };
            hart.running.store(0, Relaxed);
        }
        if !found {
            arch::wait_for_interrupt();
        }
    }
}

/// Leaves the hart to its scheduler, and returns when the process runs again. The state says
/// when that will be; its lock is the only one held.
pub(super) fn give_up(proc: &'static Proc, state: &mut SpinGuard<'_, State>) {
    assert!(sync::depth() == 1, "switching with a lock held");
    assert!(state.run != ProcState::Running, "switching away from a running process");
    let enabled = sync::saved_enable();
    // SAFETY: the lock is held, the scheduler of this hart waits, and this is the thread of the
    // process that runs here.
    unsafe { proc.leave(this_hart().scheduler.get()) };
    // Perhaps on another hart.
    sync::set_saved_enable(enabled);
}

/// Lets other processes run.
pub fn yield_now() {
    if let Some(me) = current() {
        let mut state = me.state.lock();
        state.run = ProcState::Runnable;
        give_up(me, &mut state);
    }
}

/// Sleeps on a channel: releases the lock, and takes it again when woken up.
///
/// A wake-up between the two is not lost. Wake-ups may be spurious: sleep in a loop that tests
/// the condition. Where there is no process (at boot, in tests) sleeping is polling.
pub fn sleep<T: ?Sized>(channel: usize, guard: SpinGuard<'_, T>) -> SpinGuard<'_, T> {
    sleep_if(channel, guard, |_| true)
}

/// As [`sleep`], for waits that a kill ends: a process that was killed does not sleep. Callers
/// test [`killed`] before they wait again.
///
/// A test alone would not do: the kill may come between the test and the sleep.
pub fn sleep_unless_killed<T: ?Sized>(channel: usize, guard: SpinGuard<'_, T>) -> SpinGuard<'_, T> {
    sleep_if(channel, guard, |me| !me.is_killed())
}

/// Sleeps if the process still wants to when its state is locked.
fn sleep_if<'l, T: ?Sized>(
    channel: usize,
    guard: SpinGuard<'l, T>,
    wants_to: impl FnOnce(&Proc) -> bool,
) -> SpinGuard<'l, T> {
    let Some(me) = current() else {
        let lock = SpinGuard::unlock(guard);
        arch::relax();
        return lock.lock();
    };
    // Whoever wakes this channel needs the condition's lock to change the condition, and this
    // state's lock to wake us: no wake-up comes between.
    me.channel.store(channel, Relaxed);
    let mut state = me.state.lock();
    let lock = SpinGuard::unlock(guard);
    if wants_to(me) {
        state.run = ProcState::Sleeping;
        give_up(me, &mut state);
    }
    drop(state);
    me.channel.store(0, Relaxed);
    lock.lock()
}

/// Wakes every process that sleeps on the channel.
///
/// The condition was changed under its lock before.
pub fn wakeup(channel: usize) {
    for proc in all() {
        if proc.channel.load(Relaxed) != channel {
            continue;
        }
        let mut state = proc.state.lock();
        if state.run == ProcState::Sleeping && proc.channel.load(Relaxed) == channel {
            state.run = ProcState::Runnable;
        }
    }
}
