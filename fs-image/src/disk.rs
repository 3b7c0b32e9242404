//! The words and structures of a block.

use abi::fs::{DIRENT_SIZE, DIRSIZ, Dirent, DiskInode, INODE_SIZE};

fn array<const N: usize>(bytes: &[u8], at: usize) -> &[u8; N] {
    bytes[at..].first_chunk().expect("structures do not cross the ends of blocks")
}

/// The `index`th 32-bit word.
pub(crate) fn word(bytes: &[u8], index: usize) -> u32 {
    u32::from_le_bytes(*array(bytes, 4 * index))
}

pub(crate) fn set_word(bytes: &mut [u8], index: usize, value: u32) {
    bytes[4 * index..][..4].copy_from_slice(&value.to_le_bytes());
}

/// The inode at a byte offset.
pub(crate) fn inode(bytes: &[u8], at: usize) -> DiskInode {
    DiskInode::from_bytes(array::<INODE_SIZE>(bytes, at))
}

/// The directory entry at a byte offset.
pub(crate) fn dirent(bytes: &[u8], at: usize) -> Dirent {
    Dirent::from_bytes(array::<DIRENT_SIZE>(bytes, at))
}

/// The bytes of an entry's name before its padding.
pub(crate) fn name(dirent: &Dirent) -> &[u8] {
    let end = dirent.name.iter().position(|&byte| byte == 0).unwrap_or(DIRSIZ);
    &dirent.name[..end]
}
