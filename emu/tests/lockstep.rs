//! The engines against each other: random streams of instructions leave the same machine behind at
//! every turn's end, whether they are interpreted or translated. `cargo xtask fuzz` runs more of
//! them.

mod bare;

use std::collections::HashSet;
use std::time::Duration;

use bare::{BASE, Bare};
use emu::console::{Flow, HostConsole, Idle};
use emu::dev::uart16550::Uart;
use emu::inspect::Inspect;
use emu::jit::Engine;
use emu::machine::MachineConfig;
use fuzz::case::{Case, Kind, Timer};
use fuzz::generate::{for_engines, generate};
use fuzz::layout::{ALIAS, CODE, DATA as DATA_PAGE, PAGE};
use fuzz::lockstep::{self, ENGINES};
use fuzz::show::Show;
use fuzz::shrink::shrink;
use isa::asm::{i, s};
use isa::paging::{Mode, Pte};
use isa::{Inst, Op, Priv, decode};

/// Data that loops use.
const DATA: u64 = BASE + 0x4000;

/// Compares the engines on a case, and shows a smaller one if they differ.
fn agree(case: Case) {
    let Some(first) = lockstep::run(&case, &ENGINES) else { return };
    let fails = |case: &Case| lockstep::run(case, &[first.engine]).is_some();
    let small = shrink(&case, Duration::from_secs(20), fails);
    let now = lockstep::run(&small, &[first.engine]);
    panic!("seed {}: {first:?}, made smaller {now:?}:\n{}", case.seed, Show(&small));
}

#[test]
fn engines_agree_on_random_streams() {
    (0..150).for_each(|seed| agree(for_engines(seed)));
}

/// S- and U-mode with tables that change under the code.
#[test]
fn engines_agree_while_page_tables_change() {
    let cases = (1000..).map(for_engines);
    cases.filter(|case| case.paging && case.start != Priv::Machine).take(100).for_each(agree);
}

#[test]
fn engines_agree_with_interrupts_at_every_boundary() {
    for seed in 2000..2002 {
        let case = Case { insns: 1500, ..generate(seed, Kind::Ours) };
        // A tick is ten instructions; the others move the stream by less than one.
        for (first, pad) in (24..44).flat_map(|first| (0..10).map(move |pad| (first, pad))) {
            let supervisor = seed % 2 == 0;
            let timer = Some(Timer { first, every: 10 + first % 7, supervisor });
            agree(Case { timer, pad, mie: u64::MAX, ..case.clone() });
        }
    }
}

/// Loops that fill and copy, over page ends, with interrupts of turns anywhere.
#[test]
fn engines_agree_on_loops_over_memory() {
    let (a, b, end) = (10, 11, 12);
    let bump = |register, by| i(Op::Addi, register, register, by);
    let bodies: [&[Inst]; 5] = [
        &[s(Op::Sb, a, 13, 0), bump(a, 1), s(Op::Bne, a, end, -8)],
        &[s(Op::Sd, a, 13, 0), s(Op::Sd, a, 13, 8), bump(a, 16), s(Op::Bltu, a, end, -12)],
        &[
            i(Op::Lbu, 14, b, 0),
            bump(b, 1),
            bump(a, 1),
            s(Op::Sb, a, 14, -1),
            s(Op::Bne, a, end, -16),
        ],
        &[
            i(Op::Ld, 14, b, 0),
            bump(b, 8),
            s(Op::Sd, a, 14, 0),
            bump(a, 8),
            s(Op::Bltu, a, end, -16),
        ],
        &[s(Op::Sw, a, 0, 0), bump(a, 4), bump(15, -1), s(Op::Bne, 15, 0, -12)],
    ];
    let end_of = |engine, turn, insns, body: &[Inst], apart: u64| {
        let max_insns = Some(insns);
        let mut bare =
            Bare::new(MachineConfig { engine, turn: Some(turn), max_insns, ..Default::default() });
        let again =
            [i(Op::Addi, a, 20, 0), i(Op::Addi, b, 21, 0), i(Op::Addi, 15, 16, 0), bump(13, 77)];
        bare.code(BASE, &[&again[..], body].concat());
        let back = -4 * (again.len() + body.len()) as i32;
        bare.code(BASE.wrapping_sub(back as u64), &[i(Op::Jal, 0, 0, back)]);
        for (register, value) in [
            (20, DATA),
            (21, DATA.wrapping_add(apart)),
            (12, DATA + 0x1f00),
            (16, 0x7c0),
            (13, 0x1234_5678),
        ] {
            bare.machine.set_x(0, register, value);
        }
        (0..0x600).for_each(|n| bare.put(DATA + 8 * n, n * 0x0123_4567_89ab));
        bare.run();
        let mut state: Vec<u64> = (0..32).map(|n| bare.machine.x(0, n)).collect();
        state.extend([bare.machine.pc(0), bare.machine.insns(), bare.machine.time()]);
        let memory = bare.machine.sys.bus.ram.bytes(DATA, 0x8000).expect("memory");
        state.extend(memory.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)));
        state
    };
    for (n, body) in bodies.into_iter().enumerate() {
        for (turn, insns) in [(10_000, 50_001), (10_000, 77_777), (501, 60_003), (33, 20_017)] {
            // Far from each other, overlapping either way, and the same.
            for apart in [0x3000, 0x10, 0u64.wrapping_sub(0x18), 0] {
                let expected = end_of(Engine::Interp, turn, insns, body, apart);
                let found = end_of(Engine::Jit, turn, insns, body, apart);
                assert_eq!(expected, found, "body {n}, turn {turn}, {insns}, {apart:#x}");
            }
        }
    }
}

/// Code that takes its own page away: the very next instruction is not found, however the block
/// behind it was linked before.
#[test]
fn engines_agree_on_code_that_unmaps_itself() {
    let body = [
        i(Op::Addi, 5, 5, 1),
        s(Op::Sd, 6, 7, 0),
        i(Op::Addi, 8, 8, 1),
        s(Op::Bne, 5, 9, -12),
        i(Op::Addi, 7, 0, 0),
        i(Op::Jal, 0, 0, -20),
    ];
    const RWX: u64 = Pte::V | Pte::R | Pte::W | Pte::X | Pte::A | Pte::D;
    let left_by = |engine| {
        let config = MachineConfig { engine, max_insns: Some(5000), ..Default::default() };
        let mut bare = Bare::new(config);
        bare.translate(Mode::Sv39, BASE + 0x10000);
        let mut tables = BASE + 0x11000;
        let pte = bare.map(0x5000, BASE + 0x5000, RWX, &mut tables);
        bare.map(0x6000, pte & !0xfff, RWX, &mut tables);
        bare.code(BASE + 0x5000, &body);
        bare.code(bare::HANDLER, &[i(Op::Jal, 0, 0, 0)]);
        for (register, value) in [(6, 0x6000 + pte % 0x1000), (7, bare.get(pte)), (9, 50)] {
            bare.set_x(register, value);
        }
        bare.set_privilege(Priv::Supervisor);
        bare.set_pc(0x5000);
        bare.run();
        [bare.csr(isa::csr::MEPC), bare.x(5), bare.x(8)]
    };
    for engine in [Engine::Interp, Engine::Jit, Engine::JitAtOnce] {
        assert_eq!(left_by(engine), [0x5008, 51, 50], "{engine:?}");
    }
}

/// A copy whose source comes to an end: what the last load brought is there when the next traps.
#[test]
fn engines_agree_on_copies_that_run_out_of_memory() {
    let end = BASE + (1 << 20);
    let body = [
        i(Op::Lbu, 14, 11, 0),
        i(Op::Addi, 11, 11, 1),
        s(Op::Sb, 10, 14, 0),
        i(Op::Addi, 10, 10, 1),
        s(Op::Bltu, 10, 12, -16),
    ];
    let left_by = |engine| {
        let config = MachineConfig { engine, max_insns: Some(5000), ..Default::default() };
        let mut bare = Bare::new(config);
        bare.code(BASE, &body);
        bare.code(bare::HANDLER, &[i(Op::Jal, 0, 0, 0)]);
        (0..512).for_each(|n| bare.put(end - 4096 + 8 * n, n.wrapping_mul(0x0123_4567_89ab_cdef)));
        for (register, value) in [(10, DATA), (11, end - 300), (12, DATA + 2000), (14, 0)] {
            bare.set_x(register, value);
        }
        bare.run();
        [bare.csr(isa::csr::MTVAL), bare.x(10), bare.x(14)]
    };
    let expected = left_by(Engine::Interp);
    assert_eq!(expected[..2], [end, DATA + 300]);
    assert_eq!(left_by(Engine::Jit), expected);
    assert_eq!(left_by(Engine::JitAtOnce), expected);
}

/// Floating-point state is dirty when it changes, not when a flag accrues once more.
#[test]
fn engines_agree_on_what_is_dirty() {
    use isa::csr::{FCSR, MSTATUS, mstatus};
    const CLEAN: u64 = 2 << 13;
    for engine in [Engine::Interp, Engine::Jit, Engine::JitAtOnce] {
        for (accrued, expected) in [(1, CLEAN), (0, mstatus::FS_DIRTY)] {
            let config = MachineConfig { engine, max_insns: Some(100), ..Default::default() };
            let mut bare = Bare::new(config);
            // 1.5 towards zero, and again.
            bare.code(BASE, &[Inst { rd: 5, imm: 1, ..Inst::new(Op::FcvtLS) }]);
            bare.code(BASE + 4, &[i(Op::Jal, 0, 0, -4)]);
            bare.set_csr(FCSR, accrued);
            bare.machine.set_f(0, 0, 0xffff_ffff_3fc0_0000);
            bare.set_csr(MSTATUS, CLEAN);
            bare.run();
            assert_eq!(bare.x(5), 1, "{engine:?}");
            assert_eq!(bare.csr(MSTATUS) & mstatus::FS, expected, "{engine:?}, {accrued}");
        }
    }
}

/// A handler that traps leads to itself, without an instruction: the console can stop that.
#[test]
fn handlers_that_trap_do_not_hang_the_host() {
    for engine in [Engine::Interp, Engine::Jit, Engine::JitAtOnce] {
        // Nothing but illegal instructions, and nothing but calls.
        for handler in [vec![], vec![Inst::new(Op::Ecall)]] {
            let mut bare = Bare::new(MachineConfig { engine, ..Default::default() });
            bare.code(bare::HANDLER, &handler);
            assert_eq!(bare.machine.run(&mut StopAtOnce), emu::machine::Stop::Console);
            assert_eq!((bare.machine.insns(), bare.pc()), (0, bare::HANDLER));
        }
    }
}

struct StopAtOnce;

impl HostConsole for StopAtOnce {
    fn turn(&mut self, _: &mut Uart, _: u64) -> Flow {
        Flow::Stop
    }

    fn idle(&mut self, _: &mut Uart, _: u64, _: Option<u64>) -> Idle {
        Idle::Stop
    }
}

/// The streams execute what they are made of, in all modes, rather than trapping all the time.
#[test]
fn streams_are_worth_it() {
    let (mut kinds, mut modes, mut total) = (HashSet::new(), [0; 4], 0);
    for case in (0..40).map(|seed| generate(seed, Kind::Ours)).filter(|case| case.harts == 1) {
        let trace = lockstep::trace(&case, 20_000);
        total += trace.len();
        for (mode, pc, word) in trace {
            let offset = (pc & !ALIAS).wrapping_sub(BASE);
            if (CODE * PAGE..DATA_PAGE * PAGE).contains(&offset) {
                modes[mode as usize] += 1;
                kinds.extend(decode(word).map(|inst| inst.op));
            }
        }
    }
    assert!(kinds.len() > Op::COUNT * 9 / 10, "{} kinds of instructions", kinds.len());
    assert!(modes.iter().sum::<usize>() > total / 5, "{modes:?} of {total}");
    assert!([0, 1, 3].iter().all(|mode| modes[*mode] > total / 100), "{modes:?} of {total}");
}
