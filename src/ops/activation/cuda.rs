//! Launches of `kernels/activation.cu`.

use crate::device::kernels::launch;
use crate::device::{Gpu, Launch};
use crate::error::Result;
use crate::tape::{Cx, Window};
use crate::tensor::{DType, Tensor};
use crate::util::math::Activation;

/// y = f(x), in 16 bits if `operand` says so.
pub(super) fn forward(gpu: &Gpu, f: Activation, x: &Tensor, operand: Option<DType>) -> Result<Tensor> {
    let mut y = Tensor::on(gpu, operand.unwrap_or(DType::F32), x.shape())?;
    let (n, c) = (y.len(), x.shape().last().copied().unwrap_or(1));
    let (cfg, eighth, rows) = (Launch::elements(n), Launch::elements(n.div_ceil(8)), (n / c.max(1)) as i64);
    // SAFETY: x and y have `n` elements in rows of `c`, which have their type's pitch in y.
    unsafe {
        match operand {
            None => launch::activation_fwd_f32(gpu, cfg, x.ptr()?, y.ptr_mut()?, n as i64, f as i32)?,
            Some(DType::BF16) => {
                launch::activation_fwd_bf16(gpu, eighth, x.ptr()?, y.ptr_mut()?, rows, c as i32, f as i32)?
            }
            Some(_) => launch::activation_fwd_f16(gpu, eighth, x.ptr()?, y.ptr_mut()?, rows, c as i32, f as i32)?,
        }
    }
    Ok(y)
}

/// dx = dy f'(z), with the rows of the sweep.
pub(super) fn backward(gpu: &Gpu, f: Activation, z: &Tensor, cx: &Cx, dy: &Tensor) -> Result<Tensor> {
    let mut dx = Tensor::on(gpu, DType::F32, dy.shape())?;
    let (n, size) = (dx.len(), dy.shape()[1..].iter().product::<usize>().max(1));
    let rows = cx.rows_on(gpu)?;
    let cfg = Launch::elements(n);
    // SAFETY: dy and dx have `n` elements, z whole rows of `size`, of which `rows` names existing ones.
    unsafe {
        let (z, dy, dx) = (z.ptr()?, dy.ptr()?, dx.ptr_mut()?);
        match cx.partner {
            None => launch::activation_bwd_f32(gpu, cfg, z, dy, rows.ptr(), dx, size as i64, n as i64, f as i32)?,
            Some(partner) => {
                let partner = cx.table_on(gpu, partner)?;
                let (rows, partner) = (rows.ptr(), partner.ptr());
                launch::activation_rescale_f32(gpu, cfg, z, dy, rows, partner, dx, size as i64, n as i64, f as i32)?;
            }
        }
    }
    Ok(dx)
}

/// f(z + d) - f(z) on the window `to`, in 16 bits if products alone read it. z and d have rows of the same channels.
pub(super) fn delta(gpu: &Gpu, f: Activation, z: &Tensor, cx: &Cx, d: &Tensor, to: &Window) -> Result<Tensor> {
    let (m, c) = (to.mutants(), d.shape()[2]);
    let mut y = Tensor::on(gpu, cx.operand().unwrap_or(DType::F32), d.shape())?;
    let (rows, start) = (cx.rows_on(gpu)?, gpu.table(&to.start)?);
    let (cfg, eighth) = (Launch::elements(y.len()), Launch::elements(y.len().div_ceil(8)));
    let [m, c, width, len] = [m, c, to.width, to.len].map(|n| n as i32);
    // SAFETY: d and y are `[width, m, c]`, z is `[N, len, c]` with the rows that `rows` names.
    unsafe {
        let (z, d, rows, start, f) = (z.ptr()?, d.ptr()?, rows.ptr(), start.ptr(), f as i32);
        match y.dtype() {
            DType::BF16 => {
                launch::activation_delta_bf16(gpu, eighth, z, d, rows, start, y.ptr_mut()?, m, c, width, len, f)?
            }
            DType::F16 => {
                launch::activation_delta_f16(gpu, eighth, z, d, rows, start, y.ptr_mut()?, m, c, width, len, f)?
            }
            _ => launch::activation_delta_f32(gpu, cfg, z, d, rows, start, y.ptr_mut()?, m, c, width, len, f)?,
        }
    }
    Ok(y)
}
