//! Parameters, initialisation, layers, blocks.
