//! A safetensors file with one text of metadata: what models and states of training are stored in.
//!
//! The text stands under a single key, because the order of several would differ between runs and with it the bytes.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

use safetensors::{Dtype, SafeTensorError, SafeTensors, View};

use crate::error::{Error, Result};
use crate::io::pth::{PthData, PthTensor};
use crate::util::fs::write_bytes;

/// Key of the metadata.
const KEY: &str = "drg";

/// Writes a text and named tensors; the file appears whole or not at all.
///
/// # Errors
/// [`Error::Io`].
pub(crate) fn write(path: &Path, meta: String, tensors: &[(String, PthTensor)]) -> Result<()> {
    let views = tensors.iter().map(|(name, tensor)| (name, Bytes(tensor)));
    let file = safetensors::serialize(views, Some(HashMap::from([(KEY.to_string(), meta)])))
        .map_err(|e| Error::Failed(format!("cannot write {}: {e}", path.display())))?;
    write_bytes(path, &file)
}

/// Text and named tensors of a file of ours, in the order of the file.
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] if it is no such file, is cut off, or holds other types than f32, f64 and i64.
pub(crate) fn read(path: &Path) -> Result<(String, Vec<(String, PthTensor)>)> {
    let (text, tensors) = read_any(path)?;
    let text = text.ok_or_else(|| {
        Error::key(path, KEY, "no such metadata: the file was not written by drg; use `drg convert` for other files")
    })?;
    Ok((text, tensors))
}

/// As [`read`], of files of other programs too, which have no text.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_any(path: &Path) -> Result<(Option<String>, Vec<(String, PthTensor)>)> {
    let file = std::fs::read(path).map_err(Error::io("read", path))?;
    let damaged = |e: SafeTensorError| match e {
        SafeTensorError::MetadataIncompleteBuffer | SafeTensorError::InvalidHeaderLength => {
            Error::file(path, "the file is cut off or damaged; copy it again")
        }
        other => Error::file(path, format!("no readable safetensors file: {other}")),
    };
    let (_, header) = SafeTensors::read_metadata(&file).map_err(damaged)?;
    let text = header.metadata().as_ref().and_then(|m| m.get(KEY)).cloned();
    let content = SafeTensors::deserialize(&file).map_err(damaged)?;
    let mut tensors = Vec::with_capacity(content.len());
    for name in header.offset_keys() {
        let view = content.tensor(&name).map_err(damaged)?;
        let data = match view.dtype() {
            Dtype::F32 => PthData::F32(numbers(view.data(), f32::from_le_bytes)),
            Dtype::F64 => PthData::F64(numbers(view.data(), f64::from_le_bytes)),
            Dtype::I64 => PthData::I64(numbers(view.data(), i64::from_le_bytes)),
            other => return Err(Error::key(path, name, format!("expected F32, F64 or I64, found {other}"))),
        };
        tensors.push((name, PthTensor { shape: view.shape().to_vec(), data }));
    }
    Ok((text, tensors))
}

fn numbers<const B: usize, T>(bytes: &[u8], convert: impl Fn([u8; B]) -> T) -> Vec<T> {
    bytes.as_chunks::<B>().0.iter().map(|&b| convert(b)).collect()
}

/// A tensor as the crate wants it: little endian.
struct Bytes<'a>(&'a PthTensor);

impl View for Bytes<'_> {
    fn dtype(&self) -> Dtype {
        match self.0.data {
            PthData::F32(_) => Dtype::F32,
            PthData::F64(_) => Dtype::F64,
            PthData::I64(_) => Dtype::I64,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(match &self.0.data {
            PthData::F32(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            PthData::F64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
            PthData::I64(v) => v.iter().flat_map(|x| x.to_le_bytes()).collect(),
        })
    }

    fn data_len(&self) -> usize {
        self.0.data.len() * if matches!(self.0.data, PthData::F32(_)) { 4 } else { 8 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let tensors: Vec<(String, PthTensor)> = [
            ("b", vec![2, 1], PthData::F32(vec![f32::NAN, -0.0])),
            ("a", vec![], PthData::I64(vec![i64::MIN])),
            ("c", vec![0, 3], PthData::F64(vec![])),
        ]
        .map(|(name, shape, data)| (name.to_string(), PthTensor { shape, data }))
        .into();
        write(&path, "{\"ä\": 1}".into(), &tensors).unwrap();
        let (meta, mut found) = read(&path).unwrap();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(meta, "{\"ä\": 1}");
        assert_eq!(found[0], tensors[1]);
        assert_eq!(found[2], tensors[2]);
        let PthData::F32(v) = &found[1].1.data else { panic!("expected f32") };
        assert!(v[0].is_nan() && v[1].to_bits() == 1 << 31);

        let whole = std::fs::read(&path).unwrap();
        for (cut, text) in [(whole.len() - 1, "cut off"), (40, "cut off"), (3, "no readable")] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let message = read(&path).unwrap_err().to_string();
            assert!(message.contains(text) && message.contains("x"), "{cut}: {message}");
        }
        let other = safetensors::serialize([("a", Bytes(&tensors[0].1))], None).unwrap();
        std::fs::write(&path, other).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("not written by drg"));
        assert_eq!(read(&folder.path().join("none")).unwrap_err().exit_code(), 2);
    }
}
