//! `kmalloctest [number]`: the kernel's allocator and anonymous mmap, tests 1 to 7.
#![no_std]
#![no_main]

use ulib::{Args, PAGE, Text, number_or, peek, poke, sys};

ulib::main!(main);

const TESTS: [fn() -> Option<()>; 7] =
    [kmalloc_500, zeroed, hint, hint_100, aligned, strings_100, two_pages];

/// The hint that the tests give: the kernel may map elsewhere.
const HINT: usize = 0x4000;

/// Prints a line of test output.
macro_rules! output {
    ($($arg:tt)*) => { ulib::println!("XV6_TEST_OUTPUT : {}", format_args!($($arg)*)) };
}

fn main(args: Args) -> i32 {
    let only = number_or(args.get(1), 0);
    let mut failed = false;
    for (test, number) in TESTS.into_iter().zip(1..) {
        if only == 0 || only == number {
            failed |= test().is_none();
        }
    }
    i32::from(failed)
}

/// Maps as the lab does: no protection, no flags, no file.
fn map(hint: usize, length: usize) -> Option<usize> {
    let address = sys::mmap(hint, length, 0, 0, -1, 0);
    if address <= 0 {
        output!("mmap failed");
        return None;
    }
    Some(address as usize)
}

fn unmap(address: usize, length: usize) -> Option<()> {
    // SAFETY: a mapping of ours that is not used any more.
    if unsafe { sys::munmap(address, length) } < 0 {
        output!("munmap failed");
        return None;
    }
    Some(())
}

/// Bytes up to the first NUL.
fn strlen(address: usize) -> usize {
    (address..).take_while(|&address| peek(address) != 0).count()
}

/// Writes a string with its NUL.
fn strcpy(address: usize, string: &[u8]) {
    for (address, &byte) in (address..).zip(string.iter().chain(&[0])) {
        poke(address, byte);
    }
}

/// Writes `length` times an `a`.
fn fill(address: usize, length: usize) {
    (address..address + length).for_each(|address| poke(address, b'a'));
}

/// Prints the string at this address, of at most 16 bytes.
fn print_string(address: usize) {
    let mut copy = [0; 16];
    let length = strlen(address).min(copy.len());
    for (byte, address) in copy[..length].iter_mut().zip(address..) {
        *byte = peek(address);
    }
    output!("str = {}", Text(&copy[..length]));
}

fn kmalloc_500() -> Option<()> {
    for _ in 0..500 {
        let address = sys::kmalloc(2000);
        if address == 0 {
            output!("kmalloc failed to allocate memory");
            return None;
        }
        if sys::kmfree(address) < 0 {
            output!("kmfree failed");
            return None;
        }
    }
    output!("kmalloc  and kmfree good.");
    Some(())
}

fn zeroed() -> Option<()> {
    let start = map(0, 10)?;
    output!("mmap good");
    let result = i32::from((start..start + 10).any(|address| peek(address) != 0));
    output!("Ret of memcmp {result}");
    if result != 0 {
        output!("mmap() should zero out the  newly mapped anonymous memory region.!!");
        return None;
    }
    output!("mmap() has correctly cleared the newly mapped anonymous memory region");
    unmap(start, 10)?;
    output!("munmap good");
    Some(())
}

fn hint() -> Option<()> {
    let start = map(HINT, 10)?;
    output!("mmap good");
    output!("Strlen Before modification: {}", strlen(start));
    strcpy(start, b"012345");
    print_string(start);
    output!("Strlen After modification: {}", strlen(start));
    unmap(start, 10)?;
    output!("munmap good");
    Some(())
}

fn hint_100() -> Option<()> {
    for _ in 0..100 {
        let start = map(HINT, 10)?;
        strcpy(start, b"012345");
        print_string(start);
        unmap(start, 10)?;
    }
    Some(())
}

fn aligned() -> Option<()> {
    const SIZE: usize = 200;
    let starts = [map(0, SIZE)?, map(0, SIZE)?, map(0, SIZE)?];
    let [rem1, rem2, rem3] = starts.map(|start| start % PAGE);
    output!("rem1 = {rem1} rem2 = {rem2} rem3 = {rem3}");
    if [rem1, rem2, rem3] != [0; 3] {
        output!("Address returned by mmap should be page aligned");
        return None;
    }
    output!("mmap good --> address returned is page aligned");
    for start in starts {
        unmap(start, SIZE)?;
    }
    output!("munmap good");
    Some(())
}

fn strings_100() -> Option<()> {
    const SIZE: usize = 2100;
    for _ in 0..100 {
        let start = map(HINT, SIZE)?;
        fill(start, 2000);
        output!("strlen(r) = {}", strlen(start));
        unmap(start, SIZE)?;
    }
    Some(())
}

fn two_pages() -> Option<()> {
    const SIZE: usize = 2 * PAGE;
    let start = map(HINT, SIZE)?;
    output!("mmap good");
    fill(start, SIZE - 1);
    output!("strlen(r) = {}", strlen(start));
    unmap(start, SIZE)?;
    output!("munmap good");
    Some(())
}
