//! Images that lie: mounting says what is wrong, or calls fail. Nothing panics or hangs.

use std::format;
use std::string::ToString;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use std::vec::Vec;

use abi::fcntl::*;
use abi::fs::*;
use abi::stat::T_DIR;

use super::fixture::{Calls, Image, Mounted, mkfs, pattern};
use crate::fs::{FsError, MountError};

/// A number of the superblock becomes this one.
fn with_field(index: usize, value: u32) -> Image {
    let mut image = mkfs(200, 40);
    image[1][4 * index..4 * index + 4].copy_from_slice(&value.to_le_bytes());
    image
}

fn error(image: Image) -> MountError {
    Mounted::new(image).err().expect("it is not mounted")
}

#[test]
fn superblocks_that_lie() {
    assert_eq!(error(with_field(0, 7)), MountError::Magic(7));
    assert_eq!(error(with_field(1, 201)), MountError::CutOff { size: 201, disk: 200 });
    let mut cut_off = mkfs(200, 40);
    cut_off.truncate(100);
    assert_eq!(error(cut_off), MountError::CutOff { size: 200, disk: 100 });
    assert_eq!(error(Vec::new()), MountError::NoSuperBlock);
    for (index, value, name) in [
        (1, 10, "size"),
        (2, 200, "nblocks"),
        (2, u32::MAX, "nblocks"),
        (3, 0, "ninodes"),
        (3, u32::MAX, "bmapstart"),
        (4, 3, "nlog"),
        (4, u32::MAX, "inodestart"),
        (5, 0, "logstart"),
        (5, u32::MAX, "inodestart"),
        (6, 20, "inodestart"),
        (6, u32::MAX, "bmapstart"),
        (7, 3, "bmapstart"),
        (7, u32::MAX, "size"),
    ] {
        let expected = match name {
            "size" => with_field(index, value)[1][4..8].try_into().map(u32::from_le_bytes),
            "bmapstart" => with_field(index, value)[1][28..32].try_into().map(u32::from_le_bytes),
            "inodestart" => with_field(index, value)[1][24..28].try_into().map(u32::from_le_bytes),
            _ => Ok(value),
        };
        let expected = MountError::Field(name, expected.unwrap());
        assert_eq!(error(with_field(index, value)), expected, "field {index} = {value}");
    }
    let message = error(with_field(4, 3)).to_string();
    assert_eq!(message, "superblock (block 1): nlog 3 makes no sense");
}

#[test]
fn logs_that_lie() {
    for (n, block, expected) in [
        (31, 50u32, MountError::LogLength(31)),
        (u32::MAX, 50, MountError::LogLength(u32::MAX)),
        (1, 1, MountError::LogBlock(1)),
        (1, 200, MountError::LogBlock(200)),
        (2, 100, MountError::LogBlock(0)),
    ] {
        let mut image = mkfs(200, 40);
        image[2][0..4].copy_from_slice(&n.to_le_bytes());
        image[2][4..8].copy_from_slice(&block.to_le_bytes());
        assert_eq!(error(image), expected);
    }
}

#[test]
fn a_root_that_is_none() {
    for inode in [
        DiskInode::default(),
        DiskInode { kind: 2, nlink: 1, ..DiskInode::default() },
        DiskInode { kind: T_DIR, nlink: 0, ..DiskInode::default() },
        DiskInode { kind: T_DIR, nlink: 1, size: u32::MAX, ..DiskInode::default() },
    ] {
        let mut image = mkfs(200, 40);
        image[33][64..128].copy_from_slice(&inode.to_bytes());
        assert_eq!(error(image), MountError::Root);
    }
}

/// A file system with a file `f` (inode 2) and a directory `d` (inode 3) with a file in it.
fn with_files() -> Image {
    let fs = Mounted::new(mkfs(400, 40)).unwrap();
    let mut p = fs.process();
    p.put("f", &pattern(1, 15 * BSIZE)).unwrap();
    p.mkdir(b"d").unwrap();
    p.put("d/g", b"g").unwrap();
    drop(p);
    fs.image()
}

fn edit_inode(image: &mut Image, inum: usize, edit: impl Fn(&mut DiskInode)) {
    let bytes = &mut image[33][64 * inum..64 * inum + 64];
    let mut inode = DiskInode::from_bytes((&*bytes).try_into().unwrap());
    edit(&mut inode);
    bytes.copy_from_slice(&inode.to_bytes());
}

#[test]
fn block_numbers_out_of_range() {
    for bad in [1, 40, 400, u32::MAX] {
        let mut image = with_files();
        edit_inode(&mut image, 2, |inode| {
            inode.addrs[3] = bad;
            inode.addrs[12] = bad;
        });
        let fs = Mounted::new(image).unwrap();
        let mut p = fs.process();
        assert_eq!(p.cat("f"), Err(FsError::Corrupt));
        p.unlink(b"f").unwrap();
        p.put("f", &pattern(1, 15 * BSIZE)).unwrap();
        assert_eq!(p.cat("f").unwrap(), pattern(1, 15 * BSIZE));
    }
}

#[test]
fn inodes_that_cannot_be() {
    let bad: [fn(&mut DiskInode); 4] =
        [|i| i.kind = 0, |i| i.kind = 9, |i| i.nlink = -1, |i| i.size = 0x8000_0000];
    for edit in bad {
        let mut image = with_files();
        edit_inode(&mut image, 2, edit);
        let fs = Mounted::new(image).unwrap();
        let mut p = fs.process();
        assert_eq!(p.cat("f"), Err(FsError::Corrupt));
        assert_eq!(p.put("f", b""), Err(FsError::Corrupt));
        assert_eq!(p.unlink(b"f"), Err(FsError::Corrupt));
        assert_eq!(p.link(b"f", b"h"), Err(FsError::Corrupt));
        assert_eq!(p.cat("d/g").unwrap(), b"g");
    }
}

#[test]
fn directories_that_lead_astray() {
    let fs = Mounted::new(with_files()).unwrap();
    let block = DiskInode::from_bytes(fs.image()[33][64..128].try_into().unwrap()).addrs[0];
    for inum in [1u16, 39, 40, u16::MAX] {
        let mut image = fs.image();
        // The entry of `d` leads to the root itself, to a free inode, or to none.
        image[block as usize][48..50].copy_from_slice(&inum.to_le_bytes());
        let fs = Mounted::new(image).unwrap();
        let mut p = fs.process();
        assert!(p.unlink(b"d").is_err());
        assert!(p.cat("d/g").is_err());
        assert!(p.put("d", b"x").is_err());
    }
}

/// Directories `a` and `a/b`, and in the latter an entry `a` that leads back up.
fn with_a_loop() -> Image {
    let fs = Mounted::new(mkfs(400, 40)).unwrap();
    let mut p = fs.process();
    p.mkdir(b"a").unwrap();
    p.mkdir(b"a/b").unwrap();
    p.put("a/b/a", b"").unwrap();
    drop(p);
    let mut image = fs.image();
    let entry = |inum: u16| {
        let mut entry = Dirent { inum, ..Dirent::default() };
        entry.name[0] = b'a';
        entry.to_bytes()
    };
    // Inodes are given out in order: a is 2, a/b is 3, and 4 is the file.
    let found = image.iter_mut().flat_map(|block| block.chunks_exact_mut(DIRENT_SIZE));
    // The log has an old copy.
    let copies = found.filter(|bytes| **bytes == entry(4));
    assert!(copies.map(|bytes| bytes.copy_from_slice(&entry(2))).count() > 0);
    image
}

#[test]
fn a_directory_below_itself_stops_nobody() {
    let fs = Mounted::new(with_a_loop()).unwrap();
    let (done, all_done) = mpsc::channel();
    // Each call looks at a directory and at the one below it: a and b, or b and a.
    for path in ["a/b", "a/b/a", "a/b/a/b", "a/b/x"] {
        let (p, done) = (fs.process(), done.clone());
        thread::spawn(move || {
            for _ in 0..2000 {
                let result = match path {
                    "a/b/x" => p.mkdir(b"a/b/x").and_then(|()| p.unlink(b"a/b/x")),
                    _ => p.unlink(path.as_bytes()).or_else(|error| match error {
                        FsError::NotEmpty => Ok(()),
                        error => Err(error),
                    }),
                };
                result.unwrap();
            }
            drop(p);
            done.send(()).unwrap();
        });
    }
    for _ in 0..4 {
        all_done.recv_timeout(Duration::from_secs(60)).expect("nobody waits for ever");
    }
}

#[test]
fn an_indirect_block_that_the_bitmap_calls_free() {
    let mut image = with_files();
    // Every data block is free, says the bitmap.
    image[36][8..].fill(0);
    let fs = Mounted::new(image).unwrap();
    let mut p = fs.process();
    let fd = p.open(b"f", O_RDWR).unwrap();
    while p.write_all(fd, &[5; BSIZE]).is_ok() {}
    let _ = p.unlink(b"f");
}

/// A small generator of numbers (xorshift).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
}

#[test]
fn random_damage_to_the_metadata() {
    let good = with_files();
    let mut mounted = 0;
    for seed in 1..=1500u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut image = good.clone();
        for _ in 0..=random.below(12) {
            // Superblock, log header, inodes, bitmap, and the first blocks of data.
            let block = [1, 2, 33, 33, 33, 34, 36, 37, 38, 39, 50, 51][random.below(12) as usize];
            let at = random.below(if block == 1 { 32 } else { 256 }) as usize;
            image[block][at] = random.below(256) as u8;
        }
        let Ok(fs) = Mounted::new(image) else { continue };
        mounted += 1;
        let mut p = fs.process();
        for round in 0..12 {
            let name = ["f", "d", "d/g", "d/new", "new", "."][random.below(6) as usize];
            let _ = match random.below(6) {
                0 => p.cat(name).map(drop),
                1 => p.put(name, &pattern(round, random.below(20_000) as usize)),
                2 => p.unlink(name.as_bytes()),
                3 => p.link(name.as_bytes(), b"link"),
                4 => p.mkdir(format!("{name}/x").as_bytes()),
                _ => p.chdir(name.as_bytes()),
            };
        }
    }
    assert!(mounted > 500, "{mounted} images were mounted");
}
