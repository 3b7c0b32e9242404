//! Workloads that compute: each takes a number of iterations and returns a checksum.
//!
//! They are ordinary portable code, so that their results are checked on the host; the image in
//! `main.rs` runs them in S-mode with Sv39 on, beside workloads that only a machine has.
#![cfg_attr(target_os = "none", no_std)]

pub mod control;
pub mod dhry;
pub mod float;
pub mod hash;
pub mod memory;
pub mod mix;

/// Words of memory that a workload gets: 66 MiB.
pub const ARENA_WORDS: usize = 66 << 17;

/// A workload: iterations and memory to a checksum.
pub type Workload = fn(u64, &mut [u64]) -> u64;

/// The workloads by name.
pub const WORKLOADS: [(&str, Workload); 16] = [
    ("mix", mix::mix),
    ("dhry", dhry::dhry),
    ("fib", control::fib),
    ("dispatch", control::dispatch),
    ("switch", control::switch),
    ("sort", control::sort),
    ("memcpy", memory::memcpy_padded),
    ("memcpy-1m", memory::memcpy_aliased),
    ("sieve", memory::sieve),
    ("misaligned", memory::misaligned),
    ("chase", memory::chase),
    ("random", memory::random),
    ("sha256", hash::sha256),
    ("crc32", hash::crc32),
    ("nbody", float::nbody),
    ("linpack", float::linpack),
];

/// Small pseudo-random numbers that are the same everywhere.
#[derive(Clone, Copy)]
pub struct Lcg(pub u64);

impl Lcg {
    /// The next number, of 32 bits.
    #[inline]
    pub fn number(&mut self) -> u32 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Iterations are not lost, repeated or remembered from an earlier run.
    #[test]
    fn checksums_depend_on_iterations_and_nothing_else() {
        let mut arena = vec![0; ARENA_WORDS];
        for (name, run) in WORKLOADS {
            let sums = [0, 1, 2, 3, 2].map(|n| run(n, &mut arena));
            assert_eq!(sums[2], sums[4], "{name} remembers");
            let set: std::collections::BTreeSet<u64> = sums.into_iter().collect();
            assert_eq!(set.len(), 4, "{name} gives {sums:x?}");
        }
    }
}
