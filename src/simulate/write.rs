//! The files of a simulation. The functions write to anything; give them `util::fs::write_atomic`'s writer for files.

use std::io::{Result, Write};

use super::{Simulation, Site};
use crate::motif::{Pwm, meme};
use crate::seq::decode;

impl Simulation {
    /// FASTA: one line of sequence for each name.
    ///
    /// # Errors
    /// What the writer says; so for the other writers.
    pub fn write_fasta(&self, out: &mut dyn Write) -> Result<()> {
        fasta(&self.names, &self.bases, out)
    }

    /// Table of the targets with noise: `#<TAB>track1<TAB>track2...`, then a row for each sequence.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_targets(&self, out: &mut dyn Write) -> Result<()> {
        table(&self.names, &self.tracks, &self.targets, out)
    }

    /// Table of the targets without noise, laid out as [`Simulation::write_targets`].
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_signal(&self, out: &mut dyn Write) -> Result<()> {
        table(&self.names, &self.tracks, &self.signal, out)
    }

    /// Table of the effects of single sites, one row a motif, laid out as [`Simulation::write_targets`].
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_effects(&self, out: &mut dyn Write) -> Result<()> {
        effects(&self.motifs, &self.tracks, &self.effects, out)
    }

    /// Planted sites as BED6 with one more column for the effect in each track: sequence, start, end (0-based half-open),
    /// motif, score, strand, effects. The score is the largest absolute effect of the site in thousandths of the largest
    /// of all. The first line names the columns after a `#`.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_sites(&self, out: &mut dyn Write) -> Result<()> {
        sites(&self.names, &self.tracks, &self.motifs, &self.sites, out)
    }

    /// MEME file of the motifs.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_motifs(&self, out: &mut dyn Write) -> Result<()> {
        out.write_all(meme::pwms_to_text(&self.motifs).as_bytes())
    }

    /// Fold file of sets of sequence indices (see [`Simulation::folds`]): a line `# Set_i`, then the names of the set in
    /// one line.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_folds(&self, folds: &[Vec<usize>], out: &mut dyn Write) -> Result<()> {
        sets(&self.names, folds, out)
    }

    /// Class file: a line `track class` for each track.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_classes(&self, out: &mut dyn Write) -> Result<()> {
        classes(&self.tracks, &self.classes, out)
    }
}

/// FASTA of packed bases [N, L], one line of sequence for each name; unknown bases are N.
pub(super) fn fasta(names: &[String], bases: &[u8], out: &mut dyn Write) -> Result<()> {
    let length = bases.len() / names.len().max(1);
    for (name, row) in names.iter().zip(bases.chunks_exact(length.max(1))) {
        let line: Vec<u8> = row.iter().map(|&code| decode(code)).collect();
        writeln!(out, ">{name}")?;
        out.write_all(&line)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// Table of values [N, T] under the names of the tracks.
pub(super) fn table(names: &[String], tracks: &[String], values: &[f64], out: &mut dyn Write) -> Result<()> {
    writeln!(out, "#\t{}", tracks.join("\t"))?;
    for (name, row) in names.iter().zip(values.chunks_exact(tracks.len())) {
        write!(out, "{name}")?;
        write_values(row, out)?;
    }
    Ok(())
}

/// Table of effects [M, T] of motifs.
pub(super) fn effects(motifs: &[Pwm], tracks: &[String], effects: &[f64], out: &mut dyn Write) -> Result<()> {
    let names: Vec<String> = motifs.iter().map(|m| m.name.clone()).collect();
    table(&names, tracks, effects, out)
}

/// BED6 of sites, and their effect in each track.
pub(super) fn sites(
    names: &[String],
    tracks: &[String],
    motifs: &[Pwm],
    sites: &[Site],
    out: &mut dyn Write,
) -> Result<()> {
    let largest = |effects: &[f64]| effects.iter().fold(0.0f64, |m, e| m.max(e.abs()));
    let top = sites.iter().map(|s| largest(&s.effects)).fold(f64::MIN_POSITIVE, f64::max);
    writeln!(out, "#sequence\tstart\tend\tmotif\tscore\tstrand\t{}", tracks.join("\t"))?;
    for site in sites {
        let (name, motif) = (&names[site.sequence], &motifs[site.motif].name);
        let score = (1000.0 * largest(&site.effects) / top).round();
        write!(out, "{name}\t{}\t{}\t{motif}\t{score}\t{}", site.start, site.end, site.strand.symbol())?;
        write_values(&site.effects, out)?;
    }
    Ok(())
}

/// Fold file of sets of rows.
pub(super) fn sets(names: &[String], sets: &[Vec<usize>], out: &mut dyn Write) -> Result<()> {
    for (i, set) in sets.iter().enumerate() {
        let names: Vec<&str> = set.iter().map(|&n| names[n].as_str()).collect();
        writeln!(out, "# Set_{i}\n{}", names.join(" "))?;
    }
    Ok(())
}

/// Lines of track and class.
pub(super) fn classes(tracks: &[String], classes: &[String], out: &mut dyn Write) -> Result<()> {
    tracks.iter().zip(classes).try_for_each(|(track, class)| writeln!(out, "{track} {class}"))
}

/// Values, each after a tab, and the end of the line.
fn write_values(values: &[f64], out: &mut dyn Write) -> Result<()> {
    values.iter().try_for_each(|v| write!(out, "\t{v:.6}"))?;
    writeln!(out)
}
