//! Memory by hand: the break, mappings, and single bytes at any address.

use abi::layout::PGSIZE;
use abi::mman::{MAP_ANONYMOUS, PROT_READ, PROT_WRITE, SBRK_EAGER, SBRK_LAZY};

use crate::sys;

/// Bytes in a page.
pub const PAGE: usize = PGSIZE as usize;

/// Moves the break by `n` bytes, pages mapped at once; the old break.
///
/// The raw call is unsafe because shrinking takes memory away; here that is the caller's own
/// look-out, as with `malloc` in use: a negative `n` must only return what `sbrk` gave.
pub fn sbrk(n: isize) -> Option<usize> {
    // SAFETY: see above; growing touches nothing that exists.
    address(unsafe { sys::sbrk(n, SBRK_EAGER) })
}

/// Like [`sbrk`], but pages are mapped when they are touched.
pub fn sbrklazy(n: isize) -> Option<usize> {
    // SAFETY: as in `sbrk`.
    address(unsafe { sys::sbrk(n, SBRK_LAZY) })
}

/// Where the break is.
pub fn brk() -> usize {
    sbrk(0).expect("sbrk(0) cannot fail")
}

/// Maps `length` bytes of anonymous memory, readable and writable; where.
pub fn mmap_anonymous(length: usize, flags: u32) -> Option<usize> {
    address(sys::mmap(0, length, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0))
}

/// Maps `length` bytes of a file from its beginning on; where.
pub fn mmap_file(fd: i32, length: usize, prot: u32, flags: u32) -> Option<usize> {
    address(sys::mmap(0, length, prot, flags, fd, 0))
}

/// Takes a mapping away; whether there was one. The caller must not use it any more.
pub fn munmap(address: usize, length: usize) -> bool {
    // SAFETY: as in `sbrk`: what the program mapped by hand it unmaps by hand.
    unsafe { sys::munmap(address, length) == 0 }
}

/// An address that a call returned, unless that was -1.
fn address(result: isize) -> Option<usize> {
    (result != -1).then_some(result as usize)
}

/// Writes a byte wherever it is told to; the kernel has the last word.
///
/// For programs that test memory itself.
#[inline(never)]
pub fn poke(address: usize, value: u8) {
    // SAFETY: the address is one that the program mapped for this, or one whose store the test
    // expects to trap; nothing Rust knows of lives there.
    unsafe { (address as *mut u8).write_volatile(value) }
}

/// Reads a byte from wherever it is told to; see [`poke`].
#[inline(never)]
pub fn peek(address: usize) -> u8 {
    // SAFETY: as in `poke`; a load from a mapped address harms nobody.
    unsafe { (address as *const u8).read_volatile() }
}

/// Writes a word; the address must be a multiple of 8. See [`poke`].
#[inline(never)]
pub fn poke_word(address: usize, value: usize) {
    // SAFETY: as in `poke`.
    unsafe { (address as *mut usize).write_volatile(value) }
}

/// Reads a word; the address must be a multiple of 8. See [`poke`].
#[inline(never)]
pub fn peek_word(address: usize) -> usize {
    // SAFETY: as in `peek`.
    unsafe { (address as *const usize).read_volatile() }
}
