//! What fits of a model into another one: tensors by name and shape, rows of heads by the names of their tracks.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use crate::error::{Error, Result};
use crate::model::spec::{Combination, is_derived_tensor};
use crate::model::{Model, Network};
use crate::nn::ParamId;

/// What of another model went into a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FitReport {
    /// Tensors that were taken as a whole.
    pub taken: Vec<String>,
    /// Heads of which some rows were taken, and how many.
    pub partly: Vec<(String, usize)>,
    /// Tracks of the network that the other model has not: their rows keep their start values.
    pub new_tracks: Vec<String>,
    /// Tensors that keep their start values although they were asked for, and why.
    pub kept: Vec<(String, String)>,
    /// Tensors that were not asked for.
    pub left: Vec<String>,
    /// Tensors of the other model that the network has not.
    pub ignored: Vec<String>,
    /// Tracks of the other model that the network has not.
    pub ignored_tracks: Vec<String>,
}

impl FitReport {
    /// Whether all of one model went into all of the other.
    pub fn is_exact(&self) -> bool {
        *self == Self { taken: self.taken.clone(), ..Self::default() }
    }
}

/// Sets those tensors of a network whose names fit one of `patterns` (all of them if there is none) to those of `source` of the same
/// name and shape. The rows of a linear layer that makes tracks are matched as `rows` says: by the names of the tracks, `tracks` of
/// every output, among all such layers of the same input; or by place, as every other tensor.
///
/// # Errors
/// [`Error::Usage`] if a pattern fits no tensor of the network, nothing was taken, or the source is an average of models.
pub fn import_fitting(
    network: &mut Network,
    tracks: &[Vec<String>],
    source: &Model,
    rows: Match,
    patterns: &[String],
) -> Result<FitReport> {
    if let Some(published) = &source.network.architecture().published {
        let what = format!(
            "{} is a published architecture, which no options describe: there is nothing that its tensors could start",
            published.name()
        );
        return Err(Error::Unsupported { op: "start from another model", what });
    }
    if source.network.architecture().members > 1 {
        return Err(Error::Usage(format!(
            "an average of {} models, which has no numbers that one model could start with; name one of the models that it was \
             made of, as those of folds, or what drg convert MEAN.drg --member N -o member.drg writes",
            source.network.architecture().members
        )));
    }
    let mut wanted = BTreeSet::new();
    for pattern in patterns {
        wanted.extend(network.parameters().matching(pattern)?);
    }
    let (here, there) = (heads(network, tracks), heads(&source.network, &source.tracks));
    let theirs = source.network.parameters();
    let mut used = BTreeSet::new();
    let mut report = FitReport::default();
    let mut new_tracks = vec![];
    for id in 0..network.parameters().entries().len() {
        let entry = network.parameters().entries()[id].clone();
        let name = entry.name.clone();
        if !patterns.is_empty() && !wanted.contains(&id) {
            report.left.push(name);
            continue;
        }
        let same: Option<ParamId> = theirs.id(&name).ok();
        let head = name.rsplit_once('.').and_then(|(layer, part)| Some((here.get(layer)?, layer, part)));
        if let Some((head, layer, part)) = head.filter(|_| rows == Match::Names) {
            // The layer of the same name first, then others of the same input.
            let mut layers: Vec<(&String, &Head)> = there.iter().filter(|(_, h)| h.input == head.input).collect();
            layers.sort_by_key(|(name, _)| (*name != layer, (*name).clone()));
            let mut rows: HashMap<&str, (ParamId, usize)> = HashMap::new();
            let mut shapes = vec![];
            for (other, h) in layers {
                let Ok(from) = theirs.id(&format!("{other}.{part}")) else { continue };
                let shape = &theirs.entries()[from].torch_shape;
                if shape[1..] != entry.torch_shape[1..] {
                    shapes.push(shape.clone());
                    continue;
                }
                for (row, track) in h.tracks.iter().enumerate() {
                    rows.entry(track).or_insert((from, row));
                }
            }
            let mut values = network.parameters().to_torch(id);
            let width = values.len() / head.tracks.len();
            let mut found = 0;
            let mut numbers: HashMap<ParamId, Vec<f64>> = HashMap::new();
            for (to, track) in values.chunks_mut(width).zip(&head.tracks) {
                let Some(&(from, row)) = rows.get(track.as_str()) else {
                    new_tracks.push(track.clone());
                    continue;
                };
                let all = numbers.entry(from).or_insert_with(|| theirs.to_torch(from));
                to.copy_from_slice(&all[row * width..][..width]);
                used.insert(from);
                found += 1;
            }
            match (found, shapes.first()) {
                (0, Some(shape)) => report.kept.push((name, shapes_differ(shape, &entry.torch_shape))),
                (0, None) => report.kept.push((name, "the file has none of its tracks".into())),
                (n, _) => {
                    network.parameters_mut().set_torch(id, &values)?;
                    if n == head.tracks.len() {
                        report.taken.push(name);
                    } else {
                        report.partly.push((name, n));
                    }
                }
            }
            continue;
        }
        match same.map(|from| (from, &theirs.entries()[from])) {
            Some((from, other)) if other.torch_shape == entry.torch_shape && other.kind == entry.kind => {
                network.parameters_mut().set_torch(id, &theirs.to_torch(from))?;
                used.insert(from);
                report.taken.push(name);
            }
            _ if is_derived_tensor(&name) => {}
            Some((_, other)) => report.kept.push((name, shapes_differ(&other.torch_shape, &entry.torch_shape))),
            None => report.kept.push((name, "the file has none of that name".into())),
        }
    }
    if report.taken.is_empty() && report.partly.is_empty() {
        let (name, why) = report.kept.first().cloned().unwrap_or_default();
        return Err(Error::Usage(format!("nothing of the file fits the model; '{name}': {why}")));
    }
    let known = |id: ParamId, name: &str| used.contains(&id) || network.parameters().id(name).is_ok();
    let unknown = theirs.entries().iter().enumerate().filter(|(id, e)| !known(*id, &e.name));
    report.ignored = unknown.map(|(_, e)| e.name.clone()).filter(|name| !is_derived_tensor(name)).collect();
    if rows == Match::Names {
        let ours: BTreeSet<&String> = tracks.iter().flatten().collect();
        report.ignored_tracks = source.tracks.iter().flatten().filter(|t| !ours.contains(t)).cloned().collect();
        let new: BTreeSet<String> = new_tracks.into_iter().collect();
        report.new_tracks = tracks.iter().flatten().filter(|t| new.contains(*t)).cloned().collect();
    }
    Ok(report)
}

fn shapes_differ(there: &[usize], here: &[usize]) -> String {
    format!("shape {there:?} in the file, {here:?} in the model")
}

/// How rows of layers that make tracks find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// By the names of the tracks.
    Names,
    /// By place, in layers of one shape.
    Place,
}

impl Match {
    /// By place where only one of the two has names: numbers (C0, C1, ..) stand for names that nobody gave
    /// ([`Model::untrained`], targets without a header).
    pub fn of(source: &Model, tracks: &[Vec<String>]) -> Self {
        let numbered = |t: &String| t.strip_prefix('C').is_some_and(|n| n.parse::<usize>().is_ok());
        let all = |tracks: &[Vec<String>]| tracks.iter().flatten().all(numbered);
        if all(&source.tracks) && !all(tracks) { Self::Place } else { Self::Names }
    }
}

/// A linear layer whose rows are tracks.
struct Head {
    /// The input that it belongs to; none behind a join.
    input: Option<usize>,
    tracks: Vec<String>,
}

/// The linear layers of a network that make its tracks, by their names.
fn heads(network: &Network, tracks: &[Vec<String>]) -> HashMap<String, Head> {
    let (plans, mut all) = (network.plans(), HashMap::new());
    let Some(join) = &network.architecture().join else {
        for (head, tracks) in plans.inputs.iter().flat_map(|plan| &plan.heads).zip(tracks) {
            for name in head.tracks.names() {
                all.insert(name.to_string(), Head { input: None, tracks: tracks.clone() });
            }
        }
        return all;
    };
    for ((output, plan), tracks) in join.outputs.iter().zip(&plans.outputs).zip(tracks) {
        match (&output.by, plan) {
            (_, Some((_, head))) => {
                for name in head.tracks.names() {
                    all.insert(name.to_string(), Head { input: None, tracks: tracks.clone() });
                }
            }
            (Combination::Relation { head, .. }, None) => {
                for &i in &output.inputs {
                    for name in plans.inputs[i].heads[*head].tracks.names() {
                        let head = || Head { input: Some(i), tracks: tracks.clone() };
                        all.entry(name.to_string()).or_insert_with(head);
                    }
                }
            }
            (Combination::Stack { .. }, None) => {}
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::options::{DataFacts, InputFacts, parse_option_string, resolve};
    use crate::model::spec::{Beluga, Published};

    const HEAD: &str = "classifier.classifier.Linear.weight";
    const BIAS: &str = "classifier.classifier.Linear.bias";
    const STEM: &str = "convolutions.conv1d.weight";

    fn model(options: &str, inputs: usize, tracks: &[&[&str]], seed: u64) -> Model {
        let facts = DataFacts {
            inputs: vec![InputFacts { length: 40, reverse_complement: true }; inputs],
            tracks: tracks.iter().map(|t| t.len()).collect(),
            names: vec![],
            bins: None,
        };
        let options = format!(
            "num_kernels=4+l_kernels=5+max_pooling=False+mean_pooling=True+pooling_size=8{}{options}",
            if options.is_empty() { "" } else { "+" }
        );
        let spec = resolve(&parse_option_string(&options).unwrap(), &facts).unwrap().0;
        let tracks = tracks.iter().map(|t| t.iter().map(|t| t.to_string()).collect()).collect();
        Model { tracks, ..Model::untrained(Network::new(spec, seed).unwrap()) }
    }

    fn get(m: &Model, name: &str) -> Vec<f64> {
        m.network.parameters().to_torch(m.network.parameters().id(name).unwrap())
    }

    fn fit(to: &Model, from: &Model, patterns: &[&str]) -> Result<(Model, FitReport)> {
        let mut to = to.clone();
        let patterns: Vec<String> = patterns.iter().map(|p| p.to_string()).collect();
        let rows = Match::of(from, &to.tracks);
        let report = import_fitting(&mut to.network, &to.tracks, from, rows, &patterns)?;
        Ok((to, report))
    }

    #[test]
    fn rows_of_heads_go_by_the_names_of_tracks() {
        let source = model("dilated_convolutions=1", 1, &[&["a", "b", "c"]], 1);
        let (all, report) = fit(&model("dilated_convolutions=1", 1, &[&["c", "a", "b"]], 2), &source, &[]).unwrap();
        assert!(report.is_exact(), "{report:?}");
        let (old, new) = (get(&source, BIAS), get(&all, BIAS));
        assert_eq!(new, [old[2], old[0], old[1]]);

        let start = model("dilated_convolutions=1", 1, &[&["c", "x"]], 2);
        let (some, report) = fit(&start, &source, &[]).unwrap();
        assert_eq!(get(&some, BIAS), [old[2], get(&start, BIAS)[1]]);
        let width = get(&start, HEAD).len() / 2;
        assert_eq!(get(&some, HEAD)[..width], get(&source, HEAD)[2 * width..]);
        assert_eq!(get(&some, HEAD)[width..], get(&start, HEAD)[width..]);
        assert_eq!(report.partly, [(HEAD.to_string(), 1), (BIAS.to_string(), 1)]);
        assert_eq!((report.new_tracks, report.ignored_tracks), (vec!["x".into()], vec!["a".into(), "b".into()]));

        let (none, report) = fit(&model("dilated_convolutions=1", 1, &[&["x"]], 3), &source, &[]).unwrap();
        assert_eq!(report.kept[0], (HEAD.into(), "the file has none of its tracks".into()));
        assert_eq!(get(&none, STEM), get(&source, STEM));
    }

    #[test]
    fn published_models_start_nothing() {
        let small = Beluga { length: 330, channels: [3, 4, 5], hidden: 7, tracks: 6, ..Beluga::default() };
        let source = Model::untrained(Network::new(Published::Beluga(small), 1).unwrap());
        let message = fit(&model("", 1, &[&["a"]], 2), &source, &[]).unwrap_err().to_string();
        assert!(message.contains("not supported: beluga is a published architecture"), "{message}");
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let source = model("dilated_convolutions=2", 1, &[&["a"]], 1);
        let start = model("dilated_convolutions=1+l_dilkernels=3+nfc_layers=1", 1, &[&["a"]], 2);
        let (m, report) = fit(&start, &source, &[]).unwrap();
        let conv = "convolution_layers.convlayers.Conv0.conv1d.weight";
        assert_eq!(get(&m, conv), get(&start, conv));
        let why = |name: &str| report.kept.iter().find(|k| k.0 == name).map_or("", |k| &k.1);
        assert!(why(conv).starts_with("shape [4, 4, "), "{report:?}");
        assert!(report.ignored.iter().any(|n| n.contains("Conv1")), "{report:?}");
        assert!(report.kept.iter().any(|(n, why)| n.starts_with("nfcs") && why.contains("none of that name")));

        let (m, report) = fit(&start, &source, &["convolutions.*"]).unwrap();
        assert_eq!((get(&m, STEM), report.taken.len()), (get(&source, STEM), 2));
        assert_eq!(report.left.len() + 2, start.network.parameters().entries().len());
        let message = fit(&start, &source, &["convolutons.*"]).unwrap_err().to_string();
        assert!(message.contains("did you mean 'convolutions.*'"), "{message}");
        let message = fit(&start, &source, &[conv]).unwrap_err().to_string();
        assert!(message.contains("nothing of the file fits") && message.contains("in the model"), "{message}");
    }

    #[test]
    fn heads_of_several_files_and_inputs() {
        let source = model("", 1, &[&["a", "b"], &["c"]], 1);
        let one = model("", 1, &[&["c", "b"]], 2);
        let (m, report) = fit(&one, &source, &[]).unwrap();
        let first = "classifier.0.classifier.Linear.bias";
        assert_eq!(get(&m, BIAS), [get(&source, "classifier.1.classifier.Linear.bias")[0], get(&source, first)[1]]);
        assert!(report.new_tracks.is_empty() && report.kept.is_empty() && report.ignored.is_empty(), "{report:?}");
        assert_eq!(report.ignored_tracks, ["a"]);

        // A formula of two inputs: each keeps to its own.
        let options = "outclass=difference+shared_embedding=False";
        let (source, start) = (model(options, 2, &[&["a", "b"]], 1), model(options, 2, &[&["b", "n"]], 2));
        let (m, report) = fit(&start, &source, &["cnns.CNN1.*"]).unwrap();
        let name = |i: usize| {
            let mut names = source.network.parameters().entries().iter().map(|e| e.name.clone());
            names.find(|n| n.starts_with(&format!("cnns.CNN{i}.classifier")) && n.ends_with("Linear.bias")).unwrap()
        };
        assert_eq!(get(&m, &name(1)), [get(&source, &name(1))[1], get(&start, &name(1))[1]]);
        assert_eq!(get(&m, &name(0)), get(&start, &name(0)));
        assert_eq!(report.new_tracks, ["n"]);
    }

    /// Models of other programs come without names.
    #[test]
    fn numbered_tracks_go_by_place() {
        let source = model("", 1, &[&["C0", "C1"]], 1);
        let (m, report) = fit(&model("", 1, &[&["x", "y"]], 2), &source, &[]).unwrap();
        assert!(report.is_exact(), "{report:?}");
        assert_eq!(get(&m, BIAS), get(&source, BIAS));
        let (_, report) = fit(&model("", 1, &[&["x"]], 2), &source, &[]).unwrap();
        assert_eq!(report.kept.len(), 2, "{report:?}");
    }
}
