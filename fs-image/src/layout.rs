//! Where the areas of an image lie: from the superblock, which is not believed, or for a new one.

use abi::fs::{BPB, BSIZE, FSMAGIC, INODE_SIZE, IPB, SuperBlock};
use abi::param::LOGBLOCKS;

use crate::{Error, MAX_BLOCKS, Problem};

/// The areas, in the order of the disk; each ends where the next begins, or before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    pub size: u32,
    pub ninodes: u32,
    pub nlog: u32,
    pub logstart: u32,
    pub inodestart: u32,
    pub bmapstart: u32,
    pub datastart: u32,
}

/// The block of the superblock.
pub(crate) const SUPER: u32 = 1;

impl Layout {
    /// The layout MIT's `mkfs` gives an image.
    pub(crate) fn new(blocks: u32, ninodes: u32) -> Result<Layout, Error> {
        let refuse = |why: String| Err(Error::BadShape { blocks, ninodes, why });
        if blocks > MAX_BLOCKS {
            return refuse(format!("at most {MAX_BLOCKS} blocks"));
        }
        if !(2..=u16::MAX as u32).contains(&ninodes) {
            return refuse(format!("2 to {} inodes", u16::MAX));
        }
        let nlog = LOGBLOCKS as u32 + 1;
        let inodestart = 2 + nlog;
        let bmapstart = inodestart + ninodes / IPB as u32 + 1;
        let datastart = bmapstart + blocks / BPB as u32 + 1;
        if blocks <= datastart {
            return refuse(format!("the first {datastart} blocks are not for data"));
        }
        Ok(Layout { size: blocks, ninodes, nlog, logstart: 2, inodestart, bmapstart, datastart })
    }

    pub(crate) fn superblock(&self) -> SuperBlock {
        SuperBlock {
            magic: FSMAGIC,
            size: self.size,
            nblocks: self.size - self.datastart,
            ninodes: self.ninodes,
            nlog: self.nlog,
            logstart: self.logstart,
            inodestart: self.inodestart,
            bmapstart: self.bmapstart,
        }
    }

    /// Reads the superblock and checks that its areas are in order and inside the image.
    pub(crate) fn read(bytes: &[u8]) -> Result<Layout, Problem> {
        let field = |name: &str, what: String| Err(Problem::new(SUPER, name, what));
        let blocks = bytes.len() / BSIZE;
        if blocks <= SUPER as usize {
            let what = format!("cut off: the image has only {} bytes", bytes.len());
            return field("superblock", what);
        }
        let sb = bytes[SUPER as usize * BSIZE..].first_chunk();
        let sb = SuperBlock::from_bytes(sb.expect("there is a whole block"));
        if sb.magic != FSMAGIC {
            return field("magic", format!("{:#x} is not {FSMAGIC:#x}: no xv6 image", sb.magic));
        }
        if sb.size as usize > blocks {
            let what = format!("{} blocks, but the image is cut off after {blocks}", sb.size);
            return field("size", what);
        }
        if sb.size > MAX_BLOCKS {
            return field("size", format!("{} blocks are more than {MAX_BLOCKS}", sb.size));
        }
        let Some(datastart) = sb.size.checked_sub(sb.nblocks) else {
            return field("nblocks", format!("{} of only {} blocks", sb.nblocks, sb.size));
        };
        if sb.nlog == 0 || sb.nlog as usize > BSIZE / 4 {
            return field("nlog", format!("{} is not 1 to {}", sb.nlog, BSIZE / 4));
        }
        if sb.ninodes < 2 || sb.ninodes > sb.size.saturating_mul(IPB as u32) {
            return field("ninodes", format!("{} is not 2 to 16 for each block", sb.ninodes));
        }
        // Each area must begin behind the one before it; none of the sums can overflow in u64.
        let mut end = SUPER as u64 + 1;
        for (name, start, length) in [
            ("logstart", sb.logstart, sb.nlog),
            ("inodestart", sb.inodestart, sb.ninodes.div_ceil(IPB as u32)),
            ("bmapstart", sb.bmapstart, sb.size.div_ceil(BPB as u32)),
            ("nblocks", datastart, sb.nblocks),
        ] {
            if (start as u64) < end {
                return field(name, format!("area begins at {start}, before block {end}"));
            }
            end = start as u64 + length as u64;
        }
        if end > sb.size as u64 || sb.nblocks == 0 {
            return field("nblocks", format!("{} blocks of data do not fit", sb.nblocks));
        }
        Ok(Layout {
            size: sb.size,
            ninodes: sb.ninodes,
            nlog: sb.nlog,
            logstart: sb.logstart,
            inodestart: sb.inodestart,
            bmapstart: sb.bmapstart,
            datastart,
        })
    }

    /// Block and byte of an inode.
    pub(crate) fn inode_at(&self, inum: u32) -> (u32, usize) {
        let (block, index) = (inum / IPB as u32, inum as usize % IPB);
        (self.inodestart + block, index * INODE_SIZE)
    }

    /// Block, byte and bit of a block's bit in the bitmap.
    pub(crate) fn bit_at(&self, block: u32) -> (u32, usize, u8) {
        let bit = block as usize % BPB;
        (self.bmapstart + block / BPB as u32, bit / 8, 1 << (bit % 8))
    }

    /// Whether files may have that block.
    pub(crate) fn is_data(&self, block: u32) -> bool {
        (self.datastart..self.size).contains(&block)
    }

    /// A problem with a field of an inode.
    pub(crate) fn in_inode(&self, inum: u32, field: &str, what: impl Into<String>) -> Problem {
        Problem::new(self.inode_at(inum).0, format!("inode {inum} {field}"), what)
    }
}
