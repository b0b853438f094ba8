//! Which tensors a run leaves alone, and with which learning rate it changes each of the others.

use crate::error::{Error, Result};
use crate::model::spec::TrainSpec;
use crate::nn::{Kind, ParamId, Parameters};

/// Groups of tensors with a learning rate each.
pub(super) struct Groups {
    /// The rate of every group; the first is that of the specification.
    pub rates: Vec<f64>,
    /// Group of every tensor, in the order of the state dict.
    pub of: Vec<usize>,
    /// Tensors that keep their numbers.
    pub frozen: Vec<ParamId>,
}

impl Groups {
    /// Later patterns of rates decide over earlier ones and over `kernel_lr`; `freeze` decides over all of them.
    ///
    /// # Errors
    /// [`Error::Usage`] if a pattern fits no tensor, or everything is frozen.
    pub fn new(spec: &TrainSpec, parameters: &Parameters) -> Result<Self> {
        let entries = parameters.entries();
        let mut rates = vec![spec.lr];
        rates.extend(spec.kernel_lr);
        let kernel = |name: &str| usize::from(spec.kernel_lr.is_some() && name.contains("convolutions"));
        let mut of: Vec<usize> = entries.iter().map(|e| kernel(&e.name)).collect();
        let mut frozen = vec![false; entries.len()];
        for (pattern, rate) in &spec.lr_of {
            for id in parameters.matching(pattern)? {
                of[id] = rates.len();
                frozen[id] = *rate == 0.0;
            }
            rates.push(*rate);
        }
        for pattern in &spec.freeze {
            parameters.matching(pattern)?.into_iter().for_each(|id| frozen[id] = true);
        }
        if entries.iter().zip(&frozen).all(|(e, &f)| f || e.kind != Kind::Parameter) {
            return Err(Error::Usage("all tensors of the model are frozen; there is nothing to train".into()));
        }
        let frozen = (0..entries.len()).filter(|&id| frozen[id]).collect();
        Ok(Self { rates, of, frozen })
    }
}
