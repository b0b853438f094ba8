//! Architectures, their specification and their checkpoint.
