//! The complete list of what an observer can learn from the machine while it runs.
//!
//! Every event has an empty default body and is called statically, so that an observer which does
//! not implement an event does not cost anything. Observers see the hart, they cannot change it:
//! a run is the same with and without one. What would cost something on every instruction or
//! access is behind a constant.

use isa::paging::Satp;
use isa::trap::Cause;
use isa::{Inst, Priv};

use crate::hart::Hart;
use crate::mem::Ram;
use crate::mmu::{Access, Fault, Leaf};

/// An observer.
pub trait Events {
    /// Whether [`Events::inst_executed`] is called.
    const INSNS: bool = false;
    /// Whether [`Events::accessed`] is called for every access; the fast TLB is not used then.
    const ACCESSES: bool = false;

    /// A trap was taken; the hart is at the first instruction of the handler, in its mode. `pc`
    /// and `from` are where it was.
    fn trap_taken(&mut self, hart: &Hart, cause: Cause, tval: u64, pc: u64, from: Priv) {
        let _ = (hart, cause, tval, pc, from);
    }

    /// `sret` or `mret` at `pc` was executed; the hart is where it leads.
    fn trap_returned(&mut self, hart: &Hart, pc: u64) {
        let _ = (hart, pc);
    }

    /// The instruction at `pc` will trap with a page fault; the trap follows.
    fn page_faulted(&mut self, hart: &Hart, pc: u64, fault: &Fault) {
        let _ = (hart, pc, fault);
    }

    /// The instruction at `pc` will trap with an access fault; the trap follows.
    fn access_faulted(&mut self, hart: &Hart, pc: u64, fault: &Fault) {
        let _ = (hart, pc, fault);
    }

    /// The page tables were walked and allow the access; the engine may now access the page
    /// without asking again, until it is told to forget.
    fn walked(&mut self, hart: &Hart, va: u64, access: Access, leaf: &Leaf) {
        let _ = (hart, va, access, leaf);
    }

    /// The hart set A, or A and D, of a PTE.
    fn pte_updated(&mut self, hart: &Hart, va: u64, leaf: &Leaf) {
        let _ = (hart, va, leaf);
    }

    /// `satp` was written.
    fn satp_written(&mut self, hart: &Hart, old: Satp, new: Satp) {
        let _ = (hart, old, new);
    }

    /// `sfence.vma` or `sinval.vma` was executed, for one address and one address space or for
    /// all of them.
    fn translations_fenced(&mut self, hart: &Hart, va: Option<u64>, asid: Option<u16>) {
        let _ = (hart, va, asid);
    }

    /// The guest executed the hint `slti x0, a0, kind`; the payload is in a0 to a2.
    fn hinted(&mut self, hart: &Hart, ram: &Ram, pc: u64, kind: i32) {
        let _ = (hart, ram, pc, kind);
    }

    /// The hart is about to execute this instruction (decoded: destinations that are `x0` are
    /// [`crate::hart::state::SINK`], targets of branches count from the block's start).
    fn inst_executed(&mut self, hart: &Hart, pc: u64, inst: &Inst) {
        let _ = (hart, pc, inst);
    }

    /// A load or store was translated, to `pa`.
    fn accessed(&mut self, hart: &Hart, va: u64, pa: u64, access: Access) {
        let _ = (hart, va, pa, access);
    }
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvents;

impl Events for NoEvents {}
