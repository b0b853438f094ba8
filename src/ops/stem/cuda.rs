//! Launches of `kernels/stem.cu`.

use super::{Stem, Strands};
use crate::device::kernels::launch;
use crate::device::{Gpu, Launch, Memory, Ptr};
use crate::error::Result;
use crate::ops::or_null;
use crate::tape::{Change, Cx, Delta, Edit, Grads, Window};
use crate::tensor::{DType, Tensor};

/// Sizes of the kernels' tiles.
pub(in crate::ops) const POSITIONS: usize = 128;
pub(in crate::ops) const CHANNELS: usize = 32;
/// Positions and taps of a tile of the weights' gradient.
const WEIGHT_POSITIONS: usize = 64;
const WEIGHT_TAPS: usize = 16;
/// So many of them a block has at least, so that the parts of the sum are not as large as what is summed.
const WEIGHT_TILES: usize = 4;
/// Pairs of codes.
const PAIRS: usize = 36;
/// Shared memory that a block asks for at most, so that two of them fit on a multiprocessor.
const SHARED_BYTES: usize = 110 * 1024;
/// Taps of dense input that are held at once.
const DENSE_TAPS: usize = 64;
/// Blocks that fill any GPU.
const BLOCKS: usize = 2048;

fn tile_bytes(pairs: usize) -> usize {
    pairs * PAIRS * CHANNELS * size_of::<f32>() + 2 * (POSITIONS + 2 * pairs) * size_of::<u16>()
}

fn dense_bytes(taps: usize) -> usize {
    (taps * 4 * CHANNELS + 2 * 4 * (POSITIONS + taps)) * size_of::<f32>()
}

/// Sizes as kernels take them.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Shape {
    pub(in crate::ops) l: i32,
    pub(in crate::ops) o: i32,
    pub(in crate::ops) k: i32,
    pub(in crate::ops) left: i32,
    pub(in crate::ops) mode: i32,
}

/// The tensors and sizes of a stem on a GPU.
pub(in crate::ops) struct On<'a> {
    pub(in crate::ops) gpu: &'a Gpu,
    pub(in crate::ops) x: &'a Tensor,
    pub(in crate::ops) w: &'a Tensor,
    bias: Option<&'a Tensor>,
    pub(in crate::ops) l: usize,
    pub(in crate::ops) o: usize,
    pub(in crate::ops) shape: Shape,
    pub(in crate::ops) strands: Strands,
}

/// A launch of tiles of packed bases, and the pairs of taps whose table a block holds at once.
pub(in crate::ops) struct Packed {
    pub(in crate::ops) cfg: Launch,
    pub(in crate::ops) chunk: i32,
}

/// What is done with the values of the strands.
enum Finish<'a> {
    Combine,
    Keep,
    /// Tape rows, dy, gradients of the strands.
    Split(Ptr<i32>, &'a Tensor, [&'a mut Tensor; 2]),
}

impl<'a> On<'a> {
    pub(in crate::ops) fn new(
        stem: &Stem,
        gpu: &'a Gpu,
        x: &'a Tensor,
        w: &'a Tensor,
        bias: Option<&'a Tensor>,
    ) -> Self {
        let (l, o) = (x.shape()[1], w.shape()[2]);
        let [width, channels, k, left] = [l, o, stem.a.kernel, stem.a.left].map(|n| n as i32);
        let shape = Shape { l: width, o: channels, k, left, mode: stem.a.strands as i32 };
        Self { gpu, x, w, bias, l, o, shape, strands: stem.a.strands }
    }

    pub(in crate::ops) fn of(stem: &Stem, gpu: &'a Gpu, cx: &Cx<'a>) -> Result<Self> {
        Ok(Self::new(stem, gpu, cx.saved(0)?, cx.saved(1)?, cx.saved(2).ok()))
    }

    pub(in crate::ops) fn bias(&self) -> Result<Ptr<f32>> {
        or_null(self.bias)
    }

    /// The launch of a kernel of packed bases with `tiles` tiles, which uses `extra` bytes of shared memory behind the table.
    pub(in crate::ops) fn packed(&self, tiles: usize, extra: usize) -> Packed {
        let k = self.shape.k as usize;
        let budget = SHARED_BYTES.min(self.gpu.about().shared_bytes as usize) - extra;
        let chunk = k.div_ceil(2).min((budget - tile_bytes(0)) / (tile_bytes(1) - tile_bytes(0)));
        Packed { cfg: self.grid(tiles, tile_bytes(chunk) + extra), chunk: chunk as i32 }
    }

    fn grid(&self, tiles: usize, shared_bytes: usize) -> Launch {
        let channels = self.o.div_ceil(CHANNELS);
        // Two tiles a block at least: its table costs as much as a tile.
        let blocks = tiles.div_ceil(2).min(BLOCKS.div_ceil(channels.max(1)));
        Launch { grid: [blocks as u32, channels as u32, 1], block: 256, shared_bytes: shared_bytes as u32 }
    }

    /// Computes the strands of `n` sequences and finishes them; y = where the values or the combination go.
    fn strands(&self, n: usize, finish: Finish, y: Option<&mut Tensor>) -> Result<()> {
        let (gpu, packed, k) = (self.gpu, self.x.dtype() == DType::U8, self.shape.k as usize);
        let tiles = n * self.l.div_ceil(POSITIONS);
        let Packed { cfg, chunk } = if packed {
            self.packed(tiles, 0)
        } else {
            let chunk = k.min(DENSE_TAPS);
            Packed { cfg: self.grid(tiles, dense_bytes(chunk)), chunk: chunk as i32 }
        };
        let (Shape { l, o, k, left, mode }, n) = (self.shape, n as i32);
        let (w, bias) = (self.w.ptr()?, self.bias()?);
        // SAFETY: the tensors have the shapes that the sizes say; the rows of `Split` are rows of x. Shared memory is what the
        // kernels lay out in it for this chunk.
        unsafe {
            match (finish, y) {
                (Finish::Split(rows, dy, [df, dr]), _) => {
                    let (dy, df, dr) = (dy.ptr()?, df.ptr_mut()?, dr.ptr_mut()?);
                    if packed {
                        let x = self.x.ptr()?;
                        launch::stem_split_f32(gpu, cfg, x, rows, w, bias, dy, df, dr, n, l, o, k, left, mode, chunk)
                    } else {
                        let x = self.x.ptr()?;
                        launch::stem_split_dense_f32(
                            gpu, cfg, x, rows, w, bias, dy, df, dr, n, l, o, k, left, mode, chunk,
                        )
                    }
                }
                (Finish::Combine, Some(y)) => {
                    let y = y.ptr_mut()?;
                    if packed {
                        launch::stem_fwd_f32(gpu, cfg, self.x.ptr()?, w, bias, y, n, l, o, k, left, mode, chunk)
                    } else {
                        launch::stem_fwd_dense_f32(gpu, cfg, self.x.ptr()?, w, bias, y, n, l, o, k, left, mode, chunk)
                    }
                }
                (Finish::Keep, Some(z)) => {
                    let z = z.ptr_mut()?;
                    if packed {
                        launch::stem_values_f32(gpu, cfg, self.x.ptr()?, w, bias, z, n, l, o, k, left, chunk)
                    } else {
                        launch::stem_values_dense_f32(gpu, cfg, self.x.ptr()?, w, bias, z, n, l, o, k, left, chunk)
                    }
                }
                (_, None) => Ok(()),
            }
        }
    }

    /// Rows of W for all six codes, `[k, 6, O]`.
    pub(in crate::ops) fn table(&self) -> Result<Tensor> {
        let Shape { o, k, .. } = self.shape;
        let mut table = Tensor::on(self.gpu, DType::F32, &[k as usize, super::LETTERS, self.o])?;
        // SAFETY: both have `k` taps of `o` channels.
        unsafe {
            launch::stem_table_f32(self.gpu, Launch::elements(table.len()), self.w.ptr()?, table.ptr_mut()?, k, o)?
        };
        Ok(table)
    }

    /// Gradients of x, W and the bias, those that are wanted, from those of the strands `[R, L, O]`, times `scale`.
    pub(in crate::ops) fn gradients(
        &self,
        op: &'static str,
        cx: &Cx,
        r: usize,
        df: &Tensor,
        dr: Option<&Tensor>,
        scale: f32,
    ) -> Result<Grads> {
        let weights = cx.wants(1) || cx.wants(2);
        if weights {
            cx.whole_batch(op)?;
        }
        let dx = if cx.wants(0) { Some(self.input_gradient(r, df, dr, scale)?) } else { None };
        let (mut dw, mut db) = (None, None);
        if weights {
            let [w, b] = self.weight_gradient(r, df, dr, scale)?;
            (dw, db) = (cx.wants(1).then_some(w), cx.wants(2).then_some(b));
        }
        Ok(vec![dx, dw, db])
    }

    /// dx `[R, L, 4]` from the gradients of the strands, times `scale`.
    fn input_gradient(&self, r: usize, df: &Tensor, dr: Option<&Tensor>, scale: f32) -> Result<Tensor> {
        let mut dx = Tensor::on(self.gpu, DType::F32, &[r, self.l, 4])?;
        let (cfg, Shape { l, o, k, left, .. }) = (Launch::new(r * self.l.div_ceil(POSITIONS), 256), self.shape);
        // SAFETY: the tensors have the shapes that the sizes say, there is a block for every tile of every row.
        unsafe {
            let (df, dr, w) = (df.ptr()?, or_null(dr)?, self.w.ptr()?);
            launch::stem_dgrad_f32(self.gpu, cfg, df, dr, w, dx.ptr_mut()?, l, o, k, left, scale)?;
        }
        Ok(dx)
    }

    /// dW `[k, 4, O]` and the gradient of the bias `[O]`, times `scale`.
    fn weight_gradient(&self, n: usize, df: &Tensor, dr: Option<&Tensor>, scale: f32) -> Result<[Tensor; 2]> {
        let (gpu, Shape { l, o, k, left, .. }) = (self.gpu, self.shape);
        let (channels, taps) = (self.o.div_ceil(CHANNELS), (k as usize).div_ceil(WEIGHT_TAPS));
        // A number that depends on sizes alone: it is part of the order of the sum.
        let tiles = n * self.l.div_ceil(WEIGHT_POSITIONS);
        let parts = tiles.div_ceil(WEIGHT_TILES).min(BLOCKS.div_ceil(channels.max(1) * taps));
        let size = (4 * k as usize + 1) * self.o;
        let mut part = Tensor::on(gpu, DType::F32, &[parts, size])?;
        let mut dw = Tensor::on(gpu, DType::F32, &[k as usize, 4, self.o])?;
        let mut db = Tensor::on(gpu, DType::F32, &[self.o])?;
        let cfg = Launch { grid: [parts as u32, channels as u32, taps as u32], block: 128, shared_bytes: 0 };
        let packed = self.x.dtype() == DType::U8;
        // SAFETY: the tensors have the shapes that the sizes say; one of codes and numbers is there.
        unsafe {
            let codes = if packed { self.x.ptr()? } else { Ptr::NULL };
            let numbers = if packed { Ptr::NULL } else { self.x.ptr()? };
            let (df, dr) = (df.ptr()?, or_null(dr)?);
            launch::stem_wgrad_f32(gpu, cfg, codes, numbers, df, dr, part.ptr_mut()?, n as i32, l, o, k, left)?;
            let cfg = Launch::elements(size);
            launch::stem_wsum_f32(gpu, cfg, part.ptr()?, dw.ptr_mut()?, db.ptr_mut()?, parts as i32, k, o, scale)?;
        }
        Ok([dw, db])
    }
}

/// y `[N, L, O]`.
pub(super) fn forward(stem: &Stem, gpu: &Gpu, x: &Tensor, w: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let on = On::new(stem, gpu, x, w, bias);
    let n = x.shape()[0];
    let mut y = Tensor::on(gpu, DType::F32, &[n, on.l, on.o])?;
    on.strands(n, Finish::Combine, Some(&mut y))?;
    Ok(y)
}

/// Gradients of x, W and the bias, those that are wanted.
pub(super) fn backward(stem: &Stem, gpu: &Gpu, cx: &Cx, dy: &Tensor) -> Result<Grads> {
    let on = On::of(stem, gpu, cx)?;
    let r = dy.shape()[0];
    match on.strands {
        Strands::Forward => on.gradients("stem", cx, r, dy, None, 1.0),
        // Both are half of dy.
        Strands::Mean => on.gradients("stem", cx, r, dy, Some(dy), 0.5),
        Strands::Max | Strands::Weighted => {
            let mut df = Tensor::on(gpu, DType::F32, dy.shape())?;
            let mut dr = Tensor::on(gpu, DType::F32, dy.shape())?;
            on.strands(r, Finish::Split(cx.rows_on(gpu)?.ptr(), dy, [&mut df, &mut dr]), None)?;
            on.gradients("stem", cx, r, &df, Some(&dr), 1.0)
        }
    }
}

/// What delta sweeps need besides the input, made once a tape.
struct Kept {
    /// Rows of W for all six codes, `[k, 6, O]`, for packed bases.
    table: Option<Tensor>,
    /// Values of both strands, `[N, L, 2, O]`, where the combination is not linear.
    values: Option<Tensor>,
}

impl Kept {
    fn new(on: &On) -> Result<Self> {
        let (gpu, n) = (on.gpu, on.x.shape()[0]);
        let mut kept = Self { table: None, values: None };
        if on.x.dtype() == DType::U8 {
            kept.table = Some(on.table()?);
        }
        if matches!(on.strands, Strands::Max | Strands::Weighted) {
            let mut values = Tensor::on(gpu, DType::F32, &[n, on.l, 2, on.o])?;
            on.strands(n, Finish::Keep, Some(&mut values))?;
            kept.values = Some(values);
        }
        Ok(kept)
    }
}

/// The edits of all mutants, sorted by position: where those of each begin, then position * 8 + new base of each.
pub(in crate::ops) fn flat(gpu: &Gpu, edits: &[Vec<Edit>]) -> Result<Memory> {
    let mut all: Vec<i32> = Vec::with_capacity(edits.iter().map(|e| e.len() + 1).sum::<usize>() + 1);
    let mut end = 0;
    all.push(0);
    for mutant in edits {
        end += mutant.len() as i32;
        all.push(end);
    }
    for mutant in edits {
        let from = all.len();
        all.extend(mutant.iter().map(|e| (e.at as i32) << 3 | i32::from(e.to)));
        all[from..].sort_unstable();
    }
    gpu.upload(&all)
}

/// Change of y on the window `to`.
pub(super) fn delta(stem: &Stem, gpu: &Gpu, cx: &Cx, change: &Delta, to: &Window) -> Result<Tensor> {
    let on = On::of(stem, gpu, cx)?;
    let kept = cx.prepared(|| Kept::new(&on))?;
    let m = to.mutants();
    let mut y = Tensor::on(gpu, DType::F32, &[to.width, m, on.o])?;
    let (rows, start) = (cx.rows_on(gpu)?, gpu.table(&to.start)?);
    let cfg = Launch::elements(to.width * m * on.o.div_ceil(4));
    let (Shape { l, o, k, left, mode }, m, width) = (on.shape, m as i32, to.width as i32);
    // SAFETY: the tables have an entry for every mutant, x and the values the rows of the tape that `rows` names; edits lie inside
    // of the sequence (`Delta::edits`).
    unsafe {
        let (rows, start, y) = (rows.ptr(), start.ptr(), y.ptr_mut()?);
        let values = or_null(kept.values.as_ref())?;
        match &change.change {
            Change::Bases(edits) => {
                let (x, edits) = (on.x.ptr()?, flat(gpu, edits)?);
                let table = or_null(kept.table.as_ref())?;
                let edits = Ptr::new(edits.address());
                launch::stem_delta_f32(
                    gpu, cfg, x, table, values, edits, rows, start, y, m, width, l, o, k, left, mode,
                )?;
            }
            Change::Rows(d) => {
                let (from, from_width) = (gpu.table(&change.at.start)?, change.at.width as i32);
                let (d, w, from) = (d.ptr()?, on.w.ptr()?, from.ptr());
                launch::stem_delta_rows_f32(
                    gpu, cfg, d, w, values, rows, from, start, y, m, width, from_width, l, o, k, left, mode,
                )?;
            }
        }
    }
    Ok(y)
}
