//! `drg search`: options that vary, tried at random or by successive halving.

mod outputs;
mod record;

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::arithmetic::{Arithmetic, Computing};
use super::inputs::Reading;
use super::talk::Talk;
use super::train::chosen::Chosen;
use super::train::data::{Flags, Learned, Measured, Prepared, Wanted, prepare};
use super::train::start::Start;
use super::train::watch::Watch;
use super::{Context, output, talk};
use crate::engine::search::{self, Method, Plan, Row, Space, Status, comparable};
use crate::engine::train::{Progress, Trainer, state_path};
use crate::error::{Error, Result};
use crate::model::options::{DataFacts, Options, Origin, Value, resolve};
use crate::model::spec::{Architecture, Schedule, TrainSpec};
use crate::util::fs::{remove_leftovers, write_bytes};

const EXAMPLE: &str = "\
What varies stands in the table [search] of --space, or after --vary, which decides where both name an option:

  num_kernels = [64, 128, 256]         --vary num_kernels=64,128,256         one of these
  dilations = [[1, 2, 4], [1, 1, 1]]   --vary dilations=[1,2,4],[1,1,1]      lists are values, too
  dropout = { range = [0, 0.5] }       --vary dropout=range:0..0.5           uniform
  lr = { log = [1e-5, 1e-2] }          --vary lr=log:1e-5..1e-2              uniform logarithm
  nfc_layers = { int = [1, 4] }        --vary nfc_layers=int:1..4            whole number
  l_kernels = { log-int = [5, 40] }    --vary l_kernels=log-int:5..40        whole number, uniform logarithm
  fc_dropout = { range = [0, 0.5], when = { nfc_layers = [2, 3, 4] } }       varies only in such trials

All else is as in drg train: --config, --cnn, --set, the data and their folds. A trial's values follow from --seed and its
number. Trials are compared by their best validation score in an epoch of training (the score that chooses the best epoch, option
select); the test set is looked at once, with the best model.

--method random trains every trial to its end. --method halving (successive halving; Jamieson and Talwalkar, 2016) gives
all trials a few epochs, the best 1/eta of them eta times as many, and so on; the last ones train to their end. A trial that
moves up goes on where it was paused: it is the run of all its epochs, with the same bytes and learning rates, that is
watched on its way.

Files in -o: trials.tsv (a line a trial and rung; score: small is good), best.toml and best.drg (drg train --config best.toml
gives the same bytes) with its losses, predictions and scores, importance.tsv (rank correlation of options with the score
on the first rung), search.svg and search.png, trials/ (losses of every trial). A trial that fails is a line with the
reason. After an interruption the same line with --resume goes on, and ends with the same files.

Example:
  drg simulate -o sim --sequences 400 --length 60
  drg search sim/sequences.fa sim/targets.tsv -o found --cnn l_kernels=11+epochs=4+warm_up_epochs=0 --trials 9 --method halving \\
    --vary num_kernels=8,16,32 --vary lr=log:1e-4..1e-1";

/// Search for the options of a model that predict best
///
/// Trains a model for every draw of the options that vary, all on the same data and folds, and keeps the one that is best on the
/// validation set.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Sequences, as drg train takes them
    #[arg(value_name = "SEQS")]
    sequences: String,
    /// Measurements, as drg train takes them
    #[arg(value_name = "TARGETS")]
    targets: Option<String>,
    /// Folder to write
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// File with the table [search]: what varies
    #[arg(long, value_name = "TOML")]
    space: Option<PathBuf>,
    /// What an option varies over; can be given several times
    #[arg(long, value_name = "KEY=VALUES")]
    vary: Vec<String>,
    /// Number of trials
    #[arg(long, value_name = "N", default_value_t = 20)]
    trials: usize,
    /// How trials are run
    #[arg(long, value_enum, default_value = "random")]
    method: Kind,
    /// Most epochs of a run, as --set epochs=N
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Halving: least epochs of the first rung [default: as many rungs as the trials allow]
    #[arg(long, value_name = "N")]
    min_epochs: Option<usize>,
    /// Halving: one of so many moves up, to so many times the epochs [default: 3]
    #[arg(long, value_name = "N")]
    eta: Option<usize>,
    /// Seed of the draws; weights and batches of every trial have that of option seed
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Go on after an interruption; random search also with another number of trials
    #[arg(long)]
    resume: bool,
    /// Stop after so many runs; --resume goes on
    #[arg(long, value_name = "N")]
    stop_after: Option<usize>,
    /// Count these trials as failed, for instance one that needs more memory than there is and ends the program
    #[arg(long, value_name = "TRIAL,...", value_delimiter = ',')]
    give_up: Vec<usize>,
    /// Keep the models of all trials that came to their end
    #[arg(long)]
    keep_models: bool,
    #[command(flatten)]
    #[serde(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    #[serde(flatten)]
    learned: Learned,
    #[command(flatten)]
    #[serde(flatten)]
    measured: Measured,
    #[command(flatten)]
    start: Start,
    #[command(flatten)]
    arithmetic: Arithmetic,
    #[command(flatten)]
    reading: Reading,
}

#[derive(Debug, Clone, Copy, PartialEq, clap::ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    /// Every trial to its end
    Random,
    /// Successive halving
    Halving,
}

/// A search that can run.
struct Search<'a> {
    args: &'a Args,
    context: &'a Context,
    space: Space,
    method: Method,
    /// Options that do not vary, and the table `[data]`.
    base: Options,
    table: toml::Table,
    prepared: Prepared,
    facts: DataFacts,
    computing: Computing,
    plan: Plan,
    /// Values of what varies, for every trial.
    values: Vec<Vec<Option<Value>>>,
    trials: Vec<Trial>,
}

/// What the options of a trial say.
struct Trial {
    options: Options,
    model: Architecture,
    training: TrainSpec,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    output::check_folder(&args.out)?;
    let (table_path, plan_path) = (args.out.join(outputs::TABLE), args.out.join(record::FILE));
    if !args.resume && (table_path.exists() || plan_path.exists()) {
        let out = args.out.display();
        return Err(Error::Usage(format!("{out} holds a search; go on with --resume, or name another folder")));
    }
    let search = Search::new(args, context)?;
    let mut rows = vec![];
    if args.out.is_dir() && args.resume {
        remove_leftovers(&args.out)?;
    }
    if plan_path.exists() {
        record::check(&plan_path, &search)?;
        if table_path.exists() {
            let text = std::fs::read_to_string(&table_path).map_err(Error::io("read", &table_path))?;
            rows = search::parse(&text, &table_path, &search.space, &search.values, search.plan.rungs.len())?;
        }
    }
    for folder in [&args.out, &args.out.join(outputs::TRIALS)] {
        std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
    }
    record::write(&plan_path, &search)?;
    search.tell(&rows);
    let mut left = args.stop_after.unwrap_or(usize::MAX);
    while let Some((trial, rung)) = search.plan.next(&rows) {
        if left == 0 {
            outputs::figure(&search, &rows)?;
            context.talk.say(format_args!("stopped after {} runs; --resume goes on", rows.len()));
            return talk::print(format_args!("{}\n", table_path.display()));
        }
        left -= 1;
        search.say_trial(trial, rung);
        let row = search.advance(trial, rung, &rows)?;
        rows.push(row);
        write_bytes(&table_path, search::text(&search.space, &search.values, &rows).as_bytes())?;
        search.say_row(&rows);
        search.remove(&rows)?;
    }
    let paths = outputs::finish(&search, &rows)?;
    talk::print(paths.iter().map(|p| format!("{}\n", p.display())).collect::<String>())
}

impl<'a> Search<'a> {
    /// Reads the data and draws all trials; whatever is wrong with options and data is found here, before anything is trained.
    fn new(args: &'a Args, context: &'a Context) -> Result<Self> {
        let method = args.method()?;
        let (mut base, table) = args.chosen.read()?;
        if let Some(epochs) = args.epochs {
            let epochs = i64::try_from(epochs).map_err(|_| Error::Usage(format!("--epochs: {epochs} is too large")))?;
            base.set("epochs", Value::Int(epochs), Origin::Flag("--epochs"))?;
        }
        let space = args.space()?;
        if space.varied().iter().any(|v| v.key == "epochs") && (args.epochs.is_some() || args.method == Kind::Halving) {
            let what = "epochs cannot vary with --epochs or --method halving, which say how long a trial trains";
            return Err(Error::Usage(what.into()));
        }
        let wanted = Wanted::new(&args.flags(), &table)?.one_fold()?;
        let prepared = prepare(&wanted, context.talk)?;
        let facts = prepared.facts(&wanted, &wanted.labels);
        let values = space.trials(&base, args.seed, args.trials);
        if values.len() < args.trials {
            let (n, asked) = (values.len(), args.trials);
            context.talk.say(format_args!("the space has {n} trials that differ, not {asked}: each is run once"));
        }
        if let Some(trial) = args.give_up.iter().find(|trial| **trial >= values.len()) {
            let n = values.len();
            return Err(Error::Usage(format!("--give-up {trial}: there are {n} trials; expected numbers below {n}")));
        }
        let trial = |(number, values): (usize, &Vec<Option<Value>>)| -> Result<Trial> {
            let options = space.options(&base, values)?;
            let (model, training) = resolve(&options, &facts).map_err(|e| match e {
                Error::Usage(text) => Error::Usage(format!(
                    "trial {number} ({}): {text}; an option that goes with some values of another only needs a condition (when, \
                     in a file for --space)",
                    space.describe(values)
                )),
                other => other,
            })?;
            Ok(Trial { options, model, training })
        };
        let trials: Vec<Trial> = values.iter().enumerate().map(trial).collect::<Result<_>>()?;
        let specs: Vec<TrainSpec> = trials.iter().map(|t| t.training.clone()).collect();
        comparable(&specs, prepared.split.validation.len())?;
        if let Some(i) = specs.iter().position(|s| s.epochs == 0) {
            return Err(Error::Usage(format!("trial {i}: option 'epochs': a search needs at least 1, found 0")));
        }
        let plan = Plan::new(method, trials.len(), specs.first().map_or(0, |s| s.epochs))?;
        let computing = args.arithmetic.of(context)?;
        if computing.double {
            let what = "--precision f64: training is in f32; f64 is for checks of a trained model";
            return Err(Error::Usage(what.into()));
        }
        Ok(Self { args, context, space, method, base, table, prepared, facts, computing, plan, values, trials })
    }

    /// Model file of a trial.
    fn path(&self, trial: usize) -> PathBuf {
        self.args.out.join(outputs::TRIALS).join(format!("{trial:04}.drg"))
    }

    /// Runs a trial on a rung.
    ///
    /// # Errors
    /// Those that would meet every trial: files, the GPU itself. All others are the row of a trial that failed.
    fn advance(&self, trial: usize, rung: usize, rows: &[Row]) -> Result<Row> {
        if self.args.give_up.contains(&trial) {
            self.forget(trial)?;
            return Ok(Row::failed(trial, rung, "given up (--give-up)".into()));
        }
        let below = rows.iter().filter(|r| r.trial == trial && r.status == Status::Done).max_by_key(|r| r.rung);
        if let Some(done) = below {
            return Ok(Row { rung, seconds: 0.0, ..done.clone() });
        }
        let clock = Instant::now();
        let epochs = self.plan.rungs[rung].epochs.unwrap_or(usize::MAX);
        let parameters = self.trials[trial].model.plan().map(|p| p.parameters());
        let found = match &parameters {
            Ok(_) => self.train(trial, epochs, rung > 0 || self.args.resume),
            Err(e) => Err(Error::Failed(format!("the architecture does not fit: {e}"))),
        };
        let row = Row { parameters: parameters.ok(), seconds: 0.0, ..Row::failed(trial, rung, String::new()) };
        let seconds = clock.elapsed().as_secs_f64();
        let (reached, status) = match found {
            Ok(Progress::Done(outcome)) => (outcome.reached, Status::Done),
            Ok(Progress::Paused(reached)) => (reached, Status::Paused),
            Err(e) if meets_all(&e) => return Err(e),
            Err(e) => {
                self.forget(trial)?;
                return Ok(Row { seconds, status: Status::Failed(e.to_string()), ..row });
            }
        };
        let row = Row { seconds, epochs: Some(reached.epochs), ..row };
        if reached.diverged || !reached.score.is_finite() {
            self.forget(trial)?;
            let why = "the validation score became NaN or infinite; a smaller lr may help".into();
            return Ok(Row { status: Status::Failed(why), ..row });
        }
        Ok(Row { score: Some(reached.score), best_epoch: Some(reached.epoch), status, ..row })
    }

    /// Trains a trial until `epochs` epochs ran, or to its end.
    fn train(&self, trial: usize, epochs: usize, resume: bool) -> Result<Progress> {
        let Trial { options, model, training } = &self.trials[trial];
        let given = (options, &self.facts);
        let (network, _) = self.args.start.network(model.clone(), training.seed, given, &self.prepared, Talk::Quiet)?;
        let path = self.path(trial);
        let verbose = self.context.talk > Talk::Normal;
        let mut watch =
            Watch::new(self.context.talk, training.epochs).lines(if verbose { self.context.talk } else { Talk::Quiet });
        let split = &self.prepared.split;
        let found = Trainer::new(
            network.to_device(&self.computing.device)?,
            training.clone(),
            &self.prepared.dataset,
            split.train.clone(),
            split.validation.clone(),
        )?
        .precision(self.computing.precision)
        .transform(self.prepared.scale)
        .files(&path, Some(&output::suffixed(&path, "_loss.txt")))
        .run_until(epochs, resume, |event| watch.hear(event));
        watch.finish();
        found
    }

    /// Removes model and state of a trial.
    fn forget(&self, trial: usize) -> Result<()> {
        let path = self.path(trial);
        remove(&path)?;
        remove(&state_path(&path))
    }

    /// Removes models and states that nobody needs any more.
    fn remove(&self, rows: &[Row]) -> Result<()> {
        for trial in self.plan.out(rows) {
            match self.args.keep_models {
                true => remove(&state_path(&self.path(trial)))?,
                false => self.forget(trial)?,
            }
        }
        Ok(())
    }

    fn tell(&self, rows: &[Row]) {
        let split = &self.prepared.split;
        let rungs: Vec<String> = (0..self.plan.rungs.len()).map(|k| self.rung(k)).collect();
        self.context.talk.say(format_args!(
            "{} sequences: {} to train, {} to validate, {} to test; {} trials of {} options, {}",
            self.prepared.dataset.names.len(),
            split.train.len(),
            split.validation.len(),
            split.test.len(),
            self.trials.len(),
            self.space.varied().len(),
            match self.method {
                Method::Random => "each to its end".into(),
                Method::Halving { .. } => format!("halving: {}", rungs.join("; ")),
            },
        ));
        let warm_up = |t: &Trial| match t.training.schedule {
            Schedule::Reference { warm_up, .. } => warm_up.epochs,
            _ => 0,
        };
        let (warm_up, first) = (self.trials.iter().map(warm_up).max().unwrap_or(0), self.plan.rungs[0].epochs);
        if let Some(first) = first.filter(|first| *first <= warm_up) {
            self.context.talk.say(format_args!(
                "rung 0 ends with epoch {first}, within the warm-up of the learning rate ({warm_up} epochs), and says little about it: \
                 raise --min-epochs, or --set warm_up_epochs to less"
            ));
        }
        if !rows.is_empty() {
            self.context.talk.say(format_args!("resumed after {} runs", rows.len()));
        }
    }

    /// What a rung is, in words.
    fn rung(&self, k: usize) -> String {
        let n = self.plan.rungs[k].trials;
        match self.plan.rungs[k].epochs {
            Some(1) => format!("rung {k}: {n} trials, 1 epoch"),
            Some(e) => format!("rung {k}: {n} trials, {e} epochs"),
            None => format!("rung {k}: {n} to the end"),
        }
    }

    fn say_trial(&self, trial: usize, rung: usize) {
        let on = if self.plan.rungs.len() > 1 { format!(" on rung {rung}") } else { String::new() };
        let values = self.space.describe(&self.values[trial]);
        self.context.talk.say(format_args!("trial {trial} of {}{on}: {values}", self.trials.len()));
    }

    fn say_row(&self, rows: &[Row]) {
        let Some(row) = rows.last() else { return };
        let text = match (&row.status, row.score, row.best_epoch, row.epochs) {
            (Status::Failed(why), ..) => format!("failed: {why}"),
            (_, Some(score), Some(best), Some(epochs)) => {
                let mark = if self.plan.best(rows) == Some(row) { ", best so far" } else { "" };
                format!("score {score:.5} (epoch {best} of {epochs}), {:.1} s{mark}", row.seconds)
            }
            _ => return,
        };
        self.context.talk.say(format_args!("  {text}"));
    }
}

impl Args {
    fn space(&self) -> Result<Space> {
        let mut space = Space::default();
        if let Some(path) = &self.space {
            let text = std::fs::read_to_string(path).map_err(Error::io("read", path))?;
            space.add_toml(&text, path)?;
        }
        for item in &self.vary {
            space.add_text(item)?;
        }
        if space.varied().is_empty() {
            let what =
                "nothing varies: name options with --vary, as --vary lr=log:1e-4..1e-2, or in a file for --space";
            return Err(Error::Usage(what.into()));
        }
        Ok(space)
    }

    fn method(&self) -> Result<Method> {
        match self.method {
            Kind::Halving => Ok(Method::Halving { eta: self.eta.unwrap_or(3), min_epochs: self.min_epochs }),
            Kind::Random if self.eta.is_some() || self.min_epochs.is_some() => {
                Err(Error::Usage("--eta and --min-epochs belong to --method halving".into()))
            }
            Kind::Random => Ok(Method::Random),
        }
    }

    fn flags(&self) -> Flags<'_> {
        Flags {
            sequences: &self.sequences,
            targets: self.targets.as_deref(),
            measured: &self.measured,
            reverse_complement: self.learned.reverse_complement.as_deref(),
            select_tracks: self.learned.select_tracks.as_deref(),
            reading: &self.reading,
            config: self.chosen.config.as_deref(),
        }
    }
}

/// Whether an error says nothing about the trial: files, and a GPU that does more than lack memory.
fn meets_all(e: &Error) -> bool {
    match e {
        Error::At { source, .. } => meets_all(source),
        Error::Device { what, .. } => !what.contains("memory"),
        Error::Io { .. } | Error::Parse { .. } => true,
        _ => false,
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(e)),
        _ => Ok(()),
    }
}
