//! Published models by the names of their tensors.

use crate::io::pth::PthTensor;
use crate::model::spec::Beluga;

/// What wraps the layers of the published file, and is missing where its layers were stored alone.
const WRAPPER: &str = "model.";

/// DeepSEA Beluga, or a model of its layers, if the tensors of a state dict have its names; and what is missing in front of every
/// name. The sizes are those that the tensors agree on, and where they do not, the published ones: so
/// [`import_state`](super::import_state) names the tensor that is wrong. The length of sequences is the published one if the
/// tensors fit it; otherwise it is the shortest that they fit, and lengths up to 15 more fit them as well.
pub fn recognise_beluga(tensors: &[(String, PthTensor)]) -> Option<(Beluga, &'static str)> {
    let find = |missing: &str, name: &str, part: &str| {
        let name = format!("{name}.{part}");
        let name = name.strip_prefix(missing)?;
        tensors.iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor.shape.as_slice())
    };
    let ([first, ..], [_, last]) = (Beluga::CONVOLUTIONS, Beluga::DENSE);
    let missing = ["", WRAPPER].into_iter().find(|missing| {
        find(missing, first, "weight").is_some_and(|s| s.len() == 4)
            || find(missing, last, "weight").is_some_and(|s| s.len() == 2)
    })?;
    let extent = |name: &str, part: &str, axis: usize| find(missing, name, part)?.get(axis).copied();
    let (rows, columns) = (|name| extent(name, "weight", 0), |name| extent(name, "weight", 1));
    let bias = |name| extent(name, "bias", 0);
    let mut sizes = Beluga::default();
    for (i, size) in sizes.channels.iter_mut().enumerate() {
        let [a, b] = [Beluga::CONVOLUTIONS[2 * i], Beluga::CONVOLUTIONS[2 * i + 1]];
        let next = Beluga::CONVOLUTIONS.get(2 * i + 2).and_then(|name| columns(name));
        agree(size, [rows(a), bias(a), rows(b), columns(b), bias(b), next]);
    }
    let [hidden, tracks] = Beluga::DENSE;
    agree(&mut sizes.hidden, [rows(hidden), bias(hidden), columns(tracks)]);
    agree(&mut sizes.tracks, [rows(tracks), bias(tracks)]);
    let channels = sizes.channels[2];
    let positions = columns(hidden).filter(|n| n.is_multiple_of(channels)).map(|n| n / channels);
    if let Some(positions) = positions.filter(|&p| p > 0 && sizes.positions() != Some(p)) {
        sizes.length = Beluga::shortest(positions);
    }
    Some((sizes, missing))
}

/// Sets a size that all tensors which have it agree on.
fn agree<const N: usize>(size: &mut usize, found: [Option<usize>; N]) {
    let mut found = found.into_iter().flatten();
    if let Some(first) = found.next().filter(|&n| n > 0)
        && found.all(|n| n == first)
    {
        *size = first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Precision;
    use crate::engine::mutate::{Edits, Engine, Options, Predictor, mutate};
    use crate::io::pth::PthData;
    use crate::model::checkpoint::{Model, export_state, import_state, reference_state};
    use crate::model::spec::{HeadOutput, Published};
    use crate::model::{Network, Tap};
    use crate::tape::{Tape, Var};

    fn small() -> Beluga {
        Beluga { length: 330, channels: [3, 4, 5], hidden: 7, tracks: 6, ..Beluga::default() }
    }

    fn network(sizes: &Beluga, seed: u64) -> Network {
        Network::new(Published::Beluga(sizes.clone()), seed).unwrap()
    }

    fn predictions(network: &Network, codes: &[u8]) -> Vec<f64> {
        network.predict_in(codes, Precision::F32).unwrap().to_f64()
    }

    fn codes(n: usize) -> Vec<u8> {
        (0..n).map(|i| [0, 2, 1, 3, 4, 2, 2][(i * i + i / 5) % 7]).collect()
    }

    fn without_wrapper(state: &[(String, PthTensor)]) -> Vec<(String, PthTensor)> {
        state.iter().map(|(n, t)| (n.strip_prefix(WRAPPER).unwrap().to_string(), t.clone())).collect()
    }

    #[test]
    fn the_published_file_is_recognised() {
        // Shapes alone: 150 million numbers are not needed to read sizes.
        let shapes: [(&str, &[usize]); 8] = [
            ("model.0.0", &[320, 4, 1, 8]),
            ("model.0.2", &[320, 320, 1, 8]),
            ("model.0.6", &[480, 320, 1, 8]),
            ("model.0.8", &[480, 480, 1, 8]),
            ("model.0.12", &[640, 480, 1, 8]),
            ("model.0.14", &[640, 640, 1, 8]),
            ("model.1.2.1", &[2003, 67840]),
            ("model.1.4.1", &[2002, 2003]),
        ];
        let of = |name: String, shape: &[usize]| (name, PthTensor { shape: shape.into(), data: PthData::F32(vec![]) });
        let all = |prefix: &str| -> Vec<_> {
            let pair = |(name, shape): &(&str, &[usize])| {
                let name = name.replace(WRAPPER, prefix);
                [of(format!("{name}.weight"), shape), of(format!("{name}.bias"), &shape[..1])]
            };
            shapes.iter().flat_map(pair).collect()
        };
        assert_eq!(recognise_beluga(&all(WRAPPER)), Some((Beluga::default(), "")));
        assert_eq!(recognise_beluga(&all("")), Some((Beluga::default(), WRAPPER)));
        assert_eq!(recognise_beluga(&all("net.")), None);
        assert_eq!(recognise_beluga(&[]), None);
        // One tensor against the others does not count; nor does one that lies flat.
        let mut wrong = all(WRAPPER);
        wrong[0].1.shape = vec![300, 4, 1, 8];
        wrong[14].1.shape = vec![2002, 3];
        assert_eq!(recognise_beluga(&wrong), Some((Beluga::default(), "")));
        assert_eq!(recognise_beluga(&[of("0.0.weight".into(), &[8, 4, 7])]), None);
    }

    #[test]
    fn a_state_dict_of_other_sizes_goes_there_and_back() {
        let sizes = small();
        let source = network(&sizes, 3);
        let state = reference_state(&source, false).unwrap();
        assert_eq!(state.len(), 16);
        assert_eq!((state[0].0.as_str(), &state[0].1.shape[..]), ("model.0.0.weight", &[3, 4, 1, 8][..]));
        assert_eq!((state[12].0.as_str(), &state[12].1.shape[..]), ("model.1.2.1.weight", &[7, 10][..]));
        let shortest = Beluga { length: 326, ..sizes.clone() };
        assert_eq!(recognise_beluga(&state), Some((shortest.clone(), "")));
        assert_eq!(recognise_beluga(&without_wrapper(&state)), Some((shortest, WRAPPER)));
        let mut other = network(&sizes, 4);
        import_state(&mut other, &state).unwrap();
        assert_eq!(export_state(&other).unwrap(), state);
        assert_eq!(predictions(&other, &codes(660)), predictions(&source, &codes(660)));
        let mut wrong = state.clone();
        wrong[0].1.shape = vec![3, 4, 8];
        let message = import_state(&mut other, &wrong).unwrap_err().to_string();
        assert!(message.contains("'model.0.0.weight' has shape [3, 4, 8], the model [3, 4, 1, 8]"), "{message}");
    }

    /// The same numbers of a file mean other bases in another order: reading G where the file says C.
    #[test]
    fn the_order_of_bases_is_the_files() {
        let theirs = network(&small(), 3);
        let mut ours = network(&Beluga { alphabet: "ACGT".into(), ..small() }, 4);
        import_state(&mut ours, &export_state(&theirs).unwrap()).unwrap();
        let codes = codes(330);
        let swapped: Vec<u8> = codes.iter().map(|&c| [0, 2, 1, 3, 4][usize::from(c)]).collect();
        assert_eq!(predictions(&theirs, &codes), predictions(&ours, &swapped));
        assert_ne!(predictions(&theirs, &codes), predictions(&ours, &codes));
    }

    #[test]
    fn a_stored_model_has_all_that_it_needs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.drg");
        for output in [HeadOutput::Linear, HeadOutput::Class] {
            let model = Model::untrained(network(&Beluga { output, ..small() }, 3));
            assert_eq!(model.track_names(), ["C0", "C1", "C2", "C3", "C4", "C5"]);
            model.save(&path).unwrap();
            let again = Model::load(&path).unwrap();
            assert_eq!(again.network.architecture(), model.network.architecture());
            let (a, b) = (predictions(&model.network, &codes(330)), predictions(&again.network, &codes(330)));
            assert_eq!(a, b);
            assert!(output == HeadOutput::Linear || a.iter().all(|&p| p > 0.0 && p < 1.0));
        }
    }

    #[test]
    fn mutants_by_both_engines() {
        for output in [HeadOutput::Linear, HeadOutput::Class] {
            let net = network(&Beluga { output, ..small() }, 3);
            let run = |engine| -> Vec<f64> {
                let options = Options { engine, double: true, ..Options::default() };
                let blocks = mutate(&net, &codes(660), Edits::Substitutions(0..330), options);
                blocks.flat_map(|block| block.unwrap().effects).collect()
            };
            let (delta, naive) = (run(Engine::Delta), run(Engine::Naive));
            assert!(delta.iter().any(|&e| e != 0.0));
            crate::tape::check::close("beluga", &delta, &naive, 1e-9);
        }
    }

    #[test]
    fn layers_are_watched() {
        let net = network(&small(), 3);
        let (mut tape, mut seen) = (Tape::predict(), vec![]);
        let bound = net.parameters().bind(&mut tape, false).unwrap();
        let x = Var::constant(net.input(&codes(330)).unwrap());
        net.observed(&mut tape, &bound, &[x], &mut |i, tap, v| seen.push((i, tap, v.shape().to_vec()))).unwrap();
        let expected = [(Tap::Stem, vec![1, 323, 3]), (Tap::Flat, vec![1, 10]), (Tap::HeadInput, vec![1, 7])];
        assert_eq!(seen, expected.map(|(tap, shape)| (0, tap, shape)));
        let message = net.observed(&mut tape, &bound, &[], &mut |_, _, _| ()).unwrap_err().to_string();
        assert!(message.contains("0 sequences for a network of 1 inputs"), "{message}");
    }
}
