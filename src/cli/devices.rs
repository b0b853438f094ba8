//! `drg devices`: what this machine computes on.

use serde_json::{Value, json};

use super::talk;
use crate::device::driver::About;
use crate::device::kernels::{ARCHS, BUILT, KERNELS, MODULES};
use crate::device::probe::{self, Absence, Driver};
use crate::device::{Gpu, Processor};
use crate::error::Result;
use crate::util::{par, simd};

const GIB: f64 = (1u64 << 30) as f64;

const EXAMPLE: &str = "\
Example:
  drg devices --json";

/// Show what this machine computes on
///
/// The CPU; the NVIDIA driver and its GPUs; the kernels of this build, and for every GPU whether they run on it, or why not and
/// what to do.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A GPU, and what this build can do with it.
struct Fit {
    about: About,
    /// Why it cannot be used.
    obstacle: Option<String>,
    /// Files of kernels for it, and their entries.
    modules: usize,
    entries: usize,
    /// Where its machine code comes from.
    code: String,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let driver = probe::probe();
    let gpus = driver.iter().flat_map(|d| d.gpus.iter().enumerate());
    let fits: Vec<Fit> = gpus.map(|(number, about)| Fit::new(number, about.clone(), &driver)).collect();
    match args.json {
        true => talk::print(format_args!("{:#}\n", as_json(&driver, &fits))),
        false => talk::print(as_table(&driver, &fits)),
    }
}

impl Fit {
    fn new(number: usize, about: About, driver: &std::result::Result<Driver, Absence>) -> Self {
        // The text names the GPU; here it stands beside it.
        let obstacle = Gpu::obstacle(number, driver).map(|e| {
            let text = e.to_string();
            text.strip_prefix(&format!("{}: ", about.device)).map(String::from).unwrap_or(text)
        });
        let runs = |module: usize| {
            let module = &MODULES[module];
            !module.fatbin.is_empty() && (!module.sm90 || about.capability == (9, 0))
        };
        let modules = (0..MODULES.len()).filter(|&m| runs(m)).count();
        let entries = KERNELS.iter().filter(|k| runs(k.module)).count();
        Self { obstacle, modules, entries, code: code_for(about.capability, ARCHS), about }
    }

    fn json(&self) -> Value {
        let About { device, name, memory_bytes, capability, multiprocessors, .. } = &self.about;
        json!({
            "device": device, "name": name, "memory_bytes": memory_bytes,
            "compute_capability": format!("{}.{}", capability.0, capability.1), "multiprocessors": multiprocessors,
            "usable": self.obstacle.is_none(), "kernel_files": self.modules, "kernels": self.entries,
            "machine_code": if BUILT.is_some() { Some(&self.code) } else { None }, "not_usable_because": self.obstacle,
        })
    }

    fn row(&self) -> String {
        let About { device, name, memory_bytes, capability: (major, minor), multiprocessors, .. } = &self.about;
        let memory = *memory_bytes as f64 / GIB;
        let what = format!("{device}: {name}, {memory:.1} GiB, compute capability {major}.{minor}");
        let use_of = match &self.obstacle {
            None => format!("used, with {} kernels as {}", self.entries, self.code),
            Some(why) => format!("NOT USED: {why}"),
        };
        format!("{what}, {multiprocessors} multiprocessors; {use_of}")
    }
}

/// The machine code that a GPU of that compute capability runs: its own, that of a lower minor number, or what the driver makes
/// of PTX. `archs` = what there is machine code for, such as `80`, `90a`; code with a letter is for that capability alone.
fn code_for((major, minor): (u32, u32), archs: &[&str]) -> String {
    let number = |arch: &str| arch.trim_end_matches(['a', 'f']).parse::<u32>().unwrap_or(0);
    let here = 10 * major + minor;
    let fits = |arch: &&&str| match arch.ends_with('a') {
        true => number(arch) == here,
        false => number(arch) / 10 == major && number(arch) <= here,
    };
    match archs.iter().filter(fits).max_by_key(|arch| (number(arch), arch.ends_with('a'))) {
        Some(arch) => format!("machine code of sm_{arch}"),
        None => "PTX, from which the driver makes machine code at the first launch".into(),
    }
}

/// The kernels of this build in words.
fn kernels() -> String {
    let embedded = MODULES.iter().filter(|m| !m.fatbin.is_empty()).count();
    match BUILT {
        Some(release) => {
            let all = KERNELS.len();
            format!("{all} in {embedded} files, machine code for sm_{}, nvcc {release}", ARCHS.join(", sm_"))
        }
        None => "none: there was no nvcc when this program was built; set DRG_NVCC to one and build again".into(),
    }
}

fn as_json(driver: &std::result::Result<Driver, Absence>, fits: &[Fit]) -> Value {
    let Processor { name, cores, memory_bytes } = Processor::of_this_machine();
    let usable = fits.iter().any(|f| f.obstacle.is_none());
    json!({
        "device": auto(fits), "processor": name, "logical_cores": cores, "threads": par::threads(),
        "simd": simd::level().name(), "memory_bytes": memory_bytes, "cuda": usable,
        "cuda_driver": driver.as_ref().ok().map(|d| format!("{}.{}", d.cuda.0, d.cuda.1)),
        "kernels": {
            "compiler": BUILT, "architectures": ARCHS, "entries": KERNELS.len(),
            "files": MODULES.iter().filter(|m| !m.fatbin.is_empty()).map(|m| m.name).collect::<Vec<_>>(),
        },
        "gpus": fits.iter().map(Fit::json).collect::<Vec<_>>(),
        "no_gpu_because": driver.as_ref().err().map(ToString::to_string),
    })
}

/// What `--device auto` takes: the first GPU if it can be used.
fn auto(fits: &[Fit]) -> String {
    let first = fits.first().filter(|f| f.obstacle.is_none());
    first.map_or_else(|| "cpu".into(), |f| f.about.device.clone())
}

fn as_table(driver: &std::result::Result<Driver, Absence>, fits: &[Fit]) -> String {
    let Processor { name, cores, memory_bytes } = Processor::of_this_machine();
    let memory = memory_bytes.map_or("unknown".into(), |b| format!("{:.1} GiB", b as f64 / GIB));
    let mut rows = vec![
        ("device", format!("{} (what --device auto takes)", auto(fits))),
        ("processor", name),
        ("logical cores", cores.to_string()),
        ("threads", par::threads().to_string()),
        ("SIMD", simd::level().name().into()),
        ("memory", memory),
        ("GPU kernels", kernels()),
    ];
    match driver {
        Ok(driver) => {
            rows.push(("NVIDIA driver", format!("for CUDA up to {}.{}", driver.cuda.0, driver.cuda.1)));
            rows.extend(fits.iter().map(|f| ("GPU", f.row())));
        }
        Err(absence) => rows.push(("GPU", absence.to_string())),
    }
    let table: Vec<Vec<String>> = rows.into_iter().map(|(key, value)| vec![key.into(), value]).collect();
    talk::aligned(&table, 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_code_is_chosen_as_the_driver_does() {
        let code = |capability| code_for(capability, &["80", "86", "90a"]);
        assert_eq!([(8, 0), (8, 6), (8, 9)].map(code), ["80", "86", "86"].map(|a| format!("machine code of sm_{a}")));
        assert_eq!(code((9, 0)), "machine code of sm_90a");
        assert!(code((10, 0)).starts_with("PTX") && code_for((9, 0), &[]).starts_with("PTX"));
    }

    #[test]
    fn a_gpu_that_cannot_be_used_says_why() {
        let old = About {
            device: "cuda:1".into(),
            name: "An old GPU".into(),
            memory_bytes: 3 << 29,
            capability: (7, 5),
            multiprocessors: 40,
            shared_bytes: 1 << 16,
        };
        let first = About { device: "cuda:0".into(), ..old.clone() };
        let driver = Ok(Driver { cuda: (13, 0), gpus: vec![first, old.clone()] });
        let fit = Fit::new(1, old, &driver);
        let row = fit.row();
        assert!(row.starts_with("cuda:1: An old GPU, 1.5 GiB, compute capability 7.5, 40 multi"), "{row}");
        assert!(row.contains("NOT USED: An old GPU has compute capability 7.5; the kernels need 8.0"), "{row}");
        assert_eq!((fit.json()["usable"].as_bool(), auto(&[fit])), (Some(false), "cpu".into()));
    }
}
