//! Launches of `kernels/batch_norm.cu`.
//!
//! What the statistics and parameters come to is one table `[5, C]` (centre, scale, shift, rest, inverse; see the kernels),
//! made once a pass: on a GPU it is the fourth input of the operation, in place of mean and variance.

use super::BatchNorm;
use crate::device::kernels::launch;
use crate::device::{Gpu, Launch, Memory, Ptr, PtrMut, Table};
use crate::error::Result;
use crate::ops::{or_null, or_null_mut};
use crate::tape::{Cx, Grads, Window};
use crate::tensor::{DType, Tensor};
use crate::util::math::Activation;

/// Slot of the table.
const TABLE: usize = 3;

/// Threads of a block.
const THREADS: usize = 256;
/// Blocks among which the rows of a sum are shared out, about.
const BLOCKS: usize = 1024;
/// Blocks of a pass without sums, at most: a thread reads its constants once for many rows.
const MOST: usize = 1 << 13;

/// What a batch says.
pub(super) struct Statistics {
    /// `[C]`
    pub mean: Tensor,
    /// Unbiased variance `[C]`.
    pub unbiased: Tensor,
    /// `[5, C]`
    pub table: Tensor,
}

/// How a block's threads share channels and rows: from C alone, because the order of sums follows from it.
struct Tiles {
    /// Two to this power = threads side by side in a row.
    log: u32,
    /// Blocks side by side.
    columns: usize,
}

impl Tiles {
    fn new(c: usize) -> Self {
        Self::of(if c.is_multiple_of(4) { c / 4 } else { c })
    }

    /// For a result of this type: a thread has 8 channels of 16 bits.
    fn for_result(dtype: DType, c: usize) -> Self {
        if dtype.is_half() { Self::of(c.div_ceil(8)) } else { Self::new(c) }
    }

    fn of(groups: usize) -> Self {
        let log = groups.next_power_of_two().min(32).ilog2();
        Self { log, columns: groups.div_ceil(1 << log) }
    }

    fn rows(&self, a_thread: usize) -> usize {
        (THREADS >> self.log) * a_thread
    }

    fn launch(&self, blocks: usize) -> Launch {
        Launch { grid: [blocks as u32, self.columns as u32, 1], block: THREADS as u32, shared_bytes: 0 }
    }

    /// Blocks for `rows` rows of which a thread takes `a_thread` at once.
    fn sweep(&self, rows: usize, a_thread: usize) -> Launch {
        self.launch(rows.div_ceil(self.rows(a_thread)).min((MOST / self.columns).max(1)))
    }

    /// Blocks of a sum over `rows` rows, and how many rows are a block's.
    fn sum(&self, rows: usize, a_thread: usize) -> (usize, usize) {
        let per = rows.div_ceil((BLOCKS / self.columns).max(1)).max(1).next_multiple_of(self.rows(a_thread));
        (rows.div_ceil(per).max(1), per)
    }
}

/// The two sums of every block, `[blocks, 2, C]` in f64.
fn partial(gpu: &Gpu, blocks: usize, c: usize) -> Result<Memory> {
    gpu.allocate(blocks * 2 * c * size_of::<f64>())
}

fn channels(c: usize) -> Launch {
    Launch::new(c.div_ceil(32), THREADS as u32)
}

/// The table of running statistics; `parameters` = gamma, beta, mean, variance.
pub(in crate::ops) fn constants(gpu: &Gpu, parameters: &[&Tensor], eps: f64) -> Result<Tensor> {
    let c = parameters[0].len();
    let mut table = Tensor::on(gpu, DType::F32, &[5, c])?;
    let [gamma, beta, mean, variance] = [0, 1, 2, 3].map(|i| parameters[i].ptr());
    // SAFETY: the parameters have `c` elements, the table five times as many.
    unsafe {
        let (cfg, to) = (Launch::new(c.div_ceil(THREADS), THREADS as u32), table.ptr_mut()?);
        launch::batch_norm_constants_f32(gpu, cfg, gamma?, beta?, mean?, variance?, to, c as i32, eps)?;
    }
    Ok(table)
}

/// Statistics of the rows of `x`, at least two, and their table.
pub(super) fn statistics(gpu: &Gpu, x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Statistics> {
    let c = gamma.len();
    let (rows, tiles) = (x.len() / c, Tiles::new(c));
    let (blocks, per) = tiles.sum(rows, 8);
    let sums = partial(gpu, blocks, c)?;
    let [mut mean, mut unbiased] = [Tensor::on(gpu, DType::F32, &[c])?, Tensor::on(gpu, DType::F32, &[c])?];
    let mut table = Tensor::on(gpu, DType::F32, &[5, c])?;
    // SAFETY: x has `rows` rows of `c`, the sums a part for every block, the rest what the kernels' head says.
    unsafe {
        let (x, to, log) = (x.ptr()?, PtrMut::new(sums.address()), tiles.log as i32);
        let cfg = tiles.launch(blocks);
        launch::batch_norm_stats_f32(gpu, cfg, x, to, rows as i64, c as i32, log, per as i32)?;
        let (gamma, beta, table) = (gamma.ptr()?, beta.ptr()?, table.ptr_mut()?);
        let (mean, unbiased, cfg) = (mean.ptr_mut()?, unbiased.ptr_mut()?, channels(c));
        let (blocks, rows, c) = (blocks as i32, rows as i64, c as i32);
        launch::batch_norm_stats_finish_f32(
            gpu,
            cfg,
            to.into(),
            x,
            gamma,
            beta,
            table,
            mean,
            unbiased,
            blocks,
            rows,
            c,
            eps,
        )?;
    }
    Ok(Statistics { mean, unbiased, table })
}

/// y = f(z), in 16 bits if `operand` says so.
pub(in crate::ops) fn forward(
    gpu: &Gpu,
    x: &Tensor,
    table: &Tensor,
    f: Activation,
    operand: Option<DType>,
) -> Result<Tensor> {
    let mut y = Tensor::on(gpu, operand.unwrap_or(DType::F32), x.shape())?;
    let c = table.len() / 5;
    let (rows, tiles) = (y.len() / c, Tiles::for_result(y.dtype(), c));
    let cfg = tiles.sweep(rows, 4);
    // SAFETY: x and y have `rows` rows of `c`, which have their type's pitch in y; the table is `[5, c]`.
    unsafe {
        let (x, table, rows, c, log, f) = (x.ptr()?, table.ptr()?, rows as i64, c as i32, tiles.log as i32, f as i32);
        match y.dtype() {
            DType::BF16 => launch::batch_norm_fwd_bf16(gpu, cfg, x, table, y.ptr_mut()?, rows, c, log, f)?,
            DType::F16 => launch::batch_norm_fwd_f16(gpu, cfg, x, table, y.ptr_mut()?, rows, c, log, f)?,
            _ => launch::batch_norm_fwd_f32(gpu, cfg, x, table, y.ptr_mut()?, rows, c, log, f)?,
        }
    }
    Ok(y)
}

/// Gradients of x, gamma and beta.
pub(super) fn backward(gpu: &Gpu, op: &BatchNorm, cx: &Cx, dy: &Tensor) -> Result<Grads> {
    let table = cx.saved(TABLE)?;
    let c = table.len() / 5;
    let (count, tiles) = (dy.len() / c, Tiles::new(c));
    let l = count.checked_div(cx.rows.len()).unwrap_or(0);
    // Only the linear form outside training needs no x.
    let x = if op.trained || !op.activation.is_linear() { Some(cx.saved(0)?) } else { None };
    Tensor::place("batch_norm", &x.into_iter().chain([dy, table]).collect::<Vec<_>>())?;
    let from = or_null(x)?;
    let same = cx.rows.iter().enumerate().all(|(i, &r)| i == r as usize);
    let rows = if same { Ptr::NULL } else { cx.rows_on(gpu)?.ptr() };
    let (table, log, f) = (table.ptr()?, tiles.log as i32, op.activation as i32);
    let new = |wanted: bool, shape: &[usize]| wanted.then(|| Tensor::on(gpu, DType::F32, shape)).transpose();
    let to = |t: &mut Option<Tensor>| or_null_mut(t.as_mut());
    let mut dx = new(cx.wants(0), dy.shape())?;
    let (mut dgamma, mut dbeta) = (new(cx.wants(1), &[c])?, new(cx.wants(2), &[c])?);
    let mut line = new(op.batch && cx.wants(0), &[2, c])?;
    let sums_wanted = op.batch || dgamma.is_some() || dbeta.is_some();
    let dy = dy.ptr()?;
    if sums_wanted {
        let (blocks, per) = tiles.sum(count, 4);
        let sums = partial(gpu, blocks, c)?;
        // The line of the statistics needs the sums: dx waits for them then.
        let early = if op.batch { PtrMut::NULL } else { to(&mut dx)? };
        // SAFETY: x and dy have rows of `c`, of which `rows` names existing ones; the sums have a part for every block.
        unsafe {
            let (cfg, all, n) = (tiles.launch(blocks), PtrMut::new(sums.address()), count as i64);
            let (l, c, per, blocks) = (l as i32, c as i32, per as i32, blocks as i32);
            launch::batch_norm_sums_f32(gpu, cfg, from, dy, rows, table, early, all, n, l, c, log, per, f)?;
            let (dgamma, dbeta, line) = (to(&mut dgamma)?, to(&mut dbeta)?, to(&mut line)?);
            let cfg = channels(c as usize);
            launch::batch_norm_sums_finish_f32(gpu, cfg, all.into(), table, dgamma, dbeta, line, blocks, n, c)?;
        }
    }
    if cx.wants(0) && (op.batch || !sums_wanted) {
        let line = or_null(line.as_ref())?;
        // SAFETY: as above; without x there is neither a line nor a curve.
        unsafe {
            let (cfg, dx, n) = (tiles.sweep(count, 4), to(&mut dx)?, count as i64);
            launch::batch_norm_bwd_f32(gpu, cfg, from, dy, rows, table, line, dx, n, l as i32, c as i32, log, f)?;
        }
    }
    Ok(vec![dx, dgamma, dbeta, None, None])
}

/// f(z + scale d) - f(z) on the window `to`, in 16 bits if products alone read it.
pub(super) fn delta(gpu: &Gpu, op: &BatchNorm, cx: &Cx, d: &Tensor, to: &Window) -> Result<Tensor> {
    let table = cx.saved(TABLE)?;
    let (m, c) = (to.mutants(), table.len() / 5);
    let x = if op.activation.is_linear() { None } else { Some(cx.saved(0)?) };
    Tensor::place("batch_norm", &x.into_iter().chain([d, table]).collect::<Vec<_>>())?;
    let mut y = Tensor::on(gpu, cx.operand().unwrap_or(DType::F32), d.shape())?;
    let (tiles, from) = (Tiles::for_result(y.dtype(), c), or_null(x)?);
    let (rows, start): (&Table, _) = (cx.rows_on(gpu)?, gpu.table(&to.start)?);
    let (cfg, log, f) = (tiles.sweep(to.width * m, 2), tiles.log as i32, op.activation as i32);
    let [m, c, width, len] = [m, c, to.width, to.len].map(|n| n as i32);
    // SAFETY: d and y are `[width, m, c]`, x is `[N, len, c]` with the rows that `rows` names; without x there is no curve.
    unsafe {
        let (d, table, rows, start) = (d.ptr()?, table.ptr()?, rows.ptr(), start.ptr());
        match y.dtype() {
            DType::BF16 => {
                let y = y.ptr_mut()?;
                launch::batch_norm_delta_bf16(gpu, cfg, from, d, rows, start, table, y, m, c, width, len, log, f)?;
            }
            DType::F16 => {
                let y = y.ptr_mut()?;
                launch::batch_norm_delta_f16(gpu, cfg, from, d, rows, start, table, y, m, c, width, len, log, f)?;
            }
            _ => {
                let y = y.ptr_mut()?;
                launch::batch_norm_delta_f32(gpu, cfg, from, d, rows, start, table, y, m, c, width, len, log, f)?;
            }
        }
    }
    Ok(y)
}
