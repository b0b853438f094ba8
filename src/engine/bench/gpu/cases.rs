//! The operations that are timed, and what each must read, write and compute at least.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Job, between};
use crate::device::{Gpu, Precision};
use crate::error::Result;
use crate::ops::{
    self, AttentionArgs, Conv1dArgs, Loss, Padding, PoolArgs, PoolKind, RunningNorm, StemArgs, Strands, Wanted,
};
use crate::tape::{Change, Delta, Edit, Keep, Mode, Pass, Tape, Var, Window};
use crate::tensor::{DType, Tensor};
use crate::util::math::Activation;
use crate::util::philox::Philox;

/// Purpose of the random stream of inputs.
const INPUTS: u64 = 0xBE05;

const EPSILON: f64 = 1e-5;

/// Which sweep of an operation is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpPass {
    /// The value.
    Forward,
    /// The gradient of the first input; of all three of an attention.
    Input,
    /// The gradient of the weight.
    Weight,
    /// The change of mutants.
    Delta,
}

impl OpPass {
    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Input => "input gradient",
            Self::Weight => "weight gradient",
            Self::Delta => "delta",
        }
    }
}

/// One sweep of an operation at one shape.
pub struct OpCase {
    /// Name of the operation, e.g. `conv1d`.
    pub op: &'static str,
    /// Its sizes, for people.
    pub shape: String,
    /// Its sizes, for a program that times the same; empty where there is none.
    pub sizes: Vec<usize>,
    /// The sweep.
    pub pass: OpPass,
    /// How exact products are.
    pub precision: Precision,
    /// Bytes that it must read or write at least.
    pub bytes: f64,
    /// Operations of its products, two for every multiply-add.
    pub operations: f64,
    family: Arc<Family>,
    memory: Arc<Shared>,
}

type Graph = Box<dyn Fn(&mut Tape, &[Var]) -> Result<Var> + Send + Sync>;

/// An operation at one shape.
struct Family {
    op: &'static str,
    shape: String,
    sizes: Vec<usize>,
    inputs: Vec<Input>,
    output: Vec<usize>,
    graph: Graph,
    mode: Mode,
    /// Multiply-adds of a forward pass.
    products: f64,
    /// Inputs that the gradient of the first one is made of, besides that of the output.
    saved: &'static [usize],
    /// For delta sweeps.
    mutants: Mutants,
}

/// Mutants of a delta sweep, and how many rows of input and output each changes.
#[derive(Clone, Copy, Default)]
struct Mutants {
    count: usize,
    from: usize,
    to: usize,
}

/// What an operation reads.
#[derive(Clone)]
enum Input {
    /// Normal numbers of a shape.
    Numbers(Vec<usize>),
    /// Numbers that a layer before made for products: of 16 bits in a forward pass whose products take so many.
    Operand(Vec<usize>),
    /// Their squares.
    Squares(Vec<usize>),
    /// Packed bases `[N, L]`.
    Bases(usize, usize),
}

impl Input {
    fn bytes(&self) -> f64 {
        match self {
            Self::Numbers(shape) | Self::Operand(shape) | Self::Squares(shape) => bytes(shape),
            Self::Bases(n, l) => (n * l) as f64,
        }
    }
}

/// Tensors of the GPU that cases share.
struct Shared {
    gpu: Gpu,
    /// By shape and number; the shape of bases has a 0 before it.
    tensors: Mutex<HashMap<(Vec<usize>, usize), Tensor>>,
}

impl Shared {
    /// A random tensor; the same for the same `number`.
    fn tensor(&self, input: &Input, number: usize) -> Result<Tensor> {
        let key = match input {
            Input::Numbers(shape) | Input::Operand(shape) | Input::Squares(shape) => (shape.clone(), number),
            &Input::Bases(n, l) => (vec![0, n, l], number),
        };
        let mut tensors = self.tensors.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = tensors.get(&key) {
            return Ok(found.clone());
        }
        let mut random = Philox::new(number as u64, INPUTS);
        let made = match input {
            &Input::Bases(n, l) => Tensor::bases(n, l, (0..n * l).map(|_| random.below(4) as u8).collect())?,
            Input::Numbers(shape) | Input::Operand(shape) | Input::Squares(shape) => {
                // Drawing them takes longer than anything that is timed: long ones repeat.
                let n: usize = shape.iter().product();
                let mut some: Vec<f32> = (0..n.min(1 << 20)).map(|_| random.normal() as f32).collect();
                if matches!(input, Input::Squares(_)) {
                    some.iter_mut().for_each(|v| *v *= *v);
                }
                Tensor::new(shape, some.iter().copied().cycle().take(n).collect())?
            }
        };
        let made = made.to_gpu(&self.gpu)?;
        tensors.insert(key, made.clone());
        Ok(made)
    }
}

impl OpCase {
    fn new(family: &Arc<Family>, memory: &Arc<Shared>, pass: OpPass, precision: Precision) -> Self {
        let (read, written) = (&family.inputs, bytes(&family.output));
        let all: f64 = read.iter().map(Input::bytes).sum();
        let wanted: f64 = family.wanted(pass).iter().map(|&i| read[i].bytes()).sum();
        let mut sizes = family.sizes.clone();
        let (bytes, products) = match pass {
            OpPass::Forward => {
                let operands = read.iter().filter(|i| matches!(i, Input::Operand(_)) && half(precision).is_some());
                (all - operands.map(Input::bytes).sum::<f64>() / 2.0 + written, family.products)
            }
            OpPass::Input => {
                let saved: f64 = family.saved.iter().map(|&i| read[i].bytes()).sum();
                // Attention makes its weights again: five products where forward has two.
                let more = if family.op == "attention" { 2.5 } else { 1.0 };
                (written + saved + wanted, more * family.products)
            }
            OpPass::Weight => (written + read[0].bytes() + wanted, family.products),
            OpPass::Delta => {
                sizes.clear();
                let Mutants { count, from, to } = family.mutants;
                let ((n, l), (_, lo)) = (family.rows(), rows(&family.output));
                let share = |width: usize, l: usize| (width * count) as f64 / (n * l) as f64;
                let weights: f64 = read[1..].iter().map(Input::bytes).sum();
                let moved = read[0].bytes() * share(from, l) + weights + written * share(to, lo);
                (moved, family.products * share(from, l))
            }
        };
        let shape = match pass {
            OpPass::Delta => {
                format!("{}; {} mutants x {} rows", family.shape, family.mutants.count, family.mutants.from)
            }
            _ => family.shape.clone(),
        };
        let (family, memory) = (family.clone(), memory.clone());
        Self { op: family.op, shape, sizes, pass, precision, bytes, operations: 2.0 * products, family, memory }
    }

    /// The case, ready to be timed.
    ///
    /// # Errors
    /// [`crate::Error::Device`] if its inputs do not fit into the memory. Runs have the errors of the operation.
    pub fn job(&mut self) -> Result<Job> {
        let (family, gpu, precision) = (self.family.clone(), self.memory.gpu.clone(), self.precision);
        let inputs = family.inputs.iter().enumerate();
        let of = |(i, input): (usize, &Input)| {
            let made = self.memory.tensor(input, i)?;
            match half(precision).filter(|_| self.pass == OpPass::Forward && matches!(input, Input::Operand(_))) {
                Some(dtype) => made.to_dtype(dtype),
                None => Ok(made),
            }
        };
        let inputs = inputs.map(of).collect::<Result<Vec<_>>>()?;
        match self.pass {
            OpPass::Forward => Ok(Job::new(move || {
                let mut tape = Tape::new(Keep::default(), family.mode.clone());
                tape.precision = precision;
                let all: Vec<Var> = inputs.iter().cloned().map(Var::constant).collect();
                between(&gpu, || (family.graph)(&mut tape, &all))
            })),
            OpPass::Input | OpPass::Weight => {
                let wanted = family.wanted(self.pass);
                let dy = self.memory.tensor(&Input::Numbers(family.output.clone()), 9)?;
                Ok(Job::new(move || {
                    let mut tape = Tape::new(Keep::BACKWARD, family.mode.clone());
                    tape.precision = precision;
                    let leaf = |(i, t): (usize, &Tensor)| match wanted.contains(&i) {
                        true => tape.leaf(t.clone()),
                        false => Var::constant(t.clone()),
                    };
                    let all: Vec<Var> = inputs.iter().enumerate().map(leaf).collect();
                    let y = (family.graph)(&mut tape, &all)?;
                    let (from, rows) = (y.node.expect("the output depends on a leaf"), 0..y.shape()[0] as u32);
                    let nodes: Vec<usize> = all.iter().filter_map(|v| v.node).collect();
                    drop((y, all));
                    let rows: Vec<u32> = rows.collect();
                    between(&gpu, || tape.backward(from, dy.clone(), &rows, &nodes))
                }))
            }
            OpPass::Delta => {
                let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
                tape.precision = precision;
                let x = tape.leaf(inputs[0].clone());
                let constants = inputs[1..].iter().cloned().map(Var::constant);
                let y = (family.graph)(&mut tape, &std::iter::once(x.clone()).chain(constants).collect::<Vec<_>>())?;
                let (from, to) = (x.node.expect("a leaf"), y.node.expect("the output depends on the leaf"));
                let Mutants { count, from: width, .. } = family.mutants;
                let at = family.window();
                let change = match family.inputs[0] {
                    Input::Numbers(ref shape) | Input::Operand(ref shape) | Input::Squares(ref shape) => {
                        let c = shape[shape.len() - 1];
                        let rows = self.memory.tensor(&Input::Numbers(vec![width, count, c]), 8)?;
                        Delta { at, change: Change::Rows(rows) }
                    }
                    Input::Bases(..) => {
                        let edit = |i: usize| vec![Edit { at: at.start[i] as usize, to: (i % 4) as u8 }];
                        Delta::edits((0..count).map(edit).collect(), at.len)?
                    }
                };
                let rows = vec![0; count];
                Ok(Job::new(move || between(&gpu, || tape.delta(vec![(from, change.clone())], &rows, &[to]))))
            }
        }
    }
}

impl Family {
    /// Inputs whose gradients a pass wants.
    fn wanted(&self, pass: OpPass) -> Vec<usize> {
        match pass {
            OpPass::Input if self.op == "attention" => vec![0, 1, 2],
            OpPass::Input => vec![0],
            OpPass::Weight => vec![1],
            OpPass::Forward | OpPass::Delta => vec![],
        }
    }

    /// N and L of the first input.
    fn rows(&self) -> (usize, usize) {
        match &self.inputs[0] {
            Input::Numbers(shape) | Input::Operand(shape) | Input::Squares(shape) => rows(shape),
            &Input::Bases(n, l) => (n, l),
        }
    }

    /// Where neighbouring mutants, three a position, change the first input.
    fn window(&self) -> Window {
        let (Mutants { count, from, .. }, (_, len)) = (self.mutants, self.rows());
        let first = (len / 2).saturating_sub(count / 6);
        Window { start: (0..count).map(|i| (first + i / 3).min(len - from) as i32).collect(), width: from, len }
    }
}

/// The 16 bits of a product's operands, if it takes so many.
fn half(precision: Precision) -> Option<DType> {
    match precision {
        Precision::Bf16 => Some(DType::BF16),
        Precision::F16 => Some(DType::F16),
        Precision::F32 | Precision::Tf32 => None,
    }
}

/// N and L of a map `[N, L, C]` or of vectors `[N, C]`.
fn rows(shape: &[usize]) -> (usize, usize) {
    (shape[0], if shape.len() > 2 { shape[1] } else { 1 })
}

fn bytes(shape: &[usize]) -> f64 {
    4.0 * shape.iter().product::<usize>() as f64
}

/// One row of the table of cases.
struct Entry {
    family: Family,
    passes: &'static [OpPass],
    precisions: &'static [Precision],
}

const ONE: &[Precision] = &[Precision::F32];
const VALUE: &[OpPass] = &[OpPass::Forward];
const INPUT: &[OpPass] = &[OpPass::Forward, OpPass::Input];
const WEIGHT: &[OpPass] = &[OpPass::Forward, OpPass::Weight];
const BOTH: &[OpPass] = &[OpPass::Forward, OpPass::Input, OpPass::Weight];
const DELTA: &[OpPass] = &[OpPass::Delta];

/// All cases, by operation, shape and sweep: the shapes of the published 40 kb model and those at which libraries are
/// usually timed. `tiny` = all of them so small that an emulated GPU runs them.
pub fn op_cases(gpu: &Gpu, tiny: bool) -> Vec<OpCase> {
    let memory = Arc::new(Shared { gpu: gpu.clone(), tensors: Mutex::default() });
    let mut cases = vec![];
    for Entry { family, passes, precisions } in entries(tiny) {
        let family = Arc::new(family);
        for &pass in passes {
            cases.extend(precisions.iter().map(|&p| OpCase::new(&family, &memory, pass, p)));
        }
    }
    cases
}

/// The product of two square matrices.
pub(super) fn product(gpu: &Gpu, precision: Precision, tiny: bool) -> OpCase {
    let memory = Arc::new(Shared { gpu: gpu.clone(), tensors: Mutex::default() });
    let n = if tiny { 40 } else { 8192 };
    OpCase::new(&Arc::new(linear(n, n, n).family), &memory, OpPass::Forward, precision)
}

fn entries(tiny: bool) -> Vec<Entry> {
    let mut all = vec![];
    let (n, l) = if tiny { (2, 40) } else { (8, 10_000) };
    let channels: &[usize] = if tiny { &[12] } else { &[300, 320, 512] };
    for &c in channels {
        for d in [1, 4] {
            all.push(conv1d(n, l, c, 11, d, BOTH, Precision::ALL));
        }
    }
    for d in [1, 4] {
        all.push(conv1d_norm(n, l, channels[channels.len() / 2], 11, d));
    }
    let c = channels[0];
    let mutants = if tiny { 6 } else { 4224 };
    for d in [1, 4] {
        let mut entry = conv1d(n, l, c, 11, d, DELTA, Precision::ALL);
        entry.family.mutants = Mutants { count: mutants, from: 15, to: 15 + 10 * d };
        // Without the residual.
        entry.family.inputs.truncate(3);
        all.push(entry);
    }
    all.push(if tiny { linear(5, 24, 12) } else { linear(1024, 2000, 2000) });
    let (long, outputs) = if tiny { (64, 12) } else { (40_000, 300) };
    for strands in [Strands::Forward, Strands::Max] {
        all.push(stem(n, long, outputs, strands, WEIGHT));
    }
    let mut entry = stem(n, long, outputs, Strands::Forward, DELTA);
    entry.family.mutants = Mutants { count: mutants, from: 1, to: 15 };
    all.push(entry);
    for kind in [PoolKind::Weighted, PoolKind::Max, PoolKind::Mean] {
        all.push(pool(n, long, outputs, kind, 4, Padding::Exclude, INPUT));
    }
    all.push(pool(n, l, c, PoolKind::Weighted, 6, Padding::SequenceMin, INPUT));
    let mut entry = pool(n, long, outputs, PoolKind::Weighted, 4, Padding::Exclude, DELTA);
    entry.family.mutants = Mutants { count: mutants, from: 15, to: 5 };
    all.push(entry);
    let heads: &[[usize; 4]] = match tiny {
        true => &[[2, 2, 10, 6]],
        false => &[[32, 4, 250, 540], [32, 4, 1000, 540], [32, 8, 1536, 64], [8, 8, 4096, 128]],
    };
    all.extend(heads.iter().map(|&[n, h, l, d]| attention(n, h, l, d)));
    let gelu =
        |passes| map("activation", "gelu", n, l, c, 0, passes, |t, v| ops::activation(t, &v[0], Activation::Gelu));
    all.push(gelu(INPUT));
    let mut entry = gelu(DELTA);
    entry.family.mutants = Mutants { count: mutants, from: 35, to: 35 };
    all.push(entry);
    all.push(normalised(n, l, c));
    all.push(map("batch_norm", "of the batch, gelu", n, l, c, 2, INPUT, |t, v| {
        ops::batch_norm_activation_train(t, 0, &v[0], &v[1], &v[2], EPSILON, Activation::Gelu)
    }));
    all.push(map("layer_norm", "", n, l, c, 2, INPUT, |t, v| ops::layer_norm(t, &v[0], &v[1], &v[2], EPSILON)));
    all.push(map("dropout", "0.2", n, l, c, 0, INPUT, |t, v| ops::dropout(t, &v[0], 0.2, 1)));
    all.push(map("softmax", "", n, l, c, 0, INPUT, |t, v| ops::softmax(t, &v[0])));
    let two = |op, output: usize, passes, graph: fn(&mut Tape, &[Var]) -> Result<Var>| {
        let mut entry = map(op, "", n, l, c, 0, passes, graph);
        entry.family.inputs.push(Input::Numbers(vec![n, l, c]));
        entry.family.output = vec![n, l, output];
        entry
    };
    all.push(two("add", c, VALUE, |t, v| ops::add(t, &v[0], &v[1])));
    all.push(two("multiply", c, INPUT, |t, v| ops::multiply(t, &v[0], &v[1])));
    all.push(two("concat", 2 * c, VALUE, |t, v| ops::concat(t, &[&v[0], &v[1]])));
    let mut mean = map("mean_rows", "", n, l, c, 0, INPUT, |t, v| ops::mean_rows(t, &v[0]));
    mean.family.output = vec![n, c];
    all.push(mean);
    all.push(if tiny { loss(5, 7) } else { loss(8192, 2002) });
    all
}

fn map(
    op: &'static str,
    what: &str,
    n: usize,
    l: usize,
    c: usize,
    vectors: usize,
    passes: &'static [OpPass],
    graph: impl Fn(&mut Tape, &[Var]) -> Result<Var> + Send + Sync + 'static,
) -> Entry {
    let mut inputs = vec![Input::Numbers(vec![n, l, c])];
    inputs.extend(std::iter::repeat_n(Input::Numbers(vec![c]), vectors));
    let mode = match op {
        "dropout" => Mode::Train(Pass { seed: 1, number: 0, samples: (0..n as u32).collect() }),
        _ => Mode::Eval,
    };
    let comma = if what.is_empty() { "" } else { ", " };
    let family = Family {
        op,
        shape: format!("{n} x {l} x {c}{comma}{what}"),
        sizes: vec![],
        inputs,
        output: vec![n, l, c],
        graph: Box::new(graph),
        mode,
        products: 0.0,
        saved: match op {
            "conv1d" | "linear" | "multiply" => &[1],
            "dropout" | "mean_rows" => &[],
            "attention" => &[0, 1, 2],
            "loss" => &[0, 1],
            _ => &[0],
        },
        mutants: Mutants::default(),
    };
    Entry { family, passes, precisions: ONE }
}

/// With bias, and, where it does not stand in the way of gradients, the residual sum behind it.
fn conv1d(
    n: usize,
    l: usize,
    c: usize,
    k: usize,
    d: usize,
    passes: &'static [OpPass],
    precisions: &'static [Precision],
) -> Entry {
    let args = Conv1dArgs::same(k, d);
    // A forward pass as networks have it: the input comes from a norm, and a residual is added.
    let mut entry =
        map("conv1d", &format!("k {k}, dilation {d}"), n, l, c, 0, passes, move |t, v| match t.keep().any() {
            true => ops::conv1d(t, &v[0], &v[1], Some(&v[2]), args),
            false => ops::conv1d_add(t, &v[0], &v[1], Some(&v[2]), &v[3], args),
        });
    entry.family.sizes = vec![n, l, c, k, d];
    entry.family.inputs = conv1d_inputs(n, l, c, k);
    entry.family.products = (n * l * c * c * k) as f64;
    Entry { precisions, ..entry }
}

/// Input, weight, bias and residual.
fn conv1d_inputs(n: usize, l: usize, c: usize, k: usize) -> Vec<Input> {
    vec![
        Input::Operand(vec![n, l, c]),
        Input::Numbers(vec![k, c, c]),
        Input::Numbers(vec![c]),
        Input::Numbers(vec![n, l, c]),
    ]
}

/// Convolution, residual, and the norm and GELU with which the next layer begins; the sum is stored, too.
fn conv1d_norm(n: usize, l: usize, c: usize, k: usize, d: usize) -> Entry {
    let args = Conv1dArgs::same(k, d);
    let mut entry = map("conv1d_norm", &format!("k {k}, dilation {d}"), n, l, c, 0, VALUE, move |t, v| {
        let norm = RunningNorm {
            gamma: &v[4],
            beta: &v[5],
            mean: &v[6].value,
            variance: &v[7].value,
            eps: EPSILON,
            activation: Activation::Gelu,
            for_products: true,
        };
        let wanted = Wanted { raw: false, sum: true };
        Ok(ops::conv1d_norm(t, [&v[0], &v[1]], Some(&v[2]), Some(&v[3]), args, norm, wanted)?.normed)
    });
    entry.family.inputs = conv1d_inputs(n, l, c, k);
    entry.family.inputs.extend((0..3).map(|_| Input::Numbers(vec![c])).chain([Input::Squares(vec![c])]));
    entry.family.products = (n * l * c * c * k) as f64;
    Entry { precisions: Precision::ALL, ..entry }
}

fn linear(m: usize, f: usize, o: usize) -> Entry {
    let mut entry = map("linear", "", m, f, o, 0, BOTH, |t, v| ops::linear(t, &v[0], &v[1], Some(&v[2])));
    entry.family.shape = format!("{m} x {f} to {o}");
    entry.family.sizes = vec![m, f, o];
    entry.family.inputs = vec![Input::Numbers(vec![m, f]), Input::Numbers(vec![f, o]), Input::Numbers(vec![o])];
    entry.family.output = vec![m, o];
    entry.family.products = (m * f * o) as f64;
    Entry { precisions: Precision::ALL, ..entry }
}

/// Sums of table rows instead of products: what counts is memory.
fn stem(n: usize, l: usize, o: usize, strands: Strands, passes: &'static [OpPass]) -> Entry {
    let args = StemArgs::same(15, strands);
    let what = if strands == Strands::Forward { "k 15" } else { "k 15, both strands" };
    let mut entry = map("stem", what, n, l, o, 0, passes, move |t, v| ops::stem(t, &v[0], &v[1], Some(&v[2]), args));
    entry.family.inputs = vec![Input::Bases(n, l), Input::Numbers(vec![15, 4, o]), Input::Numbers(vec![o])];
    entry
}

fn pool(
    n: usize,
    l: usize,
    c: usize,
    kind: PoolKind,
    size: usize,
    padding: Padding,
    passes: &'static [OpPass],
) -> Entry {
    let windows = l.div_ceil(size);
    let args = PoolArgs { kind, size, stride: size, pad: (0, windows * size - l), padding };
    let name = match (kind, padding) {
        (PoolKind::Weighted, Padding::SequenceMin) => "weighted, padded with minima",
        (PoolKind::Weighted, _) => "weighted",
        (PoolKind::Max, _) => "max",
        (PoolKind::Mean, _) => "mean",
    };
    let what = format!("{name} {size}");
    let mut entry = map("pool", &what, n, l, c, 0, passes, move |t, v| ops::pool(t, &v[0], args));
    if (kind, padding) == (PoolKind::Weighted, Padding::Exclude) {
        entry.family.sizes = vec![n, l, c, size];
    }
    entry.family.output = vec![n, windows, c];
    if kind == PoolKind::Mean {
        entry.family.saved = &[];
    }
    entry
}

fn attention(n: usize, heads: usize, l: usize, d: usize) -> Entry {
    let args = AttentionArgs { heads, sum_heads: false };
    let mut entry =
        map("attention", "", n, l, heads * d, 0, INPUT, move |t, v| ops::attention(t, &v[0], &v[1], &v[2], None, args));
    entry.family.shape = format!("{n} x {l}, {heads} heads of {d}");
    entry.family.sizes = vec![n, heads, l, d];
    entry.family.inputs = vec![Input::Numbers(vec![n, l, heads * d]); 3];
    entry.family.products = (2 * n * heads * l * l * d) as f64;
    Entry { precisions: Precision::ALL, ..entry }
}

/// Batch norm with running statistics and the activation behind it.
fn normalised(n: usize, l: usize, c: usize) -> Entry {
    let mut entry = map("batch_norm", "running statistics, gelu", n, l, c, 3, INPUT, |t, v| {
        let (mean, variance) = (&v[3].value, &v[4].value);
        ops::batch_norm_activation_eval(t, &v[0], &v[1], &v[2], mean, variance, EPSILON, Activation::Gelu)
    });
    entry.family.inputs.push(Input::Squares(vec![c]));
    entry
}

fn loss(n: usize, tracks: usize) -> Entry {
    let mut entry = map("loss", "", n, 1, tracks, 0, INPUT, |t, v| {
        let weight = 1.0 / v[0].value.len() as f64;
        ops::loss(t, &v[0], &v[1].value, Loss::Mse, weight)
    });
    entry.family.shape = format!("{n} x {tracks}, mean squared error");
    entry.family.inputs = vec![Input::Numbers(vec![n, tracks]); 2];
    entry.family.output = vec![1];
    entry
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::check;

    fn of<'c>(cases: &'c [OpCase], op: &str, pass: OpPass) -> &'c OpCase {
        cases.iter().find(|c| c.op == op && c.pass == pass).unwrap()
    }

    #[test]
    fn shapes_are_the_published_ones() {
        let all: Vec<Entry> = entries(false);
        let of = |pass, op: &str| {
            let entry = all.iter().find(|e| e.family.op == op && e.passes.contains(&pass)).unwrap();
            (
                entry.family.products,
                entry.family.inputs.iter().map(Input::bytes).sum::<f64>(),
                bytes(&entry.family.output),
            )
        };
        // 8 x 10000 x 300 with a kernel of 11: products, and maps of 96 MB; the residual is one, too.
        assert_eq!(of(OpPass::Weight, "conv1d"), (7.92e10, 2.0 * 96e6 + 3.96e6 + 1200.0, 96e6));
        assert_eq!(of(OpPass::Forward, "pool"), (0.0, 384e6, 96e6));
        assert_eq!(of(OpPass::Forward, "attention").0, 2.0 * 32.0 * 4.0 * 250.0 * 250.0 * 540.0);
    }

    #[test]
    fn every_case_runs() {
        let Some(gpu) = check::gpus().last() else {
            eprintln!("skipped: {}", check::skipped().unwrap_or_default());
            return;
        };
        let mut cases = op_cases(gpu, true);
        let conv = of(&cases, "conv1d", OpPass::Weight);
        let (x, w) = (2.0 * 40.0 * 12.0 * 4.0, 11.0 * 144.0 * 4.0);
        assert_eq!((conv.bytes, conv.operations), (2.0 * x + w, 2.0 * 2.0 * 40.0 * 11.0 * 144.0));
        let delta = of(&cases, "conv1d", OpPass::Delta);
        assert_eq!(delta.operations, 2.0 * 6.0 * 15.0 * 11.0 * 144.0);
        for case in &mut cases {
            let name = format!("{} {} {} {}", case.op, case.shape, case.pass.name(), case.precision.name());
            let times = case.job().and_then(|mut job| job.times_ms(2)).unwrap_or_else(|e| panic!("{name}: {e}"));
            assert!(times.len() == 2 && times.iter().all(|t| *t >= 0.0), "{name}: {times:?}");
            assert!(case.bytes > 0.0 && (case.operations > 0.0) >= (case.precision != Precision::F32), "{name}");
        }
    }
}
