//! `drg plot curves`: losses over the epochs of a training.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::Picture;
use crate::cli::Context;
use crate::error::{Error, Result};
use crate::io::text::Lines;
use crate::plot::{LossCurve, LossFigure, LossRow};

const EXAMPLE: &str = "\
A log has no header and five columns: epoch, training loss and validation loss on the validation set, training loss and
validation loss on the training set.

Example, after `drg simulate -o sim` and a training on it that wrote model_loss.txt:
  drg plot curves model_loss.txt -o loss.svg";

/// Draw the loss curves of one or more trainings
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Args {
    /// Logs of trainings
    #[arg(value_name = "LOSS", required = true)]
    logs: Vec<PathBuf>,
    /// Names in the legend [default: the file names]
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    names: Vec<String>,
    /// Logarithmic losses
    #[arg(long)]
    log: bool,
    #[command(flatten)]
    picture: Picture,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    args.picture.check()?;
    let names = args.names()?;
    let logs: Vec<Vec<LossRow>> = args.logs.iter().map(|path| read(path)).collect::<Result<_>>()?;
    let curves: Vec<LossCurve> = names.iter().zip(&logs).map(|(name, rows)| LossCurve { name, rows }).collect();
    let figure = LossFigure { title: args.picture.title.clone(), log: args.log, ..LossFigure::default() };
    args.picture.write(&figure.render(&curves)?, args, context)
}

impl Args {
    fn names(&self) -> Result<Vec<String>> {
        let (logs, names) = (self.logs.len(), self.names.len());
        if names == logs {
            return Ok(self.names.clone());
        }
        if names > 0 {
            return Err(Error::Usage(format!("names: expected {logs}, one a log; found {names}")));
        }
        let stem = |path: &PathBuf| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            stem.strip_suffix("_loss").unwrap_or(&stem).to_string()
        };
        Ok(self.logs.iter().map(stem).collect())
    }
}

/// Rows of a log.
pub(in crate::cli) fn read(path: &Path) -> Result<Vec<LossRow>> {
    let mut lines = Lines::open(path)?;
    let mut rows = Vec::new();
    while let Some((number, line)) = lines.next_text()? {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let [epoch, losses @ ..] = cells.as_slice() else {
            continue;
        };
        let refuse =
            |what: String| Error::line(path, number, format!("expected an epoch and four losses, found {what}"));
        let epoch = epoch.parse().map_err(|_| refuse(format!("epoch '{epoch}'")))?;
        let number = |cell: &&str| cell.parse::<f64>().map_err(|_| refuse(format!("loss '{cell}'")));
        let losses: Vec<f64> = losses.iter().map(number).collect::<Result<_>>()?;
        let &[train_on_val, val_on_val, train_on_train, val_on_train] = losses.as_slice() else {
            return Err(refuse(format!("{} columns", cells.len())));
        };
        rows.push(LossRow { epoch, train_on_val, val_on_val, train_on_train, val_on_train });
    }
    if rows.is_empty() {
        return Err(Error::file(path, "no epochs; expected lines of an epoch and four losses"));
    }
    Ok(rows)
}
