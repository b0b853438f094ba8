//! The formulas of the losses, in f64: values and the gradient of their sum, in one pass.

use super::{Loss, Values};
use crate::error::{Error, Result};

/// Added to probabilities before logarithms.
const EPSILON: f64 = 1e-8;
/// Floor of the norms in a correlation.
const FLOOR: f64 = 1e-16;

/// Values of a loss and the gradient of their sum with respect to the prediction, row-major.
pub(super) fn evaluate(loss: Loss, p: &[f64], t: &[f64], tracks: usize) -> Result<(Values, Vec<f64>)> {
    if tracks == 0 || p.is_empty() || p.len() != t.len() || !p.len().is_multiple_of(tracks) {
        return Err(Error::Argument {
            op: "loss",
            what: format!(
                "{} predictions and {} targets in rows of {tracks}: expected at least one row and one track, and equal sizes",
                p.len(),
                t.len()
            ),
        });
    }
    if loss == Loss::Bce {
        probabilities("prediction", p, tracks)?;
        probabilities("target", t, tracks)?;
    }
    let mut sum =
        Sum { p, t, rows: p.len() / tracks, columns: tracks, values: vec![0.0; p.len()], gradient: vec![0.0; p.len()] };
    use Axis::{Columns, Rows};
    let shape = match loss {
        Loss::Mse => sum.each(1.0, square),
        Loss::L1 => sum.each(1.0, absolute),
        Loss::Bce => sum.each(1.0, binary_cross_entropy),
        Loss::PoissonNll => sum.each(1.0, |p, t| (p.exp() - t * p, p.exp() - t)),
        Loss::PoissonRate => sum.each(1.0, |p, t| (p - t * (p + EPSILON).ln(), 1.0 - t / (p + EPSILON))),
        Loss::Multinomial => {
            sum.values = sum.lines(Rows, 1.0, multinomial);
            vec![sum.rows]
        }
        Loss::LogCountMse => {
            sum.values = sum.lines(Rows, 1.0, log_count);
            vec![sum.rows]
        }
        Loss::Kl => sum.each(1.0, |p, t| (if t == 0.0 { 0.0 } else { t * t.ln() } - t * p, -t)),
        Loss::CrossEntropy => {
            sum.values = sum.lines(Rows, 1.0, softmax_cross_entropy);
            vec![sum.rows]
        }
        Loss::CorrelationData => sum.spread(Rows, 1.0, correlation),
        Loss::CorrelationClass => sum.spread(Columns, 1.0, correlation),
        Loss::CorrelationBoth => sum.both(1.0, correlation),
        Loss::CorrelationSumData => sum.row_sums(correlation),
        Loss::CorrelationMse => {
            sum.spread(Rows, 0.95, correlation);
            sum.each(0.05, square)
        }
        Loss::MseCorrelation => {
            sum.spread(Columns, 0.95, correlation);
            sum.each(0.05, square)
        }
        Loss::CosineData => sum.spread(Rows, 1.0, cosine),
        Loss::CosineClass => sum.spread(Columns, 1.0, cosine),
        Loss::CosineBoth => sum.both(p.len() as f64, cosine),
        Loss::CeData => sum.each_summed(Rows, cross_entropy),
        Loss::CeClass => sum.each_summed(Columns, cross_entropy),
        Loss::SceData => sum.each_summed(Rows, symmetric_cross_entropy),
        Loss::SceClass => sum.each_summed(Columns, symmetric_cross_entropy),
        Loss::HceData => sum.each_summed(Rows, entropy_cross_entropy),
        Loss::HceClass => sum.each_summed(Columns, entropy_cross_entropy),
        Loss::Jsd => sum.spread(Rows, 1.0, jensen_shannon),
        Loss::MseContrastMse => {
            sum.contrast(square);
            sum.each(1.0, square)
        }
        Loss::L1ContrastL1 => {
            sum.contrast(absolute);
            sum.each(1.0, absolute)
        }
        Loss::L1ContrastMse => {
            sum.contrast(square);
            sum.each(1.0, absolute)
        }
        Loss::MseContrastCorrelation => {
            sum.spread(Rows, 1.0, correlation);
            sum.each(1.0, square)
        }
        Loss::L1ContrastCorrelation => {
            sum.spread(Rows, 1.0, correlation);
            sum.each(1.0, absolute)
        }
        Loss::None => vec![sum.rows, sum.columns],
    };
    Ok((Values { shape, values: sum.values }, sum.gradient))
}

/// Refuses numbers outside 0 to 1; NaN passes.
fn probabilities(what: &str, x: &[f64], tracks: usize) -> Result<()> {
    match x.iter().position(|v| !v.is_nan() && !(0.0..=1.0).contains(v)) {
        Some(i) => Err(Error::Argument {
            op: Loss::Bce.name(),
            what: format!(
                "{what} {} at row {}, track {}; expected 0 to 1{}",
                x[i],
                i / tracks,
                i % tracks,
                if what == "prediction" { ", as a sigmoid output gives" } else { "" }
            ),
        }),
        None => Ok(()),
    }
}

#[derive(Clone, Copy)]
enum Axis {
    /// A line is a row: all tracks of a sample.
    Rows,
    /// A line is a column: all samples of a track.
    Columns,
}

/// Value and derivative with respect to p of a loss of single numbers.
type Each = fn(f64, f64) -> (f64, f64);
/// Value of a loss of a line; writes its gradient with respect to p into the third argument.
type Line = fn(&[f64], &[f64], &mut [f64]) -> f64;

/// A loss under construction: its parts add to the values and to the gradient of their sum. Parts return the shape of the
/// values.
struct Sum<'a> {
    p: &'a [f64],
    t: &'a [f64],
    rows: usize,
    columns: usize,
    values: Vec<f64>,
    gradient: Vec<f64>,
}

impl Sum<'_> {
    fn each(&mut self, weight: f64, f: Each) -> Vec<usize> {
        for i in 0..self.p.len() {
            let (value, slope) = f(self.p[i], self.t[i]);
            self.values[i] += weight * value;
            self.gradient[i] += weight * slope;
        }
        vec![self.rows, self.columns]
    }

    /// As `each`, then the values are summed along each line.
    fn each_summed(&mut self, axis: Axis, f: Each) -> Vec<usize> {
        self.each(1.0, f);
        let (number, _) = self.size(axis);
        let mut sums = vec![0.0; number];
        for (i, value) in self.values.iter().enumerate() {
            sums[self.line(axis, i)] += value;
        }
        self.values = sums;
        vec![number]
    }

    /// Adds `weight` times a loss of each line to all values of that line.
    fn spread(&mut self, axis: Axis, weight: f64, f: Line) -> Vec<usize> {
        let (_, length) = self.size(axis);
        let values = self.lines(axis, weight * length as f64, f);
        for i in 0..self.values.len() {
            self.values[i] += weight * values[self.line(axis, i)];
        }
        vec![self.rows, self.columns]
    }

    /// One value: `weight` times the average of the mean over rows and the mean over columns.
    fn both(&mut self, weight: f64, f: Line) -> Vec<usize> {
        let mut total = 0.0;
        for axis in [Axis::Rows, Axis::Columns] {
            let share = 0.5 * weight / self.size(axis).0 as f64;
            total += share * self.lines(axis, share, f).iter().sum::<f64>();
        }
        self.values = vec![total];
        vec![]
    }

    /// A loss of the rows' sums, for every element.
    fn row_sums(&mut self, f: Line) -> Vec<usize> {
        let sums = |x: &[f64]| -> Vec<f64> { x.chunks_exact(self.columns).map(|row| row.iter().sum()).collect() };
        let mut g = vec![0.0; self.rows];
        let value = f(&sums(self.p), &sums(self.t), &mut g);
        self.values.fill(value);
        let elements = self.p.len() as f64;
        for (gradient, g) in self.gradient.chunks_exact_mut(self.columns).zip(g) {
            gradient.fill(elements * g);
        }
        vec![self.rows, self.columns]
    }

    /// Adds the mean over tracks j of `f` between p_j - p_c and t_j - t_c, for an `f` that depends on the difference of its
    /// arguments only and is even in it: then it is `f` between the errors of j and of c, and each pair counts twice.
    fn contrast(&mut self, f: Each) {
        let share = 1.0 / self.columns as f64;
        for row in (0..self.p.len()).step_by(self.columns) {
            let errors: Vec<f64> = (row..row + self.columns).map(|i| self.p[i] - self.t[i]).collect();
            for (i, &own) in errors.iter().enumerate() {
                let (mut value, mut slope) = (0.0, 0.0);
                for &other in &errors {
                    let (v, s) = f(own, other);
                    value += v;
                    slope += s;
                }
                self.values[row + i] += share * value;
                self.gradient[row + i] += 2.0 * share * slope;
            }
        }
    }

    /// Values of a loss of every line; adds `weight` times their gradients.
    fn lines(&mut self, axis: Axis, weight: f64, f: Line) -> Vec<f64> {
        let (number, length) = self.size(axis);
        let step = if let Axis::Rows = axis { 1 } else { self.columns };
        let (mut p, mut t, mut g) = (vec![0.0; length], vec![0.0; length], vec![0.0; length]);
        let mut values = Vec::with_capacity(number);
        for line in 0..number {
            let first = if let Axis::Rows = axis { line * self.columns } else { line };
            for i in 0..length {
                (p[i], t[i]) = (self.p[first + i * step], self.t[first + i * step]);
            }
            values.push(f(&p, &t, &mut g));
            for (i, g) in g.iter().enumerate() {
                self.gradient[first + i * step] += weight * g;
            }
        }
        values
    }

    /// Number of lines and elements of a line.
    fn size(&self, axis: Axis) -> (usize, usize) {
        match axis {
            Axis::Rows => (self.rows, self.columns),
            Axis::Columns => (self.columns, self.rows),
        }
    }

    /// Line of element `i`.
    fn line(&self, axis: Axis, i: usize) -> usize {
        match axis {
            Axis::Rows => i / self.columns,
            Axis::Columns => i % self.columns,
        }
    }
}

fn square(p: f64, t: f64) -> (f64, f64) {
    ((p - t) * (p - t), 2.0 * (p - t))
}

fn absolute(p: f64, t: f64) -> (f64, f64) {
    let error = p - t;
    (error.abs(), if error == 0.0 { 0.0 } else { error.signum() })
}

/// Logarithms not below -100 and the slope's denominator not below 1e-12, as in PyTorch. `clamp` keeps NaN, `max` does not.
fn binary_cross_entropy(p: f64, t: f64) -> (f64, f64) {
    let held = |log: f64| log.clamp(-100.0, f64::INFINITY);
    ((t - 1.0) * held((-p).ln_1p()) - t * held(p.ln()), (p - t) / ((1.0 - p) * p).clamp(1e-12, f64::INFINITY))
}

fn cross_entropy(p: f64, t: f64) -> (f64, f64) {
    (-t * (p + EPSILON).ln(), -t / (p + EPSILON))
}

fn symmetric_cross_entropy(p: f64, t: f64) -> (f64, f64) {
    let ((value, slope), log) = (cross_entropy(p, t), (t + EPSILON).ln());
    (0.5 * (value - p * log), 0.5 * (slope - log))
}

fn entropy_cross_entropy(p: f64, t: f64) -> (f64, f64) {
    let (value, slope) = symmetric_cross_entropy(p, t);
    (value + 0.33 * t * (t + EPSILON).ln(), slope)
}

fn softmax_cross_entropy(p: &[f64], t: &[f64], g: &mut [f64]) -> f64 {
    let largest = p.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let log_sum = largest + p.iter().map(|p| (p - largest).exp()).sum::<f64>().ln();
    let total: f64 = t.iter().sum();
    let mut value = 0.0;
    for ((g, p), t) in g.iter_mut().zip(p).zip(t) {
        value += t * (log_sum - p);
        *g = (p - log_sum).exp() * total - t;
    }
    value
}

/// `-sum t ln(q)` of the shares q of the row's sum.
fn multinomial(p: &[f64], t: &[f64], g: &mut [f64]) -> f64 {
    let total: f64 = p.iter().map(|p| p + EPSILON).sum();
    let counts: f64 = t.iter().sum();
    let mut value = 0.0;
    for ((g, p), t) in g.iter_mut().zip(p).zip(t) {
        value -= t * ((p + EPSILON) / total).ln();
        *g = counts / total - t / (p + EPSILON);
    }
    value
}

fn log_count(p: &[f64], t: &[f64], g: &mut [f64]) -> f64 {
    let (p, t) = (p.iter().sum::<f64>(), t.iter().sum::<f64>());
    let error = p.ln_1p() - t.ln_1p();
    g.fill(2.0 * error / (1.0 + p));
    error * error
}

fn correlation(p: &[f64], t: &[f64], g: &mut [f64]) -> f64 {
    one_minus_cosine((p, mean(p)), (t, mean(t)), FLOOR, g)
}

fn cosine(p: &[f64], t: &[f64], g: &mut [f64]) -> f64 {
    one_minus_cosine((p, 0.0), (t, 0.0), 0.0, g)
}

/// Taken from the first number, so that the mean of a constant line is that constant to the last bit.
fn mean(x: &[f64]) -> f64 {
    x[0] + x.iter().map(|v| v - x[0]).sum::<f64>() / x.len() as f64
}

/// 1 - u v / (|u| |v|) of u = p less its centre, v = t less its centre, norms not below `floor`. A u shorter than `floor` has
/// no direction and gets no gradient. That the mean moves with p needs no term: u and v have mean zero then.
fn one_minus_cosine((p, pc): (&[f64], f64), (t, tc): (&[f64], f64), floor: f64, g: &mut [f64]) -> f64 {
    let (mut uv, mut uu, mut vv) = (0.0, 0.0, 0.0);
    for (p, t) in p.iter().zip(t) {
        let (u, v) = (p - pc, t - tc);
        uv += u * v;
        uu += u * u;
        vv += v * v;
    }
    // `clamp` keeps NaN.
    let norm = |square: f64| square.sqrt().clamp(floor, f64::INFINITY);
    let (nu, nv) = (norm(uu), norm(vv));
    let r = uv / nu / nv;
    if uu.sqrt() < floor {
        g.fill(0.0);
    } else {
        for ((g, p), t) in g.iter_mut().zip(p).zip(t) {
            *g = (r * (p - pc) / nu - (t - tc) / nv) / nu;
        }
    }
    1.0 - r
}

fn jensen_shannon(p: &[f64], t: &[f64], g: &mut [f64]) -> f64 {
    let total = |x: &[f64]| x.iter().map(|v| v + EPSILON).sum::<f64>();
    let (ps, ts) = (total(p), total(t));
    let (mut value, mut along) = (0.0, 0.0);
    for ((g, p), t) in g.iter_mut().zip(p).zip(t) {
        let (p, q) = ((p + EPSILON) / ps, (t + EPSILON) / ts);
        let log_mean = (0.5 * (p + q)).log2();
        value += 0.5 * (p * (p.log2() - log_mean) + q * (q.log2() - log_mean));
        // The derivatives of the logarithms cancel.
        *g = 0.5 * (p.log2() - log_mean);
        along += p * *g;
    }
    for g in g {
        *g = (*g - along) / ps;
    }
    value
}
