//! Launches of `kernels/attention.cu` and `kernels/attention_delta.cu`.

use super::Size;
use crate::device::kernels::launch;
use crate::device::{Gpu, Launch, Memory, Precision, Ptr, PtrMut};
use crate::error::{Error, Result};
use crate::ops::reduce::cuda::mean_rows;
use crate::ops::{or_null, or_null_mut};
use crate::tape::{Cx, Delta, Grads, Save, Window};
use crate::tensor::{DType, Tensor};

/// Queries, and keys, of a tile of the forward pass.
const QUERIES: usize = 64;
/// Rows, and columns, of a tile of a product.
const TILE: usize = 128;
/// Scores that exist at once, about.
const SCORES: usize = if cfg!(test) { 1 << 12 } else { 1 << 24 };

/// A matrix for each (row, head), elements of its rows side by side.
#[derive(Clone, Copy)]
struct Matrices {
    /// The first element.
    at: Ptr<f32>,
    /// Row of each row of the sweep; null if they are the same.
    rows: Ptr<i32>,
    /// Elements from one row to the next.
    row: usize,
    /// Elements from one head to the next.
    head: usize,
    /// Elements from one row of a matrix to the next.
    pitch: usize,
}

impl Matrices {
    /// One matrix.
    fn one(at: Ptr<f32>, pitch: usize) -> Self {
        Self { at, rows: Ptr::NULL, row: 0, head: 0, pitch }
    }

    /// The heads, `width` channels each, of position `from` and on of sequences of `l`.
    fn heads(at: Ptr<f32>, l: usize, heads: usize, width: usize, from: usize) -> Self {
        let pitch = heads * width;
        Self { at: at.offset(from * pitch), rows: Ptr::NULL, row: l * pitch, head: width, pitch }
    }

    /// The same matrices of other rows.
    fn of_rows(self, rows: Ptr<i32>) -> Self {
        Self { rows, ..self }
    }

    /// The matrices of row `row` and on, instead of those of row 0 and on.
    fn after_rows(self, row: usize) -> Self {
        Self { at: self.at.offset(row * self.row), ..self }
    }
}

/// Which operands of a product are transposed in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Transposed {
    None,
    Left,
    Right,
}

/// m, n, k of a product; heads and rows that have one.
struct Shape {
    size: [usize; 3],
    heads: usize,
    rows: usize,
}

/// c = a b, or c += a b, for every (row, head).
///
/// # Safety
/// The pointers lead to as many elements as the sizes say.
unsafe fn product(
    gpu: &Gpu,
    precision: Precision,
    transposed: Transposed,
    (a, b, c): (Matrices, Matrices, Matrices),
    shape: &Shape,
    add: bool,
) -> Result<()> {
    let [m, n, k] = shape.size;
    let tiles = m.div_ceil(TILE) * n.div_ceil(TILE);
    let grid = [tiles as u32, shape.heads as u32, shape.rows as u32];
    let cfg = Launch { grid, block: 256, shared_bytes: (3 * 32 * 2 * TILE * 4) as u32 };
    let to = PtrMut::new(c.at.address());
    let long = |x: Matrices| [x.row as i64, x.head as i64, x.pitch as i64];
    let ([ar, ah, ap], [br, bh, bp], [cr, ch, cp]) = (long(a), long(b), long(c));
    let (ai, bi, a, b) = (a.rows, b.rows, a.at, b.at);
    let (m, n, k, add) = (m as i32, n as i32, k as i32, i32::from(add));
    let kernel = match transposed {
        Transposed::None => entry!(precision; attention_nn_f32 attention_nn_tf32 attention_nn_bf16 attention_nn_f16),
        Transposed::Right => entry!(precision; attention_nt_f32 attention_nt_tf32 attention_nt_bf16 attention_nt_f16),
        Transposed::Left => entry!(precision; attention_tn_f32 attention_tn_tf32 attention_tn_bf16 attention_tn_f16),
    };
    // SAFETY: the caller's.
    unsafe { kernel(gpu, cfg, a, ai, ar, ah, ap, b, bi, br, bh, bp, to, cr, ch, cp, m, n, k, add) }
}

/// The heads' outputs side by side, `[N, L, H dv]`, and per query and head the largest score and the sum of exponentials.
fn heads(gpu: &Gpu, precision: Precision, size: Size, q: &Tensor, k: &Tensor, v: &Tensor) -> Result<(Tensor, Tensor)> {
    let Size { n, l, heads, d, dv, .. } = size;
    let mut o = Tensor::on(gpu, DType::F32, &[n, l, heads * dv])?;
    let mut stats = Tensor::on(gpu, DType::F32, &[n, l, heads, 2])?;
    // Before compute capability 9.0 the widest pieces in f32 do not fit the registers.
    let widest = if precision == Precision::F32 && !gpu.is_sm90() { 192 } else { 576 };
    let width: usize = [64, 192].into_iter().find(|w| dv <= *w).unwrap_or(widest);
    let kernel = match width {
        64 => entry!(precision; attention_fwd64_f32 attention_fwd64_tf32 attention_fwd64_bf16 attention_fwd64_f16),
        192 => entry!(precision; attention_fwd192_f32 attention_fwd192_tf32 attention_fwd192_bf16 attention_fwd192_f16),
        _ => entry!(precision; attention_fwd576_f32 attention_fwd576_tf32 attention_fwd576_bf16 attention_fwd576_f16),
    };
    let ring = (3 * 32 * 2 * QUERIES).max(2 * 16 * width);
    let shared_bytes = (4 * (QUERIES * QUERIES + 3 * QUERIES + ring)) as u32;
    for first in (0..n).step_by(Launch::MOST_YZ) {
        let blocks = l.div_ceil(QUERIES) * dv.div_ceil(width);
        let grid = [blocks as u32, heads as u32, Launch::MOST_YZ.min(n - first) as u32];
        let cfg = Launch { grid, block: 256, shared_bytes };
        let [from, at] = [first * l * heads * d, first * l * heads * dv];
        let [len, dim, values] = [l, d, dv].map(|n| n as i32);
        // SAFETY: q and k are `[n, l, heads d]`, v and o `[n, l, heads dv]`, the numbers `[n, l, heads, 2]`; the grid has the
        // sequences that are left.
        unsafe {
            let (q, k, v) = (q.ptr()?.offset(from), k.ptr()?.offset(from), v.ptr()?.offset(at));
            let (o, stats) = (o.ptr_mut()?.offset(at), stats.ptr_mut()?.offset(first * l * heads * 2));
            kernel(gpu, cfg, q, k, v, o, stats, len, dim, values, size.factor::<f32>())?;
        }
    }
    Ok((o, stats))
}

pub(super) fn forward(gpu: &Gpu, size: Size, x: &[&Tensor], keep_heads: bool, save: &mut Save) -> Result<Tensor> {
    let Size { n, l, heads: h, dv, o, .. } = size;
    let (mut outputs, stats) = heads(gpu, save.precision, size, x[0], x[1], x[2])?;
    save.put(4, save.keep.any(), &stats);
    if o != h * dv {
        let mut sum = Tensor::on(gpu, DType::F32, &[n, l, o])?;
        let cfg = Launch::elements(sum.len());
        // SAFETY: the outputs are `[n l, h, dv]`, the sum `[n l, dv]`.
        unsafe {
            let (rows, from, to) = ((n * l) as i64, outputs.ptr()?, sum.ptr_mut()?);
            launch::attention_join_f32(gpu, cfg, from, to, rows, h as i32, dv as i32)?;
        }
        outputs = sum;
    }
    let Some(w) = x.get(3) else { return Ok(outputs) };
    let e = w.shape()[1];
    let mut y = Tensor::on(gpu, DType::F32, &[n, l, e])?;
    let shape = Shape { size: [n * l, e, o], heads: 1, rows: 1 };
    // SAFETY: the outputs are `[n l, o]`, w is `[o, e]`, y `[n l, e]`.
    unsafe {
        let to = Matrices::one(y.ptr_mut()?.into(), e);
        let matrices = (Matrices::one(outputs.ptr()?, o), Matrices::one(w.ptr()?, e), to);
        product(gpu, save.precision, Transposed::None, matrices, &shape, false)?;
    }
    save.put(5, keep_heads, &outputs);
    Ok(y)
}

pub(super) fn backward(
    gpu: &Gpu,
    cx: &Cx,
    size: Size,
    x: [&Tensor; 3],
    w: Option<&Tensor>,
    dy: &Tensor,
) -> Result<Grads> {
    let (n, l, o) = (size.n, size.l, size.o);
    let (mut dw, mut through) = (None, None);
    if let Some(w) = w {
        let (rows, e) = (n * l, w.shape()[1]);
        if cx.wants(3) {
            let mut sum = Tensor::on(gpu, DType::F32, w.shape())?;
            let shape = Shape { size: [o, e, rows], heads: 1, rows: 1 };
            // SAFETY: the outputs are `[rows, o]`, dy is `[rows, e]`, the sum `[o, e]`.
            unsafe {
                let from = (Matrices::one(cx.saved(5)?.ptr()?, o), Matrices::one(dy.ptr()?, e));
                let to = Matrices::one(sum.ptr_mut()?.into(), e);
                product(gpu, cx.precision, Transposed::Left, (from.0, from.1, to), &shape, false)?;
            }
            dw = Some(sum);
        }
        let mut back = Tensor::on(gpu, DType::F32, &[n, l, o])?;
        let shape = Shape { size: [rows, o, e], heads: 1, rows: 1 };
        // SAFETY: dy is `[rows, e]`, w `[o, e]`, what comes through `[rows, o]`.
        unsafe {
            let from = (Matrices::one(dy.ptr()?, e), Matrices::one(w.ptr()?, e));
            let to = Matrices::one(back.ptr_mut()?.into(), o);
            product(gpu, cx.precision, Transposed::Right, (from.0, from.1, to), &shape, false)?;
        }
        through = Some(back);
    }
    let mut grads = vec![None; 3];
    if (0..3).any(|i| cx.wants(i)) {
        grads = gradients(gpu, cx, size, x, through.as_ref().unwrap_or(dy))?;
    }
    grads.push(dw);
    Ok(grads)
}

/// dq, dk, dv from the gradient `g` of the heads' outputs. Scores of some rows, or of some queries of one row, exist at once;
/// how many depends on the sizes of a row alone, because sums over queries break there.
fn gradients(gpu: &Gpu, cx: &Cx, size: Size, [q, k, v]: [&Tensor; 3], g: &Tensor) -> Result<Grads> {
    let Size { n, l, heads, d, dv, o } = size;
    let part = (SCORES / (heads * l) / TILE * TILE).max(TILE).min(l);
    let together = if part < l { 1 } else { (SCORES / (heads * l * l)).clamp(1, Launch::MOST_YZ) };
    let whole = Size { n: q.shape()[0], ..size };
    debug_assert_eq!(q.shape(), [whole.n, l, heads * d]);
    let mut grads = [d, d, dv].map(|width| Tensor::on(gpu, DType::F32, &[n, l, heads * width]));
    let [dq, dk, dv_] = grads.each_mut().map(|t| or_null_mut(t.as_mut().ok()));
    let [dq, dk, dv_]: [PtrMut<f32>; 3] = [dq?, dk?, dv_?];
    let space = [together.min(n.max(1)), heads, part, l];
    let (mut weights, mut slopes) = (Tensor::on(gpu, DType::F32, &space)?, Tensor::on(gpu, DType::F32, &space)?);
    let (table, stats) = (cx.rows_on(gpu)?.ptr(), cx.saved(4)?);
    for first in (0..n).step_by(together) {
        let rows = together.min(n - first);
        for from in (0..l).step_by(part) {
            let m = part.min(l - from);
            let of = |size: [usize; 3]| Shape { size, heads, rows };
            let run = |t, a, b, c, shape, add| {
                // SAFETY: inputs and gradients are whole sequences, of which `from..from + m` are the queries here; the
                // scores are `[rows, heads, m, l]`.
                unsafe { product(gpu, cx.precision, t, (a, b, c), &of(shape), add) }
            };
            let tape = |t: &Tensor, width: usize, from: usize| {
                Ok::<_, Error>(Matrices::heads(t.ptr()?, l, heads, width, from).of_rows(table.offset(first)))
            };
            let sweep =
                |p: Ptr<f32>, width: usize, from: usize| Matrices::heads(p, l, heads, width, from).after_rows(first);
            let (a, s) = (weights.ptr_mut()?, slopes.ptr_mut()?);
            let scores =
                |p: PtrMut<f32>| Matrices { at: p.into(), rows: Ptr::NULL, row: heads * m * l, head: m * l, pitch: l };
            let g = Matrices { head: if o == dv { 0 } else { dv }, ..Matrices::heads(g.ptr()?, l, 1, o, from) };
            let g = g.after_rows(first);
            run(Transposed::Right, tape(q, d, from)?, tape(k, d, 0)?, scores(a), [m, l, d], false)?;
            run(Transposed::Right, g, tape(v, dv, 0)?, scores(s), [m, l, dv], false)?;
            let count = rows * heads * m;
            let cfg = Launch::warps(count);
            // SAFETY: as above; the numbers are `[N, l, heads, 2]` with the rows that the table names.
            unsafe {
                let (rows, numbers) = (table.offset(first), stats.ptr()?);
                let [heads, m, from, l] = [heads, m, from, l].map(|n| n as i32);
                let f = size.factor::<f32>();
                launch::attention_slopes_f32(gpu, cfg, a, s, numbers, rows, count as i64, heads, m, from, l, f)?;
            }
            if cx.wants(0) {
                run(Transposed::None, scores(s), tape(k, d, 0)?, sweep(dq.into(), d, from), [m, d, l], false)?;
            }
            if cx.wants(1) {
                run(Transposed::Left, scores(s), tape(q, d, from)?, sweep(dk.into(), d, 0), [l, d, m], from > 0)?;
            }
            if cx.wants(2) {
                run(Transposed::Left, scores(a), g, sweep(dv_.into(), dv, 0), [l, dv, m], from > 0)?;
            }
        }
    }
    grads.into_iter().enumerate().map(|(i, t)| t.map(|t| cx.wants(i).then_some(t))).collect()
}

/// What serves all sweeps of a tape: values less their mean and the outputs for them, each times W head by head,
/// `[N, L, heads, part]`.
pub(super) struct Prepared {
    values: Tensor,
    outputs: Tensor,
}

pub(super) fn prepare(
    gpu: &Gpu,
    precision: Precision,
    size: Size,
    [q, k, v]: [&Tensor; 3],
    w: Option<&Tensor>,
) -> Result<Prepared> {
    let (n, l, c) = (size.n, size.l, size.heads * size.dv);
    let mean = mean_rows(gpu, v)?;
    let mut centred = Tensor::on(gpu, DType::F32, v.shape())?;
    let cfg = Launch::elements(centred.len());
    // SAFETY: v and what is centred are `[n, l, c]`, the mean is `[n, c]`.
    unsafe {
        let (v, mean, to) = (v.ptr()?, mean.ptr()?, centred.ptr_mut()?);
        launch::attention_delta_centre_f32(gpu, cfg, v, mean, to, (n * l) as i64, l as i32, c as i32)?;
    }
    let (outputs, _) = heads(gpu, precision, size, q, k, &centred)?;
    let projected = |x: Tensor| match w {
        Some(w) => project(gpu, precision, size, &x, w),
        None => Ok(x),
    };
    Ok(Prepared { values: projected(centred)?, outputs: projected(outputs)? })
}

/// x W head by head: from `[.., heads dv]` to `[rows, heads, E]`.
fn project(gpu: &Gpu, precision: Precision, size: Size, x: &Tensor, w: &Tensor) -> Result<Tensor> {
    let (heads, dv, e) = (size.heads, size.dv, w.shape()[1]);
    let rows = x.len() / (heads * dv);
    let mut y = Tensor::on(gpu, DType::F32, &[rows, heads, e])?;
    let shape = Shape { size: [rows, e, dv], heads, rows: 1 };
    // SAFETY: x is `[rows, heads, dv]`, w `[heads, dv, e]` or, heads summed, `[dv, e]`.
    unsafe {
        let weights = Matrices { head: if size.o == dv { 0 } else { dv * e }, ..Matrices::one(w.ptr()?, e) };
        let to = Matrices::heads(y.ptr_mut()?.into(), rows, heads, e, 0);
        let from = Matrices::heads(x.ptr()?, rows, heads, dv, 0);
        product(gpu, precision, Transposed::None, (from, weights, to), &shape, false)?;
    }
    Ok(y)
}

/// The change of the output, `[L, M, channels]`. Some mutants at a time: none of them depends on another.
pub(super) fn delta(
    gpu: &Gpu,
    cx: &Cx,
    size: Size,
    [q, k, v]: [&Tensor; 3],
    w: Option<&Tensor>,
    dx: &[Option<&Delta>],
) -> Result<Tensor> {
    let Size { l, heads, d, dv, o, .. } = size;
    let prepared = cx.prepared(|| prepare(gpu, cx.precision, size, [q, k, v], w))?;
    let hull = Window::hull(&[0, 1, 2].map(|i| dx[i].map(|d| &d.at)));
    let (all, width) = (hull.mutants(), hull.width);
    let mut changes = [None, None, None];
    for (change, d) in changes.iter_mut().zip(dx) {
        if let Some(d) = d {
            *change = Some(d.placed(&hull)?.rows()?.clone());
        }
    }
    let projected = match (&changes[2], w) {
        (Some(dv), Some(w)) => Some(project(gpu, cx.precision, size, dv, w)?),
        (dv, _) => dv.clone(),
    };
    let part = w.map_or(dv, |w| w.shape()[1]);
    let channels = w.map_or(o, |w| w.shape()[1]);
    let mut y = Tensor::on(gpu, DType::F32, &[l, all, channels])?;
    let together = (SCORES / (2 * heads * width * l).max(1)).clamp(1, all.clamp(1, Launch::MOST_YZ));
    let blocks = (together * l.div_ceil(16)).min(2 * gpu.about().multiprocessors.max(1) as usize);
    let blocks = blocks.min(4 * SCORES / (16 * (heads + 1) * l)).max(1);
    let mut left = Tensor::on(gpu, DType::F32, &[together, heads, 2, width, l])?;
    let mut rest = Tensor::on(gpu, DType::F32, &[together, heads, l])?;
    let mut scratch = Tensor::on(gpu, DType::F32, &[blocks, 16, heads + 1, l])?;
    let integers = |n: usize| gpu.allocate(n * together * size_of::<i32>());
    let [marks, slots, count] = [integers(width)?, integers(width)?, integers(1)?];
    let [again, queries, number] = [integers(l)?, integers(l)?, integers(1)?];
    let (written, read) = (|m: &Memory| PtrMut::<i32>::new(m.address()), |m: &Memory| Ptr::<i32>::new(m.address()));
    let (rows, start) = (cx.rows_on(gpu)?.ptr(), gpu.table(&hull.start)?);
    let start = start.ptr();
    let [dq, dk, dv_] = changes.each_ref().map(|change| or_null(change.as_ref()));
    let (dq, dk, dv_, wdv) = (dq?, dk?, dv_?, or_null(projected.as_ref())?);
    let (q, k, stats) = (q.ptr()?, k.ptr()?, cx.saved(4)?.ptr()?);
    let (wv, wo, to) = (prepared.values.ptr()?, prepared.outputs.ptr()?, y.ptr_mut()?);
    let (left, rest, scratch) = (left.ptr_mut()?, rest.ptr_mut()?, scratch.ptr_mut()?);
    let factor = size.factor::<f32>();
    let [m, w_, len, h, dim, p, c] = [all, width, l, heads, d, part, channels].map(|n| n as i32);
    let (qc, vc) = ((heads * d) as i32, (heads * dv) as i32);
    let grid = |x: usize, y: usize, z: usize| [x as u32, y as u32, z as u32];
    let by_scores = entry!(cx.precision;
        attention_delta_scores_f32 attention_delta_scores_tf32 attention_delta_scores_bf16 attention_delta_scores_f16
    );
    let once_more = entry!(cx.precision;
        attention_delta_again_f32 attention_delta_again_tf32 attention_delta_again_bf16 attention_delta_again_f16
    );
    let to_output = entry!(cx.precision;
        attention_delta_output_f32 attention_delta_output_tf32 attention_delta_output_bf16 attention_delta_output_f16
    );
    for first in (0..all).step_by(together) {
        let n = together.min(all - first);
        let (f, own) = (first as i32, n as i32);
        // SAFETY: changes are `[width, all, ..]` on windows that start at `start`, q and k `[N, l, heads d]`, the prepared tensors
        // `[N, l, heads, part]` with the rows that `rows` names. Everything else has room for `together` mutants, `n` of
        // which are `first` and on; the scratch for `blocks` blocks.
        unsafe {
            let (s, n_s) = (read(&slots), read(&count));
            let cfg = Launch::new(n, 256);
            let (a, b, e) = (written(&marks), written(&slots), written(&count));
            launch::attention_delta_marks_f32(gpu, cfg, dq, dk, dv_, start, a, b, e, f, m, w_, len, qc, vc)?;
            let tiles = (2 * width).div_ceil(32) * l.div_ceil(128);
            let scores = Launch { grid: grid(tiles, heads, n), block: 128, shared_bytes: 3 * 32 * (32 + 128) * 4 };
            by_scores(gpu, scores, q, k, dk, rows, start, s, n_s, left, f, m, w_, len, dim)?;
            let (flags, list, n_l) = (written(&again), written(&queries), written(&number));
            let marks = read(&marks);
            launch::attention_delta_settle_f32(
                gpu, cfg, stats, rows, start, marks, n_s, left, rest, flags, list, n_l, f, w_, len, h, factor,
            )?;
            let (list, n_l) = (read(&queries), read(&number));
            let cfg = Launch::new(blocks, 256);
            once_more(
                gpu, cfg, q, k, dq, dk, stats, wv, rows, start, s, n_s, list, n_l, left, scratch, to, f, own, m, w_,
                len, h, dim, p, c, factor,
            )?;
            let tiles = l.div_ceil(TILE) * part.div_ceil(TILE);
            let shared_bytes = (3 * 32 * 2 * TILE * 4) as u32;
            let cfg =
                Launch { grid: grid(tiles, if part == channels { 1 } else { heads }, n), block: 256, shared_bytes };
            let (left, rest, flags) = (left.into(), rest.into(), read(&again));
            to_output(gpu, cfg, left, rest, wv, wo, wdv, rows, start, s, n_s, flags, to, f, m, w_, len, h, p, c)?;
        }
    }
    Ok(y)
}
