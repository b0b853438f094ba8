//! `drg baseline fit`: a linear model of k-mer counts from sequences and measurements.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::inputs::Reading;
use crate::cli::output::{self, Staged, suffixed};
use crate::cli::scores::write_scores;
use crate::cli::train::data::{self, Flags, Measured, Prepared, Wanted};
use crate::cli::{Context, predict, talk};
use crate::error::{Error, Result};
use crate::io::baseline::{Baseline, feature_names};
use crate::io::targets::Targets;
use crate::seq::Sequences;
use crate::seq::kmer::{Choice, Kmers};
use crate::stat::Table;
use crate::stat::linear::{self, Fit, Kind, Rows, Settings, Strength};
use crate::util::fs::write_bytes;

const EXAMPLE: &str = "\
Objectives are those of scikit-learn: ridge |y-Xw|^2 + alpha |w|^2; lasso and elastic
|y-Xw|^2/(2n) + alpha (r |w|_1 + (1-r)/2 |w|^2); logistic sum log(1+exp(-s x'w)) + alpha/2 |w|^2. The
intercept is free. --alpha auto goes in steps of 0.6 to the best Pearson r (logistic: area under the
ROC curve) in the validation set, for each track; shared: one for all. Data, folds, predictions and
scores are those of drg train, so that tables of both compare line by line.

Files, for -o ridge.json: ridge.json (the model), ridge_features.tsv (k-mers with their coefficients,
and z for ridge, the largest first), ridge_pred.npz and ridge_scores.tsv (the test set),
ridge.json.json (how it was made).

Example:
  drg simulate -o sim --sequences 400 --length 60
  drg baseline fit sim/sequences.fa sim/targets.tsv -o ridge.json --k 4 --both-strands
  drg baseline fit sim/sequences.fa sim/targets.tsv -o lasso.json --k 3,4 --model lasso";

/// Models that can be fitted.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Model {
    /// Squared penalty: all k-mers, small coefficients
    Ridge,
    /// Absolute penalty: few k-mers
    Lasso,
    /// Both penalties
    Elastic,
    /// Labels 0 and 1, squared penalty
    Logistic,
}

/// Fit a linear model of k-mer counts
///
/// Reads, matches and splits sequences and measurements as drg train does, counts k-mers, and fits a model of each track on the
/// training set. The result has the same bytes on any number of threads.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Args {
    /// Sequences, as drg train takes them; several with commas are counted separately
    #[arg(value_name = "SEQS")]
    sequences: String,
    /// Measurements: text matrix or npz; several with commas. Not needed where the table of sequences holds them
    #[arg(value_name = "TARGETS")]
    targets: Option<String>,
    /// Model file to write
    #[arg(short, long, value_name = "JSON")]
    out: PathBuf,
    /// Model to fit
    #[arg(long, value_enum, default_value = "ridge")]
    model: Model,
    /// Lengths of the k-mers
    #[arg(long = "k", value_name = "K,...", value_delimiter = ',', default_value = "5")]
    lengths: Vec<usize>,
    /// Free bases between the halves of each k-mer
    #[arg(long = "gap", value_name = "N,...", value_delimiter = ',', default_value = "0")]
    gaps: Vec<usize>,
    /// A k-mer and its reverse complement are one feature
    #[arg(long)]
    both_strands: bool,
    /// Divide counts by the number of places in the sequence
    #[arg(long)]
    frequencies: bool,
    /// Divide features by their standard deviations
    #[arg(long)]
    standardize: bool,
    /// Strength of the penalty: a number, auto (for each track) or shared (one for all tracks)
    #[arg(long, value_name = "ALPHA", default_value = "auto")]
    alpha: String,
    /// Part r of the absolute penalty for --model elastic
    #[arg(long, value_name = "R", default_value_t = 0.5)]
    l1_ratio: f64,
    #[command(flatten)]
    #[serde(flatten)]
    measured: Measured,
    #[command(flatten)]
    reading: Reading,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    output::check_file(&args.out)?;
    let settings = args.settings()?;
    let kmers = Kmers::new(&Choice {
        lengths: args.lengths.clone(),
        gaps: args.gaps.clone(),
        both_strands: args.both_strands,
        frequencies: args.frequencies,
    })?;
    let wanted = Wanted::new(&args.flags(), &toml::Table::new())?.one_fold()?;
    let mut prepared = data::prepare(&wanted, context.talk)?;
    if prepared.dataset.targets[0].bins.is_some() {
        context.talk.say(format_args!("the measurements are profiles: their totals are fitted"));
        prepared.dataset.targets = prepared.dataset.targets.iter().map(Targets::totals).collect();
    }
    let (inputs, targets) = (&prepared.dataset.inputs, &prepared.dataset.targets);
    let tracks: Vec<String> = targets.iter().flat_map(|t| t.tracks.iter().cloned()).collect();
    let split = &prepared.split;
    context.talk.say(format_args!(
        "{} sequences, {} tracks, {} k-mers: {} to fit, {} to validate, {} to test",
        prepared.dataset.names.len(),
        tracks.len(),
        kmers.names().len() * inputs.len(),
        split.train.len(),
        split.validation.len(),
        split.test.len(),
    ));

    let clock = std::time::Instant::now();
    let measured = |rows: &[usize]| -> Vec<f64> {
        rows.iter().flat_map(|&i| targets.iter().flat_map(move |t| t.row(i)).copied()).collect()
    };
    let (x, y) = (kmers.table(inputs, &split.train), measured(&split.train));
    let (other_x, other_y) = (kmers.table(inputs, &split.validation), measured(&split.validation));
    let (train, validation) = (Rows { features: &x, targets: &y }, Rows { features: &other_x, targets: &other_y });
    let fit = linear::fit(train, validation, &tracks, settings)?;
    let numbers = (fit.alphas.as_slice(), fit.intercepts.as_slice(), fit.coefficients.as_slice());
    let probability = settings.kind == Kind::Logistic;
    let model = Baseline::new(args.name(), &kmers, inputs.len(), probability, &tracks, numbers);
    let loose = fit.gaps.iter().filter(|g| **g > 1e-9).count();
    if loose > 0 {
        let worst = fit.gaps.iter().fold(0.0, |m: f64, g| m.max(*g));
        context.talk.say(format_args!(
            "{loose} tracks have not converged: their objectives may be {worst:.1e} of the variance above the minimum"
        ));
    }

    let scores = args.test(&model, &prepared, &measured(&split.test), context)?;
    let names = feature_names(&kmers, inputs.len());
    write_bytes(&suffixed(&args.out, "_features.tsv"), features(&names, &tracks, &fit).as_bytes())?;
    model.write(&args.out)?;
    args.record(context, &prepared, (&tracks, &fit), &scores, clock.elapsed().as_secs_f64())?;
    talk::print(format_args!("{}\n", args.out.display()))
}

impl Args {
    fn settings(&self) -> Result<Settings> {
        let strength = match self.alpha.as_str() {
            "auto" => Strength::PerTrack,
            "shared" => Strength::Shared,
            text => Strength::Fixed(text.parse().map_err(|_| {
                Error::Usage(format!("--alpha: expected a number, 'auto' or 'shared', found '{text}'"))
            })?),
        };
        let kind = match self.model {
            Model::Ridge => Kind::Ridge,
            Model::Lasso => Kind::Elastic(1.0),
            Model::Elastic => Kind::Elastic(self.l1_ratio),
            Model::Logistic => Kind::Logistic,
        };
        Ok(Settings { kind, strength, standardize: self.standardize })
    }

    fn name(&self) -> &'static str {
        match self.model {
            Model::Ridge => "ridge",
            Model::Lasso => "lasso",
            Model::Elastic => "elastic",
            Model::Logistic => "logistic",
        }
    }

    fn flags(&self) -> Flags<'_> {
        Flags {
            sequences: &self.sequences,
            targets: self.targets.as_deref(),
            measured: &self.measured,
            reverse_complement: None,
            select_tracks: None,
            reading: &self.reading,
            config: None,
        }
    }

    /// Predicts the test set, writes predictions and scores, and returns Pearson r a track.
    fn test(
        &self,
        model: &Baseline,
        prepared: &Prepared,
        truth: &[f64],
        context: &Context,
    ) -> Result<Vec<(String, f64)>> {
        let rows = &prepared.split.test;
        if rows.is_empty() {
            return Ok(vec![]);
        }
        let inputs: Vec<Sequences> = prepared.dataset.inputs.iter().map(|s| s.select(rows)).collect();
        let values: Vec<f32> = model.predict(&inputs)?.into_iter().map(|v| v as f32).collect();
        let columns: Vec<&str> = model.tracks.iter().map(String::as_str).collect();
        predict::write(&suffixed(&self.out, "_pred.npz"), &inputs[0].names, &columns, None, &values)?;
        let guess: Vec<f64> = values.iter().map(|&v| v.into()).collect();
        let classes = self.measured.classes_of(prepared)?;
        let table = Table {
            prediction: &guess,
            target: truth,
            sequences: &inputs[0].names,
            tracks: &model.tracks,
            classes: classes.as_deref(),
            profiles: None,
        };
        let of_classes = self.measured.averaged(&table, prepared)?;
        let table = of_classes.as_ref().map_or(table, |a| a.table(&inputs[0].names));
        write_scores(&self.out, &table, context.talk)
    }

    fn record(
        &self,
        context: &Context,
        prepared: &Prepared,
        (tracks, fit): (&[String], &Fit),
        scores: &[(String, f64)],
        seconds: f64,
    ) -> Result<()> {
        let split = &prepared.split;
        let of = |(t, track): (usize, &String)| json!({ "track": track, "alpha": fit.alphas[t], "validation": fit.validation[t] });
        let results = json!({
            "rows": {
                "train": split.train.len(), "validation": split.validation.len(), "test": split.test.len(),
            },
            "fit": tracks.iter().enumerate().map(of).collect::<Vec<Value>>(), "seconds": seconds,
            "test_r": scores.iter().map(|(track, r)| json!({ "track": track, "r": r })).collect::<Vec<Value>>(),
        });
        let name = self.out.file_name().map(Path::new).unwrap_or(&self.out);
        let mut staged = Staged::new(output::folder_of(&self.out))?;
        staged.provenance(&output::beside(name), context, self, results)?;
        staged.finish().map(drop)
    }
}

/// A line for each track and k-mer with a coefficient other than 0: for ridge with its z, by which the lines of a track are in
/// order, else by the size of the coefficient.
fn features(names: &[String], tracks: &[String], fit: &Fit) -> String {
    let ridge = !fit.z.is_empty();
    let mut text = String::from(if ridge { "track\tkmer\tcoefficient\tz\n" } else { "track\tkmer\tcoefficient\n" });
    for (t, track) in tracks.iter().enumerate() {
        let place = |f: usize| t * names.len() + f;
        let mut order: Vec<usize> = (0..names.len()).filter(|&f| fit.coefficients[place(f)] != 0.0).collect();
        let size = |f: usize| if ridge { fit.z[place(f)].abs() } else { fit.coefficients[place(f)].abs() };
        order.sort_by(|&a, &b| size(b).total_cmp(&size(a)));
        for f in order {
            text.push_str(&format!("{track}\t{}\t{}", names[f], fit.coefficients[place(f)]));
            if ridge {
                text.push_str(&format!("\t{:.4}", fit.z[place(f)]));
            }
            text.push('\n');
        }
    }
    text
}
