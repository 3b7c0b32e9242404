//! The definition: arithmetic on integers, for every operand and rounding mode.
//!
//! A finite number is taken apart into sign and `sig × 2^exp`; an operation makes an exact (or,
//! where bits were lost, odd: "jammed") 128-bit significand, and [`finish`] rounds it once.
//! Jamming keeps what rounding needs: whether anything non-zero lies below.

use std::cmp::Ordering;

use super::{Flags, Format, Rm};
use Num::{Inf, Zero};

/// A value taken apart. `true` is the negative sign. NaNs are dealt with before.
pub(super) enum Num {
    Zero(bool),
    Inf(bool),
    Finite(Finite),
}

/// A non-zero number, `sig × 2^exp`.
#[derive(Clone, Copy)]
pub(super) struct Finite {
    pub sign: bool,
    pub exp: i32,
    pub sig: u128,
}

impl Finite {
    /// The same value with the leading one of the significand at bit 126.
    fn normal(self) -> Finite {
        let shift = self.sig.leading_zeros() as i32 - 1;
        Finite { sig: self.sig << shift, exp: self.exp - shift, ..self }
    }
}

/// Takes apart what is no NaN.
pub(super) fn unpack<F: Format>(bits: u64) -> Num {
    let sign = bits & F::SIGN != 0;
    match (F::exp_field(bits), significand::<F>(bits)) {
        (0, 0) => Zero(sign),
        (field, _) if field == F::EXP_MAX => Inf(sign),
        (field, sig) => {
            let exp = F::EXP_LEAST + field.saturating_sub(1) as i32;
            Num::Finite(Finite { sign, exp, sig: sig as u128 })
        }
    }
}

/// The fraction, with the hidden bit if there is one.
#[inline]
pub(super) fn significand<F: Format>(bits: u64) -> u64 {
    let fraction = bits & (F::HIDDEN - 1);
    if F::exp_field(bits) == 0 { fraction } else { fraction | F::HIDDEN }
}

fn signed<F: Format>(sign: bool, magnitude: u64) -> u64 {
    if sign { magnitude | F::SIGN } else { magnitude }
}

/// The result of an operation one of whose operands is a NaN.
fn propagate<F: Format>(operands: &[u64], fl: &mut Flags) -> u64 {
    if operands.iter().any(|&x| F::is_signalling(x)) {
        *fl |= Flags::NV;
    }
    F::NAN
}

fn invalid<F: Format>(fl: &mut Flags) -> u64 {
    *fl |= Flags::NV;
    F::NAN
}

/// `sig >> n` with the lost bits or-ed into the lowest.
fn shr_jam(sig: u128, n: u32) -> u128 {
    match n {
        0 => sig,
        1..=127 => (sig >> n) | (sig << (128 - n) != 0) as u128,
        _ => (sig != 0) as u128,
    }
}

/// Whether `whole` goes up by one, when what follows it compares to a half as `rest` does.
pub(super) fn rounds_up(rm: Rm, sign: bool, odd: bool, rest: Ordering) -> bool {
    match rm {
        Rm::Rne => rest.is_gt() || rest.is_eq() && odd,
        Rm::Rmm => rest.is_ge(),
        Rm::Rtz => false,
        Rm::Rdn => sign,
        Rm::Rup => !sign,
    }
}

/// Divides by 2^n and rounds to an integer: (result, inexact). `n` is 1 to 127, `sig` < 2^127.
pub(super) fn round_at(sig: u128, n: u32, sign: bool, rm: Rm) -> (u128, bool) {
    let whole = sig >> n;
    let rest = sig & ((1 << n) - 1);
    let up = rest != 0 && rounds_up(rm, sign, whole & 1 == 1, rest.cmp(&(1 << (n - 1))));
    (whole + up as u128, rest != 0)
}

/// Rounds and packs a non-zero number: every finite result comes through here.
pub(super) fn finish<F: Format>(number: Finite, rm: Rm, fl: &mut Flags) -> u64 {
    let Finite { sign, exp, sig } = number.normal();
    let drop = 126 - F::FRAC;
    // The exponent field, if the result is a normal number.
    let field = exp + drop as i32 - F::EXP_LEAST + 1;
    let shifted = if field > 0 { sig } else { shr_jam(sig, (1 - field) as u32) };
    let (whole, inexact) = round_at(shifted, drop, sign, rm);
    // The hidden bit adds one to the field, and a carry out of the fraction another one.
    let magnitude = ((field.max(1) - 1) as u64) << F::FRAC;
    let magnitude = magnitude + whole as u64;
    if magnitude >= F::INF {
        *fl |= Flags::OF | Flags::NX;
        let to_infinity = rounds_up(rm, sign, true, Ordering::Greater);
        return signed::<F>(sign, if to_infinity { F::INF } else { F::INF - 1 });
    }
    if inexact {
        *fl |= Flags::NX;
        // Tiny "after rounding": what an unbounded exponent would give is below the least normal.
        let carries = || round_at(sig, drop, sign, rm).0 == 2 * F::HIDDEN as u128;
        if field < 0 || field == 0 && !carries() {
            *fl |= Flags::UF;
        }
    }
    signed::<F>(sign, magnitude)
}

/// The exact sum of two non-zero numbers (jammed), rounded; an exact zero is `-0` only downwards.
fn sum<F: Format>(a: Finite, b: Finite, rm: Rm, fl: &mut Flags) -> u64 {
    let (a, b) = (a.normal(), b.normal());
    let a_first = (a.exp, a.sig) >= (b.exp, b.sig);
    let (big, small) = if a_first { (a, b) } else { (b, a) };
    let addend = shr_jam(small.sig, (big.exp - small.exp) as u32);
    let sig = if a.sign == b.sign { big.sig + addend } else { big.sig - addend };
    if sig == 0 {
        return signed::<F>(rm == Rm::Rdn, 0);
    }
    // One bit of room, since the sum may reach bit 127.
    finish::<F>(Finite { sig: shr_jam(sig, 1), exp: big.exp + 1, sign: big.sign }, rm, fl)
}

fn sum_of_zeros<F: Format>(a: bool, b: bool, rm: Rm) -> u64 {
    signed::<F>(if a == b { a } else { rm == Rm::Rdn }, 0)
}

/// `a + b`.
pub(super) fn add<F: Format>(a: u64, b: u64, rm: Rm, fl: &mut Flags) -> u64 {
    if F::is_nan(a) || F::is_nan(b) {
        return propagate::<F>(&[a, b], fl);
    }
    match (unpack::<F>(a), unpack::<F>(b)) {
        (Inf(s), Inf(t)) if s != t => invalid::<F>(fl),
        (Inf(s), _) | (_, Inf(s)) => signed::<F>(s, F::INF),
        (Zero(s), Zero(t)) => sum_of_zeros::<F>(s, t, rm),
        (Zero(_), Num::Finite(_)) => b,
        (Num::Finite(_), Zero(_)) => a,
        (Num::Finite(x), Num::Finite(y)) => sum::<F>(x, y, rm, fl),
    }
}

fn product(x: Finite, y: Finite) -> Finite {
    Finite { sign: x.sign != y.sign, exp: x.exp + y.exp, sig: x.sig * y.sig }
}

/// `a × b`.
pub(super) fn mul<F: Format>(a: u64, b: u64, rm: Rm, fl: &mut Flags) -> u64 {
    if F::is_nan(a) || F::is_nan(b) {
        return propagate::<F>(&[a, b], fl);
    }
    let sign = (a ^ b) & F::SIGN != 0;
    match (unpack::<F>(a), unpack::<F>(b)) {
        (Inf(_), Zero(_)) | (Zero(_), Inf(_)) => invalid::<F>(fl),
        (Inf(_), _) | (_, Inf(_)) => signed::<F>(sign, F::INF),
        (Zero(_), _) | (_, Zero(_)) => signed::<F>(sign, 0),
        (Num::Finite(x), Num::Finite(y)) => finish::<F>(product(x, y), rm, fl),
    }
}

/// `a ÷ b`.
pub(super) fn div<F: Format>(a: u64, b: u64, rm: Rm, fl: &mut Flags) -> u64 {
    if F::is_nan(a) || F::is_nan(b) {
        return propagate::<F>(&[a, b], fl);
    }
    let sign = (a ^ b) & F::SIGN != 0;
    match (unpack::<F>(a), unpack::<F>(b)) {
        (Inf(_), Inf(_)) | (Zero(_), Zero(_)) => invalid::<F>(fl),
        (Inf(_), _) => signed::<F>(sign, F::INF),
        (Zero(_), _) | (_, Inf(_)) => signed::<F>(sign, 0),
        (Num::Finite(_), Zero(_)) => {
            *fl |= Flags::DZ;
            signed::<F>(sign, F::INF)
        }
        (Num::Finite(x), Num::Finite(y)) => {
            // 127 bits by at most 53: a quotient of at least 74.
            let x = x.normal();
            let sig = (x.sig / y.sig) | (x.sig % y.sig != 0) as u128;
            finish::<F>(Finite { sign, exp: x.exp - y.exp, sig }, rm, fl)
        }
    }
}

/// The square root of `a`.
pub(super) fn sqrt<F: Format>(a: u64, rm: Rm, fl: &mut Flags) -> u64 {
    if F::is_nan(a) {
        return propagate::<F>(&[a], fl);
    }
    match unpack::<F>(a) {
        Zero(_) | Inf(false) => a,
        Num::Finite(x) if !x.sign => {
            let x = x.normal();
            let odd = x.exp & 1;
            // The root has 63 or 64 bits, and one below for what is lost.
            let square = x.sig << odd;
            let root = square.isqrt();
            let sig = (root << 1) | (root * root != square) as u128;
            finish::<F>(Finite { sign: false, exp: (x.exp - odd) / 2 - 1, sig }, rm, fl)
        }
        _ => invalid::<F>(fl),
    }
}

/// `a × b + c`, rounded once.
pub(super) fn fma<F: Format>(a: u64, b: u64, c: u64, rm: Rm, fl: &mut Flags) -> u64 {
    let (x, y) = (a & !F::SIGN, b & !F::SIGN);
    let zero_by_infinity = x == 0 && y == F::INF || x == F::INF && y == 0;
    if F::is_nan(a) || F::is_nan(b) || F::is_nan(c) {
        if zero_by_infinity {
            *fl |= Flags::NV;
        }
        return propagate::<F>(&[a, b, c], fl);
    }
    if zero_by_infinity {
        return invalid::<F>(fl);
    }
    let sign = (a ^ b) & F::SIGN != 0;
    match (unpack::<F>(a), unpack::<F>(b), unpack::<F>(c)) {
        (Inf(_), _, Inf(s)) | (_, Inf(_), Inf(s)) if s != sign => invalid::<F>(fl),
        (Inf(_), _, _) | (_, Inf(_), _) => signed::<F>(sign, F::INF),
        (_, _, Inf(_)) => c,
        (Zero(_), _, Zero(s)) | (_, Zero(_), Zero(s)) => sum_of_zeros::<F>(sign, s, rm),
        (Zero(_), _, _) | (_, Zero(_), _) => c,
        (Num::Finite(x), Num::Finite(y), Zero(_)) => finish::<F>(product(x, y), rm, fl),
        (Num::Finite(x), Num::Finite(y), Num::Finite(z)) => sum::<F>(product(x, y), z, rm, fl),
    }
}
