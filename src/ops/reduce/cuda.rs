//! Launches of `kernels/reduce.cu`.

use crate::device::kernels::launch;
use crate::device::{Gpu, Launch};
use crate::error::Result;
use crate::tape::{Cx, Window};
use crate::tensor::{DType, Tensor};

/// The mean over the positions of x `[N, L, C]`.
pub(in crate::ops) fn mean_rows(gpu: &Gpu, x: &Tensor) -> Result<Tensor> {
    let [n, l, c] = x.dims("mean_rows", "x")?;
    let mut y = Tensor::on(gpu, DType::F32, &[n, c])?;
    for first in (0..n).step_by(Launch::MOST_YZ) {
        let cfg = Launch {
            grid: [c.div_ceil(32) as u32, Launch::MOST_YZ.min(n - first) as u32, 1],
            block: 512,
            shared_bytes: 0,
        };
        // SAFETY: x is `[n, l, c]`, y `[n, c]`; the grid has the sequences that are left.
        unsafe {
            let (x, y) = (x.ptr()?.offset(first * l * c), y.ptr_mut()?.offset(first * c));
            launch::reduce_mean_fwd_f32(gpu, cfg, x, y, l as i32, c as i32)?;
        }
    }
    Ok(y)
}

pub(super) fn mean_rows_backward(gpu: &Gpu, dy: &Tensor, l: usize) -> Result<Tensor> {
    let [r, c] = dy.dims("mean_rows", "dy")?;
    let mut dx = Tensor::on(gpu, DType::F32, &[r, l, c])?;
    let cfg = Launch::elements(dx.len());
    // SAFETY: dy is `[r, c]`, dx `[r, l, c]`.
    unsafe { launch::reduce_mean_bwd_f32(gpu, cfg, dy.ptr()?, dx.ptr_mut()?, r as i32, l as i32, c as i32)? };
    Ok(dx)
}

pub(super) fn mean_rows_delta(gpu: &Gpu, d: &Tensor, at: &Window) -> Result<Tensor> {
    let [_, m, c] = d.dims("mean_rows", "change")?;
    let mut y = Tensor::on(gpu, DType::F32, &[1, m, c])?;
    let (start, cfg) = (gpu.table(&at.start)?, Launch::elements(m * c));
    // SAFETY: d is `[width, m, c]`, y `[1, m, c]`; the table has a start for every mutant.
    unsafe {
        let (d, y, [m, c]) = (d.ptr()?, y.ptr_mut()?, [m, c].map(|n| n as i32));
        launch::reduce_mean_delta_f32(gpu, cfg, d, start.ptr(), y, m, c, at.width as i32, at.len as i32)?;
    }
    Ok(y)
}

pub(super) fn softmax(gpu: &Gpu, x: &Tensor) -> Result<Tensor> {
    let c = x.shape().last().copied().unwrap_or(1);
    let mut y = Tensor::on(gpu, DType::F32, x.shape())?;
    let rows = x.len() / c.max(1);
    // SAFETY: both are rows of `c`.
    unsafe { launch::reduce_softmax_fwd_f32(gpu, Launch::warps(rows), x.ptr()?, y.ptr_mut()?, rows as i64, c as i32)? };
    Ok(y)
}

pub(super) fn softmax_backward(gpu: &Gpu, cx: &Cx, y: &Tensor, dy: &Tensor) -> Result<Tensor> {
    let c = dy.shape().last().copied().unwrap_or(1);
    let size: usize = dy.shape()[1..].iter().product();
    let mut dx = Tensor::on(gpu, DType::F32, dy.shape())?;
    let (rows, count) = (cx.rows_on(gpu)?, dy.len() / c.max(1));
    // SAFETY: dy and dx are `count` rows of `c`, `size` elements to a row of the sweep; y has the tape rows that `rows` names.
    unsafe {
        let (y, dy, dx) = (y.ptr()?, dy.ptr()?, dx.ptr_mut()?);
        launch::reduce_softmax_bwd_f32(
            gpu,
            Launch::warps(count),
            y,
            dy,
            rows.ptr(),
            dx,
            count as i64,
            size as i32,
            c as i32,
        )?;
    }
    Ok(dx)
}

pub(super) fn softmax_delta(gpu: &Gpu, cx: &Cx, y: &Tensor, d: &Tensor, to: &Window) -> Result<Tensor> {
    let [width, m, c] = d.dims("softmax", "change")?;
    let mut dy = Tensor::on(gpu, DType::F32, d.shape())?;
    let (rows, start, cfg) = (cx.rows_on(gpu)?, gpu.table(&to.start)?, Launch::warps(width * m));
    let [m, width, len, c] = [m, width, to.len, c].map(|n| n as i32);
    // SAFETY: d and dy are `[width, m, c]`, y is `[N, len, c]` with the rows that `rows` names.
    unsafe {
        let (y, d, dy) = (y.ptr()?, d.ptr()?, dy.ptr_mut()?);
        launch::reduce_softmax_delta_f32(gpu, cfg, y, d, rows.ptr(), start.ptr(), dy, m, width, len, c)?;
    }
    Ok(dy)
}
