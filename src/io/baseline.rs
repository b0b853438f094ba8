//! Linear models of k-mers as JSON: which k-mers are counted, the coefficients that are not 0, and what they predict.

use std::collections::HashMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::seq::Sequences;
use crate::seq::kmer::{Choice, Kmers};
use crate::util::{fs, par};

/// First words of the file.
const FORMAT: &str = "drg baseline 1";

/// A linear model of k-mer counts, as its file holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    format: String,
    /// Name of what was fitted, e.g. `ridge`.
    pub model: String,
    /// What is counted.
    pub kmers: Choice,
    /// How many sequences a row has; features of input i are named `i:` and the k-mer where there is more than one.
    pub inputs: usize,
    /// Whether predictions are probabilities, `1 / (1 + exp(-sum))`, and not the sums themselves.
    pub probability: bool,
    /// Names of the T tracks.
    pub tracks: Vec<String>,
    /// Strength of the penalty, `[T]`.
    pub alphas: Vec<f64>,
    /// Intercepts, `[T]`.
    pub intercepts: Vec<f64>,
    /// Names of the features that some track uses.
    pub features: Vec<String>,
    /// Their coefficients, `[T]``[features]`.
    pub coefficients: Vec<Vec<f64>>,
}

impl Baseline {
    /// A model of the counts `kmers` of `inputs` sequences with intercepts `[T]`, alphas `[T]` and coefficients `[T, inputs x F]`.
    /// Panics if their sizes do not agree.
    pub fn new(
        model: &str,
        kmers: &Kmers,
        inputs: usize,
        probability: bool,
        tracks: &[String],
        numbers: (&[f64], &[f64], &[f64]),
    ) -> Self {
        let (alphas, intercepts, coefficients) = numbers;
        let names = feature_names(kmers, inputs);
        assert_eq!(coefficients.len(), tracks.len() * names.len(), "a coefficient for each track and feature");
        let rows: Vec<&[f64]> = coefficients.chunks_exact(names.len()).collect();
        let used: Vec<usize> = (0..names.len()).filter(|&f| rows.iter().any(|row| row[f] != 0.0)).collect();
        Self {
            format: FORMAT.into(),
            model: model.into(),
            kmers: kmers.choice().clone(),
            inputs,
            probability,
            tracks: tracks.to_vec(),
            alphas: alphas.to_vec(),
            intercepts: intercepts.to_vec(),
            features: used.iter().map(|&f| names[f].clone()).collect(),
            coefficients: rows.iter().map(|row| used.iter().map(|&f| row[f]).collect()).collect(),
        }
    }

    /// Reads a model.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] if the file is no such model.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).map_err(Error::io("read", path))?;
        let wrong = |what: String| Error::file(path, format!("expected a model of drg baseline fit; {what}"));
        let model: Self = serde_json::from_slice(&text).map_err(|e| wrong(e.to_string()))?;
        if model.format != FORMAT {
            return Err(wrong(format!("its format is '{}', known: '{FORMAT}'", model.format)));
        }
        let (t, f) = (model.tracks.len(), model.features.len());
        let fits = model.intercepts.len() == t && model.coefficients.len() == t;
        if !fits || model.coefficients.iter().any(|row| row.len() != f) || model.inputs == 0 || t == 0 {
            return Err(wrong(format!("found {t} tracks and {f} features, and other numbers of coefficients")));
        }
        model.places().map_err(|e| wrong(e.to_string()))?;
        Ok(model)
    }

    /// Writes the model.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write_atomic(path, |out| {
            serde_json::to_writer(&mut *out, self).map_err(|e| Error::io("write", path)(e.into()))?;
            out.write_all(b"\n").map_err(Error::io("write", path))
        })
    }

    /// Predictions for the rows of `sequences`, one set for each input: [N, T].
    ///
    /// # Errors
    /// [`Error::Usage`] for another number of inputs, or inputs of different numbers of rows.
    pub fn predict(&self, sequences: &[Sequences]) -> Result<Vec<f64>> {
        let rows = sequences.first().map_or(0, Sequences::len);
        if sequences.len() != self.inputs || sequences.iter().any(|s| s.len() != rows) {
            return Err(Error::Usage(format!(
                "the model takes {} sets of sequences with the same rows, found {}",
                self.inputs,
                sequences.len()
            )));
        }
        let (kmers, places) = self.places()?;
        let of = |i: usize| -> Vec<f64> {
            let counts = kmers.table(sequences, &[i]);
            let sum = |(row, intercept): (&Vec<f64>, &f64)| {
                let sum = intercept + row.iter().zip(&places).map(|(w, &f)| w * counts[f]).sum::<f64>();
                if self.probability { 1.0 / (1.0 + (-sum).exp()) } else { sum }
            };
            self.coefficients.iter().zip(&self.intercepts).map(sum).collect()
        };
        Ok(par::map(rows, of).concat())
    }

    /// The counts, and where the features stand in them.
    fn places(&self) -> Result<(Kmers, Vec<usize>)> {
        let kmers = Kmers::new(&self.kmers)?;
        let names = feature_names(&kmers, self.inputs);
        let known: HashMap<&str, usize> = names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
        let place = |name: &String| {
            known
                .get(name.as_str())
                .copied()
                .ok_or_else(|| Error::Usage(format!("feature '{name}' is none of its k-mers")))
        };
        let places = self.features.iter().map(place).collect::<Result<_>>()?;
        Ok((kmers, places))
    }
}

/// Names of the features of all inputs: k-mers, behind the number of their input and a colon if there are several.
pub fn feature_names(kmers: &Kmers, inputs: usize) -> Vec<String> {
    match inputs {
        1 => kmers.names().to_vec(),
        _ => (0..inputs).flat_map(|i| kmers.names().iter().map(move |name| format!("{i}:{name}"))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(inputs: usize) -> Baseline {
        let choice = Choice { lengths: vec![1], gaps: vec![0], both_strands: true, frequencies: false };
        let kmers = Kmers::new(&choice).unwrap();
        let mut coefficients = vec![0.0; 2 * 2 * inputs];
        (coefficients[0], coefficients[2 * inputs]) = (0.5, 0.1 + 0.2);
        let tracks = ["x".to_string(), "y".into()];
        Baseline::new("ridge", &kmers, inputs, false, &tracks, (&[1.0, 2.0], &[1.0, -1.0], &coefficients))
    }

    fn sequences() -> Sequences {
        Sequences::from_strings(vec!["a".into(), "b".into()], &["ACGT", "CCC"]).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.json");
        for inputs in [1, 2] {
            let model = model(inputs);
            assert_eq!(model.features, [if inputs == 1 { "A" } else { "0:A" }]);
            model.write(&path).unwrap();
            let read = Baseline::read(&path).unwrap();
            assert_eq!(read, model);
            let sets = vec![sequences(); inputs];
            assert_eq!(read.predict(&sets).unwrap(), [2.0, -1.0 + 2.0 * (0.1 + 0.2), 1.0, -1.0]);
            assert!(read.predict(&[]).is_err());
        }
        let sure = Baseline { probability: true, ..model(1) };
        assert!((sure.predict(&[sequences()]).unwrap()[2] - 1.0 / (1.0 + (-1.0f64).exp())).abs() < 1e-15);
    }

    #[test]
    fn files_that_are_no_models_say_why() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.json");
        let text = |change: &dyn Fn(&mut Baseline)| {
            let mut model = model(1);
            change(&mut model);
            model.write(&path).unwrap();
            Baseline::read(&path).unwrap_err().to_string()
        };
        assert!(text(&|m| m.format = "drg baseline 9".into()).contains("its format is 'drg baseline 9'"));
        assert!(text(&|m| m.features[0] = "ACG".into()).contains("feature 'ACG' is none of its k-mers"));
        assert!(text(&|m| m.intercepts.clear()).contains("found 2 tracks"));
        assert!(text(&|m| m.kmers.lengths[0] = 0).contains("length from 1"));
        std::fs::write(&path, "{}").unwrap();
        assert!(Baseline::read(&path).unwrap_err().to_string().contains("expected a model of drg baseline fit"));
        assert!(Baseline::read(&folder.path().join("none")).is_err());
    }
}
