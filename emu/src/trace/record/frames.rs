//! Frames of memory in a trace.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Moment, Place, Who};

/// What happens to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It leaves the free list.
    Allocated,
    /// It goes back to it.
    Freed,
}

/// Frames that were allocated or freed one after the other on behalf of one process, with nothing
/// else in between.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Saved", try_from = "Saved")]
pub struct Frames {
    /// When and where the first.
    pub at: Moment,
    /// On whose behalf.
    pub who: Who,
    /// Free pages after the last; each frame changed them by one.
    pub free: u64,
    /// Who called the allocator.
    pub callers: Vec<Arc<Place>>,
    /// The frames, in order.
    pub frames: Vec<Frame>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Its physical address.
    pub pa: u64,
    /// How many instructions later than the one before, or than the record's time, it was.
    pub insns: u32,
    /// The same in nanoseconds.
    pub ns: u32,
    /// Which of [`Frames::callers`] it was.
    pub caller: u8,
    /// What happened to it.
    pub change: Change,
}

/// One of them with what the others say about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Changed<'a> {
    /// Its physical address.
    pub pa: u64,
    /// What happened to it.
    pub change: Change,
    /// When and where.
    pub at: Moment,
    /// Free pages then.
    pub free: u64,
    /// Who called the allocator, if the record says so.
    pub caller: Option<&'a Arc<Place>>,
}

/// Callers that one record can name.
pub const MAX_CALLERS: usize = 1 << 8;

impl Frames {
    /// Becomes a copy of another one, in the memory that it has.
    pub(in crate::trace) fn copy(&mut self, other: &Frames) {
        (self.at, self.free) = (other.at, other.free);
        self.who.update(&other.who);
        self.callers.clone_from(&other.callers);
        self.frames.clone_from(&other.frames);
    }

    /// Every frame, in order.
    pub fn each(&self) -> impl Iterator<Item = Changed<'_>> {
        let freed = self.frames.iter().filter(|frame| frame.change == Change::Freed).count() as u64;
        let allocated = self.frames.len() as u64 - freed;
        let mut free = self.free.wrapping_add(allocated).wrapping_sub(freed);
        let mut at = self.at;
        self.frames.iter().map(move |frame| {
            at.ns = at.ns.saturating_add(frame.ns.into());
            at.insns = at.insns.saturating_add(frame.insns.into());
            free = match frame.change {
                Change::Allocated => free.wrapping_sub(1),
                Change::Freed => free.wrapping_add(1),
            };
            let caller = self.callers.get(usize::from(frame.caller));
            Changed { pa: frame.pa, change: frame.change, at, free, caller }
        })
    }

    /// The same as records of one frame each.
    pub fn singly(&self) -> impl Iterator<Item = Frames> {
        self.each().map(|changed| {
            let Changed { pa, change, at, free, caller } = changed;
            let frames = vec![Frame { pa, change, insns: 0, ns: 0, caller: 0 }];
            let (who, callers) = (self.who.clone(), caller.cloned().into_iter().collect());
            Frames { at, who, free, callers, frames }
        })
    }
}

/// Nanoseconds that an instruction takes when one hart runs.
pub(in crate::trace) const USUAL_NS: u32 = 10;
/// The logarithm of a frame's size.
pub const FRAME_SHIFT: u32 = 12;

/// How they look in a file.
#[derive(Serialize, Deserialize)]
struct Saved {
    #[serde(flatten)]
    at: Moment,
    #[serde(flatten)]
    who: Who,
    free: u64,
    frames: Vec<SavedFrame>,
}

/// `[frame, instructions, caller, nanoseconds]`: the frame's number, negative when it was freed;
/// without the caller, it is the one before; without nanoseconds, they are [`USUAL_NS`] each.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::trace) struct SavedFrame(
    i64,
    u32,
    #[serde(skip_serializing_if = "Option::is_none", default)] Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)] Option<u32>,
);

impl From<Frames> for Saved {
    fn from(run: Frames) -> Saved {
        let mut before = None;
        let save = |frame: &Frame| {
            let number = (frame.pa >> FRAME_SHIFT) as i64;
            let number = if frame.change == Change::Freed { -number } else { number };
            let ns = Some(frame.ns).filter(|_| !frame.is_usual());
            let known = before.replace(frame.caller) == Some(frame.caller) && ns.is_none();
            let caller = run.callers.get(usize::from(frame.caller)).filter(|_| !known);
            SavedFrame(number, frame.insns, caller.map(|caller| caller.pc), ns)
        };
        let frames = run.frames.iter().map(save).collect();
        Saved { at: run.at, who: run.who, free: run.free, frames }
    }
}

impl TryFrom<Saved> for Frames {
    type Error = &'static str;

    fn try_from(saved: Saved) -> Result<Frames, &'static str> {
        Frames::from_saved(saved.at, saved.who, saved.free, saved.frames)
    }
}

impl Frames {
    pub(super) fn from_saved(
        at: Moment,
        who: Who,
        free: u64,
        frames: Vec<SavedFrame>,
    ) -> Result<Frames, &'static str> {
        let mut run = Frames { at, who, free, ..Frames::default() };
        let mut caller = 0;
        for SavedFrame(number, insns, called, ns) in frames {
            if let Some(pc) = called {
                let known = run.callers.iter().position(|place| place.pc == pc);
                let index = known.unwrap_or_else(|| {
                    run.callers.push(Arc::new(Place { pc, ..Place::default() }));
                    run.callers.len() - 1
                });
                caller = u8::try_from(index).map_err(|_| "too many callers")?;
            }
            let pa = number.unsigned_abs() << FRAME_SHIFT;
            let change = if number < 0 { Change::Freed } else { Change::Allocated };
            let ns = ns.unwrap_or(insns.wrapping_mul(USUAL_NS));
            run.frames.push(Frame { pa, insns, ns, caller, change });
        }
        Ok(run)
    }

    /// The same with the time of the first frame for its own; nothing without frames.
    pub(super) fn begin_with_first(mut self) -> Option<Frames> {
        let first = self.frames.first_mut()?;
        let (insns, ns) = (std::mem::take(&mut first.insns), std::mem::take(&mut first.ns));
        self.at.insns = self.at.insns.saturating_add(insns.into());
        self.at.ns = self.at.ns.saturating_add(ns.into());
        Some(self)
    }
}

impl Frame {
    /// Whether instructions took the usual time.
    pub fn is_usual(&self) -> bool {
        self.ns == self.insns.wrapping_mul(USUAL_NS)
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
        let caller = Arc::new(Place { pc: 4, ..Place::default() });
        let frame = Frame { pa: 0x1000, insns: 0, ns: 0, caller: 0, change: Change::Freed };
        let frames = vec![
            frame,
            Frame { pa: 0x3000, insns: 40, ns: 401, ..frame },
            Frame { change: Change::Allocated, insns: 1, ns: 10, ..frame },
        ];
        let run =
            Frames { at, free: 101, callers: vec![caller.clone()], frames, ..Frames::default() };
        let [second, third] =
            [(7401, 740), (7411, 741)].map(|(ns, insns)| Moment { ns, insns, ..at });
        let caller = Some(&caller);
        let expected = [
            Changed { pa: 0x1000, change: Change::Freed, at, free: 101, caller },
            Changed { pa: 0x3000, change: Change::Freed, at: second, free: 102, caller },
            Changed { pa: 0x1000, change: Change::Allocated, at: third, free: 101, caller },
        ];
        assert_eq!(run.each().collect::<Vec<_>>(), expected);
        let single: Vec<_> = run.singly().collect();
        let again: Vec<_> = single.iter().flat_map(Frames::each).collect();
        assert_eq!((single.len(), again), (3, expected.to_vec()));
        let text = serde_json::to_string(&run.frames_as_saved()).expect("plain data");
        assert_eq!(text, "[[-1,0,4],[-3,40,4,401],[1,1]]");
    }

    impl Frames {
        fn frames_as_saved(&self) -> impl Serialize + use<> {
            Saved::from(self.clone()).frames
        }
    }
}
