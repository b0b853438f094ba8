//! Layers of a planned model, and the tensors that they own.
//!
//! Names and order are those of the reference's state dict; [`Plan::tensors`] lists them, so that initial values can be
//! drawn in its order and checkpoints can be checked.

use super::{HeadOutput, PoolKind};

/// Whether a tensor of a reference's state dict carries nothing learned, so that loading skips it: positional tables,
/// and the windows of pools in skips.
pub fn is_derived_tensor(name: &str) -> bool {
    name.ends_with(".pos_queries") || name.contains(".rconv.pool")
}

/// How a tensor starts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Uniform in +-1/sqrt(fan_in).
    Uniform {
        /// Inputs of one output.
        fan_in: usize,
    },
    /// All one.
    One,
    /// All zero.
    Zero,
}

/// What a tensor is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It has a gradient.
    Parameter,
    /// Running statistics of a batch norm.
    Buffer,
    /// Number of batches that a batch norm has seen; int64, no axes.
    Counter,
}

/// One tensor of the state dict.
#[derive(Debug, Clone, PartialEq)]
pub struct TensorPlan {
    /// Its name there.
    pub name: String,
    /// Its shape in PyTorch's order.
    pub shape: Vec<usize>,
    /// How it starts.
    pub init: Init,
    /// What it is for.
    pub role: Role,
}

/// Batch norm.
#[derive(Debug, Clone, PartialEq)]
pub struct NormPlan {
    /// Prefix of its tensors.
    pub name: String,
    /// Channels or features.
    pub features: usize,
}

/// One-dimensional convolution with zero padding.
#[derive(Debug, Clone, PartialEq)]
pub struct ConvPlan {
    /// Prefix of its tensors.
    pub name: String,
    /// Channels in.
    pub inputs: usize,
    /// Channels out.
    pub outputs: usize,
    /// Width.
    pub width: usize,
    /// Dilation.
    pub dilation: usize,
    /// Step.
    pub stride: usize,
    /// Zeros (left, right).
    pub padding: (usize, usize),
    /// Whether it has a bias.
    pub bias: bool,
    /// Length out.
    pub length: usize,
}

/// Pooling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PoolPlan {
    /// What a window becomes.
    pub kind: PoolKind,
    /// Window.
    pub size: usize,
    /// Step.
    pub stride: usize,
    /// Padding (left, right).
    pub padding: (usize, usize),
    /// Length in.
    pub from: usize,
    /// Length out.
    pub length: usize,
}

/// What the end of a skip adds or appends.
#[derive(Debug, Clone, PartialEq)]
pub struct SkipPlan {
    /// Convolution of width 1 where the number of channels has changed since the skip began.
    pub conv: Option<ConvPlan>,
    /// Pools that the main path passed since the skip began, in order. Maximum pools pad with zeros here.
    pub pools: Vec<PoolPlan>,
}

/// One layer of a block: norm, activation, convolution, skip, dropout, pool.
#[derive(Debug, Clone, PartialEq)]
pub struct BlockLayerPlan {
    /// Batch norm in front of the activation.
    pub norm: Option<NormPlan>,
    /// Convolution.
    pub conv: ConvPlan,
    /// Skip that ends here.
    pub skip: Option<SkipPlan>,
    /// Pool after the layer.
    pub pool: Option<PoolPlan>,
    /// Channels after the layer.
    pub channels: usize,
    /// Length after the layer.
    pub length: usize,
}

/// A convolution block; its activation, dropout and way of skipping are those of its [`BlockSpec`](super::BlockSpec).
#[derive(Debug, Clone, PartialEq)]
pub struct BlockPlan {
    /// Layers that are built; fewer than asked for where the length gets too small.
    pub layers: Vec<BlockLayerPlan>,
    /// Channels after the block.
    pub channels: usize,
    /// Length after the block.
    pub length: usize,
}

/// One attention block.
#[derive(Debug, Clone, PartialEq)]
pub struct AttentionPlan {
    /// Prefix of its tensors.
    pub name: String,
    /// Channels in.
    pub inputs: usize,
    /// Heads.
    pub heads: usize,
    /// Dimensions of queries and keys of a head.
    pub key_dim: usize,
    /// Dimensions of values of a head, and channels out.
    pub value_dim: usize,
    /// Channels of the joined heads, in front of the output projection.
    pub joined: usize,
    /// Batch norm in front.
    pub norm: Option<NormPlan>,
    /// Length in and inside.
    pub from: usize,
    /// Pool after the block.
    pub pool: Option<PoolPlan>,
    /// Length out.
    pub length: usize,
}

/// Fully connected layer with bias, or a skip without.
#[derive(Debug, Clone, PartialEq)]
pub struct DensePlan {
    /// Prefix of its tensors.
    pub name: String,
    /// Features in.
    pub inputs: usize,
    /// Features out.
    pub outputs: usize,
    /// Whether it has a bias.
    pub bias: bool,
}

/// One layer of a fully connected stack.
#[derive(Debug, Clone, PartialEq)]
pub struct FcLayerPlan {
    /// Batch norm in front.
    pub norm: Option<NormPlan>,
    /// The layer.
    pub dense: DensePlan,
    /// Skip that ends here; it starts at the end of the previous one, the first at the start of the stack.
    pub skip: Option<DensePlan>,
}

/// A fully connected stack.
#[derive(Debug, Clone, PartialEq)]
pub struct FcPlan {
    /// Linear embedding without activation.
    pub embed: Option<DensePlan>,
    /// Layers.
    pub layers: Vec<FcLayerPlan>,
    /// Features out.
    pub width: usize,
}

/// What makes the bins of a profile.
#[derive(Debug, Clone, PartialEq)]
pub struct ProfilePlan {
    /// Convolution of the last map.
    pub conv: ConvPlan,
    /// First bin, and the one behind the last, of its output.
    pub bins: (usize, usize),
    /// Linear layer of the total counts.
    pub counts: Option<DensePlan>,
}

/// What makes the tracks of a head.
#[derive(Debug, Clone, PartialEq)]
pub enum TracksPlan {
    /// One value a sequence.
    Dense(DensePlan),
    /// One value a bin.
    Profile(ProfilePlan),
}

impl TracksPlan {
    /// Prefixes of the tensors whose rows are tracks.
    pub fn names(&self) -> Vec<&str> {
        match self {
            Self::Dense(dense) => vec![&dense.name],
            Self::Profile(p) => p.counts.iter().map(|c| c.name.as_str()).chain([p.conv.name.as_str()]).collect(),
        }
    }

    /// The linear layer of a head of one value a sequence.
    pub fn dense(&self) -> Option<&DensePlan> {
        match self {
            Self::Dense(dense) => Some(dense),
            Self::Profile(_) => None,
        }
    }
}

/// A head.
#[derive(Debug, Clone, PartialEq)]
pub struct HeadPlan {
    /// Batch norm in front.
    pub norm: Option<NormPlan>,
    /// What makes its tracks.
    pub tracks: TracksPlan,
    /// What follows.
    pub output: HeadOutput,
    /// The fully connected stack that it reads; none = the flattened map.
    pub stack: Option<usize>,
}

/// Everything that a network builder needs beside the [`ModelSpec`](super::ModelSpec). What reads the flattened map (`channels * length`
/// features, index `c * length + l`) is the embedding or first layer of every stack, or the heads where there is no
/// stack.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// First layer.
    pub stem: ConvPlan,
    /// Pool after it.
    pub pool: Option<PoolPlan>,
    /// First convolution block.
    pub first_block: Option<BlockPlan>,
    /// Convolution of width 1.
    pub embedding: Option<ConvPlan>,
    /// Attention blocks.
    pub attention: Vec<AttentionPlan>,
    /// Second convolution block.
    pub second_block: Option<BlockPlan>,
    /// Channels of the map that is flattened.
    pub channels: usize,
    /// Its length.
    pub length: usize,
    /// Fully connected stacks: none, one for all heads, or one a head.
    pub fc: Vec<FcPlan>,
    /// Heads.
    pub heads: Vec<HeadPlan>,
}

/// Layers of a whole model; of an average those of its members, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Plans {
    /// The network of every input, for every member.
    pub inputs: Vec<Plan>,
    /// For every output of a join, of every member, what is learned there, fully connected layers and a head; none for a
    /// formula. Empty without a join.
    pub outputs: Vec<Option<(Option<FcPlan>, HeadPlan)>>,
}

impl Plans {
    /// Every tensor in the order of the reference's state dict, without those of [`is_derived_tensor`].
    pub fn tensors(&self) -> Vec<TensorPlan> {
        let mut all = Tensors(self.inputs.iter().flat_map(Plan::tensors).collect());
        let outputs = || self.outputs.iter().flatten();
        outputs().filter_map(|(fc, _)| fc.as_ref()).for_each(|fc| all.fc(fc));
        outputs().for_each(|(_, head)| all.head(head));
        all.0
    }

    /// Number of trainable values.
    pub fn parameters(&self) -> usize {
        trainable(self.tensors())
    }

    /// The names of all layers, for a prefix.
    pub(super) fn names_mut(&mut self) -> Vec<&mut String> {
        let mut all: Vec<&mut String> = self.inputs.iter_mut().flat_map(Plan::names_mut).collect();
        for (fc, head) in self.outputs.iter_mut().flatten() {
            all.extend(fc.iter_mut().flat_map(FcPlan::names_mut));
            all.extend(head.names_mut());
        }
        all
    }

    /// Multiply-adds of convolutions, dense layers and attention for one sequence, the first layer counted on one-hot input.
    pub fn multiply_adds(&self) -> f64 {
        let outputs: usize = self.outputs.iter().flatten().map(|(fc, head)| dense_products(fc, [head])).sum();
        self.inputs.iter().map(Plan::multiply_adds).sum::<f64>() + outputs as f64
    }
}

impl ConvPlan {
    fn products(&self) -> usize {
        self.length * self.width * self.inputs * self.outputs
    }
}

impl DensePlan {
    fn products(&self) -> usize {
        self.inputs * self.outputs
    }
}

/// Products of fully connected layers and heads.
fn dense_products<'a>(
    fc: impl IntoIterator<Item = &'a FcPlan>,
    heads: impl IntoIterator<Item = &'a HeadPlan>,
) -> usize {
    let stack = |s: &'a FcPlan| s.embed.iter().chain(s.layers.iter().map(|l| &l.dense));
    let layers = fc.into_iter().flat_map(stack).map(DensePlan::products).sum::<usize>();
    let heads = heads.into_iter().map(|head| match &head.tracks {
        TracksPlan::Dense(dense) => dense.products(),
        TracksPlan::Profile(p) => p.conv.products() + p.counts.iter().map(DensePlan::products).sum::<usize>(),
    });
    layers + heads.sum::<usize>()
}

/// What stands before the names of the tensors of member `i` of an average.
pub fn member_prefix(i: usize) -> String {
    format!("members.{i}.")
}

fn trainable(tensors: Vec<TensorPlan>) -> usize {
    tensors.iter().filter(|t| t.role == Role::Parameter).map(|t| t.shape.iter().product::<usize>()).sum()
}

/// Tensors of a plan, gathered in the order of the state dict.
#[derive(Default)]
struct Tensors(Vec<TensorPlan>);

impl Tensors {
    fn push(&mut self, name: String, shape: &[usize], init: Init, role: Role) {
        self.0.push(TensorPlan { name, shape: shape.to_vec(), init, role });
    }

    fn weight(&mut self, name: &str, shape: &[usize], bias: bool) {
        let init = Init::Uniform { fan_in: shape[1..].iter().product() };
        self.push(format!("{name}.weight"), shape, init, Role::Parameter);
        if bias {
            self.push(format!("{name}.bias"), &shape[..1], init, Role::Parameter);
        }
    }

    fn scale(&mut self, name: &str, features: usize) {
        self.push(format!("{name}.weight"), &[features], Init::One, Role::Parameter);
        self.push(format!("{name}.bias"), &[features], Init::Zero, Role::Parameter);
    }

    fn norm(&mut self, norm: &Option<NormPlan>) {
        if let Some(NormPlan { name, features }) = norm {
            self.scale(name, *features);
            self.push(format!("{name}.running_mean"), &[*features], Init::Zero, Role::Buffer);
            self.push(format!("{name}.running_var"), &[*features], Init::One, Role::Buffer);
            self.push(format!("{name}.num_batches_tracked"), &[], Init::Zero, Role::Counter);
        }
    }

    fn conv(&mut self, conv: &ConvPlan) {
        self.weight(&conv.name, &[conv.outputs, conv.inputs, conv.width], conv.bias);
    }

    fn dense(&mut self, dense: &DensePlan) {
        self.weight(&dense.name, &[dense.outputs, dense.inputs], dense.bias);
    }

    fn block(&mut self, block: &BlockPlan) {
        for layer in &block.layers {
            self.norm(&layer.norm);
            self.conv(&layer.conv);
            layer.skip.iter().filter_map(|skip| skip.conv.as_ref()).for_each(|conv| self.conv(conv));
        }
    }

    fn fc(&mut self, stack: &FcPlan) {
        stack.embed.iter().for_each(|dense| self.dense(dense));
        for layer in &stack.layers {
            self.norm(&layer.norm);
            self.dense(&layer.dense);
            layer.skip.iter().for_each(|skip| self.dense(skip));
        }
    }

    fn head(&mut self, head: &HeadPlan) {
        self.norm(&head.norm);
        let dense = match &head.tracks {
            TracksPlan::Dense(dense) => dense,
            TracksPlan::Profile(profile) => {
                profile.counts.iter().for_each(|dense| self.dense(dense));
                return self.conv(&profile.conv);
            }
        };
        self.dense(dense);
        if let (HeadOutput::Complex, Some(prefix)) = (head.output, dense.name.strip_suffix(".Linear")) {
            for (part, init) in [("variables", Init::One), ("exponents", Init::Zero)] {
                let name = format!("{prefix}.Complex.{part}");
                self.push(name, &[1, dense.outputs, 2], init, Role::Parameter);
            }
        }
    }

    fn attention(&mut self, block: &AttentionPlan) {
        let AttentionPlan { name, inputs, heads, key_dim, value_dim, joined, .. } = block;
        let mut pointwise = |part: &str, outputs: usize, inputs: usize| {
            self.weight(&format!("{name}.{part}"), &[outputs, inputs, 1], false);
        };
        pointwise("embed_queries", heads * key_dim, 2 * inputs);
        pointwise("embed_keys", heads * key_dim, 2 * inputs);
        pointwise("embed_values", heads * value_dim, 2 * inputs);
        pointwise("combine_layer", *value_dim, *joined);
        if value_dim != inputs {
            pointwise("reslayer", *value_dim, *inputs);
        }
        self.norm(&block.norm);
        self.scale(&format!("{name}.layer_norm"), *value_dim);
        self.weight(&format!("{name}.feedforward.0"), &[4 * value_dim, *value_dim, 1], false);
        self.weight(&format!("{name}.feedforward.2"), &[*value_dim, 4 * value_dim, 1], false);
        self.scale(&format!("{name}.feedforward_layer_norm"), *value_dim);
    }
}

impl Plan {
    /// Every tensor in the order of the reference's state dict, without those of [`is_derived_tensor`].
    pub fn tensors(&self) -> Vec<TensorPlan> {
        let mut all = Tensors::default();
        all.conv(&self.stem);
        self.first_block.iter().for_each(|block| all.block(block));
        self.embedding.iter().for_each(|conv| all.conv(conv));
        self.attention.iter().for_each(|block| all.attention(block));
        self.second_block.iter().for_each(|block| all.block(block));
        self.fc.iter().for_each(|stack| all.fc(stack));
        self.heads.iter().for_each(|head| all.head(head));
        all.0
    }

    /// Number of trainable values.
    pub fn parameters(&self) -> usize {
        trainable(self.tensors())
    }

    fn multiply_adds(&self) -> f64 {
        let blocks = self.first_block.iter().chain(&self.second_block).flat_map(|b| &b.layers);
        let convs = [&self.stem].into_iter().chain(blocks.map(|l| &l.conv));
        let mut sum: f64 = convs.map(|c| c.products() as f64).sum();
        for a in &self.attention {
            let projections = 2 * a.inputs * a.heads * (2 * a.key_dim + a.value_dim)
                + a.joined * a.value_dim
                + a.inputs * a.value_dim
                + 8 * a.value_dim * a.value_dim;
            sum += (a.from * (projections + a.from * a.heads * (a.key_dim + a.value_dim))) as f64;
        }
        sum + dense_products(&self.fc, &self.heads) as f64
    }

    /// The names of all layers, for a prefix.
    pub(super) fn names_mut(&mut self) -> Vec<&mut String> {
        let mut all = vec![&mut self.stem.name];
        all.extend(self.embedding.iter_mut().map(|e| &mut e.name));
        for layer in self.first_block.iter_mut().chain(&mut self.second_block).flat_map(|b| &mut b.layers) {
            all.extend(norm_name(&mut layer.norm));
            all.push(&mut layer.conv.name);
            all.extend(layer.skip.iter_mut().filter_map(|s| s.conv.as_mut()).map(|c| &mut c.name));
        }
        for block in &mut self.attention {
            all.extend(norm_name(&mut block.norm));
            all.push(&mut block.name);
        }
        all.extend(self.fc.iter_mut().flat_map(FcPlan::names_mut));
        all.extend(self.heads.iter_mut().flat_map(HeadPlan::names_mut));
        all
    }
}

impl FcPlan {
    fn names_mut(&mut self) -> Vec<&mut String> {
        let mut all: Vec<&mut String> = self.embed.iter_mut().map(|e| &mut e.name).collect();
        for layer in &mut self.layers {
            all.extend(norm_name(&mut layer.norm));
            all.push(&mut layer.dense.name);
            all.extend(layer.skip.iter_mut().map(|s| &mut s.name));
        }
        all
    }
}

impl HeadPlan {
    fn names_mut(&mut self) -> Vec<&mut String> {
        let mut all: Vec<&mut String> = norm_name(&mut self.norm).into_iter().collect();
        match &mut self.tracks {
            TracksPlan::Dense(dense) => all.push(&mut dense.name),
            TracksPlan::Profile(p) => all.extend(p.counts.iter_mut().map(|c| &mut c.name).chain([&mut p.conv.name])),
        }
        all
    }
}

fn norm_name(norm: &mut Option<NormPlan>) -> Option<&mut String> {
    norm.as_mut().map(|n| &mut n.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_tensors_are_recognised() {
        assert!(is_derived_tensor("distattention.Mheadattention0.pos_queries"));
        assert!(is_derived_tensor("trconvolution_layers.convlayers.ResiduallayerConv1.rconv.pool0.norm"));
        assert!(!is_derived_tensor("trconvolution_layers.convlayers.ResiduallayerConv1.rconv.conv.weight"));
    }
}
