//! `drg search`: what it finds can be trained again to the same bytes, an interruption changes nothing, and a trial that fails ends
//! nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::room::{Ran, Room};

const DATA: &str = "search sim/sequences.fa sim/targets.tsv --crossvalidation sim/folds.txt 0 --reverse-complement";
/// A small model; early stop and fine-tuning are on, so that some runs end before their epochs.
const OPTIONS: &str = "--cnn num_kernels=4+l_kernels=5+max_pooling=False+mean_pooling=True+pooling_size=8+batchsize=16+epochs=6+\
                       patience=2+finetuning_rounds=1+finetuning_patience=1+warm_up_epochs=1+fc_dropout=0.1";
const VARY: &str = "--vary lr=log:1e-4..3e-1 --vary num_kernels=4,6 --vary nfc_layers=int:0..1";
const HALVING: &str = "--method halving --trials 8 --eta 2";

impl Room {
    fn simulated() -> Self {
        let room = Self::new();
        room.ok("simulate -o sim --sequences 60 --length 40 --tracks 2 --motifs 3 --seed 1 -q");
        room
    }

    fn search(&self, out: &str, line: &str) -> Ran {
        self.ok(&format!("{DATA} -q -o {out} {OPTIONS} {line}"))
    }

    /// Cells of the table of a search, without the seconds.
    fn table(&self, out: &str) -> Vec<Vec<String>> {
        let text = self.read(&format!("{out}/trials.tsv"));
        let rows: Vec<Vec<String>> = text.lines().map(|l| l.split('\t').map(String::from).collect()).collect();
        let seconds = rows[0].iter().position(|c| c == "seconds").unwrap();
        rows.into_iter()
            .map(|mut r| {
                r.remove(seconds);
                r
            })
            .collect()
    }

    fn column(&self, out: &str, name: &str) -> Vec<String> {
        let table = self.table(out);
        let at = table[0].iter().position(|c| c == name).unwrap();
        table[1..].iter().map(|r| r[at].clone()).collect()
    }

    fn same(&self, a: &str, b: &str) {
        assert_eq!(self.table(a), self.table(b));
        for file in ["best.drg", "best_loss.txt", "best_pred.npz", "best_scores.tsv", "search.svg", "importance.tsv"] {
            let read = |folder: &str| std::fs::read(self.path(&format!("{folder}/{file}"))).unwrap();
            assert!(read(a) == read(b), "{file} of {a} and {b}");
        }
    }

    /// Trains what `best.toml` says, and compares it with `best.drg`.
    fn trained_again(&self, out: &str) {
        std::fs::create_dir(self.path("again")).unwrap();
        self.ok(&format!("train sim/sequences.fa sim/targets.tsv -q --config {out}/best.toml -o again/best.drg"));
        for file in ["best.drg", "best_loss.txt", "best_pred.npz", "best_scores.tsv"] {
            let read = |folder: &str| std::fs::read(self.path(&format!("{folder}/{file}"))).unwrap();
            assert!(read(out) == read("again"), "{file}");
        }
    }

    fn refused(&self, line: &str) -> String {
        let ran = self.run(&format!("{DATA} -q {line}"));
        assert_eq!(ran.code, 2, "{line}: {}", ran.err);
        ran.err
    }
}

#[test]
fn random_search_keeps_the_best_and_goes_on() {
    let room = Room::simulated();
    let ran = room.search("whole", &format!("{VARY} --trials 5"));
    let scores: Vec<f64> = room.column("whole", "score").iter().map(|s| s.parse().unwrap()).collect();
    assert_eq!((scores.len(), room.column("whole", "rung").join("")), (5, "00000".into()));
    assert!(room.column("whole", "status").iter().all(|s| s == "done"));
    let best = (0..5).min_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap();
    let config = room.read("whole/best.toml");
    assert!(config.contains(&format!("# Trial {best} of 5")), "{config}");
    for key in ["lr", "num_kernels", "nfc_layers"] {
        assert!(config.contains(&format!("{key} = {}\n", room.column("whole", key)[best])), "{config}");
    }
    assert!(ran.out.contains("best.drg") && room.path("whole/search.json").exists());
    // Of the models only the best is left; the losses of all are.
    let files = room.names("whole/trials");
    assert_eq!(files.iter().filter(|f| f.ends_with(".drg")).collect::<Vec<_>>(), [&format!("{best:04}.drg")]);
    assert_eq!(files.iter().filter(|f| f.ends_with("_loss.txt")).count(), 5);
    room.trained_again("whole");

    // Trial by trial, then with more trials: as if there had been that many from the beginning.
    room.search("parts", &format!("{VARY} --trials 5 --stop-after 1"));
    assert!(!room.path("parts/best.drg").exists() && room.path("parts/search.svg").exists());
    room.search("parts", &format!("{VARY} --trials 5 --stop-after 2 --resume"));
    assert_eq!(room.table("parts").len(), 4);
    room.search("parts", &format!("{VARY} --trials 5 --resume"));
    room.same("whole", "parts");
    room.search("parts", &format!("{VARY} --trials 7 --resume"));
    assert_eq!(room.table("parts")[..6], room.table("whole")[..]);
    assert_eq!(room.table("parts").len(), 8);
}

#[test]
fn halving_pauses_and_continues_to_the_same_bytes() {
    let room = Room::simulated();
    room.search("whole", &format!("{VARY} {HALVING}"));
    assert_eq!(room.column("whole", "rung").join(""), "00000000111122");
    let (status, epochs) = (room.column("whole", "status"), room.column("whole", "epochs"));
    assert!(status[12..].iter().all(|s| s == "done"), "{status:?}");
    for (i, (s, e)) in status.iter().zip(&epochs).take(12).enumerate() {
        assert!(s == "done" || (s == "paused" && e == if i < 8 { "1" } else { "3" }), "{s} {e}");
    }
    assert!(status[8..12].iter().any(|s| s == "paused"));
    let files = room.names("whole/trials");
    assert!(!files.iter().any(|f| f.ends_with(".state")), "{files:?}");
    // The model that was paused on its way has the bytes of a run that was not.
    room.trained_again("whole");

    // A table that has lost its end: that is run again, although the states are further than it says.
    room.search("cut", &format!("{VARY} {HALVING} --stop-after 11"));
    let lines: Vec<String> = room.read("cut/trials.tsv").lines().map(String::from).collect();
    assert!(lines[9..].iter().any(|l| l.contains("\tpaused\t")), "{lines:?}");
    room.write("cut/trials.tsv", &(lines[..1].join("\n") + "\n"));
    room.search("cut", &format!("{VARY} {HALVING} --resume"));
    room.same("whole", "cut");
}

#[test]
fn schedules_span_the_whole_run() {
    let room = Room::simulated();
    room.search(
        "cycle",
        &format!("--vary lr=log:1e-3..1e-1 {HALVING} --set schedule=one-cycle --set optimizer=AdamW --epochs 5"),
    );
    assert!(room.column("cycle", "status").contains(&"paused".into()));
    room.trained_again("cycle");
}

#[test]
fn failures_are_rows() {
    let room = Room::simulated();
    // Layers that shrink to nothing, and rates at which everything becomes infinite.
    let vary = "--vary layer_widening=0.1,1.1 --vary lr=0.001,1e30 --set nfc_layers=4 --set fclayer_size=3 --set init_adjust=False";
    let ran = room.run(&format!("{DATA} -o f {OPTIONS} {vary} --trials 9 --epochs 2"));
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("the space has 4 trials that differ, not 9"), "{}", ran.err);
    let (status, score) = (room.column("f", "status"), room.column("f", "score"));
    assert_eq!(status.len(), 4);
    for (status, score) in status.iter().zip(&score) {
        assert_eq!(status.starts_with("failed: "), score == "NA", "{status} {score}");
    }
    for part in ["does not fit", "NaN"] {
        assert!(status.iter().any(|s| s.contains(part)), "{part}: {status:?}");
    }
    assert!(status.iter().any(|s| s == "done"));

    // A trial that would end the program can be passed over.
    room.search("h", "--vary lr=0.001,0.002,0.003 --epochs 1 --stop-after 1");
    room.search("h", "--vary lr=0.001,0.002,0.003 --epochs 1 --trials 3 --resume --give-up 1");
    assert_eq!(room.column("h", "status"), ["done", "failed: given up (--give-up)", "done"]);

    let ran = room.run(&format!("{DATA} -q -o g {OPTIONS} --vary lr=1e30,2e30 --set init_adjust=False --epochs 1"));
    assert_eq!(ran.code, 1, "{}", ran.err);
    assert!(ran.err.contains("no trial came to its end") && ran.err.contains("NaN"), "{}", ran.err);
    assert_eq!(room.table("g").len(), 3);
}

#[test]
fn what_is_wrong_is_said_before_anything_is_trained() {
    let room = Room::simulated();
    room.write("space.toml", "[search]\nlr = { lgo = [1e-4, 1e-2] }\n");
    for (line, parts) in [
        ("", ["nothing varies", "--vary"]),
        ("--vary lrr=1,2", ["'lrr'", "did you mean"]),
        ("--space space.toml", ["space.toml", "did you mean 'log'?"]),
        ("--space none.toml", ["none.toml", "cannot read"]),
        ("--vary kernel_function=GELU,Rellu --set num_kernels=4", ["trial ", "'kernel_function'"]),
        ("--vary lr=0.1,-0.1 --set num_kernels=4", ["option 'lr'", "above 0"]),
        ("--vary lr=0.1,0.2 --trials 0", ["--trials", "at least 1"]),
        ("--vary lr=0.1,0.2 --eta 3", ["--eta", "--method halving"]),
        ("--vary lr=0.1,0.2 --set num_kernels=4 --epochs 0", ["option 'epochs'", "at least 1"]),
        ("--vary epochs=1,2 --method halving", ["epochs cannot vary", "--method halving"]),
        (
            "--vary lr=log:1e-4..1 --method halving --trials 2 --set num_kernels=4",
            ["nothing to halve", "at least 3 trials (found 2)"],
        ),
        ("--vary loss_function=MSE,L1Loss --set num_kernels=4", ["cannot be compared", "validation_loss"]),
        ("--vary batchsize=4,50 --set num_kernels=4", ["validation sequences they see", "drop_last=never"]),
    ] {
        let err = room.refused(&format!("-o x {line}"));
        for part in parts {
            assert!(err.contains(part), "{line}: '{part}' is not in: {err}");
        }
        assert!(!room.path("x").exists(), "{line}");
    }
}

#[test]
fn another_search_is_not_resumed() {
    let room = Room::simulated();
    room.write("space.toml", "[search]\nlr = { log = [1e-4, 1e-1] }\nnum_kernels = [4, 6]\n");
    let start = "--space space.toml --trials 4 --epochs 1";
    room.search("s", &format!("{start} --stop-after 1"));
    let refused = |line: &str| room.refused(&format!("-o s {OPTIONS} {line}"));
    assert!(refused(start).contains("s holds a search; go on with --resume"));
    for (change, part) in [
        ("--seed 2", "'--seed' was 1 and is now 2"),
        ("--epochs 2", "'option epochs' was 1 and is now 2"),
        ("--set fc_dropout=0.2", "'option fc_dropout' was 0.1 and is now 0.2"),
        ("--vary num_kernels=4,8", "'--vary num_kernels' was 4,6 and is now 4,8"),
        ("--vary dropout=0,0.1", "'--vary dropout' was not given and is now 0,0.1"),
        ("--method halving --eta 2 --epochs 4", "'--method' was random and is now halving"),
        ("--crossvalidation sim/folds.txt 1", "the training and validation sets are others"),
    ] {
        let line = format!(
            "{} --resume {change}",
            if change.contains("--epochs") { "--space space.toml --trials 4" } else { start }
        );
        let err = if change.contains("--crossvalidation") {
            let line = line.replace(change, "");
            let data = DATA.replace("folds.txt 0", "folds.txt 1");
            room.run(&format!("{data} -q -o s {OPTIONS} {line}")).err
        } else {
            refused(&line)
        };
        assert!(err.contains(part) && err.contains("cannot resume the search of s"), "'{part}' is not in: {err}");
    }
    // A table that somebody has edited.
    let table = room.read("s/trials.tsv");
    let lr = room.column("s", "lr")[0].clone();
    room.write("s/trials.tsv", &table.replace(&lr, "0.5"));
    let ran = room.run(&format!("{DATA} -q -o s {OPTIONS} {start} --resume"));
    assert!(
        ran.code != 0 && ran.err.contains("trials.tsv:2") && ran.err.contains("what the seed draws"),
        "{}",
        ran.err
    );
    room.write("s/trials.tsv", &table);
    room.search("s", &format!("{start} --resume"));
    assert_eq!(room.table("s").len(), 5);
}
