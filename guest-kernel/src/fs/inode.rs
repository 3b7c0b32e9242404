//! Inodes: the table of those in use, references to them, their locks, allocation and freeing.
//!
//! A reference keeps an inode in the table; the lock is for looking at what is in it. The last
//! reference to an inode without names frees it, which changes the disk. So there are two kinds
//! of references: an [`OpInode`] lives within a transaction and is dropped in it; an [`InodeRef`]
//! lives longer (open files, current directories) and begins one of its own when it is dropped.

use core::mem;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, Ordering};

use abi::fs::{BSIZE, DiskInode, INODE_SIZE, IPB, MAXFILE, NDIRECT, ROOTINO};
use abi::param::{NINODE, ROOTDEV};
use abi::stat::{Stat, T_DEVICE, T_DIR};

use super::superblock::inode_block;
use super::{Fs, FsError, Op};
use crate::println;
use crate::sync::{SleepGuard, SleepLock, SpinLock};

/// The inodes in use.
pub struct Table {
    entries: SpinLock<[Entry; NINODE]>,
    nodes: [Node; NINODE],
}

/// Which inode a node is for.
#[derive(Clone, Copy)]
struct Entry {
    inum: u32,
    refs: u32,
}

struct Node {
    /// Whether `content` is the inode's. Set with the lock of `content`; cleared with it too, or
    /// when the node is given to another inode, which happens under the lock of the entries.
    loaded: AtomicBool,
    content: SleepLock<DiskInode>,
}

impl Node {
    const fn unused() -> Node {
        let addrs = [0; NDIRECT + 1];
        let content = DiskInode { kind: 0, major: 0, minor: 0, nlink: 0, size: 0, addrs };
        Node { loaded: AtomicBool::new(false), content: SleepLock::new("inode", content) }
    }
}

impl Table {
    /// An empty table.
    pub const fn new() -> Table {
        Table {
            entries: SpinLock::new("inode table", [Entry { inum: 0, refs: 0 }; NINODE]),
            nodes: [const { Node::unused() }; NINODE],
        }
    }

    /// Counts a reference to the inode, which gets a node of the table if it has none.
    fn get(&self, inum: u32) -> Option<usize> {
        let mut entries = self.entries.lock();
        let known = entries.iter().position(|e| e.refs > 0 && e.inum == inum);
        if let Some(slot) = known {
            entries[slot].refs += 1;
            return Some(slot);
        }
        let slot = entries.iter().position(|e| e.refs == 0)?;
        entries[slot] = Entry { inum, refs: 1 };
        self.nodes[slot].loaded.store(false, Ordering::Relaxed);
        Some(slot)
    }

    fn dup(&self, slot: usize) {
        self.entries.lock()[slot].refs += 1;
    }

    /// Number of references to all inodes.
    #[cfg(test)]
    pub fn references(&self) -> u32 {
        self.entries.lock().iter().map(|e| e.refs).sum()
    }
}

/// An inode in the table. What refers to it, an [`InodeRef`] or an [`OpInode`], keeps it there.
pub struct Inode {
    fs: &'static Fs,
    slot: usize,
    inum: u32,
}

impl Inode {
    /// Waits for the inode's lock and reads the inode from the disk if need be.
    pub fn lock(&self) -> Result<InodeGuard<'_>, FsError> {
        let node = &self.fs.inodes.nodes[self.slot];
        let mut content = node.content.lock();
        if !node.loaded.load(Ordering::Relaxed) {
            *content = self.fs.load_inode(self.inum)?;
            node.loaded.store(true, Ordering::Relaxed);
        }
        Ok(InodeGuard { inode: self, content })
    }

    /// The inode's number.
    pub fn inum(&self) -> u32 {
        self.inum
    }

    /// The file system that the inode is in.
    pub(super) fn fs(&self) -> &'static Fs {
        self.fs
    }

    /// Another reference to the inode, for the time of the transaction.
    pub fn enter<'o>(&self, op: &'o Op) -> OpInode<'o> {
        self.fs.inodes.dup(self.slot);
        OpInode { inode: self.alias(), op }
    }

    /// The same inode once more, not counted.
    fn alias(&self) -> Inode {
        Inode { fs: self.fs, slot: self.slot, inum: self.inum }
    }

    /// Gives up a reference. If it is the last one to an inode without names, frees the inode.
    fn put(&self, op: &Op) {
        let table = &self.fs.inodes;
        let mut entries = table.entries.lock();
        if entries[self.slot].refs > 1 {
            entries[self.slot].refs -= 1;
            return;
        }
        drop(entries);
        // Nobody else has the lock for long: who has it has a reference, and it was the last.
        let node = &table.nodes[self.slot];
        let content = node.content.lock();
        let mut entries = table.entries.lock();
        let last = entries[self.slot].refs == 1;
        if !last || !node.loaded.load(Ordering::Relaxed) || content.nlink > 0 {
            entries[self.slot].refs -= 1;
            return;
        }
        drop(entries);
        let mut guard = InodeGuard { inode: self, content };
        guard.truncate(op);
        guard.kind = 0;
        guard.update(op);
        node.loaded.store(false, Ordering::Relaxed);
        drop(guard);
        table.entries.lock()[self.slot].refs -= 1;
    }
}

/// A reference to an inode that outlives transactions. Cloning counts another one; dropping it
/// begins a transaction and may sleep, so nothing may be locked, and no [`Op`] under way.
pub struct InodeRef(Inode);

impl Deref for InodeRef {
    type Target = Inode;

    fn deref(&self) -> &Inode {
        &self.0
    }
}

impl Clone for InodeRef {
    fn clone(&self) -> InodeRef {
        self.fs.inodes.dup(self.slot);
        InodeRef(self.alias())
    }
}

impl Drop for InodeRef {
    fn drop(&mut self) {
        let op = self.fs.begin_op();
        self.put(&op);
    }
}

/// A reference to an inode within a transaction.
pub struct OpInode<'o> {
    inode: Inode,
    op: &'o Op,
}

impl OpInode<'_> {
    /// Keeps the reference beyond the transaction.
    pub fn keep(self) -> InodeRef {
        let kept = InodeRef(self.inode.alias());
        mem::forget(self);
        kept
    }
}

impl Deref for OpInode<'_> {
    type Target = Inode;

    fn deref(&self) -> &Inode {
        &self.inode
    }
}

impl Drop for OpInode<'_> {
    fn drop(&mut self) {
        self.inode.put(self.op);
    }
}

/// A locked inode: its fields may be looked at, and changed if [`update`](Self::update) follows.
pub struct InodeGuard<'i> {
    inode: &'i Inode,
    content: SleepGuard<'i, DiskInode>,
}

impl InodeGuard<'_> {
    /// The inode that is locked.
    pub fn inode(&self) -> &Inode {
        self.inode
    }

    pub(super) fn fs(&self) -> &'static Fs {
        self.inode.fs
    }

    /// Copies the inode into its block on the disk. Whoever changed a field calls this.
    pub fn update(&self, op: &Op) {
        let fs = self.fs();
        let mut block = fs.cache.read(inode_block(fs.superblock(), self.inode.inum));
        let at = self.inode.inum as usize % IPB * INODE_SIZE;
        block.edit(op)[at..at + INODE_SIZE].copy_from_slice(&self.content.to_bytes());
    }

    /// What `fstat` tells of the inode.
    pub fn stat(&self) -> Stat {
        Stat {
            dev: ROOTDEV as i32,
            ino: self.inode.inum,
            kind: self.kind,
            nlink: self.nlink,
            size: self.size.into(),
        }
    }
}

impl Deref for InodeGuard<'_> {
    type Target = DiskInode;

    fn deref(&self) -> &DiskInode {
        &self.content
    }
}

impl DerefMut for InodeGuard<'_> {
    fn deref_mut(&mut self) -> &mut DiskInode {
        &mut self.content
    }
}

impl Fs {
    /// The root directory. It may be referred to before the disk is mounted.
    pub fn root(&'static self) -> InodeRef {
        let slot = self.inodes.get(ROOTINO).expect("the table has room when the kernel boots");
        InodeRef(Inode { fs: self, slot, inum: ROOTINO })
    }

    /// The inode with this number, which may come from a broken directory.
    pub(super) fn inode_in<'o>(
        &'static self,
        op: &'o Op,
        inum: u32,
    ) -> Result<OpInode<'o>, FsError> {
        if !(1..self.superblock().ninodes).contains(&inum) {
            return Err(FsError::Corrupt);
        }
        let slot = self.inodes.get(inum).ok_or(FsError::TableFull)?;
        Ok(OpInode { inode: Inode { fs: self, slot, inum }, op })
    }

    /// Takes a free inode of the disk: of this kind, empty, without a name.
    pub(super) fn alloc_inode<'o>(
        &'static self,
        op: &'o Op,
        kind: i16,
    ) -> Result<OpInode<'o>, FsError> {
        let sb = self.superblock();
        for inum in 1..sb.ninodes {
            let mut block = self.cache.read(inode_block(sb, inum));
            if disk_inode(&block[..], inum).kind != 0 {
                continue;
            }
            let inode = self.inode_in(op, inum)?;
            let new = DiskInode { kind, ..DiskInode::default() };
            let at = inum as usize % IPB * INODE_SIZE;
            block.edit(op)[at..at + INODE_SIZE].copy_from_slice(&new.to_bytes());
            return Ok(inode);
        }
        println!("ialloc: no inodes");
        Err(FsError::NoInodes)
    }

    /// Whether the disk has this inode without a name.
    pub(super) fn is_orphan(&self, inum: u32) -> bool {
        let block = self.cache.read(inode_block(self.superblock(), inum));
        let inode = disk_inode(&block[..], inum);
        inode.kind != 0 && inode.nlink == 0
    }

    /// The inode as the disk has it, if it can be one.
    pub(super) fn load_inode(&self, inum: u32) -> Result<DiskInode, FsError> {
        let block = self.cache.read(inode_block(self.superblock(), inum));
        let inode = disk_inode(&block[..], inum);
        let good = (T_DIR..=T_DEVICE).contains(&inode.kind)
            && inode.nlink >= 0
            && inode.size as usize <= MAXFILE * BSIZE;
        good.then_some(inode).ok_or(FsError::Corrupt)
    }
}

fn disk_inode(block: &[u8], inum: u32) -> DiskInode {
    let at = inum as usize % IPB * INODE_SIZE;
    let mut bytes = [0; INODE_SIZE];
    bytes.copy_from_slice(&block[at..at + INODE_SIZE]);
    DiskInode::from_bytes(&bytes)
}
