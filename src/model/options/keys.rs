//! Every option of a model and its training: name, default, whether this version does it.

/// Table of a TOML configuration in which an option stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// `[model]`: the architecture.
    Model,
    /// `[train]`: losses, optimiser, loop, augmentation.
    Train,
}

/// What happens with an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Any valid value is used.
    Full,
    /// Only the default is accepted; the text says what to do instead.
    DefaultOnly(&'static str),
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// Name before the `=`.
    pub name: &'static str,
    /// Default in the text form of an option string.
    pub default: &'static str,
    /// Where it stands in a TOML file.
    pub table: Table,
    /// Whether this version does it.
    pub support: Support,
}

/// The option of that name.
pub fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Keys of the `[data]` table of a TOML configuration; its values belong to the program that reads the data.
pub const DATA_KEYS: &[&str] = &[
    "seq_column",
    "name_column",
    "target_columns",
    "group_until",
    "delimiter",
    "reverse_complement",
    "crossvalidation",
    "split_outclasses",
    "average_outclasses",
    "add_fileclasses",
    "select_tracks",
    "transform",
];

/// What stands on the command line alone.
pub const COMMAND_KEYS: &[&str] = &["sequences", "targets", "out", "outdir", "addname", "outname"];

/// Options that follow from the data or the command line, so that an option string must not set them.
pub const DERIVED_KEYS: &[&str] = &["n_features", "l_seqs", "l_out", "n_classes", "reverse_complement", "outname"];

/// Options of models with several inputs.
pub const JOINT_KEYS: &[&str] = &[
    "cnn_embedding",
    "n_combine_layers",
    "combine_function",
    "combine_widening",
    "combine_residual",
    "shared_embedding",
    "input_to_combinefunc",
    "outlog",
    "outlogoffset",
    "shared_cnns",
    "cnn_lr",
];

/// Options of base-resolution models.
pub const PROFILE_KEYS: &[&str] = &[
    "attention_multiplier",
    "final_kernel",
    "final_strides",
    "predict_from_dist",
    "count_function",
    "stranded_tracks",
    "count_loss_weight",
];

/// Options that base-resolution models do not have.
pub const FLAT_KEYS: &[&str] = &[
    "fclayer_size",
    "nfc_layers",
    "nfc_residuals",
    "fc_function",
    "layer_widening",
    "interaction_layer",
    "neuralnetout",
    "fc_batch_norm",
    "fc_dropout",
];

/// Defaults of base-resolution models that are not those of the others.
pub const PROFILE_DEFAULTS: &[(&str, &str)] =
    &[("max_pooling", "False"), ("init_epochs", "3"), ("init_adjust", "True"), ("write_steps", "10")];

const fn model(name: &'static str, default: &'static str) -> Key {
    Key { name, default, table: Table::Model, support: Support::Full }
}

const fn train(name: &'static str, default: &'static str) -> Key {
    Key { name, default, table: Table::Train, support: Support::Full }
}

const fn fixed(name: &'static str, default: &'static str, instead: &'static str) -> Key {
    Key { name, default, table: Table::Model, support: Support::DefaultOnly(instead) }
}

const fn fixed_train(name: &'static str, default: &'static str, instead: &'static str) -> Key {
    Key { name, default, table: Table::Train, support: Support::DefaultOnly(instead) }
}

const PER_KERNEL: &str = "networks per kernel are not built; use the default";
const PRESET: &str = "the first layer is always learned from random values; use the default";
const GAPPED: &str = "gapped convolutions and what follows them are not built; use dilated_convolutions";
const LONG: &str = "use n_attention for interactions over long distances";
const BROKEN_SKIP: &str = "skips around whole blocks do not work in the reference; use the residual of every n layers";
const CURRICULUM: &str = "training always sees whole sequences; use the default";
const PENALTY: &str = "use optim_weight_decay";

/// All options, in the order in which the reference writes its parameter file; those that the reference lacks stand
/// last. Names and defaults are the reference's.
pub const KEYS: &[Key] = &[
    train("seed", "101010"),
    train("verbose", "True"),
    train("loss_function", "MSE"),
    train("validation_loss", "None"),
    train("loss_weights", "1"),
    train("val_loss_weights", "1"),
    train("keepmodel", "False"),
    model("complement_pool", "max"),
    train("shift_sequence", "None"),
    train("random_shift", "False"),
    fixed_train("reverse_sign", "False", "use the default"),
    fixed_train("smooth_onehot", "0", "use shift_sequence or augment_reverse_complement"),
    fixed_train("restart", "False", "train once more with another seed"),
    train("adjust_lr", "F"),
    train("kernel_lr", "None"),
    model("num_kernels", "0"),
    model("l_kernels", "7"),
    model("kernel_bias", "True"),
    model("kernel_function", "GELU"),
    fixed("nlconv", "False", PER_KERNEL),
    fixed("nlconv_position_wise", "False", PER_KERNEL),
    fixed("nlconv_fclayer", "None", PER_KERNEL),
    fixed("nlconv_explicit", "False", PER_KERNEL),
    fixed("nlconv_nfc", "5", PER_KERNEL),
    model("net_function", "GELU"),
    fixed("kernel_thresholding", "0", "use the default"),
    fixed("fixed_kernels", "None", PRESET),
    fixed("motif_cutoff", "None", PRESET),
    fixed("warm_start", "False", PRESET),
    fixed("hot_start", "False", PRESET),
    fixed("hot_alpha", "None", PRESET),
    model("max_pooling", "True"),
    model("mean_pooling", "False"),
    model("weighted_pooling", "False"),
    model("pooling_size", "None"),
    model("pooling_steps", "None"),
    model("dilated_convolutions", "0"),
    model("strides", "1"),
    model("dilations", "1"),
    model("conv_increase", "1.0"),
    model("dilpooling_residual", "1"),
    model("dilpooling_steps", "1"),
    fixed("dilresidual_entire", "False", BROKEN_SKIP),
    model("dilresidual_concat", "False"),
    model("l_dilkernels", "None"),
    model("dilmax_pooling", "0"),
    model("dilmean_pooling", "0"),
    model("dilweighted_pooling", "0"),
    model("embedding_convs", "0"),
    fixed("n_transformer", "0", LONG),
    model("n_attention", "0"),
    fixed("n_interpolated_conv", "0", LONG),
    fixed("n_hyenaconv", "0", LONG),
    model("n_distattention", "0"),
    model("dim_distattention", "2.5"),
    model("dim_embattention", "None"),
    model("sum_attention", "False"),
    model("attentionmax_pooling", "0"),
    model("attentionweighted_pooling", "0"),
    fixed("attentionconv_pooling", "1", LONG),
    fixed("attention_multiplier", "0.5", LONG),
    model("transformer_convolutions", "0"),
    model("trpooling_residual", "1"),
    model("trpooling_steps", "1"),
    fixed("trresidual_entire", "False", BROKEN_SKIP),
    model("trstrides", "1"),
    model("trdilations", "1"),
    model("trconv_dim", "None"),
    model("l_trkernels", "None"),
    model("trmean_pooling", "0"),
    model("trmax_pooling", "0"),
    model("trweighted_pooling", "0"),
    model("final_kernel", "1"),
    model("final_strides", "1"),
    model("predict_from_dist", "False"),
    fixed("gapped_convs", "None", GAPPED),
    fixed("gapconv_residual", "True", GAPPED),
    fixed("gapconv_pooling", "False", GAPPED),
    fixed("final_convolutions", "0", GAPPED),
    fixed("final_conv_dim", "None", GAPPED),
    fixed("l_finalkernels", "4", GAPPED),
    fixed("finalmax_pooling", "0", GAPPED),
    fixed("finalmean_pooling", "0", GAPPED),
    fixed("finalweighted_pooling", "1", GAPPED),
    fixed("finalstrides", "1", GAPPED),
    fixed("finaldilations", "1", GAPPED),
    model("fclayer_size", "None"),
    model("nfc_layers", "0"),
    model("nfc_residuals", "0"),
    model("fc_function", "None"),
    model("layer_widening", "1.1"),
    fixed("interaction_layer", "False", "use nfc_layers"),
    fixed("neuralnetout", "0", "use nfc_layers"),
    fixed_train("l2reg_last", "0", PENALTY),
    fixed_train("l1reg_last", "0", PENALTY),
    fixed_train("l1_kernel", "0", PENALTY),
    model("batch_norm", "False"),
    model("conv_batch_norm", "False"),
    model("attention_batch_norm", "False"),
    model("fc_batch_norm", "False"),
    model("dropout", "0"),
    model("conv_dropout", "0"),
    model("attention_dropout", "0"),
    model("fc_dropout", "0"),
    train("epochs", "1000"),
    train("lr", "0.01"),
    train("batchsize", "None"),
    train("patience", "25"),
    train("init_epochs", "0"),
    train("init_adjust", "False"),
    train("load_previous", "True"),
    train("device", "None"),
    train("checkval", "True"),
    train("writeloss", "True"),
    train("write_steps", "1"),
    train("optimizer", "Adam"),
    train("optim_params", "None"),
    train("optim_weight_decay", "None"),
    model("outclass", "Linear"),
    train("generate_paramfile", "True"),
    train("add_outname", "True"),
    train("finetuning", "True"),
    train("finetuning_patience", "3"),
    train("finetuning_rounds", "5"),
    train("finetuning_rate", "0.2"),
    train("warm_up_epochs", "7"),
    train("warm_up_lr_factor", "4.0"),
    train("warmup_function", "Exp"),
    train("reduce_lr_after", "1"),
    train("trainvariability_cut", "0.3"),
    train("trainvariability_cutn", "25"),
    train("valtrain_ratio", "0."),
    fixed_train("sequence_warmup", "False", CURRICULUM),
    fixed_train("min_sequence_warmup", "200", CURRICULUM),
    fixed_train("sequence_warmup_start", "1", CURRICULUM),
    fixed_train("sequence_warmup_factor", "2.", CURRICULUM),
    fixed_train("sequence_warmup_location", "c", CURRICULUM),
    // From here on: not in the reference. The defaults leave its behaviour as it is.
    model("alphabet", "ACGT"),
    model("pool_padding", "exclude"),
    model("pool_align", "both"),
    model("average_strands", "False"),
    model("residual", "reference"),
    train("augment_reverse_complement", "False"),
    train("dropout_seed", "None"),
    train("schedule", "reference"),
    train("pct_start", "0.3"),
    train("div_factor", "25"),
    train("final_div_factor", "1e4"),
    train("cycle_momentum", "True"),
    train("base_momentum", "0.85"),
    train("max_momentum", "0.95"),
    train("min_lr", "0"),
    train("loss_reduction", "sum"),
    train("drop_last", "reference"),
    train("standardize_targets", "False"),
    train("select", "loss"),
    train("lr_of", "None"),
    train("freeze", "None"),
    model("count_function", "GELU"),
    model("stranded_tracks", "False"),
    train("count_loss_weight", "0"),
    // Of models with several inputs; also the reference's.
    model("cnn_embedding", "512"),
    model("n_combine_layers", "3"),
    model("combine_function", "GELU"),
    model("combine_widening", "1.1"),
    model("combine_residual", "0"),
    model("shared_embedding", "True"),
    model("input_to_combinefunc", "ALL"),
    model("outlog", "2"),
    model("outlogoffset", "2"),
    fixed("shared_cnns", "False", "every input has a network of its own; use the default"),
    fixed_train("cnn_lr", "None", "use lr"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::options::Value;

    #[test]
    fn names_are_unique_and_defaults_are_values() {
        for (i, key) in KEYS.iter().enumerate() {
            assert!(KEYS[..i].iter().all(|other| other.name != key.name), "{} twice", key.name);
            assert!(Value::parse(key.default).is_ok(), "{}", key.name);
            assert!(!DERIVED_KEYS.contains(&key.name), "{}", key.name);
        }
        assert!([JOINT_KEYS, PROFILE_KEYS, FLAT_KEYS].concat().iter().all(|key| find(key).is_some()));
        assert!(PROFILE_DEFAULTS.iter().all(|(key, value)| find(key).is_some() && Value::parse(value).is_ok()));
    }
}
