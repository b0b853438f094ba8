//! Sequences as packed bases.
