//! State dicts as `torch.save` writes them: a zip archive of a pickle and one plain entry a tensor.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;

use bytemuck::NoUninit;
use flate2::Crc;

use super::{PthData, PthTensor};
use crate::error::{Error, Result};
use crate::util::fs::write_atomic;

/// Contents start at multiples of this, as PyTorch writes them, so that they can be mapped into memory.
const ALIGNMENT: usize = 64;
/// Folder of all entries; PyTorch takes any.
const FOLDER: &str = "archive";

/// Writes a state dict that `torch.load` reads by default (`weights_only=True`): an `OrderedDict` in the order given, with these
/// shapes, of float32, float64 and int64. The file appears whole or not at all; equal contents are equal files.
///
/// # Errors
/// [`Error::Usage`] if a name comes twice; [`Error::Shape`] if a shape does not fit its values; [`Error::Unsupported`] beyond 4
/// GiB; [`Error::Io`].
pub fn write_pth(path: &Path, tensors: &[(String, PthTensor)]) -> Result<()> {
    let mut bytes = 0u64;
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        if tensors[..i].iter().any(|(other, _)| other == name) {
            return Err(Error::Usage(format!("tensor '{name}' comes twice; a state dict has each name once")));
        }
        if tensor.shape.iter().product::<usize>() != tensor.data.len() {
            let expected = format!("of {} values for '{name}'", tensor.data.len());
            return Err(Error::Shape { op: "write_pth", arg: "tensors", expected, found: tensor.shape.clone() });
        }
        bytes += (tensor.data.len() * width(&tensor.data)) as u64;
    }
    // What stands around the contents is far less than a kilobyte a tensor.
    if bytes + 1024 * (tensors.len() as u64 + 8) > u64::from(u32::MAX) || tensors.len() > 60_000 {
        let what = format!("{} tensors of {bytes} bytes in one .pth file, which ends at 4 GiB here", tensors.len());
        return Err(Error::Unsupported { op: "write_pth", what });
    }
    write_atomic(path, |out| archive(out, tensors).map_err(Error::io("write", path)))
}

fn archive(out: &mut dyn Write, tensors: &[(String, PthTensor)]) -> std::io::Result<()> {
    let mut zip = Zip { out, at: 0, directory: Vec::new(), entries: 0 };
    zip.entry("data.pkl", &pickle(tensors))?;
    zip.entry(".format_version", b"1")?;
    zip.entry(".storage_alignment", ALIGNMENT.to_string().as_bytes())?;
    zip.entry("byteorder", b"little")?;
    for (i, (_, tensor)) in tensors.iter().enumerate() {
        let content = match &tensor.data {
            PthData::F32(v) => little_endian(v, |x| x.to_le_bytes()),
            PthData::F64(v) => little_endian(v, |x| x.to_le_bytes()),
            PthData::I64(v) => little_endian(v, |x| x.to_le_bytes()),
        };
        zip.entry(&format!("data/{i}"), &content)?;
    }
    zip.entry("version", b"3\n")?;
    zip.finish()
}

fn width(data: &PthData) -> usize {
    if matches!(data, PthData::F32(_)) { 4 } else { 8 }
}

fn little_endian<const B: usize, T: NoUninit>(values: &[T], convert: impl Fn(T) -> [u8; B]) -> Cow<'_, [u8]> {
    if cfg!(target_endian = "little") {
        bytemuck::cast_slice(values).into()
    } else {
        values.iter().flat_map(|&v| convert(v)).collect::<Vec<_>>().into()
    }
}

/// The pickle (protocol 2): an `OrderedDict` of calls of `_rebuild_tensor_v2` on storages that stand beside it.
fn pickle(tensors: &[(String, PthTensor)]) -> Vec<u8> {
    const ORDERED_DICT: &[u8] = b"ccollections\nOrderedDict\n)R";
    let mut p = Pickle(b"\x80\x02".to_vec());
    p.put(ORDERED_DICT).put(b"(");
    for (i, (name, tensor)) in tensors.iter().enumerate() {
        let class = match tensor.data {
            PthData::F32(_) => "FloatStorage",
            PthData::F64(_) => "DoubleStorage",
            PthData::I64(_) => "LongStorage",
        };
        p.text(name).put(b"ctorch._utils\n_rebuild_tensor_v2\n((").text("storage");
        p.put(format!("ctorch\n{class}\n").as_bytes());
        p.text(&i.to_string()).text("cpu").number(tensor.data.len()).put(b"tQ");
        let mut strides = vec![1; tensor.shape.len()];
        for d in (1..strides.len()).rev() {
            strides[d - 1] = strides[d] * tensor.shape[d].max(1);
        }
        p.number(0).numbers(&tensor.shape).numbers(&strides).put(b"\x89").put(ORDERED_DICT).put(b"tR");
    }
    p.put(b"u.");
    p.0
}

/// Instructions of a pickle.
struct Pickle(Vec<u8>);

impl Pickle {
    fn put(&mut self, code: &[u8]) -> &mut Self {
        self.0.extend_from_slice(code);
        self
    }

    fn text(&mut self, text: &str) -> &mut Self {
        let length = u32::try_from(text.len()).expect("names of tensors are short");
        self.put(b"X").put(&length.to_le_bytes()).put(text.as_bytes())
    }

    fn number(&mut self, n: usize) -> &mut Self {
        match (u8::try_from(n), u16::try_from(n), i32::try_from(n)) {
            (Ok(n), ..) => self.put(&[b'K', n]),
            (_, Ok(n), _) => self.put(b"M").put(&n.to_le_bytes()),
            (.., Ok(n)) => self.put(b"J").put(&n.to_le_bytes()),
            // Nine bytes, because the highest bit is the sign.
            _ => self.put(&[0x8a, 9]).put(&(n as u64).to_le_bytes()).put(&[0]),
        }
    }

    fn numbers(&mut self, numbers: &[usize]) -> &mut Self {
        self.put(b"(");
        for &n in numbers {
            self.number(n);
        }
        self.put(b"t")
    }
}

/// A zip archive of entries that are stored as they are.
struct Zip<'a> {
    out: &'a mut dyn Write,
    at: usize,
    directory: Vec<u8>,
    entries: u16,
}

impl Zip<'_> {
    fn entry(&mut self, name: &str, content: &[u8]) -> std::io::Result<()> {
        let name = format!("{FOLDER}/{name}");
        let mut crc = Crc::new();
        crc.update(content);
        // Version 1.0, no flags, stored, on the 1st of January 1980.
        let mut common = Vec::new();
        [10u16, 0, 0, 0, 1 << 5 | 1].iter().for_each(|v| common.extend(v.to_le_bytes()));
        [crc.sum(), content.len() as u32, content.len() as u32].iter().for_each(|v| common.extend(v.to_le_bytes()));
        common.extend((name.len() as u16).to_le_bytes());

        self.directory.extend(b"PK\x01\x02\x0a\x00");
        self.directory.extend(&common);
        // No further field, no comment, first disk, no attributes.
        self.directory.extend([0; 12]);
        self.directory.extend((self.at as u32).to_le_bytes());
        self.directory.extend(name.as_bytes());
        self.entries += 1;

        // A field that nobody reads fills the header up to the alignment.
        let header = 4 + common.len() + 2 + name.len() + 4;
        let fill = (self.at + header).next_multiple_of(ALIGNMENT) - self.at - header;
        self.put(b"PK\x03\x04")?;
        self.put(&common)?;
        self.put(&(fill as u16 + 4).to_le_bytes())?;
        self.put(name.as_bytes())?;
        self.put(b"FB")?;
        self.put(&(fill as u16).to_le_bytes())?;
        self.put(&vec![b'Z'; fill])?;
        self.put(content)
    }

    fn finish(mut self) -> std::io::Result<()> {
        let (start, directory) = (self.at as u32, std::mem::take(&mut self.directory));
        self.put(&directory)?;
        self.put(b"PK\x05\x06\x00\x00\x00\x00")?;
        let entries = self.entries.to_le_bytes();
        self.put(&entries)?;
        self.put(&entries)?;
        self.put(&(directory.len() as u32).to_le_bytes())?;
        self.put(&start.to_le_bytes())?;
        self.put(&[0, 0])
    }

    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.at += bytes.len();
        self.out.write_all(bytes)
    }
}

/// An archive of one pickle, for tests of what others write.
#[cfg(test)]
pub(super) fn archive_of(pickle: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    let mut zip = Zip { out: &mut bytes, at: 0, directory: Vec::new(), entries: 0 };
    zip.entry("data.pkl", pickle).unwrap();
    zip.entry("byteorder", b"little").unwrap();
    zip.entry("data/0", &[0, 0, 128, 63, 0, 0, 0, 64]).unwrap();
    zip.entry("version", b"3\n").unwrap();
    zip.finish().unwrap();
    bytes
}

#[cfg(test)]
mod tests {
    use super::super::read_pth;
    use super::*;

    fn tensor(shape: &[usize], data: PthData) -> PthTensor {
        PthTensor { shape: shape.to_vec(), data }
    }

    fn examples() -> Vec<(String, PthTensor)> {
        let many: Vec<f32> = (0..70_000).map(|i| i as f32).collect();
        [
            ("z.weight", tensor(&[1, 3, 2], PthData::F32(vec![1.0, -0.0, f32::MIN_POSITIVE, f32::MAX, 0.1, -7.5]))),
            ("z.num_batches_tracked", tensor(&[], PthData::I64(vec![i64::MIN]))),
            ("a", tensor(&[2], PthData::F64(vec![0.1, f64::NEG_INFINITY]))),
            ("long", tensor(&[350, 200], PthData::F32(many))),
            ("none", tensor(&[0, 4], PthData::F32(vec![]))),
        ]
        .map(|(name, tensor)| (name.to_string(), tensor))
        .into()
    }

    #[test]
    fn what_is_written_is_read_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let (path, again) = (folder.path().join("a.pth"), folder.path().join("other_name.pth"));
        write_pth(&path, &examples()).unwrap();
        assert_eq!(read_pth(&path).unwrap(), examples());
        write_pth(&again, &examples()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), std::fs::read(&again).unwrap());
    }

    #[test]
    fn contents_are_aligned_and_sums_are_right() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pth");
        write_pth(&path, &examples()).unwrap();
        let mut zip = zip::ZipArchive::new(std::fs::File::open(&path).unwrap()).unwrap();
        assert_eq!(zip.len(), 5 + 5);
        for i in 0..zip.len() {
            let mut entry = zip.by_index(i).unwrap();
            assert_eq!((entry.data_start() % 64, entry.compression()), (0, zip::CompressionMethod::Stored));
            // Reading to the end compares the sum.
            std::io::copy(&mut entry, &mut std::io::sink()).unwrap();
        }
    }

    #[test]
    fn what_cannot_be_written_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.pth");
        let one = ("a".to_string(), tensor(&[1], PthData::F32(vec![1.0])));
        let message = write_pth(&path, &[one.clone(), one]).unwrap_err().to_string();
        assert!(message.contains("'a' comes twice"), "{message}");
        let odd = ("b".to_string(), tensor(&[2, 2], PthData::F32(vec![1.0])));
        let message = write_pth(&path, &[odd]).unwrap_err().to_string();
        assert!(message.contains("of 1 values for 'b'") && message.contains("[2, 2]"), "{message}");
        assert!(!path.exists());
    }

    #[test]
    fn large_numbers() {
        let mut p = Pickle(vec![]);
        p.number(255).number(256).number(65_536).number(1 << 31);
        assert_eq!(p.0, b"K\xffM\x00\x01J\x00\x00\x01\x00\x8a\x09\x00\x00\x00\x80\x00\x00\x00\x00\x00");
    }
}
