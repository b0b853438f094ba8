//! Matrix products: the only caller of the GEMM crate, and the keeper of its bit rules.
//!
//! A row of a product has the same bits however many rows are computed in one call, and a column however many columns, so
//! callers may split rows and columns over threads as they like. They must not split or merge the inner dimension: that
//! changes the order of additions.

use super::Real;

/// A matrix inside a slice: element (i, j) is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy, Debug)]
pub struct Mat<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a, T: Real> Mat<'a, T> {
    /// A row-major matrix whose rows are `pitch` elements apart.
    pub fn new(data: &'a [T], rows: usize, cols: usize, pitch: usize) -> Self {
        let need = if rows == 0 || cols == 0 { 0 } else { (rows - 1) * pitch + cols };
        assert!(
            data.len() >= need,
            "a {rows} x {cols} matrix of pitch {pitch} needs {need} elements, not {}",
            data.len()
        );
        Self { data, rows, cols, row_stride: pitch, col_stride: 1 }
    }

    /// The transpose; nothing moves.
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride, ..self }
    }
}

/// `c += a b`, with `c` row major and its rows `pitch` elements apart.
///
/// # Panics
/// If the inner dimensions differ or `c` is too short: callers have checked their shapes.
pub fn add<T: Gemm>(a: Mat<T>, b: Mat<T>, c: &mut [T], pitch: usize) {
    assert_eq!(a.cols, b.rows, "inner dimensions");
    let (m, k, n) = (a.rows, a.cols, b.cols);
    if m == 0 || k == 0 || n == 0 {
        return;
    }
    assert!(
        pitch >= n && c.len() >= (m - 1) * pitch + n,
        "{} elements cannot hold {m} x {n} of pitch {pitch}",
        c.len()
    );
    // SAFETY: `Mat::new` checked that every (row, column) of a and b lies inside its slice, the lines above that those of
    // c do; c is borrowed mutably, so it overlaps neither.
    unsafe {
        T::gemm(
            [m, k, n],
            (a.data.as_ptr(), a.row_stride as isize, a.col_stride as isize),
            (b.data.as_ptr(), b.row_stride as isize, b.col_stride as isize),
            (c.as_mut_ptr(), pitch as isize, 1),
        );
    }
}

/// Element types that the GEMM crate multiplies.
pub trait Gemm: Real {
    /// `c += a b` on raw matrices: pointer, row stride, column stride.
    ///
    /// # Safety
    /// All elements that the sizes `[m, k, n]` and the strides reach must be valid; `c` must not overlap `a` or `b`.
    unsafe fn gemm(
        size: [usize; 3],
        a: (*const Self, isize, isize),
        b: (*const Self, isize, isize),
        c: (*mut Self, isize, isize),
    );
}

macro_rules! impl_gemm {
    ($($t:ident $f:ident),*) => { $(impl Gemm for $t {
        unsafe fn gemm(
            [m, k, n]: [usize; 3],
            a: (*const Self, isize, isize),
            b: (*const Self, isize, isize),
            c: (*mut Self, isize, isize),
        ) {
            // SAFETY: passed on to the caller.
            unsafe { matrixmultiply::$f(m, k, n, 1.0, a.0, a.1, a.2, b.0, b.1, b.2, 1.0, c.0, c.1, c.2) }
        }
    })* };
}
impl_gemm!(f32 sgemm, f64 dgemm);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::philox::Philox;

    fn random(n: usize, seed: u64) -> Vec<f32> {
        let mut r = Philox::new(seed, 0);
        (0..n).map(|_| r.normal() as f32).collect()
    }

    #[test]
    fn equals_f64_in_every_layout() {
        for (m, k, n) in [(1, 1, 1), (5, 7, 3), (33, 300, 17), (64, 65, 48)] {
            let (a, b) = (random(m * k, 1), random(k * n, 2));
            let mut want = vec![0f64; m * n];
            for i in 0..m {
                for p in 0..k {
                    for j in 0..n {
                        want[i * n + j] += f64::from(a[i * k + p]) * f64::from(b[p * n + j]);
                    }
                }
            }
            let at: Vec<f32> = (0..k * m).map(|i| a[i % m * k + i / m]).collect();
            let bt: Vec<f32> = (0..n * k).map(|i| b[i % k * n + i / k]).collect();
            for (x, y) in [
                (Mat::new(&a, m, k, k), Mat::new(&b, k, n, n)),
                (Mat::new(&at, k, m, m).t(), Mat::new(&bt, n, k, k).t()),
            ] {
                let mut c = vec![0f32; m * n];
                add(x, y, &mut c, n);
                for (c, w) in c.iter().zip(&want) {
                    assert!((f64::from(*c) - w).abs() < 1e-4, "{c} {w}");
                }
            }
        }
    }

    /// The rules in the head of this file, on which batch and thread independence stand.
    #[test]
    fn bits_do_not_depend_on_the_split() {
        let (m, k, n) = (97, 301, 83);
        let (a, b) = (random(m * k, 3), random(k * n, 4));
        let mut whole = vec![0f32; m * n];
        add(Mat::new(&a, m, k, k), Mat::new(&b, k, n, n), &mut whole, n);
        for rows in [1, 2, 3, 7, 16, 31, 64] {
            let mut c = vec![0f32; m * n];
            for i in (0..m).step_by(rows) {
                let r = rows.min(m - i);
                add(Mat::new(&a[i * k..], r, k, k), Mat::new(&b, k, n, n), &mut c[i * n..], n);
            }
            assert_eq!(whole, c, "{rows} rows a call");
        }
        for cols in [1, 5, 16, 32, 40] {
            let mut c = vec![0f32; m * n];
            for j in (0..n).step_by(cols) {
                add(Mat::new(&a, m, k, k), Mat::new(&b[j..], k, cols.min(n - j), n), &mut c[j..], n);
            }
            assert_eq!(whole, c, "{cols} columns a call");
        }
    }
}
