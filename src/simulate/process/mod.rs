//! Genes whose expression follows from two processes: transcription, which the DNA around the start site sets, and
//! degradation, which the transcript sets.
//!
//! A gene is `enhancer spacer promoter 5'UTR CDS 3'UTR spacer enhancer`. Motifs of transcription factors (TFs) stand in
//! enhancers and promoter, motifs of RNA-binding proteins (RBPs) in the UTRs. In log2, and in each track (a cell type in
//! a condition), a rate is the sum of the effects of its sites:
//!
//! - transcription KT = sum over the TF sites, those in an enhancer weighted by its distance from the start site,
//! - degradation KD = sum over the RBP sites,
//! - expression = KT / KD, so log2 expression = log2 KT - log2 KD.
//!
//! As in [`super::simulate`], only planted sites count, and all draws come from streams of the seed that belong to one
//! thing each: the sequences of gene n are the same whatever the number of genes or threads.

mod activity;
mod gene;
mod write;

use std::fmt::Display;
use std::ops::RangeInclusive;

use rayon::prelude::*;

pub use gene::{Gene, enhancer_weight};

use super::{Background, Site, draw};
use crate::error::{Error, Result};
use crate::motif::Pwm;
use crate::seq::Sequences;
use crate::stat;
use crate::util::philox::Philox;

/// Philox purposes: "SIm" and so on, the letters of the other simulation in lower case.
const MOTIFS: u64 = 0x5349_4D6D << 32;
const TRANSCRIPTION: u64 = 0x5349_4D74 << 32;
const DEGRADATION: u64 = 0x5349_4D64 << 32;
const GENE: u64 = 0x5349_4D67 << 32;
const NOISE: u64 = 0x5349_4D6E << 32;
const CHROMOSOMES: u64 = 0x5349_4D63 << 32;

/// Largest size of a region, a window, or the number of tracks: what is more is a mistake.
const MOST: usize = 10_000_000;

/// What to simulate. On 1000 genes and the defaults otherwise a CNN of one convolution (64 kernels, max pooling, one dense
/// layer) reaches, on chromosomes that it has not seen, a mean r over the tracks of 0.66 in 10 epochs and 0.77 in 20 from RNA
/// to degradation, and of 0.66 in 20 from DNA to transcription: seconds. The regions of larger studies are enhancers of 100 bp, spacers of up to 200, a promoter of 100,
/// UTRs of 100 and 200 and a CDS of 250 to 500, with 60 TFs, 40 RBPs and 81 cell types.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// Number of genes.
    pub genes: usize,
    /// Number of cell types, the classes of the tracks.
    pub celltypes: usize,
    /// Number of conditions of each cell type; every cell type in every condition is a track.
    pub conditions: usize,
    /// Number of transcription factors, a motif each.
    pub tf: usize,
    /// Number of RNA-binding proteins, a motif each.
    pub rbp: usize,
    /// Widths of the motifs in bp.
    pub width: RangeInclusive<usize>,
    /// Mean number of sites in each enhancer, promoter and UTR (Poisson; what does not fit is not planted).
    pub sites: f64,
    /// Length of both enhancers in bp; 0 for none.
    pub enhancer: usize,
    /// Greatest length of the spacers between an enhancer and the rest in bp; each is drawn from 0 upwards.
    pub spacer: usize,
    /// Length of the promoter, which ends at the start site, in bp.
    pub promoter: usize,
    /// Length of the 5'UTR in bp; 0 for none.
    pub utr5: usize,
    /// Length of the coding sequence in bp, drawn among the multiples of three.
    pub cds: RangeInclusive<usize>,
    /// Length of the 3'UTR in bp.
    pub utr3: usize,
    /// Length of the DNA around the start site in bp; what the regions do not need is background on both sides, halved.
    /// Without it, what the longest gene needs.
    pub dna_length: Option<usize>,
    /// Length of the RNA in bp; shorter transcripts are filled with unknown bases at the end. Without it, the length of
    /// the longest transcript that the regions allow.
    pub rna_length: Option<usize>,
    /// Distance in bp at which an enhancer has 1/e of its effect; see [`enhancer_weight`].
    pub reach: f64,
    /// GC content of the bases without motif.
    pub gc: f64,
    /// Fraction of the TFs that raise transcription; the others lower it.
    pub activators: f64,
    /// Fraction of the RBPs that lower degradation; the others raise it.
    pub stabilizers: f64,
    /// Fraction of the motifs that act in all cell types.
    pub universal: f64,
    /// Fraction of the cell types that each other motif acts in.
    pub active: f64,
    /// Fraction of the motifs whose effects depend on the condition.
    pub responsive: f64,
    /// Standard deviation of the noise of a rate relative to that of the noiseless rate in the track.
    pub noise: f64,
    /// Number of chromosomes that the genes are divided among at random.
    pub chromosomes: usize,
    /// Number of sets for cross-validation; all genes of a chromosome are in one.
    pub folds: usize,
    /// Seed of all draws.
    pub seed: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            genes: 400,
            celltypes: 3,
            conditions: 4,
            tf: 8,
            rbp: 6,
            width: 8..=12,
            sites: 2.0,
            enhancer: 70,
            spacer: 40,
            promoter: 80,
            utr5: 70,
            cds: 60..=120,
            utr3: 110,
            dna_length: None,
            rna_length: None,
            reach: 300.0,
            gc: 0.5,
            activators: 0.7,
            stabilizers: 0.3,
            universal: 0.2,
            active: 0.4,
            responsive: 0.5,
            noise: 0.25,
            chromosomes: 20,
            folds: 10,
            seed: 1,
        }
    }
}

/// One kind of measurement, in log2.
#[derive(Debug, Clone, PartialEq)]
pub struct Rate {
    /// With noise, row-major [G, T].
    pub measured: Vec<f64>,
    /// Without noise, row-major [G, T].
    pub signal: Vec<f64>,
}

/// Proteins that bind one kind of sequence, and where they do.
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// The M motifs.
    pub motifs: Vec<Pwm>,
    /// What one site of a motif adds to the rate that these proteins set, row-major [M, T]; for one in an enhancer, times
    /// the weight of the enhancer.
    pub effects: Vec<f64>,
    /// Planted sites by gene and start, with what each adds to the rate; `sequence` is the index of the gene. The sites of
    /// a gene do not overlap.
    pub sites: Vec<Site>,
}

/// Simulated genes and everything that made them.
#[derive(Debug, Clone, PartialEq)]
pub struct Process {
    /// The G genes, their names in alphabetical order.
    pub genes: Vec<Gene>,
    /// DNA around the start site, [G, L], all with the start site at the same position.
    pub dna: Sequences,
    /// Transcripts [G, R], filled with [`crate::seq::UNKNOWN`] at the end.
    pub rna: Sequences,
    /// Names of the T tracks, conditions of a cell type side by side.
    pub tracks: Vec<String>,
    /// Cell type of each track.
    pub celltypes: Vec<String>,
    /// Transcription factors, their sites in the DNA, their effects on log2 KT (and, the same, on log2 expression).
    pub tf: Binding,
    /// RNA-binding proteins, their sites in the RNA, their effects on log2 KD (and, negated, on log2 expression).
    pub rbp: Binding,
    /// Expression: `intronic - degrad` where there is no noise.
    pub exonic: Rate,
    /// Transcription, log2 KT.
    pub intronic: Rate,
    /// Degradation, log2 KD.
    pub degrad: Rate,
    /// Sets of genes for cross-validation; indices ascend in each.
    pub folds: Vec<Vec<usize>>,
    /// Seed of all draws.
    pub seed: u64,
}

/// Simulates genes, their rates and their ground truth.
///
/// # Errors
/// [`Error::Usage`] naming the option that cannot be used.
pub fn process(options: &Options) -> Result<Process> {
    let plan = options.check()?;
    let count = options.tf + options.rbp;
    let mut tf = draw::motifs(&mut Philox::new(options.seed, MOTIFS), count, options.width.clone());
    let mut rbp = tf.split_off(options.tf);
    for (kind, motifs) in [("tf", &mut tf), ("rbp", &mut rbp)] {
        motifs.iter_mut().enumerate().for_each(|(m, motif)| motif.name = format!("{kind}{}", m + 1));
    }
    let raises = |fraction: f64, of: usize| (fraction * of as f64).round() as usize;
    let effects = |purpose, motifs: usize, raising| {
        activity::effects(&mut Philox::new(options.seed, purpose), options, motifs, raising)
    };
    let tf_effects = effects(TRANSCRIPTION, options.tf, raises(options.activators, options.tf));
    let rbp_effects = effects(DEGRADATION, options.rbp, options.rbp - raises(options.stabilizers, options.rbp));

    let tracks = options.celltypes * options.conditions;
    let background = Background::Gc(options.gc).sampler();
    let chromosomes = chromosomes(options);
    let digits = options.genes.to_string().len();
    let drawn: Vec<gene::Drawn> = (0..options.genes)
        .into_par_iter()
        .map(|g| {
            let named = (format!("gene{:0digits$}", g + 1), format!("chr{}", chromosomes[g] + 1));
            let mut drawn = gene::draw(options, &plan, &background, g, named, (&tf, &rbp));
            gene::weigh(&mut drawn, options, tracks, (&tf_effects, &rbp_effects));
            drawn
        })
        .collect();

    let mut all = Gathered::default();
    for gene in drawn {
        all.intronic.extend(sums(&gene.dna_sites, tracks));
        all.degrad.extend(sums(&gene.rna_sites, tracks));
        all.dna.extend(gene.dna);
        all.rna.extend(gene.rna);
        all.dna_sites.extend(gene.dna_sites);
        all.rna_sites.extend(gene.rna_sites);
        all.genes.push(gene.gene);
    }
    let [exonic, intronic, degrad] = measure(options, tracks, all.intronic, all.degrad);
    let names: Vec<String> = all.genes.iter().map(|g| g.name.clone()).collect();
    let of_track = |t: usize| (t / options.conditions + 1, t % options.conditions + 1);
    Ok(Process {
        dna: Sequences::from_packed(names.clone(), plan.dna_length, all.dna, 0)?,
        rna: Sequences::from_packed(names, plan.rna_length, all.rna, 0)?,
        genes: all.genes,
        tracks: (0..tracks).map(of_track).map(|(cell, c)| format!("cell{cell}_condition{c}")).collect(),
        celltypes: (0..tracks).map(of_track).map(|(cell, _)| format!("cell{cell}")).collect(),
        tf: Binding { motifs: tf, effects: tf_effects, sites: all.dna_sites },
        rbp: Binding { motifs: rbp, effects: rbp_effects, sites: all.rna_sites },
        exonic,
        intronic,
        degrad,
        folds: folds(&chromosomes, options),
        seed: options.seed,
    })
}

/// What is put together gene by gene.
#[derive(Default)]
struct Gathered {
    genes: Vec<Gene>,
    dna: Vec<u8>,
    rna: Vec<u8>,
    dna_sites: Vec<Site>,
    rna_sites: Vec<Site>,
    intronic: Vec<f64>,
    degrad: Vec<f64>,
}

/// Sum of the effects of sites in each track.
fn sums(sites: &[Site], tracks: usize) -> Vec<f64> {
    (0..tracks).map(|t| sites.iter().map(|site| site.effects[t]).sum()).collect()
}

/// Expression, transcription and degradation with noise. Half of the variance of the noise of a rate belongs to the gene:
/// it is what the sequence does not explain, the same in all tracks, and expression has it too. The other half is the
/// error of each measurement.
fn measure(options: &Options, tracks: usize, intronic: Vec<f64>, degrad: Vec<f64>) -> [Rate; 3] {
    let exonic: Vec<f64> = intronic.iter().zip(&degrad).map(|(kt, kd)| kt - kd).collect();
    let scale = |signal: &[f64]| -> Vec<f64> {
        let sd = |t| stat::sd(&signal.iter().skip(t).step_by(tracks).copied().collect::<Vec<_>>());
        (0..tracks).map(|t| sd(t) * options.noise / 2f64.sqrt()).collect()
    };
    let scales = [&exonic, &intronic, &degrad].map(|signal| scale(signal));
    let mut rates = [exonic, intronic, degrad].map(|signal| Rate { measured: signal.clone(), signal });
    for g in 0..options.genes {
        let mut random = Philox::new(options.seed, NOISE | g as u64);
        let of_gene = [random.normal(), random.normal()];
        for t in 0..tracks {
            let [kt, kd] = [of_gene[0] * scales[1][t], of_gene[1] * scales[2][t]];
            for (r, shift) in [kt - kd, kt, kd].into_iter().enumerate() {
                rates[r].measured[g * tracks + t] += shift + random.normal() * scales[r][t];
            }
        }
    }
    rates
}

/// Chromosome of each gene; every chromosome has one at least.
fn chromosomes(options: &Options) -> Vec<usize> {
    let mut random = Philox::new(options.seed, CHROMOSOMES);
    let mut of: Vec<usize> = (0..options.genes)
        .map(|g| if g < options.chromosomes { g } else { random.below(options.chromosomes) })
        .collect();
    random.shuffle(&mut of);
    of
}

/// Sets of whole chromosomes: the largest chromosomes first, each to the set that has the fewest genes so far.
fn folds(chromosomes: &[usize], options: &Options) -> Vec<Vec<usize>> {
    let mut genes = vec![Vec::new(); options.chromosomes];
    chromosomes.iter().enumerate().for_each(|(g, &c)| genes[c].push(g));
    genes.sort_by_key(|of| std::cmp::Reverse(of.len()));
    let mut sets = vec![Vec::new(); options.folds];
    for of in genes {
        if let Some(smallest) = sets.iter_mut().min_by_key(|set| set.len()) {
            smallest.extend(of);
        }
    }
    sets.iter_mut().for_each(|set| set.sort_unstable());
    sets
}

/// Lengths that follow from the options.
struct Plan {
    dna_length: usize,
    rna_length: usize,
    /// Start site in the DNA.
    tss: usize,
    /// Lengths that the coding sequence can have, in codons.
    codons: RangeInclusive<usize>,
}

impl Options {
    fn check(&self) -> Result<Plan> {
        let counts =
            [("celltypes", self.celltypes), ("conditions", self.conditions), ("tf", self.tf), ("rbp", self.rbp)];
        for (option, count) in counts {
            if count == 0 {
                return refuse(option, "1 or more", &count);
            }
        }
        if self.celltypes.saturating_mul(self.conditions) > MOST {
            return refuse("conditions", &format!("{MOST} tracks at most"), &self.conditions);
        }
        if self.folds < 3 {
            return refuse("folds", "3 or more: one to test, one to validate, the rest to train", &self.folds);
        }
        if self.chromosomes < self.folds {
            let expected = format!("{} or more, a chromosome for each fold", self.folds);
            return refuse("chromosomes", &expected, &self.chromosomes);
        }
        if self.genes < self.chromosomes || u32::try_from(self.genes).is_err() {
            let expected = format!("{} (a gene for each chromosome) to 2^32 - 1", self.chromosomes);
            return refuse("genes", &expected, &self.genes);
        }
        let fractions = [
            ("activators", self.activators),
            ("stabilizers", self.stabilizers),
            ("universal", self.universal),
            ("active", self.active),
            ("responsive", self.responsive),
            ("gc", self.gc),
        ];
        for (option, fraction) in fractions {
            if !(0.0..=1.0).contains(&fraction) {
                return refuse(option, "a fraction from 0 to 1", &fraction);
            }
        }
        if !(self.noise >= 0.0 && self.noise.is_finite()) {
            return refuse("noise", "0 or more", &self.noise);
        }
        if !(self.reach > 0.0 && self.reach.is_finite()) {
            return refuse("reach", "a distance above 0 bp", &self.reach);
        }
        self.check_regions()?;
        self.plan()
    }

    /// Every region with motifs holds the widest of them, and as many as asked for.
    fn check_regions(&self) -> Result<()> {
        let (low, high) = (*self.width.start(), *self.width.end());
        if low < 4 || low > high || high > MOST {
            return refuse("width", "a range from 4 or more upwards", &format!("{low} to {high}"));
        }
        let regions = [
            ("enhancer", self.enhancer, true),
            ("promoter", self.promoter, false),
            ("utr5", self.utr5, true),
            ("utr3", self.utr3, false),
        ];
        for (option, length, may_miss) in regions {
            if length < high && !(may_miss && length == 0) {
                let or = if may_miss { ", or 0 for none" } else { "" };
                return refuse(option, &format!("at least the widest motif, {high} bp{or}"), &length);
            }
        }
        for (option, length) in regions.map(|(o, l, _)| (o, l)).into_iter().chain([("spacer", self.spacer)]) {
            if length > MOST {
                return refuse(option, &format!("at most {MOST} bp"), &length);
            }
        }
        let smallest = regions.iter().filter(|r| r.1 > 0).min_by_key(|r| r.1);
        let (option, length) = smallest.map_or(("promoter", self.promoter), |r| (r.0, r.1));
        let most = length as f64 / ((low + high) as f64 / 2.0);
        if !(self.sites > 0.0 && self.sites <= most) {
            let expected = format!("above 0 and at most {most:.1} ({length} bp of {option} hold no more motifs)");
            return refuse("sites", &expected, &self.sites);
        }
        Ok(())
    }

    fn plan(&self) -> Result<Plan> {
        let (low, high) = (*self.cds.start(), *self.cds.end());
        let codons = low.div_ceil(3)..=high / 3;
        if low > high || high > MOST || *codons.start() < 2 || codons.is_empty() {
            let expected = format!("a range from 6 (start and stop) to {MOST} bp with a multiple of three");
            return refuse("cds", &expected, &format!("{low} to {high}"));
        }
        let transcript = self.utr5 + 3 * codons.end() + self.utr3;
        let upstream = self.enhancer + self.spacer + self.promoter;
        let gene = upstream + transcript + self.spacer + self.enhancer;
        let dna_length = self.dna_length.unwrap_or(gene);
        let rna_length = self.rna_length.unwrap_or(transcript);
        for (option, length, least, of) in [
            ("dna_length", dna_length, gene, "the longest gene from enhancer to enhancer"),
            ("rna_length", rna_length, transcript, "the longest transcript"),
        ] {
            if length < least || length > least.max(MOST) {
                let expected = format!("at least {least} bp, {of} (or shorter regions), and at most {MOST}");
                return refuse(option, &expected, &length);
            }
        }
        Ok(Plan { dna_length, rna_length, tss: (dna_length - gene) / 2 + upstream, codons })
    }
}

fn refuse<T>(option: &str, expected: &str, found: &dyn Display) -> Result<T> {
    Err(Error::Usage(format!("{option}: expected {expected}; found {found}")))
}

#[cfg(test)]
mod tests;
