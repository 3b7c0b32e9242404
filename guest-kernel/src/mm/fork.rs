//! `fork`: a second address space with the same contents.

use abi::mman::PTE_RSW_COW;

use super::frame::{Frame, Owner};
#[cfg(feature = "mutants")]
use super::mutants;
use super::pagetable::{PTE_A, PTE_D, PTE_W, Pte};
use super::region::Region;
use super::{AddressSpace, policy};
use crate::arch;

impl AddressSpace {
    /// The address space of the child `pid`, around the child's trap frame. `None` when memory
    /// is used up; then the parent's contents are as before.
    ///
    /// Absent pages stay absent in the child. So do pages of shared objects, which the child
    /// joins on its own faults. Private pages become copy-on-write in both processes, or are
    /// copied at once if the policy says so.
    pub fn fork(&mut self, trapframe: u64, pid: i32) -> Option<AddressSpace> {
        #[cfg(feature = "mutants")]
        self.mutated_fork();
        let mut child = AddressSpace::new(trapframe, self.trampoline())?;
        child.regions = self.regions.duplicate()?;
        child.brk = self.brk;
        child.semaphores = self.semaphores.clone();
        child.inherit_shared_page(self, pid);

        let cow = policy().cow_fork;
        let inherit = if cow { share_frame } else { copy_frame };
        let is_private = |region: &&Region| !region.backing.is_shared();
        let done = self.regions.iter().filter(is_private).try_for_each(|region| {
            self.table.visit_frames(region.range(), |va, pte, frame| {
                let frame = inherit(pte, frame)?;
                child.map_page(va, frame, pte.flags() & !(PTE_A | PTE_D))
            })
        });
        #[cfg(feature = "mutants")]
        self.mutated_shared_pages(&mut child)?;
        #[cfg(feature = "mutants")]
        let (cow, child) = (self.mutated_parent(cow), mutants::mutated_child(child, done)?);
        if cow {
            // The parent lost write permission to its pages, even if the child was not born.
            arch::sfence_vma_all();
        }
        done.map(|()| child)
    }
}

/// The parent's frame for the child; if it is writable, it becomes copy-on-write.
fn share_frame(pte: &mut Pte, frame: &Frame) -> Option<Frame> {
    if pte.has(PTE_W) {
        pte.clear(PTE_W);
        pte.set(PTE_RSW_COW);
    }
    #[cfg(feature = "mutants")]
    return Some(mutants::mutated_share(frame));
    #[cfg(not(feature = "mutants"))]
    Some(frame.share())
}

/// A copy of the parent's frame for the child. A page that was copy-on-write stays so.
fn copy_frame(_pte: &mut Pte, frame: &Frame) -> Option<Frame> {
    frame.duplicate(Owner::User)
}
