//! `drg ism` and `drg merge` as users meet them: engines agree, files of all kinds hold the same numbers, an interrupted job
//! goes on, shards add up to the whole.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;

use common::room::{Ran, Room};
use drg::io::npz::Npz;
use drg::io::zarr::ZarrReader;

impl Room {
    /// Simulated data of this length, and a model that was trained for an epoch.
    fn trained(length: usize) -> Self {
        let pool = ["pooling_size=5", "weighted_pooling=True", "max_pooling=False"];
        let block = ["dilated_convolutions=2", "l_dilkernels=3", "conv_batch_norm=True"];
        let options = [&["num_kernels=8", "l_kernels=7"][..], &pool, &block].concat();
        Self::with_model(&format!("--sequences 60 --length {length} --tracks 3"), &options)
    }

    fn fails(&self, line: &str, part: &str) {
        let Ran { code, out, err } = self.run(line);
        assert!(code == 2 && out.is_empty() && err.contains(part), "drg {line}: {code} {out} {err}");
    }

    fn values(&self, name: &str) -> ([usize; 4], Vec<f32>) {
        Npz::open(&self.path(name)).unwrap().array::<f32, 4>("values").unwrap()
    }

    /// The values of a group, and its predictions.
    fn group(&self, name: &str) -> (Vec<f32>, Vec<f32>) {
        let group = ZarrReader::open(&self.path(name)).unwrap();
        let all = |name: &str| {
            let array = group.array(name).unwrap();
            array.read_region(&vec![0; array.shape().len()], array.shape()).unwrap()
        };
        (all("values"), all("predictions"))
    }

    /// Every file below a folder with its bytes.
    fn bytes(&self, folder: &str) -> Vec<(PathBuf, Vec<u8>)> {
        fn walk(at: &Path, root: &Path, all: &mut Vec<(PathBuf, Vec<u8>)>) {
            for entry in std::fs::read_dir(at).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    walk(&path, root, all);
                } else {
                    all.push((path.strip_prefix(root).unwrap().into(), std::fs::read(&path).unwrap()));
                }
            }
        }
        let (root, mut all) = (self.path(folder), vec![]);
        walk(&root, &root, &mut all);
        all.sort();
        all
    }
}

fn relative(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |v: f64| v * v;
    let error: f64 = got.iter().zip(want).map(|(g, w)| square(f64::from(g - w))).sum();
    (error / want.iter().map(|&w| square(f64::from(w))).sum::<f64>()).sqrt()
}

#[test]
fn engines_and_reductions_agree() {
    let room = Room::trained(40);
    room.ok("ism m.drg sim/sequences.fa -o exact.npz --engine naive --precision f64 --names 0:9 -q");
    let ([9, 3, 4, 40], exact) = room.values("exact.npz") else { panic!("shape") };
    for engine in ["delta", "naive", "auto"] {
        let Ran { err, .. } =
            room.ok(&format!("ism m.drg sim/sequences.fa -o f.npz --engine {engine} --names 0:9 --verify 0.1"));
        assert!(err.contains("in f64: relative RMS error"), "{err}");
        let error = relative(&room.values("f.npz").1, &exact);
        assert!(error < 1e-5, "{engine}: {error:e}");
    }
    // Groups, contrasts, comparisons and gauges of the same effects.
    let effects = room.values("f.npz").1;
    let at = |values: &[f32], tracks: usize, n: usize, t: usize, b: usize, p: usize| {
        f64::from(values[((n * tracks + t) * 4 + b) * 40 + p])
    };
    let run = |options: &str| {
        room.ok(&format!("ism m.drg sim/sequences.fa -o g.npz --names 0:9 -q {options}"));
        room.values("g.npz")
    };
    let (shape, groups) = run("--groups a:track1,track3;b:track2 --contrast a-b");
    assert_eq!(shape, [9, 1, 4, 40]);
    let (shape, corrected) = run("--gauge corrected --tracks track2");
    assert_eq!(shape, [9, 1, 4, 40]);
    let (shape, mean) = run("--gauge mean-effect --tracks 1");
    assert_eq!(shape, [9, 1, 1, 40]);
    let (shape, length) = run("--compare l2");
    assert_eq!(shape, [9, 1, 4, 40]);
    let close = |a: f64, b: f64, what: &str| assert!((a - b).abs() < 1e-5, "{what}: {a} {b}");
    for (n, p) in [(0, 0), (3, 17), (8, 39)] {
        let column: Vec<f64> = (0..4).map(|b| at(&effects, 3, n, 1, b, p)).collect();
        let sum: f64 = column.iter().sum();
        close(f64::from(mean[n * 40 + p]), -sum / 3.0, "mean effect");
        for b in 0..4 {
            let [x, y, z] = [0, 1, 2].map(|t| at(&effects, 3, n, t, b, p));
            close(at(&groups, 1, n, 0, b, p), 0.5 * (x + z) - y, "contrast");
            close(at(&corrected, 1, n, 0, b, p), y - sum / 4.0, "corrected");
            close(at(&length, 1, n, 0, b, p), (x * x + y * y + z * z).sqrt(), "l2");
        }
    }
    let Ran { out, .. } = room.ok("ism m.drg sim/sequences.fa --plan");
    for part in ["naive MFLOP", "window", "dense at", "engine: ", "predicted time, naive", "times less"] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[test]
fn stores_resume_and_shards_merge() {
    // Two blocks a sequence.
    let room = Room::trained(300);
    let job = "ism m.drg sim/sequences.fa --names 0:5 --engine delta -q";
    room.ok(&format!("{job} -o whole.npz"));
    room.ok(&format!("{job} -o whole.zarr --threads 1"));
    let (shape, values) = room.values("whole.npz");
    assert_eq!(shape, [5, 3, 4, 300]);
    let stored = room.group("whole.zarr");
    assert_eq!(stored.0, values);
    assert_eq!(Npz::open(&room.path("whole.npz")).unwrap().array::<f32, 2>("predictions").unwrap().1, stored.1);
    // A half of the chunks is lost, as after a kill: they come back with the same bytes, and no other is touched.
    let before = room.bytes("whole.zarr");
    let chunks: Vec<&PathBuf> =
        before.iter().map(|b| &b.0).filter(|p| p.starts_with("values/c") && p.is_relative()).collect();
    assert_eq!(chunks.len(), 10);
    for chunk in chunks.iter().step_by(2) {
        std::fs::remove_file(room.path("whole.zarr").join(chunk)).unwrap();
    }
    room.fails(&format!("{job} -o whole.zarr"), "--resume");
    room.fails("plot attr whole.zarr -o x.svg", "--resume");
    room.ok(&format!("{job} -o whole.zarr --resume"));
    assert_eq!(room.bytes("whole.zarr"), before);
    let Ran { err, .. } = room.ok(&format!("{} -o whole.zarr --resume", job.replace(" -q", "")));
    assert!(err.contains("there already"), "{err}");
    room.fails(&format!("{job} -o whole.zarr --resume --gauge corrected"), "another job: its gauge");
    room.fails(&format!("{} -o whole.zarr --resume", job.replace("0:5", "0:4")), "whole.zarr");
    // Other tracks, other names of the same bases: other jobs, even where nothing is missing.
    room.ok(&format!("{job} -o one.zarr --tracks track1"));
    let one = room.bytes("one.zarr");
    room.fails(&format!("{job} -o one.zarr --tracks track2 --resume"), "another job");
    room.fails(&format!("{job} -o one.zarr --groups track1:track1,track2 --resume"), "another job");
    let renamed = std::fs::read_to_string(room.path("sim/sequences.fa")).unwrap().replace(">seq", ">other");
    std::fs::write(room.path("renamed.fa"), renamed).unwrap();
    room.fails("ism m.drg renamed.fa --names 0:5 --engine delta --tracks track1 -o one.zarr --resume", "other names");
    assert_eq!(room.bytes("one.zarr"), one);
    // Half a chunk counts as none; a folder in which nothing was finished is empty.
    std::fs::write(room.path("one.zarr").join("values/c/0/0/0/1"), "half").unwrap();
    room.ok(&format!("{job} -o one.zarr --tracks track1 --resume"));
    assert_eq!(room.bytes("one.zarr"), one);
    std::fs::create_dir(room.path("begun.zarr")).unwrap();
    std::fs::write(room.path("begun.zarr/.drg-abc.tmp"), "").unwrap();
    room.ok(&format!("{job} -o begun.zarr --tracks track1 --resume"));
    assert_eq!(room.bytes("begun.zarr"), one);
    room.ok("plot attr whole.zarr -o x.svg --sequences 0 --tracks 0 -q");
    // A process that is killed while it writes.
    let all = "ism m.drg sim/sequences.fa --engine delta -q";
    room.ok(&format!("{all} -o long.zarr"));
    let mut child = Command::new(env!("CARGO_BIN_EXE_drg"))
        .current_dir(room.0.path())
        .args(format!("{all} -o killed.zarr --threads 1").split_whitespace())
        .spawn()
        .unwrap();
    let written = || match room.path("killed.zarr/values/c").is_dir() {
        true => room.bytes("killed.zarr/values/c").len(),
        false => 0,
    };
    while written() < 3 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    room.ok(&format!("{all} -o killed.zarr --resume"));
    assert_eq!(room.bytes("killed.zarr"), room.bytes("long.zarr"));
    // Shards.
    for i in 1..=3 {
        room.ok(&format!("{job} -o s{i}.zarr --shard {i}/3"));
    }
    room.ok("merge s2.zarr s1.zarr s3.zarr -o merged.zarr");
    assert_eq!(room.bytes("merged.zarr"), before);
    room.ok("merge s1.zarr s2.zarr s3.zarr -o merged.npz");
    assert_eq!(std::fs::read(room.path("merged.npz")).unwrap(), std::fs::read(room.path("whole.npz")).unwrap());
    room.ok("merge whole.zarr -o again.npz");
    assert_eq!(room.values("again.npz").1, values);
    room.fails("merge s1.zarr s3.zarr -o x.npz", "shard 2 of 3 is missing");
    room.fails("merge s1.zarr s1.zarr s3.zarr -o x.npz", "so is");
    room.fails("merge s1.zarr whole.zarr -o x.npz", "one of 3");
    room.ok(&format!("{} -o other.zarr --shard 2/3", job.replace("delta", "naive")));
    room.fails("merge s1.zarr other.zarr s3.zarr -o x.npz", "another job");
    room.ok(&format!("{job} -o f16.zarr --shard 2/3 --dtype f16"));
    room.fails("merge s1.zarr f16.zarr s3.zarr -o x.npz", "laid out");
    let lost = room.bytes("s2.zarr").into_iter().map(|b| b.0).find(|p| p.starts_with("values/c")).unwrap();
    std::fs::remove_file(room.path("s2.zarr").join(lost)).unwrap();
    room.fails("merge s1.zarr s2.zarr s3.zarr -o x.npz", "--resume");
    // Half precision, and short sequences that share chunks.
    room.ok(&format!("{job} -o half.zarr --dtype f16 --range 10:50"));
    let part: Vec<f32> = values.chunks(300).flat_map(|line| line[10..50].iter().copied()).collect();
    assert!(relative(&room.group("half.zarr").0, &part) < 1e-3);
    for (line, part) in [
        ("-o a.npz --shard 1/2", ".zarr"),
        ("-o a.zarr --shard 3/2", "1 <= I <= N"),
        ("-o a.h5", ".npz or .zarr"),
        ("-o a.npz --engine fast", "auto, delta or naive"),
        ("-o a.npz --gauge hypotetical", "did you mean 'hypothetical'?"),
        ("-o a.npz --precision bf16", "bf16 needs a GPU"),
        ("-o a.npz --verify 2", "up to 1"),
        ("-o a.npz --groups a:track9", "track9"),
        ("-o a.npz --compare log2fc --pseudocount=-1", "0 or more"),
        ("-o a.npz --compare l2 --gauge corrected", "no sign"),
        ("-o no/a.zarr", "no folder no"),
    ] {
        room.fails(&format!("ism m.drg sim/sequences.fa {line}"), part);
    }
}
