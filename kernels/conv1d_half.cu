// conv1d_half.cu: dilated 1-D convolution of 16-bit operands on mma.sync: forward, changes, gradients; dense layers likewise.
// Host side: src/ops/conv1d/half.rs; src/ops/linear/cuda.rs (a convolution of one tap)
// Maths:     fwd          as in conv1d.cu, with tap tap_first + t tap_step of w; row r of y is r / per * y_per + y_first + r % per * y_step, so
//                         that the input gradient is one too (conv1d_grad.cu)
//            norm         fwd with the norm of epilogue.cuh behind it; y_per = per, y_first = 0, y_step = 1
//            grad_weight  as in conv1d_grad.cu
// Layout:    channels last, 16-bit operands (conv1d_pack.cu) of cp channels, a multiple of 8, zeros behind those that exist: x [rows, cp],
//            w [taps, n, cp], and dy [rows, np] for grad_weight; 16-byte aligned. bias, residual, raw, sum, normed, parts: f32, any alignment,
//            as in conv1d.cu; operand [rows, n rounded up to 8]
// Entries:   conv1d_half_fwd<N>_<dtype>, conv1d_half_norm<N>_<dtype>, conv1d_half_grad_weight<N>_<dtype>: bf16, f16
//            <N>     tile       block  dynamic shared memory
//            160     128 x 160   256    108 KB
//            128     128 x 128   256     96 KB
//            64       64 x  64   128     48 KB
//            16      128 x  16   128     54 KB
//            grids as in conv1d.cu and conv1d_grad.cu; rows of the weight's tiles are (tap, channel of cp)
// Limits:    taps * cp, rows and rows of x below 2^31
// Order:     k = (tap, channel of cp) in steps of 16, taps outside of a tile left out (gemm_half.cuh); the same bits with every tile
// Measured:  not on a GPU yet
#include "conv1d.cuh"
#include "epilogue.cuh"
#include "gemm_half.cuh"

namespace {

using gemm_half::Major;
using gemm_half::PIECES;

// A thread's pieces of an operand in which k runs fastest, slice after slice.
struct Walk {
  gemm::Walk at;

  __device__ __forceinline__ void start(int slice, int c) { at = gemm::Walk::start(slice * gemm_half::SLICE + (int)threadIdx.x % PIECES * 8, c); }
  __device__ __forceinline__ void next(int c) { at.next(c, gemm_half::SLICE); }
};

// Asks for slices of shifted rows of x and of columns of w, one after the other.
template <typename E, class T> struct Operands {
  const E *x, *w;
  const int *base, *position;   // of the tile's rows, in shared memory
  int n, c, taps, extent, dilation, scale, first, tap_first, tap_step;
  Walk own;

  __device__ __forceinline__ void load(uint32_t a, uint32_t b) {
    constexpr int STEP = T::THREADS / PIECES;
    const int piece = (int)threadIdx.x % PIECES, moved = own.at.tap * dilation;
    const bool tap = own.at.tap < taps;
    static_assert(T::BM % STEP == 0 && T::BN % STEP == 0, "threads share the tiles evenly");
#pragma unroll
    for (int i = 0; i < T::BM / STEP; i++) {
      const int row = (int)threadIdx.x / PIECES + i * STEP;
      const unsigned v = (unsigned)(position[row] + moved);
      const bool exists = tap && v < (unsigned)extent;
      const E* from = x + (long long)(int)(v * (unsigned)scale + (unsigned)base[row]) * c + own.at.channel;
      cp_async<16>(a + gemm_half::Operand<T::BM, Major::K>::at(row, piece), exists ? from : x, exists);
    }
    const E* from = w + ((long long)(tap_first + own.at.tap * tap_step) * n + first) * c + own.at.channel;
#pragma unroll
    for (int i = 0; i < T::BN / STEP; i++) {
      const int column = (int)threadIdx.x / PIECES + i * STEP;
      const bool exists = tap && first + column < n;
      cp_async<16>(b + gemm_half::Operand<T::BN, Major::K>::at(column, piece), exists ? from + (long long)column * c : w, exists);
    }
    own.next(c);
  }
};

template <typename E, class T, class N>
DRG_DEVICE void forward(const E* x, const E* w, const gemm::Tail& tail, const N& norm, const int* from, const int* to, int rows, int n, int c, int taps,
                        int per, int l, int stride, int pad, int dilation, int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  DYNAMIC_SHARED(uint8_t, ring);
  SHARED(int, base, T::BM);
  SHARED(int, position, T::BM);
  const int tiles = ceil_div(n, T::BN), first = (int)(blockIdx.x / tiles) * T::BM, column = (int)(blockIdx.x % tiles) * T::BN;
  const int r = first + (int)threadIdx.x;
  const bool mine = threadIdx.x < T::BM && r < rows;
  conv1d::Rows own{conv1d::NOWHERE, 0};
  if (mine) own = conv1d::Rows::of(r, from, to, per, l, stride, pad);
  if (threadIdx.x < T::BM) {
    base[threadIdx.x] = own.base;
    position[threadIdx.x] = own.position;
  }
  const conv1d::Taps used = conv1d::taps_of_tile<T>(mine, own.position, dilation, l, taps);
  const int first_slice = used.first_slice(c, gemm_half::SLICE), last_slice = used.last_slice(c, gemm_half::SLICE);
  Operands<E, T> operands{x, w, base, position, n, c, taps, l, dilation, from ? per : 1, column, tap_first, tap_step, {}};
  operands.own.start(first_slice, c);
  typename T::Sums sum;
  gemm_half::accumulate<E, T, Major::K, Major::K>(sum, shared_address(ring), first_slice, last_slice, [&](uint32_t a, uint32_t b) { operands.load(a, b); });
  gemm::write_pairs<T>(sum, tail, norm, column, n, [=](int i) {
    const int row = first + i;
    return row < rows ? row / per * y_per + y_first + row % per * y_step : -1;
  });
}

// Asks for slices of 64 rows of x and dy: row i of the product is (tap, channel) first + i.
template <typename E, class T> struct Columns {
  const E *x, *dy;
  int c, np, per, l, stride, end, column;
  bool exists;
  int channel, shift, row, sequence, place;

  // Rows from `begin` on; m = taps * channels.
  __device__ __forceinline__ void start(int first, int m, int dilation, int pad, int begin) {
    constexpr int ACROSS = T::BM / 8;
    const int i = first + (int)threadIdx.x % ACROSS * 8;
    exists = i < m;
    channel = i % c;
    shift = i / c * dilation - pad;
    row = begin + (int)threadIdx.x / ACROSS;
    sequence = row / per;
    place = row % per;
  }
  // k: the slice's first row.
  __device__ __forceinline__ void load(uint32_t a, uint32_t b, int k) {
    constexpr int ACROSS = T::BM / 8, STEP = T::THREADS / ACROSS, WIDE = T::BN / 8;
    static_assert(gemm_half::SLICE % STEP == 0 && gemm_half::SLICE * WIDE % T::THREADS == 0, "threads share the slices evenly");
#pragma unroll
    for (int j = 0; j < gemm_half::SLICE / STEP; j++) {
      const int v = place * stride + shift;
      const bool there = exists && row < end && (unsigned)v < (unsigned)l;
      const E* from = x + ((long long)sequence * l + v) * c + channel;
      const int at = gemm_half::Operand<T::BM, Major::MN>::at((int)threadIdx.x / ACROSS + j * STEP, (int)threadIdx.x % ACROSS);
      cp_async<16>(a + at, there ? from : x, there);
      row += STEP;
      place += STEP;
      while (place >= per) {
        place -= per;
        sequence++;
      }
    }
#pragma unroll
    for (int j = 0; j < gemm_half::SLICE * WIDE / T::THREADS; j++) {
      const int i = (int)threadIdx.x + j * T::THREADS, r = i / WIDE, piece = i % WIDE;
      const bool there = k + r < end && column + 8 * piece < np;
      const E* from = dy + (long long)(k + r) * np + column + 8 * piece;
      cp_async<16>(b + gemm_half::Operand<T::BN, Major::MN>::at(r, piece), there ? from : dy, there);
    }
  }
};

template <typename E, class T>
DRG_DEVICE void weight_gradient(const E* x, const E* dy, float* parts, int rows, int n, int c, int cp, int taps, int per, int l, int stride, int pad,
                                int dilation, int chunk) {
  DYNAMIC_SHARED(uint8_t, ring);
  const int m = taps * cp, tiles = ceil_div(n, T::BN), first = (int)(blockIdx.x / tiles) * T::BM, column = (int)(blockIdx.x % tiles) * T::BN;
  const int begin = (int)blockIdx.y * chunk, end = min(begin + chunk, rows);
  Columns<E, T> columns{x, dy, cp, round_up(n, 8), per, l, stride, end, column};
  columns.start(first, m, dilation, pad, begin);
  int k = begin;
  typename T::Sums sum;
  gemm_half::accumulate<E, T, Major::MN, Major::MN>(sum, shared_address(ring), 0, ceil_div(end - begin, gemm_half::SLICE), [&](uint32_t a, uint32_t b) {
    columns.load(a, b, k);
    k += gemm_half::SLICE;
  });
  const long long part = (long long)blockIdx.y * taps;
  gemm::write<T>(sum, nullptr, parts, column, n, [=](int i) {
    const int tap = (first + i) / cp, channel = (first + i) % cp;
    return tap < taps && channel < c ? (part + tap) * c + channel : -1LL;
  });
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 1) conv1d_half_fwd160_bf16(
    const bf16* __restrict__ x, const bf16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation,
    int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  forward<bf16, gemm::Tile160>(x, w, {bias, residual, raw, sum}, gemm::Plain{}, from, to, rows, n, c, taps, per, l, stride, pad, dilation, tap_first, tap_step,
                              y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(256, 1) conv1d_half_norm160_bf16(
    const bf16* __restrict__ x, const bf16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const float* __restrict__ table, float* normed, bf16* operand, int f, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<bf16, gemm::Tile160>(x, w, {bias, residual, raw, sum}, gemm::Norm<bf16>{table, normed, operand, f}, nullptr, nullptr, rows, n, c, taps, per, l, stride,
                              pad, dilation, 0, 1, per, 0, 1);
}
extern "C" __global__ void __launch_bounds__(256, 1) conv1d_half_grad_weight160_bf16(
    const bf16* __restrict__ x, const bf16* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c, int cp, int taps, int per, int l, int stride,
    int pad, int dilation, int chunk) {
  weight_gradient<bf16, gemm::Tile160>(x, dy, parts, rows, n, c, cp, taps, per, l, stride, pad, dilation, chunk);
}
extern "C" __global__ void __launch_bounds__(256, 1) conv1d_half_fwd160_f16(
    const f16* __restrict__ x, const f16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation,
    int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  forward<f16, gemm::Tile160>(x, w, {bias, residual, raw, sum}, gemm::Plain{}, from, to, rows, n, c, taps, per, l, stride, pad, dilation, tap_first, tap_step,
                              y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(256, 1) conv1d_half_norm160_f16(
    const f16* __restrict__ x, const f16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const float* __restrict__ table, float* normed, f16* operand, int f, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<f16, gemm::Tile160>(x, w, {bias, residual, raw, sum}, gemm::Norm<f16>{table, normed, operand, f}, nullptr, nullptr, rows, n, c, taps, per, l, stride,
                              pad, dilation, 0, 1, per, 0, 1);
}
extern "C" __global__ void __launch_bounds__(256, 1) conv1d_half_grad_weight160_f16(
    const f16* __restrict__ x, const f16* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c, int cp, int taps, int per, int l, int stride,
    int pad, int dilation, int chunk) {
  weight_gradient<f16, gemm::Tile160>(x, dy, parts, rows, n, c, cp, taps, per, l, stride, pad, dilation, chunk);
}
extern "C" __global__ void __launch_bounds__(256, 2) conv1d_half_fwd128_bf16(
    const bf16* __restrict__ x, const bf16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation,
    int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  forward<bf16, gemm::Tile128>(x, w, {bias, residual, raw, sum}, gemm::Plain{}, from, to, rows, n, c, taps, per, l, stride, pad, dilation, tap_first, tap_step,
                              y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(256, 2) conv1d_half_norm128_bf16(
    const bf16* __restrict__ x, const bf16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const float* __restrict__ table, float* normed, bf16* operand, int f, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<bf16, gemm::Tile128>(x, w, {bias, residual, raw, sum}, gemm::Norm<bf16>{table, normed, operand, f}, nullptr, nullptr, rows, n, c, taps, per, l, stride,
                              pad, dilation, 0, 1, per, 0, 1);
}
extern "C" __global__ void __launch_bounds__(256, 1) conv1d_half_grad_weight128_bf16(
    const bf16* __restrict__ x, const bf16* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c, int cp, int taps, int per, int l, int stride,
    int pad, int dilation, int chunk) {
  weight_gradient<bf16, gemm::Tile128>(x, dy, parts, rows, n, c, cp, taps, per, l, stride, pad, dilation, chunk);
}
extern "C" __global__ void __launch_bounds__(256, 2) conv1d_half_fwd128_f16(
    const f16* __restrict__ x, const f16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation,
    int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  forward<f16, gemm::Tile128>(x, w, {bias, residual, raw, sum}, gemm::Plain{}, from, to, rows, n, c, taps, per, l, stride, pad, dilation, tap_first, tap_step,
                              y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(256, 2) conv1d_half_norm128_f16(
    const f16* __restrict__ x, const f16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const float* __restrict__ table, float* normed, f16* operand, int f, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<f16, gemm::Tile128>(x, w, {bias, residual, raw, sum}, gemm::Norm<f16>{table, normed, operand, f}, nullptr, nullptr, rows, n, c, taps, per, l, stride,
                              pad, dilation, 0, 1, per, 0, 1);
}
extern "C" __global__ void __launch_bounds__(256, 1) conv1d_half_grad_weight128_f16(
    const f16* __restrict__ x, const f16* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c, int cp, int taps, int per, int l, int stride,
    int pad, int dilation, int chunk) {
  weight_gradient<f16, gemm::Tile128>(x, dy, parts, rows, n, c, cp, taps, per, l, stride, pad, dilation, chunk);
}
extern "C" __global__ void __launch_bounds__(128, 4) conv1d_half_fwd64_bf16(
    const bf16* __restrict__ x, const bf16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation,
    int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  forward<bf16, gemm::Tile64>(x, w, {bias, residual, raw, sum}, gemm::Plain{}, from, to, rows, n, c, taps, per, l, stride, pad, dilation, tap_first, tap_step,
                              y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(128, 4) conv1d_half_norm64_bf16(
    const bf16* __restrict__ x, const bf16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const float* __restrict__ table, float* normed, bf16* operand, int f, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<bf16, gemm::Tile64>(x, w, {bias, residual, raw, sum}, gemm::Norm<bf16>{table, normed, operand, f}, nullptr, nullptr, rows, n, c, taps, per, l, stride,
                              pad, dilation, 0, 1, per, 0, 1);
}
extern "C" __global__ void __launch_bounds__(128, 4) conv1d_half_grad_weight64_bf16(
    const bf16* __restrict__ x, const bf16* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c, int cp, int taps, int per, int l, int stride,
    int pad, int dilation, int chunk) {
  weight_gradient<bf16, gemm::Tile64>(x, dy, parts, rows, n, c, cp, taps, per, l, stride, pad, dilation, chunk);
}
extern "C" __global__ void __launch_bounds__(128, 4) conv1d_half_fwd64_f16(
    const f16* __restrict__ x, const f16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation,
    int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  forward<f16, gemm::Tile64>(x, w, {bias, residual, raw, sum}, gemm::Plain{}, from, to, rows, n, c, taps, per, l, stride, pad, dilation, tap_first, tap_step,
                              y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(128, 4) conv1d_half_norm64_f16(
    const f16* __restrict__ x, const f16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const float* __restrict__ table, float* normed, f16* operand, int f, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<f16, gemm::Tile64>(x, w, {bias, residual, raw, sum}, gemm::Norm<f16>{table, normed, operand, f}, nullptr, nullptr, rows, n, c, taps, per, l, stride,
                              pad, dilation, 0, 1, per, 0, 1);
}
extern "C" __global__ void __launch_bounds__(128, 4) conv1d_half_grad_weight64_f16(
    const f16* __restrict__ x, const f16* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c, int cp, int taps, int per, int l, int stride,
    int pad, int dilation, int chunk) {
  weight_gradient<f16, gemm::Tile64>(x, dy, parts, rows, n, c, cp, taps, per, l, stride, pad, dilation, chunk);
}
extern "C" __global__ void __launch_bounds__(128, 4) conv1d_half_fwd16_bf16(
    const bf16* __restrict__ x, const bf16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation,
    int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  forward<bf16, gemm::Tile16>(x, w, {bias, residual, raw, sum}, gemm::Plain{}, from, to, rows, n, c, taps, per, l, stride, pad, dilation, tap_first, tap_step,
                              y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(128, 4) conv1d_half_norm16_bf16(
    const bf16* __restrict__ x, const bf16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const float* __restrict__ table, float* normed, bf16* operand, int f, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<bf16, gemm::Tile16>(x, w, {bias, residual, raw, sum}, gemm::Norm<bf16>{table, normed, operand, f}, nullptr, nullptr, rows, n, c, taps, per, l, stride,
                              pad, dilation, 0, 1, per, 0, 1);
}
extern "C" __global__ void __launch_bounds__(128, 4) conv1d_half_grad_weight16_bf16(
    const bf16* __restrict__ x, const bf16* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c, int cp, int taps, int per, int l, int stride,
    int pad, int dilation, int chunk) {
  weight_gradient<bf16, gemm::Tile16>(x, dy, parts, rows, n, c, cp, taps, per, l, stride, pad, dilation, chunk);
}
extern "C" __global__ void __launch_bounds__(128, 4) conv1d_half_fwd16_f16(
    const f16* __restrict__ x, const f16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation,
    int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  forward<f16, gemm::Tile16>(x, w, {bias, residual, raw, sum}, gemm::Plain{}, from, to, rows, n, c, taps, per, l, stride, pad, dilation, tap_first, tap_step,
                              y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(128, 4) conv1d_half_norm16_f16(
    const f16* __restrict__ x, const f16* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const float* __restrict__ table, float* normed, f16* operand, int f, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<f16, gemm::Tile16>(x, w, {bias, residual, raw, sum}, gemm::Norm<f16>{table, normed, operand, f}, nullptr, nullptr, rows, n, c, taps, per, l, stride,
                              pad, dilation, 0, 1, per, 0, 1);
}
extern "C" __global__ void __launch_bounds__(128, 4) conv1d_half_grad_weight16_f16(
    const f16* __restrict__ x, const f16* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c, int cp, int taps, int per, int l, int stride,
    int pad, int dilation, int chunk) {
  weight_gradient<f16, gemm::Tile16>(x, dy, parts, rows, n, c, cp, taps, per, l, stride, pad, dilation, chunk);
}
