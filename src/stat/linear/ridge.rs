//! Least squares with a squared penalty, solved exactly: by the Cholesky factor of `X'X + alpha I`, or of `XX' + alpha I` where
//! there are more columns than rows.

use super::design::{Design, Weights};
use super::solve::{Cholesky, dot};
use crate::error::{Error, Result};
use crate::util::par;

/// Ridge regression on one design.
#[derive(Debug)]
pub(super) struct Ridge {
    /// `X'X` or, if `dual`, `XX'`.
    gram: Vec<f64>,
    dual: bool,
    /// `X'y` or, if `dual`, centred `y`, of each track.
    right: Vec<Vec<f64>>,
    means: Vec<f64>,
}

impl Ridge {
    pub(super) fn new(design: &Design) -> Self {
        let dual = design.len() > design.rows;
        let centred = (0..design.targets.len()).map(|t| design.centred(t));
        let (means, right) = centred.map(|(m, y)| (m, if dual { y } else { design.project(&y) })).unzip();
        Self { gram: if dual { design.outer() } else { design.inner() }, dual, right, means }
    }

    /// Solutions for `tracks`.
    pub(super) fn solve(&self, design: &Design, alpha: f64, tracks: &[usize]) -> Result<Vec<Weights>> {
        let factor = self.factor(design, alpha)?;
        let solved = par::map(tracks.len(), |i| {
            let mut slopes = self.right[tracks[i]].clone();
            factor.solve(&mut slopes);
            if self.dual { design.project(&slopes) } else { slopes }
        });
        Ok(solved
            .into_iter()
            .zip(tracks)
            .map(|(slopes, &t)| Weights { slopes, level: self.means[t], gap: 0.0 })
            .collect())
    }

    /// For each solution its coefficients divided by their standard errors, `sqrt(s2 diag (X'X + alpha I)^-1)`, where s2 is the
    /// residual sum of squares divided by the rows that are left, n - 1 - tr H: without a penalty the t statistics of least
    /// squares. NaN where no row is left or all residuals are 0.
    pub(super) fn z(
        &self,
        design: &Design,
        alpha: f64,
        tracks: &[usize],
        solutions: &[Weights],
    ) -> Result<Vec<Vec<f64>>> {
        let factor = self.factor(design, alpha)?;
        let p = design.len();
        let diagonal: Vec<f64> = par::map(p, |j| match self.dual {
            true => {
                let mut v = design.column(j).to_vec();
                factor.half(&mut v);
                (1.0 - dot(&v, &v)) / alpha
            }
            false => {
                let mut v = vec![0.0; p];
                v[j] = 1.0;
                factor.half(&mut v);
                dot(&v, &v)
            }
        });
        let effective = p as f64 - alpha * diagonal.iter().sum::<f64>();
        let left = design.rows as f64 - 1.0 - effective;
        let of = |(weights, &t): (&Weights, &usize)| -> Vec<f64> {
            let fitted = design.apply(&weights.slopes);
            let rest = design.targets[t].iter().zip(fitted).map(|(y, f)| (y - weights.level - f).powi(2));
            // What rounding leaves of a row is no row.
            let s2 = if left > 1e-6 { rest.sum::<f64>() / left } else { f64::NAN };
            weights
                .slopes
                .iter()
                .zip(&diagonal)
                .map(|(w, d)| if s2 > 0.0 { w / (s2 * d).sqrt() } else { f64::NAN })
                .collect()
        };
        Ok(solutions.iter().zip(tracks).map(of).collect())
    }

    fn factor(&self, design: &Design, alpha: f64) -> Result<Cholesky> {
        let n = if self.dual { design.rows } else { design.len() };
        let mut a = self.gram.clone();
        a.iter_mut().step_by(n + 1).for_each(|d| *d += alpha);
        Cholesky::new(a, n).ok_or_else(|| {
            Error::Failed(format!(
                "ridge: {} features in {} rows have no unique solution at alpha {alpha:e}; take a larger one",
                design.len(),
                design.rows
            ))
        })
    }
}
