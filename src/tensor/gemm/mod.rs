//! Matrix products: the one door to them, and the keeper of their bit rules.
//!
//! A row of a product has the same bits however many rows are computed in one call, and a column however many columns, so
//! callers may split rows and columns over threads as they like. They must not split or merge the inner dimension: that
//! changes the order of additions.
//!
//! f32 on x86 runs our own register tiles (`kernel.rs`): channels-last activations are read where they are, and weights are
//! packed once per call of an op ([`Packed`]), not once per product as a general GEMM must. f64 and other machines go
//! through the `matrixmultiply` crate.

mod kernel;

use std::cell::RefCell;

use super::Real;
use kernel::{Kernel, Task};

/// Inner dimensions up to this are one run of additions; longer ones are runs of [`RUN`].
const LONGEST_RUN: usize = 640;
const RUN: usize = 256;

/// A matrix inside a slice: element (i, j) is `data[i * row_stride + j * col_stride]`, one of the strides being 1.
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
        let need = reach(rows, cols, pitch);
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

/// Elements that `rows` rows of `cols` reach, `pitch` apart.
fn reach(rows: usize, cols: usize, pitch: usize) -> usize {
    if rows == 0 || cols == 0 {
        return 0;
    }
    (rows - 1).checked_mul(pitch).and_then(|v| v.checked_add(cols)).expect("sizes of a matrix fit into memory")
}

/// The right side of many products, laid out as the kernel reads it.
#[derive(Debug)]
pub struct Packed<T> {
    k: usize,
    n: usize,
    layout: Layout<T>,
}

#[derive(Debug)]
enum Layout<T> {
    /// Row major, for the GEMM crate.
    Plain(Vec<T>),
    /// For every run of the inner dimension, for every panel of columns: its rows, padded to whole vectors.
    Panels(Vec<Line>),
}

/// A cache line: keeps packed rows aligned.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
#[allow(dead_code, reason = "read as floats through `floats`")]
struct Line([f32; 16]);

/// Element types that can be multiplied.
pub trait Gemm: Real {
    /// Lays `b` out for many products.
    fn pack(b: Mat<Self>) -> Packed<Self>;

    /// `c += a b`, with `c` row major and its rows `pitch` elements apart.
    fn product_packed(a: Mat<Self>, b: &Packed<Self>, c: &mut [Self], pitch: usize);

    /// `c += a b`, with `c` row major and its rows `pitch` elements apart.
    fn product(a: Mat<Self>, b: Mat<Self>, c: &mut [Self], pitch: usize);
}

/// Lays `b` out for many products.
pub fn pack<T: Gemm>(b: Mat<T>) -> Packed<T> {
    T::pack(b)
}

/// `c += a b`, with `c` row major and its rows `pitch` elements apart.
///
/// # Panics
/// If the inner dimensions differ or `c` is too short: callers have checked their shapes.
pub fn add<T: Gemm>(a: Mat<T>, b: Mat<T>, c: &mut [T], pitch: usize) {
    if check(a, (b.rows, b.cols), c, pitch) {
        T::product(a, b, c, pitch);
    }
}

/// As [`add`], for a `b` laid out by [`pack`].
///
/// # Panics
/// As [`add`].
pub fn add_packed<T: Gemm>(a: Mat<T>, b: &Packed<T>, c: &mut [T], pitch: usize) {
    if check(a, (b.k, b.n), c, pitch) {
        T::product_packed(a, b, c, pitch);
    }
}

/// As [`add`], columns over the threads: for products with few rows and many columns.
///
/// # Panics
/// As [`add`].
pub fn add_parallel<T: Gemm>(a: Mat<T>, b: Mat<T>, c: &mut [T], pitch: usize) {
    use rayon::prelude::*;
    const SMALL: usize = 1 << 18;
    if !check(a, (b.rows, b.cols), c, pitch) {
        return;
    }
    let tasks = rayon::current_num_threads() * 4;
    if tasks == 4 || a.rows * a.cols * b.cols < SMALL {
        return T::product(a, b, c, pitch);
    }
    if a.rows >= b.cols {
        // Blocks of rows are whole pieces of c.
        let per = a.rows.div_ceil(tasks).next_multiple_of(8);
        return c.par_chunks_mut(per * pitch).enumerate().for_each(|(i, c)| {
            let first = i * per;
            if first < a.rows {
                let rows = per.min(a.rows - first);
                T::product(Mat { data: &a.data[first * a.row_stride..], rows, ..a }, b, c, pitch);
            }
        });
    }
    // Blocks of columns of c interleave in memory: each task goes on from a copy of its block, which then takes its place. A
    // sum that began at zero would add up in another order than the rest of this file.
    let per = b.cols.div_ceil(tasks).next_multiple_of(48);
    let old: &[T] = c;
    let blocks: Vec<Vec<T>> = (0..b.cols)
        .into_par_iter()
        .step_by(per)
        .map(|first| {
            let cols = per.min(b.cols - first);
            let mut block = super::stale::<T>(a.rows * cols);
            for (i, row) in block.chunks_exact_mut(cols).enumerate() {
                row.copy_from_slice(&old[i * pitch + first..][..cols]);
            }
            T::product(a, Mat { data: &b.data[first * b.col_stride..], cols, ..b }, &mut block, cols);
            block
        })
        .collect();
    for (i, row) in c.chunks_mut(pitch).take(a.rows).enumerate() {
        for (b, block) in blocks.iter().enumerate() {
            let cols = block.len() / a.rows;
            row[b * per..][..cols].copy_from_slice(&block[i * cols..][..cols]);
        }
    }
    blocks.into_iter().for_each(super::alloc::give_back);
}

/// Checks sizes; false if there is nothing to do.
fn check<T>(a: Mat<T>, (k, n): (usize, usize), c: &[T], pitch: usize) -> bool {
    assert_eq!(a.cols, k, "inner dimensions");
    if a.rows == 0 || k == 0 || n == 0 {
        return false;
    }
    assert!(
        pitch >= n && c.len() >= reach(a.rows, n, pitch),
        "{} elements cannot hold {} x {n} of pitch {pitch}",
        c.len(),
        a.rows
    );
    true
}

/// The runs of additions of an inner dimension: they depend on it alone.
fn runs(k: usize) -> impl Iterator<Item = (usize, usize)> {
    let step = if k <= LONGEST_RUN { k } else { RUN };
    (0..k).step_by(step.max(1)).map(move |p| (p, step.min(k - p)))
}

/// `total` split into as few parts of at most `most` as possible, as equal as possible: (first, size).
fn parts(total: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let n = total.div_ceil(most);
    (0..n).map(move |i| {
        let (from, to) = (i * total / n, (i + 1) * total / n);
        (from, to - from)
    })
}

/// Panels of columns: (first column, columns, vectors).
fn panels(kernel: &Kernel, n: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let lanes = kernel.lanes;
    parts(n.div_ceil(lanes), kernel.vectors).map(move |(v, vectors)| {
        let first = v * lanes;
        (first, (vectors * lanes).min(n - first), vectors)
    })
}

impl Gemm for f32 {
    fn pack(b: Mat<f32>) -> Packed<f32> {
        let (k, n) = (b.rows, b.cols);
        let layout = match kernel::best() {
            Some(kernel) => {
                let width = n.div_ceil(kernel.lanes) * kernel.lanes;
                let mut lines = vec![Line([0.0; 16]); (k * width).div_ceil(16)];
                let mut free: &mut [f32] = floats_mut(&mut lines);
                for (p, run) in runs(k) {
                    for (j, cols, vectors) in panels(&kernel, n) {
                        let pitch = vectors * kernel.lanes;
                        let (panel, rest) = std::mem::take(&mut free).split_at_mut(run * pitch);
                        pack_panel(b, p, run, j, cols, pitch, panel);
                        free = rest;
                    }
                }
                Layout::Panels(lines)
            }
            None => {
                let mut plain = vec![0.0; k * n];
                pack_panel(b, 0, k, 0, n, n, &mut plain);
                Layout::Plain(plain)
            }
        };
        Packed { k, n, layout }
    }

    fn product_packed(a: Mat<f32>, b: &Packed<f32>, c: &mut [f32], pitch: usize) {
        match &b.layout {
            Layout::Plain(plain) => portable(a, Mat::new(plain, b.k, b.n, b.n), c, pitch, matrixmultiply::sgemm),
            Layout::Panels(lines) => {
                let kernel = kernel::best().expect("panels are only made for a kernel");
                let mut at = 0;
                for (p, run) in runs(b.k) {
                    for (j, cols, vectors) in panels(&kernel, b.n) {
                        let b_pitch = vectors * kernel.lanes;
                        let panel = &floats(lines)[at..at + run * b_pitch];
                        at += run * b_pitch;
                        tiles(&kernel, a, (p, run), (panel, b_pitch), (j, cols), c, pitch);
                    }
                }
            }
        }
    }

    fn product(a: Mat<f32>, b: Mat<f32>, c: &mut [f32], pitch: usize) {
        thread_local!(static PANEL: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) });
        let Some(kernel) = kernel::best() else {
            return portable(a, b, c, pitch, matrixmultiply::sgemm);
        };
        PANEL.with_borrow_mut(|lines| {
            lines.resize((LONGEST_RUN * kernel.vectors * kernel.lanes).div_ceil(16), Line([0.0; 16]));
            let buffer = floats_mut(lines);
            for (p, run) in runs(b.rows) {
                for (j, cols, vectors) in panels(&kernel, b.cols) {
                    // With one tile of rows a panel would be read once: then it is read where it is.
                    if a.rows <= kernel.rows && b.col_stride == 1 {
                        let rows = &b.data[p * b.row_stride + j..];
                        tiles(&kernel, a, (p, run), (rows, b.row_stride), (j, cols), c, pitch);
                    } else {
                        let b_pitch = vectors * kernel.lanes;
                        let panel = &mut buffer[..run * b_pitch];
                        pack_panel(b, p, run, j, cols, b_pitch, panel);
                        tiles(&kernel, a, (p, run), (panel, b_pitch), (j, cols), c, pitch);
                    }
                }
            }
        });
    }
}

fn floats(lines: &[Line]) -> &[f32] {
    // SAFETY: a Line is 16 floats without padding (size 64, alignment 64).
    unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * 16) }
}

fn floats_mut(lines: &mut [Line]) -> &mut [f32] {
    // SAFETY: as `floats`; the borrow is exclusive.
    unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 16) }
}

/// Copies rows `p..p + run`, columns `j..j + cols` of `b` to `panel`, rows `pitch` apart, padded with zeros.
fn pack_panel(b: Mat<f32>, p: usize, run: usize, j: usize, cols: usize, pitch: usize, panel: &mut [f32]) {
    if b.col_stride == 1 {
        for (i, row) in panel.chunks_exact_mut(pitch).enumerate().take(run) {
            let from = &b.data[(p + i) * b.row_stride + j..][..cols];
            row[..cols].copy_from_slice(from);
            row[cols..].fill(0.0);
        }
    } else {
        for i in 0..run {
            panel[i * pitch + cols..(i + 1) * pitch].fill(0.0);
        }
        for q in 0..cols {
            let column = &b.data[(j + q) * b.col_stride + p * b.row_stride..];
            for i in 0..run {
                panel[i * pitch + q] = column[i * b.row_stride];
            }
        }
    }
}

/// All rows of `a`, columns `k` of the run, times one panel.
fn tiles(
    kernel: &Kernel,
    a: Mat<f32>,
    (p, run): (usize, usize),
    (panel, b_pitch): (&[f32], usize),
    (j, cols): (usize, usize),
    c: &mut [f32],
    pitch: usize,
) {
    assert!(panel.len() >= (run - 1) * b_pitch + cols, "the panel holds the run");
    assert!(a.row_stride == 1 || a.col_stride == 1, "one stride of a is 1");
    for (i, rows) in parts(a.rows, kernel.rows) {
        let from = &a.data[i * a.row_stride + p * a.col_stride..];
        let task = Task {
            k: run,
            a: from.as_ptr(),
            a_row: a.row_stride,
            a_col: a.col_stride,
            b: panel.as_ptr(),
            b_pitch,
            c: c[i * pitch + j..].as_mut_ptr(),
            c_pitch: pitch,
            rows,
            cols,
        };
        // SAFETY: `best` found the instruction set; `Mat::new` checked that a holds rows i.., columns p.. of these sizes,
        // `check` that c does, the assertion above that the panel does; c is borrowed mutably and overlaps neither.
        unsafe { (kernel.tile)(&task) }
    }
}

impl Gemm for f64 {
    fn pack(b: Mat<f64>) -> Packed<f64> {
        let mut plain = Vec::with_capacity(b.rows * b.cols);
        for p in 0..b.rows {
            plain.extend((0..b.cols).map(|j| b.data[p * b.row_stride + j * b.col_stride]));
        }
        Packed { k: b.rows, n: b.cols, layout: Layout::Plain(plain) }
    }

    fn product_packed(a: Mat<f64>, b: &Packed<f64>, c: &mut [f64], pitch: usize) {
        let Layout::Plain(plain) = &b.layout else { unreachable!("f64 is never laid out in panels") };
        portable(a, Mat::new(plain, b.k, b.n, b.n), c, pitch, matrixmultiply::dgemm);
    }

    fn product(a: Mat<f64>, b: Mat<f64>, c: &mut [f64], pitch: usize) {
        portable(a, b, c, pitch, matrixmultiply::dgemm);
    }
}

type Crate<T> =
    unsafe fn(usize, usize, usize, T, *const T, isize, isize, *const T, isize, isize, T, *mut T, isize, isize);

fn portable<T: Real>(a: Mat<T>, b: Mat<T>, c: &mut [T], pitch: usize, gemm: Crate<T>) {
    // SAFETY: `Mat::new` checked that every (row, column) of a and b lies inside its slice, `check` those of c; c is
    // borrowed mutably, so it overlaps neither.
    unsafe {
        gemm(
            a.rows,
            a.cols,
            b.cols,
            T::of(1.0),
            a.data.as_ptr(),
            a.row_stride as isize,
            a.col_stride as isize,
            b.data.as_ptr(),
            b.row_stride as isize,
            b.col_stride as isize,
            T::of(1.0),
            c.as_mut_ptr(),
            pitch as isize,
            1,
        );
    }
}

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
        for (m, k, n) in [(1, 1, 1), (5, 7, 3), (33, 300, 17), (64, 65, 48), (9, 1300, 50), (2, 3, 200)] {
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
            let close = |c: &[f32], what: &str| {
                for (c, w) in c.iter().zip(&want) {
                    assert!((f64::from(*c) - w).abs() < 3e-4, "{m} x {k} x {n} {what}: {c} {w}");
                }
            };
            for (x, y, what) in [
                (Mat::new(&a, m, k, k), Mat::new(&b, k, n, n), "rows rows"),
                (Mat::new(&at, k, m, m).t(), Mat::new(&bt, n, k, k).t(), "columns columns"),
                (Mat::new(&at, k, m, m).t(), Mat::new(&b, k, n, n), "columns rows"),
            ] {
                let mut c = vec![0f32; m * n];
                add(x, y, &mut c, n);
                close(&c, what);
                let mut c = vec![0f32; m * n];
                add_packed(x, &pack(y), &mut c, n);
                close(&c, what);
                let mut c = vec![0f32; m * n];
                add_parallel(x, y, &mut c, n);
                close(&c, what);
                let mut c = vec![0f32; m * n];
                portable(x, y, &mut c, n, matrixmultiply::sgemm);
                close(&c, what);
            }
        }
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn every_instruction_set_equals_the_crate() {
        let mut all = vec![];
        if is_x86_feature_detected!("avx512f") {
            all.push(Kernel { rows: 8, lanes: 16, vectors: 3, tile: kernel::avx512::tile });
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            all.push(Kernel { rows: 6, lanes: 8, vectors: 2, tile: kernel::avx2::tile });
        }
        for kernel in all {
            for m in 1..20 {
                let (k, n) = (31, 5 * m);
                let (a, b) = (random(m * k, 1), random(k * n, 2));
                let (mut got, mut want) = (vec![0f32; m * n], vec![0f32; m * n]);
                for (j, cols, _) in panels(&kernel, n) {
                    tiles(&kernel, Mat::new(&a, m, k, k), (0, k), (&b[j..], n), (j, cols), &mut got, n);
                }
                portable(Mat::new(&a, m, k, k), Mat::new(&b, k, n, n), &mut want, n, matrixmultiply::sgemm);
                for (g, w) in got.iter().zip(&want) {
                    assert!((g - w).abs() < 1e-4, "{m} x {k} x {n}, {} lanes: {g} {w}", kernel.lanes);
                }
            }
        }
    }

    /// The rules in the head of this file, on which batch and thread independence stand.
    #[test]
    fn bits_do_not_depend_on_the_split() {
        for (m, k, n) in [(97, 301, 283), (97, 1000, 283), (283, 1000, 97)] {
            let (a, b) = (random(m * k, 3), random(k * n, 4));
            // Not zeros: what is there is the first summand.
            let start = random(m * n, 5);
            let mut whole = start.clone();
            add(Mat::new(&a, m, k, k), Mat::new(&b, k, n, n), &mut whole, n);
            let mut packed = start.clone();
            add_packed(Mat::new(&a, m, k, k), &pack(Mat::new(&b, k, n, n)), &mut packed, n);
            assert_eq!(whole, packed);
            for threads in [1, 2, 5] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let mut parallel = start.clone();
                pool.install(|| add_parallel(Mat::new(&a, m, k, k), Mat::new(&b, k, n, n), &mut parallel, n));
                assert_eq!(whole, parallel, "{threads} threads");
            }
            for rows in [1, 2, 3, 7, 16, 31, 64] {
                let mut c = start.clone();
                for i in (0..m).step_by(rows) {
                    let r = rows.min(m - i);
                    add(Mat::new(&a[i * k..], r, k, k), Mat::new(&b, k, n, n), &mut c[i * n..], n);
                }
                assert_eq!(whole, c, "{rows} rows a call");
            }
            for cols in [1, 5, 16, 32, 40] {
                let mut c = start.clone();
                for j in (0..n).step_by(cols) {
                    add(Mat::new(&a, m, k, k), Mat::new(&b[j..], k, cols.min(n - j), n), &mut c[j..], n);
                }
                assert_eq!(whole, c, "{cols} columns a call");
            }
        }
    }
}
