//! The free bitmap: one bit a block, set when the block is in use.

use abi::fs::BPB;

use super::superblock::{bitmap_block, data_start, is_data_block};
use super::{Fs, FsError, Op};
use crate::println;

impl Fs {
    /// Takes a free block and fills it with zeros.
    pub(super) fn alloc_block(&self, op: &Op) -> Result<u32, FsError> {
        let sb = self.superblock();
        let mut from = data_start(sb);
        while from < sb.size {
            let first = from - from % BPB as u32;
            let end = sb.size.min(first.saturating_add(BPB as u32));
            let mut bitmap = self.cache.read(bitmap_block(sb, from));
            if let Some(bit) = clear_bit(&bitmap[..], (from - first)..(end - first)) {
                bitmap.edit(op)[bit as usize / 8] |= 1 << (bit % 8);
                drop(bitmap);
                self.cache.zeroed(op, first + bit);
                return Ok(first + bit);
            }
            from = end;
        }
        println!("balloc: out of blocks");
        Err(FsError::NoSpace)
    }

    /// Gives a block back. A number that is no data block's, and a block that is free already,
    /// come from a broken image: they are left alone.
    pub(super) fn free_block(&self, op: &Op, blockno: u32) {
        let sb = self.superblock();
        if !is_data_block(sb, blockno) {
            println!("bfree: block {blockno} is not a data block");
            return;
        }
        let bit = blockno as usize % BPB;
        let mut bitmap = self.cache.read(bitmap_block(sb, blockno));
        if bitmap[bit / 8] & (1 << (bit % 8)) == 0 {
            println!("bfree: block {blockno} is free already");
            return;
        }
        bitmap.edit(op)[bit / 8] &= !(1 << (bit % 8));
    }
}

/// The first clear bit in the range.
fn clear_bit(bytes: &[u8], mut bits: core::ops::Range<u32>) -> Option<u32> {
    while bits.start < bits.end {
        let byte = bytes[bits.start as usize / 8];
        let ones_from_here = (byte >> (bits.start % 8)).trailing_ones();
        // The bits that were shifted in from the left are zeros of no meaning.
        if bits.start % 8 + ones_from_here < 8 {
            bits.start += ones_from_here;
            return (bits.start < bits.end).then_some(bits.start);
        }
        bits.start += 8 - bits.start % 8;
    }
    None
}
