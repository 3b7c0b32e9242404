//! Frames counted in the guest's raw memory: by page tables and by what freed frames are filled
//! with, without a look at what the kernel has written down about them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use emu::dev::Dma;
use emu::mem::Ram;
use isa::paging::{PAGE_SIZE, PTES_PER_PAGE, Ppn, Pte};

/// The highest page of Sv39's lower half: every address space of xv6 has the trampoline there.
const TRAMPOLINE: u64 = (1 << 38) - PAGE_SIZE;
/// Where user memory and the trap frame end.
const USER_TOP: u64 = TRAMPOLINE;
/// What MIT's kernel and ours fill freed frames with.
const FREED: u8 = 1;

/// What raw memory says about the frames of a range.
pub struct RawFrames {
    /// How many leaves of user address spaces lead to each frame.
    pub leaves: BTreeMap<u64, u64>,
    /// Table pages of all address spaces.
    pub tables: BTreeSet<u64>,
    /// Frames that are in no table and look free: freed and filled so, or never used.
    pub free: BTreeSet<u64>,
    /// Frames that are neither.
    pub others: BTreeSet<u64>,
    /// Address spaces of processes.
    pub spaces: usize,
}

/// Counts the frames of a range. `roots` are the page tables that a hart has ever used; which of
/// them are alive is seen in them. The kernel's is the first one. The device tree at `tree` was
/// there before the kernel, and is in nobody's way.
pub fn count(ram: &Ram, frames: Range<u64>, roots: &[Ppn], tree: u64) -> RawFrames {
    let mut found = RawFrames {
        leaves: BTreeMap::new(),
        tables: BTreeSet::new(),
        free: BTreeSet::new(),
        others: BTreeSet::new(),
        spaces: 0,
    };
    let kernel = roots[0].pa().0;
    let trampoline = leaf(ram, kernel, TRAMPOLINE).expect("the kernel maps the trampoline");
    let distinct: BTreeSet<u64> = roots.iter().map(|root| root.pa().0).collect();
    for &root in &distinct {
        if leaf(ram, root, TRAMPOLINE).is_some_and(|pte| pte.ppn() == trampoline.ppn()) {
            found.spaces += usize::from(root != kernel);
            found.visit(ram, root, 2, 0, root == kernel);
        }
    }
    let tree = device_tree(ram, tree);
    for frame in frames.step_by(PAGE_SIZE as usize) {
        if found.tables.contains(&frame) || found.leaves.contains_key(&frame) {
            continue;
        }
        let free = looks_free(ram, frame) || tree.contains(&frame);
        let looks = if free { &mut found.free } else { &mut found.others };
        looks.insert(frame);
    }
    found
}

impl RawFrames {
    fn visit(&mut self, ram: &Ram, table: u64, level: u32, va: u64, kernel: bool) {
        assert!(self.tables.insert(table), "table page {table:#x} is in two places");
        for index in 0..PTES_PER_PAGE as u64 {
            let pte = entry(ram, table, index);
            let va = va | index << (12 + 9 * level);
            if !pte.valid() {
                continue;
            }
            match pte.is_leaf() {
                false => {
                    assert!(level > 0, "entry {pte:?} at {va:#x} is no leaf");
                    self.visit(ram, pte.ppn().pa().0, level - 1, va, kernel);
                }
                // The kernel maps all of memory, and owns none of it by that.
                true if kernel || va >= USER_TOP => {}
                true => *self.leaves.entry(pte.ppn().pa().0).or_default() += 1,
            }
        }
    }
}

fn entry(ram: &Ram, table: u64, index: u64) -> Pte {
    Pte(ram.read_u64(table + 8 * index).expect("tables are in memory"))
}

/// The leaf for `va` in a tree that may be none at all.
fn leaf(ram: &Ram, root: u64, va: u64) -> Option<Pte> {
    let mut table = root;
    for level in [2, 1, 0] {
        let pte = Pte(ram.read_u64(table + 8 * (va >> (12 + 9 * level) & 511)).ok()?);
        if !pte.valid() || pte.is_leaf() != (level == 0) {
            return None;
        }
        table = pte.ppn().pa().0;
        if level == 0 {
            return Some(pte);
        }
    }
    None
}

/// Where the device tree is, if nothing has overwritten it.
fn device_tree(ram: &Ram, at: u64) -> Range<u64> {
    let head = ram.read_u64(at).expect("the tree is in memory").swap_bytes();
    let (magic, size) = (head >> 32, head & u64::from(u32::MAX));
    at..at + if magic == 0xd00d_feed { size } else { 0 }
}

/// Freed frames are filled; their first word links them. Frames that were never used are zero.
fn looks_free(ram: &Ram, frame: u64) -> bool {
    let mut bytes = [0; PAGE_SIZE as usize];
    ram.read_bytes(frame, &mut bytes).expect("frames are in memory");
    bytes[8..].iter().all(|&byte| byte == FREED) || bytes.iter().all(|&byte| byte == 0)
}
