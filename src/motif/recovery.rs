//! How well per-position scores of an attribution find the sites that were planted.

use std::ops::Range;

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::stat;

/// How the effects of the bases at one position become one number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Combine {
    /// Largest absolute effect: the strongest mutation of the position.
    #[default]
    Max,
    /// Sum of the absolute effects over the bases.
    Sum,
}

/// One score a position, [N, L], from effects [N, 4, L]: absolute values combined over the four bases. The effect of
/// the base that the sequence has is 0 in a mutagenesis map, so it does not count.
///
/// # Errors
/// [`Error::Shape`] when the number of effects is no multiple of `4 length`.
pub fn position_scores(effects: &[f32], length: usize, combine: Combine) -> Result<Vec<f64>> {
    if length == 0 || !effects.len().is_multiple_of(4 * length) {
        let expected = format!("[N, 4, {length}]");
        return Err(Error::Shape { op: "position_scores", arg: "effects", expected, found: vec![effects.len()] });
    }
    let mut scores = Vec::with_capacity(effects.len() / 4);
    for map in effects.chunks_exact(4 * length) {
        scores.extend((0..length).map(|i| {
            let bases = (0..4).map(|b| f64::from(map[b * length + i]).abs());
            match combine {
                // f64::max would hide a NaN.
                Combine::Max => bases.fold(0.0, |m, v| if v > m || v.is_nan() { v } else { m }),
                Combine::Sum => bases.sum(),
            }
        }));
    }
    Ok(scores)
}

/// Recovery of planted positions, each number averaged over `sequences` sequences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Recovery {
    /// Sequences that were used: those with at least one planted and one other position.
    pub sequences: usize,
    /// Share of the planted positions among the k best-scoring positions, k being their number in the sequence. Where
    /// equal scores straddle the k-th place, each counts with the chance of being drawn.
    pub at_k: f64,
    /// Area under the ROC curve of planted against other positions.
    pub auroc: f64,
    /// Average precision of planted positions.
    pub average_precision: f64,
    /// What a random order of the positions would give.
    pub chance: Chance,
}

/// Exact expectations under a random order of the positions, averaged over the same sequences.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Chance {
    /// `k / L`.
    pub at_k: f64,
    /// One half.
    pub auroc: f64,
    /// `(H + (k - 1) (L - H) / (L - 1)) / L` with `H = 1 + 1/2 + ... + 1/L`; a little above `k / L`.
    pub average_precision: f64,
}

/// Compares scores [N, L] (higher = more important) with the planted intervals of every sequence, 0-based half-open;
/// overlapping intervals count once. All numbers are NaN when no sequence can be used.
///
/// # Errors
/// [`Error::Shape`] when scores and truth do not fit, [`Error::Argument`] for an interval outside the sequence or a
/// score that is NaN.
pub fn recovery(scores: &[f64], length: usize, truth: &[Vec<Range<usize>>]) -> Result<Recovery> {
    if scores.len() != length * truth.len() {
        let expected = format!("[N, L] = [{}, {length}]", truth.len());
        return Err(Error::Shape { op: "recovery", arg: "scores", expected, found: vec![scores.len()] });
    }
    let rows: Vec<Option<[f64; 5]>> = (0..truth.len())
        .into_par_iter()
        .map(|n| one_sequence(n, &scores[n * length..(n + 1) * length], &truth[n]))
        .collect::<Result<_>>()?;
    let used: Vec<[f64; 5]> = rows.into_iter().flatten().collect();
    let average = |column: usize| used.iter().map(|row| row[column]).sum::<f64>() / used.len() as f64;
    let chance = Chance { at_k: average(3), auroc: 0.5, average_precision: average(4) };
    Ok(Recovery {
        sequences: used.len(),
        at_k: average(0),
        auroc: average(1),
        average_precision: average(2),
        chance: if used.is_empty() { Chance { auroc: f64::NAN, ..chance } } else { chance },
    })
}

/// At k, AUROC, average precision, and chance of the first and the last; nothing without both kinds of positions.
fn one_sequence(n: usize, scores: &[f64], truth: &[Range<usize>]) -> Result<Option<[f64; 5]>> {
    let refuse = |what: String| Err(Error::Argument { op: "recovery", what: format!("sequence {n}: {what}") });
    let length = scores.len();
    if let Some(i) = scores.iter().position(|s| s.is_nan()) {
        return refuse(format!("the score of position {i} is NaN"));
    }
    let mut planted = vec![false; length];
    for interval in truth {
        if interval.start > interval.end || interval.end > length {
            return refuse(format!("interval {}-{} is not inside 0-{length}", interval.start, interval.end));
        }
        planted[interval.clone()].fill(true);
    }
    let k = planted.iter().filter(|p| **p).count();
    if k == 0 || k == length {
        return Ok(None);
    }
    let mut sorted = scores.to_vec();
    sorted.sort_unstable_by(|a, b| b.total_cmp(a));
    let cut = sorted[k - 1];
    let planted_where =
        |keep: &dyn Fn(f64) -> bool| planted.iter().zip(scores).filter(|(p, s)| **p && keep(**s)).count();
    let above = scores.iter().filter(|s| **s > cut).count();
    let tied = scores.iter().filter(|s| **s == cut).count();
    let share = (k - above) as f64 / tied as f64;
    let found = planted_where(&|s| s > cut) as f64 + planted_where(&|s| s == cut) as f64 * share;
    let (size, l) = (k as f64, length as f64);
    let harmonic: f64 = (1..=length).map(|i| 1.0 / i as f64).sum();
    let expected_precision = (harmonic + (size - 1.0) * (l - harmonic) / (l - 1.0)) / l;
    let (auroc, precision) = (stat::auroc(&planted, scores), stat::auprc(&planted, scores));
    Ok(Some([found / size, auroc, precision, size / l, expected_precision]))
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init)]
mod tests {
    use super::*;
    use crate::util::philox::Philox;

    #[test]
    fn perfect_reversed_and_constant_scores() {
        let truth = vec![vec![1..3], vec![0..1, 4..5]];
        let perfect = [0.0, 3.0, 2.0, 1.0, 0.5, 9.0, 1.0, 2.0, 3.0, 8.0];
        let r = recovery(&perfect, 5, &truth).unwrap();
        assert_eq!((r.sequences, r.at_k, r.auroc, r.average_precision), (2, 1.0, 1.0, 1.0));
        assert!((r.chance.at_k - 0.4).abs() < 1e-15 && r.chance.auroc == 0.5);
        let reversed: Vec<f64> = perfect.iter().map(|s| -s).collect();
        let r = recovery(&reversed, 5, &truth).unwrap();
        assert_eq!((r.at_k, r.auroc), (0.0, 0.0));
        let r = recovery(&[1.0; 10], 5, &truth).unwrap();
        assert!((r.at_k - 0.4).abs() < 1e-15 && r.auroc == 0.5, "{r:?}");
    }

    #[test]
    fn random_scores_meet_the_expectation() {
        let mut random = Philox::new(3, 0);
        let (sequences, length) = (4000, 23);
        let scores: Vec<f64> = (0..sequences * length).map(|_| random.uniform()).collect();
        let truth = vec![vec![3..8, 6..9]; sequences];
        let r = recovery(&scores, length, &truth).unwrap();
        assert!((r.chance.at_k - 6.0 / 23.0).abs() < 1e-12, "{r:?}");
        assert!((r.at_k - r.chance.at_k).abs() < 0.01, "{r:?}");
        assert!((r.auroc - 0.5).abs() < 0.01, "{r:?}");
        assert!((r.average_precision - r.chance.average_precision).abs() < 0.01, "{r:?}");
        assert!(r.chance.average_precision > r.chance.at_k + 0.02, "{r:?}");
    }

    #[test]
    fn sequences_without_both_kinds_are_left_out() {
        let r = recovery(&[0.0; 6], 3, &[vec![], vec![0..3]]).unwrap();
        assert!(r.sequences == 0 && r.at_k.is_nan() && r.chance.auroc.is_nan());
        let r = recovery(&[0.0, 0.0, 0.0, 1.0, 0.0, 0.0], 3, &[vec![], vec![0..1]]).unwrap();
        assert_eq!((r.sequences, r.at_k), (1, 1.0));
        assert_eq!(recovery(&[], 7, &[]).unwrap().sequences, 0);
    }

    #[test]
    fn bad_input_is_refused() {
        let message = recovery(&[0.0; 5], 5, &[vec![3..6]]).unwrap_err().to_string();
        assert_eq!(message, "recovery: sequence 0: interval 3-6 is not inside 0-5");
        let message = recovery(&[0.0, f64::NAN], 2, &[vec![0..1]]).unwrap_err().to_string();
        assert_eq!(message, "recovery: sequence 0: the score of position 1 is NaN");
        assert!(recovery(&[0.0; 5], 4, &[vec![]]).is_err());
        assert!(position_scores(&[0.0; 7], 2, Combine::Max).is_err() && position_scores(&[], 0, Combine::Max).is_err());
    }

    #[test]
    fn effects_become_position_scores() {
        // [2, 4, 2]: bases are rows, positions columns.
        let effects = [0.0, -3.0, 1.0, 0.0, -2.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, f32::NAN, 4.0, 1.0];
        let max = position_scores(&effects, 2, Combine::Max).unwrap();
        assert_eq!(max[..3], [2.0, 3.0, 4.0]);
        assert!(max[3].is_nan());
        assert_eq!(position_scores(&effects, 2, Combine::Sum).unwrap()[..3], [3.5, 4.0, 4.0]);
    }
}
