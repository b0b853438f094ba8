// conv1d.cu: dilated 1-D convolution, dense layers, and their changes under mutation.
// Host side: src/ops/conv1d/cuda.rs; src/ops/linear/cuda.rs (a convolution of one tap)
// Maths:     raw[r, :] = bias + sum over taps t of x[g(r, t), :] w[t], without taps whose row g does not exist; sum = raw + residual
//            from = null: r = s per + p, g = s l + p stride + t dilation - pad, 0 <= g - s l < l: sequences side by side
//            otherwise:   r = p per + i is window row p of mutant i, one of `per`; v = to[i] + p (0 if `to` is null) times stride, plus
//                         t dilation - pad - from[i]; g = v per + i, 0 <= v < l: l is the width of the input's window
// Layout:    channels last; x [rows, c], w [taps, c, n], bias [n] or null, residual, raw and sum [rows, n] or null; any alignment, 16-byte
//            accesses where x or w have c or n a multiple of 4 and addresses of multiples of 16
// Entries:   conv1d_fwd<N>_<precision>: f32 (split tf32), tf32 (all tensors are f32); bf16 and f16 are in conv1d_half.cu
//            <N>     tile       block  dynamic shared memory
//            160     128 x 160   256    108 KB
//            128     128 x 128   256     96 KB
//            64       64 x  64   128     48 KB
//            16      128 x  16   128     60 KB
//            grid ceil(rows / tile rows) * ceil(n / tile columns) blocks, columns fastest
// Limits:    taps * c, rows and rows of x below 2^31
// Order:     k = (tap, channel) in steps of 16, taps outside of a tile left out (gemm.cuh); the same bits with every tile
// Measured:  not on a GPU yet
#include "conv1d.cuh"
#include "epilogue.cuh"

namespace {

template <class P, class T>
DRG_DEVICE void forward(const float* x, const float* w, const gemm::Tail& tail, const int* from, const int* to, int rows, int n, int c, int taps, int per,
                        int l, int stride, int pad, int dilation) {
  DYNAMIC_SHARED(float, ring);
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
  conv1d::Shifted<T> rows_of_x{x, base, position, c, taps, l, dilation, from ? per : 1};
  rows_of_x.start(used.first_slice(c));
  const bool wide = n % 4 == 0 && aligned16(w);
  int k = used.first_slice(c) * gemm::SLICE;
  typename T::Sums sum;
  gemm::accumulate<P, T, gemm::Major::K, gemm::Major::MN>(sum, ring, used.first_slice(c), used.last_slice(c), [&](uint32_t a, uint32_t b) {
    rows_of_x.load(a);
    gemm::load_matrix<T::BN, T::THREADS>(b, w, k, taps * c, column, n, wide);
    k += gemm::SLICE;
  });
  gemm::write_pairs<T>(sum, tail, gemm::Plain{}, column, n, [=](int i) { return first + i < rows ? first + i : -1; });
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 1) conv1d_fwd160_f32(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<gemm::SplitTf32, gemm::Tile160>(x, w, {bias, residual, raw, sum}, from, to, rows, n, c, taps, per, l, stride, pad, dilation);
}
extern "C" __global__ void __launch_bounds__(256, 1) conv1d_fwd160_tf32(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<gemm::Tf32, gemm::Tile160>(x, w, {bias, residual, raw, sum}, from, to, rows, n, c, taps, per, l, stride, pad, dilation);
}
extern "C" __global__ void __launch_bounds__(256, 1) conv1d_fwd128_f32(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<gemm::SplitTf32, gemm::Tile128>(x, w, {bias, residual, raw, sum}, from, to, rows, n, c, taps, per, l, stride, pad, dilation);
}
extern "C" __global__ void __launch_bounds__(256, 1) conv1d_fwd128_tf32(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<gemm::Tf32, gemm::Tile128>(x, w, {bias, residual, raw, sum}, from, to, rows, n, c, taps, per, l, stride, pad, dilation);
}
extern "C" __global__ void __launch_bounds__(128, 3) conv1d_fwd64_f32(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<gemm::SplitTf32, gemm::Tile64>(x, w, {bias, residual, raw, sum}, from, to, rows, n, c, taps, per, l, stride, pad, dilation);
}
extern "C" __global__ void __launch_bounds__(128, 4) conv1d_fwd64_tf32(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<gemm::Tf32, gemm::Tile64>(x, w, {bias, residual, raw, sum}, from, to, rows, n, c, taps, per, l, stride, pad, dilation);
}
extern "C" __global__ void __launch_bounds__(128, 3) conv1d_fwd16_f32(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<gemm::SplitTf32, gemm::Tile16>(x, w, {bias, residual, raw, sum}, from, to, rows, n, c, taps, per, l, stride, pad, dilation);
}
extern "C" __global__ void __launch_bounds__(128, 3) conv1d_fwd16_tf32(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias, const float* residual, float* raw, float* sum,
    const int* __restrict__ from, const int* __restrict__ to, int rows, int n, int c, int taps, int per, int l, int stride, int pad, int dilation) {
  forward<gemm::Tf32, gemm::Tile16>(x, w, {bias, residual, raw, sum}, from, to, rows, n, c, taps, per, l, stride, pad, dilation);
}
