//! Launches of `kernels/reverse_complement.cu`.

use crate::device::kernels::launch;
use crate::device::{Gpu, Launch};
use crate::error::Result;
use crate::tensor::{DType, Tensor};

/// The other strand of packed bases `[N, L]`.
pub(super) fn bases(gpu: &Gpu, x: &Tensor) -> Result<Tensor> {
    let [n, l] = x.dims("reverse_complement", "x")?;
    let mut y = Tensor::on(gpu, DType::U8, x.shape())?;
    // SAFETY: x and y have `n` sequences of `l` bases.
    unsafe {
        let (x, to) = (x.ptr()?, y.ptr_mut()?);
        launch::reverse_complement_bases_u8(gpu, Launch::elements(n * l), x, to, n as i32, l as i32)?;
    }
    Ok(y)
}

/// Rows of four numbers, turned along the second of the sizes `[A, B, I]`.
pub(super) fn rows(gpu: &Gpu, x: &Tensor, sizes: [usize; 3]) -> Result<Tensor> {
    let mut y = Tensor::on(gpu, DType::F32, x.shape())?;
    let [outer, turned, inner] = sizes.map(|n| n as i32);
    // SAFETY: x and y have as many rows of four numbers as the sizes say.
    unsafe {
        let (x, to) = (x.ptr()?, y.ptr_mut()?);
        launch::reverse_complement_rows_f32(gpu, Launch::elements(y.len()), x, to, outer, turned, inner)?;
    }
    Ok(y)
}
