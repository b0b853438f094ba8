//! Arithmetic on slices: elementwise maps, sums in an order fixed by the index, softmax of a row.
//!
//! Panics where lengths do not fit; callers check shapes before.

use super::{BLOCK, Float, load, store};
use crate::util::simd::dispatch;

/// Running sums of a reduction. Element i goes to sum i mod LANES; sums are added pairwise at the end. So the result depends on
/// the values and the length only.
const LANES: usize = 32;

/// Rows that [`column_sums`] adds one after the other; such blocks are then added pairwise.
const ROWS: usize = 32;

/// Elements of a repeated pattern of per-channel values.
const PATTERN: usize = 256;

dispatch! {
    /// y = e^x.
    pub fn exp[I, T: Float](x: &[T], y: &mut [T]) {
        assert_eq!(x.len(), y.len(), "x and y must have one length");
        for (x, y) in x.chunks(BLOCK).zip(y.chunks_mut(BLOCK)) {
            let mut block: [T; BLOCK] = load(x);
            for v in &mut block {
                *v = v.exp::<I>();
            }
            store(&block, y);
        }
    }
}

dispatch! {
    /// y = ln x.
    pub fn ln[I, T: Float](x: &[T], y: &mut [T]) {
        assert_eq!(x.len(), y.len(), "x and y must have one length");
        for (x, y) in x.chunks(BLOCK).zip(y.chunks_mut(BLOCK)) {
            let mut block: [T; BLOCK] = load(x);
            for v in &mut block {
                *v = v.ln::<I>();
            }
            store(&block, y);
        }
    }
}

dispatch! {
    /// Replaces a row by its softmax. A row of -infinity alone becomes NaN, an empty one stays.
    pub fn softmax[I, T: Float](x: &mut [T]) {
        let top = maximum_body(x);
        let mut sums = [T::ZERO; LANES];
        for x in x.chunks_mut(BLOCK) {
            let (n, mut block): (_, [T; BLOCK]) = (x.len(), load(x));
            for v in &mut block {
                *v = (*v - top).exp_decay::<I>();
            }
            // lanes behind the row add zero
            block[n..].fill(T::ZERO);
            for half in block.as_chunks::<LANES>().0 {
                for (s, v) in sums.iter_mut().zip(half) {
                    *s += *v;
                }
            }
            store(&block, x);
        }
        let inverse = T::ONE / fold(sums);
        for v in x {
            *v *= inverse;
        }
    }
}

dispatch! {
    /// Largest element; -infinity of an empty slice. NaN is passed over.
    pub fn maximum[I, T: Float](x: &[T]) -> T {
        maximum_body(x)
    }
}

dispatch! {
    /// Sum of all elements.
    pub fn sum[I, T: Float](x: &[T]) -> T {
        let mut sums = [T::ZERO; LANES];
        let (blocks, rest) = x.as_chunks::<LANES>();
        for x in blocks {
            for (s, x) in sums.iter_mut().zip(x) {
                *s += *x;
            }
        }
        for (s, x) in sums.iter_mut().zip(rest) {
            *s += *x;
        }
        fold(sums)
    }
}

dispatch! {
    /// Sum of `a[i] * b[i]`.
    pub fn dot[I, T: Float](a: &[T], b: &[T]) -> T {
        assert_eq!(a.len(), b.len(), "a and b must have one length");
        let mut sums = [T::ZERO; LANES];
        let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
        for (a, b) in a.iter().zip(b) {
            for ((s, a), b) in sums.iter_mut().zip(a).zip(b) {
                *s = a.fma::<I>(*b, *s);
            }
        }
        for ((s, a), b) in sums.iter_mut().zip(a_rest).zip(b_rest) {
            *s = a.fma::<I>(*b, *s);
        }
        fold(sums)
    }
}

dispatch! {
    /// y += x.
    pub fn add[I, T: Float](x: &[T], y: &mut [T]) {
        assert_eq!(x.len(), y.len(), "x and y must have one length");
        for (y, x) in y.iter_mut().zip(x) {
            *y += *x;
        }
    }
}

dispatch! {
    /// y = a - b.
    pub fn subtract[I, T: Float](a: &[T], b: &[T], y: &mut [T]) {
        assert!(a.len() == y.len() && b.len() == y.len(), "a, b and y must have one length");
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            *y = *a - *b;
        }
    }
}

dispatch! {
    /// y = y * x, element by element.
    pub fn multiply[I, T: Float](x: &[T], y: &mut [T]) {
        assert_eq!(x.len(), y.len(), "x and y must have one length");
        for (y, x) in y.iter_mut().zip(x) {
            *y *= *x;
        }
    }
}

dispatch! {
    /// y += a * b, element by element.
    pub fn multiply_add[I, T: Float](a: &[T], b: &[T], y: &mut [T]) {
        assert!(a.len() == y.len() && b.len() == y.len(), "a, b and y must have one length");
        for ((y, a), b) in y.iter_mut().zip(a).zip(b) {
            *y = a.fma::<I>(*b, *y);
        }
    }
}

dispatch! {
    /// y = y * factor.
    pub fn scale[I, T: Float](factor: T, y: &mut [T]) {
        for y in y {
            *y *= factor;
        }
    }
}

dispatch! {
    /// y += factor * x.
    pub fn axpy[I, T: Float](factor: T, x: &[T], y: &mut [T]) {
        assert_eq!(x.len(), y.len(), "x and y must have one length");
        for (y, x) in y.iter_mut().zip(x) {
            *y = factor.fma::<I>(*x, *y);
        }
    }
}

dispatch! {
    /// `y = scale[c] * x + shift[c]` for rows of C channels, C = length of `scale` and `shift`.
    pub fn affine[I, T: Float](x: &[T], scale: &[T], shift: &[T], y: &mut [T]) {
        assert_eq!(x.len(), y.len(), "x and y must have one length");
        assert_eq!(scale.len(), shift.len(), "scale and shift must have one length");
        let (mut scales, mut shifts) = ([T::ZERO; PATTERN], [T::ZERO; PATTERN]);
        let (scale, shift) = (repeated(scale, &mut scales, x.len()), repeated(shift, &mut shifts, x.len()));
        for (x, y) in x.chunks(scale.len()).zip(y.chunks_mut(scale.len())) {
            for (((y, x), scale), shift) in y.iter_mut().zip(x).zip(scale).zip(shift) {
                *y = scale.fma::<I>(*x, *shift);
            }
        }
    }
}

dispatch! {
    /// `y = scale[c] * y` for rows of C channels, C = length of `scale`.
    pub fn scale_channels[I, T: Float](scale: &[T], y: &mut [T]) {
        let mut scales = [T::ZERO; PATTERN];
        let scale = repeated(scale, &mut scales, y.len());
        for y in y.chunks_mut(scale.len()) {
            for (y, scale) in y.iter_mut().zip(scale) {
                *y *= *scale;
            }
        }
    }
}

dispatch! {
    /// `y += shift[c]` for rows of C channels, C = length of `shift`.
    pub fn shift_channels[I, T: Float](shift: &[T], y: &mut [T]) {
        let mut shifts = [T::ZERO; PATTERN];
        let shift = repeated(shift, &mut shifts, y.len());
        for y in y.chunks_mut(shift.len()) {
            for (y, shift) in y.iter_mut().zip(shift) {
                *y += *shift;
            }
        }
    }
}

/// `out[c]` = sum over rows of `x[r, c]`, x `[R, C]` with C = length of `out`. Order: blocks of 32 rows from the first row on, added row
/// by row; block sums pairwise like a binary counter. It depends on R alone.
pub fn column_sums<T: Float>(x: &[T], out: &mut [T]) {
    let c = out.len();
    pairwise(x.len(), out, |at, sums| {
        for row in x[at].chunks(c) {
            add(row, sums);
        }
    });
}

/// `out[c]` = sum over rows of `a[r, c] * b[r, c]`, in the order of [`column_sums`].
pub fn column_dots<T: Float>(a: &[T], b: &[T], out: &mut [T]) {
    assert_eq!(a.len(), b.len(), "a and b must have one length");
    let c = out.len();
    pairwise(a.len(), out, |at, sums| {
        for (a, b) in a[at.clone()].chunks(c).zip(b[at].chunks(c)) {
            multiply_add(a, b, sums);
        }
    });
}

/// Adds up blocks of rows: `block` adds its rows to zeroed sums.
fn pairwise<T: Float>(len: usize, out: &mut [T], block: impl Fn(std::ops::Range<usize>, &mut [T])) {
    let c = out.len();
    assert!(c > 0 && len.is_multiple_of(c), "{len} elements are not rows of {c} channels");
    // level k holds the sum of 2^k blocks, as bit k of the number of blocks so far says
    let mut levels: Vec<T> = Vec::new();
    for (i, start) in (0..len).step_by(ROWS * c).enumerate() {
        out.fill(T::ZERO);
        block(start..(start + ROWS * c).min(len), out);
        let mut k = 0;
        while i >> k & 1 == 1 {
            add(&levels[k * c..(k + 1) * c], out);
            k += 1;
        }
        if levels.len() < (k + 1) * c {
            levels.resize((k + 1) * c, T::ZERO);
        }
        levels[k * c..(k + 1) * c].copy_from_slice(out);
    }
    out.fill(T::ZERO);
    let blocks = len.div_ceil(ROWS * c);
    for (k, level) in levels.chunks(c).enumerate() {
        if blocks >> k & 1 == 1 {
            add(level, out);
        }
    }
}

/// The per-channel values, repeated to fill `space` where they are few, so that loops over them are long.
#[inline(always)]
fn repeated<'a, T: Float>(values: &'a [T], space: &'a mut [T; PATTERN], len: usize) -> &'a [T] {
    let c = values.len();
    assert!(c > 0 && len.is_multiple_of(c), "{len} elements are not rows of {c} channels");
    if c > PATTERN / 2 || len == c {
        return values;
    }
    let n = PATTERN / c * c;
    for to in space[..n].chunks_exact_mut(c) {
        to.copy_from_slice(values);
    }
    &space[..n]
}

#[inline(always)]
fn maximum_body<T: Float>(x: &[T]) -> T {
    let mut tops = [-T::INFINITY; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for x in blocks {
        for (t, x) in tops.iter_mut().zip(x) {
            *t = if *x > *t { *x } else { *t };
        }
    }
    for (t, x) in tops.iter_mut().zip(rest) {
        *t = if *x > *t { *x } else { *t };
    }
    tops.into_iter().fold(-T::INFINITY, |a, b| if b > a { b } else { a })
}

/// Sum of the lanes, pairwise.
#[inline(always)]
fn fold<T: Float>(mut sums: [T; LANES]) -> T {
    let mut n = LANES / 2;
    while n > 0 {
        for i in 0..n {
            sums[i] += sums[i + n];
        }
        n /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::simd::at_every_level;

    fn wave(n: usize, step: f32) -> Vec<f32> {
        (0..n).map(|i| (i as f32 * step).sin() * 2.0).collect()
    }

    #[test]
    fn sums_and_dots() {
        at_every_level(|level| {
            for n in [0, 1, 31, 32, 33, 100, 1000] {
                let (a, b) = (wave(n, 0.7), wave(n, 0.3));
                let wide = |x: &[f32]| x.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
                let exact: f64 = wide(&a).iter().zip(&wide(&b)).map(|(a, b)| a * b).sum();
                assert!((f64::from(dot(&a, &b)) - exact).abs() < 1e-5 * (n as f64).sqrt().max(1.0), "{level:?} {n}");
                assert!((dot(&wide(&a), &wide(&b)) - exact).abs() < 1e-12, "{level:?} {n}");
                assert!((f64::from(sum(&a)) - wide(&a).iter().sum::<f64>()).abs() < 1e-5, "{level:?} {n}");
                let top = a.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                assert_eq!(maximum(&a), top);
            }
            // bits do not depend on where the slice starts in memory
            let a = wave(300, 0.7);
            for at in 1..20 {
                let mut moved = vec![0.0; at];
                moved.extend(&a);
                assert_eq!(dot(&a, &a).to_bits(), dot(&moved[at..], &moved[at..]).to_bits());
            }
        });
    }

    #[test]
    fn softmax_rows() {
        at_every_level(|_| {
            for n in [1usize, 5, 63, 64, 65, 300] {
                let x = wave(n, 1.1).iter().map(|v| v * 20.0).collect::<Vec<_>>();
                let mut y = x.clone();
                softmax(&mut y);
                let top = f64::from(maximum(&x));
                let total: f64 = x.iter().map(|v| (f64::from(*v) - top).exp()).sum();
                for (x, y) in x.iter().zip(&y) {
                    let expected = (f64::from(*x) - top).exp() / total;
                    // x - top is rounded, and the exponential makes that a relative error
                    let limit = (5e-7 + 6e-8 * (f64::from(*x) - top).abs()) * expected + 1e-37;
                    assert!((f64::from(*y) - expected).abs() <= limit, "{n} {x} {y} {expected}");
                }
            }
            let mut y = [1.0, f32::NEG_INFINITY, 1.0];
            softmax(&mut y);
            assert_eq!(y, [0.5, 0.0, 0.5]);
            let mut y = [1.0, f32::NAN];
            softmax(&mut y);
            assert!(y.iter().all(|v| v.is_nan()));
            softmax::<f32>(&mut []);
        });
    }

    #[test]
    fn columns() {
        for (r, c) in [(0usize, 3usize), (1, 1), (31, 5), (32, 2), (33, 4), (95, 1), (1000, 7)] {
            let (a, b) = (wave(r * c, 0.37), wave(r * c, 0.91));
            let (mut sums, mut dots) = (vec![f32::NAN; c], vec![f32::NAN; c]);
            column_sums(&a, &mut sums);
            column_dots(&a, &b, &mut dots);
            for j in 0..c {
                let at = |i: usize| (f64::from(a[i * c + j]), f64::from(b[i * c + j]));
                let exact: f64 = (0..r).map(|i| at(i).0).sum();
                let exact_dot: f64 = (0..r).map(|i| at(i).0 * at(i).1).sum();
                assert!((f64::from(sums[j]) - exact).abs() < 2e-5, "{r} {c}");
                assert!((f64::from(dots[j]) - exact_dot).abs() < 1e-4, "{r} {c}");
            }
        }
        // adding row by row would be off by 1e3
        let ones = vec![0.1f32; 1 << 20];
        let mut out = [0.0];
        column_sums(&ones, &mut out);
        assert!((out[0] - 0.1f32 * (1 << 20) as f32).abs() < 0.1, "{}", out[0]);
    }

    #[test]
    fn elementwise() {
        at_every_level(|_| {
            for n in [0, 1, 15, 70] {
                let (a, b) = (wave(n, 0.7), wave(n, 0.3));
                let check = |found: &[f32], f: &dyn Fn(f32, f32) -> f32| {
                    for i in 0..n {
                        assert!((found[i] - f(a[i], b[i])).abs() < 1e-6);
                    }
                };
                let mut y = b.clone();
                add(&a, &mut y);
                check(&y, &|a, b| a + b);
                subtract(&a, &b, &mut y);
                check(&y, &|a, b| a - b);
                multiply(&b, &mut y);
                check(&y, &|a, b| (a - b) * b);
                y.copy_from_slice(&b);
                multiply_add(&a, &a, &mut y);
                check(&y, &|a, b| a * a + b);
                y.copy_from_slice(&b);
                axpy(3.0, &a, &mut y);
                check(&y, &|a, b| 3.0 * a + b);
                scale(0.5, &mut y);
                check(&y, &|a, b| 1.5 * a + 0.5 * b);
            }
            for c in [1usize, 3, 128, 129] {
                let mut y = wave(c * 7, 0.2);
                let before = y.clone();
                let (s, t) = (wave(c, 0.5), wave(c, 0.9));
                scale_channels(&s, &mut y);
                shift_channels(&t, &mut y);
                for i in 0..y.len() {
                    assert!((y[i] - (before[i] * s[i % c] + t[i % c])).abs() < 1e-6);
                }
            }
        });
    }

    #[test]
    fn exp_and_ln_slices() {
        let x = wave(77, 0.3);
        let (mut y, mut back) = (vec![0.0; 77], vec![0.0; 77]);
        exp(&x, &mut y);
        ln(&y, &mut back);
        for i in 0..77 {
            assert!((y[i] - x[i].exp()).abs() < 1e-6 && (back[i] - x[i]).abs() < 3e-7);
        }
    }
}
