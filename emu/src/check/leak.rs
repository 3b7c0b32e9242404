//! Frames that nobody can reach: neither the kernel's data nor anything that it leads to.
//!
//! A frame is owned if its address is found in the kernel's data, in a frame that is owned, or as
//! a page-table entry in such a frame. What only looks like an address counts as one, so that
//! what is reported is really lost. Kernel stacks do not count: they are full of what was there
//! before. What is only on a stack because it is in the hands of a system call is young.

use std::collections::{HashMap, HashSet};

use super::tables::{bits, frame_of, is_leaf};
use crate::mem::{PAGE_SIZE, Ram};

/// How a frame was reached.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    /// As a page of user memory, whose contents are the user's.
    AsUser,
    /// In another way.
    Whole,
}

/// Where to begin.
pub struct Origin {
    /// The kernel's data without stacks: first addresses and those behind.
    pub data: Vec<(u64, u64)>,
    /// The root of the page table in use.
    pub root: u64,
    /// Frames of kernel stacks.
    pub stacks: HashSet<u64>,
}

/// The frames of `alive` that cannot be reached.
pub fn unreached(ram: &Ram, alive: &HashSet<u64>, origin: &Origin) -> Vec<u64> {
    let (stacks, reached, queue) = (&origin.stacks, HashMap::new(), Vec::new());
    let mut sweep = Sweep { ram, alive, stacks, reached, queue };
    for (start, end) in &origin.data {
        sweep.scan(*start, end.saturating_sub(*start));
    }
    // The kernel's own root need not be a frame of the allocator.
    sweep.scan(origin.root, PAGE_SIZE);
    sweep.word(origin.root);
    while let Some(frame) = sweep.queue.pop() {
        sweep.scan(frame, PAGE_SIZE);
    }
    let mut lost: Vec<u64> =
        alive.iter().copied().filter(|frame| !sweep.reached.contains_key(frame)).collect();
    lost.sort_unstable();
    lost
}

struct Sweep<'a> {
    ram: &'a Ram,
    alive: &'a HashSet<u64>,
    stacks: &'a HashSet<u64>,
    reached: HashMap<u64, Reached>,
    queue: Vec<u64>,
}

impl Sweep<'_> {
    fn scan(&mut self, start: u64, length: u64) {
        let ram = self.ram;
        let Some(bytes) = ram.bytes(start, length) else { return };
        for word in bytes.as_chunks::<8>().0 {
            self.word(u64::from_le_bytes(*word));
        }
    }

    /// A word that may be an address or a PTE.
    fn word(&mut self, word: u64) {
        self.reach(word & !(PAGE_SIZE - 1), Reached::Whole);
        if word & bits::V != 0 {
            let user = is_leaf(word) && word & bits::U != 0;
            let how = if user { Reached::AsUser } else { Reached::Whole };
            self.reach(frame_of(word), how);
        }
    }

    fn reach(&mut self, frame: u64, how: Reached) {
        if !self.alive.contains(&frame) {
            return;
        }
        let before = self.reached.get(&frame).copied();
        if before.is_none_or(|before| before < how) {
            self.reached.insert(frame, how);
            if how == Reached::Whole && !self.stacks.contains(&frame) {
                self.queue.push(frame);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::RAM_BASE;

    #[test]
    fn what_data_and_tables_lead_to_is_owned() {
        let mut ram = Ram::new(0x10000).expect("memory");
        let frame = |n: u64| RAM_BASE + n * PAGE_SIZE;
        let leaf = |n: u64, flags: u64| frame(n) >> 12 << 10 | flags | 1;
        // Data leads to 2 (inside of it), 2 to 3, a table in 3 to user page 4 and kernel page 5.
        ram.write(frame(0) + 64, frame(2) + 24).expect("inside");
        ram.write(frame(2) + 8, frame(3)).expect("inside");
        ram.write(frame(3) + 16, leaf(4, bits::R | bits::U)).expect("inside");
        ram.write(frame(3) + 24, leaf(5, bits::R | bits::W)).expect("inside");
        // User memory may hold anything.
        ram.write(frame(4), frame(6)).expect("inside");
        ram.write(frame(5), frame(7)).expect("inside");
        let alive: HashSet<u64> = (2..9).map(frame).collect();
        let data = vec![(frame(0), frame(1))];
        let mut origin = Origin { data, root: 0, stacks: HashSet::new() };
        assert_eq!(unreached(&ram, &alive, &origin), [frame(6), frame(8)]);
        origin.root = frame(8);
        assert_eq!(unreached(&ram, &alive, &origin), [frame(6)]);
        // A stack is owned by the table that maps it, and owns nothing.
        ram.write(frame(8) + 256, frame(6)).expect("inside");
        assert!(unreached(&ram, &alive, &origin).is_empty());
        origin.stacks.insert(frame(5));
        assert_eq!(unreached(&ram, &alive, &origin), [frame(7)]);
    }
}
