//! GPUs: what the program says where there is none, or none that can be used; and, where there is one (or it is emulated), whole
//! models on it against the CPU.
//!
//! Drivers that refuse are made here: a small library by the name of the driver's, which the program finds first.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and may say why it skips")]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use common::room::{Ran, Room, program};
use drg::device::{Device, Precision};
use drg::engine::mutate::{Edits, Engine, Options, each_block};
use drg::engine::predict::predict_in;
use drg::engine::train::Trainer;
use drg::io::dataset::{Dataset, align};
use drg::io::targets::Targets;
use drg::model::Network;
use drg::model::options::{DataFacts, parse_option_string, resolve};
use drg::seq::Sequences;
use drg::tape::check;
use drg::util::philox::Philox;

/// A driver that says what the environment tells it to.
const DRIVER: &str = r#"
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
static int told(const char* name, int otherwise) {
    const char* text = getenv(name);
    return text ? atoi(text) : otherwise;
}
int cuInit(unsigned flags) { return told("FAKE_INIT", 0); }
int cuDriverGetVersion(int* version) { *version = told("FAKE_VERSION", 13000); return 0; }
int cuDeviceGetCount(int* count) { *count = told("FAKE_COUNT", 1); return 0; }
int cuDeviceGet(int* device, int number) { *device = number; return 0; }
int cuDeviceGetName(char* name, int room, int device) { strncpy(name, "Paper GPU", room); return 0; }
int cuDeviceTotalMem_v2(size_t* bytes, int device) { *bytes = (size_t)1 << 30; return 0; }
int cuDeviceGetAttribute(int* value, int which, int device) {
    *value = which == 75 ? told("FAKE_MAJOR", 9) : which == 76 ? told("FAKE_MINOR", 0) : which == 97 ? 232448 : 4;
    return 0;
}
int cuGetErrorString(int code, const char** text) { *text = code == 2 ? "out of memory" : "no luck"; return 0; }
int cuDevicePrimaryCtxRetain(void** context, int device) { *context = &told; return told("FAKE_CONTEXT", 0); }
int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
int cuCtxSetCurrent(void* context) { return 0; }
int cuStreamCreate(void** stream, unsigned flags) { *stream = &told; return 0; }
int cuStreamSynchronize(void* stream) { return 0; }
int cuStreamDestroy_v2(void* stream) { return 0; }
int cuModuleLoadData(void** module, const void* image) { *module = &told; return told("FAKE_MODULE", 0); }
int cuModuleGetFunction(void** function, void* module, const char* name) { *function = &told; return 0; }
int cuModuleUnload(void* module) { return 0; }
int cuMemAlloc_v2(void** address, size_t bytes) { *address = 0; return 2; }
"#;

/// Folders with the driver of paper and with a library that has none of its functions; `None` without a C compiler.
fn paper() -> Option<&'static (PathBuf, PathBuf)> {
    static FOLDERS: OnceLock<Option<(PathBuf, PathBuf)>> = OnceLock::new();
    FOLDERS.get_or_init(build_paper).as_ref()
}

fn build_paper() -> Option<(PathBuf, PathBuf)> {
    if !cfg!(target_os = "linux") {
        eprintln!("skipped: drivers that refuse, which are made for Linux only");
        return None;
    }
    let root = std::env::temp_dir().join(format!("drg-paper-{}", std::process::id()));
    let build = |name: &str, text: &str| {
        let folder = root.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("driver.c"), text).unwrap();
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-w", "-o"]).arg(folder.join("libcuda.so.1")).arg(folder.join("driver.c"));
        let made = cc.status().is_ok_and(|s| s.success());
        // The program asks for either name.
        made.then(|| std::fs::copy(folder.join("libcuda.so.1"), folder.join("libcuda.so")).unwrap());
        made.then_some(folder)
    };
    let found = build("driver", DRIVER).zip(build("stub", "int nothing;"));
    if found.is_none() {
        eprintln!("skipped: drivers that refuse; there is no C compiler 'cc'");
    }
    found
}

/// A run of the program with the libraries of a folder in front, and these variables.
fn with(room: &Room, folder: &Path, variables: &[(&str, &str)], line: &str) -> Ran {
    let mut command = Command::new(program());
    command.current_dir(room.0.path()).args(line.split_whitespace()).env("LD_LIBRARY_PATH", folder);
    let output = command.envs(variables.iter().copied()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

fn small_model() -> Room {
    let room =
        Room::with_model("--sequences 40 --length 30 --tracks 2", &["num_kernels=4", "l_kernels=5", "pooling_size=5"]);
    room.ok("predict m.drg sim/sequences.fa -o cpu.npz --device cpu -q");
    room
}

/// What every driver that cannot be used must lead to: `--device cuda` fails with the reason, `--device auto` says it once and
/// goes on; without the option it is said unless nobody expects a GPU here.
fn refuses(room: &Room, ran: impl Fn(&str) -> Ran, reason: &str, is_expected: bool) {
    let line = |device: &str| format!("predict m.drg sim/sequences.fa -o p.npz {device}");
    let named = ran(&line("--device cuda"));
    assert_eq!((named.code, named.out.as_str()), (1, ""), "{reason}: {}", named.err);
    let whole = format!("drg predict: cuda:0: {reason}");
    assert!(named.err.starts_with(&whole) && named.err.trim_end().lines().count() == 1, "{whole}\n{}", named.err);
    assert!(!room.path("p.npz").exists(), "{reason}");

    for (device, said) in [("--device auto", true), ("", !is_expected)] {
        let Ran { code, out, err } = ran(&line(device));
        assert_eq!((code, out.as_str()), (0, "p.npz\n"), "{reason}: {err}");
        let lines: Vec<&str> = err.lines().filter(|l| l.contains("cuda") || l.contains("CPU")).collect();
        let wanted = format!("computing on the CPU: cuda:0: {reason}");
        assert!(lines.len() == usize::from(said) && lines.iter().all(|l| l.starts_with(&wanted)), "{wanted}\n{err}");
        assert_eq!(room.array::<2>("p.npz", "values"), room.array::<2>("cpu.npz", "values"));
        std::fs::remove_file(room.path("p.npz")).unwrap();
    }
    let quiet = ran(&line("--device auto -q"));
    assert_eq!((quiet.code, quiet.err.as_str()), (0, ""), "{reason}");
    std::fs::remove_file(room.path("p.npz")).unwrap();

    let found: serde_json::Value = serde_json::from_str(&ran("devices --json").out).unwrap();
    assert_eq!((&found["cuda"], &found["device"]), (&false.into(), &"cpu".into()), "{found}");
    let text = ran("devices").out;
    assert!(text.contains(reason), "{reason}\n{text}");

    let bench = ran("bench gpu --tiny");
    assert_eq!((bench.code, bench.out.as_str()), (1, ""), "{}", bench.err);
    assert!(bench.err.starts_with(&format!("drg bench gpu: cuda:0: {reason}")), "{}", bench.err);
}

#[test]
fn machines_without_a_driver() {
    let room = small_model();
    let found: serde_json::Value = serde_json::from_str(&room.ok("devices --json").out).unwrap();
    match found["no_gpu_because"].as_str() {
        Some(why) if why.contains("no NVIDIA driver") => refuses(&room, |line| room.run(line), why, true),
        _ => eprintln!("skipped: a machine without a driver; this one has one"),
    }
    for (device, hint) in [
        ("cudaa", "found 'cudaa' (did you mean 'cuda'?)"),
        ("cuda:x", "found 'cuda:x'"),
        ("cuda:", "found 'cuda:'"),
        ("gpu", "found 'gpu'"),
    ] {
        let Ran { code, out, err } = room.run(&format!("predict m.drg sim/sequences.fa -o p.npz --device {device}"));
        assert_eq!((code, out.as_str()), (2, ""), "{device}: {err}");
        assert!(err.contains("expected auto, cpu, cuda or cuda:N") && err.contains(hint), "{err}");
    }
    let bench = room.run("bench gpu --device cpu");
    assert_eq!(bench.code, 2, "{}", bench.err);
    assert!(bench.err.contains("drg bench cpu"), "{}", bench.err);
}

#[test]
fn drivers_that_cannot_be_used_say_why() {
    let Some((driver, stub)) = paper() else { return };
    let room = small_model();
    let kernels = {
        let found: serde_json::Value = serde_json::from_str(&with(&room, driver, &[], "devices --json").out).unwrap();
        assert_eq!(found["gpus"][0]["name"], "Paper GPU", "{found}");
        !found["kernels"]["compiler"].is_null()
    };
    let missing =
        "libcuda.so.1 has no cuInit: it is a stub or a very old driver; in a container, give it access to the GPUs";
    refuses(&room, |line| with(&room, stub, &[], line), missing, false);
    for (variables, reason, is_expected) in [
        (&[("FAKE_INIT", "34")][..], "cuInit says that libcuda.so.1 is a stub", false),
        (&[("FAKE_INIT", "999")], "the NVIDIA driver refuses cuInit with error 999; nvidia-smi may say why", false),
        (&[("FAKE_INIT", "100")], "the NVIDIA driver finds no GPU; CUDA_VISIBLE_DEVICES may hide them", true),
        (&[("FAKE_COUNT", "0")], "the NVIDIA driver finds no GPU", true),
        (
            &[("FAKE_MAJOR", "7"), ("FAKE_MINOR", "5")],
            "Paper GPU has compute capability 7.5; the kernels need 8.0 (Ampere) or later",
            false,
        ),
    ] {
        refuses(&room, |line| with(&room, driver, variables, line), reason, is_expected);
    }
    let absent = with(&room, driver, &[], "predict m.drg sim/sequences.fa -o p.npz --device cuda:3");
    assert_eq!(absent.code, 1);
    assert!(absent.err.contains("cuda:3: the driver knows 1 GPU, cuda:0"), "{}", absent.err);
    if !kernels {
        let reason = "this build has no GPU kernels: no nvcc was found when it was compiled; set DRG_NVCC to one";
        refuses(&room, |line| with(&room, driver, &[], line), reason, false);
        eprintln!("skipped: old drivers and GPUs without memory, of which a build without kernels says nothing");
        return;
    }
    let old = "the driver serves CUDA up to 11.8, the kernels need";
    refuses(&room, |line| with(&room, driver, &[("FAKE_VERSION", "11080")], line), old, false);
    let full = "cuDevicePrimaryCtxRetain failed: out of memory (error 2); other programs hold its memory: nvidia-smi lists them";
    refuses_to_open(&room, |line| with(&room, driver, &[("FAKE_CONTEXT", "2")], line), full);
    let other =
        "loading the kernels 'activation' failed: no luck (error 209); the kernels were not compiled for this GPU";
    refuses_to_open(&room, |line| with(&room, driver, &[("FAKE_MODULE", "209")], line), other);
    let usable: serde_json::Value = serde_json::from_str(&with(&room, driver, &[], "devices --json").out).unwrap();
    assert_eq!((&usable["cuda"], &usable["device"]), (&true.into(), &"cuda:0".into()), "{usable}");
    assert!(usable["gpus"][0]["kernels"].as_u64().unwrap() > 20, "{usable}");
    // Chosen is chosen: what goes wrong later is no reason to start again on the CPU.
    for device in ["cuda", "auto"] {
        let line = format!("predict m.drg sim/sequences.fa -o p.npz --device {device}");
        let Ran { code, err, .. } = with(&room, driver, &[], &line);
        assert_eq!(code, 1, "{err}");
        assert!(err.contains("cuda:0: not enough memory: ") && err.contains("use smaller batches"), "{err}");
    }
}

/// As [`refuses`], for what shows only when the GPU is opened.
fn refuses_to_open(room: &Room, ran: impl Fn(&str) -> Ran, reason: &str) {
    let line = |device: &str| format!("predict m.drg sim/sequences.fa -o p.npz {device}");
    let named = ran(&line("--device cuda"));
    assert_eq!(named.code, 1, "{}", named.err);
    assert!(named.err.starts_with(&format!("drg predict: cuda:0: {reason}")), "{}", named.err);
    for device in ["--device auto", ""] {
        let Ran { code, err, .. } = ran(&line(device));
        assert_eq!(code, 0, "{err}");
        assert_eq!(err.matches(&format!("computing on the CPU: cuda:0: {reason}")).count(), 1, "{err}");
    }
    std::fs::remove_file(room.path("p.npz")).unwrap();
}

/// Whether there is a GPU to test on; says so if there is none.
fn gpus() -> &'static [drg::device::Gpu] {
    if let Some(why) = check::skipped() {
        eprintln!("skipped on a GPU: {why}");
    }
    check::gpus()
}

/// Networks of all kinds of layers, small enough to be emulated.
const NETWORKS: &[(&str, &str)] = &[
    (
        "weighted pools with minima, dilated residual block",
        "num_kernels=6+l_kernels=5+kernel_function=GELU+net_function=GELU+max_pooling=False+weighted_pooling=True\
         +pool_padding=sequence-min+pooling_size=4+dilated_convolutions=2+l_dilkernels=3+dilations=[1,2]\
         +transformer_convolutions=1+l_trkernels=3+trweighted_pooling=3+fclayer_size=8+nfc_layers=2+conv_batch_norm=True",
    ),
    (
        "maximum pools",
        "num_kernels=5+l_kernels=6+kernel_function=ReLU+net_function=ReLU+max_pooling=True+pooling_size=3\
         +transformer_convolutions=1+l_trkernels=4+trmax_pooling=2+fclayer_size=7+nfc_layers=1+conv_batch_norm=True",
    ),
    (
        "attention",
        "num_kernels=6+l_kernels=5+kernel_function=GELU+net_function=GELU+max_pooling=False+weighted_pooling=True\
         +pooling_size=4+n_attention=1+n_distattention=2+dim_distattention=1.5+transformer_convolutions=1+l_trkernels=3\
         +trweighted_pooling=2+fclayer_size=8+nfc_layers=1+conv_batch_norm=True",
    ),
    (
        "one strand, dense",
        "num_kernels=7+l_kernels=4+max_pooling=False+weighted_pooling=True+pooling_size=5+fclayer_size=6+nfc_layers=3",
    ),
];

const LENGTH: usize = 44;

fn network(options: &str) -> Network {
    let reverse_complement = !options.contains("nfc_layers=3");
    let facts = DataFacts::single(LENGTH, vec![3], reverse_complement);
    Network::new(resolve(&parse_option_string(options).unwrap(), &facts).unwrap().0, 3).unwrap()
}

fn bases(n: usize) -> Vec<u8> {
    let mut random = Philox::new(5, 5);
    (0..n * LENGTH).map(|i| if i % 37 == 5 { 4 } else { random.below(4) as u8 }).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

#[test]
fn predictions_equal_those_of_the_cpu() {
    for gpu in gpus() {
        for (name, options) in NETWORKS {
            let name = format!("{name} on {}", gpu.about().name);
            let (cpu, codes) = (network(options), bases(5));
            let there = cpu.to_device(&Device::Cuda(gpu.clone())).unwrap();
            let run = |network: &Network, batch, precision| {
                predict_in(network, &codes, Some(batch), precision, &mut |_| ()).unwrap()
            };
            let (want, got) = (run(&cpu, 5, Precision::F32), run(&there, 5, Precision::F32));
            check::nmse(&name, &got, &want, 1e-10);
            assert_eq!(got, run(&there, 2, Precision::F32), "{name}: another batch");
            let rounded = run(&there, 5, Precision::Bf16);
            check::nmse(&format!("{name}, bf16"), &rounded, &want, 1e-3);
            assert_ne!(got, rounded, "{name}: bf16 is not f32");
        }
    }
}

#[test]
fn effects_equal_those_of_the_cpu() {
    for gpu in gpus() {
        for (name, options) in NETWORKS {
            let name = format!("{name} on {}", gpu.about().name);
            let (cpu, codes) = (network(options), bases(2));
            let there = cpu.to_device(&Device::Cuda(gpu.clone())).unwrap();
            let edits = Edits::Substitutions(0..LENGTH);
            let run = |network: &Network, options: Options| {
                let (mut all, mut mutants) = (vec![], 0);
                each_block(network, &codes, &edits, &options, |block| {
                    mutants += block.edits.len();
                    all.extend(block.effects);
                    Ok(true)
                })
                .unwrap();
                assert!(mutants > 200, "{mutants}");
                all
            };
            let exact = run(&cpu, Options { engine: Engine::Delta, double: true, ..Options::default() });
            let delta = |precision| Options { engine: Engine::Delta, precision, ..Options::default() };
            let error = |got: &[f64]| {
                let power: f64 = exact.iter().map(|v| v * v).sum();
                (got.iter().zip(&exact).map(|(g, w)| (g - w).powi(2)).sum::<f64>() / power).sqrt()
            };
            let mut last = 0.0;
            for (precision, limit) in [(Precision::F32, 1e-4), (Precision::F16, 1e-2)] {
                let got = run(&there, delta(precision));
                let found = error(&got);
                eprintln!("{name}, {}: relative RMS of effects {found:.1e}", precision.name());
                // Fewer bits show.
                assert!(found < limit && found > 3.0 * last, "{name}, {}: {found:e}, {last:e}", precision.name());
                last = found;
                assert_eq!(got, run(&there, delta(precision)), "{name}: a second run");
            }
            let naive = |precision| run(&there, Options { engine: Engine::Naive, precision, ..Options::default() });
            let exact = naive(Precision::F32);
            assert!(error(&exact) < 1e-3, "{name}: naive");
            assert_ne!(exact, naive(Precision::Bf16), "{name}: naive in bf16 is not f32");
        }
    }
}

fn dataset(n: usize) -> Dataset {
    let mut random = Philox::new(9, 9);
    let names: Vec<String> = (0..n).map(|i| format!("s{i:03}")).collect();
    let letters: Vec<String> =
        (0..n).map(|_| (0..LENGTH).map(|_| char::from(b"ACGT"[random.below(4)])).collect()).collect();
    let letters: Vec<&str> = letters.iter().map(String::as_str).collect();
    let tracks = ["a", "b", "c"].map(String::from).to_vec();
    let values = (0..3 * n).map(|_| random.normal()).collect();
    let sequences = Sequences::from_strings(names.clone(), &letters).unwrap();
    align(vec![sequences], vec![Targets { names, tracks, values, bins: None }]).unwrap()
}

/// Log of the losses and bytes of the model of two epochs.
fn trained(options: &str, dataset: &Dataset, device: &Device) -> (String, Vec<u8>, Vec<f64>) {
    let facts = DataFacts::single(LENGTH, vec![3], true);
    let options = format!(
        "{options}+epochs=2+batchsize=6+optimizer=AdamW+lr=0.003+seed=4+fc_dropout=0.1+conv_dropout=0.1+loss_function=MSE\
         +finetuning=False"
    );
    let (spec, training) = resolve(&parse_option_string(&options).unwrap(), &facts).unwrap();
    let network = Network::new(spec, 4).unwrap().to_device(device).unwrap();
    let rows = |range: std::ops::Range<usize>| range.collect::<Vec<_>>();
    let trainer = Trainer::new(network, training, dataset, rows(0..13), rows(13..20)).unwrap();
    let outcome = trainer.run(false, |_| Ok(())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.drg");
    outcome.model.save(&path).unwrap();
    let predictions = predict_in(&outcome.model.network, &bases(4), None, Precision::F32, &mut |_| ()).unwrap();
    (outcome.log, std::fs::read(&path).unwrap(), predictions)
}

#[test]
fn training_repeats_itself_and_equals_that_on_the_cpu() {
    let found = gpus();
    if found.is_empty() {
        return;
    }
    let dataset = dataset(20);
    for (name, options) in &NETWORKS[..3] {
        let (log, _, predictions) = trained(options, &dataset, &Device::Cpu);
        for gpu in found {
            let name = format!("{name} on {}", gpu.about().name);
            let device = Device::Cuda(gpu.clone());
            let (first, second) = (trained(options, &dataset, &device), trained(options, &dataset, &device));
            assert!(first.0 == second.0 && first.1 == second.1, "{name}: two runs differ");
            check::close(&format!("{name}: predictions"), &first.2, &predictions, 1e-3);
            let numbers =
                |log: &str| -> Vec<f64> { log.split_whitespace().filter_map(|word| word.parse().ok()).collect() };
            check::close(&format!("{name}: losses"), &numbers(&first.0), &numbers(&log), 1e-4);
        }
    }
}

/// Frozen tensors keep their bits on a GPU, too, and the others learn what they learn on the CPU.
#[test]
fn frozen_tensors_stay_on_it() {
    let found = gpus();
    if found.is_empty() {
        return;
    }
    let dataset = dataset(20);
    let options = format!("{}+freeze=[convolution*]+lr_of=[*.bias=0.01]+load_previous=False", NETWORKS[0].1);
    let (_, _, predictions) = trained(&options, &dataset, &Device::Cpu);
    let start = Network::new(network(&options).architecture().clone(), 4).unwrap();
    for gpu in found {
        let (_, bytes, there) = trained(&options, &dataset, &Device::Cuda(gpu.clone()));
        check::close(&format!("frozen on {}", gpu.about().name), &there, &predictions, 1e-3);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.drg");
        std::fs::write(&path, bytes).unwrap();
        let model = drg::model::Model::load(&path).unwrap();
        let (before, after) = (start.parameters(), model.network.parameters());
        for (id, e) in before.entries().iter().enumerate() {
            let same = before.to_torch(id) == after.to_torch(id);
            let counted = e.name.contains("running_") || e.name.contains("num_batches") || e.name.contains("pos_");
            assert!(same == e.name.starts_with("convolution") || counted, "{}", e.name);
        }
    }
}

/// The program itself on the first GPU, real or emulated.
#[test]
fn the_program_computes_on_it() {
    let Some(_) = gpus().first() else { return };
    let device = if cfg!(feature = "emulate") { "emulate" } else { "cuda" };
    let room = small_model();
    let line = format!("predict m.drg sim/sequences.fa -o gpu.npz --device {device} -v");
    let ran = room.ok(&line);
    assert!(ran.err.contains(&format!("computing on {device}")), "{}", ran.err);
    let values = |name: &str| wide(&room.array::<2>(name, "values").1);
    check::nmse("predictions", &values("gpu.npz"), &values("cpu.npz"), 1e-10);
    let bench = room.ok(&format!(
        "bench gpu --device {device} --tiny --json --rounds 2 --seconds 0.001 --sequences 1 --accuracy 4 --precisions f32,f16"
    ));
    let found: serde_json::Value = serde_json::from_str(&bench.out).unwrap();
    for part in ["ceilings", "ops", "forward", "train", "ism"] {
        let rows = found[part].as_array().unwrap_or_else(|| panic!("no {part} in {found:#}"));
        for row in rows {
            assert!(row["median_ms"].as_f64().is_some_and(|t| t >= 0.0), "{row}");
        }
    }
    let error = |i: usize| found["ism"][i]["errors_against_f64"]["delta"].as_f64().unwrap();
    assert!(error(0) < 1e-4 && error(1) < 2e-2, "{found:#}");
}
