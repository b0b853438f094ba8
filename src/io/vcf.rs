//! Variants from VCF 4 files and from tables, one after the other: memory does not grow with the file.
//!
//! **Positions in the file count from 1**, in tables as in VCF; [`Variant::position`] counts from 0. The chromosome may
//! as well be the name of a sequence: whoever looks the variants up decides what the names mean.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::text::{Lines, extension, is_missing};
use crate::error::{Error, Result};

/// What a variant column is for, and the names it goes by in a table, in either case, best name first.
const COLUMNS: [(&str, &[&str]); 5] = [
    (
        "chrom",
        &[
            "chrom",
            "chr",
            "chromosome",
            "contig",
            "seqname",
            "seqnames",
            "seqid",
            "seq_id",
            "seq_name",
            "sequence_id",
            "sequence_name",
            "sequence",
            "seq",
        ],
    ),
    ("pos", &["pos", "position", "bp"]),
    ("ref", &["ref", "reference", "ref_allele", "reference_allele"]),
    ("alt", &["alt", "alternative", "alternate", "alt_allele", "alternative_allele", "alternate_allele"]),
    ("id", &["id", "variant_id", "variant", "rsid", "rs_id", "snp", "snp_id", "snpid", "name", "variant_name"]),
];
const CHROM: usize = 0;
const POS: usize = 1;
const REF: usize = 2;
const ALT: usize = 3;
const ID: usize = 4;

/// Nothing is that long; sums of two such positions stay far from the ends of 64 bits.
const MAX_POSITION: u64 = 1 << 40;

/// One alternative allele of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    /// Chromosome, or name of the sequence that the position counts on.
    pub chrom: String,
    /// First base of the reference allele, counted from 0.
    pub position: u64,
    /// Reference allele in the letters A, C, G, T, N; at least one. Nothing has compared it with a genome yet.
    pub reference: Vec<u8>,
    /// Alternative allele in the same letters; at least one, and not the reference allele.
    pub alternative: Vec<u8>,
    /// Name in the file, or `chrom:pos:ref:alt` with the position from 1 where that is missing or `.`. Alternative
    /// alleles of one line share the name in the file.
    pub id: String,
    /// Line in the file, counted from 1.
    pub line: u64,
}

/// What a file holds for one alternative allele.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// A variant whose bases are known.
    Variant(Variant),
    /// A legal entry that says nothing about single bases, such as `<DEL>`. It is no error.
    Skipped {
        /// Line in the file, counted from 1.
        line: u64,
        /// The entry as `chrom:pos:ref:alt`, as it is in the file (long alleles cut).
        what: String,
        /// The reason; the same text for every entry of one kind.
        why: &'static str,
    },
}

/// The records of a file in their order, see [`read_variants`]. Nothing follows an error.
pub struct Variants {
    path: PathBuf,
    lines: Lines,
    layout: Layout,
    ready: VecDeque<Record>,
    failed: bool,
}

/// Opens a file of variants, plain, gzip or bgzip, and reads its first record; the rest is read by the iterator.
/// Positions count from 1. What the file is shows in its first lines, not in its name, except that `.csv` means commas:
///
/// - VCF 4: any number of `##` lines, `#CHROM POS ID REF ALT ...`, records. Samples are not looked at.
/// - A table with a header: columns in any order, by the names `chrom` (`chr`, `sequence`, `seq_id`, ...), `pos`
///   (`position`), `ref`, `alt` and, if there is one, `id` (`variant_id`, `rsid`, `snp`, `name`, ...), in either case.
/// - A table without one: chromosome, position, reference, alternative, and an id if there is a fifth column.
///
/// Columns are separated by tabs, or by blanks in a line without tabs. Several alternatives stand in one cell with
/// commas between them and become one record each. Alleles are read in either case, U as T. Entries without exact
/// bases become [`Record::Skipped`]: symbolic alleles, `*`, breakends, missing alleles (`.`, `-`, `0`, `NA`), other
/// letters than A, C, G, T, U, N, alternatives equal to the reference, and VCF records at position 0 (telomeres).
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] for a file without variants, a missing column, a position that is no whole number of
/// 1 or more, an allele that is none. Here for the first record, from the iterator for the others.
pub fn read_variants(path: &Path) -> Result<Variants> {
    let mut lines = Lines::open(path)?;
    let mut layout = None;
    let mut declared_vcf = false;
    let comma = extension(path) == "csv";
    while let Some((number, line)) = lines.next_bytes()? {
        if line.starts_with(b"BCF\x02") {
            let what = "this is BCF, the binary form; write it as VCF first, e.g. with bcftools view";
            return Err(Error::file(path, what));
        }
        if line.starts_with(b"##") {
            declared_vcf |= line.starts_with(b"##fileformat=VCF");
            continue;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        if layout.is_none() {
            layout = Layout::of_header(path, number, line, comma)?;
            if layout.is_some() || line.starts_with(b"#") {
                continue;
            }
            if declared_vcf {
                let what = "expected the line '#CHROM POS ID REF ALT ...' before the first record";
                return Err(Error::line(path, number, what));
            }
        } else if line.starts_with(b"#") {
            continue;
        }
        let layout = match layout {
            Some(layout) => layout,
            None => Layout::of_first_row(path, number, line, comma)?,
        };
        let ready = layout.records(path, number, line)?;
        return Ok(Variants { path: path.into(), lines, layout, ready, failed: false });
    }
    Err(Error::file(path, "no variants; expected VCF, or a table of chrom, pos, ref, alt (and id)"))
}

impl Variants {
    fn read_line(&mut self) -> Result<bool> {
        while let Some((number, line)) = self.lines.next_bytes()? {
            if !line.starts_with(b"#") && !line.trim_ascii().is_empty() {
                self.ready = self.layout.records(&self.path, number, line)?;
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Iterator for Variants {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && !self.failed {
            match self.read_line() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.failed = true;
                    return Some(Err(error));
                }
            }
        }
        self.ready.pop_front().map(Ok)
    }
}

/// How to read a line.
#[derive(Clone, Debug)]
struct Layout {
    /// Column of each entry of [`COLUMNS`]; only the last may be missing.
    columns: [Option<usize>; 5],
    /// Name of each column for messages.
    names: [String; 5],
    /// Columns that a line must have, and whether it may not have more.
    width: (usize, bool),
    /// Columns are separated by commas.
    comma: bool,
    /// The rules of VCF hold, not those of tables.
    vcf: bool,
}

impl Layout {
    /// The layout that a header names; `None` for a line that is no header.
    fn of_header(path: &Path, number: usize, line: &[u8], comma: bool) -> Result<Option<Self>> {
        let line = line.strip_prefix(b"#").unwrap_or(line);
        let names: Vec<Cow<'_, str>> = split(line, comma).map(String::from_utf8_lossy).collect();
        let find = |known: &[&str]| {
            known.iter().find_map(|k| names.iter().position(|name| name.trim().eq_ignore_ascii_case(k)))
        };
        let columns = COLUMNS.map(|(_, known)| find(known));
        if columns[..ID].iter().flatten().count() < 2 {
            return Ok(None);
        }
        for (column, (role, known)) in columns.iter().zip(COLUMNS).take(ID) {
            if column.is_none() {
                let (known, there) = (known[1..].join(", "), names.join(", "));
                let what = format!("no column '{role}' (or {known}); the header has: {there}");
                return Err(Error::line(path, number, what));
            }
        }
        for (i, name) in names.iter().enumerate() {
            if columns.contains(&Some(i)) && names[i + 1..].contains(name) {
                return Err(Error::line(path, number, format!("two columns are named '{name}'")));
            }
        }
        let vcf = ["CHROM", "POS", "ID", "REF", "ALT"].iter().zip(&names).filter(|(a, b)| **a == b.trim()).count() == 5;
        let labels = std::array::from_fn(|i| columns[i].map_or_else(String::new, |c| names[c].trim().to_string()));
        // Columns after ALT never matter in VCF, and there can be thousands of samples.
        let width = if vcf { (5, false) } else { (names.len(), true) };
        Ok(Some(Self { columns, names: labels, width, comma, vcf }))
    }

    /// The layout of a table without a header, from its first line.
    fn of_first_row(path: &Path, number: usize, line: &[u8], comma: bool) -> Result<Self> {
        let cells: Vec<&[u8]> = split(line, comma).collect();
        let starts_well = cells.len() >= 4 && !cells[1].is_empty() && cells[1].iter().all(u8::is_ascii_digit);
        // In a VCF record the third column is a name or a dot.
        let alleles = starts_well
            && cells[REF] != b"."
            && is_allele(cells[REF])
            && cells[ALT].split(|&b| b == b',').all(is_allele);
        if !alleles {
            let start = String::from_utf8_lossy(line).chars().take(40).collect::<String>();
            let vcf = if starts_well { "; VCF needs its line '#CHROM POS ID REF ALT ...'" } else { "" };
            let what = "expected a header that names chrom, pos, ref, alt (and id), or chromosome, position, reference, \
                        alternative (and id)";
            return Err(Error::line(path, number, format!("{what}; found '{start}'{vcf}")));
        }
        let id = (cells.len() > ID).then_some(ID);
        let names = COLUMNS.map(|(name, _)| name.to_string());
        let columns = [Some(CHROM), Some(POS), Some(REF), Some(ALT), id];
        Ok(Self { columns, names, width: (if id.is_some() { 5 } else { 4 }, false), comma, vcf: false })
    }

    /// The records of a line: one for each alternative allele, at least one.
    fn records(&self, path: &Path, number: usize, line: &[u8]) -> Result<VecDeque<Record>> {
        let (width, exact) = self.width;
        let limit = if exact { usize::MAX } else { width };
        let cells: Vec<&[u8]> = split(line, self.comma).take(limit).collect();
        if cells.len() < width || (exact && cells.len() > width) {
            let header = if exact { " as in the header" } else { "" };
            let what = format!("expected {width} columns{header}, found {}", cells.len());
            return Err(Error::line(path, number, what));
        }
        let cell = |role: usize| self.columns[role].map_or(&b""[..], |column| cells[column]);
        let wrong = |role: usize, what: String| Error::cell(path, number, &self.names[role], what);
        let chrom = match std::str::from_utf8(cell(CHROM)) {
            Ok("") => return Err(wrong(CHROM, "the name is empty".into())),
            Ok(chrom) => chrom,
            Err(_) => return Err(wrong(CHROM, "no UTF-8 text; is this a binary file?".into())),
        };
        let position = std::str::from_utf8(cell(POS)).ok().filter(|p| p.bytes().all(|b| b.is_ascii_digit()));
        let position = position.and_then(|p| p.parse::<u64>().ok()).filter(|&p| p < MAX_POSITION).ok_or_else(|| {
            wrong(POS, format!("expected a whole number of 1 or more, found '{}'", String::from_utf8_lossy(cell(POS))))
        })?;
        if position == 0 && !self.vcf {
            return Err(wrong(POS, "positions count from 1; add 1 to every position of a table from 0".into()));
        }
        let reference = letters(cell(REF));
        if let Err(Unreadable::Wrong) = reference {
            return Err(wrong(REF, no_allele(cell(REF))));
        }
        let mut records = VecDeque::with_capacity(1);
        for alt in cell(ALT).split(|&b| b == b',').map(<[u8]>::trim_ascii) {
            let found = match (&reference, letters(alt)) {
                (_, Err(Unreadable::Wrong)) => return Err(wrong(ALT, no_allele(alt))),
                (Err(Unreadable::Skip(why)), _) => Err(*why),
                (_, Err(Unreadable::Skip(why))) => Err(why),
                (Ok(r), Ok(a)) if *r == a => Err("the alternative is the reference"),
                _ if position == 0 => Err("before the first base (telomere)"),
                (Ok(r), Ok(a)) => Ok((r.clone(), a)),
                (Err(Unreadable::Wrong), _) => unreachable!("refused before"),
            };
            let name = || {
                let (r, a) = (shown(cell(REF)), shown(alt));
                format!("{chrom}:{position}:{r}:{a}")
            };
            let line = number as u64;
            records.push_back(match found {
                Err(why) => Record::Skipped { line, what: name(), why },
                Ok((reference, alternative)) => {
                    let id = match String::from_utf8_lossy(cell(ID)) {
                        id if id == "." || is_missing(&id) => name(),
                        id => id.into_owned(),
                    };
                    let (chrom, position) = (chrom.to_string(), position - 1);
                    Record::Variant(Variant { chrom, position, reference, alternative, id, line })
                }
            });
        }
        Ok(records)
    }
}

/// Cells of a line, blanks around them cut; commas, tabs, or any blanks where the line has no tab.
fn split(line: &[u8], comma: bool) -> Box<dyn Iterator<Item = &[u8]> + '_> {
    if comma {
        // A comma inside of quotes gives a column too many: an error, and no misreading.
        let cells = line.split(|&b| b == b',').map(<[u8]>::trim_ascii);
        return Box::new(
            cells.map(|cell| cell.strip_prefix(b"\"").and_then(|c| c.strip_suffix(b"\"")).unwrap_or(cell)),
        );
    }
    if line.contains(&b'\t') {
        return Box::new(line.split(|&b| b == b'\t').map(<[u8]>::trim_ascii));
    }
    Box::new(line.split(u8::is_ascii_whitespace).filter(|cell| !cell.is_empty()))
}

/// Why an allele has no letters.
enum Unreadable {
    /// It is legal, but says nothing about bases.
    Skip(&'static str),
    /// It is no allele.
    Wrong,
}

/// Upper-case letters of an allele, U as T.
fn letters(allele: &[u8]) -> std::result::Result<Vec<u8>, Unreadable> {
    let missing = matches!(allele, b"." | b"-" | b"0") || std::str::from_utf8(allele).is_ok_and(is_missing);
    if missing {
        return Err(Unreadable::Skip("missing allele"));
    }
    if allele == b"*" || allele == b"<*>" || allele == b"<NON_REF>" {
        return Err(Unreadable::Skip("'*' or <NON_REF>: no allele of its own"));
    }
    if allele.starts_with(b"<") && allele.ends_with(b">") {
        return Err(Unreadable::Skip("symbolic allele"));
    }
    let dot = allele.starts_with(b".") || allele.ends_with(b".");
    if allele.iter().any(|b| matches!(b, b'[' | b']')) || (dot && allele.iter().any(u8::is_ascii_alphabetic)) {
        return Err(Unreadable::Skip("breakend"));
    }
    if !allele.iter().all(u8::is_ascii_alphabetic) {
        return Err(Unreadable::Wrong);
    }
    let upper = allele.iter().map(|b| match b.to_ascii_uppercase() {
        b'U' => Some(b'T'),
        base @ (b'A' | b'C' | b'G' | b'T' | b'N') => Some(base),
        _ => None,
    });
    upper.collect::<Option<_>>().ok_or(Unreadable::Skip("other letters than A, C, G, T, N"))
}

fn is_allele(text: &[u8]) -> bool {
    !matches!(letters(text.trim_ascii()), Err(Unreadable::Wrong))
}

fn no_allele(found: &[u8]) -> String {
    format!("expected bases, found '{}'", shown(found))
}

/// An allele for messages and names; long ones cut.
fn shown(allele: &[u8]) -> String {
    let text = String::from_utf8_lossy(allele);
    if text.chars().count() <= 40 {
        return text.into_owned();
    }
    let start: String = text.chars().take(30).collect();
    format!("{start}...({} letters)", allele.len())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, gz_file, text};
    use super::*;

    const VCF: &str = "##fileformat=VCFv4.3\n##INFO=<ID=X>\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\tFORMAT\ts1\n\
                       chr1\t10\trs1\tA\tc,GT\t.\tPASS\tX=1\tGT\t0/1\n\
                       chr1\t12\t.\tAcn\tA\t.\t.\t.\n\
                       chr2\t5\tsv\tN\t<DEL>,*,G]17:198982],.TA,T,.\t1\t.\t.\n\
                       chr2\t0\t.\tA\tC\t.\t.\t.\n\
                       chr2\t7\t.\tR\tC\t.\t.\t.\n\
                       chr2\t8\t.\tC\tC\t.\t.\t.\n";

    fn all(path: &Path) -> Vec<Record> {
        read_variants(path).unwrap().map(|r| r.unwrap()).collect()
    }

    /// `chrom:position from 0:ref>alt id line`, or `line what: why`.
    fn short(records: &[Record]) -> Vec<String> {
        let letters = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
        let one = |r: &Record| match r {
            Record::Variant(v) => {
                let (r, a) = (letters(&v.reference), letters(&v.alternative));
                format!("{}:{}:{r}>{a} {} {}", v.chrom, v.position, v.id, v.line)
            }
            Record::Skipped { line, what, why } => format!("{line} {what}: {why}"),
        };
        records.iter().map(one).collect()
    }

    #[test]
    fn vcf() {
        let windows = VCF.replace('\n', "\r\n");
        let open_end = VCF.trim_end();
        for (_folder, path) in [
            file("x.vcf", VCF),
            file("x.txt", windows),
            file("x.vcf", open_end),
            gz_file("x.vcf.gz", VCF.as_bytes()),
            file("x.vcf", format!("\u{feff}{VCF}")),
        ] {
            assert_eq!(
                short(&all(&path)),
                [
                    "chr1:9:A>C rs1 4",
                    "chr1:9:A>GT rs1 4",
                    "chr1:11:ACN>A chr1:12:Acn:A 5",
                    "6 chr2:5:N:<DEL>: symbolic allele",
                    "6 chr2:5:N:*: '*' or <NON_REF>: no allele of its own",
                    "6 chr2:5:N:G]17:198982]: breakend",
                    "6 chr2:5:N:.TA: breakend",
                    "chr2:4:N>T sv 6",
                    "6 chr2:5:N:.: missing allele",
                    "7 chr2:0:A:C: before the first base (telomere)",
                    "8 chr2:7:R:C: other letters than A, C, G, T, N",
                    "9 chr2:8:C:C: the alternative is the reference",
                ]
            );
        }
    }

    #[test]
    fn tables_with_a_header() {
        let expected = ["s1:4:A>G v1 2", "s2:0:T>TA s2:1:U:ua 4"];
        for content in [
            "Position\tALT\tsequence\tscore\tReference\trsid\n5\tG\ts1\t0.5\tA\tv1\n\n1\tua\ts2\t\tU\t.\n",
            "#pos\talt\tchr\tmore\tref\tname\n5\tG\ts1\tx\tA\tv1\n# note\n1\tua\ts2\tx\tU\t\n",
        ] {
            let (_folder, path) = file("x.tsv", content);
            assert_eq!(short(&all(&path)), expected);
        }
        let (_folder, path) = file("x.csv", "\"chrom\",pos,ref,alt,snp\ns1,5,a,\"g\",v1\n# note\ns2,1,U,ua,NA\n");
        assert_eq!(short(&all(&path)), expected);
        let (_folder, path) = file("x.txt", "chromosome position ref alt\nchr1 7 A C,T\n");
        assert_eq!(short(&all(&path)), ["chr1:6:A>C chr1:7:A:C 2", "chr1:6:A>T chr1:7:A:T 2"]);
    }

    #[test]
    fn tables_without_a_header() {
        let (_folder, path) = file("x.tsv", "# mine\n2\t8\t-\tC\tx\nchr1\t7\tA\tC\trs7\n3 9 AC 0 y\n");
        assert_eq!(short(&all(&path)), ["2 2:8:-:C: missing allele", "chr1:6:A>C rs7 3", "4 3:9:AC:0: missing allele"]);
        let (_folder, path) = file("x.tsv", "chr1 7 A C\nchr1 9 G T ignored\n");
        assert_eq!(short(&all(&path)), ["chr1:6:A>C chr1:7:A:C 1", "chr1:8:G>T chr1:9:G:T 2"]);
    }

    #[test]
    fn long_alleles_are_cut_in_names_only() {
        let long = "ACGT".repeat(25);
        let (_folder, path) = file("x.tsv", format!("chr1\t7\t{long}\tA\n"));
        let Record::Variant(v) = all(&path).remove(0) else { panic!() };
        assert_eq!(v.reference, long.as_bytes());
        assert_eq!(v.id, format!("chr1:7:{}...(100 letters):A", &long[..30]));
    }

    #[test]
    fn a_late_error_ends_the_file() {
        let (folder, path) = file("x.tsv", "chr1 1 A C\nchr1 x A C\nchr1 3 A C\n");
        let mut variants = read_variants(&path).unwrap();
        assert!(matches!(variants.next(), Some(Ok(Record::Variant(_)))));
        let late = variants.next().unwrap();
        assert_eq!(text(late, &folder), "x.tsv:2, column pos: expected a whole number of 1 or more, found 'x'");
        assert!(variants.next().is_none());
    }

    #[test]
    fn bad_files() {
        let of = |content: &str| {
            let (folder, path) = file("x.tsv", content);
            text(read_variants(&path), &folder)
        };
        let none = "x.tsv: no variants; expected VCF, or a table of chrom, pos, ref, alt (and id)";
        let header = "#CHROM\tPOS\tID\tREF\tALT\n";
        for empty in ["", "\n\n", "# nothing\n", "chrom\tpos\tref\talt\n", header, "##fileformat=VCFv4.2\n"] {
            assert_eq!(of(empty), none);
        }
        assert_eq!(
            of("##fileformat=VCFv4.2\nchr1\t7\t.\tA\tC\t.\t.\t.\n"),
            "x.tsv:2: expected the line '#CHROM POS ID REF ALT ...' before the first record"
        );
        assert_eq!(
            of("BCF\x02\x02rest"),
            "x.tsv: this is BCF, the binary form; write it as VCF first, e.g. with bcftools view"
        );
        assert_eq!(
            of("chrom\tpos\treff\talt\n1\t1\tA\tC\n"),
            "x.tsv:1: no column 'ref' (or reference, ref_allele, reference_allele); the header has: chrom, pos, reff, alt"
        );
        assert_eq!(
            of("chrom\tstart\tref\talt\n1\t1\tA\tC\n"),
            "x.tsv:1: no column 'pos' (or position, bp); the header has: chrom, start, ref, alt"
        );
        assert_eq!(of("chr\tpos\tref\talt\tpos\n1\t1\tA\tC\t1\n"), "x.tsv:1: two columns are named 'pos'");
        let table = "chr\tpos\tref\talt\n";
        assert_eq!(of(&format!("{table}1\t1\tA\n")), "x.tsv:2: expected 4 columns as in the header, found 3");
        assert_eq!(of(&format!("{table}1\t1\tA\tC\tG\n")), "x.tsv:2: expected 4 columns as in the header, found 5");
        assert_eq!(of(&format!("{header}1\t1\tA\tC\n")), "x.tsv:2: expected 5 columns, found 4");
        assert_eq!(of(&format!("{table}\t1\tA\tC\n")), "x.tsv:2, column chr: the name is empty");
        for position in ["-1", "", "+1", "1.0", "99999999999999999999", "x"] {
            assert_eq!(
                of(&format!("{table}1\t{position}\tA\tC\n")),
                format!("x.tsv:2, column pos: expected a whole number of 1 or more, found '{position}'")
            );
        }
        assert_eq!(
            of(&format!("{table}1\t0\tA\tC\n")),
            "x.tsv:2, column pos: positions count from 1; add 1 to every position of a table from 0"
        );
        assert_eq!(of(&format!("{table}1\t1\tA1\tC\n")), "x.tsv:2, column ref: expected bases, found 'A1'");
        assert_eq!(of(&format!("{table}1\t1\tA\tC/G\n")), "x.tsv:2, column alt: expected bases, found 'C/G'");
        assert_eq!(of(&format!("{header}1\t1\t.\tA\t12\n")), "x.tsv:2, column ALT: expected bases, found '12'");
        let what = "expected a header that names chrom, pos, ref, alt (and id), or chromosome, position, reference, \
                    alternative (and id)";
        assert_eq!(of("chr1\tx\tA\tC\n"), format!("x.tsv:1: {what}; found 'chr1\tx\tA\tC'"));
        assert_eq!(of("chr1 7 A\n"), format!("x.tsv:1: {what}; found 'chr1 7 A'"));
        assert!(of("chr1 7 . A C\n").ends_with("; VCF needs its line '#CHROM POS ID REF ALT ...'"));
        assert_eq!(
            of("chr1 7 rs1 A C\n"),
            format!("x.tsv:1: {what}; found 'chr1 7 rs1 A C'; VCF needs its line '#CHROM POS ID REF ALT ...'")
        );
    }

    #[test]
    fn broken_files() {
        let (folder, path) = file("x.vcf", b"#CHROM\tPOS\tID\tREF\tALT\nchr\xff\t1\t.\tA\tC\n");
        assert_eq!(text(read_variants(&path), &folder), "x.vcf:2, column CHROM: no UTF-8 text; is this a binary file?");
        let (folder, whole) = gz_file("x.vcf.gz", VCF.as_bytes());
        let cut = std::fs::read(&whole).unwrap();
        let path = folder.path().join("cut.vcf.gz");
        std::fs::write(&path, &cut[..cut.len() - 9]).unwrap();
        assert!(read_variants(&path).is_err() || read_variants(&path).unwrap().any(|r| r.is_err()));
        assert_eq!(read_variants(&folder.path().join("no")).err().unwrap().exit_code(), 2);
    }
}
