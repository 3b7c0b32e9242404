//! Tests that take a fair bit of time: running out of everything.

use abi::fs::{BSIZE, MAXFILE};
use ulib::{Name, O_CREATE, O_RDWR, O_TRUNC, O_WRONLY, PAGE, close, exec, link, mkdir, open, poke};
use ulib::{println, sbrk, sys, text, unlink, wait, write, write_all};

use crate::files::BUF;
use crate::harness::{child, expect_success, free_pages};

/// A directory large enough for its indirect block.
pub fn bigdir() {
    const N: u32 = 500;
    let name = |i: u32| Name::<4>::from(&[b'x', b'0' + (i / 64) as u8, b'0' + (i % 64) as u8]);
    unlink(c"bd");
    let fd = open(c"bd", O_CREATE);
    ensure!(fd >= 0, "bigdir create failed");
    close(fd);
    for i in 0..N {
        let name = name(i);
        let linked = link(c"bd", name.as_c()) == 0;
        ensure!(linked, "bigdir i={i} link(bd, {}) failed", text(name.as_c()));
    }
    unlink(c"bd");
    for i in 0..N {
        ensure!(unlink(name(i).as_c()) == 0, "bigdir unlink failed");
    }
}

/// Writes from four processes at once, to find a deadlock in the disk driver.
pub fn manywrites() {
    const CHILDREN: u8 = 4;
    let buf = BUF.take();
    for who in 0..CHILDREN {
        child(|| {
            let name = Name::<3>::from(&[b'b', b'a' + who]);
            unlink(name.as_c());
            for _ in 0..30 {
                for _ in 0..=who {
                    let fd = open(name.as_c(), O_CREATE | O_RDWR);
                    ensure!(fd >= 0, "cannot create {}", text(name.as_c()));
                    let n = write(fd, buf);
                    ensure!(n == buf.len() as i32, "write({}) ret {n}", buf.len());
                    close(fd);
                }
                unlink(name.as_c());
            }
            0
        });
    }
    for _ in 0..CHILDREN {
        expect_success();
    }
}

/// Does a write from a bad address cost a block that never comes back?
pub fn badwrite() {
    const ASSUMED_FREE: u32 = 600;
    unlink(c"junk");
    for _ in 0..ASSUMED_FREE {
        let fd = open(c"junk", O_CREATE | O_WRONLY);
        ensure!(fd >= 0, "open junk failed");
        sys::write(fd, 0xff_ffff_ffff_usize as *const u8, 1);
        close(fd);
        unlink(c"junk");
    }
    let fd = open(c"junk", O_CREATE | O_WRONLY);
    ensure!(fd >= 0, "open junk failed");
    ensure!(write(fd, b"x") == 1, "write failed");
    close(fd);
    unlink(c"junk");
}

/// exec with 0 to 14 pages left: it may fail, the kernel may not.
pub fn execout() {
    for available in 0..15 {
        child(|| {
            match free_pages() {
                Some(_) => take_all_but(available),
                None => {
                    while let Some(page) = sbrk(PAGE as isize) {
                        poke(page + PAGE - 1, 1);
                    }
                    for _ in 0..available {
                        sbrk(-(PAGE as isize));
                    }
                }
            }
            close(1);
            exec(c"echo", &[c"echo", c"x"]);
            0
        });
        wait();
    }
}

/// Touches new pages until this many are left; works with lazy pages, too. Half of what is too
/// much at a time: page tables need some as well.
fn take_all_but(available: usize) {
    loop {
        let excess = free_pages().unwrap_or(0).saturating_sub(available);
        if excess == 0 {
            return;
        }
        let pages = excess.div_ceil(2);
        let Some(start) = sbrk((pages * PAGE) as isize) else { return };
        (0..pages).for_each(|page| poke(start + page * PAGE, 1));
    }
}

/// The names of the files that use up inodes.
fn inode_user(i: u32) -> Name<5> {
    Name::from(&[b'z', b'z', b'0' + (i / 32) as u8, b'0' + (i % 32) as u8])
}

/// Makes up to `count` empty files, and stops at the first failure.
fn make_inode_users(count: u32) {
    for i in 0..count {
        let name = inode_user(i);
        unlink(name.as_c());
        let fd = open(name.as_c(), O_CREATE | O_RDWR | O_TRUNC);
        if fd < 0 {
            return;
        }
        close(fd);
    }
}

fn remove_inode_users(count: u32) {
    for i in 0..count {
        unlink(inode_user(i).as_c());
    }
}

/// The disk is full: calls fail, and everything comes back.
pub fn diskfull() {
    const INODE_USERS: u32 = 128;
    let names = || (b'0'..0o177).map(|digit| Name::<5>::from(&[b'b', b'i', b'g', digit]));
    let buf = &BUF.take()[..BSIZE];
    unlink(c"diskfulldir");
    'full: for name in names() {
        unlink(name.as_c());
        let fd = open(name.as_c(), O_CREATE | O_RDWR | O_TRUNC);
        if fd < 0 {
            // Out of inodes before blocks.
            println!("diskfull: could not create file {}", text(name.as_c()));
            break;
        }
        for _ in 0..MAXFILE {
            if !write_all(fd, buf) {
                close(fd);
                break 'full;
            }
        }
        close(fd);
    }
    // Without a block to extend the directory one of these fails,
    make_inode_users(INODE_USERS);
    // and so does this.
    if mkdir(c"diskfulldir") == 0 {
        println!("diskfull: mkdir(diskfulldir) unexpectedly succeeded!");
    }
    unlink(c"diskfulldir");
    remove_inode_users(INODE_USERS);
    for name in names() {
        unlink(name.as_c());
    }
}

/// No inode is free: creating fails, and everything comes back.
pub fn outofinodes() {
    const INODE_USERS: u32 = 32 * 32;
    make_inode_users(INODE_USERS);
    remove_inode_users(INODE_USERS);
}
