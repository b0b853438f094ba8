//! `drg predict`: what a model says about sequences.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arithmetic::Arithmetic;
use super::inputs::{self, Reading};
use super::readout::Bins;
use super::{Context, output, talk};
use crate::engine::predict::predict_in;
use crate::error::{Error, Result};
use crate::io::npz::write_npz;
use crate::model::{Model, Readout};
use crate::util::fs;

const EXAMPLE: &str = "\
Output: npz with names (N), values (N, T, float32) and columns (T), or a table of names and tracks
where -o ends in .tsv. Of a base-resolution model: npz with counts (N, T, bins) instead of values, or
a table of totals; with --bins one value a track in both. A prediction does not depend on the others or on the batch.

Example:
  drg simulate -o sim
  drg train sim/sequences.fa sim/targets.tsv -o model.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg predict model.drg sim/sequences.fa -o predictions.npz";

/// Predict with a trained model
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Trained model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Sequences: FASTA (.gz), one-hot npz, a table with sequences, or regions.bed@genome.fa
    #[arg(value_name = "SEQS")]
    sequences: String,
    /// File to write: .npz or .tsv
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Only these tracks: names, indices or ranges a:b
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    tracks: Vec<String>,
    /// Sequences a batch; memory grows with it, results do not change [default: chosen]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Option<u32>,
    #[command(flatten)]
    bins: Bins,
    #[command(flatten)]
    arithmetic: Arithmetic,
    #[command(flatten)]
    reading: Reading,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let text = is_table(&args.out)?;
    output::check_file(&args.out)?;
    let computing = args.arithmetic.of(context)?;
    let mut model = args.bins.of(inputs::model(&args.model, &computing)?)?;
    let profiles = model.network.architecture().bins().filter(|_| !args.bins.given());
    if profiles.is_some() && text {
        context
            .talk
            .say(format_args!("a table holds one value a track: the totals of the profiles; npz holds all bins"));
    }
    let bins = profiles.filter(|_| !text);
    if bins.is_some() {
        model.network = model.network.with_readout(Readout::Bins)?;
    }
    let tracks = inputs::tracks(&model, &args.tracks)?;
    let sequences = args.reading.for_model(&args.sequences, &model, context)?;

    let bar = inputs::bar(context.talk, sequences.len(), "sequences");
    let batch = args.batch_size.map(|n| n as usize);
    let all =
        predict_in(&model.network, &sequences.bases, batch, computing.precision, &mut |n| bar.set_position(n as u64))?;
    bar.finish_and_clear();
    let values = select(&model, all, &tracks);
    let columns: Vec<&str> = tracks.iter().map(|&t| model.track_names()[t]).collect();

    output::write_file(&args.out, context, args, |path| match text {
        false => write(path, &sequences.names, &columns, bins, &values),
        true => write_table(path, &sequences.names, &columns, &values),
    })?;
    context.talk.say(format_args!("{} sequences, {} tracks", sequences.len(), tracks.len()));
    talk::print(format_args!("{}\n", args.out.display()))
}

/// Whether predictions are to be a table, by the end of the file's name, and not npz.
pub(super) fn is_table(out: &Path) -> Result<bool> {
    match out.extension().and_then(|e| e.to_str()) {
        Some("npz") => Ok(false),
        Some("tsv" | "txt") => Ok(true),
        _ => Err(Error::Usage(format!("-o {}: expected a name that ends in .npz or .tsv", out.display()))),
    }
}

/// Predictions of a network in the units of the targets, chosen tracks only; where all bins are read, those of a track stand side
/// by side.
pub(super) fn select(model: &Model, all: Vec<f64>, tracks: &[usize]) -> Vec<f32> {
    let mut all: Vec<f32> = all.into_iter().map(|v| v as f32).collect();
    if let Some(scaling) = &model.scaling {
        scaling.undo(&mut all);
    }
    let (width, count) = (model.network.width(), model.network.architecture().tracks());
    let each = width / count;
    all.chunks_exact(width)
        .flat_map(|row| tracks.iter().flat_map(move |&t| &row[t * each..][..each]))
        .copied()
        .collect()
}

/// The reference's prediction file: `names`, `values` (N, T), `columns`; of profiles `counts` (N, T, bins) instead of `values`.
pub(super) fn write(
    path: &Path,
    names: &[String],
    columns: &[&str],
    bins: Option<usize>,
    values: &[f32],
) -> Result<()> {
    write_npz(path, |w| {
        w.strings("names", names)?;
        match bins {
            None => w.array("values", &[names.len(), columns.len()], values)?,
            Some(bins) => w.array("counts", &[names.len(), columns.len(), bins], values)?,
        }
        w.strings("columns", columns)
    })
}

/// Predictions as a table of names and tracks.
pub(super) fn write_table(path: &Path, names: &[String], columns: &[&str], values: &[f32]) -> Result<()> {
    fs::write_atomic(path, |w| {
        let mut fill = || {
            writeln!(w, "#\t{}", columns.join("\t"))?;
            for (name, row) in names.iter().zip(values.chunks_exact(columns.len().max(1))) {
                let row: Vec<String> = row.iter().map(f32::to_string).collect();
                writeln!(w, "{name}\t{}", row.join("\t"))?;
            }
            Ok(())
        };
        fill().map_err(Error::io("write", path))
    })
}
