//! Layer norm: every row of channels on its own.
//!
//! `y = (x - mean(x)) * gamma / sqrt(var(x) + eps) + beta`, mean and (biased) variance over the last axis.
//!
//! Shapes: x, y `[.., C]`, gamma, beta `[C]`. PyTorch: `torch.nn.functional.layer_norm(x, (C,), gamma, beta, eps)`.
//!
//! Only x is saved: a row is in the first-level cache when its statistics are computed again. The change of a row is
//! `gamma (dc / s' + c (1 / s' - 1 / s))` with c = x - mean, s = sqrt(var + eps), and `1 / s' - 1 / s = -dv / (s s' (s + s'))`,
//! `dv = mean((2 c + dc) dc)`: nothing cancels, so its rounding is relative to the change. In a rescale sweep (DeepLIFT) the
//! operation hands back its gradient, as other tools do: multipliers of a model with a layer norm need not add up.

mod cuda;

use crate::error::{Error, Result};
use crate::ops::changed;
use crate::real;
use crate::tape::{Cx, Delta, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::{self, Real, Tensor};
use crate::util::math::{Float, column_dots, column_sums, dot, sum};
use crate::util::par;
use crate::util::simd::dispatch;

/// Rows that one task of a backward pass takes; their part of the sums is one term.
const ROWS: usize = 128;

/// Normalises the rows of `x`; see the head of this file.
///
/// # Errors
/// [`Error::Shape`] if x has no channels or a parameter is not `[C]`; [`Error::DType`] if gamma or beta is of another type.
///
/// ```
/// use drg::{ops::layer_norm, tape::{Tape, Var}, tensor::Tensor};
/// let row = |v: [f32; 2]| Tensor::new(&[2], v.to_vec()).map(Var::constant);
/// let x = Var::constant(Tensor::new(&[1, 1, 2], vec![3f32, 5.])?);
/// let y = layer_norm(&mut Tape::predict(), &x, &row([10., 10.])?, &row([0., 1.])?, 0.0)?;
/// assert_eq!(y.value.cpu::<f32>()?, [-10., 11.]);
/// # Ok::<(), drg::Error>(())
/// ```
pub fn layer_norm(tape: &mut Tape, x: &Var, gamma: &Var, beta: &Var, eps: f64) -> Result<Var> {
    let wrong =
        |arg, expected, found: &[usize]| Err(Error::Shape { op: "layer_norm", arg, expected, found: found.to_vec() });
    let c = match x.shape() {
        [_, .., c] if *c > 0 => *c,
        other => return wrong("x", "[N, .., C] with at least one channel".into(), other),
    };
    for (name, parameter) in [("gamma", gamma), ("beta", beta)] {
        if parameter.shape() != [c] {
            return wrong(name, format!("[{c}] for x {:?}", x.shape()), parameter.shape());
        }
    }
    tape.apply(LayerNorm { eps }, &[x, gamma, beta])
}

struct LayerNorm {
    eps: f64,
}

impl Op for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        save.put(0, save.keep.any(), x[0]);
        save.put(1, save.keep.any(), x[1]);
        let c = x[1].len();
        if let Some(gpu) = Tensor::place("layer_norm", x)? {
            return cuda::forward(gpu, x[0], x[1], x[2], self.eps);
        }
        real!("layer_norm", x[0], T => {
            let (from, gamma, beta) = (x[0].cpu::<T>()?, x[1].cpu::<T>()?, x[2].cpu::<T>()?);
            let mut y = tensor::stale::<T>(from.len());
            par::rows(&mut y, c, |first, y| {
                for (x, y) in from[first * c..].chunks_exact(c).zip(y.chunks_exact_mut(c)) {
                    let (_, inverse) = centre(x, self.eps, y);
                    scale_and_shift(inverse, gamma, beta, y);
                }
            });
            Ok(Tensor::of(x[0].shape(), y))
        })
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        let weights = cx.wants(1) || cx.wants(2);
        if weights {
            cx.whole_batch("layer_norm")?;
        }
        let (x, gamma) = (cx.saved(0)?, cx.saved(1)?);
        if let Some(gpu) = Tensor::place("layer_norm", &[x, gamma, dy])? {
            return cuda::backward(gpu, cx, x, gamma, dy, self.eps);
        }
        let c = gamma.len();
        let l = x.len() / c / x.shape()[0].max(1);
        real!("layer_norm", dy, T => {
            let (x, gamma, dy) = (x.cpu::<T>()?, gamma.cpu::<T>()?, dy.cpu::<T>()?);
            let mut dx = tensor::stale::<T>(dy.len());
            // Per block: sums of dy xhat, sums of dy.
            let mut parts = vec![(vec![T::ZERO; c], vec![T::ZERO; c]); dx.len().div_ceil(ROWS * c)];
            let tasks = dx.chunks_mut(ROWS * c).zip(dy.chunks(ROWS * c)).zip(&mut parts).enumerate().collect();
            par::each(tasks, |(b, ((dx, dy), part)): (usize, ((&mut [T], &[T]), &mut (Vec<T>, Vec<T>)))| {
                let mut normal = vec![T::ZERO; dx.len()];
                let rows = dx.chunks_exact_mut(c).zip(dy.chunks_exact(c)).zip(normal.chunks_exact_mut(c));
                for (i, ((dx, dy), normal)) in rows.enumerate() {
                    let at = b * ROWS + i;
                    let from = cx.base(at / l) * l + at % l;
                    let (_, inverse) = centre(&x[from * c..][..c], self.eps, normal);
                    product(dy, gamma, dx);
                    let n = T::of(c as f64);
                    let (mean, slope) = (sum(dx) / n, dot(dx, normal) * inverse * inverse / n);
                    project(normal, inverse, mean, slope, dx);
                }
                if weights {
                    column_dots(dy, &normal, &mut part.0);
                    column_sums(dy, &mut part.1);
                }
            });
            let total = |pick: fn(&(Vec<T>, Vec<T>)) -> &[T]| {
                let sums = (0..c).map(|j| T::of(parts.iter().map(|p| pick(p)[j].f64()).sum()));
                Tensor::of(&[c], sums.collect::<Vec<T>>())
            };
            let dgamma = cx.wants(1).then(|| total(|p| &p.0));
            let dbeta = cx.wants(2).then(|| total(|p| &p.1));
            let dx = Tensor::of(&[&[cx.rows.len()], &cx.shape()[1..]].concat(), dx);
            Ok(vec![cx.wants(0).then_some(dx), dgamma, dbeta])
        })
    }

    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let (d, x, gamma) = (changed(dx, 0)?.rows()?, cx.saved(0)?, cx.saved(1)?);
        if let Some(gpu) = Tensor::place("layer_norm", &[x, gamma, d])? {
            return cuda::delta(gpu, cx, x, gamma, d, to, self.eps);
        }
        let c = gamma.len();
        real!("layer_norm", d, T => {
            let (x, gamma, from) = (x.cpu::<T>()?, gamma.cpu::<T>()?, d.cpu::<T>()?);
            let (mut y, mut around, mut both) = (tensor::zeros::<T>(d.len()), vec![T::ZERO; c], vec![T::ZERO; c]);
            let n = T::of(c as f64);
            for (r, i, p) in to.cells() {
                let (variance, inverse) = centre(&x[(cx.base(i) * to.len + p) * c..][..c], self.eps, &mut around);
                let (d, y) = (&from[r * c..][..c], &mut y[r * c..][..c]);
                shifted(d, sum(d) / n, y);
                twice_plus(&around, y, &mut both);
                let change = dot(&both, y) / n;
                let after = T::ONE / ((variance + change).at_least(T::ZERO) + T::of(self.eps)).sqrt();
                let slope = -change * (inverse * inverse) * (after * after) / (inverse + after);
                combine(&around, slope, after, gamma, y);
            }
            Ok(Tensor::of(d.shape(), y))
        })
    }
}

/// `around` = x - mean; returns the variance and 1 / sqrt(variance + eps).
fn centre<T: Real>(x: &[T], eps: f64, around: &mut [T]) -> (T, T) {
    let n = T::of(x.len() as f64);
    shifted(x, sum(x) / n, around);
    // What the mean's own rounding left, which matters where the mean is large against the deviations.
    let rest = sum(around) / n;
    lower(rest, around);
    let variance = dot(around, around) / n;
    (variance, T::ONE / (variance + T::of(eps)).sqrt())
}

dispatch! {
    /// y = x - by.
    fn shifted[I, T: Float](x: &[T], by: T, y: &mut [T]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = *x - by;
        }
    }
}

dispatch! {
    /// y -= by.
    fn lower[I, T: Float](by: T, y: &mut [T]) {
        for y in y {
            *y = *y - by;
        }
    }
}

dispatch! {
    /// y = a * b.
    fn product[I, T: Float](a: &[T], b: &[T], y: &mut [T]) {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            *y = *a * *b;
        }
    }
}

dispatch! {
    /// y = y * inverse * gamma + beta.
    fn scale_and_shift[I, T: Float](inverse: T, gamma: &[T], beta: &[T], y: &mut [T]) {
        for ((y, gamma), beta) in y.iter_mut().zip(gamma).zip(beta) {
            *y = (*y * inverse).fma::<I>(*gamma, *beta);
        }
    }
}

dispatch! {
    /// dx = inverse * (dx - mean - around * slope), and `around` becomes the normalised row.
    fn project[I, T: Float](around: &mut [T], inverse: T, mean: T, slope: T, dx: &mut [T]) {
        for (dx, a) in dx.iter_mut().zip(around) {
            *dx = inverse * a.fma::<I>(-slope, *dx - mean);
            *a *= inverse;
        }
    }
}

dispatch! {
    /// y = 2 a + b.
    fn twice_plus[I, T: Float](a: &[T], b: &[T], y: &mut [T]) {
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            *y = (*a + *a) + *b;
        }
    }
}

dispatch! {
    /// y = gamma * (y * after + around * slope).
    fn combine[I, T: Float](around: &[T], slope: T, after: T, gamma: &[T], y: &mut [T]) {
        for ((y, a), gamma) in y.iter_mut().zip(around).zip(gamma) {
            *y = *gamma * y.fma::<I>(after, *a * slope);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::{Keep, Mode, check};
    use crate::tensor::DType;

    fn f(t: &mut Tape, v: &[Var]) -> Result<Var> {
        layer_norm(t, &v[0], &v[1], &v[2], 1e-5)
    }

    fn inputs(shape: &[usize], seed: u64) -> [Tensor; 3] {
        let (mut r, c) = (check::Random::new(seed), shape[shape.len() - 1]);
        [r.normal(shape), r.normal(&[c]), r.normal(&[c])]
    }

    #[test]
    fn cases() {
        for (i, shape) in [&[3, 5, 7][..], &[2, 1, 65], &[1, 9, 3], &[4, 33], &[2, 150, 2]].iter().enumerate() {
            let x = inputs(shape, 40 + i as u64);
            let name = format!("layer_norm {shape:?}");
            check::gradients(&name, &x, f);
            check::precision(&name, &x, f);
            if shape.len() == 3 {
                check::delta(&name, &x, f);
            }
        }
    }

    /// Rows of which a GPU holds more or less in registers, up to those that it reads again.
    #[test]
    fn long_rows() {
        for (i, shape) in [[1, 40, 200], [2, 3, 500], [1, 2, 641]].iter().enumerate() {
            let (x, name) = (inputs(shape, 60 + i as u64), format!("layer_norm {shape:?}"));
            check::precision(&name, &x, f);
            check::delta(&name, &x, f);
        }
    }

    #[test]
    fn a_far_mean_costs_no_digits() {
        let [x, g, b] = inputs(&[2, 40, 33], 3);
        let x = Tensor::of(&[2, 40, 33], x.to_f64().iter().map(|v| v + 1e4).collect::<Vec<_>>());
        check::precision("far mean", &[x, g, b], f);
    }

    /// Numbers of PyTorch 2.11 in float64: `x = arange(12.).reshape(1, 3, 4).mul(.37).sin()`,
    /// `y = layer_norm(x, (4,), tensor([1.5, -.7, .3, 2.]), tensor([.1, .2, 0., -1.]), 1e-5)`,
    /// `y.backward(arange(12.).reshape(1, 3, 4).cos())`; y, x.grad, gamma.grad, beta.grad.
    #[test]
    fn equals_pytorch() {
        let wave = |f: fn(f64) -> f64| Tensor::of(&[1, 3, 4], (0..12).map(|i| f(f64::from(i))).collect::<Vec<_>>());
        let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
        let g = Tensor::of(&[4], vec![1.5, -0.7, 0.3, 2.0]);
        let b = Tensor::of(&[4], vec![0.1, 0.2, 0.0, -1.0]);
        let v = [wave(|i| (i * 0.37).sin()), g, b].map(|t| tape.leaf(t));
        let y = f(&mut tape, &v).unwrap();
        let mut got = vec![y.value.to_f64()];
        let grads = tape.backward(y.node.unwrap(), wave(f64::cos), &[0], &[0, 1, 2]).unwrap();
        got.extend(grads.into_iter().map(|g| g.unwrap().to_f64()));
        #[rustfmt::skip]
        let want: [&[f64]; 4] = [
            &[
                -2.0477583437045146, 0.4517340114943809, 0.1702437202930956, 1.4479596891598043, 1.5193822457015316,
                -0.33246390900507544, -0.03680559140791353, -4.168464505849501, 2.1972054023313667,
                -0.07942277479576079, -0.15928586888326865, -3.5327188623507775,
            ],
            &[
                0.3936865621201848, -1.5939331607387182, 2.254021437904388, -1.0537748392858544, -1.6412142082468932,
                1.6805359864353022, 0.14162229633636159, -0.18094407452476347, -0.7807948022716322,
                1.5924290479647065, -0.7775382730936542, -0.03409597259942046,
            ],
            &[-2.253781300744806, -0.3422330524905476, 0.09155405556564894, -2.411691653394326],
            &[0.20085634532777452, -0.08716577055331098, -0.29504807897322893, -0.23166454426909003],
        ];
        for (got, want) in got.iter().zip(want) {
            check::close("layer_norm", got, want, 1e-14);
        }
    }

    #[test]
    fn bits_do_not_depend_on_threads_or_batch() {
        let x = inputs(&[7, 301, 24], 9).map(|t| t.to_dtype(DType::F32).unwrap());
        let run = || {
            let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
            let v = x.clone().map(|t| tape.leaf(t));
            let y = f(&mut tape, &v).unwrap();
            let rows: Vec<u32> = (0..7).collect();
            let grads = tape.backward(y.node.unwrap(), x[0].clone(), &rows, &[0, 1, 2]).unwrap();
            let grads = grads.into_iter().flat_map(|g| g.unwrap().to_f64());
            y.value.to_f64().into_iter().chain(grads).collect::<Vec<f64>>()
        };
        let whole = run();
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(run), whole);
        }
        let one = [x[0].rows(4, 5).unwrap(), x[1].clone(), x[2].clone()].map(Var::constant);
        let y = f(&mut Tape::predict(), &one).unwrap().value.to_f64();
        assert_eq!(y, whole[4 * y.len()..5 * y.len()]);
    }

    /// Gradients of some rows of the tape, one of them twice.
    #[test]
    fn selected_rows_on_gpus() {
        let run = |x: [Tensor; 3], dy: Tensor| {
            let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
            let [x, g, b] = x;
            let x = tape.leaf(x);
            let y = layer_norm(&mut tape, &x, &Var::constant(g), &Var::constant(b), 1e-5).unwrap();
            let g = tape.backward(y.node.unwrap(), dy, &[2, 0, 2], &[x.node.unwrap()]).unwrap();
            check::numbers(g[0].as_ref().unwrap())
        };
        let x = inputs(&[3, 40, 9], 5);
        let dy = check::Random::new(6).normal(&[3, 40, 9]);
        let want = run(x.clone(), dy.clone());
        for gpu in check::gpus() {
            let there = |t: &Tensor| t.to_dtype(DType::F32).unwrap().to_gpu(gpu).unwrap();
            check::nmse("layer_norm", &run(x.each_ref().map(there), there(&dy)), &want, 1e-10);
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let [x, g, b] = inputs(&[2, 3], 0).map(Var::constant);
        let tape = &mut Tape::predict();
        let e = layer_norm(tape, &x, &g, &x, 1e-5).unwrap_err().to_string();
        assert_eq!(e, "layer_norm: beta must be [3] for x [2, 3]; found [2, 3]");
        let e = layer_norm(tape, &b, &g, &b, 1e-5).unwrap_err().to_string();
        assert_eq!(e, "layer_norm: x must be [N, .., C] with at least one channel; found [3]");
        let none = Var::constant(Tensor::of::<f64>(&[0, 4, 3], vec![]));
        assert_eq!(layer_norm(tape, &none, &g, &b, 1e-5).unwrap().shape(), [0, 4, 3]);
    }
}
