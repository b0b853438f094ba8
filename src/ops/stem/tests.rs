use super::*;
use crate::device::Gpu;
use crate::ops::{Conv1dArgs, conv1d};
use crate::tape::{Keep, Mode, check};

const CASES: &[(usize, usize, usize, usize, usize)] =
    &[(2, 9, 5, 4, 2), (2, 11, 66, 5, 2), (1, 1, 3, 7, 3), (3, 4, 2, 8, 3), (2, 6, 130, 1, 0)];
const STRANDS: [Strands; 4] = [Strands::Forward, Strands::Max, Strands::Mean, Strands::Weighted];

fn one_hot(codes: &Tensor) -> Tensor {
    let mut x = vec![];
    for &c in codes.codes().unwrap() {
        x.extend((0..4).map(|b| if c == 5 { 0.25 } else { f64::from(u8::from(c == b)) }));
    }
    Tensor::of(&[codes.shape()[0], codes.shape()[1], 4], x)
}

#[test]
fn packed_and_dense_agree_and_differentiate() {
    for (i, &(n, l, o, k, left)) in CASES.iter().enumerate() {
        for strands in STRANDS {
            let (a, mut r) = (StemArgs { kernel: k, left, strands }, check::Random::new(i as u64));
            let name = format!("stem case {i} {strands:?}");
            let (codes, w, b) = (r.bases(n, l), r.normal(&[k, 4, o]), r.normal(&[o]));
            let run = |t: &mut Tape, v: &[Var]| stem(t, &v[0], &v[1], Some(&v[2]), a);
            check::gradients(&name, &[codes.clone(), w.clone(), b.clone()], run);
            let dense = [one_hot(&codes), w.clone(), b.clone()];
            if o < 10 {
                check::gradients(&name, &[r.normal(&[n, l, 4]), w.clone(), b.clone()], run);
            }
            // Not on one-hot rows: a column of 0.25 makes the strands equal, and rounding would choose between them.
            check::precision(&name, &[r.normal(&[n, l, 4]), w.clone(), b.clone()], run);
            check::delta(&name, &[r.normal(&[n, l, 4]), w.clone(), b.clone()], run);
            let all = |x: &Tensor| {
                let mut t = Tape::new(Keep::BACKWARD, Mode::Eval);
                let leaves: Vec<Var> = [x, &w, &b].into_iter().map(|v| t.leaf(v.clone())).collect();
                let y = run(&mut t, &leaves).unwrap();
                let dy = check::Random::new(3).normal(y.shape());
                let rows: Vec<u32> = (0..n as u32).collect();
                let g = t.backward(y.node.unwrap(), dy, &rows, &[0, 1, 2]).unwrap();
                let g: Vec<Vec<f64>> = g.iter().map(|g| g.as_ref().unwrap().to_f64()).collect();
                (y.value.to_f64(), g)
            };
            let ((y, g), (z, h)) = (all(&codes), all(&dense[0]));
            check::close(&name, &y, &z, 1e-12);
            for (g, h) in g.iter().zip(&h) {
                check::close(&name, g, h, 1e-12);
            }
        }
    }
}

#[test]
fn equals_two_convolutions() {
    for &(n, l, o, k, left) in CASES {
        let mut r = check::Random::new(5);
        let (x, w) = (one_hot(&r.bases(n, l)), r.normal(&[k, 4, o]));
        let flip = |x: &Tensor, l: usize, c: usize| {
            let rows: Vec<f64> =
                x.to_f64().chunks(l * c).flat_map(|s| s.iter().rev().copied().collect::<Vec<_>>()).collect();
            Tensor::of(x.shape(), rows)
        };
        let a = Conv1dArgs { kernel: k, stride: 1, dilation: 1, pad: (left, k - 1 - left) };
        let conv = |x: &Tensor| {
            let (x, w) = (Var::constant(x.clone()), Var::constant(w.clone()));
            conv1d(&mut Tape::predict(), &x, &w, None, a).unwrap().value
        };
        let forward = conv(&x).to_f64();
        // Reversed positions, but not channels.
        let turned = conv(&flip(&x, l, 4));
        let mut reverse = vec![0.0; forward.len()];
        for i in 0..n * l {
            let from = (i / l * l + (l - 1 - i % l)) * o;
            reverse[i * o..][..o].copy_from_slice(&turned.to_f64()[from..][..o]);
        }
        let (x, w) = (Var::constant(x), Var::constant(w.clone()));
        let y = stem(&mut Tape::predict(), &x, &w, None, StemArgs { kernel: k, left, strands: Strands::Max }).unwrap();
        let want: Vec<f64> = forward.iter().zip(&reverse).map(|(a, b)| a.max(*b)).collect();
        check::close("stem against two convolutions", &y.value.to_f64(), &want, 1e-12);
    }
}

#[test]
fn edits_equal_running_the_mutants() {
    for (i, &(n, l, o, k, left)) in CASES.iter().enumerate() {
        for strands in STRANDS {
            let (a, mut r) = (StemArgs { kernel: k, left, strands }, check::Random::new(70 + i as u64));
            let (codes, w) = (r.bases(n, l), Var::constant(r.normal(&[k, 4, o])));
            let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
            let x = tape.leaf(codes.clone());
            let y = stem(&mut tape, &x, &w, None, a).unwrap();
            let (mut edits, mut rows, mut mutants) = (vec![], vec![], vec![]);
            for p in 0..l {
                let (row, q) = (r.below(n), r.below(l));
                let mut e = vec![Edit { at: p, to: r.below(LETTERS) as u8 }];
                if q != p {
                    e.push(Edit { at: q, to: r.below(LETTERS) as u8 });
                }
                let mut s = codes.codes().unwrap()[row * l..][..l].to_vec();
                e.iter().for_each(|e| s[e.at] = e.to);
                mutants.extend(s);
                rows.push(row as u32);
                edits.push(e);
            }
            let naive = Var::constant(Tensor::bases(l, l, mutants).unwrap());
            let naive = stem(&mut Tape::predict(), &naive, &w, None, a).unwrap().value;
            let seed = Delta::edits(edits, l).unwrap();
            let got = tape.delta(vec![(x.node.unwrap(), seed)], &rows, &[y.node.unwrap()]).unwrap()[0].take();
            check::compare(&format!("stem edits {i} {strands:?}"), got, &y.value, &naive, &rows);
        }
    }
}

/// Sizes that reach every branch of the kernels: several tiles of positions and channels, rows of whole and of broken fours, more
/// taps than a table holds. Kernels have a centre, so that no window is its own reverse complement.
#[test]
fn packed_bases_on_gpus() {
    for (i, &(n, l, o, k, left)) in
        [(2, 9, 5, 7, 3), (2, 131, 40, 15, 7), (1, 260, 3, 5, 1), (1, 70, 6, 51, 21), (3, 3, 33, 9, 0)]
            .iter()
            .enumerate()
    {
        for strands in STRANDS {
            let (a, mut r) = (StemArgs { kernel: k, left, strands }, check::Random::new(400 + i as u64));
            let name = format!("stem on packed bases {i} {strands:?}");
            let inputs = [r.bases(n, l), r.uniform(&[k, 4, o], -0.4, 0.4), r.normal(&[o])];
            check::precision(&name, &inputs, |t, v| stem(t, &v[0], &v[1], Some(&v[2]), a));
            check::precision(&name, &inputs[..2], |t, v| stem(t, &v[0], &v[1], None, a));
            if i != 1 {
                let dense = [r.normal(&[n, l, 4]), inputs[1].clone()];
                check::precision(&format!("{name}, dense"), &dense, |t, v| stem(t, &v[0], &v[1], None, a));
                check::delta(&format!("{name}, dense"), &dense, |t, v| stem(t, &v[0], &v[1], None, a));
            }
        }
    }
}

/// Rows of a sweep in any order and several times, with other weights than those of the whole batch.
#[test]
fn selected_rows_on_gpus() {
    let mut r = check::Random::new(9);
    let (codes, w, dy) = (r.bases(3, 20), r.normal(&[5, 4, 6]), r.normal(&[4, 20, 6]));
    for strands in STRANDS {
        let gradient = |gpu: Option<&Gpu>| {
            let place = |t: &Tensor| match gpu {
                Some(gpu) if t.dtype() == DType::U8 => t.to_gpu(gpu).unwrap(),
                Some(gpu) => t.to_dtype(DType::F32).unwrap().to_gpu(gpu).unwrap(),
                None => t.clone(),
            };
            let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
            let (x, w) = (tape.leaf(place(&codes)), Var::constant(place(&w)));
            let y = stem(&mut tape, &x, &w, None, StemArgs::same(5, strands)).unwrap();
            let g = tape.backward(y.node.unwrap(), place(&dy), &[2, 0, 2, 1], &[x.node.unwrap()]).unwrap();
            check::numbers(g[0].as_ref().unwrap())
        };
        let want = gradient(None);
        for gpu in check::gpus() {
            check::nmse(&format!("stem, selected rows, {strands:?}"), &gradient(Some(gpu)), &want, 1e-10);
        }
    }
}

#[test]
fn edits_on_gpus() {
    for (i, &(n, l, o, k, left)) in CASES.iter().chain(&[(2, 40, 36, 9, 2)]).enumerate() {
        for strands in STRANDS {
            let (a, mut r) = (StemArgs { kernel: k, left, strands }, check::Random::new(90 + i as u64));
            let (codes, w) = (r.bases(n, l), r.normal(&[k, 4, o]).to_dtype(DType::F32).unwrap());
            // One base, two, and every third one, from the last to the first.
            let single = |p: usize, to: usize| vec![Edit { at: p, to: to as u8 }];
            let mut edits: Vec<Vec<Edit>> = (0..l).map(|p| single(p, r.below(LETTERS))).collect();
            edits.extend((1..l).map(|p| [single(p, r.below(LETTERS)), single(r.below(p), r.below(LETTERS))].concat()));
            edits.push((0..l).rev().step_by(3).map(|at| Edit { at, to: r.below(LETTERS) as u8 }).collect());
            let rows: Vec<u32> = edits.iter().map(|_| r.below(n) as u32).collect();
            let run = |x: &Tensor, w: Tensor| {
                let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
                let x = tape.leaf(x.clone());
                let y = stem(&mut tape, &x, &Var::constant(w), None, a).unwrap();
                let seed = Delta::edits(edits.clone(), l).unwrap();
                let d = tape.delta(vec![(x.node.unwrap(), seed)], &rows, &[y.node.unwrap()]).unwrap()[0].take();
                check::numbers(d.unwrap().rows().unwrap())
            };
            let want = run(&codes, w.to_dtype(DType::F64).unwrap());
            for gpu in check::gpus() {
                let got = run(&codes.to_gpu(gpu).unwrap(), w.to_gpu(gpu).unwrap());
                check::nmse(&format!("stem edits {i} {strands:?}"), &got, &want, 1e-11);
            }
        }
    }
}
