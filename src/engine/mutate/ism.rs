//! What is stored of all substitutions: groups of tracks instead of tracks, a comparison instead of the difference, a gauge.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::model::checkpoint::Scaling;
use crate::stat::{Compare, Gauge, TrackGroups, UNIFORM};

use super::Block;

/// From a block of effects to the numbers that are written, in the units of the targets.
#[derive(Clone, Debug)]
pub struct Reduction {
    /// The tracks that the job computes, in this order.
    pub tracks: Vec<usize>,
    /// Their groups.
    pub groups: TrackGroups,
    /// Predictions of a track are `value * deviation + mean`, and effects `value * deviation`.
    scaling: Vec<(f64, f64)>,
    /// What is compared.
    pub compare: Compare,
    /// Added to both sides of ratios.
    pub pseudocount: f64,
    /// What the four bases are measured against.
    pub gauge: Gauge,
}

impl Reduction {
    /// Of these groups over all tracks of a model; effects as they are otherwise.
    ///
    /// # Errors
    /// [`Error::Argument`] if a comparison over all tracks is to be brought into a gauge that subtracts.
    pub fn new(
        groups: &TrackGroups,
        scaling: Option<&Scaling>,
        compare: Compare,
        pseudocount: f64,
        gauge: Gauge,
    ) -> Result<Self> {
        let additive = !matches!(compare, Compare::Abs | Compare::L2);
        if !additive && !matches!(gauge, Gauge::Ism | Gauge::Local) {
            let what =
                format!("the {} of effects has no sign, so the gauge {} means nothing", compare.name(), gauge.name());
            return Err(Error::Argument { op: "ism", what });
        }
        let (tracks, groups) = groups.compact();
        let scaling = tracks.iter().map(|&t| Scaling::of(scaling, t)).collect();
        Ok(Self { tracks, groups, scaling, compare, pseudocount, gauge })
    }

    /// Columns that are written.
    pub fn columns(&self) -> usize {
        self.compare.columns(self.groups.len())
    }

    /// Numbers a position, a column: 4 or 1.
    pub fn rows(&self) -> usize {
        self.gauge.rows()
    }

    /// `[columns, rows, P]` of a block of substitutions at `positions` of a sequence whose bases there are `bases`, and the
    /// predictions `[groups]` of the sequence.
    ///
    /// # Errors
    /// None in practice: the sizes are those of the block.
    pub fn apply(&self, block: &Block, positions: Range<usize>, bases: &[u8]) -> Result<(Vec<f32>, Vec<f32>)> {
        let t = self.tracks.len();
        let scaled = |(v, (d, m)): (&f64, &(f64, f64))| v * d + m;
        let reference: Vec<f64> = block.reference.iter().zip(&self.scaling).map(scaled).collect();
        let reference = self.groups.apply(&reference)?;
        let mut effects = block.effects.clone();
        for row in effects.chunks_exact_mut(t) {
            row.iter_mut().zip(&self.scaling).for_each(|(v, (d, _))| *v *= d);
        }
        let effects = self.compare.apply(&reference, &self.groups.apply(&effects)?, self.pseudocount)?;
        let columns = self.columns();
        let mut table = vec![self.compare.neutral() as f32; columns * 4 * positions.len()];
        super::substitutions::place(&block.edits, &effects, columns, positions, &mut table);
        self.gauge.apply(&mut table, bases, UNIFORM)?;
        Ok((table, reference.iter().map(|&v| v as f32).collect()))
    }
}
