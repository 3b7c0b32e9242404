//! `sbrk`: moving the break.

use abi::mman::SBRK_LAZY;

use super::frame::{Frame, Owner, PAGE};
use super::region::Prot;
use super::{AddressSpace, MmError, USER_END, page_up, policy};
use crate::arch;

impl AddressSpace {
    /// Moves the break by `bytes` and returns the old one. `kind` is `SBRK_LAZY` or anything
    /// else, which asks for the pages at once (unless the policy is to be lazy always).
    ///
    /// Shrinking by more than the size changes nothing and is no error. Growth fails if it
    /// would reach a region or the end of user space, or if an eager page cannot be had; then
    /// nothing has changed.
    pub fn sbrk(&mut self, bytes: i64, kind: u32) -> Result<u64, MmError> {
        let old = self.brk;
        if bytes < 0 {
            if let Some(new) = old.checked_sub(bytes.unsigned_abs()) {
                self.shrink(new);
            }
        } else if bytes > 0 {
            let new = old.checked_add(bytes as u64).filter(|&new| new <= USER_END);
            let lazy = kind == SBRK_LAZY || policy().lazy_sbrk;
            self.grow(new.ok_or(MmError::Invalid)?, lazy)?;
        }
        Ok(old)
    }

    fn grow(&mut self, new: u64, lazy: bool) -> Result<(), MmError> {
        let pages = self.brk_page()..page_up(new);
        if !pages.is_empty() {
            if self.regions.overlaps(&pages) {
                return Err(MmError::Invalid);
            }
            self.regions.grow_heap(pages.start, pages.end).ok_or(MmError::OutOfMemory)?;
            if lazy {
                self.mark_promises(pages);
            } else if self.populate(pages.clone()).is_none() {
                self.forget(pages);
                return Err(MmError::OutOfMemory);
            }
        }
        self.brk = new;
        Ok(())
    }

    /// Maps zeroed frames for heap pages that are all absent.
    fn populate(&mut self, pages: core::ops::Range<u64>) -> Option<()> {
        if (pages.end - pages.start) / PAGE as u64 > super::frame::free_pages() as u64 {
            return None;
        }
        for page in pages.step_by(PAGE) {
            self.map_page(page, Frame::zeroed(Owner::User)?, Prot::RW.pte_flags())?;
        }
        Some(())
    }

    fn shrink(&mut self, new: u64) {
        let pages = page_up(new)..self.brk_page();
        #[cfg(feature = "mutants")]
        self.mutated_shrink(pages.clone());
        self.write_back(pages.clone());
        self.forget(pages);
        arch::sfence_vma_all();
        self.brk = new;
    }

    /// Drops the promise for pages up to the break, and the pages.
    fn forget(&mut self, pages: core::ops::Range<u64>) {
        self.regions.remove(pages.clone()).expect("no region crosses the break, so none is split");
        self.table.unmap(pages);
    }
}
