// conv1d_grad.cu: gradients of dilated 1-D convolution and of dense layers.
// Host side: src/ops/conv1d/cuda.rs; src/ops/linear/cuda.rs (a convolution of one tap)
// Maths:     input    dx[r', :] = sum over taps t of dy[s l + j + t dilation - pad, :] w[tap_first + t tap_step]^T, without taps whose row
//                     does not exist; r = s per + j, r' = s y_per + y_first + j y_step. Stride 1: one launch, taps backwards. Stride S: one
//                     launch for the rows of each remainder modulo S, with the taps that reach them
//            weight   parts[i, (t, :), :] = sum over rows r = s per + p of part i of x[s l + p stride + t dilation - pad, :]^T dy[r, :]
//            sum      y = sum of `count` parts
//            columns  parts[i, :] = sum of the rows of part i
// Layout:    channels last; w [taps, n, c] for `input` (c = channels of dy), x [.., c] and dy [rows, n] for `weight`; any alignment, 16-byte
//            accesses where channels are a multiple of 4 and addresses of 16
// Entries:   conv1d_grad_input<N>_<precision>, conv1d_grad_weight<N>_<precision>: tiles, blocks and shared memory as in conv1d.cu; the rows
//            of the weight's tiles are (tap, channel), its grid has the parts along y. f32, tf32; bf16 and f16 are in conv1d_half.cu
//            conv1d_grad_sum_f32: any grid, block 256
//            conv1d_grad_columns_f32: grid (ceil(n / 32), parts), block 256
// Limits:    taps * c, rows and rows of x below 2^31
// Order:     as in conv1d.cu; rows of a part in steps of 16, parts in order. What a part is depends on sizes alone (the host)
// Measured:  not on a GPU yet
#include "conv1d.cuh"

namespace {

// Asks for slices of w^T, one after the other: column i of the product is row (tap, first + i) of w.
template <class T> struct Transposed {
  const float* w;
  int n, c, taps, first, tap_first, tap_step;
  gemm::Pieces own;

  __device__ __forceinline__ void start(int slice) { own.start(w, c, slice); }
  __device__ __forceinline__ void load(uint32_t tile) {
    own.load(c, [&](auto v) { pieces<decltype(v)::value>(tile); });
  }

 private:
  template <int V> __device__ __forceinline__ void pieces(uint32_t tile) {
    constexpr int PIECES = gemm::SLICE / V, STEP = T::THREADS / PIECES;
    const int k = (int)threadIdx.x % PIECES * V;
    const float* from = w + ((long long)(tap_first + own.walk.tap * tap_step) * n + first) * c + own.walk.channel;
    static_assert(T::BN % STEP == 0, "threads share the tile evenly");
#pragma unroll 4
    for (int j = 0; j < T::BN / STEP; j++) {
      const int i = (int)threadIdx.x / PIECES + j * STEP;
      const bool exists = own.walk.tap < taps && first + i < n;
      cp_async<4 * V>(tile + 4 * gemm::Operand<T::BN, gemm::Major::K>::at(i, k), exists ? from + (long long)i * c : w, exists);
    }
  }
};

template <class P, class T>
DRG_DEVICE void input_gradient(const float* dy, const float* w, float* dx, int rows, int n, int c, int taps, int per, int l, int pad, int dilation,
                               int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  DYNAMIC_SHARED(float, ring);
  SHARED(int, base, T::BM);
  SHARED(int, position, T::BM);
  const int tiles = ceil_div(n, T::BN), first = (int)(blockIdx.x / tiles) * T::BM, column = (int)(blockIdx.x % tiles) * T::BN;
  const int r = first + (int)threadIdx.x;
  const bool mine = threadIdx.x < T::BM && r < rows;
  const int v = r % per - pad;
  if (threadIdx.x < T::BM) {
    base[threadIdx.x] = r / per * l;
    position[threadIdx.x] = mine ? v : conv1d::NOWHERE;
  }
  const conv1d::Taps used = conv1d::taps_of_tile<T>(mine, v, dilation, l, taps);
  conv1d::Shifted<T> rows_of_dy{dy, base, position, c, taps, l, dilation, 1};
  Transposed<T> weights{w, n, c, taps, column, tap_first, tap_step};
  rows_of_dy.start(used.first_slice(c));
  weights.start(used.first_slice(c));
  typename T::Sums sum;
  gemm::accumulate<P, T, gemm::Major::K, gemm::Major::K>(sum, ring, used.first_slice(c), used.last_slice(c), [&](uint32_t a, uint32_t b) {
    rows_of_dy.load(a);
    weights.load(b);
  });
  gemm::write<T>(sum, nullptr, dx, column, n, [=](int i) {
    const int row = first + i;
    return row < rows ? (long long)(row / per * y_per + y_first + row % per * y_step) : -1LL;
  });
}

// Asks for slices of the transposed input, one after the other: row i of the product is (tap, channel) first + i.
template <class T> struct Columns {
  const float* x;
  int c, per, l, stride, end;
  bool wide, exists;
  int channel, shift, row, sequence, place;

  // Rows from `begin` on; m = taps * channels.
  __device__ __forceinline__ void start(int first, int m, int dilation, int pad, int begin) {
    wide = c % 4 == 0 && aligned16(x);
    const int i = first + (wide ? threadIdx.x % (T::BM / 4) * 4 : threadIdx.x % T::BM);
    exists = i < m;
    channel = i % c;
    shift = i / c * dilation - pad;
    row = begin + (wide ? threadIdx.x / (T::BM / 4) : threadIdx.x / T::BM);
    sequence = row / per;
    place = row % per;
  }
  __device__ __forceinline__ void load(uint32_t tile) {
    if (wide) pieces<4>(tile);
    else pieces<1>(tile);
  }

 private:
  template <int V> __device__ __forceinline__ void pieces(uint32_t tile) {
    constexpr int PIECES = T::BM / V, STEP = T::THREADS / PIECES;
    const int i = (int)threadIdx.x % PIECES * V;
    static_assert(gemm::SLICE % STEP == 0, "threads share the slice evenly");
#pragma unroll 4
    for (int j = 0; j < gemm::SLICE / STEP; j++) {
      const int k = (int)threadIdx.x / PIECES + j * STEP;
      const int v = place * stride + shift;
      const bool there = exists && row < end && (unsigned)v < (unsigned)l;
      cp_async<4 * V>(tile + 4 * gemm::Operand<T::BM, gemm::Major::MN>::at(i, k), there ? x + ((long long)sequence * l + v) * c + channel : x, there);
      row += STEP;
      place += STEP;
      while (place >= per) {
        place -= per;
        sequence++;
      }
    }
  }
};

template <class P, class T>
DRG_DEVICE void weight_gradient(const float* x, const float* dy, float* parts, int rows, int n, int c, int taps, int per, int l, int stride, int pad,
                                int dilation, int chunk) {
  DYNAMIC_SHARED(float, ring);
  const int m = taps * c, tiles = ceil_div(n, T::BN), first = (int)(blockIdx.x / tiles) * T::BM, column = (int)(blockIdx.x % tiles) * T::BN;
  const int begin = (int)blockIdx.y * chunk, end = min(begin + chunk, rows);
  Columns<T> columns{x, c, per, l, stride, end};
  columns.start(first, m, dilation, pad, begin);
  const bool wide = n % 4 == 0 && aligned16(dy);
  int k = begin;
  typename T::Sums sum;
  gemm::accumulate<P, T, gemm::Major::MN, gemm::Major::MN>(sum, ring, 0, ceil_div(end - begin, gemm::SLICE), [&](uint32_t a, uint32_t b) {
    columns.load(a);
    gemm::load_matrix<T::BN, T::THREADS>(b, dy, k, end, column, n, wide);
    k += gemm::SLICE;
  });
  const long long part = (long long)blockIdx.y * m;
  gemm::write<T>(sum, nullptr, parts, column, n, [=](int i) { return first + i < m ? part + first + i : -1LL; });
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256) conv1d_grad_sum_f32(const float* __restrict__ parts, float* __restrict__ y, long long size, int count) {
  const long long step = (long long)gridDim.x * blockDim.x;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += step) {
    float sum = parts[i];
#pragma unroll 8
    for (int p = 1; p < count; p++) sum += parts[p * size + i];
    y[i] = sum;
  }
}

extern "C" __global__ void __launch_bounds__(256)
    conv1d_grad_columns_f32(const float* __restrict__ x, float* __restrict__ parts, int rows, int n, int chunk) {
  using Row = float[32];
  SHARED(Row, sums, 8);
  const int lane = lane_index(), warp = warp_index(), column = (int)blockIdx.x * 32 + lane;
  const int begin = (int)blockIdx.y * chunk, end = min(begin + chunk, rows);
  float sum = 0.0f;
  if (column < n) {
#pragma unroll 8
    for (int r = begin + warp; r < end; r += 8) sum += x[(long long)r * n + column];
  }
  sums[warp][lane] = sum;
  __syncthreads();
  if (warp > 0 || column >= n) return;
#pragma unroll
  for (int w = 1; w < 8; w++) sum += sums[w][lane];
  parts[(long long)blockIdx.y * n + column] = sum;
}

extern "C" __global__ void __launch_bounds__(256, 1)
    conv1d_grad_input160_f32(const float* __restrict__ dy, const float* __restrict__ w, float* __restrict__ dx, int rows, int n, int c, int taps,
                             int per, int l, int pad, int dilation, int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  input_gradient<gemm::SplitTf32, gemm::Tile160>(dy, w, dx, rows, n, c, taps, per, l, pad, dilation, tap_first, tap_step, y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(256, 1)
    conv1d_grad_input160_tf32(const float* __restrict__ dy, const float* __restrict__ w, float* __restrict__ dx, int rows, int n, int c, int taps,
                              int per, int l, int pad, int dilation, int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  input_gradient<gemm::Tf32, gemm::Tile160>(dy, w, dx, rows, n, c, taps, per, l, pad, dilation, tap_first, tap_step, y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(256, 1)
    conv1d_grad_input128_f32(const float* __restrict__ dy, const float* __restrict__ w, float* __restrict__ dx, int rows, int n, int c, int taps,
                             int per, int l, int pad, int dilation, int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  input_gradient<gemm::SplitTf32, gemm::Tile128>(dy, w, dx, rows, n, c, taps, per, l, pad, dilation, tap_first, tap_step, y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(256, 1)
    conv1d_grad_input128_tf32(const float* __restrict__ dy, const float* __restrict__ w, float* __restrict__ dx, int rows, int n, int c, int taps,
                              int per, int l, int pad, int dilation, int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  input_gradient<gemm::Tf32, gemm::Tile128>(dy, w, dx, rows, n, c, taps, per, l, pad, dilation, tap_first, tap_step, y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(128, 3)
    conv1d_grad_input64_f32(const float* __restrict__ dy, const float* __restrict__ w, float* __restrict__ dx, int rows, int n, int c, int taps,
                            int per, int l, int pad, int dilation, int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  input_gradient<gemm::SplitTf32, gemm::Tile64>(dy, w, dx, rows, n, c, taps, per, l, pad, dilation, tap_first, tap_step, y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(128, 4)
    conv1d_grad_input64_tf32(const float* __restrict__ dy, const float* __restrict__ w, float* __restrict__ dx, int rows, int n, int c, int taps,
                             int per, int l, int pad, int dilation, int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  input_gradient<gemm::Tf32, gemm::Tile64>(dy, w, dx, rows, n, c, taps, per, l, pad, dilation, tap_first, tap_step, y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(128, 3)
    conv1d_grad_input16_f32(const float* __restrict__ dy, const float* __restrict__ w, float* __restrict__ dx, int rows, int n, int c, int taps,
                            int per, int l, int pad, int dilation, int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  input_gradient<gemm::SplitTf32, gemm::Tile16>(dy, w, dx, rows, n, c, taps, per, l, pad, dilation, tap_first, tap_step, y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(128, 3)
    conv1d_grad_input16_tf32(const float* __restrict__ dy, const float* __restrict__ w, float* __restrict__ dx, int rows, int n, int c, int taps,
                             int per, int l, int pad, int dilation, int tap_first, int tap_step, int y_per, int y_first, int y_step) {
  input_gradient<gemm::Tf32, gemm::Tile16>(dy, w, dx, rows, n, c, taps, per, l, pad, dilation, tap_first, tap_step, y_per, y_first, y_step);
}
extern "C" __global__ void __launch_bounds__(256, 1)
    conv1d_grad_weight160_f32(const float* __restrict__ x, const float* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c, int taps,
                              int per, int l, int stride, int pad, int dilation, int chunk) {
  weight_gradient<gemm::SplitTf32, gemm::Tile160>(x, dy, parts, rows, n, c, taps, per, l, stride, pad, dilation, chunk);
}
extern "C" __global__ void __launch_bounds__(256, 2)
    conv1d_grad_weight160_tf32(const float* __restrict__ x, const float* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c,
                               int taps, int per, int l, int stride, int pad, int dilation, int chunk) {
  weight_gradient<gemm::Tf32, gemm::Tile160>(x, dy, parts, rows, n, c, taps, per, l, stride, pad, dilation, chunk);
}
extern "C" __global__ void __launch_bounds__(256, 1)
    conv1d_grad_weight128_f32(const float* __restrict__ x, const float* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c, int taps,
                              int per, int l, int stride, int pad, int dilation, int chunk) {
  weight_gradient<gemm::SplitTf32, gemm::Tile128>(x, dy, parts, rows, n, c, taps, per, l, stride, pad, dilation, chunk);
}
extern "C" __global__ void __launch_bounds__(256, 2)
    conv1d_grad_weight128_tf32(const float* __restrict__ x, const float* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c,
                               int taps, int per, int l, int stride, int pad, int dilation, int chunk) {
  weight_gradient<gemm::Tf32, gemm::Tile128>(x, dy, parts, rows, n, c, taps, per, l, stride, pad, dilation, chunk);
}
extern "C" __global__ void __launch_bounds__(128, 3)
    conv1d_grad_weight64_f32(const float* __restrict__ x, const float* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c, int taps,
                             int per, int l, int stride, int pad, int dilation, int chunk) {
  weight_gradient<gemm::SplitTf32, gemm::Tile64>(x, dy, parts, rows, n, c, taps, per, l, stride, pad, dilation, chunk);
}
extern "C" __global__ void __launch_bounds__(128, 4)
    conv1d_grad_weight64_tf32(const float* __restrict__ x, const float* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c, int taps,
                              int per, int l, int stride, int pad, int dilation, int chunk) {
  weight_gradient<gemm::Tf32, gemm::Tile64>(x, dy, parts, rows, n, c, taps, per, l, stride, pad, dilation, chunk);
}
extern "C" __global__ void __launch_bounds__(128, 3)
    conv1d_grad_weight16_f32(const float* __restrict__ x, const float* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c, int taps,
                             int per, int l, int stride, int pad, int dilation, int chunk) {
  weight_gradient<gemm::SplitTf32, gemm::Tile16>(x, dy, parts, rows, n, c, taps, per, l, stride, pad, dilation, chunk);
}
extern "C" __global__ void __launch_bounds__(128, 3)
    conv1d_grad_weight16_tf32(const float* __restrict__ x, const float* __restrict__ dy, float* __restrict__ parts, int rows, int n, int c, int taps,
                              int per, int l, int stride, int pad, int dilation, int chunk) {
  weight_gradient<gemm::Tf32, gemm::Tile16>(x, dy, parts, rows, n, c, taps, per, l, stride, pad, dilation, chunk);
}
