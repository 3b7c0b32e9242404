//! What needs no rounding: comparisons, minimum and maximum, classes and signs.

use super::{Flags, Format};

/// Raises NV for a signalling NaN; whether there is any NaN.
#[inline]
fn any_nan<F: Format>(a: u64, b: u64, fl: &mut Flags) -> bool {
    if F::is_signalling(a) || F::is_signalling(b) {
        *fl |= Flags::NV;
    }
    F::is_nan(a) || F::is_nan(b)
}

/// A key that orders all but NaNs as numbers are ordered, −0 below +0.
#[inline]
fn key<F: Format>(bits: u64) -> i64 {
    let magnitude = (bits & !F::SIGN) as i64;
    if bits & F::SIGN != 0 { !magnitude } else { magnitude }
}

#[inline]
fn pick<F: Format>(a: u64, b: u64, first: bool, fl: &mut Flags) -> u64 {
    match any_nan::<F>(a, b, fl) {
        false if first => a,
        false => b,
        true if !F::is_nan(a) => a,
        true if !F::is_nan(b) => b,
        true => F::NAN,
    }
}

#[inline]
pub(super) fn min<F: Format>(a: u64, b: u64, fl: &mut Flags) -> u64 {
    pick::<F>(a, b, key::<F>(a) < key::<F>(b), fl)
}

#[inline]
pub(super) fn max<F: Format>(a: u64, b: u64, fl: &mut Flags) -> u64 {
    pick::<F>(a, b, key::<F>(a) > key::<F>(b), fl)
}

#[inline]
fn both_zero<F: Format>(a: u64, b: u64) -> bool {
    (a | b) & !F::SIGN == 0
}

#[inline]
pub(super) fn eq<F: Format>(a: u64, b: u64, fl: &mut Flags) -> bool {
    !any_nan::<F>(a, b, fl) && (a == b || both_zero::<F>(a, b))
}

/// Whether the two are ordered; raises NV if not.
#[inline]
fn ordered<F: Format>(a: u64, b: u64, fl: &mut Flags) -> bool {
    let ordered = !F::is_nan(a) && !F::is_nan(b);
    if !ordered {
        *fl |= Flags::NV;
    }
    ordered
}

#[inline]
pub(super) fn lt<F: Format>(a: u64, b: u64, fl: &mut Flags) -> bool {
    ordered::<F>(a, b, fl) && key::<F>(a) < key::<F>(b) && !both_zero::<F>(a, b)
}

#[inline]
pub(super) fn le<F: Format>(a: u64, b: u64, fl: &mut Flags) -> bool {
    ordered::<F>(a, b, fl) && (key::<F>(a) <= key::<F>(b) || both_zero::<F>(a, b))
}

pub(super) fn classify<F: Format>(a: u64) -> u64 {
    if F::is_nan(a) {
        return 1 << (9 - F::is_signalling(a) as u32);
    }
    let size = match a & !F::SIGN {
        0 => 0,
        magnitude if magnitude < F::HIDDEN => 1,
        magnitude if magnitude == F::INF => 3,
        _ => 2,
    };
    // −∞, −normal, −subnormal, −0, +0, +subnormal, +normal, +∞ are bits 0 to 7.
    if a & F::SIGN != 0 { 1 << (3 - size) } else { 1 << (4 + size) }
}

#[inline]
pub(super) fn sgnj<F: Format>(a: u64, b: u64) -> u64 {
    (a & !F::SIGN) | (b & F::SIGN)
}

#[inline]
pub(super) fn sgnjn<F: Format>(a: u64, b: u64) -> u64 {
    sgnj::<F>(a, !b)
}

#[inline]
pub(super) fn sgnjx<F: Format>(a: u64, b: u64) -> u64 {
    a ^ (b & F::SIGN)
}
