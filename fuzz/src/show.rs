//! A case for people: its settings, its streams as disassembly, registers that matter.

use std::fmt;

use isa::paging::Mode;
use isa::{csr, decode, disasm, int_reg_name};

use crate::case::{Case, NOP};
use crate::layout::RAM;
use crate::stream::Base;

/// Displays as text of some lines.
#[derive(Debug)]
pub struct Show<'a>(pub &'a Case);

impl fmt::Display for Show<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let case = self.0;
        let mode = case.start.letter();
        writeln!(f, "harts {}, turns of {}, start in {mode}-mode", case.harts, case.turn)?;
        let ad = if case.hardware_ad { "update" } else { "fault" };
        let mode = if case.paging { case.mode } else { Mode::Bare };
        writeln!(f, "{mode:?}, A and D: {ad}, timer {:?}", case.timer)?;
        writeln!(f, "vectored traps to M- and S-mode: {:?}", case.vectored)?;
        for (number, value) in [
            (csr::MSTATUS, case.mstatus),
            (csr::FCSR, case.fcsr),
            (csr::MEDELEG, case.medeleg),
            (csr::MIDELEG, case.mideleg),
            (csr::MIE, case.mie),
        ] {
            let name = csr::name(number).map_or_else(String::new, |name| name.to_string());
            write!(f, "{name} {value:#x} ")?;
        }
        writeln!(f)?;
        let names: Vec<String> = (Base::ALL.iter().zip(&case.bases))
            .map(|(base, number)| format!("{base:?} {}", int_reg_name((*number).into())))
            .collect();
        writeln!(f, "bases: {}", names.join(", "))?;
        for hart in 0..case.harts {
            self.stream(f, hart)?;
        }
        Ok(())
    }
}

impl Show<'_> {
    fn stream(&self, f: &mut fmt::Formatter<'_>, hart: usize) -> fmt::Result {
        let case = self.0;
        writeln!(f, "hart {hart}:")?;
        for (number, value) in case.x[hart].iter().enumerate().filter(|(_, value)| **value != 0) {
            let based = case.bases.contains(&(number as u8));
            let value = if based { value.wrapping_add(RAM) } else { *value };
            write!(f, "  {} = {value:#x}", int_reg_name(number))?;
        }
        writeln!(f)?;
        let bytes: Vec<u8> = case.streams[hart].1.iter().flat_map(|w| w.to_le_bytes()).collect();
        let (start, mut at) = (RAM + case.stream(hart), 0);
        while at < bytes.len() {
            let half = |at: usize| u32::from(bytes[at]) | u32::from(bytes[at + 1]) << 8;
            let long = half(at) & 3 == 3 && at + 2 < bytes.len();
            let bits = if long { half(at) | half(at + 2) << 16 } else { half(at) };
            let pc = start + at as u64;
            if bits != NOP && bits != 1 {
                match decode(bits) {
                    Some(inst) => writeln!(f, "  {pc:x}: {bits:8x}  {}", disasm(&inst, pc))?,
                    None => writeln!(f, "  {pc:x}: {bits:8x}  illegal")?,
                }
            }
            at += if long { 4 } else { 2 };
        }
        Ok(())
    }
}
