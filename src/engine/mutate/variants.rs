//! Variants: both alleles of a change in a sequence, scored on windows of the model's length.
//!
//! **Windows.** On a genome the first base of the reference allele stands at index `ceil(L / 2) - 1` of the window, as in
//! gReLU; on named sequences the sequence itself is the window. The window of the alternative allele has the same bases to
//! the left of the variant; to its right a deletion brings in more bases and an insertion pushes some out, so that both
//! windows have L bases. What lies off the ends of a sequence is unknown. A shift by s moves both windows s bases to the
//! right; the reverse strand is the reverse complement of the same windows.
//!
//! **Averages.** Predictions of each allele are averaged over strands and shifts, and then compared
//! ([`crate::stat::Compare`]). A model with a stem that
//! sees both strands is in general not symmetric behind its stem, so the mean over strands is no waste for it either.
//!
//! **What delta can save.** Windows of different variants differ, so nearly every variant of a genome needs a reference pass
//! of its own and delta saves at most half of the work; variants of one sequence share one. Windows with the same bases share
//! a pass wherever they come from. An indel changes everything to its right: it is run whole, unless its change is short.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use serde::Serialize;

use crate::device::Precision;
use crate::error::{Error, Result};
use crate::model::checkpoint::Scaling;
use crate::seq::{UNKNOWN, encode, reverse_complement};
use crate::tape::Edit;
use crate::tensor::DType;

use super::predictor::{batch_size, tracks};
use super::{Edits, Engine, Plan, Predictor, Reference};

/// A change that spans more than this share of the window is run whole.
const WIDE: usize = 4;

/// Where the bases around variants come from.
pub trait Source {
    /// Bases of the sequence of that name; `None` if there is no such sequence.
    fn length(&self, name: &str) -> Option<usize>;

    /// Codes of an interval of that sequence, from 0; unknown off its ends.
    ///
    /// # Errors
    /// Those of reading.
    fn bases(&self, name: &str, interval: Range<i64>) -> Result<Vec<u8>>;
}

/// A variant as a file has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change<'a> {
    /// Sequence that it is on.
    pub name: &'a str,
    /// First base of the reference allele, from 0.
    pub position: u64,
    /// Reference allele in letters; N stands for whatever is there.
    pub reference: &'a [u8],
    /// Alternative allele in letters; N is an unknown base.
    pub alternative: &'a [u8],
}

/// Which strand is scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Strand {
    /// The windows as they are.
    Forward,
    /// Their reverse complement.
    Reverse,
    /// The mean of both.
    #[default]
    Mean,
}

/// What happens to a variant whose reference allele is not what the sequence has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum OnMismatch {
    /// It gets no scores.
    #[default]
    Skip,
    /// Both alleles are put in as they are given.
    Score,
}

/// What became of a variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Scored.
    Ok,
    /// Scored in windows that reach beyond the ends of the chromosome; unknown bases stand there.
    Padded,
    /// The reference allele is not what the sequence has.
    RefMismatch,
    /// There is no sequence of that name.
    NoSequence,
    /// The reference allele reaches beyond the end of the sequence.
    OffEnd,
    /// An allele is longer than the window.
    TooLong,
    /// A shift moves a window that is a whole sequence past the variant.
    OutOfView,
}

impl Status {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Padded => "padded",
            Self::RefMismatch => "ref-mismatch",
            Self::NoSequence => "no-sequence",
            Self::OffEnd => "off-end",
            Self::TooLong => "too-long",
            Self::OutOfView => "out-of-view",
        }
    }
}

/// The windows in which variants are looked at.
#[derive(Clone, Debug)]
pub struct Views {
    length: usize,
    strand: Strand,
    shifts: Vec<i64>,
    /// The sequence is the window.
    whole: bool,
}

/// One window with either allele, packed bases of the model's length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// With the reference allele.
    pub reference: Vec<u8>,
    /// With the alternative allele.
    pub alternative: Vec<u8>,
}

/// A variant in its windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// What became of it.
    pub status: Status,
    /// Its windows, shift by shift, forward before reverse; none if it is not scored.
    pub pairs: Vec<Pair>,
    /// Codes of the sequence where the reference allele should be; none if nothing is there.
    pub found: Vec<u8>,
}

impl Views {
    /// Windows of `length` bases; `whole` if the sequences themselves are the windows.
    ///
    /// # Errors
    /// [`Error::Usage`] for no shift, one that comes twice, one that moves a centred variant out of its window.
    pub fn new(length: usize, strand: Strand, shifts: &[i64], whole: bool) -> Result<Self> {
        let views = Self { length, strand, shifts: shifts.to_vec(), whole };
        if shifts.is_empty() {
            return Err(Error::Usage("shifts: expected at least one, e.g. 0".into()));
        }
        for (i, &shift) in shifts.iter().enumerate() {
            if shifts[..i].contains(&shift) {
                return Err(Error::Usage(format!("shifts: {shift} comes twice")));
            }
            let at = views.centre().checked_sub(shift);
            if at.is_none_or(|at| !(0..length as i64).contains(&at)) {
                let (least, most) = (views.centre() - length as i64 + 1, views.centre());
                let what = format!(
                    "shifts: a window of {length} bases that is moved by {shift} has lost its variant; expected {least} to {most}"
                );
                return Err(Error::Usage(what));
            }
        }
        Ok(views)
    }

    /// Windows of a variant.
    pub fn count(&self) -> usize {
        self.shifts.len() * if self.strand == Strand::Mean { 2 } else { 1 }
    }

    /// Index of the first base of the reference allele in a window that is not shifted: `ceil(L / 2) - 1`.
    fn centre(&self) -> i64 {
        self.length.div_ceil(2) as i64 - 1
    }

    /// Looks a variant up and puts both alleles into its windows.
    ///
    /// # Errors
    /// Those of `source`; [`Error::Argument`] for an allele without letters, or with signs that are none.
    pub fn place(&self, source: &impl Source, change: &Change, on_mismatch: OnMismatch) -> Result<Placed> {
        let none = |status| Ok(Placed { status, pairs: vec![], found: vec![] });
        let (reference, alternative) = (codes(change.reference)?, codes(change.alternative)?);
        let Some(end) = source.length(change.name) else { return none(Status::NoSequence) };
        let (r, a) = (reference.len() as i64, alternative.len() as i64);
        let at = i64::try_from(change.position).unwrap_or(i64::MAX);
        if at.checked_add(r).is_none_or(|last| last > end as i64) {
            return none(Status::OffEnd);
        }
        if r.max(a) > self.length as i64 {
            return none(Status::TooLong);
        }
        let found = source.bases(change.name, at..at + r)?;
        let mismatch = reference.iter().zip(&found).any(|(&said, &is)| said != UNKNOWN && said != is);
        if mismatch && on_mismatch == OnMismatch::Skip {
            return Ok(Placed { status: Status::RefMismatch, pairs: vec![], found });
        }

        let start = if self.whole { 0 } else { at - self.centre() };
        let least = self.shifts.iter().min().map_or(start, |s| start + s);
        let most = self.shifts.iter().max().map_or(start, |s| start + s) + self.length as i64;
        if self.shifts.iter().any(|s| !(0..self.length as i64).contains(&(at - start - s))) {
            return Ok(Placed { status: Status::OutOfView, pairs: vec![], found });
        }
        // The bases that the windows of either allele can reach.
        let (from, to) = (least + (r - a).min(0), most + (r - a).max(0));
        let around = source.bases(change.name, from..to)?;
        let base = |i: i64| around[(i - from) as usize];
        let with_reference = |i: i64| match usize::try_from(i - at) {
            Ok(k) if k < reference.len() && reference[k] != UNKNOWN => reference[k],
            _ => base(i),
        };
        let with_alternative = |i: i64| match usize::try_from(i - at) {
            Err(_) => base(i),
            Ok(k) if k < alternative.len() => alternative[k],
            Ok(_) => base(i + r - a),
        };
        let mut pairs = Vec::with_capacity(self.count());
        for shift in &self.shifts {
            let window = start + shift..start + shift + self.length as i64;
            let pair = Pair {
                reference: window.clone().map(with_reference).collect(),
                alternative: window.map(with_alternative).collect(),
            };
            match self.strand {
                Strand::Forward => pairs.push(pair),
                Strand::Reverse => pairs.push(pair.reversed()),
                Strand::Mean => {
                    let reversed = pair.reversed();
                    pairs.extend([pair, reversed]);
                }
            }
        }
        let padded = !self.whole && (least < 0 || most + (r - a).max(0) > end as i64);
        let status = match (mismatch, padded) {
            (true, _) => Status::RefMismatch,
            (false, true) => Status::Padded,
            (false, false) => Status::Ok,
        };
        Ok(Placed { status, pairs, found })
    }
}

impl Pair {
    /// The same window between other bases: as one input of several, whose other bases are these.
    pub fn between(&self, before: &[u8], behind: &[u8]) -> Self {
        let around = |window: &[u8]| [before, window, behind].concat();
        Self { reference: around(&self.reference), alternative: around(&self.alternative) }
    }

    fn reversed(&self) -> Self {
        Self { reference: reverse_complement(&self.reference), alternative: reverse_complement(&self.alternative) }
    }

    /// What turns the reference window into the alternative one.
    fn difference(&self) -> Difference {
        let (old, new) = (&self.reference, &self.alternative);
        let differs = |i: &usize| old[*i] != new[*i];
        let (Some(first), Some(last)) = ((0..old.len()).find(differs), (0..old.len()).rfind(differs)) else {
            return Difference::None;
        };
        let wide = (last + 1 - first).saturating_mul(WIDE) > old.len() && last > first;
        if wide {
            return Difference::Whole;
        }
        Difference::Edits((first..=last).filter(differs).map(|at| Edit { at, to: new[at] }).collect())
    }
}

/// How the alternative of a [`Pair`] is run.
enum Difference {
    /// Both windows are the same: the effect is 0.
    None,
    /// A few edits.
    Edits(Vec<Edit>),
    /// A window of its own.
    Whole,
}

/// How variants are scored.
#[derive(Clone, Debug, Default)]
pub struct ScorerOptions {
    /// What runs the edits.
    pub engine: Engine,
    /// f64 instead of f32, for verification.
    pub double: bool,
    /// How exact products are where the model is on a GPU.
    pub precision: Precision,
    /// Tracks in the order of the output; all if `None`.
    pub tracks: Option<Vec<usize>>,
    /// How predictions are brought to the units of the targets, if they were scaled.
    pub scaling: Option<Scaling>,
    /// Windows a pass where nothing is recorded; chosen from the size of the model if `None`.
    pub batch: Option<usize>,
}

/// Predictions of both alleles, averaged over the windows of a variant.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// Prediction with the reference allele, `[T]`.
    pub reference: Vec<f64>,
    /// Prediction with the alternative allele minus that, `[T]`.
    pub effect: Vec<f64>,
}

/// What was run so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Work {
    /// Whole passes of windows with a reference allele.
    pub references: u64,
    /// Delta sweeps.
    pub sweeps: u64,
    /// Whole passes of windows with an alternative allele.
    pub whole: u64,
}

/// Scores variants batch by batch. Bits of a variant depend on the model, its windows and the engine; `auto` takes the engine
/// that is cheaper on the first batch.
pub struct Scorer<P> {
    model: P,
    options: ScorerOptions,
    tracks: Vec<usize>,
    plan: Option<Plan>,
    /// Windows that are recorded together.
    together: usize,
    work: Work,
}

impl<P: Predictor> Scorer<P> {
    /// A scorer of this model.
    ///
    /// # Errors
    /// [`Error::Argument`] for tracks or scaling that the model does not have.
    pub fn new(model: &P, mut options: ScorerOptions) -> Result<Self> {
        options.scaling = options.scaling.filter(|s| !s.mean.is_empty());
        let bad = |what| Err(Error::Argument { op: "variants", what });
        let tracks = tracks(model, options.tracks.as_deref(), "variants")?;
        if let Some(s) = &options.scaling
            && (s.mean.len() != model.tracks() || s.deviation.len() != model.tracks())
        {
            return bad(format!("scaling of {} tracks for a model of {}", s.mean.len(), model.tracks()));
        }
        let model = if options.double { model.to_dtype(DType::F64)? } else { model.clone() };
        Ok(Self { model, options, tracks, plan: None, together: 1, work: Work::default() })
    }

    /// How edits are run, decided on the first batch that has any.
    pub fn plan(&self) -> Option<&Plan> {
        self.plan.as_ref()
    }

    /// What was run so far.
    pub fn work(&self) -> Work {
        self.work
    }

    /// Variants that fill a batch, when each has so many windows.
    pub fn batch(&self, windows: usize) -> usize {
        let bytes = windows.max(1) * (2 * self.model.length() + 16 * self.model.tracks());
        ((64 << 20) / bytes.max(1)).clamp(16, 4096)
    }

    /// Plans a batch without running it, if nothing is planned yet.
    ///
    /// # Errors
    /// Those of the model; [`Error::Unsupported`] if delta sweeps are demanded and an operation has none.
    pub fn prepare(&mut self, variants: &[&[Pair]]) -> Result<()> {
        let job = Job::new(variants, self.model.length())?;
        self.prepare_job(&job)
    }

    /// Scores a batch: for every variant, given by its windows, the predictions of both alleles. Windows that are the same are
    /// run once a batch.
    ///
    /// # Errors
    /// [`Error::Argument`] for a variant without windows or windows of another length; those of the model.
    pub fn score(&mut self, variants: &[&[Pair]]) -> Result<Vec<Scored>> {
        let job = Job::new(variants, self.model.length())?;
        self.prepare_job(&job)?;
        let t = self.model.tracks();
        let sweep = self.plan.as_ref().is_some_and(|p| p.engine == Engine::Delta);
        let mut predictions = vec![0.0; job.rows.len() * t];
        let mut effects = vec![0.0; job.pairs.len() * t];

        let (swept, plain): (Vec<usize>, Vec<usize>) =
            (0..job.rows.len()).partition(|&row| sweep && !job.edits[row].is_empty());
        for rows in swept.chunks(self.together) {
            let codes: Vec<u8> = rows.iter().flat_map(|&row| job.rows[row]).copied().collect();
            let reference = Reference::new(&self.model, &codes)?.with_precision(self.options.precision);
            let of_mutants =
                |(i, &row): (usize, &usize)| job.edits[row].iter().map(move |(_, e)| (i as u32, e.clone()));
            let (of, edits): (Vec<u32>, Vec<Vec<Edit>>) = rows.iter().enumerate().flat_map(of_mutants).unzip();
            let all = reference.effects(&of, &edits)?.to_f64();
            let pairs = rows.iter().flat_map(|&row| &job.edits[row]).map(|&(pair, _)| pair);
            for (pair, effect) in pairs.zip(all.chunks_exact(t)) {
                effects[pair * t..][..t].copy_from_slice(effect);
            }
            for (&row, y) in rows.iter().zip(reference.predictions().to_f64().chunks_exact(t)) {
                predictions[row * t..][..t].copy_from_slice(y);
            }
            self.work.sweeps += edits.len() as u64;
        }
        let batch = batch_size(&self.model, self.options.batch);
        for rows in plain.chunks(batch) {
            let codes: Vec<u8> = rows.iter().flat_map(|&row| job.rows[row]).copied().collect();
            for (&row, y) in
                rows.iter().zip(self.model.predict_in(&codes, self.options.precision)?.to_f64().chunks_exact(t))
            {
                predictions[row * t..][..t].copy_from_slice(y);
            }
        }
        let mut whole = job.whole.clone();
        if !sweep {
            whole.extend(job.edits.iter().flatten().map(|&(pair, _)| pair));
            whole.sort_unstable();
        }
        for pairs in whole.chunks(batch) {
            let codes: Vec<u8> = pairs.iter().flat_map(|&p| &job.pairs[p].0.alternative).copied().collect();
            for (&pair, y) in
                pairs.iter().zip(self.model.predict_in(&codes, self.options.precision)?.to_f64().chunks_exact(t))
            {
                let old = &predictions[job.pairs[pair].1 * t..][..t];
                effects[pair * t..][..t].iter_mut().zip(y).zip(old).for_each(|((e, y), old)| *e = y - old);
            }
        }
        self.work.references += job.rows.len() as u64;
        self.work.whole += whole.len() as u64;

        let (scale, offset) = match &self.options.scaling {
            Some(s) => (s.deviation.clone(), s.mean.clone()),
            None => (vec![1.0; t], vec![0.0; t]),
        };
        let mut first = 0;
        let scored = variants.iter().map(|pairs| {
            let own = first..first + pairs.len();
            first = own.end;
            let mean = |f: &dyn Fn(usize) -> f64| own.clone().map(f).sum::<f64>() / own.len() as f64;
            let prediction = |t: usize| mean(&|pair| predictions[job.pairs[pair].1 * self.model.tracks() + t]);
            let effect = |t: usize| mean(&|pair| effects[pair * self.model.tracks() + t]);
            Scored {
                reference: self.tracks.iter().map(|&t| prediction(t) * scale[t] + offset[t]).collect(),
                effect: self.tracks.iter().map(|&t| effect(t) * scale[t]).collect(),
            }
        });
        Ok(scored.collect())
    }

    fn prepare_job(&mut self, job: &Job) -> Result<()> {
        let Some(row) = job.edits.iter().position(|e| !e.is_empty()) else { return Ok(()) };
        if self.plan.is_some() {
            return Ok(());
        }
        let reference = Reference::new(&self.model, job.rows[row])?;
        let listed: Vec<Vec<Vec<Edit>>> =
            job.edits.iter().filter(|e| !e.is_empty()).map(|e| e.iter().map(|(_, e)| e.clone()).collect()).collect();
        let n = listed.len();
        let plan = Plan::new(self.options.engine, &reference, &Edits::Listed(Arc::from(listed)), n)?;
        self.together = reference.sequences(plan.mutants);
        self.plan = Some(plan);
        Ok(())
    }
}

/// A batch, sorted by what can share a reference pass.
struct Job<'a> {
    /// Different reference windows.
    rows: Vec<&'a [u8]>,
    /// All pairs of all variants, each with the row of its reference.
    pairs: Vec<(&'a Pair, usize)>,
    /// Of each row, the pairs that differ from it by edits.
    edits: Vec<Vec<(usize, Vec<Edit>)>>,
    /// The pairs that are run whole.
    whole: Vec<usize>,
}

impl<'a> Job<'a> {
    fn new(variants: &[&'a [Pair]], length: usize) -> Result<Self> {
        let mut job = Self { rows: vec![], pairs: vec![], edits: vec![], whole: vec![] };
        let mut seen: HashMap<&[u8], usize> = HashMap::new();
        for (i, pairs) in variants.iter().enumerate() {
            if pairs.is_empty() {
                return Err(Error::Argument {
                    op: "variants",
                    what: format!("variant {i} of the batch has no windows"),
                });
            }
            for pair in *pairs {
                if pair.reference.len() != length || pair.alternative.len() != length {
                    let found = vec![pair.reference.len(), pair.alternative.len()];
                    let expected = format!("{length} bases, the model's input length, for both alleles");
                    return Err(Error::Shape { op: "variants", arg: "window", expected, found });
                }
                let row = *seen.entry(&pair.reference).or_insert(job.rows.len());
                if row == job.rows.len() {
                    job.rows.push(&pair.reference);
                    job.edits.push(vec![]);
                }
                let index = job.pairs.len();
                job.pairs.push((pair, row));
                match pair.difference() {
                    Difference::None => {}
                    Difference::Edits(edits) => job.edits[row].push((index, edits)),
                    Difference::Whole => job.whole.push(index),
                }
            }
        }
        Ok(job)
    }
}

impl Strand {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Forward, Self::Reverse, Self::Mean];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Reverse => "reverse",
            Self::Mean => "mean",
        }
    }
}

/// Codes of an allele.
fn codes(letters: &[u8]) -> Result<Vec<u8>> {
    let codes: Option<Vec<u8>> = letters.iter().map(|&l| encode(l)).collect();
    codes.filter(|c| !c.is_empty()).ok_or_else(|| {
        let what = format!("expected an allele in letters, found '{}'", String::from_utf8_lossy(letters));
        Error::Argument { op: "variants", what }
    })
}

#[cfg(test)]
mod tests;
