//! Machine code for integer computation: RV64I, M, Zba, Zbb and Zbs.

use isa::{Inst, Op};

use super::asm::{Alu, Asm, Bit, Cond, Place, Reg, Shift, Width, Width::*};
use super::stubs::{context, host, saved_x};
use super::translate::{Emit, Source};
use crate::hart::state::SINK;

impl Emit<'_> {
    /// Emits an instruction that only computes; returns whether it is one that is emitted here.
    #[rustfmt::skip]
    pub(super) fn integer(&mut self, i: &Inst) -> bool {
        match i.op {
            _ if i.rd == SINK && is_pure(i.op) => {}
            Op::Lui => self.constant(i.rd, i.imm as i64 as u64),
            Op::Auipc => self.pc_relative(i),
            Op::Addi => self.add_imm(i),
            Op::Addiw => self.add_imm_word(i),
            Op::Xori => self.alu_imm(i, Alu::Xor),
            Op::Ori => self.alu_imm(i, Alu::Or),
            Op::Andi => self.alu_imm(i, Alu::And),
            Op::Slti => self.set_less_imm(i, Cond::L),
            Op::Sltiu => self.set_less_imm(i, Cond::B),
            Op::Slli => self.shift_imm(i, W64, Shift::Shl),
            Op::Srli => self.shift_imm(i, W64, Shift::Shr),
            Op::Srai => self.shift_imm(i, W64, Shift::Sar),
            Op::Rori => self.shift_imm(i, W64, Shift::Ror),
            Op::Slliw => self.shift_imm(i, W32, Shift::Shl),
            Op::Srliw => self.shift_imm(i, W32, Shift::Shr),
            Op::Sraiw => self.shift_imm(i, W32, Shift::Sar),
            Op::Roriw => self.shift_imm(i, W32, Shift::Ror),
            Op::Add => self.alu(i, W64, Alu::Add),
            Op::Sub => self.alu(i, W64, Alu::Sub),
            Op::And => self.alu(i, W64, Alu::And),
            Op::Or => self.alu(i, W64, Alu::Or),
            Op::Xor => self.alu(i, W64, Alu::Xor),
            Op::Addw => self.alu(i, W32, Alu::Add),
            Op::Subw => self.alu(i, W32, Alu::Sub),
            Op::Slt => self.set_less(i, Cond::L),
            Op::Sltu => self.set_less(i, Cond::B),
            Op::Sll => self.shift(i, W64, Shift::Shl),
            Op::Srl => self.shift(i, W64, Shift::Shr),
            Op::Sra => self.shift(i, W64, Shift::Sar),
            Op::Sllw => self.shift(i, W32, Shift::Shl),
            Op::Srlw => self.shift(i, W32, Shift::Shr),
            Op::Sraw => self.shift(i, W32, Shift::Sar),
            Op::Rol => self.rotate(i, W64, Shift::Rol),
            Op::Ror => self.rotate(i, W64, Shift::Ror),
            Op::Rolw => self.rotate(i, W32, Shift::Rol),
            Op::Rorw => self.rotate(i, W32, Shift::Ror),
            Op::Mul => self.multiply(i, W64),
            Op::Mulw => self.multiply(i, W32),
            Op::Mulh => self.multiply_high(i, true),
            Op::Mulhu => self.multiply_high(i, false),
            Op::Div => self.divide(i, W64, true, false),
            Op::Divu => self.divide(i, W64, false, false),
            Op::Rem => self.divide(i, W64, true, true),
            Op::Remu => self.divide(i, W64, false, true),
            Op::Divw => self.divide(i, W32, true, false),
            Op::Divuw => self.divide(i, W32, false, false),
            Op::Remw => self.divide(i, W32, true, true),
            Op::Remuw => self.divide(i, W32, false, true),
            _ => return self.bit_manipulation(i),
        }
        true
    }

    #[rustfmt::skip]
    fn bit_manipulation(&mut self, i: &Inst) -> bool {
        match i.op {
            Op::Sh1add => self.shift_add(i, 1, W64),
            Op::Sh2add => self.shift_add(i, 2, W64),
            Op::Sh3add => self.shift_add(i, 3, W64),
            Op::AddUw => self.shift_add(i, 0, W32),
            Op::Sh1addUw => self.shift_add(i, 1, W32),
            Op::Sh2addUw => self.shift_add(i, 2, W32),
            Op::Sh3addUw => self.shift_add(i, 3, W32),
            Op::SlliUw => self.shift_left_unsigned_word(i),
            Op::Andn => self.with_complement(i, Alu::And),
            Op::Orn => self.with_complement(i, Alu::Or),
            Op::Xnor => self.with_complement(i, Alu::Xor),
            Op::Max => self.choose(i, Cond::L),
            Op::Maxu => self.choose(i, Cond::B),
            Op::Min => self.choose(i, Cond::G),
            Op::Minu => self.choose(i, Cond::A),
            Op::Clz | Op::Clzw | Op::Ctz | Op::Ctzw | Op::Cpop | Op::Cpopw => {
                return self.features.counts && self.count_bits(i);
            }
            Op::SextB | Op::SextH | Op::ZextH => self.extend(i),
            Op::Rev8 => {
                self.load_x(W64, Reg::Rax, i.rs1);
                self.asm.bswap(Reg::Rax);
                self.put_x(i.rd, Reg::Rax);
            }
            Op::Bset => self.single_bit(i, Bit::Set, false),
            Op::Bclr => self.single_bit(i, Bit::Reset, false),
            Op::Binv => self.single_bit(i, Bit::Complement, false),
            Op::Bext => self.single_bit(i, Bit::Test, false),
            Op::Bseti => self.single_bit(i, Bit::Set, true),
            Op::Bclri => self.single_bit(i, Bit::Reset, true),
            Op::Binvi => self.single_bit(i, Bit::Complement, true),
            Op::Bexti => self.single_bit(i, Bit::Test, true),
            _ => return false,
        }
        true
    }

    /// Emits the two shifts that `insts` begin with, if together they extend the low 16 or 32 bits
    /// with zeroes, and shift them to the left; returns how many instructions that was.
    pub(super) fn extension(&mut self, insts: &[Inst]) -> usize {
        let [left, right, ..] = insts else { return 0 };
        let one = left.op == Op::Slli && right.op == Op::Srli && right.rs1 == left.rd;
        if !one || right.rd != left.rd || left.imm < 32 || right.imm > left.imm {
            return 0;
        }
        let to = self.target(left.rd);
        let Source::Place(from) = self.source(left.rs1) else { return 0 };
        match left.imm {
            32 => self.asm.mov(W32, to, from),
            48 => self.asm.movzx16(to, from),
            _ => return 0,
        }
        let back = (left.imm - right.imm) as u8;
        if back != 0 {
            self.asm.shift_imm(W64, Shift::Shl, to, back);
        }
        self.put_x(left.rd, to);
        2
    }

    fn constant(&mut self, rd: u8, value: u64) {
        let to = self.target(rd);
        self.asm.mov_imm(to, value);
        self.put_x(rd, to);
    }

    fn pc_relative(&mut self, i: &Inst) {
        let to = self.target(i.rd);
        self.asm.mov(W64, to, context!(page));
        self.asm.alu_imm(W64, Alu::Add, to, self.place_in_page());
        if i.imm != 0 {
            self.asm.alu_imm(W64, Alu::Add, to, i.imm);
        }
        self.put_x(i.rd, to);
    }

    /// Where a guest register is that an instruction changes, if that is in memory.
    fn in_memory(rd: u8, rs: u8) -> Option<Place> {
        (rd == rs && host(rd).is_none()).then(|| saved_x(rd))
    }

    fn add_imm(&mut self, i: &Inst) {
        if let Some(place) = Self::in_memory(i.rd, i.rs1) {
            return self.asm.alu_imm(W64, Alu::Add, place, i.imm);
        }
        let to = self.target(i.rd);
        match (self.source(i.rs1), host(i.rs1)) {
            (Source::Zero, _) => return self.constant(i.rd, i.imm as i64 as u64),
            (_, Some(from)) if i.imm == 0 => return self.put_x(i.rd, from),
            (_, Some(from)) if from != to => self.asm.lea(W64, to, Place::At(from, i.imm)),
            _ => {
                self.load_x(W64, to, i.rs1);
                if i.imm != 0 {
                    self.asm.alu_imm(W64, Alu::Add, to, i.imm);
                }
            }
        }
        self.put_x(i.rd, to);
    }

    fn add_imm_word(&mut self, i: &Inst) {
        let to = self.target(i.rd);
        match (self.source(i.rs1), host(i.rs1)) {
            (Source::Zero, _) => return self.constant(i.rd, i.imm as i64 as u64),
            (Source::Place(from), _) if i.imm == 0 => self.asm.movsxd(to, from),
            (_, Some(from)) => {
                self.asm.lea(W32, to, Place::At(from, i.imm));
                self.asm.movsxd(to, to);
            }
            _ => {
                self.load_x(W32, to, i.rs1);
                self.asm.alu_imm(W32, Alu::Add, to, i.imm);
                self.asm.movsxd(to, to);
            }
        }
        self.put_x(i.rd, to);
    }

    fn alu_imm(&mut self, i: &Inst, op: Alu) {
        let simple = (op, i.imm) != (Alu::And, 0xff) && (op, i.imm) != (Alu::Xor, -1);
        if let Some(place) = Self::in_memory(i.rd, i.rs1).filter(|_| simple) {
            return self.asm.alu_imm(W64, op, place, i.imm);
        }
        let to = self.target(i.rd);
        self.load_x(W64, to, i.rs1);
        match (op, i.imm) {
            (Alu::And, 0xff) => self.asm.movzx8(to, to),
            (Alu::Xor, -1) => self.asm.not(to),
            _ => self.asm.alu_imm(W64, op, to, i.imm),
        }
        self.put_x(i.rd, to);
    }

    fn set_less_imm(&mut self, i: &Inst, cond: Cond) {
        match self.source(i.rs1) {
            Source::Zero => {
                self.asm.mov_imm(Reg::Rax, 0);
                self.asm.alu_imm(W64, Alu::Cmp, Reg::Rax, i.imm);
            }
            Source::Place(from) => self.asm.alu_imm(W64, Alu::Cmp, from, i.imm),
        }
        self.put_flag(i.rd, cond);
    }

    fn set_less(&mut self, i: &Inst, cond: Cond) {
        self.compare(i.rs1, i.rs2);
        self.put_flag(i.rd, cond);
    }

    fn put_flag(&mut self, rd: u8, cond: Cond) {
        self.asm.set(cond, Reg::Rax);
        let to = self.target(rd);
        self.asm.movzx8(to, Reg::Rax);
        self.put_x(rd, to);
    }

    /// Puts a result of width `w`, sign-extended.
    fn put_wide(&mut self, w: Width, rd: u8, from: Reg) {
        if w == W32 {
            let to = self.target(rd);
            self.asm.movsxd(to, from);
            return self.put_x(rd, to);
        }
        self.put_x(rd, from);
    }

    fn alu(&mut self, i: &Inst, w: Width, op: Alu) {
        if op == Alu::And && (i.rs1 == 0 || i.rs2 == 0) {
            return self.constant(i.rd, 0);
        }
        let (mut a, mut b) = (i.rs1, i.rs2);
        if op != Alu::Sub && b == i.rd {
            (a, b) = (b, a);
        }
        if let Some(place) = Self::in_memory(i.rd, a).filter(|_| w == W64 && b != 0) {
            let from = self.x_in_reg(b, Reg::Rax);
            return self.asm.alu_store(w, op, place, from);
        }
        self.binary(i, w, op != Alu::Sub, |asm, to, from| asm.alu(w, op, to, from));
    }

    /// An operation of two operands that leaves the first as it is if the second is zero.
    fn binary(&mut self, i: &Inst, w: Width, commutes: bool, op: impl Fn(&mut Asm, Reg, Place)) {
        let (mut a, mut b) = (i.rs1, i.rs2);
        if commutes && (a == 0 || host(b).is_some() && host(b) == host(i.rd)) {
            (a, b) = (b, a);
        }
        let clobbers = host(b).is_some() && host(b) == host(i.rd) && a != b;
        let to = if clobbers { Reg::Rax } else { self.target(i.rd) };
        self.load_low(w, to, a);
        if let Source::Place(b) = self.source(b) {
            op(&mut self.asm, to, b);
        }
        self.put_wide(w, i.rd, to);
    }

    /// Guest register `number`, moved to `to`; what is above the width does not matter.
    fn load_low(&mut self, w: Width, to: Reg, number: u8) {
        if host(number) != Some(to) {
            self.load_x(w, to, number);
        }
    }

    fn shift_imm(&mut self, i: &Inst, w: Width, op: Shift) {
        let by = i.imm as u8 & if w == W64 { 63 } else { 31 };
        if let Some(place) = Self::in_memory(i.rd, i.rs1).filter(|_| w == W64 && by != 0) {
            return self.asm.shift_imm(w, op, place, by);
        }
        let to = self.target(i.rd);
        self.load_low(w, to, i.rs1);
        if by != 0 {
            self.asm.shift_imm(w, op, to, by);
        }
        if op == Shift::Shr && by != 0 {
            // It is not negative.
            return self.put_x(i.rd, to);
        }
        self.put_wide(w, i.rd, to);
    }

    fn shift(&mut self, i: &Inst, w: Width, op: Shift) {
        if !self.features.bmi2 {
            return self.rotate(i, w, op);
        }
        let by = self.x_in_reg(i.rs2, Reg::Rdx);
        let to = self.target(i.rd);
        match self.source(i.rs1) {
            Source::Zero => return self.constant(i.rd, 0),
            Source::Place(from) => self.asm.shift_x(w, op, to, from, by),
        }
        self.put_wide(w, i.rd, to);
    }

    /// Shifts whose distance has to be in cl, which is a guest register.
    fn rotate(&mut self, i: &Inst, w: Width, op: Shift) {
        self.load_x(W64, Reg::Rax, i.rs1);
        self.load_x(W64, Reg::Rdx, i.rs2);
        self.asm.xchg(Reg::Rcx, Reg::Rdx);
        self.asm.shift_cl(w, op, Reg::Rax);
        self.asm.xchg(Reg::Rcx, Reg::Rdx);
        self.put_wide(w, i.rd, Reg::Rax);
    }

    fn multiply(&mut self, i: &Inst, w: Width) {
        if i.rs1 == 0 || i.rs2 == 0 {
            return self.constant(i.rd, 0);
        }
        self.binary(i, w, true, |asm, to, from| asm.imul(w, to, from));
    }

    fn multiply_high(&mut self, i: &Inst, signed: bool) {
        self.load_x(W64, Reg::Rax, i.rs1);
        match self.source(i.rs2) {
            Source::Zero => return self.constant(i.rd, 0),
            Source::Place(b) => self.asm.mul_wide(signed, b),
        }
        self.put_x(i.rd, Reg::Rdx);
    }

    /// Division by zero gives all ones or the dividend; the one overflow wraps.
    fn divide(&mut self, i: &Inst, w: Width, signed: bool, remainder: bool) {
        let Source::Place(by) = self.source(i.rs2) else {
            if !remainder {
                return self.constant(i.rd, u64::MAX);
            }
            self.load_x(w, Reg::Rax, i.rs1);
            return self.put_wide(w, i.rd, Reg::Rax);
        };
        self.load_x(w, Reg::Rax, i.rs1);
        self.asm.alu_imm(w, Alu::Cmp, by, 0);
        let by_zero = self.asm.jump_if_later(Cond::E);
        let mut by_minus_one = None;
        if signed {
            self.asm.alu_imm(w, Alu::Cmp, by, -1);
            by_minus_one = Some(self.asm.jump_if_later(Cond::E));
            self.asm.cqo(w);
        } else {
            self.asm.mov_imm(Reg::Rdx, 0);
        }
        self.asm.div(w, signed, by);
        if remainder {
            self.asm.mov(W64, Reg::Rax, Reg::Rdx);
        }
        let done = self.asm.jump_later();
        let minus_one_done = by_minus_one.map(|label| {
            self.asm.bind(label);
            if remainder {
                self.asm.mov_imm(Reg::Rax, 0);
            } else {
                self.asm.neg(w, Reg::Rax);
            }
            self.asm.jump_later()
        });
        self.asm.bind(by_zero);
        if !remainder {
            self.asm.mov_imm(Reg::Rax, u64::MAX);
        }
        self.asm.bind(done);
        if let Some(label) = minus_one_done {
            self.asm.bind(label);
        }
        self.put_wide(w, i.rd, Reg::Rax);
    }

    /// rs2 + (rs1 << by), rs1 being 64 bits or the low 32.
    fn shift_add(&mut self, i: &Inst, by: u8, w: Width) {
        let mut left = self.x_in_reg(i.rs1, Reg::Rax);
        if w == W32 {
            self.asm.mov(W32, Reg::Rax, left);
            left = Reg::Rax;
        }
        let right = self.x_in_reg(i.rs2, Reg::Rdx);
        let to = self.target(i.rd);
        self.asm.lea(W64, to, Place::Indexed(right, left, by, 0));
        self.put_x(i.rd, to);
    }

    fn shift_left_unsigned_word(&mut self, i: &Inst) {
        self.load_x(W32, Reg::Rax, i.rs1);
        self.asm.shift_imm(W64, Shift::Shl, Reg::Rax, i.imm as u8 & 63);
        self.put_x(i.rd, Reg::Rax);
    }

    fn with_complement(&mut self, i: &Inst, op: Alu) {
        self.load_x(W64, Reg::Rax, i.rs2);
        self.asm.not(Reg::Rax);
        match self.source(i.rs1) {
            Source::Zero if op == Alu::And => self.asm.mov_imm(Reg::Rax, 0),
            Source::Zero => {}
            Source::Place(a) => self.asm.alu(W64, op, Reg::Rax, a),
        }
        self.put_x(i.rd, Reg::Rax);
    }

    /// rs2 if the condition holds between rs1 and rs2, else rs1.
    fn choose(&mut self, i: &Inst, cond: Cond) {
        self.load_x(W64, Reg::Rax, i.rs1);
        self.load_x(W64, Reg::Rdx, i.rs2);
        self.asm.alu(W64, Alu::Cmp, Reg::Rax, Reg::Rdx);
        self.asm.cmov(cond, Reg::Rax, Reg::Rdx);
        self.put_x(i.rd, Reg::Rax);
    }

    fn count_bits(&mut self, i: &Inst) -> bool {
        let from = self.x_in_reg(i.rs1, Reg::Rax);
        match i.op {
            Op::Clz => self.asm.lzcnt(W64, Reg::Rax, from),
            Op::Clzw => self.asm.lzcnt(W32, Reg::Rax, from),
            Op::Ctz => self.asm.tzcnt(W64, Reg::Rax, from),
            Op::Ctzw => self.asm.tzcnt(W32, Reg::Rax, from),
            Op::Cpop => self.asm.popcnt(W64, Reg::Rax, from),
            _ => self.asm.popcnt(W32, Reg::Rax, from),
        }
        self.put_x(i.rd, Reg::Rax);
        true
    }

    fn extend(&mut self, i: &Inst) {
        let from = self.x_in_reg(i.rs1, Reg::Rax);
        let to = self.target(i.rd);
        match i.op {
            Op::SextB => self.asm.movsx8(to, from),
            Op::SextH => self.asm.movsx16(to, from),
            _ => self.asm.movzx16(to, from),
        }
        self.put_x(i.rd, to);
    }

    fn single_bit(&mut self, i: &Inst, op: Bit, immediate: bool) {
        self.load_x(W64, Reg::Rax, i.rs1);
        if immediate {
            self.asm.bit_imm(op, Reg::Rax, i.imm as u8 & 63);
        } else {
            let by = self.x_in_reg(i.rs2, Reg::Rdx);
            self.asm.bit(op, Reg::Rax, by);
        }
        if op == Bit::Test {
            return self.put_flag(i.rd, Cond::B);
        }
        self.put_x(i.rd, Reg::Rax);
    }
}

/// Whether an instruction does nothing but write its destination.
fn is_pure(op: Op) -> bool {
    let within = |first: Op, last: Op| (first as u8..=last as u8).contains(&(op as u8));
    matches!(op, Op::Lui | Op::Auipc) || within(Op::Addi, Op::Sraw) || within(Op::Mul, Op::Remuw)
}
