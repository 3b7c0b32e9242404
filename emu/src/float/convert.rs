//! Conversions between formats, and to and from integers.
//!
//! Out-of-range values and infinities saturate and are invalid (not inexact); NaN counts as plus
//! infinity (manual, table "Domains of float-to-integer conversions").

use super::soft::{self, Finite, Num, finish, round_at};
use super::{Flags, Format, Rm};

/// To an integer in `min..=max`.
#[inline]
fn to_integer<F: Format>(a: u64, min: i128, max: i128, rm: Rm, fl: &mut Flags) -> i128 {
    let saturated = |negative: bool, fl: &mut Flags| {
        *fl |= Flags::NV;
        if negative { min } else { max }
    };
    if F::is_nan(a) {
        return saturated(false, fl);
    }
    let Finite { sign, exp, sig } = match soft::unpack::<F>(a) {
        Num::Zero(_) => return 0,
        Num::Inf(sign) => return saturated(sign, fl),
        Num::Finite(x) => x,
    };
    let (magnitude, inexact) = match exp {
        // Below 2^53, so that nothing is lost by shifting; more than 64 is out of any range.
        0..=64 => (sig << exp, false),
        65.. => return saturated(sign, fl),
        // From 55 on all of it lies below a quarter.
        ..0 => round_at(sig, exp.unsigned_abs().min(64), sign, rm),
    };
    let value = if sign { -(magnitude as i128) } else { magnitude as i128 };
    if value < min || value > max {
        return saturated(sign, fl);
    }
    if inexact {
        *fl |= Flags::NX;
    }
    value
}

pub(super) fn to_i32<F: Format>(a: u64, rm: Rm, fl: &mut Flags) -> i32 {
    to_integer::<F>(a, i32::MIN as i128, i32::MAX as i128, rm, fl) as i32
}

pub(super) fn to_u32<F: Format>(a: u64, rm: Rm, fl: &mut Flags) -> u32 {
    to_integer::<F>(a, 0, u32::MAX as i128, rm, fl) as u32
}

pub(super) fn to_i64<F: Format>(a: u64, rm: Rm, fl: &mut Flags) -> i64 {
    to_integer::<F>(a, i64::MIN as i128, i64::MAX as i128, rm, fl) as i64
}

pub(super) fn to_u64<F: Format>(a: u64, rm: Rm, fl: &mut Flags) -> u64 {
    to_integer::<F>(a, 0, u64::MAX as i128, rm, fl) as u64
}

#[inline]
fn from_integer<F: Format>(sign: bool, magnitude: u64, rm: Rm, fl: &mut Flags) -> u64 {
    if magnitude == 0 {
        return 0;
    }
    finish::<F>(Finite { sign, exp: 0, sig: magnitude as u128 }, rm, fl)
}

pub(super) fn from_i32<F: Format>(x: i32, rm: Rm, fl: &mut Flags) -> u64 {
    from_integer::<F>(x < 0, x.unsigned_abs() as u64, rm, fl)
}

pub(super) fn from_u32<F: Format>(x: u32, rm: Rm, fl: &mut Flags) -> u64 {
    from_integer::<F>(false, x as u64, rm, fl)
}

pub(super) fn from_i64<F: Format>(x: i64, rm: Rm, fl: &mut Flags) -> u64 {
    from_integer::<F>(x < 0, x.unsigned_abs(), rm, fl)
}

pub(super) fn from_u64<F: Format>(x: u64, rm: Rm, fl: &mut Flags) -> u64 {
    from_integer::<F>(false, x, rm, fl)
}

/// From one format to another.
pub(super) fn reformat<From: Format, To: Format>(a: u64, rm: Rm, fl: &mut Flags) -> u64 {
    if From::is_nan(a) {
        if From::is_signalling(a) {
            *fl |= Flags::NV;
        }
        return To::NAN;
    }
    let sign = if a & From::SIGN != 0 { To::SIGN } else { 0 };
    match soft::unpack::<From>(a) {
        Num::Zero(_) => sign,
        Num::Inf(_) => sign | To::INF,
        Num::Finite(x) => finish::<To>(x, rm, fl),
    }
}
