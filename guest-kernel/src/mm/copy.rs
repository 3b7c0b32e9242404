//! Copying between kernel and user memory, through the fault function.
//!
//! Every page of a buffer is reached as the process itself would reach it: absent pages are
//! faulted in, copy-on-write pages are copied before a write, and what the process may not do,
//! the kernel does not do for it. Faulting may sleep, so callers hold no lock.

use super::fault::Kill;
use super::frame::PAGE;
use super::region::Access;
use super::{AddressSpace, page_down};

impl AddressSpace {
    /// Reads user memory at `va` into `to`.
    pub fn copyin(&mut self, to: &mut [u8], va: u64) -> Result<(), Kill> {
        #[cfg(feature = "mutants")]
        self.mutated_copy(va, to.len(), Access::Read)?;
        let mut va = va;
        let mut rest = to;
        while !rest.is_empty() {
            let from = self.reach(va, Access::Read)?;
            let (chunk, others) = rest.split_at_mut(rest.len().min(left_in_page(va)));
            // SAFETY: the page is mapped, and the chunk does not leave it; kernel buffers and
            // user frames do not overlap.
            unsafe { chunk.as_mut_ptr().copy_from_nonoverlapping(from, chunk.len()) };
            va = va.wrapping_add(chunk.len() as u64);
            rest = others;
        }
        Ok(())
    }

    /// Writes `from` into user memory at `va`.
    pub fn copyout(&mut self, va: u64, from: &[u8]) -> Result<(), Kill> {
        #[cfg(feature = "mutants")]
        self.mutated_copy(va, from.len(), Access::Write)?;
        let mut va = va;
        let mut rest = from;
        while !rest.is_empty() {
            #[cfg(not(feature = "mutants"))]
            let to = self.reach(va, Access::Write)?;
            #[cfg(feature = "mutants")]
            let to = self.mutated_reach(va)?;
            let (chunk, others) = rest.split_at(rest.len().min(left_in_page(va)));
            // SAFETY: as in `copyin`.
            unsafe { to.copy_from_nonoverlapping(chunk.as_ptr(), chunk.len()) };
            va = va.wrapping_add(chunk.len() as u64);
            rest = others;
        }
        Ok(())
    }

    /// Reads a string that ends with NUL into `to`; returns its length without the NUL, or
    /// `None` if there is no NUL within `to.len()` bytes.
    pub fn copyinstr(&mut self, to: &mut [u8], va: u64) -> Result<Option<usize>, Kill> {
        let mut done = 0;
        while done < to.len() {
            let start = va.wrapping_add(done as u64);
            #[cfg(feature = "mutants")]
            self.mutated_copyinstr(start)?;
            let from = self.reach(start, Access::Read)?;
            let chunk = left_in_page(start).min(to.len() - done);
            for index in 0..chunk {
                // SAFETY: as in `copyin`.
                let byte = unsafe { from.add(index).read() };
                to[done + index] = byte;
                if byte == 0 {
                    return Ok(Some(done + index));
                }
            }
            done += chunk;
        }
        Ok(None)
    }

    /// Reads a plain number from user memory.
    pub fn read_u64(&mut self, va: u64) -> Result<u64, Kill> {
        let mut bytes = [0; 8];
        self.copyin(&mut bytes, va)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Faults in every page of a buffer, so that a later copy finds them.
    pub fn prefault(&mut self, va: u64, bytes: u64, access: Access) -> Result<(), Kill> {
        let Some(last) = bytes.checked_sub(1) else { return Ok(()) };
        let last = va.checked_add(last).ok_or(Kill::Unmapped)?;
        for page in (page_down(va)..=last).step_by(PAGE) {
            self.reach(page, access)?;
        }
        Ok(())
    }
}

/// Bytes from `va` to the end of its page.
fn left_in_page(va: u64) -> usize {
    PAGE - (va - page_down(va)) as usize
}
