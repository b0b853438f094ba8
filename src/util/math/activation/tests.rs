//! Values, slopes and differences against the standard library and the fixtures; bits against place, length and level.

use super::*;
use crate::util::simd::{Level, at_every_level};

const ALL: [Activation; 16] = [
    Activation::Relu,
    Activation::ReluNonZero,
    Activation::Gelu,
    Activation::Sigmoid,
    Activation::Tanh,
    Activation::Sin,
    Activation::Identity,
    Activation::Clamp,
    Activation::Exp,
    Activation::ExpMax,
    Activation::Squared,
    Activation::Third,
    Activation::ClampedRelu,
    Activation::ClampedGelu,
    Activation::Silu,
    Activation::Softplus,
];

/// f in f64 by the standard library alone, except that Phi is ours (tested against a table in `float`).
fn reference(a: Activation, x: f64) -> f64 {
    use crate::util::simd::Portable;
    let gelu = |x: f64| 0.5 * x * Float::erfc::<Portable>(-x / 2f64.sqrt());
    match a {
        Activation::Relu => x.max(0.0),
        Activation::ReluNonZero => x.max(0.0) + 0.01,
        Activation::Gelu => gelu(x),
        Activation::Sigmoid => 1.0 / (1.0 + f64::exp(-x)),
        Activation::Tanh => f64::tanh(x),
        Activation::Sin => f64::sin(x),
        Activation::Identity => x,
        Activation::Clamp => x.clamp(-2056.0, 2056.0),
        Activation::Exp => f64::exp(x.min(32.0 * std::f64::consts::LN_2)),
        Activation::ExpMax => f64::exp(x.min(f64::ln(128.0))),
        Activation::Squared => x.min(f64::sqrt(128.0)).powi(2),
        Activation::Third => x.min(f64::cbrt(128.0)).powi(3),
        Activation::ClampedRelu => x.clamp(0.0, 2056.0),
        Activation::ClampedGelu => gelu(x).min(2056.0),
        Activation::Silu => x / (1.0 + f64::exp(-x)),
        Activation::Softplus => x.max(0.0) + f64::ln_1p(f64::exp(-x.abs())),
    }
}

fn grid(step: f64, end: f64) -> Vec<f64> {
    (0..=(2.0 * end / step) as i64).map(|i| -end + i as f64 * step).collect()
}

fn narrow(x: &[f64]) -> Vec<f32> {
    x.iter().map(|v| *v as f32).collect()
}

#[test]
fn names_round_trip_and_unknown_ones_say_the_nearest() {
    for a in ALL {
        assert_eq!(Activation::parse(a.name()).unwrap(), a);
    }
    assert_eq!(Activation::parse("Linear").unwrap(), Activation::Identity);
    let e = Activation::parse("gelu").unwrap_err().to_string();
    assert!(e.starts_with("unknown activation 'gelu' (did you mean 'GELU'?); known are ReLU, "), "{e}");
}

#[test]
fn values_are_those_of_the_standard_library() {
    let x = narrow(&grid(0.0137, 30.0));
    let wide: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
    at_every_level(|level| {
        for a in ALL {
            let (mut y, mut z) = (vec![0.0f32; x.len()], vec![0.0f64; x.len()]);
            a.value(&x, &mut y);
            a.value(&wide, &mut z);
            for i in 0..x.len() {
                let expected = reference(a, wide[i]);
                // rounding of the square is a relative error of the exponential in the tail of Phi
                let limit64 = if matches!(a, Activation::Gelu | Activation::ClampedGelu) { 2e-14 } else { 2e-15 };
                // exponentials of the f32 bound differ from those of the f64 bound by its rounding
                let limit = if a == Activation::Exp || limit64 > 1e-14 { 1.5e-6 } else { 5e-7 };
                assert!(
                    (f64::from(y[i]) - expected).abs() <= limit * expected.abs().max(1e-7),
                    "{a:?} {level:?} {} {}",
                    x[i],
                    y[i]
                );
                assert!(
                    (z[i] - expected).abs() <= limit64 * expected.abs().max(1e-9),
                    "{a:?} {level:?} {} {} {expected}",
                    x[i],
                    z[i]
                );
            }
        }
    });
}

#[test]
fn gelu_f32_stays_within_the_promise() {
    let x = narrow(&grid(0.00071, 16.0));
    let (mut y, mut g, one) = (vec![0.0f32; x.len()], vec![0.0f32; x.len()], vec![1.0f32; x.len()]);
    let wide: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
    let (mut g64, one64) = (vec![0.0f64; x.len()], vec![1.0f64; x.len()]);
    Activation::Gelu.gradient(&wide, &one64, &mut g64);
    at_every_level(|level| {
        Activation::Gelu.value(&x, &mut y);
        Activation::Gelu.gradient(&x, &one, &mut g);
        let (mut worst, mut worst_slope) = (0.0f64, 0.0f64);
        for i in 0..x.len() {
            worst = worst.max((f64::from(y[i]) - reference(Activation::Gelu, wide[i])).abs() / wide[i].abs().max(1.0));
            worst_slope = worst_slope.max((f64::from(g[i]) - g64[i]).abs());
        }
        println!("GELU {level:?}: value {worst:.2e}, slope {worst_slope:.2e}");
        assert!(worst < 8e-8 && worst_slope < 1.6e-7, "{level:?} {worst:e} {worst_slope:e}");
    });
}

#[test]
fn slopes_are_central_differences() {
    // off the kinks and bounds by more than the step
    let x: Vec<f64> = grid(0.0731, 12.0).into_iter().filter(|x| x.abs() > 1e-3).collect();
    let h = 1e-4;
    for a in ALL {
        let (mut g, one) = (vec![0.0; x.len()], vec![1.0; x.len()]);
        a.gradient(&x, &one, &mut g);
        for (x, g) in x.iter().zip(&g) {
            let f = |k: f64| reference(a, x + k * h);
            let numeric = (8.0 * (f(1.0) - f(-1.0)) - (f(2.0) - f(-2.0))) / (12.0 * h);
            assert!((g - numeric).abs() < 1e-7 * reference(a, *x).abs().max(1.0), "{a:?} {x} {g} {numeric}");
        }
    }
}

#[test]
fn differences_are_relative_to_the_change() {
    // exact difference at f64: the same forms, checked against plain subtraction where that has digits, and by additivity
    // f(z + d) - f(z) = sum over ten small steps where it has not
    let z = narrow(&grid(0.113, 11.0));
    let sizes = [1e-8f32, 1e-6, 1e-4, 0.003, 0.049, 0.0501, 0.3, 1.0, 1.1, 10.0];
    at_every_level(|level| {
        for a in ALL {
            for d in sizes.iter().flat_map(|d| [*d, -*d]) {
                let step = vec![d; z.len()];
                let mut out = vec![0.0f32; z.len()];
                a.difference(&z, &step, &mut out);
                let wide: Vec<f64> = z.iter().map(|v| f64::from(*v)).collect();
                let step = vec![f64::from(d); z.len()];
                let mut exact = vec![0.0f64; z.len()];
                a.difference(&wide, &step, &mut exact);
                for i in 0..z.len() {
                    let scale = f64::from(d).abs() * steepest(a, wide[i], f64::from(d));
                    let error = (f64::from(out[i]) - exact[i]).abs();
                    // e^(-z^2 / 2) magnifies the rounding of z by z^2; around a flat minimum two parts of size d cancel
                    let flat = if wide[i].abs() < 3.0 { 1.5e-6 * f64::from(d).abs() } else { 0.0 };
                    let limit = (2e-6 * scale * (1.0 + wide[i] * wide[i] / 4.0)).max(flat);
                    assert!(error <= limit, "{a:?} {level:?} f32 z {} d {d}: {} {}", z[i], out[i], exact[i]);
                    let (high, low) = (reference(a, wide[i] + f64::from(d)), reference(a, wide[i]));
                    let rounding = 1e-15 * (high.abs() + low.abs() + wide[i].abs() * scale / f64::from(d).abs());
                    let error = (exact[i] - (high - low)).abs();
                    assert!(
                        error <= 1e-12 * scale + rounding,
                        "{a:?} {level:?} f64 z {} d {d}: {} {}",
                        z[i],
                        exact[i],
                        high - low
                    );
                }
            }
        }
    });
}

/// A bound on |f'| between z and z + d, at least 1e-9.
fn steepest(a: Activation, z: f64, d: f64) -> f64 {
    let x: Vec<f64> = (0..=64).map(|i| z + d * f64::from(i) / 64.0).collect();
    let (mut g, one) = (vec![0.0; x.len()], vec![1.0; x.len()]);
    a.gradient(&x, &one, &mut g);
    g.iter().fold(1e-9, |m, v| v.abs().max(m))
}

#[test]
fn gelu_taylor_meets_the_closed_form_at_the_cut() {
    for z in grid(0.01, 8.0) {
        for cut in [1e-3, -1e-3] {
            let mut out = [cut * (1.0 - 1e-12), cut];
            Activation::Gelu.difference_in_place(&[z, z], &mut out);
            assert!((out[0] - out[1]).abs() < 3e-15, "{z}: {out:?}");
        }
    }
}

fn bits<T: Float>(x: &[T]) -> Vec<u64> {
    x.iter().map(|v| v.f64().to_bits()).collect()
}

fn every_function<T: Float>(a: Activation, x: &[T], b: &[T], dy: &[T]) -> Vec<Vec<T>> {
    let mut out = vec![vec![T::ONE; x.len()]; 8];
    a.value(x, &mut out[0]);
    out[1].copy_from_slice(x);
    a.value_in_place(&mut out[1]);
    a.gradient(x, dy, &mut out[2]);
    a.gradient_add(x, dy, &mut out[3]);
    out[4].copy_from_slice(dy);
    a.gradient_in_place(x, &mut out[4]);
    a.difference(x, b, &mut out[5]);
    out[6].copy_from_slice(b);
    a.difference_in_place(x, &mut out[6]);
    a.quotient(x, b, dy, &mut out[7]);
    out
}

fn independent_of_place<T: Float>() {
    let n = 203;
    let x: Vec<T> = (0..n).map(|i| T::of((f64::from(i) * 0.7).sin() * 9.0)).collect();
    let b: Vec<T> = (0..n).map(|i| T::of((f64::from(i) * 0.3).cos() * 10f64.powi(i % 7 - 5))).collect();
    let dy: Vec<T> = (0..n).map(|i| T::of(f64::from(i % 5) - 1.7)).collect();
    at_every_level(|level| {
        for a in ALL {
            let whole = every_function(a, &x, &b, &dy);
            assert_eq!(bits(&whole[0]), bits(&whole[1]), "{a:?} in place");
            assert_eq!(bits(&whole[2]), bits(&whole[4]), "{a:?} in place");
            assert_eq!(bits(&whole[5]), bits(&whole[6]), "{a:?} in place");
            for (from, to) in [(0, 1), (1, 2), (3, 70), (5, 200), (64, 128), (63, 64), (0, 202), (101, 203)] {
                let part = every_function(a, &x[from..to], &b[from..to], &dy[from..to]);
                for (k, (part, whole)) in part.iter().zip(&whole).enumerate() {
                    assert_eq!(bits(part), bits(&whole[from..to]), "{a:?} {level:?} function {k}, {from}..{to}");
                }
            }
        }
    });
}

#[test]
fn bits_do_not_depend_on_place_or_length() {
    independent_of_place::<f32>();
    independent_of_place::<f64>();
}

#[test]
fn fused_levels_have_the_same_bits() {
    let x = narrow(&grid(0.0931, 9.0));
    let b: Vec<f32> = x.iter().map(|v| (v * 3.0).sin()).collect();
    let mut seen: Vec<Vec<Vec<Vec<u64>>>> = Vec::new();
    at_every_level(|level| {
        let all = ALL.map(|a| every_function(a, &x, &b, &b).iter().map(|v| bits(v)).collect()).to_vec();
        if level > Level::Portable {
            seen.push(all);
        }
    });
    assert!(seen.windows(2).all(|w| w[0] == w[1]));
}

#[test]
fn affine_forms_are_the_composition() {
    for channels in [1usize, 3, 64, 700, 1500] {
        let rows = 5;
        let x: Vec<f32> = (0..rows * channels).map(|i| (i as f32 * 0.37).sin() * 3.0).collect();
        let dy: Vec<f32> = x.iter().map(|v| v * v - 1.0).collect();
        let scale: Vec<f32> = (0..channels).map(|c| 0.5 + (c as f32).cos()).collect();
        let shift: Vec<f32> = (0..channels).map(|c| (c as f32 * 1.3).sin()).collect();
        let mut z = vec![0.0; x.len()];
        crate::util::math::affine(&x, &scale, &shift, &mut z);
        for i in 0..x.len() {
            let c = i % channels;
            assert!((z[i] - (scale[c] * x[i] + shift[c])).abs() < 1e-6, "{channels} {i}");
        }
        let (mut expected, mut found) = (z.clone(), z.clone());
        Activation::Gelu.value_in_place(&mut expected);
        Activation::Gelu.value_affine(&x, &scale, &shift, &mut found);
        assert_eq!(expected, found);
        Activation::Gelu.gradient(&z, &dy, &mut expected);
        Activation::Gelu.gradient_affine(&x, &scale, &shift, &dy, &mut found);
        assert_eq!(expected, found);
    }
    Activation::Gelu.value_affine::<f32>(&[], &[1.0], &[0.0], &mut []);
}

#[test]
fn nan_and_infinity() {
    for a in ALL {
        let mut y = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
        a.value_in_place(&mut y);
        assert!(y[0].is_nan(), "{a:?}");
        let expected = match a {
            Activation::Sin => continue,
            Activation::Gelu | Activation::Silu => [f32::INFINITY, 0.0],
            Activation::ClampedGelu => [2056.0, 0.0],
            Activation::Third | Activation::Squared => [128.0, a_power(a)],
            Activation::Exp => [2f32.powi(32), 0.0],
            Activation::ExpMax => [128.0, 0.0],
            _ => [reference(a, f64::INFINITY) as f32, reference(a, f64::NEG_INFINITY) as f32],
        };
        for (found, expected) in y[1..].iter().zip(expected) {
            let close = (found - expected).abs() <= 2e-6 * expected.abs() || *found == expected;
            assert!(close, "{a:?}: {y:?}, expected {expected}");
        }
        let mut slope = [1.0f32; 3];
        a.gradient_in_place(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY], &mut slope);
        assert!(!matches!(a, Activation::Gelu | Activation::Silu) || slope[1..] == [1.0, 0.0], "{a:?} {slope:?}");
        let mut d = [f32::NAN, 1.0];
        a.difference_in_place(&[0.5, f32::NAN], &mut d);
        assert!(d[0].is_nan() && (d[1].is_nan() || a.is_linear()), "{a:?} {d:?}");
        let mut d = [1e4f32, -1e4, 300.0, -300.0];
        a.difference_in_place(&[-1e4, 1e4, -200.0, 200.0], &mut d);
        assert!(d.iter().all(|v| v.is_finite()), "{a:?} {d:?}");
    }
}

fn a_power(a: Activation) -> f32 {
    if a == Activation::Third { f32::NEG_INFINITY } else { f32::INFINITY }
}

#[test]
fn quotients() {
    for a in ALL {
        let x = [1.5, 1.5, -0.3, 2.0, -3.0];
        let b = [1.5, 1.5 + 1e-8, 0.9, -2.5, -3.1];
        let dy = [2.0, 2.0, 1.0, -1.0, 0.5];
        let (mut q, mut slope) = ([0.0; 5], dy);
        a.quotient(&x, &b, &dy, &mut q);
        a.gradient_in_place(&x, &mut slope);
        assert_eq!(q[..2], slope[..2], "{a:?}");
        for i in 2..5 {
            let expected = dy[i] * (reference(a, x[i]) - reference(a, b[i])) / (x[i] - b[i]);
            assert!((q[i] - expected).abs() < 1e-12 * expected.abs().max(1.0), "{a:?} {i} {q:?} {expected}");
        }
    }
}

#[test]
fn activations_of_the_reference_implementation() {
    let shared = std::env::var("DRG_SHARED").unwrap_or_else(|_| format!("{}/../shared", env!("CARGO_MANIFEST_DIR")));
    let path = std::path::Path::new(&shared).join("fixtures/13_losses/io.npz");
    let Ok(file) = std::fs::File::open(&path) else {
        eprintln!("skipped: no {}", path.display());
        return;
    };
    let mut npz = ndarray_npy::NpzReader::new(file).unwrap();
    let mut read = |name: &str| npz.by_name::<ndarray::OwnedRepr<f32>, ndarray::Ix2>(name).unwrap();
    let (x, value, grad) = (read("act_x.npy"), read("act_value.npy"), read("act_grad.npy"));
    let names = "ReLU ReLUnonZero GELU Sigmoid Tanh Sin Id0 CLAMP Softmax EXPmax EXP SQUARED THIRD cReLU cGELU";
    let x = x.row(0).to_vec();
    at_every_level(|level| {
        for (i, name) in names.split(' ').enumerate().filter(|(_, name)| *name != "Softmax") {
            let (a, mut y, mut g) = (Activation::parse(name).unwrap(), vec![0.0; x.len()], vec![1.0; x.len()]);
            a.value(&x, &mut y);
            a.gradient_in_place(&x, &mut g);
            for k in 0..x.len() {
                let close = |found: f32, expected: f32| (found - expected).abs() <= 1e-6 * expected.abs().max(1.0);
                assert!(close(y[k], value[[i, k]]), "{name} {level:?} {}: {} {}", x[k], y[k], value[[i, k]]);
                assert!(close(g[k], grad[[i, k]]), "{name}' {level:?} {}: {} {}", x[k], g[k], grad[[i, k]]);
            }
        }
    });
}

/// `cargo test --lib -- --ignored --nocapture ns_per_element`: prints, asserts nothing.
#[test]
#[ignore = "timing"]
fn ns_per_element() {
    let n = 1 << 16;
    let x: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin() * 4.0).collect();
    let d: Vec<f32> = (0..n).map(|i| (i as f32 * 0.11).cos() * 0.2).collect();
    let mut y = vec![0.0f32; n];
    at_every_level(|level| {
        let mut time = |name: &str, f: &mut dyn FnMut(&mut [f32])| {
            let mut best = f64::INFINITY;
            for _ in 0..30 {
                let start = std::time::Instant::now();
                f(std::hint::black_box(&mut y));
                best = best.min(start.elapsed().as_secs_f64() / n as f64 * 1e9);
            }
            println!("{level:?} {name}: {best:.3} ns");
        };
        time("exp", &mut |y| crate::util::math::exp(&x, y));
        for a in ALL {
            time(&format!("{} value", a.name()), &mut |y| a.value(&x, y));
            time(&format!("{} gradient", a.name()), &mut |y| a.gradient(&x, &d, y));
            time(&format!("{} difference", a.name()), &mut |y| a.difference(&x, &d, y));
        }
    });
}
