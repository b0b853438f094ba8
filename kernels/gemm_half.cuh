// gemm_half.cuh: tiles of matrix products c[m][n] = sum over k of a[m][k] b[k][n] of 16-bit numbers on mma.sync; sums in f32.
// Pieces of 16 bytes go from global to shared memory by asynchronous copies and from there to registers by ldmatrix. Tiles, sums and how
// warps share them: gemm.cuh.
//
// Operand<EXTENT, MAJOR>  an operand's slice of 64 k in shared memory, in pieces of 8 numbers. Major::K: a piece has 8 k of one row (of a) or
//                 column (of b), and lies at(row, k / 8). Major::MN: 8 rows or columns of one k, at(k, row / 8). Both are free of bank
//                 conflicts: eight pieces that ldmatrix takes at once lie in different banks
// accumulate      the ring and the products; the caller's load(a, b) asks for one slice after the other at these shared addresses
//
// Order: k in steps of 16 from 0, whatever the tile; slices of zeros change no bit (gemm.cuh).
#pragma once
#include "gemm.cuh"

namespace gemm_half {

using gemm::Major;
constexpr int SLICE = 64;   // k of a stage
constexpr int STAGES = 3;
constexpr int PIECES = SLICE / 8;

template <int EXTENT, Major MAJOR> struct Operand {
  static constexpr int BYTES = EXTENT * SLICE * 2;

  DRG_DEVICE int at(int row, int piece) {
    if constexpr (MAJOR == Major::K) return row * 128 + ((piece ^ (row & 7)) << 4);
    else if constexpr (EXTENT % 64 == 0) return row * (2 * EXTENT) + ((piece ^ (row & 7)) << 4);
    else if constexpr (EXTENT % 32 == 0) return row * (2 * EXTENT) + ((piece ^ (row >> 1 & 3)) << 4);
    else return row * (2 * EXTENT) + ((piece ^ (row >> 2 & 1)) << 4);
  }
  // 16 k from 16 step on of 16 rows from `first` on, as mma takes a.
  DRG_DEVICE void rows(uint32_t tile, int first, int step, uint32_t (&v)[4]) {
    const int lane = lane_index();
    if constexpr (MAJOR == Major::K) ldmatrix(v, tile + at(first + (lane & 15), 2 * step + (lane >> 4)));
    else ldmatrix_transposed(v, tile + at(16 * step + (lane & 7) + (lane >> 4 << 3), first / 8 + (lane >> 3 & 1)));
  }
  // 16 k of 8 columns from `first` on, and of the 8 columns `apart` behind them, as mma takes b.
  DRG_DEVICE void columns(uint32_t tile, int first, int apart, int step, uint32_t (&v)[4]) {
    const int lane = lane_index(), column = first + apart * (lane >> 4);
    if constexpr (MAJOR == Major::K) ldmatrix(v, tile + at(column + (lane & 7), 2 * step + (lane >> 3 & 1)));
    else ldmatrix_transposed(v, tile + at(16 * step + (lane & 15), column / 8));
  }
};

// Bytes of the ring; the host asks for as many (Tile::half_launch, src/ops/conv1d/cuda.rs).
template <class T, Major A, Major B> constexpr int shared_bytes() { return STAGES * (Operand<T::BM, A>::BYTES + Operand<T::BN, B>::BYTES); }

// sum = products of the slices first to last - 1.
template <typename E, class T, Major MA, Major MB, class Load>
DRG_DEVICE void accumulate(typename T::Sums& sum, uint32_t ring, int first, int last, Load load) {
  using A = Operand<T::BM, MA>;
  using B = Operand<T::BN, MB>;
  constexpr int STAGE = A::BYTES + B::BYTES;
  const int row = T::first_row(), column = T::first_column();
#pragma unroll
  for (int i = 0; i < T::MI; i++) {
#pragma unroll
    for (int j = 0; j < T::NJ; j++) {
#pragma unroll
      for (int e = 0; e < 4; e++) sum[i][j][e] = 0.0f;
    }
  }
#pragma unroll 1
  for (int s = 0; s < STAGES - 1; s++) {
    if (first + s < last) load(ring + s * STAGE, ring + s * STAGE + A::BYTES);
    cp_async_commit();
  }
  int stage = 0, next = STAGES - 1;
#pragma unroll 1
  for (int slice = first; slice < last; slice++) {
    cp_async_wait<STAGES - 2>();
    __syncthreads();   // everybody's copies are there, and everybody is done with the stage that is filled next
    if (slice + STAGES - 1 < last) load(ring + next * STAGE, ring + next * STAGE + A::BYTES);
    cp_async_commit();
    const uint32_t a = ring + stage * STAGE, b = a + A::BYTES;
    next = stage;
    stage = stage + 1 < STAGES ? stage + 1 : 0;
#pragma unroll
    for (int step = 0; step < SLICE / 16; step++) {
      uint32_t left[T::MI][4];
#pragma unroll
      for (int i = 0; i < T::MI; i++) A::rows(a, row + 16 * i, step, left[i]);
#pragma unroll
      for (int j = 0; j < T::NJ; j += 2) {
        uint32_t right[4];
        B::columns(b, column + T::COLUMN_STEP * j, T::COLUMN_STEP, step, right);
#pragma unroll
        for (int i = 0; i < T::MI; i++) {
          mma<E>(sum[i][j], left[i], right[0], right[1]);
          mma<E>(sum[i][j + 1], left[i], right[2], right[3]);
        }
      }
    }
  }
}

}  // namespace gemm_half
