//! Text files, plain or gzipped, line by line.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

/// Opens a file for reading; gzip (also in several members, as bgzip writes) is seen by its first bytes.
///
/// # Errors
/// [`Error::Io`] if it cannot be read.
pub fn open(path: &Path) -> Result<Box<dyn BufRead + Send>> {
    let file = File::open(path).map_err(Error::io("read", path))?;
    let mut reader = BufReader::with_capacity(1 << 18, file);
    let start = reader.fill_buf().map_err(Error::io("read", path))?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(BufReader::with_capacity(1 << 18, MultiGzDecoder::new(reader))));
    }
    Ok(Box::new(reader))
}

/// Lines of a text file with their numbers.
pub struct Lines {
    path: PathBuf,
    reader: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    number: usize,
}

impl Lines {
    /// Opens a file, see [`open`].
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.into(), reader: open(path)?, buffer: Vec::new(), number: 0 })
    }

    /// Number (from 1) and bytes of the next line, without its end; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn next_bytes(&mut self) -> Result<Option<(usize, &[u8])>> {
        self.buffer.clear();
        let read = self.reader.read_until(b'\n', &mut self.buffer).map_err(Error::io("read", &self.path))?;
        if read == 0 {
            return Ok(None);
        }
        self.number += 1;
        let mut line = self.buffer.as_slice();
        line = line.strip_suffix(b"\n").unwrap_or(line);
        line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.number == 1 {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        Ok(Some((self.number, line)))
    }

    /// Number (from 1) and text of the next line, without its end; `None` after the last.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] if the line is not UTF-8.
    pub fn next_text(&mut self) -> Result<Option<(usize, &str)>> {
        let path = self.path.clone();
        match self.next_bytes()? {
            None => Ok(None),
            Some((number, line)) => match std::str::from_utf8(line) {
                Ok(text) => Ok(Some((number, text))),
                Err(_) => Err(Error::line(&path, number, "no UTF-8 text; is this a binary file?")),
            },
        }
    }
}

/// Suffix of a file name in lower case, a final `.gz` not counted.
pub fn extension(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().to_lowercase()).unwrap_or_default();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    name.rsplit_once('.').map_or_else(String::new, |(_, suffix)| suffix.into())
}

/// A number as tables hold it; NaN for a missing one (empty, `NA`, `N/A`, `NaN`, `null`, `None` in either case).
pub fn parse_number(text: &str) -> Option<f64> {
    let text = text.trim();
    if is_missing(text) { Some(f64::NAN) } else { text.parse().ok() }
}

/// Whether a cell stands for a missing number.
pub fn is_missing(text: &str) -> bool {
    text.is_empty() || ["na", "n/a", "nan", "null", "none"].iter().any(|m| m.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, gz_file, text};
    use super::*;

    #[test]
    fn line_ends_and_gzip() {
        let content = b"\xef\xbb\xbfa\r\nb\n\nlast";
        for (_folder, path) in [file("x.txt", content), gz_file("x.txt.gz", content)] {
            let mut lines = Lines::open(&path).unwrap();
            let mut seen = Vec::new();
            while let Some((n, line)) = lines.next_text().unwrap() {
                seen.push((n, line.to_string()));
            }
            assert_eq!(seen, [(1, "a".into()), (2, "b".into()), (3, String::new()), (4, "last".into())]);
        }
        let (folder, path) = file("x.txt", b"ok\n\xff\xfe\n");
        let mut lines = Lines::open(&path).unwrap();
        lines.next_text().unwrap();
        assert_eq!(text(lines.next_text(), &folder), "x.txt:2: no UTF-8 text; is this a binary file?");
    }

    #[test]
    fn small_parts() {
        assert_eq!(extension(Path::new("a/b.TSV.gz")), "tsv");
        assert_eq!(extension(Path::new("a.b/c")), "");
        assert!(parse_number(" NA ").unwrap().is_nan() && parse_number("").unwrap().is_nan());
        assert_eq!(parse_number(" -1e3"), Some(-1000.0));
        assert_eq!(parse_number("x"), None);
    }
}
