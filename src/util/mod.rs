//! Leaves that every layer may use: whole-file writes, the counter-based random generator, SIMD dispatch, scalar maths.

pub mod fs;
pub mod math;
pub mod philox;
pub mod simd;
