//! Operations against PyTorch: values and all gradients of every case in `tests/fixtures`, which `gen.py` there made with the
//! PyTorch call beside each case. In f64 to 1e-9, in f32 to 1e-5, of the largest element.
//!
//! PyTorch has channels first: what a tensor is (its role in the file) says how it is turned, here and back.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

mod common;

use std::path::Path;

use drg::Result;
use drg::io::npz::Npz;
use drg::ops::{
    self, AttentionArgs, Conv1dArgs, Loss, Padding, PoolArgs, PoolKind, StemArgs, Strands, attention, conv1d, linear,
    loss, pool, stem,
};
use drg::tape::{Keep, Mode, Pass, Tape, Var};
use drg::tensor::{DType, Tensor};
use drg::util::math::Activation;

fn open(name: &str) -> Npz {
    Npz::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)).unwrap()
}

/// PyTorch's order and ours: an exchange of two axes, the same both ways.
fn turned(role: &str, shape: &[usize], x: &[f64]) -> (Vec<usize>, Vec<f64>) {
    let (a, b) = match role {
        "same" | "codes" => (0, 0),
        "ncl" => (1, 2),
        "ock" => (0, 2),
        "of" => (0, 1),
        other => panic!("role {other}"),
    };
    let mut to = shape.to_vec();
    to.swap(a, b);
    let mut y = vec![0.0; x.len()];
    let mut at = vec![0; shape.len()];
    for &v in x {
        let mut place = at.clone();
        place.swap(a, b);
        y[place.iter().zip(&to).fold(0, |i, (p, n)| i * n + p)] = v;
        for axis in (0..shape.len()).rev() {
            at[axis] += 1;
            if at[axis] < shape[axis] {
                break;
            }
            at[axis] = 0;
        }
    }
    (to, y)
}

/// One case of an operation.
struct Case {
    file: &'static str,
    name: String,
    args: Vec<f64>,
    roles: Vec<String>,
    npz: Npz,
}

impl Case {
    fn arg(&self, i: usize) -> usize {
        self.args[i] as usize
    }

    /// An array in PyTorch's order.
    fn raw(&mut self, key: &str) -> (Vec<usize>, Vec<f64>) {
        self.npz.numbers::<f64>(&format!("{}.{key}", self.name)).unwrap()
    }

    fn tensor(&mut self, key: &str, role: &str, dtype: DType) -> Tensor {
        let (shape, x) = self.raw(key);
        if role == "codes" {
            return Tensor::bases(shape[0], shape[1], x.iter().map(|&c| c as u8).collect()).unwrap();
        }
        let (shape, x) = turned(role, &shape, &x);
        Tensor::new(&shape, x).unwrap().to_dtype(dtype).unwrap()
    }

    /// Runs `f` on the inputs and compares the value and every gradient.
    fn check(&mut self, dtype: DType, mode: &Mode, f: &dyn Fn(&mut Tape, &[Var], &mut Self) -> Result<Var>) {
        let tolerance = if dtype == DType::F64 { 1e-9 } else { 1e-5 };
        let roles = self.roles.clone();
        let (last, inputs) = roles.split_last().unwrap();
        let mut tape = Tape::new(Keep::BACKWARD, mode.clone());
        let x: Vec<Var> =
            inputs.iter().enumerate().map(|(i, r)| tape.leaf(self.tensor(&format!("x{i}"), r, dtype))).collect();
        let y = f(&mut tape, &x, self).unwrap();
        let want = self.tensor("y", last, DType::F64);
        let name = format!("{} {} {dtype:?}", self.file, self.name);
        assert_eq!(y.shape(), want.shape(), "{name}: shape");
        common::close(&name, &y.value.to_f64(), &want.to_f64(), tolerance);

        let dy = self.tensor("dy", last, dtype);
        let rows: Vec<u32> = (0..y.shape()[0] as u32).collect();
        let leaves: Vec<usize> = x.iter().map(|x| x.node.unwrap()).collect();
        let got = tape.backward(y.node.unwrap(), dy, &rows, &leaves).unwrap();
        for (i, (role, got)) in inputs.iter().zip(got).enumerate() {
            // The gradient of packed bases is that of their columns, [N, L, 4].
            let role = if role == "codes" { "ncl" } else { role };
            let want = self.tensor(&format!("dx{i}"), role, DType::F64);
            let got = got.unwrap_or_else(|| panic!("{name}: no gradient of input {i}"));
            assert_eq!(got.shape(), want.shape(), "{name}: shape of gradient {i}");
            common::close(&format!("{name}, gradient {i}"), &got.to_f64(), &want.to_f64(), tolerance);
        }
    }
}

/// Runs all cases of a file in both element types; `count` of them are there.
fn run(file: &'static str, count: usize, mode: &Mode, f: impl Fn(&mut Tape, &[Var], &mut Case) -> Result<Var>) {
    let names = open(file).strings("cases").unwrap();
    assert_eq!(names.len(), count, "cases of {file}");
    for name in names {
        let mut npz = open(file);
        let args = npz.numbers::<f64>(&format!("{name}.args")).unwrap().1;
        let roles = npz.strings(&format!("{name}.roles")).unwrap();
        let mut case = Case { file, name, args, roles, npz };
        for dtype in [DType::F64, DType::F32] {
            case.check(dtype, mode, &f);
        }
    }
}

#[test]
fn turning_is_its_own_inverse() {
    let x: Vec<f64> = (0..24).map(f64::from).collect();
    let (shape, y) = turned("ncl", &[2, 3, 4], &x);
    assert_eq!((&shape[..], y[1], y[12]), (&[2, 4, 3][..], 4.0, 12.0));
    assert_eq!(turned("ncl", &shape, &y), (vec![2, 3, 4], x.clone()));
    let (shape, y) = turned("ock", &[2, 3, 4], &x);
    assert_eq!((&shape[..], y[1], y[2]), (&[4, 3, 2][..], 12.0, 4.0));
    assert_eq!(turned("ock", &shape, &y).1, x);
}

#[test]
fn convolution() {
    run("conv1d.npz", 11, &Mode::Eval, |tape, x, case| {
        let [kernel, stride, dilation, left, right] = [0, 1, 2, 3, 4].map(|i| case.arg(i));
        let args = Conv1dArgs { kernel, stride, dilation, pad: (left, right) };
        conv1d(tape, &x[0], &x[1], x.get(2), args)
    });
}

#[test]
fn first_layer() {
    run("stem.npz", 12, &Mode::Eval, |tape, x, case| {
        let strands = [Strands::Forward, Strands::Max, Strands::Mean, Strands::Weighted][case.arg(0)];
        let args = StemArgs { kernel: case.arg(1), left: case.arg(2), strands };
        stem(tape, &x[0], &x[1], x.get(2), args)
    });
}

#[test]
fn dense() {
    run("linear.npz", 4, &Mode::Eval, |tape, x, case| {
        // Rows [N, L, F] are not turned: the case is channels last in PyTorch too.
        let _ = case;
        linear(tape, &x[0], &x[1], x.get(2))
    });
}

#[test]
fn pools() {
    run("pool.npz", 12, &Mode::Eval, |tape, x, case| {
        let args = PoolArgs {
            kind: [PoolKind::Max, PoolKind::Mean, PoolKind::Weighted][case.arg(0)],
            size: case.arg(1),
            stride: case.arg(2),
            pad: (case.arg(3), case.arg(4)),
            padding: [Padding::Exclude, Padding::Zero, Padding::SequenceMin, Padding::BatchMin][case.arg(5)],
        };
        pool(tape, &x[0], args)
    });
}

#[test]
fn batch_norms() {
    run("batch_norm.npz", 8, &Mode::Eval, |tape, x, case| {
        let (train, eps) = (case.arg(0) == 1, case.args[1]);
        let f = [Activation::Identity, Activation::Gelu][case.arg(2)];
        let dtype = x[0].value.dtype();
        let [mean, variance] = ["mean", "variance"].map(|key| case.tensor(key, "same", dtype));
        if !train {
            let args = (&x[0], &x[1], &x[2], &mean, &variance);
            let fused = ops::batch_norm_activation_eval(tape, args.0, args.1, args.2, args.3, args.4, eps, f)?;
            let plain = ops::batch_norm_eval(&mut Tape::predict(), args.0, args.1, args.2, args.3, args.4, eps)?;
            let composed = ops::activation(&mut Tape::predict(), &plain, f)?;
            common::close("fused and composed", &fused.value.to_f64(), &composed.value.to_f64(), 1e-6);
            return Ok(fused);
        }
        let y = ops::batch_norm_activation_train(tape, 4, &x[0], &x[1], &x[2], eps, f)?;
        let (buffer, batch_mean, batch_variance) = tape.stats.pop().expect("statistics of the batch");
        assert_eq!(buffer, 4);
        let tolerance = if dtype == DType::F64 { 1e-12 } else { 1e-6 };
        common::close("mean", &batch_mean.to_f64(), &mean.to_f64(), tolerance);
        common::close("unbiased variance", &batch_variance.to_f64(), &variance.to_f64(), tolerance);
        Ok(y)
    });
}

#[test]
fn layer_norms() {
    run("layer_norm.npz", 3, &Mode::Eval, |tape, x, case| ops::layer_norm(tape, &x[0], &x[1], &x[2], case.args[0]));
}

#[test]
fn attentions() {
    run("attention.npz", 4, &Mode::Eval, |tape, x, case| {
        let args = AttentionArgs { heads: case.arg(0), sum_heads: case.arg(1) == 1 };
        attention(tape, &x[0], &x[1], &x[2], x.get(3), args)
    });
}

#[test]
fn reductions() {
    run("reduce.npz", 4, &Mode::Eval, |tape, x, case| match case.arg(0) {
        0 => ops::softmax(tape, &x[0]),
        _ => ops::mean_rows(tape, &x[0]),
    });
}

/// Element by element: a tail of GELU is as exact as its middle.
#[test]
fn activations() {
    let file = "activation.npz";
    let names = open(file).strings("cases").unwrap();
    assert_eq!(names.len(), 32);
    for name in names {
        let function = Activation::parse(name.trim_end_matches("_far")).unwrap();
        let mut npz = open(file);
        let roles = npz.strings(&format!("{name}.roles")).unwrap();
        let mut case = Case { file, name: name.clone(), args: vec![], roles, npz };
        for (dtype, tolerance) in [(DType::F64, 1e-9), (DType::F32, 1e-5)] {
            let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
            let x = tape.leaf(case.tensor("x0", "same", dtype));
            let y = ops::activation(&mut tape, &x, function).unwrap();
            let dy = case.tensor("dy", "same", dtype);
            let (value, ones) = (y.value.to_f64(), dy.to_f64());
            let slopes = match y.node == x.node {
                true => ones.clone(),
                false => {
                    let g = tape.backward(y.node.unwrap(), dy, &[0], &[x.node.unwrap()]).unwrap();
                    g[0].as_ref().unwrap().to_f64()
                }
            };
            for (what, got, want) in [("value", value, case.raw("y").1), ("gradient", slopes, case.raw("dx0").1)] {
                for (i, (g, w)) in got.iter().zip(&want).enumerate() {
                    // Next to nothing beside an upstream gradient or an input of order one.
                    let limit = tolerance * (w.abs() + 1e-3);
                    assert!((g - w).abs() <= limit, "{name} {dtype:?}, {what} {i}: {g:e} instead of {w:e}");
                }
            }
        }
    }
}

#[test]
fn losses() {
    let mut npz = open("loss.npz");
    let names = npz.strings("cases").unwrap();
    assert_eq!(names.len(), 12);
    for name in names {
        let kind = Loss::parse(&name).unwrap();
        let mut array = |key: &str| npz.numbers::<f64>(&format!("{name}.{key}")).unwrap();
        let ((shape, p), (_, t), (_, values), (_, dp)) = (array("p"), array("t"), array("values"), array("dp"));
        let got = kind.values(&p, &t, shape[1]).unwrap();
        common::close(&format!("{name} values"), &got.values, &values, 1e-12);
        for (dtype, tolerance) in [(DType::F64, 1e-9), (DType::F32, 1e-5)] {
            let tensor = |x: &[f64]| Tensor::new(&shape, x.to_vec()).unwrap().to_dtype(dtype).unwrap();
            let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
            let x = tape.leaf(tensor(&p));
            let y = loss(&mut tape, &x, &tensor(&t), kind, 1.0).unwrap();
            common::close(&format!("{name} {dtype:?}"), &y.value.to_f64(), &[values.iter().sum()], tolerance);
            let dy = Tensor::new(&[1], vec![1f64]).unwrap().to_dtype(dtype).unwrap();
            let rows: Vec<u32> = (0..shape[0] as u32).collect();
            let g = tape.backward(y.node.unwrap(), dy, &rows, &[x.node.unwrap()]).unwrap();
            common::close(&format!("{name} {dtype:?} gradient"), &g[0].as_ref().unwrap().to_f64(), &dp, tolerance);
        }
    }
}

/// Dropout has no counterpart to compare with, but an expectation: what is kept is divided by its probability.
#[test]
fn dropout_keeps_the_mean() {
    let pass = Pass { seed: 3, number: 1, samples: [0, 1, 2, 3].into() };
    let mut tape = Tape::new(Keep::BACKWARD, Mode::Train(pass));
    let x = tape.leaf(Tensor::new(&[4, 5000], vec![1f64; 20_000]).unwrap());
    let y = ops::dropout(&mut tape, &x, 0.25, 0).unwrap().value.to_f64();
    let kept = y.iter().filter(|&&v| v != 0.0).count();
    assert!(y.iter().all(|&v| v == 0.0 || (v - 1.0 / 0.75).abs() < 1e-12));
    assert!((kept as f64 / 20_000.0 - 0.75).abs() < 0.015, "{kept} of 20000 are kept");
}
