//! Published shapes, by name: what `drg bench` times and tests mutate.
//!
//! | name | what | source of the shape |
//! |---|---|---|
//! | `drg600`, `drg2k`, `drg40k`, `drg40k-attention` | DRG networks of one strand, 300 kernels, 128 tracks | the options below; skips add the running sum |
//! | `seqtofunc251` | convolutions of 200 kernels, mean pools, wide dense layers, 81 tracks | the Taylor-approximation paper's timing tables |
//! | `bpnet2114` | 64 filters, 8 dilated residual layers, 1,000 profile positions and a count | BPNet (Avsec et al. 2021) |
//! | `beluga` | three pairs of convolutions without padding, 2,002 tracks | DeepSEA Beluga (Zhou et al. 2018) |
//!
//! Weights are random. `benches/torch_cpu.py` holds the same models in PyTorch, bases in our order, under the same tensor names.
//! `tiny` is a network that nobody published, so small that it runs anywhere.

use crate::error::{Error, Result, hint};
use crate::model::network::Network;
use crate::model::options::{DataFacts, parse_option_string, resolve};
use crate::model::spec::{Architecture, Beluga, Published};

/// Options that the DRG networks share; `{}` stands for what differs.
const DRG: &str = "num_kernels=300+l_kernels=15+kernel_function=GELU+net_function=GELU+max_pooling=False+weighted_pooling=True\
    +pooling_size=4+dilated_convolutions=3+l_dilkernels=11+dilations=[1,2,4]+l_trkernels=11+fclayer_size=1024+nfc_layers=3\
    +conv_batch_norm=True+residual=stream+pool_align=right";

/// Options of the network that is only there to be run.
const TINY: &str = "num_kernels=8+l_kernels=5+kernel_function=GELU+net_function=GELU+max_pooling=False+weighted_pooling=True\
    +pooling_size=4+dilated_convolutions=1+l_dilkernels=3+dilations=[2]+fclayer_size=6+nfc_layers=1+conv_batch_norm=True\
    +residual=stream+pool_align=right";

/// Name of a published shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZooName {
    /// DRG on 600 bases.
    Drg600,
    /// DRG on 2,000 bases.
    Drg2k,
    /// DRG on 40,000 bases.
    Drg40k,
    /// DRG on 40,000 bases with attention over 1,000 positions.
    Drg40kAttention,
    /// SeqToFunc on 251 bases.
    SeqToFunc251,
    /// BPNet on 2,114 bases.
    Bpnet2114,
    /// Beluga on 2,000 bases.
    Beluga,
    /// A network of 48 bases that is no published shape.
    Tiny,
}

impl ZooName {
    /// All published shapes.
    pub const ALL: &[Self] = &[
        Self::Drg600,
        Self::Drg2k,
        Self::Drg40k,
        Self::Drg40kAttention,
        Self::SeqToFunc251,
        Self::Bpnet2114,
        Self::Beluga,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drg600 => "drg600",
            Self::Drg2k => "drg2k",
            Self::Drg40k => "drg40k",
            Self::Drg40kAttention => "drg40k-attention",
            Self::SeqToFunc251 => "seqtofunc251",
            Self::Bpnet2114 => "bpnet2114",
            Self::Beluga => "beluga",
            Self::Tiny => "tiny",
        }
    }

    /// The shape of that name.
    ///
    /// # Errors
    /// [`Error::Usage`] with the names that there are.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().chain([Self::Tiny]).find(|z| z.name() == name).ok_or_else(|| {
            let names = || Self::ALL.iter().map(|z| z.name());
            let list = names().collect::<Vec<_>>().join(", ");
            Error::Usage(format!("unknown model '{name}'{}; expected one of {list}", hint(name, names())))
        })
    }

    /// Length of its sequences in bases.
    pub fn length(self) -> usize {
        match self {
            Self::Drg600 => 600,
            Self::Drg2k | Self::Beluga => 2000,
            Self::Drg40k | Self::Drg40kAttention => 40_000,
            Self::SeqToFunc251 => 251,
            Self::Bpnet2114 => 2114,
            Self::Tiny => 48,
        }
    }

    /// Sequences of a batch that fills a small machine without filling its memory.
    pub fn default_batch(self) -> usize {
        match self.length() {
            10_000.. => 2,
            2000.. => 16,
            _ => 32,
        }
    }

    /// Its architecture.
    ///
    /// # Errors
    /// None in practice: a test builds every model.
    pub fn architecture(self) -> Result<Architecture> {
        let own = match self {
            Self::Drg600 => "transformer_convolutions=2+trweighted_pooling=6",
            Self::Drg2k => "transformer_convolutions=3+trweighted_pooling=6",
            Self::Drg40k => "transformer_convolutions=4+trweighted_pooling=6",
            Self::Drg40kAttention => {
                "transformer_convolutions=4+trweighted_pooling=4+dilweighted_pooling=10+dilpooling_steps=3\
                 +n_attention=1+n_distattention=4+dim_distattention=1.8"
            }
            Self::Tiny => "",
            Self::SeqToFunc251 => return Ok(Published::SeqToFunc251.into()),
            Self::Bpnet2114 => return Ok(Published::Bpnet2114.into()),
            // PyTorch's side of the measurements has bases in our order.
            Self::Beluga => {
                return Ok(Published::Beluga(Beluga { alphabet: "ACGT".into(), ..Beluga::default() }).into());
            }
        };
        let (options, tracks) = match self {
            Self::Tiny => (TINY.into(), 3),
            _ => (format!("{DRG}+{own}"), 128),
        };
        let facts = DataFacts::single(self.length(), vec![tracks], false);
        Ok(resolve(&parse_option_string(&options)?, &facts)?.0)
    }

    /// The model, its weights drawn from `seed` as PyTorch draws them: uniform within `1 / sqrt(fan in)`.
    ///
    /// # Errors
    /// None in practice: a test builds every model.
    pub fn network(self, seed: u64) -> Result<Network> {
        Network::new(self.architecture()?, seed)
    }
}

impl std::fmt::Display for ZooName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{Kind, Parameters};

    fn count(p: &Parameters) -> usize {
        p.entries().iter().filter(|e| e.kind == Kind::Parameter).map(|e| e.len()).sum()
    }

    fn shape(p: &Parameters, name: &str) -> Vec<usize> {
        p.entries()[p.id(name).unwrap()].torch_shape.clone()
    }

    #[test]
    fn names_parse() {
        for &name in ZooName::ALL {
            assert_eq!(ZooName::parse(name.name()).unwrap(), name);
            let architecture = name.architecture().unwrap();
            assert_eq!(architecture.length(), name.length());
            assert!(architecture.published.is_none_or(|p| p.name() == name.name()));
        }
        let message = ZooName::parse("bpnet").unwrap_err().to_string();
        assert!(message.contains("unknown model 'bpnet'") && message.contains("bpnet2114"), "{message}");
        assert_eq!(ZooName::Bpnet2114.default_batch(), 16);
    }

    #[test]
    fn shapes_are_the_published_ones() {
        let build = |name: ZooName| name.network(1).unwrap();
        let m = build(ZooName::SeqToFunc251);
        assert_eq!(shape(m.parameters(), "fc.0.weight"), [2000, 2000]);
        assert_eq!((m.flanks().0, count(m.parameters())), (3, 12_000 + 3 * 280_000 + 3 * 4_002_000 + 162_081));
        let m = build(ZooName::Bpnet2114);
        assert_eq!((m.flanks().0, shape(m.parameters(), "body.7.weight")), (0, vec![64, 64, 3]));
        assert_eq!(count(m.parameters()), 4 * 21 * 64 + 64 + 8 * (3 * 64 * 64 + 64) + 75 * 64 + 1 + 65);
        let m = build(ZooName::Drg600);
        assert_eq!(shape(m.parameters(), "nfcs.nfcs.EmbeddtoFully.weight"), [1024, 5 * 300]);
        assert_eq!(shape(m.parameters(), "nfcs.nfcs.Fullyconnected2.weight"), [1024, 1126]);
    }

    #[test]
    fn multiply_adds_of_a_network() {
        let m = ZooName::Drg600.network(1).unwrap();
        let convolutions = 600 * 15 * 4 * 300 + (3 * 150 + 150 + 25) * 11 * 300 * 300;
        let dense = 1500 * 1024 + 1024 * 1126 + 1126 * 1126 + 1126 * 1024 + 1024 * 128;
        assert_eq!(m.multiply_adds(), f64::from(convolutions + dense));
    }
}
