//! Several processes and several files at once.

use abi::fs::DIRENT_SIZE;
use ulib::{Name, O_CREATE, O_RDONLY, O_RDWR, close, exit, fork, link, open, read, text, unlink};
use ulib::{wait, write_all};

use crate::files::BUF;
use crate::harness::{child, expect_success, status};

/// Two processes write to the same descriptor: the offset is shared.
pub fn sharedfd() {
    const N: usize = 1000;
    const SIZE: usize = 10;
    unlink(c"sharedfd");
    let fd = open(c"sharedfd", O_CREATE | O_RDWR);
    ensure!(fd >= 0, "cannot open sharedfd for writing");
    let fill = |byte: u8| {
        for _ in 0..N {
            ensure!(write_all(fd, &[byte; SIZE]), "write sharedfd failed");
        }
        0
    };
    child(|| fill(b'c'));
    fill(b'p');
    expect_success();
    close(fd);

    let fd = open(c"sharedfd", O_RDONLY);
    ensure!(fd >= 0, "cannot open sharedfd for reading");
    let (mut of_child, mut of_parent) = (0, 0);
    let mut buf = [0; SIZE];
    while read(fd, &mut buf) > 0 {
        of_child += buf.iter().filter(|&&byte| byte == b'c').count();
        of_parent += buf.iter().filter(|&&byte| byte == b'p').count();
    }
    close(fd);
    unlink(c"sharedfd");
    ensure!(of_child == N * SIZE && of_parent == N * SIZE, "nc/np test fails");
}

/// Four processes write four files.
pub fn fourfiles() {
    const N: usize = 12;
    const SIZE: usize = 500;
    let names = [c"f0", c"f1", c"f2", c"f3"];
    let buf = BUF.take();
    for (name, byte) in names.into_iter().zip(b'0'..) {
        unlink(name);
        child(|| {
            let fd = open(name, O_CREATE | O_RDWR);
            ensure!(fd >= 0, "create failed");
            buf[..SIZE].fill(byte);
            for _ in 0..N {
                ensure!(write_all(fd, &buf[..SIZE]), "write failed");
            }
            0
        });
    }
    for _ in names {
        expect_success();
    }
    for (name, byte) in names.into_iter().zip(b'0'..) {
        let fd = open(name, O_RDONLY);
        let mut total = 0;
        loop {
            let n = read(fd, buf);
            if n <= 0 {
                break;
            }
            ensure!(buf[..n as usize].iter().all(|&b| b == byte), "wrong char");
            total += n as usize;
        }
        close(fd);
        ensure!(total == N * SIZE, "wrong length {total}");
        unlink(name);
    }
}

/// Four processes make and remove files in the same directory.
pub fn createdelete() {
    const N: u8 = 20;
    let name = |who: u8, i: u8| Name::<3>::from(&[b'p' + who, b'0' + i]);
    for who in 0..4 {
        child(|| {
            for i in 0..N {
                let fd = open(name(who, i).as_c(), O_CREATE | O_RDWR);
                ensure!(fd >= 0, "create failed");
                close(fd);
                if i > 0 && i % 2 == 0 {
                    ensure!(unlink(name(who, i / 2).as_c()) >= 0, "unlink failed");
                }
            }
            0
        });
    }
    for _ in 0..4 {
        ensure!(status() == 0, "a child failed");
    }
    for (i, who) in (0..N).flat_map(|i| (0..4).map(move |who| (i, who))) {
        let name = name(who, i);
        let fd = open(name.as_c(), O_RDONLY);
        let expected = i == 0 || i >= N / 2;
        ensure!(fd >= 0 || !expected, "oops createdelete {} didn't exist", text(name.as_c()));
        ensure!(fd < 0 || expected, "oops createdelete {} did exist", text(name.as_c()));
        if fd >= 0 {
            close(fd);
        }
    }
    for (i, who) in (0..N).flat_map(|i| (0..4).map(move |who| (i, who))) {
        unlink(name(who, i).as_c());
    }
}

/// Makes, links and removes the same names at the same time.
pub fn concreate() {
    const N: u8 = 40;
    let name = |i: u8| Name::<3>::from(&[b'C', b'0' + i]);
    for i in 0..N {
        let file = name(i);
        unlink(file.as_c());
        let pid = fork();
        if (pid != 0 && i % 3 == 1) || (pid == 0 && i % 5 == 1) {
            link(c"C0", file.as_c());
        } else {
            let fd = open(file.as_c(), O_CREATE | O_RDWR);
            ensure!(fd >= 0, "concreate create {} failed", text(file.as_c()));
            close(fd);
        }
        if pid == 0 {
            exit(0);
        }
        ensure!(status() == 0, "a child failed");
    }

    expect_listed(N);

    for i in 0..N {
        let file = name(i);
        let pid = fork();
        ensure!(pid >= 0, "fork failed");
        let opens = (i % 3 == 0 && pid == 0) || (i % 3 == 1 && pid != 0);
        for _ in 0..6 {
            if opens {
                close(open(file.as_c(), O_RDONLY));
            } else {
                unlink(file.as_c());
            }
        }
        if pid == 0 {
            exit(0);
        }
        wait();
    }
}

/// The directory must list each of the files C0, C1, … once.
fn expect_listed(count: u8) {
    let mut seen = [false; 64];
    let fd = open(c".", O_RDONLY);
    let mut entry = [0; DIRENT_SIZE];
    while read(fd, &mut entry) > 0 {
        let [low, high, b'C', digit, 0, ..] = entry else { continue };
        if (low, high) == (0, 0) {
            continue;
        }
        let i = digit.wrapping_sub(b'0');
        ensure!(i < count, "concreate weird file C{}", digit as char);
        ensure!(!seen[usize::from(i)], "concreate duplicate file C{}", digit as char);
        seen[usize::from(i)] = true;
    }
    close(fd);
    let found = seen.iter().filter(|&&seen| seen).count();
    ensure!(found == usize::from(count), "concreate not enough files in directory listing");
}

/// Two processes make, link and remove one name, in random order.
pub fn linkunlink() {
    unlink(c"x");
    let pid = fork();
    ensure!(pid >= 0, "fork failed");
    let mut x: u32 = if pid == 0 { 97 } else { 1 };
    for _ in 0..100 {
        x = x.wrapping_mul(1_103_515_245).wrapping_add(12_345);
        match x % 3 {
            0 => drop(close(open(c"x", O_RDWR | O_CREATE))),
            1 => drop(link(c"cat", c"x")),
            _ => drop(unlink(c"x")),
        }
    }
    if pid == 0 {
        exit(0);
    }
    wait();
    unlink(c"x");
}
