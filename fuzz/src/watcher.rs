//! An observer of streams: what it is told has to be the same with every engine, and what it
//! wishes for changes all the time.

use emu::events::{Events, View, Wishes};
use emu::hart::Hart;
use emu::inspect::Hit;
use emu::machine::Stop;
use emu::mmu::{Fault, Leaf};
use isa::Priv;
use isa::paging::Satp;
use isa::trap::Cause;

use crate::layout::*;

/// Events after which it wishes for something else.
const WHIM: u64 = 7;
/// Events that are kept, of those that were told last.
const KEPT: usize = 4;

/// What was told: a number for all of it, and the latest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    sum: u64,
    count: u64,
    latest: Vec<String>,
}

impl Told {
    /// These.
    pub fn of(latest: Vec<String>) -> Told {
        Told { latest, ..Told::default() }
    }
}

/// An observer that wants to know of stores to pages that it chooses, of fences, returns, hints and
/// some instructions; with `WALKS`, of walks after every fence, too.
#[derive(Debug, Default)]
pub struct Watcher<const WALKS: bool> {
    /// What it was told.
    pub told: Told,
    wishes: Wishes,
}

impl<const WALKS: bool> Watcher<WALKS> {
    fn note(&mut self, view: &View, what: &str, values: [u64; 4]) {
        let values = [view.hart.id as u64, view.insns(), view.ns()].into_iter().chain(values);
        let values: Vec<u64> = values.collect();
        let told = &mut self.told;
        let mix = |sum: u64, value: u64| (sum ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        told.sum = values.iter().fold(mix(told.sum, what.len() as u64), |sum, v| mix(sum, *v));
        told.sum ^= told.sum >> 29;
        told.count += 1;
        if told.latest.len() == KEPT {
            told.latest.remove(0);
        }
        told.latest.push(format!("{what} {values:x?}"));
        if told.count.is_multiple_of(WHIM) {
            let page = told.sum >> 8 & 63;
            let pa = RAM + page % PAGES * PAGE;
            self.wishes.pages.push((pa, told.sum & 1 != 0));
            self.wishes.stop = told.sum & 31 == 0;
        }
    }
}

impl<const WALKS: bool> Events for Watcher<WALKS> {
    const WALKS: bool = WALKS;
    const PROBES: bool = true;
    const STORES: bool = true;

    fn probes(&self) -> Vec<u64> {
        (0..CODE_PAGES * HARTS as u64).map(|page| RAM + (CODE + page) * PAGE + 0x40).collect()
    }

    fn probed(&mut self, view: &View, pc: u64) {
        self.note(view, "probe", [pc, view.hart.x(1), 0, 0]);
    }

    fn take_wishes(&mut self) -> Wishes {
        std::mem::take(&mut self.wishes)
    }

    fn stored(&mut self, view: &View, va: u64, pa: u64, length: u64) {
        let word = view.ram().read(pa & !7).unwrap_or(0);
        self.note(view, "store", [view.hart.at, va, pa | length << 56, word]);
    }

    fn trap_taken(&mut self, view: &View, cause: Cause, tval: u64, pc: u64, from: Priv) {
        self.note(view, "trap", [cause.bits(), tval, pc, from as u64]);
    }

    fn trap_returned(&mut self, view: &View, pc: u64) {
        self.note(view, "return", [pc, view.hart.ctx.pc, mode(view.hart), 0]);
    }

    fn page_faulted(&mut self, view: &View, pc: u64, fault: &Fault) {
        let why = fault.reason as u64 | u64::from(fault.level) << 8;
        self.note(view, "page fault", [pc, fault.va, why, fault.pte.0]);
    }

    fn access_faulted(&mut self, view: &View, pc: u64, fault: &Fault) {
        self.note(view, "access fault", [pc, fault.va, fault.reason as u64, fault.pte_pa]);
    }

    fn pte_updated(&mut self, view: &View, va: u64, leaf: &Leaf) {
        self.note(view, "updated", [va, leaf.pte.0, leaf.pte_pa, leaf.found.0]);
    }

    fn satp_written(&mut self, view: &View, old: Satp, new: Satp) {
        self.note(view, "satp", [old.bits(), new.bits(), 0, 0]);
    }

    fn translations_fenced(&mut self, view: &View, va: Option<u64>, asid: Option<u16>) {
        self.note(view, "a fence", [va.unwrap_or(1), asid.map_or(1 << 20, u64::from), 0, 0]);
    }

    fn hinted(&mut self, view: &View, pc: u64, kind: i32) {
        self.note(view, "the hint", [pc, kind as u64, view.hart.x(10), 0]);
    }
}

fn mode(hart: &Hart) -> u64 {
    hart.privilege as u64
}

/// Whether a machine that stopped may go on: a turn has ended, or it is where the observer wants it.
pub fn goes_on(stop: Stop) -> bool {
    matches!(stop, Stop::Console | Stop::Point { hit: Hit::Observer, .. })
}
