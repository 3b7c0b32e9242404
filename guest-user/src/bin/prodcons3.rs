//! `prodcons3 [keep]`: a shared ring of several pages that the parent has not touched at the
//! forks; the children must meet in the same frames all the same. `total = 2048`.
#![no_std]
#![no_main]

use ulib::prodcons::in_children;
use ulib::{Args, MAP_SHARED};

ulib::main!(main);

fn main(args: Args) -> i32 {
    in_children::<2048>(args, MAP_SHARED, |_| 1)
}
