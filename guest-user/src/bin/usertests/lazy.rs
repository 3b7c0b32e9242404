//! Memory that is promised first and mapped when it is touched.

use abi::layout::{MAXVA, TRAPFRAME};
use ulib::{O_CREATE, O_RDONLY, O_RDWR, O_TRUNC, PAGE, Ptr, T_DIR, brk, close, fstat, open, peek};
use ulib::{peek_word, poke, poke_word, sbrk, sbrklazy, sys, unlink};

use crate::arguments::align_break;
use crate::harness::status_of;

const GIB: usize = 1 << 30;

/// Grows by a gibibyte, lazily; where it begins.
fn grow_by_gib() -> usize {
    match sbrklazy(GIB as isize) {
        Some(start) => start.next_multiple_of(8),
        None => fail!("sbrklazy() failed"),
    }
}

/// One word in every 64th page of a gibibyte.
pub fn lazy_alloc() {
    let start = grow_by_gib();
    let pages = || (start + PAGE..start + GIB - 8).step_by(64 * PAGE);
    for address in pages() {
        poke_word(address, address);
    }
    for address in pages() {
        ensure!(peek_word(address) == address, "failed to read value from memory");
    }
}

/// Children shrink the heap and must be killed when they touch what is gone.
pub fn lazy_unmap() {
    let start = grow_by_gib();
    let pages = || (start + PAGE..start + GIB - 8).step_by(PAGE * PAGE);
    for address in pages() {
        poke_word(address, address);
    }
    for address in pages() {
        let status = status_of(|| {
            sbrklazy(-(GIB as isize));
            poke_word(address, address);
            0
        });
        ensure!(status != 0, "memory not unmapped");
    }
}

/// System calls on lazy pages, and on pages that only look like them.
pub fn lazy_copy() {
    let start = brk();
    sbrklazy(4 * PAGE as isize);
    sys::open((start + 2 * PAGE) as *const _, O_RDONLY);

    let size = brk();
    let result = sbrk(-(size as isize + 1));
    ensure!(
        result == Some(size),
        "sbrk(sbrk(0)+1) returned {}, not old sz",
        Ptr(result.unwrap_or(usize::MAX))
    );

    for bad in [
        0x3f_ffff_c000_usize,
        0x3f_ffff_d000,
        0x3f_ffff_e000,
        0x3f_ffff_f000,
        0x40_0000_0000,
        0x80_0000_0000,
    ] {
        let fd = open(c"README", O_RDONLY);
        ensure!(fd >= 0, "cannot open README");
        // SAFETY: nothing is mapped there, and the kernel must refuse.
        let n = unsafe { sys::read(fd, bad as *mut u8, 512) };
        ensure!(n < 0, "read succeeded");
        close(fd);
        let fd = open(c"junk", O_CREATE | O_RDWR | O_TRUNC);
        ensure!(fd >= 0, "cannot open junk");
        ensure!(sys::write(fd, bad as *const u8, 512) < 0, "write succeeded");
        close(fd);
    }
    unlink(c"junk");
}

/// A path that begins on a page just touched and ends on one never touched.
pub fn lazy_copyinstr() {
    align_break();
    let start = brk();
    ensure!(start.is_multiple_of(PAGE), "sbrk did not align");
    sbrklazy(2 * PAGE as isize);
    poke(start + PAGE - 1, b'/');
    let fd = sys::open((start + PAGE - 1) as *const _, O_RDONLY);
    ensure!(fd >= 0, "could not open /");
    let Some(stat) = fstat(fd) else { fail!("could not stat /") };
    ensure!(stat.kind == T_DIR, "/ is not T_DIR");
    close(fd);
}

/// Buffers of several pages that nobody has touched: the first page is not the only one.
pub fn lazy_buffer() {
    const BYTES: usize = 2 * PAGE;
    align_break();
    let start = brk();
    sbrklazy(6 * PAGE as isize);
    let (zeros, copy) = (start + 100, start + 3 * PAGE + 100);
    let fd = open(c"junk", O_CREATE | O_RDWR | O_TRUNC);
    ensure!(fd >= 0, "cannot open junk");
    ensure!(sys::write(fd, zeros as *const u8, BYTES) == BYTES as i32, "write failed");
    close(fd);
    poke(copy + BYTES - 1, 1);
    let fd = open(c"junk", O_RDONLY);
    // SAFETY: memory that this process has just got.
    let n = unsafe { sys::read(fd, copy as *mut u8, BYTES) };
    ensure!(n == BYTES as i32, "read failed");
    ensure!(peek(copy + BYTES - 1) == 0, "read did not reach the last page");
    close(fd);
    unlink(c"junk");
}

/// Grows to the very top, a gibibyte at a time, and not a byte further.
pub fn lazy_sbrk() {
    const TOP: usize = TRAPFRAME as usize - PAGE;
    while brk() < MAXVA as usize - GIB {
        ensure!(sbrklazy(GIB as isize).is_some(), "sbrklazy({GIB}) failed");
    }
    let end = brk();
    let grown = sbrklazy((TOP - end) as isize);
    ensure!(grown == Some(end), "sbrklazy({}) failed", TOP - end);
    let page = sbrk(PAGE as isize);
    ensure!(page == Some(TOP), "sbrk({PAGE}) failed, expected TRAPFRAME-PGSIZE");
    poke(TOP, 1);
    ensure!(peek(TOP + 1) == 0, "sbrk() returned non-zero-filled memory");
    ensure!(sbrk(1).is_none(), "sbrk(1) succeeded, expected error");
    ensure!(sbrklazy(1).is_none(), "sbrklazy(1) succeeded, expected error");
}
