//! What a search leaves: the best model, its configuration, the picture, what mattered.

use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use super::Search;
use crate::cli::output::{self, Staged};
use crate::cli::shell;
use crate::cli::train::Test;
use crate::engine::search::{Range, Row, Status, importance};
use crate::error::{Error, Result};
use crate::model::Model;
use crate::model::options::Value;
use crate::model::spec::Select;
use crate::plot::{SearchFigure, SearchPanel, SearchRun, SearchScale};
use crate::util::fs::write_bytes;

/// The table of all runs.
pub(super) const TABLE: &str = "trials.tsv";
/// Folder of the trials' files.
pub(super) const TRIALS: &str = "trials";

/// Writes all files of the best trial, and returns the paths of what a user looks at.
///
/// # Errors
/// [`Error::Failed`] if no trial came to its end; those of files and of the test set.
pub(super) fn finish(search: &Search, rows: &[Row]) -> Result<Vec<PathBuf>> {
    let out = &search.args.out;
    figure(search, rows)?;
    let Some(best) = search.plan.winner(rows) else {
        let why = rows.iter().rev().find_map(|r| match &r.status {
            Status::Failed(why) => Some(format!("; the last one: {why}")),
            _ => None,
        });
        let (table, why) = (out.join(TABLE), why.unwrap_or_default());
        return Err(Error::Failed(format!("no trial came to its end; {} says why{why}", table.display())));
    };
    let source = search.path(best.trial);
    if !source.exists() {
        search.train(best.trial, usize::MAX, true)?;
    }
    let model = out.join("best.drg");
    for (from, to) in
        [(source.clone(), model.clone()), (output::suffixed(&source, "_loss.txt"), out.join("best_loss.txt"))]
    {
        if from.exists() {
            let bytes = std::fs::read(&from).map_err(Error::io("read", &from))?;
            write_bytes(&to, &bytes)?;
        }
    }
    let config = out.join("best.toml");
    write_bytes(&config, configuration(search, best, rows)?.as_bytes())?;
    let ranks = out.join("importance.tsv");
    write_bytes(&ranks, correlations(search, rows).as_bytes())?;

    let values = search.space.describe(&search.values[best.trial]);
    let score = best.score.unwrap_or(f64::NAN);
    search.context.talk.say(format_args!("best: trial {} with score {score:.5}: {values}", best.trial));
    let found = Model::load(&model)?;
    if found.record.as_ref().is_some_and(|r| r.best_epoch == 0) {
        search
            .context
            .talk
            .say("its best epoch is 0: no epoch of training was better than the network that it started with");
    }
    let (prepared, measured, talk) = (&search.prepared, &search.args.measured, search.context.talk);
    let test = Test { prepared, measured, saved: &[], embedding: None, talk };
    let scores = test.run(&model, &found, &search.computing, search.context, search.args)?;
    let trial = &search.trials[best.trial];
    let results = json!({
        "model": trial.model, "train": trial.training,
        "rows": {
            "train": search.prepared.split.train.len(), "validation": search.prepared.split.validation.len(),
            "test": search.prepared.split.test.len(),
        },
        "trial": best.trial, "best_epoch": best.best_epoch, "epochs": best.epochs, "score": best.score,
        "seconds": rows.iter().map(|r| r.seconds).sum::<f64>(),
        "runs": rows.len(), "failed": rows.iter().filter(|r| r.score.is_none()).count(),
        "test_r": scores.iter().map(|(track, r)| json!({ "track": track, "r": r })).collect::<Vec<Json>>(),
    });
    let mut staged = Staged::new(out)?;
    for name in ["best.drg.json", "search.json"] {
        staged.provenance(Path::new(name), search.context, search.args, results.clone())?;
    }
    staged.finish()?;
    let mut paths = vec![out.join(TABLE), model, config, ranks, out.join("search.svg")];
    if cfg!(feature = "png") {
        paths.push(out.join("search.png"));
    }
    Ok(paths)
}

/// Draws the runs so far.
pub(super) fn figure(search: &Search, rows: &[Row]) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let runs: Vec<SearchRun> =
        rows.iter().map(|r| SearchRun { trial: r.trial, rung: r.rung, score: r.score }).collect();
    let varied = search.space.varied();
    let names: Vec<Vec<String>> = varied
        .iter()
        .map(|v| match &v.range {
            Range::Choices(items) => items.iter().map(Value::to_string).collect(),
            _ => vec![],
        })
        .collect();
    let values: Vec<Vec<Option<f64>>> = (0..varied.len())
        .map(|i| {
            let place = |value: &Value| match &varied[i].range {
                Range::Choices(items) => items.iter().position(|item| item == value).map(|at| at as f64),
                _ => value.as_f64(),
            };
            rows.iter().map(|r| search.values[r.trial][i].as_ref().and_then(place)).collect()
        })
        .collect();
    let panels: Vec<SearchPanel> = varied
        .iter()
        .enumerate()
        .map(|(i, v)| SearchPanel {
            name: v.key,
            scale: match v.range {
                Range::Choices(_) => SearchScale::Categories(&names[i]),
                Range::Uniform(a, b) => SearchScale::Linear(a, b),
                Range::LogUniform(a, b) => SearchScale::Log(a, b),
                Range::Integer(a, b) => SearchScale::Linear(a as f64, b as f64),
                Range::LogInteger(a, b) => SearchScale::Log(a as f64, b as f64),
            },
            whole: matches!(v.range, Range::Integer(..) | Range::LogInteger(..)),
            values: &values[i],
        })
        .collect();
    let label = match search.trials[0].training.select {
        Select::Loss => "Validation loss",
        Select::Pearson => "1 − mean Pearson r",
    };
    let picture = SearchFigure {
        score_label: label.into(),
        rungs: (0..search.plan.rungs.len()).map(|k| search.rung(k)).collect(),
        ..SearchFigure::default()
    };
    let svg = picture.render(&runs, &panels)?;
    svg.write(&search.args.out.join("search.svg"), 300.0)?;
    if cfg!(feature = "png") {
        svg.write(&search.args.out.join("search.png"), 200.0)?;
    }
    Ok(())
}

/// The configuration that `drg train` takes: all options of the trial, and where the data are split.
fn configuration(search: &Search, best: &Row, rows: &[Row]) -> Result<String> {
    let args = search.args;
    let (data, rest) = args.flags().table(&search.table)?;
    let mut words = vec!["drg".to_string(), "train".into(), args.sequences.clone()];
    words.extend(args.targets.clone());
    words.extend(["--config".into(), args.out.join("best.toml").display().to_string()]);
    words.extend(["-o".into(), "model.drg".into()]);
    words.extend(rest);
    words.extend(args.start.words());
    if search.computing.precision != crate::device::Precision::F32 {
        words.extend(["--precision".into(), search.computing.precision.name().into()]);
    }
    let mut text = format!(
        "# Trial {} of {}, the best of a search of {} runs: validation score {} in epoch {}.\n# The same model again:\n#   {}\n",
        best.trial,
        search.trials.len(),
        rows.len(),
        best.score.unwrap_or(f64::NAN),
        best.best_epoch.unwrap_or_default(),
        shell::line(&words)
    );
    text.push_str(&search.trials[best.trial].options.to_toml());
    if !data.is_empty() {
        text.push_str(&format!("\n{}", toml::Table::from_iter([("data".to_string(), toml::Value::Table(data))])));
    }
    Ok(text)
}

/// Rank correlations of options with the score.
fn correlations(search: &Search, rows: &[Row]) -> String {
    let mut text = String::from("option\ttrials\tspearman\n");
    for found in importance(&search.space, &search.values, rows) {
        let r = if found.spearman.is_nan() { "NA".into() } else { format!("{:.4}", found.spearman) };
        text.push_str(&format!("{}\t{}\t{r}\n", found.key, found.trials));
    }
    text
}
