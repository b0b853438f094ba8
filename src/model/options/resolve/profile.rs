//! Options of base-resolution models.

use super::Reader;
use crate::error::Result;
use crate::model::options::DataFacts;
use crate::model::spec::*;

/// Losses that take predictions as rates of counts.
const OF_RATES: [LossName; 4] = [LossName::PoissonRate, LossName::Multinomial, LossName::LogCountMse, LossName::Jsd];
/// Losses that compare tracks with each other.
const OVER_TRACKS: [LossName; 9] = [
    LossName::CorrelationBoth,
    LossName::CosineBoth,
    LossName::CorrelationSumData,
    LossName::MseContrastMseD,
    LossName::MseContrastMseF,
    LossName::MseContrastCorD,
    LossName::L1ContrastL1D,
    LossName::L1ContrastMseD,
    LossName::L1ContrastCorD,
];

impl Reader<'_> {
    /// A network whose heads are profiles of `bins` bins, and its training.
    pub(super) fn profiles(&self, facts: &DataFacts, bins: usize) -> Result<(Architecture, TrainSpec)> {
        let [input] = facts.inputs[..] else {
            return self.unsupported("final_kernel", "profiles of a model with several inputs; give one sequence file");
        };
        if self.shift()?.is_some() {
            let why = "a shifted sequence has a shifted profile; use augment_reverse_complement";
            return self.unsupported("shift_sequence", why);
        }
        let mut model = self.model(input, self.heads(facts)?)?;
        let counts = if self.flag("predict_from_dist")? { Some(self.named("count_function")?) } else { None };
        model.profile = Some(ProfileSpec {
            bins,
            width: self.positive("final_kernel")?,
            stride: self.positive("final_strides")?,
            counts,
            dropout: self.share("dropout")?,
            stranded: self.flag("stranded_tracks")?,
        });
        // The reference's convolutions have a bias here.
        model.first_block.iter_mut().for_each(|block| block.bias = true);
        let odd = facts.tracks.iter().any(|t| t % 2 == 1);
        if odd && self.flag("stranded_tracks")? {
            return Err(self.options.error("stranded_tracks", "an even number of tracks: the two strands of every signal"));
        }
        let training = self.training()?;
        if model.average_strands || training.reverse_complement {
            let (from, to) = match &model.plan()?.heads[0].tracks {
                TracksPlan::Profile(p) => (p.bins.0, p.conv.length - p.bins.1),
                TracksPlan::Dense(_) => (0, 0),
            };
            if from != to {
                return self.unsupported(
                    if model.average_strands { "average_strands" } else { "augment_reverse_complement" },
                    &format!(
                        "bins that are not in the middle of the last map: {from} positions are left of them, {to} right; \
                         change the number of bins or the length by one"
                    ),
                );
            }
        }
        self.fitting(&model, &training)?;
        Ok((model.into(), training))
    }

    /// Refuses losses that cannot be of such profiles.
    fn fitting(&self, model: &ModelSpec, training: &TrainSpec) -> Result<()> {
        if training.standardize_targets {
            return self.unsupported("standardize_targets", "profiles, whose bins are counts; use the default");
        }
        let positive = |output: HeadOutput| match output {
            HeadOutput::Class | HeadOutput::MultiClass => true,
            HeadOutput::Function(f) => above_zero(f),
            // Shares of a total count above 0.
            HeadOutput::Linear => model.profile.as_ref().and_then(|p| p.counts).is_some_and(above_zero),
            HeadOutput::Complex => false,
        };
        for (head, loss) in model.heads.iter().zip(&training.losses) {
            let counted = if loss.count_weight > 0.0 { Some(LossName::LogCountMse) } else { None };
            for name in [Some(loss.train), loss.validation, counted].into_iter().flatten() {
                if OVER_TRACKS.contains(&name) {
                    let why = "profiles: it compares tracks with each other; use Correlationdata, JSD or MultinomialNLL";
                    return self.unsupported("loss_function", why);
                }
                if OF_RATES.contains(&name) && !positive(head.output) {
                    let expected = format!(
                        "an output above 0 beside loss '{name}', e.g. outclass=EXP, or predict_from_dist=True with \
                         count_function=EXP"
                    );
                    return Err(self.options.error("outclass", expected));
                }
            }
        }
        Ok(())
    }
}

/// Whether all values of a function are at least 0.
fn above_zero(f: ActivationName) -> bool {
    use ActivationName::*;
    matches!(f, Relu | ReluNonZero | Sigmoid | Softmax | ExpMax | Exp | ClampedRelu)
}
