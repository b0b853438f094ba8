//! Pairs of substitutions: what two of them do together, and their epistasis.
//!
//! Epistasis is `e_ij - e_i - e_j`: what the pair does beyond the sum of its two substitutions. A sweep of every pair from the
//! bases would repeat nearly all of the sweeps of the single substitutions. But up to the first node where the two changes
//! meet the pair's change is the sum of theirs ([`Tape::couplings`](crate::tape::Tape::couplings)), and that includes every
//! linear operation whose inputs have not met. So the single substitutions of a block are swept once, their changes are kept
//! at a few waists, and a pair starts as a sum at the last waist before its two sides meet: substitutions next to each other
//! behind the first layer, distant ones behind the first dense layer, from where all pairs go on as large products.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::device::Precision;
use crate::error::{Error, Result};
use crate::real;
use crate::seq::UNIFORM;
use crate::tape::{Change, Delta, Edit, NodeId, Window};
use crate::tensor::{DType, Tensor};
use crate::util::par;

use super::predictor::tracks;
use super::{Edits, Engine, Options, Plan, Predictor, Reference, each_block};

/// Positions on one side of a block of all pairs, and pairs of a block of listed ones: like those of other jobs, borders of
/// blocks depend on the job alone.
const TILE: usize = 32;
const LISTED: usize = 4096;
/// Bytes that the changes of single substitutions may take, about.
const KEPT: usize = 256 << 20;
/// Single substitutions swept together.
const LANES: usize = 32;

/// Two substitutions at different positions, in any order.
pub type EditPair = [Edit; 2];

/// The pairs of every sequence of a job.
#[derive(Clone, Debug)]
pub enum Pairs {
    /// All pairs of substitutions at two of these positions, at most `within` apart. An unknown base has four substitutions,
    /// a uniform one none.
    Range {
        /// The positions.
        positions: Range<usize>,
        /// Largest distance of two positions; any if `None`.
        within: Option<usize>,
    },
    /// For every sequence its pairs.
    Listed(Arc<[Vec<EditPair>]>),
}

impl Pairs {
    /// Refuses pairs that sequences of this length cannot have.
    fn check(&self, sequences: usize, length: usize) -> Result<()> {
        match self {
            Self::Range { positions, within } => {
                if *within == Some(0) {
                    let what = "expected a distance of at least 1 between two positions, found 0".into();
                    return Err(Error::Argument { op: "pairs", what });
                }
                Edits::Substitutions(positions.clone()).check(sequences, length)
            }
            Self::Listed(all) => {
                let mutants = |pairs: &Vec<EditPair>| pairs.iter().map(|p| p.to_vec()).collect();
                Edits::Listed(all.iter().map(mutants).collect()).check(sequences, length)
            }
        }
    }

    /// Number of blocks of sequence `n`.
    pub fn blocks(&self, n: usize) -> usize {
        match self {
            Self::Range { .. } => self.tiles().len(),
            Self::Listed(all) => all[n].len().div_ceil(LISTED),
        }
    }

    /// First positions of the two sides of every block of a range.
    fn tiles(&self) -> Vec<(usize, usize)> {
        let Self::Range { positions, within } = self else { return vec![] };
        let within = *within;
        let near = move |i: usize, j: usize| j < i + TILE || within.is_none_or(|d| j - (i + TILE - 1) <= d);
        let end = positions.end;
        let behind = |i: usize| (i..end).step_by(TILE).take_while(move |&j| near(i, j)).map(move |j| (i, j));
        positions.clone().step_by(TILE).flat_map(behind).collect()
    }

    /// The pairs of block `part` of sequence `n`, whose bases are `codes`: position by position of the first side, then of the
    /// second, bases in the order A C G T.
    pub fn block(&self, n: usize, part: usize, codes: &[u8]) -> Vec<EditPair> {
        match self {
            Self::Range { positions, within } => {
                let (i, j) = self.tiles()[part];
                let side = |from: usize| (from..(from + TILE).min(positions.end)).filter(|&p| codes[p] != UNIFORM);
                let bases = |at: usize| (0..4).filter(move |&to| to != codes[at]).map(move |to| Edit { at, to });
                let near = |p: usize, q: usize| q > p && within.is_none_or(|d| q - p <= d);
                let mut pairs = vec![];
                for p in side(i) {
                    for q in side(j).filter(|&q| near(p, q)) {
                        pairs.extend(bases(p).flat_map(|a| bases(q).map(move |b| [a, b])));
                    }
                }
                pairs
            }
            Self::Listed(all) => all[n].chunks(LISTED).nth(part).map(<[EditPair]>::to_vec).unwrap_or_default(),
        }
    }
}

/// Effects of some pairs of one sequence; an effect is the prediction of the mutant minus that of the sequence.
#[derive(Clone, Debug, PartialEq)]
pub struct PairBlock {
    /// Number of the block in the job, counted over all sequences.
    pub index: usize,
    /// The sequence.
    pub sequence: usize,
    /// Number of the block within its sequence.
    pub part: usize,
    /// The pairs.
    pub pairs: Vec<EditPair>,
    /// Predictions of the sequence itself, `[T]`.
    pub reference: Vec<f64>,
    /// Effects of both substitutions together, `[M, T]`.
    pub effects: Vec<f64>,
    /// Effects of the first and of the second substitution alone, `[M, T]` each.
    pub singles: [Vec<f64>; 2],
}

impl PairBlock {
    /// What both do together beyond the sum of what each does, `[M, T]`.
    pub fn epistasis(&self) -> Vec<f64> {
        let singles = self.singles[0].iter().zip(&self.singles[1]);
        self.effects.iter().zip(singles).map(|(both, (a, b))| both - a - b).collect()
    }
}

/// Runs pairs of substitutions in `sequences` (packed bases `[N, length]`) and calls `f` with every block that has any, in
/// order; it returns whether to go on. Bits of a pair depend on the model, its sequence, the pair and the engine, on nothing else.
///
/// # Errors
/// [`Error::Argument`] for pairs or tracks that are not there, those of the model, and what `f` returns.
pub fn pairs<P: Predictor>(
    model: &P,
    sequences: &[u8],
    pairs: &Pairs,
    options: &Options,
    mut f: impl FnMut(PairBlock) -> Result<bool>,
) -> Result<()> {
    let l = model.length();
    pairs.check(model.count(sequences)?, l)?;
    let tracks = &tracks(model, options.tracks.as_deref(), "pairs")?;
    // On the CPU the delta engine's reference pass is in f64 in any case.
    let wide = options.wide(model)?;
    let models = Models { narrow: model, wide: wide.as_ref(), double: options.double, precision: options.precision };
    let mut engine = options.engine;
    let mut first = 0;
    for (sequence, codes) in sequences.chunks_exact(l).enumerate() {
        let blocks: Vec<(usize, usize)> = (0..pairs.blocks(sequence)).map(|part| (part, first + part)).collect();
        first += blocks.len();
        let wanted = |b: &&(usize, usize)| options.blocks.as_ref().is_none_or(|list| list.binary_search(&b.1).is_ok());
        let blocks: Vec<_> = blocks.iter().filter(wanted).collect();
        if blocks.is_empty() {
            continue;
        }
        let sweeps = models.sweeps(codes, &mut engine)?;
        for &&(part, index) in &blocks {
            let list = pairs.block(sequence, part, codes);
            if list.is_empty() {
                continue;
            }
            let (reference, effects, singles) = match &sweeps {
                Some(sweeps) => sweeps.block(&list, tracks)?,
                None => naive(models.counting(), codes, &list, tracks, options)?,
            };
            if !f(PairBlock { index, sequence, part, pairs: list, reference, effects, singles })? {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Predictions of the sequence, effects of the pairs, effects of their two sides.
type Results = (Vec<f64>, Vec<f64>, [Vec<f64>; 2]);

/// A number of its own for every distinct substitution of `pairs`, and the numbers of both sides of every pair.
fn distinct(pairs: &[EditPair]) -> (Vec<Edit>, Vec<(usize, usize)>) {
    let mut numbers: BTreeMap<(usize, u8), usize> = pairs.iter().flatten().map(|e| ((e.at, e.to), 0)).collect();
    numbers.values_mut().enumerate().for_each(|(i, number)| *number = i);
    let edits = numbers.keys().map(|&(at, to)| Edit { at, to }).collect();
    let of = |e: Edit| numbers[&(e.at, e.to)];
    (edits, pairs.iter().map(|&[a, b]| (of(a), of(b))).collect())
}

/// Effects `[M, T]` of both sides from those of the single substitutions, `[S, T]`.
fn sides(singles: &[f64], tracks: usize, numbers: &[(usize, usize)]) -> [Vec<f64>; 2] {
    let side = |of: &dyn Fn(&(usize, usize)) -> usize| {
        numbers.iter().flat_map(|n| singles[of(n) * tracks..][..tracks].iter().copied()).collect()
    };
    [side(&|n| n.0), side(&|n| n.1)]
}

/// Runs every single and double mutant.
fn naive<P: Predictor>(
    model: &P,
    codes: &[u8],
    pairs: &[EditPair],
    tracks: &[usize],
    options: &Options,
) -> Result<Results> {
    let (edits, numbers) = distinct(pairs);
    let mutants = edits.iter().map(|&e| vec![e]).chain(pairs.iter().map(|p| p.to_vec())).collect();
    let job = Options {
        engine: Engine::Naive,
        tracks: Some(tracks.to_vec()),
        blocks: None,
        double: false,
        ..options.clone()
    };
    let (mut reference, mut effects) = (vec![], vec![]);
    each_block(model, codes, &Edits::Listed(vec![mutants].into()), &job, |block| {
        reference = block.reference;
        effects.extend(block.effects);
        Ok(true)
    })?;
    let double = effects.split_off(edits.len() * tracks.len());
    Ok((reference, double, sides(&effects, tracks.len(), &numbers)))
}

/// A recorded sequence, and where the changes of its pairs meet.
struct Sweeps {
    reference: Reference,
    /// For every node where changes do not simply add up: the waist before it, and the windows of single substitutions at all
    /// positions of the input.
    couplings: Vec<(NodeId, Window)>,
    /// The waists where pairs start, ascending; the input is not one of them.
    starts: Vec<NodeId>,
    /// The waist from which all pairs go on together.
    meeting: NodeId,
}

/// The model, and the same in f64 where that is needed.
struct Models<'a, P> {
    narrow: &'a P,
    wide: Option<&'a P>,
    /// Whether mutants are run in f64.
    double: bool,
    /// How exact products of a GPU are.
    precision: Precision,
}

impl<P: Predictor> Models<'_, P> {
    /// The one that runs mutants.
    fn counting(&self) -> &P {
        self.wide.filter(|_| self.double).unwrap_or(self.narrow)
    }

    /// `None` if the naive engine is asked for or better; then `engine` says so.
    fn sweeps(&self, codes: &[u8], engine: &mut Engine) -> Result<Option<Sweeps>> {
        let reference = match (*engine, self.wide) {
            (Engine::Naive, _) => return Ok(None),
            (_, None) => Reference::new(self.narrow, codes)?.with_precision(self.precision),
            (_, Some(wide)) if self.double => Reference::new(wide, codes)?,
            (_, Some(wide)) => Reference::rounded(self.narrow, wide, codes)?,
        };
        if *engine == Engine::Auto {
            // A pair never costs more than a sweep of its own, and mostly about as much as a single substitution.
            *engine = Plan::new(Engine::Auto, &reference, &Edits::Substitutions(0..reference.length()), 1)?.engine;
            if *engine == Engine::Naive {
                return Ok(None);
            }
        }
        Sweeps::over(reference).map(Some)
    }
}

impl Sweeps {
    fn over(reference: Reference) -> Result<Self> {
        let Reference { tape, input, output, length, .. } = &reference;
        let waists = tape.waists(*input, *output);
        let seed = Delta::edits(vec![vec![Edit { at: length / 2, to: 0 }]], *length)?;
        let changes = tape.delta(vec![(*input, seed)], &[0], &waists)?;
        let waists: Vec<(NodeId, &Delta)> =
            waists.into_iter().zip(&changes).filter_map(|(w, d)| Some((w, d.as_ref()?))).collect();
        // Edits that are handed on as edits cannot be added.
        let waists: Vec<_> = waists.into_iter().filter(|(_, d)| matches!(d.change, Change::Rows(_))).collect();
        let all = Window { start: (0..*length as i32).collect(), width: 1, len: *length };
        let mut couplings: Vec<(NodeId, Window)> = vec![];
        for (id, at) in tape.couplings(vec![(*input, all)]) {
            let start = waists.iter().map(|w| w.0).filter(|&w| w < id).max().unwrap_or(*input);
            let ends = at.is_dense();
            couplings.push((start, at));
            if ends {
                break;
            }
        }
        // Without an end, pairs that never meet are sums of effects.
        if couplings.last().is_none_or(|(_, at)| !at.is_dense()) {
            couplings.push((*output, Window::dense(*length, 1)));
        }
        let mut starts: Vec<NodeId> = couplings.iter().map(|c| c.0).filter(|s| s != input).collect();
        starts.dedup();
        let last = couplings.last().map_or(*output, |c| c.0);
        let meeting = waists.iter().find(|(w, d)| *w >= last && d.at.len == 1).map_or(*output, |w| w.0);
        Ok(Self { couplings, starts, meeting, reference })
    }

    /// The node where a pair at two positions starts.
    fn start(&self, p: usize, q: usize) -> NodeId {
        let (p, q) = (self.reference.place(p), self.reference.place(q));
        let meets = |at: &Window| (at.start[p] - at.start[q]).unsigned_abs() < at.width as u32;
        self.couplings.iter().find(|c| meets(&c.1)).map_or(self.reference.output, |c| c.0)
    }

    fn block(&self, pairs: &[EditPair], tracks: &[usize]) -> Result<Results> {
        let all = self.reference.predictions().shape()[1];
        let chosen = |row: &[f64]| -> Vec<f64> { tracks.iter().map(|&t| row[t]).collect() };
        let reference = chosen(&self.reference.predictions().to_f64());
        let t = tracks.len();
        let (mut effects, mut singles) = (vec![0.0; pairs.len() * t], [(); 2].map(|()| vec![0.0; pairs.len() * t]));
        for list in self.portions(pairs).into_iter().filter(|list| !list.is_empty()) {
            let own: Vec<EditPair> = list.iter().map(|&i| pairs[i]).collect();
            let (edits, numbers) = distinct(&own);
            let kept = Kept::new(self, &edits)?;
            let alone: Vec<f64> = kept.effects.chunks_exact(all).flat_map(chosen).collect();
            let sides = sides(&alone, t, &numbers);
            let both = self.effects(&own, &numbers, &kept)?.to_f64();
            for (k, &i) in list.iter().enumerate() {
                effects[i * t..][..t].copy_from_slice(&chosen(&both[k * all..][..all]));
                for (to, from) in singles.iter_mut().zip(&sides) {
                    to[i * t..][..t].copy_from_slice(&from[k * t..][..t]);
                }
            }
        }
        Ok((reference, effects, singles))
    }

    /// The pairs by number, in portions whose single substitutions fit into memory.
    fn portions(&self, pairs: &[EditPair]) -> Vec<Vec<usize>> {
        let element = if self.reference.tape.dtype() == DType::F64 { 8 } else { 4 };
        let steps = self.reference.steps(1);
        let kept = steps.iter().filter(|s| self.starts.contains(&s.node)).map(|s| s.width * s.channels * element);
        let most = (KEPT / kept.sum::<usize>().max(1)).max(2);
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        let side = |e: &Edit| (e.at, e.to);
        order.sort_by_key(|&i| pairs[i].each_ref().map(side));
        let mut portions = vec![];
        let mut seen = std::collections::BTreeSet::new();
        let mut from = 0;
        for (k, &i) in order.iter().enumerate() {
            seen.extend(pairs[i].each_ref().map(side));
            if seen.len() > most {
                portions.push(order[from..k].to_vec());
                from = k;
                seen = pairs[i].each_ref().map(side).into();
            }
        }
        portions.push(order[from..].to_vec());
        portions
    }

    /// Effects `[M, T]` of pairs; `numbers` are those of their sides among the kept ones.
    fn effects(&self, pairs: &[EditPair], numbers: &[(usize, usize)], kept: &Kept) -> Result<Tensor> {
        let reference = &self.reference;
        let tracks = reference.predictions().shape()[1];
        let apart = |i: usize| pairs[i][0].at.abs_diff(pairs[i][1].at);
        let starts: Vec<NodeId> = pairs.iter().map(|p| self.start(p[0].at, p[1].at)).collect();
        // Pairs with windows of one width, which start at one node, are neighbours.
        let mut order: Vec<usize> = (0..pairs.len()).collect();
        order.sort_by_key(|&i| (starts[i], apart(i), pairs[i][0].at));
        let tail = reference.stages_between(self.meeting, reference.output, Window::dense(LANES, 1));
        real!("pairs", reference.tape, T => {
            let mut y = vec![T::default(); pairs.len() * tracks];
            for group in order.chunks(reference.group()) {
                let met: Vec<Option<Delta>> = group
                    .chunk_by(|&a, &b| starts[a] == starts[b])
                    .map(|class| self.meet(starts[class[0]], class, pairs, numbers, kept))
                    .collect::<Result<_>>()?;
                let met: Vec<Delta> = met.into_iter().flatten().collect();
                // All pairs change the output or none does: that depends on the graph alone.
                if met.is_empty() {
                    continue;
                }
                let rows = vec![0; group.len()];
                let Some(d) = reference.run(self.meeting, &tail, Delta::join(&met)?, &rows, true)? else { continue };
                let d = d.vector()?.rows()?.to_cpu()?;
                for (&i, d) in group.iter().zip(d.cpu::<T>()?.chunks_exact(tracks)) {
                    y[i * tracks..][..tracks].copy_from_slice(d);
                }
            }
            Ok(Tensor::of(&[pairs.len(), tracks], y))
        })
    }

    /// Changes, at the node where all go on together, of pairs that start at one node.
    fn meet(
        &self,
        start: NodeId,
        class: &[usize],
        pairs: &[EditPair],
        numbers: &[(usize, usize)],
        kept: &Kept,
    ) -> Result<Option<Delta>> {
        let reference = &self.reference;
        let seed = |part: Range<usize>| match kept.changes.get(&start) {
            Some(d) => d.sums(&part.map(|k| numbers[class[k]]).collect::<Vec<_>>()),
            None => {
                // In the order of positions: that of additions must not depend on how a pair is written.
                let both = |[a, b]: EditPair| reference.placed(&if a.at < b.at { [a, b] } else { [b, a] });
                Delta::edits(part.map(|k| both(pairs[class[k]])).collect(), reference.length)
            }
        };
        let rows = vec![0; class.len()];
        // The last pairs are the furthest apart.
        let sample = seed(class.len().saturating_sub(LANES)..class.len())?.at;
        let stages = reference.stages_between(start, self.meeting, sample);
        reference.sweep(start, &stages, &rows, true, seed)
    }
}

/// Single substitutions: their changes at the waists where pairs start, and their effects.
struct Kept {
    changes: BTreeMap<NodeId, Delta>,
    /// `[S, T]`, all tracks.
    effects: Vec<f64>,
}

impl Kept {
    fn new(sweeps: &Sweeps, edits: &[Edit]) -> Result<Self> {
        let Reference { tape, input, output, length, .. } = &sweeps.reference;
        let mut want = sweeps.starts.clone();
        if !want.contains(output) {
            want.push(*output);
        }
        // As many parts as threads at least.
        let size = match sweeps.reference.is_on_gpu() {
            true => sweeps.reference.group(),
            false => edits.len().div_ceil(par::threads()).clamp(1, LANES),
        };
        let parts: Vec<Vec<Option<Delta>>> = par::map(edits.len().div_ceil(size), |i| {
            let part = &edits[i * size..((i + 1) * size).min(edits.len())];
            let moved = part.iter().map(|&e| sweeps.reference.placed(&[e])).collect();
            tape.delta(vec![(*input, Delta::edits(moved, *length)?)], &vec![0; part.len()], &want)
        })
        .into_iter()
        .collect::<Result<_>>()?;
        let at = |k: usize| -> Result<Option<Delta>> {
            let blocks: Vec<Delta> = parts.iter().filter_map(|p| p[k].clone()).collect();
            (!blocks.is_empty()).then(|| Delta::join(&blocks)).transpose()
        };
        let mut changes = BTreeMap::new();
        for (k, &start) in sweeps.starts.iter().enumerate() {
            changes.extend(at(k)?.map(|d| (start, d)));
        }
        let effects = match at(want.len() - 1)? {
            Some(d) => d.vector()?.rows()?.to_cpu()?.to_f64(),
            None => vec![0.0; edits.len() * sweeps.reference.predictions().shape()[1]],
        };
        Ok(Self { changes, effects })
    }
}

#[cfg(test)]
mod tests;
