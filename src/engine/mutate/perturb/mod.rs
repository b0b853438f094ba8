//! Experiments on sequences: motifs put into backgrounds, sites taken out, the distance of two motifs varied, windows hidden, bases
//! deleted and inserted.
//!
//! Whatever replaces bases in place is a set of edits and goes through [`each_block`], so through either engine. Deletions and
//! insertions move all that follows them and are predicted whole. Effects are mutant minus sequence in the model's own units.
//!
//! Positions of a model of several inputs count through all of them, one after the other. No experiment reaches from one input
//! into the next: what does is refused, and bases that move stay in their input.

mod indels;
mod motifs;
mod sites;

use std::ops::Range;

use crate::error::{Error, Result};
use crate::stat;
use crate::tape::Edit;

use super::{Edits, Options, Predictor, each_block};

pub use indels::{delete, insert};
pub use motifs::{Site, Spacing, marginalize, middle, place, sample, space};
pub use sites::{Ablation, Fill, Removal, ablate, occlude, position_means, windows};

/// Edits that are listed at once, about; more sequences wait for the next job.
const LISTED: usize = 4 << 20;

/// Effects of equally many mutants of every sequence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Responses {
    /// Mutants M a sequence.
    pub mutants: usize,
    /// Tracks T.
    pub tracks: usize,
    /// Predictions of the sequences, `[N, T]`.
    pub reference: Vec<f64>,
    /// Effects, `[N, M, T]`.
    pub effects: Vec<f64>,
}

/// Mean of effects over sequences, and its standard error.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    /// Means, `[M, T]`.
    pub mean: Vec<f64>,
    /// Standard deviations (divisor N - 1) over the root of N, `[M, T]`; NaN for one sequence.
    pub error: Vec<f64>,
}

impl Moments {
    /// Those of `values` `[N, M, T]`, where M and T together have `cells` cells.
    pub fn new(values: &[f64], cells: usize) -> Self {
        let column = |i: usize| values.iter().skip(i).step_by(cells.max(1)).copied().collect::<Vec<f64>>();
        let one = |i: usize| {
            let column = column(i);
            (stat::mean(&column), stat::sd(&column) / (column.len() as f64).sqrt())
        };
        let (mean, error) = (0..cells.min(values.len())).map(one).unzip();
        Self { mean, error }
    }
}

impl Responses {
    /// The means over each `every` mutants that follow one another, `[N, M / every, T]`.
    ///
    /// # Errors
    /// [`Error::Argument`] if the mutants are no multiple of `every`.
    pub fn averaged(&self, every: usize) -> Result<Self> {
        if every == 0 || !self.mutants.is_multiple_of(every) {
            return bad("averaged", format!("{} mutants in groups of {every}", self.mutants));
        }
        let tracks = self.tracks;
        let mut effects = Vec::with_capacity(self.effects.len() / every);
        for group in self.effects.chunks_exact((every * tracks).max(1)) {
            effects.extend((0..tracks).map(|t| group.iter().skip(t).step_by(tracks).sum::<f64>() / every as f64));
        }
        Ok(Self { mutants: self.mutants / every, tracks, reference: self.reference.clone(), effects })
    }

    /// Means and standard errors over the sequences.
    pub fn moments(&self) -> Moments {
        Moments::new(&self.effects, self.mutants * self.tracks)
    }
}

/// Predictions of a sequence and the effects of its mutants.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Predictions `[T]`; empty if the sequence has no mutants.
    pub reference: Vec<f64>,
    /// Effects `[M, T]`.
    pub effects: Vec<f64>,
}

/// Runs the mutants that `mutants(n, bases)` lists for every sequence of `sequences` (packed `[N, L]`), and calls `done` with
/// each sequence's outcome, in order. Few sequences are held at a time.
///
/// # Errors
/// Those of [`each_block`], of `mutants` and of `done`.
pub fn outcomes<P: Predictor>(
    model: &P,
    sequences: &[u8],
    options: &Options,
    mut mutants: impl FnMut(usize, &[u8]) -> Result<Vec<Vec<Edit>>>,
    mut done: impl FnMut(usize, Outcome) -> Result<()>,
) -> Result<()> {
    let l = length(model, sequences)?;
    let options = Options { blocks: None, ..options.clone() };
    let count = sequences.len() / l;
    let (mut first, mut listed, mut edits) = (0, vec![], 0);
    for n in 0..count {
        let own = mutants(n, &sequences[n * l..][..l])?;
        edits += own.iter().map(Vec::len).sum::<usize>();
        listed.push(own);
        if edits < LISTED && n + 1 < count {
            continue;
        }
        let job = Edits::Listed(std::mem::take(&mut listed).into());
        let mut part = vec![Outcome::default(); n + 1 - first];
        each_block(model, &sequences[first * l..(n + 1) * l], &job, &options, |block| {
            let own = &mut part[block.sequence];
            own.reference = block.reference;
            own.effects.extend(block.effects);
            Ok(true)
        })?;
        for (i, outcome) in part.into_iter().enumerate() {
            done(first + i, outcome)?;
        }
        (first, edits) = (n + 1, 0);
    }
    Ok(())
}

/// Equally many mutants of every sequence.
fn responses<P: Predictor>(
    model: &P,
    sequences: &[u8],
    options: &Options,
    mutants: impl FnMut(usize, &[u8]) -> Result<Vec<Vec<Edit>>>,
    progress: &mut dyn FnMut(usize),
) -> Result<Responses> {
    let mut all = Responses::default();
    outcomes(model, sequences, options, mutants, |n, outcome| {
        all.tracks = outcome.reference.len();
        all.mutants = outcome.effects.len() / all.tracks.max(1);
        all.reference.extend(outcome.reference);
        all.effects.extend(outcome.effects);
        progress(n + 1);
        Ok(())
    })?;
    Ok(all)
}

/// The edits that change something; the first alone if none does.
fn changes(sequence: &[u8], edits: Vec<Edit>) -> Vec<Edit> {
    let first = edits.first().copied();
    let mut edits: Vec<Edit> = edits.into_iter().filter(|e| sequence[e.at] != e.to).collect();
    if edits.is_empty() {
        edits.extend(first);
    }
    edits
}

/// The model's length, of which `sequences` must be a whole number.
fn length<P: Predictor>(model: &P, sequences: &[u8]) -> Result<usize> {
    model.count(sequences).map(|_| model.length())
}

/// The input that positions lie in, all of them.
fn holding<P: Predictor>(model: &P, positions: &Range<usize>) -> Option<Range<usize>> {
    model.spans().into_iter().find(|span| span.start <= positions.start && positions.end <= span.end)
}

fn bad<T>(op: &'static str, what: String) -> Result<T> {
    Err(Error::Argument { op, what })
}

#[cfg(test)]
mod tests;
