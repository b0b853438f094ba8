//! What the CUDA driver says of this machine's GPUs.
//!
//! The driver's library is opened at run time and every function is looked for before it is called: machines without a driver,
//! containers with a stub of it and drivers that refuse are told apart, and nothing panics.

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::fmt;

use super::driver::About;

/// A driver that works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// Latest CUDA version that it serves, e.g. (13, 0).
    pub cuda: (u32, u32),
    /// Its GPUs by number, one at least.
    pub gpus: Vec<About>,
}

/// Why there is no GPU to speak to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The driver's library is not there.
    NoDriver,
    /// The library lacks a function.
    Incomplete(&'static str),
    /// A call failed: its name and the driver's error number.
    Refused(&'static str, i32),
    /// The driver works and knows no GPU.
    NoGpu,
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDriver => {
                write!(f, "no NVIDIA driver: {} is not there; install the driver if there is a GPU", LIBRARY)
            }
            Self::Incomplete(function) => write!(
                f,
                "{} has no {function}: it is a stub or a very old driver; in a container, give it access to the GPUs",
                LIBRARY
            ),
            Self::Refused(call, STUB) => write!(
                f,
                "{call} says that {} is a stub, not the driver; in a container, give it access to the GPUs",
                LIBRARY
            ),
            Self::Refused(call, code) => {
                write!(f, "the NVIDIA driver refuses {call} with error {code}; nvidia-smi may say why")
            }
            Self::NoGpu => f.write_str("the NVIDIA driver finds no GPU; CUDA_VISIBLE_DEVICES may hide them"),
        }
    }
}

/// Names of the driver's library, in the order in which `cudarc` tries them: were another one asked here than is called later,
/// a stub beside the driver would make it panic.
#[cfg(not(windows))]
const LIBRARIES: [&str; 2] = ["libcuda.so", "libcuda.so.1"];
#[cfg(windows)]
const LIBRARIES: [&str; 1] = ["nvcuda.dll"];
/// The name that drivers install.
const LIBRARY: &str = LIBRARIES[LIBRARIES.len() - 1];

/// Error numbers of the driver's interface (`cuda.h`).
const STUB: i32 = 34;
const NO_DEVICE: i32 = 100;
/// Numbers of attributes there.
const MULTIPROCESSORS: c_int = 16;
const SHARED_BYTES: c_int = 97;
const CAPABILITY_MAJOR: c_int = 75;
const CAPABILITY_MINOR: c_int = 76;

/// Asks the driver, if there is one.
///
/// # Errors
/// [`Absence`], which says what to do.
pub fn probe() -> Result<Driver, Absence> {
    // SAFETY: the driver's library has no initialiser with preconditions.
    let library = LIBRARIES.iter().find_map(|&name| unsafe { libloading::Library::new(name) }.ok());
    let library = library.ok_or(Absence::NoDriver)?;
    let found = Calls::find(&library).and_then(|calls| ask(&calls));
    // A driver that was started stays: it may have registered what runs when the program ends.
    std::mem::forget(library);
    found
}

type Status = c_int;

/// The functions of the driver that a probe needs, with the types that `cuda.h` gives them.
struct Calls {
    init: unsafe extern "C" fn(c_uint) -> Status,
    version: unsafe extern "C" fn(*mut c_int) -> Status,
    count: unsafe extern "C" fn(*mut c_int) -> Status,
    device: unsafe extern "C" fn(*mut c_int, c_int) -> Status,
    name: unsafe extern "C" fn(*mut c_char, c_int, c_int) -> Status,
    memory: unsafe extern "C" fn(*mut usize, c_int) -> Status,
    attribute: unsafe extern "C" fn(*mut c_int, c_int, c_int) -> Status,
}

impl Calls {
    fn find(library: &libloading::Library) -> Result<Self, Absence> {
        macro_rules! function {
            ($name:literal) => {
                // SAFETY: the type is the one that `cuda.h` declares for this name; the library outlives the probe.
                *unsafe { library.get($name) }.map_err(|_| Absence::Incomplete($name))?
            };
        }
        Ok(Self {
            init: function!("cuInit"),
            version: function!("cuDriverGetVersion"),
            count: function!("cuDeviceGetCount"),
            device: function!("cuDeviceGet"),
            name: function!("cuDeviceGetName"),
            memory: function!("cuDeviceTotalMem_v2"),
            attribute: function!("cuDeviceGetAttribute"),
        })
    }
}

fn ask(calls: &Calls) -> Result<Driver, Absence> {
    let done = |call, status| if status == 0 { Ok(()) } else { Err(Absence::Refused(call, status)) };
    // SAFETY: the functions take what `cuda.h` declares; pointers are to live locals of that type.
    match unsafe { (calls.init)(0) } {
        NO_DEVICE => return Err(Absence::NoGpu),
        status => done("cuInit", status)?,
    }
    let (mut version, mut count) = (0, 0);
    // SAFETY: as above.
    done("cuDriverGetVersion", unsafe { (calls.version)(&mut version) })?;
    // SAFETY: as above.
    done("cuDeviceGetCount", unsafe { (calls.count)(&mut count) })?;
    let mut gpus = vec![];
    for number in 0..count {
        let (mut device, mut memory_bytes) = (0, 0);
        let mut name: [c_char; 128] = [0; 128];
        // SAFETY: as above.
        done("cuDeviceGet", unsafe { (calls.device)(&mut device, number) })?;
        // One less than there is room for: the last sign stays the end of the text.
        // SAFETY: as above; the driver writes no more signs than it is told.
        done("cuDeviceGetName", unsafe { (calls.name)(name.as_mut_ptr(), name.len() as c_int - 1, device) })?;
        // SAFETY: as above.
        done("cuDeviceTotalMem", unsafe { (calls.memory)(&mut memory_bytes, device) })?;
        let attribute = |which| {
            let mut value = 0;
            // SAFETY: as above.
            done("cuDeviceGetAttribute", unsafe { (calls.attribute)(&mut value, which, device) })?;
            Ok(value as u32)
        };
        gpus.push(About {
            device: format!("cuda:{number}"),
            // SAFETY: the text ends with a zero within the array.
            name: unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned(),
            memory_bytes: memory_bytes as u64,
            capability: (attribute(CAPABILITY_MAJOR)?, attribute(CAPABILITY_MINOR)?),
            multiprocessors: attribute(MULTIPROCESSORS)?,
            shared_bytes: attribute(SHARED_BYTES)?,
        });
    }
    if gpus.is_empty() {
        return Err(Absence::NoGpu);
    }
    Ok(Driver { cuda: (version as u32 / 1000, version as u32 % 1000 / 10), gpus })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A driver for CUDA 13.0 with two GPUs.
    fn two() -> Calls {
        unsafe extern "C" fn init(_: c_uint) -> Status {
            0
        }
        unsafe extern "C" fn version(to: *mut c_int) -> Status {
            // SAFETY: the caller gives a pointer to an integer.
            unsafe { *to = 13_000 };
            0
        }
        unsafe extern "C" fn count(to: *mut c_int) -> Status {
            // SAFETY: as above.
            unsafe { *to = 2 };
            0
        }
        unsafe extern "C" fn device(to: *mut c_int, number: c_int) -> Status {
            // SAFETY: as above.
            unsafe { *to = 40 + number };
            0
        }
        unsafe extern "C" fn name(to: *mut c_char, room: c_int, device: c_int) -> Status {
            let text = if device == 40 { c"A GPU".to_bytes_with_nul() } else { [b'x'; 500].as_slice() };
            for (i, &sign) in text.iter().take(room as usize).enumerate() {
                // SAFETY: the caller has room for that many signs.
                unsafe { *to.add(i) = sign as c_char };
            }
            0
        }
        unsafe extern "C" fn memory(to: *mut usize, device: c_int) -> Status {
            // SAFETY: as above.
            unsafe { *to = device as usize };
            0
        }
        unsafe extern "C" fn attribute(to: *mut c_int, which: c_int, _: c_int) -> Status {
            // SAFETY: as above.
            unsafe { *to = which };
            0
        }
        Calls { init, version, count, device, name, memory, attribute }
    }

    #[test]
    fn gpus_are_described() {
        let driver = ask(&two()).unwrap();
        assert_eq!((driver.cuda, driver.gpus.len()), ((13, 0), 2));
        let first = About {
            device: "cuda:0".into(),
            name: "A GPU".into(),
            memory_bytes: 40,
            capability: (75, 76),
            multiprocessors: 16,
            shared_bytes: 97,
        };
        assert_eq!(driver.gpus[0], first);
        assert_eq!(
            (&*driver.gpus[1].device, driver.gpus[1].name.len()),
            ("cuda:1", 127),
            "a name without an end is cut"
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        unsafe extern "C" fn none(_: c_uint) -> Status {
            NO_DEVICE
        }
        unsafe extern "C" fn stub(_: c_uint) -> Status {
            STUB
        }
        unsafe extern "C" fn broken(_: *mut usize, _: c_int) -> Status {
            999
        }
        unsafe extern "C" fn empty(_: *mut c_int) -> Status {
            0
        }
        let text = |calls: Calls| ask(&calls).unwrap_err().to_string();
        assert_eq!(ask(&Calls { init: none, ..two() }), Err(Absence::NoGpu));
        assert_eq!(ask(&Calls { count: empty, ..two() }), Err(Absence::NoGpu));
        assert!(text(Calls { init: stub, ..two() }).contains("is a stub"));
        assert!(text(Calls { memory: broken, ..two() }).contains("cuDeviceTotalMem with error 999"));
        assert!(Absence::NoDriver.to_string().contains("no NVIDIA driver"));
        assert!(Absence::Incomplete("cuInit").to_string().contains("has no cuInit"));
        assert!(Absence::NoGpu.to_string().contains("CUDA_VISIBLE_DEVICES"));
    }

    #[test]
    fn a_library_that_is_no_driver_is_incomplete() {
        // The C library of this process has none of the functions.
        #[cfg(unix)]
        {
            let this: libloading::Library = libloading::os::unix::Library::this().into();
            assert_eq!(Calls::find(&this).err(), Some(Absence::Incomplete("cuInit")));
        }
    }

    #[test]
    fn this_machine_can_be_asked() {
        match probe() {
            Ok(driver) => assert!(!driver.gpus.is_empty() && driver.cuda.0 > 0),
            Err(absence) => assert!(absence.to_string().len() > 20),
        }
    }
}
