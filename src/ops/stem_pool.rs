//! The first layer on packed bases with the activation and the pool that follow it, as one operation:
//! `y = pool(f(stem(x)))`, the functions of [`super::stem`], [`super::activation`] and [`super::pool`].
//!
//! x `[N, L]` packed, W `[k, 4, O]`, b `[O]`, y `[N, Lo, O]`. The map `[N, L, O]` between them is the largest of a network, and a
//! pass over it costs more than the additions that make it. Here it exists in pieces that stay in a cache (CPU) or in shared
//! memory (GPU).
//!
//! What is kept for later sweeps: for gradients the bases and the weights, from which backward makes the map again, piece by
//! piece. On a CPU z is kept besides, unless backward needs the values of both strands anyway: the table sums would cost more
//! than reading it. For mutants it is z `[N, L, O]`, or both strands `[N, L, 2, O]` where their combination is not linear, because
//! changes are as exact as the recorded values, and those come from a record in f64.
//!
//! 8 x 600 bases, 300 kernels of 15, GELU, weighted pool of 4, one thread of an EPYC (Zen 5), times in parts and fused, best of
//! several runs on a busy machine: forward 2.72 and 2.44 ms, with backward 5.22 and 5.27 ms, 48 mutants 0.44 and 0.34 ms; maximum
//! of both strands, with backward: 12.69 and 12.57 ms.
//!
//! Only what is exact in pieces is fused ([`stem_pool_fits`]): windows that do not overlap, whose padding has no weight. There is no
//! rescale form: a tape for DeepLIFT takes the operations one by one ([`Tape::fuse`]).

mod cuda;

use super::pool::{self, Padding, Pool, PoolArgs, PoolKind};
use super::stem::{self, Input, Stem, StemArgs, Strand, Strands};
use crate::error::{Error, Result};
use crate::real;
use crate::tape::{Change, Cx, Delta, Edit, Grads, Op, Save, Tape, Var, Window};
use crate::tensor::gemm::Gemm;
use crate::tensor::{self, DType, Tensor};
use crate::util::math::Activation;
use crate::util::par;

/// Elements of the map that are at hand at once.
const PIECE: usize = 1 << 15;
/// Rows of a window at most: a GPU holds the changes of one in registers.
const ROWS: usize = 16;

/// Whether [`stem_pool`] has a form for this input and pool: packed bases, windows of up to 16 rows that do not overlap and are at
/// most 128 apart, and padding, if there is any, without weight.
pub fn stem_pool_fits(x: &Var, args: PoolArgs) -> bool {
    let (&[_, l], DType::U8) = (x.shape(), x.value.dtype()) else { return false };
    let apart = args.size <= args.stride && (args.kind != PoolKind::Weighted || args.size == args.stride);
    let small = args.size <= ROWS && args.stride <= stem::cuda::POSITIONS;
    let weightless = |lo| args.padding == Padding::Exclude || !args.is_padded(l, lo);
    apart && small && args.output(l).is_ok_and(weightless)
}

/// Runs the first layer, `f` and the pool; see the head of this file.
///
/// # Errors
/// Those of [`super::stem`] and [`super::pool`]; [`Error::Unsupported`] unless [`stem_pool_fits`].
pub fn stem_pool(
    tape: &mut Tape,
    x: &Var,
    w: &Var,
    bias: Option<&Var>,
    args: StemArgs,
    f: Activation,
    pool: PoolArgs,
) -> Result<Var> {
    stem::check("stem_pool", x, w, bias, args)?;
    let l = x.shape()[1];
    pool.output(l)?;
    if !stem_pool_fits(x, pool) {
        return Err(Error::Unsupported {
            op: "stem_pool",
            what: format!(
                "{pool:?} of x {:?}; expected packed bases, windows of up to {ROWS} rows that do not overlap, and padding \
                 'exclude': record stem, activation and pool one by one",
                x.shape()
            ),
        });
    }
    let inputs: Vec<&Var> = [x, w].into_iter().chain(bias).collect();
    tape.apply(StemPool { stem: Stem { a: args }, f, pool: Pool { a: pool, l } }, &inputs)
}

struct StemPool {
    stem: Stem,
    f: Activation,
    pool: Pool,
}

/// Slot of what is kept of the map.
const VALUES: usize = 3;

impl StemPool {
    /// Whether both strands are kept for mutants, not z.
    fn keeps_both(&self) -> bool {
        matches!(self.stem.a.strands, Strands::Max | Strands::Weighted)
    }

    /// Shape of what is kept of the map.
    fn kept_shape(&self, n: usize, o: usize) -> Vec<usize> {
        if self.keeps_both() { vec![n, self.pool.l, 2, o] } else { vec![n, self.pool.l, o] }
    }

    /// Windows of a piece of the map.
    fn piece(&self, o: usize) -> usize {
        (PIECE / (o * self.pool.a.stride).max(1)).max(1)
    }

    /// Rows of the map that belong to windows `from..to` of `lo`: all rows belong to some.
    fn rows(&self, from: usize, to: usize, lo: usize) -> std::ops::Range<usize> {
        let first = |o| self.pool.a.inputs(o, self.pool.l).0.start;
        (if from == 0 { 0 } else { first(from) })..(if to == lo { self.pool.l } else { first(to) })
    }

    /// Values of the strands at some rows of a sequence. The second is empty if there is one strand.
    fn values<T: Gemm>(
        &self,
        strands: &[Strand<T>],
        (x, bias): (Input<T>, Option<&[T]>),
        rows: &std::ops::Range<usize>,
        o: usize,
    ) -> [Vec<T>; 2] {
        let mut values = [vec![], vec![]];
        for (s, z) in strands.iter().zip(&mut values) {
            *z = tensor::stale::<T>(rows.len() * o);
            self.stem.strand(s, x, self.pool.l, bias, rows.start, rows.end, z);
        }
        values
    }
}

impl Op for StemPool {
    fn name(&self) -> &'static str {
        "stem_pool"
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        let (n, l, o) = (x[0].shape()[0], x[0].shape()[1], x[1].shape()[2]);
        let (lo, both) = (self.pool.a.output(l)?, self.keeps_both());
        for (slot, t) in x.iter().enumerate() {
            save.put(slot, save.keep.any(), t);
        }
        if let Some(gpu) = Tensor::place("stem_pool", x)? {
            return cuda::forward(self, gpu, x, lo, save);
        }
        let keep = save.keep.delta || save.keep.backward && !both;
        real!("stem_pool", x[1], T => {
            let bias = x.get(2).map(|b| b.cpu::<T>()).transpose()?;
            let (strands, input) = (self.stem.strands::<T>(x[1].cpu()?, o), Input::<T>::of(x[0])?);
            let wide = if both { 2 * o } else { o };
            let mut kept = tensor::stale::<T>(if keep { n * l * wide } else { 0 });
            let (mut y, per) = (tensor::stale::<T>(n * lo * o), self.piece(o));
            let (mut tasks, mut rest) = (vec![], &mut *kept);
            for (i, y) in y.chunks_exact_mut((lo * o).max(1)).enumerate() {
                for (piece, y) in y.chunks_mut(per * o).enumerate() {
                    let from = piece * per;
                    let rows = self.rows(from, from + y.len() / o, lo);
                    let here = if keep { rows.len() * wide } else { 0 };
                    tasks.push((i, from, rows, y, rest.split_off_mut(..here).unwrap_or_default()));
                }
            }
            par::each(tasks, |(i, from, rows, y, kept)| {
                let [mut z, other] = self.values(&strands, (input.sequence(i, l), bias), &rows, o);
                if both {
                    let strands = z.chunks_exact(o).zip(other.chunks_exact(o));
                    for (kept, (f, r)) in kept.chunks_exact_mut(2 * o).zip(strands) {
                        kept[..o].copy_from_slice(f);
                        kept[o..].copy_from_slice(r);
                    }
                }
                self.stem.combine(&mut z, &other);
                if !both && keep {
                    kept.copy_from_slice(&z);
                }
                self.f.value_in_place(&mut z);
                for (p, y) in y.chunks_exact_mut(o).enumerate() {
                    self.pool.cell(&z, rows.start, from + p, None, y);
                }
                tensor::give_back(z);
                tensor::give_back(other);
            });
            if keep {
                save.put(VALUES, true, &Tensor::of(&self.kept_shape(n, o), kept));
            }
            Ok(Tensor::of(&[n, lo, o], y))
        })
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        let ([r, lo, o], l) = (dy.dims("stem_pool", "dy")?, self.pool.l);
        if let Some(gpu) = Tensor::place("stem_pool", &[cx.saved(0)?, dy])? {
            return cuda::backward(self, gpu, cx, dy);
        }
        real!("stem_pool", dy, T => {
            let bias = cx.saved(2).ok().map(|b| b.cpu::<T>()).transpose()?;
            let strands = self.stem.strands::<T>(cx.saved(1)?.cpu()?, o);
            let input = Input::<T>::of(cx.saved(0)?)?;
            // z, where it was kept.
            let kept = cx.saved(VALUES).ok().filter(|_| !self.keeps_both()).map(|z| z.cpu::<T>()).transpose()?;
            let g = dy.cpu::<T>()?;
            let mut dz: Vec<Vec<T>> = strands.iter().map(|_| tensor::stale(r * l * o)).collect();
            let (first, second) = dz.split_at_mut(1);
            let (mut forward, mut reverse) = (&mut *first[0], second.first_mut().map_or(&mut [][..], |d| d));
            let (mut tasks, per) = (vec![], self.piece(o));
            for i in 0..r {
                for from in (0..lo).step_by(per) {
                    let rows = self.rows(from, (from + per).min(lo), lo);
                    let (df, rest) = std::mem::take(&mut forward).split_at_mut(rows.len() * o);
                    let here = rows.len() * o * (strands.len() - 1);
                    let (dr, other) = std::mem::take(&mut reverse).split_at_mut(here);
                    (forward, reverse) = (rest, other);
                    tasks.push((i, from, rows, df, dr));
                }
            }
            par::each(tasks, |(i, from, rows, df, dr)| {
                let n = cx.base(i);
                let mut made = [vec![], vec![]];
                let zf = match kept {
                    Some(z) => &z[(n * l + rows.start) * o..][..df.len()],
                    None => {
                        made = self.values(&strands, (input.sequence(n, l), bias), &rows, o);
                        &*made[0]
                    }
                };
                let mut map = tensor::stale::<T>(df.len());
                let mut z = vec![];
                if strands.len() > 1 && kept.is_none() {
                    z = tensor::stale::<T>(df.len());
                    z.copy_from_slice(zf);
                    self.stem.combine(&mut z, &made[1]);
                }
                let whole = if z.is_empty() { zf } else { &z };
                self.f.value(whole, &mut map);
                df.fill(T::default());
                let mut work = vec![];
                for o_ in from..(from + per).min(lo) {
                    let dy = &g[(i * lo + o_) * o..][..o];
                    self.pool.cell_backward((&map, rows.start), o_, None, dy, rows.start, df, &mut work);
                }
                self.f.gradient_in_place(whole, df);
                self.stem.split(zf, &made[1], df, dr);
                made.into_iter().chain([map, z]).for_each(tensor::give_back);
            });
            self.stem.gradients("stem_pool", cx, input, l, &strands, dz)
        })
    }

    fn rescale(&self, _: &Cx, _: &Tensor) -> Result<Grads> {
        Err(Error::Unsupported {
            op: "stem_pool",
            what: "rescale of stem, activation and pool in one; record them one by one (`Tape::fuse` = false)".into(),
        })
    }

    fn window(&self, x: &[Option<&Window>], len: usize) -> Window {
        let map = self.stem.window(x, self.pool.l);
        self.pool.window(&[Some(&map)], len)
    }

    fn is_linear(&self) -> bool {
        self.stem.is_linear() && self.f.is_linear() && self.pool.is_linear()
    }

    /// Edited bases, that is.
    fn takes_rows(&self) -> bool {
        true
    }

    fn products(&self, cx: &Cx, x: &[Option<&Window>], to: &Window) -> f64 {
        self.stem.products(cx, x, to)
    }

    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let (x, change) = (cx.saved(0)?, super::changed(dx, 0)?);
        let Change::Bases(edits) = &change.change else {
            return Err(Error::Unsupported {
                op: "stem_pool",
                what:
                    "a change of anything but bases; record stem, activation and pool one by one (`Tape::fuse` = false)"
                        .into(),
            });
        };
        // Where the map changes.
        let from = self.stem.window(&[Some(&change.at)], self.pool.l);
        if let Some(gpu) = x.gpu() {
            return cuda::delta(self, gpu, cx, edits, &from, to);
        }
        let (l, o, m) = (self.pool.l, cx.saved(1)?.shape()[2], to.mutants());
        real!("stem_pool", cx.saved(1)?, T => {
            let kept = cx.prepared(|| self.prepare::<T>(cx, o, to.len))?;
            let (codes, values) = (x.codes()?, cx.saved(VALUES)?.cpu::<T>()?);
            let z = if kept.z.is_empty() { values } else { &kept.z };
            let mut y = tensor::zeros::<T>(to.width * m * o);
            let mut work = Work::new(kept.strands.len(), from.width.min(l) * o, o);
            for (i, mutant) in edits.iter().enumerate() {
                let n = cx.base(i);
                let inside = |p: i64| p.clamp(0, l as i64) as usize;
                let start = i64::from(from.start[i]);
                let rows = inside(start)..inside(start + from.width as i64);
                let first = n * l + rows.start;
                self.map_change(kept, mutant, &codes[n * l..][..l], &rows, &values[first * (values.len() / z.len()) * o..], &mut work);
                let d = &mut work.d[..rows.len() * o];
                self.f.difference_in_place(&z[first * o..][..d.len()], d);
                for w in 0..to.width {
                    let Some(window) = usize::try_from(to.start[i] + w as i32).ok().filter(|&p| p < to.len) else { continue };
                    let own = self.pool.a.inputs(window, l).0;
                    let (a, b) = (own.start.max(rows.start), own.end.min(rows.end));
                    if a < b {
                        let changed = (a..b, &d[(a - rows.start) * o..], o);
                        let (map, out) = (&kept.map[n * l * o..][..l * o], &mut y[(w * m + i) * o..][..o]);
                        self.pool.cell_change(&kept.pool, map, [n, window, to.len], changed, T::default(), &mut work.old, out);
                    }
                }
            }
            Ok(Tensor::of(&[to.width, m, o], y))
        })
    }
}

/// What delta sweeps on a CPU need besides the input and what forward kept, made once a tape.
struct Kept<T> {
    strands: Vec<Strand<T>>,
    /// z where both strands were kept, `[N, L, O]`.
    z: Vec<T>,
    /// f(z), `[N, L, O]`.
    map: Vec<T>,
    pool: pool::Kept<T>,
}

/// Buffers that mutants use one after the other.
struct Work<T> {
    /// Changes of the strands on the rows of the map that change.
    strands: Vec<Vec<T>>,
    /// Change of the map on them.
    d: Vec<T>,
    pair: Vec<T>,
    weighted: Vec<T>,
    old: Vec<T>,
}

impl<T: Gemm> Work<T> {
    fn new(strands: usize, size: usize, o: usize) -> Self {
        let zeros = |n| vec![T::default(); n];
        let more = if strands > 1 { o } else { 0 };
        Self {
            strands: vec![zeros(size); strands - 1],
            d: zeros(size),
            pair: zeros(2 * more),
            weighted: zeros(3 * more),
            old: zeros(o),
        }
    }
}

impl StemPool {
    fn prepare<T: Gemm>(&self, cx: &Cx, o: usize, lo: usize) -> Result<Kept<T>> {
        let strands = self.stem.strands::<T>(cx.saved(1)?.cpu()?, o);
        let values = cx.saved(VALUES)?.cpu::<T>()?;
        let mut z = vec![];
        if self.keeps_both() {
            z = tensor::stale::<T>(values.len() / 2);
            par::rows(&mut z, o, |first, z| {
                for (z, both) in z.chunks_exact_mut(o).zip(values[first * 2 * o..].chunks_exact(2 * o)) {
                    z.copy_from_slice(&both[..o]);
                    self.stem.combine(z, &both[o..]);
                }
            });
        }
        let from = if z.is_empty() { values } else { &z };
        let mut map = tensor::stale::<T>(from.len());
        par::zip(&mut map, from, |y, x| self.f.value(x, y));
        let pool = self.pool.prepare(&map, o, lo)?;
        Ok(Kept { strands, z, map, pool })
    }

    /// Writes the change of z to `work.d`: `rows` of the map change, `values` = what was kept of them and of the rows behind.
    fn map_change<T: Gemm>(
        &self,
        kept: &Kept<T>,
        edits: &[Edit],
        codes: &[u8],
        rows: &std::ops::Range<usize>,
        values: &[T],
        work: &mut Work<T>,
    ) {
        let o = work.old.len();
        let size = rows.len() * o;
        for (s, d) in kept.strands.iter().zip([&mut work.d].into_iter().chain(&mut work.strands)) {
            d[..size].fill(T::default());
            for e in edits {
                let row = |p: usize| rows.contains(&p).then(|| p - rows.start);
                stem::edit(s, self.stem.a.kernel, o, *e, codes[e.at], row, d);
            }
        }
        let Some(other) = work.strands.first() else { return };
        for (p, d) in work.d[..size].chunks_exact_mut(o).enumerate() {
            work.pair[..o].copy_from_slice(d);
            work.pair[o..].copy_from_slice(&other[p * o..][..o]);
            let z = if self.keeps_both() { &values[p * 2 * o..][..2 * o] } else { &[] };
            self.stem.combined_change(z, &work.pair, &mut work.weighted, d);
        }
    }
}

#[cfg(test)]
mod tests;
