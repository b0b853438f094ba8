// conv1d_sm90.cu: dilated 1-D convolution of stride 1 on the tensor cores of compute capability 9.0: forward, changes, input gradients.
// Host side: src/ops/conv1d/sm90.rs
// Maths:     raw[s, p, :] = bias + sum over taps t of x[s, p + t dilation - pad, :] w[tap_first + t tap_step]^T, rows outside of 0..l are zero.
//            bf16x2: x and w are each the sum of two bf16 numbers, high + low (16 bits); f16x2: of two f16 numbers (22 bits) that were
//            scaled by a power of two, of a group of rows of x and of w, and y is scaled back. A sequence has `groups` of them, which take
//            turns row by row: 1 if taps combine its rows, one per mutant if the taps are as far apart, l if there is one tap
// Layout:    channels last, 16-bit operands (conv1d_pack.cu): x [parts, sequences, l, cp], w [parts, taps, n, cp],
//            channels padded with zeros to cp, a multiple of 8; part 1 is the low one. bias [n] or null; residual, raw, sum, normed [sequences,
//            per, n], f32, and operand [.., n rounded up to 8], any of them null (epilogue.cuh).
//            x_map: (64 channels, box_rows, box_sequences) of (cp, l, parts * sequences); w_map: (64, N, 1) of (cp, n, parts * taps);
//            both swizzled by 128 bytes
// Entries:   conv1d_fwd<N>_<dtype>_sm90: bf16, f16, bf16x2, f16x2; grid any (persistent), block 384
//            <N>                      tile       stage
//            64, 128, 160             256 x N    32 KB + N / 8 KB    dynamic shared memory: stages * stage, 1 to 8 stages
//            192, 256                 128 x N    16 KB + N / 8 KB
//            64, 128, 160, 192 x2     128 x N    32 KB + N / 4 KB
//            conv1d_norm<N>_<dtype>_sm90: with a norm; 64, 128, 160, and 256 without x2: 128 x N
//            x_largest [sequences, groups], w_largest: for f16x2, from conv1d_pack_largest; for others null
// Method:    gemm_sm90.cuh; a stage has 64 channels of one tap, a tile box_sequences times box_rows rows
// Limits:    finite numbers (infinite ones become NaN in x2); box_rows * box_sequences <= rows of the tile; positions and rows below
//            2^31; c, n any; where a sequence has several groups, they divide l, dilation and pad
// Order:     k = (tap, channel) in steps of 16, whatever the tile (gemm_sm90.cuh); taps whose rows all lie outside of a tile's sequences add
//            zeros and are left out
// Measured:  not on a GPU yet
#include "gemm_sm90.cuh"

namespace {

// Tiles of BN columns of the convolution; see gemm_sm90.cuh.
template <int BN, bool S> struct Forward {
  static constexpr gemm::Scaled SCALED = S ? gemm::Scaled::Rows : gemm::Scaled::No;
  struct Tile {
    int column, position, sequence, first_tap, last_tap;
  };
  struct Step {
    int tap, slice;
  };
  int per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences;
  const int *x_largest, *w_largest;   // what operands were scaled by
  int groups;

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
  // One scale for a row and all that it reads: of its sequence, of its mutant, or, with one tap, of the row of x.
  __device__ __forceinline__ int exponent(const Tile& t, int i) const {
    const int r = (int)max(row(t, i), 0LL), sequence = r / per, group = scale_group(r - sequence * per - pad, groups);
    return -scale_exponent(x_largest[(long long)sequence * groups + group]) - scale_exponent(*w_largest);
  }
};

}  // namespace

extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd64_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<64, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 64, 2, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd128_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<128, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 128, 2, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd160_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<160, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 160, 2, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd192_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<192, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 192, 1, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd256_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<256, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 256, 1, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd64_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<64, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 64, 2, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd128_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<128, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 128, 2, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd160_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<160, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 160, 2, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd192_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<192, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 192, 1, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd256_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<256, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 256, 1, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd64_bf16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<64, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 64, 1, 2>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd128_bf16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<128, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 128, 1, 2>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd160_bf16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<160, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 160, 1, 2>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd192_bf16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<192, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 192, 1, 2>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd64_f16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<64, true> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 64, 1, 2>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd128_f16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<128, true> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 128, 1, 2>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd160_f16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<160, true> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 160, 1, 2>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_fwd192_f16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<192, true> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 192, 1, 2>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_norm64_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum,
    const float* __restrict__ table, float* normed, bf16* operand, int f, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<64, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 64, 1, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Norm<bf16>{table, normed, operand, f}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_norm128_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum,
    const float* __restrict__ table, float* normed, bf16* operand, int f, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<128, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 128, 1, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Norm<bf16>{table, normed, operand, f}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_norm160_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum,
    const float* __restrict__ table, float* normed, bf16* operand, int f, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<160, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 160, 1, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Norm<bf16>{table, normed, operand, f}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_norm256_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum,
    const float* __restrict__ table, float* normed, bf16* operand, int f, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<256, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 256, 1, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Norm<bf16>{table, normed, operand, f}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_norm64_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum,
    const float* __restrict__ table, float* normed, f16* operand, int f, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<64, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 64, 1, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Norm<f16>{table, normed, operand, f}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_norm128_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum,
    const float* __restrict__ table, float* normed, f16* operand, int f, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<128, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 128, 1, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Norm<f16>{table, normed, operand, f}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_norm160_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum,
    const float* __restrict__ table, float* normed, f16* operand, int f, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<160, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 160, 1, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Norm<f16>{table, normed, operand, f}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_norm256_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum,
    const float* __restrict__ table, float* normed, f16* operand, int f, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<256, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 256, 1, 1>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Norm<f16>{table, normed, operand, f}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_norm64_bf16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum,
    const float* __restrict__ table, float* normed, bf16* operand, int f, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<64, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 64, 1, 2>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Norm<bf16>{table, normed, operand, f}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_norm128_bf16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum,
    const float* __restrict__ table, float* normed, bf16* operand, int f, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<128, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 128, 1, 2>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Norm<bf16>{table, normed, operand, f}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_norm160_bf16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum,
    const float* __restrict__ table, float* normed, bf16* operand, int f, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<160, false> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<bf16, 160, 1, 2>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Norm<bf16>{table, normed, operand, f}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_norm64_f16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum,
    const float* __restrict__ table, float* normed, f16* operand, int f, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<64, true> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 64, 1, 2>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Norm<f16>{table, normed, operand, f}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_norm128_f16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum,
    const float* __restrict__ table, float* normed, f16* operand, int f, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<128, true> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 128, 1, 2>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Norm<f16>{table, normed, operand, f}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_norm160_f16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap w_map, const float* __restrict__ bias, const float* residual,
    float* raw, float* sum,
    const float* __restrict__ table, float* normed, f16* operand, int f, const int* __restrict__ x_largest, const int* __restrict__ w_largest, int groups, int per, int sequences,
    int n, int taps, int l, int pad, int dilation, int slices, int tap_first, int tap_step, int weight_taps, int box_rows, int box_sequences, int stages) {
  const Forward<160, true> work{per, sequences, n, taps, l, pad, dilation, slices, tap_first, tap_step, weight_taps, box_rows, box_sequences, x_largest, w_largest, groups};
  gemm::multiply_all<f16, 160, 1, 2>(work, {x_map, w_map}, {bias, residual, raw, sum}, gemm::Norm<f16>{table, normed, operand, f}, stages);
}
