//! What harts remember of page tables, against a walk for every access: random tables are changed
//! in every way there is while two harts use them.
//!
//! The engine promises more than the architecture asks for: a change of a table counts at once,
//! fence or not. So every access can be compared with what the tables in memory say.

mod bare;

use bare::{BASE, Bare, HANDLER};
use emu::inspect::{Debuggee, Inspect};
use emu::machine::MachineConfig;
use isa::asm::{i, r, s};
use isa::csr::{self, envcfg, mstatus, pmpcfg};
use isa::paging::{Mode, Ppn, Pte, Satp, leaf_size};
use isa::{Inst, Op, Priv};

/// Pages that serve as tables, and pages of data and code behind them.
const TABLES: u64 = BASE + 0x2_0000;
const TABLE_PAGES: u64 = 10;
const DATA: u64 = BASE + 0x4_0000;
const DATA_PAGES: u64 = 6;
/// Slots of a table that are used.
const SLOTS: [u64; 5] = [0, 1, 2, 3, 511];
/// Pages that superpages map at the same slots.
const LOW_PAGES: u64 = 4;
/// The instructions for accesses, and a fence.
const CODE: u64 = BASE + 0x8000;
const FENCE: u64 = CODE + 0x100;
const PLACES: [(u64, u64); 3] = [(BASE, LOW_PAGES), (TABLES, TABLE_PAGES), (DATA, DATA_PAGES)];
const RAM_END: u64 = BASE + (1 << 20);

/// The instructions that access memory; the address is in a1, a value in a2.
const ACCESSES: [(Op, u64); 8] = [
    (Op::Ld, 8),
    (Op::Lwu, 4),
    (Op::Lb, 1),
    (Op::Sd, 8),
    (Op::Sw, 4),
    (Op::Sb, 1),
    (Op::AmoaddD, 8),
    (Op::CboZero, 64),
];

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Fetch,
    Load,
    Store,
}

struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// An entry with which a walk goes on, or ends well.
    fn good_pte(&mut self, level: u32, privilege: Priv) -> u64 {
        let table = TABLES + (self.below(TABLE_PAGES) << 12);
        let data = if self.one_in(6) { table } else { DATA + (self.below(DATA_PAGES) << 12) };
        let user = if privilege == Priv::User { Pte::U } else { 0 };
        let flags = Pte::V | Pte::R | Pte::W | Pte::X | Pte::A | Pte::D | user;
        match level {
            0 => Pte::new(Ppn(data >> 12), flags).0,
            _ if self.one_in(10) => Pte::new(Ppn(BASE >> 12), flags).0,
            _ => Pte::new(Ppn(table >> 12), Pte::V).0,
        }
    }

    fn pte(&mut self) -> u64 {
        let table = TABLES + (self.below(TABLE_PAGES) << 12);
        let data = DATA + (self.below(DATA_PAGES) << 12);
        let flags = self.below(1 << 10) & !Pte::V;
        let usual = Pte::V | Pte::R | Pte::W | Pte::X | Pte::A | Pte::D;
        match self.below(16) {
            0..6 => Pte::new(Ppn(table >> 12), Pte::V).0,
            6 => Pte::new(Ppn(data >> 12), flags).0,
            7 => Pte::new(Ppn(BASE >> 12), usual | flags).0,
            8 => Pte::new(Ppn(table >> 12), usual | flags & Pte::U).0,
            9..12 => Pte::new(Ppn(data >> 12), Pte::V | flags).0,
            _ => Pte::new(Ppn(data >> 12), usual | flags & Pte::U).0,
        }
    }
}

/// One hart's way to see memory.
#[derive(Clone, Copy)]
struct Sight {
    satp: Satp,
    privilege: Priv,
    sum: bool,
    mxr: bool,
    adue: bool,
    /// A page with a physical protection of its own, and what that allows.
    guard: (u64, u64),
}

impl Sight {
    /// Whether physical protection allows this.
    fn allows(&self, pa: u64, right: u8) -> bool {
        let (page, rights) = self.guard;
        pa & !0xfff != page || rights & u64::from(right) != 0
    }
}

struct Bed {
    bare: Bare,
    random: Random,
    sights: [Sight; 2],
    log: Vec<String>,
}

impl Bed {
    fn new(seed: u64) -> Bed {
        let mut bare = Bare::new(MachineConfig { harts: 2, ..MachineConfig::default() });
        for (n, (op, _)) in ACCESSES.into_iter().enumerate() {
            let inst = match op {
                Op::Ld | Op::Lwu | Op::Lb => i(op, 10, 11, 0),
                Op::Sd | Op::Sw | Op::Sb => s(op, 11, 12, 0),
                Op::AmoaddD => r(op, 10, 11, 12),
                _ => r(op, 0, 11, 0),
            };
            bare.code(CODE + 8 * n as u64, &[inst]);
        }
        bare.code(FENCE, &[Inst::new(Op::SfenceVma)]);
        for page in 0..DATA_PAGES {
            // Loads, stores and fetches meet here: every word is an instruction.
            bare.code(DATA + (page << 12), &vec![i(Op::Addi, 10, 0, page as i32); 1024]);
        }
        let satp = Satp { mode: Mode::Sv39, asid: 0, ppn: Ppn(TABLES >> 12) };
        let (privilege, guard) = (Priv::User, (BASE, 7));
        let sight = Sight { satp, privilege, sum: false, mxr: false, adue: true, guard };
        let log = Vec::new();
        let mut bed = Bed { bare, random: Random(seed), sights: [sight; 2], log };
        (0..2).for_each(|hart| bed.look(hart));
        bed
    }

    /// Puts a hart into M-mode, from where it accesses data as its sight says.
    fn look(&mut self, hart: usize) {
        let sight = self.sights[hart];
        let mut status = mstatus::MPRV | (sight.privilege as u64) << mstatus::MPP_SHIFT;
        status |= if sight.sum { mstatus::SUM } else { 0 };
        status |= if sight.mxr { mstatus::MXR } else { 0 };
        let machine = &mut self.bare.machine;
        machine.harts[hart].privilege = Priv::Machine;
        assert!(machine.set_csr(hart, csr::MSTATUS, status));
        assert!(machine.set_csr(hart, csr::SATP, sight.satp.bits()));
    }

    fn change_sight(&mut self, hart: usize) {
        let sight = &mut self.sights[hart];
        match self.random.below(9) {
            8 => {
                let (start, pages) = self.random.of(&PLACES[1..]);
                let page = start + (self.random.below(pages) << 12);
                sight.guard = (page, self.random.of(&[0, 1, 3, 4, 5, 7]));
                let config = u64::from(pmpcfg::NAPOT) | sight.guard.1;
                let all = u64::from(pmpcfg::NAPOT | pmpcfg::R | pmpcfg::W | pmpcfg::X);
                let machine = &mut self.bare.machine;
                assert!(machine.set_csr(hart, csr::PMPADDR0, page >> 2 | 0x1ff));
                assert!(machine.set_csr(hart, csr::PMPADDR0 + 1, u64::MAX));
                assert!(machine.set_csr(hart, csr::PMPCFG0, config | all << 8));
            }
            0 => sight.sum ^= true,
            1 => sight.mxr ^= true,
            2 => {
                sight.adue ^= true;
                let value = if sight.adue { envcfg::ADUE } else { 0 };
                assert!(self.bare.machine.set_csr(hart, csr::MENVCFG, value));
            }
            3..5 => sight.privilege = self.random.of(&[Priv::User, Priv::Supervisor]),
            _ => {
                sight.satp.mode = self.random.of(&[Mode::Sv39, Mode::Sv39, Mode::Sv48, Mode::Sv57]);
                sight.satp.ppn = Ppn((TABLES >> 12) + self.random.below(3));
                sight.satp.asid = self.random.below(2) as u16;
            }
        }
        self.look(hart);
    }

    fn va(&mut self) -> u64 {
        let slot = |random: &mut Random, level: u64| random.of(&SLOTS) << (12 + 9 * level);
        let high = self.random.one_in(3);
        let offset = self.random.of(&[0, 8, 0x7f8, 0xff8, 0xffc, 0xfff, 0x123]);
        let va = slot(&mut self.random, 0) | slot(&mut self.random, 1) | offset;
        if high { va | !0u64 << 30 } else { va | self.random.below(2) << 30 }
    }

    /// What the tables say about an access to `va`, which updates them like a hart.
    fn walk(&mut self, sight: Sight, va: u64, kind: Kind) -> Option<u64> {
        let levels = sight.satp.mode.levels();
        let unused = 64 - (12 + 9 * levels);
        if ((va << unused) as i64 >> unused) as u64 != va {
            return None;
        }
        let mut table = sight.satp.ppn.0 << 12;
        for level in (0..levels).rev() {
            if !(BASE..RAM_END).contains(&table) {
                return None;
            }
            let at = table + 8 * (va >> (12 + 9 * level) & 511);
            if !sight.allows(at, pmpcfg::R) {
                return None;
            }
            let pte = Pte(self.bare.get(at));
            let is = |bit| pte.0 & bit != 0;
            if !is(Pte::V) || is(Pte::W) && !is(Pte::R) || pte.0 >> 54 != 0 {
                return None;
            }
            if !is(Pte::R | Pte::X) {
                if is(Pte::U | Pte::A | Pte::D) {
                    return None;
                }
                table = pte.ppn().0 << 12;
                continue;
            }
            let user = sight.privilege == Priv::User;
            let owner = if user { is(Pte::U) } else { !is(Pte::U) };
            let allowed = match kind {
                Kind::Fetch => owner && is(Pte::X),
                _ if !owner && (user || !sight.sum) => false,
                Kind::Load => is(Pte::R) || sight.mxr && is(Pte::X),
                Kind::Store => is(Pte::W),
            };
            let size = leaf_size(level);
            let need = if kind == Kind::Store { Pte::A | Pte::D } else { Pte::A };
            let complete = pte.0 & need == need;
            let aligned = (pte.ppn().0 << 12).is_multiple_of(size);
            if !allowed || !aligned || !complete && !sight.adue {
                return None;
            }
            if !complete && !sight.allows(at, pmpcfg::W) {
                return None;
            }
            if !complete {
                self.poke(at, pte.0 | need);
            }
            let pa = pte.ppn().0 << 12 | va & (size - 1);
            return Some(pa);
        }
        None
    }

    /// Where the last entry is that a walk for `va` meets, if that is in a table, and its level.
    fn last_entry(&self, satp: Satp, va: u64) -> Option<(u64, u32)> {
        let tables = TABLES..TABLES + (TABLE_PAGES << 12);
        let (mut table, mut found) = (satp.ppn.0 << 12, None);
        for level in (0..satp.mode.levels()).rev() {
            if !tables.contains(&table) {
                break;
            }
            let at = table + 8 * (va >> (12 + 9 * level) & 511);
            found = Some((at, level));
            let pte = Pte(self.bare.get(at));
            if !pte.valid() || pte.is_leaf() {
                break;
            }
            table = pte.ppn().0 << 12;
        }
        found
    }

    /// The parts of an access, one for each page, as physical addresses and lengths.
    fn parts(&mut self, sight: Sight, va: u64, size: u64, kind: Kind) -> Option<Vec<(u64, u64)>> {
        let first = size.min(4096 - va % 4096);
        let mut parts = vec![(self.walk(sight, va, kind)?, first)];
        if first < size {
            parts.push((self.walk(sight, va.wrapping_add(first), kind)?, size - first));
        }
        let right = match kind {
            Kind::Fetch => pmpcfg::X,
            Kind::Load => pmpcfg::R,
            Kind::Store => pmpcfg::W,
        };
        let reached =
            |&(pa, n): &(u64, u64)| pa >= BASE && pa + n <= RAM_END && sight.allows(pa, right);
        let inside = parts.iter().all(reached);
        inside.then_some(parts)
    }

    /// What is there, up to eight bytes of it.
    fn number(&self, parts: &[(u64, u64)]) -> u64 {
        let all = parts.iter().flat_map(|&(pa, n)| pa..pa + n).take(8);
        let byte = |pa: u64| self.bare.get(pa & !7) >> (8 * (pa % 8)) & 0xff;
        all.enumerate().fold(0, |number, (n, pa)| number | byte(pa) << (8 * n))
    }

    /// One instruction of a hart that accesses `va`, and then what it should have done.
    fn access(&mut self, hart: usize, which: usize, va: u64) {
        let (op, size) = ACCESSES[which];
        let sight = self.sights[hart];
        let value = self.random.pte();
        let va = if op == Op::AmoaddD { va & !7 } else { va };
        let kind = if which < 3 { Kind::Load } else { Kind::Store };
        self.log.push(format!("hart {hart}: {op:?} {va:#x} value {value:#x}"));
        let before = self.snapshot();
        let machine = &mut self.bare.machine;
        machine.set_x(hart, 11, va);
        machine.set_x(hart, 12, value);
        machine.set_pc(hart, CODE + 8 * which as u64);
        machine.step(hart);
        let trapped = machine.pc(hart) == HANDLER;
        let result = machine.x(hart, 10);
        let after = self.snapshot();
        if trapped {
            self.look(hart);
        }
        // What should have happened, from the same start.
        self.restore(&before, &after);
        let start = if op == Op::CboZero { va & !63 } else { va };
        let Some(parts) = self.parts(sight, start, size, kind) else {
            assert!(trapped, "{:#?}", self.log);
            return self.check(&after);
        };
        assert!(!trapped, "{:#?}", self.log);
        let old = self.number(&parts);
        match op {
            Op::Lb => assert_eq!(result, old as i8 as u64, "{:#?}", self.log),
            Op::Ld | Op::Lwu | Op::AmoaddD => assert_eq!(result, old, "{:#?}", self.log),
            _ => {}
        }
        let new = match op {
            Op::AmoaddD => old.wrapping_add(value),
            Op::CboZero => 0,
            _ => value,
        };
        if kind == Kind::Store {
            let bytes = [new.to_le_bytes().to_vec(), vec![0; 56]].concat();
            for (n, pa) in parts.iter().flat_map(|&(pa, n)| pa..pa + n).enumerate() {
                let mut word = self.bare.get(pa & !7).to_le_bytes();
                word[(pa % 8) as usize] = bytes[n];
                self.poke(pa & !7, u64::from_le_bytes(word));
            }
        }
        self.check(&after);
    }

    fn fetch(&mut self, hart: usize, va: u64) {
        let (va, sight) = (va & !3, self.sights[hart]);
        self.log.push(format!("hart {hart}: fetch {va:#x}"));
        let before = self.snapshot();
        let machine = &mut self.bare.machine;
        machine.harts[hart].privilege = sight.privilege;
        assert!(machine.set_csr(hart, csr::SATP, sight.satp.bits()));
        machine.set_pc(hart, va);
        machine.set_x(hart, 10, 99);
        machine.step(hart);
        let cause = (machine.pc(hart) == HANDLER).then(|| machine.csr(hart, csr::MCAUSE));
        let result = machine.x(hart, 10);
        let after = self.snapshot();
        self.look(hart);
        self.restore(&before, &after);
        let word = self.parts(sight, va, 4, Kind::Fetch).map(|parts| self.number(&parts) as u32);
        let addi = word.filter(|word| word & 0xff0f_ffff == 0x513);
        match (word, addi) {
            (None, _) => assert!(matches!(cause, Some(Some(1 | 12))), "{:#?}", self.log),
            (_, Some(word)) => assert_eq!(result, u64::from(word >> 20), "{:#?}", self.log),
            // Some other instruction, which may have done anything.
            _ => {
                let now = self.snapshot();
                return self.restore(&after, &now);
            }
        }
        self.check(&after);
    }

    /// Everything that accesses may change.
    fn snapshot(&self) -> Vec<u8> {
        let bytes = |&(start, pages): &(u64, u64)| {
            self.bare.machine.sys.bus.ram.bytes(start, pages << 12).expect("in memory")
        };
        PLACES.iter().map(bytes).collect::<Vec<_>>().concat()
    }

    /// Where two snapshots differ, and what is in the first.
    fn differences(one: &[u8], other: &[u8]) -> Vec<(u64, u64)> {
        let pages =
            PLACES.iter().flat_map(|&(start, pages)| (0..pages).map(move |n| start + (n << 12)));
        let contents = one.chunks(4096).zip(other.chunks(4096));
        let mut found = Vec::new();
        for (page, (one, other)) in pages.zip(contents).filter(|(_, (one, other))| one != other) {
            let words = one.as_chunks().0.iter().zip(other.as_chunks().0).zip(0..);
            let differing = words.filter(|((one, other), _)| one != other);
            found.extend(differing.map(|((one, _), n)| (page + 8 * n, u64::from_le_bytes(*one))));
        }
        found
    }

    /// A write that the machine does not learn of: in the end, memory is as the machine left it.
    fn poke(&mut self, pa: u64, value: u64) {
        self.bare.machine.sys.bus.ram.write(pa, value).expect("in memory");
    }

    fn restore(&mut self, to: &[u8], from: &[u8]) {
        for (pa, value) in Bed::differences(to, from) {
            self.poke(pa, value);
        }
    }

    /// Whether memory is as the machine left it.
    fn check(&self, after: &[u8]) {
        let wrong = Bed::differences(&self.snapshot(), after);
        assert!(wrong.is_empty(), "{wrong:x?}: {:#?}", self.log);
    }

    /// A change of a table: by a debugger, which writes like a device, or by a hart in M-mode.
    fn change_table(&mut self, hart: usize, va: u64) {
        let any = TABLES + (self.random.below(TABLE_PAGES) << 12) + 8 * self.random.of(&SLOTS);
        let sight = self.sights[hart];
        let (at, value) = match (self.last_entry(sight.satp, va), self.random.below(8)) {
            (Some((at, level)), 0..5) => (at, self.random.good_pte(level, sight.privilege)),
            (Some((at, _)), 5..7) => (at, self.bare.get(at) ^ 1 << self.random.below(10)),
            _ => (any, self.random.pte()),
        };
        if self.random.one_in(8) {
            self.log.push(format!("device: {at:#x} = {value:#x}"));
            return self.bare.put(at, value);
        }
        let times = if self.random.one_in(20) { 40 } else { 1 };
        self.log.push(format!("hart {hart}: {at:#x} = {value:#x} {times} times"));
        let machine = &mut self.bare.machine;
        assert!(machine.set_csr(hart, csr::MSTATUS, 0));
        for _ in 0..times {
            machine.set_x(hart, 11, at);
            machine.set_x(hart, 12, value);
            machine.set_pc(hart, CODE + 8 * 3);
            machine.step(hart);
        }
        assert_eq!(self.bare.get(at), value);
        self.look(hart);
    }

    fn run(&mut self, steps: u64) {
        let mut vas = [0; 4];
        for step in 0..steps {
            if self.log.len() > 40 {
                self.log.remove(0);
            }
            let hart = self.random.below(2) as usize;
            if step % 100 == 0 {
                vas = std::array::from_fn(|_| self.va());
            }
            let va = self.random.of(&vas);
            match self.random.below(16) {
                0 => self.change_sight(hart),
                1..4 => self.change_table(hart, va),
                4 => {
                    self.bare.machine.set_pc(hart, FENCE);
                    self.bare.machine.step(hart);
                }
                5..8 => self.fetch(hart, va),
                _ => {
                    let which = self.random.below(ACCESSES.len() as u64) as usize;
                    self.access(hart, which, va);
                }
            }
        }
    }
}

#[test]
fn every_access_sees_the_tables_as_they_are() {
    for seed in 0..100 {
        Bed::new(seed).run(1000);
    }
}
