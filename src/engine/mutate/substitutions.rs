//! In-silico mutagenesis: what every single substitution does to every prediction.
//!
//! An effect is `prediction(mutant) - prediction(sequence)`. The engine here is the naive one: it runs every mutant, in batches,
//! so memory depends on the batch and not on the sequence. Every mutant gets the bits that it would get alone.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::model::Network;

use crate::engine::predict::{automatic_batch, outputs};

/// Which substitutions to run, and how many at once.
#[derive(Clone, Debug, Default)]
pub struct IsmOptions {
    /// Positions; all if `None`.
    pub positions: Option<Range<usize>>,
    /// Tracks in the order of the output; all if `None`.
    pub tracks: Option<Vec<usize>>,
    /// Mutants a batch; chosen from the size of the network if `None`.
    pub batch: Option<usize>,
}

/// Effects of one sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Effects {
    /// Prediction of the sequence itself, `[T]` in the order of the chosen tracks.
    pub reference: Vec<f32>,
    /// Alternative minus reference, `[T, 4, P]` over the chosen positions; 0 at the reference base. An unknown base has four
    /// mutants, a uniform one (0.25) none.
    pub effects: Vec<f32>,
}

/// Runs all single substitutions of `sequence`, packed bases of the network's input length.
///
/// # Errors
/// [`Error::Shape`] for another length, [`Error::Argument`] for positions or tracks that are not there.
pub fn substitutions(network: &Network, sequence: &[u8], options: &IsmOptions) -> Result<Effects> {
    let (spec, l) = (network.spec(), sequence.len());
    if l != spec.length {
        return Err(Error::Shape {
            op: "ism",
            arg: "sequence",
            expected: format!("{} bases, the model's input length", spec.length),
            found: vec![l],
        });
    }
    let positions = options.positions.clone().unwrap_or(0..l);
    if positions.start >= positions.end || positions.end > l {
        return Err(Error::Argument {
            op: "ism",
            what: format!("expected a range of positions within 0..{l}, found {positions:?}"),
        });
    }
    let all: Vec<usize> = (0..spec.tracks()).collect();
    let tracks = options.tracks.as_ref().unwrap_or(&all);
    if let Some(t) = tracks.iter().find(|&&t| t >= spec.tracks()) {
        return Err(Error::Argument { op: "ism", what: format!("track {t} of {}", spec.tracks()) });
    }

    let padded = |bases: &[u8]| crate::seq::pad(bases, spec.shift, spec.shift, crate::seq::UNIFORM);
    let reference = outputs(network, &padded(sequence))?;
    let mutants: Vec<(usize, u8)> = positions
        .clone()
        .filter(|&p| sequence[p] != crate::seq::UNIFORM)
        .flat_map(|p| (0..4u8).filter(move |&b| b != sequence[p]).map(move |b| (p, b)))
        .collect();
    let width = positions.len();
    let mut effects = vec![0f32; tracks.len() * 4 * width];
    let batch = options.batch.unwrap_or_else(|| automatic_batch(network)).max(1);
    for batch in mutants.chunks(batch) {
        let mut codes = Vec::with_capacity(batch.len() * spec.padded_length());
        for &(p, b) in batch {
            let mut row = padded(sequence);
            row[spec.shift + p] = b;
            codes.extend(row);
        }
        let y = outputs(network, &codes)?;
        for (y, &(p, b)) in y.chunks_exact(spec.tracks()).zip(batch) {
            for (i, &t) in tracks.iter().enumerate() {
                effects[(i * 4 + b as usize) * width + p - positions.start] = (y[t] - reference[t]) as f32;
            }
        }
    }
    Ok(Effects { reference: tracks.iter().map(|&t| reference[t] as f32).collect(), effects })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::options::{DataFacts, parse_option_string, resolve};
    use crate::tape::{Delta, Edit, Keep, Mode, Tape};
    use crate::tensor::{DType, Tensor};

    fn network(length: usize, more: &str) -> Network {
        let text = format!(
            "num_kernels=5+l_kernels=4+max_pooling=False+weighted_pooling=True+pooling_size=3+dilated_convolutions=2+\
             l_dilkernels=3+conv_batch_norm=True+fclayer_size=6+nfc_layers=2{more}"
        );
        let facts = DataFacts { length, tracks: vec![2, 1], names: vec![], reverse_complement: true };
        Network::new(resolve(&parse_option_string(&text).unwrap(), &facts).unwrap().0, 3).unwrap()
    }

    #[test]
    fn equals_the_delta_sweep_and_every_batch_size() {
        let net = network(20, "");
        let sequence: Vec<u8> = (0..20).map(|i| [0, 2, 1, 3, 4][i % 5]).collect();
        let all = substitutions(&net, &sequence, &IsmOptions::default()).unwrap();
        for batch in [1, 7, 500] {
            let options = IsmOptions { batch: Some(batch), ..IsmOptions::default() };
            assert_eq!(substitutions(&net, &sequence, &options).unwrap(), all);
        }
        let options = IsmOptions { positions: Some(3..9), tracks: Some(vec![2, 0]), batch: Some(4) };
        let some = substitutions(&net, &sequence, &options).unwrap();
        assert_eq!(some.reference, [all.reference[2], all.reference[0]]);
        for (i, t) in [2, 0].into_iter().enumerate() {
            for b in 0..4 {
                assert_eq!(some.effects[(i * 4 + b) * 6..][..6], all.effects[(t * 4 + b) * 20 + 3..][..6]);
            }
        }
        // The delta sweep of the same model in f64.
        let wide = net.to_dtype(DType::F64).unwrap();
        let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
        let x = tape.leaf(Tensor::bases(1, 20, sequence.clone()).unwrap());
        let bound = wide.parameters().bind(&mut tape, false).unwrap();
        let heads = wide.forward(&mut tape, &bound, &x).unwrap();
        for (p, &base) in sequence.iter().enumerate() {
            for to in (0..4).filter(|&b| b != base) {
                let seed = Delta::edits(vec![vec![Edit { at: p, to }]], 20).unwrap();
                let d = tape.delta(vec![(x.node.unwrap(), seed)], &[0], &[heads[0].node.unwrap()]).unwrap();
                for (t, want) in d[0].as_ref().unwrap().rows().unwrap().to_f64().into_iter().enumerate() {
                    let got = f64::from(all.effects[(t * 4 + to as usize) * 20 + p]);
                    assert!((got - want).abs() < 1e-6, "{p} {to} {t}: {got} {want}");
                }
            }
        }
    }

    #[test]
    fn uniform_bases_have_no_mutants_and_bad_requests_are_refused() {
        let net = network(12, "+shift_sequence=2+random_shift=1");
        let mut sequence = vec![1u8; 12];
        sequence[4] = 5;
        let all = substitutions(&net, &sequence, &IsmOptions::default()).unwrap();
        assert!((0..3 * 4).all(|row| all.effects[row * 12 + 4] == 0.0));
        assert!(all.effects.iter().any(|&v| v != 0.0));
        let refuse = |options: IsmOptions| substitutions(&net, &sequence, &options).unwrap_err().to_string();
        assert!(refuse(IsmOptions { positions: Some(5..13), ..Default::default() }).contains("0..12"));
        assert!(refuse(IsmOptions { tracks: Some(vec![3]), ..Default::default() }).contains("track 3 of 3"));
        assert!(substitutions(&net, &sequence[1..], &IsmOptions::default()).is_err());
    }
}
