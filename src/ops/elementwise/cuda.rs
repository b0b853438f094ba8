//! Launches of `kernels/elementwise.cu`.

use super::Binary;
use crate::device::kernels::launch;
use crate::device::{Gpu, Launch, Ptr};
use crate::error::Result;
use crate::ops::or_null_mut;
use crate::tape::{Cx, Delta, Grads, Window};
use crate::tensor::{DType, Tensor};

/// The value.
pub(super) fn forward(gpu: &Gpu, op: Binary, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let mut y = Tensor::on(gpu, DType::F32, a.shape())?;
    let (n, cfg) = (y.len(), Launch::elements(y.len().div_ceil(4)));
    // SAFETY: a, b and y have `n` elements.
    unsafe { launch::elementwise_fwd_f32(gpu, cfg, a.ptr()?, b.ptr()?, y.ptr_mut()?, n as i64, op as i32)? };
    Ok(y)
}

/// Gradients of a and b; `values` = both, unless the operation is linear.
pub(super) fn backward(
    gpu: &Gpu,
    op: Binary,
    values: Option<(&Tensor, &Tensor)>,
    cx: &Cx,
    dy: &Tensor,
) -> Result<Grads> {
    // The gradient of the first side of a sum or difference is dy.
    let first = op.is_linear().then(|| dy.clone());
    let second = (op == Binary::Add).then(|| dy.clone());
    let output = |i: usize, known: &Option<Tensor>| {
        (cx.wants(i) && known.is_none()).then(|| Tensor::on(gpu, DType::F32, dy.shape())).transpose()
    };
    let (mut da, mut db) = (output(0, &first)?, output(1, &second)?);
    if da.is_some() || db.is_some() {
        let (count, size) = (dy.shape()[0], dy.shape()[1..].iter().product::<usize>());
        let (rows, cfg) = (cx.rows_on(gpu)?, Launch::elements(dy.len().div_ceil(4)));
        let (a, b) = match values {
            Some((a, b)) => (a.ptr()?, b.ptr()?),
            None => (Ptr::NULL, Ptr::NULL),
        };
        let (to_a, to_b, dy, rows) = (or_null_mut(da.as_mut())?, or_null_mut(db.as_mut())?, dy.ptr()?, rows.ptr());
        let (count, size, op) = (count as i32, size as i32, op as i32);
        // SAFETY: dy, da and db are `[count, size]`; `rows` names rows of a and b, which linear operations do not read.
        unsafe { launch::elementwise_bwd_f32(gpu, cfg, a, b, dy, rows, to_a, to_b, count, size, op)? };
    }
    Ok(vec![first.or(da), second.or(db)])
}

/// The change on the window `to`.
pub(super) fn delta(
    gpu: &Gpu,
    op: Binary,
    values: Option<(&Tensor, &Tensor)>,
    cx: &Cx,
    dx: [Option<&Delta>; 2],
    to: &Window,
    c: usize,
) -> Result<Tensor> {
    // Of a sum, or of the first side of a difference, the change is handed on.
    match dx {
        [Some(d), None] if op.is_linear() && d.at == *to => return d.rows().cloned(),
        [None, Some(d)] if op == Binary::Add && d.at == *to => return d.rows().cloned(),
        _ => {}
    }
    let m = to.mutants();
    let mut y = Tensor::on(gpu, DType::F32, &[to.width, m, c])?;
    let (rows, start, cfg) = (cx.rows_on(gpu)?, gpu.table(&to.start)?, Launch::elements(y.len().div_ceil(4)));
    let (a, b) = match values {
        Some((a, b)) => (a.ptr()?, b.ptr()?),
        None => (Ptr::NULL, Ptr::NULL),
    };
    let [first, second] = dx.map(|d| -> Result<_> {
        Ok(match d {
            Some(d) => (d.rows()?.ptr()?, Some(gpu.table(&d.at.start)?), d.at.width as i32),
            None => (Ptr::NULL, None, 0),
        })
    });
    let ((x, x_start, x_width), (z, z_start, z_width)) = (first?, second?);
    let [x_start, z_start] = [&x_start, &z_start].map(|t| t.as_ref().map_or(Ptr::NULL, crate::device::Table::ptr));
    let [m, c, width, len] = [m, c, to.width, to.len].map(|n| n as i32);
    // SAFETY: y and the changes are `[width, m, c]` with their own widths and a start for every mutant; a and b, which linear
    // operations do not read, are `[N, len, c]` with the rows that `rows` names.
    unsafe {
        let (rows, start, y, op) = (rows.ptr(), start.ptr(), y.ptr_mut()?, op as i32);
        launch::elementwise_delta_f32(
            gpu, cfg, a, b, rows, x, x_start, z, z_start, start, y, m, c, width, x_width, z_width, len, op,
        )?;
    }
    Ok(y)
}
