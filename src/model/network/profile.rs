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

#[cfg(test)]
mod tests {
    use crate::model::options::{DataFacts, parse_option_string, resolve};
    use crate::model::{Network, Readout};
    use crate::tape::{Tape, Var};
    use crate::tensor::{DType, Tensor};

    /// The other strand of a sequence has the same profile, backwards and with strands exchanged, if both strands are averaged.
    #[test]
    fn averages_of_strands_turn_with_the_sequence() {
        for (more, exchanged) in [("", false), ("+stranded_tracks=True", true), ("+predict_from_dist=True", false)] {
            let text = format!(
                "num_kernels=5+l_kernels=4+dilated_convolutions=2+l_dilkernels=3+final_kernel=3+outclass=EXP+average_strands=True{more}"
            );
            let facts = DataFacts { bins: Some(8), ..DataFacts::single(20, vec![4], false) };
            let net = Network::new(resolve(&parse_option_string(&text).unwrap(), &facts).unwrap().0, 5).unwrap();
            let net = net.to_dtype(DType::F64).unwrap().with_readout(Readout::Bins).unwrap();
            let predict = |codes: &[u8]| {
                let mut tape = Tape::predict();
                let bound = net.parameters().bind(&mut tape, false).unwrap();
                let x = Var::constant(Tensor::bases(1, 20, codes.to_vec()).unwrap());
                net.values(&mut tape, &bound, &[x]).unwrap().value.to_f64()
            };
            let codes: Vec<u8> = (0..20).map(|i| [0, 2, 1, 3, 4, 2, 2][i * i / 3 % 7]).collect();
            let other: Vec<u8> = codes.iter().rev().map(|&c| if c < 4 { 3 - c } else { c }).collect();
            let (here, there) = (predict(&codes), predict(&other));
            for (track, row) in here.chunks_exact(8).enumerate() {
                let from = if exchanged { track ^ 1 } else { track };
                let turned: Vec<f64> = there[from * 8..][..8].iter().rev().copied().collect();
                crate::tape::check::close(more, row, &turned, 1e-12);
            }
            assert!((here[0] - here[7]).abs() > 1e-6, "the profile is not flat");
        }
    }

    #[test]
    fn readouts_are_checked() {
        let facts = DataFacts { bins: Some(8), ..DataFacts::single(20, vec![4], false) };
        let net = Network::new(resolve(&parse_option_string("num_kernels=3").unwrap(), &facts).unwrap().0, 5).unwrap();
        assert_eq!((net.width(), net.with_readout(Readout::Bins).unwrap().width()), (4, 32));
        let message = net.with_readout(Readout::Weights(vec![1.0; 7].into())).unwrap_err().to_string();
        assert!(message.contains("expected 8 weights, one a bin; found 7"), "{message}");
        assert!(Readout::window(8, 3, 9).unwrap_err().to_string().contains("bins 3..9 of 8"));
    }
}
