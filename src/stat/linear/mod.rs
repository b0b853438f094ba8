//! Linear models of many tracks: ridge, lasso, elastic net and logistic regression, with the strength of the penalty chosen on
//! other rows. The objectives are those of scikit-learn:
//!
//! - ridge: `|y - b - Xw|^2 + alpha |w|^2`
//! - lasso and elastic net: `|y - b - Xw|^2 / (2n) + alpha r |w|_1 + alpha (1 - r) |w|^2 / 2`, r = 1 for lasso
//! - logistic: `sum log(1 + exp(-s (b + x'w))) + alpha |w|^2 / 2`, s = 1 for labels 1 and -1 for labels 0; alpha = 1 / C
//!
//! The intercept b is free, features that are the same in all rows get the coefficient 0. Results do not depend on threads.

mod descent;
mod design;
mod logistic;
mod ridge;
mod solve;

use std::collections::{BTreeMap, HashMap};

use rayon::prelude::*;

use super::{auroc, pearson};
use crate::error::{Error, Result};
use crate::util::par;
use descent::Descent;
use design::{Design, Weights};
use logistic::Logistic;
use ridge::Ridge;

/// Largest matrix of products that is made, in rows: 5 GB.
const LARGEST: usize = 25_000;
/// Factor between the strengths that are tried, how many of them without a better score end it (worse ones, equal ones), and the
/// steps that there are on both sides of the start: down to 1e-11 and up to 1e3 of it.
const FACTOR: f64 = 0.6;
const WORSE: usize = 3;
const EQUAL: usize = 10;
const STEPS: (i32, i32) = (-13, 49);

/// Which model is fitted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Squared penalty, solved exactly.
    Ridge,
    /// Penalty `alpha (r |w|_1 + (1 - r) |w|^2 / 2)` with this r, in (0, 1]; 1 is lasso.
    Elastic(f64),
    /// Labels 0 and 1, squared penalty.
    Logistic,
}

/// How strong the penalty is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Strength {
    /// This alpha.
    Fixed(f64),
    /// The alpha of the best mean score of all tracks in the validation rows.
    Shared,
    /// For each track the alpha of its best score in the validation rows.
    PerTrack,
}

/// What is fitted, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The model.
    pub kind: Kind,
    /// Its penalty.
    pub strength: Strength,
    /// Features are divided by their standard deviations, so that the penalty weighs rare and frequent ones alike. Coefficients
    /// and intercepts are of the features as they came in any case.
    pub standardize: bool,
}

/// Rows to fit or to choose on: N of them.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// Features, [N, F].
    pub features: &'a [f64],
    /// Targets, [N, T]; NaN is a missing value: a track is fitted on the rows that have it.
    pub targets: &'a [f64],
}

/// A fitted model of F features and T tracks.
#[derive(Clone, Debug, PartialEq)]
pub struct Fit {
    /// Coefficients, [T, F].
    pub coefficients: Vec<f64>,
    /// Intercepts, `[T]`.
    pub intercepts: Vec<f64>,
    /// Coefficients over their standard errors, [T, F], for ridge: `w / sqrt(s2 diag (X'X + alpha I)^-1)`, s2 = sum of squared
    /// residuals / (n - 1 - tr H). NaN for features without variance and where s2 is unknown or 0; empty for other models.
    pub z: Vec<f64>,
    /// Strength of the penalty, `[T]`.
    pub alphas: Vec<f64>,
    /// Score in the validation rows, `[T]`: Pearson r, for logistic models the area under the ROC curve. NaN where there is none.
    pub validation: Vec<f64>,
    /// Upper bound of how far each track's objective is from its minimum, `[T]`, as a part of the objective of zero coefficients;
    /// above 1e-9 the fit has not converged. 0 for exact solutions.
    pub gaps: Vec<f64>,
}

/// Fits a model of `tracks` (their names) on `train`, and chooses alpha on `validation`, which may be empty where alpha is fixed.
///
/// # Errors
/// [`Error::Usage`] for an alpha or ratio out of range, a track without measurements, labels other than 0 and 1, a choice of alpha
/// without validation rows, or sizes beyond memory; [`Error::Failed`] where a solution is not unique. Panics if matrix sizes do
/// not agree.
pub fn fit(train: Rows<'_>, validation: Rows<'_>, tracks: &[String], settings: Settings) -> Result<Fit> {
    let width = tracks.len();
    let n = train.targets.len().checked_div(width).unwrap_or(0);
    if n == 0 {
        return Err(Error::Usage("linear models: expected rows to fit, found none".into()));
    }
    let features = train.features.len() / n;
    assert_eq!(train.features.len(), n * features, "rows of features and targets");
    let others = validation.targets.len() / width;
    assert_eq!(validation.features.len(), others * features, "validation rows of features and targets");
    check(train, tracks, settings)?;
    if others == 0 && !matches!(settings.strength, Strength::Fixed(_)) {
        return Err(Error::Usage(
            "linear models: choosing alpha needs validation rows; give a number with --alpha".into(),
        ));
    }
    // Tracks that are measured in the same rows have the same matrices.
    let mut patterns: BTreeMap<Vec<usize>, Vec<usize>> = BTreeMap::new();
    for t in 0..width {
        let rows = (0..n).filter(|&i| !train.targets[i * width + t].is_nan()).collect();
        patterns.entry(rows).or_default().push(t);
    }
    let groups: Vec<Group<'_>> = patterns
        .into_iter()
        .map(|(rows, members)| Group::new(train, validation, features, width, rows, members, settings))
        .collect::<Result<_>>()?;

    let mut fit = Fit {
        coefficients: vec![0.0; width * features],
        intercepts: vec![0.0; width],
        z: if settings.kind == Kind::Ridge { vec![f64::NAN; width * features] } else { vec![] },
        alphas: vec![0.0; width],
        validation: vec![f64::NAN; width],
        gaps: vec![0.0; width],
    };
    let shared = match settings.strength {
        Strength::Fixed(alpha) => Some(alpha),
        Strength::Shared => Some(shared(&groups)?),
        Strength::PerTrack => None,
    };
    for group in &groups {
        let alphas = shared.map_or_else(|| group.choose(), |alpha| Ok(vec![alpha; group.members.len()]))?;
        group.finish(&alphas, &mut fit)?;
    }
    Ok(fit)
}

fn check(train: Rows<'_>, tracks: &[String], settings: Settings) -> Result<()> {
    let wrong = |what: String| Err(Error::Usage(format!("linear models: {what}")));
    if let Strength::Fixed(alpha) = settings.strength
        && !(alpha.is_finite() && alpha >= 0.0 && (alpha > 0.0 || settings.kind == Kind::Ridge))
    {
        let least = if settings.kind == Kind::Ridge { "of 0 or more" } else { "above 0" };
        return wrong(format!("expected an alpha {least}, found {alpha}"));
    }
    if let Kind::Elastic(ratio) = settings.kind
        && !(ratio > 0.0 && ratio <= 1.0)
    {
        return wrong(format!("expected a ratio above 0 and up to 1, found {ratio}; 0 would be ridge"));
    }
    for (t, track) in tracks.iter().enumerate() {
        let mut values = train.targets.iter().skip(t).step_by(tracks.len()).filter(|v| !v.is_nan()).peekable();
        let Some(first) = values.peek().copied() else {
            return wrong(format!("track '{track}' has no measurement in the rows to fit"));
        };
        if settings.kind == Kind::Logistic {
            let (mut all, mut both) = (true, false);
            values.for_each(|v| (all, both) = (all && (*v == 0.0 || *v == 1.0), both || v != first));
            if !(all && both) {
                return wrong(format!(
                    "a logistic model takes labels 0 and 1, both present; track '{track}' is not so"
                ));
            }
        } else if let Some(v) = values.find(|v| v.is_infinite()) {
            return wrong(format!("track '{track}' has the value {v}; expected finite numbers"));
        }
    }
    Ok(())
}

/// Tracks that are measured in the same rows, and what solves for them.
struct Group<'a> {
    design: Design,
    solver: Solver,
    members: Vec<usize>,
    validation: Rows<'a>,
    features: usize,
    tracks: usize,
}

enum Solver {
    Ridge(Ridge),
    Descent(Descent),
    Logistic(Logistic),
}

impl<'a> Group<'a> {
    fn new(
        train: Rows<'_>,
        validation: Rows<'a>,
        features: usize,
        tracks: usize,
        rows: Vec<usize>,
        members: Vec<usize>,
        settings: Settings,
    ) -> Result<Self> {
        let of = |&t: &usize| rows.iter().map(|&i| train.targets[i * tracks + t]).collect();
        let targets = members.iter().map(of).collect();
        let design = Design::new(train.features, features, &rows, targets, settings.standardize);
        let size = match settings.kind {
            Kind::Elastic(_) => design.len(),
            _ => design.len().min(design.rows),
        };
        if size > LARGEST {
            return Err(Error::Usage(format!(
                "linear models: {} features in {} rows need a matrix of {size} x {size}; up to {LARGEST} are possible: take \
                 shorter k-mers",
                design.len(),
                design.rows
            )));
        }
        let solver = match settings.kind {
            Kind::Ridge => Solver::Ridge(Ridge::new(&design)),
            Kind::Elastic(ratio) => Solver::Descent(Descent::new(&design, ratio)),
            Kind::Logistic => Solver::Logistic(Logistic::new(&design)),
        };
        Ok(Self { design, solver, members, validation, features, tracks })
    }

    /// Solutions for members `which`, from `weights` on.
    fn solve(&self, alpha: f64, which: &[usize], weights: Vec<Weights>) -> Result<Vec<Weights>> {
        match &self.solver {
            Solver::Ridge(ridge) => ridge.solve(&self.design, alpha, which),
            Solver::Descent(descent) => Ok(descent.solve(&self.design, alpha, which, weights)),
            Solver::Logistic(logistic) => {
                let solved = par::map_each(weights, |i, from| logistic.solve(&self.design, alpha, which[i], from));
                solved.into_iter().collect()
            }
        }
    }

    /// A strength to begin with for one member.
    fn start(&self, member: usize) -> f64 {
        let start = match &self.solver {
            Solver::Descent(descent) => descent.start(&self.design, member),
            _ => self.design.scale(),
        };
        if start > 0.0 { start } else { 1.0 }
    }

    /// Score of a solution for one member in the validation rows.
    fn score(&self, member: usize, weights: &Weights) -> f64 {
        let t = self.members[member];
        let (coefficients, intercept) = self.design.plain(weights, self.features);
        let (mut guess, mut truth) = (vec![], vec![]);
        for (row, targets) in self
            .validation
            .features
            .chunks_exact(self.features.max(1))
            .zip(self.validation.targets.chunks_exact(self.tracks))
        {
            if !targets[t].is_nan() {
                guess.push(intercept + solve::dot(row, &coefficients));
                truth.push(targets[t]);
            }
        }
        match self.solver {
            Solver::Logistic(_) => auroc(&truth.iter().map(|v| *v > 0.5).collect::<Vec<bool>>(), &guess),
            _ => pearson(&truth, &guess),
        }
    }

    /// Scores of members `which` at one strength; solutions replace `weights`. NaN where there is no solution.
    fn scores(&self, alpha: f64, which: &[usize], weights: &mut Vec<Weights>) -> Result<Vec<f64>> {
        match self.solve(alpha, which, weights.clone()) {
            Ok(found) => *weights = found,
            Err(Error::Failed(_)) => return Ok(vec![f64::NAN; which.len()]),
            Err(other) => return Err(other),
        }
        Ok(par::map(which.len(), |i| self.score(which[i], &weights[i])))
    }

    /// The best strength for each member.
    fn choose(&self) -> Result<Vec<f64>> {
        let all: Vec<usize> = (0..self.members.len()).collect();
        if let Solver::Ridge(_) = self.solver {
            // One factor serves all members.
            let (start, mut known, mut weights) = (self.start(0), HashMap::new(), vec![]);
            let mut best = vec![];
            for &member in &all {
                best.push(search(start, |alpha| {
                    let scores = match known.entry(alpha.to_bits()) {
                        std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                        std::collections::hash_map::Entry::Vacant(entry) => {
                            entry.insert(self.scores(alpha, &all, &mut weights)?)
                        }
                    };
                    Ok(scores[member])
                })?);
            }
            return Ok(best);
        }
        let of = |&member: &usize| {
            let mut weights = vec![Weights::default()];
            search(self.start(member), |alpha| Ok(self.scores(alpha, &[member], &mut weights)?[0]))
        };
        all.par_iter().map(of).collect::<Vec<_>>().into_iter().collect()
    }

    /// Fits at the chosen strengths and writes the members' parts of `fit`.
    fn finish(&self, alphas: &[f64], fit: &mut Fit) -> Result<()> {
        let mut by_alpha: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        alphas.iter().enumerate().for_each(|(m, a)| by_alpha.entry(a.to_bits()).or_default().push(m));
        for (bits, which) in by_alpha {
            let alpha = f64::from_bits(bits);
            let found = self.solve(alpha, &which, vec![Weights::default(); which.len()])?;
            let z = match &self.solver {
                Solver::Ridge(ridge) => ridge.z(&self.design, alpha, &which, &found)?,
                _ => vec![],
            };
            for (i, (&member, weights)) in which.iter().zip(&found).enumerate() {
                let t = self.members[member];
                let (coefficients, intercept) = self.design.plain(weights, self.features);
                let place = t * self.features..(t + 1) * self.features;
                fit.coefficients[place.clone()].copy_from_slice(&coefficients);
                fit.intercepts[t] = intercept;
                fit.alphas[t] = alpha;
                fit.gaps[t] = weights.gap;
                fit.validation[t] = self.score(member, weights);
                if let Some(z) = z.get(i) {
                    let row = &mut fit.z[place];
                    self.design.kept.iter().zip(z).for_each(|(&f, &z)| row[f] = z);
                }
            }
        }
        Ok(())
    }
}

/// The strength with the best mean score of all tracks that have one.
fn shared(groups: &[Group<'_>]) -> Result<f64> {
    let start = groups.iter().flat_map(|g| (0..g.members.len()).map(|m| g.start(m))).fold(0.0, f64::max);
    let mut weights: Vec<Vec<Weights>> = groups.iter().map(|g| vec![Weights::default(); g.members.len()]).collect();
    search(start, |alpha| {
        let (mut sum, mut n) = (0.0, 0);
        for (group, weights) in groups.iter().zip(&mut weights) {
            let all: Vec<usize> = (0..group.members.len()).collect();
            let scores = group.scores(alpha, &all, weights)?;
            scores.iter().filter(|s| !s.is_nan()).for_each(|s| (sum, n) = (sum + s, n + 1));
        }
        Ok(sum / f64::from(n))
    })
}

/// The strength with the best score: from `start` down by [`FACTOR`], or up if the first step is worse. A score of NaN is worse
/// than any other.
fn search(start: f64, mut score: impl FnMut(f64) -> Result<f64>) -> Result<f64> {
    let mut at = |step: i32| -> Result<f64> {
        let found = score(start * FACTOR.powi(step))?;
        Ok(if found.is_nan() { f64::NEG_INFINITY } else { found })
    };
    let (mut best, mut best_step) = (at(0)?, 0);
    let (mut step, mut by) = (1, 1);
    let (mut worse, mut equal) = (0, 0);
    while (STEPS.0..=STEPS.1).contains(&step) && worse < WORSE && equal < EQUAL {
        let found = at(step)?;
        if found > best {
            (best, best_step, worse, equal) = (found, step, 0, 0);
        } else if found == best {
            equal += 1;
        } else if step == 1 {
            (step, by) = (0, -1);
        } else {
            worse += 1;
        }
        step += by;
    }
    Ok(start * FACTOR.powi(best_step))
}

#[cfg(test)]
mod tests;
