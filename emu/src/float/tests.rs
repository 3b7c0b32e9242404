//! Both paths against an independent implementation, `rustc_apfloat`, bit for bit and flag for
//! flag, and the few rules of RISC-V that are not IEEE's.

use super::*;
use crate::dev::SplitMix;
use rustc_apfloat::ieee::{Double, Quad, Single};
use rustc_apfloat::{Float, FloatConvert, Round, Status, StatusAnd};

const MODES: [(Rm, Round); 5] = [
    (Rm::Rne, Round::NearestTiesToEven),
    (Rm::Rtz, Round::TowardZero),
    (Rm::Rdn, Round::TowardNegative),
    (Rm::Rup, Round::TowardPositive),
    (Rm::Rmm, Round::NearestTiesToAway),
];

/// Operand sets per operation, rounding mode and format.
const ROUNDS: usize = 200_000;

trait Oracle: Format {
    type Ap: Float + FloatConvert<Quad>;
}
impl Oracle for f32 {
    type Ap = Single;
}
impl Oracle for f64 {
    type Ap = Double;
}

/// Operands; runs are repeatable.
struct Random(SplitMix);

impl Random {
    fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// Few bits set, or all but few: what makes results exact, halfway, or nearly so.
    fn fraction<F: Format>(&mut self) -> u64 {
        let mask = F::HIDDEN - 1;
        let bit = 1 << self.below(F::FRAC as u64);
        let top = !(mask >> self.below(F::FRAC as u64 + 1));
        mask & match self.below(8) {
            0 => 0,
            1 => mask,
            2 => bit,
            3 => bit.wrapping_neg(),
            4 => self.below(4).wrapping_sub(2),
            5 => (mask / 2).wrapping_add(self.below(4)),
            6 => self.next() & top,
            _ => self.next(),
        }
    }

    /// An operand; `near` is another one, whose neighbourhood is as interesting as the extremes.
    fn operand<F: Format>(&mut self, near: u64) -> u64 {
        let max = F::EXP_MAX as u64;
        let exp = match self.below(16) {
            0 => 0,
            1 => max,
            2 => 1 + self.below(3),
            3 => max - 1 - self.below(3),
            4 => F::FRAC as u64 + self.below(4),
            5 => max / 2 - 1 - self.below(3),
            6..9 => self.below(max + 1),
            9..11 => max / 2 + self.below(70),
            11 => max - F::exp_field(near) as u64,
            12 => (max / 2).wrapping_sub(F::exp_field(near) as u64).wrapping_add(self.below(4)),
            13 => (max / 2).wrapping_add(F::exp_field(near) as u64).wrapping_add(self.below(4)),
            _ => (F::exp_field(near) as u64).wrapping_add(self.below(120)).wrapping_sub(60),
        };
        let sign = if self.below(2) == 0 { F::SIGN } else { 0 };
        match self.below(32) {
            0 => near ^ self.below(4) ^ sign,
            _ => sign | (exp % (max + 1)) << F::FRAC | self.fraction::<F>(),
        }
    }
}

fn ap<F: Oracle>(bits: u64) -> F::Ap {
    F::Ap::from_bits(bits as u128)
}

fn flags(status: Status) -> Flags {
    let mut fl = Flags::default();
    for (bit, flag) in [
        (Status::INEXACT, Flags::NX),
        (Status::UNDERFLOW, Flags::UF),
        (Status::OVERFLOW, Flags::OF),
        (Status::DIV_BY_ZERO, Flags::DZ),
        (Status::INVALID_OP, Flags::NV),
    ] {
        if status.intersects(bit) {
            fl |= flag;
        }
    }
    fl
}

/// How far operands are scaled to see what an unbounded exponent would give.
const SCALE: i32 = 60;

/// `x × 2^by`, but not zero: a sticky bit stays one.
fn scale<A: Float>(x: A, by: i32) -> A {
    let scaled = x.scalbn(by);
    if scaled.is_zero() && !x.is_zero() { A::SMALLEST.copy_sign(x) } else { scaled }
}

/// The oracle's answer as RISC-V has it: canonical NaN, tininess after rounding (the oracle
/// detects it at subnormal precision), and overflow also where the result is the greatest finite
/// number. `scaled` is the same result times a power of two.
fn expect<F: Oracle>(got: StatusAnd<F::Ap>, scaled: impl Fn(i32) -> F::Ap) -> (u64, Flags) {
    let mut fl = flags(got.status);
    if got.value.is_nan() {
        return (F::NAN, fl);
    }
    let bits = got.value.to_bits() as u64;
    let inexact = fl.has(Flags::NX);
    if inexact && bits & !F::SIGN == F::HIDDEN {
        let least = ap::<F>(F::HIDDEN).scalbn(SCALE);
        if scaled(SCALE).abs() < least {
            fl |= Flags::UF;
        }
    }
    if inexact && bits & !F::SIGN == F::INF - 1 {
        let greatest = F::Ap::largest().scalbn(-SCALE);
        if scaled(-SCALE).abs() > greatest {
            fl |= Flags::OF;
        }
    }
    (bits, fl)
}

type Operation = fn(&[u64; 3], Rm, &mut Flags) -> u64;

/// Runs an operation's two paths over structured random operands against `oracle`.
fn check<F: Oracle>(
    name: &str,
    fast: Operation,
    soft: Operation,
    oracle: impl Fn(&[u64; 3], Round) -> (u64, Flags),
) {
    let mut random = Random(SplitMix(name.len() as u64 + F::FRAC as u64));
    for (rm, round) in MODES {
        for n in 0..ROUNDS {
            let a = random.operand::<F>(F::INF / 2);
            let b = random.operand::<F>(a);
            let c = match random.below(3) {
                // Cancels most of a product, or all.
                0 => {
                    let p = soft::mul::<F>(a, b, rm, &mut Flags::default());
                    p ^ F::SIGN ^ random.below(3)
                }
                1 => soft::mul::<F>(a, b, rm, &mut Flags::default())
                    .wrapping_sub(random.below(120) << F::FRAC),
                _ => random.operand::<F>(b),
            };
            let x = [a, b, c].map(|x| x & (F::SIGN | (F::SIGN - 1)));
            let (want, want_fl) = oracle(&x, round);
            let say = |path: &str, got: u64, fl: Flags| {
                format!(
                    "{name} {path} {rm:?} #{n} {x:x?}: {got:x} {fl:?}, want {want:x} {want_fl:?}"
                )
            };
            for (path, op) in [("soft", soft), ("fast", fast)] {
                let mut fl = Flags::default();
                let got = op(&x, rm, &mut fl);
                assert!(got == want && fl == want_fl, "{}", say(path, got, fl));
                let mut fl = Flags::NX | Flags::DZ;
                let got = op(&x, rm, &mut fl);
                let sticky = fl == want_fl | Flags::NX | Flags::DZ;
                assert!(got == want && sticky, "sticky: {}", say(path, got, fl));
            }
        }
    }
}

fn arithmetic<F: Oracle>() {
    let by = |x: u64, n: i32| scale(ap::<F>(x), n);
    check::<F>(
        "add",
        |x, rm, fl| fast::add::<F>(x[0], x[1], rm, fl),
        |x, rm, fl| soft::add::<F>(x[0], x[1], rm, fl),
        |x, r| {
            expect::<F>(ap::<F>(x[0]).add_r(ap::<F>(x[1]), r), |n| {
                by(x[0], n).add_r(by(x[1], n), r).value
            })
        },
    );
    check::<F>(
        "sub",
        |x, rm, fl| fast::sub::<F>(x[0], x[1], rm, fl),
        |x, rm, fl| soft::add::<F>(x[0], x[1] ^ F::SIGN, rm, fl),
        |x, r| {
            expect::<F>(ap::<F>(x[0]).sub_r(ap::<F>(x[1]), r), |n| {
                by(x[0], n).sub_r(by(x[1], n), r).value
            })
        },
    );
    check::<F>(
        "mul",
        |x, rm, fl| fast::mul::<F>(x[0], x[1], rm, fl),
        |x, rm, fl| soft::mul::<F>(x[0], x[1], rm, fl),
        |x, r| {
            expect::<F>(ap::<F>(x[0]).mul_r(ap::<F>(x[1]), r), |n| {
                by(x[0], n).mul_r(ap::<F>(x[1]), r).value
            })
        },
    );
    check::<F>(
        "div",
        |x, rm, fl| fast::div::<F>(x[0], x[1], rm, fl),
        |x, rm, fl| soft::div::<F>(x[0], x[1], rm, fl),
        |x, r| {
            expect::<F>(ap::<F>(x[0]).div_r(ap::<F>(x[1]), r), |n| {
                by(x[0], n).div_r(ap::<F>(x[1]), r).value
            })
        },
    );
    check::<F>(
        "fma",
        |x, rm, fl| fast::fma::<F>(x[0], x[1], x[2], rm, fl),
        |x, rm, fl| soft::fma::<F>(x[0], x[1], x[2], rm, fl),
        |x, r| {
            let [a, b, c] = x.map(ap::<F>);
            expect::<F>(a.mul_add_r(b, c, r), |n| by(x[0], n).mul_add_r(b, by(x[2], n), r).value)
        },
    );
}

#[test]
fn single_arithmetic_agrees_with_apfloat() {
    arithmetic::<f32>();
}

#[test]
fn double_arithmetic_agrees_with_apfloat() {
    arithmetic::<f64>();
}

/// The oracle has no root: the host's nearest one, moved by what its exact square says.
fn sqrt_oracle<F: Oracle>(a: u64, round: Round) -> (u64, Flags) {
    let (x, mut inexact) = (ap::<F>(a), false);
    if x.is_nan() || x.is_negative() && !x.is_zero() {
        let quiet = x.is_nan() && !x.is_signaling();
        return (F::NAN, if quiet { Flags::default() } else { Flags::NV });
    }
    let nearest = F::from_raw(a).host_sqrt().raw();
    if x.is_zero() || x.is_infinite() {
        return (a, Flags::default());
    }
    let root: Quad = ap::<F>(nearest).convert(&mut inexact).value;
    let square = root.mul_r(root, Round::TowardZero);
    assert_eq!(square.status, Status::OK);
    let x: Quad = x.convert(&mut inexact).value;
    let bits = match round {
        Round::TowardPositive if square.value < x => nearest + 1,
        Round::TowardZero | Round::TowardNegative if square.value > x => nearest - 1,
        _ => nearest,
    };
    (bits, if square.value == x { Flags::default() } else { Flags::NX })
}

fn roots<F: Oracle>() {
    check::<F>(
        "sqrt",
        |x, rm, fl| fast::sqrt::<F>(x[0], rm, fl),
        |x, rm, fl| soft::sqrt::<F>(x[0], rm, fl),
        |x, r| sqrt_oracle::<F>(x[0], r),
    );
    // Squares, so that exact roots and their neighbours are seen often.
    check::<F>(
        "sqrt of squares",
        |x, rm, fl| fast::sqrt::<F>(square::<F>(x), rm, fl),
        |x, rm, fl| soft::sqrt::<F>(square::<F>(x), rm, fl),
        |x, r| sqrt_oracle::<F>(square::<F>(x), r),
    );
}

/// About the square of a number of few bits.
fn square<F: Format>(x: &[u64; 3]) -> u64 {
    let root = x[0] & !(F::HIDDEN.isqrt() - 1);
    soft::mul::<F>(root, root, Rm::Rne, &mut Flags::default()).wrapping_add(x[1] % 3)
}

#[test]
fn roots_agree_with_the_host_and_their_squares() {
    roots::<f32>();
    roots::<f64>();
}

/// (value, flags) of a conversion to an integer of `width` bits, saturating as RISC-V does.
fn integer_oracle<F: Oracle>(a: u64, width: usize, signed: bool, round: Round) -> (u64, Flags) {
    let x = ap::<F>(a);
    let max = u64::MAX >> (64 - width + signed as usize);
    if x.is_nan() {
        return (max, Flags::NV);
    }
    let mut exact = false;
    let (status, value) = if signed {
        let r = x.to_i128_r(width, round, &mut exact);
        (r.status, r.value as u64)
    } else {
        let r = x.to_u128_r(width, round, &mut exact);
        (r.status, r.value as u64)
    };
    (value, flags(status))
}

fn integers<F: Oracle>() {
    macro_rules! both_ways {
        ($($to:ident $from:ident $int:ty, $signed:literal;)*) => {$(
            let width = <$int>::BITS as usize;
            check::<F>(
                stringify!($to),
                |x, rm, fl| convert::$to::<F>(x[0], rm, fl) as u64,
                |x, rm, fl| convert::$to::<F>(x[0], rm, fl) as u64,
                |x, r| {
                    let (value, fl) = integer_oracle::<F>(x[0], width, $signed, r);
                    (value as $int as u64, fl)
                },
            );
            // The bits of operands serve as integers: these have runs of ones and zeros as well.
            let int = |x: &[u64; 3]| (x[0] >> (x[1] % 64)) as $int;
            check::<F>(
                stringify!($from),
                |x, rm, fl| convert::$from::<F>((x[0] >> (x[1] % 64)) as $int, rm, fl),
                |x, rm, fl| convert::$from::<F>((x[0] >> (x[1] % 64)) as $int, rm, fl),
                |x, r| {
                    expect::<F>(F::Ap::from_i128_r(int(x) as i128, r), |_| unreachable!("in range"))
                },
            );
        )*};
    }
    both_ways! {
        to_i32 from_i32 i32, true;
        to_u32 from_u32 u32, false;
        to_i64 from_i64 i64, true;
        to_u64 from_u64 u64, false;
    }
}

#[test]
fn integer_conversions_agree_with_apfloat() {
    integers::<f32>();
    integers::<f64>();
}

#[test]
fn format_conversions_agree_with_apfloat() {
    check::<f64>(
        "narrow",
        |x, rm, fl| fast::narrow(to_single_range(x), rm, fl) as u64,
        |x, rm, fl| convert::reformat::<f64, f32>(to_single_range(x), rm, fl),
        |x, r| {
            let (x, mut lost) = (ap::<f64>(to_single_range(x)), false);
            expect::<f32>(x.convert_r(r, &mut lost), |n| x.scalbn(n).convert_r(r, &mut false).value)
        },
    );
    check::<f32>(
        "widen",
        |x, _, fl| fast::widen(x[0] as u32, fl),
        |x, rm, fl| convert::reformat::<f32, f64>(x[0], rm, fl),
        |x, r| {
            let mut lost = false;
            expect::<f64>(ap::<f32>(x[0]).convert_r(r, &mut lost), |_| unreachable!("exact"))
        },
    );
}

/// A double whose exponent mostly lies where single precision ends.
fn to_single_range(x: &[u64; 3]) -> u64 {
    let field = match x[1] % 4 {
        0 => return x[0],
        1 => 1023 - 127 - 24 + x[2] % 28,
        2 => 1023 + 125 + x[2] % 4,
        _ => 1023 - 128 + x[2] % 4,
    };
    (x[0] & !f64::INF) | field << 52
}

fn comparisons<F: Oracle>() {
    let mut random = Random(SplitMix(7));
    for _ in 0..ROUNDS {
        let a = random.operand::<F>(F::INF / 2);
        let b = random.operand::<F>(a);
        let (x, y) = (ap::<F>(a), ap::<F>(b));
        let signalling = x.is_signaling() || y.is_signaling();
        let unordered = x.is_nan() || y.is_nan();
        let nv = |raised: bool| if raised { Flags::NV } else { Flags::default() };
        let run = |op: &dyn Fn(&mut Flags) -> u64| {
            let mut fl = Flags::default();
            (op(&mut fl), fl)
        };
        let number = |r: F::Ap| if r.is_nan() { F::NAN } else { r.to_bits() as u64 };
        let (least, greatest) = match (x.is_nan(), y.is_nan()) {
            (true, _) => (y, y),
            (_, true) => (x, x),
            _ if x.is_zero() && y.is_zero() && x.is_negative() => (x, y),
            _ if x.is_zero() && y.is_zero() => (y, x),
            _ if x < y => (x, y),
            _ => (y, x),
        };
        assert_eq!(run(&|f| compare::min::<F>(a, b, f)), (number(least), nv(signalling)));
        assert_eq!(run(&|f| compare::max::<F>(a, b, f)), (number(greatest), nv(signalling)));
        let eq = run(&|f| compare::eq::<F>(a, b, f) as u64);
        assert_eq!(eq, ((x == y) as u64, nv(signalling)), "{a:x} = {b:x}");
        let lt = run(&|f| compare::lt::<F>(a, b, f) as u64);
        assert_eq!(lt, ((x < y) as u64, nv(unordered)), "{a:x} < {b:x}");
        let le = run(&|f| compare::le::<F>(a, b, f) as u64);
        assert_eq!(le, ((x <= y) as u64, nv(unordered)), "{a:x} <= {b:x}");
        let class = match (x.is_nan(), x.is_zero(), x.is_infinite(), x.is_denormal()) {
            (true, ..) => 9 - x.is_signaling() as u32,
            (_, true, ..) => 4 - x.is_negative() as u32,
            (_, _, true, _) => 7 * !x.is_negative() as u32,
            (_, _, _, true) => 2 + 3 * !x.is_negative() as u32,
            _ => 1 + 5 * !x.is_negative() as u32,
        };
        assert_eq!(compare::classify::<F>(a), 1 << class, "{a:x}");
        assert_eq!(compare::sgnj::<F>(a, b), x.copy_sign(y).to_bits() as u64);
        assert_eq!(compare::sgnjn::<F>(a, b), x.copy_sign(-y).to_bits() as u64);
        let product = if y.is_negative() { -x } else { x };
        assert_eq!(compare::sgnjx::<F>(a, b), product.to_bits() as u64);
    }
}

#[test]
fn comparisons_agree_with_apfloat() {
    comparisons::<f32>();
    comparisons::<f64>();
}

/// Where tininess before and after rounding differ, and the nearest case where they do not.
#[test]
fn tininess_is_detected_after_rounding() {
    // 2^-126 × (1 − 2^-24): a tie of an unbounded exponent, which rounds up to 2^-126 …
    let tie = 0x3ff0_0000_0000_0000 - ((126 << 52) + (1 << 28));
    // … and the next double below: 2^-126 at subnormal precision only.
    for (a, want) in [(tie, Flags::NX), (tie - 1, Flags::NX | Flags::UF)] {
        let mut fl = Flags::default();
        assert_eq!(f64_to_f32(a, Rm::Rne, &mut fl), 0x0080_0000);
        assert_eq!(fl, want, "{a:x}");
    }
}

#[test]
fn infinity_times_zero_plus_quiet_nan_is_invalid() {
    let mut fl = Flags::default();
    let nan = f64::NAN.to_bits() | 1;
    let r = fma_f64(f64::INFINITY.to_bits(), 0, nan, Rm::Rne, &mut fl);
    assert_eq!((r, fl), (0x7ff8_0000_0000_0000, Flags::NV));
}

#[test]
fn narrow_values_are_boxed_with_ones() {
    assert_eq!(box_f32(0x3f80_0000), 0xffff_ffff_3f80_0000);
    assert_eq!(unbox_f32(0xffff_ffff_3f80_0000), 0x3f80_0000);
    assert_eq!(unbox_f32(0xffff_fffe_3f80_0000), 0x7fc0_0000);
}

#[test]
fn rounding_modes_have_their_numbers() {
    for (n, (rm, _)) in MODES.iter().enumerate() {
        assert_eq!(Rm::from_bits(n as u8), Some(*rm));
        assert_eq!(*rm as usize, n);
    }
    assert!((5..=255).all(|n| Rm::from_bits(n).is_none()));
}
