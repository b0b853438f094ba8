//! The score table of a model: every metric along every axis of a prediction matrix.

use std::fmt;
use std::str::FromStr;

use rayon::prelude::*;

use super::{auprc, auroc, jensen_shannon, mean, mse, pearson, pearson_distance, r2, rank_sum, rmse, spearman};
use crate::error::{Error, Result, hint};

/// What one score is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// One track over all sequences.
    Track,
    /// The mean of the track scores of one class.
    Class,
    /// One sequence over the tracks of one class.
    Sequence,
}

impl Axis {
    /// All axes, in the order of the table.
    pub const ALL: [Self; 3] = [Self::Track, Self::Class, Self::Sequence];

    /// Name in tables: `track`, `class` or `sequence`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Class => "class",
            Self::Sequence => "sequence",
        }
    }
}

/// A number that compares predictions with targets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// [`pearson`].
    Pearson,
    /// [`spearman`].
    Spearman,
    /// [`r2`].
    R2,
    /// [`rmse`].
    Rmse,
    /// [`mse`].
    Mse,
    /// [`auroc`]; only of targets that are 0 or 1, with both present.
    Auroc,
    /// [`auprc`]; only of targets that are 0 or 1, with both present.
    Auprc,
    /// [`pearson_distance`], the reference system's `corr`.
    Distance,
    /// [`rank_sum`]; only of targets that are 0 or 1, with both present.
    RankSum,
    /// Mean over profiles of the [`pearson`] correlation of their bins; only of profiles.
    ProfilePearson,
    /// Mean over profiles of the [`jensen_shannon`] divergence of their shapes; only of profiles.
    ProfileJsd,
}

impl Metric {
    /// The metrics of a report. [`Metric::Distance`] repeats the correlation in the reference's convention, [`Metric::RankSum`]
    /// tests what [`Metric::Auroc`] measures; both are left out.
    pub const REPORT: [Self; 9] = [
        Self::Pearson,
        Self::Spearman,
        Self::R2,
        Self::Rmse,
        Self::Mse,
        Self::Auroc,
        Self::Auprc,
        Self::ProfilePearson,
        Self::ProfileJsd,
    ];

    /// Name in tables: `r`, `spearman`, `r2`, `rmse`, `mse`, `auroc`, `auprc`, `distance`, `ranksum`,
    /// `profile_r` or `profile_jsd`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pearson => "r",
            Self::Spearman => "spearman",
            Self::R2 => "r2",
            Self::Rmse => "rmse",
            Self::Mse => "mse",
            Self::Auroc => "auroc",
            Self::Auprc => "auprc",
            Self::Distance => "distance",
            Self::RankSum => "ranksum",
            Self::ProfilePearson => "profile_r",
            Self::ProfileJsd => "profile_jsd",
        }
    }

    /// Whether the lower of two values is the better one: errors and distances.
    pub fn lower_is_better(self) -> bool {
        matches!(self, Self::Rmse | Self::Mse | Self::Distance | Self::ProfileJsd)
    }

    /// Value for points without missing targets; `None` where the metric does not apply.
    fn of(self, target: &[f64], prediction: &[f64]) -> Option<f64> {
        match self {
            Self::Pearson => Some(pearson(target, prediction)),
            Self::Spearman => Some(spearman(target, prediction)),
            Self::R2 => Some(r2(target, prediction)),
            Self::Rmse => Some(rmse(target, prediction)),
            Self::Mse => Some(mse(target, prediction)),
            Self::Distance => Some(pearson_distance(target, prediction)),
            Self::Auroc => labels(target).map(|l| auroc(&l, prediction)),
            Self::Auprc => labels(target).map(|l| auprc(&l, prediction)),
            Self::RankSum => labels(target).map(|l| rank_sum(&l, prediction)),
            Self::ProfilePearson | Self::ProfileJsd => None,
        }
    }

    /// Value for the bins of one profile; `None` for metrics of single values.
    fn of_profile(self, target: &[f64], prediction: &[f64]) -> Option<f64> {
        match self {
            Self::ProfilePearson => Some(pearson(target, prediction)),
            Self::ProfileJsd => Some(jensen_shannon(target, prediction)),
            _ => None,
        }
    }
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Axis {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let names = || Self::ALL.into_iter().map(Self::name);
        Self::ALL.into_iter().find(|a| a.name() == word).ok_or_else(|| {
            let known: Vec<_> = names().collect();
            Error::Usage(format!("unknown axis '{word}'{}; known: {}", hint(word, names()), known.join(", ")))
        })
    }
}

impl FromStr for Metric {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self> {
        let all = || Self::REPORT.into_iter().chain([Self::Distance, Self::RankSum]);
        all().find(|m| m.name() == word).ok_or_else(|| {
            let known: Vec<_> = all().map(Self::name).collect();
            let hint = hint(word, known.iter().copied());
            Error::Usage(format!("unknown metric '{word}'{hint}; known: {}", known.join(", ")))
        })
    }
}

/// Predictions and targets of the same N sequences and T tracks.
#[derive(Debug, Clone, Copy)]
pub struct Table<'a> {
    /// Predictions, row-major [N, T].
    pub prediction: &'a [f64],
    /// Targets, row-major [N, T]; NaN is a missing value.
    pub target: &'a [f64],
    /// Names of the N sequences.
    pub sequences: &'a [String],
    /// Names of the T tracks.
    pub tracks: &'a [String],
    /// Class of each of the T tracks; without it all tracks are of class `0`.
    pub classes: Option<&'a [String]>,
    /// The profiles whose totals the predictions and targets are, for the metrics of profiles.
    pub profiles: Option<Profiles<'a>>,
}

/// Predicted and measured bins of N sequences and T tracks.
#[derive(Debug, Clone, Copy)]
pub struct Profiles<'a> {
    /// Bins of every track.
    pub bins: usize,
    /// Predictions, row-major [N, T, bins].
    pub prediction: &'a [f64],
    /// Targets, row-major [N, T, bins].
    pub target: &'a [f64],
}

/// One number of the score table.
#[derive(Debug, Clone, PartialEq)]
pub struct Score {
    /// What `item` is.
    pub axis: Axis,
    /// Name of the track, the class or the sequence.
    pub item: String,
    /// Class of the tracks that were used.
    pub class: String,
    /// Which metric.
    pub metric: Metric,
    /// Its value; NaN where it is not defined, e.g. the correlation of a constant row.
    pub value: f64,
    /// How many values were used: points of a track or a sequence whose target is present, tracks of a class that have
    /// a value.
    pub n: usize,
}

/// Scores of a prediction matrix along the wanted axes, in the order axis, class or track, item, metric.
///
/// Tracks come in the order of the table, classes in alphabetical order, sequences in the order of the table once per
/// class. Points with a missing (NaN) target are left out; a NaN prediction makes its scores NaN. A class score is the
/// mean over those tracks of the class where the metric is defined (tracks are not pooled: scales may differ).
/// [`Metric::Auroc`] and [`Metric::Auprc`] have rows only where the targets are 0 and 1 and both occur.
///
/// # Errors
/// [`Error::Shape`] when a matrix or the classes do not fit the numbers of names.
pub fn scores(table: &Table<'_>, axes: &[Axis], metrics: &[Metric]) -> Result<Vec<Score>> {
    table.check()?;
    let classes = table.class_indices();
    let mut rows = Vec::new();
    let over_tracks: Vec<Vec<(Option<f64>, usize)>> = if axes.iter().any(|a| *a != Axis::Sequence) {
        (0..table.tracks.len())
            .into_par_iter()
            .map(|t| table.evaluate((0..table.sequences.len()).map(|n| (n, t)), metrics))
            .collect()
    } else {
        Vec::new()
    };
    for axis in axes {
        match axis {
            Axis::Track => {
                for (t, values) in over_tracks.iter().enumerate() {
                    push(&mut rows, Axis::Track, &table.tracks[t], table.class(t), metrics, values);
                }
            }
            Axis::Class => {
                for (class, members) in &classes {
                    let values: Vec<_> = (0..metrics.len())
                        .map(|m| {
                            let applies: Vec<f64> = members.iter().filter_map(|&t| over_tracks[t][m].0).collect();
                            let defined: Vec<f64> = applies.iter().copied().filter(|v| !v.is_nan()).collect();
                            ((!applies.is_empty()).then(|| mean(&defined)), defined.len())
                        })
                        .collect();
                    push(&mut rows, Axis::Class, class, class, metrics, &values);
                }
            }
            Axis::Sequence => {
                for (class, members) in &classes {
                    let over_sequences: Vec<_> = (0..table.sequences.len())
                        .into_par_iter()
                        .map(|n| table.evaluate(members.iter().map(|&t| (n, t)), metrics))
                        .collect();
                    for (name, values) in table.sequences.iter().zip(&over_sequences) {
                        push(&mut rows, Axis::Sequence, name, class, metrics, values);
                    }
                }
            }
        }
    }
    Ok(rows)
}

impl<'a> Table<'a> {
    fn check(&self) -> Result<()> {
        let (n, t) = (self.sequences.len(), self.tracks.len());
        let refuse = |arg, expected, found| Err(Error::Shape { op: "scores", arg, expected, found: vec![found] });
        for (arg, matrix) in [("prediction", self.prediction), ("target", self.target)] {
            if matrix.len() != n * t {
                return refuse(arg, format!("[N, T] = [{n}, {t}], {} values", n * t), matrix.len());
            }
        }
        for (arg, matrix) in self.profiles.iter().flat_map(|p| [("prediction", p.prediction), ("target", p.target)]) {
            if matrix.len() != n * t * self.profiles.map_or(1, |p| p.bins) {
                return refuse(arg, format!("profiles [{n}, {t}, bins]"), matrix.len());
            }
        }
        match self.classes {
            Some(c) if c.len() != t => refuse("classes", format!("one name for each of {t} tracks"), c.len()),
            _ => Ok(()),
        }
    }

    fn class(&self, track: usize) -> &'a str {
        self.classes.map_or("0", |c| &c[track])
    }

    /// Classes in alphabetical order, each with its tracks.
    fn class_indices(&self) -> Vec<(&'a str, Vec<usize>)> {
        let mut classes = std::collections::BTreeMap::<&str, Vec<usize>>::new();
        for t in 0..self.tracks.len() {
            classes.entry(self.class(t)).or_default().push(t);
        }
        classes.into_iter().collect()
    }

    fn evaluate(&self, cells: impl Iterator<Item = (usize, usize)>, metrics: &[Metric]) -> Vec<(Option<f64>, usize)> {
        let there = |i: &usize| !self.target[*i].is_nan();
        let cells: Vec<usize> = cells.map(|(n, t)| n * self.tracks.len() + t).filter(there).collect();
        let (target, prediction): (Vec<f64>, Vec<f64>) =
            cells.iter().map(|&i| (self.target[i], self.prediction[i])).unzip();
        let of = |m: &Metric| match m.of(&target, &prediction) {
            None => self.of_profiles(*m, &cells),
            value => (value, target.len()),
        };
        metrics.iter().map(of).collect()
    }

    /// Mean of a metric over the profiles of these cells where it is defined, and their number.
    fn of_profiles(&self, metric: Metric, cells: &[usize]) -> (Option<f64>, usize) {
        let Some(Profiles { bins, prediction, target }) = self.profiles else { return (None, cells.len()) };
        let broken = |&i: &usize| prediction[i * bins..][..bins].iter().any(|p| p.is_nan());
        if cells.iter().any(broken) && matches!(metric, Metric::ProfilePearson | Metric::ProfileJsd) {
            return (Some(f64::NAN), cells.len());
        }
        let of = |&i: &usize| metric.of_profile(&target[i * bins..][..bins], &prediction[i * bins..][..bins]);
        let Some(values) = cells.iter().map(of).collect::<Option<Vec<f64>>>() else { return (None, cells.len()) };
        let defined: Vec<f64> = values.into_iter().filter(|v| !v.is_nan()).collect();
        (Some(mean(&defined)), defined.len())
    }
}

fn push(
    rows: &mut Vec<Score>,
    axis: Axis,
    item: &str,
    class: &str,
    metrics: &[Metric],
    values: &[(Option<f64>, usize)],
) {
    for (&metric, &(value, n)) in metrics.iter().zip(values) {
        if let Some(value) = value {
            rows.push(Score { axis, item: item.into(), class: class.into(), metric, value, n });
        }
    }
}

/// Targets as labels, if they are all 0 or 1 and both occur.
fn labels(target: &[f64]) -> Option<Vec<bool>> {
    let binary = target.iter().all(|t| *t == 0.0 || *t == 1.0);
    (binary && target.contains(&0.0) && target.contains(&1.0)).then(|| target.iter().map(|t| *t == 1.0).collect())
}

#[cfg(test)]
mod tests {
    use super::super::{cosine, ordinal_ranks};
    use super::*;

    fn names(prefix: &str, n: usize) -> Vec<String> {
        (0..n).map(|i| format!("{prefix}{i}")).collect()
    }

    fn values(rows: &[Score], axis: Axis, metric: Metric) -> Vec<f64> {
        rows.iter().filter(|s| s.axis == axis && s.metric == metric).map(|s| s.value).collect()
    }

    fn close(found: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() <= tolerance, "found {found:?}, expected {expected:?}");
        }
    }

    /// Worked example of the specification: distances and RMSE per track and per point.
    #[test]
    fn worked_example() {
        let target = [1., 2., 3., 2., 1., 0., 0., 1., 5.];
        let prediction = [1.1, 2.2, 2.7, 2.2, 0.9, 0.3, 0.1, 1.4, 4.0];
        let (sequences, tracks) = (names("s", 3), names("t", 3));
        let table = Table {
            prediction: &prediction,
            target: &target,
            sequences: &sequences,
            tracks: &tracks,
            classes: None,
            profiles: None,
        };
        let rows = scores(&table, &Axis::ALL, &[Metric::Distance, Metric::Rmse, Metric::Auroc]).unwrap();
        close(&values(&rows, Axis::Track, Metric::Distance), &[0.0004, 0.0755, 0.0015], 1e-12);
        close(&values(&rows, Axis::Sequence, Metric::Distance), &[0.0226, 0.0219, 0.0103], 1e-12);
        close(&values(&rows, Axis::Track, Metric::Rmse), &[0.14142, 0.26458, 0.62716], 5e-6);
        close(&values(&rows, Axis::Class, Metric::Rmse), &[(0.14142 + 0.26458 + 0.62716) / 3.0], 5e-6);
        assert!(rows.iter().all(|s| s.metric != Metric::Auroc && s.n == 3 && s.class == "0"));
        assert_eq!(rows.len(), 2 * 3 + 2 + 2 * 3);
    }

    #[test]
    fn profiles_are_scored_by_shape() {
        // Two sequences and one track of three bins: the first is predicted in shape, the second is empty.
        let (target, prediction) = ([0., 2., 4., 0., 0., 0.], [0.5, 1.5, 2.5, 1., 2., 3.]);
        let totals = |x: &[f64]| x.chunks(3).map(|b| b.iter().sum()).collect::<Vec<f64>>();
        let (sequences, tracks) = (names("s", 2), names("t", 1));
        let table = Table {
            prediction: &totals(&prediction),
            target: &totals(&target),
            sequences: &sequences,
            tracks: &tracks,
            classes: None,
            profiles: Some(Profiles { bins: 3, prediction: &prediction, target: &target }),
        };
        let rows = scores(&table, &[Axis::Track, Axis::Sequence], &Metric::REPORT).unwrap();
        close(&values(&rows, Axis::Track, Metric::ProfilePearson), &[1.0], 1e-12);
        let jsd = values(&rows, Axis::Track, Metric::ProfileJsd)[0];
        assert!((0.01..0.1).contains(&jsd) && rows.iter().any(|s| s.metric == Metric::Rmse), "{jsd}");
        let of = |m| rows.iter().find(|s| s.axis == Axis::Track && s.metric == m).unwrap().n;
        assert_eq!((of(Metric::ProfileJsd), of(Metric::Rmse)), (1, 2));
        assert!(values(&rows, Axis::Sequence, Metric::ProfileJsd)[1].is_nan());
        // A prediction that is no number is not passed over.
        let mut broken = prediction;
        broken[5] = f64::NAN;
        let broken = Table { profiles: Some(Profiles { bins: 3, prediction: &broken, target: &target }), ..table };
        let rows = scores(&broken, &[Axis::Track], &Metric::REPORT).unwrap();
        assert!(values(&rows, Axis::Track, Metric::ProfilePearson)[0].is_nan());
        let flat = Table { profiles: None, ..table };
        assert!(
            values(&scores(&flat, &Axis::ALL, &Metric::REPORT).unwrap(), Axis::Track, Metric::ProfileJsd).is_empty()
        );
        let short = Table { profiles: Some(Profiles { bins: 2, prediction: &prediction, target: &target }), ..table };
        assert!(scores(&short, &Axis::ALL, &[Metric::Mse]).is_err());
    }

    #[test]
    fn missing_targets_classes_and_binary_tracks() {
        const NA: f64 = f64::NAN;
        // Track a is binary with one value missing, b is constant, c has no value at all.
        let target = [1., 2., NA, 0., 2., NA, NA, 2., NA, 1., 2., NA, 0., 2., NA];
        let prediction = [0.9, 1., 1., 0.2, 2., 1., 0.1, 3., 1., 0.15, 1., 1., 0.1, 2., 1.];
        let sequences = names("s", 5);
        let tracks: Vec<String> = ["a", "b", "c"].map(String::from).into();
        let classes: Vec<String> = ["x", "x", "w"].map(String::from).into();
        let table = Table {
            prediction: &prediction,
            target: &target,
            sequences: &sequences,
            tracks: &tracks,
            classes: Some(&classes),
            profiles: None,
        };
        let rows = scores(&table, &[Axis::Track, Axis::Class], &Metric::REPORT).unwrap();
        let find = |axis: Axis, item: &str, metric: Metric| {
            rows.iter().find(|s| s.axis == axis && s.item == item && s.metric == metric)
        };
        // scikit-learn 1.9.1: roc_auc_score([1, 0, 1, 0], [.9, .2, .15, .1]), average_precision_score(same)
        let auroc = find(Axis::Track, "a", Metric::Auroc).unwrap();
        assert_eq!((auroc.value, auroc.n, auroc.class.as_str()), (0.75, 4, "x"));
        assert!((find(Axis::Track, "a", Metric::Auprc).unwrap().value - 0.833_333_333_333_333_3).abs() < 1e-15);
        assert!(find(Axis::Track, "b", Metric::Auroc).is_none() && find(Axis::Track, "c", Metric::Auroc).is_none());
        let constant = find(Axis::Track, "b", Metric::Pearson).unwrap();
        assert!(constant.value.is_nan() && constant.n == 5);
        let absent = find(Axis::Track, "c", Metric::Mse).unwrap();
        assert!(absent.value.is_nan() && absent.n == 0);
        // Class x: the correlation of b does not exist, so only a counts; errors exist for both.
        let r = find(Axis::Class, "x", Metric::Pearson).unwrap();
        assert_eq!((r.value, r.n), (find(Axis::Track, "a", Metric::Pearson).unwrap().value, 1));
        assert_eq!(find(Axis::Class, "x", Metric::Mse).unwrap().n, 2);
        let nothing = find(Axis::Class, "w", Metric::Pearson).unwrap();
        assert!(nothing.value.is_nan() && nothing.n == 0);
        assert!(find(Axis::Class, "w", Metric::Auroc).is_none());
        let order: Vec<_> = rows.iter().filter(|s| s.metric == Metric::Mse).map(|s| s.item.as_str()).collect();
        assert_eq!(order, ["a", "b", "c", "w", "x"]);
    }

    #[test]
    fn wrong_sizes_and_names_are_refused() {
        let (sequences, tracks) = (names("s", 2), names("t", 2));
        let table = Table {
            prediction: &[0.0; 4],
            target: &[0.0; 3],
            sequences: &sequences,
            tracks: &tracks,
            classes: Some(&sequences[..1]),
            profiles: None,
        };
        let message = scores(&table, &Axis::ALL, &Metric::REPORT).unwrap_err().to_string();
        assert_eq!(message, "scores: target must be [N, T] = [2, 2], 4 values; found [3]");
        let message = scores(&Table { target: &[0.0; 4], ..table }, &[], &[]).unwrap_err().to_string();
        assert_eq!(message, "scores: classes must be one name for each of 2 tracks; found [1]");
        let empty = Table { prediction: &[], target: &[], sequences: &[], tracks: &[], classes: None, profiles: None };
        assert_eq!(scores(&empty, &Axis::ALL, &Metric::REPORT).unwrap(), []);
        assert_eq!("auroc".parse::<Metric>().unwrap(), Metric::Auroc);
        let message = "spaerman".parse::<Metric>().unwrap_err().to_string();
        assert!(message.starts_with("unknown metric 'spaerman' (did you mean 'spearman'?); known: r, "), "{message}");
        assert!("tracks".parse::<Axis>().unwrap_err().to_string().contains("did you mean 'track'?"));
    }

    /// Values of the reference implementation, constant rows and columns included.
    #[test]
    fn fixture_of_the_reference() {
        let shared = std::env::var_os("DRG_SHARED").map_or_else(
            || std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
            std::path::PathBuf::from,
        );
        let path = shared.join("fixtures/15_split_metrics/io.npz");
        let Ok(file) = std::fs::File::open(&path) else {
            eprintln!("skipped: {} is missing (set DRG_SHARED)", path.display());
            return;
        };
        let mut archive = ndarray_npy::NpzReader::new(file).unwrap();
        let mut matrix = |key: &str| archive.by_name::<ndarray::OwnedRepr<f64>, ndarray::Ix2>(key).unwrap();
        let (p, t) = (matrix("metric_p"), matrix("metric_t"));
        let mut vector = |key: &str| archive.by_name::<ndarray::OwnedRepr<f64>, ndarray::Ix1>(key).unwrap().to_vec();
        let (sequences, tracks) = (names("s", p.nrows()), names("t", p.ncols()));
        let (prediction, target): (Vec<f64>, Vec<f64>) = (p.iter().copied().collect(), t.iter().copied().collect());
        let table = Table {
            prediction: &prediction,
            target: &target,
            sequences: &sequences,
            tracks: &tracks,
            classes: None,
            profiles: None,
        };
        let rows = scores(&table, &Axis::ALL, &[Metric::Distance, Metric::Rmse]).unwrap();
        for (axis, key) in [(Axis::Track, 0), (Axis::Sequence, 1)] {
            close(&values(&rows, axis, Metric::Distance), &vector(&format!("pearson_axis{key}")), 1e-9);
            close(&values(&rows, axis, Metric::Rmse), &vector(&format!("rmse_axis{key}")), 1e-12);
            let along = ndarray::Axis(1 - key);
            let both = |of: &dyn Fn(&[f64], &[f64]) -> f64| -> Vec<f64> {
                p.axis_iter(along).zip(t.axis_iter(along)).map(|(a, b)| of(&a.to_vec(), &b.to_vec())).collect()
            };
            let rank = both(&|a, b| pearson_distance(&ordinal_ranks(a), &ordinal_ranks(b)));
            close(&rank, &vector(&format!("spearman_axis{key}")), 1e-9);
            close(&both(&|a, b| 1.0 - cosine(a, b)), &vector(&format!("cosine_axis{key}")), 5.1e-5);
        }
    }
}
