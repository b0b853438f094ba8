//! Tests of the change of an attention.

use super::*;
use crate::ops::{Conv1dArgs, conv1d};

/// The inputs of a case behind layers of their own, which read one map of 3 channels: their changes lie on windows.
fn behind(case: &Case, seed: u64, kernels: [usize; 3]) -> (Vec<Tensor>, impl Fn(&mut Tape, &[Var]) -> Result<Var>) {
    let &(n, l, h, d, dv, e, sum) = case;
    let mut r = check::Random::new(seed);
    let mut x = vec![r.normal(&[n, l, 3])];
    x.extend(kernels.iter().zip([h * d, h * d, h * dv]).map(|(&k, c)| r.normal(&[k, 3, c])));
    if e > 0 {
        x.push(r.normal(&[if sum { dv } else { h * dv }, e]));
    }
    let attend = graph(case);
    let f = move |t: &mut Tape, x: &[Var]| {
        let mut v = vec![];
        for (k, w) in kernels.into_iter().zip(&x[1..4]) {
            v.push(conv1d(t, &x[0], w, None, Conv1dArgs::same(k, 1))?);
        }
        v.extend(x[4..].iter().cloned());
        attend(t, &v)
    };
    (x, f)
}

#[test]
fn changes() {
    let more = [(1, 300, 2, 3, 2, 5, false), (1, 130, 3, 2, 4, 0, true), (2, 129, 1, 2, 3, 0, false)];
    for (i, case) in CASES.iter().chain(&more).enumerate() {
        // The long ones once in each way.
        let long = i >= CASES.len();
        for kernels in
            [[1, 1, 1], [1, 3, 2], [4, 1, 1]].into_iter().skip(usize::from(long)).take(if long { 1 } else { 3 })
        {
            let (x, f) = behind(case, 90 + i as u64, kernels);
            check::delta(&format!("attention {case:?} behind {kernels:?}"), &x, f);
        }
        // one of q, k, v alone
        for which in (0..3).filter(|which| !long || *which == i % 3) {
            let x = inputs(&(1, case.1, case.2, case.3, case.4, case.5, case.6), 60 + i as u64);
            check::delta(&format!("attention {case:?}, input {which}"), &x[which..=which], |t, changing| {
                let n = changing[0].shape()[0];
                let constant = |(i, x): (usize, &Tensor)| {
                    let times = if i < 3 { n } else { 1 };
                    let shape = [&[times * x.shape()[0]], &x.shape()[1..]].concat();
                    let x = Tensor::of(&shape, x.to_f64().repeat(times));
                    Var::constant(match changing[0].value.gpu() {
                        Some(gpu) => x.to_dtype(DType::F32).unwrap().to_gpu(gpu).unwrap(),
                        None => x,
                    })
                };
                let mut v: Vec<Var> = x.iter().enumerate().map(constant).collect();
                v[which] = changing[0].clone();
                graph(case)(t, &v)
            });
        }
    }
}

/// One head: q, k and v, and changes of k and v on rows `at..at + width` of the one sequence.
struct Steep {
    x: [Tensor; 3],
    change: [Tensor; 2],
    at: usize,
}

impl Steep {
    /// Keys of the window score `before` nats more than the others on average, and `by` more after the change.
    fn new(l: usize, d: usize, width: usize, before: f64, by: f64, dtype: DType) -> Self {
        let mut r = check::Random::new(31);
        let at = l / 3;
        // The first channel carries the scores that all queries agree on.
        let first = |t: Tensor, f: &dyn Fn(usize) -> f64| {
            let mut v = t.to_f64();
            v.iter_mut().step_by(d).enumerate().for_each(|(p, v)| *v = f(p));
            Tensor::of(t.shape(), v)
        };
        let unit = (d as f64).sqrt();
        let q = first(r.normal(&[1, l, d]), &|_| unit);
        let k = first(r.normal(&[1, l, d]), &|p| if (at..at + width).contains(&p) { before } else { 0.0 });
        let v = r.normal(&[1, l, d]);
        let dk = first(r.normal(&[width, 1, d]), &|_| by);
        let dv = r.normal(&[width, 1, d]);
        let narrow = |t: Tensor| t.to_dtype(DType::F32).unwrap().to_dtype(dtype).unwrap();
        Self { x: [q, k, v].map(narrow), change: [dk, dv].map(narrow), at }
    }

    fn delta(&self, gpu: Option<&Gpu>) -> Vec<f64> {
        let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
        let x = self.x.each_ref().map(|t| tape.leaf(at(gpu, t)));
        let args = AttentionArgs { heads: 1, sum_heads: false };
        let y = attention(&mut tape, &x[0], &x[1], &x[2], None, args).unwrap();
        let l = y.shape()[1];
        let window = Window { start: [self.at as i32].into(), width: self.change[0].shape()[0], len: l };
        let seed = |i: usize| (i + 1, Delta { at: window.clone(), change: Change::Rows(at(gpu, &self.change[i])) });
        let d = tape.delta(vec![seed(0), seed(1)], &[0], &[y.node.unwrap()]).unwrap();
        check::numbers(d[0].as_ref().unwrap().rows().unwrap())
    }

    /// Sum of `dp v + p' dv` by definition, in f64 from the same numbers: the difference of two passes would not be exact.
    fn exact(&self) -> Vec<f64> {
        let [q, k, v] = self.x.clone().map(|t| t.to_f64());
        let [dk, dv] = self.change.clone().map(|t| t.to_f64());
        let [_, l, d] = *self.x[0].shape() else { panic!("rank 3") };
        let row = |x: &[f64], p: usize| x[p * d..][..d].to_vec();
        let moved = |x: &[f64], dx: &[f64], p: usize| match p.checked_sub(self.at).filter(|i| i * d < dx.len()) {
            Some(i) => row(x, p).iter().zip(row(dx, i)).map(|(a, b)| a + b).collect(),
            None => row(x, p),
        };
        let mut out = vec![];
        for i in 0..l {
            let weights = |key: &dyn Fn(usize) -> Vec<f64>| {
                let s: Vec<f64> = (0..l)
                    .map(|p| row(&q, i).iter().zip(key(p)).map(|(a, b)| a * b).sum::<f64>() / (d as f64).sqrt())
                    .collect();
                let top = s.iter().copied().fold(f64::MIN, f64::max);
                let e: Vec<f64> = s.iter().map(|s| (s - top).exp()).collect();
                let z: f64 = e.iter().sum();
                e.into_iter().map(|e| e / z).collect::<Vec<f64>>()
            };
            let (a, b) = (weights(&|p| row(&k, p)), weights(&|p| moved(&k, &dk, p)));
            for c in 0..d {
                let new = |p: usize| moved(&v, &dv, p)[c];
                out.push((0..l).map(|p| b[p] * new(p) - a[p] * v[p * d + c]).sum());
            }
        }
        out
    }
}

/// A tensor where it is, or on a GPU.
fn at(gpu: Option<&Gpu>, t: &Tensor) -> Tensor {
    gpu.map_or_else(|| t.clone(), |gpu| t.to_gpu(gpu).unwrap())
}

/// The changed columns hold from a thousandth to all but a millionth of the weight, stay, drop out or take over.
#[test]
fn errors_are_relative_to_the_change() {
    let (l, d) = (150, 8);
    for mass in [1e-3f64, 0.1, 0.9, 0.9999, 0.999999] {
        for width in [1, 4] {
            let before = (mass / (1.0 - mass) * (l - width) as f64 / width as f64).ln();
            for by in [0.0, 0.5, 3.0, -3.0, -12.0, -30.0, 19.0, 40.0, 200.0, -200.0] {
                let name = format!("mass {mass}, {width} columns, by {by}");
                // A score's own rounding is a relative error of its weight.
                for (dtype, limit) in [(DType::F64, 1e-12), (DType::F32, 4e-6 + 1e-7 * f64::abs(by))] {
                    let case = Steep::new(l, d, width, before, by, dtype);
                    let exact = case.exact();
                    let gpus =
                        check::gpus().iter().filter(|_| dtype == DType::F32 && [0.1, 0.999999].contains(&mass)).take(1);
                    for gpu in std::iter::once(None).chain(gpus.map(Some)) {
                        let error = relative_error(&case.delta(gpu), &exact);
                        assert!(error < limit, "{name}, {dtype:?}, {gpu:?}: relative error {error:e}");
                    }
                }
            }
        }
    }
}

/// From a weight that f32 cannot hold to all of it.
#[test]
fn a_score_grows_by_more_than_the_range_of_f32() {
    for (before, by) in [(-150.0, 200.0), (-300.0, 310.0), (300.0, -600.0)] {
        let case = Steep::new(40, 4, 1, before, by, DType::F32);
        for gpu in std::iter::once(None).chain(check::gpus().iter().map(Some)) {
            let error = relative_error(&case.delta(gpu), &case.exact());
            assert!(error < 3e-5, "{before} {by}, {gpu:?}: {error:e}");
        }
    }
}

/// Queries that change and look at hardly more than one key, whose weight moves by little: f32 against f64 of the same numbers.
#[test]
fn sharp_queries_that_change() {
    let (l, d) = (70, 4);
    let mut r = check::Random::new(14);
    let mut x: Vec<Vec<f64>> = (0..3).map(|_| r.normal(&[1, l, d]).to_f64()).collect();
    // One key that all queries agree on, 18 nats above the others.
    x[0].iter_mut().step_by(d).for_each(|v| *v = 6.0);
    x[1].iter_mut().step_by(d).enumerate().for_each(|(p, v)| *v = if p == 31 { 6.0 } else { 0.0 });
    let narrow = |v: &[f64], shape: &[usize]| Tensor::of(shape, v.to_vec()).to_dtype(DType::F32).unwrap();
    let x: Vec<Tensor> = x.iter().map(|x| narrow(x, &[1, l, d])).collect();
    let change: Vec<f64> = r.normal(&[3, 1, d]).to_f64().iter().map(|v| 0.01 * v).collect();
    let change = narrow(&change, &[3, 1, d]);
    let run = |place: &dyn Fn(&Tensor) -> Tensor| {
        let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
        let x: Vec<Var> = x.iter().map(|t| tape.leaf(place(t))).collect();
        let args = AttentionArgs { heads: 1, sum_heads: false };
        let y = attention(&mut tape, &x[0], &x[1], &x[2], None, args).unwrap();
        let window = Window { start: [29].into(), width: 3, len: l };
        let d = Delta { at: window, change: Change::Rows(place(&change)) };
        let d = tape.delta(vec![(0, d)], &[0], &[y.node.unwrap()]).unwrap();
        check::numbers(d[0].as_ref().unwrap().rows().unwrap())
    };
    let want = run(&|t| t.to_dtype(DType::F64).unwrap());
    for gpu in std::iter::once(None).chain(check::gpus().iter().map(Some)) {
        let error = relative_error(&run(&|t| at(gpu, t)), &want);
        assert!(error < 2e-5, "{gpu:?}: {error:e}");
    }
}

#[test]
fn bits_of_a_change_depend_on_its_mutant_alone() {
    for case in [(2, 301, 2, 17, 9, 5, false), (2, 140, 3, 4, 20, 7, true), (2, 40, 2, 5, 4, 0, false)] {
        let whole = bits_of_a_change(&case, 23, None);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        assert_eq!(pool.install(|| bits_of_a_change(&case, 23, None)), whole);
    }
}

/// Several blocks, mutants by the group; also against the CPU.
#[test]
fn bits_of_a_change_on_gpus() {
    for case in [(2, 133, 2, 17, 9, 5, false), (2, 40, 3, 4, 20, 7, true), (2, 21, 2, 8, 4, 0, false)] {
        let want = bits_of_a_change(&case, 5, None);
        for gpu in check::gpus() {
            check::nmse(&format!("{case:?}"), &bits_of_a_change(&case, 5, Some(gpu)), &want, 1e-10);
        }
    }
}

/// Asks for the changes of some mutants together, alone and on wider windows, and gives them if their bits are the same.
fn bits_of_a_change(case: &Case, m: usize, gpu: Option<&Gpu>) -> Vec<f64> {
    let &(n, l, h, d, dv, ..) = case;
    let x: Vec<Tensor> = inputs(case, 9).iter().map(|t| at(gpu, &t.to_dtype(DType::F32).unwrap())).collect();
    let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
    let mut v: Vec<Var> = x[..3].iter().map(|t| tape.leaf(t.clone())).collect();
    v.extend(x[3..].iter().cloned().map(Var::constant));
    let y = graph(case)(&mut tape, &v).unwrap();
    let mut r = check::Random::new(12);
    let rows: Vec<u32> = (0..m).map(|_| r.below(n) as u32).collect();
    // The last one is dense in all but one row; changes of several nats among them.
    let part = |r: &mut check::Random, i: usize, c: usize| {
        let width = if i + 1 == m { l - 1 } else { 3 };
        let size = if i.is_multiple_of(3) { 9.0 } else { 0.1 };
        r.normal(&[width, c]).to_f64().iter().map(|v| (v * size) as f32).collect::<Vec<f32>>()
    };
    let starts: Vec<i32> = (0..m).map(|i| if i + 1 == m { 1 } else { r.below(l + 3) as i32 - 2 }).collect();
    let parts: Vec<[Vec<f32>; 3]> = (0..m).map(|i| [h * d, h * d, h * dv].map(|c| part(&mut r, i, c))).collect();
    // Some mutants, on windows wider than they need by `before` and `after` rows of zeros.
    let sweep = |which: &[usize], before: usize, after: usize| {
        let width = which.iter().map(|&i| parts[i][0].len() / (h * d)).max().unwrap() + before + after;
        let start: Vec<i32> = which.iter().map(|&i| starts[i] - before as i32).collect();
        let window = Window { start: start.into(), width, len: l };
        let seed = |k: usize, c: usize| {
            let mut x = vec![0f32; width * which.len() * c];
            for (b, &i) in which.iter().enumerate() {
                for (j, row) in parts[i][k].chunks(c).enumerate() {
                    x[((before + j) * which.len() + b) * c..][..c].copy_from_slice(row);
                }
            }
            (k, Delta { at: window.clone(), change: Change::Rows(at(gpu, &Tensor::of(&[width, which.len(), c], x))) })
        };
        let of: Vec<u32> = which.iter().map(|&i| rows[i]).collect();
        let seeds = vec![seed(0, h * d), seed(1, h * d), seed(2, h * dv)];
        let y = tape.delta(seeds, &of, &[y.node.unwrap()]).unwrap()[0].take().unwrap();
        (check::numbers(y.rows().unwrap()), y.rows().unwrap().shape()[2])
    };
    let all: Vec<usize> = (0..m).collect();
    let (whole, c) = sweep(&all, 0, 0);
    for i in 0..m {
        let one: Vec<f64> = (0..l).flat_map(|p| whole[(p * m + i) * c..][..c].iter().copied()).collect();
        assert!(one.iter().any(|v| *v != 0.0) || starts[i] < -2 || starts[i] >= l as i32, "{case:?} {i}");
        assert_eq!(sweep(&[i], 0, 0).0, one, "{case:?}: mutant {i} alone");
        assert_eq!(sweep(&[i], 5, 2).0, one, "{case:?}: mutant {i} on a wider window");
    }
    whole
}

#[test]
fn products_of_a_sweep() {
    for (case, forward) in [(CASES[0], 2 * 5 * 5 * (3 + 4) + 5 * 8 * 6), (CASES[1], 3 * 6 * 6 * (2 + 5) + 6 * 5 * 4)] {
        let (_, l, h, d, dv, e, _) = case;
        let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
        let mut v: Vec<Var> = inputs(&case, 1)[..3].iter().map(|t| tape.leaf(t.clone())).collect();
        v.push(Var::constant(inputs(&case, 1)[3].clone()));
        graph(&case)(&mut tape, &v).unwrap();
        let steps = tape.steps((0..3).map(|i| (i, Window { start: [1].into(), width: 1, len: l })).collect());
        let changed = l * h * (2 * d + 2 * e) + l * h * (2 * d + dv) + 3 * h * dv * e;
        assert_eq!((steps[0].naive, steps[0].delta, steps[0].width), (forward as f64, changed as f64, l));
    }
}

#[test]
fn changes_of_weights_are_refused() {
    let case = CASES[0];
    let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
    let v: Vec<Var> = inputs(&case, 1).into_iter().map(|t| tape.leaf(t)).collect();
    let y = graph(&case)(&mut tape, &v).unwrap();
    let at = Window::dense(1, 12);
    let seed = Delta { at, change: Change::Rows(Tensor::of(&[12, 1, 6], vec![1f64; 72])) };
    let e = tape.delta(vec![(3, seed)], &[0], &[y.node.unwrap()]).unwrap_err().to_string();
    assert!(e.contains("a change of weights"), "{e}");
}
