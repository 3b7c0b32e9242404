//! The engines against each other: random streams of instructions leave the same machine behind,
//! after every number of instructions, whether they are interpreted or translated.

mod bare;

use bare::{BASE, Bare, HANDLER, i};
use emu::inspect::Inspect;
use emu::jit::Engine;
use emu::machine::{MachineConfig, Stop};
use isa::csr::{self, mstatus};
use isa::{Inst, Op, decode, encode};

/// Instructions of a stream; it starts again at its end.
const LENGTH: u64 = 600;
/// Data that the streams use, three pages.
const DATA: u64 = BASE + 0x4000;
/// Registers that hold addresses and are not written: of data, and of the stream itself.
const BASES: [(u8, u64); 4] =
    [(8, DATA + 0x800), (9, DATA + 0xffc), (2, DATA + 0x1f00), (21, BASE)];
/// The handler's own register.
const SCRATCH: u8 = 31;
/// CSRs that the streams use. Those that decide how memory is seen are not among them.
const CSRS: [u16; 14] = [
    csr::FFLAGS,
    csr::FRM,
    csr::FCSR,
    csr::SSTATUS,
    csr::SSCRATCH,
    csr::SEPC,
    csr::SCAUSE,
    csr::STVAL,
    csr::STVEC,
    csr::SATP,
    csr::MSCRATCH,
    csr::INSTRET,
    csr::TIME,
    csr::SIE,
];

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A number as programs have them: small, or with few bits, or any.
    fn number(&mut self) -> u64 {
        match self.below(6) {
            0 => self.below(64),
            1 => self.below(64).wrapping_neg(),
            2 => 1 << self.below(64),
            3 => u64::from(self.next() as u32),
            4 => i64::from(self.next() as i32) as u64,
            _ => self.next(),
        }
    }

    /// A floating-point register: doubles and singles, ordinary and special.
    fn float(&mut self) -> u64 {
        let special = [0, 1 << 63, 0x7ff0 << 48, 0x7ff8 << 48, 1, 0x3ff0 << 48, 0x7fef << 48];
        match self.below(5) {
            0 => special[self.below(7) as usize],
            1 => u64::MAX << 32 | u64::from((self.below(2000) as f32 / 7.0).to_bits()),
            2 => u64::MAX << 32 | self.next() >> 32,
            3 => (self.below(100_000) as f64 / 3.0).to_bits(),
            _ => self.next(),
        }
    }

    /// An instruction at place `at` of the stream.
    fn inst(&mut self, at: u64) -> Inst {
        let rows = Op::rows();
        let row = &rows[self.below(rows.len() as u64) as usize];
        let fixed = row.bits | self.next() as u32 & !row.mask;
        let Some(mut inst) = decode(fixed) else { return i(Op::Addi, 0, 0, 0) };
        let kept = |number: u8| BASES.iter().any(|(base, _)| *base == number) || number == SCRATCH;
        if kept(inst.rd) {
            inst.rd = 5;
        }
        match inst.op {
            // Returns and waiting would end the stream.
            Op::Mret | Op::Sret | Op::Wfi => return Inst::new(Op::Fence),
            Op::Jalr => return i(Op::Addi, inst.rd, inst.rs1, inst.imm),
            Op::Jal | Op::Beq | Op::Bne | Op::Blt | Op::Bge | Op::Bltu | Op::Bgeu => {
                let target = (at + self.below(12)).saturating_sub(3).min(LENGTH - 1);
                inst.imm = (target as i64 - at as i64) as i32 * 4;
                // Loops end: backward branches are rare, and compare registers that change.
                if inst.imm <= 0 {
                    inst.imm = 8;
                }
            }
            Op::Csrrw | Op::Csrrs | Op::Csrrc | Op::Csrrwi | Op::Csrrsi | Op::Csrrci => {
                inst.imm = CSRS[self.below(14) as usize].into();
                if inst.csr() == csr::SATP {
                    inst.rs1 = 0;
                }
            }
            _ => {}
        }
        if accesses(inst.op) {
            let usual = self.below(20) != 0;
            let base = if usual { self.below(3) } else { 3 };
            inst.rs1 = BASES[base as usize].0;
            if self.below(3) != 0 {
                inst.imm &= !7;
            }
        }
        inst
    }
}

fn accesses(op: Op) -> bool {
    let within = |first: Op, last: Op| (first as u8..=last as u8).contains(&(op as u8));
    within(Op::Lb, Op::Sd)
        || within(Op::LrW, Op::AmomaxuD)
        || within(Op::CboInval, Op::CboZero)
        || matches!(op, Op::Flw | Op::Fsw | Op::Fld | Op::Fsd)
}

/// What a machine looks like after `insns` instructions of stream number `seed`.
fn run(seed: u64, engine: Engine, turn: u64, insns: u64) -> Vec<u64> {
    let config = MachineConfig {
        engine,
        turn: Some(turn),
        max_insns: Some(insns),
        ..MachineConfig::default()
    };
    let mut bare = Bare::new(config);
    let mut random = Random(seed);
    let stream: Vec<Inst> = (0..LENGTH).map(|at| random.inst(at)).collect();
    bare.code(BASE, &stream);
    bare.code(BASE + 4 * LENGTH, &[i(Op::Jal, 0, 0, -4 * LENGTH as i32)]);
    let handler = [
        Inst { rd: SCRATCH, imm: csr::MEPC.into(), ..Inst::new(Op::Csrrs) },
        i(Op::Addi, SCRATCH, SCRATCH, 4),
        Inst { rs1: SCRATCH, imm: csr::MEPC.into(), ..Inst::new(Op::Csrrw) },
        Inst::new(Op::Mret),
    ];
    bare.code(HANDLER, &handler);
    for number in 1..32 {
        bare.machine.set_x(0, number, random.number());
        bare.machine.set_f(0, number, random.float());
    }
    BASES.iter().for_each(|(base, address)| bare.machine.set_x(0, (*base).into(), *address));
    (0..0x600).for_each(|n| bare.put(DATA + 8 * n, random.float()));
    let on = if random.below(8) == 0 { 0 } else { mstatus::FS };
    bare.set_csr(csr::MSTATUS, on);
    bare.set_csr(csr::FCSR, random.below(2) | random.below(6).saturating_sub(3) << 5);
    assert_eq!(bare.run(), Stop::MaxInsns);
    let machine = &bare.machine;
    let mut state = vec![machine.pc(0), machine.insns(), machine.time()];
    (0..32).for_each(|number| state.extend([machine.x(0, number), machine.f(0, number)]));
    (0..0x1000).for_each(|number| state.push(machine.csr(0, number).unwrap_or(0)));
    let memory = machine.sys.bus.ram.bytes(BASE, 0x1_0000).expect("memory");
    state.extend(memory.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)));
    state
}

/// Where two states differ, in words.
fn difference(a: &[u64], b: &[u64]) -> Option<String> {
    let at = (0..a.len()).find(|at| a[*at] != b[*at])?;
    let what = match at {
        0..3 => ["pc", "instructions", "time"][at].into(),
        3..67 => format!("{}{}", ["x", "f"][(at - 3) % 2], (at - 3) / 2),
        67..4163 => format!("csr {:#x}", at - 67),
        _ => format!("memory at {:#x}", BASE + 8 * (at as u64 - 4163)),
    };
    Some(format!("{what}: {:#x} and {:#x}", a[at], b[at]))
}

#[test]
fn engines_agree_on_random_streams() {
    for seed in 0..150 {
        let turn = [1, 7, 50, 10_000][seed as usize % 4];
        for insns in [97, 1_003, 20_011] {
            let expected = run(seed, Engine::Interp, turn, insns);
            for engine in [Engine::JitAtOnce, Engine::Jit] {
                let found = run(seed, engine, turn, insns);
                if let Some(difference) = difference(&expected, &found) {
                    let first = (1..=insns).find(|n| {
                        run(seed, Engine::Interp, turn, *n) != run(seed, engine, turn, *n)
                    });
                    panic!("seed {seed}, {engine:?}, {insns}: {difference}; first at {first:?}");
                }
            }
        }
    }
}

/// Loops that fill and copy, over page ends, with interrupts of turns anywhere.
#[test]
fn engines_agree_on_loops_over_memory() {
    let (a, b, end) = (10, 11, 12);
    let s = bare::s;
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

/// The streams execute what they are made of, rather than trapping all the time.
#[test]
fn streams_are_worth_it() {
    let stream: Vec<Inst> = {
        let mut random = Random(1);
        (0..LENGTH).map(|at| random.inst(at)).collect()
    };
    let kinds: std::collections::HashSet<Op> = stream.iter().map(|inst| inst.op).collect();
    assert!(kinds.len() > 150, "{} kinds of instructions", kinds.len());
    assert!(stream.iter().all(|inst| decode(encode(inst)).is_some()));
    let state = run(1, Engine::Jit, 10_000, 20_011);
    assert!(state[67 + 0xb02] > 15_000, "instructions retired, not trapped");
}
