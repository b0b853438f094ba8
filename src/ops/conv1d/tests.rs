//! Tests of convolutions.

use super::*;
use crate::tape::check;

/// (N, L, C, O, arguments): odd shapes, length 1, padding longer than the sequence, strides that do not divide.
const CASES: &[(usize, usize, usize, usize, Conv1dArgs)] = &[
    (2, 7, 3, 17, Conv1dArgs { kernel: 3, stride: 1, dilation: 1, pad: (1, 1) }),
    (2, 11, 2, 18, Conv1dArgs { kernel: 4, stride: 1, dilation: 2, pad: (2, 3) }),
    (1, 1, 3, 16, Conv1dArgs { kernel: 5, stride: 1, dilation: 3, pad: (6, 6) }),
    (3, 5, 2, 16, Conv1dArgs { kernel: 3, stride: 1, dilation: 1, pad: (9, 8) }),
    (2, 11, 3, 17, Conv1dArgs { kernel: 3, stride: 2, dilation: 1, pad: (1, 0) }),
    (2, 13, 2, 16, Conv1dArgs { kernel: 2, stride: 3, dilation: 4, pad: (2, 1) }),
    (2, 9, 4, 1, Conv1dArgs { kernel: 5, stride: 1, dilation: 2, pad: (4, 4) }),
    (2, 9, 4, 3, Conv1dArgs { kernel: 4, stride: 2, dilation: 1, pad: (1, 2) }),
    // Rows that no tap reaches.
    (2, 7, 8, 16, Conv1dArgs { kernel: 1, stride: 2, dilation: 1, pad: (0, 0) }),
    (3, 4, 5, 6, Conv1dArgs { kernel: 1, stride: 1, dilation: 1, pad: (0, 0) }),
];

#[test]
fn cases() {
    for (i, &(n, l, c, o, args)) in CASES.iter().enumerate() {
        let mut r = check::Random::new(i as u64);
        let inputs = [r.normal(&[n, l, c]), r.normal(&[args.kernel, c, o]), r.normal(&[o])];
        let f = |t: &mut Tape, v: &[Var]| conv1d(t, &v[0], &v[1], Some(&v[2]), args);
        check::gradients(&format!("conv1d case {i}"), &inputs, f);
        check::precision(&format!("conv1d case {i}"), &inputs, f);
        check::delta(&format!("conv1d case {i}"), &inputs, f);
    }
}

#[test]
fn equals_the_definition() {
    for (i, &(n, l, c, o, args)) in CASES.iter().enumerate() {
        let mut r = check::Random::new(90 + i as u64);
        let (x, w) = (r.normal(&[n, l, c]), r.normal(&[args.kernel, c, o]));
        let y = conv1d(&mut Tape::predict(), &Var::constant(x.clone()), &Var::constant(w.clone()), None, args);
        let y = y.unwrap().value;
        let (lo, x, w) = (args.output(l).unwrap(), x.to_f64(), w.to_f64());
        assert_eq!(y.shape(), [n, lo, o]);
        for (at, &got) in y.cpu::<f64>().unwrap().iter().enumerate() {
            let (s, p, j) = (at / (lo * o), at / o % lo, at % o);
            let mut want = 0.0;
            for t in 0..args.kernel {
                let q = (p * args.stride + t * args.dilation) as isize - args.pad.0 as isize;
                for ch in (0..c).filter(|_| (0..l as isize).contains(&q)) {
                    want += x[(s * l + q as usize) * c + ch] * w[(t * c + ch) * o + j];
                }
            }
            assert!((got - want).abs() < 1e-12, "case {i}: {got} {want}");
        }
    }
}

#[test]
fn bits_do_not_depend_on_batch_or_threads() {
    let (args, mut r) = (Conv1dArgs::same(5, 2), check::Random::new(5));
    for o in [3, 40] {
        let x = r.normal(&[5, 700, 24]).to_dtype(tensor::DType::F32).unwrap();
        let w = Var::constant(r.normal(&[5, 24, o]).to_dtype(tensor::DType::F32).unwrap());
        let run = |x: Tensor| conv1d(&mut Tape::predict(), &Var::constant(x), &w, None, args).unwrap().value;
        let whole = run(x.clone());
        for i in 0..5 {
            let one = run(x.rows(i, i + 1).unwrap());
            assert_eq!(one.cpu::<f32>().unwrap(), whole.rows(i, i + 1).unwrap().cpu::<f32>().unwrap());
        }
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert_eq!(pool.install(|| run(x.clone())).cpu::<f32>().unwrap(), whole.cpu::<f32>().unwrap());
        }
    }
}

#[test]
fn refuses_what_does_not_fit() {
    let mut r = check::Random::new(0);
    let (x, w) = (Var::constant(r.normal(&[2, 4, 3])), Var::constant(r.normal(&[3, 2, 5])));
    let e = conv1d(&mut Tape::predict(), &x, &w, None, Conv1dArgs::valid(3)).unwrap_err().to_string();
    assert_eq!(e, "conv1d: weight must be [3, 3, O] for input [2, 4, 3]; found [3, 2, 5]");
    assert!(Conv1dArgs::valid(6).output(4).is_err());
}
