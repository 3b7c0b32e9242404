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

/// The little-endian number at `offset`.
fn u16_at(bytes: &[u8], offset: usize) -> u16 {
    u16::from_le_bytes([bytes[offset], bytes[offset + 1]])
}

/// The little-endian number at `offset`.
fn u32_at(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes([bytes[offset], bytes[offset + 1], bytes[offset + 2], bytes[offset + 3]])
}

impl SuperBlock {
    /// Bytes of a superblock; the rest of its block is unused.
    pub const BYTES: usize = 32;

    /// Reads what [`to_bytes`](SuperBlock::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8; SuperBlock::BYTES]) -> SuperBlock {
        SuperBlock {
            magic: u32_at(bytes, 0),
            size: u32_at(bytes, 4),
            nblocks: u32_at(bytes, 8),
            ninodes: u32_at(bytes, 12),
            nlog: u32_at(bytes, 16),
            logstart: u32_at(bytes, 20),
            inodestart: u32_at(bytes, 24),
            bmapstart: u32_at(bytes, 28),
        }
    }

    /// The superblock as it lies on the disk.
    pub fn to_bytes(&self) -> [u8; SuperBlock::BYTES] {
        let fields = [
            self.magic,
            self.size,
            self.nblocks,
            self.ninodes,
            self.nlog,
            self.logstart,
            self.inodestart,
            self.bmapstart,
        ];
        let mut bytes = [0; SuperBlock::BYTES];
        for (chunk, field) in bytes.chunks_exact_mut(4).zip(fields) {
            chunk.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }
}

impl DiskInode {
    /// Reads what [`to_bytes`](DiskInode::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8; INODE_SIZE]) -> DiskInode {
        let mut addrs = [0; NDIRECT + 1];
        for (i, addr) in addrs.iter_mut().enumerate() {
            *addr = u32_at(bytes, 12 + 4 * i);
        }
        DiskInode {
            kind: u16_at(bytes, 0) as i16,
            major: u16_at(bytes, 2) as i16,
            minor: u16_at(bytes, 4) as i16,
            nlink: u16_at(bytes, 6) as i16,
            size: u32_at(bytes, 8),
            addrs,
        }
    }

    /// The inode as it lies on the disk.
    pub fn to_bytes(&self) -> [u8; INODE_SIZE] {
        let mut bytes = [0; INODE_SIZE];
        bytes[0..2].copy_from_slice(&self.kind.to_le_bytes());
        bytes[2..4].copy_from_slice(&self.major.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.minor.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.nlink.to_le_bytes());
        bytes[8..12].copy_from_slice(&self.size.to_le_bytes());
        for (chunk, addr) in bytes[12..].chunks_exact_mut(4).zip(self.addrs) {
            chunk.copy_from_slice(&addr.to_le_bytes());
        }
        bytes
    }
}

impl Dirent {
    /// Reads what [`to_bytes`](Dirent::to_bytes) wrote.
    pub fn from_bytes(bytes: &[u8; DIRENT_SIZE]) -> Dirent {
        let mut name = [0; DIRSIZ];
        name.copy_from_slice(&bytes[2..]);
        Dirent { inum: u16_at(bytes, 0), name }
    }

    /// The entry as it lies on the disk.
    pub fn to_bytes(&self) -> [u8; DIRENT_SIZE] {
        let mut bytes = [0; DIRENT_SIZE];
        bytes[0..2].copy_from_slice(&self.inum.to_le_bytes());
        bytes[2..].copy_from_slice(&self.name);
        bytes
    }
}
