//! `test-shared2`: the shared page is dropped by both sides and made again:
//! `child 42`, `parent 53`, `child again 43`, `parent again 54`.
#![no_std]
#![no_main]

use ulib::{Args, println, shared, sys};

ulib::main!(main);

fn main(_: Args) -> i32 {
    let free = sys::getnumfreepages();
    let passed = shared::round("", 42, 53) && shared::round("again ", 43, 54);
    let after = sys::getnumfreepages();
    if after != free {
        println!("test-shared2: {after} pages are free, {free} were");
    }
    i32::from(!passed || after != free)
}
