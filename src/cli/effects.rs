//! Mutation effects from an npz archive, sequence by sequence.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::io::npz::Npz;

/// An archive of effects: `values` `(N, T, 4, L)` or `(N, 4, L)`, `names`, `tracks`, `bases`, and `start` where they
/// are of a part of the sequences.
pub(super) struct Effects {
    path: PathBuf,
    npz: Npz,
    /// Names of the N sequences.
    pub names: Vec<String>,
    /// Names of the T tracks.
    pub tracks: Vec<String>,
    /// Length L.
    pub length: usize,
    /// First position of the L in the sequences; none where the file does not say.
    pub start: Option<usize>,
}

impl Effects {
    /// Opens an archive and reads its names.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Parse`] for shapes that do not fit.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let mut npz = Npz::open(path)?;
        let shape = npz.header("values")?.shape;
        let (n, t, length) = match shape[..] {
            [n, t, 4, l] => (n, t, l),
            [n, 4, l] => (n, 1, l),
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
        Ok(Self { path: path.into(), npz, names, tracks, length, start })
    }

    /// Base codes `[N, L]`.
    ///
    /// # Errors
    /// [`Error::Parse`] if the archive has none or they do not fit.
    pub(super) fn bases(&mut self) -> Result<Vec<u8>> {
        let ([n, l], bases) = self.npz.array::<u8, 2>("bases")?;
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
        let mut values = self.npz.stream("values")?;
        if !values.is_c_order() {
            return Err(damaged("the array is in Fortran order; save it with numpy.ascontiguousarray".into()));
        }
        let mut effects = vec![0.0; self.tracks.len() * 4 * self.length];
        for n in 0..=last {
            values.read(&mut effects).map_err(damaged)?;
            if wanted(n) {
                f(n, &effects)?;
            }
        }
        Ok(())
    }
}
