//! `drg plot dist`: distributions of scores.

use clap::ValueEnum;
use serde::Serialize;

use super::Picture;
use crate::cli::Context;
use crate::cli::score_table::{Files, Row, choose};
use crate::error::{Error, Result};
use crate::plot::{DistFigure, DistSeries};

const EXAMPLE: &str = "\
A box has the quartiles and the median, whiskers reach to the last score within 1.5 times the box; each score is a point,
or their density is drawn where they are many. At the right, the median and the number of scores.

Example:
  drg simulate -o sim
  drg eval score sim/signal.tsv sim/targets.tsv --classes sim/classes.txt -o scores.tsv
  drg plot dist scores.tsv --metric spearman -o dist.svg";

/// Boxes that still make a legible picture.
const MOST_BOXES: usize = 200;

/// Draw the distributions of scores, a box a model and class
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    files: Files,
    /// Metric to draw
    #[arg(long, value_name = "METRIC", default_value = "r")]
    metric: String,
    /// What a score is of: a track, a class or a sequence
    #[arg(long, value_name = "AXIS", default_value = "track")]
    axis: String,
    /// What stands together: the models of a class, or the classes of a model
    #[arg(long, value_enum, default_value = "class")]
    by: By,
    /// Order by the median, highest first
    #[arg(long)]
    sort: bool,
    #[command(flatten)]
    picture: Picture,
}

#[derive(Debug, Clone, Copy, PartialEq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum By {
    /// A group of boxes each class, one each model
    Class,
    /// A group of boxes each model, one each class
    Model,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    args.picture.check()?;
    let mut models = args.files.models(context.talk)?;
    choose(&mut models, &args.axis, &args.metric)?;
    // A class has one score on its own axis: the distribution is over all of them.
    if args.axis == "class" {
        models.iter_mut().flat_map(|(_, rows)| rows).for_each(|row| row.class.clear());
    }
    let mut classes: Vec<String> = Vec::new();
    for row in models.iter().flat_map(|(_, rows)| rows) {
        if !classes.contains(&row.class) {
            classes.push(row.class.clone());
        }
    }
    let boxes = models.len() * classes.len();
    if boxes > MOST_BOXES {
        let (models, classes) = (models.len(), classes.len());
        return Err(Error::Usage(format!(
            "{models} models and {classes} classes make {boxes} boxes, more than {MOST_BOXES}; draw fewer tables"
        )));
    }
    let of = |rows: &[Row], class: &str| -> Vec<f64> {
        let own = rows.iter().filter(|r| r.class == class);
        own.map(|r| r.value).filter(|v| v.is_finite()).collect()
    };
    let mut values: Vec<Vec<Vec<f64>>> =
        models.iter().map(|(_, rows)| classes.iter().map(|class| of(rows, class)).collect()).collect();
    let scores: usize = models.iter().map(|(_, rows)| rows.len()).sum();
    let drawn: usize = values.iter().flatten().map(Vec::len).sum();
    if drawn < scores {
        context.talk.say(format_args!("{} of {scores} scores have no finite value and are left out", scores - drawn));
    }
    let names: Vec<String> = models.into_iter().map(|(name, _)| name).collect();
    // One class needs no legend: its models are the labels.
    let by_model = args.by == By::Model || classes.len() == 1;
    let (labels, series) = if by_model {
        let turned = (0..classes.len()).map(|c| values.iter_mut().map(|v| std::mem::take(&mut v[c])).collect());
        values = turned.collect();
        (names, classes)
    } else {
        (classes, names)
    };
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    let series: Vec<DistSeries> =
        series.iter().zip(&values).map(|(name, values)| DistSeries { name, values }).collect();
    let figure = DistFigure {
        title: args.picture.title.clone(),
        value_label: match args.metric.as_str() {
            "r" => "Pearson r".into(),
            "spearman" => "Spearman r".into(),
            other => other.into(),
        },
        sorted: args.sort,
        ..DistFigure::default()
    };
    args.picture.write(&figure.render(&labels, &series)?, args, context)
}
