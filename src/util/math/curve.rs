//! The activation functions, one element each: value, slope and cancellation-free difference.

use super::float::{Float, softplus_tail};
use crate::util::simd::{Isa, Portable};

/// An elementwise function. All three answers are branch-free and let NaN through.
pub trait Curve<T: Float> {
    /// f(x).
    fn value<I: Isa>(x: T) -> T;
    /// f'(x); where f has a kink, PyTorch's choice.
    fn slope<I: Isa>(x: T) -> T;
    /// f(z + d) - f(z) without subtracting nearly equal numbers: its error is relative to d, not to f.
    fn difference<I: Isa>(z: T, d: T) -> T;
}

/// max(x, 0).
pub struct Relu;
/// max(x, 0) + 0.01.
pub struct ReluNonZero;
/// x Phi(x), Phi the normal distribution function.
pub struct Gelu;
/// 1 / (1 + e^-x).
pub struct Sigmoid;
/// Hyperbolic tangent.
pub struct Tanh;
/// Sine.
pub struct Sin;
/// x.
pub struct Identity;
/// x held within +-2056.
pub struct Clamp;
/// e^min(x, 32 ln 2).
pub struct Exp;
/// e^min(x, ln 128).
pub struct ExpMax;
/// min(x, sqrt(128))^2.
pub struct Squared;
/// min(x, cbrt(128))^3.
pub struct Third;
/// ReLU held below 2056.
pub struct ClampedRelu;
/// GELU held below 2056.
pub struct ClampedGelu;
/// x / (1 + e^-x).
pub struct Silu;
/// ln(1 + e^x).
pub struct Softplus;

/// Bound of CLAMP, cReLU and cGELU.
const LIMIT: f64 = 2056.0;
/// Bounds on x of EXP, EXPmax, SQUARED and THIRD: 2^32, 128, 128 and 128 as bounds on the value.
const EXP_LIMIT: f64 = 22.180_709_777_918_25;
const EXP_MAX_LIMIT: f64 = 4.852_030_263_919_617;
const SQUARED_LIMIT: f64 = 11.313_708_498_984_761;
const THIRD_LIMIT: f64 = 5.039_684_199_579_493;

/// 1 / sqrt(2 pi).
const NORMAL_DENSITY: f64 = 0.398_942_280_401_432_7;

/// clamp(z + d) - clamp(z), exact but for one rounding of d: inside the bounds it is d itself.
#[inline(always)]
fn clamp_difference<T: Float>(z: T, d: T, low: T, high: T) -> T {
    let held = z.at_least(low).at_most(high);
    (d + (z - held)).at_least(low - held).at_most(high - held)
}

/// min(z + d, high) - min(z, high).
#[inline(always)]
fn ceiling_difference<T: Float>(z: T, d: T, high: T) -> T {
    let held = z.at_most(high);
    (d + (z - held)).at_most(high - held)
}

/// max(z + d, 0) - max(z, 0).
#[inline(always)]
fn relu_difference<T: Float>(z: T, d: T) -> T {
    (d + z.at_most(T::ZERO)).at_least(-z.at_least(T::ZERO))
}

/// 1 up to and including `high`, then 0.
#[inline(always)]
fn below<T: Float>(x: T, high: T) -> T {
    if x > high { T::ZERO } else { T::ONE }
}

impl<T: Float> Curve<T> for Relu {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        x.at_least(T::ZERO)
    }
    #[inline(always)]
    fn slope<I: Isa>(x: T) -> T {
        if x <= T::ZERO { T::ZERO } else { T::ONE }
    }
    #[inline(always)]
    fn difference<I: Isa>(z: T, d: T) -> T {
        relu_difference(z, d)
    }
}

impl<T: Float> Curve<T> for ReluNonZero {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        x.at_least(T::ZERO) + T::of(0.01)
    }
    #[inline(always)]
    fn slope<I: Isa>(x: T) -> T {
        Relu::slope::<I>(x)
    }
    #[inline(always)]
    fn difference<I: Isa>(z: T, d: T) -> T {
        relu_difference(z, d)
    }
}

/// GELU is max(x, 0) - g(|x|) with g(a) = a (1 - Phi(a)): g is at most 0.17, so neither value nor difference lose digits when x is
/// large.
impl<T: Float> Curve<T> for Gelu {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        let (q, _) = x.abs().normal_tail::<I>();
        (-x.abs().at_most(T::TAIL_END)).fma::<I>(q, x.at_least(T::ZERO))
    }
    #[inline(always)]
    fn slope<I: Isa>(x: T) -> T {
        let (q, e) = x.abs().normal_tail::<I>();
        let g = (x.abs().at_most(T::TAIL_END) * T::of(-NORMAL_DENSITY)).fma::<I>(e, q);
        if x > T::ZERO { T::ONE - g } else { g }
    }
    #[inline(always)]
    fn difference<I: Isa>(z: T, d: T) -> T {
        let (y, end) = (z + d, T::TAIL_END);
        let (a, b) = (z.abs().at_most(end), y.abs().at_most(end));
        let (qa, e) = a.normal_tail::<I>();
        let (qb, _) = b.normal_tail::<I>();
        let far = relu_difference(z, d) - b.fma::<I>(qb, -(a * qa));
        // four terms: f' = Phi + z phi, f'' = phi (2 - z^2), f''' = phi (z^3 - 4 z), f'''' = phi (-z^4 + 7 z^2 - 4)
        let z = z.at_most(end).at_least(-end);
        let (phi, square) = (e * T::of(NORMAL_DENSITY), z * z);
        let cdf = if z > T::ZERO { T::ONE - qa } else { qa };
        let fourth = square.fma::<I>(T::of(7.0) - square, T::of(-4.0));
        let third = z * (square - T::of(4.0));
        let curved = (d * T::of(0.25)).fma::<I>(fourth, third);
        let curved = (d * T::of(1.0 / 3.0)).fma::<I>(curved, T::of(2.0) - square);
        let curved = (d * T::of(0.5)).fma::<I>(curved, z);
        let near = d * phi.fma::<I>(curved, cdf);
        // in the tails f changes by the factor e^(-z d), so there d must be smaller for four terms to be enough
        if d.abs() * (a * T::of(0.5)).at_least(T::ONE) < T::TAYLOR_CUT { near } else { far }
    }
}

impl<T: Float> Curve<T> for Sigmoid {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        x.sigmoid::<I>().0
    }
    #[inline(always)]
    fn slope<I: Isa>(x: T) -> T {
        let (s, r) = x.sigmoid::<I>();
        s * r
    }
    /// With s the sigmoid and r = 1 - s: s(b) - s(a) = r(a) s(b) (1 - e^-d) = s(a) r(b) (e^d - 1); the one whose exponential
    /// cannot overflow.
    #[inline(always)]
    fn difference<I: Isa>(z: T, d: T) -> T {
        let ((s0, r0), (s1, r1)) = (z.sigmoid::<I>(), (z + d).sigmoid::<I>());
        let m = (-d.abs()).expm1::<I>();
        if d > T::ZERO { -(r0 * s1 * m) } else { s0 * r1 * m }
    }
}

impl<T: Float> Curve<T> for Tanh {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        x.tanh::<I>()
    }
    #[inline(always)]
    fn slope<I: Isa>(x: T) -> T {
        let (s, r) = (x + x).sigmoid::<I>();
        T::of(4.0) * s * r
    }
    /// tanh(x) = 2 s(2x) - 1 with s the sigmoid.
    #[inline(always)]
    fn difference<I: Isa>(z: T, d: T) -> T {
        T::of(2.0) * Sigmoid::difference::<I>(z + z, d + d)
    }
}

impl<T: Float> Curve<T> for Sin {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        x.sin()
    }
    #[inline(always)]
    fn slope<I: Isa>(x: T) -> T {
        x.cos()
    }
    #[inline(always)]
    fn difference<I: Isa>(z: T, d: T) -> T {
        // 2 cos(z + d / 2) sin(d / 2), with the cosine of the sum expanded because the sum would be rounded
        let half = d * T::of(0.5);
        let (s, c) = (half.sin(), half.cos());
        T::of(2.0) * s * (z.cos() * c - z.sin() * s)
    }
}

impl<T: Float> Curve<T> for Identity {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        x
    }
    #[inline(always)]
    fn slope<I: Isa>(_: T) -> T {
        T::ONE
    }
    #[inline(always)]
    fn difference<I: Isa>(_: T, d: T) -> T {
        d
    }
}

impl<T: Float> Curve<T> for Clamp {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        x.at_least(T::of(-LIMIT)).at_most(T::of(LIMIT))
    }
    #[inline(always)]
    fn slope<I: Isa>(x: T) -> T {
        below(x.abs(), T::of(LIMIT))
    }
    #[inline(always)]
    fn difference<I: Isa>(z: T, d: T) -> T {
        clamp_difference(z, d, T::of(-LIMIT), T::of(LIMIT))
    }
}

/// e^(q min(z + d, high)) - e^(q min(z, high)): in factors of the old value, or, where the factor might overflow and nothing cancels,
/// as it stands.
#[inline(always)]
fn exp_difference<I: Isa, T: Float>(q: T, z: T, d: T, high: T) -> T {
    let (y, by) = ((q * z.at_most(high)).exp::<I>(), q * ceiling_difference(z, d, high));
    let (near, far) = (y * by.expm1::<I>(), (q * (z + d).at_most(high)).exp::<I>() - y);
    if by > T::ONE { far } else { near }
}

/// e^(q min(z + d, high)) - e^(q min(z, high)), for single values.
pub fn power_difference(q: f64, z: f64, d: f64, high: f64) -> f64 {
    exp_difference::<Portable, f64>(q, z, d, high)
}

impl<T: Float> Curve<T> for Exp {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        x.at_most(T::of(EXP_LIMIT)).exp::<I>()
    }
    #[inline(always)]
    fn slope<I: Isa>(x: T) -> T {
        below(x, T::of(EXP_LIMIT)) * Self::value::<I>(x)
    }
    #[inline(always)]
    fn difference<I: Isa>(z: T, d: T) -> T {
        exp_difference::<I, T>(T::ONE, z, d, T::of(EXP_LIMIT))
    }
}

impl<T: Float> Curve<T> for ExpMax {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        x.at_most(T::of(EXP_MAX_LIMIT)).exp::<I>()
    }
    #[inline(always)]
    fn slope<I: Isa>(x: T) -> T {
        below(x, T::of(EXP_MAX_LIMIT)) * Self::value::<I>(x)
    }
    #[inline(always)]
    fn difference<I: Isa>(z: T, d: T) -> T {
        exp_difference::<I, T>(T::ONE, z, d, T::of(EXP_MAX_LIMIT))
    }
}

impl<T: Float> Curve<T> for Squared {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        let a = x.at_most(T::of(SQUARED_LIMIT));
        a * a
    }
    #[inline(always)]
    fn slope<I: Isa>(x: T) -> T {
        below(x, T::of(SQUARED_LIMIT)) * (x + x)
    }
    #[inline(always)]
    fn difference<I: Isa>(z: T, d: T) -> T {
        let high = T::of(SQUARED_LIMIT);
        let (a, d) = (z.at_most(high), ceiling_difference(z, d, high));
        d * (a + a + d)
    }
}

impl<T: Float> Curve<T> for Third {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        let a = x.at_most(T::of(THIRD_LIMIT));
        a * a * a
    }
    #[inline(always)]
    fn slope<I: Isa>(x: T) -> T {
        below(x, T::of(THIRD_LIMIT)) * (T::of(3.0) * x * x)
    }
    #[inline(always)]
    fn difference<I: Isa>(z: T, d: T) -> T {
        let high = T::of(THIRD_LIMIT);
        let (a, d) = (z.at_most(high), ceiling_difference(z, d, high));
        let b = a + d;
        d * b.fma::<I>(a + b, a * a)
    }
}

impl<T: Float> Curve<T> for ClampedRelu {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        x.at_least(T::ZERO).at_most(T::of(LIMIT))
    }
    #[inline(always)]
    fn slope<I: Isa>(x: T) -> T {
        Relu::slope::<I>(x) * below(x, T::of(LIMIT))
    }
    #[inline(always)]
    fn difference<I: Isa>(z: T, d: T) -> T {
        clamp_difference(z, d, T::ZERO, T::of(LIMIT))
    }
}

impl<T: Float> Curve<T> for ClampedGelu {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        Gelu::value::<I>(x.at_most(T::of(LIMIT)))
    }
    #[inline(always)]
    fn slope<I: Isa>(x: T) -> T {
        Gelu::slope::<I>(x) * below(x, T::of(LIMIT))
    }
    #[inline(always)]
    fn difference<I: Isa>(z: T, d: T) -> T {
        let high = T::of(LIMIT);
        Gelu::difference::<I>(z.at_most(high), ceiling_difference(z, d, high))
    }
}

impl<T: Float> Curve<T> for Silu {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        // the bound keeps -infinity away from a product with 0
        x.at_least(T::EXP_LOW) * x.sigmoid::<I>().0
    }
    #[inline(always)]
    fn slope<I: Isa>(x: T) -> T {
        let (s, r) = x.sigmoid::<I>();
        s * x.at_least(T::EXP_LOW).at_most(T::EXP_HIGH).fma::<I>(r, T::ONE)
    }
    /// d s(z + d) + z (s(z + d) - s(z)) with s the sigmoid.
    #[inline(always)]
    fn difference<I: Isa>(z: T, d: T) -> T {
        let s = (z + d).sigmoid::<I>().0;
        d.fma::<I>(s, z * Sigmoid::difference::<I>(z, d))
    }
}

impl<T: Float> Curve<T> for Softplus {
    #[inline(always)]
    fn value<I: Isa>(x: T) -> T {
        x.softplus::<I>()
    }
    #[inline(always)]
    fn slope<I: Isa>(x: T) -> T {
        x.sigmoid::<I>().0
    }
    /// ln(1 + s(z) (e^d - 1)) for small d; else by its two parts, ReLU and the tail, of which neither is large when they cancel.
    #[inline(always)]
    fn difference<I: Isa>(z: T, d: T) -> T {
        let near = (z.sigmoid::<I>().0 * d.at_most(T::ONE).expm1::<I>()).log1p::<I>();
        let far = relu_difference(z, d) + (softplus_tail::<I, T>(z + d) - softplus_tail::<I, T>(z));
        if d.abs() < T::ONE { near } else { far }
    }
}
