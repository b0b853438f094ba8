//! Launches of `kernels/conv1d_sm90.cu` and `kernels/conv1d_grad_sm90.cu`: convolutions of stride 1 and their gradients on GPUs of
//! compute capability 9.0, with operands of 16 bits.
//!
//! Whether a convolution goes this way depends on its channels alone, so that a row's bits do not depend on the batch.

use std::sync::OnceLock;

use super::cuda::{Back, Operands, Rows, sum};
use crate::device::driver::Boxes;
use crate::device::kernels::launch;
use crate::device::{Bf16, F16, Gpu, Launch, Memory, Precision, Ptr, PtrMut};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// Channels of a bulk copy.
const SLICE: usize = 64;
/// Below so many channels of input or output most of a tile would be padding.
const CHANNELS: usize = 32;
/// The most stages that a kernel knows.
const STAGES: u32 = 8;

/// What products are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// One bf16 each.
    Bf16,
    /// One IEEE 16-bit float each.
    F16,
    /// The sum of two bf16: 16 bits, and the range of f32.
    Bf16x2,
    /// The sum of two IEEE 16-bit floats, scaled: 22 bits.
    F16x2,
}

impl Kind {
    /// For values: as exact as f32. Three products of 16 bits are faster than one of tf32, and more exact.
    fn of_value(p: Precision) -> Self {
        if p == Precision::F32 { Self::F16x2 } else { Self::of_change(p) }
    }

    /// For changes and gradients, which are used once: no pass over them finds their scale. What is to be as exact as f32 goes
    /// another way ([`takes_change`]).
    fn of_change(p: Precision) -> Self {
        match p {
            Precision::F32 | Precision::Tf32 => Self::Bf16x2,
            Precision::Bf16 => Self::Bf16,
            Precision::F16 => Self::F16,
        }
    }

    fn parts(self) -> usize {
        if matches!(self, Self::Bf16x2 | Self::F16x2) { 2 } else { 1 }
    }

    fn dtype(self) -> DType {
        if matches!(self, Self::F16 | Self::F16x2) { DType::F16 } else { DType::BF16 }
    }
}

/// What a block computes: rows, columns, and how much longer an element takes than in the best tile, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile(usize, usize, usize);

const WHOLE: [Tile; 5] =
    [Tile(256, 160, 100), Tile(128, 256, 100), Tile(256, 128, 103), Tile(128, 192, 106), Tile(256, 64, 130)];
const TWICE: [Tile; 4] = [Tile(128, 192, 100), Tile(128, 160, 103), Tile(128, 128, 110), Tile(128, 64, 140)];

/// A tile and how it lies: rows of a sequence in it, and sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    tile: Tile,
    rows: usize,
    sequences: usize,
    count: usize,
}

impl Plan {
    fn new(tile: Tile, r: &Rows) -> Self {
        let rows = r.per.min(tile.0);
        let sequences = tile.0 / rows;
        let along = r.per.div_ceil(rows) * (r.rows / r.per).div_ceil(sequences);
        Self { tile, rows, sequences, count: along * r.n.div_ceil(tile.1) }
    }

    /// The plan that should be done first. The bits are the same with every one.
    fn choose(processors: usize, kind: Kind, r: &Rows) -> Self {
        let tiles: &[Tile] = if kind.parts() == 2 { &TWICE } else { &WHOLE };
        let plans = tiles.iter().map(|&tile| Self::new(tile, r));
        plans.min_by_key(|p| p.tile.time(processors, p.count)).expect("there are tiles for every kind")
    }
}

impl Tile {
    /// How long `count` tiles take.
    fn time(self, processors: usize, count: usize) -> usize {
        count.div_ceil(processors) * self.0 * self.1 * self.2
    }

    /// The stages that fit besides a KB of barriers, and the launch of `count` tiles on so many processors with so much shared memory.
    fn launch(self, processors: usize, shared_bytes: u32, kind: Kind, count: usize) -> (i32, Launch) {
        let stage = (kind.parts() * 2 * SLICE * (self.0 + self.1)) as u32;
        let stages = (shared_bytes.saturating_sub(1024) / stage).clamp(1, STAGES);
        let blocks = count.min(processors);
        (stages as i32, Launch { shared_bytes: stages * stage, ..Launch::new(blocks, 384) })
    }
}

fn processors(gpu: &Gpu) -> usize {
    gpu.about().multiprocessors.max(1) as usize
}

/// Whether there is a form of this convolution here.
pub(in crate::ops) fn takes(gpu: &Gpu, r: &Rows, from: &Operands) -> bool {
    let sequences = from.from.address() == 0 && r.stride == 1;
    gpu.is_sm90() && sequences && r.c >= CHANNELS && r.n >= CHANNELS && r.l > 0 && r.taps > 0
}

/// As [`takes`], for changes and gradients: two bf16 hold 16 bits, which is too little for what is to be as exact as f32.
pub(in crate::ops) fn takes_change(gpu: &Gpu, p: Precision, r: &Rows, from: &Operands) -> bool {
    p != Precision::F32 && takes(gpu, r, from)
}

/// Weights as the kernels take them, `[parts, taps, n, cp]`.
pub(in crate::ops) struct Weights {
    kind: Kind,
    packed: Tensor,
    largest: Option<Memory>,
}

impl Weights {
    /// Of `[taps, c, n]`.
    ///
    /// # Safety
    /// The memory behind the pointer has that size.
    unsafe fn new(gpu: &Gpu, kind: Kind, w: Ptr<f32>, [taps, c, n]: [usize; 3]) -> Result<Self> {
        let cp = c.next_multiple_of(8);
        // SAFETY: the caller's.
        let largest = unsafe { largest(gpu, kind, w, 1, taps * c * n)? };
        let of = pointer(&largest);
        let mut packed = Tensor::on(gpu, kind.dtype(), &[kind.parts(), taps, n, cp])?;
        let grid = [cp.div_ceil(64) as u32, n.div_ceil(32) as u32, taps as u32];
        let cfg = Launch { grid, block: 256, shared_bytes: 0 };
        let [c, n, cp, parts] = [c, n, cp, kind.parts()].map(|n| n as i32);
        // SAFETY: the caller's; the packed weights have room for all parts.
        unsafe {
            if kind.dtype() == DType::F16 {
                launch::conv1d_pack_weight_f16_sm90(gpu, cfg, w, packed.ptr_mut()?, of, c, n, cp, parts)?;
            } else {
                launch::conv1d_pack_weight_bf16_sm90(gpu, cfg, w, packed.ptr_mut()?, of, c, n, cp, parts)?;
            }
        }
        Ok(Self { kind, packed, largest })
    }
}

/// The weights of an operation for the changes of all sweeps of a tape, each kind when it is first asked for.
#[derive(Default)]
pub(in crate::ops) struct Prepared([OnceLock<Weights>; 4]);

impl Prepared {
    /// `w` `[taps, c, n]` for this precision.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub(in crate::ops) fn weights(&self, gpu: &Gpu, p: Precision, w: &Tensor) -> Result<&Weights> {
        let kind = Kind::of_change(p);
        let cell = &self.0[kind as usize];
        if let Some(found) = cell.get() {
            return Ok(found);
        }
        // SAFETY: the tensor has the shape that is said.
        let made = unsafe { Weights::new(gpu, kind, w.ptr()?, w.dims("conv1d", "weight")?)? };
        Ok(cell.get_or_init(|| made))
    }
}

/// y `[rows, n]` = the convolution; weights that are not given are made of those in `from`, and as exact as values are.
///
/// # Safety
/// The memory behind the pointers has the sizes that `r` says; [`takes`] has said yes.
pub(in crate::ops) unsafe fn rows(
    gpu: &Gpu,
    p: Precision,
    r: Rows,
    from: Operands,
    weights: Option<&Weights>,
    y: PtrMut<f32>,
) -> Result<()> {
    let made;
    let weights = match weights {
        Some(weights) => weights,
        None => {
            // SAFETY: the caller's.
            made = unsafe { Weights::new(gpu, Kind::of_value(p), from.w, [r.taps, r.c, r.n])? };
            &made
        }
    };
    let kind = weights.kind;
    // SAFETY: the caller's.
    unsafe { convolve(gpu, Plan::choose(processors(gpu), kind, &r), kind, r, (0, 1), from, weights, y) }
}

/// Whether there is a form of this input gradient here: not where rows of it are left for another launch.
pub(in crate::ops) fn takes_back(gpu: &Gpu, p: Precision, r: &Back, from: &Operands) -> bool {
    takes_change(gpu, p, &r.rows, from) && r.into == (r.rows.per, 0, 1)
}

/// dx = the convolution of dy with the transposed weight.
///
/// # Safety
/// The memory behind the pointers has the sizes that `r` says; [`takes_back`] has said yes.
pub(in crate::ops) unsafe fn input_gradient(
    gpu: &Gpu,
    p: Precision,
    r: Back,
    from: Operands,
    dx: PtrMut<f32>,
) -> Result<()> {
    let (kind, Back { rows: r, taps: (first, step), .. }) = (Kind::of_change(p), r);
    // The weight is [taps, n, c] already.
    let taps = 1 + first.max(first.saturating_add_signed(step * (r.taps as isize - 1)));
    // SAFETY: the caller's.
    let packed = unsafe { packed_rows(gpu, kind, from.w, None, taps * r.n, r.c)? };
    let weights =
        Weights { kind, packed: packed.reshape(&[kind.parts(), taps, r.n, r.c.next_multiple_of(8)])?, largest: None };
    // SAFETY: the caller's.
    unsafe { convolve(gpu, Plan::choose(processors(gpu), kind, &r), kind, r, (first, step), from, &weights, dx) }
}

/// Bits of the largest magnitudes in x `[groups, size]`, if products of this kind are scaled.
///
/// # Safety
/// The memory behind the pointer has that size.
unsafe fn largest(gpu: &Gpu, kind: Kind, x: Ptr<f32>, groups: usize, size: usize) -> Result<Option<Memory>> {
    if kind != Kind::F16x2 {
        return Ok(None);
    }
    let mut found = gpu.allocate(groups * size_of::<i32>())?;
    found.fill(0)?;
    let (cfg, to) = (Launch::elements((groups * size).div_ceil(16)), PtrMut::new(found.address()));
    // SAFETY: the caller's; there is an integer for every group.
    unsafe { launch::conv1d_largest_f32_sm90(gpu, cfg, x, to, groups as i32, size as i64)? };
    Ok(Some(found))
}

fn pointer(largest: &Option<Memory>) -> Ptr<i32> {
    largest.as_ref().map_or(Ptr::NULL, |m| Ptr::new(m.address()))
}

/// x `[rows, c]` as the kernels take it, `[parts, rows, cp]`; scaled by the largest of groups of so many rows, if they are given.
///
/// # Safety
/// The memory behind the pointer has that size, and there are so many groups.
unsafe fn packed_rows(
    gpu: &Gpu,
    kind: Kind,
    x: Ptr<f32>,
    groups: Option<(Ptr<i32>, usize)>,
    rows: usize,
    c: usize,
) -> Result<Tensor> {
    let cp = c.next_multiple_of(8);
    let mut y = Tensor::on(gpu, kind.dtype(), &[kind.parts(), rows, cp])?;
    let (largest, group) = groups.unwrap_or((Ptr::NULL, 1));
    let (cfg, rows) = (Launch::elements(rows * cp / 8), rows as i64);
    let [group, c, cp, parts] = [group, c, cp, kind.parts()].map(|n| n as i32);
    // SAFETY: the caller's; y has room for all parts.
    unsafe {
        if kind.dtype() == DType::F16 {
            launch::conv1d_pack_rows_f16_sm90(gpu, cfg, x, y.ptr_mut()?, largest, rows, group, c, cp, parts)?;
        } else {
            launch::conv1d_pack_rows_bf16_sm90(gpu, cfg, x, y.ptr_mut()?, largest, rows, group, c, cp, parts)?;
        }
    }
    Ok(y)
}

fn address(t: &Tensor) -> Result<u64> {
    Ok(if t.dtype() == DType::F16 { t.ptr::<F16>()?.address() } else { t.ptr::<Bf16>()?.address() })
}

/// Describes boxes of `[.., rows, channels]`.
fn boxes(channels: usize, rows: usize, rest: usize, size: [usize; 2]) -> Boxes {
    Boxes {
        dims: [channels, rows, rest].map(|n| n as u64).to_vec(),
        strides: [2 * channels, 2 * channels * rows].map(|n| n as u64).to_vec(),
        size: vec![SLICE as u32, size[0] as u32, size[1] as u32],
    }
}

/// The convolution with the weights' taps `first`, `first + step`, ..
///
/// # Safety
/// The memory behind the pointers has the sizes that `r` says.
#[allow(clippy::too_many_arguments, reason = "what a launch is made of")]
unsafe fn convolve(
    gpu: &Gpu,
    plan: Plan,
    kind: Kind,
    r: Rows,
    (first, step): (usize, isize),
    from: Operands,
    weights: &Weights,
    y: PtrMut<f32>,
) -> Result<()> {
    use Kind::{Bf16, Bf16x2, F16, F16x2};
    let kernel = match (plan.tile.1, kind) {
        (64, Bf16) => launch::conv1d_fwd64_bf16_sm90,
        (128, Bf16) => launch::conv1d_fwd128_bf16_sm90,
        (160, Bf16) => launch::conv1d_fwd160_bf16_sm90,
        (192, Bf16) => launch::conv1d_fwd192_bf16_sm90,
        (_, Bf16) => launch::conv1d_fwd256_bf16_sm90,
        (64, F16) => launch::conv1d_fwd64_f16_sm90,
        (128, F16) => launch::conv1d_fwd128_f16_sm90,
        (160, F16) => launch::conv1d_fwd160_f16_sm90,
        (192, F16) => launch::conv1d_fwd192_f16_sm90,
        (_, F16) => launch::conv1d_fwd256_f16_sm90,
        (64, Bf16x2) => launch::conv1d_fwd64_bf16x2_sm90,
        (128, Bf16x2) => launch::conv1d_fwd128_bf16x2_sm90,
        (160, Bf16x2) => launch::conv1d_fwd160_bf16x2_sm90,
        (_, Bf16x2) => launch::conv1d_fwd192_bf16x2_sm90,
        (64, F16x2) => launch::conv1d_fwd64_f16x2_sm90,
        (128, F16x2) => launch::conv1d_fwd128_f16x2_sm90,
        (160, F16x2) => launch::conv1d_fwd160_f16x2_sm90,
        (_, F16x2) => launch::conv1d_fwd192_f16x2_sm90,
    };
    if r.rows == 0 {
        return Ok(());
    }
    let (sequences, cp) = (r.rows / r.per, r.c.next_multiple_of(8));
    let furthest = r.taps * r.dilation + r.l + r.per + r.pad.unsigned_abs() + plan.tile.0;
    if i32::try_from(furthest.max(r.rows).max(sequences * r.l)).is_err() {
        let what = format!("{} rows at once on a GPU; use smaller batches", r.rows);
        return Err(Error::Unsupported { op: "conv1d", what });
    }
    // SAFETY: the caller's.
    let (x, largest, by_row) = unsafe {
        // With one tap a row needs no scale in common with others: dense layers, whose sequence is the batch.
        let group = if r.taps == 1 { 1 } else { r.l };
        let largest = largest(gpu, kind, from.x, sequences * r.l / group, group * r.c)?;
        let groups = largest.as_ref().map(|m| (Ptr::new(m.address()), group));
        (packed_rows(gpu, kind, from.x, groups, sequences * r.l, r.c)?, largest, i32::from(group == 1))
    };
    if kind == F16x2 && weights.largest.is_none() {
        return Err(gpu.error("weights of conv1d without their scale: this is a bug"));
    }
    let [_, weight_taps, ..] = weights.packed.dims::<4>("conv1d", "weight")?;
    let x_map = gpu.tensor_map(address(&x)?, &boxes(cp, r.l, kind.parts() * sequences, [plan.rows, plan.sequences]))?;
    let w_map =
        gpu.tensor_map(address(&weights.packed)?, &boxes(cp, r.n, kind.parts() * weight_taps, [plan.tile.1, 1]))?;
    let (stages, cfg) = plan.tile.launch(processors(gpu), gpu.about().shared_bytes, kind, plan.count);
    let (pad, step) = (r.pad as i32, step as i32);
    let [per, sequences, n, taps, l] = [r.per, sequences, r.n, r.taps, r.l].map(|n| n as i32);
    let [dilation, slices, first, weight_taps] = [r.dilation, cp.div_ceil(SLICE), first, weight_taps].map(|n| n as i32);
    let [box_rows, box_sequences] = [plan.rows, plan.sequences].map(|n| n as i32);
    // SAFETY: the caller's; the maps describe the packed operands, and boxes of at most a tile.
    unsafe {
        kernel(
            gpu,
            cfg,
            &x_map,
            &w_map,
            from.bias,
            pointer(&largest),
            pointer(&weights.largest),
            by_row,
            y,
            per,
            sequences,
            n,
            taps,
            l,
            pad,
            dilation,
            slices,
            first,
            step,
            weight_taps,
            box_rows,
            box_sequences,
            stages,
        )
    }
}

/// Tiles of weight gradients.
const WHOLE_GRADIENT: [Tile; 4] = [Tile(256, 160, 100), Tile(128, 256, 100), Tile(256, 128, 103), Tile(256, 64, 130)];
const TWICE_GRADIENT: [Tile; 3] = [Tile(128, 160, 100), Tile(128, 128, 106), Tile(128, 64, 135)];
/// Tiles that keep a large GPU busy twice over: sums have so many parts as that takes. The bits of a gradient depend on it.
const BLOCKS: usize = 264;
/// The most sequences that a launch takes.
const SEQUENCES: usize = Launch::MOST_YZ;

/// Whether there is a form of this weight gradient here: sequences are not much shorter than the rows of a stage.
pub(in crate::ops) fn takes_weight(gpu: &Gpu, p: Precision, r: &Rows) -> bool {
    if p == Precision::F32 {
        return false;
    }
    let long = r.per >= SLICE / 2 && r.l >= SLICE / 2;
    let channels = r.stride == 1 && r.c >= CHANNELS && r.n >= CHANNELS && r.taps > 0;
    gpu.is_sm90() && channels && long && r.rows > 0 && r.rows / r.per <= SEQUENCES
}

/// A weight gradient's tile, the stages of a part of the sums, and the parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct GradientPlan {
    tile: Tile,
    chunk: usize,
    parts: usize,
}

impl GradientPlan {
    /// Stages of 64 rows in all sequences.
    fn stages(r: &Rows) -> usize {
        r.rows / r.per * r.per.div_ceil(SLICE)
    }

    fn tiles(tile: Tile, r: &Rows) -> usize {
        (r.taps * r.c.div_ceil(SLICE)).div_ceil(tile.0 / SLICE) * r.n.div_ceil(tile.1)
    }

    fn choose(processors: usize, kind: Kind, r: &Rows) -> Self {
        let stages = Self::stages(r);
        let most = (BLOCKS / Self::tiles(Tile(256, 160, 100), r).max(1)).max(1);
        let chunk = stages.div_ceil(most).max(8);
        let parts = stages.div_ceil(chunk);
        let tiles: &[Tile] = if kind.parts() == 2 { &TWICE_GRADIENT } else { &WHOLE_GRADIENT };
        let time = |tile: &&Tile| tile.time(processors, Self::tiles(**tile, r) * parts);
        let tile = *tiles.iter().min_by_key(time).expect("there are tiles for every kind");
        Self { tile, chunk, parts }
    }
}

/// dw `[taps, c, n]` = the sum over all rows of x, transposed and moved by the tap, times dy `[rows, n]`.
///
/// # Safety
/// The memory behind the pointers has the sizes that `r` says; [`takes_weight`] has said yes.
pub(in crate::ops) unsafe fn weight_gradient(
    gpu: &Gpu,
    p: Precision,
    r: Rows,
    x: Ptr<f32>,
    dy: Ptr<f32>,
    dw: PtrMut<f32>,
) -> Result<()> {
    let kind = Kind::of_change(p);
    // SAFETY: the caller's.
    unsafe { weight_gradient_with(gpu, GradientPlan::choose(processors(gpu), kind, &r), kind, r, x, dy, dw) }
}

/// As [`weight_gradient`], with a given plan.
///
/// # Safety
/// As [`weight_gradient`].
unsafe fn weight_gradient_with(
    gpu: &Gpu,
    plan: GradientPlan,
    kind: Kind,
    r: Rows,
    x: Ptr<f32>,
    dy: Ptr<f32>,
    dw: PtrMut<f32>,
) -> Result<()> {
    use Kind::{Bf16, Bf16x2, F16, F16x2};
    let kernel = match (plan.tile.1, kind) {
        (64, Bf16) => launch::conv1d_grad_weight64_bf16_sm90,
        (128, Bf16) => launch::conv1d_grad_weight128_bf16_sm90,
        (160, Bf16) => launch::conv1d_grad_weight160_bf16_sm90,
        (_, Bf16) => launch::conv1d_grad_weight256_bf16_sm90,
        (64, F16) => launch::conv1d_grad_weight64_f16_sm90,
        (128, F16) => launch::conv1d_grad_weight128_f16_sm90,
        (160, F16) => launch::conv1d_grad_weight160_f16_sm90,
        (_, F16) => launch::conv1d_grad_weight256_f16_sm90,
        (64, Bf16x2 | F16x2) => launch::conv1d_grad_weight64_bf16x2_sm90,
        (128, Bf16x2 | F16x2) => launch::conv1d_grad_weight128_bf16x2_sm90,
        (_, Bf16x2 | F16x2) => launch::conv1d_grad_weight160_bf16x2_sm90,
    };
    let sequences = r.rows / r.per;
    // SAFETY: the caller's; a sequence is a tap whose rows and channels change places.
    let (xs, dys) = unsafe {
        (Weights::new(gpu, kind, x, [sequences, r.l, r.c])?, Weights::new(gpu, kind, dy, [sequences, r.per, r.n])?)
    };
    let map = |t: &Tensor, rows: usize, channels: usize, size: usize| {
        gpu.tensor_map(address(t)?, &boxes(rows.next_multiple_of(8), channels, kind.parts() * sequences, [size, 1]))
    };
    let (x_map, dy_map) = (map(&xs.packed, r.l, r.c, SLICE)?, map(&dys.packed, r.per, r.n, plan.tile.1)?);
    let size = r.taps * r.c * r.n;
    let mut partial = if plan.parts > 1 { Some(Tensor::on(gpu, DType::F32, &[plan.parts, size])?) } else { None };
    let to = partial.as_mut().map_or(Ok(dw), Tensor::ptr_mut)?;
    let (stages, cfg) = plan.tile.launch(
        processors(gpu),
        gpu.about().shared_bytes,
        kind,
        GradientPlan::tiles(plan.tile, &r) * plan.parts,
    );
    let (pad, slices) = (r.pad as i32, r.per.div_ceil(SLICE) as i32);
    let [n, c, taps, sequences] = [r.n, r.c, r.taps, sequences].map(|n| n as i32);
    let [chunk, parts, dilation] = [plan.chunk, plan.parts, r.dilation].map(|n| n as i32);
    // SAFETY: the caller's; the maps describe the packed operands, and `to` has room for all parts.
    unsafe {
        kernel(gpu, cfg, &x_map, &dy_map, to, n, c, taps, sequences, slices, chunk, parts, pad, dilation, stages)?;
    }
    match partial {
        // SAFETY: there are so many parts of that size.
        Some(partial) => unsafe { sum(gpu, partial.ptr()?, dw, size, plan.parts) },
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
