//! The files of simulated genes.

use std::io::{Result, Write};
use std::ops::Range;

use super::{Binding, Process};
use crate::motif::{Pwm, meme};
use crate::simulate::write::{classes, effects, fasta, sets, sites, table};

impl Process {
    /// FASTA of the DNA, one line of sequence for each gene.
    ///
    /// # Errors
    /// What the writer says; so for the other writers.
    pub fn write_dna(&self, out: &mut dyn Write) -> Result<()> {
        fasta(&self.dna.names, &self.dna.bases, out)
    }

    /// FASTA of the transcripts, all of one length: N stands behind the shorter ones.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_rna(&self, out: &mut dyn Write) -> Result<()> {
        fasta(&self.rna.names, &self.rna.bases, out)
    }

    /// Table of values [G, T], e.g. `exonic.measured`: `#<TAB>track1<TAB>track2...`, then a row for each gene.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_values(&self, values: &[f64], out: &mut dyn Write) -> Result<()> {
        table(&self.dna.names, &self.tracks, values, out)
    }

    /// Planted sites of `tf` or `rbp`, laid out as [`crate::simulate::Simulation::write_sites`] does.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_sites(&self, of: &Binding, out: &mut dyn Write) -> Result<()> {
        sites(&self.dna.names, &self.tracks, &of.motifs, &of.sites, out)
    }

    /// Table of the effects of single sites on their rate, a row for each motif: first the TFs, on log2 KT, then the RBPs,
    /// on log2 KD.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_effects(&self, out: &mut dyn Write) -> Result<()> {
        effects(&self.motifs(), &self.tracks, &[&self.tf.effects[..], &self.rbp.effects].concat(), out)
    }

    /// MEME file of all motifs, first the TFs.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_motifs(&self, out: &mut dyn Write) -> Result<()> {
        out.write_all(meme::pwms_to_text(&self.motifs()).as_bytes())
    }

    /// Table of the genes: name, chromosome, start site and regions as positions in the DNA (`start-end`, 0-based
    /// half-open, `.` for a region that is not there).
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_genes(&self, out: &mut dyn Write) -> Result<()> {
        writeln!(out, "gene\tchromosome\ttss\tupstream\tpromoter\tutr5\tcds\tutr3\tdownstream")?;
        let span = |r: &Range<usize>| if r.is_empty() { ".".into() } else { format!("{}-{}", r.start, r.end) };
        for g in &self.genes {
            let regions = [&g.upstream, &g.promoter, &g.utr5, &g.cds, &g.utr3, &g.downstream].map(span).join("\t");
            writeln!(out, "{}\t{}\t{}\t{regions}", g.name, g.chromosome, g.tss())?;
        }
        Ok(())
    }

    /// Fold file: a line `# Set_i`, then the names of the set in one line.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_folds(&self, out: &mut dyn Write) -> Result<()> {
        sets(&self.dna.names, &self.folds, out)
    }

    /// Class file: a line `track cell-type` for each track.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_classes(&self, out: &mut dyn Write) -> Result<()> {
        classes(&self.tracks, &self.celltypes, out)
    }

    fn motifs(&self) -> Vec<Pwm> {
        [&self.tf.motifs[..], &self.rbp.motifs].concat()
    }
}

impl Binding {
    /// MEME file of these motifs.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_motifs(&self, out: &mut dyn Write) -> Result<()> {
        out.write_all(meme::pwms_to_text(&self.motifs).as_bytes())
    }
}
