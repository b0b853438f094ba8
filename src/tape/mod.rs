//! The record of a forward pass and the four sweeps over it.
