//! `drg train`, `predict` and `ism` as users meet them: their files agree with each other, and wrong use is told in one line with
//! exit code 2 and leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and may say why it skips")]

mod common;

use common::room::{Ran, Room};

impl Room {
    /// Simulated data and a model that was trained for an epoch.
    fn trained() -> Self {
        Self::with_model("--sequences 80 --length 40 --tracks 2", &["num_kernels=8", "l_kernels=7", "pooling_size=5"])
    }
}

#[test]
fn predictions_and_effects_agree() {
    let room = Room::trained();
    assert_eq!(room.names("."), ["m.drg", "m.drg.json", "m_loss.txt", "m_pred.npz", "m_scores.tsv", "sim"]);
    assert_eq!(room.ok("predict m.drg sim/sequences.fa -o p.npz -q").out, "p.npz\n");
    room.ok("predict m.drg sim/sequences.fa -o q.npz --batch-size 7 --threads 1 -q");
    room.ok("predict m.drg sim/sequences.fa -o cpu.npz --device cpu -q");
    let record = std::fs::read_to_string(room.path("cpu.npz.json")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&record).unwrap();
    assert_eq!(record["device"], "cpu", "the record says what computed");
    let predictions = |name: &str| room.npz(name).array::<f32, 2>("values").unwrap();
    let ([n, tracks], all) = predictions("p.npz");
    assert_eq!(((n, tracks), &all), ((80, 2), &predictions("q.npz").1));
    assert_eq!(room.npz("p.npz").strings("columns").unwrap(), ["track1", "track2"]);
    // The predictions of the test set are those of the same sequences.
    let names = room.npz("p.npz").strings("names").unwrap();
    let (_, test) = predictions("m_pred.npz");
    for (i, name) in room.npz("m_pred.npz").strings("names").unwrap().iter().enumerate() {
        let at = names.iter().position(|n| n == name).unwrap();
        assert_eq!(test[i * 2..][..2], all[at * 2..][..2], "{name}");
    }
    // An effect is the prediction of the mutant minus that of the sequence.
    room.ok("ism m.drg sim/sequences.fa -o i.npz --names 3 --tracks track2 -q");
    let ([1, 1, 4, 40], effects) = room.npz("i.npz").array::<f32, 4>("values").unwrap() else { panic!("shape") };
    let ([1, 40], bases) = room.npz("i.npz").array::<u8, 2>("bases").unwrap() else { panic!("shape") };
    let letters = |codes: &[u8]| codes.iter().map(|&c| b"ACGTN"[c as usize] as char).collect::<String>();
    let mut mutant = bases.clone();
    mutant[11] = (bases[11] + 1) % 4;
    let text = format!(">a\n{}\n>b\n{}\n", letters(&bases), letters(&mutant));
    std::fs::write(room.path("two.fa"), text).unwrap();
    room.ok("predict m.drg two.fa -o two.npz --tracks 1 -q");
    let (_, two) = predictions("two.npz");
    let effect = effects[mutant[11] as usize * 40 + 11];
    assert!((effect - (two[1] - two[0])).abs() < 1e-5, "{effect} {two:?}");
    assert_eq!(effects[bases[11] as usize * 40 + 11], 0.0);
}

#[test]
fn wrong_use_is_told_in_one_line() {
    let room = Room::trained();
    let write = |name: &str, text: &str| std::fs::write(room.path(name), text).unwrap();
    write("empty.fa", "");
    write("twice.fa", ">a\nACGT\n>a\nACGT\n");
    write("ragged.tsv", "#\tA\tB\nseq01\t1\t2\nseq02\t3\n");
    write("nan.tsv", "#\tA\nseq01\tnan\n");
    write("long.fa", &format!(">x\n{}\n", "ACGT".repeat(20)));
    let whole = std::fs::read(room.path("m.drg")).unwrap();
    std::fs::write(room.path("cut.drg"), &whole[..whole.len() / 2]).unwrap();
    let before = room.names(".");
    let data = "sim/sequences.fa sim/targets.tsv -o new.drg";
    for (line, part) in [
        ("train empty.fa sim/targets.tsv -o new.drg".to_string(), "empty.fa: the file is empty"),
        ("train twice.fa sim/targets.tsv -o new.drg".into(), "twice.fa:3: name 'a' comes twice"),
        ("train sim/sequences.fa ragged.tsv -o new.drg".into(), "ragged.tsv:3: expected 3 columns"),
        ("train sim/sequences.fa nan.tsv -o new.drg".into(), "row 'seq01', column 'A' is NaN"),
        ("train sim/sequences.fa -o new.drg".into(), "no measurements"),
        (format!("train {data} --set num_kernel=3"), "did you mean 'num_kernels'?"),
        (format!("train {data} --cnn n_hyenaconv=2+num_kernels=4"), "n_hyenaconv"),
        (format!("train {data} --set num_kernels=4 --crossvalidation sim/folds.txt 77"), "folds 0 to 9"),
        (format!("train {data} --set num_kernels=4 --crossvalidation hash:x 0"), "'x'"),
        ("train sim/sequences.fa sim/targets.tsv -o no/new.drg".into(), "there is no folder no"),
        (format!("train {data} --set num_kernels=4 --from no.drg"), "cannot read no.drg"),
        ("predict cut.drg sim/sequences.fa -o new.npz".into(), "cut.drg: the file is cut off"),
        ("predict sim/sequences.fa sim/sequences.fa -o new.npz".into(), "no readable safetensors file"),
        ("predict m.drg long.fa -o new.npz".into(), "the model takes 40"),
        ("predict m.drg sim/sequences.fa -o new.xlsx".into(), "ends in .npz or .tsv"),
        ("predict m.drg sim/sequences.fa -o new.npz --tracks track9".into(), "track9"),
        ("ism m.drg sim/sequences.fa -o new.npz --names nobody".into(), "'nobody'"),
        ("ism m.drg sim/sequences.fa -o new.npz --range 10:99".into(), "b <= 40"),
    ] {
        let Ran { code, out, err } = room.run(&line);
        assert_eq!((code, out.as_str()), (2, ""), "drg {line}: {err}");
        assert!(
            err.contains(part) && err.trim_end().lines().last().is_some_and(|l| l.starts_with("drg ")),
            "{line}: {err}"
        );
        assert_eq!(room.names("."), before, "drg {line} left something behind");
    }
}
