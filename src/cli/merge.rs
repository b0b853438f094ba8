//! `drg merge`: the shards of a mutagenesis as one.

use std::path::PathBuf;

use serde::Serialize;

use super::{Context, output, talk};
use crate::engine::mutate::{merge_npz, merge_store};
use crate::error::{Error, Result};

const EXAMPLE: &str = "\
All shards of one job must be there, finished, and none twice; what is wrong is named. The result
is the same, byte by byte, as that of the whole job. A single finished .zarr can be given too, to
make an .npz of it.

Example:
  drg simulate -o sim
  drg train sim/sequences.fa sim/targets.tsv -o model.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg ism model.drg sim/sequences.fa -o a.zarr --shard 1/2
  drg ism model.drg sim/sequences.fa -o b.zarr --shard 2/2
  drg merge a.zarr b.zarr -o effects.npz";

/// Put the shards of a mutagenesis together
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Folders that `drg ism --shard` wrote
    #[arg(value_name = "ZARR", required = true)]
    shards: Vec<PathBuf>,
    /// What to write: a file .npz or a folder .zarr
    #[arg(short, long, value_name = "OUT")]
    out: PathBuf,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let out = &args.out;
    match out.extension().and_then(|e| e.to_str()) {
        Some("npz") => output::write_file(out, context, args, |path| merge_npz(&args.shards, path).map(drop))?,
        Some("zarr") => {
            output::check_folder(out)?;
            // Under another name until it is whole.
            let host = output::folder_of(out);
            let aside = tempfile::Builder::new().prefix(".drg-").tempdir_in(host).map_err(Error::io("create", host))?;
            let whole = aside.path().join("merged.zarr");
            merge_store(&args.shards, &whole)?;
            if out.exists() {
                return Err(Error::Usage(format!("{} is there already; name another", out.display())));
            }
            std::fs::rename(&whole, out).map_err(Error::io("write", out))?;
            output::record(out, context, args)?;
        }
        _ => return Err(Error::Usage(format!("-o {}: expected a name that ends in .npz or .zarr", out.display()))),
    }
    talk::print(format_args!("{}\n", out.display()))
}
