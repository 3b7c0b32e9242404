//! The engine: exact counts and times, code that changes, accesses across pages, precise traps.

mod bare;

use bare::{BASE, Bare, HANDLER};
use emu::events::{Events, NoEvents, View};
use emu::inspect::{Debuggee, Hit, Inspect, Points, Watch};
use emu::machine::{MachineConfig, Stop};
use emu::mmu::Access;
use isa::asm::{csrr, i, r, s};
use isa::csr::{envcfg, mip, mstatus};
use isa::paging::{Mode, Pte};
use isa::trap::Cause;
use isa::{Inst, Op, Priv, csr, encode};

const RWX: u64 = Pte::V | Pte::R | Pte::W | Pte::X | Pte::A | Pte::D;

/// Counts in memory, reads the time, jumps about, multiplies; never ends.
fn busy<E: Events>(bare: &mut Bare<E>) {
    let code = [
        i(Op::Addi, 5, 5, 3),
        r(Op::Mul, 6, 5, 5),
        r(Op::Xor, 7, 7, 6),
        csrr(8, csr::TIME),
        r(Op::Add, 9, 9, 8),
        csrr(28, csr::MINSTRET),
        r(Op::Xor, 7, 7, 28),
        s(Op::Sd, 20, 7, 0),
        i(Op::Ld, 10, 20, 0),
        i(Op::Andi, 11, 10, 7),
        s(Op::Beq, 11, 0, -40),
        i(Op::Addi, 12, 12, 1),
        i(Op::Jal, 0, 0, -48),
    ];
    bare.code(BASE, &code);
    bare.code(HANDLER, &[i(Op::Addi, 13, 13, 1), csrr(14, csr::MEPC), r(Op::Add, 15, 15, 14)]);
    // The next timer interrupt comes 37 ticks later.
    let again =
        [i(Op::Ld, 16, 21, 0), i(Op::Addi, 16, 16, 37), s(Op::Sd, 21, 16, 0), Inst::new(Op::Mret)];
    bare.code(HANDLER + 12, &again);
    for hart in 0..bare.machine.harts() {
        bare.machine.set_x(hart, 20, BASE + 0x5000 + 64 * hart as u64);
        bare.machine.set_x(hart, 21, 0x200_4000 + 8 * hart as u64);
        assert!(bare.machine.set_csr(hart, csr::MIE, mip::MTIP));
        assert!(bare.machine.set_csr(hart, csr::MSTATUS, mstatus::MIE));
    }
    bare.machine.sys.bus.write(0x200_4000, 8, 500, 0).expect("mtimecmp");
}

fn state<E: Events>(bare: &Bare<E>) -> Vec<u64> {
    let harts = 0..bare.machine.harts();
    let registers = |hart| (0..32).map(move |n| (hart, n)).collect::<Vec<_>>();
    let mut all: Vec<_> =
        harts.clone().flat_map(registers).map(|(hart, n)| bare.machine.x(hart, n)).collect();
    all.extend(harts.map(|hart| bare.machine.pc(hart)));
    all.extend([bare.machine.time(), bare.machine.insns(), bare.get(BASE + 0x5000)]);
    all
}

fn run_busy(config: MachineConfig) -> Vec<u64> {
    run_watched(config, NoEvents).0
}

fn run_watched<E: Events>(config: MachineConfig, events: E) -> (Vec<u64>, E) {
    let mut bare = Bare::with_events(config, events);
    busy(&mut bare);
    assert_eq!(bare.run(), Stop::MaxInsns);
    assert_eq!(Some(bare.machine.insns()), config.max_insns);
    (state(&bare), bare.machine.events)
}

#[test]
fn turns_do_not_show_on_a_single_hart() {
    let config = MachineConfig { max_insns: Some(200_003), ..MachineConfig::default() };
    let usual = run_busy(config);
    assert!(usual[13] > 10, "timer interrupts were taken");
    for turn in [1, 2, 3, 7, 64, 9_999] {
        assert_eq!(run_busy(MachineConfig { turn: Some(turn), ..config }), usual, "{turn}");
    }
}

#[test]
fn a_seed_gives_one_run_and_another_seed_another() {
    let run = |seed| {
        run_busy(MachineConfig { harts: 3, seed, max_insns: Some(300_001), ..Default::default() })
    };
    assert_eq!(run(0), run(0));
    assert_eq!(run(5), run(5));
    assert_ne!(run(5), run(6));
}

/// Counts what it sees.
#[derive(Default)]
struct Counts {
    insns: u64,
    accesses: u64,
    traps: u64,
    returns: u64,
}

impl Events for Counts {
    const INSNS: bool = true;
    const ACCESSES: bool = true;

    fn inst_executed(&mut self, view: &View, _: u64, _: &Inst) {
        assert_eq!(view.hart.retired(), self.insns);
        self.insns += 1;
    }

    fn accessed(&mut self, _: &View, _: u64, _: u64, access: Access) {
        self.accesses += u64::from(access != Access::Fetch);
    }

    fn trap_taken(&mut self, _: &View, _: Cause, _: u64, _: u64, _: Priv) {
        self.traps += 1;
    }

    fn trap_returned(&mut self, _: &View, _: u64) {
        self.returns += 1;
    }
}

#[test]
fn observers_see_everything_and_change_nothing() {
    let config = MachineConfig { max_insns: Some(50_003), ..MachineConfig::default() };
    let (watched, counts) = run_watched(config, Counts::default());
    assert_eq!(watched, run_busy(config));
    assert_eq!((counts.insns, counts.traps), (50_003, watched[13]));
    assert!(counts.returns.abs_diff(counts.traps) <= 1);
    // A store and a load in every round, which register 5 counts by threes; as much in traps.
    let expected = 2 * (watched[5] / 3 + counts.traps);
    assert!(counts.accesses.abs_diff(expected) <= 4, "{} {expected}", counts.accesses);
}

#[test]
fn debuggers_stop_where_they_want() {
    let mut bare = Bare::one();
    let code = [
        i(Op::Addi, 5, 5, 1),
        s(Op::Sd, 20, 5, 0),
        i(Op::Ld, 6, 20, 8),
        s(Op::Blt, 5, 29, -12),
        i(Op::Jal, 0, 0, 0),
    ];
    bare.code(BASE, &code);
    bare.set_x(20, BASE + 0x5000);
    bare.set_x(29, 3);
    let Bare { machine, console } = &mut bare;
    let mut points = Points::default();
    points.breakpoints.insert(BASE + 8);
    for round in 1..=3 {
        assert_eq!(machine.go(console, &points), Stop::Point { hart: 0, hit: Hit::Breakpoint });
        assert_eq!((machine.pc(0), machine.x(0, 5)), (BASE + 8, round));
    }
    machine.set_pc(0, BASE);
    machine.set_x(0, 5, 0);
    let watch = Watch { va: BASE + 0x5003, len: 1, loads: false, stores: true };
    let points = Points { watches: vec![watch], ..Points::default() };
    for round in 1..=3 {
        assert_eq!(machine.go(console, &points), Stop::Point { hart: 0, hit: Hit::Watch(watch) });
        assert_eq!((machine.pc(0), machine.x(0, 5)), (BASE + 8, round));
    }
    let elsewhere = Watch { va: BASE + 0x5008, len: 8, loads: true, stores: false };
    let points = Points { watches: vec![elsewhere], ..Points::default() };
    machine.set_pc(0, BASE);
    assert_eq!(machine.go(console, &points), Stop::Point { hart: 0, hit: Hit::Watch(elsewhere) });
    assert_eq!(machine.pc(0), BASE + 12);
    assert_eq!(machine.step(0), None);
    assert_eq!(machine.pc(0), BASE + 16);
}

#[test]
fn time_is_shared_by_the_harts_that_run() {
    let time = |harts| {
        let config = MachineConfig { harts, max_insns: Some(80_000), ..Default::default() };
        let mut bare = Bare::new(config);
        bare.code(BASE, &[i(Op::Jal, 0, 0, 0)]);
        bare.run();
        bare.machine.time()
    };
    assert_eq!((time(1), time(2), time(8)), (8000, 4000, 1000));
}

#[test]
fn a_timer_interrupt_comes_at_the_very_instruction() {
    let mut bare = Bare::one();
    bare.code(BASE, &[i(Op::Addi, 5, 5, 1); 900]);
    bare.code(BASE + 3600, &[i(Op::Jal, 0, 0, 0)]);
    bare.set_csr(csr::MENVCFG, envcfg::STCE);
    bare.set_csr(csr::STIMECMP, 30);
    bare.set_csr(csr::MIE, mip::STIP);
    bare.set_csr(csr::MSTATUS, mstatus::MIE);
    bare.code(HANDLER, &[Inst::new(Op::Wfi)]);
    // The comparison stays true, so that WFI does not wait: a store to the finisher ends the run.
    bare.set_x(6, 0x10_0000);
    bare.set_x(7, 0x5555);
    bare.code(HANDLER + 4, &[s(Op::Sw, 6, 7, 0)]);
    assert!(matches!(bare.run(), Stop::Exit(_)));
    assert_eq!((bare.x(5), bare.csr(csr::MEPC)), (300, BASE + 1200));
    assert_eq!(bare.csr(csr::MCAUSE), 1 << 63 | 5);
    assert_eq!(bare.machine.insns(), 302);
}

#[test]
fn stores_to_code_are_seen_by_the_next_instruction() {
    let mut bare = Bare::one();
    let new = u64::from(encode(&i(Op::Addi, 5, 5, 100)));
    bare.set_x(6, BASE);
    bare.set_x(7, new);
    let code = [
        i(Op::Addi, 28, 28, 1),
        s(Op::Sw, 6, 7, 12),
        i(Op::Addi, 0, 0, 0),
        i(Op::Addi, 5, 5, 1),
        s(Op::Blt, 28, 29, -16),
        i(Op::Jal, 0, 0, 0),
    ];
    bare.code(BASE, &code);
    bare.set_x(29, 3);
    for _ in 0..4 {
        bare.step();
    }
    assert_eq!(bare.x(5), 100, "not the instruction that was decoded with the store");
    // In a loop, through linked blocks, the other way round.
    bare.code(BASE + 12, &[i(Op::Addi, 5, 5, 1)]);
    bare.set_x(7, u64::from(encode(&i(Op::Addi, 5, 5, 7))));
    bare.set_x(5, 0);
    bare.set_x(28, 0);
    bare.set_pc(BASE);
    for _ in 0..15 {
        bare.step();
    }
    assert_eq!(bare.x(5), 21);
}

#[test]
fn stores_by_other_harts_to_code_are_seen() {
    let config =
        MachineConfig { harts: 2, turn: Some(50), max_insns: Some(400), ..Default::default() };
    let mut bare = Bare::new(config);
    let other = BASE + 0x3000;
    bare.code(other, &[i(Op::Addi, 5, 5, 1), i(Op::Jal, 0, 0, -4)]);
    bare.machine.set_pc(1, other);
    // Hart 0 stores once, from its second turn on at the latest.
    let wait = [i(Op::Addi, 28, 28, 1), s(Op::Blt, 28, 29, -4), s(Op::Sw, 6, 7, 0)];
    bare.code(BASE, &wait);
    bare.code(BASE + 12, &[i(Op::Jal, 0, 0, 0)]);
    bare.set_x(29, 30);
    bare.set_x(6, other);
    bare.set_x(7, u64::from(encode(&i(Op::Addi, 9, 9, 1))));
    assert_eq!(bare.run(), Stop::MaxInsns);
    assert_eq!((bare.machine.x(1, 5), bare.machine.x(1, 9)), (25, 75));
}

#[test]
fn page_tables_and_code_may_share_a_page() {
    let mut bare = Bare::one();
    bare.translate(Mode::Sv39, BASE + 0x10000);
    let mut tables = BASE + 0x11000;
    // The last-level table is also mapped as code: A is set in it while it executes.
    let pte = bare.map(BASE, BASE, RWX, &mut tables);
    let table = pte & !0xfff;
    bare.map(table, table, RWX, &mut tables);
    let fresh = bare.map(BASE + 0x5000, BASE + 0x5000, RWX & !Pte::A & !Pte::D, &mut tables);
    bare.code(table + 0xe00, &[i(Op::Ld, 5, 6, 0), s(Op::Sd, 6, 5, 8), i(Op::Jal, 0, 0, -8)]);
    bare.set_x(6, BASE + 0x5000);
    bare.set_privilege(Priv::Supervisor);
    bare.set_pc(table + 0xe00);
    for (n, low) in [(1, RWX & !Pte::D), (1, RWX)] {
        for _ in 0..n {
            assert_eq!(bare.step(), None);
        }
        assert_eq!(bare.get(fresh) & 0xff, low);
    }
}

#[test]
fn misaligned_accesses_cross_pages_whole_or_not_at_all() {
    let mut bare = Bare::one();
    bare.translate(Mode::Sv48, BASE + 0x10000);
    let mut tables = BASE + 0x12000;
    let va = 0x7fff_ffff_e000;
    bare.map(0x1000, BASE, RWX, &mut tables);
    bare.map(va, BASE + 0x5000, RWX, &mut tables);
    let second = bare.map(va + 0x1000, BASE + 0x7000, RWX, &mut tables);
    bare.code(BASE, &[i(Op::Ld, 5, 6, 0), s(Op::Sd, 6, 7, 0), i(Op::Lh, 8, 6, 0)]);
    bare.put(BASE + 0x5ff8, 0x1122_3344_5566_7788);
    bare.put(BASE + 0x7000, 0x99aa_bbcc_ddee_ff00);
    bare.set_x(6, va + 0xffb);
    bare.set_x(7, 0x0102_0304_0506_0708);
    bare.set_privilege(Priv::Supervisor);
    bare.set_pc(0x1000);
    assert_eq!(bare.step(), None);
    assert_eq!(bare.x(5), 0xeeff_0011_2233_4455u64);
    assert_eq!(bare.step(), None);
    assert_eq!(bare.get(BASE + 0x5ff8), 0x0405_0607_0866_7788);
    assert_eq!(bare.get(BASE + 0x7000), 0x99aa_bbcc_dd01_0203);
    // Without the second page nothing is stored, and its address is reported.
    bare.put(second, 0);
    bare.set_privilege(Priv::Supervisor);
    bare.set_x(7, 0);
    bare.set_pc(0x1004);
    assert_eq!(bare.step(), Some((15, va + 0x1000)));
    assert_eq!(bare.get(BASE + 0x5ff8), 0x0405_0607_0866_7788);
    bare.set_privilege(Priv::Supervisor);
    bare.set_x(6, va + 0xfff);
    bare.set_pc(0x1008);
    assert_eq!(bare.step(), Some((13, va + 0x1000)));
    // Both absent: the first is reported.
    bare.set_x(6, va + 0x1fff);
    bare.set_privilege(Priv::Supervisor);
    bare.set_pc(0x1004);
    assert_eq!(bare.step(), Some((15, va + 0x1fff)));
}

#[test]
fn instructions_cross_pages_and_fault_with_the_half_that_is_missing() {
    let mut bare = Bare::one();
    bare.translate(Mode::Sv39, BASE + 0x10000);
    let mut tables = BASE + 0x11000;
    bare.map(0x1000, BASE + 0x5000, RWX, &mut tables);
    let second = bare.map(0x2000, BASE + 0x3000, RWX, &mut tables);
    let bits = encode(&i(Op::Addi, 5, 5, 0x123));
    bare.put(BASE + 0x5ff8, u64::from(bits as u16) << 48);
    bare.put(BASE + 0x3000, u64::from(bits >> 16) | 0x0001 << 16);
    bare.set_privilege(Priv::Supervisor);
    bare.set_pc(0x1ffe);
    assert_eq!(bare.step(), None);
    assert_eq!((bare.x(5), bare.pc()), (0x123, 0x2002));
    // The second half changes: nothing stale is executed.
    let bits = encode(&i(Op::Addi, 5, 5, 0x100));
    bare.put(BASE + 0x3000, u64::from(bits >> 16));
    bare.set_pc(0x1ffe);
    assert_eq!(bare.step(), None);
    assert_eq!(bare.x(5), 0x223);
    bare.put(second, 0);
    bare.set_privilege(Priv::Supervisor);
    bare.set_pc(0x1ffe);
    assert_eq!(bare.step(), Some((12, 0x2000)));
    assert_eq!(bare.csr(csr::MEPC), 0x1ffe);
}

#[test]
fn traps_tell_the_value_that_the_manual_asks_for() {
    let mut bare = Bare::one();
    let cases = [
        (0x0010_0073, 3, BASE),
        (0x0000_0073, 11, 0),
        (0xffff_ffff, 2, 0xffff_ffff),
        (0x1234_0000, 2, 0),
        (0x3000_2573, 2, 0x3000_2573),
        (encode(&r(Op::AmoaddW, 5, 6, 7)), 6, BASE + 0x101),
        (encode(&r(Op::LrD, 5, 6, 0)), 4, BASE + 0x101),
        (encode(&r(Op::ScW, 5, 6, 7)), 6, BASE + 0x101),
        (encode(&i(Op::Ld, 5, 28, 0)), 5, 0x1000),
        (encode(&s(Op::Sw, 28, 5, 8)), 7, 0x1008),
        (encode(&i(Op::Lw, 5, 29, 1)), 5, 0x1000_0001),
        (encode(&r(Op::AmoaddW, 5, 29, 7)), 7, 0x1000_0000),
    ];
    bare.set_x(6, BASE + 0x101);
    bare.set_x(28, 0x1000);
    bare.set_x(29, 0x1000_0000);
    for (bits, cause, value) in cases {
        bare.put(BASE, bits.into());
        bare.set_csr(csr::MSTATUS, 0);
        // `mstatus` itself is legal; from U-mode the access is not.
        let user = bits == 0x3000_2573;
        bare.set_privilege(if user { Priv::User } else { Priv::Machine });
        bare.set_pc(BASE);
        assert_eq!(bare.step(), Some((cause, value)), "{bits:#x}");
        assert_eq!(bare.csr(csr::MEPC), BASE);
    }
    bare.set_privilege(Priv::Machine);
    bare.set_pc(0x1_0000_0000);
    assert_eq!(bare.step(), Some((1, 0x1_0000_0000)));
}

#[test]
fn trap_state_is_stacked_and_vectors_are_used() {
    let mut bare = Bare::one();
    bare.set_csr(csr::STVEC, BASE + 0x4001);
    bare.set_csr(csr::MEDELEG, 1 << 8);
    bare.set_csr(csr::MIDELEG, mip::SSIP);
    bare.set_csr(csr::MIE, mip::ALL);
    bare.code(BASE, &[Inst::new(Op::Ecall)]);
    bare.code(BASE + 0x4000, &[Inst::new(Op::Sret)]);
    bare.set_csr(csr::MSTATUS, mstatus::SIE);
    bare.set_privilege(Priv::User);
    bare.set_pc(BASE);
    assert_eq!(bare.step(), None, "not to M-mode");
    assert_eq!((bare.pc(), bare.csr(csr::SCAUSE)), (BASE + 0x4000, 8));
    let expected = mstatus::SPIE | mstatus::UXL_64 | mstatus::SXL_64;
    assert_eq!((bare.csr(csr::SEPC), bare.csr(csr::MSTATUS)), (BASE, expected));
    bare.step();
    let expected = mstatus::SIE | mstatus::SPIE | mstatus::UXL_64 | mstatus::SXL_64;
    assert_eq!((bare.pc(), bare.csr(csr::MSTATUS)), (BASE, expected));
    assert_eq!(bare.machine.harts[0].privilege, Priv::User);
    bare.set_csr(csr::MIP, mip::SSIP);
    bare.step();
    assert_eq!((bare.pc(), bare.csr(csr::SCAUSE)), (BASE + 0x4004, 1 << 63 | 1));
    // In S-mode with SIE clear it stays pending.
    bare.set_pc(BASE + 0x4000);
    bare.step();
    assert_eq!(bare.pc(), BASE);
}

#[test]
fn reservations_do_not_survive_others() {
    let code = [
        r(Op::LrD, 5, 20, 0),
        i(Op::Addi, 6, 5, 1),
        r(Op::ScD, 7, 20, 6),
        s(Op::Bne, 7, 0, -12),
        i(Op::Addi, 28, 28, 1),
        s(Op::Bne, 28, 29, -20),
        i(Op::Jal, 0, 0, 0),
    ];
    for turn in [40, 41, 43, 50, 51, 997] {
        let config = MachineConfig {
            harts: 4,
            turn: Some(turn),
            max_insns: Some(100_000),
            ..Default::default()
        };
        let mut bare = Bare::new(config);
        bare.code(BASE, &code);
        for hart in 0..4 {
            bare.machine.set_x(hart, 20, BASE + 0x5000);
            bare.machine.set_x(hart, 29, 1000);
        }
        bare.run();
        assert_eq!(bare.get(BASE + 0x5000), 4000, "{turn}");
    }
}

#[test]
fn store_conditional_needs_its_own_reservation() {
    let mut bare = Bare::one();
    bare.set_x(20, BASE + 0x5000);
    bare.set_x(21, BASE + 0x5008);
    let code = [
        r(Op::ScD, 5, 20, 20),
        r(Op::LrD, 6, 20, 0),
        r(Op::ScD, 7, 21, 20),
        r(Op::ScD, 8, 20, 20),
        r(Op::LrD, 9, 20, 0),
        r(Op::ScD, 10, 20, 21),
        r(Op::ScD, 11, 20, 20),
    ];
    bare.code(BASE, &code);
    for _ in 0..code.len() {
        bare.step();
    }
    let results: Vec<_> = [5, 7, 8, 10, 11].map(|n| bare.x(n)).into();
    assert_eq!(results, [1, 1, 1, 0, 1]);
    assert_eq!((bare.get(BASE + 0x5000), bare.get(BASE + 0x5008)), (BASE + 0x5008, 0));
}

#[test]
fn translation_modes_reach_as_far_as_they_say() {
    for (mode, highest) in [(Mode::Sv39, 1u64 << 38), (Mode::Sv48, 1 << 47), (Mode::Sv57, 1 << 56)]
    {
        let mut bare = Bare::one();
        bare.translate(mode, BASE + 0x10000);
        let mut tables = BASE + 0x11000;
        bare.map(0x1000, BASE, RWX, &mut tables);
        for va in [highest - 0x1000, highest.wrapping_neg()] {
            bare.map(va, BASE + 0x5000, RWX, &mut tables);
            bare.code(BASE, &[i(Op::Ld, 5, 6, 8)]);
            bare.put(BASE + 0x5008, va);
            bare.set_x(6, va);
            bare.set_privilege(Priv::Supervisor);
            bare.set_pc(0x1000);
            assert_eq!(bare.step(), None, "{mode:?} {va:#x}");
            assert_eq!(bare.x(5), va);
        }
        for va in [highest, highest.wrapping_neg() - 0x1000] {
            bare.set_x(6, va);
            bare.set_privilege(Priv::Supervisor);
            bare.set_pc(0x1000);
            assert_eq!(bare.step(), Some((13, va + 8)), "{mode:?} {va:#x}");
        }
    }
}

#[test]
fn superpages_napot_and_memory_types() {
    const LOAD: [Inst; 1] = [i(Op::Ld, 5, 6, 0)];
    let mut bare = Bare::one();
    bare.translate(Mode::Sv39, BASE + 0x10000);
    let mut tables = BASE + 0x11000;
    bare.map(0x1000, BASE, RWX, &mut tables);
    bare.code(BASE, &LOAD);
    let leaf = bare.map(0x4003_3000, 0, 0, &mut tables);
    let ppn = BASE >> 12;
    let root = BASE + 0x10000 + 8;
    let middle = Pte(bare.get(root)).ppn().0 << 12;
    let below = bare.get(middle);
    bare.put(BASE + 0x3_3000, 0x33);
    bare.put(BASE + 0x3000, 0x3);
    let n = Pte::N;
    let pbmt = |kind: u64| kind << 61;
    // Where, PTE, PBMTE, what is read.
    let cases = [
        (leaf, Pte::new(isa::paging::Ppn(ppn + 0x33), RWX).0, 0, Some(0x33)),
        (leaf, Pte::new(isa::paging::Ppn(ppn + 8), RWX).0 | n, 0, Some(0x3)),
        (leaf, Pte::new(isa::paging::Ppn(ppn + 4), RWX).0 | n, 0, None),
        (leaf, Pte::new(isa::paging::Ppn(ppn + 3), RWX).0 | pbmt(1), 0, None),
        (leaf, Pte::new(isa::paging::Ppn(ppn + 3), RWX).0 | pbmt(1), 1, Some(0x3)),
        (leaf, Pte::new(isa::paging::Ppn(ppn + 3), RWX).0 | pbmt(2), 1, Some(0x3)),
        (leaf, Pte::new(isa::paging::Ppn(ppn + 3), RWX).0 | pbmt(3), 1, None),
        (leaf, Pte::new(isa::paging::Ppn(ppn + 3), RWX).0 | 1 << 54, 0, None),
        (leaf, Pte::new(isa::paging::Ppn(ppn + 3), RWX).0 | 1 << 60, 0, None),
        (leaf, Pte::new(isa::paging::Ppn(ppn + 3), Pte::V).0, 0, None),
        (middle, Pte::new(isa::paging::Ppn(ppn), RWX).0, 0, Some(0x33)),
        (middle, Pte::new(isa::paging::Ppn(ppn), RWX).0 | n, 0, None),
        (middle, Pte::new(isa::paging::Ppn(ppn + 1), RWX).0, 0, None),
        (middle, below | Pte::A, 0, None),
        (middle, below | Pte::D, 0, None),
        (middle, below | Pte::U, 0, None),
        (middle, below | pbmt(1), 1, None),
        (root, Pte::new(isa::paging::Ppn(ppn), RWX).0, 0, Some(0x33)),
        (root, Pte::new(isa::paging::Ppn(ppn + 0x200), RWX).0, 0, None),
    ];
    for (at, pte, pbmte, expected) in cases {
        let old = bare.get(at);
        bare.put(at, pte);
        bare.set_csr(csr::MENVCFG, pbmte * envcfg::PBMTE);
        bare.set_x(6, 0x4003_3000);
        bare.set_privilege(Priv::Supervisor);
        bare.set_pc(0x1000);
        let trap = bare.step();
        let read = if trap.is_none() { Some(bare.x(5)) } else { None };
        assert_eq!(read, expected, "{at:#x} {pte:#x} {trap:?}");
        assert!(trap.is_none_or(|trap| trap == (13, 0x4003_3000)));
        bare.put(at, old);
    }
}

#[test]
fn physical_protection_holds_for_accesses_and_for_tables() {
    let mut bare = Bare::one();
    bare.translate(Mode::Sv39, BASE + 0x10000);
    let mut tables = BASE + 0x11000;
    bare.map(0x1000, BASE, RWX, &mut tables);
    let fresh = bare.map(0x2000, BASE + 0x5000, RWX & !Pte::D, &mut tables);
    bare.code(BASE, &[i(Op::Ld, 5, 6, 0), s(Op::Sd, 6, 5, 0)]);
    let everything = u64::MAX;
    let try_both = |bare: &mut Bare, entries: &[(u8, u64)]| {
        let mut config = 0;
        for (n, (byte, address)) in entries.iter().enumerate() {
            bare.set_csr(csr::PMPADDR0 + n as u16, *address);
            config |= u64::from(*byte) << (8 * n);
        }
        bare.set_csr(csr::PMPCFG0, config);
        [0x1000, 0x1004].map(|pc| {
            bare.set_x(6, 0x2ff8);
            bare.set_privilege(Priv::Supervisor);
            bare.set_pc(pc);
            bare.step()
        })
    };
    let napot = |start: u64, size: u64| start >> 2 | (size / 8 - 1);
    let all = (0x1f, everything);
    assert_eq!(try_both(&mut bare, &[all]), [None, None]);
    let page = napot(BASE + 0x5000, 0x1000);
    assert_eq!(try_both(&mut bare, &[(0x19, page), all]), [None, Some((7, 0x2ff8))]);
    // Only the last eight bytes are protected: the rest of the page must not let them in.
    let end = napot(BASE + 0x5ff8, 8);
    let both = [Some((5, 0x2ff8)), Some((7, 0x2ff8))];
    assert_eq!(try_both(&mut bare, &[(0x18, end), all]), both);
    let table = napot(fresh & !0xfff, 0x1000);
    // A table that cannot be read; the code page's translation is in it as well.
    assert_eq!(try_both(&mut bare, &[(0x18, table), all]), [Some((1, 0x1000)), Some((1, 0x1004))]);
    // A table that cannot be written: D cannot be set.
    let clean = bare.get(fresh) & !Pte::D;
    bare.put(fresh, clean);
    assert_eq!(try_both(&mut bare, &[(0x19, table), all]), [None, Some((7, 0x2ff8))]);
    assert_eq!(bare.get(fresh), clean);
    assert_eq!(try_both(&mut bare, &[(0, 0), (0, 0)]), [Some((1, 0x1000)), Some((1, 0x1004))]);
}
