//! `drg eval compare`: which of several models is better, and how sure is that.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use rayon::prelude::*;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cli::score_table::{Files, Key, LEVEL, Row, choose};
use crate::cli::{Context, output, talk};
use crate::error::{Error, Result};
use crate::stat::{Metric, Paired, benjamini_hochberg, mean, paired};

const EXAMPLE: &str = "\
Differences are the first model minus the second, over the items that both have. Columns: n items; means of both; mean
and median difference with the ends of their bootstrap intervals; wins, the share of items in which the first is
better (lower for rmse, mse and distance; ties count half); p of a two-sided Wilcoxon signed-rank test; q, adjusted
after Benjamini and Hochberg over all lines. Class * is all classes together; it has a line where there are several.
The test takes items as independent; tracks that measure nearly the same are not, and make p too small.

Over folds, --folds says what a pair is: fold = a fold, with the means over the tracks of the class; track = a track, with
the means over the folds; both = a track in a fold. Folds are tables of models NAME_fold0, NAME_fold1, .. as drg train
writes them with --crossvalidation FOLDS all, or tables of one name in --names, and pair by their numbers. Folds share
training data, which makes p too small, most of all with both.
  drg eval compare a_fold*_scores.tsv b_fold*_scores.tsv --folds fold -o compared.tsv

Example (what noise costs a perfect model):
  drg simulate -o sim
  drg simulate -o noisy --noise 2
  drg eval score sim/signal.tsv sim/targets.tsv -o low.tsv
  drg eval score noisy/signal.tsv noisy/targets.tsv -o high.tsv
  drg eval compare low.tsv high.tsv -o compared.tsv";

/// Name of all classes together.
const ALL: &str = "*";

/// Compare every two models on the scores they both have
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    files: Files,
    /// Table of all comparisons; - prints it instead of the summary
    #[arg(short, long, value_name = "TSV")]
    out: PathBuf,
    /// Metrics to compare
    #[arg(long, value_name = "A,B,...", value_delimiter = ',', default_value = "r")]
    metric: Vec<String>,
    /// What an item is: a track, a class or a sequence
    #[arg(long, value_name = "AXIS", default_value = "track")]
    axis: String,
    /// The tables are folds of models; what a pair of scores is
    #[arg(long, value_enum, value_name = "PAIR")]
    folds: Option<Unit>,
    /// Whether higher or lower values are better [default: as the metric says]
    #[arg(long, value_enum)]
    better: Option<Better>,
    /// Bootstrap samples of each interval
    #[arg(long, value_name = "N", default_value_t = 2000, value_parser = clap::value_parser!(u32).range(1..))]
    replicates: u32,
    /// Seed of the bootstrap
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Print the comparisons as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Better {
    /// As a correlation
    Higher,
    /// As an error
    Lower,
}

/// What a pair of scores is where tables are folds.
#[derive(Debug, Clone, Copy, PartialEq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Unit {
    /// A fold: means over its items
    Fold,
    /// An item (a track): means over the folds
    #[value(alias = "item")]
    Track,
    /// An item in a fold
    Both,
}

/// Scores of two models on the same items.
struct Pairs<'a> {
    models: [&'a str; 2],
    class: &'a str,
    metric: &'a str,
    lower_is_better: bool,
    first: Vec<f64>,
    second: Vec<f64>,
}

/// A line of the table.
struct Comparison<'a> {
    pairs: Pairs<'a>,
    result: Paired,
    q: f64,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let to_stdout = args.out == Path::new("-");
    if to_stdout && args.json {
        return Err(Error::Usage("--json and -o - both print; name a file with -o".into()));
    }
    if !to_stdout {
        output::check_file(&args.out)?;
    }
    let directions = args.metric.iter().map(|m| args.lower_is_better(m)).collect::<Result<Vec<bool>>>()?;
    let models = match args.folds {
        None => args.files.models(context.talk)?,
        Some(_) => args.files.folds(context.talk)?,
    };
    let names: Vec<String> = models.iter().map(|(name, _)| name.clone()).collect();
    if names.len() < 2 {
        return Err(Error::Usage(format!("there is one model, '{}'; a comparison needs two", names[0])));
    }
    let mut chosen = Vec::new();
    for (metric, &lower) in args.metric.iter().zip(&directions) {
        let mut of_metric = models.clone();
        choose(&mut of_metric, &args.axis, metric)?;
        chosen.push((of_metric, metric.as_str(), lower));
    }
    let all: Vec<Pairs> = chosen
        .iter()
        .flat_map(|(models, metric, lower)| every_two(models, metric, *lower, args.folds, context))
        .collect();
    if all.is_empty() {
        let by = if args.folds.is_some() { "class, name and fold" } else { "class and name" };
        let what = format!("no two models have a score of the same item; items are matched by {by}");
        return Err(Error::Usage(what));
    }
    let results: Vec<Paired> =
        all.par_iter().map(|p| paired(&p.first, &p.second, args.replicates as usize, LEVEL, args.seed)).collect();
    let adjusted = benjamini_hochberg(&results.iter().map(|r| r.test.p).collect::<Vec<f64>>());
    let lines: Vec<Comparison> = all
        .into_iter()
        .zip(results)
        .zip(adjusted)
        .map(|((pairs, result), q)| Comparison { pairs, result, q })
        .collect();
    let axis = match args.folds {
        Some(Unit::Fold) => "fold".to_string(),
        Some(Unit::Both) => format!("{} in fold", args.axis),
        _ => args.axis.clone(),
    };
    let text = table(&lines, &axis);
    if to_stdout {
        return talk::print(text);
    }
    output::write_file(&args.out, context, args, |path| crate::util::fs::write_bytes(path, text.as_bytes()))?;
    context.talk.say(args.out.display());
    if args.json {
        let rows: Vec<Value> = lines.iter().map(|l| l.json(&axis)).collect();
        let all = json!({ "models": names, "level": LEVEL, "table": args.out, "comparisons": rows });
        return talk::print(format_args!("{all:#}\n"));
    }
    let header = ["first", "second", "class", "metric", "items", "mean diff", "95% from", "to", "wins", "p", "q"];
    let header = header.map(String::from).to_vec();
    let rows: Vec<Vec<String>> = std::iter::once(header).chain(lines.iter().map(Comparison::cells)).collect();
    talk::print(talk::aligned(&rows, 4))
}

impl Args {
    fn lower_is_better(&self, metric: &str) -> Result<bool> {
        match (self.better, metric.parse::<Metric>()) {
            (Some(better), _) => Ok(better == Better::Lower),
            (None, Ok(metric)) => Ok(metric.lower_is_better()),
            (None, Err(error)) => {
                Err(Error::Usage(format!("{error}; for another one, say --better higher or --better lower")))
            }
        }
    }
}

/// Pairs of models with the items that both have, each class and all together; models of one metric and axis.
fn every_two<'a>(
    models: &'a [(String, Vec<Row>)],
    metric: &'a str,
    lower_is_better: bool,
    unit: Option<Unit>,
    context: &Context,
) -> Vec<Pairs<'a>> {
    let mut all = Vec::new();
    for (i, (a, first)) in models.iter().enumerate() {
        for (b, second) in &models[i + 1..] {
            let values: HashMap<Key, f64> = second.iter().map(|r| (r.key(), r.value)).collect();
            let both = |row: &'a Row| values.get(&row.key()).map(|&v| (row, row.value, v));
            let (rows, missing): (Vec<_>, Vec<_>) =
                first.iter().filter_map(both).partition(|(_, a, b)| !a.is_nan() && !b.is_nan());
            let (common, missing) = (rows.len(), missing.len());
            let others = first.len() + second.len() - 2 * (common + missing);
            if others + missing > 0 {
                let note = format!("{others} of one model only, {missing} without a value");
                context.talk.say(format_args!("{a} and {b}: {metric} of {common} items in common; left out {note}"));
            }
            let mut classes: Vec<&str> = Vec::new();
            for (row, ..) in &rows {
                if !classes.contains(&row.class.as_str()) {
                    classes.push(&row.class);
                }
            }
            // A class is one item of the axis of classes: only all together can be compared, unless there are folds of it.
            let lone = matches!(unit, None | Some(Unit::Track)) && rows.iter().any(|(r, ..)| r.axis == "class");
            let own: &[&str] = if lone { &[] } else { &classes };
            let together = (own.len() != 1 && common > 0).then_some(None);
            for class in own.iter().copied().map(Some).chain(together) {
                let of = rows.iter().filter(|(r, ..)| class.is_none_or(|c| c == r.class));
                let (first, second) = united(of, unit).into_iter().unzip();
                all.push(Pairs { models: [a, b], class: class.unwrap_or(ALL), metric, lower_is_better, first, second });
            }
        }
    }
    all
}

/// Pairs of scores, those of a fold or of an item as their means where that is the unit.
fn united<'a>(rows: impl Iterator<Item = &'a (&'a Row, f64, f64)>, unit: Option<Unit>) -> Vec<(f64, f64)> {
    let mut order: Vec<(&str, &str)> = Vec::new();
    let mut of: HashMap<(&str, &str), (Vec<f64>, Vec<f64>)> = HashMap::new();
    let mut single = Vec::new();
    for (row, a, b) in rows {
        let key = match unit {
            Some(Unit::Fold) => (row.fold.as_str(), ""),
            Some(Unit::Track) => (row.class.as_str(), row.item.as_str()),
            None | Some(Unit::Both) => {
                single.push((*a, *b));
                continue;
            }
        };
        let (first, second) = of.entry(key).or_insert_with(|| {
            order.push(key);
            Default::default()
        });
        first.push(*a);
        second.push(*b);
    }
    single.extend(order.iter().map(|key| (mean(&of[key].0), mean(&of[key].1))));
    single
}

const COLUMNS: &str = "model_a\tmodel_b\tclass\taxis\tmetric\tn\tmean_a\tmean_b\tmean_difference\tmean_low\tmean_high\t\
                       median_difference\tmedian_low\tmedian_high\twins\tstatistic\tp\tq\n";

fn table(lines: &[Comparison], axis: &str) -> String {
    let mut text = String::from(COLUMNS);
    for line in lines {
        let (Pairs { models: [a, b], class, metric, .. }, r) = (&line.pairs, &line.result);
        let numbers: Vec<String> = line.numbers().iter().map(digits).collect();
        text.push_str(&format!("{a}\t{b}\t{class}\t{axis}\t{metric}\t{}\t{}\n", r.n, numbers.join("\t")));
    }
    text
}

impl Comparison<'_> {
    /// Share of items in which the first model is better.
    fn wins(&self) -> f64 {
        if self.pairs.lower_is_better { 1.0 - self.result.greater } else { self.result.greater }
    }

    /// The numbers behind `n` in the table, in its order.
    fn numbers(&self) -> [f64; 12] {
        let r = &self.result;
        let (mean, median) = (r.mean_interval, r.median_interval);
        [
            r.means[0],
            r.means[1],
            r.mean,
            mean.0,
            mean.1,
            r.median,
            median.0,
            median.1,
            self.wins(),
            r.test.statistic,
            r.test.p,
            self.q,
        ]
    }

    fn json(&self, axis: &str) -> Value {
        let (Pairs { models: [a, b], class, metric, .. }, r) = (&self.pairs, &self.result);
        json!({
            "model_a": a, "model_b": b, "class": class, "axis": axis, "metric": metric, "n": r.n,
            "mean_a": r.means[0], "mean_b": r.means[1],
            "mean_difference": r.mean, "mean_interval": [r.mean_interval.0, r.mean_interval.1],
            "median_difference": r.median, "median_interval": [r.median_interval.0, r.median_interval.1],
            "wins": self.wins(), "statistic": r.test.statistic, "p": r.test.p, "q": self.q,
        })
    }

    fn cells(&self) -> Vec<String> {
        let (Pairs { models: [a, b], class, metric, .. }, r) = (&self.pairs, &self.result);
        let mut cells = [a, b, class, metric].map(|c| c.to_string()).to_vec();
        cells.push(r.n.to_string());
        cells.extend([r.mean, r.mean_interval.0, r.mean_interval.1].map(|v| format!("{v:.4}")));
        cells.push(format!("{:.3}", self.wins()));
        cells.extend([r.test.p, self.q].map(probability));
        cells
    }
}

/// All digits, with an exponent where there would be many zeros.
fn digits(value: &f64) -> String {
    if *value != 0.0 && value.abs() < 1e-4 { format!("{value:e}") } else { value.to_string() }
}

fn probability(p: f64) -> String {
    if p < 0.001 { format!("{p:.1e}") } else { format!("{p:.3}") }
}
