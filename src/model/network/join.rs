//! What is made of the heads of several networks: formulas, or fully connected layers over embeddings side by side.

use super::{Network, Observer, Tap};
use crate::error::Result;
use crate::model::spec::{Combination, JoinSpec, Relation};
use crate::nn::Bound;
use crate::ops;
use crate::tape::{Tape, Var};

impl Network {
    /// The outputs of a member, from its heads of every input; `dropouts` = dropout layers that have passed, `watch` = who watches.
    pub(super) fn join(
        &self,
        tape: &mut Tape,
        bound: &Bound,
        join: &JoinSpec,
        member: usize,
        heads: &[Vec<Var>],
        (dropouts, mut watch): (u32, Option<Observer>),
    ) -> Result<Vec<Var>> {
        let mut run = self.run(bound, (member, 0), dropouts);
        let mut outputs = vec![];
        let plans = &self.plans.outputs[member * join.outputs.len()..];
        for (m, (spec, plan)) in join.outputs.iter().zip(plans).enumerate() {
            let inputs = |head: usize| spec.inputs.iter().map(|&i| &heads[i][head]).collect::<Vec<&Var>>();
            outputs.push(tape.scoped(format!("output{m}"), |t| match (&spec.by, plan) {
                (Combination::Stack { fc, .. }, Some((fc_plan, head))) => {
                    let mut x = side_by_side(t, &inputs(0))?;
                    if let (Some(spec), Some(plan)) = (fc, fc_plan) {
                        x = run.stack(t, spec, plan, &x)?;
                    }
                    if let Some(observe) = &mut watch {
                        observe(m, Tap::Combined, &x);
                    }
                    run.head(t, head, &x)
                }
                (Combination::Relation { relation, head, log }, _) => {
                    let y = related(t, *relation, &inputs(*head))?;
                    log.map_or(Ok(y.clone()), |log| ops::log(t, &y, log.base, log.offset))
                }
                (Combination::Stack { .. }, None) => unreachable!("a stack has a plan"),
            })?);
        }
        Ok(outputs)
    }
}

/// Values beside each other.
pub(super) fn side_by_side(tape: &mut Tape, x: &[&Var]) -> Result<Var> {
    match x {
        [one] => Ok((*one).clone()),
        _ => ops::concat(tape, x),
    }
}

fn related(tape: &mut Tape, relation: Relation, x: &[&Var]) -> Result<Var> {
    match (relation, x) {
        (Relation::Difference, [a, b]) => ops::subtract(tape, a, b),
        (Relation::ExpDifference, [a, b]) => ops::exp_difference(tape, a, b),
        (Relation::Fraction, [a, b]) => ops::fraction(tape, a, b),
        _ => Ok(x[0].clone()),
    }
}
