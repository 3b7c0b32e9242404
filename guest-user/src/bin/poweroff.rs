//! `poweroff [status]`: ends the machine with this exit status, 0 by default.
#![no_std]
#![no_main]

use ulib::{Args, eprintln, number_or, sys};

ulib::main!(main);

fn main(args: Args) -> i32 {
    sys::poweroff(number_or(args.get(1), 0) as i32);
    eprintln!("poweroff: this kernel cannot");
    1
}
