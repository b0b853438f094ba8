//! How alike two rows of numbers are: Pearson, Spearman, cosine, and what is known about `r`.

use super::describe::{mean, normal_quantile};

/// Pearson correlation `r = sum (x - mx)(y - my) / sqrt(sum (x - mx)^2 sum (y - my)^2)`, in [-1, 1];
/// `scipy.stats.pearsonr(x, y)[0]`. NaN with fewer than two points, or when `x` or `y` is constant.
///
/// # Panics
/// If the lengths differ.
pub fn pearson(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len(), "pearson needs as many x as y");
    if x.len() < 2 || is_constant(x) || is_constant(y) {
        return f64::NAN;
    }
    let (mx, my) = (mean(x), mean(y));
    // Deviations relative to the largest one: squares of very small or very large numbers neither vanish nor overflow.
    let (sx, sy) = (largest_deviation(x, mx), largest_deviation(y, my));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        let (a, b) = ((a - mx) / sx, (b - my) / sy);
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0)
}

/// Distance `1 - r` as the reference system reports it: rounded to 4 decimals (halves to even, as NumPy), 2 (as if
/// `r = -1`) when exactly one side is constant, NaN when both are or when there are no points.
///
/// # Panics
/// If the lengths differ.
pub fn pearson_distance(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len(), "pearson_distance needs as many x as y");
    if x.iter().chain(y).any(|v| v.is_nan()) {
        return f64::NAN;
    }
    if !x.is_empty() && is_constant(x) != is_constant(y) {
        return 2.0;
    }
    ((1.0 - pearson(x, y)) * 1e4).round_ties_even() / 1e4
}

/// Spearman correlation: [`pearson`] of the average [`ranks`]; `scipy.stats.spearmanr(x, y)[0]`. NaN where `pearson`
/// is, and when a value is NaN.
///
/// # Panics
/// If the lengths differ.
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    pearson(&ranks(x), &ranks(y))
}

/// Ranks from 1, equal values sharing their mean rank; `scipy.stats.rankdata(x)`. All NaN when a value is NaN.
pub fn ranks(x: &[f64]) -> Vec<f64> {
    if x.iter().any(|v| v.is_nan()) {
        return vec![f64::NAN; x.len()];
    }
    let order = ascending(x);
    let mut rank = vec![0.0; x.len()];
    let mut first = 0;
    while first < order.len() {
        let value = x[order[first]];
        let last = first + order[first..].iter().take_while(|&&i| x[i] == value).count();
        let shared = (first + 1 + last) as f64 / 2.0;
        for &i in &order[first..last] {
            rank[i] = shared;
        }
        first = last;
    }
    rank
}

/// Ranks from 0 with ties in order of appearance: what the reference system correlates for its rank-based distance;
/// `numpy.argsort(numpy.argsort(x, kind="stable"))`. Unlike [`ranks`] it tells equal values apart, so that a constant
/// row correlates with a row that happens to ascend. NaN sorts last.
pub fn ordinal_ranks(x: &[f64]) -> Vec<f64> {
    let mut rank = vec![0.0; x.len()];
    for (place, i) in ascending(x).into_iter().enumerate() {
        rank[i] = place as f64;
    }
    rank
}

/// Cosine of the angle between two vectors, `x.y / (|x| |y|)`, in [-1, 1]; `1 - scipy.spatial.distance.cosine(x, y)`.
/// NaN when a vector is empty or zero.
///
/// # Panics
/// If the lengths differ.
pub fn cosine(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len(), "cosine needs as many x as y");
    let (sx, sy) = (largest_deviation(x, 0.0), largest_deviation(y, 0.0));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (a, b) in x.iter().zip(y) {
        let (a, b) = (a / sx, b / sy);
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0)
}

/// Confidence interval of a Pearson correlation `r` of `n` points by Fisher's transformation,
/// `tanh(atanh r -+ z / sqrt(n - 3))`; `scipy.stats.pearsonr(x, y).confidence_interval(level)`.
/// NaN for both ends when `r` is NaN or `level` is not inside (0, 1); `(-1, 1)` for `n` of 3 or fewer.
pub fn fisher_interval(r: f64, n: usize, level: f64) -> (f64, f64) {
    if r.is_nan() || !(level > 0.0 && level < 1.0) {
        return (f64::NAN, f64::NAN);
    }
    if n <= 3 {
        return (-1.0, 1.0);
    }
    let half = normal_quantile(0.5 + level / 2.0) / ((n - 3) as f64).sqrt();
    ((r.atanh() - half).tanh(), (r.atanh() + half).tanh())
}

/// Indices that sort `x` upwards; equal values stay in order. NaN of either sign comes last.
pub(super) fn ascending(x: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    // Not `total_cmp` for numbers: -0 and 0 are equal and must stay in order.
    order.sort_by(|&a, &b| x[a].partial_cmp(&x[b]).unwrap_or_else(|| x[a].is_nan().cmp(&x[b].is_nan())));
    order
}

fn is_constant(x: &[f64]) -> bool {
    x.iter().all(|v| *v == x[0])
}

fn largest_deviation(x: &[f64], centre: f64) -> f64 {
    x.iter().fold(0.0, |largest, v| (v - centre).abs().max(largest))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expected numbers: scipy 1.17.1, the calls are named beside them.
    const X: [f64; 9] = [2.0, -1.5, 0.25, 3.5, 0.25, -0.75, 4.0, 1.0, 0.25];
    const Y: [f64; 9] = [1.0, -2.0, 0.5, 2.5, 1.5, 0.5, 3.0, 0.5, -1.0];

    #[test]
    fn agrees_with_scipy() {
        assert!((pearson(&X, &Y) - 0.850_141_727_010_858).abs() < 1e-14); // scipy.stats.pearsonr(x, y)[0]
        assert!((spearman(&X, &Y) - 0.810_344_827_586_207).abs() < 1e-14); // scipy.stats.spearmanr(x, y)[0]
        assert!((cosine(&X, &Y) - 0.881_143_054_287_290_2).abs() < 1e-14); // 1 - scipy.spatial.distance.cosine(x, y)
        assert_eq!(ranks(&X), [7.0, 1.0, 4.0, 8.0, 4.0, 2.0, 9.0, 6.0, 4.0]); // scipy.stats.rankdata(x)
        assert_eq!(ordinal_ranks(&X), [6.0, 0.0, 2.0, 7.0, 3.0, 1.0, 8.0, 5.0, 4.0]);
        // scipy.stats.pearsonr(x, y).confidence_interval(level)
        for (level, low, high) in [
            (0.95, 0.427_236_985_169_866_2, 0.967_829_337_354_433_7),
            (0.9, 0.526_402_148_453_003, 0.958_585_424_531_706_8),
        ] {
            let (l, h) = fisher_interval(pearson(&X, &Y), 9, level);
            assert!((l - low).abs() < 1e-13 && (h - high).abs() < 1e-13, "{level}: {l} {h}");
        }
    }

    #[test]
    fn undefined_is_nan() {
        let constant = [0.1; 9];
        assert!(pearson(&X, &constant).is_nan() && spearman(&constant, &Y).is_nan());
        assert!(pearson(&[], &[]).is_nan() && pearson(&[1.0], &[2.0]).is_nan());
        assert!(cosine(&[], &[]).is_nan() && cosine(&[0.0, 0.0], &[1.0, 2.0]).is_nan());
        assert!(pearson(&[1.0, f64::NAN, 3.0], &[1.0, 2.0, 3.0]).is_nan());
        assert!(spearman(&[1.0, f64::NAN, 3.0], &[1.0, 2.0, 3.0]).is_nan());
        assert!(pearson(&[1.0, f64::INFINITY, 3.0], &[1.0, 2.0, 3.0]).is_nan());
        assert_eq!(ordinal_ranks(&[1.0, -f64::NAN, 0.0]), [1.0, 2.0, 0.0]);
        assert!(fisher_interval(f64::NAN, 9, 0.95).0.is_nan() && fisher_interval(0.5, 9, 1.0).0.is_nan());
        assert_eq!(fisher_interval(0.5, 3, 0.95), (-1.0, 1.0));
    }

    #[test]
    fn convention_of_the_reference() {
        assert_eq!(pearson_distance(&X, &[0.1; 9]), 2.0);
        assert_eq!(pearson_distance(&[0.1; 9], &Y), 2.0);
        assert!(pearson_distance(&[0.1; 9], &[3.0; 9]).is_nan());
        assert!(pearson_distance(&[], &[]).is_nan());
        assert!(pearson_distance(&[0.1; 3], &[1.0, f64::NAN, 2.0]).is_nan());
        assert_eq!(pearson_distance(&X, &Y), 0.1499);
    }

    #[test]
    fn size_of_the_numbers_does_not_matter() {
        for scale in [1e-250, 1e-8, 1e8, 1e150] {
            let x: Vec<f64> = X.iter().map(|v| v * scale).collect();
            assert!((pearson(&x, &Y) - pearson(&X, &Y)).abs() < 1e-12, "{scale}");
            assert!((cosine(&x, &Y) - cosine(&X, &Y)).abs() < 1e-12, "{scale}");
        }
        assert_eq!(pearson(&X, &X), 1.0);
        assert_eq!(ranks(&[0.0, -0.0]), [1.5, 1.5]);
    }
}
