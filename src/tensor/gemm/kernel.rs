//! The register tiles of the f32 product for x86 with AVX-512 or AVX2.
//!
//! A tile is up to `ROWS` rows of `a` by up to `VECTORS` vectors of columns of `b`, held in registers while the inner
//! dimension runs; `a` is read element by element and broadcast, so activations are never packed. An element of `c` is one
//! chain of fused multiply-adds over `k`, added to `c` at its end: its bits depend on neither its place in a tile nor the tile.

#[cfg(target_arch = "x86_64")]
use crate::util::simd::{Level, level};

/// One product of a tile. See [`Tile::run`] of each instruction set.
#[derive(Clone, Copy)]
pub(super) struct Task {
    pub k: usize,
    /// Element (i, p) of a is `a[i * row + p * col]`, with one of the strides 1.
    pub a: *const f32,
    pub a_row: usize,
    pub a_col: usize,
    /// Row p of b starts at `b[p * b_pitch]`.
    pub b: *const f32,
    pub b_pitch: usize,
    pub c: *mut f32,
    pub c_pitch: usize,
    /// Rows and columns of the tile.
    pub rows: usize,
    pub cols: usize,
}

/// A kernel: computes `c += a b` for a tile.
pub(super) type Tile = unsafe fn(&Task);

/// An instruction set's tile size and kernel.
#[derive(Clone, Copy)]
pub(super) struct Kernel {
    /// Rows of a tile.
    pub rows: usize,
    /// Lanes of a vector: columns are padded to multiples of it.
    pub lanes: usize,
    /// Vectors of a tile's columns.
    pub vectors: usize,
    pub tile: Tile,
}

/// The kernel of the level that this program runs at; none: use the portable crate.
pub(super) fn best() -> Option<Kernel> {
    #[cfg(target_arch = "x86_64")]
    {
        match level() {
            Level::Avx512 => Some(Kernel { rows: 8, lanes: 16, vectors: 3, tile: avx512::tile }),
            Level::Avx2 => Some(Kernel { rows: 6, lanes: 8, vectors: 2, tile: avx2::tile }),
            Level::Portable => None,
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    None
}

#[cfg(target_arch = "x86_64")]
macro_rules! instruction_set {
    ($name:ident, $features:literal, $lanes:literal, $load:path, $mask_load:path, $store:path, $mask_store:path, $mask:path,
     $set:path, $zero:path, $fma:path, $add:path, [$($rows:literal),*], [$($vectors:literal),*]) => {
        pub(super) mod $name {
            use super::Task;
            use std::arch::x86_64::*;

            /// # Safety
            /// The instruction set must be there; all elements that the task's sizes and strides reach must be valid.
            pub(in super::super) unsafe fn tile(task: &Task) {
                let vectors = task.cols.div_ceil($lanes);
                // SAFETY: passed on.
                unsafe { by_rows(task, vectors) }
            }

            unsafe fn by_rows(task: &Task, vectors: usize) {
                // SAFETY: passed on.
                unsafe {
                    match task.rows {
                        $($rows => by_vectors::<$rows>(task, vectors),)*
                        _ => unreachable!("tiles have at most as many rows as the kernel"),
                    }
                }
            }

            unsafe fn by_vectors<const R: usize>(task: &Task, vectors: usize) {
                // SAFETY: passed on.
                unsafe {
                    match (vectors, task.a_col == 1) {
                        $(($vectors, true) => product::<R, $vectors, true>(task),
                          ($vectors, false) => product::<R, $vectors, false>(task),)*
                        _ => unreachable!("tiles have at most as many vectors as the kernel"),
                    }
                }
            }

            #[target_feature(enable = $features)]
            unsafe fn product<const R: usize, const V: usize, const ROW_MAJOR: bool>(task: &Task) {
                // SAFETY: the caller guarantees the elements; masks keep the last vector inside its row.
                unsafe {
                    let mut sum = [[$zero(); V]; R];
                    let tail = $mask(task.cols - (V - 1) * $lanes);
                    for p in 0..task.k {
                        let row = task.b.add(p * task.b_pitch);
                        let mut b = [$zero(); V];
                        for v in 0..V - 1 {
                            b[v] = $load(row.add(v * $lanes));
                        }
                        b[V - 1] = $mask_load(row.add((V - 1) * $lanes), tail);
                        for i in 0..R {
                            let at = if ROW_MAJOR { i * task.a_row + p } else { i + p * task.a_col };
                            let a = $set(*task.a.add(at));
                            for v in 0..V {
                                sum[i][v] = $fma(a, b[v], sum[i][v]);
                            }
                        }
                    }
                    for i in 0..R {
                        let c = task.c.add(i * task.c_pitch);
                        for v in 0..V - 1 {
                            let at = c.add(v * $lanes);
                            $store(at, $add($load(at), sum[i][v]));
                        }
                        let at = c.add((V - 1) * $lanes);
                        $mask_store(at, tail, $add($mask_load(at, tail), sum[i][V - 1]));
                    }
                }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
mod wide {
    use std::arch::x86_64::*;

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub unsafe fn mask(lanes: usize) -> __mmask16 {
        ((1u32 << lanes) - 1) as __mmask16
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub unsafe fn load(at: *const f32, mask: __mmask16) -> __m512 {
        // SAFETY: masked lanes are not read.
        unsafe { _mm512_maskz_loadu_ps(mask, at) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    pub unsafe fn store(at: *mut f32, mask: __mmask16, v: __m512) {
        // SAFETY: masked lanes are not written.
        unsafe { _mm512_mask_storeu_ps(at, mask, v) }
    }
}

#[cfg(target_arch = "x86_64")]
mod narrow {
    use std::arch::x86_64::*;

    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn mask(lanes: usize) -> __m256i {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(lanes as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn load(at: *const f32, mask: __m256i) -> __m256 {
        // SAFETY: masked lanes are not read.
        unsafe { _mm256_maskload_ps(at, mask) }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn store(at: *mut f32, mask: __m256i, v: __m256) {
        // SAFETY: masked lanes are not written.
        unsafe { _mm256_maskstore_ps(at, mask, v) }
    }
}

#[cfg(target_arch = "x86_64")]
instruction_set!(
    avx512,
    "avx512f",
    16,
    _mm512_loadu_ps,
    super::wide::load,
    _mm512_storeu_ps,
    super::wide::store,
    super::wide::mask,
    _mm512_set1_ps,
    _mm512_setzero_ps,
    _mm512_fmadd_ps,
    _mm512_add_ps,
    [1, 2, 3, 4, 5, 6, 7, 8],
    [1, 2, 3]
);
#[cfg(target_arch = "x86_64")]
instruction_set!(
    avx2,
    "avx2,fma",
    8,
    _mm256_loadu_ps,
    super::narrow::load,
    _mm256_storeu_ps,
    super::narrow::store,
    super::narrow::mask,
    _mm256_set1_ps,
    _mm256_setzero_ps,
    _mm256_fmadd_ps,
    _mm256_add_ps,
    [1, 2, 3, 4, 5, 6],
    [1, 2]
);
