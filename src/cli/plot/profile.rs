//! `drg plot profile`: predicted bins over measured ones.

use serde::Serialize;

use super::Picture;
use crate::cli::Context;
use crate::cli::choose::choose;
use crate::cli::paired::Files;
use crate::error::{Error, Result};
use crate::plot::{Profile, ProfileFigure, ProfilePanel};

const EXAMPLE: &str = "\
Example:
  drg simulate -o sim --length 200 --profile-bins 160
  drg train sim/sequences.fa sim/profiles.npz -o m.drg --set num_kernels=16 --set outclass=EXP --set loss_function=Poisson --set epochs=5
  drg plot profile m_pred.npz sim/profiles.npz -o profiles.svg --rows 0:2 --tracks 0:2 --strands";

/// Panels that still make a legible picture.
const MOST_PANELS: usize = 60;

/// Draw predicted profiles over measured ones, one panel a sequence and track
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    files: Files,
    /// Sequences to draw, by name, index or range of indices [default: the 4 with the largest measured totals]
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    rows: Vec<String>,
    /// Tracks to draw, by name, index or range of indices [default: all]
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    tracks: Vec<String>,
    /// Tracks are strands in pairs: each pair in one panel, the second one downwards
    #[arg(long)]
    strands: bool,
    /// Position of the first bin in its sequence
    #[arg(long, value_name = "N", default_value_t = 0)]
    first: usize,
    #[command(flatten)]
    picture: Picture,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    args.picture.check()?;
    let pairs = args.files.read(context.talk)?;
    let Some(profiles) = &pairs.profiles else {
        return Err(Error::Usage(
            "PRED and MEASURED: expected profiles, npz with counts (N, T, bins); matrices are drawn by drg plot scatter"
                .into(),
        ));
    };
    let width = pairs.tracks.len();
    let rows = match args.rows.as_slice() {
        [] => largest(&pairs.measured, width),
        wanted => choose("rows", &pairs.names, wanted)?,
    };
    let tracks: Vec<usize> = match args.tracks.as_slice() {
        [] => (0..width).collect(),
        wanted => choose("tracks", &pairs.tracks, wanted)?,
    };
    if args.strands && tracks.len() % 2 == 1 {
        let n = tracks.len();
        return Err(Error::Usage(format!("--strands: expected an even number of tracks, two a panel; found {n}")));
    }
    let each = if args.strands { 2 } else { 1 };
    let n = rows.len() * tracks.len() / each;
    if n > MOST_PANELS {
        return Err(Error::Usage(format!(
            "{n} panels are more than {MOST_PANELS}; choose sequences with --rows and tracks with --tracks"
        )));
    }
    let narrow = |x: &[f64]| x.iter().map(|&v| v as f32).collect::<Vec<f32>>();
    let (measured, predicted) = (narrow(&profiles.measured), narrow(&profiles.prediction));
    let of = |row: usize, track: usize| {
        let at = (row * width + track) * profiles.bins;
        let [measured, predicted] = [&measured, &predicted].map(|x| &x[at..at + profiles.bins]);
        Profile { name: &pairs.tracks[track], measured, predicted }
    };
    let chosen: Vec<(usize, &[usize])> =
        rows.iter().flat_map(|&row| tracks.chunks_exact(each).map(move |t| (row, t))).collect();
    let titles: Vec<String> = chosen
        .iter()
        .map(|(row, tracks)| match args.strands {
            true => pairs.names[*row].clone(),
            false => format!("{}, {}", pairs.names[*row], pairs.tracks[tracks[0]]),
        })
        .collect();
    let panels: Vec<ProfilePanel> = (chosen.iter().zip(&titles))
        .map(|((row, tracks), title)| ProfilePanel {
            title,
            up: of(*row, tracks[0]),
            down: tracks.get(1).map(|&t| of(*row, t)),
        })
        .collect();
    let height = if args.strands { 120.0 } else { ProfileFigure::default().height };
    let title = args.picture.title.clone();
    let figure = ProfileFigure { title, first: args.first, height, ..ProfileFigure::default() };
    args.picture.write(&figure.render(&panels)?, args, context)
}

/// The rows with the largest totals, at most four, in their order.
fn largest(totals: &[f64], width: usize) -> Vec<usize> {
    let total = |row: usize| totals[row * width..][..width].iter().sum::<f64>();
    let mut rows: Vec<usize> = (0..totals.len() / width.max(1)).collect();
    rows.sort_by(|&a, &b| total(b).total_cmp(&total(a)));
    rows.truncate(4);
    rows.sort_unstable();
    rows
}
