//! `lazytests [name]`: memory that is promised first and mapped when it is touched.
#![no_std]
#![no_main]

use ulib::{Args, KILLED, PAGE, exit, peek_word, poke, poke_word, println, sbrklazy, spawn, wait};

ulib::main!(main);

const REGION: usize = 1 << 30;

/// Its name, and the test, whose result is the exit status of its process.
type Test = (&'static str, fn() -> i32);

const TESTS: [Test; 3] =
    [("lazy alloc", sparse), ("lazy unmap", sparse_unmap), ("out of memory", out_of_memory)];

fn main(args: Args) -> i32 {
    println!("lazytests starting");
    let mut failed = false;
    for (name, test) in TESTS {
        if is_wanted(args, name) {
            failed |= !run(name, test);
        }
    }
    println!("{}", if failed { "SOME TESTS FAILED" } else { "ALL TESTS PASSED" });
    i32::from(failed)
}

/// Whether the arguments, with a space between them, are the test's name; without any, all are.
fn is_wanted(args: Args, name: &str) -> bool {
    args.len() == 1
        || args.rest().map(|word| word.to_bytes()).eq(name.split(' ').map(str::as_bytes))
}

/// Runs a test in a process of its own; whether that ended with status 0.
fn run(name: &str, test: fn() -> i32) -> bool {
    println!("running test {name}");
    let pid = spawn(test);
    if pid < 0 {
        println!("runtest: fork error");
        return false;
    }
    let passed = wait().is_some_and(|child| child.status == 0);
    println!("test {name}: {}", if passed { "OK" } else { "FAILED" });
    passed
}

fn fail(why: &str) -> ! {
    println!("{why}");
    exit(1)
}

/// Promises a gibibyte; where it begins, a multiple of 8.
fn promise() -> usize {
    match sbrklazy(REGION as isize) {
        Some(start) => start.next_multiple_of(8),
        None => fail("sbrk() failed"),
    }
}

/// Writes and reads one word in every 64th page.
fn sparse() -> i32 {
    let start = promise();
    let words = || (start + PAGE..start + REGION - 8).step_by(64 * PAGE);
    for address in words() {
        poke_word(address, address);
    }
    for address in words() {
        if peek_word(address) != address {
            fail("failed to read value from memory");
        }
    }
    0
}

/// Each of 64 children gives the region back and must then not get at it any more.
fn sparse_unmap() -> i32 {
    let start = promise();
    let words = || (start + PAGE..start + REGION - 8).step_by(PAGE * PAGE);
    for address in words() {
        poke_word(address, address);
    }
    for address in words() {
        let pid = spawn(|| {
            sbrklazy(-(REGION as isize));
            poke_word(address, address);
            0
        });
        if pid < 0 {
            fail("error forking");
        }
        if wait().is_none_or(|child| child.status == 0) {
            fail("memory not unmapped");
        }
    }
    0
}

/// A process that touches more memory than there is must be killed.
fn out_of_memory() -> i32 {
    const STEP: usize = 4096 * PAGE;
    let pid = spawn(|| {
        while let Some(start) = sbrklazy(STEP as isize) {
            for address in (start..start + STEP).step_by(PAGE) {
                poke(address, 1);
            }
        }
        0
    });
    if pid < 0 {
        fail("error forking");
    }
    i32::from(wait().is_none_or(|child| child.status != KILLED))
}
