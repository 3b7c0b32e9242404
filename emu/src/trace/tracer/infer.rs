//! What the kernel made of a fault, from the page table and the frames before and after.

use abi::hint::FaultClass;

use super::faults::Open;
use crate::mem::Ram;
use crate::trace::notes::FaultNote;
use crate::trace::peek;
use crate::trace::record::{Access, Outcome, Reason};

/// The outcome of a fault that is over. `counted`: frames that are allocated are known, so one
/// that was not allocated in between had other users.
pub fn outcome(ram: &Ram, open: &Open, counted: bool) -> Outcome {
    let refused = if open.soft { Outcome::Refused } else { Outcome::Unresolved };
    let Some(after) = peek::look(ram, open.satp, open.fault.va) else { return refused };
    let (Some(pa), true) = (after.pa.map(|pa| pa & !0xfff), allows(after.pte, &open.fault)) else {
        return refused;
    };
    let fresh = !counted || open.allocated.contains(pa);
    match open.before.pa.map(|pa| pa & !0xfff) {
        Some(_) if after.pte & !AD == open.before.pte & !AD => Outcome::Spurious,
        Some(old) if old == pa && open.fault.reason == Reason::NoWrite => {
            Outcome::MadeWritable { pa }
        }
        Some(old) if old == pa => Outcome::Remapped { pa, pte: after.pte },
        // The old frame may be freed by now, and hold something else.
        Some(old)
            if fresh && (open.fault.reason == Reason::NoWrite || peek::is_same(ram, old, pa)) =>
        {
            Outcome::Copied { from: old, to: pa, refs: open.refs }
        }
        _ if !fresh => Outcome::Joined { pa },
        _ if open.fault.class == Some("FileFill") => Outcome::Filled { pa },
        _ if peek::is_zero(ram, pa) => Outcome::Zeroed { pa },
        _ => Outcome::Filled { pa },
    }
}

/// The accessed and the dirty bit.
const AD: u64 = 0b1100_0000;

/// Whether a leaf allows what the fault attempted.
pub fn allows(pte: u64, fault: &FaultNote) -> bool {
    let needed = match fault.access {
        Access::Load => 1 << 1,
        Access::Store => 1 << 2,
        Access::Fetch => 1 << 3,
    };
    pte & needed != 0 && (!fault.user || pte & 1 << 4 != 0)
}

/// The reason that a walk would give for an access from user mode.
pub fn reason_of(pte: u64, access: Access) -> Reason {
    match access {
        _ if pte & 1 == 0 => Reason::Invalid,
        _ if pte & 1 << 4 == 0 => Reason::NotUser,
        Access::Load => Reason::NoRead,
        Access::Store => Reason::NoWrite,
        Access::Fetch => Reason::NoExec,
    }
}

/// The in-tree kernel's own name for what it met.
pub fn class_name(class: u64) -> Option<&'static str> {
    CLASSES.iter().find(|(known, _)| *known as u64 == class).map(|(_, name)| *name)
}

const CLASSES: [(FaultClass, &str); 12] = [
    (FaultClass::Lazy, "Lazy"),
    (FaultClass::CowCopy, "CowCopy"),
    (FaultClass::CowLast, "CowLast"),
    (FaultClass::SharedJoin, "SharedJoin"),
    (FaultClass::FileFill, "FileFill"),
    (FaultClass::Spurious, "Spurious"),
    (FaultClass::Protection, "Protection"),
    (FaultClass::Guard, "Guard"),
    (FaultClass::BeyondBreak, "BeyondBreak"),
    (FaultClass::ExecNx, "ExecNx"),
    (FaultClass::Unmapped, "Unmapped"),
    (FaultClass::OutOfMemory, "OutOfMemory"),
];
