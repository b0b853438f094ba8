//! A GPU as the rest of the crate sees it: memory with an owner, copies, launches.

use std::ffi::c_void;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::driver::{About, Boxes, Done, Driver, Failure, Ticket};
use super::launch::{DeviceType, Kernel, Launch, Ptr, TensorMap};
use super::pool::{Pool, rounded};
use crate::error::{Error, Result};

/// Tables of integers that are kept on the GPU for later launches.
const TABLES: usize = 64;

/// A GPU. Clones are the same GPU; all work on it is done in the order in which it was asked for.
#[derive(Clone)]
pub struct Gpu(Arc<Inner>);

struct Inner {
    driver: Box<dyn Driver>,
    pool: Mutex<Pool>,
    tables: Mutex<Vec<(Arc<[i32]>, Arc<Block>)>>,
}

/// A stretch of memory; its owner gives it back.
struct Block {
    address: u64,
    size: usize,
}

/// Memory of a GPU. It goes back to a pool when it is dropped.
pub struct Memory {
    gpu: Gpu,
    block: Block,
    bytes: usize,
}

/// A table of integers on the GPU.
pub struct Table {
    gpu: Gpu,
    block: Option<Arc<Block>>,
}

/// A copy to the host that has begun.
pub struct Download {
    gpu: Gpu,
    ticket: Option<Ticket>,
    bytes: usize,
}

/// The moment at which all work is done that was asked for before it.
pub struct Moment {
    gpu: Gpu,
    mark: u64,
}

/// Memory of a GPU in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Held by tensors.
    pub in_use: usize,
    /// Waiting for the next tensor.
    pub cached: usize,
    /// The most that was ever held by tensors at once.
    pub peak: usize,
}

fn locked<T>(m: &Mutex<T>) -> MutexGuard<'_, T> {
    m.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gpu {
    /// The GPU behind a driver.
    pub fn new(driver: Box<dyn Driver>) -> Self {
        Self(Arc::new(Inner { driver, pool: Mutex::default(), tables: Mutex::default() }))
    }

    /// What is known of it.
    pub fn about(&self) -> &About {
        self.0.driver.about()
    }

    /// Whether both are the same.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether its compute capability is 9.0, for which some kernels have a form of their own, and the build has them.
    pub fn is_sm90(&self) -> bool {
        self.about().capability == (9, 0) && self.0.driver.has_sm90_kernels()
    }

    /// Memory for `bytes` bytes; it holds anything.
    ///
    /// # Errors
    /// [`Error::Device`] if there is not enough.
    pub fn allocate(&self, bytes: usize) -> Result<Memory> {
        let size = if self.0.driver.reuses_memory() { rounded(bytes) } else { bytes.max(1) };
        let taken = locked(&self.0.pool).take(size);
        if let Some((address, size)) = taken {
            return Ok(Memory { gpu: self.clone(), block: Block { address, size }, bytes });
        }
        // Sizes change during a long job: what nobody asked for again is given back before it fills the GPU.
        if self.usage().cached > self.about().memory_bytes as usize / 2 {
            self.trim()?;
        }
        let address = match self.twice(|driver| driver.allocate(size)) {
            Ok(address) => address,
            Err(Failure::Other(error)) => return Err(error),
            Err(Failure::NoMemory(_)) => {
                let Usage { in_use, .. } = self.usage();
                return Err(self.error(format!(
                    "not enough memory: {:.1} MiB more were needed, {:.1} MiB are in use here, the GPU has {:.1} MiB; use \
                     smaller batches, or stop other programs on this GPU",
                    mib(bytes),
                    mib(in_use),
                    mib(self.about().memory_bytes as usize)
                )));
            }
        };
        locked(&self.0.pool).count(size);
        Ok(Memory { gpu: self.clone(), block: Block { address, size }, bytes })
    }

    /// Does what needs memory of the driver, as everything may that is not done often: kernels are loaded when they are first
    /// launched, and copies want page-locked memory.
    fn with_room<T>(&self, call: impl FnMut(&dyn Driver) -> Done<T>) -> Result<T> {
        self.twice(call).map_err(Failure::error)
    }

    /// Does something, and once more if there was not enough memory for it: then with all that waits for reuse given back.
    fn twice<T>(&self, mut call: impl FnMut(&dyn Driver) -> Done<T>) -> Done<T> {
        let driver = &*self.0.driver;
        match call(driver) {
            Err(Failure::NoMemory(_)) => {
                self.trim()?;
                call(driver)
            }
            done => done,
        }
    }

    /// Gives memory that waits for reuse back to the driver, and has it give back its own.
    ///
    /// # Errors
    /// [`Error::Device`] for what went wrong on the GPU before.
    pub fn trim(&self) -> Result<()> {
        // First out of the pool, then waiting: what another thread gives back meanwhile stays.
        let free = locked(&self.0.pool).drain();
        let done = self.synchronize();
        for address in free {
            // SAFETY: the pool held addresses of `allocate`; all work that used them is done.
            unsafe { self.0.driver.release(address) };
        }
        self.0.driver.relinquish();
        done
    }

    /// Memory in use, and the most there ever was.
    pub fn usage(&self) -> Usage {
        let pool = locked(&self.0.pool);
        Usage { in_use: pool.in_use, cached: pool.cached, peak: pool.peak }
    }

    /// `values` in the memory of the GPU.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn upload<T: DeviceType>(&self, values: &[T]) -> Result<Memory> {
        let memory = self.allocate(size_of_val(values))?;
        // SAFETY: the memory was allocated with the size of the values.
        self.with_room(|driver| unsafe { driver.upload(memory.address(), bytemuck::cast_slice(values)) })?;
        Ok(memory)
    }

    /// A table of integers (starts of windows, rows) on the GPU. A few of them are kept, so that the operations of a sweep that
    /// share a table send it once.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn table(&self, values: &Arc<[i32]>) -> Result<Table> {
        let mut tables = locked(&self.0.tables);
        if let Some(i) = tables.iter().position(|(key, _)| Arc::ptr_eq(key, values)) {
            let found = tables.remove(i);
            let block = found.1.clone();
            tables.push(found);
            return Ok(Table { gpu: self.clone(), block: Some(block) });
        }
        // Others need not wait for the copy. If one of them makes the same table meanwhile, there are two for a while.
        drop(tables);
        let table = self.table_once(values)?;
        let mut tables = locked(&self.0.tables);
        tables.extend(table.block.clone().map(|block| (values.clone(), block)));
        let old = if tables.len() > TABLES { Some(tables.remove(0).1) } else { None };
        drop(tables);
        drop(Table { gpu: self.clone(), block: old });
        Ok(table)
    }

    /// As [`Gpu::table`], for a table that nobody will ask for again.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn table_once(&self, values: &[i32]) -> Result<Table> {
        let block = self.upload(values)?.into_block();
        Ok(Table { gpu: self.clone(), block: Some(Arc::new(block)) })
    }

    /// Runs a kernel; use the generated functions of [`super::kernels::launch`]. A launch without blocks does nothing.
    ///
    /// # Errors
    /// [`Error::Device`] for a launch that the kernel or the GPU cannot have, and for what the driver says.
    ///
    /// # Safety
    /// The arguments are those of the kernel's prototype, and the memory that they point to suffices for what it does.
    pub unsafe fn launch(&self, kernel: &'static Kernel, launch: Launch, args: &mut [*mut c_void]) -> Result<()> {
        let [x, y, z] = launch.grid;
        if x == 0 || y == 0 || z == 0 {
            return Ok(());
        }
        let most = if kernel.threads == 0 { 1024 } else { kernel.threads };
        let refused = |what: String| {
            Err(self.error(format!("kernel {} ({}) cannot have {what}: this is a bug", kernel.name, kernel.source)))
        };
        if launch.block == 0 || launch.block > most {
            return refused(format!("{} threads a block; expected 1 to {most}", launch.block));
        }
        if x > i32::MAX as u32 || y.max(z) as usize > Launch::MOST_YZ {
            return refused(format!("a grid of {x} x {y} x {z} blocks"));
        }
        if launch.shared_bytes > self.about().shared_bytes {
            let (has, asked) = (self.about().shared_bytes, launch.shared_bytes);
            return refused(format!("{asked} bytes of shared memory on a GPU with {has}"));
        }
        // SAFETY: the caller's.
        self.with_room(|driver| unsafe { driver.launch(kernel, launch, args) })
    }

    /// Describes `boxes` of an array at `address` for bulk copies.
    ///
    /// # Errors
    /// [`Error::Device`] for sizes that the hardware cannot take.
    pub fn tensor_map(&self, address: u64, boxes: &Boxes) -> Result<TensorMap> {
        self.0.driver.tensor_map(address, boxes).map_err(Failure::error)
    }

    /// Waits until all work is done.
    ///
    /// # Errors
    /// [`Error::Device`] for what went wrong.
    pub fn synchronize(&self) -> Result<()> {
        self.0.driver.synchronize().map_err(Failure::error)
    }

    /// The moment at which all is done that was asked for so far. It costs next to nothing, and nobody waits for it.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn moment(&self) -> Result<Moment> {
        Ok(Moment { gpu: self.clone(), mark: self.with_room(|driver| driver.mark())? })
    }

    /// An error that names this GPU.
    pub fn error(&self, what: impl Into<String>) -> Error {
        Error::Device { device: self.about().device.clone(), what: what.into() }
    }

    fn give_back(&self, block: &Block) {
        if self.0.driver.reuses_memory() {
            return locked(&self.0.pool).give(block.size, block.address);
        }
        locked(&self.0.pool).in_use -= block.size;
        // SAFETY: the block came from `allocate` and has no owner any more.
        unsafe { self.0.driver.release(block.address) };
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let tables = std::mem::take(&mut *locked(&self.tables));
        let kept = tables.into_iter().map(|(_, block)| block.address);
        let _ = self.driver.synchronize();
        for address in kept.chain(locked(&self.pool).drain()) {
            // SAFETY: addresses of `allocate` that nobody owns: tables and memory keep the GPU alive.
            unsafe { self.driver.release(address) };
        }
    }
}

impl Memory {
    /// Size in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Where it starts.
    pub fn address(&self) -> u64 {
        self.block.address
    }

    /// The GPU whose memory it is.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Copies `to.len()` elements from element `first` on to the host, when all work asked for before is done.
    ///
    /// # Errors
    /// [`Error::Device`], also for what an earlier launch did wrong.
    ///
    /// # Panics
    /// If the memory does not hold them.
    pub fn download<T: DeviceType>(&self, first: usize, to: &mut [T]) -> Result<()> {
        let from = first * size_of::<T>();
        assert!(from + size_of_val(to) <= self.bytes, "a copy from behind the end of GPU memory");
        let to: &mut [u8] = bytemuck::cast_slice_mut(to);
        // SAFETY: the range was checked.
        self.gpu.with_room(|driver| unsafe { driver.download(self.address() + from as u64, to) })
    }

    /// Begins to copy `n` elements from element `first` on to the host, for when all work asked for before is done. The
    /// memory may be dropped or written meanwhile: what is asked for later comes later.
    ///
    /// # Errors
    /// [`Error::Device`].
    ///
    /// # Panics
    /// If the memory does not hold them.
    pub fn begin_download<T: DeviceType>(&self, first: usize, n: usize) -> Result<Download> {
        let (from, bytes) = (first * size_of::<T>(), n * size_of::<T>());
        assert!(from + bytes <= self.bytes, "a copy from behind the end of GPU memory");
        // SAFETY: the range was checked; work on a GPU is ordered.
        let ticket =
            self.gpu.with_room(|driver| unsafe { driver.begin_download(self.address() + from as u64, bytes) })?;
        Ok(Download { gpu: self.gpu.clone(), ticket: Some(ticket), bytes })
    }

    /// Sets all bytes.
    ///
    /// # Errors
    /// [`Error::Device`].
    pub fn fill(&mut self, byte: u8) -> Result<()> {
        // SAFETY: the length is that of the memory.
        unsafe { self.gpu.0.driver.fill(self.address(), byte, self.bytes) }.map_err(Failure::error)
    }

    /// Copies `bytes` bytes from byte `from` of `other` to byte `to` of this one.
    ///
    /// # Errors
    /// [`Error::Device`].
    ///
    /// # Panics
    /// If one of them does not hold them.
    pub fn copy_from(&mut self, to: usize, other: &Self, from: usize, bytes: usize) -> Result<()> {
        assert!(to + bytes <= self.bytes && from + bytes <= other.bytes, "a copy beyond the end of GPU memory");
        assert!(self.gpu.is(&other.gpu), "a copy between GPUs");
        // SAFETY: the ranges were checked; two memories do not overlap.
        unsafe { self.gpu.0.driver.copy(other.address() + from as u64, self.address() + to as u64, bytes) }
            .map_err(Failure::error)
    }

    fn into_block(self) -> Block {
        let this = std::mem::ManuallyDrop::new(self);
        let block = Block { address: this.block.address, size: this.block.size };
        // SAFETY: `this` is never dropped, so its GPU is dropped here once.
        drop(unsafe { std::ptr::read(&this.gpu) });
        block
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.gpu.give_back(&self.block);
    }
}

impl Download {
    /// Waits for the copy and hands it out.
    ///
    /// # Errors
    /// [`Error::Device`], also for what an earlier launch did wrong.
    pub fn wait<T: DeviceType>(mut self) -> Result<Vec<T>> {
        let mut values = vec![T::zeroed(); self.bytes / size_of::<T>()];
        let ticket = self.ticket.take().expect("a download is waited for once");
        self.gpu.0.driver.end_download(ticket, bytemuck::cast_slice_mut(&mut values)).map_err(Failure::error)?;
        Ok(values)
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take() {
            // Nobody wants to know.
            let _ = self.gpu.0.driver.end_download(ticket, &mut []);
        }
    }
}

impl Moment {
    /// Milliseconds from `earlier` to this moment, for which it waits.
    ///
    /// # Errors
    /// [`Error::Device`], also for what an earlier launch did wrong.
    pub fn since_ms(&self, earlier: &Self) -> Result<f64> {
        self.gpu.0.driver.between_ms(earlier.mark, self.mark).map_err(Failure::error)
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        self.gpu.0.driver.forget(self.mark);
    }
}

impl Table {
    /// Its address.
    pub fn ptr(&self) -> Ptr<i32> {
        Ptr::new(self.block.as_ref().map_or(0, |b| b.address))
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        if let Some(block) = self.block.take().and_then(Arc::into_inner) {
            self.gpu.give_back(&block);
        }
    }
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Gpu({})", self.about().device)
    }
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memory({} bytes of {:?})", self.bytes, self.gpu)
    }
}

fn mib(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

#[cfg(test)]
mod tests;
