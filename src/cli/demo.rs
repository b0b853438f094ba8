//! `drg demo`: from nothing to a report, through the verbs that a user would type.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Instant;

use clap::{FromArgMatches, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};

use super::output::{self, Staged};
use super::{Context, Verb, shell, talk};
use crate::error::{Error, Result};
use crate::io::bed::read_bed;
use crate::io::first_few;
use crate::io::folds::Folds;

const EXAMPLE: &str = "\
Every command is shown before it runs and can be repeated as it stands. The report is DIR/report.html; it needs no other
file.

Example (seconds; without --quick a larger model on more data, less than a minute on two cores):
  drg demo -o demo --quick";

/// File that marks a folder as a demo's.
const MARK: &str = "demo.json";
/// Sequences that are mutated.
const MUTATED: usize = 40;

/// Simulate, train, predict, score, mutate and draw: one report, no input needed
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Folder for all files; made if its parent is there
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Seed of simulation and training
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,
    /// Less data and a smaller model
    #[arg(long)]
    quick: bool,
    /// Write into a folder that holds other files
    #[arg(long)]
    force: bool,
}

/// How much is simulated, and what is trained on it.
struct Size {
    data: &'static str,
    cnn: &'static str,
}

const FULL: Size = Size {
    data: "--sequences 6000 --length 100 --motifs 5 --width 10-12",
    cnn: "num_kernels=64+l_kernels=15+max_pooling=False+weighted_pooling=True+pooling_size=20+optimizer=AdamW+lr=0.005+\
          schedule=one-cycle+loss_reduction=mean+batchsize=64+epochs=20+finetuning=False",
};
const QUICK: Size = Size {
    data: "--sequences 2500 --length 60 --motifs 3 --width 10-12 --sites 2",
    cnn: "num_kernels=32+l_kernels=13+max_pooling=False+weighted_pooling=True+pooling_size=20+optimizer=AdamW+lr=0.01+\
          schedule=one-cycle+loss_reduction=mean+batchsize=64+epochs=12+finetuning=False",
};

/// A command and how long it took.
#[derive(Serialize)]
struct Step {
    command: String,
    seconds: f64,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    check(args)?;
    mark(args, context, Value::Null)?;
    let size = if args.quick { QUICK } else { FULL };
    let (data, cnn, seed) = (size.data, size.cnn, args.seed);
    let mut demo = Demo { folder: &args.out, context, steps: Vec::new() };
    demo.step(
        "Make random sequences with planted motifs, and measurements that follow from them",
        &format!("simulate -o DIR/data {data} --seed {seed}"),
    )?;
    demo.step(
        "Train a network to predict the measurements; one tenth of the sequences decides when to stop, one tenth is never \
         shown to it",
        &format!(
            "train DIR/data/sequences.fa DIR/data/targets.tsv -o DIR/model.drg --crossvalidation DIR/data/folds.txt 0 \
             --reverse-complement --cnn {cnn} --seed {seed}"
        ),
    )?;
    demo.step("Predict all sequences", "predict DIR/model.drg DIR/data/sequences.fa -o DIR/predictions.npz")?;
    demo.step(
        "Score the predictions of the sequences that the network has never seen",
        "eval score DIR/model_pred.npz DIR/data/targets.tsv --classes DIR/data/classes.txt --axis track,class -o DIR/scores.tsv",
    )?;
    let names = unseen(&args.out)?;
    demo.step(
        "Change every base of some of them to every other base: what does the network predict then?",
        &format!("ism DIR/model.drg DIR/data/sequences.fa --names {} -o DIR/ism.npz", names.join(",")),
    )?;
    demo.step(
        "Do the mutations that matter lie in the planted motifs?",
        "eval recovery DIR/ism.npz DIR/data/sites.bed -o DIR/recovery.tsv",
    )?;
    demo.step("Draw", "plot curves DIR/model_loss.txt -o DIR/loss.svg")?;
    demo.step("", "plot scatter DIR/model_pred.npz DIR/data/targets.tsv -o DIR/scatter.svg")?;
    demo.step(
        "",
        &format!("plot attr DIR/ism.npz --sequences {} --bed DIR/data/sites.bed -o DIR/attributions.svg", names[0]),
    )?;
    demo.step(
        "Put everything on one page",
        "report --model DIR/model.drg --loss DIR/model_loss.txt --pred DIR/model_pred.npz --measured DIR/data/targets.tsv \
         --classes DIR/data/classes.txt --ism DIR/ism.npz --sites DIR/data/sites.bed --motifs DIR/data/motifs.meme -o \
         DIR/report.html",
    )?;
    mark(args, context, json!({ "steps": demo.steps }))?;
    demo.close();
    Ok(())
}

/// A demo on its way.
struct Demo<'a> {
    folder: &'a Path,
    context: &'a Context,
    steps: Vec<Step>,
}

impl Demo<'_> {
    /// Shows a command and runs it. Words that begin with `DIR/` are paths in the folder.
    fn step(&mut self, what: &str, line: &str) -> Result<()> {
        let place = |word: &str| match word.strip_prefix("DIR/") {
            Some(name) => self.folder.join(name).to_string_lossy().into_owned(),
            None => word.to_string(),
        };
        let words: Vec<String> = std::iter::once("drg".into()).chain(line.split_whitespace().map(place)).collect();
        let talk = self.context.talk;
        if !what.is_empty() {
            talk.say(format_args!("\n# {what}"));
        }
        let command = shell::line(&words);
        talk.say(format_args!("$ {command}"));
        let clock = Instant::now();
        let (verb, name) = parse(&words)?;
        let device = self.context.device.clone();
        let context = Context { talk, verb: name, command: words, device, used: OnceLock::new() };
        super::dispatch(verb, &context)?;
        self.steps.push(Step { command, seconds: clock.elapsed().as_secs_f64() });
        Ok(())
    }

    /// Says how long everything took and where the report is.
    fn close(&self) {
        let name = |step: &Step| {
            let words = step.command.split(' ').take(3).filter(|w| w.chars().all(char::is_alphabetic));
            words.collect::<Vec<_>>().join(" ")
        };
        let row = |step: &Step| vec![name(step), format!("{:.1} s", step.seconds)];
        let mut rows: Vec<Vec<String>> = self.steps.iter().map(row).collect();
        rows.push(vec!["all".into(), format!("{:.1} s", self.steps.iter().map(|s| s.seconds).sum::<f64>())]);
        self.context.talk.say(format_args!("\n{}", talk::aligned(&rows, 1)));
        self.context.talk.say(format_args!("Open {} in a browser.", self.folder.join("report.html").display()));
    }
}

/// The verb of a command line, and its name.
fn parse(words: &[String]) -> Result<(Verb, String)> {
    let command = Verb::augment_subcommands(clap::Command::new("drg"));
    let wrong = |e: clap::Error| Error::Usage(e.to_string());
    let matches = command.try_get_matches_from(words).map_err(wrong)?;
    Ok((Verb::from_arg_matches(&matches).map_err(wrong)?, super::verb_of(&matches)))
}

/// Refuses a folder that is not a demo's own, naming what it holds.
fn check(args: &Args) -> Result<()> {
    output::check_folder(&args.out)?;
    if args.force || !args.out.is_dir() || args.out.join(MARK).is_file() {
        return Ok(());
    }
    let entries = std::fs::read_dir(&args.out).map_err(Error::io("read", &args.out))?;
    let mut names: Vec<String> =
        entries.filter_map(|e| e.ok()).map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    if names.is_empty() {
        return Ok(());
    }
    const OURS: [&str; 10] = [
        "data",
        "model.drg",
        "model_loss.txt",
        "model_pred.npz",
        "predictions.npz",
        "scores.tsv",
        "ism.npz",
        "recovery.tsv",
        "loss.svg",
        "report.html",
    ];
    let lost: Vec<&str> = OURS.into_iter().filter(|ours| names.iter().any(|n| n == ours)).collect();
    let lost = match lost.as_slice() {
        [] => "nothing of these would be overwritten".to_string(),
        lost => format!("{} would be overwritten", lost.join(", ")),
    };
    Err(Error::Usage(format!(
        "{} is not empty and no earlier demo's: it holds {} ({lost}); name another folder, or use it with --force",
        args.out.display(),
        first_few(&names)
    )))
}

/// Marks the folder, with the commands that ran where they are known.
fn mark(args: &Args, context: &Context, results: Value) -> Result<()> {
    let mut staged = Staged::new(&args.out)?;
    staged.provenance(Path::new(MARK), context, args, results)?;
    staged.finish().map(drop)
}

/// The first sequences of the test set that have planted sites.
fn unseen(folder: &Path) -> Result<Vec<String>> {
    let data = folder.join("data");
    let mut names: Vec<String> = read_bed(&data.join("sites.bed"))?.into_iter().map(|site| site.chrom).collect();
    names.dedup();
    let split = Folds::read(&data.join("folds.txt"))?.split(&names, 0)?.split;
    Ok(split.test.into_iter().take(MUTATED).map(|i| names[i].clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_a_valid_command_line() {
        let words = |line: &str| format!("drg {line}").split(' ').map(String::from).collect::<Vec<_>>();
        for size in [FULL, QUICK] {
            let (verb, name) = parse(&words(&format!("simulate -o x {} --seed 1", size.data))).unwrap();
            assert!(matches!(verb, Verb::Simulate(_)) && name == "simulate");
            crate::model::options::parse_option_string(size.cnn).unwrap();
        }
        assert_eq!(parse(&words("plot curves l.txt -o l.svg")).unwrap().1, "plot curves");
        assert_eq!(parse(&words("plot curvs")).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn only_folders_of_a_demo_are_written_over() {
        let host = tempfile::tempdir().unwrap();
        let args = |force| Args { out: host.path().into(), seed: 1, quick: true, force };
        check(&args(false)).unwrap();
        std::fs::write(host.path().join("ism.npz"), "").unwrap();
        std::fs::write(host.path().join("thesis.tex"), "").unwrap();
        let message = check(&args(false)).unwrap_err().to_string();
        assert!(message.contains("it holds ism.npz, thesis.tex (ism.npz would be overwritten)"), "{message}");
        check(&args(true)).unwrap();
        std::fs::write(host.path().join(MARK), "{}").unwrap();
        check(&args(false)).unwrap();
    }
}
