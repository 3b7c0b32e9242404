//! Words to try: random operands in every row, near misses, and plain noise.
#![allow(dead_code, reason = "each test file uses its part")]

use isa::{Op, Row};

/// A small generator; the same words in every run.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// An encoding of `row` with random operands.
    pub fn word_of(&mut self, row: &Row) -> u32 {
        row.bits | self.next() as u32 & !row.mask
    }

    /// A 32-bit encoding: of some row, of some row but for one or two bits, or anything.
    pub fn word(&mut self) -> u32 {
        let pick = self.next();
        let row = &Op::rows()[(pick >> 8) as usize % Op::COUNT];
        match pick & 7 {
            0..=3 => self.word_of(row),
            4..=5 => self.word_of(row) ^ 1 << (2 + (pick >> 32) % 30),
            6 => self.word_of(row) ^ 1 << (2 + (pick >> 32) % 30) ^ 1 << (2 + (pick >> 40) % 30),
            _ => self.next() as u32 | 3,
        }
    }
}
