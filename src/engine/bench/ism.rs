//! What `drg bench ism` times: mutants of published shapes, by delta sweeps and by running each.
//!
//! Both sides are timed on samples: neighbouring positions in the middle of one random sequence. A sweep needs a reference
//! pass a sequence; its time is charged in proportion to the sample, as if all mutants of the sequence were run.

use std::time::Instant;

use serde::Serialize;

use crate::device::Precision;
use crate::engine::mutate::{Edit, Edits, Predictor, Reference, apply};
use crate::error::Result;
use crate::model::{Network, ZooName};
use crate::tensor::DType;
use crate::util::philox::Philox;

/// Purpose of the random stream of bases.
const BASES: u64 = 0xBE03;
/// Mutants of a run, at most, of models for 10,000 bases and more.
const LONG_SAMPLE: usize = 3000;

/// A model with a sequence and its mutants, ready to be timed.
pub struct IsmCase {
    model: Network,
    /// The same in f64.
    wide: Network,
    codes: Vec<u8>,
    /// All mutants of the sample, position by position.
    edits: Vec<Vec<Edit>>,
    /// Mutants of a naive batch.
    batch: usize,
    reference: Reference,
}

/// Errors of effects, relative to those of running every mutant in f64.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct IsmErrors {
    /// Mutants of the sample.
    pub mutants: usize,
    /// Root of the mean squared error of the delta sweep, relative to that of the effects.
    pub delta: f64,
    /// The same of running every mutant, no more exact.
    pub naive: f64,
}

impl IsmCase {
    /// A model with random weights. `mutants` = those of a run; `None` chooses all of a short sequence and, of a long one, as
    /// many as take about `seconds`.
    ///
    /// # Errors
    /// Those of the model.
    pub fn new(name: ZooName, mutants: Option<usize>, seconds: f64) -> Result<Self> {
        let mut random = Philox::new(1, BASES);
        let codes: Vec<u8> = (0..name.length()).map(|_| random.below(4) as u8).collect();
        let model = name.network(1)?;
        let wide = model.to_dtype(DType::F64)?;
        let reference = Reference::rounded(&model, &wide, &codes)?;
        let mut case = Self { model, wide, codes, edits: vec![], batch: name.default_batch(), reference };
        let most = 3 * name.length();
        let wanted = match mutants {
            Some(n) => n.clamp(1, most),
            None if name.length() < 10_000 => most,
            None => {
                case.edits = case.neighbours(96);
                case.delta_s()?;
                ((seconds / case.delta_s()? * 96.0) as usize).clamp(96, LONG_SAMPLE)
            }
        };
        case.edits = case.neighbours(wanted);
        Ok(case)
    }

    /// So many mutants at neighbouring positions in the middle.
    fn neighbours(&self, n: usize) -> Vec<Vec<Edit>> {
        let l = self.codes.len();
        let positions = n.div_ceil(3).min(l);
        let from = (l - positions) / 2;
        let edits = Edits::Substitutions(from..from + positions);
        let mut all: Vec<_> = (0..edits.blocks(0)).flat_map(|part| edits.block(0, part, &self.codes)).collect();
        all.truncate(n);
        all
    }

    /// Mutants of a run.
    pub fn mutants(&self) -> usize {
        self.edits.len()
    }

    /// Mutants of a naive batch.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Time of the sweeps of the sample, in seconds, without the reference pass.
    ///
    /// # Errors
    /// Those of the operations.
    pub fn delta_s(&self) -> Result<f64> {
        let clock = Instant::now();
        self.reference.effects(&vec![0; self.edits.len()], &self.edits)?;
        Ok(clock.elapsed().as_secs_f64())
    }

    /// Time of a reference pass in seconds, with what its first sweep prepares for all others, and the share of it that the
    /// sample is charged with.
    ///
    /// # Errors
    /// Those of the operations.
    pub fn reference_s(&mut self) -> Result<(f64, f64)> {
        let clock = Instant::now();
        self.reference = Reference::rounded(&self.model, &self.wide, &self.codes)?;
        self.reference.effects(&[0], &self.edits[..1])?;
        Ok((clock.elapsed().as_secs_f64(), self.edits.len() as f64 / (3 * self.codes.len()) as f64))
    }

    /// Time of running one batch of mutants whole, in seconds.
    ///
    /// # Errors
    /// Those of the operations.
    pub fn naive_s(&self) -> Result<f64> {
        let mutants = mutated(&self.codes, self.edits.iter().cycle().take(self.batch));
        let clock = Instant::now();
        self.model.predict(&mutants)?;
        Ok(clock.elapsed().as_secs_f64())
    }

    /// Multiply-adds of a mutant: (run whole, in a sweep without the reference pass).
    pub fn products(&self) -> (f64, f64) {
        self.reference.steps(1).iter().fold((0.0, 0.0), |(n, d), s| (n + s.naive, d + s.delta))
    }

    /// Compares both in f32 with f64 on `n` mutants spread over the whole sequence, its ends included.
    ///
    /// # Errors
    /// Those of the operations.
    pub fn errors(&self, n: usize) -> Result<IsmErrors> {
        Exact::new(&self.wide, &self.codes, n, self.batch)?.errors(&self.model, &self.reference, Precision::F32)
    }
}

/// Mutants spread over a sequence, and their effects in f64.
pub struct Exact {
    codes: Vec<u8>,
    edits: Vec<Vec<Edit>>,
    effects: Vec<f64>,
    batch: usize,
}

impl Exact {
    /// `n` mutants of a sequence, from its first base to its last, run whole in `wide`, the model in f64.
    ///
    /// # Errors
    /// Those of the operations.
    pub fn new(wide: &Network, codes: &[u8], n: usize, batch: usize) -> Result<Self> {
        let (l, n) = (codes.len(), n.max(2));
        let spread = |i: usize| {
            let at = i * (l - 1) / (n - 1);
            vec![Edit { at, to: (codes[at] + 1 + (i % 3) as u8) % 4 }]
        };
        let mut exact = Self { codes: codes.to_vec(), edits: (0..n).map(spread).collect(), effects: vec![], batch };
        exact.effects = exact.naive(wide, Precision::F32)?;
        Ok(exact)
    }

    /// Predictions of the mutants minus that of the sequence, `[M, T]`.
    fn naive(&self, model: &Network, precision: Precision) -> Result<Vec<f64>> {
        let old = model.predict_in(&self.codes, precision)?.to_f64();
        let mut all = vec![];
        for mutants in self.edits.chunks(self.batch) {
            let y = model.predict_in(&mutated(&self.codes, mutants.iter()), precision)?.to_f64();
            all.extend(y.chunks_exact(old.len()).flat_map(|y| y.iter().zip(&old).map(|(y, o)| y - o)));
        }
        Ok(all)
    }

    /// How far a sweep over `reference`, and running every mutant in `model` with products as exact as `precision`, are from
    /// the effects in f64.
    ///
    /// # Errors
    /// Those of the operations.
    pub fn errors(&self, model: &Network, reference: &Reference, precision: Precision) -> Result<IsmErrors> {
        let delta = reference.effects(&vec![0; self.edits.len()], &self.edits)?.to_f64();
        let power: f64 = self.effects.iter().map(|v| v * v).sum();
        let error =
            |got: &[f64]| (got.iter().zip(&self.effects).map(|(g, w)| (g - w) * (g - w)).sum::<f64>() / power).sqrt();
        let naive = error(&self.naive(model, precision)?);
        Ok(IsmErrors { mutants: self.edits.len(), delta: error(&delta), naive })
    }
}

fn mutated<'a>(codes: &[u8], edits: impl Iterator<Item = &'a Vec<Edit>>) -> Vec<u8> {
    let mut all = vec![];
    for mutant in edits {
        let from = all.len();
        all.extend_from_slice(codes);
        apply(mutant, &mut all[from..]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_measured_and_exact() {
        let mut case = IsmCase::new(ZooName::SeqToFunc251, Some(20), 1.0).unwrap();
        assert_eq!((case.mutants(), case.edits.len()), (20, 20));
        let (s, share) = case.reference_s().unwrap();
        assert!(s > 0.0 && share == 20.0 / 753.0 && case.delta_s().unwrap() > 0.0 && case.naive_s().unwrap() > 0.0);
        let (naive, delta) = case.products();
        assert!(naive / delta > 5.0 && naive / delta < 8.0, "{naive} {delta}");
        let errors = case.errors(9).unwrap();
        assert!(errors.delta < 1e-5 && errors.delta < errors.naive, "{errors:?}");
    }
}
