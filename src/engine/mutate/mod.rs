//! In-silico mutagenesis: what edits of a sequence do to every prediction.
//!
//! An effect is `prediction(mutant) - prediction(sequence)`. A job ([`mutate`], [`each_block`]) is a model, sequences and, for
//! each of them, mutants: sets of positions with new bases ([`Edits`]). Two engines answer it. The naive one runs every
//! mutant. The delta engine runs the sequence once ([`Reference`]) and then only what a mutation changes; it gives the same
//! effects with less rounding, because it never subtracts two predictions. [`Plan`] says what either costs.

pub mod perturb;

mod blocks;
mod edits;
mod ism;
mod pairs;
mod plan;
mod predictor;
mod reference;
mod store;
mod substitutions;
mod variants;
mod verify;

pub use blocks::{Block, Blocks, Options, each_block, mutate};
pub use edits::{Edits, apply};
pub use ism::Reduction;
pub use pairs::{EditPair, PairBlock, Pairs, pairs};
pub use plan::{Engine, Plan, PlanStep};
pub use predictor::Predictor;
pub(super) use predictor::cut;
pub use reference::Reference;
pub use store::{Description, Store, join_part, merge_npz, merge_store, write_head};
pub use substitutions::{Effects, IsmOptions, substitutions};
pub use variants::{
    Change, OnMismatch, Pair, Placed, Scored, Scorer, ScorerOptions, Source, Status, Strand, Views, Work,
};
pub use verify::{Verified, Verifier};

pub use crate::tape::Edit;

#[cfg(test)]
mod tests;
