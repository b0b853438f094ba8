//! A job: sequences and their mutants, block by block.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use crate::device::Precision;
use crate::error::{Error, Result};
use crate::tape::Edit;
use crate::tensor::DType;

use super::edits::apply;
use super::predictor::{batch_size, tracks};
use super::reference::Effects;
use super::{Edits, Engine, Plan, Predictor, Reference};

/// Blocks that may wait for the consumer.
const AHEAD: usize = 2;

/// How a job is run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What runs the mutants.
    pub engine: Engine,
    /// f64 instead of f32, for verification.
    pub double: bool,
    /// Tracks in the order of the output; all if `None`.
    pub tracks: Option<Vec<usize>>,
    /// How exact products are where the model is on a GPU.
    pub precision: Precision,
    /// Mutants a batch of the naive engine; chosen from the size of the model if `None`.
    pub batch: Option<usize>,
    /// Only these blocks, ascending ([`Block::index`], or that of the pairs); all if `None`.
    pub blocks: Option<Vec<usize>>,
}

impl Options {
    /// The model in f64, where the job needs it: to run mutants in f64, or, on the CPU, for the reference pass of sweeps.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for mutants in f64 on a GPU.
    pub(super) fn wide<P: Predictor>(&self, model: &P) -> Result<Option<P>> {
        let device = model.device();
        if self.double && device.is_gpu() {
            let what = format!("f64 on {}; move the model to the CPU (--device cpu)", device.name());
            return Err(Error::Unsupported { op: "mutate", what });
        }
        let wanted = self.double || (self.engine != Engine::Naive && !device.is_gpu());
        wanted.then(|| model.to_dtype(DType::F64)).transpose()
    }
}

/// Effects of some mutants of one sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Number of the block in the job, counted over all sequences.
    pub index: usize,
    /// The sequence.
    pub sequence: usize,
    /// Number of the block within its sequence.
    pub part: usize,
    /// The mutants.
    pub edits: Vec<Vec<Edit>>,
    /// Predictions of the sequence itself, `[T]`.
    pub reference: Vec<f64>,
    /// Prediction of the mutant minus that of the sequence, `[M, T]`.
    pub effects: Vec<f64>,
}

/// Runs all mutants of `sequences` (packed bases `[N, length]`) and calls `f` with every block, in order; it returns whether
/// to go on. Bits of a block depend on the model, its sequence, its edits and the engine, on nothing else.
///
/// # Errors
/// [`crate::Error::Argument`] for edits or tracks that are not there, those of the model, and what `f` returns.
pub fn each_block<P: Predictor>(
    model: &P,
    sequences: &[u8],
    edits: &Edits,
    options: &Options,
    mut f: impl FnMut(Block) -> Result<bool>,
) -> Result<()> {
    let l = model.length();
    let n = model.count(sequences)?;
    edits.check(n, l)?;
    let tracks = &tracks(model, options.tracks.as_deref(), "mutate")?;
    let wide = options.wide(model)?;
    let narrow = model;
    let model = wide.as_ref().filter(|_| options.double).unwrap_or(model);

    let wanted = |index: usize| options.blocks.as_ref().is_none_or(|b| b.binary_search(&index).is_ok());
    let mut first = 0;
    // (number of the sequence, number of its first block) of the sequences that have something to do.
    let mut busy = vec![];
    for i in 0..n {
        let blocks = edits.blocks(i);
        if (first..first + blocks).any(wanted) {
            busy.push((i, first));
        }
        first += blocks;
    }
    let mut engine = options.engine;
    let mut at = 0;
    let mut together = 1;
    while at < busy.len() {
        let batch = &busy[at..(at + together).min(busy.len())];
        at += batch.len();
        let codes: Vec<u8> = batch.iter().flat_map(|&(i, _)| sequences[i * l..][..l].iter().copied()).collect();
        let job = Job { model, edits, batch, codes: &codes, tracks, options };
        let reference = match (engine, &wide) {
            (Engine::Naive, _) => None,
            (_, None) => Some(Reference::new(model, &codes)?.with_precision(options.precision)),
            (_, Some(wide)) if options.double => Some(Reference::new(wide, &codes)?),
            (_, Some(wide)) => Some(Reference::rounded(narrow, wide, &codes)?),
        };
        if at == batch.len() {
            if let Some(reference) = &reference {
                if engine == Engine::Auto {
                    engine = Plan::new(engine, reference, edits, n)?.engine;
                }
                let (_, mutants) = edits.shape(n);
                together = reference.sequences(mutants);
            } else {
                together = 16;
            }
        }
        let reference = reference.filter(|_| engine != Engine::Naive);
        if !job.run(reference.as_ref(), &wanted, &mut f)? {
            return Ok(());
        }
    }
    Ok(())
}

struct Job<'a, P> {
    model: &'a P,
    edits: &'a Edits,
    batch: &'a [(usize, usize)],
    codes: &'a [u8],
    tracks: &'a [usize],
    options: &'a Options,
}

/// A block whose effects are being computed.
struct Waiting {
    index: usize,
    sequence: usize,
    part: usize,
    /// Row of the recorded pass.
    row: usize,
    edits: Vec<Vec<Edit>>,
}

impl<P: Predictor> Job<'_, P> {
    fn run(
        &self,
        reference: Option<&Reference>,
        wanted: &impl Fn(usize) -> bool,
        f: &mut impl FnMut(Block) -> Result<bool>,
    ) -> Result<bool> {
        let l = self.model.length();
        let predictions = match reference {
            Some(r) => r.predictions().to_f64(),
            None => {
                let mut all = vec![];
                for codes in self.codes.chunks(l * self.batch_size()) {
                    all.extend(self.model.predict_in(codes, self.options.precision)?.to_f64());
                }
                all
            }
        };
        let group = reference.map_or(self.batch_size(), Reference::group);
        let blocks = self.batch.iter().enumerate().flat_map(|(row, &(sequence, first))| {
            (0..self.edits.blocks(sequence)).map(move |part| (row, sequence, part, first + part))
        });
        let blocks: Vec<_> = blocks.filter(|b| wanted(b.3)).collect();
        let (mut waiting, mut rows, mut edits) = (vec![], vec![], vec![]);
        // While a GPU computes a group, the host hands out the one before.
        let mut running: Option<(Effects, Vec<Waiting>)> = None;
        for (i, &(row, sequence, part, index)) in blocks.iter().enumerate() {
            let mutants = self.edits.block(sequence, part, &self.codes[row * l..][..l]);
            rows.extend(std::iter::repeat_n(row as u32, mutants.len()));
            edits.extend(mutants.iter().cloned());
            waiting.push(Waiting { index, sequence, part, row, edits: mutants });
            if edits.len() < group && i + 1 < blocks.len() {
                continue;
            }
            let group = std::mem::take(&mut waiting);
            let more = match reference {
                Some(r) => {
                    let before = running.replace((r.begin_effects(&rows, &edits)?, group));
                    let done = if r.is_on_gpu() { before } else { running.take() };
                    match done {
                        Some((effects, group)) => self.hand_out(&effects.wait()?.to_f64(), group, &predictions, f)?,
                        None => true,
                    }
                }
                None => self.hand_out(&self.naive(&predictions, &rows, &edits)?, group, &predictions, f)?,
            };
            if !more {
                return Ok(false);
            }
            rows.clear();
            edits.clear();
        }
        match running {
            Some((effects, group)) => self.hand_out(&effects.wait()?.to_f64(), group, &predictions, f),
            None => Ok(true),
        }
    }

    /// Calls `f` with the blocks of a group; whether to go on.
    fn hand_out(
        &self,
        all: &[f64],
        group: Vec<Waiting>,
        predictions: &[f64],
        f: &mut impl FnMut(Block) -> Result<bool>,
    ) -> Result<bool> {
        let (t, mut from) = (self.model.tracks(), 0);
        for Waiting { index, sequence, part, row, edits } in group {
            let (to, old) = (from + edits.len(), &predictions[row * t..][..t]);
            let chosen = |m: usize| self.tracks.iter().map(move |&track| (m, track));
            let effects = (from..to).flat_map(chosen).map(|(m, track)| all[m * t + track]).collect();
            let reference = self.tracks.iter().map(|&track| old[track]).collect();
            from = to;
            if !f(Block { index, sequence, part, edits, reference, effects })? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn batch_size(&self) -> usize {
        batch_size(self.model, self.options.batch)
    }

    /// Effects `[M, T]` by running every mutant.
    fn naive(&self, predictions: &[f64], rows: &[u32], edits: &[Vec<Edit>]) -> Result<Vec<f64>> {
        let (l, t) = (self.model.length(), self.model.tracks());
        let mut effects = Vec::with_capacity(rows.len() * t);
        let size = self.batch_size();
        for (rows, edits) in rows.chunks(size).zip(edits.chunks(size)) {
            let mut codes = Vec::with_capacity(rows.len() * l);
            for (&row, mutant) in rows.iter().zip(edits) {
                let from = codes.len();
                codes.extend_from_slice(&self.codes[row as usize * l..][..l]);
                apply(mutant, &mut codes[from..]);
            }
            let y = self.model.predict_in(&codes, self.options.precision)?.to_f64();
            for (y, &row) in y.chunks_exact(t).zip(rows) {
                effects.extend(y.iter().zip(&predictions[row as usize * t..]).map(|(y, old)| y - old));
            }
        }
        Ok(effects)
    }
}

/// Blocks of a job that runs on threads of its own, a few blocks ahead of the consumer. Dropping it ends the job.
pub struct Blocks {
    results: Receiver<Result<Block>>,
    worker: Option<JoinHandle<()>>,
    on_gpu: bool,
}

/// As [`each_block`], as an iterator: the next blocks compute while the consumer writes the last.
///
/// # Errors
/// None here; those of the job come out of the iterator.
///
/// ```
/// use drg::engine::mutate::{Edit, Edits, Engine, Options, mutate};
/// use drg::model::{Network, options::{DataFacts, parse_option_string, resolve}};
/// use drg::seq::Sequences;
///
/// let options = parse_option_string("num_kernels=8+l_kernels=5+pooling_size=2+fclayer_size=6+nfc_layers=1")?;
/// let facts = DataFacts::single(12, vec![2], true);
/// let network = Network::new(resolve(&options, &facts)?.0, 1)?;
/// let sequence = Sequences::from_strings(vec!["one".into()], &["ACGTTGCATGCA"])?.bases;
///
/// let options = Options { engine: Engine::Delta, ..Options::default() };
/// // Every substitution of one sequence: 36 mutants, in the order of positions and bases.
/// let mut best = (f64::NEG_INFINITY, vec![]);
/// for block in mutate(&network, &sequence, Edits::Substitutions(0..12), options.clone()) {
///     let block = block?;
///     assert_eq!((block.edits.len(), block.effects.len()), (36, 36 * 2));
///     for (edits, effects) in block.edits.into_iter().zip(block.effects.chunks(2)) {
///         if effects[0] > best.0 {
///             best = (effects[0], edits);
///         }
///     }
/// }
/// // And that substitution together with another one.
/// let mut double = best.1.clone();
/// double.push(Edit { at: (best.1[0].at + 5) % 12, to: 3 });
/// let listed = Edits::Listed(vec![vec![best.1, double]].into());
/// let pair = mutate(&network, &sequence, listed, options).next().expect("one block")?;
/// assert_eq!(pair.effects[0], best.0); // by one engine, the same bits in any company
/// # Ok::<(), drg::Error>(())
/// ```
pub fn mutate<P: Predictor>(model: &P, sequences: &[u8], edits: Edits, options: Options) -> Blocks {
    let (send, results) = sync_channel(AHEAD);
    let (model, sequences, on_gpu) = (model.clone(), sequences.to_vec(), model.device().is_gpu());
    let worker = std::thread::spawn(move || {
        let done = each_block(&model, &sequences, &edits, &options, |block| Ok(send.send(Ok(block)).is_ok()));
        if let Err(e) = done {
            // Nobody listens any more if the iterator was dropped.
            let _ = send.send(Err(e));
        }
    });
    Blocks { results, worker: Some(worker), on_gpu }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // Nobody listens any more, so the job ends with its present group. A process must not end while a driver works for it.
        let (_, nobody) = sync_channel(0);
        drop(std::mem::replace(&mut self.results, nobody));
        if let Some(worker) = self.worker.take().filter(|_| self.on_gpu) {
            let _ = worker.join();
        }
    }
}

impl Iterator for Blocks {
    type Item = Result<Block>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Ok(block) = self.results.recv() {
            return Some(block);
        }
        // The job has ended; a panic in it is one here, not a short result.
        if let Some(Err(panic)) = self.worker.take().map(JoinHandle::join) {
            std::panic::resume_unwind(panic);
        }
        None
    }
}
