//! Files: one format, one file.

pub mod npy;
pub mod npz;

mod zip_stream;
