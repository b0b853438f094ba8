// reduce.cu: mean over positions, and softmax over the last axis.
// Host side: src/ops/reduce/cuda.rs
// Maths:     y[n, c] = sum_l x[n, l, c] / L; softmax y = e^(x - top) / sum, dx = y (dy - sum y dy), change y (e^d - S) / S with
//            S = sum_j y_j e^(d_j), as src/ops/reduce.rs tells
// Layout:    x [N, L, C]; softmax rows of C; windows [width, M, C], y [N, len, C]; tape row rows[r] of sweep row r, `size` elements each
// Entries:   reduce_mean_fwd_f32    grid (C / 32, N), block 512
//            reduce_mean_bwd_f32, reduce_mean_delta_f32   any grid, block 256
//            reduce_softmax_fwd_f32, reduce_softmax_bwd_f32, reduce_softmax_delta_f32   any grid, block 256: a warp a row
// Limits:    any C, L; N below 65536 a launch of reduce_mean_fwd_f32
// Order:     positions p, p + 16, ... one after another, then the 16 sums; positions of a change in ascending order; channels lane
//            by lane, then the lanes' tree
// Measured:  not on a GPU yet
#include "drg.cuh"

namespace {

constexpr int SUMS = 16;   // of a column of a mean

__device__ __forceinline__ long long global_warp() { return ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32; }
__device__ __forceinline__ long long warps_of_grid() { return (long long)gridDim.x * blockDim.x / 32; }

// Calls f(channel) for this lane's channels.
template <typename F> __device__ __forceinline__ void each(int c, F f) {
  for (int k = lane_index(); k < c; k += 32) f(k);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(512) reduce_mean_fwd_f32(const float* __restrict__ x, float* __restrict__ y, int l, int c) {
  const int k = (int)blockIdx.x * 32 + lane_index();
  const float* const from = x + (long long)blockIdx.y * l * c + k;
  float s = 0.0f;
  if (k < c) {
#pragma unroll 8
    for (int p = warp_index(); p < l; p += SUMS) s += from[(long long)p * c];
  }
  SHARED(float, sums, SUMS * 32);
  sums[threadIdx.x] = s;
  __syncthreads();
  if (warp_index() == 0 && k < c) {
    for (int w = 1; w < SUMS; w++) s += sums[w * 32 + lane_index()];
    y[(long long)blockIdx.y * c + k] = s / (float)l;
  }
}

extern "C" __global__ void __launch_bounds__(256) reduce_mean_bwd_f32(
    const float* __restrict__ dy, float* __restrict__ dx, int r, int l, int c) {
  const float n = (float)l;
  each_cell((long long)r * l, c, [=](long long row, int k) { dx[row * c + k] = dy[row / l * c + k] / n; });
}

extern "C" __global__ void __launch_bounds__(256) reduce_mean_delta_f32(
    const float* __restrict__ d, const int* __restrict__ start, float* __restrict__ y, int m, int c, int width, int len) {
  each_cell(m, c, [=](long long i, int k) {
    const int first = max(0, -start[i]), last = min(width, len - start[i]);
    float s = 0.0f;
#pragma unroll 4
    for (int w = first; w < last; w++) s += d[((long long)w * m + i) * c + k];
    y[i * c + k] = s / (float)len;
  });
}

extern "C" __global__ void __launch_bounds__(256) reduce_softmax_fwd_f32(const float* __restrict__ x, float* y, long long rows, int c) {
  for (long long r = global_warp(); r < rows; r += warps_of_grid()) {
    const float* const row = x + r * c;
    float top = -INFINITY, s = 0.0f;
    each(c, [&](int k) { top = fmaxf(top, row[k]); });
    top = warp_max(top);
    each(c, [&](int k) { s += expf(row[k] - top); });
    const float inverse = 1.0f / warp_sum(s);
    each(c, [&](int k) { y[r * c + k] = expf(row[k] - top) * inverse; });
  }
}

extern "C" __global__ void __launch_bounds__(256) reduce_softmax_bwd_f32(
    const float* __restrict__ y, const float* __restrict__ dy, const int* __restrict__ rows, float* __restrict__ dx, long long count,
    int size, int c) {
  for (long long r = global_warp(); r < count; r += warps_of_grid()) {
    const long long i = r * c / size;
    const float* const weight = y + rows[i] * (long long)size + (r * c - i * size);
    float s = 0.0f;
    each(c, [&](int k) { s = fmaf(weight[k], dy[r * c + k], s); });
    const float mean = warp_sum(s);
    each(c, [&](int k) { dx[r * c + k] = weight[k] * (dy[r * c + k] - mean); });
  }
}

// In f64 within a row. Changes count from their mean, which leaves small ones exact, or from the largest, so that none overflows.
extern "C" __global__ void __launch_bounds__(256) reduce_softmax_delta_f32(
    const float* __restrict__ y, const float* __restrict__ d, const int* __restrict__ rows, const int* __restrict__ start,
    float* __restrict__ dy, int m, int width, int len, int c) {
  for (long long r = global_warp(); r < (long long)width * m; r += warps_of_grid()) {
    const int lane = (int)(r % m), p = start[lane] + (int)(r / m);
    if (p < 0 || p >= len) {
      each(c, [&](int k) { dy[r * c + k] = 0.0f; });
      continue;
    }
    const float* const weight = y + ((long long)rows[lane] * len + p) * c;
    const float* const change = d + r * c;
    float top = -INFINITY;
    double mean = 0.0;
    each(c, [&](int k) {
      top = fmaxf(top, change[k]);
      mean += (double)weight[k] * change[k];
    });
    top = warp_max(top);
    mean = warp_sum(mean);
    const double shift = top - mean > 20.0 ? top : mean;
    double s = 0.0, e = 0.0;
    each(c, [&](int k) {
      const double grown = expm1(change[k] - shift);
      s += weight[k] * grown;
      e += weight[k] * (1.0 + grown);
    });
    const double excess = warp_sum(s), total = warp_sum(e), one = excess < -0.5 ? 1.0 : 0.0;
    each(c, [&](int k) {
      const double grown = expm1(change[k] - shift) + one;
      dy[r * c + k] = (float)(weight[k] * (grown - (one == 1.0 ? total : excess)) / total);
    });
  }
}
