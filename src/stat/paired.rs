//! Two series of scores of the same items: differences with intervals, the signed-rank test, and p-values of many tests.

use super::{bootstrap_interval, mean, median, normal_cdf, ranks};

/// Most non-zero differences of which the null distribution is counted out; beyond, it is nearly normal.
const MOST_EXACT: usize = 50;

/// How one series compares with another over the same items; all NaN without items.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// Number of pairs.
    pub n: usize,
    /// Means of the two series.
    pub means: [f64; 2],
    /// Mean of first minus second.
    pub mean: f64,
    /// Percentile bootstrap interval of [`Paired::mean`]; NaN with fewer than two pairs.
    pub mean_interval: (f64, f64),
    /// Median of first minus second.
    pub median: f64,
    /// Percentile bootstrap interval of [`Paired::median`]; NaN with fewer than two pairs.
    pub median_interval: (f64, f64),
    /// Share of the pairs in which the first is the greater one; equal pairs count half.
    pub greater: f64,
    /// Signed-rank test of the differences.
    pub test: SignedRank,
}

/// A two-sided Wilcoxon signed-rank test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SignedRank {
    /// The smaller of the sums of ranks of positive and of negative differences.
    pub statistic: f64,
    /// Number of differences that are not 0.
    pub n: usize,
    /// Probability of a statistic that small or smaller if each difference had either sign with equal probability; 1 if all
    /// differences are 0, NaN if there are none.
    pub p: f64,
}

/// Compares `first` with `second`, pair by pair; intervals hold `level` and are of `replicates` samples of the pairs.
///
/// # Panics
/// If the lengths differ.
pub fn paired(first: &[f64], second: &[f64], replicates: usize, level: f64, seed: u64) -> Paired {
    assert_eq!(first.len(), second.len(), "pairs need as many first as second scores");
    let n = first.len();
    let differences: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
    let mut drawn = vec![0.0; n];
    let mut interval = |statistic: fn(&mut [f64]) -> f64| match n {
        // One pair has no spread, and an interval without a width would pass for certainty.
        0 | 1 => (f64::NAN, f64::NAN),
        _ => bootstrap_interval(n, replicates, level, seed, |sample| {
            drawn.iter_mut().zip(sample).for_each(|(d, &i)| *d = differences[i]);
            statistic(&mut drawn)
        }),
    };
    let wins = first.iter().zip(second).map(|(a, b)| if a > b { 1.0 } else { f64::from(a == b) / 2.0 });
    Paired {
        n,
        means: [mean(first), mean(second)],
        mean: mean(&differences),
        mean_interval: interval(|d| mean(d)),
        median: median(&differences),
        median_interval: interval(quick_median),
        greater: wins.sum::<f64>() / n as f64,
        test: signed_rank(&differences),
    }
}

/// Two-sided signed-rank test (Wilcoxon 1945) of differences: those that are 0 are left out, equal sizes share their mean rank.
/// Up to 50 differences the null distribution is exact, over all signs of the ranks there are, so also with shared ranks;
/// beyond, it is normal with the variance corrected for these and without a correction for continuity.
/// `scipy.stats.wilcoxon(d)`, which counts shared ranks out up to 13 differences only and is normal from 14 on then.
pub fn signed_rank(differences: &[f64]) -> SignedRank {
    let kept: Vec<f64> = differences.iter().copied().filter(|d| *d != 0.0).collect();
    let n = kept.len();
    if differences.is_empty() || kept.iter().any(|d| d.is_nan()) {
        return SignedRank { statistic: f64::NAN, n, p: f64::NAN };
    }
    if n == 0 {
        return SignedRank { statistic: 0.0, n, p: 1.0 };
    }
    let sizes: Vec<f64> = kept.iter().map(|d| d.abs()).collect();
    let ranks = ranks(&sizes);
    // Not `sum`, which is -0 of nothing.
    let positive = ranks.iter().zip(&kept).filter(|(_, d)| **d > 0.0).fold(0.0, |sum, (r, _)| sum + r);
    let all = (n * (n + 1)) as f64 / 2.0;
    let statistic = positive.min(all - positive);
    let p = if n <= MOST_EXACT { exact(&ranks, statistic) } else { normal(&ranks, statistic) };
    SignedRank { statistic, n, p }
}

/// Adjusted p-values (Benjamini and Hochberg 1995): the least of `p_(j) m / j` over all ranks j that are not below that of the
/// p-value, at most 1; `scipy.stats.false_discovery_control(p)`. NaN stays NaN and does not count.
pub fn benjamini_hochberg(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).filter(|&i| !p[i].is_nan()).collect();
    order.sort_by(|&a, &b| p[b].total_cmp(&p[a]));
    let m = order.len();
    let mut adjusted = vec![f64::NAN; p.len()];
    let mut least = 1f64;
    for (above, &i) in order.iter().enumerate() {
        least = least.min(p[i] * m as f64 / (m - above) as f64);
        adjusted[i] = least;
    }
    adjusted
}

/// Twice the share of all signs of the ranks whose positive ones sum up to at most `statistic`.
fn exact(ranks: &[f64], statistic: f64) -> f64 {
    // Shared ranks are halves: twice the ranks are whole numbers, and 2^50 signs are counted without rounding.
    let twice = |r: f64| (2.0 * r).round() as usize;
    let mut ways = vec![0f64; ranks.iter().map(|&r| twice(r)).sum::<usize>() + 1];
    ways[0] = 1.0;
    let mut most = 0;
    for rank in ranks.iter().map(|&r| twice(r)) {
        most += rank;
        for sum in (rank..=most).rev() {
            ways[sum] += ways[sum - rank];
        }
    }
    let tail: f64 = ways[..=twice(statistic)].iter().sum();
    (2.0 * tail / 2f64.powi(ranks.len() as i32)).min(1.0)
}

fn normal(ranks: &[f64], statistic: f64) -> f64 {
    let n = ranks.len() as f64;
    let mut sorted = ranks.to_vec();
    sorted.sort_by(f64::total_cmp);
    let shared: f64 = sorted.chunk_by(|a, b| a == b).map(|t| t.len() as f64).map(|t| t * t * t - t).sum();
    let variance = (n * (n + 1.0) * (2.0 * n + 1.0) - shared / 2.0) / 24.0;
    (2.0 * normal_cdf((statistic - n * (n + 1.0) / 4.0) / variance.sqrt())).min(1.0)
}

/// Median of finite numbers, by selection: a bootstrap takes thousands of them. The order of the numbers is lost.
fn quick_median(x: &mut [f64]) -> f64 {
    let odd = x.len() % 2 == 1;
    let (below, &mut upper, _) = x.select_nth_unstable_by(x.len() / 2, f64::total_cmp);
    if odd {
        return upper;
    }
    let lower = below.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    lower + (upper - lower) * 0.5
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, by: f64) -> bool {
        (found - expected).abs() <= by * expected.abs().max(1.0)
    }

    /// Expected numbers: scipy 1.17.1, the calls are named beside them.
    #[test]
    fn signed_ranks_agree_with_scipy() {
        // x = numpy.sqrt(i + 1.0) * numpy.where(i % 3 == 0, -1, 1), i = numpy.arange(40); scipy.stats.wilcoxon(x): exact
        let x: Vec<f64> = (0..40).map(|i| f64::from(i + 1).sqrt() * if i % 3 == 0 { -1.0 } else { 1.0 }).collect();
        let test = signed_rank(&x);
        assert!(test.statistic == 287.0 && test.n == 40 && near(test.p, 0.100_031_452_800_976_7, 1e-14), "{test:?}");
        // scipy.stats.wilcoxon(t, method=scipy.stats.PermutationMethod(n_resamples=numpy.inf)): shared ranks and zeros
        let test = signed_rank(&[1.0, -1.0, 2.0, 2.0, 0.0, 3.0, -2.0, 4.0, 5.0, 0.0]);
        assert!(test.statistic == 5.5 && test.n == 8 && test.p == 0.101_562_5, "{test:?}");
        // x = ((i * 37) % 80 - 30) / 8.0, i = numpy.arange(80); scipy.stats.wilcoxon(x): normal, shared ranks, one zero
        let x: Vec<f64> = (0..80).map(|i| f64::from((i * 37) % 80 - 30) / 8.0).collect();
        let test = signed_rank(&x);
        assert!(test.statistic == 915.0 && test.n == 79, "{test:?}");
        assert!((test.p / 0.001_153_860_201_646_303_6 - 1.0).abs() < 1e-10, "{test:?}");
    }

    #[test]
    fn signed_ranks_at_the_ends() {
        let one = signed_rank(&[-0.3]);
        assert_eq!((one.statistic.to_bits(), one.n, one.p), (0, 1, 1.0));
        // Of 2^6 signs two are as extreme.
        assert_eq!(signed_rank(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]).p, 2.0 / 64.0);
        assert_eq!(signed_rank(&[0.0, 0.0]), SignedRank { statistic: 0.0, n: 0, p: 1.0 });
        assert!(signed_rank(&[]).p.is_nan() && signed_rank(&[1.0, f64::NAN]).p.is_nan());
        // The distribution is counted out up to 50 and normal from 51 on; the two must meet.
        let x: Vec<f64> = (1..=51).map(|i| if i % 4 == 0 { -f64::from(i) } else { f64::from(i) }).collect();
        for statistic in [330.0, 450.0, 600.0] {
            let (counted, formula) = (exact(&ranks(&x[..50]), statistic), normal(&ranks(&x[..50]), statistic));
            assert!((counted - formula).abs() < 0.01, "{statistic}: {counted} {formula}");
        }
    }

    #[test]
    fn adjusted_p_values_agree_with_scipy() {
        // scipy.stats.false_discovery_control(p)
        let found = benjamini_hochberg(&[0.01, 0.04, 0.03, f64::NAN, 0.005, 0.55, 0.04]);
        let expected = [0.03, 0.048, 0.048, f64::NAN, 0.03, 0.55, 0.048];
        assert!(found.iter().zip(expected).all(|(a, b)| a.is_nan() && b.is_nan() || near(*a, b, 1e-15)), "{found:?}");
        assert!(benjamini_hochberg(&[]).is_empty());
        assert_eq!(benjamini_hochberg(&[1.0]), [1.0]);
    }

    #[test]
    fn pairs_agree_with_scipy() {
        // x = numpy.sin(i * 1.7) * 0.1 + 0.03, i = numpy.arange(30); numpy.mean, numpy.median, and
        // scipy.stats.bootstrap((x,), statistic, method="percentile", n_resamples=400000, rng=1).confidence_interval, whose
        // ends another generator meets but to some parts in a thousand of the spread.
        let x: Vec<f64> = (0..30).map(|i| (f64::from(i) * 1.7).sin() * 0.1 + 0.03).collect();
        let found = paired(&x, &[0.0; 30], 20_000, 0.95, 3);
        assert!(near(found.mean, 0.029_260_471_056_826_14, 1e-15), "{found:?}");
        assert!(near(found.median, 0.024_568_170_228_796_187, 1e-15), "{found:?}");
        let ends = |(a, b): (f64, f64), c: f64, d: f64| (a - c).abs() < 0.002 && (b - d).abs() < 0.002;
        assert!(ends(found.mean_interval, 0.004_199_681_868_752_825, 0.054_416_585_069_418_72), "{found:?}");
        assert!(ends(found.median_interval, -0.022_198_139_723_303_173, 0.074_542_696_213_461_09), "{found:?}");
        assert_eq!(found, paired(&x, &[0.0; 30], 20_000, 0.95, 3));
        assert_ne!(found.mean_interval, paired(&x, &[0.0; 30], 20_000, 0.95, 4).mean_interval);
    }

    #[test]
    fn pairs_are_first_minus_second() {
        let found = paired(&[1.0, 2.0, 3.0, 4.0], &[0.0, 2.0, 4.0, 1.0], 100, 0.95, 1);
        assert_eq!((found.n, found.means, found.mean, found.median), (4, [2.5, 1.75], 0.75, 0.5));
        assert_eq!(found.greater, 0.625);
        let one = paired(&[1.0], &[0.5], 100, 0.95, 1);
        assert!(one.mean == 0.5 && one.mean_interval.0.is_nan() && one.median_interval.1.is_nan());
        let none = paired(&[], &[], 100, 0.95, 1);
        assert!(none.n == 0 && none.mean.is_nan() && none.test.p.is_nan() && none.greater.is_nan());
    }

    #[test]
    fn medians_by_selection() {
        for n in 1..9 {
            let x: Vec<f64> = (0..n).map(|i| f64::from((i * 5) % 7)).collect();
            assert_eq!(quick_median(&mut x.clone()), median(&x), "{x:?}");
        }
    }
}
