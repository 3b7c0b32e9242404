//! `wc [file...]`: counts lines, words and bytes.
#![no_std]
#![no_main]

use core::ffi::CStr;

use ulib::{Args, O_RDONLY, Scratch, close, open, println, read, text};

ulib::main!(main);

static BUF: Scratch<[u8; 512]> = Scratch::new([0; 512]);

fn main(args: Args) -> i32 {
    let buf = BUF.take();
    if args.len() <= 1 {
        return count(0, c"", buf);
    }
    for path in args.rest() {
        let fd = open(path, O_RDONLY);
        if fd < 0 {
            println!("wc: cannot open {}", text(path));
            return 1;
        }
        let status = count(fd, path, buf);
        if status != 0 {
            return status;
        }
        close(fd);
    }
    0
}

fn count(fd: i32, path: &CStr, buf: &mut [u8]) -> i32 {
    let (mut lines, mut words, mut bytes) = (0, 0, 0);
    let mut in_word = false;
    loop {
        let n = read(fd, buf);
        if n < 0 {
            println!("wc: read error");
            return 1;
        }
        if n == 0 {
            break;
        }
        for &byte in &buf[..n as usize] {
            bytes += 1;
            lines += i32::from(byte == b'\n');
            let space = matches!(byte, b' ' | b'\r' | b'\t' | b'\n' | b'\x0b');
            words += i32::from(!space && !in_word);
            in_word = !space;
        }
    }
    println!("{lines} {words} {bytes} {}", text(path));
    0
}
