//! Leaves that every layer may use: whole-file writes, differences of JSON values, the counter-based random generator, SIMD dispatch, scalar maths,
//! work splitting.

pub mod fs;
pub mod json;
pub mod math;
pub mod par;
pub mod philox;
pub mod simd;
