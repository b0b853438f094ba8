//! `drg perturb delete` and `insert`: what it does to shorten or lengthen a sequence.

use std::io::Write;
use std::ops::Range;
use std::path::Path;

use serde::Serialize;

use super::{Common, Opened, integers, tracks_first};
use crate::cli::{Context, inputs};
use crate::engine::mutate::Engine;
use crate::engine::mutate::perturb::{self, Responses};
use crate::error::{Error, Result};
use crate::io::dataset::align;
use crate::io::npz::NpzWriter;
use crate::io::sequences::read_sequences;
use crate::model::Model;
use crate::seq::{Sequences, UNKNOWN, encode_all, pad, show};

const DELETE: &str = "\
What follows a deletion moves to the left. The free places at the right end take the bases that
follow the sequence, where they are known, and unknown bases elsewhere: regions.bed@genome.fa takes
them from the genome, and of sequences that are longer than the model's input the first part is the
sequence and the rest follows it.

Output: npz with effects (N sequences, T tracks, P deletions), positions (P: the first base that is
deleted), width, predictions (N, T), names and tracks; or a table with one line a sequence, position
and track.

Example:
  drg simulate -o sim
  drg train sim/sequences.fa sim/targets.tsv -o m.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg perturb delete m.drg sim/sequences.fa --names 0:3 --width 3 -o deleted.npz";

const INSERT: &str = "\
What follows an insertion moves to the right, and what leaves the sequence at its end is lost.

Output: npz with effects (N sequences, T tracks, P insertions), positions (P: the base that follows
the insertion), bases (what is inserted), predictions (N, T), names and tracks; or a table with one
line a sequence, position and track.

Example:
  drg simulate -o sim
  drg train sim/sequences.fa sim/targets.tsv -o m.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg perturb insert m.drg sim/sequences.fa --names 0:3 --bases TGACTCA --step 5 -o inserted.tsv";

/// Delete bases at every position
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = DELETE)]
pub(super) struct DeleteArgs {
    #[command(flatten)]
    common: Common,
    /// Sequences: FASTA (.gz), one-hot npz, a table with sequences, or regions.bed@genome.fa
    #[arg(value_name = "SEQS")]
    sequences: String,
    /// Bases of a deletion
    #[arg(long, value_name = "BP", default_value_t = 1)]
    width: usize,
    #[command(flatten)]
    places: Places,
}

/// Insert bases at every position
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = INSERT)]
pub(super) struct InsertArgs {
    #[command(flatten)]
    common: Common,
    /// Sequences: FASTA (.gz), one-hot npz, a table with sequences, or regions.bed@genome.fa
    #[arg(value_name = "SEQS")]
    sequences: String,
    /// The bases to insert; letters other than A C G T (U) are unknown bases
    #[arg(long, value_name = "BASES")]
    bases: String,
    #[command(flatten)]
    places: Places,
}

/// Where the changes are.
#[derive(Debug, clap::Args, Serialize)]
struct Places {
    /// Only changes within positions a to b - 1
    #[arg(long, value_name = "a:b")]
    range: Option<String>,
    /// Bases from one change to the next
    #[arg(long, value_name = "BP", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    step: u32,
}

impl Places {
    /// First bases of changes that take `width` bases of the range.
    fn starts(&self, opened: &Opened, width: usize) -> Result<Vec<usize>> {
        let range = opened.range(self.range.as_deref())?;
        let parts = opened.parts(&range);
        let most = parts.iter().map(Range::len).max().unwrap_or(0);
        if width == 0 || width > most {
            return Err(Error::Usage(format!("--width {width}: expected 1 to {most}")));
        }
        let fits = parts.into_iter().filter(|part| part.len() >= width);
        Ok(fits.flat_map(|part| (part.start..=part.end - width).step_by(self.step as usize)).collect())
    }
}

pub(super) fn delete(args: &DeleteArgs, context: &Context) -> Result<()> {
    let (model, computing) = args.common.model(context)?;
    if model.network.inputs().len() > 1 {
        let (sequences, flanks) = several(args, &model, context)?;
        let opened = args.common.with((model, computing), &args.sequences, sequences, Engine::Naive)?;
        return deleted(args, context, &opened, &flanks);
    }
    let (length, width) = (model.network.architecture().length(), args.width);
    if width == 0 || width > length {
        return Err(Error::Usage(format!("--width {width}: expected 1 to {length}")));
    }
    // With as many bases on both sides, windows of regions stay where they are.
    let genome = !Path::new(&args.sequences).exists() && args.sequences.contains('@');
    let before = if genome { width } else { 0 };
    let options = args.common.reading.options(Some(length + 2 * before));
    let (all, notes) = read_sequences(&args.sequences, &options)?;
    context.talk.notes(&args.sequences, &notes);
    let flank = all.length.saturating_sub(before + length).min(width);
    if !genome && all.length != length {
        let (found, file) = (all.length, &args.sequences);
        context.talk.say(match flank {
            0 => format!("{file}: sequences of {found} bases are filled with unknown bases to the model's {length}"),
            _ => {
                format!("{file}: sequences of {found} bases; the model takes the first {length}, the rest follows them")
            }
        });
    }
    let rows = inputs::rows(&all, &args.common.names)?;
    let (mut bases, mut flanks) = (vec![], vec![]);
    for &i in &rows {
        let row = &all.row(i)[before..];
        let whole = pad(row, 0, (length + flank).saturating_sub(row.len()), UNKNOWN);
        bases.extend_from_slice(&whole[..length]);
        flanks.extend_from_slice(&whole[length..length + flank]);
    }
    let names = rows.iter().map(|&i| all.names[i].clone()).collect();
    let sequences = Sequences::from_packed(names, length, bases, all.unknown)?;
    let opened = args.common.with((model, computing), &args.sequences, sequences, Engine::Naive)?;
    deleted(args, context, &opened, &flanks)
}

/// Deletes and writes.
fn deleted(args: &DeleteArgs, context: &Context, opened: &Opened, flanks: &[u8]) -> Result<()> {
    let (width, positions) = (args.width, args.places.starts(opened, args.width)?);
    let responses = opened.with_bar(context, |progress| {
        let (model, bases) = (&opened.model.network, &opened.sequences.bases);
        perturb::delete(model, bases, flanks, width, &positions, &opened.options, progress)
    })?;
    write(&args.common, args, context, opened, &positions, &responses, |w| w.array("width", &[], &integers([width])))
}

/// Sequences of a model of several inputs, and the `width` bases that follow in each input, `[N, I, width]`; unknown where they
/// are not known.
fn several(args: &DeleteArgs, model: &Model, context: &Context) -> Result<(Sequences, Vec<u8>)> {
    let (lengths, width) = (model.network.architecture().lengths(), args.width);
    let specs: Vec<&str> = args.sequences.split(',').collect();
    inputs::check_count(&args.sequences, specs.len(), lengths.len())?;
    let mut read = vec![];
    for (spec, &length) in specs.iter().zip(&lengths) {
        let genome = !Path::new(spec).exists() && spec.contains('@');
        let before = if genome { width } else { 0 };
        let (all, notes) = read_sequences(spec, &args.common.reading.options(Some(length + 2 * before)))?;
        context.talk.notes(spec, &notes);
        if !genome && all.length != length {
            context.talk.say(format_args!(
                "{spec}: sequences of {} bases; the model takes the first {length}, filled with unknown bases, the rest follows them",
                all.length
            ));
        }
        let rows: Vec<Vec<u8>> = (0..all.len())
            .map(|i| {
                let mut row = all.row(i)[before..].to_vec();
                row.resize(length + width, UNKNOWN);
                row
            })
            .collect();
        read.push(Sequences::from_rows(all.names.clone(), &rows, all.unknown)?);
    }
    let aligned = align(read, vec![])?;
    if aligned.left_out > 0 {
        context.talk.say(format_args!("{} names are in some of the files only and were left out", aligned.left_out));
    }
    let names = &aligned.inputs[0].names;
    let rows = inputs::rows(&aligned.inputs[0], &args.common.names)?;
    let (mut bases, mut flanks) = (vec![], vec![]);
    for &i in &rows {
        for (input, &length) in aligned.inputs.iter().zip(&lengths) {
            bases.extend_from_slice(&input.row(i)[..length]);
            flanks.extend_from_slice(&input.row(i)[length..]);
        }
    }
    let names = rows.iter().map(|&i| names[i].clone()).collect();
    let unknown = aligned.inputs.iter().map(|s| s.unknown).sum();
    Ok((Sequences::from_packed(names, lengths.iter().sum(), bases, unknown)?, flanks))
}

pub(super) fn insert(args: &InsertArgs, context: &Context) -> Result<()> {
    let bases = match encode_all(args.bases.as_bytes()) {
        Ok((bases, _)) if !bases.is_empty() => bases,
        Ok(_) => return Err(Error::Usage("--bases: there is nothing to insert".into())),
        Err((at, byte)) => {
            let what = format!("--bases {}: {} at position {at} is no sequence letter", args.bases, show(byte));
            return Err(Error::Usage(what));
        }
    };
    let opened = args.common.open(&args.sequences, Engine::Naive.name(), context)?;
    let positions = args.places.starts(&opened, 1)?;
    let responses = opened.with_bar(context, |progress| {
        let model = &opened.model.network;
        perturb::insert(model, &opened.sequences.bases, &bases, &positions, &opened.options, progress)
    })?;
    let inserted = args.bases.to_ascii_uppercase();
    write(&args.common, args, context, &opened, &positions, &responses, |w| w.strings("bases", &[&inserted]))
}

fn write(
    common: &Common,
    args: &impl Serialize,
    context: &Context,
    opened: &Opened,
    positions: &[usize],
    responses: &Responses,
    more: impl FnOnce(&mut NpzWriter<'_>) -> Result<()>,
) -> Result<()> {
    let (n, t, p) = (opened.sequences.len(), opened.columns.len(), positions.len());
    let effects = opened.effects(&responses.effects);
    let archive = |w: &mut NpzWriter<'_>| {
        w.array("effects", &[n, t, p], &tracks_first(&effects, p, t))?;
        w.array("positions", &[p], &integers(positions.iter().map(|p| p - opened.offset)))?;
        more(w)?;
        w.array("predictions", &[n, t], &opened.predictions(&responses.reference))?;
        w.strings("names", &opened.sequences.names)?;
        w.strings("tracks", &opened.columns)
    };
    let table = |out: &mut dyn Write| {
        writeln!(out, "sequence\tposition\ttrack\teffect")?;
        for (i, effect) in effects.iter().enumerate() {
            let (name, position) = (&opened.sequences.names[i / t / p], positions[i / t % p] - opened.offset);
            writeln!(out, "{name}\t{position}\t{}\t{effect}", opened.columns[i % t])?;
        }
        Ok(())
    };
    common.write(args, context, format_args!("{n} sequences, {p} positions, {t} tracks"), archive, table)
}
