//! Search for hyper-parameters: random, and by successive halving.
//!
//! Random search trains every trial to its end. Successive halving (Jamieson and Talwalkar, 2016, "Non-stochastic best arm
//! identification and hyperparameter optimization") gives all trials a few epochs, the best `1 / eta` of them `eta` times as many,
//! and so on until a few train to their end. A trial that moves up goes on where it was paused: every trial is the whole run that
//! its options describe, with the learning-rate schedule of all its epochs, and a rung only says how far it is run. So the
//! chosen model has the bytes of a run that nobody paused.
//!
//! What to do next follows from the rows of the table alone ([`Plan::next`]), so a search that was interrupted goes on from it.

mod space;
mod table;

use serde::{Deserialize, Serialize};

pub use space::{Range, Space, Varied};
pub use table::{Row, Status, parse, text};

use crate::error::{Error, Result};
use crate::model::options::Value;
use crate::model::spec::{LossSpec, Select, TrainSpec};
use crate::stat;

/// How trials are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "kebab-case")]
pub enum Method {
    /// Every trial to its end.
    Random,
    /// The best `1 / eta` of a rung move up to `eta` times the epochs.
    Halving {
        /// Share and factor, from 2.
        eta: usize,
        /// Least epochs of the first rung; none = as many rungs as the trials allow.
        min_epochs: Option<usize>,
    },
}

/// A step of a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// Trials that are to succeed in it.
    pub trials: usize,
    /// Epochs of each from its beginning; none = to the end of the run.
    pub epochs: Option<usize>,
}

/// The rungs of a search.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// From the first to the last, which runs to the end.
    pub rungs: Vec<Rung>,
}

impl Plan {
    /// The rungs for `trials` trials of at most `epochs` epochs. Rung k of a halving of K + 1 rungs has `trials / eta^k` trials of
    /// `epochs / eta^(K - k)` epochs; K is as large as leaves a trial for the last rung and `min_epochs` for the first.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is no trial, or the numbers leave nothing to halve.
    pub fn new(method: Method, trials: usize, epochs: usize) -> Result<Self> {
        if trials == 0 {
            return Err(Error::Usage("--trials: expected at least 1, found 0".into()));
        }
        let Method::Halving { eta, min_epochs } = method else {
            return Ok(Self { rungs: vec![Rung { trials, epochs: None }] });
        };
        if eta < 2 {
            return Err(Error::Usage(format!("--eta: expected at least 2, found {eta}")));
        }
        let least = min_epochs.unwrap_or(1);
        if least == 0 || least > epochs {
            return Err(Error::Usage(format!(
                "--min-epochs: expected 1 to the {epochs} epochs of a run, found {least}"
            )));
        }
        let mut steps = 0;
        let power = |k: usize| u32::try_from(k).ok().and_then(|k| eta.checked_pow(k));
        while power(steps + 1).is_some_and(|p| trials / p >= 1 && epochs / p >= least) {
            steps += 1;
        }
        if steps == 0 {
            return Err(Error::Usage(format!(
                "nothing to halve: a second rung needs at least {eta} trials (found {trials}) and runs of {} epochs (found {epochs}); \
                 raise --trials or --epochs, lower --min-epochs or --eta, or use --method random",
                least.saturating_mul(eta)
            )));
        }
        let at = |k: usize| power(k).expect("smaller than the number of trials");
        let rung = |k: usize| Rung { trials: trials / at(k), epochs: (k < steps).then(|| epochs / at(steps - k)) };
        Ok(Self { rungs: (0..=steps).map(rung).collect() })
    }

    /// The trial to run next and its rung, or nothing when all is done. A trial that fails on a higher rung is replaced by the next
    /// best of the rung below.
    pub fn next(&self, rows: &[Row]) -> Option<(usize, usize)> {
        for (k, rung) in self.rungs.iter().enumerate() {
            let tried = |trial: usize| rows.iter().any(|r| r.rung == k && r.trial == trial);
            if k == 0 {
                match (0..rung.trials).find(|&t| !tried(t)) {
                    Some(trial) => return Some((trial, 0)),
                    None => continue,
                }
            }
            if ranked(rows, k).len() < rung.trials
                && let Some(next) = ranked(rows, k - 1).into_iter().find(|r| !tried(r.trial))
            {
                return Some((next.trial, k));
            }
        }
        None
    }

    /// The best trial so far: the best of the highest rung that one finished or was paused on.
    pub fn best<'r>(&self, rows: &'r [Row]) -> Option<&'r Row> {
        (0..self.rungs.len()).rev().find_map(|k| ranked(rows, k).first().copied())
    }

    /// The best trial of those that came to their end.
    pub fn winner<'r>(&self, rows: &'r [Row]) -> Option<&'r Row> {
        ranked(rows, self.rungs.len() - 1).first().copied()
    }

    /// Trials whose files nobody needs any more: those that stay on a rung when the next one is full, and on the last rung all but
    /// the best.
    pub fn out(&self, rows: &[Row]) -> Vec<usize> {
        let last = self.rungs.len() - 1;
        let best = self.winner(rows).map(|r| r.trial);
        let moved = |r: &Row| rows.iter().any(|other| other.trial == r.trial && other.rung > r.rung);
        let out = |r: &&Row| match r.rung == last {
            true => Some(r.trial) != best,
            false => ranked(rows, r.rung + 1).len() >= self.rungs[r.rung + 1].trials && !moved(r),
        };
        rows.iter().filter(out).map(|r| r.trial).collect()
    }
}

/// How the score goes with an option.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Importance {
    /// Name of the option.
    pub key: &'static str,
    /// Trials that it varied in and that did not fail.
    pub trials: usize,
    /// Spearman's rank correlation with the score: above 0 = smaller values are better. NaN for an option whose values are no
    /// numbers, or if it is not defined.
    pub spearman: f64,
}

/// How the score goes with each option, over the first rung: there all trials are, and with the same epochs.
pub fn importance(space: &Space, trials: &[Vec<Option<Value>>], rows: &[Row]) -> Vec<Importance> {
    let first = ranked(rows, 0);
    let of = |(i, varied): (usize, &Varied)| {
        let varying: Vec<(&Value, f64)> =
            first.iter().filter_map(|r| Some((trials[r.trial][i].as_ref()?, r.score?))).collect();
        let numbers: Option<Vec<f64>> = varying.iter().map(|(v, _)| v.as_f64()).collect();
        let scores: Vec<f64> = varying.iter().map(|(_, s)| *s).collect();
        let spearman = numbers.filter(|x| x.len() > 1).map_or(f64::NAN, |x| stat::spearman(&x, &scores));
        Importance { key: varied.key, trials: scores.len(), spearman }
    };
    space.varied().iter().enumerate().map(of).collect()
}

/// Rows of a rung that did not fail, the best first.
fn ranked(rows: &[Row], rung: usize) -> Vec<&Row> {
    let mut found: Vec<&Row> = rows.iter().filter(|r| r.rung == rung && r.score.is_some()).collect();
    found.sort_by(|a, b| {
        a.score.unwrap_or(f64::NAN).total_cmp(&b.score.unwrap_or(f64::NAN)).then(a.trial.cmp(&b.trial))
    });
    found
}

/// Checks that scores of trials can be compared, all of them with the first: the same score, of the same losses in the same unit.
///
/// # Errors
/// [`Error::Usage`] naming the trial and the options, and what to do.
pub fn comparable(specs: &[TrainSpec], validation: usize) -> Result<()> {
    let Some((first, others)) = specs.split_first() else { return Ok(()) };
    let by_loss = first.select == Select::Loss;
    for (i, spec) in others.iter().enumerate() {
        let differ = |what: String| {
            Err(Error::Usage(format!("trials 0 and {} cannot be compared by their score: {what}", i + 1)))
        };
        if spec.select != first.select {
            return differ("option 'select' varies; give it as a base option".into());
        }
        let watched = |s: &TrainSpec| -> Vec<_> {
            // Totals are watched where the loss to minimise is.
            let counted = |l: &LossSpec| if l.validation == Some(l.train) { l.count_weight } else { 0.0 };
            let loss = |l: &LossSpec| (by_loss.then_some(l.validation), l.validation_weight, counted(l));
            let heads = s.losses.iter().filter(|l| l.validation.is_some() && l.validation_weight != 0.0);
            if by_loss { heads.map(loss).collect() } else { vec![] }
        };
        let heads = |s: &TrainSpec| -> Vec<bool> {
            s.losses.iter().map(|l| l.validation.is_some() && l.validation_weight != 0.0).collect()
        };
        if heads(spec) != heads(first) || watched(spec) != watched(first) {
            return differ(
                "it is made of other validation losses; give the same 'validation_loss' and 'val_loss_weights' to all as base \
                 options, or choose by correlation (--set select=pearson)"
                    .into(),
            );
        }
        if by_loss && spec.standardize_targets != first.standardize_targets {
            return differ(
                "'standardize_targets' varies, and with it the unit of the validation loss; choose by correlation (--set \
                 select=pearson)"
                    .into(),
            );
        }
        let seen = |s: &TrainSpec| crate::engine::train::rows_of_pass(validation, s);
        if seen(spec) != seen(first) {
            return differ(format!(
                "of {validation} validation sequences they see {} and {}, because an incomplete batch is left out ('batchsize', \
                 'drop_last'); add --set drop_last=never",
                seen(first),
                seen(spec)
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::options::{DataFacts, parse_option_string, resolve};

    fn plan(trials: usize, epochs: usize, eta: usize, min_epochs: Option<usize>) -> Result<Plan> {
        Plan::new(Method::Halving { eta, min_epochs }, trials, epochs)
    }

    fn numbers(plan: &Plan) -> Vec<(usize, usize)> {
        plan.rungs.iter().map(|r| (r.trials, r.epochs.unwrap_or(0))).collect()
    }

    #[test]
    fn rungs_of_a_halving() {
        assert_eq!(numbers(&plan(27, 27, 3, None).unwrap()), [(27, 1), (9, 3), (3, 9), (1, 0)]);
        assert_eq!(numbers(&plan(20, 1000, 3, None).unwrap()), [(20, 111), (6, 333), (2, 0)]);
        assert_eq!(numbers(&plan(27, 27, 3, Some(3)).unwrap()), [(27, 3), (9, 9), (3, 0)]);
        assert_eq!(numbers(&plan(8, 5, 2, None).unwrap()), [(8, 1), (4, 2), (2, 0)]);
        assert_eq!(numbers(&plan(usize::MAX, usize::MAX, 2, None).unwrap()).len(), 64);
        for (trials, epochs, eta, least, part) in [
            (0, 9, 3, None, "--trials"),
            (9, 9, 1, None, "--eta"),
            (9, 9, 3, Some(0), "--min-epochs"),
            (9, 9, 3, Some(10), "1 to the 9 epochs"),
            (2, 9, 3, None, "at least 3 trials (found 2)"),
            (9, 9, 3, Some(4), "runs of 12 epochs (found 9)"),
        ] {
            let message = plan(trials, epochs, eta, least).unwrap_err().to_string();
            assert!(message.contains(part), "'{part}' is not in: {message}");
        }
        assert_eq!(numbers(&Plan::new(Method::Random, 5, 9).unwrap()), [(5, 0)]);
    }

    /// Runs a plan on scores by (trial, rung); a NaN fails.
    fn walk(plan: &Plan, score: impl Fn(usize, usize) -> f64) -> Vec<Row> {
        let mut rows: Vec<Row> = vec![];
        while let Some((trial, rung)) = plan.next(&rows) {
            let score = Some(score(trial, rung)).filter(|s| !s.is_nan());
            let last = rung + 1 == plan.rungs.len();
            let status = match score {
                None => Status::Failed("x".into()),
                Some(_) if last => Status::Done,
                Some(_) => Status::Paused,
            };
            rows.push(Row { score, status, ..Row::failed(trial, rung, String::new()) });
        }
        rows
    }

    #[test]
    fn the_best_move_up() {
        let plan = plan(9, 9, 3, None).unwrap();
        let rows = walk(&plan, |trial, rung| ((trial * 5) % 9) as f64 - rung as f64);
        let on = |k: usize| rows.iter().filter(|r| r.rung == k).map(|r| r.trial).collect::<Vec<_>>();
        // 5 t mod 9 is 0, 1, 2 for t = 0, 2, 4.
        assert_eq!((on(0), on(1), on(2)), ((0..9).collect(), vec![0, 2, 4], vec![0]));
        assert_eq!(plan.best(&rows).unwrap().trial, 0);
        assert_eq!(plan.best(&rows[..4]).unwrap().trial, 0);
        let mut out = plan.out(&rows);
        out.sort_unstable();
        assert_eq!(out, [1, 2, 3, 4, 5, 6, 7, 8]);
        assert!(plan.out(&rows[..9]).is_empty());
        // Equal scores: the earlier trial.
        let rows = walk(&plan, |_, _| 1.0);
        assert_eq!(rows[9..].iter().map(|r| r.trial).collect::<Vec<_>>(), [0, 1, 2, 0]);
    }

    #[test]
    fn failures_are_replaced_and_end_nothing() {
        let plan = plan(9, 9, 3, None).unwrap();
        // Trial 0 fails at once, trial 1 on rung 1, trial 2 on rung 2.
        let rows = walk(&plan, |trial, rung| if trial == rung && trial < 3 { f64::NAN } else { trial as f64 });
        let on = |k: usize| rows.iter().filter(|r| r.rung == k).map(|r| r.trial).collect::<Vec<_>>();
        assert_eq!((on(1), on(2)), (vec![1, 2, 3, 4], vec![2, 3]));
        assert_eq!(plan.best(&rows).unwrap().trial, 3);
        let rows = walk(&plan, |_, _| f64::NAN);
        assert_eq!((rows.len(), plan.best(&rows)), (9, None));
    }

    #[test]
    fn importance_is_the_rank_correlation_on_the_first_rung() {
        let mut space = Space::default();
        for item in ["lr=log:1e-5..1", "dropout=range:0..0.5", "kernel_function=GELU,ReLU"] {
            space.add_text(item).unwrap();
        }
        let trials = space.trials(&crate::model::options::Options::new(), 1, 27);
        let at = |key: &str| space.varied().iter().position(|v| v.key == key).unwrap();
        let lr = |t: usize| trials[t][at("lr")].as_ref().unwrap().as_f64().unwrap();
        // Other rungs say the contrary.
        let plan = plan(27, 27, 3, None).unwrap();
        let rows = walk(&plan, |t, rung| if t == 5 { f64::NAN } else { lr(t).powi(3) * (1.0 - 2.0 * rung as f64) });
        let found = importance(&space, &trials, &rows);
        assert_eq!(found.iter().map(|f| f.trials).collect::<Vec<_>>(), [26; 3]);
        assert!((found[at("lr")].spearman - 1.0).abs() < 1e-12 && found[at("dropout")].spearman.abs() < 0.6);
        assert!(found[at("kernel_function")].spearman.is_nan());
    }

    #[test]
    fn scores_of_different_kinds_are_not_compared() {
        let facts = DataFacts::single(60, vec![2], false);
        let check = |base: &str, a: &str, b: &str| {
            let of = |text: &str| {
                resolve(&parse_option_string(&format!("num_kernels=4+{base}+{text}")).unwrap(), &facts).unwrap().1
            };
            comparable(&[of(a), of(b)], 103)
        };
        assert!(check("epochs=2", "lr=0.1", "lr=0.2").is_ok());
        assert!(check("validation_loss=MSE", "loss_function=MSE", "loss_function=L1Loss").is_ok());
        assert!(check("select=pearson", "loss_function=MSE", "loss_function=L1Loss").is_ok());
        assert!(check("select=pearson", "standardize_targets=True", "standardize_targets=False").is_ok());
        assert!(check("drop_last=never", "batchsize=50", "batchsize=10").is_ok());
        for (base, a, b, part) in [
            ("epochs=2", "loss_function=MSE", "loss_function=L1Loss", "'validation_loss'"),
            ("epochs=2", "val_loss_weights=1", "val_loss_weights=2", "'val_loss_weights'"),
            ("epochs=2", "select=loss", "select=pearson", "'select' varies"),
            ("epochs=2", "standardize_targets=True", "standardize_targets=False", "select=pearson"),
            ("epochs=2", "batchsize=50", "batchsize=None", "they see 100 and 103"),
        ] {
            let message = check(base, a, b).unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("trials 0 and 1"), "{message}");
        }
    }
}
