//! Mutation effects from an npz archive or a Zarr group, sequence by sequence.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::npz::Npz;
use crate::io::zarr::{FloatArray, ZarrReader};

/// An archive or a group of effects: `values` `(N, T, 4, L)` or `(N, 4, L)`, `names`, `tracks`, `bases`, and `start` where
/// they are of a part of the sequences.
pub(super) struct Effects {
    path: PathBuf,
    source: Source,
    /// Names of the N sequences.
    pub names: Vec<String>,
    /// Names of the T tracks.
    pub tracks: Vec<String>,
    /// Length L.
    pub length: usize,
    /// First position of the L in the sequences; none where the file does not say.
    pub start: Option<usize>,
}

enum Source {
    Npz(Npz),
    Zarr(Box<(ZarrReader, FloatArray)>),
}

impl Effects {
    /// Opens an archive, or a folder that is a group, and reads its names.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] for shapes that do not fit.
    pub(super) fn open(path: &Path) -> Result<Self> {
        if path.is_dir() {
            return Self::open_group(path);
        }
        let mut npz = Npz::open(path)?;
        let shape = npz.header("values")?.shape;
        let (n, t, length) = match shape[..] {
            [n, t, 4, l] => (n, t, l),
            [n, 4, l] => (n, 1, l),
            [_, _, 1, _] => {
                let what = "one number a position (the gauge mean-effect); expected the effects of all four bases";
                return Err(Error::key(path, "values", what));
            }
            _ => {
                let what = format!("expected effects of shape (N, T, 4, L) or (N, 4, L), found {shape:?}");
                return Err(Error::key(path, "values", what));
            }
        };
        if n * t * length == 0 {
            return Err(Error::key(path, "values", format!("no effects: the shape is {shape:?}")));
        }
        let names = npz.strings("names")?;
        let tracks = match ["tracks", "columns"].into_iter().find(|key| npz.has(key)) {
            Some(key) => npz.strings(key)?,
            None => (0..t).map(|i| format!("C{i}")).collect(),
        };
        for (key, found, expected) in [("names", names.len(), n), ("tracks", tracks.len(), t)] {
            if found != expected {
                return Err(Error::key(path, key, format!("{found} names for effects of shape {shape:?}")));
            }
        }
        let start = match npz.has("start") {
            true => npz.numbers::<i64>("start")?.1.first().and_then(|&start| usize::try_from(start).ok()),
            false => None,
        };
        Ok(Self { path: path.into(), source: Source::Npz(npz), names, tracks, length, start })
    }

    fn open_group(path: &Path) -> Result<Self> {
        let group = ZarrReader::open(path)?;
        let values = group.array("values")?;
        let [n, t, 4, length] = values.shape()[..] else {
            let what = format!("expected effects of shape (N, T, 4, L), found {:?}", values.shape());
            return Err(Error::key(path, "values", what));
        };
        let (names, tracks) = (group.small::<String>("names")?.1, group.small::<String>("tracks")?.1);
        if (names.len() as u64, tracks.len() as u64) != (n, t) || n * t * length == 0 {
            let what = format!("{} names and {} tracks for effects of {n} and {t}", names.len(), tracks.len());
            return Err(Error::key(path, "values", what));
        }
        let start = group.small::<i64>("start")?.1.first().and_then(|&start| usize::try_from(start).ok());
        let source = Source::Zarr(Box::new((group, values)));
        Ok(Self { path: path.into(), source, names, tracks, length: length as usize, start })
    }

    /// Base codes `[N, L]`.
    ///
    /// # Errors
    /// [`Error::Parse`] if the archive has none or they do not fit.
    pub(super) fn bases(&mut self) -> Result<Vec<u8>> {
        let ([n, l], bases) = match &mut self.source {
            Source::Npz(npz) => npz.array::<u8, 2>("bases")?,
            Source::Zarr(both) => {
                let (shape, bases) = both.0.small::<u8>("bases")?;
                let shape: [u64; 2] = shape[..].try_into().unwrap_or_default();
                (shape.map(|s| s as usize), bases)
            }
        };
        if (n, l) != (self.names.len(), self.length) {
            let what = format!("expected shape ({}, {}), found ({n}, {l})", self.names.len(), self.length);
            return Err(Error::key(&self.path, "bases", what));
        }
        Ok(bases)
    }

    /// Calls `f` with the index and the effects `[T, 4, L]` of each sequence that is `wanted`, in the order of the file;
    /// one sequence is in memory at a time.
    ///
    /// # Errors
    /// [`Error::Parse`] for damaged data, and what `f` returns.
    pub(super) fn each(
        &mut self,
        wanted: impl Fn(usize) -> bool,
        mut f: impl FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        let Some(last) = (0..self.names.len()).rfind(|&n| wanted(n)) else {
            return Ok(());
        };
        let path = &self.path;
        let damaged = |what: String| Error::key(path, "values", what);
        let (t, l) = (self.tracks.len(), self.length);
        let npz = match &mut self.source {
            Source::Npz(npz) => npz,
            Source::Zarr(both) => {
                let values = &both.1;
                for n in (0..=last).filter(|&n| wanted(n)) {
                    let effects = values.read_region(&[n as u64, 0, 0, 0], &[1, t as u64, 4, l as u64])?;
                    if effects.iter().any(|v| v.is_nan()) {
                        let what = format!("effects of '{}' are missing; finish it with --resume", self.names[n]);
                        return Err(damaged(what));
                    }
                    f(n, &effects)?;
                }
                return Ok(());
            }
        };
        let mut values = npz.stream("values")?;
        if !values.is_c_order() {
            return Err(damaged("the array is in Fortran order; save it with numpy.ascontiguousarray".into()));
        }
        let mut effects = vec![0.0; t * 4 * l];
        for n in 0..=last {
            values.read(&mut effects).map_err(damaged)?;
            if wanted(n) {
                f(n, &effects)?;
            }
        }
        Ok(())
    }
}
