//! The change of an attention when some rows of q, k and v change.
//!
//! With a the weights of a query before and p' those after, t the growth of its scores (times the factor), S = sum_J a expm1(t)
//! over the changed keys J, and values v and outputs o counted from the mean value:
//!
//! - A query that does not change itself: `do = (sum_J [a expm1(t) v + a e^t dv] - S o) / (1 + S)`. Sums over few keys, no
//!   new score is subtracted from an old one, and everything stands premultiplied by the output projection: W v and W dv of
//!   the changed keys, W o of every query once a tape. No unchanged row meets W again.
//! - A query that changes: `do = sum dp v + sum_J p' dv` over all keys, with `dp = a expm1(t - ln(1 + S))`, or p' - a where
//!   weights change much. The weights' changes add up to zero, which gives that of the largest weight: so it is exact
//!   relative to the change, even where a query looks at hardly more than one key. Then through W, few rows.
//! - The first form would lose digits where little weight is left (1 + S < 1/16) and overflow where a score grows much: such
//!   (query, head) take the second form.
//!
//! Rows that do not change are left out, so no bit depends on how wide a window is, nor on the other mutants.

use std::sync::OnceLock;

use super::weights::{change_of_weights, grow, multiple, settle, weigh};
use super::{Size, exponentials};
use crate::tape::Window;
use crate::tensor;
use crate::tensor::gemm::{self, Gemm, Mat, Packed};
use crate::util::math::{add, axpy, multiply, scale, subtract};

/// Changed rows of a group of mutants, about: so many share a product.
const ROWS: usize = 64;
/// Queries of a block: their outputs, premultiplied, stay in the second-level cache for a group of mutants.
const QUERIES: usize = 128;

/// What the forward pass read, and what it saved.
pub(super) struct Reference<'a, T> {
    pub size: Size,
    pub q: &'a [T],
    pub k: &'a [T],
    pub v: &'a [T],
    /// Largest score and sum of exponentials, `[N, L, H, 2]`.
    pub rows: &'a [T],
    /// W and its columns.
    pub w: Option<(&'a [T], usize)>,
}

impl<T: Gemm> Reference<'_, T> {
    /// Channels of the output.
    pub fn width(&self) -> usize {
        self.w.map_or(self.size.o, |w| w.1)
    }

    /// Output channels that a head adds to.
    fn part(&self) -> usize {
        self.w.map_or(self.size.dv, |w| w.1)
    }

    /// Where they start.
    fn out(&self, head: usize) -> usize {
        if self.w.is_some() { 0 } else { self.size.out(head) }
    }

    /// Whether all heads add to the same channels, so that one product serves them.
    fn joined(&self) -> bool {
        self.part() == self.width()
    }
}

/// Multiply-adds of a change of `width` rows; those of a forward pass if that is all of them. `w` = products of one row with
/// W head by head, and the columns of W.
pub(super) fn products(size: Size, w: Option<(usize, usize)>, width: usize) -> usize {
    let Size { l, heads, d, dv, o, .. } = size;
    let (project, e) = w.unwrap_or((0, dv));
    if width >= l {
        let project = if o == dv { project / heads } else { project };
        return l * (l * heads * (d + dv) + project);
    }
    // Every query meets the changed keys before and after, their values and the changes of those; a changed one all keys.
    l * width * heads * (2 * d + 2 * e) + width * (l * heads * (2 * d + dv) + 3 * project)
}

/// What serves all mutants of a tape.
pub(super) struct Prepared<T> {
    /// The part of W of each head; one if heads are summed.
    w: Vec<Packed<T>>,
    /// The rows of the tape, made when a mutant first asks.
    bases: Vec<OnceLock<Base<T>>>,
}

impl<T: Gemm> Prepared<T> {
    pub fn new(of: &Reference<T>) -> Self {
        let Size { n, o, dv, .. } = of.size;
        let w = of.w.map_or(vec![], |(w, e)| {
            (0..o).step_by(dv).map(|first| gemm::pack(Mat::new(&w[first * e..], dv, e, e))).collect()
        });
        Self { w, bases: (0..n).map(|_| OnceLock::new()).collect() }
    }

    fn w(&self, head: usize) -> Option<&Packed<T>> {
        self.w.get(head).or(self.w.first())
    }

    fn base(&self, of: &Reference<T>, row: usize) -> &Base<T> {
        self.bases[row].get_or_init(|| Base::new(of, self, row))
    }
}

/// One row of the tape.
struct Base<T> {
    heads: Vec<Head<T>>,
    /// W o, o the outputs for values less their mean: `[L, H, part]`.
    outputs: Vec<T>,
}

struct Head<T> {
    /// Queries, transposed, in blocks.
    queries: Vec<Packed<T>>,
    /// Keys, transposed.
    keys: Packed<T>,
    /// Mean value over positions. It goes through a softmax unchanged, and without it sums over values round less.
    mean: Vec<T>,
    /// Values less their mean.
    values: Packed<T>,
    /// Largest score of each query.
    top: Vec<T>,
    /// One over its sum of exponentials.
    inverse: Vec<T>,
}

impl<T: Gemm> Base<T> {
    /// On one thread: others may wait for it.
    fn new(of: &Reference<T>, prepared: &Prepared<T>, row: usize) -> Self {
        let Size { l, heads, d, dv, .. } = of.size;
        let part = of.part();
        let mut outputs = vec![T::ZERO; l * heads * part];
        let (mut centred, mut scores) = (vec![T::ZERO; l * dv], vec![T::ZERO; QUERIES.min(l) * l]);
        let mut plain = vec![T::ZERO; QUERIES.min(l) * dv];
        let heads_ = (0..heads).map(|head| {
            let mut mean = vec![T::ZERO; dv];
            let values = || of.v[row * l * heads * dv..][..l * heads * dv].chunks_exact(dv).skip(head).step_by(heads);
            values().for_each(|v| add(v, &mut mean));
            scale(T::of(1.0 / l as f64), &mut mean);
            values().zip(centred.chunks_exact_mut(dv)).for_each(|(v, to)| subtract(v, &mean, to));
            let (keys, values) =
                (gemm::pack(of.size.head(of.k, row, head, d).t()), gemm::pack(Mat::new(&centred, l, dv, dv)));
            let saved = |i: usize, which: usize| of.rows[((row * l + i) * heads + head) * 2 + which];
            let top: Vec<T> = (0..l).map(|i| saved(i, 0)).collect();
            let inverse: Vec<T> = (0..l).map(|i| T::ONE / saved(i, 1)).collect();
            let mut queries = vec![];
            for from in (0..l).step_by(QUERIES) {
                let n = QUERIES.min(l - from);
                let q = Mat::new(&of.q[((row * l + from) * heads + head) * d..], n, d, heads * d);
                queries.push(gemm::pack(q.t()));
                let scores = &mut scores[..n * l];
                scores.fill(T::ZERO);
                gemm::add_packed(q, &keys, scores, l);
                for (i, scores) in scores.chunks_exact_mut(l).enumerate() {
                    exponentials(scores, top[from + i], of.size.factor());
                    scale(inverse[from + i], scores);
                }
                let (weights, to) = (Mat::new(scores, n, l, l), &mut outputs[(from * heads + head) * part..]);
                match prepared.w(head) {
                    Some(w) => {
                        let plain = &mut plain[..n * dv];
                        plain.fill(T::ZERO);
                        gemm::add_packed(weights, &values, plain, dv);
                        gemm::add_packed(Mat::new(plain, n, dv, dv), w, to, heads * part);
                    }
                    None => gemm::add_packed(weights, &values, to, heads * part),
                }
            }
            Head { queries, keys, mean, values, top, inverse }
        });
        Self { heads: heads_.collect(), outputs }
    }
}

/// A change of q, k or v: where, and `[width, M, C]`.
type Part<'a, T> = Option<(&'a Window, &'a [T])>;

/// The change of the output, `[L, M, width]`, from those of q, k and v; mutant m belongs to tape row `rows[m]`.
pub(super) fn sweep<T: Gemm>(of: &Reference<T>, prepared: &Prepared<T>, changes: [Part<T>; 3], rows: &[u32]) -> Vec<T> {
    let mut y = tensor::stale::<T>(of.size.l * rows.len() * of.width());
    let hull = Window::hull(&changes.map(|c| c.map(|c| c.0)));
    // Mutants of one tape row, side by side.
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&m| rows[m]);
    let mut group = Group::new(of, prepared, rows.len());
    for m in order {
        let base = rows[m] as usize;
        if group.base != base || group.rows >= ROWS {
            group.finish(&mut y);
            group.base = base;
        }
        group.push(m, &hull, &changes);
    }
    group.finish(&mut y);
    y
}

struct Mutant {
    /// Its number in the sweep.
    m: usize,
    /// Positions where q, k or v change.
    at: Vec<usize>,
    /// Those of them where q does: indices of `at`.
    inside: Vec<usize>,
    /// Row of its first position in the group's changes.
    first: usize,
}

/// Some mutants of one tape row.
struct Group<'a, T> {
    of: &'a Reference<'a, T>,
    prepared: &'a Prepared<T>,
    /// Mutants of the sweep.
    all: usize,
    base: usize,
    mutants: Vec<Mutant>,
    rows: usize,
    /// Changes of the mutants' positions, `[rows, H d]` and `[rows, H dv]`.
    dq: Vec<T>,
    dk: Vec<T>,
    dv: Vec<T>,
    /// Queries that the first form must not serve, by mutant and head.
    far: Vec<Vec<usize>>,
}

impl<'a, T: Gemm> Group<'a, T> {
    fn new(of: &'a Reference<'a, T>, prepared: &'a Prepared<T>, all: usize) -> Self {
        let (mutants, dq, dk, dv, far) = (vec![], vec![], vec![], vec![], vec![]);
        Self { of, prepared, all, base: 0, mutants, rows: 0, dq, dk, dv, far }
    }

    fn push(&mut self, m: usize, hull: &Window, changes: &[Part<T>; 3]) {
        let Size { l, heads, d, dv, .. } = self.of.size;
        let row = |i: usize, p: usize, c: usize| {
            let (at, x) = changes[i]?;
            let x = &x[at.row(m, p)? * c..][..c];
            x.iter().any(|v| *v != T::ZERO).then_some(x)
        };
        let (mut at, mut inside) = (vec![], vec![]);
        let first = i64::from(hull.start[m]);
        for p in (first.max(0)..(first + hull.width as i64).min(l as i64)).map(|p| p as usize) {
            let all = [row(0, p, heads * d), row(1, p, heads * d), row(2, p, heads * dv)];
            if all.iter().all(Option::is_none) {
                continue;
            }
            if all[0].is_some() {
                inside.push(at.len());
            }
            at.push(p);
            for ((x, to), c) in all.iter().zip([&mut self.dq, &mut self.dk, &mut self.dv]).zip([d, d, dv]) {
                match x {
                    Some(x) => to.extend_from_slice(x),
                    None => to.resize(to.len() + heads * c, T::ZERO),
                }
            }
        }
        let first = self.rows;
        self.rows += at.len();
        self.mutants.push(Mutant { m, at, inside, first });
    }

    /// Writes the mutants' changes to `y` and starts anew.
    fn finish(&mut self, y: &mut [T]) {
        if !self.mutants.is_empty() {
            let base = self.prepared.base(self.of, self.base);
            self.far = vec![vec![]; self.mutants.len() * self.of.size.heads];
            self.unchanged_queries(base, y);
            for head in 0..self.of.size.heads {
                self.summed_queries(&base.heads[head], head, y);
            }
        }
        self.mutants.clear();
        self.rows = 0;
        [&mut self.dq, &mut self.dk, &mut self.dv].into_iter().for_each(Vec::clear);
    }

    /// Row `row` of the group's changes of `x`, this row and the `n - 1` after it, one head of `width` channels.
    fn changes<'b>(&self, x: &'b [T], row: usize, n: usize, head: usize, width: usize) -> Mat<'b, T> {
        let pitch = self.of.size.heads * width;
        let from = if n == 0 { 0 } else { row * pitch + head * width };
        Mat::new(&x[from..], n, width, pitch)
    }

    /// The first form, for every query that does not change; writes zeros for the others.
    fn unchanged_queries(&mut self, base: &Base<T>, y: &mut [T]) {
        let Size { l, heads, d, .. } = self.of.size;
        let (part, width, factor) = (self.of.part(), self.of.width(), self.of.size.factor());
        if self.mutants.iter().all(|m| m.inside.len() == l) {
            for row in y.chunks_exact_mut(self.all * width) {
                self.mutants.iter().for_each(|m| row[m.m * width..][..width].fill(T::ZERO));
            }
            return;
        }
        let mut columns: Vec<usize> = self.mutants.iter().flat_map(|m| m.at.iter().copied()).collect();
        columns.sort_unstable();
        columns.dedup();
        let right = self.right_sides(base, &columns);
        let per = QUERIES.min(l);
        let [mut weights, mut growth] = [columns.len(), self.rows].map(|rows| vec![T::ZERO; rows * per]);
        // Per mutant, head and position: a expm1(t), then a e^t; all over 1 + S. Per mutant and head: -S / (1 + S).
        let mut left = vec![T::ZERO; 2 * self.rows * heads * per];
        let mut rest = vec![T::ZERO; self.mutants.len() * heads * per];
        let (mut largest, mut scales) = (vec![T::ZERO; per], vec![T::ZERO; per]);
        for (block, from) in (0..l).step_by(per).enumerate() {
            let n = per.min(l - from);
            let (largest, scales) = (&mut largest[..n], &mut scales[..n]);
            for (h, head) in base.heads.iter().enumerate() {
                let queries = &head.queries[block];
                let weights = &mut weights[..columns.len() * n];
                weights.fill(T::ZERO);
                let mut c = 0;
                for run in columns.chunk_by(|a, b| a + 1 == *b) {
                    let keys = &self.of.k[((self.base * l + run[0]) * heads + h) * d..];
                    gemm::add_packed(Mat::new(keys, run.len(), d, heads * d), queries, &mut weights[c * n..], n);
                    c += run.len();
                }
                for weights in weights.chunks_exact_mut(n) {
                    weigh(&head.top[from..][..n], &head.inverse[from..][..n], factor, weights);
                }
                let growth = &mut growth[..self.rows * n];
                growth.fill(T::ZERO);
                gemm::add_packed(self.changes(&self.dk, 0, self.rows, h, d), queries, growth, n);
                for (i, mutant) in self.mutants.iter().enumerate() {
                    let rest = &mut rest[(i * heads + h) * n..][..n];
                    rest.fill(T::ZERO);
                    largest.fill(-T::INFINITY);
                    let left = &mut left[2 * (mutant.first * heads + mutant.at.len() * h) * n..];
                    let (above, after) = left[..2 * mutant.at.len() * n].split_at_mut(mutant.at.len() * n);
                    let pieces = above.chunks_exact_mut(n).zip(after.chunks_exact_mut(n));
                    for ((j, p), (above, after)) in mutant.at.iter().enumerate().zip(pieces) {
                        let column = columns.binary_search(p).expect("columns hold every position of the group");
                        let growth = &growth[(mutant.first + j) * n..][..n];
                        grow(&weights[column * n..][..n], growth, factor, above, after, rest, largest);
                    }
                    if settle(largest, rest, scales) > 0 {
                        let changed = |p: usize| mutant.at.binary_search(&p).is_ok_and(|j| mutant.inside.contains(&j));
                        let far = (0..n).filter(|&k| scales[k] == T::ZERO && !changed(from + k));
                        self.far[i * heads + h].extend(far.map(|k| from + k));
                    }
                    for p in mutant.inside.iter().map(|&j| mutant.at[j]).filter(|p| (from..from + n).contains(p)) {
                        (rest[p - from], scales[p - from]) = (T::ZERO, T::ZERO);
                    }
                    for row in left[..2 * mutant.at.len() * n].chunks_exact_mut(n) {
                        multiply(scales, row);
                    }
                }
            }
            for (i, mutant) in self.mutants.iter().enumerate() {
                let outputs = base.outputs[from * heads * part..].chunks_exact(heads * part);
                for (k, outputs) in (0..n).zip(outputs) {
                    let y = &mut y[((from + k) * self.all + mutant.m) * width..][..width];
                    for (h, output) in outputs.chunks_exact(part).enumerate() {
                        let (rest, y) = (rest[(i * heads + h) * n + k], &mut y[self.of.out(h)..][..part]);
                        if h > 0 && self.of.joined() { axpy(rest, output, y) } else { multiple(rest, output, y) }
                    }
                }
                let rows = 2 * mutant.at.len() * heads / right[i].len();
                for (h, right) in right[i].iter().enumerate() {
                    let left = &left[(2 * mutant.first * heads + h * rows) * n..];
                    let y = &mut y[(from * self.all + mutant.m) * width + self.of.out(h)..];
                    gemm::add_packed(Mat::new(left, rows, n, n).t(), right, y, self.all * width);
                }
            }
        }
    }

    /// Per mutant, for all heads together or one by one: W v of its positions, then W dv; values less their mean.
    fn right_sides(&self, base: &Base<T>, columns: &[usize]) -> Vec<Vec<Packed<T>>> {
        let Size { l, heads, dv, .. } = self.of.size;
        let part = self.of.part();
        let [mut old, mut new] = [columns.len(), self.rows].map(|rows| vec![T::ZERO; rows * heads * part]);
        let mut centred = vec![T::ZERO; columns.len() * dv];
        for (h, head) in base.heads.iter().enumerate() {
            for (p, to) in columns.iter().zip(centred.chunks_exact_mut(dv)) {
                subtract(&self.of.v[((self.base * l + p) * heads + h) * dv..][..dv], &head.mean, to);
            }
            if !columns.is_empty() {
                project(self.prepared.w(h), (&centred, dv), dv, &mut old[h * part..], heads * part);
                project(self.prepared.w(h), (&self.dv[h * dv..], heads * dv), dv, &mut new[h * part..], heads * part);
            }
        }
        let mut rows = vec![];
        let pack = |mutant: &Mutant| {
            let mut packed = vec![];
            for h in 0..heads {
                for p in &mutant.at {
                    let column = columns.binary_search(p).expect("columns hold every position of the group");
                    rows.extend_from_slice(&old[(column * heads + h) * part..][..part]);
                }
                for row in mutant.first..mutant.first + mutant.at.len() {
                    rows.extend_from_slice(&new[(row * heads + h) * part..][..part]);
                }
                if h + 1 == heads || !self.of.joined() {
                    packed.push(gemm::pack(Mat::new(&rows, rows.len() / part, part, part)));
                    rows.clear();
                }
            }
            packed
        };
        self.mutants.iter().map(pack).collect()
    }

    /// The second form, for queries that change and those that [`settle`] refused: adds to `y`.
    fn summed_queries(&self, head: &Head<T>, h: usize, y: &mut [T]) {
        let heads = self.of.size.heads;
        // Mutant, query, row of its change.
        let mut queries: Vec<(usize, usize, Option<usize>)> = vec![];
        for (i, mutant) in self.mutants.iter().enumerate() {
            queries.extend(mutant.inside.iter().map(|&j| (i, mutant.at[j], Some(mutant.first + j))));
            queries.extend(self.far[i * heads + h].iter().map(|&p| (i, p, None)));
        }
        let mut work = Work::default();
        for queries in queries.chunks(self.of.size.queries()) {
            self.summed_block(head, h, queries, &mut work, y);
        }
    }

    fn summed_block(
        &self,
        head: &Head<T>,
        h: usize,
        queries: &[(usize, usize, Option<usize>)],
        work: &mut Work<T>,
        y: &mut [T],
    ) {
        let Size { l, heads, d, dv, .. } = self.of.size;
        let (n, part, width) = (queries.len(), self.of.part(), self.of.width());
        let [left, scores, new, spare, changed, values, outputs] = work.sized([
            2 * n * d,
            2 * n * l,
            l,
            l,
            n * queries.iter().map(|q| self.mutants[q.0].at.len()).max().unwrap_or(0),
            n * dv,
            n * part,
        ]);
        // Queries, then their changes, times all keys; then the changed queries times the changes of keys.
        let (old, moved) = left.split_at_mut(n * d);
        for ((&(_, p, row), old), moved) in queries.iter().zip(old.chunks_exact_mut(d)).zip(moved.chunks_exact_mut(d)) {
            old.copy_from_slice(&self.of.q[((self.base * l + p) * heads + h) * d..][..d]);
            if let Some(row) = row {
                moved.copy_from_slice(&self.dq[(row * heads + h) * d..][..d]);
            }
        }
        gemm::add_packed(Mat::new(left, 2 * n, d, d), &head.keys, scores, l);
        let (scores, growth) = scores.split_at_mut(n * l);
        let (old, moved) = left.split_at_mut(n * d);
        add(moved, old);
        let mut first = 0;
        for run in queries.chunk_by(|a, b| a.0 == b.0) {
            let mutant = &self.mutants[run[0].0];
            let (keys, rows) = (mutant.at.len(), first..first + run.len());
            let changed = &mut changed[..run.len() * keys];
            changed.fill(T::ZERO);
            let dk = self.changes(&self.dk, mutant.first, keys, h, d);
            gemm::add(Mat::new(&old[first * d..], run.len(), d, d), dk.t(), changed, keys);
            for ((r, &(_, i, _)), changed) in rows.clone().zip(run).zip(changed.chunks_exact_mut(keys)) {
                let (scores, growth) = (&mut scores[r * l..][..l], &mut growth[r * l..][..l]);
                for (&p, change) in mutant.at.iter().zip(&*changed) {
                    growth[p] += *change;
                }
                change_of_weights(head.top[i], head.inverse[i], self.of.size.factor(), scores, growth, new, spare);
                for (&p, to) in mutant.at.iter().zip(changed) {
                    *to = new[p];
                }
            }
            let dv_ = self.changes(&self.dv, mutant.first, keys, h, dv);
            gemm::add(Mat::new(changed, run.len(), keys, keys), dv_, &mut values[first * dv..], dv);
            first = rows.end;
        }
        gemm::add_packed(Mat::new(growth, n, l, l), &head.values, values, dv);
        project(self.prepared.w(h), (values, dv), dv, outputs, part);
        for (&(i, p, _), output) in queries.iter().zip(outputs.chunks_exact(part)) {
            add(output, &mut y[(p * self.all + self.mutants[i].m) * width + self.of.out(h)..][..part]);
        }
    }
}

/// Buffers that blocks of queries share.
#[derive(Default)]
struct Work<T>([Vec<T>; 7]);

impl<T: Gemm> Work<T> {
    /// Zeros.
    fn sized(&mut self, sizes: [usize; 7]) -> [&mut [T]; 7] {
        let mut sizes = sizes.into_iter();
        self.0.each_mut().map(|buffer| {
            buffer.clear();
            buffer.resize(sizes.next().unwrap_or(0), T::ZERO);
            buffer.as_mut_slice()
        })
    }
}

/// `y = x W`, or x where there is no W. x are rows of `width`, `pitch` apart; those of y, zeros before, are `to` apart.
fn project<T: Gemm>(w: Option<&Packed<T>>, (x, pitch): (&[T], usize), width: usize, y: &mut [T], to: usize) {
    match w {
        Some(w) => {
            let rows = x.len().div_ceil(pitch);
            gemm::add_packed(Mat::new(x, rows, width, pitch), w, y, to);
        }
        None => x.chunks(pitch).zip(y.chunks_mut(to)).for_each(|(x, y)| y[..width].copy_from_slice(&x[..width])),
    }
}
