//! Checks a job on a sample of its own mutants: each is run whole, in f64.

use std::collections::BTreeMap;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::tensor::DType;
use crate::util::philox::Philox;

use super::edits::apply;
use super::{Block, Predictor};

/// Purpose of the random stream that chooses mutants.
const SAMPLE: u64 = 0x1501_7E57;

/// Collects a sample of a job's effects against the difference of two f64 predictions.
pub struct Verifier<P> {
    model: P,
    share: f64,
    /// Predictions of the sequences that came by, in f64.
    references: BTreeMap<usize, Vec<f64>>,
    mutants: usize,
    /// Sums of squares of the errors and of the effects, and the largest of both.
    error: f64,
    effect: f64,
    largest_error: f64,
    largest_effect: f64,
}

/// What the sample showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verified {
    /// Mutants that were run again.
    pub mutants: usize,
    /// Root of the mean squared error of their effects, relative to that of the effects.
    pub rms: f64,
    /// Largest error, relative to the largest effect.
    pub largest: f64,
}

impl<P: Predictor> Verifier<P> {
    /// Runs this share of the mutants again, one at least; which ones depends on their place in the job alone.
    ///
    /// # Errors
    /// [`Error::Argument`] unless the share lies between 0 and 1.
    pub fn new(model: &P, share: f64) -> Result<Self> {
        if !(share > 0.0 && share <= 1.0) {
            let what = format!("expected a share of the mutants above 0 and up to 1, found {share}");
            return Err(Error::Argument { op: "verify", what });
        }
        let model = model.to_device(&Device::Cpu)?.to_dtype(DType::F64)?;
        let none = BTreeMap::new();
        let (mutants, error, effect, largest_error, largest_effect) = (0, 0.0, 0.0, 0.0, 0.0);
        Ok(Self { model, share, references: none, mutants, error, effect, largest_error, largest_effect })
    }

    /// Looks at a block of the job: effects of `tracks` on a sequence of packed bases `codes`.
    ///
    /// # Errors
    /// Those of the model.
    pub fn check(&mut self, block: &Block, codes: &[u8], tracks: &[usize]) -> Result<()> {
        let mut random = Philox::new(block.index as u64, SAMPLE);
        let mut sample: Vec<usize> = (0..block.edits.len()).filter(|_| random.uniform() < self.share).collect();
        if sample.is_empty() && self.mutants == 0 && !block.edits.is_empty() {
            sample.push(block.edits.len() / 2);
        }
        if sample.is_empty() {
            return Ok(());
        }
        if !self.references.contains_key(&block.sequence) {
            // Blocks come in the order of the sequences.
            self.references.clear();
            self.references.insert(block.sequence, self.model.predict(codes)?.to_f64());
        }
        let reference = &self.references[&block.sequence];
        for m in sample {
            let mut mutant = codes.to_vec();
            apply(&block.edits[m], &mut mutant);
            let y = self.model.predict(&mutant)?.to_f64();
            self.mutants += 1;
            for (&t, &got) in tracks.iter().zip(&block.effects[m * tracks.len()..]) {
                let want = y[t] - reference[t];
                let error = (got - want).abs();
                self.error += error * error;
                self.effect += want * want;
                // A NaN stays.
                self.largest_error =
                    if error > self.largest_error || error.is_nan() { error } else { self.largest_error };
                self.largest_effect = self.largest_effect.max(want.abs());
            }
        }
        Ok(())
    }

    /// What came of it.
    pub fn report(&self) -> Verified {
        let ratio = |a: f64, b: f64| if a == 0.0 { 0.0 } else { a / b };
        Verified {
            mutants: self.mutants,
            rms: ratio(self.error, self.effect).sqrt(),
            largest: ratio(self.largest_error, self.largest_effect),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::network;
    use super::super::{Edits, Options, mutate};
    use super::*;

    #[test]
    fn a_sound_job_passes_and_a_broken_one_shows() {
        let net = network(30, "");
        let codes: Vec<u8> = (0..60).map(|i| (i * i % 4) as u8).collect();
        let blocks: Vec<Block> =
            mutate(&net, &codes, Edits::Substitutions(0..30), Options::default()).collect::<Result<_>>().unwrap();
        let report = |blocks: &[Block], share: f64| {
            let mut v = Verifier::new(&net, share).unwrap();
            for b in blocks {
                v.check(b, &codes[b.sequence * 30..][..30], &[0, 1, 2]).unwrap();
            }
            v.report()
        };
        let all = report(&blocks, 1.0);
        assert_eq!(all.mutants, 180);
        assert!(all.rms > 0.0 && all.rms < 1e-5 && all.largest < 1e-5, "{all:?}");
        let some = report(&blocks, 0.1);
        assert!(some.mutants > 5 && some.mutants < 40 && some.rms < 1e-5, "{some:?}");
        assert_eq!(report(&blocks, 1e-9).mutants, 1);
        let mut broken = blocks.clone();
        broken[1].effects[7] += 0.1;
        assert!(report(&broken, 1.0).largest > 1e-3);
        broken[0].effects[1] = f64::NAN;
        assert!(report(&broken, 1.0).rms.is_nan() && report(&broken, 1.0).largest.is_nan());
        for share in [0.0, -1.0, 1.5, f64::NAN] {
            assert!(Verifier::new(&net, share).is_err());
        }
    }
}
