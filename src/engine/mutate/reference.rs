//! A recorded pass of a few sequences, and the sweeps of their mutants over it.
//!
//! A sweep runs in stages. Where every change passes through one node (a waist) the mutants of several blocks are grouped
//! anew: as few as fit the caches while they are windows of wide maps, many once they are vectors, where the weights of a dense
//! layer are read once for all of them. A mutant has the same bits in every group, so grouping is free.

use std::ops::Range;

use crate::device::{Device, Precision};
use crate::error::{Error, Result};
use crate::nn::Kind;
use crate::real;
use crate::tape::{Delta, Edit, NodeId, Step, Tape, Window};
use crate::tensor::{Coming, DType, Tensor};
use crate::util::par;

use super::Predictor;

/// Mutants whose windows are looked at for a plan.
const SAMPLE: usize = 64;

/// How many mutants are swept together.
struct Limits {
    /// Bytes that the changes of one group may take, about.
    bytes: usize,
    /// Mutants of a group while they are windows.
    lanes: usize,
    /// Mutants of a group once they are vectors.
    vectors: usize,
    /// Bytes of recorded activations, about: more sequences share a pass until they fill this.
    recorded: usize,
}

/// On the CPU what a group reads and writes stays in the caches.
const CPU: Limits = Limits { bytes: 8 << 20, lanes: 64, vectors: 512, recorded: 256 << 20 };
/// On a GPU a group fills it: 64 mutants of one window position are a tile of a product, and 132 multiprocessors want one each.
const GPU: Limits = Limits { bytes: 4 << 30, lanes: 64 * 132, vectors: 64 * 132, recorded: 8 << 30 };

/// Predictions of some sequences, and what a sweep needs to know about how they came to be.
pub struct Reference {
    pub(super) tape: Tape,
    pub(super) input: NodeId,
    pub(super) output: NodeId,
    /// Bases of every input of the model; `flank` bases stand before and after each.
    segments: Vec<usize>,
    flank: usize,
    /// Positions of the recorded input.
    pub(super) length: usize,
    predictions: Tensor,
    device: Device,
}

/// Effects that are being computed, or on their way to the host.
pub struct Effects {
    mutants: usize,
    tracks: usize,
    /// Mutants, and their rows.
    parts: Vec<(Vec<usize>, Coming)>,
    dtype: DType,
}

impl Effects {
    /// The effects `[M, T]`, when they are there.
    ///
    /// # Errors
    /// [`Error::Device`] for what went wrong on a GPU.
    pub fn wait(self) -> Result<Tensor> {
        let t = self.tracks;
        real!("mutate", crate::tensor::Typed(self.dtype), T => {
            let mut y = vec![T::default(); self.mutants * t];
            for (mutants, rows) in self.parts {
                let rows = rows.wait()?;
                for (m, d) in mutants.into_iter().zip(rows.cpu::<T>()?.chunks_exact(t)) {
                    y[m * t..][..t].copy_from_slice(d);
                }
            }
            Ok(Tensor::of(&[self.mutants, t], y))
        })
    }
}

/// One stretch of a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stage {
    /// The node where it ends.
    pub to: NodeId,
    /// Mutants swept together.
    pub lanes: usize,
}

impl Reference {
    /// Runs and records packed bases `[N, length]`, in the model's float type.
    ///
    /// # Errors
    /// Those of the model's operations.
    pub fn new<P: Predictor>(model: &P, codes: &[u8]) -> Result<Self> {
        let device = model.device();
        let (tape, input, output, predictions) = model.record(codes)?;
        let (segments, flank) = (model.segments(), model.flank());
        let length = model.length() + 2 * flank * segments.len();
        Ok(Self { tape, input, output, segments, flank, length, predictions, device })
    }

    /// As [`Reference::new`], but recorded by the same model in f64, `wide`: what sweeps read of the recorded activations is
    /// then correctly rounded, instead of carrying the rounding of all layers before. That would be most of an effect's
    /// error, and the pass costs as much as a few mutants.
    ///
    /// # Errors
    /// Those of the model's operations.
    pub fn rounded<P: Predictor>(model: &P, wide: &P, codes: &[u8]) -> Result<Self> {
        let exact = Self::new(wide, codes)?;
        let (narrow, wide) = (model.parameters(), wide.parameters());
        // The weights are shared with the model.
        let tensors = |id: &usize| wide.entries()[*id].kind != Kind::Counter;
        let pair = |id| Ok((wide.tensor(id)?, narrow.tensor(id)?));
        let weights = (0..wide.entries().len()).filter(tensors).map(pair).collect::<Result<Vec<_>>>()?;
        Ok(Self { tape: exact.tape.to_dtype(narrow.dtype(), &weights)?, ..exact })
    }

    /// Sweeps with products of a GPU as exact as that; the recorded pass stays what it is.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.tape.precision = precision;
        self
    }

    /// Whether sweeps run on a GPU, beside what the host does meanwhile.
    pub(super) fn is_on_gpu(&self) -> bool {
        self.device.is_gpu()
    }

    fn limits(&self) -> Limits {
        match &self.device {
            Device::Cpu => CPU,
            // No more than an eighth of the memory: the sweep holds several such maps, and the recorded pass.
            Device::Cuda(gpu) => {
                let most = gpu.about().memory_bytes as usize / 8;
                Limits { bytes: GPU.bytes.min(most), recorded: GPU.recorded.min(most), ..GPU }
            }
        }
    }

    /// Predictions `[N, T]`.
    pub fn predictions(&self) -> &Tensor {
        &self.predictions
    }

    /// Bases of a sequence.
    pub fn length(&self) -> usize {
        self.segments.iter().sum()
    }

    /// The input of the model that holds position `at` of a sequence.
    fn segment(&self, at: usize) -> usize {
        let mut rest = at;
        let holds = |l: &usize| {
            let inside = rest < *l;
            rest = rest.wrapping_sub(*l);
            inside
        };
        self.segments.iter().position(holds).unwrap_or(self.segments.len() - 1)
    }

    /// Where position `at` of a sequence lies in the recorded input.
    pub(super) fn place(&self, at: usize) -> usize {
        at + self.flank * (2 * self.segment(at) + 1)
    }

    /// A mutant as edits of the recorded input.
    pub(super) fn placed(&self, edits: &[Edit]) -> Vec<Edit> {
        edits.iter().map(|e| Edit { at: self.place(e.at), to: e.to }).collect()
    }

    /// Bytes of the recorded activations, about.
    pub fn bytes(&self) -> usize {
        let elements: usize = self.steps(1).iter().map(|s| s.len * s.channels).sum();
        8 * elements
    }

    /// What a sweep of mutants whose edits span `span` positions costs, operation by operation: the widest windows over the
    /// positions of a stretch in the middle of the sequence.
    pub fn steps(&self, span: usize) -> Vec<Step> {
        self.tape.steps(vec![(self.input, self.sample(span))])
    }

    /// Windows of mutants at neighbouring positions in the middle of the longest input.
    fn sample(&self, span: usize) -> Window {
        let longest = (0..self.segments.len()).max_by_key(|&i| self.segments[i]).unwrap_or(0);
        let before = self.segments[..longest].iter().sum::<usize>() + self.flank * (2 * longest + 1);
        let middle = before + self.segments[longest].saturating_sub(span) / 2;
        let start = (0..SAMPLE).map(|i| (middle + i / 3).min(self.length.saturating_sub(span)) as i32).collect();
        Window { start, width: span, len: self.length }
    }

    /// The stages of a sweep of mutants whose edits span `span` positions.
    pub(super) fn stages(&self, span: usize) -> Vec<Stage> {
        self.stages_between(self.input, self.output, self.sample(span))
    }

    /// The stages of a sweep from changes of node `from` on windows like `at` to node `end`.
    pub(super) fn stages_between(&self, from: NodeId, end: NodeId, at: Window) -> Vec<Stage> {
        let element = if self.tape.dtype() == DType::F64 { 8 } else { 4 };
        let steps = self.tape.steps(vec![(from, at)]);
        let mut stages: Vec<Stage> = vec![];
        let waists = self.tape.waists(self.input, self.output);
        let limits = self.limits();
        let mut from = from;
        for to in waists.into_iter().filter(move |&to| from < to && to <= end) {
            let inside = steps.iter().filter(|s| from < s.node && s.node <= to);
            let (mut bytes, mut most, mut before) = (1, limits.vectors, 0);
            for s in inside {
                let own = s.width * s.channels * element;
                bytes = bytes.max(own + before);
                before = own;
                if s.len > 1 {
                    most = limits.lanes;
                }
            }
            from = to;
            let lanes = (limits.bytes / bytes).clamp(1, most);
            match stages.last_mut() {
                Some(last) if lanes.max(last.lanes) < 3 * lanes.min(last.lanes) => {
                    *last = Stage { to, lanes: lanes.min(last.lanes) };
                }
                _ => stages.push(Stage { to, lanes }),
            }
        }
        stages
    }

    /// Mutants that keep all threads, or the GPU, busy.
    pub fn group(&self) -> usize {
        if !self.is_on_gpu() {
            return CPU.vectors * par::threads();
        }
        // Their changes are held twice where they are grouped anew, at the widest map at worst.
        let largest = self.steps(1).iter().map(|s| 4 * s.width * s.channels).max().unwrap_or(0).max(1);
        (self.limits().bytes / (2 * largest)).clamp(64, GPU.lanes) / 64 * 64
    }

    /// Sequences like this one to record together, each with so many mutants: enough that these fill a group.
    pub(super) fn sequences(&self, mutants: f64) -> usize {
        let wanted = (self.group() as f64 / mutants.max(1.0)).ceil() as usize;
        wanted.clamp(1, (self.limits().recorded / self.bytes().max(1)).max(1))
    }

    /// Effects `[M, T]` of mutants: `edits[m]` are made to sequence `rows[m]`. The order of the mutants is free; neighbours in
    /// position share most.
    ///
    /// # Errors
    /// [`Error::Argument`] for edits that are not possible, [`Error::Unsupported`] for an operation without a delta form.
    pub fn effects(&self, rows: &[u32], edits: &[Vec<Edit>]) -> Result<Tensor> {
        self.begin_effects(rows, edits)?.wait()
    }

    /// As [`Reference::effects`], without waiting for a GPU.
    ///
    /// # Errors
    /// As [`Reference::effects`].
    pub fn begin_effects(&self, rows: &[u32], edits: &[Vec<Edit>]) -> Result<Effects> {
        let tracks = self.predictions.shape()[1];
        if rows.len() != edits.len() {
            let what = format!("{} rows for {} mutants", rows.len(), edits.len());
            return Err(Error::Argument { op: "mutate", what });
        }
        let spans: Vec<(usize, usize)> = edits.iter().map(|e| extent(e)).collect();
        let mut order: Vec<usize> = (0..rows.len()).collect();
        // A wide mutant would widen the windows of a whole block of narrow ones; one of another input would add its network.
        let bucket = |m: usize| (spans[m].1.next_power_of_two(), self.segment(spans[m].0));
        order.sort_by_key(|&m| (bucket(m), spans[m].0, rows[m]));
        let mut parts = vec![];
        for bucket in order.chunk_by(|&a, &b| bucket(a) == bucket(b)) {
            let stages = self.stages(bucket.iter().map(|&m| spans[m].1).max().unwrap_or(1));
            for group in bucket.chunks(self.group()) {
                let seed = Delta::edits(group.iter().map(|&m| self.placed(&edits[m])).collect(), self.length)?;
                let rows: Vec<u32> = group.iter().map(|&m| rows[m]).collect();
                let Some(d) = self.run(self.input, &stages, seed, &rows, true)? else { continue };
                parts.push((group.to_vec(), d.vector()?.rows()?.begin_to_cpu()?));
            }
        }
        Ok(Effects { mutants: rows.len(), tracks, parts, dtype: self.tape.dtype() })
    }

    /// Sweeps from a change of node `from` through the stages; `None` if nothing changes.
    pub(super) fn run(
        &self,
        from: NodeId,
        stages: &[Stage],
        d: Delta,
        rows: &[u32],
        threads: bool,
    ) -> Result<Option<Delta>> {
        self.sweep(from, stages, rows, threads, move |part| {
            if part.len() == rows.len() { Ok(d.clone()) } else { d.select(&part.collect::<Vec<_>>()) }
        })
    }

    /// As [`Reference::run`], from the changes `seed(mutants)`. Groups that are too large are split for as long as the stages
    /// want small ones; the first split goes over the threads.
    pub(super) fn sweep(
        &self,
        from: NodeId,
        stages: &[Stage],
        rows: &[u32],
        threads: bool,
        seed: impl Fn(Range<usize>) -> Result<Delta> + Sync + Send,
    ) -> Result<Option<Delta>> {
        let m = rows.len();
        let Some(stage) = stages.first() else { return seed(0..m).map(Some) };
        // As many parts as threads at least.
        let threads = threads && !self.is_on_gpu();
        let lanes = if threads { stage.lanes.min(m.div_ceil(par::threads())).max(1) } else { stage.lanes };
        if m <= lanes {
            let d = self.tape.delta(vec![(from, seed(0..m)?)], rows, &[stage.to])?.pop().flatten();
            drop(seed);
            return d.map_or(Ok(None), |d| self.run(stage.to, &stages[1..], d, rows, false));
        }
        let together = stages.iter().take_while(|s| s.lanes <= stage.lanes).count();
        let (here, later) = stages.split_at(together);
        let part = |i: usize| {
            let part = i * lanes..((i + 1) * lanes).min(m);
            self.run(from, here, seed(part.clone())?, &rows[part], false)
        };
        let parts = m.div_ceil(lanes);
        let parts: Vec<Option<Delta>> = match threads {
            true => par::map(parts, part).into_iter().collect::<Result<_>>()?,
            false => (0..parts).map(part).collect::<Result<_>>()?,
        };
        // Mutants of an input that nothing reads here do not change.
        let Some(like) = parts.iter().flatten().next().cloned() else { return Ok(None) };
        let mutants = |i: usize| lanes.min(m - i * lanes);
        let zero = |(i, d): (usize, Option<Delta>)| d.map_or_else(|| like.unchanged(mutants(i)), Ok);
        let parts: Vec<Delta> = parts.into_iter().enumerate().map(zero).collect::<Result<_>>()?;
        drop(seed);
        let joined = Delta::join(&parts)?;
        drop(parts);
        self.run(here[together - 1].to, later, joined, rows, threads)
    }
}

/// First position of a mutant's edits, and the positions from the first to the last.
pub(super) fn extent(edits: &[Edit]) -> (usize, usize) {
    let first = edits.iter().map(|e| e.at).min().unwrap_or(0);
    let last = edits.iter().map(|e| e.at).max().unwrap_or(0);
    (first, last - first + 1)
}
