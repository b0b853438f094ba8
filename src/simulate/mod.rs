//! Simulated sequences with planted motifs and known effects.
