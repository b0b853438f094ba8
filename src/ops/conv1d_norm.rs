//! Convolution, residual, and the batch norm with its activation that reads their sum.
//!
//! `s = conv1d(x, W) + b + r`, `y = f(norm(s))`, in the eval mode of the norm. What is recorded are the operations of the
//! composition: [`super::conv1d`] or [`super::conv1d_add`], [`super::batch_norm_activation_eval`]. On a GPU their forward pass is
//! one kernel where there is one, and values that nobody reads are not stored.

use super::conv1d::cuda::{Tail, forward_tailed};
use super::{Conv1dArgs, activation, add, batch_norm, conv1d, conv1d_add};
use crate::error::Result;
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};
use crate::util::math::Activation;

/// A batch norm with running statistics, and the activation behind it.
#[derive(Clone, Copy, Debug)]
pub struct RunningNorm<'a> {
    /// `[C]`
    pub gamma: &'a Var,
    /// `[C]`
    pub beta: &'a Var,
    /// Running mean `[C]`.
    pub mean: &'a Tensor,
    /// Running variance `[C]`.
    pub variance: &'a Tensor,
    /// Added to the variance.
    pub eps: f64,
    /// The activation.
    pub activation: Activation,
    /// Whether products alone read the result ([`Tape::for_products`]).
    pub for_products: bool,
}

impl RunningNorm<'_> {
    /// The norm of `x`, then the activation; one operation if the tape fuses.
    ///
    /// # Errors
    /// As [`super::batch_norm_eval`].
    pub fn apply(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        let one = |t: &mut Tape, f| {
            super::batch_norm_activation_eval(t, x, self.gamma, self.beta, self.mean, self.variance, self.eps, f)
        };
        if tape.fuse || self.activation == Activation::Identity {
            return self.last(tape, |t| one(t, self.activation));
        }
        let y = one(tape, Activation::Identity)?;
        self.last(tape, |t| activation(t, &y, self.activation))
    }

    /// Runs the operation whose value is the result.
    fn last<T>(&self, tape: &mut Tape, f: impl FnOnce(&mut Tape) -> Result<T>) -> Result<T> {
        if self.for_products { tape.for_products(f) } else { f(tape) }
    }
}

/// What [`conv1d_norm`] hands out besides the norm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Convolution and bias.
    pub raw: bool,
    /// Convolution, bias and residual.
    pub sum: bool,
}

/// What [`conv1d_norm`] computes.
#[derive(Clone, Debug)]
pub struct Conv1dNorm {
    /// Convolution and bias, if wanted.
    pub raw: Option<Var>,
    /// Convolution, bias and residual, if wanted.
    pub sum: Option<Var>,
    /// Norm and activation of the sum.
    pub normed: Var,
}

/// Convolves `x` with `w`, adds `bias` and `residual`, and normalises the sum; see the head of this file.
///
/// # Errors
/// As [`super::conv1d`], [`super::conv1d_add`] and [`super::batch_norm_eval`].
pub fn conv1d_norm(
    tape: &mut Tape,
    [x, w]: [&Var; 2],
    bias: Option<&Var>,
    residual: Option<&Var>,
    args: Conv1dArgs,
    norm: RunningNorm,
    wanted: Wanted,
) -> Result<Conv1dNorm> {
    let tensors = [&x.value, &w.value, &norm.gamma.value, &norm.beta.value, norm.mean, norm.variance];
    let others = bias.iter().chain(&residual).map(|v| &v.value);
    let all: Vec<&Tensor> = tensors.into_iter().chain(others).collect();
    let gpu = Tensor::place("conv1d_norm", &all)?.filter(|_| tape.fuse);
    let Some(gpu) = gpu else {
        let (raw, sum) = match residual {
            None => {
                let y = conv1d(tape, x, w, bias, args)?;
                (Some(y.clone()), y)
            }
            Some(r) if tape.fuse && !wanted.raw => (None, conv1d_add(tape, x, w, bias, r, args)?),
            Some(r) => {
                let y = conv1d(tape, x, w, bias, args)?;
                let sum = add(tape, &y, r)?;
                (Some(y), sum)
            }
        };
        let normed = norm.apply(tape, &sum)?;
        return Ok(Conv1dNorm { raw: raw.filter(|_| wanted.raw), sum: wanted.sum.then_some(sum), normed });
    };
    let shape = super::conv1d::checked("conv1d_norm", x, w, bias, args)?;
    if let Some(r) = residual {
        super::conv1d_add::checked(x, w, bias, r, args)?;
    }
    let parameters = [("gamma", norm.gamma.shape()), ("beta", norm.beta.shape())];
    let statistics = [("mean", norm.mean.shape()), ("variance", norm.variance.shape())];
    batch_norm::channels(&shape, &[parameters, statistics].concat())?;
    let table = batch_norm::cuda::constants(gpu, &tensors[2..], norm.eps)?;
    let dtype = norm.last(tape, |t| Ok(t.operand()))?.unwrap_or(DType::F32);
    // What is recorded is stored: sweeps read it.
    let vars = [Some(x), Some(w), bias, residual, Some(norm.gamma), Some(norm.beta)];
    let stored = wanted.sum || tape.keep().any() && vars.iter().flatten().any(|v| v.node.is_some());
    let tail = Tail {
        bias: bias.map(|b| &b.value),
        residual: residual.map(|r| &r.value),
        norm: Some((&table, norm.activation, dtype)),
        raw: wanted.raw || stored && residual.is_none(),
        sum: stored && residual.is_some(),
    };
    let made = forward_tailed(gpu, tape.precision, &args, shape[1], &x.value, &w.value, tail)?;
    let raw = made.raw.map(|y| super::conv1d::given(tape, x, w, bias, args, y)).transpose()?;
    let sum = match (residual, made.sum) {
        (Some(r), Some(y)) => Some(match &raw {
            Some(raw) => super::elementwise::add_given(tape, raw, r, y)?,
            None => super::conv1d_add::given(tape, [x, w, r], bias, args, y)?,
        }),
        (Some(_), None) => None,
        (None, _) => raw.clone(),
    };
    let value = made.normed.expect("a norm was asked for");
    let normed = match &sum {
        Some(sum) => norm.last(tape, |t| {
            batch_norm::given(t, sum, [norm.gamma, norm.beta], table, norm.eps, norm.activation, value)
        })?,
        None => Var::constant(value),
    };
    Ok(Conv1dNorm { raw: raw.filter(|_| wanted.raw), sum: sum.filter(|_| wanted.sum), normed })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::tape::{Change, Delta, Keep, Mode, Window, check};

    const WANTED: [Wanted; 4] = [
        Wanted { raw: false, sum: false },
        Wanted { raw: true, sum: false },
        Wanted { raw: false, sum: true },
        Wanted { raw: true, sum: true },
    ];

    /// x, weight, bias, residual, gamma, beta, mean, variance.
    fn inputs(c: usize, o: usize, args: Conv1dArgs) -> [Tensor; 8] {
        let mut r = check::Random::new(3 + c as u64);
        let lo = args.output(9).unwrap();
        let [x, w, b, s] =
            [r.normal(&[2, 9, c]), r.normal(&[args.kernel, c, o]), r.normal(&[o]), r.normal(&[2, lo, o])];
        [x, w, b, s, r.normal(&[o]), r.normal(&[o]), r.normal(&[o]), r.uniform(&[o], 0.3, 2.0)]
    }

    fn run(t: &mut Tape, v: &[Var], residual: bool, args: Conv1dArgs, wanted: Wanted, f: Activation) -> Conv1dNorm {
        let norm = RunningNorm {
            gamma: &v[4],
            beta: &v[5],
            mean: &v[6].value,
            variance: &v[7].value,
            eps: 1e-3,
            activation: f,
            for_products: true,
        };
        conv1d_norm(t, [&v[0], &v[1]], Some(&v[2]), residual.then(|| &v[3]), args, norm, wanted).unwrap()
    }

    /// The same numbers and sweeps as one by one (`Tape::fuse` = false), whatever is wanted and for every kind of tape.
    #[test]
    fn equals_its_composition() {
        for (c, o, args) in
            [(3, 5, Conv1dArgs::same(3, 2)), (32, 40, Conv1dArgs::same(3, 1)), (4, 8, Conv1dArgs::valid(4))]
        {
            for gpu in std::iter::once(None).chain(check::gpus().iter().map(Some)) {
                let inputs = inputs(c, o, args).map(|t| {
                    let t = t.to_dtype(DType::F32).unwrap();
                    gpu.map_or_else(|| t.clone(), |gpu| t.to_gpu(gpu).unwrap())
                });
                let place = |t: Tensor| {
                    let t = t.to_dtype(DType::F32).unwrap();
                    gpu.map_or_else(|| t.clone(), |gpu| t.to_gpu(gpu).unwrap())
                };
                for (residual, wanted) in [false, true].into_iter().flat_map(|r| WANTED.map(|w| (r, w))) {
                    let name = format!("{c} to {o} channels, residual {residual}, {wanted:?}, on {gpu:?}");
                    let values = |fuse: bool, keep: Keep| {
                        let mut t = Tape::new(keep, Mode::Eval);
                        t.fuse = fuse;
                        let v: Vec<Var> = inputs[..6].iter().map(|x| t.leaf(x.clone())).collect();
                        let v: Vec<Var> =
                            v.into_iter().chain(inputs[6..].iter().map(|x| Var::constant(x.clone()))).collect();
                        let y = run(&mut t, &v, residual, args, wanted, Activation::Gelu);
                        assert_eq!((y.raw.is_some(), y.sum.is_some()), (wanted.raw, wanted.sum), "{name}");
                        let all = [y.raw.as_ref(), y.sum.as_ref(), Some(&y.normed)];
                        let all: Vec<f64> = all.into_iter().flatten().flat_map(|v| check::numbers(&v.value)).collect();
                        (t, v, y, all)
                    };
                    let want = values(false, Keep::default()).3;
                    for keep in [Keep::default(), Keep::BACKWARD, Keep::DELTA] {
                        check::nmse(&name, &values(true, keep).3, &want, 1e-12);
                    }
                    let gradients = |fuse: bool| {
                        let (t, v, y, _) = values(fuse, Keep::BACKWARD);
                        let want: Vec<usize> = v
                            .iter()
                            .enumerate()
                            .filter(|&(i, _)| i != 3 || residual)
                            .filter_map(|(_, v)| v.node)
                            .collect();
                        let dy = place(check::Random::new(5).normal(y.normed.shape()));
                        let grads = t.backward(y.normed.node.unwrap(), dy, &[0, 1], &want).unwrap();
                        grads.iter().flat_map(|g| check::numbers(g.as_ref().unwrap())).collect::<Vec<_>>()
                    };
                    check::nmse(&name, &gradients(true), &gradients(false), 1e-12);
                    let changes = |fuse: bool| {
                        let (t, v, y, _) = values(fuse, Keep::DELTA);
                        let at = Window { start: [-1, 4, 8].into(), width: 2, len: 9 };
                        let change = place(check::Random::new(6).normal(&[2, 3, c]));
                        let seed = Delta { at: at.clone(), change: Change::Rows(change) }.placed(&at).unwrap();
                        let seeds = vec![(v[0].node.unwrap(), seed)];
                        let d = t.delta(seeds, &[0, 1, 1], &[y.normed.node.unwrap()]).unwrap().remove(0).unwrap();
                        check::numbers(d.rows().unwrap())
                    };
                    check::nmse(&name, &changes(true), &changes(false), 1e-12);
                }
            }
        }
    }

    /// In precisions of 16 bits the norm comes out as what the next product reads, in sweeps as well.
    #[test]
    fn norms_are_operands() {
        let args = Conv1dArgs::same(3, 1);
        for (gpu, residual) in check::gpus().iter().flat_map(|gpu| [(gpu, false), (gpu, true)]) {
            let inputs = inputs(33, 35, args).map(|t| t.to_dtype(DType::F32).unwrap().to_gpu(gpu).unwrap());
            for (precision, half) in [(Precision::Bf16, DType::BF16), (Precision::F16, DType::F16)] {
                let forward = |fuse: bool, keep: Keep| {
                    let mut t = Tape::new(keep, Mode::Eval);
                    (t.fuse, t.precision) = (fuse, precision);
                    let mut v: Vec<Var> = inputs.iter().map(|x| Var::constant(x.clone())).collect();
                    v[0] = t.leaf(inputs[0].clone());
                    let y = run(&mut t, &v, residual, args, Wanted::default(), Activation::Softplus);
                    assert_eq!(y.normed.value.dtype(), half);
                    (t, v[0].node, y.normed)
                };
                let want = check::numbers(&forward(false, Keep::default()).2.value);
                for keep in [Keep::default(), Keep::DELTA] {
                    let (t, x, y) = forward(true, keep);
                    // Rounding may fall on either side of a tie.
                    check::nmse("operands", &check::numbers(&y.value), &want, 1e-7);
                    let Some(x) = x else { continue };
                    let at = Window { start: [0, 4, 6].into(), width: 3, len: 9 };
                    let change = check::Random::new(6).normal(&[3, 3, 33]).to_dtype(DType::F32).unwrap();
                    let seed = Delta { at, change: Change::Rows(change.to_gpu(gpu).unwrap()) };
                    let d = t.delta(vec![(x, seed)], &[0, 1, 1], &[y.node.unwrap()]).unwrap().remove(0).unwrap();
                    assert_eq!(d.rows().unwrap().dtype(), half);
                }
            }
        }
    }
}
