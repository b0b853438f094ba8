//! `drg simulate process`: genes whose expression follows from transcription and degradation.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::json;

use super::widths;
use crate::cli::output::{self, Staged};
use crate::cli::{Context, talk};
use crate::error::Result;
use crate::io::sequences::write_one_hot;
use crate::simulate::process::{Options, Process, process};

const EXAMPLE: &str = "\
Files in the folder, values in log2:
  TSS.npz, TSS.fa   DNA around the start site    RNA.npz, RNA.fa   transcripts, filled at the end
  exonic.tsv        expression                   intronic.tsv      transcription
  degrad.tsv        degradation                  signal_*.tsv      the same three without noise
  sites_dna.bed     sites of TFs in the DNA      motifs_dna.meme   their motifs
  sites_rna.bed     sites of RBPs in the RNA     motifs_rna.meme   their motifs
  effects.tsv       effect of one site on its    motifs.meme       motifs of both
                    rate, for every motif        genes.tsv         chromosomes and regions
  condition.class.txt  cell type of each track   simulate.json     how they were made
  Exintron_testsetcv10.txt  sets of whole chromosomes for cross-validation

The effects in sites_dna.bed are on transcription, those in sites_rna.bed on degradation.

Example:
  drg simulate process -o genes --genes 300 --seed 7
  drg train genes/RNA.npz genes/degrad.tsv -o kd.drg --cnn num_kernels=16+l_kernels=11+epochs=2

Regions and numbers of a larger study:
  --enhancer 100 --spacer 200 --promoter 100 --utr5 100 --cds 250-500 --utr3 200
  --tf 60 --rbp 40 --celltypes 81 --conditions 1";

/// Simulate genes: DNA and RNA, transcription, degradation, expression
///
/// A gene is enhancer, spacer, promoter, 5'UTR, CDS, 3'UTR, spacer, enhancer. Motifs of transcription factors (TFs) in
/// enhancers and promoter set its transcription, motifs of RNA-binding proteins (RBPs) in the UTRs its degradation;
/// expression is transcription by degradation, a difference in log2. A track is a cell type in a condition. The same seed
/// gives the same files, on any number of threads.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Folder for the files; made if its parent is there
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Number of genes
    #[arg(long, value_name = "N", default_value_t = Options::default().genes)]
    genes: usize,
    /// Number of cell types, the classes of the tracks
    #[arg(long, value_name = "N", default_value_t = Options::default().celltypes)]
    celltypes: usize,
    /// Number of conditions of each cell type
    #[arg(long, value_name = "N", default_value_t = Options::default().conditions)]
    conditions: usize,
    /// Number of TFs, a motif each
    #[arg(long, value_name = "N", default_value_t = Options::default().tf)]
    tf: usize,
    /// Number of RBPs, a motif each
    #[arg(long, value_name = "N", default_value_t = Options::default().rbp)]
    rbp: usize,
    /// Least and greatest width of the motifs in bp
    #[arg(long, value_name = "MIN-MAX", default_value = "8-12")]
    width: String,
    /// Mean number of sites in each enhancer, promoter and UTR
    #[arg(long, value_name = "MEAN", default_value_t = Options::default().sites, allow_negative_numbers = true)]
    sites: f64,
    /// Length of the enhancers in bp, or 0
    #[arg(long, value_name = "BP", default_value_t = Options::default().enhancer)]
    enhancer: usize,
    /// Greatest length of the spacers in bp
    #[arg(long, value_name = "BP", default_value_t = Options::default().spacer)]
    spacer: usize,
    /// Length of the promoter in bp
    #[arg(long, value_name = "BP", default_value_t = Options::default().promoter)]
    promoter: usize,
    /// Length of the 5'UTR in bp, or 0
    #[arg(long, value_name = "BP", default_value_t = Options::default().utr5)]
    utr5: usize,
    /// Least and greatest length of the CDS in bp; multiples of three are drawn
    #[arg(long, value_name = "MIN-MAX", default_value = "60-120")]
    cds: String,
    /// Length of the 3'UTR in bp
    #[arg(long, value_name = "BP", default_value_t = Options::default().utr3)]
    utr3: usize,
    /// Length of the DNA in bp [default: what the longest gene needs]
    #[arg(long, value_name = "BP")]
    dna_length: Option<usize>,
    /// Length of the RNA in bp, shorter transcripts filled at the end [default: the longest transcript]
    #[arg(long, value_name = "BP")]
    rna_length: Option<usize>,
    /// Distance from the start site in bp at which an enhancer has 1/e of its effect; a fifth stays at any distance
    #[arg(long, value_name = "BP", default_value_t = Options::default().reach, allow_negative_numbers = true)]
    reach: f64,
    /// GC content of the bases without motif, 0 to 1
    #[arg(long, value_name = "FRACTION", default_value_t = Options::default().gc, allow_negative_numbers = true)]
    gc: f64,
    /// Fraction of the TFs that raise transcription; the others lower it
    #[arg(long, value_name = "FRACTION", default_value_t = Options::default().activators)]
    #[arg(allow_negative_numbers = true)]
    activators: f64,
    /// Fraction of the RBPs that lower degradation; the others raise it
    #[arg(long, value_name = "FRACTION", default_value_t = Options::default().stabilizers)]
    #[arg(allow_negative_numbers = true)]
    stabilizers: f64,
    /// Fraction of the motifs that act in all cell types
    #[arg(long, value_name = "FRACTION", default_value_t = Options::default().universal)]
    #[arg(allow_negative_numbers = true)]
    universal: f64,
    /// Fraction of the cell types that each of the other motifs acts in
    #[arg(long, value_name = "FRACTION", default_value_t = Options::default().active, allow_negative_numbers = true)]
    active: f64,
    /// Fraction of the motifs whose effects depend on the condition
    #[arg(long, value_name = "FRACTION", default_value_t = Options::default().responsive)]
    #[arg(allow_negative_numbers = true)]
    responsive: f64,
    /// Standard deviation of the noise relative to that of the noiseless rate
    #[arg(long, value_name = "SD", default_value_t = Options::default().noise, allow_negative_numbers = true)]
    noise: f64,
    /// Number of chromosomes
    #[arg(long, value_name = "N", default_value_t = Options::default().chromosomes)]
    chromosomes: usize,
    /// Number of sets of chromosomes for cross-validation, K in Exintron_testsetcvK.txt
    #[arg(long, value_name = "K", default_value_t = Options::default().folds)]
    folds: usize,
    /// Seed of all random draws
    #[arg(long, value_name = "SEED", default_value_t = Options::default().seed)]
    seed: u64,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    output::check_folder(&args.out)?;
    let simulated = process(&args.options()?)?;
    let paths = write(args, &simulated, context)?;
    let Process { genes, dna, rna, tf, rbp, .. } = &simulated;
    context.talk.say(format_args!(
        "{} genes: {} bp of DNA, {} of RNA; {} tracks; {} sites of {} TFs, {} of {} RBPs (seed {})",
        genes.len(),
        dna.length,
        rna.length,
        simulated.tracks.len(),
        tf.sites.len(),
        tf.motifs.len(),
        rbp.sites.len(),
        rbp.motifs.len(),
        simulated.seed
    ));
    talk::print(paths.iter().map(|p| format!("{}\n", p.display())).collect::<String>())
}

fn write(args: &Args, simulated: &Process, context: &Context) -> Result<Vec<PathBuf>> {
    let mut staged = Staged::new(&args.out)?;
    staged.put(Path::new("TSS.npz"), |path| write_one_hot(path, &simulated.dna))?;
    staged.put(Path::new("RNA.npz"), |path| write_one_hot(path, &simulated.rna))?;
    staged.write("TSS.fa", |w| simulated.write_dna(w))?;
    staged.write("RNA.fa", |w| simulated.write_rna(w))?;
    let rates = [("exonic", &simulated.exonic), ("intronic", &simulated.intronic), ("degrad", &simulated.degrad)];
    for (name, rate) in rates {
        staged.write(&format!("{name}.tsv"), |w| simulated.write_values(&rate.measured, w))?;
    }
    for (name, rate) in rates {
        staged.write(&format!("signal_{name}.tsv"), |w| simulated.write_values(&rate.signal, w))?;
    }
    staged.write("condition.class.txt", |w| simulated.write_classes(w))?;
    staged.write(&format!("Exintron_testsetcv{}.txt", simulated.folds.len()), |w| simulated.write_folds(w))?;
    staged.write("genes.tsv", |w| simulated.write_genes(w))?;
    staged.write("effects.tsv", |w| simulated.write_effects(w))?;
    staged.write("motifs.meme", |w| simulated.write_motifs(w))?;
    for (name, binding) in [("dna", &simulated.tf), ("rna", &simulated.rbp)] {
        staged.write(&format!("sites_{name}.bed"), |w| simulated.write_sites(binding, w))?;
        staged.write(&format!("motifs_{name}.meme"), |w| binding.write_motifs(w))?;
    }
    let results = json!({
        "dna_length": simulated.dna.length,
        "rna_length": simulated.rna.length,
        "tss": simulated.genes.first().map(|g| g.tss()),
        "sites_dna": simulated.tf.sites.len(),
        "sites_rna": simulated.rbp.sites.len(),
        "folds": simulated.folds.iter().map(Vec::len).collect::<Vec<_>>(),
    });
    staged.provenance(Path::new("simulate.json"), context, args, results)?;
    staged.finish()
}

impl Args {
    fn options(&self) -> Result<Options> {
        Ok(Options {
            genes: self.genes,
            celltypes: self.celltypes,
            conditions: self.conditions,
            tf: self.tf,
            rbp: self.rbp,
            width: widths("width", &self.width)?,
            sites: self.sites,
            enhancer: self.enhancer,
            spacer: self.spacer,
            promoter: self.promoter,
            utr5: self.utr5,
            cds: widths("cds", &self.cds)?,
            utr3: self.utr3,
            dna_length: self.dna_length,
            rna_length: self.rna_length,
            reach: self.reach,
            gc: self.gc,
            activators: self.activators,
            stabilizers: self.stabilizers,
            universal: self.universal,
            active: self.active,
            responsive: self.responsive,
            noise: self.noise,
            chromosomes: self.chromosomes,
            folds: self.folds,
            seed: self.seed,
        })
    }
}
