//! Averages of models as a model.

use super::{Model, Scaling};
use crate::error::{Error, Result, hint};
use crate::model::Network;
use crate::model::spec::{Architecture, Transform};
use crate::util::json::first_difference;

/// Letters of a value in an error.
const SHOWN: usize = 40;

impl Model {
    /// The model whose predictions are the mean of those of the given ones, each named for errors. Where the targets of the
    /// models were scaled differently, the mean is of predictions on the targets' own scale; a model that is an average itself
    /// counts as one.
    ///
    /// # Errors
    /// [`Error::Usage`] for fewer than two models, or models that differ in architecture or tracks, which names what differs.
    pub fn average(models: &[(&str, &Self)]) -> Result<Self> {
        let [(name, first), others @ ..] = models else { return Err(too_few(0)) };
        if others.is_empty() {
            return Err(too_few(1));
        }
        for (other, model) in others {
            first.same_kind(name, model, other)?;
        }
        let (n, tracks) = (models.len(), first.network.architecture().tracks());
        let mut members: Vec<Network> = vec![];
        // What the outputs of every member are multiplied by in the sum of all.
        let mut weights: Vec<Vec<f64>> = vec![];
        for (_, model) in models {
            let own = model.network.members()?;
            let share = 1.0 / (n * own.len()) as f64;
            for i in 0..own.len() {
                let inner = model.network.architecture().scales.get(i);
                let weight = |t: usize| share * inner.map_or(1.0, |s| s[t]) * Scaling::of(model.scaling.as_ref(), t).0;
                weights.push((0..tracks).map(weight).collect());
            }
            members.extend(own);
        }
        let all = members.len() as f64;
        let alike = models.iter().all(|(_, m)| {
            let (own, of_first) = (m.network.architecture(), first.network.architecture());
            m.scaling == first.scaling && own.scales.is_empty() && own.members == of_first.members
        });
        let (scales, scaling) = if alike {
            (vec![], first.scaling.clone())
        } else {
            weights.iter_mut().flatten().for_each(|w| *w *= all);
            let mean =
                |t: usize| models.iter().map(|(_, m)| Scaling::of(m.scaling.as_ref(), t).1).sum::<f64>() / n as f64;
            let some = models.iter().any(|(_, m)| m.scaling.is_some());
            let mean = || Scaling { mean: (0..tracks).map(mean).collect(), deviation: vec![1.0; tracks] };
            (weights, some.then(mean))
        };
        let network = Network::average(&members, scales)?;
        let (tracks, transform) = (first.tracks.clone(), first.transform);
        Ok(Self { network, tracks, scaling, transform, training: None, record: None })
    }

    /// The models that an average is made of, on the targets' own scale as far as scales of tracks go; a plain model itself.
    ///
    /// # Errors
    /// None in practice, as [`Network::members`].
    pub fn members(&self) -> Result<Vec<Self>> {
        let scales = &self.network.architecture().scales;
        if self.network.architecture().members == 1 {
            return Ok(vec![self.clone()]);
        }
        let tracks = 0..self.network.architecture().tracks();
        let of = |(i, network): (usize, Network)| {
            let scaling = scales.get(i).map(|scale| {
                let own = |t: usize| Scaling::of(self.scaling.as_ref(), t);
                let mean = tracks.clone().map(|t| own(t).1).collect();
                Scaling { mean, deviation: tracks.clone().map(|t| own(t).0 * scale[t]).collect() }
            });
            Self {
                network,
                scaling: scaling.or_else(|| self.scaling.clone()),
                tracks: self.tracks.clone(),
                transform: self.transform,
                training: None,
                record: None,
            }
        };
        Ok(self.network.members()?.into_iter().enumerate().map(of).collect())
    }

    /// Refuses another model that cannot be averaged with this one, and says what differs.
    fn same_kind(&self, name: &str, other: &Self, others: &str) -> Result<()> {
        let plain = |m: &Self| Architecture { members: 1, scales: vec![], ..m.network.architecture().clone() };
        let refuse = |what: String| Err(Error::Usage(format!("{name} and {others} cannot be averaged: {what}")));
        let (ours, theirs) = (self.track_names(), other.track_names());
        if ours.len() != theirs.len() {
            return refuse(format!("{} tracks and {}", ours.len(), theirs.len()));
        }
        if let Some((a, b)) = ours.iter().zip(&theirs).find(|(a, b)| a != b) {
            let near = if ours.contains(b) { "; their order differs".into() } else { hint(b, ours.iter().copied()) };
            return refuse(format!("track '{a}' of the first is '{b}' in the second{near}"));
        }
        if self.transform != other.transform {
            let say = |m: &Self| m.transform.map_or("the measurements themselves", Transform::formula);
            return refuse(format!("the first predicts {}, the second {}", say(self), say(other)));
        }
        let (a, b) = (plain(self), plain(other));
        if a == b {
            return Ok(());
        }
        let json = |m: &Architecture| serde_json::to_value(m).unwrap_or_default();
        let (a, b) = (json(&a), json(&b));
        match first_difference(&a, &b) {
            Some((key, a, b)) => refuse(format!(
                "their architectures differ, '{key}' is {} in the first and {} in the second",
                short(a),
                short(b)
            )),
            None => refuse("their architectures differ".into()),
        }
    }
}

fn too_few(found: usize) -> Error {
    Error::Usage(format!("an average needs two models or more, found {found}"))
}

fn short(value: &serde_json::Value) -> String {
    let text = match value {
        serde_json::Value::Null => "none".into(),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::mutate::Predictor;
    use crate::engine::predict::predict;
    use crate::model::options::{DataFacts, InputFacts, parse_option_string, resolve};
    use crate::model::spec::{Beluga, HeadOutput, Published};
    use crate::tape::{Delta, Edit};
    use crate::tensor::DType;

    const ONE: &str = "num_kernels=5+l_kernels=4+max_pooling=False+weighted_pooling=True+pooling_size=4+dilated_convolutions=1+\
                       l_dilkernels=3+conv_batch_norm=True+n_attention=1+n_distattention=2+dim_distattention=2.5+nfc_layers=1+fclayer_size=6";

    fn model(options: &str, inputs: usize, tracks: &[usize], seed: u64) -> Model {
        let facts = DataFacts {
            inputs: vec![InputFacts { length: 30, reverse_complement: true }; inputs],
            tracks: tracks.to_vec(),
            names: vec![],
            bins: None,
        };
        Model::untrained(
            Network::new(resolve(&parse_option_string(options).unwrap(), &facts).unwrap().0, seed).unwrap(),
        )
    }

    fn scaled(seed: u64, mean: f64, deviation: f64) -> Model {
        let m = model(ONE, 1, &[2, 1], seed);
        let scaling = Scaling { mean: vec![mean, -mean, 0.5], deviation: vec![deviation, 1.0, 2.0 * deviation] };
        Model { scaling: Some(scaling), ..m }
    }

    /// Predictions on the scale of the targets, in f64.
    fn predictions(m: &Model) -> Vec<f64> {
        let network = m.network.to_dtype(DType::F64).unwrap();
        let bases: Vec<u8> = (0..3 * m.network.architecture().length()).map(|i| (i * i % 5) as u8).collect();
        let all = predict(&network, &bases, None, &mut |_| ()).unwrap();
        let tracks = m.network.architecture().tracks();
        let own = |(i, v): (usize, f64)| {
            let (d, mean) = Scaling::of(m.scaling.as_ref(), i % tracks);
            v * d + mean
        };
        all.into_iter().enumerate().map(own).collect()
    }

    fn check(name: &str, models: &[Model]) -> Model {
        let named: Vec<(&str, &Model)> = models.iter().map(|m| ("m", m)).collect();
        let mean = Model::average(&named).unwrap();
        let each: Vec<Vec<f64>> = models.iter().map(predictions).collect();
        for (i, found) in predictions(&mean).into_iter().enumerate() {
            let expected = each.iter().map(|p| p[i]).sum::<f64>() / each.len() as f64;
            assert!((found - expected).abs() < 1e-12 * (1.0 + expected.abs()), "{name}, {i}: {found} {expected}");
        }
        changes(name, &mean);
        // There and back through a file; the members come out again.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mean.drg");
        mean.save(&path).unwrap();
        let again = Model::load(&path).unwrap();
        assert_eq!((again.network.architecture(), &again.scaling), (mean.network.architecture(), &mean.scaling));
        assert_eq!(predictions(&again), predictions(&mean), "{name}");
        let members = mean.members().unwrap();
        let of_members: Vec<Vec<f64>> = members.iter().map(predictions).collect();
        assert_eq!(members.len(), mean.network.architecture().members);
        for (i, found) in predictions(&mean).into_iter().enumerate() {
            let expected = of_members.iter().map(|p| p[i]).sum::<f64>() / of_members.len() as f64;
            assert!((found - expected).abs() < 1e-12 * (1.0 + expected.abs()), "{name}, members {i}");
        }
        mean
    }

    /// Effects of substitutions by the delta sweep are differences of predictions, in f64.
    fn changes(name: &str, m: &Model) {
        let network = m.network.to_dtype(DType::F64).unwrap();
        let l = network.architecture().length();
        let bases: Vec<u8> = (0..2 * l).map(|i| (i * 7 % 4) as u8).collect();
        let (tape, from, to, before) = network.record(&bases).unwrap();
        let (before, tracks) = (before.to_f64(), network.architecture().tracks());
        // Flanks of shifts are none here: places count through all inputs.
        let places = [0, 3, l / 2, l - 1];
        let edits = places.iter().map(|&at| vec![Edit { at, to: (bases[l + at] + 1) % 4 }]).collect();
        let seeds = vec![(from, Delta::edits(edits, l).unwrap())];
        let found = tape.delta(seeds, &[1; 4], &[to]).unwrap().remove(0).unwrap().rows().unwrap().to_f64();
        for (m, &at) in places.iter().enumerate() {
            let mut mutant = bases[l..].to_vec();
            mutant[at] = (mutant[at] + 1) % 4;
            let after = Predictor::predict(&network, &mutant).unwrap().to_f64();
            for t in 0..tracks {
                let expected = after[t] - before[tracks + t];
                let found = found[m * tracks + t];
                assert!((found - expected).abs() < 1e-11, "{name}, {at}: {found} {expected}");
            }
        }
    }

    #[test]
    fn predictions_are_the_mean() {
        let plain = check("plain", &[1, 2, 3].map(|seed| model(ONE, 1, &[2, 1], seed)));
        assert!(plain.network.architecture().scales.is_empty() && plain.scaling.is_none());
        let entries = plain.network.parameters().entries();
        assert!(entries.iter().any(|e| e.name == "members.2.convolutions.conv1d.weight"));
        assert_eq!(plain.network.plans().parameters(), 3 * model(ONE, 1, &[2, 1], 1).network.plans().parameters());

        let same = check("one scaling", &[scaled(1, 3.0, 2.0), scaled(2, 3.0, 2.0)]);
        assert!(same.network.architecture().scales.is_empty() && same.scaling.is_some());
        let other = check("scalings", &[scaled(1, 3.0, 2.0), scaled(2, -1.0, 0.25), model(ONE, 1, &[2, 1], 3)]);
        assert_eq!(other.network.architecture().scales.len(), 3);

        for options in
            ["shared_embedding=True+n_combine_layers=2", "outclass=difference+shared_embedding=False", "num_kernels=4"]
        {
            check(
                options,
                &[4, 5].map(|seed| model(&format!("num_kernels=4+l_kernels=5+{options}"), 2, &[2, 2], seed)),
            );
        }
        check("both strands", &[1, 2].map(|seed| model(&format!("{ONE}+average_strands=True"), 1, &[2], seed)));
        // Base-resolution models, on scales of their own.
        let facts = DataFacts { bins: Some(17), ..DataFacts::single(30, vec![2, 1], true) };
        let options =
            "num_kernels=4+l_kernels=5+dilated_convolutions=1+l_dilkernels=3+final_kernel=4+outclass=['EXP','Class']";
        let profiles = [(1, 2.0), (2, 0.5)].map(|(seed, deviation)| {
            let spec = resolve(&parse_option_string(options).unwrap(), &facts).unwrap().0;
            let scaling = Some(Scaling { mean: vec![0.0; 3], deviation: vec![deviation, 1.0, 3.0] });
            Model { scaling, ..Model::untrained(Network::new(spec, seed).unwrap()) }
        });
        assert_eq!(check("profiles", &profiles).network.architecture().bins(), Some(17));
        // Averages count as one.
        let again = check("average of averages", &[plain, other, scaled(5, 1.0, 3.0)]);
        assert_eq!(again.network.architecture().members, 7);
    }

    #[test]
    fn what_differs_is_named() {
        let refused = |a: &Model, b: &Model| Model::average(&[("a", a), ("b", b)]).unwrap_err().to_string();
        let m = model(ONE, 1, &[2, 1], 1);
        let kernels = model(&ONE.replace("num_kernels=5", "num_kernels=6"), 1, &[2, 1], 1);
        assert_eq!(
            refused(&m, &kernels),
            "a and b cannot be averaged: their architectures differ, 'kernels' is 5 in the first and 6 in the second"
        );
        assert!(refused(&m, &model(ONE, 1, &[2, 2], 1)).contains("3 tracks and 4"));
        let mut named = m.clone();
        named.tracks[1][0] = "x".into();
        assert!(
            refused(&m, &named).contains("track 'C0' of the first is 'x' in the second"),
            "{}",
            refused(&m, &named)
        );
        let mut letters = m.network.architecture().clone();
        letters.inputs[0].alphabet = "AGCT".into();
        let letters = Model::untrained(Network::new(letters, 1).unwrap());
        assert!(refused(&m, &letters).contains("'alphabet' is \"ACGT\" in the first and \"AGCT\""));
        let beluga = Beluga {
            length: 320,
            channels: [2, 2, 2],
            hidden: 3,
            tracks: 2,
            output: HeadOutput::Class,
            alphabet: "AGCT".into(),
        };
        let beluga = Model::untrained(Network::new(Published::Beluga(beluga), 1).unwrap());
        assert!(refused(&beluga, &beluga).contains("published architectures cannot be averaged"));
        assert!(Model::average(&[("a", &m)]).unwrap_err().to_string().contains("two models or more, found 1"));
    }

    /// Files of plain models are what they were before there were averages.
    #[test]
    fn plain_models_are_stored_as_ever() {
        let keys = |m: &Model| {
            let json = serde_json::to_value(m.network.architecture()).unwrap();
            json.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        let (one, two) = (model(ONE, 1, &[2], 1), model("num_kernels=4+outclass=difference", 2, &[2], 1));
        assert!(keys(&one)[..2] == ["alphabet", "length"] && !keys(&one).contains(&"members".into()));
        assert_eq!(keys(&two), ["inputs", "join"]);
        let mean = Model::average(&[("a", &one), ("b", &one)]).unwrap();
        assert_eq!(keys(&mean), ["inputs", "join", "members"]);
    }

    /// 2, 1 and 3 members are as many as 3 models of 2: each of the three counts a third all the same.
    #[test]
    fn averages_of_different_sizes_count_as_one_each() {
        let of = |seeds: std::ops::Range<u64>| {
            let all: Vec<Model> = seeds.map(|seed| model(ONE, 1, &[2, 1], seed)).collect();
            match all.len() {
                1 => all[0].clone(),
                _ => Model::average(&all.iter().map(|m| ("m", m)).collect::<Vec<_>>()).unwrap(),
            }
        };
        let parts = [of(1..3), of(3..4), of(4..7)];
        let all = Model::average(&parts.each_ref().map(|m| ("m", m))).unwrap();
        let bases: Vec<u8> = (0..60).map(|i| (i * i % 7 % 4) as u8).collect();
        let values = |m: &Model| predict(&m.network, &bases, None, &mut |_| ()).unwrap();
        let each = parts.each_ref().map(values);
        for (i, found) in values(&all).into_iter().enumerate() {
            let want = each.iter().map(|v| v[i]).sum::<f64>() / 3.0;
            assert!((found - want).abs() < 1e-5, "{found} instead of {want}");
        }
    }

    #[test]
    fn bad_scales_are_refused() {
        let m = model(ONE, 1, &[2, 1], 1);
        for scales in [vec![vec![1.0; 3]], vec![vec![1.0; 2]; 2]] {
            let text = Network::average(&[m.network.clone(), m.network.clone()], scales).unwrap_err().to_string();
            assert!(text.contains("scales of every member and track"), "{text}");
        }
        let mut none = m.network.architecture().clone();
        none.members = 0;
        assert!(Network::new(none, 1).unwrap_err().to_string().contains("at least 1 member"));
    }
}
