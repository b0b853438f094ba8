use super::*;
use crate::tape::check;

fn args(kind: PoolKind, size: usize, stride: usize, pad: (usize, usize), padding: Padding) -> PoolArgs {
    PoolArgs { kind, size, stride, pad, padding }
}

#[test]
fn cases() {
    use PoolKind::*;
    for (i, (n, l, c, a)) in [
        (2, 12, 3, args(Weighted, 3, 3, (0, 0), Padding::Exclude)),
        (2, 7, 5, args(Weighted, 3, 3, (1, 1), Padding::Exclude)),
        (2, 7, 34, args(Weighted, 4, 4, (0, 1), Padding::Exclude)),
        (1, 1, 2, args(Weighted, 4, 4, (2, 2), Padding::Exclude)),
        (2, 9, 2, args(Max, 3, 3, (0, 0), Padding::Exclude)),
        (2, 10, 3, args(Max, 4, 2, (1, 1), Padding::Exclude)),
        (2, 10, 3, args(Max, 4, 4, (1, 1), Padding::Zero)),
        (2, 11, 3, args(Mean, 3, 3, (1, 1), Padding::Exclude)),
        (3, 8, 2, args(Mean, 5, 3, (2, 1), Padding::Exclude)),
        (2, 13, 2, args(Mean, 2, 5, (0, 0), Padding::Exclude)),
        (1, 3, 1, args(Max, 1, 1, (0, 0), Padding::Exclude)),
    ]
    .into_iter()
    .enumerate()
    {
        let x = check::Random::new(40 + i as u64).normal(&[n, l, c]);
        let run = |t: &mut Tape, v: &[Var]| pool(t, &v[0], a);
        let name = format!("pool case {i}");
        check::gradients(&name, std::slice::from_ref(&x), run);
        check::precision(&name, std::slice::from_ref(&x), run);
        check::delta(&name, &[x], run);
    }
}

/// What GPUs do in a way of their own: pieces of four channels, windows in registers and longer ones, minima in parts.
#[test]
fn cases_of_kernels() {
    use PoolKind::*;
    for (i, (n, l, c, a)) in [
        (2, 12, 8, args(Weighted, 3, 3, (0, 0), Padding::Exclude)),
        (2, 13, 4, args(Weighted, 6, 6, (0, 5), Padding::Exclude)),
        (2, 14, 6, args(Weighted, 7, 7, (2, 3), Padding::Exclude)),
        (1, 15, 5, args(Weighted, 5, 5, (0, 0), Padding::Exclude)),
        (2, 21, 4, args(Weighted, 10, 10, (3, 0), Padding::Exclude)),
        (2, 10, 8, args(Max, 4, 2, (1, 1), Padding::Exclude)),
        (2, 10, 4, args(Max, 4, 4, (1, 1), Padding::Zero)),
        (2, 14, 4, args(Max, 2, 5, (0, 0), Padding::Exclude)),
        (2, 11, 4, args(Mean, 3, 3, (1, 1), Padding::Exclude)),
        (3, 8, 4, args(Mean, 5, 3, (2, 1), Padding::Exclude)),
        (3, 9, 4, args(Weighted, 4, 4, (1, 2), Padding::SequenceMin)),
        (2, 12, 2, args(Weighted, 5, 5, (2, 2), Padding::SequenceMin)),
        (2, 23, 3, args(Weighted, 9, 9, (4, 4), Padding::SequenceMin)),
        (2, 290, 1, args(Weighted, 4, 4, (1, 3), Padding::SequenceMin)),
        (3, 9, 4, args(Weighted, 4, 4, (1, 2), Padding::BatchMin)),
        (1, 70, 256, args(Weighted, 4, 4, (1, 1), Padding::BatchMin)),
    ]
    .into_iter()
    .enumerate()
    {
        let x = check::Random::new(80 + i as u64).normal(&[n, l, c]);
        let run = |t: &mut Tape, v: &[Var]| pool(t, &v[0], a);
        let name = format!("pool, case of kernels {i}");
        check::precision(&name, std::slice::from_ref(&x), run);
        if a.padding != Padding::BatchMin {
            check::delta(&name, &[x], run);
        }
    }
}

/// Changes so large that the delta form would overflow, or that nothing of the old weights is left.
#[test]
fn large_changes_on_gpus() {
    for (c, size) in [(4, 3), (2, 6), (3, 6), (2, 9)] {
        let (l, m) = (2 * size, 6);
        let mut r = check::Random::new(size as u64);
        let (x, noise) = (r.normal(&[1, l, c]).to_f64(), r.normal(&[l, m, c]).to_f64());
        let size_of = [0.0, 1e-3, 1.0, 30.0, 100.0, 1e4];
        let change: Vec<f64> = (0..l * m * c).map(|k| noise[k] * size_of[k / c % m]).collect();
        let narrow = |v: &[f64]| v.iter().map(|&v| v as f32).collect::<Vec<f32>>();
        let wide = |v: &[f64]| v.iter().map(|&v| f64::from(v as f32)).collect::<Vec<f64>>();
        let run = |x: Tensor, d: Tensor| {
            let mut tape = Tape::new(crate::tape::Keep::DELTA, crate::tape::Mode::Eval);
            let leaf = tape.leaf(x);
            let y = pool(&mut tape, &leaf, args(PoolKind::Weighted, size, size, (0, 0), Padding::Exclude)).unwrap();
            let seed = Delta { at: Window::dense(m, l), change: crate::tape::Change::Rows(d) };
            let d = tape.delta(vec![(leaf.node.unwrap(), seed)], &[0; 6], &[y.node.unwrap()]).unwrap()[0].take();
            check::numbers(d.unwrap().rows().unwrap())
        };
        let want = run(Tensor::of(&[1, l, c], wide(&x)), Tensor::of(&[l, m, c], wide(&change)));
        let (x, change) = (Tensor::of(&[1, l, c], narrow(&x)), Tensor::of(&[l, m, c], narrow(&change)));
        for gpu in check::gpus() {
            let got = run(x.to_gpu(gpu).unwrap(), change.to_gpu(gpu).unwrap());
            // Every size of change by itself.
            for i in 1..m {
                let mutant =
                    |v: &[f64]| -> Vec<f64> { v.chunks(m * c).flat_map(|row| row[i * c..][..c].to_vec()).collect() };
                check::nmse(&format!("pool {size}, changes of {}", size_of[i]), &mutant(&got), &mutant(&want), 1e-11);
            }
            assert!(got.chunks(m * c).all(|row| row[..c].iter().all(|&v| v == 0.0)));
        }
    }
}

/// Threads take several mutants one after the other and keep what they know of a window: that must not show.
#[test]
fn bits_of_a_mutant_do_not_depend_on_its_neighbours_on_gpus() {
    let (l, c, m) = (18, 4, 9);
    let mut r = check::Random::new(31);
    let (x, d) = (r.normal(&[2, l, c]), r.normal(&[3, m, c]));
    let (start, rows): (Vec<i32>, Vec<u32>) = (0..m).map(|_| (r.below(l) as i32 - 1, r.below(2) as u32)).unzip();
    for gpu in check::gpus() {
        let place = |t: &Tensor| t.to_dtype(crate::tensor::DType::F32).unwrap().to_gpu(gpu).unwrap();
        let mut tape = Tape::new(crate::tape::Keep::DELTA, crate::tape::Mode::Eval);
        let leaf = tape.leaf(place(&x));
        let y = pool(&mut tape, &leaf, args(PoolKind::Weighted, 6, 6, (0, 0), Padding::Exclude)).unwrap();
        let at = Window { start: start.clone().into(), width: 3, len: l };
        let all = Delta { at, change: crate::tape::Change::Rows(place(&d)) };
        let run = |seed: Delta, rows: &[u32]| {
            let d = tape.delta(vec![(leaf.node.unwrap(), seed)], rows, &[y.node.unwrap()]).unwrap()[0].take();
            let d = d.unwrap();
            (d.at.start.to_vec(), check::numbers(d.rows().unwrap()))
        };
        let (first, whole) = run(all.clone(), &rows);
        for list in [vec![4], vec![7, 1, 2, 8, 0]] {
            let some: Vec<u32> = list.iter().map(|&i| rows[i]).collect();
            let (starts, part) = run(all.select(&list).unwrap(), &some);
            let mutant = |v: &[f64], m: usize, i: usize| -> Vec<f64> {
                v.chunks(m * c).flat_map(|row| row[i * c..][..c].to_vec()).collect()
            };
            for (k, &i) in list.iter().enumerate() {
                assert_eq!(starts[k], first[i]);
                let (a, b) = (mutant(&part, list.len(), k), mutant(&whole, m, i));
                // Windows are as wide as the widest of a block.
                let n = a.len().min(b.len());
                assert_eq!(a[..n], b[..n]);
            }
        }
    }
}

/// The pad value is a constant of the gradient, so differences are taken where the minimum does not move.
#[test]
fn minimum_padding() {
    let x = vec![1.0, 2.0, 0.0, -1.0, 3.0, 0.5, 2.0];
    let run = |padding, values: &[f64], n: usize| {
        let x = Var::constant(Tensor::of(&[n, values.len() / n, 1], values.to_vec()));
        pool(&mut Tape::predict(), &x, args(PoolKind::Weighted, 3, 3, (1, 1), padding)).unwrap().value.to_f64()
    };
    for (got, want) in run(Padding::SequenceMin, &x, 1).iter().zip([1.635_146_4, 2.791_570_9, 1.619_726_7]) {
        assert!((got - want).abs() < 1e-7, "{got} {want}");
    }
    let mut two = x.clone();
    two.extend([5.0, -9.0, 5.0, 5.0, 5.0, 5.0, 5.0]);
    assert_eq!(run(Padding::SequenceMin, &two, 2)[..3], run(Padding::SequenceMin, &x, 1));
    assert_ne!(run(Padding::BatchMin, &two, 2)[..3], run(Padding::SequenceMin, &x, 1));
    // Moving any other row than the smallest leaves the padding alone.
    let a = args(PoolKind::Weighted, 3, 3, (1, 1), Padding::SequenceMin);
    let mut tape = Tape::new(crate::tape::Keep::BACKWARD, crate::tape::Mode::Eval);
    let leaf = tape.leaf(Tensor::of(&[1, 7, 1], x.clone()));
    let y = pool(&mut tape, &leaf, a).unwrap();
    let dy = Tensor::of(&[1, 3, 1], vec![0.3, -1.0, 2.0]);
    let dx = tape.backward(y.node.unwrap(), dy, &[0], &[leaf.node.unwrap()]).unwrap()[0].take().unwrap().to_f64();
    for j in (0..7).filter(|&j| j != 3) {
        let at = |h: f64| {
            let mut x = x.clone();
            x[j] += h;
            run(Padding::SequenceMin, &x, 1).iter().zip([0.3, -1.0, 2.0]).map(|(a, b)| a * b).sum::<f64>()
        };
        assert!((dx[j] - (at(1e-5) - at(-1e-5)) / 2e-5).abs() < 1e-8);
    }
}

#[test]
fn refuses_what_is_not_defined() {
    assert!(args(PoolKind::Mean, 3, 3, (1, 1), Padding::Zero).output(9).is_err());
    assert!(args(PoolKind::Max, 3, 3, (3, 0), Padding::Exclude).output(9).is_err());
    assert!(args(PoolKind::Max, 9, 3, (0, 0), Padding::Exclude).output(4).is_err());
    assert!(args(PoolKind::Max, 2, 5, (0, 4), Padding::Exclude).output(8).is_err());
    let x = Var::constant(check::Random::new(0).normal(&[1, 9, 1]));
    let e = pool(&mut Tape::predict(), &x, args(PoolKind::Weighted, 3, 2, (0, 0), Padding::Exclude)).unwrap_err();
    assert!(e.to_string().contains("size 3 with stride 2"), "{e}");
}
