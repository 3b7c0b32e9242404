//! Processes: making them, waiting for them, becoming another program.

use core::ffi::{CStr, c_char};

use abi::param::MAXARG;

use crate::sys;
pub use crate::sys::{exit, fork, getpid, kill, pause, uptime};

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
