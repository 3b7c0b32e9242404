//! What the system calls do, and what they refuse.

use std::format;
use std::vec;
use std::vec::Vec;

use abi::fcntl::*;
use abi::fs::*;
use abi::param::{NFILE, NINODE, NOFILE};
use abi::stat::{T_DEVICE, T_DIR, T_FILE};

use super::checker::check;
use super::fixture::{Calls, Memory, Mounted, mkfs, pattern};
use crate::fs::{Device, FsError, register_device};

fn small() -> Mounted {
    Mounted::new(mkfs(400, 64)).unwrap()
}

/// The checker finds nothing wrong, and this many paths.
fn clean(fs: &Mounted, paths: usize) {
    let tree = check(&fs.image()).unwrap();
    assert_eq!(tree.len(), paths, "{:?}", tree.keys().collect::<Vec<_>>());
}

#[test]
fn what_was_written_is_read_again() {
    let fs = small();
    let mut p = fs.process();
    for (name, len) in [("empty", 0), ("one", 1), ("block", BSIZE), ("odd", 5 * BSIZE + 77)] {
        p.put(name, &pattern(len, len)).unwrap();
        assert_eq!(p.cat(name).unwrap(), pattern(len, len));
    }
    let tree = check(&fs.image()).unwrap();
    assert_eq!(tree["/odd"].as_deref(), Some(&pattern(5197, 5197)[..]));
    p.put("odd", b"short").unwrap();
    assert_eq!(p.cat("/odd").unwrap(), b"short");
    drop(p);
    let again = Mounted::new(fs.image()).unwrap();
    assert_eq!(again.process().cat("odd").unwrap(), b"short");
    clean(&again, 4);
}

#[test]
fn the_largest_file() {
    let fs = small();
    let mut p = fs.process();
    let fd = p.open(b"big", O_CREATE | O_RDWR).unwrap();
    for i in 0..MAXFILE {
        assert_eq!(p.write_all(fd, &pattern(i, BSIZE)), Ok(BSIZE));
    }
    assert_eq!(p.write_all(fd, b"x"), Err(FsError::TooLarge));
    assert_eq!(p.fstat(fd as i32).unwrap().size, (MAXFILE * BSIZE) as u64);
    p.close(fd as i32).unwrap();
    let all = p.cat("big").unwrap();
    for (i, block) in all.chunks(BSIZE).enumerate() {
        assert_eq!(block, pattern(i, BSIZE), "block {i}");
    }
    clean(&fs, 1);
    p.unlink(b"big").unwrap();
    clean(&fs, 0);
    p.put("again", &all).unwrap();
}

#[test]
fn descriptors_share_an_offset_when_duplicated_only() {
    let fs = small();
    let mut p = fs.process();
    p.put("f", b"abcdef").unwrap();
    let a = p.open(b"f", O_RDONLY).unwrap();
    let b = p.dup(a as i32).unwrap();
    let c = p.open(b"f", O_RDONLY).unwrap();
    let mut child = p.fork();
    assert_eq!(p.read_some(a, 2).unwrap(), b"ab");
    assert_eq!(p.read_some(b, 2).unwrap(), b"cd");
    assert_eq!(child.read_some(a, 2).unwrap(), b"ef");
    assert_eq!(p.read_some(b, 2).unwrap(), b"");
    assert_eq!(p.read_some(c, 3).unwrap(), b"abc");
    assert_eq!(p.write_all(c, b"no"), Err(FsError::BadDescriptor));
    p.close(a as i32).unwrap();
    assert_eq!(p.close(a as i32), Err(FsError::BadDescriptor));
    assert_eq!(p.dup(-1), Err(FsError::BadDescriptor));
    assert_eq!(p.dup(NOFILE as i32), Err(FsError::BadDescriptor));
    assert_eq!(p.open(b"f", O_RDONLY), Ok(a), "the lowest free one");
}

#[test]
fn user_memory_that_is_not_there() {
    let fs = small();
    let mut p = fs.process();
    let fd = p.open(b"f", O_CREATE | O_RDWR).unwrap() as i32;
    let mut memory = Memory(pattern(1, 8192));
    assert_eq!(p.write(&mut memory, fd, 8192 - 100, 200), Err(FsError::Fault));
    assert_eq!(p.cat("f").unwrap(), pattern(1, 8192)[8092..], "what there was is written");
    p.close(fd).unwrap();
    let fd = p.open(b"f", O_TRUNC | O_RDWR).unwrap() as i32;
    assert_eq!(p.write(&mut memory, fd, u64::MAX - 7, 16), Err(FsError::Fault));
    assert_eq!(p.write(&mut memory, fd, 0, -1), Err(FsError::Invalid));
    assert_eq!(p.write(&mut memory, fd, 0, 8192), Ok(8192));
    p.close(fd).unwrap();
    let fd = p.open(b"f", O_RDONLY).unwrap() as i32;
    assert_eq!(p.read(&mut memory, fd, 8192 - 10, 100), Err(FsError::Fault));
    assert_eq!(p.read(&mut memory, fd, 0, 8192), Ok(8192), "the failed call read nothing");
    assert_eq!(p.read(&mut memory, fd, 9999, 1), Ok(0), "nothing is left, nothing is touched");
    assert_eq!(memory.0, pattern(1, 8192));
}

#[test]
fn directories() {
    let fs = small();
    let mut p = fs.process();
    p.mkdir(b"d").unwrap();
    assert_eq!(p.mkdir(b"d"), Err(FsError::Exists));
    p.put("d/f", b"1").unwrap();
    assert_eq!(p.put("d", b"1"), Err(FsError::Exists));
    assert_eq!(p.open(b"d", O_RDWR), Err(FsError::IsDirectory));
    assert_eq!(p.mkdir(b"d/f/g"), Err(FsError::NotDirectory));
    assert_eq!(p.unlink(b"d/f/."), Err(FsError::NotDirectory));
    assert_eq!(p.mkdir(b"x/y"), Err(FsError::NotFound));
    assert_eq!(p.mkdir(b"/"), Err(FsError::NotFound));
    assert_eq!(p.unlink(b"d"), Err(FsError::NotEmpty));
    assert_eq!(p.unlink(b"d/."), Err(FsError::Invalid));
    assert_eq!(p.unlink(b"d/.."), Err(FsError::Invalid));
    p.chdir(b"d").unwrap();
    assert_eq!(p.chdir(b"f"), Err(FsError::NotDirectory));
    assert_eq!(p.cat("../d/./f").unwrap(), b"1");
    assert_eq!(p.cat("//d///f").unwrap(), b"1");
    p.unlink(b"f").unwrap();
    p.unlink(b"../d").unwrap();
    // A directory without a name has nothing in it and gets nothing.
    for path in [&b"."[..], b"..", b"../d", b"f"] {
        assert_eq!(p.open(path, O_RDONLY), Err(FsError::NotFound));
    }
    assert_eq!(p.put("f", b"2"), Err(FsError::NotFound));
    assert_eq!(p.mkdir(b"e"), Err(FsError::NotFound));
    p.chdir(b"/").unwrap();
    clean(&fs, 0);
}

#[test]
fn names_are_fourteen_bytes() {
    let fs = small();
    let mut p = fs.process();
    p.put("12345678901234", b"1").unwrap();
    assert_eq!(p.cat("123456789012345").unwrap(), b"1");
    assert_eq!(p.cat("1234567890123"), Err(FsError::NotFound));
    clean(&fs, 1);
}

#[test]
fn links_and_open_files_keep_an_inode() {
    let fs = small();
    let mut p = fs.process();
    p.put("a", &pattern(1, 3000)).unwrap();
    p.link(b"a", b"b").unwrap();
    assert_eq!(p.link(b"a", b"b"), Err(FsError::Exists));
    assert_eq!(p.link(b"a", b"nowhere/b"), Err(FsError::NotFound));
    assert_eq!(p.link(b"nothing", b"c"), Err(FsError::NotFound));
    assert_eq!(p.link(b".", b"c"), Err(FsError::IsDirectory));
    clean(&fs, 2);
    p.unlink(b"a").unwrap();
    let fd = p.open(b"b", O_RDWR).unwrap();
    assert_eq!(p.fstat(fd as i32).unwrap().nlink, 1);
    p.unlink(b"b").unwrap();
    assert_eq!(p.open(b"b", O_RDONLY), Err(FsError::NotFound));
    assert_eq!(p.read_some(fd, 5000).unwrap(), pattern(1, 3000));
    assert_eq!(p.write_all(fd, b"more"), Ok(4));
    assert!(check(&fs.image()).is_err(), "the orphan is on the disk");
    let after_cut = Mounted::new(fs.image()).unwrap();
    clean(&after_cut, 0);
    p.close(fd as i32).unwrap();
    clean(&fs, 0);
}

#[test]
fn truncation_while_others_have_the_file_open() {
    let fs = small();
    let mut p = fs.process();
    p.put("t", b"abcd").unwrap();
    let old = p.open(b"t", O_RDONLY).unwrap();
    let writer = p.open(b"t", O_WRONLY | O_TRUNC).unwrap();
    assert_eq!(p.read_some(old, 9).unwrap(), b"");
    p.write_all(writer, b"abcdef").unwrap();
    assert_eq!(p.read_some(old, 3).unwrap(), b"abc");
    let truncating = p.open(b"t", O_TRUNC).unwrap();
    assert_eq!(p.read_some(old, 3).unwrap(), b"");
    assert_eq!(p.write_all(writer, b"x"), Err(FsError::Invalid), "its offset is behind the end");
    assert_eq!(p.read_some(truncating, 3).unwrap(), b"");
}

#[test]
fn device_files() {
    let fs = small();
    let mut p = fs.process();
    p.mknod(b"dev", 9, 3).unwrap();
    p.mknod(b"none", 77, 0).unwrap();
    p.mknod(b"negative", -1, 0).unwrap();
    assert_eq!(p.mknod(b"dev", 9, 3), Err(FsError::Exists));
    for name in [&b"none"[..], b"negative"] {
        assert_eq!(p.open(name, O_RDWR), Err(FsError::NoDevice));
    }
    let fd = p.open(b"dev", O_RDWR | O_CREATE).unwrap();
    assert_eq!(p.fstat(fd as i32).unwrap().kind, T_DEVICE);
    assert_eq!(p.write_all(fd, b"x"), Err(FsError::NoDevice));
    assert_eq!(p.read_some(fd, 1), Err(FsError::NoDevice));
    clean(&fs, 3);
}

/// A device that gives at most 100 bytes at a time, all `7`, and takes at most 88.
struct Sevens;

impl Device for Sevens {
    fn read(&self, buf: &mut [u8]) -> Result<usize, FsError> {
        let len = buf.len().min(100);
        buf[..len].fill(7);
        Ok(len)
    }

    fn write(&self, data: &[u8]) -> Result<usize, FsError> {
        Ok(data.len().min(88))
    }
}

#[test]
fn transfers_with_a_device() {
    register_device(5, &Sevens);
    let fs = small();
    let mut p = fs.process();
    p.mknod(b"sevens", 5, 0).unwrap();
    let fd = p.open(b"sevens", O_RDWR).unwrap() as i32;
    let mut memory = Memory::of(4096);
    assert_eq!(p.read(&mut memory, fd, 0, 1000), Ok(100));
    assert_eq!(memory.0[..101], [[7; 100].as_slice(), &[0]].concat());
    assert_eq!(p.read(&mut memory, fd, 0, 0), Ok(0));
    assert_eq!(p.read(&mut memory, fd, 4096 - 10, 50), Ok(10), "up to the end of the page");
    assert_eq!(p.read(&mut memory, fd, 5000, 50), Ok(0));
    assert_eq!(p.write(&mut memory, fd, 0, 50), Ok(50));
    assert_eq!(p.write(&mut memory, fd, 0, 1000), Ok(88));
    assert_eq!(p.write(&mut memory, fd, 4096 - 10, 50), Ok(10));
    assert_eq!(p.get(fd).unwrap().size(), 0);
    assert!(p.get(fd).unwrap().backing().is_none(), "devices are not mapped");
}

#[test]
fn a_full_disk_fails_calls_and_loses_nothing() {
    let fs = small();
    let mut p = fs.process();
    p.mkdir(b"d").unwrap();
    let mut files = 0;
    while p.put(&format!("f{files}"), &pattern(files, 20 * BSIZE)).is_ok() {
        files += 1;
    }
    let short = p.cat(&format!("f{files}")).unwrap();
    assert!(!short.is_empty(), "the last write was short");
    assert_eq!(short, pattern(files, 20 * BSIZE)[..short.len()]);
    assert_eq!(p.mkdir(b"d/e"), Err(FsError::NoSpace));
    assert_eq!(p.put("x", b"x"), Err(FsError::NoSpace), "the file is there, its block is not");
    clean(&fs, files + 3);
    for i in 0..=files {
        p.unlink(format!("f{i}").as_bytes()).unwrap();
    }
    p.mkdir(b"d/e").unwrap();
    p.put("f", &pattern(0, 200 * BSIZE)).unwrap();
    clean(&fs, 4);
}

#[test]
fn a_disk_without_free_inodes_fails_calls() {
    let fs = small();
    let mut p = fs.process();
    for i in 0..62 {
        p.put(&format!("f{i}"), b"").unwrap();
    }
    assert_eq!(p.put("x", b""), Err(FsError::NoInodes));
    assert_eq!(p.mkdir(b"x"), Err(FsError::NoInodes));
    clean(&fs, 62);
    p.unlink(b"f7").unwrap();
    p.mkdir(b"x").unwrap();
    clean(&fs, 62);
}

#[test]
fn the_tables_of_the_kernel_fill_up() {
    let fs = small();
    let mut p = fs.process();
    p.put("f", b"").unwrap();
    for fd in 0..NOFILE {
        assert_eq!(p.open(b"f", O_RDONLY), Ok(fd));
    }
    assert_eq!(p.open(b"g", O_RDONLY | O_CREATE), Err(FsError::TableFull));
    assert_eq!(p.dup(0), Err(FsError::TableFull));
    p.close(0).unwrap();
    assert_eq!(p.pipe(&mut Memory::of(8), 0), Err(FsError::TableFull));
    assert_eq!(p.open(b"nothing", O_RDONLY), Err(FsError::NotFound));
    assert_eq!(fs.files.used(), NOFILE - 1, "nothing of the failed calls is left");

    let mut others = vec![];
    for i in NOFILE - 1..NFILE {
        if i % NOFILE == NOFILE - 1 {
            others.push(fs.process());
        }
        others.last_mut().unwrap().open(b"f", O_RDONLY).unwrap();
    }
    let mut last = fs.process();
    assert_eq!(last.open(b"f", O_RDONLY), Err(FsError::TableFull));
    drop(others);
    last.open(b"f", O_RDONLY).unwrap();
}

#[test]
fn the_inode_table_fills_up() {
    let fs = small();
    let mut all = vec![fs.process()];
    for i in 1..NINODE {
        let mut p = fs.process();
        p.mkdir(format!("d{i}").as_bytes()).unwrap();
        p.chdir(format!("d{i}").as_bytes()).unwrap();
        all.push(p);
    }
    // The root and 49 directories are in use, each with a node of the table.
    assert_eq!(all[0].mkdir(b"one-more"), Err(FsError::TableFull));
    all.pop();
    all[0].mkdir(b"one-more").unwrap();
    all.clear();
    clean(&fs, NINODE);
}

#[test]
fn a_name_goes_into_the_first_free_entry() {
    let fs = small();
    let mut p = fs.process();
    for i in 0..3 {
        p.put(&format!("f{i}"), b"").unwrap();
    }
    p.unlink(b"f1").unwrap();
    p.put("new", b"").unwrap();
    let root = p.cat("/").unwrap();
    assert_eq!(&root[3 * 16 + 2..][..4], b"new\0");
    assert_eq!(root.len(), BSIZE, "mkfs makes the root a block long");
}

#[test]
fn stat_tells_what_it_is() {
    let fs = small();
    let mut p = fs.process();
    p.mkdir(b"d").unwrap();
    p.put("f", &[1; 700]).unwrap();
    let fd = p.open(b"d", O_RDONLY).unwrap() as i32;
    let stat = p.fstat(fd).unwrap();
    assert_eq!((stat.kind, stat.nlink, stat.size, stat.dev), (T_DIR, 1, 32, 1));
    let fd = p.open(b"f", O_RDONLY).unwrap() as i32;
    let stat = p.fstat(fd).unwrap();
    assert_eq!((stat.kind, stat.nlink, stat.size, stat.ino), (T_FILE, 1, 700, 3));
}

#[test]
fn pages_of_files_for_mappings() {
    let fs = small();
    let mut p = fs.process();
    p.put("f", &pattern(3, 5000)).unwrap();
    let fd = p.open(b"f", O_RDWR).unwrap() as i32;
    let file = p.get(fd).unwrap().clone();
    p.close(fd).unwrap();
    p.unlink(b"f").unwrap();
    assert!(file.mappable() && file.readable() && file.writable());
    assert_eq!(file.size(), 5000);
    let mut page = [9; 4096];
    assert_eq!(file.read_page_at(4096, &mut page), Ok(904));
    assert_eq!(page[..904], pattern(3, 5000)[4096..]);
    assert!(page[904..].iter().all(|&byte| byte == 0));
    page.fill(0x55);
    file.write_back(4096, &page).unwrap();
    file.write_back(1 << 33, &page).unwrap();
    assert_eq!(file.size(), 5000, "nothing is written behind the end");
    let mut first = [0; 4096];
    file.read_page_at(0, &mut first).unwrap();
    assert_eq!(first[..], pattern(3, 5000)[..4096]);
    file.read_page_at(4096, &mut page).unwrap();
    assert!(page[..904].iter().all(|&byte| byte == 0x55));
    assert_eq!(file.read_page_at(8192, &mut page), Ok(0));
    let mapping = file.backing().unwrap();
    file.close();
    let second = mapping.clone();
    drop(mapping);
    first.fill(0);
    assert_eq!(second.read_page(0, &mut first), 4096);
    assert_eq!(first[..], pattern(3, 5000)[..4096]);
    assert!(second.writable() && second.size() == 5000);
    drop(second);
    clean(&fs, 0);
}

#[test]
fn a_disk_with_several_bitmap_blocks() {
    let fs = Mounted::new(mkfs(2 * BPB as u32 + 300, 200)).unwrap();
    let mut p = fs.process();
    for i in 0..61 {
        p.put(&format!("f{i}"), &pattern(i, MAXFILE * BSIZE)).unwrap();
    }
    let full = p.put("last", &pattern(7, MAXFILE * BSIZE));
    assert_eq!(full, Err(FsError::NoSpace));
    for i in 0..61 {
        assert_eq!(p.cat(&format!("f{i}")).unwrap(), pattern(i, MAXFILE * BSIZE));
        p.unlink(format!("f{i}").as_bytes()).unwrap();
    }
    clean(&fs, 1);
}
