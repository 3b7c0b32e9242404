//! The parts of Zbb and Zbc that are more than one operation of Rust (unprivileged manual, "B
//! Extension for Bit Manipulation").

/// Every byte that is not zero becomes 0xff.
#[inline]
pub fn orc_b(a: u64) -> u64 {
    let low = 0x7f7f_7f7f_7f7f_7f7f;
    // The top bit of each byte of `any` says whether the byte is not zero.
    let any = (((a & low) + low) | a) & !low;
    (any >> 7) * 0xff
}

fn carryless(a: u64, b: u64) -> u128 {
    let bits = (0..64).filter(|n| b >> n & 1 != 0);
    bits.fold(0, |sum, n| sum ^ (a as u128) << n)
}

/// Lower half of the carry-less product.
pub fn clmul(a: u64, b: u64) -> u64 {
    carryless(a, b) as u64
}

/// Upper half of the carry-less product.
pub fn clmulh(a: u64, b: u64) -> u64 {
    (carryless(a, b) >> 64) as u64
}

/// Bits 126 to 63 of the carry-less product.
pub fn clmulr(a: u64, b: u64) -> u64 {
    (carryless(a, b) >> 63) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_ored() {
        assert_eq!(orc_b(0x0001_8000_ff00_7f10), 0x00ff_ff00_ff00_ffff);
        assert_eq!((orc_b(0), orc_b(!0)), (0, !0));
    }

    #[test]
    fn products_without_carries() {
        assert_eq!(clmul(0b111, 0b101), 0b11011);
        assert_eq!((clmulh(1 << 63, 6), clmulr(1 << 63, 6), clmul(1 << 63, 6)), (3, 6, 0));
        assert_eq!(clmulh(!0, !0), 0x5555_5555_5555_5555);
    }
}
