//! Motifs written into backgrounds.

use std::ops::Range;

use crate::error::Result;
use crate::tape::Edit;
use crate::util::philox::Philox;

use super::{Options, Predictor, Responses, bad, changes, length, responses};

/// Philox purpose of drawn instances.
const INSTANCES: u64 = 0x5049 << 48;

/// The edits that write `codes` over a sequence from position `at`. Codes above 3 (N in a motif) leave the base that is there, and
/// so do codes that are there already, but for one, so that there is a mutant.
///
/// # Errors
/// `Error::Argument` if the codes reach over the end, or if there is none to write.
pub fn place(sequence: &[u8], codes: &[u8], at: usize) -> Result<Vec<Edit>> {
    let l = sequence.len();
    if at.checked_add(codes.len()).is_none_or(|end| end > l) {
        return bad("place", format!("{} bases at position {at} reach over the end of {l}", codes.len()));
    }
    let all = codes.iter().enumerate().filter(|&(_, &to)| to < 4).map(|(i, &to)| Edit { at: at + i, to });
    let edits = changes(sequence, all.collect());
    if edits.is_empty() { bad("place", "expected a motif with at least one known base".into()) } else { Ok(edits) }
}

/// Where something is written: in which part of a sequence, such as one of several inputs, and from which position of that part on;
/// in its [`middle`] if `None`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site {
    /// The part.
    pub within: Range<usize>,
    /// Position of the first base, counted in the part.
    pub at: Option<usize>,
}

impl Site {
    /// Anywhere in a sequence of `length` bases.
    pub fn whole(length: usize, at: Option<usize>) -> Self {
        Self { within: 0..length, at }
    }

    /// Position in the sequence of the first of `width` bases.
    pub fn start(&self, width: usize) -> usize {
        self.within.start.saturating_add(self.at.unwrap_or(middle(self.within.len(), width)))
    }
}

/// Where a motif of `width` bases starts in the middle of `length`: `length / 2 - width / 2`.
pub fn middle(length: usize, width: usize) -> usize {
    (length / 2).saturating_sub(width / 2)
}

/// `count` instances of a motif of base probabilities, drawn position by position.
pub fn sample(probabilities: &[[f64; 4]], count: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut random = Philox::new(seed, INSTANCES);
    let mut base = |row: &[f64; 4]| {
        let u = random.uniform() * row.iter().sum::<f64>();
        let ends = row.iter().scan(0.0, |end, p| {
            *end += p;
            Some(*end)
        });
        // Rounding of the sum must not end at a base of probability 0.
        let last = row.iter().rposition(|&p| p > 0.0).unwrap_or(3);
        ends.take(last).take_while(|&end| end <= u).count() as u8
    };
    (0..count).map(|_| probabilities.iter().map(&mut base).collect()).collect()
}

/// What each of `instances` (of a motif, on either strand) does in each of `backgrounds` `[N, L]`, written over the bases at
/// `site`: `[N, instances, T]`. `progress` hears how many sequences are done.
///
/// # Errors
/// Those of [`place`] and [`outcomes`](super::outcomes).
pub fn marginalize<P: Predictor>(
    model: &P,
    backgrounds: &[u8],
    instances: &[Vec<u8>],
    site: &Site,
    options: &Options,
    progress: &mut dyn FnMut(usize),
) -> Result<Responses> {
    let l = length(model, backgrounds)?;
    check("marginalize", site, l)?;
    let mutants = |_: usize, bases: &[u8]| {
        let one = |motif: &Vec<u8>| place(&bases[..site.within.end], motif, site.start(motif.len()));
        instances.iter().map(one).collect()
    };
    responses(model, backgrounds, options, mutants, progress)
}

/// Refuses a part that a sequence of `length` bases does not have.
fn check(op: &'static str, site: &Site, length: usize) -> Result<()> {
    match site.within.start <= site.within.end && site.within.end <= length {
        true => Ok(()),
        false => bad(op, format!("positions {:?} of {length}", site.within)),
    }
}

/// What two motifs do alone and together, at D distances.
#[derive(Clone, Debug, PartialEq)]
pub struct Spacing {
    /// Predictions of the backgrounds, `[N, T]`.
    pub reference: Vec<f64>,
    /// Effects of the first motif alone, where it is at each distance, `[N, D, T]`.
    pub first: Vec<f64>,
    /// Effects of the second motif alone.
    pub second: Vec<f64>,
    /// Effects of both.
    pub both: Vec<f64>,
    /// Cells D T of a background.
    pub cells: usize,
}

impl Spacing {
    /// `both - first - second`, `[N, D, T]`: 0 if the motifs do not see each other.
    pub fn interaction(&self) -> Vec<f64> {
        let parts = self.first.iter().zip(&self.second);
        self.both.iter().zip(parts).map(|(both, (a, b))| both - a - b).collect()
    }
}

/// What two motifs do in `backgrounds` `[N, L]` with `distances` bases between the end of the first and the start of the second. The
/// arrangement is at `site`: without a position in the middle at every distance.
///
/// # Errors
/// `Error::Argument` for no distance or an arrangement that reaches over the end; those of [`outcomes`](super::outcomes).
pub fn space<P: Predictor>(
    model: &P,
    backgrounds: &[u8],
    pair: [&[u8]; 2],
    distances: &[usize],
    site: &Site,
    options: &Options,
    progress: &mut dyn FnMut(usize),
) -> Result<Spacing> {
    let [a, b] = pair;
    if distances.is_empty() {
        return bad("space", "expected at least one distance".into());
    }
    let (l, at) = (site.within.len(), site.at);
    check("space", site, length(model, backgrounds)?)?;
    let end = |d: usize| at.unwrap_or(0).checked_add(a.len() + b.len())?.checked_add(d);
    if let Some(d) = distances.iter().find(|&&d| end(d).is_none_or(|end| end > l)) {
        let what = format!("motifs of {} and {} bases at distance {d} do not fit into {l} bases", a.len(), b.len());
        return bad("space", what + &at.map_or(String::new(), |at| format!(" from position {at}")));
    }
    let mutants = |_: usize, bases: &[u8]| {
        let mut all = Vec::with_capacity(3 * distances.len());
        for &d in distances {
            let (at, bases) = (site.start(a.len() + d + b.len()), &bases[..site.within.end]);
            let [one, two] = [place(bases, a, at)?, place(bases, b, at + a.len() + d)?];
            let both = changes(bases, [one.clone(), two.clone()].concat());
            all.extend([one, two, both]);
        }
        Ok(all)
    };
    let all = responses(model, backgrounds, options, mutants, progress)?;
    let part = |i: usize| all.effects.chunks_exact(all.tracks.max(1)).skip(i).step_by(3).flatten().copied().collect();
    let cells = distances.len() * all.tracks;
    Ok(Spacing { first: part(0), second: part(1), both: part(2), reference: all.reference, cells })
}
