//! `uptime`: clock ticks since boot.
#![no_std]
#![no_main]

use ulib::{Args, println, uptime};

ulib::main!(main);

fn main(_: Args) -> i32 {
    println!("{}", uptime());
    0
}
