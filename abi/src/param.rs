//! Limits that both sides of the system-call boundary know.

/// Maximum number of processes.
pub const NPROC: usize = 64;
/// Maximum number of harts.
pub const NCPU: usize = 8;
/// Open files per process.
pub const NOFILE: usize = 16;
/// Open files per system.
pub const NFILE: usize = 100;
/// Maximum number of active in-memory inodes.
pub const NINODE: usize = 50;
/// Maximum major device number.
pub const NDEV: usize = 10;
/// Device number of the file system root disk.
pub const ROOTDEV: u32 = 1;
/// Maximum number of `exec` arguments.
pub const MAXARG: usize = 32;
/// Maximum number of blocks any file system operation writes.
pub const MAXOPBLOCKS: usize = 10;
/// Maximum number of data blocks in the on-disk log.
pub const LOGBLOCKS: usize = MAXOPBLOCKS * 3;
/// Size of the disk block cache, in blocks.
pub const NBUF: usize = MAXOPBLOCKS * 3;
/// Size of a default file system image, in blocks.
pub const FSSIZE: u32 = 2000;
/// Maximum length of a path, the terminating NUL included.
pub const MAXPATH: usize = 128;
/// Major device number of the console.
pub const CONSOLE: u16 = 1;
/// Size of a pipe's buffer, in bytes.
pub const PIPESIZE: usize = 512;
