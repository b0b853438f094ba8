//! Operations: one op, one file, which holds what it computes, its checked public function, its part in every sweep, its CPU
//! code and its tests. Adding an op adds a file and a line here.

/// The entry of a kernel for a precision, or for a variant of the type `Tile` of the caller and a precision: a function of
/// [`crate::device::kernels::launch`].
macro_rules! entry {
    ($tile:expr, $precision:expr; $($by:ident: $f32:ident $tf32:ident $bf16:ident $f16:ident,)*) => {
        match $tile {
            $(Tile::$by => entry!($precision; $f32 $tf32 $bf16 $f16),)*
        }
    };
    ($precision:expr; $f32:ident $tf32:ident $bf16:ident $f16:ident) => {
        match $precision {
            crate::device::Precision::F32 => crate::device::kernels::launch::$f32,
            crate::device::Precision::Tf32 => crate::device::kernels::launch::$tf32,
            crate::device::Precision::Bf16 => crate::device::kernels::launch::$bf16,
            crate::device::Precision::F16 => crate::device::kernels::launch::$f16,
        }
    };
}

mod activation;
mod attention;
mod batch_norm;
mod channels_first;
mod conv1d;
mod conv1d_add;
mod conv1d_norm;
mod dropout;
mod elementwise;
mod layer_norm;
mod layout;
mod linear;
mod log;
mod loss;
mod pool;
mod powers;
mod reduce;
mod reverse_complement;
mod stem;
mod stem_pool;

pub use activation::activation;
pub use attention::{AttentionArgs, attention, position_table};
pub use batch_norm::{batch_norm_activation_eval, batch_norm_activation_train, batch_norm_eval, batch_norm_train};
pub use channels_first::{Turn, channels_first};
pub use conv1d::{Conv1dArgs, conv1d};
pub use conv1d_add::conv1d_add;
pub use conv1d_norm::{Conv1dNorm, RunningNorm, Wanted, conv1d_norm};
pub use dropout::dropout;
pub use elementwise::{add, divide, exp_difference, fraction, multiply, subtract};
pub use layer_norm::layer_norm;
pub use layout::{channels, concat, crop, flatten};
pub use linear::linear;
pub use log::log;
pub use loss::{Loss, Values, loss};
pub use pool::{Padding, PoolArgs, PoolKind, pool};
pub use powers::powers;
pub use reduce::{mean_rows, softmax};
pub use reverse_complement::reverse_complement;
pub use stem::{StemArgs, Strands, stem};
pub use stem_pool::{stem_pool, stem_pool_fits};

use crate::device::{Ptr, PtrMut};
use crate::error::{Error, Result};
use crate::tape::{Delta, Var};
use crate::tensor::{OnDevice, Tensor};

/// Shape of `v` as `R` sizes, or an error that names the operation and the argument's expected shape.
pub(crate) fn checked_rank<const R: usize>(v: &Var, op: &'static str, arg: &'static str) -> Result<[usize; R]> {
    v.value.dims(op, arg)
}

/// Where a tensor in the memory of a GPU starts, as an argument of a kernel: null if there is none.
fn or_null<T: OnDevice>(t: Option<&Tensor>) -> Result<Ptr<T>> {
    t.map_or(Ok(Ptr::NULL), Tensor::ptr)
}

/// As [`or_null`], for a tensor that the kernel writes.
fn or_null_mut<T: OnDevice>(t: Option<&mut Tensor>) -> Result<PtrMut<T>> {
    t.map_or(Ok(PtrMut::NULL), Tensor::ptr_mut)
}

/// The change of input `i`, for operations with a single input that can change.
pub(crate) fn changed<'a>(dx: &[Option<&'a Delta>], i: usize) -> Result<&'a Delta> {
    dx.get(i).copied().flatten().ok_or(Error::Unsupported { op: "delta", what: "a change of weights".into() })
}

/// Runs `f(row, first element in the row, piece)` on pieces of the rows of `y`, `size` elements each: for operations whose
/// sweep rows point anywhere on the tape.
pub(crate) fn for_rows<T: Send>(y: &mut [T], size: usize, f: impl Fn(usize, usize, &mut [T]) + Sync) {
    const PIECE: usize = 1 << 14;
    if size == 0 {
        return;
    }
    let mut pieces = Vec::with_capacity(y.len() / size);
    for (r, row) in y.chunks_exact_mut(size).enumerate() {
        pieces.extend(row.chunks_mut(PIECE).enumerate().map(|(i, piece)| (r, i * PIECE, piece)));
    }
    crate::util::par::each(pieces, |(r, at, piece)| f(r, at, piece));
}
