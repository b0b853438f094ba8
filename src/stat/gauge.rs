//! Gauges: what is subtracted from the scores of the four bases at a position before they are looked at.
//!
//! Only differences between the bases of a position mean something to a model that reads one-hot sequences; a number that is
//! added to all four is free to choose, and a gauge is that choice. Scores `m[j]` are effects of mutations (mutant minus
//! sequence, 0 at the base `r` that is there) or gradients.

use crate::error::{Error, Result, hint};

/// Code of a position where every base is equally likely; 0 to 3 are A C G T, anything else is unknown.
const UNIFORM_CODE: u8 = 5;

/// Every base equally likely: the usual baseline.
pub const UNIFORM: [f64; 4] = [0.25; 4];

/// What a position's four scores are measured against. `x` is its one-hot column: 1 at the base that is there, zeros for an
/// unknown one, 0.25 for a uniform one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gauge {
    /// `m[j] - sum x[i] m[i]`: 0 at the base that is there. Effects of mutations are in this gauge from the start; on gradients
    /// it is TISM, the Taylor approximation of mutagenesis.
    #[default]
    Ism,
    /// `m[j]` as it is: for gradients, saliency.
    Local,
    /// `m[j] - mean m[i]`: the four sum to 0 (Majdandzic et al. 2023; `ism_attributions` of TISM, `hypothetical` of
    /// tangermeme's saturation mutagenesis). Does not depend on the gauge that the scores came in.
    Corrected,
    /// `m[j] - sum b[i] m[i]` for base frequencies `b`, the baseline: what base `j` contributes against the average base, as
    /// in DeepLIFT and TF-MoDISco. With the uniform baseline it is [`Gauge::Corrected`].
    Hypothetical,
    /// One number a position: minus the mean effect of the mutations there, `m[r] - mean m[j] over j != r`. Positive where the base
    /// that is there raises the prediction; the letters of most mutagenesis logos. Four thirds of the corrected score at `r`.
    /// At an unknown base `-mean m[j]` over all four.
    MeanEffect,
}

impl Gauge {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Ism, Self::Local, Self::Corrected, Self::Hypothetical, Self::MeanEffect];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ism => "ism",
            Self::Local => "local",
            Self::Corrected => "corrected",
            Self::Hypothetical => "hypothetical",
            Self::MeanEffect => "mean-effect",
        }
    }

    /// The gauge of that name.
    ///
    /// # Errors
    /// [`Error::Usage`] with the names that there are.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|g| g.name() == name).ok_or_else(|| {
            let near = hint(name, Self::ALL.iter().map(|g| g.name()));
            let there: Vec<&str> = Self::ALL.iter().map(|g| g.name()).collect();
            Error::Usage(format!("unknown gauge '{name}'{near}; expected {}", there.join(", ")))
        })
    }

    /// Numbers that a position has in this gauge: 4, or 1.
    pub fn rows(self) -> usize {
        if self == Self::MeanEffect { 1 } else { 4 }
    }

    /// Brings scores `[T, 4, P]` into this gauge: `[T, rows, P]`, in place. `bases` are the codes at the P positions, `baseline`
    /// the frequencies that [`Gauge::Hypothetical`] takes ([`UNIFORM`] as a rule); the others do not look at it.
    ///
    /// # Errors
    /// [`Error::Shape`] if `values` holds no whole number of tracks, [`Error::Argument`] for a baseline that does not sum to 1.
    pub fn apply(self, values: &mut Vec<f32>, bases: &[u8], baseline: [f64; 4]) -> Result<()> {
        let p = bases.len();
        if !values.len().is_multiple_of((4 * p).max(1)) {
            let expected = format!("[T, 4, {p}]");
            return Err(Error::Shape { op: "gauge", arg: "values", expected, found: vec![values.len()] });
        }
        let sum: f64 = baseline.iter().sum();
        if self == Self::Hypothetical && !((sum - 1.0).abs() < 1e-6 && baseline.iter().all(|&b| b >= 0.0)) {
            let what = format!("expected a baseline of four frequencies that sum to 1, found {baseline:?}");
            return Err(Error::Argument { op: "gauge", what });
        }
        if self == Self::Local || p == 0 {
            return Ok(());
        }
        for track in values.chunks_exact_mut(4 * p) {
            for (at, &base) in bases.iter().enumerate() {
                let m: [f64; 4] = std::array::from_fn(|j| f64::from(track[j * p + at]));
                let against = match self {
                    Self::Hypothetical => weighted(baseline, m),
                    Self::Corrected => weighted(UNIFORM, m),
                    _ => there(base, m),
                };
                if self == Self::MeanEffect {
                    track[at] = mean_effect(base, m) as f32;
                } else {
                    (0..4).for_each(|j| track[j * p + at] = (m[j] - against) as f32);
                }
            }
        }
        if self == Self::MeanEffect {
            let tracks = values.len() / (4 * p);
            for t in 1..tracks {
                values.copy_within(t * 4 * p..t * 4 * p + p, t * p);
            }
            values.truncate(tracks * p);
        }
        Ok(())
    }
}

fn weighted(b: [f64; 4], m: [f64; 4]) -> f64 {
    b.iter().zip(m).map(|(b, m)| b * m).sum()
}

/// `sum x[i] m[i]`.
fn there(base: u8, m: [f64; 4]) -> f64 {
    match base {
        0..=3 => m[usize::from(base)],
        UNIFORM_CODE => weighted(UNIFORM, m),
        _ => 0.0,
    }
}

fn mean_effect(base: u8, m: [f64; 4]) -> f64 {
    match base {
        0..=3 => {
            let r = usize::from(base);
            (0..4).filter(|&j| j != r).map(|j| m[r] - m[j]).sum::<f64>() / 3.0
        }
        _ => there(base, m) - weighted(UNIFORM, m),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::philox::Philox;

    const T: usize = 2;
    const BASES: [u8; 6] = [0, 3, 4, 1, 5, 2];

    fn scores(seed: u64) -> Vec<f32> {
        let mut r = Philox::new(seed, 0);
        (0..T * 4 * BASES.len()).map(|_| r.normal() as f32).collect()
    }

    fn of(gauge: Gauge, values: &[f32], baseline: [f64; 4]) -> Vec<f32> {
        let mut values = values.to_vec();
        gauge.apply(&mut values, &BASES, baseline).unwrap();
        assert_eq!(values.len(), T * gauge.rows() * BASES.len());
        values
    }

    fn close(a: &[f32], b: &[f32]) {
        assert_eq!(a.len(), b.len());
        assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6), "{a:?} {b:?}");
    }

    /// Score of a track, base and position.
    fn at(values: &[f32], t: usize, j: usize, p: usize) -> f32 {
        values[(t * 4 + j) * BASES.len() + p]
    }

    #[test]
    fn invariants() {
        let m = scores(1);
        assert_eq!(of(Gauge::Local, &m, UNIFORM), m);
        let ism = of(Gauge::Ism, &m, UNIFORM);
        let corrected = of(Gauge::Corrected, &m, UNIFORM);
        let b = [0.1, 0.2, 0.3, 0.4];
        let hypothetical = of(Gauge::Hypothetical, &m, b);
        close(&corrected, &of(Gauge::Hypothetical, &m, UNIFORM));
        // A gauge forgets what was subtracted before it.
        close(&of(Gauge::Corrected, &ism, UNIFORM), &corrected);
        close(&of(Gauge::Corrected, &corrected, UNIFORM), &corrected);
        close(&of(Gauge::Hypothetical, &corrected, b), &hypothetical);
        let mean = of(Gauge::MeanEffect, &m, UNIFORM);
        close(&of(Gauge::MeanEffect, &corrected, UNIFORM)[..2], &mean[..2]);
        for t in 0..T {
            for (p, &base) in BASES.iter().enumerate() {
                let column = |v: &[f32]| (0..4).map(|j| at(v, t, j, p)).collect::<Vec<f32>>();
                assert!(column(&corrected).iter().sum::<f32>().abs() < 1e-6);
                let sum: f64 = column(&hypothetical).iter().zip(b).map(|(&h, b)| f64::from(h) * b).sum();
                assert!(sum.abs() < 1e-6, "{sum}");
                let shown = mean[t * BASES.len() + p];
                match base {
                    0..=3 => {
                        assert_eq!(at(&ism, t, base.into(), p), 0.0);
                        assert!((shown - 4.0 / 3.0 * at(&corrected, t, base.into(), p)).abs() < 1e-6);
                        let sum: f32 = column(&ism).iter().sum();
                        assert!((shown + sum / 3.0).abs() < 1e-6);
                    }
                    4 => {
                        assert_eq!(column(&ism), column(&m));
                        assert!((shown + column(&m).iter().sum::<f32>() / 4.0).abs() < 1e-6);
                    }
                    _ => {
                        close(&column(&ism), &column(&corrected));
                        assert_eq!(shown, 0.0);
                    }
                }
            }
        }
    }

    #[test]
    fn names_and_refusals() {
        assert!(Gauge::ALL.iter().all(|&g| Gauge::parse(g.name()).unwrap() == g));
        let text = Gauge::parse("hypotetical").unwrap_err().to_string();
        assert!(text.contains("did you mean 'hypothetical'?") && text.contains("mean-effect"), "{text}");
        let mut values = vec![0.0; 23];
        assert!(Gauge::Ism.apply(&mut values, &BASES, UNIFORM).unwrap_err().to_string().contains("[T, 4, 6]"));
        values.push(0.0);
        let bad = Gauge::Hypothetical.apply(&mut values, &BASES, [0.5; 4]).unwrap_err().to_string();
        assert!(bad.contains("sum to 1"), "{bad}");
        for &gauge in Gauge::ALL {
            let mut none = vec![];
            gauge.apply(&mut none, &[], UNIFORM).unwrap();
            assert!(none.is_empty());
        }
    }
}
