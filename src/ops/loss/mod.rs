//! Losses between predictions p and targets t, both `[B, T]` (rows, tracks). Every loss is a tensor of values that are then
//! **summed**, never averaged; the trainer divides where it reports. Of profiles `[B, T, bins]` the last axis, which losses of
//! rows read, is the bins of a track; losses of columns read every bin of every track over the batch.
//!
//! | name | value at (i, c) |
//! |---|---|
//! | `MSE`, `L1Loss` | (p - t)², \|p - t\| |
//! | `BCELoss` | -t ln p - (1 - t) ln(1 - p), logarithms not below -100; p and t within 0 to 1 |
//! | `PoissonNNL`, `KL` | exp(p) - t p, t ln t - t p |
//! | `Poisson` | p - t ln(p + e): negative log likelihood of counts t at rates p above 0 |
//! | `MultinomialNLL` | one a row: -sum of t ln((p + e) / sum(p + e)), the shape of a profile of rates p |
//! | `LogCountMSE` | one a row: (ln(1 + sum p) - ln(1 + sum t))², its total |
//! | `CrossEntropy` | one a row: -sum of t log softmax(p) over tracks |
//! | `Correlationdata`, `Correlationclass` | 1 - r of row i, of column c: the same value for every element of the line |
//! | `Correlationmse`, `MSECorrelation` | 0.95 `Correlationdata`, 0.95 `Correlationclass`, + 0.05 (p - t)² |
//! | `Correlationboth` | one in all: half the mean of 1 - r over rows + half the mean over columns |
//! | `Correlationsumdata` | 1 - r between the rows' sums, the same for every element |
//! | `Cosinedata`, `Cosineclass` | 1 - cos of row i, of column c; no floor: NaN for a vector of zeros |
//! | `Cosineboth` | one in all: B T (half the mean of 1 - cos over rows + half the mean over columns) |
//! | `CEloss{data,class}` | one a row, a column: the sum of -t ln(p + e), e = 1e-8 |
//! | `SCEloss{data,class}` | the same of (-t ln(p + e) - p ln(t + e)) / 2 |
//! | `HCEloss{data,class}` | `SCEloss` + 0.33 t ln(t + e) |
//! | `JSD` | Jensen-Shannon divergence in bits of row i, after + e and division by the row's sum |
//! | `MSEcontrastMSED`, `L1contrastL1D`, `L1contrastMSED` | A + mean over tracks j of B between p_j - p_c and t_j - t_c |
//! | `MSEcontrastCORD`, `L1contrastCORD` | A + `Correlationdata` (r of the differences from c is r of the row) |
//! | `None` | 0: the modality is left out |
//!
//! r is Pearson's correlation with each norm floored at 1e-16: a constant line has r = 0, loss 1. There the floored formula
//! has slopes of 1e16, which end a training run; a constant line of predictions gets no gradient instead. `MultinomialNLL` is
//! the likelihood without the multinomial coefficient, which does not depend on p; with `LogCountMSE` beside it, it is the loss
//! of BPNet (Avsec et al. 2021).
//!
//! Names and formulas are those of the models that `--cnn` strings describe; values equal `reduction='none'` of PyTorch where
//! it has the loss. Everything is computed in f64 and in fixed order, and rounded once at the end. NaN passes through.

mod cuda;
mod formulas;

use crate::error::{Error, Result, hint};
use crate::real;
use crate::tape::{Cx, Grads, Op, Save, Tape, Var};
use crate::tensor::{DType, Real, Tensor};
use crate::util::math::Float;

macro_rules! losses {
    ($($variant:ident $name:literal: $doc:literal),* $(,)?) => {
        /// A loss; the formulas stand at the head of this module's file.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Loss {
            $(#[doc = concat!("`", $name, "`: ", $doc, ".")] $variant),*
        }

        impl Loss {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Name in options and files.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

losses! {
    Mse "MSE": "squared error",
    L1 "L1Loss": "absolute error",
    Bce "BCELoss": "binary cross entropy of probabilities",
    PoissonNll "PoissonNNL": "negative log likelihood of Poisson counts, the prediction being the log rate",
    PoissonRate "Poisson": "negative log likelihood of Poisson counts, the prediction being the rate",
    Multinomial "MultinomialNLL": "negative log likelihood of the distribution of a row's counts",
    LogCountMse "LogCountMSE": "squared error of the logarithm of a row's total count",
    Kl "KL": "Kullback-Leibler, the prediction being log probabilities",
    CrossEntropy "CrossEntropy": "softmax cross entropy over tracks",
    CorrelationData "Correlationdata": "correlation over tracks",
    CorrelationClass "Correlationclass": "correlation over the batch",
    CorrelationBoth "Correlationboth": "mean correlation over tracks and over the batch",
    CorrelationSumData "Correlationsumdata": "correlation of the rows' sums",
    CorrelationMse "Correlationmse": "correlation over tracks and squared error",
    MseCorrelation "MSECorrelation": "correlation over the batch and squared error",
    CosineData "Cosinedata": "cosine over tracks",
    CosineClass "Cosineclass": "cosine over the batch",
    CosineBoth "Cosineboth": "cosine over tracks and over the batch",
    CeData "CElossdata": "cross entropy summed over tracks",
    CeClass "CElossclass": "cross entropy summed over the batch",
    SceData "SCElossdata": "symmetric cross entropy summed over tracks",
    SceClass "SCElossclass": "symmetric cross entropy summed over the batch",
    HceData "HCElossdata": "symmetric cross entropy less target entropy, summed over tracks",
    HceClass "HCElossclass": "symmetric cross entropy less target entropy, summed over the batch",
    Jsd "JSD": "Jensen-Shannon divergence over tracks",
    MseContrastMse "MSEcontrastMSED": "squared error of tracks and of their differences",
    L1ContrastL1 "L1contrastL1D": "absolute error of tracks and of their differences",
    L1ContrastMse "L1contrastMSED": "absolute error of tracks, squared error of their differences",
    MseContrastCorrelation "MSEcontrastCORD": "squared error of tracks, correlation of their differences",
    L1ContrastCorrelation "L1contrastCORD": "absolute error of tracks, correlation of their differences",
    None "None": "nothing; the modality is left out",
}

/// Known elsewhere, not here, and why.
const OTHERS: &[(&[&str], &str)] = &[
    (
        &[
            "BCEMSE",
            "BCEMCR",
            "MultinomialMSE",
            "JensenShannon",
            "JensenShannonCount",
            "LogL1Loss",
            "LogCountDistLoss",
            "CountDistLoss",
        ],
        "a mixture over windows of base-resolution profiles; use MultinomialNLL with count_loss_weight, Poisson or JSD",
    ),
    (&["NLL", "GNLL", "LogMSE", "DLogMSE"], "it never ran on a matrix of tracks; use PoissonNNL or MSE"),
];

/// The un-reduced values of a loss.
#[derive(Clone, Debug, PartialEq)]
pub struct Values {
    /// `[B, T]`; `[B]` or `[T]` for losses that sum over a line; `[]` for those with one value in all.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f64>,
}

impl Loss {
    /// The loss of a name.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for names that are valid elsewhere, [`Error::Usage`] with the nearest name for others.
    pub fn parse(name: &str) -> Result<Self> {
        if let Some(&loss) = Self::ALL.iter().find(|l| l.name() == name) {
            return Ok(loss);
        }
        let names = || Self::ALL.iter().map(|l| l.name());
        let other = OTHERS.iter().find(|(names, _)| names.contains(&name)).map(|(_, why)| *why);
        let contrast = name.contains("contrast").then_some("this pair of a loss and its contrast");
        match other.or(contrast) {
            Some(why) => {
                Err(Error::Unsupported { op: "loss", what: format!("'{name}': {why}{}", hint(name, names())) })
            }
            None => Err(Error::Usage(format!(
                "unknown loss '{name}'{}; expected one of {}",
                hint(name, names()),
                names().collect::<Vec<_>>().join(", ")
            ))),
        }
    }

    /// Rows and columns in which the loss reads predictions of this shape: `[B, T]`, or `[B, T, bins]` of profiles.
    ///
    /// # Errors
    /// [`Error::Shape`] for other ranks; [`Error::Unsupported`] for profiles and a loss that compares tracks with each other.
    pub fn lines(self, shape: &[usize]) -> Result<(usize, usize)> {
        match *shape {
            [b, t] => Ok((b, t)),
            [b, t, bins] => match self {
                Self::CorrelationClass | Self::MseCorrelation | Self::CosineClass => Ok((b, t * bins)),
                Self::CeClass | Self::SceClass | Self::HceClass => Ok((b, t * bins)),
                Self::CorrelationBoth | Self::CosineBoth | Self::CorrelationSumData => Err(self.no_profile()),
                _ if self.name().contains("contrast") => Err(self.no_profile()),
                _ => Ok((b * t, bins)),
            },
            _ => Err(Error::Shape {
                op: "loss",
                arg: "prediction",
                expected: "rank 2 ([B, T]), or 3 ([B, T, bins])".into(),
                found: shape.to_vec(),
            }),
        }
    }

    /// Whether it takes predictions as rates of counts: they must be above 0.
    pub fn wants_rates(self) -> bool {
        matches!(self, Self::PoissonRate | Self::Multinomial | Self::LogCountMse | Self::Jsd)
    }

    fn no_profile(self) -> Error {
        let what = format!("'{self}' of profiles: it compares tracks with each other; use Correlationdata or JSD");
        Error::Unsupported { op: "loss", what }
    }

    /// Sum of the loss over a matrix of predictions and one of targets, `tracks` numbers a row each.
    ///
    /// # Errors
    /// [`Error::Argument`] if the matrices are empty or of different size, or, for `BCELoss`, if a number is outside 0 to 1.
    ///
    /// ```
    /// use drg::ops::Loss;
    /// assert_eq!(Loss::Mse.sum(&[1f32, 2., 3., 4.], &[1f32, 0., 3., 5.], 2)?, 5.0);
    /// # Ok::<(), drg::Error>(())
    /// ```
    pub fn sum<T: Real>(self, prediction: &[T], target: &[T], tracks: usize) -> Result<f64> {
        Ok(self.values(prediction, target, tracks)?.values.iter().sum())
    }

    /// As [`Loss::sum`], before the sum.
    ///
    /// # Errors
    /// As [`Loss::sum`].
    pub fn values<T: Real>(self, prediction: &[T], target: &[T], tracks: usize) -> Result<Values> {
        let wide = |x: &[T]| -> Vec<f64> { x.iter().map(|v| v.f64()).collect() };
        Ok(formulas::evaluate(self, &wide(prediction), &wide(target), tracks)?.0)
    }
}

impl std::fmt::Display for Loss {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// `weight` times the sum of `loss` between `prediction` `[B, T]` (or `[B, T, bins]`) and the constant `target` of the same shape,
/// as `[1]`, of the prediction's type. A loss reads the whole batch: its backward sweep refuses a selection of rows.
///
/// # Errors
/// [`Error::Shape`] if the target's shape differs, [`Error::DType`] if one is not of floats, [`Error::Argument`] as [`Loss::sum`],
/// and those of [`Loss::lines`].
///
/// ```
/// use drg::{ops::{Loss, loss}, tape::{Keep, Mode, Tape}, tensor::Tensor};
/// let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
/// let p = tape.leaf(Tensor::new(&[1, 2], vec![1f32, 2.])?);
/// let y = loss(&mut tape, &p, &Tensor::new(&[1, 2], vec![0f32, 4.])?, Loss::Mse, 0.5)?;
/// assert_eq!(y.value.cpu::<f32>()?, [2.5]);
/// let dp = tape.backward(y.node.unwrap(), Tensor::new(&[1], vec![1f32])?, &[0], &[p.node.unwrap()])?;
/// assert_eq!(dp[0].as_ref().unwrap().cpu::<f32>()?, [1., -2.]);
/// # Ok::<(), drg::Error>(())
/// ```
pub fn loss(tape: &mut Tape, prediction: &Var, target: &Tensor, loss: Loss, weight: f64) -> Result<Var> {
    let lines = loss.lines(prediction.shape())?;
    if target.shape() != prediction.shape() {
        return Err(Error::Shape {
            op: "loss",
            arg: "target",
            expected: format!("{:?}, as the prediction", prediction.shape()),
            found: target.shape().to_vec(),
        });
    }
    if target.dtype() == DType::U8 {
        return Err(Error::DType { op: "loss", expected: "a target of f32 or f64", found: DType::U8 });
    }
    tape.apply(LossOp { loss, weight, lines }, &[prediction, &Var::constant(target.clone())])
}

struct LossOp {
    loss: Loss,
    weight: f64,
    /// Rows and columns in which the loss reads its operands.
    lines: (usize, usize),
}

impl Op for LossOp {
    fn name(&self) -> &'static str {
        "loss"
    }

    fn forward(&self, x: &[&Tensor], save: &mut Save) -> Result<Tensor> {
        if let Some(gpu) = Tensor::place("loss", x)? {
            let operands = [x[0], x[1]];
            let (y, gradient) = cuda::forward(gpu, self.loss, self.weight, operands, self.lines, save.keep.backward)?;
            if let Some(gradient) = &gradient {
                save.put(0, true, gradient);
            }
            return Ok(y);
        }
        real!("loss", x[0], T => {
            let (values, gradient) = formulas::evaluate(self.loss, &x[0].to_f64(), &x[1].to_f64(), self.lines.1)?;
            if save.keep.backward {
                // The gradient falls out of the same formulas, so backward has only to scale it.
                let gradient = gradient.iter().map(|g| T::of(g * self.weight)).collect();
                save.put(0, true, &Tensor::of::<T>(x[0].shape(), gradient));
            }
            let sum: f64 = values.values.iter().sum();
            Ok(Tensor::of(&[1], vec![T::of(sum * self.weight)]))
        })
    }

    fn backward(&self, cx: &Cx, dy: &Tensor) -> Result<Grads> {
        cx.whole_batch("loss")?;
        let [_] = dy.dims("loss", "dy [1]")?;
        let gradient = cx.saved(0)?;
        if let Some(gpu) = Tensor::place("loss", &[gradient, dy])? {
            return Ok(vec![Some(cuda::backward(gpu, gradient, dy)?), None]);
        }
        real!("loss", dy, T => {
            let scale = dy.cpu::<T>()?[0];
            let dx = gradient.cpu::<T>()?.iter().map(|&g| scale * g).collect();
            Ok(vec![Some(Tensor::of::<T>(gradient.shape(), dx)), None])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::check::{self, Random};
    use crate::tape::{Keep, Mode, Pass};

    /// Rows and tracks: odd, one row, one track, one number.
    const SHAPES: &[(usize, usize)] = &[(6, 5), (3, 7), (1, 4), (5, 1), (1, 1)];

    /// Predictions and targets that every loss takes: within 0 to 1.
    fn pair(b: usize, t: usize, seed: u64) -> (Tensor, Tensor) {
        let mut r = Random::new(seed);
        (r.uniform(&[b, t], 0.05, 0.95), r.uniform(&[b, t], 0.05, 0.95))
    }

    /// A cosine between single numbers is 1 or -1: its gradient is rounding alone.
    fn only_rounding(loss: Loss, b: usize, t: usize) -> bool {
        match loss {
            Loss::CosineData => t == 1,
            Loss::CosineClass => b == 1,
            Loss::CosineBoth => b == 1 && t == 1,
            _ => false,
        }
    }

    #[test]
    fn gradients_and_precision() {
        // Train mode, because the check of selected rows is for operations whose output has rows.
        let mode = Mode::Train(Pass { seed: 0, number: 0, samples: vec![0].into() });
        for &kind in Loss::ALL {
            for &(b, t) in SHAPES {
                if kind == Loss::None || only_rounding(kind, b, t) {
                    continue;
                }
                let (p, target) = pair(b, t, (100 * b + t) as u64);
                let f = |tape: &mut Tape, v: &[Var]| loss(tape, &v[0], &target, kind, 0.7);
                let name = format!("{kind} [{b}, {t}]");
                check::gradients_in(&name, &mode, std::slice::from_ref(&p), f);
                everywhere(&name, &p, &target, kind, 0.7);
            }
        }
    }

    /// On GPUs, too, where the target lies beside the prediction.
    fn everywhere(name: &str, p: &Tensor, target: &Tensor, kind: Loss, weight: f64) {
        let inputs = [p.clone(), target.clone()];
        check::precision(name, &inputs, |tape, v| loss(tape, &v[0], &v[1].value, kind, weight));
    }

    /// The last axis of a profile are the bins of a track: rows of the loss, or as many columns as tracks have bins.
    #[test]
    fn profiles() {
        let mut taken = 0;
        for &kind in Loss::ALL {
            let mut r = Random::new(9);
            let [p, target] = [0, 1].map(|_| r.uniform(&[3, 2, 7], 0.05, 0.95));
            let x = Var::constant(p.clone());
            let Ok((rows, columns)) = kind.lines(&[3, 2, 7]) else {
                let message = loss(&mut Tape::predict(), &x, &target, kind, 1.0).unwrap_err().to_string();
                assert!(message.contains("compares tracks with each other"), "{message}");
                continue;
            };
            assert!([(6, 7), (3, 14)].contains(&(rows, columns)), "{kind}");
            let flat = |t: &Tensor| t.reshape(&[rows, columns]).unwrap();
            let got = loss(&mut Tape::predict(), &x, &target, kind, 0.7).unwrap().value.to_f64();
            let as_matrix = loss(&mut Tape::predict(), &Var::constant(flat(&p)), &flat(&target), kind, 0.7).unwrap();
            assert_eq!(got, as_matrix.value.to_f64(), "{kind}");
            if kind != Loss::None {
                let mode = Mode::Train(Pass { seed: 0, number: 0, samples: vec![0].into() });
                let f = |tape: &mut Tape, v: &[Var]| loss(tape, &v[0], &target, kind, 0.7);
                check::gradients_in(kind.name(), &mode, std::slice::from_ref(&p), f);
                everywhere(kind.name(), &p, &target, kind, 0.7);
            }
            taken += 1;
        }
        assert_eq!(taken, Loss::ALL.len() - 8);
        // Twice the bins of one track are two rows.
        assert_eq!(Loss::CorrelationData.lines(&[5, 4, 9]).unwrap(), (20, 9));
        assert_eq!(Loss::CorrelationClass.lines(&[5, 4, 9]).unwrap(), (5, 36));
    }

    #[test]
    fn counts_and_shapes() {
        let (p, t) = ([2.0, 6.0, 4.0, 4.0], [0.0, 3.0, 1.0, 1.0]);
        let want = [-3.0 * 0.75f64.ln(), 2.0 * 2f64.ln()];
        let got = Loss::Multinomial.values(&p, &t, 2).unwrap();
        got.values.iter().zip(want).for_each(|(g, w)| assert!((g - w).abs() < 1e-7, "{g} instead of {w}"));
        let got = Loss::LogCountMse.values(&p, &t, 2).unwrap();
        let want = [(9f64 / 4.0).ln().powi(2), 3f64.ln().powi(2)];
        got.values.iter().zip(want).for_each(|(g, w)| assert!((g - w).abs() < 1e-12, "{g} instead of {w}"));
        // A shape has no size: its gradient leaves the total of the row as it is.
        let (_, g) = formulas::evaluate(Loss::Multinomial, &p, &t, 2).unwrap();
        assert!((2.0 * g[0] + 6.0 * g[1]).abs() < 1e-6, "{g:?}");
        let rate = Loss::PoissonRate.sum(&[2.0], &[3.0], 1).unwrap();
        assert!((rate - (2.0 - 3.0 * 2f64.ln())).abs() < 1e-7);
    }

    /// More rows than a block takes, more tracks than a warp and than a block of columns, lines longer than their teams.
    #[test]
    fn teams_of_the_kernels() {
        for &kind in Loss::ALL {
            for (b, t) in [(70, 3), (9, 37), (17, 10)] {
                let (p, target) = pair(b, t, (b + t) as u64);
                everywhere(&format!("{kind} [{b}, {t}]"), &p, &target, kind, -1.3);
            }
        }
    }

    #[test]
    fn special_numbers_on_gpus() {
        let (p, target) = pair(3, 5, 2);
        let narrow = |v: Vec<f64>| Tensor::of(&[3, 5], v.into_iter().map(|v| v as f32).collect::<Vec<f32>>());
        for gpu in check::gpus() {
            let target = narrow(target.to_f64()).to_gpu(gpu).unwrap();
            let run = |p: &[f64], kind| {
                let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
                let x = tape.leaf(narrow(p.to_vec()).to_gpu(gpu).unwrap());
                let y = loss(&mut tape, &x, &target, kind, 1.0)?;
                let dy = Tensor::of(&[1], vec![2f32]).to_gpu(gpu)?;
                let dx = tape.backward(y.node.unwrap(), dy, &[0], &[x.node.unwrap()])?;
                Ok::<_, Error>((check::numbers(&y.value)[0], check::numbers(dx[0].as_ref().unwrap())))
            };
            let mut p = p.to_f64();
            p[6] = f64::NAN;
            for &kind in Loss::ALL {
                assert_eq!(run(&p, kind).unwrap().0.is_nan(), kind != Loss::None, "{kind}");
            }
            p[5..10].fill(0.1);
            let (_, dx) = run(&p, Loss::CorrelationData).unwrap();
            assert_eq!(dx[5..10], [0.0; 5]);
            assert!(dx[..5].iter().all(|g| *g != 0.0 && g.abs() < 100.0));
            p[7] = 1.5;
            let e = run(&p, Loss::Bce).unwrap_err().to_string();
            assert!(e.contains("BCELoss: prediction 1.5 at row 1, track 2"), "{e}");
            let cpu = Var::constant(narrow(p));
            let e = loss(&mut Tape::predict(), &cpu, &target, Loss::Mse, 1.0).unwrap_err().to_string();
            assert!(e.contains("argument 1 on"), "{e}");
        }
    }

    #[test]
    fn gradients_of_unbounded_losses() {
        let mut r = Random::new(7);
        let (p, target) = (r.normal(&[5, 7]), r.normal(&[5, 7]));
        for &kind in Loss::ALL.iter().filter(|k| {
            let name = k.name();
            ["MSE", "L1", "Corr", "Cos", "PoissonN", "CrossE"].iter().any(|start| name.starts_with(start))
        }) {
            let f = |tape: &mut Tape, v: &[Var]| loss(tape, &v[0], &target, kind, -1.3);
            check::gradients(kind.name(), std::slice::from_ref(&p), f);
            everywhere(kind.name(), &p, &target, kind, -1.3);
        }
    }

    #[test]
    fn golden_sums() {
        let p = [0.1, 0.5, -0.3, 0.9, 1., 2., 3., 4., 2., 2., 2., 2.];
        let t = [1., 0., 2., -1., 0.5, 1.5, 2., 5., 1., 2., 3., 4.];
        for (kind, want) in [
            (Loss::Mse, 18.46),
            (Loss::CorrelationData, 12.266_666_4),
            (Loss::CorrelationClass, 5.748_271),
            (Loss::CorrelationMse, 12.576_333_0),
            (Loss::MseCorrelation, 6.383_857_2),
            (Loss::CosineData, 6.632_650_4),
            (Loss::PoissonNll, 72.201_561),
            (Loss::None, 0.0),
        ] {
            let got = kind.sum(&p, &t, 4).unwrap();
            assert!((got - want).abs() <= 2e-6 * want, "{kind}: {got}");
        }
    }

    #[test]
    fn shapes_of_values() {
        let (p, t) = pair(3, 5, 1);
        let (p, t) = (p.to_f64(), t.to_f64());
        for &kind in Loss::ALL {
            let want: &[usize] = match kind {
                Loss::CorrelationBoth | Loss::CosineBoth => &[],
                Loss::CrossEntropy | Loss::CeData | Loss::SceData | Loss::HceData => &[3],
                Loss::Multinomial | Loss::LogCountMse => &[3],
                Loss::CeClass | Loss::SceClass | Loss::HceClass => &[5],
                _ => &[3, 5],
            };
            let got = kind.values(&p, &t, 5).unwrap();
            assert_eq!(got.shape, want, "{kind}");
            assert_eq!(got.values.len(), want.iter().product::<usize>(), "{kind}");
        }
    }

    /// 0.1 has no exact mean in f64; a constant line must count as constant all the same.
    #[test]
    fn constant_lines_have_loss_one_and_no_gradient() {
        let mut p = Random::new(3).normal(&[4, 7]).to_f64();
        p[7..14].fill(0.1);
        let target = Random::new(4).normal(&[4, 7]);
        let got = Loss::CorrelationData.values(&p, target.cpu::<f64>().unwrap(), 7).unwrap();
        assert_eq!(got.values[7..14], [1.0; 7]);
        let flipped = Loss::CorrelationData.values(target.cpu::<f64>().unwrap(), &p, 7).unwrap();
        assert_eq!(flipped.values[7..14], [1.0; 7]);
        let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
        let x = tape.leaf(Tensor::of(&[4, 7], p));
        let y = loss(&mut tape, &x, &target, Loss::CorrelationData, 1.0).unwrap();
        let dy = Tensor::of(&[1], vec![1f64]);
        let dx = tape.backward(y.node.unwrap(), dy, &[0, 1, 2, 3], &[x.node.unwrap()]).unwrap();
        let dx = dx[0].as_ref().unwrap().to_f64();
        assert_eq!(dx[7..14], [0.0; 7]);
        assert!(dx[..7].iter().all(|g| *g != 0.0 && g.abs() < 100.0));
    }

    #[test]
    fn nan_passes_through() {
        let (p, t) = pair(3, 5, 2);
        let mut p = p.to_f64();
        p[6] = f64::NAN;
        for &kind in Loss::ALL.iter().filter(|&&k| k != Loss::None) {
            assert!(kind.sum(&p, &t.to_f64(), 5).unwrap().is_nan(), "{kind}");
            let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
            let x = tape.leaf(Tensor::of(&[3, 5], p.clone()));
            assert!(loss(&mut tape, &x, &t, kind, 1.0).unwrap().value.to_f64()[0].is_nan(), "{kind}");
        }
        assert_eq!(Loss::None.sum(&p, &t.to_f64(), 5).unwrap(), 0.0);
    }

    #[test]
    fn logarithms_are_held() {
        assert_eq!(Loss::Bce.sum(&[0., 1.], &[1., 0.], 2).unwrap(), 200.0);
        assert_eq!(Loss::Bce.sum(&[0., 1.], &[0., 1.], 2).unwrap(), 0.0);
        assert_eq!(Loss::Kl.sum(&[0.5, 2.], &[0., 1.], 2).unwrap(), -2.0);
        let large = Loss::CrossEntropy.sum(&[1000., 0.], &[0., 1.], 2).unwrap();
        assert_eq!(large, 1000.0);
        assert!((Loss::Jsd.sum(&[0., 1.], &[1., 0.], 2).unwrap() - 2.0).abs() < 1e-5);
    }

    #[test]
    fn names() {
        for &kind in Loss::ALL {
            assert_eq!(Loss::parse(kind.name()).unwrap(), kind);
        }
        let typing = Loss::parse("correlationdate").unwrap_err().to_string();
        assert!(typing.starts_with("unknown loss 'correlationdate' (did you mean 'Correlationdata'?)"), "{typing}");
        for name in ["JensenShannonCount", "BCEMSE", "GNLL", "MSEcontrastMSEF"] {
            let e = Loss::parse(name).unwrap_err();
            assert!(matches!(e, Error::Unsupported { .. }) && e.to_string().contains(name), "{e}");
        }
        assert!(matches!(Loss::parse(""), Err(Error::Usage(_))));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let (p, t) = pair(3, 5, 5);
        let x = Var::constant(p);
        let run = |x: &Var, t: &Tensor| loss(&mut Tape::predict(), x, t, Loss::Mse, 1.0).unwrap_err().to_string();
        let e = run(&x, &t.reshape(&[5, 3]).unwrap());
        assert_eq!(e, "loss: target must be [3, 5], as the prediction; found [5, 3]");
        assert!(run(&Var::constant(t.reshape(&[15]).unwrap()), &t).contains("rank 2"));
        assert!(run(&x, &Tensor::bases(3, 5, vec![0; 15]).unwrap()).contains("U8"));
        let empty = Tensor::of::<f32>(&[0, 5], vec![]);
        assert!(run(&Var::constant(empty.clone()), &empty).contains("at least one"));
        assert!(Loss::Mse.sum::<f32>(&[], &[], 0).is_err());
        assert!(Loss::Mse.sum(&[1., 2., 3.], &[1., 2., 3.], 2).is_err());
        assert!(Loss::Mse.sum(&[1., 2.], &[1., 2., 3.], 1).is_err());
        let e = Loss::Bce.sum(&[0.5, 0.5, 0.5, 1.5], &[0.; 4], 2).unwrap_err().to_string();
        assert_eq!(e, "BCELoss: prediction 1.5 at row 1, track 1; expected 0 to 1, as a sigmoid output gives");
        assert!(Loss::Bce.sum(&[0.5], &[-1.], 1).is_err());
    }

    #[test]
    fn selected_rows_are_refused() {
        let (p, t) = pair(3, 5, 6);
        let mut tape = Tape::new(Keep::BACKWARD, Mode::Eval);
        let x = tape.leaf(p);
        let y = loss(&mut tape, &x, &t, Loss::Mse, 1.0).unwrap();
        let dy = Tensor::of(&[1], vec![1f64]);
        assert!(tape.backward(y.node.unwrap(), dy, &[2, 0], &[x.node.unwrap()]).is_err());
    }
}
