//! `drg ism`: what every single substitution does.

mod plan;
mod write;

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arithmetic::Arithmetic;
use super::inputs::{self, Reading};
use super::readout::Bins;
use super::scores::class_of_outputs;
use super::{Context, choose, output, talk};
use crate::engine::mutate::{Edits, Engine, Options, Plan, Reduction, Reference};
use crate::error::{Error, Result};
use crate::io::zarr::FloatType;
use crate::model::Model;
use crate::seq::Sequences;
use crate::stat::{Compare, Gauge, TrackGroups};

const EXAMPLE: &str = "\
Output: npz with values (N, T, 4, L, float32: mutant minus sequence, bases in the order A C G T, 0
at the base that is there), names (N), tracks (T), bases (N, L; 0 to 3 = A C G T, 4 = unknown),
predictions (N, T) and start (first position); or a folder .zarr (Zarr v3) with the same arrays,
which is written block by block: after an interruption the same line with --resume goes on at the
last finished block, and --shard 2/8 computes the second eighth of the chunks, for drg merge.

Engines: delta runs the sequence once, and of every mutant only what changes; naive runs every
mutant; auto takes the cheaper plan, which --plan prints. A mutant gets the same bits alone, beside
any others, and on any number of threads; between the engines the last digits differ.

Gauges: ism = mutant minus sequence; corrected = less the mean of the four; hypothetical = less the
average base; mean-effect = one number a position, minus the mean effect of its mutations.

Example:
  drg simulate -o sim
  drg train sim/sequences.fa sim/targets.tsv -o model.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg ism model.drg sim/sequences.fa --plan
  drg ism model.drg sim/sequences.fa -o effects.npz --names 0:3 --verify 0.01
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
    /// What to write: a file .npz or a folder .zarr
    #[arg(short, long, value_name = "OUT", required_unless_present = "plan")]
    out: Option<PathBuf>,
    /// Only these sequences: names, indices or ranges a:b
    #[arg(long, visible_alias = "sequences", value_name = "A,B,...", value_delimiter = ',')]
    names: Vec<String>,
    /// Only these tracks: names, indices or ranges a:b
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    tracks: Vec<String>,
    /// Only positions a to b - 1 of every sequence
    #[arg(long, value_name = "a:b")]
    range: Option<String>,
    /// What runs the mutants: auto, delta or naive
    #[arg(long, value_name = "ENGINE", default_value = "auto", help_heading = "How")]
    engine: String,
    #[command(flatten)]
    bins: Bins,
    #[command(flatten)]
    arithmetic: Arithmetic,
    /// Print what each engine would do, layer by layer, and the predicted time; compute nothing else
    #[arg(long, help_heading = "How")]
    plan: bool,
    /// Run this share of the mutants again, whole and in f64, and print the errors
    #[arg(long, value_name = "SHARE", help_heading = "How")]
    verify: Option<f64>,
    /// Mutants a batch of the naive engine; memory grows with it, results do not change
    /// [default: chosen]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "How")]
    batch_size: Option<u32>,
    /// Go on with a .zarr that an earlier run has begun
    #[arg(long, help_heading = "How")]
    resume: bool,
    /// Compute part I of N of the chunks, into a .zarr of its own
    #[arg(long, value_name = "I/N", help_heading = "How")]
    shard: Option<String>,
    /// Means of groups of tracks instead of tracks: name:track,track;name:track,... or a file with
    /// track and group on a line
    #[arg(long, value_name = "GROUPS", help_heading = "What is written")]
    groups: Option<String>,
    /// Differences of groups or tracks: A-B or NAME=A-B, several with commas; B may be rest
    #[arg(long, value_name = "A-B", help_heading = "What is written")]
    contrast: Option<String>,
    /// What mutant and sequence are compared by: diff, ratio, log2fc, logit, abs or l2
    #[arg(long, value_name = "HOW", default_value = "diff", help_heading = "What is written")]
    compare: String,
    /// Added to both predictions before ratio and log2fc
    #[arg(long, value_name = "C", default_value_t = 0.0, help_heading = "What is written")]
    pseudocount: f64,
    /// What the four bases of a position are measured against: ism, local, corrected,
    /// hypothetical or mean-effect
    #[arg(long, value_name = "GAUGE", default_value = "ism", help_heading = "What is written")]
    gauge: String,
    /// Element type of values in a .zarr: f32 or f16
    #[arg(long, value_name = "TYPE", default_value = "f32", help_heading = "What is written")]
    dtype: String,
    #[command(flatten)]
    reading: Reading,
}

/// What the user asked for, checked.
struct Job {
    model: Model,
    sequences: Sequences,
    range: Range<usize>,
    reduction: Reduction,
    columns: Vec<String>,
    options: Options,
    kind: FloatType,
    /// Number from 0, of how many.
    shard: (usize, usize),
    resume: bool,
    verify: Option<f64>,
    /// Of model and sequences.
    checksum: u32,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    if let Some(out) = &args.out {
        args.check_out(out)?;
    }
    let job = args.job(context)?;
    if args.plan {
        return talk::print(plan::text(&job)?);
    }
    let out = args.out.as_deref().expect("clap demands -o unless --plan is given");
    write::run(&job, out, args, context)?;
    talk::print(format_args!("{}\n", out.display()))
}

impl Args {
    fn check_out(&self, out: &Path) -> Result<()> {
        let stored = match out.extension().and_then(|e| e.to_str()) {
            Some("npz") => false,
            Some("zarr") => true,
            _ => {
                let what = format!("-o {}: expected a name that ends in .npz or .zarr", out.display());
                return Err(Error::Usage(what));
            }
        };
        for (given, name) in
            [(self.resume, "--resume"), (self.shard.is_some(), "--shard"), (self.dtype != "f32", "--dtype")]
        {
            if given && !stored {
                let hint = "drg merge makes an .npz of it";
                return Err(Error::Usage(format!("{name} needs an output .zarr, written block by block; {hint}")));
            }
        }
        if !stored {
            return output::check_file(out);
        }
        output::check_folder(out)?;
        if out.exists() && !self.resume {
            let what = format!("{} is there already; go on with --resume, or name another", out.display());
            return Err(Error::Usage(what));
        }
        Ok(())
    }

    fn job(&self, context: &Context) -> Result<Job> {
        let engine = Engine::parse(&self.engine)?;
        let (gauge, compare) = (Gauge::parse(&self.gauge)?, Compare::parse(&self.compare)?);
        let computing = self.arithmetic.of(context)?;
        let kind = match &*self.dtype {
            "f32" => FloatType::F32,
            "f16" => FloatType::F16,
            other => return Err(Error::Usage(format!("--dtype {other}: expected f32 or f16"))),
        };
        if let Some(share) = self.verify.filter(|s| !(*s > 0.0 && *s <= 1.0)) {
            return Err(Error::Usage(format!("--verify {share}: expected a share above 0 and up to 1")));
        }
        if !(self.pseudocount >= 0.0 && self.pseudocount.is_finite()) {
            return Err(Error::Usage(format!("--pseudocount {}: expected 0 or more", self.pseudocount)));
        }
        let shard = self.shard.as_deref().map_or(Ok((0, 1)), shard)?;
        let model = self.bins.of(inputs::model(&self.model, &computing)?)?;
        let all = self.reading.for_model(&self.sequences, &model, context)?;
        let sequences = all.select(&inputs::rows(&all, &self.names)?);
        if sequences.is_empty() {
            return Err(Error::Usage(format!("{}: no sequence to mutate", self.sequences)));
        }
        let range = self.positions(sequences.length)?;
        let groups = self.track_groups(&model)?;
        let reduction = Reduction::new(&groups, model.scaling.as_ref(), compare, self.pseudocount, gauge)?;
        let columns = match compare {
            Compare::L2 => vec!["l2".to_string()],
            _ => groups.names.clone(),
        };
        let options = Options {
            engine,
            double: computing.double,
            precision: computing.precision,
            tracks: Some(reduction.tracks.clone()),
            batch: self.batch_size.map(|n| n as usize),
            blocks: None,
        };
        let mut crc = flate2::Crc::new();
        crc.update(&std::fs::read(&self.model).map_err(Error::io("read", &self.model))?);
        crc.update(&sequences.bases);
        let checksum = crc.sum();
        let (resume, verify) = (self.resume, self.verify);
        Ok(Job { model, sequences, range, reduction, columns, options, kind, shard, resume, verify, checksum })
    }

    /// The groups that `--tracks`, `--groups` and `--contrast` ask for; every track on its own if none does.
    fn track_groups(&self, model: &Model) -> Result<TrackGroups> {
        let names: Vec<String> = model.track_names().into_iter().map(String::from).collect();
        let find = |word: &str| choose::choose("track", &names, &[word.to_string()]);
        let groups = match &self.groups {
            Some(_) if !self.tracks.is_empty() => {
                return Err(Error::Usage("--tracks and --groups: name the tracks in one of them".into()));
            }
            Some(text) if text.contains(':') && !Path::new(text).exists() => {
                TrackGroups::parse(text, names.len(), &find)?
            }
            Some(file) => {
                let all: Vec<usize> = (0..names.len()).collect();
                TrackGroups::of_classes(&class_of_outputs(Path::new(file), model, &all)?)
            }
            None => {
                let all = TrackGroups::single(&names);
                match self.tracks.is_empty() {
                    true => all,
                    false => all.select(&inputs::tracks(model, &self.tracks)?),
                }
            }
        };
        match &self.contrast {
            Some(text) => groups.contrasts(text, &find),
            None => Ok(groups),
        }
    }

    fn positions(&self, length: usize) -> Result<Range<usize>> {
        let Some(text) = &self.range else { return Ok(0..length) };
        match choose::range(text) {
            Some((a, b)) if a < b && b <= length => Ok(a..b),
            _ => Err(Error::Usage(format!("--range {text}: expected a:b with 0 <= a < b <= {length}"))),
        }
    }
}

/// `I/N`, counted from 1, as (number from 0, of how many).
fn shard(text: &str) -> Result<(usize, usize)> {
    let parts = text.split_once('/').and_then(|(i, n)| Some((i.parse::<usize>().ok()?, n.parse::<usize>().ok()?)));
    match parts {
        Some((i, n)) if 1 <= i && i <= n => Ok((i - 1, n)),
        _ => Err(Error::Usage(format!("--shard {text}: expected I/N with 1 <= I <= N, for example 2/8"))),
    }
}

impl Job {
    fn edits(&self) -> Edits {
        Edits::Substitutions(self.range.clone())
    }

    /// Number of mutants of all sequences.
    fn mutants(&self) -> usize {
        let at = |code: &u8| match *code {
            0..=3 => 3,
            crate::seq::UNIFORM => 0,
            _ => 4,
        };
        (0..self.sequences.len()).flat_map(|i| self.sequences.row(i)[self.range.clone()].iter().map(at)).sum()
    }

    /// The plan, decided on the first sequence.
    fn plan(&self) -> Result<(Plan, Reference)> {
        let reference = Reference::new(&self.model.network, self.sequences.row(0))?;
        let reference = reference.with_precision(self.options.precision);
        let plan = Plan::new(self.options.engine, &reference, &self.edits(), self.sequences.len())?;
        Ok((plan, reference))
    }
}
