//! Floating point: the flags of what is exact and of what is not, with every engine.

mod bare;

use bare::{BASE, Bare};
use emu::jit::Engine;
use emu::machine::{MachineConfig, Stop};
use isa::asm::{csrr, csrw, i, r, s};
use isa::csr::mstatus;
use isa::{Inst, Op, csr};

/// `op fd, fs1, fs2, fs3`, rounding as the hart says.
fn fused(op: Op, rd: u8, rs1: u8, rs2: u8, rs3: u8) -> Inst {
    Inst { imm: i32::from(rs3) << 3 | 7, ..r(op, rd, rs1, rs2) }
}

/// `op fd, fs1, fs2`, rounding as the hart says.
fn float(op: Op, rd: u8, rs1: u8, rs2: u8) -> Inst {
    Inst { imm: 7, ..r(op, rd, rs1, rs2) }
}

/// Runs `body` x9 times with f1 = 3, f2 = 5 and f3 = 2^-1022 in doubles, and f11 = 3 and f12 = 5 in
/// singles, f15 = 0; returns `fflags`.
fn run(engine: Engine, body: &[Inst]) -> (Bare, u64) {
    let config = MachineConfig { engine, max_insns: Some(10_000), ..MachineConfig::default() };
    let mut bare = Bare::new(config);
    let double = |rd, rs1| float(Op::FcvtDW, rd, rs1, 0);
    let mut code = vec![double(1, 10), double(2, 11), i(Op::FmvDX, 3, 12, 0)];
    code.extend([(11, 10), (12, 11), (15, 0)].map(|(rd, rs1)| float(Op::FcvtSW, rd, rs1, 0)));
    code.push(csrw(csr::FFLAGS, 0));
    code.extend(body);
    code.push(i(Op::Addi, 9, 9, -1));
    code.push(s(Op::Bne, 9, 0, -4 * (body.len() as i32 + 1)));
    code.extend([csrr(13, csr::FFLAGS), i(Op::Jal, 0, 0, 0)]);
    bare.code(BASE, &code);
    bare.set_csr(csr::MSTATUS, mstatus::FS_INITIAL);
    for (number, value) in [(9, 50), (10, 3), (11, 5), (12, 1 << 52)] {
        bare.set_x(number, value);
    }
    assert_eq!(bare.run(), Stop::MaxInsns);
    let flags = bare.x(13);
    (bare, flags)
}

const ENGINES: [Engine; 3] = [Engine::Interp, Engine::Jit, Engine::JitAtOnce];

#[test]
fn what_is_exact_raises_nothing() {
    let to_long = Inst { imm: 1, ..r(Op::FcvtLD, 15, 5, 0) };
    let body = [
        float(Op::FmulD, 4, 1, 2),
        float(Op::FaddD, 5, 5, 4),
        fused(Op::FmaddD, 6, 1, 2, 6),
        float(Op::FsubD, 7, 1, 1),
        float(Op::FmulD, 7, 7, 2),
        float(Op::FdivD, 8, 4, 2),
        float(Op::FcvtSD, 9, 4, 0),
        float(Op::FmulS, 14, 11, 12),
        float(Op::FaddS, 15, 15, 14),
        to_long,
        i(Op::FmvXD, 16, 6, 0),
        i(Op::FmvXD, 17, 7, 0),
        i(Op::FmvXD, 18, 8, 0),
        i(Op::FmvXW, 19, 9, 0),
        i(Op::FmvXW, 20, 15, 0),
    ];
    for engine in ENGINES {
        let (bare, flags) = run(engine, &body);
        assert_eq!(flags, 0, "{engine:?}");
        let found = [15, 16, 17, 18, 19, 20].map(|number| bare.x(number));
        let single = |value: f32| u64::from(value.to_bits());
        let sum = 750.0f64.to_bits();
        let expected = [750, sum, 0, 3.0f64.to_bits(), single(15.0), single(750.0)];
        assert_eq!(found, expected, "{engine:?}");
    }
}

#[test]
fn what_is_not_exact_raises_its_flags() {
    let (invalid, by_zero, overflow, underflow, inexact) = (16, 8, 4, 2, 1);
    let to_word = |rs1| Inst { imm: 1, ..r(Op::FcvtWD, 15, rs1, 0) };
    let large = [float(Op::FdivD, 4, 1, 3), float(Op::FmulD, 5, 4, 4)];
    let cases: [(&[Inst], u64); 8] = [
        (&[float(Op::FdivD, 4, 1, 2)], inexact),
        (&[float(Op::FdivD, 4, 1, 0)], by_zero),
        (&[float(Op::FdivD, 4, 0, 0)], invalid),
        (&large, overflow | inexact),
        (&[float(Op::FdivD, 4, 3, 1)], underflow | inexact),
        (&[float(Op::FdivD, 4, 1, 2), to_word(4)], inexact),
        (&[float(Op::FdivD, 4, 1, 3), to_word(4)], invalid),
        (&[float(Op::FdivS, 4, 11, 12)], inexact),
    ];
    for (body, expected) in cases {
        for engine in ENGINES {
            assert_eq!(run(engine, body).1, expected, "{engine:?}: {body:?}");
        }
    }
}
