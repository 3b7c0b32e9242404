//! The modelled TLB in a trace.

use serde::{Deserialize, Serialize};

/// Why a modelled TLB missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissCause {
    /// Never seen before.
    Cold,
    /// It was there and had to give way to another page.
    Capacity,
    /// A write to `satp` flushed it.
    SatpWrite,
    /// An `sfence.vma` flushed it.
    SfenceVma,
}

/// What a modelled TLB was used for, instruction or data side, added up over the harts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlbTally {
    /// Translated accesses, if all were seen.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub accesses: Option<u64>,
    /// Misses of pages never seen before.
    pub cold: u64,
    /// Misses of pages that had to give way to others.
    pub capacity: u64,
    /// Misses of pages that a write to `satp` flushed.
    pub satp_write: u64,
    /// Misses of pages that an `sfence.vma` flushed.
    pub sfence_vma: u64,
    /// Entries that gave way to another page.
    pub evictions: u64,
    /// Flushes that dropped something.
    pub flushes: u64,
    /// Entries that flushes dropped.
    pub flushed: u64,
}

impl TlbTally {
    /// Misses of all causes.
    pub fn misses(&self) -> u64 {
        self.cold + self.capacity + self.satp_write + self.sfence_vma
    }

    /// Counts a miss.
    pub fn miss(&mut self, cause: MissCause) {
        *match cause {
            MissCause::Cold => &mut self.cold,
            MissCause::Capacity => &mut self.capacity,
            MissCause::SatpWrite => &mut self.satp_write,
            MissCause::SfenceVma => &mut self.sfence_vma,
        } += 1;
    }
}
