//! `drg train`: from sequences and measurements to a model.

pub(super) mod chosen;
pub(super) mod data;
mod folds;
mod name;
pub(super) mod start;
pub(super) mod watch;

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::arithmetic::{Arithmetic, Computing};
use super::inputs::{self, Reading};
use super::output::{self, Staged, suffixed};
use super::scores::{save_as_drg, write_scores};
use super::{Context, predict, talk};
use crate::engine;
use crate::engine::embed::{Embedding, Layer, Positions};
use crate::engine::train::{Trainer, state_path};
use crate::error::{Error, Result};
use crate::model::options::{Options, resolve};
use crate::model::spec::{Architecture, TrainSpec};
use crate::model::{Model, Network, Readout};
use crate::seq::Sequences;
use crate::stat::{Axis, Metric, Profiles, Table};
use chosen::Chosen;
use data::{Flags, Fold, Learned, Measured, Prepared, Wanted};
use talk::Talk;

const EXAMPLE: &str = "\
Options of the model and of training come from --config, then --cnn, then --set, the later ones
deciding. With --crossvalidation FILE FOLD the set FOLD of the file is validation, the next one
test; an integer instead of FILE makes that many folds; hash:K divides by a hash of the names (see
--group-until), so that a row stays in its fold for good.

Files, for -o model.drg: model.drg, model_loss.txt (losses of every epoch on both sets),
model_pred.npz and model_scores.tsv (predictions of the test set, and their scores by track, class
and sequence), model.drg.json (how it was made). Until the end, model.drg.state holds the last
epoch: run the same line with --resume after an interruption, and the result has the same bytes.

All folds: --crossvalidation FILE all (or K all, hash:K all) trains a model for each, model_fold0.drg
and so on with files of their own. Over all: model_all_pred.npz has every sequence predicted by the
model that did not see it; model_all_scores.tsv has the scores of these predictions (value), and of
the folds one by one: their number, mean, standard deviation and 95 % confidence interval of the
mean (Student's t; folds share training data, so it is narrow); model.drg averages the models of all
folds, as drg ensemble does (--no-average leaves it out; no sequence is new to it). What an earlier
such run of the same name has left, folds that there are no more of, scores of all, average, is removed.

Fine-tuning: the options say what the model is, --from what it starts with. Every tensor of the
same name and shape is taken, rows of heads by the names of their tracks; what is not taken is
told, and the record beside the model lists all. --freeze, --lr-of and --take want names of tensors
in which * stands for any text; drg convert --list MODEL shows them.

Lines for DRG's run_cnn_model.py and run_cnn_model_multi.py work as they are: --outdir, --addname
and --outname name the files as DRG does where -o is not given, --save_correlation_perclass and its
kin write DRG's files beside ours, and several files of sequences are the inputs of one model. Files of
--save_wilcoxon_perclass hold -log10 of the p-value, where DRG writes that of the statistic.

Example:
  drg simulate -o sim --sequences 400 --length 60
  drg train sim/sequences.fa sim/targets.tsv -o model.drg --cnn num_kernels=16+l_kernels=11+epochs=2";

/// Train a model on sequences and measurements
///
/// Reads sequences and one or more matrices of measurements (one row a sequence, one column a track), matches them by name,
/// splits them into training, validation and test set, and trains the model of --config or --cnn. The same seed gives the same
/// bytes on any number of threads.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Sequences: FASTA (.gz), one-hot npz, a table with sequences, or regions.bed@genome.fa; several with commas are the inputs
    /// of a model that joins a network for each
    #[arg(value_name = "SEQS")]
    sequences: String,
    /// Measurements: text matrix or npz; several files with commas are modalities with a head each. Not needed where the
    /// table of sequences holds them (--target-columns)
    #[arg(value_name = "TARGETS")]
    targets: Option<String>,
    /// Model file to write [default: a name made of files and options, as DRG makes it; see --outdir]
    #[arg(short, long, value_name = "MODEL")]
    out: Option<PathBuf>,
    #[command(flatten)]
    name: name::Naming,
    #[command(flatten)]
    #[serde(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    #[serde(flatten)]
    learned: Learned,
    #[command(flatten)]
    #[serde(flatten)]
    measured: Measured,
    /// Go on after an interruption; of all folds, those that are finished stay as they are
    #[arg(long)]
    resume: bool,
    /// With all folds: leave out the model that averages them
    #[arg(long)]
    no_average: bool,
    /// Seed of weights, batches, dropout and augmentation
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    #[command(flatten)]
    start: start::Start,
    #[command(flatten)]
    arithmetic: Arithmetic,
    #[command(flatten)]
    reading: Reading,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    if let Some(out) = &args.out {
        output::check_file(out)?;
    }
    let (options, wanted) = args.validated()?;
    let all = wanted.fold == Fold::All;
    if args.no_average && !all {
        return Err(Error::Usage("--no-average is for all folds: --crossvalidation FOLDS all".into()));
    }
    let prepared = data::prepare(&wanted, context.talk)?;
    let facts = prepared.facts(&wanted, &wanted.labels);
    let (model, training) = resolve(&options, &facts)?;
    if let Some(layer) = &args.name.save_embedding {
        Layer::parse(layer, &model)?;
    }
    let path = |fold| args.name.path(args, &wanted, fold, &options, &facts);
    let fold = if let Fold::One(fold) = wanted.fold { Some(fold) } else { None };
    let out = args.out.clone().map_or_else(|| path(fold), Ok)?;
    output::check_file(&out)?;
    let folds: Vec<PathBuf> = match &args.out {
        Some(out) => (0..prepared.folds.len()).map(|i| folds::of(out, i)).collect(),
        None => (0..prepared.folds.len()).map(|i| path(Some(i))).collect::<Result<_>>()?,
    };
    let computing = args.arithmetic.of(context)?;
    if computing.double {
        return Err(Error::Usage("--precision f64: training is in f32; f64 is for checks of a trained model".into()));
    }
    let given = (&options, &facts);
    let (network, start) = args.start.network(model.clone(), training.seed, given, &prepared, context.talk)?;
    let split = &prepared.split;
    context.talk.say(format_args!(
        "{} sequences of {} bp, {} tracks: {}; {} parameters",
        prepared.dataset.names.len(),
        facts.inputs.iter().map(|i| i.length.to_string()).collect::<Vec<_>>().join(" + "),
        model.tracks(),
        match all {
            true => format!("{} folds", folds.len()),
            false => format!(
                "{} to train, {} to validate, {} to test",
                split.train.len(),
                split.validation.len(),
                split.test.len()
            ),
        },
        network.plans().parameters(),
    ));
    unreached(&model, &training, context);
    let job = Job { args, context, model, training, network, start, computing };
    if all {
        let beyond = |i: usize| args.out.as_ref().map_or_else(|| path(Some(i)), |out| Ok(folds::of(out, i)));
        folds::old(&job, (folds.len()..).map_while(|i| beyond(i).ok()), &out)?;
        return folds::run(&job, prepared, &folds, &out);
    }
    job.train(&out, &prepared, None)?;
    talk::print(format_args!("{}\n", out.display()))
}

/// What every fold is trained with.
struct Job<'a> {
    args: &'a Args,
    context: &'a Context,
    model: Architecture,
    training: TrainSpec,
    network: Network,
    /// What the record says of the start.
    start: Value,
    computing: Computing,
}

/// Pearson r of every track in the test set.
type TestScores = Vec<(String, f64)>;

impl Job<'_> {
    /// Trains on a split, tests, and writes all files of the model. Of several folds it says little; one that an earlier run has
    /// finished is left as it is if this is to be resumed.
    fn train(&self, out: &Path, prepared: &Prepared, fold: Option<(usize, usize)>) -> Result<TestScores> {
        let Self { args, context, computing, .. } = self;
        let clock = std::time::Instant::now();
        let log = suffixed(out, "_loss.txt");
        let mut watch = watch::Watch::new(context.talk, self.training.epochs);
        if let Some((i, n)) = fold {
            watch = watch.of(format!("fold {i} of {n}, "));
        }
        let split = &prepared.split;
        let trainer = Trainer::new(
            self.network.to_device(&computing.device)?,
            self.training.clone(),
            &prepared.dataset,
            split.train.clone(),
            split.validation.clone(),
        )?
        .precision(computing.precision)
        .transform(prepared.scale)
        .files(out, Some(&log));
        let mut results = json!({ "model": self.model, "train": self.training, "start": self.start });
        let talk = if fold.is_some() { Talk::Quiet } else { context.talk };
        let (saved, embedding) = (&args.name.saved.chosen(), args.name.save_embedding.as_deref());
        let test = Test { prepared, measured: &args.measured, saved, embedding, talk };
        let of_tracks = |scores: &TestScores| -> Value {
            scores.iter().map(|(track, r)| json!({ "track": track, "r": r })).collect()
        };
        if let Some((i, _)) = fold {
            let tested = args.measured.tested(prepared, &args.name);
            if args.resume
                && let Some((scores, mut then)) = folds::finished(out, &trainer)?
            {
                let there = embedding.is_none_or(|layer| suffixed(out, &format!("_embed{layer}.npz")).is_file());
                if then["fold"]["test"] == tested && there {
                    return Ok(scores);
                }
                context
                    .talk
                    .say(format_args!("fold {i} is trained, and tested again, as other files or scores are asked for"));
                let scores = test.run(out, &Model::load(out)?, computing, context, args)?;
                (then["fold"]["test"], then["test_r"]) = (tested, of_tracks(&scores));
                self.record(out, then)?;
                return Ok(scores);
            }
            results["fold"] = json!({ "number": i, "identity": trainer.identity()?, "test": tested });
        }
        let outcome = trainer.run(args.resume, |event| watch.hear(event))?;
        watch.finish();
        let scores = test.run(out, &outcome.model, computing, context, args)?;
        results["rows"] = json!({
            "train": split.train.len(), "validation": split.validation.len(), "test": split.test.len(),
        });
        results["best_epoch"] = json!(outcome.best_epoch);
        results["epochs"] = json!(outcome.epochs);
        results["score"] = json!(outcome.score);
        results["seconds"] = json!(clock.elapsed().as_secs_f64());
        results["test_r"] = of_tracks(&scores);
        self.record(out, results)?;
        Ok(scores)
    }

    fn record(&self, out: &Path, results: Value) -> Result<()> {
        let name = out.file_name().map(Path::new).unwrap_or(out);
        let mut staged = Staged::new(output::folder_of(out))?;
        staged.provenance(&output::beside(name), self.context, self.args, results)?;
        staged.finish()?;
        debug_assert!(!state_path(out).exists(), "the trainer removes its state at the end");
        Ok(())
    }
}

/// What `f` makes of predictions of these rows beside their measurements: of the tracks, or of their means where a file asks for
/// them. Scores are of totals where both are profiles; those of profiles look at the bins.
fn with_table<R>(
    prepared: &Prepared,
    measured: &Measured,
    rows: &[usize],
    guess: &[f64],
    f: impl FnOnce(&Table<'_>) -> Result<R>,
) -> Result<R> {
    let targets = &prepared.dataset.targets;
    let (bins, truth) = (targets[0].bins, prepared.measured(rows));
    let total = |x: &[f64]| -> Vec<f64> { x.chunks_exact(bins.unwrap_or(1)).map(|b| b.iter().sum()).collect() };
    let mut truth_totals = total(&truth);
    if let (Some(scale), Some(_)) = (prepared.scale, bins) {
        truth_totals.iter_mut().for_each(|sum| *sum = scale.total(*sum));
    }
    let names: Vec<String> = rows.iter().map(|&i| prepared.dataset.names[i].clone()).collect();
    let tracks: Vec<String> = targets.iter().flat_map(|t| t.tracks.iter().cloned()).collect();
    let classes = measured.classes_of(prepared)?;
    let table = Table {
        prediction: &total(guess),
        target: &truth_totals,
        sequences: &names,
        tracks: &tracks,
        classes: classes.as_deref(),
        profiles: bins.map(|bins| Profiles { bins, prediction: guess, target: &truth }),
    };
    match measured.averaged(&table, prepared)? {
        Some(means) => f(&means.table(&names)),
        None => f(&table),
    }
}

/// Says which heads nothing trains: no output is made from them, or no loss looks at their output.
fn unreached(model: &Architecture, training: &TrainSpec, context: &Context) {
    let heads = model.unused_heads();
    if !heads.is_empty() {
        let name = |&(i, h): &(usize, usize)| format!("{} of input {i}", model.inputs[i].heads[h].name);
        let list: Vec<String> = heads.iter().map(name).collect();
        context
            .talk
            .say(format_args!("no output is made from these heads, so they are not trained: {}", list.join(", ")));
    }
    for ((name, _), loss) in model.outputs().into_iter().zip(&training.losses) {
        if loss.weight == 0.0 {
            context.talk.say(format_args!("output {name} has loss weight 0: nothing trains it but what it shares"));
        }
    }
}

/// The test set of a run, and what is to be written of it as DRG does: scores, activations of a layer.
pub(super) struct Test<'a> {
    pub(super) prepared: &'a Prepared,
    pub(super) measured: &'a Measured,
    pub(super) saved: &'a [(Axis, Metric)],
    /// Layer whose activations are written.
    pub(super) embedding: Option<&'a str>,
    /// Says the scores.
    pub(super) talk: Talk,
}

impl Test<'_> {
    /// Predicts the test set, writes that beside the model `out`, and says how well it went: Pearson r a track.
    pub(super) fn run(
        &self,
        out: &Path,
        model: &Model,
        computing: &Computing,
        context: &Context,
        args: &impl Serialize,
    ) -> Result<Vec<(String, f64)>> {
        let Self { prepared, measured, saved, embedding, talk } = *self;
        let rows = &prepared.split.test;
        if rows.is_empty() {
            return Ok(vec![]);
        }
        let model = &Model {
            network: model.network.with_readout(Readout::Bins)?.to_device(&computing.device)?,
            ..model.clone()
        };
        let inputs: Vec<Sequences> = prepared.dataset.inputs.iter().map(|s| s.select(rows)).collect();
        let sequences = Sequences::side_by_side(&inputs)?;
        let tracks: Vec<usize> = (0..model.network.architecture().tracks()).collect();
        let bar = inputs::bar(context.talk, rows.len(), "sequences");
        let all = engine::predict::predict_in(&model.network, &sequences.bases, None, computing.precision, &mut |n| {
            bar.set_position(n as u64)
        })?;
        bar.finish_and_clear();
        let values = predict::select(model, all, &tracks);
        let bins = model.network.architecture().bins();
        predict::write(&suffixed(out, "_pred.npz"), &sequences.names, &model.track_names(), bins, &values)?;
        if let Some(layer) = embedding {
            let place = Layer::parse(layer, model.network.architecture())?;
            let embedding = Embedding::new(&model.network, place, Positions::All, computing.precision)?;
            let path = suffixed(out, &format!("_embed{layer}.npz"));
            predict::write_embedding(&path, &embedding, &sequences, None, context)?;
        }
        let guess: Vec<f64> = values.iter().map(|&v| v.into()).collect();
        with_table(prepared, measured, rows, &guess, |table| {
            if !saved.is_empty() {
                save_as_drg(&suffixed(out, ""), table, saved, context, args)?;
            }
            write_scores(out, table, talk)
        })
    }
}

impl Args {
    fn validated(&self) -> Result<(Options, Wanted)> {
        let (mut options, table) = self.chosen.read()?;
        if let Some(seed) = self.seed {
            options.set_text(&format!("seed={seed}"))?;
        }
        let wanted = Wanted::new(&self.flags(), &table)?;
        Ok((options, wanted))
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
