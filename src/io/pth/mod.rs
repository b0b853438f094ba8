//! PyTorch checkpoints (`torch.save` of a state dict): zip, legacy and tar containers. No code of the file is run.

mod scan;
mod write;

use std::fs::File;
use std::io::{Read, Seek};
use std::path::Path;

use pytorch_reader::{DType, PytorchError, PytorchReader};
use scan::Scan;
pub use write::write_pth;

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

/// What a checkpoint file holds.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    /// Names and tensors, in the order of the file; by name where the file has none. Names of nested dictionaries are joined by
    /// dots.
    pub tensors: Vec<(String, PthTensor)>,
    /// PyTorch's name of the type that each has in the file, e.g. `bfloat16`.
    pub types: Vec<&'static str>,
    /// What was done to the names, a sentence each: a dictionary around the state dict was opened, a prefix was cut off.
    pub notes: Vec<String>,
}

impl Checkpoint {
    /// Tensors that did not come from PyTorch.
    pub fn of_ours(tensors: Vec<(String, PthTensor)>) -> Self {
        let kind = |tensor: &PthTensor| match tensor.data {
            PthData::F32(_) => type_name(DType::F32),
            PthData::F64(_) => type_name(DType::F64),
            PthData::I64(_) => type_name(DType::I64),
        };
        Self { types: tensors.iter().map(|(_, tensor)| kind(tensor)).collect(), tensors, notes: vec![] }
    }
}

/// Keys under which training programs store a state dict beside other things.
const WRAPPERS: [&str; 8] =
    ["state_dict", "model_state_dict", "model_state", "model", "net", "network", "weights", "params"];
/// What wrappers of whole models put in front of every name.
const PREFIXES: [(&str, &str); 2] = [("module.", "DataParallel"), ("_orig_mod.", "torch.compile")];
/// Pickles of checkpoints are names and shapes, so far smaller.
const LARGEST_PICKLE: u64 = 1 << 28;

/// Names and tensors of a checkpoint: a state dict; one inside of a dictionary (`{'state_dict': .., 'epoch': ..}`); a whole model
/// whose classes are left alone. `module.` in front of every name (DataParallel) is cut off.
///
/// # Errors
/// [`Error::Io`]; [`Error::Parse`] if it is no checkpoint, is damaged, holds no tensors, or calls functions that no checkpoint
/// needs. Nothing is called in any case.
pub fn read_checkpoint(path: &Path) -> Result<Checkpoint> {
    let scan = scan_file(path)?;
    if !scan.calls.is_empty() {
        let what = format!(
            "reading it in Python would call {}, which no state dict needs (nothing was called); if you trust the file, store \
             model.state_dict() alone",
            scan.calls.join(", ")
        );
        return Err(Error::file(path, what));
    }
    let reader = PytorchReader::new(path).map_err(|e| match e {
        PytorchError::Io(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
            Error::io("read", path)(source)
        }
        other => Error::file(path, format!("no readable PyTorch checkpoint: {other}")),
    })?;
    if reader.is_empty() {
        return Err(Error::file(path, "the checkpoint holds no tensors; expected a state dict"));
    }
    let mut found: Vec<(String, pytorch_reader::Tensor)> = reader.into_tensors().into_iter().collect();
    let mut notes = vec![];
    if let Some(key) = wrapper(&scan, found.iter().map(|(name, _)| name.as_str())) {
        let all = found.len();
        found = found
            .into_iter()
            .filter_map(|(name, tensor)| Some((name.strip_prefix(key)?.strip_prefix('.')?.to_string(), tensor)))
            .collect();
        let others = match all - found.len() {
            0 => String::new(),
            n => format!("; {n} other tensors of the file were left out"),
        };
        notes.push(format!("took the {} tensors under '{key}'{others}", found.len()));
    }
    found.sort_by_cached_key(|(name, _)| (scan.place(name).unwrap_or(usize::MAX), name.clone()));
    while let Some((prefix, program)) = PREFIXES.iter().find(|(p, _)| found.iter().all(|(n, _)| n.starts_with(p))) {
        found.iter_mut().for_each(|(name, _)| drop(name.drain(..prefix.len())));
        notes.push(format!("cut '{prefix}' ({program}) off every name"));
    }
    let types = found.iter().map(|(_, tensor)| type_name(tensor.dtype())).collect();
    let mut tensors = Vec::with_capacity(found.len());
    for (name, tensor) in found {
        let bytes = tensor.read().map_err(|e| Error::key(path, &name, format!("damaged: {e}")))?;
        let data = convert(tensor.dtype(), &bytes)
            .ok_or_else(|| Error::key(path, &name, "an unsigned integer is larger than int64 can hold"))?;
        tensors.push((name, PthTensor { shape: tensor.shape().to_vec(), data }));
    }
    Ok(Checkpoint { tensors, types, notes })
}

/// The tensors of [`read_checkpoint`].
///
/// # Errors
/// As [`read_checkpoint`].
pub fn read_pth(path: &Path) -> Result<Vec<(String, PthTensor)>> {
    Ok(read_checkpoint(path)?.tensors)
}

/// Follows the pickles of a file.
fn scan_file(path: &Path) -> Result<Scan> {
    const LEGACY_MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
    let mut scan = Scan::default();
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let mut head = vec![];
    Read::by_ref(&mut file).take(512).read_to_end(&mut head).map_err(Error::io("read", path))?;
    let damaged = |what: &str| Error::file(path, format!("the checkpoint is damaged: {what}"));
    if head.starts_with(b"PK") {
        let mut zip = zip::ZipArchive::new(file).map_err(|e| {
            Error::file(path, format!("no readable PyTorch checkpoint: {e}; the file may be cut off, copy it again"))
        })?;
        let entry = zip.file_names().find(|n| *n == "data.pkl" || n.ends_with("/data.pkl")).map(String::from);
        let entry = entry.ok_or_else(|| {
            Error::file(
                path,
                "no readable PyTorch checkpoint: a zip archive without 'data.pkl', the list of its tensors",
            )
        })?;
        let mut pickle = vec![];
        let entry = zip.by_name(&entry).map_err(|e| damaged(&e.to_string()))?;
        entry.take(LARGEST_PICKLE).read_to_end(&mut pickle).map_err(|e| damaged(&e.to_string()))?;
        scan.follow(&pickle).map_err(|e| damaged(&format!("data.pkl: {e}")))?;
        return Ok(scan);
    }
    let legacy = head[..head.len().min(64)].windows(LEGACY_MAGIC.len()).any(|w| w == LEGACY_MAGIC);
    // Of others, only plain pickles say what they do; the reader knows what they are, if anything.
    let safetensors = head.get(8) == Some(&b'{');
    if !legacy && (safetensors || head.first() != Some(&0x80)) {
        return Ok(scan);
    }
    file.rewind().map_err(Error::io("read", path))?;
    let mut bytes = vec![];
    file.take(LARGEST_PICKLE).read_to_end(&mut bytes).map_err(Error::io("read", path))?;
    // Magic number, version, system, state dict, keys; the numbers follow.
    let mut at = 0;
    for _ in 0..if legacy { 5 } else { 1 } {
        at += scan.follow(&bytes[at..]).map_err(|e| damaged(&format!("the pickle at byte {at}: {e}")))?;
    }
    Ok(scan)
}

/// The key of a dictionary around the state dict. A name that stands in the file as it is belongs to no such dictionary.
fn wrapper<'a>(scan: &Scan, names: impl Iterator<Item = &'a str> + Clone) -> Option<&'static str> {
    WRAPPERS.into_iter().find(|key| {
        names.clone().any(|name| {
            let inner = name.strip_prefix(key).and_then(|rest| rest.strip_prefix('.'));
            scan.place(name).is_none() && inner.is_some_and(|inner| scan.place(inner).is_some())
        })
    })
}

fn type_name(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float32",
        DType::F16 => "float16",
        DType::BF16 => "bfloat16",
        DType::F64 => "float64",
        DType::I64 => "int64",
        DType::I32 => "int32",
        DType::I16 => "int16",
        DType::I8 => "int8",
        DType::U64 => "uint64",
        DType::U32 => "uint32",
        DType::U16 => "uint16",
        DType::U8 => "uint8",
        DType::Bool => "bool",
    }
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
        let names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
        let [stem, head] = ["convolutions.conv1d", "classifier.classifier.Linear"];
        let order = [stem, head].map(|layer| [format!("{layer}.weight"), format!("{layer}.bias")]).concat();
        assert_eq!(names, order, "the order of the file");
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

    /// A dictionary of what `items` put into it, as a zip archive with two numbers 1 and 2.
    fn checkpoint(items: &[Vec<u8>]) -> Vec<u8> {
        write::archive_of(&[b"\x80\x02}(".to_vec(), items.concat(), b"u.".to_vec()].concat())
    }

    fn name(text: &str) -> Vec<u8> {
        [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
    }

    /// A tensor of one number of the archive's only storage.
    fn tensor(offset: u8) -> Vec<u8> {
        let storage = b"((U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x02tQ";
        let view = [b"K", &[offset][..], b"K\x01\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR"].concat();
        [b"ctorch._utils\n_rebuild_tensor_v2\n", &storage[..], &view].concat()
    }

    fn named(items: &[(&str, u8)]) -> Vec<u8> {
        let items = items.iter().map(|&(text, offset)| [name(text), tensor(offset)].concat()).collect::<Vec<_>>();
        [b"ccollections\nOrderedDict\n)R(", &items.concat()[..], b"u"].concat()
    }

    fn read(bytes: &[u8]) -> Result<Checkpoint> {
        let (_folder, path) = file("x.pth", bytes);
        read_checkpoint(&path)
    }

    fn contents(checkpoint: &Checkpoint) -> Vec<(&str, f32)> {
        let value = |t: &PthTensor| match &t.data {
            PthData::F32(v) => v[0],
            other => panic!("{other:?}"),
        };
        checkpoint.tensors.iter().map(|(name, t)| (name.as_str(), value(t))).collect()
    }

    #[test]
    fn dictionaries_around_a_state_dict_are_opened() {
        let flat = checkpoint(&[[name("model.b"), tensor(1)].concat(), [name("model.a"), tensor(0)].concat()]);
        let flat = read(&flat).unwrap();
        assert_eq!((contents(&flat), flat.notes.len()), (vec![("model.b", 2.0), ("model.a", 1.0)], 0));
        assert_eq!(flat.types, ["float32", "float32"]);

        let state = named(&[("module.w", 1), ("module.tied", 1), ("module.b", 0)]);
        let momentum = [b"}".to_vec(), name("momentum"), tensor(0), b"s".to_vec()].concat();
        let items = [
            [name("epoch"), b"K\x07".to_vec()].concat(),
            [name("optimizer"), momentum].concat(),
            [name("state_dict"), state.clone()].concat(),
        ];
        let wrapped = read(&checkpoint(&items)).unwrap();
        assert_eq!(contents(&wrapped), [("w", 2.0), ("tied", 2.0), ("b", 1.0)]);
        assert_eq!(
            wrapped.notes,
            [
                "took the 3 tensors under 'state_dict'; 1 other tensors of the file were left out",
                "cut 'module.' (DataParallel) off every name"
            ]
        );
        let mixed = named(&[("module.w", 1), ("b", 0)]);
        let mixed = read(&write::archive_of(&[b"\x80\x02".to_vec(), mixed, b".".to_vec()].concat())).unwrap();
        assert_eq!((contents(&mixed), mixed.notes.len()), (vec![("module.w", 2.0), ("b", 1.0)], 0));
    }

    #[test]
    fn pickles_that_call_other_functions_are_refused() {
        let sentinel = tempfile::tempdir().unwrap();
        let made = sentinel.path().join("made");
        let command = [b"cposix\nsystem\n", &name(&format!("touch {}", made.display()))[..], b"\x85R"].concat();
        let hidden = [command.clone(), b"0".to_vec(), name("w"), tensor(0)].concat();
        let plain = [b"\x80\x02".to_vec(), command.clone(), b".".to_vec()].concat();
        for bytes in [checkpoint(&[[name("w"), command].concat()]), checkpoint(&[hidden]), plain] {
            let message = read(&bytes).unwrap_err().to_string();
            assert!(message.contains("would call posix.system") && message.contains("nothing was called"), "{message}");
        }
        assert!(!made.exists());
    }

    #[test]
    fn damaged_files_are_refused() {
        let whole = checkpoint(&[[name("w"), tensor(1)].concat()]);
        assert!(read(&whole).is_ok());
        for cut in [10, 100, whole.len() / 2, whole.len() - 3] {
            let message = read(&whole[..cut]).unwrap_err().to_string();
            assert!(message.contains("x.pth: no readable PyTorch checkpoint"), "{message}");
        }
        // Beyond the two numbers that there are; a type that there is not.
        assert!(read(&checkpoint(&[[name("w"), tensor(2)].concat()])).is_err());
        let other = tensor(0).into_iter().collect::<Vec<u8>>();
        let text = String::from_utf8_lossy(&other).replace("FloatStorage", "QInt8Storage").into_bytes();
        assert_eq!(read(&checkpoint(&[[name("w"), text].concat()])).unwrap_err().exit_code(), 2);
        assert!(
            read(&checkpoint(&[[name("n"), b"K\x01".to_vec()].concat()]))
                .unwrap_err()
                .to_string()
                .contains("no tensors")
        );
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
