//! `drg baseline predict`: what a linear model of k-mers says about sequences.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::inputs::Reading;
use crate::cli::{Context, choose, output, predict, talk};
use crate::error::Result;
use crate::io::baseline::Baseline;
use crate::io::dataset::align;
use crate::io::sequences::read_sequences;

const EXAMPLE: &str = "\
Output: as that of drg predict. Sequences may be longer or shorter than those that it was fitted on.

Example:
  drg simulate -o sim --sequences 400 --length 60
  drg baseline fit sim/sequences.fa sim/targets.tsv -o ridge.json --k 4
  drg baseline predict ridge.json sim/sequences.fa -o predictions.tsv";

/// Predict with a model of drg baseline fit
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(in crate::cli) struct Args {
    /// Model of drg baseline fit
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Sequences, as drg train takes them; several with commas for a model of several inputs
    #[arg(value_name = "SEQS")]
    sequences: String,
    /// File to write: .npz or .tsv
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Only these tracks: names, indices or ranges a:b
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    tracks: Vec<String>,
    #[command(flatten)]
    reading: Reading,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let text = predict::is_table(&args.out)?;
    output::check_file(&args.out)?;
    let model = Baseline::read(&args.model)?;
    let tracks: Vec<usize> = match args.tracks.is_empty() {
        true => (0..model.tracks.len()).collect(),
        false => choose::choose("track", &model.tracks, &args.tracks)?,
    };
    let mut inputs = vec![];
    for spec in args.sequences.split(',') {
        let (sequences, notes) = read_sequences(spec, &args.reading.options(None))?;
        context.talk.notes(spec, &notes);
        inputs.push(sequences);
    }
    if inputs.len() > 1 {
        let data = align(inputs, vec![])?;
        if data.left_out > 0 {
            context.talk.say(format_args!("{} names are in some of the files only and were left out", data.left_out));
        }
        inputs = data.inputs;
    }
    let all = model.predict(&inputs)?;
    let values: Vec<f32> =
        all.chunks_exact(model.tracks.len()).flat_map(|row| tracks.iter().map(|&t| row[t] as f32)).collect();
    let columns: Vec<&str> = tracks.iter().map(|&t| model.tracks[t].as_str()).collect();
    let names = &inputs[0].names;
    output::write_file(&args.out, context, args, |path| match text {
        false => predict::write(path, names, &columns, None, &values),
        true => predict::write_table(path, names, &columns, &values),
    })?;
    context.talk.say(format_args!("{} sequences, {} tracks", names.len(), tracks.len()));
    talk::print(format_args!("{}\n", args.out.display()))
}
