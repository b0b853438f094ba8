use super::*;
use crate::device::Gpu;
use crate::ops::{activation, pool, stem};
use crate::tape::{Keep, Mode, check};

const STRANDS: [Strands; 4] = [Strands::Forward, Strands::Max, Strands::Mean, Strands::Weighted];

fn pool_args(kind: PoolKind, size: usize, stride: usize, pad: (usize, usize)) -> PoolArgs {
    PoolArgs { kind, size, stride, pad, padding: Padding::Exclude }
}

/// N, L, O, stem, activation, pool: sizes that are no multiples of anything, several pieces and tiles, one position, kernels longer
/// than the sequence, windows of every way a kernel holds them.
fn cases() -> Vec<(usize, usize, usize, usize, usize, Activation, PoolArgs)> {
    use Activation::*;
    use PoolKind::{Max, Mean, Weighted};
    vec![
        (2, 14, 5, 5, 2, Gelu, pool_args(Weighted, 4, 4, (0, 2))),
        (3, 11, 8, 7, 3, Relu, pool_args(Max, 3, 3, (1, 0))),
        (2, 13, 34, 3, 0, Exp, pool_args(Mean, 2, 5, (0, 0))),
        (1, 1, 3, 7, 3, Softplus, pool_args(Weighted, 4, 4, (2, 2))),
        (2, 1, 4, 1, 0, Sigmoid, pool_args(Mean, 1, 1, (0, 0))),
        (1, 23, 4, 5, 1, Tanh, pool_args(Weighted, 6, 6, (2, 3))),
        (2, 19, 6, 3, 1, Sin, pool_args(Weighted, 9, 9, (0, 0))),
        (1, 40, 3, 9, 8, Silu, pool_args(Max, 16, 16, (3, 0))),
        (1, 21, 4, 3, 2, ClampedGelu, pool_args(Max, 4, 7, (2, 5))),
        (2, 10, 4, 5, 2, Identity, pool_args(Mean, 3, 3, (1, 1))),
    ]
}

/// Bases for a comparison of roundings. Where a sequence is its own reverse complement, the strands, or two rows of a window, are
/// equal, and rounding would choose the larger: no two of these bases are complements.
fn bases(r: &mut check::Random, n: usize, l: usize, strands: Strands, kind: PoolKind) -> Tensor {
    let x = r.bases(n, l);
    if strands == Strands::Forward || strands != Strands::Max && kind != PoolKind::Max {
        return x;
    }
    Tensor::bases(n, l, x.codes().unwrap().iter().map(|c| c % 2).collect()).unwrap()
}

/// The fused operation, or its three parts.
#[derive(Clone, Copy)]
struct Layers(StemArgs, Activation, PoolArgs);

impl Layers {
    fn fused(self, t: &mut Tape, v: &[Var]) -> Result<Var> {
        stem_pool(t, &v[0], &v[1], v.get(2), self.0, self.1, self.2)
    }
    fn parts(self, t: &mut Tape, v: &[Var]) -> Result<Var> {
        let z = stem(t, &v[0], &v[1], v.get(2), self.0)?;
        let y = activation(t, &z, self.1)?;
        pool(t, &y, self.2)
    }
}

fn place(t: &Tensor, gpu: Option<&Gpu>) -> Tensor {
    let Some(gpu) = gpu else { return t.clone() };
    if t.dtype() == DType::U8 { t.to_gpu(gpu).unwrap() } else { t.to_dtype(DType::F32).unwrap().to_gpu(gpu).unwrap() }
}

/// Value and gradients of all inputs.
fn all(inputs: &[Tensor], rows: &[u32], f: impl Fn(&mut Tape, &[Var]) -> Result<Var>) -> Vec<Vec<f64>> {
    let mut t = Tape::new(Keep::BACKWARD, Mode::Eval);
    let leaves: Vec<Var> = inputs.iter().map(|v| t.leaf(v.clone())).collect();
    let y = f(&mut t, &leaves).unwrap();
    let dy = check::Random::new(3).normal(&[&[rows.len()], &y.shape()[1..]].concat());
    let dy = place(&dy.to_dtype(inputs[1].dtype()).unwrap(), inputs[0].gpu());
    let whole = rows.iter().enumerate().all(|(i, &r)| i == r as usize);
    let want: Vec<usize> = (0..if whole { inputs.len() } else { 1 }).collect();
    if !whole {
        t = Tape::new(Keep::BACKWARD, Mode::Eval);
        let mut leaves: Vec<Var> = inputs.iter().map(|v| Var::constant(v.clone())).collect();
        leaves[0] = t.leaf(inputs[0].clone());
        f(&mut t, &leaves).unwrap();
    }
    let last = t.len() - 1;
    let g = t.backward(last, dy, rows, &want).unwrap();
    let g = g.iter().map(|g| check::numbers(g.as_ref().unwrap()));
    std::iter::once(check::numbers(&y.value)).chain(g).collect()
}

#[test]
fn equals_its_parts_and_differentiates() {
    for (i, (n, l, o, k, left, f, p)) in cases().into_iter().enumerate() {
        for strands in STRANDS {
            let mut r = check::Random::new(i as u64);
            let name = format!("stem_pool case {i} {strands:?}");
            let layers = Layers(StemArgs { kernel: k, left, strands }, f, p);
            let mut inputs = [r.bases(n, l), r.uniform(&[k, 4, o], -0.8, 0.8), r.normal(&[o])];
            check::gradients(&name, &inputs, |t, v| layers.fused(t, v));
            inputs[0] = bases(&mut r, n, l, strands, p.kind);
            check::precision(&name, &inputs, |t, v| layers.fused(t, v));
            check::precision(&name, &inputs[..2], |t, v| layers.fused(t, v));
            let whole: Vec<u32> = (0..n as u32).collect();
            for rows in [whole, vec![n as u32 - 1, 0, n as u32 - 1, 0, 0]] {
                let got = all(&inputs, &rows, |t, v| layers.fused(t, v));
                let want = all(&inputs, &rows, |t, v| layers.parts(t, v));
                assert_eq!(got.len(), want.len());
                for (g, w) in got.iter().zip(&want) {
                    check::close(&name, g, w, 1e-12);
                }
                for gpu in check::gpus() {
                    let inputs: Vec<Tensor> = inputs.iter().map(|t| place(t, Some(gpu))).collect();
                    for (g, w) in all(&inputs, &rows, |t, v| layers.fused(t, v)).iter().zip(&want) {
                        check::nmse(&name, g, w, 1e-10);
                    }
                }
            }
        }
    }
}

/// Pieces of the map on a CPU, and tiles of a GPU, of which several make a sequence.
#[test]
fn several_pieces() {
    for (l, o, k, p) in [
        (700, 70, 5, pool_args(PoolKind::Weighted, 4, 4, (0, 0))),
        (330, 130, 3, pool_args(PoolKind::Max, 3, 100, (2, 9))),
        (260, 33, 51, pool_args(PoolKind::Weighted, 6, 6, (1, 3))),
    ] {
        for strands in [Strands::Forward, Strands::Max] {
            let mut r = check::Random::new(l as u64);
            let layers = Layers(StemArgs::same(k, strands), Activation::Gelu, p);
            let inputs = [bases(&mut r, 1, l, strands, p.kind), r.uniform(&[k, 4, o], -0.5, 0.5), r.normal(&[o])];
            let name = format!("stem_pool of {l} {strands:?}");
            let want = all(&inputs, &[0], |t, v| layers.parts(t, v));
            for (g, w) in all(&inputs, &[0], |t, v| layers.fused(t, v)).iter().zip(&want) {
                check::close(&name, g, w, 1e-12);
            }
            check::precision(&name, &inputs, |t, v| layers.fused(t, v));
        }
    }
}

/// Mutants of every position: one edit, two, and every third base; all codes. With the tape rows that they belong to.
fn mutants(r: &mut check::Random, n: usize, l: usize) -> (Vec<Vec<Edit>>, Vec<u32>) {
    let at = |at: usize, r: &mut check::Random| Edit { at, to: r.below(6) as u8 };
    let mut edits: Vec<Vec<Edit>> = (0..l).map(|p| vec![at(p, r)]).collect();
    for p in 1..l {
        let q = r.below(p);
        edits.push(vec![at(p, r), at(q, r)]);
    }
    edits.push((0..l).rev().step_by(3).map(|p| at(p, r)).collect());
    let rows = edits.iter().map(|_| r.below(n) as u32).collect();
    (edits, rows)
}

/// The recorded value, and the changes of the mutants.
fn changes(
    layers: Layers,
    inputs: &[Tensor],
    (edits, rows): (&[Vec<Edit>], &[u32]),
    f: impl Fn(Layers, &mut Tape, &[Var]) -> Result<Var>,
) -> (Tensor, Option<Delta>) {
    let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
    let mut v: Vec<Var> = inputs.iter().map(|t| Var::constant(t.clone())).collect();
    v[0] = tape.leaf(inputs[0].clone());
    let y = f(layers, &mut tape, &v).unwrap();
    let seed = Delta::edits(edits.to_vec(), inputs[0].shape()[1]).unwrap();
    let d = tape.delta(vec![(v[0].node.unwrap(), seed)], rows, &[y.node.unwrap()]).unwrap()[0].take();
    (y.value, d)
}

#[test]
fn edits_equal_running_the_mutants() {
    for (i, (n, l, o, k, left, f, p)) in cases().into_iter().enumerate() {
        for strands in STRANDS {
            let mut r = check::Random::new(70 + i as u64);
            let name = format!("stem_pool edits {i} {strands:?}");
            let layers = Layers(StemArgs { kernel: k, left, strands }, f, p);
            let inputs = [r.bases(n, l), r.normal(&[k, 4, o]), r.normal(&[o])];
            let (edits, rows) = mutants(&mut r, n, l);
            let mut codes = vec![];
            for (e, &row) in edits.iter().zip(&rows) {
                let mut s = inputs[0].codes().unwrap()[row as usize * l..][..l].to_vec();
                e.iter().for_each(|e| s[e.at] = e.to);
                codes.extend(s);
            }
            let naive = [Tensor::bases(edits.len(), l, codes).unwrap(), inputs[1].clone(), inputs[2].clone()];
            let naive = naive.map(Var::constant);
            let naive = layers.fused(&mut Tape::predict(), &naive).unwrap().value;
            let (y, got) = changes(layers, &inputs, (&edits, &rows), Layers::fused);
            let (_, parts) = changes(layers, &inputs, (&edits, &rows), Layers::parts);
            let (got, parts) = (got.unwrap(), parts.unwrap());
            assert_eq!(got.at, parts.at, "{name}: window");
            let want = check::numbers(got.rows().unwrap());
            check::close(&name, &want, &check::numbers(parts.rows().unwrap()), 1e-11);
            check::compare(&name, Some(got), &y, &naive, &rows);
            for gpu in check::gpus() {
                let inputs: Vec<Tensor> = inputs.iter().map(|t| place(t, Some(gpu))).collect();
                let (_, got) = changes(layers, &inputs, (&edits, &rows), Layers::fused);
                let got = check::numbers(got.unwrap().rows().unwrap());
                // Where strands are exchanged nothing changes but rounding.
                if want.iter().any(|v| v.abs() > 1e-12) {
                    check::nmse(&name, &got, &want, 1e-10);
                } else {
                    assert!(got.iter().all(|v| v.abs() < 1e-6), "{name}: {got:?}");
                }
            }
        }
    }
}

/// Changes so large that the delta form would overflow, rows that fall together, and old maxima that drop out.
#[test]
fn large_changes() {
    for (size, o) in [(4, 4), (3, 5), (7, 2)] {
        for strands in STRANDS {
            for scale in [1e-3, 3.0, 60.0] {
                let (l, mut r) = (2 * size, check::Random::new(size as u64));
                let name = format!("stem_pool {size} {strands:?}, weights of {scale}");
                let p = pool_args(PoolKind::Weighted, size, size, (0, 0));
                let layers = Layers(StemArgs::same(2 * l - 1, strands), Activation::Identity, p);
                let narrow = |t: Tensor| t.to_dtype(DType::F32).unwrap().to_dtype(DType::F64).unwrap();
                // The same letters at every tap, so that all rows of a window move alike.
                let row = r.uniform(&[4, o], -scale, scale).to_f64();
                let inputs = [r.bases(1, l), narrow(Tensor::of(&[2 * l - 1, 4, o], row.repeat(2 * l - 1)))];
                let (edits, rows) = mutants(&mut r, 1, l);
                let (_, want) = changes(layers, &inputs, (&edits, &rows), Layers::parts);
                let want = check::numbers(want.unwrap().rows().unwrap());
                for gpu in std::iter::once(None).chain(check::gpus().iter().map(Some)) {
                    let narrow = inputs.each_ref().map(|t| match gpu {
                        None if t.dtype() == DType::F64 => t.to_dtype(DType::F32).unwrap(),
                        _ => place(t, gpu),
                    });
                    let (_, got) = changes(layers, &narrow, (&edits, &rows), Layers::fused);
                    check::nmse(&name, &check::numbers(got.unwrap().rows().unwrap()), &want, 1e-10);
                }
            }
        }
    }
}

/// Mutants alone, in another order and side by side: the same bits.
#[test]
fn bits_of_a_mutant_do_not_depend_on_its_neighbours() {
    let (n, l, o) = (2, 40, 4);
    for (strands, kind, size) in [
        (Strands::Forward, PoolKind::Weighted, 4),
        (Strands::Max, PoolKind::Max, 4),
        (Strands::Weighted, PoolKind::Weighted, 7),
    ] {
        let mut r = check::Random::new(size as u64);
        let layers = Layers(StemArgs::same(5, strands), Activation::Gelu, pool_args(kind, size, size, (0, 0)));
        let inputs = [r.bases(n, l), r.normal(&[5, 4, o])];
        let (edits, rows) = mutants(&mut r, n, l);
        let (edits, rows) = (&edits[..2 * l - 1], &rows[..2 * l - 1]);
        for gpu in std::iter::once(None).chain(check::gpus().iter().map(Some)) {
            let inputs = inputs.each_ref().map(|t| match gpu {
                None if t.dtype() == DType::F64 => t.to_dtype(DType::F32).unwrap(),
                _ => place(t, gpu),
            });
            let sweep = |list: &[usize]| -> Vec<Vec<f64>> {
                let edits: Vec<Vec<Edit>> = list.iter().map(|&i| edits[i].clone()).collect();
                let rows: Vec<u32> = list.iter().map(|&i| rows[i]).collect();
                let d = changes(layers, &inputs, (&edits, &rows), Layers::fused).1.unwrap();
                let all = check::numbers(d.rows().unwrap());
                let mut maps = vec![vec![0.0; d.at.len * o]; list.len()];
                for (cell, i, p) in d.at.cells() {
                    maps[i][p * o..][..o].copy_from_slice(&all[cell * o..][..o]);
                }
                maps
            };
            let whole = sweep(&(0..edits.len()).collect::<Vec<_>>());
            for list in [vec![3], vec![edits.len() - 1, 0, 41, 7, 7, 12]] {
                for (part, &i) in sweep(&list).iter().zip(&list) {
                    assert_eq!(part, &whole[i], "{strands:?}, mutant {i}");
                }
            }
        }
    }
}

#[test]
fn refuses_what_it_has_no_form_for() {
    let mut r = check::Random::new(1);
    let (x, w) = (r.bases(2, 12), Var::constant(r.normal(&[3, 4, 5])));
    let (codes, dense) = (Var::constant(x.clone()), Var::constant(r.normal(&[2, 12, 4])));
    let args = StemArgs::same(3, Strands::Max);
    let good = pool_args(PoolKind::Max, 3, 3, (0, 0));
    assert!(stem_pool_fits(&codes, good) && !stem_pool_fits(&dense, good));
    let minimum = |pad| PoolArgs { padding: Padding::SequenceMin, pad, ..pool_args(PoolKind::Weighted, 4, 4, (0, 0)) };
    // Where no window is padded, the value of the padding does not matter.
    assert!(stem_pool_fits(&codes, minimum((0, 0))) && !stem_pool_fits(&codes, minimum((1, 3))));
    for p in [
        pool_args(PoolKind::Max, 3, 2, (0, 0)),
        pool_args(PoolKind::Weighted, 3, 4, (0, 0)),
        pool_args(PoolKind::Mean, 17, 17, (3, 3)),
        pool_args(PoolKind::Mean, 1, 129, (0, 0)),
        PoolArgs { padding: Padding::Zero, ..pool_args(PoolKind::Max, 4, 4, (1, 1)) },
    ] {
        assert!(!stem_pool_fits(&codes, p), "{p:?}");
    }
    let run = |x: &Var, w: &Var, p| stem_pool(&mut Tape::predict(), x, w, None, args, Activation::Gelu, p);
    let e = run(&dense, &w, good).unwrap_err().to_string();
    assert!(e.contains("stem_pool") && e.contains("expected packed bases"), "{e}");
    let e = run(&codes, &Var::constant(r.normal(&[2, 4, 5])), good).unwrap_err().to_string();
    assert!(e.contains("stem_pool") && e.contains("[3, 4, O]"), "{e}");
    let mut tape = Tape::new(Keep { rescale: true, ..Keep::default() }, Mode::Eval);
    let x = tape.leaf(x);
    let y = stem_pool(&mut tape, &x, &w, None, args, Activation::Gelu, good).unwrap();
    let node = y.node.unwrap();
    let e = tape.rescale(node, r.normal(y.shape()), &[0, 1], &[1, 0], &[0]).unwrap_err().to_string();
    assert!(e.contains("Tape::fuse"), "{e}");
    let at = Window::dense(2, 12);
    let seed = Delta { at, change: Change::Rows(r.normal(&[12, 2, 4])) };
    let e = tape.delta(vec![(0, seed)], &[0, 1], &[node]).unwrap_err().to_string();
    assert!(e.contains("anything but bases"), "{e}");
}

/// As the timing of activations: `cargo test --lib -- --ignored --nocapture ms_of_a_stem`.
#[test]
#[ignore = "timing"]
fn ms_of_a_stem() {
    let (n, l, o, k) = (8, 600, 300, 15);
    let mut r = check::Random::new(1);
    let narrow = |t: Tensor| t.to_dtype(DType::F32).unwrap();
    let w = narrow(r.uniform(&[k, 4, o], -0.3, 0.3));
    let inputs = [r.bases(n, l), w, narrow(r.normal(&[o]))];
    let dy = narrow(r.normal(&[n, l / 4, o]));
    let rows: Vec<u32> = (0..n as u32).collect();
    for strands in STRANDS {
        let layers = Layers(StemArgs::same(k, strands), Activation::Gelu, pool_args(PoolKind::Weighted, 4, 4, (0, 0)));
        let step = |keep: Keep, f: fn(Layers, &mut Tape, &[Var]) -> Result<Var>| {
            let start = std::time::Instant::now();
            let mut t = Tape::new(keep, Mode::Eval);
            let mut v = inputs.each_ref().map(|t| Var::constant(t.clone()));
            (v[1], v[2]) = (t.leaf(inputs[1].clone()), t.leaf(inputs[2].clone()));
            let y = f(layers, &mut t, &v).unwrap();
            if keep.backward {
                t.backward(y.node.unwrap(), dy.clone(), &rows, &[0, 1]).unwrap();
            }
            start.elapsed().as_secs_f64() * 1e3
        };
        let record = |f: fn(Layers, &mut Tape, &[Var]) -> Result<Var>| {
            let mut t = Tape::new(Keep::DELTA, Mode::Eval);
            let mut v = inputs.each_ref().map(|t| Var::constant(t.clone()));
            v[0] = t.leaf(inputs[0].clone());
            let y = f(layers, &mut t, &v).unwrap();
            (t, y.node.unwrap())
        };
        let tapes = [record(Layers::parts), record(Layers::fused)];
        let edits: Vec<Vec<Edit>> = (0..48).map(|i| vec![Edit { at: 300 + i / 3, to: (i % 3) as u8 }]).collect();
        let sweep = |(t, y): &(Tape, usize)| {
            let start = std::time::Instant::now();
            let seed = Delta::edits(edits.clone(), l).unwrap();
            t.delta(vec![(0, seed)], &[0; 48], &[*y]).unwrap();
            start.elapsed().as_secs_f64() * 1e3
        };
        let compare = |name: &str, step: &dyn Fn(usize) -> f64| {
            let mut best = [f64::INFINITY; 2];
            for _ in 0..100 {
                (0..2).for_each(|form| best[form] = best[form].min(step(form)));
            }
            println!(
                "{strands:?}, {name}: {:.2} ms in parts, {:.2} ms fused: {:.2}",
                best[0],
                best[1],
                best[1] / best[0]
            );
        };
        let forms = [Layers::parts, Layers::fused];
        compare("forward", &|form| step(Keep::default(), forms[form]));
        compare("forward and backward", &|form| step(Keep::BACKWARD, forms[form]));
        compare("48 mutants", &|form| sweep(&tapes[form]));
    }
}
