//! What happens after an epoch: learning rates, stop, restart, fine-tuning. Numbers in, decisions out; no network here.
//!
//! The rules are those of the reference (its losses are sums, so a rate that is too high is common and restarts matter), with
//! two mends: the last epoch is kept when it is the best, and weights that became NaN are never kept.

use serde::{Deserialize, Serialize};

use super::schedule;
use crate::model::spec::{LrControl, Schedule, TrainSpec, WarmUpShape};

/// Most restarts of a run.
const RESTARTS: usize = 15;

/// Part of the training that a run is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    Main,
    FineTuning,
    Finished,
}

/// Losses of a pass as they are reported: `training` by the loss that is minimised, `validation` by the one that is watched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// Sum of the training loss over sequences and tracks, divided by their number.
    #[serde(with = "exact")]
    pub training: f64,
    /// The same of the validation loss, on the predictions of the whole pass.
    #[serde(with = "exact")]
    pub validation: f64,
}

/// Why the learning rate changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateChange {
    /// Warm-up begins.
    Start,
    /// Warm-up goes on.
    WarmUp,
    /// The training loss rose too much or too often.
    Halved,
    /// The loss blew up: the start weights, a quarter of the rate. The number of the restart.
    Restarted(usize),
    /// Fine-tuning, and its round from 0.
    FineTuning(usize),
}

/// What the trainer has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Keep the weights as the best.
    Save,
    /// Take the weights that were kept.
    Load,
    /// Take the weights of the beginning, evaluate them, and call [`Control::restarted`].
    Restart,
    /// Tell the user.
    Rate(RateChange),
}

/// Everything that decides how a run goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Control {
    pub phase: Phase,
    /// Number of the epoch, as in the log.
    pub epoch: usize,
    /// Training passes of the run, fine-tuning and restarts included.
    pub trained: usize,
    /// Passes over the data so far: the number from which order, dropout and augmentation follow.
    pub pass: u32,
    /// Optimiser steps of the main phase.
    pub step: u64,
    /// Learning rates of the groups of parameters: current, full, and those of the best epoch.
    #[serde(with = "exact_list")]
    pub rates: Vec<f64>,
    #[serde(with = "exact_list")]
    full: Vec<f64>,
    #[serde(with = "exact_list")]
    best_rates: Vec<f64>,
    #[serde(with = "exact")]
    pub best: f64,
    pub best_epoch: usize,
    /// Losses on the training set before the first step.
    pub begin: Losses,
    /// Early stopping: smallest score, and epochs since.
    #[serde(with = "exact")]
    seen: f64,
    waited: usize,
    /// Smallest training loss that counts, rises since, epochs above the begin.
    #[serde(with = "exact")]
    before: f64,
    rises: usize,
    larger: usize,
    restarts: usize,
    /// Fine-tuning: rounds done, epochs without a better one in this round.
    round: usize,
    missed: usize,
    /// Smallest score of an epoch that trained, and its number.
    #[serde(with = "exact", default = "unknown")]
    pub reached: f64,
    #[serde(default)]
    pub reached_epoch: usize,
    /// Whether the last score before fine-tuning was no number.
    #[serde(default)]
    pub diverged: bool,
}

impl Control {
    /// The state before the first step. `rates` holds the learning rate of every group.
    pub fn new(spec: &TrainSpec, rates: Vec<f64>) -> Self {
        let mut control = Self {
            phase: Phase::Main,
            epoch: 0,
            trained: 0,
            pass: 0,
            step: 0,
            best_rates: rates.clone(),
            full: rates,
            rates: vec![],
            best: f64::NAN,
            best_epoch: 0,
            begin: Losses::default(),
            seen: f64::NAN,
            waited: 0,
            before: f64::NAN,
            rises: 0,
            larger: 0,
            restarts: 0,
            round: 0,
            missed: 0,
            reached: f64::NAN,
            reached_epoch: 0,
            diverged: false,
        };
        control.cool(spec);
        control
    }

    /// Notes the evaluation before the first step; `score` is what is to become small.
    pub fn begun(&mut self, spec: &TrainSpec, training: Losses, score: f64) {
        (self.begin, self.before) = (training, training.training);
        (self.best, self.seen) = (score, score);
        if spec.epochs == 0 {
            self.phase = Phase::Finished;
        }
    }

    /// Notes the evaluation after a restart.
    pub fn restarted(&mut self, score: f64) {
        (self.seen, self.waited) = (score, 0);
    }

    /// Rates for the next step and, if the schedule moves it, the momentum. `steps` = steps of an epoch.
    pub fn next_step(&mut self, spec: &TrainSpec, steps: usize) -> Option<f64> {
        if self.phase != Phase::Main {
            return None;
        }
        self.step += 1;
        if matches!(spec.schedule, Schedule::Reference { .. }) {
            return None;
        }
        let total = (steps * spec.epochs) as u64;
        let mut momentum = None;
        for (rate, &full) in self.rates.iter_mut().zip(&self.full) {
            (*rate, momentum) = schedule::at(&spec.schedule, full, self.step - 1, total);
        }
        momentum
    }

    /// A training pass is over: counts it and warms the rates for the next one.
    pub fn trained(&mut self, spec: &TrainSpec) -> Option<Action> {
        self.epoch += 1;
        self.trained += 1;
        let Schedule::Reference { warm_up, .. } = spec.schedule else { return None };
        if self.phase != Phase::Main || self.epoch > warm_up.epochs {
            return None;
        }
        for (rate, full) in self.rates.iter_mut().zip(&self.full) {
            match warm_up.shape {
                WarmUpShape::Exp => *rate *= warm_up.factor,
                WarmUpShape::Linear => {
                    *rate += full * (1.0 - warm_up.factor.powi(-(warm_up.epochs as i32))) / warm_up.epochs as f64;
                }
            }
        }
        Some(Action::Rate(RateChange::WarmUp))
    }

    /// The validation pass is over: decides how to go on. Actions are to be done in order.
    pub fn judge(&mut self, spec: &TrainSpec, training: Losses, validation: Losses, score: f64) -> Vec<Action> {
        if score < self.reached || (self.reached.is_nan() && !score.is_nan()) {
            (self.reached, self.reached_epoch) = (score, self.epoch);
        }
        match self.phase {
            Phase::Main => self.judge_main(spec, training, validation, score),
            Phase::FineTuning => self.judge_fine_tuning(spec, score),
            Phase::Finished => vec![],
        }
    }

    fn judge_main(&mut self, spec: &TrainSpec, training: Losses, validation: Losses, score: f64) -> Vec<Action> {
        let mut actions = vec![];
        self.diverged = score.is_nan();
        let control = match &spec.schedule {
            Schedule::Reference { control, .. } => Some(control),
            _ => None,
        };
        let ratio = control.is_some_and(|c| training.validation / validation.validation <= c.valtrain_ratio);
        let stop = spec.check_validation && (self.waited_enough(spec.patience, score) || ratio);
        if let Some(change) = control.and_then(|c| self.watch(spec, c, training.training, score)) {
            actions.push(Action::Rate(change));
            if matches!(change, RateChange::Restarted(_)) {
                actions.push(Action::Restart);
                return actions;
            }
        }
        let better = score < self.best || (self.best.is_nan() && !score.is_nan());
        let may_stop = control.is_none_or(|c| self.epoch > c.init_epochs);
        if self.epoch < spec.epochs && !(stop && may_stop) {
            // Nothing is kept in an epoch that asked to stop.
            if !stop && better {
                actions.push(self.keep(score));
            }
            return actions;
        }
        self.phase = Phase::Finished;
        if better {
            actions.push(self.keep(score));
        } else if score.is_nan() || (score > self.best && spec.load_best) {
            actions.push(Action::Load);
            if let (Some(fine), false) = (&spec.fine_tuning, score.is_nan()) {
                self.phase = Phase::FineTuning;
                self.epoch = self.best_epoch;
                self.rates = self.best_rates.iter().map(|r| r * fine.rate).collect();
                actions.push(Action::Rate(RateChange::FineTuning(0)));
            }
        } else {
            self.best_epoch = self.epoch;
        }
        actions
    }

    fn judge_fine_tuning(&mut self, spec: &TrainSpec, score: f64) -> Vec<Action> {
        let Some(fine) = &spec.fine_tuning else { return vec![] };
        let mut actions = vec![];
        if score < self.best {
            actions.push(self.keep(score));
        } else {
            // Also for NaN. The count goes on over better epochs, as the reference's does.
            self.missed += 1;
        }
        if self.missed > fine.patience {
            self.round += 1;
            self.missed = 0;
            self.rates.iter_mut().for_each(|r| *r *= fine.rate);
            actions.extend([Action::Load, Action::Rate(RateChange::FineTuning(self.round))]);
        }
        if self.round >= fine.rounds || self.epoch > spec.epochs {
            self.phase = Phase::Finished;
            actions.retain(|a| !matches!(a, Action::Load | Action::Rate(_)));
            actions.push(Action::Load);
        }
        actions
    }

    fn keep(&mut self, score: f64) -> Action {
        (self.best, self.best_epoch) = (score, self.epoch);
        self.best_rates.clone_from(&self.rates);
        Action::Save
    }

    /// Whether the score has just failed to fall for `patience` epochs. Asked again later, it does not say so a second time.
    fn waited_enough(&mut self, patience: usize, score: f64) -> bool {
        if score < self.seen || (self.seen.is_nan() && !score.is_nan()) {
            (self.seen, self.waited) = (score, 0);
        } else {
            self.waited += 1;
        }
        self.waited == patience || score.is_nan()
    }

    /// The watch over the training loss.
    fn watch(&mut self, spec: &TrainSpec, c: &LrControl, loss: f64, score: f64) -> Option<RateChange> {
        let Schedule::Reference { warm_up, .. } = spec.schedule else { return None };
        let broken = loss.is_nan() || score.is_nan();
        if broken || loss > self.begin.training {
            self.larger += 1;
        }
        if broken || (loss > self.begin.training && self.larger >= c.reduce_lr_after) {
            if !c.init_adjust || self.epoch <= c.init_epochs || self.restarts >= RESTARTS {
                return None;
            }
            self.restarts += 1;
            self.epoch = 0;
            self.step = 0;
            self.full.iter_mut().for_each(|r| *r *= 0.25);
            self.cool(spec);
            return Some(RateChange::Restarted(self.restarts));
        }
        let rise = (loss - self.before) / (1e-8 + self.begin.training - loss);
        let too_much = rise > c.variability_cut || self.rises > c.variability_count;
        if self.epoch > warm_up.epochs && c.variability_count != 0 && too_much {
            self.rates.iter_mut().for_each(|r| *r *= 0.5);
            (self.before, self.rises) = (loss, 0);
            return Some(RateChange::Halved);
        }
        if loss > self.before {
            self.rises += 1;
        } else if loss < self.before {
            (self.before, self.rises) = (loss, 0);
        }
        None
    }

    /// Sets the rates to where warm-up begins.
    fn cool(&mut self, spec: &TrainSpec) {
        let by = match spec.schedule {
            Schedule::Reference { warm_up, .. } => warm_up.factor.powi(warm_up.epochs as i32),
            _ => 1.0,
        };
        self.rates = self.full.iter().map(|r| r / by).collect();
    }
}

/// Stands for a score that an older state does not hold.
fn unknown() -> f64 {
    f64::NAN
}

/// Floats as their bits: JSON has no NaN, and a resumed run must go on with the same numbers.
mod exact {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(x: &f64, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u64(x.to_bits())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
        u64::deserialize(d).map(f64::from_bits)
    }
}

mod exact_list {
    use serde::{Deserialize, Deserializer, Serializer};

    pub fn serialize<S: Serializer>(x: &[f64], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(x.iter().map(|x| x.to_bits()))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<f64>, D::Error> {
        Ok(Vec::<u64>::deserialize(d)?.into_iter().map(f64::from_bits).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::options::{DataFacts, parse_option_string, resolve};

    fn spec(options: &str) -> TrainSpec {
        let facts = DataFacts::single(60, vec![2], false);
        resolve(&parse_option_string(&format!("num_kernels=4+{options}")).unwrap(), &facts).unwrap().1
    }

    fn losses(training: f64) -> Losses {
        Losses { training, validation: training }
    }

    /// Runs the control on validation losses (training loss = `training(epoch)`); returns epochs, rates of every training
    /// pass, and actions.
    fn run(spec: &TrainSpec, begin: f64, epochs: &[(f64, f64)]) -> (Vec<usize>, Vec<f64>, Vec<Vec<Action>>, Control) {
        let mut c = Control::new(spec, vec![spec.lr]);
        c.begun(spec, losses(begin), epochs[0].1);
        let (mut numbers, mut rates, mut actions) = (vec![], vec![], vec![]);
        for &(training, score) in &epochs[1..] {
            if c.phase == Phase::Finished {
                break;
            }
            c.next_step(spec, 1);
            rates.push(c.rates[0]);
            c.trained(spec);
            numbers.push(c.epoch);
            let todo = c.judge(spec, losses(training), losses(score), score);
            if todo.contains(&Action::Restart) {
                c.restarted(epochs[0].1);
            }
            actions.push(todo);
            let text = serde_json::to_string(&c).unwrap();
            c = serde_json::from_str(&text).unwrap();
        }
        (numbers, rates, actions, c)
    }

    #[test]
    fn what_is_reached_is_of_an_epoch_that_trained() {
        let s = spec("epochs=3+patience=5+finetuning=False");
        let (.., c) = run(&s, 1.0, &[(1.0, 0.1), (0.9, 0.5), (0.8, 0.4), (0.7, 0.6)]);
        assert_eq!((c.best, c.best_epoch, c.reached, c.reached_epoch, c.diverged), (0.1, 0, 0.4, 2, false));
        let (.., c) = run(&s, 1.0, &[(1.0, 0.1), (0.9, 0.5), (f64::NAN, f64::NAN)]);
        assert_eq!((c.reached, c.reached_epoch, c.diverged), (0.5, 1, true));
    }

    /// Fixture 12c: early stop, two rounds of fine-tuning. Validation losses and rates as the reference recorded them.
    #[test]
    fn stop_and_fine_tuning_of_the_reference() {
        let s = spec(
            "lr=0.0004+patience=3+epochs=30+finetuning_patience=1+finetuning_rounds=2+finetuning_rate=0.1+init_adjust=False+\
             warm_up_epochs=3",
        );
        let validation = [
            0.985005, 0.95188, 0.871219, 0.804177, 0.684017, 0.607065, 0.575089, 0.574606, 0.462747, 0.499898,
            0.580285, 0.527418, 0.472272, 0.492536, 0.475244, 0.485688,
        ];
        let training = [
            1.163690, 1.143623, 1.067503, 0.899081, 0.729589, 0.634450, 0.555615, 0.492109, 0.448318, 0.440628,
            0.391624, 0.338306, 0.429323, 0.409536, 0.432585, 0.413767,
        ];
        let rows: Vec<(f64, f64)> = training.into_iter().zip(validation).collect();
        let (epochs, rates, actions, c) = run(&s, training[0], &rows);
        assert_eq!(epochs, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 9, 10, 11, 12]);
        let mut expected = vec![6.25e-6, 2.5e-5, 1e-4];
        expected.extend([4e-4; 8]);
        expected.extend([4e-5, 4e-5, 4.000000000000001e-6, 4.000000000000001e-6]);
        assert_eq!(rates, expected);
        let fine = |r| Action::Rate(RateChange::FineTuning(r));
        assert_eq!(actions[10], [Action::Load, fine(0)]);
        assert_eq!((&actions[12], &actions[14]), (&vec![Action::Load, fine(1)], &vec![Action::Load]));
        assert_eq!((c.best_epoch, c.best, c.phase, c.trained), (8, 0.462747, Phase::Finished, 15));
    }

    /// Fixture 12f: the loss becomes NaN, then larger than at the beginning; three restarts, then fine-tuning to the end.
    #[test]
    fn restarts_of_the_reference() {
        let s = spec(
            "lr=0.03+patience=10+epochs=6+finetuning_rounds=2+finetuning_rate=0.1+init_adjust=True+warm_up_epochs=1",
        );
        let nan = f64::NAN;
        let rows = [
            (0.0, 3.559158),
            (nan, nan),
            (f64::INFINITY, nan),
            (2.961948, 1.894732),
            (5.823366, 15088.725),
            (2.875654, 3.048707),
            (2.32392, 2.368155),
            (1.83501, 1.481299),
            (1.729924, 1.34556),
            (0.843611, 1.143239),
            (0.7675, 1.193598),
            (0.69729, 1.111125),
            (0.683977, 1.091155),
        ];
        let (epochs, rates, actions, c) = run(&s, 3.272732, &rows);
        assert_eq!(epochs, [1, 1, 1, 2, 1, 2, 3, 4, 5, 6, 6, 7]);
        let mut expected = vec![7.5e-3, 1.875e-3, 4.6875e-4, 1.875e-3, 1.171875e-4];
        expected.extend([4.6875e-4; 5]);
        expected.extend([4.6875e-5; 2]);
        assert_eq!(rates, expected);
        for (i, n) in [(0, 1), (1, 2), (3, 3)] {
            assert_eq!(actions[i], [Action::Rate(RateChange::Restarted(n)), Action::Restart]);
        }
        let saved: Vec<usize> = (0..12).filter(|&i| actions[i].contains(&Action::Save)).collect();
        assert_eq!(saved, [2, 6, 7, 8, 10, 11]);
        assert_eq!(actions[11], [Action::Save, Action::Load]);
        assert_eq!((c.best_epoch, c.phase), (7, Phase::Finished));
    }

    #[test]
    fn rates_are_halved_when_the_loss_rises() {
        let s = spec("lr=0.8+warm_up_epochs=0+trainvariability_cutn=2+epochs=30+init_adjust=False");
        // 0.3 of what was won; then three small rises in a row.
        let training = [1.0, 0.5, 0.7, 0.60, 0.61, 0.62, 0.63, 0.64, 0.5];
        let rows: Vec<(f64, f64)> = training.into_iter().map(|t| (t, 1.0 - t / 1e3)).collect();
        let (_, rates, actions, _) = run(&s, 1.0, &rows);
        let halved: Vec<usize> = (0..8).filter(|&i| actions[i].contains(&Action::Rate(RateChange::Halved))).collect();
        assert_eq!(halved, [1, 6]);
        assert_eq!(rates, [0.8, 0.8, 0.4, 0.4, 0.4, 0.4, 0.4, 0.2]);
    }

    #[test]
    fn the_last_epoch_is_kept_and_nan_is_not() {
        let s = spec("epochs=2+warm_up_epochs=0+lr=0.1");
        let (_, _, actions, c) = run(&s, 1.0, &[(1.0, 1.0), (0.9, 0.9), (0.8, 0.8)]);
        assert_eq!((actions, c.best_epoch, c.phase), (vec![vec![Action::Save]; 2], 2, Phase::Finished));
        let (_, _, actions, c) = run(&s, 1.0, &[(1.0, 1.0), (0.9, 0.9), (f64::NAN, f64::NAN)]);
        assert_eq!((actions[1].clone(), c.best_epoch, c.phase), (vec![Action::Load], 1, Phase::Finished));
        let s = TrainSpec { load_best: false, ..s };
        let (_, _, actions, c) = run(&s, 1.0, &[(1.0, 1.0), (0.9, 0.9), (0.8, 0.95)]);
        assert_eq!((actions[1].clone(), c.best_epoch, c.phase), (vec![], 2, Phase::Finished));
        let none = TrainSpec { epochs: 0, ..s };
        assert!(run(&none, 1.0, &[(1.0, 1.0), (0.9, 0.9)]).0.is_empty());
    }

    #[test]
    fn patience_is_asked_once() {
        let s = spec("epochs=9+warm_up_epochs=0+lr=0.1+patience=2+init_epochs=4+finetuning=False");
        let rows = [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9].map(|v| (0.5, v));
        assert_eq!(run(&s, 1.0, &rows).0.len(), 9, "a stop within init_epochs does not come again");
        let s = spec("epochs=9+warm_up_epochs=0+lr=0.1+patience=2+finetuning=False");
        assert_eq!(run(&s, 1.0, &rows).0.len(), 2);
        let s = spec("epochs=9+warm_up_epochs=0+lr=0.1+patience=2+finetuning=False+checkval=False");
        assert_eq!(run(&s, 1.0, &rows).0.len(), 9);
    }

    #[test]
    fn linear_warm_up_and_one_cycle() {
        let s = spec("lr=0.8+warm_up_epochs=2+warm_up_lr_factor=2+warmup_function=Linear+epochs=5");
        let rows = [1.0, 0.9, 0.8, 0.7, 0.6].map(|v| (v, v));
        let (_, rates, ..) = run(&s, 1.0, &rows);
        for (rate, expected) in rates.iter().zip([0.2, 0.5, 0.8, 0.8]) {
            assert!((rate - expected).abs() < 1e-15, "{rates:?}");
        }
        let s = spec("lr=0.8+schedule=one-cycle+epochs=4+pct_start=0.5+div_factor=4+final_div_factor=2");
        let (_, rates, _, c) = run(&s, 1.0, &rows);
        for (rate, expected) in [rates[0], rates[1], rates[3]].into_iter().zip([0.2, 0.8, 0.1]) {
            assert!((rate - expected).abs() < 1e-15, "{rates:?}");
        }
        assert_eq!(c.step, 4);
    }
}
