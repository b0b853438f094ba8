//! Architectures, their specification and their checkpoint.

#[cfg(test)]
mod cases;
pub mod naming;
pub mod network;
pub mod options;
pub mod spec;
pub use network::{Network, Tap};
