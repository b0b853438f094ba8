//! The reference's `_model_params.dat` of a model that is there: the options that build it again.

use crate::error::{Error, Result};
use crate::model::options::keys::{FLAT_KEYS, KEYS, PROFILE_KEYS};
use crate::model::options::{DataFacts, InputFacts, Options, Origin, Value, resolve};
use crate::model::spec::*;

/// The last option with a line of its own in the reference's files; those behind it share the line `kwargs`.
const LAST_LINE: &str = "outclass";
/// The first option that the reference does not know; all behind it are ours.
const FIRST_OF_OURS: &str = "alphabet";
/// Options that the reference writes with a decimal point.
const DECIMAL: [&str; 6] = ["l2reg_last", "l1reg_last", "dropout", "conv_dropout", "attention_dropout", "fc_dropout"];

/// First keys of the file of a model with several inputs; the others follow in the order of [`KEYS`].
const FIRST_OF_SEVERAL: [&str; 49] = [
    "loss_function",
    "validation_loss",
    "loss_weights",
    "val_loss_weights",
    "n_features",
    "n_classes",
    "l_seqs",
    "n_inputs",
    "shared_cnns",
    "cnn_embedding",
    "n_combine_layers",
    "combine_function",
    "shared_embedding",
    "combine_widening",
    "combine_residual",
    "shift_sequence",
    "reverse_sign",
    "smooth_onehot",
    "epochs",
    "lr",
    "dropout",
    "batch_norm",
    "kernel_lr",
    "cnn_lr",
    "batchsize",
    "patience",
    "outclass",
    "outlog",
    "outlogoffset",
    "input_to_combinefunc",
    "outname",
    "optimizer",
    "optim_params",
    "optim_weight_decay",
    "verbose",
    "checkval",
    "init_epochs",
    "writeloss",
    "write_steps",
    "device",
    "load_previous",
    "init_adjust",
    "seed",
    "keepmodel",
    "generate_paramfile",
    "add_outname",
    "restart",
    "random_shift",
    "reverse_complement",
];

/// The parameter file of a model, lines in the reference's order; `outname` is the name that the model is stored under. Options
/// that only drg knows stand at the end where they are not what the reference does. Without a `training`, its options have their
/// defaults.
///
/// # Errors
/// [`Error::Unsupported`] for an architecture that no options describe.
pub fn params_text(model: &Architecture, training: Option<&TrainSpec>, outname: &str) -> Result<String> {
    let options = spec_options(model, training)?;
    let several = model.join.is_some();
    let lengths: Vec<Value> = model.inputs.iter().map(|i| number(i.length)).collect();
    let strands: Vec<Value> = model.inputs.iter().map(|i| Value::Bool(i.stem.strands.is_some())).collect();
    let place = |name: &str| KEYS.iter().position(|key| key.name == name).unwrap_or(KEYS.len());
    let (lines, ours) = (place(LAST_LINE) + 1, place(FIRST_OF_OURS));
    let kwargs = || {
        let given = KEYS[lines..ours].iter().filter_map(|key| Some((key.name, options.get(key.name)?)));
        let items: Vec<String> = given.map(|(key, value)| format!("'{key}': {}", quoted(value))).collect();
        format!("{{{}}}", items.join(", "))
    };
    let value = |key: &str| match key {
        "kwargs" => kwargs(),
        "n_features" => "4".into(),
        "n_inputs" => model.inputs.len().to_string(),
        "n_classes" => one_or_list(model.outputs().into_iter().map(|(_, tracks)| number(tracks)).collect()).to_string(),
        "l_seqs" => one_or_list(lengths.clone()).to_string(),
        "l_out" => model.bins().unwrap_or(0).to_string(),
        "reverse_complement" => one_or_list(strands.clone()).to_string(),
        "outname" => outname.into(),
        // The reference stores what follows from `batch_norm`.
        "conv_batch_norm" | "attention_batch_norm" | "fc_batch_norm" => {
            let all = options.value("batch_norm");
            (if all == Value::Bool(true) { all } else { options.value(key) }).to_string()
        }
        _ => match options.value(key).as_f64() {
            Some(x) if DECIMAL.contains(&key) && !several => Value::Float(x).to_string(),
            _ => options.value(key).to_string(),
        },
    };
    let mut keys: Vec<&str> = if several { FIRST_OF_SEVERAL.to_vec() } else { vec![] };
    let foreign = if model.bins().is_some() { FLAT_KEYS } else { PROFILE_KEYS };
    for key in &KEYS[..lines] {
        if keys.contains(&key.name) || foreign.contains(&key.name) {
            continue;
        }
        keys.push(key.name);
        match key.name {
            _ if several => {}
            "val_loss_weights" => keys.push("kwargs"),
            "keepmodel" => keys.extend(["n_features", "reverse_complement"]),
            "complement_pool" => {
                keys.push("l_seqs");
                keys.extend(model.bins().map(|_| "l_out"));
                keys.push("n_classes");
            }
            _ => {}
        }
    }
    if several {
        keys.push("kwargs");
    }
    // Files of the reference are read with its own padding.
    let padding = |key: &str| key == "pool_padding" && value(key) == PoolPadding::SequenceMin.name();
    let given = |key: &&str| options.get(key).is_some() && !keys.contains(key) && !padding(key);
    let others: Vec<&str> = KEYS[ours..].iter().map(|key| key.name).filter(given).collect();
    keys.extend(others);
    if !several {
        keys.push("outname");
    }
    let lines = keys.into_iter().map(|key| format!("{key} : {}\n", value(key)));
    Ok("training : True\n".to_string() + &lines.collect::<String>())
}

/// The options that [`resolve`](crate::model::options::resolve) turns into these. Names of modalities are no options; a skip that
/// is never taken becomes one after more layers than there are, because the reference cannot say it otherwise.
///
/// # Errors
/// [`Error::Unsupported`] for an architecture that no options describe.
pub fn spec_options(model: &Architecture, training: Option<&TrainSpec>) -> Result<Options> {
    let mut list = List(Options::new());
    let first = model.inputs.first().ok_or_else(|| {
        let what = "a published architecture, which no options of the reference describe; write the .pth alone";
        Error::Unsupported { op: "parameter file", what: what.into() }
    })?;
    list.stem(first);
    list.blocks(first);
    if let Some(attention) = &first.attention {
        list.attention(attention);
    }
    list.fc(first);
    list.norms(first);
    if let Some(profile) = &first.profile {
        list.profile(profile);
    }
    match &model.join {
        None => list.put("outclass", one_if_equal(first.heads.iter().map(|h| text(h.output.name())).collect())),
        Some(join) => list.join(first, join),
    }
    if let Some(both) = model.inputs.iter().find_map(|i| i.stem.strands) {
        list.put("complement_pool", text(both.name()));
    }
    if first.shift > 0 && training.is_none_or(|t| t.shift.is_none()) {
        list.put("shift_sequence", number(first.shift));
        list.put("random_shift", number(1));
    }
    list.ours(first);
    if let Some(training) = training {
        list.training(training);
    }
    let facts = DataFacts {
        inputs: (model.inputs.iter())
            .map(|i| InputFacts { length: i.length, reverse_complement: i.stem.strands.is_some() })
            .collect(),
        tracks: model.outputs().into_iter().map(|(_, tracks)| tracks).collect(),
        names: vec![],
        bins: model.bins(),
    };
    match resolve(&list.0, &facts) {
        Ok((same, _)) if canonical(&same) == canonical(model) => Ok(list.0),
        _ => {
            let what = "an architecture that no options of the reference describe; write the .pth alone";
            Err(Error::Unsupported { op: "parameter file", what: what.into() })
        }
    }
}

/// The same architecture without names, pools over everything and skips that are never taken: what can be said in several ways.
fn canonical(model: &Architecture) -> Architecture {
    let mut model = model.clone();
    for input in &mut model.inputs {
        let length = input.padded_length();
        input.heads.iter_mut().for_each(|head| head.name.clear());
        if let Some(pool) = &mut input.stem.pool {
            let size = *pool.size.get_or_insert(length);
            pool.stride.get_or_insert(size);
        }
        for block in input.first_block.iter_mut().chain(&mut input.second_block) {
            block.residual = block.residual.filter(|&every| every <= block.layers);
        }
    }
    model.join.iter_mut().flat_map(|join| &mut join.outputs).for_each(|output| output.name.clear());
    model
}

fn number(n: usize) -> Value {
    Value::Int(n as i64)
}

fn text(text: &str) -> Value {
    Value::Str(text.into())
}

/// A number as the user would write it: `8` rather than `8.0`.
fn real(x: f64) -> Value {
    if x.fract() == 0.0 && x.abs() < 1e15 { Value::Int(x as i64) } else { Value::Float(x) }
}

fn optional(n: Option<usize>) -> Value {
    n.map_or(Value::None, number)
}

/// One value where all are equal.
fn one_if_equal(mut values: Vec<Value>) -> Value {
    match values.iter().all(|v| *v == values[0]) && !values.is_empty() {
        true => values.remove(0),
        false => Value::List(values),
    }
}

fn numbers(numbers: &[usize]) -> Vec<Value> {
    numbers.iter().copied().map(number).collect()
}

/// A list, or its only value.
fn one_or_list(mut values: Vec<Value>) -> Value {
    if values.len() == 1 { values.remove(0) } else { Value::List(values) }
}

/// A value inside of a dictionary.
fn quoted(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), |text| format!("'{text}'"))
}

/// Options that are being gathered.
struct List(Options);

impl List {
    fn put(&mut self, key: &str, value: Value) {
        self.0.set(key, value, Origin::Flag("model")).expect("only names of the table are put");
    }

    /// What has another value than the default.
    fn unless_default(&mut self, key: &str, value: Value) {
        if !self.0.value(key).same(&value) {
            self.put(key, value);
        }
    }

    fn stem(&mut self, model: &ModelSpec) {
        let stem = &model.stem;
        self.put("num_kernels", number(stem.kernels));
        self.put("l_kernels", number(stem.width));
        self.put("kernel_bias", Value::Bool(stem.bias));
        self.put("kernel_function", text(stem.activation.name()));
        let kind = stem.pool.map(|pool| pool.kind);
        self.put("max_pooling", Value::Bool(matches!(kind, Some(PoolKind::Max | PoolKind::MeanMax))));
        self.put("mean_pooling", Value::Bool(matches!(kind, Some(PoolKind::Mean | PoolKind::MeanMax))));
        self.put("weighted_pooling", Value::Bool(kind == Some(PoolKind::Weighted)));
        if let Some(pool) = stem.pool {
            let size = pool.size.unwrap_or(model.padded_length());
            self.put("pooling_size", number(size));
            self.put("pooling_steps", number(pool.stride.unwrap_or(size)));
        }
    }

    fn blocks(&mut self, model: &ModelSpec) {
        let blocks = || model.first_block.iter().chain(&model.second_block);
        let inner = blocks().map(|b| b.activation).next().or(model.fc.as_ref().map(|fc| fc.activation));
        if let Some(activation) = inner {
            self.put("net_function", text(activation.name()));
        }
        if let Some(block) = blocks().next() {
            self.put("conv_increase", Value::Float(block.growth));
            self.put("conv_dropout", real(block.dropout));
        }
        if let Some(block) = &model.first_block {
            const POOLS: [&str; 3] = ["dilmax_pooling", "dilmean_pooling", "dilweighted_pooling"];
            self.block(block, ["dilated_convolutions", "l_dilkernels", "dilations", "strides"], POOLS, "dilpooling");
            self.put("dilresidual_concat", Value::Bool(block.concat));
        }
        if let Some(block) = &model.second_block {
            const POOLS: [&str; 3] = ["trmax_pooling", "trmean_pooling", "trweighted_pooling"];
            self.block(
                block,
                ["transformer_convolutions", "l_trkernels", "trdilations", "trstrides"],
                POOLS,
                "trpooling",
            );
            if let FirstChannels::Set(channels) = block.first {
                self.put("trconv_dim", number(channels));
            }
        }
        if let Some(channels) = model.embedding {
            self.put("embedding_convs", number(channels));
        }
    }

    fn block(&mut self, block: &BlockSpec, keys: [&str; 4], pools: [&str; 3], prefix: &str) {
        self.put(keys[0], number(block.layers));
        self.put(keys[1], number(block.width));
        self.put(keys[2], one_if_equal(numbers(&block.dilations)));
        self.put(keys[3], one_if_equal(numbers(&block.strides)));
        self.put(&format!("{prefix}_residual"), number(block.residual.unwrap_or(block.layers + 1)));
        if let Some(pool) = block.pool {
            let [max, mean, weighted] = pools;
            let key = match pool.kind {
                PoolKind::Max => max,
                PoolKind::Weighted => weighted,
                PoolKind::Mean | PoolKind::MeanMax => mean,
            };
            self.put(key, number(pool.size));
            self.put(&format!("{prefix}_steps"), number(pool.every));
        }
    }

    fn attention(&mut self, attention: &AttentionSpec) {
        self.put("n_attention", number(attention.blocks));
        self.put("n_distattention", number(attention.heads));
        self.put("dim_distattention", real(attention.key_factor));
        self.put("dim_embattention", optional(attention.value_dim));
        self.put("sum_attention", Value::Bool(attention.sum_heads));
        self.put("attention_dropout", real(attention.dropout));
        if let Some(pool) = attention.pool {
            let weighted = pool.kind == PoolKind::Weighted;
            self.put(if weighted { "attentionweighted_pooling" } else { "attentionmax_pooling" }, number(pool.size));
        }
    }

    fn fc(&mut self, model: &ModelSpec) {
        let Some(fc) = &model.fc else { return };
        self.put("fclayer_size", optional(fc.width));
        self.put("nfc_layers", one_or_list(numbers(&fc.layers)));
        self.put("nfc_residuals", number(fc.residual.unwrap_or(0)));
        self.put("fc_function", text(fc.activation.name()));
        self.put("layer_widening", real(fc.widening));
        self.put("fc_dropout", real(fc.dropout));
    }

    fn profile(&mut self, profile: &ProfileSpec) {
        self.put("final_kernel", number(profile.width));
        self.put("final_strides", number(profile.stride));
        self.put("predict_from_dist", Value::Bool(profile.counts.is_some()));
        if let Some(f) = profile.counts {
            self.unless_default("count_function", text(f.name()));
        }
        self.put("dropout", real(profile.dropout));
        self.unless_default("stranded_tracks", Value::Bool(profile.stranded));
    }

    /// `batch_norm` stands for all norms but those of the heads.
    fn norms(&mut self, model: &ModelSpec) {
        let conv = model.first_block.iter().chain(&model.second_block).next().map(|b| b.batch_norm);
        let attention = model.attention.as_ref().map(|a| a.batch_norm);
        let fc = model.fc.as_ref().map(|fc| fc.batch_norm);
        let all = fc == Some(true) && !model.head_batch_norm;
        self.put("batch_norm", Value::Bool(all));
        if !all {
            self.put("conv_batch_norm", Value::Bool(conv == Some(true)));
            self.put("attention_batch_norm", Value::Bool(attention == Some(true)));
            self.put("fc_batch_norm", Value::Bool(model.head_batch_norm));
        }
    }

    /// What is made of the networks of several inputs, whose heads are those of the first.
    fn join(&mut self, first: &ModelSpec, join: &JoinSpec) {
        let outputs = &join.outputs;
        let route = |o: &OutputSpec| Value::List(numbers(&o.inputs));
        self.put("input_to_combinefunc", Value::List(outputs.iter().map(route).collect()));
        let (mut classes, mut layers, mut functions) = (vec![], vec![], vec![]);
        let mut stacked = false;
        for o in outputs {
            match &o.by {
                Combination::Relation { relation, head, log } => {
                    classes.push(Value::Str(match log {
                        Some(_) => format!("LOGXPLUS{}", relation.name().to_uppercase()),
                        None => relation.name().into(),
                    }));
                    if let Some(LogScale { base, offset }) = *log {
                        self.put("outlog", real(base));
                        self.put("outlogoffset", real(offset));
                    }
                    layers.push(number(0));
                    functions.push(first.heads.get(*head).map_or(HeadOutput::Linear, |h| h.output));
                }
                Combination::Stack { fc, output, .. } => {
                    stacked = true;
                    classes.push(text(output.name()));
                    layers.push(number(fc.as_ref().map_or(0, |fc| fc.layers.iter().sum())));
                    functions.push(match fc {
                        Some(fc) => HeadOutput::Function(fc.activation),
                        None => first.heads.first().map_or(HeadOutput::Linear, |h| h.output),
                    });
                    if let Some(fc) = fc {
                        self.put("combine_widening", real(fc.widening));
                        self.put("combine_residual", number(fc.residual.unwrap_or(0)));
                        if fc.dropout > 0.0 {
                            self.put("dropout", real(fc.dropout));
                        }
                        if fc.batch_norm {
                            self.put("batch_norm", Value::Bool(true));
                        }
                    }
                }
            }
        }
        let heads: Vec<usize> = first.heads.iter().map(|h| h.tracks).collect();
        self.put("cnn_embedding", one_or_list(numbers(&heads)));
        self.put("shared_embedding", Value::Bool(stacked || first.heads.len() == 1));
        self.put("outclass", one_or_list(classes));
        self.put("n_combine_layers", one_or_list(layers));
        self.put("combine_function", one_or_list(functions.iter().map(|f| text(f.name())).collect()));
    }

    /// What the reference does not know.
    fn ours(&mut self, model: &ModelSpec) {
        self.unless_default("alphabet", text(&model.alphabet));
        self.put("pool_padding", text(model.pool_padding.name()));
        self.unless_default("pool_align", text(model.pool_align.name()));
        self.unless_default("residual", text(model.residual.name()));
        self.unless_default("average_strands", Value::Bool(model.average_strands));
    }

    fn training(&mut self, t: &TrainSpec) {
        let each = |value: &dyn Fn(&LossSpec) -> Value| one_if_equal(t.losses.iter().map(value).collect());
        self.put("loss_function", each(&|l| text(l.train.name())));
        if t.losses.iter().any(|l| l.validation != Some(l.train)) {
            self.put("validation_loss", each(&|l| text(l.validation.map_or("None", LossName::name))));
        }
        self.put("loss_weights", each(&|l| real(l.weight)));
        self.put("val_loss_weights", each(&|l| real(l.validation_weight)));
        self.unless_default("count_loss_weight", each(&|l| real(l.count_weight)));
        self.put("lr", real(t.lr));
        self.put("kernel_lr", t.kernel_lr.map_or(Value::None, real));
        let list = |texts: Vec<String>| match texts.is_empty() {
            true => Value::None,
            false => Value::List(texts.into_iter().map(Value::Str).collect()),
        };
        self.unless_default("lr_of", list(t.lr_of.iter().map(|(p, rate)| format!("{p}={rate}")).collect()));
        self.unless_default("freeze", list(t.freeze.clone()));
        self.put("batchsize", optional(t.batch_size));
        self.put("epochs", number(t.epochs));
        self.put("patience", number(t.patience));
        self.put("checkval", Value::Bool(t.check_validation));
        self.put("load_previous", Value::Bool(t.load_best));
        self.put("seed", Value::Int(t.seed as i64));
        self.put("keepmodel", Value::Bool(t.keep_model));
        self.put("writeloss", Value::Bool(t.write_loss));
        self.put("write_steps", number(t.write_steps));
        self.optimizer(t);
        match t.fine_tuning {
            None => self.put("finetuning", Value::Bool(false)),
            Some(f) => {
                self.unless_default("finetuning_patience", number(f.patience));
                self.unless_default("finetuning_rounds", number(f.rounds));
                self.unless_default("finetuning_rate", real(f.rate));
            }
        }
        if let Some(shift) = &t.shift {
            let all = shift.offsets.iter().copied().eq(0..shift.offsets.len());
            let list = || Value::List(numbers(&shift.offsets));
            self.put("shift_sequence", if all { number(shift.offsets.len() - 1) } else { list() });
            self.put("random_shift", number(shift.draws));
        }
        self.schedule(&t.schedule);
        self.unless_default("augment_reverse_complement", Value::Bool(t.reverse_complement));
        if let Some(seed) = t.dropout_seed {
            self.put("dropout_seed", Value::Int(seed as i64));
        }
        self.unless_default("loss_reduction", text(t.loss_reduction.name()));
        self.unless_default("drop_last", text(t.drop_last.name()));
        self.unless_default("standardize_targets", Value::Bool(t.standardize_targets));
        self.unless_default("select", text(t.select.name()));
    }

    fn optimizer(&mut self, t: &TrainSpec) {
        let pair = |(a, b): (f64, f64)| {
            Some(Value::Tuple(vec![Value::Float(a), Value::Float(b)])).filter(|_| (a, b) != (0.9, 0.999))
        };
        let unless = |x: f64, default: f64| (x != default).then(|| real(x));
        let (name, given) = match t.optimizer {
            Optimizer::Sgd { momentum, nesterov: false } => ("SGD", unless(momentum, 0.0)),
            Optimizer::Sgd { momentum, nesterov: true } => ("NAG", unless(momentum, 0.7)),
            Optimizer::Adagrad { lr_decay } => ("Adagrad", unless(lr_decay, 0.0)),
            Optimizer::Adadelta { rho } => ("Adadelta", unless(rho, 0.9)),
            Optimizer::Adam { betas } => ("Adam", pair(betas)),
            Optimizer::NAdam { betas, .. } => ("NAdam", pair(betas)),
            Optimizer::AdamW { betas, amsgrad: false } => ("AdamW", pair(betas)),
            Optimizer::AdamW { betas, amsgrad: true } => ("Amsgrad", pair(betas)),
        };
        self.put("optimizer", text(name));
        self.put("optim_params", given.unwrap_or(Value::None));
        let decay = unless(t.weight_decay, if name == "AdamW" { 0.01 } else { 0.0 });
        self.put("optim_weight_decay", decay.unwrap_or(Value::None));
    }

    fn schedule(&mut self, schedule: &Schedule) {
        match *schedule {
            Schedule::Reference { warm_up, control } => {
                self.unless_default("warm_up_epochs", number(warm_up.epochs));
                self.unless_default("warm_up_lr_factor", real(warm_up.factor));
                self.unless_default("warmup_function", text(warm_up.shape.name()));
                self.unless_default("reduce_lr_after", number(control.reduce_lr_after));
                self.unless_default("trainvariability_cut", real(control.variability_cut));
                self.unless_default("trainvariability_cutn", number(control.variability_count));
                self.unless_default("valtrain_ratio", real(control.valtrain_ratio));
                self.put("init_epochs", number(control.init_epochs));
                self.put("init_adjust", Value::Bool(control.init_adjust));
            }
            Schedule::OneCycle { pct_start, div_factor, final_div_factor, momentum } => {
                self.put("schedule", text("one-cycle"));
                self.unless_default("pct_start", real(pct_start));
                self.unless_default("div_factor", real(div_factor));
                self.unless_default("final_div_factor", real(final_div_factor));
                match momentum {
                    None => self.put("cycle_momentum", Value::Bool(false)),
                    Some((base, max)) => {
                        self.unless_default("base_momentum", real(base));
                        self.unless_default("max_momentum", real(max));
                    }
                }
            }
            Schedule::Cosine { min_lr } => {
                self.put("schedule", text("cosine"));
                self.unless_default("min_lr", real(min_lr));
            }
            Schedule::Constant => self.put("schedule", text("constant")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::cases::cases;
    use crate::model::options::{parse_option_string, parse_params_file};

    /// Model and training that the written file gives again.
    fn again(model: &Architecture, training: &TrainSpec) -> (Architecture, TrainSpec) {
        let text = params_text(model, Some(training), "mine").unwrap();
        let file = parse_params_file(&text, Path::new("mine_model_params.dat")).unwrap();
        assert_eq!(file.outname.as_deref(), Some("mine"));
        resolve(&file.options, &file.facts).unwrap()
    }

    #[test]
    fn files_build_the_same_model_and_training() {
        for case in cases() {
            let options = parse_option_string(&case.cnn).unwrap();
            let Ok((model, training)) = resolve(&options, &case.facts) else { continue };
            let (same_model, same_training) = again(&model, &training);
            assert_eq!(same_model.plan().unwrap(), model.plan().unwrap(), "{}", case.name);
            assert_eq!(same_training, training, "{}", case.name);
            // A second time nothing is left to be put differently.
            assert_eq!(again(&same_model, &training).0, same_model, "{}", case.name);
        }
    }

    #[test]
    fn options_of_ours_and_less_common_ones_come_back() {
        let facts = DataFacts::single(90, vec![2, 1], false);
        for text in [
            "num_kernels=4+residual=stream+pool_align=right+pool_padding=exclude+alphabet=AGCT+average_strands=True",
            "num_kernels=4+shift_sequence=[1,4]+random_shift=2+optimizer=NAG+optim_weight_decay=0.1+schedule=one-cycle+pct_start=0.2",
            "num_kernels=4+optimizer=AdamW+optim_params=(0.8,0.9)+schedule=cosine+min_lr=1e-6+finetuning=False+loss_weights=[1,0.5]",
            "num_kernels=4+max_pooling=False+validation_loss=['MSE','None']+loss_function=['MSE','L1Loss']+schedule=constant",
            "num_kernels=4+lr_of=[convolutions.*=0.001,*.bias=0]+freeze=classifier.*",
            "num_kernels=4+transformer_convolutions=2+trconv_dim=6+trpooling_residual=0+cycle_momentum=False+dropout_seed=3",
            "num_kernels=4+batch_norm=True+nfc_layers=2+outclass=['Class','EXP']+pooling_size=6+pooling_steps=2+warmup_function=Linear",
        ] {
            let (model, training) = resolve(&parse_option_string(text).unwrap(), &facts).unwrap();
            let (same_model, same_training) = again(&model, &training);
            assert_eq!(same_model.plan().unwrap(), model.plan().unwrap(), "{text}");
            let own = |m: &Architecture| {
                let m = &m.inputs[0];
                (m.pool_padding, m.pool_align, m.residual, m.alphabet.clone(), m.average_strands, m.shift)
            };
            assert_eq!((own(&same_model), same_training), (own(&model), training), "{text}");
        }
    }

    #[test]
    fn architectures_without_options_are_refused() {
        let case = cases().into_iter().find(|c| c.name.contains("01_baseline")).unwrap();
        let (model, _) = resolve(&parse_option_string(&case.cnn).unwrap(), &case.facts).unwrap();
        let changed = |change: &dyn Fn(&mut ModelSpec)| {
            let mut other = model.clone();
            change(&mut other.inputs[0]);
            params_text(&other, None, "x").map_err(|e| e.to_string())
        };
        let block = |spec: &mut ModelSpec| spec.second_block.as_mut().unwrap().dropout = 0.3;
        assert!(changed(&|spec| block(spec)).unwrap_err().contains("no options of the reference describe"));
        let norms = |spec: &mut ModelSpec| {
            spec.fc.as_mut().unwrap().batch_norm = true;
            spec.first_block.as_mut().unwrap().batch_norm = false;
        };
        assert!(changed(&|spec| norms(spec)).is_err());
        assert!(changed(&|_| ()).is_ok());
    }
}
