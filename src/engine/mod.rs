//! What is done with a model: train, predict, mutate.

pub mod encode;
pub mod mutate;
pub mod predict;
pub mod train;
