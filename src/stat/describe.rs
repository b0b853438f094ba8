//! Location, spread, the normal distribution, and intervals by resampling.

use crate::util::philox::Philox;

/// Philox purpose of bootstrap draws ("BOOT").
const PURPOSE: u64 = 0x424F_4F54;

/// Arithmetic mean; NaN without points.
pub fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len() as f64
}

/// Sample standard deviation (divisor n - 1); `numpy.std(x, ddof=1)`. NaN with fewer than two points.
pub fn sd(x: &[f64]) -> f64 {
    if x.len() < 2 {
        return f64::NAN;
    }
    let centre = mean(x);
    (x.iter().map(|v| (v - centre) * (v - centre)).sum::<f64>() / (x.len() - 1) as f64).sqrt()
}

/// Median; `numpy.median(x)`. NaN without points or with a NaN among them.
pub fn median(x: &[f64]) -> f64 {
    quantile(x, 0.5)
}

/// Quantile by linear interpolation between order statistics at `(n - 1) q`; `numpy.quantile(x, q)`.
/// NaN without points, with a NaN among them, or when `q` is not in [0, 1].
pub fn quantile(x: &[f64], q: f64) -> f64 {
    if x.is_empty() || !(0.0..=1.0).contains(&q) || x.iter().any(|v| v.is_nan()) {
        return f64::NAN;
    }
    let mut sorted = x.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let place = (sorted.len() - 1) as f64 * q;
    let (low, high) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    // Equal neighbours may be infinite, and then their difference is NaN.
    if low == high { low } else { low + (high - low) * place.fract() }
}

/// Standard normal distribution function, accurate to about 1e-14 relative in both tails; `scipy.stats.norm.cdf(x)`.
pub fn normal_cdf(x: f64) -> f64 {
    let density = (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
    if x.abs() < 3.0 {
        // Phi(x) = 1/2 + phi(x) (x + x^3/3 + x^5/(3 5) + ...): all terms of one sign.
        let (mut term, mut sum, mut k) = (x, x, 1.0);
        while term.abs() > f64::EPSILON * 1e-2 * sum.abs() {
            k += 2.0;
            term *= x * x / k;
            sum += term;
        }
        return 0.5 + density * sum;
    }
    // Laplace's continued fraction of the tail, 1 - Phi(x) = phi(x) / (x + 1/(x + 2/(x + ...))), from the inside out.
    let fraction = (1..=120).rev().fold(x.abs(), |inner, k| x.abs() + f64::from(k) / inner);
    let tail = if x.is_infinite() { 0.0 } else { density / fraction };
    if x > 0.0 { 1.0 - tail } else { tail }
}

/// Inverse of [`normal_cdf`]; `scipy.stats.norm.ppf(p)`. Infinite at 0 and 1, NaN outside [0, 1].
pub fn normal_quantile(p: f64) -> f64 {
    if !(0.0..=1.0).contains(&p) {
        return f64::NAN;
    }
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    if p == 0.0 {
        return f64::NEG_INFINITY;
    }
    // Bisection: it is asked for once an interval, and it cannot fail.
    let (mut low, mut high) = (-40.0, 0.0);
    loop {
        let middle = 0.5 * (low + high);
        if middle == low || middle == high {
            return middle;
        }
        if normal_cdf(middle) < p {
            low = middle;
        } else {
            high = middle;
        }
    }
}

/// Percentile bootstrap interval: `statistic` of `replicates` samples of 0..`n` drawn with replacement, and the
/// quantiles `(1 - level) / 2` and `(1 + level) / 2` of its values. Replicates where the statistic is NaN (e.g. all
/// labels alike) are left out; both ends are NaN when none remains or `n` is 0. The same `seed` gives the same interval.
pub fn bootstrap_interval(
    n: usize,
    replicates: usize,
    level: f64,
    seed: u64,
    mut statistic: impl FnMut(&[usize]) -> f64,
) -> (f64, f64) {
    if n == 0 {
        return (f64::NAN, f64::NAN);
    }
    let mut random = Philox::new(seed, PURPOSE);
    let mut sample = vec![0; n];
    let values: Vec<f64> = (0..replicates)
        .map(|_| {
            sample.fill_with(|| random.below(n));
            statistic(&sample)
        })
        .filter(|v| !v.is_nan())
        .collect();
    (quantile(&values, (1.0 - level) / 2.0), quantile(&values, (1.0 + level) / 2.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const X: [f64; 9] = [2.0, -1.5, 0.25, 3.5, 0.25, -0.75, 4.0, 1.0, 0.25];

    #[test]
    fn agrees_with_numpy() {
        assert_eq!(mean(&X), 1.0);
        assert!((sd(&X) - 1.845_602_882_529_175).abs() < 1e-15); // numpy.std(x, ddof=1)
        assert_eq!(median(&X), 0.25);
        // numpy.quantile(x, q)
        for (q, expected) in [(0.0, -1.5), (0.1, -0.9), (0.5, 0.25), (0.9, 3.6), (1.0, 4.0)] {
            assert!((quantile(&X, q) - expected).abs() < 1e-15, "{q}");
        }
        assert_eq!(median(&[f64::INFINITY; 2]), f64::INFINITY);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
    }

    #[test]
    fn undefined_is_nan() {
        assert!(mean(&[]).is_nan() && sd(&[1.0]).is_nan() && median(&[]).is_nan());
        assert!(
            quantile(&X, 1.5).is_nan() && quantile(&[1.0, f64::NAN], 0.5).is_nan() && quantile(&X, f64::NAN).is_nan()
        );
        assert!(normal_cdf(f64::NAN).is_nan() && normal_quantile(1.1).is_nan());
    }

    #[test]
    fn normal_agrees_with_scipy() {
        // scipy.stats.norm.cdf(x), scipy 1.17.1
        for (x, p) in [
            (-6.0, 9.865_876_450_376_946e-10),
            (-3.0, 0.001_349_898_031_630_093_3),
            (-1.0, 0.158_655_253_931_457_07),
            (0.0, 0.5),
            (0.5, 0.691_462_461_274_013_1),
            (1.96, 0.975_002_104_851_779_7),
            (4.0, 0.999_968_328_758_166_9),
            (f64::NEG_INFINITY, 0.0),
            (f64::INFINITY, 1.0),
        ] {
            assert!((normal_cdf(x) - p).abs() <= 1e-13 * p, "{x}: {}", normal_cdf(x));
        }
        // scipy.stats.norm.ppf(p)
        for (p, x) in [
            (1e-10, -6.361_340_902_404_056),
            (0.001, -3.090_232_306_167_813),
            (0.025, -1.959_963_984_540_054_5),
            (0.3, -0.524_400_512_708_040_9),
            (0.5, 0.0),
            (0.9, 1.281_551_565_544_600_4),
            (0.975, 1.959_963_984_540_054),
            (0.0, f64::NEG_INFINITY),
            (1.0, f64::INFINITY),
        ] {
            let found = normal_quantile(p);
            assert!(found == x || (found - x).abs() < 1e-12, "{p}: {found}");
        }
    }

    #[test]
    fn bootstrap_of_a_mean_is_near_the_normal_interval() {
        let x: Vec<f64> = (0..200).map(|i| f64::from(i % 20)).collect();
        let of_mean = |s: &[usize]| s.iter().map(|&i| x[i]).sum::<f64>() / s.len() as f64;
        let (low, high) = bootstrap_interval(x.len(), 2000, 0.95, 7, of_mean);
        let half = normal_quantile(0.975) * sd(&x) / (x.len() as f64).sqrt();
        assert!((low - (mean(&x) - half)).abs() < 0.12 && (high - (mean(&x) + half)).abs() < 0.12, "{low} {high}");
        assert_eq!((low, high), bootstrap_interval(x.len(), 2000, 0.95, 7, of_mean));
        assert_ne!((low, high), bootstrap_interval(x.len(), 2000, 0.95, 8, of_mean));
        assert!(bootstrap_interval(0, 10, 0.95, 1, of_mean).0.is_nan());
        assert!(bootstrap_interval(3, 10, 0.95, 1, |_| f64::NAN).1.is_nan());
    }
}
