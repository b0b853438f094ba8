//! Profiles of reads around planted sites: what a base-resolution model learns from.
//!
//! Every track becomes two, one a strand, as protocols see them that cut DNA at the borders of what is bound (ChIP-exo, ChIP-nexus):
//! reads of the forward strand heap up left of a site, those of the reverse strand right of it, whatever the strand of the motif.
//! The expected count of a bin is a background that is the same everywhere, plus for every site with an effect above 0 that effect
//! times a bell around its border; counts are Poisson draws. A site whose effect is below 0 leaves no reads.

use rayon::prelude::*;

use super::{Simulation, draw};
use crate::error::{Error, Result};
use crate::util::philox::Philox;

const COUNTS: u64 = 0x5349_4D43 << 32;

/// Distance of the reads of a strand from the centre of their site in bp.
const REACH: f64 = 8.0;
/// Standard deviation of a heap of reads in bp.
const SPREAD: f64 = 2.5;

/// How profiles are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProfileOptions {
    /// Bins of 1 bp in the middle of every sequence.
    pub bins: usize,
    /// Expected reads of a site with effect 1 on each strand.
    pub depth: f64,
    /// Expected reads of the background in a bin.
    pub background: f64,
}

impl Default for ProfileOptions {
    fn default() -> Self {
        Self { bins: 100, depth: 100.0, background: 0.1 }
    }
}

/// Counts of reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Profiles {
    /// Names of the tracks, `track1+`, `track1-`, `track2+`, ...: the strands of a signal side by side.
    pub tracks: Vec<String>,
    /// Bins of every track.
    pub bins: usize,
    /// Counts, row-major [N, tracks, bins].
    pub counts: Vec<f32>,
    /// Expected counts, laid out as `counts`.
    pub expected: Vec<f32>,
}

/// Draws profiles for the sequences of a simulation.
///
/// # Errors
/// [`Error::Usage`] naming the option that cannot be used.
pub fn profiles(simulation: &Simulation, options: &ProfileOptions) -> Result<Profiles> {
    let ProfileOptions { bins, depth, background } = *options;
    if bins == 0 || bins > simulation.length {
        let what = format!("bins: expected 1 to {}, the length of a sequence; found {bins}", simulation.length);
        return Err(Error::Usage(what));
    }
    for (name, value) in [("depth", depth), ("background", background)] {
        if !(value.is_finite() && value >= 0.0) {
            return Err(Error::Usage(format!("{name}: expected a number of reads from 0, found {value}")));
        }
    }
    let (tracks, first) = (simulation.tracks.len(), (simulation.length - bins) / 2);
    let drawn: Vec<(Vec<f32>, Vec<f32>)> = (0..simulation.names.len())
        .into_par_iter()
        .map(|n| {
            let mut random = Philox::new(simulation.seed, COUNTS | n as u64);
            let mut rates = vec![background; 2 * tracks * bins];
            for site in simulation.sites.iter().filter(|s| s.sequence == n) {
                let centre = (site.start + site.end - 1) as f64 / 2.0 - first as f64;
                for (t, effect) in site.effects.iter().enumerate().filter(|(_, e)| **e > 0.0) {
                    for (strand, border) in [centre - REACH, centre + REACH].into_iter().enumerate() {
                        let row = &mut rates[(2 * t + strand) * bins..][..bins];
                        row.iter_mut()
                            .enumerate()
                            .for_each(|(b, rate)| *rate += depth * effect * bell(b as f64 - border));
                    }
                }
            }
            let counts = rates.iter().map(|&rate| draw::poisson(&mut random, rate) as f32).collect();
            (counts, rates.into_iter().map(|rate| rate as f32).collect())
        })
        .collect();
    let (counts, expected): (Vec<_>, Vec<_>) = drawn.into_iter().unzip();
    let names = simulation.tracks.iter().flat_map(|t| [format!("{t}+"), format!("{t}-")]);
    Ok(Profiles { tracks: names.collect(), bins, counts: counts.concat(), expected: expected.concat() })
}

/// Density of reads at a distance from the middle of their heap.
fn bell(distance: f64) -> f64 {
    let z = distance / SPREAD;
    (-0.5 * z * z).exp() / (SPREAD * (2.0 * std::f64::consts::PI).sqrt())
}

#[cfg(test)]
mod tests {
    use super::super::{Options, simulate};
    use super::*;

    fn simulation() -> Simulation {
        simulate(&Options { sequences: 40, length: 90, tracks: 2, negative: 0.4, ..Options::default() }).unwrap()
    }

    #[test]
    fn reads_heap_up_at_the_borders_of_sites() {
        let s = simulation();
        let options = ProfileOptions { bins: 60, depth: 50.0, background: 0.2 };
        let p = profiles(&s, &options).unwrap();
        assert_eq!((p.tracks.join(" "), p.counts.len()), ("track1+ track1- track2+ track2-".into(), 40 * 4 * 60));
        assert_eq!(p, profiles(&s, &options).unwrap());
        let row = |n: usize, track: usize| &p.expected[(n * 4 + track) * 60..][..60];
        // The total is background and the effects above 0, but for what lies beside the bins.
        let whole = profiles(&s, &ProfileOptions { bins: 90, ..options }).unwrap();
        let mut inner = 0;
        for n in 0..40 {
            let sites: Vec<_> = s.sites.iter().filter(|site| site.sequence == n).collect();
            if sites.iter().any(|s| s.start < 20 || s.end > 70) {
                continue;
            }
            inner += 1;
            let total: f32 = whole.expected[n * 4 * 90..][..90].iter().sum();
            let want: f64 = 90.0 * 0.2 + sites.iter().map(|s| 50.0 * s.effects[0].max(0.0)).sum::<f64>();
            assert!((f64::from(total) - want).abs() < 1e-3 * want, "{n}: {total} instead of {want}");
        }
        assert!(inner > 0);
        // The heaps of one site: forward left, reverse right.
        let lone = |n: usize| s.sites.iter().filter(|site| site.sequence == n && site.effects[0] > 0.0).count() == 1;
        let n = (0..40).find(|&n| {
            lone(n) && s.sites.iter().any(|x| x.sequence == n && x.effects[0] > 0.0 && (30..55).contains(&x.start))
        });
        let n = n.unwrap();
        let site = s.sites.iter().find(|x| x.sequence == n && x.effects[0] > 0.0).unwrap();
        let centre = (site.start + site.end - 1) as f64 / 2.0 - 15.0;
        let top = |row: &[f32]| (0..60).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as f64;
        assert!((top(row(n, 0)) - (centre - REACH)).abs() <= 0.5 && (top(row(n, 1)) - (centre + REACH)).abs() <= 0.5);
        // Draws scatter around what is expected.
        let (sum, mean): (f32, f32) = (p.counts.iter().sum(), p.expected.iter().sum());
        assert!((sum - mean).abs() < 5.0 * mean.sqrt() && p.counts != p.expected, "{sum} reads, {mean} expected");
        assert!(p.counts.iter().all(|c| c.fract() == 0.0 && *c >= 0.0));
    }

    #[test]
    fn options_are_checked() {
        let s = simulation();
        let message = |o: ProfileOptions| profiles(&s, &o).unwrap_err().to_string();
        assert!(message(ProfileOptions { bins: 91, ..Default::default() }).contains("bins: expected 1 to 90"));
        let bad = ProfileOptions { bins: 9, depth: f64::NAN, ..Default::default() };
        assert!(message(bad).contains("depth: expected a number of reads"));
    }
}
