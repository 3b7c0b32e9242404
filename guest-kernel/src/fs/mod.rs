//! The file system: block cache, log, inodes, directories, paths, files and pipes.
//!
//! On disk it is MIT's xv6 format of 2025. Every system call that may change the disk runs inside
//! a transaction, an [`Op`]; what must happen inside one takes it as an argument. Locks are taken
//! in this order: an operation is begun, then an inode is locked, then one block buffer at a time.
//! Whoever locks a second inode (a name's, with its directory's) has `pairing` before the first:
//! on a broken disk a directory may be below itself, so that no order of inodes would do. User
//! memory is never touched under any of them, because a fault there may itself read a file.
//!
//! The image is not trusted: block and inode numbers that come from the disk are checked where
//! they are used, and lead to [`FsError::Corrupt`].

mod balloc;
mod bio;
mod bounce;
mod data;
mod device;
mod dir;
mod error;
mod file;
mod inode;
mod log;
mod mapping;
mod path;
mod pipe;
mod pool;
mod superblock;
mod sysfile;
#[cfg(test)]
mod tests;

pub use bounce::{UserFault, UserMemory};
pub use device::{Device, register_device};
pub use error::{FsError, MountError};
pub use file::{File, FileRef};
pub use inode::{Inode, InodeGuard, InodeRef, OpInode};
pub use log::Op;
pub use sysfile::ProcFiles;

use abi::fs::{BSIZE, ROOTINO, SuperBlock};
use abi::param::NFILE;
use abi::stat::T_DIR;

use crate::println;
use crate::sync::{SetOnce, SleepLock};

/// The bytes of a block.
pub type BlockData = [u8; BSIZE];

/// A disk. Transfers are complete when the call returns; the caller may sleep meanwhile.
pub trait BlockDevice: Sync {
    /// Number of whole blocks on the device.
    fn blocks(&self) -> u64;
    /// Fills the buffer with a block below [`blocks`](BlockDevice::blocks).
    fn read(&self, blockno: u32, buf: &mut BlockData);
    /// Replaces a block below [`blocks`](BlockDevice::blocks).
    fn write(&self, blockno: u32, buf: &BlockData);
}

/// The kernel's file system.
pub static FS: Fs = Fs::new();

/// A file system with its caches and tables; the open files of all processes and their pipes.
pub struct Fs {
    superblock: SetOnce<SuperBlock>,
    cache: bio::Cache,
    log: log::Log,
    inodes: inode::Table,
    pairing: SleepLock<()>,
    files: pool::Pool<File, NFILE>,
    pipes: pool::Pool<pipe::Pipe, { NFILE / 2 }>,
}

impl Fs {
    /// A file system without a disk: pipes work, and [`root`](Fs::root) may be referred to.
    pub const fn new() -> Fs {
        Fs {
            superblock: SetOnce::new(),
            cache: bio::Cache::new(),
            log: log::Log::new(),
            inodes: inode::Table::new(),
            pairing: SleepLock::new("pairing", ()),
            files: pool::Pool::new(),
            pipes: pool::Pool::new(),
        }
    }

    /// Checks the superblock, recovers from the log, and frees inodes that a power cut left
    /// without a name. Once per file system, in the context of a process, because it sleeps.
    pub fn mount(&'static self, disk: &'static dyn BlockDevice) -> Result<(), MountError> {
        let sb = superblock::read(disk)?;
        self.superblock.set(sb);
        self.cache.attach(disk);
        self.log.recover(disk, &sb)?;
        match self.load_inode(ROOTINO) {
            Ok(root) if root.kind == T_DIR && root.nlink > 0 => {}
            _ => return Err(MountError::Root),
        }
        self.reclaim_orphans();
        Ok(())
    }

    /// Inodes whose last name went while they were open, and then the power.
    fn reclaim_orphans(&'static self) {
        for inum in 1..self.superblock().ninodes {
            if !self.is_orphan(inum) {
                continue;
            }
            println!("ireclaim: orphaned inode {inum}");
            let op = self.begin_op();
            match self.inode_in(&op, inum) {
                // Loading it is enough: the last reference to an unlinked inode frees it.
                Ok(inode) => drop(inode.lock().map(drop)),
                Err(error) => println!("ireclaim: inode {inum}: {error}"),
            }
        }
    }

    /// What the disk says about its layout. The file system must be mounted.
    fn superblock(&self) -> &SuperBlock {
        self.superblock.get()
    }

    /// Starts a transaction: waits until the log has room for it. The caller must not have a
    /// transaction or an inode lock already.
    pub fn begin_op(&'static self) -> Op {
        Op::begin(self)
    }
}

impl Default for Fs {
    fn default() -> Fs {
        Fs::new()
    }
}
