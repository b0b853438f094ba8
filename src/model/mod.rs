//! Architectures, their specification and their checkpoint.

#[cfg(test)]
mod cases;
pub mod checkpoint;
pub mod naming;
pub mod network;
pub mod options;
mod readout;
pub mod spec;
pub mod zoo;

pub use checkpoint::Model;
pub use network::{Network, Tap};
pub use readout::Readout;
pub use zoo::ZooName;
