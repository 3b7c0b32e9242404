//! IEEE-754 binary32 and binary64 for the F and D extensions: exact results, exact flags, all
//! five rounding modes.
//!
//! Source: the RISC-V unprivileged manual, chapters "F" and "D" (2.2), and IEEE 754-2019. Values
//! are raw bits: `u32` for single, `u64` for double precision; [`unbox_f32`] and [`box_f32`] are
//! for the registers. Arithmetic that results in a NaN gives the canonical one, and tininess is
//! detected after rounding. Every function *adds* to the flags it is given and never clears one,
//! so the caller passes the accrued `fflags`: once [`Flags::NX`] is there, the fast path need not
//! find out again whether a result is inexact.
//!
//! `soft` is the definition; `fast` takes the host's FPU where that provably gives the same.

mod compare;
mod convert;
mod fast;
mod soft;
#[cfg(test)]
mod tests;

use std::ops::{Add, BitOr, BitOrAssign, Div, Mul, Sub};

/// A rounding mode, with the number that `frm` and the `rm` field of instructions hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Rm {
    /// To nearest, ties to even.
    Rne = 0,
    /// Towards zero.
    Rtz = 1,
    /// Down, towards minus infinity.
    Rdn = 2,
    /// Up, towards plus infinity.
    Rup = 3,
    /// To nearest, ties away from zero.
    Rmm = 4,
}

impl Rm {
    /// The mode of that number; `None` for the reserved ones and for 7, which means `frm`.
    #[inline]
    pub fn from_bits(bits: u8) -> Option<Rm> {
        match bits {
            0 => Some(Rm::Rne),
            1 => Some(Rm::Rtz),
            2 => Some(Rm::Rdn),
            3 => Some(Rm::Rup),
            4 => Some(Rm::Rmm),
            _ => None,
        }
    }
}

/// Accrued exception flags, with the bits of `fflags`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(transparent)]
pub struct Flags(pub u8);

impl Flags {
    /// Inexact.
    pub const NX: Flags = Flags(1);
    /// Underflow: tiny and inexact.
    pub const UF: Flags = Flags(2);
    /// Overflow.
    pub const OF: Flags = Flags(4);
    /// Division of a finite number by zero.
    pub const DZ: Flags = Flags(8);
    /// Invalid operation.
    pub const NV: Flags = Flags(16);

    /// Whether every flag of `other` is set.
    #[inline]
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Flags {
    type Output = Flags;
    #[inline]
    fn bitor(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

impl BitOrAssign for Flags {
    #[inline]
    fn bitor_assign(&mut self, other: Flags) {
        self.0 |= other.0;
    }
}

/// A binary interchange format, and the host's arithmetic on it. Bits travel in a `u64`.
trait Format:
    Copy + PartialEq + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// Bits of the fraction.
    const FRAC: u32;
    /// The exponent field of infinities and NaNs.
    const EXP_MAX: u32;

    /// Exponent of the least significant fraction bit of a number whose exponent field is 0 or 1.
    const EXP_LEAST: i32 = 1 - (Self::EXP_MAX / 2 + Self::FRAC) as i32;
    /// The implicit leading bit of the significand.
    const HIDDEN: u64 = 1 << Self::FRAC;
    /// Plus infinity.
    const INF: u64 = (Self::EXP_MAX as u64) << Self::FRAC;
    /// The sign bit.
    const SIGN: u64 = (Self::EXP_MAX as u64 + 1) << Self::FRAC;
    /// The bit of a NaN's fraction that makes it quiet.
    const QUIET: u64 = Self::HIDDEN >> 1;
    /// The canonical NaN.
    const NAN: u64 = Self::INF | Self::QUIET;

    fn from_raw(bits: u64) -> Self;
    fn raw(self) -> u64;
    fn host_sqrt(self) -> Self;
    fn host_fma(self, b: Self, c: Self) -> Self;

    /// The exponent field.
    #[inline]
    fn exp_field(bits: u64) -> u32 {
        (bits >> Self::FRAC) as u32 & Self::EXP_MAX
    }

    #[inline]
    fn is_nan(bits: u64) -> bool {
        bits & !Self::SIGN > Self::INF
    }

    #[inline]
    fn is_signalling(bits: u64) -> bool {
        Self::is_nan(bits) && bits & Self::QUIET == 0
    }
}

macro_rules! format {
    ($float:ty, $bits:ty, $frac:expr, $exp_max:expr) => {
        impl Format for $float {
            const FRAC: u32 = $frac;
            const EXP_MAX: u32 = $exp_max;
            #[inline]
            fn from_raw(bits: u64) -> Self {
                <$float>::from_bits(bits as $bits)
            }
            #[inline]
            fn raw(self) -> u64 {
                self.to_bits() as u64
            }
            #[inline]
            fn host_sqrt(self) -> Self {
                self.sqrt()
            }
            #[inline]
            fn host_fma(self, b: Self, c: Self) -> Self {
                self.mul_add(b, c)
            }
        }
    };
}
format!(f32, u32, 23, 0xff);
format!(f64, u64, 52, 0x7ff);

/// The low half of a 64-bit register as a single-precision value: the canonical NaN unless it is
/// properly boxed (upper half all ones).
#[inline]
pub fn unbox_f32(register: u64) -> u32 {
    if register >> 32 == 0xffff_ffff { register as u32 } else { <f32 as Format>::NAN as u32 }
}

/// A single-precision value as it is kept in a 64-bit register.
#[inline]
pub fn box_f32(bits: u32) -> u64 {
    0xffff_ffff_0000_0000 | bits as u64
}

/// Public functions for both formats of one generic operation: operands, then what follows them.
macro_rules! both {
    ($($doc:literal $single:ident $double:ident = $file:ident::$op:ident,
       ($($x:ident),*) ($($extra:ident: $ty:ty),*) $(-> $ret:ty)?;)*) => {$(
        #[doc = $doc]
        #[inline]
        pub fn $single($($x: u32,)* $($extra: $ty),*) -> both!(@ret u32, $($ret)?) {
            $file::$op::<f32>($($x as u64,)* $($extra),*) as _
        }
        #[doc = $doc]
        #[inline]
        pub fn $double($($x: u64,)* $($extra: $ty),*) -> both!(@ret u64, $($ret)?) {
            $file::$op::<f64>($($x,)* $($extra),*) as _
        }
    )*};
    (@ret $bits:ty,) => { $bits };
    (@ret $bits:ty, $ret:ty) => { $ret };
}

both! {
    "`a + b`." add_f32 add_f64 = fast::add, (a, b) (rm: Rm, fl: &mut Flags);
    "`a - b`." sub_f32 sub_f64 = fast::sub, (a, b) (rm: Rm, fl: &mut Flags);
    "`a × b`." mul_f32 mul_f64 = fast::mul, (a, b) (rm: Rm, fl: &mut Flags);
    "`a ÷ b`." div_f32 div_f64 = fast::div, (a, b) (rm: Rm, fl: &mut Flags);
    "The square root of `a`." sqrt_f32 sqrt_f64 = fast::sqrt, (a) (rm: Rm, fl: &mut Flags);
    "`a × b + c`, rounded once. The other three variants flip the signs of `a` and `c`."
        fma_f32 fma_f64 = fast::fma, (a, b, c) (rm: Rm, fl: &mut Flags);
    "`fmin`: the other operand if one is a NaN; −0 is less than +0."
        min_f32 min_f64 = compare::min, (a, b) (fl: &mut Flags);
    "`fmax`: the other operand if one is a NaN; −0 is less than +0."
        max_f32 max_f64 = compare::max, (a, b) (fl: &mut Flags);
    "`feq`: quiet, only a signalling NaN is invalid."
        eq_f32 eq_f64 = compare::eq, (a, b) (fl: &mut Flags) -> bool;
    "`flt`: any NaN is invalid." lt_f32 lt_f64 = compare::lt, (a, b) (fl: &mut Flags) -> bool;
    "`fle`: any NaN is invalid." le_f32 le_f64 = compare::le, (a, b) (fl: &mut Flags) -> bool;
    "`fclass`: one bit of ten, from minus infinity to quiet NaN."
        classify_f32 classify_f64 = compare::classify, (a) () -> u64;
    "`a` with the sign of `b`." sgnj_f32 sgnj_f64 = compare::sgnj, (a, b) ();
    "`a` with the opposite of the sign of `b`." sgnjn_f32 sgnjn_f64 = compare::sgnjn, (a, b) ();
    "`a` with the product of both signs." sgnjx_f32 sgnjx_f64 = compare::sgnjx, (a, b) ();
    "To `i32`, saturating; NaN is the greatest." f32_to_i32 f64_to_i32 = convert::to_i32,
        (a) (rm: Rm, fl: &mut Flags) -> i32;
    "To `u32`, saturating; NaN is the greatest." f32_to_u32 f64_to_u32 = convert::to_u32,
        (a) (rm: Rm, fl: &mut Flags) -> u32;
    "To `i64`, saturating; NaN is the greatest." f32_to_i64 f64_to_i64 = convert::to_i64,
        (a) (rm: Rm, fl: &mut Flags) -> i64;
    "To `u64`, saturating; NaN is the greatest." f32_to_u64 f64_to_u64 = convert::to_u64,
        (a) (rm: Rm, fl: &mut Flags) -> u64;
    "From `i32`." i32_to_f32 i32_to_f64 = convert::from_i32, () (x: i32, rm: Rm, fl: &mut Flags);
    "From `u32`." u32_to_f32 u32_to_f64 = convert::from_u32, () (x: u32, rm: Rm, fl: &mut Flags);
    "From `i64`." i64_to_f32 i64_to_f64 = convert::from_i64, () (x: i64, rm: Rm, fl: &mut Flags);
    "From `u64`." u64_to_f32 u64_to_f64 = convert::from_u64, () (x: u64, rm: Rm, fl: &mut Flags);
}

/// Single to double precision, which is exact.
#[inline]
pub fn f32_to_f64(a: u32, fl: &mut Flags) -> u64 {
    fast::widen(a, fl)
}

/// Double to single precision.
#[inline]
pub fn f64_to_f32(a: u64, rm: Rm, fl: &mut Flags) -> u32 {
    fast::narrow(a, rm, fl)
}
