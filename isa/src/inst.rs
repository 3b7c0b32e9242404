//! A decoded instruction: eight bytes that interpreter, translator and disassembler share.

use crate::Op;

/// One instruction, whatever the size of its encoding.
///
/// Fields that an instruction does not have are zero.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inst {
    /// What it does.
    pub op: Op,
    /// Destination register (x or f, as `op` says).
    pub rd: u8,
    /// First source register; the immediate of `csrr*i`.
    pub rs1: u8,
    /// Second source register, and [`Inst::COMPRESSED`].
    pub rs2: u8,
    /// The final value of the immediate: branches and jumps: byte offset; `lui`, `auipc`:
    /// shifted; shifts: amount; CSR instructions: CSR number; atomics: `aq << 1 | rl`; floating
    /// point: rounding mode in bits 2:0 and `rs3` in bits 7:3; `fence`: fm, pred and succ.
    pub imm: i32,
}

const _: () = assert!(size_of::<Inst>() == 8);

impl Inst {
    /// Set in `rs2` when the encoding has 16 bits.
    pub const COMPRESSED: u8 = 0x80;

    /// An instruction whose other fields are zero.
    pub const fn new(op: Op) -> Inst {
        Inst { op, rd: 0, rs1: 0, rs2: 0, imm: 0 }
    }

    /// Bytes of the encoding: 2 or 4.
    #[inline(always)]
    pub const fn len(&self) -> u64 {
        4 - (self.rs2 >> 7 << 1) as u64
    }

    /// Instructions are never empty.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// Number of the destination register.
    #[inline(always)]
    pub const fn rd(&self) -> usize {
        (self.rd & 31) as usize
    }

    /// Number of the first source register.
    #[inline(always)]
    pub const fn rs1(&self) -> usize {
        (self.rs1 & 31) as usize
    }

    /// Number of the second source register.
    #[inline(always)]
    pub const fn rs2(&self) -> usize {
        (self.rs2 & 31) as usize
    }

    /// Number of the third source register of a fused multiply-add.
    #[inline(always)]
    pub const fn rs3(&self) -> usize {
        (self.imm >> 3 & 31) as usize
    }

    /// Rounding-mode field of a floating-point instruction; 7 is dynamic, 5 and 6 are reserved.
    #[inline(always)]
    pub const fn rm(&self) -> u8 {
        (self.imm & 7) as u8
    }

    /// CSR number of a CSR instruction.
    #[inline(always)]
    pub const fn csr(&self) -> u16 {
        (self.imm & 0xfff) as u16
    }

    /// Whether this is the hint `pause`: a `fence` with pred = W and nothing else.
    #[inline]
    pub const fn is_pause(&self) -> bool {
        matches!(self.op, Op::Fence) && self.imm == 0x010
    }
}
