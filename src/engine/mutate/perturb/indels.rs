//! Bases deleted and inserted.

use crate::engine::mutate::Engine;
use crate::engine::mutate::predictor::{batch_size, tracks};
use crate::error::{Error, Result};
use crate::seq::UNKNOWN;

use super::{Options, Predictor, Responses, bad, length};

/// What it does to delete `width` bases from each of `positions` on: what follows moves to the left, and the free places at the
/// right end take the sequence's `flank` (`[N, F]`, the bases that follow it; F may be 0) and unknown bases after it. `[N, P, T]`.
///
/// # Errors
/// `Error::Argument` for a width of 0, positions whose deletion reaches over the end, or flanks of another number of sequences;
/// those of the model.
pub fn delete<P: Predictor>(
    model: &P,
    sequences: &[u8],
    flanks: &[u8],
    width: usize,
    positions: &[usize],
    options: &Options,
    progress: &mut dyn FnMut(usize),
) -> Result<Responses> {
    let l = length(model, sequences)?;
    if let Some(p) = positions.iter().find(|&&p| width == 0 || p + width > l) {
        return bad("delete", format!("{width} bases from position {p} of {l}"));
    }
    let count = sequences.len() / l;
    if !flanks.len().is_multiple_of(count.max(1)) {
        return bad("delete", format!("{} bases of flanks for {count} sequences", flanks.len()));
    }
    let flank = flanks.len() / count.max(1);
    let mutant = |n: usize, bases: &[u8], p: usize| {
        let follows = &flanks[n * flank..][..flank.min(width)];
        let mut row = [&bases[..p], &bases[p + width..], follows].concat();
        row.resize(l, UNKNOWN);
        row
    };
    moved(model, sequences, positions, options, mutant, progress)
}

/// What it does to insert `bases` before each of `positions`: what follows moves to the right, and what leaves the sequence is
/// lost. `[N, P, T]`.
///
/// # Errors
/// `Error::Argument` for no bases or positions behind the end; those of the model.
pub fn insert<P: Predictor>(
    model: &P,
    sequences: &[u8],
    bases: &[u8],
    positions: &[usize],
    options: &Options,
    progress: &mut dyn FnMut(usize),
) -> Result<Responses> {
    let l = length(model, sequences)?;
    if let Some(p) = positions.iter().find(|&&p| bases.is_empty() || p >= l) {
        return bad("insert", format!("{} bases before position {p} of {l}", bases.len()));
    }
    let mutant = |_: usize, old: &[u8], p: usize| {
        let mut row = [&old[..p], bases, &old[p..]].concat();
        row.truncate(l);
        row
    };
    moved(model, sequences, positions, options, mutant, progress)
}

/// Mutants that are no edits in place, one a position, each predicted whole.
fn moved<P: Predictor>(
    model: &P,
    sequences: &[u8],
    positions: &[usize],
    options: &Options,
    mutant: impl Fn(usize, &[u8], usize) -> Vec<u8>,
    progress: &mut dyn FnMut(usize),
) -> Result<Responses> {
    if model.segments().len() > 1 {
        let what = "a model of several inputs: bases that move would pass from one input into the next".into();
        return Err(Error::Unsupported { op: "deletions and insertions", what });
    }
    let wide = Options { engine: Engine::Naive, ..options.clone() }.wide(model)?;
    let model = wide.as_ref().unwrap_or(model);
    let (l, t) = (model.length(), model.tracks());
    let tracks = tracks(model, options.tracks.as_deref(), "mutate")?;
    let batch = batch_size(model, options.batch);
    let mut all = Responses { mutants: positions.len(), tracks: tracks.len(), ..Responses::default() };
    for (n, bases) in sequences.chunks_exact(l).enumerate() {
        let old = model.predict_in(bases, options.precision)?.to_f64();
        all.reference.extend(tracks.iter().map(|&track| old[track]));
        for positions in positions.chunks(batch) {
            let rows: Vec<u8> = positions.iter().flat_map(|&p| mutant(n, bases, p)).collect();
            let new = model.predict_in(&rows, options.precision)?.to_f64();
            let effect = |row: usize, track: usize| new[row * t + track] - old[track];
            all.effects.extend(
                (0..positions.len()).flat_map(|row| tracks.iter().map(move |&k| (row, k))).map(|(r, k)| effect(r, k)),
            );
        }
        progress(n + 1);
    }
    Ok(all)
}
