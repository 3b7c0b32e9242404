//! Counting references to frames from raw page tables, to compare with the ledger.

use std::collections::BTreeMap;
use std::vec::Vec;

use abi::layout::TRAPFRAME;

use crate::mm::AddressSpace;
use crate::mm::frame::{Frame, pointer};
use crate::mm::region::Backing;
use crate::mm::shared::SharedRef;

/// References to frames, by physical address.
#[derive(Default)]
struct Count(BTreeMap<u64, usize>);

impl Count {
    /// Adds a table page and what is below it. Returns the number of valid leaves.
    fn table(&mut self, pa: u64, level: u32, base: u64, limit: u64) -> u64 {
        *self.0.entry(pa).or_default() += 1;
        let mut leaves = 0;
        for index in 0..512 {
            // SAFETY: a table page has 512 entries of 8 bytes.
            let pte: u64 = unsafe { pointer(pa).cast::<u64>().add(index).read() };
            let va = base + ((index as u64) << (12 + 9 * level));
            let below = pte >> 10 << 12;
            if pte & 1 == 0 || va >= limit && level == 0 {
                continue;
            }
            if level > 0 {
                assert_eq!(pte & 0xfe, 0, "entry above level 0 at {va:#x}");
                let found = self.table(below, level - 1, va, limit);
                assert!(found > 0 || va + (1 << (12 + 9 * level)) > limit, "empty table {va:#x}");
                leaves += found;
            } else {
                assert_ne!(pte & 0b1110, 0, "leaf without R, W, X at {va:#x}");
                *self.0.entry(below).or_default() += 1;
                leaves += 1;
            }
        }
        leaves
    }
}

/// Fails unless the ledger has exactly the references that these address spaces hold.
pub fn assert_ledger_agrees(spaces: &[&AddressSpace]) {
    let mut count = Count::default();
    let mut objects: Vec<SharedRef> = Vec::new();
    for space in spaces {
        count.table(space.table.root(), 2, 0, TRAPFRAME);
        for region in space.regions.iter() {
            if let Backing::Shared(object, _) = &region.backing
                && !objects.iter().any(|known| known.same(object))
            {
                objects.push(object.clone());
            }
        }
    }
    for object in objects {
        object.visit_references(|pa| *count.0.entry(pa).or_default() += 1);
    }
    for (pa, references) in count.0 {
        // SAFETY: the reference is not given up; it only lends its address.
        let frame = core::mem::ManuallyDrop::new(unsafe { Frame::from_raw(pa) });
        assert_eq!(frame.refs(), references, "references to {pa:#x}");
    }
}
