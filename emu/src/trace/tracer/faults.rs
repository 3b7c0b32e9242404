//! Faults between trap and return.

use std::sync::Arc;

use isa::Priv;

use super::infer::{outcome, reason_of};
use super::{MAX_PENDING, Tracer, key_of};
use crate::events::View;
use crate::trace::peek;
use crate::trace::record::{Access, Fault, Moment, Outcome, Place, Reason, Record, Via, Who};

/// Where a fault can be open: in a process's own code, in the kernel's on its behalf, or in a
/// system call that walks the table by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Slot {
    User(i64),
    /// By hart: the kernel may not know a process yet.
    Kernel(usize),
    Soft(i64),
}

/// A fault between trap and return.
pub(super) struct Open {
    pub fault: Fault,
    /// The table that it is about.
    pub satp: u64,
    pub before: peek::Seen,
    pub allocated: Vec<u64>,
    /// References to the frame before, when the kernel said so.
    pub refs: Option<u32>,
    /// There was no trap.
    pub soft: bool,
    retired: u64,
}

/// The faults that are open: few, as most are over before the next one begins.
#[derive(Default)]
pub(super) struct OpenFaults(Vec<(Slot, Open)>);

impl OpenFaults {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn position(&self, slot: Slot) -> Option<usize> {
        self.0.iter().rposition(|(other, _)| *other == slot)
    }

    fn get(&self, slot: Slot) -> Option<&Open> {
        self.position(slot).map(|at| &self.0[at].1)
    }

    /// Returns one that gives way: the one that was there before, or the oldest when there are too
    /// many that never return.
    fn insert(&mut self, slot: Slot, open: Open) -> Option<Open> {
        let full = self.0.len() >= MAX_PENDING;
        let older = self.remove(slot).or_else(|| full.then(|| self.0.remove(0).1));
        self.0.push((slot, open));
        older
    }

    fn remove(&mut self, slot: Slot) -> Option<Open> {
        self.position(slot).map(|at| self.0.swap_remove(at).1)
    }
}

/// A fault of user code of which nothing is known yet but what was attempted.
fn begun(at: Moment, who: Who, place: Arc<Place>, va: u64, access: Access, via: Via) -> Fault {
    Fault {
        at,
        who,
        place,
        user: true,
        access,
        va,
        reason: Reason::Invalid,
        level: 0,
        pte: 0,
        via,
        outcome: Outcome::NeverReturned,
        cost: None,
        returned: None,
        allocated: 0,
        freed: 0,
        free: None,
        class: None,
    }
}

impl Tracer {
    // Beside the calls, whose path it would make longer.
    #[inline(never)]
    pub(super) fn open_fault(&mut self, view: &View, pc: u64, from: Priv) {
        self.fault_traps += 1;
        let Some(refused) = self.harts[view.hart.id].refused.take() else { return };
        if !self.kinds.faults {
            return;
        }
        let (at, who) = (self.moment(view), self.who(view));
        let (satp, user) = (who.satp, from == Priv::User);
        let place = self.place(view.ram(), pc, satp, user);
        let key = key_of(who.pid, satp);
        let slot = if user { Slot::User(key) } else { Slot::Kernel(view.hart.id) };
        if user {
            self.harts[view.hart.id].handling = Some(key);
        }
        let before = peek::look(view.ram(), satp, refused.va).unwrap_or_default();
        let fault = Fault {
            user,
            reason: refused.reason,
            level: u32::from(refused.level),
            pte: refused.pte.0,
            ..begun(at, who, place, refused.va, refused.access, Via::Trap)
        };
        let retired = view.hart.retired();
        let open =
            Open { fault, satp, before, allocated: Vec::new(), refs: None, soft: false, retired };
        if let Some(older) = self.open.insert(slot, open) {
            // A second fault of the same kind while the first is handled.
            self.emit_fault(older.fault);
        }
    }

    /// A system call begins to see to a page that it needs. `satp`: the table.
    pub(super) fn open_soft(&mut self, view: &View, va: u64, satp: u64, access: Access) {
        let before = peek::look(view.ram(), satp, va).unwrap_or_default();
        if let Some(open) = self.soft(view, va, satp, access, before)
            && let Some(older) = self.open.insert(Slot::Soft(self.key(view)), open)
        {
            self.emit_fault(older.fault);
        }
    }

    /// A system call has seen to a page, and it shows only afterwards.
    pub(super) fn found_soft(
        &mut self,
        view: &View,
        (va, before): (u64, peek::Seen),
        satp: u64,
        access: Access,
        allocated: Vec<u64>,
    ) {
        if let Some(mut open) = self.soft(view, va, satp, access, before) {
            open.allocated = allocated;
            open.fault.outcome = outcome(view.ram(), &open, self.free.is_some());
            open.fault.free = self.free;
            self.emit_fault(open.fault);
        }
    }

    /// A page that a system call of the running process needs; nothing outside of system calls.
    fn soft(
        &mut self,
        view: &View,
        va: u64,
        satp: u64,
        access: Access,
        before: peek::Seen,
    ) -> Option<Open> {
        let key = self.key(view);
        if !self.kinds.faults || self.open.get(Slot::User(key)).is_some() {
            return None;
        }
        let call = self.calls.of(key)?;
        let via = Via::Syscall { number: call.number, name: call.name() };
        let (pc, space) = (call.pc, call.satp);
        let who = Who { satp: space, ..self.who(view) };
        let place = self.place(view.ram(), pc, space, true);
        let canonical = peek::is_canonical(satp, va);
        let fault = Fault {
            reason: if canonical { reason_of(before.pte, access) } else { Reason::NotCanonical },
            level: before.level,
            pte: before.pte,
            ..begun(self.moment(view), who, place, va, access, via)
        };
        let retired = view.hart.retired();
        Some(Open { fault, satp, before, allocated: Vec::new(), refs: None, soft: true, retired })
    }

    /// The system call has seen to the page, or cannot. Returns the page.
    pub(super) fn close_soft(&mut self, view: &View) -> Option<u64> {
        let open = self.open.remove(Slot::Soft(self.key(view)))?;
        let va = open.fault.va;
        self.finish(view, open);
        Some(va)
    }

    /// The fault that a hart is busy with.
    pub(super) fn handled(&mut self, view: &View) -> Option<&mut Open> {
        if self.open.is_empty() {
            return None;
        }
        let key = self.key(view);
        let slots = [Slot::Soft(key), Slot::Kernel(view.hart.id), Slot::User(key)];
        let at = slots.into_iter().find_map(|slot| self.open.position(slot))?;
        Some(&mut self.open.0[at].1)
    }

    /// The process is back in user mode.
    pub(super) fn user_returned(&mut self, view: &View, key: i64) {
        let Some(open) = self.open.remove(Slot::User(key)) else { return };
        let same_space = view.hart.csr.satp.bits() == open.satp;
        let same_place = view.hart.ctx.pc == open.fault.place.pc;
        if same_space && (same_place || open.fault.who.pid.is_some()) {
            self.finish(view, open);
        } else {
            // Something else runs there: what faulted is gone.
            self.killed(open);
        }
    }

    /// The kernel goes on behind a trap of its own.
    pub(super) fn kernel_returned(&mut self, view: &View) {
        let slot = Slot::Kernel(view.hart.id);
        let returns = |open: &Open| open.fault.place.pc == view.hart.ctx.pc;
        if self.open.get(slot).is_some_and(returns)
            && let Some(open) = self.open.remove(slot)
        {
            self.finish(view, open);
        }
    }

    fn finish(&mut self, view: &View, mut open: Open) {
        let at = self.moment(view);
        open.fault.outcome = outcome(view.ram(), &open, self.free.is_some());
        open.fault.returned = Some(at.ns);
        let same_hart = at.hart == open.fault.at.hart;
        open.fault.cost = same_hart.then(|| view.hart.retired() - open.retired);
        open.fault.free = self.free;
        self.emit_fault(open.fault);
    }

    /// The process ends: so do its faults.
    pub(super) fn close_killed(&mut self, key: i64) {
        for slot in [Slot::Soft(key), Slot::User(key)] {
            if let Some(open) = self.open.remove(slot) {
                self.killed(open);
            }
        }
    }

    fn killed(&mut self, mut open: Open) {
        open.fault.outcome = Outcome::Killed;
        open.fault.free = self.free;
        self.emit_fault(open.fault);
    }

    /// Nothing comes any more.
    pub(super) fn close_open(&mut self) {
        let mut open = std::mem::take(&mut self.open.0);
        open.sort_by_key(|(slot, open)| (open.fault.at.insns, *slot));
        for (_, open) in open {
            self.emit_fault(open.fault);
        }
    }

    pub(super) fn emit_fault(&mut self, fault: Fault) {
        self.emit(Record::Fault(fault));
    }
}
