//! `drg eval`: how good predictions and attributions are, and which model is better.

mod compare;
mod merge;
mod recovery;
mod score;
pub(super) mod sites;

use super::Context;
use crate::error::Result;

const EXAMPLE: &str = "\
Example:
  drg simulate -o sim
  drg eval score sim/signal.tsv sim/targets.tsv -o scores.tsv";

/// Score predictions against measurements, compare scores of models, and score attributions against planted sites
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant, reason = "one value a process")]
enum What {
    Score(score::Args),
    Merge(merge::Args),
    Compare(compare::Args),
    Recovery(recovery::Args),
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    match &args.what {
        What::Score(args) => score::run(args, context),
        What::Merge(args) => merge::run(args, context),
        What::Compare(args) => compare::run(args, context),
        What::Recovery(args) => recovery::run(args, context),
    }
}
