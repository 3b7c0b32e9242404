//! `test-cow`: free pages before fork, after fork, after a child's writes, and after its end.
#![no_std]
#![no_main]

use ulib::{Args, PAGE, close, pause, pipe, poke, println, read, sbrk, spawn, sys, wait, write};

ulib::main!(main);

const PAGES: usize = 16;

fn main(_: Args) -> i32 {
    let Some(start) = sbrk((PAGES * PAGE) as isize) else {
        println!("test-cow: sbrk failed");
        return 1;
    };
    let touch = || (0..PAGES).for_each(|page| poke(start + page * PAGE, 1));
    touch();
    // The child goes on when it is told, and says when it is done.
    let (Some(go), Some(done)) = (pipe(), pipe()) else {
        println!("test-cow: pipe failed");
        return 1;
    };
    let before = report("before fork", None);
    let pid = spawn(|| {
        close(go.writer);
        read(go.reader, &mut [0]);
        touch();
        write(done.writer, b"d");
        read(go.reader, &mut [0]);
        0
    });
    if pid < 0 {
        println!("test-cow: fork failed");
        return 1;
    }
    // So that a child that is killed ends our waiting for it.
    close(go.reader);
    close(done.writer);
    pause(1);
    let forked = report("after fork", Some(before));
    write(go.writer, b"g");
    read(done.reader, &mut [0]);
    let written = report("after the child has written 16 pages", Some(forked));
    write(go.writer, b"g");
    let ended = wait().is_some_and(|child| child.status == 0);
    let after = report("after the child's end", Some(written));
    // The parent's own pages that it wrote meanwhile may have been copied, and have come back.
    let passed = ended && after == before && written <= forked;
    println!("test-cow: {}", if passed { "OK" } else { "FAILED" });
    i32::from(!passed)
}

/// Prints how many pages are free, and how many more than last time.
fn report(what: &str, last: Option<i32>) -> i32 {
    let free = sys::getnumfreepages();
    match last {
        Some(last) => println!("{free} pages free ({:+}) {what}", free - last),
        None => println!("{free} pages free {what}"),
    }
    free
}
