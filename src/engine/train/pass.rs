//! One pass over a set: batches in order, forward, loss, and in training backward and a step.

use super::control::Losses;
use super::data::{Augmentation, Batch, as_given, batch_sizes};
use super::{Event, PassKind, Report, Trainer};
use crate::error::{Error, Result};
use crate::model::spec::{LossReduction, Select, TrainSpec};
use crate::nn::Optimizer;
use crate::ops::{self, Loss};
use crate::stat;
use crate::tape::{Keep, Mode, Pass, Tape, Var};
use crate::tensor::{Coming, Tensor};

/// Share of a batch in running statistics, as `BatchNorm1d(momentum=0.1)`.
const MOMENTUM: f64 = 0.1;

/// What a pass found: the losses, and the score that chooses the best epoch (small is good).
pub(super) struct Found {
    pub losses: Losses,
    pub score: f64,
}

/// What the forward pass of a batch found, perhaps on its way from a GPU.
struct Forward {
    loss: Coming,
    /// One a head.
    predictions: Vec<Coming>,
}

impl Forward {
    /// The summed loss. The predictions of the `rows` sequences themselves (the first copy) are collected, head by head.
    fn wait(self, rows: usize, collected: &mut [Vec<f32>]) -> Result<f64> {
        for (y, to) in self.predictions.into_iter().zip(collected) {
            to.extend(y.wait()?.rows(0, rows)?.to_f64().into_iter().map(|v| v as f32));
        }
        Ok(self.loss.wait()?.to_f64()[0])
    }
}

impl Trainer<'_> {
    /// A pass over the training or the validation set. With an optimizer it trains. In train mode batch statistics and dropout
    /// are used, and running statistics move.
    pub(super) fn pass(
        &mut self,
        kind: PassKind,
        train_mode: bool,
        mut optimizer: Option<&mut Optimizer>,
        report: Report,
    ) -> Result<Found> {
        let set = if kind.validates() { &self.data.validation } else { &self.data.train };
        let (n, number) = (set.len(), self.control.pass);
        let order = (self.order)(number, n);
        let mut seen = vec![false; n];
        let fits = order.len() == n && order.iter().all(|&i| i < n && !std::mem::replace(&mut seen[i], true));
        if !fits {
            return Err(Error::Usage(format!("the order of pass {number} is no permutation of {n} sequences")));
        }
        let rows: Vec<usize> = order.into_iter().map(|i| set[i]).collect();
        let sizes = batch_sizes(n, self.spec.batch_size, self.spec.drop_last);
        if sizes.is_empty() {
            return Err(Error::Usage(format!(
                "{n} sequences and batch size {:?} leave no batch",
                self.spec.batch_size
            )));
        }
        let mut augmentation = Augmentation::new(&self.spec, number, optimizer.is_some());
        let copies = Augmentation::copies(&self.spec);
        let mut collected = vec![vec![]; self.data.tracks.len()];
        let (mut at, mut sum) = (0, 0.0);
        for (done, &size) in sizes.iter().enumerate() {
            let model = self.network.architecture();
            let batch = augmentation.batch(&self.data, model, &self.spec, &rows[at..at + size], at)?;
            let pass = Pass { seed: self.dropout_seed(), number, samples: batch.samples.as_slice().into() };
            let mode = if train_mode { Mode::Train(pass) } else { Mode::Eval };
            let (forward, grads) = self.batch(&batch, mode, optimizer.is_some())?;
            if let (Some(optimizer), Some(grads)) = (optimizer.as_deref_mut(), grads) {
                if let Some(momentum) = self.control.next_step(&self.spec, sizes.len()) {
                    optimizer.set_momentum(momentum)?;
                }
                optimizer.step(self.network.parameters_mut(), &grads, &self.control.rates)?;
            }
            // A GPU is still at the gradients while the host looks at the loss and makes the next batch.
            let loss = forward.wait(batch.rows.len(), &mut collected)?;
            sum += loss;
            at += size;
            report(&Event::Step {
                pass: kind,
                done: done + 1,
                total: sizes.len(),
                loss,
                rate: self.control.rates[0],
                network: &self.network,
            })?;
        }
        self.control.pass += 1;
        let width = self.data.width();
        let (validation, score) = self.evaluate(n, &rows[..at], &collected)?;
        Ok(Found { losses: Losses { training: sum / (n * copies * width) as f64, validation }, score })
    }

    /// Forward, and backward if asked for. Returns what forward found and the gradients.
    fn batch(&mut self, batch: &Batch, mode: Mode, trains: bool) -> Result<(Forward, Option<Vec<Option<Tensor>>>)> {
        let mut tape = Tape::new(if trains { Keep::BACKWARD } else { Keep::default() }, mode);
        let device = self.network.parameters().device();
        tape.precision = self.precision;
        let (forward, from, leaves) = {
            let parameters = self.network.parameters();
            let bound = parameters.bind(&mut tape, trains)?;
            let x: Vec<Var> =
                batch.x.iter().map(|x| Ok(Var::constant(x.to_device(&device)?))).collect::<Result<_>>()?;
            let outputs = self.network.forward(&mut tape, &bound, &x)?;
            let mut total: Option<Var> = None;
            let mut predictions = vec![];
            for (m, y) in outputs.iter().enumerate() {
                predictions.push(y.value.begin_to_cpu()?);
                let (target, losses) = (batch.targets[m].to_device(&device)?, &self.losses[m]);
                let weight = self.spec.losses[m].weight;
                let counted = (losses.counts > 0.0).then_some((Loss::LogCountMse, weight * losses.counts));
                for (loss, weight) in [(losses.train, weight)].into_iter().chain(counted) {
                    let loss = ops::loss(&mut tape, y, &target, loss, weight)?;
                    total = Some(match total {
                        Some(t) => ops::add(&mut tape, &t, &loss)?,
                        None => loss,
                    });
                }
            }
            let total = total.ok_or_else(|| Error::Usage("the model has no head".into()))?;
            (Forward { loss: total.value.begin_to_cpu()?, predictions }, total.node, parameters.leaves(&bound))
        };
        let stats = std::mem::take(&mut tape.stats);
        let grads = match from.filter(|_| trains) {
            Some(from) => {
                let (rows, width) = (batch.samples.len(), self.data.width());
                let upstream = match self.spec.loss_reduction {
                    LossReduction::Sum => 1.0,
                    LossReduction::Mean => 1.0 / (rows * width) as f64,
                };
                let dy = Tensor::new(&[1], vec![upstream])?.to_dtype(self.network.parameters().dtype())?;
                let dy = dy.to_device(&device)?;
                let rows: Vec<u32> = (0..rows as u32).collect();
                Some(tape.backward(from, dy, &rows, &leaves)?)
            }
            None => {
                drop(tape);
                None
            }
        };
        let parameters = self.network.parameters_mut();
        parameters.follow(&stats, MOMENTUM)?;
        Ok((forward, grads.map(|leaves| parameters.gradients(leaves))))
    }

    /// Validation loss and score of the collected predictions for `rows` of a set of `n`.
    fn evaluate(&self, n: usize, rows: &[usize], collected: &[Vec<f32>]) -> Result<(f64, f64)> {
        let (mut sum, mut width, mut correlations) = (0.0, 0, vec![]);
        for (m, predictions) in collected.iter().enumerate() {
            let weight = self.spec.losses[m].validation_weight;
            let Some(loss) = self.losses[m].watched.filter(|_| weight != 0.0) else { continue };
            let targets = self.data.target(m, &as_given(rows));
            let (t, bins) = (self.data.tracks[m], self.data.bins.unwrap_or(1));
            let of = |loss: Loss| {
                let (_, columns) = loss.lines(&self.data.shape(m, rows.len()))?;
                loss.sum::<f32>(predictions, &targets, columns)
            };
            sum += weight * of(loss)?;
            if loss == self.losses[m].train && self.losses[m].counts > 0.0 {
                sum += weight * self.losses[m].counts * of(Loss::LogCountMse)?;
            }
            width += t * bins;
            if self.spec.select == Select::Pearson {
                for track in 0..t {
                    let column = |x: &[f32]| -> Vec<f64> {
                        let of_track = x.chunks_exact(bins).skip(track).step_by(t);
                        of_track.flatten().map(|&v| f64::from(v)).collect()
                    };
                    let r = stat::pearson(&column(predictions), &column(&targets));
                    // A track without variation says nothing; a prediction that is no number is worse than any.
                    let flat = r.is_nan() && !predictions.iter().any(|p| p.is_nan());
                    correlations.push(if flat { 0.0 } else { r });
                }
            }
        }
        let loss = sum / (n * width) as f64;
        Ok(match self.spec.select {
            Select::Loss => (loss, loss),
            Select::Pearson => (loss, 1.0 - correlations.iter().sum::<f64>() / correlations.len() as f64),
        })
    }

    fn dropout_seed(&self) -> u64 {
        self.spec.dropout_seed.unwrap_or(self.spec.seed)
    }
}

/// What a head's loss is made of.
pub(super) struct HeadLoss {
    /// Loss to minimise.
    train: Loss,
    /// Loss to watch.
    watched: Option<Loss>,
    /// Weight of [`Loss::LogCountMse`] beside the loss to minimise, and where it is watched.
    counts: f64,
}

impl HeadLoss {
    /// A loss of this head that takes targets as counts, if there is one.
    pub(super) fn of_rates(&self) -> Option<Loss> {
        let counted = (self.counts > 0.0).then_some(Loss::LogCountMse);
        [Some(self.train), self.watched, counted].into_iter().flatten().find(|l| l.wants_rates())
    }
}

/// The losses of every head.
pub(super) fn losses(spec: &TrainSpec) -> Result<Vec<HeadLoss>> {
    let each = spec.losses.iter().map(|l| {
        let watched = l.validation.map(|v| Loss::parse(v.name())).transpose()?;
        Ok(HeadLoss { train: Loss::parse(l.train.name())?, watched, counts: l.count_weight })
    });
    let losses: Vec<HeadLoss> = each.collect::<Result<_>>()?;
    if losses.iter().zip(&spec.losses).all(|(h, l)| h.watched.is_none() || l.validation_weight == 0.0) {
        return Err(Error::Usage("no head has a validation loss with a weight; nothing could choose an epoch".into()));
    }
    Ok(losses)
}
