//! Tests of batch norm.

use super::*;
use crate::tape::{Keep, Mode, Pass, check};
use crate::tensor::DType;

const CASES: &[(&[usize], Activation)] = &[
    (&[3, 5, 7], Activation::Identity),
    (&[2, 9, 3], Activation::Gelu),
    (&[4, 1, 17], Activation::Silu),
    (&[5, 6], Activation::Identity),
    (&[6, 2], Activation::Sigmoid),
    (&[1, 70, 1], Activation::Exp),
];

/// x, gamma, beta, and running mean and variance.
fn inputs(shape: &[usize], seed: u64) -> ([Tensor; 3], [Tensor; 2]) {
    let (mut r, c) = (check::Random::new(seed), shape[shape.len() - 1]);
    ([r.normal(shape), r.normal(&[c]), r.normal(&[c])], [r.normal(&[c]), r.uniform(&[c], 0.3, 2.0)])
}

fn train_mode() -> Mode {
    Mode::Train(Pass { seed: 0, number: 0, samples: [0, 1, 2].into() })
}

/// The activation as an operation of its own, to compose with.
struct Act(Activation);

impl Op for Act {
    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        save.put(0, true, x[0]);
        let mut y = x[0].cpu::<f64>()?.to_vec();
        self.0.value_in_place(&mut y);
        Ok(Tensor::of(x[0].shape(), y))
    }
    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        let mut dx = dy.cpu::<f64>()?.to_vec();
        self.0.gradient_in_place(cx.saved(0)?.cpu()?, &mut dx);
        Ok(vec![Some(Tensor::of(dy.shape(), dx))])
    }
    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let (d, z) = (changed(dx, 0)?.rows()?, cx.saved(0)?);
        let (mut y, c) = (d.cpu::<f64>()?.to_vec(), d.shape()[2]);
        for (r, i, p) in to.cells() {
            let z = &z.cpu::<f64>()?[(cx.base(i) * to.len + p) * c..][..c];
            self.0.difference_in_place(z, &mut y[r * c..][..c]);
        }
        Ok(Tensor::of(d.shape(), y))
    }
    fn name(&self) -> &'static str {
        "act"
    }
}

#[test]
fn cases_with_running_statistics() {
    for (i, &(shape, activation)) in CASES.iter().enumerate() {
        let (x, [mean, variance]) = inputs(shape, i as u64);
        let f = |t: &mut Tape, v: &[Var]| {
            batch_norm_activation_eval(t, &v[0], &v[1], &v[2], &mean, &variance, 1e-5, activation)
        };
        let name = format!("batch_norm eval {shape:?} {activation:?}");
        check::gradients(&name, &x, f);
        everywhere(&name, x, [mean, variance], activation);
    }
}

/// Precision and change, on GPUs too: there the statistics must lie where x lies.
fn everywhere(name: &str, [x, gamma, beta]: [Tensor; 3], [mean, variance]: [Tensor; 2], activation: Activation) {
    let all = [x, gamma, beta, mean, variance];
    let f = |t: &mut Tape, v: &[Var]| {
        batch_norm_activation_eval(t, &v[0], &v[1], &v[2], &v[3].value, &v[4].value, 1e-5, activation)
    };
    check::precision(name, &all, f);
    if all[0].shape().len() == 3 {
        check::delta(name, &all, f);
    }
    // Nothing but x wants a gradient.
    check::precision(name, &all, |t, v| {
        let [gamma, beta] = [1, 2].map(|i| Var::constant(v[i].value.clone()));
        batch_norm_activation_eval(t, &v[0], &gamma, &beta, &v[3].value, &v[4].value, 1e-5, activation)
    });
}

/// Channels in groups of 4 and not, several tiles of them, several blocks of rows, the last ones ragged.
#[test]
fn tiles_of_the_kernels() {
    for (shape, activation) in [
        ([2, 70, 4], Activation::Gelu),
        ([1, 9, 140], Activation::Identity),
        ([2, 3, 132], Activation::Silu),
        ([3, 5, 37], Activation::Relu),
        ([3, 700, 12], Activation::Identity),
        ([1, 1100, 3], Activation::Tanh),
    ] {
        let (x, statistics) = inputs(&shape, 70);
        let name = format!("batch_norm {shape:?} {activation:?}");
        check::precision(&format!("{name} train"), &x, |t, v| {
            batch_norm_activation_train(t, 0, &v[0], &v[1], &v[2], 1e-5, activation)
        });
        everywhere(&name, x, statistics, activation);
    }
}

/// Statistics, the change of repeated rows and their gradients on GPUs, against the CPU; x begins at an odd address.
#[test]
fn statistics_and_rows_on_gpus() {
    for gpu in check::gpus() {
        for c in [8, 5] {
            let mut r = check::Random::new(c as u64);
            let shape = [3, 41, c];
            let flat = r.normal(&[3 * 41 * c + 1]).to_dtype(DType::F32).unwrap();
            let [g, b, dy] =
                [r.normal(&[c]), r.normal(&[c]), r.normal(&shape)].map(|t| t.to_dtype(DType::F32).unwrap());
            let run = |gpu: Option<&crate::device::Gpu>| {
                let place = |t: &Tensor| gpu.map_or_else(|| t.clone(), |gpu| t.to_gpu(gpu).unwrap());
                let mut tape = Tape::new(Keep::BACKWARD, train_mode());
                let x = place(&flat).view(1, &shape).unwrap();
                let [x, g, b] = [x, place(&g), place(&b)].map(|t| tape.leaf(t));
                batch_norm_train(&mut tape, 9, &x, &g, &b, 1e-5).unwrap();
                let (_, mean, variance) = tape.stats.remove(0);
                let g = Var::constant(g.value);
                let b = Var::constant(b.value);
                let y = batch_norm_activation_eval(&mut tape, &x, &g, &b, &mean, &variance, 1e-5, Activation::Gelu);
                let y = y.unwrap().node.unwrap();
                let d = tape.backward(y, place(&dy), &[2, 0, 2], &[x.node.unwrap()]).unwrap();
                [mean, variance, d[0].clone().unwrap()].map(|t| check::numbers(&t))
            };
            for (got, want) in run(Some(gpu)).iter().zip(run(None)) {
                check::nmse("statistics", got, &want, 1e-11);
            }
            let constant = Var::constant(flat.to_gpu(gpu).unwrap());
            let [g, b] = [&g, &b].map(|t| Var::constant(t.clone()));
            let x = Var::constant(constant.value.view(0, &shape).unwrap());
            let e = batch_norm_train(&mut Tape::predict(), 0, &x, &g, &b, 1e-5).unwrap_err().to_string();
            assert!(e.contains("argument 1 on cpu"), "{e}");
        }
    }
}

#[test]
fn cases_with_statistics_of_the_batch() {
    for (i, &(shape, activation)) in CASES.iter().enumerate() {
        let (x, _) = inputs(shape, 40 + i as u64);
        let f = |t: &mut Tape, v: &[Var]| batch_norm_activation_train(t, 0, &v[0], &v[1], &v[2], 1e-5, activation);
        let name = format!("batch_norm train {shape:?} {activation:?}");
        check::gradients_in(&name, &train_mode(), &x, f);
        check::precision(&name, &x, f);
    }
}

/// Rows of several blocks, means far from zero.
/// What a convolution or dense layer reads in 16 bits, with either statistics: rows of whole pieces of 16 bytes and others.
#[test]
fn operands_of_16_bits() {
    use crate::ops::{Conv1dArgs, conv1d, linear};
    for (c, f) in [
        (1, Activation::Gelu),
        (6, Activation::Exp),
        (8, Activation::Identity),
        (12, Activation::Softplus),
        (37, Activation::Gelu),
        (260, Activation::Gelu),
    ] {
        let ([x, gamma, beta], statistics) = inputs(&[3, 7, c], 41 + c as u64);
        let mut r = check::Random::new(c as u64);
        for train in [false, true] {
            let mode = if train { train_mode() } else { Mode::Eval };
            let norm = |t: &mut Tape, v: &[Var]| {
                if train {
                    return batch_norm_activation_train(t, 0, &v[0], &v[1], &v[2], 1e-5, f);
                }
                let [mean, variance] = statistics.each_ref().map(|s| {
                    let s = s.to_dtype(DType::F32).unwrap();
                    v[0].value.gpu().map_or_else(|| s.clone(), |gpu| s.to_gpu(gpu).unwrap())
                });
                batch_norm_activation_eval(t, &v[0], &v[1], &v[2], &mean, &variance, 1e-5, f)
            };
            let conv = |t: &mut Tape, x: &Var, w: &[Var]| conv1d(t, x, &w[0], None, Conv1dArgs::same(3, 1));
            let all = [x.clone(), gamma.clone(), beta.clone(), r.normal(&[3, c, if c == 37 { 33 } else { 5 }])];
            check::operands(&format!("conv1d of {c} channels, {f:?}"), &mode, &all, 3, norm, conv);
            let dense = |t: &mut Tape, x: &Var, w: &[Var]| linear(t, x, &w[0], None);
            let all = [x.clone(), gamma.clone(), beta.clone(), r.normal(&[c, 3])];
            check::operands(&format!("linear of {c} channels, {f:?}"), &mode, &all, 3, norm, dense);
        }
    }
}

#[test]
fn a_far_mean_costs_no_digits() {
    let mut r = check::Random::new(3);
    let x = r.normal(&[3, 777, 5]).to_f64().iter().enumerate().map(|(i, v)| v + 1e4 * (i % 5) as f64).collect();
    let x = [Tensor::of(&[3, 777, 5], x), r.normal(&[5]), r.normal(&[5])];
    for activation in [Activation::Identity, Activation::Gelu] {
        let f = |t: &mut Tape, v: &[Var]| batch_norm_activation_train(t, 0, &v[0], &v[1], &v[2], 1e-5, activation);
        check::precision("far mean", &x, f);
    }
}

#[test]
fn equals_its_composition() {
    let (x, [mean, variance]) = inputs(&[2, 9, 5], 4);
    let a = Activation::Gelu;
    let run = |keep: Keep, fused: bool, train: bool| {
        let mut tape = Tape::new(keep, if train { train_mode() } else { Mode::Eval });
        let v = x.clone().map(|t| tape.leaf(t));
        let alone = if fused { a } else { Activation::Identity };
        let y = if train {
            batch_norm_activation_train(&mut tape, 0, &v[0], &v[1], &v[2], 1e-5, alone).unwrap()
        } else {
            batch_norm_activation_eval(&mut tape, &v[0], &v[1], &v[2], &mean, &variance, 1e-5, alone).unwrap()
        };
        let y = if fused { y } else { tape.apply(Act(a), &[&y]).unwrap() };
        (tape, y)
    };
    let dy = check::Random::new(5).normal(&[2, 9, 5]);
    for train in [false, true] {
        let [one, two] = [true, false].map(|fused| {
            let (tape, y) = run(Keep::BACKWARD, fused, train);
            let g = tape.backward(y.node.unwrap(), dy.clone(), &[0, 1], &[0, 1, 2]).unwrap();
            (y.value.to_f64(), g.into_iter().map(|g| g.unwrap().to_f64()).collect::<Vec<_>>())
        });
        assert_eq!(one, two);
    }
    let [one, two] = [true, false].map(|fused| {
        let (tape, y) = run(Keep::DELTA, fused, false);
        let at = Window { start: [-1, 7, 3].into(), width: 3, len: 9 };
        let seed = Delta { at, change: crate::tape::Change::Rows(check::Random::new(6).normal(&[3, 3, 5])) };
        let d = tape.delta(vec![(0, seed)], &[1, 0, 1], &[y.node.unwrap()]).unwrap().remove(0).unwrap();
        d.rows().unwrap().to_f64()
    });
    assert_eq!(one, two);
    let keep = Keep { rescale: true, ..Keep::default() };
    let (tape, y) = run(keep, true, false);
    let e = tape.rescale(y.node.unwrap(), dy, &[0, 1], &[0, 1], &[0]).unwrap_err().to_string();
    assert!(e.contains("one by one"), "{e}");
}

/// Numbers of PyTorch 2.11 in float64:
/// `x = arange(12.).reshape(2, 3, 2).mul(.37).sin(); g = tensor([1.5, -.7]); b = tensor([.1, .2]); rm, rv = zeros(2), ones(2)`
/// `y = gelu(batch_norm(x.transpose(1, 2), rm, rv, g, b, True, 1., 1e-5)).transpose(1, 2)`
/// `y.backward(arange(12.).reshape(2, 3, 2).cos())`; y, x.grad, g.grad, b.grad, rm, rv.
#[test]
fn equals_pytorch() {
    let wave = |f: fn(f64) -> f64| Tensor::of(&[2, 3, 2], (0..12).map(|i| f(f64::from(i))).collect::<Vec<_>>());
    let mut tape = Tape::new(Keep::BACKWARD, train_mode());
    let [x, g, b] = [wave(|i| (i * 0.37).sin()), Tensor::of(&[2], vec![1.5, -0.7]), Tensor::of(&[2], vec![0.1, 0.2])]
        .map(|t| tape.leaf(t));
    let y = batch_norm_activation_train(&mut tape, 4, &x, &g, &b, 1e-5, Activation::Gelu).unwrap();
    #[rustfmt::skip]
    let want = [
        -0.165062251270495, 0.0667484395031072, 0.863132581996258, -0.1519001993687334, 1.8900302986306785,
        -0.1608453972532472, 1.2532385575318932, -0.0295324068356222, -0.1365023543212267, 0.5730576692960605,
        -0.0184632734319788, 1.3290262261745613,
    ];
    check::close("y", &y.value.to_f64(), &want, 1e-14);
    let (buffer, mean, variance) = tape.stats.remove(0);
    assert_eq!(buffer, 4);
    check::close("mean", &mean.to_f64(), &[0.3529157258979352, 0.2924453694314775], 1e-15);
    check::close("variance", &variance.to_f64(), &[0.3294007373034559, 0.4589430333067546], 1e-15);
    let got = tape.backward(y.node.unwrap(), wave(f64::cos), &[0, 1], &[0, 1, 2]).unwrap();
    #[rustfmt::skip]
    let want: [&[f64]; 3] = [
        &[
            -0.1834511153817069, -0.4159191102689016, -1.1595688094501047, 0.2316678736183264, -1.833472867383166,
            0.054614103258855, 3.266419727486856, -0.3982701582850114, -0.0588001317040028, 0.8506651679375401,
            -0.0311268035678758, -0.3227578762608085,
        ],
        &[-0.2478762955557912, 0.750431567984243],
        &[-0.1344622379242142, -0.3545043274354233],
    ];
    for (got, want) in got.iter().zip(want) {
        check::close("gradient", &got.as_ref().unwrap().to_f64(), want, 1e-13);
    }
}

#[test]
fn bits_do_not_depend_on_threads_or_batch() {
    let (x, [mean, variance]) = inputs(&[7, 301, 24], 9);
    let [x, g, b] = x.map(|t| t.to_dtype(DType::F32).unwrap());
    let run = || {
        let mut tape = Tape::new(Keep::BACKWARD, train_mode());
        let [v, g, b] = [&x, &g, &b].map(|t| tape.leaf(t.clone()));
        let y = batch_norm_activation_train(&mut tape, 0, &v, &g, &b, 1e-5, Activation::Gelu).unwrap();
        let rows: Vec<u32> = (0..7).collect();
        let grads = tape.backward(y.node.unwrap(), x.clone(), &rows, &[0, 1, 2]).unwrap();
        let grads = grads.into_iter().flat_map(|g| g.unwrap().to_f64());
        y.value.to_f64().into_iter().chain(grads).collect::<Vec<f64>>()
    };
    let whole = run();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        assert_eq!(pool.install(run), whole);
    }
    let eval = |x: Tensor| {
        let [x, g, b] = [x, g.clone(), b.clone()].map(Var::constant);
        let a = Activation::Gelu;
        let y = batch_norm_activation_eval(&mut Tape::predict(), &x, &g, &b, &mean, &variance, 1e-5, a);
        y.unwrap().value
    };
    assert_eq!(eval(x.rows(4, 5).unwrap()).to_f64(), eval(x.clone()).rows(4, 5).unwrap().to_f64());
}

#[test]
fn refuses_what_does_not_fit() {
    let (x, [mean, variance]) = inputs(&[1, 3], 0);
    let [x, g, b] = x.map(Var::constant);
    let tape = &mut Tape::predict();
    let e = batch_norm_train(tape, 0, &x, &g, &b, 1e-5).unwrap_err().to_string();
    assert_eq!(e, "batch_norm: training needs at least 2 rows for a variance; found 1 in [1, 3]");
    let short = Tensor::of(&[2], vec![0.0, 1.0]);
    let e = batch_norm_eval(tape, &x, &g, &b, &short, &variance, 1e-5).unwrap_err().to_string();
    assert_eq!(e, "batch_norm: mean must be [3] for x [1, 3]; found [2]");
    let e = batch_norm_eval(tape, &g, &g, &b, &mean, &variance, 1e-5).unwrap_err().to_string();
    assert_eq!(e, "batch_norm: x must be [N, L, C] or [N, C] with at least one channel; found [3]");
    let none = Var::constant(Tensor::of::<f64>(&[0, 4, 3], vec![]));
    assert_eq!(batch_norm_eval(tape, &none, &g, &b, &mean, &variance, 1e-5).unwrap().shape(), [0, 4, 3]);
}

/// A row of an evaluation is the same in every batch, and a training step repeats itself.
#[test]
fn bits_on_gpus() {
    let (x, [mean, variance]) = inputs(&[5, 70, 12], 9);
    for gpu in check::gpus() {
        let place = |t: &Tensor| t.to_dtype(DType::F32).unwrap().to_gpu(gpu).unwrap();
        let ([x, g, b], [mean, variance]) = (x.each_ref().map(place), [place(&mean), place(&variance)]);
        let eval = |x: Tensor| {
            let [x, g, b] = [x, g.clone(), b.clone()].map(Var::constant);
            let a = Activation::Gelu;
            let y = batch_norm_activation_eval(&mut Tape::predict(), &x, &g, &b, &mean, &variance, 1e-5, a);
            y.unwrap().value
        };
        let whole = eval(x.clone()).rows(3, 4).unwrap();
        assert_eq!(check::numbers(&eval(x.rows(3, 4).unwrap())), check::numbers(&whole));
        let train = || {
            let mut tape = Tape::new(Keep::BACKWARD, train_mode());
            let [v, g, b] = [&x, &g, &b].map(|t| tape.leaf(t.clone()));
            let y = batch_norm_activation_train(&mut tape, 0, &v, &g, &b, 1e-5, Activation::Gelu).unwrap();
            let grads = tape.backward(y.node.unwrap(), x.clone(), &[0, 1, 2, 3, 4], &[0, 1, 2]).unwrap();
            grads.iter().flat_map(|g| check::numbers(g.as_ref().unwrap())).collect::<Vec<f64>>()
        };
        assert_eq!(train(), train());
    }
}
