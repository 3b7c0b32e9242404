//! `free [-k | -m]`: free memory in bytes, KiB or MiB, rounded down.
#![no_std]
#![no_main]

use ulib::{Args, eprintln, println, sys};

ulib::main!(main);

fn main(args: Args) -> i32 {
    let unit = match args.get(1).map(|option| option.to_bytes()) {
        None => 1,
        Some(b"-k") => 1024,
        Some(b"-m") => 1024 * 1024,
        Some(_) => {
            eprintln!("usage: free [-k | -m]");
            return 1;
        }
    };
    println!("{}", sys::freepmem() / unit);
    0
}
