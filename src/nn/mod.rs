//! Parameters, their initial values, and optimisers.

pub mod optim;
pub mod param;
mod pattern;

pub use optim::{Optimizer, OptimizerState, Rule};
pub use param::{Bound, Builder, Entry, Initial, Kind, Layout, ParamId, Parameters};
