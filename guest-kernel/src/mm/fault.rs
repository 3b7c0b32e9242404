//! The fault function: the one place where a promise becomes a page.
//!
//! A page fault asks three questions, in this order:
//!
//! 1. Is there a region at the address? If not, nothing was ever promised there.
//! 2. Does the region allow the access? If not, the process broke the rules.
//! 3. What does the page table say? *Absent*: make the page that the region promises.
//!    *Copy-on-write*, and this is a write: give this process a frame of its own. Otherwise the
//!    table already allows the access, and the fault was only news about that.
//!
//! Every answer has a name: a [`Resolved`] page, after which the access can be repeated, or a
//! [`Kill`].
//!
//! ```text
//!  no region there          Unmapped, BeyondBreak, Protection (the trap frame and above)
//!  the region forbids it    Guard, ExecNx, Protection
//!  the page is absent       Lazy, SharedJoin, FileFill;  OutOfMemory
//!  it is copy-on-write      CowCopy, CowLast;            OutOfMemory
//!  the table allows it      Spurious
//! ```
//!
//! When memory is used up, nothing has changed. User mode comes here through the trap handler,
//! system calls through [`super::copy`]: so a page that a process was promised can be handed to
//! the kernel untouched, and one that it may not write the kernel does not write for it.

use abi::hint::{FaultClass, Hint};
use abi::layout::{MAXVA, TRAPFRAME};
use abi::mman::{PTE_RSW_COW, PTE_RSW_SHARED};

use super::frame::{Frame, Owner};
use super::pagetable::{PTE_A, PTE_D, PTE_R, PTE_U, PTE_W, PTE_X, Pte};
use super::region::{Access, Backing, Region};
use super::shared::Source;
use super::{AddressSpace, page_down};
use crate::arch;

/// How a fault was resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolved {
    /// Promised, never mapped: now a page of zeros.
    Lazy,
    /// Copy-on-write with other users: now a copy.
    CowCopy,
    /// Copy-on-write without other users: now writable.
    CowLast,
    /// A page that another member of the shared object already had.
    SharedJoin,
    /// Filled from a file.
    FileFill,
    /// The table allowed the access already: only A or D was clear, or the TLB was behind.
    Spurious,
}

/// Why a fault cannot be resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// The region forbids the access.
    Protection,
    /// The guard page below the stack.
    Guard,
    /// Between the break and the lowest mapping above it.
    BeyondBreak,
    /// Execution of a page that is not executable.
    ExecNx,
    /// No region there.
    Unmapped,
    /// No frame was free.
    OutOfMemory,
}

impl Kill {
    /// The reason in words, for the console.
    pub fn reason(self) -> &'static str {
        match self {
            Kill::Protection => "access not allowed",
            Kill::Guard => "stack guard page",
            Kill::BeyondBreak => "beyond the break",
            Kill::ExecNx => "not executable",
            Kill::Unmapped => "not mapped",
            Kill::OutOfMemory => "out of memory",
        }
    }
}

/// Flags of a page-table entry that a user access needs. The hardware either sets A and D
/// itself or faults when they are clear (Svade); the kernel must be ready for both.
fn needed_flags(access: Access) -> u64 {
    PTE_U
        | match access {
            Access::Read => PTE_R | PTE_A,
            Access::Write => PTE_W | PTE_A | PTE_D,
            Access::Execute => PTE_X | PTE_A,
        }
}

/// Notes an access that the entry allows.
fn touch(pte: &mut Pte, access: Access) {
    pte.set(needed_flags(access) & (PTE_A | PTE_D));
}

/// Whether the entry allows the access, apart from A and D.
fn permits(pte: Pte, access: Access) -> bool {
    pte.has(needed_flags(access) & !(PTE_A | PTE_D))
}

impl AddressSpace {
    /// Resolves a page fault of the running process, or says why it must be killed.
    ///
    /// May sleep, reading a file: the caller holds no lock.
    pub fn fault(&mut self, va: u64, access: Access) -> Result<Resolved, Kill> {
        let page = page_down(va);
        arch::hint(Hint::FaultBegan, va, access as u64, self.satp());
        let result = self.resolve(page, access);
        #[cfg(feature = "mutants")]
        let result = self.mutated_result(page, result);
        let class = match result {
            Ok(resolved) => FaultClass::from(resolved),
            Err(kill) => FaultClass::from(kill),
        };
        let pa = result.ok().and_then(|_| self.table.walk(page)).map_or(0, |pte| pte.pa());
        arch::hint(Hint::FaultClassified, va, class as u64, pa);
        result
    }

    fn resolve(&mut self, page: u64, access: Access) -> Result<Resolved, Kill> {
        let region = self.regions.find(page).ok_or_else(|| self.nothing_at(page))?;
        allow(region, access)?;
        match self.table.walk_mut(page) {
            Some(pte) if permits(*pte, access) => {
                touch(pte, access);
                arch::sfence_vma(page);
                Ok(Resolved::Spurious)
            }
            Some(pte) if pte.is_cow() => self.break_cow(page),
            _ => self.fill(page, access),
        }
    }

    /// The name for an access where no region is.
    fn nothing_at(&self, page: u64) -> Kill {
        let floor = self.brk_page();
        let ceiling = self.regions.at_or_above(floor).map_or(TRAPFRAME, |region| region.start);
        match page {
            TRAPFRAME..MAXVA => Kill::Protection,
            _ if (floor..ceiling).contains(&page) => Kill::BeyondBreak,
            _ => Kill::Unmapped,
        }
    }

    /// Maps a page that its region promises, and that is absent.
    fn fill(&mut self, page: u64, access: Access) -> Result<Resolved, Kill> {
        let region = self.regions.find(page).ok_or(Kill::Unmapped)?;
        let mut flags = region.prot.pte_flags() | needed_flags(access);
        if region.backing.is_shared() {
            flags |= PTE_RSW_SHARED;
        }
        let (frame, resolved) = produce(region, page).ok_or(Kill::OutOfMemory)?;
        self.map_page(page, frame, flags).ok_or(Kill::OutOfMemory)?;
        arch::sfence_vma(page);
        Ok(resolved)
    }

    /// Makes a copy-on-write page writable: by copying it, unless nobody else has it any more.
    ///
    /// Two processes may do this for the same frame at once. Each gives up its own reference
    /// only after it has copied; so the frame lives as long as anyone copies it, and whoever
    /// still finds another reference makes a copy, which is never wrong.
    fn break_cow(&mut self, page: u64) -> Result<Resolved, Kill> {
        let frame = self.table.frame(page).ok_or(Kill::Unmapped)?;
        let copy = match frame.is_last() {
            true => None,
            false => Some(frame.duplicate(Owner::User).ok_or(Kill::OutOfMemory)?),
        };
        let pte = self.table.walk_mut(page).ok_or(Kill::Unmapped)?;
        pte.clear(PTE_RSW_COW);
        pte.set(PTE_W | PTE_A | PTE_D);
        let flags = pte.flags();
        let resolved = match copy {
            None => Resolved::CowLast,
            Some(copy) => {
                drop(self.table.replace(page, copy, flags));
                Resolved::CowCopy
            }
        };
        arch::sfence_vma(page);
        Ok(resolved)
    }

    /// The frame and offset behind a user address, for the kernel to access in the process's
    /// name: faults the page in if need be, and notes the access as the hardware would.
    pub(super) fn reach(&mut self, va: u64, access: Access) -> Result<*mut u8, Kill> {
        if va >= MAXVA {
            return Err(Kill::Unmapped);
        }
        if !self.table.walk(va).is_some_and(|pte| permits(*pte, access)) {
            self.fault(va, access)?;
        }
        let pte = self.table.walk_mut(va).ok_or(Kill::Unmapped)?;
        touch(pte, access);
        Ok(super::frame::pointer(pte.pa() + (va - page_down(va))))
    }
}

/// Whether the region allows the access.
fn allow(region: &Region, access: Access) -> Result<(), Kill> {
    match access {
        _ if matches!(region.backing, Backing::Guard) => Err(Kill::Guard),
        _ if region.prot.allows(access) => Ok(()),
        Access::Execute => Err(Kill::ExecNx),
        Access::Read | Access::Write => Err(Kill::Protection),
    }
}

/// The frame that a region promises for a page; `None` when memory is used up.
fn produce(region: &Region, page: u64) -> Option<(Frame, Resolved)> {
    let inside = page - region.start;
    match &region.backing {
        Backing::Shared(object, start) => {
            let (frame, source) = object.page(start + inside)?;
            let resolved = match source {
                Source::Present => Resolved::SharedJoin,
                Source::Zeroed => Resolved::Lazy,
                Source::Filled => Resolved::FileFill,
            };
            Some((frame, resolved))
        }
        Backing::File(file, start) => {
            // Beyond the end of the file the page stays zero.
            let mut frame = Frame::zeroed(Owner::User)?;
            file.read_page(start + inside, frame.bytes_mut());
            Some((frame, Resolved::FileFill))
        }
        Backing::Image | Backing::Guard | Backing::Stack | Backing::Heap | Backing::Anon => {
            Some((Frame::zeroed(Owner::User)?, Resolved::Lazy))
        }
    }
}

impl From<Resolved> for FaultClass {
    fn from(resolved: Resolved) -> FaultClass {
        match resolved {
            Resolved::Lazy => FaultClass::Lazy,
            Resolved::CowCopy => FaultClass::CowCopy,
            Resolved::CowLast => FaultClass::CowLast,
            Resolved::SharedJoin => FaultClass::SharedJoin,
            Resolved::FileFill => FaultClass::FileFill,
            Resolved::Spurious => FaultClass::Spurious,
        }
    }
}

impl From<Kill> for FaultClass {
    fn from(kill: Kill) -> FaultClass {
        match kill {
            Kill::Protection => FaultClass::Protection,
            Kill::Guard => FaultClass::Guard,
            Kill::BeyondBreak => FaultClass::BeyondBreak,
            Kill::ExecNx => FaultClass::ExecNx,
            Kill::Unmapped => FaultClass::Unmapped,
            Kill::OutOfMemory => FaultClass::OutOfMemory,
        }
    }
}
