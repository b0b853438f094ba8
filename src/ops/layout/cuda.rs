//! Launches of `kernels/layout.cu`.

use crate::device::kernels::launch;
use crate::device::{Gpu, Launch, Ptr};
use crate::error::Result;
use crate::tape::{Delta, Window};
use crate::tensor::{DType, Tensor};

/// Rows of `width` elements of `x`, of which `from..to` are kept; the result has the shape `shape`.
pub(super) fn cut(gpu: &Gpu, x: &Tensor, width: usize, (from, to): (usize, usize), shape: &[usize]) -> Result<Tensor> {
    let mut y = Tensor::on(gpu, DType::F32, shape)?;
    copy(gpu, x, (width, from), &mut y, (to - from, 0), to - from)?;
    Ok(y)
}

/// Positions `from..to` of packed bases.
pub(super) fn cut_bases(gpu: &Gpu, x: &Tensor, (from, to): (usize, usize)) -> Result<Tensor> {
    let ([n, width], count) = (x.dims("crop", "x")?, to - from);
    let (mut y, cfg) = (Tensor::on(gpu, DType::U8, &[n, count])?, Launch::elements(n * count));
    let [width, from, count] = [width, from, count].map(|n| n as i32);
    // SAFETY: x has `n` rows of `width` bases, which hold `from + count`, y as many of `count`.
    unsafe { launch::layout_cut_u8(gpu, cfg, x.ptr()?, y.ptr_mut()?, n as i64, width, from, count)? };
    Ok(y)
}

/// The reverse of [`cut`]: zeros around the columns of `x`, in rows of `width`.
pub(super) fn widen(
    gpu: &Gpu,
    x: &Tensor,
    width: usize,
    (from, to): (usize, usize),
    shape: &[usize],
) -> Result<Tensor> {
    let (mut y, count) = (Tensor::on(gpu, DType::F32, shape)?, to - from);
    let (rows, cfg) = ((y.len() / width) as i64, Launch::elements(y.len().div_ceil(4)));
    let [count, width, from] = [count, width, from].map(|n| n as i32);
    // SAFETY: x has `rows` rows of `count`, y as many of `width`, which is at least `from + count`.
    unsafe { launch::layout_widen_f32(gpu, cfg, x.ptr()?, y.ptr_mut()?, rows, count, width, from)? };
    Ok(y)
}

/// The parts, of `widths` elements a row, side by side.
pub(super) fn joined(gpu: &Gpu, parts: &[&Tensor], widths: &[usize], shape: &[usize]) -> Result<Tensor> {
    let (mut y, width) = (Tensor::on(gpu, DType::F32, shape)?, widths.iter().sum());
    let mut first = 0;
    for (x, &w) in parts.iter().zip(widths) {
        copy(gpu, x, (w, 0), &mut y, (width, first), w)?;
        first += w;
    }
    Ok(y)
}

/// The changes of the parts side by side, on the window `to`.
pub(super) fn joined_changes(gpu: &Gpu, parts: &[Option<&Delta>], widths: &[usize], to: &Window) -> Result<Tensor> {
    let (m, width) = (to.mutants(), widths.iter().sum());
    let mut y = Tensor::on(gpu, DType::F32, &[to.width, m, width])?;
    let (start, mut first) = (gpu.table(&to.start)?, 0);
    for (part, &c) in parts.iter().zip(widths) {
        let (x, old, x_rows) = match part {
            Some(d) => (d.rows()?.ptr()?, Some(gpu.table(&d.at.start)?), d.at.width),
            None => (Ptr::NULL, None, 0),
        };
        let (old, cfg) = (old.as_ref().map_or(Ptr::NULL, |t| t.ptr()), Launch::elements(to.width * m * c.div_ceil(4)));
        let sizes = [m, c, x_rows, to.width, to.len, width, first].map(|n| n as i32);
        let [m, c, x_rows, y_rows, len, width, at] = sizes;
        // SAFETY: x is `[x_rows, m, c]`, y `[y_rows, m, width]`; both tables have an entry for every mutant; the columns of
        // all parts fit in `width`.
        unsafe {
            let y = y.ptr_mut()?;
            launch::layout_place_f32(gpu, cfg, x, old, start.ptr(), y, m, c, x_rows, y_rows, len, width, at)?;
        }
        first += c as usize;
    }
    Ok(y)
}

/// Columns `from ..` of x to columns `to ..` of y, `count` of them; rows are of the widths beside the columns.
fn copy(
    gpu: &Gpu,
    x: &Tensor,
    (x_width, from): (usize, usize),
    y: &mut Tensor,
    (y_width, to): (usize, usize),
    count: usize,
) -> Result<()> {
    let (rows, cfg) = (y.len().checked_div(y_width).unwrap_or(0), Launch::elements((y.len() / 4).max(1)));
    let [x_width, from, y_width, to, count] = [x_width, from, y_width, to, count].map(|n| n as i32);
    // SAFETY: x and y have as many rows, which hold the columns.
    unsafe {
        let (x, y, rows) = (x.ptr()?, y.ptr_mut()?, rows as i64);
        launch::layout_copy_f32(gpu, cfg, x, y, rows, x_width, from, y_width, to, count)
    }
}
