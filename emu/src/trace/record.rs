//! What a trace consists of: the records that every output is made from.
//!
//! A trace is a header, records in the order in which they happened, and an end. The types are
//! the format: `docs/trace-format.md` describes them as JSON Lines, and every change that an
//! older reader would misread raises [`VERSION`]. Numbers are numbers here; how many columns or
//! which base they get is the outputs' business.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Version of the record format.
pub const VERSION: u32 = 1;

/// When and where something happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// Virtual time in nanoseconds since reset.
    pub ns: u64,
    /// Instructions retired by all harts since reset.
    pub insns: u64,
    /// The hart.
    pub hart: u32,
}

/// Who it happened to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Process id; without hints or debug information nobody knows it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub pid: Option<i32>,
    /// Process name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<String>,
    /// The address space: the value of `satp`.
    pub satp: u64,
}

/// A place in a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The address.
    pub pc: u64,
    /// The function that holds it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub function: Option<String>,
    /// Bytes from the function's start.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub offset: Option<u64>,
    /// Source file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub file: Option<String>,
    /// Line in the source file, from 1.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub line: Option<u32>,
}

/// What was attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// An instruction fetch.
    Fetch,
    /// A load.
    Load,
    /// A store or an atomic operation.
    Store,
}

/// Why the page-table walk refused the access: what the architecture folds into the causes
/// 12, 13 and 15 (privileged manual, "Virtual Address Translation Process").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The address is not canonical for the translation mode.
    NotCanonical,
    /// A PTE with V = 0.
    Invalid,
    /// A reserved encoding: W without R, reserved bits, a pointer below level 0.
    Reserved,
    /// User mode, and the page has U = 0.
    NotUser,
    /// Supervisor mode, the page has U = 1, and SUM = 0 (or it is a fetch).
    UserFromSupervisor,
    /// A load from a page that may not be read.
    NoRead,
    /// A store to a page that may not be written.
    NoWrite,
    /// A fetch from a page that may not be executed.
    NoExec,
    /// A superpage whose physical page number is not aligned to its size.
    Misaligned,
    /// A = 0, and the hart does not update it.
    NeedA,
    /// D = 0 on a store, and the hart does not update it.
    NeedD,
}

/// What became of a fault, inferred from the page table before and after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Outcome {
    /// A new frame full of zeros was mapped.
    Zeroed {
        /// Its physical address.
        pa: u64,
    },
    /// A new frame with the old one's contents was mapped.
    Copied {
        /// The old frame's physical address.
        from: u64,
        /// The new frame's physical address.
        to: u64,
        /// How many mappings the old frame had, when that is known.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        refs: Option<u32>,
    },
    /// The same frame became writable: its last user needs no copy.
    MadeWritable {
        /// Its physical address.
        pa: u64,
    },
    /// A frame was mapped that others have already mapped.
    Joined {
        /// Its physical address.
        pa: u64,
    },
    /// A new frame was mapped that is not all zeros: contents of a file.
    Filled {
        /// Its physical address.
        pa: u64,
    },
    /// The same frame, with other permissions than a write needs.
    Remapped {
        /// Its physical address.
        pa: u64,
        /// The new PTE.
        pte: u64,
    },
    /// The table already allowed the access when the handler returned, unchanged.
    Spurious,
    /// The handler returned to the same place and the table still forbids the access.
    Unresolved,
    /// A system call needed the page and did not get it: the call fails, the process goes on.
    Refused,
    /// The process was ended.
    Killed,
    /// The trace ended first.
    NeverReturned,
}

impl Outcome {
    /// The outcome's name in tables and filters.
    pub fn name(&self) -> &'static str {
        match self {
            Outcome::Zeroed { .. } => "zeroed",
            Outcome::Copied { .. } => "copied",
            Outcome::MadeWritable { .. } => "made writable",
            Outcome::Joined { .. } => "joined",
            Outcome::Filled { .. } => "filled",
            Outcome::Remapped { .. } => "remapped",
            Outcome::Spurious => "spurious",
            Outcome::Unresolved => "unresolved",
            Outcome::Refused => "refused",
            Outcome::Killed => "killed",
            Outcome::NeverReturned => "never returned",
        }
    }
}

/// How the access came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Via {
    /// The hart's own translation: a page-fault trap.
    Trap,
    /// The kernel walked the table for a system call (copyin, copyout).
    Syscall {
        /// The call's number.
        number: u64,
        /// Its name, when it is one of xv6's.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        name: Option<String>,
    },
}

/// One page fault, from the trap to the return.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// When and where it trapped.
    #[serde(flatten)]
    pub at: Moment,
    /// Whose fault it was.
    #[serde(flatten)]
    pub who: Who,
    /// The instruction that faulted (for [`Via::Syscall`]: the `ecall`).
    pub place: Place,
    /// Whether it came from user mode.
    pub user: bool,
    /// What was attempted.
    pub access: Access,
    /// The virtual address.
    pub va: u64,
    /// Why the walk stopped.
    pub reason: Reason,
    /// At which level of the table it stopped (0 is the 4 KiB level).
    pub level: u32,
    /// The PTE it stopped at.
    pub pte: u64,
    /// A trap, or a system call's own walk.
    pub via: Via,
    /// What became of it.
    pub outcome: Outcome,
    /// Instructions from the trap to the return on this hart; none when it never returned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cost: Option<u64>,
    /// Virtual time of the return in nanoseconds since reset.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub returned: Option<u64>,
    /// Frames allocated in between on this hart.
    pub allocated: u32,
    /// Frames freed in between on this hart.
    pub freed: u32,
    /// Free pages at the return, when they are counted.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub free: Option<u64>,
    /// How the kernel itself classified it, when it says so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub class: Option<String>,
}

/// A frame left the free list or went back to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// When and where.
    #[serde(flatten)]
    pub at: Moment,
    /// On whose behalf.
    #[serde(flatten)]
    pub who: Who,
    /// Physical address of the frame.
    pub pa: u64,
    /// Free pages afterwards.
    pub free: u64,
    /// Who called the allocator.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub caller: Option<Arc<Place>>,
}

/// Free pages over a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreePages {
    /// Before the first allocation.
    pub start: u64,
    /// The fewest there were.
    pub least: u64,
    /// At the end.
    pub end: u64,
}

/// Why a modelled TLB missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissCause {
    /// Never seen before.
    Cold,
    /// It was there and had to give way to another page.
    Capacity,
    /// A write to `satp` flushed it.
    SatpWrite,
    /// An `sfence.vma` flushed it.
    SfenceVma,
}

/// What a modelled TLB was used for, instruction or data side, added up over the harts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlbTally {
    /// Translated accesses.
    pub accesses: u64,
    /// Misses of pages never seen before.
    pub cold: u64,
    /// Misses of pages that had to give way to others.
    pub capacity: u64,
    /// Misses of pages that a write to `satp` flushed.
    pub satp_write: u64,
    /// Misses of pages that an `sfence.vma` flushed.
    pub sfence_vma: u64,
    /// Entries that gave way to another page.
    pub evictions: u64,
    /// Flushes that dropped something.
    pub flushes: u64,
    /// Entries that flushes dropped.
    pub flushed: u64,
}

impl TlbTally {
    /// Misses of all causes.
    pub fn misses(&self) -> u64 {
        self.cold + self.capacity + self.satp_write + self.sfence_vma
    }

    /// Counts a miss.
    pub fn miss(&mut self, cause: MissCause) {
        *match cause {
            MissCause::Cold => &mut self.cold,
            MissCause::Capacity => &mut self.capacity,
            MissCause::SatpWrite => &mut self.satp_write,
            MissCause::SfenceVma => &mut self.sfence_vma,
        } += 1;
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
    /// A page fault, written when it is over.
    Fault(Fault),
    /// A frame left the free list.
    FrameAllocated(Frame),
    /// A frame went back to the free list.
    FrameFreed(Frame),
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
        call: Option<String>,
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
        what: String,
        /// `stval` or `mtval`.
        tval: u64,
        /// The interrupted instruction.
        place: Place,
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
            Record::Header { .. } => None,
            Record::Fault(Fault { at, .. })
            | Record::FrameAllocated(Frame { at, .. })
            | Record::FrameFreed(Frame { at, .. })
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

    /// The process it belongs to, where it belongs to one.
    pub fn who(&self) -> Option<&Who> {
        match self {
            Record::Header { .. }
            | Record::TlbCounted { .. }
            | Record::Insn { .. }
            | Record::End { .. } => None,
            Record::Fault(Fault { who, .. })
            | Record::FrameAllocated(Frame { who, .. })
            | Record::FrameFreed(Frame { who, .. })
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
        let (at, place) =
            (Moment { ns: 1, insns: 2, hart: 3 }, Place { pc: 4, ..Place::default() });
        let who = Who { pid: Some(5), name: Some("sh".into()), satp: u64::MAX };
        let frame =
            Frame { at, who: who.clone(), pa: 6, free: 7, caller: Some(Arc::new(place.clone())) };
        let records = [
            Record::Header { version: VERSION, kernel: "k".into(), harts: 1, ram: 8, ram_start: 9 },
            Record::Fault(crate::trace::text::tests::sample()),
            Record::FrameAllocated(frame.clone()),
            Record::FrameFreed(frame),
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
                place,
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
                insts: TlbTally { accesses: 22, ..TlbTally::default() },
                data: TlbTally { flushed: 23, ..TlbTally::default() },
            },
            Record::Finding { at, who: who.clone(), check: "cow".into(), message: "m".into() },
            Record::Mark { at, who, values: [16, 17, 18] },
            Record::Insn { at, pc: 19, bits: 20, text: "nop".into() },
            Record::End {
                at,
                status: 0,
                fault_traps: 21,
                free: Some(FreePages { start: 3, least: 1, end: 2 }),
            },
        ];
        for record in records {
            let json = serde_json::to_string(&record).expect("plain data");
            let back: Record = serde_json::from_str(&json).expect(&json);
            assert_eq!(back, record, "{json}");
        }
    }
}
