// conv1d_grad_sm90.cu: weight gradient of dilated 1-D convolution of stride 1 on the tensor cores of compute capability 9.0.
// Host side: src/ops/conv1d/sm90.rs
// Maths:     parts[i, t, k, :] = sum over sequences s and rows p of part i of x[s, p + t dilation - pad, k] dy[s, p, :], rows of x outside
//            of the sequence are zero; x2: as in conv1d_sm90.cu, but f16x2 has one scale for every channel of x and of dy: k are rows,
//            all of which a sum combines
// Layout:    rows run fastest: x [halves, sequences, c, lp], dy [halves, sequences, n, pp], 16 bits, padded with zeros to multiples of 8, made
//            by conv1d_pack_weight_<dtype>, or conv1d_pack_turned_<dtype>; parts [.., taps, c, n], f32.
//            x_map: boxes (64 rows, 64 channels, 1); dy_map: (64 rows, N channels, 1); both swizzled by 128 bytes
// Entries:   conv1d_grad_weight<N>_<dtype>_sm90: bf16, f16, bf16x2, f16x2; grid any (persistent), block 384; tiles and shared memory as in
//            conv1d_sm90.cu. x_largest [c], dy_largest [n]: for f16x2, from conv1d_pack_columns; for others null
// Method:    gemm_sm90.cuh; k are rows, a stage has 64 of one sequence, and a tap is another place of x's copy. A tile's rows are 2 or 4
//            blocks of 64 channels of one tap each.
// Limits:    finite numbers; slices * sequences, taps * c below 2^31
// Order:     rows of a part in steps of 16; what a part is depends on sizes alone (the host)
// Measured:  not on a GPU yet
#include "gemm_sm90.cuh"

namespace {

// Tiles of BM rows and BN columns of the gradient of one part; see gemm_sm90.cuh.
template <int BM, int BN, bool S> struct Weight {
  static constexpr gemm::Scaled SCALED = S ? gemm::Scaled::Both : gemm::Scaled::No;
  struct Tile {
    int column, block, part, steps;
  };
  struct Step {
    int sequence, slice;
  };
  int n, c, taps, sequences, slices, chunk, parts, pad, dilation;   // slices of a sequence, and of a part
  const int *x_largest, *dy_largest;

  __device__ __forceinline__ int blocks() const { return ceil_div(c, 64); }
  __device__ __forceinline__ int count() const { return ceil_div(n, BN) * ceil_div(taps * blocks(), BM / 64) * parts; }
  __device__ __forceinline__ Tile at(int index) const {
    const int columns = ceil_div(n, BN), rows = ceil_div(taps * blocks(), BM / 64), rest = index / columns;
    Tile t;
    t.column = (index - rest * columns) * BN;
    t.block = rest % rows * (BM / 64);
    t.part = rest / rows;
    t.steps = min(chunk, slices * sequences - t.part * chunk);
    return t;
  }
  __device__ __forceinline__ int steps(const Tile& t) const { return t.steps; }
  __device__ __forceinline__ Step first(const Tile& t) const { return {t.part * chunk / slices, t.part * chunk % slices}; }
  __device__ __forceinline__ void next(Step& s) const {
    if (++s.slice == slices) {
      s.slice = 0;
      s.sequence++;
    }
  }
  __device__ __forceinline__ int bytes() const { return (BM + BN) * gemm::ROW; }
  template <class Ring> __device__ __forceinline__ void load(const Ring& ring, const gemm::Maps& maps, int part, const Tile& t, const Step& s, uint32_t bar) const {
    const int of_tap = blocks(), sequence = part * sequences + s.sequence;
    int tap = t.block / of_tap, block = t.block - tap * of_tap;
#pragma unroll
    for (int i = 0; i < BM / 64; i++) {
      tensor_load(ring.a(part) + i * 64 * gemm::ROW, maps.a, bar, 64 * s.slice + tap * dilation - pad, 64 * block, sequence);
      if (++block == of_tap) {
        block = 0;
        tap++;
      }
    }
    tensor_load(ring.b(part), maps.b, bar, 64 * s.slice, t.column, sequence);
  }
  __device__ __forceinline__ int column(const Tile& t) const { return t.column; }
  __device__ __forceinline__ long long row(const Tile& t, int i) const {
    const int of_tap = blocks(), at = t.block + i / 64, tap = at / of_tap, channel = (at - tap * of_tap) * 64 + i % 64;
    return tap < taps && channel < c ? ((long long)t.part * taps + tap) * c + channel : -1;
  }
  __device__ __forceinline__ int exponent(const Tile& t, int i) const {
    const int channel = (t.block + i / 64) % blocks() * 64 + i % 64;
    return -scale_exponent(x_largest[min(channel, c - 1)]);
  }
  __device__ __forceinline__ int column_exponent(int column) const { return -scale_exponent(dy_largest[column]); }
};

}  // namespace

extern "C" __global__ void __launch_bounds__(384, 1) conv1d_grad_weight64_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap dy_map, const int* __restrict__ x_largest,
    const int* __restrict__ dy_largest, float* __restrict__ parts_of_dw, int n, int c, int taps, int sequences, int slices, int chunk, int parts, int pad,
    int dilation, int stages) {
  const Weight<256, 64, false> work{n, c, taps, sequences, slices, chunk, parts, pad, dilation, x_largest, dy_largest};
  gemm::multiply_all<bf16, 64, 2, 1>(work, {x_map, dy_map}, {nullptr, nullptr, parts_of_dw, nullptr}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_grad_weight128_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap dy_map, const int* __restrict__ x_largest,
    const int* __restrict__ dy_largest, float* __restrict__ parts_of_dw, int n, int c, int taps, int sequences, int slices, int chunk, int parts, int pad,
    int dilation, int stages) {
  const Weight<256, 128, false> work{n, c, taps, sequences, slices, chunk, parts, pad, dilation, x_largest, dy_largest};
  gemm::multiply_all<bf16, 128, 2, 1>(work, {x_map, dy_map}, {nullptr, nullptr, parts_of_dw, nullptr}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_grad_weight160_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap dy_map, const int* __restrict__ x_largest,
    const int* __restrict__ dy_largest, float* __restrict__ parts_of_dw, int n, int c, int taps, int sequences, int slices, int chunk, int parts, int pad,
    int dilation, int stages) {
  const Weight<256, 160, false> work{n, c, taps, sequences, slices, chunk, parts, pad, dilation, x_largest, dy_largest};
  gemm::multiply_all<bf16, 160, 2, 1>(work, {x_map, dy_map}, {nullptr, nullptr, parts_of_dw, nullptr}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_grad_weight256_bf16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap dy_map, const int* __restrict__ x_largest,
    const int* __restrict__ dy_largest, float* __restrict__ parts_of_dw, int n, int c, int taps, int sequences, int slices, int chunk, int parts, int pad,
    int dilation, int stages) {
  const Weight<128, 256, false> work{n, c, taps, sequences, slices, chunk, parts, pad, dilation, x_largest, dy_largest};
  gemm::multiply_all<bf16, 256, 1, 1>(work, {x_map, dy_map}, {nullptr, nullptr, parts_of_dw, nullptr}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_grad_weight64_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap dy_map, const int* __restrict__ x_largest,
    const int* __restrict__ dy_largest, float* __restrict__ parts_of_dw, int n, int c, int taps, int sequences, int slices, int chunk, int parts, int pad,
    int dilation, int stages) {
  const Weight<256, 64, false> work{n, c, taps, sequences, slices, chunk, parts, pad, dilation, x_largest, dy_largest};
  gemm::multiply_all<f16, 64, 2, 1>(work, {x_map, dy_map}, {nullptr, nullptr, parts_of_dw, nullptr}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_grad_weight128_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap dy_map, const int* __restrict__ x_largest,
    const int* __restrict__ dy_largest, float* __restrict__ parts_of_dw, int n, int c, int taps, int sequences, int slices, int chunk, int parts, int pad,
    int dilation, int stages) {
  const Weight<256, 128, false> work{n, c, taps, sequences, slices, chunk, parts, pad, dilation, x_largest, dy_largest};
  gemm::multiply_all<f16, 128, 2, 1>(work, {x_map, dy_map}, {nullptr, nullptr, parts_of_dw, nullptr}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_grad_weight160_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap dy_map, const int* __restrict__ x_largest,
    const int* __restrict__ dy_largest, float* __restrict__ parts_of_dw, int n, int c, int taps, int sequences, int slices, int chunk, int parts, int pad,
    int dilation, int stages) {
  const Weight<256, 160, false> work{n, c, taps, sequences, slices, chunk, parts, pad, dilation, x_largest, dy_largest};
  gemm::multiply_all<f16, 160, 2, 1>(work, {x_map, dy_map}, {nullptr, nullptr, parts_of_dw, nullptr}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_grad_weight256_f16_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap dy_map, const int* __restrict__ x_largest,
    const int* __restrict__ dy_largest, float* __restrict__ parts_of_dw, int n, int c, int taps, int sequences, int slices, int chunk, int parts, int pad,
    int dilation, int stages) {
  const Weight<128, 256, false> work{n, c, taps, sequences, slices, chunk, parts, pad, dilation, x_largest, dy_largest};
  gemm::multiply_all<f16, 256, 1, 1>(work, {x_map, dy_map}, {nullptr, nullptr, parts_of_dw, nullptr}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_grad_weight64_bf16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap dy_map, const int* __restrict__ x_largest,
    const int* __restrict__ dy_largest, float* __restrict__ parts_of_dw, int n, int c, int taps, int sequences, int slices, int chunk, int parts, int pad,
    int dilation, int stages) {
  const Weight<128, 64, false> work{n, c, taps, sequences, slices, chunk, parts, pad, dilation, x_largest, dy_largest};
  gemm::multiply_all<bf16, 64, 1, 2>(work, {x_map, dy_map}, {nullptr, nullptr, parts_of_dw, nullptr}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_grad_weight128_bf16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap dy_map, const int* __restrict__ x_largest,
    const int* __restrict__ dy_largest, float* __restrict__ parts_of_dw, int n, int c, int taps, int sequences, int slices, int chunk, int parts, int pad,
    int dilation, int stages) {
  const Weight<128, 128, false> work{n, c, taps, sequences, slices, chunk, parts, pad, dilation, x_largest, dy_largest};
  gemm::multiply_all<bf16, 128, 1, 2>(work, {x_map, dy_map}, {nullptr, nullptr, parts_of_dw, nullptr}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_grad_weight160_bf16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap dy_map, const int* __restrict__ x_largest,
    const int* __restrict__ dy_largest, float* __restrict__ parts_of_dw, int n, int c, int taps, int sequences, int slices, int chunk, int parts, int pad,
    int dilation, int stages) {
  const Weight<128, 160, false> work{n, c, taps, sequences, slices, chunk, parts, pad, dilation, x_largest, dy_largest};
  gemm::multiply_all<bf16, 160, 1, 2>(work, {x_map, dy_map}, {nullptr, nullptr, parts_of_dw, nullptr}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_grad_weight64_f16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap dy_map, const int* __restrict__ x_largest,
    const int* __restrict__ dy_largest, float* __restrict__ parts_of_dw, int n, int c, int taps, int sequences, int slices, int chunk, int parts, int pad,
    int dilation, int stages) {
  const Weight<128, 64, true> work{n, c, taps, sequences, slices, chunk, parts, pad, dilation, x_largest, dy_largest};
  gemm::multiply_all<f16, 64, 1, 2>(work, {x_map, dy_map}, {nullptr, nullptr, parts_of_dw, nullptr}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_grad_weight128_f16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap dy_map, const int* __restrict__ x_largest,
    const int* __restrict__ dy_largest, float* __restrict__ parts_of_dw, int n, int c, int taps, int sequences, int slices, int chunk, int parts, int pad,
    int dilation, int stages) {
  const Weight<128, 128, true> work{n, c, taps, sequences, slices, chunk, parts, pad, dilation, x_largest, dy_largest};
  gemm::multiply_all<f16, 128, 1, 2>(work, {x_map, dy_map}, {nullptr, nullptr, parts_of_dw, nullptr}, gemm::Plain{}, stages);
}
extern "C" __global__ void __launch_bounds__(384, 1) conv1d_grad_weight160_f16x2_sm90(
    const __grid_constant__ CUtensorMap x_map, const __grid_constant__ CUtensorMap dy_map, const int* __restrict__ x_largest,
    const int* __restrict__ dy_largest, float* __restrict__ parts_of_dw, int n, int c, int taps, int sequences, int slices, int chunk, int parts, int pad,
    int dilation, int stages) {
  const Weight<128, 160, true> work{n, c, taps, sequences, slices, chunk, parts, pad, dilation, x_largest, dy_largest};
  gemm::multiply_all<f16, 160, 1, 2>(work, {x_map, dy_map}, {nullptr, nullptr, parts_of_dw, nullptr}, gemm::Plain{}, stages);
}
