//! `forphan`: leaves an open file without a name behind, for the next boot to reclaim.
#![no_std]
#![no_main]

use ulib::unlink;
use ulib::{Args, O_CREATE, O_RDONLY, O_WRONLY, eprintln, fstat, open, pause, println, text};

ulib::main!(main);

fn main(args: Args) -> i32 {
    let me = text(args.program());
    let fd = open(c"file0", O_CREATE | O_WRONLY);
    if fd < 0 {
        println!("{me}: open failed");
        return 1;
    }
    let Some(stat) = fstat(fd) else {
        eprintln!("{me}: cannot stat file0");
        return 1;
    };
    if unlink(c"file0") < 0 {
        println!("{me}: unlink failed");
        return 1;
    }
    if open(c"file0", O_RDONLY) != -1 {
        println!("{me}: open succeeded");
        return 1;
    }
    println!("wait for kill and reclaim {}", stat.ino);
    loop {
        pause(1000);
    }
}
