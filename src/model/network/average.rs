//! Averages of networks: several of one architecture in one, whose outputs are averaged.

use super::Network;
use crate::error::{Error, Result};
use crate::model::spec::{Architecture, member_prefix};
use crate::nn::Bound;
use crate::ops;
use crate::tape::{Tape, Var};
use crate::tensor::Tensor;

impl Network {
    /// A network that gives the mean of what `members` give. With `scales`, a factor for each track for every member, outputs
    /// are multiplied by them before.
    ///
    /// # Errors
    /// [`Error::Usage`] for fewer than two members, members of different architectures or that are averages themselves
    /// ([`Network::members`]), and another number of scales.
    pub fn average(members: &[Self], scales: Vec<Vec<f64>>) -> Result<Self> {
        let refuse = |what: &str| Err(Error::Usage(format!("an average of models: expected {what}")));
        let [first, others @ ..] = members else { return refuse("two members or more") };
        if others.is_empty() {
            return refuse("two members or more");
        }
        if members.iter().any(|m| m.architecture.published.is_some()) {
            return refuse("models that options describe; those of published architectures cannot be averaged");
        }
        if members.iter().any(|m| m.architecture.members > 1) {
            return refuse("plain models as members");
        }
        if others.iter().any(|m| m.architecture != first.architecture) {
            return refuse("members of one architecture");
        }
        let architecture = Architecture { members: members.len(), scales, ..first.architecture().clone() };
        first.refilled(architecture, |name| {
            let member =
                (members.iter().enumerate()).find_map(|(i, m)| Some((m, name.strip_prefix(&member_prefix(i))?)));
            let (member, own) = member.expect("every tensor of an average is one of a member");
            Ok(member.parameters.to_torch(member.parameters.id(own)?))
        })
    }

    /// The members of an average, without its scales; of a plain network itself.
    ///
    /// # Errors
    /// None in practice: the tensors are those that the architecture has.
    pub fn members(&self) -> Result<Vec<Self>> {
        if self.architecture.members == 1 {
            return Ok(vec![self.clone()]);
        }
        let architecture = Architecture { members: 1, scales: vec![], ..self.architecture().clone() };
        let of = |i: usize| {
            let value = |name: &str| Ok(self.parameters.to_torch(self.parameters.id(&(member_prefix(i) + name))?));
            self.refilled(architecture.clone(), value)
        };
        (0..self.architecture.members).map(of).collect()
    }

    /// The mean of the outputs of all members.
    pub(super) fn mean_of_members(&self, tape: &mut Tape, bound: &Bound, x: &[Var]) -> Result<Vec<Var>> {
        let Architecture { members, scales, .. } = self.architecture();
        let mut sums: Vec<Var> = vec![];
        for m in 0..*members {
            let outputs = tape.scoped(format!("member{m}"), |t| {
                let outputs = self.member(t, bound, x, m, None)?;
                let Some(mut factors) = scales.get(m).map(Vec::as_slice) else { return Ok(outputs) };
                let widths: Vec<usize> = self.architecture().outputs().iter().map(|o| o.1).collect();
                let mut all = vec![];
                for (y, width) in outputs.iter().zip(widths) {
                    let (own, others) = factors.split_at(width);
                    all.push(scaled(t, y, own)?);
                    factors = others;
                }
                Ok(all)
            })?;
            sums = match sums.is_empty() {
                true => outputs,
                false => sums.iter().zip(&outputs).map(|(a, b)| ops::add(tape, a, b)).collect::<Result<_>>()?,
            };
        }
        sums.iter().map(|sum| scaled(tape, sum, &[1.0 / *members as f64])).collect()
    }
}

/// `y`, `[N, tracks]` or `[N, tracks, bins]`, times a factor for each track, or one for all.
pub(super) fn scaled(tape: &mut Tape, y: &Var, factors: &[f64]) -> Result<Var> {
    let bins: usize = y.shape().iter().skip(2).product();
    let all: Vec<f64> = (0..y.value.len()).map(|i| factors[i / bins % factors.len()]).collect();
    let all = Tensor::new(y.shape(), all)?.to_dtype(y.value.dtype())?.to_device(&y.value.device())?;
    ops::multiply(tape, y, &Var::constant(all))
}
