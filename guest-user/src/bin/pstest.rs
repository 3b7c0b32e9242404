//! `pstest`: makes a child, two grandchildren and a zombie, and looks whether the process table
//! shows them; prints the tree.
#![no_std]
#![no_main]

use abi::stat::ProcState;
use ulib::{Args, exec, getpid, kill, pause, println, process_table, spawn, wait};

ulib::main!(main);

fn main(_: Args) -> i32 {
    let me = getpid();
    let zombie = spawn(|| 0);
    let child = spawn(|| {
        spawn(sleep_long);
        spawn(sleep_long);
        sleep_long()
    });
    pause(2); // Until all of them have got where they should be.

    let table = process_table();
    let is = |pid: i32, ppid: i32, state: ProcState| {
        table.iter().any(|p| p.pid == pid && p.ppid == ppid && p.state == state as i32)
    };
    let grandchildren = table.iter().filter(|p| p.ppid == child).count();
    let right = table.iter().any(|p| p.pid == me && p.state == ProcState::Running as i32)
        && is(child, me, ProcState::Sleeping)
        && is(zombie, me, ProcState::Zombie)
        && grandchildren == 2;

    let tree = spawn(|| {
        let mut pid = ulib::Name::<12>::new();
        let _ = core::fmt::Write::write_fmt(&mut pid, format_args!("{me}"));
        exec(c"pstree", &[c"pstree", pid.as_c()])
    });
    while wait().is_some_and(|ended| ended.pid != tree) {}
    for process in table.iter().filter(|p| p.ppid == child || p.pid == child) {
        kill(process.pid);
    }
    while wait().is_some() {}
    println!("pstest: {}", if right { "OK" } else { "FAILED" });
    i32::from(!right)
}

fn sleep_long() -> i32 {
    loop {
        pause(1000);
    }
}
