//! Tables with a header line: tab- or comma-separated, plain or gzipped.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord, Trim};

use super::Notes;
use super::targets::Targets;
use super::text::{self, parse_number};
use crate::error::{Error, Result, hint};
use crate::seq::{Builder, Sequences, encode_all, show};

/// Names that a column of sequences goes by.
const SEQUENCE_COLUMNS: [&str; 2] = ["seq", "sequence"];
/// Names that a column of row names goes by.
const NAME_COLUMNS: [&str; 8] = ["name", "names", "id", "seq_id", "sequence_id", "seq_name", "sequence_name", "gene"];

/// A table of texts.
#[derive(Clone, Debug)]
pub struct Table {
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<(usize, StringRecord)>,
}

impl Table {
    /// Reads a table. Without a `delimiter` it is a comma in `.csv`, a tab in `.tsv` and `.tab` files, and otherwise
    /// the one of the two that the first line has. Fields may be quoted in comma-separated files only.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] for an empty file, a table without rows, rows of another width than the header.
    pub fn read(path: &Path, delimiter: Option<char>) -> Result<Self> {
        let mut input = text::open(path)?;
        let first = input.fill_buf().map_err(Error::io("read", path))?;
        if first.starts_with(b"\xef\xbb\xbf") {
            input.consume(3);
        }
        let delimiter = match delimiter {
            Some(given) => u8::try_from(given)
                .map_err(|_| Error::Usage(format!("delimiter '{given}': expected a single plain letter")))?,
            None => {
                let first = input.fill_buf().map_err(Error::io("read", path))?;
                let end = first.iter().position(|&b| b == b'\n').unwrap_or(first.len());
                guess_delimiter(path, &first[..end])
            }
        };
        let mut reader = ReaderBuilder::new()
            .delimiter(delimiter)
            .quoting(delimiter == b',')
            .has_headers(false)
            .flexible(true)
            .trim(Trim::All)
            .from_reader(input);
        let mut table = Self { path: path.into(), columns: Vec::new(), rows: Vec::new() };
        for record in reader.records() {
            let record = record.map_err(|e| table.csv_error(e))?;
            let line = record.position().map_or(0, |p| p.line() as usize);
            if table.columns.is_empty() {
                table.columns = record.iter().map(String::from).collect();
                table.columns[0] = table.columns[0].trim_start_matches('#').trim_start().to_string();
            } else if record.len() == table.columns.len() {
                table.rows.push((line, record));
            } else {
                let what = format!("expected {} columns as in the header, found {}", table.columns.len(), record.len());
                return Err(Error::line(path, line, what));
            }
        }
        match (table.columns.is_empty(), table.rows.is_empty()) {
            (true, _) => Err(Error::file(path, "the file is empty; expected a header line and rows")),
            (_, true) => Err(Error::file(path, "the table has a header, but no rows")),
            _ => Ok(table),
        }
    }

    /// File of the table.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the columns.
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Index of the column of a name.
    ///
    /// # Errors
    /// [`Error::Parse`] if there is none, with the names there are, or two.
    pub fn column(&self, name: &str) -> Result<usize> {
        let mut found = self.columns.iter().enumerate().filter(|(_, column)| *column == name).map(|(i, _)| i);
        match (found.next(), found.next()) {
            (Some(i), None) => Ok(i),
            (Some(_), Some(_)) => Err(Error::line(&self.path, 1, format!("two columns are named '{name}'"))),
            (None, _) => {
                let similar = hint(name, self.columns.iter().map(String::as_str));
                let there = self.columns.join(", ");
                Err(Error::line(&self.path, 1, format!("no column '{name}'; the table has: {there}{similar}")))
            }
        }
    }

    /// Texts of a column.
    pub fn cells(&self, column: usize) -> impl Iterator<Item = &str> {
        self.rows.iter().map(move |(_, row)| &row[column])
    }

    /// Line of every row in the file, from 1.
    pub fn lines(&self) -> impl Iterator<Item = usize> {
        self.rows.iter().map(|(line, _)| *line)
    }

    /// Names of the rows: the column `given`, else the one that is called `name`, `id`, `seq_id` or the like, else the
    /// first column where that holds no sequences, else `row1`, `row2`, ...
    ///
    /// # Errors
    /// [`Error::Parse`] if the column is missing, a name is empty or comes twice.
    pub fn names(&self, given: Option<&str>) -> Result<Vec<String>> {
        let column = match given {
            Some(name) => self.column(name)?,
            None => match self.known_column(&NAME_COLUMNS) {
                Some(column) => column,
                None if self.known_column(&SEQUENCE_COLUMNS) == Some(0) => {
                    return Ok((1..=self.len()).map(|i| format!("row{i}")).collect());
                }
                None => 0,
            },
        };
        let mut seen = std::collections::HashMap::new();
        for (line, row) in &self.rows {
            let name = &row[column];
            if name.is_empty() {
                return Err(Error::cell(&self.path, *line, &self.columns[column], "the name is empty"));
            }
            if let Some(first) = seen.insert(name, line) {
                let what = format!("name '{name}' comes twice, first in line {first}; names must be unique");
                return Err(Error::cell(&self.path, *line, &self.columns[column], what));
            }
        }
        Ok(self.cells(column).map(String::from).collect())
    }

    /// Sequences of a column: the one `given`, else the one that is called `seq` or `sequence`. Shorter sequences are
    /// filled at the end. `name_column` as in [`Table::names`].
    ///
    /// # Errors
    /// [`Error::Parse`] if there is no such column, a sequence is empty or has a sign that is no sequence letter.
    pub fn sequences(&self, given: Option<&str>, name_column: Option<&str>) -> Result<(Sequences, Notes)> {
        let column = match given {
            Some(name) => self.column(name)?,
            None => self.known_column(&SEQUENCE_COLUMNS).ok_or_else(|| {
                let there = self.columns.join(", ");
                let what = format!("no column 'seq' or 'sequence'; name it with --seq-column; the table has: {there}");
                Error::line(&self.path, 1, what)
            })?,
        };
        let mut notes = Notes::default();
        let mut builder = Builder::default();
        for ((line, row), name) in self.rows.iter().zip(self.names(name_column)?) {
            let wrong = |what: String| Error::cell(&self.path, *line, &self.columns[column], what);
            let (codes, unknown) = encode_all(row[column].as_bytes()).map_err(|(at, byte)| {
                wrong(format!("{} at position {at} is no sequence letter (sequence '{name}')", show(byte)))
            })?;
            if codes.is_empty() {
                return Err(wrong(format!("sequence '{name}' is empty")));
            }
            notes.letters += codes.len();
            builder.unknown += unknown;
            builder.push(name, &codes)?;
        }
        notes.unknown_letters = builder.unknown;
        notes.filled = builder.shorter();
        Ok((builder.finish()?, notes))
    }

    /// Measurements of the columns `tracks`; `name_column` as in [`Table::names`].
    ///
    /// # Errors
    /// [`Error::Parse`] if a column is missing or a cell is no number; a missing number (empty, NA, ...) unless
    /// `allow_missing`, when it is NaN.
    pub fn targets<S: AsRef<str>>(
        &self,
        tracks: &[S],
        name_column: Option<&str>,
        allow_missing: bool,
    ) -> Result<Targets> {
        let columns: Vec<usize> = tracks.iter().map(|t| self.column(t.as_ref())).collect::<Result<_>>()?;
        let names = self.names(name_column)?;
        let mut values = Vec::with_capacity(names.len() * columns.len());
        for (line, row) in &self.rows {
            for &column in &columns {
                values.push(self.number(*line, row, column, allow_missing)?);
            }
        }
        let tracks = tracks.iter().map(|t| t.as_ref().to_string()).collect();
        Ok(Targets { names, tracks, values, bins: None })
    }

    fn number(&self, line: usize, row: &StringRecord, column: usize, allow_missing: bool) -> Result<f64> {
        let what = match parse_number(&row[column]) {
            Some(value) if value.is_finite() || (value.is_nan() && allow_missing) => return Ok(value),
            Some(value) if value.is_nan() => {
                format!("missing value ('{}'); fill it, leave the row out, or allow missing values", &row[column])
            }
            _ => format!("expected a number, found '{}'", &row[column]),
        };
        Err(Error::cell(&self.path, line, &self.columns[column], what))
    }

    fn known_column(&self, known: &[&str]) -> Option<usize> {
        known.iter().find_map(|name| self.columns.iter().position(|column| column.eq_ignore_ascii_case(name)))
    }

    fn csv_error(&self, error: csv::Error) -> Error {
        let line = error.position().map_or(0, |p| p.line() as usize);
        match error.into_kind() {
            csv::ErrorKind::Io(source) => Error::io("read", &self.path)(source),
            csv::ErrorKind::Utf8 { .. } => Error::line(&self.path, line, "no UTF-8 text; is this a binary file?"),
            other => Error::line(&self.path, line, format!("{other:?}")),
        }
    }
}

fn guess_delimiter(path: &Path, first_line: &[u8]) -> u8 {
    match text::extension(path).as_str() {
        "csv" => b',',
        "tsv" | "tab" => b'\t',
        _ if !first_line.contains(&b'\t') && first_line.contains(&b',') => b',',
        _ => b'\t',
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, gz_file, text};
    use super::*;

    const TSV: &[u8] = b"#seq_id\tseq\tmean\tcount\na\tACGT\t1.5\t2\nb\tGGu\t\tna\n\nc\tnA\t-1e1\t0\n";

    #[test]
    fn sequences_and_targets_from_one_table() {
        for (folder, path) in [file("x.tsv", TSV), gz_file("x.tsv.gz", TSV)] {
            let table = Table::read(&path, None).unwrap();
            assert_eq!((table.len(), table.columns().len(), table.columns()[0].as_str()), (3, 4, "seq_id"));
            let (s, notes) = table.sequences(None, None).unwrap();
            assert_eq!(
                (s.names.join(""), s.to_string(1), notes.filled, s.unknown),
                ("abc".into(), "GGTN".into(), 2, 1)
            );
            let y = table.targets(&["count", "mean"], None, true).unwrap();
            assert_eq!((y.names.clone(), y.tracks.len(), y.values[0], y.values[5]), (s.names, 2, 2.0, -10.0));
            assert!(y.values[2].is_nan() && y.values[3].is_nan());
            let said = text(table.targets(&["mean"], None, false), &folder);
            assert!(
                said.ends_with(
                    ":3, column mean: missing value (''); fill it, leave the row out, or allow missing \
                                    values"
                ),
                "{said}"
            );
        }
    }

    #[test]
    fn commas_quotes_and_names() {
        let (_folder, path) = file("x.csv", "peak,sequence,y\n\"a,1\",AC,1\nb,GT,2\n");
        let table = Table::read(&path, None).unwrap();
        assert_eq!(table.names(None).unwrap(), ["a,1", "b"]);
        let (_folder, path) = file("x.txt", "Sequence,y\nAC,1\nGT,2\n");
        let table = Table::read(&path, None).unwrap();
        assert_eq!(table.sequences(None, None).unwrap().0.names, ["row1", "row2"]);
        let (_folder, path) = file("x.txt", "id;dna\na;AC\n");
        let table = Table::read(&path, Some(';')).unwrap();
        assert_eq!(table.sequences(Some("dna"), Some("id")).unwrap().0.to_string(0), "AC");
    }

    #[test]
    fn bad_tables() {
        let of = |content: &str, ask: &dyn Fn(&Table) -> Result<()>| {
            let (folder, path) = file("x.tsv", content);
            text(Table::read(&path, None).and_then(|t| ask(&t)), &folder)
        };
        let fine = |_: &Table| Ok(());
        let sequences = |t: &Table| t.sequences(None, None).map(|_| ());
        assert_eq!(of("", &fine), "x.tsv: the file is empty; expected a header line and rows");
        assert_eq!(of("a\tb\n", &fine), "x.tsv: the table has a header, but no rows");
        assert_eq!(of("a\tb\n1\t2\n1\n", &fine), "x.tsv:3: expected 2 columns as in the header, found 1");
        let liver = |t: &Table| t.targets(&["lver"], None, false).map(|_| ());
        assert_eq!(
            of("id\tliver\na\t2\n", &liver),
            "x.tsv:1: no column 'lver'; the table has: id, liver (did you mean 'liver'?)"
        );
        let liver = |t: &Table| t.targets(&["liver"], None, true).map(|_| ());
        assert_eq!(of("id\tliver\na\t2x\n", &liver), "x.tsv:2, column liver: expected a number, found '2x'");
        assert_eq!(of("id\tliver\na\tinf\n", &liver), "x.tsv:2, column liver: expected a number, found 'inf'");
        assert_eq!(of("id\tliver\tliver\na\t1\t2\n", &liver), "x.tsv:1: two columns are named 'liver'");
        assert_eq!(
            of("id\tdna\na\tAC\n", &sequences),
            "x.tsv:1: no column 'seq' or 'sequence'; name it with --seq-column; the table has: id, dna"
        );
        assert_eq!(
            of("id\tseq\na\tAC\na\tAC\n", &sequences),
            "x.tsv:3, column id: name 'a' comes twice, first in line 2; names must be unique"
        );
        assert_eq!(of("id\tseq\na\t\n", &sequences), "x.tsv:2, column seq: sequence 'a' is empty");
        assert_eq!(of("id\tseq\n\tA\n", &sequences), "x.tsv:2, column id: the name is empty");
        assert_eq!(
            of("id\tseq\na\tAC1\n", &sequences),
            "x.tsv:2, column seq: '1' at position 2 is no sequence letter (sequence 'a')"
        );
    }
}
