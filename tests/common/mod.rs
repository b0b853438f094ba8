//! What several integration tests need: fixtures, reference models, comparisons.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking and may say why it skips")]
#![allow(dead_code, reason = "every test binary uses its own part")]

pub mod room;

use std::path::{Path, PathBuf};

use drg::io::pth::{PthData, read_pth};
use drg::model::Network;
use drg::model::options::{DataFacts, parse_params_file, resolve};
use drg::model::spec::{Combination, is_derived_tensor};

/// Models of one input and one stack of fully connected layers, among the fixtures.
pub const SINGLE: &[&str] = &[
    "01_baseline",
    "01b_baseline_padded",
    "02_attention",
    "03_multihead",
    "09a_max_relu_exp",
    "09b_mean_embed_attention",
    "09c_meanmax_allnorm",
    "09d_overlap_pool_class",
    "09e_whole_pool_multiclass",
    "09f_residual_options",
    "09g_concat_residual",
    "09h_stop_early",
    "09j_fc_residual",
    "09k_shift_sequence",
];

/// Models of two inputs.
pub const JOINED: &[&str] = &[
    "04_two_input_C",
    "05_two_input_D",
    "06_two_input_D_shared",
    "07_two_input_F",
    "08_two_input_F_routed",
    "09l_fraction",
    "09m_single_difference",
];

/// Base-resolution models.
pub const PROFILES: &[&str] = &["10a_bp_plain", "10b_bp_dist"];

/// All of them in the order of their names.
pub fn cases() -> Vec<&'static str> {
    let mut all = [SINGLE, JOINED, PROFILES].concat();
    all.sort_unstable();
    all
}

/// A folder of the development fixtures, which are not part of the repository: `$DRG_SHARED/name` or `../shared/name`.
pub fn shared(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("DRG_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), PathBuf::from);
    let folder = root.join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: no {} (set DRG_SHARED)", folder.display());
    None
}

/// A model as the reference stored it: parameter file and state dict. Which inputs are read on both strands a parameter file of
/// several inputs does not say; `config.txt` beside it does.
pub fn reference_network(folder: &Path, params: &str, weights: &str) -> Network {
    let path = folder.join(params);
    let file = parse_params_file(&std::fs::read_to_string(&path).unwrap(), &path).unwrap();
    let mut facts: DataFacts = file.facts.clone();
    let config = std::fs::read_to_string(folder.join("config.txt")).unwrap_or_default();
    if let Some(strands) = config.lines().find_map(|l| l.strip_prefix("reverse_complement : [")) {
        for (input, both) in facts.inputs.iter_mut().zip(strands.trim_end_matches(']').split(", ")) {
            input.reverse_complement = both == "True";
        }
    }
    let (spec, _) = resolve(&file.options, &facts).unwrap();
    let mut network = Network::new(spec, 1).unwrap();
    load(&mut network, &folder.join(weights));
    network
}

/// Loads a state dict: every tensor of the model must be there, and no other.
pub fn load(network: &mut Network, path: &Path) {
    let mut seen = 0;
    for (name, tensor) in read_pth(path).unwrap() {
        if is_derived_tensor(&name) && !name.ends_with(".pos_queries") {
            continue;
        }
        let values: Vec<f64> = match &tensor.data {
            PthData::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            PthData::F64(v) => v.clone(),
            PthData::I64(v) => v.iter().map(|&x| x as f64).collect(),
        };
        let id = network.parameters().id(&name).unwrap();
        assert_eq!(network.parameters().entries()[id].torch_shape, tensor.shape, "{name}");
        network.parameters_mut().set_torch(id, &values).unwrap();
        seen += 1;
    }
    assert_eq!(seen, network.parameters().entries().len(), "tensors in {}", path.display());
}

/// The same numbers in an architecture without dropout.
pub fn without_dropout(network: &Network) -> Network {
    let mut architecture = network.architecture().clone();
    for spec in &mut architecture.inputs {
        for block in spec.first_block.iter_mut().chain(&mut spec.second_block) {
            block.dropout = 0.0;
        }
        if let Some(a) = &mut spec.attention {
            a.dropout = 0.0;
        }
        if let Some(f) = &mut spec.fc {
            f.dropout = 0.0;
        }
    }
    for output in architecture.join.iter_mut().flat_map(|j| &mut j.outputs) {
        if let Combination::Stack { fc: Some(fc), .. } = &mut output.by {
            fc.dropout = 0.0;
        }
    }
    let mut plain = Network::new(architecture, 1).unwrap();
    for id in 0..network.parameters().entries().len() {
        plain.parameters_mut().set_torch(id, &network.parameters().to_torch(id)).unwrap();
    }
    plain
}

/// Fails if an element differs by more than `tolerance` of the largest.
pub fn close(name: &str, got: &[f64], want: &[f64], tolerance: f64) {
    let scale = want.iter().fold(1e-300f64, |a, b| a.max(b.abs()));
    within(name, got, want, tolerance * scale);
}

/// Fails if an element differs by more than `limit`.
pub fn within(name: &str, got: &[f64], want: &[f64], limit: f64) {
    assert_eq!(got.len(), want.len(), "{name}: number of values");
    let worst =
        got.iter().zip(want).map(|(g, w)| (g - w).abs()).fold(0f64, |a, b| if b > a || b.is_nan() { b } else { a });
    eprintln!("{name}: largest difference {worst:.2e}, limit {limit:.2e}");
    assert!(worst <= limit, "{name}: largest difference {worst:e}, limit {limit:e}");
}
