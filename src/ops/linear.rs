//! Dense layer: `y = x W + b` over the last axis.
//!
//! Shapes: x `[N, F]` or `[N, L, F]`, W `[F, O]` (a checkpoint's `[O, F]` is turned at its door), b `[O]`, y `[N, O]` or `[N, L, O]`.
//! PyTorch: `nn.Linear`, or `nn.Conv1d` of width 1. Behind [`super::flatten`] the rows of W are ordered (position, channel),
//! and a change that is known to lie in a few rows takes the matching slices of W.

mod cuda;

use crate::error::{Error, Result};
use crate::real;
use crate::tape::{Cx, Delta, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::gemm::{self, Gemm, Mat};
use crate::tensor::{self, Tensor};
use crate::util::par;

/// Multiplies the last axis of `x` by `w` `[F, O]` and adds `bias` `[O]`.
///
/// # Errors
/// [`Error::Shape`] if the sizes do not fit.
pub fn linear(tape: &mut Tape, x: &Var, w: &Var, bias: Option<&Var>) -> Result<Var> {
    let [f, o] = super::checked_rank(w, "linear", "weight [F, O]")?;
    if x.shape().len() < 2 || x.shape().last() != Some(&f) {
        return Err(Error::Shape {
            op: "linear",
            arg: "x",
            expected: format!("[N, {f}] or [N, L, {f}] for weight [{f}, {o}]"),
            found: x.shape().to_vec(),
        });
    }
    if let Some(b) = bias.filter(|b| b.shape() != [o]) {
        return Err(Error::Shape { op: "linear", arg: "bias", expected: format!("[{o}]"), found: b.shape().to_vec() });
    }
    let inputs: Vec<&Var> = [x, w].into_iter().chain(bias).collect();
    tape.apply(Linear { rows: x.shape().len() > 2 }, &inputs)
}

struct Linear {
    /// Whether x has rows `[N, L, F]`, which stay rows.
    rows: bool,
}

impl Op for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        let [f, o] = x[1].dims("linear", "weight")?;
        save.put(0, save.keep.backward, x[0]);
        save.put(1, save.keep.any(), x[1]);
        let mut shape = x[0].shape().to_vec();
        *shape.last_mut().expect("a rank above 1") = o;
        let m = x[0].len() / f;
        if let Some(gpu) = Tensor::place("linear", x)? {
            return cuda::forward(gpu, save.precision, &shape, x[0], x[1], x.get(2).copied());
        }
        real!("linear", x[0], T => {
            let mut y = tensor::stale::<T>(m * o);
            match x.get(2) {
                Some(b) => {
                    let b = b.cpu::<T>()?;
                    y.chunks_exact_mut(o).for_each(|y| y.copy_from_slice(b));
                }
                None => y.fill(T::default()),
            }
            gemm::add_parallel(Mat::new(x[0].cpu()?, m, f, f), Mat::new(x[1].cpu::<T>()?, f, o, o), &mut y, o);
            Ok(Tensor::of(&shape, y))
        })
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        let w = cx.saved(1)?;
        let [f, o] = w.dims("linear", "weight")?;
        let m = dy.len() / o;
        if cx.wants(1) || cx.wants(2) {
            cx.whole_batch("linear")?;
        }
        if let Some(gpu) = Tensor::place("linear", &[w, dy])? {
            return cuda::backward(gpu, cx, dy);
        }
        real!("linear", dy, T => {
            let g = Mat::new(dy.cpu::<T>()?, m, o, o);
            let mut grads = vec![None, None, None];
            if cx.wants(0) {
                let mut shape = dy.shape().to_vec();
                *shape.last_mut().expect("a rank above 1") = f;
                let mut dx = tensor::zeros::<T>(m * f);
                gemm::add_parallel(g, Mat::new(w.cpu::<T>()?, f, o, o).t(), &mut dx, f);
                grads[0] = Some(Tensor::of(&shape, dx));
            }
            if cx.wants(1) {
                let mut dw = tensor::zeros::<T>(f * o);
                gemm::add_parallel(Mat::new(cx.saved(0)?.cpu::<T>()?, m, f, f).t(), g, &mut dw, o);
                grads[1] = Some(Tensor::of(&[f, o], dw));
            }
            if cx.wants(2) {
                grads[2] = Some(Tensor::of(&[o], par::column_sums(dy.cpu::<T>()?, o)));
            }
            Ok(grads)
        })
    }

    fn window(&self, x: &[Option<&Window>], len: usize) -> Window {
        let from = Window::hull(x);
        if self.rows { Window { len, ..from } } else { Window::dense(from.mutants(), 1) }
    }

    fn is_linear(&self) -> bool {
        true
    }

    fn takes_operands(&self) -> bool {
        true
    }

    fn takes_rows(&self) -> bool {
        true
    }

    fn products(&self, cx: &Cx, x: &[Option<&Window>], to: &Window) -> f64 {
        let Ok(w) = cx.saved(1) else { return 0.0 };
        let from = Window::hull(x);
        if self.rows {
            (to.width * w.len()) as f64
        } else {
            from.width as f64 / from.len.max(1) as f64 * w.len() as f64
        }
    }

    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let (x, w, m) = (super::changed(dx, 0)?, cx.saved(1)?, to.mutants());
        let ([f, o], d) = (w.dims("linear", "weight")?, x.rows()?);
        let c = d.shape()[2];
        if let Some(gpu) = Tensor::place("linear", &[w, d])? {
            return cuda::delta(gpu, cx, self.rows, &x.at, d, to);
        }
        real!("linear", w, T => {
            let (w, d) = (w.cpu::<T>()?, d.cpu::<T>()?);
            let mut y = tensor::zeros::<T>(to.width * m * o);
            if self.rows {
                gemm::add(Mat::new(d, to.width * m, f, f), Mat::new(w, f, o, o), &mut y, o);
            } else {
                slices(&x.at, d, w, (c, o), &mut y);
            }
            Ok(Tensor::of(&[to.width, m, o], y))
        })
    }
}

/// `y[m] += d[p - start[m], m] W[rows of position p]`, position by position: neighbouring mutants that hold a position share a
/// product, so its rows of W are read once for all of them.
fn slices<T: Gemm>(at: &Window, d: &[T], w: &[T], (c, o): (usize, usize), y: &mut [T]) {
    let m = at.mutants();
    let mut gathered = vec![];
    for p in 0..at.len {
        let w = Mat::new(&w[p * c * o..], c, o, o);
        let mut first = 0;
        while first < m {
            gathered.clear();
            let rows = (first..m).map_while(|i| at.row(i, p));
            let run = rows.map(|r| gathered.extend_from_slice(&d[r * c..][..c])).count();
            gemm::add(Mat::new(&gathered, run, c, c), w, &mut y[first * o..], o);
            first += run.max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::flatten;
    use crate::tape::check;

    #[test]
    fn cases() {
        for (n, l, f, o) in [(3, 5, 4, 6), (1, 1, 1, 1), (2, 3, 17, 33)] {
            let mut r = check::Random::new(2);
            let name = format!("linear {n} {l} {f} {o}");
            let rows = [r.normal(&[n, l, f]), r.normal(&[f, o]), r.normal(&[o])];
            let on_rows = |t: &mut Tape, v: &[Var]| linear(t, &v[0], &v[1], Some(&v[2]));
            check::gradients(&name, &rows, on_rows);
            check::precision(&name, &rows, on_rows);
            check::delta(&name, &rows, on_rows);
            let flat = [r.normal(&[n, l, f]), r.normal(&[l * f, o])];
            let on_flat = |t: &mut Tape, v: &[Var]| {
                let x = flatten(t, &v[0])?;
                linear(t, &x, &v[1], None)
            };
            check::gradients(&name, &flat, on_flat);
            check::delta(&name, &flat, on_flat);
        }
        let mut r = check::Random::new(0);
        let (x, w) = (Var::constant(r.normal(&[2, 4])), Var::constant(r.normal(&[3, 5])));
        let e = linear(&mut Tape::predict(), &x, &w, None).unwrap_err().to_string();
        assert_eq!(e, "linear: x must be [N, 3] or [N, L, 3] for weight [3, 5]; found [2, 4]");
    }
}
