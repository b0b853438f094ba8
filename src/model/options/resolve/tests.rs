//! Option strings and parameter files of the reference against what they must resolve to.

use super::*;
use crate::model::cases::cases;
use crate::model::options::{parse_option_string, parse_params_file};

fn facts(tracks: &[usize]) -> DataFacts {
    DataFacts::single(400, tracks.to_vec(), true)
}

fn ok(text: &str, tracks: &[usize]) -> (ModelSpec, TrainSpec) {
    let (mut model, training) = resolve(&parse_option_string(text).unwrap(), &facts(tracks)).unwrap();
    (model.inputs.remove(0), training)
}

#[test]
fn defaults_are_the_references() {
    let (model, train) = ok("num_kernels=8", &[3]);
    let pool = Pooling { kind: PoolKind::Max, size: None, stride: None };
    assert_eq!((model.stem.width, model.stem.pool, model.stem.strands), (7, Some(pool), Some(StrandPool::Max)));
    assert_eq!((model.fc, model.pool_padding, model.residual), (None, PoolPadding::Exclude, Residual::Reference));
    assert_eq!(
        train.losses,
        [LossSpec {
            train: LossName::Mse,
            weight: 1.0,
            validation: Some(LossName::Mse),
            validation_weight: 1.0,
            count_weight: 0.0
        }]
    );
    assert_eq!(train.optimizer, Optimizer::Adam { betas: (0.9, 0.999) });
    assert_eq!((train.lr, train.epochs, train.patience, train.seed, train.batch_size), (0.01, 1000, 25, 101010, None));
    assert_eq!(train.fine_tuning, Some(FineTuning { patience: 3, rounds: 5, rate: 0.2 }));
    let warm_up = WarmUp { epochs: 7, factor: 4.0, shape: WarmUpShape::Exp };
    assert!(matches!(train.schedule, Schedule::Reference { warm_up: w, .. } if w == warm_up));
}

#[test]
fn rates_of_patterns_and_frozen_tensors() {
    let train = ok("num_kernels=2+freeze=a.*+lr_of=[b.*=1e-4,c=0]", &[1]).1;
    assert_eq!((train.freeze.clone(), train.lr_of.len()), (vec!["a.*".to_string()], 2));
    assert_eq!(train.lr_of, [("b.*".to_string(), 1e-4), ("c".to_string(), 0.0)]);
    for text in ["lr_of=b.*", "lr_of=b.*=-1", "lr_of=b.*=x", "lr_of=3", "freeze=[1]", "freeze=True"] {
        let options = parse_option_string(&format!("num_kernels=2+{text}")).unwrap();
        let message = resolve(&options, &facts(&[1])).unwrap_err().to_string();
        assert!(message.contains("a pattern of tensor names"), "{text}: {message}");
    }
    // Files of before.
    let mut json = serde_json::to_value(&train).unwrap();
    let table = json.as_object_mut().unwrap();
    assert!(table.remove("freeze").is_some() && table.remove("lr_of").is_some());
    let old: TrainSpec = serde_json::from_value(json).unwrap();
    assert_eq!(old, TrainSpec { freeze: vec![], lr_of: vec![], ..train });
}

/// `basemodel`, `transmodel` and `training` of the seed commands, with the losses of commands A and B.
#[test]
fn the_seed_commands() {
    let training = "conv_batch_norm=True+fc_dropout=0.1+lr=0.00001+patience=10+batchsize=8+optimizer=SGD+optim_params=0.9+device=cuda:0\
        +keepmodel=True+seed=1+finetuning_patience=3+finetuning_rounds=2+finetuning_rate=0.1+init_adjust=False+warm_up_epochs=4";
    let base = "num_kernels=300+l_kernels=15+max_pooling=False+weighted_pooling=True+pooling_size=4+net_function=GELU\
        +dilated_convolutions=3+l_dilkernels=11+dilations=[1,2,4]+transformer_convolutions=4+l_trkernels=11+trweighted_pooling=6\
        +fclayer_size=1024+nfc_layers=3";
    let trans = "num_kernels=300+l_kernels=15+max_pooling=False+weighted_pooling=True+pooling_size=4+net_function=GELU\
        +dilated_convolutions=3+l_dilkernels=11+dilations=[1,2,4]+dilweighted_pooling=10+dilpooling_steps=3+n_attention=1\
        +n_distattention=4+dim_distattention=1.8+transformer_convolutions=4+l_trkernels=11+trweighted_pooling=4+fclayer_size=1024\
        +nfc_layers=3";
    let a = format!("loss_function=Correlationmse+validation_loss=Correlationdata+{base}+{training}");
    let (model, train) = ok(&a, &[77]);
    let block = model.first_block.unwrap();
    assert_eq!((block.dilations, block.width, block.batch_norm, block.bias), (vec![1, 2, 4], 11, true, false));
    let second = model.second_block.unwrap();
    let pool = BlockPool { kind: PoolKind::Weighted, size: 6, every: 1 };
    assert_eq!((second.pool, second.bias, second.dilations), (Some(pool), true, vec![1; 4]));
    let fc = model.fc.unwrap();
    assert_eq!((fc.width, fc.layers, fc.dropout, fc.batch_norm), (Some(1024), vec![3], 0.1, false));
    assert_eq!(train.optimizer, Optimizer::Sgd { momentum: 0.9, nesterov: false });
    assert_eq!(
        (train.lr, train.batch_size, train.patience, train.keep_model, train.weight_decay),
        (1e-5, Some(8), 10, true, 0.0)
    );
    assert_eq!(train.losses[0].validation, Some(LossName::CorrelationData));

    let b =
        format!("loss_function=Correlationmse+validation_loss=['Correlationdata','None','None']+{trans}+{training}");
    let (model, train) = ok(&b, &[77, 77, 70]);
    let attention = model.attention.as_ref().unwrap();
    assert_eq!((attention.heads, attention.key_factor, attention.value_dim), (4, 1.8, None));
    assert_eq!(
        model.first_block.as_ref().unwrap().pool,
        Some(BlockPool { kind: PoolKind::Weighted, size: 10, every: 3 })
    );
    assert_eq!(
        train.losses.iter().map(|l| l.validation).collect::<Vec<_>>(),
        [Some(LossName::CorrelationData), None, None]
    );
    assert_eq!((model.tracks(), model.heads[2].name.as_str()), (224, "2"));
}

#[test]
fn specs_round_trip_through_json_and_toml() {
    for case in cases() {
        let Ok((model, train)) = resolve(&parse_option_string(&case.cnn).unwrap(), &case.facts) else { continue };
        let text = serde_json::to_string(&(&model, &train)).unwrap();
        assert_eq!(serde_json::from_str::<(Architecture, TrainSpec)>(&text).unwrap(), (model.clone(), train.clone()));
        assert_eq!(toml::from_str::<Architecture>(&toml::to_string(&model).unwrap()).unwrap(), model);
        assert_eq!(toml::from_str::<TrainSpec>(&toml::to_string(&train).unwrap()).unwrap(), train);
    }
    let (model, train) = ok("num_kernels=3+schedule=one-cycle+optimizer=AdamW+shift_sequence=2+random_shift=1", &[1]);
    let text = serde_json::to_string(&(&model, &train)).unwrap();
    assert_eq!(serde_json::from_str::<(ModelSpec, TrainSpec)>(&text).unwrap(), (model, train));
}

#[test]
fn parameter_files_say_the_same_as_option_strings() {
    let shared = std::env::var_os("DRG_SHARED")
        .map_or_else(|| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), std::path::PathBuf::from);
    for case in cases().into_iter().filter(|case| case.tensors.is_some()) {
        let folder = shared.join("fixtures").join(&case.name);
        let name = if folder.join("model_params.dat").exists() { "model_params.dat" } else { "ref_model_params.dat" };
        let path = folder.join(name);
        let Ok(text) = std::fs::read_to_string(&path) else {
            eprintln!("skipped: {} is missing", path.display());
            continue;
        };
        let file = parse_params_file(&text, &path).unwrap();
        let mut facts = file.facts.clone();
        if facts.inputs.len() > 1 {
            // The file says that some input is read on both strands, not which.
            assert_eq!(facts.inputs[0].reverse_complement, case.facts.inputs.iter().any(|i| i.reverse_complement));
            facts.inputs.clone_from(&case.facts.inputs);
        }
        assert_eq!(facts, case.facts, "{}", case.name);
        assert!(file.outname.unwrap().ends_with(&case.outname), "{}", case.name);
        let (mut model, train) = resolve(&file.options, &facts).unwrap();
        let (mut expected, wanted) = resolve(&parse_option_string(&case.cnn).unwrap(), &case.facts).unwrap();
        assert!(model.inputs.iter().all(|i| i.pool_padding == PoolPadding::SequenceMin));
        expected.inputs.iter_mut().for_each(|i| i.pool_padding = PoolPadding::SequenceMin);
        if case.name.starts_with("09e") {
            expected.inputs[0].stem.pool = Some(Pooling { kind: PoolKind::Max, size: Some(124), stride: None });
        }
        if facts.inputs.len() > 1 {
            // Channels that are kept are a number there.
            assert_eq!(model.plan().unwrap(), expected.plan().unwrap(), "{}", case.name);
            model.inputs.iter_mut().zip(&expected.inputs).for_each(|(a, b)| a.second_block.clone_from(&b.second_block));
        }
        assert_eq!(model, expected, "{}", case.name);
        assert_eq!(train, wanted, "{}", case.name);
    }
}

#[test]
fn batch_norm_alone_leaves_the_head_without() {
    let (model, _) = ok("num_kernels=2+batch_norm=True+nfc_layers=1+dropout=0.3+fc_dropout=0.1", &[1]);
    let fc = model.fc.unwrap();
    assert!(fc.batch_norm && !model.head_batch_norm);
    assert_eq!(fc.dropout, 0.3);
    assert!(ok("num_kernels=2+fc_batch_norm=True", &[1]).0.head_batch_norm);
}

#[test]
fn options_that_the_reference_lacks() {
    let (model, train) = ok(
        "num_kernels=2+residual=stream+pool_align=right+pool_padding=batch-min+schedule=one-cycle+pct_start=0.2+loss_reduction=mean\
         +drop_last=never+standardize_targets=True+select=pearson+augment_reverse_complement=True+dropout_seed=5+alphabet=ACGU",
        &[1],
    );
    assert_eq!(
        (model.residual, model.pool_align, model.pool_padding),
        (Residual::Stream, PoolAlign::Right, PoolPadding::BatchMin)
    );
    assert_eq!(model.alphabet, "ACGU");
    let cycle =
        Schedule::OneCycle { pct_start: 0.2, div_factor: 25.0, final_div_factor: 1e4, momentum: Some((0.85, 0.95)) };
    assert_eq!(train.schedule, cycle);
    assert_eq!(
        (train.loss_reduction, train.drop_last, train.select),
        (LossReduction::Mean, DropLast::Never, Select::Pearson)
    );
    assert!(train.standardize_targets && train.reverse_complement);
    assert_eq!(train.dropout_seed, Some(5));
    assert_eq!(ok("num_kernels=2+schedule=cosine+min_lr=1e-6", &[1]).1.schedule, Schedule::Cosine { min_lr: 1e-6 });
    assert_eq!(ok("num_kernels=2+optimizer=AdamW", &[1]).1.weight_decay, 0.01);
    let shift = ok("num_kernels=2+shift_sequence=3+random_shift=True", &[1]);
    assert_eq!((shift.0.padded_length(), shift.1.shift), (406, Some(Shift { offsets: vec![0, 1, 2, 3], draws: 1 })));
}

#[test]
fn losses_of_rates_want_outputs_above_zero() {
    let flat = |text: &str| resolve(&parse_option_string(&format!("num_kernels=4+{text}")).unwrap(), &facts(&[2]));
    for loss in ["Poisson", "MultinomialNLL", "LogCountMSE"] {
        let message = flat(&format!("loss_function={loss}")).unwrap_err().to_string();
        assert!(message.contains(&format!("an output above 0 beside loss '{loss}'")), "{message}");
        assert!(flat(&format!("loss_function={loss}+outclass=EXP")).is_ok());
    }
    assert!(flat("loss_function=JSD").is_ok() && flat("loss_function=PoissonNNL").is_ok());
    let two = DataFacts { inputs: vec![facts(&[2]).inputs[0]; 2], ..facts(&[2]) };
    let joined = |text: &str| {
        resolve(&parse_option_string(&format!("num_kernels=4+loss_function=Poisson+{text}")).unwrap(), &two)
    };
    assert!(joined("outclass=difference").unwrap_err().to_string().contains("an output above 0"));
    assert!(joined("outclass=EXPDIFFERENCE").is_ok() && joined("outclass=EXP").is_ok());
}

#[test]
fn errors_say_what_was_expected() {
    for (text, parts) in [
        ("l_kernels=9", &["'num_kernels'", "whole number from 1", "not given", "default '0'"][..]),
        ("num_kernels=eight", &["--cnn", "'num_kernels'", "whole number from 1", "found 'eight'"]),
        ("num_kernels=2.5", &["found '2.5'"]),
        ("lr=-1+num_kernels=2", &["'lr'", "above 0", "found '-1'"]),
        ("num_kernels=2+kernel_function=Relu", &["'kernel_function'", "did you mean 'ReLU'?", "found 'Relu'"]),
        ("num_kernels=2+net_function=EXP+dilated_convolutions=1", &["'net_function'", "GELU", "found 'EXP'"]),
        ("num_kernels=2+dilated_convolutions=3+dilations=[1,2]", &["'dilations'", "list of 3", "found '[1, 2]'"]),
        ("num_kernels=2+loss_function=['MSE','MSE']", &["'loss_function'", "list of 3"]),
        ("num_kernels=2+loss_function=Correlationms", &["did you mean 'Correlationmse'?"]),
        ("num_kernels=2+loss_function=NLL", &["not supported", "'loss_function=NLL'"]),
        ("num_kernels=2+loss_function=None", &["'loss_function'", "name of a loss", "found 'None'"]),
        (
            "num_kernels=2+loss_function=[MSE,None,MSE]",
            &["'loss_function'", "name of a loss", "['MSE', 'None', 'MSE']"],
        ),
        ("num_kernels=2+validation_loss=[None,None,None]", &["'validation_loss'", "at least one"]),
        ("num_kernels=2+outclass=Lin", &["'outclass'", "Multi_class", "found 'Lin'"]),
        ("num_kernels=2+n_attention=1", &["'n_distattention'", "heads", "not given"]),
        (
            "num_kernels=2+max_pooling=False+weighted_pooling=True+pooling_size=4+pooling_steps=2",
            &["not supported", "'pooling_steps=2'"],
        ),
        ("num_kernels=2+batchsize=0", &["'batchsize'", "from 1, or None", "found '0'"]),
        ("num_kernels=2+pooling_steps=2", &["'pooling_size'", "beside pooling_steps"]),
        ("num_kernels=2+dilated_convolutions=2+strides=2", &["not supported", "'strides=2'", "dilpooling_residual=0"]),
        (
            "num_kernels=2+transformer_convolutions=1+trmax_pooling=2+trmean_pooling=2",
            &["not supported", "'trmean_pooling=2'", "trmax_pooling"],
        ),
        ("num_kernels=2+nfc_layers=2+nfc_residuals=1+fclayer_size=8", &["not supported", "'nfc_residuals=1'"]),
        ("num_kernels=2+fclayer_size=8", &["'nfc_layers'", "beside fclayer_size"]),
        ("num_kernels=2+adjust_lr=Gradual", &["not supported", "'adjust_lr=Gradual'"]),
        ("num_kernels=2+optimizer=Adamw", &["'optimizer'", "did you mean 'Adam"]),
        ("num_kernels=2+optim_params=0.9", &["'optim_params'", "(0.9,0.999)", "found '0.9'"]),
        ("num_kernels=2+shift_sequence=4", &["'random_shift'", "beside shift_sequence"]),
        ("num_kernels=2+fc_dropout=1", &["'fc_dropout'", "below 1", "found '1'"]),
        ("num_kernels=2+schedule=onecycle", &["'schedule'", "did you mean 'one-cycle'?"]),
        ("num_kernels=2+n_hyenaconv=2", &["not supported", "'n_hyenaconv=2'"]),
        ("num_kernels=2+alphabet=ACG", &["'alphabet'", "four different letters"]),
        (
            "num_kernels=2+residual=stream+dilated_convolutions=1+dilresidual_concat=True",
            &["'residual'", "dilresidual_concat"],
        ),
    ] {
        let message = resolve(&parse_option_string(text).unwrap(), &facts(&[1, 2, 3])).unwrap_err().to_string();
        for part in parts {
            assert!(message.contains(part), "{text}: '{part}' is not in: {message}");
        }
    }
    for (bad, part) in [
        (facts(&[]), "[]"),
        (facts(&[0]), "[0]"),
        (DataFacts { names: vec!["a".into()], ..facts(&[1, 1]) }, "one name"),
    ] {
        let message = resolve(&parse_option_string("num_kernels=2").unwrap(), &bad).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    }
}
