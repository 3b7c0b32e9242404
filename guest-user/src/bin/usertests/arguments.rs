//! Absurd addresses in system calls: buffers, strings, results.

use core::ffi::c_char;
use core::ptr::null;

use abi::layout::{KERNBASE, MAXVA, TRAMPOLINE, TRAPFRAME};
use abi::param::MAXPATH;
use ulib::{O_CREATE, O_RDONLY, O_WRONLY, PAGE, Ptr, Scratch, brk, close, exec, link, open, pipe};
use ulib::{poke, sbrk, sys, unlink};

use crate::harness::{child, status};

/// Addresses that no process may pass to the kernel.
const ABSURD: [u64; 5] = [KERNBASE, TRAPFRAME, TRAMPOLINE, MAXVA, u64::MAX];

fn open_or_fail(path: &core::ffi::CStr, flags: u32) -> i32 {
    let fd = open(path, flags);
    ensure!(fd >= 0, "open({}) failed", ulib::text(path));
    fd
}

/// Reads to any address whatever; the kernel must refuse the wrong ones.
fn read_to(fd: i32, address: usize, n: usize) -> i32 {
    // SAFETY: the addresses are those the kernel must not write to, or pages just allocated.
    unsafe { sys::read(fd, address as *mut u8, n) }
}

/// Writing from an absurd address, to a file, the console and a pipe.
pub fn copyin() {
    for address in ABSURD {
        let from = address as *const u8;
        let shown = Ptr(address as usize);
        let fd = open_or_fail(c"copyin1", O_CREATE | O_WRONLY);
        let n = sys::write(fd, from, 8192);
        ensure!(n < 0, "write(fd, {shown}, 8192) returned {n}, not -1");
        close(fd);
        unlink(c"copyin1");

        let n = sys::write(1, from, 8192);
        ensure!(n <= 0, "write(1, {shown}, 8192) returned {n}, not -1 or 0");

        let Some(ends) = pipe() else { fail!("pipe() failed") };
        let n = sys::write(ends.writer, from, 8192);
        ensure!(n <= 0, "write(pipe, {shown}, 8192) returned {n}, not -1 or 0");
        ends.close();
    }
}

/// Reading to an absurd address (0 is read-only text), from a file and a pipe.
pub fn copyout() {
    for address in core::iter::once(0).chain(ABSURD) {
        let shown = Ptr(address as usize);
        let fd = open_or_fail(c"README", O_RDONLY);
        let n = read_to(fd, address as usize, 8192);
        ensure!(n <= 0, "read(fd, {shown}, 8192) returned {n}, not -1 or 0");
        close(fd);

        let Some(ends) = pipe() else { fail!("pipe() failed") };
        ensure!(ulib::write(ends.writer, b"x") == 1, "pipe write failed");
        let n = read_to(ends.reader, address as usize, 8192);
        ensure!(n <= 0, "read(pipe, {shown}, 8192) returned {n}, not -1 or 0");
        ends.close();
    }
}

/// A path at an absurd address.
pub fn copyinstr1() {
    for address in ABSURD {
        let fd = sys::open(address as *const c_char, O_CREATE | O_WRONLY);
        ensure!(fd < 0, "open({}) returned {fd}, not -1", Ptr(address as usize));
    }
}

/// Every call that takes a path must refuse this one.
fn refuse_path(path: *const c_char) {
    let refused = [
        ("unlink", sys::unlink(path)),
        ("open", sys::open(path, O_CREATE | O_WRONLY)),
        ("link", sys::link(path, path)),
        ("exec", sys::exec(path, [c"xx".as_ptr(), null()].as_ptr())),
    ];
    for (call, result) in refused {
        ensure!(result == -1, "{call}({}) returned {result}, not -1", Ptr(path as usize));
    }
}

/// Strings exactly as long as the kernel's buffer, so that the NUL lies just behind it.
pub fn copyinstr2() {
    let mut path = [b'x'; MAXPATH + 1];
    path[MAXPATH] = 0;
    refuse_path(path.as_ptr().cast());

    child(|| {
        static BIG: Scratch<[u8; PAGE + 1]> = Scratch::new([0; PAGE + 1]);
        let big = BIG.take();
        big[..PAGE].fill(b'x');
        let big = big.as_ptr().cast();
        let result = sys::exec(c"echo".as_ptr(), [big, big, big, null()].as_ptr());
        ensure!(result == -1, "exec(echo, BIG) returned {result}, not -1");
        747
    });
    ensure!(status() == 747, "exec(echo, BIG) succeeded, should have failed");
}

/// A string that runs off the end of the last page.
pub fn copyinstr3() {
    sbrk(2 * PAGE as isize);
    align_break();
    let top = brk();
    ensure!(top.is_multiple_of(PAGE), "oops");
    poke(top - 1, b'x');
    refuse_path((top - 1) as *const c_char);
}

/// Grows the heap to the next page boundary.
pub fn align_break() {
    let top = brk();
    if !top.is_multiple_of(PAGE) {
        sbrk((PAGE - top % PAGE) as isize);
    }
}

/// The kernel must not use memory that the process has given back.
pub fn rwsbrk() {
    let Some(start) = sbrk(2 * PAGE as isize) else { fail!("sbrk(rwsbrk) failed") };
    ensure!(sbrk(-2 * PAGE as isize).is_some(), "sbrk(rwsbrk) shrink failed");
    let gone = start.next_multiple_of(PAGE) + PAGE;

    let fd = open_or_fail(c"rwsbrk", O_CREATE | O_WRONLY);
    let n = sys::write(fd, gone as *const u8, 1024);
    ensure!(n < 0, "write(fd, {}, 1024) returned {n}, not -1", Ptr(gone));
    close(fd);
    unlink(c"rwsbrk");

    let fd = open_or_fail(c"README", O_RDONLY);
    let n = read_to(fd, gone, 10);
    ensure!(n < 0, "read(fd, {}, 10) returned {n}, not -1", Ptr(gone));
    close(fd);
}

/// A bad string pointer on every page of the first megabyte.
pub fn validatetest() {
    for address in (0..=1100 * 1024).step_by(PAGE) {
        let result = sys::link(c"nosuchfile".as_ptr(), address as *const c_char);
        ensure!(result == -1, "link should not succeed");
    }
}

/// A buffer that begins at the very end of memory, with a length of -1.
pub fn argptest() {
    let fd = open_or_fail(c"init", O_RDONLY);
    read_to(fd, brk() - 1, usize::MAX);
    close(fd);
}

/// Addresses whose upper half must not get lost on the way.
pub fn pgbug() {
    const BIG: usize = 0xeaeb_0b5b_0000_2f5e;
    sys::exec(BIG as *const c_char, [null()].as_ptr());
    // SAFETY: nothing can be mapped there.
    unsafe { sys::pipe(BIG as *mut i32) };
    // The same for paths that are fine and arguments that are not.
    ensure!(exec(c"nosuchfile", &[c"x"]) == -1, "exec of nothing succeeded");
    ensure!(link(c"nosuchfile", c"x") == -1, "link of nothing succeeded");
}
