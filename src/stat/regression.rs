//! How far predictions are from targets.

use super::describe::mean;

/// Mean squared error; `sklearn.metrics.mean_squared_error(target, prediction)`. NaN without points.
///
/// # Panics
/// If the lengths differ.
pub fn mse(target: &[f64], prediction: &[f64]) -> f64 {
    assert_eq!(target.len(), prediction.len(), "mse needs as many targets as predictions");
    target.iter().zip(prediction).map(|(t, p)| (t - p) * (t - p)).sum::<f64>() / target.len() as f64
}

/// Root of the mean squared error; `sklearn.metrics.root_mean_squared_error(target, prediction)`. NaN without points.
///
/// # Panics
/// If the lengths differ.
pub fn rmse(target: &[f64], prediction: &[f64]) -> f64 {
    mse(target, prediction).sqrt()
}

/// Coefficient of determination, `1 - sum (t - p)^2 / sum (t - mean t)^2`; `sklearn.metrics.r2_score(target, prediction)`.
/// For a constant target it is 1 if the prediction is perfect and 0 if not, as in scikit-learn; NaN with fewer than two
/// points.
///
/// # Panics
/// If the lengths differ.
pub fn r2(target: &[f64], prediction: &[f64]) -> f64 {
    assert_eq!(target.len(), prediction.len(), "r2 needs as many targets as predictions");
    if target.len() < 2 {
        return f64::NAN;
    }
    let centre = mean(target);
    let residual = mse(target, prediction);
    // A constant row can differ from its own rounded mean.
    let total = if target.iter().all(|t| *t == target[0]) {
        0.0
    } else {
        target.iter().map(|t| (t - centre) * (t - centre)).sum::<f64>() / target.len() as f64
    };
    match (residual, total) {
        (r, _) if r.is_nan() => f64::NAN,
        (0.0, 0.0) => 1.0,
        (_, 0.0) => 0.0,
        _ => 1.0 - residual / total,
    }
}

/// Jensen-Shannon divergence in bits between the shapes of two rows of bins: 0 where they have the same shape, 1 where no bin is
/// in both. Negative values count as 0; NaN if a row has no value above 0.
///
/// `(KL(p || m) + KL(q || m)) / 2` with p and q the rows divided by their sums, `m = (p + q) / 2` (Lin 1991).
pub fn jensen_shannon(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len(), "two rows of as many bins");
    // `clamp` keeps NaN.
    let total = |x: &[f64]| x.iter().map(|v| v.clamp(0.0, f64::INFINITY)).sum::<f64>();
    let (sx, sy) = (total(x), total(y));
    let part = |p: f64, m: f64| if p > 0.0 { p * (p / m).log2() } else { p };
    let each = |(x, y): (&f64, &f64)| {
        let (p, q) = (x.clamp(0.0, f64::INFINITY) / sx, y.clamp(0.0, f64::INFINITY) / sy);
        let m = 0.5 * (p + q);
        0.5 * (part(p, m) + part(q, m))
    };
    x.iter().zip(y).map(each).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_of_shapes() {
        assert_eq!(jensen_shannon(&[1.0, 3.0], &[2.0, 6.0]), 0.0);
        assert_eq!(jensen_shannon(&[1.0, 0.0, -2.0], &[0.0, 5.0, 0.0]), 1.0);
        // p = (1/2, 1/2), q = (1, 0): m = (3/4, 1/4).
        let want = 0.5 * (0.5 * (2f64 / 3.0).log2() + 0.5 * 2f64.log2() + (4f64 / 3.0).log2());
        assert!((jensen_shannon(&[2.0, 2.0], &[7.0, 0.0]) - want).abs() < 1e-15);
        assert!(jensen_shannon(&[0.0, 0.0], &[1.0, 1.0]).is_nan());
        assert!(jensen_shannon(&[f64::NAN, 1.0], &[1.0, 1.0]).is_nan());
    }

    #[test]
    fn agrees_with_scikit_learn() {
        let x = [2.0, -1.5, 0.25, 3.5, 0.25, -0.75, 4.0, 1.0, 0.25];
        let y = [1.0, -2.0, 0.5, 2.5, 1.5, 0.5, 3.0, 0.5, -1.0];
        // scikit-learn 1.9.1: mean_squared_error(x, y), root_mean_squared_error(x, y), r2_score(x, y)
        assert!((mse(&x, &y) - 0.916_666_666_666_666_6).abs() < 1e-15);
        assert!((rmse(&x, &y) - 0.957_427_107_756_338_1).abs() < 1e-15);
        assert!((r2(&x, &y) - 0.697_247_706_422_018_4).abs() < 1e-15);
        assert_eq!(r2(&[1.0; 3], &[1.0; 3]), 1.0); // r2_score([1, 1, 1], [1, 1, 1])
        assert_eq!(r2(&[1.0; 3], &[1.0, 1.0, 2.0]), 0.0); // r2_score([1, 1, 1], [1, 1, 2])
        // scikit-learn says -6e33 here, because the mean of three 0.1 is not 0.1.
        assert_eq!(r2(&[0.1; 3], &[0.1, 0.1, 2.0]), 0.0);
    }

    #[test]
    fn undefined_is_nan() {
        assert!(mse(&[], &[]).is_nan() && rmse(&[], &[]).is_nan() && r2(&[1.0], &[1.0]).is_nan());
        assert!(r2(&[1.0, 1.0], &[f64::NAN, 1.0]).is_nan() && mse(&[1.0], &[f64::NAN]).is_nan());
    }
}
