//! Options and facts of the data -> a complete architecture and training plan.

mod join;
mod profile;
mod train;

use super::keys::PROFILE_DEFAULTS;
use super::{DataFacts, InputFacts, Options, Value};
use crate::error::{Error, Result, hint};
use crate::model::spec::*;

/// The architecture and the training that `options` ask for on data like `facts`. Whatever was not given has the reference's
/// default. Errors name the option, what was expected and what was found; options that this version does not do are an
/// error unless they have their default.
pub fn resolve(options: &Options, facts: &DataFacts) -> Result<(Architecture, TrainSpec)> {
    options.check_support(facts.inputs.len(), facts.bins.is_some())?;
    let heads = facts.tracks.len();
    let lengths: Vec<usize> = facts.inputs.iter().map(|i| i.length).collect();
    if lengths.is_empty() || lengths.contains(&0) || heads == 0 || facts.tracks.contains(&0) {
        return Err(Error::Usage(format!(
            "a model needs sequences of at least 1 base and at least 1 track in every target file; found lengths {lengths:?} \
             and tracks {:?}",
            facts.tracks
        )));
    }
    if !facts.names.is_empty() && facts.names.len() != heads {
        return Err(Error::Usage(format!(
            "expected one name for each of {heads} target files; found {} ({})",
            facts.names.len(),
            facts.names.join(", ")
        )));
    }
    if let Some(bins) = facts.bins {
        let all = options.with_defaults(PROFILE_DEFAULTS);
        return Reader { options: &all, heads }.profiles(facts, bins);
    }
    if let [input] = facts.inputs[..] {
        let reader = Reader { options, heads };
        let (model, training) = (reader.model(input, reader.heads(facts)?)?, reader.training()?);
        let rates: Vec<bool> = model.heads.iter().map(|h| profile::is_rate(h.output)).collect();
        reader.rates(&rates, &training, false)?;
        return Ok((model.into(), training));
    }
    // Two defaults are others in the reference's program for several inputs.
    let all = options.with_defaults(&[("patience", "50"), ("init_adjust", "True")]);
    let reader = Reader { options: &all, heads };
    let (model, training) = (reader.joined(facts)?, reader.training()?);
    let rate = |o: &OutputSpec| match &o.by {
        Combination::Relation { relation: Relation::Direct, log: None, head } => {
            profile::is_rate(model.inputs[o.inputs[0]].heads[*head].output)
        }
        Combination::Relation { relation, log, .. } => {
            log.is_none() && matches!(relation, Relation::ExpDifference | Relation::Fraction)
        }
        Combination::Stack { output, .. } => profile::is_rate(*output),
    };
    let rates: Vec<bool> = model.join.iter().flat_map(|j| &j.outputs).map(rate).collect();
    reader.rates(&rates, &training, false)?;
    Ok((model, training))
}

/// Typed access to options.
struct Reader<'a> {
    options: &'a Options,
    heads: usize,
}

impl Reader<'_> {
    fn read<T>(&self, key: &str, expected: &str, convert: impl Fn(&Value) -> Option<T>) -> Result<T> {
        convert(&self.options.value(key)).ok_or_else(|| self.options.error(key, expected))
    }

    fn flag(&self, key: &str) -> Result<bool> {
        self.read(key, "True or False", Value::as_bool)
    }

    fn count(&self, key: &str) -> Result<usize> {
        self.read(key, "a whole number from 0", Value::as_usize)
    }

    fn positive(&self, key: &str) -> Result<usize> {
        self.read(key, "a whole number from 1", |v| v.as_usize().filter(|&n| n > 0))
    }

    /// A number, where `None` and 0 mean without.
    fn optional(&self, key: &str) -> Result<Option<usize>> {
        self.read(key, "a whole number from 0, or None", |v| match v {
            Value::None => Some(None),
            _ => v.as_usize().map(|n| Some(n).filter(|&n| n > 0)),
        })
    }

    /// A size, where `None` means as large as can be and 0 is an error.
    fn size(&self, key: &str) -> Result<Option<usize>> {
        self.read(key, "a whole number from 1, or None", |v| match v {
            Value::None => Some(None),
            _ => v.as_usize().filter(|&n| n > 0).map(Some),
        })
    }

    fn number(&self, key: &str, expected: &str, valid: impl Fn(f64) -> bool) -> Result<f64> {
        self.read(key, expected, |v| v.as_f64().filter(|&x| valid(x)))
    }

    fn above_zero(&self, key: &str) -> Result<f64> {
        self.number(key, "a number above 0", |x| x > 0.0)
    }

    fn share(&self, key: &str) -> Result<f64> {
        self.number(key, "a number from 0 to below 1", |x| (0.0..1.0).contains(&x))
    }

    fn named<T: Named>(&self, key: &str) -> Result<T> {
        let Value::Str(name) = self.options.value(key) else {
            return Err(self.options.error(key, format!("one of {}", names::<T>())));
        };
        T::from_name(&name).ok_or_else(|| {
            let near = hint(&name, T::ALL.iter().map(|(_, n)| *n));
            self.options.error(key, format!("one of {}{near}", names::<T>()))
        })
    }

    /// One value per head: a list, or one value for all.
    fn per_head<T: Clone>(
        &self,
        key: &str,
        expected: &str,
        convert: impl Fn(&Value) -> Result<Option<T>>,
    ) -> Result<Vec<T>> {
        let value = self.options.value(key);
        let wrong =
            || self.options.error(key, format!("{expected}, or a list of {} (one per target file)", self.heads));
        match value.items() {
            Some(items) if items.len() == self.heads => items.iter().map(|v| convert(v)?.ok_or_else(wrong)).collect(),
            Some(_) => Err(wrong()),
            None => Ok(vec![convert(&value)?.ok_or_else(wrong)?; self.heads]),
        }
    }

    /// One number per layer: a list, or one number for all.
    fn per_layer(&self, key: &str, layers: usize) -> Result<Vec<usize>> {
        self.read(key, &format!("a whole number from 1, or a list of {layers} (one per layer)"), |v| {
            let items = v
                .items()
                .map_or_else(|| vec![v.as_usize(); layers], |items| items.iter().map(Value::as_usize).collect());
            let numbers: Vec<usize> = items.into_iter().collect::<Option<_>>()?;
            (numbers.len() == layers && numbers.iter().all(|&n| n > 0)).then_some(numbers)
        })
    }

    fn inner_activation(&self, key: &str) -> Result<ActivationName> {
        let activation: ActivationName = self.named(key)?;
        if activation.is_inner() {
            return Ok(activation);
        }
        let inner: Vec<_> = ActivationName::ALL.iter().filter(|(a, _)| a.is_inner()).map(|(_, n)| *n).collect();
        Err(self.options.error(key, format!("one of {}", inner.join(", "))))
    }

    fn unsupported<T>(&self, key: &str, why: &str) -> Result<T> {
        let what = format!("'{key}={}': {why}", self.options.value(key));
        Err(Error::Unsupported { op: "option", what })
    }

    /// The heads of a model with one input.
    fn heads(&self, facts: &DataFacts) -> Result<Vec<HeadSpec>> {
        let names = HeadOutput::NAMES.join(", ");
        let outputs = self.per_head("outclass", &format!("one of {names}, an activation"), |v| {
            Ok(v.as_str().and_then(HeadOutput::from_name))
        })?;
        let head = |(m, (&tracks, output)): (usize, (&usize, _))| HeadSpec { name: facts.name(m), tracks, output };
        Ok(facts.tracks.iter().zip(outputs).enumerate().map(head).collect())
    }

    /// The network of an input with these heads.
    fn model(&self, input: InputFacts, heads: Vec<HeadSpec>) -> Result<ModelSpec> {
        let alphabet = self.read("alphabet", "four different letters", |v| {
            let text = v.as_str()?;
            let letters: Vec<char> = text.chars().collect();
            let distinct = (1..letters.len()).all(|i| !letters[..i].contains(&letters[i]));
            (letters.len() == 4 && distinct).then(|| text.to_string())
        })?;
        let stem = StemSpec {
            kernels: self.positive("num_kernels")?,
            width: self.positive("l_kernels")?,
            bias: self.flag("kernel_bias")?,
            activation: self.named("kernel_function")?,
            strands: if input.reverse_complement { Some(self.named("complement_pool")?) } else { None },
            pool: self.stem_pool()?,
        };
        let dropout = self.share("dropout")?;
        let dropout = |key: &str| if dropout > 0.0 { Ok(dropout) } else { self.share(key) };
        let all_norms = self.flag("batch_norm")?;
        let norm = |key: &str| Ok::<_, Error>(self.flag(key)? || all_norms);
        let conv = (norm("conv_batch_norm")?, dropout("conv_dropout")?);
        let residual = self.named("residual")?;
        let first_block = self.block(&FIRST_BLOCK, conv, stem.width, residual)?;
        let second_block = self.block(&SECOND_BLOCK, conv, stem.width, residual)?;
        let attention = self.attention(norm("attention_batch_norm")?, dropout("attention_dropout")?)?;
        let fc = self.fc(norm("fc_batch_norm")?, dropout("fc_dropout")?, heads.len())?;
        Ok(ModelSpec {
            alphabet,
            length: input.length,
            shift: self.shift()?.map_or(0, |s| s.offsets.into_iter().max().unwrap_or(0)),
            stem,
            first_block,
            embedding: self.optional("embedding_convs")?,
            attention,
            second_block,
            fc,
            // `batch_norm` alone leaves the head without a norm.
            head_batch_norm: self.flag("fc_batch_norm")?,
            heads,
            pool_padding: self.named("pool_padding")?,
            pool_align: self.named("pool_align")?,
            average_strands: self.flag("average_strands")?,
            residual,
            profile: None,
        })
    }

    fn stem_pool(&self) -> Result<Option<Pooling>> {
        let kind = match (self.flag("max_pooling")?, self.flag("mean_pooling")?, self.flag("weighted_pooling")?) {
            (true, true, _) => PoolKind::MeanMax,
            (true, ..) => PoolKind::Max,
            (_, true, _) => PoolKind::Mean,
            (.., true) => PoolKind::Weighted,
            _ => return Ok(None),
        };
        let (size, stride) = (self.size("pooling_size")?, self.size("pooling_steps")?);
        if size.is_none() && stride.is_some() {
            return Err(self.options.error("pooling_size", "a whole number from 1 beside pooling_steps"));
        }
        if kind == PoolKind::Weighted && stride.is_some() && stride != size {
            return self.unsupported("pooling_steps", "weighted pools step by their size; leave it out");
        }
        Ok(Some(Pooling { kind, size, stride: stride.filter(|_| stride != size) }))
    }

    fn block(
        &self,
        keys: &BlockKeys,
        conv: (bool, f64),
        stem_width: usize,
        way: Residual,
    ) -> Result<Option<BlockSpec>> {
        let layers = self.count(keys.layers)?;
        if layers == 0 {
            return Ok(None);
        }
        let sizes = [keys.max, keys.mean, keys.weighted].map(|key| self.optional(key));
        let [max, mean, weighted] = sizes;
        let pool = match (max?, mean?, weighted?) {
            (Some(_), Some(_), _) => {
                return self.unsupported(
                    keys.mean,
                    &format!("mean and maximum pools inside one block; leave out {}", keys.max),
                );
            }
            (Some(size), ..) => Some((PoolKind::Max, size)),
            (_, Some(size), _) => Some((PoolKind::Mean, size)),
            (.., Some(size)) => Some((PoolKind::Weighted, size)),
            _ => None,
        };
        let every = self.positive(keys.every)?;
        let (batch_norm, dropout) = conv;
        let spec = BlockSpec {
            layers,
            width: self.optional(keys.width)?.unwrap_or(stem_width),
            dilations: self.per_layer(keys.dilations, layers)?,
            strides: self.per_layer(keys.strides, layers)?,
            first: match keys.channels {
                Some(key) => self.optional(key)?.map_or(FirstChannels::Keep, FirstChannels::Set),
                None => FirstChannels::Grow,
            },
            growth: self.above_zero("conv_increase")?,
            activation: self.inner_activation("net_function")?,
            bias: keys.bias,
            batch_norm,
            dropout,
            pool: pool.map(|(kind, size)| BlockPool { kind, size, every }),
            residual: self.optional(keys.residual)?,
            concat: keys.concat.map_or(Ok(false), |key| self.flag(key))?,
        };
        let skips = spec.residual.is_some_and(|every| every <= layers);
        if skips && spec.strides.iter().any(|&s| s > 1) {
            return self.unsupported(keys.strides, &format!("skips over layers with a step; add {}=0", keys.residual));
        }
        if spec.concat && way == Residual::Stream {
            return Err(self.options.error("residual", "'reference' beside dilresidual_concat"));
        }
        Ok(Some(spec))
    }

    fn attention(&self, batch_norm: bool, dropout: f64) -> Result<Option<AttentionSpec>> {
        let blocks = self.count("n_attention")?;
        if blocks == 0 {
            return Ok(None);
        }
        let heads = self.read("n_distattention", "the number of heads, from 1, beside n_attention", |v| {
            v.as_usize().filter(|&n| n > 0)
        })?;
        let pool = match (self.optional("attentionmax_pooling")?, self.optional("attentionweighted_pooling")?) {
            (Some(_), Some(_)) => {
                return self.unsupported(
                    "attentionweighted_pooling",
                    "two pools after attention; leave out attentionmax_pooling",
                );
            }
            (Some(size), _) => Some(BlockPool { kind: PoolKind::Max, size, every: 1 }),
            (_, Some(size)) => Some(BlockPool { kind: PoolKind::Weighted, size, every: 1 }),
            _ => None,
        };
        Ok(Some(AttentionSpec {
            blocks,
            heads,
            key_factor: self.above_zero("dim_distattention")?,
            value_dim: self.optional("dim_embattention")?,
            sum_heads: self.flag("sum_attention")?,
            batch_norm,
            dropout,
            pool,
        }))
    }

    fn fc(&self, batch_norm: bool, dropout: f64, heads: usize) -> Result<Option<FcSpec>> {
        let expected = format!("a whole number from 0, or a list of {heads} numbers from 1 (one per target file)");
        let layers = self.read("nfc_layers", &expected, |v| match v.items() {
            Some(items) if items.len() == heads && heads > 1 => {
                items.iter().map(|v| v.as_usize().filter(|&n| n > 0)).collect::<Option<Vec<_>>>()
            }
            Some(_) => None,
            None => v.as_usize().map(|n| vec![n]),
        })?;
        let width = self.optional("fclayer_size")?;
        if layers == [0] {
            return match width {
                Some(_) => Err(self.options.error("nfc_layers", "at least 1 beside fclayer_size")),
                None => Ok(None),
            };
        }
        let residual = self.optional("nfc_residuals")?;
        if residual.is_some() && width.is_some() {
            return self.unsupported("nfc_residuals", "skips behind a linear embedding; leave out fclayer_size");
        }
        let own = self.options.value("fc_function") != Value::None;
        Ok(Some(FcSpec {
            width,
            layers,
            widening: self.above_zero("layer_widening")?,
            activation: self.inner_activation(if own { "fc_function" } else { "net_function" })?,
            batch_norm,
            dropout,
            residual,
        }))
    }

    fn shift(&self) -> Result<Option<Shift>> {
        let offsets = self.read("shift_sequence", "None, the largest shift, or a list of shifts", |v| match v {
            Value::None => Some(None),
            _ => match v.items() {
                Some(items) => {
                    items.iter().map(Value::as_usize).collect::<Option<Vec<_>>>().filter(|o| !o.is_empty()).map(Some)
                }
                None => v.as_usize().map(|n| (n > 0).then(|| (0..=n).collect())),
            },
        })?;
        let Some(offsets) = offsets else { return Ok(None) };
        let draws =
            self.read("random_shift", "the number of random shifts a batch, from 1, beside shift_sequence", |v| {
                v.as_usize().filter(|&n| n > 0)
            })?;
        Ok(Some(Shift { offsets, draws }))
    }
}

/// Option names of one convolution block.
struct BlockKeys {
    layers: &'static str,
    width: &'static str,
    dilations: &'static str,
    strides: &'static str,
    channels: Option<&'static str>,
    max: &'static str,
    mean: &'static str,
    weighted: &'static str,
    every: &'static str,
    residual: &'static str,
    concat: Option<&'static str>,
    bias: bool,
}

const FIRST_BLOCK: BlockKeys = BlockKeys {
    layers: "dilated_convolutions",
    width: "l_dilkernels",
    dilations: "dilations",
    strides: "strides",
    channels: None,
    max: "dilmax_pooling",
    mean: "dilmean_pooling",
    weighted: "dilweighted_pooling",
    every: "dilpooling_steps",
    residual: "dilpooling_residual",
    concat: Some("dilresidual_concat"),
    bias: false,
};

const SECOND_BLOCK: BlockKeys = BlockKeys {
    layers: "transformer_convolutions",
    width: "l_trkernels",
    dilations: "trdilations",
    strides: "trstrides",
    channels: Some("trconv_dim"),
    max: "trmax_pooling",
    mean: "trmean_pooling",
    weighted: "trweighted_pooling",
    every: "trpooling_steps",
    residual: "trpooling_residual",
    concat: None,
    bias: true,
};

fn names<T: Named>() -> String {
    T::ALL.iter().map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
