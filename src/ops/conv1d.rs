//! Dilated 1-D convolution (cross-correlation, as in PyTorch).
//!
//! `y[n, o, :] = b + sum_t x[n, o * stride + t * dilation - left, :] W[t]`, rows outside the sequence are zero.
//!
//! Shapes: x `[N, L, C]`, W `[k, C, O]` (a checkpoint's `[O, C, k]` is turned once, at its door), b `[O]`, y `[N, Lo, O]` with
//! `Lo = (L + left + right - dilation (k - 1) - 1) / stride + 1`. PyTorch: `torch.nn.functional.conv1d` on the zero-padded input.
//!
//! An implicit GEMM: channels last makes the rows that a tap reads a matrix, so a tap is one product over shifted rows; there
//! is no im2col buffer. Taps are added in fixed order. Fewer than 16 outputs would starve the product: then all taps are
//! one product `[rows, C] x [C, k O]`, whose columns are shifted and added.

pub(super) mod cuda;
pub(super) mod half;
pub(super) mod operands;
pub(super) mod sm90;

use cuda::{Tail, Tailed};

use crate::error::{Error, Result};
use crate::ops::checked_rank;
use crate::real;
use crate::tape::{Cx, Delta, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::gemm::{self, Gemm, Mat, Packed};
use crate::tensor::{self, Tensor};
use crate::util::math::Float;
use crate::util::{math, par};

/// Output rows that one task computes, all taps: its rows of x and y stay in the second-level cache.
const ROWS: usize = 384;
/// Below this many outputs the taps are one product.
const NARROW: usize = 16;

/// Geometry of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv1dArgs {
    /// Taps k.
    pub kernel: usize,
    /// Distance of two outputs, in input rows.
    pub stride: usize,
    /// Distance of two taps, in input rows.
    pub dilation: usize,
    /// Zero rows before and after the sequence.
    pub pad: (usize, usize),
}

impl Conv1dArgs {
    /// 'Same' padding of a span s = dilation (k - 1) + 1: `s / 2 - [s even]` rows before, `s / 2` after.
    pub fn same(kernel: usize, dilation: usize) -> Self {
        let span = dilation * kernel.saturating_sub(1) + 1;
        Self { kernel, stride: 1, dilation, pad: (span / 2 - usize::from(span.is_multiple_of(2)), span / 2) }
    }

    /// No padding.
    pub fn valid(kernel: usize) -> Self {
        Self { kernel, stride: 1, dilation: 1, pad: (0, 0) }
    }

    /// Distance of the first tap from the last.
    pub fn reach(&self) -> usize {
        self.dilation * (self.kernel - 1)
    }

    /// Output rows for `l` input rows.
    ///
    /// # Errors
    /// [`Error::Argument`] if the padded sequence is shorter than the kernel's span, or for a zero kernel, stride or dilation.
    pub fn output(&self, l: usize) -> Result<usize> {
        if self.kernel == 0 || self.stride == 0 || self.dilation == 0 {
            return Err(Error::Argument {
                op: "conv1d",
                what: format!(
                    "kernel {}, stride {}, dilation {}: expected at least 1 each",
                    self.kernel, self.stride, self.dilation
                ),
            });
        }
        (l + self.pad.0 + self.pad.1).checked_sub(self.reach() + 1).map(|v| v / self.stride + 1).ok_or_else(|| {
            Error::Argument {
                op: "conv1d",
                what: format!(
                    "a kernel spanning {} rows does not fit into {l} rows padded by {} and {}",
                    self.reach() + 1,
                    self.pad.0,
                    self.pad.1
                ),
            }
        })
    }

    /// Output rows within `from..to` whose input row under tap `t` exists: (first output row, first input row, rows).
    fn tap(&self, t: usize, l: usize, from: usize, to: usize) -> Option<(usize, usize, usize)> {
        let s = self.stride as isize;
        let shift = (t * self.dilation) as isize - self.pad.0 as isize;
        let a = ((-shift + s - 1).div_euclid(s)).max(from as isize);
        let b = ((l as isize - 1 - shift).div_euclid(s) + 1).min(to as isize);
        (b > a).then(|| (a as usize, (a * s + shift) as usize, (b - a) as usize))
    }

    /// For stride 1, input rows within `from..to` whose output row under tap `t` exists: (first input, first output, rows).
    fn tap_back(&self, t: usize, lo: usize, from: usize, to: usize) -> Option<(usize, usize, usize)> {
        let shift = (t * self.dilation) as isize - self.pad.0 as isize;
        let a = shift.max(from as isize);
        let b = (lo as isize + shift).min(to as isize);
        (b > a).then(|| (a as usize, (a - shift) as usize, (b - a) as usize))
    }
}

/// Convolves `x` `[N, L, C]` with `w` `[k, C, O]`; see the head of this file.
///
/// # Errors
/// [`Error::Shape`] if ranks, channels, kernel width or bias do not fit; [`Error::Argument`] if the kernel does not fit into
/// the padded sequence.
///
/// ```
/// use drg::{ops::{conv1d, Conv1dArgs}, tape::{Tape, Var}, tensor::Tensor};
/// let x = Var::constant(Tensor::new(&[1, 3, 1], vec![1f32, 2., 3.])?);
/// let w = Var::constant(Tensor::new(&[3, 1, 1], vec![1f32, 10., 100.])?);
/// let y = conv1d(&mut Tape::predict(), &x, &w, None, Conv1dArgs::same(3, 1))?;
/// assert_eq!(y.value.cpu::<f32>()?, [210., 321., 32.]);
/// # Ok::<(), drg::Error>(())
/// ```
pub fn conv1d(tape: &mut Tape, x: &Var, w: &Var, bias: Option<&Var>, args: Conv1dArgs) -> Result<Var> {
    checked("conv1d", x, w, bias, args)?;
    tape.apply(Conv1d { args }, &inputs(x, w, bias))
}

/// As [`conv1d`], with a value that is known.
pub(super) fn given(
    tape: &mut Tape,
    x: &Var,
    w: &Var,
    bias: Option<&Var>,
    args: Conv1dArgs,
    value: Tensor,
) -> Result<Var> {
    tape.apply_given(Conv1d { args }, &inputs(x, w, bias), value)
}

fn inputs<'a>(x: &'a Var, w: &'a Var, bias: Option<&'a Var>) -> Vec<&'a Var> {
    [x, w].into_iter().chain(bias).collect()
}

/// The shape of the output, for arguments that fit.
pub(super) fn checked(op: &'static str, x: &Var, w: &Var, bias: Option<&Var>, args: Conv1dArgs) -> Result<[usize; 3]> {
    let [n, l, c] = checked_rank(x, op, "x [N, L, C]")?;
    let [k, ci, o] = checked_rank(w, op, "weight [k, C, O]")?;
    if (k, ci) != (args.kernel, c) {
        return Err(Error::Shape {
            op,
            arg: "weight",
            expected: format!("[{}, {c}, O] for input {:?}", args.kernel, x.shape()),
            found: w.shape().to_vec(),
        });
    }
    if let Some(b) = bias.filter(|b| b.shape() != [o]) {
        return Err(Error::Shape { op, arg: "bias", expected: format!("[{o}]"), found: b.shape().to_vec() });
    }
    Ok([n, args.output(l)?, o])
}

struct Conv1d {
    args: Conv1dArgs,
}

impl Op for Conv1d {
    fn name(&self) -> &'static str {
        "conv1d"
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        value(&self.args, save, x[0], x[1], x.get(2).copied(), None)
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        gradients(&self.args, cx, dy)
    }

    fn window(&self, x: &[Option<&Window>], len: usize) -> Window {
        window(&self.args, &Window::hull(x), len)
    }

    fn is_linear(&self) -> bool {
        true
    }

    fn takes_operands(&self) -> bool {
        true
    }

    fn products(&self, cx: &Cx, x: &[Option<&Window>], to: &Window) -> f64 {
        products(&self.args, cx, &Window::hull(x), to)
    }

    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        change(&self.args, cx, super::changed(dx, 0)?, to, None)
    }
}

/// The convolution, plus `residual` of its shape, in the task that has just computed a piece of it. Saves what
/// [`gradients`] and [`change`] need, in slots 0 and 1.
pub(super) fn value(
    args: &Conv1dArgs,
    save: &mut Save,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    residual: Option<&Tensor>,
) -> Result<Tensor> {
    let ([n, l, c], [_, _, o]) = (x.dims("conv1d", "x")?, w.dims("conv1d", "weight")?);
    let lo = args.output(l)?;
    save.put(0, save.keep.backward, x); // dw needs x; rescale and delta need the weight alone
    save.put(1, save.keep.any(), w);
    if let Some(y) = save.given() {
        return Ok(y);
    }
    let all: Vec<&Tensor> = [x, w].into_iter().chain(bias).chain(residual).collect();
    if let Some(gpu) = Tensor::place("conv1d", &all)? {
        let tail = Tail { bias, residual, norm: None, raw: residual.is_none(), sum: residual.is_some() };
        let Tailed { raw, sum, .. } = cuda::forward_tailed(gpu, save.precision, args, lo, x, w, tail)?;
        return Ok(sum.or(raw).expect("the value that was asked for"));
    }
    real!("conv1d", x, T => {
        let [bias, residual] = [bias, residual].map(|t| t.map(|t| t.cpu::<T>()).transpose());
        let mut y = tensor::stale::<T>(n * lo * o);
        forward(args, Size { n, l, lo, c, o }, x.cpu()?, w.cpu()?, bias?, residual?, &mut y);
        Ok(Tensor::of(&[n, lo, o], y))
    })
}

/// Gradients of x, weight and bias, inputs 0 to 2.
pub(super) fn gradients(args: &Conv1dArgs, cx: &Cx, dy: &Tensor) -> Result<Grads> {
    let [r, lo, o] = dy.dims("conv1d", "dy")?;
    let w = cx.saved(1)?;
    let c = w.shape()[1];
    // The input's length is not in the output's shape when the stride drops rows: it is in the saved input, or, when the
    // recording kept none (rescale), follows for stride 1.
    let l = match cx.saved(0) {
        Ok(x) => x.shape()[1],
        Err(_) if args.stride == 1 => lo + args.reach() - args.pad.0 - args.pad.1,
        Err(e) => return Err(e),
    };
    if cx.wants(1) || cx.wants(2) {
        cx.whole_batch("conv1d")?;
    }
    if let Some(gpu) = Tensor::place("conv1d", &[w, dy])? {
        return cuda::backward(gpu, cx, args, l, dy);
    }
    let size = Size { n: r, l, lo, c, o };
    real!("conv1d", dy, T => {
        let (g, w) = (dy.cpu::<T>()?, w.cpu::<T>()?);
        let dx = cx.wants(0).then(|| Tensor::of(&[r, l, c], backward_input(args, size, g, w)));
        let dw = match cx.wants(1) {
            true => Some(Tensor::of(cx.saved(1)?.shape(), backward_weight(args, size, cx.saved(0)?.cpu()?, g))),
            false => None,
        };
        let db = cx.wants(2).then(|| Tensor::of(&[o], par::column_sums(g, o)));
        Ok(vec![dx, dw, db])
    })
}

/// Window of the output for that of x.
pub(super) fn window(a: &Conv1dArgs, from: &Window, len: usize) -> Window {
    let (left, reach, stride) = (a.pad.0 as i32, a.reach() as i32, a.stride as i32);
    if stride == 1 {
        return from.shifted(left - reach, a.reach(), len);
    }
    from.mapped(len, |s| (s + left - reach + stride - 1).div_euclid(stride), |e| (e + left).div_euclid(stride))
}

/// Multiply-adds of a mutant.
pub(super) fn products(args: &Conv1dArgs, cx: &Cx, from: &Window, to: &Window) -> f64 {
    let Ok(w) = cx.saved(1) else { return 0.0 };
    // Every tap meets every changed row, or, with a stride, every output row.
    let rows = if args.stride == 1 { from.width } else { to.width };
    (rows * w.len()) as f64
}

/// Change of the output on `to`, the [`window`] of x; plus `residual`, a change on the same window.
pub(super) fn change(args: &Conv1dArgs, cx: &Cx, x: &Delta, to: &Window, residual: Option<&Delta>) -> Result<Tensor> {
    let (w, m) = (cx.saved(1)?, to.mutants());
    let [k, c, o] = w.dims("conv1d", "weight")?;
    if let Some(gpu) = Tensor::place("conv1d", &[w, x.rows()?])? {
        let residual = residual.map(|r| if r.at == *to { Ok(r.clone()) } else { r.placed(to) }).transpose()?;
        let residual = residual.as_ref().map(Delta::rows).transpose()?;
        return cuda::delta(gpu, cx, args, x, w, to, residual);
    }
    real!("conv1d", w, T => {
        let taps = cx.prepared(|| Ok(Taps::<T>::new(w.cpu()?, k, c, o)))?;
        let (d, mut y) = (x.rows()?.cpu::<T>()?, tensor::stale::<T>(to.width * m * o));
        if args.stride == 1 && to.width == x.at.width + args.reach() {
            // Mutants lie side by side, so a position is m rows: a convolution whose taps are m times as far apart. Rows
            // that lie outside of the sequence for all mutants are zero, and nobody reads them.
            let (from, into) = (x.at.inside(), to.inside());
            let (apart, left) = (args.dilation * m, (args.reach() + from.start).saturating_sub(into.start));
            let rows = Conv1dArgs { kernel: k, stride: 1, dilation: apart, pad: (left * m, 0) };
            let size = Size { n: 1, l: from.len() * m, lo: into.len() * m, c, o };
            let d = &d[from.start * m * c..from.end * m * c];
            let y = &mut y[into.start * m * o..into.end * m * o];
            // Blocks of the narrow form would read the reach of the taps besides their own rows.
            let block = if taps.narrow.is_some() { size.lo.max(1) } else { ROWS };
            for (i, y) in y.chunks_mut(block * o).enumerate() {
                taps.forward(&rows, size, d, None, i * block, y);
            }
        } else {
            strided(args, taps, x, d, to, (c, o), &mut y);
        }
        if let Some(r) = residual {
            super::elementwise::add_placed(&r.at, r.rows()?.cpu()?, T::of(1.0), to, o, &mut y);
        }
        Ok(Tensor::of(&[to.width, m, o], y))
    })
}

/// The change where starts round per mutant, so that rows are found by position: a tap's rows are gathered, multiplied and added.
fn strided<T: Gemm>(
    a: &Conv1dArgs,
    taps: &Taps<T>,
    x: &Delta,
    d: &[T],
    to: &Window,
    (c, o): (usize, usize),
    y: &mut [T],
) {
    y.fill(T::default());
    for t in 0..a.kernel {
        let (mut rows, mut gathered) = (vec![], vec![]);
        for (r, i, p) in to.cells() {
            let q = (p * a.stride + t * a.dilation).checked_sub(a.pad.0).filter(|&q| q < x.at.len);
            if let Some(k) = q.and_then(|q| x.at.row(i, q)) {
                rows.push(r);
                gathered.extend_from_slice(&d[k * c..][..c]);
            }
        }
        let mut product = tensor::zeros::<T>(rows.len() * o);
        gemm::add_packed(Mat::new(&gathered, rows.len(), c, c), &taps.wide[t], &mut product, o);
        for (r, row) in rows.into_iter().zip(product.chunks_exact(o)) {
            math::add(row, &mut y[r * o..][..o]);
        }
        tensor::give_back(product);
    }
}

#[derive(Clone, Copy)]
struct Size {
    n: usize,
    l: usize,
    lo: usize,
    c: usize,
    o: usize,
}

impl Size {
    /// Rows of a task: whole sequences while they are many and short, blocks of them otherwise.
    fn tasks(&self, rows: usize) -> Vec<(usize, usize, usize)> {
        let per = if self.n >= 2 * par::threads() { ROWS } else { ROWS.min(rows.div_ceil(4 * par::threads()).max(64)) };
        (0..self.n).flat_map(|i| (0..rows).step_by(per).map(move |from| (i, from, (from + per).min(rows)))).collect()
    }
}

/// Splits `y` into the consecutive pieces of `tasks` (sequence, from, to), `width` elements a row.
fn pieces<T>(mut y: &mut [T], tasks: Vec<(usize, usize, usize)>, width: usize) -> Vec<(usize, usize, usize, &mut [T])> {
    tasks
        .into_iter()
        .map(|(i, from, to)| {
            let (piece, rest) = std::mem::take(&mut y).split_at_mut((to - from) * width);
            y = rest;
            (i, from, to, piece)
        })
        .collect()
}

fn forward<T: Gemm>(
    a: &Conv1dArgs,
    size: Size,
    x: &[T],
    w: &[T],
    bias: Option<&[T]>,
    residual: Option<&[T]>,
    y: &mut [T],
) {
    let Size { l, lo, c, o, .. } = size;
    let taps = if o < NARROW && a.kernel > 1 {
        Taps { wide: vec![], narrow: Some(taps_side_by_side(w, a.kernel, c, o)) }
    } else {
        Taps { wide: packed_taps(w, a.kernel, |w| Mat::new(w, c, o, o)), narrow: None }
    };
    par::each(pieces(y, size.tasks(lo), o), |(i, from, _, y)| {
        taps.forward(a, size, &x[i * l * c..][..l * c], bias, from, y);
        if let Some(r) = residual {
            math::add(&r[(i * lo + from) * o..][..y.len()], y);
        }
    });
}

/// The weights of all taps, laid out for many products.
struct Taps<T> {
    wide: Vec<Packed<T>>,
    /// For few outputs, `[C, k O]`.
    narrow: Option<Vec<T>>,
}

impl<T: Gemm> Taps<T> {
    /// Both layouts, for a delta sweep.
    fn new(w: &[T], k: usize, c: usize, o: usize) -> Self {
        let narrow = (o < NARROW && k > 1).then(|| taps_side_by_side(w, k, c, o));
        Self { wide: packed_taps(w, k, |w| Mat::new(w, c, o, o)), narrow }
    }

    /// Output rows from `from` on of one sequence, as many as fit `y`.
    fn forward(&self, a: &Conv1dArgs, size: Size, x: &[T], bias: Option<&[T]>, from: usize, y: &mut [T]) {
        let Size { l, c, o, .. } = size;
        match bias {
            Some(b) => y.chunks_exact_mut(o).for_each(|row| row.copy_from_slice(b)),
            None => y.fill(T::default()),
        }
        let to = from + y.len() / o;
        if let Some(w) = &self.narrow {
            return forward_narrow(a, [l, c, o], x, w, from, to, y);
        }
        for (t, w) in self.wide.iter().enumerate() {
            let Some((first, input, rows)) = a.tap(t, l, from, to) else { continue };
            let x = Mat::new(&x[input * c..], rows, c, a.stride * c);
            gemm::add_packed(x, w, &mut y[(first - from) * o..], o);
        }
    }
}

/// Every tap's matrix, laid out for many products.
fn packed_taps<T: Gemm>(w: &[T], k: usize, tap: impl Fn(&[T]) -> Mat<T> + Sync + Send) -> Vec<Packed<T>> {
    let size = w.len() / k;
    par::map(k, |t| gemm::pack(tap(&w[t * size..][..size])))
}

/// W `[k, C, O]` as `[C, k O]`.
fn taps_side_by_side<T: Copy + Default>(w: &[T], k: usize, c: usize, o: usize) -> Vec<T> {
    let mut out = vec![T::default(); k * c * o];
    for t in 0..k {
        for i in 0..c {
            out[(i * k + t) * o..][..o].copy_from_slice(&w[(t * c + i) * o..][..o]);
        }
    }
    out
}

/// Adds the convolution to the output rows `from..to` in `y`. A block of input rows is multiplied with all taps at once, to
/// `[k O, rows]`, whose rows are then shifted and added; the sums lie channel by channel meanwhile. An output's taps come in
/// order, because its input rows do.
fn forward_narrow<T: Gemm>(
    a: &Conv1dArgs,
    [l, c, o]: [usize; 3],
    x: &[T],
    w: &[T],
    from: usize,
    to: usize,
    y: &mut [T],
) {
    const BLOCK: usize = 1024;
    let first = (from * a.stride).saturating_sub(a.pad.0).min(l);
    let last = ((to - 1) * a.stride + a.reach() + 1).saturating_sub(a.pad.0).min(l);
    let (wide, n) = (a.kernel * o, to - from);
    let mut sums = tensor::stale::<T>(o * n);
    for (j, sums) in sums.chunks_exact_mut(n).enumerate() {
        sums.iter_mut().zip(y.chunks_exact(o)).for_each(|(s, y)| *s = y[j]);
    }
    let mut g = tensor::stale::<T>(wide * BLOCK.min(last - first));
    for block in (first..last).step_by(BLOCK) {
        let rows = BLOCK.min(last - block);
        let g = &mut g[..wide * rows];
        g.fill(T::default());
        gemm::add(Mat::new(w, c, wide, wide).t(), Mat::new(&x[block * c..], rows, c, c).t(), g, rows);
        for t in 0..a.kernel {
            // Outputs whose row under this tap lies in the block.
            let output = |row: usize| (row + a.pad.0).saturating_sub(t * a.dilation).div_ceil(a.stride).clamp(from, to);
            let (begin, end) = (output(block), output(block + rows));
            if begin == end {
                continue;
            }
            let row = begin * a.stride + t * a.dilation - a.pad.0 - block;
            for j in 0..o {
                let g = &g[(t * o + j) * rows + row..(t * o + j + 1) * rows];
                let sums = &mut sums[j * n + begin - from..j * n + end - from];
                if a.stride == 1 {
                    math::add(&g[..sums.len()], sums);
                } else {
                    sums.iter_mut().zip(g.iter().step_by(a.stride)).for_each(|(s, &g)| *s += g);
                }
            }
        }
    }
    for (j, sums) in sums.chunks_exact(n).enumerate() {
        sums.iter().zip(y.chunks_exact_mut(o)).for_each(|(&s, y)| y[j] = s);
    }
    tensor::give_back(g);
    tensor::give_back(sums);
}

/// dy of one sequence, the taps of an input row side by side: `[L, k O]`; the narrow form of both gradients.
fn gathered<T: Gemm>(a: &Conv1dArgs, size: Size, dy: &[T]) -> Vec<T> {
    let (Size { l, lo, o, .. }, wide) = (size, a.kernel * size.o);
    let mut g = tensor::zeros::<T>(l * wide);
    for t in 0..a.kernel {
        let Some((out, input, rows)) = a.tap(t, l, 0, lo) else { continue };
        for r in 0..rows {
            let at = (input + r * a.stride) * wide + t * o;
            g[at..at + o].copy_from_slice(&dy[(out + r) * o..][..o]);
        }
    }
    g
}

fn backward_input<T: Gemm>(a: &Conv1dArgs, size: Size, dy: &[T], w: &[T]) -> Vec<T> {
    let Size { n, l, lo, c, o } = size;
    let mut dx = tensor::stale::<T>(n * l * c);
    if o < NARROW && a.kernel > 1 {
        let w = taps_side_by_side(w, a.kernel, c, o);
        let wide = a.kernel * o;
        par::each(dx.chunks_exact_mut(l * c).enumerate().collect(), |(i, dx): (usize, &mut [T])| {
            let g = gathered(a, size, &dy[i * lo * o..][..lo * o]);
            dx.fill(T::default());
            gemm::add(Mat::new(&g, l, wide, wide), Mat::new(&w, c, wide, wide).t(), dx, c);
        });
        return dx;
    }
    let taps = packed_taps(w, a.kernel, |w| Mat::new(w, c, o, o).t());
    let tasks = if a.stride == 1 { size.tasks(l) } else { (0..n).map(|i| (i, 0, l)).collect() };
    par::each(pieces(&mut dx, tasks, c), |(i, from, to, dx)| {
        dx.fill(T::default());
        let dy = &dy[i * lo * o..][..lo * o];
        for t in 0..a.kernel {
            let w = &taps[t];
            if a.stride == 1 {
                let Some((input, out, rows)) = a.tap_back(t, lo, from, to) else { continue };
                gemm::add_packed(Mat::new(&dy[out * o..], rows, o, o), w, &mut dx[(input - from) * c..], c);
            } else {
                let Some((out, input, rows)) = a.tap(t, l, 0, lo) else { continue };
                gemm::add_packed(Mat::new(&dy[out * o..], rows, o, o), w, &mut dx[input * c..], a.stride * c);
            }
        }
    });
    dx
}

/// Every (tap, block of input channels) is a product of its own over all sequences in order, so threads share no sum.
fn backward_weight<T: Gemm>(a: &Conv1dArgs, size: Size, x: &[T], dy: &[T]) -> Vec<T> {
    let Size { n, l, lo, c, o } = size;
    if o < NARROW && a.kernel > 1 {
        let wide = a.kernel * o;
        let mut sum = tensor::zeros::<T>(c * wide);
        for i in 0..n {
            let g = gathered(a, size, &dy[i * lo * o..][..lo * o]);
            gemm::add(Mat::new(&x[i * l * c..], l, c, c).t(), Mat::new(&g, l, wide, wide), &mut sum, wide);
        }
        let mut dw = vec![T::default(); a.kernel * c * o];
        for t in 0..a.kernel {
            for i in 0..c {
                dw[(t * c + i) * o..][..o].copy_from_slice(&sum[(i * a.kernel + t) * o..][..o]);
            }
        }
        return dw;
    }
    let mut dw = tensor::zeros::<T>(a.kernel * c * o);
    let block = c.div_ceil((4 * par::threads()).div_ceil(a.kernel)).next_multiple_of(16).min(c);
    let mut tasks = Vec::new();
    for (t, tap) in dw.chunks_exact_mut(c * o).enumerate() {
        for (b, piece) in tap.chunks_mut(block * o).enumerate() {
            tasks.push((t, b * block, piece));
        }
    }
    par::each(tasks, |(t, channel, dw)| {
        let Some((out, input, rows)) = a.tap(t, l, 0, lo) else { return };
        let width = dw.len() / o;
        for i in 0..n {
            let x = Mat::new(&x[(i * l + input) * c + channel..], rows, width, a.stride * c);
            gemm::add(x.t(), Mat::new(&dy[(i * lo + out) * o..], rows, o, o), dw, o);
        }
    });
    dw
}

#[cfg(test)]
mod tests;
