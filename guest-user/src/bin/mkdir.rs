//! `mkdir name...`: makes directories.
#![no_std]
#![no_main]

use ulib::{Args, eprintln, mkdir, text};

ulib::main!(main);

fn main(args: Args) -> i32 {
    if args.len() < 2 {
        eprintln!("Usage: mkdir files...");
        return 1;
    }
    for name in args.rest() {
        if mkdir(name) < 0 {
            eprintln!("mkdir: {} failed to create", text(name));
            break;
        }
    }
    0
}
