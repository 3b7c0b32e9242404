//! The engine's fast TLB: what keeps plain loads and stores off the page-table walk.
//!
//! One [`Space`] holds the translations of one way to see memory (tables, privilege, SUM, MXR);
//! a hart keeps a few of them, so that a trap, a return from one or a `satp` write exchanges a
//! pointer instead of dropping everything. An entry exists only for pages of RAM whose every byte
//! may be accessed in that way; stores additionally need D set and a page without decoded code.
//! This TLB is an implementation detail: the one that traces describe is modelled elsewhere.

use std::mem::offset_of;

use isa::Priv;
use isa::paging::{PAGE_SHIFT, PAGE_SIZE};

/// Entries of each array.
pub const ENTRIES: usize = 1024;
/// Entries for fetches, which happen only when a block is not found otherwise.
const FETCH_ENTRIES: usize = 64;
/// After this many fills, a flush clears everything instead of single entries.
const MAX_FILLED: usize = 128;
/// Spaces that a hart keeps besides the current one.
const MAX_OTHERS: usize = 7;
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Key {
    /// `satp`, or zero when nothing is translated.
    pub satp: u64,
    /// Privilege of fetches, then of loads and stores, as numbers.
    pub privileges: (u8, u8),
    /// `mstatus.SUM` and `mstatus.MXR`.
    pub sum_mxr: (bool, bool),
}

impl Key {
    /// Nobody's key.
    const NONE: Key = Key { satp: u64::MAX, privileges: (0xff, 0xff), sum_mxr: (false, false) };

    /// The key for fetches with privilege `fetch`, loads and stores with privilege `data`.
    pub fn new(satp: u64, fetch: Priv, data: Priv, sum: bool, mxr: bool) -> Key {
        let bare = fetch == Priv::Machine && data == Priv::Machine;
        Key {
            satp: if bare { 0 } else { satp },
            privileges: (fetch as u8, data as u8),
            sum_mxr: if bare { (false, false) } else { (sum, mxr) },
        }
    }
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
    /// For fetches: virtual and physical address of a page.
    fetch: [(u64, u64); FETCH_ENTRIES],
    /// Indices that were filled since the last flush, the first `count` of them.
    filled: [u16; MAX_FILLED],
    count: usize,
    key: Key,
    used: u64,
}

impl Space {
    fn new() -> Box<Space> {
        Box::new(Space {
            read: EMPTY,
            write: EMPTY,
            generation: 0,
            fetch: [(NO_PAGE, 0); FETCH_ENTRIES],
            filled: [0; MAX_FILLED],
            count: 0,
            key: Key::NONE,
            used: 0,
        })
    }

    fn remember(&mut self, index: usize) {
        if let Some(slot) = self.filled.get_mut(self.count) {
            *slot = index as u16;
        }
        self.count += 1;
    }

    /// Lets loads of the page of `va` go to the host address `host` directly.
    pub fn fill_read(&mut self, va: u64, host: u64) {
        let at = index(va);
        self.remember(at);
        self.read[at] = Entry { tag: page(va), host: page(host) };
    }

    /// Lets stores to the page of `va` go to the host address `host` directly.
    pub fn fill_write(&mut self, va: u64, host: u64) {
        let at = index(va);
        self.remember(at);
        self.write[at] = Entry { tag: page(va), host: page(host) };
    }

    /// The physical page of a virtual page, for a fetch.
    #[inline]
    pub fn fetch(&self, va: u64) -> Option<u64> {
        let (tag, pa) = self.fetch[(va >> 12) as usize % FETCH_ENTRIES];
        (tag == page(va)).then_some(pa)
    }

    /// Remembers the physical page of a virtual page, for fetches.
    pub fn fill_fetch(&mut self, va: u64, pa: u64) {
        self.remember(0);
        self.fetch[(va >> 12) as usize % FETCH_ENTRIES] = (page(va), page(pa));
    }

    fn flush(&mut self) {
        if self.count > MAX_FILLED {
            self.read = EMPTY;
            self.write = EMPTY;
        }
        for &at in &self.filled[..self.count.min(MAX_FILLED)] {
            self.read[at as usize] = Entry::none(at as usize);
            self.write[at as usize] = Entry::none(at as usize);
        }
        if self.count > 0 {
            self.fetch = [(NO_PAGE, 0); FETCH_ENTRIES];
        }
        self.count = 0;
    }

    /// Drops what lets stores go to the page at host address `host`.
    fn drop_writes(&mut self, host: u64) {
        let host = page(host);
        let drop = |(at, entry): (usize, &mut Entry)| {
            if entry.host == host {
                *entry = Entry::none(at);
            }
        };
        if self.count > MAX_FILLED {
            self.write.iter_mut().enumerate().for_each(drop);
            return;
        }
        for &at in &self.filled[..self.count] {
            drop((at as usize, &mut self.write[at as usize]));
        }
    }
}

/// A hart's spaces: the current one, in its hot context, is passed in where it is concerned.
#[derive(Debug, Default)]
pub struct Spaces {
    others: Vec<Box<Space>>,
    clock: u64,
    generation: u64,
}

impl Spaces {
    /// The first current space.
    pub fn first() -> Box<Space> {
        Space::new()
    }

    fn fresh(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// Makes the space with this key the current one.
    pub fn select(&mut self, current: &mut Box<Space>, key: Key) {
        if current.key == key {
            return;
        }
        self.clock += 1;
        current.used = self.clock;
        let found = self.others.iter().position(|space| space.key == key);
        let at = match found {
            Some(at) => at,
            None if self.others.len() < MAX_OTHERS => {
                self.others.push(Space::new());
                self.others.len() - 1
            }
            None => {
                let oldest = self.others.iter().enumerate().min_by_key(|(_, space)| space.used);
                oldest.map_or(0, |(at, _)| at)
            }
        };
        std::mem::swap(current, &mut self.others[at]);
        if found.is_none() {
            current.flush();
            current.key = key;
            current.generation = self.fresh();
        }
    }

    /// Forgets every translation.
    pub fn flush(&mut self, current: &mut Space) {
        current.flush();
        for space in &mut self.others {
            space.flush();
        }
        self.forget_jumps(current);
    }

    /// Makes every cached jump target invalid.
    pub fn forget_jumps(&mut self, current: &mut Space) {
        current.generation = self.fresh();
        for at in 0..self.others.len() {
            self.others[at].generation = self.fresh();
        }
    }

    /// Drops every entry that lets stores go to the page at host address `host`.
    pub fn drop_writes(&mut self, current: &mut Space, host: u64) {
        current.drop_writes(host);
        self.others.iter_mut().for_each(|space| space.drop_writes(host));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(satp: u64) -> Key {
        Key::new(satp, Priv::User, Priv::User, false, false)
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
        let mut current = Spaces::first();
        spaces.select(&mut current, key(1));
        current.fill_write(0x1000, 0x9000);
        let generation = current.generation;
        spaces.select(&mut current, key(2));
        assert_eq!(current.write[index(0x1000)].host(0x1000, 8), None);
        spaces.select(&mut current, key(1));
        assert!(current.write[index(0x1000)].host(0x1000, 8).is_some());
        assert_eq!(current.generation, generation);
        spaces.flush(&mut current);
        assert_eq!(current.write[index(0x1000)].host(0x1000, 8), None);
        assert_ne!(current.generation, generation);
    }

    #[test]
    fn the_oldest_space_gives_way() {
        let mut spaces = Spaces::default();
        let mut current = Spaces::first();
        for satp in 0..20 {
            spaces.select(&mut current, key(satp));
            current.fill_read(0x1000, satp << 12);
        }
        assert_eq!(spaces.others.len(), MAX_OTHERS);
        spaces.select(&mut current, key(13));
        assert!(current.read[index(0x1000)].host(0x1000, 8).is_some());
        spaces.select(&mut current, key(3));
        assert_eq!(current.read[index(0x1000)].host(0x1000, 8), None);
    }

    #[test]
    fn pages_that_become_code_lose_their_write_entries_everywhere() {
        for fills in [1, 2 * MAX_FILLED as u64] {
            let mut spaces = Spaces::default();
            let mut current = Spaces::first();
            spaces.select(&mut current, key(1));
            for page in 0..fills {
                current.fill_write(page << 12, 0x10_0000 + (page << 12));
            }
            spaces.select(&mut current, key(2));
            current.fill_write(0x5000, 0x10_0000);
            spaces.drop_writes(&mut current, 0x10_0abc);
            assert_eq!(current.write[index(0x5000)].host(0x5000, 8), None);
            spaces.select(&mut current, key(1));
            assert_eq!(current.write[index(0)].host(0, 8), None);
            assert!(fills == 1 || current.write[index(0x1000)].tag == 0x1000);
        }
    }
}
