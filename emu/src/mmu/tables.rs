//! Which memory holds page tables, and what harts remember of it.
//!
//! A PTE from which a hart derived something that it remembers is *live*. Pages with live PTEs are
//! marked in [`Ram`] and never have an entry in the fast TLB for stores, so that every store to
//! them comes here first, and everything that was derived from the PTE is dropped, on all harts.
//! What a hart remembers is therefore always what a walk would find now, which is more than the
//! architecture asks for: `sfence.vma` and writes of `satp` have nothing left to do.
//!
//! A page that is stored to again and again while nothing is derived from it is most likely no
//! page table any more, or one that is being filled: it is forgotten, with what depends on it.

use isa::paging::{LEVEL_BITS, PAGE_SHIFT, Pte, Satp, Va};

use crate::board::RAM_BASE;
use crate::mem::{PAGE_SIZE, Ram};

/// Stores to a page in a row, without anything derived from it, until it is forgotten.
pub(crate) const PATIENCE: u8 = 32;
/// Places in address spaces where a page can serve as page table at a time: all the levels of one
/// walk, at least.
const WAYS: usize = 5;
/// Changes that are kept for harts that did not see them yet.
const MAX_CHANGES: usize = 4096;
/// Up to this many PTEs of a page are dropped one by one.
const FEW: u32 = 16;
/// Bits of a virtual address that decide what is dropped: those of Sv39, enough for all modes
/// since what agrees in them is dropped together.
const VA_BITS: u32 = 39;
/// The root of a page that is part of several trees.
const ANY: u64 = u64::MAX;

/// Something that harts remember has become wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Translations.
    Translations(Range),
    /// The host page must not be stored to without asking.
    NoWrites(u64),
}

/// Virtual addresses of some address spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    root: u64,
    va: u64,
    /// Their number, as a power of two.
    shift: u32,
    /// Instructions were fetched from there.
    pub fetched: bool,
}

impl Range {
    /// 2^`shift` bytes at `va` in all address spaces.
    pub fn everywhere(va: u64, shift: u32, fetched: bool) -> Range {
        Range { root: ANY, va, shift: shift.min(VA_BITS), fetched }
    }

    /// The single page that it is, as far as the bits that matter go.
    pub fn page(&self) -> Option<u64> {
        (self.shift == PAGE_SHIFT).then_some(self.va)
    }

    /// Whether the address spaces with this root are meant.
    pub fn concerns(&self, root: u64) -> bool {
        self.root == ANY || self.root == root
    }

    /// Whether an address is meant.
    pub fn contains(&self, va: u64) -> bool {
        (va ^ self.va) & ((1 << VA_BITS) - (1 << self.shift)) == 0
    }
}

/// One place where a page serves as page table.
#[derive(Clone, Copy, Debug)]
struct Way {
    root: u64,
    base: u64,
    level: u32,
}

impl Way {
    fn new(root: u64, va: u64, level: u32) -> Way {
        let covered = (PAGE_SHIFT + LEVEL_BITS * (level + 1)).min(VA_BITS);
        let base = va & ((1 << VA_BITS) - (1 << covered));
        Way { root, base, level }
    }

    /// The addresses that depend on the whole page, or on one PTE of it.
    fn range(&self, slot: Option<usize>, fetched: bool) -> Range {
        let shift = PAGE_SHIFT + LEVEL_BITS * self.level;
        let (va, shift) = match slot {
            Some(slot) => (self.base | (slot as u64) << shift, shift),
            None => (self.base, shift + LEVEL_BITS),
        };
        Range { root: self.root, va, shift: shift.min(VA_BITS), fetched }
    }
}

/// One bit for every PTE.
type Bits = [u64; 8];

/// A page that serves as page table.
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct Table {
    /// Something was derived from the PTE.
    pub(crate) live: Bits,
    /// A fetch was.
    fetched: Bits,
    ways: [Option<Way>; WAYS],
    /// Stores since something was derived.
    pub(crate) stores: u8,
}

impl Table {
    /// Remembers a way; returns whether there is room for it.
    fn reached(&mut self, new: Way) -> bool {
        for way in &mut self.ways {
            match way {
                Some(way) if (way.base, way.level) == (new.base, new.level) => {
                    if way.root != new.root {
                        way.root = ANY;
                    }
                    return true;
                }
                Some(_) => {}
                None => {
                    *way = Some(new);
                    return true;
                }
            }
        }
        false
    }

    /// What depends on a PTE goes.
    fn drop_slot(&mut self, slot: usize, changes: &mut Vec<Change>) {
        let bit = 1 << (slot % 64);
        let fetched = self.fetched[slot / 64] & bit != 0;
        self.live[slot / 64] &= !bit;
        self.fetched[slot / 64] &= !bit;
        let ranges = self.ways.iter().flatten().map(|way| way.range(Some(slot), fetched));
        changes.extend(ranges.map(Change::Translations));
    }

    /// What depends on the page goes.
    fn drop_all(&mut self, changes: &mut Vec<Change>) {
        let count: u32 = self.live.iter().map(|bits| bits.count_ones()).sum();
        if count <= FEW {
            for word in 0..self.live.len() {
                while self.live[word] != 0 {
                    let slot = 64 * word + self.live[word].trailing_zeros() as usize;
                    self.drop_slot(slot, changes);
                }
            }
        } else {
            let fetched = self.fetched.iter().any(|&bits| bits != 0);
            let ranges = self.ways.iter().flatten().map(|way| way.range(None, fetched));
            changes.extend(ranges.map(Change::Translations));
        }
        *self = Table::default();
    }
}

/// The page tables of the whole machine.
#[derive(Debug)]
pub struct Tables {
    pages: Vec<Option<Box<Table>>>,
    changes: Vec<Change>,
    /// Changes that were made before those.
    before: u64,
}

impl Tables {
    /// None yet, for that much memory.
    pub fn new(ram: &Ram) -> Tables {
        let pages = (0..ram.size() / PAGE_SIZE).map(|_| None).collect();
        Tables { pages, changes: Vec::new(), before: 0 }
    }

    /// Where pointers to the [`Table`]s of pages are, or zeroes: for translated code, which counts
    /// stores to PTEs that are not live.
    pub(crate) fn pages_address(&self) -> u64 {
        self.pages.as_ptr().expose_provenance() as u64
    }

    fn index(pa: u64) -> usize {
        (pa.wrapping_sub(RAM_BASE) / PAGE_SIZE) as usize
    }

    /// A hart is about to remember what a walk for `va` found, a leaf at level `leaf`. Returns the
    /// page table that has it.
    pub fn derive(&mut self, ram: &mut Ram, satp: Satp, va: u64, leaf: u8, fetch: bool) -> u64 {
        // A page that is new in too many places starts anew. If the same walk was at it before,
        // that is repeated, which happens at most once for each page.
        loop {
            if let Some(table) = self.note_walk(ram, satp, va, leaf, fetch) {
                return table;
            }
        }
    }

    /// As [`Tables::derive`], of a leaf at level 0, when the walk as far as its `table` was noted
    /// before and still holds.
    pub fn derive_last(&mut self, ram: &mut Ram, satp: Satp, va: u64, table: u64) {
        let (slot, way) = (Va(va).index(0), Way::new(satp.ppn.0, va, 0));
        while !self.note(ram, table, slot, way, false) {}
    }

    fn note_walk(
        &mut self,
        ram: &mut Ram,
        satp: Satp,
        va: u64,
        leaf: u8,
        fetch: bool,
    ) -> Option<u64> {
        let mut next = satp.ppn.pa().0;
        let mut table = next;
        for level in (u32::from(leaf)..satp.mode.levels()).rev() {
            table = next;
            let slot = Va(va).index(level);
            if !self.note(ram, table, slot, Way::new(satp.ppn.0, va, level), fetch) {
                return None;
            }
            next = ram.read(table + 8 * slot as u64).map_or(0, |bits| Pte(bits).ppn().pa().0);
        }
        Some(table)
    }

    /// Returns whether nothing had to be dropped.
    #[inline]
    fn note(&mut self, ram: &mut Ram, pa: u64, slot: usize, way: Way, fetch: bool) -> bool {
        let Some(place) = self.pages.get_mut(Tables::index(pa)) else { return true };
        if place.is_none() {
            ram.set_table(pa, true);
            self.changes.extend(no_writes(ram, pa));
        }
        let table = place.get_or_insert_default();
        if !table.reached(way) {
            table.drop_all(&mut self.changes);
            return false;
        }
        table.stores = 0;
        let bit = 1 << (slot % 64);
        table.live[slot / 64] |= bit;
        table.fetched[slot / 64] |= if fetch { bit } else { 0 };
        true
    }

    /// `bytes` are about to be stored to `pa`, all in one page that holds a page table.
    pub fn store(&mut self, ram: &mut Ram, pa: u64, bytes: &[u8]) {
        let Some(Some(table)) = self.pages.get_mut(Tables::index(pa)) else { return };
        table.stores += 1;
        if table.stores >= PATIENCE {
            self.forget(ram, pa);
            return;
        }
        for (n, at) in (pa & !7..pa + bytes.len() as u64).step_by(8).enumerate() {
            let slot = (at % PAGE_SIZE / 8) as usize;
            if table.live[slot / 64] >> (slot % 64) & 1 == 0 {
                continue;
            }
            let old = ram.read::<u64>(at).unwrap_or(0);
            let mut new = old.to_le_bytes();
            let skip = (pa % 8) as usize;
            let (from, to) = if n == 0 { (0, skip) } else { (8 * n - skip, 0) };
            for (new, byte) in new[to..].iter_mut().zip(&bytes[from..]) {
                *new = *byte;
            }
            if !keeps(old, u64::from_le_bytes(new)) {
                table.drop_slot(slot, &mut self.changes);
            }
        }
    }

    /// Stores to the page of `pa` need a look from now on.
    pub fn forbid_writes(&mut self, ram: &Ram, pa: u64) {
        self.changes.extend(no_writes(ram, pa));
    }

    /// The page of `pa` is no page table any more, as far as is known.
    pub fn forget(&mut self, ram: &mut Ram, pa: u64) {
        let place = self.pages.get_mut(Tables::index(pa));
        if let Some(mut table) = place.and_then(Option::take) {
            table.drop_all(&mut self.changes);
            ram.set_table(pa, false);
        }
    }

    /// The number of changes so far.
    pub fn seen(&self) -> u64 {
        self.before + self.changes.len() as u64
    }

    /// The changes after the first `seen` ones, if they are still known.
    pub fn since(&self, seen: u64) -> Option<&[Change]> {
        let known = usize::try_from(seen.checked_sub(self.before)?).ok()?;
        self.changes.get(known..)
    }

    /// Forgets changes when they are too many.
    pub fn trim(&mut self) {
        if self.changes.len() > MAX_CHANGES {
            self.before += self.changes.len() as u64;
            self.changes.clear();
        }
    }
}

fn no_writes(ram: &Ram, pa: u64) -> Option<Change> {
    ram.host_address(pa).map(Change::NoWrites)
}

/// Whether everything that was derived from a PTE holds after the change of it: it points to the
/// same place, and forbids nothing that it allowed. (The bits that allow are reserved in pointers,
/// and make leaves of them.)
fn keeps(old: u64, new: u64) -> bool {
    let allows = if Pte(old).is_leaf() { Pte::R | Pte::W | Pte::X | Pte::A | Pte::D } else { 0 };
    let same = (old ^ new) & !(allows | Pte::G | Pte::RSW) == 0;
    same && old & !new & allows == 0 && (Pte(new).readable() || !Pte(new).writable())
}

#[cfg(test)]
mod tests {
    use super::*;
    use isa::paging::{Mode, Ppn};

    const ROOT: u64 = RAM_BASE;
    const MIDDLE: u64 = RAM_BASE + 0x1000;
    const LAST: u64 = RAM_BASE + 0x2000;
    const VA: u64 = 0xffff_ffc0_0040_3000;
    const LEAF: u64 = Pte::V | Pte::R | Pte::A;

    fn satp() -> Satp {
        Satp { mode: Mode::Sv39, asid: 0, ppn: Ppn(ROOT >> 12) }
    }

    /// Three tables for the page at `VA`, which a hart remembers.
    fn bed() -> (Ram, Tables) {
        let mut ram = Ram::new(0x8000).unwrap();
        let pointer = |to: u64| to >> 12 << 10 | Pte::V;
        ram.write(ROOT + 8 * 256, pointer(MIDDLE)).unwrap();
        ram.write(MIDDLE + 8 * 2, pointer(LAST)).unwrap();
        ram.write(LAST + 8 * 3, LEAF).unwrap();
        let mut tables = Tables::new(&ram);
        tables.derive(&mut ram, satp(), VA, 0, false);
        let host = |pa| Change::NoWrites(ram.host_address(pa).unwrap());
        assert_eq!(tables.since(0).unwrap(), [ROOT, MIDDLE, LAST].map(host));
        (ram, tables)
    }

    /// The ranges that a store makes wrong.
    fn ranges(ram: &mut Ram, tables: &mut Tables, pa: u64, bytes: &[u8]) -> Vec<Range> {
        let seen = tables.seen();
        tables.store(ram, pa, bytes);
        ram.dma_write(pa, bytes).unwrap();
        let range = |change: &Change| match change {
            Change::Translations(range) => *range,
            Change::NoWrites(_) => panic!("no page became a table"),
        };
        tables.since(seen).unwrap().iter().map(range).collect()
    }

    #[test]
    fn a_store_drops_what_depends_on_the_entry() {
        for (pa, inside, outside) in [
            (ROOT + 8 * 256, VA ^ 0x3f_ffff_f000, VA ^ 1 << 38),
            (MIDDLE + 8 * 2, VA ^ 0x1f_f000, VA ^ 0x20_0000),
            (LAST + 8 * 3 + 7, VA, VA ^ 0x1000),
        ] {
            let (mut ram, mut tables) = bed();
            let inside = if pa < MIDDLE { VA ^ 0x3fff_f000 } else { inside };
            let found = ranges(&mut ram, &mut tables, pa, &[0x80]);
            assert_eq!(found.len(), 1, "{pa:x}");
            assert!(found[0].contains(VA) && found[0].contains(inside), "{pa:x}");
            assert!(!found[0].contains(outside) && !found[0].fetched, "{pa:x}");
            assert!(found[0].concerns(ROOT >> 12) && !found[0].concerns(1));
            // It is not live any more, and its neighbours never were.
            assert_eq!(ranges(&mut ram, &mut tables, pa & !7, &[1; 8]), []);
            assert_eq!(ranges(&mut ram, &mut tables, pa ^ 8, &[1; 4]), []);
        }
    }

    #[test]
    fn entries_that_allow_more_change_nothing() {
        let (mut ram, mut tables) = bed();
        let more = LEAF | Pte::W | Pte::D | Pte::X | Pte::RSW | Pte::G;
        for pte in [LEAF, LEAF | Pte::W | Pte::D, more] {
            assert_eq!(ranges(&mut ram, &mut tables, LAST + 24, &pte.to_le_bytes()), []);
        }
        for gone in [Pte::V, Pte::R, Pte::A, Pte::W, Pte::D] {
            let (mut ram, mut tables) = bed();
            assert_eq!(ranges(&mut ram, &mut tables, LAST + 24, &more.to_le_bytes()), []);
            let found = ranges(&mut ram, &mut tables, LAST + 24, &(more & !gone).to_le_bytes());
            assert_eq!(found.len(), 1, "{gone:x}");
        }
        assert!(!keeps(Pte::V | Pte::X, Pte::V | Pte::X | Pte::W));
        assert!(!keeps(Pte::V, Pte::V | Pte::R));
        assert!(!keeps(Pte::V, Pte::V | Pte::A));
        assert!(keeps(Pte::V, Pte::V | Pte::G | Pte::RSW));
        assert!(!keeps(Pte::V | Pte::R, Pte::V | Pte::R | Pte::U));
    }

    #[test]
    fn stores_of_several_entries_are_taken_apart() {
        let (mut ram, mut tables) = bed();
        ram.write(ROOT, MIDDLE >> 12 << 10 | Pte::V).unwrap();
        for page in 0..8 {
            ram.write(LAST + 8 * page, LEAF).unwrap();
            tables.derive(&mut ram, satp(), page << 12 | 0x40_0000, 0, true);
        }
        // The tables now serve two address ranges, the second with fetches.
        let found = ranges(&mut ram, &mut tables, LAST + 4, &[0xff; 16]);
        let pages: Vec<_> = found.iter().filter_map(Range::page).collect();
        assert_eq!(pages.len(), 6);
        assert!(found.iter().all(|range| range.fetched));
        assert!(pages.contains(&0x40_2000) && !pages.contains(&0x40_3000));
    }

    #[test]
    fn pages_that_are_only_stored_to_are_forgotten() {
        let (mut ram, mut tables) = bed();
        for n in 0..u64::from(PATIENCE) - 1 {
            assert_eq!(ranges(&mut ram, &mut tables, LAST + 100 * 8 + n, &[1]), []);
        }
        assert!(ram.is_table(LAST));
        let found = ranges(&mut ram, &mut tables, LAST + 200 * 8, &[1]);
        assert!(found.len() == 1 && found[0].contains(VA));
        assert!(!ram.is_table(LAST) && ram.is_table(MIDDLE));
        tables.derive(&mut ram, satp(), VA, 0, false);
        assert!(ram.is_table(LAST));
    }

    #[test]
    fn tables_in_many_places_lose_the_old_ones() {
        let (mut ram, mut tables) = bed();
        let seen = tables.seen();
        for other in 0..WAYS as u64 {
            let satp = Satp { ppn: Ppn((LAST >> 12) + other), ..satp() };
            tables.note(&mut ram, LAST, 3, Way::new(satp.ppn.0, other << 30, 0), false);
        }
        let dropped = tables.since(seen).unwrap();
        assert!(
            dropped.iter().any(|change| {
                matches!(change, Change::Translations(range) if range.contains(VA))
            })
        );
    }

    #[test]
    fn tables_of_several_trees_concern_all() {
        let (mut ram, mut tables) = bed();
        let way = Way::new(77, VA, 0);
        tables.note(&mut ram, LAST, 3, way, false);
        let found = ranges(&mut ram, &mut tables, LAST + 24, &[0]);
        assert!(found.len() == 1 && found[0].concerns(77) && found[0].concerns(78));
    }

    #[test]
    fn late_harts_are_told_so() {
        let (_, mut tables) = bed();
        tables.changes.resize(MAX_CHANGES + 1, Change::NoWrites(0));
        let seen = tables.seen();
        tables.trim();
        assert_eq!((tables.since(seen - 1), tables.since(seen)), (None, Some(&[][..])));
        assert_eq!(tables.seen(), seen);
    }
}
