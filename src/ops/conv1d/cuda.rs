//! Launches of `kernels/conv1d.cu` and `kernels/conv1d_grad.cu`, and the choice of others (`half`, `sm90`): convolutions, their
//! changes and gradients, and those of dense layers, which are convolutions of one tap.

use std::sync::Arc;

use super::half::{half_dtype, half_kind};
use super::operands::{Input, Kind, Prepared, Weights};
use super::{Conv1dArgs, half, sm90};
use crate::device::kernels::launch;
use crate::device::{Bf16, F16, Gpu, Launch, Precision, Ptr, PtrMut};
use crate::error::{Error, Result};
use crate::ops::batch_norm;
use crate::ops::{or_null, or_null_mut};
use crate::tape::{Cx, Delta, Grads, Window};
use crate::tensor::{DType, Tensor};
use crate::util::math::Activation;

/// What a block computes: rows x columns of the output. The bits of a row are the same with every tile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) enum Tile {
    /// 128 x 160.
    By160,
    /// 128 x 128.
    By128,
    /// 64 x 64.
    By64,
    /// 128 x 16.
    By16,
}

impl Tile {
    /// Rows, columns, threads of a block, and how much longer an element takes than in the best tile, in percent.
    fn size(self) -> (usize, usize, u32, usize) {
        match self {
            Self::By160 => (128, 160, 256, 100),
            Self::By128 => (128, 128, 256, 102),
            Self::By64 => (64, 64, 128, 125),
            Self::By16 => (128, 16, 128, 200),
        }
    }

    /// Shared memory for three stages of 32 k (`kernels/gemm.cuh`).
    fn shared_bytes(self) -> u32 {
        let (rows, columns, ..) = self.size();
        (3 * 32 * 4 * (rows + columns.next_multiple_of(32))) as u32
    }

    /// Whether a block fits; kernels declare another two KB for themselves.
    pub(in crate::ops) fn fits(self, gpu: &Gpu) -> bool {
        self.shared_bytes() + 2048 <= gpu.about().shared_bytes
    }

    /// The tile that should be done first with `rows` x `columns` elements, `parts` times.
    fn choose(gpu: &Gpu, rows: usize, columns: usize, parts: usize) -> Self {
        if columns <= 16 {
            return Self::By16;
        }
        let processors = gpu.about().multiprocessors.max(1) as usize;
        let time = |tile: &Self| {
            let (m, n, _, percent) = tile.size();
            (rows.div_ceil(m) * columns.div_ceil(n) * parts).div_ceil(processors) * m * n * percent
        };
        let all = [Self::By160, Self::By128, Self::By64, Self::By16].into_iter();
        all.filter(|tile| tile.fits(gpu)).min_by_key(time).unwrap_or(Self::By16)
    }

    /// With slices of 64 k of 16 bits (`kernels/gemm_half.cuh`).
    pub(super) fn half_launch(self, rows: usize, columns: usize) -> Launch {
        let (m, n, ..) = self.size();
        Launch { shared_bytes: (3 * 64 * 2 * (m + n)) as u32, ..self.launch(rows, columns) }
    }

    fn launch(self, rows: usize, columns: usize) -> Launch {
        let (m, n, threads, _) = self.size();
        let blocks = rows.div_ceil(m) * columns.div_ceil(n);
        Launch { shared_bytes: self.shared_bytes(), ..Launch::new(blocks, threads) }
    }
}

/// A convolution as `kernels/conv1d.cu` has it.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Rows {
    /// Rows of the output.
    pub rows: usize,
    /// Channels of the output.
    pub n: usize,
    /// Channels of the input.
    pub c: usize,
    /// Rows of the output in a sequence; with tables of starts, mutants.
    pub per: usize,
    /// Rows of the input in a sequence; with tables of starts, the width of its window.
    pub l: usize,
    /// Taps.
    pub taps: usize,
    /// Distance of two outputs, in input rows.
    pub stride: usize,
    /// Rows that come before the first of a sequence; rows that are left out if it is negative.
    pub pad: isize,
    /// Distance of two taps, in input rows.
    pub dilation: usize,
}

/// Where the operands of a convolution are.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Operands<'a> {
    /// The input.
    pub x: Input,
    /// `[taps, c, n]`.
    pub w: Ptr<f32>,
    /// Where what is made of the weights is kept.
    pub prepared: Option<&'a Prepared>,
    /// `[n]`, or null.
    pub bias: Ptr<f32>,
    /// Starts of the input's windows, or null.
    pub from: Ptr<i32>,
    /// Starts of the output's windows, or null for 0.
    pub to: Ptr<i32>,
    /// How many mutants take turns in the rows of a sequence: taps are as far apart, or several times.
    pub mutants: usize,
}

impl Operands<'_> {
    /// A convolution of sequences, without bias.
    pub(in crate::ops) fn new(x: impl Into<Input>, w: Ptr<f32>) -> Self {
        let (x, bias, from) = (x.into(), Ptr::NULL, Ptr::NULL);
        Self { x, w, prepared: None, bias, from, to: Ptr::NULL, mutants: 1 }
    }

    /// The weights, prepared or made for this call.
    ///
    /// # Safety
    /// The memory behind the pointer has the size that is said.
    pub(super) unsafe fn weights(&self, gpu: &Gpu, kind: Kind, size: [usize; 3]) -> Result<Arc<Weights>> {
        // SAFETY: the caller's.
        let make = || unsafe { Weights::new(gpu, kind, self.w, size) };
        match self.prepared {
            Some(prepared) => prepared.weights(kind, size[0], make),
            None => Ok(Arc::new(make()?)),
        }
    }
}

/// Where a convolution's results go, each null if it is not wanted.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Output {
    /// What is added, or null.
    pub residual: Ptr<f32>,
    /// Convolution and bias.
    pub raw: PtrMut<f32>,
    /// Those and the residual.
    pub sum: PtrMut<f32>,
    /// What follows the sum.
    pub norm: Option<Normed>,
}

/// A batch norm with its activation behind a convolution.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Normed {
    /// `[5, n]`, as the batch norm has it.
    pub table: Ptr<f32>,
    /// One of [`Normed::CURVES`].
    pub f: Activation,
    /// The result, or null.
    pub y: PtrMut<f32>,
    /// Where it goes as rows of 16 bits, in the type of the products; or 0.
    pub operand: u64,
}

impl Normed {
    /// The activations that convolutions know.
    pub(super) const CURVES: [Activation; 3] = [Activation::Relu, Activation::Gelu, Activation::Identity];
}

impl From<PtrMut<f32>> for Output {
    fn from(raw: PtrMut<f32>) -> Self {
        Self { residual: Ptr::NULL, raw, sum: PtrMut::NULL, norm: None }
    }
}

/// The entry for a tile, the first or the second.
macro_rules! either {
    ($tile:expr, $second:expr; $($by:ident: $a:ident $b:ident,)*) => {
        match ($tile, $second) {
            $((Tile::$by, false) => launch::$a,
            (Tile::$by, true) => launch::$b,)*
        }
    };
}

/// The sizes of a launch as kernels take them.
pub(super) fn ints<const N: usize>(sizes: [isize; N]) -> Result<[i32; N]> {
    match sizes.iter().find(|&&n| i32::try_from(n).is_err()) {
        None => Ok(sizes.map(|n| n as i32)),
        Some(n) => {
            Err(Error::Unsupported { op: "conv1d", what: format!("{n} rows at once on a GPU; use smaller batches") })
        }
    }
}

/// y `[rows, n]` = the convolution.
///
/// # Safety
/// The memory behind the pointers has the sizes that `r` says.
pub(in crate::ops) unsafe fn rows(gpu: &Gpu, p: Precision, r: Rows, from: Operands, to: Output) -> Result<()> {
    let tile = Tile::choose(gpu, r.rows, r.n, 1);
    // SAFETY: the caller's.
    unsafe {
        if sm90::takes(gpu, &r, &from) {
            return sm90::rows(gpu, p, r, from, to);
        }
        match half_kind(p) {
            Some(kind) => {
                let weights = from.weights(gpu, kind, [r.taps, r.c, r.n])?;
                half::rows(gpu, tile, kind, Back { rows: r, taps: (0, 1), into: (r.per, 0, 1) }, from, &weights, to)
            }
            None => rows_with(gpu, tile, p, r, from, to),
        }
    }
}

/// The convolution of f32 numbers, with a given tile.
///
/// # Safety
/// As [`rows`].
unsafe fn rows_with(gpu: &Gpu, tile: Tile, p: Precision, r: Rows, from: Operands, y: Output) -> Result<()> {
    let kernel = either!(tile, p == Precision::Tf32;
        By160: conv1d_fwd160_f32 conv1d_fwd160_tf32,
        By128: conv1d_fwd128_f32 conv1d_fwd128_tf32,
        By64: conv1d_fwd64_f32 conv1d_fwd64_tf32,
        By16: conv1d_fwd16_f32 conv1d_fwd16_tf32,
    );
    let s = |n: usize| n as isize;
    // Twice, because rows that do not exist lie at -2^30.
    ints([s(r.taps * r.c), 2 * s((r.taps - 1) * r.dilation + r.l)])?;
    let sizes = [s(r.rows), s(r.n), s(r.c), s(r.taps), s(r.per), s(r.l), s(r.stride), r.pad, s(r.dilation)];
    let [rows, n, c, taps, per, l, stride, pad, d] = ints(sizes)?;
    let (cfg, f, x, Output { residual, raw, sum, .. }) = (tile.launch(r.rows, r.n), from, from.x.f32()?, y);
    // SAFETY: the caller's.
    unsafe {
        kernel(gpu, cfg, x, f.w, f.bias, residual, raw, sum, f.from, f.to, rows, n, c, taps, per, l, stride, pad, d)
    }
}

/// What follows a convolution in the same kernel.
#[derive(Default, Clone, Copy)]
pub(in crate::ops) struct Tail<'a> {
    /// `[O]`.
    pub bias: Option<&'a Tensor>,
    /// f32, of the shape of y.
    pub residual: Option<&'a Tensor>,
    /// A batch norm's table `[5, O]`, its activation, and the type of the result: f32, or the 16-bit operand of products.
    pub norm: Option<(&'a Tensor, Activation, DType)>,
    /// Whether the convolution with its bias is wanted.
    pub raw: bool,
    /// Whether that with the residual is wanted.
    pub sum: bool,
}

/// What was wanted of a convolution with its tail.
pub(in crate::ops) struct Tailed {
    /// Convolution and bias.
    pub raw: Option<Tensor>,
    /// Those and the residual.
    pub sum: Option<Tensor>,
    /// What follows them.
    pub normed: Option<Tensor>,
}

/// The convolution of `x` `[N, L, C]`, f32 or the 16-bit operand of the precision, with `w` `[k, C, O]`, for `lo` rows of output, and
/// what follows it; in one kernel where there is one, with the same result where there is none.
pub(in crate::ops) fn forward_tailed(
    gpu: &Gpu,
    p: Precision,
    a: &Conv1dArgs,
    lo: usize,
    x: &Tensor,
    w: &Tensor,
    tail: Tail,
) -> Result<Tailed> {
    let ([n, l, c], [k, _, o]) = (x.dims("conv1d", "x")?, w.dims("conv1d", "weight")?);
    let (stride, dilation, pad) = (a.stride, a.dilation, a.pad.0 as isize);
    let r = Rows { rows: n * lo, n: o, c, per: lo, l, taps: k, stride, pad, dilation };
    let operands = Operands { bias: or_null(tail.bias)?, ..Operands::new(Input::of(x)?, w.ptr()?) };
    let new = |wanted: bool, dtype| wanted.then(|| Tensor::on(gpu, dtype, &[n, lo, o])).transpose();
    let fused = tail.norm.filter(|&(_, f, dtype)| fuses(gpu, p, &r, &operands, f, dtype));
    let mut raw = new(tail.raw, DType::F32)?;
    let mut sum = new(tail.sum || tail.norm.is_some() && fused.is_none(), DType::F32)?;
    let mut normed = fused.map(|(.., dtype)| Tensor::on(gpu, dtype, &[n, lo, o])).transpose()?;
    let to = |t: &mut Option<Tensor>| or_null_mut(t.as_mut());
    let norm = match (fused, &mut normed) {
        (Some((table, f, dtype)), Some(y)) => {
            let (y, operand) = match dtype {
                DType::BF16 => (PtrMut::NULL, y.ptr_mut::<Bf16>()?.address()),
                DType::F16 => (PtrMut::NULL, y.ptr_mut::<F16>()?.address()),
                _ => (y.ptr_mut()?, 0),
            };
            Some(Normed { table: table.ptr()?, f, y, operand })
        }
        _ => None,
    };
    let output = Output { residual: or_null(tail.residual)?, raw: to(&mut raw)?, sum: to(&mut sum)?, norm };
    // SAFETY: x is [n, l, c], w [k, c, o], the bias [o], the table [5, o], the residual and all results [n, lo, o].
    unsafe { rows(gpu, p, r, operands, output)? };
    if let (Some((table, f, dtype)), None, Some(sum)) = (tail.norm, fused, &sum) {
        normed = Some(batch_norm::cuda::forward(gpu, sum, table, f, Some(dtype).filter(|t| t.is_half()))?);
    }
    Ok(Tailed { raw, sum: sum.filter(|_| tail.sum), normed })
}

/// Whether there is a kernel that norms what it has convolved.
fn fuses(gpu: &Gpu, p: Precision, r: &Rows, from: &Operands, f: Activation, dtype: DType) -> bool {
    let half = half_kind(p);
    let result = dtype == DType::F32 || half.is_some_and(|kind| kind.dtype() == dtype);
    result && Normed::CURVES.contains(&f) && (half.is_some() || sm90::takes(gpu, r, from))
}

/// The change on the window `to`, from rows of f32 or of the precision's 16-bit operand; `residual` is a change on the same window that is
/// added, `[to.width, M, O]`.
pub(in crate::ops) fn delta(
    gpu: &Gpu,
    cx: &Cx,
    a: &Conv1dArgs,
    x: &Delta,
    w: &Tensor,
    to: &Window,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    let ([k, c, o], m, d) = (w.dims("conv1d", "weight")?, to.mutants(), x.rows()?);
    let mut y = Tensor::on(gpu, DType::F32, &[to.width, m, o])?;
    let prepared = cx.prepared(|| Ok(Prepared::default()))?;
    let operands = Operands { prepared: Some(prepared), ..Operands::new(Input::of(d)?, w.ptr()?) };
    let all =
        Rows { rows: to.width * m, n: o, c, per: m, l: x.at.width, taps: k, stride: a.stride, pad: 0, dilation: 1 };
    if a.stride == 1 && to.width == x.at.width + a.reach() {
        // A convolution whose taps are m times as far apart, of the rows that lie inside of the sequence for some mutant.
        let (from, into) = (x.at.inside(), to.inside());
        let (rows_of_x, rows_of_y) = (from.len() * m, into.len() * m);
        let left = (a.reach() + from.start) as isize - into.start as isize;
        let r = Rows {
            rows: rows_of_y,
            per: rows_of_y,
            l: rows_of_x,
            pad: left * m as isize,
            dilation: a.dilation * m,
            ..all
        };
        let operands = Operands { x: operands.x.skip(from.start * m, c), mutants: m, ..operands };
        let output = added(&mut y, residual, into.start * m * o)?;
        // SAFETY: d is [x.at.width, m, c], y [to.width, m, o] like the residual, and the ranges lie inside of the widths.
        unsafe { rows(gpu, cx.precision, r, operands, output)? };
    } else {
        let (from, into) = (gpu.table(&x.at.start)?, gpu.table(&to.start)?);
        let r = Rows { pad: a.pad.0 as isize, dilation: a.dilation, ..all };
        let operands = Operands { from: from.ptr(), to: into.ptr(), ..operands };
        let output = added(&mut y, residual, 0)?;
        // SAFETY: as above; the tables have a start for every mutant.
        unsafe { rows(gpu, cx.precision, r, operands, output)? };
    }
    Ok(y)
}

/// To `y`, with the residual added if there is one, from an element on.
fn added(y: &mut Tensor, residual: Option<&Tensor>, first: usize) -> Result<Output> {
    let to = y.ptr_mut()?.offset(first);
    Ok(match residual {
        Some(d) => Output { residual: d.ptr()?.offset(first), raw: PtrMut::NULL, sum: to, norm: None },
        None => to.into(),
    })
}

/// Gradients of input, weight and bias, those that are wanted. `l` = rows of an input sequence.
pub(super) fn backward(gpu: &Gpu, cx: &Cx, a: &Conv1dArgs, l: usize, dy: &Tensor) -> Result<Grads> {
    let ([r, lo, o], w) = (dy.dims("conv1d", "dy")?, cx.saved(1)?);
    let [k, c, _] = w.dims("conv1d", "weight")?;
    let (stride, dilation, pad) = (a.stride, a.dilation, a.pad.0 as isize);
    let mut grads = vec![None, None, None];
    // Rounded once for both products.
    let rounded = half_dtype(cx.precision).filter(|_| cx.wants(0)).map(|t| dy.to_dtype(t)).transpose()?;
    let operand = Input::of(rounded.as_ref().unwrap_or(dy))?;
    if cx.wants(0) {
        let mut dx = Tensor::on(gpu, DType::F32, &[r, l, c])?;
        let (from, to) = (Operands::new(operand, w.ptr()?), dx.ptr_mut()?);
        for phase in 0..stride {
            let r = phase_of(a, phase, [r, l, lo, c, o]);
            // SAFETY: dy is [r, lo, o], w [k, c, o], dx [r, l, c].
            unsafe { input_gradient(gpu, cx.precision, r, from, to)? };
        }
        grads[0] = Some(dx);
    }
    if cx.wants(1) {
        let x = &half::readable(cx.saved(0)?, cx.precision)?;
        let mut dw = Tensor::on(gpu, DType::F32, &[k, c, o])?;
        let rows = Rows { rows: r * lo, n: o, c, per: lo, l, taps: k, stride, pad, dilation };
        // SAFETY: x is [r, l, c], dy [r, lo, o], dw [k, c, o].
        unsafe { weight_gradient(gpu, cx.precision, rows, Input::of(x)?, operand, dw.ptr_mut()?)? };
        grads[1] = Some(dw);
    }
    if cx.wants(2) {
        grads[2] = Some(column_sums(gpu, dy, o)?);
    }
    Ok(grads)
}

/// The gradient of an input as a convolution of the output's.
#[derive(Clone, Copy)]
pub(in crate::ops) struct Back {
    /// The convolution, where the input is the output's gradient; its stride is 1. The weight is `[.., n, c]`.
    pub rows: Rows,
    /// Tap of the weight that comes first, and the next after it.
    pub taps: (usize, isize),
    /// Rows of a sequence of the gradient, the first that is written, and their distance.
    pub into: (usize, usize, usize),
}

impl Back {
    /// Taps of the weight, at least; one where no tap reaches the rows.
    pub(super) fn weight_taps(&self) -> usize {
        let (first, step) = self.taps;
        1 + first.max(first.saturating_add_signed(step * (self.rows.taps.max(1) as isize - 1)))
    }
}

/// The rows `phase + j stride` of every input sequence: they are reached by every so-manieth tap.
fn phase_of(a: &Conv1dArgs, phase: usize, [n, l, lo, c, o]: [usize; 5]) -> Back {
    let (s, d, pad) = (a.stride as isize, a.dilation as isize, a.pad.0 as isize);
    // Row phase + j s of the input meets tap t in row j + output(t) of the output.
    let output = |t: usize| phase as isize + pad - t as isize * d;
    let taps: Vec<usize> = (0..a.kernel).filter(|&t| output(t) % s == 0).collect();
    let (last, apart) = (taps.last().copied().unwrap_or(0), taps.get(1).map_or(1, |&t| t - taps[0]));
    let per = l.saturating_sub(phase).div_ceil(a.stride);
    let rows = Rows {
        rows: n * per,
        n: c,
        c: o,
        per,
        l: lo,
        taps: taps.len(),
        stride: 1,
        pad: -output(last).div_euclid(s),
        dilation: (apart * a.dilation / a.stride).max(1),
    };
    Back { rows, taps: (last, -(apart as isize)), into: (l, phase, a.stride) }
}

/// dx = the convolution of dy with the transposed weight.
///
/// # Safety
/// The memory behind the pointers has the sizes that `r` says.
pub(in crate::ops) unsafe fn input_gradient(
    gpu: &Gpu,
    p: Precision,
    r: Back,
    from: Operands,
    dx: PtrMut<f32>,
) -> Result<()> {
    let tile = Tile::choose(gpu, r.rows.rows, r.rows.n, 1);
    // SAFETY: the caller's.
    unsafe {
        if sm90::takes_back(gpu, &r, &from) {
            return sm90::input_gradient(gpu, p, r, from, dx);
        }
        match half_kind(p) {
            Some(kind) => {
                let weights = Weights::back(gpu, kind, from.w, [r.weight_taps(), r.rows.n, r.rows.c])?;
                half::rows(gpu, tile, kind, r, from, &weights, dx.into())
            }
            None => input_gradient_with(gpu, tile, p, r, from, dx),
        }
    }
}

/// As [`input_gradient`], of f32 numbers, with a given tile.
///
/// # Safety
/// As [`input_gradient`].
unsafe fn input_gradient_with(
    gpu: &Gpu,
    tile: Tile,
    p: Precision,
    r: Back,
    from: Operands,
    dx: PtrMut<f32>,
) -> Result<()> {
    let kernel = either!(tile, p == Precision::Tf32;
        By160: conv1d_grad_input160_f32 conv1d_grad_input160_tf32,
        By128: conv1d_grad_input128_f32 conv1d_grad_input128_tf32,
        By64: conv1d_grad_input64_f32 conv1d_grad_input64_tf32,
        By16: conv1d_grad_input16_f32 conv1d_grad_input16_tf32,
    );
    let (s, Back { rows: r, taps: (first_tap, tap_step), into: (y_per, y_first, y_step) }) = (|n: usize| n as isize, r);
    ints([s(r.taps * r.c), 2 * s(r.taps * r.dilation + r.l), s(y_per) * s(r.rows / r.per.max(1))])?;
    let sizes = [s(r.rows), s(r.n), s(r.c), s(r.taps), s(r.per), s(r.l), r.pad, s(r.dilation)];
    let [rows, n, c, taps, per, l, pad, dilation] = ints(sizes)?;
    let [t, dt, y, y0, dy] = ints([s(first_tap), tap_step, s(y_per), s(y_first), s(y_step)])?;
    let cfg = tile.launch(r.rows, r.n);
    // SAFETY: the caller's.
    unsafe { kernel(gpu, cfg, from.x.f32()?, from.w, dx, rows, n, c, taps, per, l, pad, dilation, t, dt, y, y0, dy) }
}

/// dw `[taps, c, n]` = the sum over all rows of x, transposed and moved by the tap, times dy `[rows, n]`.
///
/// # Safety
/// The memory behind the pointers has the sizes that `r` says.
pub(in crate::ops) unsafe fn weight_gradient(
    gpu: &Gpu,
    p: Precision,
    r: Rows,
    x: Input,
    dy: Input,
    dw: PtrMut<f32>,
) -> Result<()> {
    if sm90::takes_weight(gpu, &r) {
        // SAFETY: the caller's.
        return unsafe { sm90::weight_gradient(gpu, p, r, x, dy, dw) };
    }
    // Parts of the rows, for many blocks; of at least 256 rows, and depending on sizes alone.
    let (m, blocks) = (r.taps * r.c, (r.taps * r.c).div_ceil(128) * r.n.div_ceil(128));
    let chunk = r.rows.div_ceil((512 / blocks.max(1)).max(1)).max(256).next_multiple_of(32);
    let parts = r.rows.div_ceil(chunk).max(1);
    let tile = Tile::choose(gpu, m, r.n, parts);
    // SAFETY: the caller's.
    unsafe { weight_gradient_with(gpu, (tile, chunk), p, r, x, dy, dw) }
}

/// As [`weight_gradient`], with a given tile and number of rows of a part.
///
/// # Safety
/// As [`weight_gradient`].
unsafe fn weight_gradient_with(
    gpu: &Gpu,
    (tile, chunk): (Tile, usize),
    p: Precision,
    r: Rows,
    x: Input,
    dy: Input,
    dw: PtrMut<f32>,
) -> Result<()> {
    let (m, parts) = (r.taps * r.c, r.rows.div_ceil(chunk).max(1));
    let mut partial = if parts > 1 { Some(Tensor::on(gpu, DType::F32, &[parts, m, r.n])?) } else { None };
    let to = partial.as_mut().map_or(Ok(dw), Tensor::ptr_mut)?;
    if let Some(kind) = half_kind(p) {
        // SAFETY: the caller's; one part is dw itself, several have room.
        unsafe { half::weight_gradient(gpu, (tile, chunk, parts), kind, r, x, dy, to)? };
    } else {
        let kernel = either!(tile, p == Precision::Tf32;
            By160: conv1d_grad_weight160_f32 conv1d_grad_weight160_tf32,
            By128: conv1d_grad_weight128_f32 conv1d_grad_weight128_tf32,
            By64: conv1d_grad_weight64_f32 conv1d_grad_weight64_tf32,
            By16: conv1d_grad_weight16_f32 conv1d_grad_weight16_tf32,
        );
        let s = |n: usize| n as isize;
        ints([s(m), s(r.rows + chunk)])?;
        let sizes =
            [s(r.rows), s(r.n), s(r.c), s(r.taps), s(r.per), s(r.l), s(r.stride), r.pad, s(r.dilation), s(chunk)];
        let [rows, n, c, taps, per, l, stride, pad, d, step] = ints(sizes)?;
        let mut cfg = tile.launch(m, r.n);
        cfg.grid[1] = parts as u32;
        // SAFETY: as above.
        unsafe { kernel(gpu, cfg, x.f32()?, dy.f32()?, to, rows, n, c, taps, per, l, stride, pad, d, step)? };
    }
    match partial {
        // SAFETY: there are so many parts of that size.
        Some(partial) => unsafe { sum(gpu, partial.ptr()?, dw, m * r.n, parts) },
        None => Ok(()),
    }
}

/// y = the sum of `count` parts of `size` elements, in order.
///
/// # Safety
/// There are so many.
pub(super) unsafe fn sum(gpu: &Gpu, parts: Ptr<f32>, y: PtrMut<f32>, size: usize, count: usize) -> Result<()> {
    // SAFETY: the caller's.
    unsafe { launch::conv1d_grad_sum_f32(gpu, Launch::elements(size), parts, y, size as i64, count as i32) }
}

/// Sums of the columns of x `[.., n]`: those of up to 64 runs of rows, then of the runs.
pub(in crate::ops) fn column_sums(gpu: &Gpu, x: &Tensor, n: usize) -> Result<Tensor> {
    let rows = x.len() / n.max(1);
    let chunk = rows.div_ceil(64).max(512);
    let parts = rows.div_ceil(chunk).max(1);
    let mut y = Tensor::on(gpu, DType::F32, &[n])?;
    let mut partial = Tensor::on(gpu, DType::F32, &[parts, n])?;
    let cfg = Launch { grid: [n.div_ceil(32) as u32, parts as u32, 1], block: 256, shared_bytes: 0 };
    let [r, columns, step] = ints([rows as isize, n as isize, chunk as isize])?;
    // SAFETY: x is [rows, n]; the partial sums have room for all parts.
    unsafe {
        launch::conv1d_grad_columns_f32(gpu, cfg, x.ptr()?, partial.ptr_mut()?, r, columns, step)?;
        sum(gpu, partial.ptr()?, y.ptr_mut()?, n, parts)?;
    }
    Ok(y)
}

#[cfg(test)]
mod tests;
