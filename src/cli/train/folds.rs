//! All folds in one command: a model for each, what they say of the sequences that they did not see, and their average.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::data::Prepared;
use super::{Job, TestScores, with_table};
use crate::cli::output::{self, Staged, suffixed};
use crate::cli::score_table::{LEVEL, Spread};
use crate::cli::scores::{over_folds, save_as_drg};
use crate::cli::{ensemble, predict, talk};
use crate::engine::train::{Trainer, state_path};
use crate::error::{Error, Result};
use crate::io::targets::{TargetOptions, read_targets};
use crate::seq::split::Split;
use crate::stat::{self, Axis, Metric, Score, scores};
use crate::util::fs::write_bytes;

/// Trains a model for every fold at `paths`, then writes what is made of all, named after `out`.
pub(super) fn run(job: &Job, mut prepared: Prepared, paths: &[PathBuf], out: &Path) -> Result<()> {
    let talk = job.context.talk;
    let (folds, n) = (std::mem::take(&mut prepared.folds), paths.len());
    let clock = std::time::Instant::now();
    let mut found = vec![];
    for (i, (split, path)) in folds.iter().zip(paths).enumerate() {
        prepared.split.clone_from(split);
        let test = job.train(path, &prepared, Some((i, n)))?;
        let of = format!(
            "{} to train, {} to validate, {} to test",
            split.train.len(),
            split.validation.len(),
            split.test.len()
        );
        talk.say(format_args!("fold {i}: {of}: test Pearson r {:.4} ({})", mean_r(&test), path.display()));
        found.push(mean_r(&test));
        talk::print(format_args!("{}\n", path.display()))?;
    }
    let held_out = HeldOut::read(&prepared, &folds, paths, talk)?;
    let mut written = held_out.write(job, &prepared, out)?;
    if !job.args.no_average {
        let mean = ensemble::average(paths)?;
        let mut staged = Staged::new(output::folder_of(out))?;
        let name = Path::new(out.file_name().unwrap_or(out.as_os_str()));
        staged.put(name, |path| mean.save(path))?;
        let results = json!({
            "members": paths, "test_r": found, "seconds": clock.elapsed().as_secs_f64(),
        });
        staged.provenance(&output::beside(name), job.context, job.args, results)?;
        staged.finish()?;
        written.push(out.to_path_buf());
    }
    written.iter().try_for_each(|path| talk::print(format_args!("{}\n", path.display())))
}

/// The model of a fold, where `-o` names that of all.
pub(super) fn of(out: &Path, fold: usize) -> PathBuf {
    suffixed(out, &format!("_fold{fold}.drg"))
}

/// Removes what an earlier run of this kind and name has left and this one does not write over at once: the files of folds
/// `beyond` those of this run, what it made of all folds, and its average. Their records say that they are of such a run; no
/// other file is touched. A run that goes on refuses folds beyond its own.
///
/// # Errors
/// [`Error::Io`]; [`Error::Usage`] with `--resume`.
pub(super) fn old(job: &Job, beyond: impl Iterator<Item = PathBuf>, out: &Path) -> Result<()> {
    let record = |path: &Path| -> Value {
        let text = std::fs::read_to_string(output::beside(path)).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    };
    let of_fold = |path: &PathBuf| record(path).pointer("/results/fold/number").is_some();
    let folds: Vec<PathBuf> = beyond.take_while(of_fold).collect();
    if job.args.resume {
        return match folds.first() {
            Some(first) => Err(Error::Usage(format!(
                "{} is of an earlier run, which had more folds; remove its files to go on, or leave out --resume, which removes \
                 them and trains all folds again",
                first.display()
            ))),
            None => Ok(()),
        };
    }
    let mut files = vec![];
    for path in &folds {
        files.extend([path.clone(), output::beside(path), state_path(path)]);
        files.extend(["_loss.txt", "_pred.npz", "_scores.tsv"].map(|suffix| suffixed(path, suffix)));
        files.extend(as_drg(&suffixed(path, ""))?);
    }
    let table = suffixed(out, "_all_scores.tsv");
    if record(&table)["verb"] == "train" {
        files.extend([suffixed(out, "_all_pred.npz"), output::beside(&table), table]);
        files.extend(as_drg(&suffixed(out, "_all"))?);
    }
    if record(out).pointer("/results/members").is_some() && record(out)["verb"] == "train" {
        files.extend([out.to_path_buf(), output::beside(out)]);
    }
    files.retain(|path| path.is_file());
    for path in &files {
        std::fs::remove_file(path).map_err(Error::io("remove", path))?;
    }
    if !files.is_empty() {
        let names: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
        job.context.talk.say(format_args!("removed, of an earlier run of all folds: {}", names.join(", ")));
    }
    Ok(())
}

/// Activations and DRG's files that a test has written with this prefix.
fn as_drg(prefix: &Path) -> Result<Vec<PathBuf>> {
    let folder = output::folder_of(prefix);
    let prefix = prefix.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let ours = |name: &str| {
        let Some(rest) = name.strip_prefix(&prefix) else { return false };
        let scores = rest.starts_with("_clss_") || rest.starts_with("_pnt_");
        rest == "_corr.json"
            || (scores && rest.contains("_tcl") && rest.ends_with(".txt"))
            || (rest.starts_with("_embed") && rest.ends_with(".npz"))
    };
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).map_err(Error::io("read", folder))? {
        let entry = entry.map_err(Error::io("read", folder))?;
        if ours(&entry.file_name().to_string_lossy()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Pearson r of every track in the test set of a fold that an earlier run has finished, and what its record says; none if it has
/// not.
///
/// # Errors
/// [`Error::Usage`] naming what differs, if the files are of another run.
pub(super) fn finished(out: &Path, trainer: &Trainer) -> Result<Option<(TestScores, Value)>> {
    let record = output::beside(out);
    let there = [out, &record, &suffixed(out, "_pred.npz"), &suffixed(out, "_scores.tsv")].iter().all(|p| p.is_file());
    if !there || state_path(out).exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&record).map_err(Error::io("read", &record))?;
    let mut record: Value = serde_json::from_str(&text).unwrap_or_default();
    let (Some(identity), Some(rows)) = (record.pointer("/results/fold/identity"), record.pointer("/results/test_r"))
    else {
        return Ok(None);
    };
    if let Some(what) = trainer.differs_from(identity)? {
        return Err(Error::Usage(format!(
            "{} is of another run: {what}; use what the run was started with, or leave out --resume to train all folds again",
            out.display()
        )));
    }
    let score = |row: &Value| {
        let track = row.get("track").and_then(Value::as_str)?;
        Some((track.to_string(), row.get("r").and_then(Value::as_f64).unwrap_or(f64::NAN)))
    };
    let scores: Option<TestScores> = rows.as_array().and_then(|rows| rows.iter().map(score).collect());
    Ok(scores.map(|scores| (scores, record["results"].take())))
}

/// Mean over the tracks for which it is defined.
fn mean_r(scores: &[(String, f64)]) -> f64 {
    stat::mean(&scores.iter().map(|s| s.1).filter(|r| !r.is_nan()).collect::<Vec<f64>>())
}

/// Predictions of sequences by models that did not see them.
struct HeldOut {
    tracks: Vec<String>,
    /// Rows of the data that a fold tests, ascending, and the predictions of each.
    rows: Vec<usize>,
    values: Vec<f32>,
    /// How many rows are in the test set and the validation set of one fold.
    shared: usize,
    /// Rows and predictions of every fold.
    folds: Vec<(Vec<usize>, Vec<f64>)>,
}

impl HeldOut {
    /// From the files of the folds, so that it does not matter which run has made them.
    fn read(prepared: &Prepared, folds: &[Split], paths: &[PathBuf], talk: talk::Talk) -> Result<Self> {
        let names = &prepared.dataset.names;
        let tracks: Vec<String> = prepared.dataset.targets.iter().flat_map(|t| t.tracks.iter().cloned()).collect();
        let mut of_row: HashMap<usize, Vec<f64>> = HashMap::new();
        let (mut all, mut again, mut shared) = (vec![], 0, HashSet::new());
        for (split, path) in folds.iter().zip(paths) {
            let path = suffixed(path, "_pred.npz");
            let found = read_targets(&path, &TargetOptions { allow_missing: true, ..TargetOptions::default() })?;
            if found.tracks != tracks || !found.names.iter().eq(split.test.iter().map(|&i| &names[i])) {
                let what = "these are not the predictions of the test set of its fold; train it again without --resume";
                return Err(Error::file(&path, what));
            }
            for (i, &row) in split.test.iter().enumerate() {
                match of_row.contains_key(&row) {
                    true => again += 1,
                    false => drop(of_row.insert(row, found.row(i).to_vec())),
                }
            }
            let validation: HashSet<usize> = split.validation.iter().copied().collect();
            shared.extend(split.test.iter().copied().filter(|row| validation.contains(row)));
            all.push((split.test.clone(), found.values));
        }
        let rows: Vec<usize> = (0..names.len()).filter(|row| of_row.contains_key(row)).collect();
        if again > 0 {
            talk.say(format_args!(
                "{again} sequences are in the test sets of two folds, as DRG's numbered folds have it when the rows are no \
                 multiple of the folds; the first counts"
            ));
        }
        if !shared.is_empty() {
            talk.say(format_args!(
                "{} sequences are both in the validation and in the test set of a fold, as DRG's numbered folds have it when the \
                 rows are no multiple of the folds: the model that predicts them has chosen its epoch by them",
                shared.len()
            ));
        }
        if rows.len() < names.len() {
            talk.say(format_args!("{} sequences are in the test set of no fold", names.len() - rows.len()));
        }
        let values = rows.iter().flat_map(|row| &of_row[row]).map(|&v| v as f32).collect();
        Ok(Self { tracks, rows, values, shared: shared.len(), folds: all })
    }

    /// Writes predictions and scores, and says the scores in a line. Returns the paths.
    fn write(&self, job: &Job, prepared: &Prepared, out: &Path) -> Result<Vec<PathBuf>> {
        let measured = &job.args.measured;
        let of = |rows: &[usize], values: &[f64]| {
            with_table(prepared, measured, rows, values, |table| scores(table, &Axis::ALL, &Metric::REPORT))
        };
        let names: Vec<String> = self.rows.iter().map(|&i| prepared.dataset.names[i].clone()).collect();
        let values: Vec<f64> = self.values.iter().map(|&v| v.into()).collect();
        let pooled = of(&self.rows, &values)?;
        let each: Vec<Vec<Score>> = self.folds.iter().map(|(rows, values)| of(rows, values)).collect::<Result<_>>()?;

        let (pred, table) = (suffixed(out, "_all_pred.npz"), suffixed(out, "_all_scores.tsv"));
        let bins = prepared.dataset.targets[0].bins;
        let columns: Vec<&str> = self.tracks.iter().map(String::as_str).collect();
        let model = suffixed(out, "_all").file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = over_folds(&model, &pooled, &each);
        let name = |path: &Path| PathBuf::from(path.file_name().unwrap_or(path.as_os_str()));
        let mut staged = Staged::new(output::folder_of(out))?;
        staged.put(&name(&pred), |path| predict::write(path, &names, &columns, bins, &self.values))?;
        staged.put(&name(&table), |path| write_bytes(path, text.as_bytes()))?;
        staged.provenance(&output::beside(&name(&table)), job.context, job.args, Value::Null)?;
        staged.finish()?;
        let saved = job.args.name.saved.chosen();
        if !saved.is_empty() {
            with_table(prepared, measured, &self.rows, &values, |table| {
                save_as_drg(&suffixed(out, "_all"), table, &saved, job.context, job.args)
            })?;
        }

        let of_items = |all: &[Score]| -> Vec<f64> {
            let of = all.iter().filter(|s| s.axis == Axis::Track && s.metric == Metric::Pearson && !s.value.is_nan());
            of.map(|s| s.value).collect()
        };
        let r = |all: &[Score]| stat::mean(&of_items(all));
        let by = match self.shared {
            0 => "a model that did not see it",
            _ => "the model whose test set it is in",
        };
        let spread = Spread::of(each.iter().map(|fold| r(fold)));
        job.context.talk.say(format_args!(
            "all folds: Pearson r {:.4} over {} sequences, each predicted by {by}; of {} folds {:.4}, SD {:.4}, {} % confidence \
             interval {:.4} to {:.4} (means over {} {})",
            r(&pooled),
            self.rows.len(),
            spread.tables,
            spread.mean,
            spread.sd,
            LEVEL * 100.0,
            spread.interval.0,
            spread.interval.1,
            of_items(&pooled).len(),
            if measured.has_means(prepared) { "means of tracks" } else { "tracks" },
        ));
        Ok(vec![pred, table])
    }
}
