//! `drg eval score`: predictions against measurements.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::paired::{Files, Pairs};
use crate::cli::score_table::Spread;
use crate::cli::scores::{CORRELATIONS, Saved, averaged, class_of_tracks, over_folds, save_as_drg, spread_over, tidy};
use crate::cli::{Context, output, talk};
use crate::error::{Error, Result};
use crate::stat::{self, Axis, Metric, Score, Table, scores};

const EXAMPLE: &str = "\
Metrics: r (Pearson), spearman, r2, rmse, mse, auroc, auprc and ranksum (where the measurements are 0 and 1; ranksum is
-log10 of the p-value of the rank-sum test of ones against zeros), distance (1 - r in four decimals); of profiles, whose totals
these are about, also profile_r and profile_jsd, means over profiles of the correlation and of the Jensen-Shannon divergence (in
bits) of their bins. Axes: track = one track over all sequences; class = mean of the tracks of a class; sequence = one
sequence over the tracks of a class.

Several files of predictions (with blanks or commas between them), each of the test set of a fold, are scored together (value), and one by one: the columns
folds, mean, sd, low and high have their number, mean, standard deviation and the 95 % confidence interval of the mean
(Student's t; folds share training data, so it is narrow).

Example (how far noise alone lets a model come):
  drg simulate -o sim
  drg eval score sim/signal.tsv sim/targets.tsv --classes sim/classes.txt -o scores.tsv";

/// Score predictions against measurements
///
/// Rows and tracks are matched by name. All scores go to a tidy table (model, class, axis, item, metric, value, n); a
/// summary is printed.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    files: Files,
    /// Table of all scores; - prints it instead of the summary
    #[arg(short, long, value_name = "TSV")]
    out: PathBuf,
    /// Classes of the tracks: lines of track and class
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Score means: tracks of one class of this file are averaged before, within the classes of --classes
    #[arg(long, alias = "average_outclasses", value_name = "FILE")]
    class_means: Option<PathBuf>,
    /// Metrics to compute
    #[arg(long, value_name = "A,B,...", value_delimiter = ',', default_values_t = Metric::REPORT.map(|m| m.to_string()))]
    metrics: Vec<String>,
    /// Axes to score along
    #[arg(long, value_name = "A,B,...", value_delimiter = ',', default_values_t = Axis::ALL.map(|a| a.to_string()))]
    axis: Vec<String>,
    /// Name of the model in the table [default: the file name of PRED, without _pred]
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Print the summary as JSON
    #[arg(long)]
    json: bool,
    /// Also write PREFIX_clss_corr_tclCLASS.txt and PREFIX_pnt_corr_tclCLASS.txt with 1 - r, as DRG does, or what the --save-
    /// options choose
    #[arg(long, value_name = "PREFIX")]
    reference_files: Option<PathBuf>,
    #[command(flatten)]
    #[serde(flatten)]
    saved: Saved,
}

/// Spread of one metric along one axis.
struct Summary {
    axis: Axis,
    metric: Metric,
    values: Vec<f64>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let to_stdout = args.out == Path::new("-");
    let (axes, metrics) = args.validated(to_stdout)?;
    let (pairs, each) = args.files.read_folds(context.talk)?;
    let classes =
        args.classes.as_deref().map(|path| class_of_tracks(path, &pairs.plain, &pairs.file_classes)).transpose()?;
    let classes = classes.as_deref();
    let of = |pairs: &Pairs| with_table(args, pairs, classes, |table| scores(table, &axes, &metrics));
    let rows = of(&pairs)?;
    let model = args.model.clone().unwrap_or_else(|| args.files.model());
    if let Some(prefix) = &args.reference_files {
        let mut chosen = args.saved.chosen();
        if chosen.is_empty() {
            chosen = CORRELATIONS.to_vec();
        }
        let written = with_table(args, &pairs, classes, |table| save_as_drg(prefix, table, &chosen, context, args))?;
        written.iter().for_each(|path| context.talk.say(path.display()));
    }
    let folds = if each.len() > 1 { each.iter().map(of).collect::<Result<Vec<_>>>()? } else { vec![] };
    let text = if folds.is_empty() { tidy(&model, &rows) } else { over_folds(&model, &rows, &folds) };
    if to_stdout {
        return talk::print(text);
    }
    output::write_file(&args.out, context, args, |path| crate::util::fs::write_bytes(path, text.as_bytes()))?;
    context.talk.say(args.out.display());
    let summaries = summaries(&rows, &axes, &metrics);
    let of_classes = rows.iter().filter(|s| s.axis == Axis::Class && !folds.is_empty());
    let spreads: Vec<(&Score, Spread)> =
        of_classes.map(|s| (s, spread_over(s, &folds))).filter(|(_, spread)| spread.tables > 0).collect();
    let (n, t) = (pairs.names.len(), with_table(args, &pairs, classes, |table| Ok(table.tracks.len()))?);
    if args.json {
        let all: Vec<Value> = summaries.iter().map(Summary::json).collect();
        let mut all = json!({ "model": model, "sequences": n, "tracks": t, "scores": args.out, "summary": all });
        if !folds.is_empty() {
            all["folds"] = spreads.iter().map(|(s, spread)| json_over(s, spread)).collect();
        }
        return talk::print(format_args!("{all:#}\n"));
    }
    let header = ["axis", "metric", "items", "median", "mean", "min", "max"].map(String::from).to_vec();
    let lines: Vec<Vec<String>> = std::iter::once(header).chain(summaries.iter().map(Summary::cells)).collect();
    let mut text = format!("{model}: {n} sequences, {t} tracks\n{}", talk::aligned(&lines, 2));
    if !spreads.is_empty() {
        let header = ["class", "metric", "folds", "mean", "sd", "95% from", "to"].map(String::from).to_vec();
        let lines: Vec<Vec<String>> =
            std::iter::once(header).chain(spreads.iter().map(|(s, spread)| cells_over(s, spread))).collect();
        text.push_str(&format!(
            "over {} folds, means of the tracks of a class\n{}",
            folds.len(),
            talk::aligned(&lines, 2)
        ));
    }
    talk::print(text)
}

fn cells_over(score: &Score, spread: &Spread) -> Vec<String> {
    let mut cells = vec![score.class.clone(), score.metric.to_string(), spread.tables.to_string()];
    cells.extend([spread.mean, spread.sd, spread.interval.0, spread.interval.1].map(|v| format!("{v:.4}")));
    cells
}

fn json_over(score: &Score, spread: &Spread) -> Value {
    json!({
        "class": score.class, "metric": score.metric.name(), "folds": spread.tables, "mean": spread.mean, "sd": spread.sd,
        "interval": [spread.interval.0, spread.interval.1],
    })
}

/// What `f` makes of the table to score: of the tracks, or of their means where a file asks for them.
fn with_table<R>(
    args: &Args,
    pairs: &Pairs,
    classes: Option<&[String]>,
    f: impl FnOnce(&Table<'_>) -> Result<R>,
) -> Result<R> {
    let table = Table {
        prediction: &pairs.prediction,
        target: &pairs.measured,
        sequences: &pairs.names,
        tracks: &pairs.tracks,
        classes,
        profiles: pairs.profiles(),
    };
    match averaged(args.class_means.as_deref(), &table, &pairs.plain, &pairs.file_classes)? {
        Some(means) => f(&means.table(&pairs.names)),
        None => f(&table),
    }
}

impl Args {
    fn validated(&self, to_stdout: bool) -> Result<(Vec<Axis>, Vec<Metric>)> {
        if to_stdout && self.json {
            return Err(Error::Usage("--json prints a summary and -o - the table; name a file with -o".into()));
        }
        if !to_stdout {
            output::check_file(&self.out)?;
        }
        match &self.reference_files {
            Some(prefix) => output::check_file(prefix)?,
            None if !self.saved.chosen().is_empty() => {
                let what = "--save-...: name what stands before the names of DRG's files with --reference-files PREFIX";
                return Err(Error::Usage(what.into()));
            }
            None => {}
        }
        let axes: Vec<Axis> = self.axis.iter().map(|a| a.parse()).collect::<Result<_>>()?;
        let metrics: Vec<Metric> = self.metrics.iter().map(|m| m.parse()).collect::<Result<_>>()?;
        Ok((axes, metrics))
    }
}

fn summaries(rows: &[Score], axes: &[Axis], metrics: &[Metric]) -> Vec<Summary> {
    let all = axes.iter().flat_map(|&axis| metrics.iter().map(move |&metric| (axis, metric)));
    all.map(|(axis, metric)| {
        let of = rows.iter().filter(|s| s.axis == axis && s.metric == metric && !s.value.is_nan());
        Summary { axis, metric, values: of.map(|s| s.value).collect() }
    })
    .filter(|s| !s.values.is_empty())
    .collect()
}

impl Summary {
    /// Median, mean, least and greatest value.
    fn numbers(&self) -> [f64; 4] {
        let v = &self.values;
        [stat::median(v), stat::mean(v), stat::quantile(v, 0.0), stat::quantile(v, 1.0)]
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.axis.to_string(), self.metric.to_string(), self.values.len().to_string()];
        cells.extend(self.numbers().map(|v| format!("{v:.4}")));
        cells
    }

    fn json(&self) -> Value {
        let [median, mean, min, max] = self.numbers();
        json!({
            "axis": self.axis.name(), "metric": self.metric.name(), "items": self.values.len(),
            "median": median, "mean": mean, "min": min, "max": max,
        })
    }
}
