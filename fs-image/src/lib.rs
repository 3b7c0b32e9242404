//! xv6 file system images: make, list, read, write, check.
//!
//! The format is MIT's (`abi::fs`): either kernel mounts what this makes, and this reads what
//! either kernel or MIT's `mkfs` wrote. An image is held in memory as a whole; whatever its bytes
//! are, every function here ends, and an error names the block and the field that is wrong.
//!
//! Left out on purpose: repair (the kernel's log makes it unnecessary), removing files, and
//! making directories and device nodes (the guest's `init` and `mkdir` do).
#![forbid(unsafe_code)]

mod check;
mod dir;
mod disk;
mod layout;
mod log;
mod write;

use std::fmt;

use abi::fs::{BSIZE, DIRSIZ, DiskInode, MAXFILE};
use layout::Layout;

pub use dir::Entry;

/// The largest image that is read or made, in blocks: a gigabyte.
pub const MAX_BLOCKS: u32 = 1 << 20;

/// Something on the disk that should not be so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The block that holds the wrong field.
    pub block: u32,
    /// Which field of it, or which part.
    pub field: String,
    /// What is wrong with it.
    pub what: String,
}

impl Problem {
    fn new(block: u32, field: impl Into<String>, what: impl Into<String>) -> Problem {
        Problem { block, field: field.into(), what: what.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "block {}, {}: {}", self.block, self.field, self.what)
    }
}

/// Why an operation on an image failed. The image is then as it was.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The image is damaged or none.
    #[error("{0}")]
    Damaged(Problem),
    /// No such path in the image.
    #[error("{0}: no such file or directory in the image")]
    NotFound(String),
    /// A path goes on behind a file.
    #[error("{0}: not a directory")]
    NotDirectory(String),
    /// Only regular files can be read and written.
    #[error("{0}: not a regular file")]
    NotFile(String),
    /// A name that does not fit into a directory entry.
    #[error("{0:?}: a name has 1 to {DIRSIZ} bytes, and no NUL")]
    BadName(String),
    /// More than an inode can address.
    #[error("{0}: {1} bytes are more than a file can have ({max})", max = MAXFILE * BSIZE)]
    TooLarge(String, usize),
    /// No free block.
    #[error("the image is full: all of its {0} blocks are used")]
    NoBlocks(u32),
    /// No free inode.
    #[error("the image is full: all of its {0} inodes are used")]
    NoInodes(u32),
    /// An image of that shape cannot be made.
    #[error("no image of {blocks} blocks and {ninodes} inodes: {why}")]
    BadShape {
        /// Blocks asked for.
        blocks: u32,
        /// Inodes asked for.
        ninodes: u32,
        /// What stands against it.
        why: String,
    },
}

impl From<Problem> for Error {
    fn from(problem: Problem) -> Error {
        Error::Damaged(problem)
    }
}

/// An image: its bytes, and where things lie in them.
///
/// Invariant: the layout's areas lie one behind the other and inside the bytes.
#[derive(Clone)]
pub struct Image {
    bytes: Vec<u8>,
    layout: Layout,
    replayed: u32,
}

impl Image {
    /// Takes an image's bytes. Only the superblock is checked ([`Image::fsck`] checks the rest);
    /// a transaction that the log holds is installed, as the kernel does when it mounts.
    pub fn open(bytes: Vec<u8>) -> Result<Image, Error> {
        let layout = Layout::read(&bytes)?;
        let mut image = Image { bytes, layout, replayed: 0 };
        image.replay();
        Ok(image)
    }

    /// The image as it is written to a file.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many blocks came from the log when the image was opened.
    pub fn replayed(&self) -> u32 {
        self.replayed
    }

    /// The blocks of the image.
    pub fn size(&self) -> u32 {
        self.layout.size
    }

    /// The contents of a regular file.
    pub fn get(&self, path: &str) -> Result<Vec<u8>, Error> {
        let inum = self.resolve(path)?;
        let inode = self.inode(inum);
        if inode.kind != abi::stat::T_FILE {
            return Err(Error::NotFile(path.into()));
        }
        self.contents(inum, &inode)
    }

    /// A block inside the image.
    fn block(&self, number: u32) -> &[u8] {
        let at = number as usize * BSIZE;
        &self.bytes[at..at + BSIZE]
    }

    fn block_mut(&mut self, number: u32) -> &mut [u8] {
        let at = number as usize * BSIZE;
        &mut self.bytes[at..at + BSIZE]
    }

    /// An inode below the layout's number of inodes.
    fn inode(&self, inum: u32) -> DiskInode {
        let (block, at) = self.layout.inode_at(inum);
        disk::inode(self.block(block), at)
    }

    /// What a file or directory holds; what has no block is zero.
    fn contents(&self, inum: u32, inode: &DiskInode) -> Result<Vec<u8>, Error> {
        let size = inode.size as usize;
        if size > MAXFILE * BSIZE {
            let what = format!("{size} is more than {}", MAXFILE * BSIZE);
            return Err(self.layout.in_inode(inum, "size", what).into());
        }
        let mut contents = Vec::with_capacity(size);
        for index in 0..size.div_ceil(BSIZE) {
            match self.block_of(inum, inode, index)? {
                0 => contents.resize(contents.len() + BSIZE, 0),
                number => contents.extend_from_slice(self.block(number)),
            }
        }
        contents.truncate(size);
        Ok(contents)
    }

    /// The block that holds the `index`th block of a file, 0 for none.
    fn block_of(&self, inum: u32, inode: &DiskInode, index: usize) -> Result<u32, Problem> {
        use abi::fs::NDIRECT;
        let field = index.min(NDIRECT);
        let number = inode.addrs[field];
        let valid = |number: u32| number == 0 || self.layout.is_data(number);
        if !valid(number) {
            let what = format!("{number} is no data block");
            return Err(self.layout.in_inode(inum, &format!("addrs[{field}]"), what));
        }
        if index < NDIRECT || number == 0 {
            return Ok(number);
        }
        let entry = disk::word(self.block(number), index - NDIRECT);
        if !valid(entry) {
            let field = format!("entry {} of inode {inum}'s indirect block", index - NDIRECT);
            return Err(Problem::new(number, field, format!("{entry} is no data block")));
        }
        Ok(entry)
    }
}
