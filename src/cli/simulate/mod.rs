//! `drg simulate`: data whose right answers are known.

mod motifs;
mod process;

use std::ops::RangeInclusive;

use super::Context;
use crate::error::{Error, Result};

const EXAMPLE: &str = "\
Files in the folder:
  sequences.fa   the sequences              motifs.meme   the planted motifs
  targets.tsv    one value a track, noisy   sites.bed     their places and effects
  signal.tsv     the same without noise     effects.tsv   the effect of one site of each motif
  folds.txt      sets for cross-validation  classes.txt   the class of each track
  genome.fa      with --chromosomes         variants.vcf  with --variants
  profiles.npz   with --profile-bins: reads a base and strand
  simulate.json  how they were made, interactions

Example:
  drg simulate -o sim --sequences 2000 --tracks 4 --seed 7
  drg simulate -o sim --chromosomes 2 --chromosome-length 100000 --variants 10000
  drg simulate process -o genes            # DNA and RNA of genes, expression, degradation";

/// Simulate sequences with planted motifs, and targets that follow from them
///
/// Sequences are random background with instances of motifs at random places. The target of a track is the sum of the
/// effects of the planted sites, plus noise. The same seed gives the same files, on any number of threads.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE, args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(flatten)]
    motifs: Option<motifs::Args>,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
#[allow(clippy::large_enum_variant, reason = "one value a process")]
enum What {
    Process(process::Args),
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    match (&args.what, &args.motifs) {
        (Some(What::Process(args)), _) => process::run(args, context),
        (None, Some(args)) => motifs::run(args, context),
        (None, None) => Err(Error::Usage("expected -o DIR, the folder for the files".into())),
    }
}

/// A range as in `8-12`, or one number.
fn widths(option: &str, text: &str) -> Result<RangeInclusive<usize>> {
    let ends = text.split_once('-').unwrap_or((text, text));
    match (ends.0.trim().parse(), ends.1.trim().parse()) {
        (Ok(low), Ok(high)) => Ok(low..=high),
        _ => Err(Error::Usage(format!("{option}: expected one number or two as in 8-12, found '{text}'"))),
    }
}
