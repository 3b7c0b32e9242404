//! `kill pid...`: ends processes.
#![no_std]
#![no_main]

use ulib::{Args, atoi, eprintln, kill};

ulib::main!(main);

fn main(args: Args) -> i32 {
    if args.len() < 2 {
        eprintln!("usage: kill pid...");
        return 1;
    }
    for pid in args.rest() {
        kill(atoi(pid));
    }
    0
}
