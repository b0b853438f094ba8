//! Launches of `kernels/conv1d_sm90.cu` and `kernels/conv1d_grad_sm90.cu`: convolutions of stride 1 and their gradients on GPUs of
//! compute capability 9.0, with operands of 16 bits.
//!
//! Whether a convolution goes this way depends on its channels alone, so that a row's bits do not depend on the batch.

use super::cuda::{Back, Normed, Operands, Output, Rows, sum};
use super::operands::{Input, Kind, Layout, Packed, Weights, pitch, turned};
use crate::device::driver::Boxes;
use crate::device::kernels::launch;
use crate::device::{Gpu, Launch, Precision, PtrMut};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// Channels of a bulk copy.
const SLICE: usize = 64;
/// Below so many channels of input or output most of a tile would be padding.
const CHANNELS: usize = 32;
/// The most stages that a kernel knows.
const STAGES: u32 = 8;

/// What a block computes: rows, columns, and how much longer an element takes than in the best tile, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tile(usize, usize, usize);

const WHOLE: [Tile; 5] =
    [Tile(256, 160, 100), Tile(128, 256, 100), Tile(256, 128, 103), Tile(128, 192, 106), Tile(256, 64, 130)];
const TWICE: [Tile; 4] = [Tile(128, 192, 100), Tile(128, 160, 103), Tile(128, 128, 110), Tile(128, 64, 140)];

/// With a norm behind: more would not fit into registers.
const WHOLE_NORM: [Tile; 4] = [Tile(128, 256, 100), Tile(128, 160, 102), Tile(128, 128, 107), Tile(128, 64, 140)];
const TWICE_NORM: [Tile; 3] = [Tile(128, 160, 100), Tile(128, 128, 107), Tile(128, 64, 136)];

fn tiles(kind: Kind, norm: bool) -> &'static [Tile] {
    match (kind.parts(), norm) {
        (1, false) => &WHOLE,
        (1, true) => &WHOLE_NORM,
        (_, false) => &TWICE,
        (_, true) => &TWICE_NORM,
    }
}

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
        let rows = r.per.clamp(1, tile.0);
        let sequences = tile.0 / rows;
        let along = r.per.div_ceil(rows) * (r.rows / r.per.max(1)).div_ceil(sequences);
        Self { tile, rows, sequences, count: along * r.n.div_ceil(tile.1) }
    }

    /// The plan that should be done first. The bits are the same with every one.
    fn choose(processors: usize, tiles: &[Tile], r: &Rows) -> Self {
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
        // With one stage a copy would wait for products that wait for it: a GPU with so little is refused by the launch.
        let stages = (shared_bytes.saturating_sub(1024) / stage).clamp(2, STAGES);
        let blocks = count.min(processors);
        (stages as i32, Launch { shared_bytes: stages * stage, ..Launch::new(blocks, 384) })
    }
}

fn processors(gpu: &Gpu) -> usize {
    gpu.about().multiprocessors.max(1) as usize
}

/// Whether the channels fill tiles, and rows follow each other.
fn has_channels(gpu: &Gpu, r: &Rows) -> bool {
    gpu.is_sm90() && r.stride == 1 && r.c >= CHANNELS && r.n >= CHANNELS && r.taps > 0
}

/// Whether there is a form of this convolution here.
pub(in crate::ops) fn takes(gpu: &Gpu, r: &Rows, from: &Operands) -> bool {
    has_channels(gpu, r) && from.from.address() == 0 && r.l > 0
}

/// y `[rows, n]` = the convolution.
///
/// # Safety
/// The memory behind the pointers has the sizes that `r` says; [`takes`] has said yes.
pub(in crate::ops) unsafe fn rows(gpu: &Gpu, p: Precision, r: Rows, from: Operands, y: Output) -> Result<()> {
    let kind = Kind::of(p);
    // SAFETY: the caller's.
    unsafe {
        let weights = from.weights(gpu, kind, [r.taps, r.c, r.n])?;
        let plan = Plan::choose(processors(gpu), tiles(kind, y.norm.is_some()), &r);
        convolve(gpu, plan, kind, r, (0, 1), from, &weights, y)
    }
}

/// Whether there is a form of this input gradient here: not where rows of it are left for another launch.
pub(in crate::ops) fn takes_back(gpu: &Gpu, r: &Back, from: &Operands) -> bool {
    takes(gpu, &r.rows, from) && r.into == (r.rows.per, 0, 1)
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
    let (kind, taps, Back { rows: r, taps: order, .. }) = (Kind::of(p), r.weight_taps(), r);
    // SAFETY: the caller's.
    unsafe {
        let weights = Weights::back(gpu, kind, from.w, [taps, r.n, r.c])?;
        let plan = Plan::choose(processors(gpu), tiles(kind, false), &r);
        convolve(gpu, plan, kind, r, order, from, &weights, dx.into())
    }
}

/// Describes boxes of `[.., rows, channels]`.
fn boxes(channels: usize, rows: usize, rest: usize, size: [usize; 2]) -> Boxes {
    Boxes {
        dims: [channels, rows, rest].map(|n| n as u64).to_vec(),
        strides: [2 * channels, 2 * channels * rows].map(|n| n as u64).to_vec(),
        size: vec![SLICE as u32, size[0] as u32, size[1] as u32],
    }
}

/// Launches the entry for a tile's columns and a kind.
macro_rules! launched {
    ($columns:expr, $kind:expr, $args:tt; $($of:ident: $($n:literal $entry:ident)*,)*) => {
        match ($columns, $kind) {
            $($(($n, Kind::$of) => launch::$entry $args,)*)*
            (n, kind) => unreachable!("no tile of {n} columns for {kind:?}"),
        }
    };
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
    y: Output,
) -> Result<()> {
    if r.rows == 0 {
        return Ok(());
    }
    let (sequences, cp) = (r.rows / r.per, pitch(r.c));
    let furthest = r.taps * r.dilation + r.l + r.per + r.pad.unsigned_abs() + plan.tile.0;
    if i32::try_from(furthest.max(r.rows).max(sequences * r.l)).is_err() {
        let what = format!("{} rows at once on a GPU; use smaller batches", r.rows);
        return Err(Error::Unsupported { op: "conv1d", what });
    }
    // With one tap a row needs no scale in common with others: dense layers, whose sequence is the batch.
    let groups = if r.taps == 1 { r.l } else { from.mutants };
    // SAFETY: the caller's.
    let x = unsafe { Packed::new(gpu, kind, from.x, Layout { rows: sequences * r.l, c: r.c, per: r.l, groups })? };
    let (parts, [rows, beside]) = (kind.parts(), [plan.rows, plan.sequences]);
    let x_map = gpu.tensor_map(x.address()?, &boxes(cp, r.l, parts * sequences, [rows, beside]))?;
    let w_map = gpu.tensor_map(weights.address()?, &boxes(cp, r.n, parts * weights.taps, [plan.tile.1, 1]))?;
    let (stages, cfg) = plan.tile.launch(processors(gpu), gpu.about().shared_bytes, kind, plan.count);
    let (pad, step) = (r.pad as i32, step as i32);
    let [per, sequences, n, taps, l, groups] = [r.per, sequences, r.n, r.taps, r.l, x.groups].map(|n| n as i32);
    let [d, slices, first, of] = [r.dilation, cp.div_ceil(SLICE), first, weights.taps].map(|n| n as i32);
    let (rows, beside, xs, ws) = (rows as i32, beside as i32, x.largest(), weights.largest());
    let (b, Output { residual, raw, sum, norm }) = (from.bias, y);
    // SAFETY: the caller's; the maps describe the packed operands, and boxes of at most a tile.
    unsafe {
        match norm {
            Some(Normed { table, f, y, operand }) => launched!(
                plan.tile.1, kind,
                (gpu, cfg, &x_map, &w_map, b, residual, raw, sum, table, y, PtrMut::new(operand), f as i32, xs, ws, groups,
                    per, sequences, n, taps, l, pad, d, slices, first, step, of, rows, beside, stages);
                Bf16: 64 conv1d_norm64_bf16_sm90 128 conv1d_norm128_bf16_sm90 160 conv1d_norm160_bf16_sm90
                    256 conv1d_norm256_bf16_sm90,
                F16: 64 conv1d_norm64_f16_sm90 128 conv1d_norm128_f16_sm90 160 conv1d_norm160_f16_sm90
                    256 conv1d_norm256_f16_sm90,
                Bf16x2: 64 conv1d_norm64_bf16x2_sm90 128 conv1d_norm128_bf16x2_sm90 160 conv1d_norm160_bf16x2_sm90,
                F16x2: 64 conv1d_norm64_f16x2_sm90 128 conv1d_norm128_f16x2_sm90 160 conv1d_norm160_f16x2_sm90,
            ),
            None => launched!(
                plan.tile.1, kind,
                (gpu, cfg, &x_map, &w_map, b, residual, raw, sum, xs, ws, groups, per, sequences, n, taps, l, pad, d, slices,
                    first, step, of, rows, beside, stages);
                Bf16: 64 conv1d_fwd64_bf16_sm90 128 conv1d_fwd128_bf16_sm90 160 conv1d_fwd160_bf16_sm90
                    192 conv1d_fwd192_bf16_sm90 256 conv1d_fwd256_bf16_sm90,
                F16: 64 conv1d_fwd64_f16_sm90 128 conv1d_fwd128_f16_sm90 160 conv1d_fwd160_f16_sm90
                    192 conv1d_fwd192_f16_sm90 256 conv1d_fwd256_f16_sm90,
                Bf16x2: 64 conv1d_fwd64_bf16x2_sm90 128 conv1d_fwd128_bf16x2_sm90 160 conv1d_fwd160_bf16x2_sm90
                    192 conv1d_fwd192_bf16x2_sm90,
                F16x2: 64 conv1d_fwd64_f16x2_sm90 128 conv1d_fwd128_f16x2_sm90 160 conv1d_fwd160_f16x2_sm90
                    192 conv1d_fwd192_f16x2_sm90,
            ),
        }
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
pub(in crate::ops) fn takes_weight(gpu: &Gpu, r: &Rows) -> bool {
    let long = r.per >= SLICE / 2 && r.l >= SLICE / 2 && r.rows > 0 && r.rows / r.per <= SEQUENCES;
    // Packing turns channels over a grid's second dimension, 32 a block.
    long && has_channels(gpu, r) && r.c.max(r.n).div_ceil(32) <= Launch::MOST_YZ
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
    x: Input,
    dy: Input,
    dw: PtrMut<f32>,
) -> Result<()> {
    let kind = Kind::of(p);
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
    x: Input,
    dy: Input,
    dw: PtrMut<f32>,
) -> Result<()> {
    let sequences = r.rows / r.per;
    // SAFETY: the caller's; a sequence is a tap whose rows and channels change places, and a channel has a scale.
    let (xs, dys) = unsafe {
        (turned(gpu, kind, x, [sequences, r.l, r.c], r.c)?, turned(gpu, kind, dy, [sequences, r.per, r.n], r.n)?)
    };
    let map = |t: &Packed, rows: usize, channels: usize, size: usize| {
        gpu.tensor_map(t.address()?, &boxes(pitch(rows), channels, kind.parts() * sequences, [size, 1]))
    };
    let (x_map, dy_map) = (map(&xs, r.l, r.c, SLICE)?, map(&dys, r.per, r.n, plan.tile.1)?);
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
        launched!(
            plan.tile.1, kind,
            (gpu, cfg, &x_map, &dy_map, xs.largest(), dys.largest(), to, n, c, taps, sequences, slices, chunk, parts, pad, dilation, stages);
            Bf16: 64 conv1d_grad_weight64_bf16_sm90 128 conv1d_grad_weight128_bf16_sm90
                160 conv1d_grad_weight160_bf16_sm90 256 conv1d_grad_weight256_bf16_sm90,
            F16: 64 conv1d_grad_weight64_f16_sm90 128 conv1d_grad_weight128_f16_sm90
                160 conv1d_grad_weight160_f16_sm90 256 conv1d_grad_weight256_f16_sm90,
            Bf16x2: 64 conv1d_grad_weight64_bf16x2_sm90 128 conv1d_grad_weight128_bf16x2_sm90
                160 conv1d_grad_weight160_bf16x2_sm90,
            F16x2: 64 conv1d_grad_weight64_f16x2_sm90 128 conv1d_grad_weight128_f16x2_sm90
                160 conv1d_grad_weight160_f16x2_sm90,
        )?;
    }
    match partial {
        // SAFETY: there are so many parts of that size.
        Some(partial) => unsafe { sum(gpu, partial.ptr()?, dw, size, plan.parts) },
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
