//! A folder of its own for one test, in which the program runs. A test file that needs more of it adds an `impl Room`.

use std::path::PathBuf;
use std::process::Command;

use drg::io::npz::Npz;
use tempfile::TempDir;

/// The program under test: `$DRG_PROGRAM` where the tests were moved to another machine, else what was built with them.
pub fn program() -> PathBuf {
    std::env::var_os("DRG_PROGRAM").map_or_else(|| env!("CARGO_BIN_EXE_drg").into(), PathBuf::from)
}

/// The folder; it goes with the value.
pub struct Room(pub TempDir);

/// What one run gave.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The rest of a `drg train` line that makes `m.drg` of the simulated data in `sim` in one epoch.
const SMALL: &str = "train sim/sequences.fa sim/targets.tsv -o m.drg --crossvalidation sim/folds.txt 0 --reverse-complement \
                     --set epochs=1 --set standardize_targets=True -q";

impl Room {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With simulated data in `sim`, and `m.drg` that was trained on them for an epoch; `simulate` and `options` are what the
    /// two lines have besides.
    pub fn with_model(simulate: &str, options: &[&str]) -> Self {
        let room = Self::new();
        room.ok(&format!("simulate -o sim {simulate} --motifs 3 --seed 1 -q"));
        let options: String = options.iter().map(|o| format!(" --set {o}")).collect();
        room.ok(&format!("{SMALL}{options}"));
        room
    }

    /// A run of the program in the folder; arguments are split at blanks.
    pub fn run(&self, line: &str) -> Ran {
        let mut command = Command::new(program());
        let output = command.current_dir(self.0.path()).args(line.split_whitespace()).output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A run that must succeed.
    pub fn ok(&self, line: &str) -> Ran {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "drg {line}: {}{}", ran.out, ran.err);
        ran
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn npz(&self, name: &str) -> Npz {
        Npz::open(&self.path(name)).unwrap()
    }

    pub fn array<const R: usize>(&self, name: &str, key: &str) -> ([usize; R], Vec<f32>) {
        self.npz(name).array::<f32, R>(key).unwrap()
    }

    /// Names of the files in a folder, sorted.
    pub fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}
