//! The kernels of this build, as the build script found them in `kernels/*.cu`: machine code ([`MODULES`]), entries
//! ([`KERNELS`]) and a function to launch each of them ([`launch`]).

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));
