//! Checks that every operation must pass, for tests: gradients against central differences, f32 against f64, delta against
//! running the changed input. Public so that integration tests and other crates' operations can use them.

use std::sync::{Arc, OnceLock};

use super::{Change, Delta, Keep, Mode, Result, Tape, Tensor, Var, Window};
use crate::device::{Gpu, Precision};
use crate::tensor::DType;
use crate::util::philox::Philox;

/// A source of random f64 tensors.
pub struct Random(Philox);

impl Random {
    /// The stream of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Philox::new(seed, 0xC4EC))
    }

    /// Standard normal numbers.
    pub fn normal(&mut self, shape: &[usize]) -> Tensor {
        Tensor::of(shape, (0..shape.iter().product()).map(|_| self.0.normal()).collect::<Vec<f64>>())
    }

    /// Uniform numbers of `[low, high)`.
    pub fn uniform(&mut self, shape: &[usize], low: f64, high: f64) -> Tensor {
        let n = shape.iter().product();
        Tensor::of(shape, (0..n).map(|_| low + (high - low) * self.0.uniform()).collect::<Vec<f64>>())
    }

    /// Packed bases, codes 0 to 5, mostly 0 to 3.
    pub fn bases(&mut self, n: usize, l: usize) -> Tensor {
        let code = |r: &mut Philox| if r.below(10) == 0 { 4 + r.below(2) as u8 } else { r.below(4) as u8 };
        let codes = (0..n * l).map(|_| code(&mut self.0)).collect();
        Tensor::bases(n, l, codes).expect("codes are below 6")
    }

    /// An integer below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0.below(n)
    }
}

/// The GPUs on which checks repeat what they do on the CPU: emulated ones with the cargo feature `emulate`, the machine's own
/// otherwise. None without either ([`skipped`] says why); with `DRG_REQUIRE_GPU=1` in the environment that is a failure.
///
/// # Panics
/// If a GPU is required and there is none.
pub fn gpus() -> &'static [Gpu] {
    found().as_ref().map_or(&[], Vec::as_slice)
}

/// Why nothing is checked on a GPU; `None` if it is.
///
/// # Panics
/// As [`gpus`].
pub fn skipped() -> Option<&'static str> {
    found().as_ref().err().map(String::as_str)
}

fn found() -> &'static std::result::Result<Vec<Gpu>, String> {
    static FOUND: OnceLock<std::result::Result<Vec<Gpu>, String>> = OnceLock::new();
    FOUND.get_or_init(|| {
        #[cfg(feature = "emulate")]
        return Ok(vec![Gpu::emulated((8, 0)), Gpu::emulated((9, 0))]);
        #[cfg(not(feature = "emulate"))]
        {
            let found = Gpu::open(0).map(|gpu| vec![gpu]).map_err(|e| e.to_string());
            let required = std::env::var_os("DRG_REQUIRE_GPU").is_some_and(|v| v == "1");
            assert!(found.is_ok() || !required, "DRG_REQUIRE_GPU is set, but there is none: {found:?}");
            found
        }
    })
}

/// A computation under test: records operations on a tape from leaves.
pub trait Graph: Fn(&mut Tape, &[Var]) -> Result<Var> {}
impl<F: Fn(&mut Tape, &[Var]) -> Result<Var>> Graph for F {}

fn run(keep: Keep, mode: &Mode, inputs: &[Tensor], f: &impl Graph) -> (Tape, Vec<Var>, Var) {
    let mut tape = Tape::new(keep, mode.clone());
    let leaves: Vec<Var> = inputs.iter().map(|t| tape.leaf(t.clone())).collect();
    let y = f(&mut tape, &leaves).expect("the computation under test runs");
    (tape, leaves, y)
}

/// Compares gradients of all float inputs with central differences in f64, upstream gradient random; tolerance 1e-6 of the
/// largest entry. Also compares gradients of the first input for repeated and permuted rows with those of the whole batch.
///
/// # Panics
/// If they differ.
pub fn gradients(name: &str, inputs: &[Tensor], f: impl Graph) {
    gradients_in(name, &Mode::Eval, inputs, f);
}

/// As [`gradients`], in a given mode.
///
/// # Panics
/// If they differ.
pub fn gradients_in(name: &str, mode: &Mode, inputs: &[Tensor], f: impl Graph) {
    let (tape, leaves, y) = run(Keep::BACKWARD, mode, inputs, &f);
    let dy = Random::new(17).normal(y.shape());
    let rows: Vec<u32> = (0..y.shape().first().map_or(1, |&n| n as u32)).collect();
    let want: Vec<usize> = leaves.iter().filter_map(|v| v.node).collect();
    let node = y.node.expect("the output depends on a leaf");
    let grads = tape.backward(node, dy.clone(), &rows, &want).expect("backward runs");
    let value = |inputs: &[Tensor]| -> f64 {
        let (_, _, y) = run(Keep::default(), mode, inputs, &f);
        y.value.to_f64().iter().zip(dy.to_f64()).map(|(a, b)| a * b).sum()
    };
    for (i, input) in inputs.iter().enumerate().filter(|(_, t)| t.dtype() == DType::F64) {
        let x = input.to_f64();
        let got = grads[i].as_ref().map_or_else(|| vec![0.0; x.len()], Tensor::to_f64);
        assert_eq!(got.len(), x.len(), "{name}: gradient of input {i} has another size");
        let numeric: Vec<f64> = (0..x.len())
            .map(|j| {
                let h = 1e-5;
                let moved = |by: f64| {
                    let mut all = inputs.to_vec();
                    let mut v = x.clone();
                    v[j] += by;
                    all[i] = Tensor::of(input.shape(), v);
                    value(&all)
                };
                // Fourth order, so that curvature leaves room for the tolerance.
                (8.0 * (moved(h) - moved(-h)) - (moved(2.0 * h) - moved(-2.0 * h))) / (12.0 * h)
            })
            .collect();
        close(&format!("{name}: gradient of input {i}"), &got, &numeric, 1e-6);
    }
    if *mode == Mode::Eval && inputs[0].shape().first() == y.shape().first() && inputs[0].dtype() == DType::F64 {
        selected_rows(name, inputs, &f);
    }
}

/// A sweep may ask for any rows, in any order, several times: each must get what it gets in a sweep over the whole batch.
fn selected_rows(name: &str, inputs: &[Tensor], f: &impl Graph) {
    let gradient = |rows: &[u32], dy: &Tensor| {
        let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
        let x = tape.leaf(inputs[0].clone());
        let rest = inputs[1..].iter().map(|t| Var::constant(t.clone()));
        let all: Vec<Var> = std::iter::once(x.clone()).chain(rest).collect();
        let y = f(&mut tape, &all).expect("the computation under test runs");
        let node = x.node.expect("a leaf");
        let g = tape.backward(y.node.expect("depends on x"), dy.clone(), rows, &[node]).expect("backward runs");
        g[0].as_ref().expect("a gradient").to_f64()
    };
    let (_, _, y) = run(Keep::default(), &Mode::Eval, inputs, f);
    let n = y.shape()[0];
    let picked: Vec<u32> = vec![n as u32 - 1, 0, n as u32 - 1];
    let mut shape = y.shape().to_vec();
    shape[0] = picked.len();
    let dy = Random::new(19).normal(&shape);
    let got = gradient(&picked, &dy);
    let (size, out) = (inputs[0].len() / n, y.value.len() / n);
    for (r, &row) in picked.iter().enumerate() {
        let mut whole = vec![0.0; n * out];
        whole[row as usize * out..][..out].copy_from_slice(&dy.to_f64()[r * out..][..out]);
        let identity: Vec<u32> = (0..n as u32).collect();
        let want = gradient(&identity, &Tensor::of(y.shape(), whole));
        close(
            &format!("{name}: selected row {r}"),
            &got[r * size..][..size],
            &want[row as usize * size..][..size],
            1e-12,
        );
    }
}

/// Compares value and gradients in f32 with f64 from the same (f32) numbers: normalised mean square error below 1e-10. On
/// GPUs, too ([`gpus`]).
///
/// # Panics
/// If they differ more.
pub fn precision(name: &str, inputs: &[Tensor], f: impl Graph) {
    let narrow: Vec<Tensor> = inputs
        .iter()
        .map(|t| if t.dtype() == DType::F64 { t.to_dtype(DType::F32).expect("f64 to f32") } else { t.clone() })
        .collect();
    let wide: Vec<Tensor> = narrow
        .iter()
        .map(|t| if t.dtype() == DType::F32 { t.to_dtype(DType::F64).expect("f32 to f64") } else { t.clone() })
        .collect();
    let all = |inputs: &[Tensor], gpu: Option<&Gpu>| {
        let inputs: Vec<Tensor> = inputs.iter().map(|t| moved(t, gpu)).collect();
        let (tape, leaves, y) = run(Keep::BACKWARD, &Mode::Eval, &inputs, &f);
        let dy = Random::new(23).normal(y.shape()).to_dtype(y.value.dtype()).expect("a float type");
        let dy = moved(&dy, gpu);
        let rows: Vec<u32> = (0..y.shape()[0] as u32).collect();
        let want: Vec<usize> = leaves.iter().filter_map(|v| v.node).collect();
        let grads = tape.backward(y.node.expect("depends on a leaf"), dy, &rows, &want).expect("backward runs");
        (numbers(&y.value), grads.iter().map(|g| g.as_ref().map(numbers)).collect::<Vec<_>>())
    };
    let (y64, g64) = all(&wide, None);
    for gpu in std::iter::once(None).chain(gpus().iter().map(Some)) {
        let name = gpu.map_or_else(|| name.to_string(), |gpu| format!("{name} on {}", gpu.about().name));
        let (y32, g32) = all(&narrow, gpu);
        nmse(&format!("{name}: value"), &y32, &y64, 1e-10);
        for (i, (a, b)) in g32.iter().zip(&g64).enumerate() {
            if let (Some(a), Some(b)) = (a, b) {
                nmse(&format!("{name}: gradient {i}"), a, b, 1e-10);
            }
        }
    }
}

/// A tensor on a GPU, or where it is.
fn moved(t: &Tensor, gpu: Option<&Gpu>) -> Tensor {
    gpu.map_or_else(|| t.clone(), |gpu| t.to_gpu(gpu).expect("a copy to the GPU"))
}

/// The elements of a tensor, wherever it is.
pub fn numbers(t: &Tensor) -> Vec<f64> {
    t.to_cpu().expect("a copy from the GPU").to_f64()
}

/// Compares the delta sweep with running the changed input, in f64 to 1e-9 of the largest effect. The first input
/// `[N, L, C]` changes on random windows, which include the ends and overhang them; the others are constants.
///
/// # Panics
/// If they differ.
pub fn delta(name: &str, inputs: &[Tensor], f: impl Graph) {
    let [n, l, c] = inputs[0].dims("check", "x [N, L, C]").expect("a sequence of rows");
    let narrow =
        |t: &Tensor| if t.dtype() == DType::U8 { t.clone() } else { t.to_dtype(DType::F32).expect("narrower") };
    let with = |tape: &mut Tape, x: Var, inputs: &[Tensor]| {
        let constants = inputs[1..].iter().map(|t| Var::constant(t.clone()));
        let all: Vec<Var> = std::iter::once(x).chain(constants).collect();
        f(tape, &all).expect("the computation under test runs")
    };
    let record = |inputs: &[Tensor]| {
        let mut tape = Tape::new(Keep::DELTA, Mode::Eval);
        let x = tape.leaf(inputs[0].clone());
        let y = with(&mut tape, x.clone(), inputs);
        (tape, x.node.expect("a leaf"), y.node.expect("depends on x"), y.value)
    };
    let (tape, from, to, y) = record(inputs);
    let on_gpus: Vec<_> = gpus()
        .iter()
        .map(|gpu| {
            let inputs: Vec<Tensor> = inputs.iter().map(|t| moved(&narrow(t), Some(gpu))).collect();
            (gpu, record(&inputs))
        })
        .collect();
    let mut r = Random::new(29);
    let base = inputs[0].to_f64();
    for width in [1, 2, l.div_ceil(2), l + 1] {
        let m = 7;
        let start: Vec<i32> = (0..m).map(|i| if i == 0 { -1 } else { r.below(l) as i32 }).collect();
        let rows: Vec<u32> = (0..m).map(|_| r.below(n) as u32).collect();
        let at = Window { start: start.into(), width, len: l };
        let noise = r.normal(&[width, m, c]).to_f64();
        let mut change = vec![0.0; noise.len()];
        let mut changed: Vec<f64> = rows.iter().flat_map(|&n| base[n as usize * l * c..][..l * c].to_vec()).collect();
        for (k, i, p) in at.cells() {
            for j in 0..c {
                change[k * c + j] = noise[k * c + j];
                changed[(i * l + p) * c + j] += noise[k * c + j];
            }
        }
        let change = Tensor::of(&[width, m, c], change);
        let seed = |change: Tensor| Delta { at: at.clone(), change: Change::Rows(change) };
        let name = format!("{name}, width {width}");
        let got = tape.delta(vec![(from, seed(change.clone()))], &rows, &[to]).expect("delta runs")[0].take();
        let naive = with(&mut Tape::predict(), Var::constant(Tensor::of(&[m, l, c], changed)), inputs).value;
        compare(&name, got.clone(), &y, &naive, &rows);
        for (gpu, (tape, from, to, y)) in &on_gpus {
            let seed = seed(moved(&narrow(&change), Some(gpu)));
            let found = tape.delta(vec![(*from, seed)], &rows, &[*to]).expect("delta runs")[0].take();
            let name = format!("{name} on {}", gpu.about().name);
            assert_eq!(got.is_some(), found.is_some(), "{name}: a change");
            if let (Some(got), Some(found)) = (&got, found) {
                let size = y.len() / n;
                nmse(&name, &spread(&found, size), &spread(got, size), 1e-10);
            }
        }
    }
}

/// Compares `product(produce(x))` with and without 16-bit operands between the two ([`Tape::for_products`]) on GPUs, in both
/// precisions of 16 bits: value, gradients of all inputs and the change of the output must have the same bits, and what passes
/// between them must be of 16 bits in the second case. The first input `[N, L, C]` changes; `produce` reads the first `own`
/// inputs, `product` what it made and the rest.
///
/// # Panics
/// If something differs.
pub fn operands(
    name: &str,
    mode: &Mode,
    inputs: &[Tensor],
    own: usize,
    produce: impl Graph,
    product: impl Fn(&mut Tape, &Var, &[Var]) -> Result<Var>,
) {
    let [n, l, c] = inputs[0].dims("check", "x [N, L, C]").expect("a sequence of rows");
    for (gpu, precision) in gpus().iter().flat_map(|gpu| [(gpu, Precision::Bf16), (gpu, Precision::F16)]) {
        let half = if precision == Precision::Bf16 { DType::BF16 } else { DType::F16 };
        let on_gpu = |t: &Tensor| moved(&t.to_dtype(DType::F32).expect("a float type"), Some(gpu));
        let inputs: Vec<Tensor> = inputs.iter().map(on_gpu).collect();
        let name = format!("{name}, {precision:?} on {}", gpu.about().name);
        // The tape, its leaves, what passes between the two, and the output.
        let record = |keep: Keep, mode: &Mode, operands: bool| {
            let mut tape = Tape::new(keep, mode.clone());
            tape.precision = precision;
            let leaves: Vec<Var> = inputs.iter().map(|t| tape.leaf(t.clone())).collect();
            let between = match operands {
                true => tape.for_products(|t| produce(t, &leaves[..own])),
                false => produce(&mut tape, &leaves[..own]),
            };
            let between = between.expect("the operation under test runs");
            assert_eq!(between.value.dtype(), if operands { half } else { DType::F32 }, "{name}: what a product reads");
            assert!(between.value.padding_is_zero().expect("a copy"), "{name}: padding");
            let y = product(&mut tape, &between, &leaves[own..]).expect("the product runs");
            (tape, leaves, between, y)
        };
        let gradients = |operands: bool| {
            let (tape, leaves, _, y) = record(Keep::BACKWARD, mode, operands);
            let dy = on_gpu(&Random::new(23).normal(y.shape()));
            let want: Vec<usize> = leaves.iter().filter_map(|v| v.node).collect();
            let rows: Vec<u32> = (0..y.shape()[0] as u32).collect();
            let grads = tape.backward(y.node.expect("a node"), dy, &rows, &want).expect("backward runs");
            let grads = grads.iter().map(|g| g.as_ref().map(numbers));
            std::iter::once(Some(numbers(&y.value))).chain(grads).collect::<Vec<_>>()
        };
        assert_eq!(gradients(true), gradients(false), "{name}: value and gradients");
        if *mode != Mode::Eval {
            continue;
        }
        for width in [1, l.div_ceil(2), l + 1] {
            let start: Arc<[i32]> = [-1, 0, l as i32 - 1, l as i32 / 2].into();
            let rows: Vec<u32> = (0..4).map(|i| i % n as u32).collect();
            let change = on_gpu(&Random::new(31).normal(&[width, 4, c]));
            let seed = Delta { at: Window { start, width, len: l }, change: Change::Rows(change) };
            let seed = seed.placed(&seed.at).expect("rows move");
            let changes = |operands: bool| {
                let (tape, leaves, between, y) = record(Keep::DELTA, mode, operands);
                let want = [between.node.expect("a node"), y.node.expect("a node")];
                let seeds = vec![(leaves[0].node.expect("a leaf"), seed.clone())];
                let mut found = tape.delta(seeds, &rows, &want).expect("delta runs");
                let [between, y] = [0, 1].map(|i| found[i].take().expect("a change"));
                let rows_between = between.rows().expect("rows");
                assert!(rows_between.padding_is_zero().expect("a copy"), "{name}: padding of the change");
                let dtype = rows_between.dtype();
                assert_eq!(dtype, if operands { half } else { DType::F32 }, "{name}: the change that a product reads");
                // A sweep that is cut here, and its mutants grouped anew: joined, sums of two, one by one.
                let list: Vec<Delta> = (0..4).map(|m| between.select(&[m]).expect("a selection")).collect();
                let joined = Delta::join(&list).expect("a join");
                assert_eq!(
                    numbers(joined.rows().expect("rows")),
                    numbers(between.rows().expect("rows")),
                    "{name}: joined again"
                );
                let again = tape.delta(vec![(want[0], joined)], &rows, &want[1..]).expect("delta runs").remove(0);
                let again = again.expect("a change");
                let y = spread(&y, y.at.len * y.rows().expect("rows").shape()[2]);
                assert_eq!(y, spread(&again, y.len() / 4), "{name}: from the middle on");
                y
            };
            assert_eq!(changes(true), changes(false), "{name}: change of width {width}");
        }
    }
}

/// The changes of a node of `size` elements a row of the tape, `[M, size]`, zero outside of the windows.
fn spread(d: &Delta, size: usize) -> Vec<f64> {
    let c = size / d.at.len;
    let mut all = vec![0.0; d.at.mutants() * size];
    let rows = numbers(d.rows().expect("rows"));
    for (k, i, p) in d.at.cells() {
        all[i * size + p * c..][..c].copy_from_slice(&rows[k * c..][..c]);
    }
    all
}

/// Compares the changes `got` of `y` (mutant m of tape row `rows[m]`) with `naive - y`.
///
/// # Panics
/// If they differ by more than 1e-9 of the largest change.
pub fn compare(name: &str, got: Option<Delta>, y: &Tensor, naive: &Tensor, rows: &[u32]) {
    let (m, size) = (rows.len(), y.len() / y.shape()[0]);
    let dense = got.map_or_else(|| vec![0.0; m * size], |got| spread(&got, size));
    let (y, naive) = (y.to_f64(), naive.to_f64());
    let want: Vec<f64> = (0..m * size).map(|i| naive[i] - y[rows[i / size] as usize * size + i % size]).collect();
    // Naive differences carry the rounding of the activations, delta only that of the change.
    let scale = y.iter().fold(0f64, |a, b| a.max(b.abs()));
    let largest = want.iter().fold(1e-4 * scale, |a, b| a.max(b.abs()));
    for (i, (g, w)) in dense.iter().zip(&want).enumerate() {
        assert!(
            (g - w).abs() <= 1e-9 * largest,
            "{name}: mutant {}, element {}: delta {g:e}, naive {w:e}, largest effect {largest:e}",
            i / size,
            i % size
        );
    }
}

/// # Panics
/// If an element differs by more than `tolerance` of the largest.
pub fn close(name: &str, got: &[f64], want: &[f64], tolerance: f64) {
    assert_eq!(got.len(), want.len(), "{name}: lengths");
    let scale = want.iter().fold(1e-300f64, |a, b| a.max(b.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!(
            (g - w).abs() <= tolerance * scale || (g.is_nan() && w.is_nan()),
            "{name}, element {i}: {g:e} instead of {w:e} ({:e} of the largest)",
            (g - w).abs() / scale
        );
    }
}

/// # Panics
/// If the normalised mean square error exceeds `limit`.
pub fn nmse(name: &str, got: &[f64], want: &[f64], limit: f64) {
    assert_eq!(got.len(), want.len(), "{name}: lengths");
    let power: f64 = want.iter().map(|w| w * w).sum();
    let error: f64 = got.iter().zip(want).map(|(g, w)| (g - w) * (g - w)).sum();
    assert!(error <= limit * power, "{name}: normalised mean square error {:e}", error / power);
}

#[cfg(test)]
mod tests {
    #[test]
    fn checks_on_gpus_are_said_to_be_left_out() {
        if let Some(why) = super::skipped() {
            assert!(super::gpus().is_empty() && why.starts_with("cuda:0: "), "{why}");
            eprintln!("skipped on a GPU, here and in all tests of operations: {why}");
        }
    }
}
