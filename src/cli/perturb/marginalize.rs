//! `drg perturb marginalize`: what a motif does in backgrounds.

use std::io::Write;

use serde::Serialize;

use super::motifs::{Motif, motifs};
use super::{Common, integers};
use crate::cli::Context;
use crate::engine::mutate::perturb::{Moments, Site, marginalize};
use crate::error::{Error, Result};
use crate::io::npz::NpzWriter;
use crate::seq::{duplicate, reverse_complement};

const EXAMPLE: &str = "\
Output: npz with effects (M motifs, O orientations, N backgrounds, T tracks), their mean and error
over the backgrounds (M, O, T; error is the standard error), motifs, orientations, positions (M:
first base of a motif), names, tracks and predictions (N, T) of the backgrounds; or a table with
one line a motif, orientation and track.

Example:
  drg simulate -o sim
  drg train sim/sequences.fa sim/targets.tsv -o m.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg perturb marginalize m.drg --motif sim/motifs.meme --backgrounds sim/sequences.fa -o a.npz
  drg perturb marginalize m.drg --motif TGACTCA --backgrounds sim/sequences.fa --names 0:9 -o b.tsv";

/// Write motifs into backgrounds
///
/// The effect of a motif is the prediction with it minus that without. It replaces the bases that are there.
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
    /// MEME file (all of its motifs), FILE:NAME (one of them), or bases A C G T N, where N leaves the
    /// base that is there; may be given several times
    #[arg(long, value_name = "MOTIF", required = true)]
    motif: Vec<String>,
    /// Backgrounds: FASTA (.gz), one-hot npz, a table with sequences, or regions.bed@genome.fa
    #[arg(long, value_name = "SEQS")]
    backgrounds: String,
    /// Position of the first base of the motif, from 0 [default: the motif is in the middle]
    #[arg(long, value_name = "P")]
    position: Option<usize>,
    /// Strand that the motif is read on: forward, reverse or both
    #[arg(long, value_name = "STRAND", default_value = "forward")]
    #[arg(value_parser = ["forward", "reverse", "both"])]
    orientation: String,
    /// Draw N instances from the probabilities of each motif and average, instead of the consensus
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    /// Seed of the drawn instances
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// How the mutants are run: auto, delta (only what changes) or naive (each one whole)
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    engine: String,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let mut all = vec![];
    for spec in &args.motif {
        all.extend(motifs(spec)?);
    }
    let names: Vec<String> = all.iter().map(|m| m.name.clone()).collect();
    if let Some((name, ..)) = duplicate(&names) {
        return Err(Error::Usage(format!("--motif: motif '{name}' comes twice")));
    }
    let orientations: &[&str] = match args.orientation.as_str() {
        "both" => &["forward", "reverse"],
        "reverse" => &["reverse"],
        _ => &["forward"],
    };
    let mut instances = vec![];
    let each = args.sample.unwrap_or(1) as usize;
    for (i, motif) in all.iter().enumerate() {
        // Motifs of equal probabilities draw different instances.
        let own = motif.instances(args.sample, args.seed.wrapping_add((i as u64) << 32))?;
        for &orientation in orientations {
            let turned = |codes: &Vec<u8>| match orientation {
                "reverse" => reverse_complement(codes),
                _ => codes.clone(),
            };
            instances.extend(own.iter().map(turned));
        }
    }
    let opened = args.common.open(&args.backgrounds, &args.engine, context)?;
    let (model, sequences) = (&opened.model.network, &opened.sequences);
    let site = Site { within: opened.one_input("which of them the motifs are written into")?, at: args.position };
    let responses = opened.with_bar(context, |progress| {
        marginalize(model, &sequences.bases, &instances, &site, &opened.options, progress)?.averaged(each)
    })?;
    let (n, m, o, t) = (sequences.len(), all.len(), orientations.len(), opened.columns.len());
    let effects = opened.effects(&responses.effects);
    let Moments { mean, error } = responses.moments();
    let (mean, error) = (opened.effects(&mean), opened.effects(&error));

    let archive = |w: &mut NpzWriter<'_>| {
        let cell = |i: usize, n: usize| (n * m * o + i) * t;
        let turned: Vec<f32> =
            (0..m * o).flat_map(|i| (0..n).flat_map(move |n| cell(i, n)..cell(i, n) + t)).map(|c| effects[c]).collect();
        w.array("effects", &[m, o, n, t], &turned)?;
        w.array("mean", &[m, o, t], &mean)?;
        w.array("error", &[m, o, t], &error)?;
        w.array("predictions", &[n, t], &opened.predictions(&responses.reference))?;
        let start = |m: &Motif| site.start(m.codes(false).len()) - opened.offset;
        w.array("positions", &[m], &integers(all.iter().map(start)))?;
        w.strings("motifs", &names)?;
        w.strings("orientations", orientations)?;
        w.strings("names", &sequences.names)?;
        w.strings("tracks", &opened.columns)
    };
    let table = |out: &mut dyn Write| {
        writeln!(out, "motif\torientation\ttrack\teffect\terror\tbackgrounds")?;
        for (i, (mean, error)) in mean.iter().zip(&error).enumerate() {
            let (motif, orientation) = (&names[i / t / o], orientations[i / t % o]);
            writeln!(out, "{motif}\t{orientation}\t{}\t{mean}\t{error}\t{n}", opened.columns[i % t])?;
        }
        Ok(())
    };
    args.common.write(args, context, format_args!("{m} motifs in {n} backgrounds, {t} tracks"), archive, table)
}
