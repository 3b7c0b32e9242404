//! Frames that are allocated and freed: what happens most of all, so runs of them are one record.

use super::Tracer;
use crate::events::View;
use crate::trace::record::{Change, Frame, Frames, Moment, Record, Who};

/// Frames in one record.
const MAX_RUN: usize = 64;

/// The run of frames that the next one may belong to.
pub(super) struct Run {
    frames: Frames,
    /// The return address into the caller.
    from: u64,
}

impl Default for Run {
    fn default() -> Run {
        let frames = Frames {
            change: Change::Allocated,
            at: Moment::default(),
            who: Who::default(),
            free: 0,
            caller: None,
            frames: Vec::new(),
        };
        Run { frames, from: 0 }
    }
}

impl Run {
    fn takes(&self, change: Change, hart: u32, who: &Who, from: u64, free: u64) -> bool {
        let run = &self.frames;
        let expected = match change {
            Change::Allocated => run.free.wrapping_sub(1),
            Change::Freed => run.free.wrapping_add(1),
        };
        (1..MAX_RUN).contains(&run.frames.len())
            && (run.change, self.from, run.at.hart) == (change, from, hart)
            && expected == free
            && run.who == *who
    }
}

impl Tracer {
    pub(super) fn frame_allocated(&mut self, view: &View, pa: u64, free: u64) {
        (self.free, self.allocates) = (Some(free), true);
        let (_, least) = self.free_range.get_or_insert((free + 1, free));
        *least = free.min(*least);
        if let Some(open) = self.handled(view) {
            open.allocated.push(pa);
            open.fault.allocated += 1;
        } else if !self.copying.is_empty() {
            self.allocated_in_copy(self.key(view), pa);
        }
        self.frame(view, Change::Allocated, pa, free);
    }

    pub(super) fn frame_freed(&mut self, view: &View, pa: u64, free: u64) {
        self.free = Some(free);
        if !self.allocates {
            return;
        }
        if let Some(open) = self.handled(view) {
            open.fault.freed += 1;
        }
        self.frame(view, Change::Freed, pa, free);
    }

    fn frame(&mut self, view: &View, change: Change, pa: u64, free: u64) {
        if !self.kinds.frames {
            return;
        }
        let at = self.moment(view);
        // The allocator's caller: its return address is the best guess without a stack walk.
        let from = view.hart.x(1);
        let who = self.harts[view.hart.id].who(self.guest.reader.as_ref(), view);
        if !self.run.takes(change, at.hart, who, from, free) {
            let who = who.clone();
            self.end_run();
            let run = &mut self.run.frames;
            (run.change, run.at, run.who, self.run.from) = (change, at, who, from);
            run.caller = self.guest.kernel.as_ref().map(|kernel| kernel.place(from));
        }
        let run = &mut self.run.frames;
        run.free = free;
        run.frames.push(Frame(pa, at.insns - run.at.insns, at.ns - run.at.ns));
    }

    /// Writes the run, if there is one.
    pub(super) fn end_run(&mut self) {
        if self.run.frames.frames.is_empty() {
            return;
        }
        self.outputs.record(Record::Frames(std::mem::take(&mut self.run).frames));
    }

    /// Writes a record, behind what came before it.
    pub(super) fn emit(&mut self, record: Record) {
        self.end_run();
        self.outputs.record(record);
    }
}
