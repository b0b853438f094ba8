//! Logarithm to any base of a shifted value: `y = ln(offset + x) / ln(base)`.
//!
//! Any shape. PyTorch: `torch.log(offset + x) / math.log(base)`. Where `offset + x` is not above zero the result is no number, as
//! there. The change under mutation is `ln(1 + d / (offset + x)) / ln(base)`, whose rounding is relative to the change.

mod cuda;

use crate::error::{Error, Result};
use crate::ops::changed;
use crate::real;
use crate::tape::{Cx, Delta, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::{self, Tensor};
use crate::util::math::Float;
use crate::util::par;

/// `ln(offset + x) / ln(base)`, element by element.
///
/// # Errors
/// [`Error::Argument`] for a base that is not above 0 or is 1.
pub fn log(tape: &mut Tape, x: &Var, base: f64, offset: f64) -> Result<Var> {
    if !(base > 0.0 && base != 1.0 && base.is_finite() && offset.is_finite()) {
        let what =
            format!("base {base} and offset {offset}: expected a base above 0 that is not 1, and a finite offset");
        return Err(Error::Argument { op: "log", what });
    }
    tape.apply(Log { base, offset }, &[x])
}

struct Log {
    base: f64,
    offset: f64,
}

impl Log {
    /// 1 / ln(base).
    fn factor(&self) -> f64 {
        self.base.ln().recip()
    }
}

impl Op for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        save.put(0, save.keep.any(), x[0]);
        if let Some(gpu) = x[0].gpu() {
            return cuda::forward(gpu, self, x[0]);
        }
        real!("log", x[0], T => {
            let mut y = tensor::stale::<T>(x[0].len());
            let from = x[0].cpu::<T>()?;
            par::rows(&mut y, 1, |at, y| {
                for (y, x) in y.iter_mut().zip(&from[at..]) {
                    *y = T::of((self.offset + x.f64()).ln() * self.factor());
                }
            });
            Ok(Tensor::of(x[0].shape(), y))
        })
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        if let Some(gpu) = dy.gpu() {
            return Ok(vec![Some(cuda::backward(gpu, self, cx, dy)?)]);
        }
        let size: usize = dy.shape()[1..].iter().product();
        real!("log", dy, T => {
            let (g, x) = (dy.cpu::<T>()?, cx.saved(0)?.cpu::<T>()?);
            let mut dx = tensor::stale::<T>(g.len());
            super::for_rows(&mut dx, size, |r, at, d| {
                for (i, d) in d.iter_mut().enumerate() {
                    let x = x[cx.base(r) * size + at + i].f64();
                    *d = T::of(g[r * size + at + i].f64() * self.factor() / (self.offset + x));
                }
            });
            Ok(vec![Some(Tensor::of(dy.shape(), dx))])
        })
    }

    fn rescale(&self, _: &Cx, _: &Tensor) -> Result<Grads> {
        Err(Error::Unsupported { op: "log", what: "the rescale sweep (DeepLIFT)".into() })
    }

    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let d = changed(dx, 0)?.rows()?;
        if let Some(gpu) = d.gpu() {
            return cuda::delta(gpu, self, cx, d, to);
        }
        let c = d.shape()[2];
        real!("log", d, T => {
            let (d, x) = (d.cpu::<T>()?, cx.saved(0)?.cpu::<T>()?);
            let mut y = tensor::zeros::<T>(d.len());
            for (r, i, p) in to.cells() {
                let x = &x[(cx.base(i) * to.len + p) * c..][..c];
                for ((y, d), x) in y[r * c..][..c].iter_mut().zip(&d[r * c..]).zip(x) {
                    *y = T::of((d.f64() / (self.offset + x.f64())).ln_1p() * self.factor());
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
        for (base, offset, c) in [(2.0, 2.0, 4), (10.0, 0.5, 3), (0.5, 1.0, 5)] {
            let x = check::Random::new(5).uniform(&[3, 6, c], -0.4, 3.0);
            let f = |t: &mut Tape, v: &[Var]| log(t, &v[0], base, offset);
            check::gradients("log", std::slice::from_ref(&x), f);
            check::precision("log", std::slice::from_ref(&x), f);
            // Changes as large as the values: those of a window must not reach what has no logarithm.
            check::delta("log", &[x], |t, v| {
                let z = crate::ops::activation(t, &v[0], crate::util::math::Activation::Softplus)?;
                log(t, &z, base, offset)
            });
        }
        let x = Var::constant(Tensor::new(&[1, 3], vec![0.0, 6.0, -3.0]).unwrap());
        let y = log(&mut Tape::predict(), &x, 2.0, 2.0).unwrap().value.to_f64();
        assert!((y[0] - 1.0).abs() < 1e-15 && (y[1] - 3.0).abs() < 1e-15 && y[2].is_nan());
        for base in [1.0, 0.0, -2.0, f64::NAN] {
            assert!(log(&mut Tape::predict(), &x, base, 0.0).unwrap_err().to_string().contains("a base above 0"));
        }
    }
}
