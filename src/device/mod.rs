//! What computes: the CPU, or a GPU. Parsing of device names, what is known of either, memory and launches ([`Gpu`]).
//!
//! Nothing here panics without a driver: [`probe`] asks whether there is one, and [`Device::open`] says what is missing.

mod cuda;
pub mod driver;
#[cfg(feature = "emulate")]
mod emulate;
mod gpu;
pub mod kernels;
pub mod launch;
mod pool;
pub mod probe;

pub use gpu::{Download, Gpu, Memory, Moment, Table, Usage};
pub use launch::{Bf16, DeviceType, F16, Launch, Ptr, PtrMut, TensorMap};

use crate::error::{Error, Result, hint};

/// Something that computes.
#[derive(Debug, Clone, Default)]
pub enum Device {
    /// All cores that the thread pool uses.
    #[default]
    Cpu,
    /// A GPU.
    Cuda(Gpu),
}

/// How exact products are on a GPU; "Precision" in ARCHITECTURE.md says what each kernel makes of it. The CPU computes in the type of
/// the tensors whatever this says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// As exact as f32: every operand is the sum of two numbers of fewer bits (tf32, or scaled 16-bit floats), and three products
    /// are added.
    #[default]
    F32,
    /// Operands of 11 bits (tf32) at least, sums in f32.
    Tf32,
    /// Operands rounded to bf16, sums in f32.
    Bf16,
    /// Operands rounded to IEEE 16-bit floats, sums in f32.
    F16,
}

impl Precision {
    /// All of them.
    pub const ALL: &[Self] = &[Self::F32, Self::Tf32, Self::Bf16, Self::F16];

    /// The precision of a name, if there is one of that name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|p| p.name() == name)
    }

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
            Self::F16 => "f16",
        }
    }
}

/// What is known of a processor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processor {
    /// Model name, or the architecture where the system does not tell it.
    pub name: String,
    /// Logical cores that this process may use (its affinity and CPU quota count).
    pub cores: usize,
    /// Size of the machine's memory, where the system tells it.
    pub memory_bytes: Option<u64>,
}

impl Device {
    /// The device of a name: `cpu`, `cuda` or `cuda:N` (without a number the first), or `auto`: the first GPU if it can be used,
    /// the CPU otherwise. The second value says why `auto` is the CPU; whoever asked should pass it on.
    ///
    /// # Errors
    /// [`Error::Device`] for a GPU that was asked for by name and cannot be used, [`Error::Usage`] for another name.
    pub fn open(name: &str) -> Result<(Self, Option<String>)> {
        let wrong = || {
            let similar = hint(name, ["auto", "cpu", "cuda"]);
            Error::Usage(format!("device: expected auto, cpu, cuda or cuda:N, found '{name}'{similar}"))
        };
        match name {
            "cpu" => Ok((Self::Cpu, None)),
            "auto" => Ok(match Gpu::open(0) {
                Ok(gpu) => (Self::Cuda(gpu), None),
                Err(e) => (Self::Cpu, Some(e.to_string())),
            }),
            "cuda" => Ok((Self::Cuda(Gpu::open(0)?), None)),
            #[cfg(feature = "emulate")]
            "emulate" => Ok((Self::Cuda(Gpu::emulated((9, 0))), None)),
            _ => {
                let number = name.strip_prefix("cuda:").and_then(|n| n.parse().ok()).ok_or_else(wrong)?;
                Ok((Self::Cuda(Gpu::open(number)?), None))
            }
        }
    }

    /// Whether it is a GPU.
    pub fn is_gpu(&self) -> bool {
        matches!(self, Self::Cuda(_))
    }

    /// Name, as [`Device::open`] takes it.
    pub fn name(&self) -> &str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda(gpu) => &gpu.about().device,
        }
    }
}

impl Gpu {
    /// The GPU of that number, as the driver counts them.
    ///
    /// # Errors
    /// [`Error::Device`], which says what is missing and what to do: no driver, a stub of it, an old one, a GPU that is too old,
    /// a build without kernels.
    pub fn open(number: usize) -> Result<Self> {
        Ok(Self::new(cuda::open(number)?))
    }

    /// Why kernels of this build cannot run on a GPU that the driver told of; `None` if they can.
    pub fn obstacle(number: usize, driver: &std::result::Result<probe::Driver, probe::Absence>) -> Option<Error> {
        cuda::usable(number, driver).err()
    }

    /// A GPU of that compute capability that is emulated on the host.
    #[cfg(feature = "emulate")]
    pub fn emulated(capability: (u32, u32)) -> Self {
        Self::new(emulate::open(capability))
    }
}

impl Processor {
    /// What is known of the processor of this machine.
    pub fn of_this_machine() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self {
            name: model_name(&read("/proc/cpuinfo")).unwrap_or_else(|| format!("{} processor", std::env::consts::ARCH)),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: memory_bytes(&read("/proc/meminfo")),
        }
    }
}

/// Value of the first line `key : value` of a text with one of these keys.
fn field<'t>(text: &'t str, keys: &[&str]) -> Option<&'t str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find(|(key, value)| keys.contains(&key.trim()) && !value.trim().is_empty()).map(|(_, value)| value.trim())
}

/// Model in the text of `/proc/cpuinfo`; the keys differ between architectures.
fn model_name(cpuinfo: &str) -> Option<String> {
    field(cpuinfo, &["model name", "Model", "cpu model", "Hardware"]).map(String::from)
}

/// Memory in the text of `/proc/meminfo`, which counts in kB of 1024 bytes.
fn memory_bytes(meminfo: &str) -> Option<u64> {
    let kib: u64 = field(meminfo, &["MemTotal"])?.trim_end_matches("kB").trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices() {
        let (cpu, reason) = Device::open("cpu").unwrap();
        assert_eq!((cpu.name(), reason), ("cpu", None));
        match Device::open("auto").unwrap() {
            (Device::Cpu, reason) => {
                let reason = reason.expect("the CPU instead of a GPU has a reason");
                assert!(reason.starts_with("cuda:0: "), "{reason}");
                assert_eq!(Device::open("cuda").unwrap_err().to_string(), reason);
                assert!(Device::open("cuda:7").unwrap_err().to_string().starts_with("cuda:7: "));
            }
            (gpu, reason) => assert_eq!((gpu.name(), reason), ("cuda:0", None)),
        }
        assert_eq!(
            Device::open("cpus").unwrap_err().to_string(),
            "device: expected auto, cpu, cuda or cuda:N, found 'cpus' (did you mean 'cpu'?)"
        );
        assert!(Device::open("cuda:x").is_err());
    }

    #[test]
    fn descriptions() {
        let cpuinfo = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: A Processor @ 2 GHz\nflags\t: x y\n";
        assert_eq!(model_name(cpuinfo).as_deref(), Some("A Processor @ 2 GHz"));
        assert_eq!((model_name(""), memory_bytes("")), (None, None));
        assert_eq!(memory_bytes("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16_384));
        let cpu = Processor::of_this_machine();
        assert!(cpu.cores > 0 && !cpu.name.is_empty());
    }
}
