//! The state of a run after an epoch, in a file beside the model, from which the run goes on with the same bits.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::control::Control;
use super::data::Data;
use crate::device::Precision;
use crate::error::{Error, Result};
use crate::io::dataset::Dataset;
use crate::io::pth::{PthData, PthTensor};
use crate::model::checkpoint::container;
use crate::model::spec::{Architecture, TrainSpec};
use crate::nn::{OptimizerState, Parameters};
use crate::real;
use crate::tensor::{DType, Real, Tensor};
use crate::util::json::first_difference;

/// Version of the file.
const FORMAT: u32 = 1;

/// The numbers of a network apart from the network: nothing is shared.
#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    values: Tensor,
    buffers: Tensor,
    counters: Vec<i64>,
}

impl Snapshot {
    pub fn of(parameters: &Parameters) -> Result<Self> {
        Ok(Self {
            values: copy(parameters.values())?,
            buffers: copy(parameters.buffers())?,
            counters: parameters.counters().to_vec(),
        })
    }

    pub fn restore(&self, parameters: &mut Parameters) -> Result<()> {
        parameters.counters_mut().copy_from_slice(&self.counters);
        let device = parameters.device();
        if device.is_gpu() {
            *parameters.values_mut() = self.values.to_device(&device)?;
            *parameters.buffers_mut() = self.buffers.to_device(&device)?;
            return Ok(());
        }
        real!("state", self.values, T => {
            parameters.values_mut().cpu_mut::<T>()?.copy_from_slice(self.values.cpu()?);
            parameters.buffers_mut().cpu_mut::<T>()?.copy_from_slice(self.buffers.cpu()?);
            Ok(())
        })
    }

    fn push(&self, name: &str, tensors: &mut Vec<(String, PthTensor)>) -> Result<()> {
        tensors.push((format!("{name}.values"), packed(&self.values)?));
        tensors.push((format!("{name}.buffers"), packed(&self.buffers)?));
        let counters = PthTensor { shape: vec![self.counters.len()], data: PthData::I64(self.counters.clone()) };
        tensors.push((format!("{name}.counters"), counters));
        Ok(())
    }
}

/// The numbers in host memory of their own: steps change those of the model in place.
fn copy(t: &Tensor) -> Result<Tensor> {
    if t.gpu().is_some() {
        return t.to_cpu();
    }
    real!("state", t, T => Tensor::new(t.shape(), t.cpu::<T>()?.to_vec()))
}

/// Everything that a run needs to go on.
pub(super) struct State {
    pub control: Control,
    /// Text of the log so far.
    pub log: String,
    pub current: Snapshot,
    pub best: Snapshot,
    /// Weights for restarts, if the run may restart.
    pub start: Option<Snapshot>,
    pub optimizer: OptimizerState,
}

/// Tells whether data are those that a run was started with: a hash of each part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataIdentity {
    /// Of names and bases.
    pub sequences: String,
    /// Of tracks and values.
    pub targets: String,
    /// Of the rows that are trained on and those that are watched.
    pub sets: String,
}

impl DataIdentity {
    /// That of data with these rows to train on and to watch.
    pub fn of(dataset: &Dataset, train: &[usize], validation: &[usize]) -> Self {
        let mut sequences = Hash::default();
        dataset.names.iter().for_each(|n| sequences.add(n.as_bytes()));
        dataset.inputs.iter().for_each(|s| sequences.add(&s.bases));
        let mut targets = Hash::default();
        for t in &dataset.targets {
            t.tracks.iter().for_each(|n| targets.add(n.as_bytes()));
            t.values.iter().for_each(|v| targets.add(&v.to_bits().to_le_bytes()));
        }
        let mut sets = Hash::default();
        for set in [train, validation] {
            set.iter().for_each(|row| sets.add(&(*row as u64).to_le_bytes()));
            sets.add(b"end");
        }
        Self { sequences: sequences.text(), targets: targets.text(), sets: sets.text() }
    }

    /// The first part that differs, in words.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let parts = [
            ("the sequences", &self.sequences, &other.sequences),
            ("the targets", &self.targets, &other.targets),
            ("the training and validation sets", &self.sets, &other.sets),
        ];
        parts.into_iter().find(|(_, a, b)| a != b).map(|(what, ..)| format!("{what} are others"))
    }
}

/// What a run was started with: a run with another one cannot go on from its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Identity {
    model: Architecture,
    training: TrainSpec,
    /// Of products on a GPU.
    #[serde(default = "usual_precision")]
    precision: String,
    sequences: String,
    targets: String,
    sets: String,
    start: String,
}

/// That of states which do not say.
fn usual_precision() -> String {
    Precision::F32.name().into()
}

impl Identity {
    pub fn new(
        model: &Architecture,
        spec: &TrainSpec,
        precision: Precision,
        dataset: &Dataset,
        data: &Data,
        start: &Parameters,
    ) -> Result<Self> {
        let DataIdentity { sequences, targets, sets } = DataIdentity::of(dataset, &data.train, &data.validation);
        let mut weights = Hash::default();
        for t in [start.values(), start.buffers()] {
            t.to_cpu()?.to_f64().iter().for_each(|v| weights.add(&v.to_bits().to_le_bytes()));
        }
        Ok(Self {
            model: model.clone(),
            training: spec.clone(),
            precision: precision.name().into(),
            sequences,
            targets,
            sets,
            start: weights.text(),
        })
    }

    fn data(&self) -> DataIdentity {
        let (sequences, targets, sets) = (self.sequences.clone(), self.targets.clone(), self.sets.clone());
        DataIdentity { sequences, targets, sets }
    }

    /// What differs, in words.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if let Some(what) = self.data().difference(&other.data()) {
            return Some(what);
        }
        if self.precision != other.precision {
            return Some("the precisions (--precision) are others".into());
        }
        let json = |i: &Self| serde_json::to_value((&i.model, &i.training)).unwrap_or_default();
        let option = first_difference(&json(self), &json(other))
            .map(|(key, then, now)| format!("'{key}' was {then} and is now {now}"));
        option.or_else(|| (self.start != other.start).then(|| "the start weights are others".into()))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta {
    state: u32,
    identity: Identity,
    control: Control,
    log: String,
}

/// Writes the state; the file appears whole or not at all.
pub(super) fn write(path: &Path, identity: &Identity, state: &State) -> Result<()> {
    let meta =
        Meta { state: FORMAT, identity: identity.clone(), control: state.control.clone(), log: state.log.clone() };
    let mut tensors = vec![];
    state.current.push("current", &mut tensors)?;
    state.best.push("best", &mut tensors)?;
    if let Some(start) = &state.start {
        start.push("start", &mut tensors)?;
    }
    for (name, slot) in &state.optimizer.slots {
        tensors.push((format!("optimizer.slot.{name}"), packed(slot)?));
    }
    let (steps, products) = (&state.optimizer.steps, &state.optimizer.products);
    let shape = vec![steps.len()];
    let steps = PthTensor { shape: shape.clone(), data: PthData::I64(steps.clone()) };
    tensors.push(("optimizer.steps".into(), steps));
    tensors.push(("optimizer.products".into(), PthTensor { shape, data: PthData::F32(products.clone()) }));
    let text = serde_json::to_string(&meta).map_err(|e| Error::Failed(format!("cannot describe the state: {e}")))?;
    container::write(path, text, &tensors)
}

/// Reads a state of the same run.
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] if the file is damaged; [`Error::Usage`] naming what differs if it is of another run.
pub(super) fn read(path: &Path, identity: &Identity, like: &Parameters) -> Result<State> {
    let (text, tensors) = container::read(path)?;
    let meta: Meta = serde_json::from_str(&text).map_err(|e| Error::key(path, "metadata", e.to_string()))?;
    if meta.state != FORMAT {
        let what = format!("the state has version {}, this program reads {FORMAT}", meta.state);
        return Err(Error::key(path, "state", what));
    }
    if let Some(what) = meta.identity.difference(identity) {
        let path = path.display();
        return Err(Error::Usage(format!("cannot resume from {path}: {what}; use what the run was started with")));
    }
    let mut reader = Reader { path, tensors };
    let slot = |name: &str| name.strip_prefix("optimizer.slot.").map(str::to_string);
    let mut names: Vec<String> = reader.tensors.iter().filter_map(|(name, _)| slot(name)).collect();
    // The names of the slots of every rule are in alphabetical order, but for this one.
    names.sort_by_key(|name| (name == "largest", name.clone()));
    let restarts = reader.tensors.iter().any(|(name, _)| name == "start.values");
    Ok(State {
        control: meta.control,
        log: meta.log,
        current: reader.snapshot("current", like)?,
        best: reader.snapshot("best", like)?,
        start: if restarts { Some(reader.snapshot("start", like)?) } else { None },
        optimizer: OptimizerState {
            slots: names
                .into_iter()
                .map(|name| {
                    let tensor = reader.tensor(&format!("optimizer.slot.{name}"), like.values())?;
                    Ok((name, tensor))
                })
                .collect::<Result<_>>()?,
            steps: reader.integers("optimizer.steps")?,
            products: reader.floats("optimizer.products")?,
        },
    })
}

struct Reader<'a> {
    path: &'a Path,
    tensors: Vec<(String, PthTensor)>,
}

impl Reader<'_> {
    fn take(&mut self, name: &str) -> Result<PthTensor> {
        let at = self.tensors.iter().position(|(n, _)| n == name);
        let at = at.ok_or_else(|| Error::key(self.path, name, "the tensor is missing"))?;
        Ok(self.tensors.swap_remove(at).1)
    }

    fn tensor(&mut self, name: &str, like: &Tensor) -> Result<Tensor> {
        let found = self.take(name)?;
        let tensor = match found.data {
            PthData::F32(v) => Tensor::new(&found.shape, v)?,
            PthData::F64(v) => Tensor::new(&found.shape, v)?,
            PthData::I64(_) => return Err(Error::key(self.path, name, "expected floats")),
        };
        if tensor.shape() != like.shape() || tensor.dtype() != like.dtype() {
            let what = format!("expected {:?} of {:?}, found {:?}", like.shape(), like.dtype(), tensor.shape());
            return Err(Error::key(self.path, name, what));
        }
        Ok(tensor)
    }

    fn integers(&mut self, name: &str) -> Result<Vec<i64>> {
        match self.take(name)?.data {
            PthData::I64(v) => Ok(v),
            _ => Err(Error::key(self.path, name, "expected integers")),
        }
    }

    fn floats(&mut self, name: &str) -> Result<Vec<f32>> {
        match self.take(name)?.data {
            PthData::F32(v) => Ok(v),
            _ => Err(Error::key(self.path, name, "expected f32")),
        }
    }

    fn snapshot(&mut self, name: &str, like: &Parameters) -> Result<Snapshot> {
        let counters = self.integers(&format!("{name}.counters"))?;
        if counters.len() != like.counters().len() {
            return Err(Error::key(self.path, name, "another number of counters than the model has"));
        }
        Ok(Snapshot {
            values: self.tensor(&format!("{name}.values"), like.values())?,
            buffers: self.tensor(&format!("{name}.buffers"), like.buffers())?,
            counters,
        })
    }
}

fn packed(t: &Tensor) -> Result<PthTensor> {
    let data = match t.dtype() {
        DType::F64 => PthData::F64(own(t)?),
        _ => PthData::F32(own(t)?),
    };
    Ok(PthTensor { shape: t.shape().to_vec(), data })
}

fn own<T: Real>(t: &Tensor) -> Result<Vec<T>> {
    Ok(t.cpu::<T>()?.to_vec())
}

/// FNV-1a over words of eight bytes: tells data apart that were mixed up, not data that were forged.
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xCBF2_9CE4_8422_2325)
    }
}

impl Hash {
    fn text(&self) -> String {
        format!("{:016x}", self.0)
    }

    fn add(&mut self, bytes: &[u8]) {
        let mut word = |w: u64| self.0 = (self.0 ^ w).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(29);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|w| word(u64::from_le_bytes(*w)));
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        word(u64::from_le_bytes(last));
        word(bytes.len() as u64);
    }
}
