//! `drg epistasis` as users meet it: arrays, rows and listed pairs hold the same numbers, those of running every mutant, and
//! wrong use is told in one line.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::room::{Ran, Room};
use drg::io::npz::Npz;

const P: usize = 9;

impl Room {
    /// Simulated data, and a model that was trained for an epoch.
    fn trained() -> Self {
        let pool = ["pooling_size=2", "weighted_pooling=True", "max_pooling=False"];
        let options = [&["num_kernels=8", "l_kernels=5"][..], &pool].concat();
        Self::with_model("--sequences 60 --length 50 --tracks 2", &options)
    }

    /// Header, and rows as five texts and the numbers behind them.
    fn rows(&self, file: &str) -> (String, Vec<(Vec<String>, Vec<f32>)>) {
        let text = std::fs::read_to_string(self.path(file)).unwrap();
        let mut lines = text.lines().map(|line| line.split('\t').map(String::from).collect::<Vec<_>>());
        let header = lines.next().unwrap().join(" ");
        let row = |cells: Vec<String>| (cells[..5].to_vec(), cells[5..].iter().map(|c| c.parse().unwrap()).collect());
        (header, lines.map(row).collect())
    }
}

fn close(what: &str, a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "{what}");
    let largest = b.iter().fold(0f32, |s, v| s.max(v.abs()));
    assert!(largest > 0.0, "{what}: nothing happens");
    for (i, (a, b)) in a.iter().zip(b).enumerate() {
        assert!((a - b).abs() <= 2e-4 * largest, "{what}, element {i}: {a} and {b} of {largest}");
    }
}

/// Element (sequence, track, position, base, position, base) of an array of all pairs.
fn at([n, t, p, a, q, b]: [usize; 6]) -> usize {
    ((((n * 2 + t) * P + p) * 4 + a) * P + q) * 4 + b
}

#[test]
fn arrays_rows_and_lists_hold_the_same_numbers() {
    let room = Room::trained();
    let line = "epistasis m.drg sim/sequences.fa --names 3,1 --range 20:29 -q";
    assert_eq!(room.ok(&format!("{line} -o all.npz --engine delta")).out, "all.npz\n");
    room.ok(&format!("{line} -o naive.npz --engine naive --batch-size 7 --threads 1"));
    let (shape, pairs) = room.array::<6>("all.npz", "pairs");
    let (_, epistasis) = room.array::<6>("all.npz", "epistasis");
    let (single_shape, singles) = room.array::<4>("all.npz", "singles");
    assert_eq!((shape, single_shape), ([2, 2, P, 4, P, 4], [2, 2, 4, P]));
    for key in ["pairs", "epistasis"] {
        close(key, &room.array::<6>("all.npz", key).1, &room.array::<6>("naive.npz", key).1);
    }
    let mut npz = Npz::open(&room.path("all.npz")).unwrap();
    assert_eq!(npz.array::<i64, 1>("positions").unwrap().1, (20..29).collect::<Vec<i64>>());
    let (_, bases) = npz.array::<u8, 2>("bases").unwrap();
    let names = npz.strings("names").unwrap();
    // Singles are those of `drg ism`, predictions too.
    room.ok("ism m.drg sim/sequences.fa -o ism.npz --names 3,1 --range 20:29 --engine delta -q");
    assert_eq!(room.array::<4>("ism.npz", "values").1, singles);
    assert_eq!(room.array::<2>("ism.npz", "predictions").1, room.array::<2>("all.npz", "predictions").1);

    let mut mirrored = vec![0f32; pairs.len()];
    let mut parts = vec![0f32; pairs.len()];
    for k in 0..pairs.len() {
        let [b, q, a, p, t, n] =
            [k % 4, k / 4 % P, k / (4 * P) % 4, k / (16 * P) % P, k / (16 * P * P) % 2, k / (32 * P * P)];
        mirrored[k] = pairs[at([n, t, q, b, p, a])];
        let same = p == q || bases[n * P + p] == a as u8 || bases[n * P + q] == b as u8;
        assert!(!same || (pairs[k], epistasis[k]) == (0.0, 0.0));
        if !same {
            let single = |p: usize, a: usize| singles[((n * 2 + t) * 4 + a) * P + p];
            parts[k] = epistasis[k] + single(p, a) + single(q, b);
        }
    }
    assert_eq!(mirrored, pairs);
    close("sum of the parts", &parts, &pairs);

    // Rows of all pairs.
    room.ok(&format!("{line} -o all.tsv --engine delta --threads 3"));
    let (header, rows) = room.rows("all.tsv");
    assert!(header.starts_with("sequence pos1 base1 pos2 base2 effect_ij:track1 effect_i:track1 effect_j:track1"));
    assert_eq!((rows.len(), header.split(' ').count()), (2 * P * (P - 1) / 2 * 9, 5 + 2 * 4));
    let number = |text: &str| text.parse::<usize>().unwrap() - 20;
    let base = |text: &str| "ACGT".find(text).unwrap();
    for (cells, numbers) in &rows {
        let n = names.iter().position(|name| *name == cells[0]).unwrap();
        for t in 0..2 {
            let k = at([n, t, number(&cells[1]), base(&cells[2]), number(&cells[3]), base(&cells[4])]);
            assert_eq!((numbers[t * 4], numbers[t * 4 + 3]), (pairs[k], epistasis[k]), "{cells:?}");
        }
    }

    // Some of them, listed in another order, the sides swapped in every other.
    let mut list = "sequence\tpos1\tbase1\tpos2\tbase2\tnote\n".to_string();
    let some: Vec<_> = rows.iter().rev().step_by(7).collect();
    for (i, (c, _)) in some.iter().enumerate() {
        let [p, a, q, b] = if i % 2 == 0 { [&c[1], &c[2], &c[3], &c[4]] } else { [&c[3], &c[4], &c[1], &c[2]] };
        list += &format!("{}\t{p}\t{}\t{q}\t{b}\tx\n", c[0], a.to_lowercase());
    }
    std::fs::write(room.path("list.tsv"), list).unwrap();
    room.ok("epistasis m.drg sim/sequences.fa -o listed.tsv --pairs list.tsv --engine delta -q");
    let (again, listed) = room.rows("listed.tsv");
    assert_eq!((again, listed.len()), (header, some.len()));
    for (i, ((cells, numbers), (c, of))) in listed.iter().zip(&some).enumerate() {
        let p = if i % 2 == 0 { &c[1] } else { &c[3] };
        assert_eq!((&cells[0], &cells[1], numbers[0]), (&c[0], p, of[0]));
        assert_eq!(numbers[4 + 1 + i % 2], of[4 + 1]);
    }

    // Near pairs only: the first position, its base, the distance less one, the base there.
    room.ok(&format!("{line} -o near.npz --max-distance 3 --engine delta --tracks 1"));
    let (shape, near) = room.array::<6>("near.npz", "pairs");
    assert_eq!(shape, [2, 1, P, 4, 3, 4]);
    for (k, &value) in near.iter().enumerate() {
        let [b, d, a, p, n] = [k % 4, k / 4 % 3, k / 12 % 4, k / 48 % P, k / (48 * P)];
        let want = if p + d + 1 < P { pairs[at([n, 1, p, a, p + d + 1, b])] } else { 0.0 };
        assert_eq!(value, want);
    }
}

#[test]
fn a_pair_is_the_mutant_that_has_both() {
    let room = Room::trained();
    let text = std::fs::read_to_string(room.path("sim/sequences.fa")).unwrap();
    let mut lines = text.lines();
    let name = lines.next().unwrap().trim_start_matches('>').split_whitespace().next().unwrap().to_string();
    let sequence = lines.take_while(|l| !l.starts_with('>')).collect::<String>();
    let other = |p: usize| if &sequence[p..=p] == "A" { "C" } else { "A" };
    let mut both = sequence.clone();
    [4, 31].iter().for_each(|&p| both.replace_range(p..=p, other(p)));
    std::fs::write(room.path("two.fa"), format!(">a\n{sequence}\n>b\n{both}\n")).unwrap();
    room.ok("predict m.drg two.fa -o two.npz -q");
    let (_, predictions) = room.array::<2>("two.npz", "values");
    let row = format!("{name}\t31\t{}\t4\t{}", other(31), other(4));
    std::fs::write(room.path("list.tsv"), format!("sequence\tpos1\tbase1\tpos2\tbase2\n{row}\n")).unwrap();
    for engine in ["delta", "naive", "auto"] {
        room.ok(&format!("epistasis m.drg sim/sequences.fa -o one.tsv --pairs list.tsv --engine {engine} -q"));
        let (_, rows) = room.rows("one.tsv");
        assert_eq!(rows[0].0.join("\t"), row);
        close(
            engine,
            &[rows[0].1[0], rows[0].1[4]],
            &[predictions[2] - predictions[0], predictions[3] - predictions[1]],
        );
    }
}

#[test]
fn wrong_use_is_told_in_one_line() {
    let room = Room::trained();
    let write = |name: &str, text: &str| std::fs::write(room.path(name), text).unwrap();
    let text = std::fs::read_to_string(room.path("sim/sequences.fa")).unwrap();
    let name = text.lines().next().unwrap().trim_start_matches('>').split_whitespace().next().unwrap();
    let first = &text.lines().nth(1).unwrap()[..1];
    let other = if first == "A" { "C" } else { "A" };
    let header = "sequence\tpos1\tbase1\tpos2\tbase2\n";
    write("nobody.tsv", &format!("{header}nobody\t1\tA\t2\tC\n"));
    write("off.tsv", &format!("{header}{name}\t0\t{other}\t50\tC\n"));
    write("letter.tsv", &format!("{header}{name}\t0\tN\t5\tC\n"));
    write("same.tsv", &format!("{header}{name}\t0\t{first}\t5\tC\n"));
    write("twice.tsv", &format!("{header}{name}\t0\t{other}\t0\t{other}\n"));
    write("column.tsv", &format!("sequence\tpos1\tbase1\tpos2\talt2\n{name}\t0\tA\t5\tC\n"));
    write("empty.tsv", "");
    let before = room.names(".");
    let start = "epistasis m.drg sim/sequences.fa";
    for (line, part) in [
        (format!("{start} -o x.npz --range 40:51"), "b <= 50"),
        (format!("{start} -o x.npz --range 4:5"), "two positions"),
        (format!("{start} -o x.zarr"), "ends in .npz or .tsv"),
        (format!("{start} -o no/x.npz"), "there is no folder no"),
        (format!("{start} -o x.npz --names nobody"), "'nobody'"),
        (format!("{start} -o x.npz --tracks track9"), "track9"),
        (format!("{start} -o x.npz --engine fast"), "expected auto, delta or naive"),
        (format!("{start} -o x.npz --precision f16"), "f16 needs a GPU"),
        (format!("{start} -o x.npz --pairs off.tsv"), "expected .tsv"),
        (format!("{start} -o x.tsv --pairs nobody.tsv"), "nobody.tsv:2"),
        (format!("{start} -o x.tsv --pairs off.tsv"), "expected a position from 0 to 49, found '50'"),
        (format!("{start} -o x.tsv --pairs letter.tsv"), "expected A, C, G or T, found 'N'"),
        (format!("{start} -o x.tsv --pairs same.tsv"), "at position 0 already; positions count from 0"),
        (format!("{start} -o x.tsv --pairs twice.tsv"), "twice.tsv:2, column pos2: both positions are 0"),
        (format!("{start} -o x.tsv --pairs column.tsv"), "no column 'base2'"),
        (format!("{start} -o x.tsv --pairs empty.tsv"), "the file is empty"),
        (format!("{start} -o x.tsv --pairs missing.tsv"), "missing.tsv"),
    ] {
        let Ran { code, out, err } = room.run(&line);
        assert_eq!((code, out.as_str()), (2, ""), "drg {line}: {err}");
        assert!(
            err.contains(part) && err.trim_end().lines().last().is_some_and(|l| l.starts_with("drg ")),
            "{line}: {err}"
        );
        assert_eq!(room.names("."), before, "drg {line} left something behind");
    }
    for line in ["-o x.tsv --pairs off.tsv --range 1:9", "-o x.npz --max-distance 0"] {
        let Ran { code, out, .. } = room.run(&format!("{start} {line}"));
        assert_eq!((code, out.as_str()), (2, ""), "{line}");
    }
}
