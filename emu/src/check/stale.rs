//! What TLBs may still hold: every translation that was used since the last fence that covers it.
//!
//! A TLB of any size may have kept any of these, so that using one that differs from the table
//! is an error of the guest even if the machine at hand does not show it.

use super::deed::Deed;
use super::tables::{bits, frame_of, is_leaf};
use crate::mmu::Access;
use crate::trace::quick::QuickMap;

/// A translation that was used.
#[derive(Clone, Copy, Debug)]
pub struct Cached {
    /// The leaf as it was.
    pub pte: u64,
    /// Its level.
    level: u8,
    /// Physical address of the leaf.
    pub slot: u64,
    /// When it was used first, in virtual nanoseconds.
    pub ns: u64,
}

/// An entry that differs from the table.
#[derive(Clone, Copy, Debug)]
pub struct Used {
    /// What may be cached.
    pub cached: Cached,
    /// The last change of its PTE: old, new, by whom.
    pub change: Option<(u64, u64, Deed)>,
}

/// What the TLBs of all harts may hold.
#[derive(Default)]
pub struct Stale {
    harts: Vec<QuickMap<(u16, u64), Cached>>,
    /// What was shown last on a hart, and is known to agree.
    last: Option<(usize, u16, u64, Access)>,
    changes: QuickMap<u64, (u64, u64, Deed)>,
}

/// Changes that are remembered.
const MAX_CHANGES: usize = 1 << 18;

impl Stale {
    /// Empty TLBs.
    pub fn new(harts: usize) -> Stale {
        Stale { harts: vec![QuickMap::default(); harts], ..Stale::default() }
    }

    /// A leaf in memory changed.
    pub fn changed(&mut self, slot: u64, old: u64, new: u64, by: Deed) {
        self.last = None;
        if is_leaf(old) && (self.changes.len() < MAX_CHANGES || self.changes.contains_key(&slot)) {
            self.changes.insert(slot, (old, new, by));
        }
    }

    /// The table allows an access with this leaf. Returns what a TLB may have used instead.
    pub fn walked(
        &mut self,
        hart: usize,
        (asid, va, access): (u16, u64, Access),
        (pte, level, slot): (u64, u8, u64),
        ns: u64,
    ) -> Option<Used> {
        let vpn = va >> 12;
        if self.last.replace((hart, asid, vpn, access)) == Some((hart, asid, vpn, access)) {
            return None;
        }
        let new = Cached { pte, level, slot, ns };
        let cached = *self.harts[hart].entry((asid, vpn)).or_insert(new);
        if leads(cached, va) == leads(new, va) && !is_more(cached.pte, pte) {
            return None;
        }
        self.harts[hart].insert((asid, vpn), new);
        Some(Used { cached, change: self.changes.get(&cached.slot).copied() })
    }

    /// The table refuses an access. Returns what a TLB may hold that would have allowed it.
    pub fn refused(
        &mut self,
        hart: usize,
        (asid, va, access): (u16, u64, Access),
        user: bool,
    ) -> Option<Used> {
        let cached = *self.harts[hart].get(&(asid, va >> 12))?;
        let right = match access {
            Access::Load => bits::R,
            Access::Store => bits::W,
            Access::Fetch => bits::X,
        };
        let allows = cached.pte & right != 0 && (cached.pte & bits::U != 0) == user;
        if !allows {
            return None;
        }
        self.harts[hart].remove(&(asid, va >> 12));
        Some(Used { cached, change: self.changes.get(&cached.slot).copied() })
    }

    /// `sfence.vma`.
    pub fn fenced(&mut self, hart: usize, va: Option<u64>, asid: Option<u16>) {
        const G: u64 = 1 << 5;
        self.last = None;
        let entries = &mut self.harts[hart];
        if let (None, None) = (va, asid) {
            // Clearing takes time by what was there once, which the kernel's start makes large.
            *entries = QuickMap::default();
            return;
        }
        entries.retain(|(of, vpn), cached| {
            let shift = 9 * u32::from(cached.level);
            let here = va.is_none_or(|va| va >> 12 >> shift == *vpn >> shift);
            let space = asid.is_none_or(|asid| cached.pte & G == 0 && asid == *of);
            !(here && space)
        });
    }
}

/// The physical page that an entry leads to.
fn leads(cached: Cached, va: u64) -> u64 {
    let inside = (1u64 << (12 + 9 * u32::from(cached.level))) - 1;
    frame_of(cached.pte) & !inside | va & inside & !0xfff
}

/// Whether `cached` allows something that `pte` does not.
fn is_more(cached: u64, pte: u64) -> bool {
    cached & !pte & (bits::R | bits::W | bits::X | bits::U) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const RW: u64 = 0x8765 << 10 | bits::V | bits::R | bits::W | bits::U;

    #[test]
    fn an_entry_is_stale_until_it_is_fenced() {
        let page = (3, 0x5000, Access::Load);
        for fence in [None, Some((None, None)), Some((Some(0x5008), None)), Some((None, Some(3)))] {
            let mut stale = Stale::new(1);
            assert!(stale.walked(0, page, (RW, 0, 64), 1).is_none());
            stale.changed(64, RW, RW & !bits::W, Deed::default());
            if let Some((va, asid)) = fence {
                stale.fenced(0, va, asid);
            }
            let store = stale.refused(0, (3, 0x5abc, Access::Store), true);
            assert_eq!(store.is_some(), fence.is_none());
            assert!(store.is_none_or(|used| used.change.is_some()));
        }
    }

    #[test]
    fn other_pages_and_more_rights_are_no_matter() {
        let mut stale = Stale::new(2);
        let page = (0, 0x5000, Access::Load);
        let read_only = RW & !bits::W;
        assert!(stale.walked(0, page, (read_only, 0, 64), 1).is_none());
        stale.changed(64, read_only, RW, Deed::default());
        assert!(stale.walked(0, page, (RW, 0, 64), 2).is_none());
        // Another frame, seen by another hart, is nothing new to that one.
        stale.changed(64, RW, RW + (1 << 10), Deed::default());
        assert!(stale.walked(1, page, (RW + (1 << 10), 0, 64), 3).is_none());
        stale.fenced(0, Some(0x6000), None);
        let used = stale.walked(0, page, (RW + (1 << 10), 0, 64), 4).expect("stale");
        assert_eq!((used.cached.pte, used.cached.ns), (read_only, 1));
    }
}
