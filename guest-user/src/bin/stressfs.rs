//! `stressfs`: five processes write and read files of their own at the same time.
#![no_std]
#![no_main]

use core::fmt::Write;

use ulib::{Args, Name, O_CREATE, O_RDONLY, O_RDWR, Scratch, close, fork, open, println, read};
use ulib::{wait, write};

ulib::main!(main);

static DATA: Scratch<[u8; 512]> = Scratch::new([b'a'; 512]);

fn main(_: Args) -> i32 {
    println!("stressfs starting");
    let data = DATA.take();
    let mut who = 0;
    while who < 4 && fork() <= 0 {
        who += 1;
    }
    println!("write {who}");
    let mut path = Name::<16>::new();
    let _ = write!(path, "stressfs{who}");
    let fd = open(path.as_c(), O_CREATE | O_RDWR);
    for _ in 0..20 {
        write(fd, data);
    }
    close(fd);
    println!("read");
    let fd = open(path.as_c(), O_RDONLY);
    for _ in 0..20 {
        read(fd, data);
    }
    close(fd);
    wait();
    0
}
