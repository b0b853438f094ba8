//! `drg completions`: what a shell needs to complete verbs and flags.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, talk};
use crate::error::Result;

const EXAMPLE: &str = "\
Example:
  drg completions bash > ~/.local/share/bash-completion/completions/drg";

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Shell to complete in
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<()> {
    // Into memory first: the generator panics when its writer fails, as a closed pipe does.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "drg", &mut script);
    talk::print(String::from_utf8_lossy(&script))
}
