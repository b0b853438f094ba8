//! The CUDA driver at work: one context, one stream, modules loaded when their first kernel is launched.
//!
//! `cudarc` declares the driver's functions and looks for each when it is first called, and panics for one that is not there;
//! therefore [`open`] asks [`probe`](super::probe) first, which does not, and refuses drivers that are too old.

use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, CString, c_void};
use std::fmt::Display;
use std::ptr::null_mut;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cudarc::driver::sys;

use super::driver::{About, Boxes, Done, Driver, Failure, Ticket};
use super::kernels::{BUILT, KERNELS, MODULES};
use super::launch::{Kernel, Launch, TensorMap};
use super::probe;
use crate::error::{Error, Result};

/// The lowest compute capability that the kernels are compiled for.
pub(super) const OLDEST_CARD: (u32, u32) = (8, 0);
/// The lowest driver that has every function that is called here.
pub(super) const OLDEST_DRIVER: (u32, u32) = (12, 1);
/// Bytes of a copy that goes at once through pinned memory.
const PINNED: usize = 8 << 20;
/// Bytes that may be on their way to the GPU.
const SENT: usize = 64 << 20;

/// What the driver knows of a GPU, if kernels of this build run on it.
///
/// # Errors
/// What is missing and what to do: no driver, a stub, an old driver, no such GPU, a GPU that is too old, a build without kernels.
pub(super) fn usable(number: usize, driver: &std::result::Result<probe::Driver, probe::Absence>) -> Result<About> {
    let device = format!("cuda:{number}");
    let refuse = |what: String| Err(Error::Device { device: device.clone(), what });
    let driver = match driver {
        Ok(driver) => driver,
        Err(absence) => return refuse(absence.to_string()),
    };
    let Some(card) = driver.gpus.get(number) else {
        let n = driver.gpus.len();
        return refuse(match n {
            1 => "the driver knows 1 GPU, cuda:0".into(),
            _ => format!("the driver knows {n} GPUs, cuda:0 to cuda:{}", n - 1),
        });
    };
    if card.capability < OLDEST_CARD {
        let ((a, b), (c, d)) = (card.capability, OLDEST_CARD);
        let name = &card.name;
        return refuse(format!("{name} has compute capability {a}.{b}; the kernels need {c}.{d} (Ampere) or later"));
    }
    let Some(compiler) = BUILT else {
        return refuse(
            "this build has no GPU kernels: no nvcc was found when it was compiled; set DRG_NVCC to one and build again"
                .into(),
        );
    };
    if let Some(missing) = MODULES.iter().find(|m| !m.sm90 && m.fatbin.is_empty()) {
        let what = format!("this build lacks the kernels '{}', which nvcc did not compile; build again", missing.name);
        return refuse(what);
    }
    let needed = OLDEST_DRIVER.max((compiler_version(compiler).0, 0));
    if driver.cuda < needed {
        let ((a, b), (c, d)) = (driver.cuda, needed);
        return refuse(format!(
            "the driver serves CUDA up to {a}.{b}, the kernels need {c}.{d}; update the NVIDIA driver"
        ));
    }
    Ok(card.clone())
}

/// `(13, 0)` of `13.0, V13.0.88`, as the build writes it.
fn compiler_version(text: &str) -> (u32, u32) {
    let mut parts = text.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

/// The GPU of that number, ready to work.
///
/// # Errors
/// As [`usable`]; [`Error::Device`] if the driver refuses.
pub(super) fn open(number: usize) -> Result<Box<dyn Driver>> {
    let about = usable(number, &probe::probe())?;
    let failed = |call, code| error(&about.device, call, code);
    let mut device = 0;
    let (mut context, mut stream) = (null_mut(), null_mut());
    // SAFETY: the driver is there and new enough (`usable`); pointers are to live locals of the declared types.
    unsafe {
        check(sys::cuInit(0)).map_err(|e| failed("cuInit", e))?;
        check(sys::cuDeviceGet(&mut device, number as i32)).map_err(|e| failed("cuDeviceGet", e))?;
        check(sys::cuDevicePrimaryCtxRetain(&mut context, device))
            .map_err(|e| failed("cuDevicePrimaryCtxRetain", e))?;
        check(sys::cuCtxSetCurrent(context)).map_err(|e| failed("cuCtxSetCurrent", e))?;
        let flags = sys::CUstream_flags_enum::CU_STREAM_NON_BLOCKING as u32;
        check(sys::cuStreamCreate(&mut stream, flags)).map_err(|e| failed("cuStreamCreate", e))?;
    }
    let cuda = Cuda { about, device, context, stream, loaded: Mutex::default(), pinned: Mutex::default() };
    // What the driver cannot load is said now, while `auto` can still take the CPU.
    if let Some(kernel) = KERNELS.iter().find(|k| !MODULES[k.module].sm90) {
        cuda.function(kernel, 0).map_err(Failure::error)?;
    }
    Ok(Box::new(cuda))
}

struct Cuda {
    about: About,
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    loaded: Mutex<Loaded>,
    pinned: Mutex<Pinned>,
}

// SAFETY: handles of the driver may be used from any thread once the context is current there, which every call sees to.
unsafe impl Send for Cuda {}
// SAFETY: as above; what is not thread-safe is behind a lock.
unsafe impl Sync for Cuda {}

#[derive(Default)]
struct Loaded {
    modules: HashMap<usize, sys::CUmodule>,
    /// By name: the function, and the shared memory that it was last allowed.
    functions: HashMap<&'static str, (sys::CUfunction, u32)>,
}

/// Page-locked host memory for copies that the GPU does by itself, and events that say when they are done.
#[derive(Default)]
struct Pinned {
    /// Address and size of the buffers that nobody uses.
    free: Vec<(u64, usize)>,
    /// Size of every buffer, by address.
    sizes: HashMap<u64, usize>,
    /// Events that nobody uses.
    events: Vec<sys::CUevent>,
    /// Copies to the GPU whose buffers are still being read, oldest first.
    sent: VecDeque<Ticket>,
}

impl Pinned {
    fn give_back(&mut self, ticket: &Ticket) {
        self.free.push((ticket.buffer, self.sizes[&ticket.buffer]));
        self.events.push(ticket.event as sys::CUevent);
    }
}

fn check(code: sys::CUresult) -> std::result::Result<(), sys::CUresult> {
    if code == sys::CUresult::CUDA_SUCCESS { Ok(()) } else { Err(code) }
}

fn error(device: &str, call: impl Display, code: sys::CUresult) -> Error {
    let mut text = std::ptr::null();
    // SAFETY: the driver writes a pointer to a text of its own, or refuses.
    let known = unsafe { check(sys::cuGetErrorString(code, &mut text)) }.is_ok() && !text.is_null();
    // SAFETY: a text that ends with a zero and is never freed.
    let text = if known { unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned() } else { String::new() };
    let advice = match code {
        sys::CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU => "; the kernels were not compiled for this GPU (DRG_CUDA_ARCHS)",
        sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY => "; other programs hold its memory: nvidia-smi lists them",
        sys::CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => "; update the NVIDIA driver",
        sys::CUresult::CUDA_ERROR_ILLEGAL_ADDRESS => "; a kernel read or wrote outside of its memory: this is a bug",
        _ => "",
    };
    Error::Device { device: device.into(), what: format!("{call} failed: {text} (error {}){advice}", code as u32) }
}

impl Cuda {
    /// Nothing, or the error of `call`, whose text is made only then.
    fn done(&self, call: impl Display, code: sys::CUresult) -> Done<()> {
        check(code).map_err(|code| {
            let error = error(&self.about.device, call, code);
            if code == sys::CUresult::CUDA_ERROR_OUT_OF_MEMORY { Failure::NoMemory(error) } else { error.into() }
        })
    }

    /// Makes the context that of the calling thread.
    fn enter(&self) -> Done<()> {
        // SAFETY: the context lives as long as `self`.
        self.done("cuCtxSetCurrent", unsafe { sys::cuCtxSetCurrent(self.context) })
    }

    /// The function of a kernel, allowed to have `shared` bytes of shared memory.
    fn function(&self, kernel: &'static Kernel, shared: u32) -> Done<sys::CUfunction> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let known = loaded.functions.get(kernel.name).copied();
        if let Some((function, allowed)) = known
            && shared <= allowed
        {
            return Ok(function);
        }
        let function = match known {
            Some((function, _)) => function,
            None => self.find(&mut loaded, kernel)?,
        };
        // Shared memory that a kernel declares itself counts too, so every request is allowed by name.
        if shared > 0 {
            let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            // SAFETY: the function belongs to a loaded module.
            let code = unsafe { sys::cuFuncSetAttribute(function, attribute, shared as i32) };
            self.done(format_args!("{shared} bytes of shared memory for {}", kernel.name), code)?;
        }
        loaded.functions.insert(kernel.name, (function, shared));
        Ok(function)
    }

    /// The function of a kernel, of a module that is loaded if it was not.
    fn find(&self, loaded: &mut Loaded, kernel: &'static Kernel) -> Done<sys::CUfunction> {
        let module = match loaded.modules.get(&kernel.module) {
            Some(&module) => module,
            None => {
                let module = self.load(kernel.module)?;
                loaded.modules.insert(kernel.module, module);
                module
            }
        };
        let mut function = null_mut();
        let name = CString::new(kernel.name).expect("names of kernels hold no zero");
        // SAFETY: the module is loaded; the name ends with a zero.
        let code = unsafe { sys::cuModuleGetFunction(&mut function, module, name.as_ptr()) };
        self.done(format_args!("cuModuleGetFunction({})", kernel.name), code)?;
        Ok(function)
    }

    fn load(&self, module: usize) -> Done<sys::CUmodule> {
        let image = &MODULES[module];
        if image.fatbin.is_empty() || (image.sm90 && self.about.capability != (9, 0)) {
            let what = format!("the kernels '{}' are not in this build for {}", image.name, self.about.name);
            return Err(Error::Device { device: self.about.device.clone(), what }.into());
        }
        let mut handle = null_mut();
        // SAFETY: the image is what the compiler wrote, complete, and as aligned as the build says.
        let code = unsafe { sys::cuModuleLoadData(&mut handle, image.fatbin.as_ptr().cast()) };
        self.done(format_args!("loading the kernels '{}'", image.name), code)?;
        Ok(handle)
    }

    fn pinned(&self) -> MutexGuard<'_, Pinned> {
        self.pinned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A buffer for `bytes` bytes and an event, for one copy.
    fn lend(&self, pinned: &mut Pinned, bytes: usize) -> Done<Ticket> {
        let event = match pinned.events.pop() {
            Some(event) => event,
            None => {
                let mut event = null_mut();
                let flags = sys::CUevent_flags_enum::CU_EVENT_DISABLE_TIMING as u32;
                // SAFETY: a pointer to a live local.
                self.done("cuEventCreate", unsafe { sys::cuEventCreate(&mut event, flags) })?;
                event
            }
        };
        let fits = pinned.free.iter().position(|&(_, size)| size >= bytes && size <= 4 * bytes.max(4096));
        let buffer = match fits {
            Some(i) => pinned.free.swap_remove(i).0,
            None => {
                let size = bytes.max(4096).next_power_of_two();
                let mut buffer = null_mut();
                // SAFETY: a pointer to a live local; ordinary cached memory, because it is also read.
                let code = unsafe { sys::cuMemHostAlloc(&mut buffer, size, 0) };
                if let Err(failure) = self.done(format_args!("cuMemHostAlloc of {size} bytes"), code) {
                    pinned.events.push(event);
                    return Err(failure);
                }
                pinned.sizes.insert(buffer as u64, size);
                buffer as u64
            }
        };
        Ok(Ticket { buffer, bytes, event: event as u64 })
    }

    /// Takes back the buffers of copies to the GPU that are done; waits for the oldest while too much is under way.
    fn reclaim(&self, pinned: &mut Pinned) -> Done<()> {
        while let Some(oldest) = pinned.sent.front() {
            let event = oldest.event as sys::CUevent;
            let crowded = pinned.sent.iter().map(|t| t.bytes).sum::<usize>() > SENT;
            // SAFETY: the event belongs to that copy.
            match unsafe { if crowded { sys::cuEventSynchronize(event) } else { sys::cuEventQuery(event) } } {
                sys::CUresult::CUDA_ERROR_NOT_READY => break,
                code => self.done("the work on the GPU", code)?,
            }
            if let Some(ticket) = pinned.sent.pop_front() {
                pinned.give_back(&ticket);
            }
        }
        Ok(())
    }
}

impl Driver for Cuda {
    fn about(&self) -> &About {
        &self.about
    }

    fn allocate(&self, bytes: usize) -> Done<u64> {
        self.enter()?;
        let mut address = 0;
        // SAFETY: a pointer to a live local.
        self.done("cuMemAlloc", unsafe { sys::cuMemAlloc_v2(&mut address, bytes) })?;
        Ok(address)
    }

    unsafe fn release(&self, address: u64) {
        if self.enter().is_ok() {
            // A failure here is that of an earlier launch, and the next copy says so.
            // SAFETY: the caller's.
            let _ = unsafe { sys::cuMemFree_v2(address) };
        }
    }

    fn relinquish(&self) {
        let mut pinned = self.pinned();
        // What went wrong before is said by whoever asks next.
        if self.enter().is_err() || self.reclaim(&mut pinned).is_err() {
            return;
        }
        for (buffer, _) in std::mem::take(&mut pinned.free) {
            pinned.sizes.remove(&buffer);
            // SAFETY: a buffer of `lend` that no copy uses.
            let _ = unsafe { sys::cuMemFreeHost(buffer as *mut c_void) };
        }
    }

    unsafe fn upload(&self, to: u64, from: &[u8]) -> Done<()> {
        self.enter()?;
        let mut pinned = self.pinned();
        for (i, part) in from.chunks(PINNED).enumerate() {
            self.reclaim(&mut pinned)?;
            let ticket = self.lend(&mut pinned, part.len())?;
            // SAFETY: the buffer holds the part and belongs to this copy until its event has come; the caller's for `to`.
            unsafe {
                std::ptr::copy_nonoverlapping(part.as_ptr(), ticket.buffer as *mut u8, part.len());
                let (to, from) = (to + (i * PINNED) as u64, ticket.buffer as *const c_void);
                self.done("cuMemcpyHtoDAsync", sys::cuMemcpyHtoDAsync_v2(to, from, part.len(), self.stream))?;
                self.done("cuEventRecord", sys::cuEventRecord(ticket.event as sys::CUevent, self.stream))?;
            }
            pinned.sent.push_back(ticket);
        }
        Ok(())
    }

    unsafe fn download(&self, from: u64, to: &mut [u8]) -> Done<()> {
        for (i, part) in to.chunks_mut(PINNED).enumerate() {
            // SAFETY: the caller's.
            let ticket = unsafe { self.begin_download(from + (i * PINNED) as u64, part.len()) }?;
            self.end_download(ticket, part)?;
        }
        Ok(())
    }

    unsafe fn begin_download(&self, from: u64, bytes: usize) -> Done<Ticket> {
        self.enter()?;
        let ticket = self.lend(&mut self.pinned(), bytes)?;
        // SAFETY: the buffer holds `bytes` bytes and belongs to this copy until its ticket comes back; the caller's for `from`.
        unsafe {
            if bytes > 0 {
                let code = sys::cuMemcpyDtoHAsync_v2(ticket.buffer as *mut c_void, from, bytes, self.stream);
                self.done("cuMemcpyDtoHAsync", code)?;
            }
            self.done("cuEventRecord", sys::cuEventRecord(ticket.event as sys::CUevent, self.stream))?;
        }
        Ok(ticket)
    }

    fn end_download(&self, ticket: Ticket, to: &mut [u8]) -> Done<()> {
        self.enter()?;
        assert!(to.len() <= ticket.bytes, "more bytes than the copy brought");
        // SAFETY: the event belongs to this copy.
        let waited = self.done("the work on the GPU", unsafe { sys::cuEventSynchronize(ticket.event as sys::CUevent) });
        if waited.is_ok() {
            // SAFETY: the buffer holds the bytes of the copy, which is done.
            unsafe { std::ptr::copy_nonoverlapping(ticket.buffer as *const u8, to.as_mut_ptr(), to.len()) };
        }
        self.pinned().give_back(&ticket);
        waited
    }

    unsafe fn copy(&self, from: u64, to: u64, bytes: usize) -> Done<()> {
        self.enter()?;
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the caller's.
        self.done("cuMemcpyDtoDAsync", unsafe { sys::cuMemcpyDtoDAsync_v2(to, from, bytes, self.stream) })
    }

    unsafe fn fill(&self, to: u64, byte: u8, bytes: usize) -> Done<()> {
        self.enter()?;
        if bytes == 0 {
            return Ok(());
        }
        // SAFETY: the caller's.
        self.done("cuMemsetD8Async", unsafe { sys::cuMemsetD8Async(to, byte, bytes, self.stream) })
    }

    unsafe fn launch(&self, kernel: &'static Kernel, launch: Launch, args: &mut [*mut c_void]) -> Done<()> {
        self.enter()?;
        let function = self.function(kernel, launch.shared_bytes)?;
        let Launch { grid: [x, y, z], block, shared_bytes } = launch;
        // SAFETY: the function belongs to a loaded module; the caller's for the arguments.
        let code = unsafe {
            let args = args.as_mut_ptr();
            sys::cuLaunchKernel(function, x, y, z, block, 1, 1, shared_bytes, self.stream, args, null_mut())
        };
        self.done(format_args!("kernel {}", kernel.name), code)
    }

    fn tensor_map(&self, address: u64, boxes: &Boxes) -> Done<TensorMap> {
        self.enter()?;
        let mut map = sys::CUtensorMap { opaque: [0; 16] };
        let steps = vec![1u32; boxes.dims.len()];
        // SAFETY: the arrays have as many entries as the rank says; the driver checks what they hold.
        let code = unsafe {
            sys::cuTensorMapEncodeTiled(
                &mut map,
                sys::CUtensorMapDataType_enum::CU_TENSOR_MAP_DATA_TYPE_UINT16,
                boxes.dims.len() as u32,
                address as *mut c_void,
                boxes.dims.as_ptr(),
                boxes.strides.as_ptr(),
                boxes.size.as_ptr(),
                steps.as_ptr(),
                sys::CUtensorMapInterleave_enum::CU_TENSOR_MAP_INTERLEAVE_NONE,
                sys::CUtensorMapSwizzle_enum::CU_TENSOR_MAP_SWIZZLE_128B,
                sys::CUtensorMapL2promotion_enum::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
                sys::CUtensorMapFloatOOBfill_enum::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        };
        self.done(format_args!("describing {boxes:?} for bulk copies"), code)?;
        Ok(TensorMap(map.opaque))
    }

    fn mark(&self) -> Done<u64> {
        self.enter()?;
        let mut event = null_mut();
        let flags = sys::CUevent_flags_enum::CU_EVENT_DEFAULT as u32;
        // SAFETY: a pointer to a live local; the stream lives as long as `self`.
        unsafe {
            self.done("cuEventCreate", sys::cuEventCreate(&mut event, flags))?;
            self.done("cuEventRecord", sys::cuEventRecord(event, self.stream))?;
        }
        Ok(event as u64)
    }

    fn between_ms(&self, from: u64, to: u64) -> Done<f64> {
        self.enter()?;
        let mut ms = 0.0;
        // SAFETY: both are events of `mark`, recorded in the one stream; a pointer to a live local.
        unsafe {
            self.done("the work on the GPU", sys::cuEventSynchronize(to as sys::CUevent))?;
            let code = sys::cuEventElapsedTime(&mut ms, from as sys::CUevent, to as sys::CUevent);
            self.done("cuEventElapsedTime", code)?;
        }
        Ok(f64::from(ms))
    }

    fn forget(&self, mark: u64) {
        if self.enter().is_ok() {
            // SAFETY: an event of `mark` that nobody uses any more.
            let _ = unsafe { sys::cuEventDestroy_v2(mark as sys::CUevent) };
        }
    }

    fn has_sm90_kernels(&self) -> bool {
        MODULES.iter().filter(|m| m.sm90).all(|m| !m.fatbin.is_empty())
    }

    fn synchronize(&self) -> Done<()> {
        self.enter()?;
        // SAFETY: the stream lives as long as `self`.
        self.done("the work on the GPU", unsafe { sys::cuStreamSynchronize(self.stream) })
    }
}

impl Drop for Cuda {
    fn drop(&mut self) {
        if self.enter().is_err() {
            return;
        }
        let pinned = self.pinned.get_mut().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: nothing runs any more, and nobody has these handles.
        unsafe {
            let _ = sys::cuStreamSynchronize(self.stream);
            for &buffer in pinned.sizes.keys() {
                let _ = sys::cuMemFreeHost(buffer as *mut c_void);
            }
            let sent = pinned.sent.iter().map(|ticket| ticket.event as sys::CUevent);
            for event in pinned.events.iter().copied().chain(sent) {
                let _ = sys::cuEventDestroy_v2(event);
            }
            for &module in self.loaded.get_mut().unwrap_or_else(PoisonError::into_inner).modules.values() {
                let _ = sys::cuModuleUnload(module);
            }
            let _ = sys::cuStreamDestroy_v2(self.stream);
            let _ = sys::cuDevicePrimaryCtxRelease_v2(self.device);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::probe::Absence;

    #[test]
    fn what_cannot_be_used_is_said() {
        let card = About {
            device: "cuda:0".into(),
            name: "A GPU".into(),
            memory_bytes: 1 << 30,
            capability: (9, 0),
            multiprocessors: 132,
            shared_bytes: 232_448,
        };
        let driver = |cuda, card: &About| Ok(probe::Driver { cuda, gpus: vec![card.clone()] });
        let text = |number, d: &_| usable(number, d).map_or_else(|e| e.to_string(), |a| a.name);
        assert!(text(0, &Err(Absence::NoDriver)).starts_with("cuda:0: no NVIDIA driver"));
        assert!(text(3, &driver((13, 0), &card)).contains("cuda:3: the driver knows 1 GPU, cuda:0"));
        let old = About { capability: (7, 5), ..card.clone() };
        assert!(text(0, &driver((13, 0), &old)).contains("compute capability 7.5; the kernels need 8.0"));
        let outdated = text(0, &driver((11, 8), &card));
        match BUILT {
            None => assert!(outdated.contains("no GPU kernels") && outdated.contains("DRG_NVCC"), "{outdated}"),
            Some(_) => {
                assert!(outdated.contains("CUDA up to 11.8") && outdated.contains("update"), "{outdated}");
                assert_eq!(text(0, &driver((99, 0), &card)), "A GPU");
            }
        }
        assert_eq!(compiler_version("13.0, V13.0.88"), (13, 0));
        if let Some(built) = BUILT {
            let (major, _) = compiler_version(built);
            assert!(major >= 12, "{built}");
            assert!(text(0, &driver((major - 1, 9), &card)).contains("update the NVIDIA driver"));
        }
    }
}
