//! `drg plot scatter`: predictions against measurements.

use serde::Serialize;

use super::Picture;
use crate::cli::Context;
use crate::cli::choose::choose;
use crate::cli::paired::Files;
use crate::error::{Error, Result};
use crate::plot::{ScatterFigure, ScatterPanel};

const EXAMPLE: &str = "\
Example:
  drg simulate -o sim
  drg plot scatter sim/signal.tsv sim/targets.tsv -o scatter.svg";

/// Panels that still make a legible picture.
const MOST_PANELS: usize = 100;

/// Draw predictions against measurements, one panel a track
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    files: Files,
    /// Tracks to draw, by name, index or range of indices [default: all]
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    tracks: Vec<String>,
    #[command(flatten)]
    picture: Picture,
}

/// Points of one track.
struct Points {
    measured: Vec<f32>,
    predicted: Vec<f32>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    args.picture.check()?;
    let pairs = args.files.read(context.talk)?;
    let width = pairs.tracks.len();
    let tracks: Vec<usize> = match args.tracks.as_slice() {
        [] => (0..width).collect(),
        wanted => choose("tracks", &pairs.tracks, wanted)?,
    };
    if tracks.len() > MOST_PANELS {
        let n = tracks.len();
        return Err(Error::Usage(format!("{n} tracks are more than {MOST_PANELS} panels; choose some with --tracks")));
    }
    let points = |&t: &usize| {
        let cells = (t..pairs.measured.len()).step_by(width).filter(|&i| !pairs.measured[i].is_nan());
        let (measured, predicted) = cells.map(|i| (pairs.measured[i] as f32, pairs.prediction[i] as f32)).unzip();
        Points { measured, predicted }
    };
    let all: Vec<Points> = tracks.iter().map(points).collect();
    let panels: Vec<ScatterPanel> = tracks
        .iter()
        .zip(&all)
        .map(|(&t, p)| ScatterPanel { title: &pairs.tracks[t], measured: &p.measured, predicted: &p.predicted })
        .collect();
    let figure = ScatterFigure { title: args.picture.title.clone(), ..ScatterFigure::default() };
    args.picture.write(&figure.render(&panels)?, args, context)
}
