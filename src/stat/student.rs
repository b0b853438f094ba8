//! Student's t: quantiles for whole degrees of freedom, and the interval of a mean.

use super::{mean, sd};

/// Quantile of Student's t distribution with `degrees` degrees of freedom; `scipy.stats.t.ppf(p, degrees)`. Infinite at 0 and 1;
/// NaN outside [0, 1] or without degrees of freedom.
pub fn t_quantile(p: f64, degrees: usize) -> f64 {
    if !(0.0..=1.0).contains(&p) || degrees == 0 {
        return f64::NAN;
    }
    if p == 0.0 || p == 1.0 {
        return if p == 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let wanted = (2.0 * p - 1.0).abs();
    // The share inside of -t..t grows with the angle atan(t / sqrt(degrees)).
    let (mut low, mut high) = (0.0, std::f64::consts::FRAC_PI_2);
    for _ in 0..200 {
        let middle = 0.5 * (low + high);
        if inside(middle, degrees) < wanted { low = middle } else { high = middle }
    }
    (0.5 * (low + high)).tan() * (degrees as f64).sqrt() * (2.0 * p - 1.0).signum()
}

/// Probability of `|t| <= tan(angle) sqrt(degrees)`: the finite series of Abramowitz and Stegun, 26.7.3 and 26.7.4.
fn inside(angle: f64, degrees: usize) -> f64 {
    let (sine, cosine) = angle.sin_cos();
    let odd = degrees % 2 == 1;
    let (mut term, mut sum) = if odd { (cosine, 0.0) } else { (1.0, 0.0) };
    let mut k = if odd { 1 } else { 0 };
    while k + 2 <= degrees {
        sum += term;
        term *= cosine * cosine * (k + 1) as f64 / (k + 2) as f64;
        k += 2;
    }
    if odd { (angle + sine * sum) * std::f64::consts::FRAC_2_PI } else { sine * sum }
}

/// The interval that holds the mean of what `x` are draws of with probability `level`, if these are normal: mean +- t sd / sqrt(n);
/// `scipy.stats.t.interval(level, n - 1, x.mean(), scipy.stats.sem(x))`. NaN with fewer than two numbers.
pub fn t_interval(x: &[f64], level: f64) -> (f64, f64) {
    if x.len() < 2 {
        return (f64::NAN, f64::NAN);
    }
    let (centre, half) = (mean(x), t_quantile(0.5 + 0.5 * level, x.len() - 1) * sd(x) / (x.len() as f64).sqrt());
    (centre - half, centre + half)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Expected numbers: scipy 1.17.1, the calls are named at the functions.
    #[test]
    fn quantiles_and_intervals_agree_with_scipy() {
        for (p, degrees, expected) in [
            (0.975, 1, 12.706204736174694),
            (0.975, 2, 4.302652729749462),
            (0.975, 4, 2.7764451051977934),
            (0.975, 9, 2.262157162798205),
            (0.995, 3, 5.840909309733355),
            (0.9, 30, 1.3104150253913955),
            (0.6, 7, 0.2631668613520229),
            (0.0005, 5, -6.86882662588111),
            (0.975, 200, 1.9718962236339088),
        ] {
            let found = t_quantile(p, degrees);
            assert!((found / expected - 1.0).abs() < 1e-11, "{p} {degrees}: {found} {expected}");
        }
        let (low, high) = t_interval(&[0.5, 0.61, 0.55, 0.7, 0.58], 0.95);
        assert!((low - 0.4953315953072195).abs() < 1e-12 && (high - 0.6806684046927804).abs() < 1e-12, "{low} {high}");
    }

    #[test]
    fn the_ends() {
        assert_eq!((t_quantile(1.0, 3), t_quantile(0.0, 3)), (f64::INFINITY, f64::NEG_INFINITY));
        assert!(t_quantile(0.5, 4).abs() < 1e-15 && t_quantile(1.5, 4).is_nan() && t_quantile(0.3, 0).is_nan());
        assert!(t_interval(&[1.0], 0.95).0.is_nan() && t_interval(&[], 0.95).1.is_nan());
        assert_eq!(t_interval(&[2.0, 2.0, 2.0], 0.95), (2.0, 2.0));
    }
}
