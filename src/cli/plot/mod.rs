//! `drg plot`: pictures for papers.

mod attr;
mod curves;
mod dist;
mod logo;
mod profile;
mod scatter;

pub(super) use attr::heights;
pub(super) use curves::read as read_losses;
pub(super) use profile::{draw as draw_profiles, largest as largest_profiles};

use std::path::PathBuf;

use serde::Serialize;

use super::{Context, output, talk};
use crate::error::{Error, Result};
use crate::plot::Svg;

const EXAMPLE: &str = "\
Example:
  drg simulate -o sim
  drg plot logo sim/motifs.meme -o motifs.svg";

/// Draw attributions, loss curves, scatters, profiles, distributions of scores and motif logos as SVG or PNG
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    Attr(attr::Args),
    Curves(curves::Args),
    Scatter(scatter::Args),
    Profile(profile::Args),
    Dist(dist::Args),
    Logo(logo::Args),
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    match &args.what {
        What::Attr(args) => attr::run(args, context),
        What::Curves(args) => curves::run(args, context),
        What::Scatter(args) => scatter::run(args, context),
        What::Profile(args) => profile::run(args, context),
        What::Dist(args) => dist::run(args, context),
        What::Logo(args) => logo::run(args, context),
    }
}

/// Where a picture goes.
#[derive(Debug, clap::Args, Serialize)]
struct Picture {
    /// Picture, .svg or .png by its ending
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Title over the picture
    #[arg(long, value_name = "TEXT", default_value = "")]
    title: String,
    /// Dots an inch of a PNG
    #[arg(long, value_name = "N", default_value_t = 300.0)]
    dpi: f64,
}

impl Picture {
    /// Checks name and place, before any work is done for it.
    fn check(&self) -> Result<()> {
        let ending = self.out.extension().map(|e| e.to_string_lossy().to_lowercase());
        if !ending.is_some_and(|e| e == "svg" || e == "png") {
            let out = self.out.display();
            return Err(Error::Usage(format!("{out}: pictures are .svg or .png; end the name with one of these")));
        }
        output::check_file(&self.out)
    }

    /// Writes the picture with its record, and its path to stdout.
    fn write(&self, svg: &Svg, args: &impl Serialize, context: &Context) -> Result<()> {
        output::write_file(&self.out, context, args, |path| svg.write(path, self.dpi))?;
        talk::print(format_args!("{}\n", self.out.display()))
    }
}
