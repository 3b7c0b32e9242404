//! The one list of extensions that exist, from which `misa`, the device tree's `riscv,isa` and
//! the decoder follow (naming and order: the unprivileged manual, "ISA Extension Naming").

use core::fmt;

/// An extension, or a privilege mode that has a letter in `misa`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ext {
    /// Base integer instructions.
    I,
    /// Multiplication and division.
    M,
    /// Atomics.
    A,
    /// 32-bit floating point.
    F,
    /// 64-bit floating point.
    D,
    /// 16-bit encodings.
    C,
    /// Bit manipulation as a whole: Zba, Zbb and Zbs.
    B,
    /// Supervisor mode.
    S,
    /// User mode.
    U,
    /// Cache-block management.
    Zicbom,
    /// Cache-block zero.
    Zicboz,
    /// `cycle`, `time`, `instret`.
    Zicntr,
    /// CSR instructions.
    Zicsr,
    /// `fence.i`.
    Zifencei,
    /// `pause`.
    Zihintpause,
    /// Hardware performance counters.
    Zihpm,
    /// Address generation.
    Zba,
    /// Basic bit manipulation.
    Zbb,
    /// Carry-less multiplication.
    Zbc,
    /// Single bits.
    Zbs,
    /// Supervisor timer compare.
    Sstc,
    /// Hardware update of A and D, switched by `menvcfg.ADUE`.
    Svadu,
    /// Fine-grained address-translation invalidation.
    Svinval,
    /// Naturally aligned power-of-two mappings.
    Svnapot,
    /// Page-based memory types.
    Svpbmt,
}

/// One line of the list.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The extension.
    pub ext: Ext,
    /// Its name in the `riscv,isa` string; empty where the string does not mention it.
    pub name: &'static str,
    /// Its letter in `misa`, if it has one.
    pub letter: Option<u8>,
}

const fn letter(ext: Ext, letter: u8, name: &'static str) -> Entry {
    Entry { ext, name, letter: Some(letter) }
}

const fn named(ext: Ext, name: &'static str) -> Entry {
    Entry { ext, name, letter: None }
}

/// THE list, in the order of the `riscv,isa` string.
pub const LIST: [Entry; 25] = [
    letter(Ext::I, b'I', "i"),
    letter(Ext::M, b'M', "m"),
    letter(Ext::A, b'A', "a"),
    letter(Ext::F, b'F', "f"),
    letter(Ext::D, b'D', "d"),
    letter(Ext::C, b'C', "c"),
    // Modes are not extensions of the string; B is spelled there as zba, zbb and zbs.
    letter(Ext::B, b'B', ""),
    letter(Ext::S, b'S', ""),
    letter(Ext::U, b'U', ""),
    named(Ext::Zicbom, "zicbom"),
    named(Ext::Zicboz, "zicboz"),
    named(Ext::Zicntr, "zicntr"),
    named(Ext::Zicsr, "zicsr"),
    named(Ext::Zifencei, "zifencei"),
    named(Ext::Zihintpause, "zihintpause"),
    named(Ext::Zihpm, "zihpm"),
    named(Ext::Zba, "zba"),
    named(Ext::Zbb, "zbb"),
    named(Ext::Zbc, "zbc"),
    named(Ext::Zbs, "zbs"),
    named(Ext::Sstc, "sstc"),
    named(Ext::Svadu, "svadu"),
    named(Ext::Svinval, "svinval"),
    named(Ext::Svnapot, "svnapot"),
    named(Ext::Svpbmt, "svpbmt"),
];

/// Whether the list has this extension.
pub const fn has(ext: Ext) -> bool {
    let mut i = 0;
    while i < LIST.len() {
        if LIST[i].ext as u8 == ext as u8 {
            return true;
        }
        i += 1;
    }
    false
}

/// `misa`: MXL = 2 (64 bits) and one bit for each letter.
pub const fn misa() -> u64 {
    let mut misa = 2 << 62;
    let mut i = 0;
    while i < LIST.len() {
        if let Some(letter) = LIST[i].letter {
            misa |= 1 << (letter - b'A');
        }
        i += 1;
    }
    misa
}

/// Bytes in a cache block, as Zicbom and Zicboz and the device tree see it.
pub const CACHE_BLOCK: u64 = 64;

/// Displays as the `riscv,isa` string.
///
/// `svadu` is left out when `svadu` is false: the machine then faults on clear A and D bits.
#[derive(Clone, Copy, Debug)]
pub struct IsaString {
    /// Whether the hardware updates A and D.
    pub svadu: bool,
}

impl fmt::Display for IsaString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rv64")?;
        for entry in
            LIST.iter().filter(|e| !e.name.is_empty() && (self.svadu || e.ext != Ext::Svadu))
        {
            if entry.letter.is_none() {
                f.write_str("_")?;
            }
            f.write_str(entry.name)?;
        }
        Ok(())
    }
}
