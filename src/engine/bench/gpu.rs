//! What `drg bench gpu` times: the ceilings of a card, single operations against them, passes of models, mutants.
//!
//! Times come from events of the GPU around the work that was asked for; the host waits for none of them in between. What a
//! case may cost at least is counted, not measured: every byte that it must read or write once, two operations for every
//! multiply-add. Against the measured rates of copies and of products that gives the shortest time it could take ([`Roof`]).

mod cases;

use std::time::Instant;

use super::{Case, Work};
use crate::device::{Device, Gpu, Moment, Precision};
use crate::engine::mutate::{Edits, Engine, Options, Reference, each_block};
use crate::error::Result;
use crate::model::{Network, ZooName};
use crate::tensor::DType;
use crate::util::philox::Philox;

use super::ism::{Exact, IsmErrors};

pub use cases::{OpCase, OpPass, op_cases};

/// Purpose of the random stream of bases.
const BASES: u64 = 0xBE04;

/// Something that is timed again and again.
pub struct Job(Box<dyn FnMut() -> Result<(Moment, Moment)>>);

impl Job {
    /// Asks for one run; returns the moments before and after it.
    pub fn new(run: impl FnMut() -> Result<(Moment, Moment)> + 'static) -> Self {
        Self(Box::new(run))
    }

    /// Times of `runs` runs in milliseconds. They are all asked for before the first is waited for.
    ///
    /// # Errors
    /// Those of the operations; [`crate::Error::Device`] for what went wrong on the GPU.
    pub fn times_ms(&mut self, runs: usize) -> Result<Vec<f64>> {
        let moments = (0..runs).map(|_| self.0()).collect::<Result<Vec<_>>>()?;
        moments.iter().map(|(from, to)| to.since_ms(from)).collect()
    }
}

/// Runs `f` between two moments, and then drops what it returns.
fn between<T>(gpu: &Gpu, f: impl FnOnce() -> Result<T>) -> Result<(Moment, Moment)> {
    let from = gpu.moment()?;
    let kept = f()?;
    let to = gpu.moment()?;
    drop(kept);
    Ok((from, to))
}

/// A copy within the memory of the GPU, and the bytes that it reads and writes: 4 GiB each, or an eighth of the memory.
///
/// # Errors
/// [`crate::Error::Device`].
pub fn copy(gpu: &Gpu, tiny: bool) -> Result<(Job, f64)> {
    let bytes = if tiny { 1 << 16 } else { (4usize << 30).min(gpu.about().memory_bytes as usize / 8) };
    let (mut from, mut to) = (gpu.allocate(bytes)?, gpu.allocate(bytes)?);
    // Zeros could be copied faster than what is no zero.
    from.fill(0x5A)?;
    let gpu = gpu.clone();
    Ok((Job::new(move || between(&gpu, || to.copy_from(0, &from, 0, bytes))), 2.0 * bytes as f64))
}

/// A product of two square matrices by our own kernel, and its operations.
///
/// # Errors
/// As [`op_cases`].
pub fn product(gpu: &Gpu, precision: Precision, tiny: bool) -> Result<(Job, f64)> {
    let mut case = cases::product(gpu, precision, tiny);
    let operations = case.operations;
    Ok((case.job()?, operations))
}

/// Measured rates, each a second.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roof {
    /// Bytes read and written by a copy.
    pub bytes: f64,
    /// Operations of products, by precision; none where that was not measured.
    pub operations: Vec<(Precision, f64)>,
}

impl Roof {
    /// The shortest time in milliseconds, and whether it is that of products instead of memory. `None` if there is no rate.
    pub fn floor_ms(&self, bytes: f64, operations: f64, precision: Precision) -> Option<(f64, bool)> {
        let rate = self.operations.iter().find(|(p, _)| *p == precision).map(|r| r.1).filter(|&r| r > 0.0);
        let products = if operations > 0.0 { 1e3 * operations / rate? } else { 0.0 };
        let memory = 1e3 * bytes / Some(self.bytes).filter(|&b| b > 0.0)?;
        Some((memory.max(products), products > memory))
    }
}

/// Batches in which a model is timed: those for a pass, and the one for a training step.
pub fn batches(name: ZooName, work: Work) -> Vec<usize> {
    let (forward, train) = match name.length() {
        10_000.. => ([8, 32], 8),
        2001.. => ([256, 2048], 256),
        2000 => ([128, 1024], 128),
        600.. => ([512, 4096], 256),
        100.. => ([1024, 8192], 1024),
        _ => ([2, 3], 4),
    };
    if work == Work::Train { vec![train] } else { forward.into() }
}

/// A pass of a model or a training step, and the arithmetic of a run: two operations for every multiply-add, three times
/// that in training.
///
/// # Errors
/// [`crate::Error::Device`], e.g. if it does not fit into the memory.
pub fn model(gpu: &Gpu, name: ZooName, work: Work, batch: usize, precision: Precision) -> Result<(Job, f64)> {
    let mut case = Case::on(name, work, batch, &Device::Cuda(gpu.clone()), precision)?;
    // At one sequence a millisecond.
    let operations = 1e6 * case.timing(batch as f64).gflop_per_s * batch as f64;
    let gpu = gpu.clone();
    Ok((Job::new(move || between(&gpu, || case.run())), operations))
}

/// All single mutants of some sequences by delta sweeps on a GPU, timed from bases on the host to effects on the host, the
/// reference pass included.
pub struct Mutation {
    name: ZooName,
    model: Network,
    codes: Vec<u8>,
    /// Made when it is first asked for: it takes some mutants in f64 on the CPU.
    exact: Option<Exact>,
    gpu: Gpu,
}

impl Mutation {
    /// A model with random weights and `sequences` random sequences.
    ///
    /// # Errors
    /// [`crate::Error::Device`].
    pub fn new(gpu: &Gpu, name: ZooName, sequences: usize) -> Result<Self> {
        let mut random = Philox::new(1, BASES);
        let codes = (0..sequences * name.length()).map(|_| random.below(4) as u8).collect();
        let model = name.network(1)?.to_device(&Device::Cuda(gpu.clone()))?;
        Ok(Self { name, model, codes, exact: None, gpu: gpu.clone() })
    }

    /// Name of the model.
    pub fn name(&self) -> ZooName {
        self.name
    }

    /// Mutants of a run.
    pub fn mutants(&self) -> usize {
        3 * self.codes.len()
    }

    /// Time of all mutants in seconds, by the host's clock.
    ///
    /// # Errors
    /// Those of the operations.
    pub fn run_s(&self, precision: Precision) -> Result<f64> {
        let options = Options { engine: Engine::Delta, precision, ..Options::default() };
        let edits = Edits::Substitutions(0..self.name.length());
        self.gpu.synchronize()?;
        let (clock, mut mutants) = (Instant::now(), 0);
        each_block(&self.model, &self.codes, &edits, &options, |block| {
            mutants += block.edits.len();
            Ok(true)
        })?;
        let seconds = clock.elapsed().as_secs_f64();
        assert_eq!(mutants, self.mutants(), "a job returns all of its mutants");
        Ok(seconds)
    }

    /// Errors of `n` effects of the first sequence, by sweeps and by running every mutant on the GPU, against f64 on the CPU.
    ///
    /// # Errors
    /// Those of the operations.
    pub fn errors(&mut self, precision: Precision, n: usize) -> Result<IsmErrors> {
        let name = self.name;
        let codes = &self.codes[..name.length()];
        if self.exact.is_none() {
            let wide = self.model.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
            self.exact = Some(Exact::new(&wide, codes, n, name.default_batch())?);
        }
        let exact = self.exact.as_ref().expect("it was made above");
        let reference = Reference::new(&self.model, codes)?.with_precision(precision);
        exact.errors(&self.model, &reference, precision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_of_two_times_is_the_roof() {
        let roof = Roof { bytes: 4e12, operations: vec![(Precision::Bf16, 8e14)] };
        assert_eq!(roof.floor_ms(4e9, 0.0, Precision::F32), Some((1.0, false)));
        assert_eq!(roof.floor_ms(4e9, 1.6e12, Precision::Bf16), Some((2.0, true)));
        assert_eq!(roof.floor_ms(4e9, 1.6e12, Precision::F32), None);
        assert_eq!(Roof::default().floor_ms(1.0, 0.0, Precision::F32), None);
    }

    #[test]
    fn every_model_has_batches() {
        for &name in ZooName::ALL {
            let (forward, train) = (batches(name, Work::Forward), batches(name, Work::Train));
            assert!(forward.len() == 2 && train.len() == 1 && forward.iter().all(|&b| b >= 8), "{name}");
        }
        assert_eq!(batches(ZooName::Beluga, Work::Train), [128]);
        assert_eq!(batches(ZooName::Bpnet2114, Work::Forward), [256, 2048]);
    }
}
