//! Splitting work over threads: ranges and chunks whose borders depend on sizes alone.

use rayon::prelude::*;

/// Elements of an element-wise job that one task takes: large enough to hide the hand-over, small enough to balance.
const CHUNK: usize = 1 << 15;

/// Runs `f` on matching chunks of `y` and `x`, which have equal lengths.
pub fn zip<T: Send, U: Sync>(y: &mut [T], x: &[U], f: impl Fn(&mut [T], &[U]) + Sync) {
    assert_eq!(y.len(), x.len(), "lengths of an element-wise job");
    if y.len() <= CHUNK {
        return f(y, x);
    }
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| f(y, x));
}

/// Runs `f(first row, rows)` on runs of whole rows of `y`, `width` elements each.
pub fn rows<T: Send>(y: &mut [T], width: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    if width == 0 || y.is_empty() {
        return;
    }
    let per = CHUNK.div_ceil(width);
    if y.len() <= per * width {
        return f(0, y);
    }
    y.par_chunks_mut(per * width).enumerate().for_each(|(i, y)| f(i * per, y));
}

/// Runs `f(i)` for `0..n` over the threads and returns the results in order.
pub fn map<T: Send>(n: usize, f: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
    (0..n).into_par_iter().map(f).collect()
}

/// Number of threads that jobs run on.
pub fn threads() -> usize {
    rayon::current_num_threads()
}

/// Runs `f(item)` for every item, over the threads.
pub fn each<T: Send>(items: Vec<T>, f: impl Fn(T) + Sync + Send) {
    items.into_par_iter().for_each(f);
}

/// Runs `f(i, item)` for every item, over the threads, and returns the results in order.
pub fn map_each<T: Send, U: Send>(items: Vec<T>, f: impl Fn(usize, T) -> U + Sync + Send) -> Vec<U> {
    items.into_par_iter().enumerate().map(|(i, item)| f(i, item)).collect()
}

/// Sums of the columns of a row-major matrix. Rows are added up in runs of fixed length, runs in order: the bits depend on
/// the matrix alone.
pub fn column_sums<T>(x: &[T], columns: usize) -> Vec<T>
where
    T: Copy + Default + Send + Sync + std::ops::Add<Output = T>,
{
    const RUN: usize = 256;
    if columns == 0 || x.is_empty() {
        return vec![T::default(); columns];
    }
    let runs: Vec<Vec<T>> = x
        .par_chunks(RUN * columns)
        .map(|run| {
            let mut sum = vec![T::default(); columns];
            for row in run.chunks_exact(columns) {
                for (s, &v) in sum.iter_mut().zip(row) {
                    *s = *s + v;
                }
            }
            sum
        })
        .collect();
    let mut total = vec![T::default(); columns];
    for run in runs {
        for (t, v) in total.iter_mut().zip(run) {
            *t = *t + v;
        }
    }
    total
}
