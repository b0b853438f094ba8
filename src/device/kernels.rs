//! The kernels of this build: what the build script makes of `kernels/*.cu`.
use super::launch::{Kernel, Module};
/// none
pub static MODULES: &[Module] = &[];
/// none
pub static KERNELS: &[Kernel] = &[];
/// none
pub const BUILT: Option<&str> = None;
