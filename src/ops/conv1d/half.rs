//! Launches of `kernels/conv1d_half.cu`: convolutions and their gradients with operands of 16 bits, where `sm90` has no form.

use super::cuda::{Back, Normed, Operands, Output, Rows, Tile, ints};
use super::operands::{Input, Kind, Layout, Packed, Weights, pitch};
use crate::device::kernels::launch;
use crate::device::{Gpu, Precision, Ptr, PtrMut};
use crate::error::Result;
use crate::tensor::{DType, Tensor};

/// Launches the entry for a tile and a type of 16 bits.
macro_rules! half {
    ($tile:expr, $kind:expr, $args:tt; $($by:ident: $bf16:ident $f16:ident,)*) => {
        match ($tile, $kind == Kind::F16) {
            $((Tile::$by, false) => launch::$bf16 $args,
            (Tile::$by, true) => launch::$f16 $args,)*
        }
    };
}

/// What products of one 16-bit number each are made of.
pub(super) fn half_kind(p: Precision) -> Option<Kind> {
    Some(Kind::of(p)).filter(|kind| kind.parts() == 1)
}

/// The type of operands that have one 16-bit number each.
pub(in crate::ops) fn half_dtype(p: Precision) -> Option<DType> {
    half_kind(p).map(Kind::dtype)
}

/// A saved input as products of this precision read it: one that was rounded for others is widened.
pub(in crate::ops) fn readable(x: &Tensor, p: Precision) -> Result<Tensor> {
    let fits = !x.dtype().is_half() || half_dtype(p) == Some(x.dtype());
    if fits { Ok(x.clone()) } else { x.to_dtype(DType::F32) }
}

/// The convolution of 16-bit numbers, with a given tile. With a norm, taps and rows follow each other.
///
/// # Safety
/// As [`super::cuda::rows`].
pub(super) unsafe fn rows(
    gpu: &Gpu,
    tile: Tile,
    kind: Kind,
    r: Back,
    from: Operands,
    weights: &Weights,
    y: Output,
) -> Result<()> {
    let (s, Back { rows: r, taps: (first, step), into: (y_per, y_first, y_step) }) = (|n: usize| n as isize, r);
    let rows_of_x = if from.from.address() == 0 { r.rows / r.per.max(1) * r.l } else { r.l * r.per };
    // Twice, because rows that do not exist lie at -2^30.
    let span = 2 * s(r.taps.saturating_sub(1) * r.dilation + r.l);
    ints([s(r.taps * pitch(r.c)), span, s(rows_of_x), s(y_per) * s(r.rows / r.per.max(1))])?;
    let sizes = [s(r.rows), s(r.n), s(pitch(r.c)), s(r.taps), s(r.per), s(r.l), s(r.stride), r.pad, s(r.dilation)];
    let [rows, n, c, taps, per, l, stride, pad, d] = ints(sizes)?;
    let [t, dt, p, p0, dp] = ints([s(first), step, s(y_per), s(y_first), s(y_step)])?;
    let layout = Layout { rows: rows_of_x, c: r.c, per: rows_of_x, groups: 1 };
    // SAFETY: the caller's.
    let packed = unsafe { Packed::new(gpu, kind, from.x, layout)? };
    let (x, w, cfg, b) = (packed.address()?, weights.address()?, tile.half_launch(r.rows, r.n), from.bias);
    let Output { residual, raw, sum, norm } = y;
    // SAFETY: the caller's.
    unsafe {
        match norm {
            Some(Normed { table, f, y, operand }) => half!(
                tile, kind,
                (gpu, cfg, Ptr::new(x), Ptr::new(w), b, residual, raw, sum, table, y, PtrMut::new(operand), f as i32,
                    rows, n, c, taps, per, l, stride, pad, d);
                By160: conv1d_half_norm160_bf16 conv1d_half_norm160_f16,
                By128: conv1d_half_norm128_bf16 conv1d_half_norm128_f16,
                By64: conv1d_half_norm64_bf16 conv1d_half_norm64_f16,
                By16: conv1d_half_norm16_bf16 conv1d_half_norm16_f16,
            ),
            None => half!(
                tile, kind,
                (gpu, cfg, Ptr::new(x), Ptr::new(w), b, residual, raw, sum, from.from, from.to, rows, n, c, taps, per, l,
                    stride, pad, d, t, dt, p, p0, dp);
                By160: conv1d_half_fwd160_bf16 conv1d_half_fwd160_f16,
                By128: conv1d_half_fwd128_bf16 conv1d_half_fwd128_f16,
                By64: conv1d_half_fwd64_bf16 conv1d_half_fwd64_f16,
                By16: conv1d_half_fwd16_bf16 conv1d_half_fwd16_f16,
            ),
        }
    }
}

/// Parts of dw `[parts, taps, c, n]`, of `chunk` rows each, with a given tile.
///
/// # Safety
/// As [`super::cuda::weight_gradient`]; there is room for all parts.
pub(super) unsafe fn weight_gradient(
    gpu: &Gpu,
    (tile, chunk, parts): (Tile, usize, usize),
    kind: Kind,
    r: Rows,
    x: Input,
    dy: Input,
    to: PtrMut<f32>,
) -> Result<()> {
    let (s, cp) = (|n: usize| n as isize, pitch(r.c));
    ints([s(r.taps * cp), s(r.rows + chunk)])?;
    let sizes = [s(r.rows), s(r.n), s(r.c), s(cp), s(r.taps), s(r.per), s(r.l), s(r.stride), r.pad, s(r.dilation)];
    let ([rows, n, c, cp, taps, per, l, stride, pad, d], step) = (ints(sizes)?, chunk as i32);
    let mut cfg = tile.half_launch(r.taps * pitch(r.c), r.n);
    cfg.grid[1] = parts as u32;
    let layout = |rows, c| Layout { rows, c, per: rows, groups: 1 };
    // SAFETY: the caller's.
    unsafe {
        let x = Packed::new(gpu, kind, x, layout(r.rows / r.per.max(1) * r.l, r.c))?;
        let dy = Packed::new(gpu, kind, dy, layout(r.rows, r.n))?;
        half!(
            tile, kind,
            (gpu, cfg, Ptr::new(x.address()?), Ptr::new(dy.address()?), to, rows, n, c, cp, taps, per, l, stride, pad, d, step);
            By160: conv1d_half_grad_weight160_bf16 conv1d_half_grad_weight160_f16,
            By128: conv1d_half_grad_weight128_bf16 conv1d_half_grad_weight128_f16,
            By64: conv1d_half_grad_weight64_bf16 conv1d_half_grad_weight64_f16,
            By16: conv1d_half_grad_weight16_bf16 conv1d_half_grad_weight16_f16,
        )
    }
}
