//! `zombie`: a child ends before its parent, which never waits for it.
#![no_std]
#![no_main]

use ulib::{Args, fork, pause};

ulib::main!(main);

fn main(_: Args) -> i32 {
    if fork() > 0 {
        pause(5); // Let the child end first.
    }
    0
}
