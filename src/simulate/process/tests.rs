use std::ops::Range;
use std::path::Path;

use super::*;
use crate::io::bed::read_bed;
use crate::io::classes::read_classes;
use crate::io::folds::Folds;
use crate::io::sequences::{SequenceOptions, read_sequences, write_one_hot};
use crate::io::table::Table;
use crate::io::targets::{TargetOptions, read_targets};
use crate::motif::{Scanner, Strand, meme};
use crate::seq::{UNKNOWN, reverse_complement};
use crate::util::fs::write_bytes;

fn small() -> Options {
    Options { genes: 120, ..Options::default() }
}

/// All sites of a kind, with the sequence that each lies in.
fn planted<'a>(of: &'a Binding, sequences: &'a Sequences) -> impl Iterator<Item = (&'a Site, &'a [u8])> {
    of.sites.iter().map(|site| (site, &sequences.row(site.sequence)[site.start..site.end]))
}

#[test]
fn regions_follow_each_other() {
    let p = process(&small()).unwrap();
    assert_eq!((p.dna.length, p.rna.length, p.dna.len(), p.rna.len()), (600, 300, 120, 120));
    assert!(p.dna.names.is_sorted() && p.dna.names == p.rna.names && p.dna.names[0] == "gene001");
    let mut spacers = [Vec::new(), Vec::new()];
    for (n, gene) in p.genes.iter().enumerate() {
        assert_eq!((gene.tss(), gene.promoter.clone()), (190, 110..190));
        assert_eq!((gene.upstream.len(), gene.downstream.len()), (70, 70));
        assert_eq!((gene.utr5.clone(), gene.cds.start, gene.utr3.len()), (190..260, 260, 110));
        assert!(gene.cds.end == gene.utr3.start && (60..=120).contains(&gene.cds.len()) && gene.cds.len() % 3 == 0);
        spacers[0].push(gene.promoter.start - gene.upstream.end);
        spacers[1].push(gene.downstream.start - gene.utr3.end);
        let transcript = &p.dna.row(n)[gene.transcript()];
        let (read, filled) = p.rna.row(n).split_at(transcript.len());
        assert!(read == transcript && filled.iter().all(|b| *b == UNKNOWN));
        assert!(p.dna.row(n).iter().all(|b| *b < 4));
    }
    for spacers in spacers {
        assert!(spacers.iter().all(|s| *s <= 40) && spacers.iter().any(|s| *s < 5) && spacers.iter().any(|s| *s > 35));
    }
}

#[test]
fn longer_windows_hold_background_on_both_sides() {
    let p = process(&Options { dna_length: Some(801), rna_length: Some(500), ..small() }).unwrap();
    assert_eq!((p.dna.length, p.rna.length, p.genes[0].tss()), (801, 500, 290));
    assert!(p.genes.iter().all(|g| g.upstream.start >= 100 && g.downstream.end <= 700));
    assert!(p.dna.bases.iter().all(|b| *b < 4));
    assert!((0..120).all(|n| p.rna.row(n)[300..].iter().all(|b| *b == UNKNOWN)));
}

#[test]
fn coding_sequences_are_read_to_their_end() {
    for gc in [0.0, 0.4, 1.0] {
        let p = process(&Options { gc, ..small() }).unwrap();
        for (n, gene) in p.genes.iter().enumerate() {
            let text: Vec<String> = p.dna.row(n)[gene.cds.clone()]
                .chunks(3)
                .map(|codon| codon.iter().map(|&code| char::from(crate::seq::decode(code))).collect())
                .collect();
            let stops = text.iter().filter(|codon| ["TAA", "TAG", "TGA"].contains(&codon.as_str())).count();
            assert!(text[0] == "ATG" && stops == 1, "{text:?}");
            assert!(["TAA", "TAG", "TGA"].contains(&text.last().unwrap().as_str()), "{text:?}");
        }
        let share = p.dna.bases.iter().filter(|b| [1, 2].contains(*b)).count() as f64 / p.dna.bases.len() as f64;
        assert!((share - gc).abs() < 0.2, "{share}: motifs and codons aside, the background is {gc}");
    }
}

/// The planted bases score nearly as high as the consensus, on the strand that the site says, and inside of a region that
/// such proteins bind.
#[test]
fn sites_hold_their_motifs() {
    let p = process(&small()).unwrap();
    for (of, sequences) in [(&p.tf, &p.dna), (&p.rbp, &p.rna)] {
        let scanners: Vec<Scanner> = of.motifs.iter().map(|m| Scanner::new(m, [0.25; 4], 1e-4).unwrap()).collect();
        let (mut reverse, mut strong, mut turned, mut exact) = (0, 0, 0, 0);
        for (site, bases) in planted(of, sequences) {
            let scanner = &scanners[site.motif];
            assert_eq!(bases.len(), scanner.width());
            let [forward, back] = scanner.scores(bases);
            let (right, wrong) = match site.strand {
                Strand::Forward => (forward[0], back[0]),
                Strand::Reverse => (back[0], forward[0]),
            };
            reverse += usize::from(site.strand == Strand::Reverse);
            strong += usize::from(right > 0.5 * scanner.max_score());
            turned += usize::from(wrong > right);
            let read = if site.strand == Strand::Reverse { reverse_complement(bases) } else { bases.to_vec() };
            exact += usize::from(read == of.motifs[site.motif].consensus_codes());
        }
        // Bases are drawn from the motif, so some instances have two or three others.
        let n = of.sites.len();
        let share = |count: usize| count as f64 / n as f64;
        assert!(
            n > 300 && share(strong) > 0.9 && share(turned) < 0.01 && share(exact) > 0.5,
            "{strong} {turned} {exact}"
        );
        assert!(if of == &p.tf { (share(reverse) - 0.5).abs() < 0.1 } else { reverse == 0 }, "{reverse}");
        assert!(of.sites.is_sorted_by_key(|site| (site.sequence, site.start)));
        assert!(of.sites.windows(2).all(|s| s[0].sequence < s[1].sequence || s[0].end <= s[1].start));
    }
    let within = |region: &Range<usize>, site: &Site| region.start <= site.start && site.end <= region.end;
    for site in &p.tf.sites {
        let gene = &p.genes[site.sequence];
        let regions = [&gene.upstream, &gene.promoter, &gene.downstream];
        assert_eq!(regions.into_iter().filter(|r| within(r, site)).count(), 1, "{site:?}");
    }
    for site in &p.rbp.sites {
        let gene = &p.genes[site.sequence];
        let regions = [&gene.utr5, &gene.utr3].map(|r| r.start - gene.tss()..r.end - gene.tss());
        assert_eq!(regions.iter().filter(|r| within(r, site)).count(), 1, "{site:?}");
    }
}

/// The rates again, from the motifs' effects, the places of the sites and the regions of the genes alone.
#[test]
fn signals_follow_from_the_sites() {
    let options = Options { reach: 150.0, ..small() };
    let p = process(&options).unwrap();
    let tracks = p.tracks.len();
    let (mut kt, mut kd) = (vec![0.0; 120 * tracks], vec![0.0; 120 * tracks]);
    let mut weights = Vec::new();
    for site in &p.tf.sites {
        let gene = &p.genes[site.sequence];
        let weight = if site.start < gene.promoter.start || site.start >= gene.tss() {
            let middle = if site.start < gene.tss() { gene.upstream.start + 35 } else { gene.downstream.start + 35 };
            let distance = middle.abs_diff(gene.tss()) as f64 / 150.0;
            weights.push(f64::max(0.2, (-distance * distance).exp()));
            *weights.last().unwrap()
        } else {
            1.0
        };
        for t in 0..tracks {
            kt[site.sequence * tracks + t] += weight * p.tf.effects[site.motif * tracks + t];
        }
    }
    for site in &p.rbp.sites {
        for t in 0..tracks {
            kd[site.sequence * tracks + t] += p.rbp.effects[site.motif * tracks + t];
        }
    }
    let close = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
    assert!(close(&p.intronic.signal, &kt) && close(&p.degrad.signal, &kd));
    let expression: Vec<f64> = kt.iter().zip(&kd).map(|(kt, kd)| kt - kd).collect();
    assert!(close(&p.exonic.signal, &expression));
    assert!(weights.contains(&0.2) && weights.iter().any(|w| *w > 0.4), "near and far enhancers");
}

#[test]
fn expression_is_transcription_by_degradation() {
    let p = process(&Options { noise: 0.0, ..small() }).unwrap();
    for rate in [&p.exonic, &p.intronic, &p.degrad] {
        assert_eq!(rate.measured, rate.signal);
    }
    let zero = |((ex, kt), kd): ((&f64, &f64), &f64)| ex - (kt - kd) == 0.0;
    assert!(p.exonic.measured.iter().zip(&p.intronic.measured).zip(&p.degrad.measured).all(zero));
    assert!(p.degrad.signal.iter().any(|v| *v < 0.0) && p.degrad.signal.iter().any(|v| *v > 0.0));
}

#[test]
fn noise_has_the_asked_size_and_a_part_of_each_gene() {
    let p = process(&Options { genes: 3000, noise: 0.5, ..Options::default() }).unwrap();
    let tracks = p.tracks.len();
    let column = |values: &[f64], t: usize| -> Vec<f64> { values.iter().skip(t).step_by(tracks).copied().collect() };
    let noise = |rate: &Rate, t: usize| -> Vec<f64> {
        column(&rate.measured, t).iter().zip(column(&rate.signal, t)).map(|(m, s)| m - s).collect()
    };
    for rate in [&p.intronic, &p.degrad] {
        for t in 0..tracks {
            let ratio = stat::sd(&noise(rate, t)) / stat::sd(&column(&rate.signal, t));
            assert!((ratio - 0.5).abs() < 0.03, "track {t}: {ratio}");
        }
        let r = stat::pearson(&noise(rate, 0), &noise(rate, tracks - 1));
        assert!((r - 0.5).abs() < 0.06, "half of the variance is the gene's: {r}");
        assert!(stat::pearson(&noise(rate, 0), &column(&rate.signal, 0)).abs() < 0.06);
    }
    assert!(stat::pearson(&noise(&p.exonic, 0), &noise(&p.intronic, 0)) > 0.2);
    assert!(stat::pearson(&noise(&p.exonic, 0), &noise(&p.degrad, 0)) < -0.1);
}

#[test]
fn seed_genes_and_threads() {
    let a = process(&small()).unwrap();
    let other = process(&Options { seed: 2, ..small() }).unwrap();
    assert!(a.dna != other.dna && a.tf.motifs != other.tf.motifs && a.rbp.effects != other.rbp.effects);
    assert!(a.folds != other.folds);
    let fewer = process(&Options { genes: 100, ..small() }).unwrap();
    assert_eq!(fewer.dna.bases, a.dna.bases[..100 * 600]);
    assert_eq!(fewer.exonic.signal, a.exonic.signal[..100 * 12]);
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(one_thread.install(|| process(&small())).unwrap(), a);
}

#[test]
fn folds_keep_chromosomes_together() {
    let p = process(&Options { genes: 400, ..Options::default() }).unwrap();
    let mut home = std::collections::HashMap::new();
    for (fold, set) in p.folds.iter().enumerate() {
        assert!((30..=50).contains(&set.len()) && set.is_sorted(), "{} genes", set.len());
        for &g in set {
            assert_eq!(*home.entry(p.genes[g].chromosome.clone()).or_insert(fold), fold, "{}", p.genes[g].chromosome);
        }
    }
    assert_eq!(home.len(), 20);
    let mut all = p.folds.concat();
    all.sort_unstable();
    assert_eq!(all, (0..400).collect::<Vec<_>>());
    // As few genes as there can be: one a chromosome.
    let p = process(&Options { genes: 3, chromosomes: 3, folds: 3, ..Options::default() }).unwrap();
    assert!(p.folds.iter().all(|set| set.len() == 1));
}

#[test]
fn tracks_are_conditions_of_cell_types() {
    let p = process(&Options { celltypes: 2, conditions: 3, ..small() }).unwrap();
    assert_eq!(p.tracks[..4], ["cell1_condition1", "cell1_condition2", "cell1_condition3", "cell2_condition1"]);
    assert_eq!(p.celltypes, ["cell1", "cell1", "cell1", "cell2", "cell2", "cell2"]);
    let names = |of: &Binding| of.motifs.iter().map(|m| m.name.clone()).collect::<Vec<_>>();
    assert_eq!((names(&p.tf)[7].as_str(), names(&p.rbp).as_slice()[0].as_str()), ("tf8", "rbp1"));
    let raising = |of: &Binding| of.effects.chunks(6).filter(|row| row.iter().any(|e| *e > 0.0)).count();
    assert_eq!((raising(&p.tf), raising(&p.rbp)), (6, 4));
}

#[test]
fn regions_may_be_missing() {
    let p = process(&Options { enhancer: 0, spacer: 0, utr5: 0, ..small() }).unwrap();
    assert_eq!((p.dna.length, p.rna.length), (80 + 230, 230));
    assert!(p.genes.iter().all(|g| g.upstream.is_empty() && g.downstream.is_empty() && g.utr5.is_empty()));
    assert!(p.tf.sites.iter().all(|s| s.end <= 80 && s.effects == p.tf.effects[s.motif * 12..][..12]));
    assert!(!p.rbp.sites.is_empty());
}

/// What a perfect model can know: matches in the right region count, chance matches included.
#[test]
fn degradation_can_be_read_off_the_transcript() {
    let p = process(&Options { noise: 0.0, genes: 300, ..small() }).unwrap();
    let mut read = vec![0.0; 300 * 12];
    for (m, motif) in p.rbp.motifs.iter().enumerate() {
        let scanner = Scanner::new(motif, [0.25; 4], 1e-4).unwrap();
        for n in 0..300 {
            let hits = scanner.hits(p.rna.row(n), 0.6 * scanner.max_score());
            let count = hits.iter().filter(|hit| hit.strand == Strand::Forward).count() as f64;
            (0..12).for_each(|t| read[n * 12 + t] += count * p.rbp.effects[m * 12 + t]);
        }
    }
    let r = stat::pearson(&read, &p.degrad.measured);
    assert!(r > 0.9, "{r}");
}

#[test]
fn files_are_read_again() {
    let p = process(&Options { genes: 30, rna_length: Some(333), utr5: 0, ..small() }).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, fill: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        fill(&mut bytes);
        write_bytes(&path(name), &bytes).unwrap();
    };
    write("TSS.fa", &|w| p.write_dna(w).unwrap());
    write("RNA.fa", &|w| p.write_rna(w).unwrap());
    write_one_hot(&path("TSS.npz"), &p.dna).unwrap();
    write_one_hot(&path("RNA.npz"), &p.rna).unwrap();
    let read = |name: &str| read_sequences(path(name).to_str().unwrap(), &SequenceOptions::default()).unwrap().0;
    assert_eq!((read("TSS.fa"), read("TSS.npz"), read("RNA.npz")), (p.dna.clone(), p.dna.clone(), p.rna.clone()));
    let filled = read("RNA.fa");
    assert_eq!((filled.names, filled.length, filled.bases), (p.rna.names.clone(), 333, p.rna.bases.clone()));

    write("exonic.tsv", &|w| p.write_values(&p.exonic.measured, w).unwrap());
    let targets = read_targets(&path("exonic.tsv"), &TargetOptions::default()).unwrap();
    assert_eq!((&targets.names, &targets.tracks), (&p.dna.names, &p.tracks));
    assert!(targets.values.iter().zip(&p.exonic.measured).all(|(a, b)| (a - b).abs() <= 5e-7));
    write("condition.class.txt", &|w| p.write_classes(w).unwrap());
    assert_eq!(read_classes(&path("condition.class.txt"), &p.tracks).unwrap(), p.celltypes);

    write("folds.txt", &|w| p.write_folds(w).unwrap());
    let folds = Folds::read(&path("folds.txt")).unwrap();
    assert_eq!(folds.len(), 10);
    for f in 0..10 {
        let split = folds.split(&p.dna.names, f).unwrap();
        assert_eq!((split.split.validation, split.split.test), (p.folds[f].clone(), p.folds[(f + 1) % 10].clone()));
    }

    write("sites.bed", &|w| p.write_sites(&p.rbp, w).unwrap());
    let regions = read_bed(&path("sites.bed")).unwrap();
    assert_eq!(regions.len(), p.rbp.sites.len());
    for (region, site) in regions.iter().zip(&p.rbp.sites) {
        assert_eq!((region.start as usize, region.end as usize, region.reverse), (site.start, site.end, false));
        assert_eq!((&region.chrom, &region.name), (&p.rna.names[site.sequence], &p.rbp.motifs[site.motif].name));
    }
    write("motifs.meme", &|w| p.write_motifs(w).unwrap());
    write("motifs_rna.meme", &|w| p.rbp.write_motifs(w).unwrap());
    assert_eq!(meme::read_pwms(&path("motifs_rna.meme")).unwrap().len(), 6);
    assert_eq!(meme::read_pwms(&path("motifs.meme")).unwrap()[8].consensus(), p.rbp.motifs[0].consensus());
    write("effects.tsv", &|w| p.write_effects(w).unwrap());
    let effects = read_targets(&path("effects.tsv"), &TargetOptions::default()).unwrap();
    assert_eq!((effects.len(), effects.names[8].as_str()), (14, "rbp1"));
    assert!((effects.row(8)[0] - p.rbp.effects[0]).abs() <= 5e-7);

    write("genes.tsv", &|w| p.write_genes(w).unwrap());
    let table = Table::read(Path::new(&path("genes.tsv")), None).unwrap();
    let column = |name: &str| table.cells(table.column(name).unwrap()).map(String::from).collect::<Vec<_>>();
    assert_eq!((column("gene"), column("utr5")), (p.dna.names.clone(), vec![".".to_string(); 30]));
    assert_eq!(column("chromosome")[7], p.genes[7].chromosome);
    assert_eq!(column("cds")[7], format!("{}-{}", p.genes[7].cds.start, p.genes[7].cds.end));
}

#[test]
fn weight_of_an_enhancer() {
    for (distance, expected) in [(0.0, 1.0), (300.0, (-1f64).exp()), (150.0, (-0.25f64).exp()), (900.0, 0.2)] {
        assert!((enhancer_weight(distance, 300.0) - expected).abs() < 1e-15, "{distance}");
    }
}

#[test]
fn bad_options_are_named() {
    let d = Options::default;
    for (options, expected) in [
        (Options { tf: 0, ..d() }, "tf: expected 1 or more; found 0"),
        (Options { celltypes: 0, ..d() }, "celltypes: expected 1 or more; found 0"),
        (Options { conditions: usize::MAX, ..d() }, "conditions: expected 10000000 tracks at most; found"),
        (Options { folds: 2, ..d() }, "folds: expected 3 or more: one to test, one to validate, the rest to train"),
        (Options { chromosomes: 9, ..d() }, "chromosomes: expected 10 or more, a chromosome for each fold; found 9"),
        (Options { genes: 19, ..d() }, "genes: expected 20 (a gene for each chromosome) to 2^32 - 1; found 19"),
        (Options { activators: 1.1, ..d() }, "activators: expected a fraction from 0 to 1; found 1.1"),
        (Options { gc: f64::NAN, ..d() }, "gc: expected a fraction from 0 to 1; found NaN"),
        (Options { noise: -1.0, ..d() }, "noise: expected 0 or more; found -1"),
        (Options { reach: 0.0, ..d() }, "reach: expected a distance above 0 bp; found 0"),
        (Options { width: 3..=8, ..d() }, "width: expected a range from 4 or more upwards; found 3 to 8"),
        (
            Options { enhancer: 11, ..d() },
            "enhancer: expected at least the widest motif, 12 bp, or 0 for none; found 11",
        ),
        (Options { utr3: 0, ..d() }, "utr3: expected at least the widest motif, 12 bp; found 0"),
        (Options { spacer: usize::MAX, ..d() }, "spacer: expected at most 10000000 bp; found"),
        (Options { sites: 8.0, ..d() }, "sites: expected above 0 and at most 7.0 (70 bp of enhancer hold no more"),
        (Options { cds: 100..=101, ..d() }, "cds: expected a range from 6 (start and stop) to 10000000 bp with a"),
        (Options { cds: 3..=30, ..d() }, "cds: expected a range from 6 (start and stop)"),
        (
            Options { dna_length: Some(599), ..d() },
            "dna_length: expected at least 600 bp, the longest gene from enhancer to enhancer (or shorter regions), and",
        ),
        (Options { rna_length: Some(10), ..d() }, "rna_length: expected at least 300 bp, the longest transcript"),
    ] {
        let error = process(&options).unwrap_err();
        assert!(error.to_string().starts_with(expected) && error.exit_code() == 2, "{error}");
    }
}
