//! From the bins of a profile to the values that predictions and effects of mutations are about.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::ops;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// What is read from the bins of every track.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Readout {
    /// Their sum: one value a track.
    #[default]
    Sum,
    /// Their sum with these weights: one value a track.
    Weights(Arc<[f64]>),
    /// All of them: a value a bin, the bins of a track side by side.
    Bins,
}

impl Readout {
    /// Their mean.
    pub fn mean(bins: usize) -> Self {
        Self::Weights(vec![1.0 / bins as f64; bins].into())
    }

    /// The sum of the bins `from..to`.
    ///
    /// # Errors
    /// [`Error::Argument`] if they are not all there, or none.
    pub fn window(bins: usize, from: usize, to: usize) -> Result<Self> {
        if from >= to || to > bins {
            let what = format!("bins {from}..{to} of {bins}: expected a range within them");
            return Err(Error::Argument { op: "readout", what });
        }
        Ok(Self::Weights((0..bins).map(|b| f64::from(u8::from((from..to).contains(&b)))).collect()))
    }

    /// Values that are read from `tracks` tracks of `bins` bins.
    pub fn values(&self, tracks: usize, bins: usize) -> usize {
        if *self == Self::Bins { tracks * bins } else { tracks }
    }

    /// The values of one track with these bins.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of weights than bins.
    pub fn read(&self, bins: &[f64]) -> Result<Vec<f64>> {
        self.check(bins.len())?;
        Ok(match self {
            Self::Bins => bins.to_vec(),
            Self::Sum => vec![bins.iter().sum()],
            // Bins that do not count may be missing.
            Self::Weights(w) => vec![bins.iter().zip(w.iter()).filter(|(_, w)| **w != 0.0).map(|(b, w)| b * w).sum()],
        })
    }

    /// Refuses weights for another number of bins.
    pub(super) fn check(&self, bins: usize) -> Result<()> {
        match self {
            Self::Weights(w) if w.len() != bins => {
                let what = format!("expected {bins} weights, one a bin; found {}", w.len());
                Err(Error::Argument { op: "readout", what })
            }
            _ => Ok(()),
        }
    }

    /// The values `[N, tracks]` or `[N, tracks * bins]` of profiles `[N, tracks, bins]`.
    pub(super) fn of(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        let [_, _, bins] = x.value.dims("readout", "x [N, T, bins]")?;
        let weights = match self {
            Self::Bins => return ops::flatten(tape, x),
            Self::Sum => vec![1.0; bins],
            Self::Weights(w) => w.to_vec(),
        };
        let weights = Tensor::new(&[bins, 1], weights)?.to_dtype(x.value.dtype())?.to_device(&x.value.device())?;
        let y = ops::linear(tape, x, &Var::constant(weights), None)?;
        ops::flatten(tape, &y)
    }
}
