//! What a run learns from: rows, scaled targets, batches, augmentation.

use crate::error::{Error, Result};
use crate::io::dataset::Dataset;
use crate::model::checkpoint::Scaling;
use crate::model::spec::{Architecture, DropLast, TrainSpec};
use crate::seq::Sequences;
use crate::tensor::Tensor;
use crate::util::philox::Philox;

use super::super::encode;

/// Purposes of random streams; the number of the pass is added.
const ORDER: u64 = 0x4F52_4445_0000_0000;
const STRAND: u64 = 0x5354_5241_0000_0000;
const SHIFT: u64 = 0x5348_4946_0000_0000;

/// Sequences that a reference run may leave out at the end of a pass.
const SMALLEST: usize = 10;

/// Sequences, targets and the two sets of rows.
pub(super) struct Data<'a> {
    /// Sequences of every input.
    pub inputs: &'a [Sequences],
    /// One matrix `[N, T]` a head, scaled, or profiles `[N, T, bins]`.
    targets: Vec<Vec<f32>>,
    /// Tracks of every head.
    pub tracks: Vec<usize>,
    /// Bins of every track, of profiles.
    pub bins: Option<usize>,
    /// Whether tracks are strands in pairs, which change places where a sequence is turned.
    stranded: bool,
    pub train: Vec<usize>,
    pub validation: Vec<usize>,
    pub scaling: Option<Scaling>,
}

/// A batch and what belongs to its rows.
pub(super) struct Batch {
    /// Packed bases `[copies B, L]` of every input.
    pub x: Vec<Tensor>,
    /// Targets `[copies B, T]` or `[copies B, T, bins]` of every head.
    pub targets: Vec<Tensor>,
    /// Number of every row within its pass.
    pub samples: Vec<u32>,
    /// Rows of the data, `B` of them.
    pub rows: Vec<usize>,
}

impl<'a> Data<'a> {
    /// Checks that everything fits, and scales the targets if the run asks for it.
    ///
    /// # Errors
    /// [`Error::Usage`] or [`Error::Shape`] naming what does not fit.
    pub fn new(
        data: &'a Dataset,
        model: &Architecture,
        spec: &TrainSpec,
        train: Vec<usize>,
        validation: Vec<usize>,
    ) -> Result<Self> {
        if let Some(published) = &model.published {
            let what = format!("{}: published architectures are run, not trained", published.name());
            return Err(Error::Unsupported { op: "train", what });
        }
        if data.inputs.len() != model.inputs.len() {
            let what = format!("expected {} sets of sequences, found {}", model.inputs.len(), data.inputs.len());
            return Err(Error::Usage(what));
        }
        for (sequences, input) in data.inputs.iter().zip(&model.inputs) {
            encode::check_length(sequences, input)?;
        }
        let n = data.names.len();
        let tracks: Vec<usize> = data.targets.iter().map(|t| t.tracks.len()).collect();
        let heads: Vec<usize> = model.outputs().into_iter().map(|o| o.1).collect();
        if tracks != heads {
            let what = format!("the targets have {tracks:?} tracks, the heads of the model {heads:?}");
            return Err(Error::Usage(what));
        }
        if let Some(other) = data.targets.iter().find(|t| t.bins != model.bins()) {
            let say = |bins: Option<usize>| bins.map_or("no bins".into(), |n| format!("{n} bins a track"));
            let what = format!("the targets have {}, the model {}", say(other.bins), say(model.bins()));
            return Err(Error::Usage(what));
        }
        if spec.losses.len() != heads.len() {
            let what = format!("{} losses for {} heads; give one a head", spec.losses.len(), heads.len());
            return Err(Error::Usage(what));
        }
        for (set, rows) in [("training", &train), ("validation", &validation)] {
            if rows.is_empty() {
                return Err(Error::Usage(format!("the {set} set is empty; training needs both sets")));
            }
            if let Some(&row) = rows.iter().find(|&&r| r >= n) {
                let what = format!("the {set} set names row {row}, the data have {n}");
                return Err(Error::Usage(what));
            }
            for t in &data.targets {
                let bad = |&&r: &&usize| t.row(r).iter().any(|v| !v.is_finite());
                if let Some(&row) = rows.iter().find(bad) {
                    let name = &t.names[row];
                    let what =
                        format!("row '{name}' of the {set} set has a target that is no number; leave the row out");
                    return Err(Error::Usage(what));
                }
            }
        }
        if model.bins().is_some() && spec.standardize_targets {
            let what = "standardised targets of profiles, whose bins are counts".into();
            return Err(Error::Unsupported { op: "train", what });
        }
        for (t, losses) in data.targets.iter().zip(super::pass::losses(spec)?) {
            let Some(loss) = losses.of_rates() else { continue };
            if let Some(at) = t.values.iter().position(|&v| v < 0.0) {
                let (row, column) = (at / t.width(), at % t.width() / t.bins.unwrap_or(1));
                let (name, track) = (&t.names[row], &t.tracks[column]);
                return Err(Error::Usage(format!(
                    "row '{name}', track '{track}' has {}, and loss '{loss}' takes counts, from 0; use another loss, e.g. MSE",
                    t.values[at]
                )));
            }
        }
        let most = model.inputs.iter().map(|i| i.shift).min().unwrap_or(0);
        if spec.shift.as_ref().is_some_and(|s| s.draws == 0 || s.offsets.iter().any(|&o| o > most)) {
            let what = format!("shifts need at least one draw and offsets up to {most}, found {:?}", spec.shift);
            return Err(Error::Usage(what));
        }
        let scaling = spec.standardize_targets.then(|| scaling(data, &train));
        let mut first = 0;
        let scaled = data.targets.iter().map(|t| {
            let width = t.width();
            let (from, at) = (&scaling, first);
            first += width;
            let value = |(i, v): (usize, &f64)| match from {
                Some(s) => ((v - s.mean[at + i % width]) / s.deviation[at + i % width]) as f32,
                None => *v as f32,
            };
            t.values.iter().enumerate().map(value).collect()
        });
        Ok(Self {
            targets: scaled.collect(),
            inputs: &data.inputs,
            tracks,
            bins: model.bins(),
            stranded: model.profile().is_some_and(|p| p.stranded),
            train,
            validation,
            scaling,
        })
    }

    /// Shape of the targets of `n` rows of a head.
    pub fn shape(&self, head: usize, n: usize) -> Vec<usize> {
        [n, self.tracks[head]].into_iter().chain(self.bins).collect()
    }

    /// Numbers of a row of all heads.
    pub fn width(&self) -> usize {
        self.tracks.iter().sum::<usize>() * self.bins.unwrap_or(1)
    }

    /// Targets of rows of a head; of profiles, those of turned rows run backwards.
    pub fn target(&self, head: usize, rows: &[(usize, bool)]) -> Vec<f32> {
        let (t, bins) = (self.tracks[head], self.bins.unwrap_or(1));
        let mut all = Vec::with_capacity(rows.len() * t * bins);
        for &(row, turned) in rows {
            let row = &self.targets[head][row * t * bins..(row + 1) * t * bins];
            match self.bins.filter(|_| turned) {
                None => all.extend_from_slice(row),
                Some(_) => (0..t).for_each(|track| {
                    let from = if self.stranded { track ^ 1 } else { track };
                    all.extend(row[from * bins..][..bins].iter().rev());
                }),
            }
        }
        all
    }
}

/// Rows as they stand.
pub(super) fn as_given(rows: &[usize]) -> Vec<(usize, bool)> {
    rows.iter().map(|&row| (row, false)).collect()
}

/// Mean and standard deviation of every track over rows; tracks that do not vary keep their unit.
fn scaling(data: &Dataset, rows: &[usize]) -> Scaling {
    let mut scaling = Scaling::default();
    for t in &data.targets {
        for track in 0..t.tracks.len() {
            let values: Vec<f64> = rows.iter().map(|&r| t.row(r)[track]).collect();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64;
            scaling.mean.push(mean);
            scaling.deviation.push(if variance > 0.0 { variance.sqrt() } else { 1.0 });
        }
    }
    scaling
}

/// The default order of a pass over `n` sequences.
pub(super) fn order(seed: u64, pass: u32, n: usize) -> Vec<usize> {
    Philox::new(seed, ORDER + u64::from(pass)).permutation(n)
}

/// Sequences of every batch of a pass over `n`.
pub(super) fn batch_sizes(n: usize, batch: Option<usize>, drop_last: DropLast) -> Vec<usize> {
    let size = batch.unwrap_or(n).clamp(1, n.max(1));
    let mut sizes = vec![size; n / size];
    let rest = n % size;
    let kept = match drop_last {
        DropLast::Reference => rest >= SMALLEST,
        DropLast::Never => rest > 0,
        DropLast::Always => false,
    };
    if kept {
        sizes.push(rest);
    }
    sizes
}

/// The random part of a pass: which sequences are turned, how batches are moved.
pub(super) struct Augmentation {
    strands: Option<Philox>,
    shifts: Option<Philox>,
}

impl Augmentation {
    /// Augmentation of pass number `pass`; only passes that train turn sequences.
    pub fn new(spec: &TrainSpec, pass: u32, trains: bool) -> Self {
        let stream = |purpose, used: bool| used.then(|| Philox::new(spec.seed, purpose + u64::from(pass)));
        Self { strands: stream(STRAND, spec.reverse_complement && trains), shifts: stream(SHIFT, spec.shift.is_some()) }
    }

    /// Copies of every sequence in a batch.
    pub fn copies(spec: &TrainSpec) -> usize {
        spec.shift.as_ref().map_or(1, |s| 2 * s.draws)
    }

    /// The next batch of the pass: the sequences `rows`, of which the first is number `first` of the pass.
    pub fn batch(
        &mut self,
        data: &Data,
        model: &Architecture,
        spec: &TrainSpec,
        rows: &[usize],
        first: usize,
    ) -> Result<Batch> {
        let turned = |&row: &usize| (row, self.strands.as_mut().is_some_and(|r| r.next_u32() & 1 == 1));
        let given: Vec<(usize, bool)> = rows.iter().map(turned).collect();
        let mut offsets = vec![0];
        if let (Some(random), Some(shift)) = (&mut self.shifts, &spec.shift) {
            offsets.clear();
            for _ in 0..shift.draws {
                let by = shift.offsets[random.below(shift.offsets.len())] as isize;
                offsets.extend([-by, by]);
            }
        }
        let copies = offsets.len();
        let number = |copy: usize, i: usize| ((first + i) * copies + copy) as u32;
        Ok(Batch {
            x: (data.inputs.iter().zip(&model.inputs))
                .map(|(sequences, input)| encode::copies(sequences, &given, input.shift, &offsets))
                .collect::<Result<_>>()?,
            targets: (0..data.tracks.len())
                .map(|h| Tensor::new(&data.shape(h, copies * rows.len()), data.target(h, &given).repeat(copies)))
                .collect::<Result<_>>()?,
            samples: (0..copies).flat_map(|c| (0..rows.len()).map(move |i| number(c, i))).collect(),
            rows: rows.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::targets::Targets;
    use crate::model::options::{DataFacts, parse_option_string, resolve};

    #[test]
    fn sizes_of_batches() {
        use DropLast::{Always, Never, Reference};
        assert_eq!(batch_sizes(26, Some(8), Reference), [8, 8, 8]);
        assert_eq!(batch_sizes(26, Some(16), Reference), [16, 10]);
        assert_eq!(batch_sizes(25, Some(16), Reference), [16]);
        assert_eq!(batch_sizes(25, Some(16), Never), [16, 9]);
        assert_eq!(batch_sizes(26, Some(16), Always), [16]);
        assert_eq!(batch_sizes(7, Some(16), Reference), [7]);
        assert_eq!(batch_sizes(7, None, Always), [7]);
        assert!(batch_sizes(0, Some(3), Never).is_empty());
    }

    /// Where a sequence is turned, so is its profile, and its strands change places if they are strands.
    #[test]
    fn profiles_are_turned() {
        let names: Vec<String> = (0..40).map(|i| format!("{i:02}")).collect();
        let rows = vec![[0u8, 0, 1, 0]; 40];
        // Two tracks of two bins.
        let values = (0..40).flat_map(|i| [1.0, 2.0, 3.0, 4.0].map(|v| v + 10.0 * f64::from(i))).collect();
        let targets = Targets { names: names.clone(), tracks: vec!["a".into(), "b".into()], values, bins: Some(2) };
        let sequences = Sequences::from_rows(names.clone(), &rows, 0).unwrap();
        let dataset = Dataset { names, inputs: vec![sequences], targets: vec![targets], left_out: 0 };
        for (option, turned) in [("False", [2.0, 1.0, 4.0, 3.0]), ("True", [4.0, 3.0, 2.0, 1.0])] {
            let facts = DataFacts { bins: Some(2), ..DataFacts::single(4, vec![2], false) };
            let text = format!("num_kernels=2+l_kernels=3+augment_reverse_complement=True+stranded_tracks={option}");
            let (model, spec) = resolve(&parse_option_string(&text).unwrap(), &facts).unwrap();
            let data = Data::new(&dataset, &model, &spec, (0..30).collect(), vec![39]).unwrap();
            let rows: Vec<usize> = (0..20).collect();
            let batch = Augmentation::new(&spec, 3, true).batch(&data, &model, &spec, &rows, 0).unwrap();
            assert_eq!(batch.targets[0].shape(), [20, 2, 2]);
            let (mut both, found) = ([0, 0], batch.targets[0].to_f64());
            for (i, target) in found.chunks_exact(4).enumerate() {
                let is_turned = batch.x[0].codes().unwrap()[4 * i..][..4].contains(&3);
                let want = if is_turned { turned } else { [1.0, 2.0, 3.0, 4.0] };
                assert_eq!(target, want.map(|v| v + 10.0 * i as f64), "{option}, row {i}");
                both[usize::from(is_turned)] += 1;
            }
            assert!(both[0] > 0 && both[1] > 0, "{both:?}");
            let flat = resolve(&parse_option_string("num_kernels=2").unwrap(), &DataFacts::single(4, vec![2], false));
            let message = Data::new(&dataset, &flat.unwrap().0, &spec, vec![0], vec![1]).err().unwrap().to_string();
            assert!(message.contains("the targets have 2 bins a track, the model no bins"), "{message}");
        }
    }

    #[test]
    fn batches_are_scaled_and_turned() {
        let names: Vec<String> = (0..40).map(|i| format!("{i:02}")).collect();
        let rows: Vec<[u8; 3]> = (0..40).map(|_| [0, 0, 1]).collect();
        let targets = Targets {
            names: names.clone(),
            tracks: vec!["a".into(), "b".into()],
            values: (0..40).flat_map(|i| [f64::from(i), 5.0]).collect(),
            bins: None,
        };
        let sequences = Sequences::from_rows(names.clone(), &rows, 0).unwrap();
        let dataset = Dataset { names, inputs: vec![sequences], targets: vec![targets], left_out: 0 };
        let options = "num_kernels=2+l_kernels=3+shift_sequence=1+random_shift=2+augment_reverse_complement=True+\
                       standardize_targets=True+max_pooling=False";
        let facts = DataFacts::single(3, vec![2], false);
        let (model, spec) = resolve(&parse_option_string(options).unwrap(), &facts).unwrap();
        let data = Data::new(&dataset, &model, &spec, (0..30).collect(), vec![39]).unwrap();
        let scaling = data.scaling.clone().unwrap();
        assert_eq!((scaling.mean, scaling.deviation[1]), (vec![14.5, 5.0], 1.0));
        assert_eq!(data.target(0, &as_given(&[29, 0]))[0], -data.target(0, &as_given(&[29, 0]))[2]);

        let rows: Vec<usize> = (0..30).collect();
        let batch = |trains, first| {
            let mut a = Augmentation::new(&spec, 7, trains);
            a.batch(&data, &model, &spec, &rows[..10], first).unwrap()
        };
        let b = batch(true, 20);
        assert_eq!((b.x[0].shape(), b.targets[0].shape()), (&[40, 5][..], &[40, 2][..]));
        assert_eq!((b.samples[0], b.samples[1], b.samples[10]), (80, 84, 81));
        let turned = |b: &Batch| b.x[0].codes().unwrap()[..50].chunks(5).filter(|row| row.contains(&3)).count();
        assert!((1..10).contains(&turned(&b)), "{}", turned(&b));
        assert_eq!((turned(&batch(false, 0)), batch(true, 0).x[0].codes().unwrap()), (0, b.x[0].codes().unwrap()));
    }
}
