//! Every tile in every precision against sums in f64, and the rules of bits.

use super::*;
use crate::tape::check::{self, Random, gpus, nmse, numbers};
use crate::tape::{Keep, Mode, Tape, Var};

const TILES: [Tile; 4] = [Tile::By160, Tile::By128, Tile::By64, Tile::By16];

/// The largest normalised mean square error of a precision.
fn limit(p: Precision) -> f64 {
    match p {
        Precision::F32 => 1e-12,
        Precision::Tf32 | Precision::F16 => 1e-6,
        Precision::Bf16 => 5e-5,
    }
}

/// f32 numbers on the CPU, of which a part is put anywhere on a GPU: `offset` elements behind an aligned address.
struct Numbers(Vec<f32>);

impl Numbers {
    fn new(r: &mut Random, n: usize) -> Self {
        Self(r.normal(&[n]).to_f64().into_iter().map(|x| x as f32).collect())
    }

    fn on(&self, gpu: &Gpu, offset: usize) -> Tensor {
        let all: Vec<f32> = [vec![f32::NAN; offset], self.0.clone()].concat();
        Tensor::new(&[all.len()], all).unwrap().to_gpu(gpu).unwrap()
    }
}

fn f32s(t: &Tensor) -> Vec<f32> {
    t.to_cpu().unwrap().cpu::<f32>().unwrap().to_vec()
}

/// Row of the input under tap `t` for row `i` of the output: what the head of `kernels/conv1d.cu` says.
fn row(r: &Rows, starts: Option<(&[i32], Option<&[i32]>)>, i: usize, t: usize) -> Option<usize> {
    let (whole, part) = (i / r.per, i % r.per);
    let moved = (t * r.dilation) as isize - r.pad;
    let (v, base, scale) = match starts {
        None => ((part * r.stride) as isize + moved, whole * r.l, 1),
        Some((from, to)) => {
            let p = to.map_or(0, |to| to[part] as isize + whole as isize);
            (p * r.stride as isize + moved - from[part] as isize, part, r.per)
        }
    };
    (0..r.l as isize).contains(&v).then(|| base + v as usize * scale)
}

fn reference(r: &Rows, x: &Numbers, w: &Numbers, bias: &Numbers, starts: Option<(&[i32], Option<&[i32]>)>) -> Vec<f64> {
    let mut y: Vec<f64> = (0..r.rows * r.n).map(|i| f64::from(bias.0[i % r.n])).collect();
    for i in 0..r.rows {
        for t in 0..r.taps {
            let Some(g) = row(r, starts, i, t) else { continue };
            for k in 0..r.c {
                let x = f64::from(x.0[g * r.c + k]);
                let w = &w.0[(t * r.c + k) * r.n..][..r.n];
                y[i * r.n..][..r.n].iter_mut().zip(w).for_each(|(y, &w)| *y += x * f64::from(w));
            }
        }
    }
    y
}

/// The convolution with a tile, in whatever form its precision has here.
unsafe fn tiled(gpu: &Gpu, tile: Tile, p: Precision, r: Rows, from: Operands, to: Output) {
    // SAFETY: the caller's.
    unsafe {
        match half_kind(p) {
            Some(kind) => {
                let weights = from.weights(gpu, kind, [r.taps, r.c, r.n]).unwrap();
                let all = Back { rows: r, taps: (0, 1), into: (r.per, 0, 1) };
                half::rows(gpu, tile, kind, all, from, &weights, to).unwrap();
            }
            None => rows_with(gpu, tile, p, r, from, to).unwrap(),
        }
    }
}

unsafe fn tiled_back(gpu: &Gpu, tile: Tile, p: Precision, r: Back, from: Operands, dx: PtrMut<f32>) {
    // SAFETY: the caller's.
    unsafe {
        match half_kind(p) {
            Some(kind) => {
                let weights = Weights::back(gpu, kind, from.w, [r.weight_taps(), r.rows.n, r.rows.c]).unwrap();
                half::rows(gpu, tile, kind, r, from, &weights, dx.into()).unwrap();
            }
            None => input_gradient_with(gpu, tile, p, r, from, dx).unwrap(),
        }
    }
}

/// (rows, offset of pointers): several tiles each way, ragged; far taps that tiles skip; strides; 16-byte and single accesses.
fn cases() -> Vec<(Rows, usize)> {
    let same = Rows { rows: 150, n: 164, c: 36, per: 150, l: 150, taps: 5, stride: 1, pad: 140, dilation: 70 };
    let short = Rows { rows: 99, n: 33, c: 5, per: 33, l: 35, taps: 40, stride: 1, pad: 20, dilation: 1 };
    let strided = Rows { rows: 90, n: 12, c: 8, per: 45, l: 91, taps: 7, stride: 2, pad: 3, dilation: 1 };
    let missed = Rows { rows: 92, n: 16, c: 8, per: 46, l: 91, taps: 1, stride: 2, pad: 0, dilation: 1 };
    let one = Rows { rows: 67, n: 20, c: 130, per: 67, l: 67, taps: 1, stride: 1, pad: 0, dilation: 1 };
    vec![(same, 0), (short, 0), (strided, 0), (strided, 1), (missed, 0), (one, 0)]
}

#[test]
fn every_tile_in_every_precision() {
    let mut random = Random::new(51);
    for (i, (r, offset)) in cases().into_iter().enumerate() {
        let x = Numbers::new(&mut random, r.rows / r.per * r.l * r.c);
        let (w, bias) = (Numbers::new(&mut random, r.taps * r.c * r.n), Numbers::new(&mut random, r.n));
        let want = reference(&r, &x, &w, &bias, None);
        for gpu in gpus() {
            let [xs, ws, bs] = [&x, &w, &bias].map(|t| t.on(gpu, offset));
            for &p in Precision::ALL {
                let mut first: Option<Vec<f32>> = None;
                for tile in TILES.into_iter().filter(|t| t.fits(gpu)) {
                    let mut y = Tensor::on(gpu, DType::F32, &[r.rows, r.n]).unwrap();
                    let at = |t: &Tensor| t.ptr::<f32>().unwrap().offset(offset);
                    let from = Operands { bias: at(&bs), ..Operands::new(at(&xs), at(&ws)) };
                    // SAFETY: all sizes are those of `r`.
                    unsafe { tiled(gpu, tile, p, r, from, y.ptr_mut().unwrap().into()) };
                    let name = format!("case {i}, {tile:?}, {} on {}", p.name(), gpu.about().name);
                    nmse(&name, &numbers(&y), &want, limit(p));
                    let y = f32s(&y);
                    assert!(
                        *first.get_or_insert_with(|| y.clone()) == y,
                        "{name}: other bits than with the first tile"
                    );
                }
            }
        }
    }
}

#[test]
fn every_tile_of_gradients() {
    let mut random = Random::new(52);
    for (i, (r, offset)) in cases().into_iter().enumerate() {
        let rows_of_x = r.rows / r.per * r.l;
        let (x, dy) = (Numbers::new(&mut random, rows_of_x * r.c), Numbers::new(&mut random, r.rows * r.n));
        let w = Numbers::new(&mut random, r.taps * r.c * r.n);
        let (mut dx, mut dw) = (vec![0.0; x.0.len()], vec![0.0; w.0.len()]);
        for i in 0..r.rows {
            for t in 0..r.taps {
                let Some(g) = row(&r, None, i, t) else { continue };
                for k in 0..r.c {
                    for j in 0..r.n {
                        let (d, at) = (f64::from(dy.0[i * r.n + j]), (t * r.c + k) * r.n + j);
                        dx[g * r.c + k] += d * f64::from(w.0[at]);
                        dw[at] += d * f64::from(x.0[g * r.c + k]);
                    }
                }
            }
        }
        let a = Conv1dArgs { kernel: r.taps, stride: r.stride, dilation: r.dilation, pad: (r.pad as usize, 0) };
        for gpu in gpus() {
            let [xs, ws, ds] = [&x, &w, &dy].map(|t| t.on(gpu, offset));
            let at = |t: &Tensor| t.ptr::<f32>().unwrap().offset(offset);
            for &p in Precision::ALL {
                let mut first: Option<(Vec<f32>, Vec<f32>)> = None;
                for tile in TILES.into_iter().filter(|t| t.fits(gpu)) {
                    let mut gx = Tensor::on(gpu, DType::F32, &[rows_of_x, r.c]).unwrap();
                    let mut gw = Tensor::on(gpu, DType::F32, &[r.taps, r.c, r.n]).unwrap();
                    let from = Operands::new(at(&ds), at(&ws));
                    for phase in 0..r.stride {
                        let back = phase_of(&a, phase, [r.rows / r.per, r.l, r.per, r.c, r.n]);
                        assert!(back.weight_taps() <= r.taps, "case {i}, phase {phase}: taps that are not there");
                        // SAFETY: all sizes are those of `r`.
                        unsafe { tiled_back(gpu, tile, p, back, from, gx.ptr_mut().unwrap()) };
                    }
                    // SAFETY: as above.
                    unsafe {
                        weight_gradient_with(
                            gpu,
                            (tile, 64),
                            p,
                            r,
                            at(&xs).into(),
                            at(&ds).into(),
                            gw.ptr_mut().unwrap(),
                        )
                        .unwrap();
                    }
                    let name = format!("case {i}, {tile:?}, {} on {}", p.name(), gpu.about().name);
                    nmse(&format!("{name}: dx"), &numbers(&gx), &dx, limit(p));
                    nmse(&format!("{name}: dw"), &numbers(&gw), &dw, limit(p));
                    let found = (f32s(&gx), f32s(&gw));
                    assert!(*first.get_or_insert_with(|| found.clone()) == found, "{name}: other bits");
                }
            }
        }
    }
}

/// Tables of starts: changes on windows that lie anywhere, against sums in f64, and every mutant alone against itself among
/// all, bit by bit; the same for taps that are mutants apart.
#[test]
fn mutants_do_not_know_of_each_other() {
    let mut random = Random::new(53);
    let (m, width, len, c, n) = (70, 6, 40, 4, 24);
    let from: Vec<i32> = (0..m).map(|_| random.below(len + 4) as i32 - 4).collect();
    let to: Vec<i32> = from.iter().map(|&s| (s - 3).div_euclid(2)).collect();
    let d = Numbers::new(&mut random, width * m * c);
    let windows = Rows { rows: 5 * m, n, c, per: m, l: width, taps: 3, stride: 2, pad: 1, dilation: 2 };
    let vectors = Rows { rows: m, taps: len, stride: 0, pad: 0, dilation: 1, ..windows };
    let w = Numbers::new(&mut random, len * c * n);
    let bias = Numbers(vec![0.0; n]);
    for (gpu, p) in gpus().iter().flat_map(|gpu| [Precision::F32, Precision::Bf16].map(|p| (gpu, p))) {
        let run = |r: Rows, d: &Numbers, from: &[i32], to: Option<&[i32]>, dilation: usize| {
            let (ds, ws) = (d.on(gpu, 0), w.on(gpu, 0));
            let tables = [Some(from), to].map(|t| t.map(|t| gpu.table(&t.into()).unwrap()));
            let [from, to] = tables.each_ref().map(|t| t.as_ref().map_or(Ptr::NULL, |t| t.ptr()));
            let mut y = Tensor::on(gpu, DType::F32, &[r.rows, n]).unwrap();
            let operands = Operands { from, to, ..Operands::new(ds.ptr::<f32>().unwrap(), ws.ptr().unwrap()) };
            let operands =
                if dilation == 0 { operands } else { Operands { from: Ptr::NULL, to: Ptr::NULL, ..operands } };
            // SAFETY: all sizes are those of `r`.
            unsafe { rows(gpu, p, r, operands, y.ptr_mut().unwrap().into()).unwrap() };
            // With a residual: the same bits, and one addition.
            let more = Numbers(f32s(&y).iter().map(|v| 0.5 - v).collect()).on(gpu, 0);
            let mut sum = Tensor::on(gpu, DType::F32, &[r.rows, n]).unwrap();
            let to = Output { residual: more.ptr().unwrap(), raw: PtrMut::NULL, ..sum.ptr_mut().unwrap().into() };
            let to = Output { sum: sum.ptr_mut().unwrap(), ..to };
            // SAFETY: as above.
            unsafe { rows(gpu, p, r, operands, to).unwrap() };
            assert!(f32s(&sum).iter().zip(f32s(&y).iter().zip(f32s(&more))).all(|(s, (y, m))| *s == y + m));
            y
        };
        let apart = Rows {
            rows: 8 * m,
            per: 8 * m,
            l: width * m,
            taps: 3,
            stride: 1,
            pad: 2 * m as isize,
            dilation: m,
            ..windows
        };
        for (name, r, to) in [("windows", windows, Some(&to[..])), ("vectors", vectors, None), ("apart", apart, None)] {
            let shared = if name == "apart" { 1 } else { 0 };
            let all = run(r, &d, &from, to, shared);
            let starts = if shared == 1 { None } else { Some((&from[..], to)) };
            nmse(name, &numbers(&all), &reference(&r, &d, &w, &bias, starts), limit(p));
            let all = f32s(&all);
            for i in [0, 1, m / 2, m - 1] {
                let alone = d.0.chunks_exact(c).skip(i).step_by(m).flatten().copied().collect();
                let r = match shared {
                    1 => Rows { rows: 8, per: 8, l: width, pad: 2, dilation: 1, ..r },
                    _ => Rows { rows: r.rows / m, per: 1, ..r },
                };
                let got = f32s(&run(r, &Numbers(alone), &from[i..=i], to.map(|t| &t[i..=i]), shared));
                let want: Vec<f32> = all.chunks_exact(n).skip(i).step_by(m).flatten().copied().collect();
                assert!(got == want, "{name}: mutant {i} has other bits alone");
            }
        }
    }
}

/// As exact as f32 also in the longest sums of real models, and a row's bits are its own whatever the batch.
#[test]
fn long_sums_and_batches() {
    let mut random = Random::new(54);
    let r = Rows { rows: 20, n: 20, c: 320, per: 10, l: 10, taps: 11, stride: 1, pad: 5, dilation: 1 };
    let x = Numbers::new(&mut random, r.rows * r.c);
    let (w, bias) = (Numbers::new(&mut random, r.taps * r.c * r.n), Numbers(vec![0.0; r.n]));
    for gpu in gpus() {
        let run = |r: Rows, x: &Numbers| {
            let (xs, ws) = (x.on(gpu, 0), w.on(gpu, 0));
            let mut y = Tensor::on(gpu, DType::F32, &[r.rows, r.n]).unwrap();
            let operands = Operands::new(xs.ptr::<f32>().unwrap(), ws.ptr().unwrap());
            // SAFETY: all sizes are those of `r`.
            unsafe { rows(gpu, Precision::F32, r, operands, y.ptr_mut().unwrap().into()).unwrap() };
            y
        };
        let both = run(r, &x);
        nmse("3520 products", &numbers(&both), &reference(&r, &x, &w, &bias, None), 1e-13);
        let second = run(Rows { rows: 10, ..r }, &Numbers(x.0[10 * r.c..].to_vec()));
        assert!(f32s(&second) == f32s(&both)[10 * r.n..], "the second sequence has other bits alone");
    }
}

#[test]
fn sums_of_columns() {
    let mut random = Random::new(55);
    for (rows, n) in [(1, 1), (700, 33), (1500, 3), (0, 5)] {
        let x = random.normal(&[rows, n]).to_dtype(DType::F32).unwrap();
        let mut want = vec![0.0; n];
        x.to_f64().iter().enumerate().for_each(|(i, v)| want[i % n] += v);
        for gpu in gpus() {
            let got = column_sums(gpu, &x.to_gpu(gpu).unwrap(), n).unwrap();
            nmse(&format!("{rows} rows of {n}"), &numbers(&got), &want, 1e-11);
        }
    }
}

#[test]
fn tiles_for_sizes() {
    for gpu in gpus() {
        assert_eq!(Tile::choose(gpu, 1 << 20, 4, 1), Tile::By16);
        assert_eq!(Tile::choose(gpu, 1 << 20, 64, 1), Tile::By64);
        assert_eq!(Tile::choose(gpu, 1 << 20, 128, 1), Tile::By128);
        assert_eq!(Tile::choose(gpu, 1 << 20, 320, 1), if Tile::By160.fits(gpu) { Tile::By160 } else { Tile::By128 });
        assert_eq!(Tile::choose(gpu, 40, 320, 1), Tile::By64);
    }
}

/// The convolution, and what is added to it.
fn forward(
    gpu: &Gpu,
    p: Precision,
    a: &Conv1dArgs,
    lo: usize,
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
) -> Result<Tensor> {
    let y = forward_tailed(gpu, p, a, lo, x, w, Tail { bias, raw: true, ..Tail::default() })?;
    Ok(y.raw.expect("it was asked for"))
}

/// Random constants of a batch norm, `[5, n]`.
fn table(random: &mut Random, gpu: &Gpu, n: usize) -> Tensor {
    let rows = [random.normal(&[n]), random.uniform(&[n], 0.5, 2.0), random.normal(&[n])];
    let mut all: Vec<f32> = rows.iter().flat_map(Tensor::to_f64).map(|v| v as f32).collect();
    all.resize(5 * n, f32::NAN);
    Tensor::new(&[5, n], all).unwrap().to_gpu(gpu).unwrap()
}

/// The convolution, the sum and the batch norm one after the other have the bits that they have together; so have a result of 16 bits
/// and what a product makes of it and of its padding.
#[test]
fn tails() {
    let mut random = Random::new(56);
    // (sequences, rows, channels, outputs, arguments)
    let cases = [
        (2, 37, 36, 33, Conv1dArgs::same(3, 2)),
        (1, 140, 40, 300, Conv1dArgs::same(2, 1)),
        (3, 20, 7, 7, Conv1dArgs::same(3, 1)),
        (2, 21, 33, 40, Conv1dArgs { stride: 2, ..Conv1dArgs::same(3, 1) }),
    ];
    for (i, (n, l, c, o, a)) in cases.into_iter().enumerate() {
        let lo = a.output(l).unwrap();
        let [x, w, bias, residual, next] =
            [vec![n, l, c], vec![a.kernel, c, o], vec![o], vec![n, lo, o], vec![1, o, 5]]
                .map(|shape| random.normal(&shape).to_dtype(DType::F32).unwrap());
        for gpu in gpus() {
            let [x, w, bias, residual, next] = [&x, &w, &bias, &residual, &next].map(|t| t.to_gpu(gpu).unwrap());
            let table = table(&mut random, gpu, o);
            for &p in Precision::ALL {
                let name = format!("case {i}, {} on {}", p.name(), gpu.about().name);
                let all = |tail| forward_tailed(gpu, p, &a, lo, &x, &w, tail).unwrap();
                let bias = Some(&bias);
                let raw = forward(gpu, p, &a, lo, &x, &w, bias).unwrap();
                let sum: Vec<f32> = f32s(&raw).iter().zip(f32s(&residual)).map(|(a, b)| a + b).collect();
                let sum = Tensor::new(&[n, lo, o], sum).unwrap().to_gpu(gpu).unwrap();
                let plain = all(Tail { bias, residual: Some(&residual), raw: true, sum: true, norm: None });
                assert!(f32s(&plain.raw.unwrap()) == f32s(&raw) && plain.normed.is_none(), "{name}: raw");
                assert!(f32s(&plain.sum.unwrap()) == f32s(&sum), "{name}: sum");
                let mut results = vec![(Activation::Gelu, DType::F32), (Activation::Tanh, DType::F32)];
                let half = half_dtype(p);
                results.extend(
                    half.iter()
                        .flat_map(|&t| [(Activation::Relu, t), (Activation::Identity, t), (Activation::Silu, t)]),
                );
                for (j, (f, dtype)) in results.into_iter().enumerate() {
                    let name = format!("{name}, {f:?} as {dtype:?}");
                    let (with, stored) = (j % 2 == 0, j % 3 == 0);
                    let tail = Tail {
                        bias,
                        residual: with.then_some(&residual),
                        raw: stored,
                        sum: stored,
                        norm: Some((&table, f, dtype)),
                    };
                    let got = all(tail);
                    assert_eq!((got.raw.is_some(), got.sum.is_some()), (stored, stored), "{name}");
                    assert!(got.raw.is_none_or(|t| f32s(&t) == f32s(&raw)), "{name}: raw");
                    let from = if with { &sum } else { &raw };
                    assert!(got.sum.is_none_or(|t| f32s(&t) == f32s(from)), "{name}: sum");
                    let operand = Some(dtype).filter(|t| t.is_half());
                    let want = batch_norm::cuda::forward(gpu, from, &table, f, operand).unwrap();
                    let got = got.normed.unwrap();
                    assert_eq!((got.dtype(), got.shape()), (dtype, want.shape()), "{name}");
                    // Ties may round the other way where a compiler contracts other operations.
                    let (got_all, want_all) = (f32s(&got), f32s(&want));
                    let limit = if operand.is_some() { 1e-2 } else { 1e-6 };
                    let close = |(a, b): (&f32, &f32)| (a - b).abs() <= limit * b.abs().max(1e-3);
                    assert!(got_all.iter().zip(&want_all).all(close), "{name}: normed");
                    let others = got_all.iter().zip(&want_all).filter(|(a, b)| a != b).count();
                    assert!(operand.is_none() || others * 100 <= got_all.len(), "{name}: {others} others");
                    let product =
                        |x: &Tensor| f32s(&forward(gpu, p, &Conv1dArgs::valid(1), lo, x, &next, None).unwrap());
                    if others == 0 {
                        assert!(
                            product(&got) == product(&want.to_dtype(DType::F32).unwrap()),
                            "{name}: a product of it"
                        );
                    }
                }
            }
        }
    }
}

/// Every tile of 16-bit products with a norm has the bits of the convolution and the batch norm one after the other.
#[test]
fn every_tile_with_a_norm() {
    let mut random = Random::new(58);
    for (i, (r, offset)) in cases().into_iter().take(2).enumerate() {
        let x = Numbers::new(&mut random, r.rows / r.per * r.l * r.c);
        let (w, residual) = (Numbers::new(&mut random, r.taps * r.c * r.n), Numbers::new(&mut random, r.rows * r.n));
        for (gpu, p) in gpus().iter().flat_map(|gpu| [Precision::Bf16, Precision::F16].map(|p| (gpu, p))) {
            let [xs, ws, ds] = [&x, &w, &residual].map(|t| t.on(gpu, offset));
            let (table, dtype) = (table(&mut random, gpu, r.n), half_dtype(p).unwrap());
            let at = |t: &Tensor| t.ptr::<f32>().unwrap().offset(offset);
            let from = Operands::new(at(&xs), at(&ws));
            let new = |dtype| Tensor::on(gpu, dtype, &[r.rows, r.n]).unwrap();
            for tile in TILES.into_iter().filter(|t| t.fits(gpu)) {
                let [mut sum, mut y, mut operand] = [DType::F32, DType::F32, dtype].map(new);
                let address = match dtype {
                    DType::BF16 => operand.ptr_mut::<Bf16>().unwrap().address(),
                    _ => operand.ptr_mut::<F16>().unwrap().address(),
                };
                let f = Activation::Gelu;
                let norm = Some(Normed { table: table.ptr().unwrap(), f, y: y.ptr_mut().unwrap(), operand: address });
                let to = Output { residual: at(&ds), raw: PtrMut::NULL, sum: sum.ptr_mut().unwrap(), norm };
                // SAFETY: all sizes are those of `r`.
                unsafe { tiled(gpu, tile, p, r, from, to) };
                let name = format!("case {i}, {tile:?}, {} on {}", p.name(), gpu.about().name);
                let want = batch_norm::cuda::forward(gpu, &sum, &table, f, None).unwrap();
                nmse(&name, &numbers(&y), &numbers(&want), 1e-13);
                nmse(&name, &numbers(&operand), &numbers(&want.to_dtype(dtype).unwrap()), 1e-7);
            }
        }
    }
}

/// A product reads 16-bit operands with the bits that it rounds f32 to: in sequences, strides, and dense layers, in all sweeps.
#[test]
fn operands_of_16_bits() {
    let mut r = Random::new(57);
    let strided = Conv1dArgs { stride: 2, ..Conv1dArgs::same(3, 1) };
    for (l, c, o, a) in [
        (23, 36, 33, Conv1dArgs::same(3, 2)),
        (41, 64, 40, Conv1dArgs::same(2, 1)),
        (9, 5, 3, Conv1dArgs::same(3, 1)),
        (13, 9, 20, strided),
    ] {
        let inputs = [r.normal(&[2, l, c]), r.normal(&[a.kernel, c, o]), r.normal(&[o])];
        let name = format!("{l} rows of {c} to {o}");
        let relu = |t: &mut Tape, v: &[Var]| crate::ops::activation(t, &v[0], Activation::Gelu);
        check::operands(&name, &Mode::Eval, &inputs, 1, relu, |t, x, v| {
            crate::ops::conv1d(t, x, &v[0], Some(&v[1]), a)
        });
        let dense = [inputs[0].clone(), r.normal(&[c, o]), inputs[2].clone()];
        check::operands(&name, &Mode::Eval, &dense, 1, relu, |t, x, v| crate::ops::linear(t, x, &v[0], Some(&v[1])));
    }
}

/// Operands of another type than the precision's are refused, not read as something else.
#[test]
fn other_operands_are_refused() {
    for gpu in gpus() {
        let [x, w] = [[1, 40, 40], [1, 40, 40]].map(|s| Tensor::zeros_on(gpu, DType::F32, &s).unwrap());
        for (p, dtype) in [(Precision::F32, DType::BF16), (Precision::Bf16, DType::F16), (Precision::Tf32, DType::BF16)]
        {
            let x = x.to_dtype(dtype).unwrap();
            let e = forward(gpu, p, &Conv1dArgs::same(1, 1), 40, &x, &w, None).unwrap_err().to_string();
            assert!(e.contains("rounded to") && e.contains("another precision"), "{e}");
        }
    }
}

/// Gradients may be of another precision than the record, whose inputs may be rounded.
#[test]
fn precision_changes_between_sweeps() {
    let mut r = Random::new(59);
    let f32s = |t: Tensor| t.to_dtype(DType::F32).unwrap();
    let [x, w] = [r.normal(&[2, 40, 36]), r.normal(&[3, 36, 33])].map(f32s);
    let a = Conv1dArgs::same(3, 1);
    for gpu in gpus() {
        let gradients = |recorded: Precision, swept: Precision| {
            let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
            tape.precision = recorded;
            let [x, w] = [&x, &w].map(|t| tape.leaf(t.to_gpu(gpu).unwrap()));
            let z = tape.for_products(|t| crate::ops::activation(t, &x, Activation::Relu)).unwrap();
            let y = crate::ops::conv1d(&mut tape, &z, &w, None, a).unwrap();
            tape.precision = swept;
            let dy = Random::new(60).normal(y.shape()).to_dtype(DType::F32).unwrap().to_gpu(gpu).unwrap();
            let want = [x.node.unwrap(), w.node.unwrap()];
            let all = tape.backward(y.node.unwrap(), dy, &[0, 1], &want).unwrap();
            all.into_iter().map(|g| numbers(&g.unwrap())).collect::<Vec<_>>()
        };
        let want = gradients(Precision::F32, Precision::F32);
        for swept in [Precision::F32, Precision::F16] {
            for (got, want) in gradients(Precision::Bf16, swept).iter().zip(&want) {
                nmse(&format!("{} on {}", swept.name(), gpu.about().name), got, want, limit(Precision::Bf16));
            }
        }
    }
}

/// Nothing in, nothing out; gradients of nothing are zeros.
#[test]
fn empty_batches() {
    let a = Conv1dArgs::same(3, 1);
    for (gpu, &p) in gpus().iter().flat_map(|gpu| Precision::ALL.iter().map(move |p| (gpu, p))) {
        for c in [5, 40] {
            let [x, w] = [vec![0, 40, c], vec![3, c, c]].map(|s| Tensor::zeros_on(gpu, DType::F32, &s).unwrap());
            assert_eq!(forward(gpu, p, &a, 40, &x, &w, None).unwrap().shape(), [0, 40, c]);
            let mut dw = Tensor::on(gpu, DType::F32, &[3, c, c]).unwrap();
            let r = Rows { rows: 0, n: c, c, per: 40, l: 40, taps: 3, stride: 1, pad: 1, dilation: 1 };
            let none = Input::of(&x).unwrap();
            // SAFETY: all sizes are those of `r`.
            unsafe { weight_gradient(gpu, p, r, none, none, dw.ptr_mut().unwrap()).unwrap() };
            assert!(f32s(&dw).iter().all(|&v| v == 0.0), "{} on {}", p.name(), gpu.about().name);
        }
    }
}
