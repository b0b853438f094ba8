use super::*;
use crate::model::options::{DataFacts, InputFacts, parse_option_string, resolve};
use crate::model::{Network, Readout};

/// A network of every kind of layer that a sweep meets often.
pub(super) fn network(length: usize, more: &str) -> Network {
    let text = format!(
        "num_kernels=5+l_kernels=4+max_pooling=False+weighted_pooling=True+pooling_size=3+dilated_convolutions=2+\
         l_dilkernels=3+conv_batch_norm=True+fclayer_size=6+nfc_layers=2{more}"
    );
    let facts = DataFacts::single(length, vec![2, 1], true);
    Network::new(resolve(&parse_option_string(&text).unwrap(), &facts).unwrap().0, 3).unwrap()
}

/// Two inputs of 23 and 17 bases: the difference of both, and the second alone.
pub(super) fn two_inputs() -> Network {
    let options = "num_kernels=5+l_kernels=4+max_pooling=False+weighted_pooling=True+pooling_size=3+dilated_convolutions=1+\
                   l_dilkernels=3+outclass=['difference','direct']+input_to_combinefunc=[[0,1],[1]]+shared_embedding=False";
    let input = |length, reverse_complement| InputFacts { length, reverse_complement };
    let facts =
        DataFacts { inputs: vec![input(23, true), input(17, false)], tracks: vec![2, 1], names: vec![], bins: None };
    Network::new(resolve(&parse_option_string(options).unwrap(), &facts).unwrap().0, 3).unwrap()
}

fn sequences(n: usize, length: usize) -> Vec<u8> {
    (0..n * length).map(|i| [0, 2, 1, 3, 4, 2, 2][(i * i + i / 5) % 7]).collect()
}

fn run(net: &Network, codes: &[u8], edits: &Edits, options: &Options) -> Vec<Block> {
    mutate(net, codes, edits.clone(), options.clone()).collect::<crate::Result<_>>().unwrap()
}

#[test]
fn engines_agree_in_f64() {
    for (length, more) in [(20, ""), (41, "+shift_sequence=2+random_shift=1"), (600, "+pooling_size=2")] {
        let (net, codes) = (network(length, more), sequences(3, length));
        let edits = Edits::Substitutions(0..length);
        let all = |engine| run(&net, &codes, &edits, &Options { engine, double: true, ..Options::default() });
        let (delta, naive) = (all(Engine::Delta), all(Engine::Naive));
        assert_eq!(delta.len(), 3 * length.div_ceil(256));
        for (d, n) in delta.iter().zip(&naive) {
            assert_eq!((d.index, d.sequence, d.part, &d.edits), (n.index, n.sequence, n.part, &n.edits));
            assert_eq!(d.reference, n.reference);
            crate::tape::check::close("effects", &d.effects, &n.effects, 1e-9);
        }
    }
}

/// Networks of several inputs of unequal lengths: substitutions in any of them, edits in several at once, bases inserted nowhere.
#[test]
fn several_inputs() {
    let shared = "num_kernels=4+l_kernels=4+max_pooling=False+weighted_pooling=True+pooling_size=3+dilated_convolutions=2+\
                  l_dilkernels=3+conv_batch_norm=True+fclayer_size=5+nfc_layers=2";
    let input = |length, reverse_complement| InputFacts { length, reverse_complement };
    let (two, three) =
        (vec![input(31, true), input(18, false)], vec![input(12, false), input(25, true), input(17, true)]);
    for (inputs, tracks, more) in [
        (two.clone(), vec![2], "+cnn_embedding=6+n_combine_layers=1"),
        (two.clone(), vec![2, 3], "+cnn_embedding=6+n_combine_layers=0+shift_sequence=2+random_shift=1"),
        (two.clone(), vec![2, 2, 2], "+outclass=['difference','direct','direct']+input_to_combinefunc=[[0,1],[1],[0]]"),
        (two, vec![2, 1], "+outclass=['FRACTION','LOGXPLUSEXPDIFFERENCE']+shared_embedding=False"),
        (three.clone(), vec![1, 2], "+cnn_embedding=4+n_combine_layers=2+input_to_combinefunc=[[0,2],[1]]"),
        // Nothing reads the last input.
        (three, vec![2, 2], "+outclass=['EXPDIFFERENCE','DIRECT']+input_to_combinefunc=[[1,0],[0]]"),
    ] {
        let facts = DataFacts { inputs: inputs.clone(), tracks: tracks.clone(), names: vec![], bins: None };
        let options = parse_option_string(&format!("{shared}{more}")).unwrap();
        let net = Network::new(resolve(&options, &facts).unwrap().0, 3).unwrap();
        let length: usize = inputs.iter().map(|i| i.length).sum();
        let codes = sequences(2, length);
        let pairs = |n: usize| (0..40).map(|i| [(i * 7 + n) % length, (i * 13 + 5) % length]).collect::<Vec<_>>();
        let mutant = |[a, b]: [usize; 2]| {
            let edit = |at: usize| Edit { at, to: (at % 4) as u8 };
            if a == b { vec![edit(a)] } else { vec![edit(a.min(b)), edit(a.max(b))] }
        };
        let listed: Vec<Vec<Vec<Edit>>> = (0..2).map(|n| pairs(n).into_iter().map(mutant).collect()).collect();
        for edits in [Edits::Substitutions(0..length), Edits::Listed(listed.into())] {
            let all = |engine| run(&net, &codes, &edits, &Options { engine, double: true, ..Options::default() });
            let (delta, naive) = (all(Engine::Delta), all(Engine::Naive));
            for (d, n) in delta.iter().zip(&naive) {
                assert_eq!((d.index, &d.edits, &d.reference), (n.index, &n.edits, &n.reference));
                crate::tape::check::close(more, &d.effects, &n.effects, 1e-9);
            }
            // Mutants one by one have the bits that they have in a block.
            let single: Vec<f64> = (delta[0].edits.iter())
                .flat_map(|m| {
                    let alone = Edits::Listed(vec![vec![m.clone()], vec![]].into());
                    let options = Options { engine: Engine::Delta, double: true, ..Options::default() };
                    run(&net, &codes, &alone, &options).remove(0).effects
                })
                .collect();
            assert_eq!(single, delta[0].effects, "{more}");
        }
    }
}

/// Base-resolution models: effects on totals, on weighted bins and on every bin.
#[test]
fn profiles() {
    let shared = "num_kernels=4+l_kernels=5+dilated_convolutions=2+l_dilkernels=3+dilations=[1,3]+final_kernel=4";
    for (tracks, bins, more) in [
        (vec![2], 21, ""),
        (vec![2, 1], 20, "+outclass=['EXP','Class']+final_strides=2"),
        (vec![2], 41, "+outclass=Softmax+conv_batch_norm=True"),
        (vec![3], 13, "+outclass=Multi_class+max_pooling=True+pooling_size=3"),
        (vec![2], 17, "+predict_from_dist=True+count_function=EXP+transformer_convolutions=1+l_trkernels=3"),
        (vec![2], 21, "+average_strands=True+stranded_tracks=True+outclass=EXP"),
        (vec![2], 9, "+predict_from_dist=True+average_strands=True+n_attention=1+n_distattention=2"),
    ] {
        let facts = DataFacts { bins: Some(bins), ..DataFacts::single(41, tracks.clone(), true) };
        let options = parse_option_string(&format!("{shared}{more}")).unwrap();
        let net = Network::new(resolve(&options, &facts).unwrap().0, 3).unwrap();
        let (codes, edits) = (sequences(2, 41), Edits::Substitutions(0..41));
        let weights: Vec<f64> = (0..bins).map(|b| (b as f64 * 0.7).cos()).collect();
        let mut totals = vec![];
        for readout in [Readout::Sum, Readout::Bins, Readout::Weights(weights.clone().into())] {
            if readout == Readout::Sum && more.contains("Softmax") {
                // Shares always sum to 1.
                continue;
            }
            let net = net.with_readout(readout.clone()).unwrap();
            let all = |engine| run(&net, &codes, &edits, &Options { engine, double: true, ..Options::default() });
            let (delta, naive) = (all(Engine::Delta), all(Engine::Naive));
            for (d, n) in delta.iter().zip(&naive) {
                assert_eq!((d.index, &d.edits, &d.reference), (n.index, &n.edits, &n.reference));
                crate::tape::check::close(more, &d.effects, &n.effects, 1e-9);
            }
            let effects: Vec<f64> = delta.iter().flat_map(|d| d.effects.clone()).collect();
            let sums = |w: &dyn Fn(usize) -> f64| -> Vec<f64> {
                let sum = |b: &[f64]| b.iter().enumerate().map(|(i, e)| w(i) * e).sum();
                effects.chunks_exact(bins).map(sum).collect()
            };
            match readout {
                Readout::Sum => totals = effects,
                Readout::Bins => {
                    if !totals.is_empty() {
                        crate::tape::check::close(more, &sums(&|_| 1.0), &totals, 1e-9);
                    }
                    totals = sums(&|b| weights[b]);
                }
                Readout::Weights(_) => crate::tape::check::close(more, &effects, &totals, 1e-9),
            }
        }
    }
}

#[test]
fn bits_depend_on_no_other_block_sequence_or_thread() {
    let (net, codes) = (network(300, "+dilweighted_pooling=4"), sequences(4, 300));
    let edits = Edits::Substitutions(7..290);
    let options = Options { engine: Engine::Delta, ..Options::default() };
    let all = run(&net, &codes, &edits, &options);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut again = vec![];
        pool.install(|| {
            each_block(&net, &codes, &edits, &options, |b| {
                again.push(b);
                Ok(true)
            })
        })
        .unwrap();
        assert_eq!(all, again, "{threads} threads");
    }
    let some = run(&net, &codes, &edits, &Options { blocks: Some(vec![1, 6]), ..options.clone() });
    assert_eq!(some, [all[1].clone(), all[6].clone()]);
    // Every mutant alone.
    for block in &all[2..4] {
        let codes = &codes[block.sequence * 300..][..300];
        for (m, e) in block.edits.iter().enumerate().step_by(37) {
            let one = run(&net, codes, &Edits::Listed(vec![vec![e.clone()]].into()), &options);
            assert_eq!(one[0].effects, block.effects[m * 3..][..3]);
        }
    }
}

#[test]
fn tracks_are_chosen_and_bad_jobs_refused() {
    let (net, codes) = (network(24, ""), sequences(1, 24));
    let edits = Edits::Substitutions(3..9);
    let all = run(&net, &codes, &edits, &Options::default());
    let some = run(&net, &codes, &edits, &Options { tracks: Some(vec![2, 0]), ..Options::default() });
    assert_eq!(some[0].reference, [all[0].reference[2], all[0].reference[0]]);
    for (a, b) in some[0].effects.chunks(2).zip(all[0].effects.chunks(3)) {
        assert_eq!(a, [b[2], b[0]]);
    }
    let refuse = |codes: &[u8], edits: Edits, options: Options| {
        mutate(&net, codes, edits, options).next().unwrap().unwrap_err().to_string()
    };
    assert!(refuse(&codes, Edits::Substitutions(5..25), Options::default()).contains("0..24"));
    let tracks = Options { tracks: Some(vec![3]), ..Options::default() };
    assert!(refuse(&codes, edits.clone(), tracks).contains("track 3 of 3"));
    assert!(refuse(&codes[1..], edits, Options::default()).contains("[N, 24]"));
    let listed = |e: Vec<Edit>| Edits::Listed(vec![vec![e]].into());
    let edit = |at, to| Edit { at, to };
    assert!(refuse(&codes, listed(vec![]), Options::default()).contains("no edit"));
    assert!(refuse(&codes, listed(vec![edit(24, 1)]), Options::default()).contains("below 24"));
    assert!(refuse(&codes, listed(vec![edit(1, 1), edit(1, 2)]), Options::default()).contains("twice"));
    assert!(refuse(&codes, Edits::Listed(vec![].into()), Options::default()).contains("there are 1"));
}

/// BPNet's outputs are positions: one that lies outside of a mutation's reach has an effect of exactly 0, where the difference
/// of two predictions would be rounding.
#[test]
fn what_a_mutation_cannot_reach_stays_exactly() {
    let model = crate::model::ZooName::Bpnet2114.network(1).unwrap();
    let codes = sequences(1, 2114);
    let reference = Reference::new(&model, &codes).unwrap();
    let edit = |at: usize| vec![Edit { at, to: (codes[at].min(3) + 1) % 4 }];
    let y = reference.effects(&[0, 0, 0], &[edit(0), edit(1000), edit(2113)]).unwrap().to_f64();
    // Half widths: first layer 10, dilations 2 to 256, profile 37; the profile begins at position 557.
    let reach = 10 + 510 + 37;
    for (j, &effect) in y[1001..2001].iter().enumerate() {
        let distance = (557 + j).abs_diff(1000);
        assert!(if distance > reach { effect == 0.0 } else { distance > reach - 60 || effect != 0.0 }, "{j}: {effect}");
    }
    assert!(y[..1001].iter().chain(&y[2002..]).all(|&v| v == 0.0), "the ends reach no output");
    assert_ne!(y[2001], 0.0, "the count sees position 1000");
}
