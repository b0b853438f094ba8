//! `drg perturb occlude`: what each window of a sequence contributes.

use std::io::Write;

use serde::Serialize;

use super::{Common, Filling, integers, tracks_first};
use crate::cli::Context;
use crate::engine::mutate::perturb::{occlude, position_means, windows};
use crate::error::Result;
use crate::io::npz::NpzWriter;

const EXAMPLE: &str = "\
Output: npz with effects (N sequences, T tracks, W windows: mean over the fills), sd (N, T, W: their
standard deviation), positions (N, T, P: mean effect of the windows that hold a position), starts
(W), width, start (first of the P positions), predictions (N, T), names and tracks; or a table with
one line a sequence, window and track. Where the step does not lead to the end, a last window does.

Example:
  drg simulate -o sim
  drg train sim/sequences.fa sim/targets.tsv -o m.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg perturb occlude m.drg sim/sequences.fa --names 0:3 --width 8 --step 4 -o occluded.npz";

/// Hide windows that slide over the sequences
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
    /// Sequences: FASTA (.gz), one-hot npz, a table with sequences, or regions.bed@genome.fa
    #[arg(value_name = "SEQS")]
    sequences: String,
    /// Bases of a window
    #[arg(long, value_name = "BP", default_value_t = 10)]
    width: usize,
    /// Bases from one window to the next
    #[arg(long, value_name = "BP", default_value_t = 1)]
    step: usize,
    /// Only windows within positions a to b - 1
    #[arg(long, value_name = "a:b")]
    range: Option<String>,
    /// What replaces the bases: n (unknown), uniform (0.25), shuffle, dinucleotide (shuffle) or random
    #[arg(long, value_name = "FILL", default_value = "n")]
    fill: String,
    #[command(flatten)]
    filling: Filling,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let removal = args.filling.removal(&args.fill)?;
    let opened = args.common.open(&args.sequences, &args.filling.engine, context)?;
    let range = opened.range(args.range.as_deref())?;
    // No window reaches from one input into the next.
    let parts = opened.parts(&range).into_iter();
    let windows = parts.map(|part| windows(part, args.width, args.step)).collect::<Result<Vec<_>>>()?.concat();
    let (model, sequences) = (&opened.model.network, &opened.sequences);
    let all = opened.with_bar(context, |progress| {
        occlude(model, &sequences.bases, &windows, &removal, &opened.options, progress)
    })?;
    let (n, t, w, p) = (sequences.len(), opened.columns.len(), windows.len(), range.len());
    let (mean, sd) = (opened.effects(&all.mean), opened.effects(&all.sd));

    let archive = |out: &mut NpzWriter<'_>| {
        out.array("effects", &[n, t, w], &tracks_first(&mean, w, t))?;
        out.array("sd", &[n, t, w], &tracks_first(&sd, w, t))?;
        let scores = |effects: &[f64]| opened.effects(&position_means(&windows, effects, range.clone()));
        let scores: Vec<f32> = all.mean.chunks_exact((w * t).max(1)).flat_map(scores).collect();
        out.array("positions", &[n, t, p], &tracks_first(&scores, p, t))?;
        out.array("starts", &[w], &integers(windows.iter().map(|w| w.start - opened.offset)))?;
        out.array("width", &[], &integers([args.width]))?;
        out.array("start", &[], &integers([range.start - opened.offset]))?;
        let first: Vec<f64> = (0..n).flat_map(|i| all.reference[i * w * t..][..t].iter().copied()).collect();
        out.array("predictions", &[n, t], &opened.predictions(&first))?;
        out.strings("names", &sequences.names)?;
        out.strings("tracks", &opened.columns)
    };
    let table = |out: &mut dyn Write| {
        writeln!(out, "sequence\tstart\tend\ttrack\teffect\tsd")?;
        for i in 0..n * w * t {
            let (name, window) = (&sequences.names[i / t / w], &windows[i / t % w]);
            let track = &opened.columns[i % t];
            let (start, end) = (window.start - opened.offset, window.end - opened.offset);
            writeln!(out, "{name}\t{start}\t{end}\t{track}\t{}\t{}", mean[i], sd[i])?;
        }
        Ok(())
    };
    args.common.write(args, context, format_args!("{n} sequences, {w} windows, {t} tracks"), archive, table)
}
