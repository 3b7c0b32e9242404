//! `ln old new`: gives a file one more name.
#![no_std]
#![no_main]

use ulib::{Args, eprintln, link, text};

ulib::main!(main);

fn main(args: Args) -> i32 {
    let (3, Some(old), Some(new)) = (args.len(), args.get(1), args.get(2)) else {
        eprintln!("Usage: ln old new");
        return 1;
    };
    if link(old, new) < 0 {
        eprintln!("link {} {}: failed", text(old), text(new));
    }
    0
}
