//! Killing a training run at any moment and resuming it ends with the bytes of an uninterrupted run.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and may say why it skips")]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn drg(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drg"));
    command.current_dir(folder).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

const TRAIN: &[&str] = &[
    "train",
    "data/sequences.fa",
    "data/targets.tsv",
    "-o",
    "model.drg",
    "--crossvalidation",
    "data/folds.txt",
    "0",
    "--reverse-complement",
    "--seed",
    "3",
    "--cnn",
    "num_kernels=16+l_kernels=9+max_pooling=False+weighted_pooling=True+pooling_size=5+dilated_convolutions=2+l_dilkernels=3+\
     conv_batch_norm=True+fclayer_size=16+nfc_layers=2+fc_dropout=0.2+optimizer=AdamW+lr=0.002+batchsize=32+epochs=6+\
     loss_function=MSE+finetuning_rounds=2+finetuning_patience=1+patience=6+warm_up_epochs=1",
    "--threads",
    "1",
];

#[test]
fn a_killed_run_ends_with_the_same_bytes() {
    let host = tempfile::tempdir().unwrap();
    let simulate = ["simulate", "-o", "data", "--sequences", "400", "--length", "60", "--seed", "2"];
    for name in ["whole", "broken"] {
        std::fs::create_dir(host.path().join(name)).unwrap();
        assert!(drg(&host.path().join(name), &simulate).status().unwrap().success());
    }
    let (whole, broken) = (host.path().join("whole"), host.path().join("broken"));
    let clock = Instant::now();
    assert!(drg(&whole, TRAIN).status().unwrap().success());
    let duration = clock.elapsed();

    // Six kills, each after another part of a whole run's time; the remainder runs to its end.
    let mut resume = TRAIN.to_vec();
    resume.push("--resume");
    let mut kills = 0;
    for part in [0.35, 0.2, 0.13, 0.41, 0.07, 0.27] {
        let mut child = drg(&broken, &resume).spawn().unwrap();
        std::thread::sleep(Duration::from_secs_f64(duration.as_secs_f64() * part));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            kills += 1;
        }
        child.wait().unwrap();
        if broken.join("model.drg").exists() {
            break;
        }
    }
    assert!(kills > 0, "the run ended before the first kill");
    if !broken.join("model.drg").exists() {
        assert!(drg(&broken, &resume).status().unwrap().success());
    }
    for file in ["model.drg", "model_loss.txt"] {
        let read = |folder: &Path| std::fs::read(folder.join(file)).unwrap();
        assert!(read(&whole) == read(&broken), "{file} differs after {kills} kills");
    }
    assert!(!broken.join("model.drg.state").exists(), "the state is removed at the end");
    // The rest of a killed run is a state file or nothing: no half-written model under its name.
    let left: Vec<_> = std::fs::read_dir(&broken).unwrap().map(|e| e.unwrap().file_name()).collect();
    eprintln!("{kills} kills; files: {left:?}");
}
