//! What an address space promises: regions, in order of their addresses.
//!
//! A region says what an access means and what a page that is still absent will contain. The
//! page table says only what is there already.

use core::ops::Range;

use abi::layout::PGSIZE;
use abi::mman::{PROT_EXEC, PROT_READ, PROT_WRITE};
use abi::stat::RegionKind;

use super::file::FileHandle;
use super::pagetable::{PTE_R, PTE_U, PTE_W, PTE_X};
use super::pagevec::PageVec;
use super::shared::SharedRef;

/// What an instruction, or the kernel on behalf of a system call, wants from a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A load.
    Read,
    /// A store or an atomic operation.
    Write,
    /// An instruction fetch.
    Execute,
}

/// What user mode may do in a region: `PROT_*` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prot(u32);

impl Prot {
    /// Reading.
    pub const R: Prot = Prot(PROT_READ);
    /// Reading and writing.
    pub const RW: Prot = Prot(PROT_READ | PROT_WRITE);
    /// Reading and executing.
    pub const RX: Prot = Prot(PROT_READ | PROT_EXEC);

    /// From `PROT_*` bits; others are ignored. Writing implies reading, since the hardware
    /// reserves the encoding for write-only pages.
    pub fn from_bits(bits: u32) -> Prot {
        let implied = if bits & PROT_WRITE != 0 { PROT_READ } else { 0 };
        Prot((bits | implied) & (PROT_READ | PROT_WRITE | PROT_EXEC))
    }

    /// As `PROT_*` bits.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether the access is allowed.
    pub fn allows(self, access: Access) -> bool {
        self.0
            & match access {
                Access::Read => PROT_READ,
                Access::Write => PROT_WRITE,
                Access::Execute => PROT_EXEC,
            }
            != 0
    }

    /// The flags of a page-table entry that say the same to the hardware.
    pub fn pte_flags(self) -> u64 {
        let flag = |bit, flag| if self.0 & bit != 0 { flag } else { 0 };
        PTE_U | flag(PROT_READ, PTE_R) | flag(PROT_WRITE, PTE_W) | flag(PROT_EXEC, PTE_X)
    }
}

/// Where the pages of a region come from.
#[derive(Clone)]
pub enum Backing {
    /// Loaded from the program's file.
    Image,
    /// The page below the stack, which is present to the kernel only.
    Guard,
    /// Zeros: the user stack.
    Stack,
    /// Zeros: between stack and break.
    Heap,
    /// Zeros: anonymous memory of this process alone.
    Anon,
    /// The pages of a shared object, from this byte of it on.
    Shared(SharedRef, u64),
    /// Copies of a file's pages, from this byte of it on.
    File(FileHandle, u64),
}

impl Backing {
    /// Whether writes are seen by other processes.
    pub fn is_shared(&self) -> bool {
        matches!(self, Backing::Shared(..))
    }

    /// Whether `munmap` may take it away.
    pub fn is_mapping(&self) -> bool {
        matches!(self, Backing::Anon | Backing::Shared(..) | Backing::File(..))
    }

    /// The same backing, `bytes` further on.
    fn advanced(&self, bytes: u64) -> Backing {
        let mut backing = self.clone();
        if let Backing::Shared(_, offset) | Backing::File(_, offset) = &mut backing {
            *offset += bytes;
        }
        backing
    }
}

/// A range of pages of one kind.
#[derive(Clone)]
pub struct Region {
    /// First address; page aligned.
    pub start: u64,
    /// One beyond the last address; page aligned.
    pub end: u64,
    /// What user mode may do there.
    pub prot: Prot,
    /// Where its pages come from.
    pub backing: Backing,
}

impl Region {
    /// The addresses of the region.
    pub fn range(&self) -> Range<u64> {
        self.start..self.end
    }

    /// The region's addresses that also lie in `range`.
    pub fn intersection(&self, range: &Range<u64>) -> Range<u64> {
        self.start.max(range.start)..self.end.min(range.end)
    }

    /// Number of pages.
    pub fn pages(&self) -> u64 {
        (self.end - self.start) / PGSIZE
    }

    /// The kind, as `regions(2)` reports it.
    pub fn kind(&self) -> RegionKind {
        match &self.backing {
            Backing::Image => RegionKind::Image,
            Backing::Guard => RegionKind::Guard,
            Backing::Stack => RegionKind::Stack,
            Backing::Heap => RegionKind::Heap,
            Backing::Anon => RegionKind::AnonPrivate,
            Backing::Shared(object, _) if object.file().is_some() => RegionKind::FileShared,
            Backing::Shared(..) => RegionKind::AnonShared,
            Backing::File(..) => RegionKind::FilePrivate,
        }
    }

    /// The part of the region from `start` on.
    fn tail(&self, start: u64) -> Region {
        let backing = self.backing.advanced(start - self.start);
        Region { start, end: self.end, prot: self.prot, backing }
    }
}

/// Regions that do not overlap, in order of their addresses.
#[derive(Default)]
pub struct RegionSet {
    regions: PageVec<Region>,
}

impl RegionSet {
    /// No region.
    pub const fn new() -> RegionSet {
        RegionSet { regions: PageVec::new() }
    }

    /// Index of the first region that ends above `va`.
    fn index(&self, va: u64) -> usize {
        self.regions.partition_point(|region| region.end <= va)
    }

    /// The first region that ends above `va`: the one that contains `va`, or the next one.
    pub fn at_or_above(&self, va: u64) -> Option<&Region> {
        self.regions.get(self.index(va))
    }

    /// The region that contains `va`.
    pub fn find(&self, va: u64) -> Option<&Region> {
        self.at_or_above(va).filter(|region| region.start <= va)
    }

    /// Whether a region contains any address of `range`.
    pub fn overlaps(&self, range: &Range<u64>) -> bool {
        self.at_or_above(range.start).is_some_and(|region| region.start < range.end)
    }

    /// The regions from the lowest to the highest.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Region> {
        self.regions.iter()
    }

    /// The region with this number, counted from the lowest.
    pub fn get(&self, index: usize) -> Option<&Region> {
        self.regions.get(index)
    }

    /// Adds a region where there is none; `None` when memory is used up.
    pub fn insert(&mut self, region: Region) -> Option<()> {
        assert!(region.start < region.end && !self.overlaps(&region.range()));
        let index = self.index(region.start);
        self.regions.insert(index, region).ok()
    }

    /// Extends the heap region that ends at `start` to `end`, or begins one there.
    pub fn grow_heap(&mut self, start: u64, end: u64) -> Option<()> {
        assert!(!self.overlaps(&(start..end)));
        let below = self.index(start).checked_sub(1).and_then(|i| self.regions.get_mut(i));
        if let Some(region) = below
            && region.end == start
            && matches!(region.backing, Backing::Heap)
        {
            region.end = end;
            return Some(());
        }
        self.insert(Region { start, end, prot: Prot::RW, backing: Backing::Heap })
    }

    /// Takes `range` out of the set: regions lose their head or tail, or vanish. If a region
    /// is split, which takes memory, `None` says that there is none and nothing changed.
    pub fn remove(&mut self, range: Range<u64>) -> Option<()> {
        if range.is_empty() {
            return Some(());
        }
        let mut index = self.index(range.start);
        if let Some(region) = self.regions.get(index)
            && region.start < range.start
            && range.end < region.end
        {
            let tail = region.tail(range.end);
            self.regions.insert(index + 1, tail).ok()?;
        }
        while let Some(region) = self.regions.get_mut(index)
            && region.start < range.end
        {
            if region.start < range.start {
                region.end = range.start;
                index += 1;
            } else if range.end < region.end {
                *region = region.tail(range.end);
            } else {
                drop(self.regions.remove(index));
            }
        }
        Some(())
    }

    /// The highest free range of `bytes` bytes between `floor` and `ceiling`.
    pub fn highest_gap(&self, bytes: u64, floor: u64, ceiling: u64) -> Option<u64> {
        let mut top = ceiling;
        for region in self.iter().rev() {
            let bottom = region.end.max(floor);
            if top >= bottom && top - bottom >= bytes {
                return Some(top - bytes);
            }
            top = top.min(region.start);
        }
        (top >= floor && top - floor >= bytes).then(|| top - bytes)
    }

    /// A copy, with shared objects and files referenced once more; `None` when memory is
    /// used up.
    pub fn duplicate(&self) -> Option<RegionSet> {
        let mut copy = RegionSet::new();
        for region in self.iter() {
            copy.regions.push(region.clone()).ok()?;
        }
        Some(copy)
    }
}
