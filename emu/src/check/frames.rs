//! Which frames are in use and which are free, as the allocator says, and since when.

use std::collections::{HashMap, HashSet};

use super::deed::Deed;

/// What is known of a frame.
#[derive(Clone, Copy, Debug, Default)]
pub struct Frame {
    /// Whether it is in use.
    pub alive: bool,
    /// References, if the kernel tells.
    pub refs: Option<u64>,
    /// Its last allocation.
    pub allocated: Option<Deed>,
    /// The last time that it was freed.
    pub freed: Option<Deed>,
}

/// A mapping of a frame that is free.
#[derive(Clone, Copy, Debug)]
pub struct Dangling {
    /// The frame.
    pub frame: u64,
    /// The root of the table, and the virtual page in it.
    pub root: u64,
    /// The virtual page.
    pub va: u64,
    /// Who freed the frame.
    pub freed: Deed,
}

/// A frame that is being freed.
#[derive(Clone, Copy, Debug)]
pub struct Ending {
    /// The stack pointer, where the function that does it has a beginning and an end.
    sp: u64,
    /// The frame.
    pub frame: u64,
    /// It was free already when this began.
    pub again: bool,
}

/// Dangling mappings that are kept until their table is used.
const MAX_DANGLING: usize = 1 << 14;

/// The frames that the allocator has handed out or got back.
#[derive(Default)]
pub struct Frames {
    frames: HashMap<u64, Frame>,
    /// Frames that are being freed: what they hold is nobody's any more.
    ending: Vec<Ending>,
    /// Frames of which one reference was freed; or the frame itself, and its next owner was so quick
    /// that it did not show.
    released: HashSet<u64>,
    dangling: Vec<Dangling>,
}

impl Frames {
    /// What is known of a frame.
    pub fn get(&self, frame: u64) -> Option<&Frame> {
        self.frames.get(&frame)
    }

    /// Frames in use.
    pub fn alive(&self) -> impl Iterator<Item = (u64, &Frame)> {
        self.frames.iter().filter(|(_, frame)| frame.alive).map(|(pa, frame)| (*pa, frame))
    }

    /// A frame leaves the free list. Returns its last allocation if it was in use already.
    pub fn allocated(&mut self, frame: u64, counted: bool, by: Deed) -> Option<Deed> {
        // Another hart may be quicker than the end of the function that freed it.
        let ending = self.is_ending(frame) || self.released.remove(&frame);
        self.ending.retain(|ending| ending.frame != frame);
        let entry = self.frames.entry(frame).or_default();
        let twice = entry.allocated.filter(|_| entry.alive && !ending);
        *entry = Frame {
            alive: true,
            refs: counted.then_some(1),
            allocated: Some(by),
            freed: entry.freed,
        };
        twice
    }

    /// Freeing a frame begins, perhaps only of a reference to it. Returns who freed it before, if
    /// it is free already.
    pub fn ending(&mut self, sp: u64, frame: u64) -> Option<Deed> {
        let free = self.frames.get(&frame).filter(|entry| !entry.alive);
        let before = free.and_then(|entry| entry.freed);
        self.ending.push(Ending { sp, frame, again: before.is_some() });
        before
    }

    /// Whether a frame is being freed.
    pub fn is_ending(&self, frame: u64) -> bool {
        self.ending.iter().any(|ending| ending.frame == frame)
    }

    /// The function that frees ends: what it was called for.
    pub fn ended(&mut self, sp: u64) -> Option<Ending> {
        let at = self.ending.iter().rposition(|ending| ending.sp == sp)?;
        Some(self.ending.swap_remove(at))
    }

    /// A call to free a frame is over, and the frame does not look free.
    pub fn released(&mut self, frame: u64) {
        self.released.insert(frame);
    }

    /// A frame is back on the free list. Returns who freed it before, if it was free already.
    pub fn freed(&mut self, frame: u64, by: Deed) -> Option<Deed> {
        self.ending.retain(|ending| ending.frame != frame);
        self.released.remove(&frame);
        let entry = self.frames.entry(frame).or_default();
        let twice = entry.freed.filter(|_| !entry.alive);
        (entry.alive, entry.refs, entry.freed) = (false, entry.refs.map(|_| 0), Some(by));
        twice
    }

    /// The kernel says how many references a frame has.
    pub fn counted(&mut self, frame: u64, refs: u64) {
        if let Some(entry) = self.frames.get_mut(&frame) {
            entry.refs = Some(refs);
        }
        if refs == 0 {
            self.ending.push(Ending { sp: 0, frame, again: false });
        }
    }

    /// A free frame is mapped, which may be about to end.
    pub fn dangles(&mut self, frame: u64, root: u64, va: u64) {
        let free = self.frames.get(&frame).filter(|entry| !entry.alive);
        if let Some(freed) = free.and_then(|entry| entry.freed)
            && self.dangling.len() < MAX_DANGLING
        {
            self.dangling.push(Dangling { frame, root, va, freed });
        }
    }

    /// The dangling mappings of a table that is about to be used.
    pub fn take_dangling(&mut self, root: u64) -> Vec<Dangling> {
        if self.dangling.is_empty() {
            return Vec::new();
        }
        let all = std::mem::take(&mut self.dangling);
        let (these, others) = all.into_iter().partition(|dangling| dangling.root == root);
        self.dangling = others;
        these
    }

    /// Forgets dangling mappings that are none any more.
    pub fn retain_dangling(&mut self, keep: impl Fn(&Dangling) -> bool) {
        self.dangling.retain(keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quick_owner_is_no_second_one() {
        let (mut frames, by) = (Frames::default(), Deed::default());
        assert!(frames.allocated(4096, false, by).is_none());
        assert!(frames.allocated(4096, false, by).is_some());
        // Before the call ends, and before it is seen at its end.
        assert!(frames.ending(8, 4096).is_none());
        assert!(frames.allocated(4096, false, by).is_none());
        assert!(frames.ended(8).is_none());
        assert!(frames.ending(8, 4096).is_none());
        assert!(frames.ended(8).is_some_and(|ending| !ending.again));
        frames.released(4096);
        assert!(frames.allocated(4096, false, by).is_none());
        assert!(frames.allocated(4096, false, by).is_some());
        // A free one.
        assert!(frames.freed(4096, by).is_none());
        assert!(frames.ending(8, 4096).is_some());
        assert!(frames.ended(8).is_some_and(|ending| ending.again));
    }
}
