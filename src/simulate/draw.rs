//! The single draws of a simulation: motifs, effects, sites, instances.

use std::ops::RangeInclusive;

use super::background::choose;
use super::{Interaction, Options, Site};
use crate::motif::{Pwm, Strand};
use crate::util::philox::Philox;

/// Share of matching consensus bases above which a new motif is too much like an earlier one or its own other strand.
const TOO_SIMILAR: f64 = 0.7;
/// Candidates that are drawn for one motif before the least similar of them is taken.
const CANDIDATES: usize = 200;

/// Random motifs with more than 1.5 bits at every position, as unlike each other as the width allows.
pub(super) fn motifs(random: &mut Philox, count: usize, width: RangeInclusive<usize>) -> Vec<Pwm> {
    let mut motifs: Vec<Pwm> = Vec::with_capacity(count);
    for number in 1..=count {
        let mut best: Option<(f64, Pwm)> = None;
        for _ in 0..CANDIDATES {
            let candidate = motif(random, number, width.clone());
            let likeness = likeness(&candidate, &motifs);
            if best.as_ref().is_none_or(|(least, _)| likeness < *least) {
                best = Some((likeness, candidate));
            }
            if likeness <= TOO_SIMILAR {
                break;
            }
        }
        motifs.extend(best.map(|(_, motif)| motif));
    }
    motifs
}

fn motif(random: &mut Philox, number: usize, width: RangeInclusive<usize>) -> Pwm {
    let width = width.start() + random.below(width.end() - width.start() + 1);
    // In ten-thousandths, so that files stay short and rows sum to 1.
    let row = |random: &mut Philox| {
        let mut row = [0; 4];
        let best = random.below(4);
        row[best] = 9300 + random.below(601);
        let mut rest = 10_000 - row[best];
        for other in 1..3 {
            let share = random.below(rest + 1);
            row[(best + other) % 4] = share;
            rest -= share;
        }
        row[(best + 3) % 4] = rest;
        row.map(|n| n as f64 / 1e4)
    };
    Pwm { name: format!("motif{number}"), probabilities: (0..width).map(|_| row(random)).collect() }
}

/// How much a motif resembles the others on either strand, its own other strand, or a run of one base: the largest
/// share of matching consensus bases at any offset.
fn likeness(motif: &Pwm, others: &[Pwm]) -> f64 {
    let (own, reverse) = (motif.consensus_codes(), motif.reverse_complement().consensus_codes());
    let run = (0..4).map(|b| own.iter().filter(|c| **c == b).count()).max().unwrap_or(0) as f64 / own.len() as f64;
    others.iter().map(Pwm::consensus_codes).fold(run.max(matches(&own, &reverse)), |most, other| {
        most.max(matches(&own, &other)).max(matches(&reverse, &other))
    })
}

/// Largest number of matches over all offsets, as a share of the shorter width.
fn matches(a: &[u8], b: &[u8]) -> f64 {
    let at = |shift: usize, a: &[u8], b: &[u8]| a.iter().skip(shift).zip(b).filter(|(x, y)| x == y).count();
    let forward = (0..a.len()).map(|s| at(s, a, b));
    let most = forward.chain((0..b.len()).map(|s| at(s, b, a))).max().unwrap_or(0);
    most as f64 / a.len().min(b.len()) as f64
}

/// Effects [M, T] of single sites, and interacting pairs. `classes` holds the class of each track.
pub(super) fn effects(
    random: &mut Philox,
    options: &Options,
    motifs: usize,
    classes: &[usize],
) -> (Vec<f64>, Vec<Interaction>) {
    let tracks = classes.len();
    let count = |fraction: f64| (fraction * motifs as f64).round() as usize;
    let order = random.permutation(motifs);
    let (shared, specific) = order.split_at(count(options.shared));
    let mut negative = vec![false; motifs];
    random.permutation(motifs)[..count(options.negative)].iter().for_each(|&m| negative[m] = true);
    // Each class has a motif of its own, and each specific motif a class, whichever are fewer taking turns.
    let mut acts = vec![false; motifs * tracks];
    for &m in shared {
        acts[m * tracks..][..tracks].fill(true);
    }
    if !specific.is_empty() {
        for turn in 0..specific.len().max(options.classes) {
            let (m, class) = (specific[turn % specific.len()], turn % options.classes);
            (0..tracks).filter(|&t| classes[t] == class).for_each(|t| acts[m * tracks + t] = true);
        }
    }
    let mut effects = Vec::with_capacity(motifs * tracks);
    for m in 0..motifs {
        let size = if negative[m] { -1.0 } else { 1.0 } * between(random, 0.5, 1.5);
        for t in 0..tracks {
            let in_track = size * between(random, 0.8, 1.2);
            effects.push(if acts[m * tracks + t] { in_track } else { 0.0 });
        }
    }
    let mut pairs: Vec<_> = (0..motifs).flat_map(|a| (a + 1..motifs).map(move |b| (a, b))).collect();
    random.shuffle(&mut pairs);
    pairs.truncate(options.interactions);
    let interactions = pairs.into_iter().map(|(a, b)| {
        let sign = if random.below(2) == 0 { 1.0 } else { -1.0 };
        let size = sign * options.interaction_strength * between(random, 0.5, 1.5);
        let in_track = |t: usize| if acts[a * tracks + t] || acts[b * tracks + t] { size } else { 0.0 };
        Interaction { motifs: (a, b), effects: (0..tracks).map(in_track).collect() }
    });
    let interactions = interactions.collect();
    (effects, interactions)
}

/// Sites of sequence `n` from left to right, without their effects, placed by [`places`].
pub(super) fn sites(random: &mut Philox, n: usize, options: &Options, motifs: &[Pwm]) -> Vec<Site> {
    let places = places(random, options.length, options.sites, options.both_strands, motifs);
    let site = |Place { start, end, strand, motif }: Place| Site {
        sequence: n,
        start,
        end,
        strand,
        motif,
        effects: Vec::new(),
    };
    places.into_iter().map(site).collect()
}

/// Where an instance of a motif goes.
pub(super) struct Place {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) strand: Strand,
    pub(super) motif: usize,
}

/// Places from left to right in `length` bases, `mean` of them on average (Poisson; what does not fit is left out). All
/// arrangements of the drawn motifs without overlap are equally likely.
pub(super) fn places(random: &mut Philox, length: usize, mean: f64, both_strands: bool, motifs: &[Pwm]) -> Vec<Place> {
    let mut chosen = Vec::new();
    let mut free = length;
    for _ in 0..poisson(random, mean) {
        let motif = random.below(motifs.len());
        let reverse = both_strands && random.below(2) == 1;
        if motifs[motif].width() <= free {
            free -= motifs[motif].width();
            chosen.push((motif, if reverse { Strand::Reverse } else { Strand::Forward }));
        }
    }
    // Sites and free positions are a row of `free + sites` things: pick which of them are the sites.
    let mut start = 0;
    let mut previous = 0;
    let slots = ascending_subset(random, free + chosen.len(), chosen.len());
    chosen
        .into_iter()
        .zip(slots)
        .map(|((motif, strand), slot)| {
            start += slot - previous;
            previous = slot + 1;
            let place = Place { start, end: start + motifs[motif].width(), strand, motif };
            start = place.end;
            place
        })
        .collect()
}

/// Writes an instance of the motif over `place`, base by base from its PWM.
pub(super) fn instance(random: &mut Philox, motif: &Pwm, strand: Strand, place: &mut [u8]) {
    for (base, row) in place.iter_mut().zip(&motif.probabilities) {
        *base = choose(random, row);
    }
    if strand == Strand::Reverse {
        place.reverse();
        place.iter_mut().for_each(|base| *base = 3 - *base);
    }
}

/// Uniform between two numbers.
pub(super) fn between(random: &mut Philox, low: f64, high: f64) -> f64 {
    low + (high - low) * random.uniform()
}

/// Poisson number: how many unit-rate arrivals fall into `mean`.
pub(super) fn poisson(random: &mut Philox, mean: f64) -> usize {
    let mut count = 0;
    let mut time = -(1.0 - random.uniform()).ln();
    while time < mean {
        count += 1;
        time -= (1.0 - random.uniform()).ln();
    }
    count
}

/// `k` different numbers below `n`, ascending; every subset is equally likely (Floyd's algorithm).
fn ascending_subset(random: &mut Philox, n: usize, k: usize) -> Vec<usize> {
    let mut subset = std::collections::BTreeSet::new();
    for top in n - k..n {
        let candidate = random.below(top + 1);
        if !subset.insert(candidate) {
            subset.insert(top);
        }
    }
    subset.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_motifs_are_informative_and_distinct() {
        let motifs = motifs(&mut Philox::new(5, 0), 20, 8..=12);
        for (i, motif) in motifs.iter().enumerate() {
            assert!((8..=12).contains(&motif.width()) && motif.information().iter().all(|b| *b > 1.5), "{motif:?}");
            assert!(motif.probabilities.iter().all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-12));
            assert!(likeness(motif, &motifs[..i]) <= TOO_SIMILAR, "{}", motif.consensus());
        }
        assert_eq!(matches(&[0, 1, 2], &[3, 0, 1, 2]), 1.0);
        assert_eq!(matches(&[0, 0, 0, 0], &[1, 1, 0, 1]), 0.25);
        // 40 motifs of 4 bp cannot be unlike each other, and are drawn all the same.
        assert_eq!(super::motifs(&mut Philox::new(5, 0), 40, 4..=4).len(), 40);
    }

    #[test]
    fn poisson_and_subsets() {
        let mut random = Philox::new(1, 0);
        let draws: Vec<f64> = (0..20_000).map(|_| poisson(&mut random, 3.0) as f64).collect();
        let (mean, sd) = (crate::stat::mean(&draws), crate::stat::sd(&draws));
        assert!((mean - 3.0).abs() < 0.05 && (sd * sd - 3.0).abs() < 0.15, "{mean} {sd}");
        let mut seen = [0; 10];
        for _ in 0..10_000 {
            let s = ascending_subset(&mut random, 5, 3);
            assert!(s.len() == 3 && s[0] < s[1] && s[1] < s[2] && s[2] < 5);
            // the ten subsets of three of five, numbered by the two that are missing
            let missing: Vec<_> = (0..5).filter(|i| !s.contains(i)).collect();
            seen[missing[0] * (7 - missing[0]) / 2 + missing[1] - 1] += 1;
        }
        assert!(seen.iter().all(|n| (850..1150).contains(n)), "{seen:?}");
        assert_eq!(ascending_subset(&mut random, 4, 4), [0, 1, 2, 3]);
        assert!(ascending_subset(&mut random, 0, 0).is_empty());
    }
}
