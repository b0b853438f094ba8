//! Arrays in NumPy's npy form: header, numbers of every kind, fixed-width text.
//!
//! Read are little and big endian, C and Fortran order, bool, integers, floats of 2, 4 and 8 bytes, `U` and `S` text.
//! Object arrays hold Python pickles, which can run code when they are loaded: they are refused.

use std::io::Read;

use ndarray_npy::npy::header::Header as NpyHeader;

/// Kind of the elements of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One byte, 0 or 1.
    Bool,
    /// Signed integers of so many bytes.
    Int(usize),
    /// Unsigned integers of so many bytes.
    Unsigned(usize),
    /// Floats of so many bytes.
    Float(usize),
    /// Text of so many 4-byte characters, filled with zeros.
    Text(usize),
    /// Text of so many bytes, filled with zeros.
    Bytes(usize),
}

impl Kind {
    fn size(self) -> usize {
        match self {
            Self::Bool => 1,
            Self::Int(n) | Self::Unsigned(n) | Self::Float(n) | Self::Bytes(n) => n,
            Self::Text(n) => 4 * n,
        }
    }

    fn is_text(self) -> bool {
        matches!(self, Self::Text(_) | Self::Bytes(_))
    }
}

/// What an npy header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Extents, outermost first; empty for a single value.
    pub shape: Vec<usize>,
    /// Kind of the elements.
    pub kind: Kind,
    /// NumPy's name of that kind, e.g. `<f4`.
    pub dtype: String,
    big_endian: bool,
    fortran: bool,
}

/// A number type that arrays are read into.
pub trait Number: Copy + Default + Send + Sync + 'static {
    /// Name for messages.
    const NAME: &'static str;
    /// The same value, if the type can hold it.
    fn from_i64(value: i64) -> Option<Self>;
    /// The same value, if the type can hold it.
    fn from_u64(value: u64) -> Option<Self>;
    /// The same value (f32: the nearest), if the type can hold it.
    fn from_f64(value: f64) -> Option<Self>;
}

/// A number type that arrays are written from.
pub trait Scalar: bytemuck::Pod {
    /// NumPy's letter and size, e.g. `f4`.
    const DTYPE: &'static str;
}

/// One array that is read piece by piece in the order of the file.
pub struct ArrayReader<R> {
    header: Header,
    reader: R,
    total: usize,
    done: usize,
    buffer: Vec<u8>,
}

impl<R: Read> ArrayReader<R> {
    /// Reads the header. The error says what is wrong; the caller knows the place.
    pub fn new(mut reader: R) -> Result<Self, String> {
        let header = NpyHeader::from_reader(&mut reader).map_err(|e| format!("no readable npy header: {e}"))?;
        let dtype = match header.type_descriptor.as_string() {
            Some(text) => text.clone(),
            None => return Err("a structured array; expected numbers or text".into()),
        };
        let kind = parse_dtype(&dtype)?;
        let total = header.shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let total = total
            .filter(|n| n.checked_mul(kind.size()).is_some_and(|bytes| bytes <= isize::MAX as usize))
            .ok_or_else(|| format!("shape {:?} is too large", header.shape))?;
        let big_endian = dtype.starts_with('>');
        let fortran = header.layout.is_fortran() && header.shape.len() > 1;
        let header = Header { shape: header.shape, kind, dtype, big_endian, fortran };
        Ok(Self { header, reader, total, done: 0, buffer: Vec::new() })
    }

    /// Shape and kind.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether elements come in C order, as [`ArrayReader::read`] hands them out.
    pub fn is_c_order(&self) -> bool {
        !self.header.fortran
    }

    /// Fills `out` with the next numbers of the file. After the last, the rest of the file must be empty.
    ///
    /// # Errors
    /// Text arrays, values that `T` cannot hold, a file that ends too early or too late.
    pub fn read<T: Number>(&mut self, out: &mut [T]) -> Result<(), String> {
        let Header { kind, ref dtype, .. } = self.header;
        if kind.is_text() {
            return Err(format!("text (dtype {dtype}); expected numbers"));
        }
        let block = (1 << 16) / kind.size();
        for part in out.chunks_mut(block) {
            self.fill(part.len() * kind.size())?;
            if let Err(at) = decode(kind, self.header.big_endian, &self.buffer, part) {
                let value = &self.buffer[at * kind.size()..(at + 1) * kind.size()];
                return Err(format!(
                    "element {} is {}, which {} cannot hold",
                    self.done + at,
                    number_text(kind, self.header.big_endian, value),
                    T::NAME
                ));
            }
            self.done += part.len();
        }
        self.check_end()
    }

    /// All numbers in C order.
    ///
    /// # Errors
    /// As [`ArrayReader::read`].
    pub fn read_all<T: Number>(mut self) -> Result<(Vec<usize>, Vec<T>), String> {
        // Grown piece by piece: a damaged header must not ask for more memory than the file has data.
        let mut values = Vec::new();
        while values.len() < self.total {
            let old = values.len();
            values.resize(self.total.min(old + (1 << 22)), T::default());
            self.read(&mut values[old..])?;
        }
        if self.total == 0 {
            self.read::<T>(&mut [])?;
        }
        let Header { shape, fortran, .. } = self.header;
        if fortran {
            values = to_c_order(&shape, &values);
        }
        Ok((shape, values))
    }

    /// All texts in C order.
    ///
    /// # Errors
    /// Number arrays, characters that are none, a file that ends too early or too late.
    pub fn read_strings(mut self) -> Result<(Vec<usize>, Vec<String>), String> {
        let Header { kind, ref dtype, big_endian, .. } = self.header;
        if !kind.is_text() {
            return Err(format!("numbers (dtype {dtype}); expected text"));
        }
        let mut texts = Vec::new();
        for i in 0..self.total {
            self.fill(kind.size())?;
            let text = match kind {
                Kind::Text(_) => self.buffer.chunks_exact(4).map(|c| unicode(big_endian, c)).collect(),
                _ => String::from_utf8(self.buffer.clone()).ok(),
            };
            let text: String = text.ok_or_else(|| format!("element {i} is no valid text"))?;
            texts.push(text.trim_end_matches('\0').to_string());
            self.done += 1;
        }
        self.check_end()?;
        let Header { shape, fortran, .. } = self.header;
        if fortran {
            texts = to_c_order(&shape, &texts);
        }
        Ok((shape, texts))
    }

    fn fill(&mut self, bytes: usize) -> Result<(), String> {
        self.buffer.resize(bytes, 0);
        self.reader.read_exact(&mut self.buffer).map_err(|e| match e.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                format!("the data end after fewer than the {} elements of shape {:?}", self.total, self.header.shape)
            }
            _ => format!("damaged data: {e}"),
        })
    }

    fn check_end(&mut self) -> Result<(), String> {
        if self.done < self.total {
            return Ok(());
        }
        // Reading to the very end is also what makes the archive check its sum.
        match self.reader.read(&mut [0]) {
            Ok(0) => Ok(()),
            Ok(_) => Err(format!("more data than the {} elements of shape {:?}", self.total, self.header.shape)),
            Err(e) => Err(format!("damaged data: {e}")),
        }
    }
}

/// Header of an array in C order: NumPy version 1.0, or 2.0 where the shape is very long.
pub fn header_bytes(dtype: &str, shape: &[usize]) -> Vec<u8> {
    let extents: String = shape.iter().map(|d| format!("{d},")).collect();
    let mut text = format!("{{'descr': '{dtype}', 'fortran_order': False, 'shape': ({extents}), }}").into_bytes();
    // Data start at a multiple of 64 bytes: 10 bytes before the text in version 1.0, 12 in version 2.0.
    let long = text.len() + 64 > usize::from(u16::MAX);
    let before = if long { 12 } else { 10 };
    let padded = (before + text.len() + 1).next_multiple_of(64) - before;
    text.resize(padded - 1, b' ');
    text.push(b'\n');
    let mut bytes = b"\x93NUMPY".to_vec();
    if long {
        bytes.extend([2, 0]);
        bytes.extend((padded as u32).to_le_bytes());
    } else {
        bytes.extend([1, 0]);
        bytes.extend((padded as u16).to_le_bytes());
    }
    bytes.extend(text);
    bytes
}

/// NumPy's name of `T` in the byte order of this machine, which is the order its slices have.
pub fn dtype_of<T: Scalar>() -> String {
    let order = match (T::DTYPE.ends_with('1'), cfg!(target_endian = "big")) {
        (true, _) => '|',
        (_, true) => '>',
        _ => '<',
    };
    format!("{order}{}", T::DTYPE)
}

/// Name of the kind and data of a text array: `<U` of the longest text.
pub fn encode_strings<S: AsRef<str>>(texts: &[S]) -> (String, Vec<u8>) {
    let width = texts.iter().map(|t| t.as_ref().chars().count()).max().unwrap_or(0).max(1);
    let mut bytes = Vec::with_capacity(texts.len() * width * 4);
    for (i, text) in texts.iter().enumerate() {
        for letter in text.as_ref().chars() {
            bytes.extend(u32::from(letter).to_le_bytes());
        }
        bytes.resize((i + 1) * width * 4, 0);
    }
    (format!("<U{width}"), bytes)
}

fn parse_dtype(dtype: &str) -> Result<Kind, String> {
    let unknown = || format!("dtype '{dtype}' is not supported; expected bool, integers, floats or text");
    let letters = dtype.trim_start_matches(['<', '>', '|', '=']);
    if letters.starts_with('O') {
        return Err("an object array (Python pickles). Pickles can run code and are never loaded here; \
                    save it again in Python as numbers or text, e.g. np.savez(path, x=a.astype(float), names=n.astype(str))"
            .into());
    }
    let mut chars = letters.chars();
    let letter = chars.next().ok_or_else(unknown)?;
    let size: usize = chars.as_str().parse().map_err(|_| unknown())?;
    match (letter, size) {
        ('b' | '?', 1) => Ok(Kind::Bool),
        ('i', 1 | 2 | 4 | 8) => Ok(Kind::Int(size)),
        ('u', 1 | 2 | 4 | 8) => Ok(Kind::Unsigned(size)),
        ('f', 2 | 4 | 8) => Ok(Kind::Float(size)),
        ('U', _) if size < 1 << 28 => Ok(Kind::Text(size)),
        ('S', _) if size < 1 << 30 => Ok(Kind::Bytes(size)),
        _ => Err(unknown()),
    }
}

/// Decodes as many elements as `out` holds; the error is the index of the first that `T` cannot hold.
fn decode<T: Number>(kind: Kind, big_endian: bool, bytes: &[u8], out: &mut [T]) -> Result<(), usize> {
    macro_rules! each {
        ($from:ty, $convert:expr) => {{
            const SIZE: usize = size_of::<$from>();
            for (i, (slot, chunk)) in out.iter_mut().zip(bytes.chunks_exact(SIZE)).enumerate() {
                let mut raw = [0; SIZE];
                raw.copy_from_slice(chunk);
                let value = if big_endian { <$from>::from_be_bytes(raw) } else { <$from>::from_le_bytes(raw) };
                *slot = $convert(value).ok_or(i)?;
            }
        }};
    }
    match kind {
        Kind::Bool | Kind::Unsigned(1) => each!(u8, |v| T::from_i64(i64::from(v))),
        Kind::Int(1) => each!(i8, |v| T::from_i64(i64::from(v))),
        Kind::Int(2) => each!(i16, |v| T::from_i64(i64::from(v))),
        Kind::Int(4) => each!(i32, |v| T::from_i64(i64::from(v))),
        Kind::Int(_) => each!(i64, T::from_i64),
        Kind::Unsigned(2) => each!(u16, |v| T::from_i64(i64::from(v))),
        Kind::Unsigned(4) => each!(u32, |v| T::from_i64(i64::from(v))),
        Kind::Unsigned(_) => each!(u64, T::from_u64),
        Kind::Float(2) => each!(u16, |v| T::from_f64(f64::from(half_to_f32(v)))),
        Kind::Float(4) => each!(f32, |v| T::from_f64(f64::from(v))),
        Kind::Float(_) => each!(f64, T::from_f64),
        Kind::Text(_) | Kind::Bytes(_) => return Err(0),
    }
    Ok(())
}

fn number_text(kind: Kind, big_endian: bool, bytes: &[u8]) -> String {
    let mut exact = [0i64];
    if decode(kind, big_endian, bytes, &mut exact).is_ok() {
        return exact[0].to_string();
    }
    let mut near = [0f64];
    match decode(kind, big_endian, bytes, &mut near) {
        Ok(()) => near[0].to_string(),
        Err(_) => "a value".into(),
    }
}

/// Value of an IEEE half-precision number.
pub fn half_to_f32(bits: u16) -> f32 {
    let sign = u32::from(bits >> 15) << 31;
    let exponent = u32::from(bits >> 10) & 31;
    let fraction = u32::from(bits) & 1023;
    match exponent {
        0 => {
            let small = fraction as f32 / (1 << 24) as f32;
            if sign == 0 { small } else { -small }
        }
        31 => f32::from_bits(sign | 0x7f80_0000 | fraction << 13),
        _ => f32::from_bits(sign | (exponent + 112) << 23 | fraction << 13),
    }
}

fn unicode(big_endian: bool, bytes: &[u8]) -> Option<char> {
    let raw = [bytes[0], bytes[1], bytes[2], bytes[3]];
    char::from_u32(if big_endian { u32::from_be_bytes(raw) } else { u32::from_le_bytes(raw) })
}

fn to_c_order<T: Clone>(shape: &[usize], fortran: &[T]) -> Vec<T> {
    let mut strides = Vec::with_capacity(shape.len());
    let mut stride = 1;
    for &extent in shape {
        strides.push(stride);
        stride *= extent;
    }
    let mut index = vec![0; shape.len()];
    let mut values = Vec::with_capacity(fortran.len());
    for _ in 0..fortran.len() {
        let at: usize = index.iter().zip(&strides).map(|(i, s)| i * s).sum();
        values.push(fortran[at].clone());
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    values
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Number for $t {
            const NAME: &'static str = stringify!($t);
            fn from_i64(value: i64) -> Option<Self> {
                Self::try_from(value).ok()
            }
            fn from_u64(value: u64) -> Option<Self> {
                Self::try_from(value).ok()
            }
            fn from_f64(value: f64) -> Option<Self> {
                // 2^63 itself is no i64, but the cast back would not show it.
                (value as Self as f64 == value && value < 9.2e18).then_some(value as Self)
            }
        }
    )*};
}
integers!(i8, u8, i32, i64);

impl Number for f64 {
    const NAME: &'static str = "f64";
    fn from_i64(value: i64) -> Option<Self> {
        Some(value as Self)
    }
    fn from_u64(value: u64) -> Option<Self> {
        Some(value as Self)
    }
    fn from_f64(value: f64) -> Option<Self> {
        Some(value)
    }
}

impl Number for f32 {
    const NAME: &'static str = "f32";
    fn from_i64(value: i64) -> Option<Self> {
        Some(value as Self)
    }
    fn from_u64(value: u64) -> Option<Self> {
        Some(value as Self)
    }
    fn from_f64(value: f64) -> Option<Self> {
        let near = value as Self;
        (near.is_finite() || !value.is_finite()).then_some(near)
    }
}

macro_rules! scalars {
    ($($t:ty: $name:literal),*) => {$(
        impl Scalar for $t {
            const DTYPE: &'static str = $name;
        }
    )*};
}
scalars!(i8: "i1", u8: "u1", i16: "i2", u16: "u2", i32: "i4", u32: "u4", i64: "i8", u64: "u8", f32: "f4", f64: "f8");

#[cfg(test)]
mod tests {
    use super::*;

    fn array(dtype: &str, shape: &[usize], data: &[u8]) -> Vec<u8> {
        [header_bytes(dtype, shape), data.to_vec()].concat()
    }

    fn numbers<T: Number>(bytes: &[u8]) -> Result<(Vec<usize>, Vec<T>), String> {
        ArrayReader::new(bytes)?.read_all()
    }

    #[test]
    fn every_kind_converts() {
        let of = |dtype: &str, data: &[u8]| numbers::<f64>(&array(dtype, &[2], data)).unwrap().1;
        assert_eq!(of("|b1", &[0, 1]), [0.0, 1.0]);
        assert_eq!(of("|i1", &[255, 2]), [-1.0, 2.0]);
        assert_eq!(of("|u1", &[255, 2]), [255.0, 2.0]);
        assert_eq!(of("<i2", &[254, 255, 1, 1]), [-2.0, 257.0]);
        assert_eq!(of(">i2", &[255, 254, 1, 1]), [-2.0, 257.0]);
        assert_eq!(of("<u4", &[255, 255, 255, 255, 1, 0, 0, 0]), [4_294_967_295.0, 1.0]);
        assert_eq!(of("<u8", &[[255; 8], [0; 8]].concat()), [18_446_744_073_709_551_615.0, 0.0]);
        assert_eq!(of(">f8", &[1.5f64.to_be_bytes(), f64::MIN.to_be_bytes()].concat()), [1.5, f64::MIN]);
        assert_eq!(of("<f4", &[0.1f32.to_le_bytes(), 3f32.to_le_bytes()].concat()), [f64::from(0.1f32), 3.0]);
        assert_eq!(of("<f2", &[0x55, 0x35, 0x01, 0x80]), [0.333_251_953_125, -(2f64.powi(-24))]);
        assert_eq!(numbers::<i64>(&array("<f4", &[1], &7f32.to_le_bytes())).unwrap().1, [7]);
    }

    #[test]
    fn halves() {
        for (bits, value) in [(0, 0.0), (0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0400, 2f32.powi(-14))] {
            assert_eq!(half_to_f32(bits), value);
        }
        assert!(half_to_f32(0x7e00).is_nan() && half_to_f32(0xfc00) == f32::NEG_INFINITY);
    }

    #[test]
    fn values_that_do_not_fit_are_named() {
        let text = |r: Result<(Vec<usize>, Vec<u8>), String>| r.unwrap_err();
        assert_eq!(text(numbers(&array("<i2", &[2], &[1, 0, 0, 1]))), "element 1 is 256, which u8 cannot hold");
        assert_eq!(text(numbers(&array("<f4", &[1], &0.5f32.to_le_bytes()))), "element 0 is 0.5, which u8 cannot hold");
        assert!(numbers::<i64>(&array("<f8", &[1], &2f64.powi(63).to_le_bytes())).is_err());
        assert!(numbers::<f32>(&array("<f8", &[1], &1e300f64.to_le_bytes())).is_err());
    }

    #[test]
    fn order_scalars_and_empty_arrays() {
        let c = array("|u1", &[2, 3], &[0, 1, 2, 3, 4, 5]);
        let at = c.windows(5).position(|w| w == b"False").unwrap();
        let mut fortran = c.clone();
        fortran[at..at + 5].copy_from_slice(b"True ");
        assert_eq!(numbers::<u8>(&c).unwrap(), (vec![2, 3], vec![0, 1, 2, 3, 4, 5]));
        assert_eq!(numbers::<u8>(&fortran).unwrap(), (vec![2, 3], vec![0, 2, 4, 1, 3, 5]));
        assert_eq!(numbers::<f32>(&array("|u1", &[], &[9])).unwrap(), (vec![], vec![9.0]));
        assert_eq!(numbers::<f32>(&array("|u1", &[3, 0], &[])).unwrap(), (vec![3, 0], vec![]));
    }

    #[test]
    fn text_there_and_back() {
        let names = ["a", "", "grün", "日本"];
        let (dtype, data) = encode_strings(&names);
        assert_eq!(dtype, "<U4");
        let read = ArrayReader::new(&array(&dtype, &[4], &data)[..]).unwrap().read_strings().unwrap();
        assert_eq!(read.1, names);
        let bytes = ArrayReader::new(&array("|S3", &[2], b"ab\0xyz")[..]).unwrap().read_strings().unwrap();
        assert_eq!(bytes.1, ["ab", "xyz"]);
        let big = array(">U1", &[1], &[0, 0, 0, 65]);
        assert_eq!(ArrayReader::new(&big[..]).unwrap().read_strings().unwrap().1, ["A"]);
        assert_eq!(encode_strings::<&str>(&[]), ("<U1".into(), vec![]));
    }

    #[test]
    fn bad_arrays_are_refused() {
        let text = |bytes: &[u8]| numbers::<f64>(bytes).unwrap_err();
        assert_eq!(text(&array("<f8", &[2], &[0; 15])), "the data end after fewer than the 2 elements of shape [2]");
        assert_eq!(text(&array("|u1", &[2], &[0; 3])), "more data than the 2 elements of shape [2]");
        assert_eq!(text(&array("|u1", &[0], &[1])), "more data than the 0 elements of shape [0]");
        assert!(text(&array("|O", &[1], b"x")).starts_with("an object array (Python pickles)"));
        assert!(text(&array("<c8", &[1], &[0; 8])).starts_with("dtype '<c8' is not supported"));
        assert!(text(&array("<f8", &[usize::MAX, 2], &[])).contains("too large"));
        assert_eq!(text(&array("<U1", &[1], &[65, 0, 0, 0])), "text (dtype <U1); expected numbers");
        assert!(text(b"hello world").starts_with("no readable npy header"));
        let surrogate = array("<U1", &[1], &[0, 0xd8, 0, 0]);
        assert_eq!(ArrayReader::new(&surrogate[..]).unwrap().read_strings().unwrap_err(), "element 0 is no valid text");
    }
}
