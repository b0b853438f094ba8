//! How well scores tell two kinds of points apart.

use super::correlation::{ascending, ranks};
use super::describe::normal_cdf;

/// Area under the ROC curve: the chance that a positive point scores above a negative one, ties counting half
/// (Mann-Whitney U / (n+ n-)); `sklearn.metrics.roc_auc_score(labels, scores)`.
/// NaN unless both labels occur, and when a score is NaN.
///
/// # Panics
/// If the lengths differ.
pub fn auroc(labels: &[bool], scores: &[f64]) -> f64 {
    assert_eq!(labels.len(), scores.len(), "auroc needs as many labels as scores");
    let positive = labels.iter().filter(|l| **l).count();
    let negative = labels.len() - positive;
    if positive == 0 || negative == 0 {
        return f64::NAN;
    }
    let sum: f64 = ranks(scores).iter().zip(labels).filter(|(_, l)| **l).map(|(r, _)| r).sum();
    let (positive, negative) = (positive as f64, negative as f64);
    (sum - positive * (positive + 1.0) / 2.0) / (positive * negative)
}

/// `-log10 p` of the rank-sum test (Wilcoxon; Mann-Whitney) of positive against negative points, two-sided: normal, its
/// variance corrected for ties, without a correction for continuity;
/// `-log10(scipy.stats.mannwhitneyu(x, y, use_continuity=False, method="asymptotic").pvalue)`, also where that p is too small for
/// a number. 0 if all scores are the same; NaN unless both labels occur, and when a score is NaN.
///
/// # Panics
/// If the lengths differ.
pub fn rank_sum(labels: &[bool], scores: &[f64]) -> f64 {
    let area = auroc(labels, scores);
    let n = labels.len() as f64;
    let positive = labels.iter().filter(|l| **l).count() as f64;
    let pairs = positive * (n - positive);
    let mut tied = 0.0;
    let order = ascending(scores);
    for group in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let t = group.len() as f64;
        tied += t * (t * t - 1.0);
    }
    let variance = pairs / 12.0 * (n + 1.0 - tied / (n * (n - 1.0)));
    if area.is_nan() {
        return f64::NAN;
    }
    if variance <= 0.0 {
        return 0.0;
    }
    let z = (area - 0.5).abs() * pairs / variance.sqrt();
    if z < 30.0 {
        // Not a minus sign, which makes -0 of 0.
        return 0.0 - (2.0 * normal_cdf(-z)).log10().min(0.0);
    }
    // Behind that, the tail is phi(z) / z (1 - 1/z^2 + 3/z^4 - ...), of which logarithms alone can be told.
    let squared = z * z;
    let series = 1.0 - 1.0 / squared + 3.0 / (squared * squared);
    let ln = 2f64.ln() - squared / 2.0 - 0.5 * std::f64::consts::TAU.ln() - z.ln() + series.ln();
    -ln / std::f64::consts::LN_10
}

/// Average precision, `sum (R_i - R_(i-1)) P_i` over the distinct scores from the highest down (no interpolation; equal
/// scores are one threshold); `sklearn.metrics.average_precision_score(labels, scores)`.
/// NaN without a positive point (scikit-learn: 0 and a warning), and when a score is NaN.
///
/// # Panics
/// If the lengths differ.
pub fn auprc(labels: &[bool], scores: &[f64]) -> f64 {
    assert_eq!(labels.len(), scores.len(), "auprc needs as many labels as scores");
    let positive = labels.iter().filter(|l| **l).count();
    if positive == 0 || scores.iter().any(|s| s.is_nan()) {
        return f64::NAN;
    }
    let order = ascending(scores);
    let (mut area, mut found, mut taken) = (0.0, 0usize, 0usize);
    let mut rest = order.as_slice();
    while let [.., last] = rest {
        let score = scores[*last];
        let tied = rest.iter().rev().take_while(|&&i| scores[i] == score).count();
        let (lower, group) = rest.split_at(rest.len() - tied);
        let new = group.iter().filter(|&&i| labels[i]).count();
        found += new;
        taken += tied;
        area += new as f64 / positive as f64 * (found as f64 / taken as f64);
        rest = lower;
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_scikit_learn() {
        let labels = [true, false, false, true, true, false, true, false, true];
        let scores = [2.0, -1.5, 0.25, 3.5, 0.25, -0.75, 4.0, 1.0, 0.25];
        // scikit-learn 1.9.1: roc_auc_score(labels, scores), average_precision_score(labels, scores); the scores have ties
        assert!((auroc(&labels, &scores) - 0.85).abs() < 1e-15);
        assert!((auprc(&labels, &scores) - 0.885_714_285_714_285_7).abs() < 1e-15);
        // the same calls with scores [.5] * 9
        assert_eq!(auroc(&labels, &[0.5; 9]), 0.5);
        assert!((auprc(&labels, &[0.5; 9]) - 0.555_555_555_555_555_6).abs() < 1e-15);
    }

    #[test]
    fn rank_sums_agree_with_scipy() {
        let labels = [true, false, false, true, true, false, true, false, true];
        let scores = [2.0, -1.5, 0.25, 3.5, 0.25, -0.75, 4.0, 1.0, 0.25];
        // scipy 1.17.1: -log10(mannwhitneyu(x, y, use_continuity=False, method="asymptotic").pvalue)
        assert!((rank_sum(&labels, &scores) - 1.090_620_914_895_185_8).abs() < 1e-13);
        let mirrored = scores.map(|s| -s);
        assert!((rank_sum(&labels, &mirrored) - 1.090_620_914_895_185_8).abs() < 1e-13);
        // -(scipy.stats.norm.logsf(z) + log(2)) / log(10) of all positive points above all others
        for (n, expected) in [(400, 66.319_235_704_240_54), (8000, 1_304.707_786_417_368_7)] {
            let labels: Vec<bool> = (0..n).map(|i| i % 2 == 0).collect();
            let scores: Vec<f64> = (0..n).map(|i| f64::from(i) + if i % 2 == 0 { 1e5 } else { 0.0 }).collect();
            let found = rank_sum(&labels, &scores);
            assert!((found - expected).abs() < 1e-11 * expected, "{n}: {found}");
        }
        assert_eq!(rank_sum(&labels, &[0.5; 9]), 0.0);
        assert!(rank_sum(&[true], &[1.0]).is_nan() && rank_sum(&[], &[]).is_nan());
        assert!(rank_sum(&[true, false], &[1.0, f64::NAN]).is_nan());
    }

    #[test]
    fn undefined_is_nan() {
        assert!(auroc(&[true, true], &[1.0, 2.0]).is_nan() && auroc(&[], &[]).is_nan());
        assert!(auprc(&[false, false], &[1.0, 2.0]).is_nan() && auprc(&[], &[]).is_nan());
        assert_eq!(auprc(&[true, true], &[1.0, 2.0]), 1.0);
        assert!(auroc(&[true, false], &[f64::NAN, 2.0]).is_nan() && auprc(&[true, false], &[f64::NAN, 2.0]).is_nan());
    }
}
