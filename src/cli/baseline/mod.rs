//! `drg baseline`: linear models of k-mer counts, which networks are compared with.

mod fit;
mod predict;

use super::Context;
use crate::error::Result;

const EXAMPLE: &str = "\
Example:
  drg simulate -o sim --sequences 400 --length 60
  drg baseline fit sim/sequences.fa sim/targets.tsv -o ridge.json --k 4
  drg baseline predict ridge.json sim/sequences.fa -o predictions.npz";

/// Fit linear models of k-mer counts, to compare networks with, and predict with them
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant, reason = "one value a process")]
enum What {
    Fit(fit::Args),
    Predict(predict::Args),
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    match &args.what {
        What::Fit(args) => fit::run(args, context),
        What::Predict(args) => predict::run(args, context),
    }
}
