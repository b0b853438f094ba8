//! Arguments that several verbs share: where sequences come from, and a bar while work is done.

use std::io::IsTerminal;
use std::path::Path;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use super::Context;
use super::arithmetic::Computing;
use super::choose;
use super::talk::Talk;
use crate::error::{Error, Result};
use crate::io::dataset::align;
use crate::io::sequences::{SequenceOptions, read_sequences};
use crate::model::Model;
use crate::seq::Sequences;

/// How sequence files are read.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub(super) struct Reading {
    /// Column of a table that holds the sequences [default: seq or sequence]
    #[arg(long, value_name = "COLUMN", help_heading = "Input options")]
    pub seq_column: Option<String>,
    /// Column of a table that holds the names [default: found by its name]
    #[arg(long, value_name = "COLUMN", help_heading = "Input options")]
    pub name_column: Option<String>,
    /// Sign between the columns of text tables [default: by the suffix of the file]
    #[arg(long, value_name = "SIGN", help_heading = "Input options", value_parser = delimiter)]
    pub delimiter: Option<char>,
    /// Use only the first four channels of a one-hot file
    #[arg(long, help_heading = "Input options")]
    pub regionless: bool,
}

/// A stored model, its numbers where it is to compute.
pub(super) fn model(path: &Path, computing: &Computing) -> Result<Model> {
    let mut model = Model::load(path)?;
    model.network = model.network.to_device(&computing.device)?;
    Ok(model)
}

/// `\t`, `tab` or a single character.
pub(super) fn delimiter(text: &str) -> std::result::Result<char, String> {
    match text {
        "\\t" | "tab" => Ok('\t'),
        _ => match text.chars().collect::<Vec<_>>()[..] {
            [c] => Ok(c),
            _ => Err("expected one character, or 'tab'".into()),
        },
    }
}

impl Reading {
    /// What the readers take; windows of regions get `length` bases.
    pub(super) fn options(&self, length: Option<usize>) -> SequenceOptions {
        SequenceOptions {
            regionless: self.regionless,
            sequence_column: self.seq_column.clone(),
            name_column: self.name_column.clone(),
            delimiter: self.delimiter,
            region_length: length,
        }
    }

    /// Sequences of a model's input lengths. For several inputs `spec` names one set each, separated by commas; they are matched by
    /// name, and a sequence is that of all inputs, one after the other.
    pub(super) fn for_model(&self, spec: &str, model: &Model, context: &Context) -> Result<Sequences> {
        let lengths = model.network.architecture().lengths();
        if let [length] = lengths[..] {
            return self.of_length(spec, length, context);
        }
        let specs: Vec<&str> = spec.split(',').collect();
        check_count(spec, specs.len(), lengths.len())?;
        let inputs: Vec<Sequences> =
            specs.iter().zip(lengths).map(|(s, l)| self.of_length(s, l, context)).collect::<Result<_>>()?;
        let data = align(inputs, vec![])?;
        if data.left_out > 0 {
            context.talk.say(format_args!("{} names are in some of the files only and were left out", data.left_out));
        }
        Sequences::side_by_side(&data.inputs)
    }

    fn of_length(&self, spec: &str, length: usize, context: &Context) -> Result<Sequences> {
        let (sequences, notes) = read_sequences(spec, &self.options(Some(length)))?;
        context.talk.notes(spec, &notes);
        if sequences.length > length {
            return Err(Error::Usage(format!(
                "{spec}: sequences of {} bases; the model takes {length}; cut them first",
                sequences.length
            )));
        }
        if sequences.length < length {
            context.talk.say(format_args!(
                "{spec}: sequences of {} bases are filled with unknown bases to the model's {length}",
                sequences.length
            ));
            let rows: Vec<Vec<u8>> = (0..sequences.len())
                .map(|i| crate::seq::pad(sequences.row(i), 0, length - sequences.length, crate::seq::UNKNOWN))
                .collect();
            return Sequences::from_rows(sequences.names.clone(), &rows, sequences.unknown);
        }
        Ok(sequences)
    }
}

/// Refuses another number of sets of sequences than of inputs.
///
/// # Errors
/// [`Error::Usage`].
pub(super) fn check_count(spec: &str, found: usize, inputs: usize) -> Result<()> {
    if found == inputs {
        return Ok(());
    }
    Err(Error::Usage(format!(
        "{spec}: the model has {inputs} inputs; expected so many sets of sequences separated by commas, found {found}"
    )))
}

/// Chosen rows of sequences: all, or those whose names or indices are listed.
pub(super) fn rows(sequences: &Sequences, wanted: &[String]) -> Result<Vec<usize>> {
    if wanted.is_empty() {
        Ok((0..sequences.len()).collect())
    } else {
        choose::choose("sequence", &sequences.names, wanted)
    }
}

/// Chosen tracks of a model: all, or those whose names or indices are listed.
pub(super) fn tracks(model: &Model, wanted: &[String]) -> Result<Vec<usize>> {
    let names: Vec<String> = model.track_names().into_iter().map(String::from).collect();
    if wanted.is_empty() { Ok((0..names.len()).collect()) } else { choose::choose("track", &names, wanted) }
}

/// A bar on a terminal, nothing elsewhere; `unit` is what is counted.
pub(super) fn bar(talk: Talk, total: usize, unit: &str) -> ProgressBar {
    let shown = talk > Talk::Quiet && std::io::stderr().is_terminal();
    let target = if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(total as u64), target);
    let template = format!("{{msg}} {{wide_bar}} {{pos}}/{{len}} {unit}, {{per_sec}}, {{eta}} left");
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
