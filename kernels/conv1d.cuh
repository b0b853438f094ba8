// conv1d.cuh: which rows of which taps a tile of a convolution reads; for conv1d.cu, conv1d_grad.cu and conv1d_half.cu.
// A row of the tile reads, under tap t, row base + v scale of x with v = position + t dilation if 0 <= v < extent, and zeros otherwise.
#pragma once
#include "gemm.cuh"

namespace conv1d {

// A position that no tap brings into any sequence.
constexpr int NOWHERE = -(1 << 30);

// Taps first to last - 1.
struct Taps {
  int first, last;
  // k = (tap, channel) in slices
  __device__ __forceinline__ int first_slice(int c, int slice = gemm::SLICE) const { return first * c / slice; }
  __device__ __forceinline__ int last_slice(int c, int slice = gemm::SLICE) const {
    return first < last ? ceil_div(last * c, slice) : first_slice(c, slice);
  }
};

// Rows of a tile, as Shifted and its twin in conv1d_half.cu find them.
struct Rows {
  int position, base;
  // Row r of y; see the head of conv1d.cu.
  DRG_DEVICE Rows of(int r, const int* from, const int* to, int per, int l, int stride, int pad) {
    const int whole = r / per, part = r - whole * per;
    if (from) return {(to ? to[part] + whole : 0) * stride - pad - from[part], part};
    return {part * stride - pad, whole * l};
  }
};

// The taps under which any row of the tile may exist. Every thread calls it, with its row's position if it has one (`mine`); what
// threads wrote to shared memory before is seen by all afterwards.
template <class T> DRG_DEVICE Taps taps_of_tile(bool mine, int position, int dilation, int extent, int taps) {
  const int most = block_max<T::THREADS>(mine ? position : NOWHERE), least = -block_max<T::THREADS>(mine ? -position : NOWHERE);
  const int first = most < 0 ? ceil_div(-most, dilation) : 0;
  const int last = extent > least ? (extent - 1 - least) / dilation + 1 : 0;
  return {first, min(last, taps)};
}

// Asks for slices of shifted rows, one after the other.
template <class T> struct Shifted {
  const float* x;
  const int *base, *position;   // of the tile's rows, in shared memory
  int c, taps, extent, dilation, scale;
  gemm::Pieces own;

  __device__ __forceinline__ void start(int slice) { own.start(x, c, slice); }
  __device__ __forceinline__ void load(uint32_t tile) {
    own.load(c, [&](auto v) { pieces<decltype(v)::value>(tile); });
  }

 private:
  template <int V> __device__ __forceinline__ void pieces(uint32_t tile) {
    constexpr int PIECES = gemm::SLICE / V, STEP = T::THREADS / PIECES;
    const int k = (int)threadIdx.x % PIECES * V, moved = own.walk.tap * dilation;
    const bool tap = own.walk.tap < taps;
    static_assert(T::BM % STEP == 0, "threads share the tile evenly");
#pragma unroll(V)
    for (int i = 0; i < T::BM / STEP; i++) {
      const int row = (int)threadIdx.x / PIECES + i * STEP;
      const unsigned v = (unsigned)(position[row] + moved);
      const bool exists = tap && v < (unsigned)extent;
      const float* from = x + (long long)(int)(v * (unsigned)scale + (unsigned)base[row]) * c + own.walk.channel;
      cp_async<4 * V>(tile + 4 * gemm::Operand<T::BM, gemm::Major::K>::at(row, k), exists ? from : x, exists);
    }
  }
};

}  // namespace conv1d
