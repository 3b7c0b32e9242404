//! Physical memory protection: sixteen entries, granularity four bytes.
//!
//! Source: privileged manual, "Physical Memory Protection". The active entries are kept as ranges,
//! because every step of every page-table walk is checked.
//!
//! With entries implemented, S- and U-mode may access only what an entry allows. Kernels written
//! for machines without PMP never touch it; for them everything is open until the first write to
//! one of its registers (the manual lets a platform choose the reset state).

use isa::Priv;
use isa::csr::pmpcfg::{A, ADDR_MASK, L, MASK, NA4, OFF, R, TOR, W, X};

use super::Access;

/// Entries implemented.
pub const ENTRIES: usize = 16;

/// An active entry: physical addresses `start..end`, and its configuration byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    start: u64,
    end: u64,
    config: u8,
}

/// The registers.
#[derive(Clone, Debug)]
pub struct Pmp {
    config: [u8; ENTRIES],
    address: [u64; ENTRIES],
    /// The active entries, highest priority first.
    ranges: Vec<Range>,
    /// No register was ever written.
    open: bool,
}

impl Default for Pmp {
    fn default() -> Pmp {
        Pmp { config: [0; ENTRIES], address: [0; ENTRIES], ranges: Vec::new(), open: true }
    }
}

impl Pmp {
    /// Whether `length` bytes at `pa` may be accessed with this privilege.
    ///
    /// The entry with the lowest number that matches any byte decides; it must match all.
    #[inline]
    pub fn allows(&self, pa: u64, length: u64, access: Access, privilege: Priv) -> bool {
        let end = pa.saturating_add(length);
        let Some(range) = self.ranges.iter().find(|range| pa < range.end && range.start < end)
        else {
            return privilege == Priv::Machine || self.open;
        };
        if pa < range.start || range.end < end {
            return false;
        }
        let wanted = match access {
            Access::Fetch => X,
            Access::Load => R,
            Access::Store => W,
        };
        range.config & wanted != 0 || privilege == Priv::Machine && range.config & L == 0
    }

    /// `pmpcfg` register number `index`, which must be even: eight entries' bytes.
    pub fn config(&self, index: usize) -> u64 {
        let entry = |n: usize| self.config.get(index * 4 + n).copied().unwrap_or(0);
        u64::from_le_bytes(std::array::from_fn(entry))
    }

    /// Writes eight entries' bytes; locked ones stay, as do those that would become W without R.
    pub fn set_config(&mut self, index: usize, value: u64) {
        for (n, byte) in value.to_le_bytes().into_iter().enumerate() {
            let byte = byte & MASK;
            if let Some(config) = self.config.get_mut(index * 4 + n)
                && *config & L == 0
                && byte & (R | W) != W
            {
                *config = byte;
            }
        }
        self.changed();
    }

    /// `pmpaddr` register number `index`; zero for those that are not implemented.
    pub fn address(&self, index: usize) -> u64 {
        self.address.get(index).copied().unwrap_or(0)
    }

    /// Writes an address, unless its entry or the range that ends at the next one is locked.
    pub fn set_address(&mut self, index: usize, value: u64) {
        let locked_by_next =
            self.config.get(index + 1).is_some_and(|next| next & L != 0 && next & A == TOR);
        if let Some(address) = self.address.get_mut(index)
            && self.config[index] & L == 0
            && !locked_by_next
        {
            *address = value & ADDR_MASK;
        }
        self.changed();
    }

    fn changed(&mut self) {
        self.open = false;
        self.ranges.clear();
        for (n, config) in self.config.into_iter().enumerate() {
            let address = self.address[n];
            let (start, end) = match config & A {
                OFF => continue,
                TOR => (if n == 0 { 0 } else { self.address[n - 1] << 2 }, address << 2),
                NA4 => (address << 2, (address << 2) + 4),
                _ => napot(address),
            };
            if start < end {
                self.ranges.push(Range { start, end, config });
            }
        }
    }
}

/// The range of a NAPOT address register: with k trailing ones, 2^(k+3) bytes.
fn napot(address: u64) -> (u64, u64) {
    let ones = address.trailing_ones();
    let size = 8u64 << ones;
    let start = (address & !((1 << ones) - 1)) << 2;
    (start, start + size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use isa::csr::pmpcfg::NAPOT;

    const S: Priv = Priv::Supervisor;
    const M: Priv = Priv::Machine;

    fn pmp(entries: &[(u8, u64)]) -> Pmp {
        let mut pmp = Pmp::default();
        for (n, (_, address)) in entries.iter().enumerate() {
            pmp.set_address(n, *address);
        }
        for half in 0..2 {
            let byte = |n: usize| entries.get(half * 8 + n).map_or(0, |entry| entry.0);
            pmp.set_config(half * 2, u64::from_le_bytes(std::array::from_fn(byte)));
        }
        pmp
    }

    #[test]
    fn untouched_registers_leave_memory_open() {
        let mut pmp = Pmp::default();
        assert!(pmp.allows(0x8000_0000, 8, Access::Store, Priv::User));
        pmp.set_config(0, 0);
        assert!(!pmp.allows(0x8000_0000, 8, Access::Load, Priv::User));
        assert!(!pmp.allows(0x8000_0000, 8, Access::Load, S));
        assert!(pmp.allows(0x8000_0000, 8, Access::Load, M));
    }

    #[test]
    fn napot_ranges() {
        assert_eq!(napot(0), (0, 8));
        assert_eq!(napot(0b1000_0111), (0x200, 0x240));
        assert_eq!(napot(ADDR_MASK), (0, 8 << 54));
        let pmp = pmp(&[(NAPOT | R, 0x2000_01ff)]);
        assert!(pmp.allows(0x8000_0000, 8, Access::Load, S));
        assert!(pmp.allows(0x8000_0ff8, 8, Access::Load, S));
        assert!(!pmp.allows(0x8000_0ffc, 8, Access::Load, S), "partial match fails");
        assert!(!pmp.allows(0x8000_0ffc, 8, Access::Load, M), "partial match fails in M, too");
        assert!(!pmp.allows(0x8000_1000, 8, Access::Load, S));
        assert!(!pmp.allows(0x8000_0000, 8, Access::Store, S));
        assert!(pmp.allows(0x8000_0000, 8, Access::Store, M), "not locked");
    }

    #[test]
    fn tor_starts_at_the_previous_address() {
        let pmp = pmp(&[(OFF, 0x1000), (TOR | R | W, 0x2000), (NA4 | X, 0x1800)]);
        assert!(!pmp.allows(0x3ffc, 4, Access::Load, S));
        assert!(pmp.allows(0x4000, 4, Access::Load, S));
        assert!(pmp.allows(0x7ffc, 4, Access::Store, S));
        assert!(!pmp.allows(0x8000, 4, Access::Load, S));
        assert!(!pmp.allows(0x6000, 4, Access::Fetch, S), "the lowest number decides");
        let first = super::tests::pmp(&[(TOR | X, 0x100)]);
        assert!(first.allows(0, 4, Access::Fetch, S));
        let empty = super::tests::pmp(&[(OFF, 0x200), (TOR | R, 0x100)]);
        assert!(!empty.allows(0x400, 4, Access::Load, S));
    }

    #[test]
    fn locks_hold_and_bind_machine_mode() {
        let mut pmp = pmp(&[(OFF, 0x1000), (TOR | R | L, 0x2000)]);
        assert!(!pmp.allows(0x4000, 4, Access::Store, M));
        pmp.set_config(0, 0);
        pmp.set_address(1, 0);
        pmp.set_address(0, 0);
        assert_eq!(pmp.config(0), u64::from(TOR | R | L) << 8);
        assert_eq!((pmp.address(0), pmp.address(1)), (0x1000, 0x2000));
    }

    #[test]
    fn registers_are_warl() {
        let mut pmp = Pmp::default();
        pmp.set_config(0, u64::from(W));
        assert_eq!(pmp.config(0), 0, "W without R is reserved");
        pmp.set_config(2, 0x6000_0000_0000_0060);
        assert_eq!(pmp.config(2), 0, "bits 5 and 6 read zero");
        pmp.set_address(15, u64::MAX);
        assert_eq!(pmp.address(15), ADDR_MASK);
        pmp.set_address(16, 1);
        assert_eq!((pmp.address(16), pmp.config(4)), (0, 0));
    }
}
