//! The modelled TLBs of a machine: one for instructions and one for data on every hart, and the
//! same stream of accesses shown to TLBs of other sizes for comparison.
//!
//! What counts as an access, so that counts can be compared with any other simulation:
//!
//! * instruction side: every instruction that is about to be executed looks its page up, and the
//!   page of its second half as well if it lies in two;
//! * data side: every load and every store that translation allows looks its page up, both pages
//!   if it crosses; an atomic operation is one store, `lr` a load, `sc` with a reservation a store;
//! * an access that is refused is none, neither is one that is not translated (M-mode, bare
//!   `satp`), nor are the page-table walk's own reads. A set D bit does not make a miss.
//!
//! An access to the same page as the one before on that side, with nothing in between, is a hit
//! that changes nothing under any policy. Only the others are shown to the models.

use isa::paging::{Mode, PAGE_SHIFT};

use super::peek;
use super::record::{MissCause, TlbTally};
use super::tlb_model::{Lookup, TlbConfig, TlbModel, Translation};
use crate::events::View;
use crate::mmu::{Access, Leaf};

/// Sizes that are modelled beside the one that was asked for, entries.
const SIZES: [usize; 8] = [8, 16, 32, 64, 128, 256, 512, 1024];

/// A miss of the TLB that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Miss {
    /// Fetch: the instruction TLB; otherwise the data TLB.
    pub access: Access,
    /// The virtual address.
    pub va: u64,
    /// Why.
    pub cause: MissCause,
}

/// One side of one hart: a TLB of every size.
struct Side {
    models: Vec<TlbModel>,
    /// The page of the last access, if nothing was flushed since.
    last: Option<u64>,
}

/// Instruction or data side of all harts.
struct Half {
    harts: Vec<Side>,
    tallies: Vec<TlbTally>,
}

/// The modelled TLBs.
pub struct TlbWatch {
    configs: Vec<TlbConfig>,
    insts: Half,
    data: Half,
    /// The leaf of the access that follows, on the hart that runs.
    leaf: Option<Translation>,
}

impl TlbWatch {
    /// What the TLBs that were asked for hold, for a person who asks at the monitor.
    pub fn lines(&self) -> String {
        let mut text = String::new();
        for (kind, half) in [("instructions", &self.insts), ("data", &self.data)] {
            for (hart, side) in half.harts.iter().enumerate() {
                text += &format!("hart {hart}, {kind}:\n");
                for entry in side.models[0].entries() {
                    let va = entry.vpn << PAGE_SHIFT;
                    let Translation { asid, level, pte, .. } = entry;
                    text += &format!("{va:016x} asid {asid} level {level} pte {pte:016x}\n");
                }
            }
        }
        text
    }
}

impl Half {
    fn new(configs: &[TlbConfig], harts: usize) -> Half {
        let models = || configs.iter().map(|config| TlbModel::new(*config)).collect();
        let harts = (0..harts).map(|_| Side { models: models(), last: None }).collect();
        Half { harts, tallies: vec![TlbTally::default(); configs.len()] }
    }

    /// Whether this access is shown to the models.
    fn is_new(&mut self, hart: usize, vpn: u64) -> bool {
        self.tallies[0].accesses += 1;
        self.harts[hart].last.replace(vpn) != Some(vpn)
    }

    /// Shows an access to the models; tells why the first one missed, if it did.
    fn access(&mut self, hart: usize, walked: Translation) -> Option<MissCause> {
        let mut first = None;
        for (n, model) in self.harts[hart].models.iter_mut().enumerate() {
            let Lookup::Miss { cause, evicted } = model.access(walked) else { continue };
            let tally = &mut self.tallies[n];
            tally.miss(cause);
            tally.evictions += u64::from(evicted.is_some());
            if n == 0 {
                first = Some(cause);
            }
        }
        first
    }

    /// Flushes what `flush` says in every model; returns how many entries the first one lost.
    fn flush(&mut self, hart: usize, flush: impl Fn(&mut TlbModel) -> u32) -> u32 {
        let side = &mut self.harts[hart];
        side.last = None;
        let mut first = 0;
        for (n, model) in side.models.iter_mut().enumerate() {
            let gone = flush(model);
            let tally = &mut self.tallies[n];
            tally.flushes += u64::from(gone > 0);
            tally.flushed += u64::from(gone);
            if n == 0 {
                first = gone;
            }
        }
        first
    }
}

impl TlbWatch {
    /// TLBs like `config` for that many harts, and others of the same kind in several sizes.
    pub fn new(config: TlbConfig, harts: usize) -> TlbWatch {
        let other =
            |entries: usize| TlbConfig { entries, ways: config.ways.min(entries), ..config };
        let sizes = SIZES.iter().filter(|entries| **entries != config.entries);
        // A fully associative TLB stays so in other sizes.
        let full = config.ways == config.entries;
        let others = sizes.map(|entries| match full {
            true => TlbConfig { entries: *entries, ways: *entries, ..config },
            false => other(*entries),
        });
        TlbWatch::with_configs(std::iter::once(config).chain(others).collect(), harts)
    }

    /// Exactly these TLBs; the first one is that whose misses are reported one by one.
    pub fn with_configs(configs: Vec<TlbConfig>, harts: usize) -> TlbWatch {
        let (insts, data) = (Half::new(&configs, harts), Half::new(&configs, harts));
        TlbWatch { configs, insts, data, leaf: None }
    }

    /// The machine is reset: the TLBs are empty, the counts go on.
    pub fn restarted(&mut self) {
        let harts = self.insts.harts.len();
        self.insts.harts = Half::new(&self.configs, harts).harts;
        self.data.harts = Half::new(&self.configs, harts).harts;
    }

    /// The counts of every TLB: configuration, instruction side, data side.
    pub fn tallies(&self) -> impl Iterator<Item = (TlbConfig, TlbTally, TlbTally)> {
        let with = |half: &Half, n: usize| TlbTally {
            accesses: half.tallies[0].accesses,
            ..half.tallies[n]
        };
        let configs = self.configs.iter().enumerate();
        configs.map(move |(n, config)| (*config, with(&self.insts, n), with(&self.data, n)))
    }

    /// The hart is about to execute the instruction at `pc`.
    pub fn executed(&mut self, view: &View, pc: u64) -> [Option<Miss>; 2] {
        let crosses = pc & 0xfff == 0xffe && is_long(view, pc);
        [self.fetched(view, pc), crosses.then(|| self.fetched(view, pc + 2)).flatten()]
    }

    fn fetched(&mut self, view: &View, va: u64) -> Option<Miss> {
        if !is_translated(view, true) {
            return None;
        }
        if !self.insts.is_new(view.hart.id, va >> PAGE_SHIFT) {
            return None;
        }
        let satp = view.hart.csr.satp;
        let seen = peek::look(view.ram(), satp.bits(), va)?;
        let walked = translation(va, satp.asid, seen.level as u8, seen.pte);
        let cause = self.insts.access(view.hart.id, walked)?;
        Some(Miss { access: Access::Fetch, va, cause })
    }

    /// The page tables allow an access; if it is to data, it follows.
    pub fn walked(&mut self, view: &View, va: u64, access: Access, leaf: &Leaf) {
        if access != Access::Fetch {
            self.leaf = Some(translation(va, view.hart.csr.satp.asid, leaf.level, leaf.pte.0));
        }
    }

    /// A load or store was allowed.
    pub fn accessed(&mut self, view: &View, va: u64, access: Access) -> Option<Miss> {
        let walked = self.leaf.take().filter(|_| is_translated(view, false))?;
        if !self.data.is_new(view.hart.id, va >> PAGE_SHIFT) {
            return None;
        }
        let cause = self.data.access(view.hart.id, walked)?;
        Some(Miss { access, va, cause })
    }

    /// `satp` was written; returns how many entries went.
    pub fn satp_written(&mut self, view: &View) -> u32 {
        let flush = |model: &mut TlbModel| model.satp_written();
        self.insts.flush(view.hart.id, flush) + self.data.flush(view.hart.id, flush)
    }

    /// `sfence.vma` was executed; returns how many entries went.
    pub fn fenced(&mut self, view: &View, va: Option<u64>, asid: Option<u16>) -> u32 {
        let flush = |model: &mut TlbModel| model.sfence_vma(va, asid);
        self.insts.flush(view.hart.id, flush) + self.data.flush(view.hart.id, flush)
    }
}

/// Whether fetches, or else loads and stores, are translated at present.
fn is_translated(view: &View, fetch: bool) -> bool {
    view.hart.regime(fetch).satp.mode != Mode::Bare
}

/// Whether the instruction at `pc`, which is being executed, has 32 bits.
fn is_long(view: &View, pc: u64) -> bool {
    let satp = view.hart.csr.satp;
    let pa = match is_translated(view, true) {
        true => peek::look(view.ram(), satp.bits(), pc).and_then(|seen| seen.pa),
        false => Some(pc),
    };
    pa.and_then(|pa| view.ram().read::<u16>(pa).ok()).is_some_and(|low| low & 3 == 3)
}

fn translation(va: u64, asid: u16, level: u8, pte: u64) -> Translation {
    Translation { vpn: (va & ((1 << 57) - 1)) >> PAGE_SHIFT, asid, level, pte }
}
