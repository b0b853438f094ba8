//! Motifs: position weight matrices, MEME files, scanning, and how well an attribution finds planted sites.
//!
//! Sequences are packed bases, one code a byte: 0, 1, 2, 3 = A, C, G, T; anything above is unknown.

pub mod meme;
pub mod recovery;
mod scan;

pub use scan::{Hit, Scanner};

use crate::error::{Error, Result};

/// Base letters in the order of the codes.
const LETTERS: [u8; 4] = *b"ACGT";

/// IUPAC letter of a set of bases, bit `1 << code`; the empty set stands for any base.
const IUPAC: [u8; 16] = *b"NACMGRSVTWYHKDBN";

/// Largest deviation of a row sum from 1: files are rounded, some to two decimals.
const ROW_SUM_TOLERANCE: f64 = 0.05;

/// Strand of a double-stranded sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Strand {
    /// As written.
    Forward,
    /// Reverse complement.
    Reverse,
}

impl Strand {
    /// `+` or `-`, as in BED files.
    pub fn symbol(self) -> char {
        match self {
            Self::Forward => '+',
            Self::Reverse => '-',
        }
    }
}

/// A motif as base probabilities a position, in the order A, C, G, T.
#[derive(Debug, Clone, PartialEq)]
pub struct Pwm {
    /// Name.
    pub name: String,
    /// Probabilities, one row a position; each row sums to 1.
    pub probabilities: Vec<[f64; 4]>,
}

impl Pwm {
    /// A motif of checked probabilities; rows that a file has rounded are scaled to sum to 1.
    ///
    /// # Errors
    /// [`Error::Argument`] for no rows, a negative or infinite value, or a row sum off 1 by more than 0.05.
    pub fn new(name: impl Into<String>, mut probabilities: Vec<[f64; 4]>) -> Result<Self> {
        let name = name.into();
        let refuse = |what: String| Err(Error::Argument { op: "motif", what: format!("'{name}' {what}") });
        if probabilities.is_empty() {
            return refuse("has no positions".into());
        }
        for (i, row) in probabilities.iter_mut().enumerate() {
            let sum: f64 = row.iter().sum();
            let valid = row.iter().all(|p| *p >= 0.0) && (sum - 1.0).abs() <= ROW_SUM_TOLERANCE;
            if !valid {
                return refuse(format!("position {}: expected four probabilities that sum to 1, found {row:?}", i + 1));
            }
            row.iter_mut().for_each(|p| *p /= sum);
        }
        Ok(Self { name, probabilities })
    }

    /// Number of positions.
    pub fn width(&self) -> usize {
        self.probabilities.len()
    }

    /// The motif of the other strand, under the same name.
    pub fn reverse_complement(&self) -> Self {
        let probabilities = self.probabilities.iter().rev().map(|[a, c, g, t]| [*t, *g, *c, *a]).collect();
        Self { name: self.name.clone(), probabilities }
    }

    /// Information content of each position in bits against a uniform background, `2 + sum p log2 p`: 0 to 2.
    pub fn information(&self) -> Vec<f64> {
        let entropy = |row: &[f64; 4]| -> f64 { row.iter().filter(|p| **p > 0.0).map(|p| p * p.log2()).sum() };
        self.probabilities.iter().map(|row| 2.0 + entropy(row)).collect()
    }

    /// Sum of [`Pwm::information`]: bits of the whole motif.
    pub fn information_content(&self) -> f64 {
        self.information().iter().sum()
    }

    /// The most probable base of each position; the first of A, C, G, T among equals.
    pub fn consensus(&self) -> String {
        self.consensus_codes().iter().map(|&c| char::from(LETTERS[usize::from(c)])).collect()
    }

    /// [`Pwm::consensus`] as base codes.
    pub fn consensus_codes(&self) -> Vec<u8> {
        let best = |row: &[f64; 4]| (1..4).fold(0, |best, b| if row[b] > row[best] { b } else { best }) as u8;
        self.probabilities.iter().map(best).collect()
    }

    /// One IUPAC letter a position for the set of bases with a probability above `threshold` (0.25 is usual; 0.3 for
    /// kernels); N where no base or every base is above.
    pub fn iupac(&self, threshold: f64) -> String {
        let letter = |row: &[f64; 4]| {
            let set = (0..4).filter(|&b| row[b] > threshold).fold(0, |set, b| set | 1 << b);
            char::from(IUPAC[set])
        };
        self.probabilities.iter().map(letter).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Pwm {
        let rows = vec![[0.97, 0.01, 0.01, 0.01], [0.0, 0.0, 1.0, 0.0], [0.1, 0.4, 0.4, 0.1], [0.25; 4]];
        Pwm::new("m", rows).unwrap()
    }

    #[test]
    fn letters_and_strands() {
        let m = example();
        assert_eq!((m.width(), m.consensus().as_str(), m.iupac(0.25).as_str()), (4, "AGCA", "AGSN"));
        assert_eq!(m.iupac(0.05), "AGNN");
        let r = m.reverse_complement();
        assert_eq!(r.probabilities[2], [0.0, 1.0, 0.0, 0.0]);
        assert_eq!(r.probabilities[3], [0.01, 0.01, 0.01, 0.97]);
        assert_eq!(r.reverse_complement(), m);
        let all: Vec<_> = (1..16usize).map(|s| std::array::from_fn(|b| f64::from((s >> b) as u32 & 1))).collect();
        let all = Pwm { name: "sets".into(), probabilities: all };
        assert_eq!(all.iupac(0.5), "ACMGRSVTWYHKDBN");
    }

    #[test]
    fn information_in_bits() {
        let bits = example().information();
        // 2 + .97 log2 .97 + .03 log2 .01; 2; 2 + .8 log2 .4 + .2 log2 .1; 0
        for (found, expected) in bits.iter().zip([1.758_059_2, 2.0, 0.278_071_9, 0.0]) {
            assert!((found - expected).abs() < 1e-6, "{bits:?}");
        }
        assert!((example().information_content() - 4.036_131_1).abs() < 1e-6);
    }

    #[test]
    fn rows_that_are_no_probabilities_are_refused() {
        for row in [[0.5, 0.5, 0.5, 0.0], [1.5, -0.5, 0.0, 0.0], [f64::NAN, 0.5, 0.5, 0.0], [f64::INFINITY; 4]] {
            let message = Pwm::new("m1", vec![[0.25; 4], row]).unwrap_err().to_string();
            assert!(message.starts_with("motif: 'm1' position 2: expected four probabilities"), "{message}");
        }
        assert_eq!(Pwm::new("m1", vec![]).unwrap_err().to_string(), "motif: 'm1' has no positions");
        let rounded = Pwm::new("m", vec![[0.33, 0.33, 0.33, 0.0]]).unwrap();
        assert!((rounded.probabilities[0].iter().sum::<f64>() - 1.0).abs() < 1e-15);
    }
}
