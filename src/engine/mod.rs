//! Train, predict, mutate: what is done with a model.

pub mod encode;
pub mod predict;
pub mod train;

pub use predict::predict;
pub use train::Trainer;
