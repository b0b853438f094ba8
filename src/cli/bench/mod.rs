//! `drg bench`: how fast this machine is, alone and against PyTorch.

mod cpu;
mod epistasis;
mod gpu;
mod ism;
mod torch;

use super::Context;
use crate::error::Result;

const EXAMPLE: &str = "\
Example:
  drg bench cpu --models drg600 --what forward --seconds 1
  drg bench ism --models seqtofunc251 --rounds 1
  drg bench gpu --json > gpu.json";

/// Measure speed
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Cpu(cpu::Args),
    Ism(ism::Args),
    Epistasis(epistasis::Args),
    Gpu(gpu::Args),
}

/// A program to compare with.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Rival {
    Torch,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    match &args.what {
        What::Cpu(args) => cpu::run(args, context),
        What::Ism(args) => ism::run(args, context),
        What::Epistasis(args) => epistasis::run(args, context),
        What::Gpu(args) => gpu::run(args, context),
    }
}
