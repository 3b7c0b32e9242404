//! Frames of memory in a trace.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Moment, Place, Who};

/// What happens to frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// They leave the free list.
    Allocated,
    /// They go back to it.
    Freed,
}

/// Frames that were allocated or freed one after the other, with nothing else in between, by one
/// caller on behalf of one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frames {
    /// Which of both.
    pub change: Change,
    /// When and where the first.
    #[serde(flatten)]
    pub at: Moment,
    /// On whose behalf.
    #[serde(flatten)]
    pub who: Who,
    /// Free pages after the last; each frame changed them by one.
    pub free: u64,
    /// Who called the allocator.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub caller: Option<Arc<Place>>,
    /// The frames, in order.
    pub frames: Vec<Frame>,
}

/// One of them: its physical address, and how much later than the first it was, in instructions
/// and in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame(pub u64, pub u64, pub u64);

impl Frames {
    /// Every frame's physical address, when it was its turn, and the free pages after it.
    pub fn each(&self) -> impl Iterator<Item = (u64, Moment, u64)> {
        let last = self.frames.len().saturating_sub(1);
        self.frames.iter().enumerate().map(move |(i, Frame(pa, insns, ns))| {
            let (ns, insns) =
                (self.at.ns.saturating_add(*ns), self.at.insns.saturating_add(*insns));
            let later = (last - i) as u64;
            let free = match self.change {
                Change::Allocated => self.free.saturating_add(later),
                Change::Freed => self.free.saturating_sub(later),
            };
            (*pa, Moment { ns, insns, ..self.at }, free)
        })
    }

    /// The same as records of one frame each.
    pub fn singly(&self) -> impl Iterator<Item = Frames> {
        self.each().map(|(pa, at, free)| Frames {
            at,
            free,
            frames: vec![Frame(pa, 0, 0)],
            who: self.who.clone(),
            caller: self.caller.clone(),
            ..*self
        })
    }
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
    /// How many fewer there are than before the first command, if every process since has ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub leak: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_tells_of_every_frame() {
        let at = Moment { ns: 7000, insns: 700, hart: 1 };
        let mut run = Frames {
            change: Change::Freed,
            at,
            who: Who::default(),
            free: 102,
            caller: None,
            frames: vec![Frame(0x1000, 0, 0), Frame(0x3000, 40, 400)],
        };
        let later = Moment { ns: 7400, insns: 740, hart: 1 };
        assert_eq!(run.each().collect::<Vec<_>>(), [(0x1000, at, 101), (0x3000, later, 102)]);
        run.change = Change::Allocated;
        let single: Vec<_> = run.singly().collect();
        assert_eq!((single[0].free, single[1].free), (103, 102));
        assert_eq!(
            (single[1].at, single[1].frames.as_slice()),
            (later, &[Frame(0x3000, 0, 0)][..])
        );
    }
}
