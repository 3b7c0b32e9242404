//! `pstest`: makes a child, two grandchildren and a zombie, and looks whether the process table
//! shows them; prints the tree.
#![no_std]
#![no_main]

use abi::stat::ProcState;
use ulib::{
    Args, exec, getpid, kill, pause, println, process_name, process_table, spawn, state_name, wait,
};

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
    let is = |pid: i32, states: &[ProcState]| {
        let shown = table.iter().find(|process| process.pid == pid);
        shown.is_some_and(|p| states.iter().any(|&state| p.state == state as i32))
    };
    // Every clock tick makes sleepers runnable for a moment, to look at the time.
    let asleep = [ProcState::Sleeping, ProcState::Runnable];
    let right = is(me, &[ProcState::Running])
        && is(zombie, &[ProcState::Zombie])
        && is(child, &asleep)
        && table.iter().filter(|p| p.ppid == me).count() == 2
        && table.iter().filter(|p| p.ppid == child && is(p.pid, &asleep)).count() == 2;

    let tree = spawn(|| {
        let mut pid = ulib::Name::<12>::new();
        let _ = core::fmt::Write::write_fmt(&mut pid, format_args!("{me}"));
        exec(c"pstree", &[c"pstree", pid.as_c()])
    });
    while tree >= 0 && wait().is_some_and(|ended| ended.pid != tree) {}
    for process in table.iter().filter(|p| p.ppid == child || p.pid == child) {
        kill(process.pid);
    }
    while wait().is_some() {}
    if !right {
        for p in table {
            println!("{}\t{}\t{}\t{}", p.pid, state_name(p.state), p.ppid, process_name(p));
        }
    }
    println!("pstest: {}", if right { "OK" } else { "FAILED" });
    i32::from(!right)
}

fn sleep_long() -> i32 {
    loop {
        pause(1000);
    }
}
