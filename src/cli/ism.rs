//! `drg ism`: what every single substitution does.

use std::path::PathBuf;

use serde::Serialize;

use super::inputs::{self, Reading};
use super::{Context, choose, output, talk};
use crate::engine::mutate::{IsmOptions, substitutions};
use crate::error::{Error, Result};
use crate::io::npz::write_npz;
use crate::model::Model;

const EXAMPLE: &str = "\
Output: npz with values (N, T, 4, L, float32: mutant minus sequence, bases in the order A C G T, 0
at the base that is there), names (N), tracks (T), bases (N, L; 0 to 3 = A C G T, 4 = unknown),
predictions (N, T) and start (first position). Every mutant is run; it gets the same bits alone or
in any batch.

Example:
  drg simulate -o sim
  drg train sim/sequences.fa sim/targets.tsv -o model.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg ism model.drg sim/sequences.fa -o effects.npz --names 0:3
  drg plot attr effects.npz -o figure.svg";

/// In-silico mutagenesis: the effect of every single substitution
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Trained model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Sequences: FASTA (.gz), one-hot npz, a table with sequences, or regions.bed@genome.fa
    #[arg(value_name = "SEQS")]
    sequences: String,
    /// File to write (.npz)
    #[arg(short, long, value_name = "NPZ")]
    out: PathBuf,
    /// Only these sequences: names, indices or ranges a:b
    #[arg(long, visible_alias = "sequences", value_name = "A,B,...", value_delimiter = ',')]
    names: Vec<String>,
    /// Only these tracks: names, indices or ranges a:b
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    tracks: Vec<String>,
    /// Only positions a to b - 1 of every sequence
    #[arg(long, value_name = "a:b")]
    range: Option<String>,
    /// Mutants a batch; memory grows with it, results do not change [default: chosen]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Option<u32>,
    #[command(flatten)]
    reading: Reading,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    if args.out.extension().and_then(|e| e.to_str()) != Some("npz") {
        return Err(Error::Usage(format!("-o {}: expected a name that ends in .npz", args.out.display())));
    }
    output::check_file(&args.out)?;
    let model = Model::load(&args.model)?;
    let tracks = inputs::tracks(&model, &args.tracks)?;
    let all = args.reading.for_model(&args.sequences, &model, context)?;
    let sequences = all.select(&inputs::rows(&all, &args.names)?);
    if sequences.is_empty() {
        return Err(Error::Usage(format!("{}: no sequence to mutate", args.sequences)));
    }
    let range = args.positions(sequences.length)?;
    let options = IsmOptions {
        positions: Some(range.clone()),
        tracks: Some(tracks.clone()),
        batch: args.batch_size.map(|n| n as usize),
    };
    let scale: Vec<f32> =
        tracks.iter().map(|&t| model.scaling.as_ref().map_or(1.0, |s| s.deviation[t] as f32)).collect();
    let columns: Vec<&str> = tracks.iter().map(|&t| model.track_names()[t]).collect();

    let (n, width) = (sequences.len(), range.len());
    let bar = inputs::bar(context.talk, n, "sequences");
    let clock = std::time::Instant::now();
    output::write_file(&args.out, context, args, |path| {
        write_npz(path, |w| {
            w.strings("names", &sequences.names)?;
            w.strings("tracks", &columns)?;
            let bases: Vec<u8> = (0..n).flat_map(|i| sequences.row(i)[range.clone()].iter().copied()).collect();
            w.array("bases", &[n, width], &bases)?;
            w.array("start", &[], &[range.start as i64])?;
            let mut predictions = Vec::with_capacity(n * tracks.len());
            let mut values = w.start::<f32>("values", &[n, tracks.len(), 4, width])?;
            for i in 0..n {
                let mut one = substitutions(&model.network, sequences.row(i), &options)?;
                for (effects, scale) in one.effects.chunks_exact_mut(4 * width).zip(&scale) {
                    effects.iter_mut().for_each(|v| *v *= scale);
                }
                values.push(&one.effects)?;
                predictions.extend(scaled(&model, &tracks, &one.reference));
                bar.inc(1);
            }
            values.finish()?;
            w.array("predictions", &[n, tracks.len()], &predictions)
        })
    })?;
    bar.finish_and_clear();
    let mutants = 3 * n * width;
    context.talk.say(format_args!(
        "{n} sequences, {} tracks, {mutants} mutants, {:.0} mutants/s",
        tracks.len(),
        mutants as f64 / clock.elapsed().as_secs_f64()
    ));
    talk::print(format_args!("{}\n", args.out.display()))
}

/// Predictions of chosen tracks in the units of the targets.
fn scaled<'a>(model: &'a Model, tracks: &'a [usize], values: &'a [f32]) -> impl Iterator<Item = f32> + 'a {
    tracks.iter().zip(values).map(|(&t, &v)| match &model.scaling {
        Some(s) => (f64::from(v) * s.deviation[t] + s.mean[t]) as f32,
        None => v,
    })
}

impl Args {
    fn positions(&self, length: usize) -> Result<std::ops::Range<usize>> {
        let Some(text) = &self.range else { return Ok(0..length) };
        match choose::range(text) {
            Some((a, b)) if a < b && b <= length => Ok(a..b),
            _ => Err(Error::Usage(format!("--range {text}: expected a:b with 0 <= a < b <= {length}"))),
        }
    }
}
