//! `prodcons1 [keep]`: two children share anonymous memory with their parent; `total = 55`.
#![no_std]
#![no_main]

use ulib::prodcons::in_children;
use ulib::{Args, MAP_SHARED};

ulib::main!(main);

fn main(args: Args) -> i32 {
    in_children::<10>(args, MAP_SHARED, |n| n)
}
