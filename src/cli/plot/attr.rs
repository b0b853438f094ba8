//! `drg plot attr`: what every mutation does, position by position.

use std::path::PathBuf;

use serde::Serialize;

use super::Picture;
use crate::cli::Context;
use crate::cli::choose::{choose, range};
use crate::cli::effects::Effects;
use crate::error::{Error, Result};
use crate::io::bed::{Region, read_bed};
use crate::plot::{Attribution, AttributionFigure, Interval};

const EXAMPLE: &str = "\
Letters: the base that the sequence has, as high as minus the mean effect of its three substitutions: a base that keeps
the prediction up stands above the line. Below, one cell a substitution: the effect itself.

Example, after `drg simulate -o sim` and with the mutation effects of a model on sim/sequences.fa in ism.npz:
  drg plot attr ism.npz --sequences seq0001 --tracks track1 --bed sim/sites.bed -o seq0001.svg";

/// Panels that still make a legible picture.
const MOST_PANELS: usize = 50;

/// Draw mutation effects: letters over a heat map of all substitutions
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Args {
    /// Effects: npz with values (N, T, 4, L), names, tracks and bases (N, L)
    #[arg(value_name = "ISM")]
    effects: PathBuf,
    /// Sequences to draw, by name, index or range of indices [default: the first]
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    sequences: Vec<String>,
    /// Tracks to draw, by name, index or range of indices [default: all]
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    tracks: Vec<String>,
    /// Positions to draw, counted from the first that the file has, half-open [default: all]
    #[arg(long, value_name = "FROM:TO")]
    range: Option<String>,
    /// Boxes over the letters: BED with the name of the sequence in column 1, 0-based half-open
    #[arg(long, value_name = "BED")]
    bed: Option<PathBuf>,
    /// Leave out the heat map
    #[arg(long)]
    no_heat_map: bool,
    /// Give every panel its own scale
    #[arg(long)]
    own_scales: bool,
    #[command(flatten)]
    picture: Picture,
}

/// One sequence and track.
struct Panel {
    title: String,
    sequence: usize,
    values: Vec<f32>,
    heights: Vec<f32>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    args.picture.check()?;
    let mut effects = Effects::open(&args.effects)?;
    let (sequences, tracks, figure) = args.validated(&effects)?;
    let bases = effects.bases()?;
    let length = effects.length;
    let reference = |n: usize| &bases[n * length..(n + 1) * length];

    let names = (effects.names.clone(), effects.tracks.clone());
    let mut panels = Vec::new();
    effects.each(
        |n| sequences.contains(&n),
        |n, map| {
            for &t in &tracks {
                let values = &map[t * 4 * length..(t + 1) * 4 * length];
                panels.push(Panel {
                    title: format!("{}, {}", names.0[n], names.1[t]),
                    sequence: n,
                    values: values.to_vec(),
                    heights: heights(values, reference(n)),
                });
            }
            Ok(())
        },
    )?;
    // They came in the order of the file.
    panels.sort_by_key(|p| sequences.iter().position(|&n| n == p.sequence));

    let regions = args.bed.as_deref().map_or(Ok(Vec::new()), read_bed)?;
    let intervals: Vec<Vec<Interval>> = panels.iter().map(|p| intervals(&regions, &names.0[p.sequence])).collect();
    if let (Some(bed), true) = (&args.bed, intervals.iter().all(Vec::is_empty)) {
        context.talk.say(format_args!("{}: no region lies in the sequences that are drawn", bed.display()));
    }
    let views: Vec<Attribution> = panels
        .iter()
        .zip(&intervals)
        .map(|(p, intervals)| Attribution {
            title: &p.title,
            values: &p.values,
            reference: reference(p.sequence),
            heights: Some(&p.heights),
            start: effects.start.unwrap_or(0) as i64,
            intervals,
        })
        .collect();
    args.picture.write(&figure.render(&views)?, args, context)
}

impl Args {
    /// Sequences, tracks and the figure.
    fn validated(&self, effects: &Effects) -> Result<(Vec<usize>, Vec<usize>, AttributionFigure)> {
        let mut sequences = match self.sequences.as_slice() {
            [] => vec![0],
            wanted => choose("sequences", &effects.names, wanted)?,
        };
        let tracks = match self.tracks.as_slice() {
            [] => (0..effects.tracks.len()).collect(),
            wanted => choose("tracks", &effects.tracks, wanted)?,
        };
        let mut seen = std::collections::HashSet::new();
        sequences.retain(|&n| seen.insert(n));
        let panels = sequences.len() * tracks.len();
        if panels > MOST_PANELS {
            return Err(Error::Usage(format!(
                "{} sequences and {} tracks make {panels} panels, more than {MOST_PANELS}; choose some with --sequences \
                 and --tracks",
                sequences.len(),
                tracks.len()
            )));
        }
        let positions = |text: &String| match range(text) {
            Some((a, b)) if a < b && b <= effects.length => Ok(a..b),
            _ => Err(Error::Usage(format!("range: expected FROM:TO within 0:{}, found '{text}'", effects.length))),
        };
        let figure = AttributionFigure {
            title: self.picture.title.clone(),
            range: self.range.as_ref().map(positions).transpose()?,
            heat_map: !self.no_heat_map,
            shared_scale: !self.own_scales,
            ..AttributionFigure::default()
        };
        Ok((sequences, tracks, figure))
    }
}

/// Minus the mean effect of the three substitutions of each base; 0 where the base is unknown.
pub(in crate::cli) fn heights(values: &[f32], reference: &[u8]) -> Vec<f32> {
    let length = reference.len();
    let at = |(i, &base): (usize, &u8)| {
        let substitutions = (0..4).filter(|&b| b != usize::from(base));
        if base > 3 { 0.0 } else { -substitutions.map(|b| values[b * length + i]).sum::<f32>() / 3.0 }
    };
    reference.iter().enumerate().map(at).collect()
}

fn intervals<'a>(regions: &'a [Region], sequence: &str) -> Vec<Interval<'a>> {
    let here = regions.iter().filter(|r| r.chrom == sequence);
    here.map(|r| Interval { start: r.start, end: r.end, label: &r.name }).collect()
}

#[cfg(test)]
mod tests {
    use super::heights;

    #[test]
    fn letters_are_minus_the_mean_of_three_substitutions() {
        // [4, 3]; the sequence is C, unknown, A.
        let values = [3.0, 9.0, 0.0, 0.0, 9.0, -1.0, 1.0, 9.0, -2.0, 2.0, 9.0, 1.5];
        assert_eq!(heights(&values, &[1, 4, 0]), [-2.0, 0.0, 0.5]);
    }
}
