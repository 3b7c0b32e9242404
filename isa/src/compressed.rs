//! The 16-bit encodings, each expanded to the instruction it stands for (the unprivileged
//! manual, "C" extension, RV64 column of the listings). HINTs expand to what they look like;
//! reserved encodings are illegal.

use crate::{Ext, Inst, Op, ext};

const ZERO: u8 = 0;
const RA: u8 = 1;
const SP: u8 = 2;

/// Expands one 16-bit encoding; `None` if it is reserved.
pub const fn expand(half: u16) -> Option<Inst> {
    if !ext::has(Ext::C) {
        return None;
    }
    let word = Half(half as u32);
    match half & 3 {
        0 => quadrant0(word),
        1 => quadrant1(word),
        2 => quadrant2(word),
        _ => None,
    }
}

/// A 16-bit encoding and its fields.
#[derive(Clone, Copy)]
struct Half(u32);

impl Half {
    const fn funct3(self) -> u32 {
        self.0 >> 13
    }

    /// Bits 11:7, a full register number.
    const fn rd(self) -> u8 {
        (self.0 >> 7 & 31) as u8
    }

    /// Bits 6:2, a full register number.
    const fn rs2(self) -> u8 {
        (self.0 >> 2 & 31) as u8
    }

    /// Bits 9:7, a register from x8 to x15.
    const fn rd_short(self) -> u8 {
        8 + (self.0 >> 7 & 7) as u8
    }

    /// Bits 4:2, a register from x8 to x15.
    const fn rs2_short(self) -> u8 {
        8 + (self.0 >> 2 & 7) as u8
    }

    /// The `count` bits from `from` up, moved to bit `to`.
    const fn field(self, from: u32, count: u32, to: u32) -> i32 {
        ((self.0 >> from & ((1 << count) - 1)) << to) as i32
    }

    /// Bit 12, the sign of the signed immediates, as a mask of the bits from `to` up.
    const fn sign(self, to: u32) -> i32 {
        -(self.field(12, 1, 0)) << to
    }

    /// imm[5] in bit 12, imm[4:0] in bits 6:2; signed.
    const fn imm6(self) -> i32 {
        self.sign(5) | self.field(2, 5, 0)
    }

    /// The same bits as a shift amount.
    const fn shamt(self) -> i32 {
        self.field(12, 1, 5) | self.field(2, 5, 0)
    }

    /// Offset of the word loads and stores of quadrant 0.
    const fn offset_w(self) -> i32 {
        self.field(10, 3, 3) | self.field(6, 1, 2) | self.field(5, 1, 6)
    }

    /// Offset of the double-word loads and stores of quadrant 0.
    const fn offset_d(self) -> i32 {
        self.field(10, 3, 3) | self.field(5, 2, 6)
    }

    /// Offset of the sp-relative word load.
    const fn offset_lwsp(self) -> i32 {
        self.field(12, 1, 5) | self.field(4, 3, 2) | self.field(2, 2, 6)
    }

    /// Offset of the sp-relative double-word loads.
    const fn offset_ldsp(self) -> i32 {
        self.field(12, 1, 5) | self.field(5, 2, 3) | self.field(2, 3, 6)
    }

    /// Offset of the sp-relative word store.
    const fn offset_swsp(self) -> i32 {
        self.field(9, 4, 2) | self.field(7, 2, 6)
    }

    /// Offset of the sp-relative double-word stores.
    const fn offset_sdsp(self) -> i32 {
        self.field(10, 3, 3) | self.field(7, 3, 6)
    }

    /// Offset of `c.j`.
    const fn jump(self) -> i32 {
        self.sign(11)
            | self.field(11, 1, 4)
            | self.field(9, 2, 8)
            | self.field(8, 1, 10)
            | self.field(7, 1, 6)
            | self.field(6, 1, 7)
            | self.field(3, 3, 1)
            | self.field(2, 1, 5)
    }

    /// Offset of `c.beqz` and `c.bnez`.
    const fn branch(self) -> i32 {
        self.sign(8)
            | self.field(10, 2, 3)
            | self.field(5, 2, 6)
            | self.field(3, 2, 1)
            | self.field(2, 1, 5)
    }

    /// Addend of `c.addi4spn`.
    const fn addi4spn(self) -> i32 {
        self.field(11, 2, 4) | self.field(7, 4, 6) | self.field(6, 1, 2) | self.field(5, 1, 3)
    }

    /// Addend of `c.addi16sp`.
    const fn addi16sp(self) -> i32 {
        self.sign(9)
            | self.field(6, 1, 4)
            | self.field(5, 1, 6)
            | self.field(3, 2, 7)
            | self.field(2, 1, 5)
    }
}

/// rd, rs1 and an immediate.
const fn rri(op: Op, rd: u8, rs1: u8, imm: i32) -> Option<Inst> {
    Some(Inst { op, rd, rs1, rs2: Inst::COMPRESSED, imm })
}

/// rd, rs1 and rs2.
const fn rrr(op: Op, rd: u8, rs1: u8, rs2: u8) -> Option<Inst> {
    Some(Inst { op, rd, rs1, rs2: rs2 | Inst::COMPRESSED, imm: 0 })
}

/// rs1, rs2 and an immediate: stores and branches.
const fn ssi(op: Op, rs1: u8, rs2: u8, imm: i32) -> Option<Inst> {
    Some(Inst { op, rd: 0, rs1, rs2: rs2 | Inst::COMPRESSED, imm })
}

const fn quadrant0(h: Half) -> Option<Inst> {
    let (rd, rs1) = (h.rs2_short(), h.rd_short());
    match h.funct3() {
        0b000 if h.addi4spn() == 0 => None,
        0b000 => rri(Op::Addi, rd, SP, h.addi4spn()),
        0b001 => rri(Op::Fld, rd, rs1, h.offset_d()),
        0b010 => rri(Op::Lw, rd, rs1, h.offset_w()),
        0b011 => rri(Op::Ld, rd, rs1, h.offset_d()),
        0b101 => ssi(Op::Fsd, rs1, rd, h.offset_d()),
        0b110 => ssi(Op::Sw, rs1, rd, h.offset_w()),
        0b111 => ssi(Op::Sd, rs1, rd, h.offset_d()),
        _ => None,
    }
}

const fn quadrant1(h: Half) -> Option<Inst> {
    let rd = h.rd();
    match h.funct3() {
        0b000 => rri(Op::Addi, rd, rd, h.imm6()),
        0b001 if rd == ZERO => None,
        0b001 => rri(Op::Addiw, rd, rd, h.imm6()),
        0b010 => rri(Op::Addi, rd, ZERO, h.imm6()),
        // Both forms of this code point are reserved when the immediate is zero.
        0b011 if h.imm6() == 0 => None,
        0b011 if rd == SP => rri(Op::Addi, SP, SP, h.addi16sp()),
        0b011 => rri(Op::Lui, rd, ZERO, h.imm6() << 12),
        0b100 => arithmetic(h),
        0b101 => rri(Op::Jal, ZERO, ZERO, h.jump()),
        0b110 => ssi(Op::Beq, h.rd_short(), ZERO, h.branch()),
        _ => ssi(Op::Bne, h.rd_short(), ZERO, h.branch()),
    }
}

const fn arithmetic(h: Half) -> Option<Inst> {
    let rd = h.rd_short();
    let op = match (h.0 >> 10 & 3, h.0 >> 12 & 1, h.0 >> 5 & 3) {
        (0b00, ..) => return rri(Op::Srli, rd, rd, h.shamt()),
        (0b01, ..) => return rri(Op::Srai, rd, rd, h.shamt()),
        (0b10, ..) => return rri(Op::Andi, rd, rd, h.imm6()),
        (_, 0, 0b00) => Op::Sub,
        (_, 0, 0b01) => Op::Xor,
        (_, 0, 0b10) => Op::Or,
        (_, 0, _) => Op::And,
        (_, _, 0b00) => Op::Subw,
        (_, _, 0b01) => Op::Addw,
        _ => return None,
    };
    rrr(op, rd, rd, h.rs2_short())
}

const fn quadrant2(h: Half) -> Option<Inst> {
    let (rd, rs2) = (h.rd(), h.rs2());
    match h.funct3() {
        0b000 => rri(Op::Slli, rd, rd, h.shamt()),
        0b001 => rri(Op::Fld, rd, SP, h.offset_ldsp()),
        0b010 | 0b011 if rd == ZERO => None,
        0b010 => rri(Op::Lw, rd, SP, h.offset_lwsp()),
        0b011 => rri(Op::Ld, rd, SP, h.offset_ldsp()),
        0b100 => match (h.0 >> 12 & 1, rd, rs2) {
            (0, ZERO, 0) => None,
            (0, _, 0) => rri(Op::Jalr, ZERO, rd, 0),
            (0, ..) => rrr(Op::Add, rd, ZERO, rs2),
            (_, ZERO, 0) => rri(Op::Ebreak, 0, 0, 0),
            (_, _, 0) => rri(Op::Jalr, RA, rd, 0),
            _ => rrr(Op::Add, rd, rd, rs2),
        },
        0b101 => ssi(Op::Fsd, SP, rs2, h.offset_sdsp()),
        0b110 => ssi(Op::Sw, SP, rs2, h.offset_swsp()),
        _ => ssi(Op::Sd, SP, rs2, h.offset_sdsp()),
    }
}
