//! `rm name...`: removes names.
#![no_std]
#![no_main]

use ulib::{Args, eprintln, text, unlink};

ulib::main!(main);

fn main(args: Args) -> i32 {
    if args.len() < 2 {
        eprintln!("Usage: rm files...");
        return 1;
    }
    for name in args.rest() {
        if unlink(name) < 0 {
            eprintln!("rm: {} failed to delete", text(name));
            break;
        }
    }
    0
}
