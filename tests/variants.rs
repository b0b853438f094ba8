//! `drg variants` as users meet it: scores equal predictions of both alleles made here by hand, every variant has a status, and
//! wrong use is told in one line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::collections::HashMap;

use common::room::{Ran, Room};
use drg::engine::mutate::Predictor;
use drg::io::npz::Npz;
use drg::model::{Model, Network};
use drg::tensor::DType;

impl Room {
    /// Simulated data with a genome and its variants, and a model of `length` bp that was trained for an epoch.
    fn trained(length: usize, chromosome: usize, variants: usize) -> Self {
        let genome = format!("--chromosomes 2 --chromosome-length {chromosome} --variants {variants}");
        let simulate = format!("--sequences 80 --length {length} --tracks 2 {genome}");
        Self::with_model(&simulate, &["num_kernels=8", "l_kernels=7", "pooling_size=5"])
    }

    /// A table by its columns.
    fn table(&self, name: &str) -> Table {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        let mut lines = text.lines().map(|l| l.split('\t').map(String::from).collect::<Vec<_>>());
        let header = lines.next().unwrap();
        let rows: Vec<Vec<String>> = lines.collect();
        assert!(rows.iter().all(|r| r.len() == header.len()));
        Table { header, rows }
    }
}

struct Table {
    header: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn column(&self, name: &str) -> Vec<&str> {
        let at = self.header.iter().position(|h| h == name).unwrap_or_else(|| panic!("{name} in {:?}", self.header));
        self.rows.iter().map(|r| r[at].as_str()).collect()
    }

    fn numbers(&self, name: &str) -> Vec<f64> {
        self.column(name).iter().map(|v| v.parse().unwrap()).collect()
    }
}

/// A model in f64, and a genome, to score variants one by one.
struct Naive {
    network: Network,
    model: Model,
    genome: HashMap<String, Vec<u8>>,
}

impl Naive {
    fn of(room: &Room) -> Self {
        let model = Model::load(&room.path("m.drg")).unwrap();
        let mut genome: HashMap<String, Vec<u8>> = HashMap::new();
        let mut name = String::new();
        for line in std::fs::read_to_string(room.path("sim/genome.fa")).unwrap().lines() {
            match line.strip_prefix('>') {
                Some(new) => name = new.into(),
                None => genome.entry(name.clone()).or_default().extend_from_slice(line.as_bytes()),
            }
        }
        Self { network: model.network.to_dtype(DType::F64).unwrap(), model, genome }
    }

    /// Codes of `length` letters from `start`, unknown off the ends.
    fn window(text: &[u8], start: i64, length: usize) -> Vec<u8> {
        let letter = |i: i64| usize::try_from(i).ok().and_then(|i| text.get(i)).copied().unwrap_or(b'N');
        (start..start + length as i64)
            .map(|i| b"ACGT".iter().position(|&b| b == letter(i)).unwrap_or(4) as u8)
            .collect()
    }

    /// Predictions of both alleles on all tracks, averaged over strands and shifts; the letters of `reference` are put in.
    fn alleles(&self, row: &[String], strands: &[bool], shifts: &[i64]) -> (Vec<f64>, Vec<f64>) {
        let length = self.model.network.architecture().length();
        let chromosome = &self.genome[&row[0]];
        let at = row[1].parse::<usize>().unwrap() - 1;
        let with = |allele: &str| [&chromosome[..at], allele.as_bytes(), &chromosome[at + row[3].len()..]].concat();
        let predict = |text: &[u8]| {
            let mut codes = vec![];
            for &shift in shifts {
                let window = Self::window(text, at as i64 + 1 - length.div_ceil(2) as i64 + shift, length);
                for &reverse in strands {
                    match reverse {
                        false => codes.extend(&window),
                        true => codes.extend(window.iter().rev().map(|&b| if b < 4 { 3 - b } else { b })),
                    }
                }
            }
            let y = self.network.predict(&codes).unwrap().to_f64();
            let (t, n) = (self.network.architecture().tracks(), shifts.len() * strands.len());
            let scaling = self.model.scaling.as_ref().unwrap();
            let mean = |track: usize| y.iter().skip(track).step_by(t).sum::<f64>() / n as f64;
            (0..t).map(|t| mean(t) * scaling.deviation[t] + scaling.mean[t]).collect::<Vec<f64>>()
        };
        (predict(&with(&row[3])), predict(&with(&row[4])))
    }
}

/// Largest difference relative to the largest expected value.
fn distance(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(f64::MIN_POSITIVE, |m, e| m.max(e.abs()));
    found.iter().zip(expected).map(|(f, e)| (f - e).abs()).fold(0.0, f64::max) / largest
}

/// Checks `diff` of every scored row against predictions of both alleles; the number of rows that were compared.
fn compare(naive: &Naive, table: &Table, strands: &[bool], shifts: &[i64], tolerance: f64) -> usize {
    let (mut found, mut expected) = (vec![], vec![]);
    let (first, second) = (table.numbers("diff:track1"), table.numbers("diff:track2"));
    for (i, row) in table.rows.iter().enumerate() {
        if row[5] == "ok" || row[5] == "padded" {
            let (old, new) = naive.alleles(row, strands, shifts);
            expected.extend(new.iter().zip(&old).map(|(new, old)| new - old));
            found.extend([first[i], second[i]]);
        } else {
            assert!(first[i].is_nan() && second[i].is_nan(), "{row:?}");
        }
    }
    let distance = distance(&found, &expected);
    assert!(distance < tolerance, "{distance}");
    assert!(expected.iter().any(|e| e.abs() > 1e-4));
    found.len() / 2
}

const RUN: &str = "variants m.drg sim/variants.vcf --genome sim/genome.fa";

#[test]
fn scores_equal_predictions_of_both_alleles() {
    let room = Room::trained(40, 2000, 400);
    let naive = Naive::of(&room);
    let said = room.ok(&format!("{RUN} -o s.tsv --score diff,abs,l2,log2fc,ratio")).err;
    let table = room.table("s.tsv");
    assert_eq!(table.rows.len(), 400);
    assert_eq!(table.header[..7], ["chrom", "pos", "id", "ref", "alt", "status", "diff:track1"]);
    let scored = compare(&naive, &table, &[false, true], &[0], 2e-6);

    // The name of a simulated variant says what it is.
    let (mut counts, mut padded) = (HashMap::new(), 0);
    for row in &table.rows {
        let kind = row[2].trim_end_matches(|c: char| c.is_ascii_digit());
        *counts.entry(kind).or_insert(0) += 1;
        match kind {
            "wrong" => assert_eq!(row[5], "ref-mismatch"),
            "beyond" => assert_eq!(row[5], "off-end"),
            _ => {
                let (at, end) = (row[1].parse::<i64>().unwrap() - 1, 2000);
                let longer = (row[3].len() as i64 - row[4].len() as i64).max(0);
                let hangs = at - 19 < 0 || at + 21 + longer > end;
                assert_eq!(row[5], if hangs { "padded" } else { "ok" }, "{row:?}");
                padded += usize::from(hangs);
            }
        }
    }
    let of = |kind: &str| counts.get(kind).copied().unwrap_or(0);
    assert!(["snv", "mnv", "ins", "del", "wrong", "beyond"].iter().all(|k| of(k) > 0) && padded > 0, "{counts:?}");
    assert_eq!(scored, 400 - of("wrong") - of("beyond"));
    for part in [
        format!("400 variants, {scored} scored, {padded} of them in windows that reach beyond"),
        format!("reference alleles: {scored} as in the sequence, {} not", of("wrong")),
        format!("{} ref-mismatch", of("wrong")),
        format!("{} off-end", of("beyond")),
        "delta can save at most 2.0 times".into(),
    ] {
        assert!(said.contains(&part), "{part} in {said}");
    }

    // The other scores follow from the predictions.
    let (diff, other) = (table.numbers("diff:track1"), table.numbers("diff:track2"));
    for (i, row) in table.rows.iter().enumerate().filter(|(_, r)| r[5] == "ok") {
        let close = |name: &str, expected: f64| {
            let found = table.numbers(name)[i];
            let both = found.is_nan() && expected.is_nan();
            assert!(both || (found - expected).abs() <= 1e-4 * (1.0 + expected.abs()), "{name}: {found} {expected}");
        };
        if i % 8 == 0 {
            let (old, new) = naive.alleles(row, &[false, true], &[0]);
            close("ratio:track1", new[0] / old[0]);
            let defined = new[1] > 0.0 && old[1] > 0.0;
            close("log2fc:track2", if defined { (new[1] / old[1]).log2() } else { f64::NAN });
            close("abs:track1", diff[i].abs());
            close("l2", diff[i].hypot(other[i]));
        }
    }
    let of_row = |i: usize| {
        let finite = |c: &&&str| table.column(c)[i].parse::<f64>().unwrap().is_finite();
        2 - ["log2fc:track1", "log2fc:track2"].iter().filter(finite).count()
    };
    let with_scores = (0..400).filter(|&i| ["ok", "padded"].contains(&table.rows[i][5].as_str()));
    match with_scores.map(of_row).sum::<usize>() {
        0 => assert!(!said.contains("not finite"), "{said}"),
        n => assert!(said.contains(&format!("log2fc: {n} values are not finite")), "{said}"),
    }

    // Engines, strands, shifts.
    let run = |options: &str| {
        room.ok(&format!("{RUN} -o t.tsv -q {options}"));
        room.table("t.tsv")
    };
    compare(&naive, &run("--engine naive"), &[false, true], &[0], 1e-4);
    compare(&naive, &run("--engine naive --precision f64"), &[false, true], &[0], 1e-6);
    compare(&naive, &run("--engine delta --strand reverse"), &[true], &[0], 2e-6);
    compare(
        &naive,
        &run("--engine delta --strand forward --shifts -3,0,8 --batch-size 3"),
        &[false],
        &[-3, 0, 8],
        2e-6,
    );
    let one = run("--tracks track2 --score abs,diff");
    assert_eq!(one.header[6..], ["abs:track2", "diff:track2"]);
    assert_eq!(one.column("diff:track2"), table.column("diff:track2"));
    let threads = run("--score diff,abs,l2,log2fc,ratio --threads 1");
    assert_eq!(threads.rows, table.rows, "bits do not depend on threads");

    // The same as npz.
    room.ok(&format!("{RUN} -o s.npz --score diff,l2,abs -q"));
    let mut npz = Npz::open(&room.path("s.npz")).unwrap();
    let ([n, scores, tracks], values) = npz.array::<f64, 3>("values").unwrap();
    assert_eq!((n, scores, tracks), (400, 2, 2));
    assert_eq!(npz.strings("scores").unwrap(), ["diff", "abs"]);
    assert_eq!(npz.strings("tracks").unwrap(), ["track1", "track2"]);
    assert_eq!(npz.strings("status").unwrap(), table.column("status"));
    assert_eq!(npz.strings("id").unwrap(), table.column("id"));
    assert_eq!(npz.strings("alt").unwrap(), table.column("alt"));
    let positions: Vec<String> = npz.numbers::<i64>("pos").unwrap().1.iter().map(i64::to_string).collect();
    assert_eq!(positions, table.column("pos"));
    let same = |a: f64, b: f64| (a.is_nan() && b.is_nan()) || a as f32 == b as f32;
    let (_, l2) = npz.numbers::<f64>("l2").unwrap();
    for (name, found) in [
        ("diff:track2", values.iter().skip(1).step_by(4).copied().collect::<Vec<f64>>()),
        ("abs:track1", values.iter().skip(2).step_by(4).copied().collect()),
        ("l2", l2),
    ] {
        assert!(found.iter().zip(table.numbers(name)).all(|(a, b)| same(*a, b)), "{name}");
    }
}

#[test]
fn every_variant_has_a_status() {
    let room = Room::trained(40, 200, 1);
    let naive = Naive::of(&room);
    let (one, two) = (&naive.genome["chr1"], &naive.genome["chr2"]);
    let letter = |at: usize| char::from(one[at - 1]);
    let other = |at: usize| if letter(at) == 'A' { 'C' } else { 'A' };
    let (long, whole) = ("A".repeat(41), String::from_utf8(one[..41].to_vec()).unwrap());
    let header = "#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n";
    let lines = [
        (format!("1\t100\tgood\t{}\t{}", letter(100), other(100)), "ok"),
        (format!("chr1\t3\tstart\t{}\t{}", letter(3), other(3)), "padded"),
        (format!("chr1\t100\twrong\t{}\t{}", other(100), letter(100)), "ref-mismatch"),
        (format!("chr9\t100\tnowhere\t{}\tN", letter(100)), "no-sequence"),
        ("chr1\t201\tbehind\tA\tC".into(), "off-end"),
        (format!("chr1\t200\tacross\t{}A\tC", letter(200)), "off-end"),
        (format!("chr1\t100\tinsert\t{}\t{long}", letter(100)), "too-long"),
        (format!("chr1\t1\tdelete\t{whole}\t{}", letter(1)), "too-long"),
        ("chr1\t100\tsv\tN\t<DEL>".into(), "skipped: symbolic allele"),
        (format!("chr1\t100\tunknown\t{}\tN", letter(100)), "ok"),
    ];
    let body: String = lines.iter().map(|(line, _)| format!("{line}\t.\t.\t.\n")).collect();
    room.write("v.vcf", &format!("{header}{body}"));
    let said = room.ok("variants m.drg v.vcf --genome sim/genome.fa -o s.tsv").err;
    let table = room.table("s.tsv");
    assert_eq!(table.column("status"), lines.iter().map(|l| l.1).collect::<Vec<_>>());
    assert_eq!(table.rows[8][..5], [".", ".", "chr1:100:N:<DEL>", ".", "."]);
    assert_eq!(said.matches("'1' of the variants is taken to be 'chr1' of sim/genome.fa").count(), 1, "{said}");
    let left = "not scored: 1 no-sequence, 2 off-end, 1 ref-mismatch, 1 skipped: symbolic allele, 2 too-long";
    assert!(said.contains("10 variants, 3 scored") && said.contains(left), "{said}");

    // Both alleles as given: the effect of the way back.
    room.ok("variants m.drg v.vcf --genome sim/genome.fa -o t.tsv --on-mismatch score -q");
    let given = room.table("t.tsv");
    let diff = given.numbers("diff:track1");
    assert_eq!((given.rows[2][5].as_str(), diff[2].is_nan()), ("ref-mismatch", false));
    assert!((diff[2] + diff[0]).abs() < 1e-6 * diff[0].abs().max(1.0), "{} {}", diff[0], diff[2]);
    let Ran { code, err, .. } = room.run("variants m.drg v.vcf --genome sim/genome.fa -o u.tsv --on-mismatch fail");
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("v.vcf:4: the reference allele of wrong at chr1:100 is"), "{err}");

    // Named sequences: the sequence is the window, as in `drg ism`.
    let text = |bases: &[u8]| String::from_utf8(bases.to_vec()).unwrap();
    room.write("w.fa", &format!(">x\n{}\n>y\n{}\n", text(&two[..40]), text(&two[40..70])));
    let mut table = "chrom\tpos\tref\talt\n".to_string();
    let mut expected = vec![];
    for at in 1..=40usize {
        let base = char::from(two[at - 1]);
        for alt in "ACGT".chars().filter(|&b| b != base) {
            table += &format!("x\t{at}\t{base}\t{alt}\n");
            expected.push("ok");
        }
    }
    let (y, behind) = (char::from(two[40]), char::from(two[69]));
    table += &format!(
        "y\t1\t{y}\t{y}AC\ny\t30\t{behind}\tN\ny\t31\tA\tC\nz\t1\tA\tC\ny\t29\t{}{behind}\tN\n",
        char::from(two[68])
    );
    expected.extend(["ok", "ok", "off-end", "no-sequence", "ok"]);
    room.write("v.tsv", &table);
    let said = room.ok("variants m.drg v.tsv --sequences w.fa -o w.tsv --strand forward --engine delta").err;
    let found = room.table("w.tsv");
    assert_eq!(found.column("status"), expected);
    assert!(said.contains("2 windows of ref, 122 sweeps, 1 windows of alt"), "{said}");
    room.ok("ism m.drg w.fa -o i.npz --names x -q");
    let ([1, 2, 4, 40], ism) = Npz::open(&room.path("i.npz")).unwrap().array::<f64, 4>("values").unwrap() else {
        panic!("shape")
    };
    let effects: Vec<f64> = found.rows[..120]
        .iter()
        .map(|r| {
            let (at, to) = (r[1].parse::<usize>().unwrap() - 1, "ACGT".find(&r[4]).unwrap());
            ism[(4 + to) * 40 + at]
        })
        .collect();
    assert!(distance(&found.numbers("diff:track2")[..120], &effects) < 1e-4);
}

#[test]
fn plans_say_what_delta_can_save() {
    let room = Room::trained(40, 400, 50);
    let Ran { code, out, err } = room.run(&format!("{RUN} --plan"));
    assert_eq!(code, 0, "{err}");
    for part in ["layer", "naive MFLOP", "engine: ", "serves 1.", "delta can save at most 2."] {
        assert!(out.contains(part), "{part} in {out}");
    }
    room.write("v.tsv", "chrom\tpos\tref\talt\nseq01\t4\tN\tA,C\nseq01\t8\tN\tAT\n");
    let Ran { code, out, err } = room.run("variants m.drg v.tsv --sequences sim/sequences.fa --plan --engine delta");
    assert!(code == 0 && out.contains("engine: delta (asked for)"), "{out}{err}");
    room.write("v.tsv", "chrom\tpos\tref\talt\nseq01\t8\tN\tAT\n");
    let Ran { code, err, .. } = room.run("variants m.drg v.tsv --sequences sim/sequences.fa --plan");
    assert!(code == 2 && err.contains("there is nothing to plan"), "{err}");
    assert_eq!(room.names("."), ["m.drg", "m.drg.json", "m_loss.txt", "m_pred.npz", "m_scores.tsv", "sim", "v.tsv"]);
}

#[test]
fn wrong_use_is_told_in_one_line() {
    let room = Room::trained(40, 400, 5);
    room.write("bad.vcf", "#CHROM\tPOS\tID\tREF\tALT\nchr1\t7\t.\tA\tC\nchr1\tseven\t.\tA\tC\n");
    room.write("none.vcf", "#CHROM\tPOS\tID\tREF\tALT\n");
    let before = room.names(".");
    for (line, part) in [
        (format!("{RUN} -o s.tsv --score dif"), "unknown comparison 'dif' (did you mean 'diff'?)"),
        (format!("{RUN} -o s.tsv --score diff,abs,diff"), "'diff' comes twice"),
        (format!("{RUN} -o s.tsv --strand both"), "strand: unknown 'both'; expected forward, reverse, mean"),
        (format!("{RUN} -o s.tsv --on-mismatch swap"), "expected skip, score, fail"),
        (format!("{RUN} -o s.tsv --engine fast"), "unknown engine 'fast'"),
        (format!("{RUN} -o s.tsv --shifts 0,20"), "expected -20 to 19"),
        (format!("{RUN} -o s.tsv --pseudocount -1"), "pseudocount: expected 0 or more, found -1"),
        (format!("{RUN} -o s.tsv --tracks track9"), "track9"),
        (format!("{RUN} -o s.csv"), "ends in .tsv or .npz"),
        (format!("{RUN} -o no/s.tsv"), "there is no folder no"),
        ("variants m.drg sim/variants.vcf --genome no.fa -o s.tsv".into(), "cannot read no.fa"),
        ("variants m.drg no.vcf --genome sim/genome.fa -o s.tsv".into(), "cannot read no.vcf"),
        (
            "variants m.drg bad.vcf --genome sim/genome.fa -o s.tsv".into(),
            "bad.vcf:3, column POS: expected a whole number",
        ),
        ("variants m.drg none.vcf --genome sim/genome.fa -o s.tsv".into(), "none.vcf: no variants"),
        ("variants m.drg sim/genome.fa --genome sim/genome.fa -o s.tsv".into(), "sim/genome.fa:1: expected a header"),
    ] {
        let Ran { code, out, err } = room.run(&line);
        assert_eq!((code, out.as_str()), (2, ""), "drg {line}: {err}");
        assert!(err.contains(part) && err.trim_end().lines().count() == 1, "{line}: {err}");
        assert_eq!(room.names("."), before, "drg {line} left something behind");
    }
    for line in [
        "variants m.drg sim/variants.vcf -o s.tsv",
        "variants m.drg sim/variants.vcf --genome sim/genome.fa --sequences sim/sequences.fa -o s.tsv",
        RUN,
    ] {
        assert_eq!(room.run(line).code, 2, "{line}");
    }
}

#[test]
#[ignore = "half a minute in a release build, minutes in a debug build"]
fn ten_thousand_variants_equal_naive_predictions() {
    let room = Room::trained(120, 100_000, 10_000);
    room.ok(&format!("{RUN} -o s.tsv -q --engine delta"));
    let scored = compare(&Naive::of(&room), &room.table("s.tsv"), &[false, true], &[0], 2e-6);
    assert!(scored > 9000, "{scored}");
}
