//! PyTorch checkpoints (`torch.save` of a state dict): zip, legacy and tar containers. No code of the file is run.

use std::path::Path;

use pytorch_reader::{DType, PytorchError, PytorchReader};

use super::npy::half_to_f32;
use crate::error::{Error, Result};

/// One tensor of a checkpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct PthTensor {
    /// Extents, outermost first; empty for a single value.
    pub shape: Vec<usize>,
    /// Values in row-major order.
    pub data: PthData,
}

/// Values of a tensor. Half precisions become f32; all integers and bool i64.
#[derive(Clone, Debug, PartialEq)]
pub enum PthData {
    /// From float32, float16 and bfloat16.
    F32(Vec<f32>),
    /// From float64.
    F64(Vec<f64>),
    /// From bool and integers.
    I64(Vec<i64>),
}

impl PthData {
    /// Number of values.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
            Self::I64(v) => v.len(),
        }
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Names and tensors of a checkpoint, ordered by name (the order of the file is not handed out by the reader). Names of
/// nested dictionaries are joined by dots.
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] if it is no checkpoint, is damaged, or holds no tensors.
pub fn read_pth(path: &Path) -> Result<Vec<(String, PthTensor)>> {
    let reader = PytorchReader::new(path).map_err(|e| match e {
        PytorchError::Io(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
            Error::io("read", path)(source)
        }
        other => Error::file(path, format!("no readable PyTorch checkpoint: {other}")),
    })?;
    if reader.is_empty() {
        return Err(Error::file(path, "the checkpoint holds no tensors; expected a state dict"));
    }
    let mut tensors = Vec::with_capacity(reader.len());
    for (name, tensor) in reader.into_tensors() {
        let bytes = tensor.read().map_err(|e| Error::key(path, &name, format!("damaged: {e}")))?;
        let data = convert(tensor.dtype(), &bytes)
            .ok_or_else(|| Error::key(path, &name, "an unsigned integer is larger than int64 can hold"))?;
        tensors.push((name, PthTensor { shape: tensor.shape().to_vec(), data }));
    }
    tensors.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(tensors)
}

/// The reader hands out the byte order of this machine.
fn convert(dtype: DType, bytes: &[u8]) -> Option<PthData> {
    macro_rules! each {
        ($t:ty, $convert:expr) => {
            bytes
                .chunks_exact(size_of::<$t>())
                .map(|chunk| {
                    let mut raw = [0; size_of::<$t>()];
                    raw.copy_from_slice(chunk);
                    $convert(<$t>::from_ne_bytes(raw))
                })
                .collect()
        };
    }
    Some(match dtype {
        DType::F32 => PthData::F32(each!(f32, |v| v)),
        DType::F16 => PthData::F32(each!(u16, half_to_f32)),
        DType::BF16 => PthData::F32(each!(u16, |v| f32::from_bits(u32::from(v) << 16))),
        DType::F64 => PthData::F64(each!(f64, |v| v)),
        DType::I64 => PthData::I64(each!(i64, |v| v)),
        DType::I32 => PthData::I64(each!(i32, i64::from)),
        DType::I16 => PthData::I64(each!(i16, i64::from)),
        DType::I8 => PthData::I64(each!(i8, i64::from)),
        DType::U32 => PthData::I64(each!(u32, i64::from)),
        DType::U16 => PthData::I64(each!(u16, i64::from)),
        DType::U8 | DType::Bool => PthData::I64(each!(u8, i64::from)),
        DType::U64 => {
            let values: Option<Vec<i64>> = each!(u64, |v| i64::try_from(v).ok());
            PthData::I64(values?)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{file, shared, text};
    use super::*;

    #[test]
    fn zip_and_legacy_hold_the_same() {
        let (Some(zip), Some(legacy)) =
            (shared("09e_whole_pool_multiclass/weights.pth"), shared("09e_whole_pool_multiclass/weights_legacy.pth"))
        else {
            return;
        };
        let tensors = read_pth(&zip).unwrap();
        assert!(tensors.is_sorted_by(|a, b| a.0 < b.0) && tensors.len() == 4);
        assert!(tensors.iter().all(|(_, t)| t.shape.iter().product::<usize>() == t.data.len()));
        assert_eq!(tensors, read_pth(&legacy).unwrap());
    }

    #[test]
    fn values_of_a_checkpoint() {
        let Some(path) = shared("01_baseline/weights.pth") else {
            return;
        };
        let tensors = read_pth(&path).unwrap();
        let get = |name: &str| &tensors.iter().find(|(n, _)| n == name).unwrap().1;
        let weight = get("convolutions.conv1d.weight");
        assert_eq!(weight.shape, [16, 4, 15]);
        let PthData::F32(values) = &weight.data else { panic!("expected f32") };
        assert!((values[0] - 0.1942).abs() < 1e-4);
        let tracked = get("convolution_layers.convlayers.Bnorm0.num_batches_tracked");
        assert_eq!((tracked.shape.as_slice(), &tracked.data), (&[][..], &PthData::I64(vec![206])));
    }

    #[test]
    fn half_and_integer_types() {
        let f32s = |dtype, bytes: &[u8]| convert(dtype, bytes).unwrap();
        assert_eq!(f32s(DType::F16, &0x3c00u16.to_ne_bytes()), PthData::F32(vec![1.0]));
        assert_eq!(f32s(DType::BF16, &0xc040u16.to_ne_bytes()), PthData::F32(vec![-3.0]));
        assert_eq!(f32s(DType::I16, &(-7i16).to_ne_bytes()), PthData::I64(vec![-7]));
        assert_eq!(f32s(DType::Bool, &[1, 0]), PthData::I64(vec![1, 0]));
        assert_eq!(convert(DType::U64, &u64::MAX.to_ne_bytes()), None);
    }

    #[test]
    fn other_files_are_refused() {
        let (folder, path) = file("x.pth", "hello");
        assert_eq!(
            text(read_pth(&path), &folder),
            "x.pth: no readable PyTorch checkpoint: invalid PyTorch file format: not a PyTorch checkpoint: no ZIP, TAR, \
             legacy or pickle header found"
        );
        let (folder, path) = file("x.pth", b"PK\x03\x04 cut off");
        assert!(text(read_pth(&path), &folder).starts_with("x.pth: no readable PyTorch checkpoint"));
        assert_eq!(read_pth(&folder.path().join("none.pth")).unwrap_err().exit_code(), 2);
    }
}
