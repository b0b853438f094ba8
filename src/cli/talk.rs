//! What the program says: talk and errors on stderr, data on stdout.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use crate::error::{Error, Result};
use crate::io::Notes;

/// Stands for a path in errors about stdout.
const STDOUT: &str = "standard output";

/// How much is said on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Talk {
    /// Errors only.
    Quiet,
    /// What was done and what looked odd.
    Normal,
    /// Also how.
    Verbose,
}

impl Talk {
    pub(super) fn new(quiet: bool, verbose: bool) -> Self {
        match (quiet, verbose) {
            (true, _) => Self::Quiet,
            (_, true) => Self::Verbose,
            _ => Self::Normal,
        }
    }

    /// A line unless `--quiet` was given.
    pub(super) fn say(self, line: impl Display) {
        if self >= Self::Normal {
            to_stderr(line);
        }
    }

    /// A line if `--verbose` was given.
    pub(super) fn detail(self, line: impl Display) {
        if self >= Self::Verbose {
            to_stderr(line);
        }
    }

    /// What a reader noticed in a file.
    pub(super) fn notes(self, file: impl Display, notes: &Notes) {
        for sentence in notes.sentences() {
            self.say(format_args!("{file}: {sentence}"));
        }
    }
}

/// The one line of a failure.
pub(super) fn error(verb: &str, error: &Error) {
    to_stderr(format_args!("drg {verb}: {error}"));
}

/// Writes data to stdout.
///
/// # Errors
/// [`Error::Io`]; [`is_closed_pipe`] tells whether the reader has merely gone.
pub(super) fn print(data: impl Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    write!(out, "{data}").and_then(|()| out.flush()).map_err(Error::io("write", STDOUT))
}

/// Whether stdout was closed by its reader (`drg ... | head`), which is no failure.
pub(super) fn is_closed_pipe(error: &Error) -> bool {
    matches!(error, Error::Io { path, source, .. }
        if path.as_os_str() == STDOUT && source.kind() == ErrorKind::BrokenPipe)
}

/// Lines of cells with the columns aligned: the first `texts` to the left, the others to the right.
pub(super) fn aligned(rows: &[Vec<String>], texts: usize) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().enumerate().map(|(c, cell)| match c < texts {
            true => format!("{cell:<0$}", widths[c]),
            false => format!("{cell:>0$}", widths[c]),
        });
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

fn to_stderr(line: impl Display) {
    // A closed stderr must not stop the work.
    let _ = writeln!(std::io::stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let rows = [["metric", "n", "median"], ["r", "12", "0.5"]].map(|r| r.map(String::from).to_vec());
        assert_eq!(aligned(&rows, 1), "metric   n  median\nr       12     0.5\n");
        assert_eq!(aligned(&[], 1), "");
    }

    #[test]
    fn only_a_closed_stdout_is_harmless() {
        let broken = || std::io::Error::from(ErrorKind::BrokenPipe);
        assert!(is_closed_pipe(&Error::io("write", STDOUT)(broken())));
        assert!(!is_closed_pipe(&Error::io("write", "fifo")(broken())));
        assert!(!is_closed_pipe(&Error::io("write", STDOUT)(ErrorKind::StorageFull.into())));
    }
}
