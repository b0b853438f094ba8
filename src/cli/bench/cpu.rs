//! `drg bench cpu`: forward passes and training steps of published shapes.

use std::num::NonZero;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::{Context, talk};
use super::Rival;
use super::torch::Torch;
use crate::engine::bench::{Case, Timing, Work, median};
use crate::error::{Error, Result};
use crate::model::ZooName;
use crate::util::par;

const MODELS: &str = "drg600,seqtofunc251,bpnet2114";

const EXAMPLE: &str = "\
Models: drg600, drg2k, drg40k, drg40k-attention, seqtofunc251, bpnet2114, beluga

Examples:
  drg bench cpu --models drg600 --what forward --seconds 1
  drg bench cpu --against torch --json > speed.json";

/// Time forward passes and training steps of published shapes on the CPU
///
/// A training step is forward, mean squared error, backward and SGD with momentum. With --against torch the same models run
/// in PyTorch on as many threads: rounds alternate, the other side sleeping, and the ratio (above 1 = drg is faster) is the
/// median over the rounds, so that a noisy machine disturbs both sides alike.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Models, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = MODELS)]
    models: Vec<String>,
    /// What to time, separated by commas: forward, train
    #[arg(long, value_name = "WORK", value_delimiter = ',', default_value = "forward,train")]
    what: Vec<String>,
    /// Sequences of a pass [default: 32, from 2,000 bp on 16, from 10,000 bp on 2]
    #[arg(long, value_name = "N")]
    batch: Option<NonZero<u32>>,
    /// Time for the rounds of a case, a side, in seconds
    #[arg(long, value_name = "S", default_value_t = 2.0, allow_negative_numbers = true)]
    seconds: f64,
    /// Rounds that the time is divided into; every round has at least one pass
    #[arg(long, value_name = "N", default_value = "7")]
    rounds: NonZero<u16>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Time another program beside
    #[arg(long, value_name = "PROGRAM")]
    against: Option<Rival>,
    /// Python that has torch and numpy [default: $DRG_PYTHON, else python3]
    #[arg(long, value_name = "PATH", requires = "against")]
    python: Option<PathBuf>,
}

/// What the user asked for, checked.
struct Plan {
    cases: Vec<(ZooName, Work)>,
    batch: usize,
    round_ms: f64,
    rounds: usize,
}

/// Medians over the rounds.
struct Outcome {
    timing: Timing,
    /// Their time in milliseconds, and the ratio theirs to ours.
    rival: Option<(f64, f64)>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let plan = args.validated()?;
    let mut torch =
        args.against.map(|Rival::Torch| Torch::start(args.python.as_deref(), par::threads())).transpose()?;
    if let Some(torch) = &torch {
        context.talk.say(format_args!("against PyTorch {} in {}", torch.version(), torch.python().display()));
    }
    let mut outcomes = vec![];
    for &(model, work) in &plan.cases {
        let outcome = measure(&plan, model, work, torch.as_mut())?;
        context.talk.detail(format_args!("{} {model}: {:.2} ms", work.name(), outcome.timing.median_ms));
        outcomes.push(outcome);
    }
    if args.json {
        let rows = outcomes.iter().map(Outcome::json).collect::<Result<Vec<_>>>()?;
        return talk::print(format_args!("{:#}\n", Value::Array(rows)));
    }
    let mut table = vec![header(torch.is_some())];
    table.extend(outcomes.iter().map(Outcome::cells));
    talk::print(talk::aligned(&table, 2))
}

impl Args {
    fn validated(&self) -> Result<Plan> {
        let models = self.models.iter().map(|m| ZooName::parse(m)).collect::<Result<Vec<_>>>()?;
        let works = self.what.iter().map(|w| Work::parse(w)).collect::<Result<Vec<_>>>()?;
        if !(self.seconds > 0.0 && self.seconds.is_finite()) {
            return Err(Error::Usage(format!("--seconds: expected a number above 0, found {}", self.seconds)));
        }
        let rounds = usize::from(self.rounds.get());
        Ok(Plan {
            cases: models.iter().flat_map(|&m| works.iter().map(move |&w| (m, w))).collect(),
            batch: self.batch.map_or(0, |b| b.get() as usize),
            round_ms: 1e3 * self.seconds / rounds as f64,
            rounds,
        })
    }
}

fn measure(plan: &Plan, model: ZooName, work: Work, torch: Option<&mut Torch>) -> Result<Outcome> {
    let mut case = Case::new(model, work, plan.batch)?;
    let runs = |ms: f64| (plan.round_ms / ms).max(1.0) as usize;
    let our_runs = runs(case.warm_up()?);
    let mut ours = vec![];
    let Some(torch) = torch else {
        for _ in 0..plan.rounds {
            ours.push(median(&case.times_ms(our_runs)?));
        }
        return Ok(Outcome { timing: case.timing(median(&ours)), rival: None });
    };
    let their_runs = runs(torch.prepare(model, work, case.batch())?);
    let mut theirs = vec![];
    for _ in 0..plan.rounds {
        ours.push(median(&case.times_ms(our_runs)?));
        theirs.push(torch.round_ms(their_runs)?);
    }
    let ratios: Vec<f64> = theirs.iter().zip(&ours).map(|(t, o)| t / o).collect();
    Ok(Outcome { timing: case.timing(median(&ours)), rival: Some((median(&theirs), median(&ratios))) })
}

fn header(rival: bool) -> Vec<String> {
    let own = ["what", "model", "batch", "threads", "median ms", "sequences/s", "GFLOP/s"];
    let both = if rival { &["torch ms", "ratio"][..] } else { &[] };
    own.iter().chain(both).map(|s| s.to_string()).collect()
}

impl Outcome {
    fn json(&self) -> Result<Value> {
        let t = &self.timing;
        let mut row = json!({
            "what": t.what, "model": t.model, "batch": t.batch, "threads": t.threads,
            "median_ms": rounded(t.median_ms), "sequences_per_s": rounded(t.sequences_per_s),
            "gflop_per_s": rounded(t.gflop_per_s),
        });
        if let (Some((ms, ratio)), Some(row)) = (self.rival, row.as_object_mut()) {
            row.insert("torch_median_ms".into(), json!(rounded(ms)));
            row.insert("ratio".into(), json!(rounded(ratio)));
        }
        Ok(row)
    }

    fn cells(&self) -> Vec<String> {
        let t = &self.timing;
        let mut cells = vec![
            t.what.to_string(),
            t.model.to_string(),
            t.batch.to_string(),
            t.threads.to_string(),
            format!("{:.2}", t.median_ms),
            format!("{:.1}", t.sequences_per_s),
            format!("{:.0}", t.gflop_per_s),
        ];
        if let Some((ms, ratio)) = self.rival {
            cells.extend([format!("{ms:.2}"), format!("{ratio:.2}")]);
        }
        cells
    }
}

/// Four decimals: more are noise.
fn rounded(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        args: Args,
    }

    fn plan(arguments: &[&str]) -> Result<Plan> {
        Program::try_parse_from([&["x"], arguments].concat()).unwrap().args.validated()
    }

    #[test]
    fn cases_are_every_model_with_every_work() {
        let p = plan(&["--models", "beluga,drg600", "--what", "train,forward", "--rounds", "4"]).unwrap();
        let cases = [
            (ZooName::Beluga, Work::Train),
            (ZooName::Beluga, Work::Forward),
            (ZooName::Drg600, Work::Train),
            (ZooName::Drg600, Work::Forward),
        ];
        assert_eq!(p.cases, cases);
        assert_eq!((p.batch, p.rounds, p.round_ms), (0, 4, 500.0));
        assert_eq!(plan(&[]).unwrap().cases.len(), 6);
    }

    #[test]
    fn wrong_use_is_refused() {
        for (arguments, part) in [
            (["--models", "drg60"], "did you mean 'drg600'?"),
            (["--what", "forwards"], "did you mean 'forward'?"),
            (["--seconds", "-1"], "above 0"),
        ] {
            let e = plan(&arguments).err().expect("wrong use");
            assert!(e.to_string().contains(part), "{e}");
            assert_eq!(e.exit_code(), 2);
        }
        assert!(Program::try_parse_from(["x", "--python", "p"]).is_err());
        for name in ZooName::ALL {
            assert!(EXAMPLE.contains(name.name()), "{name} is not in the help");
        }
    }

    #[test]
    fn measures_alone() {
        let p = plan(&[
            "--models",
            "bpnet2114",
            "--what",
            "forward",
            "--batch",
            "1",
            "--seconds",
            "0.001",
            "--rounds",
            "2",
        ]);
        let p = p.unwrap();
        let outcome = measure(&p, p.cases[0].0, p.cases[0].1, None).unwrap();
        let row = outcome.json().unwrap();
        assert_eq!((row["what"].as_str(), row["batch"].as_u64()), (Some("forward"), Some(1)));
        assert!(row["median_ms"].as_f64().unwrap() > 0.0 && row.get("ratio").is_none());
        assert_eq!(outcome.cells().len(), header(false).len());
    }
}
