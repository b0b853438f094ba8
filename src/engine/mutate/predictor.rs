//! What the mutation engine needs of a model: a forward pass on a tape. It never asks what the model is made of.

use std::ops::Range;

use crate::device::{Device, Precision};
use crate::engine::predict::batch_on;
use crate::error::{Error, Result};
use crate::model::Network;
use crate::model::spec::{ModelSpec, PoolPadding};
use crate::nn::Parameters;
use crate::ops;
use crate::tape::{Keep, Mode, NodeId, Tape, Var};
use crate::tensor::{DType, Tensor};

/// A model that maps packed bases to one value a track. Clones are cheap: they share their numbers.
pub trait Predictor: Clone + Send + Sync + 'static {
    /// Bases of a sequence. For a model of several inputs: those of all inputs, one after the other.
    fn length(&self) -> usize;

    /// Bases of every input.
    fn segments(&self) -> Vec<usize> {
        vec![self.length()]
    }

    /// Where each input lies in a sequence of all of them.
    fn spans(&self) -> Vec<Range<usize>> {
        let mut from = 0;
        let span = |length: usize| {
            from += length;
            from - length..from
        };
        self.segments().into_iter().map(span).collect()
    }

    /// Number of outputs.
    fn tracks(&self) -> usize;

    /// Bases that stand before and after every input.
    fn flank(&self) -> usize;

    /// Code of these bases.
    fn flank_code(&self) -> u8;

    /// Whether a prediction is the same in every batch. If it is not, the naive engine runs one sequence at a time.
    fn is_batch_independent(&self) -> bool {
        true
    }

    /// Its numbers.
    fn parameters(&self) -> &Parameters;

    /// One row of `[N, T]` a sequence, from packed bases `[N, L]` as [`Predictor::input`] makes them: every input with its flanks.
    ///
    /// # Errors
    /// Those of the operations.
    fn forward(&self, tape: &mut Tape, x: &Var) -> Result<Var>;

    /// The same model in another float type.
    ///
    /// # Errors
    /// [`Error::DType`] for bytes.
    fn to_dtype(&self, dtype: DType) -> Result<Self>;

    /// The same model with its numbers on another device, where its passes then run.
    ///
    /// # Errors
    /// [`Error::Device`].
    fn to_device(&self, device: &Device) -> Result<Self>;

    /// Where its numbers are.
    fn device(&self) -> Device {
        self.parameters().device()
    }

    /// Number N of sequences in packed bases `[N, length]`.
    ///
    /// # Errors
    /// [`Error::Shape`] if `codes` holds no whole number of them.
    fn count(&self, codes: &[u8]) -> Result<usize> {
        let l = self.length();
        if l == 0 || !codes.len().is_multiple_of(l) {
            let expected = format!("[N, {l}], the model's input length");
            return Err(Error::Shape { op: "mutate", arg: "sequences", expected, found: vec![codes.len()] });
        }
        Ok(codes.len() / l)
    }

    /// Packed bases `[N, length]` as the input, where the model's numbers are.
    ///
    /// # Errors
    /// [`Error::Shape`] if `codes` holds no whole number of sequences.
    fn input(&self, codes: &[u8]) -> Result<Tensor> {
        let (segments, flank, n) = (self.segments(), self.flank(), self.count(codes)?);
        let padded = self.length() + 2 * flank * segments.len();
        let mut all = vec![self.flank_code(); n * padded];
        for (mut row, mut codes) in all.chunks_exact_mut(padded).zip(codes.chunks_exact(self.length())) {
            for &l in &segments {
                row[flank..flank + l].copy_from_slice(&codes[..l]);
                (row, codes) = (&mut row[l + 2 * flank..], &codes[l..]);
            }
        }
        Tensor::bases(n, padded, all)?.to_device(&self.device())
    }

    /// Predictions `[N, T]` of packed bases `[N, length]`; nothing is recorded.
    ///
    /// # Errors
    /// Those of the operations.
    fn predict(&self, codes: &[u8]) -> Result<Tensor> {
        self.predict_in(codes, Precision::F32)
    }

    /// As [`Predictor::predict`], with products of a GPU as exact as `precision` says. The predictions are on the host.
    ///
    /// # Errors
    /// Those of the operations.
    fn predict_in(&self, codes: &[u8], precision: Precision) -> Result<Tensor> {
        let mut tape = Tape::predict();
        tape.precision = precision;
        self.forward(&mut tape, &Var::constant(self.input(codes)?))?.value.to_cpu()
    }

    /// Records a forward pass for delta sweeps: the tape, the nodes of input and output, the predictions `[N, T]` on the host.
    ///
    /// # Errors
    /// Those of the operations.
    fn record(&self, codes: &[u8]) -> Result<(Tape, NodeId, NodeId, Tensor)> {
        let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
        let x = tape.leaf(self.input(codes)?);
        let y = self.forward(&mut tape, &x)?;
        match (x.node, y.node) {
            (Some(from), Some(to)) => Ok((tape, from, to, y.value.to_cpu()?)),
            _ => Err(Error::Unsupported {
                op: "mutate",
                what: "a model whose output does not depend on its input".into(),
            }),
        }
    }
}

/// Sequences that the naive engine runs at once: as many as asked for, or as many as suit the device, with the sequence with 300
/// channels taken for the widest map; one where a prediction depends on the batch.
pub(super) fn batch_size<P: Predictor>(model: &P, asked: Option<usize>) -> usize {
    let most = if model.is_batch_independent() { usize::MAX } else { 1 };
    let chosen = || batch_on(&model.device(), 1200 * model.length());
    asked.unwrap_or_else(chosen).clamp(1, most)
}

/// The tracks of a job: those asked for, or all.
///
/// # Errors
/// [`Error::Argument`] for a track that the model does not have.
pub(super) fn tracks<P: Predictor>(model: &P, asked: Option<&[usize]>, op: &'static str) -> Result<Vec<usize>> {
    let all = model.tracks();
    let tracks = asked.map_or_else(|| (0..all).collect(), <[usize]>::to_vec);
    match tracks.iter().find(|&&t| t >= all) {
        Some(t) => Err(Error::Argument { op, what: format!("track {t} of {all}") }),
        None => Ok(tracks),
    }
}

/// The inputs of a network, from [`Predictor::input`] of a sequence of all of them.
///
/// # Errors
/// Those of the operation.
pub(in crate::engine) fn cut(network: &Network, tape: &mut Tape, x: &Var) -> Result<Vec<Var>> {
    // A published architecture has one sequence and no networks.
    let ([] | [_]) = network.inputs() else {
        let mut from = 0;
        let crop = |spec: &ModelSpec| {
            let start = from;
            from += spec.padded_length();
            ops::crop(tape, x, start, from)
        };
        return network.inputs().iter().map(crop).collect();
    };
    Ok(vec![x.clone()])
}

impl Predictor for Network {
    fn length(&self) -> usize {
        self.architecture().length()
    }

    fn segments(&self) -> Vec<usize> {
        self.architecture().lengths()
    }

    fn tracks(&self) -> usize {
        self.width()
    }

    fn flank(&self) -> usize {
        self.flanks().0
    }

    fn flank_code(&self) -> u8 {
        self.flanks().1
    }

    fn is_batch_independent(&self) -> bool {
        self.inputs().iter().all(|i| i.pool_padding != PoolPadding::BatchMin)
    }

    fn parameters(&self) -> &Parameters {
        Network::parameters(self)
    }

    fn forward(&self, tape: &mut Tape, x: &Var) -> Result<Var> {
        let bound = Network::parameters(self).bind(tape, false)?;
        let inputs = cut(self, tape, x)?;
        Network::values(self, tape, &bound, &inputs)
    }

    fn to_dtype(&self, dtype: DType) -> Result<Self> {
        Network::to_dtype(self, dtype)
    }

    fn to_device(&self, device: &Device) -> Result<Self> {
        Network::to_device(self, device)
    }
}
