//! Published architectures: models of other groups that no options of ours describe.

use serde::{Deserialize, Serialize};

use super::HeadOutput;
use crate::error::{Error, Result};

/// A published architecture with its sizes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name")]
pub enum Published {
    /// Convolutions of 200 kernels, mean pools, wide dense layers: 251 bases, 81 tracks.
    #[serde(rename = "seqtofunc251")]
    SeqToFunc251,
    /// BPNet: 2,114 bases, a profile of 1,000 positions and a count.
    #[serde(rename = "bpnet2114")]
    Bpnet2114,
    /// DeepSEA Beluga.
    #[serde(rename = "beluga")]
    Beluga(Beluga),
}

/// Sizes of DeepSEA Beluga (Zhou et al. 2018), or of a model of its layers: three pairs of convolutions of width 8 without padding,
/// pools of 4 between the pairs, two dense layers. The default is the published model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beluga {
    /// Bases of a sequence.
    pub length: usize,
    /// Channels of the pairs of convolutions.
    pub channels: [usize; 3],
    /// Width of the first dense layer.
    pub hidden: usize,
    /// Tracks.
    pub tracks: usize,
    /// What follows the last layer: nothing (`Linear`, the published file: logits), or a sigmoid (`Class`).
    pub output: HeadOutput,
    /// Bases of the four channels that the first layer's tensor has in a state dict.
    pub alphabet: String,
}

impl Default for Beluga {
    fn default() -> Self {
        Self {
            length: 2000,
            channels: [320, 480, 640],
            hidden: 2003,
            tracks: 2002,
            output: HeadOutput::Linear,
            alphabet: "AGCT".into(),
        }
    }
}

impl Beluga {
    /// Width of the convolutions.
    pub const WIDTH: usize = 8;
    /// Positions that become one between the pairs.
    pub const POOL: usize = 4;
    /// Names of the convolutions in the published file.
    pub const CONVOLUTIONS: [&str; 6] =
        ["model.0.0", "model.0.2", "model.0.6", "model.0.8", "model.0.12", "model.0.14"];
    /// Names of the dense layers there.
    pub const DENSE: [&str; 2] = ["model.1.2.1", "model.1.4.1"];

    /// Positions behind the last convolution; none if the sequence is too short for all layers.
    pub fn positions(&self) -> Option<usize> {
        let pair = |length: usize| length.checked_sub(2 * (Self::WIDTH - 1));
        let between = |length: usize| pair(length).map(|l| l / Self::POOL);
        pair(between(between(self.length)?)?).filter(|&positions| positions > 0)
    }

    /// The shortest sequence that leaves so many positions behind the last convolution.
    pub fn shortest(positions: usize) -> usize {
        let pair = 2 * (Self::WIDTH - 1);
        Self::POOL * (Self::POOL * (positions + pair) + pair) + pair
    }

    /// For every channel of the state dict which of our bases it is.
    ///
    /// # Errors
    /// [`Error::Usage`] if the letters are not the four bases.
    pub fn bases(&self) -> Result<[usize; 4]> {
        let letters = self.alphabet.to_ascii_uppercase().replace('U', "T");
        let mut bases = [0; 4];
        for (code, base) in crate::seq::ALPHABET.into_iter().enumerate() {
            let place = letters.bytes().position(|letter| letter == base).filter(|_| letters.len() == bases.len());
            let place = place.ok_or_else(|| {
                Error::Usage(format!("alphabet {}: expected the letters A, C, G and T, each once", self.alphabet))
            })?;
            bases[place] = code;
        }
        Ok(bases)
    }
}

impl Published {
    /// Its name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::SeqToFunc251 => "seqtofunc251",
            Self::Bpnet2114 => "bpnet2114",
            Self::Beluga(_) => "beluga",
        }
    }

    /// Bases of a sequence.
    pub fn length(&self) -> usize {
        match self {
            Self::SeqToFunc251 => 251,
            Self::Bpnet2114 => 2114,
            Self::Beluga(sizes) => sizes.length,
        }
    }

    /// Number of outputs.
    pub fn tracks(&self) -> usize {
        match self {
            Self::SeqToFunc251 => 81,
            Self::Bpnet2114 => 1001,
            Self::Beluga(sizes) => sizes.tracks,
        }
    }

    /// Refuses what a stored architecture could say although no such model exists.
    pub(super) fn check(&self) -> Result<()> {
        let Self::Beluga(sizes) = self else { return Ok(()) };
        let wrong = |what: String| Err(Error::Usage(format!("beluga: {what}")));
        if sizes.positions().is_none() {
            let least = Beluga::shortest(1);
            return wrong(format!("{} bases are too few for its layers; expected {least} or more", sizes.length));
        }
        if sizes.channels.iter().chain([&sizes.hidden, &sizes.tracks]).any(|&n| n == 0) {
            return wrong("expected layers of one output or more".into());
        }
        if !matches!(sizes.output, HeadOutput::Linear | HeadOutput::Class) {
            return wrong(format!("output {}: expected Linear or Class", sizes.output.name()));
        }
        sizes.bases().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::spec::Architecture;

    #[test]
    fn architectures_are_stored_by_name() {
        let beluga = Beluga { output: HeadOutput::Class, ..Beluga::default() };
        for published in [Published::SeqToFunc251, Published::Bpnet2114, Published::Beluga(beluga)] {
            let stored = serde_json::to_string(&Architecture::from(published.clone())).unwrap();
            assert!(stored.starts_with(&format!("{{\"published\":{{\"name\":\"{}\"", published.name())), "{stored}");
            let model: Architecture = serde_json::from_str(&stored).unwrap();
            assert_eq!(model, published.clone().into());
            assert_eq!((model.lengths(), model.length()), (vec![published.length()], published.length()));
            assert_eq!(model.outputs(), [(published.name(), published.tracks())]);
            assert!(toml::to_string(&model).unwrap().contains("[published]"));
        }
        let refused = |text: &str, part: &str| {
            let model = serde_json::from_str::<Architecture>(text).map_err(|e| e.to_string());
            let message = model.and_then(|m| m.plan().map_err(|e| e.to_string())).unwrap_err();
            assert!(message.contains(part), "{message} without '{part}'");
        };
        let text = serde_json::to_string(&Architecture::from(Published::Beluga(Beluga::default()))).unwrap();
        refused(&text.replace("beluga", "enformer"), "unknown variant `enformer`");
        refused(&text.replace("hidden", "hiden"), "hiden");
        refused(&text.replace("2000", "309"), "309 bases are too few");
        refused(&text.replace("2003", "0"), "one output or more");
        refused(&text.replace("Linear", "ReLU"), "expected Linear or Class");
        refused(&text.replace("AGCT", "AGGT"), "alphabet AGGT");
    }

    #[test]
    fn sizes_of_beluga() {
        let sizes = Beluga::default();
        assert_eq!((sizes.positions(), sizes.bases().unwrap()), (Some(106), [0, 2, 1, 3]));
        let with = |alphabet: &str| Beluga { alphabet: alphabet.into(), ..Beluga::default() }.bases();
        assert_eq!((with("ACGT").unwrap(), with("tgca").unwrap()), ([0, 1, 2, 3], [3, 2, 1, 0]));
        assert_eq!(with("CAUG").unwrap(), [1, 0, 3, 2]);
        assert!(with("ACG").is_err() && with("ACGTA").is_err());
        let of = |length| Beluga { length, ..Beluga::default() }.positions();
        assert_eq!((of(309), of(310), of(0)), (None, Some(1), None));
        assert_eq!((of(1989), of(1990), of(2005), of(2006)), (Some(105), Some(106), Some(106), Some(107)));
        assert_eq!((Beluga::shortest(1), Beluga::shortest(106)), (310, 1990));
    }
}
