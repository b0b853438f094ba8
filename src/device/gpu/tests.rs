//! What is asked of a driver that has no memory left.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A driver that computes nothing and writes down what it is asked for.
struct Paper {
    about: About,
    log: Arc<Mutex<Vec<&'static str>>>,
    /// How many of the next calls that need memory find none.
    refusals: Arc<Mutex<usize>>,
    next: AtomicU64,
}

impl Paper {
    fn note(&self, call: &'static str) {
        locked(&self.log).push(call);
    }

    fn broken(&self) -> Error {
        Error::Device { device: self.about.device.clone(), what: "broken".into() }
    }

    /// A call that needs memory.
    fn ask(&self, call: &'static str) -> Done<()> {
        self.note(call);
        let mut refusals = locked(&self.refusals);
        if *refusals == 0 {
            return Ok(());
        }
        *refusals -= 1;
        let what = format!("{call} failed: out of memory");
        Err(Failure::NoMemory(Error::Device { device: "paper".into(), what }))
    }
}

impl Driver for Paper {
    fn about(&self) -> &About {
        &self.about
    }

    fn allocate(&self, _: usize) -> Done<u64> {
        self.ask("allocate")?;
        Ok(256 * self.next.fetch_add(1, Ordering::Relaxed))
    }

    unsafe fn release(&self, _: u64) {
        self.note("release");
    }

    fn relinquish(&self) {
        self.note("relinquish");
    }

    unsafe fn upload(&self, _: u64, _: &[u8]) -> Done<()> {
        self.ask("upload")
    }

    unsafe fn download(&self, _: u64, _: &mut [u8]) -> Done<()> {
        self.ask("download")
    }

    unsafe fn begin_download(&self, _: u64, bytes: usize) -> Done<Ticket> {
        self.ask("begin_download")?;
        Ok(Ticket { buffer: 0, bytes, event: 0 })
    }

    fn end_download(&self, _: Ticket, _: &mut [u8]) -> Done<()> {
        Ok(())
    }

    unsafe fn copy(&self, _: u64, _: u64, _: usize) -> Done<()> {
        Ok(())
    }

    unsafe fn fill(&self, _: u64, _: u8, _: usize) -> Done<()> {
        Ok(())
    }

    unsafe fn launch(&self, kernel: &'static Kernel, _: Launch, _: &mut [*mut c_void]) -> Done<()> {
        match kernel.name {
            "broken" => {
                self.note("launch");
                Err(self.broken().into())
            }
            _ => self.ask("launch"),
        }
    }

    fn tensor_map(&self, _: u64, _: &Boxes) -> Done<TensorMap> {
        Err(self.broken().into())
    }

    fn synchronize(&self) -> Done<()> {
        self.note("synchronize");
        Ok(())
    }

    fn mark(&self) -> Done<u64> {
        self.ask("mark").map(|()| 0)
    }

    fn between_ms(&self, _: u64, _: u64) -> Done<f64> {
        Ok(0.0)
    }

    fn forget(&self, _: u64) {}
}

#[cfg(feature = "emulate")]
unsafe extern "C" fn nothing(_: *const [u32; 3], _: u32, _: u32, _: *const *mut c_void) -> i32 {
    0
}

const fn kernel(name: &'static str) -> Kernel {
    Kernel {
        name,
        module: 0,
        threads: 0,
        source: "paper.cu:1",
        #[cfg(feature = "emulate")]
        emulated: nothing,
    }
}
static LATE: Kernel = kernel("late");
static BROKEN: Kernel = kernel("broken");

/// A GPU of paper, what it was asked for, and how often it will refuse.
fn paper() -> (Gpu, Arc<Mutex<Vec<&'static str>>>, Arc<Mutex<usize>>) {
    let about = About {
        device: "paper".into(),
        name: "Paper GPU".into(),
        memory_bytes: 1 << 30,
        capability: (9, 0),
        multiprocessors: 1,
        shared_bytes: 1 << 10,
    };
    let (log, refusals) = (Arc::default(), Arc::default());
    let driver = Paper { about, log: Arc::clone(&log), refusals: Arc::clone(&refusals), next: AtomicU64::new(1) };
    (Gpu::new(Box::new(driver)), log, refusals)
}

/// Everything that needs memory of the driver.
const CALLS: [(&str, fn(&Gpu, &Memory) -> Result<()>); 6] = [
    ("allocate", |gpu, _| gpu.allocate(1 << 20).map(drop)),
    ("upload", |gpu, _| gpu.upload(&[1f32]).map(drop)),
    ("download", |_, memory| memory.download(0, &mut [0f32])),
    ("begin_download", |_, memory| memory.begin_download::<f32>(0, 1).map(drop)),
    // SAFETY: a launch on paper.
    ("launch", |gpu, _| unsafe { gpu.launch(&LATE, Launch::new(1, 32), &mut []) }),
    ("mark", |gpu, _| gpu.moment().map(drop)),
];

#[test]
fn what_waits_for_reuse_goes_back_before_memory_is_found_wanting() {
    for (name, call) in CALLS {
        for refused in 0..3 {
            let (gpu, log, refusals) = paper();
            let memory = gpu.allocate(64).unwrap();
            // As much as an upload takes, so that it allocates nothing, and more.
            drop([gpu.allocate(4).unwrap(), gpu.allocate(1 << 16).unwrap()]);
            locked(&log).clear();
            *locked(&refusals) = refused;
            let done = call(&gpu, &memory);
            let found = std::mem::take(&mut *locked(&log));
            let again = ["synchronize", "release", "release", "relinquish", name];
            // The memory of an upload is in use while it is repeated.
            let again =
                if name == "upload" { vec!["synchronize", "release", "relinquish", name] } else { again.into() };
            match refused {
                0 => assert_eq!((found, done.is_ok()), (vec![name], true)),
                _ => assert_eq!((found, done.is_ok()), ([vec![name], again].concat(), refused == 1), "{name}"),
            }
            if refused == 2 {
                let text = done.unwrap_err().to_string();
                let said = match name {
                    "allocate" => "paper: not enough memory: 1.0 MiB more were needed".into(),
                    _ => format!("paper: {name} failed: out of memory"),
                };
                assert!(text.starts_with(&said), "{text}");
            }
        }
    }
}

#[test]
fn other_failures_are_told_at_once() {
    let (gpu, log, _) = paper();
    drop(gpu.allocate(64).unwrap());
    locked(&log).clear();
    // SAFETY: a launch on paper.
    let error = unsafe { gpu.launch(&BROKEN, Launch::new(1, 32), &mut []) }.unwrap_err();
    assert_eq!((error.to_string().as_str(), &**locked(&log)), ("paper: broken", &["launch"][..]));
    assert_eq!(gpu.usage().cached, rounded(64));
}
