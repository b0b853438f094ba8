//! First layer: convolution of sequences with kernels, on one strand or on both with the strands combined.
//!
//! `z[n, o, :] = b + sum_t W[t, base(n, o + t - left), :]`, and for the other strand the same with the sequence reverse
//! complemented and the result turned back, which is the convolution with `W'[t, c] = W[k - 1 - t, 3 - c]` and `left' = k - 1 - left`.
//! Then y = max, mean or softmax-weighted mean of the two.
//!
//! Shapes: bases `[N, L]` (packed, codes 0..=5) or one-hot-like rows `[N, L, 4]` (any numbers), W `[k, 4, O]`, b `[O]`, y `[N, L, O]`;
//! padding is 'same' with zeros. PyTorch: `conv1d` of the one-hot input, `maximum` with the flipped convolution of the flipped
//! input. The gradient of packed bases has the shape `[R, L, 4]`.
//!
//! Packed bases need no multiplication: a position picks a row of a table, four times less arithmetic than the one-hot
//! product. Backward computes the strands again instead of storing them.

pub(super) mod cuda;

use crate::error::{Error, Result};
use crate::real;
use crate::tape::{Change, Cx, Delta, Edit, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::gemm::{self, Gemm, Mat};
use crate::tensor::{self, DType, Real, Tensor};
use crate::util::math::{self, Float, Pad, Rows};
use crate::util::par;
use crate::util::simd::dispatch;

/// Letters of a table: A, C, G, T, unknown (zeros) and uniform.
pub(super) const LETTERS: usize = 6;
/// Channels that are summed at once: they stay in registers, their part of the table in the first-level cache.
const LANES: usize = 64;

/// How the two strands become one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strands {
    /// One strand only.
    Forward,
    /// The larger.
    Max,
    /// The mean.
    Mean,
    /// The mean with softmax weights.
    Weighted,
}

/// Geometry of the first layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StemArgs {
    /// Kernel width k.
    pub kernel: usize,
    /// Zero rows before the sequence; `k - 1 - left` follow it.
    pub left: usize,
    /// Strands.
    pub strands: Strands,
}

impl StemArgs {
    /// 'Same' padding as in the reference: `k / 2 - [k even]` rows before.
    pub fn same(kernel: usize, strands: Strands) -> Self {
        Self { kernel, left: (kernel / 2).saturating_sub(usize::from(kernel.is_multiple_of(2))), strands }
    }
}

/// Runs the first layer; see the head of this file.
///
/// # Errors
/// [`Error::Shape`] if the sizes do not fit, [`Error::Argument`] for an empty kernel.
pub fn stem(tape: &mut Tape, x: &Var, w: &Var, bias: Option<&Var>, args: StemArgs) -> Result<Var> {
    check("stem", x, w, bias, args)?;
    let inputs: Vec<&Var> = [x, w].into_iter().chain(bias).collect();
    tape.apply(Stem { a: args }, &inputs)
}

/// Refuses sizes that do not fit, in the name of `op`.
pub(super) fn check(op: &'static str, x: &Var, w: &Var, bias: Option<&Var>, args: StemArgs) -> Result<()> {
    let [k, four, o] = super::checked_rank(w, op, "weight [k, 4, O]")?;
    if args.kernel == 0 || args.left >= args.kernel {
        let what = format!("kernel {} with {} rows of padding: expected left < kernel", args.kernel, args.left);
        return Err(Error::Argument { op, what });
    }
    let wrong =
        |arg, expected: String, found: &Var| Err(Error::Shape { op, arg, expected, found: found.shape().to_vec() });
    if (k, four) != (args.kernel, 4) {
        return wrong("weight", format!("[{}, 4, O]", args.kernel), w);
    }
    let packed = x.value.dtype() == DType::U8;
    if !(packed && x.shape().len() == 2 || !packed && x.shape().len() == 3 && x.shape()[2] == 4) {
        return wrong("x", "packed bases [N, L] or numbers [N, L, 4]".into(), x);
    }
    match bias.filter(|b| b.shape() != [o]) {
        Some(b) => wrong("bias", format!("[{o}]"), b),
        None => Ok(()),
    }
}

/// The record of a first layer; a part of the record of [`super::stem_pool`].
pub(super) struct Stem {
    pub(super) a: StemArgs,
}

/// One strand as a plain convolution: its weights `[k, 4, O]` and padding.
pub(super) struct Strand<T> {
    w: Vec<T>,
    left: usize,
    /// `[k, LETTERS, O]`, for packed bases.
    table: Vec<T>,
}

impl<T: Gemm> Strand<T> {
    fn new(w: Vec<T>, left: usize, k: usize, o: usize) -> Self {
        let mut table = vec![T::default(); k * LETTERS * o];
        for t in 0..k {
            let rows = &w[t * 4 * o..][..4 * o];
            table[t * LETTERS * o..][..4 * o].copy_from_slice(rows);
            let uniform = &mut table[(t * LETTERS + 5) * o..][..o];
            for row in rows.chunks_exact(o) {
                math::axpy(T::of(0.25), row, uniform);
            }
        }
        Self { w, left, table }
    }
}

/// Kernels (or their gradients) for the other strand; its own inverse.
fn turned<T: Real>(w: &[T], k: usize, o: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(w.len());
    for t in (0..k).rev() {
        for c in (0..4).rev() {
            out.extend_from_slice(&w[(t * 4 + c) * o..][..o]);
        }
    }
    out
}

/// The sequences: packed, or rows of four numbers.
#[derive(Clone, Copy)]
pub(super) enum Input<'a, T> {
    Packed(&'a [u8]),
    Dense(&'a [T]),
}

impl<'a, T: Real> Input<'a, T> {
    pub(super) fn of(x: &'a Tensor) -> Result<Self> {
        if x.dtype() == DType::U8 { Ok(Self::Packed(x.codes()?)) } else { Ok(Self::Dense(x.cpu()?)) }
    }

    /// The input of one sequence of `l` positions.
    pub(super) fn sequence(&self, n: usize, l: usize) -> Self {
        match self {
            Self::Packed(x) => Self::Packed(&x[n * l..][..l]),
            Self::Dense(x) => Self::Dense(&x[n * l * 4..][..l * 4]),
        }
    }
}

impl Stem {
    pub(super) fn strands<T: Gemm>(&self, w: &[T], o: usize) -> Vec<Strand<T>> {
        let (k, left) = (self.a.kernel, self.a.left);
        let mut strands = vec![Strand::new(w.to_vec(), left, k, o)];
        if self.a.strands != Strands::Forward {
            strands.push(Strand::new(turned(w, k, o), k - 1 - left, k, o));
        }
        strands
    }

    /// Values of a strand at positions `from..to` of one sequence of `l` positions.
    pub(super) fn strand<T: Gemm>(
        &self,
        s: &Strand<T>,
        x: Input<T>,
        l: usize,
        bias: Option<&[T]>,
        from: usize,
        to: usize,
        z: &mut [T],
    ) {
        let (k, o) = (self.a.kernel, z.len() / (to - from));
        match x {
            Input::Packed(x) => table_sums(&s.table, x, bias, [k, s.left, o, from], z),
            Input::Dense(x) => {
                match bias {
                    Some(b) => z.chunks_exact_mut(o).for_each(|z| z.copy_from_slice(b)),
                    None => z.fill(T::default()),
                }
                for t in 0..k {
                    let a = from.max(s.left.saturating_sub(t));
                    let b = to.min((l + s.left).saturating_sub(t));
                    if a < b {
                        let x = Mat::new(&x[(a + t - s.left) * 4..], b - a, 4, 4);
                        gemm::add(x, Mat::new(&s.w[t * 4 * o..], 4, o, o), &mut z[(a - from) * o..], o);
                    }
                }
            }
        }
    }

    /// `y` from the values of both strands, in place of the first.
    pub(super) fn combine<T: Gemm>(&self, y: &mut [T], other: &[T]) {
        match self.a.strands {
            Strands::Forward => {}
            Strands::Max => y.iter_mut().zip(other).for_each(|(y, &r)| *y = if r > *y || r.is_nan() { r } else { *y }),
            Strands::Mean => y.iter_mut().zip(other).for_each(|(y, &r)| *y = (*y + r) * T::of(0.5)),
            Strands::Weighted => {
                let n = y.len();
                let both: Vec<T> = y.iter().chain(other).copied().collect();
                math::weighted_pool(Rows::new(&both, n, 2), Pad::default(), y, None);
            }
        }
    }

    /// Splits the gradient of y over the strands: `forward` holds dy and becomes its part, `reverse` gets the rest.
    pub(super) fn split<T: Gemm>(&self, zf: &[T], zr: &[T], forward: &mut [T], reverse: &mut [T]) {
        match self.a.strands {
            Strands::Forward => {}
            Strands::Max => {
                for ((f, r), (a, b)) in forward.iter_mut().zip(reverse).zip(zf.iter().zip(zr)) {
                    // Equal strands (palindromes) share the gradient, as in PyTorch's maximum.
                    let share = if a == b { T::of(0.5) } else { T::of(f64::from(u8::from(a > b))) };
                    *r = *f * (T::of(1.0) - share);
                    *f *= share;
                }
            }
            Strands::Mean => {
                math::scale(T::of(0.5), forward);
                reverse.copy_from_slice(forward);
            }
            Strands::Weighted => {
                let n = forward.len();
                let both: Vec<T> = zf.iter().chain(zr).copied().collect();
                let mut d = vec![T::default(); 2 * n];
                math::weighted_pool_gradient(Rows::new(&both, n, 2), Pad::default(), forward, &mut d, n);
                forward.copy_from_slice(&d[..n]);
                reverse.copy_from_slice(&d[n..]);
            }
        }
    }

    /// Gradients of the strands' values for every row of dy: one or two `[R, L, O]`.
    fn strand_gradients<T: Gemm>(
        &self,
        cx: &Cx,
        x: Input<T>,
        l: usize,
        strands: &[Strand<T>],
        bias: Option<&[T]>,
        dy: &[T],
        o: usize,
    ) -> Vec<Vec<T>> {
        let mut forward = tensor::stale::<T>(dy.len());
        forward.copy_from_slice(dy);
        if strands.len() == 1 {
            return vec![forward];
        }
        let mut reverse = tensor::stale::<T>(dy.len());
        let step = (1usize << 15).div_ceil(o);
        let mut tasks = vec![];
        for (r, (f, v)) in forward.chunks_exact_mut(l * o).zip(reverse.chunks_exact_mut(l * o)).enumerate() {
            for (i, piece) in f.chunks_mut(step * o).zip(v.chunks_mut(step * o)).enumerate() {
                tasks.push((r, i * step, piece));
            }
        }
        par::each(tasks, |(r, from, (f, v))| {
            let (x, rows) = (x.sequence(cx.base(r), l), f.len() / o);
            let (mut zf, mut zr) = (tensor::stale::<T>(f.len()), tensor::stale::<T>(f.len()));
            self.strand(&strands[0], x, l, bias, from, from + rows, &mut zf);
            self.strand(&strands[1], x, l, bias, from, from + rows, &mut zr);
            self.split(&zf, &zr, f, v);
            tensor::give_back(zf);
            tensor::give_back(zr);
        });
        vec![forward, reverse]
    }
}

impl Stem {
    /// Gradients of x, W and the bias, those that are wanted, from those of the strands `[R, L, O]`.
    pub(super) fn gradients<T: Gemm>(
        &self,
        op: &'static str,
        cx: &Cx,
        input: Input<T>,
        l: usize,
        strands: &[Strand<T>],
        dz: Vec<Vec<T>>,
    ) -> Result<Grads> {
        let (k, r) = (self.a.kernel, cx.rows.len());
        let o = dz[0].len() / (r * l).max(1);
        let mut grads = vec![None, None, None];
        if cx.wants(0) {
            let mut dx = tensor::zeros::<T>(r * l * 4);
            for (s, dz) in strands.iter().zip(&dz) {
                input_gradient(s, k, o, l, dz, &mut dx);
            }
            grads[0] = Some(Tensor::of(&[r, l, 4], dx));
        }
        if cx.wants(1) || cx.wants(2) {
            cx.whole_batch(op)?;
        }
        if cx.wants(1) {
            let mut dw = weight_gradient(input, k, strands[0].left, o, l, &dz[0]);
            if let Some(other) = dz.get(1) {
                let other = weight_gradient(input, k, strands[1].left, o, l, other);
                math::add(&turned(&other, k, o), &mut dw);
            }
            grads[1] = Some(Tensor::of(&[k, 4, o], dw));
        }
        if cx.wants(2) {
            let mut db = par::column_sums(&dz[0], o);
            if let Some(other) = dz.get(1) {
                math::add(&par::column_sums(other, o), &mut db);
            }
            grads[2] = Some(Tensor::of(&[o], db));
        }
        dz.into_iter().for_each(tensor::give_back);
        Ok(grads)
    }
}

impl Op for Stem {
    fn name(&self) -> &'static str {
        "stem"
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        let (n, l, o) = (x[0].shape()[0], x[0].shape()[1], x[1].shape()[2]);
        save.put(0, save.keep.any(), x[0]);
        save.put(1, save.keep.any(), x[1]);
        if let Some(b) = x.get(2) {
            save.put(2, save.keep.any(), b);
        }
        if let Some(gpu) = Tensor::place("stem", x)? {
            return cuda::forward(self, gpu, x[0], x[1], x.get(2).copied());
        }
        real!("stem", x[1], T => {
            let bias = x.get(2).map(|b| b.cpu::<T>()).transpose()?;
            let (strands, input) = (self.strands::<T>(x[1].cpu()?, o), Input::<T>::of(x[0])?);
            let mut y = tensor::stale::<T>(n * l * o);
            let step = (1usize << 15).div_ceil(o.max(1));
            let mut tasks = vec![];
            for (i, y) in y.chunks_exact_mut((l * o).max(1)).enumerate() {
                tasks.extend(y.chunks_mut(step * o).enumerate().map(|(p, y)| (i, p * step, y)));
            }
            par::each(tasks, |(i, from, y)| {
                let (x, to) = (input.sequence(i, l), from + y.len() / o);
                self.strand(&strands[0], x, l, bias, from, to, y);
                if let Some(s) = strands.get(1) {
                    let mut other = tensor::stale::<T>(y.len());
                    self.strand(s, x, l, bias, from, to, &mut other);
                    self.combine(y, &other);
                    tensor::give_back(other);
                }
            });
            Ok(Tensor::of(&[n, l, o], y))
        })
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        let [_, l, o] = dy.dims("stem", "dy")?;
        if let Some(gpu) = Tensor::place("stem", &[cx.saved(0)?, dy])? {
            return cuda::backward(self, gpu, cx, dy);
        }
        real!("stem", dy, T => {
            let bias = cx.saved(2).ok().map(|b| b.cpu::<T>()).transpose()?;
            let strands = self.strands::<T>(cx.saved(1)?.cpu()?, o);
            let input = Input::<T>::of(cx.saved(0)?)?;
            let dz = self.strand_gradients(cx, input, l, &strands, bias, dy.cpu()?, o);
            self.gradients("stem", cx, input, l, &strands, dz)
        })
    }

    fn rescale(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        match self.a.strands {
            Strands::Forward | Strands::Mean => self.backward(cx, dy),
            strands => Err(Error::Unsupported {
                op: "stem",
                what: format!("the rescale sweep (DeepLIFT) with strands combined by {strands:?}"),
            }),
        }
    }

    fn window(&self, x: &[Option<&Window>], len: usize) -> Window {
        let (k, left) = (self.a.kernel, self.a.left);
        // Position p reaches outputs p + left - (k - 1) ..= p + left on one strand, mirrored padding on the other.
        let most = if self.a.strands == Strands::Forward { left } else { left.max(k - 1 - left) };
        let least = if self.a.strands == Strands::Forward { left } else { left.min(k - 1 - left) };
        Window::hull(x).shifted(least as i32 - (k as i32 - 1), k - 1 + most - least, len)
    }

    fn is_linear(&self) -> bool {
        matches!(self.a.strands, Strands::Forward | Strands::Mean)
    }

    /// Edited bases, that is.
    fn takes_rows(&self) -> bool {
        true
    }

    /// Additions from a table, counted as the products with a column of four numbers that they stand for.
    fn products(&self, cx: &Cx, x: &[Option<&Window>], _: &Window) -> f64 {
        cx.saved(1).map_or(0.0, |w| (Window::hull(x).width * w.len()) as f64)
    }

    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let (x, change, m) = (cx.saved(0)?, super::changed(dx, 0)?, to.mutants());
        if let Some(gpu) = x.gpu() {
            if let Change::Rows(rows) = &change.change {
                Tensor::place("stem", &[x, rows])?;
            }
            return cuda::delta(self, gpu, cx, change, to);
        }
        let (l, o, k) = (x.shape()[1], cx.saved(1)?.shape()[2], self.a.kernel);
        real!("stem", cx.saved(1)?, T => {
            let Kept { strands, values } = cx.prepared(|| self.prepare::<T>(cx, x, o))?;
            let mut d: Vec<Vec<T>> = strands.iter().map(|_| tensor::zeros(to.width * m * o)).collect();
            for (s, d) in strands.iter().zip(&mut d) {
                match &change.change {
                    Change::Bases(edits) => {
                        let codes = x.codes()?;
                        for (i, mutant) in edits.iter().enumerate() {
                            let old = &codes[cx.base(i) * l..][..l];
                            for e in mutant {
                                edit(s, k, o, *e, old[e.at], |p| to.row(i, p), d);
                            }
                        }
                    }
                    Change::Rows(rows) => {
                        let rows = rows.cpu::<T>()?;
                        for (r, i, p) in to.cells() {
                            for t in 0..k {
                                let Some(q) = (p + t).checked_sub(s.left).filter(|&q| q < l) else { continue };
                                if let Some(row) = change.at.row(i, q) {
                                    let (row, w) = (Mat::new(&rows[row * 4..], 1, 4, 4), Mat::new(&s.w[t * 4 * o..], 4, o, o));
                                    gemm::add(row, w, &mut d[r * o..], o);
                                }
                            }
                        }
                    }
                }
            }
            if d.len() == 1 {
                return Ok(Tensor::of(&[to.width, m, o], d.swap_remove(0)));
            }
            let mut y = tensor::zeros::<T>(to.width * m * o);
            let (mut pair, mut work) = (vec![T::default(); 2 * o], vec![T::default(); 3 * o]);
            for (r, i, p) in to.cells() {
                for (d, pair) in d.iter().zip(pair.chunks_exact_mut(o)) {
                    pair.copy_from_slice(&d[r * o..][..o]);
                }
                let z = values.get((cx.base(i) * l + p) * 2 * o..).map_or(&[][..], |z| &z[..z.len().min(2 * o)]);
                self.combined_change(z, &pair, &mut work, &mut y[r * o..][..o]);
            }
            d.into_iter().for_each(tensor::give_back);
            Ok(Tensor::of(&[to.width, m, o], y))
        })
    }
}

/// What delta sweeps need besides the input, made once a tape.
struct Kept<T> {
    strands: Vec<Strand<T>>,
    /// Values of both strands, `[N, L, 2, O]`, where the combination is not linear.
    values: Vec<T>,
}

impl Stem {
    fn prepare<T: Gemm>(&self, cx: &Cx, x: &Tensor, o: usize) -> Result<Kept<T>> {
        let (n, l) = (x.shape()[0], x.shape()[1]);
        let bias = cx.saved(2).ok().map(|b| b.cpu::<T>()).transpose()?;
        let strands = self.strands::<T>(cx.saved(1)?.cpu()?, o);
        let input = Input::<T>::of(x)?;
        let mut values = vec![];
        if matches!(self.a.strands, Strands::Max | Strands::Weighted) {
            values = tensor::stale::<T>(n * l * 2 * o);
            par::rows(&mut values, 2 * o, |first, rows| {
                for (i, row) in rows.chunks_exact_mut(2 * o).enumerate() {
                    let (n, p) = ((first + i) / l, (first + i) % l);
                    for (s, z) in strands.iter().zip(row.chunks_exact_mut(o)) {
                        self.strand(s, input.sequence(n, l), l, bias, p, p + 1, z);
                    }
                }
            });
        }
        Ok(Kept { strands, values })
    }

    /// Change of the combined value when the strands `z` `[2, O]` change by `d`: relative to the old value, nothing large is
    /// subtracted.
    pub(super) fn combined_change<T: Gemm>(&self, z: &[T], d: &[T], work: &mut [T], out: &mut [T]) {
        let o = out.len();
        let (df, dr) = d.split_at(o);
        let (zf, zr) = if z.is_empty() { (z, z) } else { z.split_at(o) };
        match self.a.strands {
            Strands::Forward => out.copy_from_slice(df),
            Strands::Mean => out.iter_mut().enumerate().for_each(|(j, y)| *y = (df[j] + dr[j]) * T::of(0.5)),
            Strands::Max => {
                for (j, y) in out.iter_mut().enumerate() {
                    let top = if zr[j] > zf[j] { zr[j] } else { zf[j] };
                    let (a, b) = (zf[j] - top + df[j], zr[j] - top + dr[j]);
                    *y = if b > a { b } else { a };
                }
            }
            Strands::Weighted => {
                let (value, weights) = work.split_at_mut(o);
                let rows = Rows::new(z, o, 2);
                math::weighted_pool(rows, Pad::default(), value, Some(weights));
                math::weighted_pool_delta(rows, Rows::new(weights, o, 2), value, Rows::new(d, o, 2), 0, None, out);
            }
        }
    }
}

/// Adds what one edit changes on a strand to the rows that `row(position)` names.
pub(super) fn edit<T: Gemm>(
    s: &Strand<T>,
    k: usize,
    o: usize,
    e: Edit,
    old: u8,
    row: impl Fn(usize) -> Option<usize>,
    d: &mut [T],
) {
    if e.to == old {
        return;
    }
    for t in 0..k {
        let Some(r) = (e.at + s.left).checked_sub(t).and_then(&row) else { continue };
        let letter = |code: u8| &s.table[(t * LETTERS + code as usize) * o..][..o];
        let d = &mut d[r * o..][..o];
        math::add(letter(e.to), d);
        math::axpy(T::of(-1.0), letter(old), d);
    }
}

dispatch! {
    /// z[p] = bias + sum over taps t of table[t, x[from + p + t - left]], positions outside x left out; z holds rows of O channels.
    fn table_sums[I, T: Float](table: &[T], x: &[u8], bias: Option<&[T]>, shape: [usize; 4], z: &mut [T]) {
        let [k, left, o, from] = shape;
        for at in (0..o).step_by(LANES) {
            let n = LANES.min(o - at);
            for (p, z) in z.chunks_exact_mut(o).enumerate() {
                let p = from + p;
                let mut sum = [T::ZERO; LANES];
                if let Some(b) = bias {
                    sum[..n].copy_from_slice(&b[at..at + n]);
                }
                let first = left.saturating_sub(p);
                let last = k.min(x.len() + left - p);
                for t in first..last {
                    let row = &table[(t * LETTERS + x[p + t - left] as usize) * o + at..][..n];
                    if let Ok(row) = <&[T; LANES]>::try_from(row) {
                        for l in 0..LANES {
                            sum[l] += row[l];
                        }
                    } else {
                        for (s, &v) in sum.iter_mut().zip(row) {
                            *s += v;
                        }
                    }
                }
                z[at..at + n].copy_from_slice(&sum[..n]);
            }
        }
    }
}

/// dw `[k, 4, O]` of one strand as a plain convolution: threads take blocks of channels, sequences in order.
fn weight_gradient<T: Gemm>(x: Input<T>, k: usize, left: usize, o: usize, l: usize, dz: &[T]) -> Vec<T> {
    let mut dw = tensor::zeros::<T>(k * 4 * o);
    match x {
        Input::Packed(codes) => {
            let blocks: Vec<usize> = (0..o).step_by(LANES).collect();
            let sums = par::map(blocks.len(), |b| {
                let mut sums = vec![T::default(); k * LETTERS * LANES];
                scatter(codes, l, [k, left, o, blocks[b]], dz, &mut sums);
                sums
            });
            for (&at, sums) in blocks.iter().zip(&sums) {
                let n = LANES.min(o - at);
                for t in 0..k {
                    let uniform = &sums[(t * LETTERS + 5) * LANES..][..n];
                    for c in 0..4 {
                        let to = &mut dw[(t * 4 + c) * o + at..][..n];
                        to.copy_from_slice(&sums[(t * LETTERS + c) * LANES..][..n]);
                        math::axpy(T::of(0.25), uniform, to);
                    }
                }
            }
        }
        Input::Dense(x) => {
            par::each(dw.chunks_exact_mut(4 * o).enumerate().collect(), |(t, dw): (usize, &mut [T])| {
                let (a, b) = (left.saturating_sub(t), l.min((l + left).saturating_sub(t)));
                for i in 0..dz.len() / (l * o) {
                    if a < b {
                        let x = Mat::new(&x[(i * l + a + t - left) * 4..], b - a, 4, 4);
                        gemm::add(x.t(), Mat::new(&dz[(i * l + a) * o..], b - a, o, o), dw, o);
                    }
                }
            });
        }
    }
    dw
}

dispatch! {
    /// sums[t, x[p + t - left], :] += dz[p, at..] for every position p of every sequence of l bases.
    fn scatter[I, T: Float](codes: &[u8], l: usize, shape: [usize; 4], dz: &[T], sums: &mut [T]) {
        let [k, left, o, at] = shape;
        let n = LANES.min(o - at);
        for (x, dz) in codes.chunks_exact(l).zip(dz.chunks_exact(l * o)) {
            for (p, dz) in dz.chunks_exact(o).enumerate() {
                let mut d = [T::ZERO; LANES];
                d[..n].copy_from_slice(&dz[at..at + n]);
                for t in left.saturating_sub(p)..k.min(l + left - p) {
                    let row = &mut sums[(t * LETTERS + x[p + t - left] as usize) * LANES..][..LANES];
                    for (s, &v) in row.iter_mut().zip(&d) {
                        *s += v;
                    }
                }
            }
        }
    }
}

/// Adds a strand's part of the gradient of the input to `dx` `[R, L, 4]`: `dx[q, c] = sum_t dz[q - t + left] . W[t, c]`.
fn input_gradient<T: Gemm>(s: &Strand<T>, k: usize, o: usize, l: usize, dz: &[T], dx: &mut [T]) {
    let wide = k * 4;
    par::each(dx.chunks_exact_mut(l * 4).enumerate().collect(), |(r, dx): (usize, &mut [T])| {
        let mut all = tensor::zeros::<T>(l * wide);
        gemm::add(Mat::new(&dz[r * l * o..], l, o, o), Mat::new(&s.w, wide, o, o).t(), &mut all, wide);
        for p in 0..l {
            for t in s.left.saturating_sub(p)..k.min(l + s.left - p) {
                let from = &all[p * wide + t * 4..][..4];
                for (d, &v) in dx[(p + t - s.left) * 4..][..4].iter_mut().zip(from) {
                    *d += v;
                }
            }
        }
        tensor::give_back(all);
    });
}

#[cfg(test)]
mod tests;
