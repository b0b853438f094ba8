//! `drg simulate`: sequences with planted motifs, and targets that follow from them.

use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::{Value, json};

use super::widths;
use crate::cli::output::{self, Staged};
use crate::cli::{Context, talk};
use crate::error::Result;
use crate::io::npz::write_npz;
use crate::io::sequences::{SequenceOptions, read_sequences};
use crate::motif::meme;
use crate::simulate::{Background, GenomeOptions, Options, ProfileOptions, Simulation, genome, profiles, simulate};

/// What is simulated without a further word.
#[derive(Debug, clap::Args, Serialize)]
#[group(id = "motifs_options")]
pub(super) struct Args {
    /// Folder for the files; made if its parent is there
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Number of sequences
    #[arg(long, value_name = "N", default_value_t = Options::default().sequences)]
    sequences: usize,
    /// Length of each sequence in bp
    #[arg(long, value_name = "BP", default_value_t = Options::default().length)]
    length: usize,
    /// Number of tracks
    #[arg(long, value_name = "N", default_value_t = Options::default().tracks)]
    tracks: usize,
    /// Number of classes that the tracks are divided into
    #[arg(long, value_name = "N", default_value_t = Options::default().classes)]
    classes: usize,
    /// Number of motifs to draw
    #[arg(long, value_name = "N", default_value_t = Options::default().motifs)]
    motifs: usize,
    /// Plant the motifs of this MEME file instead of drawn ones
    #[arg(long, value_name = "FILE", conflicts_with_all = ["motifs", "width"])]
    motif_file: Option<PathBuf>,
    /// Least and greatest width of drawn motifs in bp
    #[arg(long, value_name = "MIN-MAX", default_value = "8-12")]
    width: String,
    /// Mean number of sites in a sequence
    #[arg(long, value_name = "MEAN", default_value_t = Options::default().sites, allow_negative_numbers = true)]
    sites: f64,
    /// Plant on the forward strand only instead of on both
    #[arg(long)]
    forward_only: bool,
    /// GC content of the background, 0 to 1
    #[arg(long, value_name = "FRACTION", default_value_t = 0.5, allow_negative_numbers = true)]
    gc: f64,
    /// Background with the dinucleotides of these sequences (FASTA, one-hot npz, table, regions.bed@genome.fa)
    #[arg(long, value_name = "SEQS", conflicts_with = "gc")]
    background: Option<String>,
    /// Fraction of the motifs that act in all tracks; each of the others acts in the tracks of one class
    #[arg(long, value_name = "FRACTION", default_value_t = Options::default().shared, allow_negative_numbers = true)]
    shared: f64,
    /// Fraction of the motifs that lower the targets
    #[arg(long, value_name = "FRACTION", default_value_t = Options::default().negative, allow_negative_numbers = true)]
    negative: f64,
    /// Number of pairs of motifs with an extra effect when both are in a sequence
    #[arg(long, value_name = "N", default_value_t = Options::default().interactions)]
    interactions: usize,
    /// Size of these extra effects relative to that of single sites
    #[arg(long, value_name = "SIZE", default_value_t = Options::default().interaction_strength)]
    #[arg(allow_negative_numbers = true)]
    interaction_strength: f64,
    /// Distance from the middle in bp over which effects fall by a factor e [default: the place does not matter]
    #[arg(long, value_name = "BP", allow_negative_numbers = true)]
    decay: Option<f64>,
    /// Standard deviation of the noise relative to that of the noiseless target
    #[arg(long, value_name = "SD", default_value_t = Options::default().noise, allow_negative_numbers = true)]
    noise: f64,
    /// Number of sets in folds.txt [default: 10, or one a sequence where there are fewer]
    #[arg(long, value_name = "N")]
    folds: Option<usize>,
    /// Write profiles of reads around the sites, this many bins in the middle of every sequence: profiles.npz with two
    /// tracks, the strands, for every track
    #[arg(long, value_name = "N")]
    profile_bins: Option<usize>,
    /// Expected reads of a site with effect 1, on each strand
    #[arg(long, value_name = "READS", default_value_t = ProfileOptions::default().depth, allow_negative_numbers = true)]
    #[arg(requires = "profile_bins")]
    depth: f64,
    /// Write a genome of so many chromosomes with the same motifs: genome.fa [default with --variants: 2]
    #[arg(long, value_name = "N")]
    chromosomes: Option<usize>,
    /// Length of each chromosome in bp
    #[arg(long, value_name = "BP", default_value_t = GenomeOptions::default().length)]
    chromosome_length: usize,
    /// Write variants of the genome: variants.vcf with SNVs, MNVs, indels, some with wrong reference alleles or off the end
    #[arg(long, value_name = "N")]
    variants: Option<usize>,
    /// Seed of all random draws
    #[arg(long, value_name = "SEED", default_value_t = Options::default().seed)]
    seed: u64,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let options = args.validated(context)?;
    let simulation = simulate(&options)?;
    let folds = simulation.folds(args.folds.unwrap_or(options.sequences.min(10)))?;

    let profiles = args.profiles().map(|how| profiles(&simulation, &how)).transpose()?;
    let genome = args.genome().map(|size| genome(&options, &simulation.motifs, &size)).transpose()?;

    let mut staged = Staged::new(&args.out)?;
    staged.write("sequences.fa", |w| simulation.write_fasta(w))?;
    staged.write("targets.tsv", |w| simulation.write_targets(w))?;
    staged.write("signal.tsv", |w| simulation.write_signal(w))?;
    staged.write("effects.tsv", |w| simulation.write_effects(w))?;
    staged.write("sites.bed", |w| simulation.write_sites(w))?;
    staged.write("motifs.meme", |w| simulation.write_motifs(w))?;
    staged.write("folds.txt", |w| simulation.write_folds(&folds, w))?;
    staged.write("classes.txt", |w| simulation.write_classes(w))?;
    if let Some(p) = &profiles {
        let shape = [simulation.names.len(), p.tracks.len(), p.bins];
        staged.put(Path::new("profiles.npz"), |path| {
            write_npz(path, |w| {
                w.strings("names", &simulation.names)?;
                w.array("counts", &shape, &p.counts)?;
                w.strings("columns", &p.tracks)
            })
        })?;
    }
    if let Some(genome) = &genome {
        staged.write("genome.fa", |w| genome.write_fasta(w))?;
        if args.variants.is_some() {
            staged.write("variants.vcf", |w| genome.write_vcf(w))?;
        }
    }
    staged.provenance(Path::new("simulate.json"), context, args, results(&simulation, folds.len()))?;
    let paths = staged.finish()?;

    context.talk.say(format_args!(
        "{} sequences of {} bp, {} tracks, {} motifs at {} sites (seed {})",
        simulation.names.len(),
        simulation.length,
        simulation.tracks.len(),
        simulation.motifs.len(),
        simulation.sites.len(),
        simulation.seed
    ));
    if let Some(genome) = &genome {
        context.talk.say(format_args!(
            "{} chromosomes of {} bp, {} variants",
            genome.names.len(),
            args.chromosome_length,
            genome.variants.len()
        ));
    }
    talk::print(paths.iter().map(|p| format!("{}\n", p.display())).collect::<String>())
}

impl Args {
    /// How profiles are drawn, if they are asked for.
    fn profiles(&self) -> Option<ProfileOptions> {
        self.profile_bins.map(|bins| ProfileOptions { bins, depth: self.depth, ..ProfileOptions::default() })
    }

    /// Size of the genome, if one is asked for.
    fn genome(&self) -> Option<GenomeOptions> {
        let default = GenomeOptions::default();
        (self.chromosomes.is_some() || self.variants.is_some()).then(|| GenomeOptions {
            chromosomes: self.chromosomes.unwrap_or(default.chromosomes),
            length: self.chromosome_length,
            variants: self.variants.unwrap_or(default.variants),
        })
    }

    fn validated(&self, context: &Context) -> Result<Options> {
        output::check_folder(&self.out)?;
        let background = match &self.background {
            None => Background::Gc(self.gc),
            Some(spec) => {
                let (sequences, notes) = read_sequences(spec, &SequenceOptions::default())?;
                context.talk.notes(spec, &notes);
                Background::estimate(&sequences.bases, sequences.length)
            }
        };
        Ok(Options {
            sequences: self.sequences,
            length: self.length,
            tracks: self.tracks,
            classes: self.classes,
            motifs: self.motifs,
            given: self.motif_file.as_deref().map_or(Ok(Vec::new()), meme::read_pwms)?,
            width: widths("width", &self.width)?,
            sites: self.sites,
            both_strands: !self.forward_only,
            background,
            shared: self.shared,
            negative: self.negative,
            interactions: self.interactions,
            interaction_strength: self.interaction_strength,
            decay: self.decay,
            noise: self.noise,
            seed: self.seed,
        })
    }
}

fn results(simulation: &Simulation, folds: usize) -> Value {
    let name = |m: usize| simulation.motifs[m].name.as_str();
    let interactions: Vec<Value> = simulation
        .interactions
        .iter()
        .map(|i| json!({ "motifs": [name(i.motifs.0), name(i.motifs.1)], "effects": i.effects }))
        .collect();
    json!({ "sites": simulation.sites.len(), "folds": folds, "interactions": interactions })
}
