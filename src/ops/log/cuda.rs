//! Launches of `kernels/log.cu`.

use super::Log;
use crate::device::kernels::launch;
use crate::device::{Gpu, Launch};
use crate::error::Result;
use crate::tape::{Cx, Window};
use crate::tensor::{DType, Tensor};

/// The value.
pub(super) fn forward(gpu: &Gpu, op: &Log, x: &Tensor) -> Result<Tensor> {
    let mut y = Tensor::on(gpu, DType::F32, x.shape())?;
    let (n, offset, factor) = (y.len(), op.offset as f32, op.factor() as f32);
    // SAFETY: x and y have `n` elements.
    unsafe { launch::log_fwd_f32(gpu, Launch::elements(n), x.ptr()?, y.ptr_mut()?, n as i64, offset, factor)? };
    Ok(y)
}

/// The gradient, with the rows of the sweep.
pub(super) fn backward(gpu: &Gpu, op: &Log, cx: &Cx, dy: &Tensor) -> Result<Tensor> {
    let (mut dx, x) = (Tensor::on(gpu, DType::F32, dy.shape())?, cx.saved(0)?);
    let (n, size) = (dx.len(), dy.shape()[1..].iter().product::<usize>().max(1));
    let (rows, offset, factor) = (cx.rows_on(gpu)?, op.offset as f32, op.factor() as f32);
    // SAFETY: dy and dx have `n` elements, x whole rows of `size`, of which `rows` names existing ones.
    unsafe {
        let (x, dy, to, cfg) = (x.ptr()?, dy.ptr()?, dx.ptr_mut()?, Launch::elements(n));
        launch::log_bwd_f32(gpu, cfg, x, dy, rows.ptr(), to, size as i64, n as i64, offset, factor)?;
    }
    Ok(dx)
}

/// The change on the window `to`.
pub(super) fn delta(gpu: &Gpu, op: &Log, cx: &Cx, d: &Tensor, to: &Window) -> Result<Tensor> {
    let (mut y, x) = (Tensor::on(gpu, DType::F32, d.shape())?, cx.saved(0)?);
    let (rows, start, cfg) = (cx.rows_on(gpu)?, gpu.table(&to.start)?, Launch::elements(y.len()));
    let [m, c, width, len] = [to.mutants(), d.shape()[2], to.width, to.len].map(|n| n as i32);
    let (offset, factor) = (op.offset as f32, op.factor() as f32);
    // SAFETY: d and y are `[width, m, c]`, x is `[N, len, c]` with the rows that `rows` names.
    unsafe {
        let (x, d, to) = (x.ptr()?, d.ptr()?, y.ptr_mut()?);
        launch::log_delta_f32(gpu, cfg, x, d, rows.ptr(), start.ptr(), to, m, c, width, len, offset, factor)?;
    }
    Ok(y)
}
