//! Making an image and writing files into one.
//!
//! Blocks and inodes are taken in ascending order and an indirect block right before the first
//! one it names, so that the same files give the same bytes as MIT's `mkfs`.

use abi::fs::{
    BSIZE, DIRENT_SIZE, DIRSIZ, Dirent, DiskInode, INODE_SIZE, MAXFILE, NDIRECT, ROOTINO,
    SuperBlock,
};
use abi::stat::{T_DIR, T_FILE};

use crate::layout::{Layout, SUPER};
use crate::{Error, Image, dir, disk};

impl Image {
    /// An image of that many blocks and inodes that holds an empty root directory.
    pub fn mkfs(blocks: u32, ninodes: u32) -> Result<Image, Error> {
        let layout = Layout::new(blocks, ninodes)?;
        let bytes = vec![0; blocks as usize * BSIZE];
        let mut image = Image { bytes, layout, replayed: 0 };
        image.block_mut(SUPER)[..SuperBlock::BYTES]
            .copy_from_slice(&layout.superblock().to_bytes());
        for block in 0..layout.datastart {
            image.mark(block, true);
        }
        let root = image.new_inode(T_DIR)?;
        for name in [".", ".."] {
            image.link(root, name, root)?;
        }
        // A whole block of entries, most of them free, as MIT's mkfs rounds it.
        let mut inode = image.inode(root);
        inode.size = BSIZE as u32;
        image.put_inode(root, &inode);
        Ok(image)
    }

    /// Writes a regular file: a new one, or one that is there. Its directory must exist. If it
    /// does not fit, the image stays as it was.
    pub fn put(&mut self, path: &str, contents: &[u8]) -> Result<(), Error> {
        let mut changed = self.clone();
        changed.put_in_place(path, contents)?;
        *self = changed;
        Ok(())
    }

    fn put_in_place(&mut self, path: &str, contents: &[u8]) -> Result<(), Error> {
        if contents.len() > MAXFILE * BSIZE {
            return Err(Error::TooLarge(path.into(), contents.len()));
        }
        let path = path.trim_end_matches('/');
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.resolve(parent)?;
        if self.inode(parent).kind != T_DIR {
            return Err(Error::NotDirectory(path.into()));
        }
        let inum = match self.lookup(parent, name)? {
            Some(inum) if self.inode(inum).kind != T_FILE => {
                return Err(Error::NotFile(path.into()));
            }
            Some(inum) => {
                self.truncate(inum)?;
                inum
            }
            None => {
                let inum = self.new_inode(T_FILE)?;
                self.link(parent, name, inum)?;
                inum
            }
        };
        for (index, bytes) in contents.chunks(BSIZE).enumerate() {
            let block = self.grow(inum, index)?;
            self.block_mut(block)[..bytes.len()].copy_from_slice(bytes);
        }
        let mut inode = self.inode(inum);
        inode.size = contents.len() as u32;
        self.put_inode(inum, &inode);
        Ok(())
    }

    fn put_inode(&mut self, inum: u32, inode: &DiskInode) {
        let (block, at) = self.layout.inode_at(inum);
        self.block_mut(block)[at..at + INODE_SIZE].copy_from_slice(&inode.to_bytes());
    }

    /// The first free inode, now used, with one link and no contents.
    fn new_inode(&mut self, kind: i16) -> Result<u32, Error> {
        // Directory entries have 16 bits for it.
        let end = self.layout.ninodes.min(u16::MAX as u32 + 1);
        let inum = (ROOTINO..end)
            .find(|&inum| self.inode(inum).kind == 0)
            .ok_or(Error::NoInodes(self.layout.ninodes))?;
        self.put_inode(inum, &DiskInode { kind, nlink: 1, ..DiskInode::default() });
        Ok(inum)
    }

    /// Sets a block's bit in the bitmap.
    fn mark(&mut self, block: u32, used: bool) {
        let (map, byte, bit) = self.layout.bit_at(block);
        let byte = &mut self.block_mut(map)[byte];
        *byte = if used { *byte | bit } else { *byte & !bit };
    }

    pub(crate) fn is_marked(&self, block: u32) -> bool {
        let (map, byte, bit) = self.layout.bit_at(block);
        self.block(map)[byte] & bit != 0
    }

    /// The first free data block, now used and zero.
    fn new_block(&mut self) -> Result<u32, Error> {
        let block = (self.layout.datastart..self.layout.size)
            .find(|&block| !self.is_marked(block))
            .ok_or(Error::NoBlocks(self.layout.size))?;
        self.mark(block, true);
        self.block_mut(block).fill(0);
        Ok(block)
    }

    /// The block for the `index`th block of a file, which may be there.
    fn grow(&mut self, inum: u32, index: usize) -> Result<u32, Error> {
        let mut inode = self.inode(inum);
        let there = self.block_of(inum, &inode, index)?;
        if there != 0 {
            return Ok(there);
        }
        let field = index.min(NDIRECT);
        if inode.addrs[field] == 0 {
            inode.addrs[field] = self.new_block()?;
            self.put_inode(inum, &inode);
        }
        if index < NDIRECT {
            return Ok(inode.addrs[field]);
        }
        let block = self.new_block()?;
        disk::set_word(self.block_mut(inode.addrs[NDIRECT]), index - NDIRECT, block);
        Ok(block)
    }

    /// Frees all blocks of a file, those behind its end too.
    fn truncate(&mut self, inum: u32) -> Result<(), Error> {
        let inode = self.inode(inum);
        let indirect = inode.addrs[NDIRECT];
        let blocks = (0..MAXFILE).map(|index| self.block_of(inum, &inode, index));
        let mut blocks = blocks.collect::<Result<Vec<_>, _>>()?;
        blocks.push(indirect);
        for block in blocks.into_iter().filter(|&block| block != 0) {
            self.mark(block, false);
        }
        let addrs = [0; NDIRECT + 1];
        self.put_inode(inum, &DiskInode { size: 0, addrs, ..inode });
        Ok(())
    }

    /// Adds an entry to a directory: in the first free one, or behind the last.
    fn link(&mut self, dir: u32, name: &str, inum: u32) -> Result<(), Error> {
        if dir::names(name).next() != Some(name) || name.len() > DIRSIZ || name.contains('\0') {
            return Err(Error::BadName(name.into()));
        }
        let mut dirent = Dirent { inum: inum as u16, name: [0; DIRSIZ] };
        dirent.name[..name.len()].copy_from_slice(name.as_bytes());
        let mut inode = self.inode(dir);
        let contents = self.contents(dir, &inode)?;
        let used = contents.chunks_exact(DIRENT_SIZE);
        let slot = used.clone().position(|entry| disk::dirent(entry, 0).inum == 0);
        let at = slot.unwrap_or(used.len()) * DIRENT_SIZE;
        if at + DIRENT_SIZE > MAXFILE * BSIZE {
            return Err(Error::TooLarge("directory".into(), at + DIRENT_SIZE));
        }
        let block = self.grow(dir, at / BSIZE)?;
        let slot_at = at % BSIZE;
        self.block_mut(block)[slot_at..slot_at + DIRENT_SIZE].copy_from_slice(&dirent.to_bytes());
        if slot.is_none() {
            inode = self.inode(dir);
            inode.size = (at + DIRENT_SIZE) as u32;
            self.put_inode(dir, &inode);
        }
        Ok(())
    }
}
