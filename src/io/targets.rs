//! Measurements to learn: matrices of rows (sequences) and tracks, from text or npz files.

use std::path::Path;

use super::first_few;
use super::npz::Npz;
use super::text::{Lines, extension, is_missing, parse_number};
use crate::error::{Error, Result};
use crate::seq::duplicate;

/// A matrix of measurements, or profiles: a row of bins for every track of every sequence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Targets {
    /// One name a row; unique.
    pub names: Vec<String>,
    /// One name a column.
    pub tracks: Vec<String>,
    /// Values, `[N, T]` row-major, or `[N, T, bins]`.
    pub values: Vec<f64>,
    /// Bins of every track; none = one value a track.
    pub bins: Option<usize>,
}

impl Targets {
    /// Number of rows N.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Numbers of a row: tracks, times bins.
    pub fn width(&self) -> usize {
        self.tracks.len() * self.bins.unwrap_or(1)
    }

    /// Values of row `i`, bins of a track side by side. Panics if there is no such row.
    pub fn row(&self, i: usize) -> &[f64] {
        &self.values[i * self.width()..(i + 1) * self.width()]
    }

    /// One value a track: the sum of its bins.
    #[must_use]
    pub fn totals(&self) -> Self {
        let values = match self.bins {
            Some(bins) => self.values.chunks_exact(bins).map(|b| b.iter().sum()).collect(),
            None => self.values.clone(),
        };
        Self { names: self.names.clone(), tracks: self.tracks.clone(), values, bins: None }
    }

    /// The rows `rows`, in that order. Panics if there is no such row.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let values = rows.iter().flat_map(|&i| self.row(i)).copied().collect();
        let names = rows.iter().map(|&i| self.names[i].clone()).collect();
        Self { names, tracks: self.tracks.clone(), values, bins: self.bins }
    }
}

/// How files of targets are read.
#[derive(Clone, Debug, Default)]
pub struct TargetOptions {
    /// Sign between the columns of a text matrix. `None`: the first of tab, comma and blanks that the first line of
    /// data has.
    pub delimiter: Option<char>,
    /// Missing values become NaN instead of an error.
    pub allow_missing: bool,
}

/// Reads one file of targets: npz by its suffix, text otherwise (plain or gzipped).
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] for ragged rows, cells that are no numbers, missing values that are not allowed,
/// names that come twice.
pub fn read_targets(path: &Path, options: &TargetOptions) -> Result<Targets> {
    let targets = if extension(path) == "npz" { from_npz(path)? } else { from_text(path, options)? };
    if targets.is_empty() || targets.tracks.is_empty() {
        return Err(Error::file(path, "no data; expected rows of a name and one or more numbers"));
    }
    if let Some((name, first, second)) = duplicate(&targets.names) {
        let what = format!(
            "name '{name}' comes twice (rows {} and {} of the data); names must be unique",
            first + 1,
            second + 1
        );
        return Err(Error::file(path, what));
    }
    for (i, name) in targets.names.iter().enumerate() {
        let bins = targets.bins.unwrap_or(1);
        for (k, &value) in targets.row(i).iter().enumerate() {
            let track = &targets.tracks[k / bins];
            if value.is_infinite() || (value.is_nan() && !options.allow_missing) {
                let advice = if value.is_nan() { "; fill it, leave the row out, or allow missing values" } else { "" };
                return Err(Error::file(path, format!("row '{name}', column '{track}' is {value}{advice}")));
            }
        }
    }
    Ok(targets)
}

/// Reads several files of targets, one modality each, and keeps the rows whose names all of them have, ordered by name.
///
/// # Errors
/// As [`read_targets`]; [`Error::Usage`] if no name is in all of them.
pub fn read_modalities<P: AsRef<Path>>(paths: &[P], options: &TargetOptions) -> Result<Vec<Targets>> {
    let all: Vec<Targets> = paths.iter().map(|p| read_targets(p.as_ref(), options)).collect::<Result<_>>()?;
    let lists: Vec<&[String]> = all.iter().map(|t| t.names.as_slice()).collect();
    let rows = common_rows(&lists)?;
    Ok(all.iter().zip(&rows).map(|(targets, rows)| targets.select(rows)).collect())
}

/// Rows of each list that hold the names which all lists have, ordered by name (byte by byte), so that row `i` of every
/// selection has the same name. Names within a list must be unique.
///
/// # Errors
/// [`Error::Usage`] if there is no common name.
pub fn common_rows(lists: &[&[String]]) -> Result<Vec<Vec<usize>>> {
    let Some((first, others)) = lists.split_first() else {
        return Ok(Vec::new());
    };
    let places: Vec<std::collections::HashMap<&str, usize>> =
        others.iter().map(|l| l.iter().enumerate().map(|(i, n)| (n.as_str(), i)).collect()).collect();
    let mut common: Vec<(&str, usize)> = first
        .iter()
        .enumerate()
        .map(|(i, name)| (name.as_str(), i))
        .filter(|(name, _)| places.iter().all(|p| p.contains_key(name)))
        .collect();
    if common.is_empty() {
        let shown: Vec<String> = lists.iter().map(|l| format!("[{}]", first_few(l))).collect();
        return Err(Error::Usage(format!(
            "no name is in all inputs and targets; their names are {}",
            shown.join(", ")
        )));
    }
    common.sort_unstable();
    let mut rows = vec![common.iter().map(|&(_, i)| i).collect()];
    rows.extend(places.iter().map(|p| common.iter().map(|(name, _)| p[name]).collect::<Vec<usize>>()));
    Ok(rows)
}

/// Reads `counts` (or `values`), of two axes or, for profiles, three, `names` and, if there, `celltypes` (or `columns`).
fn from_npz(path: &Path) -> Result<Targets> {
    let mut npz = Npz::open(path)?;
    let key = npz.find(&["counts", "values"])?;
    let shape = npz.header(key)?.shape;
    let (n, t, bins) = match shape[..] {
        [n, t] => (n, t, None),
        [n, t, bins] if bins > 0 => (n, t, Some(bins)),
        _ => {
            let what = format!("expected rows and tracks [N, T], or profiles [N, T, bins]; found shape {shape:?}");
            return Err(Error::key(path, key, what));
        }
    };
    let values = npz.numbers(key)?.1;
    let names = npz.strings("names")?;
    if names.len() != n {
        return Err(Error::key(path, "names", format!("{} names for {n} rows of '{key}'", names.len())));
    }
    let tracks = match ["celltypes", "columns"].iter().find(|key| npz.has(key)) {
        Some(&columns) => {
            let tracks = npz.strings(columns)?;
            if tracks.len() != t {
                return Err(Error::key(path, columns, format!("{} names for {t} columns of '{key}'", tracks.len())));
            }
            tracks
        }
        None => numbered(t),
    };
    Ok(Targets { names, tracks, values, bins })
}

fn numbered(t: usize) -> Vec<String> {
    (0..t).map(|i| format!("C{i}")).collect()
}

/// Reads a text matrix: column 0 names the row, the rest are numbers; `#` starts a comment anywhere.
///
/// A header is a first line that starts with `#`, or one whose other cells hold no number. If it has more cells than
/// there are columns of numbers, the last ones count, so it may or may not name the column of names. Without a header
/// the tracks are C0, C1, ...
fn from_text(path: &Path, options: &TargetOptions) -> Result<Targets> {
    let mut lines = Lines::open(path)?;
    let mut marked: Option<String> = None;
    let mut header: Option<(usize, Vec<String>)> = None;
    let mut delimiter = options.delimiter;
    let mut targets = Targets::default();
    let mut width: Option<(usize, usize)> = None;
    while let Some((number, whole)) = lines.next_text()? {
        if number == 1 && whole.trim_start().starts_with('#') {
            marked = Some(whole.trim().trim_matches('#').trim().to_string());
            continue;
        }
        // Blanks only: a leading tab is an empty first cell.
        let line = whole.split('#').next().unwrap_or("").trim_matches([' ', '\r']);
        if line.trim().is_empty() {
            continue;
        }
        let sign = *delimiter.get_or_insert_with(|| match line {
            _ if line.contains('\t') => '\t',
            _ if line.contains(',') => ',',
            _ => BLANKS,
        });
        let cells = split(line, sign);
        let first = targets.is_empty() && header.is_none() && marked.is_none();
        if first && is_header(&cells) {
            header = Some((number, cells.into_iter().map(String::from).collect()));
            continue;
        }
        let (expected, like) = *width.get_or_insert((cells.len(), number));
        if cells.len() != expected {
            let comment = if whole.contains('#') { " ('#' starts a comment)" } else { "" };
            let what = format!("expected {expected} columns as in line {like}, found {}{comment}", cells.len());
            return Err(Error::line(path, number, what));
        }
        targets.names.push(cells[0].to_string());
        for (column, cell) in cells[1..].iter().enumerate() {
            let value = parse_number(cell).ok_or_else(|| {
                let name = track_name(header.as_ref().map(|(_, h)| h.as_slice()), column, expected);
                Error::cell(path, number, name, format!("expected a number, found '{cell}'"))
            })?;
            targets.values.push(value);
        }
    }
    let Some((columns, _)) = width else {
        return Ok(targets);
    };
    if columns == 1 {
        let sign = delimiter.map_or(String::new(), |d| format!(" at {d:?}"));
        return Err(Error::file(
            path,
            format!("rows have one column when split{sign}; give the delimiter of the file"),
        ));
    }
    if let (Some(text), Some(sign)) = (marked.filter(|text| !text.is_empty()), delimiter) {
        header = Some((1, split(&text, sign).into_iter().map(String::from).collect()));
    }
    targets.tracks = match header {
        None => numbered(columns - 1),
        Some((line, cells)) if cells.len() + 1 < columns => {
            let what = format!("the header names {} columns, the rows have {} numbers", cells.len(), columns - 1);
            return Err(Error::line(path, line, what));
        }
        Some((_, mut cells)) => cells.split_off(cells.len() + 1 - columns),
    };
    Ok(targets)
}

/// Stands for runs of blanks as delimiter.
const BLANKS: char = '\0';

fn split(line: &str, delimiter: char) -> Vec<&str> {
    if delimiter == BLANKS { line.split_whitespace().collect() } else { line.split(delimiter).map(str::trim).collect() }
}

/// Whether the first line of a matrix names columns: it has an empty first cell, or no cell but the first is a number
/// or stands for a missing one.
fn is_header(cells: &[&str]) -> bool {
    cells.len() > 1 && (cells[0].is_empty() || cells[1..].iter().all(|c| c.parse::<f64>().is_err() && !is_missing(c)))
}

fn track_name(header: Option<&[String]>, column: usize, width: usize) -> String {
    let named = header.and_then(|cells| cells.get((column + cells.len() + 1).checked_sub(width)?));
    named.cloned().unwrap_or_else(|| format!("C{column}"))
}

#[cfg(test)]
mod tests {
    use super::super::npz::write_npz;
    use super::super::testing::{file, gz_file, text};
    use super::*;

    fn read(content: &str, delimiter: Option<char>) -> Result<Targets> {
        let (_folder, path) = file("y.txt", content);
        read_targets(&path, &TargetOptions { delimiter, allow_missing: false })
    }

    fn tracks(content: &str) -> String {
        read(content, None).unwrap().tracks.join("|")
    }

    #[test]
    fn headers() {
        assert_eq!(tracks("#\tA\tB\ng1\t1\t2\n"), "A|B");
        assert_eq!(tracks("#A\tB\ng1\t1\t2\n"), "A|B");
        assert_eq!(tracks("# A,B #\ng1,1,2\n"), "A|B");
        assert_eq!(tracks("#Name\tA\tB\ng1\t1\t2\n"), "A|B");
        assert_eq!(tracks("Name\tA\tB\ng1\t1\t2\n"), "A|B");
        assert_eq!(tracks("\tA\tB\ng1\t1\t2\n"), "A|B");
        assert_eq!(tracks(",0,1\ng1,1,2\n"), "0|1");
        assert_eq!(tracks("A B\ng1 1   2\n"), "A|B");
        assert_eq!(tracks("g1,1,2\ng2,3,4\n"), "C0|C1");
        assert_eq!(tracks("g1,1,2 # note\n\n# more\ng2,3,4\n"), "C0|C1");
        assert_eq!(tracks("#\ng1,1,2\n"), "C0|C1");
    }

    #[test]
    fn values_and_delimiters() {
        for (_folder, path) in
            [file("y.csv", "#a,b\r\ng2,1,-2.5e1\r\ng1, 3 ,4"), gz_file("y.csv.gz", b"g2,1,-25\ng1,3,4")]
        {
            let y = read_targets(&path, &TargetOptions::default()).unwrap();
            assert_eq!((y.names.join(" "), y.values.clone()), ("g2 g1".into(), vec![1.0, -25.0, 3.0, 4.0]));
            assert_eq!(y.select(&[1]).values, [3.0, 4.0]);
        }
        assert_eq!(read("g1 1 2", Some(' ')).unwrap().row(0), [1.0, 2.0]);
        assert_eq!(read("a b\t1\t2", Some('\t')).unwrap().names, ["a b"]);
    }

    #[test]
    fn bad_matrices() {
        let of = |content: &str| {
            let (folder, path) = file("y.txt", content);
            text(read_targets(&path, &TargetOptions::default()), &folder)
        };
        assert_eq!(of(""), "y.txt: no data; expected rows of a name and one or more numbers");
        assert_eq!(of("#a\n"), "y.txt: no data; expected rows of a name and one or more numbers");
        assert_eq!(of("#a,b\ng1,1,2\ng2,1\n"), "y.txt:3: expected 3 columns as in line 2, found 2");
        assert_eq!(of("g1,1,2\ng#2,1,3\n"), "y.txt:2: expected 3 columns as in line 1, found 1 ('#' starts a comment)");
        assert_eq!(of("id,liver,lung\ng1,1,x\n"), "y.txt:2, column lung: expected a number, found 'x'");
        assert_eq!(of("liver,lung\ng1,1,x\n"), "y.txt:2, column lung: expected a number, found 'x'");
        assert_eq!(of("g1,1,2\ng2,1,y\n"), "y.txt:2, column C1: expected a number, found 'y'");
        assert_eq!(of("#A\n\ng1,1,2\n"), "y.txt:1: the header names 1 columns, the rows have 2 numbers");
        assert_eq!(
            of("#A,B\ng1,1,NA\n"),
            "y.txt: row 'g1', column 'B' is NaN; fill it, leave the row out, or allow missing values"
        );
        assert_eq!(of("#A,B\ng1,1,inf\n"), "y.txt: row 'g1', column 'B' is inf");
        assert_eq!(
            of("g1,1\ng2,2\ng1,3\n"),
            "y.txt: name 'g1' comes twice (rows 1 and 3 of the data); names must be unique"
        );
        let (folder, path) = file("y.txt", "g1\t1\n");
        let comma = TargetOptions { delimiter: Some(','), allow_missing: false };
        assert_eq!(
            text(read_targets(&path, &comma), &folder),
            "y.txt: rows have one column when split at ','; give the delimiter of the file"
        );
        let (_folder, path) = file("y.txt", "g1,nan,NA\n");
        let lenient = TargetOptions { allow_missing: true, ..TargetOptions::default() };
        assert!(read_targets(&path, &lenient).unwrap().values.iter().all(|v| v.is_nan()));
    }

    #[test]
    fn npz_matrices() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("y.npz");
        let write = |shape: &[usize], names: &[&str], columns: Option<&[&str]>| {
            let values: Vec<f32> = (0..shape.iter().product()).map(|v: usize| v as f32).collect();
            write_npz(&path, |w| {
                w.array(if columns.is_some() { "counts" } else { "values" }, shape, &values)?;
                w.strings("names", names)?;
                columns.map_or(Ok(()), |c| w.strings("celltypes", c))
            })
            .unwrap();
            read_targets(&path, &TargetOptions::default())
        };
        let y = write(&[2, 3], &["b", "a"], Some(&["x", "y", "z"])).unwrap();
        assert_eq!((y.tracks.join(""), y.row(1)), ("xyz".into(), &[3.0, 4.0, 5.0][..]));
        assert_eq!(write(&[2, 3], &["b", "a"], None).unwrap().tracks, ["C0", "C1", "C2"]);
        assert_eq!(text(write(&[2, 3], &["b"], None), &folder), "y.npz, key 'names': 1 names for 2 rows of 'values'");
        assert_eq!(
            text(write(&[1, 2], &["b"], Some(&["x"])), &folder),
            "y.npz, key 'celltypes': 1 names for 2 columns of 'counts'"
        );
        let profiles = write(&[2, 1, 3], &["b", "a"], Some(&["x"])).unwrap();
        assert_eq!((profiles.bins, profiles.width(), profiles.row(1)), (Some(3), 3, &[3.0, 4.0, 5.0][..]));
        assert_eq!((profiles.totals().values, profiles.totals().bins), (vec![3.0, 12.0], None));
        assert_eq!(profiles.select(&[1]).values, [3.0, 4.0, 5.0]);
        let message = text(write(&[1, 2, 3, 1], &["b"], None), &folder);
        assert!(message.contains("or profiles [N, T, bins]; found shape [1, 2, 3, 1]"), "{message}");
        assert!(text(write(&[2, 1], &["b", "b"], None), &folder).contains("name 'b' comes twice"));
    }

    #[test]
    fn modalities_share_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a.csv"), folder.path().join("b.csv"));
        std::fs::write(&a, "#x\ng2,1\ng10,2\nG1,3\n").unwrap();
        std::fs::write(&b, "G1,4,5\ng3,0,0\ng2,6,7\n").unwrap();
        let both = read_modalities(&[&a, &b], &TargetOptions::default()).unwrap();
        assert_eq!(
            (both[0].names.clone(), both[1].names.clone()),
            (vec!["G1".into(), "g2".into()], both[0].names.clone())
        );
        assert_eq!((both[0].values.clone(), both[1].values.clone()), (vec![3.0, 1.0], vec![4.0, 5.0, 6.0, 7.0]));
        std::fs::write(&b, "h1,4,5\n").unwrap();
        assert_eq!(
            text(read_modalities(&[&a, &b], &TargetOptions::default()), &folder),
            "no name is in all inputs and targets; their names are [g2, g10, G1], [h1]"
        );
    }
}
