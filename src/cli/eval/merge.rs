//! `drg eval merge`: several tables of scores as one.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::score_table::{Files, Key, Row, Scores, Spread, one_fold, split_fold};
use crate::cli::talk::Talk;
use crate::cli::{Context, output, talk};
use crate::error::Result;
use crate::io::first_few;
use crate::stat;

const EXAMPLE: &str = "\
With --how mean, min or max, scores of the same class, axis, item and metric become one; n is then the sum, and the
column tables says how many tables had a value. NaN counts as no value. Beside a mean are the standard deviation (sd)
and the ends of its 95 % confidence interval after Student's t (low, high), over the tables. Folds share training data:
the interval is narrower than one over data sets would be.

Example:
  drg simulate -o sim
  drg simulate -o noisy --noise 2
  drg eval score sim/signal.tsv sim/targets.tsv -o low.tsv
  drg eval score noisy/signal.tsv noisy/targets.tsv -o high.tsv
  drg eval merge low.tsv high.tsv --how mean -o mean.tsv";

/// Put tables of scores together, of folds or of models, or average them
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    files: Files,
    /// Table of all scores; - prints it
    #[arg(short, long, value_name = "TSV")]
    out: PathBuf,
    /// What becomes of scores of the same
    #[arg(long, value_enum, default_value = "concat")]
    how: How,
    /// Average only scores of the same model
    #[arg(long)]
    per_model: bool,
    /// Models NAME_fold0, NAME_fold1, .. (or -cvK-0, -cvK-1, .. as in DRG's names) are folds of one model, whose scores become one
    #[arg(long, conflicts_with = "model")]
    folds: bool,
    /// Leave out what is missing in some table
    #[arg(long)]
    common: bool,
    /// Name of the model in the table of averages [default: that in the tables, or mean, min or max if they differ]
    #[arg(long, value_name = "NAME", conflicts_with = "per_model")]
    model: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum How {
    /// All lines, one below the other
    Concat,
    /// Their mean
    Mean,
    /// The least
    Min,
    /// The greatest
    Max,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let to_stdout = args.out == Path::new("-");
    if !to_stdout {
        output::check_file(&args.out)?;
    }
    let concat = args.how == How::Concat;
    if concat && (args.per_model || args.folds || args.model.is_some()) {
        let what = "--per-model, --folds and --model are for averages; add --how mean, min or max";
        return Err(crate::error::Error::Usage(what.into()));
    }
    let mut tables = match (concat, args.folds) {
        (true, _) => args.files.read_apart(context.talk)?,
        (_, true) => args.files.read_folds(context.talk)?,
        _ => args.files.read()?,
    };
    if args.folds {
        for scores in &mut tables {
            if let Some((model, _)) = split_fold(&scores.model) {
                scores.model = model;
            }
        }
    }
    let apart = args.per_model || args.folds;
    if args.folds
        && let Some(one) = groups(&tables, apart).iter().find(|group| group.len() < 2)
    {
        return Err(one_fold(&tables[one[0]].model, &tables[one[0]].label));
    }
    for group in groups(&tables, apart) {
        complete(&mut tables, &group, args, context.talk);
    }
    let groups = groups(&tables, apart);
    let text = match concat {
        true => concatenated(&tables),
        false => averaged(&tables, &groups, args),
    };
    if to_stdout {
        return talk::print(text);
    }
    output::write_file(&args.out, context, args, |path| crate::util::fs::write_bytes(path, text.as_bytes()))?;
    let (lines, n) = (text.lines().count() - 1, tables.len());
    talk::print(format_args!("{}: {lines} scores of {n} tables\n", args.out.display()))
}

/// Tables that are put together, by their indices.
fn groups(tables: &[Scores], per_model: bool) -> Vec<Vec<usize>> {
    if !per_model {
        return vec![(0..tables.len()).collect()];
    }
    let mut groups: Vec<Vec<usize>> = Vec::new();
    for (i, table) in tables.iter().enumerate() {
        match groups.iter_mut().find(|g| tables[g[0]].model == table.model) {
            Some(group) => group.push(i),
            None => groups.push(vec![i]),
        }
    }
    groups
}

/// Says which tables of a group lack scores that others have, and with `--common` takes these scores out of all. Folds have
/// sequences of their own.
fn complete(tables: &mut [Scores], group: &[usize], args: &Args, talk: Talk) {
    let own_of_fold = |row: &Row| args.folds && row.axis == "sequence";
    let mut everything: Vec<&Row> = Vec::new();
    let mut holders: HashMap<Key, usize> = HashMap::new();
    for row in group.iter().flat_map(|&t| &tables[t].rows).filter(|row| !own_of_fold(row)) {
        let held = holders.entry(row.key()).or_insert(0);
        if *held == 0 {
            everything.push(row);
        }
        *held += 1;
    }
    let mut some_missing = false;
    for &t in group {
        let own: HashSet<Key> = tables[t].rows.iter().map(Row::key).collect();
        let missing: Vec<String> = everything.iter().filter(|r| !own.contains(&r.key())).map(|r| r.words()).collect();
        if !missing.is_empty() {
            some_missing = true;
            let (label, n, all) = (&tables[t].label, missing.len(), everything.len());
            talk.say(format_args!("{label}: {n} of {all} scores are missing: {}", first_few(&missing)));
        }
    }
    if args.common && some_missing {
        let common = |row: &Row| own_of_fold(row) || holders[&row.key()] == group.len();
        let keep: Vec<Vec<bool>> = group.iter().map(|&t| tables[t].rows.iter().map(common).collect()).collect();
        for (&t, keep) in group.iter().zip(keep) {
            let mut keep = keep.into_iter();
            tables[t].rows.retain(|_| keep.next().unwrap_or(false));
        }
    }
}

fn concatenated(tables: &[Scores]) -> String {
    let mut text = String::from("model\tclass\taxis\titem\tmetric\tvalue\tn\n");
    for Scores { model, rows, .. } in tables {
        for Row { class, axis, item, metric, value, n, .. } in rows {
            text.push_str(&format!("{model}\t{class}\t{axis}\t{item}\t{metric}\t{value}\t{n}\n"));
        }
    }
    text
}

fn averaged(tables: &[Scores], groups: &[Vec<usize>], args: &Args) -> String {
    let mut text = String::from("model\tclass\taxis\titem\tmetric\tvalue\tn\ttables");
    text.push_str(if args.how == How::Mean { "\tsd\tlow\thigh\n" } else { "\n" });
    let word = match args.how {
        How::Min => "min",
        How::Max => "max",
        How::Mean | How::Concat => "mean",
    };
    for group in groups {
        let first = &tables[group[0]].model;
        let same = group.iter().all(|&t| tables[t].model == *first);
        let model = args.model.as_deref().unwrap_or(if same { first } else { word });
        let mut order: Vec<Key> = Vec::new();
        let mut of: HashMap<Key, Vec<&Row>> = HashMap::new();
        for row in group.iter().flat_map(|&t| &tables[t].rows) {
            let rows = of.entry(row.key()).or_default();
            if rows.is_empty() {
                order.push(row.key());
            }
            rows.push(row);
        }
        for key in order {
            let valued = || of[&key].iter().filter(|r| !r.value.is_nan());
            let values: Vec<f64> = valued().map(|r| r.value).collect();
            let spread = Spread::of(values.iter().copied());
            let value = match args.how {
                How::Min => stat::quantile(&values, 0.0),
                How::Max => stat::quantile(&values, 1.0),
                How::Mean | How::Concat => spread.mean,
            };
            let (class, axis, item, metric, _) = key;
            let n: u64 = valued().map(|r| r.n).sum();
            let tables = values.len();
            text.push_str(&format!("{model}\t{class}\t{axis}\t{item}\t{metric}\t{value}\t{n}\t{tables}"));
            if args.how == How::Mean {
                text.push_str(&format!("\t{}\t{}\t{}", spread.sd, spread.interval.0, spread.interval.1));
            }
            text.push('\n');
        }
    }
    text
}
