//! `drg perturb`: experiments on sequences.

mod ablate;
mod indels;
mod kernels;
mod marginalize;
mod motifs;
mod occlude;
mod space;

use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arithmetic::{Arithmetic, Computing};
use super::inputs::{self, Reading};
use super::readout::Bins;
use super::{Context, choose, output, talk};
use crate::engine::mutate::perturb::{Fill, Removal};
use crate::engine::mutate::{Engine, Options, Predictor};
use crate::error::{Error, Result};
use crate::io::npz::{NpzWriter, write_npz};
use crate::model::Model;
use crate::model::checkpoint::Scaling;
use crate::seq::Sequences;
use crate::util::fs;

const EXAMPLE: &str = "\
Effects are predictions with the change minus predictions without it, in the units of the targets.
-o FILE.npz gets arrays, -o FILE.tsv a table with one effect a line.

Example:
  drg simulate -o sim
  drg train sim/sequences.fa sim/targets.tsv -o m.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg perturb marginalize m.drg --motif TGACTCA --backgrounds sim/sequences.fa --names 0:9 -o in.tsv
  drg perturb ablate m.drg sim/sequences.fa --sites sim/sites.bed --names 0:20 -o out.tsv";

/// Put motifs in, take sites out, vary distances, hide windows, delete and insert bases, knock out kernels
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant, reason = "one value a process")]
enum What {
    Marginalize(marginalize::Args),
    Space(space::Args),
    Ablate(ablate::Args),
    Occlude(occlude::Args),
    Delete(indels::DeleteArgs),
    Insert(indels::InsertArgs),
    Kernels(kernels::Args),
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    match &args.what {
        What::Marginalize(args) => marginalize::run(args, context),
        What::Space(args) => space::run(args, context),
        What::Ablate(args) => ablate::run(args, context),
        What::Occlude(args) => occlude::run(args, context),
        What::Delete(args) => indels::delete(args, context),
        What::Insert(args) => indels::insert(args, context),
        What::Kernels(args) => kernels::run(args, context),
    }
}

/// What every experiment takes.
#[derive(Debug, clap::Args, Serialize)]
struct Common {
    /// Trained model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// File to write: .npz or .tsv
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Only these sequences: names, indices or ranges a:b
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    names: Vec<String>,
    /// Only these tracks: names, indices or ranges a:b
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    tracks: Vec<String>,
    /// Only this input of a model of several, from 0; positions then count from its start. Without it they count through all
    /// inputs, one after the other
    #[arg(long, value_name = "K")]
    input: Option<usize>,
    /// Mutants a batch when each is run whole [default: chosen]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Option<u32>,
    #[command(flatten)]
    bins: Bins,
    #[command(flatten)]
    arithmetic: Arithmetic,
    #[command(flatten)]
    reading: Reading,
}

/// What takes the place of bases.
#[derive(Debug, clap::Args, Serialize)]
struct Filling {
    /// Random fills of each place; effects are means over them
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    repeats: u32,
    /// Seed of the random fills
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How the mutants are run: auto, delta (only what changes) or naive (each one whole)
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    engine: String,
}

impl Filling {
    fn removal(&self, fill: &str) -> Result<Removal> {
        Ok(Removal { fill: Fill::parse(fill)?, repeats: self.repeats as usize, seed: self.seed })
    }
}

/// A model and the sequences of an experiment.
struct Opened {
    model: Model,
    sequences: Sequences,
    options: Options,
    tracks: Vec<usize>,
    /// Names of the tracks.
    columns: Vec<String>,
    /// Where the inputs lie that may be changed: one, or all of the model.
    spans: Vec<Range<usize>>,
    /// Position in the sequence at which those of arguments and files begin.
    offset: usize,
}

impl Common {
    /// Checks the output and loads the model.
    fn model(&self, context: &Context) -> Result<(Model, Computing)> {
        is_table(&self.out)?;
        output::check_file(&self.out)?;
        let computing = self.arithmetic.of(context)?;
        Ok((self.bins.of(inputs::model(&self.model, &computing)?)?, computing))
    }

    /// The model and the chosen ones of the sequences `spec`.
    fn open(&self, spec: &str, engine: &str, context: &Context) -> Result<Opened> {
        let engine = Engine::parse(engine)?;
        let (model, computing) = self.model(context)?;
        let all = self.reading.for_model(spec, &model, context)?;
        let sequences = all.select(&inputs::rows(&all, &self.names)?);
        self.with((model, computing), spec, sequences, engine)
    }

    /// The model and sequences that are chosen already.
    fn with(
        &self,
        (model, computing): (Model, Computing),
        spec: &str,
        sequences: Sequences,
        engine: Engine,
    ) -> Result<Opened> {
        let tracks = inputs::tracks(&model, &self.tracks)?;
        if sequences.is_empty() {
            return Err(Error::Usage(format!("{spec}: no sequence to change")));
        }
        let columns = tracks.iter().map(|&t| model.track_names()[t].to_string()).collect();
        let mut spans = model.network.spans();
        let offset = match self.input {
            None => 0,
            Some(input) if input < spans.len() => {
                spans = vec![spans.swap_remove(input)];
                spans[0].start
            }
            Some(input) => {
                let last = spans.len() - 1;
                return Err(Error::Usage(format!("--input {input}: expected the number of an input, 0 to {last}")));
            }
        };
        let batch = self.batch_size.map(|n| n as usize);
        let Computing { double, precision, .. } = computing;
        let options = Options { engine, double, precision, tracks: Some(tracks.clone()), batch, blocks: None };
        Ok(Opened { model, sequences, options, tracks, columns, spans, offset })
    }

    /// Writes one of the two forms, tells what was done and prints the path.
    fn write(
        &self,
        args: &impl Serialize,
        context: &Context,
        summary: std::fmt::Arguments<'_>,
        archive: impl FnOnce(&mut NpzWriter<'_>) -> Result<()>,
        table: impl FnOnce(&mut dyn Write) -> std::io::Result<()>,
    ) -> Result<()> {
        let text = is_table(&self.out)?;
        output::write_file(&self.out, context, args, |path| match text {
            false => write_npz(path, archive),
            true => fs::write_atomic(path, |out| table(out).map_err(Error::io("write", path))),
        })?;
        context.talk.say(summary);
        talk::print(format_args!("{}\n", self.out.display()))
    }
}

impl Opened {
    /// Runs `work` with a bar over the sequences.
    fn with_bar<T>(&self, context: &Context, work: impl FnOnce(&mut dyn FnMut(usize)) -> Result<T>) -> Result<T> {
        let bar = inputs::bar(context.talk, self.sequences.len(), "sequences");
        let done = work(&mut |n| bar.set_position(n as u64));
        bar.finish_and_clear();
        done
    }

    /// Effects `[.., T]`, or spreads of effects, in the units of the targets.
    fn effects(&self, values: &[f64]) -> Vec<f32> {
        let scaling = self.model.scaling.as_ref();
        let deviations: Vec<f64> = self.tracks.iter().map(|&t| Scaling::of(scaling, t).0).collect();
        values.iter().zip(deviations.iter().cycle()).map(|(v, d)| (v * d) as f32).collect()
    }

    /// Predictions `[.., T]` in the units of the targets.
    fn predictions(&self, values: &[f64]) -> Vec<f32> {
        let scaled = |(&v, &t): (&f64, &usize)| {
            let (deviation, mean) = Scaling::of(self.model.scaling.as_ref(), t);
            (v * deviation + mean) as f32
        };
        values.iter().zip(self.tracks.iter().cycle()).map(scaled).collect()
    }

    /// Positions of the sequence that `--range` chooses: without it all of the inputs that may be changed.
    fn range(&self, text: Option<&str>) -> Result<Range<usize>> {
        let length = self.spans.iter().map(Range::len).sum::<usize>();
        let all = self.offset..self.offset + length;
        let Some(text) = text else { return Ok(all) };
        match choose::range(text) {
            Some((a, b)) if a < b && b <= length => Ok(all.start + a..all.start + b),
            _ => Err(Error::Usage(format!("--range {text}: expected a:b with 0 <= a < b <= {length}"))),
        }
    }

    /// The parts of a range that lie in each input, without the inputs in which none does.
    fn parts(&self, range: &Range<usize>) -> Vec<Range<usize>> {
        let part = |span: &Range<usize>| range.start.max(span.start)..range.end.min(span.end);
        self.spans.iter().map(part).filter(|part| !part.is_empty()).collect()
    }

    /// The only input that may be changed.
    ///
    /// # Errors
    /// [`Error::Usage`] if there are several.
    fn one_input(&self, what: &str) -> Result<Range<usize>> {
        match &self.spans[..] {
            [one] => Ok(one.clone()),
            several => Err(Error::Usage(format!(
                "the model has {} inputs; say with --input K, 0 to {}, {what}",
                several.len(),
                several.len() - 1
            ))),
        }
    }
}

/// Whether the file is a table, by its name.
fn is_table(out: &Path) -> Result<bool> {
    match out.extension().and_then(|e| e.to_str()) {
        Some("npz") => Ok(false),
        Some("tsv" | "txt") => Ok(true),
        _ => Err(Error::Usage(format!("-o {}: expected a name that ends in .npz or .tsv", out.display()))),
    }
}

/// `[N, P, T]` as `[N, T, P]`.
fn tracks_first(values: &[f32], positions: usize, tracks: usize) -> Vec<f32> {
    let cells = (positions * tracks).max(1);
    let turned = |all: &[f32]| -> Vec<f32> {
        (0..tracks).flat_map(|t| all.iter().skip(t).step_by(tracks).copied().collect::<Vec<_>>()).collect()
    };
    values.chunks_exact(cells).flat_map(turned).collect()
}

/// Whole numbers as a file has them.
fn integers(values: impl IntoIterator<Item = usize>) -> Vec<i64> {
    values.into_iter().map(|v| v as i64).collect()
}
