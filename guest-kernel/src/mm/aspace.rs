//! An address space: a page table and the regions that say what it will contain.
//!
//! It belongs to one process and is changed only by that process (or by its parent, before it
//! runs), so there is no lock here. What several processes share, frames and shared objects,
//! has locks of its own.

use core::ops::Range;

use abi::layout::{PGSIZE, TRAMPOLINE, TRAPFRAME};

use super::frame::Frame;
use super::inspect::KernelObjects;
use super::pagetable::{PTE_R, PTE_W, PTE_X, PageTable, Pte};
use super::region::{Region, RegionSet};
use super::sem::SemSet;
use super::sharedpage::Published;
use super::{USER_END, page_up};

/// The mode field of `satp` for Sv39.
const SATP_SV39: u64 = 8 << 60;

/// The memory of a process.
pub struct AddressSpace {
    pub(super) table: PageTable,
    pub(super) regions: RegionSet,
    /// The break: one beyond the last byte of image, stack and heap. May be odd.
    pub(super) brk: u64,
    /// Physical address of the trampoline page.
    trampoline: u64,
    /// The page of `mapshared` and `getshared`, which children may ask for.
    pub(super) shared_page: Option<Published>,
    /// Semaphores that this process may name.
    pub(super) semaphores: SemSet,
    /// What the process got from `kmalloc(2)` and has not given back.
    pub(super) kernel_objects: KernelObjects,
}

impl AddressSpace {
    /// An address space with nothing but the trampoline and the trap frame, which it borrows.
    /// `None` when memory is used up.
    pub fn new(trapframe: u64, trampoline: u64) -> Option<AddressSpace> {
        let mut table = PageTable::new(USER_END)?;
        table.map_borrowed(TRAMPOLINE..TRAMPOLINE + PGSIZE, trampoline, PTE_R | PTE_X)?;
        table.map_borrowed(TRAPFRAME..TRAPFRAME + PGSIZE, trapframe, PTE_R | PTE_W)?;
        Some(AddressSpace {
            table,
            regions: RegionSet::new(),
            brk: 0,
            trampoline,
            shared_page: None,
            semaphores: SemSet::default(),
            kernel_objects: KernelObjects::default(),
        })
    }

    /// What `satp` must be for this address space to be in force.
    pub fn satp(&self) -> u64 {
        SATP_SV39 | (self.table.root() / PGSIZE)
    }

    /// The break: bytes of image, stack and heap.
    pub fn size(&self) -> u64 {
        self.brk
    }

    /// The semaphores that this process may use.
    pub fn semaphores(&mut self) -> &mut SemSet {
        &mut self.semaphores
    }

    /// Physical address of the trampoline page.
    pub(super) fn trampoline(&self) -> u64 {
        self.trampoline
    }

    /// One beyond the last page that the break reaches into.
    pub(super) fn brk_page(&self) -> u64 {
        page_up(self.brk)
    }

    /// Maps a page that a region promises; `None` when there is no memory for a table page.
    ///
    /// A new leaf table shows what else is promised in it.
    pub(super) fn map_page(&mut self, page: u64, frame: Frame, flags: u64) -> Option<()> {
        let new_table = !self.table.has_leaf_table(page);
        self.table.map(page, frame, flags)?;
        if new_table {
            self.mark_promises(PageTable::leaf_table_range(page));
        }
        Some(())
    }

    /// Marks the absent pages that regions promise in `range`, as far as leaf tables exist.
    ///
    /// The marks are for readers of table dumps: nothing in the kernel relies on them. So they
    /// need no table pages of their own, and a huge promise stays cheap.
    pub(super) fn mark_promises(&mut self, range: Range<u64>) {
        let mut next = range.start;
        while let Some(region) = self.regions.at_or_above(next)
            && region.start < range.end
        {
            next = region.end;
            self.table.visit(region.intersection(&range), |_, pte| {
                if !pte.is_valid() {
                    *pte = Pte::PROMISE;
                }
            });
        }
    }

    /// Adds a region where there is none. `None` when memory is used up.
    pub(super) fn promise(&mut self, region: Region) -> Option<()> {
        let range = region.range();
        self.regions.insert(region)?;
        self.mark_promises(range);
        Some(())
    }

    /// Gives all user memory back: dirty pages of files are written first, so it may sleep. For
    /// the end of a process; dropping an address space does the same.
    pub fn release(&mut self) {
        #[cfg(feature = "mutants")]
        self.mutated_release();
        self.shared_page = None;
        self.write_back(0..USER_END);
        self.regions = RegionSet::new();
        self.table.unmap(0..USER_END);
        self.brk = 0;
        self.semaphores = SemSet::default();
        self.kernel_objects = KernelObjects::default();
    }
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        self.release();
    }
}
