//! `prodcons2 [keep]`: like prodcons1 with private memory, where nobody sees the children's
//! work; `total = 0`.
#![no_std]
#![no_main]

use ulib::prodcons::in_children;
use ulib::{Args, MAP_PRIVATE};

ulib::main!(main);

fn main(args: Args) -> i32 {
    in_children::<10>(args, MAP_PRIVATE, |n| n)
}
