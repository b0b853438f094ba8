//! A feature matrix made ready for fitting: columns centred, constant ones left out.

use super::solve::{add_scaled, dot, gram};
use crate::util::par;

/// Centred columns of the features that vary, and the targets of some tracks in the same rows.
#[derive(Debug)]
pub(super) struct Design {
    /// Number of rows n.
    pub(super) rows: usize,
    /// `[p, n]`, centred, divided by `scales`.
    columns: Vec<f64>,
    /// Which of the features the columns are.
    pub(super) kept: Vec<usize>,
    means: Vec<f64>,
    scales: Vec<f64>,
    /// Targets of each track, [n].
    pub(super) targets: Vec<Vec<f64>>,
}

/// Solution for one track in the units of a [`Design`].
#[derive(Clone, Debug, Default)]
pub(super) struct Weights {
    /// One a column.
    pub(super) slopes: Vec<f64>,
    /// Value where all columns are 0.
    pub(super) level: f64,
    /// How far the objective may be above its minimum, as a part of the objective of zero slopes.
    pub(super) gap: f64,
}

impl Design {
    /// Rows of `table`, `[N, features]`, in which all `tracks` are measured: `targets` are the rows' numbers for the tracks.
    pub(super) fn new(
        table: &[f64],
        features: usize,
        rows: &[usize],
        targets: Vec<Vec<f64>>,
        standardize: bool,
    ) -> Self {
        let n = rows.len();
        let made: Vec<(Vec<f64>, f64, f64)> = par::map(features, |f| {
            let mut column: Vec<f64> = rows.iter().map(|&r| table[r * features + f]).collect();
            if column.iter().all(|v| *v == column[0]) {
                return (vec![], 0.0, 1.0);
            }
            let mean = column.iter().sum::<f64>() / n as f64;
            column.iter_mut().for_each(|v| *v -= mean);
            let scale = if standardize { (dot(&column, &column) / n as f64).sqrt() } else { 1.0 };
            column.iter_mut().for_each(|v| *v /= scale);
            (column, mean, scale)
        });
        let mut design = Self { rows: n, columns: vec![], kept: vec![], means: vec![], scales: vec![], targets };
        for (f, (column, mean, scale)) in made.into_iter().enumerate().filter(|(_, (column, ..))| !column.is_empty()) {
            design.columns.extend(column);
            design.kept.push(f);
            design.means.push(mean);
            design.scales.push(scale);
        }
        design
    }

    /// Mean of a track, and its distances from there: exactly 0 where all values are the same.
    pub(super) fn centred(&self, track: usize) -> (f64, Vec<f64>) {
        let y = &self.targets[track];
        if y.iter().all(|v| *v == y[0]) {
            return (y[0], vec![0.0; y.len()]);
        }
        let mean = y.iter().sum::<f64>() / y.len() as f64;
        (mean, y.iter().map(|v| v - mean).collect())
    }

    /// Number of columns p.
    pub(super) fn len(&self) -> usize {
        self.kept.len()
    }

    /// Column `j`.
    pub(super) fn column(&self, j: usize) -> &[f64] {
        &self.columns[j * self.rows..(j + 1) * self.rows]
    }

    /// `X'X`, `[p, p]`.
    pub(super) fn inner(&self) -> Vec<f64> {
        gram(&self.columns, self.rows)
    }

    /// `X X'`, `[n, n]`.
    pub(super) fn outer(&self) -> Vec<f64> {
        if self.kept.is_empty() {
            return vec![0.0; self.rows * self.rows];
        }
        let (n, p) = (self.rows, self.len());
        let mut turned = vec![0.0; n * p];
        par::rows(&mut turned, p, |first, rows| {
            for (i, row) in rows.chunks_exact_mut(p).enumerate() {
                row.iter_mut().enumerate().for_each(|(j, v)| *v = self.columns[j * n + first + i]);
            }
        });
        gram(&turned, p)
    }

    /// `X' v`, [p].
    pub(super) fn project(&self, v: &[f64]) -> Vec<f64> {
        par::map(self.len(), |j| dot(self.column(j), v))
    }

    /// `X w`, [n].
    pub(super) fn apply(&self, w: &[f64]) -> Vec<f64> {
        let mut y = vec![0.0; self.rows];
        w.iter().enumerate().filter(|(_, w)| **w != 0.0).for_each(|(j, &w)| add_scaled(&mut y, w, self.column(j)));
        y
    }

    /// Mean of the squared lengths of the columns: the size of a penalty that matters. 1 without columns.
    pub(super) fn scale(&self) -> f64 {
        let all: f64 = (0..self.len()).map(|j| dot(self.column(j), self.column(j))).sum();
        if self.kept.is_empty() { 1.0 } else { all / self.len() as f64 }
    }

    /// Coefficients of all `features` and the intercept, in the units of the table.
    pub(super) fn plain(&self, weights: &Weights, features: usize) -> (Vec<f64>, f64) {
        let mut all = vec![0.0; features];
        let mut intercept = weights.level;
        for (j, &f) in self.kept.iter().enumerate() {
            all[f] = weights.slopes[j] / self.scales[j];
            intercept -= all[f] * self.means[j];
        }
        (all, intercept)
    }
}
