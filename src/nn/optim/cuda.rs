//! Launches of `kernels/optim.cu`.

use std::sync::Arc;

use super::{Adam, Step};
use crate::device::kernels::launch;
use crate::device::{Gpu, Launch, Ptr, PtrMut};
use crate::error::Result;
use crate::tensor::Tensor;

/// Elements of a block.
const CHUNK: usize = 4096;
/// Numbers of a tensor in the table of a step: address of the gradient, offset, length, flags, four pairs of scalars.
const RECORD: usize = 8;

/// Tensor and first element of every block, for tensors of these lengths.
pub(super) fn chunks(lengths: impl Iterator<Item = usize>) -> Arc<[i32]> {
    lengths.enumerate().flat_map(|(i, n)| (0..n).step_by(CHUNK).flat_map(move |at| [i as i32, at as i32])).collect()
}

/// Flags and scalars of a step, in the order of the kernels.
fn scalars(step: &Step<f32>) -> (i64, [f32; 8]) {
    let z = 0.0;
    let moments =
        |a: &Adam<f32>, gradient| [a.decay, a.rate, a.shrink, a.beta2, a.fresh.0, a.fresh.1, a.correction, gradient];
    match *step {
        Step::Sgd { decay, momentum, nesterov, first, rate } => {
            (i64::from(nesterov) | i64::from(first) << 1, [decay, rate, momentum, z, z, z, z, z])
        }
        Step::Adagrad { decay, rate } => (0, [decay, rate, z, z, z, z, z, z]),
        Step::Adadelta { decay, rho, fresh, rate } => (0, [decay, rate, rho, fresh, z, z, z, z]),
        Step::Adam(adam) => (0, moments(&adam, z)),
        Step::NAdam { moments: adam, gradient } => (0, moments(&adam, gradient)),
    }
}

/// Changes the values of all tensors that have a step.
pub(super) fn step(
    gpu: &Gpu,
    chunks: &Arc<[i32]>,
    lengths: impl Iterator<Item = usize>,
    steps: &[Option<Step<f32>>],
    grads: &[Option<Tensor>],
    values: &mut Tensor,
    slots: &mut [Tensor],
) -> Result<()> {
    let Some(any) = steps.iter().flatten().next() else { return Ok(()) };
    let mut records = Vec::with_capacity(steps.len() * RECORD);
    let mut offset = 0;
    for ((n, step), grad) in lengths.zip(steps).zip(grads) {
        let (mut address, mut flags, mut pairs) = (0, 0, [0; 4]);
        if let (Some(step), Some(grad)) = (step, grad) {
            Tensor::place("optimizer", &[values, grad])?;
            let gradient: Ptr<f32> = grad.ptr()?;
            let (own, numbers) = scalars(step);
            address = gradient.address() as i64;
            flags = own;
            for (pair, n) in pairs.iter_mut().zip(numbers.chunks_exact(2)) {
                *pair = (u64::from(n[0].to_bits()) | u64::from(n[1].to_bits()) << 32) as i64;
            }
        }
        records.extend([address, offset as i64, n as i64, flags]);
        records.extend(pairs);
        offset += n;
    }
    let (memory, table) = (gpu.upload(&records)?, gpu.table(chunks)?);
    let mut runs = [PtrMut::NULL; 3];
    for (run, slot) in runs.iter_mut().zip(slots) {
        *run = slot.ptr_mut()?;
    }
    let (cfg, pieces, chunks) = (Launch::new(chunks.len() / 2, 256), Ptr::new(memory.address()), table.ptr());
    let ([a, b, c], w) = (runs, values.ptr_mut()?);
    // SAFETY: the values and what the rule remembers hold all tensors, at the offsets and of the lengths of the records, whose
    // gradients are as long; there is a block for every chunk.
    unsafe {
        match any {
            Step::Sgd { momentum, .. } if *momentum != 0.0 => {
                launch::optim_momentum_f32(gpu, cfg, pieces, chunks, w, a)
            }
            Step::Sgd { .. } => launch::optim_sgd_f32(gpu, cfg, pieces, chunks, w),
            Step::Adagrad { .. } => launch::optim_adagrad_f32(gpu, cfg, pieces, chunks, w, a),
            Step::Adadelta { .. } => launch::optim_adadelta_f32(gpu, cfg, pieces, chunks, w, a, b),
            Step::Adam(adam) if adam.amsgrad => launch::optim_amsgrad_f32(gpu, cfg, pieces, chunks, w, a, b, c),
            Step::Adam(_) => launch::optim_adam_f32(gpu, cfg, pieces, chunks, w, a, b),
            Step::NAdam { .. } => launch::optim_nadam_f32(gpu, cfg, pieces, chunks, w, a, b),
        }
    }
}

/// Whether all numbers are finite.
pub(super) fn is_finite(gpu: &Gpu, x: &Tensor) -> Result<bool> {
    let flag = gpu.upload(&[0i32])?;
    let (x, n): (Ptr<f32>, _) = (x.ptr()?, x.len());
    // SAFETY: x has `n` elements.
    unsafe { launch::optim_finite_f32(gpu, Launch::elements(n), x, PtrMut::new(flag.address()), n as i64)? };
    let mut found = [0i32];
    flag.download(0, &mut found)?;
    Ok(found[0] == 0)
}
