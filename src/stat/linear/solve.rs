//! Products and factors of symmetric matrices in `f64`. Sums have an order that sizes alone decide.

use crate::util::par;

/// Vectors of a tile of [`gram`], and numbers of each that are multiplied at a time: both tiles stay in the cache.
const TILE: usize = 32;
const RUN: usize = 1024;
/// Columns of a step of [`Cholesky`].
const STEP: usize = 48;

/// Inner product, in eight interleaved sums.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (heads, tails) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = heads.remainder().iter().zip(tails.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in heads.zip(tails) {
        for ((s, x), y) in sums.iter_mut().zip(x).zip(y) {
            *s += x * y;
        }
    }
    sums.iter().sum::<f64>() + rest
}

/// `y += a x`.
pub(super) fn add_scaled(y: &mut [f64], a: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += a * x);
}

/// Inner products of all pairs of `n` vectors of `width` numbers that lie one after the other: `[n, n]`, symmetric.
pub(super) fn gram(vectors: &[f64], width: usize) -> Vec<f64> {
    let n = vectors.len().checked_div(width).unwrap_or(0);
    let mut all = vec![0.0; n * n];
    let bands: Vec<&mut [f64]> = all.chunks_mut(TILE * n.max(1)).collect();
    par::map_each(bands, |band, rows| {
        let first = band * TILE;
        for other in (0..=band).map(|b| b * TILE) {
            for start in (0..width).step_by(RUN) {
                let part = |i: usize| &vectors[i * width + start..i * width + (start + RUN).min(width)];
                for (r, row) in rows.chunks_exact_mut(n).enumerate() {
                    for j in other..(other + TILE).min(first + r + 1) {
                        row[j] += dot(part(first + r), part(j));
                    }
                }
            }
        }
    });
    for i in 0..n {
        for j in 0..i {
            all[j * n + i] = all[i * n + j];
        }
    }
    all
}

/// Lower triangle L of `A = L L'`.
#[derive(Debug)]
pub(super) struct Cholesky {
    n: usize,
    /// `[n, n]`; what is above the diagonal is not read.
    l: Vec<f64>,
}

impl Cholesky {
    /// Factor of the symmetric matrix `a`, `[n, n]`, whose lower triangle is read. `None` if it is not positive definite in the
    /// precision of its numbers, or not finite.
    pub(super) fn new(mut a: Vec<f64>, n: usize) -> Option<Self> {
        let largest = (0..n).map(|i| a[i * n + i]).fold(0.0, f64::max);
        let least = largest * n as f64 * f64::EPSILON;
        for first in (0..n).step_by(STEP) {
            let end = (first + STEP).min(n);
            let (done, below) = a.split_at_mut(end * n);
            for i in first..end {
                let (above, row) = done.split_at_mut(i * n);
                let row = &mut row[..n];
                for j in first..i {
                    let other = &above[j * n..j * n + j + 1];
                    row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
                }
                let pivot = row[i] - dot(&row[..i], &row[..i]);
                if pivot.is_nan() || pivot <= least {
                    return None;
                }
                row[i] = pivot.sqrt();
            }
            let done = &*done;
            par::rows(below, n, |_, rows| {
                for row in rows.chunks_exact_mut(n) {
                    for j in first..end {
                        let other = &done[j * n..j * n + j + 1];
                        row[j] = (row[j] - dot(&row[..j], &other[..j])) / other[j];
                    }
                }
            });
        }
        a.iter().step_by(n + 1).all(|v| v.is_finite()).then_some(Self { n, l: a })
    }

    /// `b` becomes `L^-1 b`.
    pub(super) fn half(&self, b: &mut [f64]) {
        for i in 0..self.n {
            let row = &self.l[i * self.n..i * self.n + i + 1];
            b[i] = (b[i] - dot(&row[..i], &b[..i])) / row[i];
        }
    }

    /// `b` becomes `A^-1 b`.
    pub(super) fn solve(&self, b: &mut [f64]) {
        self.half(b);
        for i in (0..self.n).rev() {
            let row = &self.l[i * self.n..i * self.n + i + 1];
            let x = b[i] / row[i];
            b[i] = x;
            add_scaled(&mut b[..i], -x, &row[..i]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::philox::Philox;

    fn random(n: usize, seed: u64) -> Vec<f64> {
        let mut random = Philox::new(seed, 0);
        (0..n).map(|_| random.normal()).collect()
    }

    #[test]
    fn products_and_factors_of_odd_sizes() {
        for (n, width) in [(1, 3), (5, 1100), (33, 70), (120, 131)] {
            let v = random(n * width, 5);
            let mut a = gram(&v, width);
            for i in 0..n {
                for j in 0..n {
                    let plain: f64 = (0..width).map(|k| v[i * width + k] * v[j * width + k]).sum();
                    assert!((a[i * n + j] - plain).abs() < 1e-10, "{n} {width}");
                }
                a[i * n + i] += 0.5;
            }
            let x = random(n, 6);
            let mut b: Vec<f64> = a.chunks_exact(n).map(|row| dot(row, &x)).collect();
            Cholesky::new(a, n).unwrap().solve(&mut b);
            assert!(b.iter().zip(&x).all(|(b, x)| (b - x).abs() < 1e-9), "{n} {width}");
        }
        assert!(gram(&[], 4).is_empty() && gram(&[], 0).is_empty());
    }

    #[test]
    fn singular_and_broken_matrices_have_no_factor() {
        assert!(Cholesky::new(vec![1.0, 1.0, 1.0, 1.0], 2).is_none());
        assert!(Cholesky::new(vec![1.0, 2.0, 2.0, 1.0], 2).is_none());
        assert!(Cholesky::new(vec![f64::NAN], 1).is_none() && Cholesky::new(vec![0.0], 1).is_none());
        assert!(Cholesky::new(vec![1.0, 0.0, f64::NAN, 1.0], 2).is_none());
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let (n, width) = (150, 1500);
        let v = random(n * width, 9);
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let a = gram(&v, width);
                let mut b = v[..n].to_vec();
                Cholesky::new(a, n).unwrap().solve(&mut b);
                b
            })
        };
        assert_eq!(run(1), run(3));
    }
}
