//! Activation functions over slices: value, gradient, exact difference and DeepLIFT quotient.

use super::curve::{self, Curve};
use super::{BLOCK, Float, load, store};
use crate::error::{Error, Result, hint};
use crate::util::simd::dispatch;

/// An elementwise activation function. Names are those of model files ([`Activation::parse`]); formulas in PyTorch terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `relu(x)`.
    Relu,
    /// `relu(x) + 0.01`.
    ReluNonZero,
    /// `gelu(x)`, the exact one: x Phi(x).
    Gelu,
    /// `sigmoid(x)`.
    Sigmoid,
    /// `tanh(x)`.
    Tanh,
    /// `sin(x)`.
    Sin,
    /// `x`.
    Identity,
    /// `clamp(x, -2056, 2056)`.
    Clamp,
    /// `exp(clamp(x, max=ln(2^32)))`.
    Exp,
    /// `exp(clamp(x, max=ln(128)))`.
    ExpMax,
    /// `clamp(x, max=128^(1/2))^2`.
    Squared,
    /// `clamp(x, max=128^(1/3))^3`.
    Third,
    /// `clamp(relu(x), -2056, 2056)`.
    ClampedRelu,
    /// `clamp(gelu(x), -2056, 2056)`.
    ClampedGelu,
    /// `silu(x)`.
    Silu,
    /// `softplus(x)`, without PyTorch's switch to x above 20 (the two differ by less than 2.1e-9).
    Softplus,
}

/// Name in model files and the function it means.
const NAMES: [(&str, Activation); 17] = [
    ("ReLU", Activation::Relu),
    ("ReLUnonZero", Activation::ReluNonZero),
    ("GELU", Activation::Gelu),
    ("Sigmoid", Activation::Sigmoid),
    ("Tanh", Activation::Tanh),
    ("Sin", Activation::Sin),
    ("Id0", Activation::Identity),
    ("Linear", Activation::Identity),
    ("CLAMP", Activation::Clamp),
    ("EXP", Activation::Exp),
    ("EXPmax", Activation::ExpMax),
    ("SQUARED", Activation::Squared),
    ("THIRD", Activation::Third),
    ("cReLU", Activation::ClampedRelu),
    ("cGELU", Activation::ClampedGelu),
    ("SiLU", Activation::Silu),
    ("Softplus", Activation::Softplus),
];

/// Below this |a - b| a DeepLIFT multiplier is the derivative at a.
const QUOTIENT_CUT: f64 = 1e-6;

/// Elements of the scratch buffers of functions made of two steps; they stay in the first-level cache.
const CHUNK: usize = 1024;

/// Calls `$f::<T, C>` with the curve of an activation.
macro_rules! with_curve {
    ($activation:expr, $f:ident($($arg:expr),*)) => {
        match $activation {
            Activation::Relu => $f::<T, curve::Relu>($($arg),*),
            Activation::ReluNonZero => $f::<T, curve::ReluNonZero>($($arg),*),
            Activation::Gelu => $f::<T, curve::Gelu>($($arg),*),
            Activation::Sigmoid => $f::<T, curve::Sigmoid>($($arg),*),
            Activation::Tanh => $f::<T, curve::Tanh>($($arg),*),
            Activation::Sin => $f::<T, curve::Sin>($($arg),*),
            Activation::Identity => $f::<T, curve::Identity>($($arg),*),
            Activation::Clamp => $f::<T, curve::Clamp>($($arg),*),
            Activation::Exp => $f::<T, curve::Exp>($($arg),*),
            Activation::ExpMax => $f::<T, curve::ExpMax>($($arg),*),
            Activation::Squared => $f::<T, curve::Squared>($($arg),*),
            Activation::Third => $f::<T, curve::Third>($($arg),*),
            Activation::ClampedRelu => $f::<T, curve::ClampedRelu>($($arg),*),
            Activation::ClampedGelu => $f::<T, curve::ClampedGelu>($($arg),*),
            Activation::Silu => $f::<T, curve::Silu>($($arg),*),
            Activation::Softplus => $f::<T, curve::Softplus>($($arg),*),
        }
    };
}

/// What `gradient` does with its destination.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Store {
    Write,
    Add,
}

impl Activation {
    /// Activation of a name: ReLU, ReLUnonZero, GELU, Sigmoid, Tanh, Sin, Id0 or Linear, CLAMP, EXP, EXPmax, SQUARED, THIRD, cReLU,
    /// cGELU, SiLU, Softplus. Case matters.
    ///
    /// # Errors
    /// An unknown name; the message has the list and the nearest one.
    pub fn parse(name: &str) -> Result<Self> {
        NAMES.iter().find(|(n, _)| *n == name).map(|(_, a)| *a).ok_or_else(|| {
            let known = NAMES.map(|(n, _)| n);
            let hint = hint(name, known);
            Error::Usage(format!("unknown activation '{name}'{hint}; known are {}", known.join(", ")))
        })
    }

    /// Name that [`Activation::parse`] reads.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, a)| *a == self).expect("every activation has a name").0
    }

    /// Whether f(z + d) - f(z) = d for every z.
    pub fn is_linear(self) -> bool {
        self == Self::Identity
    }

    /// y = f(x). Panics if lengths differ, as every function here.
    pub fn value<T: Float>(self, x: &[T], y: &mut [T]) {
        assert_eq!(x.len(), y.len(), "x and y must have one length");
        with_curve!(self, value(Some(x), y))
    }

    /// x = f(x).
    pub fn value_in_place<T: Float>(self, x: &mut [T]) {
        with_curve!(self, value(None, x))
    }

    /// `y = f(scale[c] * x + shift[c])` for rows of C channels, C = length of `scale` and `shift`.
    pub fn value_affine<T: Float>(self, x: &[T], scale: &[T], shift: &[T], y: &mut [T]) {
        assert_eq!(x.len(), y.len(), "x and y must have one length");
        let rows = chunk_of_rows(x.len(), scale.len());
        for (x, y) in x.chunks(rows).zip(y.chunks_mut(rows)) {
            super::affine(x, scale, shift, y);
            self.value_in_place(y);
        }
    }

    /// dx = dy * f'(x).
    pub fn gradient<T: Float>(self, x: &[T], dy: &[T], dx: &mut [T]) {
        assert!(x.len() == dx.len() && dy.len() == dx.len(), "x, dy and dx must have one length");
        with_curve!(self, gradient(x, Some(dy), dx, Store::Write))
    }

    /// dy = dy * f'(x).
    pub fn gradient_in_place<T: Float>(self, x: &[T], dy: &mut [T]) {
        assert_eq!(x.len(), dy.len(), "x and dy must have one length");
        with_curve!(self, gradient(x, None, dy, Store::Write))
    }

    /// dx += dy * f'(x).
    pub fn gradient_add<T: Float>(self, x: &[T], dy: &[T], dx: &mut [T]) {
        assert!(x.len() == dx.len() && dy.len() == dx.len(), "x, dy and dx must have one length");
        with_curve!(self, gradient(x, Some(dy), dx, Store::Add))
    }

    /// `dz = dy * f'(z)` at `z = scale[c] * x + shift[c]`, for rows of C channels. From dz follow dx = scale * dz
    /// ([`super::scale_channels`]), dshift = column sums of dz and dscale = column sums of dz * x ([`super::column_dots`]).
    pub fn gradient_affine<T: Float>(self, x: &[T], scale: &[T], shift: &[T], dy: &[T], dz: &mut [T]) {
        assert!(x.len() == dz.len() && dy.len() == dz.len(), "x, dy and dz must have one length");
        let rows = chunk_of_rows(x.len(), scale.len());
        let mut z = vec![T::ZERO; rows.min(x.len())];
        for ((x, dy), dz) in x.chunks(rows).zip(dy.chunks(rows)).zip(dz.chunks_mut(rows)) {
            let z = &mut z[..x.len()];
            super::affine(x, scale, shift, z);
            self.gradient(z, dy, dz);
        }
    }

    /// out = f(z + d) - f(z), with an error relative to d. GELU takes its Taylor series where |d| max(|z| / 2, 1) is
    /// below 0.05 (f32) or 0.001 (f64); all others are closed forms.
    pub fn difference<T: Float>(self, z: &[T], d: &[T], out: &mut [T]) {
        assert!(z.len() == out.len() && d.len() == out.len(), "z, d and out must have one length");
        with_curve!(self, difference(z, Some(d), out))
    }

    /// d = f(z + d) - f(z).
    pub fn difference_in_place<T: Float>(self, z: &[T], d: &mut [T]) {
        assert_eq!(z.len(), d.len(), "z and d must have one length");
        with_curve!(self, difference(z, None, d))
    }

    /// dx = dy * (f(a) - f(b)) / (a - b), DeepLIFT's rescale multiplier; where |a - b| < 1e-6 it is dy * f'(a). Numerator as in
    /// [`Activation::difference`].
    pub fn quotient<T: Float>(self, a: &[T], b: &[T], dy: &[T], dx: &mut [T]) {
        assert!([a.len(), b.len(), dy.len()] == [dx.len(); 3], "a, b, dy and dx must have one length");
        let (mut change, mut slope) = ([T::ZERO; CHUNK], [T::ZERO; CHUNK]);
        for (i, dx) in dx.chunks_mut(CHUNK).enumerate() {
            let (at, n) = (i * CHUNK..i * CHUNK + dx.len(), dx.len());
            let (a, b, dy) = (&a[at.clone()], &b[at.clone()], &dy[at]);
            let (change, slope) = (&mut change[..n], &mut slope[..n]);
            super::subtract(a, b, change);
            slope.fill(T::ONE);
            if change.iter().any(|d| d.abs() < T::of(QUOTIENT_CUT)) {
                self.gradient_in_place(a, slope);
            }
            self.difference(b, change, dx);
            finish_quotient(change, slope, dy, dx);
        }
    }
}

/// Elements of as many whole rows of `channels` as fit a chunk, at least one row. Panics if `len` is not whole rows.
fn chunk_of_rows(len: usize, channels: usize) -> usize {
    assert!(channels > 0 && len.is_multiple_of(channels), "{len} elements are not rows of {channels} channels");
    (CHUNK / channels).max(1) * channels
}

dispatch! {
    /// y = f(x); without x, y = f(y).
    fn value[I, T: Float, C: Curve<T>](x: Option<&[T]>, y: &mut [T]) {
        for (i, y) in y.chunks_mut(BLOCK).enumerate() {
            let mut block: [T; BLOCK] = load(part(x, i, y));
            for v in &mut block {
                *v = C::value::<I>(*v);
            }
            store(&block, y);
        }
    }
}

dispatch! {
    /// dx = dy f'(x), or added to dx; without dy it is dx.
    fn gradient[I, T: Float, C: Curve<T>](x: &[T], dy: Option<&[T]>, dx: &mut [T], how: Store) {
        for (i, dx) in dx.chunks_mut(BLOCK).enumerate() {
            let mut block: [T; BLOCK] = load(part(Some(x), i, dx));
            let dy: [T; BLOCK] = load(part(dy, i, dx));
            for (v, dy) in block.iter_mut().zip(&dy) {
                *v = *dy * C::slope::<I>(*v);
            }
            if how == Store::Add {
                let old: [T; BLOCK] = load(dx);
                for (v, old) in block.iter_mut().zip(&old) {
                    *v += *old;
                }
            }
            store(&block, dx);
        }
    }
}

dispatch! {
    /// out = f(z + d) - f(z); without d it is out.
    fn difference[I, T: Float, C: Curve<T>](z: &[T], d: Option<&[T]>, out: &mut [T]) {
        for (i, out) in out.chunks_mut(BLOCK).enumerate() {
            let z: [T; BLOCK] = load(part(Some(z), i, out));
            let mut block: [T; BLOCK] = load(part(d, i, out));
            for (v, z) in block.iter_mut().zip(&z) {
                *v = C::difference::<I>(*z, *v);
            }
            store(&block, out);
        }
    }
}

dispatch! {
    /// dx holds f(a) - f(b) and becomes the multiplier times dy.
    fn finish_quotient[I, T: Float](change: &[T], slope: &[T], dy: &[T], dx: &mut [T]) {
        for (((dx, dy), slope), change) in dx.iter_mut().zip(dy).zip(slope).zip(change) {
            let near = change.abs() < T::of(QUOTIENT_CUT);
            let quotient = *dx / *change;
            *dx = *dy * if near { *slope } else { quotient };
        }
    }
}

/// Elements of block `i` in `x`, or `own` itself where there is no x.
#[inline(always)]
fn part<'a, T>(x: Option<&'a [T]>, i: usize, own: &'a [T]) -> &'a [T] {
    x.map_or(own, |x| &x[i * BLOCK..i * BLOCK + own.len()])
}

#[cfg(test)]
mod tests;
