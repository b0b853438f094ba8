//! `drg convert`: checkpoints of PyTorch and the reference become models that predict what they predicted, and go back as files
//! that PyTorch loads. Wrong use and files that do not fit are told; pickles that call functions are refused.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and may say why it skips")]

mod common;

use std::path::Path;
use std::process::Command;

use common::room::Room;
use common::{JOINED, PROFILES, SINGLE};
use drg::io::pth::{PthData, PthTensor, read_pth, write_pth};
use drg::model::checkpoint::{Model, export_state};

impl Room {
    /// Files of a model of the reference under the names that it gives them: `x_parameter.pth`, `x_model_params.dat`, `io.npz`.
    fn with_reference(folder: &Path) -> Self {
        let room = Self::new();
        for (from, to) in [
            ("weights.pth", "x_parameter.pth"),
            ("model_params.dat", "x_model_params.dat"),
            ("io.npz", "io.npz"),
            ("config.txt", "config.txt"),
            ("input0.npz", "input0.npz"),
            ("input1.npz", "input1.npz"),
        ] {
            if folder.join(from).exists() {
                std::fs::copy(folder.join(from), room.path(to)).unwrap();
            }
        }
        room
    }

    /// Strands of every input, as `True,False`.
    fn strands(&self) -> String {
        let config = self.read("config.txt");
        let line = config.lines().find_map(|l| l.strip_prefix("reverse_complement : ")).unwrap();
        line.replace(['[', ']', ' '], "")
    }

    /// A small model that was made here: a line of the program, no fixtures.
    fn with_small_model() -> Self {
        Self::with_model("--sequences 80 --length 40 --tracks 2", &["num_kernels=8", "l_kernels=7", "pooling_size=5"])
    }

    fn fails(&self, line: &str, parts: &[&str]) {
        let before = self.names(".");
        let ran = self.run(line);
        assert_eq!((ran.code, ran.err.lines().count()), (2, 1), "drg {line}: {}", ran.err);
        for part in parts {
            assert!(ran.err.contains(part), "drg {line}: no '{part}' in {}", ran.err);
        }
        assert_eq!(self.names("."), before, "drg {line}");
    }
}

/// Predictions that the reference made in f64, one sequence a pass.
fn expected(room: &Room) -> Vec<f64> {
    room.npz("io.npz").numbers::<f64>("pred_f64").unwrap().1
}

/// All values of a file of predictions.
fn predicted(room: &Room, file: &str) -> Vec<f32> {
    let mut npz = room.npz(file);
    let key = if npz.has("counts") { "counts" } else { "values" };
    npz.numbers::<f32>(key).unwrap().1
}

fn close(name: &str, room: &Room, file: &str) {
    let want = expected(room);
    let got: Vec<f64> = predicted(room, file).into_iter().map(f64::from).collect();
    let largest = want.iter().fold(1f64, |a, b| a.max(b.abs()));
    common::within(name, &got, &want, 3e-5 * largest);
}

fn same(name: &str, a: &[(String, PthTensor)], b: &[(String, PthTensor)]) {
    let names = |s: &[(String, PthTensor)]| s.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>();
    assert_eq!(names(a), names(b), "{name}");
    for ((tensor, x), (_, y)) in a.iter().zip(b) {
        assert_eq!(x, y, "{name}: {tensor}");
    }
}

#[test]
fn reference_models_there_and_back() {
    let Some(fixtures) = common::shared("fixtures") else { return };
    for name in SINGLE.iter().chain(JOINED).chain(PROFILES) {
        let room = Room::with_reference(&fixtures.join(name));
        // The reference's parameter files of several inputs have one value for all strands.
        let (sequences, strands) = match JOINED.contains(name) {
            true => ("input0.npz,input1.npz", format!("--reverse-complement {}", room.strands())),
            false => ("io.npz", String::new()),
        };
        let ran = room.ok(&format!("convert x_parameter.pth -o m.drg {strands}"));
        assert!(ran.out == "m.drg\n" && ran.err.contains("architecture of x_model_params.dat"), "{name}: {}", ran.err);
        room.ok(&format!("predict m.drg {sequences} -o p.npz -q"));
        close(name, &room, "p.npz");

        assert_eq!(
            room.ok("convert m.drg -o y_parameter.pth --write-params -q").out,
            "y_parameter.pth\ny_model_params.dat\n"
        );
        let (before, after) =
            (read_pth(&room.path("x_parameter.pth")).unwrap(), read_pth(&room.path("y_parameter.pth")).unwrap());
        // A parameter file of `batch_norm` alone is read with a head without norm: the file's own tensors decide.
        same(name, &after, &before);
        room.ok("convert y_parameter.pth -o n.drg -q");
        room.ok(&format!("predict n.drg {sequences} -o q.npz -q"));
        assert_eq!(predicted(&room, "p.npz"), predicted(&room, "q.npz"), "{name}");
        let state = |file: &str| export_state(&Model::load(&room.path(file)).unwrap().network).unwrap();
        same(name, &state("n.drg"), &state("m.drg"));
    }
}

#[test]
fn written_parameter_files_are_those_of_the_reference() {
    let Some(fixtures) = common::shared("fixtures") else { return };
    for name in SINGLE.iter().chain(PROFILES) {
        let room = Room::with_reference(&fixtures.join(name));
        room.ok("convert x_parameter.pth -o m.drg -q");
        room.ok("convert m.drg -o y.pth --write-params -q");
        // Lines of the library's inside, and those that say nothing about the model.
        let lines = |file: &str| -> Vec<String> {
            let skipped = [
                "_",
                "kwargs",
                "outname",
                "device",
                "net_function",
                "fc_function",
                "trstrides",
                "trdilations",
                "conv_increase",
            ];
            let text = room.read(file);
            text.lines().filter(|l| !skipped.iter().any(|s| l.starts_with(s))).map(String::from).collect()
        };
        let (want, got) = (lines("x_model_params.dat"), lines("y_model_params.dat"));
        if PROFILES.contains(name) {
            // The reference's own order; masked training alone is not ours.
            let unknown =
                |line: &str| line.starts_with("masks") || line.starts_with("nmasks") || line.starts_with("aug");
            let differ: Vec<_> = want.iter().filter(|l| !got.contains(l) && !unknown(l)).collect();
            assert!(differ.is_empty(), "{name}: {differ:?}");
            continue;
        }
        let keys =
            |lines: &[String]| lines.iter().map(|l| l.split(' ').next().unwrap().to_string()).collect::<Vec<_>>();
        assert_eq!(keys(&want), keys(&got)[..want.len()], "{name}: order");
        // Without fully connected layers their dropout is not kept.
        let idle = |line: &str| line.starts_with("fc_dropout") && want.iter().any(|l| l == "nfc_layers : 0");
        let differ: Vec<_> = want.iter().zip(&got).filter(|(want, got)| want != got && !idle(want)).collect();
        assert!(differ.is_empty(), "{name}: {differ:?}");
        assert!(got[want.len()..].is_empty(), "{name}: {:?}", &got[want.len()..]);
    }
}

#[test]
fn options_instead_of_a_parameter_file() {
    let Some(fixtures) = common::shared("fixtures") else { return };
    for name in ["01b_baseline_padded", "03_multihead", "09d_overlap_pool_class"] {
        let room = Room::with_reference(&fixtures.join(name));
        let config = room.read("config.txt");
        let field = |key: &str| config.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(" : ")).unwrap();
        let strands = if field("reverse_complement") == "True" { "--reverse-complement" } else { "" };
        let cnn = field("cnn").replace(", ", ",");
        room.ok(&format!("convert x_parameter.pth -o m.drg --cnn {cnn} --length {} {strands} -q", field("l_seqs")));
        room.ok("predict m.drg io.npz -o p.npz -q");
        close(name, &room, "p.npz");
        room.ok("convert x_parameter.pth -o n.drg --params x_model_params.dat -q");
        room.ok("predict n.drg io.npz -o q.npz -q");
        assert_eq!(room.array::<2>("p.npz", "values"), room.array::<2>("q.npz", "values"), "{name}");
    }
}

#[test]
fn every_checkpoint_of_the_fixtures_is_listed() {
    let Some(fixtures) = common::shared("fixtures") else { return };
    let room = Room::new();
    let mut seen = 0;
    for folder in std::fs::read_dir(fixtures).unwrap().map(|e| e.unwrap().path()).filter(|p| p.is_dir()) {
        for file in std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
            if file.extension().is_some_and(|e| e == "pth") {
                std::fs::copy(&file, room.path("a.pth")).unwrap();
                let listed = room.ok("convert --list a.pth").out;
                assert_eq!(listed.lines().count(), 1 + read_pth(&file).unwrap().len(), "{}", file.display());
                seen += 1;
            }
        }
    }
    assert!(seen > 30, "{seen} checkpoints");
}

#[test]
fn models_of_ours_there_and_back() {
    let room = Room::with_small_model();
    let told = room.ok("convert m.drg -o m_parameter.pth --write-params").err;
    assert!(told.contains("targets were standardised") && !told.contains("pool_padding"), "{told}");
    room.write("names.txt", "liver\nheart\n");
    room.ok("convert m_parameter.pth -o n.drg --track-names names.txt --file-classes organs -q");
    let (mut old, new) = (Model::load(&room.path("m.drg")).unwrap(), Model::load(&room.path("n.drg")).unwrap());
    same("ours", &export_state(&new.network).unwrap(), &export_state(&old.network).unwrap());
    assert_eq!(new.track_names(), ["liver", "heart"]);
    assert_eq!(new.network.inputs()[0].heads[0].name, "organs");
    let t = old.training.take().unwrap();
    let t = drg::model::spec::TrainSpec { standardize_targets: true, ..t };
    assert_eq!(new.training.unwrap(), t, "how it was trained comes back as well");
    // Bytes follow from the content.
    room.ok("convert m.drg -o other.pth -q");
    assert_eq!(std::fs::read(room.path("other.pth")).unwrap(), std::fs::read(room.path("m_parameter.pth")).unwrap());
    assert_eq!(room.ok("convert --list m.drg").out, room.ok("convert --list other.pth").out);
    let listed = room.ok("convert --list m.drg").out;
    assert!(
        listed.starts_with("name ") && listed.contains("convolutions.conv1d.weight") && listed.contains("[8,4,7]"),
        "{listed}"
    );
}

#[test]
fn channels_in_another_order() {
    let room = Room::with_small_model();
    room.ok("convert m.drg -o m.pth --write-params -q");
    let mut state = read_pth(&room.path("m.pth")).unwrap();
    // The same model, its first layer for A, G, C, T.
    for (name, tensor) in &mut state {
        let PthData::F32(values) = &mut tensor.data else { continue };
        if name == "convolutions.conv1d.weight" {
            for kernel in values.chunks_exact_mut(4 * 7) {
                let (c, g) = kernel.split_at_mut(14);
                c[7..].swap_with_slice(&mut g[..7]);
            }
        }
    }
    write_pth(&room.path("agct.pth"), &state).unwrap();
    room.ok("convert agct.pth -o n.drg --params m_model_params.dat --alphabet AGCT -q");
    let load = |file: &str| export_state(&Model::load(&room.path(file)).unwrap().network).unwrap();
    same("AGCT", &load("n.drg"), &load("m.drg"));
    room.fails("convert agct.pth -o o.drg --params m_model_params.dat --alphabet ACGG", &["each once"]);
    room.fails("convert agct.pth -o o.drg --params m_model_params.dat --alphabet ATCG", &["pair of bases"]);
}

#[test]
fn what_does_not_fit_is_told() {
    let room = Room::with_small_model();
    room.ok("convert m.drg -o m.pth --write-params -q");
    let state = read_pth(&room.path("m.pth")).unwrap();
    let change = |file: &str, f: &dyn Fn(&mut Vec<(String, PthTensor)>)| {
        let mut state = state.clone();
        f(&mut state);
        write_pth(&room.path(file), &state).unwrap();
    };
    change("lacks.pth", &|s| s.truncate(s.len() - 1));
    change("renamed.pth", &|s| s[0].0 = "convolutions.conv1d.wait".into());
    change("more.pth", &|s| s.push(("extra.bias".into(), s[1].1.clone())));
    change("shape.pth", &|s| s[0].1.shape.swap(0, 1));
    change("module.pth", &|s| s.iter_mut().for_each(|(name, _)| *name = format!("module.{name}")));
    let params = "--params m_model_params.dat";
    let head = "'classifier.classifier.Linear.bias' is missing";
    room.fails(&format!("convert lacks.pth -o n.drg {params}"), &["lacks.pth: ", head]);
    let near = "did you mean 'convolutions.conv1d.weight'?";
    room.fails(
        &format!("convert renamed.pth -o n.drg {params}"),
        &["has no 'convolutions.conv1d.wait'", near, "did you mean 'convolutions.conv1d.wait'?"],
    );
    room.fails(&format!("convert more.pth -o n.drg {params}"), &["the model has no 'extra.bias'"]);
    room.fails(&format!("convert shape.pth -o n.drg {params}"), &["has shape [4, 8, 7], the model [8, 4, 7]"]);
    room.fails(
        "convert m.pth -o n.drg --cnn num_kernels=9+l_kernels=7+pooling_size=5 --length 40",
        &["shape [8, 4, 7], the model [9, 4, 7]"],
    );
    let told = room.ok(&format!("convert module.pth -o n.drg {params}")).err;
    assert!(told.contains("module.pth: cut 'module.' (DataParallel) off every name"), "{told}");

    std::fs::rename(room.path("m_model_params.dat"), room.path("p.dat")).unwrap();
    room.fails("convert m.pth -o o.drg", &["m_model_params.dat", "--params", "--cnn OPTIONS and --length"]);
    room.fails("convert m.pth -o o.drg --cnn num_kernels=8+l_kernels=7", &["--length"]);
    room.fails("convert m.pth -o o.drg --cnn num_kernel=8 --length 40", &["did you mean 'num_kernels'?"]);
    room.fails("convert m.pth -o o.drg --cnn p.dat --params p.dat", &["two parameter files"]);
    room.write("names.txt", "a\na\n");
    room.fails("convert m.pth -o o.drg --params p.dat --track-names names.txt", &["names.txt:2: 'a' comes twice"]);
    room.write("names.txt", "a\n");
    room.fails("convert m.pth -o o.drg --params p.dat --track-names names.txt", &["expected 2 names", "found 1"]);
    room.fails("convert m.pth -o o.drg --params p.dat --sigmoid", &["--sigmoid", "outclass=Class"]);
    room.fails("convert m.pth -o o.pth", &["no drg model"]);
    room.fails("convert m.pth -o o.drg --fresh", &["--fresh"]);
    room.fails("convert m.drg -o o.drg", &["is a model already"]);
    room.fails("convert m.drg -o o.pth --length 3", &["knows its architecture"]);
    room.fails("convert none.pth -o o.drg", &["cannot read none.pth"]);
    room.fails("convert m.drg -o no/o.pth", &["there is no folder no"]);
    room.fails("convert sim/sequences.fa -o o.drg", &["not a PyTorch checkpoint"]);
}

/// A pickle that runs a command, in a plain file and in the archive that `torch.save` writes.
#[test]
fn hostile_files_are_refused() {
    let room = Room::new();
    let pickle = b"\x80\x02cposix\nsystem\nX\x0a\x00\x00\x00touch made\x85R.";
    std::fs::write(room.path("plain.pth"), pickle).unwrap();
    write_pth(&room.path("zip.pth"), &[("w".into(), PthTensor { shape: vec![1], data: PthData::F32(vec![1.0]) })])
        .unwrap();
    // In the archive, the list of tensors becomes one that runs a command first and then is as long as it was.
    let mut zip = std::fs::read(room.path("zip.pth")).unwrap();
    let at = zip.windows(2).position(|w| w == b"\x80\x02").unwrap();
    let end = at + zip[at..].windows(3).position(|w| w == b"Ru.").unwrap() + 3;
    let innocent = zip[at..end].to_vec();
    let mut hostile = pickle[..pickle.len() - 1].to_vec();
    hostile.push(b'0');
    hostile.resize(innocent.len() - 2, b'N');
    hostile.extend(b"}.");
    zip[at..end].copy_from_slice(&hostile);
    let sum = |bytes: &[u8]| {
        let mut crc = flate2::Crc::new();
        crc.update(bytes);
        crc.sum().to_le_bytes()
    };
    let (old, new) = (sum(&innocent), sum(&hostile));
    while let Some(at) = zip.windows(4).position(|w| w == old) {
        zip[at..at + 4].copy_from_slice(&new);
    }
    std::fs::write(room.path("zip.pth"), zip).unwrap();
    for file in ["plain.pth", "zip.pth"] {
        room.fails(
            &format!("convert {file} -o m.drg --cnn num_kernels=1 --length 9"),
            &[file, "would call posix.system", "nothing was called"],
        );
        room.fails(&format!("convert --list {file}"), &["would call posix.system"]);
    }
    assert!(!room.path("made").exists());
}

/// What is written loads in PyTorch by default and fits the reference's own state dict as `load_state_dict(strict=True)` asks.
#[test]
fn pytorch_loads_what_is_written() {
    let python = std::env::var("DRG_PYTHON").unwrap_or_else(|_| "python3".into());
    let has = Command::new(&python).args(["-c", "import torch"]).output();
    if !has.is_ok_and(|o| o.status.success()) {
        eprintln!("skipped: {python} has no torch (set DRG_PYTHON to one that has)");
        return;
    }
    const COMPARE: &str = "
import collections, sys, torch
ours, theirs = (torch.load(f) for f in sys.argv[1:3])
assert type(ours) is collections.OrderedDict, type(ours)
assert list(ours) == list(theirs), set(ours) ^ set(theirs)
module = torch.nn.Module()
for i, (name, t) in enumerate(theirs.items()):
    o = ours[name]
    assert (o.dtype, o.shape, o.is_contiguous()) == (t.dtype, t.shape, True), (name, o.dtype, o.shape)
    assert torch.equal(o, t) or 'pool' in name, name
    assert torch.allclose(o, t), name
    at = module
    *path, last = name.split('.')
    for part in path:
        if not hasattr(at, part):
            at.add_module(part, torch.nn.Module())
        at = getattr(at, part)
    at.register_buffer(last, torch.zeros_like(t))
module.load_state_dict(ours, strict=True)
assert torch.load(sys.argv[1], mmap=True).keys() == theirs.keys()
";
    let compare = |room: &Room, ours: &str, theirs: &str| {
        let run =
            Command::new(&python).current_dir(room.0.path()).args(["-c", COMPARE, ours, theirs]).output().unwrap();
        assert!(run.status.success(), "{ours}: {}", String::from_utf8_lossy(&run.stderr));
    };
    // Every type, scalars, nothing at all, long shapes, an odd name.
    let room = Room::new();
    let tensors: Vec<(String, PthTensor)> = [
        ("z.f", vec![3, 1, 2], PthData::F32(vec![0.5, -0.0, f32::MAX, 1e-45, 3.0, -7.0])),
        ("z.count", vec![], PthData::I64(vec![i64::MIN + 1])),
        ("a", vec![1], PthData::F64(vec![0.1])),
        ("none", vec![0, 3], PthData::F32(vec![])),
        ("long", vec![300, 300], PthData::I64((0..90_000).collect())),
        ("ä b", vec![2], PthData::F32(vec![1.0, 2.0])),
    ]
    .map(|(name, shape, data)| (name.to_string(), PthTensor { shape, data }))
    .into();
    write_pth(&room.path("ours.pth"), &tensors).unwrap();
    const SAME: &str = "
import collections, torch
f32, i64, f64 = torch.float32, torch.int64, torch.float64
torch.save(collections.OrderedDict([
    ('z.f', torch.tensor([0.5, -0.0, 3.4028234663852886e38, 1e-45, 3.0, -7.0], dtype=f32).view(3, 1, 2)),
    ('z.count', torch.tensor(-2**63 + 1, dtype=i64)), ('a', torch.tensor([0.1], dtype=f64)),
    ('none', torch.zeros(0, 3)), ('long', torch.arange(90000).view(300, 300)), ('ä b', torch.tensor([1.0, 2.0]))]), 'theirs.pth')
half = {'epoch': 3, 'args': {'lr': 0.1}, 'model': {'module.w': torch.tensor([[1.5], [2.5]]).half().T, 'module.tied': None}}
half['model']['module.tied'] = half['model']['module.w']
torch.save(half, 'wrapped.pth')
torch.save(half, 'legacy.pth', _use_new_zipfile_serialization=False)
";
    assert!(Command::new(&python).current_dir(room.0.path()).args(["-c", SAME]).status().unwrap().success());
    compare(&room, "ours.pth", "theirs.pth");
    same("theirs.pth", &read_pth(&room.path("theirs.pth")).unwrap(), &tensors);
    for file in ["wrapped.pth", "legacy.pth"] {
        let ran = room.ok(&format!("convert --list {file}"));
        assert_eq!(ran.out, "name  shape  type\nw     [1,2]  float16\ntied  [1,2]  float16\n");
        assert!(
            ran.err.contains("took the 2 tensors under 'model'") && ran.err.contains("DataParallel"),
            "{}",
            ran.err
        );
        let values = PthTensor { shape: vec![1, 2], data: PthData::F32(vec![1.5, 2.5]) };
        let pair = ["w", "tied"].map(|name| (name.to_string(), values.clone()));
        same(file, &read_pth(&room.path(file)).unwrap(), &pair);
    }
    let Some(fixtures) = common::shared("fixtures") else { return };
    for name in SINGLE.iter().chain(JOINED) {
        let room = Room::with_reference(&fixtures.join(name));
        room.ok("convert x_parameter.pth -o m.drg -q");
        room.ok("convert m.drg -o y.pth -q");
        compare(&room, "y.pth", "x_parameter.pth");
    }
    // What the first forward pass makes is left out on request.
    let room = Room::with_reference(&fixtures.join("02_attention"));
    room.ok("convert x_parameter.pth -o m.drg -q");
    room.ok("convert m.drg -o y.pth --fresh -q");
    let names = |file: &str| read_pth(&room.path(file)).unwrap().into_iter().map(|(n, _)| n).collect::<Vec<_>>();
    let kept: Vec<String> = names("x_parameter.pth").into_iter().filter(|n| !n.ends_with("pos_queries")).collect();
    assert_eq!(names("y.pth"), kept);
}
