//! Solutions against scikit-learn 1.9.1, numpy 2.4, and against the conditions of a minimum.
//!
//! The numbers come from (after `pip install scikit-learn`):
//! ```python
//! import numpy as np
//! from sklearn.linear_model import Ridge, Lasso, ElasticNet, LogisticRegression
//! i = np.arange(12)[:, None]; j = np.arange(5)[None]
//! X = ((7*i + 5*j*j + 3*i*j) % 11).astype(float); X[:, 3] = 2
//! Y = np.stack([((5*i[:, 0]**2 + 1) % 13) / 4, X[:, 0] - .5*X[:, 1] + ((3*i[:, 0]) % 7) / 7], 1)
//! L = (Y[:, 0] > 1.4).astype(float)
//! Xw = X.T; yw = np.arange(5)**2 / 4; lw = np.array([0, 1, 1, 0, 1.])      # more features than rows
//! ```
//! and the calls beside them.

use super::*;
use crate::util::philox::Philox;

const N: usize = 12;
const F: usize = 5;

fn x() -> Vec<f64> {
    let at = |i: usize, j: usize| if j == 3 { 2.0 } else { ((7 * i + 5 * j * j + 3 * i * j) % 11) as f64 };
    (0..N).flat_map(|i| (0..F).map(move |j| at(i, j))).collect()
}

fn y() -> Vec<f64> {
    let x = x();
    let at =
        |i: usize| [((5 * i * i + 1) % 13) as f64 / 4.0, x[i * F] - 0.5 * x[i * F + 1] + ((3 * i) % 7) as f64 / 7.0];
    (0..N).flat_map(at).collect()
}

fn turned(x: &[f64], width: usize) -> Vec<f64> {
    (0..width).flat_map(|j| x.iter().skip(j).step_by(width).copied()).collect()
}

fn names(n: usize) -> Vec<String> {
    (0..n).map(|i| format!("t{i}")).collect()
}

const NONE: Rows<'_> = Rows { features: &[], targets: &[] };

fn fixed(x: &[f64], y: &[f64], tracks: usize, kind: Kind, alpha: f64) -> Fit {
    let settings = Settings { kind, strength: Strength::Fixed(alpha), standardize: false };
    fit(Rows { features: x, targets: y }, NONE, &names(tracks), settings).unwrap()
}

#[track_caller]
fn near(found: &[f64], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    let close = |(a, b): (&f64, &f64)| (a.is_nan() && b.is_nan()) || (a - b).abs() < tolerance;
    assert!(found.iter().zip(expected).all(close), "{found:?}\n{expected:?}");
}

#[test]
fn ridge_is_that_of_scikit_learn() {
    let wide = turned(&x(), F);
    let yw: Vec<f64> = (0..F).map(|i| (i * i) as f64 / 4.0).collect();
    // m = Ridge(alpha=.5).fit(X, Y); m.coef_, m.intercept_
    let half = fixed(&x(), &y(), 2, Kind::Ridge, 0.5);
    #[rustfmt::skip]
    near(&half.coefficients, &[
        -0.012495794115147826, 0.11760637326124068, -0.05640515308425478, 0.0, 0.07800459182731505,
        1.0114948376169137, -0.5015053119663384, -0.0025210640796566645, 0.0, 0.012607060916099406,
    ], 1e-13);
    near(&half.intercepts, &[1.1638791460055602, 0.3478296252273836], 1e-13);
    // Ridge(alpha=3).fit(Xw, yw)
    let dual = fixed(&wide, &yw, 1, Kind::Ridge, 3.0);
    #[rustfmt::skip]
    near(&dual.coefficients, &[
        -0.05037817906627286, -0.12928048215208815, 0.1548172567136217, -0.08238914823659665, -0.12381511152122032,
        0.1602826273444895, -0.13129572499229644, -0.014417586412517006, -0.055843549697140664, 0.03247374750297445,
        -0.008952215781649203, -0.05037817906627286,
    ], 1e-13);
    near(&dual.intercepts, &[2.8257350574300553], 1e-13);
    // s = X.std(0); s[3] = 1; m = Ridge(alpha=2).fit((X - X.mean(0)) / s, Y[:, 0]); m.coef_ / s
    let settings = Settings { kind: Kind::Ridge, strength: Strength::Fixed(2.0), standardize: true };
    let scaled = fit(Rows { features: &x(), targets: &y() }, NONE, &names(2), settings).unwrap();
    let expected = [-0.004549435132862757, 0.0990888935094036, -0.042545437198193294, 0.0, 0.0605785649010887];
    near(&scaled.coefficients[..F], &expected, 1e-13);
    near(&scaled.intercepts[..1], &[1.2303530448470386], 1e-13);
}

#[test]
fn z_without_a_penalty_is_t_of_least_squares() {
    let nan = f64::NAN;
    let keep: Vec<f64> = x().chunks_exact(F).flat_map(|r| [r[0], r[1], r[2], r[4]]).collect();
    // A = np.column_stack([np.ones(12), X[:, [0, 1, 2, 4]]]); b = np.linalg.lstsq(A, Y[:, 0])[0]; r = Y[:, 0] - A @ b
    // (b / np.sqrt(r @ r / 7 * np.diag(np.linalg.inv(A.T @ A))))[1:]
    let free = fixed(&keep, &y(), 2, Kind::Ridge, 0.0);
    near(&free.z[..4], &[-0.14839165991420453, 1.317380971796798, -0.6196989643849234, 0.8232001417440532], 1e-11);
    // inv = np.linalg.inv(Xc.T @ Xc + 20 * np.eye(4)); w = inv @ Xc.T @ yc; r = yc - Xc @ w
    // w / np.sqrt(r @ r / (11 - np.trace(Xc @ inv @ Xc.T)) * np.diag(inv)), Xc and yc centred
    let strong = fixed(&x(), &y(), 2, Kind::Ridge, 20.0);
    let expected = [-0.05871532429826659, 1.2339610515337778, -0.5345659340984233, nan, 0.7273837219223741];
    near(&strong.z[..F], &expected, 1e-12);
    let yw: Vec<f64> = (0..F).map(|i| (i * i) as f64 / 4.0).collect();
    // the same with Xw, yw, alpha 3 and 4 - trace
    let dual = fixed(&turned(&x(), F), &yw, 1, Kind::Ridge, 3.0);
    #[rustfmt::skip]
    near(&dual.z, &[
        -0.3076835117632665, -0.7596310561124092, 0.9512902556666023, -0.537827382578422, -0.7602441739855695,
        1.1776597992625408, -0.8727741338021922, -0.09173363389368883, -0.33466420950116005, 0.19882420371238557,
        -0.04855616745728747, -0.3076835117632648,
    ], 1e-11);
}

#[test]
fn lasso_and_elastic_net_are_those_of_scikit_learn() {
    let y0: Vec<f64> = y().iter().step_by(2).copied().collect();
    let y1: Vec<f64> = y().iter().skip(1).step_by(2).copied().collect();
    // Lasso(alpha=.05, tol=1e-15, max_iter=10**6).fit(X, Y[:, 1]), and with .4
    let weak = fixed(&x(), &y1, 1, Kind::Elastic(1.0), 0.05);
    near(&weak.coefficients, &[1.0120253896240439, -0.4989719259502676, 0.0, 0.0, 0.0067217145369524445], 1e-5);
    near(&weak.intercepts, &[0.3477311641887244], 1e-4);
    let strong = fixed(&x(), &y1, 1, Kind::Elastic(1.0), 0.4);
    near(&strong.coefficients, &[0.9780611599804923, -0.4580658562577895, 0.0, 0.0, 0.0], 1e-5);
    assert_eq!(strong.coefficients[2..], [0.0; 3]);
    // ElasticNet(alpha=.3, l1_ratio=.4, tol=1e-15, max_iter=10**6).fit(X, Y[:, 0])
    let elastic = fixed(&x(), &y0, 1, Kind::Elastic(0.4), 0.3);
    near(&elastic.coefficients, &[0.0, 0.09940513787760671, -0.034358711741809475, 0.0, 0.053570933122942546], 1e-5);
    near(&elastic.intercepts, &[1.1981279298073946], 1e-4);
    assert!(elastic.z.is_empty() && elastic.gaps[0] <= 1e-9);
}

#[test]
fn logistic_is_that_of_scikit_learn() {
    let labels: Vec<f64> = y().iter().step_by(2).map(|v| f64::from(u8::from(*v > 1.4))).collect();
    // LogisticRegression(C=1/alpha, tol=1e-12, max_iter=10**5, solver='newton-cholesky').fit(X, L)
    let weak = fixed(&x(), &labels, 1, Kind::Logistic, 0.5);
    let expected = [-0.10273897034422076, 0.13659324551437044, -0.26553959148086, 0.0, 0.13111374786389302];
    near(&weak.coefficients, &expected, 1e-9);
    near(&weak.intercepts, &[1.8478990969033386], 1e-9);
    let strong = fixed(&x(), &labels, 1, Kind::Logistic, 10.0);
    let expected = [-0.04201374604392591, 0.07547107364839685, -0.1448540435099628, 0.0, 0.055560458471877974];
    near(&strong.coefficients, &expected, 1e-9);
    // LogisticRegression(C=1/2, tol=1e-14, max_iter=10**6).fit(Xw, lw)
    let wide = fixed(&turned(&x(), F), &[0.0, 1.0, 1.0, 0.0, 1.0], 1, Kind::Logistic, 2.0);
    #[rustfmt::skip]
    near(&wide.coefficients, &[
        0.21385256901703467, -0.15700235039557142, 0.14526979086917208, -0.13132938470630195, -0.10158776825207766,
        0.20068437301266587, 0.19321049780222443, 0.12869637041931664, 0.1584379868735409, 0.15436933610858614,
        0.18411095256281038, 0.21385256901703467,
    ], 1e-7);
    near(&wide.intercepts, &[-5.158049683358891], 1e-6);
}

/// Features with correlations, and targets of a few of them.
fn random(n: usize, features: usize, tracks: usize, seed: u64) -> (Vec<f64>, Vec<f64>) {
    let mut random = Philox::new(seed, 0);
    let x: Vec<f64> = (0..n)
        .flat_map(|_| {
            let shared = random.normal();
            (0..features).map(|_| (2.0 * (random.normal() + 0.7 * shared)).round()).collect::<Vec<_>>()
        })
        .collect();
    let y = (0..n * tracks)
        .map(|k| {
            let (row, t) = (&x[k / tracks * features..], k % tracks);
            row[t] - 0.6 * row[(t + 3) % features] + random.normal()
        })
        .collect();
    (x, y)
}

#[test]
fn minima_fulfil_their_conditions() {
    for (n, features, ratio, alpha) in [(60, 20, 1.0, 0.1), (25, 40, 1.0, 0.3), (30, 31, 0.5, 0.2)] {
        let (x, y) = random(n, features, 1, 4);
        let found = fixed(&x, &y, 1, Kind::Elastic(ratio), alpha);
        let (w, b) = (&found.coefficients, found.intercepts[0]);
        let rest: Vec<f64> = y.iter().zip(x.chunks_exact(features)).map(|(y, r)| y - b - solve::dot(r, w)).collect();
        assert!(rest.iter().sum::<f64>().abs() < 1e-9 * n as f64);
        assert!(w.contains(&0.0) && w.iter().any(|w| *w != 0.0));
        for (j, &w) in w.iter().enumerate() {
            let slope = x.iter().skip(j).step_by(features).zip(&rest).map(|(x, r)| x * r).sum::<f64>() / n as f64;
            let pull = slope - alpha * (1.0 - ratio) * w;
            match w == 0.0 {
                true => assert!(pull.abs() <= alpha * ratio + 1e-4, "{j}: {pull}"),
                false => assert!((pull - alpha * ratio * w.signum()).abs() < 1e-3, "{j}: {pull}"),
            }
        }
    }
}

#[test]
fn primal_and_dual_ridge_agree() {
    let (n, features) = (20, 30);
    let (x, y) = random(n, features, 2, 8);
    let dual = fixed(&x, &y, 2, Kind::Ridge, 1.5);
    // Rows twice with twice the penalty have the same solution, and are more than the features.
    let primal = fixed(&[x.clone(), x].concat(), &[y.clone(), y].concat(), 2, Kind::Ridge, 3.0);
    near(&dual.coefficients, &primal.coefficients, 1e-11);
    near(&dual.intercepts, &primal.intercepts, 1e-11);
}

#[test]
fn strength_is_chosen_where_validation_is_best() {
    let (x, y) = random(120, 40, 3, 11);
    let (train, validation) = (
        Rows { features: &x[..60 * 40], targets: &y[..60 * 3] },
        Rows { features: &x[60 * 40..], targets: &y[60 * 3..] },
    );
    for kind in [Kind::Ridge, Kind::Elastic(1.0)] {
        let run =
            |strength| fit(train, validation, &names(3), Settings { kind, strength, standardize: false }).unwrap();
        let each = run(Strength::PerTrack);
        let shared = run(Strength::Shared);
        assert!(shared.alphas.iter().all(|a| *a == shared.alphas[0]));
        let mean = |f: &Fit| f.validation.iter().sum::<f64>() / 3.0;
        for factor in [0.6, 1.0 / 0.6] {
            assert!(mean(&shared) >= mean(&run(Strength::Fixed(shared.alphas[0] * factor))) - 1e-6, "{kind:?}");
            for t in 0..3 {
                let near = run(Strength::Fixed(each.alphas[t] * factor));
                assert!(each.validation[t] >= near.validation[t] - 1e-6, "{kind:?} {t}");
            }
        }
        assert!(each.validation.iter().all(|r| *r > 0.6), "{:?}", each.validation);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(pool.install(|| run(Strength::PerTrack)), each);
    }
    let labels: Vec<f64> = y.iter().map(|v| f64::from(u8::from(*v > 0.0))).collect();
    let settings = Settings { kind: Kind::Logistic, strength: Strength::PerTrack, standardize: true };
    let (train, validation) =
        (Rows { targets: &labels[..60 * 3], ..train }, Rows { targets: &labels[60 * 3..], ..validation });
    let found = fit(train, validation, &names(3), settings).unwrap();
    assert!(found.validation.iter().all(|a| *a > 0.75), "{:?}", found.validation);
}

#[test]
fn missing_values_leave_their_rows_out() {
    let (x, mut y) = random(30, 6, 2, 2);
    let whole = fixed(&x, &y, 2, Kind::Ridge, 1.0);
    y[1] = f64::NAN;
    y[59] = f64::NAN;
    let part = fixed(&x, &y, 2, Kind::Ridge, 1.0);
    assert_eq!(part.coefficients[..6], whole.coefficients[..6]);
    let second: Vec<f64> = y.iter().skip(1).step_by(2).copied().collect();
    let alone = fixed(&x[6..29 * 6], &second[1..29], 1, Kind::Ridge, 1.0);
    near(&part.coefficients[6..], &alone.coefficients, 1e-13);
}

#[test]
fn data_that_say_nothing() {
    let (x, _) = random(30, 6, 1, 2);
    // A constant track has no slopes, in any model, and no alpha is better than another.
    for kind in [Kind::Ridge, Kind::Elastic(1.0)] {
        let flat = [0.1; 30];
        let rows = Rows { features: &x, targets: &flat };
        for strength in [Strength::Fixed(0.5), Strength::Shared, Strength::PerTrack] {
            let found = fit(rows, rows, &names(1), Settings { kind, strength, standardize: true }).unwrap();
            assert_eq!((found.coefficients, found.intercepts), (vec![0.0; 6], vec![0.1]), "{kind:?}");
            assert!(found.validation[0].is_nan() && found.z.iter().all(|z| z.is_nan()));
        }
        // Constant features, no features, one row.
        let found = fixed(&[2.0; 30 * 2], &x[..30], 1, kind, 0.5);
        assert_eq!(found.coefficients, [0.0; 2]);
        assert!((found.intercepts[0] - x[..30].iter().sum::<f64>() / 30.0).abs() < 1e-14);
        assert_eq!(fixed(&[], &[1.0, 3.0], 1, kind, 0.5).intercepts, [2.0]);
        assert_eq!(fixed(&[1.0, 2.0], &[3.0], 1, kind, 0.5).intercepts, [3.0]);
    }
}

#[test]
fn what_cannot_be_fitted_is_refused() {
    let (x, y) = random(8, 3, 1, 2);
    let rows = Rows { features: &x, targets: &y };
    let text = |rows, kind, strength| {
        fit(rows, NONE, &names(1), Settings { kind, strength, standardize: false }).unwrap_err().to_string()
    };
    assert!(text(rows, Kind::Ridge, Strength::Shared).contains("needs validation rows"));
    assert!(text(rows, Kind::Ridge, Strength::Fixed(-1.0)).contains("alpha of 0 or more, found -1"));
    assert!(text(rows, Kind::Elastic(1.0), Strength::Fixed(0.0)).contains("alpha above 0"));
    assert!(text(rows, Kind::Elastic(0.0), Strength::Fixed(1.0)).contains("ratio above 0"));
    assert!(text(rows, Kind::Logistic, Strength::Fixed(1.0)).contains("track 't0' is not so"));
    assert!(text(NONE, Kind::Ridge, Strength::Fixed(1.0)).contains("found none"));
    let ones = Rows { targets: &[1.0; 8], ..rows };
    assert!(text(ones, Kind::Logistic, Strength::Fixed(1.0)).contains("both present"));
    let missing = Rows { targets: &[f64::NAN; 8], ..rows };
    assert!(text(missing, Kind::Ridge, Strength::Fixed(1.0)).contains("'t0' has no measurement"));
    let endless = Rows { targets: &[f64::INFINITY; 8], ..rows };
    assert!(text(endless, Kind::Ridge, Strength::Fixed(1.0)).contains("value inf"));
    let twice: Vec<f64> = x.chunks_exact(3).flat_map(|r| [r[0], r[0]]).collect();
    let singular = Rows { features: &twice, targets: &y };
    assert!(text(singular, Kind::Ridge, Strength::Fixed(0.0)).contains("no unique solution"));
}
