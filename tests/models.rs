//! Whole networks against PyTorch: the architecture written again in `tests/fixtures/gen.py`, with random weights and norm
//! statistics under the names of the state dict. Predictions, input gradients and mutagenesis of the committed cases; more
//! cases, from the reference implementation itself, are in `tests/parity.rs`.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

mod common;

use std::path::Path;

use drg::engine::mutate::{IsmOptions, substitutions};
use drg::engine::predict::predict;
use drg::io::npz::Npz;
use drg::model::Network;
use drg::model::options::{DataFacts, parse_option_string, resolve};
use drg::tape::{Keep, Mode, Tape, Var};
use drg::tensor::{DType, Tensor};

struct Case {
    npz: Npz,
    network: Network,
    codes: Vec<u8>,
    length: usize,
    tracks: usize,
}

impl Case {
    fn open(name: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
        let mut npz = Npz::open(&path).unwrap();
        let options = npz.strings("options").unwrap().remove(0);
        let [length, tracks] = ["length", "tracks"].map(|key| npz.numbers::<f64>(key).unwrap().1[0] as usize);
        let facts = DataFacts::single(length, vec![tracks], true);
        let (spec, _) = resolve(&parse_option_string(&options).unwrap(), &facts).unwrap();
        let mut network = Network::new(spec, 1).unwrap();
        let names = npz.strings("names").unwrap();
        for name in &names {
            let id = network.parameters().id(name).unwrap();
            let (shape, values) = npz.numbers::<f64>(&format!("weights/{name}")).unwrap();
            assert_eq!(network.parameters().entries()[id].torch_shape, shape, "{name}");
            network.parameters_mut().set_torch(id, &values).unwrap();
        }
        // Every tensor but the counts of batches is in the file.
        let counts = network.parameters().counters().len();
        assert_eq!(names.len() + counts, network.parameters().entries().len(), "tensors of the network");
        let codes = npz.numbers::<f64>("codes").unwrap().1.iter().map(|&c| c as u8).collect();
        Self { npz, network, codes, length, tracks }
    }

    fn numbers(&mut self, key: &str) -> Vec<f64> {
        self.npz.numbers::<f64>(key).unwrap().1
    }

    /// d prediction[track] / d input of all sequences, `[N, 4, L]`.
    fn gradients(&self, network: &Network, track: usize) -> Vec<f64> {
        let (n, l) = (self.codes.len() / self.length, self.length);
        let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
        let x = tape.leaf(Tensor::bases(n, l, self.codes.clone()).unwrap());
        let bound = network.parameters().bind(&mut tape, false).unwrap();
        let y: Var = network.forward(&mut tape, &bound, std::slice::from_ref(&x)).unwrap().remove(0);
        let dy = (0..n * self.tracks).map(|i| f64::from(u8::from(i % self.tracks == track))).collect();
        let dy = Tensor::new(y.shape(), dy).unwrap().to_dtype(network.parameters().dtype()).unwrap();
        let rows: Vec<u32> = (0..n as u32).collect();
        let g = tape.backward(y.node.unwrap(), dy, &rows, &[x.node.unwrap()]).unwrap()[0].take().unwrap().to_f64();
        (0..n * 4 * l).map(|i| g[(i / (4 * l) * l + i % l) * 4 + i / l % 4]).collect()
    }
}

/// Effects `[T, 4, L]` of the first sequence in the network's own element type, one mutant a pass.
fn mutants(case: &Case, network: &Network) -> Vec<f64> {
    let (l, tracks) = (case.length, case.tracks);
    let sequence = &case.codes[..l];
    let reference = predict(network, sequence, None, &mut |_| ()).unwrap();
    let mut all = vec![0.0; tracks * 4 * l];
    for p in 0..l {
        for b in (0..4u8).filter(|&b| b != sequence[p]) {
            let mut mutant = sequence.to_vec();
            mutant[p] = b;
            for (t, y) in predict(network, &mutant, None, &mut |_| ()).unwrap().into_iter().enumerate() {
                all[(t * 4 + usize::from(b)) * l + p] = y - reference[t];
            }
        }
    }
    all
}

fn run(name: &str) {
    let mut case = Case::open(name);
    let wide = case.network.to_dtype(DType::F64).unwrap();
    let narrow = case.network.clone();

    let want = case.numbers("prediction");
    let got = predict(&wide, &case.codes, None, &mut |_| ()).unwrap();
    common::close(&format!("{name} prediction f64"), &got, &want, 1e-9);
    let got = predict(&narrow, &case.codes, None, &mut |_| ()).unwrap();
    common::close(&format!("{name} prediction f32"), &got, &want, 1e-5);
    let alone = predict(&narrow, &case.codes, Some(1), &mut |_| ()).unwrap();
    assert_eq!(got, alone, "{name}: a prediction does not know its neighbours");

    let track = case.numbers("track")[0] as usize;
    let want = case.numbers("gradient");
    common::close(&format!("{name} gradient f64"), &case.gradients(&wide, track), &want, 1e-9);
    common::close(&format!("{name} gradient f32"), &case.gradients(&narrow, track), &want, 2e-5);

    let want = case.numbers("ism");
    common::close(&format!("{name} mutagenesis f64"), &mutants(&case, &wide), &want, 1e-9);
    let got = substitutions(&narrow, &case.codes[..case.length], &IsmOptions::default()).unwrap();
    let got: Vec<f64> = got.effects.iter().map(|&v| f64::from(v)).collect();
    common::close(&format!("{name} mutagenesis f32"), &got, &want, 2e-5);
}

#[test]
fn baseline() {
    run("network_baseline.npz");
}

#[test]
fn with_attention() {
    run("network_attention.npz");
}
