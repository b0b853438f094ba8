//! What every single mutation does: letters over heat maps, and whether planted sites are found.

use std::collections::HashMap;
use std::path::Path;

use super::motifs::{self, Readout};
use super::numbers::{count, of, signed, three};
use super::{Args, Part};
use crate::cli::choose::choose;
use crate::cli::effects::Effects;
use crate::cli::eval::sites::{Site, read_sites};
use crate::cli::paired::Pairs;
use crate::cli::plot::heights;
use crate::cli::talk::Talk;
use crate::error::{Error, Result};
use crate::io::classes::read_classes;
use crate::motif::recovery::{Combine, Recovery, position_scores, recovery};
use crate::plot::{Attribution, AttributionFigure, Interval, ReportFigure, Section, Table};
use crate::stat;

/// Sequences that are drawn unless some are chosen.
const SEQUENCES: usize = 3;
/// Tracks that are drawn of each sequence unless some are chosen.
const TRACKS: usize = 3;
/// Panels that a page still shows.
const MOST_PANELS: usize = 60;
/// Longest sequence that is drawn whole; of longer ones a window of this many bases is.
const WHOLE: usize = 240;

/// What one pass over all effects gathers.
struct Survey {
    /// Sum over the positions of the largest absolute effect, `[N, T]`.
    strength: Vec<f64>,
    /// Recovery of planted sites in each track.
    recovery: Vec<Tally>,
    /// What is read at the sites of each motif.
    readouts: Vec<Readout>,
}

/// Mean recovery of one track over sequences that come one by one.
#[derive(Debug, Clone, Default)]
struct Tally {
    sequences: usize,
    sums: [f64; 5],
}

/// Figures of a few sequences, and what all of them say about sites and motifs.
///
/// # Errors
/// What readers and figures return; [`Error::Usage`] for sequences or tracks that are not there.
pub(super) fn part(args: &Args, ism: &Path, pairs: Option<&Pairs>, talk: Talk) -> Result<Part> {
    let mut effects = Effects::open(ism)?;
    let (names, tracks, length) = (effects.names.clone(), effects.tracks.clone(), effects.length);
    let sites = match &args.sites {
        Some(path) => read_sites(path, &effects, &tracks.iter().map(String::as_str).collect::<Vec<_>>(), talk)?,
        None => Vec::new(),
    };
    let bases = effects.bases()?;
    let survey = Survey::of(&mut effects, ism, &sites)?;
    let shown_tracks = match args.tracks.as_slice() {
        [] => strongest_tracks(args, &survey, &tracks)?,
        wanted => choose("tracks", &tracks, wanted)?,
    };
    let shown = match args.sequences.as_slice() {
        [] => strongest_sequences(&survey, tracks.len(), &shown_tracks),
        wanted => choose("sequences", &names, wanted)?,
    };
    let panels = shown.len() * shown_tracks.len();
    if panels > MOST_PANELS {
        return Err(Error::Usage(format!(
            "{} sequences and {} tracks make {panels} panels, more than {MOST_PANELS}; choose fewer with --sequences and \
             --tracks",
            shown.len(),
            shown_tracks.len()
        )));
    }
    let mut maps: HashMap<usize, Vec<f32>> = HashMap::new();
    effects.each(
        |n| shown.contains(&n),
        |n, map| {
            maps.insert(n, map.to_vec());
            Ok(())
        },
    )?;

    let known = bases.iter().filter(|&&b| b < 4).count();
    let mut part = Part::default();
    part.number("Mutations computed", count(3 * known));
    let mut section = Section { heading: "What every mutation does".into(), ..Section::default() };
    section.text = introduction(&names, length, 3 * known, !sites.is_empty());
    let figures = Drawing {
        names: &names,
        tracks: &tracks,
        length,
        bases: &bases,
        sites: &sites,
        pairs,
        start: effects.start.unwrap_or(0) as i64,
    };
    for &n in &shown {
        section.figures.push(figures.sequence(n, &shown_tracks, &maps[&n])?);
    }
    if args.sequences.is_empty() && names.len() > shown.len() {
        section.text.push_str(&format!(
            "\n\nDrawn are the {} of {} sequences whose mutations change the predictions most.",
            shown.len(),
            count(names.len())
        ));
    }
    part.sections.push(section);
    if !sites.is_empty() {
        // Only a simulation knows what its sites do.
        let word = if sites.iter().any(|s| s.effects.is_some()) { "planted" } else { "known" };
        let found = recovered(&tracks, &survey.recovery, word);
        part.summary.extend(found.summary);
        if let Some(motifs) = motifs::part(args, &survey.readouts, word)? {
            part.sections.extend(motifs.sections);
        }
        part.sections.extend(found.sections);
    }
    Ok(part)
}

fn introduction(names: &[String], length: usize, mutations: usize, sites: bool) -> String {
    let mut text = format!(
        "In {} of {} every base was changed to each of the three others, and the model predicted all {} mutants. The effect \
         of a mutation is the prediction for the mutant minus the prediction for the sequence itself, in the units of the \
         measurement.\n\nHow to read the figures: the letters spell the sequence. A letter is as high as minus the mean \
         effect of its three substitutions: a tall letter above the line keeps the prediction up, because the prediction \
         falls when it is lost; a letter that hangs below the line keeps the prediction down. The heat map under the \
         letters has one cell for every substitution: red raises the prediction, blue lowers it; a dot marks the base that \
         the sequence has.",
        of(names.len(), "sequence"),
        of(length, "base"),
        count(mutations)
    );
    if sites {
        text.push_str(
            " Boxes above the letters are the sites of motifs that act in that track. A model that has understood the \
             data has its tall letters under the boxes and little elsewhere.",
        );
    }
    text
}

impl Survey {
    fn of(effects: &mut Effects, path: &Path, sites: &[Site]) -> Result<Self> {
        let (names, tracks, length) = (effects.names.clone(), effects.tracks.clone(), effects.length);
        let mut by_sequence: HashMap<usize, Vec<&Site>> = HashMap::new();
        sites.iter().for_each(|s| by_sequence.entry(s.sequence).or_default().push(s));
        let mut survey = Self {
            strength: vec![0.0; names.len() * tracks.len()],
            recovery: vec![Tally::default(); tracks.len()],
            readouts: Vec::new(),
        };
        effects.each(
            |_| true,
            |n, map| {
                if let Some(i) = map.iter().position(|v| !v.is_finite()) {
                    let (value, track) = (map[i], &tracks[i / (4 * length)]);
                    let what = format!("an effect of '{}' on '{track}' is {value}", names[n]);
                    return Err(Error::key(path, "values", what));
                }
                let here = by_sequence.get(&n).map_or(&[][..], Vec::as_slice);
                for (t, map) in map.chunks_exact(4 * length).enumerate() {
                    let scores = position_scores(map, length, Combine::Max)?;
                    survey.strength[n * tracks.len() + t] = scores.iter().sum();
                    let acts = |s: &&&Site| s.effects.as_ref().is_none_or(|e| e[t] != 0.0);
                    let truth = here.iter().filter(acts).map(|s| s.interval.clone()).collect();
                    survey.recovery[t].add(&recovery(&scores, length, &[truth])?);
                }
                here.iter().for_each(|site| survey.read(site, map, tracks.len(), length));
                Ok(())
            },
        )?;
        Ok(survey)
    }

    fn read(&mut self, site: &Site, map: &[f32], tracks: usize, length: usize) {
        let place = self.readouts.iter().position(|r| r.name() == site.motif).unwrap_or_else(|| {
            self.readouts.push(Readout::new(site, tracks));
            self.readouts.len() - 1
        });
        self.readouts[place].add(site, map, length);
    }
}

impl Tally {
    fn add(&mut self, one: &Recovery) {
        if one.sequences > 0 {
            self.sequences += one.sequences;
            let numbers = [one.at_k, one.chance.at_k, one.auroc, one.average_precision, one.chance.average_precision];
            self.sums.iter_mut().zip(numbers).for_each(|(sum, v)| *sum += v * one.sequences as f64);
        }
    }

    /// Recovery at k, its chance, AUROC, average precision, its chance.
    fn means(&self) -> [f64; 5] {
        self.sums.map(|sum| sum / self.sequences as f64)
    }
}

/// The track with the largest effects of each class, or of all tracks where there are no classes.
fn strongest_tracks(args: &Args, survey: &Survey, tracks: &[String]) -> Result<Vec<usize>> {
    let total = |t: usize| survey.strength.iter().skip(t).step_by(tracks.len()).sum::<f64>();
    let mut order: Vec<usize> = (0..tracks.len()).collect();
    order.sort_by(|&a, &b| total(b).total_cmp(&total(a)));
    if let Some(path) = &args.classes {
        let classes = read_classes(path, tracks)?;
        let mut seen = std::collections::HashSet::new();
        order.retain(|&t| seen.insert(classes[t].clone()));
    }
    order.truncate(TRACKS);
    order.sort_unstable();
    Ok(order)
}

/// The sequences with the largest effects in some tracks, the largest first.
fn strongest_sequences(survey: &Survey, tracks: usize, shown: &[usize]) -> Vec<usize> {
    let total = |n: usize| shown.iter().map(|t| survey.strength[n * tracks + t]).sum::<f64>();
    let mut order: Vec<usize> = (0..survey.strength.len() / tracks).collect();
    order.sort_by(|&a, &b| total(b).total_cmp(&total(a)));
    order.truncate(SEQUENCES);
    order
}

/// What the figures of all sequences share.
struct Drawing<'a> {
    names: &'a [String],
    tracks: &'a [String],
    length: usize,
    /// First position that has effects.
    start: i64,
    bases: &'a [u8],
    sites: &'a [Site],
    pairs: Option<&'a Pairs>,
}

impl Drawing<'_> {
    /// One sequence in some tracks, one below the other.
    fn sequence(&self, n: usize, shown: &[usize], map: &[f32]) -> Result<ReportFigure> {
        let (name, length) = (&self.names[n], self.length);
        let reference = &self.bases[n * length..(n + 1) * length];
        let values: Vec<&[f32]> = shown.iter().map(|&t| &map[t * 4 * length..(t + 1) * 4 * length]).collect();
        let letters: Vec<Vec<f32>> = values.iter().map(|values| heights(values, reference)).collect();
        let boxes: Vec<Vec<Interval>> = shown.iter().map(|&t| self.boxes(n, t)).collect();
        let titles: Vec<String> = shown.iter().map(|&t| self.title(n, t)).collect();
        let panels: Vec<Attribution> = (0..shown.len())
            .map(|i| Attribution {
                title: &titles[i],
                values: values[i],
                reference,
                heights: Some(&letters[i]),
                start: self.start,
                intervals: &boxes[i],
            })
            .collect();
        let range = (length > WHOLE).then(|| {
            let start = busiest(&letters, WHOLE);
            start..start + WHOLE
        });
        let mut caption = format!(
            "Mutation effects in {name}: letters over substitutions, one panel a track.{}",
            if self.sites.is_empty() { "" } else { " Boxes: sites of motifs that act in the track." }
        );
        if let Some(range) = &range {
            caption.push_str(&format!(
                " Positions {} to {} of {}, where the effects are largest.",
                self.start + range.start as i64,
                self.start + range.end as i64,
                length
            ));
        }
        let figure = AttributionFigure { range, ..AttributionFigure::default() };
        Ok(ReportFigure { svg: figure.render(&panels)?, caption })
    }

    /// Sites that act in a track; where effects are not known, all.
    fn boxes(&self, n: usize, t: usize) -> Vec<Interval<'_>> {
        let acts = |s: &&Site| s.sequence == n && s.effects.as_ref().is_none_or(|e| e[t] != 0.0);
        let at = |position: usize| position as i64 + self.start;
        let boxed = self.sites.iter().filter(acts);
        boxed.map(|s| Interval { start: at(s.interval.start), end: at(s.interval.end), label: &s.motif }).collect()
    }

    /// Sequence and track, with prediction and measurement where they are known.
    fn title(&self, n: usize, t: usize) -> String {
        let (sequence, track) = (&self.names[n], &self.tracks[t]);
        let known = self.pairs.and_then(|pairs| {
            let row = pairs.names.iter().position(|name| name == sequence)?;
            let column = pairs.tracks.iter().position(|name| name == track)?;
            let at = row * pairs.tracks.len() + column;
            Some((pairs.measured[at], pairs.prediction[at]))
        });
        match known {
            Some((measured, predicted)) if !measured.is_nan() => {
                format!("{sequence}, {track} (measured {}, predicted {})", signed(measured), signed(predicted))
            }
            _ => format!("{sequence}, {track}"),
        }
    }
}

/// Start of the window of `width` positions with the largest sum of heights.
fn busiest(letters: &[Vec<f32>], width: usize) -> usize {
    let at = |i: usize| letters.iter().map(|row| f64::from(row[i]).abs()).sum::<f64>();
    let length = letters.first().map_or(0, Vec::len);
    let (mut sum, mut best, mut start) = ((0..width).map(at).sum::<f64>(), f64::NEG_INFINITY, 0);
    for i in 0..=length - width {
        if sum > best {
            (best, start) = (sum, i);
        }
        if i + width < length {
            sum += at(i + width) - at(i);
        }
    }
    start
}

/// Table and summary of the recovery.
fn recovered(tracks: &[String], tallies: &[Tally], word: &str) -> Part {
    let mut part = Part::default();
    let used: Vec<[f64; 5]> = tallies.iter().filter(|t| t.sequences > 0).map(Tally::means).collect();
    let mean = |column: usize| stat::mean(&used.iter().map(|row| row[column]).collect::<Vec<f64>>());
    if !used.is_empty() {
        part.number(&format!("Positions of {word} sites found"), format!("{:.0} %", 100.0 * mean(0)));
        part.number("Found by guessing", format!("{:.0} %", 100.0 * mean(1)));
    }
    let mut text = String::from(match word {
        "planted" => "Here the right answer is known, because the sites were planted. ",
        _ => "Here the known sites are taken for the right answer. ",
    });
    text.push_str(&format!(
        "In every sequence the positions are ordered by their largest absolute effect. If k positions belong to {word} sites \
         that act in a track, a perfect explanation has exactly these k at the top: recovery at k is the share of the \
         {word} positions among the k highest. AUROC is the chance that a {word} position scores higher than another one \
         (0.5 when guessing), average precision summarises the whole order (1 at best). By chance is what a random order \
         would give.\n\nNot every {word} position can be found: where a motif tolerates several bases, a substitution \
         changes little, and background matches a motif here and there without being counted."
    ));
    let header = ["Track", "Sequences", "Recovery at k", "by chance", "AUROC", "Average precision", "by chance"]
        .map(String::from);
    let rows = tracks.iter().zip(tallies).map(|(track, tally)| {
        let mut row = vec![track.clone(), count(tally.sequences)];
        row.extend(tally.means().map(three));
        row
    });
    let table = Table {
        caption: format!("Recovery of {word} sites, mean over the sequences that have sites in the track."),
        header: header.to_vec(),
        rows: rows.collect(),
    };
    let heading = format!("Are the {word} sites found?");
    part.sections.push(Section { heading, text, figures: Vec::new(), tables: vec![table] });
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_busiest_window_is_found() {
        let mut row = vec![0.0f32; 500];
        assert_eq!(busiest(&[row.clone()], 240), 0);
        row[499] = -3.0;
        row[10] = 1.0;
        assert_eq!(busiest(&[row.clone(), vec![0.5; 500]], 240), 260);
        assert_eq!(busiest(&[row], 500), 0);
    }

    #[test]
    fn recovery_of_single_sequences_adds_up_to_that_of_all() {
        let scores = [3.0, 1.0, 2.0, 0.0, 0.0, 5.0, 4.0, 1.0, 9.0, 0.0, 1.0, 2.0];
        let truth = [vec![0..2, 1..2], vec![], vec![3..4, 3..4]];
        let all = recovery(&scores, 4, &truth).unwrap();
        let mut tally = Tally::default();
        for (scores, truth) in scores.chunks(4).zip(truth) {
            tally.add(&recovery(scores, 4, &[truth]).unwrap());
        }
        assert_eq!(tally.sequences, 2);
        assert_eq!(tally.means()[..3], [all.at_k, all.chance.at_k, all.auroc]);
        assert_eq!(tally.means()[3..], [all.average_precision, all.chance.average_precision]);
    }
}
