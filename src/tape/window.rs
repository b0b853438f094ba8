//! Where a change is: windows of rows, one start per mutant and one width for all, and the changes on them.

use std::sync::Arc;

use super::cuda;
use crate::error::{Error, Result};
use crate::real;
use crate::tensor::{self, DType, Tensor};

/// Row `w` of mutant `m` is position `start[m] + w` of its sequence. Starts may be negative and windows may overhang the
/// ends, so that the shift between two layers is the same for all mutants; a change outside the sequence is zero. Dense
/// means all starts 0 and width = `len`; a vector `[M, F]` has `len` 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// First position, per mutant.
    pub start: Arc<[i32]>,
    /// Rows per mutant.
    pub width: usize,
    /// Rows of the whole map.
    pub len: usize,
}

impl Window {
    /// The whole map, for `m` mutants.
    pub fn dense(m: usize, len: usize) -> Self {
        Self { start: vec![0; m].into(), width: len, len }
    }

    /// Number of mutants.
    pub fn mutants(&self) -> usize {
        self.start.len()
    }

    /// Whether the window is the whole map.
    pub fn is_dense(&self) -> bool {
        self.width == self.len && self.start.iter().all(|&s| s == 0)
    }

    /// The window moved by `by` rows and `grow` rows wider, in a map of `len` rows.
    pub fn shifted(&self, by: i32, grow: usize, len: usize) -> Self {
        Self { start: self.start.iter().map(|s| s + by).collect(), width: self.width + grow, len }
    }

    /// The windows `first(start) ..= last(end)` of every mutant, where `end` is the last row of its window, at the largest
    /// of their widths: for operations that divide positions (pools, strides), where starts round per mutant.
    pub fn mapped(&self, len: usize, first: impl Fn(i32) -> i32, last: impl Fn(i32) -> i32) -> Self {
        let reach = self.width as i32 - 1;
        let start: Arc<[i32]> = self.start.iter().map(|&s| first(s)).collect();
        let width = self.start.iter().zip(&*start).map(|(&s, &o)| last(s + reach) - o + 1).max().unwrap_or(0);
        Self { start, width: width.max(0) as usize, len }
    }

    /// The smallest windows that hold all parts: a start per mutant, one width. Parts that are `None` do not change.
    ///
    /// # Panics
    /// If there is no part: a sweep only reaches operations with a changed input.
    pub fn hull(x: &[Option<&Window>]) -> Self {
        let parts: Vec<&Window> = x.iter().flatten().copied().collect();
        let first = *parts.first().expect("an operation is reached through a changed input");
        if parts.len() == 1 {
            return first.clone();
        }
        let start: Arc<[i32]> =
            (0..first.mutants()).map(|m| parts.iter().map(|p| p.start[m]).min().unwrap_or(0)).collect();
        let width = parts
            .iter()
            .flat_map(|p| p.start.iter().zip(&*start).map(|(s, h)| (s - h) as usize + p.width))
            .max()
            .unwrap_or(0);
        Self { start, width, len: first.len }
    }

    /// The rows of the window that lie inside of the sequence for at least one mutant.
    pub fn inside(&self) -> std::ops::Range<usize> {
        let (least, most) = self.start.iter().fold((i32::MAX, i32::MIN), |(a, b), &s| (a.min(s), b.max(s)));
        let row = |at: i64| at.clamp(0, self.width as i64) as usize;
        let first = row(-i64::from(most));
        first..row(self.len as i64 - i64::from(least)).max(first)
    }

    /// Index in `[width * M]` of position `p` of mutant `m`, if the window holds it.
    pub fn row(&self, m: usize, p: usize) -> Option<usize> {
        usize::try_from(p as i64 - i64::from(self.start[m]))
            .ok()
            .filter(|&w| w < self.width)
            .map(|w| w * self.start.len() + m)
    }

    /// (index in `[width * M]`, mutant, position) of every row that lies inside the sequence.
    pub fn cells(&self) -> impl Iterator<Item = (usize, usize, usize)> + '_ {
        let m = self.start.len();
        (0..self.width * m).filter_map(move |r| {
            usize::try_from(self.start[r % m] + (r / m) as i32).ok().filter(|&p| p < self.len).map(|p| (r, r % m, p))
        })
    }

    /// Index in `[width * M]` of every row that lies outside of the sequence.
    fn outside(&self) -> impl Iterator<Item = usize> + '_ {
        let m = self.start.len();
        let (len, width) = (self.len as i64, self.width as i64);
        let beyond = move |i: usize| {
            let start = i64::from(self.start[i]);
            (0..(-start).clamp(0, width)).chain((len - start).clamp(0, width)..width)
        };
        (0..m).flat_map(move |i| beyond(i).map(move |w| w as usize * m + i))
    }
}

/// A new base at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Position in the sequence, from 0.
    pub at: usize,
    /// New base: 0..=3 = A C G T, 4 unknown (zeros), 5 uniform (0.25). The base that is there already changes nothing.
    pub to: u8,
}

/// A position that the edits of a mutant name twice. Wide mutants come in ascending order and are seen at a glance.
pub(crate) fn twice(mutant: &[Edit]) -> Option<usize> {
    if mutant.windows(2).all(|w| w[0].at < w[1].at) {
        return None;
    }
    (1..mutant.len()).find(|&k| mutant[..k].iter().any(|e| e.at == mutant[k].at)).map(|k| mutant[k].at)
}

/// What changes: bases of the input, or rows of an activation.
#[derive(Clone, Debug)]
pub enum Change {
    /// The edits of each mutant.
    Bases(Arc<[Vec<Edit>]>),
    /// `[width, M, C]`, position by position, mutants side by side.
    Rows(Tensor),
}

/// The change of one activation for a block of M mutants. Outside its window nothing changes.
#[derive(Clone, Debug)]
pub struct Delta {
    /// Where.
    pub at: Window,
    /// What.
    pub change: Change,
}

impl Delta {
    /// The changed rows `[width, M, C]`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the change is one of bases.
    pub fn rows(&self) -> Result<&Tensor> {
        match &self.change {
            Change::Rows(d) => Ok(d),
            Change::Bases(_) => {
                Err(Error::Unsupported { op: "delta", what: "an operation other than the stem on edited bases".into() })
            }
        }
    }

    /// The same change on another window; whatever lies outside the sequence becomes zero.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the change is one of bases.
    pub fn placed(&self, to: &Window) -> Result<Self> {
        let (d, m) = (self.rows()?, to.mutants());
        let c = d.shape()[2];
        if let Some(gpu) = d.gpu() {
            let change = Change::Rows(cuda::placed(gpu, d, &self.at, to)?);
            return Ok(Self { at: to.clone(), change });
        }
        real!("delta", d, T => {
            let x = d.cpu::<T>()?;
            let mut y = tensor::zeros::<T>(to.width * m * c);
            for (r, i, p) in self.at.cells() {
                if let Some(o) = to.row(i, p) {
                    y[o * c..][..c].copy_from_slice(&x[r * c..][..c]);
                }
            }
            Ok(Self { at: to.clone(), change: Change::Rows(Tensor::of(&[to.width, m, c], y)) })
        })
    }

    /// The change of a flattened map as one row of all positions, `[1, M, len C]`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the change is one of bases.
    pub fn vector(&self) -> Result<Self> {
        let (d, m, len) = (self.rows()?, self.at.mutants(), self.at.len);
        let (at, c) = (Window::dense(m, 1), d.shape()[2]);
        if len == 1 {
            return self.placed(&at);
        }
        if let Some(gpu) = d.gpu() {
            let change = Change::Rows(cuda::vector(gpu, d, &self.at)?);
            return Ok(Self { at, change });
        }
        real!("delta", d, T => {
            let (x, mut y) = (d.cpu::<T>()?, tensor::zeros::<T>(m * len * c));
            for (r, i, p) in self.at.cells() {
                y[(i * len + p) * c..][..c].copy_from_slice(&x[r * c..][..c]);
            }
            Ok(Self { at, change: Change::Rows(Tensor::of(&[1, m, len * c], y)) })
        })
    }

    /// The change with zeros where it lies outside of the sequence; a window as wide as its map becomes the whole map.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the change is one of bases.
    pub(super) fn cleared(mut self) -> Result<Self> {
        if self.at.width >= self.at.len {
            let whole = Window::dense(self.at.mutants(), self.at.len);
            return if self.at == whole { Ok(self) } else { self.placed(&whole) };
        }
        if self.at.outside().next().is_none() {
            return Ok(self);
        }
        let Change::Rows(d) = &mut self.change else { return Ok(self) };
        let c = d.shape()[2];
        if let Some(gpu) = d.gpu().cloned() {
            cuda::clear(&gpu, d, &self.at)?;
            return Ok(self);
        }
        let outside: Vec<usize> = self.at.outside().collect();
        real!("delta", d, T => {
            // What an operation handed on is shared with its input, and clear already.
            let x = d.cpu::<T>()?;
            if outside.iter().any(|r| x[r * c..][..c].iter().any(|&v| v != T::default())) {
                let x = d.cpu_mut::<T>()?;
                outside.iter().for_each(|r| x[r * c..][..c].fill(T::default()));
            }
            Ok(self)
        })
    }

    /// The change of some of the mutants, in the order of `list`.
    ///
    /// # Errors
    /// None in practice: every element type is covered.
    pub fn select(&self, list: &[usize]) -> Result<Self> {
        let at = self.select_window(list);
        let d = match &self.change {
            Change::Rows(d) => d,
            Change::Bases(edits) => {
                let change = Change::Bases(list.iter().map(|&m| edits[m].clone()).collect());
                return Ok(Self { at, change });
            }
        };
        let (m, c) = (self.at.mutants(), d.shape()[2]);
        if let Some(gpu) = d.gpu() {
            let change = Change::Rows(cuda::select(gpu, d, list)?);
            return Ok(Self { at, change });
        }
        real!("delta", d, T => {
            let x = d.cpu::<T>()?;
            let mut y = tensor::stale::<T>(at.width * list.len() * c);
            for (r, y) in y.chunks_exact_mut(c.max(1)).enumerate() {
                y.copy_from_slice(&x[(r / list.len() * m + list[r % list.len()]) * c..][..c]);
            }
            let shape = [at.width, list.len(), c];
            Ok(Self { at, change: Change::Rows(Tensor::of(&shape, y)) })
        })
    }

    /// The windows of some of the mutants.
    fn select_window(&self, list: &[usize]) -> Window {
        Window { start: list.iter().map(|&m| self.at.start[m]).collect(), ..self.at }
    }

    /// Mutants with two changes each: the sum of mutants `i` and `j` for every `(i, j)` of `list`, on the smallest windows that
    /// hold both. Whether a pair changes by that sum is for the caller to know ([`Tape::couplings`](super::Tape::couplings)).
    ///
    /// # Errors
    /// [`Error::Unsupported`] for changes of bases.
    pub fn sums(&self, list: &[(usize, usize)]) -> Result<Self> {
        let window = |lane: &dyn Fn(&(usize, usize)) -> usize| Window {
            start: list.iter().map(|pair| self.at.start[lane(pair)]).collect(),
            ..self.at
        };
        let sides = [window(&|pair| pair.0), window(&|pair| pair.1)];
        let mut to = Window::hull(&sides.each_ref().map(Some));
        if to.width >= to.len {
            to = Window::dense(list.len(), to.len);
        }
        let (m, lanes, c) = (list.len(), self.at.mutants(), self.rows()?.shape()[2]);
        if let Some(gpu) = self.rows()?.gpu() {
            let rows = self.rows()?.to_dtype(DType::F32)?;
            let side = |lane: &dyn Fn(&(usize, usize)) -> usize| -> Result<Tensor> {
                let list: Vec<usize> = list.iter().map(lane).collect();
                cuda::placed(gpu, &cuda::select(gpu, &rows, &list)?, &self.select_window(&list), &to)
            };
            let mut y = side(&|pair| pair.0)?;
            cuda::add(gpu, &mut y, &side(&|pair| pair.1)?)?;
            return Ok(Self { at: to, change: Change::Rows(y) });
        }
        real!("delta", self.rows()?, T => {
            let (x, mut y) = (self.rows()?.cpu::<T>()?, tensor::zeros::<T>(to.width * m * c));
            for (at, second) in sides.iter().zip([false, true]) {
                for (r, k, p) in at.cells() {
                    let lane = if second { list[k].1 } else { list[k].0 };
                    let x = &x[(r / m * lanes + lane) * c..][..c];
                    let o = to.row(k, p).expect("the hull holds both windows") * c;
                    y[o..o + c].iter_mut().zip(x).for_each(|(y, &x)| *y += x);
                }
            }
            let change = Change::Rows(Tensor::of(&[to.width, m, c], y));
            Ok(Self { at: to.clone(), change })
        })
    }

    /// The change with mutant `list[i]` replaced by mutant i of `other`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if one is a change of bases and the other is not.
    pub(super) fn with(&self, list: &[usize], other: &Self) -> Result<Self> {
        if let (Change::Bases(a), Change::Bases(b)) = (&self.change, &other.change) {
            let mut edits = a.to_vec();
            list.iter().zip(&**b).for_each(|(&m, b)| edits[m].clone_from(b));
            return Ok(Self { at: self.at.clone(), change: Change::Bases(edits.into()) });
        }
        let mut start = self.at.start.to_vec();
        list.iter().zip(&*other.at.start).for_each(|(&m, &s)| start[m] = s);
        let mut to = Window { start: start.into(), width: self.at.width.max(other.at.width), len: self.at.len };
        if to.width >= to.len {
            to = Window::dense(to.mutants(), to.len);
        }
        let mut result = self.placed(&to)?;
        let Change::Rows(d) = &mut result.change else { return Ok(result) };
        let (m, c) = (to.mutants(), d.shape()[2]);
        if let Some(gpu) = d.gpu().cloned() {
            let own = Window { start: list.iter().map(|&m| to.start[m]).collect(), ..to };
            let lanes: Vec<i32> = list.iter().map(|&m| m as i32).collect();
            cuda::insert(&gpu, other.placed(&own)?.rows()?, &own, d, &to, &lanes)?;
            return Ok(result);
        }
        real!("delta", d, T => {
            let (x, y) = (other.rows()?.cpu::<T>()?, d.cpu_mut::<T>()?);
            for w in 0..to.width {
                list.iter().for_each(|i| y[(w * m + i) * c..][..c].fill(T::default()));
            }
            for (r, i, p) in other.at.cells() {
                if let Some(o) = to.row(list[i], p) {
                    y[o * c..][..c].copy_from_slice(&x[r * c..][..c]);
                }
            }
            Ok(result)
        })
    }

    /// No change of `mutants` mutants, on the node of this change.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the change is one of bases, [`Error::Device`] without memory.
    pub fn unchanged(&self, mutants: usize) -> Result<Self> {
        let d = self.rows()?;
        let (at, shape) = (Window::dense(mutants, self.at.len), [self.at.len, mutants, d.shape()[2]]);
        let zeros = match d.gpu() {
            Some(gpu) => Tensor::zeros_on(gpu, d.dtype(), &shape)?,
            None => Tensor::zeros(d.dtype(), &shape)?,
        };
        Ok(Self { at, change: Change::Rows(zeros) })
    }

    /// Blocks of mutants side by side, as one block; all on one node.
    ///
    /// # Errors
    /// [`Error::Argument`] for no blocks, [`Error::Unsupported`] for changes of bases.
    pub fn join(blocks: &[Self]) -> Result<Self> {
        let Some(first) = blocks.first() else {
            return Err(Error::Argument { op: "delta", what: "expected at least one block to join".into() });
        };
        if blocks.len() == 1 {
            return Ok(first.clone());
        }
        let start: Arc<[i32]> = blocks.iter().flat_map(|b| b.at.start.iter().copied()).collect();
        let width = blocks.iter().map(|b| b.at.width).max().unwrap_or(0);
        let whole = width >= first.at.len;
        let len = first.at.len;
        let to = if whole { Window::dense(start.len(), len) } else { Window { start, width, len } };
        let (m, c) = (to.mutants(), first.rows()?.shape()[2]);
        if let Some(gpu) = first.rows()?.gpu() {
            let mut y = Tensor::zeros_on(gpu, first.rows()?.dtype(), &[to.width, m, c])?;
            let mut from = 0;
            for block in blocks {
                let n = block.at.mutants();
                let lanes: Vec<i32> = (from as i32..(from + n) as i32).collect();
                cuda::insert(gpu, block.rows()?, &block.at, &mut y, &to, &lanes)?;
                from += n;
            }
            return Ok(Self { at: to, change: Change::Rows(y) });
        }
        real!("delta", first.rows()?, T => {
            let mut y = tensor::zeros::<T>(to.width * m * c);
            let mut from = 0;
            for block in blocks {
                let (x, n) = (block.rows()?.cpu::<T>()?, block.at.mutants());
                if !whole || block.at.is_dense() {
                    for (w, x) in x.chunks_exact((n * c).max(1)).enumerate() {
                        y[(w * m + from) * c..][..n * c].copy_from_slice(x);
                    }
                } else {
                    for (r, i, p) in block.at.cells() {
                        y[(p * m + from + i) * c..][..c].copy_from_slice(&x[r * c..][..c]);
                    }
                }
                from += n;
            }
            Ok(Self { at: to.clone(), change: Change::Rows(Tensor::of(&[to.width, m, c], y)) })
        })
    }

    /// Seeds a sweep with edited bases: the window of each mutant holds all of its edits.
    ///
    /// # Errors
    /// [`Error::Argument`] for no mutants, a mutant without edits, a position outside `len` or a base above 5.
    pub fn edits(edits: Vec<Vec<Edit>>, len: usize) -> Result<Self> {
        let bad = |what: String| Err(Error::Argument { op: "edits", what });
        if edits.is_empty() {
            return bad("expected at least one mutant".into());
        }
        let mut start = Vec::with_capacity(edits.len());
        let mut width = 0;
        for (i, mutant) in edits.iter().enumerate() {
            let (Some(first), Some(last)) = (mutant.iter().map(|e| e.at).min(), mutant.iter().map(|e| e.at).max())
            else {
                return bad(format!("mutant {i} has no edit"));
            };
            if last >= len {
                return bad(format!("mutant {i} edits position {last} of a sequence of {len}"));
            }
            if let Some(at) = twice(mutant) {
                return bad(format!("mutant {i} edits position {at} twice"));
            }
            if let Some(e) = mutant.iter().find(|e| e.to > 5) {
                return bad(format!("mutant {i} sets position {} to code {}; expected 0 to 5", e.at, e.to));
            }
            start.push(first as i32);
            width = width.max(last - first + 1);
        }
        Ok(Self { at: Window { start: start.into(), width, len }, change: Change::Bases(edits.into()) })
    }
}
