//! Launches of `kernels/powers.cu`.

use crate::device::kernels::launch;
use crate::device::{Gpu, Launch};
use crate::error::Result;
use crate::tape::{Cx, Grads, Window};
use crate::tensor::{DType, Tensor};

/// The value of y, factors and exponents.
pub(super) fn forward(gpu: &Gpu, x: &[&Tensor]) -> Result<Tensor> {
    let mut y = Tensor::on(gpu, DType::F32, x[0].shape())?;
    let (n, c, cfg) = (y.len() as i64, (x[1].len() / 2) as i32, Launch::elements(y.len()));
    // SAFETY: x and y have `n` elements in rows of `c`, factors and exponents two for each of the `c` channels.
    unsafe { launch::powers_fwd_f32(gpu, cfg, x[0].ptr()?, x[1].ptr()?, x[2].ptr()?, y.ptr_mut()?, n, c)? };
    Ok(y)
}

/// Gradients, those that are wanted.
pub(super) fn backward(gpu: &Gpu, cx: &Cx, [x, a, e]: [&Tensor; 3], dy: &Tensor) -> Result<Grads> {
    let (size, c) = (dy.shape()[1..].iter().product::<usize>().max(1), a.len() / 2);
    let mut grads = vec![None, None, None];
    if cx.wants(0) {
        let (mut dx, rows) = (Tensor::on(gpu, DType::F32, dy.shape())?, cx.rows_on(gpu)?);
        let (cfg, n, size, c) = (Launch::elements(dx.len()), dx.len() as i64, size as i64, c as i32);
        // SAFETY: dy and dx have `n` elements, x whole rows of `size`, of which `rows` names existing ones; two factors and
        // exponents for each of the `c` channels.
        unsafe {
            let (x, a, e, dy, to) = (x.ptr()?, a.ptr()?, e.ptr()?, dy.ptr()?, dx.ptr_mut()?);
            launch::powers_bwd_f32(gpu, cfg, x, a, e, dy, rows.ptr(), to, size, n, c)?;
        }
        grads[0] = Some(dx);
    }
    if cx.wants(1) || cx.wants(2) {
        let [mut da, mut de] = [Tensor::on(gpu, DType::F32, a.shape())?, Tensor::on(gpu, DType::F32, a.shape())?];
        let (cfg, rows) = (Launch::new(c, 256), (dy.len() / c.max(1)) as i64);
        // SAFETY: x and dy have `rows` rows of `c`; two factors, exponents and gradients of each for each channel, a block each.
        unsafe {
            let (x, a, e, dy) = (x.ptr()?, a.ptr()?, e.ptr()?, dy.ptr()?);
            launch::powers_bwd_learned_f32(gpu, cfg, x, a, e, dy, da.ptr_mut()?, de.ptr_mut()?, rows, c as i32)?;
        }
        (grads[1], grads[2]) = (Some(da).filter(|_| cx.wants(1)), Some(de).filter(|_| cx.wants(2)));
    }
    Ok(grads)
}

/// The change on the window `to`.
pub(super) fn delta(gpu: &Gpu, cx: &Cx, [x, a, e]: [&Tensor; 3], d: &Tensor, to: &Window) -> Result<Tensor> {
    let mut y = Tensor::on(gpu, DType::F32, d.shape())?;
    let (rows, start, cfg) = (cx.rows_on(gpu)?, gpu.table(&to.start)?, Launch::elements(y.len()));
    let [m, c, width, len] = [to.mutants(), d.shape()[2], to.width, to.len].map(|n| n as i32);
    // SAFETY: d and y are `[width, m, c]`, x is `[N, len, c]` with the rows that `rows` names; factors and exponents as above.
    unsafe {
        let (x, a, e, d, to) = (x.ptr()?, a.ptr()?, e.ptr()?, d.ptr()?, y.ptr_mut()?);
        launch::powers_delta_f32(gpu, cfg, x, a, e, d, rows.ptr(), start.ptr(), to, m, c, width, len)?;
    }
    Ok(y)
}
