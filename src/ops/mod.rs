//! Operations: one op, one file.
