//! The numbers that a run starts with: drawn, or those of another model as far as they fit.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::data::Prepared;
use crate::cli::talk::Talk;
use crate::error::{Error, Result};
use crate::io::pth::{PthTensor, read_checkpoint};
use crate::model::checkpoint::{FitReport, Match, Partial, import_fitting, import_partial, read_safetensors};
use crate::model::options::{DataFacts, Options, resolve};
use crate::model::spec::{Architecture, is_derived_tensor, member_prefix};
use crate::model::{Model, Network};

/// Names that a line shows; the record beside the model has all.
const SHOWN: usize = 6;

/// Flags about another model.
#[derive(Debug, Default, clap::Args, Serialize)]
#[command(next_help_heading = "Starting from another model")]
pub(in crate::cli) struct Start {
    /// Start from this model: every tensor of the same name and shape is taken, rows of heads by the names of their tracks; what
    /// does not fit starts as drawn, and is told
    #[arg(long, value_name = "MODEL", conflicts_with = "load_parameters")]
    from: Option<PathBuf>,
    /// Take only tensors with such names, as convolutions.*; can be given several times
    #[arg(long, value_name = "PATTERN", requires = "from")]
    take: Vec<String>,
    /// Start from a state dict as DRG does: file (.pth or .drg), names as model:file,.. or None, names to leave out or None,
    /// whether these are the only ones to take, whether heads of another number of rows give those that both have
    #[arg(
        long,
        alias = "load_parameters",
        value_names = ["FILE", "TRANSLATE", "EXCLUDE", "INCLUDE", "REDUCE"],
        num_args = 5
    )]
    load_parameters: Vec<String>,
}

impl Start {
    /// The flags as words of a command line.
    pub(in crate::cli) fn words(&self) -> Vec<String> {
        let mut words = vec![];
        if let Some(path) = &self.from {
            words.extend(["--from".into(), path.display().to_string()]);
        }
        self.take.iter().for_each(|pattern| words.extend(["--take".into(), pattern.clone()]));
        if !self.load_parameters.is_empty() {
            words.push("--load-parameters".into());
            words.extend(self.load_parameters.iter().cloned());
        }
        words
    }

    /// The network, and what the record of the run says about its start.
    pub(in crate::cli) fn network(
        &self,
        spec: Architecture,
        seed: u64,
        (options, facts): (&Options, &DataFacts),
        prepared: &Prepared,
        talk: Talk,
    ) -> Result<(Network, Value)> {
        let mut network = Network::new(spec, seed)?;
        let tracks: Vec<Vec<String>> = prepared.dataset.targets.iter().map(|t| t.tracks.clone()).collect();
        if let Some(path) = &self.from {
            let what = |e: Error| match e {
                Error::Usage(text) => Error::Usage(format!("--from {}: {text}", path.display())),
                other => other,
            };
            let source = Model::load(path)?;
            let rows = Match::of(&source, &tracks);
            let report = import_fitting(&mut network, &tracks, &source, rows, &self.take).map_err(what)?;
            tell(path, &report, network.parameters().entries().len(), talk);
            return Ok((network, json!({ "from": path, "report": report })));
        }
        let Some(loads) = loads(&self.load_parameters)? else { return Ok((network, Value::Null)) };
        // The file has the rows of all tracks in the order of the targets; those that are not selected go afterwards.
        let all: Vec<Vec<String>> = prepared.all_tracks.clone();
        let mut whole = match all == tracks {
            true => network.clone(),
            false => {
                let facts = DataFacts { tracks: all.iter().map(Vec::len).collect(), ..facts.clone() };
                Network::new(resolve(options, &facts)?.0, seed)?
            }
        };
        let mut reports = vec![];
        for (path, which) in &loads {
            let tensors = tensors(path)?;
            let what = |e: Error| match e {
                Error::Usage(text) => Error::Usage(format!("--load-parameters {}: {text}", path.display())),
                other => other,
            };
            let report = import_partial(&mut whole, &tensors, which).map_err(what)?;
            let source = |name: &String| {
                which.translate.iter().find(|(here, _)| here == name).map_or(name.clone(), |(_, there)| there.clone())
            };
            let used: Vec<String> = report.loaded.iter().map(source).collect();
            let ignored: Vec<&String> =
                tensors.iter().map(|(name, _)| name).filter(|n| !used.contains(n) && !is_derived_tensor(n)).collect();
            let (n, of) = (report.loaded.len(), whole.parameters().entries().len());
            talk.say(format_args!("{}: {n} of {of} tensors taken", path.display()));
            kept(path, &report.kept, talk);
            listed(path, "not used", &ignored, talk);
            reports.push(json!({
                "file": path, "taken": report.loaded, "kept": report.kept, "ignored": ignored,
            }));
        }
        if all == tracks {
            network = whole;
        } else {
            let whole = Model { tracks: all, ..Model::untrained(whole) };
            import_fitting(&mut network, &tracks, &whole, Match::Names, &[])?;
        }
        Ok((network, json!({ "load_parameters": reports })))
    }
}

/// Says what of a model was taken, unless all of it fits.
fn tell(path: &Path, report: &FitReport, tensors: usize, talk: Talk) {
    if report.is_exact() {
        return;
    }
    talk.say(format_args!("{}: {} of {tensors} tensors taken", path.display(), report.taken.len()));
    for (name, rows) in &report.partly {
        talk.say(format_args!("{}: {rows} rows of '{name}' taken", path.display()));
    }
    listed(path, "new tracks, which start as drawn", &report.new_tracks, talk);
    kept(path, &report.kept, talk);
    if !report.left.is_empty() {
        talk.say(format_args!("{}: {} tensors were not asked for (--take)", path.display(), report.left.len()));
    }
    listed(path, "not used", &report.ignored, talk);
    listed(path, "tracks that are not used", &report.ignored_tracks, talk);
}

fn kept(path: &Path, kept: &[(String, String)], talk: Talk) {
    for (name, why) in kept.iter().take(SHOWN) {
        talk.say(format_args!("{}: '{name}' starts as drawn: {why}", path.display()));
    }
    if let Some(n @ 1..) = kept.len().checked_sub(SHOWN) {
        talk.say(format_args!(
            "{}: {n} more tensors start as drawn; the record beside the model names them",
            path.display()
        ));
    }
}

fn listed(path: &Path, what: &str, names: &[impl AsRef<str>], talk: Talk) {
    if names.is_empty() {
        return;
    }
    let first: Vec<&str> = names.iter().take(SHOWN).map(AsRef::as_ref).collect();
    let more = match names.len().checked_sub(SHOWN) {
        Some(n @ 1..) => format!(" and {n} more"),
        _ => String::new(),
    };
    talk.say(format_args!("{}: {what}: {}{more}", path.display(), first.join(", ")));
}

/// Files and what is taken of each. Several files stand between commas; then names stand between `-` where one file has them between
/// commas, and a word without a comma counts for all files.
fn loads(words: &[String]) -> Result<Option<Vec<(PathBuf, Partial)>>> {
    let (files, words) = match words {
        [] => return Ok(None),
        [files, words @ ..] if words.len() == 4 => (files, words),
        more => {
            return Err(Error::Usage(format!(
                "--load-parameters: expected it once, with 5 words, found {}; name several files with commas",
                more.len()
            )));
        }
    };
    let files: Vec<&str> = files.split(',').collect();
    let mut each = vec![];
    for (i, file) in files.iter().enumerate() {
        let mut own = vec![];
        for word in words {
            let parts: Vec<&str> = word.split(',').collect();
            own.push(match parts.len() {
                _ if files.len() == 1 => word.clone(),
                1 => word.replace('-', ","),
                n if n == files.len() => parts[i].replace('-', ","),
                n => {
                    let files = files.len();
                    return Err(Error::Usage(format!(
                        "--load-parameters: expected one entry, or one for each of {files} files, found {n} in '{word}'"
                    )));
                }
            });
        }
        each.push((PathBuf::from(file), Partial::parse(&own[0], &own[1], &own[2], &own[3])?));
    }
    Ok(Some(each))
}

fn tensors(path: &Path) -> Result<Vec<(String, PthTensor)>> {
    match read_safetensors(path)? {
        Some((true, tensors)) if tensors.iter().any(|(name, _)| name.starts_with(&member_prefix(0))) => {
            Err(Error::Usage(format!(
                "{} is an average of models, which has no numbers that one model could start with; name one of the models \
                 that it was made of, as those of folds, or what drg convert --member N -o member.drg writes of it",
                path.display()
            )))
        }
        Some((_, tensors)) => Ok(tensors),
        None => Ok(read_checkpoint(path)?.tensors),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_several_files() {
        let words = |w: [&str; 5]| w.map(String::from);
        assert_eq!(loads(&[]).unwrap(), None);
        let one = loads(&words(["a.pth", "x.a:y.a,x.b:y.b", "c.d,e.f", "True", "False"])).unwrap().unwrap();
        assert_eq!((one.len(), one[0].1.translate.len(), one[0].1.names.len()), (1, 2, 2));
        let two =
            loads(&words(["a.pth,b.pth", "None,x.a:y.a-x.b:y.b", "c.d", "True,False", "False"])).unwrap().unwrap();
        assert_eq!((two[0].1.translate.len(), two[1].1.translate.len()), (0, 2));
        assert_eq!((two[0].1.include, two[1].1.include), (true, false));
        assert_eq!(two[1].1.names, ["c.d"]);
        let message = loads(&words(["a,b", "None,None,None", "None", "True", "True"])).unwrap_err().to_string();
        assert!(message.contains("each of 2 files, found 3"), "{message}");
    }
}
