//! `drg bench gpu`: kernels against the ceilings of the card, models and mutants.

mod rows;

use std::num::NonZero;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::{Context, talk};
use super::Rival;
use super::torch::Torch;
use crate::device::{Device, Gpu, Precision};
use crate::engine::bench::gpu::{self, Job, Roof};
use crate::engine::bench::{Work, median};
use crate::error::{Error, Result, hint};
use crate::model::ZooName;
use crate::util::philox::Philox;

use rows::Row;

/// Purpose of the random order of cases.
const ORDER: u64 = 0xBE06;
/// Runs of a round, at most.
const RUNS: usize = 200;

const EXAMPLE: &str = "\
Parts: ops, forward, train, ism. The ceilings (copies within the memory, our products of 8192 x 8192) are always measured.
Models: drg600, drg2k, drg40k, drg40k-attention, seqtofunc251, bpnet2114, beluga

Examples:
  drg bench gpu --json > gpu.json
  drg bench gpu --what ops --ops conv1d,pool --precisions bf16
  drg bench gpu --what forward,ism --models drg40k --against torch --compile --accuracy 24";

/// Time kernels, models and mutants on a GPU
///
/// Events of the GPU tell the time. Every case is warmed up; then come rounds, in each of which all cases of a part run in
/// random order, so that a clock that sinks meets all of them alike; a time is the median of the rounds. Of single operations
/// it also says which share of their roof they reach: the larger of the bytes that they must move at the rate of a copy, and
/// their arithmetic at the rate of our own product of large matrices. Mutants are timed by the host's clock from bases to
/// effects in the host's memory, the reference pass included.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Parts to time, separated by commas
    #[arg(long, value_name = "PARTS", value_delimiter = ',', default_value = "ops,forward,train,ism")]
    what: Vec<String>,
    /// Only these operations, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    ops: Vec<String>,
    /// Models, separated by commas [default: all]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    models: Vec<String>,
    /// Precisions of products, separated by commas [default: f32,tf32,bf16,f16]
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    precisions: Vec<String>,
    /// Sequences of a pass [default: two sizes for each model]
    #[arg(long, value_name = "N")]
    batch: Option<NonZero<u32>>,
    /// Sequences whose mutants are timed, separated by commas
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,4")]
    sequences: Vec<NonZero<u32>>,
    /// Time for the rounds of a case, a side, in seconds
    #[arg(long, value_name = "S", default_value_t = 0.5, allow_negative_numbers = true)]
    seconds: f64,
    /// Rounds
    #[arg(long, value_name = "N", default_value = "5")]
    rounds: NonZero<u16>,
    /// Also compare so many effects with f64 on the CPU
    #[arg(long, value_name = "N")]
    accuracy: Option<NonZero<u16>>,
    /// Sizes that say nothing about speed, for a look at whether everything runs
    #[arg(long)]
    tiny: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Time another program beside
    #[arg(long, value_name = "PROGRAM")]
    against: Option<Rival>,
    /// Let PyTorch compile its models
    #[arg(long, requires = "against")]
    compile: bool,
    /// Python that has torch with CUDA, and numpy [default: $DRG_PYTHON, else python3]
    #[arg(long, value_name = "PATH", requires = "against")]
    python: Option<PathBuf>,
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Ops,
    Passes(Work),
    Ism,
}

/// What the user asked for, checked.
#[derive(Debug)]
struct Plan {
    parts: Vec<Part>,
    ops: Vec<String>,
    models: Vec<ZooName>,
    precisions: Vec<Precision>,
    batch: Option<usize>,
    sequences: Vec<usize>,
    round_ms: f64,
    rounds: usize,
    accuracy: Option<usize>,
    tiny: bool,
    compile: bool,
}

/// One case, while it is timed.
struct Case {
    row: Row,
    /// `None` once it has failed.
    job: Option<Job>,
    runs: usize,
    ours: Vec<f64>,
    /// What to ask of the other program.
    request: Option<Value>,
    their_runs: usize,
    theirs: Vec<f64>,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let plan = args.validated()?;
    let gpu = open(context.device.as_deref())?;
    let mut torch = args.against.map(|Rival::Torch| Torch::start_gpu(args.python.as_deref())).transpose()?;
    if let Some(torch) = &torch {
        context.talk.say(format_args!("against PyTorch {} in {}", torch.version(), torch.python().display()));
    }
    let (roof, mut rows) = ceilings(&plan, &gpu)?;
    for row in &rows {
        context.talk.detail(row);
    }
    for &part in &plan.parts {
        let timed = match part {
            Part::Ops => ops(&plan, &gpu, &roof, torch.as_mut())?,
            Part::Passes(work) => passes(&plan, &gpu, work, torch.as_mut())?,
            Part::Ism => mutants(&plan, &gpu, torch.as_mut())?,
        };
        for row in &timed {
            context.talk.detail(row);
        }
        rows.extend(timed);
    }
    if args.json {
        return talk::print(format_args!("{:#}\n", rows::as_json(&gpu, &rows)));
    }
    talk::print(rows::as_tables(&gpu, &rows))
}

/// The GPU of `--device`; without it the first.
fn open(asked: Option<&str>) -> Result<Gpu> {
    match Device::open(asked.filter(|&d| d != "auto").unwrap_or("cuda"))?.0 {
        Device::Cuda(gpu) => Ok(gpu),
        Device::Cpu => Err(Error::Usage("--device cpu: expected a GPU; drg bench cpu times the CPU".into())),
    }
}

impl Args {
    fn validated(&self) -> Result<Plan> {
        let part = |name: &String| match name.as_str() {
            "ops" => Ok(Part::Ops),
            "ism" => Ok(Part::Ism),
            other => Work::parse(other).map(Part::Passes).map_err(|_| {
                let near = hint(other, ["ops", "forward", "train", "ism"]);
                Error::Usage(format!("--what {other}: expected ops, forward, train or ism{near}"))
            }),
        };
        let precision = |name: &String| {
            Precision::parse(name).ok_or_else(|| {
                let all = || Precision::ALL.iter().map(|p| p.name());
                let list = all().collect::<Vec<_>>().join(", ");
                Error::Usage(format!("--precisions {name}: expected some of {list}{}", hint(name, all())))
            })
        };
        if !(self.seconds > 0.0 && self.seconds.is_finite()) {
            return Err(Error::Usage(format!("--seconds: expected a number above 0, found {}", self.seconds)));
        }
        let rounds = usize::from(self.rounds.get());
        let models = match (self.models.is_empty(), self.tiny) {
            (true, true) => vec![ZooName::Tiny],
            (true, false) => ZooName::ALL.to_vec(),
            _ => self.models.iter().map(|m| ZooName::parse(m)).collect::<Result<_>>()?,
        };
        let precisions = match self.precisions.is_empty() {
            true => Precision::ALL.to_vec(),
            false => self.precisions.iter().map(precision).collect::<Result<_>>()?,
        };
        Ok(Plan {
            parts: self.what.iter().map(part).collect::<Result<_>>()?,
            ops: self.ops.clone(),
            models,
            precisions,
            batch: self.batch.map(|b| b.get() as usize),
            sequences: self.sequences.iter().map(|n| n.get() as usize).collect(),
            round_ms: 1e3 * self.seconds / rounds as f64,
            rounds,
            accuracy: self.accuracy.map(|n| usize::from(n.get())),
            tiny: self.tiny,
            compile: self.compile,
        })
    }
}

/// The rates of copies and of products.
fn ceilings(plan: &Plan, gpu: &Gpu) -> Result<(Roof, Vec<Row>)> {
    let (copy, bytes) = gpu::copy(gpu, plan.tiny)?;
    let mut cases = vec![Case::new(Row::ceiling("copy", None, bytes), Ok(copy), None)];
    for &precision in &plan.precisions {
        let product = gpu::product(gpu, precision, plan.tiny);
        let operations = product.as_ref().map_or(0.0, |p| p.1);
        let row = Row::ceiling("product", Some(precision), operations);
        cases.push(Case::new(row, product.map(|p| p.0), None));
    }
    let rows = measure(plan, cases, None)?;
    let mut roof = Roof::default();
    for row in &rows {
        match (row.per_second(), row.precision) {
            (Some(rate), Some(precision)) => roof.operations.push((precision, rate)),
            (Some(rate), None) => roof.bytes = rate,
            (None, _) => {}
        }
    }
    Ok((roof, rows))
}

fn ops(plan: &Plan, gpu: &Gpu, roof: &Roof, torch: Option<&mut Torch>) -> Result<Vec<Row>> {
    let mut all = gpu::op_cases(gpu, plan.tiny);
    for name in &plan.ops {
        if !all.iter().any(|c| c.op == name) {
            let near = hint(name, all.iter().map(|c| c.op));
            return Err(Error::Usage(format!(
                "--ops {name}: there is no such operation among those that are timed{near}"
            )));
        }
    }
    all.retain(|c| plan.ops.is_empty() || plan.ops.iter().any(|name| c.op == name));
    all.retain(|c| c.operations == 0.0 || plan.precisions.contains(&c.precision));
    let case = |mut c: gpu::OpCase| {
        let (pass, precision) = (c.pass.name(), c.precision.name());
        let request = json!({ "op": c.op, "sizes": c.sizes, "pass": pass, "precision": precision });
        let row = Row::op(&c, roof.floor_ms(c.bytes, c.operations, c.precision));
        let known = !c.sizes.is_empty();
        Case::new(row, c.job(), known.then_some(request))
    };
    measure(plan, all.into_iter().map(case).collect(), torch)
}

fn passes(plan: &Plan, gpu: &Gpu, work: Work, mut torch: Option<&mut Torch>) -> Result<Vec<Row>> {
    let mut rows = vec![];
    // One model after the other: together they need not fit into the memory.
    for &name in &plan.models {
        let mut cases = vec![];
        for batch in plan.batch.map_or_else(|| gpu::batches(name, work), |b| vec![b]) {
            for &precision in &plan.precisions {
                let job = gpu::model(gpu, name, work, batch, precision);
                let operations = job.as_ref().map_or(0.0, |j| j.1);
                let row = Row::pass(work, name, batch, precision, operations);
                let request = plan.request(name, work, batch, precision);
                cases.push(Case::new(row, job.map(|j| j.0), Some(request)));
            }
        }
        rows.extend(measure(plan, cases, torch.as_deref_mut())?);
        gpu.trim()?;
    }
    Ok(rows)
}

impl Plan {
    /// A pass of a model in the other program.
    fn request(&self, name: ZooName, work: Work, batch: usize, precision: Precision) -> Value {
        json!({
            "model": name.name(), "what": work.name(), "batch": batch, "precision": precision.name(),
            "compile": self.compile,
        })
    }
}

/// Mutants: here a run is a job of the host, and the other program runs batches of whole mutants.
fn mutants(plan: &Plan, gpu: &Gpu, mut torch: Option<&mut Torch>) -> Result<Vec<Row>> {
    let mut rows = vec![];
    for &name in &plan.models {
        for &sequences in &plan.sequences {
            let mut job = gpu::Mutation::new(gpu, name, sequences)?;
            for &precision in &plan.precisions {
                let mut row = Row::mutants(name, sequences, precision, job.mutants());
                match time_mutants(plan, &mut job, &mut row, torch.as_deref_mut()) {
                    Ok(()) => {}
                    // One that does not fit must not hide the others.
                    Err(e) => row.failed(&e),
                }
                rows.push(row);
            }
        }
        gpu.trim()?;
    }
    Ok(rows)
}

fn time_mutants(plan: &Plan, job: &mut gpu::Mutation, row: &mut Row, torch: Option<&mut Torch>) -> Result<()> {
    if let Some(n) = plan.accuracy {
        row.errors = Some(job.errors(row.precision.unwrap_or_default(), n)?);
    }
    let precision = row.precision.unwrap_or_default();
    job.run_s(precision)?;
    let batch = plan.batch.unwrap_or_else(|| gpu::batches(job.name(), Work::Forward)[1]);
    let (mut ours, mut theirs) = (vec![], vec![]);
    let mut torch = torch;
    if let Some(torch) = torch.as_deref_mut() {
        let mut request = plan.request(job.name(), Work::Forward, batch, precision);
        request["case"] = json!(0);
        torch.ask(&request)?;
    }
    for _ in 0..plan.rounds {
        ours.push(1e3 * job.run_s(precision)?);
        if let Some(torch) = torch.as_deref_mut() {
            // The time of as many mutants.
            let ms = torch.ask(&json!({ "run": 0, "runs": 3 }))?;
            theirs.push(ms * job.mutants() as f64 / batch as f64);
        }
    }
    if let Some(torch) = torch {
        torch.ask(&json!({ "forget": 0 }))?;
    }
    row.timed(&ours, &theirs);
    Ok(())
}

impl Case {
    fn new(mut row: Row, job: Result<Job>, request: Option<Value>) -> Self {
        let job = match job {
            Ok(job) => Some(job),
            Err(e) => {
                row.failed(&e);
                None
            }
        };
        Self { row, job, runs: 1, ours: vec![], request, their_runs: 1, theirs: vec![] }
    }

    /// Runs the job; a failure ends the case, not the benchmark.
    fn times(&mut self, runs: usize) -> Option<f64> {
        match self.job.as_mut()?.times_ms(runs) {
            Ok(times) => Some(median(&times)),
            Err(e) => {
                self.row.failed(&e);
                self.job = None;
                None
            }
        }
    }
}

/// Times all cases side by side, in a new random order in every round.
fn measure(plan: &Plan, mut cases: Vec<Case>, mut torch: Option<&mut Torch>) -> Result<Vec<Row>> {
    let runs = |ms: f64| (plan.round_ms / ms.max(1e-3)).clamp(1.0, RUNS as f64) as usize;
    for (i, case) in cases.iter_mut().enumerate() {
        if case.times(3).is_some() {
            case.runs = case.times(1).map_or(1, runs);
        }
        let (Some(torch), Some(request)) = (torch.as_deref_mut(), case.request.as_mut()) else { continue };
        request["case"] = json!(i);
        match torch.ask(request) {
            Ok(ms) => case.their_runs = runs(ms),
            Err(e) => {
                case.row.rival_failed(&e);
                case.request = None;
            }
        }
    }
    let mut random = Philox::new(1, ORDER);
    for _ in 0..plan.rounds {
        let mut order: Vec<usize> = (0..cases.len()).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, random.below(i + 1));
        }
        for i in order {
            let case = &mut cases[i];
            let time = case.times(case.runs);
            case.ours.extend(time);
            let (Some(torch), Some(_)) = (torch.as_deref_mut(), &case.request) else { continue };
            match torch.ask(&json!({ "run": i, "runs": case.their_runs })) {
                Ok(ms) => case.theirs.push(ms),
                Err(e) => {
                    case.row.rival_failed(&e);
                    case.request = None;
                }
            }
        }
    }
    if let Some(torch) = torch {
        for i in (0..cases.len()).filter(|&i| cases[i].request.is_some()) {
            torch.ask(&json!({ "forget": i }))?;
        }
    }
    let row = |mut case: Case| {
        if case.job.is_some() {
            case.row.timed(&case.ours, &case.theirs);
        }
        case.row
    };
    Ok(cases.into_iter().map(row).collect())
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

    fn plan(line: &str) -> Result<Plan> {
        let line = std::iter::once("x").chain(line.split_whitespace());
        Program::try_parse_from(line).unwrap().args.validated()
    }

    #[test]
    fn everything_is_timed_unless_told_otherwise() {
        let all = plan("").unwrap();
        assert_eq!(all.parts, [Part::Ops, Part::Passes(Work::Forward), Part::Passes(Work::Train), Part::Ism]);
        assert_eq!((all.models.len(), all.precisions.len(), all.rounds), (ZooName::ALL.len(), 4, 5));
        let some = plan("--tiny --what ism --precisions f16,f32 --sequences 3").unwrap();
        assert_eq!((some.models, some.parts, some.sequences), (vec![ZooName::Tiny], vec![Part::Ism], vec![3]));
        assert_eq!(some.precisions, [Precision::F16, Precision::F32]);
        for name in ZooName::ALL {
            assert!(EXAMPLE.contains(name.name()), "{name} is not in the help");
        }
    }

    #[test]
    fn wrong_use_is_refused() {
        for (line, part) in [
            ("--what opts", "did you mean 'ops'?"),
            ("--precisions bf15", "did you mean 'bf16'?"),
            ("--models drg60", "did you mean 'drg600'?"),
            ("--seconds 0", "above 0"),
        ] {
            let e = plan(line).expect_err("wrong use");
            assert!(e.to_string().contains(part), "{e}");
            assert_eq!(e.exit_code(), 2);
        }
        assert!(open(Some("cpu")).unwrap_err().to_string().contains("drg bench cpu"));
        assert!(Program::try_parse_from(["x", "--compile"]).is_err());
    }
}
