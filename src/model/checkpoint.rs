//! A trained model as one file, and the way in for tensors of other programs.
//!
//! The file is safetensors: tensors by the names and in the shapes of the PyTorch state dict (f32, counters i64), and as
//! metadata one JSON text: version of the format, architecture, how it was trained, names of the tracks, scaling of the
//! targets, record of the training. Nothing in it is run.

mod average;
pub(crate) mod container;
mod export;
mod fit;
mod import;
mod params;
mod published;

use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};

pub use export::{export_state, reference_state};
pub use fit::{FitReport, Match, import_fitting};
pub use import::{Partial, PartialReport, import_partial, import_state};
pub use params::{params_text, spec_options};
pub use published::recognise_beluga;

use crate::error::{Error, Result, hint};
use crate::io::pth::{PthData, PthTensor};
use crate::model::Network;
use crate::model::spec::{Architecture, TrainSpec, Transform};
use crate::nn::Kind;

/// Version of the format; files of other versions are refused.
pub const FORMAT: u32 = 1;

/// A network with all that its predictions need, and where it came from.
#[derive(Clone, Debug)]
pub struct Model {
    /// The network.
    pub network: Network,
    /// Names of the tracks of every head.
    pub tracks: Vec<Vec<String>>,
    /// How the targets were scaled before training, if they were.
    pub scaling: Option<Scaling>,
    /// The scale of the measurements that it has learned, and that its predictions are on, where it is not their own.
    pub transform: Option<Transform>,
    /// How it was trained, if it was trained here or came with the reference's parameter file.
    pub training: Option<TrainSpec>,
    /// What came of it.
    pub record: Option<Record>,
}

/// Mean and standard deviation of every track in training; predictions are scaled back by them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scaling {
    /// Subtracted from targets.
    pub mean: Vec<f64>,
    /// Targets were divided by it.
    pub deviation: Vec<f64>,
}

impl Scaling {
    /// Deviation and mean of a track: predictions are `value * deviation + mean`, effects `value * deviation`. (1, 0) where
    /// nothing is scaled.
    pub fn of(scaling: Option<&Self>, track: usize) -> (f64, f64) {
        scaling.filter(|s| !s.mean.is_empty()).map_or((1.0, 0.0), |s| (s.deviation[track], s.mean[track]))
    }

    /// Turns predictions `[N, T]` of scaled targets into predictions of the targets.
    pub fn undo(&self, predictions: &mut [f32]) {
        if self.mean.is_empty() {
            return;
        }
        for row in predictions.chunks_exact_mut(self.mean.len()) {
            for ((p, m), d) in row.iter_mut().zip(&self.mean).zip(&self.deviation) {
                *p = (f64::from(*p) * d + m) as f32;
            }
        }
    }
}

/// What came of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Version of the program.
    pub program: String,
    /// Seed of initial values and batches.
    pub seed: u64,
    /// Sequences in training and validation.
    pub rows: (usize, usize),
    /// Epochs that ran, fine-tuning and restarts included.
    pub epochs: usize,
    /// Epoch that the weights are from.
    pub best_epoch: usize,
    /// The log of losses, as its file.
    pub losses: String,
}

/// The metadata.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Meta {
    format: u32,
    model: Architecture,
    tracks: Vec<Vec<String>>,
    scaling: Option<Scaling>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transform: Option<Transform>,
    training: Option<TrainSpec>,
    record: Option<Record>,
}

impl Model {
    /// A model that was not trained here; tracks are numbered.
    pub fn untrained(network: Network) -> Self {
        let outputs = network.architecture().outputs();
        let tracks = outputs.into_iter().map(|(_, n)| (0..n).map(|t| format!("C{t}")).collect()).collect();
        Self { network, tracks, scaling: None, transform: None, training: None, record: None }
    }

    /// Names of all tracks, in the order of predictions.
    pub fn track_names(&self) -> Vec<&str> {
        self.tracks.iter().flatten().map(String::as_str).collect()
    }

    /// Writes the model; the file appears whole or not at all. The same model gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Usage`] if names or scaling do not fit the heads.
    pub fn save(&self, path: &Path) -> Result<()> {
        check_tracks(self.network.architecture(), &self.tracks, self.scaling.as_ref()).map_err(Error::Usage)?;
        let meta = Meta {
            format: FORMAT,
            model: self.network.architecture().clone(),
            tracks: self.tracks.clone(),
            scaling: self.scaling.clone(),
            transform: self.transform,
            training: self.training.clone(),
            record: self.record.clone(),
        };
        let text = serde_json::to_string(&meta)
            .map_err(|e| Error::Failed(format!("cannot describe the model as JSON: {e}")))?;
        container::write(path, text, &export_state(&self.network)?)
    }

    /// Reads a model that [`Model::save`] wrote.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] with path and key if the file is damaged, of another version, names unknown options, or
    /// if a tensor is missing, too many, or of another shape or type than the architecture has.
    pub fn load(path: &Path) -> Result<Self> {
        const KEY: &str = "metadata";
        let (text, tensors) = container::read(path)?;
        let wrong = |e: serde_json::Error| Error::key(path, KEY, e.to_string());
        let json: serde_json::Value = serde_json::from_str(&text).map_err(wrong)?;
        match json.get("format").and_then(serde_json::Value::as_u64) {
            Some(v) if v == u64::from(FORMAT) => {}
            Some(v) => {
                let what =
                    format!("the model has version {v}, this program reads {FORMAT}; use the program of its time");
                return Err(Error::key(path, "format", what));
            }
            None => return Err(Error::key(path, "format", "no model: the metadata names no version")),
        }
        let meta: Meta = serde_json::from_value(json).map_err(wrong)?;
        check_tracks(&meta.model, &meta.tracks, meta.scaling.as_ref()).map_err(|e| Error::key(path, "tracks", e))?;
        let mut network = Network::new(meta.model, 0).map_err(|e| Error::key(path, "model", e.to_string()))?;
        for (name, tensor) in &tensors {
            set(&mut network, name, tensor).map_err(|what| Error::key(path, name, what))?;
        }
        if let Some(e) = network.parameters().entries().iter().find(|e| !tensors.iter().any(|(n, _)| *n == e.name)) {
            return Err(Error::key(path, &e.name, "the tensor is missing"));
        }
        let (tracks, scaling, transform) = (meta.tracks, meta.scaling, meta.transform);
        Ok(Self { network, tracks, scaling, transform, training: meta.training, record: meta.record })
    }
}

/// Sets a tensor of a file of our own.
fn set(network: &mut Network, name: &str, tensor: &PthTensor) -> std::result::Result<(), String> {
    let parameters = network.parameters_mut();
    let id = parameters.id(name).map_err(|e| e.to_string())?;
    let entry = &parameters.entries()[id];
    let expected = if entry.kind == Kind::Counter { "I64" } else { "F32" };
    let found = match tensor.data {
        PthData::F32(_) => "F32",
        PthData::F64(_) => "F64",
        PthData::I64(_) => "I64",
    };
    if expected != found {
        return Err(format!("expected {expected}, found {found}"));
    }
    if entry.torch_shape != tensor.shape {
        return Err(format!("expected shape {:?}, found {:?}", entry.torch_shape, tensor.shape));
    }
    parameters.set_torch(id, &import::numbers(&tensor.data)).map_err(|e| e.to_string())
}

/// Named tensors of a safetensors file, a model or not, and whether it is a file of ours; none if it is no safetensors file at all.
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] if it is cut off or holds other types than f32, f64 and i64.
pub fn read_safetensors(path: &Path) -> Result<Option<(bool, Vec<(String, PthTensor)>)>> {
    let mut head = vec![];
    let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    file.take(9).read_to_end(&mut head).map_err(Error::io("read", path))?;
    // The length of a JSON text, and the text.
    if head.get(8) != Some(&b'{') {
        return Ok(None);
    }
    let (text, tensors) = container::read_any(path)?;
    Ok(Some((text.is_some(), tensors)))
}

fn check_tracks(
    model: &Architecture,
    tracks: &[Vec<String>],
    scaling: Option<&Scaling>,
) -> std::result::Result<(), String> {
    let (expected, found): (Vec<usize>, Vec<usize>) =
        (model.outputs().into_iter().map(|o| o.1).collect(), tracks.iter().map(Vec::len).collect());
    if expected != found {
        return Err(format!("names of {found:?} tracks for heads of {expected:?}"));
    }
    match scaling {
        Some(s) if s.mean.len() != model.tracks() || s.deviation.len() != model.tracks() => {
            Err(format!("scaling of {} and {} tracks for {}", s.mean.len(), s.deviation.len(), model.tracks()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::model::cases::cases;
    use crate::model::options::{DataFacts, parse_option_string, resolve};

    /// A small network with every kind of tensor, and how it could be trained.
    pub(crate) fn small(seed: u64) -> (Network, TrainSpec) {
        let case = cases().into_iter().find(|c| c.name.contains("02_attention")).unwrap();
        let options = parse_option_string(&case.cnn).unwrap();
        let facts = DataFacts { names: vec![], ..case.facts };
        let (spec, training) = resolve(&options, &facts).unwrap();
        (Network::new(spec, seed).unwrap(), training)
    }

    fn model() -> Model {
        let (network, training) = small(3);
        let t = network.architecture().tracks();
        Model {
            scaling: Some(Scaling { mean: vec![0.1; t], deviation: vec![3.0; t] }),
            training: Some(training),
            record: Some(Record { program: "0".into(), losses: "0\tnan\n".into(), ..Record::default() }),
            ..Model::untrained(network)
        }
    }

    #[test]
    fn a_model_comes_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.drg");
        let mut m = model();
        m.network.parameters_mut().counters_mut()[0] = 7;
        m.save(&path).unwrap();
        let n = Model::load(&path).unwrap();
        assert_eq!(n.network.architecture(), m.network.architecture());
        assert_eq!((&n.tracks, &n.scaling, &n.training, &n.record), (&m.tracks, &m.scaling, &m.training, &m.record));
        assert_eq!(export_state(&n.network).unwrap(), export_state(&m.network).unwrap());
        assert_eq!(n.track_names()[..2], ["C0", "C1"]);
        let bytes = std::fs::read(&path).unwrap();
        for _ in 0..5 {
            n.save(&path).unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), bytes, "the bytes depend on more than the model");
        }
        let mut p = vec![1f32, 2.0, 0.0];
        Scaling { mean: vec![1.0, 0.0, 0.0], deviation: vec![2.0, 1.0, 1.0] }.undo(&mut p);
        assert_eq!(p, [3.0, 2.0, 0.0]);
        m.tracks[0].pop();
        assert!(m.save(&path).unwrap_err().to_string().contains("heads of"));
    }

    #[test]
    fn bad_files_say_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.drg");
        model().save(&path).unwrap();
        let (meta, tensors) = container::read(&path).unwrap();
        let refused = |meta: String, tensors: Vec<(String, PthTensor)>, text: &str| {
            container::write(&path, meta, &tensors).unwrap();
            let message = Model::load(&path).unwrap_err().to_string();
            assert!(message.contains("m.drg, key '") && message.contains(text), "{message} without '{text}'");
        };
        refused(meta.replace("\"format\":1", "\"format\":2"), tensors.clone(), "version 2, this program reads 1");
        refused(meta.replace("\"format\"", "\"from\""), tensors.clone(), "names no version");
        refused(meta.replace("\"kernels\"", "\"kernel\""), tensors.clone(), "unknown field `kernel`");
        refused("{".into(), tensors.clone(), "EOF");
        refused(meta.replacen("\"C0\",", "", 1), tensors.clone(), "for heads of");
        let name = tensors[1].0.clone();
        let change = |f: &dyn Fn(&mut Vec<(String, PthTensor)>)| {
            let mut t = tensors.clone();
            f(&mut t);
            t
        };
        refused(meta.clone(), change(&|t| drop(t.remove(1))), &format!("key '{name}': the tensor is missing"));
        refused(meta.clone(), change(&|t| t[1].0 = "convolutions.conv1d.wait".into()), "did you mean 'convolutions");
        refused(meta.clone(), change(&|t| t[1].1.data = PthData::F64(vec![0.0; t[1].1.data.len()])), "found F64");
        let reshaped = change(&|t| {
            let at = t.iter().position(|(n, _)| n == "convolutions.conv1d.weight").unwrap();
            t[at].1.shape.swap(0, 1);
        });
        refused(meta, reshaped, "expected shape [");
    }
}
