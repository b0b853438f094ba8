//! f32 and f64 behind one trait, with elementary functions of our own that vectorise: no branches, no calls, no tables.
//!
//! NaN goes through every function; infinities and overflow give what IEEE arithmetic would.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub};

use super::format::Format;
use crate::util::simd::Isa;

/// f32 or f64: constants, comparisons that let NaN through, and elementary functions for vectorised bodies. `I` says whether
/// multiply-add is fused; use [`crate::util::simd::Portable`] outside dispatched functions.
pub trait Float:
    Format
    + Copy
    + Default
    + PartialOrd
    + Debug
    + Send
    + Sync
    + 'static
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + MulAssign
{
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// Positive infinity.
    const INFINITY: Self;

    /// Nearest value of this type.
    fn of(value: f64) -> Self;

    /// The value as f64, exact.
    fn f64(self) -> f64;

    /// Whether it is NaN.
    #[inline(always)]
    #[allow(clippy::eq_op, reason = "the comparison that vectorises")]
    fn is_nan(self) -> bool {
        self != self
    }

    /// Magnitude.
    fn abs(self) -> Self;

    /// `self` with the sign of `sign`.
    fn copysign(self, sign: Self) -> Self;

    /// Sine of the standard library (not vectorised).
    fn sin(self) -> Self;

    /// Cosine of the standard library (not vectorised).
    fn cos(self) -> Self;

    /// Square root.
    fn sqrt(self) -> Self;

    /// `self * b + c`, rounded once where `I` is fused.
    fn fma<I: Isa>(self, b: Self, c: Self) -> Self;

    /// The smaller of `self` and `high`; NaN stays NaN.
    #[inline(always)]
    fn at_most(self, high: Self) -> Self {
        if high < self { high } else { self }
    }

    /// The larger of `self` and `low`; NaN stays NaN.
    #[inline(always)]
    fn at_least(self, low: Self) -> Self {
        if low > self { low } else { self }
    }

    /// e^x, relative error below 1 unit in the last place (f32) or 2 (f64), subnormal results included; 0 and infinity outside.
    #[inline(always)]
    fn exp<I: Isa>(self) -> Self {
        let x = self.at_most(Self::EXP_HIGH).at_least(Self::EXP_LOW);
        let (r, k) = reduce::<I, Self>(x);
        let p = (r * r).fma::<I>(horner::<I, Self>(r, Self::EXP), r) + Self::ONE;
        // 2^k itself may be too large or too small for a normal number: scale in two steps, the second exact or the only rounding.
        let (offset, back) = if x > Self::ZERO {
            (Self::of(-2.0), Self::of(4.0))
        } else {
            (Self::SUBNORMAL_SHIFT, Self::SUBNORMAL_BACK)
        };
        p * (k + offset).power_of_two() * back
    }

    /// e^x for x <= 0, cheaper than [`Float::exp`]: 0 where the result would be subnormal (f32: below -87.7).
    #[inline(always)]
    fn exp_decay<I: Isa>(self) -> Self {
        let (r, k) = reduce::<I, Self>(self.at_least(Self::DECAY_LOW));
        let p = (r * r).fma::<I>(horner::<I, Self>(r, Self::EXP), r) + Self::ONE;
        p * k.power_of_two()
    }

    /// e^x - 1 without cancellation near 0, relative error below 2 units in the last place.
    #[inline(always)]
    fn expm1<I: Isa>(self) -> Self {
        let (r, k) = reduce::<I, Self>(self.at_most(Self::EXP_HIGH).at_least(Self::EXPM1_LOW));
        let p = (r * r).fma::<I>(horner::<I, Self>(r, Self::EXP), r);
        // half of 2^k: k = 1024 (f32: 128) occurs and must overflow only in the last step
        let s = (k - Self::ONE).power_of_two();
        let half = p.fma::<I>(s, s - Self::of(0.5));
        half + half
    }

    /// (e^x, e^x - 1) from one evaluation, for x up to 60.
    #[inline(always)]
    fn exp_and_expm1<I: Isa>(self) -> (Self, Self) {
        let (r, k) = reduce::<I, Self>(self.at_least(Self::DECAY_LOW));
        let p = (r * r).fma::<I>(horner::<I, Self>(r, Self::EXP), r);
        let s = k.power_of_two();
        (p.fma::<I>(s, s), p.fma::<I>(s, s - Self::ONE))
    }

    /// Natural logarithm; -infinity at 0, NaN below.
    #[inline(always)]
    fn ln<I: Isa>(self) -> Self {
        let (m, k) = self.mantissa();
        let f = m - Self::ONE;
        let y = k.fma::<I>(Self::LN2_HIGH, log_near_one::<I, Self>(f) + k * Self::LN2_LOW);
        let y = if self < Self::INFINITY { y } else { self };
        if self > Self::ZERO {
            y
        } else if self == Self::ZERO {
            -Self::INFINITY
        } else {
            Self::of(f64::NAN)
        }
    }

    /// ln(1 + x) without cancellation near 0.
    #[inline(always)]
    fn log1p<I: Isa>(self) -> Self {
        let w = Self::ONE + self;
        let lost = (self - (w - Self::ONE)) / w;
        let y = w.ln::<I>();
        // past 2^54 nothing of the 1 is left, and infinity would make the correction NaN
        if w > Self::ZERO && self < Self::of(1e17) { y + lost } else { y }
    }

    /// 1 / (1 + e^-x) and its complement 1 / (1 + e^x), each with small relative error.
    #[inline(always)]
    fn sigmoid<I: Isa>(self) -> (Self, Self) {
        let e = (-self.abs()).exp_decay::<I>();
        let large = Self::ONE / (Self::ONE + e);
        let small = e * large;
        if self < Self::ZERO { (small, large) } else { (large, small) }
    }

    /// Hyperbolic tangent, relative error below 4 units in the last place.
    #[inline(always)]
    fn tanh<I: Isa>(self) -> Self {
        let e = (self.abs() * Self::of(-2.0)).expm1::<I>();
        (-e / (Self::of(2.0) + e)).copysign(self)
    }

    /// ln(1 + e^x).
    #[inline(always)]
    fn softplus<I: Isa>(self) -> Self {
        self.at_least(Self::ZERO) + softplus_tail::<I, Self>(self)
    }

    /// For a >= 0: the upper tail of the standard normal, 1 - Phi(a), with small relative error, and e^(-a^2 / 2). Both are 0
    /// from 13.3 (f32) or 38 (f64) on.
    #[inline(always)]
    fn normal_tail<I: Isa>(self) -> (Self, Self) {
        let a = self.at_most(Self::TAIL_END);
        let e = (a * a * Self::of(-0.5)).exp_decay::<I>();
        (e * mills::<I, Self>(a), e)
    }

    /// Error function, relative error below 4 units in the last place.
    #[inline(always)]
    fn erf<I: Isa>(self) -> Self {
        let a = self.abs();
        let near = a * horner::<I, Self>((a * a).at_most(Self::of(0.25)), Self::ERF);
        let far = Self::ONE - erfc_tail::<I, Self>(a);
        (if a < Self::of(0.5) { near } else { far }).copysign(self)
    }

    /// Complementary error function 1 - erf(x), also without cancellation for large x.
    #[inline(always)]
    fn erfc<I: Isa>(self) -> Self {
        let a = self.abs();
        let near = a * horner::<I, Self>((a * a).at_most(Self::of(0.25)), Self::ERF);
        let tail = erfc_tail::<I, Self>(a);
        let positive = if a < Self::of(0.5) { Self::ONE - near } else { tail };
        let negative = if a < Self::of(0.5) { Self::ONE + near } else { Self::of(2.0) - tail };
        if self < Self::ZERO { negative } else { positive }
    }
}

/// ln(1 + e^-|x|): what softplus adds to ReLU.
#[inline(always)]
pub(super) fn softplus_tail<I: Isa, T: Float>(x: T) -> T {
    let e = (-x.abs()).exp_decay::<I>(); // in (0, 1]
    // ln(1 + e) = ln 2 + ln(1 + (e - 1) / 2) keeps the series short
    let far = e > T::of(0.414);
    let y = log_near_one::<I, T>(if far { (e - T::ONE) * T::of(0.5) } else { e });
    if far { y + T::of(std::f64::consts::LN_2) } else { y }
}

/// Sum of `c[i] * x^i`.
#[inline(always)]
pub(super) fn horner<I: Isa, T: Float>(x: T, c: &[T]) -> T {
    let mut y = c[c.len() - 1];
    for i in (0..c.len() - 1).rev() {
        y = y.fma::<I>(x, c[i]);
    }
    y
}

/// x = k ln 2 + r with |r| <= ln 2 / 2; k comes as k + 3 * 2^(mantissa bits - 1), which leaves the integer in the low bits.
#[inline(always)]
fn reduce<I: Isa, T: Float>(x: T) -> (T, T) {
    let shifted = x.fma::<I>(T::of(std::f64::consts::LOG2_E), T::ROUNDER);
    let k = shifted - T::ROUNDER;
    (k.fma::<I>(-T::LN2_LOW, k.fma::<I>(-T::LN2_HIGH, x)), shifted)
}

/// ln(1 + f) for f in [-0.3, 0.42]: 2 atanh(f / (2 + f)), arranged so that the leading term f is exact.
#[inline(always)]
fn log_near_one<I: Isa, T: Float>(f: T) -> T {
    let s = f / (T::of(2.0) + f);
    let w = s * s;
    let half_square = f * f * T::of(0.5);
    f - s.fma::<I>(-w.fma::<I>(horner::<I, T>(w, T::LOG), half_square), half_square)
}

/// (1 - Phi(a)) e^(a^2 / 2) for a in [0, TAIL_END], as P((a - K) / (a + K)) / (a + K).
#[inline(always)]
fn mills<I: Isa, T: Float>(a: T) -> T {
    let inverse = T::ONE / (a + T::MILLS_CENTRE);
    horner::<I, T>((a - T::MILLS_CENTRE) * inverse, T::MILLS) * inverse
}

/// erfc(a) for a >= 0; the square is split so that its rounding does not reach the exponential.
#[inline(always)]
fn erfc_tail<I: Isa, T: Float>(a: T) -> T {
    let scaled = (a * T::of(std::f64::consts::SQRT_2)).at_most(T::TAIL_END);
    let a = a.at_most(T::TAIL_END * T::of(std::f64::consts::FRAC_1_SQRT_2));
    let high = a.short();
    let low = (a - high) * (a + high);
    let e = (-high * high).exp_decay::<I>() * (-low).exp_decay::<I>();
    (e + e) * mills::<I, T>(scaled)
}

macro_rules! float {
    ($t:ident) => {
        impl Float for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            const INFINITY: Self = $t::INFINITY;
            #[inline(always)]
            fn of(value: f64) -> Self {
                value as $t
            }
            #[inline(always)]
            fn f64(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn abs(self) -> Self {
                $t::abs(self)
            }
            #[inline(always)]
            fn copysign(self, sign: Self) -> Self {
                $t::copysign(self, sign)
            }
            #[inline(always)]
            fn sin(self) -> Self {
                $t::sin(self)
            }
            #[inline(always)]
            fn cos(self) -> Self {
                $t::cos(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                $t::sqrt(self)
            }
            #[inline(always)]
            fn fma<I: Isa>(self, b: Self, c: Self) -> Self {
                if I::FUSED { self.mul_add(b, c) } else { self * b + c }
            }
        }
    };
}

float!(f32);
float!(f64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::simd::{Fused, Portable};

    /// (x, erf, erfc, upper normal tail), made with mpmath at 40 digits.
    const ERROR_FUNCTION: [(f64, f64, f64, f64); 14] = [
        (1e-10, 1.1283791670955126e-10, 0.999999999887162, 0.49999999996010575),
        (0.015625, 0.017629489782642005, 0.982370510217358, 0.4937667805001103),
        (0.125, 0.1403162048013338, 0.8596837951986662, 0.4502617751698871),
        (0.25, 0.27632639016823696, 0.7236736098317631, 0.4012936743170763),
        (0.4375, 0.463898135749933, 0.536101864250067, 0.3308743880408792),
        (0.5, 0.5204998778130465, 0.4795001221869535, 0.3085375387259869),
        (0.5625, 0.5736744566155919, 0.42632554338440803, 0.2868877018163652),
        (0.75, 0.7111556336535151, 0.28884436634648486, 0.2266273523768682),
        (1.0, 0.8427007929497149, 0.15729920705028513, 0.15865525393145705),
        (1.5, 0.9661051464753108, 0.033894853524689274, 0.06680720126885807),
        (2.25, 0.9985372834133188, 0.0014627165866811518, 0.012224472655044703),
        (3.5, 0.9999992569016276, 7.430983723414128e-07, 0.00023262907903552504),
        (5.0, 0.9999999999984626, 1.537459794428035e-12, 2.866515718791939e-07),
        (8.0, 1.0, 1.1224297172982926e-29, 6.220960574271784e-16),
    ];

    /// Largest relative error of `f` against `exact`, in units of T's rounding (2^-24, 2^-53) of the result.
    fn worst<T: Float>(x: impl Iterator<Item = f64>, unit: f64, f: impl Fn(T) -> T, exact: impl Fn(f64) -> f64) -> f64 {
        x.map(|x| {
            let x = T::of(x);
            let (found, exact) = (f(x).f64(), exact(x.f64()));
            if found == exact { 0.0 } else { ((found - exact) / exact).abs() / unit }
        })
        .fold(0.0, f64::max)
    }

    fn grid(low: f64, high: f64) -> impl Iterator<Item = f64> {
        (0..=200_000).map(move |i| low + (high - low) * f64::from(i) / 200_000.0)
    }

    /// Sizes from 1e-30 to `high`, both signs.
    fn sizes(high: f64) -> impl Iterator<Item = f64> {
        (0..40_000).map(move |i| {
            let size = 10f64.powf(-30.0 + f64::from(i / 2) * (30.0 + high.log10()) / 20_000.0);
            if i % 2 == 0 { size } else { -size }
        })
    }

    fn sweep<I: Isa>(name: &str) {
        let u32 = 2f64.powi(-24);
        let u64 = 2f64.powi(-53);
        let table = [
            ("exp", worst::<f32>(grid(-87.0, 88.7), u32, |x| Float::exp::<I>(x), f64::exp), 2.0),
            ("exp_decay", worst::<f32>(grid(-87.0, 0.0), u32, |x| x.exp_decay::<I>(), f64::exp), 2.0),
            ("expm1", worst::<f32>(grid(-30.0, 88.7), u32, |x| x.expm1::<I>(), f64::exp_m1), 3.5),
            ("expm1 near 0", worst::<f32>(sizes(1.0), u32, |x| x.expm1::<I>(), f64::exp_m1), 3.5),
            ("ln", worst::<f32>(sizes(1e30).map(f64::abs), u32, |x| Float::ln::<I>(x), f64::ln), 2.5),
            ("ln near 1", worst::<f32>(grid(0.3, 3.0), u32, |x| Float::ln::<I>(x), f64::ln), 2.5),
            ("log1p", worst::<f32>(sizes(0.9), u32, |x| x.log1p::<I>(), f64::ln_1p), 4.0),
            ("log1p far", worst::<f32>(sizes(1e30).map(f64::abs), u32, |x| x.log1p::<I>(), f64::ln_1p), 4.0),
            ("tanh", worst::<f32>(sizes(30.0), u32, |x| Float::tanh::<I>(x), f64::tanh), 5.0),
            (
                "sigmoid",
                worst::<f32>(grid(-80.0, 80.0), u32, |x| x.sigmoid::<I>().0, |x| 1.0 / (1.0 + (-x).exp())),
                4.0,
            ),
            (
                "softplus",
                worst::<f32>(grid(-80.0, 80.0), u32, |x| x.softplus::<I>(), |x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
                4.0,
            ),
            ("erf", worst::<f32>(sizes(9.0), u32, |x| Float::erf::<I>(x), Float::erf::<Portable>), 4.0),
            ("erfc", worst::<f32>(grid(-4.0, 9.0), u32, |x| Float::erfc::<I>(x), Float::erfc::<Portable>), 8.0),
            ("exp f64", worst::<f64>(grid(-708.0, 709.7), u64, |x| Float::exp::<I>(x), f64::exp), 4.0),
            ("expm1 f64", worst::<f64>(sizes(30.0), u64, |x| x.expm1::<I>(), f64::exp_m1), 5.0),
            ("ln f64", worst::<f64>(sizes(1e300).map(f64::abs), u64, |x| Float::ln::<I>(x), f64::ln), 4.0),
            ("ln near 1 f64", worst::<f64>(grid(0.3, 3.0), u64, |x| Float::ln::<I>(x), f64::ln), 4.0),
            ("log1p f64", worst::<f64>(sizes(0.9), u64, |x| x.log1p::<I>(), f64::ln_1p), 5.0),
            ("tanh f64", worst::<f64>(sizes(30.0), u64, |x| Float::tanh::<I>(x), f64::tanh), 6.0),
            (
                "softplus f64",
                worst::<f64>(grid(-80.0, 80.0), u64, |x| x.softplus::<I>(), |x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
                6.0,
            ),
        ];
        for (function, found, limit) in table {
            println!("{name} {function}: {found:.2} roundings");
            assert!(found <= limit, "{name} {function}: {found} roundings, limit {limit}");
        }
    }

    #[test]
    fn elementary_functions_against_the_standard_library() {
        sweep::<Portable>("portable");
        // mul_add is exact without the instruction too, only slow
        sweep::<Fused>("fused");
    }

    #[test]
    fn error_function_table() {
        for (x, erf, erfc, tail) in ERROR_FUNCTION {
            let close = |found: f64, expected: f64, limit: f64| {
                assert!((found - expected).abs() <= limit * expected.abs(), "{x}: {found:e} {expected:e}");
            };
            close(Float::erf::<Portable>(x), erf, 6e-16);
            close(Float::erf::<Fused>(-x), -erf, 6e-16);
            close(Float::erfc::<Portable>(x), erfc, 2e-15);
            close(Float::erfc::<Fused>(-x), 1.0 + erf, 4e-16);
            close(x.normal_tail::<Portable>().0, tail, 1e-15 + 2e-16 * x * x);
            close(x.normal_tail::<Portable>().1, (-x * x / 2.0).exp(), 1e-15);
            let narrow = x as f32;
            if f64::from(narrow) == x && x < 9.0 {
                close(Float::erf::<Portable>(narrow).f64(), erf, 3e-7);
                close(Float::erfc::<Portable>(narrow).f64(), erfc, 6e-7);
                close(narrow.normal_tail::<Portable>().0.f64(), tail, 3e-7 + 1e-7 * x * x);
            }
        }
    }

    fn special<T: Float>() {
        let (inf, nan) = (T::INFINITY, T::of(f64::NAN));
        type I = Portable;
        for f in [
            T::exp::<I>,
            T::exp_decay::<I>,
            T::expm1::<I>,
            T::ln::<I>,
            T::log1p::<I>,
            T::tanh::<I>,
            T::softplus::<I>,
            T::erf::<I>,
            T::erfc::<I>,
        ] {
            assert!(f(nan).f64().is_nan());
        }
        assert!(nan.sigmoid::<I>().0.f64().is_nan() && nan.normal_tail::<I>().0.f64().is_nan());
        let cases = [
            (T::exp::<I>(inf), f64::INFINITY),
            (T::exp::<I>(-inf), 0.0),
            (T::exp::<I>(T::ZERO), 1.0),
            (T::exp_decay::<I>(-inf), 0.0),
            (T::exp_decay::<I>(T::ZERO), 1.0),
            (T::expm1::<I>(inf), f64::INFINITY),
            (T::expm1::<I>(-inf), -1.0),
            (T::ln::<I>(inf), f64::INFINITY),
            (T::ln::<I>(T::ZERO), f64::NEG_INFINITY),
            (T::ln::<I>(T::ONE), 0.0),
            (T::log1p::<I>(inf), f64::INFINITY),
            (T::log1p::<I>(-T::ONE), f64::NEG_INFINITY),
            (T::tanh::<I>(inf), 1.0),
            (T::tanh::<I>(-inf), -1.0),
            (T::softplus::<I>(inf), f64::INFINITY),
            (T::softplus::<I>(-inf), 0.0),
            (T::erf::<I>(-inf), -1.0),
            (T::erfc::<I>(inf), 0.0),
            (T::erfc::<I>(-inf), 2.0),
            (inf.normal_tail::<I>().0, 0.0),
        ];
        for (i, (found, expected)) in cases.iter().enumerate() {
            assert_eq!(found.f64(), *expected, "case {i}");
        }
        assert!(T::ln::<I>(-T::ONE).f64().is_nan() && T::log1p::<I>(T::of(-2.0)).f64().is_nan());
    }

    #[test]
    fn special_values() {
        special::<f32>();
        special::<f64>();
        // the largest and the smallest results
        assert!(Float::exp::<Portable>(88.72f32).is_finite() && Float::exp::<Portable>(88.73f32).is_infinite());
        assert!(Float::exp::<Portable>(709.78f64).is_finite() && Float::exp::<Portable>(709.79f64).is_infinite());
        assert_eq!(Float::exp::<Portable>(-103.0f32), f32::from_bits(1));
        assert_eq!(Float::exp::<Portable>(-745.0f64), f64::from_bits(1));
        assert_eq!((Float::exp::<Portable>(-104.5f32), Float::exp::<Portable>(-746.0f64)), (0.0, 0.0));
        assert_eq!(Float::exp::<Portable>(-95.0f32), (-95.0f64).exp() as f32);
        let tiny = f32::from_bits(12345);
        assert!((f64::from(Float::ln::<Portable>(tiny)) - f64::from(tiny).ln()).abs() < 1e-5);
    }

    #[test]
    fn exp_pair_is_consistent() {
        for x in grid(-80.0, 60.0).take(5000).chain(grid(-1.0, 1.0).take(5000)) {
            let (e, m) = (x as f32).exp_and_expm1::<Fused>();
            let x = f64::from(x as f32);
            assert!(
                (f64::from(e) / x.exp() - 1.0).abs() < 2e-7
                    && (f64::from(m) - x.exp_m1()).abs() <= 2.5e-7 * x.exp_m1().abs()
            );
        }
    }
}
