// gemm.cuh: tiles of matrix products c[m][n] = sum over k of a[m][k] b[k][n] on tensor cores; f32 in global and shared memory, f32 sums.
// Operands become what the tensor cores take when they are in registers; asynchronous copies fill a ring of stages ahead of use.
//
// Precision       SplitTf32: as good as f32. Every operand is the sum of two tf32 numbers (22 bits); of the four products the smallest
//                 is left out, small ones are added first. The sum of 16 k goes into the f32 sum by an ordinary addition, because the
//                 tensor cores' own additions cut bits off, which after thousands of them shows.
//                 Tf32, Sixteen<bf16>, Sixteen<f16>: operands rounded to nearest, one product, sums in the tensor cores
// Tile<WM, WN, NJ>  a block's tile: WM x WN warps of 32 rows and NJ times 8 columns each
// Operand<EXTENT, MAJOR>  an operand's slice of 32 k in shared memory. Major::K: k runs fastest, as in activations; Major::MN: its rows
//                 (of a) or columns (of b) do, as in weights. Both are free of bank conflicts when fragments are read.
// accumulate      the ring and the products; the caller's load(a, b) asks for one slice after the other at these shared addresses
// write           the sums, with a bias, to the rows that the caller names
//
// Order: k in steps of 16 from 0, whatever the tile: an element's bits depend on its row and its column alone. A slice whose operand is
// zero adds +0 to sums that are never -0, so that leaving it out changes no bit.
#pragma once
#include "mma.cuh"

namespace gemm {

constexpr int SLICE = 32;    // k of a stage
constexpr int STAGES = 3;

// Nearest tf32, ties away from zero; what is not a finite number comes through in the rest x - tf32(x).
DRG_DEVICE uint32_t nearest_tf32(float x) { return (__float_as_uint(x) + 0x1000u) & 0xffffe000u; }

// A precision makes fragments of 16 k: of rows g and g + 8 of a (lane = 4 g + q) from v[2][4], of column g of b from v[4], with k =
// 4 q to 4 q + 3. The order of k within the instructions is not that of the manual, but the same for both operands.
struct SplitTf32 {
  struct A { uint32_t high[2][4], low[2][4]; };
  struct B { uint32_t high[2][2], low[2][2]; };

  DRG_DEVICE void split(float x, uint32_t& high, uint32_t& low) {
    high = nearest_tf32(x);
    low = __float_as_uint(x - __uint_as_float(high));
  }
  DRG_DEVICE A a(const float (&v)[2][4]) {
    A f;
#pragma unroll
    for (int e = 0; e < 4; e++) {
#pragma unroll
      for (int h = 0; h < 2; h++) split(v[h][e], f.high[e / 2][e % 2 * 2 + h], f.low[e / 2][e % 2 * 2 + h]);
    }
    return f;
  }
  DRG_DEVICE B b(const float (&v)[4]) {
    B f;
#pragma unroll
    for (int e = 0; e < 4; e++) split(v[e], f.high[e / 2][e % 2], f.low[e / 2][e % 2]);
    return f;
  }
  // Columns j and j + 1 of the fragments: neighbouring instructions do not wait for each other.
  template <int MI, int NJ> DRG_DEVICE void multiply(float (&sum)[MI][NJ][4], int j, const A (&a)[MI], const B (&b)[2]) {
    float part[MI][2][4] = {};
#pragma unroll
    for (int term = 0; term < 6; term++) {
      const int s = term % 2;
#pragma unroll
      for (int i = 0; i < MI; i++) {
#pragma unroll
        for (int k = 0; k < 2; k++) {
          const uint32_t(&right)[2] = term / 2 == 1 ? b[k].low[s] : b[k].high[s];
          mma_tf32(part[i][k], term / 2 == 0 ? a[i].low[s] : a[i].high[s], right[0], right[1]);
        }
      }
    }
#pragma unroll
    for (int i = 0; i < MI; i++) {
#pragma unroll
      for (int k = 0; k < 2; k++) {
#pragma unroll
        for (int e = 0; e < 4; e++) sum[i][j + k][e] += part[i][k][e];
      }
    }
  }
};

struct Tf32 {
  struct A { uint32_t v[2][4]; };
  struct B { uint32_t v[2][2]; };

  DRG_DEVICE A a(const float (&v)[2][4]) {
    A f;
#pragma unroll
    for (int e = 0; e < 4; e++) {
#pragma unroll
      for (int h = 0; h < 2; h++) f.v[e / 2][e % 2 * 2 + h] = to_tf32(v[h][e]);
    }
    return f;
  }
  DRG_DEVICE B b(const float (&v)[4]) {
    B f;
#pragma unroll
    for (int e = 0; e < 4; e++) f.v[e / 2][e % 2] = to_tf32(v[e]);
    return f;
  }
  template <int MI, int NJ> DRG_DEVICE void multiply(float (&sum)[MI][NJ][4], int j, const A (&a)[MI], const B (&b)[2]) {
#pragma unroll
    for (int s = 0; s < 2; s++) {
#pragma unroll
      for (int i = 0; i < MI; i++) {
#pragma unroll
        for (int k = 0; k < 2; k++) mma_tf32(sum[i][j + k], a[i].v[s], b[k].v[s][0], b[k].v[s][1]);
      }
    }
  }
};

template <class T> struct Sixteen {
  struct A { uint32_t v[4]; };
  struct B { uint32_t v[2]; };

  DRG_DEVICE A a(const float (&v)[2][4]) {
    return {{pack2<T>(v[0][0], v[0][1]), pack2<T>(v[1][0], v[1][1]), pack2<T>(v[0][2], v[0][3]), pack2<T>(v[1][2], v[1][3])}};
  }
  DRG_DEVICE B b(const float (&v)[4]) { return {{pack2<T>(v[0], v[1]), pack2<T>(v[2], v[3])}}; }
  template <int MI, int NJ> DRG_DEVICE void multiply(float (&sum)[MI][NJ][4], int j, const A (&a)[MI], const B (&b)[2]) {
#pragma unroll
    for (int i = 0; i < MI; i++) {
#pragma unroll
      for (int k = 0; k < 2; k++) mma<T>(sum[i][j + k], a[i].v, b[k].v[0], b[k].v[1]);
    }
  }
};

template <int WM, int WN, int NJ_> struct Tile {
  static constexpr int MI = 2, NJ = NJ_, WARPS_N = WN;
  static constexpr int BM = 32 * WM, BN = 8 * NJ * WN, THREADS = 32 * WM * WN;
  using Sums = float[MI][NJ][4];
  DRG_DEVICE int first_row() { return warp_index() / WN * 32; }
  // Warps take turns by 8 columns.
  static constexpr int COLUMN_STEP = 8 * WN;
  DRG_DEVICE int first_column() { return warp_index() % WN * 8; }
};
using Tile160 = Tile<4, 2, 10>;   // 128 x 160
using Tile128 = Tile<4, 2, 8>;    // 128 x 128
using Tile64 = Tile<2, 2, 4>;     // 64 x 64
using Tile16 = Tile<4, 1, 2>;     // 128 x 16

enum class Major { K, MN };

template <int EXTENT, Major MAJOR> struct Operand {
  static constexpr int COLUMNS = MAJOR == Major::K ? SLICE : (EXTENT + 31) / 32 * 32;
  static constexpr int FLOATS = MAJOR == Major::K ? EXTENT * SLICE : SLICE * COLUMNS;

  // Where element (i, k) lies; four that start at a multiple of 4 along the fast index lie side by side. Odd rows exchange the halves
  // of their 128 bytes, or columns move by 8 from one quarter of 16 k to the next.
  DRG_DEVICE int at(int i, int k) {
    if constexpr (MAJOR == Major::K) return i * SLICE + (k ^ (i & 1) << 4);
    else return k * COLUMNS + (i ^ (k >> 2 & 3) << 3);
  }
  // k = 16 step + 4 q to 4 q + 3 of row i + by, where `by` is a constant and bits 3 and 4 of i + by % 32 do not carry: then few
  // addresses are left to compute.
  DRG_DEVICE void fragment(const float* tile, int i, int by, int step, float (&v)[4]) {
    const int k = 16 * step + 4 * (lane_index() & 3);
    if constexpr (MAJOR == Major::K) {
      load(tile + at(i, k) + by * SLICE, v);
    } else {
      const float* from = tile + at(i + by % 32, k) + by / 32 * 32;
#pragma unroll
      for (int e = 0; e < 4; e++) v[e] = from[e * COLUMNS];
    }
  }
};

// Bytes of the ring; the host asks for as many (src/ops/conv1d/cuda.rs).
template <class T, Major A, Major B> constexpr int shared_bytes() { return STAGES * 4 * (Operand<T::BM, A>::FLOATS + Operand<T::BN, B>::FLOATS); }

// sum = products of the slices first to last - 1.
template <class P, class T, Major MA, Major MB, class Load>
DRG_DEVICE void accumulate(typename T::Sums& sum, const float* ring, int first, int last, Load load) {
  using A = Operand<T::BM, MA>;
  using B = Operand<T::BN, MB>;
  constexpr int STAGE = A::FLOATS + B::FLOATS;
  const uint32_t address = shared_address(ring);
  const int row = T::first_row() + lane_index() / 4, column = T::first_column() + lane_index() / 4;
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
    if (first + s < last) load(address + s * STAGE * 4, address + (s * STAGE + A::FLOATS) * 4);
    cp_async_commit();
  }
  int stage = 0, next = STAGES - 1;
#pragma unroll 1
  for (int slice = first; slice < last; slice++) {
    cp_async_wait<STAGES - 2>();
    __syncthreads();   // everybody's copies are there, and everybody is done with the stage that is filled next
    if (slice + STAGES - 1 < last) load(address + next * STAGE * 4, address + (next * STAGE + A::FLOATS) * 4);
    cp_async_commit();
    const float *a = ring + stage * STAGE, *b = a + A::FLOATS;
    next = stage;
    stage = stage + 1 < STAGES ? stage + 1 : 0;
#pragma unroll 1
    for (int step = 0; step < SLICE / 16; step++) {
      typename P::A left[T::MI];
#pragma unroll
      for (int i = 0; i < T::MI; i++) {
        float v[2][4];
        A::fragment(a, row, 16 * i, step, v[0]);
        A::fragment(a, row, 16 * i + 8, step, v[1]);
        left[i] = P::a(v);
      }
#pragma unroll
      for (int j = 0; j < T::NJ; j += 2) {
        typename P::B right[2];
#pragma unroll
        for (int k = 0; k < 2; k++) {
          float v[4];
          B::fragment(b, column, T::COLUMN_STEP * (j + k), step, v);
          right[k] = P::b(v);
        }
        P::multiply(sum, j, left, right);
      }
    }
  }
}

// y[row(r)][first + column] = sum + bias for rows r of the tile; a row below 0 is not written. The bias may be null.
template <class T, class Row> DRG_DEVICE void write(const typename T::Sums& sum, const float* bias, float* y, int first, int n, Row row) {
  const int column = first + T::first_column() + lane_index() % 4 * 2;
  const bool pairs = n % 2 == 0 && reinterpret_cast<uintptr_t>(y) % 8 == 0;
#pragma unroll
  for (int i = 0; i < T::MI; i++) {
#pragma unroll
    for (int h = 0; h < 2; h++) {
      const long long at = row(T::first_row() + 16 * i + 8 * h + lane_index() / 4);
      if (at < 0) continue;
#pragma unroll
      for (int j = 0; j < T::NJ; j++) {
        const int c = column + T::COLUMN_STEP * j;
        float v[2] = {sum[i][j][2 * h], sum[i][j][2 * h + 1]};
        if (c >= n) continue;
        float* to = y + at * n + c;
        if (bias) {
          v[0] += bias[c];
          if (c + 1 < n) v[1] += bias[c + 1];
        }
        if (pairs) {
          store(to, v);
        } else {
          to[0] = v[0];
          if (c + 1 < n) to[1] = v[1];
        }
      }
    }
  }
}

// Asks for rows k to k + 31 (below `end`), columns from `first` on of a row-major matrix of n columns: an operand whose rows or
// columns run fastest. `wide`: n is a multiple of 4 and x of 16 bytes.
template <int EXTENT, int THREADS> DRG_DEVICE void load_matrix(uint32_t tile, const float* x, int k, int end, int first, int n, bool wide) {
  using To = Operand<EXTENT, Major::MN>;
  if (wide) {
    constexpr int EACH = THREADS / SLICE;
    const int row = threadIdx.x / EACH, column = threadIdx.x % EACH * 4;
    const float* from = x + (long long)(k + row) * n + first + column;
#pragma unroll
    for (int i = 0; i < EXTENT; i += 4 * EACH) {
      const bool inside = k + row < end && first + column + i < n;
      cp_async<16>(tile + 4 * To::at(column + i, row), inside ? from + i : x, inside);
    }
  } else {
    constexpr int WIDTH = EXTENT < 32 ? EXTENT : 32, STEP = THREADS / WIDTH;
    const int column = threadIdx.x % WIDTH;
#pragma unroll 1
    for (int row = threadIdx.x / WIDTH; row < SLICE; row += STEP) {
      const float* from = x + (long long)(k + row) * n + first + column;
#pragma unroll
      for (int i = 0; i < EXTENT; i += WIDTH) {
        const bool inside = k + row < end && first + column + i < n;
        cp_async<4>(tile + 4 * To::at(column + i, row), inside ? from + i : x, inside);
      }
    }
  }
}

// Where a thread's piece of k lies among taps of `channels` channels each, slice after slice.
struct Walk {
  int tap, channel;

  DRG_DEVICE Walk start(int k, int channels) { return {k / channels, k % channels}; }
  __device__ __forceinline__ void next(int channels, int slice = SLICE) {
    channel += slice;
    if (channel >= channels) {
      const int more = channels >= slice ? 1 : channel / channels;
      tap += more;
      channel -= more * channels;
    }
  }
};

// A thread's pieces of an operand in which k runs fastest: of 4 k, or of 1 where alignment does not allow that; slice after slice.
struct Pieces {
  bool wide;
  Walk walk;

  __device__ __forceinline__ void start(const float* x, int channels, int slice) {
    wide = channels % 4 == 0 && aligned16(x);
    walk = Walk::start(slice * SLICE + (wide ? threadIdx.x % 8 * 4 : threadIdx.x % 32), channels);
  }
  // f(std::integral_constant<int, k of a piece>) asks for those of this slice.
  template <class F> __device__ __forceinline__ void load(int channels, F f) {
    if (wide) f(std::integral_constant<int, 4>{});
    else f(std::integral_constant<int, 1>{});
    walk.next(channels);
  }
};

}  // namespace gemm
