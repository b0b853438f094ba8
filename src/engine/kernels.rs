//! What the kernels of the first layer do: their mean values, and predictions without them.

use crate::device::Precision;
use crate::error::Result;
use crate::model::{Network, Tap};

use super::embed::{Embedding, Layer, Positions};
use super::predict::predict_in;

/// Mean of every kernel of an input over all positions of packed bases `[N, length]` (those of all inputs, one after the other):
/// of the first layer's values after the strands are combined, before the activation.
///
/// # Errors
/// [`crate::Error::Argument`] if there is no such input; those of a forward pass.
pub fn means(network: &Network, input: usize, bases: &[u8], precision: Precision) -> Result<Vec<f64>> {
    let mut sums = vec![0.0; network.kernels(input)?];
    let embedding = Embedding::new(network, Layer { tap: Tap::Stem, of: input }, Positions::Mean, precision)?;
    let length = network.architecture().length();
    for batch in bases.chunks(embedding.batch() * length) {
        for row in embedding.values(batch)?.chunks_exact(sums.len().max(1)) {
            sums.iter_mut().zip(row).for_each(|(sum, v)| *sum += f64::from(*v));
        }
    }
    let n = (bases.len() / length) as f64;
    Ok(sums.into_iter().map(|sum| sum / n).collect())
}

/// A kernel that is knocked out, one at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnockOut {
    /// Number of the input.
    pub input: usize,
    /// Number of the kernel.
    pub kernel: usize,
    /// What it gives in its place; see [`Network::masked`].
    pub value: f64,
}

/// Predictions `[N, T]` of packed bases without each of these kernels; `each` gets them as they come.
///
/// # Errors
/// As [`Network::masked`] and [`predict_in`]; what `each` returns.
pub fn knock_outs(
    network: &Network,
    bases: &[u8],
    kernels: &[KnockOut],
    (batch, precision): (Option<usize>, Precision),
    each: &mut dyn FnMut(usize, Vec<f64>) -> Result<()>,
) -> Result<()> {
    for (i, &KnockOut { input, kernel, value }) in kernels.iter().enumerate() {
        let network = network.masked(input, &[(kernel, value)])?;
        each(i, predict_in(&network, bases, batch, precision, &mut |_| ())?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::options::{DataFacts, InputFacts, parse_option_string, resolve};

    #[test]
    fn kernels_are_taken_out_one_at_a_time() {
        let input = |length| InputFacts { length, reverse_complement: false };
        let facts = DataFacts { inputs: vec![input(12), input(9)], tracks: vec![2], names: vec![], bins: None };
        let text = "num_kernels=3+l_kernels=4+pooling_size=3+outclass=difference";
        let net = Network::new(resolve(&parse_option_string(text).unwrap(), &facts).unwrap().0, 5).unwrap();
        let bases: Vec<u8> = (0..63).map(|i| (i * i % 5 % 4) as u8).collect();
        let found = means(&net, 1, &bases, Precision::F32).unwrap();
        let stem = Embedding::new(&net, Layer { tap: Tap::Stem, of: 1 }, Positions::All, Precision::F32).unwrap();
        let all = stem.values(&bases).unwrap();
        for (k, mean) in found.iter().enumerate() {
            let of = (0..3).flat_map(|n| all[(n * 3 + k) * 9..][..9].to_vec()).map(f64::from);
            assert!((mean - of.sum::<f64>() / 27.0).abs() < 1e-6);
        }
        let list = [KnockOut { input: 1, kernel: 2, value: 0.5 }, KnockOut { input: 0, kernel: 0, value: 0.0 }];
        let mut seen = vec![];
        let mut each = |i: usize, y: Vec<f64>| {
            seen.push((i, y));
            Ok(())
        };
        knock_outs(&net, &bases, &list, (Some(2), Precision::F32), &mut each).unwrap();
        let first = net.masked(1, &[(2, 0.5)]).unwrap();
        let expected = predict_in(&first, &bases, None, Precision::F32, &mut |_| ()).unwrap();
        assert_eq!((seen.len(), &seen[0]), (2, &(0, expected)));
        assert!(means(&net, 2, &bases, Precision::F32).is_err());
    }
}
