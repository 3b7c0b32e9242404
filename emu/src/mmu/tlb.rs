//! The engine's fast TLB: what keeps plain loads and stores off the page-table walk.
//!
//! One [`Space`] holds the translations of one way to see memory (tables, privilege, SUM, MXR);
//! a hart keeps some of them, so that a trap, a return from one or a `satp` write exchanges a
//! pointer instead of dropping everything. An entry exists only for pages of RAM whose every byte
//! may be accessed in that way; stores additionally need D set and a page without decoded code
//! and page tables. Stores to page tables drop what they make wrong: see [`super::tables`].
//! This TLB is an implementation detail: the one that traces describe is modelled elsewhere.

use std::mem::offset_of;

use isa::Priv;
use isa::paging::{LEVEL_BITS, PAGE_SHIFT, PAGE_SIZE, PPN_BITS};

use super::memo::{HALF, Memos, holds, host_number};
use super::tables::{Change, Range};

/// Entries of each array.
pub const ENTRIES: usize = 1024;
/// Entries for fetches, which happen only when a block is not found otherwise.
const FETCH_ENTRIES: usize = 64;
/// Entries for stores to pages that need attention.
pub const GUARDED_ENTRIES: usize = 16;
/// Spaces that a hart keeps besides the current one and the one before.
const MAX_OTHERS: usize = 14;
/// Entries for last-level page tables.
const TABLE_ENTRIES: usize = 16;
/// Bits that say where stores may go.
const MARKS: usize = 512;
/// After so many searches in vain they are made anew.
const VAIN: u8 = 32;
/// Bits of a virtual address that a last-level page table translates, and those below.
const TABLE_SHIFT: u32 = PAGE_SHIFT + LEVEL_BITS;
/// The tag of a fetch entry that matches nothing: page addresses have zeroes at the end.
const NO_PAGE: u64 = u64::MAX;

/// A translation of one page.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The page's virtual address.
    pub tag: u64,
    /// The page's host address.
    pub host: u64,
}

const _: () = assert!(size_of::<Entry>() == 16);
const _: () = assert!(offset_of!(Entry, tag) == 0 && offset_of!(Entry, host) == 8);

impl Entry {
    /// The entry at `at` when there is none: its tag is a page that belongs to another place.
    const fn none(at: usize) -> Entry {
        Entry { tag: (at as u64 ^ 1) << PAGE_SHIFT, host: 0 }
    }

    /// The host address for an access of `size` bytes at `va`, whose index is this entry's. The
    /// access must be naturally aligned, or there is none.
    #[inline(always)]
    pub const fn host(&self, va: u64, size: u64) -> Option<u64> {
        let offset = va ^ self.tag;
        if offset & (!(PAGE_SIZE - 1) | (size - 1)) == 0 { Some(self.host + offset) } else { None }
    }
}

/// Arrays of nothing.
const EMPTY: [Entry; ENTRIES] = {
    let mut entries = [Entry::none(0); ENTRIES];
    let mut at = 0;
    while at < ENTRIES {
        entries[at] = Entry::none(at);
        at += 1;
    }
    entries
};

/// Which entry may hold `va`: more than the lowest bits of the page number, so that buffers a
/// power of two apart do not collide.
#[inline(always)]
pub const fn index(va: u64) -> usize {
    (va >> 12 ^ va >> 22) as usize & (ENTRIES - 1)
}

/// The page of an address.
#[inline(always)]
const fn page(address: u64) -> u64 {
    address & !(PAGE_SIZE - 1)
}

/// What makes two ways to see memory different.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// `satp`, or zero when nothing is translated.
    pub satp: u64,
    /// Privilege of fetches, that of loads and stores, `mstatus.SUM` and [`Key::MXR`].
    pub modes: u64,
}

impl Key {
    /// Nobody's key.
    const NONE: Key = Key { satp: 0, modes: u64::MAX };
    /// The bit of `modes` that is `mstatus.MXR`. Under the same `satp`, the key of U-mode has the
    /// same one as that of S-mode, and no other.
    pub const MXR: u64 = 1 << 17;

    /// The key for fetches with privilege `fetch`, loads and stores with privilege `data`.
    pub fn new(satp: u64, fetch: Priv, data: Priv, sum: bool, mxr: bool) -> Key {
        let bare = fetch == Priv::Machine && data == Priv::Machine || satp >> 60 == 0;
        let sum = !bare && sum && data == Priv::Supervisor;
        let mxr = !bare && mxr && data != Priv::Machine;
        let modes = fetch as u64 | (data as u64) << 8 | u64::from(sum) << 16;
        let mxr = if mxr { Key::MXR } else { 0 };
        Key { satp: if bare { 0 } else { satp }, modes: modes | mxr }
    }

    /// Whether these translations are concerned.
    fn is_in(&self, range: &Range) -> bool {
        self.satp != 0 && range.concerns(self.satp & ((1 << PPN_BITS) - 1))
    }
}

/// A virtual page, and the physical one that it leads to.
type Page = [u64; 2];

/// The physical page of a virtual one, from a small direct-mapped array.
#[inline]
fn look_up<const N: usize>(pages: &[Page; N], va: u64) -> Option<u64> {
    let [tag, pa] = pages[(va >> PAGE_SHIFT) as usize % N];
    (tag == page(va)).then_some(pa)
}

fn put<const N: usize>(pages: &mut [Page; N], va: u64, pa: u64) {
    pages[(va >> PAGE_SHIFT) as usize % N] = [page(va), page(pa)];
}

/// The cached translations of one way to see memory.
#[repr(C)]
#[derive(Debug)]
pub struct Space {
    /// For loads.
    pub read: [Entry; ENTRIES],
    /// For stores.
    pub write: [Entry; ENTRIES],
    /// Tells whether a cached jump target is still valid: unique in time on this hart.
    pub generation: u64,
    /// Which way to see memory this is.
    pub key: Key,
    /// When the space was left, as the hart counts.
    left: u64,
    /// What translated code remembers of both arrays.
    pub memos: Memos,
    /// For fetches.
    fetch: [Page; FETCH_ENTRIES],
    /// For stores to pages that may be stored to, but not without a look at what they hold.
    pub guarded: [Page; GUARDED_ENTRIES],
    /// The last-level page tables of what loads and stores went to.
    tables: [Page; TABLE_ENTRIES],
    /// The host pages of `write`, as [`host_number`] has them: what can be searched at once.
    written: [u32; ENTRIES],
    /// A bit for every host page that stores may go to, by its number modulo theirs: in most spaces
    /// that is none of those that must not be stored to any more.
    marks: [u64; MARKS / 64],
    /// How often that was not so although it is marked, since all was marked anew.
    vain: u8,
    /// Which places of `read` and `write` were filled since the last flush.
    filled: [u64; ENTRIES / 64],
    /// Anything was filled since the last flush.
    used: bool,
}

impl Space {
    fn new() -> Box<Space> {
        Box::new(Space {
            read: EMPTY,
            write: EMPTY,
            generation: 0,
            key: Key::NONE,
            left: 0,
            memos: Memos::default(),
            fetch: [[NO_PAGE, 0]; FETCH_ENTRIES],
            guarded: [[NO_PAGE, 0]; GUARDED_ENTRIES],
            tables: [[NO_PAGE, 0]; TABLE_ENTRIES],
            written: [0; ENTRIES],
            marks: [0; MARKS / 64],
            vain: 0,
            filled: [0; ENTRIES / 64],
            used: false,
        })
    }

    /// The place of `va` in `read` and `write`, which is about to be filled.
    fn fill(&mut self, va: u64) -> usize {
        let at = index(va);
        self.filled[at / 64] |= 1 << (at % 64);
        self.used = true;
        at
    }

    /// Lets loads of the page of `va` go to the host address `host` directly.
    pub fn fill_read(&mut self, va: u64, host: u64) {
        let at = self.fill(va);
        self.read[at] = Entry { tag: page(va), host: page(host) };
    }

    /// Lets stores to the page of `va` go to the host address `host` directly.
    pub fn fill_write(&mut self, va: u64, host: u64) {
        let at = self.fill(va);
        self.write[at] = Entry { tag: page(va), host: page(host) };
        self.written[at] = host_number(host);
        self.mark(host_number(host));
    }

    fn mark(&mut self, number: u32) {
        let bit = number as usize % MARKS;
        self.marks[bit / 64] |= 1 << (bit % 64);
    }

    fn is_marked(&self, number: u32) -> bool {
        let bit = number as usize % MARKS;
        self.marks[bit / 64] >> (bit % 64) & 1 != 0
    }

    /// The physical page of a virtual page, for a fetch.
    #[inline]
    pub fn fetch(&self, va: u64) -> Option<u64> {
        look_up(&self.fetch, va)
    }

    /// Remembers the physical page of a virtual page, for fetches.
    pub fn fill_fetch(&mut self, va: u64, pa: u64) {
        put(&mut self.fetch, va, pa);
        self.used = true;
    }

    /// The physical page of a virtual page that needs attention, for a store.
    #[inline]
    pub fn guarded(&self, va: u64) -> Option<u64> {
        look_up(&self.guarded, va)
    }

    /// Remembers the physical page of a virtual page that may be stored to with attention.
    pub fn fill_guarded(&mut self, va: u64, pa: u64) {
        put(&mut self.guarded, va, pa);
        self.used = true;
    }

    /// The last-level page table in which walks for `va` end.
    #[inline]
    pub fn table(&self, va: u64) -> Option<u64> {
        let [tag, pa] = self.tables[(va >> TABLE_SHIFT) as usize % TABLE_ENTRIES];
        (tag == va >> TABLE_SHIFT).then_some(pa)
    }

    /// Remembers the page table in which walks for `va` end, at level 0.
    pub fn fill_table(&mut self, va: u64, pa: u64) {
        self.tables[(va >> TABLE_SHIFT) as usize % TABLE_ENTRIES] = [va >> TABLE_SHIFT, page(pa)];
        self.used = true;
    }

    /// Calls `f` with all places that may be filled.
    fn each_filled(&mut self, mut f: impl FnMut(&mut Space, usize)) {
        for word in 0..self.filled.len() {
            let mut bits = self.filled[word];
            while bits != 0 {
                f(self, 64 * word + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }

    fn flush(&mut self) {
        if !std::mem::take(&mut self.used) {
            return;
        }
        self.each_filled(|space, at| {
            space.read[at] = Entry::none(at);
            space.write[at] = Entry::none(at);
            space.written[at] = 0;
        });
        self.filled = [0; ENTRIES / 64];
        self.marks = [0; MARKS / 64];
        self.memos.clear();
        self.fetch = [[NO_PAGE, 0]; FETCH_ENTRIES];
        self.guarded = [[NO_PAGE, 0]; GUARDED_ENTRIES];
        self.tables = [[NO_PAGE, 0]; TABLE_ENTRIES];
    }

    /// Drops the translations of some addresses.
    fn drop_range(&mut self, range: &Range) {
        self.drop_data(range);
        if range.fetched {
            self.drop_fetches(range);
        }
        // A single page is what a PTE of such a table maps: where the table is does not change.
        if range.page().is_none() {
            for table in &mut self.tables {
                if range.contains(table[0] << TABLE_SHIFT) {
                    table[0] = NO_PAGE;
                }
            }
        }
    }

    /// Drops what loads and stores of some addresses need.
    fn drop_data(&mut self, range: &Range) {
        let drop = |space: &mut Space, at: usize| {
            for entry in [&mut space.read[at], &mut space.write[at]] {
                if range.contains(entry.tag) {
                    *entry = Entry::none(at);
                }
            }
        };
        match range.page() {
            Some(va) => drop(self, index(va)),
            None => self.each_filled(drop),
        }
        self.memos.forget(range.page(), |memo| range.contains(memo.page));
        for page in &mut self.guarded {
            if range.contains(page[0]) {
                page[0] = NO_PAGE;
            }
        }
    }

    /// Drops what fetches from some addresses need.
    fn drop_fetches(&mut self, range: &Range) {
        for page in &mut self.fetch {
            if range.contains(page[0]) {
                page[0] = NO_PAGE;
            }
        }
    }

    /// Drops what lets stores go to the page at host address `host`.
    fn drop_writes(&mut self, host: u64) {
        let (host, number) = (page(host), host_number(host));
        if !self.is_marked(number) {
            return;
        }
        let mut found = self.memos.forget_writes(host);
        if holds(&self.written, number) {
            found = true;
            for at in 0..ENTRIES {
                if self.written[at] == number && self.write[at].host == host {
                    self.write[at] = Entry::none(at);
                    self.written[at] = 0;
                }
            }
        }
        if !found {
            self.vain += 1;
            if self.vain == VAIN {
                self.mark_anew();
            }
        }
    }

    /// Leaves marks only of pages that stores may go to.
    #[cold]
    fn mark_anew(&mut self) {
        self.vain = 0;
        self.marks = [0; MARKS / 64];
        for at in 0..ENTRIES {
            self.mark(self.written[at]);
        }
        for at in 0..HALF {
            self.mark(self.memos.stored[at]);
        }
    }
}

/// A hart's spaces but two: the current one and its twin, the one before, are in its hot context,
/// and passed in where they are concerned. So the way from a trap back is short.
#[derive(Debug, Default)]
pub struct Spaces {
    others: Vec<Box<Space>>,
    clock: u64,
    generation: u64,
}

/// The current space and its twin.
pub type Near<'a> = [&'a mut Box<Space>; 2];

impl Spaces {
    /// The first current space, or twin.
    pub fn first() -> Box<Space> {
        Space::new()
    }

    fn fresh(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// Makes the space with this key the current one, and that its twin.
    #[inline]
    pub fn select(&mut self, [current, twin]: Near<'_>, key: Key) {
        if current.key != key {
            std::mem::swap(current, twin);
            if current.key != key {
                self.exchange(current, key);
            }
        }
    }

    /// Exchanges a space, which was the twin, for the one with this key.
    fn exchange(&mut self, space: &mut Box<Space>, key: Key) {
        let found = self.others.iter().position(|other| other.key == key);
        let at = match found {
            Some(at) => at,
            None if self.others.len() < MAX_OTHERS => {
                self.others.push(Space::new());
                self.others.len() - 1
            }
            None => {
                let oldest = self.others.iter().enumerate().min_by_key(|(_, other)| other.left);
                oldest.map_or(0, |(at, _)| at)
            }
        };
        self.clock += 1;
        space.left = self.clock;
        std::mem::swap(space, &mut self.others[at]);
        if found.is_none() {
            space.flush();
            space.key = key;
            space.generation = self.fresh();
        }
    }

    /// Forgets every translation.
    pub fn flush(&mut self, [current, twin]: Near<'_>) {
        current.flush();
        twin.flush();
        for space in &mut self.others {
            space.flush();
        }
        self.forget_jumps([current, twin]);
    }

    /// Makes every cached jump target invalid.
    pub fn forget_jumps(&mut self, near: Near<'_>) {
        for space in near.into_iter().chain(&mut self.others) {
            self.generation += 1;
            space.generation = self.generation;
        }
    }

    /// Forgets the translations of some addresses in all spaces, either those for fetches or the
    /// others.
    pub fn forget(&mut self, [current, twin]: Near<'_>, range: &Range) {
        let spaces = [&mut *current, &mut *twin].into_iter().chain(&mut self.others);
        for space in spaces.filter(|space| space.used) {
            match range.fetched {
                true => space.drop_fetches(range),
                false => space.drop_data(range),
            }
        }
        if range.fetched {
            self.forget_jumps([current, twin]);
        }
    }

    /// Drops what a change makes wrong. Returns whether that includes where instructions of the
    /// current space came from, so that the next one has to be fetched anew.
    pub fn apply(&mut self, [current, twin]: Near<'_>, change: &Change) -> bool {
        let before = current.generation;
        for space in [&mut *current, twin].into_iter().chain(&mut self.others) {
            match change {
                Change::NoWrites(host) => space.drop_writes(*host),
                Change::Translations(range) if space.key.is_in(range) => {
                    space.drop_range(range);
                    if range.fetched {
                        self.generation += 1;
                        space.generation = self.generation;
                    }
                }
                Change::Translations(_) => {}
            }
        }
        current.generation != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(satp: u64) -> Key {
        Key::new(8 << 60 | satp, Priv::User, Priv::User, false, false)
    }

    #[test]
    fn only_aligned_accesses_of_the_page_match() {
        let mut space = Spaces::first();
        for at in 0..ENTRIES as u64 {
            let va = at << PAGE_SHIFT | 1 << 63;
            assert_eq!(space.read[index(va)].host(va, 1), None);
        }
        space.fill_read(0x4_2ff8, 0x7000_0000_0ff8);
        let host = |va, size| space.read[index(0x4_2000)].host(va, size);
        assert_eq!(host(0x4_2ff0, 8), Some(0x7000_0000_0ff0));
        assert_eq!(host(0x4_2ff3, 1), Some(0x7000_0000_0ff3));
        assert_eq!(host(0x4_2ff9, 8), None);
        assert_eq!(host(0x4_2001, 2), None);
        assert_eq!(host(0x4_3000, 1), None);
    }

    #[test]
    fn spaces_keep_their_entries_until_flushed() {
        let mut spaces = Spaces::default();
        let (mut current, mut twin) = (Spaces::first(), Spaces::first());
        spaces.select([&mut current, &mut twin], key(1));
        current.fill_write(0x1000, 0x9000);
        let generation = current.generation;
        spaces.select([&mut current, &mut twin], key(2));
        assert_eq!(current.write[index(0x1000)].host(0x1000, 8), None);
        spaces.select([&mut current, &mut twin], key(1));
        assert!(current.write[index(0x1000)].host(0x1000, 8).is_some());
        assert_eq!(current.generation, generation);
        spaces.flush([&mut current, &mut twin]);
        assert_eq!(current.write[index(0x1000)].host(0x1000, 8), None);
        assert_ne!(current.generation, generation);
    }

    #[test]
    fn the_oldest_space_gives_way() {
        let mut spaces = Spaces::default();
        let (mut current, mut twin) = (Spaces::first(), Spaces::first());
        for satp in 0..30 {
            spaces.select([&mut current, &mut twin], key(satp));
            current.fill_read(0x1000, satp << 12);
        }
        assert_eq!(spaces.others.len(), MAX_OTHERS);
        spaces.select([&mut current, &mut twin], key(23));
        assert!(current.read[index(0x1000)].host(0x1000, 8).is_some());
        spaces.select([&mut current, &mut twin], key(3));
        assert_eq!(current.read[index(0x1000)].host(0x1000, 8), None);
    }

    #[test]
    fn pages_that_become_special_lose_their_write_entries_everywhere() {
        for fills in [1, 256] {
            let mut spaces = Spaces::default();
            let (mut current, mut twin) = (Spaces::first(), Spaces::first());
            spaces.select([&mut current, &mut twin], key(1));
            for page in 0..fills {
                current.fill_write(page << 12, 0x10_0000 + (page << 12));
            }
            spaces.select([&mut current, &mut twin], key(2));
            current.fill_write(0x5000, 0x10_0000);
            spaces.apply([&mut current, &mut twin], &Change::NoWrites(0x10_0abc));
            assert_eq!(current.write[index(0x5000)].host(0x5000, 8), None);
            spaces.select([&mut current, &mut twin], key(1));
            assert_eq!(current.write[index(0)].host(0, 8), None);
            assert!(fills == 1 || current.write[index(0x1000)].tag == 0x1000);
        }
    }
}
