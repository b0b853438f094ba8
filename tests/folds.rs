//! Folds and averages of models through the program: `drg ensemble`, all folds of `drg train`, scores over folds.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::room::{Ran, Room};
use drg::io::npz::Npz;
use drg::model::Model;
use drg::stat::{mean, sd, t_interval};

const OPTIONS: &str = "num_kernels=4+l_kernels=5+max_pooling=False+mean_pooling=True+pooling_size=8+batchsize=16+\
                       loss_function=MSE+epochs=2";
const TRAIN: &str = "train sim/sequences.fa sim/targets.tsv --reverse-complement";

impl Room {
    fn simulated() -> Self {
        let room = Self::new();
        room.ok("simulate -o sim --sequences 60 --length 30 --tracks 2 --motifs 2 --seed 1 -q");
        room
    }

    /// Sequences s0.. of the data, dealt to three sets.
    fn three_sets(&self) -> Vec<Vec<String>> {
        let fasta = self.read("sim/sequences.fa");
        let names = fasta.lines().filter_map(|l| l.strip_prefix('>')).map(str::to_string);
        let mut sets = vec![vec![]; 3];
        names.enumerate().for_each(|(i, name)| sets[(i + i / 4) % 3].push(name));
        let lines: Vec<String> = sets.iter().map(|s| s.join(" ")).collect();
        self.write("folds.txt", &lines.join("\n"));
        sets
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn refused(&self, line: &str) -> String {
        let ran: Ran = self.run(line);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "drg {line}: {}", ran.err);
        ran.err
    }

    /// Names and values `[N, T]` of a file of predictions.
    fn predictions(&self, name: &str) -> (Vec<String>, Vec<f32>) {
        let mut npz = Npz::open(&self.path(name)).unwrap();
        (npz.strings("names").unwrap(), npz.numbers::<f32>("values").unwrap().1)
    }

    fn there(&self, name: &str) -> bool {
        self.path(name).exists()
    }
}

/// Cells of the lines of a table whose first cells are these, behind them.
fn cells(table: &str, first: &[&str]) -> Vec<f64> {
    let line = table.lines().find(|l| l.split('\t').zip(first).filter(|(a, b)| a == *b).count() == first.len());
    let line = line.unwrap_or_else(|| panic!("no line {first:?} in {table}"));
    line.split('\t').skip(first.len()).map(|c| c.parse().unwrap()).collect()
}

#[test]
fn an_average_is_a_model_for_every_verb() {
    let room = Room::simulated();
    // Scales of targets that differ: the sets do.
    for (i, name) in ["a", "b", "c"].into_iter().enumerate() {
        let line = format!("{TRAIN} -o {name}.drg --cnn {OPTIONS}+standardize_targets=True --seed {i} -q");
        room.ok(&format!("{line} --crossvalidation 3 {i}"));
    }
    let ran = room.ok("ensemble a.drg b.drg c.drg -o mean.drg");
    assert_eq!(ran.out, "mean.drg\n");
    assert!(ran.err.contains("average of 3 models, 2 tracks"), "{}", ran.err);
    let record: serde_json::Value = serde_json::from_str(&room.read("mean.drg.json")).unwrap();
    assert_eq!(record["verb"], "ensemble");
    for name in ["a", "b", "c", "mean"] {
        room.ok(&format!("predict {name}.drg sim/sequences.fa -o {name}.npz -q"));
    }
    let each: Vec<Vec<f32>> = ["a.npz", "b.npz", "c.npz"].iter().map(|n| room.predictions(n).1).collect();
    let found = room.predictions("mean.npz").1;
    let expected: Vec<f32> = (0..found.len()).map(|i| each.iter().map(|p| p[i]).sum::<f32>() / 3.0).collect();
    assert!(each[0] != each[1] && found.len() == 120);
    assert!(
        found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= 2e-6 * (1.0 + b.abs())),
        "{found:?}\n{expected:?}"
    );

    // Another order, the same up to rounding.
    room.ok("ensemble c.drg a.drg b.drg -o turned.drg -q");
    room.ok("predict turned.drg sim/sequences.fa -o turned.npz -q");
    let turned = room.predictions("turned.npz").1;
    assert!(turned.iter().zip(&found).all(|(a, b)| (a - b).abs() <= 2e-6 * (1.0 + b.abs())));

    // The delta engine against running every mutant; effects are the means of the members'.
    let ran = room.ok("ism mean.drg sim/sequences.fa -o mean_ism.npz --verify 0.5");
    let said = format!("{}{}", ran.out, ran.err);
    let verified = said.split_once("verified ").and_then(|(_, rest)| rest.split_once(" mutants"));
    assert!(verified.is_some_and(|(n, _)| n.parse::<usize>().is_ok_and(|n| n > 0)), "{said}");
    let effects = |model: &str| {
        room.ok(&format!("ism {model}.drg sim/sequences.fa -o {model}_ism.npz -q"));
        Npz::open(&room.path(&format!("{model}_ism.npz"))).unwrap().numbers::<f32>("values").unwrap().1
    };
    let each: Vec<Vec<f32>> = ["a", "b", "c"].map(effects).into();
    let found = effects("mean");
    assert!(found.iter().any(|v| v.abs() > 1e-3), "some effects");
    for (i, v) in found.iter().enumerate() {
        let expected = each.iter().map(|p| p[i]).sum::<f32>() / 3.0;
        assert!((v - expected).abs() <= 2e-6 * (1.0 + expected.abs()), "effect {i}: {v} {expected}");
    }

    // Variants: the mean of the members' scores.
    let header = "chrom\tpos\tref\talt\n";
    let (name, first) = {
        let fasta = room.read("sim/sequences.fa");
        let mut lines = fasta.lines();
        let name = lines.next().unwrap()[1..].split_whitespace().next().unwrap().to_string();
        (name, lines.next().unwrap()[4..5].to_string())
    };
    let other = if first == "A" { "C" } else { "A" };
    room.write("v.tsv", &format!("{header}{name}\t5\t{first}\t{other}\n"));
    let score = |model: &str| {
        room.ok(&format!("variants {model}.drg v.tsv --sequences sim/sequences.fa -o v_{model}.tsv -q"));
        let text = room.read(&format!("v_{model}.tsv"));
        let (names, line) = (text.lines().next().unwrap().to_string(), text.lines().nth(1).unwrap().to_string());
        let mut cells = names.split('\t').zip(line.split('\t')).filter(|(n, _)| n.starts_with("diff:"));
        cells.next().unwrap_or_else(|| panic!("{text}")).1.parse::<f64>().unwrap()
    };
    let members = ["a", "b", "c"].map(score);
    assert!((score("mean") - members.iter().sum::<f64>() / 3.0).abs() < 1e-6 && members[0] != 0.0, "{members:?}");

    let listed = room.ok("convert --list mean.drg").out;
    assert!(listed.contains("members.0.convolutions.conv1d.weight") && listed.contains("members.2."), "{listed}");
    room.ok("report --model mean.drg -o report.html -q");
    assert!(room.read("report.html").contains("average of 3 such models"));

    // What looks inside takes a member, and the text says how it is come by.
    let how = "drg convert MEAN.drg --member N -o member.drg";
    for line in [
        "predict mean.drg sim/sequences.fa -o x.npz --embedding 0",
        "predict mean.drg sim/sequences.fa -o x.npz --mask 0",
    ] {
        let said = room.run(line).err;
        assert!(said.contains("average of models") && said.contains(how), "{said}");
    }
    let ran = room.ok("convert mean.drg --member 1 -o member.drg");
    assert!(ran.out == "member.drg\n" && room.there("member.drg.json"), "{}", ran.out);
    room.ok("predict member.drg sim/sequences.fa -o member.npz -q");
    // The sets were standardized by themselves: equal but for a constant of each track.
    assert!(ran.err.contains("up to a constant for each track"), "{}", ran.err);
    let (found, expected) = (room.predictions("member.npz").1, room.predictions("b.npz").1);
    for (i, (a, b)) in found.iter().zip(&expected).enumerate() {
        let constant = expected[i % 2] - found[i % 2];
        assert!((a + constant - b).abs() <= 4e-6 * (1.0 + b.abs()), "{i}: {a} {b}");
    }
    assert!(expected[0] != expected[2]);
    room.ok("predict member.drg sim/sequences.fa -o x.npz --embedding 0 -q");
    assert!(room.refused("convert b.drg --member 0 -o x.drg").contains("b.drg is no average of models"));

    // Single members come out as PyTorch takes them, averages do not.
    let said = room.refused("convert mean.drg -o mean.pth");
    assert!(said.contains("an average of 3 models") && said.contains("--member 2"), "{said}");
    assert!(room.refused("convert mean.drg -o m.pth --member 3").contains("has members 0 to 2"));
    room.ok("convert mean.drg -o one.pth --member 1 -q");
    room.ok("convert b.drg -o b.pth -q");
    assert_eq!(room.bytes("one.pth"), room.bytes("b.pth"));
}

#[test]
fn what_cannot_be_averaged_is_refused() {
    let room = Room::simulated();
    room.ok(&format!("{TRAIN} -o a.drg --cnn {OPTIONS} --set epochs=0 -q"));
    room.ok(&format!("{TRAIN} -o b.drg --cnn {OPTIONS} --set epochs=0 --set num_kernels=5 -q"));
    room.ok(&format!("{TRAIN} -o c.drg --cnn {OPTIONS} --set epochs=0 --set seed=7 -q"));
    let said = room.refused("ensemble a.drg b.drg -o m.drg");
    assert!(
        said.contains("a.drg and b.drg cannot be averaged") && said.contains("'kernels' is 4 in the first and 5"),
        "{said}"
    );
    assert!(room.refused("ensemble a.drg -o m.drg").contains("two models or more, found 1"));
    assert!(room.refused("ensemble a.drg c.drg a.drg -o m.drg").contains("a.drg is named twice"));
    assert!(room.refused("ensemble a.drg c.drg -o a.drg").contains("-o a.drg is one of the models"));
    assert!(!room.there("m.drg"));
    room.ok("ensemble a.drg c.drg -o mean.drg -q");
    let line = format!("{TRAIN} -o x.drg --cnn {OPTIONS}");
    let said = room.refused(&format!("{line} --from mean.drg"));
    assert!(said.contains("--from mean.drg: an average of 2 models"), "{said}");
    let said = room.refused(&format!("{line} --load-parameters mean.drg None None False False"));
    assert!(said.contains("mean.drg is an average of models"), "{said}");
}

#[test]
fn all_folds_in_one_command() {
    let room = Room::simulated();
    let sets = room.three_sets();
    let line = format!("{TRAIN} --cnn {OPTIONS} --crossvalidation folds.txt");
    let ran = room.ok(&format!("{line} all -o m.drg"));
    let files = ["m_fold0.drg", "m_fold1.drg", "m_fold2.drg", "m_all_pred.npz", "m_all_scores.tsv", "m.drg"];
    assert_eq!(ran.out.lines().collect::<Vec<_>>(), files);
    assert!(
        ran.err.lines().filter(|l| l.starts_with("fold ")).count() == 3 && ran.err.contains("all folds: Pearson r")
    );
    assert!(!ran.err.contains("epoch 1"), "{}", ran.err);

    // Each fold is what a run of its own gives.
    room.ok(&format!("{line} 1 -o one.drg -q"));
    for suffix in [".drg", "_loss.txt", "_pred.npz"] {
        assert_eq!(room.bytes(&format!("one{suffix}")), room.bytes(&format!("m_fold1{suffix}")), "{suffix}");
    }
    assert_eq!(room.read("one_scores.tsv").replace("one\t", "m_fold1\t"), room.read("m_fold1_scores.tsv"));

    // Every sequence once, in the order of the data, by the model whose test set it is in.
    let (names, values) = room.predictions("m_all_pred.npz");
    let (all, _) = {
        room.ok("predict m_fold0.drg sim/sequences.fa -o all.npz -q");
        room.predictions("all.npz")
    };
    assert_eq!(names, all);
    for (i, name) in names.iter().enumerate() {
        let set = sets.iter().position(|s| s.contains(name)).unwrap();
        let (own, predicted) = room.predictions(&format!("m_fold{}_pred.npz", (set + 2) % 3));
        let at = own.iter().position(|n| n == name).unwrap();
        assert_eq!(values[2 * i..][..2], predicted[2 * at..][..2], "{name}");
    }

    // Scores: of all predictions, and over folds.
    let table = room.read("m_all_scores.tsv");
    room.ok("eval score m_all_pred.npz sim/targets.tsv -o again.tsv -q");
    let again = room.read("again.tsv");
    let track = Model::load(&room.path("m.drg")).unwrap().tracks[0][0].clone();
    for metric in ["r", "rmse"] {
        let class = table.lines().nth(1).unwrap().split('\t').nth(1).unwrap();
        let of = |table: &str, model: &str| cells(table, &[model, class, "track", &track, metric]);
        let found = of(&table, "m_all");
        assert_eq!(found[..2], of(&again, "m_all")[..2], "{metric}");
        let fold = |i: usize| of(&room.read(&format!("m_fold{i}_scores.tsv")), &format!("m_fold{i}"))[0];
        let folds = [0, 1, 2].map(fold);
        let (low, high) = t_interval(&folds, 0.95);
        assert_eq!(found[2..], [3.0, mean(&folds), sd(&folds), low, high], "{metric}");
    }

    // The same of the files of the folds.
    let files = "m_fold0_pred.npz,m_fold1_pred.npz,m_fold2_pred.npz";
    let ran = room.ok(&format!("eval score {files} sim/targets.tsv -o files.tsv -q"));
    assert!(ran.out.starts_with("m_all: 60 sequences, 2 tracks") && ran.out.contains("over 3 folds"), "{}", ran.out);
    let ran = room.ok(&format!("eval score {files} sim/targets.tsv -o files.tsv -q --json"));
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&json["folds"][0]["folds"], &json["folds"][0]["metric"]), (&3.into(), &"r".into()), "{json:#}");
    let files = room.read("files.tsv");
    // With blanks between them, as a pattern gives them; that of all folds together is none of them.
    let line =
        "eval score m_fold0_pred.npz m_fold1_pred.npz m_fold2_pred.npz m_all_pred.npz sim/targets.tsv -o more.tsv";
    let ran = room.ok(line);
    assert!(ran.err.contains("m_all_pred.npz is of all folds together and left out"), "{}", ran.err);
    assert_eq!(files, room.read("more.tsv"));
    // Folds that are scored again are called as they were.
    for i in 0..3 {
        room.ok(&format!("eval score m_fold{i}_pred.npz sim/targets.tsv -o re_fold{i}_scores.tsv -q"));
    }
    let line =
        "eval merge re_fold0_scores.tsv re_fold1_scores.tsv re_fold2_scores.tsv --how mean --folds -o merged.tsv";
    room.ok(line);
    assert!(room.read("merged.tsv").lines().skip(1).all(|l| l.starts_with("m\t")), "{}", room.read("merged.tsv"));
    assert_eq!(files.lines().next(), table.lines().next());
    let mut compared = 0;
    for line in files.lines().skip(1) {
        let first: Vec<&str> = line.split('\t').take(5).collect();
        let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * (1.0 + b.abs()) || (a.is_nan() && b.is_nan());
        assert!(cells(&files, &first).iter().zip(&cells(&table, &first)).all(close), "{first:?}");
        compared += 1;
    }
    assert_eq!(compared, table.lines().count() - 1);

    // The average.
    room.ok("ensemble m_fold0.drg m_fold1.drg m_fold2.drg -o mean.drg -q");
    assert_eq!(room.bytes("mean.drg"), room.bytes("m.drg"));
    assert!(room.there("m.drg.json") && room.there("m_all_scores.tsv.json") && !room.there("m.drg.state"));
}

#[test]
fn an_interrupted_run_goes_on_in_its_fold() {
    let room = Room::simulated();
    let line = format!("{TRAIN} --cnn {OPTIONS} --crossvalidation hash:4 all -q");
    room.ok(&format!("{line} -o whole.drg"));
    room.ok(&format!("{line} -o m.drg"));
    // As if it had been stopped in the second fold, after its model was written and before it was tested.
    let old = room.bytes("m_fold0.drg");
    for name in ["m_fold1_pred.npz", "m_fold1.drg.json", "m_fold2.drg", "m_fold3_scores.tsv", "m.drg", "m_all_pred.npz"]
    {
        std::fs::remove_file(room.path(name)).unwrap();
    }
    let written = |name: &str| std::fs::metadata(room.path(name)).unwrap().modified().unwrap();
    let before = written("m_fold0.drg");
    room.ok(&format!("{line} -o m.drg --resume"));
    assert_eq!((written("m_fold0.drg"), room.bytes("m_fold0.drg")), (before, old));
    let mut suffixes: Vec<String> = (0..4).map(|i| format!("_fold{i}.drg")).collect();
    suffixes.extend([".drg", "_all_pred.npz", "_fold1_pred.npz", "_fold3_loss.txt"].map(String::from));
    for suffix in suffixes {
        assert_eq!(room.bytes(&format!("m{suffix}")), room.bytes(&format!("whole{suffix}")), "{suffix}");
    }
    assert_eq!(room.read("m_all_scores.tsv").replace("m_all\t", "whole_all\t"), room.read("whole_all_scores.tsv"));
    // With other options nothing is mixed.
    let said = room.refused(&format!("{line} -o m.drg --resume --set num_kernels=5"));
    assert!(said.contains("m_fold0.drg is of another run: 'kernels' was 4 and is now 5"), "{said}");
}

/// A run of fewer folds leaves none of an earlier one, and nothing else is touched.
#[test]
fn folds_of_an_earlier_run_are_removed() {
    let room = Room::simulated();
    let line =
        format!("{TRAIN} --cnn {OPTIONS} --set epochs=1 -o m.drg --save-embedding 0 --save-correlation-perclass");
    room.ok(&format!("{line} --crossvalidation hash:4 all -q"));
    room.ok(&format!("{TRAIN} --cnn {OPTIONS} --set epochs=1 --crossvalidation hash:4 0 -o m_fold5.drg -q"));
    room.write("m_fold3_notes.txt", "mine");
    room.write("m_all.txt", "mine");
    let files = |start: &str| -> Vec<String> {
        let all = std::fs::read_dir(room.0.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut all: Vec<String> = all.filter(|name| name.starts_with(start)).collect();
        all.sort();
        all
    };
    assert!(files("m_fold3").len() > 7 && room.there("m_fold3_embed0.npz"), "{:?}", files("m_fold3"));
    let said = room.refused(&format!("{line} --crossvalidation hash:3 all --resume"));
    assert!(said.contains("m_fold3.drg is of an earlier run, which had more folds"), "{said}");
    let (kept, all) = (files("m_fold5"), files("m_all"));
    let ran = room.ok(&format!("{line} --crossvalidation hash:3 all --no-average"));
    assert!(
        ran.err.contains("removed, of an earlier run of all folds: m_fold3.drg, m_fold3.drg.json, "),
        "{}",
        ran.err
    );
    assert_eq!(files("m_fold3"), ["m_fold3_notes.txt"]);
    assert_eq!((files("m_fold5"), files("m_all")), (kept, all));
    assert!(!room.there("m.drg") && !room.there("m.drg.json"));
    // A model of one run is no average, and stays.
    room.ok(&format!("{TRAIN} --cnn {OPTIONS} --set epochs=1 --crossvalidation hash:4 0 -o m.drg -q"));
    let before = room.bytes("m.drg");
    let ran = room.ok(&format!("{line} --crossvalidation hash:3 all --no-average"));
    assert_eq!(room.bytes("m.drg"), before);
    assert!(ran.err.contains("removed, of an earlier run of all folds: m_all_pred.npz"), "{}", ran.err);
}

/// Folds that are finished are tested again where other files or scores are asked for, and not trained.
#[test]
fn finished_folds_are_tested_again() {
    let room = Room::simulated();
    let names: Vec<String> =
        room.read("sim/targets.tsv").lines().next().unwrap().split('\t').skip(1).map(String::from).collect();
    room.write("means.txt", &names.iter().map(|t| format!("{t} mean\n")).collect::<String>());
    let line = format!("{TRAIN} --cnn {OPTIONS} --set epochs=1 --crossvalidation hash:3 all");
    let more = "--save-embedding 0 --save-correlation-perclass --class-means means.txt";
    room.ok(&format!("{line} -o m.drg -q"));
    let written = |name: &str| std::fs::metadata(room.path(name)).unwrap().modified().unwrap();
    let before = written("m_fold1.drg");
    let ran = room.ok(&format!("{line} -o m.drg --resume {more}"));
    assert!(ran.err.contains("fold 1 is trained, and tested again"), "{}", ran.err);
    assert!(ran.err.contains("(means over 1 means of tracks)"), "{}", ran.err);
    assert_eq!(written("m_fold1.drg"), before);
    room.ok(&format!("{line} -o whole.drg -q {more}"));
    for i in 0..3 {
        assert_eq!(room.bytes(&format!("m_fold{i}_embed0.npz")), room.bytes(&format!("whole_fold{i}_embed0.npz")));
        let table = |model: &str| room.read(&format!("{model}_fold{i}_scores.tsv"));
        assert_eq!(table("m").replace("m_fold", "whole_fold"), table("whole"));
    }
    assert_eq!(room.read("m_all_scores.tsv").replace("m_all", "whole_all"), room.read("whole_all_scores.tsv"));
    // Once is enough.
    let ran = room.ok(&format!("{line} -o m.drg --resume {more}"));
    assert!(!ran.err.contains("tested again"), "{}", ran.err);
    std::fs::remove_file(room.path("m_fold2_embed0.npz")).unwrap();
    let ran = room.ok(&format!("{line} -o m.drg --resume {more}"));
    assert!(!ran.err.contains("fold 1 is trained") && ran.err.contains("fold 2 is trained, and tested"), "{}", ran.err);
}

/// A run that is ended while it trains its second fold goes on after the last whole epoch.
#[test]
fn a_run_that_is_ended_goes_on() {
    let room = Room::simulated();
    let line = format!("{TRAIN} --cnn {OPTIONS} --crossvalidation 3 all -q --set epochs=12 --set patience=100");
    room.ok(&format!("{line} -o whole.drg"));
    let ended = format!("{line} -o m.drg");
    let mut child = std::process::Command::new(common::room::program())
        .current_dir(room.0.path())
        .args(ended.split_whitespace())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while !room.there("m_fold1.drg.state") && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(room.there("m_fold0.drg.json") && !room.there("m_all_scores.tsv"));
    room.ok(&format!("{line} -o m.drg --resume"));
    for suffix in ["_fold0.drg", "_fold1.drg", "_fold1_loss.txt", "_fold2.drg", ".drg", "_all_pred.npz"] {
        assert_eq!(room.bytes(&format!("m{suffix}")), room.bytes(&format!("whole{suffix}")), "{suffix}");
    }
    assert!(!room.there("m_fold1.drg.state"));
}

#[test]
fn folds_that_are_asked_for_in_other_ways() {
    let room = Room::simulated();
    let line = format!("{TRAIN} --cnn {OPTIONS} --set epochs=1 -q");
    // DRG's names, and no average. 60 rows are no multiple of 7: two folds share rows, and some are in none.
    let ran = room.ok(&format!("{line} --crossvalidation 7 all 0 --outname x --no-average --set add_outname=False"));
    assert!(
        ran.out.starts_with("x-cv7-0.drg\nx-cv7-1.drg\n") && ran.out.ends_with("x-cv7-all_all_scores.tsv\n"),
        "{}",
        ran.out
    );
    assert!(!room.there("x-cv7-all.drg"));
    let (mut names, _) = room.predictions("x-cv7-all_all_pred.npz");
    names.sort();
    names.dedup();
    assert!(names.len() > 55 && names.len() <= 60, "{}", names.len());
    // Rows that choose an epoch and test it: counted over all folds.
    let ran = room.ok(&format!("{TRAIN} --cnn {OPTIONS} --set epochs=1 --crossvalidation 7 all -o seven.drg"));
    let shared = "sequences are both in the validation and in the test set of a fold";
    assert!(ran.err.matches(shared).count() == 1 && !ran.err.contains("rows are both in"), "{}", ran.err);
    assert!(ran.err.contains("each predicted by the model whose test set it is in"), "{}", ran.err);
    let ran = room.ok(&format!("{TRAIN} --cnn {OPTIONS} --set epochs=1 --crossvalidation hash:4 all -o four.drg"));
    assert!(!ran.err.contains(shared) && ran.err.contains("by a model that did not see it"), "{}", ran.err);
    // The table of all folds together is told from that of a fold by DRG's names, too.
    let tables: String = (0..7).map(|i| format!("x-cv7-{i}_scores.tsv ")).collect();
    room.ok(&format!("eval merge {tables} --how mean --folds -o m.tsv"));
    let ran = room.ok(&format!("eval merge {tables} x-cv7-all_all_scores.tsv --how mean --folds -o more.tsv"));
    assert!(ran.err.contains("x-cv7-all_all_scores.tsv is of all folds together and left out"), "{}", ran.err);
    assert_eq!(room.read("m.tsv"), room.read("more.tsv"));
    let ran = room.ok(&format!("{line} --crossvalidation hash:4 all --outname x --no-average --set add_outname=False"));
    assert!(
        ran.out.starts_with("x-cvhash4-0.drg\n") && ran.out.ends_with("x-cvhash4-all_all_scores.tsv\n"),
        "{}",
        ran.out
    );
    let refused = |fold: &str| room.refused(&format!("{line} -o y.drg --crossvalidation {fold}"));
    assert!(refused("7 al").contains("expected the number of a fold or 'all', found 'al'"));
    assert!(refused("2 all").contains("all of 2 folds: expected 3 or more"));
    assert!(refused("hash:1 all").contains("all of 1 folds: expected 3 or more"));
    assert!(refused("none.txt all").contains("none.txt"));
    room.write("parts.json", r#"{"train": ["seq0"], "valid": ["seq1"], "test": ["seq2"]}"#);
    assert!(refused("parts.json all").contains("the file has one fold only"));
    assert!(room.refused(&format!("{line} -o y.drg --no-average")).contains("--no-average is for all folds"));
    for (verb, more) in [("baseline fit", ""), ("search", "--vary num_kernels=4,8 --trials 2")] {
        let line = format!("{verb} sim/sequences.fa sim/targets.tsv -o b.out --crossvalidation 5 all {more}");
        let told = room.refused(&line);
        assert!(told.contains("'all' is for drg train"), "{told}");
    }
    assert!(!room.there("y_fold0.drg"));
}

const HEADER: &str = "model\tclass\taxis\titem\tmetric\tvalue\tn\n";

/// Pearson r of three tracks (two classes) in four folds of two models, as sixteenths.
const FIRST: [[f64; 3]; 4] = [[10.0, 9.0, 11.0], [8.0, 13.0, 11.0], [9.0, 12.0, 7.0], [14.0, 12.0, 10.0]];
const SECOND: [[f64; 3]; 4] = [[9.0, 10.0, 8.0], [6.0, 9.0, 11.0], [7.0, 13.0, 1.0], [11.0, 9.0, 9.0]];

impl Room {
    fn with_scores_of_folds() -> Self {
        let room = Self::new();
        for (model, all) in [("a", FIRST), ("b", SECOND)] {
            for (fold, values) in all.iter().enumerate() {
                let line = |(t, v): (usize, &f64)| {
                    format!("{model}_fold{fold}\t{}\ttrack\tt{t}\tr\t{}\t20\n", ["A", "A", "B"][t], v / 16.0)
                };
                let lines: String = values.iter().enumerate().map(line).collect();
                room.write(&format!("{model}_fold{fold}_scores.tsv"), &format!("{HEADER}{lines}"));
            }
        }
        room
    }
}

fn tables(model: &str) -> String {
    (0..4).map(|i| format!("{model}_fold{i}_scores.tsv")).collect::<Vec<_>>().join(" ")
}

#[test]
fn merged_folds_have_intervals() {
    let room = Room::with_scores_of_folds();
    let (a, b) = (tables("a"), tables("b"));
    // Sequences are of one fold each, and not missing in the others.
    for model in ["a", "b"] {
        let name = format!("{model}_fold1_scores.tsv");
        room.write(&name, &format!("{}{model}_fold1\tA\tsequence\ts1\tr\t0.5\t2\n", room.read(&name)));
    }
    let ran = room.ok(&format!("eval merge {a} {b} --how mean --folds --common -o m.tsv"));
    assert!(!ran.err.contains("missing"), "{}", ran.err);
    assert_eq!(cells(&room.read("m.tsv"), &["b", "A", "sequence", "s1", "r"])[..3], [0.5, 2.0, 1.0]);
    let text = room.read("m.tsv");
    assert!(text.starts_with("model\tclass\taxis\titem\tmetric\tvalue\tn\ttables\tsd\tlow\thigh\n"));
    assert_eq!(text.lines().count(), 9);
    let values: Vec<f64> = FIRST.iter().map(|v| v[2] / 16.0).collect();
    let (low, high) = t_interval(&values, 0.95);
    assert_eq!(cells(&text, &["a", "B", "track", "t2", "r"]), [mean(&values), 80.0, 4.0, sd(&values), low, high]);
    // numpy and scipy of [11, 11, 7, 10] / 16: mean, std(ddof=1), stats.t.interval(0.95, 3, mean, stats.sem(x))
    assert!(
        (low - 0.421_116_449_133_990_7).abs() < 1e-12 && (high - 0.797_633_550_866_009_3).abs() < 1e-12,
        "{low} {high}"
    );
    // Of all as one, as before; and no interval of extremes.
    room.ok(&format!("eval merge {a} --how max -o max.tsv"));
    assert!(room.read("max.tsv").starts_with("model\tclass\taxis\titem\tmetric\tvalue\tn\ttables\nmax\t"));
    assert!(room.refused(&format!("eval merge {a} --folds -o x.tsv")).contains("--folds and --model are for averages"));
}

/// Expected numbers: means of the tables above, by hand; p of four differences of one sign is 2 / 2^4.
#[test]
fn models_are_compared_fold_by_fold() {
    let room = Room::with_scores_of_folds();
    let (a, b) = (tables("a"), tables("b"));
    let compared = |unit: &str, order: &str| {
        room.ok(&format!("eval compare {order} --folds {unit} -o c.tsv"));
        room.read("c.tsv")
    };
    let text = compared("fold", &format!("{a} {b}"));
    let difference = |f: usize, tracks: std::ops::Range<usize>| {
        let n = tracks.len() as f64;
        tracks.map(|t| FIRST[f][t] - SECOND[f][t]).sum::<f64>() / n / 16.0
    };
    for (class, tracks) in [("A", 0..2), ("B", 2..3), ("*", 0..3)] {
        let d: Vec<f64> = (0..4).map(|f| difference(f, tracks.clone())).collect();
        let found = cells(&text, &["a", "b", class, "fold", "r"]);
        assert!((found[0], (found[3] - mean(&d)).abs() < 1e-12) == (4.0, true), "{class}: {found:?} {d:?}");
    }
    // All four differences of the means over all tracks are positive.
    let all = cells(&text, &["a", "b", "*", "fold", "r"]);
    assert_eq!((all[9], all[11]), (1.0, 0.125), "{text}");

    let text = compared("track", &format!("{a} {b}"));
    let all = cells(&text, &["a", "b", "*", "track", "r"]);
    let of_tracks = |t: usize| (0..4).map(|f| FIRST[f][t] - SECOND[f][t]).sum::<f64>() / 64.0;
    assert!(all[0] == 3.0 && (all[3] - mean(&[0, 1, 2].map(of_tracks))).abs() < 1e-12 && all[11] == 0.25, "{text}");

    let text = compared("both", &format!("{a} {b}"));
    assert_eq!(cells(&text, &["a", "b", "*", "track in fold", "r"])[0], 12.0);
    // Folds find each other by their numbers, not by the order of the files.
    let mut turned: Vec<&str> = b.split(' ').collect();
    turned.reverse();
    assert_eq!(compared("both", &format!("{a} {}", turned.join(" "))), text);
    // The table of all folds together, which a pattern of file names finds, too.
    let pooled = room.read("a_fold0_scores.tsv").replace("a_fold0", "a_all");
    room.write("a_all_scores.tsv", &pooled);
    let ran = room.ok(&format!("eval compare {a} a_all_scores.tsv {b} --folds both -o c.tsv"));
    assert!(ran.err.contains("a_all_scores.tsv is of all folds together and left out"), "{}", ran.err);
    assert_eq!(room.read("c.tsv"), text);
    room.ok(&format!("eval merge {a} --how mean --folds -o m.tsv"));
    room.ok(&format!("eval merge {a} a_all_scores.tsv --how mean --folds -o more.tsv"));
    assert_eq!(room.read("m.tsv"), room.read("more.tsv"));
    let said = room.refused(&format!("eval merge {a} b_fold0_scores.tsv --how mean --folds -o x.tsv"));
    assert!(said.contains("model 'b' has one fold, b_fold0_scores.tsv"), "{said}");
    // Names of the user.
    room.ok(&format!("eval compare {a} {b} --names A,A,A,A,B,B,B,B --folds both -o named.tsv"));
    assert_eq!(room.read("named.tsv").replace("A\tB\t", "a\tb\t"), text);

    let refused = |line: &str| room.refused(&format!("eval compare {line} --folds fold -o x.tsv"));
    assert!(refused("a_fold0_scores.tsv b_fold0_scores.tsv").contains("model 'a' has one fold, a_fold0_scores.tsv"));
    assert!(refused(&format!("{a} a_fold1_scores.tsv")).contains("are both fold 1 of one model"));
    let said = refused("a_fold0_scores.tsv a_fold1_scores.tsv b_fold2_scores.tsv b_fold3_scores.tsv");
    assert!(said.contains("matched by class, name and fold"), "{said}");
}

/// Folds of base-resolution models are scored by totals and by bins.
#[test]
fn folds_of_profiles() {
    let room = Room::new();
    room.ok("simulate -o sim --sequences 40 --length 40 --tracks 1 --classes 1 --motifs 2 --negative 0 --profile-bins 30 --seed 3 -q");
    let options = "num_kernels=4+l_kernels=5+final_kernel=5+predict_from_dist=True+count_function=EXP+\
                   loss_function=MultinomialNLL+count_loss_weight=5+batchsize=8+epochs=1";
    room.ok(&format!(
        "train sim/sequences.fa sim/profiles.npz -o m.drg --crossvalidation hash:3 all --cnn {options} -q"
    ));
    let ([n, tracks, bins], _) = room.array::<3>("m_all_pred.npz", "counts");
    assert_eq!((n, tracks, bins), (40, 2, 30));
    let table = room.read("m_all_scores.tsv");
    let files = "m_fold0_pred.npz,m_fold1_pred.npz,m_fold2_pred.npz";
    for (pred, columns) in [("m_all_pred.npz", 2), (files, 7)] {
        room.ok(&format!("eval score {pred} sim/profiles.npz -o again.tsv --model m_all -q"));
        let again = room.read("again.tsv");
        let mut metrics = std::collections::BTreeSet::new();
        for line in table.lines().skip(1).filter(|l| l.contains("\ttrack\t")) {
            let first: Vec<&str> = line.split('\t').take(5).collect();
            let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-9 * (1.0 + b.abs()) || (a.is_nan() && b.is_nan());
            let (a, b) = (cells(&again, &first), cells(&table, &first));
            assert!(a.len() >= columns && a[..columns].iter().zip(&b[..columns]).all(close), "{first:?}: {a:?} {b:?}");
            metrics.insert(first[4].to_string());
        }
        assert!(metrics.contains("profile_jsd") && metrics.contains("r"), "{metrics:?}");
    }
    // The average predicts the mean of the bins.
    let counts = |model: &str| {
        room.ok(&format!("predict {model}.drg sim/sequences.fa -o p.npz -q"));
        room.array::<3>("p.npz", "counts").1
    };
    let (each, found) = (["m_fold0", "m_fold1", "m_fold2"].map(counts), counts("m"));
    for (i, v) in found.iter().enumerate() {
        let expected = each.iter().map(|p| p[i]).sum::<f32>() / 3.0;
        assert!((v - expected).abs() <= 2e-6 * (1.0 + expected.abs()), "{i}: {v} {expected}");
    }
}
