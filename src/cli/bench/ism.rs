//! `drg bench ism`: mutants a second, by delta sweeps and by running every mutant.

use std::num::NonZero;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::{Context, talk};
use super::torch::Torch;
use crate::engine::bench::ism::{IsmCase, IsmErrors};
use crate::engine::bench::{Work, median};
use crate::error::{Error, Result};
use crate::model::ZooName;
use crate::util::par;

const EXAMPLE: &str = "\
Models: drg600, drg2k, drg40k, drg40k-attention, seqtofunc251, bpnet2114, beluga

Examples:
  drg bench ism --models seqtofunc251 --rounds 1
  drg bench ism --models drg600,drg40k --against torch --accuracy 24 --json > ism.json";

/// Time in-silico mutagenesis of published shapes on the CPU
///
/// In every round one sample of mutants is swept and one batch is run whole, one after the other; the ratio is the median
/// over the rounds, so that a noisy machine disturbs both sides alike. The sample is all mutants of a short sequence, and
/// neighbouring ones of a long one; the reference pass is charged in proportion. With --against torch a batch also runs in
/// PyTorch in every round.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Models, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "drg600,seqtofunc251,bpnet2114")]
    models: Vec<String>,
    /// Mutants of a sweep [default: all; of 10,000 bp and more as many as take --seconds, up to 3000]
    #[arg(long, value_name = "N")]
    mutants: Option<NonZero<u32>>,
    /// Time of a sweep of a long model, in seconds
    #[arg(long, value_name = "S", default_value_t = 3.0, allow_negative_numbers = true)]
    seconds: f64,
    /// Rounds
    #[arg(long, value_name = "N", default_value = "5")]
    rounds: NonZero<u16>,
    /// Also compare so many effects in f32 with f64
    #[arg(long, value_name = "N")]
    accuracy: Option<NonZero<u16>>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Time another program beside
    #[arg(long, value_name = "PROGRAM")]
    against: Option<super::Rival>,
    /// Python that has torch and numpy [default: $DRG_PYTHON, else python3]
    #[arg(long, value_name = "PATH", requires = "against")]
    python: Option<PathBuf>,
}

/// One engine on one model.
struct Row {
    model: ZooName,
    engine: &'static str,
    speed: f64,
    /// Speed of the delta engine over this one's, or, of the delta engine itself, over the naive one's.
    ratio: f64,
    /// What it was timed on.
    mutants: usize,
    more: Value,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let models = args.models.iter().map(|m| ZooName::parse(m)).collect::<Result<Vec<_>>>()?;
    if !(args.seconds > 0.0 && args.seconds.is_finite()) {
        return Err(Error::Usage(format!("--seconds: expected a number above 0, found {}", args.seconds)));
    }
    let mut torch =
        args.against.map(|super::Rival::Torch| Torch::start(args.python.as_deref(), par::threads())).transpose()?;
    if let Some(torch) = &torch {
        context.talk.say(format_args!("against PyTorch {} in {}", torch.version(), torch.python().display()));
    }
    let mut rows = vec![];
    for model in models {
        let (more, errors) = measure(args, model, torch.as_mut())?;
        if let Some(e) = errors {
            context.talk.say(format_args!(
                "{model}: relative RMS error of {} effects against f64: delta {:.2e}, naive {:.2e}",
                e.mutants, e.delta, e.naive
            ));
        }
        rows.extend(more);
    }
    if args.json {
        let rows: Vec<Value> = rows.iter().map(Row::json).collect();
        return talk::print(format_args!("{:#}\n", Value::Array(rows)));
    }
    let names = ["model", "engine", "precision", "threads", "mutants timed", "mutants/s", "ratio"];
    let mut table = vec![names.map(String::from).to_vec()];
    table.extend(rows.iter().map(Row::cells));
    talk::print(talk::aligned(&table, 3))
}

fn measure(args: &Args, model: ZooName, torch: Option<&mut Torch>) -> Result<(Vec<Row>, Option<IsmErrors>)> {
    let mut case = IsmCase::new(model, args.mutants.map(|n| n.get() as usize), args.seconds)?;
    let errors = args.accuracy.map(|n| case.errors(usize::from(n.get()))).transpose()?;
    case.naive_s()?;
    case.delta_s()?;
    let mut torch = torch;
    if let Some(torch) = torch.as_mut() {
        torch.prepare(model, Work::Forward, case.batch())?;
    }
    let (n, batch) = (case.mutants() as f64, case.batch() as f64);
    let (mut delta, mut naive, mut theirs, mut passes, mut share) = (vec![], vec![], vec![], vec![], 0.0);
    for _ in 0..args.rounds.get() {
        let (pass, part) = case.reference_s()?;
        share = part;
        passes.push(pass);
        delta.push(n / (case.delta_s()? + part * pass));
        naive.push(batch / case.naive_s()?);
        if let Some(torch) = torch.as_mut() {
            theirs.push(1e3 * batch / torch.round_ms(1)?);
        }
    }
    let ratio = |other: &[f64]| median(&delta.iter().zip(other).map(|(d, o)| d / o).collect::<Vec<_>>());
    let (whole, sweep) = case.products();
    let mut more = json!({
        "reference_ms": 1e3 * median(&passes), "reference_share": share,
        "gflop_naive": 2e-9 * whole, "gflop_delta": 2e-9 * sweep,
    });
    if let (Some(e), Some(more)) = (errors, more.as_object_mut()) {
        more.insert("errors_against_f64".into(), json!(e));
    }
    let row = |engine, speeds: &[f64], ratio, mutants, more| {
        let speed = median(speeds);
        Row { model, engine, speed, ratio, mutants, more }
    };
    let mut rows = vec![
        row("delta", &delta, ratio(&naive), case.mutants(), more),
        row("naive", &naive, 1.0, case.batch(), json!({})),
    ];
    if !theirs.is_empty() {
        // How much faster than PyTorch the delta engine is.
        rows.push(row("torch", &theirs, ratio(&theirs), case.batch(), json!({})));
    }
    Ok((rows, errors))
}

impl Row {
    fn json(&self) -> Value {
        let mut row = json!({
            "model": self.model.name(), "engine": self.engine, "precision": "f32", "threads": par::threads(),
            "mutants_per_s": self.speed, "ratio": self.ratio, "mutants": self.mutants,
        });
        if let (Some(row), Some(more)) = (row.as_object_mut(), self.more.as_object()) {
            row.extend(more.clone());
        }
        row
    }

    fn cells(&self) -> Vec<String> {
        vec![
            self.model.to_string(),
            self.engine.to_string(),
            "f32".into(),
            par::threads().to_string(),
            self.mutants.to_string(),
            format!("{:.1}", self.speed),
            format!("{:.2}", self.ratio),
        ]
    }
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

    #[test]
    fn measures_both_engines() {
        let line = "x --models seqtofunc251 --mutants 6 --rounds 2 --accuracy 3";
        let args = Program::try_parse_from(line.split(' ')).unwrap().args;
        let (rows, errors) = measure(&args, ZooName::SeqToFunc251, None).unwrap();
        let engines: Vec<&str> = rows.iter().map(|r| r.engine).collect();
        assert_eq!((engines, errors.unwrap().mutants), (vec!["delta", "naive"], 3));
        let row = rows[0].json();
        for key in ["mutants_per_s", "ratio", "reference_share", "gflop_delta"] {
            assert!(row[key].as_f64().unwrap() > 0.0, "{key}: {row}");
        }
        assert!(row["errors_against_f64"]["delta"].as_f64().unwrap() < 1e-4);
        for name in ZooName::ALL {
            assert!(EXAMPLE.contains(name.name()), "{name} is not in the help");
        }
    }
}
