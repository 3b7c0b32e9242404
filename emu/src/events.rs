//! The complete list of what an observer can learn from the machine while it runs.
//!
//! Every event has an empty default body and is called statically, so that an observer which does
//! not implement an event does not cost anything. Observers see the hart, they cannot change it:
//! a run is the same with and without one. What would cost something on every instruction or
//! access is behind a constant.

use isa::paging::Satp;
use isa::trap::Cause;
use isa::{Inst, Priv};

use crate::exec::System;
use crate::hart::Hart;
use crate::mem::Ram;
use crate::mmu::{Access, Fault, Leaf};

/// What an observer sees besides the event itself.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The hart that it happened on.
    pub hart: &'a Hart,
    /// Memory, devices and time.
    pub sys: &'a System,
}

impl View<'_> {
    /// Guest memory.
    pub fn ram(&self) -> &Ram {
        &self.sys.bus.ram
    }

    /// Virtual time in nanoseconds since reset.
    pub fn ns(&self) -> u64 {
        self.sys.clock.nanoseconds(self.hart.retired())
    }

    /// Instructions that all harts retired since reset.
    pub fn insns(&self) -> u64 {
        self.sys.clock.total(self.hart.retired())
    }
}

/// What an observer wants of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// Physical addresses of pages, and whether stores to them are to be told from now on.
    pub pages: Vec<(u64, bool)>,
    /// The machine is to stop behind the present instruction, or in front of the block that it was
    /// about to enter.
    pub stop: bool,
    /// What the hart must not access again without [`Events::accessed`].
    pub forget: Vec<Forget>,
}

/// Translations that a hart remembers no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forget {
    /// All of them.
    All,
    /// Those of the 2^`shift` bytes at `va`, in every address space.
    Page {
        /// The virtual address.
        va: u64,
        /// 12 for a page of 4 KiB.
        shift: u32,
        /// For fetches, or else for loads and stores.
        fetch: bool,
    },
}

/// An observer.
pub trait Events {
    /// Whether [`Events::inst_executed`] is called.
    const INSNS: bool = false;
    /// Whether [`Events::accessed`] is called for every access; the fast TLB is not used then.
    const ACCESSES: bool = false;
    /// Whether [`Events::accessed`] is called for each access that the engine does not remember as
    /// allowed, and [`Events::take_wishes`] after it: the observer can make the engine forget.
    const MISSES: bool = false;
    /// Whether [`Events::walked`] is called anew after every fence, although nothing changed.
    const WALKS: bool = false;
    /// Whether [`Events::translations_fenced`] is called by all means; a translated fence does
    /// nothing else.
    const FENCES: bool = true;
    /// Whether [`Events::trap_returned`] is called by all means; a translated return calls nobody.
    const RETURNS: bool = true;
    /// Whether [`Events::probed`] is called.
    const PROBES: bool = false;
    /// Whether [`Events::take_wishes`] is called after events, and [`Events::stored`] for the
    /// pages that were wished for.
    const STORES: bool = false;

    /// Whether [`Events::hinted`] does something about hints of this kind: where it does not, a
    /// translated one is nothing at all.
    fn hears(kind: i32) -> bool {
        let _ = kind;
        true
    }

    /// Physical addresses of instructions that [`Events::probed`] is called for; asked once, before
    /// the machine runs.
    fn probes(&self) -> Vec<u64> {
        Vec::new()
    }

    /// The hart is about to execute an instruction that [`Events::probes`] named.
    fn probed(&mut self, view: &View, pc: u64) {
        let _ = (view, pc);
    }

    /// What the observer wants since it was asked last.
    fn take_wishes(&mut self) -> Wishes {
        Wishes::default()
    }

    /// A hart stored `length` bytes to a page that was wished for; [`Hart::at`] is where.
    fn stored(&mut self, view: &View, va: u64, pa: u64, length: u64) {
        let _ = (view, va, pa, length);
    }

    /// Between turns, when there is time for the observer's own affairs. Returns whether the run is
    /// to end because it cannot go on.
    fn pause(&mut self) -> bool {
        false
    }

    /// What the observer knows of `topic`, for a person who asks at the monitor: `proc`, `frames`
    /// or `tlb`.
    fn tell(&self, topic: &str, ram: &Ram) -> Option<String> {
        let _ = (topic, ram);
        None
    }

    /// A trap was taken; the hart is at the first instruction of the handler, in its mode. `pc`
    /// and `from` are where it was.
    fn trap_taken(&mut self, view: &View, cause: Cause, tval: u64, pc: u64, from: Priv) {
        let _ = (view, cause, tval, pc, from);
    }

    /// `sret` or `mret` at `pc` was executed; the hart is where it leads.
    fn trap_returned(&mut self, view: &View, pc: u64) {
        let _ = (view, pc);
    }

    /// The instruction at `pc` will trap with a page fault; the trap follows.
    fn page_faulted(&mut self, view: &View, pc: u64, fault: &Fault) {
        let _ = (view, pc, fault);
    }

    /// The instruction at `pc` will trap with an access fault; the trap follows.
    fn access_faulted(&mut self, view: &View, pc: u64, fault: &Fault) {
        let _ = (view, pc, fault);
    }

    /// The page tables were walked and allow the access; the engine may now access the page
    /// without asking again, until the tables change or, with [`Events::WALKS`], a fence.
    fn walked(&mut self, view: &View, va: u64, access: Access, leaf: &Leaf) {
        let _ = (view, va, access, leaf);
    }

    /// The hart set A, or A and D, of a PTE.
    fn pte_updated(&mut self, view: &View, va: u64, leaf: &Leaf) {
        let _ = (view, va, leaf);
    }

    /// `satp` was written.
    fn satp_written(&mut self, view: &View, old: Satp, new: Satp) {
        let _ = (view, old, new);
    }

    /// `sfence.vma` or `sinval.vma` was executed, for one address and one address space or for
    /// all of them.
    fn translations_fenced(&mut self, view: &View, va: Option<u64>, asid: Option<u16>) {
        let _ = (view, va, asid);
    }

    /// The guest executed the hint `slti x0, a0, kind`; the payload is in a0 to a2.
    fn hinted(&mut self, view: &View, pc: u64, kind: i32) {
        let _ = (view, pc, kind);
    }

    /// The hart is about to execute this instruction (decoded: destinations that are `x0` are
    /// [`crate::hart::state::SINK`], targets of branches count from the block's start).
    fn inst_executed(&mut self, view: &View, pc: u64, inst: &Inst) {
        let _ = (view, pc, inst);
    }

    /// An access was translated, to `pa`, and is allowed. Fetches are told when a block or an
    /// instruction is looked for; the latter is for sure executed only if no trap follows.
    fn accessed(&mut self, view: &View, va: u64, pa: u64, access: Access) {
        let _ = (view, va, pa, access);
    }
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvents;

impl Events for NoEvents {
    const FENCES: bool = false;
    const RETURNS: bool = false;

    fn hears(_kind: i32) -> bool {
        false
    }
}
