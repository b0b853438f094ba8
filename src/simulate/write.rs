//! The files of a simulation. The functions write to anything; give them `util::fs::write_atomic`'s writer for files.

use std::io::{Result, Write};

use super::Simulation;
use crate::motif::meme;

impl Simulation {
    /// FASTA: one line of sequence for each name.
    ///
    /// # Errors
    /// What the writer says; so for the other writers.
    pub fn write_fasta(&self, out: &mut dyn Write) -> Result<()> {
        for (n, name) in self.names.iter().enumerate() {
            let line: Vec<u8> = self.sequence(n).iter().map(|&code| b"ACGT"[usize::from(code)]).collect();
            writeln!(out, ">{name}")?;
            out.write_all(&line)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Table of the targets with noise: `#<TAB>track1<TAB>track2...`, then a row for each sequence.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_targets(&self, out: &mut dyn Write) -> Result<()> {
        self.write_table(&self.names, &self.targets, out)
    }

    /// Table of the targets without noise, laid out as [`Simulation::write_targets`].
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_signal(&self, out: &mut dyn Write) -> Result<()> {
        self.write_table(&self.names, &self.signal, out)
    }

    /// Table of the effects of single sites, one row a motif, laid out as [`Simulation::write_targets`].
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_effects(&self, out: &mut dyn Write) -> Result<()> {
        let names: Vec<String> = self.motifs.iter().map(|m| m.name.clone()).collect();
        self.write_table(&names, &self.effects, out)
    }

    /// Planted sites as BED6 with one more column for the effect in each track: sequence, start, end (0-based half-open),
    /// motif, score, strand, effects. The score is the largest absolute effect of the site in thousandths of the largest
    /// of all. The first line names the columns after a `#`.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_sites(&self, out: &mut dyn Write) -> Result<()> {
        let largest = |effects: &[f64]| effects.iter().fold(0.0f64, |m, e| m.max(e.abs()));
        let top = self.sites.iter().map(|s| largest(&s.effects)).fold(f64::MIN_POSITIVE, f64::max);
        writeln!(out, "#sequence\tstart\tend\tmotif\tscore\tstrand\t{}", self.tracks.join("\t"))?;
        for site in &self.sites {
            let (name, motif) = (&self.names[site.sequence], &self.motifs[site.motif].name);
            let score = (1000.0 * largest(&site.effects) / top).round();
            write!(out, "{name}\t{}\t{}\t{motif}\t{score}\t{}", site.start, site.end, site.strand.symbol())?;
            write_values(&site.effects, out)?;
        }
        Ok(())
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
        for (i, set) in folds.iter().enumerate() {
            let names: Vec<&str> = set.iter().map(|&n| self.names[n].as_str()).collect();
            writeln!(out, "# Set_{i}\n{}", names.join(" "))?;
        }
        Ok(())
    }

    /// Class file: a line `track class` for each track.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_classes(&self, out: &mut dyn Write) -> Result<()> {
        self.tracks.iter().zip(&self.classes).try_for_each(|(track, class)| writeln!(out, "{track} {class}"))
    }

    fn write_table(&self, names: &[String], values: &[f64], out: &mut dyn Write) -> Result<()> {
        writeln!(out, "#\t{}", self.tracks.join("\t"))?;
        for (name, row) in names.iter().zip(values.chunks_exact(self.tracks.len())) {
            write!(out, "{name}")?;
            write_values(row, out)?;
        }
        Ok(())
    }
}

/// Values, each after a tab, and the end of the line.
fn write_values(values: &[f64], out: &mut dyn Write) -> Result<()> {
    values.iter().try_for_each(|v| write!(out, "\t{v:.6}"))?;
    writeln!(out)
}
