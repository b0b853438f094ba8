//! Launches of `kernels/dropout.cu`.

use super::Stream;
use crate::device::kernels::launch;
use crate::device::{Gpu, Launch, Ptr};
use crate::error::Result;
use crate::tensor::{DType, Tensor};

/// `x` with its masks; row r is that of sample `samples[r]`.
pub(super) fn masked(gpu: &Gpu, stream: &Stream, x: &Tensor, samples: &[u32]) -> Result<Tensor> {
    let mut y = Tensor::on(gpu, DType::F32, x.shape())?;
    let (rows, size) = (samples.len(), x.shape()[1..].iter().product::<usize>());
    let samples = gpu.upload(samples)?;
    let cfg = Launch::elements(rows * size.div_ceil(64) * 16);
    let Stream { number, key, threshold, keep } = *stream;
    // SAFETY: x and y are `[rows, size]`, and there is a sample for every row.
    unsafe {
        let (x, y, samples) = (x.ptr()?, y.ptr_mut()?, Ptr::new(samples.address()));
        let (rows, size) = (rows as i64, size as i32);
        launch::dropout_fwd_f32(gpu, cfg, x, samples, y, rows, size, number, key[0], key[1], threshold, keep as f32)?;
    }
    Ok(y)
}
