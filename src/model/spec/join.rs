//! Models of several inputs: a network for each, and what is made of their outputs.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{FcSpec, HeadOutput, ModelSpec, ProfileSpec, Published};
use crate::error::{Error, Result};

named! {
    /// A formula of the outputs a and b of one or two networks.
    Relation, "outclass" {
        /// `a`
        Direct = "direct",
        /// `a - b`
        Difference = "difference",
        /// `exp(min(a - b, ln 2048))`
        ExpDifference = "expdifference",
        /// `(relu(a) + 1e-12) / (relu(b) + 1e-12)`
        Fraction = "fraction",
    }
}

impl Relation {
    /// Number of networks.
    pub fn arguments(self) -> usize {
        if self == Self::Direct { 1 } else { 2 }
    }
}

/// `ln(offset + x) / ln(base)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogScale {
    /// Base.
    pub base: f64,
    /// Added to x.
    pub offset: f64,
}

/// How an output comes from the networks of its inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Combination {
    /// A formula of one head of one or two inputs.
    Relation {
        /// The formula.
        relation: Relation,
        /// Number of the head; 0 where the networks have one head for all outputs.
        head: usize,
        /// Logarithm of the result.
        log: Option<LogScale>,
    },
    /// The first heads of the inputs side by side, then fully connected layers and a linear one.
    Stack {
        /// Fully connected layers, without an embedding of their own.
        fc: Option<FcSpec>,
        /// Batch norm in front of the linear layer.
        batch_norm: bool,
        /// What follows it.
        output: HeadOutput,
    },
}

/// One output: the tracks of one modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputSpec {
    /// Name of the modality.
    pub name: String,
    /// Number of tracks.
    pub tracks: usize,
    /// Inputs that it is made from, in this order.
    pub inputs: Vec<usize>,
    /// How.
    pub by: Combination,
}

/// What is made of the networks of several inputs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinSpec {
    /// Outputs in the order of the modalities.
    pub outputs: Vec<OutputSpec>,
}

/// The architecture of a whole model: a network for each input, and what joins them if there are several. Without a join the
/// heads of the only network are the outputs. An average is several such models, whose outputs are averaged. Stored as the
/// [`ModelSpec`] alone, or as `{"inputs": [..], "join": ..}`, with `members` and `scales` where there are any. Or else a
/// published architecture, of which no options say what it is made of: stored as `{"published": {"name": ..}}`.
#[derive(Debug, Clone, PartialEq)]
pub struct Architecture {
    /// Networks of the inputs; where there is a join, their heads are embeddings. None of a published architecture.
    pub inputs: Vec<ModelSpec>,
    /// What joins them.
    pub join: Option<JoinSpec>,
    /// The published architecture that it is.
    pub published: Option<Published>,
    /// Models of this architecture whose outputs are averaged; 1 for a plain model.
    pub members: usize,
    /// For every member of an average a factor for each track, by which its outputs are multiplied before the mean; empty where
    /// there are none.
    pub scales: Vec<Vec<f64>>,
}

impl From<ModelSpec> for Architecture {
    fn from(spec: ModelSpec) -> Self {
        Self { inputs: vec![spec], join: None, published: None, members: 1, scales: vec![] }
    }
}

impl From<Published> for Architecture {
    fn from(published: Published) -> Self {
        Self { inputs: vec![], join: None, published: Some(published), members: 1, scales: vec![] }
    }
}

impl Architecture {
    /// Networks of several inputs, joined.
    pub fn joined(inputs: Vec<ModelSpec>, join: JoinSpec) -> Self {
        Self { inputs, join: Some(join), published: None, members: 1, scales: vec![] }
    }

    /// Name and number of tracks of every output.
    pub fn outputs(&self) -> Vec<(&str, usize)> {
        if let Some(published) = &self.published {
            return vec![(published.name(), published.tracks())];
        }
        match &self.join {
            Some(join) => join.outputs.iter().map(|o| (o.name.as_str(), o.tracks)).collect(),
            None => self.inputs.iter().flat_map(|i| &i.heads).map(|h| (h.name.as_str(), h.tracks)).collect(),
        }
    }

    /// Number of tracks of all outputs.
    pub fn tracks(&self) -> usize {
        self.outputs().iter().map(|o| o.1).sum()
    }

    /// How the outputs give values to bins, where they are profiles.
    pub fn profile(&self) -> Option<&ProfileSpec> {
        self.inputs.first().and_then(|i| i.profile.as_ref())
    }

    /// Bins of every track, where the outputs are profiles.
    pub fn bins(&self) -> Option<usize> {
        self.profile().map(|p| p.bins)
    }

    /// Bases of every input.
    pub fn lengths(&self) -> Vec<usize> {
        let published = self.published.iter().map(Published::length);
        published.chain(self.inputs.iter().map(|i| i.length)).collect()
    }

    /// Bases of all inputs.
    pub fn length(&self) -> usize {
        self.lengths().iter().sum()
    }

    /// Outputs of the networks that no output of the model is made from, as (input, head): nothing trains them.
    pub fn unused_heads(&self) -> Vec<(usize, usize)> {
        let Some(join) = &self.join else { return vec![] };
        let used = |input: usize, head: usize| {
            join.outputs.iter().filter(|o| o.inputs.contains(&input)).any(|o| match o.by {
                Combination::Relation { head: h, .. } => h == head,
                Combination::Stack { .. } => head == 0,
            })
        };
        let heads = |(i, spec): (usize, &ModelSpec)| (0..spec.heads.len()).map(move |h| (i, h)).collect::<Vec<_>>();
        self.inputs.iter().enumerate().flat_map(heads).filter(|&(i, h)| !used(i, h)).collect()
    }

    /// Refuses what options cannot say but a stored architecture could.
    pub(super) fn check(&self) -> Result<()> {
        let need = |valid: bool, what: String| {
            if valid { Ok(()) } else { Err(Error::Usage(format!("model specification: expected {what}"))) }
        };
        need(self.members > 0, "at least 1 member".into())?;
        let scaled = self.scales.len() == self.members && self.scales.iter().all(|s| s.len() == self.tracks());
        need(self.scales.is_empty() || (self.members > 1 && scaled), "scales of every member and track".into())?;
        if let Some(published) = &self.published {
            need(self.members == 1, "no average of published architectures".into())?;
            need(self.inputs.is_empty() && self.join.is_none(), "no networks beside a published architecture".into())?;
            return published.check();
        }
        let Some(join) = &self.join else {
            return need(self.inputs.len() == 1, format!("a join for {} inputs", self.inputs.len()));
        };
        let shift = self.inputs.first().map(|i| i.shift);
        need(self.inputs.iter().all(|i| Some(i.shift) == shift), "the same shift for all inputs".into())?;
        need(!self.inputs.is_empty() && !join.outputs.is_empty(), "inputs and outputs beside a join".into())?;
        need(self.inputs.iter().all(|i| i.profile.is_none()), "no profiles beside a join".into())?;
        for o in &join.outputs {
            let known = !o.inputs.is_empty() && o.inputs.iter().all(|&i| i < self.inputs.len());
            need(o.tracks > 0, format!("at least 1 track of output '{}'", o.name))?;
            need(known, format!("inputs below {} for output '{}'", self.inputs.len(), o.name))?;
            if let Combination::Relation { relation, head, .. } = &o.by {
                let n = relation.arguments();
                need(o.inputs.len() == n, format!("{n} inputs of '{relation}' for output '{}'", o.name))?;
                let fits = |&i: &usize| self.inputs[i].heads.get(*head).is_some_and(|h| h.tracks == o.tracks);
                need(o.inputs.iter().all(fits), format!("heads of {} tracks for output '{}'", o.tracks, o.name))?;
            }
            if let Combination::Stack { fc: Some(fc), .. } = &o.by {
                let one = fc.layers.len() == 1 && fc.width.is_none();
                need(one, format!("one number of layers without an embedding for output '{}'", o.name))?;
            }
        }
        Ok(())
    }
}

/// The stored form of several inputs, and of averages.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    inputs: Vec<ModelSpec>,
    join: Option<JoinSpec>,
    #[serde(default = "plain", skip_serializing_if = "is_plain")]
    members: usize,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    scales: Vec<Vec<f64>>,
}

fn plain() -> usize {
    1
}

fn is_plain(members: &usize) -> bool {
    *members == 1
}

/// The stored form of a published architecture.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    published: Published,
}

impl Serialize for Architecture {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        let Self { inputs, join, published, members, scales } = self.clone();
        match (self.inputs.as_slice(), &self.join, published) {
            (_, _, Some(published)) => Named { published }.serialize(to),
            ([spec], None, None) if members == 1 => spec.serialize(to),
            _ => Stored { inputs, join, members, scales }.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Architecture {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        use serde::de::Error;
        let value = serde_json::Value::deserialize(from)?;
        if value.get("published").is_some() {
            let Named { published } = serde_json::from_value(value).map_err(D::Error::custom)?;
            return Ok(published.into());
        }
        if value.get("inputs").is_none() {
            return serde_json::from_value::<ModelSpec>(value).map(Into::into).map_err(D::Error::custom);
        }
        let Stored { inputs, join, members, scales } = serde_json::from_value(value).map_err(D::Error::custom)?;
        Ok(Self { inputs, join, published: None, members, scales })
    }
}
