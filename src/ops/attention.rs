//! Scaled dot-product attention over the positions of a sequence, with its output projection.
//!
//! For every head h: `A = softmax(Q_h K_h^T / sqrt(d))` over keys, `O_h = A V_h`; heads side by side or summed, times W.
//!
//! Shapes: q, k `[N, L, H d]`, v `[N, L, H dv]` (heads outermost: channel = h d + c), W `[H dv, E]` or, heads summed,
//! `[dv, E]`; y `[N, L, E]`. Without W, y is `[N, L, H dv]` or `[N, L, dv]`, for a dropout in between. PyTorch:
//! `scaled_dot_product_attention` on `[N, H, L, d]`, then the heads' transposition (or sum) and a bias-free linear layer.
//!
//! Scores exist for a block of queries and one head at a time. Saved are q, k, v, W, the heads' output if W is trained, and
//! per query and head the largest score and the sum of exponentials, from which backward makes the same weights again. A
//! block of queries is a task going forward; going back it is a (sequence, head), as keys sum over queries. In a rescale
//! sweep (DeepLIFT) attention hands back its gradient: it multiplies activations, for which there are no multipliers.

use crate::error::{Error, Result};
use crate::ops::checked_rank;
use crate::real;
use crate::tape::{Cx, Grads, Op, Save, Tape, Var};
use crate::tensor::gemm::{self, Gemm, Mat, Packed};
use crate::tensor::{self, Tensor};
use crate::util::math::{Float, axpy, dot, maximum, scale};
use crate::util::par;
use crate::util::simd::dispatch;

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
        let back = save.keep.backward || save.keep.rescale;
        for (slot, t) in x.iter().enumerate() {
            save.put(slot, back, t);
        }
        let keep_heads = x.len() == 3 || back && self.trained;
        real!("attention", x[0], T => {
            let w = x.get(3).map(|w| w.cpu::<T>().map(|v| (v, w.shape()[1]))).transpose()?;
            let (y, heads, rows) = forward(size, x[0].cpu()?, x[1].cpu()?, x[2].cpu()?, w, keep_heads);
            save.put(4, back, &Tensor::of(&[size.n, size.l, size.heads, 2], rows));
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
                sums[i] = sums[i] + sums[i + n];
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
mod tests {
    use super::*;
    use crate::tape::{Keep, Mode, check};
    use crate::tensor::DType;

    /// N, L, heads, d, dv, E (0: no projection), heads summed.
    type Case = (usize, usize, usize, usize, usize, usize, bool);
    const CASES: &[Case] = &[
        (2, 5, 2, 3, 4, 6, false),
        (2, 6, 3, 2, 5, 4, true),
        (1, 1, 2, 3, 2, 3, false),
        (2, 4, 1, 1, 1, 1, false),
        (1, 7, 1, 5, 3, 2, true),
        (2, 5, 2, 4, 3, 0, false),
        (2, 5, 2, 4, 3, 0, true),
        (1, 33, 2, 2, 2, 2, false),
    ];

    fn inputs(&(n, l, h, d, dv, e, sum): &Case, seed: u64) -> Vec<Tensor> {
        let mut r = check::Random::new(seed);
        let mut x = vec![r.normal(&[n, l, h * d]), r.normal(&[n, l, h * d]), r.normal(&[n, l, h * dv])];
        if e > 0 {
            x.push(r.normal(&[if sum { dv } else { h * dv }, e]));
        }
        x
    }

    fn graph(&(_, _, heads, .., sum_heads): &Case) -> impl Fn(&mut Tape, &[Var]) -> Result<Var> {
        move |t, x| attention(t, &x[0], &x[1], &x[2], x.get(3), AttentionArgs { heads, sum_heads })
    }

    #[test]
    fn cases() {
        for (i, case) in CASES.iter().enumerate() {
            let x = inputs(case, 40 + i as u64);
            let name = format!("attention {case:?}");
            check::gradients(&name, &x, graph(case));
            check::precision(&name, &x, graph(case));
        }
    }

    #[test]
    fn equals_the_definition() {
        // the last two: several blocks of queries, the last one short
        for (i, case) in CASES.iter().chain(&[(1, 300, 2, 17, 5, 3, false), (1, 700, 1, 3, 2, 0, false)]).enumerate() {
            let &(n, l, h, d, dv, e, sum) = case;
            let x = inputs(case, 70 + i as u64);
            let constants: Vec<Var> = x.iter().cloned().map(Var::constant).collect();
            let got = graph(case)(&mut Tape::predict(), &constants).unwrap().value.to_f64();
            let x: Vec<Vec<f64>> = x.iter().map(Tensor::to_f64).collect();
            let o = if sum { dv } else { h * dv };
            let mut heads = vec![0.0; n * l * o];
            for (s, p, j) in (0..n * l * h).map(|i| (i / h / l, i / h % l, i % h)) {
                let scores: Vec<f64> = (0..l)
                    .map(|m| {
                        let at = |x: &[f64], p: usize, c: usize| x[((s * l + p) * h + j) * d + c];
                        let dot: f64 = (0..d).map(|c| at(&x[0], p, c) * at(&x[1], m, c)).sum();
                        (dot / (d as f64).sqrt()).exp()
                    })
                    .collect();
                let total: f64 = scores.iter().sum();
                for (m, c) in (0..l * dv).map(|i| (i / dv, i % dv)) {
                    heads[(s * l + p) * o + if sum { c } else { j * dv + c }] +=
                        scores[m] / total * x[2][((s * l + m) * h + j) * dv + c];
                }
            }
            let project =
                |row: &[f64]| (0..e).map(|c| (0..o).map(|i| row[i] * x[3][i * e + c]).sum()).collect::<Vec<_>>();
            let want = if e == 0 { heads } else { heads.chunks(o).flat_map(project).collect() };
            check::close(&format!("{case:?}"), &got, &want, 1e-13);
        }
    }

    /// Several blocks of queries in the gradient, which central differences would be slow for: against a sum over queries
    /// of sweeps with one query's gradient each.
    #[test]
    fn gradients_over_blocks_add_up() {
        let case = (1, 300, 1, 3, 2, 0, false);
        let x = inputs(&case, 5);
        let dy = check::Random::new(6).normal(&[1, 300, 2]);
        let run = |dy: Tensor| {
            let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
            let v: Vec<Var> = x.iter().map(|t| tape.leaf(t.clone())).collect();
            let y = graph(&case)(&mut tape, &v).unwrap();
            let g = tape.backward(y.node.unwrap(), dy, &[0], &[0, 1, 2]).unwrap();
            g.into_iter().flat_map(|g| g.unwrap().to_f64()).collect::<Vec<f64>>()
        };
        let mut sum = vec![0.0; 300 * 8];
        for p in 0..300 {
            let mut one = vec![0.0; 600];
            one[2 * p..2 * p + 2].copy_from_slice(&dy.to_f64()[2 * p..2 * p + 2]);
            sum.iter_mut().zip(run(Tensor::of(&[1, 300, 2], one))).for_each(|(s, v)| *s += v);
        }
        check::close("blocks", &run(dy), &sum, 1e-12);
    }

    /// Numbers of PyTorch 2.11 in float64: `q = arange(12.).reshape(1, 3, 4).sin()`, `k` its cosine,
    /// `v = arange(6.).reshape(1, 3, 2).mul(.5).sin()`, `w = arange(6.).reshape(2, 3).mul(.3).cos()`,
    /// `heads = lambda t: t.reshape(1, 3, 2, -1).transpose(1, 2)`,
    /// `o = scaled_dot_product_attention(heads(q), heads(k), heads(v)).transpose(1, 2)`, `y = o.reshape(1, 3, 2) @ w` or
    /// `o.sum(2) @ w[:1]`; y and gradients of q, k, v, w for `dy = arange(9.).reshape(1, 3, 3).cos()`.
    #[test]
    fn equals_pytorch() {
        let wave = |shape: &[usize], f: fn(f64) -> f64| {
            Tensor::of(shape, (0..shape.iter().product()).map(|i: usize| f(i as f64)).collect::<Vec<_>>())
        };
        let w = wave(&[2, 3], |i| (0.3 * i).cos());
        let want: [[&[f64]; 5]; 2] = [
            [
                &[
                    0.9926726275058488,
                    0.7592595938958124,
                    0.45802416202886875,
                    1.235131726614899,
                    1.0119872997936077,
                    0.6984450614341557,
                    0.6774981192950118,
                    0.5153730051684762,
                    0.30721115540051785,
                ],
                &[
                    -0.2585938916968153,
                    -0.1230121730680013,
                    0.09372897242353545,
                    0.08561303735294862,
                    0.10866933498165081,
                    0.10402138199874687,
                    -0.09727245370448123,
                    -0.0787307027626045,
                    -0.31119791090560905,
                    -0.20091533135869655,
                    0.032561195160731554,
                    0.05016406457059628,
                ],
                &[
                    -0.28826321954489287,
                    -0.32432440350191005,
                    -0.02828621295157589,
                    0.04709848232450628,
                    0.11792319564009196,
                    0.15456598964172744,
                    0.05927824930283652,
                    -0.05733506841203562,
                    0.17034002390480074,
                    0.16975841386018248,
                    -0.030992036351260764,
                    0.010236586087529287,
                ],
                &[
                    1.3418350863970663,
                    0.46941709351255456,
                    0.27751024538266944,
                    0.24380874107733827,
                    -0.26664696370350605,
                    0.1022947155717153,
                ],
                &[
                    0.019256775191119846,
                    -0.006663092721318736,
                    -0.026456943914203328,
                    0.6453536695645902,
                    0.39645082983833335,
                    -0.21694707451461204,
                ],
            ],
            [
                &[
                    1.3017360980163564,
                    1.2435959936470116,
                    1.0743691629064547,
                    1.509709088756039,
                    1.4422801804532122,
                    1.2460166791031955,
                    0.893044732355446,
                    0.8531582192405682,
                    0.7370616233204311,
                ],
                &[
                    -0.2585938916968153,
                    -0.1230121730680013,
                    0.13949627413557553,
                    0.12741737607236758,
                    0.10866933498165081,
                    0.10402138199874687,
                    -0.16134515477108174,
                    -0.13059007908919698,
                    -0.31119791090560905,
                    -0.20091533135869655,
                    0.05909415569014101,
                    0.09104097767762963,
                ],
                &[
                    -0.28826321954489287,
                    -0.32432440350191005,
                    -0.03809750186245133,
                    0.08396153784999155,
                    0.11792319564009196,
                    0.15456598964172744,
                    0.08664196474241705,
                    -0.10055283957671433,
                    0.17034002390480074,
                    0.16975841386018248,
                    -0.0485444628799658,
                    0.016591301726722813,
                ],
                &[
                    1.3418350863970663,
                    0.8267462755295505,
                    0.27751024538266944,
                    0.33560111624116606,
                    -0.26664696370350605,
                    0.19035097630551312,
                ],
                &[0.66461044475571, 0.38978773711701464, -0.24340401842881548],
            ],
        ];
        for (sum_heads, want) in [false, true].into_iter().zip(want) {
            let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
            let w = if sum_heads { w.rows(0, 1).unwrap() } else { w.clone() };
            let x = [wave(&[1, 3, 4], f64::sin), wave(&[1, 3, 4], f64::cos), wave(&[1, 3, 2], |i| (0.5 * i).sin()), w];
            let x = x.map(|t| tape.leaf(t));
            let y =
                attention(&mut tape, &x[0], &x[1], &x[2], Some(&x[3]), AttentionArgs { heads: 2, sum_heads }).unwrap();
            let mut got = vec![y.value.to_f64()];
            let grads = tape.backward(y.node.unwrap(), wave(&[1, 3, 3], f64::cos), &[0], &[0, 1, 2, 3]).unwrap();
            got.extend(grads.into_iter().map(|g| g.unwrap().to_f64()));
            for (got, want) in got.iter().zip(want) {
                check::close("attention", got, want, 1e-13);
            }
        }
    }

    #[test]
    fn bits_do_not_depend_on_threads_or_batch() {
        for case in [(3, 301, 2, 17, 9, 5, false), (3, 140, 3, 4, 20, 5, true)] {
            let x: Vec<Tensor> = inputs(&case, 9).iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
            let dy = check::Random::new(8).normal(&[3, case.1, 5]).to_dtype(DType::F32).unwrap();
            let run = |from: usize, to: usize| {
                let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
                let mut v: Vec<Var> = x[..3].iter().map(|t| tape.leaf(t.rows(from, to).unwrap())).collect();
                v.push(tape.leaf(x[3].clone()));
                let y = graph(&case)(&mut tape, &v).unwrap();
                let rows: Vec<u32> = (0..(to - from) as u32).collect();
                let g = tape.backward(y.node.unwrap(), dy.rows(from, to).unwrap(), &rows, &[0, 1, 2, 3]).unwrap();
                let mut all = vec![y.value];
                all.extend(g.into_iter().map(|g| g.unwrap()));
                all
            };
            let numbers = |x: &[Tensor]| x.iter().map(Tensor::to_f64).collect::<Vec<_>>();
            let whole = run(0, 3);
            for threads in [1, 3, 16] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert_eq!(numbers(&pool.install(|| run(0, 3))), numbers(&whole));
            }
            for i in 0..3 {
                for (one, all) in run(i, i + 1)[..4].iter().zip(&whole) {
                    assert_eq!(one.to_f64(), all.rows(i, i + 1).unwrap().to_f64());
                }
            }
        }
    }

    /// Buffers of the reference implementation: C 5, L 6 (published with four digits and more) and rows 5 and 11 of C 12, L 19.
    #[test]
    fn positions_of_the_reference() {
        let t = position_table(5, 6);
        let row =
            |t: &[f32], c: usize, j: usize| t.iter().skip(j).step_by(c).copied().map(f64::from).collect::<Vec<_>>();
        let close = |got: Vec<f64>, want: &[f64], by: f64| {
            assert_eq!(got.len(), want.len());
            got.iter().zip(want).for_each(|(g, w)| assert!((g - w).abs() < by, "{g} {w}"));
        };
        close(row(&t, 5, 0), &[0.0, 0.8660254, -0.8660254, 0.0, 0.8660254, -0.8660254], 1e-6);
        close(row(&t, 5, 1), &[0.0, 0.7144727, -0.9997807, 0.6845471, 0.0418760, -0.7431446], 6e-8);
        assert_eq!([t[2], t[3], t[4]], [1.0; 3]);
        let t = position_table(12, 19);
        close(
            row(&t, 12, 5),
            &[
                0.0,
                0.9496141,
                0.595259,
                -0.57648003,
                -0.9566216,
                -0.02317156,
                0.94209665,
                0.61371773,
                -0.5573917,
                -0.9631155,
                -0.046330675,
                0.93407345,
                0.6318482,
                -0.5380031,
                -0.96909165,
                -0.069464915,
                0.92554855,
                0.64963794,
                -0.51832634,
            ],
            7e-8,
        );
        close(
            row(&t, 12, 11),
            &[
                1.0,
                0.31342152,
                -0.8035339,
                -0.81711125,
                0.29133344,
                0.9997315,
                0.3353415,
                -0.7895255,
                -0.83024967,
                0.26908836,
                0.99892616,
                0.35708088,
                -0.7750921,
                -0.8429429,
                0.24670106,
                0.9975844,
                0.37862897,
                -0.7602437,
                -0.85518295,
            ],
            7e-8,
        );
        assert!(position_table(1999, 3).iter().all(|v| v.is_finite()));
        assert_eq!(position_table(1, 2), [1.0, position_table(3, 2)[4]]);
        assert!(position_table(0, 5).is_empty() && position_table(5, 0).is_empty());
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let mut r = check::Random::new(0);
        let [q, v] = [4, 6].map(|c| Var::constant(r.normal(&[2, 5, c])));
        let w = Var::constant(r.normal(&[6, 7]));
        let tape = &mut Tape::predict();
        let mut message = |k: &Var, v: &Var, w: Option<&Var>, heads: usize, sum_heads: bool| {
            attention(tape, &q, k, v, w, AttentionArgs { heads, sum_heads }).unwrap_err().to_string()
        };
        assert_eq!(message(&q, &v, None, 0, false), "attention: expected at least one head, found 0");
        assert_eq!(
            message(&q, &v, None, 4, false),
            "attention: v must be [2, 5, a multiple of 4 heads]; found [2, 5, 6]"
        );
        assert_eq!(message(&v, &v, None, 2, false), "attention: k must be [2, 5, 4] as q; found [2, 5, 6]");
        let e = message(&q, &v, Some(&w), 2, true);
        assert_eq!(e, "attention: w_out must be [3, E] for v [2, 5, 6] and 2 heads; found [6, 7]");
    }
}
