//! Misses of the modelled TLBs agree exactly with a naive simulation that is shown every access,
//! and with those of models that are shown only what the machine at full speed does not remember.

mod bare;
mod common;

use bare::{BASE, Bare};
use common::guest;
use emu::events::{Events, View};
use emu::jit::Engine;
use emu::machine::{MachineConfig, Stop};
use emu::mmu::{Access, Leaf};
use emu::trace::tlb::TlbWatch;
use emu::trace::tlb_model::{Policy, TlbConfig};
use fuzz::modelled::{Modelled, counts};
use isa::asm::{csrw, i, r, s};
use isa::paging::{Mode, Pte, Satp};
use isa::{Inst, Op, Priv, csr};

/// What one entry translates.
#[derive(Clone, Copy, PartialEq)]
struct Entry {
    vpn: u64,
    level: u32,
    asid: u16,
    global: bool,
}

impl Entry {
    fn page(&self) -> u64 {
        self.vpn >> (9 * self.level)
    }
}

/// A TLB as a textbook draws it: lists of entries, the one that goes next in front.
struct Naive {
    config: TlbConfig,
    sets: Vec<Vec<Entry>>,
    random: u64,
    accesses: u64,
    misses: u64,
    evictions: u64,
}

impl Naive {
    fn new(config: TlbConfig) -> Naive {
        let sets = vec![Vec::new(); config.entries / config.ways];
        Naive { config, sets, random: 0x9e37_79b9_7f4a_7c15, accesses: 0, misses: 0, evictions: 0 }
    }

    fn access(&mut self, new: Entry) {
        let tagged = self.config.asid;
        for set in &mut self.sets {
            let hit = set.iter().position(|e| {
                e.page() == new.vpn >> (9 * e.level) && (!tagged || e.global || e.asid == new.asid)
            });
            if let Some(at) = hit {
                if self.config.policy == Policy::Lru {
                    let used = set.remove(at);
                    set.push(used);
                }
                return;
            }
        }
        self.misses += 1;
        let count = self.sets.len() as u64;
        let set = &mut self.sets[(new.page() % count) as usize];
        if set.len() < self.config.ways {
            set.push(new);
            return;
        }
        self.evictions += 1;
        if self.config.policy == Policy::Random {
            for (left, shift) in [(true, 13), (false, 7), (true, 17)] {
                self.random ^= if left { self.random << shift } else { self.random >> shift };
            }
            let ways = self.config.ways as u64;
            set[(self.random % ways) as usize] = new;
        } else {
            set.remove(0);
            set.push(new);
        }
    }

    fn satp_written(&mut self) {
        if !self.config.asid {
            self.sets.iter_mut().for_each(|set| set.retain(|e| e.global));
        }
    }

    fn fenced(&mut self, va: Option<u64>, asid: Option<u16>) {
        let tagged = self.config.asid;
        let hit = |e: &Entry| {
            let here = va.is_none_or(|va| (va << 7 >> 19) >> (9 * e.level) == e.page());
            here && asid.is_none_or(|asid| !e.global && (!tagged || e.asid == asid))
        };
        self.sets.iter_mut().for_each(|set| set.retain(|e| !hit(e)));
    }
}

/// The model and the naive simulation, looking at the same machine.
struct Both {
    watch: TlbWatch,
    /// For every hart, instruction and data side of every configuration.
    naive: Vec<[Vec<Naive>; 2]>,
}

impl Both {
    fn new(configs: &[&str], harts: usize) -> Both {
        let configs: Vec<TlbConfig> = configs.iter().map(|c| c.parse().expect("valid")).collect();
        let side = || configs.iter().map(|config| Naive::new(*config)).collect();
        let naive = (0..harts).map(|_| [side(), side()]).collect();
        Both { watch: TlbWatch::with_configs(configs, harts, true), naive }
    }

    /// `count`: for how many accesses it counts.
    fn show(&mut self, view: &View, va: u64, fetch: bool, count: u64) {
        if let Some(entry) = walk(view, va, fetch) {
            let side = &mut self.naive[view.hart.id][usize::from(!fetch)];
            for tlb in side {
                tlb.accesses += count;
                tlb.access(entry);
            }
        }
    }

    fn all(&mut self, view: &View) -> impl Iterator<Item = &mut Naive> {
        self.naive[view.hart.id].iter_mut().flatten()
    }

    /// Compares, and returns the misses of all configurations, both sides.
    fn check(&self) -> Vec<(u64, u64)> {
        let mut found = Vec::new();
        for (n, (config, insts, data)) in self.watch.tallies().enumerate() {
            for (side, tally) in [insts, data].iter().enumerate() {
                let tlbs = || self.naive.iter().map(|hart| &hart[side][n]);
                let name = format!("{config:?}, side {side}");
                let accesses = tally.accesses.unwrap_or_default();
                assert_eq!(accesses, tlbs().map(|t| t.accesses).sum::<u64>(), "{name}");
                assert_eq!(tally.misses(), tlbs().map(|t| t.misses).sum::<u64>(), "{name}");
                assert_eq!(tally.evictions, tlbs().map(|t| t.evictions).sum::<u64>(), "{name}");
            }
            found.push((insts.misses(), data.misses()));
        }
        found
    }
}

/// Translates by hand.
fn walk(view: &View, va: u64, fetch: bool) -> Option<Entry> {
    let mode = if fetch { view.hart.privilege } else { view.hart.data_privilege() };
    let satp = view.hart.csr.satp;
    if mode == Priv::Machine || satp.mode == Mode::Bare {
        return None;
    }
    let mut table = satp.ppn.0 << 12;
    for level in (0..3).rev() {
        let at = table + (va >> (12 + 9 * level) & 511) * 8;
        let pte = view.ram().read::<u64>(at).expect("tables are in memory");
        assert_eq!(pte & 1, 1, "only allowed accesses are seen");
        if pte & 0xe != 0 {
            let global = pte >> 5 & 1 != 0;
            return Some(Entry { vpn: va << 7 >> 19, level, asid: satp.asid, global });
        }
        table = pte >> 10 << 12;
    }
    panic!("no leaf for {va:x}");
}

impl Events for Both {
    const INSNS: bool = true;
    const ACCESSES: bool = true;

    fn inst_executed(&mut self, view: &View, pc: u64, _: &Inst) {
        self.watch.executed(view, pc);
        if pc & 0xfff == 0xffe {
            let pa = emu::trace::peek::look(view.ram(), view.hart.csr.satp.bits(), pc);
            let pa = pa.map_or(pc, |seen| seen.pa.expect("mapped"));
            if view.ram().read::<u8>(pa).expect("memory") & 3 == 3 {
                // Both halves were fetched just now.
                return self.show(view, pc + 2, true, 2);
            }
        }
        self.show(view, pc, true, 1);
    }

    fn walked(&mut self, view: &View, va: u64, _: Access, leaf: &Leaf) {
        self.watch.walked(view, va, leaf);
    }

    fn accessed(&mut self, view: &View, va: u64, _: u64, access: Access) {
        self.watch.accessed(view, va, access);
        let fetch = access == Access::Fetch;
        self.show(view, va, fetch, u64::from(!fetch));
    }

    fn satp_written(&mut self, view: &View, _: Satp, _: Satp) {
        self.watch.satp_written(view);
        self.all(view).for_each(Naive::satp_written);
    }

    fn translations_fenced(&mut self, view: &View, va: Option<u64>, asid: Option<u16>) {
        self.watch.fenced(view, va, asid);
        self.all(view).for_each(|tlb| tlb.fenced(va, asid));
    }
}

const CONFIGS: [&str; 12] = [
    "16x4,fifo",
    "16x4,random",
    "16x4,lru",
    "8x1,fifo",
    "8x8,lru",
    "32x32,fifo",
    "32x32,random",
    "32x8,lru,asid=off",
    "16x16,fifo,asid=off",
    "16x2,random,asid=off",
    "64x4,lru",
    "1x1,fifo",
];

/// Code in several pages that reads and writes pages in disorder, changes `satp` and fences.
fn thrash<E: Events>(bare: &mut Bare<E>) {
    const CODE: u64 = 0x40_0000;
    const DATA: u64 = 0x80_0000;
    let mut tables = BASE + 0x11000;
    bare.translate(Mode::Sv39, BASE + 0x10000);
    let flags = Pte::V | Pte::R | Pte::W | Pte::X | Pte::A | Pte::D;
    for page in 0..8 {
        bare.map(CODE + page * 0x1000, BASE + 0x40000 + page * 0x1000, flags, &mut tables);
    }
    for page in 0..48 {
        let global = if page % 16 == 5 { Pte::G } else { 0 };
        bare.map(
            DATA + page * 0x1000,
            BASE + 0x60000 + page % 8 * 0x1000,
            flags | global,
            &mut tables,
        );
    }
    // A superpage: 1 GiB at the top of the lower half.
    bare.put(BASE + 0x10000 + 8 * 2, Pte::new(isa::paging::Ppn(BASE >> 12), flags).0);
    let code = [
        // x5 = x5 * x6 + 12345; x7 = a data page
        r(Op::Mul, 5, 5, 6),
        i(Op::Addi, 5, 5, 1234),
        i(Op::Srli, 7, 5, 16),
        r(Op::Remu, 7, 7, 8),
        i(Op::Slli, 7, 7, 12),
        r(Op::Add, 7, 7, 9),
        i(Op::Ld, 10, 7, 64),
        s(Op::Sd, 7, 5, 128),
        // Across the end of the page, where there is another.
        i(Op::Ld, 11, 9, 0xffc - 0x1000),
        i(Op::Ld, 12, 13, 8),
        // x14 = one of the code pages, which returns.
        i(Op::Srli, 14, 5, 24),
        i(Op::Andi, 14, 14, 7),
        i(Op::Slli, 14, 14, 12),
        r(Op::Add, 14, 14, 15),
        i(Op::Jalr, 1, 14, 0x800 - 0x1000),
        i(Op::Addi, 16, 16, 1),
        i(Op::Andi, 17, 16, 63),
        s(Op::Bne, 17, 0, 8),
        r(Op::SfenceVma, 0, 7, 0),
        i(Op::Andi, 17, 16, 127),
        s(Op::Bne, 17, 0, 8),
        csrw(csr::SATP, 18),
        i(Op::Andi, 17, 16, 255),
        s(Op::Bne, 17, 0, 12),
        csrw(csr::SATP, 19),
        r(Op::SfenceVma, 0, 0, 20),
        i(Op::Andi, 17, 16, 1023),
        s(Op::Bne, 17, 0, 8),
        r(Op::SfenceVma, 0, 0, 0),
        i(Op::Jal, 0, 0, -29 * 4),
    ];
    bare.code(BASE + 0x40000, &code);
    for page in 0..8 {
        // Returns; from some pages through an instruction that lies in two.
        let at = BASE + 0x40800 + page * 0x1000;
        if [1, 3, 5].contains(&page) {
            bare.code(at, &[i(Op::Jal, 0, 0, 0x7fe)]);
            bare.code(at + 0x7fe, &[i(Op::Addi, 21, 21, 1), i(Op::Jal, 0, 0, 0x7fe)]);
        } else {
            bare.code(at, &[i(Op::Jalr, 0, 1, 0)]);
        }
    }
    let satp = Satp { mode: Mode::Sv39, asid: 0, ppn: isa::paging::Ppn((BASE + 0x10000) >> 12) };
    let registers = [
        (5, 99),
        (6, 6_364_136_223_846_793_005),
        (8, 40),
        (9, DATA + 4096),
        (13, 2 << 30),
        (15, CODE + 0x1000),
        (18, satp.bits()),
        (19, Satp { asid: 7, ..satp }.bits()),
        (20, 7),
    ];
    for (number, value) in registers {
        bare.set_x(number, value);
    }
    bare.set_pc(CODE);
    bare.set_privilege(Priv::Supervisor);
}

#[test]
fn counts_are_those_of_a_naive_simulation() {
    let config = MachineConfig { max_insns: Some(60_000), ..MachineConfig::default() };
    let mut bare = Bare::with_events(config, Both::new(&CONFIGS, 1));
    thrash(&mut bare);
    assert_eq!(bare.run(), Stop::MaxInsns);
    assert_eq!(bare.csr(csr::MCAUSE), 0, "no trap, but one at {:x}", bare.csr(csr::MEPC));
    let found = bare.machine.events.check();
    assert!(found.iter().all(|(insts, data)| *insts > 80 && *data > 500), "{found:?}");
    // Policies and sizes do make a difference.
    assert!(found[0] != found[1] && found[0] != found[2] && found[3].1 > found[5].1, "{found:?}");
}

/// Those of [`CONFIGS`] that need not see every access, alone and all together.
fn without_lru() -> Vec<Vec<&'static str>> {
    let all: Vec<_> = CONFIGS.into_iter().filter(|config| !config.contains("lru")).collect();
    all.iter().map(|config| vec![*config]).chain([all.clone()]).collect()
}

#[test]
fn what_the_machine_does_not_remember_is_all_that_the_models_need() {
    for configs in without_lru() {
        let config = MachineConfig { max_insns: Some(300_000), ..MachineConfig::default() };
        let mut every = Bare::with_events(config, Both::new(&configs, 1));
        thrash(&mut every);
        assert_eq!(every.run(), Stop::MaxInsns);
        let expected = counts(&every.machine.events.watch);
        for engine in [Engine::Interp, Engine::Jit, Engine::JitAtOnce] {
            let mut seldom = Bare::with_events(
                MachineConfig { engine, ..config },
                Modelled::<false>::new(&configs, 1),
            );
            thrash(&mut seldom);
            assert_eq!(seldom.run(), Stop::MaxInsns);
            assert_eq!(seldom.machine.events.counts(), expected, "{configs:?}, {engine:?}");
        }
    }
}

/// The project's own kernel boots and runs a command: every access of it.
#[test]
#[ignore = "needs the guest: cargo xtask test"]
fn counts_agree_on_a_real_kernel() {
    for harts in [1, 2] {
        let configs = ["64x4,fifo", "16x16,random,asid=off", "32x4,lru"];
        let kernel = guest::kernel("kernel.elf");
        let run = "run=\"echo hi\"";
        let every = guest::run(&kernel, run, harts, &[], |_| Both::new(&configs, harts));
        assert!(every.output.contains("hi\n"), "{}", every.output);
        let found = every.machine.events.check();
        assert!(found.iter().all(|(insts, data)| *insts > 200 && *data > 200), "{found:?}");
        let seldom =
            guest::run(&kernel, run, harts, &[], |_| Modelled::<false>::new(&configs[..2], harts));
        assert_eq!(seldom.machine.events.counts(), counts(&every.machine.events.watch)[..2]);
    }
}
