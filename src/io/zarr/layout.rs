//! How an array lies in its folder: the description in `zarr.json`, chunk `[1, 2]` in `c/1/2`, elements as bytes.
//!
//! Format: <https://zarr-specs.readthedocs.io/en/latest/v3/core/index.html>; texts by the extension `vlen-utf8`. The crate
//! `zarrs_metadata` knows the descriptions.

use std::path::{Path, PathBuf};

use half::f16;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use zarrs_metadata::v3::{ArrayMetadataV3, FillValueMetadataV3, GroupMetadataV3, MetadataV3};

use crate::error::{Error, Result};
use crate::util::fs::write_bytes;

/// Name of the file that describes a group or an array.
pub const DESCRIPTION: &str = "zarr.json";

/// More elements than this in a chunk are no chunk, but a damaged description.
const MAX_CHUNK: u64 = 1 << 40;

/// What can stand in an array.
pub trait Element: Clone + Sized {
    /// Name of the type in the format.
    const TYPE: &'static str;
    /// Name of the form of its bytes in the format.
    const CODEC: &'static str = "bytes";

    /// Element of chunks that are not there.
    fn fill() -> FillValueMetadataV3;

    /// Elements as bytes.
    fn encode(values: &[Self]) -> Vec<u8>;

    /// The elements again; `None` if the bytes are not that many elements.
    fn decode(bytes: &[u8], count: usize) -> Option<Vec<Self>>;
}

macro_rules! number {
    ($type:ty, $name:literal, $fill:expr) => {
        impl Element for $type {
            const TYPE: &'static str = $name;

            fn fill() -> FillValueMetadataV3 {
                $fill.into()
            }

            fn encode(values: &[Self]) -> Vec<u8> {
                let mut bytes = Vec::with_capacity(size_of_val(values));
                for value in values {
                    bytes.extend_from_slice(&value.to_le_bytes());
                }
                bytes
            }

            fn decode(bytes: &[u8], count: usize) -> Option<Vec<Self>> {
                let (values, rest) = bytes.as_chunks::<{ size_of::<$type>() }>();
                let whole = rest.is_empty() && values.len() == count;
                whole.then(|| values.iter().map(|value| <$type>::from_le_bytes(*value)).collect())
            }
        }
    };
}

number!(u8, "uint8", 0u8);
number!(i64, "int64", 0i64);
number!(f16, "float16", f16::NAN);
number!(f32, "float32", f32::NAN);
number!(f64, "float64", f64::NAN);

impl Element for String {
    const TYPE: &'static str = "string";
    const CODEC: &'static str = "vlen-utf8";

    fn fill() -> FillValueMetadataV3 {
        "".into()
    }

    /// The number of texts, then of each its number of bytes and the bytes; numbers have 32 bits.
    fn encode(values: &[Self]) -> Vec<u8> {
        let mut bytes = (values.len() as u32).to_le_bytes().to_vec();
        for value in values {
            bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
            bytes.extend_from_slice(value.as_bytes());
        }
        bytes
    }

    fn decode(bytes: &[u8], count: usize) -> Option<Vec<Self>> {
        let (found, mut rest) = bytes.split_first_chunk::<4>()?;
        if u32::from_le_bytes(*found) as usize != count {
            return None;
        }
        let mut values = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (text, after) = after.split_at_checked(u32::from_le_bytes(*length) as usize)?;
            values.push(std::str::from_utf8(text).ok()?.to_string());
            rest = after;
        }
        (rest.is_empty() && values.len() == count).then_some(values)
    }
}

/// An array: its folder and its description.
#[derive(Debug)]
pub struct Layout {
    folder: PathBuf,
    description: ArrayMetadataV3,
    /// Length of a chunk along each axis.
    pub chunk: Vec<u64>,
}

impl Layout {
    /// The layout of an array that may not be there yet; nothing is written.
    pub fn new<T: Element>(group: &Path, name: &str, shape: &[u64], chunk: &[u64]) -> Result<Self> {
        let folder = folder(group, name)?;
        if shape.is_empty() || shape.len() != chunk.len() || !is_chunk(chunk) {
            let what = "expected as many axes, no chunk of nothing";
            return Err(argument(format!(
                "array '{name}': chunks of {chunk:?} do not fit the shape {shape:?}; {what}"
            )));
        }
        Ok(Self { folder, description: describe::<T>(shape, chunk), chunk: chunk.to_vec() })
    }

    /// The layout of an array that is there, of whatever type.
    pub fn open(group: &Path, name: &str) -> Result<Self> {
        let folder = folder(group, name)?;
        let path = folder.join(DESCRIPTION);
        let description: ArrayMetadataV3 = read_description(&path, "array")?;
        let grid = description.chunk_grid.configuration().and_then(|grid| grid.get("chunk_shape"));
        let chunk: Option<Vec<u64>> = grid.and_then(|shape| serde_json::from_value(shape.clone()).ok());
        let axes = description.shape.len();
        let chunk = chunk.filter(|chunk| axes > 0 && chunk.len() == axes && is_chunk(chunk)).ok_or_else(|| {
            let shape = &description.shape;
            Error::file(&path, format!("chunks do not fit the shape {shape:?}; found {:?}", description.chunk_grid))
        })?;
        Ok(Self { folder, description, chunk })
    }

    /// That the array has elements of a type, stored as [`Layout::new`] would.
    pub fn expect<T: Element>(&self) -> Result<()> {
        let (path, found) = (self.description(), &self.description);
        if found.data_type.name() != T::TYPE {
            return Err(Error::file(&path, format!("expected {}, found {}", T::TYPE, found.data_type.name())));
        }
        let ours = describe::<T>(&found.shape, &self.chunk);
        let same = found.codecs.len() == ours.codecs.len()
            && found.codecs.iter().zip(&ours.codecs).all(|(a, b)| is_same(a, b))
            && is_same(&found.chunk_grid, &ours.chunk_grid)
            && is_same(&found.chunk_key_encoding, &ours.chunk_key_encoding)
            && found.storage_transformers.is_empty()
            && !found.additional_fields.values().any(|field| field.must_understand());
        if same {
            return Ok(());
        }
        let codecs: Vec<&str> = found.codecs.iter().map(MetadataV3::name).collect();
        let what = "expected little-endian chunks without compression on a regular grid, in files like c/0/0";
        Err(Error::file(&path, format!("{what}; found the codecs {}", codecs.join(", "))))
    }

    /// Length of each axis.
    pub fn shape(&self) -> &[u64] {
        &self.description.shape
    }

    /// Number of elements in a chunk.
    pub fn chunk_len(&self) -> usize {
        self.chunk.iter().product::<u64>() as usize
    }

    /// File of the description.
    pub fn description(&self) -> PathBuf {
        self.folder.join(DESCRIPTION)
    }

    /// Writes the description, after which the array is there.
    pub fn write_description(&self) -> Result<()> {
        std::fs::create_dir_all(&self.folder).map_err(Error::io("create", &self.folder))?;
        write_bytes(&self.description(), self.description.to_string_pretty().as_bytes())
    }

    /// File of a chunk.
    pub fn chunk_path(&self, index: &[u64]) -> PathBuf {
        let mut path = self.folder.join("c");
        path.extend(index.iter().map(u64::to_string));
        path
    }

    /// Writes all elements of a chunk.
    pub fn write_chunk<T: Element>(&self, index: &[u64], values: &[T]) -> Result<()> {
        let path = self.chunk_path(index);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        }
        write_bytes(&path, &T::encode(values))
    }

    /// All elements of a chunk; `None` if it has not been written.
    pub fn read_chunk<T: Element>(&self, index: &[u64]) -> Result<Option<Vec<T>>> {
        let path = self.chunk_path(index);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(Error::io("read", path)(e)),
        };
        let values = T::decode(&bytes, self.chunk_len()).ok_or_else(|| {
            let what = format!("expected {} elements of {}, found {} bytes", self.chunk_len(), T::TYPE, bytes.len());
            Error::file(&path, what)
        })?;
        Ok(Some(values))
    }
}

/// Description of the group in a folder.
pub fn read_group(path: &Path) -> Result<GroupMetadataV3> {
    read_description(&path.join(DESCRIPTION), "group")
}

/// Copies a box of `lengths` elements along each axis. `from` and `to` are arrays, row by row, with their shape and
/// the first element of the box.
pub fn copy_box<T: Copy>(from: (&[T], &[u64], &[u64]), to: (&mut [T], &[u64], &[u64]), lengths: &[u64]) {
    let axes = lengths.len();
    let Some(&row) = lengths.last() else { return };
    let rows: u64 = lengths[..axes - 1].iter().product();
    for i in 0..rows {
        let (mut rest, mut source, mut target) = (i, from.2[axes - 1], to.2[axes - 1]);
        let (mut source_stride, mut target_stride) = (from.1[axes - 1], to.1[axes - 1]);
        for axis in (0..axes - 1).rev() {
            let at = rest % lengths[axis];
            rest /= lengths[axis];
            source += (from.2[axis] + at) * source_stride;
            target += (to.2[axis] + at) * target_stride;
            source_stride *= from.1[axis];
            target_stride *= to.1[axis];
        }
        let (source, target, row) = (source as usize, target as usize, row as usize);
        to.0[target..target + row].copy_from_slice(&from.0[source..source + row]);
    }
}

/// That there are as many values as a shape has.
pub fn expect_length(name: &str, shape: &[u64], found: usize) -> Result<()> {
    if shape.iter().product::<u64>() == found as u64 {
        return Ok(());
    }
    Err(argument(format!("{name}: expected the values of a shape {shape:?}, found {found}")))
}

/// An argument of this module that is out of its range.
pub fn argument(what: String) -> Error {
    Error::Argument { op: "zarr", what }
}

fn describe<T: Element>(shape: &[u64], chunk: &[u64]) -> ArrayMetadataV3 {
    // Python's zarr wants codecs as objects, with a configuration even where it is empty.
    let with = |name: &str, configuration: &[(&str, Value)]| {
        let fields = configuration.iter().map(|(key, value)| (key.to_string(), value.clone()));
        MetadataV3::new_with_configuration(name, fields.collect::<Map<_, _>>())
    };
    let grid = with("regular", &[("chunk_shape", json!(chunk))]);
    let codec = if T::CODEC == "bytes" { with("bytes", &[("endian", json!("little"))]) } else { with(T::CODEC, &[]) };
    ArrayMetadataV3::new(shape.to_vec(), grid, MetadataV3::new(T::TYPE), T::fill(), vec![codec])
}

/// Whether two parts of a description say the same; no configuration is an empty one.
fn is_same(a: &MetadataV3, b: &MetadataV3) -> bool {
    let empty = a.configuration_is_none_or_empty() && b.configuration_is_none_or_empty();
    a.name() == b.name() && (empty || a.configuration() == b.configuration())
}

fn read_description<T: DeserializeOwned>(path: &Path, kind: &str) -> Result<T> {
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|e| Error::file(path, format!("no JSON: {e}")))?;
    let found = value.get("node_type").and_then(Value::as_str).unwrap_or("none");
    if found != kind {
        return Err(Error::file(path, format!("expected the description of a Zarr v3 {kind}, found '{found}'")));
    }
    serde_json::from_value(value).map_err(|e| Error::file(path, format!("no description of a Zarr v3 {kind}: {e}")))
}

fn folder(group: &Path, name: &str) -> Result<PathBuf> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.starts_with(['_', '.']) || !name.chars().all(plain) {
        let what = "expected a name of letters, digits, '_', '-', '.', not starting with '_' or '.'";
        return Err(argument(format!("array '{name}': {what}")));
    }
    Ok(group.join(name))
}

fn is_chunk(chunk: &[u64]) -> bool {
    let elements = chunk.iter().try_fold(1u64, |product, &n| product.checked_mul(n));
    elements.is_some_and(|n| (1..=MAX_CHUNK).contains(&n))
}
