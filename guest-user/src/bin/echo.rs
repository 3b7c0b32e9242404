//! `echo words...`: prints its arguments, one space between them.
#![no_std]
#![no_main]

use ulib::{Args, write};

ulib::main!(main);

fn main(args: Args) -> i32 {
    for (index, word) in args.rest().enumerate() {
        if index > 0 {
            write(1, b" ");
        }
        write(1, word.to_bytes());
    }
    if args.len() > 1 {
        write(1, b"\n");
    }
    0
}
