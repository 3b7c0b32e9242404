//! `trace mask command [args...]`: runs a command and has the kernel print those of its system
//! calls whose bits are set in the mask (bit n stands for call n), and its children's.
#![no_std]
#![no_main]

use ulib::{Args, eprintln, sys, text};

ulib::main!(main);

fn main(args: Args) -> i32 {
    let (Some(mask), Some(command)) = (args.get(1), args.get(2)) else {
        eprintln!("usage: trace mask command");
        return 1;
    };
    let mask = mask.to_bytes().iter().take_while(|byte| byte.is_ascii_digit());
    let mask = mask.fold(0u64, |n, byte| n.wrapping_mul(10).wrapping_add(u64::from(byte - b'0')));
    if sys::trace(mask) < 0 {
        eprintln!("trace: trace failed");
        return 1;
    }
    sys::exec(command.as_ptr(), args.argv_from(2));
    eprintln!("trace: exec {} failed", text(command));
    1
}
