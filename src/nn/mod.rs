//! Parameters, their initial values, and optimisers.

pub mod param;

pub use param::{Bound, Builder, Entry, Initial, Kind, Layout, ParamId, Parameters};
