//! What the crate asks of a GPU: memory, copies, launches. The CUDA driver answers, or, in tests without a
//! GPU, the host emulation (cargo feature `emulate`).

use std::ffi::c_void;

use super::launch::{Kernel, Launch, TensorMap};
use crate::error::Error;

/// What is known of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// As `--device` takes it, e.g. `cuda:0`.
    pub device: String,
    /// What its maker calls it.
    pub name: String,
    /// Size of its memory.
    pub memory_bytes: u64,
    /// Compute capability, e.g. (9, 0).
    pub capability: (u32, u32),
    /// Streaming multiprocessors.
    pub multiprocessors: u32,
    /// The most shared memory that a block may ask for.
    pub shared_bytes: u32,
}

/// An array of 16-bit floats in the memory of a GPU that bulk copies read box by box (`cuTensorMapEncodeTiled`). Sizes are given
/// from the dimension that runs fastest; what lies outside of the array reads as zero. 16-byte units are permuted within rows of
/// 128 bytes, as matrix instructions want them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Boxes {
    /// Elements in every dimension.
    pub dims: Vec<u64>,
    /// Bytes from one index to the next in every dimension but the first; multiples of 16.
    pub strides: Vec<u64>,
    /// Elements of a box in every dimension, at most 256.
    pub size: Vec<u32>,
}

/// A copy to the host that has begun.
#[derive(Debug)]
pub struct Ticket {
    /// Where the bytes arrive, in the memory of the host.
    pub(super) buffer: u64,
    /// How many.
    pub(super) bytes: usize,
    /// What says that they have arrived.
    pub(super) event: u64,
}

/// Why a call failed.
#[derive(Debug)]
pub enum Failure {
    /// There was not enough memory, on the GPU or of the kind that it copies from and to. The call may be repeated when some was
    /// given back.
    NoMemory(Error),
    /// Anything else.
    Other(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}

impl Failure {
    /// What to tell the user.
    pub fn error(self) -> Error {
        match self {
            Self::NoMemory(error) | Self::Other(error) => error,
        }
    }
}

/// What a call returns.
pub type Done<T> = Result<T, Failure>;

/// A GPU at work. All calls are ordered: what was asked for first is done first, also where a call returns before that.
///
/// Addresses are those that `allocate` returned, or inside of such an allocation; callers guarantee the lengths.
pub trait Driver: Send + Sync {
    /// What is known of the GPU.
    fn about(&self) -> &About;

    /// Memory for `bytes` bytes, aligned to 256.
    ///
    /// # Errors
    /// [`Failure`].
    fn allocate(&self, bytes: usize) -> Done<u64>;

    /// Gives memory back.
    ///
    /// # Safety
    /// `address` came from `allocate`, and nothing asked for later uses it.
    unsafe fn release(&self, address: u64);

    /// Gives back what it keeps for later calls and could make again, such as page-locked memory that no copy uses.
    fn relinquish(&self) {}

    /// Copies to the GPU; `from` may be dropped on return.
    ///
    /// # Errors
    /// [`Failure`].
    ///
    /// # Safety
    /// `to` has room.
    unsafe fn upload(&self, to: u64, from: &[u8]) -> Done<()>;

    /// Copies from the GPU; on return all that was asked for before is done.
    ///
    /// # Errors
    /// [`Failure`], also for what an earlier launch did wrong.
    ///
    /// # Safety
    /// `from` holds as many bytes.
    unsafe fn download(&self, from: u64, to: &mut [u8]) -> Done<()>;

    /// Begins to copy from the GPU; the copy runs when all that was asked for before is done.
    ///
    /// # Errors
    /// [`Failure`].
    ///
    /// # Safety
    /// `from` holds as many bytes, and nothing that is asked for later changes them before the copy.
    unsafe fn begin_download(&self, from: u64, bytes: usize) -> Done<Ticket>;

    /// Waits for a copy and hands out what it brought; with an empty `to` it only forgets the copy.
    ///
    /// # Errors
    /// [`Failure`], also for what an earlier launch did wrong.
    fn end_download(&self, ticket: Ticket, to: &mut [u8]) -> Done<()>;

    /// Copies within the GPU's memory.
    ///
    /// # Errors
    /// [`Failure`].
    ///
    /// # Safety
    /// Both places hold `bytes` bytes and do not overlap.
    unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Done<()>;

    /// Sets bytes.
    ///
    /// # Errors
    /// [`Failure`].
    ///
    /// # Safety
    /// `to` has room.
    unsafe fn fill(&self, to: u64, byte: u8, bytes: usize) -> Done<()>;

    /// Runs a kernel. `args` holds the address of every argument's value.
    ///
    /// # Errors
    /// [`Failure`].
    ///
    /// # Safety
    /// The arguments are those of the kernel's prototype, and the memory that they point to suffices for what it does.
    unsafe fn launch(&self, kernel: &'static Kernel, launch: Launch, args: &mut [*mut c_void]) -> Done<()>;

    /// Describes an array for bulk copies.
    ///
    /// # Errors
    /// [`Failure`] for sizes or addresses that the hardware cannot take.
    fn tensor_map(&self, address: u64, boxes: &Boxes) -> Done<TensorMap>;

    /// Waits until all that was asked for is done.
    ///
    /// # Errors
    /// [`Failure`] for what went wrong.
    fn synchronize(&self) -> Done<()>;

    /// Marks the moment at which all that was asked for before is done; [`Driver::forget`] takes the mark back.
    ///
    /// # Errors
    /// [`Failure`].
    fn mark(&self) -> Done<u64>;

    /// Waits for the later of two moments; returns the milliseconds between them.
    ///
    /// # Errors
    /// [`Failure`], also for what an earlier launch did wrong.
    fn between_ms(&self, from: u64, to: u64) -> Done<f64>;

    /// Takes a mark back.
    fn forget(&self, mark: u64);

    /// Whether the kernels for compute capability 9.0 alone are there.
    fn has_sm90_kernels(&self) -> bool {
        true
    }

    /// Whether returned memory may be kept for the next allocation of about that size. Not where every allocation is watched.
    fn reuses_memory(&self) -> bool {
        true
    }
}
