//! `logstress file...`: one process for each file writes it, all at once, through the log.
#![no_std]
#![no_main]

use core::ffi::CStr;

use ulib::{Args, O_CREATE, O_RDWR, Scratch, open, println, spawn, text, wait, write};

ulib::main!(main);

const WRITES: u32 = 250;
const SIZE: usize = 2000;

static BUF: Scratch<[u8; SIZE]> = Scratch::new([0; SIZE]);

fn main(args: Args) -> i32 {
    for (index, path) in args.rest().enumerate() {
        if spawn(|| fill(args, path, b'1' + index as u8)) < 0 {
            println!("{}: fork failed", text(args.program()));
            return 1;
        }
    }
    for _ in args.rest() {
        if let Some(child) = wait()
            && child.status != 0
        {
            return child.status;
        }
    }
    0
}

fn fill(args: Args, path: &CStr, byte: u8) -> i32 {
    let fd = open(path, O_CREATE | O_RDWR);
    if fd < 0 {
        println!("{}: create {} failed", text(args.program()), text(path));
        return 1;
    }
    let buf = BUF.take();
    buf.fill(byte);
    for _ in 0..WRITES {
        let n = write(fd, buf);
        if n != SIZE as i32 {
            println!("write failed {n}");
            return 1;
        }
    }
    0
}
