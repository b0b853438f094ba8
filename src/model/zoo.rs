//! Published shapes, by name: what `drg bench` times and tests mutate.
//!
//! | name | what | source of the shape |
//! |---|---|---|
//! | `drg600`, `drg2k`, `drg40k`, `drg40k-attention` | DRG networks of one strand, 300 kernels, 128 tracks | the options below; skips add the running sum |
//! | `seqtofunc251` | convolutions of 200 kernels, mean pools, wide dense layers, 81 tracks | the Taylor-approximation paper's timing tables |
//! | `bpnet2114` | 64 filters, 8 dilated residual layers, 1,000 profile positions and a count | BPNet (Avsec et al. 2021) |
//! | `beluga` | three pairs of convolutions without padding, 2,002 tracks | DeepSEA Beluga (Zhou et al. 2018) |
//!
//! Weights are random. The first four are [`Network`]s; the others are stacks of the layers here, under the tensor names of
//! `benches/torch_cpu.py`, which holds the same models in PyTorch. `tiny` is a network that nobody published, so small that it
//! runs anywhere.

use crate::device::Device;
use crate::error::{Error, Result, hint};
use crate::model::network::Network;
use crate::model::options::{DataFacts, parse_option_string, resolve};
use crate::model::spec::{BlockPlan, Plan};
use crate::nn::{Bound, Builder, Initial, Kind, Layout, ParamId, Parameters};
use crate::ops::{self, Conv1dArgs, Padding, PoolArgs, PoolKind, StemArgs, Strands};
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Tensor};
use crate::util::math::Activation;

/// Options that the DRG networks share; `{}` stands for what differs.
const DRG: &str = "num_kernels=300+l_kernels=15+kernel_function=GELU+net_function=GELU+max_pooling=False+weighted_pooling=True\
    +pooling_size=4+dilated_convolutions=3+l_dilkernels=11+dilations=[1,2,4]+l_trkernels=11+fclayer_size=1024+nfc_layers=3\
    +conv_batch_norm=True+residual=stream+pool_align=right";

/// Options of the network that is only there to be run.
const TINY: &str = "num_kernels=8+l_kernels=5+kernel_function=GELU+net_function=GELU+max_pooling=False+weighted_pooling=True\
    +pooling_size=4+dilated_convolutions=1+l_dilkernels=3+dilations=[2]+fclayer_size=6+nfc_layers=1+conv_batch_norm=True\
    +residual=stream+pool_align=right";

/// Positions that BPNet's heads leave out at either end.
const CROP: usize = 557;

/// Name of a published shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZooName {
    /// DRG on 600 bases.
    Drg600,
    /// DRG on 2,000 bases.
    Drg2k,
    /// DRG on 40,000 bases.
    Drg40k,
    /// DRG on 40,000 bases with attention over 1,000 positions.
    Drg40kAttention,
    /// SeqToFunc on 251 bases.
    SeqToFunc251,
    /// BPNet on 2,114 bases.
    Bpnet2114,
    /// Beluga on 2,000 bases.
    Beluga,
    /// A network of 48 bases that is no published shape.
    Tiny,
}

impl ZooName {
    /// All published shapes.
    pub const ALL: &[Self] = &[
        Self::Drg600,
        Self::Drg2k,
        Self::Drg40k,
        Self::Drg40kAttention,
        Self::SeqToFunc251,
        Self::Bpnet2114,
        Self::Beluga,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drg600 => "drg600",
            Self::Drg2k => "drg2k",
            Self::Drg40k => "drg40k",
            Self::Drg40kAttention => "drg40k-attention",
            Self::SeqToFunc251 => "seqtofunc251",
            Self::Bpnet2114 => "bpnet2114",
            Self::Beluga => "beluga",
            Self::Tiny => "tiny",
        }
    }

    /// The shape of that name.
    ///
    /// # Errors
    /// [`Error::Usage`] with the names that there are.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().chain([Self::Tiny]).find(|z| z.name() == name).ok_or_else(|| {
            let names = || Self::ALL.iter().map(|z| z.name());
            let list = names().collect::<Vec<_>>().join(", ");
            Error::Usage(format!("unknown model '{name}'{}; expected one of {list}", hint(name, names())))
        })
    }

    /// Length of its sequences in bases.
    pub fn length(self) -> usize {
        match self {
            Self::Drg600 => 600,
            Self::Drg2k | Self::Beluga => 2000,
            Self::Drg40k | Self::Drg40kAttention => 40_000,
            Self::SeqToFunc251 => 251,
            Self::Bpnet2114 => 2114,
            Self::Tiny => 48,
        }
    }

    /// Sequences of a batch that fills a small machine without filling its memory.
    pub fn default_batch(self) -> usize {
        match self.length() {
            10_000.. => 2,
            2000.. => 16,
            _ => 32,
        }
    }

    /// Options of the networks, what all share and what is their own, and their tracks.
    fn options(self) -> Option<(&'static str, &'static str, usize)> {
        let own = match self {
            Self::Drg600 => "transformer_convolutions=2+trweighted_pooling=6",
            Self::Drg2k => "transformer_convolutions=3+trweighted_pooling=6",
            Self::Drg40k => "transformer_convolutions=4+trweighted_pooling=6",
            Self::Drg40kAttention => {
                "transformer_convolutions=4+trweighted_pooling=4+dilweighted_pooling=10+dilpooling_steps=3\
                 +n_attention=1+n_distattention=4+dim_distattention=1.8"
            }
            Self::Tiny => return Some((TINY, "", 3)),
            _ => return None,
        };
        Some((DRG, own, 128))
    }
}

impl std::fmt::Display for ZooName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A published shape with random weights.
#[derive(Clone, Debug)]
pub struct ZooModel {
    name: ZooName,
    body: Body,
}

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "a handful of values a process")]
enum Body {
    Network(Network),
    Stack(Stack),
}

impl ZooModel {
    /// The model, its weights drawn from `seed` as PyTorch draws them: uniform within `1 / sqrt(fan in)`.
    ///
    /// # Errors
    /// None in practice: a test builds every model.
    pub fn new(name: ZooName, seed: u64) -> Result<Self> {
        let body = match (name.options(), name) {
            (Some((shared, own, tracks)), _) => {
                let facts = DataFacts::single(name.length(), vec![tracks], false);
                let options = [shared, own].into_iter().filter(|o| !o.is_empty()).collect::<Vec<_>>().join("+");
                let options = parse_option_string(&options)?;
                Body::Network(Network::new(resolve(&options, &facts)?.0, seed)?)
            }
            (None, ZooName::SeqToFunc251) => Body::Stack(seq_to_func(name.length()).finish(seed)?),
            (None, ZooName::Bpnet2114) => Body::Stack(bpnet(name.length()).finish(seed)?),
            (None, _) => Body::Stack(beluga(name.length()).finish(seed)?),
        };
        Ok(Self { name, body })
    }

    /// Its name.
    pub fn name(&self) -> ZooName {
        self.name
    }

    /// Its numbers.
    pub fn parameters(&self) -> &Parameters {
        match &self.body {
            Body::Network(network) => network.parameters(),
            Body::Stack(stack) => &stack.parameters,
        }
    }

    /// Its numbers, for training.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        match &mut self.body {
            Body::Network(network) => network.parameters_mut(),
            Body::Stack(stack) => &mut stack.parameters,
        }
    }

    /// Unknown bases that stand before and after every sequence, as part of the first convolution's padding.
    pub fn flank(&self) -> usize {
        match &self.body {
            Body::Network(_) => 0,
            Body::Stack(stack) => stack.flank,
        }
    }

    /// Packed bases `[N, length]` (row by row) as the input of [`ZooModel::forward`].
    ///
    /// # Errors
    /// [`Error::Shape`] if `codes` holds no whole number of sequences, [`Error::Argument`] for a code above 5.
    pub fn input(&self, codes: &[u8]) -> Result<Tensor> {
        let (length, flank) = (self.name.length(), self.flank());
        let padded = length + 2 * flank;
        let n = codes.len().div_ceil(length);
        if codes.len() != n * length {
            let expected = format!("a multiple of {length} codes");
            return Err(Error::Shape { op: "zoo", arg: "codes", expected, found: vec![codes.len()] });
        }
        let mut all = vec![4; n * padded];
        for (row, codes) in all.chunks_exact_mut(padded).zip(codes.chunks_exact(length)) {
            row[flank..flank + length].copy_from_slice(codes);
        }
        Tensor::bases(n, padded, all)
    }

    /// Runs the model on packed bases `[N, length + 2 flank]` (or numbers `[.., 4]`); one output `[N, tracks]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(&self, tape: &mut Tape, bound: &Bound, x: &Var) -> Result<Var> {
        match &self.body {
            Body::Network(network) => Ok(network
                .forward(tape, bound, std::slice::from_ref(x))?
                .pop()
                .expect("a network has a head for its tracks")),
            Body::Stack(stack) => stack.forward(tape, bound, x),
        }
    }

    /// Number of outputs.
    pub fn tracks(&self) -> usize {
        match &self.body {
            Body::Network(network) => network.architecture().tracks(),
            Body::Stack(stack) => stack.tracks,
        }
    }

    /// The same model with its numbers on another device.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let body = match &self.body {
            Body::Network(network) => Body::Network(network.to_device(device)?),
            Body::Stack(stack) => {
                Body::Stack(Stack { parameters: stack.parameters.to_device(device)?, ..stack.clone() })
            }
        };
        Ok(Self { body, ..*self })
    }

    /// The same model in another float type.
    ///
    /// # Errors
    /// [`Error::DType`] for bytes.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        let body = match &self.body {
            Body::Network(network) => Body::Network(network.to_dtype(dtype)?),
            Body::Stack(stack) => Body::Stack(Stack { parameters: stack.parameters.to_dtype(dtype)?, ..stack.clone() }),
        };
        Ok(Self { body, ..*self })
    }

    /// Multiply-adds of convolutions, dense layers and attention for one sequence, the first layer counted on one-hot input.
    pub fn multiply_adds(&self) -> f64 {
        match &self.body {
            Body::Network(network) => network.plans().inputs.iter().map(plan_products).sum(),
            Body::Stack(stack) => stack.products,
        }
    }
}

fn plan_products(plan: &Plan) -> f64 {
    let blocks =
        |b: &Option<BlockPlan>| -> Vec<_> { b.iter().flat_map(|b| &b.layers).map(|l| l.conv.clone()).collect() };
    let convs = [vec![plan.stem.clone()], blocks(&plan.first_block), blocks(&plan.second_block)].concat();
    let mut sum: f64 = convs.iter().map(|c| (c.length * c.width * c.inputs * c.outputs) as f64).sum();
    for a in &plan.attention {
        let projections = 2 * a.inputs * a.heads * (2 * a.key_dim + a.value_dim)
            + a.joined * a.value_dim
            + a.inputs * a.value_dim
            + 8 * a.value_dim * a.value_dim;
        sum += (a.from * (projections + a.from * a.heads * (a.key_dim + a.value_dim))) as f64;
    }
    let dense = plan.fc.iter().flat_map(|s| s.embed.iter().chain(s.layers.iter().map(|l| &l.dense)));
    let dense = dense.chain(plan.heads.iter().filter_map(|h| h.tracks.dense()));
    sum + dense.map(|d| (d.inputs * d.outputs) as f64).sum::<f64>()
}

/// Weight and bias of a layer.
#[derive(Clone, Copy, Debug)]
struct Weights {
    weight: ParamId,
    bias: Option<ParamId>,
}

#[derive(Clone, Debug)]
enum Layer {
    /// First convolution; the rows that 'same' padding adds to those wanted are cut off.
    Stem(Weights, StemArgs, Option<(usize, usize)>),
    Conv(Weights, Conv1dArgs),
    /// `x + relu(conv(x))`.
    Residual(Weights, Conv1dArgs),
    Activation(Activation),
    Pool(PoolArgs),
    Flatten,
    Dense(Weights),
    /// BPNet's heads on the inner rows: a convolution with one output, and a dense layer on the mean row, side by side.
    ProfileAndCount(Weights, Conv1dArgs, Weights),
}

/// A chain of layers with its numbers.
#[derive(Clone, Debug)]
struct Stack {
    layers: Vec<Layer>,
    parameters: Parameters,
    flank: usize,
    products: f64,
    tracks: usize,
}

impl Stack {
    fn forward(&self, tape: &mut Tape, bound: &Bound, x: &Var) -> Result<Var> {
        let mut x = x.clone();
        for (i, layer) in self.layers.iter().enumerate() {
            let product = matches!(self.layers.get(i + 1), Some(Layer::Conv(..) | Layer::Dense(_)));
            x = tape.scoped(format!("layer{i}"), |t| match layer {
                Layer::Activation(_) if product => t.for_products(|t| apply(layer, t, bound, &x)),
                _ => apply(layer, t, bound, &x),
            })?;
        }
        Ok(x)
    }
}

fn apply(layer: &Layer, t: &mut Tape, bound: &Bound, x: &Var) -> Result<Var> {
    let of = |w: &Weights| (bound.var(w.weight), w.bias.map(|b| bound.var(b)));
    match layer {
        Layer::Stem(w, args, crop) => {
            let (w, b) = of(w);
            let y = ops::stem(t, x, w, b, *args)?;
            match *crop {
                Some((from, to)) => ops::crop(t, &y, from, to),
                None => Ok(y),
            }
        }
        Layer::Conv(w, args) => {
            let (w, b) = of(w);
            ops::conv1d(t, x, w, b, *args)
        }
        Layer::Residual(w, args) => {
            let (w, b) = of(w);
            let h = ops::conv1d(t, x, w, b, *args)?;
            let h = ops::activation(t, &h, Activation::Relu)?;
            ops::add(t, &h, x)
        }
        Layer::Activation(f) => ops::activation(t, x, *f),
        Layer::Pool(args) => ops::pool(t, x, *args),
        Layer::Flatten => ops::flatten(t, x),
        Layer::Dense(w) => {
            let (w, b) = of(w);
            ops::linear(t, x, w, b)
        }
        Layer::ProfileAndCount(profile, args, count) => {
            let x = ops::crop(t, x, CROP, x.shape()[1] - CROP)?;
            let ((wp, bp), (wc, bc)) = (of(profile), of(count));
            let p = ops::conv1d(t, &x, wp, bp, *args)?;
            let p = ops::flatten(t, &p)?;
            let mean = ops::mean_rows(t, &x)?;
            let c = ops::linear(t, &mean, wc, bc)?;
            ops::concat(t, &[&p, &c])
        }
    }
}

/// Collects layers and follows the shape that they leave.
struct StackBuilder {
    builder: Builder,
    layers: Vec<Layer>,
    flank: usize,
    products: f64,
    length: usize,
    channels: usize,
    /// Shape of the map that a dense layer reads flattened.
    flat: Option<(usize, usize)>,
}

impl StackBuilder {
    fn new(length: usize) -> Self {
        let (builder, layers) = (Builder::default(), vec![]);
        Self { builder, layers, flank: 0, products: 0.0, length, channels: 4, flat: None }
    }

    fn weights(&mut self, name: &str, shape: &[usize], layout: Layout, bias: bool) -> Weights {
        let initial = Initial::Uniform(1.0 / (shape[1..].iter().product::<usize>() as f64).sqrt());
        let weight = self.builder.push(&format!("{name}.weight"), shape, layout, Kind::Parameter, initial);
        let bias = bias
            .then(|| self.builder.push(&format!("{name}.bias"), &shape[..1], Layout::Plain, Kind::Parameter, initial));
        Weights { weight, bias }
    }

    /// First convolution with `pad` zeros on both sides: what exceeds 'same' padding becomes unknown bases, what is
    /// missing is cut off again.
    fn stem(&mut self, name: &str, outputs: usize, width: usize, pad: usize, bias: bool) {
        let w = self.weights(name, &[outputs, 4, width], Layout::Conv, bias);
        let args = StemArgs::same(width, Strands::Forward);
        let right = width - 1 - args.left;
        self.flank = pad.saturating_sub(args.left.min(right));
        let seen = self.length + 2 * self.flank;
        let (from, to) = (args.left + self.flank - pad, seen - (right + self.flank - pad));
        self.layers.push(Layer::Stem(w, args, ((from, to) != (0, seen)).then_some((from, to))));
        (self.length, self.channels) = (to - from, outputs);
        self.products += (self.length * width * 4 * outputs) as f64;
    }

    fn conv_weights(&mut self, name: &str, outputs: usize, args: Conv1dArgs, bias: bool) -> Weights {
        let w = self.weights(name, &[outputs, self.channels, args.kernel], Layout::Conv, bias);
        self.length = self.length + args.pad.0 + args.pad.1 - args.reach();
        self.products += (self.length * args.kernel * self.channels * outputs) as f64;
        self.channels = outputs;
        w
    }

    fn conv(&mut self, name: &str, outputs: usize, args: Conv1dArgs, bias: bool) {
        let w = self.conv_weights(name, outputs, args, bias);
        self.layers.push(Layer::Conv(w, args));
    }

    fn activation(&mut self, f: Activation) {
        self.layers.push(Layer::Activation(f));
    }

    /// Windows side by side; rows that do not fill one are dropped.
    fn pool(&mut self, kind: PoolKind, size: usize) {
        let args = PoolArgs { kind, size, stride: size, pad: (0, 0), padding: Padding::Exclude };
        self.layers.push(Layer::Pool(args));
        self.length /= size;
    }

    fn flatten(&mut self) {
        self.layers.push(Layer::Flatten);
        self.flat = Some((self.length, self.channels));
        (self.length, self.channels) = (1, self.length * self.channels);
    }

    fn dense_weights(&mut self, name: &str, outputs: usize) -> Weights {
        let layout = match self.flat.take() {
            Some((length, channels)) => Layout::Flattened { length, channels },
            None => Layout::Dense,
        };
        let w = self.weights(name, &[outputs, self.channels], layout, true);
        self.products += (self.channels * outputs) as f64;
        self.channels = outputs;
        w
    }

    fn dense(&mut self, name: &str, outputs: usize) {
        let w = self.dense_weights(name, outputs);
        self.layers.push(Layer::Dense(w));
    }

    fn finish(self, seed: u64) -> Result<Stack> {
        let parameters = self.builder.finish(DType::F32, seed)?;
        // A profile has an output a position, and a count besides.
        let profile = matches!(self.layers.last(), Some(Layer::ProfileAndCount(..)));
        let tracks = if profile { self.length + 1 } else { self.channels };
        Ok(Stack { layers: self.layers, parameters, flank: self.flank, products: self.products, tracks })
    }
}

fn seq_to_func(length: usize) -> StackBuilder {
    const KERNELS: usize = 200;
    let mut b = StackBuilder::new(length);
    b.stem("c0", KERNELS, 15, 10, false);
    b.activation(Activation::Gelu);
    for i in 0..3 {
        b.conv(&format!("body.{}", 3 * i), KERNELS, Conv1dArgs { pad: (4, 4), ..Conv1dArgs::valid(7) }, false);
        b.activation(Activation::Gelu);
        b.pool(PoolKind::Mean, 3);
    }
    b.flatten();
    let width = b.channels;
    for i in 0..3 {
        b.dense(&format!("fc.{}", 2 * i), width);
        b.activation(Activation::Gelu);
    }
    b.dense("fc.6", 81);
    b
}

fn bpnet(length: usize) -> StackBuilder {
    const FILTERS: usize = 64;
    let mut b = StackBuilder::new(length);
    b.stem("c0", FILTERS, 21, 10, true);
    b.activation(Activation::Relu);
    for i in 0..8 {
        let args = Conv1dArgs::same(3, 2 << i);
        let w = b.conv_weights(&format!("body.{i}"), FILTERS, args, true);
        b.layers.push(Layer::Residual(w, args));
    }
    b.length -= 2 * CROP;
    let args = Conv1dArgs::same(75, 1);
    let profile = b.conv_weights("prof", 1, args, true);
    b.channels = FILTERS;
    let count = b.dense_weights("count", 1);
    b.layers.push(Layer::ProfileAndCount(profile, args, count));
    b
}

fn beluga(length: usize) -> StackBuilder {
    let mut b = StackBuilder::new(length);
    let mut place = 0;
    for (pair, outputs) in [320, 480, 640].into_iter().enumerate() {
        if pair > 0 {
            b.pool(PoolKind::Max, 4);
            place += 1;
        }
        for _ in 0..2 {
            match place {
                0 => b.stem("conv.0", outputs, 8, 0, true),
                _ => b.conv(&format!("conv.{place}"), outputs, Conv1dArgs::valid(8), true),
            }
            b.activation(Activation::Relu);
            place += 2;
        }
    }
    b.flatten();
    b.dense("fc.0", 2003);
    b.activation(Activation::Relu);
    b.dense("fc.2", 2002);
    b
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(p: &Parameters) -> usize {
        p.entries().iter().filter(|e| e.kind == Kind::Parameter).map(|e| e.len()).sum()
    }

    fn shape(p: &Parameters, name: &str) -> Vec<usize> {
        p.entries()[p.id(name).unwrap()].torch_shape.clone()
    }

    #[test]
    fn names_parse() {
        for &name in ZooName::ALL {
            assert_eq!(ZooName::parse(name.name()).unwrap(), name);
        }
        let message = ZooName::parse("bpnet").unwrap_err().to_string();
        assert!(message.contains("unknown model 'bpnet'") && message.contains("bpnet2114"), "{message}");
        assert_eq!(ZooName::Bpnet2114.default_batch(), 16);
    }

    #[test]
    fn shapes_are_the_published_ones() {
        let build = |name| ZooModel::new(name, 1).unwrap();
        let m = build(ZooName::SeqToFunc251);
        assert_eq!(shape(m.parameters(), "fc.0.weight"), [2000, 2000]);
        assert_eq!((m.flank(), count(m.parameters())), (3, 12_000 + 3 * 280_000 + 3 * 4_002_000 + 162_081));
        let m = build(ZooName::Bpnet2114);
        assert_eq!((m.flank(), shape(m.parameters(), "body.7.weight")), (0, vec![64, 64, 3]));
        assert_eq!(count(m.parameters()), 4 * 21 * 64 + 64 + 8 * (3 * 64 * 64 + 64) + 75 * 64 + 1 + 65);
        let m = build(ZooName::Drg600);
        assert_eq!(shape(m.parameters(), "nfcs.nfcs.EmbeddtoFully.weight"), [1024, 5 * 300]);
        assert_eq!(shape(m.parameters(), "nfcs.nfcs.Fullyconnected2.weight"), [1024, 1126]);
    }

    #[test]
    fn every_stack_ends_in_its_tracks() {
        // Beluga without its numbers, of which there are 150 million.
        let b = beluga(2000);
        assert_eq!((b.channels, b.flank), (2002, 0));
        assert!((b.products / 1e9 - 4.0).abs() < 0.5, "{}", b.products);
        let few = [ZooName::SeqToFunc251, ZooName::Bpnet2114, ZooName::Drg600, ZooName::Tiny];
        for (name, tracks) in few.into_iter().zip([81, 1001, 128, 3]) {
            let m = ZooModel::new(name, 1).unwrap();
            let x = Var::constant(m.input(&vec![2; name.length()]).unwrap());
            let mut tape = Tape::predict();
            let bound = m.parameters().bind(&mut tape, false).unwrap();
            assert_eq!(m.forward(&mut tape, &bound, &x).unwrap().shape(), [1, tracks], "{name}");
            assert!(m.input(&vec![0; name.length() + 1]).is_err());
        }
    }

    #[test]
    fn multiply_adds_of_a_network() {
        let m = ZooModel::new(ZooName::Drg600, 1).unwrap();
        let convolutions = 600 * 15 * 4 * 300 + (3 * 150 + 150 + 25) * 11 * 300 * 300;
        let dense = 1500 * 1024 + 1024 * 1126 + 1126 * 1126 + 1126 * 1024 + 1024 * 128;
        assert_eq!(m.multiply_adds(), f64::from(convolutions + dense));
    }
}
