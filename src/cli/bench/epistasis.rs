//! `drg bench epistasis`: all pairs of substitutions of a sequence, against running pairs one by one.

use std::num::NonZero;
use std::time::Instant;

use serde_json::json;

use super::super::{Context, talk};
use crate::engine::mutate::{Engine, Options, Pairs, pairs};
use crate::error::{Error, Result};
use crate::model::ZooName;
use crate::util::par;
use crate::util::philox::Philox;

const EXAMPLE: &str = "\
Example:
  drg bench epistasis --positions 40";

/// Purpose of the random stream of bases.
const BASES: u64 = 0xBE04;

/// Time all pairs of substitutions of a sequence on the CPU
///
/// The delta engine runs all of them; the naive engine, in between, some blocks spread over the job. One track is written.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLE)]
pub(super) struct Args {
    /// Model: seqtofunc251, drg600, ...
    #[arg(long, value_name = "NAME", default_value = "seqtofunc251")]
    model: String,
    /// Positions in the middle whose pairs are run [default: all]
    #[arg(long, value_name = "N")]
    positions: Option<NonZero<u16>>,
    /// Blocks of the naive engine
    #[arg(long, value_name = "N", default_value = "3")]
    sample: NonZero<u16>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, context: &Context) -> Result<()> {
    let name = ZooName::parse(&args.model)?;
    let (model, l) = (name.network(1)?, name.length());
    let n = args.positions.map_or(l, |n| usize::from(n.get()));
    if n < 2 || n > l {
        return Err(Error::Usage(format!("--positions {n}: expected 2 to {l}, the length of {name}")));
    }
    let mut random = Philox::new(1, BASES);
    let codes: Vec<u8> = (0..l).map(|_| random.below(4) as u8).collect();
    let from = (l - n) / 2;
    let all = Pairs::Range { positions: from..from + n, within: None };
    let blocks = all.blocks(0);
    let time = |engine: Engine, blocks: Option<Vec<usize>>| -> Result<(usize, f64)> {
        let options = Options { engine, tracks: Some(vec![0]), blocks, ..Options::default() };
        let (clock, mut done) = (Instant::now(), 0);
        pairs(&model, &codes, &all, &options, |block| {
            done += block.effects.len();
            Ok(true)
        })?;
        Ok((done, clock.elapsed().as_secs_f64()))
    };
    let samples = usize::from(args.sample.get()).min(blocks);
    let spread = |i: usize| (2 * i + 1) * blocks / (2 * samples);
    let half = samples / 2;
    let chosen = |range: std::ops::Range<usize>| range.map(spread).collect::<Vec<_>>();
    // Before and after, so that a drifting machine disturbs both engines alike.
    let mut naive = (0, 0.0);
    let mut sample = |range: std::ops::Range<usize>| -> Result<()> {
        if !range.is_empty() {
            let (m, s) = time(Engine::Naive, Some(chosen(range)))?;
            naive = (naive.0 + m, naive.1 + s);
        }
        Ok(())
    };
    sample(0..half)?;
    let (m, s) = time(Engine::Delta, None)?;
    sample(half..samples)?;
    let (delta, whole) = (m as f64 / s, naive.0 as f64 / naive.1);
    context.talk.detail(format_args!("{} pairs by the naive engine in {:.1} s", naive.0, naive.1));
    if args.json {
        let row = json!({
            "model": name.name(), "pairs": m, "seconds": s, "threads": par::threads(), "precision": "f32",
            "pairs_per_s": delta, "naive_pairs_per_s": whole, "naive_sample": naive.0, "ratio": delta / whole,
        });
        return talk::print(format_args!("{row:#}\n"));
    }
    talk::print(format_args!(
        "{name}: {m} pairs in {s:.1} s, {delta:.0} pairs/s; naive {whole:.0} pairs/s on {} pairs; ratio {:.2}\n",
        naive.0,
        delta / whole
    ))
}
