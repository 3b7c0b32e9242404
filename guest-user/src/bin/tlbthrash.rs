//! `tlbthrash [pages [passes [stride]]]`: touches more pages than a TLB reaches, in strides,
//! so that nearly every access misses.
#![no_std]
#![no_main]

use ulib::{Args, PAGE, eprintln, number_or, peek_word, poke_word, println, sbrk};

ulib::main!(main);

fn main(args: Args) -> i32 {
    let pages = number_or(args.get(1), 1024).max(1);
    let passes = number_or(args.get(2), 16);
    let stride = number_or(args.get(3), 17);
    let Some(start) = sbrk((pages * PAGE) as isize) else {
        eprintln!("tlbthrash: no memory for {pages} pages");
        return 1;
    };
    let start = start.next_multiple_of(8);
    let mut page = 0;
    for _ in 0..pages * passes {
        // Another cache line on each page, so that only translations collide.
        let address = start + page * PAGE + page % 8 * 64;
        poke_word(address, peek_word(address) + 1);
        page = (page + stride) % pages;
    }
    println!("tlbthrash: {} accesses to {pages} pages, stride {stride}", 2 * pages * passes);
    0
}
