//! All single substitutions of one sequence, in one call.

use std::ops::Range;

use crate::error::Result;

use super::{Edit, Edits, Engine, Options, Predictor, each_block};

/// Which substitutions to run, and how.
#[derive(Clone, Debug, Default)]
pub struct IsmOptions {
    /// Positions; all if `None`.
    pub positions: Option<Range<usize>>,
    /// Tracks in the order of the output; all if `None`.
    pub tracks: Option<Vec<usize>>,
    /// What runs the mutants.
    pub engine: Engine,
    /// Mutants a batch of the naive engine; chosen from the size of the model if `None`.
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

/// Runs all single substitutions of `sequence`, packed bases of the model's input length.
///
/// # Errors
/// [`crate::Error::Shape`] for another length, [`crate::Error::Argument`] for positions or tracks that are not there.
pub fn substitutions<P: Predictor>(model: &P, sequence: &[u8], options: &IsmOptions) -> Result<Effects> {
    let positions = options.positions.clone().unwrap_or(0..sequence.len());
    let how =
        Options { engine: options.engine, tracks: options.tracks.clone(), batch: options.batch, ..Options::default() };
    let tracks = how.tracks.as_ref().map_or(model.tracks(), Vec::len);
    let (mut reference, mut effects) = (vec![], vec![]);
    // Not before the job has checked the positions: their number may be anything.
    each_block(model, sequence, &Edits::Substitutions(positions.clone()), &how, |block| {
        effects.resize(tracks * 4 * positions.len(), 0f32);
        place(&block.edits, &block.effects, tracks, positions.clone(), &mut effects);
        reference = block.reference.iter().map(|&v| v as f32).collect();
        Ok(true)
    })?;
    Ok(Effects { reference, effects })
}

/// Writes `values` `[M, T]` of single substitutions into `table`, `[T, 4, P]` over `positions`, rounded to f32.
///
/// # Panics
/// If the table has another size, or a mutant is no single substitution at one of the positions.
pub(super) fn place(edits: &[Vec<Edit>], values: &[f64], tracks: usize, positions: Range<usize>, table: &mut [f32]) {
    let width = positions.len();
    assert_eq!(table.len(), tracks * 4 * width, "a table of {tracks} tracks and {width} positions");
    for (mutant, values) in edits.iter().zip(values.chunks_exact(tracks)) {
        let [edit] = mutant[..] else { panic!("a mutant of {} edits is no substitution", mutant.len()) };
        for (t, &value) in values.iter().enumerate() {
            table[(t * 4 + usize::from(edit.to)) * width + edit.at - positions.start] = value as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::network;
    use super::*;
    use crate::model::Network;
    use crate::tape::{Delta, Keep, Mode, Tape};
    use crate::tensor::{DType, Tensor};

    #[test]
    fn equals_the_delta_sweep_and_every_batch_size() {
        let net = network(20, "");
        let sequence: Vec<u8> = (0..20).map(|i| [0, 2, 1, 3, 4][i % 5]).collect();
        let naive = IsmOptions { engine: Engine::Naive, ..IsmOptions::default() };
        let all = substitutions(&net, &sequence, &naive).unwrap();
        for batch in [1, 7, 500] {
            let options = IsmOptions { batch: Some(batch), ..naive.clone() };
            assert_eq!(substitutions(&net, &sequence, &options).unwrap(), all);
        }
        let options = IsmOptions { positions: Some(3..9), tracks: Some(vec![2, 0]), batch: Some(4), ..naive };
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
        let heads = Network::forward(&wide, &mut tape, &bound, std::slice::from_ref(&x)).unwrap();
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
