//! How well scores tell two kinds of points apart.

use super::correlation::{ascending, ranks};

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
    fn undefined_is_nan() {
        assert!(auroc(&[true, true], &[1.0, 2.0]).is_nan() && auroc(&[], &[]).is_nan());
        assert!(auprc(&[false, false], &[1.0, 2.0]).is_nan() && auprc(&[], &[]).is_nan());
        assert_eq!(auprc(&[true, true], &[1.0, 2.0]), 1.0);
        assert!(auroc(&[true, false], &[f64::NAN, 2.0]).is_nan() && auprc(&[true, false], &[f64::NAN, 2.0]).is_nan());
    }
}
