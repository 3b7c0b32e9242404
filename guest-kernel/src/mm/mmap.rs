//! `mmap`: promising memory at a place of its own. One engine; the dialects of the labs differ
//! only in how their arguments are read.

use abi::layout::PGSIZE;
use abi::mman::{MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED};

use super::file::FileHandle;
use super::region::{Backing, Prot, Region};
use super::shared::SharedObject;
use super::{AddressSpace, MmError, USER_END, page_up, user_pages};

/// What to map.
pub struct Mapping {
    /// Where the caller would like it; 0 for anywhere.
    pub hint: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// What user mode may do with it.
    pub prot: Prot,
    /// Whether children share it, and a file sees the writes.
    pub shared: bool,
    /// The file, and the offset in it; `None` for anonymous memory.
    pub file: Option<(FileHandle, u64)>,
}

impl Mapping {
    /// Reads the arguments of `mmap(2)`. `open_file` looks a descriptor up.
    ///
    /// With flags 0 and descriptor -1 this is the six-argument `mmap` of the kmalloc lab:
    /// anonymous, private, readable and writable whatever `prot` says. Its later versions name
    /// `MAP_ANONYMOUS` alone, and mean private memory too.
    pub fn decode(
        args: &[u64; 6],
        open_file: impl FnOnce(i32) -> Option<FileHandle>,
    ) -> Option<Mapping> {
        let [hint, bytes, prot, flags, fd, offset] = *args;
        let (prot, flags, fd) = (prot as u32, flags as u32, fd as i32);
        if flags == 0 && fd == -1 {
            return Some(Mapping { hint, bytes, prot: Prot::RW, shared: false, file: None });
        }
        let anonymous = flags & MAP_ANONYMOUS != 0;
        let shared = match flags & (MAP_SHARED | MAP_PRIVATE) {
            MAP_SHARED => true,
            MAP_PRIVATE => false,
            0 if anonymous => false,
            _ => return None,
        };
        let file = if anonymous { None } else { Some((open_file(fd)?, offset)) };
        Some(Mapping { hint, bytes, prot: Prot::from_bits(prot), shared, file })
    }

    /// Whether the file's open mode allows the mapping, and its offset makes sense.
    fn is_allowed(&self) -> bool {
        let Some((file, offset)) = &self.file else { return true };
        let writes_through = self.shared && self.prot.allows(super::Access::Write);
        file.readable()
            && (file.writable() || !writes_through)
            && offset.is_multiple_of(PGSIZE)
            && offset.checked_add(self.bytes).is_some()
    }
}

impl AddressSpace {
    /// Promises memory and returns its address. No page exists before its first access. On
    /// failure nothing has changed.
    pub fn mmap(&mut self, mapping: Mapping) -> Result<u64, MmError> {
        let Mapping { hint, bytes, prot, .. } = mapping;
        #[cfg(feature = "mutants")]
        let prot = super::mutants::mutated_prot(prot);
        if bytes == 0 || bytes > USER_END || !mapping.is_allowed() {
            return Err(MmError::Invalid);
        }
        let start = self.place(hint, page_up(bytes)).ok_or(MmError::Invalid)?;
        let backing = match mapping.file {
            _ if mapping.shared => Backing::Shared(
                SharedObject::create(bytes, mapping.file).ok_or(MmError::OutOfMemory)?,
                0,
            ),
            Some((file, offset)) => Backing::File(file, offset),
            None => Backing::Anon,
        };
        let end = start + page_up(bytes);
        self.promise(Region { start, end, prot, backing }).ok_or(MmError::OutOfMemory)?;
        Ok(start)
    }

    /// Finds room for `bytes` bytes: at the hint if that is free, else as high as possible.
    fn place(&self, hint: u64, bytes: u64) -> Option<u64> {
        if hint > 0
            && hint <= USER_END
            && let Some(pages) = user_pages(page_up(hint), bytes)
            && pages.start >= self.brk_page()
            && !self.regions.overlaps(&pages)
        {
            return Some(pages.start);
        }
        self.regions.highest_gap(bytes, self.brk_page(), USER_END)
    }

    /// Promises `bytes` bytes of private memory, a multiple of the page size: at the break,
    /// which moves behind them, or at `start` above the break. Returns their address.
    pub fn mmap_brk(&mut self, bytes: i64, start: u64) -> Result<u64, MmError> {
        let bytes = u64::try_from(bytes).map_err(|_| MmError::Invalid)?;
        let at_break = start == 0;
        let start = if at_break { self.brk_page() } else { start };
        let pages = user_pages(start, bytes).ok_or(MmError::Invalid)?;
        if !bytes.is_multiple_of(PGSIZE) || start < self.brk || self.regions.overlaps(&pages) {
            return Err(MmError::Invalid);
        }
        let region =
            Region { start: pages.start, end: pages.end, prot: Prot::RW, backing: Backing::Anon };
        self.promise(region).ok_or(MmError::OutOfMemory)?;
        if at_break {
            self.brk = pages.end;
        }
        Ok(start)
    }
}
