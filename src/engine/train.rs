//! Training: passes over the data, control of the learning rate, early stop, fine-tuning, log, state for resuming.
//!
//! A run depends on its specification, data, start weights and seed alone: order, dropout and augmentation of a pass follow
//! from the seed and the number of the pass, so neither threads nor an interruption change a bit.

mod control;
mod data;
mod groups;
mod log;
mod pass;
mod schedule;
mod state;

use std::path::{Path, PathBuf};

pub use control::{Losses, RateChange};
pub use state::DataIdentity;

use crate::device::{Device, Precision};
use crate::error::{Error, Result};
use crate::io::dataset::Dataset;
use crate::model::Network;
use crate::model::checkpoint::{Model, Record};
use crate::model::spec::{self, Schedule, TrainSpec, Transform};
use crate::nn::{Kind, Optimizer, Rule};
use crate::util::fs::write_bytes;

use serde::Deserialize;

use control::{Action, Control, Phase};
use data::Data;
use groups::Groups;
use state::{Identity, Snapshot, State};

/// Which pass over the data is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassKind {
    /// Evaluation of the validation set before the first step, or after a restart.
    StartValidation,
    /// Evaluation of the training set before the first step.
    StartTraining,
    /// Training.
    Training,
    /// Validation after an epoch.
    Validation,
}

impl PassKind {
    fn validates(self) -> bool {
        matches!(self, Self::StartValidation | Self::Validation)
    }
}

/// What a run tells while it runs. An error that the listener returns ends the run; with files, it can be resumed.
#[derive(Debug)]
pub enum Event<'a> {
    /// The run goes on after this epoch of an earlier one.
    Resumed {
        /// Epoch, as in the log.
        epoch: usize,
    },
    /// A batch is done; in training its step, too.
    Step {
        /// Pass that it belongs to.
        pass: PassKind,
        /// Batches done.
        done: usize,
        /// Batches of the pass.
        total: usize,
        /// Loss of the batch, summed over sequences and tracks.
        loss: f64,
        /// Learning rate of the first group of parameters.
        rate: f64,
        /// The network after the step. A clone shares its numbers: drop it before the next step, or keep a copy in another type.
        network: &'a Network,
    },
    /// An epoch is done, its line of the log and the state are written. Epoch 0 is the evaluation before the first step.
    Epoch {
        /// Number, as in the log: fine-tuning and restarts count again.
        epoch: usize,
        /// Losses on the training set.
        training: Losses,
        /// Losses on the validation set.
        validation: Losses,
        /// What chooses the best epoch; small is good.
        score: f64,
        /// Whether it is the best so far.
        best: bool,
    },
    /// The learning rate of the first group of parameters changed.
    LearningRate {
        /// New rate.
        rate: f64,
        /// Why.
        change: RateChange,
    },
    /// The weights of the best epoch were taken again.
    Restored {
        /// Epoch, as in the log.
        epoch: usize,
    },
}

/// Listener of a run.
type Report<'r> = &'r mut (dyn FnMut(&Event) -> Result<()> + 'r);

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The trained model.
    pub model: Model,
    /// Its score: validation loss, or 1 - mean correlation.
    pub score: f64,
    /// Epoch that its weights are from.
    pub best_epoch: usize,
    /// Epochs that ran, fine-tuning and restarts included.
    pub epochs: usize,
    /// What its epochs led to.
    pub reached: Reached,
    /// Text of the log.
    pub log: String,
}

/// How far [`Trainer::run_until`] came.
#[derive(Clone, Debug)]
pub enum Progress {
    /// To the end of the run; the model is written.
    Done(Box<Outcome>),
    /// To the asked number of epochs; the run goes on from its state file.
    Paused(Reached),
}

/// What the epochs of a run led to so far. The network before the first step, which the best epoch of an [`Outcome`] may be, does
/// not count here.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reached {
    /// The best score of an epoch that trained: validation loss, or 1 - mean correlation; NaN if there is none.
    pub score: f64,
    /// Epoch that it is from.
    pub epoch: usize,
    /// Epochs that ran, fine-tuning and restarts included.
    pub epochs: usize,
    /// Whether the last epoch before fine-tuning had a score that is no number.
    pub diverged: bool,
}

/// File in which a run that trains towards `model` keeps its state.
pub fn state_path(model: &Path) -> PathBuf {
    let mut path = model.as_os_str().to_owned();
    path.push(".state");
    path.into()
}

/// Sequences that a pass over `n` of them sees: all but those of an incomplete batch that is left out.
pub fn rows_of_pass(n: usize, spec: &TrainSpec) -> usize {
    data::batch_sizes(n, spec.batch_size, spec.drop_last).iter().sum()
}

/// A training run.
pub struct Trainer<'a> {
    network: Network,
    spec: TrainSpec,
    dataset: &'a Dataset,
    data: Data<'a>,
    losses: Vec<pass::HeadLoss>,
    /// Number of the learning rate of every tensor.
    groups: Vec<usize>,
    order: Box<dyn FnMut(u32, usize) -> Vec<usize> + 'a>,
    model_path: Option<PathBuf>,
    log_path: Option<PathBuf>,
    control: Control,
    log: String,
    precision: Precision,
    transform: Option<Transform>,
}

impl<'a> Trainer<'a> {
    /// A run that trains `network` on the rows `train` of `dataset` and watches the rows `validation`.
    ///
    /// # Errors
    /// [`Error::Usage`], [`Error::Shape`] or [`Error::Unsupported`] if data, model and specification do not fit; [`Error::Usage`]
    /// with the nearest name if a pattern of the specification fits no tensor.
    pub fn new(
        mut network: Network,
        spec: TrainSpec,
        dataset: &'a Dataset,
        train: Vec<usize>,
        validation: Vec<usize>,
    ) -> Result<Self> {
        if network.architecture().members > 1 {
            return Err(Error::Usage(
                "an average of models is not trained; train its members, and average them again".into(),
            ));
        }
        let data = Data::new(dataset, network.architecture(), &spec, train, validation)?;
        let losses = pass::losses(&spec)?;
        let seed = spec.seed;
        own(&mut network)?;
        let groups = Groups::new(&spec, network.parameters())?;
        network.parameters_mut().freeze(&groups.frozen);
        Ok(Self {
            control: Control::new(&spec, groups.rates),
            groups: groups.of,
            order: Box::new(move |pass, n| data::order(seed, pass, n)),
            model_path: None,
            log_path: None,
            log: String::new(),
            precision: Precision::F32,
            network,
            spec,
            dataset,
            data,
            losses,
            transform: None,
        })
    }

    /// Writes the model to `model` when the run ends, its state beside it ([`state_path`]) after every epoch until then, and
    /// the log of losses to `log` if the specification wants one.
    #[must_use]
    pub fn files(mut self, model: &Path, log: Option<&Path>) -> Self {
        self.model_path = Some(model.into());
        self.log_path = log.filter(|_| self.spec.write_loss).map(Path::to_path_buf);
        self
    }

    /// Trains with products of a GPU as exact as that; sums, values and the optimiser stay in f32.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// Notes in the model on which scale the targets of the data set are, where it is not that of the measurements.
    #[must_use]
    pub fn transform(mut self, transform: Option<Transform>) -> Self {
        self.transform = transform;
        self
    }

    /// Replaces the random order: `order(pass, n)` gives the order of the `n` sequences of a pass, which are numbered over
    /// the whole run: validation and training set before the first step, then training and validation set of every epoch.
    #[must_use]
    pub fn order(mut self, order: impl FnMut(u32, usize) -> Vec<usize> + 'a) -> Self {
        self.order = Box::new(order);
        self
    }

    /// What the run starts with, as JSON: architecture, specification, precision, and hashes of sequences, targets, sets and start
    /// weights. Two runs of one identity give the same bytes.
    ///
    /// # Errors
    /// Those of copies from a GPU.
    pub fn identity(&self) -> Result<serde_json::Value> {
        serde_json::to_value(self.own_identity()?)
            .map_err(|e| Error::Failed(format!("cannot describe the run as JSON: {e}")))
    }

    /// What differs between a run of that identity and this one, in words; none if nothing does.
    ///
    /// # Errors
    /// As [`Trainer::identity`].
    pub fn differs_from(&self, identity: &serde_json::Value) -> Result<Option<String>> {
        let Ok(then) = Identity::deserialize(identity) else {
            return Ok(Some("its record is of another version".into()));
        };
        Ok(then.difference(&self.own_identity()?))
    }

    fn own_identity(&self) -> Result<Identity> {
        Identity::new(
            self.network.architecture(),
            &self.spec,
            self.precision,
            self.dataset,
            &self.data,
            self.network.parameters(),
        )
    }

    /// Trains to the end. With `resume`, a run that was interrupted goes on from its state file if there is one; the result
    /// has the bytes of an uninterrupted run.
    ///
    /// # Errors
    /// Those of `report`; [`Error::Usage`] if the state is of another run, or an order is no permutation; [`Error::Io`].
    pub fn run(self, resume: bool, report: impl FnMut(&Event) -> Result<()>) -> Result<Outcome> {
        match self.run_until(usize::MAX, resume, report)? {
            Progress::Done(outcome) => Ok(*outcome),
            Progress::Paused(_) => unreachable!("no run has usize::MAX epochs"),
        }
    }

    /// Trains to the end, or until `epochs` epochs ran, those of an earlier call included if `resume` goes on from its state file.
    /// However often a run is paused, its result has the bytes of one that is not: the specification, and with it the number of
    /// epochs that schedules of the learning rate span, is that of the whole run. A state that is further than `epochs` is not
    /// used; the run begins anew. Without files a run that is paused is lost.
    ///
    /// # Errors
    /// As [`Trainer::run`].
    pub fn run_until(
        mut self,
        epochs: usize,
        resume: bool,
        mut report: impl FnMut(&Event) -> Result<()>,
    ) -> Result<Progress> {
        let report: Report = &mut report;
        let parameters = self.network.parameters();
        let group = |name: &str| parameters.id(name).map_or(0, |id| self.groups[id]);
        let mut optimizer = Optimizer::new(rule(&self.spec), self.spec.weight_decay, parameters, group);
        let state_path = self.model_path.as_deref().map(state_path);
        let identity = self.own_identity()?;
        let (mut best, start);
        let state = match state_path.as_deref().filter(|p| resume && p.exists()) {
            Some(path) => Some(state::read(path, &identity, self.network.parameters())?),
            None => None,
        };
        match state.filter(|s| s.control.trained <= epochs) {
            Some(state) => {
                state.current.restore(self.network.parameters_mut())?;
                optimizer.restore(state.optimizer)?;
                (self.control, self.log, best, start) = (state.control, state.log, state.best, state.start);
                self.write_log()?;
                report(&Event::Resumed { epoch: self.control.epoch })?;
            }
            None => {
                report(&self.rate_event(RateChange::Start))?;
                let found = self.pass(PassKind::StartValidation, true, None, report)?;
                let training = self.pass(PassKind::StartTraining, true, None, report)?.losses;
                self.control.begun(&self.spec, training, found.score);
                best = Snapshot::of(self.network.parameters())?;
                let restarts = matches!(self.spec.schedule, Schedule::Reference { control: c, .. } if c.init_adjust);
                start = restarts.then(|| best.clone());
                self.log = log::line(0, training, found.losses);
                self.keep(&identity, &best, start.as_ref(), &optimizer)?;
                let (validation, score) = (found.losses, found.score);
                report(&Event::Epoch { epoch: 0, training, validation, score, best: true })?;
            }
        }
        while self.control.phase != Phase::Finished {
            if self.control.trained >= epochs {
                return Ok(Progress::Paused(self.reached()));
            }
            let training = self.pass(PassKind::Training, true, Some(&mut optimizer), report)?.losses;
            let warmed = self.control.trained(&self.spec);
            let epoch = self.control.epoch;
            self.tell(warmed, report)?;
            let found = self.pass(PassKind::Validation, false, None, report)?;
            if epoch.is_multiple_of(self.spec.write_steps) || epoch < self.init_epochs() {
                self.log.push_str(&log::line(epoch, training, found.losses));
            }
            let actions = self.control.judge(&self.spec, training, found.losses, found.score);
            for &action in &actions {
                match action {
                    Action::Save => best = Snapshot::of(self.network.parameters())?,
                    Action::Load => {
                        best.restore(self.network.parameters_mut())?;
                        report(&Event::Restored { epoch: self.control.best_epoch })?;
                    }
                    Action::Restart => {
                        if let Some(start) = &start {
                            start.restore(self.network.parameters_mut())?;
                        }
                        // Momentum that became infinite would end every restart, too.
                        if !optimizer.is_finite()? {
                            optimizer.reset();
                        }
                        let found = self.pass(PassKind::StartValidation, true, None, report)?;
                        self.control.restarted(found.score);
                        self.log = log::line(0, self.control.begin, found.losses);
                    }
                    Action::Rate(_) => self.tell(Some(action), report)?,
                }
            }
            self.keep(&identity, &best, start.as_ref(), &optimizer)?;
            report(&Event::Epoch {
                epoch,
                training,
                validation: found.losses,
                score: found.score,
                best: actions.contains(&Action::Save),
            })?;
        }
        let outcome = self.outcome()?;
        if let (Some(model), Some(state)) = (&self.model_path, &state_path) {
            outcome.model.save(model)?;
            std::fs::remove_file(state).map_err(Error::io("remove", state))?;
        }
        Ok(Progress::Done(Box::new(outcome)))
    }

    fn init_epochs(&self) -> usize {
        match self.spec.schedule {
            Schedule::Reference { control, .. } => control.init_epochs,
            _ => 0,
        }
    }

    fn rate_event(&self, change: RateChange) -> Event<'static> {
        Event::LearningRate { rate: self.control.rates[0], change }
    }

    fn tell(&self, action: Option<Action>, report: Report) -> Result<()> {
        match action {
            Some(Action::Rate(change)) => report(&self.rate_event(change)),
            _ => Ok(()),
        }
    }

    /// Writes state and log, the state first: the log can be made from it.
    fn keep(
        &self,
        identity: &Identity,
        best: &Snapshot,
        start: Option<&Snapshot>,
        optimizer: &Optimizer,
    ) -> Result<()> {
        if let Some(path) = self.model_path.as_deref().map(state_path) {
            let state = State {
                control: self.control.clone(),
                log: self.log.clone(),
                current: Snapshot::of(self.network.parameters())?,
                best: best.clone(),
                start: start.cloned(),
                optimizer: optimizer.state()?,
            };
            state::write(&path, identity, &state)?;
        }
        self.write_log()
    }

    fn write_log(&self) -> Result<()> {
        self.log_path.as_ref().map_or(Ok(()), |path| write_bytes(path, self.log.as_bytes()))
    }

    fn reached(&self) -> Reached {
        let Control { reached: score, reached_epoch: epoch, trained: epochs, diverged, .. } = self.control;
        Reached { score, epoch, epochs, diverged }
    }

    /// The result; the model is on the CPU.
    fn outcome(&self) -> Result<Outcome> {
        let record = Record {
            program: env!("CARGO_PKG_VERSION").into(),
            seed: self.spec.seed,
            rows: (self.data.train.len(), self.data.validation.len()),
            epochs: self.control.trained,
            best_epoch: self.control.best_epoch,
            losses: self.log.clone(),
        };
        let mut network = self.network.to_device(&Device::Cpu)?;
        network.parameters_mut().freeze(&[]);
        Ok(Outcome {
            score: self.control.best,
            best_epoch: self.control.best_epoch,
            epochs: self.control.trained,
            reached: self.reached(),
            log: self.log.clone(),
            model: Model {
                network,
                tracks: self.dataset.targets.iter().map(|t| t.tracks.clone()).collect(),
                scaling: self.data.scaling.clone(),
                transform: self.transform,
                training: Some(self.spec.clone()),
                record: Some(record),
            },
        })
    }
}

/// Gives a network numbers of its own: a caller may still hold others that share them, and steps are made in place.
fn own(network: &mut Network) -> Result<()> {
    let parameters = network.parameters_mut();
    match parameters.entries().iter().position(|e| e.kind == Kind::Parameter) {
        Some(id) => {
            let values = parameters.to_torch(id);
            parameters.set_torch(id, &values)
        }
        None => Err(Error::Usage("the model has nothing to train".into())),
    }
}

fn rule(spec: &TrainSpec) -> Rule {
    match spec.optimizer {
        spec::Optimizer::Sgd { momentum, nesterov } => Rule::Sgd { momentum, nesterov },
        spec::Optimizer::Adagrad { lr_decay } => Rule::Adagrad { lr_decay },
        spec::Optimizer::Adadelta { rho } => Rule::Adadelta { rho },
        spec::Optimizer::Adam { betas } => Rule::Adam { betas, decoupled: false, amsgrad: false },
        spec::Optimizer::AdamW { betas, amsgrad } => Rule::Adam { betas, decoupled: true, amsgrad },
        spec::Optimizer::NAdam { betas, momentum_decay } => Rule::NAdam { betas, momentum_decay },
    }
}
