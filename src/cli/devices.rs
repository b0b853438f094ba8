//! `drg devices`: what this machine computes on.

use serde_json::json;

use super::talk;
use crate::device::{Device, Processor};
use crate::error::Result;
use crate::util::{par, simd};

const NOTE: &str = "this build computes on the CPU (CUDA: not in this version)";

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
    let Processor { name, cores, memory_bytes } = Device::Cpu.describe();
    let (threads, level) = (par::threads(), simd::level().name());
    if args.json {
        let device = json!({
            "device": Device::Cpu.name(), "processor": name, "logical_cores": cores, "threads": threads, "simd": level,
            "memory_bytes": memory_bytes, "cuda": false, "note": NOTE,
        });
        return talk::print(format_args!("{device:#}\n"));
    }
    let memory = memory_bytes.map_or("unknown".into(), |b| format!("{:.1} GiB", b as f64 / f64::from(1 << 30)));
    let rows = [
        ("device", Device::Cpu.name().into()),
        ("processor", name),
        ("logical cores", cores.to_string()),
        ("threads", threads.to_string()),
        ("SIMD", level.into()),
        ("memory", memory),
    ];
    let table: Vec<Vec<String>> = rows.into_iter().map(|(key, value)| vec![key.into(), value]).collect();
    talk::print(format_args!("{}{NOTE}\n", talk::aligned(&table, 2)))
}
