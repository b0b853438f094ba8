//! BED regions (0-based, end not included; BED3 to BED12 and narrowPeak) and their sequences.

use std::path::Path;

use rayon::prelude::*;

use super::Notes;
use super::genome::Genome;
use super::text::Lines;
use crate::error::{Error, Result};
use crate::seq::{Builder, Sequences, UNKNOWN, reverse_complement};

/// One line of a BED file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// Chromosome.
    pub chrom: String,
    /// First base, counted from 0.
    pub start: i64,
    /// Base after the last.
    pub end: i64,
    /// Column 4, or `chrom:start-end(strand)` where that is missing or `.`.
    pub name: String,
    /// Whether column 6 says `-`.
    pub reverse: bool,
    /// Summit (column 10 of a narrowPeak file), as a position on the chromosome.
    pub summit: Option<i64>,
    /// Line in the file, counted from 1.
    pub line: usize,
}

impl Region {
    /// The window of `length` around the summit or, where there is none, around the middle.
    #[must_use]
    pub fn centred(mut self, length: usize) -> Self {
        let centre = self.summit.unwrap_or(self.start + (self.end - self.start) / 2);
        self.start = centre - (length / 2) as i64;
        self.end = self.start + length as i64;
        self
    }
}

/// Reads the regions of a BED file, plain or gzipped. Lines that start with `#`, `track` or `browser` are skipped.
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] for a file without regions or a line that is none.
pub fn read_bed(path: &Path) -> Result<Vec<Region>> {
    let mut lines = Lines::open(path)?;
    let mut regions = Vec::new();
    while let Some((number, line)) = lines.next_text()? {
        let first = line.split_whitespace().next().unwrap_or("#");
        if first.starts_with('#') || first == "track" || first == "browser" {
            continue;
        }
        regions.push(parse_region(path, number, line)?);
    }
    if regions.is_empty() {
        return Err(Error::file(path, "no regions; expected lines of chromosome, start, end"));
    }
    Ok(regions)
}

/// Sequences of regions, read along their strand. With `length`, windows of that length around summit or middle.
/// Without, the regions as they are; shorter ones are filled at the end to the longest.
///
/// # Errors
/// [`Error::Parse`] naming the line of `bed` whose chromosome the genome does not have; [`Error::Argument`] for names
/// that come twice.
pub fn fetch_regions(
    bed: &Path,
    regions: Vec<Region>,
    genome: &Genome,
    length: Option<usize>,
) -> Result<(Sequences, Notes)> {
    let fetched = regions.into_par_iter().map(|region| {
        let region = match length {
            Some(length) => region.centred(length),
            None => region,
        };
        let codes = genome
            .fetch(&region.chrom, region.start, region.end)
            .map_err(|e| if e.exit_code() == 2 { Error::line(bed, region.line, e.to_string()) } else { e })?;
        let off_ends = genome.off_ends(&region.chrom, region.start, region.end)?;
        let unknown = codes.iter().filter(|&&code| code == UNKNOWN).count() - off_ends;
        let codes = if region.reverse { reverse_complement(&codes) } else { codes };
        Ok((region.name, codes, off_ends, unknown))
    });
    let fetched: Vec<Result<_>> = fetched.collect();
    let mut notes = Notes::default();
    let mut builder = Builder::default();
    for region in fetched {
        let (name, codes, off_ends, unknown) = region?;
        notes.letters += codes.len() - off_ends;
        notes.off_ends += usize::from(off_ends > 0);
        builder.unknown += unknown;
        builder.push(name, &codes)?;
    }
    notes.unknown_letters = builder.unknown;
    notes.filled = builder.shorter();
    let sequences = builder.finish().map_err(|e| match e {
        Error::Argument { what, .. } => Error::file(bed, format!("{what}; names in column 4 must be unique, or '.'")),
        other => other,
    })?;
    Ok((sequences, notes))
}

/// No chromosome is that long; sums of two such numbers stay far from the ends of i64.
const MAX_POSITION: i64 = 1 << 40;

fn parse_region(path: &Path, number: usize, line: &str) -> Result<Region> {
    let cells: Vec<&str> =
        if line.contains('\t') { line.split('\t').map(str::trim).collect() } else { line.split_whitespace().collect() };
    if cells.len() < 3 {
        let what = format!("expected chromosome, start, end; found {} columns", cells.len());
        return Err(Error::line(path, number, what));
    }
    let position = |column: usize, name: &str| {
        let found = cells[column].parse::<i64>().ok().filter(|n| (0..MAX_POSITION).contains(n));
        found.ok_or_else(|| {
            let what = format!("expected a position (0 or more), found '{}'", cells[column]);
            Error::cell(path, number, name, what)
        })
    };
    let (start, end) = (position(1, "start")?, position(2, "end")?);
    if start >= end {
        return Err(Error::line(path, number, format!("end {end} must lie behind start {start}")));
    }
    let strand = cells.get(5).copied().unwrap_or(".");
    if !["+", "-", ".", ""].contains(&strand) {
        return Err(Error::cell(path, number, "strand", format!("expected +, - or ., found '{strand}'")));
    }
    let summit = match cells.len() {
        10 => cells[9].parse().ok().filter(|offset| (0..MAX_POSITION).contains(offset)).map(|offset| start + offset),
        _ => None,
    };
    let name = match cells.get(3) {
        Some(&name) if !name.is_empty() && name != "." => name.to_string(),
        _ => format!("{}:{start}-{end}({})", cells[0], if strand == "-" { "-" } else { "+" }),
    };
    Ok(Region { chrom: cells[0].into(), start, end, name, reverse: strand == "-", summit, line: number })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, gz_file, text};
    use super::*;

    const BED: &[u8] =
        b"# c\ntrack name=x\nchr1\t1\t5\nchr1\t1\t5\tp2\t0\t-\n\nchr2 0 3 . 5 - \nchr1\t10\t14\tp4\t0\t+\n";

    #[test]
    fn regions_and_their_sequences() {
        let (folder, genome) = file("g.fa", b">chr1\nACGTA\nCCNGT\nTT\n>chr2\nGGA\n");
        let genome = Genome::open(&genome).unwrap();
        for (_keep, path) in [file("r.bed", BED), gz_file("r.bed.gz", BED)] {
            let regions = read_bed(&path).unwrap();
            let (s, notes) = fetch_regions(&path, regions.clone(), &genome, None).unwrap();
            assert_eq!(s.names, ["chr1:1-5(+)", "p2", "chr2:0-3(-)", "p4"]);
            let texts: Vec<String> = (0..4).map(|i| s.to_string(i)).collect();
            assert_eq!(texts, ["CGTA", "TACG", "TCCN", "TTNN"]);
            assert_eq!((notes.off_ends, notes.filled, notes.unknown_letters, notes.letters), (1, 1, 0, 13));
            let (wide, notes) = fetch_regions(&path, regions, &genome, Some(7)).unwrap();
            assert_eq!((wide.to_string(0), wide.to_string(1)), ("ACGTACC".into(), "GGTACGT".into()));
            assert_eq!((wide.to_string(2), notes.off_ends), ("NNTCCNN".into(), 2));
        }
        let (_keep, path) = file("r.bed", "chr1\t0\t3\nchrX\t0\t3\n");
        let unknown = fetch_regions(&path, read_bed(&path).unwrap(), &genome, None);
        let said = text(unknown, &folder);
        assert!(said.contains("r.bed:2: no chromosome 'chrX' in g.fa; it has chr1, chr2 (2 in all)"), "{said}");
        let (keep, path) = file("r.bed", "chr1\t0\t3\tx\nchr1\t1\t3\tx\n");
        let twice = fetch_regions(&path, read_bed(&path).unwrap(), &genome, None);
        assert_eq!(
            text(twice, &keep),
            "r.bed: name 'x' comes twice (sequences 1 and 2); names in column 4 must be unique, or '.'"
        );
    }

    #[test]
    fn summits_are_centres() {
        let (_folder, path) = file("r.narrowPeak", "chr1\t100\t200\tp\t0\t.\t1\t2\t3\t10\n");
        let region = read_bed(&path).unwrap().remove(0);
        assert_eq!(region.summit, Some(110));
        let window = region.centred(5);
        assert_eq!((window.start, window.end), (108, 113));
    }

    #[test]
    fn bad_regions() {
        let of = |content: &str| {
            let (folder, path) = file("r.bed", content);
            text(read_bed(&path), &folder)
        };
        assert_eq!(of("#x\n"), "r.bed: no regions; expected lines of chromosome, start, end");
        assert_eq!(of("chr1\t5\n"), "r.bed:1: expected chromosome, start, end; found 2 columns");
        assert_eq!(of("chr1\t-5\t6\n"), "r.bed:1, column start: expected a position (0 or more), found '-5'");
        assert_eq!(of("chr1\t1\tx\n"), "r.bed:1, column end: expected a position (0 or more), found 'x'");
        assert_eq!(of("chr1\t7\t7\n"), "r.bed:1: end 7 must lie behind start 7");
        assert_eq!(of("chr1\t1\t7\ta\t0\tx\n"), "r.bed:1, column strand: expected +, - or ., found 'x'");
    }
}
