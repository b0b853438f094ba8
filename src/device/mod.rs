//! What computes: the CPU in this version. Parsing of device names, what is known of the processor, and what the driver of the
//! GPUs says ([`cuda`]).

pub mod cuda;
pub mod launch;

use std::str::FromStr;

use crate::error::{Error, Result, hint};

/// Something that computes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Device {
    /// All cores that the thread pool uses.
    #[default]
    Cpu,
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
    /// The device of a name: `cpu`, or `auto` for the best there is.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for `cuda` and `cuda:N`, [`Error::Usage`] for anything else.
    pub fn parse(name: &str) -> Result<Self> {
        let kind = name.split(':').next().unwrap_or(name);
        match name {
            "auto" | "cpu" => Ok(Self::Cpu),
            _ if ["cuda", "gpu"].contains(&kind) => Err(Error::Unsupported {
                op: "device",
                what: format!("'{name}': this version computes on the CPU only; use 'cpu' or 'auto'"),
            }),
            _ => {
                let similar = hint(name, ["auto", "cpu"]);
                Err(Error::Usage(format!("device: expected auto or cpu, found '{name}'{similar}")))
            }
        }
    }

    /// Name, as [`Device::parse`] takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
        }
    }

    /// What is known of the device.
    pub fn describe(self) -> Processor {
        match self {
            Self::Cpu => {
                let read = |path| std::fs::read_to_string(path).unwrap_or_default();
                Processor {
                    name: model_name(&read("/proc/cpuinfo"))
                        .unwrap_or_else(|| format!("{} processor", std::env::consts::ARCH)),
                    cores: std::thread::available_parallelism().map_or(1, usize::from),
                    memory_bytes: memory_bytes(&read("/proc/meminfo")),
                }
            }
        }
    }
}

impl FromStr for Device {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::parse(name)
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
        assert_eq!((Device::parse("auto").unwrap(), Device::parse("cpu").unwrap()), (Device::Cpu, Device::Cpu));
        assert_eq!(Device::parse(Device::Cpu.name()).unwrap(), Device::default());
        for name in ["cuda", "cuda:1"] {
            let e = name.parse::<Device>().unwrap_err();
            assert!(matches!(e, Error::Unsupported { .. }) && e.to_string().contains("CPU only"), "{e}");
        }
        assert_eq!(
            Device::parse("cpus").unwrap_err().to_string(),
            "device: expected auto or cpu, found 'cpus' (did you mean 'cpu'?)"
        );
    }

    #[test]
    fn descriptions() {
        let cpuinfo = "processor\t: 0\nmodel\t\t: 85\nmodel name\t: A Processor @ 2 GHz\nflags\t: x y\n";
        assert_eq!(model_name(cpuinfo).as_deref(), Some("A Processor @ 2 GHz"));
        assert_eq!((model_name(""), memory_bytes("")), (None, None));
        assert_eq!(memory_bytes("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16_384));
        let cpu = Device::Cpu.describe();
        assert!(cpu.cores > 0 && !cpu.name.is_empty());
    }
}
