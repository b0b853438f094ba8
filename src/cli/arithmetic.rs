//! Where a verb computes and how exactly: `--device`, which every verb has, and `--precision`.

use serde::Serialize;

use super::Context;
use super::talk::Talk;
use crate::device::probe::{Absence, probe};
use crate::device::{Device, Precision};
use crate::error::{Error, Result, hint};

/// How exact the arithmetic is.
#[derive(Debug, Clone, Default, clap::Args, Serialize)]
pub(super) struct Arithmetic {
    /// Arithmetic: f32; on the CPU also f64 (slow, for checks); on a GPU also tf32, bf16 or f16
    /// (operands of products in fewer bits: faster, less exact)
    #[arg(long, value_name = "TYPE", default_value = "f32", help_heading = "How")]
    precision: String,
}

/// A device, and how exactly it computes.
#[derive(Debug, Clone)]
pub(super) struct Computing {
    pub device: Device,
    /// f64 instead of f32.
    pub double: bool,
    /// Of products on a GPU.
    pub precision: Precision,
}

impl Arithmetic {
    /// What was asked for, on the device of the command line. Only the CPU computes in f64, so without `--device` that is meant.
    pub(super) fn of(&self, context: &Context) -> Result<Computing> {
        let device = match (&*self.precision, &context.device) {
            ("f64", None) => {
                context.computes_on(&Device::Cpu);
                Device::Cpu
            }
            _ => context.device()?,
        };
        self.on(device)
    }

    fn on(&self, device: Device) -> Result<Computing> {
        let names = || Precision::ALL.iter().map(|p| p.name()).chain(["f64"]);
        let asked = &*self.precision;
        let found = Precision::parse(asked);
        let gpu = device.is_gpu();
        match (asked, found) {
            ("f64", _) if gpu => {
                let what = format!("--precision f64 is for the CPU; {} computes in f32 at most", device.name());
                Err(Error::Usage(format!("{what}; add --device cpu")))
            }
            ("f64", _) => Ok(Computing { device, double: true, precision: Precision::F32 }),
            (_, Some(precision)) if gpu || precision == Precision::F32 => {
                Ok(Computing { device, double: false, precision })
            }
            (_, Some(precision)) => {
                let name = precision.name();
                Err(Error::Usage(format!("--precision {name}: the CPU computes in f32 or f64; {name} needs a GPU")))
            }
            (_, None) => {
                let near = hint(asked, names());
                let all = names().collect::<Vec<_>>().join(", ");
                Err(Error::Usage(format!("--precision {asked}: expected one of {all}{near}")))
            }
        }
    }
}

/// The device of `--device`; `None` means that the option was not given. A GPU that is there and cannot be used is told of, and
/// a missing one if it was asked for.
pub(super) fn device(asked: Option<&str>, talk: Talk) -> Result<Device> {
    let (device, why_not) = Device::open(asked.unwrap_or("auto"))?;
    if let Some(why) = why_not {
        let nothing_expected = || matches!(probe(), Err(Absence::NoDriver | Absence::NoGpu));
        if asked.is_some() || !nothing_expected() {
            talk.say(format_args!("computing on the CPU: {why}"));
        }
    } else {
        talk.detail(format_args!("computing on {}", device.name()));
    }
    Ok(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precisions_of_the_cpu() {
        let on_cpu = |precision: &str| Arithmetic { precision: precision.into() }.on(Device::Cpu);
        assert!(!on_cpu("f32").unwrap().double && on_cpu("f64").unwrap().double);
        let text = |p| on_cpu(p).unwrap_err().to_string();
        assert_eq!(text("bf16"), "--precision bf16: the CPU computes in f32 or f64; bf16 needs a GPU");
        assert_eq!(text("f65"), "--precision f65: expected one of f32, tf32, bf16, f16, f64 (did you mean 'f64'?)");
    }
}
