//! Kernels of first layers on the command line: which are meant, what they are called, what takes their place.

use super::choose::choose;
use crate::device::Precision;
use crate::engine::kernels::{KnockOut, means};
use crate::error::{Error, Result};
use crate::model::Network;

/// Kernels that `list` names: `KERNELS` or `KERNELS@INPUT`, where KERNELS are indices, ranges a:b and names (filter0, filter1, ...)
/// with commas. Without INPUT they are of `input`, or of the only one. Pairs of input and kernel; without a list all of `input`, or of
/// all.
///
/// # Errors
/// [`Error::Usage`] for an input or a kernel that is not there, a kernel that is named twice, and for no input where there are several.
pub(super) fn chosen(list: &[String], network: &Network, input: Option<usize>) -> Result<Vec<(usize, usize)>> {
    let inputs = network.inputs();
    if inputs.is_empty() {
        return Err(Error::Usage(
            "kernels of published architectures cannot be knocked out; expected a DRG network".into(),
        ));
    }
    if list.is_empty() {
        let all = input.map_or(0..inputs.len(), |i| i..i + 1);
        return Ok(all.flat_map(|i| (0..inputs[i].stem.kernels).map(move |k| (i, k))).collect());
    }
    let mut found = vec![];
    for text in list {
        let (kernels, input) = match text.split_once('@') {
            None if input.is_some() || inputs.len() == 1 => (text.as_str(), input.unwrap_or(0)),
            None => {
                return Err(Error::Usage(format!(
                    "kernels {text}: the model has {} inputs; expected {text}@INPUT with the number of one, 0 to {}",
                    inputs.len(),
                    inputs.len() - 1
                )));
            }
            Some((kernels, other)) => match other.parse::<usize>() {
                Ok(i) if i < inputs.len() && input.is_some_and(|only| only != i) => {
                    return Err(Error::Usage(format!(
                        "kernels {text}: of another input than --input {}; leave one of the two out",
                        input.unwrap_or_default()
                    )));
                }
                Ok(i) if i < inputs.len() => (kernels, i),
                _ => {
                    let last = inputs.len() - 1;
                    return Err(Error::Usage(format!(
                        "kernels {text}: expected the number of an input behind @, 0 to {last}; found '{other}'"
                    )));
                }
            },
        };
        let names: Vec<String> = (0..inputs[input].stem.kernels).map(|k| format!("filter{k}")).collect();
        let words: Vec<String> = kernels.split(',').map(String::from).collect();
        for kernel in choose("kernels", &names, &words)? {
            if found.contains(&(input, kernel)) {
                return Err(Error::Usage(format!("kernels: {kernel} of input {input} is named twice")));
            }
            found.push((input, kernel));
        }
    }
    Ok(found)
}

/// Name of a kernel, with that of its network where there are several: the reference's.
pub(super) fn name(network: &Network, (input, kernel): (usize, usize)) -> String {
    match network.inputs().len() {
        1 => format!("filter{kernel}"),
        _ => format!("filter{kernel}_CNN{input}"),
    }
}

/// Kernels with what takes their place: a number, or `mean`, the mean of each over all positions of these sequences.
///
/// # Errors
/// [`Error::Usage`] for another text; those of a forward pass.
pub(super) fn replaced(
    network: &Network,
    kernels: &[(usize, usize)],
    value: &str,
    bases: &[u8],
    precision: Precision,
) -> Result<Vec<KnockOut>> {
    let of = |&(input, kernel): &(usize, usize), value| KnockOut { input, kernel, value };
    if value == "mean" {
        let all: Vec<Vec<f64>> =
            (0..network.inputs().len()).map(|i| means(network, i, bases, precision)).collect::<Result<_>>()?;
        return Ok(kernels.iter().map(|k| of(k, all[k.0][k.1])).collect());
    }
    match value.parse::<f64>() {
        Ok(v) if v.is_finite() => Ok(kernels.iter().map(|k| of(k, v)).collect()),
        _ => Err(Error::Usage(format!("--mask-value: expected a number or 'mean', found '{value}'"))),
    }
}

/// The network without all of these kernels at once.
///
/// # Errors
/// As [`Network::masked`].
pub(super) fn masked(network: &Network, kernels: &[KnockOut]) -> Result<Network> {
    let mut made = network.clone();
    for input in 0..network.inputs().len() {
        let here: Vec<(usize, f64)> =
            kernels.iter().filter(|k| k.input == input).map(|k| (k.kernel, k.value)).collect();
        if !here.is_empty() {
            made = made.masked(input, &here)?;
        }
    }
    Ok(made)
}
