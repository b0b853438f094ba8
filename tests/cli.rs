//! The program as a user meets it: files, streams, exit codes, messages.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test may fail where it stands and say why it was skipped"
)]

mod common;

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use common::room::Room;
use drg::io::npz::write_npz;

const VERBS: &[&[&str]] = &[
    &[],
    &["demo"],
    &["simulate"],
    &["simulate", "process"],
    &["train"],
    &["predict"],
    &["convert"],
    &["baseline"],
    &["baseline", "fit"],
    &["baseline", "predict"],
    &["ism"],
    &["epistasis"],
    &["merge"],
    &["variants"],
    &["perturb"],
    &["perturb", "marginalize"],
    &["perturb", "space"],
    &["perturb", "ablate"],
    &["perturb", "occlude"],
    &["perturb", "delete"],
    &["perturb", "insert"],
    &["bench"],
    &["eval"],
    &["eval", "score"],
    &["eval", "merge"],
    &["eval", "compare"],
    &["eval", "recovery"],
    &["plot"],
    &["plot", "attr"],
    &["plot", "curves"],
    &["plot", "scatter"],
    &["plot", "dist"],
    &["plot", "logo"],
    &["report"],
    &["devices"],
    &["completions"],
];

impl Room {
    /// With 60 simulated sequences of 40 bp and 3 tracks in `sim`.
    fn simulated() -> Self {
        let room = Self::new();
        room.ok("simulate -o sim --sequences 60 --length 40 --tracks 3 --motifs 4 --sites 1.5 --seed 5 -q");
        room
    }

    /// Runs a line that must fail with this code and one line on stderr, nothing on stdout; returns that line.
    fn fails(&self, code: i32, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!((ran.code, ran.out.as_str()), (code, ""), "drg {line}: {}", ran.err);
        assert_eq!(ran.err.lines().count(), 1, "drg {line}: {}", ran.err);
        ran.err.trim_end().to_string()
    }

    fn json(&self, name: &str) -> serde_json::Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }

    /// Effects of every mutation in the model that the simulation is: minus the effect of the site that it hits, so that
    /// planted sites are found without an error.
    fn effects(&self, name: &str) {
        let letters: Vec<String> = self.read("sim/sequences.fa").lines().map(String::from).collect();
        let names: Vec<&str> = letters.iter().step_by(2).map(|l| &l[1..]).collect();
        let bases: Vec<u8> =
            letters.iter().skip(1).step_by(2).flat_map(|l| drg::seq::encode_all(l.as_bytes()).unwrap().0).collect();
        let (n, t, l) = (names.len(), 3, bases.len() / names.len());
        let mut values = vec![0.0f32; n * t * 4 * l];
        for site in self.read("sim/sites.bed").lines().skip(1) {
            let cells: Vec<&str> = site.split('\t').collect();
            let row = names.iter().position(|name| *name == cells[0]).unwrap();
            for (track, base, i) in (0..t).flat_map(|t| (0..4).map(move |b| (t, b))).flat_map(|(t, b)| {
                (cells[1].parse().unwrap()..cells[2].parse::<usize>().unwrap()).map(move |i: usize| (t, b, i))
            }) {
                if base != bases[row * l + i] {
                    values[((row * t + track) * 4 + usize::from(base)) * l + i] =
                        -cells[6 + track].parse::<f32>().unwrap();
                }
            }
        }
        write_npz(&self.path(name), |w| {
            w.array("values", &[n, t, 4, l], &values)?;
            w.strings("names", &names)?;
            w.strings("tracks", &["track1", "track2", "track3"])?;
            w.array("bases", &[n, l], &bases)
        })
        .unwrap();
    }
}

/// Cells of one column of a tidy table, of the rows where `keep` holds.
fn cells(table: &str, column: &str, keep: impl Fn(&[&str]) -> bool) -> Vec<String> {
    let mut lines = table.lines().map(|l| l.split('\t').collect::<Vec<_>>());
    let header = lines.next().unwrap();
    let at = header.iter().position(|c| *c == column).unwrap();
    lines.filter(|l| keep(l)).map(|l| l[at].to_string()).collect()
}

/// A folder of the shared fixtures, or `None` (and a line on stderr) where they are not there.
fn shared(case: &str) -> Option<PathBuf> {
    let root = std::env::var_os("DRG_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let folder = root.join("fixtures").join(case);
    if folder.exists() {
        return Some(folder);
    }
    eprintln!("skipped: no {}", folder.display());
    None
}

#[test]
fn help_of_every_verb_has_an_example() {
    let room = Room::new();
    for verb in VERBS {
        let line = verb.join(" ");
        for flag in ["--help", "-h"] {
            let ran = room.ok(&format!("{line} {flag}"));
            let example = ran.out.split("Example").nth(1).unwrap_or_default();
            assert!(example.contains("drg ") && ran.err.is_empty(), "{line}: {}", ran.out);
            assert!(ran.out.lines().all(|l| l.chars().count() <= 100), "{line}: a line is too long: {}", ran.out);
        }
    }
    assert_eq!(room.ok("--version").out, format!("drg {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn examples_of_the_help_run() {
    let room = Room::new();
    // Many examples begin with the same data and the same model: a line runs once on the same data.
    let (mut ran, mut data) = (std::collections::HashSet::new(), String::new());
    for verb in VERBS {
        let help = room.ok(&format!("{} --help", verb.join(" "))).out;
        let examples = help.split("Example").nth(1).unwrap();
        for line in examples.lines().map(str::trim).filter_map(|l| l.strip_prefix("drg ")) {
            let line = line.split(['#', '>']).next().unwrap();
            // Other data, and models of it under the same names: what ran before must run again.
            if line.starts_with("simulate") && line != data {
                data = line.to_string();
                ran.clear();
            }
            // This one takes minutes on a GPU, and says what is missing without one.
            if line.starts_with("bench gpu") {
                if drg::tape::check::skipped().is_some() {
                    let ran = room.run(line);
                    assert!(ran.code == 1 && ran.err.contains("cuda:0: "), "{line}: {}", ran.err);
                }
                continue;
            }
            // The effects of a model and the log of a training come from verbs that need a model.
            if !line.contains("ism.npz")
                && !line.contains("model_loss.txt")
                && !line.contains('<')
                && (line == data || ran.insert(line.to_string()))
            {
                room.ok(line);
            }
        }
    }
}

#[test]
fn wrong_use_is_code_2_and_a_message() {
    let room = Room::new();
    for (line, piece) in [
        ("", "Usage: drg"),
        ("simulat", "similar subcommand exists: 'simulate'"),
        ("simulate", "--out <DIR>"),
        ("simulate process --genes 20", "--out <DIR>"),
        ("simulate proces -o sim", "similar subcommand exists: 'process'"),
        ("simulate -o sim process -o sim", "cannot be used with"),
        ("simulate -o sim --sequence 3", "similar argument exists: '--sequences'"),
        ("simulate -o sim --sequences many", "invalid value 'many'"),
        ("simulate -o sim --threads 0", "0 is not in 1.."),
        ("simulate -o sim -q -v", "cannot be used with"),
        ("simulate -o sim --gc 0.4 --background x.fa", "cannot be used with"),
        ("completions tcsh", "invalid value 'tcsh'"),
    ] {
        let ran = room.run(line);
        assert_eq!((ran.code, ran.out.as_str()), (2, ""), "{line}: {}", ran.err);
        assert!(ran.err.contains(piece), "{line}: {}", ran.err);
    }
    assert!(room.names(".").is_empty());
}

#[test]
fn simulate_writes_all_files() {
    let room = Room::new();
    let ran = room.ok("simulate -o sim --sequences 12 --length 30 --tracks 3 --sites 1 --interactions 1 --seed 9");
    let files =
        "sequences.fa targets.tsv signal.tsv effects.tsv sites.bed motifs.meme folds.txt classes.txt simulate.json";
    assert_eq!(ran.out, files.split(' ').map(|f| format!("sim/{f}\n")).collect::<String>());
    assert!(ran.err.contains("12 sequences of 30 bp") && ran.err.contains("seed 9"), "{}", ran.err);
    let mut expected: Vec<&str> = files.split(' ').collect();
    expected.sort_unstable();
    assert_eq!(room.names("sim"), expected);
    assert_eq!(room.names("."), ["sim"]);
    assert_eq!(room.read("sim/sequences.fa").lines().count(), 24);
    assert_eq!(room.read("sim/folds.txt").lines().filter(|l| !l.starts_with('#')).count(), 10);

    let record = room.json("sim/simulate.json");
    assert_eq!(record["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&record["verb"], &record["command"][3]), (&"simulate".into(), &"sim".into()));
    assert_eq!((&record["options"]["seed"], &record["options"]["noise"]), (&9.into(), &0.1.into()));
    assert_eq!(record["results"]["interactions"].as_array().unwrap().len(), 1);
}

#[test]
fn simulate_is_the_same_on_any_number_of_threads() {
    let room = Room::new();
    room.ok("simulate -o a --sequences 50 --length 50 --variants 30 --chromosome-length 1000 -q");
    room.ok("simulate -o b --sequences 50 --length 50 --variants 30 --chromosome-length 1000 -q --threads 1");
    assert_eq!(room.read("a/genome.fa").lines().filter(|l| l.starts_with('>')).count(), 2);
    assert_eq!(room.read("a/variants.vcf").lines().filter(|l| !l.starts_with('#')).count(), 30);
    for file in room.names("a").iter().filter(|f| *f != "simulate.json") {
        assert_eq!(room.read(&format!("a/{file}")), room.read(&format!("b/{file}")), "{file}");
    }
    assert_eq!(room.json("b/simulate.json")["threads"], 1);
    room.ok("simulate -o a --sequences 50 --length 50 --seed 2 -q");
    assert_ne!(room.read("a/targets.tsv"), room.read("b/targets.tsv"), "an old folder is written over");
}

#[test]
fn simulate_takes_motifs_and_background_from_files() {
    let room = Room::simulated();
    room.write("at.fa", ">a\nATATATATATATATATATATATATATATATATATATATATATATATATAT\n");
    room.ok("simulate -o b --motif-file sim/motifs.meme --background at.fa --sequences 20 --length 40 --sites 0.1 -q");
    let motifs = |file: &str| drg::motif::meme::read_pwms(&room.path(file)).unwrap();
    let consensus = |file: &str| motifs(file).iter().map(|m| (m.name.clone(), m.consensus())).collect::<Vec<_>>();
    assert_eq!(consensus("b/motifs.meme"), consensus("sim/motifs.meme"));
    let letters = room.read("b/sequences.fa");
    let gc = letters.lines().filter(|l| !l.starts_with('>')).flat_map(str::bytes).filter(|b| b"GC".contains(b)).count();
    assert!(gc < 20 * 40 / 5, "{gc} G and C");
}

#[test]
fn simulate_refuses_and_leaves_nothing() {
    let room = Room::new();
    room.write("file", "");
    for (line, expected) in [
        ("simulate -o no/sim", "cannot write no/sim: there is no folder no; make it first (mkdir -p no)"),
        ("simulate -o file", "file is a file; -o names a folder here"),
        ("simulate -o sim --noise -1", "noise: expected 0 or more, found -1"),
        ("simulate -o sim --width 8to12", "width: expected one number or two as in 8-12, found '8to12'"),
        ("simulate -o sim --chromosomes 0", "chromosomes: expected 1 or more, found 0"),
        ("simulate -o sim --variants 3 --chromosome-length 9", "chromosome_length: expected 48 or more, found 9"),
        ("simulate -o sim --length 5", "length: expected at least the widest motif, 12 bp, found 5"),
        ("simulate -o sim --sequences 4 --folds 5", "folds: expected 1 to 4, one sequence a fold at least; found 5"),
    ] {
        assert_eq!(room.fails(2, line), format!("drg simulate: {expected}"));
    }
    let message = room.fails(2, "simulate -o sim --motif-file no.meme");
    assert!(message.starts_with("drg simulate: cannot read no.meme: "), "{message}");
    assert_eq!(room.names("."), ["file"]);
}

#[test]
fn a_failed_write_leaves_no_file() {
    let room = Room::new();
    std::fs::create_dir_all(room.path("sim/targets.tsv")).unwrap();
    let message = room.fails(2, "simulate -o sim --sequences 5");
    assert_eq!(message, "drg simulate: cannot write sim/targets.tsv: it is a folder");
    assert_eq!((room.names("."), room.names("sim")), (vec!["sim".to_string()], vec!["targets.tsv".to_string()]));
}

#[test]
fn score_writes_a_tidy_table_and_prints_a_summary() {
    let room = Room::simulated();
    let ran = room.ok("eval score sim/signal.tsv sim/targets.tsv --classes sim/classes.txt -o s.tsv");
    assert!(ran.out.starts_with("signal: 60 sequences, 3 tracks\naxis "), "{}", ran.out);
    assert_eq!(ran.err, "s.tsv\n");
    let table = room.read("s.tsv");
    assert_eq!(table.lines().next(), Some("model\tclass\taxis\titem\tmetric\tvalue\tn"));
    let of_tracks = |l: &[&str]| l[2] == "track" && l[4] == "r";
    assert_eq!(cells(&table, "item", of_tracks), ["track1", "track2", "track3"]);
    assert_eq!(cells(&table, "class", of_tracks), ["class1", "class1", "class2"]);
    let r: Vec<f64> = cells(&table, "value", of_tracks).iter().map(|v| v.parse().unwrap()).collect();
    assert!(r.iter().all(|r| (0.98..1.0).contains(r)), "{r:?}: noise has a tenth of the spread");
    let record = room.json("s.tsv.json");
    assert_eq!((&record["verb"], &record["options"]["metrics"][0]), (&"eval score".into(), &"r".into()));

    let ran =
        room.ok("eval score sim/signal.tsv sim/targets.tsv -o t.tsv --metrics rmse,distance --axis track --json -q");
    let summary: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&summary["sequences"], &summary["summary"][1]["metric"]), (&60.into(), &"distance".into()));
    assert_eq!((room.read("t.tsv").lines().count(), ran.err.as_str()), (7, ""));

    let ran = room.ok("eval score sim/signal.tsv sim/targets.tsv -o - --metrics r --axis class --model m");
    assert_eq!(ran.out.lines().count(), 2);
    assert!(ran.out.lines().nth(1).unwrap().starts_with("m\t0\tclass\t0\tr\t0.9") && !room.path("-").exists());
}

#[test]
fn score_aligns_by_name() {
    let room = Room::new();
    room.write("y.tsv", "#\ta\tb\tc\nr1\t1\t5\t0\nr2\t2\t3\t0\nr3\tNA\t4\t0\nr4\t4\t1\t0\n");
    write_npz(&room.path("p.npz"), |w| {
        w.array("values", &[3, 2], &[50.0f32, 10.0, 30.0, 20.0, 40.0, 30.0])?;
        w.strings("names", &["r1", "r2", "r3"])?;
        w.strings("columns", &["b", "a"])
    })
    .unwrap();
    let ran = room.ok("eval score p.npz y.tsv -o - --metrics r --axis track");
    let all = |_: &[&str]| true;
    assert_eq!(cells(&ran.out, "item", all), ["b", "a"]);
    assert_eq!(
        (cells(&ran.out, "value", all), cells(&ran.out, "n", all)),
        (vec!["1".into(); 2], vec!["3".into(), "2".into()])
    );
    assert!(ran.err.contains("3 of 4 measured rows are predicted") && ran.err.contains("1 of 6 measured values"));

    room.write("p.tsv", "#\ta\tbb\nr1\t1\t1\nr2\t2\t3\nr9\t3\t4\n");
    let message = room.fails(2, "eval score p.tsv y.tsv -o s.tsv");
    assert_eq!(
        message,
        "drg eval score: 1 of 3 rows of p.tsv are not in the measurements (y.tsv): r9 (did you mean 'r1'?); --common \
         leaves them out"
    );
    let ran = room.ok("eval score p.tsv y.tsv -o - --common --metrics mse --axis track");
    assert_eq!(cells(&ran.out, "n", all), ["2"]);
    assert!(ran.err.contains("1 of 2 predicted tracks are not measured and left out: bb"), "{}", ran.err);

    room.write("p.tsv", "q1\t1\t1\nq2\t2\t3\n");
    let message = room.fails(2, "eval score p.tsv y.tsv -o s.tsv --common");
    assert!(message.contains("none of the 2 rows of p.tsv is in") && message.contains("[q1, q2]"), "{message}");
    assert_eq!(room.names("."), ["p.npz", "p.tsv", "y.tsv"]);
}

#[test]
fn score_refuses_and_leaves_nothing() {
    let room = Room::new();
    room.write("y.tsv", "#\ta\nr1\t1\nr2\t2\n");
    room.write("c.txt", "b class\n");
    for (line, expected) in [
        ("no.tsv y.tsv -o s.tsv", "cannot read no.tsv: "),
        ("y.tsv y.tsv -o no/s.tsv", "cannot write no/s.tsv: there is no folder no; make it first"),
        ("y.tsv y.tsv -o .", ". is a folder; name a file in it"),
        ("y.tsv y.tsv -o s.tsv --metrics rsme", "unknown metric 'rsme' (did you mean 'rmse'?)"),
        ("y.tsv y.tsv -o s.tsv --axis tracks", "unknown axis 'tracks' (did you mean 'track'?)"),
        ("y.tsv y.tsv -o s.tsv --classes c.txt", "c.txt: 1 tracks have no class: a"),
        ("y.tsv y.tsv -o - --json", "--json prints a summary"),
        ("y.tsv y.tsv,y.tsv -o s.tsv --file-classes a", "file-classes: expected 2 labels, one a file; found 1"),
    ] {
        let message = room.fails(2, &format!("eval score {line}"));
        assert!(message.starts_with(&format!("drg eval score: {expected}")), "{message}");
    }
    assert_eq!(room.names("."), ["c.txt", "y.tsv"]);
}

/// The files that the reference system wrote from the same predictions.
#[test]
fn reference_files_are_those_of_the_reference() {
    for (case, measured, options) in [
        ("12a_train_sgd", &["exonic.tsv"][..], ""),
        ("12e_train_two_input_D", &["exonic.tsv", "degrad.tsv", "intronic.tsv"], "--file-classes ex,kd,kt"),
    ] {
        let Some(folder) = shared(case) else {
            return;
        };
        let room = Room::new();
        let at = |file: &str| folder.join(file).display().to_string();
        let measured: Vec<String> = measured.iter().map(|f| at(f)).collect();
        let (prediction, measured, classes) = (at("ref_pred.npz"), measured.join(","), at("classes.txt"));
        let line =
            format!("eval score {prediction} {measured} --classes {classes} -o s.tsv --reference-files m {options}");
        room.ok(&line);
        let mut files = 0;
        for part in std::fs::read_to_string(folder.join("ref_performance.txt")).unwrap().split("== ").skip(1) {
            let (suffix, expected) = part.split_once('\n').unwrap();
            // The reference's -0.0 is what rounding leaves of r = 1.
            let expected = expected.replace("-0.0\n", "0.0\n");
            assert_eq!(room.read(&format!("m_{suffix}")), expected, "{case} {suffix}");
            files += 1;
        }
        let written = room.names(".");
        assert_eq!(written.iter().filter(|n| n.starts_with("m_") && n.ends_with(".txt")).count(), files);
        assert!(written.contains(&"m_corr.json".to_string()));
    }
}

#[test]
fn recovery_finds_planted_sites() {
    let room = Room::simulated();
    room.effects("ism.npz");
    let ran = room.ok("eval recovery ism.npz sim/sites.bed -o r.tsv");
    assert_eq!(ran.out, room.read("r.tsv"));
    assert!(ran.err.contains("mean of 3 tracks: at k 1.000"), "{}", ran.err);
    let all = |_: &[&str]| true;
    assert_eq!(cells(&ran.out, "auroc", all), ["1", "1", "1"], "sites without effect in a track do not count in it");
    assert_eq!(room.json("r.tsv.json")["options"]["combine"], "max");

    // Without the columns of effects every site counts, and those of other classes are not found.
    let sites = room.read("sim/sites.bed");
    let bare: String =
        sites.lines().skip(1).map(|l| l.split('\t').take(6).collect::<Vec<_>>().join("\t") + "\n").collect();
    room.write("bare.bed", &bare);
    let ran = room.ok("eval recovery ism.npz bare.bed --json -q --tracks track1,2");
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&found["tracks"][1]["track"], ran.err.as_str()), (&"track3".into(), ""));
    assert!(found["tracks"].as_array().unwrap().iter().any(|t| t["auroc"].as_f64().unwrap() < 1.0), "{found}");

    room.write("out.bed", "seq01\t30\t41\n");
    let message = room.fails(2, "eval recovery ism.npz out.bed");
    assert_eq!(message, "drg eval recovery: out.bed:1: site 30-41 is not inside 'seq01', which has 0-40");
    room.write("other.bed", "chr1\t3\t9\n");
    assert!(room.fails(2, "eval recovery ism.npz other.bed").contains("sites in [chr1], effects of [seq01, seq02"));
    let message = room.fails(2, "eval recovery ism.npz sim/sites.bed --tracks trak1");
    assert!(message.contains("there is no 'trak1' (did you mean 'track1'?)"), "{message}");
}

#[test]
fn pictures_are_drawn() {
    let room = Room::simulated();
    room.effects("ism.npz");
    room.write("a_loss.txt", "0\t1.2\t1\t1.1\t0.9\n1\t0.8\t0.7\t0.7\t0.6\n2\t0.9\t0.75\t0.5\t5e-01\n");
    for (line, text) in [
        ("plot attr ism.npz --sequences seq02,0 --tracks track1 --bed sim/sites.bed -o p.svg", "seq02, track1"),
        ("plot attr ism.npz --range 5:25 --no-heat-map --own-scales -o p.svg", "seq01, track3"),
        ("plot curves a_loss.txt a_loss.txt --names first,second --log -o p.svg", "second"),
        ("plot curves a_loss.txt --title Losses -o p.svg", "Losses"),
        ("plot scatter sim/signal.tsv sim/targets.tsv --tracks 1:3 -o p.svg", "track3"),
        ("plot logo sim/motifs.meme --names 0,1 --probability --rna -o p.svg", "Probability"),
    ] {
        let ran = room.ok(line);
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("p.svg\n", ""), "{line}");
        let svg = room.read("p.svg");
        assert!(svg.starts_with("<svg") && svg.contains(text), "{line}: {svg}");
        assert_eq!(room.json("p.svg.json")["options"]["picture"]["out"], "p.svg");
        std::fs::remove_file(room.path("p.svg")).unwrap();
    }
    if cfg!(feature = "png") {
        room.ok("plot logo sim/motifs.meme --dpi 50 -o p.PNG");
        assert!(std::fs::read(room.path("p.PNG")).unwrap().starts_with(b"\x89PNG"));
    }
}

#[test]
fn pictures_refuse_and_leave_nothing() {
    let room = Room::simulated();
    room.effects("ism.npz");
    room.write("bad_loss.txt", "0\t1\t1\t1\t1\n1\t1\tx\t1\t1\n");
    write_npz(&room.path("flat.npz"), |w| w.array("values", &[2, 3], &[0.0f32; 6])).unwrap();
    let before = room.names(".");
    for (line, expected) in [
        ("attr ism.npz -o p.pdf", "attr: p.pdf: pictures are .svg or .png; end the name with one of these"),
        ("attr ism.npz -o no/p.svg", "attr: cannot write no/p.svg: there is no folder no; make it first (mkdir -p no)"),
        ("attr ism.npz -o p.svg --range 9:50", "attr: range: expected FROM:TO within 0:40, found '9:50'"),
        ("attr ism.npz -o p.svg --sequences 60", "attr: sequences: there is no index 60; the indices are 0 to 59"),
        (
            "attr ism.npz -o p.svg --sequences 0:60",
            "attr: 60 sequences and 3 tracks make 180 panels, more than 50; choose \
          some with --sequences and --tracks",
        ),
        (
            "attr flat.npz -o p.svg",
            "attr: flat.npz, key 'values': expected effects of shape (N, T, 4, L) or (N, 4, L), \
          found [2, 3]",
        ),
        ("curves bad_loss.txt -o p.svg", "curves: bad_loss.txt:2: expected an epoch and four losses, found loss 'x'"),
        ("curves bad_loss.txt -o p.svg --names a,b", "curves: names: expected 1, one a log; found 2"),
        ("logo sim/motifs.meme -o p.svg --names 0:9", "logo: names: 0:9 is no range of indices within 0:4"),
        (
            "logo sim/motifs.meme -o p.png --dpi 1",
            "logo: plot::to_png: resolution must be 10 to 2400 dots an inch, found 1",
        ),
        (
            "scatter sim/signal.tsv sim/effects.tsv -o p.svg",
            "scatter: none of the 60 rows of sim/signal.tsv is in the \
          measurements (sim/effects.tsv): predicted [seq01, seq02, seq03, ...], measured [motif1, motif2, motif3, ...]",
        ),
    ] {
        assert_eq!(room.fails(2, &format!("plot {line}")), format!("drg plot {expected}"));
    }
    assert_eq!(room.names("."), before);
}

#[test]
fn devices_and_completions() {
    let room = Room::new();
    let ran = room.ok("devices --threads 1");
    assert!(ran.out.contains("GPU kernels") && ran.out.contains("SIMD"), "{}", ran.out);
    let found: serde_json::Value = serde_json::from_str(&room.ok("devices --json --threads 3").out).unwrap();
    // With a GPU or without, and then with a reason.
    assert!(ran.out.contains("GPU"), "{}", ran.out);
    assert_ne!(found["gpus"].as_array().unwrap().is_empty(), found["no_gpu_because"].is_null());
    let usable = found["gpus"].as_array().unwrap().iter().any(|g| g["usable"].as_bool().unwrap());
    assert_eq!((&found["threads"], &found["cuda"]), (&3.into(), &usable.into()));
    assert!(usable || found["device"] == "cpu", "{found}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let ran = room.ok(&format!("completions {shell}"));
        assert!(ran.out.contains("simulate") && ran.out.contains("recovery") && ran.err.is_empty(), "{shell}");
    }
}

#[test]
fn a_bad_instruction_set_is_named() {
    let output = Command::cargo_bin("drg").unwrap().arg("devices").env("DRG_SIMD", "avx3").output().unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(message.starts_with("drg devices: DRG_SIMD: expected portable, avx2 or avx512; found 'avx3'"), "{message}");
}

#[test]
fn talk_stays_off_stdout() {
    let room = Room::new();
    let loud = room.ok("simulate -o a --sequences 20 -v");
    let quiet = room.ok("simulate -o a --sequences 20 --quiet");
    assert!(loud.err.contains("done in ") && quiet.err.is_empty());
    assert_eq!(loud.out, quiet.out);
}

/// `drg ... | head`: the reader goes away before anything is written.
#[test]
#[cfg(unix)]
fn a_closed_pipe_is_no_failure() {
    let room = Room::simulated();
    for line in [
        "--help",
        "completions zsh",
        "devices",
        "eval score sim/signal.tsv sim/targets.tsv -o -",
        "simulate -o again --sequences 5 -q",
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = std::process::Command::new(assert_cmd::cargo::cargo_bin("drg"))
            .current_dir(room.0.path())
            .args(line.split(' '))
            .stdout(writer)
            .output()
            .unwrap();
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), message.as_str()), (Some(0), ""), "{line}");
    }
    assert!(room.path("again/targets.tsv").exists());
}
