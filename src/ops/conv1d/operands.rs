//! Operands of matrix products as tensor cores take them: 16 bits, in one or two parts (`kernels/conv1d_pack.cu`).
//!
//! Rows are padded with zeros to a multiple of 8 elements. Two parts together are as exact as what they stand for; where they
//! are scaled, rows that no product combines have scales of their own.

use std::sync::{Arc, Mutex, PoisonError};

use crate::device::kernels::launch;
use crate::device::{Bf16, F16, Gpu, Launch, Memory, Precision, Ptr, PtrMut};
use crate::error::{Error, Result};
use crate::tensor::{DType, Tensor};

/// What products are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) enum Kind {
    /// One bf16 each.
    Bf16,
    /// One IEEE 16-bit float each.
    F16,
    /// The sum of two bf16: 16 bits, and the range of f32.
    Bf16x2,
    /// The sum of two IEEE 16-bit floats, scaled: 22 bits.
    F16x2,
}

impl Kind {
    /// As exact as the precision asks. Three products of 16 bits are faster than one of tf32, and more exact.
    pub(super) fn of(p: Precision) -> Self {
        match p {
            Precision::F32 => Self::F16x2,
            Precision::Tf32 => Self::Bf16x2,
            Precision::Bf16 => Self::Bf16,
            Precision::F16 => Self::F16,
        }
    }

    pub(super) fn parts(self) -> usize {
        if matches!(self, Self::Bf16x2 | Self::F16x2) { 2 } else { 1 }
    }

    pub(super) fn dtype(self) -> DType {
        if matches!(self, Self::F16 | Self::F16x2) { DType::F16 } else { DType::BF16 }
    }
}

/// Elements of a row of `c` in memory, if they have 16 bits.
pub(in crate::ops) fn pitch(c: usize) -> usize {
    c.next_multiple_of(8)
}

/// Where the rows of an operand are: numbers, or such that are rounded to 16 bits already and lie [`pitch`] apart.
#[derive(Clone, Copy)]
pub(in crate::ops) enum Input {
    /// f32.
    F32(Ptr<f32>),
    /// bf16.
    Bf16(Ptr<Bf16>),
    /// IEEE 16-bit floats.
    F16(Ptr<F16>),
}

impl From<Ptr<f32>> for Input {
    fn from(x: Ptr<f32>) -> Self {
        Self::F32(x)
    }
}

impl Input {
    /// The elements of a tensor.
    ///
    /// # Errors
    /// [`Error::DType`] for other types, [`Error::Argument`] in the memory of the host.
    pub(in crate::ops) fn of(x: &Tensor) -> Result<Self> {
        Ok(match x.dtype() {
            DType::BF16 => Self::Bf16(x.ptr()?),
            DType::F16 => Self::F16(x.ptr()?),
            _ => Self::F32(x.ptr()?),
        })
    }

    /// The rows behind the first `n`, of `c` elements.
    pub(in crate::ops) fn skip(self, n: usize, c: usize) -> Self {
        match self {
            Self::F32(x) => Self::F32(x.offset(n * c)),
            Self::Bf16(x) => Self::Bf16(x.offset(n * pitch(c))),
            Self::F16(x) => Self::F16(x.offset(n * pitch(c))),
        }
    }

    /// The numbers, where rounded ones are of no use.
    ///
    /// # Errors
    /// [`Error::Unsupported`] if they are rounded.
    pub(in crate::ops) fn f32(self) -> Result<Ptr<f32>> {
        match self {
            Self::F32(x) => Ok(x),
            Self::Bf16(_) => Err(rounded(DType::BF16)),
            Self::F16(_) => Err(rounded(DType::F16)),
        }
    }
}

fn rounded(found: DType) -> Error {
    let what = format!("an input that was rounded to {found:?}, in a product of another precision");
    Error::Unsupported { op: "conv1d", what }
}

/// Rows of an operand and what shares a scale: the rows `i`, `i + groups`, .. of every sequence of `per` rows.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    /// Rows.
    pub rows: usize,
    /// Elements of a row.
    pub c: usize,
    /// Rows of a sequence.
    pub per: usize,
    /// Scales of a sequence; they divide its rows.
    pub groups: usize,
}

/// Rows as the tensor cores take them, `[parts, rows, pitch]`.
pub(super) struct Packed {
    rows: Place,
    /// Scales of a sequence.
    pub groups: usize,
    largest: Option<Memory>,
}

enum Place {
    /// Where the caller's rows are, which need no packing.
    Given(u64),
    Made(Tensor),
}

impl Packed {
    /// Of rows.
    ///
    /// # Errors
    /// [`Error::Device`]; [`Error::Unsupported`] if they are rounded to another type than `kind` takes.
    ///
    /// # Safety
    /// The memory behind the pointer has the size that the layout says.
    pub(super) unsafe fn new(gpu: &Gpu, kind: Kind, x: Input, l: Layout) -> Result<Self> {
        let there = |address| Self { rows: Place::Given(address), groups: l.groups, largest: None };
        let x = match (x, kind) {
            (Input::Bf16(x), Kind::Bf16) => return Ok(there(x.address())),
            (Input::F16(x), Kind::F16) => return Ok(there(x.address())),
            (x, _) => x.f32()?,
        };
        // SAFETY: the caller's.
        let largest = unsafe { largest(gpu, kind, x, l)? };
        let (of, cp) = (pointer(&largest), pitch(l.c));
        let mut y = Tensor::on(gpu, kind.dtype(), &[kind.parts(), l.rows, cp])?;
        let (cfg, rows) = (Launch::elements(l.rows * cp / 8), l.rows as i64);
        let [per, groups, c, p, parts] = [l.per, l.groups, l.c, cp, kind.parts()].map(|n| n as i32);
        // SAFETY: the caller's; y has room for all parts.
        unsafe {
            if kind.dtype() == DType::F16 {
                launch::conv1d_pack_rows_f16(gpu, cfg, x, y.ptr_mut()?, of, rows, per, groups, c, p, parts)?;
            } else {
                launch::conv1d_pack_rows_bf16(gpu, cfg, x, y.ptr_mut()?, of, rows, per, groups, c, p, parts)?;
            }
        }
        Ok(Self { rows: Place::Made(y), groups: l.groups, largest })
    }

    /// Where they are.
    ///
    /// # Errors
    /// None: rows have one of two types.
    pub(super) fn address(&self) -> Result<u64> {
        Ok(match &self.rows {
            Place::Given(address) => *address,
            Place::Made(t) if t.dtype() == DType::F16 => t.ptr::<F16>()?.address(),
            Place::Made(t) => t.ptr::<Bf16>()?.address(),
        })
    }

    /// Bits of the largest magnitudes, or null.
    pub(super) fn largest(&self) -> Ptr<i32> {
        pointer(&self.largest)
    }
}

/// Weights as the tensor cores take them, `[parts, taps, n, pitch]`.
pub(super) struct Weights {
    /// Taps.
    pub taps: usize,
    packed: Packed,
}

impl Weights {
    /// Of `[taps, c, n]`.
    ///
    /// # Errors
    /// [`Error::Device`].
    ///
    /// # Safety
    /// The memory behind the pointer has that size.
    pub(super) unsafe fn new(gpu: &Gpu, kind: Kind, w: Ptr<f32>, [taps, c, n]: [usize; 3]) -> Result<Self> {
        // SAFETY: the caller's.
        Ok(Self { taps, packed: unsafe { turned(gpu, kind, w.into(), [taps, c, n], 1)? } })
    }

    /// Of `[taps, n, c]`, as gradients of inputs use them.
    ///
    /// # Errors
    /// [`Error::Device`].
    ///
    /// # Safety
    /// The memory behind the pointer has that size.
    pub(super) unsafe fn back(gpu: &Gpu, kind: Kind, w: Ptr<f32>, [taps, n, c]: [usize; 3]) -> Result<Self> {
        let rows = taps * n;
        // SAFETY: the caller's.
        let packed = unsafe { Packed::new(gpu, kind, w.into(), Layout { rows, c, per: rows, groups: 1 })? };
        Ok(Self { taps, packed })
    }

    /// Where they are.
    ///
    /// # Errors
    /// As [`Packed::address`].
    pub(super) fn address(&self) -> Result<u64> {
        self.packed.address()
    }

    /// Bits of the largest magnitude, or null.
    pub(super) fn largest(&self) -> Ptr<i32> {
        self.packed.largest()
    }
}

/// Matrices `[count, c, n]` with rows and columns exchanged, `[parts, count, n, pitch of c]`, with one scale, or with one for each of
/// `n` `scales`.
///
/// # Errors
/// As [`Packed::new`].
///
/// # Safety
/// The memory behind the pointer has that size.
pub(super) unsafe fn turned(
    gpu: &Gpu,
    kind: Kind,
    x: Input,
    [count, c, n]: [usize; 3],
    scales: usize,
) -> Result<Packed> {
    let cp = pitch(c);
    let mut y = Tensor::on(gpu, kind.dtype(), &[kind.parts(), count, n, cp])?;
    let grid = [cp.div_ceil(64) as u32, n.div_ceil(32) as u32, count as u32];
    let cfg = Launch { grid, block: 256, shared_bytes: 0 };
    let [ci, ni, from, to, parts] = [c, n, pitch(n), cp, kind.parts()].map(|n| n as i32);
    let mut scale = None;
    // SAFETY: the caller's; y has room for all parts.
    unsafe {
        match (x, kind) {
            (Input::Bf16(x), Kind::Bf16) => {
                launch::conv1d_pack_turned_bf16(gpu, cfg, x, y.ptr_mut()?, ci, ni, from, to)?
            }
            (Input::F16(x), Kind::F16) => launch::conv1d_pack_turned_f16(gpu, cfg, x, y.ptr_mut()?, ci, ni, from, to)?,
            (x, _) => {
                let (x, rows) = (x.f32()?, count * c);
                scale = match scales {
                    1 => largest(gpu, kind, x, Layout { rows, c: n, per: rows, groups: 1 })?,
                    _ => largest_of_columns(gpu, kind, x, rows, n)?,
                };
                let of = pointer(&scale);
                let scales = scales as i32;
                if kind.dtype() == DType::F16 {
                    launch::conv1d_pack_weight_f16(gpu, cfg, x, y.ptr_mut()?, of, scales, ci, ni, to, parts)?;
                } else {
                    launch::conv1d_pack_weight_bf16(gpu, cfg, x, y.ptr_mut()?, of, scales, ci, ni, to, parts)?;
                }
            }
        }
    }
    Ok(Packed { rows: Place::Made(y), groups: 1, largest: scale })
}

/// The weights of an operation for all sweeps of a tape, each kind when it is first asked for.
#[derive(Default)]
pub(in crate::ops) struct Prepared(Mutex<Vec<(Kind, Arc<Weights>)>>);

impl Prepared {
    /// Those of this kind and so many taps, or what `make` makes of them.
    pub(super) fn weights(
        &self,
        kind: Kind,
        taps: usize,
        make: impl FnOnce() -> Result<Weights>,
    ) -> Result<Arc<Weights>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = all.iter().find(|(k, w)| (*k, w.taps) == (kind, taps)) {
            return Ok(found.clone());
        }
        let made = Arc::new(make()?);
        all.push((kind, made.clone()));
        Ok(made)
    }
}

/// Bits of the largest magnitudes of groups of rows, if products of this kind are scaled.
///
/// # Safety
/// The memory behind the pointer has the size that the layout says.
pub(super) unsafe fn largest(gpu: &Gpu, kind: Kind, x: Ptr<f32>, l: Layout) -> Result<Option<Memory>> {
    if kind != Kind::F16x2 {
        return Ok(None);
    }
    let mut found = gpu.allocate((l.rows / l.per.max(1) * l.groups).max(1) * size_of::<i32>())?;
    found.fill(0)?;
    let (cfg, to) = (Launch::elements((l.rows * l.c).div_ceil(16)), PtrMut::new(found.address()));
    // Rows of a sequence with one scale lie side by side.
    let (size, per) = if l.groups == 1 { (l.per * l.c, 1) } else { (l.c, l.per) };
    let runs = (l.rows * l.c / size.max(1)) as i32;
    // SAFETY: the caller's; there is an integer for every group.
    unsafe { launch::conv1d_pack_largest_f32(gpu, cfg, x, to, runs, size as i64, per as i32, l.groups as i32)? };
    Ok(Some(found))
}

/// Bits of the largest magnitudes in the columns of `[rows, n]`, if products of this kind are scaled.
///
/// # Safety
/// The memory behind the pointer has that size.
pub(super) unsafe fn largest_of_columns(
    gpu: &Gpu,
    kind: Kind,
    x: Ptr<f32>,
    rows: usize,
    n: usize,
) -> Result<Option<Memory>> {
    if kind != Kind::F16x2 {
        return Ok(None);
    }
    let mut found = gpu.allocate(n * size_of::<i32>())?;
    found.fill(0)?;
    let grid = [n.div_ceil(32) as u32, rows.div_ceil(256).clamp(1, 1024) as u32, 1];
    let (cfg, to) = (Launch { grid, block: 256, shared_bytes: 0 }, PtrMut::new(found.address()));
    // SAFETY: the caller's; there is an integer for every column.
    unsafe { launch::conv1d_pack_columns_f32(gpu, cfg, x, to, rows as i32, n as i32)? };
    Ok(Some(found))
}

fn pointer(largest: &Option<Memory>) -> Ptr<i32> {
    largest.as_ref().map_or(Ptr::NULL, |m| Ptr::new(m.address()))
}
