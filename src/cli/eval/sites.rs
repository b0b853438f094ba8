//! Planted sites from a BED file, as `drg simulate` writes it.

use std::collections::HashMap;
use std::ops::Range;
use std::path::Path;

use crate::cli::effects::Effects;
use crate::cli::talk::Talk;
use crate::error::{Error, Result};
use crate::io::bed::read_bed;
use crate::io::first_few;
use crate::io::table::Table;
use crate::io::text::{Lines, parse_number};

/// A planted site.
pub(in crate::cli) struct Site {
    /// Index of the sequence.
    pub sequence: usize,
    /// Positions, 0-based half-open, counted from the first that has effects.
    pub interval: Range<usize>,
    /// Whether all of the site has effects.
    pub whole: bool,
    /// Name of the motif.
    pub motif: String,
    /// Whether the motif reads on the reverse strand.
    pub reverse: bool,
    /// Effect in each track, if known.
    pub effects: Option<Vec<f64>>,
}

/// Sites in the sequences that `effects` has, with their effects in `tracks` where the file names these.
///
/// # Errors
/// What the reader returns; [`Error::Parse`] for a site outside of its sequence, or if no site can be used. Where the effects
/// say which part of the sequences they are of, sites are cut to it.
pub(in crate::cli) fn read_sites(path: &Path, effects: &Effects, tracks: &[&str], talk: Talk) -> Result<Vec<Site>> {
    let regions = read_bed(path)?;
    let known = known_effects(path, regions.len(), tracks)?;
    let places: HashMap<&str, usize> = effects.names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
    let mut sites = Vec::new();
    let mut elsewhere = Vec::new();
    let mut outside = 0;
    for (i, region) in regions.iter().enumerate() {
        let Some(&sequence) = places.get(region.chrom.as_str()) else {
            elsewhere.push(region.chrom.as_str());
            continue;
        };
        let interval = match (usize::try_from(region.start), usize::try_from(region.end)) {
            (Ok(start), Ok(end)) if start <= end && (effects.start.is_some() || end <= effects.length) => start..end,
            _ => {
                let (start, end, length) = (region.start, region.end, effects.length);
                let what = format!("site {start}-{end} is not inside '{}', which has 0-{length}", region.chrom);
                return Err(Error::line(path, region.line, what));
            }
        };
        // What lies outside of the positions with effects can be neither found nor missed.
        let first = effects.start.unwrap_or(0);
        let (from, to) = (interval.start.max(first), interval.end.min(first + effects.length));
        if from >= to {
            outside += 1;
            continue;
        }
        sites.push(Site {
            sequence,
            whole: (from, to) == (interval.start, interval.end),
            interval: from - first..to - first,
            motif: region.name.clone(),
            reverse: region.reverse,
            effects: known.as_ref().map(|k| k.iter().map(|track| track[i]).collect()),
        });
    }
    elsewhere.dedup();
    if sites.is_empty() {
        let (here, there) = (first_few(&elsewhere), first_few(&effects.names));
        let what = format!("no site lies in a sequence of the effects: sites in [{here}], effects of [{there}]");
        return Err(Error::file(path, what));
    }
    if !elsewhere.is_empty() {
        talk.say(format_args!("sites in {} sequences without effects are left out", elsewhere.len()));
    }
    if outside > 0 {
        talk.say(format_args!("{outside} sites outside of the positions with effects are left out"));
    }
    Ok(sites)
}

/// Effects of all sites in each of `tracks`, if the file names these columns after a `#`.
fn known_effects(path: &Path, sites: usize, tracks: &[&str]) -> Result<Option<Vec<Vec<f64>>>> {
    let header = Lines::open(path)?.next_text()?.map(|(_, line)| line.to_string()).unwrap_or_default();
    let columns: Vec<&str> = header.trim_start_matches('#').split('\t').collect();
    if !header.starts_with('#') || tracks.iter().any(|t| !columns.iter().skip(6).any(|c| c == t)) {
        return Ok(None);
    }
    let table = Table::read(path, Some('\t'))?;
    if table.len() != sites {
        return Err(Error::file(path, "comments between the sites; expected one comment, the names of the columns"));
    }
    let effects_of = |track: &&str| {
        let numbers = table.cells(table.column(track)?).enumerate().map(|(i, cell)| {
            parse_number(cell)
                .filter(|v| v.is_finite())
                .ok_or_else(|| Error::cell(path, i + 2, *track, format!("expected a number, found '{cell}'")))
        });
        numbers.collect::<Result<Vec<f64>>>()
    };
    tracks.iter().map(effects_of).collect::<Result<_>>().map(Some)
}
