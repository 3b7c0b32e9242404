//! The M extension: multiplication and division (unprivileged manual, "M Extension").
//!
//! Division by zero gives all ones and the dividend as remainder; the one overflow gives the
//! dividend and zero. Nothing traps.

/// The upper half of the signed product.
#[inline]
pub fn mulh(a: u64, b: u64) -> u64 {
    ((a as i64 as i128 * b as i64 as i128) >> 64) as u64
}

/// The upper half of the product of a signed and an unsigned number.
#[inline]
pub fn mulhsu(a: u64, b: u64) -> u64 {
    ((a as i64 as i128).wrapping_mul(b as i128) >> 64) as u64
}

/// The upper half of the unsigned product.
#[inline]
pub fn mulhu(a: u64, b: u64) -> u64 {
    ((a as u128 * b as u128) >> 64) as u64
}

/// Signed quotient.
#[inline]
pub fn div(a: u64, b: u64) -> u64 {
    if b == 0 { u64::MAX } else { (a as i64).wrapping_div(b as i64) as u64 }
}

/// Unsigned quotient.
#[inline]
pub fn divu(a: u64, b: u64) -> u64 {
    a.checked_div(b).unwrap_or(u64::MAX)
}

/// Signed remainder.
#[inline]
pub fn rem(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { (a as i64).wrapping_rem(b as i64) as u64 }
}

/// Unsigned remainder.
#[inline]
pub fn remu(a: u64, b: u64) -> u64 {
    a.checked_rem(b).unwrap_or(a)
}

/// Signed quotient of 32-bit numbers.
#[inline]
pub fn divw(a: u64, b: u64) -> u64 {
    let (a, b) = (a as i32, b as i32);
    if b == 0 { u64::MAX } else { a.wrapping_div(b) as u64 }
}

/// Unsigned quotient of 32-bit numbers.
#[inline]
pub fn divuw(a: u64, b: u64) -> u64 {
    (a as u32).checked_div(b as u32).unwrap_or(u32::MAX) as i32 as u64
}

/// Signed remainder of 32-bit numbers.
#[inline]
pub fn remw(a: u64, b: u64) -> u64 {
    let (a, b) = (a as i32, b as i32);
    if b == 0 { a as u64 } else { a.wrapping_rem(b) as u64 }
}

/// Unsigned remainder of 32-bit numbers.
#[inline]
pub fn remuw(a: u64, b: u64) -> u64 {
    let (a, b) = (a as u32, b as u32);
    a.checked_rem(b).unwrap_or(a) as i32 as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIN: u64 = i64::MIN as u64;
    const MIN_W: u64 = i32::MIN as u64;

    #[test]
    fn corners_of_division() {
        assert_eq!((div(7, 0), divu(7, 0), rem(7, 0), remu(7, 0)), (!0, !0, 7, 7));
        assert_eq!((div(MIN, !0), rem(MIN, !0)), (MIN, 0));
        assert_eq!((divw(MIN_W, !0), remw(MIN_W, !0)), (MIN_W, 0));
        assert_eq!((divuw(7, 1 << 32), remuw(MIN_W, 0), remw(MIN_W, 0)), (!0, MIN_W, MIN_W));
        assert_eq!((div(!6, 2), rem(!6, 2)), (!2, !0));
        assert_eq!(divuw(0xffff_ffff, 1), !0, "sign-extended");
    }

    #[test]
    fn upper_halves() {
        assert_eq!((mulh(!0, !0), mulhu(!0, !0), mulhsu(!0, !0)), (0, !1, !0));
        assert_eq!((mulh(MIN, MIN), mulhsu(MIN, MIN)), (1 << 62, 0xc000_0000_0000_0000));
    }
}
