//! Memory: copies, a sieve, misaligned words, and accesses that no TLB holds.

use core::hint::black_box;

use crate::Lcg;

/// Words of a block that is copied: 64 KiB.
const BLOCK: usize = 8 << 10;
/// Words of 1 MiB.
const MIB: usize = 1 << 17;

fn copy(n: u64, arena: &mut [u64], distance: usize) -> u64 {
    let (from, to) = arena.split_at_mut(distance);
    let (from, to) = (&mut from[..BLOCK], &mut to[..BLOCK]);
    from.iter_mut().enumerate().for_each(|(at, word)| *word = at as u64);
    to.fill(0);
    for i in 0..n {
        from[(i as usize * 31) % BLOCK] ^= i;
        black_box(&mut *to).copy_from_slice(black_box(&*from));
    }
    to.iter().fold(n, |sum, word| sum.rotate_left(3) ^ word)
}

/// An iteration copies 64 KiB; the buffers share no page of a direct-mapped TLB.
pub fn memcpy_padded(n: u64, arena: &mut [u64]) -> u64 {
    copy(n, arena, MIB + 3 * BLOCK + 512)
}

/// The same with buffers exactly 1 MiB apart.
pub fn memcpy_aliased(n: u64, arena: &mut [u64]) -> u64 {
    copy(n, arena, MIB)
}

/// An iteration finds the primes below 2 Mi, in a byte for each odd number.
pub fn sieve(n: u64, arena: &mut [u64]) -> u64 {
    const SIZE: usize = 1 << 20;
    let flags = &mut as_bytes(arena)[..SIZE];
    let mut sum = 0;
    for i in 0..n {
        flags.fill(1);
        let mut count = i;
        for at in 0..SIZE {
            if flags[at] != 0 {
                let prime = 2 * at + 3;
                let mut multiple = at + prime;
                while multiple < SIZE {
                    flags[multiple] = 0;
                    multiple += prime;
                }
                count += 1;
            }
        }
        sum += count;
    }
    sum
}

/// The arena as bytes.
fn as_bytes(arena: &mut [u64]) -> &mut [u8] {
    // SAFETY: every byte is a valid u8, and u8 has no alignment, so that nothing is left over.
    let (_, bytes, _) = unsafe { arena.align_to_mut() };
    bytes
}

/// A load of eight bytes that is one instruction, aligned or not.
#[inline(always)]
fn load(bytes: &[u8; 8]) -> u64 {
    #[cfg(target_arch = "riscv64")]
    {
        let value;
        // SAFETY: the eight bytes are borrowed; alignment is the machine's to handle.
        unsafe {
            core::arch::asm!(
                "ld {value}, ({at})",
                value = out(reg) value,
                at = in(reg) bytes,
                options(nostack, readonly, preserves_flags)
            );
        }
        value
    }
    #[cfg(not(target_arch = "riscv64"))]
    u64::from_le_bytes(*bytes)
}

/// A store of eight bytes that is one instruction, aligned or not.
#[inline(always)]
fn store(bytes: &mut [u8; 8], value: u64) {
    #[cfg(target_arch = "riscv64")]
    // SAFETY: the eight bytes are borrowed; alignment is the machine's to handle.
    unsafe {
        core::arch::asm!(
            "sd {value}, ({at})",
            value = in(reg) value,
            at = in(reg) bytes,
            options(nostack, preserves_flags)
        );
    }
    #[cfg(not(target_arch = "riscv64"))]
    {
        *bytes = value.to_le_bytes();
    }
}

/// An iteration is a load and a store at each of 1024 odd addresses, page ends among them.
pub fn misaligned(n: u64, arena: &mut [u64]) -> u64 {
    let bytes = &mut as_bytes(arena)[..16 << 10];
    bytes.fill(1);
    let mut sum = 0u64;
    for i in 0..n {
        for chunk in bytes.chunks_exact_mut(16) {
            if let Some(word) = chunk[5..].first_chunk_mut::<8>() {
                let value = load(word);
                sum = sum.wrapping_add(value ^ i);
                store(word, sum);
            }
        }
    }
    sum
}

/// An iteration is 1000 steps along a random cycle through 16 MiB.
pub fn chase(n: u64, arena: &mut [u64]) -> u64 {
    const SIZE: usize = 16 * MIB;
    let ring = &mut arena[..SIZE];
    ring.iter_mut().enumerate().for_each(|(at, next)| *next = at as u64);
    let mut random = Lcg(9);
    for at in (1..SIZE).rev() {
        // Sattolo: one cycle through all.
        ring.swap(at, random.number() as usize % at);
    }
    let mut at = 0;
    for _ in 0..n * 1000 {
        at = ring[at] as usize;
    }
    at as u64
}

/// An iteration is 1000 loads from random places of 64 MiB.
pub fn random(n: u64, arena: &mut [u64]) -> u64 {
    const SIZE: usize = 64 * MIB;
    let words = &mut arena[..SIZE];
    for (page, word) in words.iter_mut().step_by(512).enumerate() {
        *word = page as u64;
    }
    let mut random = Lcg(13);
    let mut sum = random.0 ^ n;
    for _ in 0..n * 1000 {
        sum = sum.wrapping_add(words[random.number() as usize % SIZE]).rotate_left(1);
    }
    sum
}
