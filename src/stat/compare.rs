//! How a prediction of a mutant is compared with that of its sequence.

use crate::error::{Error, Result, hint};

/// Probabilities closer to 0 or 1 than this have the logit of this, as in selene.
const LEAST: f64 = 1e-24;
/// Largest probability that has a logit.
const MOST: f64 = 0.999_999;

/// A comparison of `f(mutant)` with `f(sequence)`, in the units of the targets. Only [`Compare::Diff`] is linear in f: for all
/// others, groups of tracks are averaged first and compared then.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compare {
    /// `f(mutant) - f(sequence)`.
    #[default]
    Diff,
    /// `(f(mutant) + c) / (f(sequence) + c)` with a pseudocount c.
    Ratio,
    /// `log2` of [`Compare::Ratio`]; NaN where one of the two is negative.
    Log2Fc,
    /// `logit f(mutant) - logit f(sequence)` for predictions that are probabilities, held within 1e-24 and 0.999999; NaN outside
    /// of 0 to 1.
    Logit,
    /// `|f(mutant) - f(sequence)|`.
    Abs,
    /// Euclidean length of the differences over the tracks: one number for all of them, without a sign.
    L2,
}

impl Compare {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Diff, Self::Ratio, Self::Log2Fc, Self::Logit, Self::Abs, Self::L2];

    /// Its name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Diff => "diff",
            Self::Ratio => "ratio",
            Self::Log2Fc => "log2fc",
            Self::Logit => "logit",
            Self::Abs => "abs",
            Self::L2 => "l2",
        }
    }

    /// The comparison of that name.
    ///
    /// # Errors
    /// [`Error::Usage`] with the names that there are.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|c| c.name() == name).ok_or_else(|| {
            let near = hint(name, Self::ALL.iter().map(|c| c.name()));
            let there: Vec<&str> = Self::ALL.iter().map(|c| c.name()).collect();
            Error::Usage(format!("unknown comparison '{name}'{near}; expected {}", there.join(", ")))
        })
    }

    /// Columns that come out of `tracks` tracks: as many, or one.
    pub fn columns(self, tracks: usize) -> usize {
        if self == Self::L2 { 1 } else { tracks }
    }

    /// What a mutant that equals its sequence has: 1 for the ratio, 0 for the others. It is what stands at the base that is
    /// there.
    pub fn neutral(self) -> f64 {
        if self == Self::Ratio { 1.0 } else { 0.0 }
    }

    /// The comparison from `effects` `[M, T]` (mutant minus sequence) and the predictions `reference` `[T]` of the sequence, both
    /// in the units of the targets: `[M, columns]`. It starts from the effect and subtracts no two predictions, so
    /// small effects keep their digits.
    ///
    /// # Errors
    /// [`Error::Shape`] if `effects` holds no whole number of mutants.
    pub fn apply(self, reference: &[f64], effects: &[f64], pseudocount: f64) -> Result<Vec<f64>> {
        let t = reference.len();
        if t == 0 || !effects.len().is_multiple_of(t) {
            let expected = format!("[M, {t}], effects on the tracks that the sequence has predictions of");
            return Err(Error::Shape { op: "compare", arg: "effects", expected, found: vec![effects.len()] });
        }
        if self == Self::L2 {
            return Ok(effects.chunks_exact(t).map(|row| row.iter().map(|d| d * d).sum::<f64>().sqrt()).collect());
        }
        let one = |(&d, &f): (&f64, &f64)| match self {
            Self::Ratio => 1.0 + d / (f + pseudocount),
            Self::Log2Fc => match f + pseudocount {
                f if f > 0.0 => (d / f).ln_1p() / std::f64::consts::LN_2,
                _ => f64::NAN,
            },
            Self::Logit => logit_change(f, d),
            Self::Abs => d.abs(),
            Self::Diff | Self::L2 => d,
        };
        Ok(effects.chunks_exact(t).flat_map(|row| row.iter().zip(reference)).map(one).collect())
    }
}

/// `logit(p + d) - logit(p)` = `ln(1 + d / p) - ln(1 - d / (1 - p))`.
fn logit_change(p: f64, d: f64) -> f64 {
    let q = p + d;
    if !(0.0..=1.0).contains(&p) || !(0.0..=1.0).contains(&q) {
        return f64::NAN;
    }
    let (low, high) = (p.clamp(LEAST, MOST), q.clamp(LEAST, MOST));
    let d = if (low, high) == (p, q) { d } else { high - low };
    (d / low).ln_1p() - (-d / (1.0 - low)).ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_equal_their_formulas() {
        let (old, new) = ([0.2, 0.5, 0.9], [0.4, 0.25, 0.9, 0.1, 0.75, 0.05]);
        let effects: Vec<f64> = new.iter().zip(old.iter().cycle()).map(|(n, o)| n - o).collect();
        let logit = |p: f64| (p / (1.0 - p)).ln();
        for (compare, f) in [
            (Compare::Diff, (|n, o| n - o) as fn(f64, f64) -> f64),
            (Compare::Ratio, |n, o| (n + 0.1) / (o + 0.1)),
            (Compare::Log2Fc, |n, o| ((n + 0.1) / (o + 0.1)).log2()),
            (Compare::Abs, |n, o| (n - o).abs()),
        ] {
            let got = compare.apply(&old, &effects, 0.1).unwrap();
            let want: Vec<f64> = new.iter().zip(old.iter().cycle()).map(|(&n, &o)| f(n, o)).collect();
            assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-14), "{compare:?} {got:?} {want:?}");
            assert_eq!(compare.columns(3), 3);
            assert_eq!(compare.apply(&old, &[0.0; 3], 0.1).unwrap(), [compare.neutral(); 3]);
        }
        let got = Compare::Logit.apply(&old, &effects, 0.0).unwrap();
        let want: Vec<f64> = new.iter().zip(old.iter().cycle()).map(|(&n, &o)| logit(n) - logit(o)).collect();
        assert!(got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-13), "{got:?} {want:?}");
        let l2 = Compare::L2.apply(&old, &[3.0, 0.0, -4.0, 0.0, 0.0, 0.0], 0.0).unwrap();
        assert_eq!((l2, Compare::L2.columns(3)), (vec![5.0, 0.0], 1));
    }

    #[test]
    fn ends_of_the_scales() {
        let log = |f, d| Compare::Log2Fc.apply(&[f], &[d], 0.0).unwrap()[0];
        assert_eq!(log(1.0, -1.0), f64::NEG_INFINITY);
        assert!(log(1.0, -2.0).is_nan() && log(-1.0, 3.0).is_nan() && log(0.0, 1.0).is_nan());
        // A difference of two rounded predictions would have no digit left.
        assert!((log(1.0, 1e-18) * std::f64::consts::LN_2 - 1e-18).abs() < 1e-30);
        let logit = |f, d| Compare::Logit.apply(&[f], &[d], 0.0).unwrap()[0];
        assert!(logit(0.0, 0.5).is_finite() && logit(1.0, -0.5).is_finite() && logit(0.5, 0.6).is_nan());
        assert!((logit(0.5, 0.5) - (MOST / (1.0 - MOST)).ln()).abs() < 1e-9);
    }

    #[test]
    fn names_and_refusals() {
        assert!(Compare::ALL.iter().all(|&c| Compare::parse(c.name()).unwrap() == c));
        let text = Compare::parse("log2f").unwrap_err().to_string();
        assert!(text.contains("did you mean 'log2fc'?"), "{text}");
        assert!(Compare::Diff.apply(&[1.0, 2.0], &[1.0], 0.0).is_err());
        assert!(Compare::Diff.apply(&[], &[], 0.0).is_err());
    }
}
