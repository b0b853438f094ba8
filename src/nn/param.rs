//! The numbers of a model: one flat run of trainable values, one of buffers, and where each named tensor lies.
//!
//! Names and order are those of the PyTorch state dict; inside, every tensor has the layout that its operation wants
//! ([`Layout`]). [`Parameters::set_torch`] and [`Parameters::to_torch`] are the only converters.

use std::collections::HashMap;

use crate::device::Device;
use crate::error::{Error, Result, hint};
use crate::real;
use crate::tape::{Tape, Var};
use crate::tensor::{DType, Real, Tensor, Typed};
use crate::util::philox::Philox;

/// How a tensor's PyTorch order relates to ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The same.
    Plain,
    /// `[O, C, k]` (or `[O, C, 1, k]`) there, `[k, C, O]` here.
    Conv,
    /// A convolution on bases whose channels have another order there: channel `c` there is base `bases[c]` here.
    Bases([usize; 4]),
    /// `[O, F]` (or `[O, F, 1]`) there, `[F, O]` here.
    Dense,
    /// A dense layer behind a flattened map: column `c * l + p` there, row `p * C + c` here. Also a vector over such a map.
    Flattened {
        /// Positions of the map.
        length: usize,
        /// Its channels.
        channels: usize,
    },
}

/// What a tensor is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Trained.
    Parameter,
    /// A running statistic.
    Buffer,
    /// A count of batches.
    Counter,
}

/// How a tensor starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Initial {
    /// Uniform in `(-bound, bound)`.
    Uniform(f64),
    /// One value everywhere.
    Constant(f64),
}

/// One named tensor.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Name in the state dict.
    pub name: String,
    /// Shape there.
    pub torch_shape: Vec<usize>,
    /// Shape here.
    pub shape: Vec<usize>,
    /// Relation of the two orders.
    pub layout: Layout,
    /// What it is for.
    pub kind: Kind,
    /// Where it starts in the run of its kind.
    pub offset: usize,
}

impl Entry {
    /// Number of elements.
    pub fn len(&self) -> usize {
        self.torch_shape.iter().product()
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Handle of a tensor in [`Parameters`]: its number in the order of the state dict.
pub type ParamId = usize;

/// All tensors of a model.
#[derive(Clone, Debug)]
pub struct Parameters {
    entries: Vec<Entry>,
    by_name: HashMap<String, ParamId>,
    /// Trainable values `[P]`.
    values: Tensor,
    /// Running statistics `[B]`.
    buffers: Tensor,
    /// Counts of batches.
    counters: Vec<i64>,
    /// Whether training leaves a tensor alone, in the order of the state dict.
    frozen: Vec<bool>,
}

/// The tensors of a model as a tape sees them: leaves while they are trained, constants otherwise.
#[derive(Clone, Debug)]
pub struct Bound(Vec<Var>);

impl Bound {
    /// A tensor.
    pub fn var(&self, id: ParamId) -> &Var {
        &self.0[id]
    }

    /// All tensors, in the order of the state dict.
    pub fn vars(&self) -> &[Var] {
        &self.0
    }
}

/// Collects tensors before their numbers are laid out.
#[derive(Debug, Default)]
pub struct Builder {
    entries: Vec<Entry>,
    initial: Vec<Initial>,
    sizes: [usize; 3],
}

impl Builder {
    /// Adds a tensor of the state dict.
    pub fn push(&mut self, name: &str, torch_shape: &[usize], layout: Layout, kind: Kind, initial: Initial) -> ParamId {
        let shape = match layout {
            Layout::Plain => torch_shape.to_vec(),
            Layout::Conv | Layout::Bases(_) => vec![torch_shape[torch_shape.len() - 1], torch_shape[1], torch_shape[0]],
            Layout::Flattened { .. } if torch_shape.len() == 1 => torch_shape.to_vec(),
            Layout::Dense | Layout::Flattened { .. } => vec![torch_shape[1], torch_shape[0]],
        };
        let offset = &mut self.sizes[kind as usize];
        let entry =
            Entry { name: name.into(), torch_shape: torch_shape.to_vec(), shape, layout, kind, offset: *offset };
        *offset += entry.len();
        self.entries.push(entry);
        self.initial.push(initial);
        self.entries.len() - 1
    }

    /// Lays the numbers out and draws them: each tensor has a random stream of its own, numbered by its place, in PyTorch
    /// order, so a layout changes no value.
    pub fn finish(self, dtype: DType, seed: u64) -> Result<Parameters> {
        const PURPOSE: u64 = 0x1217_0000;
        let by_name = self.entries.iter().enumerate().map(|(i, e)| (e.name.clone(), i)).collect();
        let mut parameters = Parameters {
            by_name,
            values: Tensor::zeros(dtype, &[self.sizes[0]])?,
            buffers: Tensor::zeros(dtype, &[self.sizes[1]])?,
            counters: vec![0; self.sizes[2]],
            frozen: vec![false; self.entries.len()],
            entries: self.entries,
        };
        for (id, initial) in self.initial.into_iter().enumerate() {
            let n = parameters.entries[id].len();
            let numbers: Vec<f64> = match initial {
                Initial::Constant(v) => vec![v; n],
                Initial::Uniform(bound) => {
                    let mut r = Philox::new(seed, PURPOSE + id as u64);
                    (0..n).map(|_| f64::from((bound * (2.0 * r.uniform() - 1.0)) as f32)).collect()
                }
            };
            parameters.set_torch(id, &numbers)?;
        }
        Ok(parameters)
    }
}

impl Parameters {
    /// The tensors, in the order of the state dict.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Element type of the values.
    pub fn dtype(&self) -> DType {
        self.values.dtype()
    }

    /// Number of a tensor.
    ///
    /// # Errors
    /// [`Error::Usage`] with the nearest name.
    pub fn id(&self, name: &str) -> Result<ParamId> {
        self.by_name.get(name).copied().ok_or_else(|| {
            let hint = hint(name, self.entries.iter().map(|e| e.name.as_str()));
            Error::Usage(format!("the model has no tensor '{name}'{hint}"))
        })
    }

    /// All trainable values, `[P]`.
    pub fn values(&self) -> &Tensor {
        &self.values
    }

    /// All trainable values for an optimiser's step.
    pub fn values_mut(&mut self) -> &mut Tensor {
        debug_assert_eq!(self.values.owners(), 1, "a tape still holds the parameters: the step would copy them");
        &mut self.values
    }

    /// Running statistics, `[B]`.
    pub fn buffers(&self) -> &Tensor {
        &self.buffers
    }

    /// Running statistics for an update.
    pub fn buffers_mut(&mut self) -> &mut Tensor {
        &mut self.buffers
    }

    /// Counts of batches.
    pub fn counters(&self) -> &[i64] {
        &self.counters
    }

    /// Counts of batches for an update.
    pub fn counters_mut(&mut self) -> &mut [i64] {
        &mut self.counters
    }

    /// Freezes these tensors and no others: they are constants of every tape, so nothing computes gradients for them. With the
    /// weight of a batch norm, or with one of its statistics, all its statistics are frozen, and it uses them in training, too.
    pub fn freeze(&mut self, ids: &[ParamId]) {
        self.frozen = (0..self.entries.len()).map(|id| ids.contains(&id)).collect();
        for id in 0..self.entries.len() {
            let Some(norm) = self.entries[id].name.strip_suffix(".running_mean") else { continue };
            let part = |part: &str| self.by_name.get(&format!("{norm}.{part}")).copied();
            let statistics = [Some(id), part("running_var"), part("num_batches_tracked")];
            if statistics.iter().chain([&part("weight")]).flatten().any(|&id| self.frozen[id]) {
                statistics.iter().flatten().for_each(|&id| self.frozen[id] = true);
            }
        }
    }

    /// Whether training leaves a tensor alone ([`Parameters::freeze`]).
    pub fn is_frozen(&self, id: ParamId) -> bool {
        self.frozen[id]
    }

    /// The trainable tensors, and whether each is frozen.
    fn trainable(&self) -> impl Iterator<Item = (&Entry, bool)> {
        self.entries.iter().zip(self.frozen.iter().copied()).filter(|(e, _)| e.kind == Kind::Parameter)
    }

    /// Moves running means and variances towards those of a batch, `share` of the way, in order of appearance, and counts the
    /// batch. `stats` is [`Tape::stats`] of its pass.
    ///
    /// # Errors
    /// Those of [`Tensor::blend`].
    pub fn follow(&mut self, stats: &[(ParamId, Tensor, Tensor)], share: f64) -> Result<()> {
        for (buffer, mean, variance) in stats {
            // The state dict lists running_mean, running_var, num_batches_tracked.
            for (id, new) in [(*buffer, mean), (buffer + 1, variance)] {
                self.buffers.blend(self.entries[id].offset, new, share)?;
            }
            self.counters[self.entries[buffer + 2].offset] += 1;
        }
        Ok(())
    }

    /// A tensor in our layout; nothing is copied.
    ///
    /// # Errors
    /// [`Error::Usage`] for a counter, which is no tensor here.
    pub fn tensor(&self, id: ParamId) -> Result<Tensor> {
        let e = &self.entries[id];
        match e.kind {
            Kind::Parameter => self.values.view(e.offset, &e.shape),
            Kind::Buffer => self.buffers.view(e.offset, &e.shape),
            Kind::Counter => Err(Error::Usage(format!("'{}' is a counter", e.name))),
        }
    }

    /// The tensors for a forward pass: trainable ones that are not frozen become leaves of the tape if `train`.
    ///
    /// # Errors
    /// None in practice: views of what the builder laid out.
    pub fn bind(&self, tape: &mut Tape, train: bool) -> Result<Bound> {
        let empty = Tensor::zeros(self.dtype(), &[0])?;
        self.entries
            .iter()
            .enumerate()
            .map(|(id, e)| match e.kind {
                Kind::Parameter if train && !self.frozen[id] => Ok(tape.leaf(self.tensor(id)?)),
                Kind::Counter => Ok(Var::constant(empty.clone())),
                _ => Ok(Var::constant(self.tensor(id)?)),
            })
            .collect::<Result<_>>()
            .map(Bound)
    }

    /// Gradients of the leaves (as [`Tape::backward`] returns them for [`Parameters::leaves`]) as one flat run `[P]`; zero where
    /// none came. The second value says for every trainable tensor whether one came.
    ///
    /// # Errors
    /// [`Error::DType`] if they are of another type.
    pub fn flat_gradient<T: Real>(&self, grads: &[Option<Tensor>]) -> Result<(Vec<T>, Vec<bool>)> {
        let mut flat = crate::tensor::zeros::<T>(self.values.len());
        let mut came = vec![];
        let mut grads = grads.iter();
        for (e, frozen) in self.trainable() {
            let g = if frozen { None } else { grads.next().and_then(Option::as_ref) };
            came.push(g.is_some());
            if let Some(g) = g {
                flat[e.offset..e.offset + e.len()].copy_from_slice(g.to_cpu()?.cpu::<T>()?);
            }
        }
        Ok((flat, came))
    }

    /// Gradients of the leaves, one for every trainable tensor, as an optimiser takes them: none for those that are frozen.
    pub fn gradients(&self, leaves: Vec<Option<Tensor>>) -> Vec<Option<Tensor>> {
        let mut leaves = leaves.into_iter();
        self.trainable().map(|(_, frozen)| if frozen { None } else { leaves.next().flatten() }).collect()
    }

    /// The nodes of the trainable tensors of a binding that are not frozen, in order.
    pub fn leaves(&self, bound: &Bound) -> Vec<usize> {
        self.entries
            .iter()
            .zip(&bound.0)
            .filter(|(e, _)| e.kind == Kind::Parameter)
            .filter_map(|(_, v)| v.node)
            .collect()
    }

    /// A tensor's numbers in PyTorch order.
    ///
    /// # Panics
    /// If a GPU that holds them does not hand them over.
    pub fn to_torch(&self, id: ParamId) -> Vec<f64> {
        let e = &self.entries[id];
        match e.kind {
            Kind::Counter => self.counters[e.offset..e.offset + e.len()].iter().map(|&v| v as f64).collect(),
            Kind::Parameter | Kind::Buffer => {
                let run = if e.kind == Kind::Parameter { &self.values } else { &self.buffers };
                let part = run.view(e.offset, &e.shape).expect("the builder laid the tensor out");
                permuted(e, &part.to_cpu().expect("a copy from the GPU").to_f64(), false)
            }
        }
    }

    /// Any run of numbers that is laid out like a trainable tensor (a gradient, a moment), in PyTorch order.
    pub fn like_torch(&self, id: ParamId, ours: &[f64]) -> Vec<f64> {
        permuted(&self.entries[id], ours, false)
    }

    /// Sets a tensor from numbers in PyTorch order. On a GPU the whole run goes to the host and back.
    ///
    /// # Errors
    /// [`Error::Shape`] if their number differs, [`Error::Device`].
    pub fn set_torch(&mut self, id: ParamId, torch: &[f64]) -> Result<()> {
        let e = self.entries[id].clone();
        if torch.len() != e.len() {
            return Err(Error::Shape {
                op: "parameters",
                arg: "tensor",
                expected: format!("{:?} for '{}'", e.torch_shape, e.name),
                found: vec![torch.len()],
            });
        }
        let ours = permuted(&e, torch, true);
        let place = match e.kind {
            Kind::Counter => {
                for (c, v) in self.counters[e.offset..].iter_mut().zip(ours) {
                    *c = v as i64;
                }
                return Ok(());
            }
            Kind::Parameter => &mut self.values,
            Kind::Buffer => &mut self.buffers,
        };
        let (dtype, device) = (Typed(place.dtype()), place.device());
        if device.is_gpu() {
            *place = place.to_cpu()?;
        }
        real!("parameters", dtype, T => {
            for (p, v) in place.cpu_mut::<T>()?[e.offset..].iter_mut().zip(ours) {
                *p = <T as crate::util::math::Float>::of(v);
            }
            Ok(())
        })?;
        if device.is_gpu() {
            *place = place.to_device(&device)?;
        }
        Ok(())
    }

    /// The same numbers on another device.
    ///
    /// # Errors
    /// [`Error::Device`]; [`Error::DType`] for f64, in which GPUs do not compute here.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        let (values, buffers) = (self.values.to_device(device)?, self.buffers.to_device(device)?);
        Ok(Self { values, buffers, ..self.clone() })
    }

    /// Where the numbers are.
    pub fn device(&self) -> Device {
        self.values.device()
    }

    /// The same model in another float type.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        Ok(Self { values: self.values.to_dtype(dtype)?, buffers: self.buffers.to_dtype(dtype)?, ..self.clone() })
    }
}

/// Turns PyTorch order into ours (`inward`) or back.
fn permuted(e: &Entry, from: &[f64], inward: bool) -> Vec<f64> {
    let place: Box<dyn Fn(usize) -> usize> = match e.layout {
        Layout::Plain => return from.to_vec(),
        Layout::Conv => {
            let (o, c, k) = (e.torch_shape[0], e.torch_shape[1], e.shape[0]);
            Box::new(move |i| (i % k * c + i / k % c) * o + i / (k * c))
        }
        Layout::Bases(bases) => {
            let (o, k) = (e.torch_shape[0], e.shape[0]);
            Box::new(move |i| (i % k * 4 + bases[i / k % 4]) * o + i / (k * 4))
        }
        Layout::Dense => {
            let (o, f) = (e.torch_shape[0], e.torch_shape[1]);
            Box::new(move |i| i % f * o + i / f)
        }
        Layout::Flattened { length, channels } => {
            let (o, f) = match e.torch_shape[..] {
                [f] => (1, f),
                _ => (e.torch_shape[0], e.torch_shape[1]),
            };
            Box::new(move |i| {
                let (row, column) = (i / f, i % f);
                ((column % length) * channels + column / length) * o + row
            })
        }
    };
    let mut to = vec![0.0; from.len()];
    for i in 0..from.len() {
        if inward {
            to[place(i)] = from[i];
        } else {
            to[i] = from[place(i)];
        }
    }
    to
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_door_turns_both_ways() {
        let mut b = Builder::default();
        let conv = b.push("c.weight", &[2, 3, 4], Layout::Conv, Kind::Parameter, Initial::Uniform(0.5));
        let flat = b.push(
            "f.weight",
            &[2, 6],
            Layout::Flattened { length: 2, channels: 3 },
            Kind::Parameter,
            Initial::Constant(0.0),
        );
        let mean = b.push("n.running_mean", &[3], Layout::Plain, Kind::Buffer, Initial::Constant(1.0));
        let count = b.push("n.num_batches_tracked", &[], Layout::Plain, Kind::Counter, Initial::Constant(7.0));
        let mut p = b.finish(DType::F32, 1).unwrap();
        let numbers: Vec<f64> = (0..24).map(f64::from).collect();
        p.set_torch(conv, &numbers).unwrap();
        assert_eq!(p.to_torch(conv), numbers);
        // [o=1, c=2, k=3] -> [k=3, c=2, o=1]
        assert_eq!(p.tensor(conv).unwrap().cpu::<f32>().unwrap()[(3 * 3 + 2) * 2 + 1], 12.0 + 2.0 * 4.0 + 3.0);
        p.set_torch(flat, &numbers[..12]).unwrap();
        // row 1, channel 2, position 1
        assert_eq!(p.tensor(flat).unwrap().cpu::<f32>().unwrap()[(3 + 2) * 2 + 1], 6.0 + 2.0 * 2.0 + 1.0);
        assert_eq!(p.to_torch(flat), numbers[..12]);
        assert_eq!((p.to_torch(mean), p.to_torch(count)), (vec![1.0; 3], vec![7.0]));
        assert!(p.set_torch(mean, &[1.0]).is_err());
        let mut b = Builder::default();
        let bases = Layout::Bases([0, 2, 1, 3]);
        let stem = b.push("s.weight", &[2, 4, 1, 3], bases, Kind::Parameter, Initial::Uniform(0.5));
        let mut q = b.finish(DType::F32, 1).unwrap();
        q.set_torch(stem, &numbers).unwrap();
        assert_eq!(q.to_torch(stem), numbers);
        // [o=1, c=1, k=2] is base 2.
        assert_eq!(q.tensor(stem).unwrap().shape(), [3, 4, 2]);
        assert_eq!(q.tensor(stem).unwrap().cpu::<f32>().unwrap()[(2 * 4 + 2) * 2 + 1], 12.0 + 3.0 + 2.0);
        assert!(p.id("n.running_maen").unwrap_err().to_string().contains("'n.running_mean'"));
    }

    #[test]
    fn frozen_tensors_are_constants() {
        let mut b = Builder::default();
        let mut push = |name: &str, kind| b.push(name, &[2], Layout::Plain, kind, Initial::Constant(1.0));
        for (name, kind) in [
            ("n.weight", Kind::Parameter),
            ("n.bias", Kind::Parameter),
            ("n.running_mean", Kind::Buffer),
            ("n.running_var", Kind::Buffer),
            ("w", Kind::Parameter),
        ] {
            push(name, kind);
        }
        b.push("n.num_batches_tracked", &[], Layout::Plain, Kind::Counter, Initial::Constant(0.0));
        let mut p = b.finish(DType::F32, 1).unwrap();
        let frozen = |p: &Parameters| (0..6).filter(|&id| p.is_frozen(id)).collect::<Vec<_>>();
        for (ids, expected) in
            [(&[0][..], &[0, 2, 3, 5][..]), (&[3], &[2, 3, 5]), (&[1], &[1]), (&[4, 5], &[2, 3, 4, 5]), (&[], &[])]
        {
            p.freeze(ids);
            assert_eq!(frozen(&p), expected);
        }
        p.freeze(&[1]);
        let mut tape = Tape::new(crate::tape::Keep::BACKWARD, crate::tape::Mode::Eval);
        let bound = p.bind(&mut tape, true).unwrap();
        assert_eq!((tape.len(), p.leaves(&bound).len(), bound.var(1).node), (2, 2, None));
        let one = |v: f32| Some(Tensor::new(&[2], vec![v; 2]).unwrap());
        let (flat, came) = p.flat_gradient::<f32>(&[one(3.0), one(5.0)]).unwrap();
        assert_eq!((flat, came), (vec![3.0, 3.0, 0.0, 0.0, 5.0, 5.0], vec![true, false, true]));
        let all = p.gradients(vec![one(3.0), None]);
        assert_eq!(all.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false]);
    }

    #[test]
    fn running_statistics_follow_batches() {
        let mut b = Builder::default();
        for layer in ["a", "b"] {
            for (name, initial) in [("running_mean", 0.0), ("running_var", 1.0)] {
                let initial = Initial::Constant(initial);
                b.push(&format!("{layer}.{name}"), &[2], Layout::Plain, Kind::Buffer, initial);
            }
            let counter = format!("{layer}.num_batches_tracked");
            b.push(&counter, &[], Layout::Plain, Kind::Counter, Initial::Constant(3.0));
        }
        let mut p = b.finish(DType::F64, 1).unwrap();
        let tensor = |v: [f64; 2]| Tensor::new(&[2], v.to_vec()).unwrap();
        let id = p.id("b.running_mean").unwrap();
        // A layer that is used twice follows twice.
        let stats = [(id, tensor([4.0, 8.0]), tensor([5.0, 9.0])), (id, tensor([1.0, 2.0]), tensor([2.0, 2.0]))];
        p.follow(&stats, 0.5).unwrap();
        let all: Vec<_> = (0..6).map(|id| p.to_torch(id)).collect();
        assert_eq!(all[..3], [vec![0.0; 2], vec![1.0; 2], vec![3.0]]);
        assert_eq!(all[3..], [vec![1.5, 3.0], vec![2.5, 3.5], vec![5.0]]);
    }

    #[test]
    fn the_door_of_a_gpu() {
        for gpu in crate::tape::check::gpus() {
            let mut b = Builder::default();
            for name in ["a", "b"] {
                b.push(name, &[2, 3, 4], Layout::Conv, Kind::Parameter, Initial::Uniform(0.5));
            }
            let mean = b.push("mean", &[3], Layout::Plain, Kind::Buffer, Initial::Constant(1.0));
            let p = b.finish(DType::F32, 1).unwrap();
            let mut there = p.to_device(&Device::Cuda(gpu.clone())).unwrap();
            let numbers: Vec<f64> = (0..24).map(f64::from).collect();
            there.set_torch(1, &numbers).unwrap();
            there.set_torch(mean, &[1.0, 2.0, 3.0]).unwrap();
            assert!(there.values().gpu().is_some() && there.buffers().gpu().is_some());
            assert_eq!((there.to_torch(0), there.to_torch(1)), (p.to_torch(0), numbers));
            assert_eq!(there.to_torch(mean), [1.0, 2.0, 3.0]);
            let grads = [None, Some(there.tensor(1).unwrap())];
            let (flat, came) = there.flat_gradient::<f32>(&grads).unwrap();
            assert_eq!(came, [false, true]);
            assert_eq!(flat[..24], [0.0; 24]);
            assert_eq!(flat[24..], *there.tensor(1).unwrap().to_cpu().unwrap().cpu::<f32>().unwrap());
        }
    }
}
