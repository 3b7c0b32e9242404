//! Instructions from their operands, in the order in which an assembler has them.
//!
//! For code that is made by programs: what does not occur in an instruction stays zero.

use crate::{Inst, Op};

/// `op rd, rs1, rs2`.
pub const fn r(op: Op, rd: u8, rs1: u8, rs2: u8) -> Inst {
    Inst { op, rd, rs1, rs2, imm: 0 }
}

/// `op rd, rs1, imm`, and `op rd, imm(rs1)`.
pub const fn i(op: Op, rd: u8, rs1: u8, imm: i32) -> Inst {
    Inst { op, rd, rs1, rs2: 0, imm }
}

/// `op rs2, imm(rs1)`, and `op rs1, rs2, imm`.
pub const fn s(op: Op, rs1: u8, rs2: u8, imm: i32) -> Inst {
    Inst { op, rd: 0, rs1, rs2, imm }
}

/// `csrr rd, csr`.
pub const fn csrr(rd: u8, csr: u16) -> Inst {
    i(Op::Csrrs, rd, 0, csr as i32)
}

/// `csrw csr, rs1`.
pub const fn csrw(csr: u16, rs1: u8) -> Inst {
    i(Op::Csrrw, 0, rs1, csr as i32)
}
