//! What a run learns from: flags and the table `[data]` of a configuration, read, matched and split.

use std::path::{Path, PathBuf};

use crate::cli::inputs::{self, Reading};
use crate::cli::paired::transform;
use crate::cli::scores::{Tracks, averaged, class_of_tracks};
use crate::cli::talk::Talk;
use crate::error::{Error, Result, hint};
use crate::io::dataset::{Dataset, align};
use crate::io::folds::Folds;
use crate::io::sequences::{SequenceOptions, read_sequences};
use crate::io::table::Table;
use crate::io::targets::{TargetOptions, read_modalities};
use crate::model::options::{DataFacts, InputFacts};
use crate::model::spec::Transform;
use crate::seq::split::{Split, active_rows, fold_split, hashed_split};
use crate::stat::{self, Averaged};

/// Flags about measurements and their split, of every verb that fits a model.
#[derive(Debug, clap::Args, serde::Serialize)]
pub(in crate::cli) struct Measured {
    /// Folds (file, number, or hash:K), fold or all, and the least |value| of an active row (for numbered folds)
    #[arg(long, value_names = ["FOLDS", "FOLD", "CUTOFF"], num_args = 2..=3, visible_alias = "folds")]
    crossvalidation: Vec<String>,
    /// Rows whose names agree up to this text stay together in folds by hash
    #[arg(long, value_name = "TEXT")]
    group_until: Option<String>,
    /// Columns of the table of sequences that are the measurements
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    target_columns: Vec<String>,
    /// Classes of the tracks for the scores: lines of track and class
    #[arg(long, alias = "split_outclasses", value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Scores are of means: tracks of one class of this file are averaged before, within the classes of --classes
    #[arg(long, alias = "average_outclasses", value_name = "FILE")]
    class_means: Option<PathBuf>,
    /// Learn another scale of the measurements: log = ln(1 + x), log2 = log2(2 + x), share = the share of a bin in its profile
    #[arg(long, value_name = "log|log2|share", value_parser = transform)]
    transform: Option<Transform>,
    /// As --transform log
    #[arg(long, hide = true, conflicts_with = "transform")]
    logcounts: bool,
    /// As --transform log2
    #[arg(long, hide = true, conflicts_with_all = ["transform", "logcounts"])]
    log2counts: bool,
    /// As --transform share
    #[arg(long, hide = true, conflicts_with_all = ["transform", "logcounts", "log2counts"])]
    norm1outputbins: bool,
    /// Names of the modalities
    #[arg(long, alias = "add_fileclasses", value_name = "A,B,...", value_delimiter = ',')]
    pub(in crate::cli) file_classes: Vec<String>,
}

/// Flags about what a network learns from the data, of every verb that trains one.
#[derive(Debug, clap::Args, serde::Serialize)]
pub(in crate::cli) struct Learned {
    /// Both strands are read by the first layer; for several inputs True or False for each, with commas
    #[arg(long, alias = "reverse_complement", value_name = "BOOL,...", num_args = 0..=1, default_missing_value = "True")]
    pub(in crate::cli) reverse_complement: Option<String>,
    /// Learn only these tracks: names, or a file with a name a line
    #[arg(long, alias = "select_tracks", value_name = "A,B,...|FILE")]
    pub(in crate::cli) select_tracks: Option<String>,
}

impl Measured {
    /// The scale that is learned, if it is another one.
    fn scale(&self) -> Option<Transform> {
        let words = [
            (self.logcounts, Transform::Log),
            (self.log2counts, Transform::Log2),
            (self.norm1outputbins, Transform::Share),
        ];
        self.transform.or(words.into_iter().find(|(given, _)| *given).map(|(_, scale)| scale))
    }

    /// Class of each track for the scores, where a file names them.
    ///
    /// # Errors
    /// What the reader of classes returns.
    pub(in crate::cli) fn classes_of(&self, prepared: &Prepared) -> Result<Option<Vec<String>>> {
        let Prepared { plain, file_classes, classes, .. } = prepared;
        let path = self.classes.as_deref().or(classes.as_deref());
        path.map(|path| class_of_tracks(path, plain, file_classes)).transpose()
    }

    /// The table of the means to score, where a file asks for them.
    ///
    /// # Errors
    /// What the reader of classes returns.
    pub(in crate::cli) fn averaged(&self, table: &stat::Table<'_>, prepared: &Prepared) -> Result<Option<Averaged>> {
        let path = self.class_means.as_deref().or(prepared.class_means.as_deref());
        averaged(path, table, &prepared.plain, &prepared.file_classes)
    }

    /// Whether scores are of means of tracks.
    pub(super) fn has_means(&self, prepared: &Prepared) -> bool {
        self.class_means.is_some() || prepared.class_means.is_some()
    }

    /// What decides which files a test writes, and which scores are in them.
    pub(super) fn tested(&self, prepared: &Prepared, name: &super::name::Naming) -> serde_json::Value {
        serde_json::json!({
            "classes": self.classes.as_ref().or(prepared.classes.as_ref()),
            "class_means": self.class_means.as_ref().or(prepared.class_means.as_ref()),
            "file_classes": prepared.file_classes,
            "embedding": name.save_embedding,
            "saved": name.saved,
        })
    }
}

/// Flags that say where data come from and how they are split, of every verb that fits a model.
pub(in crate::cli) struct Flags<'a> {
    pub(in crate::cli) sequences: &'a str,
    pub(in crate::cli) targets: Option<&'a str>,
    pub(in crate::cli) measured: &'a Measured,
    pub(in crate::cli) reverse_complement: Option<&'a str>,
    /// Names of the only tracks to learn, or a file of them.
    pub(in crate::cli) select_tracks: Option<&'a str>,
    pub(in crate::cli) reading: &'a Reading,
    /// File that the table `[data]` is from.
    pub(in crate::cli) config: Option<&'a Path>,
}

/// Where data come from and how they are split: flags, else the configuration, else defaults.
pub(in crate::cli) struct Wanted {
    /// One set of sequences for every input.
    sequences: Vec<String>,
    targets: Source,
    options: SequenceOptions,
    delimiter: Option<char>,
    /// For every input whether its first layer reads both strands.
    pub(super) reverse_complement: Vec<bool>,
    pub(super) folds: Option<FoldSource>,
    pub(in crate::cli) fold: Fold,
    pub(super) cutoff: f64,
    group_until: Option<String>,
    /// Names of the modalities.
    pub(in crate::cli) labels: Vec<String>,
    /// Files of classes that the configuration names.
    classes: Option<PathBuf>,
    class_means: Option<PathBuf>,
    /// Names of the only tracks to learn; all if there is none.
    select: Vec<String>,
    /// Scale of the measurements, if it is another one.
    scale: Option<Transform>,
}

enum Source {
    /// Files, one a modality.
    Files(Vec<PathBuf>),
    /// Columns of the table that holds the sequences.
    Columns(Vec<String>),
}

/// Which folds are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Fold {
    One(usize),
    /// Each in turn.
    All,
}

pub(super) enum FoldSource {
    File(PathBuf),
    Number(usize),
    Hash(usize),
}

/// Data ready to train on.
pub(in crate::cli) struct Prepared {
    pub(in crate::cli) dataset: Dataset,
    pub(in crate::cli) split: Split,
    /// Of all folds, where all are asked for; `split` is then the first.
    pub(super) folds: Vec<Split>,
    /// Scale that the measurements were brought to, if it is not their own.
    pub(in crate::cli) scale: Option<Transform>,
    /// Names of all tracks as their files have them, and the label of the file of each if there are several.
    pub(in crate::cli) plain: Vec<String>,
    pub(in crate::cli) file_classes: Vec<String>,
    /// Files of classes that the configuration names: of the scores, and of means that are scored.
    classes: Option<PathBuf>,
    class_means: Option<PathBuf>,
    /// Names of the tracks of every file before some were selected.
    pub(super) all_tracks: Vec<Vec<String>>,
}

impl Prepared {
    /// Measurements of these rows, those of all files side by side.
    pub(super) fn measured(&self, rows: &[usize]) -> Vec<f64> {
        let targets = &self.dataset.targets;
        rows.iter().flat_map(|&i| targets.iter().flat_map(move |t| t.row(i)).copied()).collect()
    }

    /// What the data say about a model; `names` are those of the modalities.
    pub(in crate::cli) fn facts(&self, wanted: &Wanted, names: &[String]) -> DataFacts {
        let lengths = self.dataset.inputs.iter().map(|s| s.length);
        DataFacts {
            inputs: lengths
                .zip(&wanted.reverse_complement)
                .map(|(length, &reverse_complement)| InputFacts { length, reverse_complement })
                .collect(),
            tracks: self.dataset.targets.iter().map(|t| t.tracks.len()).collect(),
            names: names.to_vec(),
            bins: self.dataset.targets[0].bins,
        }
    }
}

impl Flags<'_> {
    /// The table `[data]` that says the same as these flags over `table`, and words of a command line for what it cannot say.
    ///
    /// # Errors
    /// As [`Wanted::new`].
    pub(in crate::cli) fn table(&self, table: &toml::Table) -> Result<(toml::Table, Vec<String>)> {
        let (mut table, mut rest) = (table.clone(), vec![]);
        let Measured { crossvalidation, group_until, target_columns, classes, class_means, file_classes, .. } =
            self.measured;
        let list = |words: &[String]| toml::Value::Array(words.iter().cloned().map(toml::Value::String).collect());
        for (key, words) in [("crossvalidation", crossvalidation), ("target_columns", target_columns)] {
            if !words.is_empty() {
                table.insert(key.into(), list(words));
            }
        }
        let texts = [
            ("group_until", group_until),
            ("seq_column", &self.reading.seq_column),
            ("name_column", &self.reading.name_column),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                table.insert(key.into(), text.clone().into());
            }
        }
        if let Some(text) = self.select_tracks {
            table.insert("select_tracks".into(), list(&names(text)?));
        }
        if let Some(text) = self.reverse_complement {
            match strands(Some(text), false, self.sequences.split(',').count())?[..] {
                [first, ref others @ ..] if others.iter().all(|o| *o == first) => {
                    table.insert("reverse_complement".into(), first.into());
                }
                _ => rest.extend(["--reverse-complement".into(), text.to_string()]),
            }
        }
        for (flag, path) in [("--classes", classes), ("--class-means", class_means)] {
            if let Some(path) = path {
                rest.extend([flag.into(), path.display().to_string()]);
            }
        }
        if !file_classes.is_empty() {
            rest.extend(["--file-classes".into(), file_classes.join(",")]);
        }
        if let Some(scale) = self.measured.scale() {
            table.insert("transform".into(), scale.name().into());
        }
        if let Some(sign) = self.reading.delimiter {
            rest.extend(["--delimiter".into(), if sign == '\t' { "tab".into() } else { sign.to_string() }]);
        }
        if self.reading.regionless {
            rest.push("--regionless".into());
        }
        Ok((table, rest))
    }
}

impl Wanted {
    pub(in crate::cli) fn new(args: &Flags<'_>, table: &toml::Table) -> Result<Self> {
        let config = Reader { table, path: args.config.unwrap_or(Path::new("--config")) };
        let Flags { measured, reading, .. } = *args;
        let columns = match measured.target_columns.is_empty() {
            true => config.texts("target_columns")?,
            false => measured.target_columns.to_vec(),
        };
        let targets = match args.targets {
            Some(_) if !measured.target_columns.is_empty() => {
                let what = "TARGETS and --target-columns both name measurements; give one of them";
                return Err(Error::Usage(what.into()));
            }
            Some(files) => Source::Files(files.split(',').map(PathBuf::from).collect()),
            None if columns.is_empty() => {
                let what = "no measurements: name a TARGETS file, or columns of the table with --target-columns";
                return Err(Error::Usage(what.into()));
            }
            None => Source::Columns(columns),
        };
        let split = match measured.crossvalidation.is_empty() {
            true => config.texts("crossvalidation")?,
            false => measured.crossvalidation.to_vec(),
        };
        let fold = match split.get(1).map(String::as_str) {
            None => Fold::One(0),
            Some("all") => Fold::All,
            Some(text) => Fold::One(text.parse().map_err(|_| {
                Error::Usage(format!("--crossvalidation: expected the number of a fold or 'all', found '{text}'"))
            })?),
        };
        let sequences: Vec<String> = args.sequences.split(',').map(String::from).collect();
        let select = match args.select_tracks {
            Some(text) => names(text)?,
            None => config.texts("select_tracks")?,
        };
        let delimiter = match (reading.delimiter, config.text("delimiter")?) {
            (Some(sign), _) => Some(sign),
            (None, text) => text.as_deref().map(|text| config.sign(text)).transpose()?,
        };
        Ok(Self {
            reverse_complement: strands(args.reverse_complement, config.flag("reverse_complement")?, sequences.len())?,
            labels: match measured.file_classes.is_empty() {
                true => config.texts("add_fileclasses")?,
                false => measured.file_classes.to_vec(),
            },
            classes: config.text("split_outclasses")?.map(PathBuf::from),
            class_means: config.text("average_outclasses")?.map(PathBuf::from),
            scale: match (measured.scale(), config.text("transform")?) {
                (Some(scale), _) => Some(scale),
                (None, text) => text.map(|text| config.scale(&text)).transpose()?,
            },
            select,
            sequences,
            targets,
            options: SequenceOptions {
                sequence_column: reading.seq_column.clone().or(config.text("seq_column")?),
                name_column: reading.name_column.clone().or(config.text("name_column")?),
                delimiter,
                ..reading.options(None)
            },
            delimiter,
            folds: split.first().map(|text| fold_source(text)).transpose()?,
            fold,
            cutoff: split.get(2).map_or(Ok(0.0), |text| {
                let bad = |_| Error::Usage(format!("--crossvalidation: expected a cutoff, found '{text}'"));
                text.parse().map_err(bad)
            })?,
            group_until: measured.group_until.clone().or(config.text("group_until")?),
        })
    }
}

impl Wanted {
    /// Refuses all folds, for a verb that takes one.
    pub(in crate::cli) fn one_fold(self) -> Result<Self> {
        match self.fold {
            Fold::One(_) => Ok(self),
            Fold::All => Err(Error::Usage("--crossvalidation: 'all' is for drg train; name one fold here".into())),
        }
    }
}

/// Names between commas, or the lines of a file of that name.
fn names(text: &str) -> Result<Vec<String>> {
    let path = Path::new(text);
    if !path.is_file() {
        return Ok(text.split(',').map(String::from).collect());
    }
    let lines = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let names: Vec<String> = lines.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect();
    if names.is_empty() {
        return Err(Error::file(path, "no names of tracks; expected one a line"));
    }
    Ok(names)
}

fn fold_source(text: &str) -> Result<FoldSource> {
    let count = |text: &str| {
        let bad =
            || Error::Usage(format!("--crossvalidation: expected a number of folds after 'hash:', found '{text}'"));
        text.parse().map_err(|_| bad())
    };
    match text.strip_prefix("hash:") {
        Some(k) => Ok(FoldSource::Hash(count(k)?)),
        None => Ok(text.parse().map_or_else(|_| FoldSource::File(text.into()), FoldSource::Number)),
    }
}

/// Whether both strands are read, for each of `inputs` inputs.
fn strands(flag: Option<&str>, config: bool, inputs: usize) -> Result<Vec<bool>> {
    let Some(text) = flag else { return Ok(vec![config; inputs]) };
    let each: Option<Vec<bool>> = text
        .split(',')
        .map(|word| match word.to_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        })
        .collect();
    match each {
        Some(list) if list.len() == inputs => Ok(list),
        Some(list) if list.len() == 1 => Ok(vec![list[0]; inputs]),
        _ => Err(Error::Usage(format!(
            "--reverse-complement: expected True or False, or one of them for each of {inputs} inputs (True,False,...); found '{text}'"
        ))),
    }
}

/// Reads, matches by name and splits.
pub(in crate::cli) fn prepare(wanted: &Wanted, talk: Talk) -> Result<Prepared> {
    let mut inputs = vec![];
    for spec in &wanted.sequences {
        let (sequences, notes) = read_sequences(spec, &wanted.options)?;
        talk.notes(spec, &notes);
        inputs.push(sequences);
    }
    let targets = match &wanted.targets {
        Source::Files(paths) => {
            read_modalities(paths, &TargetOptions { delimiter: wanted.delimiter, ..TargetOptions::default() })?
        }
        Source::Columns(columns) => {
            let table = Table::read(Path::new(&wanted.sequences[0]), wanted.delimiter)?;
            vec![table.targets(columns, wanted.options.name_column.as_deref(), false)?]
        }
    };
    let bins = targets[0].bins;
    if let Some(i) = targets.iter().position(|t| t.bins != bins) {
        let say = |bins: Option<usize>| bins.map_or("a matrix".into(), |n| format!("profiles of {n} bins"));
        return Err(Error::Usage(format!(
            "TARGETS: expected files of one kind; the first holds {}, file {} {}",
            say(bins),
            i + 1,
            say(targets[i].bins)
        )));
    }
    let mut dataset = align(inputs, targets)?;
    if bins.is_some() {
        drop_empty(&mut dataset, talk)?;
    }
    if let Some(scale) = wanted.scale {
        dataset.targets.iter_mut().try_for_each(|t| scale.apply(&mut t.values, t.bins))?;
    }
    let of: Vec<&[String]> = dataset.targets.iter().map(|t| t.tracks.as_slice()).collect();
    let mut tracks = Tracks::new(&of, &wanted.labels)?;
    let mut names = tracks.names.iter();
    dataset
        .targets
        .iter_mut()
        .for_each(|t| t.tracks.iter_mut().zip(&mut names).for_each(|(old, new)| old.clone_from(new)));
    let all_tracks = dataset.targets.iter().map(|t| t.tracks.clone()).collect();
    if dataset.left_out > 0 {
        talk.say(format_args!("{} names are in some of the files only and were left out", dataset.left_out));
    }
    // Which rows are in which set does not depend on what is selected: a model that knew all tracks has not seen the test set.
    let (split, folds) = match wanted.fold {
        Fold::One(fold) => (split(wanted, &dataset, fold, talk)?, vec![]),
        Fold::All => {
            let folds = all_splits(wanted, &dataset, talk)?;
            (folds[0].clone(), folds)
        }
    };
    if !wanted.select.is_empty() {
        select(&wanted.select, &mut dataset, &mut tracks)?;
    }
    let Tracks { plain, file_classes, .. } = tracks;
    let (classes, class_means) = (wanted.classes.clone(), wanted.class_means.clone());
    let scale = wanted.scale;
    Ok(Prepared { dataset, split, folds, scale, plain, file_classes, classes, class_means, all_tracks })
}

/// Leaves out rows whose profiles hold no count at all, which say nothing of a shape.
fn drop_empty(dataset: &mut Dataset, talk: Talk) -> Result<()> {
    let counted = |&i: &usize| dataset.targets.iter().any(|t| t.row(i).iter().any(|&v| v != 0.0));
    let rows: Vec<usize> = (0..dataset.names.len()).filter(counted).collect();
    match dataset.names.len() - rows.len() {
        0 => return Ok(()),
        n if rows.is_empty() => return Err(Error::Usage(format!("all {n} profiles are empty"))),
        n => talk.say(format_args!("{n} sequences have profiles without any count and were left out")),
    }
    dataset.names = rows.iter().map(|&i| dataset.names[i].clone()).collect();
    dataset.inputs = dataset.inputs.iter().map(|s| s.select(&rows)).collect();
    dataset.targets = dataset.targets.iter().map(|t| t.select(&rows)).collect();
    Ok(())
}

/// Drops all tracks but those of these names, which are the ones of the files or those with the label of the file.
fn select(wanted: &[String], dataset: &mut Dataset, tracks: &mut Tracks) -> Result<()> {
    let known = || tracks.names.iter().chain(&tracks.plain).map(String::as_str);
    if let Some(name) = wanted.iter().find(|name| !known().any(|k| k == *name)) {
        let near = hint(name, known());
        return Err(Error::Usage(format!("--select-tracks: the targets have no track '{name}'{near}")));
    }
    let chosen = |i: usize| wanted.contains(&tracks.names[i]) || wanted.contains(&tracks.plain[i]);
    let keep: Vec<bool> = (0..tracks.names.len()).map(chosen).collect();
    let mut first = 0;
    for (file, targets) in dataset.targets.iter_mut().enumerate() {
        let keep = &keep[first..][..targets.tracks.len()];
        first += keep.len();
        if !keep.contains(&true) {
            return Err(Error::Usage(format!(
                "--select-tracks: no track of target file {} is selected; leave the file out",
                file + 1
            )));
        }
        let bins = targets.bins.unwrap_or(1);
        let mut each = keep.iter().flat_map(|keep| std::iter::repeat_n(keep, bins)).cycle();
        targets.values.retain(|_| each.next() == Some(&true));
        let mut each = keep.iter();
        targets.tracks.retain(|_| each.next() == Some(&true));
    }
    for list in [&mut tracks.names, &mut tracks.plain, &mut tracks.file_classes] {
        let mut each = keep.iter();
        list.retain(|_| each.next() == Some(&true));
    }
    Ok(())
}

/// The split of every fold. What is to be said of all of them is said of the first.
fn all_splits(wanted: &Wanted, dataset: &Dataset, talk: Talk) -> Result<Vec<Split>> {
    let folds = match &wanted.folds {
        Some(FoldSource::File(path)) => match Folds::read(path)?.len() {
            1 => {
                return Err(Error::Usage(format!(
                    "--crossvalidation {} all: the file has one fold only; leave 'all' out, or name a file of several sets",
                    path.display()
                )));
            }
            n => n,
        },
        Some(FoldSource::Number(k) | FoldSource::Hash(k)) => *k,
        None => 10,
    };
    let from_file = matches!(wanted.folds, Some(FoldSource::File(_)));
    if folds < 3 && !from_file {
        return Err(Error::Usage(format!(
            "--crossvalidation: all of {folds} folds: expected 3 or more, one to validate, one to test, and others to train on"
        )));
    }
    (0..folds).map(|fold| split(wanted, dataset, fold, if fold == 0 { talk } else { Talk::Quiet })).collect()
}

fn split(wanted: &Wanted, dataset: &Dataset, fold: usize, talk: Talk) -> Result<Split> {
    match &wanted.folds {
        Some(FoldSource::File(path)) => {
            let found = Folds::read(path)?.split(&dataset.names, fold)?;
            if found.unknown > 0 {
                talk.say(format_args!("{}: {} names are not in the data", path.display(), found.unknown));
            }
            if found.unused > 0 {
                talk.say(format_args!("{}: {} rows of the data are in no set", path.display(), found.unused));
            }
            Ok(found.split)
        }
        Some(FoldSource::Hash(k)) => hashed_split(&dataset.names, wanted.group_until.as_deref(), *k, fold),
        numbered => {
            let k = if let Some(FoldSource::Number(k)) = numbered { *k } else { 10 };
            let tables: Vec<(&[f64], usize)> =
                dataset.targets.iter().map(|t| (t.values.as_slice(), t.width())).collect();
            let labels = match wanted.cutoff > 0.0 {
                true => active_rows(&tables, dataset.names.len(), wanted.cutoff),
                false => vec![false; dataset.names.len()],
            };
            let split = fold_split(&labels, k, fold)?;
            if split.shared() > 0 && wanted.fold != Fold::All {
                talk.say(format_args!(
                    "{} rows are both in the validation and in the test set, as DRG's numbered folds have it when the rows \
                     are no multiple of the folds",
                    split.shared()
                ));
            }
            Ok(split)
        }
    }
}

/// Values of the table `[data]`.
struct Reader<'a> {
    table: &'a toml::Table,
    path: &'a Path,
}

impl Reader<'_> {
    fn wrong<T>(&self, key: &str, expected: &str, found: &toml::Value) -> Result<T> {
        Err(Error::key(self.path, format!("data.{key}"), format!("expected {expected}, found {found}")))
    }

    /// A scale, as `--transform` takes it.
    fn scale(&self, text: &str) -> Result<Transform> {
        transform(text).map_err(|what| Error::key(self.path, "data.transform", what))
    }

    /// A sign between columns, as `--delimiter` takes it.
    fn sign(&self, text: &str) -> Result<char> {
        inputs::delimiter(text).map_err(|what| Error::key(self.path, "data.delimiter", what))
    }

    fn text(&self, key: &str) -> Result<Option<String>> {
        match self.table.get(key) {
            None => Ok(None),
            Some(toml::Value::String(s)) => Ok(Some(s.clone())),
            Some(other) => self.wrong(key, "a text", other),
        }
    }

    fn flag(&self, key: &str) -> Result<bool> {
        match self.table.get(key) {
            None => Ok(false),
            Some(toml::Value::Boolean(b)) => Ok(*b),
            Some(other) => self.wrong(key, "true or false", other),
        }
    }

    /// A list of texts and numbers, as texts.
    fn texts(&self, key: &str) -> Result<Vec<String>> {
        match self.table.get(key) {
            None => Ok(vec![]),
            Some(toml::Value::Array(items)) => items
                .iter()
                .map(|item| match item {
                    toml::Value::String(s) => Ok(s.clone()),
                    toml::Value::Integer(n) => Ok(n.to_string()),
                    toml::Value::Float(x) => Ok(x.to_string()),
                    other => self.wrong(key, "texts or numbers", other),
                })
                .collect(),
            Some(other) => self.wrong(key, "a list", other),
        }
    }
}
