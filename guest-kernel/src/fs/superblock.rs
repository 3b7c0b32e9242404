//! The superblock: is the layout that it claims possible?

use abi::fs::{BPB, BSIZE, FSMAGIC, IPB, SuperBlock};
use abi::param::MAXOPBLOCKS;

use super::log::{self, MAX_BITMAP_BLOCKS};
use super::{BlockDevice, MountError};

/// Where the superblock is.
const SUPERBLOCK: u32 = 1;

/// Reads and checks the superblock. What it returns can be computed with freely: the areas are
/// in order, do not overlap, and end within the disk.
pub fn read(disk: &dyn BlockDevice) -> Result<SuperBlock, MountError> {
    if disk.blocks() <= u64::from(SUPERBLOCK) {
        return Err(MountError::NoSuperBlock);
    }
    let mut block = [0; BSIZE];
    disk.read(SUPERBLOCK, &mut block);
    let mut bytes = [0; SuperBlock::BYTES];
    bytes.copy_from_slice(&block[..SuperBlock::BYTES]);
    let sb = SuperBlock::from_bytes(&bytes);
    check(&sb, disk.blocks())?;
    Ok(sb)
}

fn check(sb: &SuperBlock, disk: u64) -> Result<(), MountError> {
    let require = |good: bool, name, value| match good {
        true => Ok(()),
        false => Err(MountError::Field(name, value)),
    };
    if sb.magic != FSMAGIC {
        return Err(MountError::Magic(sb.magic));
    }
    if u64::from(sb.size) > disk {
        return Err(MountError::CutOff { size: sb.size, disk });
    }
    let end = |start: u32, blocks: u64| u64::from(start) + blocks;
    let bitmap_blocks = u64::from(sb.size).div_ceil(BPB as u64);
    let metadata = end(sb.bmapstart, bitmap_blocks);
    require(sb.logstart > SUPERBLOCK, "logstart", sb.logstart)?;
    require(sb.nlog as usize > MAXOPBLOCKS, "nlog", sb.nlog)?;
    require(end(sb.logstart, sb.nlog.into()) <= sb.inodestart.into(), "inodestart", sb.inodestart)?;
    require(sb.ninodes > 1, "ninodes", sb.ninodes)?;
    let inode_blocks = u64::from(sb.ninodes).div_ceil(IPB as u64);
    require(end(sb.inodestart, inode_blocks) <= sb.bmapstart.into(), "bmapstart", sb.bmapstart)?;
    require(metadata <= sb.size.into(), "size", sb.size)?;
    require(u64::from(sb.nblocks) <= u64::from(sb.size) - metadata, "nblocks", sb.nblocks)?;
    // One operation must be able to log all of the bitmap.
    let room = log::capacity(sb);
    require(bitmap_blocks <= MAX_BITMAP_BLOCKS as u64, "size", sb.size)?;
    require(log::reserve(sb) <= room, "nlog", sb.nlog)
}

/// First block of files' data.
pub fn data_start(sb: &SuperBlock) -> u32 {
    sb.size - sb.nblocks
}

/// Whether a block number found in an inode is one.
pub fn is_data_block(sb: &SuperBlock, blockno: u32) -> bool {
    (data_start(sb)..sb.size).contains(&blockno)
}

/// The block that holds an inode.
pub fn inode_block(sb: &SuperBlock, inum: u32) -> u32 {
    sb.inodestart + inum / IPB as u32
}

/// The bitmap block that holds a block's bit.
pub fn bitmap_block(sb: &SuperBlock, blockno: u32) -> u32 {
    sb.bmapstart + blockno / BPB as u32
}

/// Number of bitmap blocks.
pub fn bitmap_blocks(sb: &SuperBlock) -> usize {
    (sb.size as usize).div_ceil(BPB)
}
