//! The process table.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use abi::param::NPROC;
use abi::stat::ProcState;

use super::own::OwnCell;
use crate::arch::{Context, switch};
use crate::mm::AddressSpace;
use crate::stack::PROC_STACKS;
use crate::sync::SpinLock;

/// Bytes of a process's name.
pub const NAME: usize = 16;

/// A process, or room for one.
pub struct Proc {
    slot: usize,
    /// What others may want to know.
    pub state: SpinLock<State>,
    /// What the process sleeps on. It is set while the lock of the condition is held, so whoever
    /// takes that lock later and wakes sees it without taking the state's lock.
    pub(super) channel: AtomicUsize,
    /// Somebody wants the process to end. It does so when it is about to return to user mode.
    pub(super) killed: AtomicBool,
    /// The break, for listings.
    pub(super) size: AtomicU64,
    /// The page table, for the trace.
    pub(super) satp: AtomicU64,
    pub(super) own: OwnCell,
    /// The hart that ran it last, plus one: another one may have old instructions cached.
    pub(super) last_hart: AtomicUsize,
    /// The kernel thread while it does not run; whoever holds the state's lock may switch.
    pub(super) context: UnsafeCell<Context>,
}

// SAFETY: `context` is only touched with the state's lock held; the rest is `Sync`.
unsafe impl Sync for Proc {}

/// What others may know of a process.
pub struct State {
    /// What the process is doing.
    pub run: ProcState,
    /// Its number; 0 while the slot is unused.
    pub pid: i32,
    /// What it said at its end.
    pub status: i32,
    /// The program's name, padded with NUL.
    pub name: [u8; NAME],
}

impl State {
    /// The program's name.
    pub fn name(&self) -> &str {
        let len = self.name.iter().position(|&byte| byte == 0).unwrap_or(NAME);
        match core::str::from_utf8(&self.name[..len]) {
            Ok(name) => name,
            Err(error) => {
                core::str::from_utf8(&self.name[..error.valid_up_to()]).unwrap_or_default()
            }
        }
    }
}

static TABLE: [Proc; NPROC] = {
    let mut table = [const { Proc::new(0) }; NPROC];
    let mut slot = 0;
    while slot < NPROC {
        table[slot].slot = slot;
        slot += 1;
    }
    table
};

static NEXT_PID: AtomicI32 = AtomicI32::new(1);

/// All slots of the table.
pub fn all() -> &'static [Proc; NPROC] {
    &TABLE
}

/// Number of slots that are in use.
pub fn in_use() -> usize {
    TABLE.iter().filter(|proc| proc.state.lock().run != ProcState::Unused).count()
}

impl Proc {
    const fn new(slot: usize) -> Proc {
        Proc {
            slot,
            state: SpinLock::new(
                "process",
                State { run: ProcState::Unused, pid: 0, status: 0, name: [0; NAME] },
            ),
            channel: AtomicUsize::new(0),
            killed: AtomicBool::new(false),
            size: AtomicU64::new(0),
            satp: AtomicU64::new(0),
            own: OwnCell::new(),
            last_hart: AtomicUsize::new(0),
            context: UnsafeCell::new(Context::EMPTY),
        }
    }

    /// Takes a slot for a process that will begin with a call of `entry`. It owns nothing yet
    /// and does not run.
    pub(super) fn allocate(entry: extern "C" fn() -> !) -> Option<&'static Proc> {
        for proc in &TABLE {
            let mut state = proc.state.lock();
            if state.run != ProcState::Unused {
                continue;
            }
            state.run = ProcState::Used;
            state.status = 0;
            state.name = [0; NAME];
            proc.killed.store(false, Relaxed);
            proc.size.store(0, Relaxed);
            let context = Context::new(entry, PROC_STACKS.top(proc.slot));
            // SAFETY: the state's lock is held, and no thread has this context.
            unsafe { *proc.context.get() = context };
            state.pid = NEXT_PID.fetch_add(1, Relaxed);
            return Some(proc);
        }
        None
    }

    /// Gives the slot back. The process owns nothing any more.
    pub(super) fn free(&self) {
        let mut state = self.state.lock();
        state.run = ProcState::Unused;
        state.pid = 0;
    }

    /// Lets the scheduler have the process.
    pub(super) fn make_runnable(&self) {
        self.state.lock().run = ProcState::Runnable;
    }

    /// Its place in the table.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// Its number.
    pub fn pid(&self) -> i32 {
        self.state.lock().pid
    }

    /// Where its kernel stack begins.
    pub fn stack_top(&self) -> u64 {
        PROC_STACKS.top(self.slot)
    }

    /// Whether somebody wants it to end.
    pub fn is_killed(&self) -> bool {
        self.killed.load(Relaxed)
    }

    /// It has to end.
    pub fn set_killed(&self) {
        self.killed.store(true, Relaxed);
    }

    /// Gives the process a name, cut to what there is room for; returns its number, and where in
    /// memory the name is.
    pub fn set_name(&self, name: &[u8]) -> (i32, u64) {
        let mut state = self.state.lock();
        let len = name.len().min(NAME - 1);
        state.name = [0; NAME];
        state.name[..len].copy_from_slice(&name[..len]);
        (state.pid, (&raw const state.name).addr() as u64)
    }

    /// Notes what others may know about the memory of the process.
    pub fn note_space(&self, space: &AddressSpace) {
        self.size.store(space.size(), Relaxed);
        self.satp.store(space.satp(), Relaxed);
    }

    /// Switches from this thread of a hart's scheduler to the process's, or back.
    ///
    /// # Safety
    /// The state's lock is held, and `scheduler` is the context of this hart's scheduler.
    pub(super) unsafe fn enter(&self, scheduler: *mut Context) {
        // SAFETY: the process does not run, since its state says so and is locked; its context
        // was saved by `leave`, or made by `allocate`.
        unsafe { switch(scheduler, self.context.get()) };
    }

    /// Switches from the process's thread to the scheduler of a hart.
    ///
    /// # Safety
    /// As for [`enter`](Proc::enter); this is the process's own thread.
    pub(super) unsafe fn leave(&self, scheduler: *const Context) {
        // SAFETY: the scheduler of this hart waits in `enter`.
        unsafe { switch(self.context.get(), scheduler) };
    }
}
