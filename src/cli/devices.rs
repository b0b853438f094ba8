//! `drg devices`: what this machine computes on.

use serde_json::json;

use super::talk;
use crate::device::Processor;
use crate::device::probe::{self, Card};
use crate::error::Result;
use crate::util::{par, simd};

const NOTE: &str = "this build computes on the CPU (CUDA: not in this version)";
const GIB: f64 = (1u64 << 30) as f64;

const EXAMPLE: &str = "\
Example:
  drg devices --json";

/// Show what this machine computes on
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let Processor { name, cores, memory_bytes } = Processor::of_this_machine();
    let (threads, level) = (par::threads(), simd::level().name());
    let driver = probe::probe();
    if args.json {
        let gpu = |g: &Card| {
            json!({
                "device": format!("cuda:{}", g.number), "name": g.name, "memory_bytes": g.memory_bytes,
                "compute_capability": format!("{}.{}", g.capability.0, g.capability.1),
                "multiprocessors": g.multiprocessors,
            })
        };
        let (version, gpus, absence) = match &driver {
            Ok(d) => (Some(format!("{}.{}", d.cuda.0, d.cuda.1)), d.gpus.iter().map(gpu).collect(), None),
            Err(e) => (None, vec![], Some(e.to_string())),
        };
        let device = json!({
            "device": "cpu", "processor": name, "logical_cores": cores, "threads": threads, "simd": level,
            "memory_bytes": memory_bytes, "cuda": false, "note": NOTE, "cuda_driver": version, "gpus": gpus,
            "no_gpu_because": absence,
        });
        return talk::print(format_args!("{device:#}\n"));
    }
    let memory = memory_bytes.map_or("unknown".into(), |b| format!("{:.1} GiB", b as f64 / GIB));
    let mut rows = vec![
        ("device", "cpu".into()),
        ("processor", name),
        ("logical cores", cores.to_string()),
        ("threads", threads.to_string()),
        ("SIMD", level.into()),
        ("memory", memory),
    ];
    match &driver {
        Ok(driver) => {
            rows.push(("NVIDIA driver", format!("for CUDA up to {}.{}", driver.cuda.0, driver.cuda.1)));
            rows.extend(driver.gpus.iter().map(|g| {
                let (major, minor) = g.capability;
                let memory = g.memory_bytes as f64 / GIB;
                let what = format!("{}, {memory:.1} GiB, compute capability {major}.{minor}", g.name);
                ("GPU", format!("cuda:{}: {what}, {} multiprocessors", g.number, g.multiprocessors))
            }));
        }
        Err(absence) => rows.push(("GPU", absence.to_string())),
    }
    let table: Vec<Vec<String>> = rows.into_iter().map(|(key, value)| vec![key.into(), value]).collect();
    talk::print(format_args!("{}{NOTE}\n", talk::aligned(&table, 2)))
}
