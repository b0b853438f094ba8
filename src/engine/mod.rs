//! What is done with a model: train, predict, mutate.

pub mod mutate;
pub mod predict;
