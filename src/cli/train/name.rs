//! Names of the files of a run, and the files of scores, as the reference system's command line asks for them.

use std::path::PathBuf;

use serde::Serialize;

use super::Args;
use super::data::{FoldSource, Wanted};
use crate::error::{Error, Result};
use crate::model::naming::{FoldTag, NameParts};
use crate::model::options::{DataFacts, Options};
use crate::stat::{Axis, Metric};

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
    /// Instead of a name made of the names of the files
    #[arg(long, value_name = "TEXT")]
    outname: Option<String>,
    /// Predictions of the test set: always written
    #[arg(long, alias = "save_predictions")]
    save_predictions: bool,
    /// 1 - r of every track, in a file a class
    #[arg(long, alias = "save_correlation_perclass")]
    save_correlation_perclass: bool,
    /// 1 - r of every sequence over the tracks of a class, in a file a class
    #[arg(long, alias = "save_correlation_perpoint")]
    save_correlation_perpoint: bool,
    /// Root of the mean squared error of every track, in a file a class
    #[arg(long, alias = "save_mse_perclass")]
    save_mse_perclass: bool,
    /// Root of the mean squared error of every sequence, in a file a class
    #[arg(long, alias = "save_mse_perpoint")]
    save_mse_perpoint: bool,
    /// Area under the ROC curve of every track, in a file a class
    #[arg(long, alias = "save_auroc_perclass")]
    save_auroc_perclass: bool,
    /// Area under the ROC curve of every sequence, in a file a class
    #[arg(long, alias = "save_auroc_perpoint")]
    save_auroc_perpoint: bool,
    /// Area under the precision-recall curve of every track, in a file a class
    #[arg(long, alias = "save_auprc_perclass")]
    save_auprc_perclass: bool,
    /// Area under the precision-recall curve of every sequence, in a file a class
    #[arg(long, alias = "save_auprc_perpoint")]
    save_auprc_perpoint: bool,
}

impl Naming {
    /// Scores to write in the reference system's files.
    pub(super) fn saved(&self) -> Vec<(Axis, Metric)> {
        let all = [
            (self.save_correlation_perclass, Axis::Track, Metric::Distance),
            (self.save_correlation_perpoint, Axis::Sequence, Metric::Distance),
            (self.save_mse_perclass, Axis::Track, Metric::Rmse),
            (self.save_mse_perpoint, Axis::Sequence, Metric::Rmse),
            (self.save_auroc_perclass, Axis::Track, Metric::Auroc),
            (self.save_auroc_perpoint, Axis::Sequence, Metric::Auroc),
            (self.save_auprc_perclass, Axis::Track, Metric::Auprc),
            (self.save_auprc_perpoint, Axis::Sequence, Metric::Auprc),
        ];
        all.into_iter().filter(|s| s.0).map(|(_, axis, metric)| (axis, metric)).collect()
    }

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
                (Some(FoldSource::Number(k) | FoldSource::Hash(k)), Some(fold)) => FoldTag::Folds(*k, fold),
                (Some(FoldSource::Number(k) | FoldSource::Hash(k)), None) => FoldTag::All(*k),
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
