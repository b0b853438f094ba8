//! `drg convert`: models from PyTorch and to it.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::{self, Staged};
use super::{Context, talk};
use crate::error::{Error, Result};
use crate::io::pth::{Checkpoint, PthData, PthTensor, read_checkpoint, write_pth};
use crate::io::text::Lines;
use crate::model::checkpoint::{import_state, params_text, read_safetensors, recognise_beluga, reference_state};
use crate::model::options::{
    DataFacts, InputFacts, Options, Origin, ParamsFile, Value, parse_option_string, parse_params_file, resolve,
};
use crate::model::spec::{
    self, Beluga, HeadOutput, Plan, PoolAlign, PoolKind, PoolPadding, Published, Residual, TrainSpec,
};
use crate::model::{Model, Network};
use crate::util::fs;

const EXAMPLE: &str = "\
From PyTorch: drg convert X_parameter.pth -o model.drg. The architecture is in the parameter file of
the reference, X_model_params.dat, which is found beside X_parameter.pth or named with --params, or
in options: --cnn OPTIONS --length 600. Files of PyTorch (zip, legacy) may hold a state dict or a
dictionary with one in it. No code of a file is run: a file that asks for it is refused.

DeepSEA Beluga's file needs no options: drg convert deepsea.beluga.pth -o beluga.drg. Its channels are
A, G, C, T, as they were in its training (programs that feed it A, C, G, T swap C and G; --alphabet ACGT
does as they do); its outputs are logits, with --sigmoid probabilities.

A written .pth has the names and the order of the reference's state dicts and is what torch.load
takes by default. Weighted pools of models that come from the reference pad as there
(pool_padding=sequence-min); whatever else the reference does differently is told.

Example:
  drg simulate -o sim
  drg train sim/sequences.fa sim/targets.tsv -o model.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg convert model.drg -o model_parameter.pth --write-params
  drg convert model_parameter.pth -o again.drg
  drg convert --list model_parameter.pth";

/// Turn a PyTorch checkpoint into a model, or a model into one
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// PyTorch checkpoint (.pth), or model
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// File to write: PyTorch where it ends in .pth or .pt, else a model
    #[arg(short, long, value_name = "OUT", required_unless_present = "list")]
    out: Option<PathBuf>,
    /// Print names, shapes and types of the tensors, and write nothing
    #[arg(long, conflicts_with = "out")]
    list: bool,
    #[command(flatten)]
    architecture: Architecture,
    /// Leave out what the reference only makes in a first forward pass, for a model that was merely
    /// constructed
    #[arg(long, help_heading = "Writing .pth")]
    fresh: bool,
    /// The member of an average of models to write, from 0: as .pth, or as a model where OUT ends otherwise
    #[arg(long, value_name = "N")]
    member: Option<usize>,
    /// Also write the reference's parameter file: X_model_params.dat for X_parameter.pth or X.pth
    #[arg(long, help_heading = "Writing .pth")]
    write_params: bool,
}

/// What a state dict does not say about its model.
#[derive(Debug, Default, PartialEq, clap::Args, Serialize)]
#[command(next_help_heading = "Reading .pth")]
struct Architecture {
    /// Options as key=value+key=value, or a reference parameter file; beside --params, they override it
    #[arg(long, value_name = "OPTIONS")]
    cnn: Option<String>,
    /// Parameter file of the reference
    #[arg(long, value_name = "FILE")]
    params: Option<PathBuf>,
    /// Bases of a sequence, of every input [default: of the parameter file]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    length: Vec<usize>,
    /// Tracks of every head [default: of the parameter file, else of the tensors]
    #[arg(long, value_name = "N,...", value_delimiter = ',')]
    tracks: Vec<usize>,
    /// Bins of every track, of a base-resolution model [default: of the parameter file]
    #[arg(long, value_name = "N")]
    bins: Option<usize>,
    /// Names of all tracks, one a line [default: C0, C1, ...]
    #[arg(long, value_name = "FILE")]
    track_names: Option<PathBuf>,
    /// Names of the heads
    #[arg(long, alias = "add_fileclasses", value_name = "A,B,...", value_delimiter = ',')]
    file_classes: Vec<String>,
    /// Whether both strands are read by the first layer, for all inputs or each [default: of the
    /// parameter file, which has one value for all inputs]
    #[arg(long, alias = "reverse_complement", value_name = "BOOL,...", value_delimiter = ',', num_args = 0..=1)]
    #[arg(default_missing_value = "true", value_parser = truth)]
    reverse_complement: Vec<bool>,
    /// Letters of the four channels in the file's order; they are brought into ours [default: ACGT, of
    /// DeepSEA Beluga AGCT]
    #[arg(long, value_name = "LETTERS")]
    alphabet: Option<String>,
    /// End DeepSEA Beluga with the sigmoid that its file leaves out: probabilities instead of logits
    #[arg(long)]
    sigmoid: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let source = Source::open(&args.input)?;
    let Some(out) = args.out.as_deref().filter(|_| !args.list) else {
        return source.list(&args.input, context);
    };
    let to_torch = matches!(out.extension().and_then(|e| e.to_str()), Some("pth" | "pt"));
    let here = args.input.display();
    let wrong = |what: String| Err(Error::Usage(what));
    match source {
        Source::Model(_) if !to_torch && args.member.is_none() => {
            wrong(format!("{here} is a model already; write it as a file that ends in .pth"))
        }
        Source::Model(_) if args.architecture != Architecture::default() => {
            wrong(format!("{here} is a model, which knows its architecture; leave out the options of 'Reading .pth'"))
        }
        Source::Model(_) if !to_torch && (args.fresh || args.write_params) => {
            wrong("--fresh and --write-params belong to writing a .pth file; leave them out".into())
        }
        Source::Model(_) if !to_torch => {
            let (all, member) = (Model::load(&args.input)?, member(args)?);
            output::write_file(out, context, args, |path| member.save(path))?;
            if all.scaling.is_some() && !all.network.architecture().scales.is_empty() {
                context.talk.say(format_args!(
                    "{}: its predictions are those of the model that was averaged up to a constant for each track, as an average \
                     keeps the mean of their offsets only; effects of mutations are the same",
                    out.display()
                ));
            }
            talk::print(format_args!("{}\n", out.display()))
        }
        Source::Model(_) => export(args, out, context),
        Source::Other(_) if to_torch => {
            wrong(format!("-o {}: {here} is no drg model; write it as a model first, e.g. model.drg", out.display()))
        }
        Source::Other(_) if args.fresh || args.write_params || args.member.is_some() => {
            wrong("--fresh, --member and --write-params belong to writing a .pth file; leave them out".into())
        }
        Source::Other(checkpoint) => import(args, checkpoint, out, context),
    }
}

/// What is to be converted.
enum Source {
    /// A file of ours, with all its tensors.
    Model(Checkpoint),
    /// Of PyTorch, or safetensors of others.
    Other(Checkpoint),
}

impl Source {
    fn open(path: &Path) -> Result<Self> {
        let Some((ours, tensors)) = read_safetensors(path)? else { return read_checkpoint(path).map(Self::Other) };
        let checkpoint = Checkpoint::of_ours(tensors);
        Ok(if ours { Self::Model(checkpoint) } else { Self::Other(checkpoint) })
    }

    fn list(self, path: &Path, context: &Context) -> Result<()> {
        let checkpoint = match self {
            Self::Other(checkpoint) => checkpoint,
            // In the order of the state dict; the state of an interrupted training is no model and stays as it lies.
            Self::Model(checkpoint) => match Model::load(path) {
                Ok(model) => Checkpoint::of_ours(reference_state(&model.network, false)?),
                Err(_) => checkpoint,
            },
        };
        checkpoint.notes.iter().for_each(|note| context.talk.say(format_args!("{}: {note}", path.display())));
        let mut rows = vec![["name", "shape", "type"].map(String::from).to_vec()];
        for ((name, tensor), kind) in checkpoint.tensors.iter().zip(&checkpoint.types) {
            let shape = tensor.shape.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
            rows.push(vec![name.clone(), format!("[{shape}]"), kind.to_string()]);
        }
        talk::print(talk::aligned(&rows, 3))
    }
}

fn import(args: &Args, mut checkpoint: Checkpoint, out: &Path, context: &Context) -> Result<()> {
    output::check_file(out)?;
    let (input, given) = (&args.input, &args.architecture);
    let say = |line: &str| context.talk.say(format_args!("{}: {line}", input.display()));
    checkpoint.notes.iter().for_each(|note| say(note));
    let rounded = checkpoint.types.iter().filter(|t| **t == "float64").count();
    if rounded > 0 {
        say(&format!("{rounded} tensors of float64 are rounded to float32"));
    }
    let (architecture, training) = match given.beluga(&mut checkpoint.tensors, &say)? {
        Some(sizes) => (Published::Beluga(sizes).into(), None),
        None => given.resolved(input, &mut checkpoint.tensors, context)?,
    };
    let mut network = Network::new(architecture, 0)?;
    import_state(&mut network, &checkpoint.tensors).map_err(|e| Error::Usage(format!("{}: {e}", input.display())))?;
    let mut model = Model::untrained(network);
    model.training = training;
    if let Some(path) = &given.track_names {
        name_tracks(&mut model, path)?;
    }
    output::write_file(out, context, args, |path| model.save(path))?;
    let (tensors, tracks) = (model.network.parameters().entries().len(), model.network.architecture().tracks());
    let lengths: Vec<String> = model.network.architecture().lengths().iter().map(usize::to_string).collect();
    context.talk.say(format_args!("{tensors} tensors; {} bases to {tracks} tracks", lengths.join(" and ")));
    talk::print(format_args!("{}\n", out.display()))
}

/// Order of the four channels everywhere in drg.
const BASES: &str = "ACGT";

/// Brings the channels of the first layer from the order of `letters` into ours.
fn reorder_bases(tensors: &mut [(String, PthTensor)], letters: &str, both_strands: bool) -> Result<()> {
    let letters = letters.to_ascii_uppercase().replace('U', "T");
    let places: Option<Vec<usize>> = BASES.chars().map(|base| letters.find(base)).collect();
    let places = places
        .filter(|_| letters.len() == BASES.len())
        .ok_or_else(|| Error::Usage(format!("--alphabet {letters}: expected the letters A, C, G and T, each once")))?;
    // The reference turns a sequence to the other strand by turning its channels around.
    if both_strands && places[0] + places[3] != 3 {
        let what =
            format!("--alphabet {letters} beside both strands: the first and last letter must be a pair of bases");
        return Err(Error::Usage(what));
    }
    for (_, tensor) in tensors.iter_mut().filter(|(name, _)| name.ends_with("convolutions.conv1d.weight")) {
        let [_, 4, width] = tensor.shape[..] else { continue };
        match &mut tensor.data {
            PthData::F32(values) => reorder_rows(values, width, &places),
            PthData::F64(values) => reorder_rows(values, width, &places),
            PthData::I64(values) => reorder_rows(values, width, &places),
        }
    }
    Ok(())
}

/// Makes row `i` of every kernel `[places.len(), width]` what row `places[i]` was.
fn reorder_rows<T: Copy>(kernels: &mut [T], width: usize, places: &[usize]) {
    for kernel in kernels.chunks_exact_mut((places.len() * width).max(1)) {
        let old = kernel.to_vec();
        for (new, &place) in kernel.chunks_exact_mut(width).zip(places) {
            new.copy_from_slice(&old[place * width..][..width]);
        }
    }
}

impl Architecture {
    /// The sizes of DeepSEA Beluga, if the tensors are its; then they have its names.
    fn beluga(&self, tensors: &mut [(String, PthTensor)], say: &dyn Fn(&str)) -> Result<Option<Beluga>> {
        let wrong = |what: String| Err(Error::Usage(what));
        let Some((mut sizes, missing)) = recognise_beluga(tensors) else {
            return match self.sigmoid {
                true => {
                    wrong("--sigmoid: the file is not DeepSEA Beluga's; other models have --cnn outclass=Class".into())
                }
                false => Ok(None),
            };
        };
        for (flag, given) in [
            ("--cnn", self.cnn.is_some()),
            ("--params", self.params.is_some()),
            ("--tracks", !self.tracks.is_empty()),
            ("--bins", self.bins.is_some()),
            ("--file-classes", !self.file_classes.is_empty()),
            ("--reverse-complement", !self.reverse_complement.is_empty()),
        ] {
            if given {
                return wrong(format!("{flag}: the file is DeepSEA Beluga's, whose layers are known; leave it out"));
            }
        }
        let shortest = Beluga::shortest(sizes.positions().unwrap_or(1));
        let fits = shortest..=shortest + Beluga::POOL * Beluga::POOL - 1;
        match self.length[..] {
            [] if sizes.length == Beluga::default().length => {}
            [length] if fits.contains(&length) => sizes.length = length,
            [] => {
                return wrong(format!(
                    "--length: the tensors fit sequences of {} to {} bases; give their number",
                    fits.start(),
                    fits.end()
                ));
            }
            ref given => {
                let (from, to) = (fits.start(), fits.end());
                let given = given.iter().map(usize::to_string).collect::<Vec<_>>().join(",");
                return wrong(format!("--length {given}: expected the {from} to {to} bases that the tensors fit"));
            }
        }
        if let Some(letters) = &self.alphabet {
            sizes.alphabet = letters.to_ascii_uppercase();
            sizes.bases().map_err(|e| Error::Usage(format!("--{e}")))?;
        }
        if !missing.is_empty() {
            say(&format!("put '{missing}' in front of every name, as the published file has it"));
            tensors.iter_mut().for_each(|(name, _)| name.insert_str(0, missing));
        }
        let published = Beluga { alphabet: sizes.alphabet.clone(), ..Beluga::default() };
        let which = if sizes == published { "DeepSEA Beluga" } else { "a model of DeepSEA Beluga's layers" };
        let output = if self.sigmoid { "probabilities" } else { "logits" };
        say(&format!("{which}; its channels are {}, its outputs become {output}", sizes.alphabet));
        if self.sigmoid {
            sizes.output = HeadOutput::Class;
        }
        Ok(Some(sizes))
    }

    /// The architecture of options or a parameter file, and the training of the latter; tensors get our order of bases.
    fn resolved(
        &self,
        input: &Path,
        tensors: &mut [(String, PthTensor)],
        context: &Context,
    ) -> Result<(spec::Architecture, Option<TrainSpec>)> {
        let file = self.parameter_file(input, context)?;
        let options = self.options(file.as_ref())?;
        let facts = self.facts(file.as_ref(), tensors)?;
        let alike = facts.inputs.windows(2).all(|pair| pair[0].reverse_complement == pair[1].reverse_complement);
        if facts.inputs.len() > 1 && alike && self.reverse_complement.is_empty() && file.is_some() {
            context.talk.say(format_args!(
                "{}: a parameter file has one reverse_complement for all inputs; if they differed in training, say so \
                 with --reverse-complement True,False",
                input.display()
            ));
        }
        let (mut architecture, training) = resolve(&options, &facts)?;
        if let Some(letters) = &self.alphabet {
            let both_strands = architecture.inputs.iter().any(|spec| spec.stem.strands.is_some());
            reorder_bases(tensors, letters, both_strands)?;
            architecture.inputs.iter_mut().for_each(|spec| spec.alphabet = BASES.into());
        }
        Ok((architecture, file.map(|_| training)))
    }

    /// The parameter file that was named, or else, if there are no options, the one beside the checkpoint.
    fn parameter_file(&self, checkpoint: &Path, context: &Context) -> Result<Option<ParamsFile>> {
        let as_file =
            self.cnn.as_deref().filter(|text| !text.contains('=') || Path::new(text).is_file()).map(PathBuf::from);
        if let (Some(a), Some(b)) = (&as_file, &self.params) {
            return Err(Error::Usage(format!("two parameter files, {} and {}; name one", a.display(), b.display())));
        }
        let path = match (as_file.or(self.params.clone()), &self.cnn) {
            (Some(path), _) => path,
            (None, Some(_)) => return Ok(None),
            (None, None) => {
                let path = params_path(checkpoint);
                if !path.is_file() {
                    return Err(Error::Usage(format!(
                        "{}: a state dict does not say what its model computes, and there is no {}; name the parameter file \
                         with --params, or give --cnn OPTIONS and --length",
                        checkpoint.display(),
                        path.display()
                    )));
                }
                context.talk.say(format_args!("architecture of {}", path.display()));
                path
            }
        };
        let text = std::fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        parse_params_file(&text, &path).map(Some)
    }

    /// Options of the file, then those of `--cnn`; pools pad as in the reference unless they say otherwise.
    fn options(&self, file: Option<&ParamsFile>) -> Result<Options> {
        let mut options = file.map_or_else(Options::new, |f| f.options.clone());
        if let Some(text) = self.cnn.as_deref().filter(|text| text.contains('=') && !Path::new(text).is_file()) {
            options.extend(parse_option_string(text)?);
        }
        if options.get("pool_padding").is_none() {
            options.set("pool_padding", Value::Str(PoolPadding::SequenceMin.name().into()), Origin::Flag("--cnn"))?;
        }
        Ok(options)
    }

    /// Lengths, strands and tracks: those given, else those of the file; tracks also from the tensors.
    fn facts(&self, file: Option<&ParamsFile>, tensors: &[(String, PthTensor)]) -> Result<DataFacts> {
        let known = file.map(|f| &f.facts);
        let lengths = match known {
            Some(facts) if self.length.is_empty() => facts.inputs.iter().map(|i| i.length).collect(),
            _ => self.length.clone(),
        };
        if lengths.is_empty() {
            let what = "--length: a state dict does not say how long sequences are; give their bases";
            return Err(Error::Usage(what.into()));
        }
        let strands = match (&self.reverse_complement[..], known) {
            ([], Some(facts)) if facts.inputs.len() == lengths.len() => {
                facts.inputs.iter().map(|i| i.reverse_complement).collect()
            }
            ([], _) => vec![false; lengths.len()],
            (&[both], _) => vec![both; lengths.len()],
            (each, _) if each.len() == lengths.len() => each.to_vec(),
            (each, _) => {
                let what = format!("--reverse-complement: expected {} values, found {}", lengths.len(), each.len());
                return Err(Error::Usage(what));
            }
        };
        let tracks = match (self.tracks.is_empty(), known) {
            (false, _) => self.tracks.clone(),
            (true, Some(facts)) => facts.tracks.clone(),
            (true, None) => head_tracks(tensors),
        };
        if tracks.is_empty() {
            return Err(Error::Usage(
                "--tracks: the tensors do not say how many tracks every target file has; give them".into(),
            ));
        }
        let bins = self.bins.or(known.and_then(|facts| facts.bins));
        let input = |(length, reverse_complement)| InputFacts { length, reverse_complement };
        let inputs = lengths.into_iter().zip(strands).map(input).collect();
        Ok(DataFacts { inputs, tracks, names: self.file_classes.clone(), bins })
    }
}

/// `True` and `False` in Python's letters or others.
fn truth(text: &str) -> std::result::Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err("expected True or False".into()),
    }
}

/// Tracks of the heads, by the rows of their weights.
fn head_tracks(tensors: &[(String, PthTensor)]) -> Vec<usize> {
    let heads = tensors
        .iter()
        .filter(|(name, _)| name.starts_with("classifier.") || name.starts_with("linear_classifier."))
        .filter(|(name, _)| name.ends_with(".weight") && !name.contains("norm") && !name.contains(".cpred."));
    heads.filter_map(|(_, tensor)| tensor.shape.first().copied()).collect()
}

/// `X_model_params.dat` for `X_parameter.pth`, or for `X.pth`.
fn params_path(checkpoint: &Path) -> PathBuf {
    checkpoint.with_file_name(stored_name(checkpoint) + "_model_params.dat")
}

/// The name that the reference stores a model under.
fn stored_name(checkpoint: &Path) -> String {
    let stem = checkpoint.file_stem().unwrap_or_default().to_string_lossy();
    stem.strip_suffix("_parameter").unwrap_or(&stem).to_string()
}

fn name_tracks(model: &mut Model, path: &Path) -> Result<()> {
    let mut names: Vec<String> = vec![];
    let mut lines = Lines::open(path)?;
    while let Some((number, line)) = lines.next_text()? {
        let name = line.trim();
        if name.is_empty() || names.iter().any(|n| n == name) {
            let what = if name.is_empty() {
                "expected a name, found an empty line".into()
            } else {
                format!("'{name}' comes twice")
            };
            return Err(Error::line(path, number, what));
        }
        names.push(name.into());
    }
    let tracks = model.network.architecture().tracks();
    if names.len() != tracks {
        return Err(Error::file(path, format!("expected {tracks} names, one a track; found {}", names.len())));
    }
    model.tracks.iter_mut().flatten().zip(names).for_each(|(track, name)| *track = name);
    Ok(())
}

/// The model that is to be written: the one of the file, or a member of the average in it.
fn member(args: &Args) -> Result<Model> {
    let model = Model::load(&args.input)?;
    let (members, here) = (model.network.architecture().members, args.input.display());
    match args.member {
        Some(_) if members == 1 => Err(Error::Usage(format!("--member: {here} is no average of models; leave it out"))),
        Some(i) if i < members => Ok(model.members()?.swap_remove(i)),
        Some(i) => Err(Error::Usage(format!("--member {i}: {here} has members 0 to {}", members - 1))),
        None if members > 1 => Err(Error::Usage(format!(
            "{here} is an average of {members} models, and a .pth holds one; write them one by one with --member 0 to --member {}",
            members - 1
        ))),
        None => Ok(model),
    }
}

fn export(args: &Args, out: &Path, context: &Context) -> Result<()> {
    output::check_file(out)?;
    let model = member(args)?;
    let state = reference_state(&model.network, args.fresh)?;
    let stored = stored_name(out);
    let params = match args.write_params {
        true => Some(params_text(model.network.architecture(), model.training.as_ref(), &stored)?),
        false => None,
    };
    let mut staged = Staged::new(output::folder_of(out))?;
    let name = Path::new(out.file_name().unwrap_or(out.as_os_str()));
    staged.put(name, |path| write_pth(path, &state))?;
    if let Some(text) = params {
        staged.put(&params_path(name), |path| fs::write_bytes(path, text.as_bytes()))?;
    }
    staged.provenance(&output::beside(name), context, args, serde_json::Value::Null)?;
    let files = staged.finish()?;
    for difference in differences(&model) {
        context.talk.say(format_args!("{}: {difference}", out.display()));
    }
    context.talk.say(format_args!("{} tensors", state.len()));
    let written = files.len() - 1;
    files[..written].iter().try_for_each(|path| talk::print(format_args!("{}\n", path.display())))
}

/// What the reference, given these numbers, does in another way than the model, a sentence each.
fn differences(model: &Model) -> Vec<String> {
    let mut told = vec![];
    let specs = model.network.inputs();
    let mut tell = |differs: bool, option: &str, there: &str| {
        if differs {
            told.push(format!("the reference knows no {option}: {there}, so its predictions differ"));
        }
    };
    let exclude = specs.iter().any(|s| s.pool_padding == PoolPadding::Exclude);
    let pads = model.network.plans().inputs.iter().any(pads_weighted);
    tell(exclude && pads, "pool_padding=exclude", "its weighted pools pad with the smallest value");
    let right = specs.iter().any(|s| s.pool_align == PoolAlign::Right);
    tell(right, "pool_align=right", "its pools pad on both sides");
    let stream = specs.iter().any(|s| s.residual == Residual::Stream);
    tell(stream, "residual=stream", "its skips begin at the previous convolution");
    let mean = specs.iter().any(|s| s.average_strands);
    tell(mean, "average_strands=True", "it predicts from the given strand");
    if let Some(Published::Beluga(sizes)) = &model.network.architecture().published
        && sizes.output == HeadOutput::Class
    {
        told.push("a state dict has no sigmoid: PyTorch predicts logits with it".into());
    }
    if model.scaling.is_some() {
        told.push("targets were standardised in training: a .pth predicts them so, without the way back".into());
    }
    told
}

/// Whether a weighted pool has windows that leave its map.
fn pads_weighted(plan: &Plan) -> bool {
    let layers = || plan.first_block.iter().chain(&plan.second_block).flat_map(|block| &block.layers);
    let skips = layers().flat_map(|layer| &layer.skip).flat_map(|skip| &skip.pools);
    let attention = plan.attention.iter().flat_map(|block| &block.pool);
    let mut pools = plan.pool.iter().chain(layers().flat_map(|layer| &layer.pool)).chain(skips).chain(attention);
    pools.any(|pool| pool.kind == PoolKind::Weighted && pool.padding != (0, 0))
}
