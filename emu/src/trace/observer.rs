//! What watches a run: the tracer, and whatever else was asked for, behind one [`Events`].

use isa::trap::Cause;
use isa::{Inst, Priv};

use super::tracer::Tracer;
use crate::events::{Events, View};
use crate::mmu::Fault;

/// An observer of a run that can begin again.
pub trait Watch: Events {
    /// The machine is reset and starts again.
    fn restarted(&mut self) {}

    /// Records from now on, or not; `false` when nothing was set up that could be recorded.
    fn set_recording(&mut self, on: bool) -> bool {
        let _ = on;
        false
    }

    /// The run is over, with that exit status. Returns whether all outputs were written in full.
    fn finish(self, status: i32) -> bool;
}

impl Watch for crate::events::NoEvents {
    fn finish(self, _status: i32) -> bool {
        true
    }
}

/// Everything that was asked for. `EVERY`: every instruction and every access is looked at, which
/// makes the run slow.
pub struct Observer<const EVERY: bool> {
    /// The tracer.
    pub tracer: Tracer,
}

impl<const EVERY: bool> Watch for Observer<EVERY> {
    fn restarted(&mut self) {
        self.tracer.restarted();
    }

    fn set_recording(&mut self, on: bool) -> bool {
        self.tracer.set_recording(on);
        true
    }

    fn finish(self, status: i32) -> bool {
        self.tracer.end(status).finish()
    }
}

impl<const EVERY: bool> Events for Observer<EVERY> {
    const INSNS: bool = EVERY;
    const ACCESSES: bool = EVERY;
    const PROBES: bool = true;

    fn probes(&self) -> Vec<u64> {
        self.tracer.probes()
    }

    fn wants_stop(&self) -> bool {
        self.tracer.is_unread()
    }

    fn probed(&mut self, view: &View, pc: u64) {
        self.tracer.probed(view, pc);
    }

    fn trap_taken(&mut self, view: &View, cause: Cause, tval: u64, pc: u64, from: Priv) {
        self.tracer.trap_taken(view, cause, tval, pc, from);
    }

    fn trap_returned(&mut self, view: &View, pc: u64) {
        self.tracer.trap_returned(view, pc);
    }

    fn page_faulted(&mut self, view: &View, pc: u64, fault: &Fault) {
        self.tracer.page_faulted(view, pc, fault);
    }

    fn hinted(&mut self, view: &View, pc: u64, kind: i32) {
        self.tracer.hinted(view, pc, kind);
    }

    fn inst_executed(&mut self, view: &View, pc: u64, inst: &Inst) {
        self.tracer.inst_executed(view, pc, inst);
    }
}
