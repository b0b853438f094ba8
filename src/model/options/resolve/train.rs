//! Options of losses, optimiser, schedule and loop.

use super::{Reader, names};
use crate::error::{Result, hint};
use crate::model::options::Value;
use crate::model::spec::*;

impl Reader<'_> {
    pub(super) fn training(&self) -> Result<TrainSpec> {
        let adjust = self.options.value("adjust_lr");
        if !matches!(adjust.as_str(), Some("F")) && adjust != Value::None {
            return self.unsupported("adjust_lr", "one rate for all layers, and kernel_lr for the first; leave it out");
        }
        let rate = |key: &str| match self.options.value(key) {
            Value::None => Ok(None),
            _ => self.number(key, "a number from 0, or None", |x| x >= 0.0).map(Some),
        };
        let (optimizer, weight_decay) = self.optimizer()?;
        let fine_tuning = if self.flag("finetuning")? {
            Some(FineTuning {
                patience: self.count("finetuning_patience")?,
                rounds: self.count("finetuning_rounds")?,
                rate: self.above_zero("finetuning_rate")?,
            })
        } else {
            None
        };
        let seed = |key: &str| self.read(key, "a whole number from 0", |v| v.as_usize().map(|n| n as u64));
        Ok(TrainSpec {
            losses: self.losses()?,
            loss_reduction: self.named("loss_reduction")?,
            optimizer,
            weight_decay,
            lr: self.above_zero("lr")?,
            kernel_lr: rate("kernel_lr")?,
            lr_of: self.rates_of()?,
            freeze: self.texts("freeze", "a pattern of tensor names, a list of them, or None")?,
            schedule: self.schedule()?,
            batch_size: self.size("batchsize")?,
            drop_last: self.named("drop_last")?,
            epochs: self.count("epochs")?,
            patience: self.positive("patience")?,
            check_validation: self.flag("checkval")?,
            select: self.named("select")?,
            load_best: self.flag("load_previous")?,
            fine_tuning,
            shift: self.shift()?,
            reverse_complement: self.flag("augment_reverse_complement")?,
            standardize_targets: self.flag("standardize_targets")?,
            seed: seed("seed")?,
            dropout_seed: if self.options.value("dropout_seed") == Value::None {
                None
            } else {
                Some(seed("dropout_seed")?)
            },
            keep_model: self.flag("keepmodel")?,
            write_loss: self.flag("writeloss")?,
            write_steps: self.positive("write_steps")?,
        })
    }

    /// A text or a list of texts.
    fn texts(&self, key: &str, expected: &str) -> Result<Vec<String>> {
        self.read(key, expected, |v| match v {
            Value::None => Some(vec![]),
            Value::Str(text) => Some(vec![text.clone()]),
            _ => v.items()?.iter().map(|v| v.as_str().map(String::from)).collect(),
        })
    }

    fn rates_of(&self) -> Result<Vec<(String, f64)>> {
        const EXPECTED: &str =
            "a pattern of tensor names and its rate, e.g. convolutions.*=0.001, a list of them, or None";
        let pair = |text: String| -> Option<(String, f64)> {
            let (pattern, rate) = text.rsplit_once('=')?;
            let rate = rate.trim().parse().ok().filter(|r: &f64| r.is_finite() && *r >= 0.0)?;
            Some((pattern.trim().to_string(), rate))
        };
        let pairs: Option<Vec<(String, f64)>> = self.texts("lr_of", EXPECTED)?.into_iter().map(pair).collect();
        pairs.ok_or_else(|| self.options.error("lr_of", EXPECTED))
    }

    fn losses(&self) -> Result<Vec<LossSpec>> {
        let loss = |key: &'static str| {
            move |v: &Value| match v.as_str() {
                Some(name) if UNUSABLE_LOSSES.contains(&name) => self.unsupported(
                    key,
                    &format!("'{name}' fails in the reference too; use one of {}", names::<LossName>()),
                ),
                Some(name) => match LossName::from_name(name) {
                    None if name != "None" => {
                        let near = hint(name, LossName::ALL.iter().map(|(_, n)| *n));
                        Err(self.options.error(key, format!("one of {}{near}", names::<LossName>())))
                    }
                    loss => Ok(loss),
                },
                None => Ok(None),
            }
        };
        let train = self.per_head("loss_function", "the name of a loss", loss("loss_function"))?;
        let validation: Vec<Option<LossName>> = if self.options.value("validation_loss") == Value::None {
            train.iter().copied().map(Some).collect()
        } else {
            self.per_head("validation_loss", "the name of a loss, or None", |v| match v.as_str() {
                Some("None") => Ok(Some(None)),
                _ => Ok(loss("validation_loss")(v)?.map(Some)),
            })?
        };
        if validation.iter().all(Option::is_none) {
            return Err(self.options.error("validation_loss", "at least one loss that is not 'None'"));
        }
        let weights = |key: &str| self.per_head(key, "a number from 0", |v| Ok(v.as_f64().filter(|&w| w >= 0.0)));
        let (weight, validation_weight) = (weights("loss_weights")?, weights("val_loss_weights")?);
        let count_weight = weights("count_loss_weight")?;
        let spec = |m: usize| LossSpec {
            train: train[m],
            weight: weight[m],
            validation: validation[m],
            validation_weight: validation_weight[m],
            count_weight: count_weight[m],
        };
        Ok((0..self.heads).map(spec).collect())
    }

    fn optimizer(&self) -> Result<(Optimizer, f64)> {
        let expected = format!("one of {}", OPTIMIZERS.join(", "));
        let name = self.read("optimizer", &expected, |v| v.as_str().map(str::to_string))?;
        let given = self.options.value("optim_params") != Value::None;
        let one = |default: f64| {
            if given { self.number("optim_params", "a number from 0", |x| x >= 0.0) } else { Ok(default) }
        };
        let betas = || {
            let two = |v: &Value| match v.items()? {
                [a, b] => Some((a.as_f64()?, b.as_f64()?)),
                _ => None,
            };
            let valid = |&(a, b): &(f64, f64)| (0.0..1.0).contains(&a) && (0.0..1.0).contains(&b);
            let expected = "two numbers from 0 to below 1, e.g. (0.9,0.999)";
            if given { self.read("optim_params", expected, |v| two(v).filter(valid)) } else { Ok((0.9, 0.999)) }
        };
        let optimizer = match name.as_str() {
            "SGD" => Optimizer::Sgd { momentum: one(0.0)?, nesterov: false },
            "NAG" => Optimizer::Sgd { momentum: one(0.7)?, nesterov: true },
            "Adagrad" => Optimizer::Adagrad { lr_decay: one(0.0)? },
            "Adadelta" => Optimizer::Adadelta { rho: one(0.9)? },
            "Adam" => Optimizer::Adam { betas: betas()? },
            "NAdam" => Optimizer::NAdam { betas: betas()?, momentum_decay: 4e-3 },
            "AdamW" => Optimizer::AdamW { betas: betas()?, amsgrad: false },
            "Amsgrad" => Optimizer::AdamW { betas: betas()?, amsgrad: true },
            other => {
                return Err(self.options.error("optimizer", expected + &hint(other, OPTIMIZERS.iter().copied())));
            }
        };
        let decay = match self.options.value("optim_weight_decay") {
            Value::None => f64::from(u8::from(name == "AdamW")) * 0.01,
            _ => self.number("optim_weight_decay", "a number from 0, or None", |x| x >= 0.0)?,
        };
        Ok((optimizer, decay))
    }

    fn schedule(&self) -> Result<Schedule> {
        let expected = format!("one of {}", SCHEDULES.join(", "));
        let name = self.read("schedule", &expected, |v| v.as_str().map(str::to_string))?;
        Ok(match name.as_str() {
            "reference" => Schedule::Reference {
                warm_up: WarmUp {
                    epochs: self.count("warm_up_epochs")?,
                    factor: self.above_zero("warm_up_lr_factor")?,
                    shape: self.named("warmup_function")?,
                },
                control: LrControl {
                    reduce_lr_after: self.count("reduce_lr_after")?,
                    variability_cut: self.number("trainvariability_cut", "a number", |_| true)?,
                    variability_count: self.count("trainvariability_cutn")?,
                    valtrain_ratio: self.number("valtrain_ratio", "a number", |_| true)?,
                    init_epochs: self.count("init_epochs")?,
                    init_adjust: self.flag("init_adjust")?,
                },
            },
            "one-cycle" => Schedule::OneCycle {
                pct_start: self.number("pct_start", "a number from 0 to 1", |x| (0.0..=1.0).contains(&x))?,
                div_factor: self.above_zero("div_factor")?,
                final_div_factor: self.above_zero("final_div_factor")?,
                momentum: match self.flag("cycle_momentum")? {
                    true => Some((self.share("base_momentum")?, self.share("max_momentum")?)),
                    false => None,
                },
            },
            "cosine" => Schedule::Cosine { min_lr: self.number("min_lr", "a number from 0", |x| x >= 0.0)? },
            "constant" => Schedule::Constant,
            other => {
                return Err(self.options.error("schedule", expected + &hint(other, SCHEDULES.iter().copied())));
            }
        })
    }
}
