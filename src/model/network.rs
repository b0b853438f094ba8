//! Networks: from an [`Architecture`] to parameters, and from sequences to its outputs.
//!
//! A published architecture is a chain of layers (`stack`); everything else is the DRG network.
//!
//! For every input: stem on both strands, activation, pool; a block of dilated convolutions; attention; a block of convolutions
//! with pools; flatten; fully connected layers; heads. Several inputs are joined behind their heads (`join`). Tensors carry
//! the names of the reference's state dict.

mod average;
mod join;
mod layout;
mod profile;
mod stack;

mod mask;

use layout::layout;
use stack::Stack;

use std::sync::Arc;

use crate::device::Device;
use crate::error::{Error, Result};
use crate::model::readout::Readout;
use crate::model::spec::{
    ActivationName, Architecture, AttentionPlan, BlockLayerPlan, BlockPlan, BlockSpec, ConvPlan, DensePlan, FcPlan,
    FcSpec, HeadOutput, HeadPlan, Init, ModelSpec, NormPlan, Plan, Plans, PoolKind as PoolName, PoolPadding, PoolPlan,
    Residual, Role, SkipPlan, StrandPool, TracksPlan,
};
use crate::nn::{Bound, Builder, Initial, Kind, Layout, ParamId, Parameters};
use crate::ops::{
    self, AttentionArgs, Conv1dArgs, Padding, PoolArgs, PoolKind, RunningNorm, StemArgs, Strands, Wanted,
};
use crate::tape::{Mode, Tape, Var};
use crate::tensor::DType;
use crate::util::math::Activation;

/// Name of the table of positions of an attention block in the state dict.
const POSITIONS: &str = "pos_queries";
/// Added to variances, as PyTorch's norms do.
const EPS: f64 = 1e-5;

/// A network with its numbers. A clone copies them when one of the two is changed.
#[derive(Clone, Debug)]
pub struct Network {
    architecture: Arc<Architecture>,
    plans: Arc<Plans>,
    /// The layers of a published architecture.
    stack: Option<Arc<Stack>>,
    parameters: Parameters,
    readout: Readout,
}

/// Places at which a forward pass can be watched: the reference's `location`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tap {
    /// '0': first convolution after the strands are combined, before its activation, `[N, L, K]`.
    Stem,
    /// '1': after the first activation and pool.
    Pool,
    /// '2': after the first block.
    FirstBlock,
    /// '3': after embedding and attention.
    Attention,
    /// '4': after the second block.
    SecondBlock,
    /// '5': flattened, position major.
    Flat,
    /// '6': input of the heads; of the first head if they have stacks of their own. Of a profile what stands before its output
    /// function, `[N, tracks, bins]`.
    HeadInput,
    /// Outputs of all heads of the network of an input, side by side.
    Heads,
    /// Outputs of all heads of all inputs, side by side; of networks of several inputs.
    Joined,
    /// Input of the last layer of an output that has layers of its own; the number is that of the output.
    Combined,
}

/// What a forward pass reports about one of its tensors: number of the input ([`Tap::Combined`]: of the output), place, value.
pub type Observer<'a> = &'a mut dyn FnMut(usize, Tap, &Var);

impl Network {
    /// A network with initial values drawn from `seed`: weights and biases uniform within `1 / sqrt(fan in)`.
    ///
    /// # Errors
    /// [`crate::Error::Usage`] if a layer cannot have its shape.
    pub fn new(architecture: impl Into<Architecture>, seed: u64) -> Result<Self> {
        let architecture = architecture.into();
        let plans = architecture.plan()?;
        if let Some(published) = &architecture.published {
            let (stack, parameters) = Stack::new(published, seed)?;
            let (architecture, plans, stack) = (Arc::new(architecture), Arc::new(plans), Some(Arc::new(stack)));
            return Ok(Self { architecture, plans, stack, parameters, readout: Readout::default() });
        }
        let mut builder = Builder::default();
        for t in plans.tensors() {
            let initial = match t.init {
                Init::Uniform { fan_in } => Initial::Uniform(1.0 / (fan_in as f64).sqrt()),
                Init::One => Initial::Constant(1.0),
                Init::Zero => Initial::Constant(0.0),
            };
            let kind = match t.role {
                Role::Parameter => Kind::Parameter,
                Role::Buffer => Kind::Buffer,
                Role::Counter => Kind::Counter,
            };
            builder.push(&t.name, &t.shape, layout(&plans, &t), kind, initial);
        }
        // Tables of positions are fixed, but a checkpoint may bring its own: PyTorch's sines are not correctly rounded.
        let attention = || plans.inputs.iter().flat_map(|p| &p.attention);
        let tables: Vec<ParamId> = attention()
            .map(|a| {
                let (name, zero) = (format!("{}.{POSITIONS}", a.name), Initial::Constant(0.0));
                builder.push(&name, &[a.inputs, a.from], Layout::Dense, Kind::Buffer, zero)
            })
            .collect();
        let mut parameters = builder.finish(DType::F32, seed)?;
        for (a, id) in attention().zip(tables) {
            let (c, l) = (a.inputs, a.from);
            let table = ops::position_table(c, l);
            let torch: Vec<f64> = (0..c * l).map(|i| f64::from(table[i % l * c + i / l])).collect();
            parameters.set_torch(id, &torch)?;
        }
        let (architecture, plans) = (Arc::new(architecture), Arc::new(plans));
        Ok(Self { parameters, architecture, plans, stack: None, readout: Readout::default() })
    }

    /// The architecture.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Architectures of the networks of the inputs; none of a published architecture.
    pub fn inputs(&self) -> &[ModelSpec] {
        &self.architecture.inputs
    }

    /// Its layers; none of a published architecture.
    pub fn plans(&self) -> &Plans {
        &self.plans
    }

    /// The numbers.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// The numbers, for loading and training.
    pub fn parameters_mut(&mut self) -> &mut Parameters {
        &mut self.parameters
    }

    /// Bases that stand before and after every input, and their code: 0.25 in every channel where sequences shift, zeros that are
    /// part of the first convolution's padding in published architectures.
    pub fn flanks(&self) -> (usize, u8) {
        match &self.stack {
            Some(stack) => (stack.flank, crate::seq::UNKNOWN),
            None => (self.inputs()[0].shift, crate::seq::UNIFORM),
        }
    }

    /// Multiply-adds of convolutions, dense layers and attention for one sequence, the first layer counted on one-hot input.
    pub fn multiply_adds(&self) -> f64 {
        self.stack.as_ref().map_or_else(|| self.plans.multiply_adds(), |stack| stack.products)
    }

    /// Numbers of the widest map of a sequence, which of the DRG network is that of the first layer.
    pub(crate) fn widest(&self) -> usize {
        let first = self.inputs().iter().map(|i| i.padded_length() * i.stem.kernels).max();
        self.stack.as_ref().map_or(first.unwrap_or(1), |stack| stack.widest)
    }

    /// The same network in another float type.
    ///
    /// # Errors
    /// [`crate::Error::DType`] for bytes.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        Ok(Self { parameters: self.parameters.to_dtype(dtype)?, ..self.clone() })
    }

    /// The same network with its numbers on another device, where its forward passes then run.
    ///
    /// # Errors
    /// [`crate::Error::Device`].
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        Ok(Self { parameters: self.parameters.to_device(device)?, ..self.clone() })
    }

    /// A network of an architecture that is related to this one's, in its float type, on its device and with its readout; `values`
    /// gives the numbers of every tensor by its name, in PyTorch's order.
    fn refilled(&self, architecture: Architecture, values: impl Fn(&str) -> Result<Vec<f64>>) -> Result<Self> {
        let (dtype, device) = (self.parameters.dtype(), self.parameters.device());
        // Filled on the host: on a GPU every tensor would take the whole run of numbers there and back.
        let mut made = Self::new(architecture, 0)?.to_dtype(dtype)?;
        made.readout = self.readout.clone();
        for id in 0..made.parameters.entries().len() {
            let numbers = values(&made.parameters.entries()[id].name)?;
            made.parameters.set_torch(id, &numbers)?;
        }
        made.to_device(&device)
    }

    /// The same numbers with other padding of weighted pools.
    pub fn with_pool_padding(&self, padding: PoolPadding) -> Self {
        let mut architecture = (*self.architecture).clone();
        architecture.inputs.iter_mut().for_each(|spec| spec.pool_padding = padding);
        Self { architecture: Arc::new(architecture), ..self.clone() }
    }

    /// The same network with other values read from its profiles by whoever wants one vector a sequence ([`Network::values`]):
    /// predictions, effects of mutations. Without profiles there is nothing to choose.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of weights than bins.
    pub fn with_readout(&self, readout: Readout) -> Result<Self> {
        self.architecture.bins().map_or(Ok(()), |bins| readout.check(bins))?;
        Ok(Self { readout, ..self.clone() })
    }

    /// What is read from its profiles.
    pub fn readout(&self) -> &Readout {
        &self.readout
    }

    /// Number of values that [`Network::values`] gives for a sequence.
    pub fn width(&self) -> usize {
        let tracks = self.architecture.tracks();
        self.architecture.bins().map_or(tracks, |bins| self.readout.values(tracks, bins))
    }

    /// All outputs of [`Network::forward`] side by side, `[N, width]`; profiles as their readout says.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn values(&self, tape: &mut Tape, bound: &Bound, x: &[Var]) -> Result<Var> {
        let mut heads = self.forward(tape, bound, x)?;
        if self.architecture.bins().is_some() {
            heads = heads.iter().map(|y| self.readout.of(tape, y)).collect::<Result<_>>()?;
        }
        match heads.len() {
            1 => Ok(heads.remove(0)),
            _ => ops::concat(tape, &heads.iter().collect::<Vec<_>>()),
        }
    }

    /// Runs the network on packed bases `[N, L]` or numbers `[N, L, 4]` for every input, L its length with both flanks
    /// ([`Network::flanks`]); one result an output, `[N, tracks]`, or `[N, tracks, bins]` of a base-resolution model.
    ///
    /// # Errors
    /// [`Error::Argument`] for another number of inputs; shapes that do not fit, with the layer's path.
    pub fn forward(&self, tape: &mut Tape, bound: &Bound, x: &[Var]) -> Result<Vec<Var>> {
        self.pass(tape, bound, x, None)
    }

    /// As [`Network::forward`], reporting the tensors at the taps (of the given strand, where both are averaged).
    ///
    /// # Errors
    /// As [`Network::forward`]; [`Error::Unsupported`] for an average of models.
    pub fn observed(&self, tape: &mut Tape, bound: &Bound, x: &[Var], observe: Observer) -> Result<Vec<Var>> {
        self.pass(tape, bound, x, Some(observe))
    }

    fn pass(&self, tape: &mut Tape, bound: &Bound, x: &[Var], watch: Option<Observer>) -> Result<Vec<Var>> {
        let expected = self.architecture.lengths().len();
        if x.len() != expected {
            let what = format!("{} sequences for a network of {expected} inputs", x.len());
            return Err(Error::Argument { op: "network", what });
        }
        if let Some(stack) = &self.stack {
            return Ok(vec![stack.forward(tape, bound, &x[0], watch)?]);
        }
        if self.architecture.members > 1 {
            return match watch {
                None => self.mean_of_members(tape, bound, x),
                Some(_) => {
                    let what =
                        "the inside of an average of models; take one of the models that it was made of, as those of \
                                folds, or what drg convert MEAN.drg --member N -o member.drg writes"
                            .into();
                    Err(Error::Unsupported { op: "network", what })
                }
            };
        }
        self.member(tape, bound, x, 0, watch)
    }

    /// The outputs of one member of an average, or of a plain model.
    fn member(
        &self,
        tape: &mut Tape,
        bound: &Bound,
        x: &[Var],
        member: usize,
        mut watch: Option<Observer>,
    ) -> Result<Vec<Var>> {
        let inputs = self.inputs();
        let Some(join) = &self.architecture.join else {
            let heads = self.run(bound, (member, 0), 0).heads(tape, &x[0], Strand::Given, watch)?.0;
            if !inputs[0].average_strands || *tape.mode() != Mode::Eval {
                return Ok(heads);
            }
            return tape.scoped("other_strand", |t| {
                let x = ops::reverse_complement(t, &x[0])?;
                let others = self.run(bound, (member, 0), 0).heads(t, &x, Strand::Other, None)?.0;
                heads.iter().zip(&others).map(|(a, b)| mean(t, a, b)).collect()
            });
        };
        let (mut heads, mut dropouts) = (vec![], 0);
        for (i, x) in x.iter().enumerate() {
            let (found, passed) = tape.scoped(format!("input{i}"), |t| {
                let watch = watch.as_mut().map(|f| &mut **f as Observer);
                self.run(bound, (member, i), dropouts).heads(t, x, Strand::Given, watch)
            })?;
            heads.push(found);
            dropouts = passed;
        }
        if let Some(observe) = &mut watch {
            let all: Vec<&Var> = heads.iter().flatten().collect();
            observe(0, Tap::Joined, &join::side_by_side(tape, &all)?);
        }
        self.join(tape, bound, join, member, &heads, (dropouts, watch))
    }

    /// A pass of the network of one input of a member, behind so many dropout layers.
    fn run<'a>(&'a self, bound: &'a Bound, (member, input): (usize, usize), dropouts: u32) -> Run<'a> {
        let specs = self.inputs();
        let (spec, plan) = (&specs[input], &self.plans.inputs[member * specs.len() + input]);
        Run { parameters: &self.parameters, bound, input, spec, plan, dropouts }
    }
}

/// One forward pass of the network of an input: where the numbers are, and how many dropout layers have passed.
pub(in crate::model) struct Run<'a> {
    parameters: &'a Parameters,
    bound: &'a Bound,
    input: usize,
    spec: &'a ModelSpec,
    plan: &'a Plan,
    dropouts: u32,
}

/// Which strand a network reads; profiles of the other one run backwards.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Strand {
    Given,
    Other,
}

/// Who reads a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::model) enum Readers {
    /// Convolutions and dense layers alone ([`Tape::for_products`]).
    Products,
    /// Anybody.
    Any,
}

impl<'a> Run<'a> {
    /// One output a head, and the dropout layers that have passed.
    fn heads(
        mut self,
        tape: &mut Tape,
        x: &Var,
        strand: Strand,
        mut watch: Option<Observer>,
    ) -> Result<(Vec<Var>, u32)> {
        let (spec, plan, input) = (self.spec, self.plan, self.input);
        let watched = watch.is_some();
        let mut observe = |input: usize, tap: Tap, x: &Var| {
            if let Some(f) = &mut watch {
                f(input, tap, x);
            }
        };
        let mut x = tape.scoped("stem", |t| self.stem(t, x, watched.then_some(&mut observe)))?;
        observe(input, Tap::Pool, &x);
        if let Some(p) = spec.profile.as_ref().map(|p| p.dropout).filter(|&p| p > 0.0) {
            x = self.dropout(tape, x, p)?;
        }
        if let (Some(s), Some(p)) = (&spec.first_block, &plan.first_block) {
            x = tape.scoped("first_block", |t| self.block(t, s, p, x))?;
        }
        observe(input, Tap::FirstBlock, &x);
        if let Some(conv) = &plan.embedding {
            x = tape.scoped("embedding", |t| self.conv(t, conv, &x))?;
        }
        for (i, block) in plan.attention.iter().enumerate() {
            x = tape.scoped(format!("attention{i}"), |t| self.attention(t, block, x))?;
        }
        observe(input, Tap::Attention, &x);
        if let (Some(s), Some(p)) = (&spec.second_block, &plan.second_block) {
            x = tape.scoped("second_block", |t| self.block(t, s, p, x))?;
        }
        observe(input, Tap::SecondBlock, &x);
        if let Some(profile) = &spec.profile {
            let mut outputs = vec![];
            for (i, head) in plan.heads.iter().enumerate() {
                let TracksPlan::Profile(p) = &head.tracks else { unreachable!("every head is a profile") };
                let y = tape.scoped(format!("head{i}"), |t| self.profile(t, profile, p, head.output, &x, strand))?;
                if i == 0 {
                    observe(input, Tap::HeadInput, &y.before);
                }
                outputs.push(y.after);
            }
            return Ok((outputs, self.dropouts));
        }
        let flat = ops::flatten(tape, &x)?;
        drop(x);
        observe(input, Tap::Flat, &flat);
        let mut stacks = vec![];
        if let Some(fc) = &spec.fc {
            for (i, stack) in plan.fc.iter().enumerate() {
                stacks.push(tape.scoped(format!("fc{i}"), |t| self.stack(t, fc, stack, &flat))?);
            }
        }
        observe(input, Tap::HeadInput, stacks.first().unwrap_or(&flat));
        let mut outputs = vec![];
        for (i, head) in plan.heads.iter().enumerate() {
            let x = head.stack.map_or(&flat, |s| &stacks[s]);
            outputs.push(tape.scoped(format!("head{i}"), |t| self.head(t, head, x))?);
        }
        if watched {
            observe(input, Tap::Heads, &join::side_by_side(tape, &outputs.iter().collect::<Vec<_>>())?);
        }
        Ok((outputs, self.dropouts))
    }

    fn head(&self, tape: &mut Tape, head: &HeadPlan, x: &Var) -> Result<Var> {
        let x = match &head.norm {
            Some(n) => self.norm(tape, n, x, Activation::Identity, Readers::Products)?,
            None => x.clone(),
        };
        let dense = head.tracks.dense().expect("a profile has a way of its own");
        let y = self.dense(tape, dense, &x)?;
        match head.output {
            HeadOutput::Linear => Ok(y),
            HeadOutput::Class => ops::activation(tape, &y, Activation::Sigmoid),
            HeadOutput::MultiClass => ops::softmax(tape, &y),
            HeadOutput::Complex => {
                let prefix = dense.name.strip_suffix(".Linear").unwrap_or(&dense.name);
                let prefix = format!("{prefix}.Complex");
                ops::powers(tape, &y, self.var(&prefix, "variables")?, self.var(&prefix, "exponents")?)
            }
            HeadOutput::Function(f) => activate(tape, &y, f),
        }
    }

    fn id(&self, name: &str, part: &str) -> Result<ParamId> {
        self.parameters.id(&format!("{name}.{part}"))
    }

    fn var(&self, name: &str, part: &str) -> Result<&'a Var> {
        Ok(self.bound.var(self.id(name, part)?))
    }

    /// First layer, activation and pool; in one operation unless somebody watches what is between them.
    fn stem(&mut self, tape: &mut Tape, x: &Var, observe: Option<Observer>) -> Result<Var> {
        let (spec, plan) = (&self.spec.stem, &self.plan.stem);
        let strands = match spec.strands {
            None => Strands::Forward,
            Some(StrandPool::Max) => Strands::Max,
            Some(StrandPool::Mean) => Strands::Mean,
            Some(StrandPool::Weighted) => Strands::Weighted,
        };
        let bias = if plan.bias { Some(self.var(&plan.name, "bias")?) } else { None };
        let args = StemArgs::same(plan.width, strands);
        let weight = self.var(&plan.name, "weight")?;
        let pool = self.plan.pool.as_ref().and_then(|p| self.pool_args(p, false));
        if let (true, None, Some(f), Some(pool)) = (tape.fuse, &observe, plain(spec.activation), pool)
            && ops::stem_pool_fits(x, pool)
        {
            return ops::stem_pool(tape, x, weight, bias, args, f, pool);
        }
        let z = ops::stem(tape, x, weight, bias, args)?;
        if let Some(observe) = observe {
            observe(self.input, Tap::Stem, &z);
        }
        let y = activate(tape, &z, spec.activation)?;
        drop(z);
        match &self.plan.pool {
            Some(p) => self.pool(tape, p, &y, false),
            None => Ok(y),
        }
    }

    fn pool(&self, tape: &mut Tape, plan: &PoolPlan, x: &Var, skip: bool) -> Result<Var> {
        if let Some(args) = self.pool_args(plan, skip) {
            return ops::pool(tape, x, args);
        }
        let mut one = |kind| {
            let plan = PoolPlan { kind, ..*plan };
            ops::pool(tape, x, self.pool_args(&plan, skip).expect("a mean or a maximum is one pool"))
        };
        let (mean, max) = (one(PoolName::Mean)?, one(PoolName::Max)?);
        ops::concat(tape, &[&mean, &max])
    }

    /// Arguments of a pool; `None` for mean and maximum side by side.
    fn pool_args(&self, plan: &PoolPlan, skip: bool) -> Option<PoolArgs> {
        let (kind, padding) = match plan.kind {
            // Maximum pools inside skips pad with zeros, as the reference's do.
            PoolName::Max => (PoolKind::Max, if skip { Padding::Zero } else { Padding::Exclude }),
            PoolName::Mean => (PoolKind::Mean, Padding::Exclude),
            PoolName::Weighted => (
                PoolKind::Weighted,
                match self.spec.pool_padding {
                    PoolPadding::Exclude => Padding::Exclude,
                    PoolPadding::SequenceMin => Padding::SequenceMin,
                    PoolPadding::BatchMin => Padding::BatchMin,
                },
            ),
            PoolName::MeanMax => return None,
        };
        Some(PoolArgs { kind, size: plan.size, stride: plan.stride, pad: plan.padding, padding })
    }

    fn bias(&self, plan: &ConvPlan) -> Result<Option<&'a Var>> {
        if plan.bias { self.var(&plan.name, "bias").map(Some) } else { Ok(None) }
    }

    pub(in crate::model) fn conv(&self, tape: &mut Tape, plan: &ConvPlan, x: &Var) -> Result<Var> {
        let (bias, weight) = (self.bias(plan)?, self.var(&plan.name, "weight")?);
        if is_pointwise(plan) {
            return ops::linear(tape, x, weight, bias);
        }
        ops::conv1d(tape, x, weight, bias, conv_args(plan))
    }

    /// A convolution and its residual, in one if the tape fuses.
    fn conv_add(&self, tape: &mut Tape, plan: &ConvPlan, x: &Var, residual: &Var) -> Result<Var> {
        if is_pointwise(plan) || !tape.fuse {
            let y = self.conv(tape, plan, x)?;
            return ops::add(tape, &y, residual);
        }
        ops::conv1d_add(tape, x, self.var(&plan.name, "weight")?, self.bias(plan)?, residual, conv_args(plan))
    }

    fn dense(&self, tape: &mut Tape, plan: &DensePlan, x: &Var) -> Result<Var> {
        let bias = if plan.bias { Some(self.var(&plan.name, "bias")?) } else { None };
        ops::linear(tape, x, self.var(&plan.name, "weight")?, bias)
    }

    /// Batch norm, then an activation: statistics of the batch in training, running ones otherwise and where they are frozen.
    pub(in crate::model) fn norm(
        &self,
        tape: &mut Tape,
        plan: &NormPlan,
        x: &Var,
        f: Activation,
        readers: Readers,
    ) -> Result<Var> {
        let buffer = self.id(&plan.name, "running_mean")?;
        if !matches!(tape.mode(), Mode::Train(_)) || self.parameters.is_frozen(buffer) {
            return self.running(plan, f, readers)?.apply(tape, x);
        }
        let (gamma, beta) = (self.var(&plan.name, "weight")?, self.var(&plan.name, "bias")?);
        let fused = if tape.fuse { f } else { Activation::Identity };
        let one = |t: &mut Tape| ops::batch_norm_activation_train(t, buffer, x, gamma, beta, EPS, fused);
        if fused == f {
            return if readers == Readers::Products { tape.for_products(one) } else { one(tape) };
        }
        let y = one(tape)?;
        ops::activation(tape, &y, f)
    }

    /// The norm with running statistics.
    fn running(&self, plan: &NormPlan, activation: Activation, readers: Readers) -> Result<RunningNorm<'a>> {
        Ok(RunningNorm {
            gamma: self.var(&plan.name, "weight")?,
            beta: self.var(&plan.name, "bias")?,
            mean: &self.var(&plan.name, "running_mean")?.value,
            variance: &self.var(&plan.name, "running_var")?.value,
            eps: EPS,
            activation,
            for_products: readers == Readers::Products,
        })
    }

    fn dropout(&mut self, tape: &mut Tape, x: Var, p: f64) -> Result<Var> {
        self.dropouts += 1;
        ops::dropout(tape, &x, p, self.dropouts)
    }

    pub(in crate::model) fn block(
        &mut self,
        tape: &mut Tape,
        spec: &BlockSpec,
        plan: &BlockPlan,
        x: Var,
    ) -> Result<Var> {
        let mut saved = x.clone();
        let mut x = Stream::Plain(x);
        for (i, layer) in plan.layers.iter().enumerate() {
            // Nobody reads what is saved behind the last skip.
            let read = plan.layers[i + 1..].iter().any(|l| l.skip.is_some());
            let next = plan.layers.get(i + 1).and_then(|next| next.norm.as_ref()).zip(plain(spec.activation));
            let next = next.filter(|_| layer.pool.is_none());
            (x, saved) = tape.scoped(format!("layer{i}"), |t| self.layer(t, spec, layer, (x, saved, read), next))?;
        }
        match x {
            Stream::Plain(x) | Stream::Entered(x) => Ok(x),
        }
    }

    /// A layer of a block: what comes out of it, and what the next skip reads, if any does (`read`). `next` = the norm and
    /// activation with which the next layer begins, which the convolution may bring along.
    fn layer(
        &mut self,
        tape: &mut Tape,
        spec: &BlockSpec,
        layer: &BlockLayerPlan,
        (x, saved, read): (Stream, Var, bool),
        next: Option<(&NormPlan, Activation)>,
    ) -> Result<(Stream, Var)> {
        let h = match x {
            Stream::Entered(h) => h,
            Stream::Plain(x) => self.enter(tape, spec, layer, &x)?,
        };
        let conv = &layer.conv;
        let streams = self.spec.residual == Residual::Stream;
        let (residual, mut saved) = match &layer.skip {
            Some(skip) => (Some(self.skip(tape, skip, saved)?), None),
            None => (None, Some(saved)),
        };
        let whole = tape.fuse && *tape.mode() == Mode::Eval && !spec.concat && !is_pointwise(conv);
        if let Some((norm, f)) = next.filter(|_| whole) {
            // Dropout does nothing but count here.
            self.dropouts += 1;
            let wanted = read && residual.is_some();
            let wanted = Wanted { raw: wanted && !streams, sum: wanted && streams };
            let operands = [&h, self.var(&conv.name, "weight")?];
            let (bias, norm) = (self.bias(conv)?, self.running(norm, f, Readers::Products)?);
            let made = ops::conv1d_norm(tape, operands, bias, residual.as_ref(), conv_args(conv), norm, wanted)?;
            let saved = saved.or(made.raw).or(made.sum).unwrap_or_else(|| made.normed.clone());
            return Ok((Stream::Entered(made.normed), saved));
        }
        let mut y = match &residual {
            None => self.conv(tape, conv, &h)?,
            Some(r) if !spec.concat && (streams || !read) => self.conv_add(tape, conv, &h, r)?,
            Some(r) => {
                let h = self.conv(tape, conv, &h)?;
                let y = if spec.concat { ops::concat(tape, &[&h, r])? } else { ops::add(tape, &h, r)? };
                saved = (!streams).then_some(h);
                y
            }
        };
        drop(h);
        let saved = saved.unwrap_or_else(|| y.clone());
        y = self.dropout(tape, y, spec.dropout)?;
        if let Some(p) = &layer.pool {
            y = self.pool(tape, p, &y, false)?;
        }
        Ok((Stream::Plain(y), saved))
    }

    /// Norm and activation at the beginning of a layer.
    fn enter(&self, tape: &mut Tape, spec: &BlockSpec, layer: &BlockLayerPlan, x: &Var) -> Result<Var> {
        match (&layer.norm, plain(spec.activation)) {
            (Some(n), Some(f)) => self.norm(tape, n, x, f, Readers::Products),
            (Some(n), None) => {
                let h = self.norm(tape, n, x, Activation::Identity, Readers::Any)?;
                activate(tape, &h, spec.activation)
            }
            (None, Some(f)) => tape.for_products(|t| ops::activation(t, x, f)),
            (None, None) => activate(tape, x, spec.activation),
        }
    }

    fn skip(&mut self, tape: &mut Tape, plan: &SkipPlan, mut x: Var) -> Result<Var> {
        if let Some(conv) = &plan.conv {
            x = self.conv(tape, conv, &x)?;
        }
        for p in &plan.pools {
            x = self.pool(tape, p, &x, true)?;
        }
        Ok(x)
    }

    fn attention(&mut self, tape: &mut Tape, plan: &AttentionPlan, x: Var) -> Result<Var> {
        let name = &plan.name;
        let spec = self.spec.attention.as_ref().expect("a plan with attention has its specification");
        let x = match &plan.norm {
            Some(n) => self.norm(tape, n, &x, Activation::Identity, Readers::Any)?,
            None => x,
        };
        let weight = |part: &str| self.var(name, &format!("{part}.weight"));
        let residual =
            if plan.value_dim == plan.inputs { x.clone() } else { ops::linear(tape, &x, weight("reslayer")?, None)? };
        let z = ops::concat(tape, &[&x, &Var::constant(self.var(name, POSITIONS)?.value.repeat(x.shape()[0])?)])?;
        drop(x);
        let q = ops::linear(tape, &z, weight("embed_queries")?, None)?;
        let k = ops::linear(tape, &z, weight("embed_keys")?, None)?;
        let v = ops::linear(tape, &z, weight("embed_values")?, None)?;
        drop(z);
        let args = AttentionArgs { heads: plan.heads, sum_heads: spec.sum_heads };
        let out = weight("combine_layer")?.clone();
        let y = if spec.dropout > 0.0 && *tape.mode() != Mode::Eval {
            let y = ops::attention(tape, &q, &k, &v, None, args)?;
            let y = self.dropout(tape, y, spec.dropout)?;
            ops::linear(tape, &y, &out, None)?
        } else {
            self.dropouts += 1;
            ops::attention(tape, &q, &k, &v, Some(&out), args)?
        };
        drop((q, k, v));
        let y = ops::add(tape, &y, &residual)?;
        let y = self.layer_norm(tape, &format!("{name}.layer_norm"), &y)?;
        let h = self.dropout(tape, y.clone(), spec.dropout)?;
        let h = ops::linear(tape, &h, self.var(name, "feedforward.0.weight")?, None)?;
        let h = tape.for_products(|t| ops::activation(t, &h, Activation::Gelu))?;
        let h = ops::linear(tape, &h, self.var(name, "feedforward.2.weight")?, None)?;
        let y = ops::add(tape, &h, &y)?;
        let y = self.layer_norm(tape, &format!("{name}.feedforward_layer_norm"), &y)?;
        match &plan.pool {
            Some(p) => self.pool(tape, p, &y, false),
            None => Ok(y),
        }
    }

    fn layer_norm(&self, tape: &mut Tape, name: &str, x: &Var) -> Result<Var> {
        ops::layer_norm(tape, x, self.var(name, "weight")?, self.var(name, "bias")?, EPS)
    }

    fn stack(&mut self, tape: &mut Tape, spec: &FcSpec, plan: &FcPlan, flat: &Var) -> Result<Var> {
        let mut x = match &plan.embed {
            Some(d) => self.dense(tape, d, flat)?,
            None => flat.clone(),
        };
        let mut saved = x.clone();
        for (i, layer) in plan.layers.iter().enumerate() {
            (x, saved) = tape.scoped(format!("layer{i}"), |t| {
                let h = match &layer.norm {
                    Some(n) => self.norm(t, n, &x, Activation::Identity, Readers::Products)?,
                    None => x,
                };
                let h = self.dense(t, &layer.dense, &h)?;
                let h = self.dropout(t, h, spec.dropout)?;
                // A dense layer reads it, unless a norm, a skip or, behind the last one, anybody does.
                let next = plan.layers.get(i + 1).filter(|next| next.norm.is_none() && layer.skip.is_none());
                let mut y = match (next, plain(spec.activation)) {
                    (Some(_), Some(f)) => t.for_products(|t| ops::activation(t, &h, f))?,
                    _ => activate(t, &h, spec.activation)?,
                };
                if let Some(d) = &layer.skip {
                    let r = self.dense(t, d, &saved)?;
                    y = ops::add(t, &y, &r)?;
                    saved = y.clone();
                }
                Ok((y, saved))
            })?;
        }
        Ok(x)
    }
}

/// What passes from layer to layer of a block.
enum Stream {
    /// The output of a layer.
    Plain(Var),
    /// Behind the norm and activation with which the next layer begins.
    Entered(Var),
}

fn conv_args(plan: &ConvPlan) -> Conv1dArgs {
    Conv1dArgs { kernel: plan.width, stride: plan.stride, dilation: plan.dilation, pad: plan.padding }
}

/// `(a + b) / 2`.
fn mean(tape: &mut Tape, a: &Var, b: &Var) -> Result<Var> {
    let sum = ops::add(tape, a, b)?;
    average::scaled(tape, &sum, &[0.5])
}

/// The activation of a name, except softmax, which is no element-wise function.
fn plain(name: ActivationName) -> Option<Activation> {
    if name == ActivationName::Softmax { None } else { Activation::parse(name.name()).ok() }
}

fn activate(tape: &mut Tape, x: &Var, name: ActivationName) -> Result<Var> {
    match plain(name) {
        Some(f) => ops::activation(tape, x, f),
        None => ops::softmax(tape, x),
    }
}

fn is_pointwise(conv: &ConvPlan) -> bool {
    conv.width == 1 && conv.stride == 1 && conv.padding == (0, 0)
}

#[cfg(test)]
mod tests;
