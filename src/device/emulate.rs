//! A GPU that is none: kernels run on the host, for tests on machines without one (cargo feature `emulate`).
//!
//! The kernels' own sources are compiled as C++ against `kernels/emulate`. Memory is poisoned and watched: a kernel that reads what
//! nobody wrote finds NaN, one that writes outside of its memory fails.

use std::ffi::{CStr, c_char, c_int, c_void};

use super::driver::{About, Boxes, Done, Driver, Failure, Ticket};
use super::launch::{Kernel, Launch, TensorMap};
use crate::error::Error;

unsafe extern "C" {
    fn drg_emulate_message() -> *const c_char;
    fn drg_emulate_alloc(bytes: usize) -> *mut c_void;
    fn drg_emulate_free(address: *mut c_void) -> c_int;
    fn drg_emulate_check() -> c_int;
    fn drg_emulate_tensor_map(
        map: *mut c_void,
        element_bytes: c_int,
        rank: c_int,
        address: *mut c_void,
        dims: *const u64,
        strides: *const u64,
        size: *const u32,
        swizzle_bytes: c_int,
    ) -> c_int;
}

/// An emulated GPU of that compute capability.
pub(super) fn open(capability: (u32, u32)) -> Box<dyn Driver> {
    Box::new(Emulation {
        about: About {
            device: "emulate".into(),
            name: format!("host emulation of compute capability {}.{}", capability.0, capability.1),
            memory_bytes: 4 << 30,
            capability,
            multiprocessors: 3,
            shared_bytes: if capability == (9, 0) { 232_448 } else { 101_376 },
        },
        start: std::time::Instant::now(),
    })
}

struct Emulation {
    about: About,
    start: std::time::Instant,
}

impl Emulation {
    fn done(&self, status: c_int) -> Result<(), Error> {
        if status == 0 {
            return Ok(());
        }
        // SAFETY: a text that ends with a zero, valid until the next call of this thread.
        let text = unsafe { CStr::from_ptr(drg_emulate_message()) }.to_string_lossy().into_owned();
        Err(Error::Device { device: self.about.device.clone(), what: text })
    }
}

impl Driver for Emulation {
    fn about(&self) -> &About {
        &self.about
    }

    fn allocate(&self, bytes: usize) -> Done<u64> {
        // SAFETY: any size may be asked for.
        let address = unsafe { drg_emulate_alloc(bytes) };
        if address.is_null() {
            let what = "the host has not enough memory".into();
            return Err(Failure::NoMemory(Error::Device { device: self.about.device.clone(), what }));
        }
        Ok(address as u64)
    }

    unsafe fn release(&self, address: u64) {
        // SAFETY: the caller's. What a kernel wrote outside was found after its launch.
        let _ = unsafe { drg_emulate_free(address as *mut c_void) };
    }

    unsafe fn upload(&self, to: u64, from: &[u8]) -> Done<()> {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(from.as_ptr(), to as *mut u8, from.len()) };
        Ok(())
    }

    unsafe fn download(&self, from: u64, to: &mut [u8]) -> Done<()> {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to.as_mut_ptr(), to.len()) };
        Ok(())
    }

    unsafe fn begin_download(&self, from: u64, bytes: usize) -> Done<Ticket> {
        let mut copy = vec![0u8; bytes].into_boxed_slice();
        // SAFETY: the caller's.
        unsafe { self.download(from, &mut copy)? };
        Ok(Ticket { buffer: Box::into_raw(copy).cast::<u8>() as u64, bytes, event: 0 })
    }

    fn end_download(&self, ticket: Ticket, to: &mut [u8]) -> Done<()> {
        let copy = std::ptr::slice_from_raw_parts_mut(ticket.buffer as *mut u8, ticket.bytes);
        // SAFETY: the ticket was made of a box of that length, and is handed in once.
        let copy = unsafe { Box::from_raw(copy) };
        to.copy_from_slice(&copy[..to.len()]);
        Ok(())
    }

    unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Done<()> {
        // SAFETY: the caller's.
        unsafe { std::ptr::copy_nonoverlapping(from as *const u8, to as *mut u8, bytes) };
        Ok(())
    }

    unsafe fn fill(&self, to: u64, byte: u8, bytes: usize) -> Done<()> {
        // SAFETY: the caller's.
        unsafe { std::ptr::write_bytes(to as *mut u8, byte, bytes) };
        Ok(())
    }

    unsafe fn launch(&self, kernel: &'static Kernel, launch: Launch, args: &mut [*mut c_void]) -> Done<()> {
        // SAFETY: the build made the entry from the prototype that `args` was made from; the caller's for the memory.
        self.done(unsafe { (kernel.emulated)(&launch.grid, launch.block, launch.shared_bytes, args.as_ptr()) })?;
        // SAFETY: no preconditions.
        self.done(unsafe { drg_emulate_check() }).map_err(|e| {
            let what = format!("after kernel {}: {e}", kernel.name);
            Error::Device { device: self.about.device.clone(), what }.into()
        })
    }

    fn tensor_map(&self, address: u64, boxes: &Boxes) -> Done<TensorMap> {
        let mut map = TensorMap([0; 16]);
        // SAFETY: the arrays have as many entries as the rank says, the map has the size of the driver's.
        let status = unsafe {
            drg_emulate_tensor_map(
                (&raw mut map).cast(),
                2,
                boxes.dims.len() as c_int,
                address as *mut c_void,
                boxes.dims.as_ptr(),
                boxes.strides.as_ptr(),
                boxes.size.as_ptr(),
                128,
            )
        };
        self.done(status)?;
        Ok(map)
    }

    fn mark(&self) -> Done<u64> {
        // Launches return when they are done, so that the host's clock tells.
        Ok(self.start.elapsed().as_nanos() as u64)
    }

    fn between_ms(&self, from: u64, to: u64) -> Done<f64> {
        Ok(1e-6 * to.saturating_sub(from) as f64)
    }

    fn forget(&self, _: u64) {}

    fn synchronize(&self) -> Done<()> {
        Ok(())
    }

    fn reuses_memory(&self) -> bool {
        false
    }
}
