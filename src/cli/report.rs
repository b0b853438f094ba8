//! `drg report`: one HTML page about a model, from whatever files there are.

mod model;
mod motifs;
mod mutations;
mod numbers;
mod predictions;
mod sources;

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::paired::Files;
use super::{Context, output, talk};
use crate::error::{Error, Result};
use crate::model::checkpoint::Model;
use crate::plot::{Report, Section};

const EXAMPLE: &str = "\
The page needs no other file and no network: send it to whom you like. The commands that made the inputs are read from
the .json files beside them.

Example (how far noise alone lets a model come):
  drg simulate -o sim
  drg report --pred sim/signal.tsv --measured sim/targets.tsv -o report.html

`drg demo` shows the line for a whole analysis.";

/// Make one HTML page of a model, its training, its predictions and its mutation effects
///
/// Give what there is; each input adds a section.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Page to write
    #[arg(short, long, value_name = "HTML")]
    out: PathBuf,
    /// Title of the page
    #[arg(long, value_name = "TEXT", default_value = "What the model learned")]
    title: String,
    /// Model: what it is made of and how it was trained
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Losses of the training, as `drg plot curves` reads them
    #[arg(long, value_name = "LOSS")]
    loss: Option<PathBuf>,
    /// Predictions, best for sequences that the model was not trained on: npz or table
    #[arg(long, value_name = "PRED", requires = "measured")]
    pred: Option<PathBuf>,
    /// Measurements of the same sequences; several files with commas between them are modalities
    #[arg(long, value_name = "MEASURED", value_delimiter = ',', requires = "pred")]
    measured: Vec<PathBuf>,
    /// Leave out rows and tracks that only the predictions have, instead of refusing them
    #[arg(long, requires = "pred")]
    common: bool,
    /// Classes of the tracks: lines of track and class
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Mutation effects: npz with values (N, T, 4, L), names, tracks and bases (N, L)
    #[arg(long, value_name = "ISM")]
    ism: Option<PathBuf>,
    /// Planted or known sites: BED with the name of the sequence in column 1, motif and strand in 4 and 6
    #[arg(long, value_name = "BED", requires = "ism")]
    sites: Option<PathBuf>,
    /// Motifs of the sites, to compare with what the model reads: a MEME file
    #[arg(long, value_name = "MEME", requires = "sites")]
    motifs: Option<PathBuf>,
    /// Sequences to draw, by name, index or range of indices [default: the three with the largest effects]
    #[arg(long, value_name = "A,B,...", value_delimiter = ',', requires = "ism")]
    sequences: Vec<String>,
    /// Tracks to draw, by name, index or range of indices [default: one a class with the largest effects]
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    tracks: Vec<String>,
}

/// What one kind of input adds to the page.
#[derive(Debug, Default)]
struct Part {
    summary: Vec<(String, String)>,
    sections: Vec<Section>,
}

impl Part {
    fn number(&mut self, name: &str, value: impl Into<String>) {
        self.summary.push((name.into(), value.into()));
    }
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    output::check_file(&args.out)?;
    let inputs = args.inputs();
    if args.model.is_none() && args.loss.is_none() && args.pred.is_none() && args.ism.is_none() {
        return Err(Error::Usage(
            "nothing to report; give --model, --loss, --pred with --measured, --ism, or several of them".into(),
        ));
    }
    let model = args.model.as_deref().map(Model::load).transpose()?;
    let pairs = match &args.pred {
        Some(pred) => Some(Files::new(pred, &args.measured, args.common).read(context.talk)?),
        None => None,
    };
    let mut parts = Vec::new();
    if let Some(model) = &model {
        parts.push(model::part(model)?);
    }
    if let Some(log) = &args.loss {
        parts.push(model::losses(log, model.as_ref())?);
    }
    if let Some(pairs) = &pairs {
        parts.push(predictions::part(args, pairs)?);
        let strands = model.as_ref().and_then(|m| m.network.architecture().profile()).is_some_and(|p| p.stranded);
        parts.extend(predictions::profiles(args, pairs, strands)?);
    }
    if let Some(ism) = &args.ism {
        parts.push(mutations::part(args, ism, pairs.as_ref(), context.talk)?);
    }
    let (summary, sections): (Vec<_>, Vec<_>) = parts.into_iter().map(|p| (p.summary, p.sections)).unzip();
    let report = Report {
        title: args.title.clone(),
        subtitle: format!("Made by drg {} from {}", env!("CARGO_PKG_VERSION"), numbers::listed(&names(&inputs))),
        summary: summary.concat(),
        sections: sections.concat(),
        provenance: sources::provenance(&inputs, model.as_ref(), context)?,
    };
    let html = report.render()?;
    output::write_file(&args.out, context, args, |path| crate::util::fs::write_bytes(path, html.as_bytes()))?;
    talk::print(format_args!("{}\n", args.out.display()))
}

impl Args {
    /// All files that are read, in the order of the page.
    fn inputs(&self) -> Vec<&Path> {
        let [model, loss, pred, classes, ism, sites, motifs] =
            [&self.model, &self.loss, &self.pred, &self.classes, &self.ism, &self.sites, &self.motifs]
                .map(Option::as_deref);
        let measured = self.measured.iter().map(PathBuf::as_path);
        let first = [model, loss, pred].into_iter().flatten();
        first.chain(measured).chain([classes, ism, sites, motifs].into_iter().flatten()).collect()
    }
}

/// File names without their folders.
fn names(paths: &[&Path]) -> Vec<String> {
    paths.iter().map(|p| p.file_name().unwrap_or_default().to_string_lossy().into_owned()).collect()
}
