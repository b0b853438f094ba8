//! The run of a job and its files: blocks go to disk while the next ones compute.

use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::{Args, Job};
use crate::cli::{Context, inputs, output};
use crate::engine::mutate::{Blocks, Description, Engine, Options, Store, Verifier, join_part, mutate, write_head};
use crate::error::{Error, Result};
use crate::io::npz::write_npz;
use crate::model::{Network, Readout};

pub(super) fn run(job: &Job, out: &Path, args: &Args, context: &Context) -> Result<()> {
    let clock = Instant::now();
    let mut options = job.options.clone();
    if options.engine == Engine::Auto {
        let (plan, _) = job.plan()?;
        context.talk.detail(format_args!("engine {}: {}", plan.engine.name(), plan.reason));
        options.engine = plan.engine;
    }
    let description = job.describe(options.engine);
    let mut verifier = job.verify.map(|share| Verifier::new(&job.model.network, share)).transpose()?;
    let stored = out.extension().is_some_and(|e| e == "zarr");
    let done = match stored {
        true => to_store(job, out, description, options, verifier.as_mut(), context)?,
        false => {
            let mut done = 0;
            output::write_file(out, context, args, |path| {
                done = to_npz(job, path, &description, options, verifier.as_mut(), context)?;
                Ok(())
            })?;
            done
        }
    };
    if stored {
        output::record(out, context, args)?;
    }
    context.talk.say(format_args!(
        "{} sequences, {} columns, {done} mutants, {:.0} mutants/s",
        job.sequences.len(),
        job.columns.len(),
        done as f64 / clock.elapsed().as_secs_f64()
    ));
    let report = verifier.map(|v| v.report());
    if report.is_some_and(|v| v.mutants == 0) {
        context.talk.say("nothing was computed, so nothing was verified");
    } else if let Some(v) = report {
        context.talk.say(format_args!(
            "verified {} mutants in f64: relative RMS error {:.2e}, largest error {:.2e} of the largest effect",
            v.mutants, v.rms, v.largest
        ));
        if v.rms.is_nan() || v.rms > 0.01 {
            let what = "the effects are not those of the mutants: their relative RMS error is above 1 %";
            return Err(Error::Failed(format!("{what}; compute them with --engine naive or --precision f64")));
        }
    }
    Ok(())
}

impl Job {
    fn describe(&self, engine: Engine) -> Description {
        let (n, range) = (self.sequences.len(), self.range.clone());
        let r = &self.reduction;
        let mut options = json!({
            "checksum of model and sequences": format!("{:08x}", self.checksum),
            "engine": engine.name(),
            "precision": if self.options.double { "f64" } else { self.options.precision.name() },
            "compare": r.compare.name(),
            "pseudocount": r.pseudocount,
            "gauge": r.gauge.name(),
            "tracks": r.tracks,
            "tracks and weights of each group": r.groups.terms(),
        });
        if let Some(bins) = self.model.network.architecture().bins() {
            options["bins"] = match self.model.network.readout() {
                Readout::Sum => json!("sum"),
                Readout::Bins => json!(bins),
                Readout::Weights(weights) => json!(weights.as_ref()),
            };
        }
        Description {
            names: self.sequences.names.clone(),
            columns: self.columns.clone(),
            groups: r.groups.names.clone(),
            bases: (0..n).flat_map(|i| self.sequences.row(i)[range.clone()].iter().copied()).collect(),
            start: range.start,
            positions: range.len(),
            rows: r.rows(),
            options: options.as_object().cloned().unwrap_or_default(),
        }
    }

    /// Calls `f` with every block: its number, its sequence, its part, what is written of it, and the predictions.
    fn each(
        &self,
        blocks: Blocks,
        mut verifier: Option<&mut Verifier<Network>>,
        context: &Context,
        total: usize,
        mut f: impl FnMut(usize, usize, usize, &[f32], &[f32]) -> Result<()>,
    ) -> Result<usize> {
        let bar = inputs::bar(context.talk, total, "mutants");
        let edits = self.edits();
        let (mut done, mut undefined) = (0, 0);
        for block in blocks {
            let block = block?;
            let codes = self.sequences.row(block.sequence);
            if let Some(v) = verifier.as_deref_mut() {
                v.check(&block, codes, &self.reduction.tracks)?;
            }
            let positions = edits.positions(block.part);
            let (values, predictions) = self.reduction.apply(&block, positions.clone(), &codes[positions])?;
            undefined += values.iter().filter(|v| !v.is_finite()).count();
            f(block.index, block.sequence, block.part, &values, &predictions)?;
            done += block.edits.len();
            bar.inc(block.edits.len() as u64);
        }
        bar.finish_and_clear();
        if undefined > 0 {
            context.talk.say(format_args!("{undefined} values are not finite"));
        }
        Ok(done)
    }
}

fn to_npz(
    job: &Job,
    path: &Path,
    description: &Description,
    options: Options,
    verifier: Option<&mut Verifier<Network>>,
    context: &Context,
) -> Result<usize> {
    let (n, p) = (description.names.len(), description.positions);
    let lines = description.columns.len() * description.rows;
    let parts = job.edits().blocks(0);
    let mut done = 0;
    write_npz(path, |w| {
        write_head(w, description)?;
        let mut predictions = Vec::with_capacity(n * description.groups.len());
        let mut values = w.start::<f32>("values", &[n, description.columns.len(), description.rows, p])?;
        let mut whole = vec![0f32; lines * p];
        let blocks = mutate(&job.model.network, &job.sequences.bases, job.edits(), options);
        done = job.each(blocks, verifier, context, job.mutants(), |_, _, part, block, predicted| {
            join_part(block, part, p, &mut whole);
            if part == 0 {
                predictions.extend_from_slice(predicted);
            }
            if part + 1 == parts { values.push(&whole) } else { Ok(()) }
        })?;
        values.finish()?;
        w.array("predictions", &[n, description.groups.len()], &predictions)
    })?;
    Ok(done)
}

fn to_store(
    job: &Job,
    out: &Path,
    description: Description,
    options: Options,
    verifier: Option<&mut Verifier<Network>>,
    context: &Context,
) -> Result<usize> {
    let mut store = match job.resume {
        true => Store::resume(out, description, job.shard, job.kind)?,
        false => Store::create(out, description, job.shard, job.kind)?,
    };
    let missing = store.missing(job.shard)?;
    if missing.is_empty() {
        match store.chunks(job.shard) {
            0 => {
                context.talk.say(format_args!("this shard has no chunk: the job has {} of them", store.chunks((0, 1))))
            }
            _ => context.talk.say("every block is there already"),
        }
        return Ok(0);
    }
    let per = job.edits().blocks(0);
    let total: usize = missing.iter().map(|b| 3 * job.edits().positions(b % per).len()).sum();
    let options = Options { blocks: Some(missing), ..options };
    let blocks = mutate(&job.model.network, &job.sequences.bases, job.edits(), options);
    job.each(blocks, verifier, context, total, |index, _, _, values, predictions| store.put(index, values, predictions))
}
