//! In-silico mutagenesis: what edits of a sequence do to every prediction.

mod predictor;
mod reference;
mod substitutions;

pub use predictor::Predictor;
pub use reference::{Reference, Stage};
pub use substitutions::{Effects, IsmOptions, substitutions};
