//! A look into page tables that changes nothing: the trace's own walk.
//!
//! It shares no code with the machine's walk on purpose: what explains a fault should not repeat
//! a mistake of what caused it.

use crate::mem::Ram;

const V: u64 = 1;
const RWX: u64 = 0b1110;
const PPN_SHIFT: u32 = 10;
const PPN_MASK: u64 = (1 << 44) - 1;

/// What a table says about an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The last entry that was read: a leaf, or the entry at which there was nothing.
    pub pte: u64,
    /// Its level, 0 for pages of 4 KiB.
    pub level: u32,
    /// The physical address, when the entry is a valid leaf.
    pub pa: Option<u64>,
}

/// Follows the table of `satp` to `va`; nothing when translation is off or the table lies outside
/// of memory.
pub fn look(ram: &Ram, satp: u64, va: u64) -> Option<Seen> {
    let levels = match satp >> 60 {
        8 => 3,
        9 => 4,
        10 => 5,
        _ => return None,
    };
    if !is_canonical(satp, va) {
        return Some(Seen::default());
    }
    let mut table = (satp & PPN_MASK) << 12;
    for level in (0..levels).rev() {
        let index = va >> (12 + 9 * level) & 0x1ff;
        let pte = ram.read::<u64>(table.checked_add(8 * index)?).ok()?;
        let next = (pte >> PPN_SHIFT & PPN_MASK) << 12;
        if pte & V == 0 {
            return Some(Seen { pte, level, pa: None });
        }
        if pte & RWX != 0 {
            let below = (1u64 << (12 + 9 * level)) - 1;
            return Some(Seen { pte, level, pa: Some(next & !below | va & below) });
        }
        table = next;
    }
    Some(Seen::default())
}

/// Whether the bits above those that the table of `satp` translates all equal the highest of them.
pub fn is_canonical(satp: u64, va: u64) -> bool {
    let unused = match satp >> 60 {
        8 => 25,
        9 => 16,
        10 => 7,
        _ => 0,
    };
    ((va << unused) as i64 >> unused) as u64 == va
}

/// Whether a page of memory holds nothing but zeros.
pub fn is_zero(ram: &Ram, pa: u64) -> bool {
    ram.bytes(pa & !0xfff, 4096).is_some_and(|page| *page == [0; 4096])
}

/// Whether two pages of memory hold the same.
pub fn is_same(ram: &Ram, a: u64, b: u64) -> bool {
    ram.bytes(a & !0xfff, 4096) == ram.bytes(b & !0xfff, 4096)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::board::RAM_BASE;

    #[test]
    fn leaves_gaps_and_wild_tables() {
        let mut ram = Ram::new(1 << 16).expect("memory");
        let satp = 8 << 60 | RAM_BASE >> 12;
        let pointer = |pa: u64| pa >> 12 << 10 | V;
        ram.write::<u64>(RAM_BASE, pointer(RAM_BASE + 0x1000)).expect("inside");
        ram.write::<u64>(RAM_BASE + 0x1000, pointer(RAM_BASE + 0x2000)).expect("inside");
        ram.write::<u64>(RAM_BASE + 0x2008, pointer(RAM_BASE + 0x3000) | 0x16).expect("inside");
        let leaf = look(&ram, satp, 0x1234).expect("a table");
        assert_eq!((leaf.pa, leaf.level), (Some(RAM_BASE + 0x3234), 0));
        assert_eq!(look(&ram, satp, 0x2000), Some(Seen::default()));
        assert_eq!(look(&ram, satp, 1 << 30), Some(Seen { level: 2, ..Seen::default() }));
        assert_eq!(look(&ram, satp, 1 << 39 | 0x1234), Some(Seen::default()));
        assert_eq!(look(&ram, 8 << 60 | 5, 0), None);
        assert_eq!(look(&ram, 0, 0), None);
        assert!(is_zero(&ram, RAM_BASE + 0x3000) && !is_zero(&ram, RAM_BASE));
    }
}
