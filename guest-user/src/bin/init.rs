//! `init [command]`: the first process. Opens the console and keeps a shell running on it.
//!
//! With a command line as its one argument (the boot flag `run=`) it has a shell run that
//! instead, and ends the machine with the command's exit status. Either way it is the parent of
//! every process whose own parent is gone.
#![no_std]
#![no_main]

use core::ffi::CStr;

use abi::param::CONSOLE;
use ulib::{Args, O_RDWR, dup, exec, mknod, open, pause, println, spawn, sys, wait};

ulib::main!(main);

fn main(args: Args) -> i32 {
    if open(c"console", O_RDWR) < 0 {
        mknod(c"console", CONSOLE, 0);
        open(c"console", O_RDWR);
    }
    dup(0); // Standard output
    dup(0); // and standard error.
    if let Some(command) = args.get(1) {
        return match run(&[c"sh", c"-c", command]) {
            Some(status) => sys::poweroff(status & 0xff),
            None => 1,
        };
    }
    loop {
        println!("init: starting sh");
        if run(&[c"sh"]).is_none() {
            // Others have all the memory, or all the processes: they will not keep it for ever.
            pause(10);
        }
    }
}

/// Runs a shell and waits for its end, and for that of every orphan meanwhile.
fn run(shell: &[&CStr]) -> Option<i32> {
    let pid = spawn(|| {
        exec(c"/sh", shell);
        println!("init: exec sh failed");
        1
    });
    if pid < 0 {
        println!("init: fork failed");
        return None;
    }
    loop {
        match wait() {
            Some(child) if child.pid == pid => return Some(child.status),
            Some(_orphan) => {}
            None => {
                println!("init: wait returned an error");
                return None;
            }
        }
    }
}
