//! Element-wise activation: `y = f(x)` for the functions of [`Activation`].
//!
//! Any shape. PyTorch: `torch.nn.functional.gelu`, `relu`, ... as each variant of [`Activation`] says. The change under
//! mutation is `f(z + d) - f(z)` in a form whose rounding is relative to the change; DeepLIFT's multiplier is the difference
//! quotient.

mod cuda;

use crate::error::Result;
use crate::real;
use crate::tape::{Cx, Delta, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::{self, Tensor};
use crate::util::math::Activation;
use crate::util::par;

/// Applies `f` to every element.
///
/// # Errors
/// [`crate::Error::DType`] for packed bases.
pub fn activation(tape: &mut Tape, x: &Var, f: Activation) -> Result<Var> {
    if f == Activation::Identity { Ok(x.clone()) } else { tape.apply(Elementwise { f }, &[x]) }
}

struct Elementwise {
    f: Activation,
}

impl Op for Elementwise {
    fn name(&self) -> &'static str {
        "activation"
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        save.put(0, save.keep.any(), x[0]);
        if let Some(gpu) = x[0].gpu() {
            return cuda::forward(gpu, self.f, x[0], save.operand());
        }
        real!("activation", x[0], T => {
            let mut y = tensor::stale::<T>(x[0].len());
            par::zip(&mut y, x[0].cpu()?, |y, x| self.f.value(x, y));
            Ok(Tensor::of(x[0].shape(), y))
        })
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        let z = cx.saved(0)?;
        if let Some(gpu) = Tensor::place("activation", &[z, dy])? {
            return Ok(vec![Some(cuda::backward(gpu, self.f, z, cx, dy)?)]);
        }
        let size: usize = dy.shape()[1..].iter().product();
        real!("activation", dy, T => {
            let (z, g) = (z.cpu::<T>()?, dy.cpu::<T>()?);
            let mut dx = tensor::stale::<T>(g.len());
            super::for_rows(&mut dx, size, |r, at, dx| {
                self.f.gradient(&z[cx.base(r) * size + at..][..dx.len()], &g[r * size + at..][..dx.len()], dx);
            });
            Ok(vec![Some(Tensor::of(dy.shape(), dx))])
        })
    }

    fn rescale(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        let (z, partner) = (cx.saved(0)?, cx.partner.unwrap_or(cx.rows));
        if let Some(gpu) = Tensor::place("activation", &[z, dy])? {
            return Ok(vec![Some(cuda::backward(gpu, self.f, z, cx, dy)?)]);
        }
        let size: usize = dy.shape()[1..].iter().product();
        real!("activation", dy, T => {
            let (z, g) = (z.cpu::<T>()?, dy.cpu::<T>()?);
            let mut dx = tensor::stale::<T>(g.len());
            super::for_rows(&mut dx, size, |r, at, dx| {
                let row = |n: u32| &z[n as usize * size + at..][..dx.len()];
                let (a, b) = (row(cx.rows[r]), row(partner[r]));
                self.f.quotient(a, b, &g[r * size + at..][..dx.len()], dx);
            });
            Ok(vec![Some(Tensor::of(dy.shape(), dx))])
        })
    }

    fn takes_rows(&self) -> bool {
        true
    }

    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let (z, d) = (cx.saved(0)?, super::changed(dx, 0)?.rows()?);
        if let Some(gpu) = Tensor::place("activation", &[z, d])? {
            return cuda::delta(gpu, self.f, z, cx, d, to);
        }
        let c = d.shape()[2];
        real!("activation", z, T => {
            let (z, d) = (z.cpu::<T>()?, d.cpu::<T>()?);
            let mut y = tensor::stale::<T>(d.len());
            for (r, i, p) in to.cells() {
                let z = &z[(cx.base(i) * to.len + p) * c..][..c];
                self.f.difference(z, &d[r * c..][..c], &mut y[r * c..][..c]);
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
        for f in [
            Activation::Gelu,
            Activation::Relu,
            Activation::Exp,
            Activation::Softplus,
            Activation::Silu,
            Activation::Sigmoid,
            Activation::Tanh,
            Activation::Sin,
            Activation::Identity,
            Activation::ReluNonZero,
        ] {
            for shape in [[2usize, 7, 3], [1, 1, 5]] {
                let x = check::Random::new(3).normal(&shape);
                let run = |t: &mut Tape, v: &[Var]| activation(t, &v[0], f);
                let name = format!("activation {}", f.name());
                if f != Activation::Identity {
                    check::gradients(&name, std::slice::from_ref(&x), run);
                    check::precision(&name, std::slice::from_ref(&x), run);
                    check::delta(&name, &[x], run);
                }
            }
        }
    }

    /// Rows of whole pieces of 16 bytes, of a part of one, of one piece of f32 besides, and of none.
    #[test]
    fn operands_of_16_bits() {
        use crate::ops::{Conv1dArgs, conv1d, flatten, linear};
        use crate::tape::Mode;
        for c in [1, 5, 8, 12, 33] {
            for f in [Activation::Gelu, Activation::Exp] {
                let mut r = check::Random::new(6);
                let inputs = [r.normal(&[3, 7, c]), r.normal(&[3, c, 5])];
                let act = |t: &mut Tape, v: &[Var]| activation(t, &v[0], f);
                let conv = |t: &mut Tape, x: &Var, w: &[Var]| conv1d(t, x, &w[0], None, Conv1dArgs::same(3, 2));
                check::operands(&format!("conv1d of {c} channels"), &Mode::Eval, &inputs, 1, act, conv);
                let dense = |t: &mut Tape, x: &Var, w: &[Var]| linear(t, x, &w[0], None);
                let rows = [inputs[0].clone(), r.normal(&[c, 3])];
                check::operands(&format!("linear of {c} channels"), &Mode::Eval, &rows, 1, act, dense);
                let flat = [inputs[0].clone(), r.normal(&[7 * c, 3])];
                let on_flat = |t: &mut Tape, v: &[Var]| {
                    let x = flatten(t, &v[0])?;
                    activation(t, &x, f)
                };
                check::operands(&format!("linear of a map of {c} channels"), &Mode::Eval, &flat, 1, on_flat, dense);
            }
        }
    }

    #[test]
    fn operands_are_for_products_alone() {
        for gpu in check::gpus() {
            let mut tape = Tape::predict();
            tape.precision = crate::device::Precision::Bf16;
            let x = crate::tensor::Tensor::new(&[1, 2, 3], vec![1f32; 6]).unwrap().to_gpu(gpu).unwrap();
            let y = tape.for_products(|t| activation(t, &Var::constant(x), Activation::Relu)).unwrap();
            let refused = activation(&mut tape, &y, Activation::Relu).unwrap_err().to_string();
            assert!(refused.starts_with("activation: expected f32: it is no product"), "{refused}");
        }
    }

    /// Completeness of DeepLIFT: multipliers times differences add up to the difference of outputs.
    #[test]
    fn rescale_is_complete() {
        use crate::tape::{Keep, Mode};
        let mut r = check::Random::new(4);
        let (x, dy) = (r.normal(&[3, 4, 5]), r.normal(&[2, 4, 5]));
        let mut tape = Tape::new(Keep { rescale: true, ..Keep::default() }, Mode::Eval);
        let v = tape.leaf(x.clone());
        let y = activation(&mut tape, &v, Activation::Gelu).unwrap();
        let m = tape.rescale(y.node.unwrap(), dy.clone(), &[0, 2], &[1, 1], &[v.node.unwrap()]).unwrap();
        let (m, x, y, dy) = (m[0].as_ref().unwrap().to_f64(), x.to_f64(), y.value.to_f64(), dy.to_f64());
        for (r, n) in [0, 2].into_iter().enumerate() {
            let left: f64 = (0..20).map(|i| m[r * 20 + i] * (x[n * 20 + i] - x[20 + i])).sum();
            let right: f64 = (0..20).map(|i| dy[r * 20 + i] * (y[n * 20 + i] - y[20 + i])).sum();
            assert!((left - right).abs() < 1e-12, "{left} {right}");
        }
    }
}
