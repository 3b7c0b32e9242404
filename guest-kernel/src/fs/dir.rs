//! Directories: files that are arrays of entries. An entry with inode number 0 is free.

use abi::fs::{BSIZE, DIRENT_SIZE, DIRSIZ, Dirent};

use super::{FsError, InodeGuard, Op};

/// The name of a directory entry: padded with NUL, not ended by one when it is full. Longer
/// names are cut off, as in MIT's kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name([u8; DIRSIZ]);

impl Name {
    /// The entry of a directory for itself.
    pub const DOT: Name = Name::new(b".");
    /// The entry of a directory for its parent.
    pub const DOT_DOT: Name = Name::new(b"..");

    /// A name of these bytes, none of which is NUL.
    pub const fn new(bytes: &[u8]) -> Name {
        let mut name = [0; DIRSIZ];
        let mut i = 0;
        while i < bytes.len() && i < DIRSIZ {
            name[i] = bytes[i];
            i += 1;
        }
        Name(name)
    }

    /// Whether an entry, whose padding may be anything, has this name.
    fn is(&self, entry: &[u8; DIRSIZ]) -> bool {
        let end = entry.iter().position(|&byte| byte == 0).unwrap_or(DIRSIZ);
        self.0[..end] == entry[..end] && self.0[end..].iter().all(|&byte| byte == 0)
    }
}

/// Where an entry is in its directory, in bytes.
pub type EntryOffset = u32;

impl InodeGuard<'_> {
    /// The inode that has this name in the directory.
    pub(super) fn find(&self, name: &Name) -> Result<Option<(u32, EntryOffset)>, FsError> {
        self.scan(0, |at, entry| {
            (entry.inum != 0 && name.is(&entry.name)).then_some((entry.inum.into(), at))
        })
    }

    /// Gives an inode a name in the directory.
    pub(super) fn add_entry(&mut self, op: &Op, name: &Name, inum: u32) -> Result<(), FsError> {
        let mut free = None;
        let taken = self.scan(0, |at, entry| {
            if entry.inum == 0 {
                free = free.or(Some(at));
            }
            (entry.inum != 0 && name.is(&entry.name)).then_some(())
        })?;
        if taken.is_some() {
            return Err(FsError::Exists);
        }
        let at = free.unwrap_or(self.size - self.size % DIRENT_SIZE as u32);
        let inum = u16::try_from(inum).map_err(|_| FsError::NoInodes)?;
        self.write_entry(op, at, &Dirent { inum, name: name.0 })
    }

    /// Frees an entry.
    pub(super) fn remove_entry(&mut self, op: &Op, at: EntryOffset) -> Result<(), FsError> {
        self.write_entry(op, at, &Dirent::default())
    }

    /// Whether the directory has entries for itself and its parent only: its first two.
    pub(super) fn is_empty(&self) -> Result<bool, FsError> {
        let other = self.scan(2 * DIRENT_SIZE as u32, |_, entry| (entry.inum != 0).then_some(()));
        Ok(other?.is_none())
    }

    fn write_entry(&mut self, op: &Op, at: EntryOffset, entry: &Dirent) -> Result<(), FsError> {
        match self.write(op, at, &entry.to_bytes())? {
            DIRENT_SIZE => Ok(()),
            _ => Err(FsError::NoSpace),
        }
    }

    /// The first result for an entry at this offset or behind it.
    fn scan<T>(
        &self,
        from: EntryOffset,
        mut visit: impl FnMut(EntryOffset, &Dirent) -> Option<T>,
    ) -> Result<Option<T>, FsError> {
        let mut at = from as usize;
        let end = self.size as usize - self.size as usize % DIRENT_SIZE;
        while at < end {
            let block_end = end.min(at - at % BSIZE + BSIZE);
            let Some(blockno) = self.block(at / BSIZE)? else {
                // Entries of a block that the directory does not have are free.
                if let Some(result) = visit(at as EntryOffset, &Dirent::default()) {
                    return Ok(Some(result));
                }
                at = block_end;
                continue;
            };
            let block = self.fs().cache.read(blockno);
            let entries = block[at % BSIZE..][..block_end - at].chunks_exact(DIRENT_SIZE);
            for bytes in entries {
                let mut entry = [0; DIRENT_SIZE];
                entry.copy_from_slice(bytes);
                let result = visit(at as EntryOffset, &Dirent::from_bytes(&entry));
                if result.is_some() {
                    return Ok(result);
                }
                at += DIRENT_SIZE;
            }
        }
        Ok(None)
    }
}
