//! Tracks of several files, their classes, and tables of scores: for the verbs that compare predictions with measurements.

use std::collections::{HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::Context;
use super::output::{Staged, folder_of, suffixed};
use super::score_table::Spread;
use super::talk::Talk;
use crate::error::{Error, Result};
use crate::io::classes::{classes_by_track, read_classes};
use crate::model::Model;
use crate::model::options::python_float;
use crate::seq::duplicate;
use crate::stat::{self, Averaged, Axis, Metric, Score, Table, scores};
use crate::util::fs::write_bytes;

/// Names of the tracks of several files.
#[derive(Debug)]
pub(super) struct Tracks {
    /// Names that are unique: where any two tracks have the same, all get the label of their file behind theirs.
    pub names: Vec<String>,
    /// Names as the files have them.
    pub plain: Vec<String>,
    /// Label of the file of each track; empty if there is one file.
    pub file_classes: Vec<String>,
}

impl Tracks {
    /// Tracks of files with these labels (numbers where there are none), named as the reference system names them.
    ///
    /// # Errors
    /// [`Error::Usage`] for another number of labels.
    pub(super) fn new(files: &[&[String]], labels: &[String]) -> Result<Self> {
        let plain: Vec<String> = files.concat();
        if files.len() == 1 && labels.is_empty() {
            return Ok(Self { names: plain.clone(), plain, file_classes: vec![] });
        }
        let labels: Vec<String> = match labels.len() {
            0 => (0..files.len()).map(|i| i.to_string()).collect(),
            n if n == files.len() => labels.to_vec(),
            n => {
                let files = files.len();
                return Err(Error::Usage(format!("file-classes: expected {files} labels, one a file; found {n}")));
            }
        };
        let file_classes: Vec<String> =
            files.iter().zip(&labels).flat_map(|(f, label)| f.iter().map(|_| label.clone())).collect();
        let names = match duplicate(&plain) {
            None => plain.clone(),
            Some(_) => plain.iter().zip(&file_classes).map(|(track, label)| format!("{track}_{label}")).collect(),
        };
        Ok(Self { names, plain, file_classes })
    }
}

/// Class of each track, named in a file by its plain name. A class whose tracks come from more than one file is divided by file.
///
/// # Errors
/// What the reader returns.
pub(super) fn class_of_tracks(path: &Path, plain: &[String], file_classes: &[String]) -> Result<Vec<String>> {
    let classes = read_classes(path, plain)?;
    let divided = divided(classes.iter().zip(file_classes));
    let of = |(i, class): (usize, &String)| match divided.contains(class) {
        true => format!("{class}{}", file_classes[i]),
        false => class.clone(),
    };
    Ok(classes.iter().enumerate().map(of).collect())
}

/// Classes that are those of tracks of more than one file.
fn divided<'a>(of_tracks: impl Iterator<Item = (&'a String, &'a String)>) -> HashSet<String> {
    let mut files: HashMap<&String, HashSet<&String>> = HashMap::new();
    of_tracks.for_each(|(class, file)| {
        files.entry(class).or_default().insert(file);
    });
    files.into_iter().filter(|(_, files)| files.len() > 1).map(|(class, _)| class.clone()).collect()
}

/// Tracks of a model as the files that it was trained on name them.
#[derive(Debug)]
pub(super) struct Plain {
    /// Names, without the label of their output where the model has it behind them.
    pub names: Vec<String>,
    /// Name of the output of each track: the label of its file.
    pub labels: Vec<String>,
}

impl Plain {
    /// Of all tracks of the model.
    pub(super) fn of(model: &Model) -> Self {
        let outputs = model.network.architecture().outputs();
        let labels: Vec<String> = outputs.iter().flat_map(|&(name, n)| (0..n).map(move |_| name.to_string())).collect();
        let all = model.track_names();
        let stripped: Option<Vec<&str>> = all
            .iter()
            .zip(&labels)
            .map(|(track, label)| track.strip_suffix(label.as_str()).and_then(|t| t.strip_suffix('_')))
            .collect();
        let names = stripped.filter(|_| outputs.len() > 1).unwrap_or(all).into_iter().map(String::from).collect();
        Self { names, labels }
    }
}

/// Class of each of these tracks of a model, named in a file as files of targets name them, without the label of their file where the
/// model has it behind them, or all as the model names them. In the first case a class whose tracks are of more than one output is
/// divided by output, whether or not all of them are among `tracks`.
///
/// # Errors
/// What the reader returns.
pub(super) fn class_of_outputs(path: &Path, model: &Model, tracks: &[usize]) -> Result<Vec<String>> {
    let known = classes_by_track(path)?;
    let (full, Plain { names, labels }) = (model.track_names(), Plain::of(model));
    let exact: Option<Vec<String>> = tracks.iter().map(|&t| known.get(full[t]).cloned()).collect();
    if let Some(exact) = exact.filter(|_| names != full) {
        return Ok(exact);
    }
    let chosen: Vec<&str> = tracks.iter().map(|&t| names[t].as_str()).collect();
    let classes = read_classes(path, &chosen)?;
    let all = names.iter().zip(&labels).filter_map(|(name, label)| Some((known.get(name)?, label)));
    let divided = divided(all);
    let of = |(class, &t): (String, &usize)| match divided.contains(&class) {
        true => class + &labels[t],
        false => class,
    };
    Ok(classes.into_iter().zip(tracks).map(of).collect())
}

/// Which scores are written in the reference system's files.
#[derive(Debug, Default, clap::Args, Serialize)]
#[command(next_help_heading = "DRG's names and files")]
pub(super) struct Saved {
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
    /// Rank-sum test of active against other sequences for every track, -log10 of the p-value, in a file a class
    #[arg(long, alias = "save_wilcoxon_perclass")]
    save_wilcoxon_perclass: bool,
    /// Rank-sum test of active against other tracks for every sequence, -log10 of the p-value, in a file a class
    #[arg(long, alias = "save_wilcoxon_perpoint")]
    save_wilcoxon_perpoint: bool,
}

impl Saved {
    /// Scores to write in the reference system's files.
    pub(super) fn chosen(&self) -> Vec<(Axis, Metric)> {
        let all = [
            (self.save_correlation_perclass, Axis::Track, Metric::Distance),
            (self.save_correlation_perpoint, Axis::Sequence, Metric::Distance),
            (self.save_mse_perclass, Axis::Track, Metric::Rmse),
            (self.save_mse_perpoint, Axis::Sequence, Metric::Rmse),
            (self.save_auroc_perclass, Axis::Track, Metric::Auroc),
            (self.save_auroc_perpoint, Axis::Sequence, Metric::Auroc),
            (self.save_auprc_perclass, Axis::Track, Metric::Auprc),
            (self.save_auprc_perpoint, Axis::Sequence, Metric::Auprc),
            (self.save_wilcoxon_perclass, Axis::Track, Metric::RankSum),
            (self.save_wilcoxon_perpoint, Axis::Sequence, Metric::RankSum),
        ];
        all.into_iter().filter(|s| s.0).map(|(_, axis, metric)| (axis, metric)).collect()
    }
}

/// Tracks averaged within groups that a file names; see [`Averaged`].
///
/// # Errors
/// What the reader of the file returns.
pub(super) fn averaged(
    path: Option<&Path>,
    table: &Table<'_>,
    plain: &[String],
    file_classes: &[String],
) -> Result<Option<Averaged>> {
    let Some(path) = path else { return Ok(None) };
    Averaged::new(table, &class_of_tracks(path, plain, file_classes)?).map(Some)
}

/// Scores as a tidy table: a line each.
pub(super) fn tidy(model: &str, rows: &[Score]) -> String {
    let mut text = String::from("model\tclass\taxis\titem\tmetric\tvalue\tn\n");
    for Score { axis, item, class, metric, value, n } in rows {
        text.push_str(&format!("{model}\t{class}\t{axis}\t{item}\t{metric}\t{value}\t{n}\n"));
    }
    text
}

/// As [`tidy`], of the test sets of all folds together (`value`), and over the scores of the folds one by one.
pub(super) fn over_folds(model: &str, pooled: &[Score], folds: &[Vec<Score>]) -> String {
    let key = |s: &Score| (s.axis.name(), s.metric.name(), s.class.clone(), s.item.clone());
    let mut of: HashMap<_, Vec<f64>> = HashMap::new();
    for score in folds.iter().flatten() {
        of.entry(key(score)).or_default().push(score.value);
    }
    let mut text = String::from("model\tclass\taxis\titem\tmetric\tvalue\tn\tfolds\tmean\tsd\tlow\thigh\n");
    for s in pooled {
        let Spread { tables, mean, sd, interval: (low, high) } = Spread::of(of.remove(&key(s)).unwrap_or_default());
        let Score { axis, item, class, metric, value, n } = s;
        text.push_str(&format!("{model}\t{class}\t{axis}\t{item}\t{metric}\t{value}\t{n}"));
        text.push_str(&format!("\t{tables}\t{mean}\t{sd}\t{low}\t{high}\n"));
    }
    text
}

/// The same score in every fold.
pub(super) fn spread_over(score: &Score, folds: &[Vec<Score>]) -> Spread {
    let key = |s: &Score| (s.axis, s.metric, s.class.clone(), s.item.clone());
    let own = key(score);
    Spread::of(folds.iter().flatten().filter(|s| key(s) == own).map(|s| s.value))
}

/// Writes all scores of a test set beside the model `out`, `<out>_scores.tsv`, says their mean, and returns Pearson r of each track.
///
/// # Errors
/// What the table returns; [`Error::Io`].
pub(super) fn write_scores(out: &Path, table: &Table<'_>, talk: Talk) -> Result<Vec<(String, f64)>> {
    let all = scores(table, &Axis::ALL, &Metric::REPORT)?;
    let stem = out.file_stem().unwrap_or_default().to_string_lossy();
    write_bytes(&suffixed(out, "_scores.tsv"), tidy(&stem, &all).as_bytes())?;
    let of_track = |s: &&Score| s.axis == Axis::Track && s.metric == Metric::Pearson;
    let found: Vec<(String, f64)> = all.iter().filter(of_track).map(|s| (s.item.clone(), s.value)).collect();
    let defined: Vec<f64> = found.iter().map(|s| s.1).filter(|r| !r.is_nan()).collect();
    let rows = table.sequences.len();
    match (defined.len(), stat::mean(&defined)) {
        (0, _) => talk.say(format_args!(
            "test set: Pearson r is not defined for any track: predictions or measurements of all {rows} sequences are the same"
        )),
        (n, mean) => {
            talk.say(format_args!("test set: Pearson r {mean:.4} (mean of {n} tracks, {rows} sequences)"));
        }
    }
    let of_profiles = |metric: Metric| {
        let of = |s: &&Score| s.axis == Axis::Track && s.metric == metric && !s.value.is_nan();
        stat::mean(&all.iter().filter(of).map(|s| s.value).collect::<Vec<f64>>())
    };
    if table.profiles.is_some() {
        talk.say(format_args!(
            "their profiles: Pearson r {:.4}, Jensen-Shannon divergence {:.4} bits (means of the sequences)",
            of_profiles(Metric::ProfilePearson),
            of_profiles(Metric::ProfileJsd)
        ));
    }
    Ok(found)
}

/// Correlations along both axes of the reference system's files.
pub(super) const CORRELATIONS: [(Axis, Metric); 2] =
    [(Axis::Track, Metric::Distance), (Axis::Sequence, Metric::Distance)];

/// Writes scores in the files of the reference system, name for name and digit for digit, and one record of how they were made:
/// `<prefix>_clss_<metric>_tcl<class>.txt` (a line `track value` for each track) and `<prefix>_pnt_<metric>_tcl<class>.txt` (a
/// line `sequence value` for each sequence) for every class; `corr` is 1 - r, `mse` its root, `rnksm` -log10 of the p-value of
/// [`stat::rank_sum`], where the reference system writes -log10 of the statistic. Says so where a score is defined for no item, and
/// has no file then. Returns the paths.
///
/// # Errors
/// What the table returns; [`Error::Io`].
pub(super) fn save_as_drg(
    prefix: &Path,
    table: &Table<'_>,
    what: &[(Axis, Metric)],
    context: &Context,
    args: &impl Serialize,
) -> Result<Vec<PathBuf>> {
    let named = |suffix: &str| -> OsString {
        let mut name = prefix.file_name().unwrap_or_default().to_os_string();
        name.push(suffix);
        name
    };
    let mut staged = Staged::new(folder_of(prefix))?;
    for &(axis, metric) in what {
        let rows = scores(table, &[axis], &[metric])?;
        let kind = if axis == Axis::Sequence { "pnt" } else { "clss" };
        let word = match metric {
            Metric::Distance => "corr",
            Metric::Rmse => "mse",
            Metric::RankSum => "rnksm",
            other => other.name(),
        };
        if rows.is_empty() {
            let why = "the metric wants measurements of 0 and 1, and both of them";
            context.talk.say(format_args!("no {kind}_{word} files: {why}"));
        }
        let classes: std::collections::BTreeSet<&str> = rows.iter().map(|s| s.class.as_str()).collect();
        for class in classes {
            let of = rows.iter().filter(|s| s.class == class);
            let text: String = of.map(|s| format!("{} {}\n", s.item, python_float(s.value))).collect();
            let name = named(&format!("_{kind}_{word}_tcl{class}.txt"));
            staged.put(Path::new(&name), |path| write_bytes(path, text.as_bytes()))?;
        }
    }
    staged.provenance(Path::new(&named("_corr.json")), context, args, Value::Null)?;
    staged.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_numpy_prints_them() {
        let texts = [2.0, 0.0, 0.0001, 1.3674, f64::NAN].map(python_float);
        assert_eq!(texts, ["2.0", "0.0", "0.0001", "1.3674", "nan"]);
    }

    #[test]
    fn tracks_and_classes_of_several_files() {
        let names = |t: &str| t.split(' ').map(String::from).collect::<Vec<_>>();
        let (a, b) = (names("x y"), names("y z"));
        let one = Tracks::new(&[&a], &[]).unwrap();
        assert_eq!((one.names.clone(), one.file_classes.len()), (a.clone(), 0));
        let two = Tracks::new(&[&a, &b], &names("ex kd")).unwrap();
        assert_eq!((two.names, two.plain.clone()), (names("x_ex y_ex y_kd z_kd"), names("x y y z")));
        assert_eq!(Tracks::new(&[&a, &names("z")], &[]).unwrap().names, names("x y z"));
        assert!(Tracks::new(&[&a, &b], &names("ex")).unwrap_err().to_string().contains("expected 2 labels"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.txt");
        std::fs::write(&path, "x B\ny T\nz M\n").unwrap();
        assert_eq!(class_of_tracks(&path, &two.plain, &two.file_classes).unwrap(), names("B Tex Tkd M"));
    }
}
