//! Random numbers that a seed decides.

use emu::dev::SplitMix;

/// A generator of what streams are made of.
#[derive(Clone, Debug)]
pub struct Random(SplitMix);

impl Random {
    /// The generator with this seed.
    pub fn new(seed: u64) -> Random {
        Random(SplitMix(seed))
    }

    /// Any number.
    pub fn any(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.any() % limit
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of a list.
    pub fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len() as u64) as usize]
    }

    /// A number as programs have them: small, or with few bits, or any.
    pub fn number(&mut self) -> u64 {
        match self.below(6) {
            0 => self.below(64),
            1 => self.below(64).wrapping_neg(),
            2 => 1 << self.below(64),
            3 => u64::from(self.any() as u32),
            4 => i64::from(self.any() as i32) as u64,
            _ => self.any(),
        }
    }

    /// A floating-point register: doubles and singles, ordinary and special.
    pub fn float(&mut self) -> u64 {
        let special = [0, 1 << 63, 0x7ff0 << 48, 0x7ff8 << 48, 1, 0x3ff0 << 48, 0x7fef << 48];
        match self.below(5) {
            0 => self.of(&special),
            1 => u64::MAX << 32 | u64::from((self.below(2000) as f32 / 7.0).to_bits()),
            2 => u64::MAX << 32 | self.any() >> 32,
            3 => (self.below(100_000) as f64 / 3.0).to_bits(),
            _ => self.any(),
        }
    }
}
