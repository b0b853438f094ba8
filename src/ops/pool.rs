//! Pooling over positions: maximum, mean, and the softmax-weighted mean `y = sum_i x_i softmax(x)_i` of a window.
//!
//! x `[N, L, C]` to y `[N, Lo, C]`, `Lo = (L + left + right - size) / stride + 1`; rows beyond the last window are dropped.
//! PyTorch: `max_pool1d`, `avg_pool1d(count_include_pad=False)`; the weighted form is
//! `(x * x.softmax(-1)).sum(-1)` over unfolded windows.
//!
//! What padding holds ([`Padding`]): the maximum and the mean leave it out (the maximum can also see zeros, as the skip
//! connections of the reference do); the weighted mean leaves it out or fills it with a minimum, as the reference does.

mod cuda;

use crate::error::{Error, Result};
use crate::real;
use crate::tape::{Cx, Delta, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::{self, Real, Tensor};
use crate::util::math::{self, Pad, PadChange, Rows};
use crate::util::par;

/// What a window is reduced to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// The largest value; the first of equal ones gets the gradient.
    Max,
    /// The mean of what is there.
    Mean,
    /// The softmax-weighted mean, parameter free.
    Weighted,
}

/// What padded rows count as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// Nothing: they have no weight.
    Exclude,
    /// Zeros (maximum only).
    Zero,
    /// The minimum of the sequence's own map, a constant in the gradient (weighted only).
    SequenceMin,
    /// The minimum of the whole batch, a constant in the gradient (weighted only): a prediction then depends on its neighbours.
    BatchMin,
}

/// Geometry and kind of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolArgs {
    /// Reduction.
    pub kind: PoolKind,
    /// Rows of a window.
    pub size: usize,
    /// Distance of two windows.
    pub stride: usize,
    /// Padded rows before and after.
    pub pad: (usize, usize),
    /// What they count as.
    pub padding: Padding,
}

impl PoolArgs {
    /// Output rows for `l` input rows.
    ///
    /// # Errors
    /// [`Error::Argument`] for sizes that cannot be, or a window longer than the padded sequence.
    pub fn output(&self, l: usize) -> Result<usize> {
        let bad = |what: String| Err(Error::Argument { op: "pool", what });
        if self.size == 0 || self.stride == 0 {
            return bad(format!("size {} and stride {}: expected at least 1 each", self.size, self.stride));
        }
        if self.pad.0 >= self.size || self.pad.1 >= self.size + self.stride {
            return bad(format!(
                "padding {:?} would make windows of nothing but padding (size {})",
                self.pad, self.size
            ));
        }
        match (self.kind, self.padding) {
            (_, Padding::Exclude)
            | (PoolKind::Max, Padding::Zero)
            | (PoolKind::Weighted, Padding::SequenceMin | Padding::BatchMin) => {}
            (kind, padding) => return bad(format!("padding {padding:?} is not defined for {kind:?}")),
        }
        let Some(room) = (l + self.pad.0 + self.pad.1).checked_sub(self.size) else {
            return bad(format!("a window of {} rows does not fit into {l} rows padded by {:?}", self.size, self.pad));
        };
        let windows = room / self.stride + 1;
        if (windows - 1) * self.stride >= l + self.pad.0 {
            return bad(format!("the last of {windows} windows holds nothing but padding ({l} rows, {:?})", self.pad));
        }
        Ok(windows)
    }

    /// Input rows of window `o`, and how many padded rows it has besides.
    pub(super) fn inputs(&self, o: usize, l: usize) -> (std::ops::Range<usize>, usize) {
        let first = (o * self.stride).saturating_sub(self.pad.0).min(l);
        let last = (o * self.stride + self.size).saturating_sub(self.pad.0).min(l);
        (first..last, self.size - (last - first))
    }

    pub(super) fn is_padded(&self, l: usize, lo: usize) -> bool {
        self.pad.0 > 0 || self.inputs(lo - 1, l).1 > 0
    }
}

/// Pools `x` `[N, L, C]` over positions; see the head of this file.
///
/// # Errors
/// [`Error::Shape`] unless x has rank 3, [`Error::Argument`] for arguments that do not fit.
pub fn pool(tape: &mut Tape, x: &Var, args: PoolArgs) -> Result<Var> {
    let [_, l, _] = super::checked_rank(x, "pool", "x [N, L, C]")?;
    args.output(l)?;
    tape.apply(Pool { a: args, l }, &[x])
}

/// The record of a pool of maps of `l` rows; a part of the record of [`super::stem_pool`].
pub(super) struct Pool {
    pub(super) a: PoolArgs,
    pub(super) l: usize,
}

impl Pool {
    /// The value that padding has, per sequence; `None` if it has none or there is none.
    fn fill<T: Real>(&self, x: &[T], n: usize, lo: usize) -> Vec<Option<T>> {
        if !self.a.is_padded(self.l, lo) {
            return vec![None; n];
        }
        let least = |x: &[T]| x.iter().copied().fold(x[0], smaller);
        match self.a.padding {
            Padding::Exclude => vec![None; n],
            Padding::Zero => vec![Some(T::default()); n],
            Padding::SequenceMin => par::map(n, |i| Some(least(&x[i * x.len() / n..][..x.len() / n]))),
            Padding::BatchMin => vec![Some(least(x)); n],
        }
    }

    /// One window: `x` = rows of one sequence from `first` on, the padding's value if it has one.
    pub(super) fn cell<T: Real>(&self, x: &[T], first: usize, o: usize, fill: Option<T>, y: &mut [T]) {
        let c = y.len();
        let (rows, padded) = self.a.inputs(o, self.l);
        let rows = rows.start - first..rows.end - first;
        let fill = fill.filter(|_| padded > 0);
        match self.a.kind {
            PoolKind::Weighted => {
                let pad = fill.map_or(Pad::default(), |value| Pad { rows: padded, value });
                math::weighted_pool(Rows::new(&x[rows.start * c..], c, rows.len()), pad, y, None);
            }
            PoolKind::Mean => {
                y.copy_from_slice(&x[rows.start * c..][..c]);
                for p in rows.start + 1..rows.end {
                    math::add(&x[p * c..][..c], y);
                }
                math::scale(T::of(1.0 / rows.len() as f64), y);
            }
            PoolKind::Max => {
                y.copy_from_slice(&x[rows.start * c..][..c]);
                for p in rows.start + 1..rows.end {
                    for (y, &x) in y.iter_mut().zip(&x[p * c..][..c]) {
                        *y = if x > *y || x.is_nan() { x } else { *y };
                    }
                }
                if let Some(v) = fill {
                    y.iter_mut().for_each(|y| *y = if v > *y { v } else { *y });
                }
            }
        }
    }

    /// Adds the gradient of one window to `dx`, whose first row is row `first` of the sequence; that of `x` is row `x_first`.
    pub(super) fn cell_backward<T: Real>(
        &self,
        (x, x_first): (&[T], usize),
        o: usize,
        fill: Option<T>,
        dy: &[T],
        first: usize,
        dx: &mut [T],
        work: &mut Vec<T>,
    ) {
        let c = dy.len();
        let (rows, padded) = self.a.inputs(o, self.l);
        let fill = fill.filter(|_| padded > 0);
        let at = (rows.start - first) * c;
        let rows = rows.start - x_first..rows.end - x_first;
        match self.a.kind {
            PoolKind::Weighted => {
                let pad = fill.map_or(Pad::default(), |value| Pad { rows: padded, value });
                // Windows are disjoint: written, not added.
                math::weighted_pool_gradient(Rows::new(&x[rows.start * c..], c, rows.len()), pad, dy, &mut dx[at..], c);
            }
            PoolKind::Mean => {
                for p in 0..rows.len() {
                    math::axpy(T::of(1.0 / rows.len() as f64), dy, &mut dx[at + p * c..][..c]);
                }
            }
            PoolKind::Max => {
                work.resize(c, T::default());
                self.cell(x, x_first, o, fill, work);
                for j in 0..c {
                    // Padding that wins takes the gradient with it.
                    if let Some(p) = rows.clone().position(|p| x[p * c + j] == work[j]) {
                        let d = &mut dx[at + p * c + j];
                        *d += dy[j];
                    }
                }
            }
        }
    }
}

impl Op for Pool {
    fn name(&self) -> &'static str {
        "pool"
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        let [n, l, c] = x[0].dims("pool", "x")?;
        let lo = self.a.output(l)?;
        save.put(0, save.keep.any(), x[0]);
        if self.a.kind == PoolKind::Weighted && self.a.stride != self.a.size {
            return Err(Error::Unsupported {
                op: "pool",
                what: format!("a weighted pool of size {} with stride {}; use equal ones", self.a.size, self.a.stride),
            });
        }
        if let Some(gpu) = x[0].gpu() {
            return cuda::forward(self, gpu, x[0], lo);
        }
        real!("pool", x[0], T => {
            let x = x[0].cpu::<T>()?;
            let fill = self.fill(x, n, lo);
            let mut y = tensor::stale::<T>(n * lo * c);
            par::rows(&mut y, c, |first, y| {
                for (r, y) in y.chunks_exact_mut(c).enumerate() {
                    let (i, o) = ((first + r) / lo, (first + r) % lo);
                    self.cell(&x[i * l * c..][..l * c], 0, o, fill[i], y);
                }
            });
            Ok(Tensor::of(&[n, lo, c], y))
        })
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        let ([r, lo, c], l) = (dy.dims("pool", "dy")?, self.l);
        let x = cx.saved(0)?;
        if let Some(gpu) = Tensor::place("pool", &[x, dy])? {
            return Ok(vec![Some(cuda::backward(self, gpu, x, cx, dy)?)]);
        }
        real!("pool", dy, T => {
            let (x, g) = (x.cpu::<T>()?, dy.cpu::<T>()?);
            let fill = self.fill(x, x.len() / (l * c), lo);
            let mut dx = tensor::zeros::<T>(r * l * c);
            // Disjoint windows split anywhere; overlapping ones only between sequences.
            let per = if self.a.stride >= self.a.size { (4096usize.div_ceil(c)).max(8) } else { lo };
            let mut tasks = Vec::new();
            for (i, mut piece) in dx.chunks_exact_mut(l * c).enumerate() {
                let mut from = 0;
                for o in (0..lo).step_by(per) {
                    let to = if o + per >= lo { l } else { self.a.inputs(o + per, l).0.start };
                    let (head, rest) = std::mem::take(&mut piece).split_at_mut((to - from) * c);
                    tasks.push((i, o, from, head));
                    (piece, from) = (rest, to);
                }
            }
            par::each(tasks, |(i, o, from, dx)| {
                let (n, mut work) = (cx.base(i), vec![]);
                for o in o..(o + per).min(lo) {
                    let dy = &g[(i * lo + o) * c..][..c];
                    self.cell_backward((&x[n * l * c..][..l * c], 0), o, fill[n], dy, from, dx, &mut work);
                }
            });
            Ok(vec![Some(Tensor::of(&[r, l, c], dx))])
        })
    }

    fn rescale(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        match self.a.kind {
            PoolKind::Mean => self.backward(cx, dy),
            kind => Err(Error::Unsupported { op: "pool", what: format!("the rescale sweep (DeepLIFT) of {kind:?}") }),
        }
    }

    fn window(&self, x: &[Option<&Window>], len: usize) -> Window {
        let (size, stride, left) = (self.a.size as i32, self.a.stride as i32, self.a.pad.0 as i32);
        let first = |p: i32| (p + left - size).div_euclid(stride) + 1;
        Window::hull(x).mapped(len, first, |p| (p + left).div_euclid(stride))
    }

    fn is_linear(&self) -> bool {
        self.a.kind == PoolKind::Mean
    }

    fn may_escape(&self) -> bool {
        self.a.output(self.l).is_ok_and(|lo| self.may_move(lo) || self.depends_on_neighbours(lo))
    }

    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let (x, from) = (cx.saved(0)?, super::changed(dx, 0)?);
        if let Some(gpu) = Tensor::place("pool", &[x, from.rows()?])? {
            return cuda::delta(self, gpu, x, cx, from.rows()?, &from.at, to);
        }
        let ([_, l, c], m) = (x.dims("pool", "x")?, to.mutants());
        real!("pool", x, T => {
            let kept = cx.prepared(|| self.prepare::<T>(x.cpu()?, c, to.len))?;
            let (x, d) = (x.cpu::<T>()?, from.rows()?.cpu::<T>()?);
            let moved = match &kept.minima {
                Some(minima) => self.moved_minima(cx, x, minima, from, d, c, to),
                None => vec![T::default(); m],
            };
            let mut y = tensor::zeros::<T>(to.width * m * c);
            let mut work = vec![T::default(); c];
            for (r, i, o) in to.cells() {
                let rows = self.a.inputs(o, l).0;
                let start = i64::from(from.at.start[i]);
                // The changed rows of the window are consecutive: from a to b.
                let a = rows.start.max(usize::try_from(start).unwrap_or(0));
                let b = rows.end.min(usize::try_from(start + from.at.width as i64).unwrap_or(0));
                let n = cx.base(i);
                let first = from.at.row(i, a).filter(|_| a < b).unwrap_or(0);
                let changed = (a..b, &d[first * c..], m * c);
                self.cell_change(kept, &x[n * l * c..][..l * c], [n, o, to.len], changed, moved[i], &mut work, &mut y[r * c..][..c]);
            }
            Ok(Tensor::of(&[to.width, m, c], y))
        })
    }
}

/// What delta sweeps need besides the map itself, made once a tape.
pub(super) struct Kept<T> {
    /// Value of the padding, per sequence, if it has one.
    fill: Vec<Option<T>>,
    /// Softmax weight of every row in its window, `[N, L, C]`, and the pooled values, `[N, Lo, C]`, of a weighted pool.
    weights: Vec<T>,
    value: Vec<T>,
    /// (sequence, window, weight of one padding row `[C]`) of the windows whose padding has a value.
    padded: Vec<(usize, usize, Vec<T>)>,
    /// Where the padding is the minimum of the map: per sequence and row, the minimum of all rows before, and of this and all
    /// behind, `[N, L + 1, 2]`.
    minima: Option<Vec<T>>,
}

impl<T: Real> Kept<T> {
    /// The padding of a window and the weight of one of its rows.
    fn pad(&self, n: usize, o: usize, rows: usize) -> Option<(Pad<T>, &[T])> {
        let value = self.fill[n].filter(|_| rows > 0)?;
        let weights = self.padded.iter().find(|w| (w.0, w.1) == (n, o)).map(|w| &*w.2)?;
        Some((Pad { rows, value }, weights))
    }
}

impl Pool {
    /// Whether the value of the padding is a minimum that a mutant can move.
    fn may_move(&self, lo: usize) -> bool {
        self.a.padding == Padding::SequenceMin && self.a.is_padded(self.l, lo)
    }

    fn depends_on_neighbours(&self, lo: usize) -> bool {
        self.a.padding == Padding::BatchMin && self.a.is_padded(self.l, lo)
    }

    fn refuse_neighbours(&self, lo: usize) -> Result<()> {
        if !self.depends_on_neighbours(lo) {
            return Ok(());
        }
        Err(Error::Unsupported {
            op: "pool",
            what: "the delta sweep with padding batch-min, where a prediction depends on its neighbours; use padding \
                   sequence-min or `--engine naive`"
                .into(),
        })
    }

    pub(super) fn prepare<T: Real>(&self, x: &[T], c: usize, lo: usize) -> Result<Kept<T>> {
        let l = self.l;
        let n = x.len() / (l * c);
        self.refuse_neighbours(lo)?;
        let fill = self.fill(x, n, lo);
        let minima = self.may_move(lo).then(|| {
            let mut minima = vec![T::of(f64::INFINITY); n * (l + 1) * 2];
            for (x, minima) in x.chunks_exact(l * c).zip(minima.chunks_exact_mut((l + 1) * 2)) {
                let row = |p: usize| x[p * c..][..c].iter().copied().fold(T::of(f64::INFINITY), smaller);
                for p in 0..l {
                    minima[(p + 1) * 2] = smaller(minima[p * 2], row(p));
                    let q = l - 1 - p;
                    minima[q * 2 + 1] = smaller(minima[(q + 1) * 2 + 1], row(q));
                }
            }
            minima
        });
        let mut kept = Kept { fill, weights: vec![], value: vec![], padded: vec![], minima };
        if self.a.kind == PoolKind::Weighted {
            (kept.weights, kept.value) = (vec![T::default(); x.len()], vec![T::default(); n * lo * c]);
            let windows: Vec<(&mut [T], &mut [T])> =
                kept.weights.chunks_exact_mut(l * c).zip(kept.value.chunks_exact_mut(lo * c)).collect();
            let fill = &kept.fill;
            let padded = par::map_each(windows, |i, (weights, value)| {
                let (mut padded, mut work) = (vec![], vec![]);
                for (o, value) in value.chunks_exact_mut(c).enumerate() {
                    let (rows, pads) = self.a.inputs(o, l);
                    let window = Rows::new(&x[(i * l + rows.start) * c..], c, rows.len());
                    match fill[i].filter(|_| pads > 0) {
                        Some(fill) => {
                            work.resize((rows.len() + 1) * c, T::default());
                            math::weighted_pool(window, Pad { rows: pads, value: fill }, value, Some(&mut work));
                            weights[rows.start * c..rows.end * c].copy_from_slice(&work[..rows.len() * c]);
                            padded.push((i, o, work[rows.len() * c..].to_vec()));
                        }
                        None => {
                            let weights = &mut weights[rows.start * c..rows.end * c];
                            math::weighted_pool(window, Pad::default(), value, Some(weights));
                        }
                    }
                }
                padded
            });
            kept.padded = padded.into_iter().flatten().collect();
        }
        Ok(kept)
    }

    /// How far every mutant moves the minimum of its map, which is the value of the padding. A mutant that moves it changes
    /// every padded window, and escapes unless `to` holds them all.
    fn moved_minima<T: Real>(
        &self,
        cx: &Cx,
        x: &[T],
        minima: &[T],
        from: &Delta,
        d: &[T],
        c: usize,
        to: &Window,
    ) -> Vec<T> {
        let (l, m) = (self.l, to.mutants());
        let padded: Vec<usize> = (0..to.len).filter(|&o| self.a.inputs(o, l).1 > 0).collect();
        let moved = (0..m).map(|i| {
            let (n, start) = (cx.base(i), i64::from(from.at.start[i]));
            let (x, minima) = (&x[n * l * c..][..l * c], &minima[n * (l + 1) * 2..]);
            let a = usize::try_from(start).unwrap_or(0).min(l);
            let b = usize::try_from(start + from.at.width as i64).unwrap_or(0).min(l);
            let old = minima[1];
            // Relative to the old minimum, so that nothing large is subtracted.
            let mut least = smaller(minima[a * 2] - old, minima[b * 2 + 1] - old);
            for p in a..b {
                let d = &d[from.at.row(i, p).expect("p lies inside the window of the change") * c..][..c];
                least = x[p * c..][..c].iter().zip(d).fold(least, |s, (&x, &d)| smaller(s, x - old + d));
            }
            if least != T::default() && padded.iter().any(|&o| to.row(i, o).is_none()) {
                cx.escape(i);
            }
            least
        });
        moved.collect()
    }

    /// Change of window `o` of `lo` of tape row n, whose map is `x` `[L, C]`. `changed`: the rows that change, their changes, and
    /// how far these are apart; `moved`: the change of the padding.
    pub(super) fn cell_change<T: Real>(
        &self,
        kept: &Kept<T>,
        x: &[T],
        [n, o, lo]: [usize; 3],
        changed: (std::ops::Range<usize>, &[T], usize),
        moved: T,
        work: &mut [T],
        out: &mut [T],
    ) {
        let (l, c) = (self.l, out.len());
        let (rows, padded) = self.a.inputs(o, l);
        let (positions, d, pitch) = changed;
        let none = positions.is_empty();
        if none && (padded == 0 || moved == T::default()) {
            return;
        }
        let (a, b) = if none { (rows.start, rows.start) } else { (positions.start, positions.end) };
        match self.a.kind {
            PoolKind::Weighted => {
                let weights = Rows::new(&kept.weights[(n * l + rows.start) * c..], c, rows.len());
                let value = &kept.value[(n * lo + o) * c..][..c];
                let changed = Rows::new(if none { &[] } else { d }, pitch, b - a);
                let pad = kept.pad(n, o, padded).map(|(pad, weights)| PadChange { pad, change: moved, weights });
                let window = Rows::new(&x[rows.start * c..], c, rows.len());
                math::weighted_pool_delta(window, weights, value, changed, a - rows.start, pad, out);
            }
            PoolKind::Mean => {
                let share = T::of(1.0 / rows.len() as f64);
                for p in 0..b - a {
                    math::axpy(share, &d[p * pitch..][..c], out);
                }
            }
            PoolKind::Max => {
                let fill = kept.fill[n].filter(|_| padded > 0);
                self.maximum_change(x, o, fill, (a..b, d, pitch), work, out);
            }
        }
    }

    /// Change of a maximum, relative to the old one, so that the new one is found among small numbers. `changed`: the rows
    /// that change, their changes, and how far these are apart.
    fn maximum_change<T: Real>(
        &self,
        x: &[T],
        o: usize,
        fill: Option<T>,
        changed: (std::ops::Range<usize>, &[T], usize),
        old: &mut [T],
        out: &mut [T],
    ) {
        let c = out.len();
        let old = &mut old[..c];
        self.cell(x, 0, o, fill, old);
        for (y, &old) in out.iter_mut().zip(&*old) {
            *y = fill.map_or(T::of(f64::NEG_INFINITY), |fill| fill - old);
        }
        let (positions, d, pitch) = changed;
        for p in self.a.inputs(o, self.l).0 {
            let x = &x[p * c..][..c];
            if positions.contains(&p) {
                let d = &d[(p - positions.start) * pitch..][..c];
                for j in 0..c {
                    let v = x[j] - old[j] + d[j];
                    out[j] = if v > out[j] { v } else { out[j] };
                }
            } else {
                for j in 0..c {
                    let v = x[j] - old[j];
                    out[j] = if v > out[j] { v } else { out[j] };
                }
            }
        }
    }
}

/// The smaller number; NaN wins.
fn smaller<T: Real>(a: T, b: T) -> T {
    if b < a || b.is_nan() { b } else { a }
}

#[cfg(test)]
mod tests;
