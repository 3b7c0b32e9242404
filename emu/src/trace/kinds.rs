//! The kinds of records that can be asked for: `--trace=faults,frames`.

use std::ops::BitOr;
use std::str::FromStr;

use super::record::Record;

/// Which kinds of records are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kinds {
    /// Page faults.
    pub faults: bool,
    /// Misses and flushes of the modelled TLB.
    pub tlb: bool,
    /// Frames allocated and freed.
    pub frames: bool,
    /// Processes: switched to, made, replaced, ended.
    pub proc: bool,
    /// System calls.
    pub sys: bool,
    /// Every trap.
    pub traps: bool,
    /// Every instruction.
    pub insn: bool,
}

impl Kinds {
    /// All of them.
    pub const ALL: Kinds = Kinds {
        faults: true,
        tlb: true,
        frames: true,
        proc: true,
        sys: true,
        traps: true,
        insn: true,
    };

    /// Whether a record is of a kind that is wanted. What is of no kind always is.
    pub fn include(&self, record: &Record) -> bool {
        match record {
            Record::Fault(_) => self.faults,
            Record::Frames(_) => self.frames,
            Record::ProcSwitched { .. }
            | Record::Forked { .. }
            | Record::Execed { .. }
            | Record::Exited { .. } => self.proc,
            Record::Syscall { .. } => self.sys,
            Record::Trapped { .. } => self.traps,
            Record::TlbMissed { .. } | Record::TlbFlushed { .. } => self.tlb,
            Record::Insn { .. } => self.insn,
            Record::Header { .. }
            | Record::Place { .. }
            | Record::TlbCounted { .. }
            | Record::Finding { .. }
            | Record::Mark { .. }
            | Record::End { .. } => true,
        }
    }
}

impl BitOr for Kinds {
    type Output = Kinds;

    fn bitor(self, other: Kinds) -> Kinds {
        Kinds {
            faults: self.faults | other.faults,
            tlb: self.tlb | other.tlb,
            frames: self.frames | other.frames,
            proc: self.proc | other.proc,
            sys: self.sys | other.sys,
            traps: self.traps | other.traps,
            insn: self.insn | other.insn,
        }
    }
}

impl FromStr for Kinds {
    type Err = String;

    fn from_str(list: &str) -> Result<Kinds, String> {
        let mut kinds = Kinds::default();
        for word in list.split(',') {
            let wanted = match word {
                "faults" => &mut kinds.faults,
                "tlb" => &mut kinds.tlb,
                "frames" => &mut kinds.frames,
                "proc" => &mut kinds.proc,
                "sys" => &mut kinds.sys,
                "traps" => &mut kinds.traps,
                "insn" => &mut kinds.insn,
                _ => {
                    return Err(format!(
                        "`{word}` cannot be traced; faults, tlb, frames, proc, sys, traps and \
                         insn can"
                    ));
                }
            };
            *wanted = true;
        }
        Ok(kinds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_kinds() {
        let kinds = "faults,frames".parse::<Kinds>();
        assert_eq!(kinds, Ok(Kinds { faults: true, frames: true, ..Kinds::default() }));
        assert!("faults,".parse::<Kinds>().is_err() && "all".parse::<Kinds>().is_err());
        let fault = Record::Fault(crate::trace::text::tests::sample());
        assert!("faults".parse::<Kinds>().is_ok_and(|kinds| kinds.include(&fault)));
        assert!("sys".parse::<Kinds>().is_ok_and(|kinds| !kinds.include(&fault)));
    }
}
