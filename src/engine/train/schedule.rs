//! Learning rate and momentum as functions of the step, for the schedules that look at nothing else.

use std::f64::consts::PI;

use crate::model::spec::Schedule;

/// Rate and, if the schedule moves it, momentum at step `step` of `total` (from 0), for the learning rate `lr`.
/// `torch.optim.lr_scheduler.OneCycleLR` and `CosineAnnealingLR`, stepped after every batch.
pub(super) fn at(schedule: &Schedule, lr: f64, step: u64, total: u64) -> (f64, Option<f64>) {
    match *schedule {
        Schedule::OneCycle { pct_start, div_factor, final_div_factor, momentum } => {
            let (first, last) = (lr / div_factor, lr / div_factor / final_div_factor);
            let peak = pct_start * total as f64 - 1.0;
            let (rising, part) = phase(step as f64, peak, total as f64 - 1.0);
            let rate = if rising { cosine(first, lr, part) } else { cosine(lr, last, part) };
            let momentum =
                momentum.map(|(peak, ends)| if rising { cosine(ends, peak, part) } else { cosine(peak, ends, part) });
            (rate, momentum)
        }
        Schedule::Cosine { min_lr } => (cosine(lr, min_lr, step as f64 / (total as f64).max(1.0)), None),
        Schedule::Constant | Schedule::Reference { .. } => (lr, None),
    }
}

/// Whether a step belongs to the rise, and which part of its phase has passed. Runs that are too short to rise begin at the
/// peak.
fn phase(step: f64, peak: f64, last: f64) -> (bool, f64) {
    let part = |from: f64, to: f64| if to > from { ((step - from) / (to - from)).clamp(0.0, 1.0) } else { 1.0 };
    if step <= peak { (true, part(0.0, peak)) } else { (false, part(peak, last)) }
}

fn cosine(start: f64, end: f64, part: f64) -> f64 {
    end + (start - end) / 2.0 * ((PI * part).cos() + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `w = [nn.Parameter(torch.zeros(1))]; o = O.SGD(w, 0.1, momentum=0.9);
    /// s = lr_scheduler.OneCycleLR(o, 0.1, total_steps=10, pct_start=0.4, base_momentum=0.8, max_momentum=0.95,
    /// div_factor=20, final_div_factor=50)`; rate and momentum before each of the ten steps. Torch 2.11.
    #[rustfmt::skip]
    const ONE_CYCLE: [(f64, f64); 10] = [
        (0.0050000000000000044, 0.95), (0.028749999999999998, 0.9125),
        (0.07625, 0.8375), (0.1, 0.8),
        (0.09330796891903273, 0.8100480947161671), (0.07502500000000001, 0.8375),
        (0.050050000000000004, 0.875), (0.02507500000000001, 0.9125),
        (0.006792031080967287, 0.9399519052838329), (0.0001, 0.95),
    ];

    /// `lr_scheduler.CosineAnnealingLR(o, 7, eta_min=0.01)` of the same optimiser.
    #[rustfmt::skip]
    const COSINE: [f64; 7] = [
        0.1, 0.09554359905560886, 0.08305704108364301, 0.06501344202803415, 0.04498655797196586, 0.026942958916356993, 0.014456400944391143,
    ];

    #[test]
    fn schedules_of_torch() {
        let cycle = Schedule::OneCycle {
            pct_start: 0.4,
            div_factor: 20.0,
            final_div_factor: 50.0,
            momentum: Some((0.8, 0.95)),
        };
        for (step, (rate, momentum)) in (0..).zip(ONE_CYCLE) {
            let (r, m) = at(&cycle, 0.1, step, 10);
            assert!((r - rate).abs() < 1e-15 && (m.unwrap() - momentum).abs() < 1e-15, "{step}: {r} {m:?}");
        }
        for (step, rate) in (0..).zip(COSINE) {
            let (r, m) = at(&Schedule::Cosine { min_lr: 0.01 }, 0.1, step, 7);
            assert!((r - rate).abs() < 1e-15 && m.is_none(), "{step}: {r}");
        }
        assert_eq!(at(&Schedule::Constant, 0.1, 3, 7), (0.1, None));
    }

    #[test]
    fn short_runs_stay_finite() {
        for total in 0..4 {
            for pct_start in [0.0, 0.3, 1.0] {
                let s = Schedule::OneCycle { pct_start, div_factor: 25.0, final_div_factor: 1e4, momentum: None };
                for step in 0..total + 1 {
                    let (rate, _) = at(&s, 1.0, step, total);
                    assert!((0.0..=1.0).contains(&rate), "{rate}");
                }
            }
        }
    }
}
