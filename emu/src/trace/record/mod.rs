//! What a trace consists of: the records that every output is made from.
//!
//! A trace is a header, records in the order in which they happened, and an end. The types are
//! the format: `docs/trace-format.md` describes them as JSON Lines, and every change that an
//! older reader would misread raises [`VERSION`]. Numbers are numbers here; how many columns or
//! which base they get is the outputs' business.

mod fault;
mod frames;
mod tlb;

use std::borrow::Cow;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use self::fault::{Fault, Outcome, Via};
pub use self::frames::{Change, Changed, FRAME_SHIFT, Frame, Frames, FreePages, MAX_CALLERS};
pub(super) use self::frames::{SavedFrame, USUAL_NS};
pub use self::tlb::{MissCause, TlbTally};
pub use crate::mmu::{Access, Reason};

/// Version of the record format.
pub const VERSION: u32 = 4;

/// A word of ours, or one that was read from a file.
pub type Word = Cow<'static, str>;

/// When and where something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Virtual time in nanoseconds since reset.
    pub ns: u64,
    /// Instructions retired by all harts since reset.
    pub insns: u64,
    /// The hart.
    #[serde(skip_serializing_if = "is_default", default)]
    pub hart: u32,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Who it happened to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Process id; without hints or debug information nobody knows it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pid: Option<i32>,
    /// Process name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<Arc<str>>,
    /// The address space: the value of `satp`.
    #[serde(skip_serializing_if = "is_as_before", default = "as_before")]
    pub satp: u64,
}

impl Who {
    /// Becomes another one's copy: most of the time it is one already.
    pub(super) fn update(&mut self, other: &Who) {
        (self.pid, self.satp) = (other.pid, other.satp);
        let text = |name: &Option<Arc<str>>| name.as_ref().map(|name| name.as_ptr());
        if text(&self.name) != text(&other.name) {
            self.name.clone_from(&other.name);
        }
    }
}

/// Only in files, in faults and frames: `satp` is that of the record of the same kind before. No
/// machine has this value.
pub(super) const AS_BEFORE: u64 = u64::MAX;

fn as_before() -> u64 {
    AS_BEFORE
}

fn is_as_before(satp: &u64) -> bool {
    *satp == AS_BEFORE
}

/// A place in a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The address.
    pub pc: u64,
    /// The function that holds it: the innermost one that is the program's own.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub function: Option<String>,
    /// The function of the symbol table, if the compiler put `function` into another one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub inlined_into: Option<String>,
    /// Bytes from the start of the function of the symbol table.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offset: Option<u64>,
    /// Source file, from `dir`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    /// Where the program was compiled.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub dir: Option<Arc<str>>,
    /// Line in the source file, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
}

/// Places in a file: each is written once, as [`Record::Place`], and elsewhere it is a number. What
/// was read is a place with the number for its address, until the reader puts the place there.
pub(super) mod numbered {
    use super::*;

    pub fn serialize<S: Serializer>(place: &Arc<Place>, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_u64(place.pc)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Arc<Place>, D::Error> {
        u64::deserialize(input).map(|pc| Arc::new(Place { pc, ..Place::default() }))
    }
}

/// One record of a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// First: what was traced.
    Header {
        /// [`VERSION`].
        version: u32,
        /// File name of the kernel.
        kernel: String,
        /// Number of harts.
        harts: u32,
        /// Bytes of RAM.
        ram: u64,
        /// Physical address of RAM.
        ram_start: u64,
    },
    /// Only in files: a place, before the first record that names it by its number.
    Place {
        /// The number, from now on.
        id: u64,
        /// The place.
        #[serde(flatten)]
        place: Place,
    },
    /// A page fault, written when it is over.
    Fault(Fault),
    /// Frames left the free list or went back to it.
    Frames(Frames),
    /// A hart runs another process.
    ProcSwitched {
        /// When and where.
        #[serde(flatten)]
        at: Moment,
        /// The process.
        #[serde(flatten)]
        who: Who,
    },
    /// A process was made.
    Forked {
        /// When and where.
        #[serde(flatten)]
        at: Moment,
        /// The parent.
        #[serde(flatten)]
        who: Who,
        /// The child's process id.
        child: i32,
    },
    /// A process loaded a program.
    Execed {
        /// When and where.
        #[serde(flatten)]
        at: Moment,
        /// The process, with its new name.
        #[serde(flatten)]
        who: Who,
    },
    /// A process ended.
    Exited {
        /// When and where.
        #[serde(flatten)]
        at: Moment,
        /// The process.
        #[serde(flatten)]
        who: Who,
        /// Its exit status.
        status: i32,
    },
    /// A system call, written when it returns.
    Syscall {
        /// When and where it began.
        #[serde(flatten)]
        at: Moment,
        /// The process.
        #[serde(flatten)]
        who: Who,
        /// Its number.
        number: u64,
        /// Its name, when it is one of xv6's.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        call: Option<Word>,
        /// The arguments a0 to a5.
        args: [u64; 6],
        /// What it returned; none when it did not.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        result: Option<u64>,
        /// Instructions from `ecall` to return on this hart.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        cost: Option<u64>,
        /// Virtual time of the return in nanoseconds.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        returned: Option<u64>,
    },
    /// Any trap.
    Trapped {
        /// When and where.
        #[serde(flatten)]
        at: Moment,
        /// The process.
        #[serde(flatten)]
        who: Who,
        /// `scause` or `mcause`.
        cause: u64,
        /// The cause in words.
        what: Word,
        /// `stval` or `mtval`.
        tval: u64,
        /// The interrupted instruction.
        #[serde(with = "numbered")]
        place: Arc<Place>,
    },
    /// The modelled TLB missed.
    TlbMissed {
        /// When and where.
        #[serde(flatten)]
        at: Moment,
        /// The process.
        #[serde(flatten)]
        who: Who,
        /// Fetch (instruction TLB), or load or store (data TLB).
        access: Access,
        /// The virtual address.
        va: u64,
        /// Why it was not there.
        cause: MissCause,
    },
    /// The modelled TLB was flushed.
    TlbFlushed {
        /// When and where.
        #[serde(flatten)]
        at: Moment,
        /// The process.
        #[serde(flatten)]
        who: Who,
        /// Entries that were dropped.
        entries: u32,
        /// [`MissCause::SatpWrite`] or [`MissCause::SfenceVma`].
        cause: MissCause,
    },
    /// What a modelled TLB was used for, at the end: first the one that was asked for, then
    /// others for comparison.
    TlbCounted {
        /// When.
        #[serde(flatten)]
        at: Moment,
        /// Size and policy, as on the command line.
        config: String,
        /// The instruction side.
        insts: TlbTally,
        /// The data side.
        data: TlbTally,
    },
    /// A checker found something wrong.
    Finding {
        /// When and where.
        #[serde(flatten)]
        at: Moment,
        /// The process.
        #[serde(flatten)]
        who: Who,
        /// Which checker.
        check: String,
        /// What is wrong, both sides named.
        message: String,
        /// The instruction at which it shows.
        #[serde(with = "numbered")]
        place: Arc<Place>,
    },
    /// A program's own mark.
    Mark {
        /// When and where.
        #[serde(flatten)]
        at: Moment,
        /// The process.
        #[serde(flatten)]
        who: Who,
        /// The mark's three values.
        values: [u64; 3],
    },
    /// One retired instruction.
    Insn {
        /// When and where.
        #[serde(flatten)]
        at: Moment,
        /// Its address.
        pc: u64,
        /// Its encoding.
        bits: u32,
        /// Its assembly text.
        text: String,
    },
    /// Last: how the run ended.
    End {
        /// When.
        #[serde(flatten)]
        at: Moment,
        /// Exit status.
        status: i32,
        /// Page-fault traps taken, counted where traps are taken.
        fault_traps: u64,
        /// Free pages over the run, when they are counted.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        free: Option<FreePages>,
    },
}

impl Record {
    /// When and where; nothing for the header.
    pub fn at(&self) -> Option<Moment> {
        match self {
            Record::Header { .. } | Record::Place { .. } => None,
            Record::Fault(Fault { at, .. })
            | Record::Frames(Frames { at, .. })
            | Record::ProcSwitched { at, .. }
            | Record::Forked { at, .. }
            | Record::Execed { at, .. }
            | Record::Exited { at, .. }
            | Record::Syscall { at, .. }
            | Record::Trapped { at, .. }
            | Record::TlbMissed { at, .. }
            | Record::TlbFlushed { at, .. }
            | Record::TlbCounted { at, .. }
            | Record::Finding { at, .. }
            | Record::Mark { at, .. }
            | Record::Insn { at, .. }
            | Record::End { at, .. } => Some(*at),
        }
    }

    /// The places that it names.
    pub fn places(&mut self) -> &mut [Arc<Place>] {
        match self {
            Record::Fault(Fault { place, .. })
            | Record::Trapped { place, .. }
            | Record::Finding { place, .. } => std::slice::from_mut(place),
            Record::Frames(run) => &mut run.callers,
            _ => &mut [],
        }
    }

    /// The process it belongs to, where it belongs to one.
    pub fn who(&self) -> Option<&Who> {
        match self {
            Record::Header { .. }
            | Record::Place { .. }
            | Record::TlbCounted { .. }
            | Record::Insn { .. }
            | Record::End { .. } => None,
            Record::Fault(Fault { who, .. })
            | Record::Frames(Frames { who, .. })
            | Record::ProcSwitched { who, .. }
            | Record::Forked { who, .. }
            | Record::Execed { who, .. }
            | Record::Exited { who, .. }
            | Record::Syscall { who, .. }
            | Record::Trapped { who, .. }
            | Record::TlbMissed { who, .. }
            | Record::TlbFlushed { who, .. }
            | Record::Finding { who, .. }
            | Record::Mark { who, .. } => Some(who),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flattened parts share one object: their field names must not meet.
    #[test]
    fn every_kind_survives_the_way_to_json_and_back() {
        let at = Moment { ns: 1, insns: 2, hart: 3 };
        let place = Arc::new(Place { pc: 4, ..Place::default() });
        let who = Who { pid: Some(5), name: Some("sh".into()), satp: u64::MAX - 1 };
        let first = Frame { pa: 4096, insns: 0, ns: 0, caller: 0, change: Change::Allocated };
        let frames = Frames {
            at,
            who: who.clone(),
            free: 7,
            callers: vec![place.clone()],
            frames: vec![first, Frame { insns: 25, ns: 26, change: Change::Freed, ..first }],
        };
        let mut fault = crate::trace::text::tests::sample();
        fault.place = place.clone();
        let records = [
            Record::Header { version: VERSION, kernel: "k".into(), harts: 1, ram: 8, ram_start: 9 },
            Record::Place { id: 4, place: Place { pc: 5, line: Some(6), ..Place::default() } },
            Record::Fault(fault),
            Record::Frames(frames),
            Record::ProcSwitched { at, who: who.clone() },
            Record::Forked { at, who: who.clone(), child: 10 },
            Record::Execed { at, who: who.clone() },
            Record::Exited { at, who: who.clone(), status: -1 },
            Record::Syscall {
                at,
                who: who.clone(),
                number: 11,
                call: Some("open".into()),
                args: [u64::MAX; 6],
                result: Some(12),
                cost: None,
                returned: Some(13),
            },
            Record::Trapped {
                at,
                who: who.clone(),
                cause: 1 << 63 | 5,
                what: "timer".into(),
                tval: 13,
                place: place.clone(),
            },
            Record::TlbMissed {
                at,
                who: who.clone(),
                access: Access::Load,
                va: 14,
                cause: MissCause::Cold,
            },
            Record::TlbFlushed { at, who: who.clone(), entries: 15, cause: MissCause::SatpWrite },
            Record::TlbCounted {
                at,
                config: "64x4,lru,asid=on".into(),
                insts: TlbTally { accesses: Some(22), ..TlbTally::default() },
                data: TlbTally { flushed: 23, ..TlbTally::default() },
            },
            Record::Finding {
                at,
                who: who.clone(),
                check: "cow".into(),
                message: "m".into(),
                place,
            },
            Record::Mark { at, who, values: [16, 17, 18] },
            Record::Insn { at, pc: 19, bits: 20, text: "nop".into() },
            Record::End {
                at,
                status: 0,
                fault_traps: 21,
                free: Some(FreePages { start: 3, least: 1, end: 2, leak: Some(0) }),
            },
        ];
        for record in records {
            let json = serde_json::to_string(&record).expect("plain data");
            let back: Record = serde_json::from_str(&json).expect(&json);
            assert_eq!(back, record, "{json}");
        }
    }
}
