//! Scaled dot-product attention over the positions of a sequence, with its output projection.
//!
//! For every head h: `A = softmax(Q_h K_h^T / sqrt(d))` over keys, `O_h = A V_h`; heads side by side or summed, times W.
//!
//! Shapes: q, k `[N, L, H d]`, v `[N, L, H dv]` (heads outermost: channel = h d + c), W `[H dv, E]` or, heads summed,
//! `[dv, E]`; y `[N, L, E]`. Without W, y is `[N, L, H dv]` or `[N, L, dv]`, for a dropout in between. PyTorch:
//! `scaled_dot_product_attention` on `[N, H, L, d]`, then the heads' transposition (or sum) and a bias-free linear layer.
//!
//! Scores exist for a block of queries and one head at a time. How a change of some rows goes through is told in `delta.rs`.
//! Saved are q, k, v, W, the heads' output if W is trained, and
//! per query and head the largest score and the sum of exponentials, from which backward makes the same weights again. A
//! block of queries is a task going forward; going back it is a (sequence, head), as keys sum over queries. In a rescale
//! sweep (DeepLIFT) attention hands back its gradient: it multiplies activations, for which there are no multipliers.

use crate::error::{Error, Result};
use crate::ops::checked_rank;
use crate::real;
use crate::tape::{Cx, Delta, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::gemm::{self, Gemm, Mat, Packed};
use crate::tensor::{self, Tensor};
use crate::util::math::{Float, axpy, dot, maximum, scale};
use crate::util::par;
use crate::util::simd::dispatch;

mod cuda;
mod delta;
mod weights;

/// Queries of a block, at most.
const QUERIES: usize = 128;
/// Scores of a block, about: they stay in the second-level cache.
const SCORES: usize = 1 << 16;
/// Running sums of a row of exponentials.
const LANES: usize = 32;

/// How the heads of an attention are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttentionArgs {
    /// Number of heads H.
    pub heads: usize,
    /// Whether their outputs are summed instead of set side by side.
    pub sum_heads: bool,
}

/// Attention of `q` over `k` and `v`, projected by `w_out`; see the head of this file.
///
/// # Errors
/// [`Error::Argument`] for no heads; [`Error::Shape`] if channels are not a multiple of the heads, or if shapes do not match.
///
/// ```
/// use drg::{ops::{attention, AttentionArgs}, tape::{Tape, Var}, tensor::Tensor};
/// let zero = Var::constant(Tensor::new(&[1, 2, 3], vec![0f32; 6])?);
/// let v = Var::constant(Tensor::new(&[1, 2, 1], vec![1f32, 3.])?);
/// let args = AttentionArgs { heads: 1, sum_heads: false };
/// let y = attention(&mut Tape::predict(), &zero, &zero, &v, None, args)?;
/// assert_eq!(y.value.cpu::<f32>()?, [2., 2.]); // equal scores: the mean
/// # Ok::<(), drg::Error>(())
/// ```
pub fn attention(tape: &mut Tape, q: &Var, k: &Var, v: &Var, w_out: Option<&Var>, args: AttentionArgs) -> Result<Var> {
    let [n, l, _] = checked_rank(q, "attention", "q [N, L, H d]")?;
    let AttentionArgs { heads, sum_heads } = args;
    if heads == 0 {
        return Err(Error::Argument { op: "attention", what: "expected at least one head, found 0".into() });
    }
    let wrong =
        |arg, expected, x: &Var| Err(Error::Shape { op: "attention", arg, expected, found: x.shape().to_vec() });
    for (arg, x) in [("q", q), ("v", v)] {
        match *x.shape() {
            [m, p, c] if (m, p) == (n, l) && l > 0 && c > 0 && c % heads == 0 => {}
            _ => return wrong(arg, format!("[{n}, {}, a multiple of {heads} heads]", l.max(1)), x),
        }
    }
    if k.shape() != q.shape() {
        return wrong("k", format!("{:?} as q", q.shape()), k);
    }
    if let Some(w) = w_out {
        let [rows, _] = checked_rank(w, "attention", "w_out [H dv, E]")?;
        let channels = v.shape()[2] / if sum_heads { heads } else { 1 };
        if rows != channels {
            return wrong("w_out", format!("[{channels}, E] for v {:?} and {heads} heads", v.shape()), w);
        }
    }
    let op = Attention { args, trained: w_out.is_some_and(|w| w.node.is_some()) };
    let inputs: Vec<&Var> = [q, k, v].into_iter().chain(w_out).collect();
    tape.apply(op, &inputs)
}

/// The fixed table of positions `[L, C]` that DRG models append to the channels: the first C / 2 channels are sines, the
/// others cosines, of `2 pi p / (L / (0.8 + 1.2^(j+1)))` with j counted from 0 in both groups. f32 throughout, in the order
/// of PyTorch's `2 * pi * pos / (L / (1.2**arange(1, ..) + 0.8))`, because the large frequencies turn rounding into noise.
/// Frequencies that f32 cannot hold (C above 970) count as 0.
pub fn position_table(c: usize, l: usize) -> Vec<f32> {
    let half = c / 2;
    let waves: Vec<f32> = (0..c - half)
        .map(|j| {
            let frequency = f64::from(1.2f32).powi(j as i32 + 1) as f32 + 0.8;
            (1.0 / frequency) * l as f32 // PyTorch divides a number by a tensor this way
        })
        .collect();
    let mut table = Vec::with_capacity(l * c);
    for p in 0..l {
        let angle = |j: usize| {
            let a = std::f32::consts::TAU * p as f32 / waves[j];
            f64::from(if a.is_finite() { a } else { 0.0 })
        };
        table.extend((0..half).map(|j| angle(j).sin() as f32));
        table.extend((0..c - half).map(|j| angle(j).cos() as f32));
    }
    table
}

struct Attention {
    args: AttentionArgs,
    /// Whether W may want a gradient.
    trained: bool,
}

impl Op for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        let size = Size::new(self.args, x[0], x[2])?;
        let (back, any) = (save.keep.backward || save.keep.rescale, save.keep.any());
        for (slot, t) in x.iter().enumerate() {
            save.put(slot, any, t);
        }
        let keep_heads = x.len() == 3 || back && self.trained;
        if let Some(gpu) = Tensor::place("attention", x)? {
            return cuda::forward(gpu, size, x, keep_heads, save);
        }
        real!("attention", x[0], T => {
            let w = x.get(3).map(|w| w.cpu::<T>().map(|v| (v, w.shape()[1]))).transpose()?;
            let (y, heads, rows) = forward(size, x[0].cpu()?, x[1].cpu()?, x[2].cpu()?, w, keep_heads);
            save.put(4, any, &Tensor::of(&[size.n, size.l, size.heads, 2], rows));
            let heads = keep_heads.then(|| Tensor::of(&[size.n, size.l, size.o], heads));
            match (w, heads) {
                (None, Some(heads)) => Ok(heads),
                (w, heads) => {
                    if let Some(heads) = heads {
                        save.put(5, true, &heads);
                    }
                    Ok(Tensor::of(&[size.n, size.l, w.map_or(size.o, |w| w.1)], y))
                }
            }
        })
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        let (q, k, v, w) = (cx.saved(0)?, cx.saved(1)?, cx.saved(2)?, cx.saved(3).ok());
        let size = Size { n: cx.rows.len(), ..Size::new(self.args, q, v)? };
        if cx.wants(3) {
            cx.whole_batch("attention")?;
        }
        if let Some(gpu) = Tensor::place("attention", &[q, k, v, dy])? {
            return cuda::backward(gpu, cx, size, [q, k, v], w, dy);
        }
        real!("attention", dy, T => {
            let g = dy.cpu::<T>()?;
            let (mut dw, mut through) = (None, None);
            if let Some(w) = w {
                let (rows, e) = (size.n * size.l, w.shape()[1]);
                if cx.wants(3) {
                    let mut sum = tensor::zeros::<T>(w.len());
                    let heads = Mat::new(cx.saved(5)?.cpu()?, rows, size.o, size.o);
                    gemm::add_parallel(heads.t(), Mat::new(g, rows, e, e), &mut sum, e);
                    dw = Some(Tensor::of(w.shape(), sum));
                }
                let mut back = tensor::zeros::<T>(rows * size.o);
                let w = gemm::pack(Mat::new(w.cpu::<T>()?, size.o, e, e).t());
                par::rows(&mut back, size.o, |first, back| {
                    gemm::add_packed(Mat::new(&g[first * e..], back.len() / size.o, e, e), &w, back, size.o);
                });
                through = Some(Tensor::of(&[rows, size.o], back));
            }
            let g = through.as_ref().map_or(Ok(g), |t| t.cpu())?;
            let mut grads = vec![None; 3];
            if (0..3).any(|i| cx.wants(i)) {
                let sweep = Sweep { size, q: q.cpu()?, k: k.cpu()?, v: v.cpu()?, rows: cx.saved(4)?.cpu()?, g, from: cx.rows };
                grads = sweep.gradients()?.into_iter().enumerate().map(|(i, d)| cx.wants(i).then_some(d)).collect();
            }
            grads.push(dw);
            Ok(grads)
        })
    }

    /// Every row: all queries look at the keys that change.
    fn window(&self, x: &[Option<&Window>], len: usize) -> Window {
        Window::dense(Window::hull(x).mutants(), len)
    }

    fn products(&self, cx: &Cx, x: &[Option<&Window>], _: &Window) -> f64 {
        let (Ok(q), Ok(v)) = (cx.saved(0), cx.saved(2)) else { return 0.0 };
        let Ok(size) = Size::new(self.args, q, v) else { return 0.0 };
        let weights = cx.saved(3).ok().map(|w| (size.heads * size.dv * w.shape()[1], w.shape()[1]));
        delta::products(size, weights, Window::hull(x).width) as f64
    }

    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        if dx.get(3).is_some_and(Option::is_some) {
            return Err(Error::Unsupported { op: "delta", what: "a change of weights".into() });
        }
        let (q, k, v, w) = (cx.saved(0)?, cx.saved(1)?, cx.saved(2)?, cx.saved(3).ok());
        let size = Size::new(self.args, q, v)?;
        if let Some(gpu) = Tensor::place("attention", &[q, k, v])? {
            return cuda::delta(gpu, cx, size, [q, k, v], w, dx);
        }
        real!("attention", q, T => {
            let change = |i: usize| match dx[i] {
                Some(d) => Ok::<_, Error>(Some((&d.at, d.rows()?.cpu::<T>()?))),
                None => Ok(None),
            };
            let reference = delta::Reference {
                size,
                q: q.cpu()?,
                k: k.cpu()?,
                v: v.cpu()?,
                rows: cx.saved(4)?.cpu()?,
                w: w.map(|w| w.cpu::<T>().map(|v| (v, w.shape()[1]))).transpose()?,
            };
            let prepared = cx.prepared(|| Ok(delta::Prepared::new(&reference)))?;
            let y = delta::sweep(&reference, prepared, [change(0)?, change(1)?, change(2)?], cx.rows);
            Ok(Tensor::of(&[size.l, to.mutants(), reference.width()], y))
        })
    }
}

#[derive(Clone, Copy)]
struct Size {
    n: usize,
    l: usize,
    heads: usize,
    /// Channels of a head's query.
    d: usize,
    /// Channels of a head's value.
    dv: usize,
    /// Channels of all heads' outputs: side by side, or summed.
    o: usize,
}

impl Size {
    fn new(args: AttentionArgs, q: &Tensor, v: &Tensor) -> Result<Self> {
        let [n, l, c] = q.dims("attention", "q")?;
        let [_, _, values] = v.dims("attention", "v")?;
        let heads = args.heads;
        let dv = values / heads;
        Ok(Self { n, l, heads, d: c / heads, dv, o: if args.sum_heads { dv } else { values } })
    }

    /// Channel where a head's output starts.
    fn out(&self, head: usize) -> usize {
        if self.o == self.dv { 0 } else { head * self.dv }
    }

    /// Queries that share a block of scores.
    fn queries(&self) -> usize {
        (SCORES / self.l).clamp(8, QUERIES)
    }

    /// Factor of the scores.
    fn factor<T: Float>(&self) -> T {
        T::of(1.0 / (self.d as f64).sqrt())
    }

    /// Head `head` of sequence `row`: its part of `x` `[N, L, heads width]`.
    fn head<'a, T: Gemm>(&self, x: &'a [T], row: usize, head: usize, width: usize) -> Mat<'a, T> {
        let pitch = self.heads * width;
        Mat::new(&x[row * self.l * pitch + head * width..], self.l, width, pitch)
    }
}

/// (y, the heads' outputs if kept, largest score and sum of exponentials per query and head). Without W (and its width) y is
/// empty.
fn forward<T: Gemm>(
    size: Size,
    q: &[T],
    k: &[T],
    v: &[T],
    w: Option<(&[T], usize)>,
    keep_heads: bool,
) -> (Vec<T>, Vec<T>, Vec<T>) {
    let Size { n, l, heads, d, dv, o } = size;
    let operands: Vec<(Packed<T>, Packed<T>)> = par::map(n * heads, |i| {
        let (row, head) = (i / heads, i % heads);
        (gemm::pack(size.head(k, row, head, d).t()), gemm::pack(size.head(v, row, head, dv)))
    });
    let e = w.map_or(0, |w| w.1);
    let w = w.map(|(w, e)| gemm::pack(Mat::new(w, o, e, e)));
    let kept = if keep_heads { o } else { 0 };
    let mut y = tensor::zeros::<T>(n * l * e);
    let mut outputs = tensor::zeros::<T>(n * l * kept);
    let mut rows = tensor::stale::<T>(n * l * heads * 2);
    // A query's bits do not depend on its block, so blocks may.
    let per = size.queries().min((n * l).div_ceil(4 * par::threads())).max(8);
    let tasks: Vec<Block> = (0..n)
        .flat_map(|row| (0..l).step_by(per).map(move |from| Block { row, from, queries: per.min(l - from) }))
        .collect();
    let pieces = split(&mut y, &tasks, e).into_iter().zip(split(&mut outputs, &tasks, kept));
    let pieces = pieces.zip(split(&mut rows, &tasks, heads * 2)).zip(&tasks).collect();
    par::each(pieces, |(((y, kept), rows), block): (((&mut [T], &mut [T]), &mut [T]), &Block)| {
        let queries = block.queries;
        let mut own = vec![T::ZERO; if keep_heads { 0 } else { queries * o }];
        let output = if keep_heads { kept } else { own.as_mut_slice() };
        let (mut scores, mut values) = (vec![T::ZERO; queries * l], vec![T::ZERO; queries * dv]);
        for head in 0..heads {
            let (keys, vs) = &operands[block.row * heads + head];
            let from = &q[((block.row * l + block.from) * heads + head) * d..];
            scores.fill(T::ZERO);
            gemm::add_packed(Mat::new(from, queries, d, heads * d), keys, &mut scores, l);
            for (i, scores) in scores.chunks_exact_mut(l).enumerate() {
                let top = maximum(scores);
                let sum = exponentials(scores, top, size.factor());
                rows[(i * heads + head) * 2..][..2].copy_from_slice(&[top, sum]);
            }
            values.fill(T::ZERO);
            gemm::add_packed(Mat::new(&scores, queries, l, l), vs, &mut values, dv);
            for (i, values) in values.chunks_exact(dv).enumerate() {
                let sum = rows[(i * heads + head) * 2 + 1];
                axpy(T::ONE / sum, values, &mut output[i * o + size.out(head)..][..dv]);
            }
        }
        if let Some(w) = &w {
            gemm::add_packed(Mat::new(output, queries, o, o), w, y, e);
        }
    });
    (y, outputs, rows)
}

/// Consecutive queries of one sequence.
struct Block {
    row: usize,
    from: usize,
    queries: usize,
}

/// The consecutive pieces of `x` that belong to the blocks, `width` elements a query.
fn split<'a, T>(mut x: &'a mut [T], blocks: &[Block], width: usize) -> Vec<&'a mut [T]> {
    let piece = |block: &Block| {
        let (piece, rest) = std::mem::take(&mut x).split_at_mut(block.queries * width);
        x = rest;
        piece
    };
    blocks.iter().map(piece).collect()
}

/// What a backward pass reads.
struct Sweep<'a, T> {
    size: Size,
    q: &'a [T],
    k: &'a [T],
    v: &'a [T],
    /// Largest score and sum of exponentials, `[N, L, H, 2]`.
    rows: &'a [T],
    /// Gradient of the heads' outputs, of the sweep's rows.
    g: &'a [T],
    /// Tape rows of the sweep's rows.
    from: &'a [u32],
}

impl<T: Gemm> Sweep<'_, T> {
    /// dq, dk, dv.
    fn gradients(&self) -> Result<Vec<Tensor>> {
        let Size { n, l, heads, d, dv, .. } = self.size;
        let [mut q, mut k, mut v] = [d, d, dv].map(|width| tensor::zeros::<T>(n * heads * l * width));
        let tasks = q.chunks_mut(l * d).zip(k.chunks_mut(l * d)).zip(v.chunks_mut(l * dv)).enumerate().collect();
        par::each(tasks, |(i, ((q, k), v)): (usize, ((&mut [T], &mut [T]), &mut [T]))| {
            self.head(i / heads, i % heads, q, k, v);
        });
        // Tensors, so that the buffers go back to the cache.
        let by_head = [(q, d), (k, d), (v, dv)].map(|(x, width)| (Tensor::of(&[n, heads, l, width], x), width));
        by_head
            .iter()
            .map(|(x, width)| {
                let (x, c) = (x.cpu::<T>()?, heads * width);
                let mut y = tensor::stale::<T>(x.len());
                par::rows(&mut y, c, |first, y| {
                    for (i, to) in y.chunks_exact_mut(*width).enumerate() {
                        let (row, position, head) = ((first + i / heads) / l, (first + i / heads) % l, i % heads);
                        to.copy_from_slice(&x[((row * heads + head) * l + position) * width..][..*width]);
                    }
                });
                Ok(Tensor::of(&[n, l, c], y))
            })
            .collect()
    }

    /// Gradients of one head of sweep row `r`: `[L, d]`, `[L, d]`, `[L, dv]`, all zero before. Queries go in blocks whose
    /// borders depend on L alone, because sums over queries break there.
    fn head(&self, r: usize, head: usize, dq: &mut [T], dk: &mut [T], dv_: &mut [T]) {
        let Size { l, heads, d, dv, o, .. } = self.size;
        let row = self.from[r] as usize;
        let (keys, values) = (self.size.head(self.k, row, head, d), self.size.head(self.v, row, head, dv));
        let (keys_t, values_t, keys) = (gemm::pack(keys.t()), gemm::pack(values.t()), gemm::pack(keys));
        let per = self.size.queries().min(l);
        let (mut weights, mut slopes) = (vec![T::ZERO; per * l], vec![T::ZERO; per * l]);
        for from in (0..l).step_by(per) {
            let n = per.min(l - from);
            let (weights, slopes) = (&mut weights[..n * l], &mut slopes[..n * l]);
            let q = Mat::new(&self.q[((row * l + from) * heads + head) * d..], n, d, heads * d);
            let g = Mat::new(&self.g[(r * l + from) * o + self.size.out(head)..], n, dv, o);
            weights.fill(T::ZERO);
            gemm::add_packed(q, &keys_t, weights, l);
            slopes.fill(T::ZERO);
            gemm::add_packed(g, &values_t, slopes, l);
            for (i, (a, s)) in weights.chunks_exact_mut(l).zip(slopes.chunks_exact_mut(l)).enumerate() {
                let at = ((row * l + from + i) * heads + head) * 2;
                exponentials(a, self.rows[at], self.size.factor());
                scale(T::ONE / self.rows[at + 1], a);
                softmax_gradient(a, dot(a, s), self.size.factor(), s);
            }
            gemm::add(Mat::new(weights, n, l, l).t(), g, dv_, dv);
            gemm::add_packed(Mat::new(slopes, n, l, l), &keys, &mut dq[from * d..], d);
            gemm::add(Mat::new(slopes, n, l, l).t(), q, dk, d);
        }
    }
}

dispatch! {
    /// x = exp((x - top) * factor); returns the sum, in an order fixed by the index.
    fn exponentials[I, T: Float](x: &mut [T], top: T, factor: T) -> T {
        let mut sums = [T::ZERO; LANES];
        let (blocks, rest) = x.as_chunks_mut::<LANES>();
        for block in blocks {
            for (s, x) in sums.iter_mut().zip(block) {
                *x = ((*x - top) * factor).exp_decay::<I>();
                *s += *x;
            }
        }
        let mut block = [top; LANES];
        block[..rest.len()].copy_from_slice(rest);
        for x in &mut block {
            *x = ((*x - top) * factor).exp_decay::<I>();
        }
        rest.copy_from_slice(&block[..rest.len()]);
        for (s, x) in sums.iter_mut().zip(rest) {
            *s += *x;
        }
        let mut n = LANES / 2;
        while n > 0 {
            for i in 0..n {
                sums[i] += sums[i + n];
            }
            n /= 2;
        }
        sums[0]
    }
}

dispatch! {
    /// s = a * (s - mean) * factor: from the gradient of a softmax's weights a to that of its scores.
    fn softmax_gradient[I, T: Float](a: &[T], mean: T, factor: T, s: &mut [T]) {
        for (s, a) in s.iter_mut().zip(a) {
            *s = *a * (*s - mean) * factor;
        }
    }
}

#[cfg(test)]
mod tests;
