//! `memory-user start limit incr`: allocates, touches and frees start, start + incr, … up to
//! limit MiB, with pauses in which `free` and `ps` can be run.
#![no_std]
#![no_main]

use ulib::{Args, PAGE, Ptr, atoi, eprintln, free, malloc, pause, poke, println};

ulib::main!(main);

const MIB: usize = 1024 * 1024;
const PAUSE_TICKS: i32 = 5;

fn main(args: Args) -> i32 {
    let (4, Some(start), Some(limit), Some(increment)) =
        (args.len(), args.get(1), args.get(2), args.get(3))
    else {
        eprintln!("usage: memory-user start limit incr (in MiB)");
        return 1;
    };
    let increment = atoi(increment).max(1) as usize;
    for mib in (atoi(start) as usize..=atoi(limit) as usize).step_by(increment) {
        println!("allocating {mib} mebibytes");
        let block = malloc(mib * MIB);
        println!("malloc returned {}", Ptr(block as usize));
        if block.is_null() {
            println!("malloc failed");
            return 1;
        }
        for offset in (0..mib * MIB).step_by(PAGE) {
            poke(block as usize + offset, 1);
        }
        pause(PAUSE_TICKS);
        println!("freeing {mib} mebibytes");
        // SAFETY: the block was just allocated and is not used any more.
        unsafe { free(block) };
        pause(PAUSE_TICKS);
    }
    0
}
