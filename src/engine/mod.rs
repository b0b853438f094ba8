//! Train, predict, mutate: what is done with a model.

pub mod bench;
