//! How a model is trained: losses, optimiser, schedule, stopping, fine-tuning, augmentation.

use serde::{Deserialize, Serialize};

named! {
    /// Loss functions by the reference's names; `p` is the prediction, `t` the target, `r` Pearson's correlation.
    LossName, "loss" {
        /// Squared error.
        Mse = "MSE",
        /// Absolute error.
        L1 = "L1Loss",
        /// Binary cross entropy of probabilities.
        Bce = "BCELoss",
        /// `exp(p) - t p`
        Poisson = "PoissonNNL",
        /// `p - t ln p`
        PoissonRate = "Poisson",
        /// Distribution of a profile's counts over its bins.
        Multinomial = "MultinomialNLL",
        /// Squared error of the logarithm of a profile's total count.
        LogCountMse = "LogCountMSE",
        /// Kullback-Leibler divergence, prediction in log space.
        Kl = "KL",
        /// `1 - r` over the tracks of a sequence.
        CorrelationData = "Correlationdata",
        /// `1 - r` over the sequences of a batch.
        CorrelationClass = "Correlationclass",
        /// `0.95 Correlationdata + 0.05 MSE`
        CorrelationMse = "Correlationmse",
        /// `0.95 Correlationclass + 0.05 MSE`
        MseCorrelation = "MSECorrelation",
        /// Half of each correlation, one number.
        CorrelationBoth = "Correlationboth",
        /// Correlation after summing the last axis.
        CorrelationSumData = "Correlationsumdata",
        /// `1 - cos` over the tracks of a sequence.
        CosineData = "Cosinedata",
        /// `1 - cos` over the sequences of a batch.
        CosineClass = "Cosineclass",
        /// Half of each cosine.
        CosineBoth = "Cosineboth",
        /// Cross entropy over the tracks.
        CrossEntropyData = "CElossdata",
        /// Cross entropy over the batch.
        CrossEntropyClass = "CElossclass",
        /// Symmetric cross entropy over the tracks.
        SymmetricCrossEntropyData = "SCElossdata",
        /// Symmetric cross entropy over the batch.
        SymmetricCrossEntropyClass = "SCElossclass",
        /// Cross entropy with a third of the entropy, over the tracks.
        HalfCrossEntropyData = "HCElossdata",
        /// Cross entropy with a third of the entropy, over the batch.
        HalfCrossEntropyClass = "HCElossclass",
        /// Jensen-Shannon divergence over the last axis.
        Jsd = "JSD",
        /// Jensen-Shannon divergence and squared error of window means.
        JensenShannon = "JensenShannon",
        /// Jensen-Shannon divergence and squared error of the mean.
        JensenShannonCount = "JensenShannonCount",
        /// Cross entropy and squared error.
        BceMse = "BCEMSE",
        /// Cross entropy and count ratio.
        BceCountRatio = "BCEMCR",
        /// Multinomial likelihood and squared error.
        MultinomialMse = "MultinomialMSE",
        /// Absolute error of logarithms.
        LogL1 = "LogL1Loss",
        /// Distribution and logarithmic count.
        LogCountDist = "LogCountDistLoss",
        /// Distribution and count.
        CountDist = "CountDistLoss",
        /// Squared error and squared error of differences between tracks.
        MseContrastMseD = "MSEcontrastMSED",
        /// Squared error and squared error of fractions between tracks.
        MseContrastMseF = "MSEcontrastMSEF",
        /// Squared error and correlation of differences between tracks.
        MseContrastCorD = "MSEcontrastCORD",
        /// Absolute error and absolute error of differences between tracks.
        L1ContrastL1D = "L1contrastL1D",
        /// Absolute error and squared error of differences between tracks.
        L1ContrastMseD = "L1contrastMSED",
        /// Absolute error and correlation of differences between tracks.
        L1ContrastCorD = "L1contrastCORD",
    }
}

/// Losses that the reference knows but cannot run.
pub(crate) const UNUSABLE_LOSSES: &[&str] = &["CrossEntropy", "NLL", "GNLL", "LogMSE", "DLogMSE"];

named! {
    /// How the learning rate grows during warm-up.
    WarmUpShape, "warmup_function" {
        /// Times the factor every epoch.
        Exp = "Exp",
        /// By the same amount every epoch.
        Linear = "Linear",
    }
}

named! {
    /// Whether a batch's loss is summed over sequences and tracks or averaged.
    LossReduction, "loss_reduction" {
        /// Sum, as the reference: the step grows with the batch.
        Sum = "sum",
        /// Mean.
        Mean = "mean",
    }
}

named! {
    /// What happens to the last, incomplete batch of an epoch.
    DropLast, "drop_last" {
        /// Left out if it has fewer than 10 sequences, in validation too, as the reference.
        Reference = "reference",
        /// Always used.
        Never = "never",
        /// Always left out.
        Always = "always",
    }
}

named! {
    /// What chooses the best epoch.
    Select, "select" {
        /// The smallest validation loss.
        Loss = "loss",
        /// The largest mean correlation of the tracks on the validation set.
        Pearson = "pearson",
    }
}

/// Loss of one head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossSpec {
    /// Loss that is minimised.
    pub train: LossName,
    /// Its weight.
    pub weight: f64,
    /// Loss that is watched on the validation set; none = this head does not count there.
    pub validation: Option<LossName>,
    /// Its weight.
    pub validation_weight: f64,
    /// Weight of the squared error of logarithmic total counts (`LogCountMSE`) that is added to the loss, and to the one that is
    /// watched where that is the same.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub count_weight: f64,
}

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

/// Optimiser with its own parameters; `eps` is 1e-8 throughout.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", deny_unknown_fields)]
pub enum Optimizer {
    /// Stochastic gradient descent.
    #[serde(rename = "SGD")]
    Sgd {
        /// Momentum.
        momentum: f64,
        /// Nesterov's form of it (`NAG`).
        nesterov: bool,
    },
    /// Adagrad.
    Adagrad {
        /// Decay of the learning rate.
        lr_decay: f64,
    },
    /// Adadelta.
    Adadelta {
        /// Memory of squared gradients.
        rho: f64,
    },
    /// Adam; weight decay is added to the gradient.
    Adam {
        /// Memory of the gradient and of its square.
        betas: (f64, f64),
    },
    /// Adam with Nesterov momentum.
    NAdam {
        /// Memory of the gradient and of its square.
        betas: (f64, f64),
        /// Decay of the momentum.
        momentum_decay: f64,
    },
    /// Adam with decoupled weight decay.
    AdamW {
        /// Memory of the gradient and of its square.
        betas: (f64, f64),
        /// Never forget the largest squared gradient (`Amsgrad`).
        amsgrad: bool,
    },
}

/// Names of the optimisers in options.
pub const OPTIMIZERS: &[&str] = &["SGD", "NAG", "Adagrad", "Adadelta", "Adam", "NAdam", "AdamW", "Amsgrad"];

/// Warm-up of the learning rate: epoch k of W starts with `lr * factor^(k-1-W)`, or a straight line between the same
/// ends.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WarmUp {
    /// Number of epochs W.
    pub epochs: usize,
    /// Factor between epochs.
    pub factor: f64,
    /// Shape.
    pub shape: WarmUpShape,
}

/// The reference's watch over the training loss.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LrControl {
    /// Restart with a quarter of the rate after so many epochs with a loss above the first one.
    pub reduce_lr_after: usize,
    /// Halve the rate when the loss rises by more than this share of what it has fallen.
    pub variability_cut: f64,
    /// Halve the rate after more than so many rises; 0 = never halve.
    pub variability_count: usize,
    /// Stop when training loss / validation loss is not above this.
    pub valtrain_ratio: f64,
    /// No stop and no restart before this epoch.
    pub init_epochs: usize,
    /// Whether restarts happen.
    pub init_adjust: bool,
}

/// Rounds with a smaller rate from the best epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FineTuning {
    /// A round ends after more than so many epochs without a better one.
    pub patience: usize,
    /// Number of rounds.
    pub rounds: usize,
    /// Every round multiplies the rate by this.
    pub rate: f64,
}

/// Learning rate over time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    /// Warm-up, then constant with the reference's control.
    Reference {
        /// Warm-up.
        warm_up: WarmUp,
        /// Restarts and halvings.
        control: LrControl,
    },
    /// One cycle over all steps with cosine annealing, as PyTorch's `OneCycleLR`: from `lr / div_factor` to `lr`, then
    /// to `lr / div_factor / final_div_factor`.
    OneCycle {
        /// Share of the steps that rise.
        pct_start: f64,
        /// Peak over start.
        div_factor: f64,
        /// Start over end.
        final_div_factor: f64,
        /// Momentum (SGD) or first beta (Adam) runs the other way between these, if given: (at the peak, at the ends).
        momentum: Option<(f64, f64)>,
    },
    /// Half a cosine from `lr` to `min_lr` over all steps.
    Cosine {
        /// Rate at the end.
        min_lr: f64,
    },
    /// Always `lr`.
    Constant,
}

/// Names of the schedules in options.
pub const SCHEDULES: &[&str] = &["reference", "one-cycle", "cosine", "constant"];

/// Shift augmentation: a batch becomes `2 * draws` copies, shifted left and right by random offsets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shift {
    /// Offsets to draw from.
    pub offsets: Vec<usize>,
    /// Number of draws a batch.
    pub draws: usize,
}

/// How to train a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainSpec {
    /// One entry a head.
    pub losses: Vec<LossSpec>,
    /// Sum or mean over a batch.
    pub loss_reduction: LossReduction,
    /// Optimiser.
    pub optimizer: Optimizer,
    /// Weight decay.
    pub weight_decay: f64,
    /// Learning rate.
    pub lr: f64,
    /// Learning rate of the first layer and of the embedding convolution; none = `lr`.
    pub kernel_lr: Option<f64>,
    /// Learning rates of the tensors whose names fit a pattern (`*` = any text); later ones decide, 0 = frozen.
    #[serde(default)]
    pub lr_of: Vec<(String, f64)>,
    /// Tensors whose names fit one of these patterns keep their numbers.
    #[serde(default)]
    pub freeze: Vec<String>,
    /// Learning rate over time.
    pub schedule: Schedule,
    /// Sequences a batch; none = all.
    pub batch_size: Option<usize>,
    /// The last batch.
    pub drop_last: DropLast,
    /// Most epochs.
    pub epochs: usize,
    /// Stop after so many epochs without a better one.
    pub patience: usize,
    /// Whether the validation set can stop training (`checkval`).
    pub check_validation: bool,
    /// What chooses the best epoch.
    pub select: Select,
    /// Whether training ends with the weights of the best epoch (`load_previous`).
    pub load_best: bool,
    /// Fine-tuning.
    pub fine_tuning: Option<FineTuning>,
    /// Random shifts.
    pub shift: Option<Shift>,
    /// Whether half of the training sequences are turned to the other strand.
    pub reverse_complement: bool,
    /// Whether targets are brought to mean 0 and deviation 1 on the training set, undone at prediction.
    pub standardize_targets: bool,
    /// Seed of initial weights and batches.
    pub seed: u64,
    /// Seed of dropout; none = `seed`.
    pub dropout_seed: Option<u64>,
    /// Whether the weights are kept when training ends (`keepmodel`).
    pub keep_model: bool,
    /// Whether the losses of every epoch are written.
    pub write_loss: bool,
    /// They are written every so many epochs.
    pub write_steps: usize,
}
