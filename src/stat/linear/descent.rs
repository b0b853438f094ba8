//! Lasso and elastic net: coordinate descent on the products of the columns, until the duality gap says that the minimum is near.

use super::design::{Design, Weights};
use super::solve::add_scaled;
use crate::util::par;

/// Gap that is good enough, as a part of the sum of squares of the centred target.
const TOLERANCE: f64 = 1e-9;
/// Sweeps over all columns before it is given up; the gap then says how far it came.
const SWEEPS: usize = 20_000;

/// Minimises `|y - Xw|^2 / (2n) + alpha r |w|_1 + alpha (1 - r) |w|^2 / 2` on one design.
#[derive(Debug)]
pub(super) struct Descent {
    /// `X'X`.
    gram: Vec<f64>,
    /// The part r of the absolute values in the penalty.
    l1_ratio: f64,
    tracks: Vec<Track>,
}

#[derive(Debug)]
struct Track {
    mean: f64,
    /// `X'y` and `y'y` of the centred target.
    xy: Vec<f64>,
    yy: f64,
}

impl Descent {
    pub(super) fn new(design: &Design, l1_ratio: f64) -> Self {
        let of = |t: usize| {
            let (mean, y) = design.centred(t);
            Track { mean, xy: design.project(&y), yy: y.iter().map(|v| v * v).sum() }
        };
        Self { gram: design.inner(), l1_ratio, tracks: (0..design.targets.len()).map(of).collect() }
    }

    /// Least alpha at which no column is used.
    pub(super) fn start(&self, design: &Design, track: usize) -> f64 {
        let largest = self.tracks[track].xy.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
        largest / (design.rows as f64 * self.l1_ratio)
    }

    /// Solutions for `tracks`, from `weights` on.
    pub(super) fn solve(&self, design: &Design, alpha: f64, tracks: &[usize], weights: Vec<Weights>) -> Vec<Weights> {
        let n = design.rows as f64;
        let (l1, l2) = (n * alpha * self.l1_ratio, n * alpha * (1.0 - self.l1_ratio));
        par::map_each(weights, |i, from| self.descend(&self.tracks[tracks[i]], l1, l2, from.slopes))
    }

    fn descend(&self, track: &Track, l1: f64, l2: f64, mut w: Vec<f64>) -> Weights {
        let p = track.xy.len();
        w.resize(p, 0.0);
        let mut gap = f64::INFINITY;
        for _ in 0..SWEEPS.div_ceil(10) {
            // X'r, anew now and then: updates gather rounding errors.
            let mut xr = track.xy.clone();
            for (j, &w) in w.iter().enumerate().filter(|(_, w)| **w != 0.0) {
                add_scaled(&mut xr, -w, &self.gram[j * p..(j + 1) * p]);
            }
            gap = duality_gap(track, &w, &xr, l1, l2);
            if gap <= TOLERANCE * track.yy {
                break;
            }
            for _ in 0..10 {
                for j in 0..p {
                    let row = &self.gram[j * p..(j + 1) * p];
                    let pull = xr[j] + row[j] * w[j];
                    let new = pull.signum() * (pull.abs() - l1).max(0.0) / (row[j] + l2);
                    if new != w[j] {
                        add_scaled(&mut xr, w[j] - new, row);
                        w[j] = new;
                    }
                }
            }
        }
        let gap = if track.yy > 0.0 { gap.max(0.0) / track.yy } else { 0.0 };
        Weights { slopes: w, level: track.mean, gap }
    }
}

/// Distance between the objective (times n) at `w` and that of the dual at the scaled residuals: an upper bound of the distance
/// from the minimum.
fn duality_gap(track: &Track, w: &[f64], xr: &[f64], l1: f64, l2: f64) -> f64 {
    let inner = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let (w_xy, w_xr, ww) = (inner(w, &track.xy), inner(w, xr), inner(w, w));
    let (rr, ry) = (track.yy - w_xy - w_xr, track.yy - w_xy);
    let steepest = xr.iter().zip(w).fold(0.0, |m: f64, (x, w)| m.max((x - l2 * w).abs()));
    let shrink = if steepest > l1 { l1 / steepest } else { 1.0 };
    let absolute: f64 = w.iter().map(|w| w.abs()).sum();
    0.5 * rr * (1.0 + shrink * shrink) + l1 * absolute - shrink * ry + 0.5 * l2 * (1.0 + shrink * shrink) * ww
}
