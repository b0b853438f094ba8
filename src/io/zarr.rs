//! Results larger than memory: a folder in the format Zarr v3, whose float arrays are written chunk by chunk, in any
//! order and from several threads. Python's `zarr` (3 or later) reads it.
//!
//! Every file goes through [`crate::util::fs`], so that a chunk is there whole or not at all, whenever the program is
//! stopped. Which chunks are there ([`FloatArray::has_chunk`]) tells a later run where to go on. Chunks are plain
//! little-endian numbers, not compressed: the mantissas of model outputs hardly shrink.

mod layout;

use std::path::{Path, PathBuf};

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde_json::{Map, Value};
use zarrs_metadata::v3::GroupMetadataV3;

use crate::error::{Error, Result};
use crate::util::fs::{remove_leftovers, write_bytes};
use layout::{DESCRIPTION, Layout, argument, copy_box, expect_length};

/// Element type of a float array on disk; in memory it is `f32` either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FloatType {
    /// IEEE single precision.
    F32,
    /// IEEE half precision, rounded to nearest even.
    F16,
}

/// Element types of arrays that are written in one piece: `u8`, `i64`, `f32`, `f64`, `String`.
pub trait SmallElement: layout::Element {}

impl SmallElement for u8 {}
impl SmallElement for i64 {}
impl SmallElement for f32 {}
impl SmallElement for f64 {}
impl SmallElement for String {}

/// A group that is being written. Arrays may be written from several threads, but only one process may write a group.
#[derive(Debug)]
pub struct ZarrWriter {
    path: PathBuf,
    description: GroupMetadataV3,
}

impl ZarrWriter {
    /// Makes the folder `path` (its parent must exist; an empty folder will do) with the attributes of the group.
    ///
    /// # Errors
    /// [`Error::Usage`] if there is something already; [`Error::Io`].
    pub fn create(path: &Path, attributes: Map<String, Value>) -> Result<Self> {
        match std::fs::create_dir(path) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                let read = |path: &Path| std::fs::read_dir(path).map_err(Error::io("read", path));
                if !path.is_dir() || read(path)?.next().is_some() {
                    let what = format!("{} exists; remove it, name another, or resume it", path.display());
                    return Err(Error::Usage(what));
                }
            }
            made => made.map_err(Error::io("create", path))?,
        }
        let mut writer = Self { path: path.into(), description: GroupMetadataV3::new() };
        writer.set_attributes(attributes)?;
        Ok(writer)
    }

    /// Opens a group that an earlier run has begun, and removes what it left half written.
    ///
    /// # Errors
    /// As [`ZarrReader::open`].
    pub fn open(path: &Path) -> Result<Self> {
        let description = layout::read_group(path)?;
        remove_leftovers(path)?;
        Ok(Self { path: path.into(), description })
    }

    /// Attributes of the group.
    pub fn attributes(&self) -> &Map<String, Value> {
        &self.description.attributes
    }

    /// Replaces the attributes of the group.
    ///
    /// # Errors
    /// [`Error::Io`].
    fn set_attributes(&mut self, attributes: Map<String, Value>) -> Result<()> {
        self.description.attributes = attributes;
        write_bytes(&self.path.join(DESCRIPTION), self.description.to_string_pretty().as_bytes())
    }

    /// A float array of a shape, in chunks of a shape. One that an earlier run has begun is opened with its chunks if
    /// it is laid out like that.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name or a shape that cannot be; [`Error::Parse`] if there is an array of this name that
    /// is damaged or laid out otherwise; [`Error::Io`].
    pub fn array(&self, name: &str, shape: &[u64], chunk: &[u64], kind: FloatType) -> Result<FloatArray> {
        let layout = match kind {
            FloatType::F32 => Layout::new::<f32>(&self.path, name, shape, chunk)?,
            FloatType::F16 => Layout::new::<f16>(&self.path, name, shape, chunk)?,
        };
        if !layout.description().exists() {
            layout.write_description()?;
            return Ok(FloatArray { layout, kind });
        }
        let there = FloatArray::open(&self.path, name)?;
        if (there.shape(), there.chunk_shape(), there.kind) == (shape, chunk, kind) {
            return Ok(there);
        }
        let what = format!(
            "expected {kind:?} {shape:?} in chunks of {chunk:?}, found {:?} {:?} in chunks of {:?}; resume with the options \
             of the first run, or start anew",
            there.kind,
            there.shape(),
            there.chunk_shape()
        );
        Err(Error::file(&layout.description(), what))
    }

    /// Writes an array in one piece; it appears, or replaces an older one, when it is whole.
    ///
    /// # Errors
    /// [`Error::Argument`] for a name that cannot be or another number of values than the shape has; [`Error::Io`].
    pub fn small<T: SmallElement>(&self, name: &str, shape: &[u64], values: &[T]) -> Result<()> {
        let chunk: Vec<u64> = shape.iter().map(|&n| n.max(1)).collect();
        let layout = Layout::new::<T>(&self.path, name, shape, &chunk)?;
        expect_length(name, shape, values.len())?;
        if !values.is_empty() {
            layout.write_chunk(&vec![0; shape.len()], values)?;
        }
        layout.write_description()
    }
}

/// A group that is read.
#[derive(Debug)]
pub struct ZarrReader {
    path: PathBuf,
    description: GroupMetadataV3,
}

impl ZarrReader {
    /// Opens a group.
    ///
    /// # Errors
    /// [`Error::Io`] if there is none; [`Error::Parse`] if its description is damaged or not that of a group.
    pub fn open(path: &Path) -> Result<Self> {
        Ok(Self { path: path.into(), description: layout::read_group(path)? })
    }

    /// Attributes of the group.
    pub fn attributes(&self) -> &Map<String, Value> {
        &self.description.attributes
    }

    /// Names of the arrays in the group, sorted.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(Error::io("read", &self.path))? {
            let path = entry.map_err(Error::io("read", &self.path))?.path();
            if path.join(DESCRIPTION).exists() {
                names.extend(path.file_name().and_then(|name| name.to_str()).map(String::from));
            }
        }
        names.sort();
        Ok(names)
    }

    /// A float array.
    ///
    /// # Errors
    /// [`Error::Io`] if there is none; [`Error::Parse`] if its description is damaged, it holds no floats, or it is
    /// stored in a way that this module does not write (compressed, say).
    pub fn array(&self, name: &str) -> Result<FloatArray> {
        FloatArray::open(&self.path, name)
    }

    /// Shape and values of an array that was written in one piece, row by row.
    ///
    /// # Errors
    /// [`Error::Io`] if there is none; [`Error::Parse`] if it is damaged, in several pieces, or of another type.
    pub fn small<T: SmallElement>(&self, name: &str) -> Result<(Vec<u64>, Vec<T>)> {
        let layout = Layout::open(&self.path, name)?;
        layout.expect::<T>()?;
        let shape = layout.shape().to_vec();
        if shape.contains(&0) {
            return Ok((shape, Vec::new()));
        }
        if layout.chunk != shape {
            let what = format!("expected one chunk of {shape:?}, found chunks of {:?}", layout.chunk);
            return Err(Error::file(&layout.description(), what));
        }
        let first = vec![0; shape.len()];
        let values = layout.read_chunk(&first)?;
        let values = values.ok_or_else(|| Error::file(&layout.chunk_path(&first), "the values are missing"))?;
        Ok((shape, values))
    }
}

/// An array of floats, of which a chunk is written or read at a time.
#[derive(Debug)]
pub struct FloatArray {
    layout: Layout,
    kind: FloatType,
}

impl FloatArray {
    /// Length of each axis.
    pub fn shape(&self) -> &[u64] {
        self.layout.shape()
    }

    /// Length of a chunk along each axis; chunks at the far ends may hold less of the array.
    pub fn chunk_shape(&self) -> &[u64] {
        &self.layout.chunk
    }

    /// Number of chunks along each axis.
    fn grid(&self) -> Vec<u64> {
        self.shape().iter().zip(self.chunk_shape()).map(|(n, c)| n.div_ceil(*c)).collect()
    }

    /// Element type on disk.
    pub fn kind(&self) -> FloatType {
        self.kind
    }

    /// First element of a chunk and how much of the array it holds, along each axis.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such chunk.
    pub fn extent(&self, index: &[u64]) -> Result<(Vec<u64>, Vec<u64>)> {
        let grid = self.grid();
        if index.len() != grid.len() || index.iter().zip(&grid).any(|(i, n)| i >= n) {
            return Err(argument(format!("expected a chunk below {grid:?}, found {index:?}")));
        }
        let first: Vec<u64> = index.iter().zip(self.chunk_shape()).map(|(i, c)| i * c).collect();
        let ends = first.iter().zip(self.shape());
        let held = ends.zip(self.chunk_shape()).map(|((first, n), c)| (*c).min(n - first)).collect();
        Ok((first, held))
    }

    /// Whether a chunk has been written, in its full size.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such chunk.
    pub fn has_chunk(&self, index: &[u64]) -> Result<bool> {
        self.extent(index)?;
        let bytes = self.layout.chunk_len() * if self.kind == FloatType::F16 { 2 } else { 4 };
        Ok(std::fs::metadata(self.layout.chunk_path(index)).is_ok_and(|m| m.len() == bytes as u64))
    }

    /// Writes, or replaces, a chunk. `values` are those of its [`extent`](Self::extent), row by row. When this returns,
    /// they are on disk.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such chunk or it has another size; [`Error::Failed`] for a finite value
    /// that is too large for [`FloatType::F16`]; [`Error::Io`].
    pub fn write_chunk(&self, index: &[u64], values: &[f32]) -> Result<()> {
        let (_, held) = self.extent(index)?;
        expect_length("chunk", &held, values.len())?;
        let widened;
        let values = if held == self.layout.chunk {
            values
        } else {
            // On disk all chunks have one size.
            let zero = vec![0; held.len()];
            let mut whole = vec![f32::NAN; self.layout.chunk_len()];
            copy_box((values, &held, &zero), (&mut whole, &self.layout.chunk, &zero), &held);
            widened = whole;
            &widened
        };
        if self.kind == FloatType::F32 {
            return self.layout.write_chunk(index, values);
        }
        let mut halves = vec![f16::ZERO; values.len()];
        halves.convert_from_f32_slice(values);
        if let Some(i) = (0..values.len()).find(|&i| values[i].is_finite() && halves[i].is_infinite()) {
            let (value, path) = (values[i], self.layout.chunk_path(index));
            let what = format!("{}: {value} does not fit into float16; store float32", path.display());
            return Err(Error::Failed(what));
        }
        self.layout.write_chunk(index, &halves)
    }

    /// Values of a chunk's [`extent`](Self::extent), row by row; `None` if it has not been written.
    ///
    /// # Errors
    /// [`Error::Argument`] if there is no such chunk; [`Error::Parse`] if it is damaged; [`Error::Io`].
    pub fn read_chunk(&self, index: &[u64]) -> Result<Option<Vec<f32>>> {
        let (_, held) = self.extent(index)?;
        let Some(whole) = self.read_whole(index)? else { return Ok(None) };
        if held == self.layout.chunk {
            return Ok(Some(whole));
        }
        let zero = vec![0; held.len()];
        let mut values = vec![f32::NAN; held.iter().product::<u64>() as usize];
        copy_box((&whole, &self.layout.chunk, &zero), (&mut values, &held, &zero), &held);
        Ok(Some(values))
    }

    /// Values of `lengths` elements from `start` on along each axis, row by row; NaN where no chunk has been written.
    /// Beside the result one chunk is in memory.
    ///
    /// # Errors
    /// [`Error::Argument`] for a region that reaches beyond the array; [`Error::Parse`] if a chunk is damaged;
    /// [`Error::Io`].
    pub fn read_region(&self, start: &[u64], lengths: &[u64]) -> Result<Vec<f32>> {
        let (shape, chunk) = (self.shape(), self.chunk_shape());
        let axes = shape.len();
        let inside = |i: usize| start[i].checked_add(lengths[i]).is_some_and(|end| end <= shape[i]);
        if start.len() != axes || lengths.len() != axes || !(0..axes).all(inside) {
            return Err(argument(format!("{lengths:?} from {start:?} on is not inside of {shape:?}")));
        }
        let mut values = vec![f32::NAN; lengths.iter().product::<u64>() as usize];
        if values.is_empty() {
            return Ok(values);
        }
        let low: Vec<u64> = (0..axes).map(|i| start[i] / chunk[i]).collect();
        let high: Vec<u64> = (0..axes).map(|i| (start[i] + lengths[i] - 1) / chunk[i]).collect();
        let mut index = low.clone();
        loop {
            if let Some(whole) = self.read_whole(&index)? {
                let first: Vec<u64> = (0..axes).map(|i| start[i].max(index[i] * chunk[i])).collect();
                let end = |i: usize| (start[i] + lengths[i]).min((index[i] + 1).saturating_mul(chunk[i]));
                let shared: Vec<u64> = (0..axes).map(|i| end(i) - first[i]).collect();
                let from: Vec<u64> = (0..axes).map(|i| first[i] - index[i] * chunk[i]).collect();
                let to: Vec<u64> = (0..axes).map(|i| first[i] - start[i]).collect();
                copy_box((&whole, chunk, &from), (&mut values, lengths, &to), &shared);
            }
            let Some(axis) = (0..axes).rev().find(|&i| index[i] < high[i]) else { return Ok(values) };
            index[axis] += 1;
            index[axis + 1..].copy_from_slice(&low[axis + 1..]);
        }
    }

    fn open(group: &Path, name: &str) -> Result<Self> {
        let layout = Layout::open(group, name)?;
        let kind = if layout.expect::<f16>().is_ok() { FloatType::F16 } else { FloatType::F32 };
        if kind == FloatType::F32 {
            layout.expect::<f32>()?;
        }
        Ok(Self { layout, kind })
    }

    /// A chunk with what of it lies beyond the array.
    fn read_whole(&self, index: &[u64]) -> Result<Option<Vec<f32>>> {
        match self.kind {
            FloatType::F32 => self.layout.read_chunk(index),
            FloatType::F16 => Ok(self.layout.read_chunk::<f16>(index)?.map(|halves| halves.to_f32_vec())),
        }
    }
}

#[cfg(test)]
mod tests;
