//! Faults between trap and return.

use isa::Priv;

use super::infer::{outcome, reason_of};
use super::on_hart::Process;
use super::{MAX_PENDING, Spot, Tracer, key_of};
use crate::events::View;
use crate::trace::notes::FaultNote;
use crate::trace::peek;
use crate::trace::record::{Access, Moment, Outcome, Reason};

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
    pub fault: FaultNote,
    process: Process,
    /// The instruction that faulted.
    spot: Spot,
    /// The table that it is about.
    pub satp: u64,
    pub before: peek::Seen,
    pub allocated: Allocated,
    /// References to the frame before, when the kernel said so.
    pub refs: Option<u32>,
    /// There was no trap.
    pub soft: bool,
    retired: u64,
    /// When the hart went to another process's code before this one was over, in instructions.
    away: Option<u64>,
}

/// Frames that were allocated; rarely more than a page and the tables on the way to it.
#[derive(Default)]
pub(super) struct Allocated {
    few: [u64; 4],
    count: usize,
    more: Vec<u64>,
}

impl Allocated {
    pub fn push(&mut self, pa: u64) {
        match self.few.get_mut(self.count) {
            Some(place) => {
                *place = pa;
                self.count += 1;
            }
            None => self.more.push(pa),
        }
    }

    pub fn contains(&self, pa: u64) -> bool {
        self.few[..self.count].contains(&pa) || self.more.contains(&pa)
    }
}

/// Faults' memory that is kept for later ones.
const MAX_SPARE: usize = 16;

/// The faults that are open: few, as most are over before the next one begins.
#[derive(Default)]
pub(super) struct OpenFaults {
    open: Vec<(Slot, Box<Open>)>,
    /// Memory of earlier ones.
    #[expect(clippy::vec_box, reason = "they move from list to list")]
    spare: Vec<Box<Open>>,
}

impl OpenFaults {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// A hart is in the code of a process: the faults of others that it was busy with wait.
    pub fn wait_for(&mut self, key: i64, hart: u32, retired: u64) {
        for (slot, open) in &mut self.open {
            if open.fault.at.hart == hart
                && !matches!(slot, Slot::User(k) | Slot::Soft(k) if *k == key)
            {
                open.away.get_or_insert(retired);
            }
        }
    }

    fn position(&self, slot: Slot) -> Option<usize> {
        self.open.iter().rposition(|(other, _)| *other == slot)
    }

    fn get(&self, slot: Slot) -> Option<&Open> {
        self.position(slot).map(|at| &*self.open[at].1)
    }

    /// Returns one that gives way: the one that was there before, or the oldest when there are too
    /// many that never return.
    fn insert(&mut self, slot: Slot, open: Box<Open>) -> Option<Box<Open>> {
        let full = self.open.len() >= MAX_PENDING;
        let older = self.remove(slot).or_else(|| full.then(|| self.open.remove(0).1));
        self.open.push((slot, open));
        older
    }

    fn remove(&mut self, slot: Slot) -> Option<Box<Open>> {
        self.position(slot).map(|at| self.open.swap_remove(at).1)
    }

    fn boxed(&mut self, open: Open) -> Box<Open> {
        match self.spare.pop() {
            Some(mut place) => {
                *place = open;
                place
            }
            None => Box::new(open),
        }
    }

    fn reuse(&mut self, open: Box<Open>) {
        if self.spare.len() < MAX_SPARE {
            self.spare.push(open);
        }
    }
}

/// A fault of user code of which nothing is known yet but what was attempted.
fn begun(at: Moment, satp: u64, va: u64, access: Access) -> FaultNote {
    FaultNote {
        at,
        satp,
        place: 0,
        user: true,
        access,
        reason: Reason::Invalid,
        level: 0,
        va,
        pte: 0,
        call: None,
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
        let (at, process) = (self.moment(view), self.process(view));
        let (satp, user) = (view.hart.csr.satp.bits(), from == Priv::User);
        let spot = self.spot(view.ram(), pc, satp, user);
        let key = key_of(process.pid, satp);
        let slot = if user { Slot::User(key) } else { Slot::Kernel(view.hart.id) };
        if user {
            self.harts[view.hart.id].handling = Some(key);
        }
        let before = peek::look(view.ram(), satp, refused.va).unwrap_or_default();
        let fault = FaultNote {
            user,
            reason: refused.reason,
            level: u32::from(refused.level),
            pte: refused.pte.0,
            ..begun(at, satp, refused.va, refused.access)
        };
        let (retired, allocated) = (view.hart.retired(), Allocated::default());
        let (refs, soft, away) = (None, false, None);
        let open =
            Open { fault, process, spot, satp, before, allocated, refs, soft, retired, away };
        let open = self.open.boxed(open);
        if let Some(older) = self.open.insert(slot, open) {
            // A second fault of the same kind while the first is handled.
            self.emit_fault(older);
        }
    }

    /// A system call begins to see to a page that it needs. `satp`: the table.
    pub(super) fn open_soft(&mut self, view: &View, va: u64, satp: u64, access: Access) {
        // The kernel says so of traps as well.
        if self.open.get(Slot::User(self.key(view))).is_some() {
            return;
        }
        let before = peek::look(view.ram(), satp, va).unwrap_or_default();
        if let Some(open) = self.soft(view, va, satp, access, before)
            && let Some(older) = self.open.insert(Slot::Soft(self.key(view)), open)
        {
            self.emit_fault(older);
        }
    }

    /// A system call has seen to a page, and it shows only afterwards.
    pub(super) fn found_soft(
        &mut self,
        view: &View,
        (va, before): (u64, peek::Seen),
        satp: u64,
        access: Access,
        allocated: &[u64],
    ) {
        if let Some(mut open) = self.soft(view, va, satp, access, before) {
            allocated.iter().for_each(|pa| open.allocated.push(*pa));
            open.fault.outcome = outcome(view.ram(), &open, self.free.is_some());
            open.fault.free = self.free;
            self.emit_fault(open);
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
    ) -> Option<Box<Open>> {
        let key = self.key(view);
        if !self.kinds.faults || self.open.get(Slot::User(key)).is_some() {
            return None;
        }
        let call = self.calls.of(key)?;
        let (number, pc, space) = (call.number, call.pc, call.satp);
        let process = self.process(view);
        let spot = self.spot(view.ram(), pc, space, true);
        let canonical = peek::is_canonical(satp, va);
        let fault = FaultNote {
            call: Some(number),
            reason: if canonical { reason_of(before.pte, access) } else { Reason::NotCanonical },
            level: before.level,
            pte: before.pte,
            ..begun(self.moment(view), space, va, access)
        };
        let (retired, allocated) = (view.hart.retired(), Allocated::default());
        let (refs, soft, away) = (None, true, None);
        let open =
            Open { fault, process, spot, satp, before, allocated, refs, soft, retired, away };
        Some(self.open.boxed(open))
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
        Some(&mut self.open.open[at].1)
    }

    /// The process is back in user mode.
    pub(super) fn user_returned(&mut self, view: &View, key: i64) {
        let Some(open) = self.open.remove(Slot::User(key)) else { return };
        let same_space = view.hart.csr.satp.bits() == open.satp;
        let same_place = view.hart.ctx.pc == open.spot.pc;
        if same_space && (same_place || open.process.pid.is_some()) {
            self.finish(view, open);
        } else {
            // Something else runs there: what faulted is gone.
            self.killed(open);
        }
    }

    /// The kernel goes on behind a trap of its own.
    pub(super) fn kernel_returned(&mut self, view: &View) {
        let slot = Slot::Kernel(view.hart.id);
        let returns = |open: &Open| open.spot.pc == view.hart.ctx.pc;
        if self.open.get(slot).is_some_and(returns)
            && let Some(open) = self.open.remove(slot)
        {
            self.finish(view, open);
        }
    }

    fn finish(&mut self, view: &View, mut open: Box<Open>) {
        let at = self.moment(view);
        open.fault.outcome = outcome(view.ram(), &open, self.free.is_some());
        open.fault.returned = Some(at.ns);
        let same_hart = at.hart == open.fault.at.hart;
        // From when another process's code was first entered until it was left for the last time.
        let entered = self.harts[view.hart.id].entered;
        let others = open.away.map_or(0, |away| entered.saturating_sub(away));
        open.fault.cost = same_hart.then(|| view.hart.retired() - open.retired - others);
        open.fault.free = self.free;
        self.emit_fault(open);
    }

    /// The process ends: so do its faults.
    pub(super) fn close_killed(&mut self, key: i64) {
        for slot in [Slot::Soft(key), Slot::User(key)] {
            if let Some(open) = self.open.remove(slot) {
                self.killed(open);
            }
        }
    }

    fn killed(&mut self, mut open: Box<Open>) {
        open.fault.outcome = Outcome::Killed;
        open.fault.free = self.free;
        self.emit_fault(open);
    }

    /// Nothing comes any more.
    pub(super) fn close_open(&mut self) {
        let mut open = std::mem::take(&mut self.open.open);
        open.sort_by_key(|(slot, open)| (open.fault.at.insns, *slot));
        for (_, open) in open {
            self.emit_fault(open);
        }
    }

    fn emit_fault(&mut self, open: Box<Open>) {
        self.end_run();
        let place = || self.guest.place(open.spot);
        self.outputs.fault(&open.fault, &open.process, open.spot, place);
        self.open.reuse(open);
    }
}
