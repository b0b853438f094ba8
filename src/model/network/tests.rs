//! Networks whose operations are fused, and the same one by one.

use super::*;
use crate::device::{Gpu, Precision};
use crate::model::options::{DataFacts, parse_option_string, resolve};
use crate::tape::{Delta, Edit, Keep, Pass, check};
use crate::tensor::Tensor;

/// Three convolutions with skips, two with a pool between them, two dense layers.
const OPTIONS: &str = "l_kernels=5+kernel_function=GELU+net_function=GELU+max_pooling=False\
    +weighted_pooling=True+pooling_size=4+dilated_convolutions=3+l_dilkernels=3+dilations=[1,2,1]\
    +transformer_convolutions=2+l_trkernels=3+trweighted_pooling=2+fclayer_size=6+nfc_layers=2+pool_align=right";

const LENGTH: usize = 48;

fn networks() -> Vec<(String, Network)> {
    let facts = DataFacts::single(LENGTH, vec![3], false);
    let mut all = vec![];
    for residual in ["stream", "reference"] {
        // Channels that are padded; those that GPUs of capability 9.0 take another way.
        for more in [
            "+num_kernels=7",
            "+num_kernels=33+conv_batch_norm=True",
            "+num_kernels=9+conv_batch_norm=True+fc_batch_norm=True",
        ] {
            let options = format!("{OPTIONS}+residual={residual}{more}");
            let options = parse_option_string(&options).unwrap();
            let mut network = Network::new(resolve(&options, &facts).unwrap().0, 3).unwrap();
            let skips = network.plans().inputs[0]
                .first_block
                .iter()
                .flat_map(|b| &b.layers)
                .filter(|l| l.skip.is_some())
                .count();
            assert!(skips > 1, "{skips} skips");
            // Norms that do something.
            let mut random = check::Random::new(7);
            let (names, p): (Vec<_>, _) = (
                network.parameters().entries().iter().map(|e| (e.name.clone(), e.torch_shape.clone())).collect(),
                network.parameters_mut(),
            );
            for (name, shape) in names.iter().filter(|(name, _)| name.contains("running_")) {
                let values = random.uniform(shape, 0.4, 1.5).to_f64();
                p.set_torch(p.id(name).unwrap(), &values).unwrap();
            }
            all.push((format!("residual={residual}{more}"), network));
        }
    }
    all
}

fn places() -> impl Iterator<Item = (Option<&'static Gpu>, Precision)> {
    let on = |gpu| [Precision::F32, Precision::Bf16, Precision::F16].map(|p| (Some(gpu), p));
    std::iter::once((None, Precision::F32)).chain(check::gpus().iter().flat_map(on))
}

fn place(t: &Tensor, gpu: Option<&Gpu>) -> Tensor {
    gpu.map_or_else(|| t.clone(), |gpu| t.to_gpu(gpu).unwrap())
}

/// Predictions, gradients of all parameters in training, effects of mutations.
fn sweeps(network: &Network, gpu: Option<&Gpu>, precision: Precision, fuse: bool) -> [Vec<f64>; 3] {
    let bases = place(&check::Random::new(5).bases(3, LENGTH), gpu);
    let tape = |keep, mode| {
        let mut tape = Tape::new(keep, mode);
        (tape.fuse, tape.precision) = (fuse, precision);
        tape
    };
    let mut t = tape(Keep::default(), Mode::Eval);
    let bound = network.parameters().bind(&mut t, false).unwrap();
    let y = network.forward(&mut t, &bound, &[Var::constant(bases.clone())]).unwrap().remove(0);
    assert!(t.is_empty());
    let predictions = check::numbers(&y.value);
    let mut t = tape(Keep::BACKWARD, Mode::Train(Pass { seed: 1, number: 0, samples: [0, 1, 2].into() }));
    let bound = network.parameters().bind(&mut t, true).unwrap();
    let y = network.forward(&mut t, &bound, &[Var::constant(bases.clone())]).unwrap().remove(0);
    let want: Vec<usize> = bound.vars().iter().filter_map(|v| v.node).collect();
    let dy = check::Random::new(6).normal(y.shape()).to_dtype(DType::F32).unwrap();
    let grads = t.backward(y.node.unwrap(), place(&dy, gpu), &[0, 1, 2], &want).unwrap();
    let gradients = grads.iter().flatten().flat_map(check::numbers).collect();
    let mut t = tape(Keep::DELTA, Mode::Eval);
    let bound = network.parameters().bind(&mut t, false).unwrap();
    let x = t.leaf(bases);
    let y = network.forward(&mut t, &bound, std::slice::from_ref(&x)).unwrap().remove(0);
    let edits = [0, 7, 20, 47].map(|at| vec![Edit { at, to: 5 }]);
    let seeds = vec![(x.node.unwrap(), Delta::edits(edits.to_vec(), LENGTH).unwrap())];
    let effects = t.delta(seeds, &[0, 1, 2, 0], &[y.node.unwrap()]).unwrap().remove(0).unwrap();
    [predictions, gradients, check::numbers(effects.rows().unwrap())]
}

/// Both ways of skipping, with norms, without, and with norms in front of dense layers.
#[test]
fn fused_networks_are_their_compositions() {
    for (name, network) in networks() {
        let exact = sweeps(&network, None, Precision::F32, false);
        for (gpu, precision) in places() {
            let there =
                gpu.map_or_else(|| network.clone(), |gpu| network.to_device(&Device::Cuda(gpu.clone())).unwrap());
            let (fused, plain) = (sweeps(&there, gpu, precision, true), sweeps(&there, gpu, precision, false));
            let name = format!("{name}, {} on {gpu:?}", precision.name());
            for (i, what) in ["predictions", "gradients", "effects"].into_iter().enumerate() {
                assert!(fused[i] == plain[i], "{name}: {what} fused and one by one");
                // A batch of three amplifies the rounding of gradients: 7e-10.
                let limit = if precision == Precision::F32 { 1e-8 } else { 3e-2 };
                check::nmse(&format!("{name}: {what}"), &fused[i], &exact[i], limit);
            }
        }
    }
}
