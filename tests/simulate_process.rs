//! `drg simulate process` as a user meets it: the files of the multi-input workflow, by the names it has for them.
#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

mod common;

use std::collections::HashMap;

use common::room::Room;
use drg::io::folds::Folds;
use drg::io::sequences::{SequenceOptions, read_sequences};
use drg::io::targets::{TargetOptions, Targets, read_targets};
use drg::motif::{Scanner, meme};
use drg::seq::Sequences;

const SMALL: &str = "--genes 60 --celltypes 2 --conditions 2 --tf 4 --rbp 3 --seed 3";
const FILES: &str = "TSS.npz RNA.npz TSS.fa RNA.fa exonic.tsv intronic.tsv degrad.tsv signal_exonic.tsv \
                     signal_intronic.tsv signal_degrad.tsv condition.class.txt Exintron_testsetcv10.txt genes.tsv \
                     effects.tsv motifs.meme sites_dna.bed motifs_dna.meme sites_rna.bed motifs_rna.meme simulate.json";

/// A site as the BED file has it.
struct Site {
    gene: usize,
    start: usize,
    end: usize,
    motif: String,
    reverse: bool,
    effects: Vec<f64>,
}

impl Room {
    fn sequences(&self, name: &str) -> Sequences {
        read_sequences(self.path(name).to_str().unwrap(), &SequenceOptions::default()).unwrap().0
    }

    fn table(&self, name: &str) -> Targets {
        read_targets(&self.path(name), &TargetOptions::default()).unwrap()
    }

    fn sites(&self, name: &str, genes: &[String]) -> Vec<Site> {
        let text = self.read(name);
        let site = |line: &str| {
            let cells: Vec<&str> = line.split('\t').collect();
            Site {
                gene: genes.iter().position(|g| g == cells[0]).unwrap(),
                start: cells[1].parse().unwrap(),
                end: cells[2].parse().unwrap(),
                motif: cells[3].into(),
                reverse: cells[5] == "-",
                effects: cells[6..].iter().map(|c| c.parse().unwrap()).collect(),
            }
        };
        text.lines().skip(1).map(site).collect()
    }
}

#[test]
fn files_have_the_names_of_the_workflow() {
    let room = Room::new();
    let ran = room.ok(&format!("simulate process -o p {SMALL} --dna-length 700 --rna-length 310"));
    assert_eq!(ran.out, FILES.split(' ').map(|f| format!("p/{f}\n")).collect::<String>());
    assert!(ran.err.contains("60 genes: 700 bp of DNA, 310 of RNA; 4 tracks;"), "{}", ran.err);
    let mut expected: Vec<&str> = FILES.split(' ').collect();
    expected.sort_unstable();
    assert_eq!(
        (room.names("p"), room.names(".")),
        (expected.iter().map(|f| f.to_string()).collect(), vec!["p".into()])
    );

    for (name, length) in [("TSS", 700), ("RNA", 310)] {
        let (npz, fasta) = (room.sequences(&format!("p/{name}.npz")), room.sequences(&format!("p/{name}.fa")));
        assert_eq!((npz.len(), npz.length, &npz.bases, &npz.names), (60, length, &fasta.bases, &fasta.names));
    }
    for name in ["exonic", "intronic", "degrad"] {
        let text = room.read(&format!("p/{name}.tsv"));
        let header = "#\tcell1_condition1\tcell1_condition2\tcell2_condition1\tcell2_condition2";
        assert_eq!((text.lines().next(), text.lines().count()), (Some(header), 61));
    }
    assert_eq!(room.read("p/condition.class.txt").lines().nth(2), Some("cell2_condition1 cell2"));
    let record: serde_json::Value = serde_json::from_str(&room.read("p/simulate.json")).unwrap();
    assert_eq!((&record["verb"], &record["options"]["seed"]), (&"simulate process".into(), &3.into()));
    assert_eq!(record["results"]["rna_length"], 310);
    room.ok(&format!("simulate process -o q {SMALL} --folds 4 -q"));
    assert!(room.path("q/Exintron_testsetcv4.txt").exists());
}

/// Everything again from the files alone: where sites are, which rates follow from them, and what expression is.
#[test]
fn the_files_explain_each_other() {
    let room = Room::new();
    room.ok(&format!("simulate process -o p {SMALL} --noise 0 -q"));
    let (exonic, intronic, degrad) =
        (room.table("p/exonic.tsv"), room.table("p/intronic.tsv"), room.table("p/degrad.tsv"));
    for ((ex, kt), kd) in exonic.values.iter().zip(&intronic.values).zip(&degrad.values) {
        assert!((ex - (kt - kd)).abs() < 2e-6, "{ex} is not {kt} - {kd}");
    }
    assert_eq!(room.read("p/exonic.tsv"), room.read("p/signal_exonic.tsv"));
    let effects = room.table("p/effects.tsv");
    for (kind, rate, input) in [("dna", &intronic, "p/TSS.npz"), ("rna", &degrad, "p/RNA.npz")] {
        let sequences = room.sequences(input);
        let sites = room.sites(&format!("p/sites_{kind}.bed"), &sequences.names);
        let motifs = meme::read_pwms(&room.path(&format!("p/motifs_{kind}.meme"))).unwrap();
        let scanners: HashMap<&str, Scanner> =
            motifs.iter().map(|m| (m.name.as_str(), Scanner::new(m, [0.25; 4], 1e-4).unwrap())).collect();
        let mut strong = 0;
        let mut sums = vec![0.0; rate.values.len()];
        for site in &sites {
            let scanner = &scanners[site.motif.as_str()];
            let bases = &sequences.row(site.gene)[site.start..site.end];
            let score = scanner.scores(bases)[usize::from(site.reverse)][0];
            strong += usize::from(score > 0.5 * scanner.max_score());
            let of_motif = effects.row(effects.names.iter().position(|n| *n == site.motif).unwrap());
            for (t, (effect, full)) in site.effects.iter().zip(of_motif).enumerate() {
                assert!(effect.abs() <= full.abs() + 1e-6 && effect * full >= 0.0 && (kind == "dna" || effect == full));
                sums[site.gene * 4 + t] += effect;
            }
        }
        let n = sites.len();
        assert!(n > 150 && strong as f64 > 0.9 * n as f64, "{kind}: {strong} of {n} sites score high");
        assert!(sums.iter().zip(&rate.values).all(|(a, b)| (a - b).abs() < 2e-5), "{kind}");
    }
}

#[test]
fn folds_keep_chromosomes_together() {
    let room = Room::new();
    room.ok(&format!("simulate process -o p {SMALL} -q"));
    let text = room.read("p/genes.tsv");
    let rows: Vec<(String, String)> = text
        .lines()
        .skip(1)
        .map(|l| l.split('\t').collect::<Vec<_>>())
        .map(|cells| (cells[0].to_string(), cells[1].to_string()))
        .collect();
    let names: Vec<String> = rows.iter().map(|(gene, _)| gene.clone()).collect();
    let folds = Folds::read(&room.path("p/Exintron_testsetcv10.txt")).unwrap();
    assert_eq!((rows.len(), folds.len()), (60, 10));
    for f in 0..10 {
        let split = folds.split(&names, f).unwrap().split;
        let of = |part: &[usize]| part.iter().map(|&g| rows[g].1.as_str()).collect::<std::collections::HashSet<_>>();
        let (train, validation, test) = (of(&split.train), of(&split.validation), of(&split.test));
        assert!(train.is_disjoint(&test) && train.is_disjoint(&validation) && validation.is_disjoint(&test));
        assert!(!split.test.is_empty() && !split.validation.is_empty());
    }
}

#[test]
fn the_same_on_any_number_of_threads() {
    let room = Room::new();
    room.ok(&format!("simulate process -o a {SMALL} -q"));
    room.ok(&format!("simulate process -o b {SMALL} -q --threads 1"));
    let bytes = |file: &str| std::fs::read(room.path(file)).unwrap();
    for file in FILES.split(' ').filter(|f| *f != "simulate.json") {
        assert_eq!(bytes(&format!("a/{file}")), bytes(&format!("b/{file}")), "{file}");
    }
    room.ok("simulate process -o b --genes 60 --celltypes 2 --conditions 2 --tf 4 --rbp 3 --seed 4 -q");
    assert_ne!(bytes("a/RNA.npz"), bytes("b/RNA.npz"));
}

#[test]
fn bad_arguments_say_what_to_do() {
    let room = Room::new();
    for (line, expected) in [
        ("-o no/p", "cannot write no/p: there is no folder no; make it first (mkdir -p no)"),
        ("-o p --genes 12", "genes: expected 20 (a gene for each chromosome) to 2^32 - 1; found 12"),
        ("-o p --cds 60to90", "cds: expected one number or two as in 8-12, found '60to90'"),
        ("-o p --noise -1", "noise: expected 0 or more; found -1"),
        (
            "-o p --dna-length 500",
            "dna_length: expected at least 600 bp, the longest gene from enhancer to enhancer (or shorter regions), and \
             at most 10000000; found 500",
        ),
    ] {
        let ran = room.run(&format!("simulate process {line}"));
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{line}");
        assert_eq!(ran.err.trim_end(), format!("drg simulate process: {expected}"));
    }
    assert!(room.names(".").is_empty());
}

/// A model of the transcript alone is trained on the degradation of whole chromosomes that it has not seen.
#[test]
fn a_model_is_trained_on_them() {
    let room = Room::new();
    room.ok(&format!("simulate process -o p {SMALL} -q"));
    room.ok("train p/RNA.npz p/degrad.tsv -o kd.drg --crossvalidation p/Exintron_testsetcv10.txt 1 -q --cnn num_kernels=8+l_kernels=11+epochs=1");
    room.ok("eval score kd_pred.npz p/degrad.tsv -o scores.tsv --classes p/condition.class.txt -q");
    assert!(room.read("scores.tsv").lines().any(|l| l.split('\t').nth(1) == Some("cell2")));
}
