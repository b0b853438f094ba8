//! Where a motif occurs in a sequence, on both strands.

use super::{Pwm, Strand};
use crate::error::{Error, Result};

/// One occurrence of a motif.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// First position, 0-based on the forward strand.
    pub start: usize,
    /// Position after the last.
    pub end: usize,
    /// Strand on which the motif reads from 5' to 3'.
    pub strand: Strand,
    /// Log-odds score in bits.
    pub score: f64,
}

/// Log-odds scores of a motif, ready for scanning both strands.
#[derive(Debug, Clone)]
pub struct Scanner {
    forward: Vec<[f64; 5]>, // one row a position: scores of A, C, G, T, unknown
    reverse: Vec<[f64; 5]>,
}

impl Scanner {
    /// Scores `log2((p + pseudo b) / ((1 + pseudo) b))` of every base with background `b` in the order A, C, G, T.
    /// A `pseudo` of 0 makes forbidden bases minus infinity; 1e-4 is usual.
    ///
    /// # Errors
    /// [`Error::Argument`] for a background that does not hold four positive frequencies that sum to 1, or a negative
    /// `pseudo`.
    pub fn new(pwm: &Pwm, background: [f64; 4], pseudo: f64) -> Result<Self> {
        let refuse = |what| Err(Error::Argument { op: "motif scan", what });
        if !background.iter().all(|b| *b > 0.0) || (background.iter().sum::<f64>() - 1.0).abs() > 0.01 {
            return refuse(format!(
                "the background must be four positive frequencies that sum to 1, found {background:?}"
            ));
        }
        if !(pseudo >= 0.0 && pseudo.is_finite()) {
            return refuse(format!("the pseudocount must be 0 or more, found {pseudo}"));
        }
        let scores = |rows: &[[f64; 4]]| {
            let score = |p: f64, b: f64| ((p + pseudo * b) / ((1.0 + pseudo) * b)).log2();
            let row = |p: &[f64; 4]| std::array::from_fn(|b| if b < 4 { score(p[b], background[b]) } else { 0.0 });
            rows.iter().map(row).collect()
        };
        Ok(Self { forward: scores(&pwm.probabilities), reverse: scores(&pwm.reverse_complement().probabilities) })
    }

    /// Number of positions of the motif.
    pub fn width(&self) -> usize {
        self.forward.len()
    }

    /// Highest score that a sequence can reach.
    pub fn max_score(&self) -> f64 {
        let best = |row: &[f64; 5]| row[..4].iter().copied().fold(f64::NEG_INFINITY, f64::max);
        self.forward.iter().map(best).sum()
    }

    /// Scores in bits of every start 0..=L - width on the forward and on the reverse strand; both empty for a sequence
    /// shorter than the motif. Codes above 3 are unknown bases and count 0, as the background does.
    pub fn scores(&self, sequence: &[u8]) -> [Vec<f64>; 2] {
        [&self.forward, &self.reverse].map(|rows| sequence.windows(rows.len()).map(|w| score(rows, w)).collect())
    }

    /// All occurrences that score at least `threshold` bits, by start, forward before reverse.
    pub fn hits(&self, sequence: &[u8], threshold: f64) -> Vec<Hit> {
        let mut hits = Vec::new();
        self.each(sequence, |hit| {
            if hit.score >= threshold {
                hits.push(hit);
            }
        });
        hits
    }

    /// The best occurrence, the first among equals; nothing for a sequence shorter than the motif.
    pub fn best(&self, sequence: &[u8]) -> Option<Hit> {
        let mut best: Option<Hit> = None;
        self.each(sequence, |hit| {
            if best.is_none_or(|b| hit.score > b.score) {
                best = Some(hit);
            }
        });
        best
    }

    fn each(&self, sequence: &[u8], mut visit: impl FnMut(Hit)) {
        for (start, window) in sequence.windows(self.width()).enumerate() {
            let end = start + self.width();
            visit(Hit { start, end, strand: Strand::Forward, score: score(&self.forward, window) });
            visit(Hit { start, end, strand: Strand::Reverse, score: score(&self.reverse, window) });
        }
    }
}

fn score(rows: &[[f64; 5]], window: &[u8]) -> f64 {
    rows.iter().zip(window).map(|(row, &code)| row[usize::from(code.min(4))]).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFORM: [f64; 4] = [0.25; 4];

    fn motif() -> Pwm {
        // AGT, strict in the first two positions
        Pwm::new("m", vec![[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.1, 0.1, 0.1, 0.7]]).unwrap()
    }

    #[test]
    fn both_strands_are_found() {
        let scanner = Scanner::new(&motif(), UNIFORM, 0.0).unwrap();
        let sequence = [2, 0, 2, 3, 1, 0, 1, 3, 1]; // G AGT C ACT C: AGT at 1, its reverse complement ACT at 5
        let top = 4.0 + (0.7f64 / 0.25).log2();
        let hits = scanner.hits(&sequence, 5.0);
        let places: Vec<_> = hits.iter().map(|h| (h.start, h.end, h.strand)).collect();
        assert_eq!(places, [(1, 4, Strand::Forward), (5, 8, Strand::Reverse)]);
        assert!(hits.iter().all(|h| (h.score - top).abs() < 1e-12) && (scanner.max_score() - top).abs() < 1e-12);
        assert_eq!(scanner.best(&sequence).unwrap(), hits[0]);
        let [forward, reverse] = scanner.scores(&sequence);
        assert_eq!((forward.len(), reverse.len()), (7, 7));
        assert_eq!((forward[1], reverse[5]), (hits[0].score, hits[1].score));
        assert_eq!(forward[0], f64::NEG_INFINITY);
    }

    #[test]
    fn unknown_bases_count_nothing_and_short_sequences_have_no_hits() {
        let scanner = Scanner::new(&motif(), [0.3, 0.2, 0.2, 0.3], 1e-4).unwrap();
        let [forward, reverse] = scanner.scores(&[4, 5, 255]);
        assert_eq!((forward, reverse), (vec![0.0], vec![0.0]));
        let expected = ((1.0 + 1e-4 * 0.3) / (1.0001 * 0.3f64)).log2();
        assert!((scanner.scores(&[0, 4, 4])[0][0] - expected).abs() < 1e-12);
        assert!(scanner.best(&[0, 2]).is_none() && scanner.hits(&[], 0.0).is_empty());
    }

    #[test]
    fn a_bad_background_is_refused() {
        let message = Scanner::new(&motif(), [0.5, 0.5, 0.0, 0.0], 0.0).unwrap_err().to_string();
        assert!(message.contains("four positive frequencies"), "{message}");
        assert!(Scanner::new(&motif(), [0.5; 4], 0.0).is_err() && Scanner::new(&motif(), UNIFORM, -1.0).is_err());
    }
}
