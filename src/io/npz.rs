//! Archives of arrays, as `numpy.savez` and `numpy.savez_compressed` write them.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use zip::ZipArchive;
use zip::result::ZipError;

use super::npy::{self, ArrayReader, Header, Number, Scalar};
use super::zip_stream::ZipStream;
use crate::error::{Error, Result, hint};
use crate::util::fs::write_atomic;

/// An npz archive that is open for reading.
pub struct Npz {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
    keys: Vec<String>,
}

impl Npz {
    /// Opens an archive and reads its directory.
    ///
    /// # Errors
    /// [`Error::Io`] if the file cannot be read, [`Error::Parse`] if it is no whole zip archive.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).map_err(Error::io("read", path))?;
        let archive = ZipArchive::new(BufReader::with_capacity(1 << 16, file)).map_err(|e| match e {
            ZipError::Io(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
                Error::io("read", path)(source)
            }
            other => Error::file(path, format!("no npz archive, or cut off: {other}; expected a file of numpy.savez")),
        })?;
        let key = |name: &str| name.strip_suffix(".npy").unwrap_or(name).to_string();
        let keys = archive.file_names().map(key).collect();
        Ok(Self { path: path.into(), archive, keys })
    }

    /// File that was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Names of the arrays, in the order of the file.
    pub fn keys(&self) -> &[String] {
        &self.keys
    }

    /// Whether there is an array of that name.
    pub fn has(&self, key: &str) -> bool {
        self.keys.iter().any(|k| k == key)
    }

    /// The first of `keys` that the archive has.
    ///
    /// # Errors
    /// [`Error::Parse`] listing the keys that are there, if it has none of them.
    pub fn find<'k>(&self, keys: &[&'k str]) -> Result<&'k str> {
        keys.iter().copied().find(|key| self.has(key)).ok_or_else(|| self.missing(keys.first().copied().unwrap_or("")))
    }

    /// An array for piecewise reading.
    ///
    /// # Errors
    /// [`Error::Parse`] if there is no such array or it has no readable header.
    pub fn stream(&mut self, key: &str) -> Result<ArrayReader<impl Read>> {
        if !self.has(key) {
            return Err(self.missing(key));
        }
        let file = format!("{key}.npy");
        let file = if self.archive.index_for_name(&file).is_some() { file } else { key.to_string() };
        let entry = self
            .archive
            .by_name(&file)
            .map_err(|e| Error::key(&self.path, key, format!("damaged archive: {e}; write the file again")))?;
        ArrayReader::new(entry).map_err(|what| Error::key(&self.path, key, what))
    }

    /// Shape and kind of an array.
    ///
    /// # Errors
    /// As [`Npz::stream`].
    pub fn header(&mut self, key: &str) -> Result<Header> {
        Ok(self.stream(key)?.header().clone())
    }

    /// Shape and numbers of an array in C order, converted from whatever number type the file has.
    ///
    /// # Errors
    /// As [`Npz::stream`], and if it holds text, a value that `T` cannot hold, or too few data.
    pub fn numbers<T: Number>(&mut self, key: &str) -> Result<(Vec<usize>, Vec<T>)> {
        let array = self.stream(key)?.read_all();
        array.map_err(|what| Error::key(&self.path, key, what))
    }

    /// As [`Npz::numbers`] for an array of `R` axes.
    ///
    /// # Errors
    /// As [`Npz::numbers`], and if it has another number of axes.
    pub fn array<T: Number, const R: usize>(&mut self, key: &str) -> Result<([usize; R], Vec<T>)> {
        let header = self.header(key)?;
        let shape: [usize; R] = header.shape.as_slice().try_into().map_err(|_| {
            Error::key(&self.path, key, format!("expected an array of {R} axes, found shape {:?}", header.shape))
        })?;
        Ok((shape, self.numbers(key)?.1))
    }

    /// Texts of an array of one axis (a single text counts as an axis of one).
    ///
    /// # Errors
    /// As [`Npz::stream`], and if it holds numbers or has more axes.
    pub fn strings(&mut self, key: &str) -> Result<Vec<String>> {
        let array = self.stream(key)?.read_strings();
        let (shape, texts) = array.map_err(|what| Error::key(&self.path, key, what))?;
        if shape.len() > 1 {
            return Err(Error::key(&self.path, key, format!("expected a list of texts, found shape {shape:?}")));
        }
        Ok(texts)
    }

    fn missing(&self, key: &str) -> Error {
        let there = if self.keys.is_empty() { "none".to_string() } else { self.keys.join(", ") };
        let similar = hint(key, self.keys.iter().map(String::as_str));
        Error::key(&self.path, key, format!("no such array; the file has: {there}{similar}"))
    }
}

/// Writes an npz archive (deflated, readable by `numpy.load` without pickles) that appears whole or not at all.
///
/// # Errors
/// [`Error::Io`] if it cannot be written, or whatever `fill` returns.
pub fn write_npz(path: &Path, fill: impl FnOnce(&mut NpzWriter<'_>) -> Result<()>) -> Result<()> {
    write_atomic(path, |out| {
        let mut writer = NpzWriter { path, zip: ZipStream::new(out), keys: Vec::new() };
        fill(&mut writer)?;
        writer.zip.finish().map_err(Error::io("write", path))
    })
}

/// An npz archive that is being written; made by [`write_npz`].
pub struct NpzWriter<'a> {
    path: &'a Path,
    zip: ZipStream<'a>,
    keys: Vec<String>,
}

impl<'a> NpzWriter<'a> {
    /// Adds an array of numbers in C order.
    ///
    /// # Errors
    /// [`Error::Argument`] if the key is taken or `values` does not fill `shape`; [`Error::Io`].
    pub fn array<T: Scalar>(&mut self, key: &str, shape: &[usize], values: &[T]) -> Result<()> {
        let mut array = self.start(key, shape)?;
        array.push(values)?;
        array.finish()
    }

    /// Adds an array of numbers that comes in blocks, in C order; only one block is in memory at a time.
    ///
    /// # Errors
    /// As [`NpzWriter::array`], and what the blocks themselves return.
    pub fn blocks<T: Scalar, B: AsRef<[T]>>(
        &mut self,
        key: &str,
        shape: &[usize],
        blocks: impl IntoIterator<Item = Result<B>>,
    ) -> Result<()> {
        let mut array = self.start(key, shape)?;
        for block in blocks {
            array.push(block?.as_ref())?;
        }
        array.finish()
    }

    /// Opens an array whose numbers are pushed in C order; it must be finished before the next one starts.
    ///
    /// # Errors
    /// [`Error::Argument`] if the key is taken; [`Error::Io`].
    pub fn start<T: Scalar>(&mut self, key: &str, shape: &[usize]) -> Result<ArrayWriter<'_, 'a, T>> {
        self.begin(key, &npy::dtype_of::<T>(), shape)?;
        let left = shape.iter().product();
        Ok(ArrayWriter { npz: self, key: key.into(), left, element: std::marker::PhantomData })
    }

    /// Adds a list of texts.
    ///
    /// # Errors
    /// [`Error::Argument`] if the key is taken; [`Error::Io`].
    pub fn strings<S: AsRef<str>>(&mut self, key: &str, texts: &[S]) -> Result<()> {
        let (dtype, data) = npy::encode_strings(texts);
        self.begin(key, &dtype, &[texts.len()])?;
        self.zip.write(&data).map_err(Error::io("write", self.path))?;
        self.zip.end().map_err(Error::io("write", self.path))
    }

    fn begin(&mut self, key: &str, dtype: &str, shape: &[usize]) -> Result<()> {
        if self.keys.iter().any(|k| k == key) {
            return Err(Error::Argument { op: "npz", what: format!("key '{key}' is written twice") });
        }
        self.keys.push(key.into());
        self.zip.begin(&format!("{key}.npy")).map_err(Error::io("write", self.path))?;
        self.zip.write(&npy::header_bytes(dtype, shape)).map_err(Error::io("write", self.path))
    }
}

/// One array of an archive that is being written.
pub struct ArrayWriter<'w, 'a, T> {
    npz: &'w mut NpzWriter<'a>,
    key: String,
    left: usize,
    element: std::marker::PhantomData<T>,
}

impl<T: Scalar> ArrayWriter<'_, '_, T> {
    /// Adds the next numbers.
    ///
    /// # Errors
    /// [`Error::Argument`] if they are more than the shape has room for; [`Error::Io`].
    pub fn push(&mut self, values: &[T]) -> Result<()> {
        match self.left.checked_sub(values.len()) {
            Some(left) => self.left = left,
            None => {
                let what = format!("key '{}': {} values more than its shape", self.key, values.len() - self.left);
                return Err(Error::Argument { op: "npz", what });
            }
        }
        self.npz.zip.write(bytemuck::cast_slice(values)).map_err(Error::io("write", self.npz.path))
    }

    /// Closes the array.
    ///
    /// # Errors
    /// [`Error::Argument`] if numbers are missing; [`Error::Io`].
    pub fn finish(self) -> Result<()> {
        if self.left > 0 {
            let what = format!("key '{}': {} values fewer than its shape", self.key, self.left);
            return Err(Error::Argument { op: "npz", what });
        }
        self.npz.zip.end().map_err(Error::io("write", self.npz.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example(path: &Path) {
        write_npz(path, |w| {
            w.array("values", &[2, 3], &[1f32, 2.0, 3.0, 4.0, 5.0, f32::NAN])?;
            w.strings("names", &["a", "bé"])?;
            w.array("one", &[], &[7i64])?;
            w.blocks("big", &[3, 50_000], (0..3).map(|i| Ok(vec![i as i8; 50_000])))
        })
        .unwrap();
    }

    #[test]
    fn there_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        example(&path);
        let mut npz = Npz::open(&path).unwrap();
        assert_eq!(npz.keys(), ["values", "names", "one", "big"]);
        let ([n, t], values) = npz.array::<f64, 2>("values").unwrap();
        assert_eq!((n, t, values[4], values[5].is_nan()), (2, 3, 5.0, true));
        assert_eq!(npz.strings("names").unwrap(), ["a", "bé"]);
        assert_eq!(npz.array::<u8, 0>("one").unwrap(), ([], vec![7]));
        assert_eq!(npz.find(&["columns", "names"]).unwrap(), "names");
        let mut stream = npz.stream("big").unwrap();
        let mut row = vec![0u8; 50_000];
        for i in 0..3 {
            stream.read(&mut row).unwrap();
            assert!(row.iter().all(|&v| v == i));
        }
        let first = std::fs::read(&path).unwrap();
        example(&path);
        assert_eq!(first, std::fs::read(&path).unwrap());
    }

    #[test]
    fn errors_name_file_and_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        example(&path);
        let shown = path.display().to_string();
        let mut npz = Npz::open(&path).unwrap();
        assert_eq!(
            npz.strings("name").unwrap_err().to_string(),
            format!(
                "{shown}, key 'name': no such array; the file has: values, names, one, big (did you mean 'names'?)"
            )
        );
        assert_eq!(
            npz.array::<f32, 3>("values").unwrap_err().to_string(),
            format!("{shown}, key 'values': expected an array of 3 axes, found shape [2, 3]")
        );
        assert!(npz.strings("values").unwrap_err().to_string().ends_with("numbers (dtype <f4); expected text"));
        assert!(npz.numbers::<f32>("names").unwrap_err().to_string().ends_with("text (dtype <U2); expected numbers"));
        assert!(npz.find(&["x", "y"]).unwrap_err().to_string().contains("key 'x'"));

        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let cut = Npz::open(&path).err().unwrap();
        assert!(cut.to_string().starts_with(&format!("{shown}: no npz archive, or cut off")), "{cut}");
        std::fs::write(&path, b"").unwrap();
        assert!(Npz::open(&path).is_err());
        assert_eq!(Npz::open(&folder.path().join("no.npz")).err().unwrap().exit_code(), 2);

        let mut damaged = whole;
        let at = 200;
        damaged[at] ^= 0x55;
        std::fs::write(&path, &damaged).unwrap();
        let keys = ["values", "names", "one", "big"];
        let mut npz = Npz::open(&path).unwrap();
        assert!(keys.iter().any(|key| npz.stream(key).map(|_| ()).is_err() || npz.numbers::<f64>(key).is_err()));
    }

    #[test]
    fn wrong_amounts_write_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.npz");
        let text = |r: Result<()>| r.unwrap_err().to_string();
        assert_eq!(
            text(write_npz(&path, |w| w.array("x", &[2, 2], &[1u8]))),
            "npz: key 'x': 3 values fewer than its shape"
        );
        assert_eq!(
            text(write_npz(&path, |w| w.array("x", &[1], &[1u8, 2, 3]))),
            "npz: key 'x': 2 values more than its shape"
        );
        let twice = write_npz(&path, |w| {
            w.strings("x", &["a"])?;
            w.strings("x", &["b"])
        });
        assert_eq!(text(twice), "npz: key 'x' is written twice");
        assert!(!path.exists());
    }
}
