// conv1d_sm90.cu: dilated 1-D convolution of stride 1 on the tensor cores of compute capability 9.0: forward, changes, input gradients.
// Host side: src/ops/conv1d/sm90.rs
// Maths:     y[s, p, :] = bias + sum over taps t of x[s, p + t dilation - pad, :] w[tap_first + t tap_step]^T, rows outside of 0..l are zero.
//            bf16x2: x and w are each the sum of two bf16 numbers, high + low (16 bits); f16x2: of two f16 numbers (22 bits) that were
//            scaled by a power of two, of a sequence of x (of a row, if there is one tap) and of w, and y is scaled back
// Layout:    channels last, 16-bit operands that the `pack` entries make of f32: x [parts, sequences, l, cp], w [parts, taps, n, cp],
//            channels padded with zeros to cp, a multiple of 8; part 1 is the low one. bias [n] or null, y [sequences, per, n], f32.
//            x_map: (64 channels, box_rows, box_sequences) of (cp, l, parts * sequences); w_map: (64, N, 1) of (cp, n, parts * taps);
//            both swizzled by 128 bytes
// Entries:   conv1d_fwd<N>_<dtype>_sm90: bf16, f16, bf16x2, f16x2; grid any (persistent), block 384
//            <N>                      tile       stage
//            64, 128, 160             256 x N    32 KB + N / 8 KB    dynamic shared memory: stages * stage, 1 to 8 stages
//            192, 256                 128 x N    16 KB + N / 8 KB
//            64, 128, 160, 192 x2     128 x N    32 KB + N / 4 KB
//            x_largest, w_largest, by_row: for f16x2, from conv1d_largest; for others null
//            conv1d_largest_f32_sm90           [groups, size] to the bits of each group's largest magnitude, where zeros were before; any
//                                              grid and block of whole warps
//            conv1d_pack_rows_<dtype>_sm90     [rows, c] to [parts, rows, cp], any grid and block; `largest` null or of groups of `group` rows
//            conv1d_pack_weight_<dtype>_sm90   [taps, c, n] to [parts, taps, n, cp], grid (ceil(cp / 64), ceil(n / 32), taps), block 256
// Method:    gemm_sm90.cuh; a stage has 64 channels of one tap, a tile box_sequences times box_rows rows
// Limits:    finite numbers (infinite ones become NaN in x2); box_rows * box_sequences <= rows of the tile; positions and rows below
//            2^31; c, n, dilation, pads any
// Order:     k = (tap, channel) in steps of 16, whatever the tile (gemm_sm90.cuh); taps whose rows all lie outside of a tile's sequences add
//            zeros and are left out
// Measured:  not on a GPU yet
#include "gemm_sm90.cuh"

namespace {

// The power of two that brings numbers, the largest of which has these bits without its sign, to below 2^15: f16 ends at 65504.
DRG_DEVICE int scale_exponent(int largest) { return largest ? min(14 + 127 - (largest >> 23), 126) : 0; }
DRG_DEVICE int magnitude(float x) { return __float_as_int(x) & 0x7fffffff; }
DRG_DEVICE float power_of_two(int exponent) { return __int_as_float((exponent + 127) << 23); }

// Tiles of BN columns of the convolution; see gemm_sm90.cuh.
template <int BN, bool S> struct Forward {
  static constexpr bool SCALED = S;
  struct Tile {
    int column, position, sequence, first_tap, last_tap;
  };
  struct Step {
    int tap, slice;
  };
  int per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences;
  const int *x_largest, *w_largest;   // what operands were scaled by
  int by_row;

  __device__ __forceinline__ int count() const { return ceil_div(per, box_rows) * ceil_div(sequences, box_sequences) * ceil_div(n, BN); }
  // Neighbours in columns follow each other, so that the rows they share are in the second-level cache. At least one tap: sums begin with it.
  __device__ __forceinline__ Tile at(int index) const {
    const int columns = ceil_div(n, BN), along = ceil_div(per, box_rows), rows = index / columns;
    Tile t;
    t.column = (index - rows * columns) * BN;
    t.sequence = rows / along * box_sequences;
    t.position = rows % along * box_rows;
    const int least = t.position - pad, most = min(t.position + box_rows, per) - 1 - pad;
    t.first_tap = min(most < 0 ? ceil_div(-most, dilation) : 0, taps - 1);
    t.last_tap = max(least < l ? min((l - 1 - least) / dilation + 1, taps) : 0, t.first_tap + 1);
    return t;
  }
  __device__ __forceinline__ int steps(const Tile& t) const { return (t.last_tap - t.first_tap) * slices; }
  __device__ __forceinline__ Step first(const Tile& t) const { return {t.first_tap, 0}; }
  __device__ __forceinline__ void next(Step& s) const {
    if (++s.slice == slices) {
      s.slice = 0;
      s.tap++;
    }
  }
  __device__ __forceinline__ int bytes() const { return (box_rows * box_sequences + BN) * gemm::ROW; }
  template <class Ring> __device__ __forceinline__ void load(const Ring& ring, const gemm::Maps& maps, int part, const Tile& t, const Step& s, uint32_t bar) const {
    tensor_load(ring.a(part), maps.a, bar, 64 * s.slice, t.position + s.tap * dilation - pad, part * sequences + t.sequence);
    tensor_load(ring.b(part), maps.b, bar, 64 * s.slice, t.column, part * weight_taps + tap_first + s.tap * tap_step);
  }
  __device__ __forceinline__ int column(const Tile& t) const { return t.column; }
  __device__ __forceinline__ long long row(const Tile& t, int i) const {
    const int of_box = i / box_rows, sequence = t.sequence + of_box, position = t.position + i - of_box * box_rows;
    return of_box < box_sequences && sequence < sequences && position < per ? (long long)sequence * per + position : -1;
  }
  // One scale for a row and all that it reads: of its sequence, or with one tap of the row of x.
  __device__ __forceinline__ gemm::Scale scale(const Tile& t, int i) const {
    const int r = (int)max(row(t, i), 0LL), sequence = r / per, position = r - sequence * per - pad;
    const long long group = by_row ? (long long)sequence * l + min(max(position, 0), l - 1) : sequence;
    const int exponent = -scale_exponent(x_largest[group]) - scale_exponent(*w_largest);
    return {power_of_two(exponent / 2), power_of_two(exponent - exponent / 2)};
  }
};

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

// A warp takes 4096 elements of a group. Largest numbers do not depend on the order in which they are found.
DRG_DEVICE void largest_of_groups(const float* x, int* largest, int groups, long long size) {
  constexpr int PIECE = 4096;
  const unsigned pieces = (unsigned)ceil_div(size, (long long)PIECE), warps = gridDim.x * (blockDim.x / 32);
  for (unsigned i = blockIdx.x * (blockDim.x / 32) + warp_index(); i < (unsigned)groups * pieces; i += warps) {
    const long long group = i / pieces, first = (long long)(i % pieces) * PIECE;
    const int count = (int)min(size - first, (long long)PIECE);
    const float* from = x + group * size + first;
    const int fast = aligned16(from) ? count / 4 * 4 : 0;
    int most = 0;
#pragma unroll 4
    for (int k = 4 * lane_index(); k < fast; k += 128) {
      const float4 v = load4(from + k);
      most = max(max(most, max(magnitude(v.x), magnitude(v.y))), max(magnitude(v.z), magnitude(v.w)));
    }
    for (int k = fast + lane_index(); k < count; k += 32) most = max(most, magnitude(from[k]));
    most = warp_max(most);
    if (lane_index() == 0) atomicMax(largest + group, most);
  }
}

template <typename T> DRG_DEVICE void pack_rows(const float* x, T* y, const int* largest, long long rows, int group, int c, int cp, int parts) {
  const bool wide = c % 4 == 0 && aligned16(x);
  each_cell(rows, cp / 8, [=](long long row, int piece) {
    const float* from = x + row * c + 8 * piece;
    const int left = c - 8 * piece;
    float v[8] = {};
    if (wide) {
#pragma unroll
      for (int i = 0; i < 8; i += 4) {
        if (left <= i) continue;
        const float4 four = load4(from + i);
        v[i] = four.x;
        v[i + 1] = four.y;
        v[i + 2] = four.z;
        v[i + 3] = four.w;
      }
    } else {
#pragma unroll
      for (int i = 0; i < 8; i++) v[i] = i < left ? from[i] : 0.0f;
    }
    if (largest) scale8(v, largest[(unsigned)row / (unsigned)group]);
    split8(v, y + row * cp + 8 * piece, rows * cp, parts);
  });
}

// 64 channels x 32 outputs of one tap.
template <typename T> DRG_DEVICE void pack_weight(const float* w, T* y, const int* largest, int c, int n, int cp, int parts) {
  using Row = float[33];
  SHARED(Row, turned, 64);
  const int channel = blockIdx.x * 64, output = blockIdx.y * 32, tap = blockIdx.z, lane = lane_index();
#pragma unroll
  for (int i = warp_index(); i < 64; i += 8) {
    const bool exists = channel + i < c && output + lane < n;
    turned[i][lane] = exists ? w[((long long)tap * c + channel + i) * n + output + lane] : 0.0f;
  }
  __syncthreads();
  const int o = threadIdx.x / 8, first = threadIdx.x % 8 * 8;
  if (output + o >= n || channel + first >= cp) return;
  float v[8];
#pragma unroll
  for (int e = 0; e < 8; e++) v[e] = turned[first + e][o];
  if (largest) scale8(v, *largest);
  split8(v, y + ((long long)tap * n + output + o) * cp + channel + first, (long long)gridDim.z * n * cp, parts);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd64_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<64, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<bf16, 64, 2, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd128_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<128, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<bf16, 128, 2, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd160_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<160, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<bf16, 160, 2, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd192_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<192, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<bf16, 192, 1, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd256_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<256, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<bf16, 256, 1, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd64_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<64, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<f16, 64, 2, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd128_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<128, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<f16, 128, 2, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd160_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<160, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<f16, 160, 2, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd192_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<192, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<f16, 192, 1, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd256_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<256, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<f16, 256, 1, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd64_bf16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<64, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<bf16, 64, 1, 2>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd128_bf16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<128, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<bf16, 128, 1, 2>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd160_bf16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<160, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<bf16, 160, 1, 2>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd192_bf16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<192, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<bf16, 192, 1, 2>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd64_f16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<64, true> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<f16, 64, 1, 2>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd128_f16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<128, true> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<f16, 128, 1, 2>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd160_f16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<160, true> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<f16, 160, 1, 2>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd192_f16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    const int* __restrict__ x_largest, const int* __restrict__ w_largest, int by_row,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<192, true> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, by_row};
  gemm::multiply_all<f16, 192, 1, 2>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_rows_bf16_sm90(
    const float* __restrict__ x, bf16* __restrict__ y, const int* __restrict__ largest, long long rows, int group, int c, int cp, int parts) {
  pack_rows(x, y, largest, rows, group, c, cp, parts);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_weight_bf16_sm90(
    const float* __restrict__ w, bf16* __restrict__ y, const int* __restrict__ largest, int c, int n,
    int cp, int parts) {
  pack_weight(w, y, largest, c, n, cp, parts);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_rows_f16_sm90(
    const float* __restrict__ x, f16* __restrict__ y, const int* __restrict__ largest, long long rows, int group, int c, int cp, int parts) {
  pack_rows(x, y, largest, rows, group, c, cp, parts);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_weight_f16_sm90(
    const float* __restrict__ w, f16* __restrict__ y, const int* __restrict__ largest, int c, int n,
    int cp, int parts) {
  pack_weight(w, y, largest, c, n, cp, parts);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_largest_f32_sm90(const float* __restrict__ x, int* __restrict__ largest, int groups, long long size) {
  largest_of_groups(x, largest, groups, size);
}
