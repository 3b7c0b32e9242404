//! The block cache: copies of disk blocks in memory, and the one place where processes that want
//! the same block wait for each other.
//!
//! A process holds at most one buffer at a time, and the log pins fewer buffers than there are:
//! so waiting for a free buffer always ends.

use core::ops::Deref;

use abi::fs::BSIZE;
use abi::param::{LOGBLOCKS, NBUF};

use super::log::Op;
use super::{BlockData, BlockDevice};
use crate::proc::{sleep, wakeup};
use crate::sync::SetOnce;
use crate::sync::{SleepGuard, SleepLock, SpinLock};

/// Number of buffers: what the log may pin, and as many again for everybody else.
const BUFFERS: usize = NBUF + LOGBLOCKS;

/// No block has this number: the superblock's `size` is at most this.
const NO_BLOCK: u32 = u32::MAX;

/// The cache of one disk.
pub struct Cache {
    disk: SetOnce<&'static dyn BlockDevice>,
    index: SpinLock<Index>,
    buffers: [SleepLock<Buffer>; BUFFERS],
}

/// Which buffer is for which block.
struct Index {
    slots: [Slot; BUFFERS],
    /// Counts what happens, to tell what happened last.
    clock: u64,
    /// Processes that wait for a free slot.
    waiting: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    blockno: u32,
    /// Processes that have the buffer or wait for it, and one if the log pins it.
    users: u32,
    /// When the last user left: the free slot that was left first is used next.
    left: u64,
}

struct Buffer {
    /// The block that `data` is a copy of.
    holds: u32,
    data: BlockData,
}

/// A block in memory, for one process.
pub struct Buf<'c> {
    // In this order: the lock is released before the slot may be used for another block.
    buffer: SleepGuard<'c, Buffer>,
    user: User<'c>,
}

/// Keeps a slot from being used for another block.
struct User<'c> {
    cache: &'c Cache,
    slot: usize,
}

impl Cache {
    /// An empty cache.
    pub const fn new() -> Cache {
        let slots = [Slot { blockno: NO_BLOCK, users: 0, left: 0 }; BUFFERS];
        Cache {
            disk: SetOnce::new(),
            index: SpinLock::new("block cache", Index { slots, clock: 0, waiting: 0 }),
            buffers: [const { SleepLock::new("buffer", Buffer { holds: NO_BLOCK, data: [0; BSIZE] }) };
                BUFFERS],
        }
    }

    /// Says which disk it is.
    pub fn attach(&self, disk: &'static dyn BlockDevice) {
        self.disk.set(disk);
    }

    /// The block, read from the disk if need be.
    pub fn read(&self, blockno: u32) -> Buf<'_> {
        let mut buf = self.claim(blockno);
        if buf.buffer.holds != blockno {
            self.disk.get().read(blockno, &mut buf.buffer.data);
            buf.buffer.holds = blockno;
        }
        buf
    }

    /// The block, full of zeros, as a part of the operation: what the disk has does not matter.
    pub fn zeroed<'c>(&'c self, op: &Op, blockno: u32) -> Buf<'c> {
        let mut buf = self.claim(blockno);
        buf.buffer.holds = blockno;
        buf.edit(op).fill(0);
        buf
    }

    /// Writes the cached copy of a pinned block to the disk, under a block number of its own.
    pub fn write_copy(&self, blockno: u32, to: u32) {
        let buf = self.read(blockno);
        self.disk.get().write(to, &buf.buffer.data);
    }

    /// Lets a block go that the log pinned.
    pub fn unpin(&self, blockno: u32) {
        let mut index = self.index.lock();
        let slot = index.slots.iter().position(|slot| slot.blockno == blockno);
        self.leave(&mut index, slot.expect("a pinned block stays in the cache"));
    }

    /// The buffer of a block, with whatever it holds.
    fn claim(&self, blockno: u32) -> Buf<'_> {
        let mut index = self.index.lock();
        let slot = loop {
            if let Some(slot) = index.choose(blockno) {
                break slot;
            }
            index.waiting += 1;
            index = sleep(self.channel(), index);
            index.waiting -= 1;
        };
        index.slots[slot].blockno = blockno;
        index.slots[slot].users += 1;
        drop(index);
        let user = User { cache: self, slot };
        Buf { buffer: self.buffers[slot].lock(), user }
    }

    fn leave(&self, index: &mut Index, slot: usize) {
        index.clock += 1;
        let now = index.clock;
        let slot = &mut index.slots[slot];
        slot.users -= 1;
        slot.left = now;
        if slot.users == 0 && index.waiting > 0 {
            wakeup(self.channel());
        }
    }

    fn channel(&self) -> usize {
        (&raw const self.index).addr()
    }
}

impl Index {
    /// The slot that has the block, or else the free one that was left first.
    fn choose(&self, blockno: u32) -> Option<usize> {
        let mut free: Option<usize> = None;
        for (i, slot) in self.slots.iter().enumerate() {
            if slot.blockno == blockno {
                return Some(i);
            }
            if slot.users == 0 && free.is_none_or(|best| slot.left < self.slots[best].left) {
                free = Some(i);
            }
        }
        free
    }
}

impl Buf<'_> {
    /// The block's bytes, for changing them as a part of the operation.
    pub fn edit(&mut self, op: &Op) -> &mut BlockData {
        op.log(self);
        &mut self.buffer.data
    }

    /// The number of the block.
    pub fn blockno(&self) -> u32 {
        self.buffer.holds
    }

    /// Keeps the block in memory when this buffer is dropped, until [`Cache::unpin`].
    pub fn pin(&self) {
        self.user.cache.index.lock().slots[self.user.slot].users += 1;
    }
}

impl Deref for Buf<'_> {
    type Target = BlockData;

    fn deref(&self) -> &BlockData {
        &self.buffer.data
    }
}

impl Drop for User<'_> {
    fn drop(&mut self) {
        let mut index = self.cache.index.lock();
        self.cache.leave(&mut index, self.slot);
    }
}
