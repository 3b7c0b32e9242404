//! Why a call of the file system failed. Processes only see -1; the kernel and its tests see this.

use core::fmt;

/// Why an operation failed; nothing was changed unless the operation says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FsError {
    /// No such file descriptor, or not open for this.
    BadDescriptor,
    /// A name on the path does not exist.
    NotFound,
    /// The name exists already.
    Exists,
    /// Something on the path is not a directory.
    NotDirectory,
    /// The operation is not for directories.
    IsDirectory,
    /// The directory has entries besides `.` and `..`.
    NotEmpty,
    /// The call's arguments make no sense.
    Invalid,
    /// No free block.
    NoSpace,
    /// No free inode on the disk.
    NoInodes,
    /// The file would be larger than a file can be.
    TooLarge,
    /// The inode has as many names as its link count can say.
    TooManyLinks,
    /// A table of the kernel is full: descriptors, files, in-memory inodes, pipes.
    TableFull,
    /// There is no such device.
    NoDevice,
    /// User memory could not be read or written.
    Fault,
    /// The process was killed while it waited, or the pipe has no reader.
    Broken,
    /// The disk's contents contradict themselves.
    Corrupt,
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FsError::BadDescriptor => "bad file descriptor",
            FsError::NotFound => "no such file or directory",
            FsError::Exists => "file exists",
            FsError::NotDirectory => "not a directory",
            FsError::IsDirectory => "is a directory",
            FsError::NotEmpty => "directory not empty",
            FsError::Invalid => "invalid argument",
            FsError::NoSpace => "disk full",
            FsError::NoInodes => "out of inodes",
            FsError::TooLarge => "file too large",
            FsError::TooManyLinks => "too many links",
            FsError::TableFull => "table full",
            FsError::NoDevice => "no such device",
            FsError::Fault => "bad address",
            FsError::Broken => "killed or broken pipe",
            FsError::Corrupt => "file system is corrupt",
        })
    }
}

/// Why a disk was not mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountError {
    /// The disk ends before the superblock does.
    NoSuperBlock,
    /// Block 1 does not begin with the magic number.
    Magic(u32),
    /// The superblock's `size` is more than the disk has.
    CutOff {
        /// Blocks according to the superblock.
        size: u32,
        /// Blocks of the disk.
        disk: u64,
    },
    /// This field of the superblock contradicts the others.
    Field(&'static str, u32),
    /// The log's header tells of more blocks than the log has.
    LogLength(u32),
    /// The log holds a copy of a block that is no file system block.
    LogBlock(u32),
    /// Inode 1 is not a directory.
    Root,
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MountError::NoSuperBlock => f.write_str("the disk has no superblock"),
            MountError::Magic(magic) => {
                write!(f, "superblock (block 1): magic {magic:#x} is not xv6's")
            }
            MountError::CutOff { size, disk } => {
                write!(f, "superblock (block 1): size {size}, but the disk has {disk} blocks")
            }
            MountError::Field(name, value) => {
                write!(f, "superblock (block 1): {name} {value} makes no sense")
            }
            MountError::LogLength(n) => write!(f, "log header: n {n} is more than the log holds"),
            MountError::LogBlock(block) => {
                write!(f, "log header: block {block} is outside of the file system")
            }
            MountError::Root => f.write_str("inode 1 is not a directory"),
        }
    }
}
