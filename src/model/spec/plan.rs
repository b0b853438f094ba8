//! From an architecture to its layers: lengths, channels, padding.

use super::{
    Architecture, AttentionPlan, BlockLayerPlan, BlockPlan, BlockPool, BlockSpec, Combination, ConvPlan, DensePlan,
    FcLayerPlan, FcPlan, FcSpec, FirstChannels, HeadOutput, HeadPlan, HeadSpec, ModelSpec, NormPlan, Plan, Plans,
    PoolAlign, PoolKind, PoolPlan, Pooling, ProfilePlan, ProfileSpec, SkipPlan, TracksPlan, member_prefix,
};
use crate::error::{Error, Result};

/// Padding on both sides of a pool over `length` positions: `ceil((size - length mod stride) / 2)`, 0 if the stride
/// divides the length.
pub fn pool_padding(length: usize, size: usize, stride: usize) -> usize {
    match length % stride {
        0 => 0,
        rest => size.saturating_sub(rest).div_ceil(2),
    }
}

/// Zeros (left, right) that keep the length of a convolution: `span / 2 - [span even]` and `span / 2` for `span =
/// dilation * (width - 1) + 1`.
pub fn same_padding(width: usize, dilation: usize) -> (usize, usize) {
    let span = dilation * (width - 1) + 1;
    (span / 2 - usize::from(span.is_multiple_of(2)), span / 2)
}

/// Widths after each of `layers` fully connected layers from `input` to `output`: the first half widens by
/// `int(widening * width)`, an odd middle layer keeps the width, the second half narrows by `int(width / widening)`,
/// the last one to `output`.
pub fn fc_widths(input: usize, output: usize, layers: usize, widening: f64) -> Vec<usize> {
    let mut width = input;
    (0..layers)
        .map(|i| {
            if i < layers / 2 {
                width = (widening * width as f64) as usize;
            } else if i + 1 == layers {
                width = output;
            } else if i >= layers.div_ceil(2) {
                width = (width as f64 / widening) as usize;
            }
            width
        })
        .collect()
}

impl ModelSpec {
    /// The layers of this architecture. Fails where a layer cannot have its shape.
    pub fn plan(&self) -> Result<Plan> {
        self.check()?;
        let input = self.padded_length();
        let stem = ConvPlan {
            name: "convolutions.conv1d".into(),
            inputs: self.alphabet.chars().count(),
            outputs: self.stem.kernels,
            width: self.stem.width,
            dilation: 1,
            stride: 1,
            padding: same_padding(self.stem.width, 1),
            bias: self.stem.bias,
            length: input,
        };
        let (mut channels, mut length) = (stem.outputs, stem.length);
        let mut pool = None;
        if let Some(spec) = self.stem.pool {
            let size = spec.size.unwrap_or(length);
            let plan = self.pool(spec.kind, size, spec.stride.unwrap_or(size), length)?;
            channels *= if spec.kind == PoolKind::MeanMax { 2 } else { 1 };
            length = plan.length;
            pool = Some(plan);
        }
        let block = |spec: &Option<BlockSpec>, prefix: &str, channels: &mut usize, length: &mut usize| {
            let plan = spec.as_ref().map(|spec| self.block(spec, prefix, *channels, *length)).transpose()?;
            if let Some(plan) = &plan {
                (*channels, *length) = (plan.channels, plan.length);
            }
            Ok::<_, Error>(plan)
        };
        let first_block = block(&self.first_block, "convolution_layers.convlayers", &mut channels, &mut length)?;
        let embedding = self.embedding.map(|outputs| pointwise("embedding_convolutions", channels, outputs, length));
        channels = self.embedding.unwrap_or(channels);
        let attention = self.attention(channels, length)?;
        if let Some(last) = attention.last() {
            (channels, length) = (last.value_dim, last.length);
        }
        let second_block = block(&self.second_block, "trconvolution_layers.convlayers", &mut channels, &mut length)?;
        let features = channels * length;
        let fc = self.fc.as_ref().map_or_else(Vec::new, |spec| fc_stacks(spec, features));
        if fc.iter().flat_map(|stack| &stack.layers).any(|layer| layer.dense.outputs == 0) {
            return Err(no_features());
        }
        let heads = match &self.profile {
            None => self.head_plans(&fc, features),
            Some(spec) => self.profile_plans(spec, channels, length)?,
        };
        Ok(Plan { stem, pool, first_block, embedding, attention, second_block, channels, length, fc, heads })
    }

    /// Refuses what options cannot say but a stored specification could.
    fn check(&self) -> Result<()> {
        let need = |valid: bool, what: &str| {
            let error = || Error::Usage(format!("model specification: expected {what}"));
            if valid { Ok(()) } else { Err(error()) }
        };
        need(self.length > 0, "an input length of at least 1")?;
        need(self.stem.kernels > 0 && self.stem.width > 0, "kernels and a kernel width of at least 1")?;
        need(!self.heads.is_empty() && self.heads.iter().all(|h| h.tracks > 0), "heads with at least 1 track each")?;
        let own = |p: Pooling| p.kind != PoolKind::Weighted || p.stride.is_none() || p.stride == p.size;
        need(self.stem.pool.is_none_or(own), "weighted pools that step by their size")?;
        let blocks = || self.first_block.iter().chain(&self.second_block);
        for block in blocks() {
            let per_layer = |list: &[usize]| list.len() == block.layers && list.iter().all(|&n| n > 0);
            need(block.width > 0, "a kernel width of at least 1 in every block")?;
            need(per_layer(&block.dilations) && per_layer(&block.strides), "one dilation and one stride per layer")?;
        }
        let pools = blocks().filter_map(|b| b.pool).chain(self.attention.iter().filter_map(|a| a.pool));
        need(!pools.into_iter().any(|p| p.kind == PoolKind::MeanMax), "'mean-max' after the first layer only")?;
        if let Some(profile) = &self.profile {
            need(
                profile.bins > 0 && profile.width > 0 && profile.stride > 0,
                "at least 1 bin, width and step of profiles",
            )?;
            need(
                self.fc.is_none() && !self.head_batch_norm,
                "profiles without fully connected layers and norms of heads",
            )?;
            need(self.heads.iter().all(|h| h.output != HeadOutput::Complex), "profiles without outputs 'Complex'")?;
            let over_tracks = self.heads.iter().any(|h| h.output == HeadOutput::MultiClass);
            need(profile.counts.is_none() || !over_tracks, "no total counts beside outputs 'Multi_class'")?;
            let paired = |h: &HeadSpec| h.tracks.is_multiple_of(2);
            need(!profile.stranded || self.heads.iter().all(paired), "two tracks for every stranded signal")?;
        }
        if let Some(fc) = &self.fc {
            let stacks = [1, self.heads.len()].contains(&fc.layers.len());
            need(stacks, "one number of fully connected layers, or one per head")?;
        }
        Ok(())
    }

    fn pool(&self, kind: PoolKind, size: usize, stride: usize, from: usize) -> Result<PoolPlan> {
        if size == 0 || stride == 0 {
            return Err(Error::Usage(format!(
                "a pool needs a size and a step of at least 1; found {size} and {stride}"
            )));
        }
        let both = pool_padding(from, size, stride);
        let padding = match self.pool_align {
            PoolAlign::Both => (both, both),
            PoolAlign::Right => {
                // As PyTorch's `ceil_mode`: a window that would begin behind the map is left out.
                let last = (from.saturating_sub(size).div_ceil(stride) * stride).min((from - 1) / stride * stride);
                (0, (last + size).saturating_sub(from))
            }
        };
        let padded = from + padding.0 + padding.1;
        if padded < size {
            return Err(Error::Usage(format!(
                "a pool of size {size} and step {stride} does not fit a map of length {from}"
            )));
        }
        Ok(PoolPlan { kind, size, stride, padding, from, length: (padded - size) / stride + 1 })
    }

    fn block_pool(&self, spec: BlockPool, from: usize) -> Result<PoolPlan> {
        self.pool(spec.kind, spec.size, spec.size, from)
    }

    fn block(&self, spec: &BlockSpec, prefix: &str, inputs: usize, length: usize) -> Result<BlockPlan> {
        let mut plan = BlockPlan { layers: Vec::new(), channels: inputs, length };
        // Channels of the convolution outputs; with appended skips the stream has twice as many.
        let mut base = inputs;
        let (mut saved, mut pending) = (inputs, Vec::new());
        for i in 0..spec.layers {
            if plan.length < spec.width {
                break;
            }
            let factor = match spec.first {
                FirstChannels::Set(target) if i == 0 => target as f64 / base as f64,
                FirstChannels::Keep if i == 0 => 1.0,
                _ => spec.growth,
            };
            let outputs = (base as f64 * factor) as usize;
            let (dilation, stride) = (spec.dilations[i], spec.strides[i]);
            if outputs == 0 {
                return Err(Error::Usage(format!("layer {i} of {prefix} would have no channels ({base} * {factor})")));
            }
            let conv = ConvPlan {
                name: format!("{prefix}.Conv{i}.conv1d"),
                inputs: plan.channels,
                outputs,
                width: spec.width,
                dilation,
                stride,
                padding: same_padding(spec.width, dilation),
                bias: spec.bias,
                length: (plan.length - 1) / stride + 1,
            };
            let norm =
                spec.batch_norm.then(|| NormPlan { name: format!("{prefix}.Bnorm{i}"), features: plan.channels });
            (base, plan.channels, plan.length) = (outputs, outputs, conv.length);
            let mut skip = None;
            if spec.residual.is_some_and(|every| (i + 1).is_multiple_of(every)) {
                let pools: Vec<PoolPlan> = std::mem::take(&mut pending);
                let from = pools.first().map_or(plan.length, |pool| pool.from);
                let name = format!("{prefix}.ResiduallayerConv{i}.rconv.conv");
                let conv = (saved != outputs).then(|| pointwise(&name, saved, outputs, from));
                skip = Some(SkipPlan { conv, pools });
                saved = outputs;
                plan.channels *= if spec.concat { 2 } else { 1 };
            }
            let mut pool = None;
            let due = spec.pool.filter(|pool| (i + 1).is_multiple_of(pool.every));
            let too_short = due.is_some_and(|pool| pool.size > plan.length);
            if let Some(spec) = due.filter(|_| !too_short) {
                let made = self.block_pool(spec, plan.length)?;
                plan.length = made.length;
                pending.push(made);
                pool = Some(made);
            }
            plan.layers.push(BlockLayerPlan { norm, conv, skip, pool, channels: plan.channels, length: plan.length });
            if too_short {
                break;
            }
        }
        Ok(plan)
    }

    fn attention(&self, mut channels: usize, mut length: usize) -> Result<Vec<AttentionPlan>> {
        let Some(spec) = &self.attention else { return Ok(Vec::new()) };
        let mut plans = Vec::new();
        for i in 0..spec.blocks {
            let name = format!("distattention.Mheadattention{i}");
            let key_dim = (spec.key_factor * channels as f64) as usize;
            let value_dim = spec.value_dim.unwrap_or(key_dim);
            if key_dim == 0 || value_dim == 0 || spec.heads == 0 {
                return Err(Error::Usage(format!(
                    "attention block {i} needs heads, keys and values; found {} heads, int({} * {channels}) = {key_dim} and {value_dim} dimensions",
                    spec.heads, spec.key_factor
                )));
            }
            let norm = spec.batch_norm.then(|| NormPlan { name: format!("{name}.bnorm"), features: channels });
            let pool = spec.pool.map(|pool| self.block_pool(pool, length)).transpose()?;
            let joined = if spec.sum_heads { value_dim } else { spec.heads * value_dim };
            let from = length;
            length = pool.map_or(length, |pool| pool.length);
            let inputs = std::mem::replace(&mut channels, value_dim);
            plans.push(AttentionPlan {
                name,
                inputs,
                heads: spec.heads,
                key_dim,
                value_dim,
                joined,
                norm,
                from,
                pool,
                length,
            });
        }
        Ok(plans)
    }

    fn head_plans(&self, fc: &[FcPlan], features: usize) -> Vec<HeadPlan> {
        let several = self.heads.len() > 1;
        let plan = |(m, head): (usize, &HeadSpec)| {
            let stack = if fc.len() > 1 { Some(m) } else { fc.first().map(|_| 0) };
            let inputs = stack.map_or(features, |s| fc[s].width);
            head_plan(several.then_some(m), inputs, head.tracks, self.head_batch_norm, head.output, stack)
        };
        self.heads.iter().enumerate().map(plan).collect()
    }

    /// Heads that read a map of `length` positions.
    fn profile_plans(&self, spec: &ProfileSpec, channels: usize, from: usize) -> Result<Vec<HeadPlan>> {
        let length = (from - 1) / spec.stride + 1;
        let Some(rest) = length.checked_sub(spec.bins) else {
            return Err(Error::Usage(format!(
                "{} bins of a profile do not fit the last map, which has {length} positions of {} bases",
                spec.bins,
                self.padded_length().div_ceil(length)
            )));
        };
        let several = self.heads.len() > 1;
        let plan = |(m, head): (usize, &HeadSpec)| {
            let prefix = if several { format!("linear_classifier.{m}") } else { "linear_classifier".into() };
            let conv = ConvPlan {
                name: format!("{prefix}.fconvlayer"),
                inputs: channels,
                outputs: head.tracks,
                width: spec.width,
                dilation: 1,
                stride: spec.stride,
                padding: same_padding(spec.width, 1),
                bias: true,
                length,
            };
            let name = format!("{prefix}.cpred.0");
            let counts = spec.counts.map(|_| DensePlan { name, inputs: channels, outputs: head.tracks, bias: true });
            let tracks = TracksPlan::Profile(ProfilePlan { conv, bins: (rest / 2, rest / 2 + spec.bins), counts });
            HeadPlan { norm: None, tracks, output: head.output, stack: None }
        };
        Ok(self.heads.iter().enumerate().map(plan).collect())
    }
}

fn pointwise(name: &str, inputs: usize, outputs: usize, length: usize) -> ConvPlan {
    ConvPlan {
        name: name.into(),
        inputs,
        outputs,
        width: 1,
        dilation: 1,
        stride: 1,
        padding: (0, 0),
        bias: false,
        length,
    }
}

fn fc_stacks(spec: &FcSpec, features: usize) -> Vec<FcPlan> {
    let several = spec.layers.len() > 1;
    let prefix = |m: usize| if several { format!("nfcs.{m}.nfcs") } else { "nfcs.nfcs".into() };
    spec.layers.iter().enumerate().map(|(m, &layers)| fc_stack(spec, layers, features, &prefix(m))).collect()
}

/// A stack of so many layers behind `features` features.
fn fc_stack(spec: &FcSpec, layers: usize, features: usize, prefix: &str) -> FcPlan {
    let width = spec.width.unwrap_or(features);
    let embed = spec.width.map(|outputs| DensePlan {
        name: format!("{prefix}.EmbeddtoFully"),
        inputs: features,
        outputs,
        bias: true,
    });
    let (mut inputs, mut saved) = (width, width);
    let layer = |(i, outputs): (usize, usize)| {
        let norm =
            spec.batch_norm.then(|| NormPlan { name: format!("{prefix}.Bnorm_fullyconnected{i}"), features: inputs });
        let dense = DensePlan { name: format!("{prefix}.Fullyconnected{i}"), inputs, outputs, bias: true };
        let ends = spec.residual.is_some_and(|every| (i + 1).is_multiple_of(every));
        let skip = ends.then(|| DensePlan {
            name: format!("{prefix}.Residuallayer{i}"),
            inputs: std::mem::replace(&mut saved, outputs),
            outputs,
            bias: false,
        });
        inputs = outputs;
        FcLayerPlan { norm, dense, skip }
    };
    let layers = fc_widths(width, width, layers, spec.widening).into_iter().enumerate().map(layer).collect();
    FcPlan { embed, layers, width }
}

/// The linear layer of a head, numbered if there are several.
fn head_plan(
    m: Option<usize>,
    inputs: usize,
    tracks: usize,
    batch_norm: bool,
    output: HeadOutput,
    stack: Option<usize>,
) -> HeadPlan {
    let prefix = m.map_or_else(|| "classifier.classifier".into(), |m| format!("classifier.{m}.classifier"));
    let norm = batch_norm.then(|| NormPlan { name: format!("{prefix}.ClassBnorm"), features: inputs });
    let dense = DensePlan { name: format!("{prefix}.Linear"), inputs, outputs: tracks, bias: true };
    HeadPlan { norm, tracks: TracksPlan::Dense(dense), output, stack }
}

fn no_features() -> Error {
    Error::Usage("layer_widening leaves a fully connected layer without features".into())
}

impl Architecture {
    /// The layers of all networks and of what joins them; none of a published architecture. Fails where a layer cannot have its shape.
    pub fn plan(&self) -> Result<Plans> {
        self.check()?;
        if self.published.is_some() {
            return Ok(Plans { inputs: vec![], outputs: vec![] });
        }
        let one = self.member_plan()?;
        if self.members == 1 {
            return Ok(one);
        }
        let mut all = Plans { inputs: vec![], outputs: vec![] };
        for i in 0..self.members {
            let mut member = one.clone();
            member.names_mut().into_iter().for_each(|name| name.insert_str(0, &member_prefix(i)));
            all.inputs.append(&mut member.inputs);
            all.outputs.append(&mut member.outputs);
        }
        Ok(all)
    }

    /// The layers of a member, or of a plain model.
    fn member_plan(&self) -> Result<Plans> {
        let Some(join) = &self.join else {
            return Ok(Plans { inputs: vec![self.inputs[0].plan()?], outputs: vec![] });
        };
        let mut inputs = vec![];
        for (i, spec) in self.inputs.iter().enumerate() {
            let mut plan = spec.plan()?;
            plan.names_mut().into_iter().for_each(|name| name.insert_str(0, &format!("cnns.CNN{i}.")));
            inputs.push(plan);
        }
        let several = join.outputs.len() > 1;
        let mut outputs = vec![];
        for (m, o) in join.outputs.iter().enumerate() {
            let Combination::Stack { fc, batch_norm, output } = &o.by else {
                outputs.push(None);
                continue;
            };
            let features = o.inputs.iter().map(|&i| self.inputs[i].heads[0].tracks).sum();
            let prefix = if several { format!("nclayers.{m}.nfcs") } else { "nclayers.nfcs".into() };
            let fc = fc.as_ref().map(|fc| fc_stack(fc, fc.layers[0], features, &prefix));
            if fc.iter().flat_map(|stack| &stack.layers).any(|layer| layer.dense.outputs == 0) {
                return Err(no_features());
            }
            let width = fc.as_ref().map_or(features, |fc| fc.width);
            let head = head_plan(several.then_some(m), width, o.tracks, *batch_norm, *output, None);
            outputs.push(Some((fc, head)));
        }
        Ok(Plans { inputs, outputs })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cases::cases;
    use crate::model::options::{DataFacts, parse_option_string, resolve};

    fn spec(text: &str, length: usize, tracks: &[usize]) -> ModelSpec {
        let facts = DataFacts::single(length, tracks.to_vec(), true);
        resolve(&parse_option_string(text).unwrap(), &facts).unwrap().0.inputs.remove(0)
    }

    #[test]
    fn padding_of_pools_and_convolutions() {
        for (length, size, stride, padding, out) in [
            (10000, 6, 6, 1, 1667),
            (1667, 6, 6, 1, 278),
            (278, 6, 6, 2, 47),
            (47, 6, 6, 1, 8),
            (7, 3, 3, 1, 3),
            (151, 6, 3, 3, 51),
            (8, 4, 4, 0, 2),
        ] {
            assert_eq!(pool_padding(length, size, stride), padding);
            assert_eq!((length + 2 * padding - size) / stride + 1, out);
        }
        assert_eq!(pool_padding(7, 1, 3), 0);
        assert_eq!(same_padding(15, 1), (7, 7));
        assert_eq!(same_padding(8, 1), (3, 4));
        assert_eq!(same_padding(4, 3), (4, 5));
        assert_eq!(same_padding(1, 9), (0, 0));
    }

    #[test]
    fn widths_of_fully_connected_layers() {
        assert_eq!(fc_widths(1024, 1024, 3, 1.1), [1126, 1126, 1024]);
        assert_eq!(fc_widths(512, 512, 2, 1.1), [563, 512]);
        assert_eq!(fc_widths(16, 16, 4, 1.1), [17, 18, 16, 16]);
        assert_eq!(fc_widths(9, 9, 1, 1.1), [9]);
        assert_eq!(fc_widths(9, 9, 0, 1.1), [0; 0]);
    }

    #[test]
    fn tensors_of_every_reference_model() {
        let mut compared = 0;
        for case in cases() {
            let Some(expected) = case.tensors else { continue };
            let (model, _) = resolve(&parse_option_string(&case.cnn).unwrap(), &case.facts).unwrap();
            let found: Vec<_> = model.plan().unwrap().tensors().into_iter().map(|t| (t.name, t.shape)).collect();
            assert_eq!(found, expected, "{}", case.name);
            compared += 1;
        }
        assert_eq!(compared, 28);
    }

    #[test]
    fn nfc_list_makes_one_stack_per_head() {
        let model =
            spec("num_kernels=12+l_kernels=9+max_pooling=False+fclayer_size=16+nfc_layers=[2,3,4]", 2, &[2, 2, 2]);
        let tensors = model.plan().unwrap().tensors();
        let shape = |name: &str| tensors.iter().find(|t| t.name == name).map(|t| t.shape.clone());
        assert_eq!(shape("nfcs.2.nfcs.Fullyconnected2.weight"), Some(vec![16, 18]));
        assert_eq!(shape("nfcs.1.nfcs.EmbeddtoFully.weight"), Some(vec![16, 24]));
        assert_eq!(shape("nfcs.0.nfcs.Fullyconnected2.weight"), None);
        let plan = model.plan().unwrap();
        assert_eq!(plan.heads.iter().map(|h| h.stack).collect::<Vec<_>>(), [Some(0), Some(1), Some(2)]);
    }

    const SEED: &str = "num_kernels=300+l_kernels=15+max_pooling=False+weighted_pooling=True+pooling_size=4+net_function=GELU\
        +dilated_convolutions=3+l_dilkernels=11+dilations=[1,2,4]+transformer_convolutions=4+l_trkernels=11+fclayer_size=1024\
        +nfc_layers=3+conv_batch_norm=True";

    #[test]
    fn sizes_of_the_seed_models() {
        let base = spec(&format!("{SEED}+trweighted_pooling=6"), 40000, &[77]).plan().unwrap();
        assert_eq!(base.parameters(), 13_068_449);
        let pools: Vec<_> =
            base.second_block.unwrap().layers.iter().map(|l| (l.pool.unwrap().padding.0, l.length)).collect();
        assert_eq!(pools, [(1, 1667), (1, 278), (2, 47), (1, 8)]);
        let text = format!(
            "{SEED}+dilweighted_pooling=10+dilpooling_steps=3+n_attention=1+n_distattention=4+dim_distattention=1.8+trweighted_pooling=4"
        );
        let plan = spec(&text, 40000, &[77]).plan().unwrap();
        assert_eq!(plan.parameters(), 29_247_329);
        assert_eq!(
            (plan.attention[0].from, plan.attention[0].value_dim, plan.channels * plan.length),
            (1000, 540, 2160)
        );
    }

    #[test]
    fn skips_carry_the_pools_they_cross() {
        let text = "num_kernels=8+max_pooling=False+dilated_convolutions=4+l_dilkernels=3+dilmax_pooling=2+dilpooling_residual=2+conv_increase=1.5";
        let plan = spec(text, 37, &[1]).plan().unwrap().first_block.unwrap();
        let skips: Vec<_> = plan.layers.iter().map(|l| l.skip.clone()).collect();
        assert!(skips[0].is_none() && skips[2].is_none());
        let [first, second] = [skips[1].clone().unwrap(), skips[3].clone().unwrap()];
        assert_eq!(first.pools.iter().map(|p| (p.from, p.length)).collect::<Vec<_>>(), [(37, 19)]);
        assert_eq!(second.pools.iter().map(|p| (p.from, p.length)).collect::<Vec<_>>(), [(19, 10), (10, 5)]);
        let conv = second.conv.unwrap();
        assert_eq!((conv.inputs, conv.outputs, conv.length), (18, 40, 19));
        assert_eq!((plan.channels, plan.length), (40, 3));
    }

    #[test]
    fn blocks_stop_where_the_length_is_too_small() {
        let stopped =
            |text: &str, length| spec(&format!("num_kernels=4+max_pooling=False+{text}"), length, &[1]).plan().unwrap();
        let none = stopped("dilated_convolutions=2+l_dilkernels=9", 8).first_block.unwrap();
        assert_eq!((none.layers.len(), none.channels, none.length), (0, 4, 8));
        let late = stopped("dilated_convolutions=3+l_dilkernels=3+dilmax_pooling=5", 12).first_block.unwrap();
        assert_eq!(late.layers.len(), 2);
        assert_eq!((late.layers[0].length, late.layers[1].pool, late.length), (3, None, 3));
    }

    #[test]
    fn strides_shorten_and_right_padding_keeps_the_left_end() {
        let text = "num_kernels=4+pooling_size=4+pool_align=right+dilated_convolutions=2+l_dilkernels=3+strides=[2,3]+dilpooling_residual=0";
        let plan = spec(text, 13, &[1]).plan().unwrap();
        let pool = plan.pool.unwrap();
        assert_eq!((pool.padding, pool.length), ((0, 3), 4));
        let lengths: Vec<_> = plan.first_block.unwrap().layers.iter().map(|l| l.length).collect();
        assert_eq!(lengths, [2]);
        let even = spec("num_kernels=4+pooling_size=4+pooling_steps=2+pool_align=right", 12, &[1])
            .plan()
            .unwrap()
            .pool
            .unwrap();
        assert_eq!((even.padding, even.length), ((0, 0), 5));
        let sparse = spec("num_kernels=4+pooling_size=2+pooling_steps=5+pool_align=right", 8, &[1]).plan().unwrap();
        assert_eq!((sparse.pool.unwrap().padding, sparse.pool.unwrap().length), ((0, 0), 2));
        let short = spec("num_kernels=4+pooling_size=9+pool_align=right", 5, &[1]).plan().unwrap().pool.unwrap();
        assert_eq!((short.padding, short.length), ((0, 4), 1));
    }

    #[test]
    fn impossible_layers_are_errors() {
        for (text, part) in [
            ("num_kernels=4+pooling_size=9+pooling_steps=3", "does not fit a map of length 6"),
            ("num_kernels=4+n_attention=1+n_distattention=2+dim_distattention=0.1", "int(0.1 * 4) = 0"),
            ("num_kernels=4+nfc_layers=2+layer_widening=0.1", "layer_widening"),
            ("num_kernels=4+dilated_convolutions=1+conv_increase=0.1+l_dilkernels=1", "no channels (4 * 0.1)"),
        ] {
            let message = spec(text, 6, &[1]).plan().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn stored_specifications_are_checked() {
        let good =
            spec("num_kernels=4+dilated_convolutions=2+n_attention=1+n_distattention=2+nfc_layers=2", 30, &[1, 2]);
        assert!(good.plan().is_ok());
        let bad = |change: fn(&mut ModelSpec), part: &str| {
            let mut spec = good.clone();
            change(&mut spec);
            let message = spec.plan().unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
        };
        bad(|s| s.length = 0, "input length");
        bad(|s| s.heads.clear(), "heads");
        bad(|s| s.first_block.as_mut().unwrap().dilations = vec![1], "one dilation");
        bad(|s| s.first_block.as_mut().unwrap().width = 0, "kernel width");
        bad(|s| s.fc.as_mut().unwrap().layers = vec![1, 2, 3], "one per head");
        let pool = BlockPool { kind: PoolKind::MeanMax, size: 2, every: 1 };
        let mut spec = good.clone();
        spec.attention.as_mut().unwrap().pool = Some(pool);
        assert!(spec.plan().unwrap_err().to_string().contains("'mean-max'"));
    }
}
