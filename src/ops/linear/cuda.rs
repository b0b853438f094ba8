//! Launches of a dense layer's products: it is a convolution of one tap, whose kernels it uses.

use crate::device::{Gpu, Precision};
use crate::error::Result;
use crate::ops::conv1d::cuda::{self, Back, Operands, Rows};
use crate::ops::conv1d::half::{half_dtype, readable};
use crate::ops::conv1d::operands::{Input, Prepared};
use crate::ops::or_null;
use crate::tape::{Cx, Grads, Window};
use crate::tensor::{DType, Tensor};

/// A product of `m` rows as a convolution of one tap over one sequence.
fn product(m: usize, c: usize, n: usize) -> Rows {
    Rows { rows: m, n, c, per: m, l: m, taps: 1, stride: 1, pad: 0, dilation: 1 }
}

/// y = x W + b, of the given shape.
pub(super) fn forward(
    gpu: &Gpu,
    p: Precision,
    shape: &[usize],
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let [f, o] = w.dims("linear", "weight")?;
    let mut y = Tensor::on(gpu, DType::F32, shape)?;
    let operands = Operands { bias: or_null(bias)?, ..Operands::new(Input::of(x)?, w.ptr()?) };
    // SAFETY: x has rows of f elements, as many as y has of o; w is [f, o], the bias [o].
    unsafe { cuda::rows(gpu, p, product(x.len() / f, f, o), operands, y.ptr_mut()?.into())? };
    Ok(y)
}

/// Gradients of input, weight and bias, those that are wanted.
pub(super) fn backward(gpu: &Gpu, cx: &Cx, dy: &Tensor) -> Result<Grads> {
    let w = cx.saved(1)?;
    let [f, o] = w.dims("linear", "weight")?;
    let m = dy.len() / o;
    let mut grads = vec![None, None, None];
    // Rounded once for both products.
    let rounded = half_dtype(cx.precision).filter(|_| cx.wants(0)).map(|t| dy.to_dtype(t)).transpose()?;
    let operand = Input::of(rounded.as_ref().unwrap_or(dy))?;
    if cx.wants(0) {
        let mut shape = dy.shape().to_vec();
        *shape.last_mut().expect("a rank above 1") = f;
        let mut dx = Tensor::on(gpu, DType::F32, &shape)?;
        let back = Back { rows: product(m, o, f), taps: (0, 1), into: (m, 0, 1) };
        // SAFETY: dy is [m, o], w [f, o], dx [m, f].
        unsafe {
            cuda::input_gradient(gpu, cx.precision, back, Operands::new(operand, w.ptr()?), dx.ptr_mut()?)?;
        }
        grads[0] = Some(dx);
    }
    if cx.wants(1) {
        let mut dw = Tensor::on(gpu, DType::F32, &[f, o])?;
        let x = &readable(cx.saved(0)?, cx.precision)?;
        // SAFETY: x is [m, f], dy [m, o], dw [f, o].
        unsafe {
            cuda::weight_gradient(gpu, cx.precision, product(m, f, o), Input::of(x)?, operand, dw.ptr_mut()?)?;
        }
        grads[1] = Some(dw);
    }
    if cx.wants(2) {
        grads[2] = Some(cuda::column_sums(gpu, dy, o)?);
    }
    Ok(grads)
}

/// The change on the window `to`, from that of rows, or, behind [`crate::ops::flatten`], of the map that is one row now.
pub(super) fn delta(gpu: &Gpu, cx: &Cx, rows: bool, at: &Window, d: &Tensor, to: &Window) -> Result<Tensor> {
    let (w, m) = (cx.saved(1)?, to.mutants());
    let ([f, o], c) = (w.dims("linear", "weight")?, d.shape()[2]);
    let mut y = Tensor::on(gpu, DType::F32, &[to.width, m, o])?;
    let prepared = cx.prepared(|| Ok(Prepared::default()))?;
    let mut operands = Operands { prepared: Some(prepared), ..Operands::new(Input::of(d)?, w.ptr()?) };
    if rows {
        // SAFETY: d is [to.width, m, f], w [f, o], y [to.width, m, o].
        unsafe { cuda::rows(gpu, cx.precision, product(to.width * m, f, o), operands, y.ptr_mut()?.into())? };
        return Ok(y);
    }
    // A position is a tap whose weights are its rows of W: mutants have the taps of their windows.
    let start = gpu.table(&at.start)?;
    operands.from = start.ptr();
    let slices = Rows { rows: m, n: o, c, per: m, l: at.width, taps: at.len, stride: 0, pad: 0, dilation: 1 };
    // SAFETY: d is [at.width, m, c], w [at.len c, o], y [1, m, o]; the table has a start for every mutant.
    unsafe { cuda::rows(gpu, cx.precision, slices, operands, y.ptr_mut()?.into())? };
    Ok(y)
}
