//! `private [keep]`: fills and empties a ring in private anonymous memory; `total = 55`.
//!
//! With an argument the memory is not unmapped: exit must give it back.
#![no_std]
#![no_main]

use ulib::prodcons::{Ring, finish};
use ulib::{Args, MAP_PRIVATE, println};

ulib::main!(main);

const ITEMS: i32 = 10;

fn main(args: Args) -> i32 {
    let Some(ring) = Ring::<10>::map(MAP_PRIVATE) else {
        println!("mmap failed");
        return 1;
    };
    ring.produce(ITEMS, |n| n);
    ring.consume(ITEMS);
    println!("total = {}", ring.total());
    finish(args, ring)
}
