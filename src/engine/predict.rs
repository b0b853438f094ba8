//! Predictions of a network for packed sequences.

use crate::device::{Device, Precision};
use crate::error::{Error, Result};
use crate::model::Network;

use super::mutate::Predictor;

/// Predictions `[N, T]` (T = [`Network::width`]) of the network's own scale for packed bases `[N, L]`, L the length of all inputs, which stand one after the
/// other; outputs side by side. They are
/// computed where the network's numbers are, in batches of `batch` (chosen from the size of the network if `None`), which change
/// no bit unless weighted pools pad with the minimum of the batch. `progress` hears how many sequences are done.
///
/// # Errors
/// [`Error::Shape`] if the bases are no whole sequences of the model's length.
pub fn predict(
    network: &Network,
    bases: &[u8],
    batch: Option<usize>,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<f64>> {
    predict_in(network, bases, batch, Precision::F32, progress)
}

/// As [`predict`], with products of a GPU as exact as `precision` says.
///
/// # Errors
/// As [`predict`].
pub fn predict_in(
    network: &Network,
    bases: &[u8],
    batch: Option<usize>,
    precision: Precision,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<f64>> {
    let (length, tracks) = (network.architecture().length(), network.width());
    if !bases.len().is_multiple_of(length) {
        return Err(Error::Shape {
            op: "predict",
            arg: "bases",
            expected: format!("[N, {length}], the model's input length"),
            found: vec![bases.len()],
        });
    }
    let mut all = Vec::with_capacity(bases.len() / length * tracks);
    for rows in bases.chunks(batch.unwrap_or_else(|| automatic_batch(network)).max(1) * length) {
        all.extend(Predictor::predict_in(network, rows, precision)?.to_f64());
        progress(all.len() / tracks);
    }
    Ok(all)
}

/// Sequences whose widest map takes about 16 MB: enough for full speed, little enough for the caches.
pub(super) fn automatic_batch(network: &Network) -> usize {
    batch_on(&network.parameters().device(), 4 * network.widest())
}

/// Sequences of a batch whose widest map has `widest` bytes a sequence.
pub(super) fn batch_on(device: &Device, widest: usize) -> usize {
    match device {
        // Enough for full speed, little enough for the caches.
        Device::Cpu => ((16 << 20) / widest.max(1)).clamp(1, 512),
        // A GPU wants more at once: a few maps of that size and those after them fit easily.
        Device::Cuda(gpu) => (gpu.about().memory_bytes as usize / 128 / widest.max(1)).clamp(1, 4096),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::options::{DataFacts, parse_option_string, resolve};

    #[test]
    fn batches_change_no_bit() {
        let text = "num_kernels=5+l_kernels=4+max_pooling=False+weighted_pooling=True+pooling_size=3+\
                    shift_sequence=1+random_shift=1";
        let facts = DataFacts::single(10, vec![2, 1], true);
        let net = Network::new(resolve(&parse_option_string(text).unwrap(), &facts).unwrap().0, 3).unwrap();
        let bases: Vec<u8> = (0..70).map(|i| (i * i % 5) as u8).collect();
        let mut seen = vec![];
        let all = predict(&net, &bases, Some(3), &mut |n| seen.push(n)).unwrap();
        assert_eq!((all.len(), seen), (21, vec![3, 6, 7]));
        assert_eq!(all, predict(&net, &bases, None, &mut |_| ()).unwrap());
        assert!(predict(&net, &bases[1..], None, &mut |_| ()).unwrap_err().to_string().contains("[N, 10]"));
    }
}
