//! `drg perturb` as users meet it: every effect is the difference of two predictions of `drg predict`, archives and tables agree,
//! and wrong use is told in one line with exit code 2 and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and may say why it skips")]

mod common;

use common::room::{Ran, Room};

const L: usize = 40;

impl Room {
    /// Simulated data, a trained model and the sequences as strings.
    fn trained() -> (Self, Vec<String>) {
        let options = ["num_kernels=8", "l_kernels=7", "pooling_size=5"];
        let room = Self::with_model("--sequences 60 --length 40 --tracks 2", &options);
        let text = std::fs::read_to_string(room.path("sim/sequences.fa")).unwrap();
        let rows = text.split('>').skip(1).map(|entry| entry.split('\n').skip(1).collect()).collect();
        (room, rows)
    }

    /// Lines of a table, cut at tabs; the header first.
    fn table(&self, name: &str) -> Vec<Vec<String>> {
        let text = std::fs::read_to_string(self.path(name)).unwrap();
        text.lines().map(|line| line.split('\t').map(String::from).collect()).collect()
    }

    /// `f(mutant) - f(sequence)`, `[rows, 2]`, from predictions of `drg predict`.
    fn differences(&self, pairs: &[(&str, String)]) -> Vec<f32> {
        let entries = pairs.iter().enumerate().map(|(i, (old, new))| format!(">old{i}\n{old}\n>new{i}\n{new}\n"));
        self.write("pairs.fa", &entries.collect::<String>());
        self.ok("predict m.drg pairs.fa -o pairs.npz -q");
        let (_, y) = self.array::<2>("pairs.npz", "values");
        y.chunks(4).flat_map(|y| [y[2] - y[0], y[3] - y[1]]).collect()
    }
}

fn close(what: &str, got: &[f32], want: &[f32]) {
    assert_eq!(got.len(), want.len(), "{what}");
    let most = want.iter().fold(0f32, |m, v| m.max(v.abs()));
    assert!(most > 1e-4, "{what}: the effects are too small to compare: {want:?}");
    let off = got.iter().zip(want).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
    assert!(off < 1e-5 + 1e-3 * most, "{what}: {got:?} {want:?}");
}

/// `sequence` with `new` from position `at` on.
fn with(sequence: &str, new: &str, at: usize) -> String {
    format!("{}{new}{}", &sequence[..at], &sequence[at + new.len()..])
}

fn cells(table: &[Vec<String>], column: &str) -> Vec<f32> {
    let at = table[0].iter().position(|name| name == column).unwrap();
    table[1..].iter().map(|line| line[at].parse().unwrap()).collect()
}

#[test]
fn marginalized_and_spaced_motifs() {
    let (room, rows) = Room::trained();
    let line =
        "perturb marginalize m.drg --motif TGANTCC --backgrounds sim/sequences.fa --names 0:4 --orientation both";
    assert_eq!(room.ok(&format!("{line} -o m.npz -q")).out, "m.npz\n");
    let mut want = vec![];
    for motif in ["TGANTCC", "GGANTCA"] {
        // 'N' leaves the base that is there; the motif is in the middle.
        let new = |row: &str| with(row, &motif.replace('N', &row[20..21]), 17);
        want.extend(room.differences(&rows[..4].iter().map(|r| (r.as_str(), new(r))).collect::<Vec<_>>()));
    }
    let (shape, effects) = room.array::<4>("m.npz", "effects");
    assert_eq!(shape, [1, 2, 4, 2]);
    close("marginalize", &effects, &want);
    assert_eq!(room.npz("m.npz").strings("orientations").unwrap(), ["forward", "reverse"]);
    assert_eq!(room.npz("m.npz").array::<i64, 1>("positions").unwrap().1, [17]);
    // Means and errors, in the table as well, and by the other engine.
    room.ok(&format!("{line} -o m.tsv --engine naive -q"));
    room.ok(&format!("{line} -o d.tsv --engine delta -q"));
    let (naive, delta) = (room.table("m.tsv"), room.table("d.tsv"));
    assert_eq!(naive[3][..3], ["TGANTCC", "reverse", "track1"].map(String::from));
    for (i, (mean, error)) in cells(&naive, "effect").iter().zip(cells(&naive, "error")).enumerate() {
        let own: Vec<f64> = (0..4).map(|n| f64::from(want[i / 2 * 8 + n * 2 + i % 2])).collect();
        assert!((f64::from(*mean) - drg::stat::mean(&own)).abs() < 1e-4);
        assert!((f64::from(error) - drg::stat::sd(&own) / 2.0).abs() < 1e-4);
    }
    close("engines", &cells(&naive, "effect"), &cells(&delta, "effect"));
    // All motifs of a file, or one; drawn instances depend on the seed alone.
    let file = "perturb marginalize m.drg --motif sim/motifs.meme --backgrounds sim/sequences.fa --position 2";
    room.ok(&format!("{file} -o all.npz -q"));
    assert_eq!(room.array::<4>("all.npz", "effects").0, [3, 1, 60, 2]);
    room.ok(&format!("{} -o one.npz --tracks track2 -q", file.replace(".meme", ".meme:motif2")));
    let (all, one) = (room.array::<3>("all.npz", "mean").1, room.array::<3>("one.npz", "mean"));
    assert_eq!((one.0, one.1[0]), ([1, 1, 1], all[3]));
    let drawn = |seed: u32| {
        room.ok(&format!("{file} -o drawn.npz --sample 3 --seed {seed} --names 0:5 -q"));
        room.array::<4>("drawn.npz", "effects").1
    };
    assert_eq!(drawn(1), drawn(1));
    assert_ne!(drawn(1), drawn(2));

    let line = "perturb space m.drg --motifs TGACT,CCAAG --backgrounds sim/sequences.fa --names 0:3 --order both --strands ++,-+";
    room.ok(&format!("{line} --distances 0:7:3 -o s.tsv -q"));
    room.ok(&format!("{line} --distances 0:7:3 -o s.npz -q"));
    let table = room.table("s.tsv");
    assert_eq!(table.len(), 1 + 4 * 3 * 2);
    let (shape, both) = room.array::<3>("s.npz", "both");
    assert_eq!(shape, [4, 2, 3]);
    let (first, second) = (room.array::<3>("s.npz", "first").1, room.array::<3>("s.npz", "second").1);
    let interaction = room.array::<3>("s.npz", "interaction").1;
    for i in 0..24 {
        assert!((interaction[i] - (both[i] - first[i] - second[i])).abs() < 1e-4);
    }
    assert_eq!(room.npz("s.npz").strings("arrangements").unwrap(), ["A+ B+", "A- B+", "B+ A+", "B+ A-"]);
    // B, three bases, A on the other strand: 13 bases from position 14 on.
    let line = table.iter().position(|l| l[0] == "B+ A-" && l[1] == "3" && l[2] == "track2").unwrap();
    let mean = |of: &dyn Fn(&str) -> String| {
        let all = room.differences(&rows[..3].iter().map(|r| (r.as_str(), of(r))).collect::<Vec<_>>());
        (all[1] + all[3] + all[5]) / 3.0
    };
    let want = [
        mean(&|r| with(&with(r, "CCAAG", 14), "AGTCA", 22)),
        mean(&|r| with(r, "CCAAG", 14)),
        mean(&|r| with(r, "AGTCA", 22)),
    ];
    let got = ["both", "first", "second"].map(|column| cells(&table, column)[line - 1]);
    close("space", &got, &want);
    assert_eq!(got, [both[22], first[22], second[22]]);
}

#[test]
fn hidden_and_moved_bases() {
    let (room, rows) = Room::trained();
    room.write("sites.bed", "seq01\t3\t9\tone\nseq04\t30\t40\ttwo\nseq01\t0\t1\tthree\nelsewhere\t0\t5\tx\n");
    let names: Vec<String> = std::fs::read_to_string(room.path("sim/sequences.fa"))
        .unwrap()
        .lines()
        .filter_map(|l| l.strip_prefix('>').map(|n| n.split(' ').next().unwrap().to_string()))
        .collect();
    assert_eq!((names[0].as_str(), names[3].as_str()), ("seq01", "seq04"));
    let line = "perturb ablate m.drg sim/sequences.fa --sites sites.bed";
    let Ran { err, .. } = room.run(&format!("{line} --fill n -o a.npz"));
    assert!(err.contains("1 sites in other sequences are left out"), "{err}");
    let sites = [(0, 3..9), (3, 30..40), (0, 0..1)];
    let hidden: Vec<(&str, String)> =
        sites.iter().map(|(n, s)| (rows[*n].as_str(), with(&rows[*n], &"N".repeat(s.len()), s.start))).collect();
    let want = room.differences(&hidden);
    let (shape, effects) = room.array::<2>("a.npz", "effects");
    assert_eq!(shape, [3, 2]);
    close("ablate", &effects, &want);
    assert_eq!(room.array::<2>("a.npz", "sd").1, [0.0; 6]);
    assert_eq!(room.npz("a.npz").strings("sequences").unwrap(), ["seq01", "seq04", "seq01"]);
    // Shuffles: the same for every run and engine; the deviation is that of the repeats.
    room.ok(&format!("{line} --repeats 3 --seed 4 -o a.tsv -q"));
    room.ok(&format!("{line} --repeats 3 --seed 4 -o b.tsv --engine delta --threads 1 -q"));
    let (a, b) = (room.table("a.tsv"), room.table("b.tsv"));
    assert_eq!(a[1][..5], ["seq01", "3", "9", "one", "track1"].map(String::from));
    close("engines", &cells(&a, "effect"), &cells(&b, "effect"));
    let sd = cells(&a, "sd");
    assert!(sd[0] > 0.0 && sd[4..] == [0.0; 2], "one base has one order: {sd:?}");
    room.ok("perturb ablate m.drg sim/sequences.fa --range 5:25 --fill dinucleotide -o r.npz -q");
    assert_eq!(room.array::<2>("r.npz", "effects").0, [60, 2]);

    room.ok("perturb occlude m.drg sim/sequences.fa --names seq02 --range 4:25 --width 6 --step 5 -o o.npz -q");
    room.ok("perturb occlude m.drg sim/sequences.fa --names seq02 --range 4:25 --width 6 --step 5 -o o.tsv -q");
    let (shape, effects) = room.array::<3>("o.npz", "effects");
    assert_eq!((shape, room.npz("o.npz").array::<i64, 1>("starts").unwrap().1), ([1, 2, 4], vec![4, 9, 14, 19]));
    let hidden: Vec<(&str, String)> =
        [4, 9, 14, 19].iter().map(|&at| (rows[1].as_str(), with(&rows[1], "NNNNNN", at))).collect();
    let want = room.differences(&hidden);
    close("occlude", &cells(&room.table("o.tsv"), "effect"), &want);
    let turned: Vec<f32> = (0..8).map(|i| want[i % 4 * 2 + i / 4]).collect();
    close("occlude", &effects, &turned);
    let (shape, positions) = room.array::<3>("o.npz", "positions");
    assert_eq!((shape, positions[0], positions[6]), ([1, 2, 21], effects[0], effects[1]));
    assert!((positions[5] - (effects[0] + effects[1]) / 2.0).abs() < 1e-6);

    room.ok("perturb delete m.drg sim/sequences.fa --names 1:3 --width 4 --range 10:20 --step 3 -o d.npz -q");
    let (shape, effects) = room.array::<3>("d.npz", "effects");
    assert_eq!((shape, room.npz("d.npz").array::<i64, 1>("positions").unwrap().1), ([2, 2, 3], vec![10, 13, 16]));
    let mut want = vec![];
    for row in &rows[1..3] {
        let shorter = |at: usize| (row.as_str(), format!("{}{}NNNN", &row[..at], &row[at + 4..]));
        let all = room.differences(&[10, 13, 16].map(shorter));
        want.extend((0..6).map(|i| all[i % 3 * 2 + i / 3]));
    }
    close("delete", &effects, &want);
    // What follows longer sequences, or regions in their genome, takes the free places.
    let [a, b] = [&rows[5], &rows[6]];
    room.write("long.fa", &format!(">x\n{}{}\n", a, &b[..3]));
    room.write("genome.fa", &format!(">chr\n{b}{a}{b}\n"));
    room.write("r.bed", "chr\t50\t70\tx\n");
    let want = room.differences(&[(a, format!("{}{}{}N", &a[..8], &a[12..], &b[..3]))]);
    room.ok("perturb delete m.drg long.fa --width 4 --range 8:12 -o l.npz -q");
    close("behind the sequence", &room.array::<3>("l.npz", "effects").1, &want);
    let want = room.differences(&[(a, format!("{}{}{}", &a[..8], &a[12..], &b[..4]))]);
    room.ok("perturb delete m.drg r.bed@genome.fa --width 4 --range 8:12 -o l.npz -q");
    close("in the genome", &room.array::<3>("l.npz", "effects").1, &want);
    room.write("short.fa", ">x\nACGTACGGTTACGACCATTT\n");
    room.ok("perturb delete m.drg short.fa --width 4 --range 8:12 -o l.npz -q");

    room.ok("perturb insert m.drg sim/sequences.fa --names 7 --bases TGnA --range 36:40 -o i.tsv -q");
    let row = &rows[7];
    let longer = |at: usize| (row.as_str(), format!("{}TGNA{}", &row[..at], &row[at..])[..L].to_string());
    let table = room.table("i.tsv");
    assert_eq!(table[1][..3], ["seq08", "36", "track1"].map(String::from));
    close(
        "insert",
        &cells(&table, "effect"),
        &room.differences(&[36, 37, 38, 39].map(|at| {
            let (old, new) = longer(at);
            (old, new)
        })),
    );
}

#[test]
fn wrong_use_is_told_in_one_line() {
    let (room, _) = Room::trained();
    room.write("off.bed", "seq01\t30\t41\n");
    room.write("none.bed", "chr1\t3\t4\n");
    room.write("long.fa", &format!(">x\n{}\n", "ACGT".repeat(20)));
    let before = room.names(".");
    let data = "sim/sequences.fa -o new.npz";
    let grounds = "--backgrounds sim/sequences.fa -o new.npz";
    for (line, part) in [
        (format!("marginalize m.drg --motif motifs.meme {grounds}"), "expected a MEME file, FILE:NAME, or bases"),
        (format!("marginalize m.drg --motif sim/motifs.meme:motif9 {grounds}"), "there is no motif 'motif9'"),
        (format!("marginalize m.drg --motif sim/folds.txt {grounds}"), "sim/folds.txt"),
        (format!("marginalize m.drg --motif ACG --motif acg {grounds}"), "motif 'ACG' comes twice"),
        (format!("marginalize m.drg --motif ACG --sample 3 {grounds}"), "'ACG' has no probabilities"),
        (format!("marginalize m.drg --motif ACG --position 38 {grounds}"), "reach over the end of 40"),
        (format!("marginalize m.drg --motif NNN {grounds}"), "at least one known base"),
        (format!("marginalize m.drg --motif ACG --engine fast {grounds}"), "unknown engine 'fast'"),
        (format!("marginalize m.drg --motif ACG {grounds} --names nobody"), "'nobody'"),
        ("marginalize m.drg --motif ACG --backgrounds long.fa -o new.tsv".into(), "the model takes 40"),
        ("marginalize m.drg --motif ACG --backgrounds sim/sequences.fa -o new.txt.gz".into(), "ends in .npz or .tsv"),
        (format!("space m.drg --motifs ACG {grounds}"), "expected two motifs A,B, found 1"),
        (format!("space m.drg --motifs sim/motifs.meme,ACG {grounds}"), "has 3 motifs; choose one"),
        (format!("space m.drg --motifs ACG,CGT --distances 5 {grounds}"), "expected a:b"),
        (format!("space m.drg --motifs ACG,CGT --distances 0:36 {grounds}"), "at distance 35 do not fit into 40"),
        (format!("space m.drg --motifs ACG,CGT --strands +* --distances 0:3 {grounds}"), "--strands +*"),
        (format!("ablate m.drg {data} --sites off.bed"), "off.bed:1: site 30-41"),
        (format!("ablate m.drg {data} --sites none.bed"), "no site lies in a sequence"),
        (format!("ablate m.drg {data} --range 9:9"), "b <= 40"),
        (format!("ablate m.drg {data} --range 4:9 --fill shufle"), "did you mean 'shuffle'?"),
        (format!("occlude m.drg {data} --width 41"), "expected 0 < width <= 40"),
        (format!("occlude m.drg {data} --step 0"), "a step above 0"),
        (format!("delete m.drg {data} --width 0"), "--width 0: expected 1 to 40"),
        (format!("delete m.drg {data} --width 5 --range 3:7"), "--width 5: expected 1 to 4"),
        (format!("insert m.drg {data} --bases A1"), "'1' at position 1 is no sequence letter"),
        ("insert m.drg sim/sequences.fa -o no/new.npz --bases A".into(), "there is no folder no"),
    ] {
        let Ran { code, out, err } = room.run(&format!("perturb {line}"));
        assert_eq!((code, out.as_str()), (2, ""), "drg perturb {line}: {err}");
        assert!(err.contains(part), "{line}: {err}");
        assert!(err.trim_end().lines().last().is_some_and(|l| l.starts_with("drg perturb ")), "{line}: {err}");
        assert_eq!(room.names("."), before, "drg perturb {line} left something behind");
    }
}
