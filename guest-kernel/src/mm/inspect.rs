//! Looking at an address space: the counting calls, accessed bits, dumps; and `kmalloc(2)`.

use core::fmt;
use core::ptr::NonNull;

use abi::layout::PGSIZE;
use abi::stat::{RegionInfo, RegionKind};

use super::kmalloc::{KMALLOC_MAX, kmalloc, kmfree};
use super::pagetable::{PTE_A, PTE_U};
use super::pagevec::PageVec;
use super::{AddressSpace, USER_END, page_down, policy};
use crate::arch;

impl AddressSpace {
    /// Pages of virtual memory: all that is promised, the guard page included.
    pub fn numvp(&self) -> u64 {
        self.regions.iter().map(|region| region.pages()).sum()
    }

    /// Pages of physical memory that user addresses lead to, the guard page included.
    pub fn numpp(&mut self) -> u64 {
        self.present(0..USER_END)
    }

    /// Pages of the page table itself.
    pub fn ptsize(&self) -> u64 {
        self.table.tables() as u64
    }

    fn present(&mut self, range: core::ops::Range<u64>) -> u64 {
        let mut pages = 0;
        self.table.visit(range, |_, pte| pages += u64::from(pte.is_valid()));
        pages
    }

    /// The page-table entry for `va` as it is, or 0 where there is no table page for it. The
    /// entry of an absent page may be marked as promised.
    pub fn pgpte(&self, va: u64) -> u64 {
        if va >= abi::layout::MAXVA {
            return 0;
        }
        self.table.walk(va).map_or(0, |pte| pte.bits())
    }

    /// Which of the first `count` pages at `base` were accessed since the last call, one bit
    /// each, and clears their accessed bits. `None` for more than 64 pages, or beyond the end
    /// of user space.
    pub fn pgaccess(&mut self, base: u64, count: u64) -> Option<u64> {
        let base = page_down(base);
        let end = base.checked_add(count.checked_mul(PGSIZE)?)?;
        if count > 64 || end > USER_END {
            return None;
        }
        let mut mask = 0;
        self.table.visit(base..end, |va, pte| {
            if pte.has(PTE_U | PTE_A) {
                mask |= 1 << ((va - base) / PGSIZE);
                pte.clear(PTE_A);
            }
        });
        // Without this, the next access could find the entry in the TLB and not set A again.
        arch::sfence_vma_all();
        Some(mask)
    }

    /// Row `index` of the region list, from the lowest region up.
    pub fn region_info(&mut self, index: usize) -> Option<RegionInfo> {
        let region = self.regions.get(index)?;
        let (range, kind, prot) = (region.range(), region.kind(), region.prot.bits());
        // Only the heap's last page may be promised in part.
        let end = match kind {
            RegionKind::Heap if range.end == self.brk_page() => self.brk,
            _ => range.end,
        };
        let present = self.present(range.clone());
        Some(RegionInfo { start: range.start, end, kind: kind as u32, prot, present })
    }

    /// Prints the page table in MIT's format.
    pub fn vmprint(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        self.table.print(out)
    }

    /// `kmalloc(2)`: an object of the kernel's allocator that belongs to this process; 0 when
    /// there is none. The allocator panics at oversized requests, so they do not get there,
    /// unless the policy is to see just that.
    pub fn kmalloc(&mut self, bytes: u64) -> u64 {
        if bytes == 0 || (bytes > KMALLOC_MAX as u64 && !policy().kmalloc_panic) {
            return 0;
        }
        let Some(object) = kmalloc(bytes as usize) else { return 0 };
        match self.kernel_objects.0.push(Object(object)) {
            Ok(()) => object.addr().get() as u64,
            Err(_) => 0,
        }
    }

    /// `kmfree(2)`: gives an object of this process back; whether there was such an object.
    pub fn kmfree(&mut self, address: u64) -> bool {
        let objects = &mut self.kernel_objects.0;
        let index = objects.iter().position(|object| object.0.addr().get() as u64 == address);
        index.map(|index| objects.remove(index)).is_some()
    }
}

/// The kernel objects of a process, which end with it.
#[derive(Default)]
pub(super) struct KernelObjects(PageVec<Object>);

/// An object from `kmalloc`; dropping it gives it back.
struct Object(NonNull<u8>);

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: the object came from `kmalloc`, and only its process's list knows it.
        unsafe { kmfree(self.0) };
    }
}

// SAFETY: the allocator does not care which hart gives an object back.
unsafe impl Send for Object {}
