//! Predictions of a network for many sequences.

use super::encode;
use crate::error::{Error, Result};
use crate::model::Network;
use crate::ops;
use crate::seq::Sequences;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

/// Predictions `[N, T]` of all sequences, tracks of all heads side by side, in the type of the network. The batch size changes
/// no bit, unless weighted pools of the network pad with the minimum of the batch.
///
/// `progress(done, total)` is called after every batch; its error stops the work. Scaled targets are the business of
/// [`crate::model::checkpoint::Scaling::undo`].
///
/// # Errors
/// [`Error::Shape`] if the sequences have another length than the network expects, [`Error::Argument`] for a batch size of 0.
pub fn predict(
    network: &Network,
    sequences: &Sequences,
    batch_size: usize,
    mut progress: impl FnMut(usize, usize) -> Result<()>,
) -> Result<Tensor> {
    if batch_size == 0 {
        return Err(Error::Argument { op: "predict", what: "expected a batch size from 1, found 0".into() });
    }
    encode::check_length(sequences, network.spec())?;
    let (n, tracks) = (sequences.len(), network.spec().tracks());
    let all: Vec<usize> = (0..n).collect();
    let mut values = Vec::with_capacity(n * tracks);
    let bound = network.parameters().bind(&mut Tape::predict(), false)?;
    for rows in all.chunks(batch_size) {
        let mut tape = Tape::predict();
        let x = Var::constant(encode::batch(sequences, rows, network.spec().shift)?);
        let heads = network.forward(&mut tape, &bound, &x)?;
        let y = ops::concat(&mut tape, &heads.iter().collect::<Vec<_>>())?;
        values.extend(y.value.to_f64());
        progress(values.len() / tracks, n)?;
    }
    Tensor::new(&[n, tracks], values)?.to_dtype(network.parameters().dtype())
}
