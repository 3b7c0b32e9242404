//! The disassembler: binutils' spelling without aliases, so that its output can be compared.

use core::fmt;

use crate::{Inst, Op, Operand, csr};

const INT: [&str; 32] = [
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1", "a0", "a1", "a2", "a3", "a4",
    "a5", "a6", "a7", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4",
    "t5", "t6",
];

const FP: [&str; 32] = [
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2",
    "fa3", "fa4", "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9",
    "fs10", "fs11", "ft8", "ft9", "ft10", "ft11",
];

const ROUNDING: [&str; 8] = ["rne", "rtz", "rdn", "rup", "rmm", "unknown", "unknown", "dyn"];

/// The sets of accesses that a fence orders: input, output, reads, writes.
const FENCE_SETS: [&str; 16] = [
    "unknown", "w", "r", "rw", "o", "ow", "or", "orw", "i", "iw", "ir", "irw", "io", "iow", "ior",
    "iorw",
];

/// ABI name of an integer register.
pub const fn int_reg_name(number: usize) -> &'static str {
    INT[number & 31]
}

/// ABI name of a floating-point register.
pub const fn fp_reg_name(number: usize) -> &'static str {
    FP[number & 31]
}

/// Displays as the assembly text of an instruction at `pc`: targets of branches and jumps are
/// absolute.
#[derive(Clone, Copy, Debug)]
pub struct Disasm {
    inst: Inst,
    pc: u64,
}

/// The assembly text of `inst` at `pc`. A 16-bit encoding reads as what it stands for.
pub const fn disasm(inst: &Inst, pc: u64) -> Disasm {
    Disasm { inst: *inst, pc }
}

impl fmt::Display for Disasm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inst { op, imm, .. } = self.inst;
        if self.inst.is_pause() {
            return f.write_str("pause");
        }
        if op == Op::Fence && imm == 0x833 {
            return f.write_str("fence.tso");
        }
        f.write_str(op.mnemonic())?;
        let operands = op.row().operands;
        if operands.contains(&Operand::AqRl) {
            f.write_str(["", ".rl", ".aq", ".aqrl"][imm as usize & 3])?;
        }
        let mut before = " ";
        for &operand in operands.iter().filter(|o| self.shows(**o)) {
            f.write_str(before)?;
            self.operand(f, operand)?;
            before = ",";
        }
        Ok(())
    }
}

impl Disasm {
    /// Whether this operand has text of its own. The usual rounding is not mentioned: dynamic,
    /// and nearest in the conversions to double that are always exact.
    fn shows(&self, operand: Operand) -> bool {
        let exact = matches!(self.inst.op, Op::FcvtDS | Op::FcvtDW | Op::FcvtDWu);
        match operand {
            Operand::AqRl | Operand::Ignored => false,
            Operand::Rm if exact => self.inst.rm() != 0,
            Operand::Rm => self.inst.rm() != 7,
            _ => true,
        }
    }

    fn operand(&self, f: &mut fmt::Formatter<'_>, operand: Operand) -> fmt::Result {
        let Inst { imm, .. } = self.inst;
        let (rd, rs1, rs2) = (self.inst.rd(), self.inst.rs1(), self.inst.rs2());
        match operand {
            Operand::Rd => f.write_str(INT[rd]),
            Operand::Rs1 => f.write_str(INT[rs1]),
            Operand::Rs2 => f.write_str(INT[rs2]),
            Operand::Fd => f.write_str(FP[rd]),
            Operand::Fs1 => f.write_str(FP[rs1]),
            Operand::Fs2 => f.write_str(FP[rs2]),
            Operand::Fs3 => f.write_str(FP[self.inst.rs3()]),
            Operand::Rm => f.write_str(ROUNDING[self.inst.rm() as usize]),
            Operand::Imm => write!(f, "{imm}"),
            Operand::Mem | Operand::MemS => write!(f, "{imm}({})", INT[rs1]),
            Operand::Addr => write!(f, "({})", INT[rs1]),
            Operand::Branch | Operand::Jump => {
                write!(f, "{:#x}", self.pc.wrapping_add(imm as i64 as u64))
            }
            Operand::Upper => write!(f, "{:#x}", imm as u32 >> 12),
            Operand::Shamt6 | Operand::Shamt5 => write!(f, "{imm:#x}"),
            Operand::Csr => match csr::name(self.inst.csr()) {
                Some(name) => write!(f, "{name}"),
                None => write!(f, "{:#x}", self.inst.csr()),
            },
            Operand::Zimm => write!(f, "{rs1}"),
            Operand::Fence => {
                let set = |bits: i32| FENCE_SETS[bits as usize & 15];
                write!(f, "{},{}", set(imm >> 4), set(imm))
            }
            Operand::AqRl | Operand::Ignored => Ok(()),
        }
    }
}
