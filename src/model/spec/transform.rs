//! Other scales of measurements that a model may learn.

use crate::error::{Error, Result};

named! {
    /// The scale of measurements that a model has learned, where it is not their own.
    Transform, "transform" {
        /// `ln(1 + x)`
        Log = "log",
        /// `log2(2 + x)`
        Log2 = "log2",
        /// The share of a bin in the sum of its profile.
        Share = "share",
    }
}

impl Transform {
    /// What its values are, for people.
    pub fn formula(self) -> &'static str {
        match self {
            Self::Log => "ln(1 + x)",
            Self::Log2 => "log2(2 + x)",
            Self::Share => "shares of bins in their profile",
        }
    }

    /// Brings measurements to the scale: `[N, T]`, or profiles `[N, T, bins]`. Missing values (NaN) stay missing; an empty profile
    /// stays empty.
    ///
    /// # Errors
    /// [`Error::Usage`] for values that have no logarithm, and for shares of values without bins.
    pub fn apply(self, values: &mut [f64], bins: Option<usize>) -> Result<()> {
        let least = if self == Self::Log2 { -2.0 } else { -1.0 };
        if self != Self::Share
            && let Some(bad) = values.iter().find(|&&v| v <= least)
        {
            return Err(Error::Usage(format!("--transform {self}: expected measurements above {least}, found {bad}")));
        }
        match self {
            Self::Log => values.iter_mut().for_each(|v| *v = v.ln_1p()),
            Self::Log2 => values.iter_mut().for_each(|v| *v = (2.0 + *v).log2()),
            Self::Share => {
                let Some(bins) = bins else {
                    let what = "--transform share: expected profiles, npz with counts (N, T, bins)";
                    return Err(Error::Usage(what.into()));
                };
                for profile in values.chunks_exact_mut(bins) {
                    let total: f64 = profile.iter().sum();
                    profile.iter_mut().filter(|_| total != 0.0).for_each(|v| *v /= total);
                }
            }
        }
        Ok(())
    }

    /// The total of a profile of this scale from the sum of its bins, which of shares is 1 or 0 but for rounding: rounding would
    /// look like measurements.
    pub fn total(self, sum: f64) -> f64 {
        if self == Self::Share { sum.round() } else { sum }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_on_other_scales() {
        let of = |scale: Transform, values: &[f64], bins| {
            let mut values = values.to_vec();
            scale.apply(&mut values, bins).map(|()| values)
        };
        assert_eq!(of(Transform::Log, &[0.0, 1.0], None).unwrap(), [0.0, 2f64.ln()]);
        assert_eq!(of(Transform::Log2, &[0.0, 2.0, -1.0], Some(3)).unwrap(), [1.0, 2.0, 0.0]);
        assert_eq!(of(Transform::Share, &[1.0, 3.0, 0.0, 0.0], Some(2)).unwrap(), [0.25, 0.75, 0.0, 0.0]);
        assert!(of(Transform::Log, &[f64::NAN], None).unwrap()[0].is_nan());
        let message = of(Transform::Log, &[2.0, -3.0], None).unwrap_err().to_string();
        assert!(message.contains("--transform log: expected measurements above -1, found -3"), "{message}");
        assert!(of(Transform::Log2, &[-1.5], None).is_ok() && of(Transform::Log2, &[-2.0], None).is_err());
        assert!(of(Transform::Share, &[1.0], None).unwrap_err().to_string().contains("expected profiles"));
        assert_eq!((Transform::Share.total(0.999_999), Transform::Log.total(0.5)), (1.0, 0.5));
    }
}
