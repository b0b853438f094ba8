use std::path::Path;

use super::*;
use crate::motif::{Scanner, meme};

fn small() -> Options {
    Options { sequences: 301, length: 97, sites: 4.0, ..Options::default() }
}

fn text(write: impl FnOnce(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn sizes_names_and_order() {
    let s = simulate(&small()).unwrap();
    assert_eq!((s.names.len(), s.bases.len(), s.targets.len(), s.signal.len()), (301, 301 * 97, 301 * 4, 301 * 4));
    assert_eq!((s.names[0].as_str(), s.names[300].as_str()), ("seq001", "seq301"));
    assert!(s.names.is_sorted() && s.bases.iter().all(|b| *b < 4));
    assert_eq!(s.classes, ["class1", "class1", "class2", "class2"]);
    assert!(s.sites.is_sorted_by_key(|site| (site.sequence, site.start)));
}

#[test]
fn sites_do_not_overlap_and_use_every_place() {
    for sites in [1.0, 4.0, 9.7] {
        let s = simulate(&Options { sites, ..small() }).unwrap();
        for pair in s.sites.windows(2).filter(|p| p[0].sequence == p[1].sequence) {
            assert!(pair[0].end <= pair[1].start, "{pair:?}");
        }
        let wrong = |x: &&Site| x.end > s.length || x.end - x.start != s.motifs[x.motif].width();
        assert!(s.sites.iter().find(wrong).is_none());
        assert!(s.sites.iter().any(|x| x.start == 0) && s.sites.iter().any(|x| x.end == s.length));
        let truth = s.truth();
        assert_eq!(truth.iter().map(Vec::len).sum::<usize>(), s.sites.len());
    }
    // Few sites nearly always fit, so their number has the Poisson mean.
    let s = simulate(&Options { sequences: 3000, sites: 2.0, ..small() }).unwrap();
    assert!((s.sites.len() as f64 / 3000.0 - 2.0).abs() < 0.1, "{}", s.sites.len());
    let reverse = s.sites.iter().filter(|x| x.strand == Strand::Reverse).count() as f64 / s.sites.len() as f64;
    assert!((reverse - 0.5).abs() < 0.03, "{reverse}");
    let s = simulate(&Options { both_strands: false, ..small() }).unwrap();
    assert!(s.sites.iter().all(|x| x.strand == Strand::Forward));
}

/// Motifs that allow one sequence only: the bases at every BED interval must be that sequence.
#[test]
fn bed_intervals_hold_the_planted_instances() {
    let one_hot =
        |codes: &[usize]| codes.iter().map(|&c| std::array::from_fn(|b| f64::from(u8::from(b == c)))).collect();
    let given = vec![
        Pwm::new("first", one_hot(&[0, 1, 2, 3, 3, 0, 0])).unwrap(),
        Pwm::new("second", one_hot(&[2, 2, 1, 0, 2])).unwrap(),
    ];
    let s = simulate(&Options { given: given.clone(), ..small() }).unwrap();
    assert_eq!(s.motifs, given);
    let fasta = text(|w| s.write_fasta(w));
    let sequences: std::collections::HashMap<&str, &str> =
        fasta.split('>').skip(1).map(|record| record.trim_end().split_once('\n').unwrap()).collect();
    assert_eq!(sequences.len(), 301);
    let mut strands = std::collections::HashSet::new();
    let bed = text(|w| s.write_sites(w));
    assert_eq!(
        bed.lines().next().unwrap(),
        "#sequence\tstart\tend\tmotif\tscore\tstrand\ttrack1\ttrack2\ttrack3\ttrack4"
    );
    for line in bed.lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let (start, end): (usize, usize) = (cells[1].parse().unwrap(), cells[2].parse().unwrap());
        let expected = match (cells[3], cells[5]) {
            ("first", "+") => "ACGTTAA",
            ("first", "-") => "TTAACGT",
            ("second", "+") => "GGCAG",
            _ => "CTGCC",
        };
        assert_eq!(&sequences[cells[0]][start..end], expected, "{line}");
        assert!(cells.len() == 10 && (0..=1000).contains(&cells[4].parse::<i32>().unwrap()), "{line}");
        strands.insert((cells[3], cells[5]));
    }
    assert_eq!((strands.len(), bed.lines().count()), (4, s.sites.len() + 1));
}

#[test]
fn seed_and_number_of_sequences() {
    let a = simulate(&small()).unwrap();
    assert_eq!(a, simulate(&small()).unwrap());
    let other = simulate(&Options { seed: 2, ..small() }).unwrap();
    assert!(a.bases != other.bases && a.motifs != other.motifs && a.effects != other.effects);
    assert_ne!(a.folds(10).unwrap(), other.folds(10).unwrap());
    let fewer = simulate(&Options { sequences: 40, ..small() }).unwrap();
    assert_eq!(fewer.bases, a.bases[..40 * 97]);
    assert_eq!(fewer.signal, a.signal[..40 * 4]);
    let one_thread = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    assert_eq!(one_thread.install(|| simulate(&small())).unwrap(), a);
}

#[test]
fn signal_is_the_sum_of_sites_and_pairs() {
    let options = Options { interactions: 3, decay: Some(30.0), ..small() };
    let s = simulate(&options).unwrap();
    assert_eq!(s.interactions.len(), 3);
    let mut paired = 0;
    for n in 0..301 {
        let sites: Vec<&Site> = s.sites.iter().filter(|x| x.sequence == n).collect();
        for t in 0..4 {
            let mut expected = 0.0;
            for site in &sites {
                let centre = (site.start + site.end) as f64 / 2.0;
                expected += s.effects[site.motif * 4 + t] * (-(centre - 48.5).abs() / 30.0).exp();
            }
            for pair in &s.interactions {
                let has = |m| sites.iter().any(|x| x.motif == m);
                if has(pair.motifs.0) && has(pair.motifs.1) {
                    paired += 1;
                    expected += pair.effects[t];
                }
            }
            assert!((s.signal[n * 4 + t] - expected).abs() < 1e-12);
        }
    }
    assert!(paired > 50, "{paired}");
    let plain = simulate(&small()).unwrap();
    assert!(plain.sites.iter().all(|x| x.effects == plain.effects[x.motif * 4..][..4]));
}

#[test]
fn effects_follow_sharing_and_sign() {
    let s = simulate(&Options { motifs: 10, shared: 0.4, negative: 0.3, ..small() }).unwrap();
    let acts = |m: usize| -> Vec<bool> { s.effects[m * 4..][..4].iter().map(|e| *e != 0.0).collect() };
    let patterns: Vec<_> = (0..10).map(acts).collect();
    assert_eq!(patterns.iter().filter(|p| **p == [true; 4]).count(), 4);
    assert_eq!(patterns.iter().filter(|p| **p == [true, true, false, false]).count(), 3);
    assert_eq!(patterns.iter().filter(|p| **p == [false, false, true, true]).count(), 3);
    assert_eq!((0..10).filter(|m| s.effects[m * 4..][..4].iter().any(|e| *e < 0.0)).count(), 3);
    // One specific motif and three classes: it serves them all, and no track is without a motif.
    let s = simulate(&Options { motifs: 1, shared: 0.0, classes: 3, negative: 0.0, ..small() }).unwrap();
    assert!(s.effects.iter().all(|e| *e > 0.0));
}

#[test]
fn noise_has_the_asked_size() {
    let options = Options { sequences: 3000, noise: 0.5, ..small() };
    let s = simulate(&options).unwrap();
    for t in 0..4 {
        let column = |v: &[f64]| -> Vec<f64> { v.iter().skip(t).step_by(4).copied().collect() };
        let (noisy, signal) = (column(&s.targets), column(&s.signal));
        let noise: Vec<f64> = noisy.iter().zip(&signal).map(|(a, b)| a - b).collect();
        let ratio = stat::sd(&noise) / stat::sd(&signal);
        assert!((ratio - 0.5).abs() < 0.03 && stat::pearson(&noise, &signal).abs() < 0.06, "{ratio}");
    }
    let quiet = simulate(&Options { noise: 0.0, ..small() }).unwrap();
    assert_eq!(quiet.targets, quiet.signal);
    let single = simulate(&Options { sequences: 1, ..small() }).unwrap();
    assert_eq!(single.targets, single.signal);
}

/// What a perfect model of the motifs can know: counts of strong matches times effects, chance matches included.
#[test]
fn defaults_can_be_learned() {
    let s = simulate(&Options { sequences: 1000, ..Options::default() }).unwrap();
    let scanners: Vec<Scanner> = s.motifs.iter().map(|m| Scanner::new(m, [0.25; 4], 1e-4).unwrap()).collect();
    let mut predicted = vec![0.0; s.signal.len()];
    for n in 0..1000 {
        for (m, scanner) in scanners.iter().enumerate() {
            let count = scanner.hits(s.sequence(n), 0.6 * scanner.max_score()).len() as f64;
            (0..4).for_each(|t| predicted[n * 4 + t] += count * s.effects[m * 4 + t]);
        }
    }
    for t in 0..4 {
        let column = |v: &[f64]| -> Vec<f64> { v.iter().skip(t).step_by(4).copied().collect() };
        let r = stat::pearson(&column(&predicted), &column(&s.targets));
        assert!(r > 0.9, "track {t}: {r}");
    }
}

#[test]
fn files() {
    let s = simulate(&Options { sequences: 23, length: 60, sites: 2.0, tracks: 3, ..Options::default() }).unwrap();
    let targets = text(|w| s.write_targets(w));
    let mut lines = targets.lines();
    assert_eq!(lines.next().unwrap(), "#\ttrack1\ttrack2\ttrack3");
    for (n, line) in lines.enumerate() {
        let cells: Vec<&str> = line.split('\t').collect();
        assert_eq!(cells[0], s.names[n]);
        for t in 0..3 {
            assert!((cells[1 + t].parse::<f64>().unwrap() - s.targets[n * 3 + t]).abs() <= 5e-7);
        }
    }
    assert_eq!(targets.lines().count(), 24);
    assert_ne!(text(|w| s.write_signal(w)), targets);
    assert_eq!(text(|w| s.write_classes(w)), "track1 class1\ntrack2 class1\ntrack3 class2\n");
    assert_eq!(text(|w| s.write_effects(w)).lines().count(), 7);
    let read = meme::parse(&text(|w| s.write_motifs(w)), Path::new("motifs.meme")).unwrap();
    assert!(read.matrices.iter().zip(&s.motifs).all(|(m, pwm)| *m == meme::Matrix::from(pwm)));

    let folds = s.folds(10).unwrap();
    let file = text(|w| s.write_folds(&folds, w));
    let mut seen = Vec::new();
    for (i, pair) in file.lines().collect::<Vec<_>>().chunks(2).enumerate() {
        assert_eq!(pair[0], format!("# Set_{i}"));
        let names: Vec<_> = pair[1].split(' ').map(String::from).collect();
        assert!((2..=3).contains(&names.len()));
        seen.extend(names);
    }
    seen.sort();
    assert_eq!(seen, s.names);
    assert_eq!(s.folds(24).unwrap_err().to_string(), "folds: expected 1 to 23, one sequence a fold at least; found 24");
    assert!(s.folds(0).is_err());
}

#[test]
fn a_markov_background_is_used() {
    let mut rows = [[0.25; 4]; 4];
    rows[0] = [0.0, 0.0, 1.0, 0.0]; // A is always followed by G
    let s = simulate(&Options { background: Background::Markov(rows), sites: 0.001, ..small() }).unwrap();
    let bare = (0..301).filter(|n| s.sites.iter().all(|x| x.sequence != *n));
    let pairs: Vec<_> = bare.flat_map(|n| s.sequence(n).windows(2)).filter(|p| p[0] == 0).collect();
    assert!(pairs.len() > 1000 && pairs.iter().all(|p| p[1] == 2));
}

#[test]
fn bad_options_are_named() {
    let d = Options::default;
    let flat = Pwm::new("wide", vec![[0.25; 4]; 200]).unwrap();
    let empty = Pwm { name: "none".into(), probabilities: vec![] };
    for (options, expected) in [
        (Options { sequences: 0, ..d() }, "sequences: expected 1 or more, found 0"),
        (Options { tracks: 0, ..d() }, "tracks: expected 1 or more, found 0"),
        (Options { classes: 5, ..d() }, "classes: expected 1 to 4, the number of tracks, found 5"),
        (Options { motifs: 0, ..d() }, "motifs: expected 1 or more, found 0"),
        (Options { length: 11, sites: 1.0, ..d() }, "length: expected at least the widest motif, 12 bp, found 11"),
        (Options { given: vec![flat], ..d() }, "length: expected at least the widest motif, 200 bp, found 120"),
        (Options { given: vec![empty], ..d() }, "given: expected motifs with positions, found 'none' without any"),
        (Options { width: 3..=8, ..d() }, "width: expected a range from 4 or more upwards, found 3 to 8"),
        (
            Options { width: RangeInclusive::new(9, 8), ..d() },
            "width: expected a range from 4 or more upwards, found 9 to 8",
        ),
        (
            Options { sites: 16.0, ..d() },
            "sites: expected above 0 and at most 12.0 (120 bp hold no more motifs), found 16",
        ),
        (
            Options { sites: f64::NAN, ..d() },
            "sites: expected above 0 and at most 12.0 (120 bp hold no more motifs), found NaN",
        ),
        (Options { shared: 1.5, ..d() }, "shared: expected a fraction from 0 to 1, found 1.5"),
        (Options { negative: -0.1, ..d() }, "negative: expected a fraction from 0 to 1, found -0.1"),
        (Options { noise: f64::INFINITY, ..d() }, "noise: expected 0 or more, found inf"),
        (Options { decay: Some(0.0), ..d() }, "decay: expected a distance above 0 bp, found 0"),
        (Options { interactions: 16, ..d() }, "interactions: expected at most 15, the pairs of 6 motifs, found 16"),
        (Options { background: Background::Gc(2.0), ..d() }, "background: expected a GC content from 0 to 1, found 2"),
        (
            Options { background: Background::Markov([[0.5; 4]; 4]), ..d() },
            "background: expected four chances of the next base that sum to 1, found [0.5, 0.5, 0.5, 0.5]",
        ),
    ] {
        let error = simulate(&options).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.exit_code()), (expected, 2));
    }
}
