//! FASTA: `>name description`, then the sequence on one line or several; plain or gzipped.

use std::collections::HashMap;
use std::path::Path;

use super::Notes;
use super::text::Lines;
use crate::error::{Error, Result};
use crate::seq::{Builder, Sequences, encode_all, show};

/// Reads all sequences of a FASTA file in the order of the file. The name is the first word after `>`. Shorter
/// sequences are filled at the end; entries whose text is `Sequence unavailable` are left out.
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] for a file without entries, an entry without name or sequence, a name that comes
/// twice, a sign that is no sequence letter.
pub fn read_fasta(path: &Path) -> Result<(Sequences, Notes)> {
    let mut lines = Lines::open(path)?;
    let mut reader = Reader { path, notes: Notes::default(), builder: Builder::default(), seen: HashMap::new() };
    let mut entry: Option<Entry> = None;
    while let Some((number, line)) = lines.next_bytes()? {
        let line = line.trim_ascii();
        if let Some(header) = line.strip_prefix(b">") {
            if let Some(done) = entry.take() {
                reader.add(done)?;
            }
            entry = Some(reader.start(number, header)?);
        } else if line.is_empty() || line.starts_with(b";") {
            continue;
        } else if let Some(entry) = &mut entry {
            if line.eq_ignore_ascii_case(b"Sequence unavailable") {
                entry.unavailable = true;
                continue;
            }
            let (codes, unknown) = encode_all(line).map_err(|(at, byte)| {
                let what = format!("{} is no sequence letter (sequence '{}')", show(byte), entry.name);
                Error::cell(path, number, (at + 1).to_string(), what)
            })?;
            entry.codes.extend(codes);
            entry.unknown += unknown;
        } else {
            let start: String = String::from_utf8_lossy(line).chars().take(20).collect();
            return Err(Error::line(
                path,
                number,
                format!("expected '>' and a name of a FASTA entry, found '{start}'"),
            ));
        }
    }
    match entry {
        Some(last) => reader.add(last)?,
        None => {
            return Err(Error::file(path, "the file is empty; expected FASTA entries ('>name', then the sequence)"));
        }
    }
    reader.finish()
}

struct Entry {
    name: String,
    line: usize,
    codes: Vec<u8>,
    unknown: usize,
    unavailable: bool,
}

struct Reader<'a> {
    path: &'a Path,
    notes: Notes,
    builder: Builder,
    seen: HashMap<String, usize>,
}

impl Reader<'_> {
    fn start(&mut self, line: usize, header: &[u8]) -> Result<Entry> {
        let header = std::str::from_utf8(header)
            .map_err(|_| Error::line(self.path, line, "the name is no UTF-8 text; is this a binary file?"))?;
        let Some(name) = header.split_whitespace().next() else {
            return Err(Error::line(self.path, line, "the entry has no name after '>'"));
        };
        if let Some(first) = self.seen.insert(name.into(), line) {
            let what = format!("name '{name}' comes twice, first in line {first}; names must be unique");
            return Err(Error::line(self.path, line, what));
        }
        Ok(Entry { name: name.into(), line, codes: Vec::new(), unknown: 0, unavailable: false })
    }

    fn add(&mut self, entry: Entry) -> Result<()> {
        if entry.codes.is_empty() {
            if entry.unavailable {
                self.notes.dropped.push(entry.name);
                return Ok(());
            }
            return Err(Error::line(self.path, entry.line, format!("sequence '{}' is empty", entry.name)));
        }
        self.notes.letters += entry.codes.len();
        self.builder.unknown += entry.unknown;
        self.builder.push(entry.name, &entry.codes)
    }

    fn finish(mut self) -> Result<(Sequences, Notes)> {
        if self.notes.letters == 0 {
            return Err(Error::file(self.path, "every entry says 'Sequence unavailable'; nothing is left"));
        }
        self.notes.unknown_letters = self.builder.unknown;
        self.notes.filled = self.builder.shorter();
        Ok((self.builder.finish()?, self.notes))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, gz_file, text};
    use super::*;

    const GOOD: &[u8] = b">b first one\nACgu\nnN\n\n>a\r\nTTTT\r\n>gone\nSequence unavailable\n;old comment\n>c|x\nG";

    #[test]
    fn several_lines_and_gzip() {
        for (_folder, path) in [file("x.fa", GOOD), gz_file("x.fa.gz", GOOD)] {
            let (s, notes) = read_fasta(&path).unwrap();
            assert_eq!(s.names, ["b", "a", "c|x"]);
            assert_eq!(
                (s.to_string(0), s.to_string(1), s.to_string(2)),
                ("ACGTNN".into(), "TTTTNN".into(), "GNNNNN".into())
            );
            assert_eq!((s.unknown, notes.unknown_letters, notes.letters, notes.filled), (2, 2, 11, 2));
            assert_eq!(notes.dropped, ["gone"]);
            assert_eq!(notes.sentences().len(), 3);
            assert_eq!(notes.sentences()[0], "2 letters (18.182 %) are none of A, C, G, T, U and count as unknown");
        }
    }

    #[test]
    fn bad_files() {
        let of = |content: &str| {
            let (folder, path) = file("x.fa", content);
            text(read_fasta(&path), &folder)
        };
        assert_eq!(of(""), "x.fa: the file is empty; expected FASTA entries ('>name', then the sequence)");
        assert_eq!(of("\nACGT\n"), "x.fa:2: expected '>' and a name of a FASTA entry, found 'ACGT'");
        assert_eq!(
            of(">a\nAC\n>b\nGT\n>a\nC\n"),
            "x.fa:5: name 'a' comes twice, first in line 1; names must be unique"
        );
        assert_eq!(of(">a\nAC\n>b\n>c\nA"), "x.fa:3: sequence 'b' is empty");
        assert_eq!(of(">a\nAC\n> \nA"), "x.fa:3: the entry has no name after '>'");
        assert_eq!(of(">a\nAC\nA7C\n"), "x.fa:3, column 2: '7' is no sequence letter (sequence 'a')");
        assert!(of(">a\nSequence unavailable\n").contains("nothing is left"));
    }
}
