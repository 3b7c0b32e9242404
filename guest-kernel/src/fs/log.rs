//! The write-ahead log: the changes of an operation reach the disk together or not at all.
//!
//! Blocks that operations change stay in the cache, pinned, until no operation is under way.
//! Then they are committed: copied to the log area, then named in the log's header (from here on
//! they count), then written to their own places, then the header is cleared. Recovery at mount
//! does the last two steps again if the header names blocks. The format is MIT's: the header is
//! the area's first block, a count and as many block numbers, little-endian.

use abi::fs::{BSIZE, SuperBlock};
use abi::param::{LOGBLOCKS, MAXOPBLOCKS};

use super::bio::{Buf, Cache};
use super::{BlockData, BlockDevice, Fs, MountError, superblock};
use crate::println;
use crate::proc::{sleep, wakeup};
use crate::sync::SetOnce;
use crate::sync::{SleepLock, SpinLock};

/// Blocks besides those of the bitmap that freeing a file may change, unlinking included: its
/// inode, the directory's inode and a block of the directory, a block of slack.
const FREEING_BLOCKS: usize = 4;

/// The largest bitmap that an operation can change and still fit into the log.
pub const MAX_BITMAP_BLOCKS: usize = LOGBLOCKS - FREEING_BLOCKS;

/// Blocks that the log can hold.
pub fn capacity(sb: &SuperBlock) -> usize {
    (sb.nlog as usize - 1).min(LOGBLOCKS)
}

/// Blocks that one operation may change. Freeing a file touches every bitmap block that knows
/// of the file's blocks, so on a large disk it is more than MIT's constant.
pub fn reserve(sb: &SuperBlock) -> usize {
    MAXOPBLOCKS.max(superblock::bitmap_blocks(sb) + FREEING_BLOCKS)
}

/// The log of one file system.
pub struct Log {
    area: SetOnce<Area>,
    state: SpinLock<State>,
    /// The header block while it is written.
    header: SleepLock<BlockData>,
}

/// Where the log is and how much fits.
struct Area {
    disk: &'static dyn BlockDevice,
    start: u32,
    capacity: usize,
    reserve: usize,
}

/// The transaction that is being collected or committed.
struct State {
    pending: Pending,
    /// Operations under way.
    operations: usize,
    committing: bool,
    /// Operations begin in the order in which they asked: numbers of the next one that asks, and
    /// of the next one that begins. Otherwise a process that writes without pause would start
    /// its next operation before those that its last commit woke have even looked.
    asked: u64,
    begun: u64,
}

/// Numbers of the blocks that were changed, each once.
#[derive(Clone, Copy)]
struct Pending {
    blocks: [u32; LOGBLOCKS],
    len: usize,
}

impl Pending {
    const NONE: Pending = Pending { blocks: [0; LOGBLOCKS], len: 0 };

    fn as_slice(&self) -> &[u32] {
        &self.blocks[..self.len]
    }
}

impl Log {
    /// A log without a disk.
    pub const fn new() -> Log {
        let state =
            State { pending: Pending::NONE, operations: 0, committing: false, asked: 0, begun: 0 };
        Log {
            area: SetOnce::new(),
            state: SpinLock::new("log", state),
            header: SleepLock::new("log header", [0; BSIZE]),
        }
    }

    /// Finishes the commit that a power cut interrupted. Nothing of the log may be cached yet.
    pub fn recover(
        &self,
        disk: &'static dyn BlockDevice,
        sb: &SuperBlock,
    ) -> Result<(), MountError> {
        let (capacity, reserve) = (capacity(sb), reserve(sb));
        self.area.set(Area { disk, start: sb.logstart, capacity, reserve });
        let mut block = self.header.lock();
        disk.read(sb.logstart, &mut block);
        let pending = parse_header(&block, sb)?;
        for (copy, &home) in (sb.logstart + 1..).zip(pending.as_slice()) {
            println!("recovering tail {} dst {}", copy - sb.logstart - 1, home);
            disk.read(copy, &mut block);
            disk.write(home, &block);
        }
        drop(block);
        self.write_header(&[]);
        Ok(())
    }

    fn write_header(&self, blocks: &[u32]) {
        let area = self.area.get();
        let mut header = self.header.lock();
        header.fill(0);
        let numbers = core::iter::once(blocks.len() as u32).chain(blocks.iter().copied());
        for (bytes, number) in header.chunks_exact_mut(4).zip(numbers) {
            bytes.copy_from_slice(&number.to_le_bytes());
        }
        area.disk.write(area.start, &header);
    }

    fn begin(&self) {
        let area = self.area.get();
        let mut state = self.state.lock();
        let turn = state.asked;
        state.asked += 1;
        let full = |s: &State| s.pending.len + (s.operations + 1) * area.reserve > area.capacity;
        while state.committing || full(&state) || state.begun != turn {
            state = sleep(self.channel(), state);
        }
        state.operations += 1;
        state.begun += 1;
        if state.begun != state.asked {
            // There may be room for the next one, too.
            wakeup(self.channel());
        }
    }

    fn end(&self, cache: &Cache) {
        let mut state = self.state.lock();
        assert!(!state.committing, "an operation was under way during a commit");
        state.operations -= 1;
        if state.operations > 0 {
            // What this operation had reserved and did not use is free for another.
            wakeup(self.channel());
            return;
        }
        state.committing = true;
        let pending = state.pending;
        drop(state);

        self.commit(cache, pending.as_slice());

        let mut state = self.state.lock();
        state.pending.len = 0;
        state.committing = false;
        wakeup(self.channel());
    }

    fn commit(&self, cache: &Cache, blocks: &[u32]) {
        if blocks.is_empty() {
            return;
        }
        for (copy, &block) in (self.area.get().start + 1..).zip(blocks) {
            cache.write_copy(block, copy);
        }
        self.write_header(blocks);
        for &block in blocks {
            cache.write_copy(block, block);
            cache.unpin(block);
        }
        self.write_header(&[]);
    }

    fn add(&self, buf: &Buf<'_>) {
        let mut state = self.state.lock();
        if state.pending.as_slice().contains(&buf.blockno()) {
            return;
        }
        let len = state.pending.len;
        assert!(len < self.area.get().capacity, "an operation changed too many blocks");
        state.pending.blocks[len] = buf.blockno();
        state.pending.len += 1;
        buf.pin();
    }

    fn channel(&self) -> usize {
        (&raw const self.state).addr()
    }
}

/// The blocks that the header names, each of which must be one that operations change.
fn parse_header(block: &BlockData, sb: &SuperBlock) -> Result<Pending, MountError> {
    let mut numbers = block.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let mut pending = Pending::NONE;
    let n = numbers.next().unwrap_or(0);
    if n as usize > capacity(sb) {
        return Err(MountError::LogLength(n));
    }
    pending.len = n as usize;
    for (slot, number) in pending.blocks[..n as usize].iter_mut().zip(numbers) {
        if !(sb.inodestart..sb.size).contains(&number) {
            return Err(MountError::LogBlock(number));
        }
        *slot = number;
    }
    Ok(pending)
}

/// A transaction: what is changed between its start and its drop survives a power cut as a whole.
///
/// Dropping it may commit, and so sleep. A process has at most one, and takes it before any lock.
pub struct Op {
    fs: &'static Fs,
}

impl Op {
    pub(super) fn begin(fs: &'static Fs) -> Op {
        fs.log.begin();
        Op { fs }
    }

    /// Makes a block a part of the transaction, before it is changed.
    pub(super) fn log(&self, buf: &Buf<'_>) {
        self.fs.log.add(buf);
    }
}

impl Drop for Op {
    fn drop(&mut self) {
        self.fs.log.end(&self.fs.cache);
    }
}
