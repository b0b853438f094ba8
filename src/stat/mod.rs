//! Numbers about numbers: correlations, ranks, areas under curves.
