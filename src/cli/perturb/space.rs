//! `drg perturb space`: how the effect of two motifs depends on their distance.

use std::io::Write;

use serde::Serialize;

use super::motifs::{Motif, motifs};
use super::{Common, integers, tracks_first};
use crate::cli::Context;
use crate::engine::mutate::perturb::{Moments, Site, space};
use crate::error::{Error, Result};
use crate::io::npz::NpzWriter;

const EXAMPLE: &str = "\
Interaction: effect of both motifs minus that of the first minus that of the second, each where it
is at that distance. 0 where the motifs do not see each other.

Output: npz with interaction, both, first and second (R arrangements, T tracks, D distances), means
over the backgrounds, each with its standard error (interaction_error, ...), and arrangements,
distances and tracks; or a table with one line an arrangement, distance and track.

Example:
  drg simulate -o sim
  drg train sim/sequences.fa sim/targets.tsv -o m.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg perturb space m.drg --motifs TGACTC,CCGGAA --backgrounds sim/sequences.fa --names 0:9 -o s.tsv";

/// Vary the distance of two motifs
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    #[command(flatten)]
    common: Common,
    /// The two motifs: each FILE:NAME of a MEME file, or bases A C G T N
    #[arg(long, value_name = "A,B", value_delimiter = ',', num_args = 1, required = true)]
    motifs: Vec<String>,
    /// Backgrounds: FASTA (.gz), one-hot npz, a table with sequences, or regions.bed@genome.fa
    #[arg(long, value_name = "SEQS")]
    backgrounds: String,
    /// Bases between the end of the first motif and the start of the second: from a to b - 1
    #[arg(long, value_name = "a:b[:STEP]", default_value = "0:50")]
    distances: String,
    /// Which motif comes first: ab, ba or both
    #[arg(long, value_name = "ORDER", default_value = "ab", value_parser = ["ab", "ba", "both"])]
    order: String,
    /// Strands of A and of B: ++, +-, -+, --, several of them, or all
    #[arg(long, value_name = "STRANDS", default_value = "++", value_delimiter = ',', allow_hyphen_values = true)]
    strands: Vec<String>,
    /// Position of the first base of the first motif [default: both together are in the middle]
    #[arg(long, value_name = "P")]
    position: Option<usize>,
    /// How the mutants are run: auto, delta (only what changes) or naive (each one whole)
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    engine: String,
}

/// Names of the parts, in the order of the output.
const PARTS: [&str; 4] = ["interaction", "both", "first", "second"];

/// Means and errors over the backgrounds of the four parts, each `[D, T]`.
type Curves = Vec<(Vec<f32>, Vec<f32>)>;

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let [a, b] = args.pair()?;
    let distances = args.distances()?;
    let arrangements = args.arrangements()?;
    let opened = args.common.open(&args.backgrounds, &args.engine, context)?;
    let (model, sequences) = (&opened.model.network, &opened.sequences);
    let site = Site { within: opened.one_input("which of them the motifs are written into")?, at: args.position };
    let mut labels = vec![];
    let mut curves: Vec<Curves> = vec![];
    for (swapped, strands) in &arrangements {
        let sides = [("A", &a, strands[0]), ("B", &b, strands[1])];
        let [one, two] = if *swapped { [sides[1], sides[0]] } else { sides };
        labels
            .push([one, two].map(|(side, _, reverse)| format!("{side}{}", if reverse { '-' } else { '+' })).join(" "));
        let (first, second) = (one.1.codes(one.2), two.1.codes(two.2));
        let spacing = opened.with_bar(context, |progress| {
            let pair = [&first[..], &second[..]];
            space(model, &sequences.bases, pair, &distances, &site, &opened.options, progress)
        })?;
        let parts = [spacing.interaction(), spacing.both, spacing.first, spacing.second];
        let moments = |values: &Vec<f64>| {
            let Moments { mean, error } = Moments::new(values, spacing.cells);
            (opened.effects(&mean), opened.effects(&error))
        };
        curves.push(parts.iter().map(moments).collect());
    }

    let (r, t, d) = (curves.len(), opened.columns.len(), distances.len());
    let archive = |w: &mut NpzWriter<'_>| {
        for (i, part) in PARTS.iter().enumerate() {
            let all = |error: bool| -> Vec<f32> {
                let one = |c: &Curves| tracks_first(if error { &c[i].1 } else { &c[i].0 }, d, t);
                curves.iter().flat_map(one).collect()
            };
            w.array(part, &[r, t, d], &all(false))?;
            w.array(&format!("{part}_error"), &[r, t, d], &all(true))?;
        }
        w.strings("arrangements", &labels)?;
        w.strings("motifs", &[&a.name, &b.name])?;
        w.array("distances", &[d], &integers(distances.iter().copied()))?;
        w.strings("names", &sequences.names)?;
        w.strings("tracks", &opened.columns)
    };
    let table = |out: &mut dyn Write| {
        let columns: Vec<String> = PARTS.iter().map(|part| format!("{part}\t{part}_error")).collect();
        writeln!(out, "arrangement\tdistance\ttrack\t{}", columns.join("\t"))?;
        for (label, curves) in labels.iter().zip(&curves) {
            for i in 0..d * t {
                let cells: Vec<String> =
                    curves.iter().map(|(mean, error)| format!("{}\t{}", mean[i], error[i])).collect();
                writeln!(out, "{label}\t{}\t{}\t{}", distances[i / t], opened.columns[i % t], cells.join("\t"))?;
            }
        }
        Ok(())
    };
    let n = sequences.len();
    let summary = format_args!("{r} arrangements, {d} distances, {n} backgrounds, {t} tracks");
    args.common.write(args, context, summary, archive, table)
}

impl Args {
    fn pair(&self) -> Result<[Motif; 2]> {
        let one = |spec: &String| {
            let mut all = motifs(spec)?;
            match all.len() {
                1 => Ok(all.swap_remove(0)),
                n => Err(Error::Usage(format!("--motifs: {spec} has {n} motifs; choose one with {spec}:NAME"))),
            }
        };
        let both: Vec<Motif> = self.motifs.iter().map(one).collect::<Result<_>>()?;
        <[Motif; 2]>::try_from(both)
            .map_err(|all| Error::Usage(format!("--motifs: expected two motifs A,B, found {}", all.len())))
    }

    fn distances(&self) -> Result<Vec<usize>> {
        // No model is that long, and a list of all numbers fits nowhere.
        const MOST: usize = 1 << 24;
        let parts: Option<Vec<usize>> = self.distances.split(':').map(|p| p.trim().parse().ok()).collect();
        match parts.as_deref() {
            Some(&[_, b] | &[_, b, _]) if b > MOST => {
                Err(Error::Usage(format!("--distances {}: expected distances up to {MOST}", self.distances)))
            }
            Some(&[a, b]) if a < b => Ok((a..b).collect()),
            Some(&[a, b, step]) if a < b && step > 0 => Ok((a..b).step_by(step).collect()),
            _ => Err(Error::Usage(format!("--distances {}: expected a:b or a:b:step with a < b", self.distances))),
        }
    }

    /// Whether B comes first, and which of A and B are on the reverse strand.
    fn arrangements(&self) -> Result<Vec<(bool, [bool; 2])>> {
        let mut strands = vec![];
        for word in &self.strands {
            match word.as_str() {
                "all" => strands.extend([[false, false], [false, true], [true, false], [true, true]]),
                "++" => strands.push([false, false]),
                "+-" => strands.push([false, true]),
                "-+" => strands.push([true, false]),
                "--" => strands.push([true, true]),
                _ => return Err(Error::Usage(format!("--strands {word}: expected ++, +-, -+, -- or all"))),
            }
        }
        let orders: &[bool] = match self.order.as_str() {
            "both" => &[false, true],
            "ba" => &[true],
            _ => &[false],
        };
        let mut all: Vec<(bool, [bool; 2])> = vec![];
        for one in orders.iter().flat_map(|&o| strands.iter().map(move |&s| (o, s))) {
            if !all.contains(&one) {
                all.push(one);
            }
        }
        Ok(all)
    }
}
