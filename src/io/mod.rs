//! Files: one format, one file.
