//! Directories and paths, for reading.

use abi::fs::{DIRENT_SIZE, ROOTINO};
use abi::stat::T_DIR;

use crate::{Error, Image, disk};

/// One line of a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, as bytes: an image may hold any.
    pub name: Vec<u8>,
    /// Inode number.
    pub inum: u32,
    /// `T_DIR`, `T_FILE` or `T_DEVICE` (or what else the inode says).
    pub kind: i16,
    /// Links to the inode.
    pub nlink: i16,
    /// Bytes.
    pub size: u32,
}

/// The names of a path; leading, doubled and trailing slashes do not count.
pub(crate) fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

impl Image {
    /// What a directory holds, or one entry for a file.
    pub fn list(&self, path: &str) -> Result<Vec<Entry>, Error> {
        let inum = self.resolve(path)?;
        if self.inode(inum).kind != T_DIR {
            let name = names(path).last().unwrap_or("/").as_bytes().to_vec();
            return Ok(vec![self.entry(name, inum)]);
        }
        let entries = self.entries(inum)?;
        Ok(entries.into_iter().map(|(name, inum)| self.entry(name, inum)).collect())
    }

    fn entry(&self, name: Vec<u8>, inum: u32) -> Entry {
        let inode = self.inode(inum);
        Entry { name, inum, kind: inode.kind, nlink: inode.nlink, size: inode.size }
    }

    /// The used entries of a directory: names and inode numbers, which are in range.
    pub(crate) fn entries(&self, dir: u32) -> Result<Vec<(Vec<u8>, u32)>, Error> {
        let inode = self.inode(dir);
        let contents = self.contents(dir, &inode)?;
        let mut entries = Vec::new();
        for (index, bytes) in contents.chunks_exact(DIRENT_SIZE).enumerate() {
            let dirent = disk::dirent(bytes, 0);
            let inum = dirent.inum as u32;
            if inum >= self.layout.ninodes {
                let field = format!("entry {index}, inum");
                let what = format!("{inum} of only {} inodes", self.layout.ninodes);
                return Err(self.layout.in_inode(dir, &field, what).into());
            }
            if inum != 0 {
                entries.push((disk::name(&dirent).to_vec(), inum));
            }
        }
        Ok(entries)
    }

    /// The inode of `name` in a directory.
    pub(crate) fn lookup(&self, dir: u32, name: &str) -> Result<Option<u32>, Error> {
        let entries = self.entries(dir)?;
        let found = entries.into_iter().find(|(other, _)| other == name.as_bytes());
        Ok(found.map(|(_, inum)| inum))
    }

    /// The inode of a path, from the root.
    pub(crate) fn resolve(&self, path: &str) -> Result<u32, Error> {
        let mut inum = ROOTINO;
        for name in names(path) {
            if self.inode(inum).kind != T_DIR {
                return Err(Error::NotDirectory(path.into()));
            }
            inum = self.lookup(inum, name)?.ok_or_else(|| Error::NotFound(path.into()))?;
        }
        Ok(inum)
    }
}
