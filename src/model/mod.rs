//! Architectures, their specification and their checkpoint.

#[cfg(test)]
mod cases;
pub mod checkpoint;
pub mod naming;
pub mod network;
pub mod options;
pub mod spec;
pub use checkpoint::Model;
pub mod zoo;
pub use network::{Network, Tap};
pub use zoo::{ZooModel, ZooName};
