//! A simulated genome and variants of it.

use std::io::Write;

use rayon::prelude::*;

use super::{GENOME, Options, VARIANTS, draw};
use crate::error::{Error, Result};
use crate::motif::Pwm;
use crate::seq::ALPHABET;
use crate::util::philox::Philox;

/// Bases in a line of the FASTA file.
const LINE: usize = 80;
/// Inserted or deleted bases at most.
const LONGEST: usize = 12;
/// Positions of the last chromosome behind which variants off its end lie, at most.
const BEYOND: usize = 1000;

/// Size of a genome, and how many variants it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenomeOptions {
    /// Number of chromosomes.
    pub chromosomes: usize,
    /// Length of each in bp.
    pub length: usize,
    /// Number of variants on all of them.
    pub variants: usize,
}

impl Default for GenomeOptions {
    fn default() -> Self {
        Self { chromosomes: 2, length: 100_000, variants: 0 }
    }
}

/// What a simulated variant is. Its name in files starts with the name of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariantKind {
    /// One base becomes another.
    Snv,
    /// Two to five bases become others.
    Mnv,
    /// Bases are put in behind the first.
    Insertion,
    /// Bases behind the first are left out.
    Deletion,
    /// A substitution whose reference allele is not what the genome has.
    Wrong,
    /// A substitution at a position that the chromosome does not reach.
    Beyond,
}

impl VariantKind {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Snv => "snv",
            Self::Mnv => "mnv",
            Self::Insertion => "ins",
            Self::Deletion => "del",
            Self::Wrong => "wrong",
            Self::Beyond => "beyond",
        }
    }
}

/// A variant of a simulated genome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedVariant {
    /// Index of the chromosome.
    pub chromosome: usize,
    /// First base of the reference allele, 0-based.
    pub position: usize,
    /// What it is.
    pub kind: VariantKind,
    /// Reference allele in letters.
    pub reference: String,
    /// Alternative allele in letters.
    pub alternative: String,
}

/// Chromosomes and variants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimulatedGenome {
    /// Names of the chromosomes.
    pub names: Vec<String>,
    /// Their bases: 0, 1, 2, 3 = A, C, G, T.
    pub chromosomes: Vec<Vec<u8>>,
    /// Variants by chromosome and position.
    pub variants: Vec<SimulatedVariant>,
}

/// Simulates a genome of sequences as `options` describes them, end to end, with `motifs` planted in each of them, and
/// variants at random places: 70 % SNVs, 10 % MNVs, 9 % insertions and as many deletions of 1 to 12 bp, and of the rest
/// most have a wrong reference allele and some lie off the end. The same seed gives the same genome, whatever the number
/// of variants.
///
/// # Errors
/// [`Error::Usage`] naming the option that cannot be used.
pub fn genome(options: &Options, motifs: &[Pwm], size: &GenomeOptions) -> Result<SimulatedGenome> {
    if size.chromosomes == 0 {
        return Err(Error::Usage("chromosomes: expected 1 or more, found 0".into()));
    }
    if size.length < 4 * LONGEST {
        let what = format!("chromosome_length: expected {} or more, found {}", 4 * LONGEST, size.length);
        return Err(Error::Usage(what));
    }
    let tiles = size.length.div_ceil(options.length.max(1));
    if u32::try_from(tiles.saturating_mul(size.chromosomes)).is_err() {
        let what = format!("chromosome_length: {} chromosomes of {} bp are too many", size.chromosomes, size.length);
        return Err(Error::Usage(what));
    }
    if u32::try_from(size.variants).is_err() {
        return Err(Error::Usage(format!("variants: expected fewer than 2^32, found {}", size.variants)));
    }
    let background = options.background.sampler();
    let tile = |n: usize| {
        let mut random = Philox::new(options.seed, GENOME | n as u64);
        let sites = draw::sites(&mut random, n, options, motifs);
        let mut bases = background.sequence(&mut random, options.length);
        for site in &sites {
            draw::instance(&mut random, &motifs[site.motif], site.strand, &mut bases[site.start..site.end]);
        }
        bases
    };
    let chromosome = |c: usize| {
        let tiles: Vec<Vec<u8>> = (c * tiles..(c + 1) * tiles).into_par_iter().map(tile).collect();
        let mut bases = tiles.concat();
        bases.truncate(size.length);
        bases
    };
    let chromosomes: Vec<Vec<u8>> = (0..size.chromosomes).map(chromosome).collect();
    let mut variants: Vec<SimulatedVariant> = (0..size.variants)
        .map(|v| variant(&mut Philox::new(options.seed, VARIANTS | v as u64), &chromosomes))
        .collect();
    variants.sort_by_key(|v| (v.chromosome, v.position));
    let names = (1..=size.chromosomes).map(|c| format!("chr{c}")).collect();
    Ok(SimulatedGenome { names, chromosomes, variants })
}

impl SimulatedGenome {
    /// FASTA with lines of 80 bases.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_fasta(&self, out: &mut dyn Write) -> std::io::Result<()> {
        for (name, bases) in self.names.iter().zip(&self.chromosomes) {
            writeln!(out, ">{name}")?;
            for line in bases.chunks(LINE) {
                out.write_all(letters(line).as_bytes())?;
                out.write_all(b"\n")?;
            }
        }
        Ok(())
    }

    /// VCF 4.3; the names of the variants are their kinds with a number.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write_vcf(&self, out: &mut dyn Write) -> std::io::Result<()> {
        writeln!(out, "##fileformat=VCFv4.3")?;
        for (name, bases) in self.names.iter().zip(&self.chromosomes) {
            writeln!(out, "##contig=<ID={name},length={}>", bases.len())?;
        }
        writeln!(out, "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO")?;
        for (i, v) in self.variants.iter().enumerate() {
            let (name, position, kind) = (&self.names[v.chromosome], v.position + 1, v.kind.name());
            writeln!(out, "{name}\t{position}\t{kind}{}\t{}\t{}\t.\t.\t.", i + 1, v.reference, v.alternative)?;
        }
        Ok(())
    }
}

fn variant(random: &mut Philox, chromosomes: &[Vec<u8>]) -> SimulatedVariant {
    let chromosome = random.below(chromosomes.len());
    let bases = &chromosomes[chromosome];
    let kind = match random.below(100) {
        0..70 => VariantKind::Snv,
        70..80 => VariantKind::Mnv,
        80..89 => VariantKind::Insertion,
        89..97 => VariantKind::Deletion,
        97..99 => VariantKind::Wrong,
        _ => VariantKind::Beyond,
    };
    let size = match kind {
        VariantKind::Mnv => 2 + random.below(4),
        VariantKind::Insertion | VariantKind::Deletion => 1 + random.below(LONGEST),
        _ => 1,
    };
    // A deletion has its anchor before it.
    let span = match kind {
        VariantKind::Deletion => size + 1,
        VariantKind::Insertion => 1,
        _ => size,
    };
    let position = match kind {
        VariantKind::Beyond => bases.len() + random.below(BEYOND),
        _ => random.below(bases.len() - span + 1),
    };
    let other = |random: &mut Philox, base: u8| (base + 1 + random.below(3) as u8) % 4;
    let (reference, alternative) = match kind {
        VariantKind::Insertion => {
            let added = (0..size).map(|_| random.below(4) as u8);
            (vec![bases[position]], std::iter::once(bases[position]).chain(added).collect())
        }
        VariantKind::Deletion => (bases[position..position + span].to_vec(), vec![bases[position]]),
        VariantKind::Snv | VariantKind::Mnv => {
            let reference = bases[position..position + span].to_vec();
            let alternative = reference.iter().map(|&b| other(random, b)).collect();
            (reference, alternative)
        }
        VariantKind::Wrong | VariantKind::Beyond => {
            let is = bases.get(position).copied().unwrap_or(0);
            let said = other(random, is);
            (vec![said], vec![other(random, said)])
        }
    };
    SimulatedVariant { chromosome, position, kind, reference: letters(&reference), alternative: letters(&alternative) }
}

fn letters(codes: &[u8]) -> String {
    codes.iter().map(|&code| char::from(ALPHABET[usize::from(code)])).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Background, simulate};
    use super::*;

    fn simulated(variants: usize) -> SimulatedGenome {
        let options = Options { sequences: 1, length: 60, background: Background::Gc(0.4), ..Options::default() };
        let motifs = simulate(&options).unwrap().motifs;
        genome(&options, &motifs, &GenomeOptions { chromosomes: 3, length: 1003, variants }).unwrap()
    }

    #[test]
    fn variants_are_what_their_kind_says() {
        let g = simulated(4000);
        assert_eq!((g.names.len(), g.variants.len()), (3, 4000));
        assert!(g.chromosomes.iter().all(|c| c.len() == 1003));
        assert_ne!(g.chromosomes[0], g.chromosomes[1]);
        let share = |kind| g.variants.iter().filter(|v| v.kind == kind).count() as f64 / 4000.0;
        for (kind, expected) in [
            (VariantKind::Snv, 0.7),
            (VariantKind::Mnv, 0.1),
            (VariantKind::Insertion, 0.09),
            (VariantKind::Deletion, 0.08),
            (VariantKind::Wrong, 0.02),
            (VariantKind::Beyond, 0.01),
        ] {
            assert!((share(kind) - expected).abs() < 0.02, "{kind:?}: {}", share(kind));
        }
        for v in &g.variants {
            let (r, a) = (v.reference.len(), v.alternative.len());
            let is = g.chromosomes[v.chromosome].get(v.position..v.position + r).map(letters);
            assert_ne!(v.reference, v.alternative, "{v:?}");
            let fits = is.as_ref() == Some(&v.reference);
            match v.kind {
                VariantKind::Snv => assert!(fits && (r, a) == (1, 1)),
                VariantKind::Mnv => assert!(fits && r == a && (2..=5).contains(&r)),
                VariantKind::Insertion => assert!(fits && r == 1 && a > 1 && v.alternative.starts_with(&v.reference)),
                VariantKind::Deletion => assert!(fits && a == 1 && r > 1 && v.reference.starts_with(&v.alternative)),
                VariantKind::Wrong => assert!(is.is_some() && !fits),
                VariantKind::Beyond => assert!(is.is_none()),
            }
        }
        assert!(g.variants.is_sorted_by_key(|v| (v.chromosome, v.position)));
        assert_eq!(simulated(10).chromosomes, g.chromosomes);
    }

    #[test]
    fn files() {
        let g = simulated(30);
        let text = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        let fasta = text(&|out| g.write_fasta(out).unwrap());
        assert_eq!(fasta.lines().filter(|l| l.starts_with('>')).collect::<Vec<_>>(), [">chr1", ">chr2", ">chr3"]);
        assert_eq!(fasta.lines().skip(1).take(13).collect::<String>(), letters(&g.chromosomes[0]));
        let vcf = text(&|out| g.write_vcf(out).unwrap());
        assert!(vcf.contains("##contig=<ID=chr2,length=1003>\n"));
        assert_eq!(vcf.lines().filter(|l| !l.starts_with('#')).count(), 30);
    }

    #[test]
    fn sizes_are_checked() {
        let options = Options::default();
        let motifs = simulate(&Options { sequences: 1, ..Options::default() }).unwrap().motifs;
        let of = |chromosomes, length| {
            genome(&options, &motifs, &GenomeOptions { chromosomes, length, variants: 0 }).unwrap_err().to_string()
        };
        assert!(of(0, 1000).contains("chromosomes: expected 1 or more"));
        assert!(of(1, 47).contains("48 or more, found 47"));
        assert!(of(1 << 40, 1 << 40).contains("too many"));
    }
}
