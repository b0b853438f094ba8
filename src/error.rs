//! One error type for the whole crate. A message says what was expected, what was found, where, and what to do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::tensor::DType;

/// Result of every fallible call of the crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong. Variants carry data; the text is made when it is shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A tensor has the wrong shape.
    #[error("{op}: {arg} must be {expected}; found {found:?}")]
    Shape {
        /// Operation that refused.
        op: &'static str,
        /// Which of its arguments.
        arg: &'static str,
        /// Shape in the letters of the documentation, e.g. `[N, L, 300]`.
        expected: String,
        /// Shape that came.
        found: Vec<usize>,
    },
    /// A tensor has the wrong element type.
    #[error("{op}: expected {expected}, found {found:?}")]
    DType {
        /// Operation that refused.
        op: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What came.
        found: DType,
    },
    /// An argument of an operation is out of its range.
    #[error("{op}: {what}")]
    Argument {
        /// Operation that refused.
        op: &'static str,
        /// What was expected and what was found.
        what: String,
    },
    /// Something that is valid elsewhere but that this version does not do.
    #[error("{op}: not supported: {what}")]
    Unsupported {
        /// Operation, option or file kind.
        op: &'static str,
        /// What is missing, and what to use instead where there is something.
        what: String,
    },
    /// A GPU, or what stands between it and us, refused.
    #[error("{device}: {what}")]
    Device {
        /// Name of the device, as `--device` takes it.
        device: String,
        /// What failed, and what to do.
        what: String,
    },
    /// An error inside a layer: the tape adds the layer's path and the sweep, once.
    #[error("layer {layer} ({sweep}): {source}")]
    At {
        /// Path of the layer, e.g. `block2.conv`.
        layer: Arc<str>,
        /// Sweep that ran: forward, backward, rescale or delta.
        sweep: &'static str,
        /// What the operation said.
        source: Box<Error>,
    },
    /// The operating system refused: the file is missing, the disk is full, ...
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// `read`, `write`, `create`, ...
        action: &'static str,
        /// File or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}{place}: {what}", path.display())]
    Parse {
        /// File.
        path: PathBuf,
        /// Place inside: line, column, key.
        place: Place,
        /// What was expected and what was found.
        what: String,
    },
    /// An option, a name or a combination of inputs that cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The work itself failed, e.g. the loss became NaN.
    #[error("{0}")]
    Failed(String),
}

/// Where in a file something is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Place {
    /// The whole file.
    #[default]
    File,
    /// A line, counted from 1.
    Line(usize),
    /// A line, counted from 1, and a column by name or number.
    Cell(usize, String),
    /// A key of an archive or a configuration file.
    Key(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::File => Ok(()),
            Place::Line(n) => write!(f, ":{n}"),
            Place::Cell(n, column) => write!(f, ":{n}, column {column}"),
            Place::Key(key) => write!(f, ", key '{key}'"),
        }
    }
}

impl Error {
    /// A parse error of a whole file.
    pub fn file(path: &Path, what: impl Into<String>) -> Self {
        Self::Parse { path: path.into(), place: Place::File, what: what.into() }
    }

    /// A parse error at a line counted from 1.
    pub fn line(path: &Path, line: usize, what: impl Into<String>) -> Self {
        Self::Parse { path: path.into(), place: Place::Line(line), what: what.into() }
    }

    /// A parse error in one cell of a table: line counted from 1, column by name or number.
    pub fn cell(path: &Path, line: usize, column: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Parse { path: path.into(), place: Place::Cell(line, column.into()), what: what.into() }
    }

    /// A parse error at a key of an archive or configuration file.
    pub fn key(path: &Path, key: impl Into<String>, what: impl Into<String>) -> Self {
        Self::Parse { path: path.into(), place: Place::Key(key.into()), what: what.into() }
    }

    /// An operating-system error with the file it belongs to; use as `.map_err(Error::io("read", path))`.
    pub fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    /// Process exit code: 2 when the user can mend the input or the command, 1 when the work failed.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::At { source, .. } => source.exit_code(),
            // A GPU that is missing or refuses: the command is right, and may work elsewhere or later.
            Self::Failed(_) | Self::Device { .. } => 1,
            Self::Io { source, .. } => match source.kind() {
                std::io::ErrorKind::NotFound
                | std::io::ErrorKind::PermissionDenied
                | std::io::ErrorKind::AlreadyExists
                | std::io::ErrorKind::IsADirectory
                | std::io::ErrorKind::NotADirectory
                | std::io::ErrorKind::InvalidInput => 2,
                _ => 1,
            },
            _ => 2,
        }
    }
}

/// The candidate nearest to `word` by edit distance, if it is near enough to be a typing error.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(2);
    candidates
        .into_iter()
        .map(|c| (edit_distance(word, c), c))
        .filter(|(d, _)| *d <= limit)
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// ` (did you mean 'x'?)`, or nothing: the tail of a message about an unknown name.
pub fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |c| format!(" (did you mean '{c}'?)"))
}

fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_typing_errors_only() {
        let keys = ["dilations", "l_dilkernels", "num_kernels"];
        assert_eq!(nearest("dilation", keys), Some("dilations"));
        assert_eq!(nearest("num_kernel", keys), Some("num_kernels"));
        assert_eq!(nearest("optimizer", keys), None);
    }

    #[test]
    fn messages_name_the_place() {
        let e = Error::cell(Path::new("y.tsv"), 3, "liver", "expected a number, found 'NA'");
        assert_eq!(e.to_string(), "y.tsv:3, column liver: expected a number, found 'NA'");
        assert_eq!(e.exit_code(), 2);
        let e = Error::Device { device: "cuda:0".into(), what: "no luck".into() };
        assert_eq!((e.to_string().as_str(), e.exit_code()), ("cuda:0: no luck", 1));
    }
}
