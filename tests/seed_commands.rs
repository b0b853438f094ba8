//! The commands of the document that the project began with (`tests/seed/commands.sh`), on simulated genes.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may stop, and says what it skipped")]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use drg::io::npz::Npz;

const COMMANDS: &[(&str, usize)] =
    &[("A", 1), ("A_attention", 1), ("B", 3), ("C", 1), ("D", 3), ("D_shared", 3), ("F", 3), ("F_routed", 3)];

fn drg() -> Command {
    Command::new(assert_cmd::cargo::cargo_bin!("drg"))
}

/// Every command runs as it stands, and its files have the names, the tracks and the classes that were promised.
#[test]
fn every_command_runs_as_it_stands() {
    if Command::new("bash").arg("--version").output().is_err() {
        eprintln!("skipped: the commands are written for bash, which is not here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let sim = folder.path().join("sim");
    let made = drg().args(["simulate", "process", "--genes", "120", "--seed", "5", "-o"]).arg(&sim).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::create_dir(sim.join("Models")).unwrap();
    let program = assert_cmd::cargo::cargo_bin!("drg");
    let path = std::env::join_paths(
        std::iter::once(program.parent().unwrap().to_path_buf())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
    )
    .unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seed/commands.sh");
    let classes = std::fs::read_to_string(sim.join("condition.class.txt")).unwrap();
    let cells: BTreeSet<&str> = classes.lines().filter_map(|l| l.split_whitespace().nth(1)).collect();
    let conditions = classes.lines().filter(|l| !l.starts_with('#') && !l.trim().is_empty()).count();
    for &(name, files) in COMMANDS {
        let run = Command::new("bash").arg(&script).arg(name).current_dir(&sim).env("PATH", &path).output().unwrap();
        let (said, done) = (String::from_utf8_lossy(&run.stderr), String::from_utf8_lossy(&run.stdout));
        assert!(run.status.success(), "{name}: {said}");
        let model = sim.join(done.trim());
        assert!(model.is_file(), "{name}: {done}");
        let stem = model.to_str().unwrap().strip_suffix(".drg").unwrap();
        assert_eq!(said.contains("not trained"), name.starts_with("D") && !name.ends_with("shared"), "{name}: {said}");

        // A class is divided where several files have it, and so are the names of tracks.
        let parts: &[&str] = if files == 1 { &[""] } else { &["ex", "kd", "kt"] };
        let expected: BTreeSet<String> =
            cells.iter().flat_map(|c| parts.iter().map(move |p| format!("{c}{p}"))).collect();
        let table = std::fs::read_to_string(format!("{stem}_scores.tsv")).unwrap();
        let found: BTreeSet<String> = table.lines().skip(1).map(|l| l.split('\t').nth(1).unwrap().into()).collect();
        assert_eq!(found, expected, "{name}");
        for class in &expected {
            for kind in ["clss", "pnt"] {
                let text = std::fs::read_to_string(format!("{stem}_{kind}_corr_tcl{class}.txt")).unwrap();
                let values = text.lines().map(|l| l.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
                assert!(values.clone().count() > 2 && values.filter(|v| !v.is_nan()).all(|v| (0.0..=2.0).contains(&v)));
            }
        }
        let mut predictions = Npz::open(Path::new(&format!("{stem}_pred.npz"))).unwrap();
        let columns = predictions.strings("columns").unwrap();
        assert_eq!(columns.len(), files * conditions, "{name}");
        assert_eq!(columns[0].ends_with("_ex"), files == 3, "{name}: {}", columns[0]);
        let log = std::fs::read_to_string(format!("{stem}_loss.txt")).unwrap();
        assert!(log.lines().count() >= 3, "{name}: {log}");
    }
}

/// What a stored model of several inputs is asked afterwards: predictions, and mutations of either input.
#[test]
fn models_of_several_inputs_predict_and_mutate() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    let run = |args: &[&str]| {
        let out = drg().args(args).output().unwrap();
        (out.status.success(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let good = |args: &[&str]| {
        let (done, said) = run(args);
        assert!(done, "{args:?}: {said}");
    };
    let sim = |name: &str| format!("{}/{name}", at("sim"));
    good(&["simulate", "process", "--genes", "60", "--seed", "6", "-o", &at("sim")]);
    let (dna, rna) = (sim("TSS.npz"), sim("RNA.npz"));
    let options = "num_kernels=4+l_kernels=7+max_pooling=False+weighted_pooling=True+pooling_size=10+outclass=difference+\
                   epochs=1+batchsize=16";
    let (both, targets, model) = (format!("{dna},{rna}"), sim("exonic.tsv"), at("m.drg"));
    good(&["train", &both, &targets, "-o", &model, "--reverse-complement", "True,False", "--cnn", options]);
    good(&["predict", &model, &both, "-o", &at("pred.npz")]);
    let names = Npz::open(Path::new(&at("pred.npz"))).unwrap().strings("names").unwrap();
    // The last bases of DNA and the first of RNA.
    let few = format!("{},{}", names[0], names[3]);
    good(&["ism", &model, &both, "--names", &few, "--range", "590:612", "--verify", "0.2", "-o", &at("ism.npz")]);
    let (done, said) = run(&["predict", &model, &dna, "-o", &at("x.npz")]);
    assert!(!done && said.contains("2 inputs"), "{said}");
    let (done, said) = run(&["train", &both, &targets, "-o", &at("y.drg"), "--reverse-complement", "True,False,True"]);
    assert!(!done && said.contains("each of 2 inputs"), "{said}");
}
