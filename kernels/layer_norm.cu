// layer_norm.cu: layer norm over the channels of a row; value, gradients, change under mutation.
// Host side: src/ops/layer_norm/cuda.rs
// Maths:     y = (x - mean) gamma / s + beta, s = sqrt(var + eps); dx = (g - mean(g) - xhat mean(g xhat)) / s, g = dy gamma;
//            dgamma = sum dy xhat, dbeta = sum dy; change gamma (dc / s' + c (1 / s' - 1 / s)), see src/ops/layer_norm.rs
// Layout:    x [N, rows, C], row major; dy, dx [R, rows, C] with tape row rows[r]; windows [width, M, C], x [N, len, C];
//            parts [blocks, 2, C]
// Entries:   layer_norm_fwd_f32      any grid, block 256: a warp a row
//            layer_norm_bwd_f32      block b takes rows [b per, (b + 1) per); block 256 and 64 C bytes of shared memory if parts are
//                                    wanted and C <= 640, block 32 if they are and C is larger; parts may be null
//            layer_norm_total_f32    grid (2 C / 32), block 256: sums of the parts
//            layer_norm_delta_f32    any grid, block 256: a warp a row
// Limits:    any C; rows up to 640 channels are read once, longer ones again for every sum (from cache)
// Order:     channels lane by lane, then the lanes' tree; rows warp by warp, then warps, then blocks, in order
// Measured:  not on a GPU yet
#include "drg.cuh"

namespace {

constexpr int WARPS = 8;

// Calls f(i, channel) for this lane's channels. R > 0: at most 32 R of them, i is known at compile time.
template <int R, typename F> __device__ __forceinline__ void each(int c, F f) {
  if constexpr (R > 0) {
#pragma unroll
    for (int i = 0; i < R; i++) {
      if (i * 32 + lane_index() < c) f(i, i * 32 + lane_index());
    }
  } else {
    for (int k = lane_index(); k < c; k += 32) f(0, k);
  }
}

// A row: in registers, or where it is.
template <int R> struct Row {
  float v[R];
  __device__ __forceinline__ Row(const float* __restrict__ x, int c) {
    each<R>(c, [&](int i, int k) { v[i] = x[k]; });
  }
  __device__ __forceinline__ float operator()(int i, int) const { return v[i]; }
};
template <> struct Row<0> {
  const float* __restrict__ x;
  __device__ __forceinline__ Row(const float* __restrict__ x, int) : x(x) {}
  __device__ __forceinline__ float operator()(int, int k) const { return x[k]; }
};

template <int R, typename F> __device__ __forceinline__ float sum(int c, F f) {
  float s = 0.0f;
  each<R>(c, [&](int i, int k) { s += f(i, k); });
  return warp_sum(s);
}

struct Moments {
  float mean, rest, variance, inverse;
  // x - mean; `rest` is what the mean's own rounding left.
  __device__ __forceinline__ float around(float x) const { return (x - mean) - rest; }
};
template <int R> __device__ __forceinline__ Moments moments(const Row<R>& x, int c, float eps) {
  const float n = (float)c;
  Moments m;
  m.mean = sum<R>(c, [&](int i, int k) { return x(i, k); }) / n;
  m.rest = sum<R>(c, [&](int i, int k) { return x(i, k) - m.mean; }) / n;
  m.variance = sum<R>(c, [&](int i, int k) { return m.around(x(i, k)) * m.around(x(i, k)); }) / n;
  m.inverse = 1.0f / sqrtf(m.variance + eps);
  return m;
}

// Calls f with the smallest R whose registers hold a row, as a compile-time number; 0 where none does.
template <typename F> __device__ __forceinline__ void with_registers(int c, F f) {
  if (c <= 128) f(std::integral_constant<int, 4>{});
  else if (c <= 320) f(std::integral_constant<int, 10>{});
  else if (c <= 640) f(std::integral_constant<int, 20>{});
  else f(std::integral_constant<int, 0>{});
}

__device__ __forceinline__ long long global_warp() { return ((long long)blockIdx.x * blockDim.x + threadIdx.x) / 32; }
__device__ __forceinline__ long long warps_of_grid() { return (long long)gridDim.x * blockDim.x / 32; }

template <int R> __device__ __forceinline__ void backward(
    const float* __restrict__ x, const float* __restrict__ gamma, const float* __restrict__ dy, const int* __restrict__ rows,
    float* __restrict__ dx, float* __restrict__ parts, float* shared, long long count, int size, int c, int per, float eps) {
  const int warp = warp_index(), warps = (int)blockDim.x / 32;
  float* const own = parts + (long long)blockIdx.x * 2 * c;
  constexpr int A = R > 0 ? R : 1;
  float dgamma[A] = {}, dbeta[A] = {};
  if (R == 0 && parts) each<R>(c, [&](int, int k) { own[k] = own[c + k] = 0.0f; });
  const long long first = (long long)blockIdx.x * per, last = min(first + per, count);
  for (long long at = first + warp; at < last; at += warps) {
    const long long r = at / size, from = rows[r] * (long long)size + (at - r * size);
    const Row<R> row(x + from * c, c), g(dy + at * c, c);
    const Moments m = moments(row, c, eps);
    const float n = (float)c;
    const float mean = sum<R>(c, [&](int i, int k) { return g(i, k) * gamma[k]; }) / n;
    const float slope =
        sum<R>(c, [&](int i, int k) { return g(i, k) * gamma[k] * m.around(row(i, k)); }) * m.inverse * m.inverse / n;
    each<R>(c, [&](int i, int k) {
      const float a = m.around(row(i, k));
      dx[at * c + k] = m.inverse * fmaf(a, -slope, g(i, k) * gamma[k] - mean);
      if constexpr (R > 0) {
        dgamma[i] = fmaf(g(i, k), a * m.inverse, dgamma[i]);
        dbeta[i] += g(i, k);
      } else if (parts) {
        own[k] = fmaf(g(i, k), a * m.inverse, own[k]);
        own[c + k] += g(i, k);
      }
    });
  }
  if constexpr (R > 0) {
    if (!parts) return;
    each<R>(c, [&](int i, int k) {
      shared[warp * 2 * c + k] = dgamma[i];
      shared[warp * 2 * c + c + k] = dbeta[i];
    });
    __syncthreads();
    for (int k = (int)threadIdx.x; k < 2 * c; k += (int)blockDim.x) {
      float s = shared[k];
      for (int w = 1; w < warps; w++) s += shared[w * 2 * c + k];
      own[k] = s;
    }
  }
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256) layer_norm_fwd_f32(
    const float* __restrict__ x, const float* __restrict__ gamma, const float* __restrict__ beta, float* __restrict__ y,
    long long rows, int c, float eps) {
  with_registers(c, [=](auto registers) {
    constexpr int R = decltype(registers)::value;
    for (long long r = global_warp(); r < rows; r += warps_of_grid()) {
      const Row<R> row(x + r * c, c);
      const Moments m = moments(row, c, eps);
      each<R>(c, [&](int i, int k) { y[r * c + k] = fmaf(m.around(row(i, k)) * m.inverse, gamma[k], beta[k]); });
    }
  });
}

extern "C" __global__ void __launch_bounds__(256, 1) layer_norm_bwd_f32(
    const float* __restrict__ x, const float* __restrict__ gamma, const float* __restrict__ dy, const int* __restrict__ rows,
    float* __restrict__ dx, float* __restrict__ parts, long long count, int size, int c, int per, float eps) {
  DYNAMIC_SHARED(float, shared);
  with_registers(c, [=](auto registers) {
    backward<decltype(registers)::value>(x, gamma, dy, rows, dx, parts, shared, count, size, c, per, eps);
  });
}

extern "C" __global__ void __launch_bounds__(256) layer_norm_total_f32(
    const float* __restrict__ parts, float* __restrict__ dgamma, float* __restrict__ dbeta, int blocks, int c) {
  const int k = (int)blockIdx.x * 32 + lane_index();
  float s = 0.0f;
  if (k < 2 * c) {
    for (int b = warp_index(); b < blocks; b += WARPS) s += parts[(long long)b * 2 * c + k];
  }
  SHARED(float, sums, WARPS * 32);
  sums[threadIdx.x] = s;
  __syncthreads();
  if (warp_index() == 0 && k < 2 * c) {
    for (int w = 1; w < WARPS; w++) s += sums[w * 32 + lane_index()];
    if (k < c) dgamma[k] = s; else dbeta[k - c] = s;
  }
}

extern "C" __global__ void __launch_bounds__(256) layer_norm_delta_f32(
    const float* __restrict__ x, const float* __restrict__ gamma, const float* __restrict__ d, const int* __restrict__ rows,
    const int* __restrict__ start, float* __restrict__ y, int m, int width, int len, int c, float eps) {
  with_registers(c, [=](auto registers) {
    constexpr int R = decltype(registers)::value;
    for (long long r = global_warp(); r < (long long)width * m; r += warps_of_grid()) {
      const int lane = (int)(r % m), p = start[lane] + (int)(r / m);
      if (p < 0 || p >= len) {
        each<R>(c, [&](int, int k) { y[r * c + k] = 0.0f; });
        continue;
      }
      const Row<R> row(x + ((long long)rows[lane] * len + p) * c, c), change(d + r * c, c);
      const Moments before = moments(row, c, eps);
      const float n = (float)c, mean = sum<R>(c, [&](int i, int k) { return change(i, k); }) / n;
      const float grown = sum<R>(c, [&](int i, int k) {
                            const float a = before.around(row(i, k)), b = change(i, k) - mean;
                            return ((a + a) + b) * b;
                          }) / n;
      const float variance = before.variance + grown, inverse = before.inverse;
      const float after = 1.0f / sqrtf((variance < 0.0f ? 0.0f : variance) + eps);
      const float slope = -grown * (inverse * inverse) * (after * after) / (inverse + after);
      each<R>(c, [&](int i, int k) {
        y[r * c + k] = gamma[k] * fmaf(change(i, k) - mean, after, before.around(row(i, k)) * slope);
      });
    }
  });
}
