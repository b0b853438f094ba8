//! What a kernel launch is made of: typed device pointers, grid and block, the tables that the build makes of the kernels'
//! prototypes.
//!
//! The build reads every entry `extern "C" __global__ void name(arguments)` of `kernels/*.cu` and writes a Rust function of
//! that name and those arguments ([`super::kernels::launch`]): a launch with a wrong number or type of arguments does not
//! compile.

#[cfg(feature = "emulate")]
use std::ffi::c_void;
use std::marker::PhantomData;

/// A 16-bit float with the exponent of f32, as its bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct Bf16(pub u16);

/// An IEEE 16-bit float, as its bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(transparent)]
pub struct F16(pub u16);

/// Element types that kernels read and write.
pub trait DeviceType: bytemuck::Pod + Send + Sync {}
impl DeviceType for f32 {}
impl DeviceType for f64 {}
impl DeviceType for Bf16 {}
impl DeviceType for F16 {}
impl DeviceType for u8 {}
impl DeviceType for i32 {}
impl DeviceType for u32 {}
impl DeviceType for i64 {}

/// A pointer argument that a kernel reads: an address in the memory of a GPU.
#[derive(Debug)]
#[repr(transparent)]
pub struct Ptr<T>(u64, PhantomData<*const T>);

/// A pointer argument that a kernel writes.
#[derive(Debug)]
#[repr(transparent)]
pub struct PtrMut<T>(u64, PhantomData<*mut T>);

macro_rules! pointer {
    ($name:ident) => {
        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                *self
            }
        }
        impl<T> Copy for $name<T> {}
        impl<T: DeviceType> $name<T> {
            /// No memory: an optional argument that is not given.
            pub const NULL: Self = Self(0, PhantomData);

            /// The address `address` of elements of this type.
            pub fn new(address: u64) -> Self {
                Self(address, PhantomData)
            }

            /// The address.
            pub fn address(self) -> u64 {
                self.0
            }

            /// The address of the element `n` further on.
            #[must_use]
            pub fn offset(self, n: usize) -> Self {
                Self::new(self.0 + (n * size_of::<T>()) as u64)
            }
        }
    };
}
pointer!(Ptr);
pointer!(PtrMut);

impl<T: DeviceType> From<PtrMut<T>> for Ptr<T> {
    fn from(p: PtrMut<T>) -> Self {
        Self::new(p.0)
    }
}

/// Description of an array for bulk copies (`CUtensorMap`), opaque.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct TensorMap(pub(super) [u64; 16]);

/// How many threads run a kernel. Blocks are one-dimensional.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Blocks along x, y and z.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: u32,
    /// Bytes of shared memory that are asked for at launch.
    pub shared_bytes: u32,
}

impl Launch {
    /// The most blocks that a grid may have along y, and along z.
    pub const MOST_YZ: usize = 65_535;
    /// Blocks that fill any GPU.
    const FILLING: usize = 16 * 1024;

    /// `blocks` blocks of `threads` threads.
    pub fn new(blocks: usize, threads: u32) -> Self {
        Self { grid: [u32::try_from(blocks).unwrap_or(u32::MAX), 1, 1], block: threads, shared_bytes: 0 }
    }

    /// Blocks of eight warps for `rows` rows that a warp each takes, for kernels that stride over the grid.
    pub fn warps(rows: usize) -> Self {
        Self::new(rows.div_ceil(8).clamp(1, Self::FILLING), 256)
    }

    /// Blocks of 256 threads for `n` elements, for kernels that stride over the grid: enough blocks to fill any GPU.
    pub fn elements(n: usize) -> Self {
        Self::new(n.div_ceil(256).clamp(1, Self::FILLING), 256)
    }
}

/// One entry of the kernels.
#[derive(Debug)]
pub struct Kernel {
    /// Name of the entry.
    pub name: &'static str,
    /// Number of its module in the table of modules.
    pub module: usize,
    /// The most threads that a block may have (`__launch_bounds__`); 0 if it does not say.
    pub threads: u32,
    /// File and line, e.g. `conv1d.cu:123`.
    pub source: &'static str,
    /// Runs it on the host.
    #[cfg(feature = "emulate")]
    pub emulated:
        unsafe extern "C" fn(grid: *const [u32; 3], block: u32, shared_bytes: u32, args: *const *mut c_void) -> i32,
}

/// The compiled kernels of one file.
#[derive(Debug)]
pub struct Module {
    /// Name of the file, without `.cu`.
    pub name: &'static str,
    /// Machine code for several GPUs; empty if the build had no compiler for it.
    pub fatbin: &'static [u8],
    /// Whether it exists for compute capability 9.0 only.
    pub sm90: bool,
}
