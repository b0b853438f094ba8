//! Launches of `kernels/pool.cu`.

use super::{Padding, Pool, PoolKind};
use crate::device::kernels::launch;
use crate::device::{Gpu, Launch, Ptr};
use crate::error::Result;
use crate::ops::or_null;
use crate::tape::{Cx, Window};
use crate::tensor::{DType, Tensor};

/// Elements that a block takes when it looks for the smallest number.
const PART: usize = 1 << 14;
/// Threads of a delta sweep that fill a GPU; where there are more, each takes more mutants.
const THREADS: usize = 400_000;

/// Sizes as kernels take them.
struct Shape {
    l: i32,
    lo: i32,
    c: i32,
    size: i32,
    stride: i32,
    left: i32,
    /// Number of the kind, 0 maximum, 1 mean; `None` for the weighted mean, which has kernels of its own.
    kind: Option<i32>,
}

impl Shape {
    fn of(pool: &Pool, lo: usize, c: usize) -> Self {
        let [l, lo, c, size, stride, left] =
            [pool.l, lo, c, pool.a.size, pool.a.stride, pool.a.pad.0].map(|n| n as i32);
        let kind = match pool.a.kind {
            PoolKind::Max => Some(0),
            PoolKind::Mean => Some(1),
            PoolKind::Weighted => None,
        };
        Self { l, lo, c, size, stride, left, kind }
    }
}

/// Values of the padding: sequence i has the number at `i * step`; no tensor where padding has no weight.
struct Fill {
    values: Option<Tensor>,
    step: usize,
}

impl Fill {
    fn ptr(&self) -> Result<Ptr<f32>> {
        or_null(self.values.as_ref())
    }
}

/// The smallest of every `size` numbers of x.
fn least(gpu: &Gpu, x: &Tensor, size: usize) -> Result<Tensor> {
    let (n, parts) = (x.len() / size, size.div_ceil(PART).min(1024));
    let mut y = Tensor::on(gpu, DType::F32, &[n * parts])?;
    // SAFETY: a block for every element of y, which stands for a part of `size` of the elements of x.
    unsafe {
        let cfg = Launch::new(n * parts, 256);
        launch::pool_least_f32(gpu, cfg, x.ptr()?, y.ptr_mut()?, size as i64, parts as i32)?;
    }
    if parts == 1 { Ok(y) } else { least(gpu, &y, parts) }
}

impl Pool {
    fn fill_on(&self, gpu: &Gpu, x: &Tensor, lo: usize) -> Result<Fill> {
        let (n, padded) = (x.shape()[0], self.a.is_padded(self.l, lo));
        let (values, step) = match self.a.padding {
            Padding::Zero if padded => (Some(Tensor::zeros_on(gpu, DType::F32, &[1])?), 0),
            Padding::SequenceMin if padded => (Some(least(gpu, x, x.len() / n)?), 1),
            Padding::BatchMin if padded => (Some(least(gpu, x, x.len())?), 0),
            _ => (None, 0),
        };
        Ok(Fill { values, step })
    }
}

/// y `[N, Lo, C]` of x `[N, L, C]`.
pub(super) fn forward(pool: &Pool, gpu: &Gpu, x: &Tensor, lo: usize) -> Result<Tensor> {
    let [n, _, c] = x.dims("pool", "x")?;
    let (fill, mut y) = (pool.fill_on(gpu, x, lo)?, Tensor::on(gpu, DType::F32, &[n, lo, c])?);
    let (s, cfg) = (Shape::of(pool, lo, c), Launch::elements(y.len().div_ceil(4)));
    let (n, step) = (n as i32, fill.step as i32);
    // SAFETY: x and y have the shapes that the sizes say, the padding a value for every sequence.
    unsafe {
        let (x, fill, y) = (x.ptr()?, fill.ptr()?, y.ptr_mut()?);
        match s.kind {
            Some(kind) => {
                launch::pool_fwd_f32(gpu, cfg, x, fill, y, n, s.l, s.lo, s.c, s.size, s.stride, s.left, kind, step)?;
            }
            None => launch::pool_weighted_fwd_f32(gpu, cfg, x, fill, y, n, s.l, s.lo, s.c, s.size, s.left, step)?,
        }
    }
    Ok(y)
}

/// dx `[R, L, C]` of dy `[R, Lo, C]`.
pub(super) fn backward(pool: &Pool, gpu: &Gpu, x: &Tensor, cx: &Cx, dy: &Tensor) -> Result<Tensor> {
    let [r, lo, c] = dy.dims("pool", "dy")?;
    let (fill, mut dx) = (pool.fill_on(gpu, x, lo)?, Tensor::on(gpu, DType::F32, &[r, pool.l, c])?);
    let (s, rows) = (Shape::of(pool, lo, c), cx.rows_on(gpu)?);
    let cfg = Launch::elements(if pool.a.stride >= pool.a.size { dy.len() } else { dx.len() }.div_ceil(4));
    let (r, step) = (r as i32, fill.step as i32);
    // SAFETY: the tensors have the shapes that the sizes say, x the rows of the tape that `rows` names.
    unsafe {
        let (x, fill, dy, dx, rows) = (x.ptr()?, fill.ptr()?, dy.ptr()?, dx.ptr_mut()?, rows.ptr());
        let Shape { l, lo, c, size, stride, left, kind } = s;
        match kind {
            Some(kind) => {
                launch::pool_bwd_f32(gpu, cfg, x, fill, dy, rows, dx, r, l, lo, c, size, stride, left, kind, step)?;
            }
            None => launch::pool_weighted_bwd_f32(gpu, cfg, x, fill, dy, rows, dx, r, l, lo, c, size, left, step)?,
        }
    }
    Ok(dx)
}

/// What delta sweeps need besides the map itself, made once a tape.
struct Kept {
    fill: Fill,
    /// Where the padding is the minimum of the map: per sequence and row, the minimum of all rows before, and of this and all
    /// behind, `[N, L + 1, 2]`.
    minima: Option<Tensor>,
}

impl Kept {
    fn new(pool: &Pool, gpu: &Gpu, x: &Tensor, lo: usize) -> Result<Self> {
        pool.refuse_neighbours(lo)?;
        let [n, l, c] = x.dims("pool", "x")?;
        if !pool.may_move(lo) {
            return Ok(Self { fill: pool.fill_on(gpu, x, lo)?, minima: None });
        }
        let (rows, mut minima) = (least(gpu, x, c)?, Tensor::on(gpu, DType::F32, &[n, l + 1, 2])?);
        // SAFETY: a block for every sequence, whose `l` rows have a minimum each.
        unsafe { launch::pool_minima_f32(gpu, Launch::new(n, 256), rows.ptr()?, minima.ptr_mut()?, l as i32)? };
        // The minimum of row 0 and all behind is that of the sequence.
        let values = minima.view(1, &[minima.len() - 1])?;
        Ok(Self { fill: Fill { values: Some(values), step: 2 * (l + 1) }, minima: Some(minima) })
    }
}

/// How far every mutant moves the minimum of its map. Those that do escape unless `to` holds all padded windows.
fn moved(pool: &Pool, gpu: &Gpu, minima: &Tensor, cx: &Cx, x: &Tensor, d: &Tensor, at: [&Window; 2]) -> Result<Tensor> {
    let ([from, to], [width, m, c]) = (at, d.dims("pool", "change")?);
    let mut moved = Tensor::on(gpu, DType::F32, &[m])?;
    let (rows, start) = (cx.rows_on(gpu)?, gpu.table(&from.start)?);
    let [mutants, width, l, c] = [m, width, pool.l, c].map(|n| n as i32);
    // SAFETY: the tables have an entry for every mutant, the tensors the shapes that the sizes say.
    unsafe {
        let (x, minima, d, moved, cfg) = (x.ptr()?, minima.ptr()?, d.ptr()?, moved.ptr_mut()?, Launch::new(m, 256));
        launch::pool_moved_f32(gpu, cfg, x, minima, d, rows.ptr(), start.ptr(), moved, mutants, width, l, c)?;
    }
    let padded: Vec<usize> = (0..to.len).filter(|&o| pool.a.inputs(o, pool.l).1 > 0).collect();
    let narrow: Vec<usize> = (0..m).filter(|&i| padded.iter().any(|&o| to.row(i, o).is_none())).collect();
    if !narrow.is_empty() {
        let host = moved.to_cpu()?;
        let by = host.cpu::<f32>()?;
        narrow.into_iter().filter(|&i| by[i] != 0.0).for_each(|i| cx.escape(i));
    }
    Ok(moved)
}

/// Change of y on the window `to`, of the change d of x on `from`.
pub(super) fn delta(
    pool: &Pool,
    gpu: &Gpu,
    x: &Tensor,
    cx: &Cx,
    d: &Tensor,
    from: &Window,
    to: &Window,
) -> Result<Tensor> {
    let kept = cx.prepared(|| Kept::new(pool, gpu, x, to.len))?;
    let (m, c) = (to.mutants(), d.shape()[2]);
    let mut y = Tensor::on(gpu, DType::F32, &[to.width, m, c])?;
    let moved = match &kept.minima {
        Some(minima) => Some(moved(pool, gpu, minima, cx, x, d, [from, to])?),
        None => None,
    };
    let cells = y.len().div_ceil(4);
    let per = (cells / THREADS).clamp(4, 16);
    let (rows, old, new) = (cx.rows_on(gpu)?, gpu.table(&from.start)?, gpu.table(&to.start)?);
    let [m, width, from_width, per_thread, step] = [m, to.width, from.width, per, kept.fill.step].map(|n| n as i32);
    let Shape { l, lo, c, size, stride, left, kind } = Shape::of(pool, to.len, c);
    // SAFETY: the tables have an entry for every mutant, the tensors the shapes that the sizes say; x has the rows of the tape
    // that `rows` names, the padding a value for each.
    unsafe {
        let (x, fill, d, y) = (x.ptr()?, kept.fill.ptr()?, d.ptr()?, y.ptr_mut()?);
        let (rows, old, new) = (rows.ptr(), old.ptr(), new.ptr());
        match kind {
            Some(kind) => {
                let cfg = Launch::elements(cells);
                launch::pool_delta_f32(
                    gpu, cfg, x, fill, d, rows, old, new, y, m, width, from_width, l, lo, c, size, stride, left, kind,
                    step,
                )?;
            }
            None => {
                let cfg = Launch::elements(cells.div_ceil(per));
                let moved = or_null(moved.as_ref())?;
                launch::pool_weighted_delta_f32(
                    gpu, cfg, x, fill, moved, d, rows, old, new, y, m, width, from_width, per_thread, l, lo, c, size,
                    left, step,
                )?;
            }
        }
    }
    Ok(y)
}
