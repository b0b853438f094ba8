//! Launches of `kernels/channels_first.cu`.

use super::Turn;
use crate::device::kernels::launch;
use crate::device::{Gpu, Launch};
use crate::error::Result;
use crate::tape::Window;
use crate::tensor::{DType, Tensor};

/// 1 where positions run backwards, and 1 where channels are exchanged in pairs.
fn flags(turn: Turn) -> [i32; 2] {
    [i32::from(turn.reverses()), i32::from(turn == Turn::Strands)]
}

/// `[N, C, L]` of x `[N, L, C]`.
pub(super) fn forth(gpu: &Gpu, x: &Tensor, turn: Turn) -> Result<Tensor> {
    let [n, l, c] = x.dims("channels_first", "x")?;
    let mut y = Tensor::on(gpu, DType::F32, &[n, c, l])?;
    let (cfg, [back, pairs]) = (Launch::elements(y.len()), flags(turn));
    // SAFETY: x is `[n, l, c]`, y `[n, c, l]`; c is even where pairs are exchanged.
    unsafe {
        let (x, y) = (x.ptr()?, y.ptr_mut()?);
        launch::channels_first_fwd_f32(gpu, cfg, x, y, n as i64, l as i32, c as i32, back, pairs)?;
    }
    Ok(y)
}

/// `[N, L, C]` of dy `[N, C, L]`.
pub(super) fn back(gpu: &Gpu, dy: &Tensor, turn: Turn) -> Result<Tensor> {
    let [n, c, l] = dy.dims("channels_first", "dy")?;
    let mut dx = Tensor::on(gpu, DType::F32, &[n, l, c])?;
    let (cfg, [back, pairs]) = (Launch::elements(dx.len()), flags(turn));
    // SAFETY: dy is `[n, c, l]`, dx `[n, l, c]`; c is even where pairs are exchanged.
    unsafe {
        let (dy, dx) = (dy.ptr()?, dx.ptr_mut()?);
        launch::channels_first_bwd_f32(gpu, cfg, dy, dx, n as i64, l as i32, c as i32, back, pairs)?;
    }
    Ok(dx)
}

/// The changes d of a window, on all positions.
pub(super) fn delta(gpu: &Gpu, d: &Tensor, at: &Window, turn: Turn) -> Result<Tensor> {
    let ([width, m, c], l) = (d.dims("channels_first", "change")?, at.len);
    let mut y = Tensor::on(gpu, DType::F32, &[c, m, l])?;
    let (start, cfg, [back, pairs]) = (gpu.table(&at.start)?, Launch::elements(y.len()), flags(turn));
    let [m, l, c, width] = [m, l, c, width].map(|n| n as i32);
    // SAFETY: d is `[width, m, c]`, y `[c, m, l]`; the table has a start for every mutant; c is even where pairs are exchanged.
    unsafe {
        let (d, y) = (d.ptr()?, y.ptr_mut()?);
        launch::channels_first_delta_f32(gpu, cfg, d, start.ptr(), y, m, l, c, width, back, pairs)?;
    }
    Ok(y)
}
