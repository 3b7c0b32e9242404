//! `mapshared`, `getshared`, `unmapshared`: one page that a parent and its children share.
//!
//! The page is an ordinary mapping of a shared object. What is special is that a child may ask
//! for it after the fork: so every process that has such a page publishes it under its pid.
//!
//! In the lab that this serves, `unmapshared` frees the frame at once and leaves the other side a
//! dangling mapping. Here the frame goes with the last member.

use core::ops::Range;

use abi::layout::PGSIZE;
use abi::param::NPROC;

use super::region::{Backing, Prot, Region};
use super::shared::{SharedObject, SharedRef};
use super::{AddressSpace, MmError, USER_END};
use crate::arch;
use crate::sync::SpinLock;

/// Who published which page; one entry for a process at most.
static PUBLISHED: SpinLock<[Option<(i32, SharedRef)>; NPROC]> =
    SpinLock::new("shared pages", [const { None }; NPROC]);

/// A process's entry among the published pages; dropping it withdraws the page.
pub struct Published {
    pid: i32,
    /// Where the process has the page.
    va: u64,
}

impl Published {
    /// `None` if there are more processes than the kernel can have.
    fn new(pid: i32, va: u64, object: SharedRef) -> Option<Published> {
        let mut published = PUBLISHED.lock();
        *published.iter_mut().find(|entry| entry.is_none())? = Some((pid, object));
        Some(Published { pid, va })
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let mut published = PUBLISHED.lock();
        let mine = published.iter_mut().find(|e| matches!(e, Some((pid, _)) if *pid == self.pid));
        let object = mine.and_then(Option::take);
        // The object may be the last reference to its frames: not under the lock.
        drop(published);
        drop(object);
    }
}

/// The page that process `pid` published.
fn page_of(pid: i32) -> Option<SharedRef> {
    let published = PUBLISHED.lock();
    published.iter().flatten().find(|(owner, _)| *owner == pid).map(|(_, page)| page.clone())
}

impl AddressSpace {
    /// Makes a shared page for process `pid`, and maps it at the end of user space. A process
    /// has one such page at most: if it has one, that is the result.
    pub fn mapshared(&mut self, pid: i32) -> Result<u64, MmError> {
        if let Some(page) = &self.shared_page {
            return Ok(page.va);
        }
        let object = SharedObject::create(PGSIZE, None).ok_or(MmError::OutOfMemory)?;
        self.map_shared_page(pid, object)
    }

    /// Maps the shared page of process `parent` for its child `pid`.
    pub fn getshared(&mut self, pid: i32, parent: i32) -> Result<u64, MmError> {
        if let Some(page) = &self.shared_page {
            return Ok(page.va);
        }
        self.map_shared_page(pid, page_of(parent).ok_or(MmError::Invalid)?)
    }

    fn map_shared_page(&mut self, pid: i32, object: SharedRef) -> Result<u64, MmError> {
        let gap = self.regions.highest_gap(PGSIZE, self.brk_page(), USER_END);
        let start = gap.ok_or(MmError::Invalid)?;
        let backing = Backing::Shared(object.clone(), 0);
        self.promise(Region { start, end: start + PGSIZE, prot: Prot::RW, backing })
            .ok_or(MmError::OutOfMemory)?;
        self.shared_page = Published::new(pid, start, object);
        Ok(start)
    }

    /// Drops this process's mapping of the shared page.
    pub fn unmapshared(&mut self) -> Result<(), MmError> {
        let page = self.shared_page.take().ok_or(MmError::Invalid)?;
        let range = page.va..page.va + PGSIZE;
        #[cfg(feature = "mutants")]
        self.mutated_unmapshared(page.va);
        self.regions.remove(range.clone()).expect("a region of one page is not split");
        self.table.unmap(range);
        arch::sfence_vma_all();
        Ok(())
    }

    /// Withdraws the shared page if it lies in `range`, which is being unmapped.
    pub(super) fn forget_shared_page(&mut self, range: &Range<u64>) {
        if self.shared_page.as_ref().is_some_and(|page| range.contains(&page.va)) {
            self.shared_page = None;
        }
    }

    /// Publishes the page that the new process `pid` has inherited with its parent's regions.
    pub(super) fn inherit_shared_page(&mut self, parent: &AddressSpace, pid: i32) {
        if let Some(page) = &parent.shared_page
            && let Some(region) = self.regions.find(page.va)
            && let Backing::Shared(object, _) = &region.backing
        {
            self.shared_page = Published::new(pid, page.va, object.clone());
        }
    }
}
