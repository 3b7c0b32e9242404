//! Frames that are allocated and freed: what happens most of all, so runs of them are one record.

use super::{Origin, Spot, Tracer};
use crate::events::View;
use crate::trace::notes::RunNote;
use crate::trace::record::{Change, FRAME_SHIFT, Frame, MAX_CALLERS, Moment, Record};

/// Frames in one record.
const MAX_RUN: usize = 128;

/// The run of frames that the next one may belong to.
#[derive(Default)]
pub(super) struct Run {
    note: RunNote,
    /// When the last was.
    last: Moment,
    /// Which of the hart's processes it is: [`super::on_hart::OnHart::whose`].
    whose: u64,
    /// Return addresses into the callers.
    from: Vec<u64>,
    /// Which of them the last was.
    caller: usize,
}

impl Run {
    fn takes(&self, change: Change, at: Moment, whose: u64, free: u64) -> bool {
        let run = &self.note;
        let expected = match change {
            Change::Allocated => run.free.wrapping_sub(1),
            Change::Freed => run.free.wrapping_add(1),
        };
        let (insns, ns) = (at.insns - self.last.insns, at.ns - self.last.ns);
        (1..MAX_RUN).contains(&run.frames)
            && (run.at.hart, self.whose, expected) == (at.hart, whose, free)
            && insns.max(ns) <= u32::MAX.into()
            && run.callers < MAX_CALLERS
    }
}

impl Tracer {
    /// A frame, and how many are free now. `back`: where the allocator returns to.
    pub(super) fn frame_allocated(&mut self, view: &View, (pa, free): (u64, u64), back: u64) {
        (self.free, self.allocates) = (Some(free), true);
        let (_, least) = self.free_range.get_or_insert((free + 1, free));
        *least = free.min(*least);
        if let Some(open) = self.handled(view) {
            open.allocated.push(pa);
            open.fault.allocated += 1;
        } else if !self.copying.is_empty() {
            self.allocated_in_copy(self.key(view), pa);
        }
        self.frame(view, Change::Allocated, (pa, free), back);
    }

    /// The same of one that was freed.
    pub(super) fn frame_freed(&mut self, view: &View, (pa, free): (u64, u64), back: u64) {
        self.free = Some(free);
        if !self.allocates {
            return;
        }
        if let Some(open) = self.handled(view) {
            open.fault.freed += 1;
        }
        self.frame(view, Change::Freed, (pa, free), back);
    }

    fn frame(&mut self, view: &View, change: Change, (pa, free): (u64, u64), back: u64) {
        if !self.kinds.frames {
            return;
        }
        let at = self.moment(view);
        let hart = &mut self.harts[view.hart.id];
        let whose = hart.whose(self.guest.reader.as_ref(), view);
        if !self.run.takes(change, at, whose, free) {
            self.end_run();
            self.outputs.begin_run(self.harts[view.hart.id].last());
            (self.run.note.at, self.run.note.satp) = (at, view.hart.csr.satp.bits());
            (self.run.last, self.run.whose) = (at, whose);
        }
        let caller = self.caller(back);
        let run = &mut self.run;
        let (insns, ns) = ((at.insns - run.last.insns) as u32, (at.ns - run.last.ns) as u32);
        (run.last, run.note.free) = (at, free);
        run.note.frames += 1;
        let pa = pa >> FRAME_SHIFT << FRAME_SHIFT;
        self.outputs.frame(Frame { pa, insns, ns, caller, change });
    }

    /// Which of the run's callers it is that the allocator returns to.
    fn caller(&mut self, from: u64) -> u8 {
        let run = &mut self.run;
        if run.from.get(run.caller) != Some(&from) {
            run.caller = run.from.iter().position(|other| *other == from).unwrap_or_else(|| {
                let known = self.guest.kernel.is_some();
                let origin = if known { Origin::Call } else { Origin::Unknown };
                let spot = Spot { origin, pc: from };
                self.outputs.caller(spot, || self.guest.place(spot));
                run.note.callers += 1;
                run.from.push(from);
                run.from.len() - 1
            });
        }
        // A run does not take more callers than have a number.
        run.caller as u8
    }

    /// Writes the run, if there is one.
    pub(super) fn end_run(&mut self) {
        if self.run.note.frames > 0 {
            self.run.from.clear();
            self.outputs.end_run(std::mem::take(&mut self.run.note));
        }
    }

    /// Writes a record, behind what came before it.
    pub(super) fn emit(&mut self, record: Record) {
        self.end_run();
        self.outputs.record(record);
    }
}
