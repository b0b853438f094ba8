//! Training: whole runs against the reference's own (order of the sequences replayed), resuming, threads.
//!
//! The fixtures lie outside the repository (environment variable DRG_SHARED, or `../shared`); missing ones are skipped aloud.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may stop, and says what it skipped")]

mod common;

use std::collections::HashMap;
use std::path::Path;

use drg::device::Device;
use drg::engine::predict::predict;
use drg::engine::train::{Event, Outcome, PassKind, RateChange, Trainer, state_path};
use drg::io::dataset::{Dataset, align};
use drg::io::npz::Npz;
use drg::io::pth::read_pth;
use drg::io::sequences::{SequenceOptions, read_sequences};
use drg::io::targets::{TargetOptions, Targets, read_targets};
use drg::model::checkpoint::{Partial, export_state, import_partial, import_state};
use drg::model::options::{DataFacts, InputFacts, parse_option_string, resolve};
use drg::model::spec::{DropLast, LossReduction, ModelSpec, PoolPadding, Select, TrainSpec};
use drg::model::{Model, Network};
use drg::nn::Kind;
use drg::ops::{self, Loss};
use drg::seq::Sequences;
use drg::tape::{Keep, Mode, Pass, Tape, Var, check};
use drg::tensor::{DType, Tensor};
use drg::util::philox::Philox;
use drg::{Error, Result};

/// Tolerances: three times what the fixtures' notes list, not below their floors.
struct Case {
    name: &'static str,
    rows: f64,
    predictions: f64,
    weights: f64,
}

const CASES: &[Case] = &[
    Case { name: "12a_train_sgd", rows: 9e-6, predictions: 1.86e-4, weights: 1.53e-5 },
    Case { name: "12b_train_adamw", rows: 3e-6, predictions: 1.29e-4, weights: 1.47e-5 },
    Case { name: "12c_train_earlystop_finetune", rows: 9.6e-4, predictions: 1.32e-2, weights: 1.02e-3 },
    Case { name: "12d_train_multihead", rows: 1.5e-5, predictions: 6.9e-4, weights: 2.16e-5 },
    Case { name: "12e_train_two_input_D", rows: 1.5e-5, predictions: 1.47e-3, weights: 1.86e-5 },
    Case { name: "12f_train_restart_high_lr", rows: 3.3e-3, predictions: 5.4e-3, weights: 5.1e-4 },
    Case { name: "12s_train_seeded_init", rows: 3e-6, predictions: 1e-5, weights: 1e-5 },
];

/// A recorded run of the reference.
struct Recorded {
    config: HashMap<String, String>,
    dataset: Dataset,
    spec: TrainSpec,
    start: Network,
    trace: Npz,
}

impl Recorded {
    fn open(folder: &Path) -> Self {
        let text = std::fs::read_to_string(folder.join("config.txt")).unwrap();
        let config: HashMap<String, String> =
            text.lines().filter_map(|l| l.split_once(" : ")).map(|(k, v)| (k.to_string(), v.to_string())).collect();
        let words: Vec<&str> = config["command"].split(' ').collect();
        let read = |name: &str| {
            let options = TargetOptions { delimiter: Some('\t'), allow_missing: false };
            read_targets(&folder.join(name), &options).unwrap()
        };
        let targets: Vec<Targets> = words[3].split(',').map(read).collect();
        let sequences =
            |name: &str| read_sequences(folder.join(name).to_str().unwrap(), &SequenceOptions::default()).unwrap().0;
        let dataset = align(words[2].split(',').map(sequences).collect(), targets).unwrap();
        let strands = config["reverse_complement"].trim_matches(['[', ']']).split(", ");
        let facts = DataFacts {
            inputs: (dataset.inputs.iter().zip(strands))
                .map(|(s, both)| InputFacts { length: s.length, reverse_complement: both == "True" })
                .collect(),
            tracks: dataset.targets.iter().map(|t| t.tracks.len()).collect(),
            names: vec![],
            bins: None,
        };
        let (mut model, spec) = resolve(&parse_option_string(&config["cnn"]).unwrap(), &facts).unwrap();
        model.inputs.iter_mut().for_each(|i| i.pool_padding = PoolPadding::BatchMin);
        let mut start = Network::new(model, spec.seed).unwrap();
        if folder.join("init.pth").exists() {
            import_state(&mut start, &read_pth(&folder.join("init.pth")).unwrap()).unwrap();
        } else {
            let which = Partial::parse("None", "None", "False", "False").unwrap();
            let report = import_partial(&mut start, &read_pth(&folder.join("start.pth")).unwrap(), &which).unwrap();
            assert!(report.kept.is_empty(), "{report:?}");
        }
        Self { trace: Npz::open(&folder.join("trace.npz")).unwrap(), config, dataset, spec, start }
    }

    fn indices(&mut self, key: &str) -> Vec<usize> {
        self.trace.numbers::<f64>(key).unwrap().1.into_iter().map(|v| v as usize).collect()
    }

    fn numbers(&mut self, key: &str) -> Vec<f64> {
        self.trace.numbers::<f64>(key).unwrap().1
    }

    /// The recorded order of every pass.
    fn orders(&mut self) -> Vec<Vec<usize>> {
        let (values, lengths) = (self.indices("perm_values"), self.indices("perm_lengths"));
        let mut at = 0;
        lengths
            .into_iter()
            .map(|n| {
                at += n;
                values[at - n..at].to_vec()
            })
            .collect()
    }
}

/// Every tensor of a state dict against a network.
fn same_weights(what: &str, network: &Network, path: &Path, limit: f64) {
    let mut expected = network.clone();
    import_state(&mut expected, &read_pth(path).unwrap()).unwrap();
    let (a, b) = (network.parameters(), expected.parameters());
    assert_eq!(a.counters(), b.counters(), "{what}: batches seen by batch norms");
    common::within(&format!("{what}: values"), &a.values().to_f64(), &b.values().to_f64(), limit);
    common::within(&format!("{what}: buffers"), &a.buffers().to_f64(), &b.buffers().to_f64(), limit);
}

fn log_numbers(text: &str) -> Vec<Vec<f64>> {
    text.lines().map(|l| l.split('\t').map(|v| v.parse().unwrap()).collect()).collect()
}

#[test]
fn runs_of_the_reference() {
    for case in CASES {
        replay(case, &Device::Cpu, 1.0);
    }
}

#[test]
fn runs_of_the_reference_on_gpus() {
    if let Some(why) = check::skipped() {
        eprintln!("skipped on a GPU: {why}");
    }
    for gpu in check::gpus() {
        for case in &CASES[..2] {
            eprintln!("on {}:", gpu.about().name);
            replay(case, &Device::Cuda(gpu.clone()), 10.0);
        }
    }
}

/// Repeats a run of the reference on a device; `slack` times the case's tolerances are allowed.
fn replay(case: &Case, device: &Device, slack: f64) {
    if let Some(folder) = common::shared(&format!("fixtures/{}", case.name)) {
        let on_host = |network: &Network| network.to_device(&Device::Cpu).unwrap().to_dtype(DType::F64).unwrap();
        let mut run = Recorded::open(&folder);
        assert_eq!(run.dataset.names, run.trace.strings("names_sorted").unwrap());
        let (train, validation) = (run.indices("train_idx"), run.indices("val_idx"));
        let (orders, checkpoints) = (run.orders(), run.indices("checkpoint_after_pass"));
        let (rates, step_losses) = (run.numbers("step_lr_first_group"), run.numbers("step_loss"));
        let (passes, last_saved) = (orders.len(), *checkpoints.last().unwrap());
        let trainer =
            Trainer::new(run.start.to_device(device).unwrap(), run.spec.clone(), &run.dataset, train, validation)
                .unwrap()
                .order(|pass, _| orders[pass as usize].clone());
        let (mut done_passes, mut steps, mut saved, mut first) = (0, 0, None, None);
        let (mut worst_rate, mut worst_loss) = (0f64, 0f64);
        let outcome = trainer
            .run(false, |event| {
                if let Event::Step { pass, done, total, loss, rate, network } = event {
                    if *pass == PassKind::Training {
                        worst_rate = worst_rate.max((rate / rates[steps] - 1.0).abs());
                        if step_losses[steps].is_finite() && step_losses[steps] < 1e4 {
                            worst_loss = worst_loss.max((loss / step_losses[steps] - 1.0).abs());
                        }
                        first.get_or_insert_with(|| on_host(network));
                        steps += 1;
                    }
                    if done == total {
                        done_passes += 1;
                        if done_passes == last_saved {
                            saved = Some(on_host(network));
                        }
                    }
                }
                Ok(())
            })
            .unwrap();
        let name = case.name;
        eprintln!("{name}: rates {worst_rate:.1e}, losses of steps {worst_loss:.1e} (relative)");
        assert_eq!((done_passes, steps), (passes, rates.len()), "{name}: passes and steps");
        assert!(worst_rate < 1e-14, "{name}: learning rates differ by {worst_rate:e}");

        let expected = std::fs::read_to_string(folder.join("ref_loss.txt")).unwrap();
        let (found, expected) = (log_numbers(&outcome.log), log_numbers(&expected));
        assert_eq!(found.len(), expected.len(), "{name}: lines of the log\n{}", outcome.log);
        common::within(&format!("{name}: loss rows"), &found.concat(), &expected.concat(), slack * case.rows);

        same_weights(
            &format!("{name}: checkpoint"),
            &saved.unwrap(),
            &folder.join("ref_parameter.pth"),
            slack * case.weights,
        );
        let network = &outcome.model.network;
        if folder.join("in_memory_final.pth").exists() {
            same_weights(&format!("{name}: end"), network, &folder.join("in_memory_final.pth"), slack * case.weights);
        } else if run.config["in memory weights at the end equal ref_parameter.pth"] == "True" {
            same_weights(&format!("{name}: end"), network, &folder.join("ref_parameter.pth"), slack * case.weights);
        }
        if folder.join("after_step1.pth").exists() {
            same_weights(
                &format!("{name}: first step"),
                &first.unwrap(),
                &folder.join("after_step1.pth"),
                slack * 1e-5,
            );
        }

        let rows = run.indices("test_idx");
        let inputs: Vec<Sequences> = run.dataset.inputs.iter().map(|s| s.select(&rows)).collect();
        let test = Sequences::side_by_side(&inputs).unwrap();
        let found = predict(network, &test.bases, run.spec.batch_size, &mut |_| ()).unwrap();
        let mut reference = Npz::open(&folder.join("ref_pred.npz")).unwrap();
        assert_eq!(reference.strings("names").unwrap(), test.names);
        let (_, expected) = reference.numbers::<f64>("values").unwrap();
        common::within(&format!("{name}: predictions"), &found, &expected, slack * case.predictions);
    }
}

/// Gradients of the first step, after the two evaluations in train mode.
#[test]
fn first_gradients_of_the_reference() {
    for name in ["12a_train_sgd"] {
        let Some(folder) = common::shared(&format!("fixtures/{name}")) else { continue };
        let mut run = Recorded::open(&folder);
        let (orders, train) = (run.orders(), run.indices("train_idx"));
        let rows: Vec<usize> = orders[2][..16].iter().map(|&i| train[i]).collect();
        let x = Tensor::bases(16, 120, run.dataset.inputs[0].select(&rows).bases).unwrap();
        let y: Vec<f32> = run.dataset.targets[0].select(&rows).values.iter().map(|&v| v as f32).collect();
        let pass = Pass { seed: 1, number: 2, samples: (0..16).collect() };
        let mut tape = Tape::new(Keep::BACKWARD, Mode::Train(pass));
        let p = run.start.parameters();
        let bound = p.bind(&mut tape, true).unwrap();
        let heads = run.start.forward(&mut tape, &bound, &[Var::constant(x)]).unwrap();
        let target = Tensor::new(&[16, 5], y).unwrap();
        let loss = ops::loss(&mut tape, &heads[0], &target, Loss::CorrelationMse, 1.0).unwrap();
        let one = Tensor::new(&[1], vec![1f32]).unwrap();
        let grads = tape.backward(loss.node.unwrap(), one, &(0..16).collect::<Vec<_>>(), &p.leaves(&bound)).unwrap();
        let (flat, _) = p.flat_gradient::<f32>(&grads).unwrap();
        for (parameter, tensor) in read_pth(&folder.join("grads_step1.pth")).unwrap() {
            let id = p.id(&parameter).unwrap();
            let e = &p.entries()[id];
            let ours: Vec<f64> = flat[e.offset..e.offset + e.len()].iter().map(|&v| f64::from(v)).collect();
            let drg::io::pth::PthData::F32(expected) = tensor.data else { panic!("expected f32") };
            let expected: Vec<f64> = expected.into_iter().map(f64::from).collect();
            let scale = expected.iter().fold(1.0f64, |a, b| a.max(b.abs()));
            common::within(
                &format!("{name}: gradient of {parameter}"),
                &p.like_torch(id, &ours),
                &expected,
                3e-5 * scale,
            );
        }
    }
}

/// Sequences whose number of GATA sites is to be learned, two heads.
fn synthetic(n: usize) -> Dataset {
    let mut random = Philox::new(11, 0);
    let names: Vec<String> = (0..n).map(|i| format!("s{i:03}")).collect();
    let mut rows = vec![];
    let mut values = vec![];
    for i in 0..n {
        let mut row: Vec<u8> = (0..60).map(|_| random.below(4) as u8).collect();
        for site in 0..i % 4 {
            row[site * 12 + 3..site * 12 + 7].copy_from_slice(&[2, 0, 3, 0]);
        }
        let sites = row.windows(4).filter(|w| *w == [2, 0, 3, 0]).count() as f64;
        values.extend([sites, 10.0 - sites, sites * 0.5]);
        rows.push(row);
    }
    let inputs = Sequences::from_rows(names.clone(), &rows, 0).unwrap();
    let column = |keep: &[usize]| values.chunks(3).flat_map(|v| keep.iter().map(|&k| v[k])).collect();
    let target = |tracks: &[&str], keep: &[usize]| Targets {
        names: names.clone(),
        tracks: tracks.iter().map(|t| t.to_string()).collect(),
        values: column(keep),
        bins: None,
    };
    align(vec![inputs], vec![target(&["a", "b"], &[0, 1]), target(&["c"], &[2])]).unwrap()
}

fn specification(extra: &str) -> (ModelSpec, TrainSpec) {
    let text = format!(
        "num_kernels=8+l_kernels=7+max_pooling=False+weighted_pooling=True+pooling_size=4+dilated_convolutions=1+\
         l_dilkernels=3+conv_batch_norm=True+fclayer_size=8+nfc_layers=2+fc_dropout=0.1+loss_function=MSE+lr=0.01+\
         batchsize=16+epochs=5+warm_up_epochs=2+optimizer=Adam+seed=4+loss_reduction=mean+drop_last=never+{extra}"
    );
    let facts = DataFacts::single(60, vec![2, 1], true);
    let (mut model, training) = resolve(&parse_option_string(text.trim_end_matches('+')).unwrap(), &facts).unwrap();
    (model.inputs.remove(0), training)
}

const ROWS: usize = 90;

fn trainer<'a>(dataset: &'a Dataset, extra: &str) -> Trainer<'a> {
    let (model, spec) = specification(extra);
    let network = Network::new(model, spec.seed).unwrap();
    Trainer::new(network, spec, dataset, (0..64).collect(), (64..ROWS).collect()).unwrap()
}

fn bits(model: &Model) -> Vec<(String, drg::io::pth::PthTensor)> {
    export_state(&model.network).unwrap()
}

#[test]
fn training_learns() {
    let dataset = synthetic(ROWS);
    for extra in [
        "epochs=40+warm_up_epochs=1+standardize_targets=True",
        "epochs=40+schedule=one-cycle+optimizer=AdamW+augment_reverse_complement=True+standardize_targets=True",
        "epochs=40+schedule=cosine+optimizer=SGD+optim_params=0.9+lr=0.05+standardize_targets=True+select=pearson",
    ] {
        let outcome = trainer(&dataset, extra).run(false, |_| Ok(())).unwrap();
        let rows = log_numbers(&outcome.log);
        let best = rows.iter().map(|r| r[2]).fold(f64::INFINITY, f64::min);
        assert!(best < 0.6 * rows[0][2], "{extra}: {best} after {}", rows[0][2]);
        // Scaling is undone: the constant 10 of track b is back.
        let test = dataset.inputs[0].select(&(64..ROWS).collect::<Vec<_>>());
        let p = predict(&outcome.model.network, &test.bases, Some(7), &mut |_| ()).unwrap();
        let mut p: Vec<f32> = p.into_iter().map(|v| v as f32).collect();
        outcome.model.scaling.as_ref().unwrap().undo(&mut p);
        let mean = |at: usize| p.iter().skip(at).step_by(3).sum::<f32>() / 26.0;
        assert!((mean(0) + mean(1) - 10.0).abs() < 1.0, "{} {}", mean(0), mean(1));
    }
}

#[test]
fn threads_change_no_bit() {
    let dataset = synthetic(ROWS);
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let outcome = trainer(&dataset, "augment_reverse_complement=True").run(false, |_| Ok(())).unwrap();
            (bits(&outcome.model), outcome.log)
        })
    };
    let one = run(1);
    assert_eq!(one, run(3));
    let other = trainer(&dataset, "augment_reverse_complement=True+seed=5").run(false, |_| Ok(())).unwrap();
    assert_ne!(one.0, bits(&other.model));
}

/// Runs to the end in pieces: the listener refuses at event `stops[0]`, then `stops[1]` of the resumed run, ...
fn in_pieces(folder: &Path, dataset: &Dataset, extra: &str, stops: &[usize]) -> Outcome {
    let (model, log) = (folder.join("m.drg"), folder.join("loss.txt"));
    for &stop in stops {
        let mut events = 0;
        let ended = trainer(dataset, extra).files(&model, Some(&log)).run(true, |_| {
            events += 1;
            if events > stop { Err(Error::Failed("interrupted".into())) } else { Ok(()) }
        });
        assert!(ended.is_err(), "the run has fewer than {stop} events");
        assert!(!model.exists());
    }
    trainer(dataset, extra).files(&model, Some(&log)).run(true, |_| Ok(())).unwrap()
}

#[test]
fn a_resumed_run_gives_the_same_bytes() {
    let dataset = synthetic(ROWS);
    for (extra, change) in [
        ("writeloss=True", RateChange::WarmUp),
        ("writeloss=True+optimizer=NAdam+schedule=one-cycle+cycle_momentum=True", RateChange::Start),
        (
            "writeloss=True+optimizer=Amsgrad+patience=1+finetuning_patience=0+finetuning_rounds=2+epochs=7+lr=0.3",
            RateChange::FineTuning(1),
        ),
        (
            "writeloss=True+optimizer=NAdam+freeze=[convolution_layers.*]+lr_of=[classifier.*=0.05,*.bias=0]",
            RateChange::WarmUp,
        ),
        (
            "writeloss=True+optimizer=SGD+lr=30+init_adjust=True+epochs=4+warm_up_epochs=0+loss_reduction=sum",
            RateChange::Restarted(2),
        ),
    ] {
        let (mut changes, mut events) = (vec![], 0);
        trainer(&dataset, extra)
            .run(false, |event| {
                events += 1;
                if let Event::LearningRate { change, .. } = event {
                    changes.push(*change);
                }
                Ok(())
            })
            .unwrap();
        assert!(changes.contains(&change), "{extra}: {changes:?}");
        let whole = tempfile::tempdir().unwrap();
        in_pieces(whole.path(), &dataset, extra, &[]);
        let read = |folder: &Path, name: &str| std::fs::read(folder.join(name)).unwrap();
        assert!(!read(whole.path(), "loss.txt").is_empty());
        // The last of them: when all is done but the model not yet written.
        for stops in [&[9][..], &[12, 7, 1, 14], &[0, 3, 19], &[events - 1]] {
            let pieces = tempfile::tempdir().unwrap();
            in_pieces(pieces.path(), &dataset, extra, stops);
            for name in ["m.drg", "loss.txt"] {
                assert_eq!(read(whole.path(), name), read(pieces.path(), name), "{extra}, {stops:?}: {name}");
            }
            assert!(!state_path(&pieces.path().join("m.drg")).exists());
        }
    }
}

/// Numbers after the first step, of a run without an early stop.
fn after_a_step(dataset: &Dataset, extra: &str) -> Network {
    let mut after = None;
    let extra = format!("batchsize=None+epochs=1+schedule=constant+optimizer=SGD+fc_dropout=0+{extra}");
    trainer(dataset, &extra)
        .run(false, |event| {
            if let Event::Step { pass: PassKind::Training, network, .. } = event {
                after = Some(network.to_dtype(DType::F64).unwrap());
            }
            Ok(())
        })
        .unwrap();
    after.unwrap()
}

#[test]
fn rates_of_patterns_move_by_themselves() {
    let dataset = synthetic(ROWS);
    let (slow, fast) = (after_a_step(&dataset, "lr=0.01"), after_a_step(&dataset, "lr=0.03"));
    let mixed = after_a_step(&dataset, "lr=0.01+lr_of=[*=0.5,*Linear.*=0.03,*.bias=0.01,classifier.1.*=0]");
    let drawn = Network::new(specification("").0, 4).unwrap();
    let kernels = after_a_step(&dataset, "lr=0.01+kernel_lr=0.03+lr_of=convolution*.bias=0.01");
    let get = |n: &Network, id: usize| n.parameters().to_torch(id);
    let mut seen = [0; 4];
    for (id, e) in drawn.parameters().entries().iter().enumerate() {
        if e.kind != Kind::Parameter {
            continue;
        }
        let group = match e.name.as_str() {
            n if n.starts_with("classifier.1.") => 0,
            n if n.ends_with(".bias") => 1,
            n if n.contains("Linear.") => 2,
            _ => 3,
        };
        seen[group] += 1;
        match group {
            0 => assert_eq!(get(&mixed, id), get(&drawn, id), "{}", e.name),
            1 => assert_eq!(get(&mixed, id), get(&slow, id), "{}", e.name),
            2 => assert_eq!(get(&mixed, id), get(&fast, id), "{}", e.name),
            _ => assert_ne!(get(&mixed, id), get(&slow, id), "{}", e.name),
        }
        let kernel = e.name.contains("convolutions") && !e.name.ends_with(".bias");
        assert_eq!(get(&kernels, id), get(if kernel { &fast } else { &slow }, id), "{}", e.name);
    }
    assert!(seen.iter().all(|&n| n > 0), "{seen:?}");
}

#[test]
fn frozen_tensors_keep_their_bits() {
    let dataset = synthetic(ROWS);
    let start = Network::new(specification("").0, 4).unwrap();
    for (options, is_frozen) in [
        ("freeze=[convolution*]", (|n| n.starts_with("convolution")) as fn(&str) -> bool),
        ("lr_of=[convolutions.*=0,convolution_layers.*=0]+optimizer=AdamW", |n| n.starts_with("convolution")),
        ("freeze=classifier.0.*+optimizer=Adadelta", |n| n.starts_with("classifier.0.")),
        ("freeze=[*.running_mean]", |n| n.contains("running_") || n.contains("num_batches")),
    ] {
        let outcome = trainer(&dataset, &format!("epochs=3+{options}")).run(false, |_| Ok(())).unwrap();
        let (before, after) = (start.parameters(), outcome.model.network.parameters());
        let mut kept = 0;
        for (id, e) in before.entries().iter().enumerate() {
            let same = before.to_torch(id) == after.to_torch(id);
            assert_eq!(same, is_frozen(&e.name), "{options}: {}", e.name);
            kept += usize::from(same);
            assert!(!after.is_frozen(id));
        }
        assert!(kept > 1);
        assert_eq!(outcome.model.training.unwrap().freeze.is_empty(), options.starts_with("lr_of"));
    }
    let (model, spec) = specification("freeze=[convolutons.*]");
    let refused = |spec: TrainSpec| {
        let network = Network::new(model.clone(), 4).unwrap();
        Trainer::new(network, spec, &dataset, (0..64).collect(), (64..ROWS).collect()).err().unwrap().to_string()
    };
    assert!(refused(spec.clone()).contains("fits 'convolutons.*' (did you mean 'convolutions.*'?)"));
    assert!(refused(TrainSpec { freeze: vec!["*".into()], ..spec }).contains("nothing to train"));
}

/// What is frozen at the beginning of a network is not even recorded; a frozen layer behind others hands gradients on and has none.
#[test]
fn frozen_tensors_cost_no_gradient() {
    let mut network = Network::new(specification("").0, 4).unwrap();
    let recorded = |network: &Network| {
        let pass = Pass { seed: 1, number: 2, samples: (0..4).collect() };
        let mut tape = Tape::new(Keep::BACKWARD, Mode::Train(pass));
        let bound = network.parameters().bind(&mut tape, true).unwrap();
        let x = Tensor::bases(4, 60, vec![1; 240]).unwrap();
        let y = network.forward(&mut tape, &bound, &[Var::constant(x)]).unwrap().remove(0);
        let leaves = network.parameters().leaves(&bound);
        let (nodes, from) = (tape.len(), y.node.unwrap());
        let dy = Tensor::new(&[4, 2], vec![1f32; 8]).unwrap();
        let grads = tape.backward(from, dy, &[0, 1, 2, 3], &leaves).unwrap();
        (nodes, network.parameters().gradients(grads))
    };
    let (all, full) = recorded(&network);
    let front = network.parameters().matching("convolution*").unwrap();
    network.parameters_mut().freeze(&front);
    assert!(network.parameters().is_frozen(0));
    let (behind, _) = recorded(&network);
    assert!(behind + 8 <= all, "{behind} of {all} nodes");
    let layer = network.parameters().matching("convolution_layers.*").unwrap();
    network.parameters_mut().freeze(&layer);
    let (_, grads) = recorded(&network);
    let entries = network.parameters().entries();
    let trained: Vec<usize> = (0..entries.len()).filter(|&id| entries[id].kind == Kind::Parameter).collect();
    for ((id, grad), all) in trained.into_iter().zip(grads).zip(full) {
        assert_eq!(grad.is_some(), all.is_some() && !layer.contains(&id), "{}", entries[id].name);
    }
}

#[test]
fn another_run_cannot_be_resumed() {
    let dataset = synthetic(ROWS);
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("m.drg");
    let stop = |event: &Event| match event {
        Event::Epoch { epoch: 1, .. } => Err(Error::Failed("interrupted".into())),
        _ => Ok(()),
    };
    trainer(&dataset, "").files(&model, None).run(true, stop).unwrap_err();
    let message = |t: Trainer| t.files(&model, None).run(true, |_| Ok(())).unwrap_err().to_string();
    assert!(message(trainer(&dataset, "lr=0.02")).contains("'lr' was 0.01 and is now 0.02"));
    assert!(message(trainer(&dataset, "freeze=*.bias")).contains("'freeze' was [] and is now [\"*.bias\"]"));
    assert!(message(trainer(&dataset, "pooling_size=5")).contains("'size' was 4 and is now 5"));
    let mut other = dataset.clone();
    other.targets[1].values[3] += 1.0;
    assert!(message(trainer(&other, "")).contains("the targets are others"));
    other.inputs[0].bases[3] ^= 1;
    assert!(message(trainer(&other, "")).contains("the sequences are others"));
    let (spec, training) = specification("");
    let new = |seed, rows: Vec<usize>| {
        let network = Network::new(spec.clone(), seed).unwrap();
        Trainer::new(network, training.clone(), &dataset, rows, (64..ROWS).collect()).unwrap()
    };
    assert!(message(new(4, (0..63).collect())).contains("sets are others"));
    assert!(message(new(9, (0..64).collect())).contains("start weights are others"));
    let state = state_path(&model);
    let bytes = std::fs::read(&state).unwrap();
    std::fs::write(&state, &bytes[..bytes.len() - 5]).unwrap();
    assert!(message(trainer(&dataset, "")).contains("cut off"));
    std::fs::write(&state, bytes).unwrap();
    let mut resumed = vec![];
    let outcome: Result<Outcome> = trainer(&dataset, "").files(&model, None).run(true, |event| {
        if let Event::Resumed { epoch } = event {
            resumed.push(*epoch);
        }
        Ok(())
    });
    assert_eq!(resumed, [1]);
    let loaded = Model::load(&model).unwrap();
    assert_eq!(bits(&loaded), bits(&outcome.unwrap().model));
    assert_eq!(loaded.record.unwrap().epochs, 5);
}

#[test]
fn data_that_do_not_fit_are_refused() {
    let dataset = synthetic(ROWS);
    let (model, spec) = specification("");
    let network = Network::new(model, 1).unwrap();
    let refused = |d: &Dataset, spec: &TrainSpec, train: Vec<usize>, text: &str| {
        let made = Trainer::new(network.clone(), spec.clone(), d, train, (64..ROWS).collect());
        let message = made.err().expect("an error").to_string();
        assert!(message.contains(text), "{message}");
    };
    refused(&dataset, &spec, vec![], "the training set is empty");
    refused(&dataset, &spec, vec![3, 700], "names row 700");
    let mut bad = dataset.clone();
    bad.targets[0].values[9] = f64::NAN;
    refused(&bad, &spec, vec![4], "row 's004' of the training set");
    bad.targets.pop();
    refused(&bad, &spec, vec![1], "the targets have [2] tracks");
    let mut short = dataset.clone();
    short.inputs[0] = Sequences::from_strings(vec!["x".into()], &["ACG"]).unwrap();
    refused(&short, &spec, vec![0], "for which the model was built");
    let mut one = spec.clone();
    one.losses.pop();
    refused(&dataset, &one, vec![0], "1 losses for 2 heads");
    let mut silent = spec;
    silent.losses.iter_mut().for_each(|l| l.validation_weight = 0.0);
    refused(&dataset, &silent, vec![0], "no head has a validation loss");
    // Orders that are none.
    let order = trainer(&dataset, "").order(|_, n| vec![0; n]).run(false, |_| Ok(()));
    assert!(order.unwrap_err().to_string().contains("no permutation"));
}

/// Shifted copies count as sequences of their own in the training loss; predictions pad on both sides.
#[test]
fn shifts_train_on_copies() {
    let dataset = synthetic(ROWS);
    let (model, spec) = specification("shift_sequence=3+random_shift=2+epochs=2");
    assert_eq!((model.shift, spec.select, spec.loss_reduction), (3, Select::Loss, LossReduction::Mean));
    assert_eq!(spec.drop_last, DropLast::Never);
    let outcome = trainer(&dataset, "shift_sequence=3+random_shift=2+epochs=2").run(false, |event| {
        if let Event::Step { pass, total, .. } = event {
            assert_eq!(*total, if matches!(pass, PassKind::Training | PassKind::StartTraining) { 4 } else { 2 });
        }
        Ok(())
    });
    let rows = log_numbers(&outcome.unwrap().log);
    // At the start all weights are small, so every copy has about the loss of its sequence.
    assert!((rows[0][3] / rows[0][4] - 1.0).abs() < 0.2, "{:?}", rows[0]);
}
