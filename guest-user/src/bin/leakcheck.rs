//! `leakcheck command [args...]`: runs a command, and looks whether as many pages are free
//! afterwards as before. Ends with the command's exit status, or 99 when memory is lost.
#![no_std]
#![no_main]

use ulib::{Args, eprintln, pause, println, spawn, sys, text, wait};

ulib::main!(main);

/// The exit status when memory is lost.
const LOST: i32 = 99;
/// Clock ticks after which memory still missing counts as lost: orphans may be ending.
const SETTLE_TICKS: u32 = 30;

fn main(args: Args) -> i32 {
    let Some(command) = args.get(1) else {
        eprintln!("usage: leakcheck command [args...]");
        return 1;
    };
    let before = sys::getnumfreepages();
    let pid = spawn(|| {
        sys::exec(command.as_ptr(), args.argv_from(1));
        eprintln!("leakcheck: exec {} failed", text(command));
        127
    });
    let Some(ended) = wait() else {
        eprintln!("leakcheck: fork failed");
        return 1;
    };
    assert!(ended.pid == pid, "there is only one child");
    for _ in 0..SETTLE_TICKS {
        if sys::getnumfreepages() >= before {
            return ended.status;
        }
        pause(1);
    }
    println!("leakcheck: {} of {before} free pages are lost", before - sys::getnumfreepages());
    LOST
}
