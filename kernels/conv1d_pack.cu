// conv1d_pack.cu: operands of matrix products as the tensor cores take them: 16 bits, one or two parts, k fastest.
// Host side: src/ops/conv1d/operands.rs
// Maths:     one part: rounded to nearest. Two parts: high = rounded, low = x - high, rounded; times a power of two before that if the
//            largest magnitudes of the numbers that share a scale are given (scale.cuh)
// Layout:    rows [rows, c] to [parts, rows, cp]; weights [taps, c, n] to [parts, taps, n, cp]; cp = c rounded up to 8, zeros behind c.
//            Row r of sequences of `per` rows has scale r / per * groups + r % groups, where groups divides per: 1 is a scale per
//            sequence, `per` one per row, between them one for each of interleaved mutants
// Entries:   conv1d_pack_rows_<dtype>          any grid, block 256
//            conv1d_pack_weight_<dtype>        grid (ceil(cp / 64), ceil(n / 32), taps), block 256; one scale, or one for each of n
//            conv1d_pack_turned_<dtype>        the same of 16-bit rows [taps, c, pitch], one part
//            conv1d_pack_largest_f32           bits of the largest magnitude in every group of rows [sequences * per, c], where zeros were
//                                              before; any grid and block of whole warps
//            conv1d_pack_columns_f32           likewise in every column of [rows, n]: grid (ceil(n / 32), any), block 256
// Limits:    any alignment of f32; rows below 2^31; numbers beyond f16's range are infinite there without a scale
// Order:     every element alone; the largest of numbers is the same in every order
// Measured:  not on a GPU yet
#include "operand.cuh"
#include "scale.cuh"

namespace {

// x as the sum of `parts` numbers, to y and, apart by `apart`, behind it.
template <typename T> DRG_DEVICE void split8(const float (&x)[8], T* y, long long apart, int parts) {
  Pack<T, 8> high, low;
#pragma unroll
  for (int e = 0; e < 8; e++) {
    high.v[e] = from_float<T>(x[e]);
    low.v[e] = from_float<T>(x[e] - to_float(high.v[e]));
  }
  *reinterpret_cast<Pack<T, 8>*>(y) = high;
  if (parts > 1) *reinterpret_cast<Pack<T, 8>*>(y + apart) = low;
}

DRG_DEVICE void scale8(float (&x)[8], int largest) {
  const float scale = power_of_two(scale_exponent(largest));
#pragma unroll
  for (int e = 0; e < 8; e++) x[e] *= scale;
}

// A warp takes up to 4096 elements of a row, or of a sequence whose rows have one scale. Largest numbers do not depend on the order in which
// they are found.
DRG_DEVICE void largest_of_groups(const float* x, int* largest, int runs, long long size, int per, int groups) {
  constexpr int PIECE = 4096;
  const unsigned pieces = (unsigned)ceil_div(size, (long long)PIECE), warps = gridDim.x * (blockDim.x / 32);
  const long long count_all = (long long)runs * pieces;
  for (long long i = blockIdx.x * (blockDim.x / 32) + warp_index(); i < count_all; i += warps) {
    const long long run = i / pieces, first = (i - run * pieces) * PIECE;
    const int count = (int)min(size - first, (long long)PIECE);
    const float* from = x + run * size + first;
    const int fast = aligned16(from) ? count / 4 * 4 : 0;
    int most = 0;
#pragma unroll 4
    for (int k = 4 * lane_index(); k < fast; k += 128) {
      const float4 v = load4(from + k);
      most = max(max(most, max(magnitude(v.x), magnitude(v.y))), max(magnitude(v.z), magnitude(v.w)));
    }
    for (int k = fast + lane_index(); k < count; k += 32) most = max(most, magnitude(from[k]));
    most = warp_max(most);
    if (lane_index() == 0) atomicMax(largest + run / per * groups + run % groups, most);
  }
}

// A warp takes 32 columns of every so-manieth row.
DRG_DEVICE void largest_of_columns(const float* x, int* largest, int rows, int n) {
  using Row = int[32];
  SHARED(Row, found, 8);
  const int lane = lane_index(), warp = warp_index(), column = (int)blockIdx.x * 32 + lane;
  int most = 0;
  if (column < n) {
#pragma unroll 8
    for (int r = (int)blockIdx.y * 8 + warp; r < rows; r += 8 * (int)gridDim.y) most = max(most, magnitude(x[(long long)r * n + column]));
  }
  found[warp][lane] = most;
  __syncthreads();
  if (warp > 0 || column >= n) return;
#pragma unroll
  for (int w = 1; w < 8; w++) most = max(most, found[w][lane]);
  atomicMax(largest + column, most);
}

template <typename T> DRG_DEVICE void pack_rows(const float* x, T* y, const int* largest, long long rows, int per, int groups, int c, int cp,
                                                 int parts) {
  const bool wide = c % 4 == 0 && aligned16(x);
  each_cell(rows, cp / 8, [=](long long row, int piece) {
    float v[8];
    load_eight(x + row * c, 8 * piece, c, wide, v);
    if (largest) scale8(v, largest[(unsigned)row / (unsigned)per * (unsigned)groups + (unsigned)row % (unsigned)groups]);
    split8(v, y + row * cp + 8 * piece, rows * cp, parts);
  });
}

// 64 channels x 32 outputs of one tap, whose rows are `pitch` elements apart.
template <typename From, typename T>
DRG_DEVICE void pack_weight(const From* w, T* y, const int* largest, int scales, int c, int n, int pitch, int cp, int parts) {
  using Row = float[33];
  SHARED(Row, turned, 64);
  const int channel = blockIdx.x * 64, output = blockIdx.y * 32, tap = blockIdx.z, lane = lane_index();
#pragma unroll
  for (int i = warp_index(); i < 64; i += 8) {
    const bool exists = channel + i < c && output + lane < n;
    turned[i][lane] = exists ? to_float(w[((long long)tap * c + channel + i) * pitch + output + lane]) : 0.0f;
  }
  __syncthreads();
  const int o = threadIdx.x / 8, first = threadIdx.x % 8 * 8;
  if (output + o >= n || channel + first >= cp) return;
  float v[8];
#pragma unroll
  for (int e = 0; e < 8; e++) v[e] = turned[first + e][o];
  if (largest) scale8(v, largest[(output + o) % scales]);
  split8(v, y + ((long long)tap * n + output + o) * cp + channel + first, (long long)gridDim.z * n * cp, parts);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256) conv1d_pack_rows_bf16(
    const float* __restrict__ x, bf16* __restrict__ y, const int* __restrict__ largest, long long rows, int per, int groups, int c, int cp, int parts) {
  pack_rows(x, y, largest, rows, per, groups, c, cp, parts);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_weight_bf16(
    const float* __restrict__ w, bf16* __restrict__ y, const int* __restrict__ largest, int scales, int c, int n, int cp,
    int parts) {
  pack_weight(w, y, largest, scales, c, n, n, cp, parts);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_turned_bf16(
    const bf16* __restrict__ x, bf16* __restrict__ y, int c, int n, int pitch, int cp) {
  pack_weight(x, y, nullptr, 1, c, n, pitch, cp, 1);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_rows_f16(
    const float* __restrict__ x, f16* __restrict__ y, const int* __restrict__ largest, long long rows, int per, int groups, int c, int cp, int parts) {
  pack_rows(x, y, largest, rows, per, groups, c, cp, parts);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_weight_f16(
    const float* __restrict__ w, f16* __restrict__ y, const int* __restrict__ largest, int scales, int c, int n, int cp,
    int parts) {
  pack_weight(w, y, largest, scales, c, n, n, cp, parts);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_turned_f16(
    const f16* __restrict__ x, f16* __restrict__ y, int c, int n, int pitch, int cp) {
  pack_weight(x, y, nullptr, 1, c, n, pitch, cp, 1);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_largest_f32(
    const float* __restrict__ x, int* __restrict__ largest, int runs, long long size, int per, int groups) {
  largest_of_groups(x, largest, runs, size, per, groups);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_columns_f32(const float* __restrict__ x, int* __restrict__ largest, int rows, int n) {
  largest_of_columns(x, largest, rows, n);
}
