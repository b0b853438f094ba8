//! `drg ensemble`: the average of several models as a model.

use std::path::PathBuf;

use serde::Serialize;

use super::{Context, output, talk};
use crate::error::{Error, Result};
use crate::model::Model;

const EXAMPLE: &str = "\
The average predicts the mean of what the models predict, on the scale of the measurements, and so
its effects of mutations are the means of theirs. Verbs take it like any other model, but for what
looks inside: predict --embedding and --mask, perturb kernels; and it is not trained further. Take
one of its models for these (drg convert mean.drg --member 0 -o member.drg writes one). Models must have one architecture and the same tracks in the same order. An average among them counts as
one, whatever it is made of.

All folds and their average in one command: drg train ... --crossvalidation FOLDS all

Example:
  drg simulate -o sim --sequences 400 --length 60
  drg train sim/sequences.fa sim/targets.tsv -o a.drg --cnn num_kernels=16+epochs=2 --seed 1
  drg train sim/sequences.fa sim/targets.tsv -o b.drg --cnn num_kernels=16+epochs=2 --seed 2
  drg ensemble a.drg b.drg -o mean.drg
  drg predict mean.drg sim/sequences.fa -o predictions.npz";

/// Average several models into one
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Trained models, of folds or of seeds
    #[arg(value_name = "MODEL", required = true)]
    models: Vec<PathBuf>,
    /// Model file to write
    #[arg(short, long, value_name = "MODEL")]
    out: PathBuf,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    output::check_file(&args.out)?;
    let place = |path: &PathBuf| std::fs::canonicalize(path).unwrap_or_else(|_| path.clone());
    let places: Vec<PathBuf> = args.models.iter().map(place).collect();
    for (i, path) in args.models.iter().enumerate() {
        if places[..i].contains(&places[i]) {
            return Err(Error::Usage(format!("{} is named twice", path.display())));
        }
    }
    if places.contains(&place(&args.out)) {
        return Err(Error::Usage(format!("-o {} is one of the models; name another file", args.out.display())));
    }
    let mean = average(&args.models)?;
    output::write_file(&args.out, context, args, |path| mean.save(path))?;
    let architecture = mean.network.architecture();
    context.talk.say(format_args!("average of {} models, {} tracks", architecture.members, architecture.tracks()));
    talk::print(format_args!("{}\n", args.out.display()))
}

/// The average of stored models.
///
/// # Errors
/// Those of [`Model::load`] and [`Model::average`].
pub(super) fn average(paths: &[PathBuf]) -> Result<Model> {
    let models: Vec<Model> = paths.iter().map(|path| Model::load(path)).collect::<Result<_>>()?;
    let names: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    let named: Vec<(&str, &Model)> = names.iter().map(String::as_str).zip(&models).collect();
    Model::average(&named)
}
