//! Sv39 page tables that own what they map (privileged manual, "Sv39: Page-Based 39-bit
//! Virtual-Memory System").
//!
//! A valid leaf below the table's *limit* holds one reference to its frame; dropping the table
//! drops them all, so no leaf can stay behind. Leaves at and above the limit (trampoline, trap
//! frame, the kernel's own map) are borrowed. A table page other than the root exists only
//! while something below it is valid.
//!
//! Superpages are left out on purpose: the ledger counts 4 KiB frames.

use core::fmt;
use core::marker::PhantomData;
use core::mem::ManuallyDrop;
use core::ops::{Deref, Range};
use core::ptr::NonNull;

use abi::layout::{MAXVA, PGSIZE};
use abi::mman::{PTE_PROMISED, PTE_RSW_COW, PTE_RSW_SHARED};

use super::frame::{Frame, Owner, pointer};

/// The entry takes part in translation.
pub const PTE_V: u64 = 1 << 0;
/// The page may be read.
pub const PTE_R: u64 = 1 << 1;
/// The page may be written.
pub const PTE_W: u64 = 1 << 2;
/// The page may be executed.
pub const PTE_X: u64 = 1 << 3;
/// User mode may use the page.
pub const PTE_U: u64 = 1 << 4;
/// The page was accessed.
pub const PTE_A: u64 = 1 << 6;
/// The page was written.
pub const PTE_D: u64 = 1 << 7;

/// Entries of a table page.
const ENTRIES: u64 = 512;

/// A page-table entry: `| PPN 53:10 | RSW 9:8 | D A G U X W R V |`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Pte(u64);

impl Pte {
    /// An entry that leads to nothing, but says that a page is promised here.
    pub const PROMISE: Pte = Pte(PTE_PROMISED);

    fn new(pa: u64, flags: u64) -> Pte {
        Pte((pa / PGSIZE) << 10 | flags | PTE_V)
    }

    /// The entry as the hardware sees it.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Whether the hardware follows this entry.
    pub fn is_valid(self) -> bool {
        self.0 & PTE_V != 0
    }

    /// Whether the entry is valid and all `flags` are set in it.
    pub fn has(self, flags: u64) -> bool {
        self.is_valid() && self.0 & flags == flags
    }

    /// Whether a write must copy the frame first.
    pub fn is_cow(self) -> bool {
        self.has(PTE_RSW_COW)
    }

    /// Whether the frame belongs to a shared object.
    pub fn is_shared(self) -> bool {
        self.has(PTE_RSW_SHARED)
    }

    /// The physical address that a valid entry leads to.
    pub fn pa(self) -> u64 {
        (self.0 >> 10) * PGSIZE
    }

    /// The low ten bits.
    pub fn flags(self) -> u64 {
        self.0 & 0x3ff
    }

    /// Sets flags of a valid entry.
    pub fn set(&mut self, flags: u64) {
        self.0 |= flags;
    }

    /// Clears flags of a valid entry.
    pub fn clear(&mut self, flags: u64) {
        self.0 &= !flags;
    }
}

/// A frame that a page-table entry owns, on loan.
pub struct Loan<'a> {
    frame: ManuallyDrop<Frame>,
    entry: PhantomData<&'a Pte>,
}

impl Deref for Loan<'_> {
    type Target = Frame;

    fn deref(&self) -> &Frame {
        &self.frame
    }
}

/// A tree of table pages.
pub struct PageTable {
    root: Frame,
    /// The root's level: 2 for Sv39.
    top: usize,
    /// Leaves below this address own their frames.
    limit: u64,
    /// Number of table pages, the root included.
    tables: usize,
}

/// Bytes of address space that an entry at `level` covers.
const fn coverage(level: usize) -> u64 {
    PGSIZE << (9 * level)
}

/// The entry for `va` in the table page at `table`, which is one of level `level`.
fn entry(table: u64, va: u64, level: usize) -> NonNull<Pte> {
    let index = va / coverage(level) % ENTRIES;
    NonNull::new(pointer(table + index * size_of::<Pte>() as u64).cast()).expect("not at 0")
}

impl PageTable {
    /// An empty Sv39 table that owns the leaves below `limit`.
    pub fn new(limit: u64) -> Option<PageTable> {
        Self::with_top(2, limit)
    }

    /// An empty table for `pages` pages from address 0 on, with as few levels as that takes.
    /// It owns all its leaves, and serves as a sparse array of frames.
    pub fn array(pages: u64) -> Option<PageTable> {
        let size = pages * PGSIZE;
        let top = (0..2).find(|level| size <= coverage(level + 1)).unwrap_or(2);
        Self::with_top(top, coverage(top + 1))
    }

    fn with_top(top: usize, limit: u64) -> Option<PageTable> {
        Some(PageTable { root: Frame::zeroed(Owner::PageTable)?, top, limit, tables: 1 })
    }

    /// Physical address of the root.
    pub fn root(&self) -> u64 {
        self.root.pa()
    }

    /// Number of table pages.
    pub fn tables(&self) -> usize {
        self.tables
    }

    /// Goes down to the entry for `va` at `level`. Where a table page on the way is absent,
    /// the error is the level of the invalid entry.
    ///
    /// ```text
    ///   38        30 29        21 20        12 11             0
    ///  +------------+------------+------------+----------------+
    ///  | index at 2 | index at 1 | index at 0 | offset in page |
    ///  +------------+------------+------------+----------------+
    /// ```
    fn descend(&self, va: u64, level: usize) -> Result<NonNull<Pte>, usize> {
        assert!(va < coverage(self.top + 1), "address {va:#x} beyond the table");
        let mut table = self.root();
        for level in (level + 1..=self.top).rev() {
            // SAFETY: valid entries above level 0 lead to table pages of this tree.
            let next = unsafe { entry(table, va, level).read() };
            if !next.is_valid() {
                return Err(level);
            }
            table = next.pa();
        }
        Ok(entry(table, va, level))
    }

    /// The leaf entry for `va`, if there is a table page for it.
    pub fn walk(&self, va: u64) -> Option<&Pte> {
        // SAFETY: the entry lies in a table page of this tree, and is borrowed like the tree.
        self.descend(va, 0).ok().map(|pte| unsafe { pte.as_ref() })
    }

    /// As [`PageTable::walk`], for changing the entry's flags.
    pub fn walk_mut(&mut self, va: u64) -> Option<&mut Pte> {
        // SAFETY: as in `walk`; the tree is borrowed mutably.
        self.descend(va, 0).ok().map(|mut pte| unsafe { pte.as_mut() })
    }

    /// The leaf entry for `va`; makes the table pages on the way.
    fn walk_create(&mut self, va: u64) -> Option<&mut Pte> {
        while let Err(absent) = self.descend(va, 0) {
            let Some(table) = Frame::zeroed(Owner::PageTable) else {
                // The pages on the way, which may have been made just now, lead to nothing.
                self.unmap_below(self.root(), self.top, 0, &(va..va + PGSIZE));
                return None;
            };
            let parent = self.descend(va, absent).expect("the path down to there exists");
            // SAFETY: an invalid entry of a table page of this tree.
            unsafe { parent.write(Pte::new(table.into_raw(), 0)) };
            self.tables += 1;
        }
        self.walk_mut(va)
    }

    /// Maps the page at `va`, which is not mapped, to a frame. The table owns the frame; it is
    /// dropped if there is no memory for a table page.
    pub fn map(&mut self, va: u64, frame: Frame, flags: u64) -> Option<()> {
        assert!(va < self.limit, "leaf {va:#x} would not be owned");
        let pte = self.walk_create(va)?;
        assert!(!pte.is_valid(), "remap of {va:#x}");
        *pte = Pte::new(frame.into_raw(), flags);
        Some(())
    }

    /// Maps the pages of `va` to physical memory that others own, such as devices.
    pub fn map_borrowed(&mut self, va: Range<u64>, pa: u64, flags: u64) -> Option<()> {
        assert!(va.start >= self.limit, "leaf {:#x} would be owned", va.start);
        for page in va.clone().step_by(PGSIZE as usize) {
            let pte = self.walk_create(page)?;
            assert!(!pte.is_valid(), "remap of {page:#x}");
            *pte = Pte::new(pa + (page - va.start), flags);
        }
        Some(())
    }

    /// Puts another frame in the place of the one at `va`, and returns the old one.
    pub fn replace(&mut self, va: u64, frame: Frame, flags: u64) -> Frame {
        assert!(va < self.limit);
        let pte = self.walk_mut(va).expect("a page to replace");
        let old = core::mem::replace(pte, Pte::new(frame.into_raw(), flags));
        assert!(old.is_valid(), "nothing mapped at {va:#x}");
        // SAFETY: valid leaves below the limit own a frame, and this one is gone now.
        unsafe { Frame::from_raw(old.pa()) }
    }

    /// The frame at `va`, if one is mapped there that this table owns.
    pub fn frame(&self, va: u64) -> Option<Loan<'_>> {
        let pte = self.walk(va).filter(|pte| pte.is_valid() && va < self.limit)?;
        // SAFETY: the entry owns a reference, which `ManuallyDrop` leaves alone; the loan ends
        // before the entry can change.
        let frame = unsafe { ManuallyDrop::new(Frame::from_raw(pte.pa())) };
        Some(Loan { frame, entry: PhantomData })
    }

    /// Calls `see` with the address and the entry of every slot, valid or not, that existing
    /// leaf tables have for the pages of `range`. What is absent is skipped whole, so that a
    /// visit costs what is mapped and not what is promised.
    pub fn visit(&mut self, range: Range<u64>, mut see: impl FnMut(u64, &mut Pte)) {
        visit_below(self.root(), self.top, 0, &range, &mut see);
    }

    /// Calls `see` with every page in `range` that is mapped to a frame this table owns. The
    /// first `None` ends the visit.
    pub fn visit_frames(
        &mut self,
        range: Range<u64>,
        mut see: impl FnMut(u64, &mut Pte, &Frame) -> Option<()>,
    ) -> Option<()> {
        assert!(range.end <= self.limit);
        let mut result = Some(());
        self.visit(range, |va, pte| {
            if pte.is_valid() && result.is_some() {
                // SAFETY: as in `frame`.
                let frame = unsafe { ManuallyDrop::new(Frame::from_raw(pte.pa())) };
                result = see(va, pte, &frame);
            }
        });
        result
    }

    /// Whether there is a leaf table for `va`.
    pub fn has_leaf_table(&self, va: u64) -> bool {
        self.descend(va, 0).is_ok()
    }

    /// The addresses that the leaf table for `va` covers.
    pub fn leaf_table_range(va: u64) -> Range<u64> {
        let start = va - va % coverage(1);
        start..start + coverage(1)
    }

    /// Unmaps the pages of `range` and drops their frames; frees table pages that get empty.
    pub fn unmap(&mut self, range: Range<u64>) {
        assert!(range.end <= self.limit);
        if !range.is_empty() {
            self.unmap_below(self.root(), self.top, 0, &range);
        }
    }

    /// Unmaps what the table page at `table` leads to in `range`. Its first entry is for address
    /// `base`. Returns whether the page has no valid entry any more.
    fn unmap_below(&mut self, table: u64, level: usize, base: u64, range: &Range<u64>) -> bool {
        for (va, pte) in slots(table, level, base, range) {
            let valid = pte.is_valid();
            if level > 0 && (!valid || !self.unmap_below(pte.pa(), level - 1, va, range)) {
                continue;
            }
            let old = core::mem::take(pte);
            if valid {
                // SAFETY: leaves below the limit own a frame, entries above level 0 a table
                // page, and this entry is gone.
                drop(unsafe { Frame::from_raw(old.pa()) });
                self.tables -= usize::from(level > 0);
            }
        }
        let whole = base..base + coverage(level + 1);
        let emptied = level == 0 && range.start <= whole.start && whole.end <= range.end;
        emptied || valid_entries(table).next().is_none()
    }

    /// Drops what the table page at `table` leads to. Its first entry is for address `base`.
    fn drop_below(&mut self, table: u64, level: usize, base: u64) {
        for (index, pte) in valid_entries(table) {
            let va = base + index * coverage(level);
            if level > 0 {
                self.drop_below(pte.pa(), level - 1, va);
            } else if va >= self.limit {
                continue;
            }
            // SAFETY: entries above level 0 own a table page, leaves below the limit a frame;
            // the table page that holds the entry is never looked at again.
            drop(unsafe { Frame::from_raw(pte.pa()) });
        }
    }

    /// Calls `see` with every frame that the tree owns: table pages and leaves.
    #[cfg(test)]
    pub fn visit_references(&self, mut see: impl FnMut(u64)) {
        fn below(table: u64, level: usize, see: &mut impl FnMut(u64)) {
            see(table);
            for (_, pte) in valid_entries(table) {
                match level {
                    0 => see(pte.pa()),
                    _ => below(pte.pa(), level - 1, see),
                }
            }
        }
        below(self.root(), self.top, &mut see);
    }

    /// Writes the valid entries in the format of MIT's page-table lab (2024 and later).
    pub fn print(&self, out: &mut dyn fmt::Write) -> fmt::Result {
        writeln!(out, "page table {:#018x}", self.root())?;
        self.print_below(out, self.root(), self.top, 0)
    }

    fn print_below(
        &self,
        out: &mut dyn fmt::Write,
        table: u64,
        level: usize,
        base: u64,
    ) -> fmt::Result {
        for (index, pte) in valid_entries(table) {
            let va = base + index * coverage(level);
            for _ in level..=self.top {
                out.write_str(" ..")?;
            }
            writeln!(out, "{va:#018x}: pte {:#018x} pa {:#018x}", pte.bits(), pte.pa())?;
            if level > 0 {
                self.print_below(out, pte.pa(), level - 1, va)?;
            }
        }
        Ok(())
    }
}

/// The entries of the table page at `table` that have to do with `range`, each with the first
/// address that it covers. The page is of level `level`, and its first entry is for `base`.
fn slots<'a>(
    table: u64,
    level: usize,
    base: u64,
    range: &Range<u64>,
) -> impl Iterator<Item = (u64, &'a mut Pte)> {
    let size = coverage(level);
    let first = range.start.saturating_sub(base) / size;
    let last = range.end.saturating_sub(base).div_ceil(size).min(ENTRIES);
    let count = last.saturating_sub(first) as usize;
    // SAFETY: callers pass a table page of a tree that they have borrowed mutably, and keep no
    // other reference to it; the entries lie within the page.
    let entries = unsafe {
        let start: *mut Pte = pointer(table).cast();
        core::slice::from_raw_parts_mut(start.add((first % ENTRIES) as usize), count)
    };
    let start = base + first * size;
    entries.iter_mut().enumerate().map(move |(i, pte)| (start + i as u64 * size, pte))
}

/// The recursion of [`PageTable::visit`].
fn visit_below(
    table: u64,
    level: usize,
    base: u64,
    range: &Range<u64>,
    see: &mut impl FnMut(u64, &mut Pte),
) {
    for (va, pte) in slots(table, level, base, range) {
        if level == 0 {
            see(va, pte);
        } else if pte.is_valid() {
            visit_below(pte.pa(), level - 1, va, range, see);
        }
    }
}

/// The valid entries of the table page at `table`, with their indices.
fn valid_entries(table: u64) -> impl Iterator<Item = (u64, Pte)> {
    // SAFETY: callers pass a table page of a tree that they have borrowed, and copies are made
    // before an entry could change.
    let entries = unsafe { &*pointer(table).cast::<[Pte; ENTRIES as usize]>() };
    (0..).zip(entries).map(|(index, pte)| (index, *pte)).filter(|(_, pte)| pte.is_valid())
}

impl Drop for PageTable {
    fn drop(&mut self) {
        self.drop_below(self.root(), self.top, 0);
    }
}

const _: () = assert!(MAXVA <= coverage(3), "user addresses fit in three levels");
