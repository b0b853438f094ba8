//! What the model reads at the sites of a motif: effects of all bases, averaged over the sites, as a logo.

use std::path::Path;

use super::numbers::{count, of, three};
use super::{Args, Part};
use crate::cli::eval::sites::Site;
use crate::error::Result;
use crate::motif::{Pwm, meme};
use crate::plot::{Motif, MotifFigure, ReportFigure, Section, Table};
use crate::stat;

/// Motifs that make a figure; those with the most sites are drawn.
const MOST_MOTIFS: usize = 20;
/// Sites below which an average says little.
const FEWEST_SITES: usize = 3;
/// Information of a logo a position, where there is no planted motif to be compared with.
const USUAL_BITS: f64 = 1.2;

/// Sums over the sites of one motif.
#[derive(Debug)]
pub(super) struct Readout {
    motif: String,
    width: usize,
    sites: usize,
    /// Sites of another width or without some of their effects, which do not line up.
    odd: usize,
    /// Effects `[T, W, 4]` of the bases along the motif's own strand, less the mean of the four bases of the position.
    sums: Vec<f64>,
    /// What the bases of the sites hold up in each track.
    holds: Vec<f64>,
    /// Sum of the planted effects in each track, where they are known.
    planted: Option<Vec<f64>>,
}

impl Readout {
    /// No sites yet; `site` is the first that will be added.
    pub(super) fn new(site: &Site, tracks: usize) -> Self {
        let width = site.interval.len();
        Self {
            motif: site.motif.clone(),
            width,
            sites: 0,
            odd: 0,
            sums: vec![0.0; tracks * width * 4],
            holds: vec![0.0; tracks],
            planted: site.effects.as_ref().map(|e| vec![0.0; e.len()]),
        }
    }

    /// Name of the motif.
    pub(super) fn name(&self) -> &str {
        &self.motif
    }

    /// Adds a site of a sequence with the effects `map` `[T, 4, length]`, 0 at the bases that the sequence has.
    pub(super) fn add(&mut self, site: &Site, map: &[f32], length: usize) {
        if site.interval.len() != self.width || !site.whole {
            self.odd += 1;
            return;
        }
        self.sites += 1;
        for (t, sums) in self.sums.chunks_exact_mut(self.width * 4).enumerate() {
            for (j, row) in sums.chunks_exact_mut(4).enumerate() {
                // The reverse strand is read from its own end, in complementary bases.
                let at = if site.reverse { site.interval.end - 1 - j } else { site.interval.start + j };
                let effect = |b: usize| {
                    let base = if site.reverse { 3 - b } else { b };
                    f64::from(map[(t * 4 + base) * length + at])
                };
                let mean = (0..4).map(effect).sum::<f64>() / 4.0;
                row.iter_mut().enumerate().for_each(|(b, sum)| *sum += effect(b) - mean);
                self.holds[t] -= mean;
            }
        }
        if let (Some(sum), Some(effects)) = (&mut self.planted, &site.effects) {
            sum.iter_mut().zip(effects).for_each(|(sum, e)| *sum += e);
        }
    }

    /// Tracks in which the motif acts; all where that is not known.
    fn acting(&self) -> Vec<usize> {
        let acts = |&t: &usize| self.planted.as_ref().is_none_or(|p| p[t] != 0.0);
        (0..self.holds.len()).filter(acts).collect()
    }

    /// Mean effects `[W]` of the four bases over sites and acting tracks. Tracks that the motif lowers are turned over, so
    /// that the bases of the motif always stand up.
    fn mean(&self) -> Vec<[f64; 4]> {
        let acting = self.acting();
        let scale = 1.0 / (self.sites * acting.len()).max(1) as f64;
        let mut rows = vec![[0.0; 4]; self.width];
        for &t in &acting {
            let sign = if self.holds[t] < 0.0 { -scale } else { scale };
            let sums = &self.sums[t * self.width * 4..(t + 1) * self.width * 4];
            rows.as_flattened_mut().iter_mut().zip(sums).for_each(|(row, sum)| *row += sign * sum);
        }
        rows
    }

    /// Whether sites raise or lower the tracks, by a number for each track whose sign matters.
    fn direction(&self, by: &[f64]) -> &'static str {
        let acting = self.acting();
        let up = acting.iter().filter(|&&t| by[t] > 0.0).count();
        match (up, acting.len() - up) {
            (_, 0) => "raises",
            (0, _) => "lowers",
            _ => "both",
        }
    }
}

/// Probabilities `exp(effect / s)`, normalised a position, with the one scale `s` that gives the whole logo `bits` of
/// information. Effects that are all 0 stay uniform.
fn as_probabilities(effects: &[[f64; 4]], bits: f64) -> Vec<[f64; 4]> {
    let largest = effects.as_flattened().iter().fold(0.0f64, |m, e| m.max(e.abs()));
    let at = |scale: f64| -> Vec<[f64; 4]> {
        let row = |row: &[f64; 4]| {
            let top = row.iter().fold(f64::NEG_INFINITY, |m, &e| m.max(e));
            let weights = row.map(|e| ((e - top) * scale).exp());
            let sum: f64 = weights.iter().sum();
            weights.map(|w| w / sum)
        };
        effects.iter().map(row).collect()
    };
    if largest == 0.0 {
        return at(0.0);
    }
    let information = |rows: Vec<[f64; 4]>| Pwm { name: String::new(), probabilities: rows }.information_content();
    // Information grows with the scale; the interval is halved until it is as fine as the numbers.
    let (mut low, mut high) = (0.0, 1e4 / largest);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if information(at(middle)) < bits { low = middle } else { high = middle }
    }
    at(0.5 * (low + high))
}

/// Logos of what the model reads, under those of the motifs themselves where a MEME file has them; `word` says whether these
/// are planted or known.
///
/// # Errors
/// What the reader of motifs and the figure return.
pub(super) fn part(args: &Args, readouts: &[Readout], word: &str) -> Result<Option<Part>> {
    let planted = args.motifs.as_deref().map_or(Ok(Vec::new()), |path: &Path| meme::read_pwms(path))?;
    let mut shown: Vec<&Readout> = readouts.iter().filter(|r| r.sites >= FEWEST_SITES).collect();
    if shown.is_empty() {
        return Ok(None);
    }
    let enough = shown.len();
    shown.sort_by_key(|r| std::cmp::Reverse(r.sites));
    shown.truncate(MOST_MOTIFS);
    let place = |r: &Readout| planted.iter().position(|p| p.name == r.motif).unwrap_or(usize::MAX);
    shown.sort_by_key(|r| (place(r), natural(&r.motif)));

    let mut logos: Vec<(String, Vec<[f64; 4]>)> = Vec::new();
    let mut rows = Vec::new();
    for readout in &shown {
        let effects = readout.mean();
        let pwm = planted.iter().find(|p| p.name == readout.motif && p.width() == readout.width);
        let bits = pwm.map_or(USUAL_BITS * readout.width as f64, Pwm::information_content);
        let read = Pwm { name: String::new(), probabilities: as_probabilities(&effects, bits) };
        let agreement = pwm.map(|p| stat::pearson(p.probabilities.as_flattened(), effects.as_flattened()));
        if let Some(pwm) = pwm {
            logos.push((format!("{}, {word}", readout.motif), pwm.probabilities.clone()));
        }
        let sites = of(readout.sites, "site");
        logos.push((format!("{}, as the model reads it at {sites}", readout.motif), read.probabilities.clone()));
        rows.push(vec![
            readout.motif.clone(),
            count(readout.sites),
            readout.planted.as_ref().map_or("–", |p| readout.direction(p)).into(),
            readout.direction(&readout.holds).into(),
            pwm.map_or("–".into(), Pwm::consensus),
            read.consensus(),
            agreement.map_or("–".into(), three),
        ]);
    }
    let figure = MotifFigure { base_width: 22.0, height: 46.0, ..MotifFigure::default() };
    let motifs: Vec<Motif> = logos.iter().map(|(name, rows)| Motif { name, probabilities: rows, offset: 0 }).collect();
    let caption = "Motifs as logos: a position is as high as the information that it carries, its letters share the height \
                   by their probability.";
    let mut text = String::from(
        "Does the model read the motif itself, or something beside it? For every motif the mutation effects at its sites \
         were laid over each other, along the motif's own strand, and averaged: how much better or worse than the other \
         three is each base at each position of the motif, in the eyes of the model? Effects e become the letters of a \
         logo as probabilities proportional to exp(e / s). Mutagenesis does not know the scale s, so there is one s for \
         the whole motif, chosen so that the logo carries as much information as ",
    );
    text.push_str(match planted.is_empty() {
        true => "motifs usually do (1.2 bits a position). ",
        false => "the motif itself. ",
    });
    text.push_str(
        "The relative heights of the letters are the model's own. Motifs that lower a track are turned over, so that the \
         bases of the motif stand up in every logo.",
    );
    if !planted.is_empty() {
        text.push_str(&format!(
            "\n\nEach pair shows the {word} motif above and the motif as the model reads it below. The model was never told \
             the motifs: it has found them in sequences and measurements."
        ));
    }
    let odd: usize = readouts.iter().map(|r| r.odd).sum();
    if odd > 0 {
        text.push_str(&format!(
            " {} cut off or of another width than the first of their motif are left out.",
            of(odd, "site")
        ));
    }
    if enough < readouts.len() || shown.len() < enough {
        text.push_str(&format!(
            " Shown are {} of {} motifs: those with the most sites, at least {FEWEST_SITES}.",
            shown.len(),
            readouts.len()
        ));
    }
    let title = format!("{}{}", word[..1].to_uppercase(), &word[1..]);
    let header = ["Motif", "Sites", &format!("{title} effect"), "Effect in the model", &title, "Read", "Agreement"];
    let table = Table {
        caption: format!(
            "What the model reads. {title} and Read: the best base of every position. Agreement: Pearson's r between the \
             {word} probabilities and the average effects of all bases at all positions (1: the same, 0: unrelated)."
        ),
        header: header.map(String::from).to_vec(),
        rows,
    };
    let section = Section {
        heading: "Motifs that the model reads".into(),
        text,
        figures: vec![ReportFigure { svg: figure.render(&motifs)?, caption: caption.into() }],
        tables: vec![table],
    };
    Ok(Some(Part { sections: vec![section], ..Part::default() }))
}

/// A name so ordered that motif2 comes before motif10.
fn natural(name: &str) -> (String, u64, String) {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
    (stem.into(), name[stem.len()..].parse().unwrap_or(0), name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOTIF: [[f64; 4]; 3] = [[0.7, 0.1, 0.1, 0.1], [0.05, 0.05, 0.05, 0.85], [0.1, 0.6, 0.2, 0.1]];

    /// Effects `[1, 4, 9]` of a model that scores the site at 2..5 of a sequence with log probabilities times `sign`.
    fn map(sequence: &[u8; 9], reverse: bool, sign: f64) -> Vec<f32> {
        let mut map = vec![0.0; 36];
        for j in 0..3 {
            let at = if reverse { 4 - j } else { 2 + j };
            let own = |base: u8| usize::from(if reverse { 3 - base } else { base });
            for base in 0..4u8 {
                let change = (MOTIF[j][own(base)] / MOTIF[j][own(sequence[at])]).ln();
                map[usize::from(base) * 9 + at] = (sign * change) as f32;
            }
        }
        map
    }

    fn site(reverse: bool) -> Site {
        Site { sequence: 0, interval: 2..5, whole: true, motif: "m".into(), reverse, effects: None }
    }

    #[test]
    fn a_motif_comes_back_from_its_sites_on_both_strands() {
        let bits = Pwm::new("m", MOTIF.to_vec()).unwrap().information_content();
        for sign in [1.0, -1.0] {
            let mut readout = Readout::new(&site(false), 1);
            // A T C forward, and the same on the reverse strand: G A T.
            readout.add(&site(false), &map(&[0, 0, 0, 3, 1, 0, 0, 0, 0], false, sign), 9);
            readout.add(&site(true), &map(&[0, 0, 2, 0, 3, 0, 0, 0, 0], true, sign), 9);
            readout.add(&Site { interval: 2..6, ..site(false) }, &[0.0; 36], 9);
            assert_eq!((readout.sites, readout.odd), (2, 1));
            assert_eq!(readout.direction(&readout.holds), if sign > 0.0 { "raises" } else { "lowers" });
            let found = as_probabilities(&readout.mean(), bits);
            for (found, expected) in found.as_flattened().iter().zip(MOTIF.as_flattened()) {
                assert!((found - expected).abs() < 1e-5, "{found} {expected}");
            }
        }
    }

    #[test]
    fn only_tracks_with_an_effect_count() {
        let with = |effects| Site { effects: Some(effects), ..site(false) };
        let mut readout = Readout::new(&with(vec![0.0, -1.0]), 2);
        let one = map(&[0, 0, 0, 3, 1, 0, 0, 0, 0], false, -1.0);
        readout.add(&with(vec![0.0, -1.0]), &[vec![9.0; 36], one].concat(), 9);
        assert_eq!(readout.acting(), [1]);
        let consensus = Pwm { name: String::new(), probabilities: as_probabilities(&readout.mean(), 2.0) }.consensus();
        assert_eq!(consensus, "ATC");
    }

    #[test]
    fn no_effect_is_a_uniform_logo() {
        assert_eq!(as_probabilities(&[[0.0; 4]; 2], 3.0), [[0.25; 4]; 2]);
        let numbered = |name: &str| natural(name).1;
        assert_eq!((numbered("motif10"), numbered("x")), (10, 0));
    }
}
