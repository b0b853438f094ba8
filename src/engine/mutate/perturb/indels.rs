//! Bases deleted and inserted.

use std::ops::Range;

use crate::engine::mutate::Engine;
use crate::engine::mutate::predictor::{batch_size, tracks};
use crate::error::Result;
use crate::seq::UNKNOWN;

use super::{Options, Predictor, Responses, bad, holding, length};

/// What it does to delete `width` bases from each of `positions` on: what follows moves to the left, and the free places at the
/// right end take the sequence's `flank` (`[N, F]`, the bases that follow it; F may be 0) and unknown bases after it. `[N, P, T]`.
/// With several inputs what follows is the rest of the input that loses bases, and flanks are those of every input, `[N, I, F]`.
///
/// # Errors
/// `Error::Argument` for a width of 0, positions whose deletion reaches over the end of an input, or flanks of another number of
/// sequences; those of the model.
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
    if let Some(p) = positions.iter().find(|&&p| width == 0 || holding(model, &(p..p.saturating_add(width))).is_none())
    {
        return bad("delete", format!("{width} bases from position {p} of {}", lengths(model)));
    }
    let spans = model.spans();
    let rows = sequences.len() / l * spans.len();
    if !flanks.len().is_multiple_of(rows.max(1)) {
        return bad("delete", format!("{} bases of flanks for {rows} inputs of sequences", flanks.len()));
    }
    let flank = flanks.len() / rows.max(1);
    let mutant = |n: usize, bases: &[u8], p: usize| {
        let input = input_of(&spans, p);
        let end = spans[input].end;
        let follows = &flanks[(n * spans.len() + input) * flank..][..flank.min(width)];
        let mut row = [&bases[..p], &bases[p + width..end], follows].concat();
        row.resize(end, UNKNOWN);
        row.extend_from_slice(&bases[end..]);
        row
    };
    moved(model, sequences, positions, options, mutant, progress)
}

/// What it does to insert `bases` before each of `positions`: what follows moves to the right, and what leaves the sequence is
/// lost; of a model of several inputs, what follows in the same input. `[N, P, T]`.
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
    let spans = model.spans();
    let mutant = |_: usize, old: &[u8], p: usize| {
        let end = spans[input_of(&spans, p)].end;
        let mut row = [&old[..p], bases, &old[p..]].concat();
        row.truncate(end);
        row.extend_from_slice(&old[end..]);
        row
    };
    moved(model, sequences, positions, options, mutant, progress)
}

/// The input that holds position `p`.
fn input_of(spans: &[Range<usize>], p: usize) -> usize {
    spans.iter().position(|span| span.contains(&p)).expect("positions were checked to lie in an input")
}

/// Bases of the inputs in words.
fn lengths<P: Predictor>(model: &P) -> String {
    model.segments().iter().map(usize::to_string).collect::<Vec<_>>().join(" + ")
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
