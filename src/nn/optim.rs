//! Optimisers with PyTorch's semantics: SGD, Adagrad, Adadelta, Adam, AdamW, Amsgrad, NAdam.
//!
//! g = gradient, w = value, d = weight decay, r = learning rate, t = number of the step (from 1), e = 1e-8. All but AdamW
//! begin with `g += d w`; AdamW with `w -= r d w`.
//!
//! | rule | update |
//! |---|---|
//! | SGD | `v = m v + g` (v = g at first); `w -= r v`, with Nesterov `w -= r (g + m v)`, without momentum `w -= r g` |
//! | Adagrad | `s += g²; w -= r / (1 + (t - 1) decay) * g / (sqrt(s) + e)` |
//! | Adadelta | `s = rho s + (1 - rho) g²; u = sqrt(a + e) / sqrt(s + e) g; a = rho a + (1 - rho) u²; w -= r u` |
//! | Adam, AdamW | `m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g²; w -= r / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + e)` |
//! | Amsgrad | as AdamW with the largest v so far |
//! | NAdam | as Adam with Nesterov momentum `b1 (1 - 0.96^(t decay) / 2)` (Dozat 2016) |
//!
//! A tensor that gets no gradient in a step is left alone, its decay and its count of steps too. Arithmetic is in the type of
//! the values and in the order of PyTorch's per-tensor CPU code; every element is computed alone, so threads change no bit,
//! and a GPU, which does the same arithmetic for all tensors in one launch, has the bits of a CPU with fused multiply-adds.

mod cuda;

use std::sync::Arc;

use crate::device::Device;
use crate::error::{Error, Result, hint};
use crate::nn::param::{Kind, Parameters};
use crate::real;
use crate::tensor::{Real, Tensor};
use crate::util::par;
use crate::util::simd::dispatch;

/// Keeps denominators away from zero.
const EPSILON: f64 = 1e-8;

/// Elements that one task updates.
const CHUNK: usize = 1 << 15;

/// The formula of a step, with its own parameters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// `torch.optim.SGD`
    Sgd {
        /// Memory of the gradient; 0 = none.
        momentum: f64,
        /// Look ahead along it.
        nesterov: bool,
    },
    /// `torch.optim.Adagrad`
    Adagrad {
        /// Decay of the learning rate.
        lr_decay: f64,
    },
    /// `torch.optim.Adadelta`
    Adadelta {
        /// Memory of squares.
        rho: f64,
    },
    /// `torch.optim.Adam`, `torch.optim.AdamW`
    Adam {
        /// Memory of the gradient and of its square.
        betas: (f64, f64),
        /// Weight decay shrinks the values instead of entering the gradient (AdamW).
        decoupled: bool,
        /// Never forget the largest square.
        amsgrad: bool,
    },
    /// `torch.optim.NAdam`
    NAdam {
        /// Memory of the gradient and of its square.
        betas: (f64, f64),
        /// Decay of the momentum.
        momentum_decay: f64,
    },
}

impl Rule {
    /// Names of the runs of numbers that it may remember.
    fn slots(self) -> &'static [&'static str] {
        match self {
            Self::Sgd { .. } => &["momentum"],
            Self::Adagrad { .. } => &["sum"],
            Self::Adadelta { .. } => &["square", "step"],
            Self::Adam { amsgrad: false, .. } | Self::NAdam { .. } => &["mean", "square"],
            Self::Adam { .. } => &["mean", "square", "largest"],
        }
    }
}

/// One trainable tensor.
#[derive(Clone, Debug)]
struct Piece {
    len: usize,
    group: usize,
    steps: u64,
    /// NAdam's product of momenta, kept in f32 as PyTorch does.
    product: f32,
}

/// What an optimiser remembers, for resuming.
#[derive(Clone, Debug)]
pub struct OptimizerState {
    /// Runs of numbers `[P]` by name, laid out like the values.
    pub slots: Vec<(String, Tensor)>,
    /// Steps of every trainable tensor.
    pub steps: Vec<i64>,
    /// NAdam's product of momenta of every trainable tensor.
    pub products: Vec<f32>,
}

/// Changes the values of a model against their gradients.
#[derive(Clone, Debug)]
pub struct Optimizer {
    rule: Rule,
    weight_decay: f64,
    pieces: Vec<Piece>,
    slots: Vec<Tensor>,
    /// What the blocks of a GPU do.
    chunks: Arc<[i32]>,
}

impl Optimizer {
    /// An optimiser for `parameters` that remembers nothing yet. `group` says for the name of a trainable tensor which of the
    /// learning rates given to [`Optimizer::step`] is its own.
    pub fn new(rule: Rule, weight_decay: f64, parameters: &Parameters, group: impl Fn(&str) -> usize) -> Self {
        let trained = parameters.entries().iter().filter(|e| e.kind == Kind::Parameter);
        let pieces: Vec<Piece> =
            trained.map(|e| Piece { len: e.len(), group: group(&e.name), steps: 0, product: 1.0 }).collect();
        let chunks = cuda::chunks(pieces.iter().map(|p| p.len));
        Self { rule, weight_decay, pieces, slots: vec![], chunks }
    }

    /// Sets the momentum of SGD, or the first beta of Adam and its kin.
    ///
    /// # Errors
    /// [`Error::Usage`] for a rule that has none.
    pub fn set_momentum(&mut self, value: f64) -> Result<()> {
        match &mut self.rule {
            Rule::Sgd { momentum, .. } => *momentum = value,
            Rule::Adam { betas, .. } | Rule::NAdam { betas, .. } => betas.0 = value,
            other => return Err(Error::Usage(format!("{other:?} has no momentum that a schedule could change"))),
        }
        Ok(())
    }

    /// Changes the values. `grads` holds one gradient for every trainable tensor, as [`crate::tape::Tape::backward`] returns
    /// them; `rates` one learning rate for every group.
    ///
    /// # Errors
    /// [`Error::Shape`] or [`Error::DType`] if gradients do not fit the parameters.
    pub fn step(&mut self, parameters: &mut Parameters, grads: &[Option<Tensor>], rates: &[f64]) -> Result<()> {
        if grads.len() != self.pieces.len() {
            let expected = format!("{} gradients", self.pieces.len());
            return Err(Error::Shape { op: "optimizer", arg: "grads", expected, found: vec![grads.len()] });
        }
        let (dtype, n, device) = (parameters.dtype(), parameters.values().len(), parameters.device());
        let idle = matches!(self.rule, Rule::Sgd { momentum: 0.0, .. });
        for slot in &mut self.slots {
            *slot = slot.to_device(&device)?;
        }
        while !idle && self.slots.len() < self.rule.slots().len() {
            self.slots.push(match &device {
                Device::Cpu => Tensor::zeros(dtype, &[n])?,
                Device::Cuda(gpu) => Tensor::zeros_on(gpu, dtype, &[n])?,
            });
        }
        if let Device::Cuda(gpu) = &device {
            let steps = self.steps::<f32>(grads, rates)?;
            let lengths = self.pieces.iter().map(|p| p.len);
            return cuda::step(gpu, &self.chunks, lengths, &steps, grads, parameters.values_mut(), &mut self.slots);
        }
        real!("optimizer", parameters.values(), T => self.step_as::<T>(parameters, grads, rates))
    }

    /// What each tensor with a gradient does, and counts that it does it.
    fn steps<T: Real>(&mut self, grads: &[Option<Tensor>], rates: &[f64]) -> Result<Vec<Option<Step<T>>>> {
        let (rule, weight_decay) = (self.rule, self.weight_decay);
        let each = self.pieces.iter_mut().zip(grads).map(|(piece, grad)| {
            let Some(grad) = grad else { return Ok(None) };
            if grad.len() != piece.len {
                let (expected, found) = (format!("{} numbers", piece.len), grad.shape().to_vec());
                return Err(Error::Shape { op: "optimizer", arg: "gradient", expected, found });
            }
            let rate = rates.get(piece.group).copied().ok_or_else(|| Error::Argument {
                op: "optimizer",
                what: format!("{} learning rates, but a tensor belongs to group {}", rates.len(), piece.group),
            })?;
            piece.steps += 1;
            Ok(Some(Step::new(rule, weight_decay, rate, piece)))
        });
        each.collect()
    }

    fn step_as<T: Real>(&mut self, parameters: &mut Parameters, grads: &[Option<Tensor>], rates: &[f64]) -> Result<()> {
        let steps = self.steps::<T>(grads, rates)?;
        let mut values = parameters.values_mut().cpu_mut::<T>()?;
        let mut slots: [&mut [T]; 3] = [&mut [], &mut [], &mut []];
        for (slice, slot) in slots.iter_mut().zip(&mut self.slots) {
            *slice = slot.cpu_mut::<T>()?;
        }
        let mut work = vec![];
        for ((piece, grad), step) in self.pieces.iter().zip(grads).zip(steps) {
            let w = take(&mut values, piece.len);
            let s = slots.each_mut().map(|s| take(s, piece.len));
            let (Some(grad), Some(step)) = (grad, step) else { continue };
            let [mut a, mut b, mut c] = s;
            for (w, g) in w.chunks_mut(CHUNK).zip(grad.cpu::<T>()?.chunks(CHUNK)) {
                let n = w.len();
                work.push((step, w, g, [take(&mut a, n), take(&mut b, n), take(&mut c, n)]));
            }
        }
        par::each(work, |(step, w, g, s)| step.apply(w, g, s));
        Ok(())
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.slots.clear();
        for piece in &mut self.pieces {
            (piece.steps, piece.product) = (0, 1.0);
        }
    }

    /// Whether all that it remembers is finite.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn is_finite(&self) -> Result<bool> {
        for slot in &self.slots {
            let finite = match slot.gpu() {
                Some(gpu) => cuda::is_finite(gpu, slot)?,
                None => slot.to_f64().iter().all(|v| v.is_finite()),
            };
            if !finite {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What it remembers, in the memory of the host.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn state(&self) -> Result<OptimizerState> {
        let slots = self.rule.slots().iter().zip(&self.slots).map(|(n, s)| Ok((n.to_string(), s.to_cpu()?)));
        Ok(OptimizerState {
            slots: slots.collect::<Result<_>>()?,
            steps: self.pieces.iter().map(|p| p.steps as i64).collect(),
            products: self.pieces.iter().map(|p| p.product).collect(),
        })
    }

    /// Remembers what [`Optimizer::state`] handed out.
    ///
    /// # Errors
    /// [`Error::Usage`] if it belongs to another rule or model.
    pub fn restore(&mut self, state: OptimizerState) -> Result<()> {
        let n: usize = self.pieces.iter().map(|p| p.len).sum();
        for (i, (name, slot)) in state.slots.iter().enumerate() {
            if self.rule.slots().get(i) != Some(&name.as_str()) || slot.len() != n {
                let near = hint(name, self.rule.slots().iter().copied());
                return Err(Error::Usage(format!("the state of an optimiser has no place for '{name}'{near}")));
            }
        }
        if state.steps.len() != self.pieces.len() || state.products.len() != self.pieces.len() {
            let (found, expected) = (state.steps.len(), self.pieces.len());
            return Err(Error::Usage(format!("the state of an optimiser counts {found} tensors, expected {expected}")));
        }
        self.slots = state.slots.into_iter().map(|(_, slot)| slot).collect();
        for (piece, (steps, product)) in self.pieces.iter_mut().zip(state.steps.into_iter().zip(state.products)) {
            (piece.steps, piece.product) = (steps.unsigned_abs(), product);
        }
        Ok(())
    }
}

/// The first `n` elements of what is left, or nothing of an unused slot.
fn take<'a, T>(rest: &mut &'a mut [T], n: usize) -> &'a mut [T] {
    rest.split_off_mut(..n).unwrap_or_default()
}

/// Scalars of one step of one tensor, rounded to the type where PyTorch rounds them.
#[derive(Clone, Copy)]
enum Step<T> {
    Sgd { decay: T, momentum: T, nesterov: bool, first: bool, rate: T },
    Adagrad { decay: T, rate: T },
    Adadelta { decay: T, rho: T, fresh: T, rate: T },
    Adam(Adam<T>),
    NAdam { moments: Adam<T>, gradient: T },
}

#[derive(Clone, Copy)]
struct Adam<T> {
    decay: T,
    shrink: T,
    beta2: T,
    fresh: (T, T),
    /// `sqrt(1 - b2^t)`; for NAdam `1 - b2^t`.
    correction: T,
    rate: T,
    amsgrad: bool,
}

impl<T: Real> Step<T> {
    /// Counts the step's product of momenta, too.
    fn new(rule: Rule, weight_decay: f64, rate: f64, piece: &mut Piece) -> Self {
        let t = piece.steps as f64;
        let decay = T::of(weight_decay);
        let moments = |(b1, b2): (f64, f64), decoupled: bool, correction: f64, rate: f64, amsgrad| Adam {
            decay: if decoupled { T::ZERO } else { decay },
            shrink: T::of(if decoupled { 1.0 - rate * weight_decay } else { 1.0 }),
            beta2: T::of(b2),
            fresh: (T::of(1.0 - b1), T::of(1.0 - b2)),
            correction: T::of(correction),
            rate: T::of(rate),
            amsgrad,
        };
        match rule {
            Rule::Sgd { momentum, nesterov } => {
                let (first, momentum) = (piece.steps == 1, T::of(momentum));
                Self::Sgd { decay, momentum, nesterov, first, rate: T::of(-rate) }
            }
            Rule::Adagrad { lr_decay } => Self::Adagrad { decay, rate: T::of(-rate / (1.0 + (t - 1.0) * lr_decay)) },
            Rule::Adadelta { rho } => {
                Self::Adadelta { decay, rho: T::of(rho), fresh: T::of(1.0 - rho), rate: T::of(-rate) }
            }
            Rule::Adam { betas, decoupled, amsgrad } => {
                let correction = (1.0 - betas.1.powf(t)).sqrt();
                let mut adam = moments(betas, decoupled, correction, rate, amsgrad);
                adam.rate = T::of(-rate / (1.0 - betas.0.powf(t)));
                Self::Adam(adam)
            }
            Rule::NAdam { betas, momentum_decay } => {
                let momentum = |t: f64| betas.0 * (1.0 - 0.5 * 0.96f64.powf(t * momentum_decay));
                let (now, next) = (momentum(t), momentum(t + 1.0));
                piece.product *= now as f32;
                let product = f64::from(piece.product);
                let mut adam = moments(betas, false, 1.0 - betas.1.powf(t), rate, false);
                adam.rate = T::of(-rate * next / (1.0 - product * next));
                Self::NAdam { moments: adam, gradient: T::of(-rate * (1.0 - now) / (1.0 - product)) }
            }
        }
    }

    fn apply(self, w: &mut [T], g: &[T], [a, b, c]: [&mut [T]; 3]) {
        match self {
            Self::Sgd { decay, momentum, nesterov, first, rate } if momentum != T::ZERO => {
                sgd_momentum(w, g, a, [decay, momentum, rate], nesterov, first);
            }
            Self::Sgd { decay, rate, .. } => sgd(w, g, decay, rate),
            Self::Adagrad { decay, rate } => adagrad(w, g, a, decay, rate),
            Self::Adadelta { decay, rho, fresh, rate } => adadelta(w, g, a, b, [decay, rho, fresh, rate]),
            Self::Adam(adam) if adam.amsgrad => amsgrad(w, g, a, b, c, adam),
            Self::Adam(adam) => adam_step(w, g, a, b, adam),
            Self::NAdam { moments, gradient } => nadam(w, g, a, b, moments, gradient),
        }
    }
}

dispatch! {
    fn sgd[I, T: Real](w: &mut [T], g: &[T], decay: T, rate: T) {
        for (w, &g) in w.iter_mut().zip(g) {
            let g = w.fma::<I>(decay, g);
            *w = g.fma::<I>(rate, *w);
        }
    }
}

dispatch! {
    fn sgd_momentum[I, T: Real](w: &mut [T], g: &[T], v: &mut [T], scalars: [T; 3], nesterov: bool, first: bool) {
        let [decay, momentum, rate] = scalars;
        for ((w, &g), v) in w.iter_mut().zip(g).zip(v) {
            let g = w.fma::<I>(decay, g);
            *v = if first { g } else { *v * momentum + g };
            let step = if nesterov { v.fma::<I>(momentum, g) } else { *v };
            *w = step.fma::<I>(rate, *w);
        }
    }
}

dispatch! {
    fn adagrad[I, T: Real](w: &mut [T], g: &[T], sum: &mut [T], decay: T, rate: T) {
        for ((w, &g), sum) in w.iter_mut().zip(g).zip(sum) {
            let g = w.fma::<I>(decay, g);
            *sum = g.fma::<I>(g, *sum);
            *w += rate * g / (sum.sqrt() + T::of(EPSILON));
        }
    }
}

dispatch! {
    fn adadelta[I, T: Real](w: &mut [T], g: &[T], square: &mut [T], step: &mut [T], scalars: [T; 4]) {
        let [decay, rho, fresh, rate] = scalars;
        let e = T::of(EPSILON);
        for (((w, &g), square), step) in w.iter_mut().zip(g).zip(square).zip(step) {
            let g = w.fma::<I>(decay, g);
            *square = (fresh * g).fma::<I>(g, *square * rho);
            let u = (*step + e).sqrt() / (*square + e).sqrt() * g;
            *step = (fresh * u).fma::<I>(u, *step * rho);
            *w = u.fma::<I>(rate, *w);
        }
    }
}

dispatch! {
    fn adam_step[I, T: Real](w: &mut [T], g: &[T], mean: &mut [T], square: &mut [T], adam: Adam<T>) {
        for (((w, &g), mean), square) in w.iter_mut().zip(g).zip(mean).zip(square) {
            let (shrunk, _) = moments::<I, T>(*w, g, mean, square, &adam);
            let below = square.sqrt() / adam.correction + T::of(EPSILON);
            *w = shrunk + adam.rate * *mean / below;
        }
    }
}

dispatch! {
    fn amsgrad[I, T: Real](
        w: &mut [T], g: &[T], mean: &mut [T], square: &mut [T], largest: &mut [T], adam: Adam<T>,
    ) {
        for ((((w, &g), mean), square), largest) in w.iter_mut().zip(g).zip(mean).zip(square).zip(largest) {
            let (shrunk, _) = moments::<I, T>(*w, g, mean, square, &adam);
            *largest = square.at_least(*largest);
            let below = largest.sqrt() / adam.correction + T::of(EPSILON);
            *w = shrunk + adam.rate * *mean / below;
        }
    }
}

dispatch! {
    fn nadam[I, T: Real](w: &mut [T], g: &[T], mean: &mut [T], square: &mut [T], adam: Adam<T>, gradient: T) {
        for (((w, &g), mean), square) in w.iter_mut().zip(g).zip(mean).zip(square) {
            let (shrunk, g) = moments::<I, T>(*w, g, mean, square, &adam);
            let below = (*square / adam.correction).sqrt() + T::of(EPSILON);
            *w = shrunk + gradient * g / below + adam.rate * *mean / below;
        }
    }
}

/// Decays the value and the gradient, and follows both moments: returns value and gradient.
#[inline(always)]
fn moments<I: crate::util::simd::Isa, T: Real>(w: T, g: T, mean: &mut T, square: &mut T, adam: &Adam<T>) -> (T, T) {
    let shrunk = w * adam.shrink;
    let g = w.fma::<I>(adam.decay, g);
    // As `lerp`: from the nearer end.
    let part = adam.fresh.0;
    let (from, part) = if part < T::of(0.5) { (*mean, part) } else { (g, part - T::ONE) };
    *mean = part.fma::<I>(g - *mean, from);
    *square = (adam.fresh.1 * g).fma::<I>(g, *square * adam.beta2);
    (shrunk, g)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::param::{Builder, Initial, Layout};
    use crate::tensor::DType;
    use crate::util::simd::{Isa as _, Level, Portable, at_every_level};

    const N: usize = 41;

    fn parameters(dtype: DType) -> Parameters {
        let mut b = Builder::default();
        for (name, n) in [("w", N), ("unused", 2)] {
            b.push(name, &[n], Layout::Plain, Kind::Parameter, Initial::Constant(0.5));
        }
        let mut p = b.finish(dtype, 1).unwrap();
        let numbers: Vec<f64> = (0..N).map(|i| ((i * 37 % 17) as f64 - 8.0) / 7.0).collect();
        p.set_torch(0, &numbers).unwrap();
        p
    }

    fn gradient(dtype: DType, t: usize) -> Vec<Option<Tensor>> {
        let g: Vec<f64> = (0..N).map(|i| (((i * 29 + t * 13) % 23) as f64 - 11.0) / 9.0).collect();
        vec![Some(Tensor::new(&[N], g).unwrap().to_dtype(dtype).unwrap()), None]
    }

    fn run(rule: Rule, decay: f64, rate: f64, dtype: DType, steps: std::ops::Range<usize>) -> (Parameters, Optimizer) {
        let mut p = parameters(dtype);
        let mut o = Optimizer::new(rule, decay, &p, |name| usize::from(name == "w"));
        for t in steps {
            o.step(&mut p, &gradient(dtype, t), &[f64::NAN, rate]).unwrap();
        }
        (p, o)
    }

    const fn adam(betas: (f64, f64), decoupled: bool, amsgrad: bool) -> Rule {
        Rule::Adam { betas, decoupled, amsgrad }
    }

    /// Rule, weight decay, rate; first three values after five steps of torch 2.11 on the CPU in float64, and
    /// `sum((i + 1) * bits(w[i]) for i in range(32))` of the same in float32 (elements behind the vectorised ones are not fused
    /// there), unless the rule takes roots, which torch leaves to a library that does not round them. The call: `O = torch.optim; w = ((i*37)%17-8)/7 for i in range(41)`, five times
    /// `w.grad = ((i*29+t*13)%23-11)/9; o.step()`.
    #[rustfmt::skip]
    const CASES: &[(Rule, f64, f64, [f64; 3], Option<u64>)] = &[
        // O.SGD(p, 0.03, weight_decay=0.1)
        (Rule::Sgd { momentum: 0.0, nesterov: false }, 0.1, 0.03, [-1.069638131858657, -0.7468586161296669, -0.27166369913734345], Some(0x10612d189a8)),
        // O.SGD(p, 0.03, momentum=0.9, weight_decay=0.1)
        (Rule::Sgd { momentum: 0.9, nesterov: false }, 0.1, 0.03, [-0.9155727308759141, -0.7648078156579526, -0.20702253617665767], Some(0x106148e158f)),
        // O.SGD(p, 0.03, momentum=0.7, nesterov=True)
        (Rule::Sgd { momentum: 0.7, nesterov: true }, 0.0, 0.03, [-0.9941215761904761, -0.8082955476190476, -0.24196518571428569], Some(0x1062c7ae07e)),
        // O.Adagrad(p, 0.03, lr_decay=0.2, weight_decay=0.1, eps=1e-8)
        (Rule::Adagrad { lr_decay: 0.2 }, 0.1, 0.03, [-1.1009499600273769, -0.712450091098257, -0.2970913799450928], None),
        // O.Adadelta(p, 0.5, rho=0.8, weight_decay=0.1, eps=1e-8)
        (Rule::Adadelta { rho: 0.8 }, 0.1, 0.5, [-1.142629730048876, -0.7144070634734174, -0.28576776531344883], None),
        // O.Adam(p, 0.03, betas=(0.8, 0.99), weight_decay=0.1)
        (adam((0.8, 0.99), false, false), 0.1, 0.03, [-1.046620688734457, -0.7172184678102785, -0.2713375684448642], None),
        // O.Adam(p, 0.03, betas=(0.4, 0.99))
        (adam((0.4, 0.99), false, false), 0.0, 0.03, [-1.0764764643844211, -0.7481820274629869, -0.28454327207492625], None),
        // O.AdamW(p, 0.03, weight_decay=0.1)
        (adam((0.9, 0.999), true, false), 0.1, 0.03, [-1.0358534228543521, -0.7120002772309917, -0.2702187488704333], None),
        // O.AdamW(p, 0.03, amsgrad=True)
        (adam((0.9, 0.999), true, true), 0.01, 0.03, [-1.050589336763393, -0.7213752309493138, -0.2741408817057918], None),
        // O.NAdam(p, 0.03, momentum_decay=4e-3, weight_decay=0.1)
        (Rule::NAdam { betas: (0.9, 0.999), momentum_decay: 4e-3 }, 0.1, 0.03, [-1.0803859890357248, -0.7276247647449423, -0.29467265421739475], None),
    ];

    #[test]
    fn steps_of_torch() {
        for &(rule, decay, rate, expected, bits) in CASES {
            let (p, _) = run(rule, decay, rate, DType::F64, 0..5);
            let found = p.to_torch(0);
            for (a, b) in found.iter().zip(expected) {
                assert!((a - b).abs() < 2e-15, "{rule:?}: {a} instead of {b}");
            }
            assert_eq!(p.to_torch(1), [0.5; 2], "a tensor without gradient");
            at_every_level(|level| {
                let (p, _) = run(rule, decay, rate, DType::F32, 0..5);
                let w = p.values().cpu::<f32>().unwrap();
                for (a, b) in w.iter().zip(&found) {
                    assert!((f64::from(*a) - b).abs() < 5e-7, "{rule:?}, {level:?}: {a} instead of {b}");
                }
                if let (true, Some(bits)) = (level > Level::Portable || Portable::FUSED, bits) {
                    let sum: u64 = w[..32].iter().zip(1..).map(|(v, i)| i * u64::from(v.to_bits())).sum();
                    assert_eq!(sum, bits, "{rule:?}, {level:?}: other bits than torch");
                }
            });
        }
    }

    #[test]
    fn a_restored_optimizer_goes_on() {
        for &(rule, decay, rate, ..) in CASES {
            let (whole, _) = run(rule, decay, rate, DType::F32, 0..5);
            let (mut p, first) = run(rule, decay, rate, DType::F32, 0..3);
            let mut o = Optimizer::new(rule, decay, &p, |name| usize::from(name == "w"));
            o.restore(first.state().unwrap()).unwrap();
            for t in 3..5 {
                o.step(&mut p, &gradient(DType::F32, t), &[0.0, rate]).unwrap();
            }
            assert_eq!(p.values().cpu::<f32>().unwrap(), whole.values().cpu::<f32>().unwrap(), "{rule:?}");
            o.reset();
            assert!(o.is_finite().unwrap() && o.state().unwrap().slots.is_empty());
        }
        let (p, o) = run(adam((0.9, 0.999), false, false), 0.0, 0.1, DType::F32, 0..1);
        let mut other = Optimizer::new(Rule::Sgd { momentum: 0.9, nesterov: false }, 0.0, &p, |_| 0);
        assert!(other.restore(o.state().unwrap()).unwrap_err().to_string().contains("no place for 'mean'"));
    }

    #[test]
    fn wrong_gradients_are_refused() {
        let mut p = parameters(DType::F32);
        let mut o = Optimizer::new(Rule::Adadelta { rho: 0.9 }, 0.0, &p, |_| 1);
        let g = gradient(DType::F32, 0);
        assert!(o.step(&mut p, &g[..1], &[0.1]).unwrap_err().to_string().contains("2 gradients"));
        assert!(o.step(&mut p, &g, &[0.1]).unwrap_err().to_string().contains("1 learning rates"));
        assert!(o.step(&mut p, &gradient(DType::F64, 0), &[0.1, 0.1]).is_err());
        assert!(o.set_momentum(0.5).is_err());
    }
    /// Tensors of several chunks and of few numbers, one without a gradient: the bits of a CPU with fused multiply-adds; and a
    /// state goes from a GPU to the CPU and back.
    #[test]
    fn gpus_step_as_the_cpu_does() {
        let sizes = [5, 4097, 3, 10_000, 1];
        let start = || {
            let mut b = Builder::default();
            for (i, n) in sizes.into_iter().enumerate() {
                b.push(&format!("w{i}"), &[n], Layout::Plain, Kind::Parameter, Initial::Uniform(1.0));
            }
            b.finish(DType::F32, 3).unwrap()
        };
        let wave =
            |n: usize, t: usize| (0..n).map(|i| ((i * 29 + t * 13) % 23) as f32 / 9.0 - 1.2).collect::<Vec<f32>>();
        let grads = |t: usize| -> Vec<Option<Tensor>> {
            let some = |i: usize, n: usize| (i != 2 || t == 1).then(|| Tensor::of(&[n], wave(n, t + i)));
            sizes.into_iter().enumerate().map(|(i, n)| some(i, n)).collect()
        };
        for gpu in crate::tape::check::gpus() {
            let device = Device::Cuda(gpu.clone());
            for &(rule, decay, rate, ..) in CASES {
                let (mut cpu, mut there) = (start(), start().to_device(&device).unwrap());
                let new = |p: &Parameters| Optimizer::new(rule, decay, p, |name| usize::from(name != "w1"));
                let (mut a, mut b) = (new(&cpu), new(&there));
                for t in 0..4 {
                    let moved: Vec<Option<Tensor>> =
                        grads(t).iter().map(|g| g.as_ref().map(|g| g.to_gpu(gpu).unwrap())).collect();
                    a.step(&mut cpu, &grads(t), &[rate, rate / 2.0]).unwrap();
                    b.step(&mut there, &moved, &[rate, rate / 2.0]).unwrap();
                    if t == 1 {
                        let mut restored = new(&there);
                        restored.restore(b.state().unwrap()).unwrap();
                        b = restored;
                    }
                }
                let fused = crate::util::simd::level() > Level::Portable || Portable::FUSED;
                let runs = |p: &Parameters, o: &Optimizer| {
                    let state = o.state().unwrap();
                    let slots = state.slots.into_iter().map(|(_, s)| s);
                    slots.chain([p.values().to_cpu().unwrap()]).flat_map(|t| t.to_f64()).collect::<Vec<f64>>()
                };
                let (want, got) = (runs(&cpu, &a), runs(&there, &b));
                if fused {
                    assert_eq!(want, got, "{rule:?}");
                } else {
                    crate::tape::check::nmse("steps", &got, &want, 1e-12);
                }
                assert!(b.is_finite().unwrap());
                let broken: Vec<Option<Tensor>> = sizes
                    .iter()
                    .map(|&n| Some(Tensor::of(&[n], vec![f32::INFINITY; n]).to_gpu(gpu).unwrap()))
                    .collect();
                b.step(&mut there, &broken, &[rate, rate]).unwrap();
                assert_eq!(b.is_finite().unwrap(), b.state().unwrap().slots.is_empty());
                assert!(b.step(&mut there, &grads(1), &[rate, rate]).unwrap_err().to_string().contains("on cpu"));
            }
        }
    }
}
