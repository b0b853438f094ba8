//! How the tensors of a network's state dict lie here.

use super::is_pointwise;
use crate::model::spec::{HeadPlan, Plan, Plans, TensorPlan, TracksPlan};
use crate::nn::Layout;

/// How a tensor of the state dict lies here.
pub(super) fn layout(plans: &Plans, t: &TensorPlan) -> Layout {
    let prefix = t.name.rsplit_once('.').map_or("", |(prefix, _)| prefix);
    for plan in &plans.inputs {
        if reads_flattened(plan, prefix) && (t.shape.len() == 2 || is_norm_of_flattened(plan, prefix)) {
            return Layout::Flattened { length: plan.length, channels: plan.channels };
        }
    }
    let own = |plan: &Plan| plan.stem.name == prefix || strided(plan, prefix);
    match t.shape.len() {
        // Factors and exponents of an output.
        3 if t.name.contains(".Complex.") => Layout::Plain,
        // Width 1 is a dense layer on rows; the stem and strided convolutions are not.
        3 if t.shape[2] == 1 && !plans.inputs.iter().any(own) => Layout::Dense,
        3 => Layout::Conv,
        2 => Layout::Dense,
        _ => Layout::Plain,
    }
}

fn strided(plan: &Plan, name: &str) -> bool {
    let blocks = plan.first_block.iter().chain(&plan.second_block).flat_map(|b| &b.layers).map(|l| &l.conv);
    let profiles = plan.heads.iter().filter_map(|h| match &h.tracks {
        TracksPlan::Profile(p) => Some(&p.conv),
        TracksPlan::Dense(_) => None,
    });
    blocks.chain(profiles).any(|conv| conv.name == name && !is_pointwise(conv))
}

/// Whether a layer reads the flattened map: the first of every stack, its norm and skip, or a head without a stack.
fn reads_flattened(plan: &Plan, prefix: &str) -> bool {
    let stacks = plan.fc.iter().any(|stack| match &stack.embed {
        Some(d) => d.name == prefix,
        None => {
            let first = stack.layers.first();
            let skip = stack.layers.iter().find_map(|l| l.skip.as_ref());
            first.is_some_and(|l| l.dense.name == prefix || l.norm.as_ref().is_some_and(|n| n.name == prefix))
                || skip.is_some_and(|d| d.name == prefix)
        }
    });
    let heads = plan.heads.iter().filter(|h| h.stack.is_none());
    let dense = |h: &HeadPlan| h.tracks.dense().is_some_and(|d| d.name == prefix);
    stacks || heads.into_iter().any(|h| dense(h) || h.norm.as_ref().is_some_and(|n| n.name == prefix))
}

fn is_norm_of_flattened(plan: &Plan, prefix: &str) -> bool {
    let first = plan.fc.iter().filter(|s| s.embed.is_none()).filter_map(|s| s.layers.first()?.norm.as_ref());
    let heads = plan.heads.iter().filter(|h| h.stack.is_none()).filter_map(|h| h.norm.as_ref());
    first.chain(heads).any(|n| n.name == prefix)
}
