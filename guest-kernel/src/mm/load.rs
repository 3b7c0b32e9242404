//! Building an address space for a program: segments, guard page, stack.

use abi::layout::PGSIZE;

use super::frame::{Frame, Owner, PAGE};
use super::pagetable::{PTE_R, PTE_U, PTE_W};
use super::region::{Backing, Prot, Region};
use super::{AddressSpace, MmError, USER_END, page_down, page_up};

impl AddressSpace {
    /// Makes zeroed memory for the program segment at `va`, and moves the break behind it.
    ///
    /// Pages that an earlier segment has stay as they are; a gap below `va` becomes part of the
    /// segment. (That is what MIT's `exec` does by growing the image to the segment's end.)
    pub fn load_segment(&mut self, va: u64, bytes: u64, prot: Prot) -> Result<(), MmError> {
        let end = va.checked_add(bytes).filter(|&end| end <= USER_END).ok_or(MmError::Invalid)?;
        if end <= self.brk {
            return Ok(());
        }
        let (start, stop) = (self.brk_page(), page_up(end));
        self.brk = end;
        if start < stop {
            let prot = Prot::from_bits(prot.bits() | Prot::R.bits());
            self.add_present(Region { start, end: stop, prot, backing: Backing::Image }, PTE_U)?;
        }
        Ok(())
    }

    /// Fills loaded memory, writable or not, with a part of the program file.
    pub fn write_image(&mut self, va: u64, bytes: &[u8]) -> Result<(), MmError> {
        let mut va = va;
        let mut rest = bytes;
        while !rest.is_empty() {
            let page = page_down(va);
            if page >= USER_END {
                return Err(MmError::Invalid);
            }
            let frame = self.table.frame(page).ok_or(MmError::Invalid)?;
            let offset = (va - page) as usize;
            let (chunk, others) = rest.split_at(rest.len().min(PAGE - offset));
            // SAFETY: `offset + chunk.len()` is at most a page; nobody else uses the frame,
            // since an address space under construction shares none.
            unsafe {
                frame.as_ptr().add(offset).copy_from_nonoverlapping(chunk.as_ptr(), chunk.len());
            }
            va += chunk.len() as u64;
            rest = others;
        }
        Ok(())
    }

    /// Puts a guard page and a stack of `pages` pages behind the image, moves the break behind
    /// them, and returns the initial stack pointer, which is that break.
    pub fn setup_stack(&mut self, pages: u64) -> Result<u64, MmError> {
        let guard = self.brk_page();
        let stack = guard + PGSIZE;
        let end = stack + pages * PGSIZE;
        if end > USER_END {
            return Err(MmError::Invalid);
        }
        let region = |start, end, backing| Region { start, end, prot: Prot::RW, backing };
        self.add_present(region(guard, stack, Backing::Guard), 0)?;
        self.add_present(region(stack, end, Backing::Stack), PTE_U)?;
        self.brk = end;
        Ok(end)
    }

    /// Adds a region and maps zeroed frames for all its pages. On failure the address space is
    /// not fit for use, but drops cleanly.
    fn add_present(&mut self, region: Region, user: u64) -> Result<(), MmError> {
        let range = region.range();
        let flags = match region.backing {
            Backing::Guard => PTE_R | PTE_W,
            _ => region.prot.pte_flags() | user,
        };
        self.regions.insert(region).ok_or(MmError::OutOfMemory)?;
        for page in range.step_by(PAGE) {
            let frame = Frame::zeroed(Owner::User).ok_or(MmError::OutOfMemory)?;
            self.map_page(page, frame, flags).ok_or(MmError::OutOfMemory)?;
        }
        Ok(())
    }
}
