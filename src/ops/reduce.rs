//! Reductions: mean over positions, and softmax over the last axis.
//!
//! `mean_rows`: `[N, L, C]` to `[N, C]`, PyTorch `x.mean(-1)` channels first. `softmax`: any rank, PyTorch `softmax(-1)`. Sums run in
//! fixed order.

use crate::error::{Error, Result};
use crate::real;
use crate::tape::{Cx, Delta, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::{self, Tensor};
use crate::util::math::{self, Float};
use crate::util::par;

/// Mean over the positions of every sequence.
///
/// # Errors
/// [`Error::Shape`] unless x is `[N, L, C]`.
pub fn mean_rows(tape: &mut Tape, x: &Var) -> Result<Var> {
    let [_, l, _] = super::checked_rank(x, "mean_rows", "x [N, L, C]")?;
    tape.apply(MeanRows { l }, &[x])
}

/// Softmax over the last axis.
///
/// # Errors
/// [`Error::DType`] for packed bases.
pub fn softmax(tape: &mut Tape, x: &Var) -> Result<Var> {
    tape.apply(Softmax, &[x])
}

struct MeanRows {
    l: usize,
}

impl Op for MeanRows {
    fn name(&self) -> &'static str {
        "mean_rows"
    }

    fn forward(&self, x: &[&Tensor], _: &mut Save) -> Result<Tensor> {
        let [n, l, c] = x[0].dims("mean_rows", "x")?;
        real!("mean_rows", x[0], T => {
            let x = x[0].cpu::<T>()?;
            let mut y = tensor::stale::<T>(n * c);
            par::each(y.chunks_exact_mut(c).enumerate().collect(), |(i, y): (usize, &mut [T])| {
                math::column_sums(&x[i * l * c..][..l * c], y);
                math::scale(T::of(1.0 / l as f64), y);
            });
            Ok(Tensor::of(&[n, c], y))
        })
    }

    fn backward(&self, _: &Cx, dy: &Tensor) -> Result<Grads> {
        let ([r, c], l) = (dy.dims("mean_rows", "dy")?, self.l);
        real!("mean_rows", dy, T => {
            let g = dy.cpu::<T>()?;
            let mut dx = tensor::stale::<T>(r * l * c);
            par::rows(&mut dx, c, |first, dx| {
                for (i, dx) in dx.chunks_exact_mut(c).enumerate() {
                    dx.copy_from_slice(&g[(first + i) / l * c..][..c]);
                    math::scale(T::of(1.0 / l as f64), dx);
                }
            });
            Ok(vec![Some(Tensor::of(&[r, l, c], dx))])
        })
    }

    fn window(&self, x: &[Option<&Window>], _: usize) -> Window {
        Window::dense(Window::hull(x).mutants(), 1)
    }

    fn is_linear(&self) -> bool {
        true
    }

    fn delta(&self, _: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let x = super::changed(dx, 0)?;
        let (d, m) = (x.rows()?, to.mutants());
        let c = d.shape()[2];
        real!("mean_rows", d, T => {
            let (d, mut y) = (d.cpu::<T>()?, tensor::zeros::<T>(m * c));
            for (r, i, _) in x.at.cells() {
                math::add(&d[r * c..][..c], &mut y[i * c..][..c]);
            }
            math::scale(T::of(1.0 / x.at.len as f64), &mut y);
            Ok(Tensor::of(&[1, m, c], y))
        })
    }
}

struct Softmax;

impl Op for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        let c = x[0].shape().last().copied().unwrap_or(1);
        let y = real!("softmax", x[0], T => {
            let x0 = x[0].cpu::<T>()?;
            let mut y = tensor::stale::<T>(x0.len());
            par::rows(&mut y, c, |first, y| {
                y.copy_from_slice(&x0[first * c..][..y.len()]);
                y.chunks_exact_mut(c).for_each(math::softmax);
            });
            Ok(Tensor::of(x[0].shape(), y))
        })?;
        save.put(0, save.keep.any(), &y);
        Ok(y)
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        let c = dy.shape().last().copied().unwrap_or(1);
        let size: usize = dy.shape()[1..].iter().product();
        real!("softmax", dy, T => {
            let (s, g) = (cx.saved(0)?.cpu::<T>()?, dy.cpu::<T>()?);
            let mut dx = tensor::stale::<T>(g.len());
            par::rows(&mut dx, size, |first, dx| {
                for (i, dx) in dx.chunks_exact_mut(c).enumerate() {
                    let at = first * size + i * c;
                    let s = &s[cx.base(at / size) * size + at % size..][..c];
                    let g = &g[at..][..c];
                    let mean = math::dot(s, g);
                    for ((dx, &s), &g) in dx.iter_mut().zip(s).zip(g) {
                        *dx = s * (g - mean);
                    }
                }
            });
            Ok(vec![Some(Tensor::of(dy.shape(), dx))])
        })
    }

    fn rescale(&self, _: &Cx, _: &Tensor) -> Result<Grads> {
        Err(Error::Unsupported { op: "softmax", what: "the rescale sweep (DeepLIFT)".into() })
    }

    /// `s_i' - s_i = s_i (e^{d_i} - S) / S` with `S = sum_j s_j e^{d_j}`, and `S - 1 = sum_j s_j (e^{d_j} - 1)`: nothing cancels.
    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let (s, d) = (cx.saved(0)?, super::changed(dx, 0)?.rows()?);
        let c = d.shape()[2];
        real!("softmax", s, T => {
            let (s, d) = (s.cpu::<T>()?, d.cpu::<T>()?);
            let mut y = tensor::zeros::<T>(d.len());
            for (r, i, p) in to.cells() {
                let s = &s[(cx.base(i) * to.len + p) * c..][..c];
                // Relative to the largest change, so that nothing overflows; a common shift changes no softmax.
                let top = math::maximum(&d[r * c..][..c]);
                let grown: Vec<f64> = d[r * c..][..c].iter().map(|&d| (d - top).f64().exp_m1()).collect();
                let excess: f64 = s.iter().zip(&grown).map(|(s, g)| s.f64() * g).sum();
                for (j, y) in y[r * c..][..c].iter_mut().enumerate() {
                    *y = T::of(s[j].f64() * (grown[j] - excess) / (1.0 + excess));
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

    #[test]
    fn cases() {
        for shape in [[3usize, 7, 5], [1, 1, 1], [2, 300, 2]] {
            let x = check::Random::new(8).normal(&shape);
            type Function = fn(&mut Tape, &Var) -> Result<Var>;
            for (name, f) in [("mean_rows", mean_rows as Function), ("softmax", softmax as Function)] {
                if shape[1] < 100 {
                    check::gradients(name, std::slice::from_ref(&x), |t, v| f(t, &v[0]));
                }
                if shape[2] > 1 {
                    check::precision(name, std::slice::from_ref(&x), |t, v| f(t, &v[0]));
                    check::delta(name, std::slice::from_ref(&x), |t, v| f(t, &v[0]));
                }
            }
        }
    }
}
