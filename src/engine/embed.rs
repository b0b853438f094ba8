//! Activations of a network at one of its layers, a batch at a time.

use crate::device::Precision;
use crate::error::{Error, Result, hint};
use crate::model::spec::{Architecture, Combination};
use crate::model::{Network, Tap};
use crate::seq::UNKNOWN;
use crate::tape::{Tape, Var};

use super::mutate::{Predictor, cut};
use super::predict::automatic_batch;

/// Layers of the network of an input: the reference's numbers, our names.
const LAYERS: [(&str, &str, Tap); 8] = [
    ("0", "stem", Tap::Stem),
    ("1", "pool", Tap::Pool),
    ("2", "first-block", Tap::FirstBlock),
    ("3", "attention", Tap::Attention),
    ("4", "second-block", Tap::SecondBlock),
    ("5", "flat", Tap::Flat),
    ("6", "head-input", Tap::HeadInput),
    ("-1", "head-input", Tap::HeadInput),
];

/// A layer of a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layer {
    /// What is looked at.
    pub tap: Tap,
    /// Of which input; of [`Tap::Combined`] of which output; 0 of [`Tap::Joined`].
    pub of: usize,
}

/// What is made of the positions of a layer that has some.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Positions {
    /// All are kept.
    #[default]
    All,
    /// Their mean.
    Mean,
    /// Their maximum.
    Max,
}

/// Activations of a network at a layer.
#[derive(Debug)]
pub struct Embedding<'a> {
    network: &'a Network,
    layer: Layer,
    positions: Positions,
    precision: Precision,
    shape: Vec<usize>,
}

impl Layer {
    /// Reads the reference's number of a layer (`0` to `6`, `-1`) or its name: `stem`, `pool`, `first-block`, `attention`,
    /// `second-block`, `flat`, `head-input`. Networks of several inputs take `LAYER@INPUT`, and besides `heads@INPUT` (what the
    /// network of an input hands on), `joined` (that of all inputs, side by side) and `combined@OUTPUT` (input of the last layer of an
    /// output behind its own fully connected layers).
    ///
    /// # Errors
    /// [`Error::Usage`] for a text that names no layer of this architecture.
    pub fn parse(text: &str, architecture: &Architecture) -> Result<Self> {
        let inputs = architecture.lengths().len();
        let (name, place) = match text.split_once('@') {
            None => (text, None),
            Some((name, place)) => (name, Some(place)),
        };
        let name = name.trim().to_lowercase().replace('_', "-");
        let number = |what: &str, n: usize| match place.map(str::trim) {
            None if n == 1 => Ok(0),
            None => Err(Error::Usage(format!(
                "layer '{text}': the model has {n} {what}s; expected {name}@{} with the number of one, 0 to {}",
                what.to_uppercase(),
                n - 1
            ))),
            Some(place) => match place.parse::<usize>() {
                Ok(i) if i < n => Ok(i),
                _ => Err(Error::Usage(format!(
                    "layer '{text}': expected the number of an {what} behind @, 0 to {}; found '{place}'",
                    n - 1
                ))),
            },
        };
        let several = architecture.join.is_some();
        if let Some((.., tap)) = LAYERS.iter().find(|l| l.0 == name || l.1 == name) {
            if architecture.published.is_some() && !matches!(tap, Tap::Stem | Tap::HeadInput) {
                let what = format!("layer '{text}': of a published architecture there are stem and head-input");
                return Err(Error::Usage(what));
            }
            if *tap == Tap::Flat && architecture.bins().is_some() {
                let what =
                    format!("layer '{text}': a base-resolution model flattens nothing; second-block is its last map");
                return Err(Error::Usage(what));
            }
            return Ok(Self { tap: *tap, of: number("input", inputs)? });
        }
        match (name.as_str(), &architecture.join) {
            ("heads", Some(_)) => Ok(Self { tap: Tap::Heads, of: number("input", inputs)? }),
            ("joined", Some(_)) if place.is_none() => Ok(Self { tap: Tap::Joined, of: 0 }),
            ("combined", Some(join)) => {
                let of = number("output", join.outputs.len())?;
                match join.outputs[of].by {
                    Combination::Stack { .. } => Ok(Self { tap: Tap::Combined, of }),
                    Combination::Relation { .. } => {
                        let name = &join.outputs[of].name;
                        let what = format!(
                            "layer '{text}': output {name} is a formula of the heads and has no layers of its own"
                        );
                        Err(Error::Usage(format!("{what}; heads@INPUT are the heads")))
                    }
                }
            }
            _ => {
                let names = || {
                    LAYERS[..7]
                        .iter()
                        .map(|l| l.1)
                        .chain(["heads", "joined", "combined"].into_iter().filter(|_| several))
                };
                let list = names().collect::<Vec<_>>().join(", ");
                let near = hint(&name, names());
                Err(Error::Usage(format!("unknown layer '{text}'{near}; expected 0 to 6, -1, or one of {list}")))
            }
        }
    }
}

impl<'a> Embedding<'a> {
    /// Activations at `layer`, `positions` reduced, with products of a GPU as exact as `precision` says.
    ///
    /// # Errors
    /// Those of a forward pass.
    pub fn new(network: &'a Network, layer: Layer, positions: Positions, precision: Precision) -> Result<Self> {
        let mut made = Self { network, layer, positions, precision, shape: vec![] };
        made.shape = made.pass(&vec![UNKNOWN; network.architecture().length()])?.0;
        Ok(made)
    }

    /// Shape of the activations of one sequence: `[C, L]`, or `[D]` of a layer without positions or with reduced ones.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Sequences that are run at once for good speed in little memory.
    pub fn batch(&self) -> usize {
        automatic_batch(self.network)
    }

    /// Activations `[N, C, L]` or `[N, D]` of packed bases `[N, length]` (those of all inputs, one after the other), all in memory
    /// at once. Flattened maps are channel-major, as the reference's; the head input of a profile is `[N, tracks, bins]`. With average_strands they are those of the given strand.
    ///
    /// # Errors
    /// [`Error::Shape`] if the bases are no whole sequences; those of a forward pass.
    pub fn values(&self, bases: &[u8]) -> Result<Vec<f32>> {
        self.pass(bases).map(|found| found.1)
    }

    /// Shape of one sequence's, and values.
    fn pass(&self, bases: &[u8]) -> Result<(Vec<usize>, Vec<f32>)> {
        let mut tape = Tape::predict();
        tape.precision = self.precision;
        let x = Var::constant(self.network.input(bases)?);
        let inputs = cut(self.network, &mut tape, &x)?;
        let bound = self.network.parameters().bind(&mut tape, false)?;
        let mut found = None;
        let Layer { tap, of } = self.layer;
        self.network.observed(&mut tape, &bound, &inputs, &mut |place, seen, value| {
            if (seen, place) == (tap, of) {
                found = Some(value.value.clone());
            }
        })?;
        let Some(found) = found else {
            let what = format!("the activations of layer {:?} of this model", self.layer.tap);
            return Err(Error::Unsupported { op: "embedding", what });
        };
        let shape = found.shape().to_vec();
        let values: Vec<f32> = found.to_cpu()?.to_f64().into_iter().map(|v| v as f32).collect();
        let n = shape[0];
        let plan = self.network.plans().inputs.get(of);
        let profile = self.network.architecture().bins().is_some();
        let flattened = match (tap, plan) {
            (Tap::HeadInput, _) if profile => None,
            (Tap::Flat, Some(p)) => Some((p.length, p.channels)),
            (Tap::HeadInput, Some(p)) if p.fc.is_empty() => Some((p.length, p.channels)),
            _ => None,
        };
        match (shape[1..].to_vec(), flattened) {
            (flat, Some((l, c))) => Ok((flat, channels_first(&values, n, l, c))),
            (map, None) if map.len() == 2 => {
                // Before its output function a profile is [N, tracks, bins] already.
                let turned = tap == Tap::HeadInput;
                let (c, l) = if turned { (map[0], map[1]) } else { (map[1], map[0]) };
                let values = if turned { values } else { channels_first(&values, n, l, c) };
                let rows = values.chunks_exact(l.max(1));
                Ok(match self.positions {
                    Positions::All => (vec![c, l], values),
                    Positions::Mean => {
                        let mean = |row: &[f32]| row.iter().map(|&v| f64::from(v)).sum::<f64>() / l as f64;
                        (vec![c], rows.map(|row| mean(row) as f32).collect())
                    }
                    Positions::Max => (vec![c], rows.map(highest).collect()),
                })
            }
            (vector, None) => Ok((vector, values)),
        }
    }
}

/// The largest number; NaN if one is none.
fn highest(row: &[f32]) -> f32 {
    row.iter().copied().fold(f32::NEG_INFINITY, |a, b| if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) })
}

/// `[N, C, L]` from `[N, L, C]`.
fn channels_first(values: &[f32], n: usize, l: usize, c: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(values.len());
    for map in values.chunks_exact((l * c).max(1)).take(n) {
        for channel in 0..c {
            out.extend((0..l).map(|p| map[p * c + channel]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::options::{DataFacts, InputFacts, parse_option_string, resolve};
    use crate::model::spec::{Beluga, Published};

    fn network(options: &str, inputs: &[usize], tracks: Vec<usize>) -> Network {
        let inputs = inputs.iter().map(|&length| InputFacts { length, reverse_complement: true }).collect();
        let facts = DataFacts { inputs, tracks, names: vec![], bins: None };
        Network::new(resolve(&parse_option_string(options).unwrap(), &facts).unwrap().0, 5).unwrap()
    }

    #[test]
    fn layers_have_numbers_and_names() {
        let one = network("num_kernels=3+l_kernels=4+pooling_size=5", &[20], vec![2]);
        let of = |text: &str| Layer::parse(text, one.architecture()).map(|l| l.tap);
        for (text, tap) in
            [("0", Tap::Stem), ("first_block", Tap::FirstBlock), ("-1", Tap::HeadInput), ("5@0", Tap::Flat)]
        {
            assert_eq!(of(text).unwrap(), tap);
        }
        let message = of("hed-input").unwrap_err().to_string();
        assert!(message.contains("(did you mean 'head-input'?)") && !message.contains("joined"), "{message}");
        assert!(
            of("6@1").unwrap_err().to_string().contains("expected the number of an input behind @, 0 to 0; found '1'")
        );
        assert!(of("joined").is_err());

        let formula = network("num_kernels=3+l_kernels=4+pooling_size=5+outclass=difference", &[20, 17], vec![2]);
        let of = |text: &str| Layer::parse(text, formula.architecture());
        assert_eq!(of("6@1").unwrap(), Layer { tap: Tap::HeadInput, of: 1 });
        assert!(of("6").unwrap_err().to_string().contains("the model has 2 inputs; expected 6@INPUT"));
        assert!(of("combined").unwrap_err().to_string().contains("is a formula of the heads"));
        assert_eq!(of("joined").unwrap().tap, Tap::Joined);
    }

    #[test]
    fn layers_of_other_architectures() {
        let sizes = Beluga { length: 330, channels: [3, 4, 5], hidden: 7, tracks: 6, ..Beluga::default() };
        let net = Network::new(Published::Beluga(sizes), 1).unwrap();
        let parse = |text: &str| Layer::parse(text, net.architecture());
        assert!(parse("4").unwrap_err().to_string().contains("there are stem and head-input"));
        assert!(parse("heads").is_err() && parse("stem@1").is_err());
        let shape = |text: &str| {
            let made = Embedding::new(&net, parse(text).unwrap(), Positions::All, Precision::F32).unwrap();
            (made.shape().to_vec(), made.values(&[2; 660]).unwrap().len())
        };
        assert_eq!(shape("stem"), (vec![3, 323], 2 * 3 * 323));
        assert_eq!(shape("-1@0"), (vec![7], 14));
    }

    #[test]
    fn batches_change_nothing_and_positions_are_reduced() {
        let net = network("num_kernels=3+l_kernels=4+pooling_size=5+nfc_layers=0", &[20], vec![2]);
        let bases: Vec<u8> = (0..60).map(|i| (i * i % 4) as u8).collect();
        let at = |text, positions| {
            let layer = Layer::parse(text, net.architecture()).unwrap();
            let made = Embedding::new(&net, layer, positions, Precision::F32).unwrap();
            (made.shape().to_vec(), made.values(&bases).unwrap(), made.values(&bases[20..40]).unwrap())
        };
        let (shape, maps, second) = at("pool", Positions::All);
        assert_eq!((shape, maps.len()), (vec![3, 4], 36));
        assert_eq!(maps[12..24], second);
        // Without fully connected layers the heads read the map itself, channel by channel.
        for text in ["flat", "head-input"] {
            assert_eq!(at(text, Positions::Max), (vec![12], maps.clone(), second.clone()));
        }
        let (shape, highest, _) = at("pool", Positions::Max);
        assert_eq!(shape, [3]);
        let expected: Vec<f32> = maps.chunks(4).map(|c| c.iter().copied().fold(f32::MIN, f32::max)).collect();
        assert_eq!(highest, expected);
        assert!(super::highest(&[1.0, f32::NAN, 2.0]).is_nan());
        let (_, means, _) = at("pool", Positions::Mean);
        assert!(means.iter().zip(maps.chunks(4)).all(|(m, c)| (m - c.iter().sum::<f32>() / 4.0).abs() < 1e-6));
        let layer = Layer { tap: Tap::Stem, of: 0 };
        assert!(Embedding::new(&net, layer, Positions::All, Precision::F32).unwrap().values(&bases[1..]).is_err());
    }
}
