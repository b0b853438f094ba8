//! What `drg bench` times: forward passes and whole training steps of the models of [`crate::model::zoo`].
//!
//! A training step is the forward pass in train mode, the mean squared error against fixed random targets, the backward pass,
//! and SGD with momentum 0.9 over all parameters. Sequences come in as packed bases.

pub mod gpu;
pub mod ism;

use std::time::Instant;

use serde::Serialize;

use crate::device::{Device, Precision};
use crate::engine::mutate::Predictor;
use crate::error::{Error, Result, hint};
use crate::model::{Network, ZooName};
use crate::nn::{Bound, Optimizer, Rule};
use crate::ops::{self, Loss};
use crate::tape::{Keep, Mode, Pass, Tape, Var};
use crate::tensor::Tensor;
use crate::util::par;
use crate::util::philox::Philox;

/// Learning rate: too small to change what is computed.
const RATE: f64 = 1e-5;
const MOMENTUM: f64 = 0.9;
/// Share of a new batch in running statistics, as PyTorch's default.
const STATISTICS: f64 = 0.1;

/// Purposes of the random streams.
const BASES: u64 = 0xBE01;
const TARGETS: u64 = 0xBE02;

/// What is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// A forward pass that records nothing.
    Forward,
    /// A training step.
    Train,
}

impl Work {
    /// Both.
    pub const ALL: &[Self] = &[Self::Forward, Self::Train];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Train => "train",
        }
    }

    /// The work of that name.
    ///
    /// # Errors
    /// [`Error::Usage`] with the names that there are.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|w| w.name() == name).ok_or_else(|| {
            let near = hint(name, Self::ALL.iter().map(|w| w.name()));
            Error::Usage(format!("unknown work '{name}'{near}; expected forward or train"))
        })
    }
}

/// What a case took.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Timing {
    /// `forward` or `train`.
    pub what: &'static str,
    /// Name of the model.
    pub model: &'static str,
    /// Sequences of one pass.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// Median time of a pass.
    pub median_ms: f64,
    /// Sequences a second at that time.
    pub sequences_per_s: f64,
    /// Arithmetic a second, 1e9 operations: two for every multiply-add of convolutions, dense layers and attention, three
    /// times that in a training step.
    pub gflop_per_s: f64,
}

/// A model with a batch, ready to be timed.
pub struct Case {
    name: ZooName,
    model: Network,
    work: Work,
    batch: usize,
    x: Tensor,
    target: Tensor,
    optimizer: Optimizer,
    rate: f64,
    steps: u32,
    precision: Precision,
}

impl Case {
    /// A model with random weights and a random batch on the CPU; `batch` 0 = [`ZooName::default_batch`].
    ///
    /// # Errors
    /// None in practice: a test builds every model.
    pub fn new(name: ZooName, work: Work, batch: usize) -> Result<Self> {
        Self::on(name, work, batch, &Device::Cpu, Precision::F32)
    }

    /// As [`Case::new`], on a device, with products of a GPU as exact as that.
    ///
    /// # Errors
    /// [`Error::Device`], e.g. if the model does not fit into the memory of a GPU.
    pub fn on(name: ZooName, work: Work, batch: usize, device: &Device, precision: Precision) -> Result<Self> {
        let batch = if batch == 0 { name.default_batch() } else { batch };
        let mut random = Philox::new(1, BASES);
        let codes: Vec<u8> = (0..batch * name.length()).map(|_| random.below(4) as u8).collect();
        let model = name.network(1)?.to_device(device)?;
        let rule = Rule::Sgd { momentum: MOMENTUM, nesterov: false };
        let mut case = Self {
            optimizer: Optimizer::new(rule, 0.0, model.parameters(), |_| 0),
            x: model.input(&codes)?.to_device(device)?,
            target: Tensor::new::<f32>(&[0], vec![])?,
            rate: RATE,
            steps: 0,
            name,
            model,
            work,
            batch,
            precision,
        };
        if work == Work::Train {
            let shape = [batch, case.model.architecture().tracks()];
            let mut random = Philox::new(1, TARGETS);
            let target: Vec<f32> = (0..shape[0] * shape[1]).map(|_| random.normal() as f32).collect();
            case.target = Tensor::new(&shape, target)?.to_device(device)?;
        }
        Ok(case)
    }

    /// Sequences of one pass.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// One pass.
    ///
    /// # Errors
    /// Those of the operations.
    pub fn run(&mut self) -> Result<()> {
        match self.work {
            Work::Forward => self.output().map(drop),
            Work::Train => self.step().map(drop),
        }
    }

    /// Times of `runs` passes in milliseconds.
    ///
    /// # Errors
    /// Those of the operations.
    pub fn times_ms(&mut self, runs: usize) -> Result<Vec<f64>> {
        let one = |case: &mut Self| {
            let start = Instant::now();
            case.run()?;
            Ok(1e3 * start.elapsed().as_secs_f64())
        };
        (0..runs).map(|_| one(self)).collect()
    }

    /// Passes that are needed before times are steady; returns the time of one more in milliseconds.
    ///
    /// # Errors
    /// Those of the operations.
    pub fn warm_up(&mut self) -> Result<f64> {
        self.times_ms(3).map(|times| times[2])
    }

    /// What a median time means.
    pub fn timing(&self, median_ms: f64) -> Timing {
        let speed = 1e3 * self.batch as f64 / median_ms;
        let passes = if self.work == Work::Train { 3.0 } else { 1.0 };
        Timing {
            what: self.work.name(),
            model: self.name.name(),
            batch: self.batch,
            threads: par::threads(),
            median_ms,
            sequences_per_s: speed,
            gflop_per_s: 2e-9 * passes * self.model.multiply_adds() * speed,
        }
    }

    /// The output for the batch; the models have one.
    fn forward(&self, tape: &mut Tape, bound: &Bound) -> Result<Var> {
        let outputs = self.model.forward(tape, bound, &[Var::constant(self.x.clone())])?;
        Ok(outputs.into_iter().next().expect("a network has an output"))
    }

    fn output(&self) -> Result<Tensor> {
        let mut tape = Tape::predict();
        tape.precision = self.precision;
        let bound = self.model.parameters().bind(&mut tape, false)?;
        Ok(self.forward(&mut tape, &bound)?.value)
    }

    /// One training step; returns the loss before it `[1]`.
    fn step(&mut self) -> Result<Tensor> {
        let samples: Vec<u32> = (0..self.batch as u32).collect();
        let pass = Pass { seed: 1, number: self.steps, samples: samples.clone().into() };
        self.steps += 1;
        let mut tape = Tape::new(Keep::BACKWARD, Mode::Train(pass));
        tape.precision = self.precision;
        let bound = self.model.parameters().bind(&mut tape, true)?;
        let y = self.forward(&mut tape, &bound)?;
        let loss = ops::loss(&mut tape, &y, &self.target, Loss::Mse, 1.0 / y.value.len() as f64)?;
        let from = loss.node.expect("the loss depends on the parameters");
        let leaves = self.model.parameters().leaves(&bound);
        let statistics = std::mem::take(&mut tape.stats);
        drop((y, bound));
        let upstream = Tensor::new(&[1], vec![1f32])?.to_device(&self.x.device())?;
        let grads = tape.backward(from, upstream, &samples, &leaves)?;
        let parameters = self.model.parameters_mut();
        self.optimizer.step(parameters, &grads, &[self.rate])?;
        parameters.follow(&statistics, STATISTICS)?;
        Ok(loss.value)
    }
}

/// The middle of some times; the mean of the middle two for an even number of them.
///
/// # Panics
/// If there are none.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    0.5 * (sorted[(n - 1) / 2] + sorted[n / 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::Kind;

    #[test]
    fn medians_and_names() {
        assert_eq!((median(&[3.0, 1.0, 2.0]), median(&[4.0, 1.0, 2.0, 3.0])), (2.0, 2.5));
        assert_eq!(Work::parse("train").unwrap(), Work::Train);
        assert!(Work::parse("trian").unwrap_err().to_string().contains("did you mean 'train'?"));
    }

    #[test]
    fn a_step_lowers_the_loss_and_changes_every_parameter() {
        let mut case = Case::new(ZooName::SeqToFunc251, Work::Train, 2).unwrap();
        case.rate = 0.01;
        let before = case.model.parameters().values().to_f64();
        let [first, second] = [(); 2].map(|()| case.step().unwrap().to_f64()[0]);
        assert!(second < first, "{first} {second}");
        let after = case.model.parameters().values().to_f64();
        for e in case.model.parameters().entries() {
            let range = e.offset..e.offset + e.len();
            assert_ne!(before[range.clone()], after[range], "{}", e.name);
        }
        let timing = case.timing(10.0);
        assert_eq!((timing.what, timing.model, timing.sequences_per_s), ("train", "seqtofunc251", 200.0));
    }

    /// As `uniform` of `benches/torch_cpu.py`.
    fn uniform(stream: u64, n: usize) -> impl Iterator<Item = f64> {
        (0..n as u64).map(move |i| {
            let mut h = (i * 2_654_435_761 + stream * 40_503 + 12_345) as u32;
            h = (h ^ (h >> 16)).wrapping_mul(2_246_822_519);
            h = (h ^ (h >> 13)).wrapping_mul(3_266_489_917);
            f64::from(h ^ (h >> 16)) / (1u64 << 32) as f64
        })
    }

    /// Compares names, shapes, a forward pass and the losses of three training steps with those of PyTorch.
    fn equals_pytorch(name: ZooName) {
        let Ok(python) = std::env::var("DRG_PYTHON") else {
            eprintln!("skipped: {name} against PyTorch; name a Python that has torch in DRG_PYTHON");
            return;
        };
        let program = include_str!("../../../benches/torch_cpu.py");
        let run = std::process::Command::new(&python).args(["-c", program, "--dump", name.name()]).output().unwrap();
        assert!(run.status.success(), "{python}: {}", String::from_utf8_lossy(&run.stderr));
        let theirs: serde_json::Value = serde_json::from_slice(&run.stdout).unwrap();
        let numbers =
            |key: &str| -> Vec<f64> { theirs[key].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect() };

        let mut case = Case::new(name, Work::Train, 2).unwrap();
        let entries: Vec<_> =
            case.model.parameters().entries().iter().filter(|e| e.kind != Kind::Counter).cloned().collect();
        // The published file of Beluga has convolutions of two dimensions, one of which is 1.
        let flat =
            |shape: &[usize]| if shape.len() == 4 { [&shape[..2], &shape[3..]].concat() } else { shape.to_vec() };
        let ours: Vec<_> = entries.iter().map(|e| serde_json::json!([e.name, flat(&e.torch_shape)])).collect();
        assert_eq!(serde_json::Value::Array(ours), theirs["tensors"], "{name}");
        for (stream, e) in entries.iter().enumerate() {
            let u = uniform(stream as u64, e.len());
            let values: Vec<f64> = if e.torch_shape.len() > 1 {
                let scale = (3.0 / e.torch_shape[1..].iter().product::<usize>() as f64).sqrt();
                u.map(|u| (2.0 * u - 1.0) * scale).collect()
            } else if e.name.ends_with("running_var") || e.name.ends_with(".weight") {
                u.map(|u| 0.75 + 0.5 * u).collect()
            } else {
                u.map(|u| 0.2 * u - 0.1).collect()
            };
            let id = case.model.parameters().id(&e.name).unwrap();
            case.model.parameters_mut().set_torch(id, &values).unwrap();
        }
        let codes: Vec<u8> = uniform(1 << 20, 2 * name.length()).map(|u| (5.0 * u) as u8).collect();
        case.x = case.model.input(&codes).unwrap();

        let y = case.output().unwrap();
        crate::tape::check::close(&format!("{name}: output"), &y.to_f64(), &numbers("output"), 1e-4);
        let target: Vec<f32> = uniform(1 << 21, y.len()).map(|u| u as f32).collect();
        case.target = Tensor::new(y.shape(), target).unwrap();
        case.rate = theirs["rate"].as_f64().unwrap();
        for (i, want) in numbers("losses").into_iter().enumerate() {
            let got = case.step().unwrap().to_f64()[0];
            assert!((got - want).abs() <= 1e-4 * want.abs(), "{name}: loss of step {i}: {got} instead of {want}");
        }
    }

    #[test]
    fn small_models_equal_pytorch() {
        for name in [ZooName::Drg600, ZooName::Drg2k, ZooName::SeqToFunc251, ZooName::Bpnet2114] {
            equals_pytorch(name);
        }
    }

    #[test]
    #[ignore = "needs DRG_PYTHON, 4 GB of memory and five minutes"]
    fn large_models_equal_pytorch() {
        for name in [ZooName::Drg40k, ZooName::Drg40kAttention, ZooName::Beluga] {
            equals_pytorch(name);
        }
    }
}
