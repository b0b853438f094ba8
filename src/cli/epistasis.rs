//! `drg epistasis`: what pairs of substitutions do beyond the sum of what each does.

use std::collections::HashMap;
use std::io::{Read, Seek, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::ProgressBar;
use serde::Serialize;

use super::arithmetic::Arithmetic;
use super::inputs::{self, Reading};
use super::readout::Bins;
use super::{Context, choose, output, talk};
use crate::engine::mutate::{Edit, EditPair, Edits, Engine, Options, PairBlock, Pairs, each_block, pairs};
use crate::error::{Error, Result};
use crate::io::npz::{NpzWriter, write_npz};
use crate::io::table::Table;
use crate::model::Model;
use crate::model::checkpoint::Scaling;
use crate::seq::{self, Sequences};
use crate::util::fs;

const EXAMPLE: &str = "\
All pairs of substitutions at P positions (-o .npz): pairs (N, T, P, 4, P, 4, float32: the effect of
both, mutant minus sequence), epistasis (the same shape: effect of both minus the two effects),
singles (N, T, 4, P), positions (P), bases (N, P; 0 to 3 = A C G T, 4 = unknown), names (N), tracks
(T) and predictions (N, T). Both halves are filled; 0 where a base is the one that is there and for
two bases at one position. With --max-distance D the shape is (N, T, P, 4, D, 4): the first
position, its base, the distance less one, the base there.

Rows (-o .tsv): sequence, pos1, base1, pos2, base2, and for every track effect_ij, effect_i,
effect_j and epistasis; those of --pairs in its order. Positions count from 0. --pairs FILE is a
table with the first five of these columns.

Example:
  drg simulate -o sim
  drg train sim/sequences.fa sim/targets.tsv -o model.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg epistasis model.drg sim/sequences.fa -o pairs.npz --names 0 --tracks 0 --range 10:40
  drg epistasis model.drg sim/sequences.fa -o pairs.tsv --names 0:2 --max-distance 3";

/// Numbers that one array of an npz may have for a sequence: 4 GiB.
const LARGEST: usize = 1 << 30;
/// Numbers that go to the temporary file at once.
const SCRATCH: usize = 1 << 16;
/// Columns of a table of pairs.
const COLUMNS: [&str; 5] = ["sequence", "pos1", "base1", "pos2", "base2"];

/// The effects of pairs of substitutions, and their epistasis
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Trained model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Sequences: FASTA (.gz), one-hot npz, a table with sequences, or regions.bed@genome.fa
    #[arg(value_name = "SEQS")]
    sequences: String,
    /// File to write (.npz or .tsv)
    #[arg(short, long, value_name = "FILE")]
    out: PathBuf,
    /// Only these sequences: names, indices or ranges a:b
    #[arg(long, visible_alias = "sequences", value_name = "A,B,...", value_delimiter = ',', conflicts_with = "pairs")]
    names: Vec<String>,
    /// Only these tracks: names, indices or ranges a:b
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    tracks: Vec<String>,
    /// All pairs of positions a to b - 1 [default: of the whole sequence]
    #[arg(long, value_name = "a:b", conflicts_with = "pairs")]
    range: Option<String>,
    /// Only pairs of positions at most this far apart
    #[arg(long, value_name = "D", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "pairs")]
    max_distance: Option<u32>,
    /// Only the pairs of this table: sequence, pos1, base1, pos2, base2
    #[arg(long, value_name = "FILE")]
    pairs: Option<PathBuf>,
    /// What runs the mutants: auto, delta or naive
    #[arg(long, value_name = "ENGINE", default_value = "auto", help_heading = "How")]
    engine: String,
    #[command(flatten)]
    bins: Bins,
    #[command(flatten)]
    arithmetic: Arithmetic,
    /// Mutants a batch of the naive engine; memory grows with it, results do not change
    /// [default: chosen]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..), help_heading = "How")]
    batch_size: Option<u32>,
    #[command(flatten)]
    reading: Reading,
}

/// What the user asked for, checked.
struct Job {
    model: Model,
    sequences: Sequences,
    tracks: Vec<usize>,
    pairs: Pairs,
    options: Options,
    /// (deviation, mean) of every chosen track: a prediction of a target is `value * deviation + mean`.
    scaling: Vec<(f64, f64)>,
    bar: ProgressBar,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let text = match args.out.extension().and_then(|e| e.to_str()) {
        Some("npz") if args.pairs.is_some() => {
            let what = format!("-o {}: listed pairs are written as rows; expected .tsv", args.out.display());
            return Err(Error::Usage(what));
        }
        Some("npz") => false,
        Some("tsv" | "txt") => true,
        _ => return Err(Error::Usage(format!("-o {}: expected a name that ends in .npz or .tsv", args.out.display()))),
    };
    output::check_file(&args.out)?;
    let (job, rows) = args.job(context)?;
    let clock = Instant::now();
    let mut done = 0;
    output::write_file(&args.out, context, args, |path| {
        done = match (&job.pairs, &rows) {
            (Pairs::Range { positions, within }, _) if !text => {
                let mut scratch = tempfile::tempfile_in(output::folder_of(path))
                    .map_err(Error::io("create a file in", output::folder_of(path)))?;
                let mut pairs = 0;
                write_npz(path, |w| {
                    pairs = job.arrays(positions, *within, w, &mut scratch)?;
                    Ok(())
                })?;
                pairs
            }
            (_, Some(rows)) => job.listed(rows, path)?,
            _ => job.streamed(path)?,
        };
        Ok(())
    })?;
    job.bar.finish_and_clear();
    context.talk.say(format_args!(
        "{} sequences, {} tracks, {done} pairs, {:.0} pairs/s",
        job.sequences.len(),
        job.tracks.len(),
        done as f64 / clock.elapsed().as_secs_f64()
    ));
    talk::print(format_args!("{}\n", args.out.display()))
}

impl Args {
    /// The job, and for listed pairs, row by row, the sequence and the number among its pairs.
    fn job(&self, context: &Context) -> Result<(Job, Option<Vec<(usize, usize)>>)> {
        let engine = Engine::parse(&self.engine)?;
        let computing = self.arithmetic.of(context)?;
        let model = self.bins.of(inputs::model(&self.model, &computing)?)?;
        let tracks = inputs::tracks(&model, &self.tracks)?;
        let all = self.reading.for_model(&self.sequences, &model, context)?;
        let sequences = all.select(&inputs::rows(&all, &self.names)?);
        if sequences.is_empty() {
            return Err(Error::Usage(format!("{}: no sequence to mutate", self.sequences)));
        }
        let (pairs, rows) = match &self.pairs {
            Some(file) => {
                let (pairs, rows) = read_pairs(file, &sequences)?;
                (Pairs::Listed(pairs.into()), Some(rows))
            }
            None => {
                let positions = self.positions(sequences.length)?;
                (Pairs::Range { positions, within: self.max_distance.map(|d| d as usize) }, None)
            }
        };
        let options = Options {
            engine,
            double: computing.double,
            precision: computing.precision,
            tracks: Some(tracks.clone()),
            batch: self.batch_size.map(|n| n as usize),
            blocks: None,
        };
        let scaling = tracks.iter().map(|&t| Scaling::of(model.scaling.as_ref(), t)).collect();
        let blocks = (0..sequences.len()).map(|i| pairs.blocks(i)).sum();
        let bar = inputs::bar(context.talk, blocks, "blocks");
        Ok((Job { model, sequences, tracks, pairs, options, scaling, bar }, rows))
    }

    fn positions(&self, length: usize) -> Result<Range<usize>> {
        let Some(text) = &self.range else { return Ok(0..length) };
        match choose::range(text) {
            Some((a, b)) if a + 1 < b && b <= length => Ok(a..b),
            _ => {
                let what = format!("expected a:b with 0 <= a < b <= {length} and two positions at least");
                Err(Error::Usage(format!("--range {text}: {what}")))
            }
        }
    }
}

/// The pairs of every sequence, and for every row of the table its sequence and its number among the pairs of that.
fn read_pairs(file: &Path, sequences: &Sequences) -> Result<(Vec<Vec<EditPair>>, Vec<(usize, usize)>)> {
    let table = Table::read(file, None)?;
    let mut columns = vec![];
    for name in COLUMNS {
        let column = table.column(name)?;
        columns.push(table.cells(column).collect::<Vec<_>>());
    }
    let numbers: HashMap<&str, usize> = sequences.names.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect();
    let mut pairs = vec![vec![]; sequences.len()];
    let mut rows = vec![];
    for (row, line) in table.lines().enumerate() {
        let wrong = |column: usize, what: String| Error::cell(file, line, COLUMNS[column], what);
        let name = columns[0][row];
        let Some(&n) = numbers.get(name) else {
            let near = crate::error::hint(name, sequences.names.iter().map(String::as_str));
            return Err(wrong(0, format!("there is no sequence '{name}'{near}")));
        };
        let codes = sequences.row(n);
        let edit = |column: usize| {
            let (at, base) = (columns[column][row], columns[column + 1][row]);
            let at = at.parse::<usize>().ok().filter(|&at| at < codes.len()).ok_or_else(|| {
                let what = format!("expected a position from 0 to {}, found '{at}'", codes.len() - 1);
                wrong(column, what)
            })?;
            let to = match base.as_bytes() {
                [letter] => seq::encode(*letter).filter(|&code| code < 4),
                _ => None,
            };
            let to = to.ok_or_else(|| wrong(column + 1, format!("expected A, C, G or T, found '{base}'")))?;
            if to == codes[at] {
                let what = format!("'{name}' has {base} at position {at} already; positions count from 0");
                return Err(wrong(column + 1, what));
            }
            Ok(Edit { at, to })
        };
        let pair = [edit(1)?, edit(3)?];
        if pair[0].at == pair[1].at {
            return Err(wrong(3, format!("both positions are {}; expected two different ones", pair[0].at)));
        }
        rows.push((n, pairs[n].len()));
        pairs[n].push(pair);
    }
    Ok((pairs, rows))
}

impl Job {
    /// Runs all blocks; returns the number of pairs.
    fn each(&self, mut f: impl FnMut(PairBlock) -> Result<()>) -> Result<usize> {
        let mut done = 0;
        pairs(&self.model.network, &self.sequences.bases, &self.pairs, &self.options, |block| {
            done += block.pairs.len();
            self.bar.inc(1);
            f(block).map(|()| true)
        })?;
        Ok(done)
    }

    /// Writes arrays of all pairs in a range; `scratch` holds the epistasis while the pairs are written.
    fn arrays(
        &self,
        positions: &Range<usize>,
        within: Option<usize>,
        w: &mut NpzWriter<'_>,
        scratch: &mut std::fs::File,
    ) -> Result<usize> {
        let (n, t, p) = (self.sequences.len(), self.tracks.len(), positions.len());
        // Distances, or all second positions.
        let second = within.map_or(p, |d| d.min(p - 1));
        let shape = [n, t, p, 4, second, 4];
        let size = 16 * t * p * second;
        if size > LARGEST {
            let what = format!("an array of {:.1} GB for a sequence", size as f64 * 4e-9);
            let hint = "narrow --range, --tracks or --max-distance, or write rows (.tsv)";
            return Err(Error::Usage(format!("{what} would be too large: {hint}")));
        }
        w.strings("names", &self.sequences.names)?;
        w.strings("tracks", &self.columns())?;
        w.array("positions", &[p], &positions.clone().map(|p| p as i64).collect::<Vec<_>>())?;
        let bases: Vec<u8> = (0..n).flat_map(|i| self.sequences.row(i)[positions.clone()].iter().copied()).collect();
        w.array("bases", &[n, p], &bases)?;
        let (predictions, singles) = self.singles(positions)?;
        w.array("predictions", &[n, t], &predictions)?;
        w.array("singles", &[n, t, 4, p], &singles)?;

        let spill = |e| Error::io("write", "a temporary file")(e);
        let place = |a: Edit, b: Edit| {
            let (p, q) = (a.at - positions.start, b.at - positions.start);
            let column = if within.is_some() { q - p - 1 } else { q };
            ((p * 4 + a.to as usize) * second + column) * 4 + b.to as usize
        };
        let mut out = w.start::<f32>("pairs", &shape)?;
        let (mut both, mut rest) = (vec![0f32; size], vec![0f32; size]);
        let mut next = |both: &mut [f32], rest: &mut [f32]| {
            out.push(both)?;
            for part in rest.chunks(SCRATCH) {
                let bytes: Vec<u8> = part.iter().flat_map(|v| v.to_le_bytes()).collect();
                scratch.write_all(&bytes).map_err(spill)?;
            }
            both.fill(0.0);
            rest.fill(0.0);
            Ok(())
        };
        // Sequences whose bases are all uniform have no block.
        let mut written = 0;
        let done = self.each(|block| {
            while written < block.sequence {
                next(&mut both, &mut rest)?;
                written += 1;
            }
            let epistasis = block.epistasis();
            for (m, &[a, b]) in block.pairs.iter().enumerate() {
                for (k, (scale, _)) in self.scaling.iter().enumerate() {
                    let mut put = |at: usize| {
                        both[k * size / t + at] = (block.effects[m * t + k] * scale) as f32;
                        rest[k * size / t + at] = (epistasis[m * t + k] * scale) as f32;
                    };
                    put(place(a, b));
                    if within.is_none() {
                        put(place(b, a));
                    }
                }
            }
            Ok(())
        })?;
        for _ in written..n {
            next(&mut both, &mut rest)?;
        }
        out.finish()?;
        scratch.rewind().map_err(Error::io("read", "a temporary file"))?;
        let mut out = w.start::<f32>("epistasis", &shape)?;
        let (mut left, mut bytes) = (n * size, vec![]);
        while left > 0 {
            bytes.resize(4 * left.min(SCRATCH), 0);
            scratch.read_exact(&mut bytes).map_err(Error::io("read", "a temporary file"))?;
            let values = bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
            out.push(&values.collect::<Vec<_>>())?;
            left -= bytes.len() / 4;
        }
        out.finish()?;
        Ok(done)
    }

    /// Predictions `[N, T]` and effects `[N, T, 4, P]` of single substitutions: a job of their own, because they stand before the
    /// pairs in the archive.
    fn singles(&self, positions: &Range<usize>) -> Result<(Vec<f32>, Vec<f32>)> {
        let (n, t, p) = (self.sequences.len(), self.tracks.len(), positions.len());
        let (mut predictions, mut singles) = (vec![0f32; n * t], vec![0f32; n * t * 4 * p]);
        let edits = Edits::Substitutions(positions.clone());
        each_block(&self.model.network, &self.sequences.bases, &edits, &self.options, |block| {
            for (k, (scale, mean)) in self.scaling.iter().enumerate() {
                predictions[block.sequence * t + k] = (block.reference[k] * scale + mean) as f32;
                for (m, edit) in block.edits.iter().enumerate() {
                    let at = (block.sequence * t + k) * 4 + edit[0].to as usize;
                    singles[at * p + edit[0].at - positions.start] = (block.effects[m * t + k] * scale) as f32;
                }
            }
            Ok(true)
        })?;
        Ok((predictions, singles))
    }

    fn columns(&self) -> Vec<&str> {
        self.tracks.iter().map(|&t| self.model.track_names()[t]).collect()
    }

    fn header(&self) -> String {
        let kinds = ["effect_ij", "effect_i", "effect_j", "epistasis"];
        let track = |name: &&str| kinds.map(|kind| format!("{kind}:{name}"));
        let columns: Vec<String> =
            COLUMNS.map(String::from).into_iter().chain(self.columns().iter().flat_map(track)).collect();
        columns.join("\t")
    }

    /// The four numbers of every track, `[T, 4]`, of pair `m`.
    fn numbers(&self, block: &PairBlock, m: usize) -> impl Iterator<Item = f32> {
        let t = self.tracks.len();
        self.scaling.iter().enumerate().flat_map(move |(k, (scale, _))| {
            let [both, a, b] = [&block.effects, &block.singles[0], &block.singles[1]].map(|v| v[m * t + k]);
            [both, a, b, both - a - b].map(|v| (v * scale) as f32)
        })
    }

    fn row(&self, sequence: usize, [a, b]: EditPair, numbers: impl Iterator<Item = f32>) -> String {
        let letter = |e: Edit| char::from(seq::decode(e.to));
        let mut row = format!("{}\t{}\t{}\t{}\t{}", self.sequences.names[sequence], a.at, letter(a), b.at, letter(b));
        numbers.for_each(|v| row += &format!("\t{v}"));
        row
    }

    /// Writes rows as they come: sequence by sequence, and within a sequence neighbourhood by neighbourhood.
    fn streamed(&self, path: &Path) -> Result<usize> {
        let mut done = 0;
        fs::write_atomic(path, |w| {
            writeln!(w, "{}", self.header()).map_err(Error::io("write", path))?;
            done = self.each(|block| {
                for (m, &pair) in block.pairs.iter().enumerate() {
                    let row = self.row(block.sequence, pair, self.numbers(&block, m));
                    writeln!(w, "{row}").map_err(Error::io("write", path))?;
                }
                Ok(())
            })?;
            Ok(())
        })?;
        Ok(done)
    }

    /// Writes the rows of listed pairs in the order of the list.
    fn listed(&self, rows: &[(usize, usize)], path: &Path) -> Result<usize> {
        let Pairs::Listed(pairs) = &self.pairs else { return self.streamed(path) };
        let mut numbers: Vec<Vec<f32>> = vec![vec![]; pairs.len()];
        let done = self.each(|block| {
            (0..block.pairs.len()).for_each(|m| numbers[block.sequence].extend(self.numbers(&block, m)));
            Ok(())
        })?;
        fs::write_atomic(path, |w| {
            let mut fill = || {
                writeln!(w, "{}", self.header())?;
                for &(i, k) in rows {
                    let size = 4 * self.tracks.len();
                    let numbers = numbers[i][k * size..][..size].iter().copied();
                    writeln!(w, "{}", self.row(i, pairs[i][k], numbers))?;
                }
                Ok(())
            };
            fill().map_err(Error::io("write", path))
        })?;
        Ok(done)
    }
}
