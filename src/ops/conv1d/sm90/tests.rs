//! Every tile in every kind against sums in f64, and the rules of bits.

use super::*;
use crate::device::Ptr;
use crate::ops::conv1d::{Conv1dArgs, operands};
use crate::tape::check::{self, Random, gpus, nmse, numbers};
use crate::tape::{Tape, Var};
use crate::util::math::Activation;

const KINDS: [Kind; 4] = [Kind::F16x2, Kind::Bf16x2, Kind::Bf16, Kind::F16];

/// The largest normalised mean square error of a kind.
fn limit(kind: Kind) -> f64 {
    match kind {
        Kind::F16x2 => 1e-13,
        Kind::Bf16x2 => 5e-11,
        Kind::F16 => 5e-7,
        Kind::Bf16 => 3e-5,
    }
}

/// A GPU of compute capability 9.0, emulated or the machine's own; [`check::skipped`] says why there is none.
fn found() -> Option<&'static Gpu> {
    gpus().iter().find(|gpu| gpu.is_sm90())
}

fn gpu() -> &'static Gpu {
    found().expect("tests return if there is none")
}

struct Numbers(Vec<f32>);

impl Numbers {
    fn new(r: &mut Random, n: usize) -> Self {
        Self(r.normal(&[n]).to_f64().into_iter().map(|x| x as f32).collect())
    }

    /// `offset` elements behind an aligned address.
    fn on(&self, offset: usize) -> Tensor {
        let all: Vec<f32> = [vec![f32::NAN; offset], self.0.clone()].concat();
        Tensor::new(&[all.len()], all).unwrap().to_gpu(gpu()).unwrap()
    }
}

fn numbers_of(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&v| f64::from(v)).collect()
}

fn f32s(t: &Tensor) -> Vec<f32> {
    t.to_cpu().unwrap().cpu::<f32>().unwrap().to_vec()
}

/// Row of the input that row `i` of the output reads under tap `t`.
fn row(r: &Rows, i: usize, t: usize) -> Option<usize> {
    let v = (i % r.per + t * r.dilation) as isize - r.pad;
    (0..r.l as isize).contains(&v).then(|| i / r.per * r.l + v as usize)
}

fn reference(r: &Rows, x: &Numbers, w: &Numbers, bias: Option<&Numbers>) -> Vec<f64> {
    let mut y: Vec<f64> = (0..r.rows * r.n).map(|i| bias.map_or(0.0, |b| f64::from(b.0[i % r.n]))).collect();
    for i in 0..r.rows {
        for t in 0..r.taps {
            let Some(g) = row(r, i, t) else { continue };
            for k in 0..r.c {
                let (x, w) = (f64::from(x.0[g * r.c + k]), &w.0[(t * r.c + k) * r.n..][..r.n]);
                y[i * r.n..][..r.n].iter_mut().zip(w).for_each(|(y, &w)| *y += x * f64::from(w));
            }
        }
    }
    y
}

fn same(sequences: usize, l: usize, c: usize, n: usize, taps: usize, dilation: usize) -> Rows {
    let pad = (dilation * (taps - 1) / 2) as isize;
    Rows { rows: sequences * l, n, c, per: l, l, taps, stride: 1, pad, dilation }
}

/// (convolution, offset of pointers, bias): ragged rows, columns and channels; several tiles and slices; taps that tiles skip and
/// rows that no tap reaches; short sequences, several in a tile; single accesses.
fn cases() -> Vec<(Rows, usize, bool)> {
    let far = same(1, 300, 72, 100, 5, 150);
    let short = same(17, 37, 40, 33, 4, 1);
    let valid = Rows { rows: 2 * 261, per: 261, l: 263, pad: 0, ..same(1, 1, 130, 36, 3, 1) };
    let beyond = Rows { rows: 290, per: 290, l: 5, pad: 20, ..same(1, 1, 33, 36, 2, 7) };
    vec![(far, 0, true), (short, 1, true), (valid, 0, false), (beyond, 0, true)]
}

/// The convolution with a tile.
fn run(tile: Tile, kind: Kind, r: Rows, from: Operands) -> Tensor {
    let mut y = Tensor::on(gpu(), DType::F32, &[r.rows, r.n]).unwrap();
    // SAFETY: all sizes are those of `r`.
    unsafe {
        let weights = Weights::new(gpu(), kind, from.w, [r.taps, r.c, r.n]).unwrap();
        convolve(gpu(), Plan::new(tile, &r), kind, r, (0, 1), from, &weights, y.ptr_mut().unwrap().into()).unwrap();
    }
    y
}

#[test]
fn every_tile_of_every_kind() {
    if found().is_none() {
        return;
    }
    let mut random = Random::new(61);
    for (i, (r, offset, biased)) in cases().into_iter().enumerate() {
        let x = Numbers::new(&mut random, r.rows / r.per * r.l * r.c);
        let (w, bias) = (Numbers::new(&mut random, r.taps * r.c * r.n), Numbers::new(&mut random, r.n));
        let want = reference(&r, &x, &w, biased.then_some(&bias));
        let [xs, ws, bs] = [&x, &w, &bias].map(|t| t.on(offset));
        let at = |t: &Tensor| t.ptr::<f32>().unwrap().offset(offset);
        let bias = if biased { at(&bs) } else { Ptr::NULL };
        for kind in KINDS {
            let mut first: Option<Vec<f32>> = None;
            for &tile in tiles(kind, false) {
                let y = run(tile, kind, r, Operands { bias, ..Operands::new(at(&xs), at(&ws)) });
                let name = format!("case {i}, {tile:?}, {kind:?}");
                nmse(&name, &numbers(&y), &want, limit(kind));
                let y = f32s(&y);
                assert!(*first.get_or_insert_with(|| y.clone()) == y, "{name}: other bits than with the first tile");
            }
        }
    }
}

/// Several blocks of channels and taps in a tile, ragged; several sequences and parts; taps that reach beyond the ends.
#[test]
fn every_tile_of_weight_gradients() {
    if found().is_none() {
        return;
    }
    let mut random = Random::new(65);
    let valid = Rows { rows: 2 * 150, per: 150, l: 154, pad: 0, ..same(1, 1, 40, 34, 3, 2) };
    for (i, (r, chunk, offset)) in
        [(same(3, 70, 72, 100, 5, 20), 5, 0), (valid, 3, 1), (same(1, 33, 130, 170, 2, 1), 8, 0)]
            .into_iter()
            .enumerate()
    {
        let (sequences, taps) = (r.rows / r.per, r.taps);
        let (x, dy) = (Numbers::new(&mut random, sequences * r.l * r.c), Numbers::new(&mut random, r.rows * r.n));
        let mut want = vec![0.0; taps * r.c * r.n];
        for at in 0..r.rows {
            for t in 0..taps {
                let Some(g) = row(&r, at, t) else { continue };
                for k in 0..r.c {
                    let (x, dy) = (f64::from(x.0[g * r.c + k]), &dy.0[at * r.n..][..r.n]);
                    want[(t * r.c + k) * r.n..][..r.n].iter_mut().zip(dy).for_each(|(w, &d)| *w += x * f64::from(d));
                }
            }
        }
        let (xs, ds) = (x.on(offset), dy.on(offset));
        for kind in KINDS {
            let mut first: Option<Vec<f32>> = None;
            let tiles: &[Tile] = if kind.parts() == 2 { &TWICE_GRADIENT } else { &WHOLE_GRADIENT };
            for &tile in tiles {
                let plan = GradientPlan { tile, chunk, parts: GradientPlan::stages(&r).div_ceil(chunk) };
                let mut dw = Tensor::on(gpu(), DType::F32, &[taps, r.c, r.n]).unwrap();
                let at = |t: &Tensor| t.ptr::<f32>().unwrap().offset(offset);
                // SAFETY: all sizes are those of `r`.
                unsafe {
                    weight_gradient_with(gpu(), plan, kind, r, at(&xs).into(), at(&ds).into(), dw.ptr_mut().unwrap())
                        .unwrap();
                }
                let name = format!("case {i}, {tile:?}, {kind:?}");
                nmse(&name, &numbers(&dw), &want, limit(kind));
                let dw = f32s(&dw);
                assert!(*first.get_or_insert_with(|| dw.clone()) == dw, "{name}: other bits than with the first tile");
            }
        }
    }
}

/// Rows of very different size are as exact as others, each by itself.
#[test]
fn sizes_of_rows() {
    if found().is_none() {
        return;
    }
    let mut random = Random::new(62);
    let r = same(1, 64, 320, 40, 3, 1);
    let (r, mut x) = (Rows { taps: 1, pad: 2, ..r }, Numbers::new(&mut random, r.rows * r.c));
    for (i, row) in x.0.chunks_exact_mut(r.c).enumerate() {
        row.iter_mut().for_each(|v| *v *= 2f32.powi((i % 41) as i32 * 3 - 60));
    }
    let w = Numbers::new(&mut random, r.c * r.n);
    let want = reference(&r, &x, &w, None);
    let (xs, ws) = (x.on(0), w.on(0));
    for (kind, limit) in [(Kind::Bf16x2, 2e-10), (Kind::F16x2, 1e-12)] {
        let y = numbers(&run(TWICE[0], kind, r, Operands::new(xs.ptr::<f32>().unwrap(), ws.ptr().unwrap())));
        for (i, (y, want)) in y.chunks_exact(r.n).zip(want.chunks_exact(r.n)).enumerate() {
            nmse(&format!("{kind:?}: row {i}"), y, want, if i < 2 { 0.0 } else { limit });
        }
    }
}

/// Sequences at both ends of what f32 can hold, with weights at the other, are as exact as others; so are zeros.
#[test]
fn scales_of_sequences() {
    if found().is_none() {
        return;
    }
    let mut random = Random::new(66);
    let r = Rows { pad: 3, per: 24, rows: 6 * 24, ..same(6, 20, 40, 36, 3, 1) };
    for power in [-100, 0, 100] {
        let mut x = Numbers::new(&mut random, 6 * r.l * r.c);
        let mut w = Numbers::new(&mut random, r.taps * r.c * r.n);
        w.0.iter_mut().for_each(|v| *v *= 2f32.powi(-power));
        for (i, x) in x.0.chunks_exact_mut(r.l * r.c).enumerate() {
            let size = if i == 5 { 0.0 } else { 2f32.powi(power + 10 * i as i32 - 30) };
            x.iter_mut().for_each(|v| *v *= size);
        }
        let (want, xs, ws) = (reference(&r, &x, &w, None), x.on(0), w.on(0));
        let y = numbers(&run(TWICE[3], Kind::F16x2, r, Operands::new(xs.ptr::<f32>().unwrap(), ws.ptr().unwrap())));
        for (i, (y, want)) in y.chunks_exact(24 * r.n).zip(want.chunks_exact(24 * r.n)).enumerate() {
            nmse(&format!("2^{power}, sequence {i}"), y, want, 1e-12);
        }
    }
}

/// A sequence alone against itself among others, and a mutant, whose rows are apart by the number of mutants.
#[test]
fn neighbours_change_no_bits() {
    if found().is_none() {
        return;
    }
    let mut random = Random::new(63);
    let (c, n, m, width) = (40, 36, 53, 7);
    let batch = same(5, 70, c, n, 3, 2);
    let apart = Rows {
        rows: (width + 4) * m,
        n,
        c,
        per: (width + 4) * m,
        l: width * m,
        taps: 3,
        stride: 1,
        pad: 4 * m as isize,
        dilation: 2 * m,
    };
    let alone = Rows { rows: width + 4, per: width + 4, l: width, pad: 4, dilation: 2, ..apart };
    let w = Numbers::new(&mut random, 3 * c * n);
    let ws = w.on(0);
    let of = |kind, r: Rows, mutants: usize, x: &Numbers| {
        let xs = x.on(0);
        let mut y = Tensor::on(gpu(), DType::F32, &[r.rows, n]).unwrap();
        let from = Operands { mutants, ..Operands::new(xs.ptr::<f32>().unwrap(), ws.ptr().unwrap()) };
        // SAFETY: all sizes are those of `r`.
        unsafe {
            let weights = Weights::new(gpu(), kind, from.w, [r.taps, c, n]).unwrap();
            convolve(
                gpu(),
                Plan::choose(processors(gpu()), tiles(kind, false), &r),
                kind,
                r,
                (0, 1),
                from,
                &weights,
                y.ptr_mut().unwrap().into(),
            )
            .unwrap();
        }
        f32s(&y)
    };
    for kind in KINDS {
        let x = Numbers::new(&mut random, batch.rows * c);
        let all = of(kind, batch, 1, &x);
        for i in [0, 3, 4] {
            let one = Numbers(x.0[i * 70 * c..][..70 * c].to_vec());
            assert!(
                of(kind, Rows { rows: 70, ..batch }, 1, &one) == all[i * 70 * n..][..70 * n],
                "{kind:?}: sequence {i}"
            );
        }
        // Mutants of very different size, one without any change, one that is not finite.
        let mut x = Numbers::new(&mut random, apart.l * c);
        for (i, row) in x.0.chunks_exact_mut(c).enumerate() {
            let size = [1.0, 1e30, 1e-30, 0.0, 1e-3, 1.0, f32::NAN][i % m % 7];
            row.iter_mut().for_each(|v| *v *= if kind == Kind::F16 { size.clamp(0.0, 1.0) } else { size });
        }
        let (all, want) = (of(kind, apart, m, &x), reference(&apart, &x, &w, None));
        let mutant = |all: &[f32], i: usize| -> Vec<u32> {
            let of = if all.len() == apart.rows * n { m } else { 1 };
            all.chunks_exact(n).skip(i).step_by(of).flatten().map(|v| v.to_bits()).collect()
        };
        for i in [0, 1, 2, 3, 4, 5, 6, 30, m - 2, m - 1] {
            let one = Numbers(x.0.chunks_exact(c).skip(i).step_by(m).flatten().copied().collect());
            let got = of(kind, alone, 1, &one);
            assert!(mutant(&all, i) == mutant(&got, 0), "{kind:?}: mutant {i}");
            if i % 7 != 6 && !(kind == Kind::F16 && i % 7 == 2) {
                let (got, want) =
                    (numbers_of(&got), want.chunks_exact(n).skip(i).step_by(m).flatten().copied().collect::<Vec<_>>());
                nmse(&format!("{kind:?}: mutant {i}"), &got, &want, limit(kind));
            } else if i % 7 == 6 {
                assert!(got.iter().all(|v| v.is_nan()), "{kind:?}: mutant {i}");
            }
        }
    }
}

/// The operation itself goes this way where it has enough channels: value, gradients and changes, in every precision.
#[test]
fn convolutions_go_this_way() {
    if found().is_none() {
        return;
    }
    let mut r = Random::new(64);
    for (n, l, c, o, args) in
        [(2, 41, 36, 40, Conv1dArgs::same(3, 2)), (1, 35, 32, 66, Conv1dArgs { pad: (0, 3), ..Conv1dArgs::same(4, 1) })]
    {
        let rows = Rows { rows: n * l, n: o, c, per: l, l, taps: 3, stride: 1, pad: 0, dilation: 1 };
        assert!(takes(gpu(), &rows, &Operands::new(Ptr::<f32>::NULL, Ptr::NULL)));
        let inputs = [r.normal(&[n, l, c]), r.normal(&[args.kernel, c, o]), r.normal(&[o])];
        let f = |t: &mut Tape, v: &[Var]| crate::ops::conv1d(t, &v[0], &v[1], Some(&v[2]), args);
        check::precision("conv1d", &inputs, f);
        check::delta("conv1d", &inputs, f);
    }
}

#[test]
fn plans() {
    let large = same(8, 10_000, 64, 320, 3, 1);
    let at = |processors, r| Plan::choose(processors, &WHOLE, &r);
    let plan = Plan { tile: Tile(256, 160, 100), rows: 256, sequences: 1, count: 8 * 40 * 2 };
    assert_eq!(at(132, large), plan);
    assert_eq!(at(132, Rows { n: 512, ..large }).tile, Tile(128, 256, 100));
    let plan = Plan { tile: Tile(256, 64, 130), rows: 37, sequences: 6, count: 17 };
    assert_eq!(at(132, same(100, 37, 64, 64, 3, 1)), plan);
    let plan = GradientPlan::choose(132, Kind::Bf16, &same(8, 10_000, 320, 320, 11, 1));
    assert_eq!(plan, GradientPlan { tile: Tile(256, 160, 100), chunk: 140, parts: 9 });
    let most = 232_448;
    for kind in KINDS {
        for &tile in tiles(kind, false) {
            let (stages, launch) = tile.launch(132, most, kind, 9);
            assert!(stages >= 2 && launch.shared_bytes + 1024 <= most, "{tile:?}");
            assert_eq!(launch.grid, [9, 1, 1]);
        }
    }
}

/// The largest magnitude wherever it is: in every piece of a group, in what is left of it, in the first lane.
#[test]
fn largest_magnitudes() {
    if found().is_none() {
        return;
    }
    let mut random = Random::new(67);
    // (sequences, rows of one, scales of one, channels, offset)
    for (sequences, per, groups, c, offset) in [
        (9, 1, 1, 1, 0),
        (1, 5, 5, 7, 1),
        (3, 4, 1, 1025, 0),
        (2, 4, 2, 3 * 4096, 0),
        (2, 6, 3, 8, 0),
        (1, 3, 1, 36, 1),
    ] {
        let mut x = Numbers::new(&mut random, sequences * per * c);
        let group = |i: usize| i / c / per * groups + i / c % groups;
        let members = |g: usize| (0..sequences * per * c).filter(|&i| group(i) == g).collect::<Vec<_>>();
        for peak in [0, 1, 2] {
            for g in 0..sequences * groups {
                let all = members(g);
                x.0[all[(all.len() - 1) * peak / 2]] = -100.0 - (peak * 100 + g) as f32;
            }
            let xs = x.on(offset);
            let l = Layout { rows: sequences * per, c, per, groups };
            // SAFETY: so many elements lie behind the offset.
            let found = unsafe { operands::largest(gpu(), Kind::F16x2, xs.ptr().unwrap().offset(offset), l) };
            let mut bits = vec![0i32; sequences * groups];
            found.unwrap().unwrap().download(0, &mut bits).unwrap();
            let want: Vec<i32> = (0..bits.len()).map(|g| (100.0 + (peak * 100 + g) as f32).to_bits() as i32).collect();
            assert_eq!(bits, want, "{sequences} x {per} rows of {c}, {groups} scales, largest at {peak}");
        }
    }
}

/// Every tile with a norm has the bits of the convolution, the residual's addition and the batch norm one after the other.
#[test]
fn every_tile_with_a_norm() {
    if found().is_none() {
        return;
    }
    let mut random = Random::new(68);
    for (i, (r, offset, _)) in cases().into_iter().take(2).enumerate() {
        let x = Numbers::new(&mut random, r.rows / r.per * r.l * r.c);
        let (w, bias) = (Numbers::new(&mut random, r.taps * r.c * r.n), Numbers::new(&mut random, r.n));
        let (residual, table) = (Numbers::new(&mut random, r.rows * r.n), Numbers::new(&mut random, 5 * r.n));
        let [xs, ws, bs, ds, ts] = [&x, &w, &bias, &residual, &table].map(|t| t.on(offset));
        let at = |t: &Tensor| t.ptr::<f32>().unwrap().offset(offset);
        let from = Operands { bias: at(&bs), ..Operands::new(at(&xs), at(&ws)) };
        for kind in KINDS {
            let raw = run(tiles(kind, false)[0], kind, r, from);
            let sum: Vec<f32> = f32s(&raw).iter().zip(&residual.0).map(|(a, b)| a + b).collect();
            let sum = Tensor::new(&[r.rows, r.n], sum).unwrap().to_gpu(gpu()).unwrap();
            let (f, of) = (Activation::Relu, table.on(0).reshape(&[5, r.n]).unwrap());
            for &tile in tiles(kind, true) {
                let half = kind.parts() == 1;
                let mut y = Tensor::on(gpu(), if half { kind.dtype() } else { DType::F32 }, &[r.rows, r.n]).unwrap();
                let [mut raws, mut sums] = [0, 1].map(|_| Tensor::on(gpu(), DType::F32, &[r.rows, r.n]).unwrap());
                let (mut to, mut operand) = (PtrMut::NULL, 0);
                match kind {
                    Kind::Bf16 => operand = y.ptr_mut::<crate::device::Bf16>().unwrap().address(),
                    Kind::F16 => operand = y.ptr_mut::<crate::device::F16>().unwrap().address(),
                    _ => to = y.ptr_mut().unwrap(),
                }
                let norm = Some(Normed { table: at(&ts), f, y: to, operand });
                let (raw_to, sum_to) = (raws.ptr_mut().unwrap(), sums.ptr_mut().unwrap());
                let out = Output { residual: at(&ds), raw: raw_to, sum: sum_to, norm };
                // SAFETY: all sizes are those of `r`.
                unsafe {
                    let weights = Weights::new(gpu(), kind, from.w, [r.taps, r.c, r.n]).unwrap();
                    convolve(gpu(), Plan::new(tile, &r), kind, r, (0, 1), from, &weights, out).unwrap();
                }
                let name = format!("case {i}, {tile:?}, {kind:?}");
                assert!(f32s(&raws) == f32s(&raw) && f32s(&sums) == f32s(&sum), "{name}: raw or sum");
                let operand = Some(y.dtype()).filter(|t| t.is_half());
                let want = crate::ops::batch_norm::cuda::forward(gpu(), &sum, &of, f, operand).unwrap();
                nmse(&name, &numbers(&y), &numbers(&want), if half { 1e-7 } else { 1e-13 });
            }
        }
    }
}

/// Those of columns, in any of the blocks that share the rows.
#[test]
fn largest_magnitudes_of_columns() {
    if found().is_none() {
        return;
    }
    let (mut random, rows, n) = (Random::new(70), 1100, 37);
    let mut x = Numbers::new(&mut random, rows * n);
    let want: Vec<i32> = (0..n as i32).map(|i| (10.0 + i as f32).to_bits() as i32).collect();
    (0..n).for_each(|i| x.0[i * 29 % rows * n + i] = -10.0 - i as f32);
    let (xs, mut bits) = (x.on(1), vec![0i32; n]);
    // SAFETY: so many elements lie behind the offset.
    let found = unsafe { operands::largest_of_columns(gpu(), Kind::F16x2, xs.ptr().unwrap().offset(1), rows, n) };
    found.unwrap().unwrap().download(0, &mut bits).unwrap();
    assert_eq!(bits, want);
}

/// Weight gradients of channels of very different size are as exact as others, each by itself; a channel of zeros has none.
#[test]
fn scales_of_channels() {
    if found().is_none() {
        return;
    }
    let mut random = Random::new(69);
    let r = same(2, 70, 36, 40, 2, 3);
    let (mut x, mut dy) = (Numbers::new(&mut random, r.rows * r.c), Numbers::new(&mut random, r.rows * r.n));
    let size = |i: usize| if i == 5 { 0.0 } else { 10f32.powi((i % 11) as i32 * 6 - 30) };
    for row in x.0.chunks_exact_mut(r.c) {
        row.iter_mut().enumerate().for_each(|(i, v)| *v *= size(i));
    }
    for row in dy.0.chunks_exact_mut(r.n) {
        row.iter_mut().enumerate().for_each(|(i, v)| *v *= size(i + 3) * 1e-3);
    }
    let mut want = vec![0.0; r.taps * r.c * r.n];
    for at in 0..r.rows {
        for t in 0..r.taps {
            let Some(g) = row(&r, at, t) else { continue };
            for k in 0..r.c {
                let (x, dy) = (f64::from(x.0[g * r.c + k]), &dy.0[at * r.n..][..r.n]);
                want[(t * r.c + k) * r.n..][..r.n].iter_mut().zip(dy).for_each(|(w, &d)| *w += x * f64::from(d));
            }
        }
    }
    let (xs, ds) = (x.on(0), dy.on(0));
    let mut dw = Tensor::on(gpu(), DType::F32, &[r.taps, r.c, r.n]).unwrap();
    let [xs, ds] = [&xs, &ds].map(|t| Input::of(t).unwrap());
    // SAFETY: all sizes are those of `r`.
    unsafe { weight_gradient(gpu(), Precision::F32, r, xs, ds, dw.ptr_mut().unwrap()).unwrap() };
    let dw = numbers(&dw);
    for (i, (dw, want)) in dw.iter().zip(&want).enumerate() {
        let (k, n) = (i / r.n % r.c, i % r.n);
        // Relative to what the sum is made of.
        let scale = f64::from(size(k)) * f64::from(size(n + 3)) * 1e-3 * 140f64.sqrt();
        if scale != 0.0 && !(1e-36..1e36).contains(&scale) {
            continue; // beyond f32
        }
        assert!((dw - want).abs() <= 1e-6 * scale, "channels {k} and {n}: {dw:e}, expected {want:e}");
    }
}
