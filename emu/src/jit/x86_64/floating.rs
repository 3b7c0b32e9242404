//! Machine code for F and D: the host's FPU where it provably gives RISC-V's result and flags.
//!
//! Rounding to nearest, with NX accrued already, an operation whose result is a normal number can
//! have no effect on the flags; see [`crate::float`] for the ranges. Where that does not hold the
//! host's flags tell whether there was any, as in computations that are exact. If so, and in
//! everything else, the instruction is the interpreter's.

use isa::{Inst, Op};

use super::asm::{Alu, Bit, Cond, Label, Place, Reg, Shift, Width, Width::*, Xmm};
use super::stubs::context;
use super::translate::{Away, Emit};

use isa::csr::mstatus::{FS, FS_DIRTY};

const X0: Xmm = Xmm(0);
const X1: Xmm = Xmm(1);

// Opcodes of scalar operations, and of conversion to the other width.
const ADD: u8 = 0x58;
const MUL: u8 = 0x59;
const SUB: u8 = 0x5c;
const DIV: u8 = 0x5e;
const SQRT: u8 = 0x51;
const CONVERT: u8 = 0x5a;

/// Rounding modes of instructions.
const RNE: u8 = 0;
const RTZ: u8 = 1;
const DYNAMIC: u8 = 7;

/// Results that cannot have raised a flag other than NX.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Range {
    /// Of sums: small ones are exact.
    NotHuge,
    /// Of everything else.
    Normal,
}

/// The flags of `mxcsr` that RISC-V has as well: all but that of denormal operands.
const RAISED: i32 = 0x3d;
/// `mxcsr` as programs expect it, without flags.
const CLEAN: i32 = 0x1f80;

/// What is computed, with the result in `X0` or, of a conversion to an integer, in rax.
#[derive(Clone, Copy)]
pub(super) enum Operation {
    Arithmetic(Width, u8),
    Fused { w: Width, negate: bool, subtract: bool },
    FromInteger(Width, Width),
    FromUnsigned(Width, Width),
    ToInteger(Width, Width),
    ToUnsigned(Width, Width),
    Narrow,
}

impl Operation {
    /// The width of the result, if it is a floating-point number.
    fn float_result(self) -> Option<Width> {
        match self {
            Operation::Arithmetic(w, _) | Operation::Fused { w, .. } => Some(w),
            Operation::FromInteger(w, _) | Operation::FromUnsigned(w, _) => Some(w),
            Operation::ToInteger(..) | Operation::ToUnsigned(..) => None,
            Operation::Narrow => Some(W32),
        }
    }
}

impl Emit<'_> {
    /// Emits a floating-point instruction; returns whether it is one that is emitted here.
    #[rustfmt::skip]
    pub(super) fn float(&mut self, i: &Inst) -> bool {
        match i.op {
            Op::FaddS => self.arithmetic(i, W32, ADD, Range::NotHuge),
            Op::FsubS => self.arithmetic(i, W32, SUB, Range::NotHuge),
            Op::FmulS => self.arithmetic(i, W32, MUL, Range::Normal),
            Op::FdivS => self.arithmetic(i, W32, DIV, Range::Normal),
            Op::FsqrtS => self.arithmetic(i, W32, SQRT, Range::Normal),
            Op::FaddD => self.arithmetic(i, W64, ADD, Range::NotHuge),
            Op::FsubD => self.arithmetic(i, W64, SUB, Range::NotHuge),
            Op::FmulD => self.arithmetic(i, W64, MUL, Range::Normal),
            Op::FdivD => self.arithmetic(i, W64, DIV, Range::Normal),
            Op::FsqrtD => self.arithmetic(i, W64, SQRT, Range::Normal),
            Op::FmaddS => self.fused(i, W32, false, false),
            Op::FmsubS => self.fused(i, W32, false, true),
            Op::FnmsubS => self.fused(i, W32, true, false),
            Op::FnmaddS => self.fused(i, W32, true, true),
            Op::FmaddD => self.fused(i, W64, false, false),
            Op::FmsubD => self.fused(i, W64, false, true),
            Op::FnmsubD => self.fused(i, W64, true, false),
            Op::FnmaddD => self.fused(i, W64, true, true),
            Op::FeqS => self.float_compare(i, W32, Cond::E),
            Op::FltS => self.float_compare(i, W32, Cond::A),
            Op::FleS => self.float_compare(i, W32, Cond::Ae),
            Op::FeqD => self.float_compare(i, W64, Cond::E),
            Op::FltD => self.float_compare(i, W64, Cond::A),
            Op::FleD => self.float_compare(i, W64, Cond::Ae),
            Op::FsgnjD | Op::FsgnjnD | Op::FsgnjxD => self.change_sign(i, W64),
            Op::FsgnjS | Op::FsgnjnS | Op::FsgnjxS => self.change_sign(i, W32),
            Op::FmvXD => self.move_to_x(i, W64),
            Op::FmvXW => self.move_to_x(i, W32),
            Op::FmvDX => self.move_from_x(i, W64),
            Op::FmvWX => self.move_from_x(i, W32),
            Op::FcvtDW => self.convert_integer(i, W64, W32),
            Op::FcvtDL => self.convert_integer(i, W64, W64),
            Op::FcvtSW => self.convert_integer(i, W32, W32),
            Op::FcvtSL => self.convert_integer(i, W32, W64),
            Op::FcvtWD => self.truncate(i, W64, Operation::ToInteger(W64, W32)),
            Op::FcvtLD => self.truncate(i, W64, Operation::ToInteger(W64, W64)),
            Op::FcvtWS => self.truncate(i, W32, Operation::ToInteger(W32, W32)),
            Op::FcvtLS => self.truncate(i, W32, Operation::ToInteger(W32, W64)),
            Op::FcvtDWu => self.convert_unsigned(i, W64, W32),
            Op::FcvtDLu => self.convert_unsigned(i, W64, W64),
            Op::FcvtSWu => self.convert_unsigned(i, W32, W32),
            Op::FcvtSLu => self.convert_unsigned(i, W32, W64),
            Op::FcvtWuD => self.truncate(i, W64, Operation::ToUnsigned(W64, W32)),
            Op::FcvtLuD => self.truncate(i, W64, Operation::ToUnsigned(W64, W64)),
            Op::FcvtWuS => self.truncate(i, W32, Operation::ToUnsigned(W32, W32)),
            Op::FcvtLuS => self.truncate(i, W32, Operation::ToUnsigned(W32, W64)),
            Op::FcvtDS => self.widen(i),
            Op::FcvtSD => self.narrow(i),
            _ => false,
        }
    }

    // What surrounds an operation.

    /// Returns a jump that is taken if floating point is off, the first time in a block.
    pub(super) fn float_is_on(&mut self) -> Vec<Label> {
        if std::mem::replace(&mut self.float_on, true) {
            return Vec::new();
        }
        self.asm.test_imm(W32, context!(mstatus), FS as i32);
        vec![self.asm.jump_if_later(Cond::E)]
    }

    /// The state of floating point changed.
    pub(super) fn float_is_dirty(&mut self) {
        if !std::mem::replace(&mut self.float_dirty, true) {
            self.asm.alu_imm(W32, Alu::Or, context!(mstatus), FS_DIRTY as i32);
        }
    }

    /// Adds a jump that is taken unless rounding is to nearest, if the instruction leaves that
    /// open.
    fn nearest(&mut self, rm: u8, slow: &mut Vec<Label>) {
        if rm == DYNAMIC && !(self.in_rounds.is_some() && self.nearest) {
            self.nearest = true;
            // `frm` follows `fflags`.
            self.asm.test_imm(W32, context!(fflags), 0xff00);
            slow.push(self.asm.jump_if_later(Cond::Ne));
        }
    }

    /// Returns a jump that is taken unless NX is accrued.
    fn inexact(&mut self) -> Vec<Label> {
        if self.in_rounds.is_some() && std::mem::replace(&mut self.inexact, true) {
            return Vec::new();
        }
        self.asm.test_imm(W32, context!(fflags), 1);
        vec![self.asm.jump_if_later(Cond::E)]
    }

    /// Adds a jump that is taken unless register `number` holds a boxed single, if `w` says single.
    fn boxed(&mut self, w: Width, number: u8, slow: &mut Vec<Label>) {
        if w == W32 {
            let Place::At(base, low) = self.f(number) else { return };
            self.asm.alu_imm(W32, Alu::Cmp, Place::At(base, low + 4), -1);
            slow.push(self.asm.jump_if_later(Cond::Ne));
        }
    }

    /// Adds a jump that is taken unless the number in `X0` is in the range. Clobbers rax.
    fn in_range(&mut self, w: Width, range: Range, slow: &mut Vec<Label>) {
        let (mantissa, huge) = if w == W64 { (52, 2047) } else { (23, 255) };
        self.asm.float_to_reg(w, Reg::Rax, X0);
        self.asm.alu(w, Alu::Add, Reg::Rax, Reg::Rax);
        self.asm.shift_imm(w, Shift::Shr, Reg::Rax, mantissa + 1);
        let limit = match range {
            Range::NotHuge => huge - 1,
            Range::Normal => {
                self.asm.alu_imm(W32, Alu::Sub, Reg::Rax, 2);
                huge - 2
            }
        };
        self.asm.alu_imm(W32, Alu::Cmp, Reg::Rax, limit);
        slow.push(self.asm.jump_if_later(Cond::Ae));
    }

    /// Puts `X0` into register `number`.
    fn put_float(&mut self, w: Width, number: u8) {
        self.asm.store_float(w, self.f(number), X0);
        self.put_box(w, number);
    }

    /// Puts the bits in `from` into register `number`.
    pub(super) fn put_f(&mut self, w: Width, number: u8, from: Reg) {
        self.asm.store(w, self.f(number), from);
        self.put_box(w, number);
    }

    fn put_box(&mut self, w: Width, number: u8) {
        if let (W32, Place::At(base, low)) = (w, self.f(number)) {
            self.asm.store_imm(W32, Place::At(base, low + 4), -1);
        }
    }

    fn finish(&mut self, slow: Vec<Label>) -> bool {
        self.otherwise_rare(slow);
        self.float_is_dirty();
        true
    }

    /// Emits an operation and what puts its result where it belongs. `slow`: the jumps for what
    /// does not suit the host. The result has to be in the range.
    fn compute(
        &mut self,
        i: &Inst,
        operation: Operation,
        range: Option<Range>,
        mut slow: Vec<Label>,
    ) -> bool {
        let mut careful = self.inexact();
        self.operate(i, operation);
        match (operation.float_result(), range) {
            (Some(w), Some(range)) => self.in_range(w, range, &mut careful),
            (Some(_), None) => {}
            (None, _) => self.fits(operation, &mut careful),
        }
        self.put_result(i, operation);
        if self.in_rounds.is_some() {
            slow.append(&mut careful);
        } else {
            let (index, back) = (self.index, self.asm.here());
            self.away.push(Away::Careful { from: careful, index, operation, back });
        }
        self.otherwise_rare(slow);
        if operation.float_result().is_some() {
            self.float_is_dirty();
        }
        true
    }

    /// Adds a jump that is taken if the integer in rax may not be the number. Clobbers rdx.
    fn fits(&mut self, operation: Operation, slow: &mut Vec<Label>) {
        let unlikely = match operation {
            Operation::ToUnsigned(_, W32) => {
                self.asm.mov(W32, Reg::Rdx, Reg::Rax);
                self.asm.alu(W64, Alu::Cmp, Reg::Rdx, Reg::Rax);
                Cond::Ne
            }
            Operation::ToUnsigned(..) => {
                self.asm.alu_imm(W64, Alu::Cmp, Reg::Rax, 0);
                Cond::L
            }
            // Only the least integer overflows when one is taken away.
            Operation::ToInteger(_, w) => {
                self.asm.alu_imm(w, Alu::Cmp, Reg::Rax, 1);
                Cond::O
            }
            _ => return,
        };
        slow.push(self.asm.jump_if_later(unlikely));
    }

    fn operate(&mut self, i: &Inst, operation: Operation) {
        match operation {
            Operation::Arithmetic(w, SQRT) => self.asm.float(w, SQRT, X0, self.f(i.rs1)),
            Operation::Arithmetic(w, opcode) => {
                self.asm.load_float(w, X0, self.f(i.rs1));
                self.asm.float(w, opcode, X0, self.f(i.rs2));
            }
            Operation::Fused { w, negate, subtract } => {
                self.asm.load_float(w, X0, self.f(i.rs1));
                self.asm.load_float(w, X1, self.f(i.rs2));
                self.asm.fma(w, negate, subtract, X0, X1, self.f(i.rs3() as u8));
            }
            Operation::FromInteger(w, from) => {
                self.asm.zero_float(X0);
                let source = self.x_in_reg(i.rs1, Reg::Rax);
                self.asm.int_to_float(w, X0, from, source);
            }
            Operation::FromUnsigned(w, from) => {
                self.asm.zero_float(X0);
                self.load_x(from, Reg::Rax, i.rs1);
                self.asm.int_to_float(w, X0, W64, Reg::Rax);
            }
            Operation::ToInteger(w, to) => self.asm.float_to_int(w, Reg::Rax, to, self.f(i.rs1)),
            Operation::ToUnsigned(w, _) => self.asm.float_to_int(w, Reg::Rax, W64, self.f(i.rs1)),
            Operation::Narrow => {
                self.asm.zero_float(X0);
                self.asm.float(W64, CONVERT, X0, self.f(i.rs1));
            }
        }
    }

    fn put_result(&mut self, i: &Inst, operation: Operation) {
        match (operation.float_result(), operation) {
            (Some(w), _) => self.put_float(w, i.rd),
            (None, Operation::ToInteger(_, W32) | Operation::ToUnsigned(_, W32)) => {
                self.asm.movsxd(Reg::Rax, Reg::Rax);
                self.put_x(i.rd, Reg::Rax);
            }
            _ => self.put_x(i.rd, Reg::Rax),
        }
    }

    /// Emits an operation that counts only if it raises no flag.
    pub(super) fn careful(&mut self, index: usize, operation: Operation, back: u64) {
        // Below the stack there are 128 bytes that nobody else writes to.
        let flags = Place::At(Reg::Rsp, -8);
        let inst = &self.block.insts()[index];
        self.operate(inst, operation);
        self.asm.store_mxcsr(flags);
        self.asm.test_imm(W32, flags, RAISED);
        let exact = self.asm.jump_if_later(Cond::E);
        // The flags may be older.
        self.asm.store_imm(W32, flags, CLEAN);
        self.asm.load_mxcsr(flags);
        self.operate(inst, operation);
        self.asm.store_mxcsr(flags);
        self.asm.test_imm(W32, flags, RAISED);
        let mut slow = vec![self.asm.jump_if_later(Cond::Ne)];
        self.asm.bind(exact);
        match operation.float_result() {
            // NaNs are not those of RISC-V.
            Some(w) => self.in_range(w, Range::NotHuge, &mut slow),
            None => self.fits(operation, &mut slow),
        }
        self.put_result(inst, operation);
        self.asm.jump(back);
        slow.into_iter().for_each(|label| self.asm.bind(label));
        self.call_rare(index);
        self.asm.jump(back);
    }

    // Operations.

    fn arithmetic(&mut self, i: &Inst, w: Width, opcode: u8, range: Range) -> bool {
        if i.rm() != RNE && i.rm() != DYNAMIC {
            return false;
        }
        let mut slow = self.float_is_on();
        self.nearest(i.rm(), &mut slow);
        self.boxed(w, i.rs1, &mut slow);
        if opcode != SQRT {
            self.boxed(w, i.rs2, &mut slow);
        }
        self.compute(i, Operation::Arithmetic(w, opcode), Some(range), slow)
    }

    fn fused(&mut self, i: &Inst, w: Width, negate: bool, subtract: bool) -> bool {
        if !self.features.fma || i.rm() != RNE && i.rm() != DYNAMIC {
            return false;
        }
        let mut slow = self.float_is_on();
        self.nearest(i.rm(), &mut slow);
        [i.rs1, i.rs2, i.rs3() as u8].into_iter().for_each(|n| self.boxed(w, n, &mut slow));
        let operation = Operation::Fused { w, negate, subtract };
        self.compute(i, operation, Some(Range::Normal), slow)
    }

    /// `feq`, or `flt` and `fle` with the operands exchanged. NaNs are the interpreter's.
    fn float_compare(&mut self, i: &Inst, w: Width, cond: Cond) -> bool {
        let mut slow = self.float_is_on();
        self.boxed(w, i.rs1, &mut slow);
        self.boxed(w, i.rs2, &mut slow);
        self.asm.load_float(w, X0, self.f(i.rs2));
        self.asm.float_compare(w, X0, self.f(i.rs1));
        slow.push(self.asm.jump_if_later(Cond::P));
        self.asm.set(cond, Reg::Rax);
        let to = self.target(i.rd);
        self.asm.movzx8(to, Reg::Rax);
        self.put_x(i.rd, to);
        self.otherwise_rare(slow);
        true
    }

    fn change_sign(&mut self, i: &Inst, w: Width) -> bool {
        let mut slow = self.float_is_on();
        self.boxed(w, i.rs1, &mut slow);
        let sign = if w == W64 { 63 } else { 31 };
        let copies = matches!(i.op, Op::FsgnjD | Op::FsgnjS);
        let negates = matches!(i.op, Op::FsgnjnD | Op::FsgnjnS);
        self.asm.mov(w, Reg::Rax, self.f(i.rs1));
        if i.rs1 != i.rs2 {
            self.boxed(w, i.rs2, &mut slow);
            self.asm.mov(w, Reg::Rdx, self.f(i.rs2));
            if negates {
                self.asm.not(Reg::Rdx);
            }
            self.asm.shift_imm(w, Shift::Shr, Reg::Rdx, sign);
            self.asm.shift_imm(w, Shift::Shl, Reg::Rdx, sign);
            if copies || negates {
                self.asm.bit_imm(Bit::Reset, Reg::Rax, sign);
                self.asm.alu(w, Alu::Or, Reg::Rax, Reg::Rdx);
            } else {
                self.asm.alu(w, Alu::Xor, Reg::Rax, Reg::Rdx);
            }
        } else if negates {
            self.asm.bit_imm(Bit::Complement, Reg::Rax, sign);
        } else if !copies {
            self.asm.bit_imm(Bit::Reset, Reg::Rax, sign);
        }
        self.put_f(w, i.rd, Reg::Rax);
        self.finish(slow)
    }

    fn move_to_x(&mut self, i: &Inst, w: Width) -> bool {
        let slow = self.float_is_on();
        let to = self.target(i.rd);
        if w == W32 {
            self.asm.movsxd(to, self.f(i.rs1));
        } else {
            self.asm.mov(W64, to, self.f(i.rs1));
        }
        self.put_x(i.rd, to);
        self.otherwise_rare(slow);
        true
    }

    fn move_from_x(&mut self, i: &Inst, w: Width) -> bool {
        let slow = self.float_is_on();
        let from = self.x_in_reg(i.rs1, Reg::Rax);
        self.put_f(w, i.rd, from);
        self.finish(slow)
    }

    fn convert_integer(&mut self, i: &Inst, w: Width, from: Width) -> bool {
        let exact = w == W64 && from == W32;
        if !exact && i.rm() != RNE && i.rm() != DYNAMIC {
            return false;
        }
        let mut slow = self.float_is_on();
        if exact && i.rm() > 4 && i.rm() != DYNAMIC {
            return self.give_up(slow);
        }
        // Of an exact conversion the rounding mode does not matter, but a reserved one is illegal.
        self.nearest(i.rm(), &mut slow);
        let operation = Operation::FromInteger(w, from);
        if !exact {
            return self.compute(i, operation, None, slow);
        }
        self.operate(i, operation);
        self.put_result(i, operation);
        self.finish(slow)
    }

    /// Large ones are the interpreter's.
    fn convert_unsigned(&mut self, i: &Inst, w: Width, from: Width) -> bool {
        if i.rm() != RNE && i.rm() != DYNAMIC {
            return false;
        }
        let mut slow = self.float_is_on();
        self.nearest(i.rm(), &mut slow);
        if from == W64 && i.rs1 != 0 {
            let source = self.x_in_reg(i.rs1, Reg::Rax);
            self.asm.alu_imm(W64, Alu::Cmp, source, 0);
            slow.push(self.asm.jump_if_later(Cond::L));
        }
        self.compute(i, Operation::FromUnsigned(w, from), None, slow)
    }

    /// The instruction turns out to be the interpreter's; jumps there were emitted already.
    fn give_up(&mut self, slow: Vec<Label>) -> bool {
        slow.into_iter().for_each(|label| self.asm.bind(label));
        self.float_on = false;
        false
    }

    /// Towards zero, as compilers want it. What does not fit gives the least integer, and is
    /// looked at again.
    fn truncate(&mut self, i: &Inst, from: Width, operation: Operation) -> bool {
        if i.rm() != RTZ {
            return false;
        }
        let mut slow = self.float_is_on();
        self.boxed(from, i.rs1, &mut slow);
        self.compute(i, operation, None, slow)
    }

    /// `fcvt.d.s`: exact, unless the operand is infinite or not a number.
    fn widen(&mut self, i: &Inst) -> bool {
        if i.rm() != RNE && i.rm() != DYNAMIC {
            return false;
        }
        let mut slow = self.float_is_on();
        self.nearest(i.rm(), &mut slow);
        self.boxed(W32, i.rs1, &mut slow);
        self.asm.zero_float(X0);
        self.asm.float(W32, CONVERT, X0, self.f(i.rs1));
        self.in_range(W64, Range::NotHuge, &mut slow);
        self.put_float(W64, i.rd);
        self.finish(slow)
    }

    fn narrow(&mut self, i: &Inst) -> bool {
        if i.rm() != RNE && i.rm() != DYNAMIC {
            return false;
        }
        let mut slow = self.float_is_on();
        self.nearest(i.rm(), &mut slow);
        self.compute(i, Operation::Narrow, Some(Range::Normal), slow)
    }
}
