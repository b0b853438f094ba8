//! `drg predict`: what a model says about sequences.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arithmetic::{Arithmetic, Computing};
use super::inputs::{self, Reading};
use super::readout::Bins;
use super::scores::class_of_outputs;
use super::{Context, kernels, output, talk};
use crate::engine::embed::{Embedding, Layer, Positions};
use crate::engine::predict::predict_in;
use crate::error::{Error, Result};
use crate::io::npz::write_npz;
use crate::model::{Model, Readout};
use crate::seq::Sequences;
use crate::stat::TrackGroups;
use crate::tensor::DType;
use crate::util::fs;

const EXAMPLE: &str = "\
Output: npz with names (N), values (N, T, float32) and columns (T), or a table of names and tracks
where -o ends in .tsv. Of a base-resolution model: npz with counts (N, T, bins) instead of values, or
a table of totals; with --bins one value a track in both. A prediction does not depend on the others or on the batch.

Layers of --embedding, by DRG's numbers or by name: 0 stem (first convolution, strands combined,
before its activation), 1 pool, 2 first-block, 3 attention, 4 second-block, 5 flat, 6 or -1
head-input. The npz has names (N) and values (N, C, L), or (N, D) of layers without positions. Models
of several inputs take LAYER@INPUT, and heads@INPUT (what the network of an input hands on), joined
(that of all inputs side by side) and combined@OUTPUT (behind the layers that join them).

Example:
  drg simulate -o sim
  drg train sim/sequences.fa sim/targets.tsv -o model.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg predict model.drg sim/sequences.fa -o predictions.npz
  drg predict model.drg sim/sequences.fa -o motifs.npz --embedding stem --embedding-positions max";

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
    /// Means of the tracks of each class instead of tracks: lines of track and class
    #[arg(long, alias = "average_outclasses", value_name = "FILE")]
    class_means: Option<PathBuf>,
    /// Write the activations of a layer instead of predictions; see below
    #[arg(long, alias = "save_embedding", value_name = "LAYER[@INPUT]", allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["tracks", "class_means", "bins"])]
    embedding: Option<String>,
    /// What is made of the positions of a layer that has some
    #[arg(long, value_enum, default_value = "all", requires = "embedding")]
    embedding_positions: Reduced,
    /// Knock out kernels of the first layer: indices or ranges a:b with commas, of an input of several KERNELS@INPUT; can be given
    /// several times
    #[arg(long, value_name = "KERNELS[@INPUT]")]
    mask: Vec<String>,
    /// What the first layer gives in place of masked kernels, before its activation: a number, or mean (the mean of each over all
    /// positions of the sequences)
    #[arg(long, value_name = "V", default_value = "0", allow_hyphen_values = true, requires = "mask")]
    mask_value: String,
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

/// What is made of the positions of a layer.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Reduced {
    /// Values (N, C, L)
    All,
    /// Their mean, (N, C)
    Mean,
    /// Their maximum, (N, C)
    Max,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let text = is_table(&args.out)?;
    output::check_file(&args.out)?;
    let computing = args.arithmetic.of(context)?;
    let mut model = args.bins.of(inputs::model(&args.model, &computing)?)?;
    if computing.double {
        model.network = model.network.to_dtype(DType::F64)?;
    }
    let profiles = model.network.architecture().bins().filter(|_| !args.bins.given() && args.embedding.is_none());
    if profiles.is_some() && text {
        context
            .talk
            .say(format_args!("a table holds one value a track: the totals of the profiles; npz holds all bins"));
    }
    let bins = profiles.filter(|_| !text);
    if bins.is_some() {
        model.network = model.network.with_readout(Readout::Bins)?;
    }
    let sequences = args.reading.for_model(&args.sequences, &model, context)?;
    if !args.mask.is_empty() {
        let chosen = kernels::chosen(&args.mask, &model.network, None)?;
        let list = kernels::replaced(&model.network, &chosen, &args.mask_value, &sequences.bases, computing.precision)?;
        model.network = kernels::masked(&model.network, &list)?;
    }
    if let Some(layer) = &args.embedding {
        return embed(args, (layer, sequences), &model, &computing, context);
    }
    if let Some(scale) = model.transform {
        context.talk.say(format_args!("the model has learned {}: so are its predictions", scale.formula()));
    }
    let tracks = inputs::tracks(&model, &args.tracks)?;
    let means = args.class_means.as_deref().map(|path| class_means(path, &model, &tracks)).transpose()?;

    let bar = inputs::bar(context.talk, sequences.len(), "sequences");
    let batch = args.batch_size.map(|n| n as usize);
    let all =
        predict_in(&model.network, &sequences.bases, batch, computing.precision, &mut |n| bar.set_position(n as u64))?;
    bar.finish_and_clear();
    let mut values = select(&model, all, &tracks);
    let mut columns: Vec<&str> = tracks.iter().map(|&t| model.track_names()[t]).collect();
    if let Some(means) = &means {
        // Tracks, or tracks and bins.
        let row = tracks.len() * bins.unwrap_or(1);
        let rows = values.chunks_exact(row.max(1)).map(|row| means.apply_scores(row));
        values = rows.collect::<Result<Vec<_>>>()?.concat();
        columns = means.names.iter().map(String::as_str).collect();
    }

    output::write_file(&args.out, context, args, |path| match text {
        false => write(path, &sequences.names, &columns, bins, &values),
        true => write_table(path, &sequences.names, &columns, &values),
    })?;
    let what = if means.is_some() { "classes" } else { "tracks" };
    context.talk.say(format_args!("{} sequences, {} {what}", sequences.len(), columns.len()));
    talk::print(format_args!("{}\n", args.out.display()))
}

/// The activations of a layer instead of predictions.
fn embed(
    args: &Args,
    (layer, sequences): (&str, Sequences),
    model: &Model,
    computing: &Computing,
    context: &Context,
) -> Result<()> {
    if is_table(&args.out)? {
        let out = args.out.display();
        return Err(Error::Usage(format!(
            "-o {out}: activations are written as npz; expected a name that ends in .npz"
        )));
    }
    let layer = Layer::parse(layer, model.network.architecture())?;
    let positions = match args.embedding_positions {
        Reduced::All => Positions::All,
        Reduced::Mean => Positions::Mean,
        Reduced::Max => Positions::Max,
    };
    let embedding = Embedding::new(&model.network, layer, positions, computing.precision)?;
    let batch = args.batch_size.map(|n| n as usize);
    output::write_file(&args.out, context, args, |path| write_embedding(path, &embedding, &sequences, batch, context))?;
    context.talk.say(format_args!("{} sequences, {}", sequences.len(), dimensions(embedding.shape())));
    talk::print(format_args!("{}\n", args.out.display()))
}

/// Shape in words.
fn dimensions(shape: &[usize]) -> String {
    match shape {
        [c, l] => format!("{c} channels at {l} positions"),
        _ => format!("{} values each", shape.iter().product::<usize>()),
    }
}

/// The reference's file of activations: `names`, `values`; a batch is in memory at a time.
pub(super) fn write_embedding(
    path: &Path,
    embedding: &Embedding<'_>,
    sequences: &Sequences,
    batch: Option<usize>,
    context: &Context,
) -> Result<()> {
    let bar = inputs::bar(context.talk, sequences.len(), "sequences");
    let rows = batch.unwrap_or_else(|| embedding.batch()).max(1) * sequences.length;
    let shape = [&[sequences.len()], embedding.shape()].concat();
    write_npz(path, |w| {
        w.strings("names", &sequences.names)?;
        let blocks = sequences.bases.chunks(rows.max(1)).map(|bases| {
            bar.inc((bases.len() / sequences.length) as u64);
            embedding.values(bases)
        });
        w.blocks("values", &shape, blocks)
    })?;
    bar.finish_and_clear();
    Ok(())
}

/// Means of the chosen tracks of each class, in alphabetical order of the classes.
fn class_means(path: &Path, model: &Model, tracks: &[usize]) -> Result<TrackGroups> {
    let means = TrackGroups::of_classes(&class_of_outputs(path, model, tracks)?);
    let mut order: Vec<usize> = (0..means.len()).collect();
    order.sort_by(|&a, &b| means.names[a].cmp(&means.names[b]));
    Ok(means.select(&order))
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
