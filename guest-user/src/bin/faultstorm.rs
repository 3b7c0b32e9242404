//! `faultstorm [lazy | cow | last | join | file | kill] [faults]`: at least so many page faults of
//! a kind, for measuring their cost.
#![no_std]
#![no_main]

use ulib::{Args, MAP_SHARED, O_RDONLY, PAGE, PROT_READ, close, eprintln, mmap_anonymous};
use ulib::{mmap_file, munmap, number_or, open, peek, poke, println, sbrklazy, spawn, wait};

ulib::main!(main);

/// Pages that are faulted in at a time, and pages of the file that is mapped.
const PAGES: usize = 64;
const FILE_PAGES: usize = 16;

fn main(args: Args) -> i32 {
    let kind = args.get(1).unwrap_or(c"lazy");
    let faults = number_or(args.get(2), 1000);
    let (round, size): (fn() -> Option<()>, usize) = match kind.to_bytes() {
        b"lazy" => (lazy, PAGES),
        b"cow" => (cow, PAGES),
        b"last" => (last, PAGES),
        b"join" => (join, PAGES),
        b"file" => (file, FILE_PAGES),
        b"kill" => (kill, 1),
        _ => {
            eprintln!("usage: faultstorm [lazy | cow | last | join | file | kill] [faults]");
            return 1;
        }
    };
    let rounds = faults.div_ceil(size);
    if (0..rounds).any(|_| round().is_none()) {
        eprintln!("faultstorm: out of memory");
        return 1;
    }
    println!("faultstorm: {} {} faults", rounds * size, kind.to_str().unwrap_or_default());
    0
}

fn touch(start: usize) -> i32 {
    (0..PAGES).for_each(|page| poke(start + page * PAGE, 1));
    0
}

/// Does something with fresh pages, which `used` may do more with.
fn with_pages(used: impl FnOnce(usize) -> Option<()>) -> Option<()> {
    let length = (PAGES * PAGE) as isize;
    let start = sbrklazy(length)?;
    touch(start);
    let done = used(start);
    sbrklazy(-length)?;
    done
}

/// Runs a child to its end; whether it ended as it should.
fn child(body: impl FnOnce() -> i32) -> Option<()> {
    (spawn(body) >= 0).then_some(())?;
    wait().filter(|child| child.status == 0).map(|_| ())
}

/// Fresh pages.
fn lazy() -> Option<()> {
    with_pages(|_| Some(()))
}

/// Pages that parent and child share until the child writes.
fn cow() -> Option<()> {
    with_pages(|start| child(|| touch(start)))
}

/// Pages that a child that is gone has shared.
fn last() -> Option<()> {
    with_pages(|start| {
        child(|| 0)?;
        touch(start);
        Some(())
    })
}

/// Pages of a mapping that the child has touched before.
fn join() -> Option<()> {
    let start = mmap_anonymous(PAGES * PAGE, MAP_SHARED)?;
    child(|| touch(start))?;
    touch(start);
    munmap(start, PAGES * PAGE).then_some(())
}

/// Pages of a file.
fn file() -> Option<()> {
    let fd = open(c"usertests", O_RDONLY);
    let start = mmap_file(fd, FILE_PAGES * PAGE, PROT_READ, MAP_SHARED)?;
    (0..FILE_PAGES).for_each(|page| _ = peek(start + page * PAGE));
    let done = munmap(start, FILE_PAGES * PAGE);
    close(fd);
    done.then_some(())
}

/// A child that touches what is not its own.
fn kill() -> Option<()> {
    (spawn(|| i32::from(peek(!(PAGE - 1)))) >= 0).then_some(())?;
    wait().filter(|child| child.status != 0).map(|_| ())
}
