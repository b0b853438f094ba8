//! Arithmetic of two tensors of one shape: `a + b`, `a - b`, `a b`, `a / b`.
//!
//! Any shape; no broadcasting. PyTorch: `+ - * /`. Under mutation the sum of changes (`+ -`), or the product and quotient rules
//! with their second-order terms: exact, and relative to the change. An unchanged side counts as no change; windows of
//! different place and width meet in their hull.

use crate::error::{Error, Result};
use crate::real;
use crate::tape::{Cx, Delta, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::{self, Real, Tensor};
use crate::util::par;

/// `a + b`.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub fn add(tape: &mut Tape, a: &Var, b: &Var) -> Result<Var> {
    binary(tape, a, b, Binary::Add)
}

/// `a - b`.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub fn subtract(tape: &mut Tape, a: &Var, b: &Var) -> Result<Var> {
    binary(tape, a, b, Binary::Subtract)
}

/// `a b`, element by element.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub fn multiply(tape: &mut Tape, a: &Var, b: &Var) -> Result<Var> {
    binary(tape, a, b, Binary::Multiply)
}

/// `a / b`, element by element.
///
/// # Errors
/// [`Error::Shape`] if the shapes differ.
pub fn divide(tape: &mut Tape, a: &Var, b: &Var) -> Result<Var> {
    binary(tape, a, b, Binary::Divide)
}

fn binary(tape: &mut Tape, a: &Var, b: &Var, op: Binary) -> Result<Var> {
    if a.shape() != b.shape() {
        return Err(Error::Shape {
            op: op.name(),
            arg: "b",
            expected: format!("{:?} like a", a.shape()),
            found: b.shape().to_vec(),
        });
    }
    tape.apply(op, &[a, b])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Binary {
    Add,
    Subtract,
    Multiply,
    Divide,
}

impl Binary {
    fn value<T: Real>(self, a: T, b: T) -> T {
        match self {
            Self::Add => a + b,
            Self::Subtract => a - b,
            Self::Multiply => a * b,
            Self::Divide => a / b,
        }
    }

    /// Change of the value when a and b change by da and db.
    fn difference<T: Real>(self, a: T, b: T, da: T, db: T) -> T {
        match self {
            Self::Add => da + db,
            Self::Subtract => da - db,
            Self::Multiply => a * db + da * b + da * db,
            Self::Divide => (da - a / b * db) / (b + db),
        }
    }

    fn is_linear(self) -> bool {
        matches!(self, Self::Add | Self::Subtract)
    }
}

impl Op for Binary {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Subtract => "subtract",
            Self::Multiply => "multiply",
            Self::Divide => "divide",
        }
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        save.put(0, save.keep.any() && !self.is_linear(), x[0]);
        save.put(1, save.keep.any() && !self.is_linear(), x[1]);
        real!(self.name(), x[0], T => {
            let mut y = tensor::stale::<T>(x[0].len());
            let (a, b) = (x[0].cpu::<T>()?, x[1].cpu::<T>()?);
            par::rows(&mut y, 1, |at, y| {
                for ((y, &a), &b) in y.iter_mut().zip(&a[at..]).zip(&b[at..]) {
                    *y = self.value(a, b);
                }
            });
            Ok(Tensor::of(x[0].shape(), y))
        })
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        if *self == Self::Add {
            return Ok(vec![Some(dy.clone()), Some(dy.clone())]);
        }
        let size: usize = dy.shape()[1..].iter().product();
        real!(self.name(), dy, T => {
            let g = dy.cpu::<T>()?;
            let each = |f: &(dyn Fn(usize, T) -> T + Sync)| {
                let mut d = tensor::stale::<T>(g.len());
                super::for_rows(&mut d, size, |r, at, d| {
                    for (i, d) in d.iter_mut().enumerate() {
                        *d = f(cx.base(r) * size + at + i, g[r * size + at + i]);
                    }
                });
                Tensor::of(dy.shape(), d)
            };
            if *self == Self::Subtract {
                return Ok(vec![Some(dy.clone()), Some(each(&|_, g| -g))]);
            }
            let (a, b) = (cx.saved(0)?.cpu::<T>()?, cx.saved(1)?.cpu::<T>()?);
            Ok(match self {
                Self::Multiply => vec![Some(each(&|i, g| g * b[i])), Some(each(&|i, g| g * a[i]))],
                _ => vec![Some(each(&|i, g| g / b[i])), Some(each(&|i, g| -(g * a[i]) / (b[i] * b[i])))],
            })
        })
    }

    fn rescale(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        if self.is_linear() {
            return self.backward(cx, dy);
        }
        Err(Error::Unsupported { op: self.name(), what: "the rescale sweep (DeepLIFT)".into() })
    }

    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let parts: Vec<Option<Delta>> =
            dx.iter().map(|d| d.map(|d| d.placed(to)).transpose()).collect::<Result<_>>()?;
        let Some(any) = parts.iter().flatten().next() else { return super::changed(dx, 0)?.rows().cloned() };
        let shape = any.rows()?.shape().to_vec();
        let c = shape[2];
        real!(self.name(), any.rows()?, T => {
            let part = |i: usize| parts[i].as_ref().map(|d| d.rows()?.cpu::<T>()).transpose();
            let (da, db) = (part(0)?, part(1)?);
            let reference = match self.is_linear() {
                true => None,
                false => Some((cx.saved(0)?.cpu::<T>()?, cx.saved(1)?.cpu::<T>()?)),
            };
            let mut y = tensor::zeros::<T>(shape.iter().product());
            for (r, i, p) in to.cells() {
                let at = (cx.base(i) * to.len + p) * c;
                for j in 0..c {
                    let of = |d: Option<&[T]>| d.map_or(T::default(), |d| d[r * c + j]);
                    let (a, b) = reference.map_or((T::default(), T::default()), |(a, b)| (a[at + j], b[at + j]));
                    y[r * c + j] = self.difference(a, b, of(da), of(db));
                }
            }
            Ok(Tensor::of(&shape, y))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Conv1dArgs, activation, conv1d};
    use crate::tape::check;
    use crate::util::math::Activation;

    #[test]
    fn cases() {
        type Function = fn(&mut Tape, &Var, &Var) -> Result<Var>;
        let all: [(&str, Function); 4] =
            [("add", add), ("subtract", subtract), ("multiply", multiply), ("divide", divide)];
        for (name, f) in all {
            let mut r = check::Random::new(7);
            let inputs = [r.normal(&[3, 5, 4]), r.uniform(&[3, 5, 4], 0.5, 2.0), r.normal(&[3, 4, 4])];
            check::gradients(name, &inputs[..2], |t, v| f(t, &v[0], &v[1]));
            check::precision(name, &inputs[..2], |t, v| f(t, &v[0], &v[1]));
            // Both sides change, on different windows.
            check::delta(name, &[inputs[0].clone(), inputs[2].clone()], |t, v| {
                let wide =
                    conv1d(t, &v[0], &v[1], None, Conv1dArgs { kernel: 3, stride: 1, dilation: 2, pad: (3, 1) })?;
                let safe = activation(t, &v[0], Activation::ReluNonZero)?;
                let safe = activation(t, &safe, Activation::Exp)?;
                f(t, &wide, &safe)
            });
        }
        let (a, b) =
            (Var::constant(check::Random::new(1).normal(&[2, 2])), Var::constant(check::Random::new(1).normal(&[2])));
        assert_eq!(
            add(&mut Tape::predict(), &a, &b).unwrap_err().to_string(),
            "add: b must be [2, 2] like a; found [2]"
        );
    }
}
