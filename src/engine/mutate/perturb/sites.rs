//! Sites and windows that are taken out.

use std::ops::Range;

use serde::Serialize;

use crate::error::{Error, Result, hint};
use crate::seq::{UNIFORM, UNKNOWN, shuffle};
use crate::stat;
use crate::tape::Edit;
use crate::util::philox::Philox;

use super::{Options, Predictor, bad, changes, holding, length, outcomes};

/// Philox purpose of fills, in the highest bits; below them are sequence and position.
const FILLS: u64 = 0x5045 << 48;

/// What takes the place of the bases of a site. Unknown and uniform positions stay what they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fill {
    /// The bases of the site in a random order.
    #[default]
    Shuffle,
    /// A random order that keeps every dinucleotide count of the site, and so its first and last base.
    Dinucleotide,
    /// Random bases, all four equally likely.
    Random,
    /// Unknown bases, columns of zeros.
    N,
    /// Columns of 0.25.
    Uniform,
}

impl Fill {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Shuffle, Self::Dinucleotide, Self::Random, Self::N, Self::Uniform];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Shuffle => "shuffle",
            Self::Dinucleotide => "dinucleotide",
            Self::Random => "random",
            Self::N => "n",
            Self::Uniform => "uniform",
        }
    }

    /// The fill of that name, in either case.
    ///
    /// # Errors
    /// [`Error::Usage`] with the names that there are.
    pub fn parse(name: &str) -> Result<Self> {
        let lower = name.to_ascii_lowercase();
        Self::ALL.iter().copied().find(|f| f.name() == lower).ok_or_else(|| {
            let near = hint(&lower, Self::ALL.iter().map(|f| f.name()));
            Error::Usage(format!("unknown fill '{name}'{near}; expected shuffle, dinucleotide, random, n or uniform"))
        })
    }

    /// Whether two fills of a site may differ.
    pub fn is_random(self) -> bool {
        !matches!(self, Self::N | Self::Uniform)
    }

    /// What takes the place of `bases`.
    pub fn draw(self, bases: &[u8], random: &mut Philox) -> Vec<u8> {
        match self {
            Self::Random => known(bases, || random.below(4) as u8),
            Self::N => known(bases, || UNKNOWN),
            Self::Uniform => known(bases, || UNIFORM),
            Self::Shuffle => shuffle::shuffle(bases, random),
            Self::Dinucleotide => shuffle::dinucleotide_shuffle(bases, random),
        }
    }
}

fn known(bases: &[u8], mut new: impl FnMut() -> u8) -> Vec<u8> {
    bases.iter().map(|&code| if code < 4 { new() } else { code }).collect()
}

/// How sites are taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// What takes their place.
    pub fill: Fill,
    /// Random fills a site; those that are not random are done once.
    pub repeats: usize,
    /// Seed of the random fills. A site's fills depend on it, the number of the sequence and the start of the site alone.
    pub seed: u64,
}

impl Removal {
    fn times(&self) -> usize {
        if self.fill.is_random() { self.repeats } else { 1 }
    }
}

/// What is lost with each site, over several fills.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ablation {
    /// Predictions of the sequence of each site, `[S, T]`.
    pub reference: Vec<f64>,
    /// Mean effects over the fills, `[S, T]`.
    pub mean: Vec<f64>,
    /// Standard deviations over the fills (divisor repeats - 1), `[S, T]`; 0 where the fill is not random, NaN for one repeat.
    pub sd: Vec<f64>,
}

/// Takes sites out of `sequences` `[N, L]`: the effects of replacing each (sequence, positions) of `sites` by `removal`'s fills.
///
/// # Errors
/// [`Error::Argument`] for a site that is empty, not in its sequence or in two inputs, or no repeats; those of [`outcomes`].
pub fn ablate<P: Predictor>(
    model: &P,
    sequences: &[u8],
    sites: &[(usize, Range<usize>)],
    removal: &Removal,
    options: &Options,
    progress: &mut dyn FnMut(usize),
) -> Result<Ablation> {
    let (l, times) = (length(model, sequences)?, removal.times());
    let count = sequences.len() / l;
    if times == 0 {
        return bad("ablate", "expected at least one repeat".into());
    }
    let mut own: Vec<Vec<usize>> = vec![vec![]; count];
    for (s, (n, site)) in sites.iter().enumerate() {
        if *n >= count || site.is_empty() || site.end > l {
            return bad("ablate", format!("site {site:?} of sequence {n}; there are {count} sequences of {l} bases"));
        }
        if holding(model, site).is_none() {
            let inputs =
                model.spans().into_iter().map(|s| format!("{}-{}", s.start, s.end)).collect::<Vec<_>>().join(", ");
            return bad(
                "ablate",
                format!("site {site:?} of sequence {n} reaches from one input into the next; inputs {inputs}"),
            );
        }
        own[*n].push(s);
    }
    let mutants = |n: usize, bases: &[u8]| {
        let fills = |&s: &usize| {
            let site = sites[s].1.clone();
            // By what the sequence is, not by its place in the job.
            let mut crc = flate2::Crc::new();
            crc.update(bases);
            let purpose = FILLS ^ u64::from(crc.sum()) << 24 | site.start as u64 & 0xFF_FFFF;
            let mut random = Philox::new(removal.seed, purpose);
            let fill = move |_| {
                let new = removal.fill.draw(&bases[site.clone()], &mut random);
                changes(bases, site.clone().zip(new).map(|(at, to)| Edit { at, to }).collect())
            };
            (0..times).map(fill).collect::<Vec<_>>()
        };
        Ok(own[n].iter().flat_map(fills).collect())
    };
    let tracks = options.tracks.as_ref().map_or(model.tracks(), Vec::len);
    let cells = vec![0.0; sites.len() * tracks];
    let mut all = Ablation { reference: cells.clone(), mean: cells.clone(), sd: cells };
    outcomes(model, sequences, options, mutants, |n, outcome| {
        for (&s, effects) in own[n].iter().zip(outcome.effects.chunks_exact((times * tracks).max(1))) {
            all.reference[s * tracks..][..tracks].copy_from_slice(&outcome.reference);
            for t in 0..tracks {
                let fills: Vec<f64> = effects.iter().skip(t).step_by(tracks).copied().collect();
                all.mean[s * tracks + t] = stat::mean(&fills);
                all.sd[s * tracks + t] = if removal.fill.is_random() { stat::sd(&fills) } else { 0.0 };
            }
        }
        progress(n + 1);
        Ok(())
    })?;
    Ok(all)
}

/// Windows of `width` every `step` positions of a range; where the last does not reach the end, one more that does.
///
/// # Errors
/// [`Error::Argument`] for a width or step of 0, or a range that is shorter than a window.
pub fn windows(range: Range<usize>, width: usize, step: usize) -> Result<Vec<Range<usize>>> {
    if width == 0 || step == 0 || range.len() < width {
        let what =
            format!("expected 0 < width <= {} and a step above 0, found width {width}, step {step}", range.len());
        return bad("windows", what);
    }
    let last = range.end - width;
    let mut starts: Vec<usize> = (range.start..=last).step_by(step).collect();
    if starts.last() != Some(&last) {
        starts.push(last);
    }
    Ok(starts.into_iter().map(|start| start..start + width).collect())
}

/// Hides each of `windows` in every sequence by `removal`'s fills; the sites of [`Ablation`] are the windows of the first sequence,
/// of the second, and so on: `[N, W, T]`.
///
/// # Errors
/// As [`ablate`].
pub fn occlude<P: Predictor>(
    model: &P,
    sequences: &[u8],
    windows: &[Range<usize>],
    removal: &Removal,
    options: &Options,
    progress: &mut dyn FnMut(usize),
) -> Result<Ablation> {
    let count = sequences.len() / length(model, sequences)?;
    let sites: Vec<_> = (0..count).flat_map(|n| windows.iter().map(move |w| (n, w.clone()))).collect();
    ablate(model, sequences, &sites, removal, options, progress)
}

/// Scores of positions, `[P, T]`: the mean of `effects` `[W, T]` over the windows that hold the position; NaN where none does.
pub fn position_means(windows: &[Range<usize>], effects: &[f64], range: Range<usize>) -> Vec<f64> {
    let tracks = effects.len() / windows.len().max(1);
    let mut sums = vec![0.0; range.len() * tracks];
    let mut counts = vec![0u32; range.len()];
    for (window, effects) in windows.iter().zip(effects.chunks_exact(tracks.max(1))) {
        for p in window.start.max(range.start)..window.end.min(range.end) {
            let p = p - range.start;
            counts[p] += 1;
            sums[p * tracks..][..tracks].iter_mut().zip(effects).for_each(|(sum, e)| *sum += e);
        }
    }
    for (sums, &count) in sums.chunks_exact_mut(tracks.max(1)).zip(&counts) {
        sums.iter_mut().for_each(|sum| *sum /= f64::from(count));
    }
    sums
}
