//! Names of the files of a run, and the files of scores, as the reference system's command line asks for them.

use std::path::PathBuf;

use serde::Serialize;

use super::Args;
use super::data::{FoldSource, Wanted};
use crate::cli::scores::Saved;
use crate::error::{Error, Result};
use crate::model::naming::{FoldTag, NameParts};
use crate::model::options::{DataFacts, Options};

/// The longest name of a file that common file systems take, less what is put behind it.
const LONGEST: usize = 255 - "_clss_corr_tcl.txt".len() - 16;

/// Flags of the reference system.
#[derive(Debug, Default, clap::Args, Serialize)]
#[command(next_help_heading = "DRG's names and files")]
pub(super) struct Naming {
    /// Put in front of the name as it is; a folder needs its slash
    #[arg(long, value_name = "TEXT")]
    outdir: Option<String>,
    /// Put into the name
    #[arg(long, value_name = "TEXT")]
    addname: Option<String>,
    /// Instead of --outdir, a name made of the names of the files and --addname; may have a folder
    #[arg(long, value_name = "TEXT")]
    outname: Option<String>,
    /// Predictions of the test set: always written
    #[arg(long, alias = "save_predictions")]
    save_predictions: bool,
    /// Activations of a layer for the test set, as drg predict --embedding writes them, in STEM_embedLAYER.npz
    #[arg(long, alias = "save_embedding", value_name = "LAYER[@INPUT]", allow_hyphen_values = true)]
    pub(super) save_embedding: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    pub(super) saved: Saved,
}

impl Naming {
    /// The model file of a fold, or of the average of all, where `-o` does not name it.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is nothing that asks for such a name, or it is longer than a file's may be.
    pub(super) fn path(
        &self,
        args: &Args,
        wanted: &Wanted,
        fold: Option<usize>,
        options: &Options,
        facts: &DataFacts,
    ) -> Result<PathBuf> {
        if self.outdir.is_none() && self.addname.is_none() && self.outname.is_none() {
            return Err(Error::Usage(
                "name the model file with -o, or its parts with --outdir, --addname or --outname".into(),
            ));
        }
        let targets = args.targets.as_deref().unwrap_or(&args.sequences);
        let parts = NameParts {
            inputs: args.sequences.split(',').collect(),
            outputs: targets.split(',').collect(),
            regionless: args.reading.regionless,
            reverse_complement: wanted.reverse_complement.contains(&true),
            outdir: self.outdir.as_deref().unwrap_or_default(),
            addname: self.addname.as_deref(),
            outname: self.outname.as_deref(),
            fold: Some(match (&wanted.folds, fold) {
                (Some(FoldSource::File(_)), Some(fold)) => FoldTag::File(wanted.cutoff, fold),
                (Some(FoldSource::File(_)), None) => FoldTag::All(wanted.cutoff as usize),
                (Some(FoldSource::Number(k)), Some(fold)) => FoldTag::Folds(*k, fold),
                (Some(FoldSource::Number(k)), None) => FoldTag::All(*k),
                (Some(FoldSource::Hash(k)), fold) => FoldTag::Hash(*k, fold),
                (None, Some(fold)) => FoldTag::Folds(10, fold),
                (None, None) => FoldTag::All(10),
            }),
            ..NameParts::default()
        };
        let name = parts.name(options, facts)?;
        let file = name.rsplit('/').next().unwrap_or(&name);
        if file.len() > LONGEST {
            return Err(Error::Usage(format!(
                "the name made of files and options has {} bytes, more than file systems take behind its endings ({LONGEST}): \
                 {file}; give one with -o, or a shorter one with --outname beside --set add_outname=False",
                file.len()
            )));
        }
        Ok(format!("{name}.drg").into())
    }
}
