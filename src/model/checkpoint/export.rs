//! Tensors of a network as PyTorch stores them.

use crate::error::Result;
use crate::io::pth::{PthData, PthTensor};
use crate::model::Network;
use crate::model::spec::{BlockLayerPlan, Plan, PoolKind, PoolPlan};
use crate::nn::Kind;

/// All tensors of a network by name, in the shapes and types of the PyTorch state dict.
///
/// # Errors
/// None in practice.
pub fn export_state(network: &Network) -> Result<Vec<(String, PthTensor)>> {
    let parameters = network.parameters();
    let mut tensors = Vec::with_capacity(parameters.entries().len());
    for (id, e) in parameters.entries().iter().enumerate() {
        let data = match e.kind {
            Kind::Counter => PthData::I64(parameters.counters()[e.offset..e.offset + e.len()].to_vec()),
            _ => {
                let numbers = parameters.like_torch(id, &parameters.tensor(id)?.to_f64());
                PthData::F32(numbers.into_iter().map(|v| v as f32).collect())
            }
        };
        tensors.push((e.name.clone(), PthTensor { shape: e.torch_shape.clone(), data }));
    }
    Ok(tensors)
}

/// The state dict that the reference has of this model, names, order and all, so that `load_state_dict(strict=True)` takes it.
///
/// The reference makes some tensors in its first forward pass: tables of positions, and shares of padding of mean pools in
/// skips. Its own files have them, and so has this, unless `fresh`: then it fits a model that was only constructed.
///
/// # Errors
/// None in practice.
pub fn reference_state(network: &Network, fresh: bool) -> Result<Vec<(String, PthTensor)>> {
    let mut state = export_state(network)?;
    network.plans().inputs.iter().for_each(|plan| add_reference_tensors(&mut state, plan, fresh));
    Ok(state)
}

/// Moves and adds what our own list has elsewhere or not at all, for the layers of one input.
fn add_reference_tensors(state: &mut Vec<(String, PthTensor)>, plan: &Plan, fresh: bool) {
    for block in &plan.attention {
        let (block, table) = (format!("{}.", block.name), format!("{}.pos_queries", block.name));
        let Some(at) = state.iter().position(|(name, _)| *name == table) else { continue };
        let table = state.remove(at);
        // In front of the layers of its block.
        let first = state.iter().position(|(name, _)| name.starts_with(&block)).unwrap_or(at);
        if !fresh {
            state.insert(first, table);
        }
    }
    for layer in plan.first_block.iter().chain(&plan.second_block).flat_map(|block| &block.layers) {
        let windows = skip_windows(layer, fresh);
        let mut owners = vec![layer.conv.name.as_str()];
        owners.extend(layer.skip.iter().flat_map(|skip| &skip.conv).map(|conv| conv.name.as_str()));
        let last =
            |name: &str| owners.iter().any(|owner| name.strip_prefix(owner).is_some_and(|rest| rest.starts_with('.')));
        let behind = state.iter().rposition(|(name, _)| last(name)).map_or(state.len(), |at| at + 1);
        state.splice(behind..behind, windows);
    }
}

/// Windows of the mean pools in the skip of a layer: weights `[1, 1, 1, size]`, and unless `fresh` the share of every window that
/// is no padding, `[1, 1, channels, length]`.
fn skip_windows(layer: &BlockLayerPlan, fresh: bool) -> Vec<(String, PthTensor)> {
    let pools = layer.skip.iter().flat_map(|skip| skip.pools.iter().enumerate());
    let mean = pools.filter(|(_, pool)| pool.kind == PoolKind::Mean);
    let name = layer.conv.name.trim_end_matches(".conv1d").replace(".Conv", ".ResiduallayerConv");
    mean.flat_map(|(p, pool)| {
        let of = |part: &str, shape: Vec<usize>, values: Vec<f32>| {
            (format!("{name}.rconv.pool{p}.{part}"), PthTensor { shape, data: PthData::F32(values) })
        };
        let weight = of("weight", vec![1, 1, 1, pool.size], vec![1.0 / pool.size as f32; pool.size]);
        let channels = layer.conv.outputs;
        let shares = vec![shares(pool); channels].concat();
        let norm = (!fresh).then(|| of("norm", vec![1, 1, channels, pool.length], shares));
        [Some(weight), norm].into_iter().flatten()
    })
    .collect()
}

fn shares(pool: &PoolPlan) -> Vec<f32> {
    let inside = |window: usize| {
        let (from, to) = (window * pool.stride, window * pool.stride + pool.size);
        to.min(pool.padding.0 + pool.from).saturating_sub(from.max(pool.padding.0))
    };
    (0..pool.length).map(|window| inside(window) as f32 / pool.size as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cases::cases;
    use crate::model::options::{parse_option_string, resolve};

    #[test]
    fn names_and_shapes_are_the_references() {
        let mut derived = 0;
        for case in cases() {
            let Some(expected) = case.tensors else { continue };
            let options = parse_option_string(&case.cnn).unwrap();
            let network = Network::new(resolve(&options, &case.facts).unwrap().0, 1).unwrap();
            let state = reference_state(&network, true).unwrap();
            let (learned, windows): (Vec<_>, Vec<_>) =
                state.into_iter().partition(|(name, _)| !name.contains(".rconv.pool"));
            let learned: Vec<(String, Vec<usize>)> = learned.into_iter().map(|(n, t)| (n, t.shape)).collect();
            assert_eq!(learned, expected, "{}", case.name);
            derived += windows.len() + reference_state(&network, false).unwrap().len() - expected.len();
        }
        assert!(derived > 3, "some models have tables of positions and mean pools in skips");
    }

    #[test]
    fn shares_of_padded_windows() {
        let pool = PoolPlan { kind: PoolKind::Mean, size: 3, stride: 3, padding: (1, 1), from: 7, length: 3 };
        assert_eq!(shares(&pool), [2.0 / 3.0, 1.0, 2.0 / 3.0]);
        let wide = PoolPlan { size: 6, stride: 6, padding: (2, 2), from: 2, length: 1, ..pool };
        assert_eq!(shares(&wide), [2.0 / 6.0]);
    }
}
