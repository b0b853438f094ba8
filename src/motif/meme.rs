//! MEME files ("minimal motif format"): motifs as text.
//!
//! A file is read line by line: a `MEME version` line, an optional `ALPHABET=` that must be ACGT (or ACGU), optional
//! strands and background, then for every motif a `MOTIF name [other name]` line and a `letter-probability matrix:` line
//! (keys `alength= w= nsites= E= bias=`) with one row a position. Everything else (URLs, log-odds matrices, the prose of
//! a full MEME report) is passed over. The values need not be probabilities: kernels and attribution motifs travel in
//! the same format, and `bias=` is the additive constant of a kernel. [`read_pwms`] is for files of probabilities.

use std::fmt::Write;
use std::path::Path;

use super::{LETTERS, Pwm};
use crate::error::{Error, Result};

/// What a MEME file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Meme {
    /// Background frequencies of A, C, G, T, if the file has them.
    pub background: Option<[f64; 4]>,
    /// Motifs in the order of the file.
    pub matrices: Vec<Matrix>,
}

/// One motif of a MEME file; the values are whatever the file says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Matrix {
    /// Name.
    pub name: String,
    /// Second name of the `MOTIF` line.
    pub alternate: Option<String>,
    /// Values in the order A, C, G, T, one row a position.
    pub rows: Vec<[f64; 4]>,
    /// Number of sites that the motif was made from (`nsites=`).
    pub sites: Option<f64>,
    /// Additive constant of a kernel (`bias=`).
    pub bias: Option<f64>,
}

impl From<&Pwm> for Matrix {
    fn from(pwm: &Pwm) -> Self {
        Self { name: pwm.name.clone(), rows: pwm.probabilities.clone(), ..Self::default() }
    }
}

/// Motifs of a MEME file whose values must be probabilities.
///
/// # Errors
/// As [`read`], and [`Error::Parse`] with the line of a motif whose rows do not sum to 1 (within 0.05).
pub fn read_pwms(path: &Path) -> Result<Vec<Pwm>> {
    let (meme, lines) = parse_lines(&text_of(path)?, path)?;
    let pwm = |(m, line): (Matrix, usize)| Pwm::new(m.name, m.rows).map_err(|e| Error::line(path, line, e.to_string()));
    meme.matrices.into_iter().zip(lines).map(pwm).collect()
}

/// Everything that a MEME file holds, with unrestricted values.
///
/// # Errors
/// [`Error::Io`] if the file cannot be read, [`Error::Parse`] with the line that does not fit the format.
pub fn read(path: &Path) -> Result<Meme> {
    parse(&text_of(path)?, path)
}

/// [`read`] of text that is already there; `path` is for messages only.
///
/// # Errors
/// [`Error::Parse`] with the line that does not fit the format.
pub fn parse(text: &str, path: &Path) -> Result<Meme> {
    parse_lines(text, path).map(|(meme, _)| meme)
}

/// The text of a MEME file (version 4). Numbers are written so that reading returns the same bits; white space in a name
/// becomes `_`.
pub fn to_text(meme: &Meme) -> String {
    let mut text = String::from("MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n");
    let mut put = |line: std::fmt::Arguments<'_>| text.write_fmt(line).expect("writing to a String cannot fail");
    if let Some([a, c, g, t]) = meme.background {
        put(format_args!("\nBackground letter frequencies\nA {a:?} C {c:?} G {g:?} T {t:?}\n"));
    }
    for matrix in &meme.matrices {
        put(format_args!("\nMOTIF {}", one_word(&matrix.name)));
        if let Some(alternate) = &matrix.alternate {
            put(format_args!(" {}", one_word(alternate)));
        }
        put(format_args!("\nletter-probability matrix: alength= 4 w= {}", matrix.rows.len()));
        if let Some(sites) = matrix.sites {
            put(format_args!(" nsites= {sites}"));
        }
        if let Some(bias) = matrix.bias {
            put(format_args!(" bias= {bias:?}"));
        }
        put(format_args!("\n"));
        // Debug, not Display: a row that begins with an integer literal is no row for some readers.
        for [a, c, g, t] in &matrix.rows {
            put(format_args!("{a:?}\t{c:?}\t{g:?}\t{t:?}\n"));
        }
    }
    text
}

/// [`to_text`] of probabilities.
pub fn pwms_to_text(pwms: &[Pwm]) -> String {
    to_text(&Meme { background: None, matrices: pwms.iter().map(Matrix::from).collect() })
}

fn text_of(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(Error::io("read", path))
}

fn one_word(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join("_")
}

/// The file and the line of each motif's first row.
fn parse_lines(text: &str, path: &Path) -> Result<(Meme, Vec<usize>)> {
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())).peekable();
    let (mut meme, mut first_rows) = (Meme::default(), Vec::new());
    let mut versioned = false;
    let mut open: Option<(usize, Matrix)> = None; // a MOTIF line still without its matrix
    while let Some((number, line)) = lines.next() {
        let refuse = |what: String| Error::line(path, number, what);
        if line.starts_with("MEME version") {
            versioned = true;
        } else if let Some(letters) = line.strip_prefix("ALPHABET") {
            let letters = letters.trim_start().trim_start_matches('=').trim();
            if !["ACGT", "ACGU"].contains(&letters) {
                return Err(refuse(format!(
                    "expected ALPHABET= ACGT, found '{letters}'; only DNA and RNA motifs are read"
                )));
            }
        } else if line.starts_with("Background letter frequencies") {
            let mut words = Vec::new();
            while words.len() < 8 {
                match lines.next_if(|(_, next)| !next.starts_with("MOTIF")) {
                    Some((_, next)) => words.extend(next.split_whitespace()),
                    None => break,
                }
            }
            let found = background(&words);
            meme.background = Some(found.ok_or_else(|| {
                refuse(format!("expected 'A f C f G f T f' after this line, found '{}'", words.join(" ")))
            })?);
        } else if let Some(names) = line.strip_prefix("MOTIF").filter(|rest| !rest.starts_with(char::is_alphanumeric)) {
            if !versioned {
                return Err(refuse("a motif before the line 'MEME version 4', which must come first".into()));
            }
            if let Some((number, matrix)) = open {
                return Err(no_matrix(path, number, &matrix.name));
            }
            let mut names = names.split_whitespace().map(String::from);
            let name = names.next().ok_or_else(|| refuse("expected a name after MOTIF".into()))?;
            open = Some((number, Matrix { name, alternate: names.next(), ..Matrix::default() }));
        } else if let Some(keys) = line.strip_prefix("letter-probability matrix:") {
            let Some((_, mut matrix)) = open.take() else {
                return Err(refuse("a matrix without a MOTIF line before it".into()));
            };
            let value = |key: &str| number_after(keys, key).map_err(refuse);
            if let Some(letters) = value("alength=")?.filter(|n| *n != 4.0) {
                return Err(refuse(format!("expected alength= 4, found {letters}; only DNA and RNA motifs are read")));
            }
            (matrix.sites, matrix.bias) = (value("nsites=")?, value("bias=")?);
            while let Some((row, next)) = lines.next_if(|(_, next)| starts_with_number(next)) {
                matrix.rows.push(parse_row(next).map_err(|what| Error::line(path, row, what))?);
            }
            match value("w=")? {
                Some(w) if w != matrix.rows.len() as f64 => {
                    let (name, rows) = (&matrix.name, matrix.rows.len());
                    return Err(refuse(format!("motif '{name}' has {rows} rows, but the line says w= {w}")));
                }
                _ if matrix.rows.is_empty() => return Err(no_matrix(path, number, &matrix.name)),
                _ => {}
            }
            first_rows.push(number + 1);
            meme.matrices.push(matrix);
        }
    }
    if let Some((number, matrix)) = open {
        return Err(no_matrix(path, number, &matrix.name));
    }
    if !versioned {
        return Err(Error::file(path, "expected a line 'MEME version 4': is this a MEME motif file?"));
    }
    Ok((meme, first_rows))
}

fn no_matrix(path: &Path, line: usize, name: &str) -> Error {
    Error::line(
        path,
        line,
        format!("motif '{name}' has no rows; expected a 'letter-probability matrix:' line and rows"),
    )
}

fn number_after(keys: &str, key: &str) -> std::result::Result<Option<f64>, String> {
    // The value may touch the key (`w=8`) or stand apart (`w= 8`); `w=` must not match inside another key.
    let place = keys.match_indices(key).find(|(i, _)| keys[..*i].chars().next_back().is_none_or(char::is_whitespace));
    let Some((at, _)) = place else { return Ok(None) };
    let word = keys[at + key.len()..].split_whitespace().next().unwrap_or("");
    word.parse().map(Some).map_err(|_| format!("expected a number after {key}, found '{word}'"))
}

fn starts_with_number(line: &str) -> bool {
    line.split_whitespace().next().is_some_and(|word| word.parse::<f64>().is_ok())
}

fn parse_row(line: &str) -> std::result::Result<[f64; 4], String> {
    let values: Vec<f64> =
        line.split_whitespace().filter_map(|w| w.parse().ok()).filter(|v: &f64| v.is_finite()).collect();
    match <[f64; 4]>::try_from(values) {
        Ok(row) if line.split_whitespace().count() == 4 => Ok(row),
        _ => Err(format!("expected four numbers (A, C, G, T), found '{line}'")),
    }
}

fn background(words: &[&str]) -> Option<[f64; 4]> {
    let mut frequencies = [f64::NAN; 4];
    for pair in words.chunks(2) {
        let [letter, value] = pair else { return None };
        let letter = if letter.eq_ignore_ascii_case("u") { "T" } else { letter };
        let code = LETTERS.iter().position(|l| letter.eq_ignore_ascii_case(&char::from(*l).to_string()))?;
        frequencies[code] = value.parse().ok().filter(|v: &f64| v.is_finite())?;
    }
    frequencies.iter().all(|f| f.is_finite()).then_some(frequencies)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        parse(text, Path::new("m.meme")).unwrap_err().to_string()
    }

    #[test]
    fn minimal_file() {
        let text = "MEME version 4\n\nALPHABET= ACGT\n\nstrands: + -\n\nBackground letter frequencies\nA 0.3 C 0.2\nG 0.2 T 0.3 \n
MOTIF crp CRP_1\nletter-probability matrix: alength= 4 w= 2 nsites= 17 E= 4.1e-009\n 0.0 0.176471 0.0 0.823529
 1 0 0 0\nURL http://example.org\n\nMOTIF lex\n\nletter-probability matrix: bias= -0.5\n-1e-3 +2 3 0.25\n";
        let meme = parse(text, Path::new("m.meme")).unwrap();
        assert_eq!(meme.background, Some([0.3, 0.2, 0.2, 0.3]));
        let [crp, lex] = meme.matrices.as_slice() else { panic!("{meme:?}") };
        assert_eq!((crp.name.as_str(), crp.alternate.as_deref(), crp.sites), ("crp", Some("CRP_1"), Some(17.0)));
        assert_eq!(crp.rows, [[0.0, 0.176_471, 0.0, 0.823_529], [1.0, 0.0, 0.0, 0.0]]);
        assert_eq!((lex.bias, lex.sites, lex.rows.as_slice()), (Some(-0.5), None, &[[-1e-3, 2.0, 3.0, 0.25]][..]));
        assert_eq!(parse(&to_text(&meme), Path::new("m.meme")).unwrap(), meme);
    }

    #[test]
    fn round_trip_is_exact() {
        let thirds = [1.0 / 3.0, 1e-9, 2.0 / 3.0 - 1e-9, 0.0];
        let pwms = [
            Pwm { name: "a_1;b".into(), probabilities: vec![thirds, [0.0, 1.0, 0.0, 0.0]] },
            Pwm { name: "two words".into(), probabilities: vec![[0.25; 4]; 4] },
        ];
        let meme = parse(&pwms_to_text(&pwms), Path::new("m.meme")).unwrap();
        assert_eq!(meme.matrices[0], Matrix::from(&pwms[0]));
        assert_eq!((meme.matrices[1].name.as_str(), meme.matrices[1].rows.len()), ("two_words", 4));
        assert!(parse(&pwms_to_text(&[]), Path::new("m.meme")).unwrap().matrices.is_empty());
    }

    #[test]
    fn errors_name_the_line() {
        let head = "MEME version 4\nMOTIF a\nletter-probability matrix: alength= 4 w= 2\n";
        assert_eq!(message(""), "m.meme: expected a line 'MEME version 4': is this a MEME motif file?");
        assert!(message("MOTIF a\n").starts_with("m.meme:1: a motif before the line"));
        assert!(message(&format!("{head}.1 .2 .3\n")).starts_with("m.meme:4: expected four numbers"));
        assert!(message(&format!("{head}.1 .2 .3 .4 .5\n")).starts_with("m.meme:4: expected four numbers"));
        assert!(message(&format!("{head}.1 .2 .3 x\n")).starts_with("m.meme:4: expected four numbers"));
        assert!(message(&format!("{head}.1 .2 .3 nan\n")).starts_with("m.meme:4: expected four numbers"));
        let short = message(&format!("{head}.1 .2 .3 .4\n"));
        assert_eq!(short, "m.meme:3: motif 'a' has 1 rows, but the line says w= 2");
        assert!(message("MEME version 4\nMOTIF a\nMOTIF b\n").starts_with("m.meme:2: motif 'a' has no rows"));
        assert!(message("MEME version 4\nMOTIF a\n").starts_with("m.meme:2: motif 'a' has no rows"));
        assert_eq!(message("MEME version 4\nMOTIF \n"), "m.meme:2: expected a name after MOTIF");
        assert!(message("MEME version 4\nALPHABET= ACDEFGHIKLMNPQRSTVWY\n").starts_with("m.meme:2: expected ALPHABET"));
        let protein = "MEME version 4\nMOTIF a\nletter-probability matrix: alength= 20\n";
        assert!(message(protein).starts_with("m.meme:3: expected alength= 4"));
        assert!(message("MEME version 4\nletter-probability matrix: w= 1\n").contains("without a MOTIF line"));
        assert!(message("MEME version 4\nMOTIF a\nletter-probability matrix: w= x\n.1 .2 .3 .4").contains("after w="));
        assert!(
            message("MEME version 4\nBackground letter frequencies\nA .5 C .5\n")
                .starts_with("m.meme:2: expected 'A f")
        );
    }

    #[test]
    fn only_probabilities_make_pwms() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.meme");
        let text = "MEME version 4\nMOTIF a\nletter-probability matrix: w= 2\n.25 .25 .25 .25\n-1 1 1 0\n";
        std::fs::write(&path, text).unwrap();
        assert_eq!(read(&path).unwrap().matrices[0].rows[1], [-1.0, 1.0, 1.0, 0.0]);
        let message = read_pwms(&path).unwrap_err().to_string();
        assert!(message.contains("m.meme:4: motif: 'a' position 2: expected four probabilities"), "{message}");
        std::fs::write(&path, text.replace("-1 1 1 0", "0 1 0 0")).unwrap();
        assert_eq!(read_pwms(&path).unwrap()[0].consensus(), "AC");
        assert_eq!(read(&folder.path().join("none")).unwrap_err().exit_code(), 2);
    }

    /// Motifs as the reference implementation wrote them, and its IUPAC strings.
    #[test]
    fn fixture_of_the_reference() {
        let shared = std::env::var_os("DRG_SHARED")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"), std::path::PathBuf::from);
        let folder = shared.join("fixtures/14b_motifs");
        if !folder.exists() {
            eprintln!("skipped: {} is missing (set DRG_SHARED)", folder.display());
            return;
        }
        let pwms = read_pwms(&folder.join("motifs.meme")).unwrap();
        let iupac: Vec<_> = pwms.iter().map(|m| m.iupac(0.25)).collect();
        let expected = "GAKTCA CACKTG RCCMCGCCCY KATTTAT GACTCAKYK CACGT SRGGGCGKGG WATTTATWA SWWKBTGAGTC ACGTG GGSWKCYY WAAHTRRTG";
        assert_eq!(iupac.join(" "), expected);
        let above: Vec<_> = pwms.iter().map(|m| m.iupac(0.3)).collect();
        let expected = "GAGTCA CACGTG NCCCCGCCCN KATTTAT GACTCATTN CACGT NGGGGCGGGG NATTTATAA NANGNTGAGTC ACGTG GGSWTCYY WAAWTRGTG";
        assert_eq!(above.join(" "), expected);
        // Combined motifs are no probabilities: padding makes their ends lighter.
        assert_eq!(read(&folder.join("cluster0_pfms.meme")).unwrap().matrices[0].rows.len(), 12);
        assert!(read_pwms(&folder.join("cluster0_pfms.meme")).is_err());
    }
}
