//! On-disk format: MIT's xv6 file system.
//!
//! `[ boot | superblock | log | inode blocks | free bitmap | data blocks ]`, all integers
//! little-endian, blocks of [`BSIZE`] bytes.

/// Bytes in a block.
pub const BSIZE: usize = 1024;
/// Inode number of the root directory.
pub const ROOTINO: u32 = 1;
/// [`SuperBlock::magic`].
pub const FSMAGIC: u32 = 0x1020_3040;
/// Direct block numbers in an inode.
pub const NDIRECT: usize = 12;
/// Block numbers in the indirect block.
pub const NINDIRECT: usize = BSIZE / 4;
/// Largest file, in blocks.
pub const MAXFILE: usize = NDIRECT + NINDIRECT;
/// Bytes of a name in a directory entry (not NUL-terminated when full).
pub const DIRSIZ: usize = 14;
/// Bytes of a [`DiskInode`].
pub const INODE_SIZE: usize = 64;
/// Inodes in a block.
pub const IPB: usize = BSIZE / INODE_SIZE;
/// Bitmap bits in a block.
pub const BPB: usize = BSIZE * 8;
/// Bytes of a [`Dirent`].
pub const DIRENT_SIZE: usize = 16;

/// The superblock, at the start of block 1 (32 bytes).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SuperBlock {
    /// Must be [`FSMAGIC`].
    pub magic: u32,
    /// Size of the image in blocks.
    pub size: u32,
    /// Number of data blocks.
    pub nblocks: u32,
    /// Number of inodes.
    pub ninodes: u32,
    /// Number of log blocks, the header included.
    pub nlog: u32,
    /// First log block.
    pub logstart: u32,
    /// First inode block.
    pub inodestart: u32,
    /// First bitmap block.
    pub bmapstart: u32,
}

/// An inode on disk (64 bytes).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiskInode {
    /// `T_DIR`, `T_FILE`, `T_DEVICE`, or 0 when free.
    pub kind: i16,
    /// Major device number (devices only).
    pub major: i16,
    /// Minor device number (devices only).
    pub minor: i16,
    /// Number of links to the inode in the file system.
    pub nlink: i16,
    /// Size of the file in bytes.
    pub size: u32,
    /// Direct block numbers, then the indirect block's.
    pub addrs: [u32; NDIRECT + 1],
}

/// A directory entry (16 bytes); `inum` 0 means free.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dirent {
    /// Inode number.
    pub inum: u16,
    /// Name, padded with NUL.
    pub name: [u8; DIRSIZ],
}
