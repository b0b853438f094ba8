//! Convolution with a residual: `y = conv1d(x, W) + b + r`.
//!
//! Shapes: those of [`super::conv1d`]; r `[N, Lo, O]` like y. It equals `add(conv1d(x, W, b), r)` without the pass over memory
//! that the addition would be: on the CPU a task adds the residual to the rows that it has just computed, with the bits of the
//! composition; on a GPU it is part of the kernel where there is one.

use super::conv1d::{self, Conv1dArgs};
use crate::error::{Error, Result};
use crate::tape::{Change, Cx, Delta, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::Tensor;

/// Convolves `x` `[N, L, C]` with `w` `[k, C, O]` and adds `residual` `[N, Lo, O]`; see the head of this file.
///
/// # Errors
/// As [`super::conv1d`]; [`Error::Shape`] if the residual has not the shape of the output.
pub fn conv1d_add(
    tape: &mut Tape,
    x: &Var,
    w: &Var,
    bias: Option<&Var>,
    residual: &Var,
    args: Conv1dArgs,
) -> Result<Var> {
    checked(x, w, bias, residual, args)?;
    let none = Var::constant(w.value.clone());
    tape.apply(Conv1dAdd { args, bias: bias.is_some() }, &[x, w, bias.unwrap_or(&none), residual])
}

/// As [`conv1d_add`], with a value that is known.
pub(super) fn given(
    tape: &mut Tape,
    [x, w, residual]: [&Var; 3],
    bias: Option<&Var>,
    args: Conv1dArgs,
    value: Tensor,
) -> Result<Var> {
    let none = Var::constant(w.value.clone());
    tape.apply_given(Conv1dAdd { args, bias: bias.is_some() }, &[x, w, bias.unwrap_or(&none), residual], value)
}

/// Refuses arguments that do not fit.
pub(super) fn checked(x: &Var, w: &Var, bias: Option<&Var>, residual: &Var, args: Conv1dArgs) -> Result<()> {
    let shape = conv1d::checked("conv1d_add", x, w, bias, args)?;
    if residual.shape() != shape {
        return Err(Error::Shape {
            op: "conv1d_add",
            arg: "residual",
            expected: format!("{shape:?} like the convolution"),
            found: residual.shape().to_vec(),
        });
    }
    Ok(())
}

struct Conv1dAdd {
    args: Conv1dArgs,
    /// Whether the third input is a bias; it is the weight once more, as a constant, where there is none.
    bias: bool,
}

impl Op for Conv1dAdd {
    fn name(&self) -> &'static str {
        "conv1d_add"
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        conv1d::value(&self.args, save, x[0], x[1], self.bias.then(|| x[2]), Some(x[3]))
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        let mut grads = conv1d::gradients(&self.args, cx, dy)?;
        grads.push(cx.wants(3).then(|| dy.clone()));
        Ok(grads)
    }

    fn window(&self, x: &[Option<&Window>], len: usize) -> Window {
        let convolved = x[0].map(|x| conv1d::window(&self.args, x, len));
        Window { len, ..Window::hull(&[convolved.as_ref(), x[3]]) }
    }

    fn is_linear(&self) -> bool {
        true
    }

    fn takes_operands(&self) -> bool {
        true
    }

    fn products(&self, cx: &Cx, x: &[Option<&Window>], _: &Window) -> f64 {
        let len = cx.shape()[1];
        x[0].map_or(0.0, |x| conv1d::products(&self.args, cx, x, &conv1d::window(&self.args, x, len)))
    }

    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let (x, residual) = (dx[0], dx[3]);
        let Some(x) = x else {
            return super::changed(dx, 3)?.placed(to)?.rows().cloned();
        };
        let own = conv1d::window(&self.args, &x.at, to.len);
        if own == *to {
            return conv1d::change(&self.args, cx, x, to, residual);
        }
        // The residual changes beyond the convolution's window, for some mutant: that must not change how the others' are
        // computed.
        let change = Change::Rows(conv1d::change(&self.args, cx, x, &own, None)?);
        let y = Delta { at: own, change }.placed(to)?;
        match residual {
            Some(r) => {
                let [y, r] = [y.rows()?.clone(), r.placed(to)?.rows()?.clone()].map(Var::constant);
                Ok(super::add(&mut Tape::predict(), &y, &r)?.value)
            }
            None => y.rows().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Padding, PoolArgs, PoolKind, activation, add, conv1d, crop, pool};
    use crate::tape::{Keep, Mode, check};
    use crate::tensor::DType;
    use crate::util::math::Activation;

    /// (N, L, C, O, arguments): the residual inside of the convolution's window, strides, few outputs, length 1.
    const CASES: &[(usize, usize, usize, usize, Conv1dArgs)] = &[
        (2, 7, 3, 17, Conv1dArgs { kernel: 3, stride: 1, dilation: 1, pad: (1, 1) }),
        (2, 11, 2, 18, Conv1dArgs { kernel: 4, stride: 1, dilation: 2, pad: (2, 3) }),
        (1, 1, 3, 16, Conv1dArgs { kernel: 5, stride: 1, dilation: 3, pad: (6, 6) }),
        (2, 11, 3, 17, Conv1dArgs { kernel: 3, stride: 2, dilation: 1, pad: (1, 0) }),
        (2, 9, 4, 3, Conv1dArgs { kernel: 4, stride: 2, dilation: 1, pad: (1, 2) }),
        (2, 9, 4, 5, Conv1dArgs { kernel: 5, stride: 1, dilation: 1, pad: (2, 2) }),
    ];

    #[test]
    fn cases() {
        for (i, &(n, l, c, o, args)) in CASES.iter().enumerate() {
            let (mut r, lo) = (check::Random::new(i as u64), args.output(l).unwrap());
            let inputs = [r.normal(&[n, l, c]), r.normal(&[args.kernel, c, o]), r.normal(&[n, lo, o]), r.normal(&[o])];
            let f = |t: &mut Tape, v: &[Var]| conv1d_add(t, &v[0], &v[1], Some(&v[3]), &v[2], args);
            check::gradients(&format!("conv1d_add case {i}"), &inputs, f);
            check::precision(&format!("conv1d_add case {i}"), &inputs, f);
            let f = |t: &mut Tape, v: &[Var]| conv1d_add(t, &v[0], &v[1], None, &v[2], args);
            check::gradients(&format!("conv1d_add case {i}"), &inputs[..3], f);
            check::delta(
                &format!("conv1d_add case {i}"),
                &[inputs[0].clone(), inputs[1].clone(), r.normal(&[2 * n, lo, o])],
                |t, v| {
                    // `check::delta` runs all mutants side by side: the constant has as many rows.
                    let m = v[0].shape()[0];
                    let residual = Var::constant(v[2].value.rows(0, 1)?.repeat(m)?.reshape(&[m, lo, o])?);
                    conv1d_add(t, &v[0], &v[1], None, &residual, args)
                },
            );
        }
    }

    /// Windows of the residual: the input's own, a wider one, one that starts elsewhere for every mutant, and that alone.
    #[test]
    fn both_sides_change() {
        let args = Conv1dArgs::same(3, 2);
        for c in [5, 8] {
            let mut r = check::Random::new(c as u64);
            let inputs = [r.normal(&[2, 12, c]), r.normal(&[3, c, c]), r.normal(&[7, c, c])];
            let own = |t: &mut Tape, v: &[Var]| {
                let h = activation(t, &v[0], Activation::Gelu)?;
                conv1d_add(t, &h, &v[1], None, &v[0], args)
            };
            check::gradients("conv1d_add to its input", &inputs[..2], own);
            check::delta("conv1d_add to its input", &inputs[..2], own);
            let wide = |t: &mut Tape, v: &[Var]| {
                let r = conv1d(t, &v[0], &v[2], None, Conv1dArgs::same(7, 1))?;
                conv1d_add(t, &v[0], &v[1], None, &r, args)
            };
            check::delta("conv1d_add to a wider change", &inputs, wide);
            // Starts of pooled windows round per mutant.
            check::delta("conv1d_add to a pool", &inputs[..2], |t, v| {
                let size =
                    PoolArgs { kind: PoolKind::Mean, size: 3, stride: 3, pad: (0, 0), padding: Padding::Exclude };
                let (x, r) = (crop(t, &v[0], 0, 4)?, pool(t, &v[0], size)?);
                conv1d_add(t, &x, &v[1], None, &r, args)
            });
            // The residual alone.
            check::delta("conv1d_add of a constant", &inputs[..2], |t, v| {
                let zeros = Tensor::zeros(DType::F64, v[0].shape())?.to_dtype(v[0].value.dtype())?;
                let zeros = Var::constant(zeros.to_device(&v[0].value.device())?);
                conv1d_add(t, &zeros, &v[1], None, &v[0], args)
            });
        }
    }

    /// Bits on the CPU, to rounding on GPUs.
    #[test]
    fn equals_its_composition() {
        for (i, &(n, l, c, o, args)) in CASES.iter().enumerate() {
            let (mut r, lo) = (check::Random::new(50 + i as u64), args.output(l).unwrap());
            let inputs = [r.normal(&[n, l, c]), r.normal(&[args.kernel, c, o]), r.normal(&[o]), r.normal(&[n, lo, o])]
                .map(|t| t.to_dtype(DType::F32).unwrap());
            let dy = r.normal(&[n, lo, o]).to_dtype(DType::F32).unwrap();
            for gpu in std::iter::once(None).chain(check::gpus().iter().map(Some)) {
                let place = |t: &Tensor| gpu.map_or_else(|| t.clone(), |gpu| t.to_gpu(gpu).unwrap());
                let run = |fused: bool| {
                    let mut t = Tape::new(Keep::BACKWARD, Mode::Eval);
                    let v: Vec<Var> = inputs.iter().map(|x| t.leaf(place(x))).collect();
                    let y = if fused {
                        conv1d_add(&mut t, &v[0], &v[1], Some(&v[2]), &v[3], args)
                    } else {
                        let h = conv1d(&mut t, &v[0], &v[1], Some(&v[2]), args).unwrap();
                        add(&mut t, &h, &v[3])
                    };
                    let y = y.unwrap();
                    let want: Vec<usize> = v.iter().filter_map(|v| v.node).collect();
                    let rows: Vec<u32> = (0..n as u32).collect();
                    let grads = t.backward(y.node.unwrap(), place(&dy), &rows, &want).unwrap();
                    let grads = grads.iter().map(|g| check::numbers(g.as_ref().unwrap()));
                    std::iter::once(check::numbers(&y.value)).chain(grads).collect::<Vec<_>>()
                };
                for (a, b) in run(true).iter().zip(&run(false)) {
                    match gpu {
                        None => assert_eq!(a, b, "case {i}"),
                        Some(_) => check::nmse(&format!("case {i}"), a, b, 1e-13),
                    }
                }
            }
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let mut r = check::Random::new(0);
        let v = [r.normal(&[2, 4, 3]), r.normal(&[3, 3, 5]), r.normal(&[2, 4, 5])].map(Var::constant);
        let run = |args| conv1d_add(&mut Tape::predict(), &v[0], &v[1], None, &v[2], args);
        assert!(run(Conv1dArgs::same(3, 1)).is_ok());
        let e = run(Conv1dArgs::valid(3)).unwrap_err().to_string();
        assert_eq!(e, "conv1d_add: residual must be [2, 2, 5] like the convolution; found [2, 4, 5]");
    }
}
