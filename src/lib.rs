//! `drg`: train regulatory-sequence models and ask them questions, on a hand-written compute core.

pub mod device;
pub mod engine;
pub mod error;
pub mod io;
pub mod model;
pub mod motif;
pub mod nn;
pub mod ops;
pub mod plot;
pub mod seq;
pub mod simulate;
pub mod stat;
pub mod tape;
pub mod tensor;
pub mod util;

#[doc(hidden)]
pub mod cli;

pub use error::{Error, Result};
