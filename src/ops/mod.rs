//! Operations: one op, one file, which holds what it computes, its checked public function, its part in every sweep, its CPU
//! code and its tests. Adding an op adds a file and a line here.

mod conv1d;

pub use conv1d::{Conv1dArgs, conv1d};

use crate::error::{Error, Result};
use crate::tape::{Delta, Var};

/// Shape of `v` as `R` sizes, or an error that names the operation and the argument's expected shape.
pub(crate) fn checked_rank<const R: usize>(v: &Var, op: &'static str, arg: &'static str) -> Result<[usize; R]> {
    v.value.dims(op, arg)
}

/// The change of input `i`, for operations with a single input that can change.
pub(crate) fn changed<'a>(dx: &[Option<&'a Delta>], i: usize) -> Result<&'a Delta> {
    dx.get(i).copied().flatten().ok_or(Error::Unsupported { op: "delta", what: "a change of weights".into() })
}
