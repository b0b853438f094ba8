//! Scalar and slice maths that ops share, f32 and f64: elementary functions, activations with their gradients and exact
//! differences, softmax, the weighted pool cell, sums of fixed order.
//!
//! Everything is branch-free inside a block of 64 elements and compiled for every instruction set ([`super::simd`]). An
//! element's result depends on that element alone: the last, shorter block is padded and runs the same code.

mod activation;
mod curve;
mod float;
mod format;
mod pool;
mod slice;

pub use activation::Activation;
pub use curve::power_difference;
pub use float::Float;
pub use pool::{Pad, PadChange, Rows, weighted_pool, weighted_pool_delta, weighted_pool_gradient};
pub use slice::*;

/// Elements that a loop handles at once: four AVX-512 registers of f32.
const BLOCK: usize = 64;

/// A block with the values of a slice of at most N elements, zeros behind them.
#[inline(always)]
fn load<T: Float, const N: usize>(from: &[T]) -> [T; N] {
    if let Ok(full) = <[T; N]>::try_from(from) {
        return full;
    }
    let mut block = [T::ZERO; N];
    block[..from.len()].copy_from_slice(from);
    block
}

/// The first elements of a block into a slice of at most N.
#[inline(always)]
fn store<T: Float, const N: usize>(block: &[T; N], to: &mut [T]) {
    if let Ok(full) = <&mut [T; N]>::try_from(&mut *to) {
        *full = *block;
    } else {
        to.copy_from_slice(&block[..to.len()]);
    }
}
