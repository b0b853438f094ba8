//! Batch norm over channels, alone or with the activation that follows it.
//!
//! `y = f((x - mean[c]) * gamma[c] / sqrt(variance[c] + eps) + beta[c])`, f the identity in the plain form.
//!
//! Shapes: x, y `[N, L, C]` or `[N, C]` (any rank from 2, channels last); gamma, beta, mean, variance `[C]`. PyTorch:
//! `torch.nn.functional.batch_norm` on `[N, C, L]`. The eval functions take running statistics; the train functions take
//! those of the batch (variance biased) and leave mean and unbiased variance in [`Tape::stats`]. Momentum is the trainer's.
//!
//! These passes are bound by memory, so f costs no pass of its own and nothing but x is saved: z is computed again where f'
//! needs it. Forward reads x once (train: twice, statistics first), backward x and dy once (train: twice, sums first).
//! Statistics and sums over rows add short runs in the element type and runs in f64, over blocks whose borders depend on
//! sizes alone. The mean enters as two numbers (nearest value and rest), so a mean far from zero costs no digits.

pub(super) mod cuda;

use crate::error::{Error, Result};
use crate::ops::changed;
use crate::real;
use crate::tape::{Cx, Delta, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::{self, Real, Tensor};
use crate::util::math::{Activation, Float, column_sums, scale_channels};
use crate::util::par;
use crate::util::simd::dispatch;

/// Rows of a block, at least: a block of x stays in the second-level cache for its second reading.
const ROWS: usize = 128;
/// Elements of a block, at least.
const BLOCK: usize = 1 << 14;
/// Rows that are added up in the element type before they go into f64.
const RUN: usize = 32;
/// Elements that go through normalisation and activation together; they stay in the first-level cache.
const CHUNK: usize = 1024;

/// Batch norm of `x` with running statistics; see the head of this file.
///
/// # Errors
/// [`Error::Shape`] if x has no channels or a parameter is not `[C]`; [`Error::DType`] if gamma or beta is of another type.
pub fn batch_norm_eval(
    tape: &mut Tape,
    x: &Var,
    gamma: &Var,
    beta: &Var,
    mean: &Tensor,
    variance: &Tensor,
    eps: f64,
) -> Result<Var> {
    batch_norm_activation_eval(tape, x, gamma, beta, mean, variance, eps, Activation::Identity)
}

/// As [`batch_norm_eval`], then `activation`, in one pass over x. Has no rescale form: a tape for DeepLIFT takes the two
/// operations one by one ([`Tape::fuse`]).
///
/// # Errors
/// As [`batch_norm_eval`].
pub fn batch_norm_activation_eval(
    tape: &mut Tape,
    x: &Var,
    gamma: &Var,
    beta: &Var,
    mean: &Tensor,
    variance: &Tensor,
    eps: f64,
    activation: Activation,
) -> Result<Var> {
    channels(x.shape(), &[("gamma", gamma.shape()), ("beta", beta.shape())])?;
    channels(x.shape(), &[("mean", mean.shape()), ("variance", variance.shape())])?;
    let op = eval(gamma, beta, eps, activation);
    if let Some(gpu) = Tensor::place("batch_norm", &[&x.value, &gamma.value, &beta.value, mean, variance])? {
        let table = cuda::constants(gpu, &[&gamma.value, &beta.value, mean, variance], eps)?;
        return tape.apply(op, &[x, gamma, beta, &Var::constant(table)]);
    }
    tape.apply(op, &[x, gamma, beta, &Var::constant(mean.clone()), &Var::constant(variance.clone())])
}

/// As [`batch_norm_activation_eval`] on a GPU, with the table of its constants and the value, which are known.
pub(super) fn given(
    tape: &mut Tape,
    x: &Var,
    [gamma, beta]: [&Var; 2],
    table: Tensor,
    eps: f64,
    activation: Activation,
    value: Tensor,
) -> Result<Var> {
    let op = eval(gamma, beta, eps, activation);
    tape.apply_given(op, &[x, gamma, beta, &Var::constant(table)], value)
}

fn eval(gamma: &Var, beta: &Var, eps: f64, activation: Activation) -> BatchNorm {
    BatchNorm { eps, activation, trained: gamma.node.is_some() || beta.node.is_some(), batch: false }
}

/// Batch norm of `x` with the statistics of the batch; pushes `(buffer, mean, unbiased variance)` to [`Tape::stats`].
///
/// # Errors
/// As [`batch_norm_eval`]; [`Error::Argument`] for fewer than two rows, which have no variance.
pub fn batch_norm_train(tape: &mut Tape, buffer: usize, x: &Var, gamma: &Var, beta: &Var, eps: f64) -> Result<Var> {
    batch_norm_activation_train(tape, buffer, x, gamma, beta, eps, Activation::Identity)
}

/// As [`batch_norm_train`], then `activation`, without a pass of its own.
///
/// # Errors
/// As [`batch_norm_train`].
pub fn batch_norm_activation_train(
    tape: &mut Tape,
    buffer: usize,
    x: &Var,
    gamma: &Var,
    beta: &Var,
    eps: f64,
    activation: Activation,
) -> Result<Var> {
    let c = channels(x.shape(), &[("gamma", gamma.shape()), ("beta", beta.shape())])?;
    let n = x.value.len() / c;
    if n < 2 {
        return Err(Error::Argument {
            op: "batch_norm",
            what: format!("training needs at least 2 rows for a variance; found {n} in {:?}", x.shape()),
        });
    }
    if let Some(gpu) = Tensor::place("batch_norm", &[&x.value, &gamma.value, &beta.value])? {
        let found = cuda::statistics(gpu, &x.value, &gamma.value, &beta.value, eps)?;
        tape.stats.push((buffer, found.mean, found.unbiased));
        let op = BatchNorm { eps, activation, trained: true, batch: true };
        return tape.apply(op, &[x, gamma, beta, &Var::constant(found.table)]);
    }
    let (mean, variance) = real!("batch_norm", x.value, T => Ok(statistics(x.value.cpu::<T>()?, c)))?;
    let unbiased: Vec<f64> = variance.iter().map(|v| v * (n as f64 / (n - 1) as f64)).collect();
    let [mean, variance, unbiased] = [mean, variance, unbiased].map(|v| Tensor::of(&[c], v));
    let dtype = x.value.dtype();
    tape.stats.push((buffer, mean.to_dtype(dtype)?, unbiased.to_dtype(dtype)?));
    // The statistics are constants here; backward knows that they came from x.
    let op = BatchNorm { eps, activation, trained: true, batch: true };
    tape.apply(op, &[x, gamma, beta, &Var::constant(mean), &Var::constant(variance)])
}

/// C, once x has channels and the parameters have their number.
pub(super) fn channels(x: &[usize], parameters: &[(&'static str, &[usize])]) -> Result<usize> {
    let wrong =
        |arg, expected, found: &[usize]| Err(Error::Shape { op: "batch_norm", arg, expected, found: found.to_vec() });
    let c = match x {
        [_, .., c] if *c > 0 => *c,
        other => return wrong("x", "[N, L, C] or [N, C] with at least one channel".into(), other),
    };
    for (name, shape) in parameters {
        if *shape != [c] {
            return wrong(name, format!("[{c}] for x {x:?}"), shape);
        }
    }
    Ok(c)
}

struct BatchNorm {
    eps: f64,
    activation: Activation,
    /// Whether gamma or beta may want a gradient.
    trained: bool,
    /// Whether mean and variance are those of x.
    batch: bool,
}

impl Op for BatchNorm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        let (keep, curved) = (save.keep, !self.activation.is_linear());
        save.put(0, keep.backward && (self.trained || curved) || keep.delta && curved, x[0]);
        for (slot, parameter) in x[1..].iter().enumerate() {
            save.put(slot + 1, keep.any(), parameter);
        }
        if let Some(y) = save.given() {
            return Ok(y);
        }
        if let Some(gpu) = Tensor::place("batch_norm", x)? {
            return cuda::forward(gpu, x[0], x[3], self.activation, save.operand());
        }
        real!("batch_norm", x[0], T => {
            let (k, c, from) = (Constants::<T>::new(&x[1..], self.eps)?, x[1].len(), x[0].cpu::<T>()?);
            let mut y = tensor::stale::<T>(from.len());
            par::rows(&mut y, c, |first, y| {
                for (x, y) in from[first * c..].chunks(chunk(c)).zip(y.chunks_mut(chunk(c))) {
                    k.normalise(&x[..y.len()], y);
                    if curved {
                        self.activation.value_in_place(y);
                    }
                }
            });
            Ok(Tensor::of(x[0].shape(), y))
        })
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        if self.batch || cx.wants(1) || cx.wants(2) {
            cx.whole_batch("batch_norm")?;
        }
        if let Some(gpu) = dy.gpu() {
            return cuda::backward(gpu, self, cx, dy);
        }
        let parameters = [cx.saved(1)?, cx.saved(2)?, cx.saved(3)?, cx.saved(4)?];
        let c = parameters[0].len();
        real!("batch_norm", dy, T => {
            let k = Constants::<T>::new(&parameters, self.eps)?;
            // The linear form outside training needs no x.
            let x = if self.trained || !self.activation.is_linear() { cx.saved(0)?.cpu::<T>()? } else { &[] };
            let sweep = Sweep { x, dy: dy.cpu()?, rows: cx.rows, c, k: &k, activation: self.activation };
            let (dx, sums) = match (self.batch, self.trained) {
                (true, _) => {
                    let sums = sweep.sums();
                    (cx.wants(0).then(|| sweep.through_statistics(&sums)), Some(sums))
                }
                (false, true) => {
                    let (dx, sums) = sweep.both();
                    (Some(dx), Some(sums))
                }
                (false, false) => (Some(sweep.input()), None),
            };
            let vector = |i: usize, v: fn(&Constants<T>, &Totals<T>, usize) -> f64| {
                let sums = sums.as_ref().filter(|_| cx.wants(i))?;
                Some(Tensor::of(&[c], (0..c).map(|j| T::of(v(&k, sums, j))).collect::<Vec<T>>()))
            };
            let dgamma = vector(1, |k, s, j| k.inverse[j] * (s.products[j] - k.rest[j] * s.plain[j]));
            let dbeta = vector(2, |_, s, j| s.plain[j]);
            let dx = dx.filter(|_| cx.wants(0)).map(|dx| Tensor::of(dy.shape(), dx));
            Ok(vec![dx, dgamma, dbeta, None, None])
        })
    }

    fn rescale(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        if self.activation.is_linear() {
            return self.backward(cx, dy);
        }
        Err(Error::Unsupported {
            op: "batch_norm",
            what: "rescale of batch norm and activation in one; record them one by one (`Tape::fuse` = false)".into(),
        })
    }

    fn is_linear(&self) -> bool {
        self.activation.is_linear()
    }

    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let d = changed(dx, 0)?.rows()?;
        if let Some(gpu) = d.gpu() {
            return cuda::delta(gpu, self, cx, d, to);
        }
        let parameters = [cx.saved(1)?, cx.saved(2)?, cx.saved(3)?, cx.saved(4)?];
        let c = parameters[0].len();
        real!("batch_norm", d, T => {
            let k = Constants::<T>::new(&parameters, self.eps)?;
            let mut y = tensor::stale::<T>(d.len());
            y.copy_from_slice(d.cpu()?);
            if !y.is_empty() {
                scale_channels(&k.scale, &mut y);
            }
            if !self.activation.is_linear() {
                let (x, mut z) = (cx.saved(0)?.cpu::<T>()?, vec![T::ZERO; c]);
                for (r, i, p) in to.cells() {
                    k.normalise(&x[(cx.base(i) * to.len + p) * c..][..c], &mut z);
                    self.activation.difference_in_place(&z, &mut y[r * c..][..c]);
                }
            }
            Ok(Tensor::of(d.shape(), y))
        })
    }
}

/// Per channel: `z = (x - centre) * scale + shift`; the mean is `centre + rest`, `inverse` = 1 / sqrt(variance + eps).
struct Constants<T> {
    centre: Vec<T>,
    scale: Vec<T>,
    shift: Vec<T>,
    rest: Vec<f64>,
    inverse: Vec<f64>,
}

impl<T: Real> Constants<T> {
    /// From gamma, beta, mean, variance.
    fn new(parameters: &[&Tensor], eps: f64) -> Result<Self> {
        let (gamma, beta) = (parameters[0].cpu::<T>()?, parameters[1].cpu::<T>()?);
        let (mean, variance) = (parameters[2].to_f64(), parameters[3].to_f64());
        let inverse: Vec<f64> = variance.iter().map(|v| 1.0 / (v + eps).sqrt()).collect();
        let centre: Vec<T> = mean.iter().map(|&m| T::of(m)).collect();
        let rest: Vec<f64> = mean.iter().zip(&centre).map(|(m, c)| m - c.f64()).collect();
        let scale = |j: usize| gamma[j].f64() * inverse[j];
        Ok(Self {
            scale: (0..gamma.len()).map(|j| T::of(scale(j))).collect(),
            shift: (0..gamma.len()).map(|j| T::of(beta[j].f64() - rest[j] * scale(j))).collect(),
            centre,
            rest,
            inverse,
        })
    }

    fn normalise(&self, x: &[T], z: &mut [T]) {
        centred_affine(x, &self.centre, &self.scale, &self.shift, z);
    }
}

/// Sums over rows, per channel: in the element type over a run of rows, runs in f64.
struct Totals<T> {
    /// Of dz (statistics: of x - centre).
    plain: Vec<f64>,
    /// Of dz (x - centre) (statistics: of its square).
    products: Vec<f64>,
    /// The two sums of the current run, and its rows.
    run: Vec<T>,
    rows: usize,
}

impl<T: Real> Totals<T> {
    fn new(c: usize) -> Self {
        Self { plain: vec![0.0; c], products: vec![0.0; c], run: vec![T::ZERO; 2 * c], rows: 0 }
    }

    /// Adds rows of x, with dz; without one, x - centre takes its place.
    fn add(&mut self, x: &[T], centre: &[T], dz: Option<&[T]>) {
        let c = centre.len();
        for (i, x) in x.chunks(RUN * c).enumerate() {
            let (plain, products) = self.run.split_at_mut(c);
            match dz {
                Some(dz) => weighted_moments(x, centre, &dz[i * RUN * c..][..x.len()], plain, products),
                None => moments(x, centre, plain, products),
            }
            self.rows += x.len() / c;
            if self.rows >= RUN {
                self.close();
            }
        }
    }

    /// Ends the current run.
    fn close(&mut self) {
        let (plain, products) = self.run.split_at(self.plain.len());
        self.plain.iter_mut().zip(plain).for_each(|(t, v)| *t += v.f64());
        self.products.iter_mut().zip(products).for_each(|(t, v)| *t += v.f64());
        self.run.fill(T::ZERO);
        self.rows = 0;
    }

    /// The sum of the parts, in their order.
    fn all(parts: Vec<Self>, c: usize) -> Self {
        parts.into_iter().fold(Self::new(c), |mut sum, mut part| {
            part.close();
            sum.plain.iter_mut().zip(&part.plain).for_each(|(s, v)| *s += v);
            sum.products.iter_mut().zip(&part.products).for_each(|(s, v)| *s += v);
            sum
        })
    }
}

/// Rows of one block.
fn block_rows(c: usize) -> usize {
    ROWS.max(BLOCK / c)
}

/// Elements of whole rows that go through the first-level cache together.
fn chunk(c: usize) -> usize {
    (CHUNK / c).max(1) * c
}

/// Mean and biased variance of the columns. Every block is read for its mean, then, from the cache, for its deviations.
fn statistics<T: Real>(x: &[T], c: usize) -> (Vec<f64>, Vec<f64>) {
    let (per, n) = (block_rows(c) * c, (x.len() / c) as f64);
    let blocks: Vec<(f64, Totals<T>)> = par::map(x.len().div_ceil(per), |b| {
        let x = &x[b * per..][..per.min(x.len() - b * per)];
        let rows = (x.len() / c) as f64;
        let mut centre = vec![T::ZERO; c];
        column_sums(x, &mut centre);
        centre.iter_mut().for_each(|v| *v = T::of(v.f64() / rows));
        let mut sums = Totals::new(c);
        sums.add(x, &centre, None);
        sums.close();
        // From here on: mean, and sum of squares around it.
        for j in 0..c {
            let off = sums.plain[j] / rows;
            sums.products[j] -= off * sums.plain[j];
            sums.plain[j] = centre[j].f64() + off;
        }
        (rows, sums)
    });
    let (mut mean, mut variance) = (vec![0.0; c], vec![0.0; c]);
    for (rows, block) in &blocks {
        mean.iter_mut().zip(&block.plain).for_each(|(m, v)| *m += v * (rows / n));
    }
    for (rows, block) in &blocks {
        for j in 0..c {
            let off = block.plain[j] - mean[j];
            variance[j] += (block.products[j] + rows * off * off) / n;
        }
    }
    (mean, variance)
}

/// What a backward pass reads.
struct Sweep<'a, T> {
    /// Values of the tape; empty if nobody reads them.
    x: &'a [T],
    /// Gradients, of the sweep's rows.
    dy: &'a [T],
    rows: &'a [u32],
    c: usize,
    k: &'a Constants<T>,
    activation: Activation,
}

impl<T: Real> Sweep<'_, T> {
    /// Pieces of positions `first ..` (`count` of them) of the sweep, each within one tape row and one chunk: x, dy and the
    /// offset, in elements, from `first`.
    fn pieces(&self, first: usize, count: usize) -> impl Iterator<Item = (&[T], &[T], usize)> {
        let (l, c, end) = (self.dy.len() / self.c / self.rows.len(), self.c, first + count);
        let mut at = first;
        std::iter::from_fn(move || {
            let n = (l - at % l).min(end - at).min(chunk(c) / c);
            if at == end {
                return None;
            }
            let from = (self.rows[at / l] as usize * l + at % l) * c;
            let x = if self.x.is_empty() { self.x } else { &self.x[from..from + n * c] };
            let piece = (x, &self.dy[at * c..][..n * c], (at - first) * c);
            at += n;
            Some(piece)
        })
    }

    /// dz = dy f'(z); `z` is scratch of a chunk.
    fn inner(&self, x: &[T], dy: &[T], z: &mut [T], dz: &mut [T]) {
        if self.activation.is_linear() {
            dz.copy_from_slice(dy);
        } else {
            let z = &mut z[..dy.len()];
            self.k.normalise(x, z);
            self.activation.gradient(z, dy, dz);
        }
    }

    fn scratch(&self) -> Vec<T> {
        vec![T::ZERO; chunk(self.c)]
    }

    /// dx where the statistics are constants.
    fn input(&self) -> Vec<T> {
        let mut dx = tensor::stale::<T>(self.dy.len());
        par::rows(&mut dx, self.c, |first, dx| {
            let mut z = self.scratch();
            for (x, dy, at) in self.pieces(first, dx.len() / self.c) {
                let dx = &mut dx[at..at + dy.len()];
                self.inner(x, dy, &mut z, dx);
                scale_channels(&self.k.scale, dx);
            }
        });
        dx
    }

    /// dx where the statistics are constants, and the sums for gamma and beta, in one pass.
    fn both(&self) -> (Vec<T>, Totals<T>) {
        let (c, per) = (self.c, block_rows(self.c));
        let mut dx = tensor::stale::<T>(self.dy.len());
        let mut parts: Vec<Totals<T>> = (0..dx.len().div_ceil(per * c)).map(|_| Totals::new(c)).collect();
        let tasks = dx.chunks_mut(per * c).zip(&mut parts).enumerate().collect();
        par::each(tasks, |(b, (dx, sums)): (usize, (&mut [T], &mut Totals<T>))| {
            let mut z = self.scratch();
            for (x, dy, at) in self.pieces(b * per, dx.len() / c) {
                let dx = &mut dx[at..at + dy.len()];
                self.inner(x, dy, &mut z, dx);
                sums.add(x, &self.k.centre, Some(dx));
                scale_channels(&self.k.scale, dx);
            }
        });
        (dx, Totals::all(parts, c))
    }

    /// The sums alone: the first pass where statistics come from x.
    fn sums(&self) -> Totals<T> {
        let (c, per, rows) = (self.c, block_rows(self.c), self.dy.len() / self.c);
        let parts = par::map(rows.div_ceil(per), |b| {
            let (mut sums, mut z, mut dz) = (Totals::new(c), self.scratch(), self.scratch());
            for (x, dy, _) in self.pieces(b * per, per.min(rows - b * per)) {
                let dz = &mut dz[..dy.len()];
                self.inner(x, dy, &mut z, dz);
                sums.add(x, &self.k.centre, Some(dz));
            }
            sums
        });
        Totals::all(parts, c)
    }

    /// The second pass: dx = s (dz - mean(dz) - x' mean(dz x')), with x' = (x - mean) inverse and s = gamma inverse.
    fn through_statistics(&self, sums: &Totals<T>) -> Vec<T> {
        let (c, k, n) = (self.c, self.k, (self.dy.len() / self.c) as f64);
        let slope = |j: usize| {
            let product = sums.products[j] - k.rest[j] * sums.plain[j];
            k.scale[j].f64() * k.inverse[j] * k.inverse[j] * product / n
        };
        let slopes: Vec<T> = (0..c).map(|j| T::of(-slope(j))).collect();
        let shifts: Vec<T> =
            (0..c).map(|j| T::of(slope(j) * k.rest[j] - k.scale[j].f64() * sums.plain[j] / n)).collect();
        let mut dx = tensor::stale::<T>(self.dy.len());
        par::rows(&mut dx, c, |first, dx| {
            let mut z = self.scratch();
            for (x, dy, at) in self.pieces(first, dx.len() / c) {
                let dx = &mut dx[at..at + dy.len()];
                self.inner(x, dy, &mut z, dx);
                let line = &mut z[..dx.len()];
                centred_affine(x, &k.centre, &slopes, &shifts, line);
                scale_and_add(&k.scale, line, dx);
            }
        });
        dx
    }
}

dispatch! {
    /// z = (x - centre[c]) * scale[c] + shift[c], row by row.
    fn centred_affine[I, T: Float](x: &[T], centre: &[T], scale: &[T], shift: &[T], z: &mut [T]) {
        let c = centre.len();
        for (x, z) in x.chunks_exact(c).zip(z.chunks_exact_mut(c)) {
            for ((((z, x), m), s), b) in z.iter_mut().zip(x).zip(centre).zip(scale).zip(shift) {
                *z = (*x - *m).fma::<I>(*s, *b);
            }
        }
    }
}

dispatch! {
    /// y = scale[c] * y + x, row by row.
    fn scale_and_add[I, T: Float](scale: &[T], x: &[T], y: &mut [T]) {
        let c = scale.len();
        for (x, y) in x.chunks_exact(c).zip(y.chunks_exact_mut(c)) {
            for ((y, x), s) in y.iter_mut().zip(x).zip(scale) {
                *y = s.fma::<I>(*y, *x);
            }
        }
    }
}

dispatch! {
    /// plain += x - centre, squares += (x - centre)^2, over rows.
    fn moments[I, T: Float](x: &[T], centre: &[T], plain: &mut [T], squares: &mut [T]) {
        for x in x.chunks_exact(centre.len()) {
            for (((x, m), s), q) in x.iter().zip(centre).zip(&mut *plain).zip(&mut *squares) {
                let d = *x - *m;
                *s += d;
                *q = d.fma::<I>(d, *q);
            }
        }
    }
}

dispatch! {
    /// plain += w, products += w (x - centre), over rows.
    fn weighted_moments[I, T: Float](x: &[T], centre: &[T], w: &[T], plain: &mut [T], products: &mut [T]) {
        let c = centre.len();
        for (x, w) in x.chunks_exact(c).zip(w.chunks_exact(c)) {
            for ((((x, w), m), s), p) in x.iter().zip(w).zip(centre).zip(&mut *plain).zip(&mut *products) {
                *s += *w;
                *p = w.fma::<I>(*x - *m, *p);
            }
        }
    }
}

#[cfg(test)]
mod tests;
