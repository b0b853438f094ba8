//! Files: one format, one file. Nothing is printed here: what a reader noticed comes back as [`Notes`].

pub mod baseline;
pub mod bed;
pub mod classes;
pub mod dataset;
pub mod fasta;
pub mod folds;
pub mod genome;
pub mod npy;
pub mod npz;
pub mod pth;
pub mod sequences;
pub mod table;
pub mod targets;
pub mod text;
pub mod vcf;
pub mod zarr;

mod zip_stream;

/// What a reader noticed that is no error, but that a user may want to know.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Letters outside ACGT(U) that were read.
    pub unknown_letters: usize,
    /// Letters that were read in all.
    pub letters: usize,
    /// Names of entries that were left out because they hold no sequence.
    pub dropped: Vec<String>,
    /// Sequences that are shorter than the longest and were filled.
    pub filled: usize,
    /// Regions that reach beyond the ends of their chromosome.
    pub off_ends: usize,
    /// One-hot channels after the first four that were left out on request.
    pub channels_left_out: usize,
}

impl Notes {
    /// One sentence for each thing that was noticed; empty if there was none.
    pub fn sentences(&self) -> Vec<String> {
        let mut said = Vec::new();
        if self.unknown_letters > 0 {
            let percent = 100.0 * self.unknown_letters as f64 / self.letters.max(1) as f64;
            let n = self.unknown_letters;
            said.push(format!("{n} letters ({percent:.3} %) are none of A, C, G, T, U and count as unknown"));
        }
        if !self.dropped.is_empty() {
            let n = self.dropped.len();
            said.push(format!("{n} entries without a sequence were left out: {}", first_few(&self.dropped)));
        }
        if self.filled > 0 {
            said.push(format!("{} sequences are shorter than the longest and were filled at the end", self.filled));
        }
        if self.off_ends > 0 {
            said.push(format!("{} regions reach beyond their chromosome; unknown bases stand there", self.off_ends));
        }
        if self.channels_left_out > 0 {
            said.push(format!("{} channels after A, C, G, T were left out", self.channels_left_out));
        }
        said
    }
}

/// The first three of a list of names, for messages.
pub(crate) fn first_few<S: AsRef<str>>(names: &[S]) -> String {
    let shown: Vec<&str> = names.iter().take(3).map(AsRef::as_ref).collect();
    format!("{}{}", shown.join(", "), if names.len() > 3 { ", ..." } else { "" })
}

#[cfg(test)]
pub(crate) mod testing {
    use std::io::Write;
    use std::path::PathBuf;

    /// A file in a folder that lives as long as the first value.
    pub fn file(name: &str, content: impl AsRef<[u8]>) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        (folder, path)
    }

    /// The same, packed by gzip in two members, as bgzip does.
    pub fn gz_file(name: &str, content: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let mut packed = Vec::new();
        for part in content.chunks(content.len() / 2 + 1) {
            let mut gz = flate2::write::GzEncoder::new(&mut packed, flate2::Compression::default());
            gz.write_all(part).unwrap();
            gz.finish().unwrap();
        }
        file(name, packed)
    }

    /// A file of the shared fixtures, or `None` (and a line on stderr) where they are not there.
    pub fn shared(path: &str) -> Option<PathBuf> {
        let root = std::env::var_os("DRG_SHARED")
            .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared")), PathBuf::from);
        let path = root.join("fixtures").join(path);
        if path.exists() {
            return Some(path);
        }
        eprintln!("skipped: no {}", path.display());
        None
    }

    /// Text of an error, with the folder of the file cut off.
    pub fn text<T>(result: crate::Result<T>, folder: &tempfile::TempDir) -> String {
        let text = result.map(|_| ()).unwrap_err().to_string();
        text.replace(&format!("{}/", folder.path().display()), "")
    }
}
