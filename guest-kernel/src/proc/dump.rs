//! Listings of the process table: for Ctrl-P and for `getprocs(2)`.

use core::sync::atomic::Ordering::Relaxed;

use abi::stat::{ProcInfo, ProcState};

use super::life::parent_pid;
use super::table::all;
use crate::println;

/// Prints all processes, for whoever typed Ctrl-P.
pub fn dump() {
    println!();
    for proc in all() {
        let state = proc.state.lock();
        let doing = match state.run {
            ProcState::Unused => continue,
            ProcState::Used => "used",
            ProcState::Sleeping => "sleep ",
            ProcState::Runnable => "runble",
            ProcState::Running => "run   ",
            ProcState::Zombie => "zombie",
        };
        println!("{} {} {}", state.pid, doing, state.name());
    }
}

/// All processes, in the order of their slots.
pub fn list() -> impl Iterator<Item = ProcInfo> {
    all().iter().filter_map(|proc| {
        let ppid = parent_pid(proc);
        let state = proc.state.lock();
        let info = ProcInfo {
            pid: state.pid,
            state: state.run as i32,
            size: proc.size.load(Relaxed),
            ppid,
            name: state.name,
        };
        (state.run != ProcState::Unused).then_some(info)
    })
}
