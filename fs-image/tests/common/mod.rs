//! An image with some of everything, and access to its raw fields. The offsets are written out
//! here once more on purpose: the library's own are what is tested.

// Each test file takes a part of this.
#![allow(dead_code)]

use fs_image::Image;

pub const BSIZE: usize = 1024;
pub const INODESTART: usize = 2 + 31;
/// Inode numbers of the sample: a small file, one with an indirect block, a directory, a file
/// in it, a device node.
pub const SMALL: usize = 2;
pub const BIG: usize = 3;
pub const SUB: usize = 4;
pub const INNER: usize = 5;
pub const DEVICE: usize = 6;
pub const ROOT: usize = 1;

/// An image's bytes, to be damaged.
#[derive(Clone)]
pub struct Raw(pub Vec<u8>);

impl Raw {
    /// Byte offset of a field of an inode: 0 type, 6 nlink, 8 size, 12 + 4n addrs[n].
    pub fn inode(&self, inum: usize, field: usize) -> usize {
        INODESTART * BSIZE + inum * 64 + field
    }

    pub fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.0[at..at + 4].try_into().expect("four bytes"))
    }

    pub fn set_word(&mut self, at: usize, value: u32) {
        self.0[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    pub fn set_half(&mut self, at: usize, value: u16) {
        self.0[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    /// Byte offset of a directory's entry.
    pub fn entry(&self, dir: usize, index: usize) -> usize {
        self.word(self.inode(dir, 12)) as usize * BSIZE + index * 16
    }

    /// The first indirect address' byte offset.
    pub fn indirect(&self, inum: usize) -> usize {
        self.word(self.inode(inum, 12 + 4 * 12)) as usize * BSIZE
    }
}

fn entry(inum: u16, name: &str) -> Vec<u8> {
    let mut entry = inum.to_le_bytes().to_vec();
    entry.extend_from_slice(name.as_bytes());
    entry.resize(16, 0);
    entry
}

pub fn big() -> Vec<u8> {
    (0..20_000u32).map(|i| (i / 7) as u8).collect()
}

/// A sound image of 400 blocks and 40 inodes.
pub fn sample() -> Raw {
    let mut image = Image::mkfs(400, 40).expect("a small image");
    image.put("small", b"hello\n").expect("room");
    image.put("big", &big()).expect("room");
    let dots = [entry(SUB as u16, "."), entry(ROOT as u16, ".."), entry(INNER as u16, "inner")];
    image.put("sub", &dots.concat()).expect("room");
    image.put("inner", b"inside\n").expect("room");
    image.put("console", b"").expect("room");
    let mut raw = Raw(image.as_bytes().to_vec());
    // A directory and a device are files with other types; `inner` moves into the directory.
    let (sub, device) = (raw.inode(SUB, 0), raw.inode(DEVICE, 0));
    raw.set_half(sub, 1);
    raw.set_half(device, 3);
    let (links, moved) = (raw.inode(ROOT, 6), raw.entry(ROOT, 5));
    raw.set_half(links, 2);
    raw.0[moved..moved + 16].fill(0);
    raw
}
