//! Logistic regression with a squared penalty: Newton steps, each a weighted ridge regression with an intercept.

use super::design::{Design, Weights};
use super::solve::{Cholesky, dot, gram};
use crate::error::{Error, Result};

/// Newton steps before it is given up.
const STEPS: usize = 100;
/// Largest slope of the objective that counts as zero, for each row.
const TOLERANCE: f64 = 1e-10;

/// Minimises `sum log(1 + exp(-s (b + x'w))) + alpha |w|^2 / 2`, s = 1 for labels 1 and -1 for labels 0, on one design.
#[derive(Debug)]
pub(super) struct Logistic {
    /// `XX'` if there are more columns than rows.
    outer: Option<Vec<f64>>,
}

impl Logistic {
    pub(super) fn new(design: &Design) -> Self {
        Self { outer: (design.len() > design.rows).then(|| design.outer()) }
    }

    /// The solution for one track, from `weights` on.
    pub(super) fn solve(&self, design: &Design, alpha: f64, track: usize, from: Weights) -> Result<Weights> {
        let y = &design.targets[track];
        let mut w = from.slopes;
        w.resize(design.len(), 0.0);
        let mut level = from.level;
        let mut logits: Vec<f64> = design.apply(&w).iter().map(|f| f + level).collect();
        let mut objective = value(&logits, y, &w, alpha);
        for _ in 0..STEPS {
            let p: Vec<f64> = logits.iter().map(|f| 1.0 / (1.0 + (-f).exp())).collect();
            let rest: Vec<f64> = y.iter().zip(&p).map(|(y, p)| y - p).collect();
            let slopes = design.project(&rest);
            let steepest = slopes
                .iter()
                .zip(&w)
                .map(|(g, w)| (g - alpha * w).abs())
                .fold(rest.iter().sum::<f64>().abs(), f64::max);
            if steepest <= TOLERANCE * y.len() as f64 {
                return Ok(Weights { slopes: w, level, gap: 0.0 });
            }
            // A row whose label is certain has no curvature; a little keeps the equations solvable.
            let curve: Vec<f64> = p.iter().map(|p| (p * (1.0 - p)).max(1e-12)).collect();
            let wanted: Vec<f64> = logits.iter().zip(&rest).zip(&curve).map(|((f, r), c)| f + r / c).collect();
            let (target, target_level) = self.weighted(design, &curve, &wanted, alpha)?;
            let mut step = 1.0;
            loop {
                let mix = |a: f64, b: f64| a + step * (b - a);
                let trial: Vec<f64> = w.iter().zip(&target).map(|(a, b)| mix(*a, *b)).collect();
                let trial_level = mix(level, target_level);
                let trial_logits: Vec<f64> = design.apply(&trial).iter().map(|f| f + trial_level).collect();
                let found = value(&trial_logits, y, &trial, alpha);
                if found < objective {
                    (w, level, logits, objective) = (trial, trial_level, trial_logits, found);
                    break;
                }
                step *= 0.5;
                if step < 1e-9 {
                    // Rounding is larger than what is left to gain.
                    return Ok(Weights { slopes: w, level, gap: 0.0 });
                }
            }
        }
        Err(Error::Failed(format!("logistic: no minimum after {STEPS} steps at alpha {alpha:e}; take a larger one")))
    }

    /// Minimum of `sum c (z - b - x'w)^2 / 2 + alpha |w|^2 / 2`: w and b.
    fn weighted(&self, design: &Design, c: &[f64], z: &[f64], alpha: f64) -> Result<(Vec<f64>, f64)> {
        let n = design.rows;
        let singular = || Error::Failed(format!("logistic: no unique solution at alpha {alpha:e}; take a larger one"));
        let roots: Vec<f64> = c.iter().map(|c| c.sqrt()).collect();
        if let Some(outer) = &self.outer {
            // w = X'a with (XX' + alpha / c) a = z - b and sum a = 0.
            let mut m: Vec<f64> = outer.clone();
            for (row, r) in m.chunks_exact_mut(n).zip(&roots) {
                row.iter_mut().zip(&roots).for_each(|(v, s)| *v *= r * s);
            }
            m.iter_mut().step_by(n + 1).for_each(|d| *d += alpha);
            let factor = Cholesky::new(m, n).ok_or_else(singular)?;
            let solved = |v: &mut dyn Iterator<Item = f64>| -> Vec<f64> {
                let mut v: Vec<f64> = v.zip(&roots).map(|(v, r)| v * r).collect();
                factor.solve(&mut v);
                v.iter().zip(&roots).map(|(v, r)| v * r).collect()
            };
            let (a, ones) = (solved(&mut z.iter().copied()), solved(&mut std::iter::repeat_n(1.0, n)));
            let level = a.iter().sum::<f64>() / ones.iter().sum::<f64>();
            let a: Vec<f64> = a.iter().zip(&ones).map(|(a, o)| a - level * o).collect();
            return Ok((design.project(&a), level));
        }
        let p = design.len();
        let cz: Vec<f64> = c.iter().zip(z).map(|(c, z)| c * z).collect();
        let (sum, mean) = (c.iter().sum::<f64>(), cz.iter().sum::<f64>());
        let scaled: Vec<f64> = (0..p).flat_map(|j| design.column(j).iter().zip(&roots).map(|(x, r)| x * r)).collect();
        let mut a = gram(&scaled, n);
        a.iter_mut().step_by(p + 1).for_each(|d| *d += alpha);
        let factor = Cholesky::new(a, p).ok_or_else(singular)?;
        let (mut u, s) = (design.project(&cz), design.project(c));
        let mut v = s.clone();
        factor.solve(&mut u);
        factor.solve(&mut v);
        let level = (mean - dot(&s, &u)) / (sum - dot(&s, &v));
        Ok((u.iter().zip(&v).map(|(u, v)| u - level * v).collect(), level))
    }
}

fn value(logits: &[f64], y: &[f64], w: &[f64], alpha: f64) -> f64 {
    // log(1 + exp(f)) - y f, without overflow.
    let loss = |(f, y): (&f64, &f64)| f.max(0.0) + (-f.abs()).exp().ln_1p() - y * f;
    logits.iter().zip(y).map(loss).sum::<f64>() + 0.5 * alpha * dot(w, w)
}
