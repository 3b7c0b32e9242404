//! `test-shared1`: a page that parent and child share: `child 42`, `parent 53`.
#![no_std]
#![no_main]

use ulib::{Args, shared};

ulib::main!(main);

fn main(_: Args) -> i32 {
    i32::from(!shared::round("", 42, 53))
}
