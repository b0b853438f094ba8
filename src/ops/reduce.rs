//! Reductions: mean over positions, and softmax over the last axis.
//!
//! `mean_rows`: `[N, L, C]` to `[N, C]`, PyTorch `x.mean(-1)` channels first. `softmax`: any rank, PyTorch `softmax(-1)`. Sums run in
//! fixed order.

pub(super) mod cuda;

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
        if let Some(gpu) = x[0].gpu() {
            return cuda::mean_rows(gpu, x[0]);
        }
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
        if let Some(gpu) = dy.gpu() {
            return Ok(vec![Some(cuda::mean_rows_backward(gpu, dy, l)?)]);
        }
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
        if let Some(gpu) = d.gpu() {
            return cuda::mean_rows_delta(gpu, d, &x.at);
        }
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
        if let Some(gpu) = x[0].gpu() {
            let y = cuda::softmax(gpu, x[0])?;
            save.put(0, save.keep.any(), &y);
            return Ok(y);
        }
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
        let y = cx.saved(0)?;
        if let Some(gpu) = Tensor::place("softmax", &[y, dy])? {
            return Ok(vec![Some(cuda::softmax_backward(gpu, cx, y, dy)?)]);
        }
        let c = dy.shape().last().copied().unwrap_or(1);
        let size: usize = dy.shape()[1..].iter().product();
        real!("softmax", dy, T => {
            let (s, g) = (y.cpu::<T>()?, dy.cpu::<T>()?);
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
        if let Some(gpu) = Tensor::place("softmax", &[s, d])? {
            return cuda::softmax_delta(gpu, cx, s, d, to);
        }
        let c = d.shape()[2];
        real!("softmax", s, T => {
            let (s, d) = (s.cpu::<T>()?, d.cpu::<T>()?);
            let mut y = tensor::zeros::<T>(d.len());
            for (r, i, p) in to.cells() {
                let s = &s[(cx.base(i) * to.len + p) * c..][..c];
                // A common shift changes no softmax. Counted from their mean, small changes stay exact; from the largest, none
                // overflows.
                let d = &d[r * c..][..c];
                let top = math::maximum(d).f64();
                let mean: f64 = s.iter().zip(d).map(|(s, d)| s.f64() * d.f64()).sum();
                let shift = if top - mean > 20.0 { top } else { mean };
                let mut grown: Vec<f64> = d.iter().map(|d| (d.f64() - shift).exp_m1()).collect();
                let mut excess: f64 = s.iter().zip(&grown).map(|(s, g)| s.f64() * g).sum();
                let total: f64 = s.iter().zip(&grown).map(|(s, g)| s.f64() * (1.0 + g)).sum();
                // Where the channels that grow weigh little, S is small, and only the sum of its own terms is exact to that.
                if excess < -0.5 {
                    grown.iter_mut().for_each(|g| *g += 1.0);
                    excess = total;
                }
                for (j, y) in y[r * c..][..c].iter_mut().enumerate() {
                    *y = T::of(s[j].f64() * (grown[j] - excess) / total);
                }
            }
            Ok(Tensor::of(&[to.width, to.mutants(), c], y))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::{Keep, Mode, check};
    use crate::tensor::DType;

    #[test]
    fn cases() {
        for shape in [[3usize, 7, 5], [1, 1, 1], [2, 300, 2], [2, 3, 67]] {
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

    /// Gradients of some rows of the tape, one of them twice.
    #[test]
    fn selected_rows_on_gpus() {
        let run = |x: Tensor, dy: Tensor| {
            let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
            let x = tape.leaf(x);
            let y = softmax(&mut tape, &x).unwrap();
            let g = tape.backward(y.node.unwrap(), dy, &[2, 0, 2], &[x.node.unwrap()]).unwrap();
            check::numbers(g[0].as_ref().unwrap())
        };
        let mut r = check::Random::new(6);
        let (x, dy) = (r.normal(&[3, 4, 9]), r.normal(&[3, 4, 9]));
        let want = run(x.clone(), dy.clone());
        for gpu in check::gpus() {
            let there = |t: &Tensor| t.to_dtype(DType::F32).unwrap().to_gpu(gpu).unwrap();
            check::nmse("softmax", &run(there(&x), there(&dy)), &want, 1e-10);
        }
    }

    /// The channel that grows most holds hardly any of the weight, or nearly all.
    #[test]
    fn steep_changes_on_gpus() {
        for (before, by) in [(-12.0, 14.0), (9.0, 30.0), (9.0, -40.0), (-3.0, 0.01)] {
            let mut r = check::Random::new(7);
            let (mut x, mut d) = (r.normal(&[1, 1, 33]).to_f64(), vec![0.0; 33]);
            (x[5], d[5]) = (before, by);
            let run = |x: Tensor, d: Tensor| {
                let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
                let x = tape.leaf(x);
                let y = softmax(&mut tape, &x).unwrap();
                let d = Delta { at: Window::dense(1, 1), change: crate::tape::Change::Rows(d) };
                let d = tape.delta(vec![(x.node.unwrap(), d)], &[0], &[y.node.unwrap()]).unwrap();
                check::numbers(d[0].as_ref().unwrap().rows().unwrap())
            };
            let narrow = |v: &[f64]| Tensor::of(&[1, 1, 33], v.to_vec()).to_dtype(DType::F32).unwrap();
            let wide = |t: Tensor| t.to_dtype(DType::F64).unwrap();
            let want = run(wide(narrow(&x)), wide(narrow(&d)));
            for gpu in check::gpus() {
                let got = run(narrow(&x).to_gpu(gpu).unwrap(), narrow(&d).to_gpu(gpu).unwrap());
                check::nmse("softmax", &got, &want, 1e-11);
            }
        }
    }
}
