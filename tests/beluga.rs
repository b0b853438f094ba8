//! DeepSEA Beluga's file as users meet it: one line makes a model of it, which predicts what PyTorch predicts, takes part in
//! mutagenesis and variant scoring, and goes back into the same numbers. The published sizes, 600 MB, are a test of their own.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and may say why it skips")]

mod common;

use std::process::Command;

use common::room::Room;
use drg::io::pth::{PthData, PthTensor, read_pth, write_pth};
use drg::model::Network;
use drg::model::checkpoint::export_state;
use drg::model::spec::{Beluga, Published};

const SCRIPT: &str = include_str!("fixtures/beluga.py");

impl Room {
    /// With the files of `fixtures/beluga.py`, if there is a Python that has PyTorch.
    fn with_pytorch(arguments: &[&str]) -> Option<Self> {
        let python = std::env::var("DRG_PYTHON").unwrap_or_else(|_| "python3".into());
        let has = Command::new(&python).args(["-c", "import numpy, torch"]).output();
        if !has.is_ok_and(|o| o.status.success()) {
            eprintln!("skipped: {python} has no torch (set DRG_PYTHON to one that has)");
            return None;
        }
        let room = Self::new();
        let ran =
            Command::new(python).current_dir(room.0.path()).args(["-c", SCRIPT]).args(arguments).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        Some(room)
    }

    fn expected(&self, key: &str) -> Vec<f64> {
        self.npz("expected.npz").numbers::<f64>(key).unwrap().1
    }

    /// Compares the values of a file with numbers in f64; returns the largest error, relative to the largest number.
    fn close(&self, file: &str, want: &[f64]) -> f64 {
        let got: Vec<f64> = self.npz(file).numbers::<f32>("values").unwrap().1.into_iter().map(f64::from).collect();
        let largest = want.iter().fold(0f64, |a, b| a.max(b.abs()));
        assert!(largest > 0.01, "nothing to compare");
        common::within(file, &got, want, 1e-5 * largest);
        got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0.0, f64::max) / largest
    }

    fn fails(&self, line: &str, parts: &[&str]) {
        let ran = self.run(line);
        assert_eq!((ran.code, ran.err.lines().count()), (2, 1), "drg {line}: {}", ran.err);
        for part in parts {
            assert!(ran.err.contains(part), "drg {line}: no '{part}' in {}", ran.err);
        }
    }
}

/// Effects `[positions, 4, tracks]` as `drg ism` orders them: `[tracks, 4, positions]`.
fn transposed(effects: &[f64], tracks: usize) -> Vec<f64> {
    let positions = effects.len() / 4 / tracks;
    let at = |i: usize| effects[(i % positions * 4 + i / positions % 4) * tracks + i / positions / 4];
    (0..effects.len()).map(at).collect()
}

/// A small file of the published names, without PyTorch.
fn small() -> (Room, Vec<(String, PthTensor)>) {
    let room = Room::new();
    let sizes = Beluga { length: 330, channels: [5, 6, 7], hidden: 9, tracks: 4, ..Beluga::default() };
    let mut state = export_state(&Network::new(Published::Beluga(sizes), 5).unwrap()).unwrap();
    // So that effects are as large as predictions.
    for (_, tensor) in &mut state {
        let PthData::F32(values) = &mut tensor.data else { panic!("a tensor of other numbers") };
        values.iter_mut().for_each(|v| *v *= 2.0);
    }
    write_pth(&room.path("b.pth"), &state).unwrap();
    let bases: String = (0..660).map(|i| ['A', 'C', 'G', 'T'][(i * i / 3 + i / 7) % 4]).collect();
    room.write("s.fa", &format!(">one\n{}\n>two\n{}\n", &bases[..330], &bases[330..]));
    (room, state)
}

#[test]
fn every_verb_takes_the_model() {
    let (room, state) = small();
    let ran = room.ok("convert b.pth -o b.drg --length 330");
    assert!(ran.out == "b.drg\n" && ran.err.contains("channels are AGCT, its outputs become logits"), "{}", ran.err);
    assert!(ran.err.contains("a model of DeepSEA Beluga's layers") && ran.err.contains("16 tensors; 330 bases to 4"));
    let lists = ["b.pth", "b.drg"].map(|file| room.ok(&format!("convert --list {file}")).out);
    assert_eq!(lists[0], lists[1]);
    assert!(lists[0].contains("model.0.0.weight    [5,4,1,8]  float32\n"), "{}", lists[0]);
    room.ok("convert b.drg -o back.pth -q");
    assert_eq!(read_pth(&room.path("back.pth")).unwrap(), state);
    assert_eq!(std::fs::read(room.path("back.pth")).unwrap(), std::fs::read(room.path("b.pth")).unwrap());

    room.ok("predict b.drg s.fa -o p.npz -q");
    let ([2, 4], logits) = room.array::<2>("p.npz", "values") else { panic!("shape") };
    let ran = room.ok("ism b.drg s.fa -o e.npz --engine delta --verify 0.2");
    assert!(ran.err.contains("in f64: relative RMS error"), "{}", ran.err);
    room.ok("ism b.drg s.fa -o n.npz --engine naive --precision f64 -q");
    let naive: Vec<f64> = room.array::<4>("n.npz", "values").1.into_iter().map(f64::from).collect();
    room.close("e.npz", &naive);
    // The variant at position 101 of the first sequence is one of these mutants.
    let reference = room.read("s.fa").as_bytes()[5 + 100];
    let to = (b"ACGT".iter().position(|&b| b == reference).unwrap() + 1) % 4;
    let (from, alt) = (char::from(reference), ["A", "C", "G", "T"][to]);
    room.write("v.vcf", &format!("##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\none\t101\tv\t{from}\t{alt}\n"));
    room.ok("variants b.drg v.vcf --sequences s.fa --strand forward --engine delta -o v.npz -q");
    let effects: Vec<f64> = (0..4).map(|t| naive[(t * 4 + to) * 330 + 100]).collect();
    room.close("v.npz", &effects);
    room.ok("report -o r.html --model b.drg -q");
    assert!(room.read("r.html").contains("DeepSEA Beluga"));

    room.write("names.txt", "a\nb\nc\nd\n");
    room.ok("convert b.pth -o named.drg --length 330 --sigmoid --track-names names.txt -q");
    room.ok("predict named.drg s.fa -o q.npz --tracks c -q");
    let ([2, 1], probabilities) = room.array::<2>("q.npz", "values") else { panic!("shape") };
    for (p, l) in probabilities.iter().zip([logits[2], logits[6]]) {
        assert!((p - 1.0 / (1.0 + (-l).exp())).abs() < 1e-6, "{p} {l}");
    }
    room.ok("ism named.drg s.fa -o se.npz --engine delta --verify 0.2 -q");
    let ran = room.ok("convert named.drg -o named.pth");
    assert!(ran.err.contains("a state dict has no sigmoid"), "{}", ran.err);
    assert_eq!(read_pth(&room.path("named.pth")).unwrap(), state);
    // Programs that feed the file A, C, G, T read C where it means G.
    room.write("swapped.fa", &room.read("s.fa").replace('C', "x").replace('G', "C").replace('x', "G"));
    room.ok("convert b.pth -o acgt.drg --length 330 --alphabet acgt -q");
    room.ok("predict acgt.drg swapped.fa -o w.npz -q");
    assert_eq!(room.array::<2>("w.npz", "values").1, logits);
    room.ok("convert acgt.drg -o acgt.pth -q");
    assert_eq!(read_pth(&room.path("acgt.pth")).unwrap(), state);
}

#[test]
fn wrong_files_and_wrong_use_are_told() {
    let (room, state) = small();
    let changed = |name: &str, change: &dyn Fn(&mut Vec<(String, PthTensor)>)| {
        let mut state = state.clone();
        change(&mut state);
        write_pth(&room.path(name), &state).unwrap();
    };
    changed("lacks.pth", &|s| drop(s.remove(3)));
    changed("more.pth", &|s| s.push(("model.2.bias".into(), s[1].1.clone())));
    changed("flat.pth", &|s| s[2].1.shape = vec![5, 5, 8]);
    changed("narrow.pth", &|s| s[2].1 = PthTensor { shape: vec![5, 4, 1, 8], data: PthData::F32(vec![0.0; 160]) });
    let at = "--length 330 -q";
    room.fails(&format!("convert lacks.pth -o o.drg {at}"), &["lacks.pth: ", "'model.0.2.bias' is missing"]);
    room.fails(&format!("convert more.pth -o o.drg {at}"), &["the model has no 'model.2.bias'"]);
    let wrong = "'model.0.2.weight' has shape ";
    room.fails(&format!("convert flat.pth -o o.drg {at}"), &[wrong, "[5, 5, 8], the model [5, 5, 1, 8]"]);
    // The channels disagree with those of the tensor's neighbours, so the published ones are expected.
    room.fails(&format!("convert narrow.pth -o o.drg {at}"), &[wrong, "[5, 4, 1, 8], the model [320, 320, 1, 8]"]);
    room.fails("convert b.pth -o o.drg", &["--length: the tensors fit sequences of 326 to 341 bases"]);
    room.fails("convert b.pth -o o.drg --length 342", &["--length 342: expected the 326 to 341 bases"]);
    room.fails("convert b.pth -o o.drg --length 330,330", &["--length 330,330: expected"]);
    room.fails(&format!("convert b.pth -o o.drg {at} --alphabet AGGT"), &["--alphabet AGGT: expected the letters"]);
    for flag in
        ["--cnn num_kernels=5", "--params p.dat", "--tracks 4", "--bins 5", "--reverse-complement", "--file-classes a"]
    {
        let line = format!("convert b.pth -o o.drg {at} {flag}");
        room.fails(&line, &[flag.split(' ').next().unwrap(), "DeepSEA Beluga's, whose layers are known"]);
    }
    room.ok(&format!("convert b.pth -o b.drg {at}"));
    room.fails("convert b.drg -o o.pth --write-params", &["a published architecture", "write the .pth alone"]);
    room.fails("convert b.drg -o o.pth --sigmoid", &["knows its architecture"]);
    room.ok("simulate -o sim --sequences 60 --length 40 --tracks 2 --motifs 2 -q");
    let line = "train sim/sequences.fa sim/targets.tsv -o t.drg --set num_kernels=4 --set epochs=1 --from b.drg -q";
    room.fails(line, &["not supported: beluga is a published architecture, which no options describe"]);
}

#[test]
fn predicts_what_pytorch_predicts() {
    let Some(room) = Room::with_pytorch(&["330", "5,6,7", "9", "4", "0:330"]) else { return };
    let state = read_pth(&room.path("beluga.pth")).unwrap();
    for file in ["beluga", "legacy", "bare"] {
        let ran = room.ok(&format!("convert {file}.pth -o m.drg --length 330"));
        assert_eq!(ran.err.contains("put 'model.' in front"), file == "bare", "{}", ran.err);
        room.ok("predict m.drg sequences.fa -o p.npz -q");
        room.close("p.npz", &room.expected("predictions"));
        room.ok("convert m.drg -o back.pth -q");
        assert_eq!(read_pth(&room.path("back.pth")).unwrap(), state, "{file}");
    }
    room.ok("ism m.drg sequences.fa -o e.npz --engine delta --names s0 -q");
    room.close("e.npz", &transposed(&room.expected("effects"), 4));
    // The right order of bases is what makes them agree.
    room.ok("convert beluga.pth -o m.drg --length 330 --alphabet ACGT -q");
    room.ok("predict m.drg sequences.fa -o p.npz -q");
    let other: Vec<f64> = room.array::<2>("p.npz", "values").1.into_iter().map(f64::from).collect();
    let largest = |values: &[f64]| values.iter().fold(0f64, |a, b| a.max(b.abs()));
    let want = room.expected("predictions");
    let apart: Vec<f64> = other.iter().zip(&want).map(|(a, b)| a - b).collect();
    assert!(largest(&apart) > 0.01 * largest(&want));
}

#[test]
#[ignore = "makes a file of 600 MB with PyTorch; needs 8 GB of memory and, in a release build, a few minutes"]
fn the_published_sizes() {
    let Some(room) = Room::with_pytorch(&["2000", "320,480,640", "2003", "2002", "900:906"]) else { return };
    let ran = room.ok("convert beluga.pth -o beluga.drg");
    assert!(ran.err.contains("DeepSEA Beluga; its channels are AGCT") && ran.err.contains("2000 bases to 2002 tracks"));
    room.ok("predict beluga.drg sequences.fa -o p.npz -q");
    eprintln!("predictions: largest error {:.1e} of the largest", room.close("p.npz", &room.expected("predictions")));
    let ran = room.ok("ism beluga.drg sequences.fa -o e.npz --engine delta --names s0 --range 900:906 --verify 1");
    let want = transposed(&room.expected("effects"), 2002);
    eprintln!("effects: largest error {:.1e} of the largest; {}", room.close("e.npz", &want), ran.err.trim_end());
    room.ok("convert beluga.drg -o back.pth -q");
    assert_eq!(read_pth(&room.path("back.pth")).unwrap(), read_pth(&room.path("beluga.pth")).unwrap());
}
