//! Changes and sums in the memory of a GPU: the twins of what [`super::window`] does with rows on the CPU.
//!
//! Rows are moved as words of 32 bits, of which one of f32 has as many as channels, a padded one of 16-bit floats half its pitch.

use super::Window;
use crate::device::kernels::launch;
use crate::device::{Gpu, Launch};
use crate::error::Result;
use crate::tensor::{DType, Tensor};

/// `a += b`.
pub(super) fn add(gpu: &Gpu, a: &mut Tensor, b: &Tensor) -> Result<()> {
    let n = a.len();
    // SAFETY: both tensors have `n` elements.
    unsafe { launch::rows_add_f32(gpu, Launch::elements(n), b.ptr()?, a.ptr_mut()?, n as i64) }
}

/// The change `d` `[width, M, C]` of the window `from` on the window `to`; zero where there was none or outside the sequence.
pub(super) fn placed(gpu: &Gpu, d: &Tensor, from: &Window, to: &Window) -> Result<Tensor> {
    let m = to.mutants();
    let mut y = Tensor::on(gpu, d.dtype(), &[to.width, m, d.shape()[2]])?;
    let (old, new) = (gpu.table(&from.start)?, gpu.table(&to.start)?);
    let sizes = [m, d.row_words(), from.width, to.width, to.len].map(|n| n as i32);
    let [m, c, from_width, to_width, len] = sizes;
    // SAFETY: the tables have an entry for every mutant, the tensors the shapes that the sizes say.
    unsafe {
        let (x, y, cfg) = (d.words()?, y.words_mut()?, Launch::elements(y.len()));
        launch::rows_place_f32(gpu, cfg, x, old.ptr(), new.ptr(), y, m, c, from_width, to_width, len)?;
    }
    Ok(y)
}

/// The change of a flattened map as one row of all positions, `[1, M, len C]`, in f32: products take it in rows.
pub(super) fn vector(gpu: &Gpu, d: &Tensor, at: &Window) -> Result<Tensor> {
    let d = &d.to_dtype(DType::F32)?;
    let (m, c, len) = (at.mutants(), d.shape()[2], at.len);
    let mut y = Tensor::on(gpu, DType::F32, &[1, m, len * c])?;
    let start = gpu.table(&at.start)?;
    // SAFETY: as above.
    unsafe {
        let (x, y, cfg) = (d.ptr()?, y.ptr_mut()?, Launch::elements(y.len()));
        launch::rows_vector_f32(gpu, cfg, x, start.ptr(), y, m as i32, c as i32, at.width as i32, len as i32)?;
    }
    Ok(y)
}

/// Zeros in the rows of `d` that lie outside of the sequence.
pub(super) fn clear(gpu: &Gpu, d: &mut Tensor, at: &Window) -> Result<()> {
    let (m, c) = (at.mutants(), d.row_words());
    let start = gpu.table(&at.start)?;
    let cfg = Launch::elements(d.len());
    // SAFETY: as above.
    unsafe {
        launch::rows_clear_f32(
            gpu,
            cfg,
            d.words_mut()?,
            start.ptr(),
            m as i32,
            c as i32,
            at.width as i32,
            at.len as i32,
        )
    }
}

/// Mutants `list` of `d` `[width, M, C]`, in that order.
pub(super) fn select(gpu: &Gpu, d: &Tensor, list: &[usize]) -> Result<Tensor> {
    let [width, m, c] = d.dims("delta", "change")?;
    let lanes: Vec<i32> = list.iter().map(|&i| i as i32).collect();
    let (mut y, c) = (Tensor::on(gpu, d.dtype(), &[width, list.len(), c])?, d.row_words());
    let lanes = gpu.table_once(&lanes)?;
    // SAFETY: the list has an entry for every mutant of `y`, each below `m`; the shapes are those that the sizes say.
    unsafe {
        let (x, y, cfg) = (d.words()?, y.words_mut()?, Launch::elements(y.len()));
        launch::rows_select_f32(gpu, cfg, x, lanes.ptr(), y, width as i32, m as i32, list.len() as i32, c as i32)?;
    }
    Ok(y)
}

/// Puts the change `d` of mutants on `at` into lanes `first..` of `y`, which lies on `to`, row by row at the same positions.
pub(super) fn insert(gpu: &Gpu, d: &Tensor, at: &Window, y: &mut Tensor, to: &Window, lanes: &[i32]) -> Result<()> {
    let c = d.row_words();
    let (old, new, lanes) = (gpu.table(&at.start)?, gpu.table(&to.start)?, gpu.table_once(lanes)?);
    let sizes = [at.mutants(), to.mutants(), c, at.width, to.width, to.len].map(|n| n as i32);
    let [n, m, c, from_width, to_width, len] = sizes;
    // SAFETY: the tables have an entry for every mutant, lanes lie below `m`; the shapes are those that the sizes say.
    unsafe {
        let (x, y, cfg) = (d.words()?, y.words_mut()?, Launch::elements(d.len()));
        launch::rows_insert_f32(gpu, cfg, x, old.ptr(), lanes.ptr(), new.ptr(), y, n, m, c, from_width, to_width, len)
    }
}
