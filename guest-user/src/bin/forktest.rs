//! `forktest`: fork fails gracefully when there is no room for another process.
//!
//! Small on purpose, without formatted output, so that the process table fills up before memory.
#![no_std]
#![no_main]

use ulib::{Args, exit, fork, wait, write};

ulib::main!(main);

const N: u32 = 1000;

fn main(_: Args) -> i32 {
    write(1, b"fork test\n");
    let mut children = 0;
    while children < N {
        match fork() {
            0 => exit(0),
            pid if pid < 0 => break,
            _ => children += 1,
        }
    }
    if children == N {
        write(1, b"fork claimed to work N times!\n");
        return 1;
    }
    for _ in 0..children {
        if wait().is_none() {
            write(1, b"wait stopped early\n");
            return 1;
        }
    }
    if wait().is_some() {
        write(1, b"wait got too many\n");
        return 1;
    }
    write(1, b"fork test OK\n");
    0
}
