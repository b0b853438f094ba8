//! Dense arrays of run-time shape, row major, channels last, without strides: [`Tensor`] is a shared buffer, an offset and
//! a shape, so that cloning, reshaping and taking leading rows copy nothing. A buffer never changes once it is shared.

mod alloc;
pub mod gemm;
mod gpu;

pub use alloc::{give_back, set_cache_limit, stale, zeros};
pub use gpu::{Coming, OnDevice};

use std::sync::Arc;

use crate::device::Memory;
use crate::error::{Error, Result};
use crate::util::math::Float;

/// Element type of a tensor. Arithmetic on the CPU is `F32` or `F64`; the 16-bit floats exist on GPUs only; `U8` holds packed
/// bases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 64-bit float: verification and gradient checks.
    F64,
    /// Bytes: packed bases (0..=3 = A C G T, 4 = unknown, 5 = uniform).
    U8,
    /// 16-bit float with the exponent of f32, on GPUs.
    BF16,
    /// IEEE 16-bit float, on GPUs.
    F16,
}

impl DType {
    /// Bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::U8 => 1,
            Self::BF16 | Self::F16 => 2,
        }
    }

    /// Whether it is a float of 16 bits, of which tensors are operands of products.
    pub fn is_half(self) -> bool {
        matches!(self, Self::BF16 | Self::F16)
    }
}

/// A typed buffer in the memory of the host.
#[derive(Debug)]
pub enum Buf {
    /// 32-bit floats.
    F32(Vec<f32>),
    /// 64-bit floats.
    F64(Vec<f64>),
    /// Bytes.
    U8(Vec<u8>),
}

impl Drop for Buf {
    fn drop(&mut self) {
        match self {
            Self::F32(v) => alloc::give_back(std::mem::take(v)),
            Self::F64(v) => alloc::give_back(std::mem::take(v)),
            Self::U8(_) => {}
        }
    }
}

/// Where the elements of a tensor live.
#[derive(Debug)]
pub enum Storage {
    /// Host memory.
    Cpu(Buf),
    /// Memory of a GPU.
    Gpu(Memory, DType),
}

/// Element types that the compute core is generic over: `f32` and `f64`.
pub trait Real: Float + alloc::Recycled {
    /// The run-time name of the type.
    const DTYPE: DType;
    /// The elements, if the buffer is of this type.
    fn view(buffer: &Buf) -> Option<&[Self]>;
    /// The elements for writing, if the buffer is of this type.
    fn view_mut(buffer: &mut Buf) -> Option<&mut [Self]>;
    /// Moves elements into a buffer.
    fn own(v: Vec<Self>) -> Buf;
}

macro_rules! impl_real {
    ($($t:ident $v:ident),*) => { $(impl Real for $t {
        const DTYPE: DType = DType::$v;
        fn view(buffer: &Buf) -> Option<&[Self]> { if let Buf::$v(x) = buffer { Some(x) } else { None } }
        fn view_mut(buffer: &mut Buf) -> Option<&mut [Self]> { if let Buf::$v(x) = buffer { Some(x) } else { None } }
        fn own(v: Vec<Self>) -> Buf { Buf::$v(v) }
    })* };
}
impl_real!(f32 F32, f64 F64);

/// The one place where a run-time [`DType`] meets a type parameter: evaluates `$e` with `$T` = the tensor's element type.
#[macro_export]
macro_rules! real {
    ($op:expr, $t:expr, $T:ident => $e:expr) => {
        match $t.dtype() {
            $crate::tensor::DType::F32 => {
                type $T = f32;
                $e
            }
            $crate::tensor::DType::F64 => {
                type $T = f64;
                $e
            }
            found => Err($crate::error::Error::DType { op: $op, expected: "f32 or f64", found }),
        }
    };
}

/// An element type where [`real!`](crate::real) wants something that has one.
#[derive(Clone, Copy, Debug)]
pub struct Typed(pub DType);

impl Typed {
    /// The type.
    pub fn dtype(self) -> DType {
        self.0
    }
}

/// Elements of a row of `c` in memory: 16-bit rows are padded with zeros to whole pieces of 16 bytes, which tensor cores and bulk
/// copies want.
fn pitch(dtype: DType, c: usize) -> usize {
    if dtype.is_half() { c.next_multiple_of(8) } else { c }
}

/// Elements of `shape` in memory.
fn stored(dtype: DType, shape: &[usize]) -> usize {
    match shape.split_last() {
        Some((&c, rows)) => rows.iter().product::<usize>() * pitch(dtype, c),
        None => pitch(dtype, 1),
    }
}

/// A dense array. Cheap to clone; `Send + Sync`; immutable while shared.
#[derive(Clone, Debug)]
pub struct Tensor {
    data: Arc<Storage>,
    offset: usize,
    shape: Vec<usize>,
}

impl Tensor {
    /// A tensor of `shape` that takes over `v`.
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of elements differs.
    pub fn new<T: Real>(shape: &[usize], v: Vec<T>) -> Result<Self> {
        if v.len() != shape.iter().product::<usize>() {
            return Err(Error::Shape {
                op: "tensor",
                arg: "elements",
                expected: format!("{} numbers for shape {shape:?}", shape.iter().product::<usize>()),
                found: vec![v.len()],
            });
        }
        Ok(Self::wrap(T::own(v), shape))
    }

    /// As [`Tensor::new`] for lengths that the caller has just computed from the same shape.
    pub(crate) fn of<T: Real>(shape: &[usize], v: Vec<T>) -> Self {
        debug_assert_eq!(v.len(), shape.iter().product::<usize>(), "elements against shape {shape:?}");
        Self::wrap(T::own(v), shape)
    }

    /// Packed bases `[n, l]`: 0..=3 = A C G T, 4 = unknown (a zero column), 5 = uniform (0.25 each).
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of elements differs, [`Error::Argument`] for a code above 5.
    pub fn bases(n: usize, l: usize, codes: Vec<u8>) -> Result<Self> {
        if codes.len() != n * l {
            return Err(Error::Shape {
                op: "bases",
                arg: "codes",
                expected: format!("{n} x {l} bytes"),
                found: vec![codes.len()],
            });
        }
        if let Some(i) = codes.iter().position(|&c| c > 5) {
            return Err(Error::Argument {
                op: "bases",
                what: format!("code {} at sequence {}, position {}; expected 0 to 5", codes[i], i / l, i % l),
            });
        }
        Ok(Self::wrap(Buf::U8(codes), &[n, l]))
    }

    /// Zeros.
    pub fn zeros(dtype: DType, shape: &[usize]) -> Result<Self> {
        let n = shape.iter().product();
        match dtype {
            DType::F32 => Ok(Self::of(shape, zeros::<f32>(n))),
            DType::F64 => Ok(Self::of(shape, zeros::<f64>(n))),
            DType::U8 => Ok(Self::wrap(Buf::U8(vec![0; n]), shape)),
            found => Err(Error::DType { op: "zeros", expected: "f32, f64 or u8 on the CPU", found }),
        }
    }

    fn wrap(buffer: Buf, shape: &[usize]) -> Self {
        Self { data: Arc::new(Storage::Cpu(buffer)), offset: 0, shape: shape.to_vec() }
    }

    /// Sizes of the dimensions.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Elements of a row (the last dimension) in memory: those of the shape, and in 16-bit floats zeros up to a multiple of 8.
    pub fn pitch(&self) -> usize {
        pitch(self.dtype(), self.shape.last().copied().unwrap_or(1))
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Element type.
    pub fn dtype(&self) -> DType {
        match &*self.data {
            Storage::Cpu(Buf::F32(_)) => DType::F32,
            Storage::Cpu(Buf::F64(_)) => DType::F64,
            Storage::Cpu(Buf::U8(_)) => DType::U8,
            Storage::Gpu(_, dtype) => *dtype,
        }
    }

    /// The elements.
    ///
    /// # Errors
    /// [`Error::DType`] if they are not of type `T`, [`Error::Unsupported`] if they are in the memory of a GPU.
    pub fn cpu<T: Real>(&self) -> Result<&[T]> {
        let buffer = self.host()?;
        T::view(buffer).map(|v| &v[self.offset..self.offset + self.len()]).ok_or(Error::DType {
            op: "tensor",
            expected: if T::DTYPE == DType::F32 { "f32" } else { "f64" },
            found: self.dtype(),
        })
    }

    /// The elements for writing: in place if nobody else holds the buffer, in a copy otherwise.
    ///
    /// # Errors
    /// As [`Tensor::cpu`].
    pub fn cpu_mut<T: Real>(&mut self) -> Result<&mut [T]> {
        let found = self.dtype();
        self.host()?;
        let n = self.len();
        if Arc::get_mut(&mut self.data).is_none() {
            let copy = self.cpu::<T>()?.to_vec();
            *self = Self::of(&self.shape, copy);
        }
        let offset = self.offset;
        let Some(Storage::Cpu(buffer)) = Arc::get_mut(&mut self.data) else {
            unreachable!("a host buffer, which was copied above if it was shared")
        };
        T::view_mut(buffer).map(|v| &mut v[offset..offset + n]).ok_or(Error::DType {
            op: "tensor",
            expected: if T::DTYPE == DType::F32 { "f32" } else { "f64" },
            found,
        })
    }

    /// The buffer, if it is one of the host.
    fn host(&self) -> Result<&Buf> {
        match &*self.data {
            Storage::Cpu(buffer) => Ok(buffer),
            Storage::Gpu(memory, _) => Err(Error::Unsupported {
                op: "tensor",
                what: format!(
                    "on {}, an operation that has no form for GPUs; use --device cpu",
                    memory.gpu().about().device
                ),
            }),
        }
    }

    /// Whether both are the same elements of the same buffer.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.data, &other.data) && self.offset == other.offset && self.len() == other.len()
    }

    /// Number of tensors that share the buffer.
    pub fn owners(&self) -> usize {
        Arc::strong_count(&self.data)
    }

    /// The packed bases.
    ///
    /// # Errors
    /// [`Error::DType`] if the tensor holds floats.
    pub fn codes(&self) -> Result<&[u8]> {
        match &*self.data {
            Storage::Cpu(Buf::U8(v)) => Ok(&v[self.offset..self.offset + self.len()]),
            _ => Err(Error::DType { op: "bases", expected: "u8 packed bases", found: self.dtype() }),
        }
    }

    /// All elements as f64, whatever the type.
    ///
    /// # Panics
    /// If they are in the memory of a GPU: copy them first ([`Tensor::to_cpu`]).
    pub fn to_f64(&self) -> Vec<f64> {
        let range = self.offset..self.offset + self.len();
        match self.host().expect("elements of a GPU's memory are copied to the host first") {
            Buf::F32(v) => v[range].iter().map(|&x| f64::from(x)).collect(),
            Buf::F64(v) => v[range].to_vec(),
            Buf::U8(v) => v[range].iter().map(|&x| f64::from(x)).collect(),
        }
    }

    /// The same numbers in another float type (a clone if it is the same): f32 and f64 on the CPU, f32 and 16-bit floats on a GPU,
    /// to the nearest, ties to even.
    ///
    /// # Errors
    /// [`Error::DType`] for other types, [`Error::Unsupported`] for f64 from the memory of a GPU.
    pub fn to_dtype(&self, dtype: DType) -> Result<Self> {
        match (self.dtype(), dtype) {
            (a, b) if a == b => Ok(self.clone()),
            (DType::F32, b) if b.is_half() => self.converted(b),
            (a, DType::F32) if a.is_half() => self.converted(DType::F32),
            (DType::F32, DType::F64) => {
                self.host()?;
                Ok(Self::of(&self.shape, self.to_f64()))
            }
            (DType::F64, DType::F32) => {
                Ok(Self::of(&self.shape, self.cpu::<f64>()?.iter().map(|&x| x as f32).collect::<Vec<_>>()))
            }
            (found, _) => Err(Error::DType { op: "to_dtype", expected: "f32 or f64", found }),
        }
    }

    /// The same elements under another shape; nothing is copied.
    ///
    /// # Errors
    /// [`Error::Shape`] if the number of elements differs, or the last dimension of 16-bit floats, whose rows are padded.
    pub fn reshape(&self, shape: &[usize]) -> Result<Self> {
        if shape.iter().product::<usize>() != self.len() {
            return Err(Error::Shape {
                op: "reshape",
                arg: "x",
                expected: format!("as many elements as {shape:?}"),
                found: self.shape.clone(),
            });
        }
        self.keeps_rows("reshape", shape)?;
        Ok(Self { data: self.data.clone(), offset: self.offset, shape: shape.to_vec() })
    }

    /// Refuses a shape with other rows for 16-bit floats.
    fn keeps_rows(&self, op: &'static str, shape: &[usize]) -> Result<()> {
        if self.dtype().is_half() && shape.last() != self.shape.last() {
            let expected = format!("of rows like {shape:?}: rows of 16-bit floats are padded and stay as they are");
            return Err(Error::Shape { op, arg: "x", expected, found: self.shape.clone() });
        }
        Ok(())
    }

    /// `shape.product()` elements from position `offset` on, as a tensor; nothing is copied.
    ///
    /// # Errors
    /// [`Error::Shape`] if they are not all there; for 16-bit floats also if they are no whole rows.
    pub fn view(&self, offset: usize, shape: &[usize]) -> Result<Self> {
        let n: usize = shape.iter().product();
        if offset + n > self.len() {
            return Err(Error::Shape {
                op: "view",
                arg: "x",
                expected: format!("at least {} elements", offset + n),
                found: self.shape.clone(),
            });
        }
        self.keeps_rows("view", shape)?;
        let c = self.shape.last().copied().unwrap_or(1).max(1);
        if self.dtype().is_half() && !offset.is_multiple_of(c) {
            let expected = format!("read from the beginning of a row of {c}, not from element {offset}");
            return Err(Error::Shape { op: "view", arg: "x", expected, found: self.shape.clone() });
        }
        let offset = self.offset + offset / c * self.pitch() + offset % c;
        Ok(Self { data: self.data.clone(), offset, shape: shape.to_vec() })
    }

    /// Rows `from..to` of the first dimension; nothing is copied.
    ///
    /// # Errors
    /// [`Error::Shape`] if they are not all there.
    pub fn rows(&self, from: usize, to: usize) -> Result<Self> {
        let row: usize = self.shape[1..].iter().product();
        let mut shape = self.shape.clone();
        shape[0] = to - from;
        self.view(from * row, &shape)
    }

    /// The shape as an array of `R` sizes.
    ///
    /// # Errors
    /// [`Error::Shape`] naming `op` and `arg` if the rank differs.
    pub fn dims<const R: usize>(&self, op: &'static str, arg: &'static str) -> Result<[usize; R]> {
        self.shape.as_slice().try_into().map_err(|_| Error::Shape {
            op,
            arg,
            expected: format!("of rank {R}"),
            found: self.shape.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_share_and_writes_copy() {
        let mut a = Tensor::new(&[3, 2], vec![1f32, 2., 3., 4., 5., 6.]).unwrap();
        let b = a.rows(1, 3).unwrap();
        assert_eq!(b.cpu::<f32>().unwrap(), [3., 4., 5., 6.]);
        a.cpu_mut::<f32>().unwrap()[2] = 9.;
        assert_eq!(b.cpu::<f32>().unwrap()[0], 3.);
        assert_eq!(a.cpu::<f32>().unwrap()[2], 9.);
        assert!(a.rows(2, 4).is_err());
        assert!(a.cpu::<f64>().is_err());
        assert!(Tensor::new(&[2], vec![0f32; 3]).is_err());
        assert!(Tensor::bases(1, 2, vec![0, 6]).is_err());
    }
}
