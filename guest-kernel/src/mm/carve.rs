//! Taking mappings away: `munmap`, and writing dirty pages of files back.

use core::ops::Range;

use abi::layout::PGSIZE;

use super::pagetable::PTE_D;
use super::region::Backing;
use super::{AddressSpace, MmError, user_pages};
use crate::arch;

impl AddressSpace {
    /// Unmaps the pages of `bytes` bytes at `va`, which lie in one mapping; a hole splits it.
    /// Dirty pages of shared files are written first, so this may sleep.
    pub fn munmap(&mut self, va: u64, bytes: u64) -> Result<(), MmError> {
        let pages = user_pages(va, bytes).ok_or(MmError::Invalid)?;
        let region = self.regions.find(pages.start).ok_or(MmError::Invalid)?;
        if pages.end > region.end || !region.backing.is_mapping() {
            return Err(MmError::Invalid);
        }
        self.write_back(pages.clone());
        self.regions.remove(pages.clone()).ok_or(MmError::OutOfMemory)?;
        self.forget_shared_page(&pages);
        #[cfg(feature = "mutants")]
        if self.mutated_munmap() {
            return Ok(());
        }
        self.table.unmap(pages);
        arch::sfence_vma_all();
        Ok(())
    }

    /// Writes the dirty pages of shared files in `bytes` bytes at `va` back, and makes them
    /// clean. All pages of the range must be promised.
    pub fn msync(&mut self, va: u64, bytes: u64) -> Result<(), MmError> {
        let pages = user_pages(va, bytes).ok_or(MmError::Invalid)?;
        let mut next = pages.start;
        while next < pages.end {
            next = self.regions.find(next).ok_or(MmError::Invalid)?.end;
        }
        match self.write_back(pages) {
            true => Ok(()),
            false => Err(MmError::Invalid),
        }
    }

    /// Writes the dirty pages of shared files in `range` back, as far as the files reach, and
    /// clears their D bits. Whether every write succeeded.
    pub(super) fn write_back(&mut self, range: Range<u64>) -> bool {
        let mut written = true;
        for region in self.regions.iter() {
            let Backing::Shared(object, offset) = &region.backing else { continue };
            let Some((file, file_start)) = object.file() else { continue };
            let pages = region.intersection(&range);
            let position = |va| file_start + offset + (va - region.start);
            self.table.visit_frames(pages, |va, pte, frame| {
                if pte.has(PTE_D) {
                    // Clean before the write: the page cannot change meanwhile, since its
                    // process is here; other members have D bits of their own.
                    pte.clear(PTE_D);
                    let bytes = file.size().saturating_sub(position(va)).min(PGSIZE) as usize;
                    written &= bytes == 0 || file.write_back(position(va), &frame.bytes()[..bytes]);
                }
                Some(())
            });
        }
        arch::sfence_vma_all();
        written
    }
}
