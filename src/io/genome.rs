//! A genome as FASTA with random access: memory-mapped, with its `.fai` index or one that is built in memory.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use memmap2::Mmap;

use super::first_few;
use super::text::Lines;
use crate::error::{Error, Result, hint};
use crate::seq::{UNKNOWN, encode, show};

/// An indexed FASTA file. Fetching needs no lock: any number of threads may read at once.
#[derive(Debug)]
pub struct Genome {
    path: PathBuf,
    map: Mmap,
    names: Vec<String>,
    contigs: HashMap<String, Contig>,
}

/// More positions than any use of a model needs at once: a mistake, not a request for memory.
const MAX_INTERVAL: u64 = 1 << 32;

/// Where a chromosome lies: the columns of a `.fai` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Contig {
    length: usize,
    offset: usize,
    line_bases: usize,
    line_bytes: usize,
}

impl Genome {
    /// Opens a FASTA file. The index is read from `<path>.fai`, or made in memory by one pass over the file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] for a gzipped or empty file, lines of uneven length, an index of another file.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let size = file.metadata().map_err(Error::io("read", path))?.len();
        if size == 0 {
            return Err(Error::file(path, "the file is empty; expected a genome in FASTA format"));
        }
        // SAFETY: the map is read only. Somebody who cuts the file off while it is mapped ends this process with a bus
        // error, as with every mapped file; nothing here writes to it.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map", path))?;
        if map.starts_with(&[0x1f, 0x8b]) {
            return Err(Error::file(path, "a gzipped genome has no random access; unpack it with gunzip or bgzip -d"));
        }
        let mut index_path = path.as_os_str().to_owned();
        index_path.push(".fai");
        let index_path = PathBuf::from(index_path);
        let contigs = if index_path.exists() { read_index(&index_path, &map)? } else { build_index(path, &map)? };
        let names = contigs.iter().map(|(name, _)| name.clone()).collect();
        Ok(Self { path: path.into(), map, names, contigs: contigs.into_iter().collect() })
    }

    /// Names of the chromosomes, in the order of the file.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Length of a chromosome.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is none of that name.
    pub fn length(&self, chrom: &str) -> Result<usize> {
        Ok(self.contig(chrom)?.length)
    }

    /// Codes of the forward strand from `start` (0-based) up to, without, `end`. Positions off the ends are unknown.
    ///
    /// # Errors
    /// [`Error::Usage`] for an unknown chromosome or an empty interval; [`Error::Parse`] if the index is that of
    /// another file.
    pub fn fetch(&self, chrom: &str, start: i64, end: i64) -> Result<Vec<u8>> {
        let contig = self.contig(chrom)?;
        if start >= end {
            return Err(Error::Usage(format!("{chrom}:{start}-{end}: the interval is empty; start must be below end")));
        }
        if end.abs_diff(start) > MAX_INTERVAL {
            return Err(Error::Usage(format!("{chrom}:{start}-{end}: more than 4294967296 positions at once")));
        }
        let from = start.clamp(0, contig.length as i64);
        let to = end.clamp(from, contig.length as i64);
        let mut codes = Vec::with_capacity((end - start) as usize);
        codes.resize((from.min(end) - start.min(from)) as usize, UNKNOWN);
        let (mut at, to) = (from as usize, to as usize);
        while at < to {
            let in_line = at % contig.line_bases;
            let count = (contig.line_bases - in_line).min(to - at);
            let byte = contig.offset + at / contig.line_bases * contig.line_bytes + in_line;
            for &letter in &self.map[byte..byte + count] {
                codes.push(encode(letter).ok_or_else(|| {
                    let what = format!(
                        "{} in {chrom}:{start}-{end} is no sequence letter; if the .fai index is older than the file, \
                         delete it",
                        show(letter)
                    );
                    Error::file(&self.path, what)
                })?);
            }
            at += count;
        }
        codes.resize((end - start) as usize, UNKNOWN);
        Ok(codes)
    }

    /// Whether positions of an interval lie off the ends of the chromosome: how many.
    ///
    /// # Errors
    /// As [`Genome::length`].
    pub fn off_ends(&self, chrom: &str, start: i64, end: i64) -> Result<usize> {
        let length = self.length(chrom)? as i64;
        let inside = end.clamp(0, length) - start.clamp(0, length);
        Ok((end - start - inside).max(0) as usize)
    }

    fn contig(&self, chrom: &str) -> Result<&Contig> {
        self.contigs.get(chrom).ok_or_else(|| {
            let other = chrom.strip_prefix("chr").map_or_else(|| format!("chr{chrom}"), String::from);
            let advice = if self.contigs.contains_key(&other) {
                format!(", but it has '{other}': the files name chromosomes differently; rename them in one of the two")
            } else {
                let similar = hint(chrom, self.names.iter().map(String::as_str));
                format!("; it has {} ({} in all){similar}", first_few(&self.names), self.names.len())
            };
            Error::Usage(format!("no chromosome '{chrom}' in {}{advice}", self.path.display()))
        })
    }
}

fn read_index(path: &Path, map: &[u8]) -> Result<Vec<(String, Contig)>> {
    let mut lines = Lines::open(path)?;
    let mut contigs = Vec::new();
    while let Some((number, line)) = lines.next_text()? {
        if line.is_empty() {
            continue;
        }
        let cells: Vec<&str> = line.split('\t').collect();
        let numbers: Vec<usize> = cells.iter().skip(1).map_while(|c| c.trim().parse().ok()).collect();
        let [length, offset, line_bases, line_bytes] = numbers[..].first_chunk().copied().ok_or_else(|| {
            Error::line(path, number, "expected a name and four numbers (length, offset, bases and bytes a line)")
        })?;
        let contig = Contig { length, offset, line_bases, line_bytes };
        if !contig.fits(map) {
            let what = format!("does not fit the FASTA file at '{}'; delete the index, or make it new", cells[0]);
            return Err(Error::line(path, number, what));
        }
        contigs.push((cells[0].to_string(), contig));
    }
    if contigs.is_empty() {
        return Err(Error::file(path, "the index is empty; delete it, or make it new with samtools faidx"));
    }
    Ok(contigs)
}

impl Contig {
    /// Whether the sequence begins after a line end, lies inside the file, and is followed by a line end or nothing.
    fn fits(&self, map: &[u8]) -> bool {
        if self.length == 0 {
            return self.offset <= map.len();
        }
        let Self { length, offset, line_bases, line_bytes } = *self;
        let last = length - 1;
        let end = last
            .checked_div(line_bases)
            .and_then(|lines| lines.checked_mul(line_bytes))
            .and_then(|bytes| bytes.checked_add(offset))
            .and_then(|bytes| bytes.checked_add(last % line_bases + 1));
        line_bytes >= line_bases
            && offset > 0
            && map.get(offset - 1) == Some(&b'\n')
            && end.is_some_and(|end| end <= map.len() && map.get(end).is_none_or(|b| matches!(b, b'\n' | b'\r')))
    }
}

fn build_index(path: &Path, map: &[u8]) -> Result<Vec<(String, Contig)>> {
    let mut contigs: Vec<(String, Contig)> = Vec::new();
    let mut seen = HashMap::new();
    let mut number = 0;
    let mut at = 0;
    // Set once a line is shorter than the first: it must be the last of its chromosome.
    let mut ended = false;
    for line in map.split_inclusive(|&b| b == b'\n') {
        number += 1;
        let bare = line.strip_suffix(b"\n").unwrap_or(line);
        let bare = bare.strip_suffix(b"\r").unwrap_or(bare);
        at += line.len();
        if let Some(header) = bare.strip_prefix(b">") {
            let name = String::from_utf8_lossy(header).split_whitespace().next().unwrap_or("").to_string();
            if let Some(first) = seen.insert(name.clone(), number) {
                let what = format!("chromosome '{name}' comes twice, first in line {first}");
                return Err(Error::line(path, number, what));
            }
            contigs.push((name, Contig { length: 0, offset: at, line_bases: 0, line_bytes: 0 }));
            ended = false;
            continue;
        }
        let Some((name, contig)) = contigs.last_mut() else {
            return Err(Error::line(path, number, "expected '>' and the name of a chromosome"));
        };
        if bare.is_empty() {
            ended = true;
            continue;
        }
        if contig.length == 0 {
            contig.offset = at - line.len();
            contig.line_bases = bare.len();
            contig.line_bytes = line.len();
        } else if ended || bare.len() > contig.line_bases {
            let what = format!("chromosome '{name}' has lines of uneven length; random access needs equal ones");
            return Err(Error::line(path, number, what));
        }
        contig.length += bare.len();
        ended = bare.len() < contig.line_bases || line.len() != contig.line_bytes;
    }
    Ok(contigs)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, gz_file, text};
    use super::*;

    const FASTA: &[u8] = b">chr1 x\nACGTA\nCCNGT\nTT\n>chr2\nggg\n\n>chr10\nAAAA";

    fn letters(codes: Vec<u8>) -> String {
        codes.into_iter().map(|c| crate::seq::decode(c) as char).collect()
    }

    #[test]
    fn fetches_with_and_without_index() {
        let (folder, path) = file("g.fa", FASTA);
        for indexed in [false, true] {
            if indexed {
                let index = "chr1\t12\t8\t5\t6\nchr2\t3\t29\t3\t4\nchr10\t4\t41\t4\t5\n";
                std::fs::write(folder.path().join("g.fa.fai"), index).unwrap();
            }
            let g = Genome::open(&path).unwrap();
            assert_eq!(g.names(), ["chr1", "chr2", "chr10"]);
            let get = |chrom, start, end| letters(g.fetch(chrom, start, end).unwrap());
            assert_eq!(get("chr1", 0, 12), "ACGTACCNGTTT");
            assert_eq!(get("chr1", 4, 6), "AC");
            assert_eq!(get("chr1", -3, 2), "NNNAC");
            assert_eq!(get("chr1", 10, 15), "TTNNN");
            assert_eq!(get("chr2", -1, 4), "NGGGN");
            assert_eq!(get("chr1", 20, 23), "NNN");
            assert_eq!(get("chr1", -9, -5), "NNNN");
            assert_eq!(get("chr10", 1, 4), "AAA");
            assert_eq!(g.off_ends("chr1", -3, 14).unwrap(), 5);
            assert_eq!(g.off_ends("chr1", -9, -5).unwrap(), 4);
            assert_eq!(g.off_ends("chr1", 3, 12).unwrap(), 0);
            assert_eq!(
                text(g.fetch("1", 0, 1), &folder),
                "no chromosome '1' in g.fa, but it has 'chr1': the files name \
                 chromosomes differently; rename them in one of the two"
            );
            assert_eq!(
                text(g.fetch("chr3", 0, 1), &folder),
                "no chromosome 'chr3' in g.fa; it has chr1, chr2, chr10 (3 in all) (did you mean 'chr1'?)"
            );
            assert_eq!(
                text(g.fetch("chr1", 5, 5), &folder),
                "chr1:5-5: the interval is empty; start must be below end"
            );
        }
    }

    #[test]
    fn windows_line_ends() {
        let (_folder, path) = file("g.fa", b">a\r\nACG\r\nTAC\r\nG\r\n>b\r\nTT\r\n");
        let g = Genome::open(&path).unwrap();
        assert_eq!(letters(g.fetch("a", 0, 7).unwrap()), "ACGTACG");
        assert_eq!(letters(g.fetch("b", 0, 2).unwrap()), "TT");
    }

    #[test]
    fn bad_genomes() {
        let of = |content: &[u8]| {
            let (folder, path) = file("g.fa", content);
            text(Genome::open(&path), &folder)
        };
        assert_eq!(of(b""), "g.fa: the file is empty; expected a genome in FASTA format");
        assert_eq!(of(b"ACGT\n"), "g.fa:1: expected '>' and the name of a chromosome");
        assert_eq!(
            of(b">a\nAC\nACG\n"),
            "g.fa:3: chromosome 'a' has lines of uneven length; random access needs equal ones"
        );
        assert!(of(b">a\nACG\nAC\nACG\n").starts_with("g.fa:4: chromosome 'a' has lines of uneven"));
        assert!(of(b">a\nACG\n\nACG\n").starts_with("g.fa:4"));
        assert_eq!(of(b">a\nACG\n>a\nC\n"), "g.fa:3: chromosome 'a' comes twice, first in line 1");
        let (folder, path) = gz_file("g.fa.gz", FASTA);
        assert!(text(Genome::open(&path), &folder).contains("gzipped genome has no random access"));
    }

    #[test]
    fn a_wrong_index_is_noticed() {
        let (folder, path) = file("g.fa", FASTA);
        let with = |index: &str| {
            std::fs::write(folder.path().join("g.fa.fai"), index).unwrap();
            text(Genome::open(&path), &folder)
        };
        assert_eq!(
            with("chr1\t13\t8\t5\t6\n"),
            "g.fa.fai:1: does not fit the FASTA file at 'chr1'; delete the index, or make it new"
        );
        assert!(with("chr1\t9999\t8\t5\t6\n").contains("does not fit"));
        assert!(with("chr1\t12\t7\t5\t6\n").contains("does not fit"));
        assert!(with("chr1\t12\t8\t0\t0\n").contains("does not fit"));
        assert!(with("chr1\t12\tx\n").contains("expected a name and four numbers"));
        assert!(with("").contains("the index is empty"));
    }
}
