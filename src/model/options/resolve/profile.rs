//! Options of base-resolution models.

use super::Reader;
use crate::error::Result;
use crate::model::options::DataFacts;
use crate::model::spec::*;
use crate::ops::Loss;

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
            return Err(self
                .options
                .error("stranded_tracks", "an even number of tracks: the two strands of every signal"));
        }
        let training = self.training()?;
        if model.average_strands || training.reverse_complement {
            let key = if model.average_strands { "average_strands" } else { "augment_reverse_complement" };
            let (from, to, length) = match &model.plan()?.heads[0].tracks {
                TracksPlan::Profile(p) => (p.bins.0, p.conv.length - p.bins.1, p.conv.length),
                TracksPlan::Dense(_) => (0, 0, 1),
            };
            if input.length % length != 0 {
                return self.unsupported(
                    key,
                    &format!(
                        "{} bases in {length} positions of the last map, which lie otherwise on the other strand; give sequences whose \
                         length is a multiple of all steps and pools",
                        input.length
                    ),
                );
            }
            if from != to {
                return self.unsupported(
                    key,
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
        let over_tracks = |loss: Loss| loss.lines(&[1, 1, 1]).is_err();
        if training.losses.iter().flat_map(losses).any(over_tracks) {
            let why = "profiles: it compares tracks with each other; use Correlationdata, JSD or MultinomialNLL";
            return self.unsupported("loss_function", why);
        }
        // Shares of a total count above 0.
        let counted = model.profile.as_ref().and_then(|p| p.counts).is_some_and(above_zero);
        let rates: Vec<bool> =
            model.heads.iter().map(|h| is_rate(h.output) || counted && h.output == HeadOutput::Linear).collect();
        self.rates(&rates, training, true)
    }

    /// Refuses losses that take predictions as rates, which are above 0, of outputs that need not be; `rates` says of every output
    /// whether it is one.
    pub(super) fn rates(&self, rates: &[bool], training: &TrainSpec, profiles: bool) -> Result<()> {
        for (&rate, loss) in rates.iter().zip(&training.losses) {
            // The reference takes JSD of any matrix.
            let wants = |l: &Loss| l.wants_rates() && (profiles || *l != Loss::Jsd);
            if let Some(name) = losses(loss).into_iter().find(|l| wants(l) && !rate) {
                let expected = format!(
                    "an output above 0 beside loss '{name}', e.g. outclass=EXP, or for profiles predict_from_dist=True with \
                     count_function=EXP"
                );
                return Err(self.options.error("outclass", expected));
            }
        }
        Ok(())
    }
}

/// What is minimised or watched of a head. Names that are not done are refused where the losses are made.
fn losses(spec: &LossSpec) -> Vec<Loss> {
    let counted = if spec.count_weight > 0.0 { Some(LossName::LogCountMse) } else { None };
    let names = [Some(spec.train), spec.validation, counted].into_iter().flatten();
    names.filter_map(|name| Loss::parse(name.name()).ok()).collect()
}

/// Whether all values of an output are at least 0.
pub(super) fn is_rate(output: HeadOutput) -> bool {
    match output {
        HeadOutput::Class | HeadOutput::MultiClass => true,
        HeadOutput::Function(f) => above_zero(f),
        HeadOutput::Linear | HeadOutput::Complex => false,
    }
}

/// Whether all values of a function are at least 0.
fn above_zero(f: ActivationName) -> bool {
    use ActivationName::*;
    matches!(f, Relu | ReluNonZero | Sigmoid | Softmax | ExpMax | Exp | ClampedRelu)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Network;
    use crate::model::options::{parse_option_string, resolve};

    fn facts(tracks: &[usize], bins: usize) -> DataFacts {
        DataFacts { bins: Some(bins), ..DataFacts::single(60, tracks.to_vec(), true) }
    }

    fn read(text: &str, facts: &DataFacts) -> Result<(Architecture, TrainSpec)> {
        resolve(&parse_option_string(&format!("num_kernels=4+{text}")).unwrap(), facts)
    }

    #[test]
    fn defaults_are_those_of_profiles() {
        let (model, training) =
            read("dilated_convolutions=2+dropout=0.2+pooling_size=3+mean_pooling=True", &facts(&[2, 1], 12)).unwrap();
        let spec = &model.inputs[0];
        let profile = spec.profile.clone().unwrap();
        assert_eq!(
            (profile.bins, profile.width, profile.stride, profile.counts, profile.dropout),
            (12, 1, 1, None, 0.2)
        );
        assert!(spec.first_block.as_ref().unwrap().bias && spec.fc.is_none());
        assert_eq!((spec.stem.pool.unwrap().kind, training.write_steps), (PoolKind::Mean, 10));
        let names: Vec<String> = model.plan().unwrap().tensors().into_iter().map(|t| t.name).collect();
        assert!(names.contains(&"linear_classifier.1.fconvlayer.bias".to_string()), "{names:?}");
        // Stored and read again; files without profiles do not speak of them.
        let text = serde_json::to_string(&model).unwrap();
        assert_eq!(serde_json::from_str::<Architecture>(&text).unwrap(), model);
        let flat = resolve(&parse_option_string("num_kernels=4").unwrap(), &DataFacts::single(60, vec![1], true));
        assert!(!serde_json::to_string(&flat.unwrap().0).unwrap().contains("profile"));
        let counted = read("predict_from_dist=True+count_function=EXP", &facts(&[2], 12)).unwrap().0;
        assert_eq!(counted.inputs[0].profile.as_ref().unwrap().counts, Some(ActivationName::Exp));
        assert!(Network::new(counted, 1).is_ok());
    }

    #[test]
    fn what_profiles_cannot_have_is_refused() {
        for (text, tracks, bins, part) in [
            ("nfc_layers=2", 2, 12, "'nfc_layers': a base-resolution model has no such layer"),
            ("shift_sequence=3+random_shift=1", 2, 12, "a shifted sequence has a shifted profile"),
            ("loss_function=MultinomialNLL", 2, 12, "an output above 0 beside loss 'MultinomialNLL'"),
            ("loss_function=MSE+count_loss_weight=2", 2, 12, "an output above 0 beside loss 'LogCountMSE'"),
            ("loss_function=Poisson+predict_from_dist=True", 2, 12, "an output above 0 beside loss 'Poisson'"),
            ("loss_function=Correlationboth", 2, 12, "compares tracks with each other"),
            ("standardize_targets=True", 2, 12, "bins are counts"),
            ("stranded_tracks=True", 3, 12, "an even number of tracks"),
            ("average_strands=True", 2, 13, "23 positions are left of them, 24 right"),
            ("augment_reverse_complement=True+final_strides=7", 2, 7, "60 bases in 9 positions of the last map"),
            ("outclass=Complex", 2, 12, "without outputs 'Complex'"),
            ("outclass=Multi_class+predict_from_dist=True", 2, 12, "no total counts beside"),
            (
                "final_strides=7",
                2,
                12,
                "12 bins of a profile do not fit the last map, which has 9 positions of 7 bases",
            ),
        ] {
            let made = read(text, &facts(&[tracks], bins)).and_then(|(model, _)| model.plan().map(|_| ()));
            let message = made.unwrap_err().to_string();
            assert!(message.contains(part), "{text}: {message}");
        }
        let several = DataFacts { inputs: vec![facts(&[1], 4).inputs[0]; 2], ..facts(&[1], 4) };
        let message = read("l_kernels=5", &several).unwrap_err().to_string();
        assert!(message.contains("several inputs"), "{message}");
        assert!(read("loss_function=Poisson+outclass=EXP+count_loss_weight=1", &facts(&[2], 12)).is_ok());
    }
}
