//! What watches a run: the tracer, and whatever else was asked for, behind one [`Events`].

use isa::paging::Satp;
use isa::trap::Cause;
use isa::{Inst, Priv};

use super::record::MissCause;
use super::tlb::TlbWatch;
use super::tracer::Tracer;
use crate::check::Checker;
use crate::events::{Events, View, Wishes};
use crate::mem::Ram;
use crate::mmu::{Access, Fault, Leaf};

/// An observer of a run that can begin again.
pub trait Watch: Events {
    /// The machine is reset and starts again.
    fn restarted(&mut self) {}

    /// Records from now on, or not; `false` when nothing was set up that could be recorded.
    fn set_recording(&mut self, on: bool) -> bool {
        let _ = on;
        false
    }

    /// The machine stands still for the last time.
    fn stands_still(&mut self, view: &View) {
        let _ = view;
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
/// makes the run slow; an LRU TLB needs it. `CLOSE`: for TLBs and the checkers, walks and stores to
/// some pages are looked at.
pub struct Observer<const EVERY: bool, const CLOSE: bool = false> {
    /// The tracer.
    pub tracer: Tracer,
    /// The modelled TLBs.
    pub tlb: Option<TlbWatch>,
    /// The checkers.
    pub checker: Option<Checker>,
}

impl<const EVERY: bool, const CLOSE: bool> Observer<EVERY, CLOSE> {
    /// Lets the checkers look at what the instruction at `pc` does, and reports what they find.
    fn check(&mut self, view: &View, pc: u64, look: impl FnOnce(&mut Checker)) {
        self.check_from(view, (pc, view.hart.privilege), look);
    }

    fn check_from(&mut self, view: &View, at: (u64, Priv), look: impl FnOnce(&mut Checker)) {
        if CLOSE && let Some(checker) = &mut self.checker {
            look(checker);
            for finding in checker.take_findings() {
                self.tracer.found(view, at, finding);
            }
        }
    }
}

impl<const EVERY: bool, const CLOSE: bool> Watch for Observer<EVERY, CLOSE> {
    fn restarted(&mut self) {
        self.tracer.restarted();
        self.tlb.iter_mut().for_each(TlbWatch::restarted);
        let since = self.tracer.since();
        self.checker.iter_mut().for_each(|checker| checker.restarted(since));
    }

    fn set_recording(&mut self, on: bool) -> bool {
        self.tracer.set_recording(on);
        true
    }

    fn stands_still(&mut self, view: &View) {
        self.tracer.moment(view);
        self.check(view, view.hart.ctx.pc, |checker| checker.look_for_leaks(view));
    }

    fn finish(mut self, status: i32) -> bool {
        if let Some(tlb) = &self.tlb {
            self.tracer.counted(tlb);
        }
        if let Some(checker) = &self.checker {
            match (checker.found(), checker.unreported()) {
                (0, _) => eprintln!("emu: the checkers found nothing wrong"),
                (1, _) => eprintln!("emu: the checkers found one mistake"),
                (found, 0) => eprintln!("emu: the checkers found {found} mistakes"),
                (found, more) => eprintln!(
                    "emu: the checkers found {found} mistakes, {more} of them like the others"
                ),
            }
        }
        self.tracer.end(status)
    }
}

impl<const EVERY: bool, const CLOSE: bool> Events for Observer<EVERY, CLOSE> {
    const INSNS: bool = EVERY;
    const ACCESSES: bool = EVERY;
    const MISSES: bool = EVERY || CLOSE;
    const WALKS: bool = EVERY || CLOSE;
    const STORES: bool = CLOSE;
    const FENCES: bool = EVERY || CLOSE;
    const PROBES: bool = true;

    fn hears(kind: i32) -> bool {
        Tracer::hears(kind)
    }

    fn probes(&self) -> Vec<u64> {
        let mut probes = self.tracer.probes();
        probes.extend(self.checker.iter().flat_map(Checker::probes));
        probes
    }

    fn tell(&self, topic: &str, ram: &Ram) -> Option<String> {
        match topic {
            "tlb" => self.tlb.as_ref().map(TlbWatch::lines),
            _ => self.tracer.tell(topic, ram),
        }
    }

    fn take_wishes(&mut self) -> Wishes {
        let wishes = self.checker.as_mut().map(Checker::take_wishes).unwrap_or_default();
        if wishes.stop {
            self.tracer.hand_over();
        }
        let forget = self.tlb.as_mut().map(TlbWatch::take_gone).unwrap_or_default();
        Wishes { forget, ..wishes }
    }

    fn stored(&mut self, view: &View, va: u64, pa: u64, length: u64) {
        self.check(view, view.hart.at, |checker| checker.stored(view, va, pa, length));
    }

    fn pause(&mut self) -> bool {
        self.tracer.pause()
    }

    fn probed(&mut self, view: &View, pc: u64) {
        self.tracer.probed(view, pc);
        self.check(view, pc, |checker| checker.probed(view, pc));
    }

    fn trap_taken(&mut self, view: &View, cause: Cause, tval: u64, pc: u64, from: Priv) {
        self.tracer.trap_taken(view, cause, tval, pc, from);
        self.check_from(view, (pc, from), |checker| checker.trapped(view, cause, tval, pc));
    }

    fn trap_returned(&mut self, view: &View, pc: u64) {
        self.tracer.trap_returned(view, pc);
        self.check(view, pc, |checker| checker.returned(view, pc));
    }

    fn page_faulted(&mut self, view: &View, pc: u64, fault: &Fault) {
        self.tracer.page_faulted(view, pc, fault);
        self.check(view, pc, |checker| checker.faulted(view, pc, fault));
    }

    fn hinted(&mut self, view: &View, pc: u64, kind: i32) {
        self.tracer.hinted(view, pc, kind);
        self.check(view, pc, |checker| checker.hinted(view, pc, kind));
    }

    fn inst_executed(&mut self, view: &View, pc: u64, inst: &Inst) {
        self.tracer.inst_executed(view, pc, inst);
        if EVERY
            && let Some(tlb) = &mut self.tlb
            && let Some(miss) = tlb.executed(view, pc)
        {
            self.tracer.missed(view, &miss);
        }
    }

    fn walked(&mut self, view: &View, va: u64, access: Access, leaf: &Leaf) {
        if Self::MISSES
            && let Some(tlb) = &mut self.tlb
        {
            tlb.walked(view, va, leaf);
        }
        let pc = if access == Access::Fetch { va } else { view.hart.at };
        self.check(view, pc, |checker| checker.walked(view, va, access, leaf));
    }

    fn accessed(&mut self, view: &View, va: u64, _pa: u64, access: Access) {
        if Self::MISSES
            && let Some(tlb) = &mut self.tlb
            && let Some(miss) = tlb.accessed(view, va, access)
        {
            self.tracer.missed(view, &miss);
        }
    }

    fn satp_written(&mut self, view: &View, _old: Satp, new: Satp) {
        if Self::MISSES
            && let Some(tlb) = &mut self.tlb
        {
            let entries = tlb.satp_written(view);
            self.tracer.flushed(view, entries, MissCause::SatpWrite);
        }
        self.check(view, view.hart.at, |checker| checker.satp_written(view, new));
    }

    fn translations_fenced(&mut self, view: &View, va: Option<u64>, asid: Option<u16>) {
        if Self::MISSES
            && let Some(tlb) = &mut self.tlb
        {
            let entries = tlb.fenced(view, va, asid);
            self.tracer.flushed(view, entries, MissCause::SfenceVma);
        }
        self.check(view, view.hart.at, |checker| checker.fenced(view, va, asid));
    }
}
