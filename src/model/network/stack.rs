//! Networks that are chains of layers: the published architectures.
//!
//! | architecture | names and shapes of the tensors |
//! |---|---|
//! | `seqtofunc251`, `bpnet2114` | those of `benches/torch_cpu.py`, which holds the same models in PyTorch |
//! | `beluga` | those of its published file, `[O, C, 1, k]` and the order of its bases included |

use super::{Observer, Tap};
use crate::error::Result;
use crate::model::spec::{Beluga, HeadOutput, Published};
use crate::nn::{Bound, Builder, Initial, Kind, Layout, ParamId, Parameters};
use crate::ops::{self, Conv1dArgs, Padding, PoolArgs, PoolKind, StemArgs, Strands};
use crate::tape::{Tape, Var};
use crate::tensor::DType;
use crate::util::math::Activation;

/// Positions that BPNet's heads leave out at either end.
const CROP: usize = 557;

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

/// A chain of layers.
#[derive(Debug)]
pub(super) struct Stack {
    layers: Vec<Layer>,
    /// Unknown bases that stand before and after every sequence, as part of the first convolution's padding.
    pub(super) flank: usize,
    /// Multiply-adds of a sequence.
    pub(super) products: f64,
    /// Numbers of the widest map of a sequence.
    pub(super) widest: usize,
}

impl Stack {
    /// The layers, and their numbers drawn from `seed`.
    pub(super) fn new(published: &Published, seed: u64) -> Result<(Self, Parameters)> {
        let builder = match published {
            Published::SeqToFunc251 => seq_to_func(published.length()),
            Published::Bpnet2114 => bpnet(published.length()),
            Published::Beluga(sizes) => beluga(sizes)?,
        };
        builder.finish(seed)
    }

    /// One output, `[N, tracks]`.
    pub(super) fn forward(&self, tape: &mut Tape, bound: &Bound, x: &Var, mut watch: Option<Observer>) -> Result<Var> {
        let mut x = x.clone();
        let head = self.layers.iter().rposition(|layer| matches!(layer, Layer::Dense(_)));
        for (i, layer) in self.layers.iter().enumerate() {
            if let Some(observe) = watch.as_mut().filter(|_| head == Some(i)) {
                observe(0, Tap::HeadInput, &x);
            }
            // What is watched is not only read by products.
            let product = matches!(self.layers.get(i + 1), Some(Layer::Conv(..) | Layer::Dense(_))) && watch.is_none();
            x = tape.scoped(format!("layer{i}"), |t| match layer {
                Layer::Activation(_) if product => t.for_products(|t| apply(layer, t, bound, &x)),
                _ => apply(layer, t, bound, &x),
            })?;
            let tap = match layer {
                Layer::Stem(..) => Some(Tap::Stem),
                Layer::Flatten => Some(Tap::Flat),
                _ => None,
            };
            if let (Some(observe), Some(tap)) = (&mut watch, tap) {
                observe(0, tap, &x);
            }
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
    widest: usize,
    length: usize,
    channels: usize,
    /// Shape of the map that a dense layer reads flattened.
    flat: Option<(usize, usize)>,
}

impl StackBuilder {
    fn new(length: usize) -> Self {
        let (builder, layers) = (Builder::default(), vec![]);
        Self { builder, layers, flank: 0, products: 0.0, widest: 0, length, channels: 4, flat: None }
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
        self.stem_of(w, outputs, width, pad);
    }

    fn stem_of(&mut self, w: Weights, outputs: usize, width: usize, pad: usize) {
        let args = StemArgs::same(width, Strands::Forward);
        let right = width - 1 - args.left;
        self.flank = pad.saturating_sub(args.left.min(right));
        let seen = self.length + 2 * self.flank;
        let (from, to) = (args.left + self.flank - pad, seen - (right + self.flank - pad));
        self.layers.push(Layer::Stem(w, args, ((from, to) != (0, seen)).then_some((from, to))));
        self.becomes(to - from, outputs);
        self.products += (self.length * width * 4 * outputs) as f64;
    }

    fn conv_weights(&mut self, name: &str, outputs: usize, args: Conv1dArgs, bias: bool) -> Weights {
        let w = self.weights(name, &[outputs, self.channels, args.kernel], Layout::Conv, bias);
        self.convolved(outputs, args);
        w
    }

    /// What a convolution leaves.
    fn convolved(&mut self, outputs: usize, args: Conv1dArgs) {
        let length = self.length + args.pad.0 + args.pad.1 - args.reach();
        self.products += (length * args.kernel * self.channels * outputs) as f64;
        self.becomes(length, outputs);
    }

    fn becomes(&mut self, length: usize, channels: usize) {
        (self.length, self.channels) = (length, channels);
        self.widest = self.widest.max(length * channels);
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

    fn finish(self, seed: u64) -> Result<(Stack, Parameters)> {
        let parameters = self.builder.finish(DType::F32, seed)?;
        let Self { layers, flank, products, widest, .. } = self;
        Ok((Stack { layers, flank, products, widest }, parameters))
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

/// Beluga under the names and shapes of its published file, whose convolutions have two dimensions.
fn beluga(sizes: &Beluga) -> Result<StackBuilder> {
    let mut b = StackBuilder::new(sizes.length);
    let args = Conv1dArgs::valid(Beluga::WIDTH);
    for (i, name) in Beluga::CONVOLUTIONS.into_iter().enumerate() {
        if i == 2 || i == 4 {
            b.pool(PoolKind::Max, Beluga::POOL);
        }
        let (outputs, first) = (sizes.channels[i / 2], i == 0);
        let layout = if first { Layout::Bases(sizes.bases()?) } else { Layout::Conv };
        let w = b.weights(name, &[outputs, b.channels, 1, Beluga::WIDTH], layout, true);
        if first {
            b.stem_of(w, outputs, Beluga::WIDTH, 0);
        } else {
            b.convolved(outputs, args);
            b.layers.push(Layer::Conv(w, args));
        }
        b.activation(Activation::Relu);
    }
    b.flatten();
    let [hidden, tracks] = Beluga::DENSE;
    b.dense(hidden, sizes.hidden);
    b.activation(Activation::Relu);
    b.dense(tracks, sizes.tracks);
    if sizes.output == HeadOutput::Class {
        b.activation(Activation::Sigmoid);
    }
    Ok(b)
}
