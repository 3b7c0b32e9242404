//! `test-mmap`: pages promised and pages present, as memory is mapped and touched.
#![no_std]
#![no_main]

use ulib::{Args, PAGE, poke, println, sys};

ulib::main!(main);

fn main(_: Args) -> i32 {
    let pages = sys::numvp();
    let mut steps = Steps { pages, failed: false };
    steps.expect("at program start", 0, 0);

    let one = sys::mmap_brk(PAGE as i32, 0);
    steps.require(one != 0, "mmap of one page failed");
    steps.expect("one page mapped", 1, 0);
    touch(one);
    steps.expect("and touched", 1, 1);

    let two = sys::mmap_brk(2 * PAGE as i32, 0);
    steps.require(two != 0, "mmap of two pages failed");
    steps.expect("two pages mapped", 3, 1);
    touch(two);
    steps.expect("the first one touched", 3, 2);
    touch(two + PAGE);
    steps.expect("both touched", 3, 3);

    for bytes in [-1234, 1234] {
        let result = sys::mmap_brk(bytes, 0);
        steps.require(result == 0, "mmap of a wrong size did not fail");
        println!("mmap({bytes}) returned {result}");
    }
    println!("test-mmap: {}", if steps.failed { "FAILED" } else { "OK" });
    i32::from(steps.failed)
}

/// Writes to the page, if there is one.
fn touch(address: usize) {
    if address != 0 {
        poke(address, 1);
    }
}

struct Steps {
    /// Pages at program start.
    pages: i32,
    failed: bool,
}

impl Steps {
    /// Prints the counts, which must be these many pages more than at program start.
    fn expect(&mut self, what: &str, virtual_pages: i32, physical_pages: i32) {
        let (vp, pp) = (sys::numvp(), sys::numpp());
        println!("{vp} virtual, {pp} physical pages: {what}");
        let right = vp == self.pages + virtual_pages && pp == self.pages + physical_pages;
        self.require(right, "wrong counts");
    }

    fn require(&mut self, condition: bool, why: &str) {
        if !condition {
            println!("test-mmap: {why}");
            self.failed = true;
        }
    }
}
