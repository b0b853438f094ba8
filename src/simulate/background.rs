//! Random sequence without motifs.

use crate::error::{Error, Result};
use crate::util::philox::Philox;

/// Where the bases of the background come from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Background {
    /// Independent bases with this GC content; A and T are equally frequent, and so are C and G.
    Gc(f64),
    /// Chances of the next base (column) after each base (row), in the order A, C, G, T; the first base comes from the
    /// stationary distribution.
    Markov([[f64; 4]; 4]),
}

impl Background {
    /// The Markov background of sequences [N, L] of packed bases: counts of neighbouring bases plus one each. Unknown
    /// bases (codes above 3) are left out.
    pub fn estimate(bases: &[u8], length: usize) -> Self {
        let mut counts = [[1.0; 4]; 4];
        for sequence in bases.chunks(length.max(1)) {
            for pair in sequence.windows(2) {
                if let [a @ 0..=3, b @ 0..=3] = *pair {
                    counts[usize::from(a)][usize::from(b)] += 1.0;
                }
            }
        }
        Self::Markov(counts.map(|row| row.map(|count| count / row.iter().sum::<f64>())))
    }

    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Gc(gc) if !(0.0..=1.0).contains(gc) => {
                Err(Error::Usage(format!("background: expected a GC content from 0 to 1, found {gc}")))
            }
            Self::Markov(rows) => {
                let valid =
                    |row: &[f64; 4]| row.iter().all(|p| *p >= 0.0) && (row.iter().sum::<f64>() - 1.0).abs() < 0.01;
                match rows.iter().find(|row| !valid(row)) {
                    None => Ok(()),
                    Some(row) => Err(Error::Usage(format!(
                        "background: expected four chances of the next base that sum to 1, found {row:?}"
                    ))),
                }
            }
            Self::Gc(_) => Ok(()),
        }
    }

    pub(super) fn sampler(&self) -> Sampler {
        match *self {
            Self::Gc(gc) => {
                let row = [(1.0 - gc) / 2.0, gc / 2.0, gc / 2.0, (1.0 - gc) / 2.0];
                Sampler { first: row, next: [row; 4] }
            }
            Self::Markov(next) => Sampler { first: stationary(&next), next },
        }
    }
}

/// A background ready for drawing.
pub(super) struct Sampler {
    first: [f64; 4],
    next: [[f64; 4]; 4],
}

impl Sampler {
    /// A sequence of packed bases.
    pub(super) fn sequence(&self, random: &mut Philox, length: usize) -> Vec<u8> {
        let mut weights = &self.first;
        (0..length)
            .map(|_| {
                let base = choose(random, weights);
                weights = &self.next[usize::from(base)];
                base
            })
            .collect()
    }
}

/// One of four bases with chances proportional to the weights, which must not all be 0.
pub(super) fn choose(random: &mut Philox, weights: &[f64; 4]) -> u8 {
    let mut rest = random.uniform() * weights.iter().sum::<f64>();
    let mut chosen = 0;
    for (base, &weight) in weights.iter().enumerate().filter(|(_, w)| **w > 0.0) {
        chosen = base as u8;
        if rest < weight {
            break;
        }
        rest -= weight;
    }
    chosen
}

/// Stationary distribution of a chain. Each step averages with the previous one, so that a periodic chain settles too.
fn stationary(next: &[[f64; 4]; 4]) -> [f64; 4] {
    (0..2000).fold([0.25; 4], |now, _| {
        let mut then = now.map(|p| p / 2.0);
        for (p, row) in now.iter().zip(next) {
            let sum: f64 = row.iter().sum();
            then.iter_mut().zip(row).for_each(|(t, q)| *t += p * q / sum / 2.0);
        }
        then
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_are_as_asked() {
        let bases = Background::Gc(0.3).sampler().sequence(&mut Philox::new(1, 0), 40_000);
        let share = |b: u8| bases.iter().filter(|x| **x == b).count() as f64 / bases.len() as f64;
        for (base, expected) in [(0, 0.35), (1, 0.15), (2, 0.15), (3, 0.35)] {
            assert!((share(base) - expected).abs() < 0.01, "{base}: {}", share(base));
        }
        let at = Background::Gc(0.0).sampler().sequence(&mut Philox::new(1, 0), 500);
        assert!(at.iter().all(|b| *b == 0 || *b == 3));
    }

    #[test]
    fn a_markov_background_is_found_again() {
        let rows = [[0.4, 0.1, 0.4, 0.1], [0.3, 0.3, 0.05, 0.35], [0.25; 4], [0.1, 0.2, 0.3, 0.4]];
        let bases = Background::Markov(rows).sampler().sequence(&mut Philox::new(2, 0), 80_000);
        let Background::Markov(found) = Background::estimate(&bases, 1000) else { panic!("Markov expected") };
        for (row, expected) in found.iter().zip(rows) {
            assert!(row.iter().zip(expected).all(|(f, e)| (f - e).abs() < 0.015), "{found:?}");
        }
        // A chain that only alternates: A and T in equal parts.
        let period = [[0.0, 0.0, 0.0, 1.0], [0.5, 0.0, 0.0, 0.5], [0.5, 0.0, 0.0, 0.5], [1.0, 0.0, 0.0, 0.0]];
        let balance = stationary(&period);
        assert!((balance[0] - 0.5).abs() < 1e-9 && (balance[3] - 0.5).abs() < 1e-9, "{balance:?}");
        assert_eq!(Background::estimate(&[4, 4], 2), Background::Markov([[0.25; 4]; 4]));
        assert_eq!(Background::estimate(&[], 0), Background::Markov([[0.25; 4]; 4]));
    }
}
