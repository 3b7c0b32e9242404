//! The F and D extensions: what is around the arithmetic of [`crate::float`].
//!
//! Source: unprivileged manual, "F Extension" and "D Extension". Single-precision operands that
//! are not boxed count as the canonical NaN; a reserved rounding mode is illegal; with
//! `mstatus.FS` off every instruction is.

use isa::csr::mstatus;
use isa::{Inst, Op, Operand};

use super::{Cpu, Next};
use crate::events::Events;
use crate::float::*;
use crate::hart::{Hart, Trap};

/// For every instruction, whether it has a rounding mode.
const ROUNDS: [bool; Op::COUNT] = {
    let mut rounds = [false; Op::COUNT];
    let rows = Op::rows();
    let mut at = 0;
    while at < rows.len() {
        let operands = rows[at].operands;
        rounds[at] = !operands.is_empty() && matches!(operands[operands.len() - 1], Operand::Rm);
        at += 1;
    }
    rounds
};

const SIGN_S: u32 = 1 << 31;
const SIGN_D: u64 = 1 << 63;

/// A result, and where it goes.
enum Value {
    /// An f register, single precision.
    S(u32),
    /// An f register.
    D(u64),
    /// An x register.
    X(u64),
}

impl Hart {
    #[inline]
    fn dirty(&mut self) {
        self.ctx.mstatus |= mstatus::FS_DIRTY;
    }

    #[inline]
    pub(super) fn set_f(&mut self, number: usize, value: u64) {
        self.ctx.f[number] = value;
        self.dirty();
    }

    /// The rounding mode of an instruction.
    fn rounding(&self, inst: &Inst) -> Option<Rm> {
        if !ROUNDS[inst.op as usize] {
            return Some(Rm::Rne);
        }
        Rm::from_bits(if inst.rm() == 7 { self.ctx.frm } else { inst.rm() })
    }
}

/// Whether an instruction is one of F and D other than loads and stores.
fn is_arithmetic(op: Op) -> bool {
    let within = |first: Op, last: Op| (first as u8..=last as u8).contains(&(op as u8));
    within(Op::FmaddS, Op::FmvWX) || within(Op::FmaddD, Op::FmvDX)
}

/// Executes an instruction of F and D other than loads and stores; returns whether it is one, and
/// legal.
pub(super) fn arithmetic(hart: &mut Hart, inst: &Inst) -> bool {
    if !is_arithmetic(inst.op) || hart.ctx.mstatus & mstatus::FS == 0 {
        return false;
    }
    let Some(rm) = hart.rounding(inst) else { return false };
    let mut flags = Flags::default();
    let f = &hart.ctx.f;
    let d = [f[inst.rs1()], f[inst.rs2()], f[inst.rs3()]];
    let x = hart.x(inst.rs1());
    match compute(inst.op, d, x, rm, &mut flags) {
        Value::S(bits) => hart.set_f(inst.rd(), box_f32(bits)),
        Value::D(bits) => hart.set_f(inst.rd(), bits),
        Value::X(value) => hart.set_x(inst.rd, value),
    }
    // Flags that have accrued already change nothing.
    if flags.0 & !hart.ctx.fflags != 0 {
        hart.ctx.fflags |= flags.0;
        hart.dirty();
    }
    true
}

impl<E: Events> Cpu<'_, E> {
    /// F and D outside of the block loop.
    pub(super) fn float_instruction(&mut self, inst: &Inst) -> Result<Next, Trap> {
        if arithmetic(self.hart, inst) {
            return Ok(Next::Inst);
        }
        if is_arithmetic(inst.op) || self.hart.ctx.mstatus & mstatus::FS == 0 {
            return Err(Trap::Illegal);
        }
        self.float_access(inst)
    }

    fn float_access(&mut self, inst: &Inst) -> Result<Next, Trap> {
        let va = self.hart.x(inst.rs1()).wrapping_add(inst.imm as i64 as u64);
        match inst.op {
            Op::Flw => {
                let value = self.load(va, 4)?;
                self.hart.set_f(inst.rd(), box_f32(value as u32));
            }
            Op::Fld => {
                let value = self.load(va, 8)?;
                self.hart.set_f(inst.rd(), value);
            }
            Op::Fsw => self.store(va, 4, self.hart.ctx.f[inst.rs2()])?,
            _ => self.store(va, 8, self.hart.ctx.f[inst.rs2()])?,
        }
        Ok(Next::Inst)
    }
}

/// The result of an instruction: `d` are its f operands, `x` its integer one.
#[rustfmt::skip]
fn compute(op: Op, d: [u64; 3], x: u64, rm: Rm, fl: &mut Flags) -> Value {
    use Value::{D, S, X};
    let s = d.map(unbox_f32);
    match op {
        Op::FmaddS => S(fma_f32(s[0], s[1], s[2], rm, fl)),
        Op::FmsubS => S(fma_f32(s[0], s[1], s[2] ^ SIGN_S, rm, fl)),
        Op::FnmsubS => S(fma_f32(s[0] ^ SIGN_S, s[1], s[2], rm, fl)),
        Op::FnmaddS => S(fma_f32(s[0] ^ SIGN_S, s[1], s[2] ^ SIGN_S, rm, fl)),
        Op::FaddS => S(add_f32(s[0], s[1], rm, fl)),
        Op::FsubS => S(sub_f32(s[0], s[1], rm, fl)),
        Op::FmulS => S(mul_f32(s[0], s[1], rm, fl)),
        Op::FdivS => S(div_f32(s[0], s[1], rm, fl)),
        Op::FsqrtS => S(sqrt_f32(s[0], rm, fl)),
        Op::FsgnjS => S(sgnj_f32(s[0], s[1])),
        Op::FsgnjnS => S(sgnjn_f32(s[0], s[1])),
        Op::FsgnjxS => S(sgnjx_f32(s[0], s[1])),
        Op::FminS => S(min_f32(s[0], s[1], fl)),
        Op::FmaxS => S(max_f32(s[0], s[1], fl)),
        Op::FeqS => X(eq_f32(s[0], s[1], fl).into()),
        Op::FltS => X(lt_f32(s[0], s[1], fl).into()),
        Op::FleS => X(le_f32(s[0], s[1], fl).into()),
        Op::FclassS => X(classify_f32(s[0])),
        Op::FcvtWS => X(f32_to_i32(s[0], rm, fl) as u64),
        Op::FcvtWuS => X(f32_to_u32(s[0], rm, fl) as i32 as u64),
        Op::FcvtLS => X(f32_to_i64(s[0], rm, fl) as u64),
        Op::FcvtLuS => X(f32_to_u64(s[0], rm, fl)),
        Op::FcvtSW => S(i32_to_f32(x as i32, rm, fl)),
        Op::FcvtSWu => S(u32_to_f32(x as u32, rm, fl)),
        Op::FcvtSL => S(i64_to_f32(x as i64, rm, fl)),
        Op::FcvtSLu => S(u64_to_f32(x, rm, fl)),
        Op::FmvXW => X(d[0] as i32 as u64),
        Op::FmvWX => S(x as u32),
        Op::FmaddD => D(fma_f64(d[0], d[1], d[2], rm, fl)),
        Op::FmsubD => D(fma_f64(d[0], d[1], d[2] ^ SIGN_D, rm, fl)),
        Op::FnmsubD => D(fma_f64(d[0] ^ SIGN_D, d[1], d[2], rm, fl)),
        Op::FnmaddD => D(fma_f64(d[0] ^ SIGN_D, d[1], d[2] ^ SIGN_D, rm, fl)),
        Op::FaddD => D(add_f64(d[0], d[1], rm, fl)),
        Op::FsubD => D(sub_f64(d[0], d[1], rm, fl)),
        Op::FmulD => D(mul_f64(d[0], d[1], rm, fl)),
        Op::FdivD => D(div_f64(d[0], d[1], rm, fl)),
        Op::FsqrtD => D(sqrt_f64(d[0], rm, fl)),
        Op::FsgnjD => D(sgnj_f64(d[0], d[1])),
        Op::FsgnjnD => D(sgnjn_f64(d[0], d[1])),
        Op::FsgnjxD => D(sgnjx_f64(d[0], d[1])),
        Op::FminD => D(min_f64(d[0], d[1], fl)),
        Op::FmaxD => D(max_f64(d[0], d[1], fl)),
        Op::FeqD => X(eq_f64(d[0], d[1], fl).into()),
        Op::FltD => X(lt_f64(d[0], d[1], fl).into()),
        Op::FleD => X(le_f64(d[0], d[1], fl).into()),
        Op::FclassD => X(classify_f64(d[0])),
        Op::FcvtSD => S(f64_to_f32(d[0], rm, fl)),
        Op::FcvtDS => D(f32_to_f64(s[0], fl)),
        Op::FcvtWD => X(f64_to_i32(d[0], rm, fl) as u64),
        Op::FcvtWuD => X(f64_to_u32(d[0], rm, fl) as i32 as u64),
        Op::FcvtLD => X(f64_to_i64(d[0], rm, fl) as u64),
        Op::FcvtLuD => X(f64_to_u64(d[0], rm, fl)),
        Op::FcvtDW => D(i32_to_f64(x as i32, rm, fl)),
        Op::FcvtDWu => D(u32_to_f64(x as u32, rm, fl)),
        Op::FcvtDL => D(i64_to_f64(x as i64, rm, fl)),
        Op::FcvtDLu => D(u64_to_f64(x, rm, fl)),
        Op::FmvXD => X(d[0]),
        // The only one left is `fmv.d.x`.
        _ => D(x),
    }
}
