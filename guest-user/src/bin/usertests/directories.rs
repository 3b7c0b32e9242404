//! Directories: making, entering, removing, and everything that must not be done with them.

use core::ffi::CStr;

use abi::param::NINODE;
use ulib::{O_CREATE, O_RDONLY, O_RDWR, O_WRONLY, chdir, close, link, mkdir, open, pause, read};
use ulib::{text, unlink, write};

use crate::harness::{child, expect_success};

/// Does open's error path for writing a directory drop the inode in a transaction?
pub fn openiput() {
    ensure!(mkdir(c"oidir") >= 0, "mkdir oidir failed");
    child(|| {
        ensure!(open(c"oidir", O_RDWR) < 0, "open directory for write succeeded");
        0
    });
    pause(1);
    ensure!(unlink(c"oidir") == 0, "unlink failed");
    expect_success();
}

/// Enters a directory and removes it.
fn enter_nameless() {
    ensure!(mkdir(c"iputdir") >= 0, "mkdir failed");
    ensure!(chdir(c"iputdir") >= 0, "chdir iputdir failed");
    ensure!(unlink(c"../iputdir") >= 0, "unlink ../iputdir failed");
}

/// Does exit drop the current directory in a transaction?
pub fn exitiput() {
    child(|| {
        enter_nameless();
        0
    });
    expect_success();
}

/// Does chdir drop the old directory in a transaction?
pub fn iput() {
    enter_nameless();
    ensure!(chdir(c"/") >= 0, "chdir / failed");
}

/// In and out of a directory.
pub fn dirtest() {
    ensure!(mkdir(c"dir0") >= 0, "mkdir failed");
    ensure!(chdir(c"dir0") >= 0, "chdir dir0 failed");
    ensure!(chdir(c"..") >= 0, "chdir .. failed");
    ensure!(unlink(c"dir0") >= 0, "unlink dir0 failed");
}

/// Makes a file with this content.
fn make_file(path: &CStr, content: &[u8]) {
    let fd = open(path, O_CREATE | O_RDWR);
    ensure!(fd >= 0, "create {} failed", text(path));
    write(fd, content);
    close(fd);
}

/// Reads a file that must be there and have this content.
fn expect_content(path: &CStr, content: &[u8]) {
    let mut buf = [0; 16];
    let fd = open(path, O_RDONLY);
    ensure!(fd >= 0, "open {} failed", text(path));
    let n = read(fd, &mut buf);
    let right = n == content.len() as i32 && buf.starts_with(content);
    ensure!(right, "{} wrong content", text(path));
    close(fd);
}

/// Calls of which every single one must fail.
fn expect_failures(calls: &[(&str, &CStr, i32)]) {
    for &(call, path, result) in calls {
        ensure!(result < 0, "{call} {} succeeded!", text(path));
    }
}

/// Directories within directories.
pub fn subdir() {
    unlink(c"ff");
    ensure!(mkdir(c"dd") == 0, "mkdir dd failed");
    make_file(c"dd/ff", b"ff");
    ensure!(unlink(c"dd") < 0, "unlink dd (non-empty dir) succeeded!");
    ensure!(mkdir(c"/dd/dd") == 0, "subdir mkdir dd/dd failed");
    make_file(c"dd/dd/ff", b"FF");
    expect_content(c"dd/dd/../ff", b"ff");
    ensure!(link(c"dd/dd/ff", c"dd/dd/ffff") == 0, "link dd/dd/ff dd/dd/ffff failed");
    ensure!(unlink(c"dd/dd/ff") == 0, "unlink dd/dd/ff failed");
    ensure!(open(c"dd/dd/ff", O_RDONLY) < 0, "open (unlinked) dd/dd/ff succeeded");
    for path in [c"dd", c"dd/../../dd", c"dd/../../../dd", c"./.."] {
        ensure!(chdir(path) == 0, "chdir {} failed", text(path));
    }
    expect_content(c"dd/dd/ffff", b"FF");

    subdir_failures();

    for path in [c"dd/dd/ffff", c"dd/ff"] {
        ensure!(unlink(path) == 0, "unlink {} failed", text(path));
    }
    ensure!(unlink(c"dd") < 0, "unlink non-empty dd succeeded!");
    for path in [c"dd/dd", c"dd"] {
        ensure!(unlink(path) == 0, "unlink {} failed", text(path));
    }
}

/// What must fail while dd/ff is a file, dd/dd a directory with ffff in it, and dd/xx nothing.
fn subdir_failures() {
    let create = |path| ("create", path, open(path, O_CREATE | O_RDWR));
    let open_for = |path, flags| ("open", path, open(path, flags));
    let link_to = |old, new| ("link", old, link(old, new));
    let mkdir = |path| ("mkdir", path, mkdir(path));
    let unlink = |path| ("unlink", path, unlink(path));
    let chdir = |path| ("chdir", path, chdir(path));
    expect_failures(&[
        open_for(c"dd/dd/ff", O_RDONLY),
        create(c"dd/ff/ff"),
        create(c"dd/xx/ff"),
        open_for(c"dd", O_CREATE),
        open_for(c"dd", O_RDWR),
        open_for(c"dd", O_WRONLY),
        link_to(c"dd/ff/ff", c"dd/dd/xx"),
        link_to(c"dd/xx/ff", c"dd/dd/xx"),
        link_to(c"dd/ff", c"dd/dd/ffff"),
        mkdir(c"dd/ff/ff"),
        mkdir(c"dd/xx/ff"),
        mkdir(c"dd/dd/ffff"),
        unlink(c"dd/xx/ff"),
        unlink(c"dd/ff/ff"),
        chdir(c"dd/ff"),
        chdir(c"dd/xx"),
    ]);
}

/// Names are cut after fourteen bytes.
pub fn fourteen() {
    ensure!(mkdir(c"12345678901234") == 0, "mkdir 12345678901234 failed");
    let long = c"12345678901234/123456789012345";
    ensure!(mkdir(long) == 0, "mkdir {} failed", text(long));
    let fd = open(c"123456789012345/123456789012345/123456789012345", O_CREATE);
    ensure!(fd >= 0, "create 123456789012345/123456789012345/123456789012345 failed");
    close(fd);
    let fd = open(c"12345678901234/12345678901234/12345678901234", O_RDONLY);
    ensure!(fd >= 0, "open 12345678901234/12345678901234/12345678901234 failed");
    close(fd);
    for again in [c"12345678901234/12345678901234", c"123456789012345/12345678901234"] {
        ensure!(mkdir(again) != 0, "mkdir {} succeeded!", text(again));
    }
    for path in [
        c"123456789012345/12345678901234",
        c"12345678901234/12345678901234",
        c"12345678901234/12345678901234/12345678901234",
        c"123456789012345/123456789012345/123456789012345",
        c"12345678901234/123456789012345",
        c"12345678901234",
    ] {
        unlink(path);
    }
}

/// `.` and `..` cannot be removed.
pub fn rmdot() {
    ensure!(mkdir(c"dots") == 0, "mkdir dots failed");
    ensure!(chdir(c"dots") == 0, "chdir dots failed");
    ensure!(unlink(c".") != 0, "rm . worked!");
    ensure!(unlink(c"..") != 0, "rm .. worked!");
    ensure!(chdir(c"/") == 0, "chdir / failed");
    ensure!(unlink(c"dots/.") != 0, "unlink dots/. worked!");
    ensure!(unlink(c"dots/..") != 0, "unlink dots/.. worked!");
    ensure!(unlink(c"dots") == 0, "unlink dots failed!");
}

/// A file is not a directory, a directory not a file to write.
pub fn dirfile() {
    let fd = open(c"dirfile", O_CREATE);
    ensure!(fd >= 0, "create dirfile failed");
    close(fd);
    let inside = c"dirfile/xx";
    expect_failures(&[
        ("chdir", c"dirfile", chdir(c"dirfile")),
        ("open", inside, open(inside, O_RDONLY)),
        ("create", inside, open(inside, O_CREATE)),
        ("mkdir", inside, mkdir(inside)),
        ("unlink", inside, unlink(inside)),
        ("link to", inside, link(c"README", inside)),
    ]);
    ensure!(unlink(c"dirfile") == 0, "unlink dirfile failed!");
    ensure!(open(c".", O_RDWR) < 0, "open . for writing succeeded!");
    let fd = open(c".", O_RDONLY);
    ensure!(write(fd, b"x") <= 0, "write . succeeded!");
    close(fd);
}

/// Does name look-up drop its inodes, and what of empty names?
pub fn iref() {
    for _ in 0..NINODE + 1 {
        ensure!(mkdir(c"irefd") == 0, "mkdir irefd failed");
        ensure!(chdir(c"irefd") == 0, "chdir irefd failed");
        mkdir(c"");
        link(c"README", c"");
        for name in [c"", c"xx"] {
            let fd = open(name, O_CREATE);
            if fd >= 0 {
                close(fd);
            }
        }
        unlink(c"xx");
    }
    for _ in 0..NINODE + 1 {
        chdir(c"..");
        unlink(c"irefd");
    }
    chdir(c"/");
}

/// The current directory and its parent are gone: nothing can be found or made above it.
pub fn unlinkcwd() {
    ensure!(mkdir(c"/a") >= 0, "mkdir /a failed");
    ensure!(mkdir(c"/a/b") >= 0, "mkdir /a/b failed");
    ensure!(chdir(c"/a/b") >= 0, "chdir failed");
    ensure!(unlink(c"/a/b") >= 0, "unlink /a/b failed");
    ensure!(unlink(c"/a") >= 0, "unlink /a failed");
    ensure!(open(c"../", O_RDONLY) < 0, "open ../ non-existing directory");
    ensure!(open(c"../c", O_CREATE) < 0, "create ../c non-existing file");
}
