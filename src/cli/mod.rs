//! The command line: thin verbs; the only place that prints, exits or reads arguments.
//!
//! A verb is one file: its arguments as clap reads them (`Args`), a `validated` step that turns them into what the library
//! takes, the library call, the files. Data and paths go to stdout, talk to stderr; files appear together and whole
//! (`output::Staged`), each with `<file>.json` beside it that says how it was made.

mod arithmetic;
mod baseline;
mod bench;
mod choose;
mod completions;
mod convert;
mod demo;
mod devices;
mod effects;
mod ensemble;
mod epistasis;
mod eval;
mod inputs;
mod ism;
mod kernels;
mod layers;
mod merge;
mod output;
mod paired;
mod perturb;
mod plot;
mod predict;
mod readout;
mod report;
mod score_table;
mod scores;
mod search;
mod shell;
mod simulate;
mod talk;
mod train;
mod variants;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::OnceLock;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::device::Device;
use crate::error::{Error, Result};
use crate::util::simd;
use talk::Talk;

const EXAMPLES: &str = "\
Examples:
  drg demo -o demo --quick                 # everything at once, with a report to look at
  drg simulate -o sim                      # data whose right answers are known
  drg eval score sim/signal.tsv sim/targets.tsv -o scores.tsv
  drg <VERB> --help                        # every verb ends with an example

Exit codes: 0 done, 1 the work failed, 2 wrong use.";

/// Regulatory-sequence models: train, mutate, explain and design.
///
/// Positions are 0-based and half-open, bases are in the order A C G T. Data and paths go to stdout, everything else to
/// stderr. Every output file has a FILE.json beside it with version, command line and effective options.
#[derive(Debug, Parser)]
#[command(name = "drg", version, after_help = EXAMPLES, max_term_width = 100)]
#[command(disable_help_subcommand = true)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

/// Options that every verb has.
#[derive(Debug, clap::Args)]
struct Common {
    /// Threads to compute on [default: all logical cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    #[arg(help_heading = "Common options")]
    threads: Option<u16>,
    /// Where to compute: cpu, cuda or cuda:N (a GPU, or fail), or auto (the first GPU that can be
    /// used, else the CPU) [default: auto]
    #[arg(long, global = true, value_name = "DEVICE", help_heading = "Common options")]
    device: Option<String>,
    /// Say nothing but errors
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Common options")]
    quiet: bool,
    /// Say more
    #[arg(short, long, global = true, help_heading = "Common options")]
    verbose: bool,
}

#[derive(Debug, Subcommand)]
#[allow(clippy::large_enum_variant, reason = "one value a process")]
enum Verb {
    Demo(demo::Args),
    Simulate(simulate::Args),
    Train(train::Args),
    Search(search::Args),
    Ensemble(ensemble::Args),
    Predict(predict::Args),
    Baseline(baseline::Args),
    Eval(eval::Args),
    Ism(ism::Args),
    Epistasis(epistasis::Args),
    Merge(merge::Args),
    Variants(variants::Args),
    Perturb(perturb::Args),
    Plot(plot::Args),
    Bench(bench::Args),
    Report(report::Args),
    Convert(convert::Args),
    Devices(devices::Args),
    Completions(completions::Args),
}

/// What a verb knows besides its own arguments.
#[derive(Debug)]
struct Context {
    /// How much to say on stderr.
    talk: Talk,
    /// Verb and sub-verb, e.g. `eval score`.
    verb: String,
    /// The command line, the program's path cut off.
    command: Vec<String>,
    /// `--device`, if it was given.
    device: Option<String>,
    /// What the verb computes on, once that is known; for the record.
    used: OnceLock<String>,
}

impl Context {
    /// The device to compute on.
    fn device(&self) -> Result<Device> {
        let device = arithmetic::device(self.device.as_deref(), self.talk)?;
        self.computes_on(&device);
        Ok(device)
    }

    /// Notes what the verb computes on.
    fn computes_on(&self, device: &Device) {
        self.used.get_or_init(|| match device {
            Device::Cpu => "cpu".into(),
            Device::Cuda(gpu) => format!("{} ({})", gpu.about().device, gpu.about().name),
        });
    }
}

/// Runs the program with the arguments of the process.
pub fn run() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let matches = match Cli::command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(e) => {
            // Help and version go to stdout, where a closed pipe is no failure.
            let _ = e.print();
            return ExitCode::from(e.exit_code() as u8);
        }
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(e) => {
            let _ = e.print();
            return ExitCode::from(e.exit_code() as u8);
        }
    };
    let mut command = vec!["drg".to_string()];
    command.extend(arguments.iter().skip(1).map(|a| a.to_string_lossy().into_owned()));
    let talk = Talk::new(cli.common.quiet, cli.common.verbose);
    let context =
        Context { talk, verb: verb_of(&matches), command, device: cli.common.device.clone(), used: OnceLock::new() };
    match start(cli, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if talk::is_closed_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            talk::error(&context.verb, &e);
            ExitCode::from(e.exit_code())
        }
    }
}

fn start(cli: Cli, context: &Context) -> Result<()> {
    let clock = std::time::Instant::now();
    simd::check()?;
    if let Some(n) = cli.common.threads {
        rayon::ThreadPoolBuilder::new()
            .num_threads(n.into())
            .build_global()
            .map_err(|e| Error::Failed(format!("cannot start {n} threads: {e}; try fewer with --threads")))?;
    }
    dispatch(cli.verb, context)?;
    context.talk.detail(format_args!("done in {:.2} s", clock.elapsed().as_secs_f64()));
    Ok(())
}

fn dispatch(verb: Verb, context: &Context) -> Result<()> {
    match verb {
        Verb::Demo(args) => demo::run(&args, context),
        Verb::Simulate(args) => simulate::run(&args, context),
        Verb::Train(args) => train::run(&args, context),
        Verb::Search(args) => search::run(&args, context),
        Verb::Ensemble(args) => ensemble::run(&args, context),
        Verb::Predict(args) => predict::run(&args, context),
        Verb::Baseline(args) => baseline::run(&args, context),
        Verb::Eval(args) => eval::run(&args, context),
        Verb::Ism(args) => ism::run(&args, context),
        Verb::Epistasis(args) => epistasis::run(&args, context),
        Verb::Merge(args) => merge::run(&args, context),
        Verb::Variants(args) => variants::run(&args, context),
        Verb::Perturb(args) => perturb::run(&args, context),
        Verb::Plot(args) => plot::run(&args, context),
        Verb::Bench(args) => bench::run(&args, context),
        Verb::Report(args) => report::run(&args, context),
        Verb::Convert(args) => convert::run(&args, context),
        Verb::Devices(args) => devices::run(&args),
        Verb::Completions(args) => completions::run(&args),
    }
}

/// Verb and sub-verb of a command line, e.g. `eval score`.
fn verb_of(matches: &clap::ArgMatches) -> String {
    let mut names = Vec::new();
    let mut level = matches;
    while let Some((name, inner)) = level.subcommand() {
        names.push(name);
        level = inner;
    }
    names.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_help_ends_with_an_example() {
        fn check(command: &mut clap::Command) {
            let help = command.render_long_help().to_string();
            let tail = help.split("Example").nth(1);
            assert!(tail.is_some_and(|t| t.contains("drg ")), "{}: {help}", command.get_name());
            command.get_subcommands_mut().for_each(check);
        }
        let mut root = Cli::command();
        root.build();
        check(&mut root);
    }
}
