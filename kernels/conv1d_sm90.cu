// conv1d_sm90.cu: dilated 1-D convolution of stride 1 on the tensor cores of compute capability 9.0: forward, changes, input gradients.
// Host side: src/ops/conv1d/sm90.rs
// Maths:     y[s, p, :] = bias + sum over taps t of x[s, p + t dilation - pad, :] w[tap_first + t tap_step]^T, rows outside of 0..l are zero.
//            Split: x and w are each the sum of two bf16 numbers, high + low (16 bits); of the four products low low is left out
// Layout:    channels last, 16-bit operands that the `pack` entries make of f32: x [parts, sequences, l, cp], w [parts, taps, n, cp],
//            channels padded with zeros to cp, a multiple of 8; part 1 is the low one. bias [n] or null, y [sequences, per, n], f32.
//            x_map: (64 channels, box_rows, box_sequences) of (cp, l, parts * sequences); w_map: (64, N, 1) of (cp, n, parts * taps);
//            both swizzled by 128 bytes
// Entries:   conv1d_fwd<N>_<dtype>_sm90: bf16, f16, split; grid any (persistent), block 384
//            <N>                      tile       stage
//            64, 128, 160             256 x N    32 KB + N / 8 KB    dynamic shared memory: stages * stage, 1 to 8 stages
//            192, 256                 128 x N    16 KB + N / 8 KB
//            64, 128, 160, 192 split  128 x N    32 KB + N / 4 KB
//            conv1d_pack_rows_<dtype>_sm90     [rows, c] to [parts, rows, cp], any grid and block
//            conv1d_pack_weight_<dtype>_sm90   [taps, c, n] to [parts, taps, n, cp], grid (ceil(cp / 64), ceil(n / 32), taps), block 256
// Method:    gemm_sm90.cuh; a stage has 64 channels of one tap, a tile box_sequences times box_rows rows
// Limits:    finite numbers (infinite ones become NaN when split); box_rows * box_sequences <= rows of the tile; positions and rows below
//            2^31; c, n, dilation, pads any
// Order:     k = (tap, channel) in steps of 16, whatever the tile (gemm_sm90.cuh); taps whose rows all lie outside of a tile's sequences add
//            zeros and are left out
// Measured:  not on a GPU yet
#include "gemm_sm90.cuh"

namespace {

// Tiles of BN columns of the convolution; see gemm_sm90.cuh.
template <int BN> struct Forward {
  struct Tile {
    int column, position, sequence, first_tap, last_tap;
  };
  struct Step {
    int tap, slice;
  };
  int per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences;

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

template <typename T> DRG_DEVICE void pack_rows(const float* x, T* y, long long rows, int c, int cp, int parts) {
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
    split8(v, y + row * cp + 8 * piece, rows * cp, parts);
  });
}

// 64 channels x 32 outputs of one tap.
template <typename T> DRG_DEVICE void pack_weight(const float* w, T* y, int c, int n, int cp, int parts) {
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
  split8(v, y + ((long long)tap * n + output + o) * cp + channel + first, (long long)gridDim.z * n * cp, parts);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd64_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<64> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences};
  gemm::multiply_all<bf16, 64, 2, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd128_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<128> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences};
  gemm::multiply_all<bf16, 128, 2, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd160_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<160> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences};
  gemm::multiply_all<bf16, 160, 2, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd192_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<192> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences};
  gemm::multiply_all<bf16, 192, 1, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd256_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<256> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences};
  gemm::multiply_all<bf16, 256, 1, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd64_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<64> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences};
  gemm::multiply_all<f16, 64, 2, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd128_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<128> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences};
  gemm::multiply_all<f16, 128, 2, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd160_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<160> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences};
  gemm::multiply_all<f16, 160, 2, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd192_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<192> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences};
  gemm::multiply_all<f16, 192, 1, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd256_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<256> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences};
  gemm::multiply_all<f16, 256, 1, 1>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd64_split_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<64> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences};
  gemm::multiply_all<bf16, 64, 1, 2>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd128_split_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<128> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences};
  gemm::multiply_all<bf16, 128, 1, 2>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd160_split_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<160> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences};
  gemm::multiply_all<bf16, 160, 1, 2>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd192_split_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias,
    float* __restrict__ y, int per, int sequences, int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step,
    int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<192> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences};
  gemm::multiply_all<bf16, 192, 1, 2>(work, {x_map, w_map}, bias, y, stages);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_rows_bf16_sm90(const float* __restrict__ x, bf16* __restrict__ y, long long rows, int c, int cp, int parts) {
  pack_rows(x, y, rows, c, cp, parts);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_weight_bf16_sm90(const float* __restrict__ w, bf16* __restrict__ y, int c, int n, int cp, int parts) {
  pack_weight(w, y, c, n, cp, parts);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_rows_f16_sm90(const float* __restrict__ x, f16* __restrict__ y, long long rows, int c, int cp, int parts) {
  pack_rows(x, y, rows, c, cp, parts);
}
extern "C" __global__ void __launch_bounds__(256) conv1d_pack_weight_f16_sm90(const float* __restrict__ w, f16* __restrict__ y, int c, int n, int cp, int parts) {
  pack_weight(w, y, c, n, cp, parts);
}
