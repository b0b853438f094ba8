//! `drg ism --plan`: what a job costs by either engine, layer by layer.

use std::fmt::Write;
use std::time::Instant;

use super::Job;
use crate::cli::layers::layers;
use crate::engine::mutate::{Edits, Engine, Predictor, Reference};
use crate::error::Result;
use crate::tensor::DType;
use crate::util::par;

/// Mutants that are timed.
const SAMPLE: usize = 96;

pub(super) fn text(job: &Job) -> Result<String> {
    let (plan, reference) = job.plan()?;
    let (n, l) = (job.sequences.len(), job.sequences.length);
    let mut text = layers(&plan);

    // What a mutant and a pass take is measured, on a few of them.
    let blocks = Edits::Substitutions(job.range.clone());
    let middle = blocks.blocks(0) / 2;
    let mut edits = blocks.block(0, middle, job.sequences.row(0));
    edits.truncate(SAMPLE);
    let codes = job.sequences.row(0);
    let seconds = |f: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
        f()?;
        let clock = Instant::now();
        f()?;
        Ok(clock.elapsed().as_secs_f64())
    };
    let naive_batch = (SAMPLE * 600 / l.max(1)).clamp(1, SAMPLE);
    let (network, precision) = (&job.model.network, job.options.precision);
    let batch = codes.repeat(naive_batch);
    let naive = seconds(&mut || network.predict_in(&batch, precision).map(drop))? / naive_batch as f64;
    let wide = if network.device().is_gpu() { None } else { Some(network.to_dtype(DType::F64)?) };
    let pass = seconds(&mut || match &wide {
        Some(wide) => Reference::rounded(network, wide, codes).map(drop),
        None => Reference::new(network, codes).map(drop),
    })?;
    let sweep = match plan.engine {
        Engine::Naive => None,
        _ => Some(
            seconds(&mut || reference.effects(&vec![0; edits.len()], &edits).map(drop))? / edits.len().max(1) as f64,
        ),
    };
    let mutants = job.mutants();
    let _ = writeln!(text, "\n{n} sequences of {l} bp, {mutants} mutants, {} threads", par::threads());
    let _ = writeln!(
        text,
        "arithmetic a mutant: naive {:.4} GFLOP, delta {:.4} GFLOP ({:.1} times less; {:.1} with the reference pass)",
        2e-9 * plan.naive,
        2e-9 * plan.delta,
        plan.naive / plan.delta,
        plan.naive / plan.delta_with_reference,
    );
    if let Some(sweep) = sweep {
        let lanes: Vec<String> = plan.lanes.iter().map(ToString::to_string).collect();
        let _ = writeln!(text, "mutants swept together, stage by stage: {}", lanes.join(", "));
        let _ = writeln!(
            text,
            "predicted time, delta: {} ({:.1} ms a reference pass, {:.0} mutants/s, measured on {} mutants)",
            time(n as f64 * pass + mutants as f64 * sweep),
            1e3 * pass,
            1.0 / sweep,
            edits.len()
        );
    }
    let _ = writeln!(
        text,
        "predicted time, naive: {} ({:.1} mutants/s, measured on {naive_batch})",
        time(mutants as f64 * naive),
        1.0 / naive
    );
    let _ = writeln!(text, "engine: {} ({})", plan.engine.name(), plan.reason);
    Ok(text)
}

/// A time as people say it.
fn time(seconds: f64) -> String {
    match seconds {
        s if s < 1.0 => format!("{:.0} ms", 1e3 * s),
        s if s < 120.0 => format!("{s:.1} s"),
        s if s < 7200.0 => format!("{:.1} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn times() {
        let all = [0.0123, 3.45, 600.0, 36_000.0].map(super::time);
        assert_eq!(all, ["12 ms", "3.5 s", "10.0 min", "10.0 h"]);
    }
}
