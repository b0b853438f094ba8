//! Options of models with several inputs.

use super::Reader;
use crate::error::Result;
use crate::model::options::{DataFacts, Value};
use crate::model::spec::*;

/// What the class of an output asks for.
#[derive(Clone)]
enum Asked {
    Relation(Relation, Option<LogScale>),
    Head(HeadOutput),
}

impl Reader<'_> {
    /// A network for every input, and what joins them.
    pub(super) fn joined(&self, facts: &DataFacts) -> Result<Architecture> {
        for (key, why) in [
            (
                "average_strands",
                "with several inputs; use reverse_complement, which lets the first layer read both strands",
            ),
            ("augment_reverse_complement", "with several inputs, which need not all be turned together"),
        ] {
            if self.flag(key)? {
                return self.unsupported(key, why);
            }
        }
        let classes = self.classes()?;
        let routes = self.routes(facts.inputs.len())?;
        let related = classes.iter().filter(|c| matches!(c, Asked::Relation(..))).count();
        if related == 0 {
            return self.stacked(facts, &classes, routes);
        }
        if related < classes.len() {
            return self
                .unsupported("outclass", "formulas beside outputs of fully connected layers; give one kind for all");
        }
        self.related(facts, &classes, routes)
    }

    /// Formulas of heads.
    fn related(&self, facts: &DataFacts, classes: &[Asked], routes: Vec<Vec<usize>>) -> Result<Architecture> {
        let combine = self.combine_outputs()?;
        let tracks = &facts.tracks;
        // One head serves all outputs only where they have as many tracks.
        let shared = tracks.len() == 1 || self.flag("shared_embedding")? && tracks.iter().all(|t| t == &tracks[0]);
        // Differences and plain values are of linear heads, unless one head serves several outputs.
        let head_output = |m: usize| match &classes[m] {
            Asked::Relation(Relation::Fraction, _) => combine[m],
            _ if shared && tracks.len() > 1 => combine[m],
            _ => HeadOutput::Linear,
        };
        let heads: Vec<HeadSpec> = match shared {
            true => vec![HeadSpec { name: "shared".into(), tracks: tracks[0], output: head_output(0) }],
            false => (0..tracks.len())
                .map(|m| HeadSpec { name: facts.name(m), tracks: tracks[m], output: head_output(m) })
                .collect(),
        };
        let mut outputs = vec![];
        for (m, (class, inputs)) in classes.iter().zip(routes).enumerate() {
            let Asked::Relation(relation, log) = class else { continue };
            if inputs.len() != relation.arguments() {
                let expected = format!("{} inputs for '{relation}' (output {m})", relation.arguments());
                return Err(self.options.error("input_to_combinefunc", expected));
            }
            let head = if shared { 0 } else { m };
            let by = Combination::Relation { relation: *relation, head, log: *log };
            outputs.push(OutputSpec { name: facts.name(m), tracks: tracks[m], inputs, by });
        }
        let inputs = facts.inputs.iter().map(|&input| self.model(input, heads.clone())).collect::<Result<_>>()?;
        Ok(Architecture::joined(inputs, JoinSpec { outputs }))
    }

    /// Embeddings side by side, and fully connected layers for every output.
    fn stacked(&self, facts: &DataFacts, classes: &[Asked], routes: Vec<Vec<usize>>) -> Result<Architecture> {
        let layers = self.per_head("n_combine_layers", "a whole number from 0", |v| Ok(v.as_usize()))?;
        let combine = self.combine_outputs()?;
        let (batch_norm, dropout) = (self.flag("batch_norm")?, self.share("dropout")?);
        let (widening, residual) = (self.above_zero("combine_widening")?, self.optional("combine_residual")?);
        let mut outputs = vec![];
        for (m, (class, inputs)) in classes.iter().zip(routes).enumerate() {
            let Asked::Head(output) = class else { continue };
            let fc = match (layers[m], combine[m]) {
                (0, _) => None,
                (n, HeadOutput::Function(activation)) if activation.is_inner() => {
                    Some(FcSpec { width: None, layers: vec![n], widening, activation, batch_norm, dropout, residual })
                }
                _ => {
                    let expected = "an activation between layers, e.g. GELU, beside n_combine_layers above 0";
                    return Err(self.options.error("combine_function", expected));
                }
            };
            let by = Combination::Stack { fc, batch_norm: false, output: *output };
            outputs.push(OutputSpec { name: facts.name(m), tracks: facts.tracks[m], inputs, by });
        }
        let heads =
            vec![HeadSpec { name: "embedding".into(), tracks: self.positive("cnn_embedding")?, output: combine[0] }];
        let inputs = facts.inputs.iter().map(|&input| self.model(input, heads.clone())).collect::<Result<_>>()?;
        Ok(Architecture::joined(inputs, JoinSpec { outputs }))
    }

    /// Output activation of the networks, for every output.
    fn combine_outputs(&self) -> Result<Vec<HeadOutput>> {
        let expected = format!("one of {}, an activation", HeadOutput::NAMES.join(", "));
        self.per_head("combine_function", &expected, |v| Ok(v.as_str().and_then(HeadOutput::from_name)))
    }

    fn classes(&self) -> Result<Vec<Asked>> {
        let expected = format!(
            "one of {}, an activation, difference, direct, expdifference, fraction",
            HeadOutput::NAMES.join(", ")
        );
        let log = LogScale {
            base: self.number("outlog", "a number above 0 that is not 1", |x| x > 0.0 && x != 1.0)?,
            offset: self.number("outlogoffset", "a number", |_| true)?,
        };
        self.per_head("outclass", &expected, |v| {
            let Some(name) = v.as_str() else { return Ok(None) };
            if let Some(output) = HeadOutput::from_name(name) {
                return Ok(Some(Asked::Head(output)));
            }
            let upper = name.to_uppercase();
            let relation = [
                ("EXPDIFFERENCE", Relation::ExpDifference),
                ("DIFFERENCE", Relation::Difference),
                ("FRACTION", Relation::Fraction),
                ("DIRECT", Relation::Direct),
            ];
            let found =
                relation.into_iter().find(|(word, _)| upper.strip_prefix("LOGXPLUS").unwrap_or(&upper) == *word);
            Ok(found.map(|(_, r)| Asked::Relation(r, upper.starts_with("LOGXPLUS").then_some(log))))
        })
    }

    /// The inputs of every output.
    fn routes(&self, inputs: usize) -> Result<Vec<Vec<usize>>> {
        let key = "input_to_combinefunc";
        let value = self.options.value(key);
        if value.as_str() == Some("ALL") {
            return Ok(vec![(0..inputs).collect(); self.heads]);
        }
        let expected = format!(
            "ALL, or for each of {} outputs a list of different inputs from 0 to {}, e.g. [[0,1],[1]]",
            self.heads,
            inputs - 1
        );
        let list = |v: &Value| -> Option<Vec<usize>> {
            let list: Vec<usize> = v.items()?.iter().map(Value::as_usize).collect::<Option<_>>()?;
            let distinct = (1..list.len()).all(|i| !list[..i].contains(&list[i]));
            (!list.is_empty() && distinct && list.iter().all(|&i| i < inputs)).then_some(list)
        };
        self.read(key, &expected, |v| {
            let routes: Vec<Vec<usize>> = match v.items()? {
                [first, ..] if first.items().is_some() => v.items()?.iter().map(list).collect::<Option<_>>()?,
                _ => vec![list(v)?],
            };
            (routes.len() == self.heads).then_some(routes)
        })
    }
}
