//! Processes: making them, waiting for them, becoming another program.

use core::ffi::{CStr, c_char};

use abi::param::{MAXARG, NPROC};
use abi::stat::{ProcInfo, ProcState};

pub use crate::sys::{exit, fork, getpid, kill, pause, uptime};
use crate::{Scratch, Text, sys};

/// The status of a process that the kernel killed.
pub const KILLED: i32 = -1;

/// A child that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its process id.
    pub pid: i32,
    /// Its exit status, [`KILLED`] if the kernel ended it.
    pub status: i32,
}

/// Waits until a child ends; `None` without children, or when killed.
pub fn wait() -> Option<Ended> {
    let mut status = 0;
    // SAFETY: `status` is ours.
    let pid = unsafe { sys::wait(&mut status) };
    (pid >= 0).then_some(Ended { pid, status })
}

/// Starts a child that runs `body` and exits with its result; the pid, or -1.
pub fn spawn(body: impl FnOnce() -> i32) -> i32 {
    match fork() {
        0 => exit(body()),
        pid => pid,
    }
}

/// Becomes another program; returns only when that fails.
///
/// The first argument is the program's name as it will see it. More than `MAXARG` arguments fail
/// in the kernel, so as many and one more are passed on.
pub fn exec(path: &CStr, args: &[&CStr]) -> i32 {
    let mut argv = [core::ptr::null::<c_char>(); MAXARG + 2];
    for (pointer, arg) in argv[..MAXARG + 1].iter_mut().zip(args) {
        *pointer = arg.as_ptr();
    }
    sys::exec(path.as_ptr(), argv.as_ptr())
}

const NOBODY: ProcInfo = ProcInfo { pid: 0, state: 0, size: 0, ppid: 0, name: [0; 16] };

static TABLE: Scratch<[ProcInfo; NPROC]> = Scratch::new([NOBODY; NPROC]);

/// The kernel's process table; empty when the kernel cannot tell. To be called once.
pub fn process_table() -> &'static [ProcInfo] {
    let table = TABLE.take();
    // SAFETY: the array has room for NPROC rows.
    let count = unsafe { sys::getprocs(table.as_mut_ptr(), NPROC as i32) };
    &table[..usize::try_from(count).unwrap_or(0).min(NPROC)]
}

/// A process's name as text.
pub fn process_name(process: &ProcInfo) -> Text<'_> {
    let end = process.name.iter().position(|&byte| byte == 0).unwrap_or(process.name.len());
    Text(&process.name[..end])
}

/// The name of a process state.
pub fn state_name(state: i32) -> &'static str {
    const NAMES: [(ProcState, &str); 6] = [
        (ProcState::Unused, "unused"),
        (ProcState::Used, "used"),
        (ProcState::Sleeping, "sleeping"),
        (ProcState::Runnable, "runnable"),
        (ProcState::Running, "running"),
        (ProcState::Zombie, "zombie"),
    ];
    NAMES.iter().find(|(known, _)| *known as i32 == state).map_or("?", |(_, name)| name)
}
