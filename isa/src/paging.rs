//! Paging: addresses, page numbers, page-table entries and `satp` (the privileged manual, "Sv39",
//! "Sv48", "Sv57", "Svnapot" and "Svpbmt"). The walk itself is the emulator's, and the kernel's.

use core::fmt;

/// Bytes in a page, as a power of two.
pub const PAGE_SHIFT: u32 = 12;
/// Bytes in a page.
pub const PAGE_SIZE: u64 = 1 << PAGE_SHIFT;
/// Entries in a page-table page, as a power of two.
pub const LEVEL_BITS: u32 = 9;
/// Entries in a page-table page.
pub const PTES_PER_PAGE: usize = 1 << LEVEL_BITS;
/// Bits of a physical page number.
pub const PPN_BITS: u32 = 44;

const OFFSET: u64 = PAGE_SIZE - 1;
const PPN_MASK: u64 = (1 << PPN_BITS) - 1;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[repr(transparent)]
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u64);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// A virtual address.
    Va
}
number! {
    /// A physical address.
    Pa
}
number! {
    /// A virtual page number: the address without its offset.
    Vpn
}
number! {
    /// A physical page number.
    Ppn
}

impl Va {
    /// The page it lies in.
    #[inline]
    pub const fn vpn(self) -> Vpn {
        Vpn(self.0 >> PAGE_SHIFT)
    }

    /// The offset within its 4 KiB page.
    #[inline]
    pub const fn offset(self) -> u64 {
        self.0 & OFFSET
    }

    /// Index into the page-table page of `level`; level 0 holds 4 KiB leaves.
    #[inline]
    pub const fn index(self, level: u32) -> usize {
        self.vpn().index(level)
    }

    /// The start of its page.
    #[inline]
    pub const fn page_start(self) -> Va {
        Va(self.0 & !OFFSET)
    }
}

impl Pa {
    /// The page it lies in.
    #[inline]
    pub const fn ppn(self) -> Ppn {
        Ppn(self.0 >> PAGE_SHIFT)
    }

    /// The offset within its 4 KiB page.
    #[inline]
    pub const fn offset(self) -> u64 {
        self.0 & OFFSET
    }
}

impl Vpn {
    /// Index into the page-table page of `level`.
    #[inline]
    pub const fn index(self, level: u32) -> usize {
        (self.0 >> (LEVEL_BITS * level)) as usize & (PTES_PER_PAGE - 1)
    }

    /// The page's first address.
    #[inline]
    pub const fn va(self) -> Va {
        Va(self.0 << PAGE_SHIFT)
    }
}

impl Ppn {
    /// The page's first address.
    #[inline]
    pub const fn pa(self) -> Pa {
        Pa(self.0 << PAGE_SHIFT)
    }
}

/// A page-table entry.
///
/// ```text
///  63  62 61  60   54  53         10  9 8  7 6 5 4 3 2 1 0
/// | N | PBMT | zero  |  PPN          | RSW |D|A|G|U|X|W|R|V|
/// ```
#[repr(transparent)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Pte(pub u64);

impl Pte {
    /// Valid.
    pub const V: u64 = 1;
    /// Readable.
    pub const R: u64 = 1 << 1;
    /// Writable.
    pub const W: u64 = 1 << 2;
    /// Executable.
    pub const X: u64 = 1 << 3;
    /// A user page.
    pub const U: u64 = 1 << 4;
    /// In all address spaces.
    pub const G: u64 = 1 << 5;
    /// Accessed.
    pub const A: u64 = 1 << 6;
    /// Dirty.
    pub const D: u64 = 1 << 7;
    /// For the supervisor's own use.
    pub const RSW: u64 = 3 << 8;
    /// Where [`Pte::RSW`] starts.
    pub const RSW_SHIFT: u32 = 8;
    /// Where the page number starts.
    pub const PPN_SHIFT: u32 = 10;
    /// The page number.
    pub const PPN: u64 = PPN_MASK << Pte::PPN_SHIFT;
    /// Must be zero.
    pub const RESERVED: u64 = 0x7f << 54;
    /// Memory type (Svpbmt): 0 as the memory is, 1 non-cacheable, 2 I/O, 3 reserved.
    pub const PBMT: u64 = 3 << 61;
    /// Where [`Pte::PBMT`] starts.
    pub const PBMT_SHIFT: u32 = 61;
    /// One of 16 pages of a naturally aligned 64 KiB range (Svnapot).
    pub const N: u64 = 1 << 63;
    /// Pages that a leaf with [`Pte::N`] stands for.
    pub const NAPOT_PAGES: u64 = 16;
    /// Low bits of the page number that say so.
    pub const NAPOT_PPN: u64 = 0b1000;

    /// An entry for this page with these flags.
    #[inline]
    pub const fn new(ppn: Ppn, flags: u64) -> Pte {
        Pte((ppn.0 & PPN_MASK) << Pte::PPN_SHIFT | flags)
    }

    /// Whether all of these bits are set.
    #[inline]
    pub const fn has(self, bits: u64) -> bool {
        self.0 & bits == bits
    }

    /// V.
    #[inline]
    pub const fn valid(self) -> bool {
        self.has(Pte::V)
    }

    /// R.
    #[inline]
    pub const fn readable(self) -> bool {
        self.has(Pte::R)
    }

    /// W.
    #[inline]
    pub const fn writable(self) -> bool {
        self.has(Pte::W)
    }

    /// X.
    #[inline]
    pub const fn executable(self) -> bool {
        self.has(Pte::X)
    }

    /// U.
    #[inline]
    pub const fn user(self) -> bool {
        self.has(Pte::U)
    }

    /// G.
    #[inline]
    pub const fn global(self) -> bool {
        self.has(Pte::G)
    }

    /// A.
    #[inline]
    pub const fn accessed(self) -> bool {
        self.has(Pte::A)
    }

    /// D.
    #[inline]
    pub const fn dirty(self) -> bool {
        self.has(Pte::D)
    }

    /// N.
    #[inline]
    pub const fn napot(self) -> bool {
        self.has(Pte::N)
    }

    /// The supervisor's own two bits.
    #[inline]
    pub const fn rsw(self) -> u64 {
        (self.0 & Pte::RSW) >> Pte::RSW_SHIFT
    }

    /// The memory type's number.
    #[inline]
    pub const fn pbmt(self) -> u64 {
        (self.0 & Pte::PBMT) >> Pte::PBMT_SHIFT
    }

    /// Whether this entry, if valid, maps a page (else it points to the next table).
    #[inline]
    pub const fn is_leaf(self) -> bool {
        self.0 & (Pte::R | Pte::W | Pte::X) != 0
    }

    /// The page number.
    #[inline]
    pub const fn ppn(self) -> Ppn {
        Ppn((self.0 & Pte::PPN) >> Pte::PPN_SHIFT)
    }

    /// The low ten bits: flags and RSW.
    #[inline]
    pub const fn flags(self) -> u64 {
        self.0 & 0x3ff
    }
}

impl fmt::Debug for Pte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pte({:#x} {self})", self.0)
    }
}

/// The flags as QEMU's `info mem` spells them: `rwxugad`, `-` where clear.
impl fmt::Display for Pte {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (bit, letter) in (1..).zip("rwxugad".chars()) {
            fmt::Write::write_char(f, if self.has(1 << bit) { letter } else { '-' })?;
        }
        Ok(())
    }
}

/// Translation modes of `satp`.
#[repr(u8)]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Mode {
    /// No translation.
    #[default]
    Bare = 0,
    /// Three levels, 39-bit addresses.
    Sv39 = 8,
    /// Four levels, 48-bit addresses.
    Sv48 = 9,
    /// Five levels, 57-bit addresses.
    Sv57 = 10,
}

impl Mode {
    /// The mode with this number in `satp`.
    #[inline]
    pub const fn from_bits(bits: u64) -> Option<Mode> {
        match bits {
            0 => Some(Mode::Bare),
            8 => Some(Mode::Sv39),
            9 => Some(Mode::Sv48),
            10 => Some(Mode::Sv57),
            _ => None,
        }
    }

    /// Levels of the page table; none for bare.
    #[inline]
    pub const fn levels(self) -> u32 {
        match self {
            Mode::Bare => 0,
            Mode::Sv39 => 3,
            Mode::Sv48 => 4,
            Mode::Sv57 => 5,
        }
    }

    /// Bits of a virtual address.
    #[inline]
    pub const fn va_bits(self) -> u32 {
        match self {
            Mode::Bare => 64,
            _ => PAGE_SHIFT + LEVEL_BITS * self.levels(),
        }
    }

    /// Whether the bits above the mode's own repeat its topmost one.
    #[inline]
    pub const fn is_canonical(self, va: Va) -> bool {
        let unused = 64 - self.va_bits();
        ((va.0 << unused) as i64 >> unused) as u64 == va.0
    }

    /// Its name in the device tree's `mmu-type`, without the `riscv,`.
    pub const fn name(self) -> &'static str {
        match self {
            Mode::Bare => "bare",
            Mode::Sv39 => "sv39",
            Mode::Sv48 => "sv48",
            Mode::Sv57 => "sv57",
        }
    }
}

/// Bytes that a leaf at `level` maps: 4 KiB, 2 MiB, 1 GiB, 512 GiB, 256 TiB.
#[inline]
pub const fn leaf_size(level: u32) -> u64 {
    PAGE_SIZE << (LEVEL_BITS * level)
}

/// The fields of `satp`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Satp {
    /// Translation mode.
    pub mode: Mode,
    /// Address-space identifier: all 16 bits are implemented.
    pub asid: u16,
    /// Root of the page table.
    pub ppn: Ppn,
}

impl Satp {
    /// The fields of this value; `None` if its mode is not supported, in which case a write
    /// changes nothing.
    #[inline]
    pub const fn from_bits(bits: u64) -> Option<Satp> {
        match Mode::from_bits(bits >> 60) {
            Some(mode) => Some(Satp { mode, asid: (bits >> 44) as u16, ppn: Ppn(bits & PPN_MASK) }),
            None => None,
        }
    }

    /// The register's value.
    #[inline]
    pub const fn bits(self) -> u64 {
        (self.mode as u64) << 60 | (self.asid as u64) << 44 | self.ppn.0
    }
}
