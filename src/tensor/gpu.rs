//! Tensors in the memory of a GPU: copies to and from the host, and the addresses that kernels take.
//!
//! A GPU tensor is contiguous like one of the host, except that rows of 16-bit floats are padded with zeros to a multiple of 8
//! elements ([`Tensor::pitch`]). Its elements are read through kernels alone.

use std::sync::Arc;

use super::{Buf, DType, Storage, Tensor, pitch, stored};
use crate::device::kernels::launch;
use crate::device::{Bf16, Device, DeviceType, Download, F16, Gpu, Launch, Memory, Ptr, PtrMut};
use crate::error::{Error, Result};
use crate::real;
use crate::util::math::Float;

/// Element types of tensors on a GPU.
pub trait OnDevice: DeviceType {
    /// The run-time name of the type.
    const DTYPE: DType;
}

impl OnDevice for f32 {
    const DTYPE: DType = DType::F32;
}
impl OnDevice for u8 {
    const DTYPE: DType = DType::U8;
}
impl OnDevice for Bf16 {
    const DTYPE: DType = DType::BF16;
}
impl OnDevice for F16 {
    const DTYPE: DType = DType::F16;
}

/// A tensor on its way to the host.
pub struct Coming {
    there: Tensor,
    copy: Option<Download>,
}

impl Coming {
    /// The tensor, when it has come.
    ///
    /// # Errors
    /// [`Error::Device`], also for what an earlier launch did wrong.
    pub fn wait(self) -> Result<Tensor> {
        match self.copy {
            Some(copy) => Ok(Tensor::of(&self.there.shape, copy.wait::<f32>()?)),
            None => Ok(self.there),
        }
    }
}

impl Tensor {
    /// Begins to copy to the host: what is asked of the GPU meanwhile need not wait for the copy.
    ///
    /// # Errors
    /// As [`Tensor::to_cpu`].
    pub fn begin_to_cpu(&self) -> Result<Coming> {
        match &*self.data {
            Storage::Gpu(memory, DType::F32) => {
                let copy = memory.begin_download::<f32>(self.offset, self.len())?;
                Ok(Coming { there: self.clone(), copy: Some(copy) })
            }
            _ => Ok(Coming { there: self.to_cpu()?, copy: None }),
        }
    }

    /// Makes the elements from `first` on `share * x + (1 - share)` times what they were, computed in f64: running means.
    ///
    /// # Errors
    /// [`Error::Shape`] if there are fewer than `x` has, [`Error::DType`] or [`Error::Argument`] if `x` is of another type or
    /// elsewhere.
    pub fn blend(&mut self, first: usize, x: &Self, share: f64) -> Result<()> {
        let (n, found) = (x.len(), self.shape.clone());
        if first + n > self.len() {
            let expected = format!("at least {} elements", first + n);
            return Err(Error::Shape { op: "blend", arg: "y", expected, found });
        }
        if let Some(gpu) = Self::place("blend", &[self, x])?.cloned() {
            let y = self.ptr_mut()?.offset(first);
            // SAFETY: x has `n` elements, y as many from `first` on.
            return unsafe { launch::rows_blend_f32(&gpu, Launch::elements(n), x.ptr()?, y, n as i64, share) };
        }
        real!("blend", x, T => {
            let y = &mut self.cpu_mut::<T>()?[first..first + n];
            for (y, x) in y.iter_mut().zip(x.cpu::<T>()?) {
                *y = T::of(share * x.f64() + (1.0 - share) * y.f64());
            }
            Ok(())
        })
    }

    /// Where the elements are.
    pub fn device(&self) -> Device {
        self.gpu().map_or(Device::Cpu, |gpu| Device::Cuda(gpu.clone()))
    }

    /// The elements `n` times in a row, `[n, ...]`.
    ///
    /// # Errors
    /// [`Error::Device`] if there is not enough memory.
    pub fn repeat(&self, n: usize) -> Result<Self> {
        let shape: Vec<usize> = std::iter::once(n).chain(self.shape.iter().copied()).collect();
        let range = self.offset..self.offset + self.len();
        let memory = match &*self.data {
            Storage::Cpu(Buf::F32(v)) => return Ok(Self::of(&shape, v[range].repeat(n))),
            Storage::Cpu(Buf::F64(v)) => return Ok(Self::of(&shape, v[range].repeat(n))),
            Storage::Cpu(Buf::U8(v)) => return Ok(Self::wrap(Buf::U8(v[range].repeat(n)), &shape)),
            Storage::Gpu(memory, _) => memory,
        };
        let size = self.dtype().bytes();
        let bytes = stored(self.dtype(), &self.shape) * size;
        let mut all = memory.gpu().allocate(n * bytes)?;
        for i in 0..n {
            all.copy_from(i * bytes, memory, self.offset * size, bytes)?;
        }
        Ok(Self::in_memory(all, self.dtype(), &shape))
    }

    /// A tensor in the memory of a GPU that holds anything until a kernel has written it, padding included.
    ///
    /// # Errors
    /// [`Error::Device`] if there is not enough memory.
    pub fn on(gpu: &Gpu, dtype: DType, shape: &[usize]) -> Result<Self> {
        let memory = gpu.allocate(stored(dtype, shape) * dtype.bytes())?;
        Ok(Self::in_memory(memory, dtype, shape))
    }

    /// Zeros in the memory of a GPU.
    ///
    /// # Errors
    /// As [`Tensor::on`].
    pub fn zeros_on(gpu: &Gpu, dtype: DType, shape: &[usize]) -> Result<Self> {
        let mut memory = gpu.allocate(stored(dtype, shape) * dtype.bytes())?;
        memory.fill(0)?;
        Ok(Self::in_memory(memory, dtype, shape))
    }

    fn in_memory(memory: Memory, dtype: DType, shape: &[usize]) -> Self {
        Self { data: Arc::new(Storage::Gpu(memory, dtype)), offset: 0, shape: shape.to_vec() }
    }

    /// The GPU in whose memory the elements are; `None` for the host's.
    pub fn gpu(&self) -> Option<&Gpu> {
        match &*self.data {
            Storage::Gpu(memory, _) => Some(memory.gpu()),
            Storage::Cpu(_) => None,
        }
    }

    /// The GPU of an operation's tensors, `None` for the CPU.
    ///
    /// # Errors
    /// [`Error::Argument`] if they are not all in one place.
    pub fn place<'t>(op: &'static str, tensors: &[&'t Self]) -> Result<Option<&'t Gpu>> {
        let place = tensors.first().and_then(|t| t.gpu());
        let name = |gpu: Option<&Gpu>| gpu.map_or("cpu".to_string(), |g| g.about().device.clone());
        for (i, t) in tensors.iter().enumerate() {
            let same = match (place, t.gpu()) {
                (Some(a), Some(b)) => a.is(b),
                (None, None) => true,
                _ => false,
            };
            if !same {
                let what = format!("argument 0 is on {}, argument {i} on {}", name(place), name(t.gpu()));
                return Err(Error::Argument { op, what });
            }
        }
        Ok(place)
    }

    /// The same elements on another device; a clone if they are there.
    ///
    /// # Errors
    /// [`Error::Device`]; [`Error::DType`] for f64, which GPUs do not compute with here.
    pub fn to_device(&self, device: &Device) -> Result<Self> {
        match device {
            Device::Cpu => self.to_cpu(),
            Device::Cuda(gpu) => self.to_gpu(gpu),
        }
    }

    /// The same elements in the memory of a GPU.
    ///
    /// # Errors
    /// As [`Tensor::to_device`].
    pub fn to_gpu(&self, gpu: &Gpu) -> Result<Self> {
        let range = self.offset..self.offset + self.len();
        let memory = match &*self.data {
            Storage::Gpu(memory, _) if memory.gpu().is(gpu) => return Ok(self.clone()),
            Storage::Gpu(..) => return self.to_cpu()?.to_gpu(gpu),
            Storage::Cpu(Buf::F32(v)) => gpu.upload(&v[range])?,
            Storage::Cpu(Buf::U8(v)) => gpu.upload(&v[range])?,
            Storage::Cpu(Buf::F64(_)) => {
                return Err(Error::DType { op: "to_gpu", expected: "f32 or u8", found: DType::F64 });
            }
        };
        Ok(Self::in_memory(memory, self.dtype(), &self.shape))
    }

    /// The same elements in the memory of the host, when all work that was asked for before is done; a clone if they are
    /// there. 16-bit floats become f32.
    ///
    /// # Errors
    /// [`Error::Device`], also for what an earlier launch did wrong.
    pub fn to_cpu(&self) -> Result<Self> {
        fn read<T: DeviceType + Default>(memory: &Memory, first: usize, n: usize) -> Result<Vec<T>> {
            let mut values = vec![T::default(); n];
            memory.download(first, &mut values)?;
            Ok(values)
        }
        let Storage::Gpu(memory, dtype) = &*self.data else { return Ok(self.clone()) };
        let (first, n) = (self.offset, stored(*dtype, &self.shape));
        let c = self.shape.last().copied().unwrap_or(1);
        // Rows without their padding.
        let rows = |values: Vec<f32>| -> Vec<f32> {
            let rows = values.chunks_exact(pitch(*dtype, c).max(1));
            rows.flat_map(|row| row[..c].iter().copied()).collect()
        };
        let buffer = match dtype {
            DType::F32 => Buf::F32(read(memory, first, n)?),
            DType::U8 => Buf::U8(read(memory, first, n)?),
            DType::BF16 => {
                let bits = read::<Bf16>(memory, first, n)?;
                Buf::F32(rows(bits.into_iter().map(|x| half::bf16::from_bits(x.0).to_f32()).collect()))
            }
            DType::F16 => {
                let bits = read::<F16>(memory, first, n)?;
                Buf::F32(rows(bits.into_iter().map(|x| half::f16::from_bits(x.0).to_f32()).collect()))
            }
            DType::F64 => return Err(Error::DType { op: "to_cpu", expected: "a type of GPUs", found: DType::F64 }),
        };
        Ok(Self::wrap(buffer, &self.shape))
    }

    /// The numbers of a GPU tensor in the other of f32 and a 16-bit type.
    pub(super) fn converted(&self, dtype: DType) -> Result<Self> {
        let Some(gpu) = self.gpu() else {
            return Err(Error::DType { op: "to_dtype", expected: "f32 or f64 on the CPU", found: dtype });
        };
        let mut y = Self::on(gpu, dtype, &self.shape)?;
        let c = self.shape.last().copied().unwrap_or(1);
        let (rows, c, cfg) = ((self.len() / c.max(1)) as i64, c as i32, Launch::elements(y.len().div_ceil(8)));
        // SAFETY: both have `rows` rows of `c` elements, each with the pitch of its type.
        unsafe {
            match (self.dtype(), dtype) {
                (DType::BF16, _) => launch::rows_convert_bf16_f32(gpu, cfg, self.ptr()?, y.ptr_mut()?, rows, c)?,
                (DType::F16, _) => launch::rows_convert_f16_f32(gpu, cfg, self.ptr()?, y.ptr_mut()?, rows, c)?,
                (_, DType::BF16) => launch::rows_convert_f32_bf16(gpu, cfg, self.ptr()?, y.ptr_mut()?, rows, c)?,
                _ => launch::rows_convert_f32_f16(gpu, cfg, self.ptr()?, y.ptr_mut()?, rows, c)?,
            }
        }
        Ok(y)
    }

    /// Whether the padding of 16-bit rows is zeros, as it must be; for checks.
    ///
    /// # Errors
    /// As [`Tensor::to_cpu`].
    pub fn padding_is_zero(&self) -> Result<bool> {
        let (Storage::Gpu(memory, dtype), Some(&c)) = (&*self.data, self.shape.last()) else { return Ok(true) };
        if !dtype.is_half() || self.is_empty() {
            return Ok(true);
        }
        let mut bits = vec![Bf16(0); stored(*dtype, &self.shape)];
        memory.download(self.offset, &mut bits)?;
        Ok(bits.chunks_exact(self.pitch()).all(|row| row[c..].iter().all(|b| b.0 == 0)))
    }

    /// Words of 32 bits of a row in memory, for kernels that move rows and do not look into them.
    pub(crate) fn row_words(&self) -> usize {
        self.pitch() * self.dtype().bytes() / 4
    }

    /// The rows as words of 32 bits ([`Tensor::row_words`]), for a kernel that reads them.
    ///
    /// # Errors
    /// As [`Tensor::ptr`].
    pub(crate) fn words(&self) -> Result<Ptr<f32>> {
        Ok(match self.dtype() {
            DType::BF16 => Ptr::new(self.ptr::<Bf16>()?.address()),
            DType::F16 => Ptr::new(self.ptr::<F16>()?.address()),
            _ => self.ptr()?,
        })
    }

    /// As [`Tensor::words`], for a kernel that writes them.
    ///
    /// # Errors
    /// As [`Tensor::ptr_mut`].
    pub(crate) fn words_mut(&mut self) -> Result<PtrMut<f32>> {
        Ok(match self.dtype() {
            DType::BF16 => PtrMut::new(self.ptr_mut::<Bf16>()?.address()),
            DType::F16 => PtrMut::new(self.ptr_mut::<F16>()?.address()),
            _ => self.ptr_mut()?,
        })
    }

    /// Where the elements are, for a kernel that reads them.
    ///
    /// # Errors
    /// [`Error::DType`] if they are of another type, [`Error::Argument`] if they are in the memory of the host.
    pub fn ptr<T: OnDevice>(&self) -> Result<Ptr<T>> {
        let address = self.device_memory::<T>()?.address();
        Ok(Ptr::new(address).offset(self.offset))
    }

    /// Where the elements are, for a kernel that writes them: in place if nobody else holds the memory, in a copy otherwise.
    ///
    /// # Errors
    /// As [`Tensor::ptr`]; [`Error::Device`] if there is no memory for a copy.
    pub fn ptr_mut<T: OnDevice>(&mut self) -> Result<PtrMut<T>> {
        let old = self.device_memory::<T>()?;
        if Arc::strong_count(&self.data) > 1 {
            let (n, size) = (stored(T::DTYPE, &self.shape), size_of::<T>());
            let mut new = old.gpu().allocate(n * size)?;
            new.copy_from(0, old, self.offset * size, n * size)?;
            *self = Self::in_memory(new, T::DTYPE, &self.shape);
        }
        let address = self.device_memory::<T>()?.address();
        Ok(PtrMut::new(address).offset(self.offset))
    }

    fn device_memory<T: OnDevice>(&self) -> Result<&Memory> {
        let expected = match T::DTYPE {
            DType::F32 => "f32",
            DType::U8 => "u8 packed bases",
            DType::BF16 => "bf16",
            _ => "f16",
        };
        match &*self.data {
            Storage::Gpu(memory, dtype) if *dtype == T::DTYPE => Ok(memory),
            Storage::Gpu(_, found) => Err(Error::DType { op: "tensor", expected, found: *found }),
            Storage::Cpu(_) => Err(Error::Argument {
                op: "tensor",
                what: "a tensor of the host among tensors of a GPU; copy it there (`Tensor::to_device`)".into(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tape::check;

    /// f32 to 16 bits and back: rows of every length around the padding, zeros behind them, views of rows, copies on writing.
    #[test]
    fn rows_of_16_bits_are_padded() {
        for gpu in check::gpus() {
            for (dtype, c) in [DType::BF16, DType::F16].into_iter().flat_map(|t| [1, 7, 8, 12, 300].map(|c| (t, c))) {
                let x = check::Random::new(c as u64).normal(&[3, 5, c]).to_dtype(DType::F32).unwrap();
                let half = x.to_gpu(gpu).unwrap().to_dtype(dtype).unwrap();
                assert_eq!((half.shape(), half.len(), half.pitch()), (x.shape(), 15 * c, c.next_multiple_of(8)));
                assert_eq!(half.row_words(), half.pitch() / 2);
                let round = |v: f32| match dtype {
                    DType::BF16 => half::bf16::from_f32(v).to_f32(),
                    _ => half::f16::from_f32(v).to_f32(),
                };
                let want: Vec<f32> = x.cpu::<f32>().unwrap().iter().map(|&v| round(v)).collect();
                let read = |t: &Tensor| t.to_cpu().unwrap().cpu::<f32>().unwrap().to_vec();
                assert_eq!(read(&half), want, "{dtype:?}, rows of {c}");
                assert_eq!(read(&half.to_dtype(DType::F32).unwrap()), want);
                // The padding is zeros, in a copy on writing as well.
                let mut copy = half.clone();
                copy.words_mut().unwrap();
                assert!(!copy.is(&half));
                let poisoned = Tensor::on(gpu, dtype, &[2, c]).unwrap();
                assert!(half.padding_is_zero().unwrap() && copy.padding_is_zero().unwrap(), "{dtype:?}, rows of {c}");
                assert_eq!(poisoned.padding_is_zero().unwrap(), c.is_multiple_of(8) || !cfg!(feature = "emulate"));
                assert_eq!(read(&half.rows(1, 3).unwrap()), want[5 * c..]);
                assert_eq!(
                    read(&half.rows(1, 3).unwrap().reshape(&[10, c]).unwrap().rows(2, 9).unwrap()),
                    want[7 * c..14 * c]
                );
                assert_eq!(read(&half.repeat(2).unwrap()), [want.clone(), want].concat());
                let zeros = Tensor::zeros_on(gpu, dtype, &[2, c]).unwrap();
                assert_eq!(read(&zeros), vec![0.0; 2 * c]);
                if c > 1 {
                    let refused = half.reshape(&[3, 5 * c]).unwrap_err().to_string();
                    assert!(
                        refused.starts_with("reshape: x must be of rows like") && refused.contains("padded"),
                        "{refused}"
                    );
                    assert!(half.view(c + 1, &[c]).is_err() && half.view(0, &[c - 1]).is_err());
                }
            }
            let empty = Tensor::on(gpu, DType::BF16, &[0, 5]).unwrap();
            assert!(empty.to_dtype(DType::F32).unwrap().is_empty() && empty.to_cpu().unwrap().is_empty());
        }
        let host = Tensor::new(&[2], vec![1f32, 2.0]).unwrap();
        assert!(host.to_dtype(DType::BF16).is_err());
    }
}
