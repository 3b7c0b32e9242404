//! Operands: which bits of the word each takes, where they go in [`Inst`], and back (the
//! unprivileged manual, "Base Instruction Formats" and "Immediate Encoding Variants").

use crate::Inst;

/// One operand of a row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    /// Destination, integer.
    Rd,
    /// First source, integer.
    Rs1,
    /// Second source, integer.
    Rs2,
    /// Destination, floating point.
    Fd,
    /// First source, floating point.
    Fs1,
    /// Second source, floating point.
    Fs2,
    /// Third source, floating point.
    Fs3,
    /// Rounding mode.
    Rm,
    /// 12-bit signed immediate.
    Imm,
    /// `imm(rs1)` with the immediate of loads.
    Mem,
    /// `imm(rs1)` with the immediate of stores.
    MemS,
    /// `(rs1)`.
    Addr,
    /// Target of a branch: 13-bit signed, even.
    Branch,
    /// Target of a jump: 21-bit signed, even.
    Jump,
    /// Upper 20 bits.
    Upper,
    /// Shift amount of 64-bit shifts.
    Shamt6,
    /// Shift amount of 32-bit shifts.
    Shamt5,
    /// CSR number.
    Csr,
    /// 5-bit unsigned immediate in place of rs1.
    Zimm,
    /// Acquire and release bits.
    AqRl,
    /// fm, pred and succ of a fence; its rd and rs1 are ignored.
    Fence,
    /// The immediate, rd and rs1 are ignored.
    Ignored,
}

const RD: u32 = 0x1f << 7;
const RS1: u32 = 0x1f << 15;
const RS2: u32 = 0x1f << 20;
const IMM12: u32 = 0xfff << 20;

impl Operand {
    /// The bits of the word that this operand leaves free.
    pub const fn mask(self) -> u32 {
        match self {
            Operand::Rd | Operand::Fd => RD,
            Operand::Rs1 | Operand::Fs1 | Operand::Addr | Operand::Zimm => RS1,
            Operand::Rs2 | Operand::Fs2 | Operand::Shamt5 => RS2,
            Operand::Fs3 => 0x1f << 27,
            Operand::Rm => 7 << 12,
            Operand::Imm | Operand::Csr => IMM12,
            Operand::Mem => IMM12 | RS1,
            Operand::MemS => 0x7f << 25 | RD | RS1,
            Operand::Branch => 0x7f << 25 | RD,
            Operand::Jump | Operand::Upper => 0xf_ffff << 12,
            Operand::Shamt6 => 0x3f << 20,
            Operand::AqRl => 3 << 25,
            Operand::Fence | Operand::Ignored => IMM12 | RS1 | RD,
        }
    }

    /// Copies this operand from the word `bits` into `inst`.
    #[inline]
    pub(crate) const fn extract(self, bits: u32, inst: &mut Inst) {
        let signed = bits as i32;
        let rs1 = (bits >> 15 & 31) as u8;
        match self {
            Operand::Rd | Operand::Fd => inst.rd = (bits >> 7 & 31) as u8,
            Operand::Rs1 | Operand::Fs1 | Operand::Addr | Operand::Zimm => inst.rs1 = rs1,
            Operand::Rs2 | Operand::Fs2 => inst.rs2 = (bits >> 20 & 31) as u8,
            Operand::Fs3 => inst.imm |= (bits >> 27 << 3) as i32,
            Operand::Rm => inst.imm |= (bits >> 12 & 7) as i32,
            Operand::Imm => inst.imm = signed >> 20,
            Operand::Mem => {
                inst.rs1 = rs1;
                inst.imm = signed >> 20;
            }
            Operand::MemS => {
                inst.rs1 = rs1;
                inst.imm = signed >> 25 << 5 | (bits >> 7 & 0x1f) as i32;
            }
            Operand::Branch => {
                let low = bits >> 7 & 0x1e | bits >> 20 & 0x7e0 | bits << 4 & 0x800;
                inst.imm = signed >> 31 << 12 | low as i32;
            }
            Operand::Jump => {
                let low = bits >> 20 & 0x7fe | bits >> 9 & 0x800 | bits & 0xf_f000;
                inst.imm = signed >> 31 << 20 | low as i32;
            }
            Operand::Upper => inst.imm = (bits & 0xffff_f000) as i32,
            Operand::Shamt6 => inst.imm = (bits >> 20 & 0x3f) as i32,
            Operand::Shamt5 => inst.imm = (bits >> 20 & 0x1f) as i32,
            Operand::Csr | Operand::Fence => inst.imm = (bits >> 20) as i32,
            Operand::AqRl => inst.imm = (bits >> 25 & 3) as i32,
            Operand::Ignored => {}
        }
    }

    /// This operand of `inst` as bits of a word; what does not fit is cut off.
    pub(crate) const fn insert(self, inst: &Inst) -> u32 {
        let imm = inst.imm as u32;
        let rs1 = (inst.rs1 as u32 & 31) << 15;
        match self {
            Operand::Rd | Operand::Fd => (inst.rd as u32 & 31) << 7,
            Operand::Rs1 | Operand::Fs1 | Operand::Addr | Operand::Zimm => rs1,
            Operand::Rs2 | Operand::Fs2 => (inst.rs2 as u32 & 31) << 20,
            Operand::Fs3 => (imm >> 3 & 31) << 27,
            Operand::Rm => (imm & 7) << 12,
            Operand::Imm | Operand::Csr | Operand::Fence => imm << 20,
            Operand::Mem => imm << 20 | rs1,
            Operand::MemS => (imm >> 5 & 0x7f) << 25 | (imm & 0x1f) << 7 | rs1,
            Operand::Branch => {
                (imm >> 12 & 1) << 31
                    | (imm >> 5 & 0x3f) << 25
                    | (imm >> 1 & 0xf) << 8
                    | (imm >> 11 & 1) << 7
            }
            Operand::Jump => {
                (imm >> 20 & 1) << 31
                    | (imm >> 1 & 0x3ff) << 21
                    | (imm >> 11 & 1) << 20
                    | imm & 0xf_f000
            }
            Operand::Upper => imm & 0xffff_f000,
            Operand::Shamt6 => (imm & 0x3f) << 20,
            Operand::Shamt5 => (imm & 0x1f) << 20,
            Operand::AqRl => (imm & 3) << 25,
            Operand::Ignored => 0,
        }
    }
}
