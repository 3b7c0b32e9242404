//! The on-disk structures of `abi::fs` as bytes, little-endian.

use abi::fs::{DIRENT_SIZE, DIRSIZ, Dirent, DiskInode, INODE_SIZE, SuperBlock};

/// The `index`th 32-bit word.
pub(crate) fn word(bytes: &[u8], index: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[4 * index..][..4]);
    u32::from_le_bytes(word)
}

pub(crate) fn set_word(bytes: &mut [u8], index: usize, value: u32) {
    bytes[4 * index..][..4].copy_from_slice(&value.to_le_bytes());
}

fn half(bytes: &[u8], index: usize) -> u16 {
    u16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]])
}

pub(crate) fn superblock(bytes: &[u8]) -> SuperBlock {
    let field = |index| word(bytes, index);
    SuperBlock {
        magic: field(0),
        size: field(1),
        nblocks: field(2),
        ninodes: field(3),
        nlog: field(4),
        logstart: field(5),
        inodestart: field(6),
        bmapstart: field(7),
    }
}

pub(crate) fn put_superblock(bytes: &mut [u8], sb: &SuperBlock) {
    let fields = [
        sb.magic,
        sb.size,
        sb.nblocks,
        sb.ninodes,
        sb.nlog,
        sb.logstart,
        sb.inodestart,
        sb.bmapstart,
    ];
    for (index, field) in fields.into_iter().enumerate() {
        set_word(bytes, index, field);
    }
}

pub(crate) fn inode(bytes: &[u8]) -> DiskInode {
    let field = |index| half(bytes, index) as i16;
    DiskInode {
        kind: field(0),
        major: field(1),
        minor: field(2),
        nlink: field(3),
        size: word(bytes, 2),
        addrs: std::array::from_fn(|index| word(bytes, 3 + index)),
    }
}

pub(crate) fn put_inode(bytes: &mut [u8], inode: &DiskInode) {
    let halves = [inode.kind, inode.major, inode.minor, inode.nlink];
    for (index, field) in halves.into_iter().enumerate() {
        bytes[2 * index..][..2].copy_from_slice(&field.to_le_bytes());
    }
    set_word(bytes, 2, inode.size);
    for (index, addr) in inode.addrs.into_iter().enumerate() {
        set_word(&mut bytes[..INODE_SIZE], 3 + index, addr);
    }
}

pub(crate) fn dirent(bytes: &[u8]) -> Dirent {
    let mut name = [0; DIRSIZ];
    name.copy_from_slice(&bytes[2..DIRENT_SIZE]);
    Dirent { inum: half(bytes, 0), name }
}

pub(crate) fn put_dirent(bytes: &mut [u8], dirent: &Dirent) {
    bytes[..2].copy_from_slice(&dirent.inum.to_le_bytes());
    bytes[2..DIRENT_SIZE].copy_from_slice(&dirent.name);
}

/// The bytes of an entry's name before its padding.
pub(crate) fn name(dirent: &Dirent) -> &[u8] {
    let end = dirent.name.iter().position(|&byte| byte == 0).unwrap_or(DIRSIZ);
    &dirent.name[..end]
}
