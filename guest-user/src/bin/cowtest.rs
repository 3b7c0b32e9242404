//! `cowtest`: fork shares memory and copies only what is written.
#![no_std]
#![no_main]

use ulib::{Args, KILLED, PAGE, Pipe, Scratch, exit, fork, getpid, pause, peek, peek_word, pipe};
use ulib::{poke_word, print, println, read, sbrk, spawn, sys, wait, write};

ulib::main!(main);

/// Memory of a default machine: what MIT's test takes for granted.
const PHYSICAL: usize = 128 << 20;

fn main(_: Args) -> i32 {
    simple();
    // The first one must have given its memory back.
    simple();
    three();
    three();
    three();
    file();
    forkfork();
    println!("ALL COW TESTS PASSED");
    0
}

fn fail(why: &str) -> ! {
    println!("{why}");
    exit(-1)
}

/// Grows by `size` bytes; where.
fn grow(size: usize) -> usize {
    match sbrk(size as isize) {
        Some(start) => start.next_multiple_of(8),
        None => fail("sbrk failed"),
    }
}

fn shrink(size: usize) {
    if sbrk(-(size as isize)).is_none() {
        fail("sbrk of less failed");
    }
}

/// Writes the number into every page.
fn mark(start: usize, size: usize, number: i32) {
    for address in (start..start + size - 8).step_by(PAGE) {
        poke_word(address, number as usize);
    }
}

/// Ends the process unless every page has the number.
fn expect_marks(start: usize, size: usize, number: i32) {
    for address in (start..start + size - 8).step_by(PAGE) {
        if peek_word(address) != number as usize {
            fail("wrong content");
        }
    }
}

fn must_spawn(body: impl FnOnce() -> i32) {
    if spawn(body) < 0 {
        fail("fork() failed");
    }
}

/// Uses two thirds of memory, and forks: impossible without sharing.
fn simple() {
    print!("simple: ");
    let free = sys::freepmem() as usize;
    let memory = if (1..PHYSICAL).contains(&free) { free } else { PHYSICAL };
    let size = memory / 3 * 2;
    let start = grow(size);
    mark(start, size, getpid());
    must_spawn(|| 0);
    wait();
    shrink(size);
    println!("ok");
}

/// Parent, child and grandchild write overlapping parts of the same memory.
fn three() {
    print!("three: ");
    let size = PHYSICAL / 4;
    let start = grow(size);
    must_spawn(|| {
        must_spawn(|| {
            let part = size / 5 * 4;
            mark(start, part, getpid());
            expect_marks(start, part, getpid());
            0
        });
        mark(start, size / 2, 9999);
        0
    });
    mark(start, size, getpid());
    if wait().is_none_or(|child| child.status != 0) {
        fail("a child failed");
    }
    pause(1);
    expect_marks(start, size, getpid());
    shrink(size);
    println!("ok");
}

static BUF: Scratch<[u8; PAGE]> = Scratch::new([0; PAGE]);

/// The kernel writes for the children into a page that they share with their parent.
fn file() {
    print!("file: ");
    let buf = BUF.take();
    buf[0] = 99;
    for i in 0..4u32 {
        let Some(ends) = pipe() else { fail("pipe() failed") };
        must_spawn(|| read_number(ends, buf, i));
        if write(ends.writer, &i.to_le_bytes()) != 4 {
            fail("error: write failed");
        }
        ends.close();
    }
    for _ in 0..4 {
        if wait().is_none_or(|child| child.status != 0) {
            exit(1);
        }
    }
    if peek(buf.as_ptr() as usize) != 99 {
        fail("error: child overwrote parent");
    }
    println!("ok");
}

fn read_number(ends: Pipe, buf: &mut [u8; PAGE], number: u32) -> i32 {
    pause(1);
    if read(ends.reader, &mut buf[..4]) != 4 {
        println!("error: read failed");
        return 1;
    }
    pause(1);
    if buf[..4] != number.to_le_bytes() {
        println!("error: read the wrong value");
        return 1;
    }
    0
}

/// Many processes fork at the same time: races in the counting of references.
fn forkfork() {
    const CHILDREN: usize = 3;
    const SIZE: usize = 256 * PAGE;
    print!("forkfork: ");
    let start = grow(SIZE + 8);
    mark(start, SIZE, 27);
    for _ in 0..100 {
        for _ in 0..CHILDREN {
            spawn(|| {
                pause(2);
                fork();
                fork();
                0
            });
        }
        for _ in 0..CHILDREN {
            if wait().is_some_and(|child| child.status == KILLED) {
                fail("error: a child was killed");
            }
        }
    }
    pause(5);
    for address in (start..start + SIZE).step_by(PAGE) {
        if peek_word(address) != 27 {
            fail("error: parent's memory was modified!");
        }
    }
    println!("ok");
}
