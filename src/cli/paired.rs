//! Predictions and measurements, aligned by the names of rows and tracks.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::score_table::{all_of, split_fold};
use super::scores::Tracks;
use super::talk::Talk;
use crate::error::{Error, Result, hint};
use crate::io::first_few;
use crate::io::table::Table;
use crate::io::targets::{TargetOptions, Targets, read_modalities, read_targets};
use crate::model::spec::{Named, Transform};
use crate::seq::duplicate;
use crate::stat::Profiles;

/// The files that are compared.
#[derive(Debug, clap::Args, Serialize)]
pub(super) struct Files {
    /// Predictions: npz (values, names, columns) or a table with the names of the rows first; several files, with blanks or
    /// commas between them, are test sets of folds
    #[arg(value_name = "PRED", value_delimiter = ',', num_args = 1.., required = true)]
    predictions: Vec<PathBuf>,
    /// Measurements, in the same formats; several files with commas between them are modalities
    #[arg(value_name = "MEASURED", value_delimiter = ',', num_args = 1, required = true)]
    measured: Vec<PathBuf>,
    /// MEASURED is a table with other columns, too: these are the measurements
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    target_columns: Vec<String>,
    /// The predictions are on another scale, which the model has learned: bring the measurements there, too
    #[arg(long, value_name = "log|log2|share", value_parser = transform)]
    transform: Option<Transform>,
    /// Labels of the modalities, which tell apart tracks and classes of equal names [default: 0,1,2,...]
    #[arg(long, alias = "add_fileclasses", value_name = "A,B,...", value_delimiter = ',')]
    file_classes: Vec<String>,
    /// Leave out rows and tracks that only the predictions have, instead of refusing them
    #[arg(long)]
    common: bool,
}

/// What both sides have: N rows and T tracks in the order of the predictions.
#[derive(Debug, Clone)]
pub(super) struct Pairs {
    /// Names of the rows.
    pub names: Vec<String>,
    /// Names of the tracks.
    pub tracks: Vec<String>,
    /// Names of the tracks as their file of measurements has them.
    pub plain: Vec<String>,
    /// Label of the file of each track; empty if there is one file.
    pub file_classes: Vec<String>,
    /// Predictions `[N, T]`.
    pub prediction: Vec<f64>,
    /// Measurements `[N, T]`; NaN is a missing value. Totals where both sides are profiles.
    pub measured: Vec<f64>,
    /// The profiles that `prediction` and `measured` are the totals of.
    pub profiles: Option<Bins>,
}

/// Predicted and measured bins, `[N, T, bins]`.
#[derive(Debug, Clone)]
pub(super) struct Bins {
    /// Bins of every track.
    pub bins: usize,
    /// Predictions.
    pub prediction: Vec<f64>,
    /// Measurements.
    pub measured: Vec<f64>,
}

impl Pairs {
    /// The profiles, for a table of scores.
    pub(super) fn profiles(&self) -> Option<Profiles<'_>> {
        self.profiles.as_ref().map(|p| Profiles { bins: p.bins, prediction: &p.prediction, target: &p.measured })
    }
}

/// Name of a file of predictions without its endings.
fn stem(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    stem.strip_suffix("_pred").unwrap_or(&stem).to_string()
}

/// Measurements of all files side by side.
struct Measured {
    table: Targets,
    plain: Vec<String>,
    file_classes: Vec<String>,
}

impl Files {
    /// Predictions and one or more files of measurements.
    pub(super) fn new(prediction: &Path, measured: &[PathBuf], common: bool) -> Self {
        Self {
            predictions: vec![prediction.into()],
            measured: measured.to_vec(),
            target_columns: Vec::new(),
            transform: None,
            file_classes: Vec::new(),
            common,
        }
    }

    /// Name of the model for tables: that of the file of predictions without its suffix and `_pred`; of folds what their names have
    /// in common, and `_all`.
    pub(super) fn model(&self) -> String {
        let stems: Vec<String> = self.folds().iter().map(|path| stem(path)).collect();
        let base = |stem: &String| split_fold(stem).map(|(base, _)| base);
        match base(&stems[0]) {
            Some(first) if stems.len() > 1 && stems.iter().all(|s| base(s).as_ref() == Some(&first)) => {
                format!("{first}_all")
            }
            _ => stems[0].clone(),
        }
    }

    /// The files of predictions, of folds without that of all folds together, which a wide pattern of file names finds, too.
    fn folds(&self) -> Vec<&PathBuf> {
        let bases: HashSet<String> =
            self.predictions.iter().filter_map(|path| split_fold(&stem(path))).map(|(base, _)| base).collect();
        let pooled = |path: &Path| all_of(&stem(path)).iter().any(|base| bases.contains(base));
        self.predictions.iter().filter(|path| !pooled(path)).collect()
    }

    /// Reads the files and keeps what both sides have; the rows of several files of predictions are put together, and a row that
    /// two of them have counts once.
    ///
    /// # Errors
    /// What the readers return; [`Error::Usage`] naming rows or tracks that have no counterpart.
    pub(super) fn read(&self, talk: Talk) -> Result<Pairs> {
        self.read_folds(talk).map(|(all, _)| all)
    }

    /// As [`Files::read`], and what each file has.
    ///
    /// # Errors
    /// As [`Files::read`]; [`Error::Usage`] if files of predictions have different tracks.
    pub(super) fn read_folds(&self, talk: Talk) -> Result<(Pairs, Vec<Pairs>)> {
        let mut measured = self.measurements()?;
        if let Some(scale) = self.transform {
            scale.apply(&mut measured.table.values, measured.table.bins)?;
        }
        let files = self.folds();
        for path in self.predictions.iter().filter(|path| !files.contains(path)) {
            talk.say(format_args!("{} is of all folds together and left out", path.display()));
        }
        let each: Vec<Pairs> = files.iter().map(|path| self.read_one(path, &measured, talk)).collect::<Result<_>>()?;
        let mut all = Pairs { names: vec![], prediction: vec![], measured: vec![], ..each[0].clone() };
        let bins = each[0].profiles.as_ref().map(|p| p.bins).filter(|_| each.iter().all(|p| p.profiles.is_some()));
        let mut profiles = bins.map(|bins| Bins { bins, prediction: vec![], measured: vec![] });
        let (mut seen, mut again) = (HashSet::new(), 0);
        for (pairs, path) in each.iter().zip(&files) {
            if pairs.tracks != all.tracks {
                let (file, first) = (path.display(), files[0].display());
                let (here, there) = (first_few(&pairs.tracks), first_few(&all.tracks));
                return Err(Error::Usage(format!("{file} has the tracks [{here}], {first} has [{there}]")));
            }
            let width = all.tracks.len();
            for (i, name) in pairs.names.iter().enumerate() {
                if !seen.insert(name.clone()) {
                    again += 1;
                    continue;
                }
                all.names.push(name.clone());
                all.prediction.extend(&pairs.prediction[i * width..(i + 1) * width]);
                all.measured.extend(&pairs.measured[i * width..(i + 1) * width]);
                if let (Some(all), Some(own)) = (&mut profiles, &pairs.profiles) {
                    let cells = i * width * own.bins..(i + 1) * width * own.bins;
                    all.prediction.extend(&own.prediction[cells.clone()]);
                    all.measured.extend(&own.measured[cells]);
                }
            }
        }
        all.profiles = profiles;
        if again > 0 {
            talk.say(format_args!("{again} rows are in two files of predictions; the first counts"));
        }
        let missing = all.measured.iter().filter(|v| v.is_nan()).count();
        if missing > 0 {
            talk.say(format_args!("{missing} of {} measured values are missing and left out", all.measured.len()));
        }
        Ok((all, each))
    }

    fn read_one(&self, path: &Path, measured: &Measured, talk: Talk) -> Result<Pairs> {
        let predicted = read_targets(path, &TargetOptions::default())?;
        let bins = match (predicted.bins, measured.table.bins) {
            (Some(p), Some(m)) if p != m => {
                let file = path.display();
                return Err(Error::Usage(format!("{file} has {p} bins a track, the measurements have {m}")));
            }
            (Some(bins), Some(_)) => Some(bins),
            (None, None) => None,
            _ => {
                talk.say(format_args!("one side are profiles: their totals are compared with the other's values"));
                None
            }
        };
        let both = [&predicted, &measured.table];
        let there = format!(
            "the measurements ({})",
            first_few(&self.measured.iter().map(|p| p.display().to_string()).collect::<Vec<_>>())
        );
        let rows = self.matching(path, "rows", &predicted.names, &measured.table.names, &there, talk)?;
        let columns = self.matching(path, "tracks", &predicted.tracks, &measured.table.tracks, &there, talk)?;
        for (what, kept, all) in
            [("rows", rows.len(), measured.table.names.len()), ("tracks", columns.len(), measured.table.tracks.len())]
        {
            // Of several folds each has some of the rows.
            if kept < all && (self.predictions.len() == 1 || what == "tracks") {
                talk.say(format_args!("{kept} of {all} measured {what} are predicted and compared"));
            }
        }
        let mut pairs = Pairs {
            names: rows.iter().map(|&(p, _)| predicted.names[p].clone()).collect(),
            tracks: columns.iter().map(|&(p, _)| predicted.tracks[p].clone()).collect(),
            plain: columns.iter().map(|&(_, m)| measured.plain[m].clone()).collect(),
            file_classes: Vec::new(),
            prediction: Vec::with_capacity(rows.len() * columns.len()),
            measured: Vec::with_capacity(rows.len() * columns.len()),
            profiles: None,
        };
        if !measured.file_classes.is_empty() {
            pairs.file_classes = columns.iter().map(|&(_, m)| measured.file_classes[m].clone()).collect();
        }
        if let Some(bins) = bins {
            let mut profiles = Bins { bins, prediction: vec![], measured: vec![] };
            for (&(p, m), &(here, there)) in rows.iter().flat_map(|r| columns.iter().map(move |c| (r, c))) {
                profiles.prediction.extend_from_slice(&predicted.row(p)[here * bins..][..bins]);
                profiles.measured.extend_from_slice(&measured.table.row(m)[there * bins..][..bins]);
            }
            pairs.profiles = Some(profiles);
        }
        let [predicted, mut measured] = both.map(Targets::totals);
        if let (Some(scale), Some(_)) = (self.transform, bins) {
            measured.values.iter_mut().for_each(|sum| *sum = scale.total(*sum));
        }
        for &(p, m) in &rows {
            pairs.prediction.extend(columns.iter().map(|&(c, _)| predicted.row(p)[c]));
            pairs.measured.extend(columns.iter().map(|&(_, c)| measured.row(m)[c]));
        }
        Ok(pairs)
    }

    /// One table of all files. Tracks of equal names get the label of their file, as the reference system names them.
    fn measurements(&self) -> Result<Measured> {
        let options = TargetOptions { allow_missing: true, ..TargetOptions::default() };
        if let [path] = self.measured.as_slice() {
            let table = match self.target_columns.is_empty() {
                true => read_targets(path, &options)?,
                false => Table::read(path, None)?.targets(&self.target_columns, None, true)?,
            };
            unique_tracks(path, &table.tracks)?;
            return Ok(Measured { plain: table.tracks.clone(), table, file_classes: Vec::new() });
        }
        if !self.target_columns.is_empty() {
            return Err(Error::Usage("--target-columns goes with one MEASURED table".into()));
        }
        let files = read_modalities(&self.measured, &options)?;
        let of: Vec<&[String]> = files.iter().map(|f| f.tracks.as_slice()).collect();
        let Tracks { names: tracks, plain, file_classes } = Tracks::new(&of, &self.file_classes)?;
        unique_tracks(&self.measured[0], &tracks)?;
        let names = files[0].names.clone();
        let bins = files[0].bins;
        if files.iter().any(|f| f.bins != bins) {
            return Err(Error::Usage(
                "MEASURED: expected files of one kind, all matrices or all profiles of as many bins".into(),
            ));
        }
        let values = (0..names.len()).flat_map(|i| files.iter().flat_map(move |f| f.row(i)).copied()).collect();
        Ok(Measured { table: Targets { names, tracks, values, bins }, plain, file_classes })
    }

    /// Pairs of indices of the names that both lists have, in the order of `predicted`.
    fn matching(
        &self,
        file: &Path,
        what: &str,
        predicted: &[String],
        measured: &[String],
        there: &str,
        talk: Talk,
    ) -> Result<Vec<(usize, usize)>> {
        let places: HashMap<&str, usize> = measured.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
        let mut pairs = Vec::new();
        let mut missing = Vec::new();
        for (i, name) in predicted.iter().enumerate() {
            match places.get(name.as_str()) {
                Some(&place) => pairs.push((i, place)),
                None => missing.push(name.as_str()),
            }
        }
        let (file, n, all) = (file.display(), missing.len(), predicted.len());
        if pairs.is_empty() {
            let (here, others) = (first_few(predicted), first_few(measured));
            return Err(Error::Usage(format!(
                "none of the {all} {what} of {file} is in {there}: predicted [{here}], measured [{others}]"
            )));
        }
        if let (Some(first), false) = (missing.first(), self.common) {
            let similar = hint(first, measured.iter().map(String::as_str));
            let some = first_few(&missing);
            return Err(Error::Usage(format!(
                "{n} of {all} {what} of {file} are not in {there}: {some}{similar}; --common leaves them out"
            )));
        }
        if n > 0 {
            talk.say(format_args!(
                "{n} of {all} predicted {what} are not measured and left out: {}",
                first_few(&missing)
            ));
        }
        Ok(pairs)
    }
}

/// The word of a scale.
pub(super) fn transform(text: &str) -> std::result::Result<Transform, String> {
    Transform::parse(text).map_err(|e| e.to_string())
}

fn unique_tracks(path: &Path, tracks: &[String]) -> Result<()> {
    match duplicate(tracks) {
        None => Ok(()),
        Some((name, ..)) => Err(Error::file(path, format!("two tracks are named '{name}'; names must be unique"))),
    }
}
