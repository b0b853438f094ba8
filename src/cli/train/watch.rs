//! What is seen of a training run: a bar with loss, rate and time left on a terminal; a line an epoch everywhere.

use std::io::IsTerminal;
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::talk::Talk;
use crate::engine::train::{Event, PassKind};
use crate::error::Result;

/// Listens to a run.
pub(in crate::cli) struct Watch {
    talk: Talk,
    /// Stands before what the bar says.
    prefix: String,
    bar: ProgressBar,
    epochs: usize,
    epoch: usize,
    rate: f64,
    started: Instant,
}

impl Watch {
    pub(in crate::cli) fn new(talk: Talk, epochs: usize) -> Self {
        let shown = talk > Talk::Quiet && std::io::stderr().is_terminal();
        let bar = ProgressBar::with_draw_target(
            Some(0),
            if shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() },
        );
        if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} batches, {eta} left in the epoch")
        {
            bar.set_style(style);
        }
        Self { talk, prefix: String::new(), bar, epochs, epoch: 0, rate: 0.0, started: Instant::now() }
    }

    /// The same with the lines of another talk; the bar stays.
    pub(in crate::cli) fn lines(self, talk: Talk) -> Self {
        Self { talk, ..self }
    }

    /// The same for one of several runs: a name in front of what the bar says, lines for the verbose only.
    pub(super) fn of(self, prefix: String) -> Self {
        let talk = if self.talk < Talk::Verbose { Talk::Quiet } else { self.talk };
        Self { prefix, talk, ..self }
    }

    pub(in crate::cli) fn hear(&mut self, event: &Event) -> Result<()> {
        match event {
            Event::Resumed { epoch } => {
                self.epoch = *epoch;
                self.say(format!("resumed after epoch {epoch}"));
            }
            Event::Step { pass, done, total, loss, rate, .. } => {
                self.rate = *rate;
                if *done == 1 {
                    self.bar.reset();
                    self.bar.set_length(*total as u64);
                }
                let what = match pass {
                    PassKind::Training => format!("epoch {}/{} loss {loss:.4}", self.epoch + 1, self.epochs),
                    _ => "validation".into(),
                };
                self.bar.set_message(format!("{}{what} rate {rate:.1e}", self.prefix));
                self.bar.set_position(*done as u64);
            }
            Event::Epoch { epoch, training, validation, best, .. } => {
                self.epoch = *epoch;
                let mark = if *best { ", best so far" } else { "" };
                let seconds = self.started.elapsed().as_secs_f64();
                self.say(format!(
                    "epoch {epoch}: training loss {:.5}, validation loss {:.5}, rate {:.2e}, {seconds:.1} s{mark}",
                    training.training, validation.validation, self.rate
                ));
            }
            Event::LearningRate { rate, change } => {
                self.talk.detail(format_args!("learning rate {rate:e} ({change:?})"))
            }
            Event::Restored { epoch } => self.say(format!("took the weights of epoch {epoch} again")),
        }
        Ok(())
    }

    fn say(&self, line: String) {
        self.bar.suspend(|| self.talk.say(line));
    }

    pub(in crate::cli) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
