//! Tests of attention and of the table of positions.

use super::*;
use crate::device::{Gpu, Precision};
use crate::tape::{Change, Keep, Mode, check};
use crate::tensor::DType;

mod changes;

/// N, L, heads, d, dv, E (0: no projection), heads summed.
type Case = (usize, usize, usize, usize, usize, usize, bool);
const CASES: &[Case] = &[
    (2, 5, 2, 3, 4, 6, false),
    (2, 6, 3, 2, 5, 4, true),
    (1, 1, 2, 3, 2, 3, false),
    (2, 4, 1, 1, 1, 1, false),
    (1, 7, 1, 5, 3, 2, true),
    (2, 5, 2, 4, 3, 0, false),
    (2, 5, 2, 4, 3, 0, true),
    (1, 33, 2, 2, 2, 2, false),
];

/// Root mean square of the error over that of the change.
fn relative_error(got: &[f64], want: &[f64]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |x: &mut dyn Iterator<Item = f64>| x.map(|v| v * v).sum::<f64>();
    (square(&mut got.iter().zip(want).map(|(g, w)| g - w)) / square(&mut want.iter().copied())).sqrt()
}

fn inputs(&(n, l, h, d, dv, e, sum): &Case, seed: u64) -> Vec<Tensor> {
    let mut r = check::Random::new(seed);
    let mut x = vec![r.normal(&[n, l, h * d]), r.normal(&[n, l, h * d]), r.normal(&[n, l, h * dv])];
    if e > 0 {
        x.push(r.normal(&[if sum { dv } else { h * dv }, e]));
    }
    x
}

fn graph(&(_, _, heads, .., sum_heads): &Case) -> impl Fn(&mut Tape, &[Var]) -> Result<Var> {
    move |t, x| attention(t, &x[0], &x[1], &x[2], x.get(3), AttentionArgs { heads, sum_heads })
}

#[test]
fn cases() {
    for (i, case) in CASES.iter().enumerate() {
        let x = inputs(case, 40 + i as u64);
        let name = format!("attention {case:?}");
        check::gradients(&name, &x, graph(case));
        check::precision(&name, &x, graph(case));
    }
}

/// Several tiles of queries and keys, several parts of the gradient; narrow and wide heads, the last in two pieces; rows that
/// can be copied in fours, and others.
#[test]
fn larger_cases_on_gpus() {
    for (i, case) in [
        (1, 140, 2, 20, 70, 36, false),
        (2, 67, 1, 33, 8, 0, false),
        (1, 20, 1, 4, 193, 2, true),
        (1, 17, 2, 3, 580, 0, true),
    ]
    .iter()
    .enumerate()
    {
        check::precision(&format!("attention {case:?}"), &inputs(case, 20 + i as u64), graph(case));
    }
}

/// Every kernel in every precision; what is left out of the numbers shows, and only that.
#[test]
fn precisions_on_gpus() {
    let run = |case: &Case, x: &[Tensor], dy: &Tensor, d: &Tensor, precision: Precision| {
        let keep = Keep { backward: true, delta: true, rescale: false };
        let mut tape = Tape::new(keep, Mode::Eval);
        tape.precision = precision;
        let v: Vec<Var> = x.iter().map(|t| tape.leaf(t.clone())).collect();
        let y = graph(case)(&mut tape, &v).unwrap();
        let window = Window { start: [1].into(), width: 3, len: case.1 };
        let seed = |i: usize| (i, Delta { at: window.clone(), change: Change::Rows(d.clone()) });
        let change = tape.delta(vec![seed(0), seed(1)], &[0], &[y.node.unwrap()]).unwrap();
        let mut all = vec![check::numbers(&y.value), check::numbers(change[0].as_ref().unwrap().rows().unwrap())];
        let g = tape.backward(y.node.unwrap(), dy.clone(), &[0], &[0, 1, 2, 3]).unwrap();
        all.extend(g.into_iter().map(|g| check::numbers(&g.unwrap())));
        all
    };
    for case in [(1, 18, 2, 20, 24, 12, false), (1, 18, 1, 20, 70, 12, false), (1, 18, 1, 20, 193, 12, true)] {
        let mut r = check::Random::new(8);
        let (_, l, h, d, _, e, _) = case;
        let narrow = |t: &Tensor| t.to_dtype(DType::F32).unwrap();
        let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
        let x: Vec<Tensor> = inputs(&case, 5).iter().map(narrow).collect();
        let (dy, change) = (narrow(&r.normal(&[1, l, e])), narrow(&r.normal(&[3, 1, h * d])));
        let x64: Vec<Tensor> = x.iter().map(wide).collect();
        let want = run(&case, &x64, &wide(&dy), &wide(&change), Precision::F32);
        for gpu in check::gpus() {
            let there = |t: &Tensor| t.to_gpu(gpu).unwrap();
            let x: Vec<Tensor> = x.iter().map(there).collect();
            for (precision, least, most) in [
                (Precision::F32, 0.0, 1e-11),
                (Precision::Tf32, 1e-9, 1e-5),
                (Precision::Bf16, 1e-6, 1e-3),
                (Precision::F16, 1e-9, 1e-5),
            ] {
                let got = run(&case, &x, &there(&dy), &there(&change), precision);
                for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                    let error = relative_error(got, want).powi(2);
                    assert!((least..=most).contains(&error), "{case:?}, {precision:?}, result {i}: {error:e}");
                }
            }
        }
    }
}

/// Gradients of some rows of the tape, one of them twice.
#[test]
fn selected_rows_on_gpus() {
    let case = (3, 12, 2, 3, 4, 5, false);
    let run = |x: Vec<Tensor>, dy: Tensor| {
        let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
        let mut v: Vec<Var> = x[..3].iter().map(|t| tape.leaf(t.clone())).collect();
        v.push(Var::constant(x[3].clone()));
        let y = graph(&case)(&mut tape, &v).unwrap();
        let g = tape.backward(y.node.unwrap(), dy, &[2, 0, 2], &[0, 1, 2]).unwrap();
        g.into_iter().flat_map(|g| check::numbers(&g.unwrap())).collect::<Vec<f64>>()
    };
    let (x, dy) = (inputs(&case, 3), check::Random::new(4).normal(&[3, 12, 5]));
    let want = run(x.clone(), dy.clone());
    for gpu in check::gpus() {
        let there = |t: &Tensor| t.to_dtype(DType::F32).unwrap().to_gpu(gpu).unwrap();
        check::nmse("attention", &run(x.iter().map(there).collect(), there(&dy)), &want, 1e-10);
    }
}

#[test]
fn equals_the_definition() {
    // the last two: several blocks of queries, the last one short
    for (i, case) in CASES.iter().chain(&[(1, 300, 2, 17, 5, 3, false), (1, 700, 1, 3, 2, 0, false)]).enumerate() {
        let &(n, l, h, d, dv, e, sum) = case;
        let x = inputs(case, 70 + i as u64);
        let constants: Vec<Var> = x.iter().cloned().map(Var::constant).collect();
        let got = graph(case)(&mut Tape::predict(), &constants).unwrap().value.to_f64();
        let x: Vec<Vec<f64>> = x.iter().map(Tensor::to_f64).collect();
        let o = if sum { dv } else { h * dv };
        let mut heads = vec![0.0; n * l * o];
        for (s, p, j) in (0..n * l * h).map(|i| (i / h / l, i / h % l, i % h)) {
            let scores: Vec<f64> = (0..l)
                .map(|m| {
                    let at = |x: &[f64], p: usize, c: usize| x[((s * l + p) * h + j) * d + c];
                    let dot: f64 = (0..d).map(|c| at(&x[0], p, c) * at(&x[1], m, c)).sum();
                    (dot / (d as f64).sqrt()).exp()
                })
                .collect();
            let total: f64 = scores.iter().sum();
            for (m, c) in (0..l * dv).map(|i| (i / dv, i % dv)) {
                heads[(s * l + p) * o + if sum { c } else { j * dv + c }] +=
                    scores[m] / total * x[2][((s * l + m) * h + j) * dv + c];
            }
        }
        let project = |row: &[f64]| (0..e).map(|c| (0..o).map(|i| row[i] * x[3][i * e + c]).sum()).collect::<Vec<_>>();
        let want = if e == 0 { heads } else { heads.chunks(o).flat_map(project).collect() };
        check::close(&format!("{case:?}"), &got, &want, 1e-13);
    }
}

/// Several blocks of queries in the gradient, which central differences would be slow for: against a sum over queries
/// of sweeps with one query's gradient each.
#[test]
fn gradients_over_blocks_add_up() {
    let case = (1, 300, 1, 3, 2, 0, false);
    let x = inputs(&case, 5);
    let dy = check::Random::new(6).normal(&[1, 300, 2]);
    let run = |dy: Tensor| {
        let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
        let v: Vec<Var> = x.iter().map(|t| tape.leaf(t.clone())).collect();
        let y = graph(&case)(&mut tape, &v).unwrap();
        let g = tape.backward(y.node.unwrap(), dy, &[0], &[0, 1, 2]).unwrap();
        g.into_iter().flat_map(|g| g.unwrap().to_f64()).collect::<Vec<f64>>()
    };
    let mut sum = vec![0.0; 300 * 8];
    for p in 0..300 {
        let mut one = vec![0.0; 600];
        one[2 * p..2 * p + 2].copy_from_slice(&dy.to_f64()[2 * p..2 * p + 2]);
        sum.iter_mut().zip(run(Tensor::of(&[1, 300, 2], one))).for_each(|(s, v)| *s += v);
    }
    check::close("blocks", &run(dy), &sum, 1e-12);
}

/// Numbers of PyTorch 2.11 in float64: `q = arange(12.).reshape(1, 3, 4).sin()`, `k` its cosine,
/// `v = arange(6.).reshape(1, 3, 2).mul(.5).sin()`, `w = arange(6.).reshape(2, 3).mul(.3).cos()`,
/// `heads = lambda t: t.reshape(1, 3, 2, -1).transpose(1, 2)`,
/// `o = scaled_dot_product_attention(heads(q), heads(k), heads(v)).transpose(1, 2)`, `y = o.reshape(1, 3, 2) @ w` or
/// `o.sum(2) @ w[:1]`; y and gradients of q, k, v, w for `dy = arange(9.).reshape(1, 3, 3).cos()`.
#[test]
fn equals_pytorch() {
    let wave = |shape: &[usize], f: fn(f64) -> f64| {
        Tensor::of(shape, (0..shape.iter().product()).map(|i: usize| f(i as f64)).collect::<Vec<_>>())
    };
    let w = wave(&[2, 3], |i| (0.3 * i).cos());
    #[rustfmt::skip]
    let want: [[&[f64]; 5]; 2] = [
        [
            &[
                0.9926726275058488, 0.7592595938958124, 0.45802416202886875, 1.235131726614899,
                1.0119872997936077, 0.6984450614341557, 0.6774981192950118, 0.5153730051684762,
                0.30721115540051785,
            ],
            &[
                -0.2585938916968153, -0.1230121730680013, 0.09372897242353545, 0.08561303735294862,
                0.10866933498165081, 0.10402138199874687, -0.09727245370448123, -0.0787307027626045,
                -0.31119791090560905, -0.20091533135869655, 0.032561195160731554, 0.05016406457059628,
            ],
            &[
                -0.28826321954489287, -0.32432440350191005, -0.02828621295157589, 0.04709848232450628,
                0.11792319564009196, 0.15456598964172744, 0.05927824930283652, -0.05733506841203562,
                0.17034002390480074, 0.16975841386018248, -0.030992036351260764, 0.010236586087529287,
            ],
            &[
                1.3418350863970663, 0.46941709351255456, 0.27751024538266944, 0.24380874107733827,
                -0.26664696370350605, 0.1022947155717153,
            ],
            &[
                0.019256775191119846, -0.006663092721318736, -0.026456943914203328, 0.6453536695645902,
                0.39645082983833335, -0.21694707451461204,
            ],
        ],
        [
            &[
                1.3017360980163564, 1.2435959936470116, 1.0743691629064547, 1.509709088756039, 1.4422801804532122,
                1.2460166791031955, 0.893044732355446, 0.8531582192405682, 0.7370616233204311,
            ],
            &[
                -0.2585938916968153, -0.1230121730680013, 0.13949627413557553, 0.12741737607236758,
                0.10866933498165081, 0.10402138199874687, -0.16134515477108174, -0.13059007908919698,
                -0.31119791090560905, -0.20091533135869655, 0.05909415569014101, 0.09104097767762963,
            ],
            &[
                -0.28826321954489287, -0.32432440350191005, -0.03809750186245133, 0.08396153784999155,
                0.11792319564009196, 0.15456598964172744, 0.08664196474241705, -0.10055283957671433,
                0.17034002390480074, 0.16975841386018248, -0.0485444628799658, 0.016591301726722813,
            ],
            &[
                1.3418350863970663, 0.8267462755295505, 0.27751024538266944, 0.33560111624116606,
                -0.26664696370350605, 0.19035097630551312,
            ],
            &[0.66461044475571, 0.38978773711701464, -0.24340401842881548],
        ],
    ];
    for (sum_heads, want) in [false, true].into_iter().zip(want) {
        let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
        let w = if sum_heads { w.rows(0, 1).unwrap() } else { w.clone() };
        let x = [wave(&[1, 3, 4], f64::sin), wave(&[1, 3, 4], f64::cos), wave(&[1, 3, 2], |i| (0.5 * i).sin()), w];
        let x = x.map(|t| tape.leaf(t));
        let y = attention(&mut tape, &x[0], &x[1], &x[2], Some(&x[3]), AttentionArgs { heads: 2, sum_heads }).unwrap();
        let mut got = vec![y.value.to_f64()];
        let grads = tape.backward(y.node.unwrap(), wave(&[1, 3, 3], f64::cos), &[0], &[0, 1, 2, 3]).unwrap();
        got.extend(grads.into_iter().map(|g| g.unwrap().to_f64()));
        for (got, want) in got.iter().zip(want) {
            check::close("attention", got, want, 1e-13);
        }
    }
}

#[test]
fn bits_do_not_depend_on_threads_or_batch() {
    for case in [(3, 301, 2, 17, 9, 5, false), (3, 140, 3, 4, 20, 5, true)] {
        let x: Vec<Tensor> = inputs(&case, 9).iter().map(|t| t.to_dtype(DType::F32).unwrap()).collect();
        let dy = check::Random::new(8).normal(&[3, case.1, 5]).to_dtype(DType::F32).unwrap();
        let run = |from: usize, to: usize| {
            let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
            let mut v: Vec<Var> = x[..3].iter().map(|t| tape.leaf(t.rows(from, to).unwrap())).collect();
            v.push(tape.leaf(x[3].clone()));
            let y = graph(&case)(&mut tape, &v).unwrap();
            let rows: Vec<u32> = (0..(to - from) as u32).collect();
            let g = tape.backward(y.node.unwrap(), dy.rows(from, to).unwrap(), &rows, &[0, 1, 2, 3]).unwrap();
            let mut all = vec![y.value];
            all.extend(g.into_iter().map(|g| g.unwrap()));
            all
        };
        let numbers = |x: &[Tensor]| x.iter().map(Tensor::to_f64).collect::<Vec<_>>();
        let whole = run(0, 3);
        for threads in [1, 3, 16] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(numbers(&pool.install(|| run(0, 3))), numbers(&whole));
        }
        for i in 0..3 {
            for (one, all) in run(i, i + 1)[..4].iter().zip(&whole) {
                assert_eq!(one.to_f64(), all.rows(i, i + 1).unwrap().to_f64());
            }
        }
    }
}

/// Buffers of the reference implementation: C 5, L 6 (published with four digits and more) and rows 5 and 11 of C 12, L 19.
#[test]
fn positions_of_the_reference() {
    let t = position_table(5, 6);
    let row = |t: &[f32], c: usize, j: usize| t.iter().skip(j).step_by(c).copied().map(f64::from).collect::<Vec<_>>();
    let close = |got: Vec<f64>, want: &[f64], by: f64| {
        assert_eq!(got.len(), want.len());
        got.iter().zip(want).for_each(|(g, w)| assert!((g - w).abs() < by, "{g} {w}"));
    };
    close(row(&t, 5, 0), &[0.0, 0.8660254, -0.8660254, 0.0, 0.8660254, -0.8660254], 1e-6);
    close(row(&t, 5, 1), &[0.0, 0.7144727, -0.9997807, 0.6845471, 0.0418760, -0.7431446], 6e-8);
    assert_eq!([t[2], t[3], t[4]], [1.0; 3]);
    let t = position_table(12, 19);
    close(
        row(&t, 12, 5),
        &[
            0.0,
            0.9496141,
            0.595259,
            -0.57648003,
            -0.9566216,
            -0.02317156,
            0.94209665,
            0.61371773,
            -0.5573917,
            -0.9631155,
            -0.046330675,
            0.93407345,
            0.6318482,
            -0.5380031,
            -0.96909165,
            -0.069464915,
            0.92554855,
            0.64963794,
            -0.51832634,
        ],
        7e-8,
    );
    close(
        row(&t, 12, 11),
        &[
            1.0,
            0.31342152,
            -0.8035339,
            -0.81711125,
            0.29133344,
            0.9997315,
            0.3353415,
            -0.7895255,
            -0.83024967,
            0.26908836,
            0.99892616,
            0.35708088,
            -0.7750921,
            -0.8429429,
            0.24670106,
            0.9975844,
            0.37862897,
            -0.7602437,
            -0.85518295,
        ],
        7e-8,
    );
    assert!(position_table(1999, 3).iter().all(|v| v.is_finite()));
    assert_eq!(position_table(1, 2), [1.0, position_table(3, 2)[4]]);
    assert!(position_table(0, 5).is_empty() && position_table(5, 0).is_empty());
}

#[test]
fn refuses_what_does_not_fit() {
    let mut r = check::Random::new(0);
    let [q, v] = [4, 6].map(|c| Var::constant(r.normal(&[2, 5, c])));
    let w = Var::constant(r.normal(&[6, 7]));
    let tape = &mut Tape::predict();
    let mut message = |k: &Var, v: &Var, w: Option<&Var>, heads: usize, sum_heads: bool| {
        attention(tape, &q, k, v, w, AttentionArgs { heads, sum_heads }).unwrap_err().to_string()
    };
    assert_eq!(message(&q, &v, None, 0, false), "attention: expected at least one head, found 0");
    assert_eq!(message(&q, &v, None, 4, false), "attention: v must be [2, 5, a multiple of 4 heads]; found [2, 5, 6]");
    assert_eq!(message(&v, &v, None, 2, false), "attention: k must be [2, 5, 4] as q; found [2, 5, 6]");
    let e = message(&q, &v, Some(&w), 2, true);
    assert_eq!(e, "attention: w_out must be [3, E] for v [2, 5, 6] and 2 heads; found [6, 7]");
}

#[test]
fn rescale_is_the_gradient() {
    let x = inputs(&CASES[0], 3);
    let run = |keep: Keep| {
        let mut tape = Tape::new(keep, Mode::Eval);
        let mut v: Vec<Var> = x[..3].iter().map(|t| tape.leaf(t.clone())).collect();
        v.push(Var::constant(x[3].clone()));
        let y = graph(&CASES[0])(&mut tape, &v).unwrap();
        (tape, y.node.unwrap())
    };
    let (dy, numbers) =
        (check::Random::new(4).normal(&[2, 5, 6]), |g: Grads| g.into_iter().map(|g| g.unwrap().to_f64()));
    let (tape, y) = run(Keep { rescale: true, ..Keep::default() });
    let multipliers: Vec<_> = numbers(tape.rescale(y, dy.clone(), &[1, 0], &[0, 1], &[0, 1, 2]).unwrap()).collect();
    let (tape, y) = run(Keep::BACKWARD);
    let gradients: Vec<_> = numbers(tape.backward(y, dy, &[1, 0], &[0, 1, 2]).unwrap()).collect();
    assert_eq!(multipliers, gradients);
}
