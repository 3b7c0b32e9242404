//! A case: all that decides a run, in parts that can be made simpler one by one.

use isa::Priv;
use isa::paging::Ppn;
use isa::paging::{Mode, Pte, Satp};

use crate::layout::*;
use crate::random::Random;
use crate::stubs;

/// The word of an instruction that does nothing.
pub const NOP: u32 = 0x13;

/// What a stream may contain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Anything: all engines of ours have to agree on it.
    Ours,
    /// What ends by itself, and on which implementations may not differ.
    Qemu,
}

/// Timer interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// The time of the first.
    pub first: u64,
    /// From one to the next.
    pub every: u64,
    /// It is S-mode's.
    pub supervisor: bool,
}

/// A case.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it was made from.
    pub seed: u64,
    /// What it may contain.
    pub kind: Kind,
    /// Harts that run.
    pub harts: usize,
    /// Instructions of a turn.
    pub turn: u64,
    /// Instructions until the comparison ends.
    pub insns: u64,
    /// A and D are updated by the machine.
    pub hardware_ad: bool,
    /// The mode in which streams start.
    pub start: Priv,
    /// `mstatus` then.
    pub mstatus: u64,
    /// `fcsr` then.
    pub fcsr: u64,
    /// `medeleg`.
    pub medeleg: u64,
    /// `mideleg`.
    pub mideleg: u64,
    /// `mie`.
    pub mie: u64,
    /// Streams start with translation.
    pub paging: bool,
    /// The mode of translation.
    pub mode: Mode,
    /// Interrupts to M-mode, and to S-mode, have a vector each.
    pub vectored: [bool; 2],
    /// Timer interrupts.
    pub timer: Option<Timer>,
    /// Instructions that do nothing before the stream, to move it in time.
    pub pad: u64,
    /// Rounds of the stream until the exit.
    pub rounds: u64,
    /// The streams, in words, and where they start in their pages.
    pub streams: Vec<(u64, Vec<u32>)>,
    /// Integer registers, of each hart; bases are offsets in the region.
    pub x: Vec<[u64; 32]>,
    /// Which registers are bases.
    pub bases: Vec<u8>,
    /// Floating-point registers.
    pub f: [u64; 32],
    /// Instructions of the pool.
    pub insts: Vec<u32>,
    /// PTEs of the pool: with physical page numbers that are counted from the region's start.
    pub ptes: Vec<u64>,
    /// Leaves that differ from the usual: table, page, PTE likewise.
    pub leaves: Vec<(usize, u64, u64)>,
    /// What data is made from.
    pub data: u64,
}

/// Flags of an ordinary leaf.
pub const RW: u64 = Pte::V | Pte::R | Pte::W | Pte::A | Pte::D;

/// A PTE that is counted from the region's start, for a region at `base`.
pub fn relocate(pte: u64, base: u64) -> u64 {
    pte.wrapping_add(base >> 12 << 10)
}

impl Case {
    /// Where the stream of a hart is, from the region's start.
    pub fn stream(&self, hart: usize) -> u64 {
        (CODE + CODE_PAGES * hart as u64) * PAGE + self.streams[hart].0
    }

    /// What follows the stream of a hart.
    pub fn end(&self, hart: usize) -> u64 {
        self.stream(hart) + 4 * self.streams[hart].1.len() as u64
    }

    /// `satp` of one of the two address spaces.
    pub fn satp(&self, base: u64, space: usize) -> u64 {
        let root = match self.mode {
            Mode::Sv48 => UPPERS[0][space],
            Mode::Sv57 => UPPERS[1][space],
            _ => ROOTS[space],
        };
        Satp { mode: self.mode, asid: space as u16, ppn: Ppn((base >> 12) + root) }.bits()
    }

    /// Values for `stvec` and `mtvec`.
    pub fn vectors(&self, base: u64) -> [u64; 2] {
        let [machine, supervisor] = self.vectored.map(u64::from);
        [base + SUPERVISOR_VECTORS + supervisor, base + VECTORS + machine]
    }

    /// The address at which a hart starts.
    pub fn entry(base: u64, hart: usize) -> u64 {
        base + HANDLERS * PAGE + ENTRY + ENTRY_SIZE * hart as u64
    }

    /// The region at `base`; what comes after the exit is at `next`.
    pub fn image(&self, base: u64, next: u64) -> Vec<u8> {
        let mut image = Image { base, bytes: vec![0; REGION as usize] };
        let mut random = Random::new(self.data);
        for word in 0..DATA_PAGES * PAGE / 8 {
            image.put(DATA * PAGE + 8 * word, random.float());
        }
        image.words(HANDLERS * PAGE, &stubs::machine(self, base));
        image.words(HANDLERS * PAGE + SUPERVISOR, &stubs::supervisor(self));
        image.words(HANDLERS * PAGE + EXIT, &stubs::exit());
        image.words(HANDLERS * PAGE + VECTORS, &stubs::vectors(VECTORS, 0));
        let supervisor = stubs::vectors(SUPERVISOR_VECTORS, SUPERVISOR);
        image.words(HANDLERS * PAGE + SUPERVISOR_VECTORS, &supervisor);
        let control = CONTROL * PAGE;
        for hart in 0..self.harts {
            let entry = Case::entry(0, hart);
            image.words(entry, &stubs::entry(self, base, hart));
            image.words(self.stream(hart), &self.streams[hart].1);
            image.words(self.end(hart), &stubs::end(self, hart));
            image.put(control + END + 8 * hart as u64, base + self.end(hart));
            for (number, &value) in self.x[hart].iter().enumerate() {
                let based = self.bases.contains(&(number as u8));
                let value = if based { base.wrapping_add(value) } else { value };
                let value = if number as u8 == ROUNDS { self.rounds } else { value };
                image.put(control + X + 0x100 * hart as u64 + 8 * number as u64, value);
            }
        }
        for (number, &value) in self.f.iter().enumerate() {
            image.put(control + F + 8 * number as u64, value);
        }
        image.put(control + NEXT, next);
        // The address whose low bits are zero is that of a full list.
        image.put(control + TRAP, base + (TRAPS + 1) * PAGE - TRAP_SIZE);
        image.words(POOL * PAGE + POOL_INSTS, &self.insts);
        for (n, &pte) in self.ptes.iter().enumerate() {
            image.put(POOL * PAGE + POOL_PTES + 8 * n as u64, relocate(pte, base));
        }
        let [one, two] = [0, 1].map(|space| self.satp(base, space));
        let modes = [1, 3].map(|bits| one ^ bits << 60);
        for (n, satp) in [one, two, 0, one ^ 7 << 44].into_iter().chain(modes).enumerate() {
            image.put(POOL * PAGE + POOL_SATPS + 8 * n as u64, satp);
        }
        self.tables(&mut image);
        image.bytes
    }

    /// Writes the page tables, and the list of what they hold.
    fn tables(&self, image: &mut Image) {
        let base = image.base;
        let mut entries = Vec::new();
        let mut entry = |page: u64, slot: u64, to: u64, flags: u64| {
            entries.push((page * PAGE + 8 * slot, Pte::new(Ppn((base >> 12) + to), flags).0));
        };
        let slot = |va: u64, level: u32| va >> (12 + 9 * level) & 511;
        for (root, middle) in ROOTS.into_iter().zip(&MIDDLES[1..]) {
            entry(root, slot(base, 2), MIDDLES[0], Pte::V);
            entry(root, slot(base | ALIAS, 2), *middle, Pte::V);
        }
        for ([four, five], root) in (0..2).map(|space| UPPERS.map(|pages| pages[space])).zip(ROOTS)
        {
            entry(five, 0, four, Pte::V);
            entry(four, 0, root, Pte::V);
            entry(four, HIGH >> 39, root, Pte::V);
        }
        for (middle, leaves) in MIDDLES.into_iter().zip(LEAVES) {
            entry(middle, slot(base, 1), leaves, Pte::V);
        }
        entry(MIDDLES[0], slot(base + SUPERPAGE, 1), 0, RW | Pte::U);
        for page in 0..PAGES {
            let identity = match page {
                HANDLERS => RW | Pte::X,
                CODE..DATA => RW | Pte::X,
                DATA..SPARE | POOL => RW | Pte::U,
                _ => RW,
            };
            entry(LEAVES[0], slot(base, 0) + page, page, identity);
            for (space, table) in LEAVES[1..].iter().enumerate() {
                let (to, flags) = match page {
                    CODE..DATA => (page, RW | Pte::X | Pte::U),
                    DATA..SPARE if space == 1 => (DATA + SPARE - 1 - page, RW | Pte::U),
                    DATA..SPARE => (page, RW | Pte::U),
                    _ => (page, 0),
                };
                entry(*table, slot(base, 0) + page, to, flags);
            }
        }
        for &(table, page, pte) in &self.leaves {
            entries.push((LEAVES[table] * PAGE + 8 * (slot(base, 0) + page), relocate(pte, base)));
        }
        for (n, &(at, pte)) in entries.iter().enumerate() {
            image.put(at, pte);
            image.put(HEAL * PAGE + 16 * n as u64, base + at);
            image.put(HEAL * PAGE + 16 * n as u64 + 8, pte);
        }
    }
}

/// A region in the making.
struct Image {
    base: u64,
    bytes: Vec<u8>,
}

impl Image {
    fn put(&mut self, at: u64, value: u64) {
        self.bytes[at as usize..at as usize + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn words(&mut self, at: u64, words: &[u32]) {
        for (n, word) in words.iter().enumerate() {
            let at = at as usize + 4 * n;
            debug_assert!(self.bytes[at..at + 4] == [0; 4], "code at {at:#x} overlaps");
            self.bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        }
    }
}
