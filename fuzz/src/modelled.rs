//! Modelled TLBs beside a stream: shown every access by the interpreter, and by all engines only
//! what those do not remember.

use emu::events::{Events, View, Wishes};
use emu::mmu::{Access, Leaf};
use emu::trace::record::TlbTally;
use emu::trace::tlb::TlbWatch;
use isa::Inst;
use isa::paging::Satp;

use crate::layout::HARTS;

/// Those whose hits change nothing; streams use few pages.
const CONFIGS: [&str; 6] = [
    "16x4,fifo",
    "8x8,random",
    "4x2,random,asid=off",
    "4x4,fifo,asid=off",
    "2x1,fifo",
    "1x1,random",
];

/// An observer with TLBs. `EVERY`: it is shown every access.
pub struct Modelled<const EVERY: bool>(TlbWatch);

impl<const EVERY: bool> Default for Modelled<EVERY> {
    fn default() -> Modelled<EVERY> {
        Modelled::new(&CONFIGS, HARTS)
    }
}

impl<const EVERY: bool> Modelled<EVERY> {
    /// With these TLBs.
    ///
    /// # Panics
    /// If one of them is none.
    pub fn new(configs: &[&str], harts: usize) -> Modelled<EVERY> {
        let configs = configs.iter().map(|config| config.parse().expect("a TLB")).collect();
        Modelled(TlbWatch::with_configs(configs, harts, EVERY))
    }

    /// What was counted, but for accesses.
    pub fn counts(&self) -> Vec<String> {
        counts(&self.0)
    }
}

/// What was counted, but for accesses, which not every observer sees.
pub fn counts(watch: &TlbWatch) -> Vec<String> {
    let bare = |tally| TlbTally { accesses: None, ..tally };
    let line = |(config, insts, data)| {
        let sides: [TlbTally; 2] = [insts, data];
        format!("{config}: {:?}", sides.map(bare))
    };
    watch.tallies().map(line).collect()
}

impl<const EVERY: bool> Events for Modelled<EVERY> {
    const INSNS: bool = EVERY;
    const ACCESSES: bool = EVERY;
    const MISSES: bool = true;
    const WALKS: bool = true;

    fn take_wishes(&mut self) -> Wishes {
        Wishes { forget: self.0.take_gone(), ..Wishes::default() }
    }

    fn inst_executed(&mut self, view: &View, pc: u64, _: &Inst) {
        self.0.executed(view, pc);
    }

    fn walked(&mut self, view: &View, va: u64, _: Access, leaf: &Leaf) {
        self.0.walked(view, va, leaf);
    }

    fn accessed(&mut self, view: &View, va: u64, _: u64, access: Access) {
        self.0.accessed(view, va, access);
    }

    fn satp_written(&mut self, view: &View, _: Satp, _: Satp) {
        self.0.satp_written(view);
    }

    fn translations_fenced(&mut self, view: &View, va: Option<u64>, asid: Option<u16>) {
        self.0.fenced(view, va, asid);
    }
}
