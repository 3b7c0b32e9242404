//! The labs' classic mistakes, to be made on request: what goes wrong is printed, traced and
//! caught like the real thing.
//!
//! Compiled in only with the feature `mutants`, and chosen with the boot flag `mutant=a,b`. Each
//! mistake is made here, by hooks at the places where the kernel does it right, so that the
//! code there stays free of it.

use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering::Relaxed};

use abi::layout::PGSIZE;
use abi::mman::PTE_RSW_COW;

use super::frame::{self, Frame, JUNK_ALLOCATED, Owner, PAGE};
use super::pagetable::PTE_W;
use super::region::{Access, Backing, Prot, Region};
use super::{AddressSpace, Kill, Resolved, USER_END, page_down};
use crate::sync::SpinLock;

macro_rules! mutants {
    ($($variant:ident $name:literal: $doc:literal;)*) => {
        /// A mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u32)]
        pub enum Mutant {
            $(#[doc = $doc] $variant,)*
        }

        /// Every mistake, with the name that the boot flag knows it by.
        pub const ALL: &[(Mutant, &str)] = &[$((Mutant::$variant, $name)),*];
    };
}

mutants! {
    NoHandler "no_handler": "Lazy pages are promised, but the fault handler knows nothing of it.";
    UnmapPanics "unmap_panics": "Freeing memory expects every promised page to be mapped.";
    CopyPanics "copy_panics": "Forking expects every promised page to be mapped.";
    RegionNotFreed "region_not_freed": "Unmapping forgets a region, but not its pages.";
    SharedNotJoined "shared_not_joined": "Members of a shared object get frames of their own.";
    NoZero "no_zero": "Pages that the fault handler makes are not zeroed.";
    CopyoutNoFault "copyout_no_fault": "`copyout` knows mapped pages only.";
    CopyinstrNoFault "copyinstr_no_fault": "`copyinstr` knows mapped pages only.";
    ArgaddrOnePage "argaddr_one_page": "Only the first page of a buffer is faulted in.";
    CowNoRef "cow_no_ref": "Forking shares frames without counting references.";
    CowParentStaysW "cow_parent_stays_w": "Forking leaves the parent's pages writable.";
    CowNoSfence "cow_no_sfence": "The parent's TLB does not learn of the fork.";
    CowCopyoutSkips "cow_copyout_skips": "`copyout` writes into copy-on-write frames.";
    OomLeak "oom_leak": "A fork that fails keeps what it has allocated.";
    UnmapsharedFreeNow "unmapshared_free_now": "`unmapshared` frees the frame of all members.";
    ProtIgnored "prot_ignored": "`mmap` makes everything writable.";
}

/// The mistakes to make, one bit each.
static ACTIVE: AtomicU32 = AtomicU32::new(0);

/// Chooses mistakes by a list of names; names that mean nothing go to `unknown`.
pub fn choose(names: &str, mut unknown: impl FnMut(&str)) {
    let mut active = 0;
    for name in names.split(',') {
        match ALL.iter().find(|(_, known)| *known == name) {
            Some((mutant, _)) => active |= 1 << *mutant as u32,
            None => unknown(name),
        }
    }
    ACTIVE.store(active, Relaxed);
}

/// Whether a mistake is to be made.
pub fn active(mutant: Mutant) -> bool {
    ACTIVE.load(Relaxed) & 1 << mutant as u32 != 0
}

/// Faults.
impl AddressSpace {
    /// What becomes of a fault that was resolved.
    pub(super) fn mutated_result(
        &mut self,
        page: u64,
        result: Result<Resolved, Kill>,
    ) -> Result<Resolved, Kill> {
        let resolved = result?;
        let heap = self.regions.find(page).is_some_and(|r| matches!(r.backing, Backing::Heap));
        if heap && resolved == Resolved::Lazy && active(Mutant::NoHandler) {
            self.table.unmap(page..page + PGSIZE);
            return Err(Kill::Unmapped);
        }
        if resolved == Resolved::SharedJoin && active(Mutant::SharedNotJoined) {
            let own = Frame::zeroed(Owner::User).ok_or(Kill::OutOfMemory)?;
            let flags = self.table.walk(page).map_or(0, |pte| pte.flags());
            drop(self.table.replace(page, own, flags));
        }
        let fresh = match resolved {
            Resolved::Lazy => true,
            Resolved::SharedJoin => active(Mutant::SharedNotJoined),
            _ => false,
        };
        if fresh && active(Mutant::NoZero) {
            self.fill_with_junk(page);
        }
        Ok(resolved)
    }

    fn fill_with_junk(&self, page: u64) {
        if let Some(frame) = self.table.frame(page) {
            // SAFETY: a whole frame, mapped by this process.
            unsafe { frame.as_ptr().write_bytes(JUNK_ALLOCATED, PAGE) };
        }
    }

    fn is_absent(&self, va: u64) -> bool {
        va < USER_END && !self.table.walk(va).is_some_and(|pte| pte.is_valid())
    }

    /// What goes wrong before bytes are copied between kernel and user memory.
    pub(super) fn mutated_copy(&self, va: u64, bytes: usize, access: Access) -> Result<(), Kill> {
        let mut absent = (page_down(va)..va.saturating_add(bytes as u64))
            .step_by(PAGE)
            .filter(|&page| self.is_absent(page));
        let wrong = if active(Mutant::ArgaddrOnePage) {
            let first = Buffer::first_page(self.satp(), va, bytes as u64);
            absent.any(|page| page != first)
        } else {
            access == Access::Write && active(Mutant::CopyoutNoFault) && absent.next().is_some()
        };
        if wrong { Err(Kill::Unmapped) } else { Ok(()) }
    }

    /// What goes wrong before a part of a string is copied from user memory.
    pub(super) fn mutated_copyinstr(&self, va: u64) -> Result<(), Kill> {
        match active(Mutant::CopyinstrNoFault) && self.is_absent(va) {
            true => Err(Kill::Unmapped),
            false => Ok(()),
        }
    }

    /// Where `copyout` writes to; possibly without a look at the copy-on-write mark.
    pub(super) fn mutated_reach(&mut self, va: u64) -> Result<*mut u8, Kill> {
        match self.table.walk(page_down(va.min(USER_END))) {
            Some(pte) if pte.is_cow() && active(Mutant::CowCopyoutSkips) => {
                Ok(frame::pointer(pte.pa() + va % PGSIZE))
            }
            _ => self.reach(va, Access::Write),
        }
    }
}

/// The buffer of a system call, which the kernel may copy in pieces.
#[derive(Clone, Copy)]
struct Buffer {
    satp: u64,
    start: u64,
    /// Where the next piece begins.
    next: u64,
}

/// The buffer that was copied last.
static BUFFER: SpinLock<Buffer> = SpinLock::new("buffer", Buffer { satp: 0, start: 0, next: 0 });

impl Buffer {
    /// The first page of the buffer of which these bytes are a piece.
    fn first_page(satp: u64, va: u64, bytes: u64) -> u64 {
        let mut last = BUFFER.lock();
        if last.satp != satp || last.next != va {
            last.start = va;
        }
        (last.satp, last.next) = (satp, va.wrapping_add(bytes));
        page_down(last.start)
    }
}

/// A system call begins: what it copies is not the rest of an earlier call's buffer.
pub fn call_begins() {
    BUFFER.lock().satp = 0;
}

/// Fork.
impl AddressSpace {
    /// What goes wrong before anything is copied.
    pub(super) fn mutated_fork(&self) {
        if !active(Mutant::CopyPanics) {
            return;
        }
        for page in (0..self.brk_page()).step_by(PAGE) {
            match self.table.walk(page) {
                None => panic!("uvmcopy: pte should exist"),
                Some(pte) if !pte.is_valid() => panic!("uvmcopy: page not present"),
                Some(_) => {}
            }
        }
    }

    /// What goes wrong with the pages of shared objects. Those that the parent has are mapped in
    /// the child; the others will not be joined.
    pub(super) fn mutated_shared_pages(&mut self, child: &mut AddressSpace) -> Option<()> {
        if !active(Mutant::SharedNotJoined) {
            return Some(());
        }
        let is_shared = |region: &&Region| region.backing.is_shared();
        self.regions.iter().filter(is_shared).try_for_each(|region| {
            self.table.visit_frames(region.range(), |va, pte, frame| {
                child.map_page(va, frame.share(), pte.flags())
            })
        })
    }

    /// What goes wrong with the parent's pages; whether its TLB is flushed.
    pub(super) fn mutated_parent(&mut self, cow: bool) -> bool {
        if active(Mutant::CowParentStaysW) {
            self.table.visit(0..USER_END, |_, pte| {
                if pte.is_cow() {
                    pte.set(PTE_W);
                    pte.clear(PTE_RSW_COW);
                }
            });
        }
        cow && !active(Mutant::CowNoSfence)
    }
}

/// The child's memory; if the child was not born, it is lost.
pub(super) fn mutated_child(child: AddressSpace, born: Option<()>) -> Option<AddressSpace> {
    if born.is_none() && active(Mutant::OomLeak) {
        core::mem::forget(child);
        return None;
    }
    Some(child)
}

/// A reference for the child; if it is not counted, the frame has two owners who both think
/// they are the only one.
pub(super) fn mutated_share(frame: &Frame) -> Frame {
    match active(Mutant::CowNoRef) {
        // SAFETY: none; that is the mistake.
        true => unsafe { Frame::from_raw(frame.pa()) },
        false => frame.share(),
    }
}

/// Unmapping.
impl AddressSpace {
    /// What goes wrong before pages of the heap are given back.
    pub(super) fn mutated_shrink(&self, pages: Range<u64>) {
        if active(Mutant::UnmapPanics) && pages.step_by(PAGE).any(|page| self.is_absent(page)) {
            panic!("uvmunmap: not mapped");
        }
    }

    /// Whether the pages of a mapping stay when it is unmapped.
    pub(super) fn mutated_munmap(&self) -> bool {
        active(Mutant::RegionNotFreed)
    }

    /// What goes wrong when all memory is given back.
    pub(super) fn mutated_release(&mut self) {
        self.mutated_shrink(0..self.brk_page());
        if active(Mutant::RegionNotFreed) {
            self.table.visit(self.brk_page()..USER_END, |_, pte| {
                assert!(!pte.is_valid(), "freewalk: leaf");
            });
        }
    }

    /// What goes wrong when the page at `va` is no longer shared.
    pub(super) fn mutated_unmapshared(&mut self, va: u64) {
        if active(Mutant::UnmapsharedFreeNow) {
            self.table.visit(va..va + PGSIZE, |_, pte| {
                if pte.is_valid() {
                    frame::mutated_free(core::mem::take(pte).pa());
                }
            });
        }
    }
}

/// What `mmap` makes of the protection that it is asked for.
pub(super) fn mutated_prot(prot: Prot) -> Prot {
    if active(Mutant::ProtIgnored) { Prot::RW } else { prot }
}
