//! `test-vmcount`: numvp, numpp and getptsize before and after sbrk, mmap and touching.
#![no_std]
#![no_main]

use ulib::{Args, PAGE, poke, println, sbrk, sbrklazy, sys};

ulib::main!(main);

const PAGES: usize = 4;

fn main(_: Args) -> i32 {
    let mut failed = false;
    let mut last = report("at program start");
    let mut step = |what: &str, virtual_pages: i32, physical_pages: i32| {
        let now = report(what);
        if now.0 != last.0 + virtual_pages || now.1 != last.1 + physical_pages {
            println!("expected {virtual_pages:+} virtual, {physical_pages:+} physical pages");
            failed = true;
        }
        last = now;
    };
    let n = PAGES as i32;
    let bytes = (PAGES * PAGE) as isize;

    let lazy = sbrklazy(bytes).unwrap_or(0);
    step("sbrk, lazily, by 4 pages", n, 0);
    touch(lazy);
    step("touched", 0, n);
    sbrk(-bytes);
    step("sbrk by -4 pages", -n, -n);
    let mapped = sys::mmap_brk(bytes as i32, 0);
    step("mmap of 4 pages", n, 0);
    touch(mapped);
    step("touched", 0, n);
    println!("test-vmcount: {}", if failed { "FAILED" } else { "OK" });
    i32::from(failed)
}

fn touch(start: usize) {
    (0..PAGES).for_each(|page| poke(start + page * PAGE, 1));
}

/// Prints the counts; virtual and physical pages.
fn report(what: &str) -> (i32, i32) {
    let (vp, pp, pt) = (sys::numvp(), sys::numpp(), sys::getptsize());
    println!("{vp} virtual, {pp} physical, {pt} page-table pages: {what}");
    (vp, pp)
}
