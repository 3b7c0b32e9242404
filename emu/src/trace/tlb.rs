//! The modelled TLBs of a machine: one for instructions and one for data on every hart, and the
//! same stream of accesses shown to TLBs of other sizes for comparison.
//!
//! What counts as an access, so that counts can be compared with any other simulation:
//!
//! * instruction side: every instruction that is fetched looks its page up, and the page of its
//!   second half as well if it lies in two (accesses are counted when it is about to be executed);
//! * data side: every load and every store that translation allows looks its page up, both pages
//!   if it crosses; an atomic operation is one store, `lr` a load, `sc` with a reservation a store;
//! * an access that is refused is none, neither is one that is not translated (M-mode, bare
//!   `satp`), nor are the page-table walk's own reads. A set D bit does not make a miss.
//!
//! An access to the same page as the one before on that side, with nothing in between, is a hit
//! that changes nothing under any policy. Only the others are shown to the models.
//!
//! Under FIFO and random replacement no hit changes anything. There the machine may run at full
//! speed and tell only what it does not remember, if it remembers no page that any of the models
//! has dropped ([`TlbWatch::take_gone`]): then misses are exact, and accesses are not counted.

use isa::paging::{LEVEL_BITS, Mode, PAGE_SHIFT};

use super::peek;
use super::record::{MissCause, TlbTally};
use super::tlb_model::{Lookup, PageNumbers, TlbConfig, TlbModel, Translation};
use crate::events::{Forget, View};
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
    /// PageNumbers of pages, where address spaces are not told apart and where they are.
    numbers: [PageNumbers; 2],
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
    /// Every access is seen.
    every: bool,
    /// What the models dropped, if not.
    gone: Vec<Forget>,
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
        let side = |_| Side { models: models(), numbers: Default::default(), last: None };
        let harts = (0..harts).map(side).collect();
        Half { harts, tallies: vec![TlbTally::default(); configs.len()] }
    }

    /// Whether an access is shown to the models.
    fn is_new(&mut self, hart: usize, vpn: u64) -> bool {
        self.harts[hart].last.replace(vpn) != Some(vpn)
    }

    /// Shows an access to the models; tells why the first one missed, if it did. `dropped` is
    /// called with what had to give way in any of them.
    fn access(
        &mut self,
        hart: usize,
        walked: Translation,
        mut dropped: impl FnMut(Translation),
    ) -> Option<MissCause> {
        let mut first = None;
        let Side { models, numbers, .. } = &mut self.harts[hart];
        let mut number = [None; 2];
        for (n, model) in models.iter_mut().enumerate() {
            let kind = usize::from(model.is_tagged());
            let number = number[kind].get_or_insert_with(|| numbers[kind].of(&walked, kind == 1));
            let Lookup::Miss { cause, evicted } = model.access(walked, *number) else { continue };
            let tally = &mut self.tallies[n];
            tally.miss(cause);
            tally.evictions += u64::from(evicted.is_some());
            evicted.into_iter().for_each(&mut dropped);
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
    /// `every`: they are shown every access, which LRU needs.
    pub fn new(config: TlbConfig, harts: usize, every: bool) -> TlbWatch {
        let other =
            |entries: usize| TlbConfig { entries, ways: config.ways.min(entries), ..config };
        let sizes = SIZES.iter().filter(|entries| **entries != config.entries);
        // A fully associative TLB stays so in other sizes.
        let full = config.ways == config.entries;
        let others = sizes.map(|entries| match full {
            true => TlbConfig { entries: *entries, ways: *entries, ..config },
            false => other(*entries),
        });
        let configs = std::iter::once(config).chain(others).collect();
        TlbWatch::with_configs(configs, harts, every)
    }

    /// Exactly these TLBs; the first one is that whose misses are reported one by one.
    pub fn with_configs(configs: Vec<TlbConfig>, harts: usize, every: bool) -> TlbWatch {
        let (insts, data) = (Half::new(&configs, harts), Half::new(&configs, harts));
        TlbWatch { configs, insts, data, leaf: None, every, gone: Vec::new() }
    }

    /// What the hart that runs must not remember any longer.
    pub fn take_gone(&mut self) -> Vec<Forget> {
        std::mem::take(&mut self.gone)
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

    /// The hart is about to execute the instruction at `pc`. Only if every access is seen.
    pub fn executed(&mut self, view: &View, pc: u64) -> Option<Miss> {
        if !is_translated(view, true) {
            return None;
        }
        let crosses = pc & 0xfff == 0xffe && is_long(view, pc);
        *self.insts.tallies[0].accesses.get_or_insert_default() += 1 + u64::from(crosses);
        // What lies in two pages is fetched anew each time.
        if crosses || !self.insts.is_new(view.hart.id, pc >> PAGE_SHIFT) {
            return None;
        }
        let satp = view.hart.csr.satp;
        let seen = peek::look(view.ram(), satp.bits(), pc)?;
        let walked = translation(pc, satp.asid, seen.level as u8, seen.pte);
        self.looked_up(view, pc, Access::Fetch, walked)
    }

    /// The page tables allow an access, which follows unless something else forbids it.
    pub fn walked(&mut self, view: &View, va: u64, leaf: &Leaf) {
        self.leaf = Some(translation(va, view.hart.csr.satp.asid, leaf.level, leaf.pte.0));
    }

    /// An access is allowed. Instructions are counted when they are executed.
    pub fn accessed(&mut self, view: &View, va: u64, access: Access) -> Option<Miss> {
        let fetch = access == Access::Fetch;
        let walked = self.leaf.take().filter(|_| is_translated(view, fetch))?;
        let half = if fetch { &mut self.insts } else { &mut self.data };
        if self.every && !fetch {
            *half.tallies[0].accesses.get_or_insert_default() += 1;
        }
        if !half.is_new(view.hart.id, va >> PAGE_SHIFT) {
            return None;
        }
        self.looked_up(view, va, access, walked)
    }

    fn looked_up(
        &mut self,
        view: &View,
        va: u64,
        access: Access,
        walked: Translation,
    ) -> Option<Miss> {
        let fetch = access == Access::Fetch;
        let half = if fetch { &mut self.insts } else { &mut self.data };
        let (gone, every) = (&mut self.gone, self.every);
        let cause = half.access(view.hart.id, walked, |Translation { vpn, level, .. }| {
            if !every {
                let shift = PAGE_SHIFT + LEVEL_BITS * u32::from(level);
                gone.push(Forget::Page { va: vpn << PAGE_SHIFT, shift, fetch });
            }
        })?;
        Some(Miss { access, va, cause })
    }

    /// `satp` was written; returns how many entries went.
    pub fn satp_written(&mut self, view: &View) -> u32 {
        let tagged = self.configs.iter().all(|config| config.asid);
        self.flush(view, |model| model.satp_written(), tagged)
    }

    /// `sfence.vma` was executed; returns how many entries went.
    pub fn fenced(&mut self, view: &View, va: Option<u64>, asid: Option<u16>) -> u32 {
        self.flush(view, |model| model.sfence_vma(va, asid), false)
    }

    /// `harmless`: no entry can go.
    fn flush(&mut self, view: &View, flush: impl Fn(&mut TlbModel) -> u32, harmless: bool) -> u32 {
        if !self.every && !harmless {
            self.gone.push(Forget::All);
        }
        self.insts.flush(view.hart.id, &flush) + self.data.flush(view.hart.id, &flush)
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
