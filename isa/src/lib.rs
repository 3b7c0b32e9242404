//! RISC-V as data: the instruction table, decoder, disassembler, CSRs, traps, paging.
//!
//! Everything that has an encoding is written down once, in [`table`] and [`compressed`]; the
//! enum, the decoder, the encoder and the disassembler follow from it. What an instruction
//! *does* is left to the emulator.
#![no_std]
#![forbid(unsafe_code)]

pub mod asm;
pub mod compressed;
pub mod csr;
mod decode;
mod disasm;
mod encode;
pub mod ext;
mod inst;
mod operand;
pub mod paging;
mod table;
pub mod trap;

pub use decode::decode;
pub use disasm::{Disasm, disasm, fp_reg_name, int_reg_name};
pub use encode::encode;
pub use ext::Ext;
pub use inst::Inst;
pub use operand::Operand;
pub use table::{Op, Row};

/// Privilege modes with their architectural numbers.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Priv {
    /// U-mode.
    User = 0,
    /// S-mode.
    Supervisor = 1,
    /// M-mode.
    Machine = 3,
}

impl Priv {
    /// The mode with this number; 2 is reserved.
    pub const fn from_bits(bits: u64) -> Option<Priv> {
        match bits {
            0 => Some(Priv::User),
            1 => Some(Priv::Supervisor),
            3 => Some(Priv::Machine),
            _ => None,
        }
    }

    /// The mode's letter in traces and register dumps.
    pub const fn letter(self) -> char {
        match self {
            Priv::User => 'U',
            Priv::Supervisor => 'S',
            Priv::Machine => 'M',
        }
    }
}
