//! Launches of `kernels/stem_pool.cu`.

use super::{StemPool, VALUES};
use crate::device::kernels::launch;
use crate::device::{Gpu, Launch, Ptr};
use crate::error::Result;
use crate::ops::or_null_mut;
use crate::ops::stem::Strands;
use crate::ops::stem::cuda::{CHANNELS, On, POSITIONS, Packed, Shape, flat};
use crate::tape::{Cx, Edit, Grads, Save, Window};
use crate::tensor::{DType, Tensor};

/// Threads of a delta sweep that fill a GPU; where there are more, each takes more mutants.
const THREADS: usize = 400_000;
/// Bytes of shared memory of a tile of the map, and what may be left out before it.
const MAP_BYTES: usize = (POSITIONS * CHANNELS + 4) * size_of::<f32>();
/// Bytes of shared memory of a block of the delta sweep.
const SLOT_BYTES: u32 = 32 * 256 * size_of::<f32>() as u32;

/// Sizes of the pool as kernels take them.
struct Windows {
    lo: i32,
    size: i32,
    stride: i32,
    before: i32,
    kind: i32,
}

impl StemPool {
    fn windows(&self, lo: usize) -> Windows {
        let a = &self.pool.a;
        let [lo, size, stride, before] = [lo, a.size, a.stride, a.pad.0].map(|n| n as i32);
        Windows { lo, size, stride, before, kind: a.kind as i32 }
    }

    /// Tiles of `n` sequences: 128 positions hold so many whole windows.
    fn tiles(&self, n: usize) -> usize {
        let a = &self.pool.a;
        n * (self.pool.l + a.pad.0).div_ceil(POSITIONS / a.stride * a.stride)
    }
}

/// y `[N, Lo, O]`; keeps what mutants need.
pub(super) fn forward(op: &StemPool, gpu: &Gpu, x: &[&Tensor], lo: usize, save: &mut Save) -> Result<Tensor> {
    let on = On::new(&op.stem, gpu, x[0], x[1], x.get(2).copied());
    let n = x[0].shape()[0];
    let mut y = Tensor::on(gpu, DType::F32, &[n, lo, on.o])?;
    let mut values = if save.keep.delta { Some(Tensor::on(gpu, DType::F32, &op.kept_shape(n, on.o))?) } else { None };
    let Packed { cfg, chunk } = on.packed(op.tiles(n), MAP_BYTES);
    let (Shape { l, o, k, left, mode }, f) = (on.shape, op.f as i32);
    let Windows { lo, size, stride, before, kind } = op.windows(lo);
    // SAFETY: the tensors have the shapes that the sizes say; shared memory is what the kernel lays out in it for this chunk.
    unsafe {
        let (x, w, bias, y) = (on.x.ptr()?, on.w.ptr()?, on.bias()?, y.ptr_mut()?);
        let values = or_null_mut(values.as_mut())?;
        launch::stem_pool_fwd_f32(
            gpu, cfg, x, w, bias, y, values, n as i32, l, o, k, left, mode, f, lo, size, stride, before, kind, chunk,
        )?;
    }
    if let Some(values) = &values {
        save.put(VALUES, true, values);
    }
    Ok(y)
}

/// Gradients of x, W and the bias, those that are wanted.
pub(super) fn backward(op: &StemPool, gpu: &Gpu, cx: &Cx, dy: &Tensor) -> Result<Grads> {
    let on = On::of(&op.stem, gpu, cx)?;
    let [r, lo, _] = dy.dims("stem_pool", "dy")?;
    let shape = [r, on.l, on.o];
    let mut df = Tensor::on(gpu, DType::F32, &shape)?;
    let mut dr = if op.keeps_both() { Some(Tensor::on(gpu, DType::F32, &shape)?) } else { None };
    let Packed { cfg, chunk } = on.packed(op.tiles(r), MAP_BYTES);
    let (Shape { l, o, k, left, mode }, f, rows) = (on.shape, op.f as i32, cx.rows_on(gpu)?);
    let Windows { lo, size, stride, before, kind } = op.windows(lo);
    // SAFETY: as above; x has the rows of the tape that `rows` names.
    unsafe {
        let (x, w, bias, dy, df) = (on.x.ptr()?, on.w.ptr()?, on.bias()?, dy.ptr()?, df.ptr_mut()?);
        let dr = or_null_mut(dr.as_mut())?;
        launch::stem_pool_split_f32(
            gpu,
            cfg,
            x,
            rows.ptr(),
            w,
            bias,
            dy,
            df,
            dr,
            r as i32,
            l,
            o,
            k,
            left,
            mode,
            f,
            lo,
            size,
            stride,
            before,
            kind,
            chunk,
        )?;
    }
    match on.strands {
        Strands::Forward => on.gradients("stem_pool", cx, r, &df, None, 1.0),
        // Both are half of it.
        Strands::Mean => on.gradients("stem_pool", cx, r, &df, Some(&df), 0.5),
        Strands::Max | Strands::Weighted => on.gradients("stem_pool", cx, r, &df, dr.as_ref(), 1.0),
    }
}

/// Change of y on the window `to` by edits that change the map on `from`.
pub(super) fn delta(
    op: &StemPool,
    gpu: &Gpu,
    cx: &Cx,
    edits: &[Vec<Edit>],
    from: &Window,
    to: &Window,
) -> Result<Tensor> {
    let on = On::of(&op.stem, gpu, cx)?;
    let table = cx.prepared(|| on.table())?;
    let m = to.mutants();
    let mut y = Tensor::on(gpu, DType::F32, &[to.width, m, on.o])?;
    let (rows, old, new, edits) = (cx.rows_on(gpu)?, gpu.table(&from.start)?, gpu.table(&to.start)?, flat(gpu, edits)?);
    let cells = y.len().div_ceil(4);
    let per = (cells / THREADS).clamp(4, 16);
    let cfg = Launch { shared_bytes: SLOT_BYTES, ..Launch::elements(cells.div_ceil(per)) };
    let (Shape { l, o, k, left, mode }, f) = (on.shape, op.f as i32);
    let Windows { lo, size, stride, before, kind } = op.windows(to.len);
    let [m, width, from_width, per] = [m, to.width, from.width, per].map(|n| n as i32);
    // SAFETY: the tables have an entry for every mutant, x and the values the rows of the tape that `rows` names; edits lie inside
    // of the sequence (`Delta::edits`).
    unsafe {
        let (x, table, values, y) = (on.x.ptr()?, table.ptr()?, cx.saved(VALUES)?.ptr()?, y.ptr_mut()?);
        let (edits, rows, old, new) = (Ptr::new(edits.address()), rows.ptr(), old.ptr(), new.ptr());
        launch::stem_pool_delta_f32(
            gpu, cfg, x, table, values, edits, rows, old, new, y, m, width, from_width, per, l, o, k, left, mode, f,
            lo, size, stride, before, kind,
        )?;
    }
    Ok(y)
}
