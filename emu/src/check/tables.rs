//! A mirror of the page tables: which frame is mapped where, and who did it.
//!
//! Tables become known when `satp` points at them; from then on every store to one of their pages
//! is a change of mappings. A frame that is its own address (the kernel's direct map) is not
//! counted as mapped there.

use std::collections::HashMap;

use super::deed::Deed;
use crate::board::RAM_BASE;
use crate::mem::{PAGE_SIZE, Ram};

/// Bits of a PTE.
pub mod bits {
    /// Valid.
    pub const V: u64 = 1;
    /// May be read.
    pub const R: u64 = 1 << 1;
    /// May be written.
    pub const W: u64 = 1 << 2;
    /// May be executed.
    pub const X: u64 = 1 << 3;
    /// For user mode.
    pub const U: u64 = 1 << 4;
    /// Set by the hart.
    pub const A_D: u64 = 3 << 6;
    /// For software.
    pub const RSW: u64 = 3 << 8;
}

/// Most page-table pages that are mirrored: tables are the guest's and may be nonsense.
const MAX_TABLES: usize = 1 << 15;
const PPN_MASK: u64 = (1 << 44) - 1;
const ENTRIES: usize = 512;

/// Flag of a frame: it is a page of a table.
pub const TABLE: u8 = 1;
/// Flag of a frame: somebody holds it copy-on-write.
pub const COW: u8 = 2;

/// Whether a PTE maps something.
pub fn is_leaf(pte: u64) -> bool {
    pte & bits::V != 0 && pte & (bits::R | bits::W | bits::X) != 0
}

fn is_pointer(pte: u64) -> bool {
    pte & bits::V != 0 && !is_leaf(pte)
}

/// The frame that a PTE leads to.
pub fn frame_of(pte: u64) -> u64 {
    (pte >> 10 & PPN_MASK) << 12
}

/// One virtual page at which a frame can be found.
#[derive(Clone, Copy, Debug)]
pub struct Mapping {
    /// The table's root.
    pub root: u64,
    /// The virtual page.
    pub va: u64,
    /// The leaf.
    pub pte: u64,
    /// Whether the process holds the frame copy-on-write.
    pub cow: bool,
    /// Who made it so.
    pub by: Deed,
}

/// A leaf changed: one of them may be zero.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// The table's root.
    pub root: u64,
    /// The virtual page.
    pub va: u64,
    /// Physical address of the PTE.
    pub slot: u64,
    /// What it was.
    pub old: u64,
    /// What it is.
    pub new: u64,
}

/// A page of a table.
struct Page {
    root: u64,
    level: u32,
    base: u64,
    entries: Box<[u64; ENTRIES]>,
}

/// The mirror.
#[derive(Default)]
pub struct Mirror {
    pages: HashMap<u64, Page>,
    frames: HashMap<u64, Vec<Mapping>>,
    flags: Vec<u8>,
    /// Frames that got their first flag, or lost their last one, since somebody asked.
    watched: Vec<(u64, bool)>,
    /// Bits by which the kernel marks copy-on-write, as far as it showed them.
    cow_bits: u64,
}

impl Mirror {
    /// For a machine with that much memory.
    pub fn new(memory: u64) -> Mirror {
        Mirror { flags: vec![0; (memory / PAGE_SIZE) as usize], ..Mirror::default() }
    }

    fn index(pa: u64) -> usize {
        (pa.wrapping_sub(RAM_BASE) / PAGE_SIZE) as usize
    }

    /// The flags of the frame of `pa`.
    #[inline]
    pub fn flags(&self, pa: u64) -> u8 {
        self.flags.get(Mirror::index(pa)).copied().unwrap_or(0)
    }

    fn set_flag(&mut self, pa: u64, flag: u8, on: bool) {
        if let Some(flags) = self.flags.get_mut(Mirror::index(pa)) {
            let before = *flags;
            *flags = if on { before | flag } else { before & !flag };
            if (before == 0) != (*flags == 0) {
                self.watched.push((pa, on));
            }
        }
    }

    /// The frames, by any address, that came to have a flag since the last call, or have none now.
    pub fn take_watched(&mut self) -> Vec<(u64, bool)> {
        std::mem::take(&mut self.watched)
    }

    /// Where a frame is mapped.
    pub fn mappings(&self, frame: u64) -> &[Mapping] {
        self.frames.get(&frame).map_or(&[], Vec::as_slice)
    }

    /// Whether `root` is the root of a known table.
    pub fn knows(&self, root: u64) -> bool {
        self.pages.get(&root).is_some_and(|page| page.root == root)
    }

    /// A table with that many levels has come into use.
    pub fn adopt(&mut self, ram: &Ram, root: u64, levels: u32, by: Deed) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(level) = levels.checked_sub(1) {
            self.adopt_page(ram, root, (root, level, 0), by, &mut changes);
        }
        changes
    }

    fn adopt_page(
        &mut self,
        ram: &Ram,
        pa: u64,
        (root, level, base): (u64, u32, u64),
        by: Deed,
        changes: &mut Vec<Change>,
    ) {
        if self.pages.contains_key(&pa) || self.pages.len() >= MAX_TABLES {
            return;
        }
        let Some(bytes) = ram.bytes(pa, PAGE_SIZE) else { return };
        let mut entries = Box::new([0; ENTRIES]);
        for (entry, bytes) in entries.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *entry = u64::from_le_bytes(*bytes);
        }
        let used: Vec<_> =
            entries.iter().copied().enumerate().filter(|(_, pte)| pte & bits::V != 0).collect();
        self.pages.insert(pa, Page { root, level, base, entries });
        self.set_flag(pa, TABLE, true);
        for (index, pte) in used {
            self.entry_changed(ram, (root, level, base), (pa, index), (0, pte), by, changes);
        }
    }

    /// `length` bytes at `pa`, in one page, may have changed.
    pub fn stored(&mut self, ram: &Ram, pa: u64, length: u64, by: Deed) -> Vec<Change> {
        let mut changes = Vec::new();
        let table = pa & !(PAGE_SIZE - 1);
        let entry = |pa: u64| (pa % PAGE_SIZE / 8) as usize;
        for index in entry(pa)..=entry(pa + length.max(1) - 1) {
            let Some(page) = self.pages.get_mut(&table) else { break };
            let new = ram.read::<u64>(table + 8 * index as u64).unwrap_or(0);
            let old = std::mem::replace(&mut page.entries[index], new);
            if (old ^ new) & !bits::A_D != 0 {
                let place = (page.root, page.level, page.base);
                self.entry_changed(ram, place, (table, index), (old, new), by, &mut changes);
            }
        }
        changes
    }

    fn entry_changed(
        &mut self,
        ram: &Ram,
        (root, level, base): (u64, u32, u64),
        (table, index): (u64, usize),
        (old, new): (u64, u64),
        by: Deed,
        changes: &mut Vec<Change>,
    ) {
        let va = base | (index as u64) << (12 + 9 * level);
        if is_pointer(old) && frame_of(old) != frame_of(new) {
            self.release_below(frame_of(old), root, changes);
        }
        if is_pointer(new)
            && let Some(below) = level.checked_sub(1)
        {
            self.adopt_page(ram, frame_of(new), (root, below, va), by, changes);
        }
        if level > 0 || !is_leaf(old) && !is_leaf(new) {
            return;
        }
        if is_leaf(old) {
            self.unmap(frame_of(old), root, va);
        }
        if is_leaf(new) && frame_of(new) != va {
            let cow = self.is_cow(old, new);
            let mappings = self.frames.entry(frame_of(new)).or_default();
            mappings.push(Mapping { root, va, pte: new, cow, by });
            self.flag_cow(frame_of(new));
        }
        changes.push(Change { root, va, slot: table + 8 * index as u64, old, new });
    }

    /// Whether a new leaf means copy-on-write: it lost W while it led to the same frame, or it
    /// bears the mark that such leaves got.
    fn is_cow(&mut self, old: u64, new: u64) -> bool {
        let user = new & bits::U != 0 && new & bits::W == 0;
        let lost = is_leaf(old) && frame_of(old) == frame_of(new) && old & bits::W != 0;
        if user && lost {
            self.cow_bits |= new & !old & bits::RSW;
        }
        user && (lost || new & self.cow_bits != 0)
    }

    fn unmap(&mut self, frame: u64, root: u64, va: u64) {
        if let Some(mappings) = self.frames.get_mut(&frame) {
            mappings.retain(|m| (m.root, m.va) != (root, va));
            if mappings.is_empty() {
                self.frames.remove(&frame);
            }
        }
        self.flag_cow(frame);
    }

    /// A frame was freed or has a new owner: a mapping that is still there means nothing.
    pub fn end_cow(&mut self, frame: u64) {
        if self.flags(frame) & COW != 0 {
            self.frames.get_mut(&frame).into_iter().flatten().for_each(|m| m.cow = false);
            self.flag_cow(frame);
        }
    }

    fn flag_cow(&mut self, frame: u64) {
        let cow = self.mappings(frame).iter().any(|m| m.cow);
        self.set_flag(frame, COW, cow);
    }

    /// The page is no table any more; what it mapped is not mapped any more.
    pub fn release(&mut self, pa: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        if let Some(root) = self.pages.get(&pa).map(|page| page.root) {
            self.release_below(pa, root, &mut changes);
        }
        changes
    }

    fn release_below(&mut self, pa: u64, root: u64, changes: &mut Vec<Change>) {
        if self.pages.get(&pa).is_none_or(|page| page.root != root) {
            return;
        }
        let Some(page) = self.pages.remove(&pa) else { return };
        self.set_flag(pa, TABLE, false);
        for (index, &old) in page.entries.iter().enumerate() {
            let va = page.base | (index as u64) << (12 + 9 * page.level);
            if is_pointer(old) {
                self.release_below(frame_of(old), root, changes);
            } else if is_leaf(old) && page.level == 0 {
                self.unmap(frame_of(old), root, va);
                changes.push(Change { root, va, slot: pa + 8 * index as u64, old, new: 0 });
            }
        }
    }

    /// All frames and where they are mapped.
    pub fn all_mappings(&self) -> impl Iterator<Item = (u64, &Mapping)> {
        self.frames.iter().flat_map(|(frame, mappings)| mappings.iter().map(|m| (*frame, m)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: u64 = RAM_BASE;
    const LEAVES: u64 = RAM_BASE + 0x2000;
    const FRAME: u64 = RAM_BASE + 0x5000;

    fn pte(to: u64, flags: u64) -> u64 {
        to >> 12 << 10 | flags | bits::V
    }

    fn bed() -> (Ram, Mirror) {
        let mut ram = Ram::new(0x8000).expect("memory");
        ram.write(ROOT, pte(RAM_BASE + 0x1000, 0)).expect("inside");
        ram.write(RAM_BASE + 0x1000, pte(LEAVES, 0)).expect("inside");
        ram.write(LEAVES + 8, pte(FRAME, bits::R | bits::W | bits::U)).expect("inside");
        let mut mirror = Mirror::new(0x8000);
        assert_eq!(mirror.adopt(&ram, ROOT, 3, Deed::default()).len(), 1);
        (ram, mirror)
    }

    #[test]
    fn stores_to_tables_are_changes_of_mappings() {
        let (mut ram, mut mirror) = bed();
        assert_eq!(mirror.mappings(FRAME).len(), 1);
        assert_eq!(mirror.mappings(FRAME)[0].va, 0x1000);
        ram.write(LEAVES + 16, pte(FRAME, bits::R | bits::U)).expect("inside");
        assert_eq!(mirror.stored(&ram, LEAVES + 16, 8, Deed::default()).len(), 1);
        assert_eq!(mirror.mappings(FRAME).len(), 2);
        assert_eq!(mirror.flags(FRAME), 0);
        assert_eq!(mirror.flags(LEAVES + 16), TABLE);
        // A pointer that goes takes all below it along.
        ram.write(ROOT, 0u64).expect("inside");
        assert_eq!(mirror.stored(&ram, ROOT, 8, Deed::default()).len(), 2);
        assert!(mirror.mappings(FRAME).is_empty());
        assert_eq!(mirror.flags(LEAVES), 0);
    }

    #[test]
    fn copy_on_write_is_recognised_by_the_right_that_goes() {
        let (mut ram, mut mirror) = bed();
        let mark = 1 << 9;
        ram.write(LEAVES + 8, pte(FRAME, bits::R | bits::U | mark)).expect("inside");
        mirror.stored(&ram, LEAVES + 8, 8, Deed::default());
        assert_eq!(mirror.flags(FRAME), COW);
        mirror.end_cow(FRAME);
        assert_eq!(mirror.flags(FRAME), 0);
        let other = RAM_BASE + 0x6000;
        ram.write(LEAVES + 16, pte(other, bits::R | bits::U | mark)).expect("inside");
        mirror.stored(&ram, LEAVES + 16, 8, Deed::default());
        assert_eq!(mirror.flags(other), COW, "the mark is known now");
        ram.write(LEAVES + 8, pte(FRAME, bits::R | bits::W | bits::U)).expect("inside");
        mirror.stored(&ram, LEAVES + 8, 8, Deed::default());
        assert_eq!(mirror.flags(FRAME), 0);
    }

    #[test]
    fn a_table_that_points_at_itself_is_no_trap() {
        let mut ram = Ram::new(0x8000).expect("memory");
        for index in 0..512 {
            ram.write(ROOT + 8 * index, pte(ROOT, 0)).expect("inside");
        }
        let mut mirror = Mirror::new(0x8000);
        assert!(mirror.adopt(&ram, ROOT, 3, Deed::default()).is_empty());
        assert!(mirror.release(ROOT).is_empty() && !mirror.knows(ROOT));
    }
}
