//! Single files: truncation, reading, writing, links.

use abi::fs::{BSIZE, MAXFILE};
use abi::param::MAXOPBLOCKS;
use ulib::{O_CREATE, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY, PAGE, Scratch, brk, close, link, open};
use ulib::{poke, read, sys, unlink, write, write_all};

use crate::arguments::align_break;
use crate::harness::{child, expect_success};

/// More than one transaction of the log can hold.
pub const BUF_SIZE: usize = (MAXOPBLOCKS + 2) * BSIZE;

/// A buffer for the test that runs in this process.
pub static BUF: Scratch<[u8; BUF_SIZE]> = Scratch::new([0; BUF_SIZE]);

/// O_TRUNC, seen through other descriptors of the same file.
pub fn truncate1() {
    let mut buf = [0; 32];
    unlink(c"truncfile");
    let fd = open(c"truncfile", O_CREATE | O_WRONLY | O_TRUNC);
    write(fd, b"abcd");
    close(fd);

    let old = open(c"truncfile", O_RDONLY);
    let n = read(old, &mut buf);
    ensure!(n == 4, "read {n} bytes, wanted 4");

    let writer = open(c"truncfile", O_WRONLY | O_TRUNC);
    let new = open(c"truncfile", O_RDONLY);
    let n = read(new, &mut buf);
    ensure!(n == 0, "read {n} bytes, wanted 0");
    let n = read(old, &mut buf);
    ensure!(n == 0, "read {n} bytes, wanted 0");

    write(writer, b"abcdef");
    let n = read(new, &mut buf);
    ensure!(n == 6, "read {n} bytes, wanted 6");
    let n = read(old, &mut buf);
    ensure!(n == 2, "read {n} bytes, wanted 2");
    unlink(c"truncfile");
    for fd in [writer, old, new] {
        close(fd);
    }
}

/// Writing beyond the end of a file that was cut under the descriptor fails.
pub fn truncate2() {
    unlink(c"truncfile");
    let fd1 = open(c"truncfile", O_CREATE | O_TRUNC | O_WRONLY);
    write(fd1, b"abcd");
    let fd2 = open(c"truncfile", O_TRUNC | O_WRONLY);
    let n = write(fd1, b"x");
    ensure!(n == -1, "write returned {n}, expected -1");
    unlink(c"truncfile");
    close(fd1);
    close(fd2);
}

/// Two processes cut and write the same file.
pub fn truncate3() {
    close(open(c"truncfile", O_CREATE | O_TRUNC | O_WRONLY));
    child(|| {
        for _ in 0..100 {
            let fd = open(c"truncfile", O_WRONLY);
            ensure!(fd >= 0, "open failed");
            let n = write(fd, b"1234567890");
            ensure!(n == 10, "write got {n}, expected 10");
            close(fd);
            let fd = open(c"truncfile", O_RDONLY);
            read(fd, &mut [0; 32]);
            close(fd);
        }
        0
    });
    for _ in 0..150 {
        let fd = open(c"truncfile", O_CREATE | O_WRONLY | O_TRUNC);
        ensure!(fd >= 0, "open failed");
        let n = write(fd, b"xxx");
        ensure!(n == 3, "write got {n}, expected 3");
        close(fd);
    }
    expect_success();
    unlink(c"truncfile");
}

/// What is there opens, what is not does not.
pub fn opentest() {
    let fd = open(c"echo", O_RDONLY);
    ensure!(fd >= 0, "open echo failed!");
    close(fd);
    ensure!(open(c"doesnotexist", O_RDONLY) < 0, "open doesnotexist succeeded!");
}

/// Small writes, one large read.
pub fn writetest() {
    const N: usize = 100;
    const SIZE: usize = 10;
    let fd = open(c"small", O_CREATE | O_RDWR);
    ensure!(fd >= 0, "error: creat small failed!");
    for i in 0..N {
        ensure!(write_all(fd, &[b'a'; SIZE]), "error: write aa {i} new file failed");
        ensure!(write_all(fd, &[b'b'; SIZE]), "error: write bb {i} new file failed");
    }
    close(fd);
    let fd = open(c"small", O_RDONLY);
    ensure!(fd >= 0, "error: open small failed!");
    let buf = BUF.take();
    let n = read(fd, &mut buf[..2 * N * SIZE]);
    ensure!(n == (2 * N * SIZE) as i32, "read failed");
    close(fd);
    ensure!(unlink(c"small") >= 0, "unlink small failed");
}

/// The largest file there can be.
pub fn writebig() {
    let buf = &mut BUF.take()[..BSIZE];
    let fd = open(c"big", O_CREATE | O_RDWR);
    ensure!(fd >= 0, "error: creat big failed!");
    for i in 0..MAXFILE {
        buf[..8].copy_from_slice(&i.to_le_bytes());
        ensure!(write_all(fd, buf), "error: write big file failed i={i}");
    }
    close(fd);

    let fd = open(c"big", O_RDONLY);
    ensure!(fd >= 0, "error: open big failed!");
    for i in 0.. {
        let n = read(fd, buf);
        if n == 0 {
            ensure!(i == MAXFILE, "read only {i} blocks from big");
            break;
        }
        ensure!(n == BSIZE as i32, "read failed {n}");
        ensure!(buf[..8] == i.to_le_bytes(), "read content of block {i} is wrong");
    }
    close(fd);
    ensure!(unlink(c"big") >= 0, "unlink big failed");
}

/// Many files, made and removed.
pub fn createtest() {
    for remove in [false, true] {
        for i in 0..52 {
            let name = ulib::Name::<3>::from(&[b'a', b'0' + i]);
            if remove {
                unlink(name.as_c());
            } else {
                close(open(name.as_c(), O_CREATE | O_RDWR));
            }
        }
    }
}

/// A file without a name can still be read and written.
pub fn unlinkread() {
    let fd = open(c"unlinkread", O_CREATE | O_RDWR);
    ensure!(fd >= 0, "create unlinkread failed");
    write(fd, b"hello");
    close(fd);

    let fd = open(c"unlinkread", O_RDWR);
    ensure!(fd >= 0, "open unlinkread failed");
    ensure!(unlink(c"unlinkread") == 0, "unlink unlinkread failed");
    let other = open(c"unlinkread", O_CREATE | O_RDWR);
    write(other, b"yyy");
    close(other);

    let mut buf = [0; 32];
    ensure!(read(fd, &mut buf) == 5, "unlinkread read failed");
    ensure!(buf[0] == b'h', "unlinkread wrong data");
    ensure!(write(fd, &buf[..10]) == 10, "unlinkread write failed");
    close(fd);
    unlink(c"unlinkread");
}

/// Links, and what must not be linked.
pub fn linktest() {
    unlink(c"lf1");
    unlink(c"lf2");
    let fd = open(c"lf1", O_CREATE | O_RDWR);
    ensure!(fd >= 0, "create lf1 failed");
    ensure!(write(fd, b"hello") == 5, "write lf1 failed");
    close(fd);

    ensure!(link(c"lf1", c"lf2") >= 0, "link lf1 lf2 failed");
    unlink(c"lf1");
    ensure!(open(c"lf1", O_RDONLY) < 0, "unlinked lf1 but it is still there!");

    let fd = open(c"lf2", O_RDONLY);
    ensure!(fd >= 0, "open lf2 failed");
    ensure!(read(fd, &mut [0; 32]) == 5, "read lf2 failed");
    close(fd);

    ensure!(link(c"lf2", c"lf2") < 0, "link lf2 lf2 succeeded! oops");
    unlink(c"lf2");
    ensure!(link(c"lf2", c"lf1") < 0, "link non-existent succeeded! oops");
    ensure!(link(c".", c"lf1") < 0, "link . lf1 succeeded! oops");
}

/// Writes larger than the log.
pub fn bigwrite() {
    let buf = BUF.take();
    unlink(c"bigwrite");
    for size in (499..BUF_SIZE).step_by(471) {
        let fd = open(c"bigwrite", O_CREATE | O_RDWR);
        ensure!(fd >= 0, "cannot create bigwrite");
        for _ in 0..2 {
            let n = write(fd, &buf[..size]);
            ensure!(n == size as i32, "write({size}) ret {n}");
        }
        close(fd);
        unlink(c"bigwrite");
    }
}

/// Writes of one size, reads of half of it.
pub fn bigfile() {
    const N: usize = 20;
    const SIZE: usize = 600;
    let buf = BUF.take();
    unlink(c"bigfile.dat");
    let fd = open(c"bigfile.dat", O_CREATE | O_RDWR);
    ensure!(fd >= 0, "cannot create bigfile");
    for i in 0..N {
        buf[..SIZE].fill(i as u8);
        ensure!(write_all(fd, &buf[..SIZE]), "write bigfile failed");
    }
    close(fd);

    let fd = open(c"bigfile.dat", O_RDONLY);
    ensure!(fd >= 0, "cannot open bigfile");
    let mut total = 0;
    for i in 0.. {
        let half = &mut buf[..SIZE / 2];
        let n = read(fd, half);
        ensure!(n >= 0, "read bigfile failed");
        if n == 0 {
            break;
        }
        ensure!(n == (SIZE / 2) as i32, "short read bigfile");
        let wanted = (i / 2) as u8;
        ensure!(half.iter().all(|&byte| byte == wanted), "read bigfile wrong data");
        total += SIZE / 2;
    }
    close(fd);
    ensure!(total == N * SIZE, "read bigfile wrong total");
    unlink(c"bigfile.dat");
}

/// A write that fails half-way: what the cache says about the file, the disk must say as well.
pub fn partial_write() {
    unlink(c"testfile");
    let fd = open(c"testfile", O_CREATE | O_RDWR);
    ensure!(fd >= 0, "cannot create testfile");
    ensure!(write(fd, b"A") == 1, "could not write A");
    close(fd);

    let fd = open(c"testfile", O_RDWR);
    ensure!(fd >= 0, "cannot re-open testfile");
    align_break();
    let end = brk();
    ensure!(end.is_multiple_of(PAGE), "sbrk did not align");
    poke(end - 1, b'X');
    let n = sys::write(fd, (end - 1) as *const u8, 2);
    ensure!(n == -1, "write succeeded, should have failed");
    close(fd);
    expect_x();

    // Push the block out of the cache.
    let fd = open(c"bigfile", O_CREATE | O_RDWR);
    let buf = BUF.take();
    for _ in 0..64 {
        ensure!(write_all(fd, &buf[..BSIZE]), "could not write to bigfile");
    }
    close(fd);
    unlink(c"bigfile");
    expect_x();
    unlink(c"testfile");
}

/// `testfile` must contain an X.
fn expect_x() {
    let mut byte = [0];
    let fd = open(c"testfile", O_RDONLY);
    ensure!(fd >= 0, "cannot re-open testfile");
    ensure!(read(fd, &mut byte) == 1, "cannot read testfile");
    close(fd);
    ensure!(byte == *b"X", "read returned {}, expected X", byte[0] as char);
}
