//! `drg eval recovery`: does an attribution find the planted sites?

use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;
use serde_json::{Value, json};

use super::sites::read_sites;
use crate::cli::choose::choose;
use crate::cli::effects::Effects;
use crate::cli::{Context, output, talk};
use crate::error::Result;
use crate::motif::recovery::{Combine, Recovery, position_scores, recovery};
use crate::stat;

const EXAMPLE: &str = "\
Columns: at_k = share of the planted positions among the k best, k being their number in the sequence; auroc;
average_precision; and what a random order would give. A site counts for a track only if its effect in it is not 0, where
SITES has these effects, as `drg simulate` writes them.

Example, after `drg simulate -o sim` and with the mutation effects of a model on sim/sequences.fa in ism.npz:
  drg eval recovery ism.npz sim/sites.bed";

/// Score how well mutation effects find planted sites
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Args {
    /// Effects: npz with values (N, T, 4, L), names and tracks
    #[arg(value_name = "ATTR")]
    effects: PathBuf,
    /// Planted sites: BED with the name of the sequence in column 1, 0-based half-open
    #[arg(value_name = "SITES")]
    sites: PathBuf,
    /// Tracks to score, by name, index or range of indices [default: all]
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    tracks: Vec<String>,
    /// How the effects of the bases at a position become one score
    #[arg(long, value_enum, default_value = "max")]
    combine: How,
    /// Also write the table to this file
    #[arg(short, long, value_name = "TSV")]
    out: Option<PathBuf>,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum How {
    /// The largest absolute effect
    Max,
    /// The sum of the absolute effects
    Sum,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    if let Some(out) = &args.out {
        output::check_file(out)?;
    }
    let mut effects = Effects::open(&args.effects)?;
    let chosen = match args.tracks.as_slice() {
        [] => (0..effects.tracks.len()).collect(),
        wanted => choose("tracks", &effects.tracks, wanted)?,
    };
    let tracks: Vec<&str> = chosen.iter().map(|&t| effects.tracks[t].as_str()).collect();
    let sites = read_sites(&args.sites, &effects, &tracks, context.talk)?;
    let (n, length) = (effects.names.len(), effects.length);
    let combine = match args.combine {
        How::Max => Combine::Max,
        How::Sum => Combine::Sum,
    };
    let mut scores = vec![Vec::with_capacity(n * length); chosen.len()];
    effects.each(
        |_| true,
        |_, map| {
            for (scores, &t) in scores.iter_mut().zip(&chosen) {
                scores.extend(position_scores(&map[t * 4 * length..(t + 1) * 4 * length], length, combine)?);
            }
            Ok(())
        },
    )?;
    let results: Vec<Recovery> = scores
        .iter()
        .enumerate()
        .map(|(t, scores)| {
            let mut truth = vec![Vec::new(); n];
            for site in sites.iter().filter(|s| s.effects.as_ref().is_none_or(|e| e[t] != 0.0)) {
                truth[site.sequence].push(site.interval.clone());
            }
            recovery(scores, length, &truth)
        })
        .collect::<Result<_>>()?;
    let tracks: Vec<&str> = chosen.iter().map(|&t| effects.tracks[t].as_str()).collect();
    let text = tsv(&tracks, &results);
    if let Some(out) = &args.out {
        output::write_file(out, context, args, |path| crate::util::fs::write_bytes(path, text.as_bytes()))?;
        context.talk.say(out.display());
    }
    let mean =
        |f: fn(&Recovery) -> f64| stat::mean(&results.iter().map(f).filter(|v| !v.is_nan()).collect::<Vec<f64>>());
    context.talk.say(format_args!(
        "mean of {} tracks: at k {:.3} (chance {:.3}), AUROC {:.3} (0.5), average precision {:.3} ({:.3})",
        results.len(),
        mean(|r| r.at_k),
        mean(|r| r.chance.at_k),
        mean(|r| r.auroc),
        mean(|r| r.average_precision),
        mean(|r| r.chance.average_precision),
    ));
    if args.json {
        let rows: Vec<Value> = tracks.iter().zip(&results).map(|(track, r)| to_json(track, r)).collect();
        return talk::print(format_args!("{:#}\n", json!({ "tracks": rows })));
    }
    talk::print(text)
}

fn tsv(tracks: &[&str], results: &[Recovery]) -> String {
    let mut text =
        String::from("track\tsequences\tat_k\tauroc\taverage_precision\tchance_at_k\tchance_average_precision\n");
    for (track, r) in tracks.iter().zip(results) {
        let chance = r.chance;
        let numbers = [r.at_k, r.auroc, r.average_precision, chance.at_k, chance.average_precision];
        let numbers: Vec<String> = numbers.iter().map(f64::to_string).collect();
        text.push_str(&format!("{track}\t{}\t{}\n", r.sequences, numbers.join("\t")));
    }
    text
}

fn to_json(track: &str, r: &Recovery) -> Value {
    json!({
        "track": track, "sequences": r.sequences, "at_k": r.at_k, "auroc": r.auroc,
        "average_precision": r.average_precision,
        "chance": { "at_k": r.chance.at_k, "auroc": r.chance.auroc, "average_precision": r.chance.average_precision },
    })
}
