//! Learned powers of a value and of its exponential, the reference's `Complex` output:
//! `f(y) = y + a_0 y^p_0 + a_1 E^p_1`, `E = exp(min(y, ln 128))`, `p_j = log2(2 + e_j)`, with a and e for every channel.
//!
//! Shapes: y `[.., T]`, a and e `[1, T, 2]` (PyTorch's `variables` and `exponents`), result as y. PyTorch: `torch.pow`. A value
//! below zero has a power only where `p_0` is 1; elsewhere the result is no number, as there. The exponents' gradients leave out what
//! has no logarithm, where PyTorch's are no numbers. The change under mutation is taken in factors of the old powers,
//! `y^p expm1(p ln(1 + d / y))`, so that its rounding is relative to the change.

mod cuda;

use crate::error::{Error, Result};
use crate::ops::changed;
use crate::real;
use crate::tape::{Cx, Delta, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::{self, Tensor};
use crate::util::math::{Float, power_difference};
use crate::util::par;

/// The largest exponent, ln 128.
const LARGEST: f64 = 7.0 * std::f64::consts::LN_2;

/// `y + a_0 y^p_0 + a_1 E^p_1`; see the head of this file.
///
/// # Errors
/// [`Error::Shape`] unless a and e are `[1, T, 2]` for T channels.
pub fn powers(tape: &mut Tape, y: &Var, factors: &Var, exponents: &Var) -> Result<Var> {
    let channels = y.shape().last().copied().unwrap_or(0);
    for (arg, v) in [("factors", factors), ("exponents", exponents)] {
        if v.shape() != [1, channels, 2] {
            let expected = format!("[1, {channels}, 2] for y {:?}", y.shape());
            return Err(Error::Shape { op: "powers", arg, expected, found: v.shape().to_vec() });
        }
    }
    tape.apply(Powers, &[y, factors, exponents])
}

struct Powers;

/// What a channel learned.
#[derive(Clone, Copy)]
struct Channel {
    a: [f64; 2],
    e: [f64; 2],
}

impl Channel {
    fn of<T: Float>(a: &[T], e: &[T], j: usize) -> Self {
        let two = |x: &[T]| [x[2 * j].f64(), x[2 * j + 1].f64()];
        Self { a: two(a), e: two(e) }
    }

    fn power(&self, i: usize) -> f64 {
        (2.0 + self.e[i]).log2()
    }

    fn value(&self, y: f64) -> f64 {
        y + self.a[0] * y.powf(self.power(0)) + self.a[1] * (self.power(1) * y.at_most(LARGEST)).exp()
    }

    fn slope(&self, y: f64) -> f64 {
        let (p, q) = (self.power(0), self.power(1));
        let second = if y <= LARGEST { self.a[1] * q * (q * y).exp() } else { 0.0 };
        1.0 + self.a[0] * p * y.powf(p - 1.0) + second
    }

    /// Derivatives by a and e.
    fn learned(&self, y: f64) -> [f64; 4] {
        let (p, x) = ([self.power(0), self.power(1)], y.at_most(LARGEST));
        let powers = [y.powf(p[0]), (p[1] * x).exp()];
        let by_power = |i: usize| ((2.0 + self.e[i]) * std::f64::consts::LN_2).recip();
        [
            powers[0],
            powers[1],
            if y > 0.0 { self.a[0] * powers[0] * y.ln() * by_power(0) } else { 0.0 },
            self.a[1] * powers[1] * x * by_power(1),
        ]
    }

    /// f(y + d) - f(y)
    fn difference(&self, y: f64, d: f64) -> f64 {
        let (p, q, new) = (self.power(0), self.power(1), y + d);
        let grows = p * (d / y).ln_1p();
        let first = match () {
            () if p == 1.0 => d,
            // Where the power grows by more than e nothing cancels, and the factor of the old one might overflow.
            () if y > 0.0 && new > 0.0 && grows <= 1.0 => y.powf(p) * grows.exp_m1(),
            () => new.powf(p) - y.powf(p),
        };
        d + self.a[0] * first + self.a[1] * power_difference(q, y, d, LARGEST)
    }
}

impl Op for Powers {
    fn name(&self) -> &'static str {
        "powers"
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        x.iter().enumerate().for_each(|(i, t)| save.put(i, save.keep.any(), t));
        if let Some(gpu) = Tensor::place("powers", x)? {
            return cuda::forward(gpu, x);
        }
        real!("powers", x[0], T => {
            let (from, a, e) = (x[0].cpu::<T>()?, x[1].cpu::<T>()?, x[2].cpu::<T>()?);
            let c = a.len() / 2;
            let mut y = tensor::stale::<T>(from.len());
            par::rows(&mut y, 1, |at, y| {
                for (i, y) in y.iter_mut().enumerate() {
                    *y = T::of(Channel::of(a, e, (at + i) % c).value(from[at + i].f64()));
                }
            });
            Ok(Tensor::of(x[0].shape(), y))
        })
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        if cx.wants(1) || cx.wants(2) {
            cx.whole_batch("powers")?;
        }
        let [x, a, e] = [cx.saved(0)?, cx.saved(1)?, cx.saved(2)?];
        if let Some(gpu) = Tensor::place("powers", &[x, dy])? {
            return cuda::backward(gpu, cx, [x, a, e], dy);
        }
        let size: usize = dy.shape()[1..].iter().product();
        real!("powers", dy, T => {
            let (g, x, a, e) = (dy.cpu::<T>()?, x.cpu::<T>()?, a.cpu::<T>()?, e.cpu::<T>()?);
            let c = a.len() / 2;
            let mut dx = tensor::stale::<T>(g.len());
            super::for_rows(&mut dx, size, |r, at, d| {
                for (i, d) in d.iter_mut().enumerate() {
                    let k = at + i;
                    let slope = Channel::of(a, e, k % c).slope(x[cx.base(r) * size + k].f64());
                    *d = T::of(g[r * size + k].f64() * slope);
                }
            });
            let mut sums = vec![[0.0; 4]; c];
            if cx.wants(1) || cx.wants(2) {
                for (i, (g, x)) in g.iter().zip(x).enumerate() {
                    let by = Channel::of(a, e, i % c).learned(x.f64());
                    sums[i % c].iter_mut().zip(by).for_each(|(s, v)| *s += g.f64() * v);
                }
            }
            let learned = |first: usize| {
                let all: Vec<T> = sums.iter().flat_map(|s| [T::of(s[first]), T::of(s[first + 1])]).collect();
                Tensor::of(&[1, c, 2], all)
            };
            Ok(vec![
                cx.wants(0).then(|| Tensor::of(dy.shape(), dx)),
                cx.wants(1).then(|| learned(0)),
                cx.wants(2).then(|| learned(2)),
            ])
        })
    }

    fn rescale(&self, _: &Cx, _: &Tensor) -> Result<Grads> {
        Err(Error::Unsupported { op: "powers", what: "the rescale sweep (DeepLIFT)".into() })
    }

    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let d = changed(dx, 0)?.rows()?;
        let [x, a, e] = [cx.saved(0)?, cx.saved(1)?, cx.saved(2)?];
        if let Some(gpu) = Tensor::place("powers", &[x, d])? {
            return cuda::delta(gpu, cx, [x, a, e], d, to);
        }
        let c = d.shape()[2];
        real!("powers", d, T => {
            let (d, x, a, e) = (d.cpu::<T>()?, x.cpu::<T>()?, a.cpu::<T>()?, e.cpu::<T>()?);
            let mut y = tensor::zeros::<T>(d.len());
            for (r, i, p) in to.cells() {
                let x = &x[(cx.base(i) * to.len + p) * c..][..c];
                for (j, (y, d)) in y[r * c..][..c].iter_mut().zip(&d[r * c..]).enumerate() {
                    *y = T::of(Channel::of(a, e, j).difference(x[j].f64(), d.f64()));
                }
            }
            Ok(Tensor::of(&[to.width, to.mutants(), c], y))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::check;
    use crate::util::math::Activation;

    #[test]
    fn cases() {
        for c in [1, 5, 8] {
            let mut r = check::Random::new(4);
            // Softplus keeps values above zero, where every power is a number.
            let inputs = [r.normal(&[3, 6, c]), r.normal(&[1, c, 2]), r.uniform(&[1, c, 2], -0.6, 1.5)];
            let f = |t: &mut Tape, v: &[Var]| {
                let y = crate::ops::activation(t, &v[0], Activation::Softplus)?;
                powers(t, &y, &v[1], &v[2])
            };
            check::gradients("powers", &inputs, f);
            check::precision("powers", &inputs, f);
            check::delta("powers", &inputs, f);
        }
    }

    #[test]
    fn ends() {
        // As initialised: 2 y + E.
        let start = Channel { a: [1.0, 1.0], e: [0.0, 0.0] };
        for y in [-3.0, -0.5, 0.0, 2.0, 4.9] {
            assert!((start.value(y) - (2.0 * y + y.at_most(LARGEST).exp())).abs() < 1e-12 * (1.0 + y.exp()), "{y}");
            for d in [-9.0, -0.1, 0.1, 9.0] {
                let want = start.value(y + d) - start.value(y);
                assert!((start.difference(y, d) - want).abs() < 1e-11 * (1.0 + want.abs()), "{y} {d}");
            }
        }
        // From where a power or the exponential is nothing.
        let curved = Channel { a: [1.0, 1.0], e: [0.8, 0.8] };
        for (y, d) in [(1e-300, 1.0), (1e-30, 2.0), (1e-30, 1e-31), (2.0, -2.0 + 1e-12)] {
            let want = curved.value(y + d) - curved.value(y);
            assert!((curved.difference(y, d) - want).abs() < 1e-11 * (1.0 + want.abs()), "{y} {d}");
        }
        assert!((start.difference(-900.0, 900.0) - 1801.0).abs() < 1e-9);
        assert!((start.value(9.0) - 146.0).abs() < 1e-12);
        assert_eq!(start.slope(9.0), 2.0);
        let curved = Channel { a: [1.0, 1.0], e: [0.5, 0.0] };
        assert!(curved.value(-1.0).is_nan() && curved.difference(1.0, -2.0).is_nan());
        assert!(curved.learned(-1.0)[2..].iter().all(|v| v.is_finite()));
        let (y, a) = (Var::constant(Tensor::zeros(crate::tensor::DType::F64, &[2, 3]).unwrap()), [1, 2, 2]);
        let a = Var::constant(Tensor::zeros(crate::tensor::DType::F64, &a).unwrap());
        let message = powers(&mut Tape::predict(), &y, &a, &a).unwrap_err().to_string();
        assert!(message.contains("factors must be [1, 3, 2]"), "{message}");
    }
}
