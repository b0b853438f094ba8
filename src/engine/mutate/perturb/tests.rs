use std::ops::Range;

use super::*;
use crate::engine::mutate::Engine;
use crate::engine::mutate::tests::{network, two_inputs};
use crate::model::Network;
use crate::seq::{UNIFORM, UNKNOWN, reverse_complement};
use crate::tape::check::close;
use crate::tensor::DType;
use crate::util::philox::Philox;

const L: usize = 40;
const N: usize = 3;

/// Predictions `[n, 3]` in f64 of every row on its own.
fn naive(net: &Network, rows: &[Vec<u8>]) -> Vec<f64> {
    let net = Predictor::to_dtype(net, DType::F64).unwrap();
    rows.iter().flat_map(|row| Predictor::predict(&net, row).unwrap().to_f64()).collect()
}

fn bases(seed: u64) -> Vec<u8> {
    let mut r = Philox::new(seed, 0);
    (0..N * L).map(|i| if i % 17 == 5 { UNKNOWN } else { r.below(4) as u8 }).collect()
}

fn row(codes: &[u8], n: usize) -> Vec<u8> {
    codes[n * L..][..L].to_vec()
}

fn engines() -> impl Iterator<Item = Options> {
    [Engine::Delta, Engine::Naive].into_iter().map(|engine| Options { engine, double: true, ..Options::default() })
}

/// `f(mutant) - f(sequence)`, `[rows, 3]`; `sequences` says which sequence each row is of.
fn effects(net: &Network, codes: &[u8], sequences: &[usize], rows: &[Vec<u8>]) -> Vec<f64> {
    let old = naive(net, &(0..N).map(|n| row(codes, n)).collect::<Vec<_>>());
    let new = naive(net, rows);
    (0..new.len()).map(|i| new[i] - old[sequences[i / 3] * 3 + i % 3]).collect()
}

fn quiet() -> impl FnMut(usize) {
    |_| {}
}

#[test]
fn marginalize_writes_motifs_into_backgrounds() {
    let (net, codes) = (network(L, ""), bases(1));
    let motif = vec![2, 0, UNKNOWN, 3, 1, 1];
    let instances = [motif.clone(), reverse_complement(&motif)];
    for (at, start) in [(None, 17), (Some(0), 0), (Some(L - 6), L - 6)] {
        let (mut of, mut rows) = (vec![], vec![]);
        for n in 0..N {
            for motif in &instances {
                let mut mutant = row(&codes, n);
                for (i, &code) in motif.iter().enumerate().filter(|(_, c)| **c < 4) {
                    mutant[start + i] = code;
                }
                rows.push(mutant);
                of.push(n);
            }
        }
        let want = effects(&net, &codes, &of, &rows);
        for options in engines() {
            let mut heard = vec![];
            let got =
                marginalize(&net, &codes, &instances, &Site::whole(L, at), &options, &mut |n| heard.push(n)).unwrap();
            assert_eq!((got.mutants, got.tracks, heard), (2, 3, vec![1, 2, 3]));
            close("marginalize", &got.effects, &want, 1e-9);
            close("reference", &got.reference, &naive(&net, &[row(&codes, 0), row(&codes, 1), row(&codes, 2)]), 1e-12);
        }
    }
    let options = Options { tracks: Some(vec![2]), ..engines().next().unwrap() };
    let got = marginalize(&net, &codes, &instances, &Site::whole(L, None), &options, &mut quiet()).unwrap();
    let mean = got.averaged(2).unwrap();
    assert_eq!((mean.mutants, mean.tracks, mean.effects.len()), (1, 1, N));
    assert_eq!(mean.effects[1], (got.effects[2] + got.effects[3]) / 2.0);
    let moments = mean.moments();
    assert_eq!(moments.mean[0], stat::mean(&mean.effects));
    assert_eq!(moments.error[0], stat::sd(&mean.effects) / (N as f64).sqrt());
    assert!(got.averaged(3).is_err() && got.averaged(0).is_err());
    let refuse = |motif: Vec<u8>, at| {
        marginalize(&net, &codes, &[motif], &Site::whole(L, at), &options, &mut quiet()).unwrap_err().to_string()
    };
    assert!(refuse(vec![1; 5], Some(36)).contains("5 bases at position 36 reach over the end of 40"));
    assert!(refuse(vec![1; 41], None).contains("over the end"));
    assert!(refuse(vec![UNKNOWN; 5], None).contains("one known base"));
}

#[test]
fn a_motif_that_is_there_does_nothing() {
    let (net, codes) = (network(L, ""), bases(2));
    let edits = place(&codes[..L], &codes[8..12], 8).unwrap();
    assert_eq!(edits.len(), 1);
    for options in engines() {
        let got =
            marginalize(&net, &codes[..L], &[codes[8..12].to_vec()], &Site::whole(L, Some(8)), &options, &mut quiet())
                .unwrap();
        assert_eq!(got.effects, [0.0; 3]);
    }
}

#[test]
fn instances_follow_the_probabilities() {
    let rows = [[0.5, 0.0, 0.5, 0.0], [0.0, 0.0, 0.0, 1.0], [0.1, 0.2, 0.3, 0.4], [1.0, 0.0, 0.0, 0.0]];
    let all = sample(&rows, 4000, 7);
    let share = |p: usize, b: u8| all.iter().filter(|i| i[p] == b).count() as f64 / 4000.0;
    for (p, row) in rows.iter().enumerate() {
        for b in 0..4 {
            let (want, got) = (row[usize::from(b)], share(p, b));
            assert!(if want == 0.0 { got == 0.0 } else { (got - want).abs() < 0.03 }, "{p} {b} {got}");
        }
    }
    assert_eq!(sample(&rows, 5, 7), all[..5]);
    assert_ne!(sample(&rows, 50, 8), all[..50]);
}

#[test]
fn spacing_is_both_minus_each() {
    let (net, codes) = (network(L, "+weighted_pooling=True"), bases(3));
    let (a, b, distances) = ([2, 2, 1], [0, 3, 3, 1], [0, 2, 9]);
    for at in [None, Some(4)] {
        let (mut of, mut rows) = (vec![], vec![]);
        for n in 0..N {
            for d in distances {
                let at = at.unwrap_or(20 - (7 + d) / 2);
                for which in [[true, false], [false, true], [true, true]] {
                    let mut mutant = row(&codes, n);
                    if which[0] {
                        mutant[at..at + 3].copy_from_slice(&a);
                    }
                    if which[1] {
                        mutant[at + 3 + d..at + 7 + d].copy_from_slice(&b);
                    }
                    rows.push(mutant);
                    of.push(n);
                }
            }
        }
        let want = effects(&net, &codes, &of, &rows);
        let part = |k: usize| want.chunks(3).skip(k).step_by(3).flatten().copied().collect::<Vec<f64>>();
        for options in engines() {
            let got = space(&net, &codes, [&a, &b], &distances, &Site::whole(L, at), &options, &mut quiet()).unwrap();
            assert_eq!(got.cells, 9);
            close("first", &got.first, &part(0), 1e-9);
            close("second", &got.second, &part(1), 1e-9);
            close("both", &got.both, &part(2), 1e-9);
            let want: Vec<f64> = (0..27).map(|i| part(2)[i] - part(0)[i] - part(1)[i]).collect();
            assert!(got.interaction().iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-12));
        }
    }
    let refuse = |distances: &[usize], at| {
        space(&net, &codes, [&a, &b], distances, &Site::whole(L, at), &Options::default(), &mut quiet())
            .unwrap_err()
            .to_string()
    };
    assert!(refuse(&[], None).contains("at least one distance"));
    assert!(refuse(&[3, 34], None).contains("at distance 34 do not fit into 40"));
    assert!(refuse(&[33], Some(1)).contains("from position 1"));
    assert!(space(&net, &codes, [&a, &b], &[33], &Site::whole(L, None), &Options::default(), &mut quiet()).is_ok());
}

#[test]
fn ablation_averages_over_fills() {
    let (net, codes) = (network(L, ""), bases(4));
    let sites: Vec<(usize, Range<usize>)> = vec![(2, 3..11), (0, 0..1), (2, 30..40), (0, 12..26), (2, 3..11)];
    for fill in Fill::ALL.iter().copied() {
        let removal = Removal { fill, repeats: 4, seed: 5 };
        let times = if fill.is_random() { 4 } else { 1 };
        let (mut of, mut rows) = (vec![], vec![]);
        for (n, site) in &sites {
            let mut crc = flate2::Crc::new();
            crc.update(&row(&codes, *n));
            let mut random = Philox::new(5, 0x5045 << 48 ^ u64::from(crc.sum()) << 24 | site.start as u64);
            for _ in 0..times {
                let mut mutant = row(&codes, *n);
                let new = fill.draw(&mutant[site.clone()], &mut random);
                mutant[site.clone()].copy_from_slice(&new);
                rows.push(mutant);
                of.push(*n);
            }
        }
        let want = effects(&net, &codes, &of, &rows);
        for options in engines() {
            let got = ablate(&net, &codes, &sites, &removal, &options, &mut quiet()).unwrap();
            for (s, (n, _)) in sites.iter().enumerate() {
                for t in 0..3 {
                    let fills: Vec<f64> = (0..times).map(|k| want[(s * times + k) * 3 + t]).collect();
                    let (mean, sd) = (stat::mean(&fills), if times > 1 { stat::sd(&fills) } else { 0.0 });
                    assert!((got.mean[s * 3 + t] - mean).abs() < 1e-12, "{fill:?} {s}");
                    assert!((got.sd[s * 3 + t] - sd).abs() < 1e-12, "{fill:?} {s}");
                    assert_eq!(got.reference[s * 3 + t], got.reference[got_row(&sites, *n) * 3 + t]);
                }
            }
            assert_eq!((&got.mean[..3], &got.sd[..3]), (&got.mean[12..], &got.sd[12..]), "the same site");
        }
    }
    // A sequence without sites, and no sites at all.
    let removal = Removal { fill: Fill::N, repeats: 0, seed: 0 };
    let options = Options::default();
    assert_eq!(ablate(&net, &codes, &sites[1..2], &removal, &options, &mut quiet()).unwrap().mean.len(), 3);
    assert!(ablate(&net, &codes, &[], &removal, &options, &mut quiet()).unwrap().mean.is_empty());
    let refuse = |sites: &[(usize, Range<usize>)], fill| {
        let removal = Removal { fill, repeats: 0, seed: 0 };
        ablate(&net, &codes, sites, &removal, &options, &mut quiet()).unwrap_err().to_string()
    };
    assert!(refuse(&[(3, 0..4)], Fill::N).contains("there are 3 sequences of 40 bases"));
    assert!(refuse(&[(0, 36..41)], Fill::N).contains("site 36..41"));
    assert!(refuse(&[(0, 4..4)], Fill::N).contains("site 4..4"));
    assert!(refuse(&[(0, 4..8)], Fill::Shuffle).contains("at least one repeat"));
}

fn got_row(sites: &[(usize, Range<usize>)], n: usize) -> usize {
    sites.iter().position(|s| s.0 == n).unwrap()
}

#[test]
fn fills_keep_what_they_promise() {
    let old = [0, 1, 2, 3, UNKNOWN, UNIFORM, 0, 0, 1, 3, 3];
    let mut random = Philox::new(1, 1);
    for fill in Fill::ALL.iter().copied() {
        assert_eq!(Fill::parse(fill.name()).unwrap(), fill);
        let new = fill.draw(&old, &mut random);
        assert_eq!((new.len(), new[4], new[5]), (11, UNKNOWN, UNIFORM), "{fill:?}");
        match fill {
            Fill::N => assert!(new.iter().enumerate().all(|(i, &c)| c == UNKNOWN || i == 5)),
            Fill::Uniform => assert!(new.iter().enumerate().all(|(i, &c)| c == UNIFORM || i == 4)),
            Fill::Random => assert_eq!(new.iter().filter(|&&c| c < 4).count(), 9),
            Fill::Shuffle | Fill::Dinucleotide => {
                let sorted = |x: &[u8]| {
                    let mut x = x.to_vec();
                    x.sort_unstable();
                    x
                };
                assert_eq!(sorted(&new), sorted(&old));
            }
        }
    }
    assert_eq!(Fill::parse("N").unwrap(), Fill::N);
    assert!(Fill::parse("shufle").unwrap_err().to_string().contains("did you mean 'shuffle'?"));
}

#[test]
fn occlusion_covers_the_range() {
    assert_eq!(windows(2..12, 4, 3).unwrap(), [2..6, 5..9, 8..12]);
    assert_eq!(windows(2..13, 4, 3).unwrap(), [2..6, 5..9, 8..12, 9..13]);
    assert_eq!(windows(0..4, 4, 9).unwrap(), std::slice::from_ref(&(0..4)));
    for (range, width, step) in [(0..3, 4, 1), (0..4, 0, 1), (0..4, 1, 0)] {
        assert!(windows(range, width, step).unwrap_err().to_string().contains("expected 0 < width"));
    }
    let (net, codes) = (network(L, ""), bases(5));
    let windows = windows(1..L, 7, 5).unwrap();
    let (mut of, mut rows) = (vec![], vec![]);
    for n in 0..N {
        for w in &windows {
            let mut mutant = row(&codes, n);
            mutant[w.clone()].iter_mut().for_each(|c| *c = UNKNOWN);
            rows.push(mutant);
            of.push(n);
        }
    }
    let want = effects(&net, &codes, &of, &rows);
    let removal = Removal { fill: Fill::N, repeats: 9, seed: 0 };
    for options in engines() {
        let got = occlude(&net, &codes, &windows, &removal, &options, &mut quiet()).unwrap();
        close("occlude", &got.mean, &want, 1e-9);
        assert!(got.sd.iter().all(|&sd| sd == 0.0));
    }
    let scores = position_means(&[0..2, 1..4], &[1.0, 10.0, 3.0, 30.0], 0..6);
    assert_eq!(scores[..8], [1.0, 10.0, 2.0, 20.0, 3.0, 30.0, 3.0, 30.0]);
    assert!(scores[8..].iter().all(|v| v.is_nan()) && scores.len() == 12);
    assert_eq!(position_means(&[0..2, 1..4], &[1.0, 3.0], 1..3), [2.0, 3.0]);
}

#[test]
fn indels_move_what_follows() {
    let (net, codes) = (network(L, ""), bases(6));
    let flanks: Vec<u8> = (0..N * 2).map(|i| [0, 3, 1][i % 3]).collect();
    let options = Options { double: true, batch: Some(4), ..Options::default() };
    let positions = [0, 1, 19, 36, 37];
    for (flanks, width) in [(&[][..], 3), (&flanks[..], 3), (&flanks[..], 1)] {
        let (mut of, mut rows) = (vec![], vec![]);
        for n in 0..N {
            let flank = &flanks[n * flanks.len() / N..][..flanks.len() / N];
            let whole = [row(&codes, n), flank.to_vec(), vec![UNKNOWN; width]].concat();
            for p in positions {
                rows.push((0..L).map(|i| if i < p { whole[i] } else { whole[i + width] }).collect());
                of.push(n);
            }
        }
        let got = delete(&net, &codes, flanks, width, &positions, &options, &mut quiet()).unwrap();
        close("delete", &got.effects, &effects(&net, &codes, &of, &rows), 1e-12);
        assert_eq!((got.mutants, got.tracks), (5, 3));
    }
    let new = [3, 3, UNKNOWN, 0];
    let (mut of, mut rows) = (vec![], vec![]);
    for n in 0..N {
        for p in positions {
            let mut mutant = row(&codes, n);
            new.iter().rev().for_each(|&c| mutant.insert(p, c));
            mutant.truncate(L);
            rows.push(mutant);
            of.push(n);
        }
    }
    let tracks = Options { tracks: Some(vec![2, 0]), ..options.clone() };
    let got = insert(&net, &codes, &new, &positions, &tracks, &mut quiet()).unwrap();
    let want: Vec<f64> = effects(&net, &codes, &of, &rows).chunks(3).flat_map(|e| [e[2], e[0]]).collect();
    close("insert", &got.effects, &want, 1e-12);
    let text = |r: crate::Result<Responses>| r.unwrap_err().to_string();
    assert!(
        text(delete(&net, &codes, &[], 3, &[38], &options, &mut quiet())).contains("3 bases from position 38 of 40")
    );
    assert!(text(delete(&net, &codes, &[], 0, &[8], &options, &mut quiet())).contains("0 bases"));
    assert!(text(delete(&net, &codes, &[1], 1, &[8], &options, &mut quiet())).contains("1 bases of flanks"));
    assert!(text(insert(&net, &codes, &[], &[8], &options, &mut quiet())).contains("0 bases before position 8"));
    assert!(text(insert(&net, &codes, &[1], &[40], &options, &mut quiet())).contains("before position 40"));
    let bad = Options { tracks: Some(vec![3]), ..options.clone() };
    assert!(text(insert(&net, &codes, &[1], &[4], &bad, &mut quiet())).contains("track 3 of 3"));
    assert!(text(insert(&net, &codes[1..], &[1], &[4], &options, &mut quiet())).contains("[N, 40]"));
}

#[test]
fn edits_may_hide_bases() {
    let (net, codes) = (network(L, ""), bases(7));
    let edits = vec![
        vec![Edit { at: 0, to: UNKNOWN }],
        vec![Edit { at: 9, to: UNIFORM }, Edit { at: 22, to: UNKNOWN }, Edit { at: 11, to: 2 }],
        vec![Edit { at: 39, to: UNIFORM }],
    ];
    let mutant = |e: &Vec<Edit>| {
        let mut row = row(&codes, 0);
        e.iter().for_each(|e| row[e.at] = e.to);
        row
    };
    let want = effects(&net, &codes, &[0; 3], &edits.iter().map(mutant).collect::<Vec<_>>());
    for options in engines() {
        outcomes(
            &net,
            &codes[..L],
            &options,
            |_, _| Ok(edits.clone()),
            |_, got| {
                close("hidden bases", &got.effects, &want, 1e-9);
                Ok(())
            },
        )
        .unwrap();
    }
    let six = |_: usize, _: &[u8]| Ok(vec![vec![Edit { at: 1, to: 6 }]]);
    let refused = outcomes(&net, &codes, &Options::default(), six, |_, _| Ok(())).unwrap_err().to_string();
    assert!(refused.contains("codes 0 to 5"), "{refused}");
}

#[test]
fn indels_stay_in_their_input() {
    let (net, codes) = (two_inputs(), bases(8));
    let flanks: Vec<u8> = (0..N * 2 * 2).map(|i| [0, 3, 1, 2, 2][i % 5]).collect();
    let options = Options { double: true, batch: Some(3), ..Options::default() };
    let positions = [0, 20, 23, 29, 37];
    let (mut of, mut deleted, mut inserted) = (vec![], vec![], vec![]);
    let new = [3, UNKNOWN, 0];
    for n in 0..N {
        for p in positions {
            let whole = row(&codes, n);
            let mut inputs = [whole[..23].to_vec(), whole[23..].to_vec()];
            let (input, at) = if p < 23 { (0, p) } else { (1, p - 23) };
            let length = inputs[input].len();
            let old = inputs[input].clone();
            let flank = &flanks[(n * 2 + input) * 2..][..2];
            inputs[input] = [&old[..at], &old[at + 3..], flank, &[UNKNOWN]].concat();
            deleted.push(inputs.concat());
            inputs[input] = [&old[..at], &new, &old[at..]].concat()[..length].to_vec();
            inserted.push(inputs.concat());
            of.push(n);
        }
    }
    let got = delete(&net, &codes, &flanks, 3, &positions, &options, &mut quiet()).unwrap();
    close("delete", &got.effects, &effects(&net, &codes, &of, &deleted), 1e-12);
    let got = insert(&net, &codes, &new, &positions, &options, &mut quiet()).unwrap();
    close("insert", &got.effects, &effects(&net, &codes, &of, &inserted), 1e-12);
    let refused = delete(&net, &codes, &[], 3, &[21], &options, &mut quiet()).unwrap_err().to_string();
    assert!(refused.contains("3 bases from position 21 of 23 + 17"), "{refused}");
    assert!(insert(&net, &codes, &new, &[40], &options, &mut quiet()).is_err());
}

#[test]
fn sites_and_motifs_stay_in_their_input() {
    let (net, codes) = (two_inputs(), bases(9));
    let windows = [windows(0..23, 6, 5).unwrap(), windows(23..40, 6, 5).unwrap()].concat();
    let site = Site { within: 23..40, at: None };
    let motif = vec![2, 0, 3, 3, 1];
    let (mut of, mut hidden, mut written) = (vec![], vec![], vec![]);
    for n in 0..N {
        for w in &windows {
            let mut mutant = row(&codes, n);
            mutant[w.clone()].iter_mut().for_each(|c| *c = UNKNOWN);
            hidden.push(mutant);
            of.push(n);
        }
        let mut mutant = row(&codes, n);
        // 23 + 17 / 2 - 5 / 2
        mutant[29..34].copy_from_slice(&motif);
        written.push(mutant);
    }
    let removal = Removal { fill: Fill::N, repeats: 1, seed: 0 };
    for options in engines() {
        let got = occlude(&net, &codes, &windows, &removal, &options, &mut quiet()).unwrap();
        close("occlude", &got.mean, &effects(&net, &codes, &of, &hidden), 1e-9);
        let got = marginalize(&net, &codes, std::slice::from_ref(&motif), &site, &options, &mut quiet()).unwrap();
        close("marginalize", &got.effects, &effects(&net, &codes, &[0, 1, 2], &written), 1e-9);
        let refused = ablate(&net, &codes, &[(0, 20..25)], &removal, &options, &mut quiet()).unwrap_err().to_string();
        assert!(refused.contains("reaches from one input into the next; inputs 0-23, 23-40"), "{refused}");
        let first = Site { within: 0..23, at: Some(20) };
        let refused = marginalize(&net, &codes, std::slice::from_ref(&motif), &first, &options, &mut quiet());
        assert!(refused.unwrap_err().to_string().contains("5 bases at position 20 reach over the end of 23"));
        let pair = [&motif[..], &motif[..]];
        let refused = space(&net, &codes, pair, &[8], &site, &options, &mut quiet()).unwrap_err().to_string();
        assert!(refused.contains("do not fit into 17 bases"), "{refused}");
        assert_eq!(space(&net, &codes, pair, &[0, 7], &site, &options, &mut quiet()).unwrap().cells, 6);
    }
}
