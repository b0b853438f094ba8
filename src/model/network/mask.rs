//! Kernels that are knocked out: a network whose first layer gives a constant in their place.

use super::Network;
use crate::error::{Error, Result};

impl Network {
    /// Number of kernels of the first layer of an input.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such input; [`Error::Unsupported`] for an average of models, whose members have kernels of
    /// their own.
    pub fn kernels(&self, input: usize) -> Result<usize> {
        let inputs = self.inputs();
        if self.architecture().members > 1 {
            let what = "kernels of an average of models, as each has its own; take one of the models that it was made of, as those \
                        of folds, or what drg convert MEAN.drg --member N -o member.drg writes"
                .into();
            return Err(Error::Unsupported { op: "kernels", what });
        }
        let missing = || Error::Argument { op: "kernels", what: format!("input {input} of {}", inputs.len()) };
        inputs.get(input).map(|spec| spec.stem.kernels).ok_or_else(missing)
    }

    /// The same network with some kernels of an input's first layer knocked out: after the strands are combined and before the
    /// activation they give `value` at every position (the reference's `mask`). `masks` = kernels and their values.
    ///
    /// Their weights are 0 and their bias is the value, on both strands, and the maximum, the mean and the weighted mean of a value
    /// with itself are that value: no bit differs from a network in which the channel is overwritten. A first layer without
    /// bias gets one of 0, unless all values are 0.
    ///
    /// # Errors
    /// As [`Network::kernels`]; [`Error::Argument`] if there is no such kernel, or a value is not finite.
    pub fn masked(&self, input: usize, masks: &[(usize, f64)]) -> Result<Self> {
        let kernels = self.kernels(input)?;
        if let Some((k, _)) = masks.iter().find(|(k, _)| *k >= kernels) {
            return Err(Error::Argument { op: "mask", what: format!("kernel {k} of {kernels} of input {input}") });
        }
        if let Some((k, value)) = masks.iter().find(|(_, v)| !v.is_finite()) {
            return Err(Error::Argument {
                op: "mask",
                what: format!("kernel {k} to be {value}; expected a finite number"),
            });
        }
        let has_bias = self.plans.inputs[input].stem.bias;
        let mut made = if has_bias || masks.iter().all(|m| m.1 == 0.0) { self.clone() } else { self.biased(input)? };
        let name = &self.plans.inputs[input].stem.name;
        let weight = made.parameters.id(&format!("{name}.weight"))?;
        let mut weights = made.parameters.to_torch(weight);
        let size = weights.len() / kernels;
        for (kernel, _) in masks {
            weights[kernel * size..][..size].fill(0.0);
        }
        made.parameters.set_torch(weight, &weights)?;
        if made.plans.inputs[input].stem.bias {
            let bias = made.parameters.id(&format!("{name}.bias"))?;
            let mut biases = made.parameters.to_torch(bias);
            masks.iter().for_each(|&(kernel, value)| biases[kernel] = value);
            made.parameters.set_torch(bias, &biases)?;
        }
        Ok(made)
    }

    /// The same numbers, and a bias of 0 in the first layer of an input that has none.
    fn biased(&self, input: usize) -> Result<Self> {
        let mut architecture = self.architecture().clone();
        architecture.inputs[input].stem.bias = true;
        let added = format!("{}.bias", self.plans.inputs[input].stem.name);
        self.refilled(architecture, |name| match name == added {
            true => Ok(vec![0.0; self.kernels(input)?]),
            false => Ok(self.parameters.to_torch(self.parameters.id(name)?)),
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Network;
    use crate::model::options::{DataFacts, InputFacts, parse_option_string, resolve};
    use crate::model::{Network as Model, Tap};
    use crate::tape::{Tape, Var};
    use crate::tensor::Tensor;

    fn network(options: &str) -> Network {
        let input = |length| InputFacts { length, reverse_complement: true };
        let facts = DataFacts { inputs: vec![input(23), input(19)], tracks: vec![2], names: vec![], bins: None };
        Network::new(resolve(&parse_option_string(options).unwrap(), &facts).unwrap().0, 5).unwrap()
    }

    /// Values `[N, L, K]` of the first layer of both inputs, and the outputs.
    fn pass(network: &Model) -> (Vec<Vec<f64>>, Vec<f64>) {
        let mut tape = Tape::predict();
        let bound = network.parameters().bind(&mut tape, false).unwrap();
        let x: Vec<Var> = [23, 19]
            .iter()
            .map(|&l| Var::constant(Tensor::bases(2, l, (0..2 * l).map(|i| (i * i % 6) as u8).collect()).unwrap()))
            .collect();
        let mut stems = vec![];
        let mut watch = |_: usize, tap: Tap, x: &Var| {
            if tap == Tap::Stem {
                stems.push(x.value.to_f64());
            }
        };
        let y = network.observed(&mut tape, &bound, &x, &mut watch).unwrap();
        (stems, y[0].value.to_f64())
    }

    #[test]
    fn masked_kernels_give_their_value_and_others_do_not_change() {
        for strands in ["max", "mean", "weighted"] {
            for bias in ["True", "False"] {
                let net = network(&format!(
                    "num_kernels=4+l_kernels=5+pooling_size=3+outclass=difference+complement_pool={strands}+kernel_bias={bias}+\
                     batch_norm=True"
                ));
                let (stems, y) = pass(&net);
                for value in [-0.3, 0.0, 1.7] {
                    let made = net.masked(1, &[(2, value), (0, value)]).unwrap();
                    let (found, masked) = pass(&made);
                    assert_eq!(found[0], stems[0]);
                    for (i, (f, s)) in found[1].iter().zip(&stems[1]).enumerate() {
                        // Not a bit beside the value.
                        assert_eq!(
                            *f,
                            if i % 4 % 2 == 0 { f64::from(value as f32) } else { *s },
                            "{strands} {bias} {i}"
                        );
                    }
                    assert_ne!(masked, y);
                }
                let same = net.masked(0, &[]).unwrap();
                assert_eq!(pass(&same).1, y);
            }
        }
        let net = network("num_kernels=4+l_kernels=5+pooling_size=3+outclass=difference");
        let mean = Network::average(&[net.clone(), net.clone()], vec![]).unwrap();
        assert!(mean.masked(0, &[(1, 0.0)]).unwrap_err().to_string().contains("kernels of an average of models"));
        assert!(net.masked(2, &[]).unwrap_err().to_string().contains("input 2 of 2"));
        assert!(net.masked(1, &[(4, 0.0)]).unwrap_err().to_string().contains("kernel 4 of 4 of input 1"));
        assert!(net.masked(1, &[(0, f64::NAN)]).unwrap_err().to_string().contains("a finite number"));
    }
}
