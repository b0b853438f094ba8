//! `drg perturb ablate`: what sites contribute.

use std::collections::HashMap;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Common, Filling, Opened, integers};
use crate::cli::Context;
use crate::cli::talk::Talk;
use crate::engine::mutate::perturb::ablate;
use crate::error::{Error, Result};
use crate::io::bed::read_bed;
use crate::io::first_few;
use crate::io::npz::NpzWriter;

const EXAMPLE: &str = "\
Output: npz with effects (S sites, T tracks: mean over the fills), sd (S, T: their standard
deviation), predictions (S, T: of the unchanged sequence), sites, sequences, start and end (S) and
tracks; or a table with one line a site and track. A site's fills depend on the seed, the number
of its sequence and its start.

Example:
  drg simulate -o sim
  drg train sim/sequences.fa sim/targets.tsv -o m.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg perturb ablate m.drg sim/sequences.fa --sites sim/sites.bed --names 0:20 -o ablated.tsv";

/// Take sites out: replace them by shuffled, random or unknown bases
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
    /// Sequences: FASTA (.gz), one-hot npz, a table with sequences, or regions.bed@genome.fa
    #[arg(value_name = "SEQS")]
    sequences: String,
    /// Sites (BED): name of the sequence, first position, position after the last, name of the site
    #[arg(long, value_name = "BED", required_unless_present = "range", conflicts_with = "range")]
    sites: Option<PathBuf>,
    /// One site in every sequence: positions a to b - 1
    #[arg(long, value_name = "a:b")]
    range: Option<String>,
    /// What replaces the bases: shuffle, dinucleotide (shuffle), random, n (unknown) or uniform (0.25)
    #[arg(long, value_name = "FILL", default_value = "shuffle")]
    fill: String,
    #[command(flatten)]
    filling: Filling,
}

/// Sites and their names.
type Sites = (Vec<(usize, Range<usize>)>, Vec<String>);

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let removal = args.filling.removal(&args.fill)?;
    let opened = args.common.open(&args.sequences, &args.filling.engine, context)?;
    let (sites, labels) = match &args.sites {
        Some(path) => read_sites(path, &opened, context.talk)?,
        None => {
            let (range, n) = (opened.range(args.range.as_deref())?, opened.sequences.len());
            let label = format!("{}-{}", range.start - opened.offset, range.end - opened.offset);
            ((0..n).map(|i| (i, range.clone())).collect(), vec![label; n])
        }
    };
    let (model, sequences) = (&opened.model.network, &opened.sequences);
    let all = opened
        .with_bar(context, |progress| ablate(model, &sequences.bases, &sites, &removal, &opened.options, progress))?;
    let (mean, sd) = (opened.effects(&all.mean), opened.effects(&all.sd));
    let predictions = opened.predictions(&all.reference);
    let names: Vec<&str> = sites.iter().map(|(n, _)| sequences.names[*n].as_str()).collect();

    let (s, t) = (sites.len(), opened.columns.len());
    let archive = |w: &mut NpzWriter<'_>| {
        w.array("effects", &[s, t], &mean)?;
        w.array("sd", &[s, t], &sd)?;
        w.array("predictions", &[s, t], &predictions)?;
        w.strings("sites", &labels)?;
        w.strings("sequences", &names)?;
        w.array("start", &[s], &integers(sites.iter().map(|(_, r)| r.start - opened.offset)))?;
        w.array("end", &[s], &integers(sites.iter().map(|(_, r)| r.end - opened.offset)))?;
        w.strings("tracks", &opened.columns)
    };
    let table = |out: &mut dyn Write| {
        writeln!(out, "sequence\tstart\tend\tsite\ttrack\teffect\tsd\tprediction")?;
        for i in 0..s * t {
            let ((_, range), name, label) = (&sites[i / t], names[i / t], &labels[i / t]);
            let (start, end) = (range.start - opened.offset, range.end - opened.offset);
            write!(out, "{name}\t{start}\t{end}\t{label}\t{}\t", opened.columns[i % t])?;
            writeln!(out, "{}\t{}\t{}", mean[i], sd[i], predictions[i])?;
        }
        Ok(())
    };
    args.common.write(args, context, format_args!("{s} sites, {t} tracks"), archive, table)
}

/// Sites of a BED file in the chosen sequences.
fn read_sites(path: &Path, opened: &Opened, talk: Talk) -> Result<Sites> {
    let input = opened.one_input("in which of them the sites lie")?;
    let (names, length) = (&opened.sequences.names, input.len());
    let places: HashMap<&str, usize> = names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
    let (mut sites, mut labels, mut elsewhere) = (vec![], vec![], vec![]);
    for region in read_bed(path)? {
        let Some(&n) = places.get(region.chrom.as_str()) else {
            elsewhere.push(region.chrom);
            continue;
        };
        match (usize::try_from(region.start), usize::try_from(region.end)) {
            (Ok(a), Ok(b)) if a < b && b <= length => sites.push((n, input.start + a..input.start + b)),
            _ => {
                let (a, b) = (region.start, region.end);
                let what = format!("site {a}-{b} is empty or not inside '{}', which has 0-{length}", region.chrom);
                return Err(Error::line(path, region.line, what));
            }
        }
        labels.push(region.name);
    }
    if sites.is_empty() {
        let (here, there) = (first_few(&elsewhere), first_few(names));
        return Err(Error::file(path, format!("no site lies in a sequence: sites in [{here}], sequences [{there}]")));
    }
    if !elsewhere.is_empty() {
        talk.say(format_args!("{} sites in other sequences are left out", elsewhere.len()));
    }
    Ok((sites, labels))
}
