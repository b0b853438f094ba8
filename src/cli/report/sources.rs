//! Where the inputs of a report come from, as the records beside them say.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::cli::output::{beside, folder_of};
use crate::cli::{Context, shell};
use crate::device::Processor;
use crate::error::{Error, Result};
use crate::model::checkpoint::Model;
use crate::model::spec::{Architecture, TrainSpec};
use crate::plot::Provenance;

/// Provenance of the page: its own command line, the command lines that made its inputs, the configuration of the model.
///
/// # Errors
/// [`Error::Failed`] if the configuration cannot be written as TOML.
pub(super) fn provenance(inputs: &[&Path], model: Option<&Model>, context: &Context) -> Result<Provenance> {
    let mut more: Vec<(String, String)> = Vec::new();
    for &input in inputs {
        let name = input.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let Some((command, version)) = record(input) else {
            continue;
        };
        let made = format!("{command}\n(drg {version})");
        match more.iter_mut().find(|(_, other)| *other == made) {
            Some((names, _)) => names.push_str(&format!(", {name}")),
            None => more.push((name, made)),
        }
    }
    more.push(("Processor".into(), Processor::of_this_machine().name));
    Ok(Provenance {
        version: env!("CARGO_PKG_VERSION").into(),
        command: shell::line(&context.command),
        seed: model.and_then(|m| m.record.as_ref()).map(|r| r.seed),
        more,
        configuration: model.map_or(Ok(String::new()), configuration)?,
    })
}

/// Command line and version from the record of a file: `FILE.json`, or the one of the training or simulation that it
/// belongs to. Files that were made otherwise have none.
fn record(input: &Path) -> Option<(String, String)> {
    let mut candidates: Vec<PathBuf> = vec![beside(input), folder_of(input).join("simulate.json")];
    let name = input.file_name()?.to_string_lossy();
    // A training writes these with its model.
    if let Some(stem) = ["_loss.txt", "_pred.npz"].iter().find_map(|suffix| name.strip_suffix(suffix)) {
        candidates.insert(0, folder_of(input).join(format!("{stem}.drg.json")));
    }
    let text = candidates.iter().find_map(|path| std::fs::read_to_string(path).ok())?;
    let record: Value = serde_json::from_str(&text).ok().filter(|r: &Value| r["program"] == "drg")?;
    let words: Vec<&str> = record["command"].as_array()?.iter().map(Value::as_str).collect::<Option<_>>()?;
    Some((shell::line(&words), record["version"].as_str()?.into()))
}

/// Architecture and training.
#[derive(Serialize)]
struct Configuration<'a> {
    model: &'a Architecture,
    train: Option<&'a TrainSpec>,
}

/// Architecture and training as TOML.
fn configuration(model: &Model) -> Result<String> {
    let failed = |e: toml::ser::Error| Error::Failed(format!("cannot write the configuration of the model: {e}"));
    let parts = Configuration { model: model.network.architecture(), train: model.training.as_ref() };
    toml::to_string(&parts).map_err(failed)
}
