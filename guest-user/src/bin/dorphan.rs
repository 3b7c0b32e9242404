//! `dorphan`: stays in a directory without a name, for the next boot to reclaim.
#![no_std]
#![no_main]

use ulib::{Args, chdir, mkdir, pause, println, text, unlink};

ulib::main!(main);

fn main(args: Args) -> i32 {
    let me = text(args.program());
    if mkdir(c"dd") != 0 {
        println!("{me}: mkdir dd failed");
        return 1;
    }
    if chdir(c"dd") != 0 {
        println!("{me}: chdir dd failed");
        return 1;
    }
    if unlink(c"../dd") < 0 {
        println!("{me}: unlink failed");
        return 1;
    }
    println!("wait for kill and reclaim");
    loop {
        pause(1000);
    }
}
