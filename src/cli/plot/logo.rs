//! `drg plot logo`: motifs as information-content logos.

use std::path::PathBuf;

use serde::Serialize;

use super::Picture;
use crate::cli::Context;
use crate::cli::choose::choose;
use crate::error::{Error, Result};
use crate::motif::meme;
use crate::plot::{Alphabet, Motif, MotifFigure};

const EXAMPLE: &str = "\
Example:
  drg simulate -o sim
  drg plot logo sim/motifs.meme -o motifs.svg";

/// Motifs that still make a legible picture.
const MOST_MOTIFS: usize = 100;

/// Draw the motifs of a MEME file, one logo below the other
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Args {
    /// Motifs: a MEME file of probabilities
    #[arg(value_name = "MEME")]
    motifs: PathBuf,
    /// Motifs to draw, by name, index or range of indices [default: all]
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    names: Vec<String>,
    /// Draw probabilities instead of bits
    #[arg(long)]
    probability: bool,
    /// Write U for T
    #[arg(long)]
    rna: bool,
    #[command(flatten)]
    picture: Picture,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    args.picture.check()?;
    let motifs = meme::read_pwms(&args.motifs)?;
    let names: Vec<String> = motifs.iter().map(|m| m.name.clone()).collect();
    let chosen: Vec<usize> = match args.names.as_slice() {
        [] => (0..motifs.len()).collect(),
        wanted => choose("names", &names, wanted)?,
    };
    if chosen.len() > MOST_MOTIFS {
        let n = chosen.len();
        return Err(Error::Usage(format!("{n} motifs are more than {MOST_MOTIFS}; choose some with --names")));
    }
    let rows: Vec<Motif> = chosen
        .iter()
        .map(|&m| Motif { name: &motifs[m].name, probabilities: &motifs[m].probabilities, offset: 0 })
        .collect();
    let figure = MotifFigure {
        title: args.picture.title.clone(),
        alphabet: if args.rna { Alphabet::Rna } else { Alphabet::Dna },
        probability: args.probability,
        ..MotifFigure::default()
    };
    args.picture.write(&figure.render(&rows)?, args, context)
}
