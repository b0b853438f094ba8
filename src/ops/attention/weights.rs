//! How the weights of keys change when scores do: the slice arithmetic of the delta sweep.

use super::exponentials;
use crate::tensor::gemm::Gemm;
use crate::util::math::{Float, add, dot, maximum, scale, sum};
use crate::util::simd::dispatch;

/// From this growth of a score on, the first form is not used: its exponentials would overflow.
const LARGE_GROWTH: f64 = 20.0;
/// Below this rest of the old weights, the first form is not used: it loses as many digits.
const SMALL_REST: f64 = 1.0 / 16.0;

/// From a query's scores and their growth to its weights before (in `scores`), their change (in `growth`) and its weights
/// after (in `new`).
pub(super) fn change_of_weights<T: Gemm>(
    top: T,
    inverse: T,
    factor: T,
    scores: &mut [T],
    growth: &mut [T],
    new: &mut [T],
    spare: &mut [T],
) {
    new.copy_from_slice(scores);
    add(growth, new);
    exponentials(scores, top, factor);
    scale(inverse, scores);
    let new_top = maximum(new);
    let new_sum = exponentials(new, new_top, factor);
    scale(T::ONE / new_sum, new);
    scale(factor, growth);
    expm1(growth, spare);
    let gain = dot(scores, spare);
    // ln(1 + S): from the small sum where it is, from the sums of exponentials where the weights have moved.
    let total = if maximum(growth) <= T::of(LARGE_GROWTH) && gain > T::of(-0.5) {
        T::of(gain.f64().ln_1p())
    } else {
        T::of((new_sum * inverse).f64().ln() + (new_top.f64() - top.f64()) * factor.f64())
    };
    differences(scores, new, total, growth);
    let largest = maximum(scores);
    if let Some(k) = scores.iter().position(|a| *a == largest) {
        growth[k] = T::ZERO;
        growth[k] = -sum(growth);
    }
}

dispatch! {
    /// s = exp((s - top) * factor) * inverse: weights of one key from its scores for some queries.
    pub(super) fn weigh[I, T: Float](top: &[T], inverse: &[T], factor: T, s: &mut [T]) {
        for ((s, top), inverse) in s.iter_mut().zip(top).zip(inverse) {
            *s = ((*s - *top) * factor).exp_decay::<I>() * *inverse;
        }
    }
}

dispatch! {
    /// What one changed key does for some queries, a its weights and t = d * factor the growth of its scores:
    /// `above` = a expm1(t), `after` = a e^t, the former added to `sums`; `largest` is the largest t so far.
    pub(super) fn grow[I, T: Float](
        a: &[T],
        d: &[T],
        factor: T,
        above: &mut [T],
        after: &mut [T],
        sums: &mut [T],
        largest: &mut [T],
    ) {
        let (from, to) = (a.iter().zip(d), above.iter_mut().zip(after));
        for (((a, d), (above, after)), (sum, largest)) in from.zip(to).zip(sums.iter_mut().zip(largest)) {
            let t = *d * factor;
            let (e, m) = t.at_most(T::of(LARGE_GROWTH)).exp_and_expm1::<I>();
            *above = *a * m;
            *after = *a * e;
            *sum += *above;
            *largest = if t > *largest { t } else { *largest };
        }
    }
}

dispatch! {
    /// From S to -S / (1 + S) and `scales` = 1 / (1 + S); both zero where the first form would not do. Returns how many
    /// those are.
    pub(super) fn settle[I, T: Float](largest: &[T], sums: &mut [T], scales: &mut [T]) -> usize {
        for ((s, scale), largest) in sums.iter_mut().zip(scales.iter_mut()).zip(largest) {
            let rest = *s + T::ONE;
            let far = (rest < T::of(SMALL_REST)) | (*largest > T::of(LARGE_GROWTH));
            *scale = if far { T::ZERO } else { T::ONE / rest };
            *s = -*s * *scale;
        }
        let mut far = 0;
        for scale in scales {
            far += usize::from(*scale == T::ZERO);
        }
        far
    }
}

dispatch! {
    /// y = factor * x.
    pub(super) fn multiple[I, T: Float](factor: T, x: &[T], y: &mut [T]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = factor * *x;
        }
    }
}

dispatch! {
    /// y = e^x - 1, x cut at the largest growth.
    fn expm1[I, T: Float](x: &[T], y: &mut [T]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = x.at_most(T::of(LARGE_GROWTH)).expm1::<I>();
        }
    }
}

dispatch! {
    /// From the growth t of scores to the change of weights a to b: `a expm1(t - total)` where that is little.
    fn differences[I, T: Float](a: &[T], b: &[T], total: T, t: &mut [T]) {
        for ((t, a), b) in t.iter_mut().zip(a).zip(b) {
            let x = *t - total;
            let little = *a * x.at_most(T::ONE).at_least(-T::ONE).expm1::<I>();
            *t = if x.abs() < T::of(0.5) { little } else { *b - *a };
        }
    }
}
