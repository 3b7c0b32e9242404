//! Becoming another program, and arguments that make it fail.

use core::ffi::{CStr, c_char};
use core::ptr::null;

use abi::param::MAXARG;
use ulib::{O_CREATE, O_RDONLY, O_WRONLY, Scratch, close, exec, open, read, sys, unlink};

use crate::harness::{child, expect_success};

/// Runs echo with its output in a file.
pub fn exectest() {
    unlink(c"echo-ok");
    child(|| {
        close(1);
        let fd = open(c"echo-ok", O_CREATE | O_WRONLY);
        ensure!(fd >= 0, "create failed");
        ensure!(fd == 1, "wrong fd");
        exec(c"echo", &[c"echo", c"OK"]);
        ulib::eprintln!("exectest: exec echo failed");
        1
    });
    expect_success();
    let fd = open(c"echo-ok", O_RDONLY);
    ensure!(fd >= 0, "open failed");
    let mut buf = [0; 2];
    ensure!(read(fd, &mut buf) == 2, "read failed");
    unlink(c"echo-ok");
    ensure!(buf == *b"OK", "wrong output");
}

/// Arguments larger than the stack: exec fails, and does not write below the stack.
pub fn bigargtest() {
    const LENGTH: usize = 399;
    static BIG: Scratch<[u8; LENGTH + 1]> = Scratch::new([0; LENGTH + 1]);
    unlink(c"bigarg-ok");
    child(|| {
        let big = BIG.take();
        big[..LENGTH].fill(b' ');
        let big = CStr::from_bytes_until_nul(big).unwrap_or(c"");
        exec(c"echo", &[big; MAXARG - 1]);
        close(open(c"bigarg-ok", O_CREATE));
        0
    });
    expect_success();
    let fd = open(c"bigarg-ok", O_RDONLY);
    ensure!(fd >= 0, "bigarg test failed!");
    close(fd);
}

/// Does exec lose memory when an argument is a bad pointer?
pub fn badarg() {
    let argv = [0xffff_ffff_usize as *const c_char, null()];
    for _ in 0..50_000 {
        sys::exec(c"echo".as_ptr(), argv.as_ptr());
    }
}
