//! Operations at the shapes of the published models: `op/case/cpu/f32`. One backward pass more is `op_backward/case/cpu/f32`.
//!
//! `cargo bench --bench ops -- --quick conv1d`

#![allow(missing_docs, reason = "criterion_group writes public functions without documentation")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot run has nothing else to do")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use drg::ops::{self, AttentionArgs, Conv1dArgs, Loss, Padding, PoolArgs, PoolKind, StemArgs, Strands};
use drg::tape::check::Random;
use drg::tape::{Keep, Mode, Pass, Tape, Var};
use drg::tensor::{DType, Tensor};
use drg::util::math::Activation;

type Forward = Box<dyn Fn(&mut Tape, &[Var]) -> Var>;

/// One operation at one shape.
struct Case {
    name: &'static str,
    inputs: Vec<Tensor>,
    /// Multiply-adds, or elements where there are none.
    work: u64,
    forward: Forward,
}

fn normal(shape: &[usize]) -> Tensor {
    Random::new(shape.len() as u64).normal(shape).to_dtype(DType::F32).unwrap()
}

fn product(shape: &[usize]) -> u64 {
    shape.iter().product::<usize>() as u64
}

fn convolution(name: &'static str, x: [usize; 3], o: usize, args: Conv1dArgs) -> Case {
    let [n, l, c] = x;
    Case {
        name,
        inputs: vec![normal(&x), normal(&[args.kernel, c, o]), normal(&[o])],
        work: product(&[n, args.output(l).unwrap(), args.kernel, c, o]),
        forward: Box::new(move |t, v| ops::conv1d(t, &v[0], &v[1], Some(&v[2]), args).unwrap()),
    }
}

fn stem(name: &'static str, [n, l]: [usize; 2], o: usize, kernel: usize, strands: Strands) -> Case {
    let args = StemArgs::same(kernel, strands);
    Case {
        name,
        inputs: vec![Random::new(3).bases(n, l), normal(&[kernel, 4, o]), normal(&[o])],
        work: product(&[n, l, kernel, 4, o]),
        forward: Box::new(move |t, v| ops::stem(t, &v[0], &v[1], Some(&v[2]), args).unwrap()),
    }
}

fn pool(name: &'static str, x: [usize; 3], kind: PoolKind, size: usize) -> Case {
    let args = PoolArgs { kind, size, stride: size, pad: (0, 0), padding: Padding::Exclude };
    Case {
        name,
        inputs: vec![normal(&x)],
        work: product(&x),
        forward: Box::new(move |t, v| ops::pool(t, &v[0], args).unwrap()),
    }
}

fn linear(name: &'static str, n: usize, f: usize, o: usize) -> Case {
    Case {
        name,
        inputs: vec![normal(&[n, f]), normal(&[f, o]), normal(&[o])],
        work: product(&[n, f, o]),
        forward: Box::new(|t, v| ops::linear(t, &v[0], &v[1], Some(&v[2])).unwrap()),
    }
}

/// An operation on every element, with one more input a channel for each of `vectors`.
fn elements(name: &'static str, x: [usize; 3], vectors: usize, forward: Forward) -> Case {
    let channels = Random::new(8).uniform(&[x[2]], 0.5, 1.5).to_dtype(DType::F32).unwrap();
    let inputs = std::iter::once(normal(&x)).chain((0..vectors).map(|_| channels.clone())).collect();
    Case { name, inputs, work: product(&x), forward }
}

fn cases() -> Vec<Case> {
    let map = [4, 500, 300];
    let heads = AttentionArgs { heads: 4, sum_heads: false };
    vec![
        stem("stem/drg600", [8, 600], 300, 15, Strands::Forward),
        stem("stem/drg600-both-strands", [8, 600], 300, 15, Strands::Max),
        stem("stem/bpnet", [4, 2114], 64, 21, Strands::Forward),
        convolution("conv1d/drg-dilated", [8, 150, 300], 300, Conv1dArgs::same(11, 4)),
        convolution("conv1d/seqtofunc", [8, 86, 200], 200, Conv1dArgs { pad: (4, 4), ..Conv1dArgs::valid(7) }),
        convolution("conv1d/bpnet-dilated", [4, 2114, 64], 64, Conv1dArgs::same(3, 64)),
        convolution("conv1d/bpnet-profile", [4, 1000, 64], 1, Conv1dArgs::same(75, 1)),
        pool("pool/weighted-4", [4, 600, 300], PoolKind::Weighted, 4),
        pool("pool/max-4", [4, 600, 300], PoolKind::Max, 4),
        pool("pool/mean-3", [4, 600, 300], PoolKind::Mean, 3),
        linear("linear/32x2000x2000", 32, 2000, 2000),
        linear("linear/32x1500x1024", 32, 1500, 1024),
        elements("activation/gelu", map, 0, Box::new(|t, v| ops::activation(t, &v[0], Activation::Gelu).unwrap())),
        elements("activation/relu", map, 0, Box::new(|t, v| ops::activation(t, &v[0], Activation::Relu).unwrap())),
        elements("add/300", map, 0, Box::new(|t, v| ops::add(t, &v[0], &v[0]).unwrap())),
        elements(
            "batch_norm/gelu-train",
            map,
            2,
            Box::new(|t, v| {
                ops::batch_norm_activation_train(t, 0, &v[0], &v[1], &v[2], 1e-5, Activation::Gelu).unwrap()
            }),
        ),
        elements(
            "batch_norm/gelu-eval",
            map,
            4,
            Box::new(|t, v| {
                let (mean, variance) = (&v[3].value, &v[4].value);
                let f = Activation::Gelu;
                ops::batch_norm_activation_eval(t, &v[0], &v[1], &v[2], mean, variance, 1e-5, f).unwrap()
            }),
        ),
        elements("layer_norm/540", [4, 250, 540], 2, {
            Box::new(|t, v| ops::layer_norm(t, &v[0], &v[1], &v[2], 1e-5).unwrap())
        }),
        elements("softmax/300", map, 0, Box::new(|t, v| ops::softmax(t, &v[0]).unwrap())),
        Case {
            name: "attention/4-heads",
            inputs: vec![normal(&[1, 250, 540]), normal(&[1, 250, 540]), normal(&[1, 250, 540]), normal(&[540, 540])],
            work: 250 * 540 * (2 * 250 + 540),
            forward: Box::new(move |t, v| ops::attention(t, &v[0], &v[1], &v[2], Some(&v[3]), heads).unwrap()),
        },
        Case {
            name: "loss/mse",
            inputs: vec![normal(&[32, 128]), normal(&[32, 128])],
            work: 32 * 128,
            forward: Box::new(|t, v| ops::loss(t, &v[0], &v[1].value, Loss::Mse, 1.0).unwrap()),
        },
    ]
}

fn bench(c: &mut Criterion) {
    for case in cases() {
        let (op, shape) = case.name.split_once('/').unwrap();
        let mut group = c.benchmark_group(op);
        group.throughput(Throughput::Elements(case.work));
        group.bench_function(format!("{shape}/cpu/f32"), |b| {
            let inputs: Vec<Var> = case.inputs.iter().map(|t| Var::constant(t.clone())).collect();
            b.iter(|| black_box((case.forward)(&mut train(&case, Keep::default()), &inputs)));
        });
        group.finish();
        let mut group = c.benchmark_group(format!("{op}_backward"));
        group.throughput(Throughput::Elements(case.work));
        group.bench_function(format!("{shape}/cpu/f32"), |b| {
            let dy = normal(recorded(&case, None).dy.shape());
            b.iter_batched(|| recorded(&case, Some(&dy)), gradients, criterion::BatchSize::PerIteration);
        });
        group.finish();
    }
}

/// A tape in train mode, as training records it.
fn train(case: &Case, keep: Keep) -> Tape {
    let samples = (0..case.inputs[0].shape()[0] as u32).collect();
    Tape::new(keep, Mode::Train(Pass { seed: 1, number: 0, samples }))
}

struct Recorded {
    tape: Tape,
    from: usize,
    dy: Tensor,
    rows: Vec<u32>,
    want: Vec<usize>,
}

/// One forward pass and what goes back; without `dy`, the output in its place.
fn recorded(case: &Case, dy: Option<&Tensor>) -> Recorded {
    let mut tape = train(case, Keep::BACKWARD);
    // Bases have no gradient in training.
    let leaf = |t: &Tensor, tape: &mut Tape| match t.dtype() {
        DType::U8 => Var::constant(t.clone()),
        _ => tape.leaf(t.clone()),
    };
    let inputs: Vec<Var> = case.inputs.iter().map(|t| leaf(t, &mut tape)).collect();
    let y = (case.forward)(&mut tape, &inputs);
    let rows = (0..case.inputs[0].shape()[0] as u32).collect();
    let want = inputs.iter().filter_map(|v| v.node).collect();
    Recorded { tape, from: y.node.unwrap(), dy: dy.unwrap_or(&y.value).clone(), rows, want }
}

fn gradients(r: Recorded) {
    black_box(r.tape.backward(r.from, r.dy, &r.rows, &r.want).unwrap());
}

criterion_group! {
    name = all;
    config = Criterion::default().sample_size(10).warm_up_time(std::time::Duration::from_millis(300));
    targets = bench
}
criterion_main!(all);
