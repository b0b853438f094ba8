//! How a job is run: by delta sweeps or by running every mutant, and what either costs.

use serde::Serialize;

use crate::error::{Error, Result, hint};
use crate::tape::Edit;

use super::{Edits, Reference};

/// Arithmetic of an element that an operation other than a product changes, in multiply-adds: what an exponential and the
/// traffic around it take.
const ELEMENT: f64 = 40.0;

/// What a pass that is recorded for sweeps takes, in plain passes: it is more exact, and the first sweep prepares the others.
const RECORDING: f64 = 3.0;

/// What runs the mutants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The cheaper one.
    #[default]
    Auto,
    /// Delta sweeps.
    Delta,
    /// Every mutant on its own.
    Naive,
}

impl Engine {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Auto, Self::Delta, Self::Naive];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Delta => "delta",
            Self::Naive => "naive",
        }
    }

    /// The engine of that name.
    ///
    /// # Errors
    /// [`Error::Usage`] with the names that there are.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.iter().copied().find(|e| e.name() == name).ok_or_else(|| {
            let near = hint(name, Self::ALL.iter().map(|e| e.name()));
            Error::Usage(format!("unknown engine '{name}'{near}; expected auto, delta or naive"))
        })
    }
}

/// One operation in the plan of a job. Sizes and arithmetic are those of one mutant, the latter in multiply-adds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanStep {
    /// Path of the layer.
    pub layer: String,
    /// Name of the operation.
    pub op: &'static str,
    /// Rows of the output.
    pub length: usize,
    /// Channels of a row.
    pub channels: usize,
    /// Rows that change.
    pub window: usize,
    /// Why all rows change although only some of the inputs do; empty otherwise.
    pub dense: &'static str,
    /// Multiply-adds of the whole operation.
    pub naive: f64,
    /// Multiply-adds of the sweep.
    pub delta: f64,
    /// Bytes that the whole operation writes.
    pub naive_bytes: f64,
    /// Bytes that the sweep writes.
    pub delta_bytes: f64,
}

/// How a job runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Delta or naive.
    pub engine: Engine,
    /// Why.
    pub reason: String,
    /// Mutants a sequence.
    pub mutants: f64,
    /// Positions from a mutant's first edit to its last.
    pub span: usize,
    /// The operations, in order.
    pub steps: Vec<PlanStep>,
    /// Mutants swept together, stage by stage.
    pub lanes: Vec<usize>,
    /// Multiply-adds of a mutant when it is run whole.
    pub naive: f64,
    /// Multiply-adds of a mutant in a sweep, without its share of the reference pass.
    pub delta: f64,
    /// Multiply-adds of a mutant in a sweep with its share of the reference pass.
    pub delta_with_reference: f64,
}

impl Plan {
    /// Plans the mutants `edits` of `sequences` sequences like that of `reference`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if delta sweeps are demanded and an operation has none.
    pub fn new(wanted: Engine, reference: &Reference, edits: &Edits, sequences: usize) -> Result<Self> {
        let (span, mutants) = edits.shape(sequences);
        let steps: Vec<PlanStep> = reference.steps(span).into_iter().map(PlanStep::new).collect();
        let sum = |f: &dyn Fn(&PlanStep) -> f64| steps.iter().map(f).sum::<f64>();
        let cost = |products: f64, bytes: f64| products + ELEMENT * bytes / 4.0;
        let naive_cost = cost(sum(&|s| s.naive), sum(&|s| s.naive_bytes));
        let delta_cost = cost(sum(&|s| s.delta), sum(&|s| s.delta_bytes));
        let refusal = match wanted {
            Engine::Naive => None,
            _ => reference.try_one().err(),
        };
        let (engine, reason) = match (wanted, refusal) {
            (Engine::Naive, _) => (Engine::Naive, "asked for".to_string()),
            (Engine::Delta, Some(e)) => return Err(e),
            (Engine::Delta, None) => (Engine::Delta, "asked for".to_string()),
            (Engine::Auto, Some(e)) => (Engine::Naive, format!("the model has no delta sweep: {e}")),
            (Engine::Auto, None) if delta_cost >= naive_cost => {
                let why = "a mutation changes nearly everything, so a sweep costs as much as a whole pass";
                (Engine::Naive, why.to_string())
            }
            (Engine::Auto, None) if RECORDING * naive_cost + mutants * delta_cost > (1.0 + mutants) * naive_cost => {
                let why = format!("{mutants:.1} mutants a sequence do not pay for a recorded pass of it");
                (Engine::Naive, why)
            }
            (Engine::Auto, None) => {
                let saved = (1.0 + mutants) * naive_cost / (RECORDING * naive_cost + mutants * delta_cost);
                (Engine::Delta, format!("about {saved:.1} times less work"))
            }
        };
        let lanes = reference.stages(span).iter().map(|s| s.lanes).collect();
        let (naive, delta) = (sum(&|s| s.naive), sum(&|s| s.delta));
        let delta_with_reference = delta + naive / mutants.max(1.0);
        Ok(Self { engine, reason, mutants, span, steps, lanes, naive, delta, delta_with_reference })
    }
}

impl PlanStep {
    fn new(s: crate::tape::Step) -> Self {
        let dense = match (s.spreads, s.len) {
            (false, _) => "",
            (true, 1) => "joins all positions",
            (true, _) => "the window covers the map, or every row depends on every other",
        };
        let bytes = |rows: usize| (rows * s.channels * 4) as f64;
        Self {
            dense,
            length: s.len,
            channels: s.channels,
            window: s.width,
            naive_bytes: bytes(s.len),
            delta_bytes: bytes(s.width),
            naive: s.naive,
            delta: s.delta,
            op: s.op,
            layer: s.layer,
        }
    }
}

impl Reference {
    /// Sweeps one mutant, to learn whether every operation can.
    fn try_one(&self) -> Result<()> {
        let at = self.length() / 2;
        self.effects(&[0], &[vec![Edit { at, to: 0 }]]).map(drop)
    }
}
