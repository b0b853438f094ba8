//! What is done with a model: train, predict, mutate, measure.

pub mod bench;
pub mod embed;
pub mod encode;
pub mod kernels;
pub mod mutate;
pub mod predict;
pub mod search;
pub mod train;
