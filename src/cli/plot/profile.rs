//! `drg plot profile`: predicted bins over measured ones.

use serde::Serialize;

use super::Picture;
use crate::cli::Context;
use crate::cli::choose::choose;
use crate::cli::paired::{Files, Pairs};
use crate::error::{Error, Result};
use crate::plot::{Profile, ProfileFigure, ProfilePanel, Svg};

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
    /// Position of the first bin in its sequence, for the axis [default: bins are numbered]
    #[arg(long, value_name = "N")]
    first: Option<usize>,
    #[command(flatten)]
    picture: Picture,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    args.picture.check()?;
    let pairs = args.files.read(context.talk)?;
    if pairs.profiles.is_none() {
        return Err(Error::Usage(
            "PRED and MEASURED: expected profiles, npz with counts (N, T, bins); matrices are drawn by drg plot scatter"
                .into(),
        ));
    }
    let width = pairs.tracks.len();
    let rows = match args.rows.as_slice() {
        [] => largest(&pairs),
        wanted => choose("rows", &pairs.names, wanted)?,
    };
    let tracks: Vec<usize> = match args.tracks.as_slice() {
        [] => (0..width).collect(),
        wanted => choose("tracks", &pairs.tracks, wanted)?,
    };
    if args.strands && !tracks.chunks(2).all(|t| t.len() == 2 && t[0] % 2 == 0 && t[1] == t[0] + 1) {
        return Err(Error::Usage(
            "--strands: expected pairs of tracks that stand beside each other, an even number first; choose them with --tracks".into(),
        ));
    }
    let figure = ProfileFigure { title: args.picture.title.clone(), first: args.first, ..ProfileFigure::default() };
    args.picture.write(&draw(&pairs, &rows, &tracks, args.strands, figure)?, args, context)
}

/// The profiles of rows, one panel a track, or two tracks a panel where they are strands.
///
/// # Errors
/// [`Error::Usage`] for too many panels; what the figure returns.
///
/// # Panics
/// If `pairs` are no profiles.
pub(in crate::cli) fn draw(
    pairs: &Pairs,
    rows: &[usize],
    tracks: &[usize],
    strands: bool,
    figure: ProfileFigure,
) -> Result<Svg> {
    let (profiles, width) = (pairs.profiles.as_ref().expect("the caller has looked"), pairs.tracks.len());
    let each = if strands { 2 } else { 1 };
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
    let title = |(row, of): &(usize, &[usize])| {
        let name = &pairs.names[*row];
        if strands && tracks.len() == 2 { name.clone() } else { format!("{name}, {}", pairs.tracks[of[0]]) }
    };
    let titles: Vec<String> = chosen.iter().map(title).collect();
    let panels: Vec<ProfilePanel> = (chosen.iter().zip(&titles))
        .map(|((row, tracks), title)| ProfilePanel {
            title,
            up: of(*row, tracks[0]),
            down: tracks.get(1).map(|&t| of(*row, t)),
        })
        .collect();
    // Both strands need the height of two.
    let height = if strands { 1.5 * figure.height } else { figure.height };
    ProfileFigure { height, ..figure }.render(&panels)
}

/// The rows with the largest measured totals, at most four, in their order; none with missing bins.
pub(in crate::cli) fn largest(pairs: &Pairs) -> Vec<usize> {
    let width = pairs.tracks.len();
    let total = |row: usize| pairs.measured[row * width..][..width].iter().sum::<f64>();
    let mut rows: Vec<usize> = (0..pairs.names.len()).filter(|&row| total(row).is_finite()).collect();
    rows.sort_by(|&a, &b| total(b).total_cmp(&total(a)));
    rows.truncate(4);
    rows.sort_unstable();
    rows
}
