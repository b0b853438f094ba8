//! What a model is and how it is trained, completely resolved: no option strings, no defaults left to look up.
//!
//! [`ModelSpec`] is stored with every checkpoint; [`ModelSpec::plan`] says which layers, lengths, channels and
//! parameter names follow.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result, hint};

/// A kind that users name in options: its names, and the value of a name.
pub trait Named: Sized + Copy + 'static {
    /// What the kind is called in error texts, e.g. `activation`.
    const WHAT: &'static str;
    /// All values with their names.
    const ALL: &'static [(Self, &'static str)];

    /// The value of that name.
    fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, n)| *n == name).map(|(value, _)| *value)
    }

    /// The value of that name, or an error that lists the names.
    fn parse(name: &str) -> Result<Self> {
        let names = || Self::ALL.iter().map(|(_, n)| *n);
        Self::from_name(name).ok_or_else(|| {
            let list = names().collect::<Vec<_>>().join(", ");
            Error::Usage(format!("unknown {} '{name}'{}; expected one of {list}", Self::WHAT, hint(name, names())))
        })
    }
}

/// An enum whose variants have names: in options, in JSON and TOML, on display.
macro_rules! named {
    ($(#[$doc:meta])* $kind:ident, $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $name:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
        pub enum $kind {
            $($(#[$variant_doc])* #[serde(rename = $name)] $variant,)+
        }

        impl $crate::model::spec::Named for $kind {
            const WHAT: &'static str = $what;
            const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $name)),+];
        }

        impl $kind {
            /// Its name in options and files.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        }

        impl std::fmt::Display for $kind {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

mod join;
mod layers;
mod plan;
mod published;
mod train;
mod transform;

pub use join::*;
pub use layers::*;
pub use plan::*;
pub use published::*;
pub use train::*;
pub use transform::*;

named! {
    /// Activation functions by the reference's names.
    ActivationName, "activation" {
        /// `max(x, 0)`
        Relu = "ReLU",
        /// `max(x, 0) + 0.01`
        ReluNonZero = "ReLUnonZero",
        /// `x * Phi(x)` with the exact error function
        Gelu = "GELU",
        /// `1 / (1 + exp(-x))`
        Sigmoid = "Sigmoid",
        /// `tanh(x)`
        Tanh = "Tanh",
        /// `sin(x)`
        Sin = "Sin",
        /// `x`
        Identity = "Id0",
        /// `x` limited to +-2056
        Clamp = "CLAMP",
        /// softmax over the channels
        Softmax = "Softmax",
        /// `exp(min(x, ln 128))`
        ExpMax = "EXPmax",
        /// `exp(min(x, ln 2^32))`
        Exp = "EXP",
        /// `min(x, sqrt 128)^2`
        Squared = "SQUARED",
        /// `min(x, cbrt 128)^3`
        Third = "THIRD",
        /// ReLU limited to +-2056
        ClampedRelu = "cReLU",
        /// GELU limited to +-2056
        ClampedGelu = "cGELU",
    }
}

impl ActivationName {
    /// Whether it may stand between layers (`net_function`, `fc_function`); the others only follow the first layer or
    /// end a head.
    pub fn is_inner(self) -> bool {
        use ActivationName::*;
        matches!(self, Relu | ReluNonZero | Gelu | Sigmoid | Tanh | Sin | Identity | Clamp | Softmax)
    }
}

named! {
    /// How the two strands of the first layer become one value.
    StrandPool, "complement_pool" {
        /// The larger.
        Max = "max",
        /// The mean.
        Mean = "mean",
        /// The mean with softmax weights.
        Weighted = "weighted",
    }
}

named! {
    /// Kind of a pooling layer.
    PoolKind, "pooling" {
        /// Maximum; padding never wins.
        Max = "max",
        /// Mean without the padding.
        Mean = "mean",
        /// Channels of the mean, then channels of the maximum: twice as many.
        MeanMax = "mean-max",
        /// `sum_i x_i softmax(x)_i` inside the window; stride = size.
        Weighted = "weighted",
    }
}

named! {
    /// What a weighted pool sees where its window leaves the map.
    PoolPadding, "pool_padding" {
        /// Nothing: the window is smaller there.
        Exclude = "exclude",
        /// The minimum of the whole map of that sequence.
        SequenceMin = "sequence-min",
        /// The minimum over all maps of the batch: the reference's own rule, so results depend on the batch.
        BatchMin = "batch-min",
    }
}

named! {
    /// Where pools pad when the length is no multiple of their stride.
    PoolAlign, "pool_align" {
        /// On both sides equally, as the reference.
        Both = "both",
        /// On the right side only.
        Right = "right",
    }
}

named! {
    /// What a skip connection adds.
    Residual, "residual" {
        /// The previous convolution output before its own skip was added, as the reference.
        Reference = "reference",
        /// The running sum, as BPNet.
        Stream = "stream",
    }
}

/// Pooling after the first layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pooling {
    /// What a window becomes.
    pub kind: PoolKind,
    /// Window; none = the whole sequence.
    pub size: Option<usize>,
    /// Step; none = the size.
    pub stride: Option<usize>,
}

/// First layer: convolution on bases, both strands combined, activation, pooling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StemSpec {
    /// Number of kernels.
    pub kernels: usize,
    /// Kernel width in bases.
    pub width: usize,
    /// Whether kernels have a bias.
    pub bias: bool,
    /// Activation after the strands are combined.
    pub activation: ActivationName,
    /// How the strands are combined; none = the given strand only.
    pub strands: Option<StrandPool>,
    /// Pooling after the activation.
    pub pool: Option<Pooling>,
}

/// Pooling inside a block or after attention; stride = size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockPool {
    /// What a window becomes; never `MeanMax`.
    pub kind: PoolKind,
    /// Window and step.
    pub size: usize,
    /// It stands after every so many layers.
    pub every: usize,
}

/// Channels of the first layer of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FirstChannels {
    /// `int(channels * growth)`, like every other layer.
    Grow,
    /// As many as come in.
    Keep,
    /// So many.
    Set(usize),
}

/// A stack of convolution layers: batch norm, activation, convolution, skip, dropout, pooling.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockSpec {
    /// Number of layers; fewer are built where the length falls below the width or the pool.
    pub layers: usize,
    /// Kernel width.
    pub width: usize,
    /// Dilation of every layer.
    pub dilations: Vec<usize>,
    /// Step of every layer.
    pub strides: Vec<usize>,
    /// Channels of the first layer.
    pub first: FirstChannels,
    /// Every later layer has `int(channels * growth)` channels.
    pub growth: f64,
    /// Activation in front of every convolution.
    pub activation: ActivationName,
    /// Whether convolutions have a bias.
    pub bias: bool,
    /// Batch norm in front of every activation.
    pub batch_norm: bool,
    /// Dropout after every layer.
    pub dropout: f64,
    /// Pooling.
    pub pool: Option<BlockPool>,
    /// A skip ends after every so many layers.
    pub residual: Option<usize>,
    /// Skips are appended as channels instead of added.
    pub concat: bool,
}

/// Attention blocks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionSpec {
    /// Number of blocks.
    pub blocks: usize,
    /// Heads of every block.
    pub heads: usize,
    /// Queries and keys of one head have `int(key_factor * channels)` dimensions.
    pub key_factor: f64,
    /// Dimensions of the values of one head and channels of the output; none = those of the keys.
    pub value_dim: Option<usize>,
    /// Heads are summed instead of concatenated.
    pub sum_heads: bool,
    /// Batch norm in front of every block.
    pub batch_norm: bool,
    /// Dropout inside every block.
    pub dropout: f64,
    /// Pooling after every block.
    pub pool: Option<BlockPool>,
}

/// Fully connected layers between the flattened map and the heads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FcSpec {
    /// Width of the linear embedding in front; none = no embedding, the width is that of the flattened map.
    pub width: Option<usize>,
    /// Number of layers: one number = one stack for all heads, else one stack a head.
    pub layers: Vec<usize>,
    /// The first half of the layers widens by this factor, the second half narrows.
    pub widening: f64,
    /// Activation after every layer.
    pub activation: ActivationName,
    /// Batch norm in front of every layer.
    pub batch_norm: bool,
    /// Dropout of every layer.
    pub dropout: f64,
    /// A linear skip ends after every so many layers.
    pub residual: Option<usize>,
}

/// What a head does with its linear output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum HeadOutput {
    /// Nothing.
    Linear,
    /// `Class`: sigmoid.
    Class,
    /// `Multi_class`: softmax over the tracks.
    MultiClass,
    /// `Complex`: learned powers of the value and of its exponential.
    Complex,
    /// An activation function.
    Function(ActivationName),
}

impl HeadOutput {
    /// Its names, without those of activations.
    pub const NAMES: [&'static str; 4] = ["Linear", "Class", "Multi_class", "Complex"];

    /// The output of that name: `Linear`, `Class`, `Multi_class`, `Complex` or an activation.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "Linear" => Some(Self::Linear),
            "Class" => Some(Self::Class),
            "Multi_class" => Some(Self::MultiClass),
            "Complex" => Some(Self::Complex),
            _ => ActivationName::from_name(name).map(Self::Function),
        }
    }

    /// Its name in options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Linear => "Linear",
            Self::Class => "Class",
            Self::MultiClass => "Multi_class",
            Self::Complex => "Complex",
            Self::Function(activation) => activation.name(),
        }
    }
}

impl TryFrom<String> for HeadOutput {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::from_name(&name).ok_or_else(|| {
            let names = Self::NAMES.into_iter().chain(ActivationName::ALL.iter().map(|(_, n)| *n));
            Error::Usage(format!("unknown output '{name}'{}", hint(&name, names)))
        })
    }
}

impl From<HeadOutput> for String {
    fn from(output: HeadOutput) -> Self {
        output.name().into()
    }
}

/// One head: the tracks of one modality.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadSpec {
    /// Name of the modality.
    pub name: String,
    /// Number of tracks.
    pub tracks: usize,
    /// What follows the linear layer.
    pub output: HeadOutput,
}

/// Heads of a base-resolution model: every track has a value at each of some bins in the middle of the last map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileSpec {
    /// Bins of every track.
    pub bins: usize,
    /// Width of the convolution that makes the tracks (`final_kernel`).
    pub width: usize,
    /// Its step (`final_strides`).
    pub stride: usize,
    /// Where there is one, a track is its total count, this function of a linear layer on the mean of the map, times a softmax
    /// over its bins (`predict_from_dist`, `count_function`).
    pub counts: Option<ActivationName>,
    /// Dropout behind the first layer and its pool.
    pub dropout: f64,
    /// Tracks 0 and 1, 2 and 3, ... are the two strands of one signal, which change places where a sequence is turned.
    pub stranded: bool,
}

/// Architecture of a model with one input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelSpec {
    /// Letters of the four input channels.
    pub alphabet: String,
    /// Input length.
    pub length: usize,
    /// Every input is padded by so many positions of 0.25 on each side (shift augmentation).
    pub shift: usize,
    /// First layer.
    pub stem: StemSpec,
    /// First convolution block (`dilated_convolutions`).
    pub first_block: Option<BlockSpec>,
    /// Channels after a convolution of width 1 without bias (`embedding_convs`).
    pub embedding: Option<usize>,
    /// Attention.
    pub attention: Option<AttentionSpec>,
    /// Second convolution block (`transformer_convolutions`).
    pub second_block: Option<BlockSpec>,
    /// Fully connected layers.
    pub fc: Option<FcSpec>,
    /// Batch norm in front of every head.
    pub head_batch_norm: bool,
    /// Heads in the order of the modalities.
    pub heads: Vec<HeadSpec>,
    /// What weighted pools see beyond the ends.
    pub pool_padding: PoolPadding,
    /// Where pools pad.
    pub pool_align: PoolAlign,
    /// What skips add.
    pub residual: Residual,
    /// Whether a prediction is the mean of both strands' (outside training).
    pub average_strands: bool,
    /// How heads give values to bins, in a base-resolution model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileSpec>,
}

impl ModelSpec {
    /// Number of tracks of all heads.
    pub fn tracks(&self) -> usize {
        self.heads.iter().map(|h| h.tracks).sum()
    }

    /// Length that the first layer sees: the input with its shift padding.
    pub fn padded_length(&self) -> usize {
        self.length + 2 * self.shift
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_and_show() {
        for &(activation, name) in ActivationName::ALL {
            assert_eq!(ActivationName::from_name(name), Some(activation));
            assert_eq!(activation.to_string(), name);
            assert_eq!(HeadOutput::from_name(name), Some(HeadOutput::Function(activation)));
        }
        let message = ActivationName::parse("gelu").unwrap_err().to_string();
        assert!(
            message.contains("unknown activation 'gelu' (did you mean 'GELU'?); expected one of ReLU,"),
            "{message}"
        );
        assert!(ActivationName::Softmax.is_inner() && !ActivationName::Exp.is_inner());
    }

    #[test]
    fn head_outputs_are_stored_by_name() {
        for name in ["Linear", "Class", "Multi_class", "Complex", "EXP"] {
            let output: HeadOutput = serde_json::from_str(&format!("\"{name}\"")).unwrap();
            assert_eq!(serde_json::to_string(&output).unwrap(), format!("\"{name}\""));
        }
        let message = serde_json::from_str::<HeadOutput>("\"Clas\"").unwrap_err().to_string();
        assert!(message.contains("did you mean 'Class'?"), "{message}");
    }
}
