//! `drg perturb kernels`: what each kernel of the first layer contributes.

use std::collections::HashMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Common, Opened};
use crate::cli::scores::Plain;
use crate::cli::{Context, inputs, kernels};
use crate::engine::kernels::knock_outs;
use crate::engine::predict::predict_in;
use crate::error::{Error, Result, hint};
use crate::io::npz::NpzWriter;
use crate::io::targets::{TargetOptions, Targets, read_modalities};
use crate::model::Readout;
use crate::stat::{mean, pearson, rmse, sd};
use crate::tensor::DType;

const EXAMPLE: &str = "\
A kernel is knocked out by a constant in place of its values, after the strands are combined and
before the activation. Effects are predictions without it minus predictions with it, so that a kernel
that raises a prediction has an effect below 0; DRG's kerneffct is -n times the mean.

Output: table with a line a kernel and track: mean of the effects over the sequences, se (its standard
error), mean_abs, value (what took the kernel's place); with --targets also r and rmse of the intact
model and how they change. Or npz: mean, se, mean_abs (K kernels, T tracks), value (K), kernels, tracks.

Example:
  drg simulate -o sim
  drg train sim/sequences.fa sim/targets.tsv -o m.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg perturb kernels m.drg sim/sequences.fa --targets sim/targets.tsv -o kernels.tsv";

/// Knock out kernels of the first layer, one at a time
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
    /// Sequences: FASTA (.gz), one-hot npz, a table with sequences, or regions.bed@genome.fa; of several inputs with commas
    #[arg(value_name = "SEQS")]
    sequences: String,
    /// Only these kernels: indices or ranges a:b with commas, of an input of several KERNELS@INPUT; can be given several times
    #[arg(long, value_name = "KERNELS[@INPUT]")]
    kernels: Vec<String>,
    /// What takes a kernel's place: a number, or mean (its mean over all positions of the sequences)
    #[arg(long, value_name = "V", default_value = "mean", allow_hyphen_values = true)]
    mask_value: String,
    /// Measurements, several files with commas: also say how the fit changes. Profiles are read as --bins says
    #[arg(long, value_name = "FILE,...", value_delimiter = ',')]
    targets: Vec<PathBuf>,
    /// Outputs of the model that the files of --targets are of, one a file [default: all, in the model's order]
    #[arg(long, alias = "add_fileclasses", value_name = "A,B,...", value_delimiter = ',', requires = "targets")]
    file_classes: Vec<String>,
}

/// Effects of one kernel on one track.
struct Effect {
    mean: f64,
    se: f64,
    mean_abs: f64,
    /// Changes of r and rmse.
    fit: [f64; 2],
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let opened = args.common.open(&args.sequences, "auto", context)?;
    let (options, bases) = (&opened.options, &opened.sequences.bases);
    let network = match options.double {
        true => opened.model.network.to_dtype(DType::F64)?,
        false => opened.model.network.clone(),
    };
    let chosen = kernels::chosen(&args.kernels, &network, args.common.input)?;
    let measured = args.measured(&opened, context)?;
    let list = kernels::replaced(&network, &chosen, &args.mask_value, bases, options.precision)?;
    let all = predict_in(&network, bases, options.batch, options.precision, &mut |_| ())?;
    let intact = opened.columns_of(&all);
    let fit = |predictions: &[Vec<f64>]| -> Vec<[f64; 2]> {
        let Some(measured) = &measured else { return vec![[f64::NAN; 2]; predictions.len()] };
        predictions.iter().zip(measured).map(|(p, y)| fit(p, y)).collect()
    };
    let before = fit(&intact);

    let mut effects: Vec<Effect> = Vec::with_capacity(list.len() * opened.columns.len());
    let bar = inputs::bar(context.talk, list.len(), "kernels");
    let how = (options.batch, options.precision);
    knock_outs(&network, bases, &list, how, &mut |_, predictions| {
        let without = opened.columns_of(&predictions);
        let after = fit(&without);
        for (t, (old, new)) in intact.iter().zip(&without).enumerate() {
            let changes: Vec<f64> = old.iter().zip(new).map(|(a, b)| b - a).collect();
            let sizes: Vec<f64> = changes.iter().map(|d| d.abs()).collect();
            effects.push(Effect {
                mean: mean(&changes),
                se: sd(&changes) / (changes.len() as f64).sqrt(),
                mean_abs: mean(&sizes),
                fit: [after[t][0] - before[t][0], after[t][1] - before[t][1]],
            });
        }
        bar.inc(1);
        Ok(())
    })?;
    bar.finish_and_clear();

    let names: Vec<String> = chosen.iter().map(|&k| kernels::name(&network, k)).collect();
    let (k, t, n) = (names.len(), opened.columns.len(), opened.sequences.len());
    let archive = |w: &mut NpzWriter<'_>| {
        let column = |of: &dyn Fn(&Effect) -> f64| effects.iter().map(|e| of(e) as f32).collect::<Vec<f32>>();
        w.array("mean", &[k, t], &column(&|e| e.mean))?;
        w.array("se", &[k, t], &column(&|e| e.se))?;
        w.array("mean_abs", &[k, t], &column(&|e| e.mean_abs))?;
        w.array("value", &[k], &list.iter().map(|k| k.value as f32).collect::<Vec<_>>())?;
        if measured.is_some() {
            w.array("r", &[t], &before.iter().map(|f| f[0] as f32).collect::<Vec<_>>())?;
            w.array("rmse", &[t], &before.iter().map(|f| f[1] as f32).collect::<Vec<_>>())?;
            w.array("r_change", &[k, t], &column(&|e| e.fit[0]))?;
            w.array("rmse_change", &[k, t], &column(&|e| e.fit[1]))?;
        }
        w.strings("kernels", &names)?;
        w.strings("tracks", &opened.columns)
    };
    let table = |out: &mut dyn Write| {
        write!(out, "kernel\ttrack\tn\tvalue\tmean\tse\tmean_abs")?;
        writeln!(out, "{}", if measured.is_some() { "\tr\tr_change\trmse\trmse_change" } else { "" })?;
        for (i, Effect { mean, se, mean_abs, fit }) in effects.iter().enumerate() {
            let (kernel, track) = (i / t, i % t);
            write!(out, "{}\t{}\t{n}\t{}\t", names[kernel], opened.columns[track], list[kernel].value as f32)?;
            write!(out, "{}\t{}\t{}", *mean as f32, *se as f32, *mean_abs as f32)?;
            if measured.is_some() {
                let of = [before[track][0], fit[0], before[track][1], fit[1]].map(|v| v as f32);
                write!(out, "\t{}\t{}\t{}\t{}", of[0], of[1], of[2], of[3])?;
            }
            writeln!(out)?;
        }
        Ok(())
    };
    args.common.write(args, context, format_args!("{k} kernels, {t} tracks, {n} sequences"), archive, table)
}

/// Pearson r and rmse over what was measured.
fn fit(predictions: &[f64], measured: &[f64]) -> [f64; 2] {
    let there = |(_, y): &(&f64, &f64)| !y.is_nan();
    let (p, y): (Vec<f64>, Vec<f64>) = predictions.iter().zip(measured).filter(there).unzip();
    [pearson(&y, &p), rmse(&y, &p)]
}

impl Opened {
    /// The chosen tracks of predictions `[N, all tracks]` in the units of the targets, track by track.
    fn columns_of(&self, all: &[f64]) -> Vec<Vec<f64>> {
        let width = self.model.network.width();
        let of = |&t: &usize| {
            let (deviation, mean) = crate::model::checkpoint::Scaling::of(self.model.scaling.as_ref(), t);
            all.iter().skip(t).step_by(width).map(|v| v * deviation + mean).collect()
        };
        self.tracks.iter().map(of).collect()
    }
}

impl Args {
    /// Measurements of the chosen tracks, for each sequence; NaN where there is none.
    fn measured(&self, opened: &Opened, context: &Context) -> Result<Option<Vec<Vec<f64>>>> {
        if self.targets.is_empty() {
            return Ok(None);
        }
        let mut options = TargetOptions { allow_missing: true, ..TargetOptions::default() };
        options.delimiter = self.common.reading.delimiter;
        let files = read_modalities(&self.targets, &options)?;
        let files: Vec<Targets> =
            files.iter().zip(&self.targets).map(|(file, path)| opened.read_out(file, path)).collect::<Result<_>>()?;
        let labels = self.labels(opened)?;
        let rows: HashMap<&str, usize> = files[0].names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
        let sequences = &opened.sequences.names;
        let there = sequences.iter().filter(|n| rows.contains_key(n.as_str())).count();
        if there == 0 {
            let (here, others) = (crate::io::first_few(sequences), crate::io::first_few(&files[0].names));
            return Err(Error::Usage(format!(
                "--targets: no sequence was measured: sequences [{here}], targets [{others}]"
            )));
        }
        if there < sequences.len() {
            context.talk.say(format_args!("{there} of {} sequences were measured", sequences.len()));
        }
        let places = self.places(opened, &files, &labels)?;
        let found = places.iter().flatten().count();
        if found < places.len() {
            context.talk.say(format_args!("{found} of {} tracks were measured; the others have no r", places.len()));
        }
        let column = |place: &Option<(usize, usize)>| -> Vec<f64> {
            let of = |n: &String| {
                let (&(file, t), &i) = (place.as_ref()?, rows.get(n.as_str())?);
                Some(files[file].row(i)[t])
            };
            sequences.iter().map(|n| of(n).unwrap_or(f64::NAN)).collect()
        };
        Ok(Some(places.iter().map(column).collect()))
    }

    /// The output that each file of targets is of: those of `--file-classes`, or all of the model in its order; else none.
    fn labels(&self, opened: &Opened) -> Result<Vec<String>> {
        let outputs = opened.model.network.architecture().outputs();
        let names: Vec<&str> = outputs.iter().map(|o| o.0).collect();
        let (given, files) = (&self.file_classes, self.targets.len());
        if given.is_empty() {
            let all = files > 1 && files == names.len();
            return Ok(if all { names.into_iter().map(String::from).collect() } else { vec![] });
        }
        if given.len() != files {
            let n = given.len();
            return Err(Error::Usage(format!("--file-classes: expected {files} labels, one a file; found {n}")));
        }
        for (i, label) in given.iter().enumerate() {
            if !names.contains(&label.as_str()) || given[..i].contains(label) {
                return Err(Error::Usage(format!(
                    "--file-classes {label}: expected outputs of the model, each once: {}{}",
                    names.join(", "),
                    hint(label, names.iter().copied())
                )));
            }
        }
        Ok(given.clone())
    }

    /// File and column of each chosen track, by its name, or by its name without its output in the file of that output; none where
    /// the files are of other outputs.
    fn places(&self, opened: &Opened, files: &[Targets], labels: &[String]) -> Result<Vec<Option<(usize, usize)>>> {
        let plain = Plain::of(&opened.model);
        let mut taken: HashMap<(usize, usize), usize> = HashMap::new();
        let mut found = vec![];
        for (&track, full) in opened.tracks.iter().zip(&opened.columns) {
            let (short, output) = (&plain.names[track], &plain.labels[track]);
            let own: Vec<usize> =
                (0..files.len()).filter(|&f| labels.get(f).is_none_or(|label| label == output)).collect();
            if own.is_empty() {
                found.push(None);
                continue;
            }
            let named = |name: &String| -> Vec<(usize, usize)> {
                let at = |&f: &usize| files[f].tracks.iter().position(|t| t == name).map(|t| (f, t));
                own.iter().filter_map(at).collect()
            };
            let places = Some(named(full)).filter(|all| !all.is_empty()).unwrap_or_else(|| named(short));
            let place = match places[..] {
                [place] => place,
                [] => {
                    let near = hint(short, own.iter().flat_map(|&f| files[f].tracks.iter().map(String::as_str)));
                    return Err(Error::Usage(format!(
                        "--targets: no track '{short}'{near}; choose the tracks that were measured with --tracks"
                    )));
                }
                _ => return Err(self.unclear(opened, short)),
            };
            if taken.insert(place, track).is_some_and(|other| other != track) {
                return Err(self.unclear(opened, short));
            }
            found.push(Some(place));
        }
        Ok(found)
    }

    fn unclear(&self, opened: &Opened, track: &str) -> Error {
        let outputs = opened.model.network.architecture().outputs();
        let names = outputs.iter().map(|o| o.0).collect::<Vec<_>>().join(", ");
        Error::Usage(match outputs.len() {
            1 => format!("--targets: track '{track}' is in more than one file; leave one of them out"),
            n => format!(
                "--targets: track '{track}' can be of more than one output of the model ({names}); name {n} files in this order, or \
                 say which outputs the files are of with --file-classes LABEL,..."
            ),
        })
    }
}

impl Opened {
    /// One value a track, read from profiles as the model's are.
    fn read_out(&self, file: &Targets, path: &Path) -> Result<Targets> {
        let readout = self.model.network.readout();
        let Some(bins) = file.bins else {
            return match readout {
                Readout::Weights(_) => Err(Error::file(
                    path,
                    "one value a track, but --bins reads parts of profiles; leave --bins out, or name profiles",
                )),
                _ => Ok(file.clone()),
            };
        };
        let of = |profile: &[f64]| readout.read(profile);
        let values = file.values.chunks_exact(bins).map(of).collect::<Result<Vec<_>>>().map_err(|_| {
            let known = self.model.network.architecture().bins().unwrap_or_default();
            Error::file(path, format!("expected profiles of the model's {known} bins for --bins; found {bins}"))
        })?;
        Ok(Targets { values: values.concat(), bins: None, ..file.clone() })
    }
}
