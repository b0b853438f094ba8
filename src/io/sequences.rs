//! Sequences from whatever a user names: FASTA, one-hot npz, a table, or `regions.bed@genome.fa`.

use std::io::{BufRead, Read};
use std::path::Path;

use super::bed::{fetch_regions, read_bed};
use super::fasta::read_fasta;
use super::genome::Genome;
use super::npy::{ArrayReader, Kind};
use super::npz::{Npz, write_npz};
use super::table::Table;
use super::{Notes, text};
use crate::error::{Error, Result};
use crate::seq::one_hot::{not_one_hot, pack_column, unpack_i8};
use crate::seq::{Sequences, UNKNOWN, duplicate};

/// How sequences are read.
#[derive(Clone, Debug, Default)]
pub struct SequenceOptions {
    /// Leaves out the channels of a one-hot file after the first four, instead of refusing it.
    pub regionless: bool,
    /// Column of a table that holds the sequences; found by its name if not given.
    pub sequence_column: Option<String>,
    /// Column of a table that holds the names; found by its name if not given.
    pub name_column: Option<String>,
    /// Sign between the columns of a table; found by the suffix of the file if not given.
    pub delimiter: Option<char>,
    /// Length of the windows around the centres of regions; the regions as they are if not given.
    pub region_length: Option<usize>,
}

/// Reads the sequences that `spec` names, in the order of the file. The kind is seen by the content of the file: a zip
/// archive is npz, `>` starts FASTA, anything else is a table; `regions.bed@genome.fa` are regions of a genome.
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] naming file and place; [`Error::Argument`].
pub fn read_sequences(spec: &str, options: &SequenceOptions) -> Result<(Sequences, Notes)> {
    let path = Path::new(spec);
    if let (false, Some((bed, genome))) = (path.exists(), spec.rsplit_once('@')) {
        let bed = Path::new(bed);
        return fetch_regions(bed, read_bed(bed)?, &Genome::open(Path::new(genome))?, options.region_length);
    }
    let mut input = text::open(path)?;
    let start = input.fill_buf().map_err(Error::io("read", path))?;
    if start.is_empty() {
        return Err(Error::file(path, "the file is empty; expected FASTA, one-hot npz or a table with sequences"));
    }
    let first = start.iter().copied().find(|b| !b.is_ascii_whitespace());
    let suffix = text::extension(path);
    if start.starts_with(b"PK") || suffix == "npz" {
        read_one_hot(path, options)
    } else if matches!(first, Some(b'>' | b';')) || ["fa", "fasta", "fna"].contains(&suffix.as_str()) {
        read_fasta(path)
    } else if ["bed", "narrowpeak"].contains(&suffix.as_str()) {
        Err(Error::Usage(format!("{spec}: regions need their genome; write {spec}@genome.fa")))
    } else {
        let table = Table::read(path, options.delimiter)?;
        table.sequences(options.sequence_column.as_deref(), options.name_column.as_deref())
    }
}

/// Writes sequences as a one-hot npz file: `seqfeatures` `[N, L, 4]` int8, `genenames`, `featurenames`.
///
/// # Errors
/// [`Error::Io`]; [`Error::Argument`] for columns of 0.25, which int8 cannot hold.
pub fn write_one_hot(path: &Path, sequences: &Sequences) -> Result<()> {
    write_npz(path, |w| {
        let rows = (0..sequences.len()).map(|i| unpack_i8(sequences.row(i)));
        w.blocks("seqfeatures", &[sequences.len(), sequences.length, 4], rows)?;
        w.strings("genenames", &sequences.names)?;
        w.strings("featurenames", &["A", "C", "G", "T"])
    })
}

/// Reads a one-hot file: `seqfeatures` `[N, L, 4]` or `[N, 4, L]` and `genenames` (or `names`).
fn read_one_hot(path: &Path, options: &SequenceOptions) -> Result<(Sequences, Notes)> {
    let mut npz = Npz::open(path)?;
    let names_key = npz.find(&["genenames", "names"])?;
    let names = npz.strings(names_key)?;
    if let Some((name, first, second)) = duplicate(&names) {
        let what = format!("name '{name}' comes twice (rows {} and {}); names must be unique", first + 1, second + 1);
        return Err(Error::key(path, names_key, what));
    }
    if npz.has("featurenames") {
        check_channels(path, &mut npz)?;
    }
    let array = npz.stream("seqfeatures")?;
    let header = array.header().clone();
    let wrong = |what: String| Error::key(path, "seqfeatures", what);
    let [n, a, b] = header.shape[..] else {
        return Err(wrong(match header.shape.len() {
            2 => format!("k-mer counts (shape {:?}) are no sequences; expected one-hot [N, L, 4]", header.shape),
            _ => format!("expected one-hot [N, L, 4], found shape {:?}", header.shape),
        }));
    };
    let (length, channels, channels_first) = if b != 4 && a == 4 { (b, 4, true) } else { (a, b, false) };
    if channels < 4 || (channels > 4 && !options.regionless) {
        let what = format!("found shape [{n}, {a}, {b}]; expected 4 channels A, C, G, T on the last axis");
        let advice = if channels > 4 { " (--regionless leaves the others out)" } else { "" };
        return Err(wrong(what + advice));
    }
    if names.len() != n {
        return Err(Error::key(path, names_key, format!("{} names for {n} rows of 'seqfeatures'", names.len())));
    }
    if n == 0 || length == 0 {
        return Err(wrong(format!("there is no sequence (shape [{n}, {a}, {b}])")));
    }
    let layout = Layout { length, channels, channels_first };
    let mut bases = vec![UNKNOWN; n * length];
    if array.is_c_order() {
        pack_rows(array, &layout, &mut bases)
    } else {
        let (_, values) = array.read_all::<f32>().map_err(&wrong)?;
        let mut rows = bases.chunks_exact_mut(length).zip(values.chunks_exact(length * channels)).enumerate();
        rows.try_for_each(|(i, (row, values))| layout.pack(values, row).map_err(|e| (i, e)))
    }
    .map_err(|(i, what)| wrong(format!("sequence '{}' (row {}): {what}", names[i], i + 1)))?;
    let notes = Notes { channels_left_out: channels - 4, letters: bases.len(), ..Notes::default() };
    Ok((Sequences::from_packed(names, length, bases, 0)?, notes))
}

/// Named channels must be in the order of the model; numbers are no names.
fn check_channels(path: &Path, npz: &mut Npz) -> Result<()> {
    let key = "featurenames";
    if !matches!(npz.header(key)?.kind, Kind::Text(_) | Kind::Bytes(_)) {
        return Ok(());
    }
    let channels = npz.strings(key)?;
    let first: String = channels.iter().take(4).map(|c| c.trim().to_ascii_uppercase()).collect();
    let mut sorted: Vec<u8> = first.replace('U', "T").into_bytes();
    sorted.sort_unstable();
    if sorted == *b"ACGT" && first.replace('U', "T") != "ACGT" {
        return Err(Error::key(path, key, format!("channels are in the order {first}; expected A, C, G, T")));
    }
    Ok(())
}

/// How one row of a one-hot array lies.
struct Layout {
    length: usize,
    channels: usize,
    channels_first: bool,
}

impl Layout {
    fn pack<T: Copy + Into<f64>>(&self, values: &[T], row: &mut [u8]) -> std::result::Result<(), String> {
        for (i, code) in row.iter_mut().enumerate() {
            let at = |channel: usize| {
                let index = if self.channels_first { channel * self.length + i } else { i * self.channels + channel };
                values[index].into()
            };
            let column = [at(0), at(1), at(2), at(3)];
            *code = pack_column(column).ok_or_else(|| not_one_hot(i, column))?;
        }
        Ok(())
    }
}

/// Row by row, so that only the packed form (a quarter, or a sixteenth of float32) is ever whole in memory.
fn pack_rows<R: Read>(
    mut array: ArrayReader<R>,
    layout: &Layout,
    bases: &mut [u8],
) -> std::result::Result<(), (usize, String)> {
    let small = matches!(array.header().kind, Kind::Bool | Kind::Int(1) | Kind::Unsigned(1));
    let mut bytes = vec![0i8; if small { layout.length * layout.channels } else { 0 }];
    let mut floats = vec![0f32; if small { 0 } else { layout.length * layout.channels }];
    for (i, row) in bases.chunks_exact_mut(layout.length).enumerate() {
        let packed = if small {
            array.read(&mut bytes).and_then(|()| layout.pack(&bytes, row))
        } else {
            array.read(&mut floats).and_then(|()| layout.pack(&floats, row))
        };
        packed.map_err(|what| (i, what))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, shared, text};
    use super::*;

    fn read(path: &Path) -> Result<(Sequences, Notes)> {
        read_sequences(path.to_str().unwrap(), &SequenceOptions::default())
    }

    fn write<T: super::super::npy::Scalar>(path: &Path, shape: &[usize], values: &[T], names: &[&str]) {
        write_npz(path, |w| {
            w.array("seqfeatures", shape, values)?;
            w.strings("genenames", names)
        })
        .unwrap();
    }

    #[test]
    fn kinds_are_seen_by_content() {
        let (_a, path) = file("x.txt", ">a\nAC\n");
        assert_eq!(read(&path).unwrap().0.to_string(0), "AC");
        let (_b, path) = file("x.dat", "id\tseq\na\tACG\n");
        assert_eq!(read(&path).unwrap().0.to_string(0), "ACG");
        let (folder, path) = file("r.bed", "chr1\t1\t3\nchr1\t0\t2\tx\t0\t-\n");
        assert!(text(read(&path), &folder).starts_with("r.bed: regions need their genome; write "));
        let genome = folder.path().join("g@2.fa");
        std::fs::write(&genome, ">chr1\nACCGT\n").unwrap();
        let good = folder.path().join("g.fa");
        std::fs::rename(&genome, &good).unwrap();
        let spec = format!("{}@{}", path.display(), good.display());
        let (s, _) = read_sequences(&spec, &SequenceOptions::default()).unwrap();
        assert_eq!((s.to_string(0), s.to_string(1)), ("CC".into(), "GT".into()));
        let wide = SequenceOptions { region_length: Some(4), ..SequenceOptions::default() };
        assert_eq!(read_sequences(&spec, &wide).unwrap().0.to_string(0), "ACCG");
        let (folder, path) = file("x.fa", "");
        assert!(text(read(&path), &folder).starts_with("x.fa: the file is empty"));
        assert_eq!(read(&folder.path().join("none.fa")).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn one_hot_there_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npz");
        let names = ["b", "a"].map(String::from).to_vec();
        let s = Sequences::from_strings(names, &["ACGTN", "TT"]).unwrap();
        write_one_hot(&path, &s).unwrap();
        let (back, notes) = read(&path).unwrap();
        assert_eq!((&back.names, &back.bases, back.length, notes.sentences().len()), (&s.names, &s.bases, 5, 0));
        let first = [1f32, 0.0, 0.25, 0.0, 0.0, 0.25, 0.0, 0.0, 0.25, 0.0, 1.0, 0.25];
        write(&path, &[1, 4, 3], &first, &["a"]);
        assert_eq!(read(&path).unwrap().0.bases, [0, 3, 5]);
        let uniform = Sequences::from_rows(vec!["a".into()], &[[0u8, 5]], 0).unwrap();
        assert!(write_one_hot(&path, &uniform).unwrap_err().to_string().contains("int8 cannot hold"));
    }

    #[test]
    fn bad_one_hot_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npz");
        let said = |path: &Path| text(read(path), &folder);
        write(&path, &[1, 2, 4], &[1i8, 0, 0, 0, 1, 1, 0, 0], &["a"]);
        assert_eq!(
            said(&path),
            "x.npz, key 'seqfeatures': sequence 'a' (row 1): position 1 is [1.0, 1.0, 0.0, 0.0]; expected a single 1, \
             all 0 or all 0.25 (order A, C, G, T)"
        );
        write(&path, &[1, 1, 6], &[0i8, 1, 0, 0, 1, 0], &["a"]);
        assert_eq!(
            said(&path),
            "x.npz, key 'seqfeatures': found shape [1, 1, 6]; expected 4 channels A, C, G, T on the last axis \
             (--regionless leaves the others out)"
        );
        let regionless = SequenceOptions { regionless: true, ..SequenceOptions::default() };
        let (s, notes) = read_sequences(path.to_str().unwrap(), &regionless).unwrap();
        assert_eq!((s.bases, notes.channels_left_out), (vec![1], 2));
        write(&path, &[1, 1, 4], &[0i8, 1, 0, 0], &["a", "b"]);
        assert_eq!(said(&path), "x.npz, key 'genenames': 2 names for 1 rows of 'seqfeatures'");
        write(&path, &[2, 1, 4], &[0i8; 8], &["a", "a"]);
        assert_eq!(said(&path), "x.npz, key 'genenames': name 'a' comes twice (rows 1 and 2); names must be unique");
        write(&path, &[2, 4], &[0i8; 8], &["a", "b"]);
        assert!(said(&path).contains("k-mer counts (shape [2, 4]) are no sequences"));
        write_npz(&path, |w| w.strings("genenames", &["a"])).unwrap();
        assert_eq!(said(&path), "x.npz, key 'seqfeatures': no such array; the file has: genenames");
        write_npz(&path, |w| {
            w.array("seqfeatures", &[1, 1, 4], &[0u8; 4])?;
            w.strings("genenames", &["a"])?;
            w.strings("featurenames", &["A", "C", "T", "G"])
        })
        .unwrap();
        assert_eq!(said(&path), "x.npz, key 'featurenames': channels are in the order ACTG; expected A, C, G, T");
    }

    /// Two sequences are no pair of array and names.
    #[test]
    fn a_file_of_two_sequences() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npz");
        write(&path, &[2, 2, 4], &[1i8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0], &["a", "b"]);
        let (s, _) = read(&path).unwrap();
        assert_eq!((s.to_string(0), s.to_string(1)), ("AT".into(), "CN".into()));
    }

    #[test]
    fn a_file_that_numpy_wrote() {
        let Some(path) = shared("01_baseline/io.npz") else {
            return;
        };
        let (s, _) = read(&path).unwrap();
        assert_eq!((s.len(), s.length), (4, 268));
        let mut npz = Npz::open(&path).unwrap();
        let one_hot = npz.numbers::<i8>("seqfeatures").unwrap().1;
        let again: Vec<i8> = (0..4).flat_map(|i| unpack_i8(s.row(i)).unwrap()).collect();
        assert_eq!(one_hot, again);
        assert!(s.row(2).ends_with(&[UNKNOWN; 2]) && s.row(3).starts_with(&[UNKNOWN; 2]));
    }
}
