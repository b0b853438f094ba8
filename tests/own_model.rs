//! A model that the crate does not know, built of its operations, in the mutation engine: the AITAC shape of the timing tables,
//! with weights and effects that PyTorch produced.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and may say why it skips")]

mod common;

use drg::device::Device;
use drg::engine::mutate::{Edits, Engine, Options, Predictor, each_block};
use drg::io::npz::Npz;
use drg::io::pth::{PthData, read_pth};
use drg::nn::{Builder, Initial, Kind, Layout, Parameters};
use drg::ops::{self, Conv1dArgs, Padding, PoolArgs, PoolKind, StemArgs, Strands};
use drg::tape::{Tape, Var};
use drg::tensor::DType;
use drg::util::math::Activation;

/// Convolution, ReLU, batch norm, maximum pool; three times, then three dense layers.
#[derive(Clone)]
struct Aitac {
    length: usize,
    tracks: usize,
    parameters: Parameters,
}

impl Predictor for Aitac {
    fn length(&self) -> usize {
        self.length
    }

    fn tracks(&self) -> usize {
        self.tracks
    }

    fn flank(&self) -> usize {
        0
    }

    fn flank_code(&self) -> u8 {
        4
    }

    fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    fn forward(&self, t: &mut Tape, x: &Var) -> drg::Result<Var> {
        let bound = self.parameters.bind(t, false)?;
        let of = |name: &str| self.parameters.id(name).map(|id| bound.var(id));
        let mut x = x.clone();
        for (i, (kernel, pool)) in [(19, 3), (11, 4), (7, 4)].into_iter().enumerate() {
            let (conv, bn) = (format!("conv{}", i + 1), format!("bn{}", i + 1));
            let (w, b) = (of(&format!("{conv}.weight"))?, of(&format!("{conv}.bias"))?);
            x = match i {
                0 => ops::stem(t, &x, w, Some(b), StemArgs::same(kernel, Strands::Forward))?,
                _ => ops::conv1d(t, &x, w, Some(b), Conv1dArgs::same(kernel, 1))?,
            };
            x = ops::activation(t, &x, Activation::Relu)?;
            let [gamma, beta, mean, variance] = ["weight", "bias", "running_mean", "running_var"];
            let part = |name: &str| of(&format!("{bn}.{name}"));
            let statistics = (&part(mean)?.value, &part(variance)?.value);
            x = ops::batch_norm_eval(t, &x, part(gamma)?, part(beta)?, statistics.0, statistics.1, 1e-5)?;
            let a = PoolArgs { kind: PoolKind::Max, size: pool, stride: pool, pad: (0, 0), padding: Padding::Exclude };
            x = ops::pool(t, &x, a)?;
        }
        x = ops::flatten(t, &x)?;
        for i in 1..=3 {
            x = ops::linear(t, &x, of(&format!("fc{i}.weight"))?, Some(of(&format!("fc{i}.bias"))?))?;
            if i < 3 {
                x = ops::activation(t, &x, Activation::Relu)?;
            }
        }
        Ok(x)
    }

    fn to_dtype(&self, dtype: DType) -> drg::Result<Self> {
        Ok(Self { parameters: self.parameters.to_dtype(dtype)?, ..self.clone() })
    }

    fn to_device(&self, device: &Device) -> drg::Result<Self> {
        Ok(Self { parameters: self.parameters.to_device(device)?, ..self.clone() })
    }
}

fn relative(got: &[f64], want: &[f64]) -> f64 {
    let error: f64 = got.iter().zip(want).map(|(g, w)| (g - w) * (g - w)).sum();
    (error / want.iter().map(|w| w * w).sum::<f64>()).sqrt()
}

#[test]
fn aitac() {
    let Some(folder) = common::shared("fixtures/11b_yuzu_aitac") else { return };
    let tensors = read_pth(&folder.join("weights.pth")).unwrap();
    let mut builder = Builder::default();
    for (name, tensor) in &tensors {
        let (layout, kind) = match (tensor.shape.len(), name.rsplit('.').next().unwrap()) {
            (3, _) => (Layout::Conv, Kind::Parameter),
            (2, _) => (Layout::Dense, Kind::Parameter), // the flattened map is position major here and there
            (_, "running_mean" | "running_var") => (Layout::Plain, Kind::Buffer),
            (0, _) => (Layout::Plain, Kind::Counter),
            _ => (Layout::Plain, Kind::Parameter),
        };
        builder.push(name, &tensor.shape, layout, kind, Initial::Constant(0.0));
    }
    let mut parameters = builder.finish(DType::F32, 1).unwrap();
    for (id, (_, tensor)) in tensors.iter().enumerate() {
        let values: Vec<f64> = match &tensor.data {
            PthData::F32(v) => v.iter().map(|&v| f64::from(v)).collect(),
            PthData::F64(v) => v.clone(),
            PthData::I64(v) => v.iter().map(|&v| v as f64).collect(),
        };
        parameters.set_torch(id, &values).unwrap();
    }
    let mut npz = Npz::open(&folder.join("io.npz")).unwrap();
    let (shape, x) = npz.numbers::<f64>("x").unwrap();
    let (n, l) = (shape[0], shape[2]);
    let at = |i: usize, b: usize, p: usize| x[(i * 4 + b) * l + p];
    let code = |i: usize, p: usize| match (0..4).find(|&b| at(i, b, p) == 1.0) {
        Some(b) => b as u8,
        None => 4 + u8::from(at(i, 0, p) == 0.25),
    };
    let codes: Vec<u8> = (0..n * l).map(|i| code(i / l, i % l)).collect();
    let (shape, want) = npz.numbers::<f64>("ism_full_f64").unwrap();
    let torch = npz.numbers::<f64>("ism_ism_full").unwrap().1;
    let tracks = shape[1];
    let model = Aitac { length: l, tracks, parameters };
    let effects = |engine: Engine, double: bool| {
        let mut all = vec![0.0; want.len()];
        let options = Options { engine, double, ..Options::default() };
        each_block(&model, &codes, &Edits::Substitutions(0..l), &options, |block| {
            for (mutant, effects) in block.edits.iter().zip(block.effects.chunks(tracks)) {
                for (t, &e) in effects.iter().enumerate() {
                    let row = (block.sequence * tracks + t) * 4 + usize::from(mutant[0].to);
                    all[row * l + mutant[0].at] = e;
                }
            }
            Ok(true)
        })
        .unwrap();
        all
    };
    common::close("AITAC naive f64", &effects(Engine::Naive, true), &want, 1e-9);
    common::close("AITAC delta f64", &effects(Engine::Delta, true), &want, 1e-9);
    let (ours, theirs) = (relative(&effects(Engine::Delta, false), &want), relative(&torch, &want));
    eprintln!("AITAC: relative RMS error of f32 effects: delta {ours:.2e}, PyTorch naive {theirs:.2e}");
    assert!(ours < 1e-5 && ours < theirs, "{ours:e}, PyTorch {theirs:e}");
}
