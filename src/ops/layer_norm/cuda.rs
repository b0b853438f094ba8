//! Launches of `kernels/layer_norm.cu`.

use crate::device::kernels::launch;
use crate::device::{Gpu, Launch};
use crate::error::Result;
use crate::ops::or_null_mut;
use crate::tape::{Cx, Grads, Window};
use crate::tensor::{DType, Tensor};

/// Channels up to which a row stays in registers (`with_registers` of the kernels).
const REGISTERS: usize = 640;
/// Blocks that fill a GPU: over so many the rows of a backward pass are spread, but not fewer than 16 a block.
const BLOCKS: usize = 512;

pub(super) fn forward(gpu: &Gpu, x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f64) -> Result<Tensor> {
    let mut y = Tensor::on(gpu, DType::F32, x.shape())?;
    let c = gamma.len();
    let rows = x.len() / c;
    // SAFETY: x and y are rows of `c` channels, gamma and beta one each.
    unsafe {
        let (x, gamma, beta, y) = (x.ptr()?, gamma.ptr()?, beta.ptr()?, y.ptr_mut()?);
        launch::layer_norm_fwd_f32(gpu, Launch::warps(rows), x, gamma, beta, y, rows as i64, c as i32, eps as f32)?;
    }
    Ok(y)
}

pub(super) fn backward(gpu: &Gpu, cx: &Cx, x: &Tensor, gamma: &Tensor, dy: &Tensor, eps: f64) -> Result<Grads> {
    let c = gamma.len();
    let (count, size) = (dy.len() / c, x.len() / c / x.shape()[0].max(1));
    let mut dx = Tensor::on(gpu, DType::F32, dy.shape())?;
    let weights = cx.wants(1) || cx.wants(2);
    let per = count.div_ceil(BLOCKS).max(16);
    let blocks = count.div_ceil(per);
    let wide = c > REGISTERS;
    let mut cfg = Launch::new(blocks, if weights && wide { 32 } else { 256 });
    let mut parts = None;
    if weights {
        cfg.shared_bytes = if wide { 0 } else { 64 * c as u32 };
        parts = Some(Tensor::on(gpu, DType::F32, &[blocks, 2, c])?);
    }
    let rows = cx.rows_on(gpu)?;
    // SAFETY: dy and dx are `count` rows, `size` to a row of the sweep; x has the tape rows that `rows` names. There is a part
    // for every block, and shared memory for the sums of eight warps.
    unsafe {
        let out = or_null_mut(parts.as_mut())?;
        let (x, gamma, dy, dx) = (x.ptr()?, gamma.ptr()?, dy.ptr()?, dx.ptr_mut()?);
        let [size, c, per] = [size, c, per].map(|n| n as i32);
        launch::layer_norm_bwd_f32(
            gpu,
            cfg,
            x,
            gamma,
            dy,
            rows.ptr(),
            dx,
            out,
            count as i64,
            size,
            c,
            per,
            eps as f32,
        )?;
    }
    let (mut dgamma, mut dbeta) = (None, None);
    if let Some(parts) = parts {
        let mut sums = [Tensor::on(gpu, DType::F32, &[c])?, Tensor::on(gpu, DType::F32, &[c])?];
        let [a, b] = &mut sums;
        // SAFETY: as above.
        unsafe {
            let (parts, a, b) = (parts.ptr()?, a.ptr_mut()?, b.ptr_mut()?);
            let cfg = Launch::new((2 * c).div_ceil(32), 256);
            launch::layer_norm_total_f32(gpu, cfg, parts, a, b, blocks as i32, c as i32)?;
        }
        let [a, b] = sums;
        (dgamma, dbeta) = (cx.wants(1).then_some(a), cx.wants(2).then_some(b));
    }
    Ok(vec![cx.wants(0).then_some(dx), dgamma, dbeta])
}

pub(super) fn delta(
    gpu: &Gpu,
    cx: &Cx,
    x: &Tensor,
    gamma: &Tensor,
    d: &Tensor,
    to: &Window,
    eps: f64,
) -> Result<Tensor> {
    let mut y = Tensor::on(gpu, DType::F32, d.shape())?;
    let (rows, start, cfg) = (cx.rows_on(gpu)?, gpu.table(&to.start)?, Launch::warps(to.width * to.mutants()));
    let [m, width, len, c] = [to.mutants(), to.width, to.len, gamma.len()].map(|n| n as i32);
    // SAFETY: d and y are `[width, m, c]`, x is `[N, len, c]` with the rows that `rows` names.
    unsafe {
        let (x, gamma, d, y) = (x.ptr()?, gamma.ptr()?, d.ptr()?, y.ptr_mut()?);
        launch::layer_norm_delta_f32(gpu, cfg, x, gamma, d, rows.ptr(), start.ptr(), y, m, width, len, c, eps as f32)?;
    }
    Ok(y)
}
