//! What is read from the bins of a base-resolution model.

use std::path::Path;

use serde::Serialize;

use crate::error::{Error, Result};
use crate::model::{Model, Readout};

/// A flag of the verbs that want one value a track.
#[derive(Debug, clap::Args, Serialize)]
pub(super) struct Bins {
    /// Of a base-resolution model: the value of a track is the sum or the mean of its bins, the sum of the bins A to B (B not
    /// included), or their sum with the weights of a file, one a line [default: sum]
    #[arg(long, value_name = "sum|mean|A:B|FILE")]
    bins: Option<String>,
}

impl Bins {
    /// Whether the flag is given.
    pub(super) fn given(&self) -> bool {
        self.bins.is_some()
    }

    /// The model with what is wanted read from its bins.
    ///
    /// # Errors
    /// [`Error::Usage`] if the model has no bins, or not these; what reading a file of weights returns.
    pub(super) fn of(&self, mut model: Model) -> Result<Model> {
        let Some(text) = self.bins.as_deref() else { return Ok(model) };
        let Some(bins) = model.network.architecture().bins() else {
            return Err(Error::Usage(format!("--bins {text}: the model is no base-resolution model; leave it out")));
        };
        model.network = model.network.with_readout(readout(text, bins)?)?;
        Ok(model)
    }
}

fn readout(text: &str, bins: usize) -> Result<Readout> {
    let range = || {
        let (a, b) = text.split_once(':')?;
        Some((a.parse().ok()?, b.parse().ok()?))
    };
    match text {
        "sum" => return Ok(Readout::Sum),
        "mean" => return Ok(Readout::mean(bins)),
        _ => {}
    }
    if let Some((from, to)) = range() {
        return Readout::window(bins, from, to).map_err(|_| {
            Error::Usage(format!("--bins {text}: expected a range within 0:{bins}, the bins of the model"))
        });
    }
    let path = Path::new(text);
    if !path.is_file() {
        return Err(Error::Usage(format!("--bins {text}: expected sum, mean, a range A:B, or a file of weights")));
    }
    let content = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
    let mut weights = vec![];
    for (i, line) in content.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let weight: Option<f64> = line.trim().parse().ok().filter(|w: &f64| w.is_finite());
        weights.push(weight.ok_or_else(|| Error::line(path, i + 1, format!("expected a weight, found '{line}'")))?);
    }
    if weights.len() != bins {
        let what = format!("expected {bins} weights, one a bin of the model; found {}", weights.len());
        return Err(Error::file(path, what));
    }
    Ok(Readout::Weights(weights.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_to_read_bins() {
        assert_eq!(readout("sum", 4).unwrap(), Readout::Sum);
        assert_eq!(readout("mean", 4).unwrap(), Readout::Weights([0.25; 4].into()));
        assert_eq!(readout("1:3", 4).unwrap(), Readout::Weights([0.0, 1.0, 1.0, 0.0].into()));
        let message = |text: &str| readout(text, 4).unwrap_err().to_string();
        assert!(message("3:5").contains("expected a range within 0:4"));
        assert!(message("2:2").contains("within 0:4"));
        assert!(message("total").contains("expected sum, mean, a range A:B, or a file"));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.txt");
        let text = path.to_str().unwrap();
        std::fs::write(&path, "1\n-2\n0.5\n\n3e1\n").unwrap();
        assert_eq!(readout(text, 4).unwrap(), Readout::Weights([1.0, -2.0, 0.5, 30.0].into()));
        assert!(
            readout(text, 3).unwrap_err().to_string().contains("expected 3 weights, one a bin of the model; found 4")
        );
        std::fs::write(&path, "1\nx\n").unwrap();
        assert!(message(text).contains("w.txt:2: expected a weight, found 'x'"));
    }
}
