//! The weighted pool cell: y = sum_i w_i x_i with w = softmax(x) over the rows of a window, channel by channel.
//!
//! Data are channels last; a window of a [L, C] map is a [`Rows`] of it, without a copy. Channels are handled in blocks, every
//! channel by the same arithmetic, rows in their order.

use super::{Float, load, store};
use crate::util::simd::{Isa, dispatch};

/// Channels handled at once: sums and maxima of so many stay in registers.
const LANES: usize = 32;

/// Above this increase of a row the delta form would overflow, and it is summed from the new weights instead.
const LARGE_CHANGE: f64 = 30.0;

/// Below this remaining weight likewise: everything that mattered has dropped out of the window.
const SMALL_REST: f64 = 1e-2;

/// Rows of C channels inside a larger array; row i begins at `i * pitch`.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a, T> {
    data: &'a [T],
    pitch: usize,
    count: usize,
}

impl<'a, T: Float> Rows<'a, T> {
    /// `count` rows that begin `pitch` elements apart, the first at the start of `data`. A pitch of 0 repeats one row.
    pub fn new(data: &'a [T], pitch: usize, count: usize) -> Self {
        Self { data, pitch, count }
    }

    /// Channels `at..at + n` of row `i`.
    #[inline(always)]
    fn lanes(&self, i: usize, at: usize, n: usize) -> [T; LANES] {
        load(&self.data[i * self.pitch + at..][..n])
    }
}

/// Padding that belongs to a window: rows of one constant value, a constant in the gradient too.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pad<T> {
    /// How many such rows; 0 for none.
    pub rows: usize,
    /// Their value in every channel.
    pub value: T,
}

/// What [`weighted_pool_delta`] must know about the padding of a window.
#[derive(Clone, Copy, Debug)]
pub struct PadChange<'a, T> {
    /// The padding of the reference window.
    pub pad: Pad<T>,
    /// Change of its value; 0 mostly.
    pub change: T,
    /// Weight of one padding row per channel, as [`weighted_pool`] wrote it.
    pub weights: &'a [T],
}

dispatch! {
    /// `y[c] = sum_i x[i, c] softmax(x[.., c])_i` over the rows of a window and its padding; C = length of y. `weights`, if given,
    /// receives the softmax, [rows, C], and one more row with the weight of a single padding row if there is padding.
    /// A window without rows and padding gives NaN.
    pub fn weighted_pool[I, T: Float](x: Rows<'_, T>, pad: Pad<T>, y: &mut [T], weights: Option<&mut [T]>) {
        let (channels, mut weights) = (y.len(), weights);
        for (at, n) in blocks(channels) {
            let rows = x.count + usize::from(pad.rows > 0);
            let keep = weights.as_deref_mut().map(|data| Keep { data, pitch: channels, rows });
            let (sums, value) = cell::<I, T>(x, pad, at, n, keep);
            store(&value, &mut y[at..at + n]);
            let Some(weights) = weights.as_deref_mut() else { continue };
            let inverse = sums.map(|s| T::ONE / s);
            for i in 0..rows {
                let w = &mut weights[i * channels + at..][..n];
                let mut v: [T; LANES] = load(w);
                for l in 0..LANES {
                    v[l] *= inverse[l];
                }
                store(&v, w);
            }
        }
    }
}

dispatch! {
    /// `dx[i, c] = dy[c] s_i (1 + x[i, c] - y[c])` with `s = softmax(x[.., c])`, the gradient of [`weighted_pool`]; C = length of dy.
    /// Row i of dx begins at `i * dx_pitch`. Nothing flows into the padding.
    pub fn weighted_pool_gradient[I, T: Float](x: Rows<'_, T>, pad: Pad<T>, dy: &[T], dx: &mut [T], dx_pitch: usize) {
        for (at, n) in blocks(dy.len()) {
            let (sums, y) = cell::<I, T>(x, pad, at, n, Some(Keep { data: dx, pitch: dx_pitch, rows: x.count }));
            let mut share: [T; LANES] = load(&dy[at..at + n]);
            for l in 0..LANES {
                share[l] = share[l] / sums[l];
            }
            for i in 0..x.count {
                let dx = &mut dx[i * dx_pitch + at..][..n];
                let (mut v, e): (_, [T; LANES]) = (x.lanes(i, at, n), load(dx));
                for l in 0..LANES {
                    v[l] = e[l] * share[l] * (v[l] - y[l] + T::ONE);
                }
                store(&v, dx);
            }
        }
    }
}

dispatch! {
    /// Change of [`weighted_pool`] when rows `first..` of the window change by d: with w the old weights,
    /// out = sum w (e^d d + (e^d - 1)(x - y)) / sum w e^d, where unchanged rows (d = 0) only count below. No nearly equal numbers
    /// are subtracted, so the error is relative to the change.
    /// Takes the window, the `weights` and `y` that [`weighted_pool`] gave for it, the changed rows and the padding; C = length of
    /// `out`.
    pub fn weighted_pool_delta[I, T: Float](
        x: Rows<'_, T>,
        weights: Rows<'_, T>,
        y: &[T],
        d: Rows<'_, T>,
        first: usize,
        pad: Option<PadChange<'_, T>>,
        out: &mut [T],
    ) {
        assert!(first + d.count <= x.count && weights.count >= x.count, "changed rows and weights must fit the window");
        let (zero, pad) = ([T::ZERO; LANES], pad.filter(|p| p.pad.rows > 0));
        for (at, n) in blocks(out.len()) {
            let y: [T; LANES] = load(&y[at..at + n]);
            let rest = rest(x, &weights, &y, pad, at, n);
            let mut sums = Change { above: zero, below: zero, largest: zero };
            // lanes behind the channels must not look as if everything had dropped out
            sums.below[n..].fill(T::ONE);
            for i in 0..x.count {
                let w = weights.lanes(i, at, n);
                if (first..first + d.count).contains(&i) {
                    sums.changed::<I>(&w, &x.lanes(i, at, n), (&y, &rest), &d.lanes(i - first, at, n));
                } else {
                    sums.unchanged(&w);
                }
            }
            if let Some(p) = pad {
                let (mut w, rows): ([T; LANES], _) = (load(&p.weights[at..at + n]), T::of(p.pad.rows as f64));
                for w in &mut w {
                    *w *= rows;
                }
                if p.change == T::ZERO {
                    sums.unchanged(&w);
                } else {
                    sums.changed::<I>(&w, &[p.pad.value; LANES], (&y, &rest), &[p.change; LANES]);
                }
            }
            let mut change = zero;
            for l in 0..LANES {
                change[l] = sums.above[l] / sums.below[l];
            }
            // two loops, or the compiler makes neither wide
            let mut far = [0u32; LANES];
            for l in 0..LANES {
                far[l] = u32::from(sums.largest[l] > T::of(LARGE_CHANGE)) | u32::from(sums.below[l] < T::of(SMALL_REST));
            }
            if far.iter().sum::<u32>() > 0 {
                let resummed = resum::<I, T>(x, &y, d, first, pad, at, n);
                for l in 0..LANES {
                    change[l] = if far[l] > 0 { resummed[l] - rest[l] } else { change[l] };
                }
            }
            store(&change, &mut out[at..at + n]);
        }
    }
}

/// What rounding left of y: `sum w (x - y)`. The delta form stands on that sum being 0; where most of the weight drops out, the
/// change would be wrong by what is left of it, divided by the weight that stays.
#[inline(always)]
fn rest<T: Float>(
    x: Rows<'_, T>,
    weights: &Rows<'_, T>,
    y: &[T; LANES],
    pad: Option<PadChange<'_, T>>,
    at: usize,
    n: usize,
) -> [T; LANES] {
    let mut rest = [T::ZERO; LANES];
    for i in 0..x.count {
        let (w, x): ([T; LANES], [T; LANES]) = (weights.lanes(i, at, n), x.lanes(i, at, n));
        for l in 0..LANES {
            rest[l] += w[l] * (x[l] - y[l]);
        }
    }
    if let Some(p) = pad {
        let (w, rows): ([T; LANES], _) = (load(&p.weights[at..at + n]), T::of(p.pad.rows as f64));
        for l in 0..LANES {
            rest[l] += w[l] * rows * (p.pad.value - y[l]);
        }
    }
    rest
}

/// Sums of the delta form, one a channel.
struct Change<T> {
    /// Above the fraction bar.
    above: [T; LANES],
    /// Below it: what is left of the old weights.
    below: [T; LANES],
    /// Largest increase of a row.
    largest: [T; LANES],
}

impl<T: Float> Change<T> {
    #[inline(always)]
    fn unchanged(&mut self, w: &[T; LANES]) {
        for l in 0..LANES {
            self.below[l] += w[l];
        }
    }

    #[inline(always)]
    fn changed<I: Isa>(&mut self, w: &[T; LANES], x: &[T; LANES], y: (&[T; LANES], &[T; LANES]), d: &[T; LANES]) {
        for l in 0..LANES {
            let (e, m) = d[l].at_most(T::of(LARGE_CHANGE)).at_least(T::EXP_LOW).exp_and_expm1::<I>();
            let term = e.fma::<I>(d[l].at_least(T::EXP_LOW), m * (x[l] - y.0[l] - y.1[l]));
            self.above[l] = w[l].fma::<I>(term, self.above[l]);
            self.below[l] = w[l].fma::<I>(e, self.below[l]);
            self.largest[l] = if d[l] > self.largest[l] { d[l] } else { self.largest[l] };
        }
    }
}

/// The change of y as sum of the new weights times x + d - y: for large changes, where no digits are lost that way.
#[inline(always)]
fn resum<I: Isa, T: Float>(
    x: Rows<'_, T>,
    y: &[T; LANES],
    d: Rows<'_, T>,
    first: usize,
    pad: Option<PadChange<'_, T>>,
    at: usize,
    n: usize,
) -> [T; LANES] {
    let rows = x.count + usize::from(pad.is_some());
    let distance = |i: usize| {
        let mut v = match pad {
            Some(p) if i == x.count => [p.pad.value; LANES],
            _ => x.lanes(i, at, n),
        };
        let change = match pad {
            Some(p) if i == x.count => [p.change; LANES],
            _ if (first..first + d.count).contains(&i) => d.lanes(i - first, at, n),
            _ => [T::ZERO; LANES],
        };
        for l in 0..LANES {
            v[l] = (v[l] - y[l]) + change[l];
        }
        v
    };
    let (mut top, mut sums, mut above) = ([-T::INFINITY; LANES], [T::ZERO; LANES], [T::ZERO; LANES]);
    for i in 0..rows {
        let v = distance(i);
        for l in 0..LANES {
            top[l] = if v[l] > top[l] { v[l] } else { top[l] };
        }
    }
    for i in 0..rows {
        let v = distance(i);
        let times = pad.filter(|_| i == x.count).map_or(T::ONE, |p| T::of(p.pad.rows as f64));
        for l in 0..LANES {
            let e = (v[l] - top[l]).exp_decay::<I>() * times;
            sums[l] += e;
            above[l] = e.fma::<I>(v[l], above[l]);
        }
    }
    for l in 0..LANES {
        above[l] = above[l] / sums[l];
    }
    above
}

/// Where [`cell`] leaves the exponentials of its rows, the padding counted as one row behind them.
struct Keep<'a, T> {
    data: &'a mut [T],
    pitch: usize,
    rows: usize,
}

/// Sum of exponentials below the maximum, and value of the window, for channels `at..at + n`.
#[inline(always)]
fn cell<I: Isa, T: Float>(
    x: Rows<'_, T>,
    pad: Pad<T>,
    at: usize,
    n: usize,
    mut keep: Option<Keep<'_, T>>,
) -> ([T; LANES], [T; LANES]) {
    let padded = pad.rows > 0;
    let mut top = [if padded { pad.value } else { -T::INFINITY }; LANES];
    for i in 0..x.count {
        let v = x.lanes(i, at, n);
        for l in 0..LANES {
            top[l] = if v[l] > top[l] { v[l] } else { top[l] };
        }
    }
    let (mut sums, mut y) = ([T::ZERO; LANES], [T::ZERO; LANES]);
    for i in 0..x.count + usize::from(padded) {
        let (v, times) =
            if i < x.count { (x.lanes(i, at, n), T::ONE) } else { ([pad.value; LANES], T::of(pad.rows as f64)) };
        let mut e = v;
        for l in 0..LANES {
            e[l] = (v[l] - top[l]).exp_decay::<I>();
            let all = e[l] * times;
            sums[l] += all;
            y[l] = all.fma::<I>(v[l], y[l]);
        }
        if let Some(keep) = keep.as_mut().filter(|keep| i < keep.rows) {
            store(&e, &mut keep.data[i * keep.pitch + at..][..n]);
        }
    }
    for l in 0..LANES {
        y[l] = y[l] / sums[l];
    }
    (sums, y)
}

/// (first channel, number of channels) of every block. The last one overlaps its neighbour rather than being short, which would
/// cost copies: the channels that are computed twice get the same bits twice.
fn blocks(channels: usize) -> impl Iterator<Item = (usize, usize)> {
    let n = LANES.min(channels);
    (0..channels).step_by(LANES).map(move |at| (at.min(channels - n), n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::simd::at_every_level;

    /// Softmax of a column and its pooled value, in f64.
    fn reference(column: &[f64]) -> (Vec<f64>, f64) {
        let top = column.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let e: Vec<f64> = column.iter().map(|v| (v - top).exp()).collect();
        let s: f64 = e.iter().sum();
        let w: Vec<f64> = e.iter().map(|e| e / s).collect();
        let y = w.iter().zip(column).map(|(w, x)| w * x).sum();
        (w, y)
    }

    /// Column `c` of `count` rows, with the padding behind it.
    fn column<T: Float>(x: &[T], pitch: usize, count: usize, c: usize, pad: Pad<T>) -> Vec<f64> {
        let padding = std::iter::repeat_n(pad.value.f64(), pad.rows);
        (0..count).map(|i| x[i * pitch + c].f64()).chain(padding).collect()
    }

    fn wave<T: Float>(n: usize, step: f64, size: f64) -> Vec<T> {
        (0..n).map(|i| T::of((i as f64 * step).sin() * size)).collect()
    }

    #[test]
    fn the_example_of_the_specification() {
        let x = [1.0f32, 2.0, 0.0, -1.0, 3.0, 0.5, 2.0];
        let pad = Pad { rows: 1, value: -1.0 };
        let mut y = [0.0; 3];
        weighted_pool(Rows::new(&x, 1, 2), pad, &mut y[..1], None);
        weighted_pool(Rows::new(&x[2..], 1, 3), Pad::default(), &mut y[1..2], None);
        weighted_pool(Rows::new(&x[5..], 1, 2), pad, &mut y[2..], None);
        for (found, expected) in y.iter().zip([1.635_146_4f32, 2.791_571, 1.619_726_7]) {
            assert!((found - expected).abs() < 3e-7, "{y:?}");
        }
    }

    fn value_and_gradient<T: Float>(tolerance: f64) {
        for (count, channels, pitch, pad_rows) in
            [(1, 1, 1, 0), (3, 5, 9, 0), (6, 33, 33, 2), (4, 300, 310, 1), (10, 64, 64, 0)]
        {
            let x: Vec<T> = wave(count * pitch, 0.77, 4.0);
            let dy: Vec<T> = wave(channels, 1.3, 2.0);
            let pad = Pad { rows: pad_rows, value: T::of(-1.5) };
            let rows = Rows::new(&x, pitch, count);
            let (mut y, mut dx) = (vec![T::ZERO; channels], vec![T::of(7.0); (count + 1) * pitch]);
            let mut w = vec![T::ZERO; (count + usize::from(pad_rows > 0)) * channels];
            weighted_pool(rows, pad, &mut y, Some(&mut w));
            weighted_pool_gradient(rows, pad, &dy, &mut dx, pitch);
            let beside = |k: &usize| k / pitch >= count || k % pitch >= channels;
            assert!((0..dx.len()).filter(beside).all(|k| dx[k] == T::of(7.0)), "wrote beside the window");
            for c in 0..channels {
                let (weights, value) = reference(&column(&x, pitch, count, c, pad));
                assert!((y[c].f64() - value).abs() < tolerance);
                for i in 0..w.len() / channels {
                    assert!((w[i * channels + c].f64() - weights[i]).abs() < tolerance);
                }
                for i in 0..count {
                    let expected = dy[c].f64() * weights[i] * (1.0 + x[i * pitch + c].f64() - value);
                    assert!((dx[i * pitch + c].f64() - expected).abs() < 4.0 * tolerance, "{count} {channels} {i} {c}");
                }
            }
        }
    }

    #[test]
    fn values_weights_and_gradients() {
        at_every_level(|_| {
            value_and_gradient::<f32>(1e-6);
            value_and_gradient::<f64>(4e-15);
        });
    }

    #[test]
    fn gradient_is_a_central_difference() {
        let (x, h) = (wave::<f64>(5, 0.9, 2.0), 1e-5);
        let mut dx = [0.0; 5];
        weighted_pool_gradient(Rows::new(&x, 1, 5), Pad { rows: 2, value: 0.3 }, &[1.0], &mut dx, 1);
        for i in 0..5 {
            let at = |step: f64| {
                let (mut moved, mut y) = (x.clone(), [0.0]);
                moved[i] += step;
                weighted_pool(Rows::new(&moved, 1, 5), Pad { rows: 2, value: 0.3 }, &mut y, None);
                y[0]
            };
            assert!((dx[i] - (at(h) - at(-h)) / (2.0 * h)).abs() < 1e-9);
        }
    }

    /// Largest error of the delta, relative to the largest change of an input, in units of `T`'s rounding.
    fn delta_error<T: Float>(size: f64, offset: f64, first: usize, changed: usize, pad_change: f64) -> f64 {
        let (count, channels) = (6, 37);
        let x: Vec<T> = wave::<T>(count * channels, 0.77, 3.0).into_iter().map(|v| v + T::of(offset)).collect();
        let d: Vec<T> = wave(changed * channels, 0.41, size);
        let pad = Pad { rows: 2, value: T::of(offset - 2.0) };
        let (mut y, mut w) = (vec![T::ZERO; channels], vec![T::ZERO; (count + 1) * channels]);
        let rows = Rows::new(&x, channels, count);
        weighted_pool(rows, pad, &mut y, Some(&mut w));
        let padding = PadChange { pad, change: T::of(pad_change), weights: &w[count * channels..] };
        let mut out = vec![T::ZERO; channels];
        let weights = Rows::new(&w, channels, count);
        weighted_pool_delta(rows, weights, &y, Rows::new(&d, channels, changed), first, Some(padding), &mut out);
        let mut worst = 0.0f64;
        for c in 0..channels {
            let before = column(&x, channels, count, c, pad);
            let change: Vec<f64> = (0..before.len())
                .map(|i| match i {
                    i if i >= count => T::of(pad_change).f64(),
                    i if (first..first + changed).contains(&i) => d[(i - first) * channels + c].f64(),
                    _ => 0.0,
                })
                .collect();
            // exact to rounding: the sum over small changes is taken along the path, the gradient at 4 Gauss points of 16 pieces
            let largest = change.iter().fold(0.0f64, |m, d| m.max(d.abs()));
            let exact = if largest < 1.0 {
                let nodes = [
                    (0.069_431_844_202_973_71, 0.173_927_422_568_726_93),
                    (0.330_009_478_207_571_87, 0.326_072_577_431_273_07),
                ];
                let mut sum = 0.0;
                for piece in 0..16 {
                    for (node, weight) in nodes.iter().flat_map(|(n, w)| [(*n, *w), (1.0 - n, *w)]) {
                        let t = (f64::from(piece) + node) / 16.0;
                        let at: Vec<f64> = before.iter().zip(&change).map(|(x, d)| x + t * d).collect();
                        let (s, y) = reference(&at);
                        let slope: f64 = (0..at.len()).map(|i| s[i] * (1.0 + at[i] - y) * change[i]).sum();
                        sum += weight / 16.0 * slope;
                    }
                }
                sum
            } else {
                let after: Vec<f64> = before.iter().zip(&change).map(|(x, d)| x + d).collect();
                reference(&after).1 - reference(&before).1
            };
            worst = worst.max((out[c].f64() - exact).abs() / largest);
        }
        worst
    }

    #[test]
    fn deltas_are_relative_to_the_change() {
        at_every_level(|level| {
            for size in [1e-6, 1e-3, 0.1, 0.9, 5.0, 25.0, 80.0, 1e4] {
                for (first, changed) in [(0, 1), (2, 3), (0, 6), (5, 1)] {
                    for pad_change in [0.0, size * 0.3] {
                        let e = delta_error::<f32>(size, 0.0, first, changed, pad_change);
                        assert!(e < 4e-6, "f32 {level:?} size {size} {first}+{changed}: {e:e}");
                        let e = delta_error::<f64>(size, 0.0, first, changed, pad_change);
                        assert!(e < 1e-13, "f64 {level:?} size {size} {first}+{changed}: {e:e}");
                    }
                }
            }
        });
    }

    #[test]
    fn deltas_of_everything_dropping_out() {
        // one row holds all weight and falls far below the others; all rows fall together
        for (x, d) in [([60.0f32, 0.0, 1.0], [-100.0f32, 0.0, 0.0]), ([1.0, 2.0, 3.0], [-100.0, -100.0, -100.0])] {
            let (mut y, mut w, mut out) = ([0.0], [0.0; 3], [0.0]);
            weighted_pool(Rows::new(&x, 1, 3), Pad::default(), &mut y, Some(&mut w));
            weighted_pool_delta(Rows::new(&x, 1, 3), Rows::new(&w, 1, 3), &y, Rows::new(&d, 1, 3), 0, None, &mut out);
            let wide = |x: &[f32]| x.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
            let after: Vec<f64> = wide(&x).iter().zip(wide(&d)).map(|(x, d)| x + d).collect();
            let exact = reference(&after).1 - reference(&wide(&x)).1;
            assert!((f64::from(out[0]) - exact).abs() < 1e-6 * exact.abs(), "{} {exact}", out[0]);
        }
    }

    #[test]
    fn bits_do_not_depend_on_other_channels() {
        let (count, channels) = (4, 71);
        let x: Vec<f32> = wave(count * channels, 0.77, 3.0);
        let d: Vec<f32> = (0..2 * channels).map(|i| if i % 9 == 0 { 200.0 } else { 0.01 * i as f32 }).collect();
        at_every_level(|_| {
            let run = |from: usize, n: usize| {
                let (mut y, mut w, mut out) = (vec![0.0; n], vec![0.0; count * n], vec![0.0; n]);
                let rows = Rows::new(&x[from..], channels, count);
                weighted_pool(rows, Pad::default(), &mut y, Some(&mut w));
                let d = Rows::new(&d[from..], channels, 2);
                weighted_pool_delta(rows, Rows::new(&w, n, count), &y, d, 1, None, &mut out);
                let mut dx = vec![0.0; count * n];
                weighted_pool_gradient(rows, Pad::default(), &y, &mut dx, n);
                let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                (bits(&y), bits(&out), bits(&dx[..n]))
            };
            let whole = run(0, channels);
            for (from, n) in [(0, 1), (3, 40), (70, 1), (32, 32), (9, 62)] {
                let part = run(from, n);
                let at = from..from + n;
                assert_eq!(part, (whole.0[at.clone()].to_vec(), whole.1[at.clone()].to_vec(), whole.2[at].to_vec()));
            }
        });
    }

    #[test]
    fn nan_goes_through() {
        let (mut y, mut w) = ([0.0; 2], [0.0; 4]);
        let x = [f32::NAN, 1.0, 2.0, 1.0];
        weighted_pool(Rows::new(&x, 2, 2), Pad::default(), &mut y, Some(&mut w));
        assert!(y[0].is_nan() && y[1] == 1.0);
        let mut out = [0.0; 2];
        let x = [0.0, 1.0, 2.0, 1.0];
        weighted_pool(Rows::new(&x, 2, 2), Pad::default(), &mut y, Some(&mut w));
        weighted_pool_delta(
            Rows::new(&x, 2, 2),
            Rows::new(&w, 2, 2),
            &y,
            Rows::new(&[f32::NAN, 0.5], 2, 1),
            0,
            None,
            &mut out,
        );
        assert!(out[0].is_nan() && out[1].is_finite());
    }

    /// As the timing of activations: `cargo test --lib -- --ignored --nocapture ns_per_pooled`.
    #[test]
    #[ignore = "timing"]
    fn ns_per_pooled_element() {
        let (size, channels, windows) = (6, 300, 40);
        let x: Vec<f32> = wave(size * channels * windows, 0.37, 3.0);
        let d: Vec<f32> = wave(2 * channels, 0.11, 0.2);
        let (mut y, mut w, mut dx) = (vec![0.0; channels], vec![0.0; size * channels], x.clone());
        at_every_level(|level| {
            let time = |name: &str, f: &mut dyn FnMut(usize)| {
                let mut best = f64::INFINITY;
                for _ in 0..50 {
                    let start = std::time::Instant::now();
                    (0..windows).for_each(&mut *f);
                    best = best.min(start.elapsed().as_secs_f64() / (windows * channels) as f64 * 1e9);
                }
                println!("{level:?} {name}: {best:.3} ns an output");
            };
            let window = |i: usize| Rows::new(&x[i * size * channels..], channels, size);
            let pad = Pad::default();
            time("pool of 6", &mut |i| weighted_pool(window(i), pad, &mut y, None));
            time("pool of 6 with weights", &mut |i| weighted_pool(window(i), pad, &mut y, Some(&mut w)));
            time("pool of 6, gradient", &mut |i| {
                weighted_pool_gradient(window(i), pad, &d[..channels], &mut dx, channels)
            });
            let weights = Rows::new(&w, channels, size);
            let mut out = vec![0.0; channels];
            time("pool of 6, delta of 2 rows", &mut |i| {
                weighted_pool_delta(window(i), weights, &y, Rows::new(&d, channels, 2), 1, None, &mut out);
            });
        });
    }
}
