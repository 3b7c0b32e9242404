//! What accesses of translated code remember: the page that each went to last.
//!
//! An access whose page is the one in its [`Memo`] needs no look into the fast TLB, and its host
//! address depends on nothing that has to be looked up by the virtual one. Memos belong to a
//! space, so that they follow it, and never outlive what the tables say. Accesses share memos with
//! others of their class: the same kind and size, for which the same answer is right.

use isa::paging::{PAGE_SHIFT, PAGE_SIZE};

/// Memos of each size, as a power of two, for loads; there are as many for stores. Compiled code
/// has most accesses of 4 and 8 bytes; greater sizes are groups of accesses.
const SLOTS: [usize; CLASSES] = [256, 256, 512, 512, 256, 256, 128, 128, 128, 128, 128, 128];
/// Sizes, from one byte to 2048.
const CLASSES: usize = 12;
/// Memos for loads, or for stores.
pub const HALF: usize = {
    let (mut sum, mut class) = (0, 0);
    while class < CLASSES {
        sum += SLOTS[class];
        class += 1;
    }
    sum
};

/// A page that accesses went to.
#[repr(C, align(32))]
#[derive(Clone, Copy, Debug, Default)]
pub struct Memo {
    /// Its virtual address.
    pub page: u64,
    /// Accesses may start at so many bytes of it, the first ones: those for which all bytes are in
    /// the page. None if nothing is remembered.
    pub limit: u64,
    /// Host address less the virtual one.
    pub addend: u64,
}

/// Which memo an access uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its number.
    pub number: u16,
    /// The [`Memo::limit`] of its class.
    pub limit: u16,
}

/// One in so many memos is for accesses that share it by what they have in common.
const SHARED: usize = 4;

/// Gives memos to accesses, in turns.
#[derive(Debug, Default)]
pub struct Slots {
    next: [[usize; CLASSES]; 2],
    shared: [[Vec<Key>; CLASSES]; 2],
    next_shared: [[usize; CLASSES]; 2],
}

/// What accesses have in common that share a memo.
type Key = (u64, u64);

impl Slots {
    /// A memo for an access of `length` bytes, 2048 at most.
    pub fn next(&mut self, store: bool, length: u64) -> Slot {
        let class = class(length);
        let next = &mut self.next[usize::from(store)][class];
        let number = *next % (SLOTS[class] - SLOTS[class] / SHARED);
        *next += 1;
        slot(store, class, number)
    }

    /// The same, but the same one for accesses with the same key, unless there are too many.
    pub fn shared(&mut self, store: bool, length: u64, key: Key) -> Slot {
        let class = class(length);
        let most = SLOTS[class] / SHARED;
        let keys = &mut self.shared[usize::from(store)][class];
        let number = keys.iter().position(|old| *old == key).unwrap_or_else(|| {
            let next = &mut self.next_shared[usize::from(store)][class];
            let number = *next % most;
            *next += 1;
            if number < keys.len() {
                keys[number] = key;
            } else {
                keys.push(key);
            }
            number
        });
        slot(store, class, SLOTS[class] - most + number)
    }
}

fn class(length: u64) -> usize {
    length.next_power_of_two().trailing_zeros() as usize
}

fn slot(store: bool, class: usize, number: usize) -> Slot {
    let first = HALF * usize::from(store) + SLOTS[..class].iter().sum::<usize>();
    Slot { number: (first + number) as u16, limit: (PAGE_SIZE + 1 - (1 << class)) as u16 }
}

/// The memos of a space.
#[repr(C)]
#[derive(Debug)]
pub struct Memos {
    /// By number.
    pub memos: [Memo; 2 * HALF],
    /// The numbers of those that are in use, in the order in which they came to be.
    pub used: [u16; 2 * HALF],
    /// How many are in use.
    pub count: usize,
    /// A bit for every page that one of them may have, by its number modulo 64.
    pub pages: u64,
    /// The host pages of those for stores, as [`host_number`] has them, zero if not in use: what
    /// can be searched at once.
    pub stored: [u32; HALF],
}

/// The number of the page at a host address, as far as 32 bits hold it.
pub fn host_number(host: u64) -> u32 {
    (host >> PAGE_SHIFT) as u32
}

/// Whether a number is among these.
pub fn holds(numbers: &[u32], number: u32) -> bool {
    let any = |chunk: &[u32]| chunk.iter().fold(false, |any, n| any | (*n == number));
    numbers.chunks(64).any(any)
}

impl Default for Memos {
    fn default() -> Memos {
        let (memos, used) = ([Memo::default(); 2 * HALF], [0; 2 * HALF]);
        Memos { memos, used, count: 0, pages: 0, stored: [0; HALF] }
    }
}

impl Memos {
    /// Forgets what concerns the page of `va`, if that is what is given, and satisfies a condition.
    pub fn forget(&mut self, va: Option<u64>, condition: impl Fn(&Memo) -> bool) {
        if va.is_none_or(|va| self.pages & bit(va) != 0) {
            self.forget_if(|memo, _| condition(memo));
        }
    }

    /// Forgets what lets stores go to the page at host address `host`; returns whether there was
    /// something.
    pub fn forget_writes(&mut self, host: u64) -> bool {
        let found = holds(&self.stored, host_number(host));
        if found {
            self.forget_if(|memo, number| {
                usize::from(number) >= HALF && memo.page.wrapping_add(memo.addend) == host
            });
        }
        found
    }

    fn forget_if(&mut self, condition: impl Fn(&Memo, u16) -> bool) {
        let count = std::mem::take(&mut self.count);
        self.pages = 0;
        for at in 0..count {
            let number = self.used[at];
            let memo = &mut self.memos[usize::from(number)];
            if condition(memo, number) {
                memo.limit = 0;
                if let Some(at) = usize::from(number).checked_sub(HALF) {
                    self.stored[at] = 0;
                }
            } else {
                self.pages |= bit(memo.page);
                self.used[self.count] = number;
                self.count += 1;
            }
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.forget_if(|_, _| true);
    }
}

fn bit(va: u64) -> u64 {
    1 << (va / PAGE_SIZE % 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_share_nothing() {
        let mut slots = Slots::default();
        let mut classes = std::collections::HashMap::new();
        for turn in 0..1000 {
            for store in [false, true] {
                for length in [1, 2, 4, 8, 12, 16, 32, 40, 64, 100, 128, 200, 256, 2048] {
                    let own = slots.next(store, length);
                    let shared = slots.shared(store, length, (turn, 0));
                    for (kind, slot) in [own, shared].into_iter().enumerate() {
                        let room = PAGE_SIZE - u64::from(slot.limit);
                        assert!((length - 1..2 * length).contains(&room), "{length}: {room}");
                        let class = (kind, store, slot.limit);
                        assert_eq!(*classes.entry(slot.number).or_insert(class), class);
                    }
                }
            }
        }
        assert!(classes.keys().all(|number| usize::from(*number) < 2 * HALF));
    }

    #[test]
    fn the_same_key_has_the_same_memo_until_there_are_too_many() {
        let mut slots = Slots::default();
        let most = SLOTS[3] / SHARED;
        let first = slots.shared(true, 8, (0x80009, 5));
        assert_ne!(slots.shared(true, 8, (0x80009, 6)), first);
        assert_ne!(slots.shared(false, 8, (0x80009, 5)), first);
        for other in 7..most as u64 + 5 {
            slots.shared(true, 7, (0x80009, other));
            assert_eq!(slots.shared(true, 8, (0x80009, 5)), first, "{other}");
        }
        assert_eq!(slots.shared(true, 8, (0x80008, 5)), first);
        assert_ne!(slots.shared(true, 8, (0x80009, 5)), first);
    }

    /// As translated code does it.
    fn remember(memos: &mut Memos, slot: Slot, va: u64, host: u64) {
        let page = va & !(PAGE_SIZE - 1);
        memos.memos[usize::from(slot.number)] =
            Memo { page, limit: slot.limit.into(), addend: host.wrapping_sub(va) };
        memos.used[memos.count] = slot.number;
        memos.count += 1;
        memos.pages |= bit(page);
        if let Some(at) = usize::from(slot.number).checked_sub(HALF) {
            memos.stored[at] = host_number(host);
        }
    }

    #[test]
    fn what_is_forgotten_matches_nothing() {
        let mut memos = Memos::default();
        let mut slots = Slots::default();
        let (load, store) = (slots.next(false, 8), slots.next(true, 8));
        remember(&mut memos, load, 0x5123, 0x9_0123);
        remember(&mut memos, store, 0x5123, 0x9_0123);
        let limits =
            |memos: &Memos| [load, store].map(|s| memos.memos[usize::from(s.number)].limit);
        assert_eq!(limits(&memos), [4089, 4089]);
        assert_eq!(memos.memos[usize::from(load.number)].page, 0x5000);
        assert_eq!(memos.memos[usize::from(load.number)].addend, 0x8_b000);
        memos.forget(Some(0x6000), |memo| memo.page == 0x6000);
        assert!(!memos.forget_writes(0x8_0000));
        assert_eq!(limits(&memos), [4089, 4089]);
        assert!(memos.forget_writes(0x9_0000) && !memos.forget_writes(0x9_0000));
        assert_eq!(limits(&memos), [4089, 0]);
        memos.forget(None, |memo| memo.page == 0x5000);
        assert_eq!(limits(&memos), [0, 0]);
        remember(&mut memos, store, 0x7000, 0x7000);
        memos.clear();
        assert_eq!((limits(&memos), memos.count), ([0, 0], 0));
    }
}
