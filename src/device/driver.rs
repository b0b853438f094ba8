//! What the crate asks of a GPU: memory, copies, launches. The CUDA driver answers, or, in tests without a
//! GPU, the host emulation (cargo feature `emulate`).

use std::ffi::c_void;

use super::launch::{Kernel, Launch, TensorMap};
use crate::error::Result;

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

/// A GPU at work. All calls are ordered: what was asked for first is done first, also where a call returns before that.
///
/// Addresses are those that `allocate` returned, or inside of such an allocation; callers guarantee the lengths.
pub trait Driver: Send + Sync {
    /// What is known of the GPU.
    fn about(&self) -> &About;

    /// Memory for `bytes` bytes, aligned to 256; `None` if there is not enough.
    ///
    /// # Errors
    /// [`crate::Error::Device`] for any other reason.
    fn allocate(&self, bytes: usize) -> Result<Option<u64>>;

    /// Gives memory back.
    ///
    /// # Safety
    /// `address` came from `allocate`, and nothing asked for later uses it.
    unsafe fn release(&self, address: u64);

    /// Copies to the GPU; `from` may be dropped on return.
    ///
    /// # Errors
    /// [`crate::Error::Device`].
    ///
    /// # Safety
    /// `to` has room.
    unsafe fn upload(&self, to: u64, from: &[u8]) -> Result<()>;

    /// Copies from the GPU; on return all that was asked for before is done.
    ///
    /// # Errors
    /// [`crate::Error::Device`], also for what an earlier launch did wrong.
    ///
    /// # Safety
    /// `from` holds as many bytes.
    unsafe fn download(&self, from: u64, to: &mut [u8]) -> Result<()>;

    /// Begins to copy from the GPU; the copy runs when all that was asked for before is done.
    ///
    /// # Errors
    /// [`crate::Error::Device`].
    ///
    /// # Safety
    /// `from` holds as many bytes, and nothing that is asked for later changes them before the copy.
    unsafe fn begin_download(&self, from: u64, bytes: usize) -> Result<Ticket>;

    /// Waits for a copy and hands out what it brought; with an empty `to` it only forgets the copy.
    ///
    /// # Errors
    /// [`crate::Error::Device`], also for what an earlier launch did wrong.
    fn end_download(&self, ticket: Ticket, to: &mut [u8]) -> Result<()>;

    /// Copies within the GPU's memory.
    ///
    /// # Errors
    /// [`crate::Error::Device`].
    ///
    /// # Safety
    /// Both places hold `bytes` bytes and do not overlap.
    unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Result<()>;

    /// Sets bytes.
    ///
    /// # Errors
    /// [`crate::Error::Device`].
    ///
    /// # Safety
    /// `to` has room.
    unsafe fn fill(&self, to: u64, byte: u8, bytes: usize) -> Result<()>;

    /// Runs a kernel. `args` holds the address of every argument's value.
    ///
    /// # Errors
    /// [`crate::Error::Device`].
    ///
    /// # Safety
    /// The arguments are those of the kernel's prototype, and the memory that they point to suffices for what it does.
    unsafe fn launch(&self, kernel: &'static Kernel, launch: Launch, args: &mut [*mut c_void]) -> Result<()>;

    /// Describes an array for bulk copies.
    ///
    /// # Errors
    /// [`crate::Error::Device`] for sizes or addresses that the hardware cannot take.
    fn tensor_map(&self, address: u64, boxes: &Boxes) -> Result<TensorMap>;

    /// Waits until all that was asked for is done.
    ///
    /// # Errors
    /// [`crate::Error::Device`] for what went wrong.
    fn synchronize(&self) -> Result<()>;

    /// Marks the moment at which all that was asked for before is done; [`Driver::forget`] takes the mark back.
    ///
    /// # Errors
    /// [`crate::Error::Device`].
    fn mark(&self) -> Result<u64>;

    /// Waits for the later of two moments; returns the milliseconds between them.
    ///
    /// # Errors
    /// [`crate::Error::Device`], also for what an earlier launch did wrong.
    fn between_ms(&self, from: u64, to: u64) -> Result<f64>;

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
