//! One gene: where its regions lie, its bases, its sites.

use std::ops::Range;

use super::{GENE, Options, Plan};
use crate::motif::{Pwm, Strand};
use crate::seq::UNKNOWN;
use crate::simulate::Site;
use crate::simulate::background::Sampler;
use crate::simulate::draw::{instance, places};
use crate::util::philox::Philox;

/// Least weight of an enhancer.
const FARTHEST: f64 = 0.2;
const START: [u8; 3] = [0, 3, 2]; // ATG
const STOPS: [[u8; 3]; 3] = [[3, 0, 0], [3, 0, 2], [3, 2, 0]]; // TAA, TAG, TGA

/// A gene and its regions, as positions in its DNA, 0-based half-open. In the RNA they begin [`Gene::tss`] earlier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gene {
    /// Its name.
    pub name: String,
    /// Its chromosome.
    pub chromosome: String,
    /// The enhancer before the promoter; empty where there is none.
    pub upstream: Range<usize>,
    /// The promoter, up to the start site.
    pub promoter: Range<usize>,
    /// The untranslated region before the coding sequence; empty where there is none.
    pub utr5: Range<usize>,
    /// The coding sequence, start and stop codon included.
    pub cds: Range<usize>,
    /// The untranslated region behind the coding sequence.
    pub utr3: Range<usize>,
    /// The enhancer behind the gene; empty where there is none.
    pub downstream: Range<usize>,
}

impl Gene {
    /// Start site of transcription: the first position of the transcript.
    pub fn tss(&self) -> usize {
        self.promoter.end
    }

    /// What is transcribed.
    pub fn transcript(&self) -> Range<usize> {
        self.tss()..self.utr3.end
    }

    /// Distance in bp of the middle of a region from the start site.
    pub fn distance(&self, region: &Range<usize>) -> f64 {
        ((region.start + region.end) as f64 / 2.0 - self.tss() as f64).abs()
    }
}

/// Share of their effect that sites in an enhancer have whose middle lies `distance` bp from the start site:
/// `max(0.2, exp(-(distance / reach)^2))`.
pub fn enhancer_weight(distance: f64, reach: f64) -> f64 {
    (-(distance / reach).powi(2)).exp().max(FARTHEST)
}

/// A gene with its sequences and its sites.
pub(super) struct Drawn {
    pub(super) gene: Gene,
    pub(super) dna: Vec<u8>,
    pub(super) rna: Vec<u8>,
    /// Sites of TFs, as positions in the DNA.
    pub(super) dna_sites: Vec<Site>,
    /// Sites of RBPs, as positions in the RNA.
    pub(super) rna_sites: Vec<Site>,
}

/// Draws gene number `g` of this name and chromosome, its sites still without effects.
pub(super) fn draw(
    options: &Options,
    plan: &Plan,
    background: &Sampler,
    g: usize,
    named: (String, String),
    (tf, rbp): (&[Pwm], &[Pwm]),
) -> Drawn {
    let mut random = Philox::new(options.seed, GENE | g as u64);
    let gene = lay_out(&mut random, options, plan, named);
    let mut dna = background.sequence(&mut random, plan.dna_length);
    write_codons(&mut random, background, &mut dna[gene.cds.clone()]);

    let mut plant = |region: &Range<usize>, motifs: &[Pwm], both_strands: bool| -> Vec<Site> {
        let places = if region.is_empty() {
            Vec::new()
        } else {
            places(&mut random, region.len(), options.sites, both_strands, motifs)
        };
        let mut sites = Vec::with_capacity(places.len());
        for place in places {
            let (start, end) = (region.start + place.start, region.start + place.end);
            instance(&mut random, &motifs[place.motif], place.strand, &mut dna[start..end]);
            sites.push(Site { sequence: g, start, end, strand: place.strand, motif: place.motif, effects: Vec::new() });
        }
        sites
    };
    let dna_sites = [&gene.upstream, &gene.promoter, &gene.downstream].map(|region| plant(region, tf, true)).concat();
    let mut rna_sites = [&gene.utr5, &gene.utr3].map(|region| plant(region, rbp, false)).concat();
    debug_assert!(rna_sites.iter().all(|site| site.strand == Strand::Forward), "a transcript is one strand");
    for site in &mut rna_sites {
        site.start -= gene.tss();
        site.end -= gene.tss();
    }
    let mut rna = dna[gene.transcript()].to_vec();
    rna.resize(plan.rna_length, UNKNOWN);
    Drawn { gene, dna, rna, dna_sites, rna_sites }
}

/// Gives each site its effects: those [M, T] of its motif, in an enhancer times the weight of the enhancer.
pub(super) fn weigh(drawn: &mut Drawn, options: &Options, tracks: usize, (tf, rbp): (&[f64], &[f64])) {
    let gene = &drawn.gene;
    for site in &mut drawn.dna_sites {
        let enhancer = [&gene.upstream, &gene.downstream].into_iter().find(|region| region.contains(&site.start));
        let weight = enhancer.map_or(1.0, |region| enhancer_weight(gene.distance(region), options.reach));
        site.effects = tf[site.motif * tracks..][..tracks].iter().map(|e| e * weight).collect();
    }
    for site in &mut drawn.rna_sites {
        site.effects = rbp[site.motif * tracks..][..tracks].to_vec();
    }
}

fn lay_out(random: &mut Philox, options: &Options, plan: &Plan, (name, chromosome): (String, String)) -> Gene {
    let spacers = [(); 2].map(|()| random.below(options.spacer + 1));
    let codons = plan.codons.start() + random.below(plan.codons.end() - plan.codons.start() + 1);
    let promoter = plan.tss - options.promoter..plan.tss;
    let behind = promoter.start - spacers[0];
    let utr5 = plan.tss..plan.tss + options.utr5;
    let cds = utr5.end..utr5.end + 3 * codons;
    let utr3 = cds.end..cds.end + options.utr3;
    let downstream = utr3.end + spacers[1]..utr3.end + spacers[1] + options.enhancer;
    Gene { name, chromosome, upstream: behind - options.enhancer..behind, promoter, utr5, cds, utr3, downstream }
}

/// Writes a reading frame over `place`: a start codon, codons that are no stop, a stop codon.
fn write_codons(random: &mut Philox, background: &Sampler, place: &mut [u8]) {
    let codons = place.len() / 3;
    for (i, codon) in place.chunks_exact_mut(3).enumerate() {
        if i == 0 {
            codon.copy_from_slice(&START);
        } else if i + 1 == codons {
            codon.copy_from_slice(&STOPS[random.below(STOPS.len())]);
        } else {
            // At most one codon in eight is a stop, where there is neither G nor C.
            codon.copy_from_slice(&sense(random, background));
        }
    }
}

/// A codon of the background that is no stop.
fn sense(random: &mut Philox, background: &Sampler) -> Vec<u8> {
    loop {
        let codon = background.sequence(random, STOPS[0].len());
        if STOPS.iter().all(|stop| *stop != *codon) {
            return codon;
        }
    }
}
