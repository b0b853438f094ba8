//! What follows a convolution on a GPU: bias, residual, batch norm with its activation.

use super::{Conv1dArgs, cuda};
use crate::device::{Gpu, Precision};
use crate::error::Result;
use crate::ops::{add, batch_norm};
use crate::tape::{Cx, Delta, Tape, Var, Window};
use crate::tensor::{DType, Tensor};
use crate::util::math::Activation;

/// What follows a convolution.
#[derive(Default, Clone, Copy)]
pub(in crate::ops) struct Tail<'a> {
    /// `[O]`
    pub bias: Option<&'a Tensor>,
    /// f32, shape of y.
    pub residual: Option<&'a Tensor>,
    /// Table `[5, C]` of a batch norm, its activation, and the type of the result.
    pub norm: Option<(&'a Tensor, Activation, DType)>,
    /// Whether convolution + bias is stored.
    pub raw: bool,
    /// Whether convolution + bias + residual is stored.
    pub sum: bool,
}

/// The values that were asked for.
pub(in crate::ops) struct Tailed {
    pub raw: Option<Tensor>,
    pub sum: Option<Tensor>,
    pub normed: Option<Tensor>,
}

/// The convolution of `x` with `w`, for `lo` rows of output, and what follows.
pub(in crate::ops) fn forward_tailed(
    gpu: &Gpu,
    p: Precision,
    a: &Conv1dArgs,
    lo: usize,
    x: &Tensor,
    w: &Tensor,
    tail: Tail,
) -> Result<Tailed> {
    let raw = cuda::forward(gpu, p, a, lo, x, w, tail.bias)?;
    let sum = match tail.residual {
        Some(r) => sum(&raw, r)?,
        None => raw.clone(),
    };
    let norm = |(table, f, dtype): (&Tensor, Activation, DType)| {
        batch_norm::cuda::forward(gpu, &sum, table, f, Some(dtype).filter(|t| t.is_half()))
    };
    let normed = tail.norm.map(norm).transpose()?;
    Ok(Tailed { raw: tail.raw.then_some(raw), sum: tail.sum.then_some(sum), normed })
}

/// The change on the window `to`, plus that of a residual on the same window.
pub(in crate::ops) fn delta(
    gpu: &Gpu,
    cx: &Cx,
    a: &Conv1dArgs,
    x: &Delta,
    w: &Tensor,
    to: &Window,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    let y = cuda::delta(gpu, cx, a, x, w, to)?;
    residual.map_or(Ok(y.clone()), |r| sum(&y, r))
}

fn sum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let [a, b] = [a, b].map(|t| Var::constant(t.clone()));
    Ok(add(&mut Tape::predict(), &a, &b)?.value)
}
