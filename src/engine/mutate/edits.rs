//! Which mutants a job has: one form for everything that changes bases in place.

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::seq::UNIFORM;
use crate::tape::{Edit, twice};

/// Positions of a block of substitutions, and a third of the mutants of a block of listed ones. Blocks are the unit of output,
/// of resuming and of sharding, so their borders depend on the job alone: never on memory or threads.
pub(super) const POSITIONS: usize = 256;

/// Makes the edits of a mutant to the bases of its sequence.
pub fn apply(edits: &[Edit], codes: &mut [u8]) {
    edits.iter().for_each(|e| codes[e.at] = e.to);
}

/// The mutants of every sequence of a job.
#[derive(Clone, Debug)]
pub enum Edits {
    /// Every single substitution at these positions, position by position, bases in the order A C G T. An unknown base has
    /// four mutants, a uniform one none.
    Substitutions(Range<usize>),
    /// For every sequence its mutants, each a set of positions with new bases.
    Listed(Arc<[Vec<Vec<Edit>>]>),
}

impl Edits {
    /// Refuses edits that sequences of this length cannot have.
    ///
    /// # Errors
    /// [`Error::Argument`].
    pub(super) fn check(&self, sequences: usize, length: usize) -> Result<()> {
        let bad = |what: String| Err(Error::Argument { op: "mutate", what });
        match self {
            Self::Substitutions(r) if r.start >= r.end || r.end > length => {
                bad(format!("expected a range of positions within 0..{length}, found {r:?}"))
            }
            Self::Listed(all) if all.len() != sequences => {
                bad(format!("lists of mutants for {} sequences, there are {sequences}", all.len()))
            }
            Self::Listed(all) => {
                for (n, mutants) in all.iter().enumerate() {
                    for (i, mutant) in mutants.iter().enumerate() {
                        if mutant.is_empty() {
                            return bad(format!("mutant {i} of sequence {n} has no edit"));
                        }
                        if let Some(e) = mutant.iter().find(|e| e.at >= length || e.to > 5) {
                            return bad(format!(
                                "mutant {i} of sequence {n} sets position {} to code {}; expected positions below {length} \
                                 and codes 0 to 5",
                                e.at, e.to
                            ));
                        }
                        if let Some(at) = twice(mutant) {
                            return bad(format!("mutant {i} of sequence {n} edits position {at} twice"));
                        }
                    }
                }
                Ok(())
            }
            Self::Substitutions(_) => Ok(()),
        }
    }

    /// Number of blocks of sequence `n`.
    pub fn blocks(&self, n: usize) -> usize {
        match self {
            Self::Substitutions(r) => r.len().div_ceil(POSITIONS),
            Self::Listed(all) => all[n].len().div_ceil(3 * POSITIONS),
        }
    }

    /// The mutants of block `part` of sequence `n`, whose bases are `codes`.
    pub fn block(&self, n: usize, part: usize, codes: &[u8]) -> Vec<Vec<Edit>> {
        match self {
            Self::Substitutions(r) => {
                let positions = substituted(r, part).filter(|&p| codes[p] != UNIFORM);
                let others = |at: usize| (0..4).filter(move |&to| to != codes[at]).map(move |to| vec![Edit { at, to }]);
                positions.flat_map(others).collect()
            }
            Self::Listed(all) => {
                let from = part * 3 * POSITIONS;
                all[n][from..(from + 3 * POSITIONS).min(all[n].len())].to_vec()
            }
        }
    }

    /// The positions of block `part` of substitutions; none of listed mutants, which may be anywhere.
    pub fn positions(&self, part: usize) -> Range<usize> {
        match self {
            Self::Substitutions(r) => substituted(r, part),
            Self::Listed(_) => 0..0,
        }
    }

    /// The widest span of a mutant of the first sequence that has any, and mutants a sequence on average, about.
    pub(super) fn shape(&self, sequences: usize) -> (usize, f64) {
        match self {
            Self::Substitutions(r) => (1, 3.0 * r.len() as f64),
            Self::Listed(all) => {
                let span = |m: &Vec<Edit>| super::reference::extent(m).1;
                let some = all.iter().find(|m| !m.is_empty());
                let span = some.and_then(|m| m.iter().map(span).max()).unwrap_or(1);
                (span, all.iter().map(Vec::len).sum::<usize>() as f64 / sequences.max(1) as f64)
            }
        }
    }
}

/// Positions of a block of substitutions in this range.
fn substituted(range: &Range<usize>, part: usize) -> Range<usize> {
    let from = range.start + part * POSITIONS;
    from..(from + POSITIONS).min(range.end)
}
