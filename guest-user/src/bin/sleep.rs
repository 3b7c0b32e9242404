//! `sleep seconds`: does nothing for a while.
#![no_std]
#![no_main]

use ulib::{Args, atoi, eprintln, pause};

ulib::main!(main);

const TICKS_PER_SECOND: i32 = 10;

fn main(args: Args) -> i32 {
    let Some(seconds) = args.get(1) else {
        eprintln!("usage: sleep seconds");
        return 1;
    };
    pause(atoi(seconds).saturating_mul(TICKS_PER_SECOND));
    0
}
