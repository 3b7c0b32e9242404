//! The life of a process: fork, exit, wait, kill.

use abi::hint::Hint;
use abi::param::NPROC;
use abi::stat::ProcState;

use super::own::{Own, OwnGuard};
use super::sched::{current, give_up, sleep_unless_killed, wakeup};
use super::table::{Proc, all};
use crate::arch;
use crate::fs::{FS, ProcFiles};
use crate::mm::AddressSpace;
use crate::sync::SpinLock;
use crate::trap;

/// Everybody's parent, by slots. Its lock is also the condition lock of `wait`.
static PARENTS: SpinLock<[Option<usize>; NPROC]> = SpinLock::new("parents", [None; NPROC]);

/// The slot of the first process, which inherits orphans.
const INIT: usize = 0;

impl Proc {
    /// Whether this is the first process.
    pub fn is_init(&self) -> bool {
        self.slot() == INIT
    }
}

/// What a parent sleeps on.
fn channel(parent: usize) -> usize {
    (&raw const PARENTS).addr() + parent
}

/// Makes the first process. It begins in the kernel, with `entry`.
pub fn start_init(entry: extern "C" fn() -> !) {
    let init = Proc::allocate(entry).expect("the table is empty at boot");
    assert!(init.is_init(), "the first process is the first in the table");
    let mut own = init.own();
    own.set_up(|frame| AddressSpace::new(frame, arch::trampoline_pa()))
        .expect("memory is free at boot");
    own.files = ProcFiles::at_root(&FS);
    init.note_space(own.space());
    drop(own);
    init.make_runnable();
}

/// `fork()`: the child's number, or `None` when there is no room for another process.
pub fn fork(parent: &mut OwnGuard) -> Option<i32> {
    let child = Proc::allocate(trap::first_return)?;
    let mut own = child.own();
    if inherit(&mut own, parent, child.pid()).is_none() {
        own.release();
        drop(own);
        child.free();
        return None;
    }
    child.note_space(own.space());
    drop(own);
    let name = parent.proc().state.lock().name;
    let mut state = child.state.lock();
    state.name = name;
    let pid = state.pid;
    drop(state);
    arch::hint(Hint::Forked, parent.proc().pid() as u64, pid as u64, 0);
    PARENTS.lock()[child.slot()] = Some(parent.proc().slot());
    child.make_runnable();
    Some(pid)
}

/// Gives a child what its parent has.
fn inherit(child: &mut Own, parent: &mut Own, pid: i32) -> Option<()> {
    child.set_up(|frame| parent.space().fork(frame, pid))?;
    *child.registers() = parent.registers().clone();
    *child.registers().arg(0) = 0;
    child.files = parent.files.fork();
    child.trace_mask = parent.trace_mask;
    Some(())
}

/// `exit(status)`: ends the calling process. It stays a zombie until its parent has waited.
pub fn exit(mut own: OwnGuard, status: i32) -> ! {
    let me = own.proc();
    if me.is_init() {
        crate::boot::init_exits(status);
    }
    arch::hint(Hint::Exited, me.pid() as u64, status as u64, 0);
    own.release();
    drop(own);

    let mut parents = PARENTS.lock();
    for parent in parents.iter_mut().filter(|parent| **parent == Some(me.slot())) {
        *parent = Some(INIT);
        wakeup(channel(INIT));
    }
    if let Some(parent) = parents[me.slot()] {
        wakeup(channel(parent));
    }
    let mut state = me.state.lock();
    state.status = status;
    state.run = ProcState::Zombie;
    // The parent may look, but not before the scheduler has left this stack.
    drop(parents);
    give_up(me, &mut state);
    unreachable!("a zombie runs");
}

/// What `wait` finds among the children.
enum Children {
    None,
    Alive,
    Ended(&'static Proc),
}

fn look_for_children(parents: &[Option<usize>; NPROC], parent: usize) -> Children {
    let mut found = Children::None;
    for (slot, _) in parents.iter().enumerate().filter(|(_, p)| **p == Some(parent)) {
        found = Children::Alive;
        if all()[slot].state.lock().run == ProcState::Zombie {
            return Children::Ended(&all()[slot]);
        }
    }
    found
}

/// `wait(*status)`: the number of a child that ended. `None` if there is no child to wait for,
/// if `status` cannot be written (the child can still be waited for then), or when killed.
pub fn wait(own: &mut OwnGuard, status: u64) -> Option<i32> {
    let me = own.proc();
    let mut parents = PARENTS.lock();
    let child = loop {
        match look_for_children(&parents, me.slot()) {
            Children::Ended(child) => break child,
            Children::None => return None,
            Children::Alive if me.is_killed() => return None,
            Children::Alive => parents = sleep_unless_killed(channel(me.slot()), parents),
        }
    };
    drop(parents);
    // Only this process waits for its children: the zombie stays while no lock is held.
    let state = child.state.lock();
    let (pid, code) = (state.pid, state.status);
    drop(state);
    if status != 0 {
        own.space().copyout(status, &code.to_le_bytes()).ok()?;
    }
    PARENTS.lock()[child.slot()] = None;
    child.free();
    Some(pid)
}

/// `kill(pid)`: the process ends when it is about to return to user mode.
pub fn kill(pid: i32) -> Option<()> {
    for proc in all() {
        let mut state = proc.state.lock();
        if pid != 0 && state.pid == pid {
            proc.set_killed();
            if state.run == ProcState::Sleeping {
                state.run = ProcState::Runnable;
            }
            return Some(());
        }
    }
    None
}

/// The parent's number, 0 for the first process.
pub fn parent_pid(proc: &Proc) -> i32 {
    let parent = PARENTS.lock()[proc.slot()];
    parent.map_or(0, |slot| all()[slot].pid())
}

/// The process that is running: system calls are never made by anything else.
pub fn me() -> &'static Proc {
    current().expect("a process is running")
}
