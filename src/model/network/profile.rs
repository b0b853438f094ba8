//! Heads of base-resolution models: a value at every bin of every track.

use super::{Run, Strand, activate};
use crate::error::Result;
use crate::model::spec::{ActivationName, HeadOutput, ProfilePlan, ProfileSpec};
use crate::ops::{self, Padding, PoolArgs, PoolKind, Turn};
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;
use crate::util::math::Activation;

/// A head's bins `[N, tracks, bins]`, before and behind its output function.
pub(super) struct Profile {
    pub before: Var,
    pub after: Var,
}

impl Run<'_> {
    /// A convolution of the map `x` `[N, L, C]`, its middle, perhaps as total counts times a softmax over bins, then `output`.
    /// What the other strand says is turned, so that bins and tracks lie as those of the given one.
    pub(super) fn profile(
        &self,
        tape: &mut Tape,
        spec: &ProfileSpec,
        plan: &ProfilePlan,
        output: HeadOutput,
        x: &Var,
        strand: Strand,
    ) -> Result<Profile> {
        let turn = match (strand, spec.stranded) {
            (Strand::Given, _) => Turn::None,
            (Strand::Other, false) => Turn::Positions,
            (Strand::Other, true) => Turn::Strands,
        };
        let y = self.conv(tape, &plan.conv, x)?;
        let y = if plan.bins == (0, plan.conv.length) { y } else { ops::crop(tape, &y, plan.bins.0, plan.bins.1)? };
        // A softmax over tracks reads them side by side.
        if let (HeadOutput::MultiClass, None) = (output, &plan.counts) {
            let after = ops::softmax(tape, &y)?;
            let [before, after] = [y, after].map(|y| ops::channels_first(tape, &y, turn));
            return Ok(Profile { before: before?, after: after? });
        }
        let mut before = ops::channels_first(tape, &y, turn)?;
        if let Some(f) = spec.counts {
            before = self.counted(tape, plan, f, x, &before, turn)?;
        }
        let after = match output {
            HeadOutput::Linear | HeadOutput::Complex | HeadOutput::MultiClass => before.clone(),
            HeadOutput::Class => ops::activation(tape, &before, Activation::Sigmoid)?,
            HeadOutput::Function(f) => activate(tape, &before, f)?,
        };
        Ok(Profile { before, after })
    }

    /// Total counts of every track, times the softmax of `shape` `[N, T, bins]` over bins.
    fn counted(
        &self,
        tape: &mut Tape,
        plan: &ProfilePlan,
        f: ActivationName,
        x: &Var,
        shape: &Var,
        turn: Turn,
    ) -> Result<Var> {
        let dense = plan.counts.as_ref().expect("counts have a layer");
        let (l, [_, _, bins]) = (x.shape()[1], shape.value.dims("profile", "x")?);
        let whole = PoolArgs { kind: PoolKind::Mean, size: l, stride: l, pad: (0, 0), padding: Padding::Exclude };
        let mean = ops::pool(tape, x, whole)?;
        let counts = self.dense(tape, dense, &mean)?;
        let counts = activate(tape, &counts, f)?;
        let counts = ops::channels_first(tape, &counts, turn)?;
        let ones = Tensor::new(&[1, bins], vec![1.0; bins])?.to_dtype(x.value.dtype())?.to_device(&x.value.device())?;
        let counts = ops::linear(tape, &counts, &Var::constant(ones), None)?;
        let shares = ops::softmax(tape, shape)?;
        ops::multiply(tape, &shares, &counts)
    }
}
