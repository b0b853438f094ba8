//! The record of a forward pass, and what a sweep over it hands to an operation.
//!
//! Who owns what: a [`Tensor`] shares its buffer and never changes it; a [`Var`] is a tensor and the number of the node that
//! made it, so dropping a `Var` frees its value unless an operation saved it; the [`Tape`] owns the nodes, a node its
//! operation record and what the operation saved. No `Rc`, no global, no tape inside a tensor.
//!
//! Four sweeps run over a tape: forward (recording), [`Tape::backward`], [`Tape::rescale`] and [`Tape::delta`]. Backward
//! consumes the tape and frees as it walks; the other two borrow it, from many threads at once.
//!
//! Every sweep has its own rows: row `r` of a sweep (a training row, a (sequence, track) gradient, an (input, reference)
//! pair, a mutant) belongs to row `rows[r]` of the tape. In training that is the identity.

pub mod check;
mod cuda;
mod delta;
mod sweep;
mod window;

pub use delta::Step;
pub(crate) use window::twice;
pub use window::{Change, Delta, Edit, Window};

use std::any::Any;
use std::sync::{Arc, Mutex, OnceLock};

use crate::device::{Gpu, Precision, Table};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// Number of a node on its tape.
pub type NodeId = usize;

/// A value and, if sweeps may ask about it, the node that made it.
#[derive(Clone, Debug)]
pub struct Var {
    /// The numbers.
    pub value: Tensor,
    /// Where it came from; `None` for constants.
    pub node: Option<NodeId>,
}

impl Var {
    /// A value that no sweep reaches: a weight outside training, a table.
    pub fn constant(value: Tensor) -> Self {
        Self { value, node: None }
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        self.value.shape()
    }
}

/// Which later sweeps the recording must serve; operations save no more than that. All false: plain prediction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// Gradients.
    pub backward: bool,
    /// DeepLIFT multipliers.
    pub rescale: bool,
    /// In-silico mutagenesis.
    pub delta: bool,
}

impl Keep {
    /// For training and gradients.
    pub const BACKWARD: Self = Self { backward: true, rescale: false, delta: false };
    /// For mutagenesis.
    pub const DELTA: Self = Self { backward: false, rescale: false, delta: true };

    /// Whether any sweep is to follow.
    pub fn any(self) -> bool {
        self.backward || self.rescale || self.delta
    }
}

/// Identity of a training pass, from which dropout derives its masks: they depend on the sample, not on batch or threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pass {
    /// Seed of the run.
    pub seed: u64,
    /// Number of the pass over the data, counted over the whole run.
    pub number: u32,
    /// For every row of the batch, the number of its sample within the pass.
    pub samples: Arc<[u32]>,
}

/// How layers with two faces (batch norm, dropout) behave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics and dropout.
    Train(Pass),
    /// Running statistics, no dropout.
    Eval,
}

/// Slots that an operation fills in forward and reads in its sweeps.
#[derive(Debug)]
pub struct Save {
    /// What the recording is for.
    pub keep: Keep,
    /// How exact products are on a GPU.
    pub precision: Precision,
    /// Whether products alone read the value.
    products: bool,
    given: Option<Tensor>,
    slots: Slots,
}

type Slots = [Option<Tensor>; 6];

impl Save {
    /// Keeps a tensor if a later sweep needs it.
    pub fn put(&mut self, slot: usize, needed: bool, t: &Tensor) {
        self.slots[slot] = needed.then(|| t.clone());
    }

    /// The value, if a kernel that computes several operations at once has computed it already ([`Tape::apply_given`]).
    pub fn given(&mut self) -> Option<Tensor> {
        self.given.take()
    }

    /// The 16-bit type that products of this precision read, if products alone read the value ([`Tape::for_products`]): on a GPU
    /// an operation that can stores its value in it, rounded as the product would round it.
    pub fn operand(&self) -> Option<DType> {
        operand(self.products, self.precision)
    }
}

fn operand(products: bool, precision: Precision) -> Option<DType> {
    match precision {
        Precision::Bf16 if products => Some(DType::BF16),
        Precision::F16 if products => Some(DType::F16),
        _ => None,
    }
}

/// One recorded operation.
pub struct Node {
    op: Option<Box<dyn Op>>,
    inputs: Vec<Option<NodeId>>,
    saved: Slots,
    /// Whether products alone read the value.
    products: bool,
    /// What the first sweep derived from the saved tensors for all later ones.
    prepared: OnceLock<Box<dyn Any + Send + Sync>>,
    shape: Vec<usize>,
    layer: Arc<str>,
}

/// What a sweep hands to an operation.
pub struct Cx<'a> {
    node: &'a Node,
    /// For every row of the sweep, the row of the tape.
    pub rows: &'a [u32],
    /// How exact products are on a GPU.
    pub precision: Precision,
    /// In a rescale sweep, the tape row of each sweep row's reference.
    pub partner: Option<&'a [u32]>,
    /// `rows` on a GPU, once a sweep.
    table: &'a OnceLock<Table>,
    /// In a delta sweep, the mutants whose change goes beyond the window that was asked for.
    escaped: Option<&'a Mutex<Vec<usize>>>,
}

impl<'a> Cx<'a> {
    /// A tensor that the operation saved.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the tape was recorded without what this sweep needs.
    pub fn saved(&self, slot: usize) -> Result<&'a Tensor> {
        self.node.saved[slot].as_ref().ok_or(Error::Unsupported {
            op: "tape",
            what: "this sweep, because the forward pass was recorded without it (see `Keep`)".into(),
        })
    }

    /// As [`Save::operand`], for the change of the output in a delta sweep.
    pub fn operand(&self) -> Option<DType> {
        operand(self.node.products, self.precision)
    }

    /// What `make` derives from the saved tensors, made once a tape: packed weights, softmax weights of a pool. An operation
    /// has one such thing, always of the same type. (Two sweeps that come first at once may both make it; one is kept.)
    ///
    /// # Errors
    /// Those of `make`.
    pub fn prepared<P: Send + Sync + 'static>(&self, make: impl FnOnce() -> Result<P>) -> Result<&'a P> {
        if self.node.prepared.get().is_none() {
            let _ = self.node.prepared.set(Box::new(make()?));
        }
        let made = self.node.prepared.get().and_then(|p| p.downcast_ref());
        Ok(made.expect("an operation prepares one type"))
    }

    /// The tape rows of the sweep on a GPU.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn rows_on(&self, gpu: &Gpu) -> Result<&'a Table> {
        if let Some(table) = self.table.get() {
            return Ok(table);
        }
        let table = self.table_on(gpu, self.rows)?;
        Ok(self.table.get_or_init(|| table))
    }

    /// Any tape rows (those of references) on a GPU.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn table_on(&self, gpu: &Gpu, rows: &[u32]) -> Result<Table> {
        gpu.table_once(&rows.iter().map(|&r| r as i32).collect::<Vec<_>>())
    }

    /// Says that mutant `m` of a delta sweep changes rows outside of the window that was asked for. The tape sweeps it again
    /// from here on, with the whole map as its window; what the operation returns for it now is not used.
    pub fn escape(&self, m: usize) {
        if let Some(escaped) = self.escaped {
            let mut list = escaped.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            list.push(m);
        }
    }

    /// Tape row of sweep row `r`.
    pub fn base(&self, r: usize) -> usize {
        self.rows[r] as usize
    }

    /// Whether input `i` of the operation wants a gradient.
    pub fn wants(&self, i: usize) -> bool {
        self.node.inputs.get(i).is_some_and(Option::is_some)
    }

    /// Shape of the operation's output in the forward pass.
    pub fn shape(&self) -> &'a [usize] {
        &self.node.shape
    }

    /// Refuses gradients of weights where sweep rows are not the tape rows: they would be sums over the wrong rows.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub fn whole_batch(&self, op: &'static str) -> Result<()> {
        if self.rows.iter().enumerate().all(|(i, &r)| i == r as usize) {
            Ok(())
        } else {
            Err(Error::Unsupported {
                op,
                what: "gradients of weights for selected rows; ask for the whole batch".into(),
            })
        }
    }
}

/// Gradients of an operation's inputs, in their order; `None` where none was wanted or it is zero.
pub type Grads = Vec<Option<Tensor>>;

/// One operation = one record on the tape. `self` holds checked arguments only, never tensors.
pub trait Op: Send + Sync + 'static {
    /// The value. Saves what the sweeps named in `save.keep` will need.
    ///
    /// # Errors
    /// Shapes and types that do not fit.
    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor>;

    /// The gradient of each wanted input ([`Cx::wants`]) from the gradient `dy` `[R, ...]` of the output.
    ///
    /// # Errors
    /// As the operation documents.
    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads>;

    /// As backward, except that a nonlinearity returns difference quotients between `cx.rows` and `cx.partner`
    /// (DeepLIFT, Shrikumar et al. 2017).
    ///
    /// # Errors
    /// As backward.
    fn rescale(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        self.backward(cx, dy)
    }

    /// Window of the output that can change when the inputs change on theirs: geometry alone. `len` = rows of the output. A
    /// width of 0 says that nothing changes for any of the mutants.
    fn window(&self, x: &[Option<&Window>], len: usize) -> Window {
        Window { len, ..Window::hull(x) }
    }

    /// Change of the output on `to`, `[width, M, C]`; an input that is `None` does not change. Rows outside the sequence
    /// may hold anything: the tape clears them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] unless the operation has a delta form.
    fn delta(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Tensor> {
        let _ = (cx, dx, to);
        Err(Error::Unsupported { op: self.name(), what: "the delta sweep; use `--engine naive`".into() })
    }

    /// Whether [`Op::delta`] takes the change of a flattened map `[N, L C]` in the rows of the map, `[width, M, C]`. Otherwise
    /// it gets a vector, `[1, M, L C]`.
    fn takes_rows(&self) -> bool {
        false
    }

    /// Whether inputs may be operands of 16 bits ([`Tape::for_products`]).
    fn takes_operands(&self) -> bool {
        false
    }

    /// Whether the changes of two mutants add up here wherever they lie: the value is linear in all inputs that can change.
    fn is_linear(&self) -> bool {
        false
    }

    /// Whether mutants may escape ([`Cx::escape`]): then changes of rows far apart may not add up although no row of the
    /// output lies in both windows.
    fn may_escape(&self) -> bool {
        false
    }

    /// Multiply-adds of a mutant in a delta sweep whose inputs change on `x` and whose output changes on `to`; with the whole
    /// maps as windows, those of a forward pass. Only products are counted.
    fn products(&self, cx: &Cx, x: &[Option<&Window>], to: &Window) -> f64 {
        let _ = (cx, x, to);
        0.0
    }

    /// As [`Op::delta`], for operations that hand edits on as edits.
    ///
    /// # Errors
    /// As [`Op::delta`].
    fn change(&self, cx: &Cx, dx: &[Option<&Delta>], to: &Window) -> Result<Change> {
        self.delta(cx, dx, to).map(Change::Rows)
    }

    /// Name of the operation in messages.
    fn name(&self) -> &'static str;
}

/// The record of a forward pass.
pub struct Tape {
    nodes: Vec<Node>,
    keep: Keep,
    mode: Mode,
    scope: Vec<String>,
    /// Whether layers may record fused operations: false while explaining, or when a tap lies inside one.
    pub fuse: bool,
    /// How exact products are on a GPU, in forward passes and in sweeps. It may change between them.
    pub precision: Precision,
    /// Whether what is recorded now has no readers but products.
    products: bool,
    /// Batch statistics `(buffer number, mean, unbiased variance)` wait here for the trainer: forward changes no model.
    pub stats: Vec<(usize, Tensor, Tensor)>,
}

impl Tape {
    /// An empty tape.
    pub fn new(keep: Keep, mode: Mode) -> Self {
        let (nodes, scope, stats, precision) = (vec![], vec![], vec![], Precision::default());
        Self { nodes, keep, mode, scope, fuse: true, precision, products: false, stats }
    }

    /// A tape for plain prediction: it records nothing.
    pub fn predict() -> Self {
        Self::new(Keep::default(), Mode::Eval)
    }

    /// The record with its float tensors in another type, for sweeps in that type; packed bases stay. `known` = tensors of
    /// this record (weights) and what they are in the other type, so that they are shared and not made again.
    ///
    /// # Errors
    /// [`Error::DType`] for bytes.
    pub fn to_dtype(mut self, dtype: DType, known: &[(Tensor, Tensor)]) -> Result<Self> {
        for node in &mut self.nodes {
            node.prepared = OnceLock::new();
            for slot in node.saved.iter_mut().flatten().filter(|t| t.dtype() != DType::U8) {
                *slot = match known.iter().find(|(old, _)| old.is(slot)) {
                    Some((_, new)) => new.reshape(slot.shape())?,
                    None => slot.to_dtype(dtype)?,
                };
            }
        }
        Ok(self)
    }

    /// The float type of what is recorded; f32 if nothing is.
    pub fn dtype(&self) -> DType {
        let saved = self.nodes.iter().flat_map(|n| n.saved.iter().flatten()).map(Tensor::dtype);
        saved.filter(|&t| t != DType::U8 && !t.is_half()).last().unwrap_or(DType::F32)
    }

    /// How layers with two faces behave.
    pub fn mode(&self) -> &Mode {
        &self.mode
    }

    /// What the recording is for.
    pub fn keep(&self) -> Keep {
        self.keep
    }

    /// Number of recorded nodes.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    fn push(&mut self, op: Option<Box<dyn Op>>, inputs: Vec<Option<NodeId>>, saved: Slots, value: Tensor) -> Var {
        let (shape, layer) = (value.shape().to_vec(), self.layer());
        let (prepared, products) = (OnceLock::new(), self.products);
        self.nodes.push(Node { op, inputs, saved, products, prepared, shape, layer });
        Var { value, node: Some(self.nodes.len() - 1) }
    }

    fn layer(&self) -> Arc<str> {
        self.scope.join(".").into()
    }

    /// A value that sweeps may ask about: an input, or a parameter in training. A constant if no sweep is to follow.
    pub fn leaf(&mut self, t: Tensor) -> Var {
        if self.keep.any() { self.push(None, vec![], Default::default(), t) } else { Var::constant(t) }
    }

    /// Runs `f` inside a named layer: errors and nodes carry its path.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn scoped<T>(&mut self, name: impl Into<String>, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.scope.push(name.into());
        let result = f(self);
        self.scope.pop();
        result
    }

    /// Runs `f`, whose values have no readers but products: convolutions and dense layers. On a GPU they may then be stored, and
    /// change, in the 16-bit floats that products of precision bf16 and f16 read. No bit of a product depends on that.
    ///
    /// # Errors
    /// Those of `f`.
    pub fn for_products<T>(&mut self, f: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let before = std::mem::replace(&mut self.products, true);
        let result = f(self);
        self.products = before;
        result
    }

    /// As [`Save::operand`], for a value that is to be recorded now.
    pub fn operand(&self) -> Option<DType> {
        operand(self.products, self.precision)
    }

    /// Runs an operation and records it if anything that it reads is on the tape. Public functions of operations check
    /// their arguments, then call this.
    ///
    /// # Errors
    /// Those of the operation, with the layer's path.
    pub fn apply(&mut self, op: impl Op, x: &[&Var]) -> Result<Var> {
        self.run(op, x, None)
    }

    /// Records an operation whose value is known: a kernel computed it together with others. The operation saves what sweeps need
    /// and takes the value ([`Save::given`]).
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the operation does not ask for a known value.
    pub fn apply_given(&mut self, op: impl Op, x: &[&Var], value: Tensor) -> Result<Var> {
        self.run(op, x, Some(value))
    }

    fn run(&mut self, op: impl Op, x: &[&Var], given: Option<Tensor>) -> Result<Var> {
        let recorded = x.iter().any(|v| v.node.is_some());
        let keep = if recorded { self.keep } else { Keep::default() };
        let mut save =
            Save { keep, precision: self.precision, products: self.products, given, slots: Default::default() };
        let tensors: Vec<&Tensor> = x.iter().map(|v| &v.value).collect();
        let value = readable(&op, tensors.iter().copied())
            .and_then(|()| op.forward(&tensors, &mut save))
            .map_err(|e| at(&self.layer(), "forward", e))?;
        if save.given.is_some() {
            let e = Error::Unsupported { op: op.name(), what: "a value that was computed elsewhere".into() };
            return Err(at(&self.layer(), "forward", e));
        }
        if !recorded {
            return Ok(Var::constant(value));
        }
        let inputs = x.iter().map(|v| v.node).collect();
        Ok(self.push(Some(Box::new(op)), inputs, save.slots, value))
    }
}

/// Refuses operands of 16 bits for an operation that is no product.
fn readable<'a>(op: &dyn Op, mut x: impl Iterator<Item = &'a Tensor>) -> Result<()> {
    match x.find(|t| t.dtype().is_half()) {
        Some(t) if !op.takes_operands() => Err(Error::DType {
            op: op.name(),
            expected: "f32: it is no product (`Tape::for_products`)",
            found: t.dtype(),
        }),
        _ => Ok(()),
    }
}

fn at(layer: &Arc<str>, sweep: &'static str, source: Error) -> Error {
    if layer.is_empty() {
        return source;
    }
    Error::At { layer: layer.clone(), sweep, source: Box::new(source) }
}
