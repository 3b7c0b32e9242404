//! Round-to-nearest-even on the host's FPU, where the host's result and the flags are provably
//! those of `soft`; everything else falls through to it.
//!
//! The host rounds correctly, so only flags need care. A result that is a normal number above
//! the least one (see [`unexceptional`]) excludes NV, DZ, OF and UF; what remains is NX, and that
//! is looked for only while the accrued flags do not have it. A sum is exact if both operands can
//! be had back from it (Dekker: subtracting the greater operand from a rounded sum is exact). A
//! product, quotient or root is exact if the significands say so: as integers without their
//! factors of two they must fit, or multiply back, since the exponents cannot be wrong.

use super::soft::{self, significand};
use super::{Flags, Format, Rm, convert};

/// Whether `r` is finite and greater than twice the least normal number: the exact result was no
/// special case, nothing was invalid, and nothing over- or underflowed.
#[inline]
fn unexceptional<F: Format>(r: u64) -> bool {
    (2..F::EXP_MAX).contains(&F::exp_field(r))
}

#[inline]
fn raise_unless(fl: &mut Flags, exact: impl FnOnce() -> bool) {
    if !fl.has(Flags::NX) && !exact() {
        *fl |= Flags::NX;
    }
}

/// An integer without its factors of two.
#[inline]
fn odd_part(x: u128) -> u128 {
    x >> x.trailing_zeros()
}

#[inline]
pub(super) fn add<F: Format>(a: u64, b: u64, rm: Rm, fl: &mut Flags) -> u64 {
    if rm == Rm::Rne {
        let (x, y) = (F::from_raw(a), F::from_raw(b));
        let r = x + y;
        // Sums have no underflow: a subnormal one is exact. Near overflow the check might.
        if F::exp_field(r.raw()) < F::EXP_MAX - 1 {
            raise_unless(fl, || (r - x == y) & (r - y == x));
            return r.raw();
        }
    }
    soft::add::<F>(a, b, rm, fl)
}

#[inline]
pub(super) fn sub<F: Format>(a: u64, b: u64, rm: Rm, fl: &mut Flags) -> u64 {
    add::<F>(a, b ^ F::SIGN, rm, fl)
}

#[inline]
pub(super) fn mul<F: Format>(a: u64, b: u64, rm: Rm, fl: &mut Flags) -> u64 {
    if rm == Rm::Rne {
        let r = (F::from_raw(a) * F::from_raw(b)).raw();
        if unexceptional::<F>(r) {
            let product = || significand::<F>(a) as u128 * significand::<F>(b) as u128;
            raise_unless(fl, || odd_part(product()) < 2 * F::HIDDEN as u128);
            return r;
        }
    }
    soft::mul::<F>(a, b, rm, fl)
}

#[inline]
pub(super) fn div<F: Format>(a: u64, b: u64, rm: Rm, fl: &mut Flags) -> u64 {
    if rm == Rm::Rne {
        let r = (F::from_raw(a) / F::from_raw(b)).raw();
        if unexceptional::<F>(r) {
            let product = || significand::<F>(r) as u128 * significand::<F>(b) as u128;
            raise_unless(fl, || odd_part(product()) == odd_part(significand::<F>(a) as u128));
            return r;
        }
    }
    soft::div::<F>(a, b, rm, fl)
}

#[inline]
pub(super) fn sqrt<F: Format>(a: u64, rm: Rm, fl: &mut Flags) -> u64 {
    if rm == Rm::Rne {
        let r = F::from_raw(a).host_sqrt().raw();
        if unexceptional::<F>(r) {
            let square = || (significand::<F>(r) as u128).pow(2);
            raise_unless(fl, || odd_part(square()) == odd_part(significand::<F>(a) as u128));
            return r;
        }
    }
    soft::sqrt::<F>(a, rm, fl)
}

/// The residue of a fused operation costs more than `soft`, so this waits until NX is there.
#[inline]
pub(super) fn fma<F: Format>(a: u64, b: u64, c: u64, rm: Rm, fl: &mut Flags) -> u64 {
    if rm == Rm::Rne && fl.has(Flags::NX) {
        let r = F::from_raw(a).host_fma(F::from_raw(b), F::from_raw(c)).raw();
        if unexceptional::<F>(r) {
            return r;
        }
    }
    soft::fma::<F>(a, b, c, rm, fl)
}

#[inline]
pub(super) fn widen(a: u32, fl: &mut Flags) -> u64 {
    if unexceptional::<f32>(a as u64) {
        return (f32::from_bits(a) as f64).to_bits();
    }
    convert::reformat::<f32, f64>(a as u64, Rm::Rne, fl)
}

#[inline]
pub(super) fn narrow(a: u64, rm: Rm, fl: &mut Flags) -> u32 {
    if rm == Rm::Rne {
        let x = f64::from_bits(a);
        let r = x as f32;
        if unexceptional::<f32>(r.to_bits() as u64) {
            raise_unless(fl, || r as f64 == x);
            return r.to_bits();
        }
    }
    convert::reformat::<f64, f32>(a, rm, fl) as u32
}
