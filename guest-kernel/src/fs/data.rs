//! What is in a file: block numbers in the inode and its indirect block, reading, writing, cutting.

use abi::fs::{BSIZE, MAXFILE, NDIRECT, NINDIRECT};

use super::superblock::is_data_block;
use super::{BlockData, FsError, InodeGuard, Op};

/// Largest file in bytes.
const MAX_SIZE: usize = MAXFILE * BSIZE;

/// The next piece of a transfer: it stays within one block.
struct Piece {
    /// Index of the block in the file.
    block: usize,
    /// Where the piece begins in the block.
    start: usize,
    len: usize,
}

impl Piece {
    fn new(offset: usize, left: usize) -> Piece {
        let start = offset % BSIZE;
        Piece { block: offset / BSIZE, start, len: left.min(BSIZE - start) }
    }
}

impl InodeGuard<'_> {
    /// Reads from an offset; returns how many bytes there were, fewer than asked for at the end
    /// of the file. Blocks that the file does not have read as zeros.
    pub fn read(&self, offset: u32, buf: &mut [u8]) -> Result<usize, FsError> {
        let offset = offset as usize;
        let len = buf.len().min((self.size as usize).saturating_sub(offset));
        let mut done = 0;
        while done < len {
            let piece = Piece::new(offset + done, len - done);
            let target = &mut buf[done..done + piece.len];
            match self.block(piece.block)? {
                Some(blockno) => {
                    let block = self.fs().cache.read(blockno);
                    target.copy_from_slice(&block[piece.start..piece.start + piece.len]);
                }
                None => target.fill(0),
            }
            done += piece.len;
        }
        Ok(len)
    }

    /// Writes at an offset, which is at most the file's size, and lets the file grow. Returns
    /// how many bytes were written: fewer than asked for when the disk is full.
    pub fn write(&mut self, op: &Op, offset: u32, data: &[u8]) -> Result<usize, FsError> {
        let offset = offset as usize;
        if offset > self.size as usize {
            return Err(FsError::Invalid);
        }
        if data.len() > MAX_SIZE - offset {
            return Err(FsError::TooLarge);
        }
        let mut done = 0;
        while done < data.len() {
            let piece = Piece::new(offset + done, data.len() - done);
            let Ok(blockno) = self.block_or_new(op, piece.block) else { break };
            let cache = &self.fs().cache;
            let mut block = match piece.len {
                BSIZE => cache.zeroed(op, blockno),
                _ => cache.read(blockno),
            };
            let target = &mut block.edit(op)[piece.start..piece.start + piece.len];
            target.copy_from_slice(&data[done..done + piece.len]);
            done += piece.len;
        }
        self.size = self.size.max((offset + done) as u32);
        // Even if the size is the same, blocks may have been added.
        self.update(op);
        Ok(done)
    }

    /// Cuts the file to nothing and frees its blocks.
    pub fn truncate(&mut self, op: &Op) {
        let fs = self.fs();
        let addrs = core::mem::take(&mut self.addrs);
        let (direct, indirect) = addrs.split_at(NDIRECT);
        for &blockno in direct.iter().filter(|&&blockno| blockno != 0) {
            fs.free_block(op, blockno);
        }
        if indirect[0] != 0 {
            if is_data_block(fs.superblock(), indirect[0]) {
                self.free_indirect(op, indirect[0]);
            }
            fs.free_block(op, indirect[0]);
        }
        self.size = 0;
        self.update(op);
    }

    /// Frees the blocks that an indirect block names.
    fn free_indirect(&self, op: &Op, indirect: u32) {
        let fs = self.fs();
        for i in 0..NINDIRECT {
            // One buffer at a time: the cache still has the block when it is asked again.
            let blockno = entry(&fs.cache.read(indirect), i);
            if blockno != 0 {
                fs.free_block(op, blockno);
            }
        }
    }

    /// The disk block of the file's block with this index, if the file has it.
    pub(super) fn block(&self, index: usize) -> Result<Option<u32>, FsError> {
        if index < NDIRECT {
            return self.checked(self.addrs[index]);
        }
        let Some(indirect) = self.checked(self.addrs[NDIRECT])? else { return Ok(None) };
        let blockno = entry(&self.fs().cache.read(indirect), index - NDIRECT);
        self.checked(blockno)
    }

    /// The disk block of the file's block with this index, which the file gets if need be.
    fn block_or_new(&mut self, op: &Op, index: usize) -> Result<u32, FsError> {
        if let Some(blockno) = self.block(index)? {
            return Ok(blockno);
        }
        let fs = self.fs();
        if index < NDIRECT {
            let new = fs.alloc_block(op)?;
            self.addrs[index] = new;
            return Ok(new);
        }
        if self.addrs[NDIRECT] == 0 {
            self.addrs[NDIRECT] = fs.alloc_block(op)?;
        }
        let new = fs.alloc_block(op)?;
        let at = (index - NDIRECT) * 4;
        let mut indirect = fs.cache.read(self.addrs[NDIRECT]);
        indirect.edit(op)[at..at + 4].copy_from_slice(&new.to_le_bytes());
        Ok(new)
    }

    /// A block number from the disk; 0 means that there is no block.
    fn checked(&self, blockno: u32) -> Result<Option<u32>, FsError> {
        match blockno {
            0 => Ok(None),
            _ if is_data_block(self.fs().superblock(), blockno) => Ok(Some(blockno)),
            _ => Err(FsError::Corrupt),
        }
    }
}

/// A block number in an indirect block.
fn entry(block: &BlockData, i: usize) -> u32 {
    let mut bytes = [0; 4];
    bytes.copy_from_slice(&block[4 * i..4 * i + 4]);
    u32::from_le_bytes(bytes)
}
