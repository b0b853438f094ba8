//! The model in words, and how its training went.

use std::path::Path;

use super::Part;
use super::numbers::{count, listed, of, three};
use crate::cli::plot::read_losses;
use crate::error::Result;
use crate::model::checkpoint::Model;
use crate::model::spec::{
    Architecture, BlockSpec, Combination, HeadOutput, ModelSpec, PoolKind, Published, StrandPool, TrainSpec,
};
use crate::nn::Kind;
use crate::plot::{LossCurve, LossFigure, LossRow, ReportFigure, Section};

/// What the model is made of.
///
/// # Errors
/// What the architecture's plan returns.
pub(super) fn part(model: &Model) -> Result<Part> {
    let spec = model.network.architecture();
    let entries = model.network.parameters().entries();
    let parameters: usize = entries.iter().filter(|e| e.kind == Kind::Parameter).map(|e| e.len()).sum();
    let mut part = Part::default();
    if let Some(record) = &model.record {
        part.number("Trained on", of(record.rows.0, "sequence"));
        part.number("Validated on", of(record.rows.1, "sequence"));
    }
    let lengths: Vec<String> = spec.lengths().into_iter().map(count).collect();
    part.number("Sequence length", format!("{} bases", lengths.join(" + ")));
    part.number("Tracks", count(spec.tracks()));
    part.number("Parameters", count(parameters));
    if let Some(record) = &model.record {
        part.number("Epochs (best)", format!("{} ({})", record.epochs, record.best_epoch));
    }
    let mut text = architecture(spec)?;
    if spec.members > 1 {
        text.push_str(&format!(" It is the average of {} such models, trained one by one.", spec.members));
    }
    text.push_str(&format!(" All of it has {} numbers to train.", count(parameters)));
    if let Some(training) = &model.training {
        text.push_str(&format!("\n\n{}", recipe(training, model)));
    }
    part.sections.push(Section { heading: "The model".into(), text, ..Section::default() });
    Ok(part)
}

/// Curves of the losses, with the best epoch.
///
/// # Errors
/// What the reader and the figure return.
pub(super) fn losses(path: &Path, model: Option<&Model>) -> Result<Part> {
    let rows = read_losses(path)?;
    let svg = LossFigure::default().render(&[LossCurve { name: "model", rows: &rows }])?;
    let mut text = String::from(
        "The loss is the distance between predictions and measurements: lower is better. After every epoch, one pass over \
         the training sequences, it is computed on the sequences that the model learns from (dashed) and on the validation \
         sequences, which it never learns from (solid). While both fall, the model learns what is true of all sequences. \
         Where only the dashed line still falls, it learns its training sequences by heart.",
    );
    let best = rows.iter().min_by(|a, b| a.val_on_val.total_cmp(&b.val_on_val));
    if let (Some(best), Some(first)) = (best, rows.first()) {
        let gap = gap(best);
        text.push_str(&format!(
            "\n\nThe validation loss fell from {} to {} in epoch {}, which the circle marks{}. {gap}",
            three(first.val_on_val),
            three(best.val_on_val),
            best.epoch,
            if model.is_some_and(|m| m.training.as_ref().is_some_and(|t| t.load_best)) {
                "; the model has the weights of its best epoch"
            } else {
                ""
            }
        ));
    }
    let caption = "Loss after every epoch on training sequences (dashed) and validation sequences (solid). Circle: the \
                   epoch with the lowest validation loss.";
    let figures = vec![ReportFigure { svg, caption: caption.into() }];
    let section = Section { heading: "Training".into(), text, figures, tables: Vec::new() };
    Ok(Part { sections: vec![section], ..Part::default() })
}

/// How far training and validation are apart at the best epoch.
fn gap(best: &LossRow) -> String {
    let (on_train, on_val) = (best.val_on_train, best.val_on_val);
    if !(on_train > 0.0 && on_val > 0.0) {
        return String::new();
    }
    format!(
        "There the loss is {} on training sequences and {} on validation sequences, a ratio of {:.2}.",
        three(on_train),
        three(on_val),
        on_val / on_train
    )
}

/// Sentences about the networks and what joins them.
fn architecture(model: &Architecture) -> Result<String> {
    if let Some(model) = &model.published {
        return Ok(published(model));
    }
    let Some(join) = &model.join else { return Ok(network(&model.inputs[0])?.join(" ")) };
    let mut text = format!("The model has {}, with a network each.", of(model.inputs.len(), "input"));
    for (i, spec) in model.inputs.iter().enumerate() {
        text.push_str(&format!("\n\nInput {}: {}", i + 1, network(spec)?.join(" ")));
    }
    text.push_str("\n\n");
    for o in &join.outputs {
        let inputs: Vec<String> = o.inputs.iter().map(|i| format!("input {}", i + 1)).collect();
        let how = match &o.by {
            Combination::Relation { relation, log, .. } => {
                let log = if log.is_some() { ", as a logarithm" } else { "" };
                format!("'{relation}' of {}{log}", listed(&inputs))
            }
            Combination::Stack { fc, .. } => {
                let layers = fc.as_ref().map_or(0, |fc| fc.layers[0]);
                format!("{} over the outputs of {}", of(layers, "fully connected layer"), listed(&inputs))
            }
        };
        text.push_str(&format!("Output {} ({}): {how}. ", o.name, of(o.tracks, "track")));
    }
    Ok(text.trim_end().into())
}

/// Sentences about a model of other groups.
fn published(model: &Published) -> String {
    let (name, layers) = match model {
        Published::SeqToFunc251 => ("SeqToFunc", "convolutions with mean pools and wide fully connected layers"),
        Published::Bpnet2114 => ("BPNet", "dilated convolutions, which give a profile and a count"),
        Published::Beluga(_) => ("DeepSEA Beluga", "three pairs of convolutions and two fully connected layers"),
    };
    let output = match model {
        Published::Beluga(sizes) if sizes.output == HeadOutput::Linear => "logits",
        Published::Beluga(sizes) => output(sizes.output),
        _ => "linear",
    };
    format!(
        "The architecture is a published one, {name}: {layers}. It reads {} bases; the output is one number for each of {} ({output}).",
        count(model.length()),
        of(model.tracks(), "track")
    )
}

/// Sentences about the layers of a network, from the input on.
fn network(spec: &ModelSpec) -> Result<Vec<String>> {
    let plan = spec.plan()?;
    let stem = &spec.stem;
    let strands = match stem.strands {
        None => "along the given strand",
        Some(StrandPool::Max) => "along both strands; at every position the strand that fits better counts",
        Some(StrandPool::Mean) => "along both strands; at every position the mean of both counts",
        Some(StrandPool::Weighted) => "along both strands; at every position their weighted mean counts",
    };
    let mut said = vec![format!(
        "The model reads {} bases. {} of {} bases each, patterns that are learned, slide {strands}.",
        count(spec.length),
        of(stem.kernels, "kernel"),
        stem.width
    )];
    match &plan.pool {
        Some(pool) => said.push(format!(
            "Their scores pass through {} and are summarised in windows of {} ({}), which leaves {}.",
            stem.activation.name(),
            of(pool.size, "position"),
            pooled(pool.kind),
            of(pool.length, "position")
        )),
        None => said.push(format!("Their scores pass through {}.", stem.activation.name())),
    }
    let mut block = |spec: &BlockSpec, layers: usize, length: usize, channels: usize| {
        let dilated = spec.dilations.iter().any(|&d| d > 1);
        said.push(format!(
            "{} of width {}{} combine{} neighbouring scores into {} at {}.",
            of(layers, "convolution layer"),
            spec.width,
            if dilated { " with growing distances between their taps" } else { "" },
            if layers == 1 { "s" } else { "" },
            of(channels, "channel"),
            of(length, "position")
        ));
    };
    if let (Some(spec), Some(plan)) = (&spec.first_block, &plan.first_block) {
        block(spec, plan.layers.len(), plan.length, plan.channels);
    }
    if let (Some(spec), Some(plan)) = (&spec.second_block, &plan.second_block) {
        block(spec, plan.layers.len(), plan.length, plan.channels);
    }
    if let Some(attention) = &spec.attention {
        said.push(format!(
            "{} of {} let all positions look at each other.",
            of(attention.blocks, "attention block"),
            of(attention.heads, "head")
        ));
    }
    let layers: usize = plan.fc.iter().map(|stack| stack.layers.len()).sum();
    if layers > 0 {
        said.push(format!("{} put everything together.", of(layers, "fully connected layer")));
    }
    let heads: Vec<String> = spec.heads.iter().map(|h| of(h.tracks, "track")).collect();
    let outputs: std::collections::BTreeSet<&str> = spec.heads.iter().map(|h| output(h.output)).collect();
    let outputs: Vec<&str> = outputs.into_iter().collect();
    let (heads, outputs) = (listed(&heads), outputs.join(", "));
    said.push(match &spec.profile {
        None => format!("The output is one number for each of {heads} ({outputs})."),
        Some(p) => format!(
            "The output is one number for each of {} in the middle of the sequence, for each of {heads} ({outputs}){}.",
            of(p.bins, "bin"),
            if p.counts.is_some() { ": a total count, distributed over the bins" } else { "" }
        ),
    });
    if spec.average_strands {
        said.push("Predictions are the mean of those for both strands.".into());
    }
    Ok(said)
}

fn pooled(kind: PoolKind) -> &'static str {
    match kind {
        PoolKind::Max => "the largest counts",
        PoolKind::Mean => "their mean counts",
        PoolKind::MeanMax => "their mean and the largest count",
        PoolKind::Weighted => "a mean that favours large ones counts",
    }
}

fn output(output: HeadOutput) -> &'static str {
    match output {
        HeadOutput::Linear => "linear",
        HeadOutput::Class => "a probability a track",
        HeadOutput::MultiClass => "probabilities that sum to 1",
        HeadOutput::Complex => "learned powers",
        HeadOutput::Function(activation) => activation.name(),
    }
}

/// How it was trained.
fn recipe(training: &TrainSpec, model: &Model) -> String {
    let losses: std::collections::BTreeSet<&str> = training.losses.iter().map(|l| l.train.name()).collect();
    let losses: Vec<&str> = losses.into_iter().collect();
    let optimizer = serde_json::to_value(training.optimizer).unwrap_or_default();
    let batch =
        training.batch_size.map_or("all sequences at once".into(), |n| format!("batches of {}", of(n, "sequence")));
    let mut text = format!(
        "It was trained with the loss {} by {} (learning rate {}) in {batch}",
        listed(&losses),
        optimizer["kind"].as_str().unwrap_or("gradient descent"),
        training.lr
    );
    if let Some(record) = &model.record {
        text.push_str(&format!(", for {} from seed {}", of(record.epochs, "epoch"), record.seed));
    }
    text + "."
}
