//! The modelled TLB: what a hart's translation cache of a given size and policy would do.
//!
//! It is separate from whatever the engine uses for speed. The architecture does not say how large
//! a TLB is or what it drops; it says what a program may rely on (`sfence.vma`). The model makes
//! that visible: which accesses would miss and why, and which would use an entry that no longer
//! agrees with the table in memory.
//!
//! The engine's fast TLB is kept a subset of the model: what the model drops, the engine drops
//! ([`Lookup::Miss`]). Then an access that hits in the engine would hit in the model, which for
//! FIFO and random replacement changes nothing in it, and the model needs to be asked only on the
//! engine's misses. LRU must see every access.

use std::str::FromStr;

use super::quick::QuickMap;
use super::record::MissCause;

/// What gives way when a set is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The entry that was filled first.
    Fifo,
    /// Any (a fixed sequence, so that runs repeat).
    Random,
    /// The entry that was used longest ago.
    Lru,
}

/// Size and behaviour: `ENTRIESxWAYS[,fifo|random|lru][,asid=on|off]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TlbConfig {
    /// Entries in all, a power of two.
    pub entries: usize,
    /// Entries in a set, a power of two, at most `entries`.
    pub ways: usize,
    /// Replacement.
    pub policy: Policy,
    /// Whether entries are tagged with their ASID; without, a `satp` write flushes.
    pub asid: bool,
}

impl TlbConfig {
    /// Whether the model must see every access, not only what misses in a smaller TLB.
    pub fn needs_every_access(&self) -> bool {
        self.policy == Policy::Lru
    }
}

impl Default for TlbConfig {
    fn default() -> TlbConfig {
        TlbConfig { entries: 64, ways: 4, policy: Policy::Fifo, asid: true }
    }
}

impl std::fmt::Display for TlbConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        let policy = match self.policy {
            Policy::Fifo => "fifo",
            Policy::Random => "random",
            Policy::Lru => "lru",
        };
        let asid = if self.asid { "on" } else { "off" };
        write!(f, "{}x{},{policy},asid={asid}", self.entries, self.ways)
    }
}

/// Largest TLB that can be modelled.
const MAX_ENTRIES: usize = 1 << 16;

impl FromStr for TlbConfig {
    type Err = String;

    fn from_str(text: &str) -> Result<TlbConfig, String> {
        let mut config = TlbConfig::default();
        let mut words = text.split(',');
        let size = words.next().unwrap_or_default();
        let (entries, ways) = size.split_once('x').ok_or_else(|| {
            format!("`{size}` is not ENTRIESxWAYS, such as 64x4 (64 entries in sets of 4)")
        })?;
        let power = |word: &str| {
            let value = word.parse::<usize>().ok().filter(|value| value.is_power_of_two());
            value.ok_or_else(|| format!("`{word}` is not a power of two"))
        };
        (config.entries, config.ways) = (power(entries)?, power(ways)?);
        if config.ways > config.entries || config.entries > MAX_ENTRIES {
            return Err(format!("{size}: at most {MAX_ENTRIES} entries, and ways at most entries"));
        }
        for word in words {
            match word {
                "fifo" => config.policy = Policy::Fifo,
                "random" => config.policy = Policy::Random,
                "lru" => config.policy = Policy::Lru,
                "asid=on" => config.asid = true,
                "asid=off" => config.asid = false,
                _ => {
                    return Err(format!(
                        "`{word}`: expected fifo, random, lru, asid=on or asid=off"
                    ));
                }
            }
        }
        Ok(config)
    }
}

/// A translation, as the walk found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    /// Virtual page number.
    pub vpn: u64,
    /// Address-space identifier.
    pub asid: u16,
    /// Level of the leaf: 0 for 4 KiB, 1 for 2 MiB, …
    pub level: u8,
    /// The leaf PTE.
    pub pte: u64,
}

impl Translation {
    const GLOBAL: u64 = 1 << 5;

    fn is_global(&self) -> bool {
        self.pte & Translation::GLOBAL != 0
    }

    fn page(&self) -> u64 {
        self.vpn >> (9 * u32::from(self.level))
    }
}

/// What an access did to the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// The translation was there; this is the cached one, which may differ from memory.
    Hit(Translation),
    /// It was not, and was filled in.
    Miss {
        /// Why it was not there.
        cause: MissCause,
        /// What gave way.
        evicted: Option<Translation>,
    },
}

/// Page sizes.
const LEVELS: usize = 5;
/// Pages whose last removal is remembered; beyond, misses count as cold.
const MAX_REMEMBERED: usize = 1 << 20;

/// PageNumbers for the pages that were accessed, for models that see the same accesses: each remembers
/// by them why a page went.
#[derive(Default)]
pub struct PageNumbers(QuickMap<u64, u32>);

impl PageNumbers {
    /// The number of a page of its level, and of its address space if TLBs tell those apart.
    pub fn of(&mut self, page: &Translation, tagged: bool) -> u32 {
        let asid = if tagged { page.asid } else { 0 };
        let key = name(page.page(), page.level) | u64::from(asid) << 48;
        let next = self.0.len();
        if next < MAX_REMEMBERED {
            *self.0.entry(key).or_insert(next as u32)
        } else {
            self.0.get(&key).copied().unwrap_or(u32::MAX)
        }
    }
}

/// One modelled TLB.
pub struct TlbModel {
    config: TlbConfig,
    /// `config.ways` places for each set; those in use come first.
    slots: Vec<Slot>,
    /// How many places of each set are in use.
    used: Vec<u32>,
    /// A bit for each set of which any is.
    occupied: Vec<u64>,
    /// Why pages went last, by their numbers.
    removed: Vec<Option<MissCause>>,
    clock: u64,
    random: u64,
    /// Entries of every level: page sizes that are not there are not looked for.
    levels: [u32; LEVELS],
}

#[derive(Clone, Copy)]
struct Slot {
    /// [`name`] of the translation.
    name: u64,
    translation: Translation,
    number: u32,
    /// When it was filled (FIFO) or used last (LRU).
    stamp: u64,
}

/// A page number and the level: 48 bits, which Sv57 needs.
fn name(page: u64, level: u8) -> u64 {
    page << 3 | u64::from(level)
}

impl TlbModel {
    /// An empty TLB.
    pub fn new(config: TlbConfig) -> TlbModel {
        let sets = config.entries / config.ways;
        let nothing = Translation { vpn: 0, asid: 0, level: 0, pte: 0 };
        TlbModel {
            config,
            slots: vec![
                Slot { name: 0, translation: nothing, number: 0, stamp: 0 };
                config.entries
            ],
            used: vec![0; sets],
            occupied: vec![0; sets.div_ceil(64)],
            removed: Vec::new(),
            clock: 0,
            // Any odd seed will do; it is fixed so that runs repeat.
            random: 0x9e37_79b9_7f4a_7c15,
            levels: [0; LEVELS],
        }
    }

    /// Whether entries are told apart by their address space.
    pub fn is_tagged(&self) -> bool {
        self.config.asid
    }

    /// An access that the table in memory translates like this. `number`: the page's, of
    /// [`PageNumbers`].
    pub fn access(&mut self, walked: Translation, number: u32) -> Lookup {
        self.clock += 1;
        if let Some(hit) = self.find(walked.vpn, walked.asid) {
            return Lookup::Hit(hit);
        }
        let known = self.removed.get(number as usize).copied().flatten();
        let evicted = self.fill(walked, number).map(|slot| {
            self.remember(slot.number, MissCause::Capacity);
            slot.translation
        });
        Lookup::Miss { cause: known.unwrap_or(MissCause::Cold), evicted }
    }

    /// The levels of which there are entries.
    fn present(&self) -> impl Iterator<Item = u8> + use<> {
        let levels = self.levels;
        (0..LEVELS as u8).filter(move |level| levels[usize::from(*level)] > 0)
    }

    /// The places of a set that are in use.
    fn set(&mut self, set: usize) -> &mut [Slot] {
        let first = set * self.config.ways;
        &mut self.slots[first..first + self.used[set] as usize]
    }

    /// Looks a page up at every page size, as hardware does.
    fn find(&mut self, vpn: u64, asid: u16) -> Option<Translation> {
        let (tagged, lru) = (self.config.asid, self.config.policy == Policy::Lru);
        for level in self.present() {
            let page = vpn >> (9 * u32::from(level));
            let (name, clock) = (name(page, level), self.clock);
            let set = self.set_of(page);
            let hit = self.set(set).iter_mut().find(|slot| {
                let cached = &slot.translation;
                slot.name == name && (!tagged || cached.asid == asid || cached.is_global())
            });
            if let Some(slot) = hit {
                if lru {
                    slot.stamp = clock;
                }
                return Some(slot.translation);
            }
        }
        None
    }

    /// Returns what gives way.
    fn fill(&mut self, translation: Translation, number: u32) -> Option<Slot> {
        let (page, level) = (translation.page(), translation.level);
        let set = self.set_of(page);
        let slot = Slot { name: name(page, level), translation, number, stamp: self.clock };
        self.levels[usize::from(level)] += 1;
        let used = self.used[set] as usize;
        if used < self.config.ways {
            self.slots[set * self.config.ways + used] = slot;
            self.used[set] += 1;
            self.occupied[set / 64] |= 1 << (set % 64);
            return None;
        }
        let victim = match self.config.policy {
            Policy::Random => {
                // xorshift64
                self.random ^= self.random << 13;
                self.random ^= self.random >> 7;
                self.random ^= self.random << 17;
                (self.random % self.config.ways as u64) as usize
            }
            Policy::Fifo | Policy::Lru => {
                let oldest = self.set(set).iter().enumerate().min_by_key(|(_, slot)| slot.stamp);
                oldest.map_or(0, |(index, _)| index)
            }
        };
        let gone = std::mem::replace(&mut self.set(set)[victim], slot);
        self.levels[usize::from(gone.translation.level)] -= 1;
        Some(gone)
    }

    /// A write to `satp`. Without ASIDs everything but global entries goes. Returns how many
    /// entries went.
    pub fn satp_written(&mut self) -> u32 {
        if self.config.asid {
            return 0;
        }
        self.remove(MissCause::SatpWrite, |cached| !cached.is_global())
    }

    /// An `sfence.vma`: all pages or the one of `va`, all address spaces or the one of `asid`
    /// (which spares global entries). Returns how many entries went.
    pub fn sfence_vma(&mut self, va: Option<u64>, asid: Option<u16>) -> u32 {
        let tagged = self.config.asid;
        let same_space = |cached: &Translation| {
            asid.is_none_or(|asid| !cached.is_global() && (!tagged || cached.asid == asid))
        };
        let Some(va) = va else { return self.remove(MissCause::SfenceVma, same_space) };
        let mut gone = 0;
        for level in self.present() {
            let page = page_bits(va) >> (12 + 9 * u32::from(level));
            let here = |cached: &Translation| {
                cached.level == level && cached.page() == page && same_space(cached)
            };
            gone += self.remove_from(self.set_of(page), MissCause::SfenceVma, here);
        }
        gone
    }

    fn remove(&mut self, cause: MissCause, goes: impl Fn(&Translation) -> bool) -> u32 {
        let mut gone = 0;
        for word in 0..self.occupied.len() {
            let mut bits = self.occupied[word];
            while bits != 0 {
                let set = 64 * word + bits.trailing_zeros() as usize;
                gone += self.remove_from(set, cause, &goes);
                bits &= bits - 1;
            }
        }
        gone
    }

    /// The others of the set stay in their order.
    fn remove_from(
        &mut self,
        set: usize,
        cause: MissCause,
        goes: impl Fn(&Translation) -> bool,
    ) -> u32 {
        let (first, used) = (set * self.config.ways, self.used[set] as usize);
        let mut kept = 0;
        for at in first..first + used {
            let slot = self.slots[at];
            if goes(&slot.translation) {
                self.levels[usize::from(slot.translation.level)] -= 1;
                self.remember(slot.number, cause);
            } else {
                self.slots[first + kept] = slot;
                kept += 1;
            }
        }
        self.used[set] = kept as u32;
        if kept == 0 {
            self.occupied[set / 64] &= !(1 << (set % 64));
        }
        (used - kept) as u32
    }

    fn remember(&mut self, number: u32, cause: MissCause) {
        let number = number as usize;
        if number < MAX_REMEMBERED {
            if number >= self.removed.len() {
                self.removed.resize((number + 1).next_power_of_two(), None);
            }
            self.removed[number] = Some(cause);
        }
    }

    fn set_of(&self, page: u64) -> usize {
        page as usize & (self.used.len() - 1)
    }

    /// Every entry that is cached now.
    pub fn entries(&self) -> impl Iterator<Item = &Translation> {
        let sets = self.slots.chunks(self.config.ways).zip(&self.used);
        sets.flat_map(|(set, used)| &set[..*used as usize]).map(|slot| &slot.translation)
    }
}

/// The bits of a virtual address that page numbers are made of (57 at the most).
fn page_bits(va: u64) -> u64 {
    va & ((1 << 57) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn page(vpn: u64, asid: u16) -> Translation {
        Translation { vpn, asid, level: 0, pte: 0xcf }
    }

    /// A model with numbers of its own.
    struct Tlb(TlbModel, PageNumbers);

    impl Tlb {
        fn new(config: TlbConfig) -> Tlb {
            Tlb(TlbModel::new(config), PageNumbers::default())
        }

        fn access(&mut self, walked: Translation) -> Lookup {
            self.0.access(walked, self.1.of(&walked, self.0.is_tagged()))
        }
    }

    fn miss(lookup: Lookup) -> Option<MissCause> {
        match lookup {
            Lookup::Hit(_) => None,
            Lookup::Miss { cause, .. } => Some(cause),
        }
    }

    #[test]
    fn every_cause_is_told_apart() {
        let mut tlb = Tlb::new("2x2,fifo,asid=off".parse().expect("valid"));
        assert_eq!(miss(tlb.access(page(1, 0))), Some(MissCause::Cold));
        assert_eq!(miss(tlb.access(page(1, 0))), None);
        tlb.access(page(2, 0));
        tlb.access(page(3, 0));
        assert_eq!(miss(tlb.access(page(1, 0))), Some(MissCause::Capacity));
        assert_eq!(tlb.0.satp_written(), 2);
        assert_eq!(miss(tlb.access(page(1, 0))), Some(MissCause::SatpWrite));
        assert_eq!(tlb.0.sfence_vma(Some(0x1000), None), 1);
        assert_eq!(miss(tlb.access(page(1, 0))), Some(MissCause::SfenceVma));
    }

    #[test]
    fn sizes_are_written_as_they_are_read() {
        for text in ["64x4,fifo,asid=on", "1x1,lru,asid=off", "512x512,random,asid=on"] {
            assert_eq!(text.parse::<TlbConfig>().expect("valid").to_string(), text);
        }
    }

    #[test]
    fn an_entry_stays_as_it_was_cached() {
        let mut tlb = Tlb::new(TlbConfig::default());
        tlb.access(page(7, 1));
        let changed = Translation { pte: 0, ..page(7, 1) };
        assert_eq!(tlb.access(changed), Lookup::Hit(page(7, 1)));
    }

    #[test]
    fn asids_and_global_pages() {
        let mut tlb = Tlb::new("64x4".parse().expect("valid"));
        let global = Translation { pte: 0xef, ..page(9, 1) };
        tlb.access(page(8, 1));
        tlb.access(global);
        assert_eq!(tlb.0.satp_written(), 0);
        assert!(miss(tlb.access(page(8, 2))).is_some());
        assert!(miss(tlb.access(page(9, 2))).is_none());
        assert_eq!(tlb.0.sfence_vma(None, Some(1)), 1);
        assert_eq!(tlb.0.sfence_vma(None, None), 2);
    }

    #[test]
    fn bad_sizes_say_what_is_wrong() {
        for (text, part) in [("64", "64x4"), ("63x4", "power"), ("4x8", "ways"), ("8x8,mru", "mru")]
        {
            let error = text.parse::<TlbConfig>().expect_err("invalid");
            assert!(error.contains(part), "{error}");
        }
    }

    proptest! {
        /// The subset property, for FIFO and random: asking the model only when a smaller cache
        /// misses gives the same misses as asking it every time.
        #[test]
        fn asking_only_on_engine_misses_counts_the_same(
            accesses in prop::collection::vec((0u64..24, prop::bool::weighted(0.05)), 1..400),
            random in any::<bool>(),
        ) {
            let policy = if random { Policy::Random } else { Policy::Fifo };
            let config = TlbConfig { entries: 8, ways: 4, policy, asid: true };
            let (mut every, mut seldom) = (Tlb::new(config), Tlb::new(config));
            let mut engine = std::collections::HashSet::new();
            for (vpn, fence) in accesses {
                if fence {
                    every.0.sfence_vma(None, None);
                    seldom.0.sfence_vma(None, None);
                    engine.clear();
                }
                let expected = miss(every.access(page(vpn, 0)));
                let mut got = None;
                if engine.insert(vpn) {
                    let lookup = seldom.access(page(vpn, 0));
                    if let Lookup::Miss { evicted: Some(victim), .. } = lookup {
                        engine.remove(&victim.vpn);
                    }
                    got = miss(lookup);
                }
                prop_assert_eq!(got, expected);
            }
        }
    }
}
