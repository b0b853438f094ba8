//! Score tables of groups of tracks: predictions and targets are averaged before they are compared.

use std::collections::BTreeMap;

use super::{Profiles, Table};
use crate::error::{Error, Result};

/// A table of the means of groups of tracks; what [`Table`] borrows.
#[derive(Debug, Clone, PartialEq)]
pub struct Averaged {
    prediction: Vec<f64>,
    target: Vec<f64>,
    /// Bins, and those of predictions and of targets.
    profiles: Option<(usize, Vec<f64>, Vec<f64>)>,
    /// Names of the groups, in alphabetical order within each class.
    pub groups: Vec<String>,
    /// Class of each group.
    pub classes: Vec<String>,
}

impl Averaged {
    /// Averages the tracks of each group within each class of `table`; `groups` has one name a track, classes come in
    /// alphabetical order, and groups in alphabetical order within them. A track whose target is missing (NaN) in a row is left
    /// out there on both sides; the target is missing where all are. Profiles are averaged bin by bin.
    ///
    /// # Errors
    /// [`Error::Shape`] for another number of groups than of tracks.
    pub fn new<S: AsRef<str>>(table: &Table<'_>, groups: &[S]) -> Result<Self> {
        let (rows, tracks) = (table.sequences.len(), table.tracks.len());
        if groups.len() != tracks {
            let expected = format!("one name for each of {tracks} tracks");
            return Err(Error::Shape { op: "averages", arg: "groups", expected, found: vec![groups.len()] });
        }
        let mut members = BTreeMap::<(&str, &str), Vec<usize>>::new();
        for (t, group) in groups.iter().enumerate() {
            let class = table.classes.map_or("0", |c| c[t].as_str());
            members.entry((class, group.as_ref())).or_default().push(t);
        }
        let (mut prediction, mut target) = (Vec::with_capacity(rows * members.len()), vec![]);
        let mut profiles = table.profiles.map(|p| (p.bins, vec![], vec![]));
        for row in 0..rows {
            for list in members.values() {
                let there = || list.iter().map(|t| row * tracks + t).filter(|&i| !table.target[i].is_nan());
                // Without a target the prediction counts nowhere, but it is a number all the same.
                let counted: Vec<usize> = match there().next() {
                    Some(_) => there().collect(),
                    None => list.iter().map(|t| row * tracks + t).collect(),
                };
                let mean = |of: &[f64]| counted.iter().map(|&i| of[i]).sum::<f64>() / counted.len() as f64;
                prediction.push(mean(table.prediction));
                target.push(mean(table.target));
                if let (Some((bins, prediction, target)), Some(p)) = (&mut profiles, table.profiles) {
                    let mean = |of: &[f64], bin: usize| {
                        counted.iter().map(|&i| of[i * p.bins + bin]).sum::<f64>() / counted.len() as f64
                    };
                    prediction.extend((0..*bins).map(|bin| mean(p.prediction, bin)));
                    target.extend((0..*bins).map(|bin| mean(p.target, bin)));
                }
            }
        }
        let (classes, groups) = members.into_keys().map(|(c, g)| (c.to_string(), g.to_string())).unzip();
        Ok(Self { prediction, target, profiles, groups, classes })
    }

    /// The table to score, of these sequences, which are those that the averages were made of.
    pub fn table<'a>(&'a self, sequences: &'a [String]) -> Table<'a> {
        Table {
            prediction: &self.prediction,
            target: &self.target,
            sequences,
            tracks: &self.groups,
            classes: Some(&self.classes),
            profiles: self.profiles.as_ref().map(|(bins, prediction, target)| Profiles {
                bins: *bins,
                prediction,
                target,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_averaged_within_classes() {
        const NA: f64 = f64::NAN;
        let names = |t: &str| t.split(' ').map(String::from).collect::<Vec<_>>();
        let (sequences, tracks, classes) = (names("s t"), names("a b c d e"), names("kd ex ex ex kd"));
        let table = Table {
            prediction: &[1., 2., 4., 6., 3., 0., 1., 5., 8., 0.],
            target: &[10., 20., NA, 60., 30., 7., NA, NA, 9., 5.],
            sequences: &sequences,
            tracks: &tracks,
            classes: Some(&classes),
            profiles: None,
        };
        let made = Averaged::new(&table, &["T", "T", "T", "B", "T"]).unwrap();
        let found = made.table(&sequences);
        assert_eq!((&made.classes, found.tracks), (&names("ex ex kd"), names("B T T").as_slice()));
        // c is not measured in s, and counts on neither side; b and c are not measured in t.
        assert_eq!(found.prediction, [6., 2., 2., 8., 3., 0.]);
        assert_eq!(found.target[..4], [60., 20., 20., 9.]);
        assert!(found.target[4].is_nan() && found.target[5] == 6.0);
        let whole = Averaged::new(&Table { classes: None, ..table }, &["T", "T", "T", "B", "T"]).unwrap();
        assert_eq!((whole.groups.clone(), whole.classes.clone()), (names("B T"), names("0 0")));
        assert_eq!(whole.table(&sequences).target[..2], [60., 20.]);
        // Two bins a track.
        let bins: Vec<f64> = (0..20).map(f64::from).collect();
        let profiles = Some(Profiles { bins: 2, prediction: &bins, target: &bins });
        let made = Averaged::new(&Table { profiles, ..table }, &["T", "T", "T", "B", "T"]).unwrap();
        let found = made.table(&sequences).profiles.unwrap();
        // d; b; a and e: columns 3, 1 and the mean of 0 and 4.
        assert_eq!((found.bins, &found.target[..6]), (2, &[6., 7., 2., 3., 4., 5.][..]));
        let message = Averaged::new(&table, &["T"]).unwrap_err().to_string();
        assert!(message.contains("one name for each of 5 tracks; found [1]"), "{message}");
    }
}
