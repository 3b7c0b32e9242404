//! A disk in memory, an empty file system on it, a mounted file system, and user memory.

use std::boxed::Box;
use std::ops::Deref;
use std::sync::Mutex;
use std::vec;
use std::vec::Vec;

use abi::fs::*;
use abi::param::LOGBLOCKS;
use abi::stat::T_DIR;

use crate::fs::bounce::{UserFault, UserMemory};
use crate::fs::{BlockData, BlockDevice, Fs, FsError, MountError, ProcFiles};

/// The contents of a disk.
pub type Image = Vec<BlockData>;

/// A disk that remembers what was written to it, in order.
pub struct MemDisk {
    image: Mutex<Image>,
    writes: Mutex<Vec<(u32, BlockData)>>,
}

impl BlockDevice for MemDisk {
    fn blocks(&self) -> u64 {
        self.image.lock().unwrap().len() as u64
    }

    fn read(&self, blockno: u32, buf: &mut BlockData) {
        *buf = self.image.lock().unwrap()[blockno as usize];
    }

    fn write(&self, blockno: u32, buf: &BlockData) {
        self.image.lock().unwrap()[blockno as usize] = *buf;
        self.writes.lock().unwrap().push((blockno, *buf));
    }
}

/// An empty file system, as MIT's mkfs makes it.
pub fn mkfs(blocks: u32, inodes: u32) -> Image {
    let inode_blocks = inodes / IPB as u32 + 1;
    let bitmap_blocks = blocks / BPB as u32 + 1;
    let nlog = LOGBLOCKS as u32 + 1;
    let metadata = 2 + nlog + inode_blocks + bitmap_blocks;
    let sb = SuperBlock {
        magic: FSMAGIC,
        size: blocks,
        nblocks: blocks - metadata,
        ninodes: inodes,
        nlog,
        logstart: 2,
        inodestart: 2 + nlog,
        bmapstart: 2 + nlog + inode_blocks,
    };
    let mut image = vec![[0; BSIZE]; blocks as usize];
    image[1][..SuperBlock::BYTES].copy_from_slice(&sb.to_bytes());
    let mut root = DiskInode { kind: T_DIR, nlink: 1, size: BSIZE as u32, ..DiskInode::default() };
    root.addrs[0] = metadata;
    let at = INODE_SIZE * ROOTINO as usize;
    image[sb.inodestart as usize][at..at + INODE_SIZE].copy_from_slice(&root.to_bytes());
    for (i, name) in [&b"."[..], b".."].into_iter().enumerate() {
        let mut entry = Dirent { inum: ROOTINO as u16, ..Dirent::default() };
        entry.name[..name.len()].copy_from_slice(name);
        let at = i * DIRENT_SIZE;
        image[metadata as usize][at..at + DIRENT_SIZE].copy_from_slice(&entry.to_bytes());
    }
    for block in 0..=metadata as usize {
        image[sb.bmapstart as usize + block / BPB][block % BPB / 8] |= 1 << (block % 8);
    }
    image
}

/// A mounted file system. Dropping it checks that nothing refers to anything in it any more.
pub struct Mounted {
    fs: &'static Fs,
    disk: &'static MemDisk,
}

impl Mounted {
    pub fn new(image: Image) -> Result<Mounted, MountError> {
        let disk = MemDisk { image: Mutex::new(image), writes: Mutex::default() };
        let mounted =
            Mounted { fs: Box::leak(Box::new(Fs::new())), disk: Box::leak(Box::new(disk)) };
        mounted.fs.mount(mounted.disk).map(|()| mounted)
    }

    /// A process without files, in the root directory.
    pub fn process(&self) -> ProcFiles {
        ProcFiles::at_root(self.fs)
    }

    pub fn image(&self) -> Image {
        self.disk.image.lock().unwrap().clone()
    }

    /// What was written so far.
    pub fn writes(&self) -> Vec<(u32, BlockData)> {
        self.disk.writes.lock().unwrap().clone()
    }

    pub fn write_count(&self) -> usize {
        self.disk.writes.lock().unwrap().len()
    }
}

impl Deref for Mounted {
    type Target = Fs;

    fn deref(&self) -> &Fs {
        self.fs
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let left = (self.inodes.references(), self.files.used(), self.pipes.used());
            assert_eq!(left, (0, 0, 0), "inodes, files and pipes that are still referred to");
            // SAFETY: both came from boxes, and nothing that could refer to them is left.
            unsafe {
                drop(Box::from_raw(core::ptr::from_ref(self.fs).cast_mut()));
                drop(Box::from_raw(core::ptr::from_ref(self.disk).cast_mut()));
            }
        }
    }
}

/// User memory from address 0; what is behind its end faults.
pub struct Memory(pub Vec<u8>);

impl Memory {
    pub fn of(size: usize) -> Memory {
        Memory(vec![0; size])
    }

    fn range(&mut self, va: u64, len: usize) -> Result<&mut [u8], UserFault> {
        let start = usize::try_from(va).map_err(|_| UserFault)?;
        let end = start.checked_add(len).ok_or(UserFault)?;
        self.0.get_mut(start..end).ok_or(UserFault)
    }
}

impl UserMemory for Memory {
    fn copyin(&mut self, buf: &mut [u8], va: u64) -> Result<(), UserFault> {
        buf.copy_from_slice(self.range(va, buf.len())?);
        Ok(())
    }

    fn copyout(&mut self, va: u64, data: &[u8]) -> Result<(), UserFault> {
        self.range(va, data.len())?.copy_from_slice(data);
        Ok(())
    }
}

/// What programs do with files, without user memory.
pub trait Calls {
    fn write_all(&mut self, fd: usize, data: &[u8]) -> Result<usize, FsError>;
    fn read_some(&mut self, fd: usize, len: usize) -> Result<Vec<u8>, FsError>;
    /// A new or emptied file with this content.
    fn put(&mut self, path: &str, data: &[u8]) -> Result<(), FsError>;
    fn cat(&mut self, path: &str) -> Result<Vec<u8>, FsError>;
}

impl Calls for ProcFiles {
    fn write_all(&mut self, fd: usize, data: &[u8]) -> Result<usize, FsError> {
        self.write(&mut Memory(data.to_vec()), fd as i32, 0, data.len() as i32)
    }

    fn read_some(&mut self, fd: usize, len: usize) -> Result<Vec<u8>, FsError> {
        let mut memory = Memory::of(len);
        let got = self.read(&mut memory, fd as i32, 0, len as i32)?;
        memory.0.truncate(got);
        Ok(memory.0)
    }

    fn put(&mut self, path: &str, data: &[u8]) -> Result<(), FsError> {
        use abi::fcntl::*;
        let fd = self.open(path.as_bytes(), O_CREATE | O_WRONLY | O_TRUNC)?;
        let result = self.write_all(fd, data);
        self.close(fd as i32)?;
        result.map(drop)
    }

    fn cat(&mut self, path: &str) -> Result<Vec<u8>, FsError> {
        let fd = self.open(path.as_bytes(), abi::fcntl::O_RDONLY)?;
        let data = self.read_some(fd, MAXFILE * BSIZE + 1);
        self.close(fd as i32)?;
        data
    }
}

/// Bytes that differ from place to place and from seed to seed.
pub fn pattern(seed: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251 + seed * 31) as u8).collect()
}
