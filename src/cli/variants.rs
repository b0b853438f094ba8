//! `drg variants`: what the variants of a VCF file or a table do.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::arithmetic::Arithmetic;
use super::inputs::{self, Reading};
use super::layers::layers;
use super::readout::Bins;
use super::talk::Talk;
use super::{Context, output, talk};
use crate::engine::mutate::{
    Change, Engine, OnMismatch, Pair, Placed, Plan, Predictor, Scorer, ScorerOptions, Source, Status, Strand, Views,
};
use crate::error::{Error, Result, hint};
use crate::io::genome::Genome;
use crate::io::npz::write_npz;
use crate::io::vcf::{Record, Variant, read_variants};
use crate::model::{Model, Network};
use crate::seq::{Sequences, UNKNOWN, decode};
use crate::stat::Compare;
use crate::util::fs::write_atomic;

const EXAMPLE: &str = "\
Variants: VCF 4, or a table with the columns chrom, pos (from 1), ref, alt and maybe id; also .gz.
With --genome the first base of ref is at index ceil(L/2)-1 of a window of the model's L bases;
with --sequences chrom is the name of a sequence, which is the window (of a model of several inputs:
that of --input K, beside the other inputs' sequences of that name). After an indel the window
of alt is filled from the right, or cut there (with --sequences: filled with unknown bases).
Predictions of each allele are averaged over strands and shifts, then scored, in the units of the
targets; c is the pseudocount:
  diff    alt - ref                       ratio  (alt + c) / (ref + c)
  abs     |alt - ref|                     logit  logit(alt) - logit(ref)
  log2fc  log2((alt + c) / (ref + c))     l2     root of the sum of diff^2 over tracks (1 column)
What is not defined, e.g. the logarithm of a negative number, is NaN; such values are counted.

Output, in the order of the input: chrom, pos (from 1), id, ref, alt, status, then a column for
each score and track. Scored: ok; padded (the window reaches beyond the chromosome, unknown bases
stand there). Not scored, NaN: ref-mismatch (unless --on-mismatch score); no-sequence; off-end;
too-long (an allele longer than the window), out-of-view (of a shifted sequence); skipped: why.
As npz: values (V, scores, tracks; float32), l2 (V), scores, tracks, chrom, pos (0 if skipped),
id, ref, alt, status.

Example:
  drg simulate -o var --length 120 --variants 2000
  drg train var/sequences.fa var/targets.tsv -o var.drg --cnn num_kernels=16+l_kernels=11+epochs=2
  drg variants var.drg var/variants.vcf --genome var/genome.fa -o variants.tsv --score diff,abs,l2
  drg variants var.drg var/variants.vcf --genome var/genome.fa --plan";

/// Variant effects: both alleles of each SNV, MNV and indel of a VCF file
#[derive(Debug, clap::Args, Serialize)]
#[command(after_help = EXAMPLE)]
#[command(group = clap::ArgGroup::new("source").required(true).args(["genome", "sequences"]))]
pub(super) struct Args {
    /// Trained model
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Variants: VCF or a table
    #[arg(value_name = "VARIANTS")]
    variants: PathBuf,
    /// File to write: .tsv or .npz
    #[arg(short, long, value_name = "FILE", required_unless_present = "plan")]
    out: Option<PathBuf>,
    /// Genome that the variants are on (FASTA, not gzipped)
    #[arg(long, value_name = "FASTA")]
    genome: Option<PathBuf>,
    /// Sequences that the variants are on: FASTA (.gz), one-hot npz, a table, or regions.bed@genome.fa
    #[arg(long, value_name = "SEQS")]
    sequences: Option<String>,
    /// Input that the variants are in, from 0, of a model of several; --sequences then names one set an input with commas
    #[arg(long, value_name = "K", requires = "sequences")]
    input: Option<usize>,
    /// Scores: diff, log2fc, ratio, logit, abs, l2
    #[arg(long, visible_alias = "compare", value_name = "A,B,...", value_delimiter = ',', default_value = "diff")]
    score: Vec<String>,
    /// Number c that log2fc and ratio add to both predictions
    #[arg(long, value_name = "C", default_value_t = 0.0, allow_negative_numbers = true)]
    pseudocount: f64,
    /// Only these tracks: names, indices or ranges a:b
    #[arg(long, value_name = "A,B,...", value_delimiter = ',')]
    tracks: Vec<String>,
    /// Strand that is scored: forward, reverse, or the mean of both [default: mean; forward for models of several inputs, which
    /// take no other]
    #[arg(long, value_name = "STRAND")]
    strand: Option<String>,
    /// Shifts of the window in bp over which predictions are averaged
    #[arg(long, value_name = "A,B,...", value_delimiter = ',', default_value = "0", allow_hyphen_values = true)]
    shifts: Vec<i64>,
    /// Where ref is not what the sequence has: skip, score (both alleles put in as given) or fail
    #[arg(long, value_name = "WHAT", default_value = "skip")]
    on_mismatch: String,
    /// What runs the variants: auto (the cheaper), delta or naive
    #[arg(long, value_name = "ENGINE", default_value = "auto")]
    engine: String,
    #[command(flatten)]
    bins: Bins,
    #[command(flatten)]
    arithmetic: Arithmetic,
    /// Print what each engine would do, layer by layer; compute nothing else
    #[arg(long)]
    plan: bool,
    /// Windows a batch where they are run whole; memory grows with it, results do not change [default: chosen]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Option<u32>,
    #[command(flatten)]
    reading: Reading,
}

/// What to do with the arguments, checked.
struct Job {
    scores: Vec<Compare>,
    /// `None`: not said.
    strand: Option<Strand>,
    /// `None`: fail.
    on_mismatch: Option<OnMismatch>,
    engine: Engine,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let job = args.validated()?;
    let computing = args.arithmetic.of(context)?;
    let model = args.bins.of(inputs::model(&args.model, &computing)?)?;
    let tracks = inputs::tracks(&model, &args.tracks)?;
    let names: Vec<String> = tracks.iter().map(|&t| model.track_names()[t].to_string()).collect();
    let (input, strand) = args.input_of(&model, job.strand)?;
    let views = Views::new(input.len(), strand, &args.shifts, args.sequences.is_some())?;
    let source = args.source(&model, input, context)?;
    let options = ScorerOptions {
        engine: job.engine,
        double: computing.double,
        precision: computing.precision,
        tracks: Some(tracks),
        scaling: model.scaling.clone(),
        batch: args.batch_size.map(|n| n as usize),
    };
    let mut table = Table {
        path: &args.variants,
        scorer: Scorer::new(&model.network, options)?,
        source,
        views,
        job,
        pseudocount: args.pseudocount,
        tracks: names,
        counts: Counts::default(),
    };
    if args.plan {
        return table.plan();
    }
    let Some(out) = &args.out else { return Err(Error::Usage("expected -o FILE".into())) };

    // What is no file, such as a pipe, can be read but once.
    let total = match std::fs::metadata(&args.variants).is_ok_and(|m| m.is_file()) {
        true => Some(read_variants(&args.variants)?.try_fold(0, |n, record| record.map(|_| n + 1))?),
        false => None,
    };
    let bar = inputs::bar(context.talk, total.unwrap_or(0), "variants");
    let clock = std::time::Instant::now();
    output::write_file(out, context, args, |path| match (is_npz(out), total) {
        (false, _) => table.write_text(path, &bar),
        (true, Some(total)) => table.write_npz(path, total, &bar),
        (true, None) => {
            let what =
                format!("{}: an npz file needs variants that can be read twice; write .tsv", args.variants.display());
            Err(Error::Usage(what))
        }
    })?;
    bar.finish_and_clear();
    table.talk(context.talk, clock.elapsed().as_secs_f64());
    talk::print(format_args!("{}\n", out.display()))
}

fn is_npz(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "npz")
}

impl Args {
    fn validated(&self) -> Result<Job> {
        if let Some(out) = &self.out {
            if !is_npz(out) && !out.extension().is_some_and(|e| e == "tsv" || e == "txt") {
                let what = format!("-o {}: expected a name that ends in .tsv or .npz", out.display());
                return Err(Error::Usage(what));
            }
            output::check_file(out)?;
        }
        let scores = self.score.iter().map(|s| Compare::parse(s)).collect::<Result<Vec<_>>>()?;
        if let Some(i) = (1..scores.len()).find(|&i| scores[..i].contains(&scores[i])) {
            return Err(Error::Usage(format!("score: '{}' comes twice", scores[i].name())));
        }
        if !(self.pseudocount >= 0.0 && self.pseudocount.is_finite()) {
            return Err(Error::Usage(format!("pseudocount: expected 0 or more, found {}", self.pseudocount)));
        }
        let strands = Strand::ALL.iter().map(|s| (s.name(), *s));
        let mismatch = [("skip", Some(OnMismatch::Skip)), ("score", Some(OnMismatch::Score)), ("fail", None)];
        Ok(Job {
            scores,
            strand: self
                .strand
                .as_ref()
                .map(|word| one_of("strand", word, &strands.collect::<Vec<_>>()))
                .transpose()?,
            on_mismatch: one_of("on-mismatch", &self.on_mismatch, &mismatch)?,
            engine: Engine::parse(&self.engine)?,
        })
    }

    /// Where the input lies that the variants are in, and the strand to score.
    fn input_of(&self, model: &Model, strand: Option<Strand>) -> Result<(Range<usize>, Strand)> {
        let mut spans = model.network.spans();
        let (n, last) = (spans.len(), spans.len() - 1);
        let refuse = |what: String| Err(Error::Usage(what));
        if n > 1 && self.sequences.is_none() {
            return refuse(format!(
                "the model has {n} inputs, and where their windows lie on a genome is not known: name the sequences of all inputs \
                 with --sequences A,B,... and the input that the variants are in with --input K, 0 to {last}"
            ));
        }
        let input = match self.input {
            Some(input) if input < n => input,
            Some(input) => return refuse(format!("--input {input}: expected the number of an input, 0 to {last}")),
            None if n == 1 => 0,
            None => {
                return refuse(format!(
                    "the model has {n} inputs; say with --input K, 0 to {last}, which one the variants are in"
                ));
            }
        };
        let profiles = model.network.architecture().bins().is_some();
        match strand {
            Some(Strand::Reverse | Strand::Mean) if n > 1 => {
                refuse("--strand: the inputs of a model of several are not turned around; expected forward".into())
            }
            // A turned window has its bins backwards and its strands exchanged: means of both would mix them.
            Some(Strand::Reverse | Strand::Mean) if profiles => refuse(
                "--strand: profiles of the other strand lie the other way round; expected forward, and a model trained with \
                 average_strands=True for the mean of both"
                    .into(),
            ),
            _ if n > 1 || profiles => Ok((spans.swap_remove(input), Strand::Forward)),
            _ => Ok((spans.swap_remove(input), strand.unwrap_or_default())),
        }
    }

    fn source(&self, model: &Model, input: Range<usize>, context: &Context) -> Result<Bases> {
        match (&self.genome, &self.sequences) {
            (Some(path), _) => {
                let genome = Genome::open(path)?;
                let file = path.display().to_string();
                Ok(Bases::Genome {
                    genome,
                    file,
                    renamed: RefCell::default(),
                    talk: context.talk,
                    said: Cell::new(false),
                })
            }
            (None, Some(spec)) => {
                let sequences = self.reading.for_model(spec, model, context)?;
                let rows = sequences.names.iter().enumerate().map(|(i, name)| (name.clone(), i)).collect();
                Ok(Bases::Sequences { sequences, rows, input })
            }
            (None, None) => Err(Error::Usage("expected --genome or --sequences".into())),
        }
    }
}

fn one_of<T: Copy>(option: &str, word: &str, known: &[(&str, T)]) -> Result<T> {
    known.iter().find(|(name, _)| *name == word).map(|(_, value)| *value).ok_or_else(|| {
        let near = hint(word, known.iter().map(|(name, _)| *name));
        let names: Vec<&str> = known.iter().map(|(name, _)| *name).collect();
        Error::Usage(format!("{option}: unknown '{word}'{near}; expected {}", names.join(", ")))
    })
}

/// Where the bases come from.
enum Bases {
    Genome {
        genome: Genome,
        file: String,
        /// Names in the variants and what the genome calls them.
        renamed: RefCell<HashMap<String, Option<String>>>,
        talk: Talk,
        said: Cell<bool>,
    },
    Sequences {
        sequences: Sequences,
        rows: HashMap<String, usize>,
        /// Where the input lies that the variants are in.
        input: Range<usize>,
    },
}

impl Bases {
    /// The name that the genome has for `name`: with or without `chr` in front.
    fn chromosome(&self, name: &str) -> Option<String> {
        let Self::Genome { genome, file, renamed, talk, said } = self else { return None };
        if let Some(known) = renamed.borrow().get(name) {
            return known.clone();
        }
        let other = name.strip_prefix("chr").map_or_else(|| format!("chr{name}"), String::from);
        let has = |name: &str| genome.names().iter().any(|n| n == name);
        let found = match (has(name), has(&other)) {
            (true, _) => Some(name.to_string()),
            (false, true) => {
                if !said.replace(true) {
                    talk.say(format_args!("'{name}' of the variants is taken to be '{other}' of {file}, and so on"));
                }
                Some(other)
            }
            (false, false) => None,
        };
        renamed.borrow_mut().insert(name.into(), found.clone());
        found
    }
}

impl Bases {
    /// Windows of one input as those of the whole model, the other inputs' sequences of that name beside them.
    fn whole(&self, name: &str, pairs: Vec<Pair>) -> Vec<Pair> {
        match self {
            Self::Sequences { sequences, rows, input } if input.len() < sequences.length => {
                let row = rows.get(name).map_or(&[][..], |&i| sequences.row(i));
                pairs.iter().map(|pair| pair.between(&row[..input.start], &row[input.end..])).collect()
            }
            _ => pairs,
        }
    }
}

impl Source for Bases {
    fn length(&self, name: &str) -> Option<usize> {
        match self {
            Self::Genome { genome, .. } => genome.length(&self.chromosome(name)?).ok(),
            Self::Sequences { sequences, rows, input } => {
                // Sequences are filled at the end to the model's length.
                let row = &sequences.row(*rows.get(name)?)[input.clone()];
                Some(row.iter().rposition(|&b| b != UNKNOWN).map_or(0, |last| last + 1))
            }
        }
    }

    fn bases(&self, name: &str, interval: Range<i64>) -> Result<Vec<u8>> {
        match self {
            Self::Genome { genome, .. } => {
                genome.fetch(self.chromosome(name).as_deref().unwrap_or(name), interval.start, interval.end)
            }
            Self::Sequences { sequences, rows, input } => {
                let row = rows.get(name).map_or(&[][..], |&i| &sequences.row(i)[input.clone()]);
                let at = |i: i64| usize::try_from(i).ok().and_then(|i| row.get(i)).copied().unwrap_or(UNKNOWN);
                Ok(interval.map(at).collect())
            }
        }
    }
}

/// The variants on their way from one file to the other.
struct Table<'a> {
    path: &'a Path,
    scorer: Scorer<Network>,
    source: Bases,
    views: Views,
    job: Job,
    pseudocount: f64,
    tracks: Vec<String>,
    counts: Counts,
}

/// What is said at the end.
#[derive(Default)]
struct Counts {
    variants: usize,
    scored: usize,
    padded: usize,
    /// Reference alleles that were looked at, and those that were not found.
    compared: usize,
    mismatches: usize,
    /// Variants without scores by their status.
    left: BTreeMap<String, usize>,
    /// Values that are NaN or infinite by their score.
    undefined: BTreeMap<&'static str, usize>,
}

/// A line of the output.
struct Row {
    record: Record,
    status: String,
    pairs: Vec<Pair>,
    /// `[scores, T]`, and one for l2; none if it is not scored.
    values: Vec<Vec<f64>>,
}

impl Table<'_> {
    /// Calls `f` with all rows of all batches, in the order of the file.
    fn each(&mut self, mut f: impl FnMut(&[Row]) -> Result<()>) -> Result<()> {
        let mut records = read_variants(self.path)?;
        loop {
            let rows = self.next_rows(&mut records)?;
            if rows.is_empty() {
                return Ok(());
            }
            f(&self.scored(rows)?)?;
        }
    }

    /// The next batch, looked up but not scored.
    fn next_rows(&mut self, records: &mut impl Iterator<Item = Result<Record>>) -> Result<Vec<Row>> {
        let size = self.scorer.batch(self.views.count());
        let mut rows = Vec::new();
        for record in records.take(size) {
            let record = record?;
            let (status, pairs) = match &record {
                Record::Skipped { why, .. } => (format!("skipped: {why}"), vec![]),
                Record::Variant(v) => {
                    let placed = self.place(v)?;
                    (placed.status.name().to_string(), placed.pairs)
                }
            };
            self.counts.variants += 1;
            if pairs.is_empty() {
                *self.counts.left.entry(status.clone()).or_default() += 1;
            }
            rows.push(Row { record, status, pairs, values: vec![] });
        }
        Ok(rows)
    }

    fn place(&mut self, v: &Variant) -> Result<Placed> {
        let (name, position) = (v.chrom.as_str(), v.position);
        let change = Change { name, position, reference: &v.reference, alternative: &v.alternative };
        let mut placed = self.views.place(&self.source, &change, self.job.on_mismatch.unwrap_or_default())?;
        placed.pairs = self.source.whole(name, placed.pairs);
        self.counts.compared += usize::from(!placed.found.is_empty());
        match placed.status {
            Status::RefMismatch if self.job.on_mismatch.is_none() => {
                let there: String = placed.found.iter().take(40).map(|&c| char::from(decode(c))).collect();
                let what = format!(
                    "the reference allele of {} at {name}:{} is {}, but the sequence has {there} there; is it of another \
                     assembly, or are alleles swapped? (--on-mismatch skip goes on without it)",
                    v.id,
                    position + 1,
                    String::from_utf8_lossy(&v.reference[..v.reference.len().min(40)])
                );
                return Err(Error::line(self.path, v.line as usize, what));
            }
            Status::RefMismatch => self.counts.mismatches += 1,
            Status::Padded => self.counts.padded += 1,
            _ => {}
        }
        Ok(placed)
    }

    fn scored(&mut self, mut rows: Vec<Row>) -> Result<Vec<Row>> {
        let pairs: Vec<&[Pair]> = rows.iter().map(|r| r.pairs.as_slice()).filter(|p| !p.is_empty()).collect();
        let mut all = self.scorer.score(&pairs)?.into_iter();
        self.counts.scored += all.len();
        for row in rows.iter_mut().filter(|r| !r.pairs.is_empty()) {
            let Some(scored) = all.next() else { break };
            let values = |s: &Compare| s.apply(&scored.reference, &scored.effect, self.pseudocount);
            row.values = self.job.scores.iter().map(values).collect::<Result<_>>()?;
            for (score, values) in self.job.scores.iter().zip(&row.values) {
                let undefined = values.iter().filter(|v| !v.is_finite()).count();
                if undefined > 0 {
                    *self.counts.undefined.entry(score.name()).or_default() += undefined;
                }
            }
        }
        Ok(rows)
    }

    fn write_text(&mut self, path: &Path, bar: &indicatif::ProgressBar) -> Result<()> {
        let mut columns = vec![];
        for score in &self.job.scores {
            match score {
                Compare::L2 => columns.push("l2".to_string()),
                _ => columns.extend(self.tracks.iter().map(|t| format!("{}:{t}", score.name()))),
            }
        }
        write_atomic(path, |w| {
            let io = |e| Error::io("write", path)(e);
            writeln!(w, "chrom\tpos\tid\tref\talt\tstatus\t{}", columns.join("\t")).map_err(io)?;
            self.each(|rows| {
                for row in rows {
                    let [chrom, pos, id, reference, alternative] = cells(&row.record);
                    write!(w, "{chrom}\t{pos}\t{id}\t{reference}\t{alternative}\t{}", row.status).map_err(io)?;
                    match row.values.is_empty() {
                        true => (0..columns.len()).try_for_each(|_| write!(w, "\tNaN")),
                        false => row.values.iter().flatten().try_for_each(|&v| write!(w, "\t{}", v as f32)),
                    }
                    .and_then(|()| writeln!(w))
                    .map_err(io)?;
                }
                bar.inc(rows.len() as u64);
                Ok(())
            })
        })
    }

    fn write_npz(&mut self, path: &Path, total: usize, bar: &indicatif::ProgressBar) -> Result<()> {
        let all = self.job.scores.clone();
        let plain: Vec<&str> = all.iter().filter(|s| **s != Compare::L2).map(|s| s.name()).collect();
        let tracks = self.tracks.clone();
        let width = plain.len() * tracks.len();
        let (mut l2, mut positions, mut texts) = (vec![], vec![], [const { Vec::new() }; 5]);
        write_npz(path, |w| {
            let mut values = w.start::<f32>("values", &[total, plain.len(), tracks.len()])?;
            self.each(|rows| {
                for row in rows {
                    let [chrom, pos, id, reference, alternative] = cells(&row.record);
                    positions.push(pos.parse::<i64>().unwrap_or(0));
                    let own = [chrom, id, reference, alternative, row.status.clone()];
                    texts.iter_mut().zip(own).for_each(|(all, own)| all.push(own));
                    let (mut line, mut root) = (Vec::with_capacity(width), f32::NAN);
                    for (score, values) in all.iter().zip(&row.values) {
                        match score {
                            Compare::L2 => root = values[0] as f32,
                            _ => line.extend(values.iter().map(|&v| v as f32)),
                        }
                    }
                    // A variant without scores.
                    line.resize(width, f32::NAN);
                    values.push(&line)?;
                    l2.push(root);
                }
                bar.inc(rows.len() as u64);
                Ok(())
            })?;
            values.finish()?;
            if all.contains(&Compare::L2) {
                w.array("l2", &[total], &l2)?;
            }
            w.strings("scores", &plain)?;
            w.strings("tracks", &tracks)?;
            w.array("pos", &[total], &positions)?;
            ["chrom", "id", "ref", "alt", "status"].iter().zip(&texts).try_for_each(|(key, all)| w.strings(key, all))
        })
    }

    /// Prints the plan that the first variants lead to.
    fn plan(&mut self) -> Result<()> {
        let mut records = read_variants(self.path)?;
        while self.scorer.plan().is_none() {
            let rows = self.next_rows(&mut records)?;
            if rows.is_empty() {
                let what = "no variant that can be scored by edits; indels are run whole, there is nothing to plan";
                return Err(Error::Usage(format!("{}: {what}", self.path.display())));
            }
            let pairs: Vec<&[Pair]> = rows.iter().map(|r| r.pairs.as_slice()).filter(|p| !p.is_empty()).collect();
            self.scorer.prepare(&pairs)?;
        }
        let Some(plan) = self.scorer.plan() else { return Ok(()) };
        talk::print(format_args!(
            "{}\nengine: {} ({})\n{}\n",
            layers(plan),
            plan.engine.name(),
            plan.reason,
            saving(plan)
        ))
    }

    fn talk(&self, talk: Talk, seconds: f64) {
        let c = &self.counts;
        let padded = match c.padded {
            0 => String::new(),
            n => format!(", {n} of them in windows that reach beyond their chromosome (unknown bases stand there)"),
        };
        let rate = c.variants as f64 / seconds.max(1e-9);
        talk.say(format_args!("{} variants, {} scored{padded}; {rate:.0} variants/s", c.variants, c.scored));
        let matches = c.compared - c.mismatches;
        talk.say(format_args!("reference alleles: {matches} as in the sequence, {} not", c.mismatches));
        if !c.left.is_empty() {
            let left: Vec<String> = c.left.iter().map(|(status, n)| format!("{n} {status}")).collect();
            talk.say(format_args!("not scored: {}", left.join(", ")));
        }
        for (score, n) in &c.undefined {
            talk.say(format_args!("{score}: {n} values are not finite"));
        }
        let work = self.scorer.work();
        talk.say(format_args!(
            "{} windows of ref, {} sweeps, {} windows of alt run whole (indels, naive engine)",
            work.references, work.sweeps, work.whole
        ));
        if let Some(plan) = self.scorer.plan() {
            talk.say(format_args!("engine {} ({}): {}", plan.engine.name(), plan.reason, saving(plan)));
        }
    }
}

/// What delta can save here.
fn saving(plan: &Plan) -> String {
    let m = plan.mutants.max(1.0);
    let saved = plan.naive * (1.0 + 1.0 / m) / plan.delta_with_reference.max(1.0);
    let most = 1.0 + m;
    format!(
        "a window of ref serves {m:.1} edited windows of alt, so delta can save at most {most:.1} times the arithmetic; \
         here {saved:.1} times"
    )
}

/// Chromosome, position from 1, name, alleles. What was skipped has its name only, which tells all of them.
fn cells(record: &Record) -> [String; 5] {
    let letters = |allele: &[u8]| String::from_utf8_lossy(allele).into_owned();
    match record {
        Record::Variant(v) => {
            let (pos, id) = ((v.position + 1).to_string(), v.id.clone());
            [v.chrom.clone(), pos, id, letters(&v.reference), letters(&v.alternative)]
        }
        Record::Skipped { what, .. } => [".", ".", what, ".", "."].map(String::from),
    }
}
