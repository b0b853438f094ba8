// stem.cu: first layer, convolution of packed bases or of rows of four numbers on one strand or both, and their combination.
// Host side: src/ops/stem/cuda.rs
// Maths:     forward strand z[p] = b + sum_t W[t, x[p + t - left]], other strand z'[p] = b + sum_t W[t, 3 - x[p + left - t]]: the same
//            weights at complemented bases, read backwards. Code 4 and positions outside of the sequence add nothing, code 5 a quarter
//            of all four rows. mode 0: y = z, 1: maximum of both, 2: mean, 3: softmax-weighted mean
// Layout:    x [N, L] bytes or [N, L, 4], W [k, 4, O], y [N, L, O], values [N, L, 2, O]; dy, df, dr [R, L, O] with tape row rows[r];
//            changes [width, M, O] at to[i]; table [k, 6, O]; edits: M + 1 offsets into what follows them, then position * 8 + new base
// Entries:   stem_fwd_f32, stem_values_f32, stem_split_f32 and the same with _dense: a tile of 128 positions and 32 channels; grid (any,
//            O / 32), block 256, dynamic shared memory for `chunk` pairs of taps (dense: taps) as tile_bytes and dense_bytes of the host
//              values: both strands; split: gradients df and dr of the strands from dy
//            stem_wgrad_f32   part[s] [4 k + 1, O]: weights, then bias, over every gridDim.x-th tile of 64 positions; grid (parts, O / 32,
//                             k / 16), block 128; one of codes and numbers is null, dr is null for one strand
//            stem_wsum_f32    sums the parts, times scale; dw or db may be null
//            stem_dgrad_f32   dx [R, L, 4], times scale; a block of 256 for 128 positions
//            stem_table_f32   rows of W for all six codes
//            stem_delta_f32, stem_delta_rows_f32   change by edits, or by rows d [from_width, M, 4]; any grid, block 256
// Limits:    N * L, width * M, k * O below 2^31; O up to 2^20; any alignment: O % 4 = 0 and addresses of multiples of 16 bytes are fast
// Order:     fixed. Values: bias, then pairs of taps in their order, on both strands alike, so that the strands of a palindrome are
//            equal to the bit. Weights: parts, whose number depends on sizes alone, in their order
// Measured:  not on a GPU yet
#include "stem.cuh"

namespace {

// Calls finish(sweep row, position, channel, whole, forward strand, other strand) for all of a tile's positions; `whole`: the four
// channels exist and may be moved at once.
template <typename F>
DRG_DEVICE void finish_tile(const Stem& s, const Strands& z, int row, int p0, int slot, int channel, bool whole, F finish) {
  if (channel >= s.o) return;
#pragma unroll
  for (int j = 0; j < EACH; j++) {
    const int p = p0 + slot + 32 * j;
    if (p < s.l) finish(row, p, channel, whole, z.f[j], z.r[j]);
  }
}

// Every position of the tiles of packed bases.
template <bool BOTH, typename F>
DRG_DEVICE void each_position(const unsigned char* x, const int* rows, const float* w, const float* bias, const Stem& s, int chunk, bool whole, F finish) {
  const Tiles tiles{ceil_div(s.l, POSITIONS), POSITIONS, 0};
  packed<BOTH>(x, rows, w, bias, s, chunk, tiles, [=](const Strands& z, int row, int, int p0, int slot, int channel) {
    finish_tile(s, z, row, p0, slot, channel, whole && channel + 4 <= s.o, finish);
  });
}

// Rows of four numbers: weights and rows in shared memory.
template <bool BOTH, typename F>
DRG_DEVICE void dense(const float* x, const int* rows, const float* w, const float* bias, const Stem& s, int chunk, bool whole, F finish) {
  DYNAMIC_SHARED(float, weights);
  float* const forward = weights + chunk * 4 * CHANNELS;
  float* const other = forward + 4 * (POSITIONS + chunk);
  const int t = (int)threadIdx.x, slot = t / 8, inner = t % 8 * 4, channel0 = (int)blockIdx.y * CHANNELS, channel = channel0 + inner;
  const int tiles = ceil_div(s.l, POSITIONS);
  const bool here = whole && channel + 4 <= s.o;
  bool built = false;
  for (long long tile = blockIdx.x; tile < (long long)s.n * tiles; tile += gridDim.x) {
    const int row = (int)(tile / tiles), p0 = (int)(tile % tiles) * POSITIONS;
    const float* from = x + (long long)(rows == nullptr ? row : rows[row]) * s.l * 4;
    Strands z;
    begin_tile(s, bias, channel, z);
    for (int first = 0; first < s.k; first += chunk) {
      const int n = min(chunk, s.k - first);
      __syncthreads();   // the last chunk has been read
      if (!built) {
        for (int i = t; i < n * 4 * CHANNELS; i += (int)blockDim.x) {
          weights[i] = letter(w, s, first + i / (4 * CHANNELS), i / CHANNELS % 4, channel0 + i % CHANNELS);
        }
        built = chunk >= s.k;
      }
      for (int e = t; e < 4 * (POSITIONS + n - 1); e += (int)blockDim.x) {
        const int q = p0 - s.left + first + e / 4, back = p0 + s.left - (first + n - 1) + e / 4;
        forward[e] = (unsigned)q < (unsigned)s.l ? from[(long long)q * 4 + e % 4] : 0.0f;
        if (BOTH) other[e] = (unsigned)back < (unsigned)s.l ? from[(long long)back * 4 + 3 - e % 4] : 0.0f;
      }
      __syncthreads();
      for (int tap = 0; tap < n; tap++) {
        float v[4][4];
#pragma unroll
        for (int c = 0; c < 4; c++) load(weights + (tap * 4 + c) * CHANNELS + inner, v[c]);
#pragma unroll
        for (int j = 0; j < EACH; j++) {
          float f[4], r[4];
          load(forward + 4 * (slot + 32 * j + tap), f);
          if (BOTH) load(other + 4 * (slot + 32 * j + n - 1 - tap), r);
#pragma unroll
          for (int c = 0; c < 4; c++) {
#pragma unroll
            for (int i = 0; i < 4; i++) {
              z.f[j][i] = fmaf(f[c], v[c][i], z.f[j][i]);
              if (BOTH) z.r[j][i] = fmaf(r[c], v[c][i], z.r[j][i]);
            }
          }
        }
      }
    }
    finish_tile(s, z, row, p0, slot, channel, here, finish);
  }
}

// What is done with the values of the strands.
struct Combine {
  float* y;
  Stem s;
  __device__ __forceinline__ void operator()(int row, int p, int channel, bool whole, const float (&f)[4], const float (&r)[4]) const {
    float v[4];
    combine(s.mode, f, r, v);
    store_channels(y + ((long long)row * s.l + p) * s.o, channel, s.o, whole, v);
  }
};
struct Keep {
  float* z;
  Stem s;
  __device__ __forceinline__ void operator()(int row, int p, int channel, bool whole, const float (&f)[4], const float (&r)[4]) const {
    float* to = z + ((long long)row * s.l + p) * 2 * s.o;
    store_channels(to, channel, s.o, whole, f);
    store_channels(to + s.o, channel, s.o, whole, r);
  }
};
struct Split {
  const float* dy;
  float *df, *dr;
  Stem s;
  __device__ __forceinline__ void operator()(int row, int p, int channel, bool whole, const float (&f)[4], const float (&r)[4]) const {
    const long long at = ((long long)row * s.l + p) * s.o;
    float g[4], a[4], b[4];
    load_channels(dy + at, channel, s.o, whole, g);
    split(s.mode, f, r, g, a, b);
    store_channels(df + at, channel, s.o, whole, a);
    store_channels(dr + at, channel, s.o, whole, b);
  }
};


}  // namespace

extern "C" __global__ void __launch_bounds__(256, 3) stem_fwd_f32(
    const unsigned char* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias, float* __restrict__ y, int n, int l,
    int o, int k, int left, int mode, int chunk) {
  const Stem s{n, l, o, k, left, mode};
  const bool whole = in_fours(o) && aligned16(y);
  if (mode == FORWARD) {
    each_position<false>(x, nullptr, w, bias, s, chunk, whole, Combine{y, s});
  } else {
    each_position<true>(x, nullptr, w, bias, s, chunk, whole, Combine{y, s});
  }
}

extern "C" __global__ void __launch_bounds__(256, 2) stem_fwd_dense_f32(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias, float* __restrict__ y, int n, int l, int o,
    int k, int left, int mode, int chunk) {
  const Stem s{n, l, o, k, left, mode};
  const bool whole = in_fours(o) && aligned16(y);
  if (mode == FORWARD) {
    dense<false>(x, nullptr, w, bias, s, chunk, whole, Combine{y, s});
  } else {
    dense<true>(x, nullptr, w, bias, s, chunk, whole, Combine{y, s});
  }
}

extern "C" __global__ void __launch_bounds__(256, 3) stem_values_f32(
    const unsigned char* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias, float* __restrict__ z, int n, int l,
    int o, int k, int left, int chunk) {
  const Stem s{n, l, o, k, left, MAXIMUM};
  each_position<true>(x, nullptr, w, bias, s, chunk, in_fours(o) && aligned16(z), Keep{z, s});
}

extern "C" __global__ void __launch_bounds__(256, 2) stem_values_dense_f32(
    const float* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias, float* __restrict__ z, int n, int l, int o,
    int k, int left, int chunk) {
  const Stem s{n, l, o, k, left, MAXIMUM};
  dense<true>(x, nullptr, w, bias, s, chunk, in_fours(o) && aligned16(z), Keep{z, s});
}

extern "C" __global__ void __launch_bounds__(256, 3) stem_split_f32(
    const unsigned char* __restrict__ x, const int* __restrict__ rows, const float* __restrict__ w, const float* __restrict__ bias,
    const float* __restrict__ dy, float* __restrict__ df, float* __restrict__ dr, int r, int l, int o, int k, int left, int mode, int chunk) {
  const Stem s{r, l, o, k, left, mode};
  each_position<true>(x, rows, w, bias, s, chunk, in_fours(o) && aligned16(dy, df, dr), Split{dy, df, dr, s});
}

extern "C" __global__ void __launch_bounds__(256, 2) stem_split_dense_f32(
    const float* __restrict__ x, const int* __restrict__ rows, const float* __restrict__ w, const float* __restrict__ bias,
    const float* __restrict__ dy, float* __restrict__ df, float* __restrict__ dr, int r, int l, int o, int k, int left, int mode, int chunk) {
  const Stem s{r, l, o, k, left, mode};
  dense<true>(x, rows, w, bias, s, chunk, in_fours(o) && aligned16(dy, df, dr), Split{dy, df, dr, s});
}

// A thread has one channel and four taps; the rows of dz that they meet at a position slide through registers.
extern "C" __global__ void __launch_bounds__(128, 8) stem_wgrad_f32(
    const unsigned char* __restrict__ codes, const float* __restrict__ numbers, const float* __restrict__ df, const float* __restrict__ dr,
    float* __restrict__ part, int n, int l, int o, int k, int left) {
  constexpr int AT_ONCE = 64, TAPS = 16, ROWS = AT_ONCE + TAPS - 1;
  SHARED(float, forward, ROWS * CHANNELS);
  SHARED(float, other, ROWS * CHANNELS);
  SHARED(float4, x, AT_ONCE);
  const int t = (int)threadIdx.x, lane = lane_index(), channel = (int)blockIdx.y * CHANNELS + lane;
  const int t0 = (int)blockIdx.z * TAPS, mine = 4 * warp_index(), centre = left - t0 - mine;
  const int tiles = ceil_div(l, AT_ONCE);
  float sum[4][4], bias = 0.0f;
#pragma unroll
  for (int i = 0; i < 4; i++) {
#pragma unroll
    for (int c = 0; c < 4; c++) sum[i][c] = 0.0f;
  }
  for (long long tile = blockIdx.x; tile < (long long)n * tiles; tile += gridDim.x) {
    const long long row = tile / tiles;
    const int q0 = (int)(tile % tiles) * AT_ONCE, f0 = q0 + left - t0 - (TAPS - 1), r0 = q0 - left + t0;
    __syncthreads();   // the last tile has been read
    for (int i = warp_index(); i < ROWS; i += 4) {
      const bool there = channel < o;
      forward[i * CHANNELS + lane] = there && (unsigned)(f0 + i) < (unsigned)l ? df[(row * l + f0 + i) * o + channel] : 0.0f;
      if (dr != nullptr) other[i * CHANNELS + lane] = there && (unsigned)(r0 + i) < (unsigned)l ? dr[(row * l + r0 + i) * o + channel] : 0.0f;
    }
    if (t < AT_ONCE) {
      const int q = q0 + t;
      float4 v = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      if (q < l && codes != nullptr) {
        const int code = codes[row * l + q];
        const float all = code == 5 ? 0.25f : 0.0f;
        v = make_float4(code == 0 ? 1.0f : all, code == 1 ? 1.0f : all, code == 2 ? 1.0f : all, code == 3 ? 1.0f : all);
      } else if (q < l) {
        const float* from = numbers + (row * l + q) * 4;
        v = make_float4(from[0], from[1], from[2], from[3]);
      }
      x[t] = v;
    }
    __syncthreads();
    const float* f = forward + (TAPS - 1 - mine) * CHANNELS + lane;   // tap i: row q - i
    float d[4];
#pragma unroll
    for (int i = 1; i < 4; i++) d[i - 1] = f[-i * CHANNELS];
#pragma unroll 4
    for (int q = 0; q < AT_ONCE; q++) {
      d[3] = d[2];
      d[2] = d[1];
      d[1] = d[0];
      d[0] = f[q * CHANNELS];
      const float4 v = x[q];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        sum[i][0] = fmaf(v.x, d[i], sum[i][0]);
        sum[i][1] = fmaf(v.y, d[i], sum[i][1]);
        sum[i][2] = fmaf(v.z, d[i], sum[i][2]);
        sum[i][3] = fmaf(v.w, d[i], sum[i][3]);
      }
      if ((unsigned)centre < 4u) bias += centre < 2 ? (centre == 0 ? d[0] : d[1]) : (centre == 2 ? d[2] : d[3]);
    }
    if (dr == nullptr) continue;
    const float* r = other + mine * CHANNELS + lane;   // tap i: row q + i
#pragma unroll
    for (int i = 0; i < 3; i++) d[i + 1] = r[i * CHANNELS];
#pragma unroll 4
    for (int q = 0; q < AT_ONCE; q++) {
      d[0] = d[1];
      d[1] = d[2];
      d[2] = d[3];
      d[3] = r[(q + 3) * CHANNELS];
      const float4 v = x[q];
#pragma unroll
      for (int i = 0; i < 4; i++) {
        sum[i][0] = fmaf(v.w, d[i], sum[i][0]);
        sum[i][1] = fmaf(v.z, d[i], sum[i][1]);
        sum[i][2] = fmaf(v.y, d[i], sum[i][2]);
        sum[i][3] = fmaf(v.x, d[i], sum[i][3]);
      }
      if ((unsigned)centre < 4u) bias += centre < 2 ? (centre == 0 ? d[0] : d[1]) : (centre == 2 ? d[2] : d[3]);
    }
  }
  if (channel >= o) return;
  float* to = part + (long long)blockIdx.x * (4 * k + 1) * o + channel;
#pragma unroll
  for (int i = 0; i < 4; i++) {
    const int tap = t0 + mine + i;
    if (tap < k) {
#pragma unroll
      for (int c = 0; c < 4; c++) to[(long long)(tap * 4 + c) * o] = sum[i][c];
    }
  }
  if ((unsigned)centre < 4u) to[(long long)4 * k * o] = bias;
}

extern "C" __global__ void __launch_bounds__(256) stem_wsum_f32(
    const float* __restrict__ part, float* __restrict__ dw, float* __restrict__ db, int parts, int k, int o, float scale) {
  const long long size = (long long)(4 * k + 1) * o, weights = (long long)4 * k * o;
  for (long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += (long long)gridDim.x * blockDim.x) {
    float sum = 0.0f;
#pragma unroll 8
    for (int s = 0; s < parts; s++) sum += part[s * size + i];
    float* to = i < weights ? dw : db;
    if (to != nullptr) to[i < weights ? i : i - weights] = sum * scale;
  }
}

// A lane has four positions next to each other and all letters, a warp four of the 32 channels at hand; the warps' sums are added
// in their order. Rows of dz lie in four planes by position modulo 4, so that lanes read different banks.
extern "C" __global__ void __launch_bounds__(256, 3) stem_dgrad_f32(
    const float* __restrict__ df, const float* __restrict__ dr, const float* __restrict__ w, float* __restrict__ dx, int l, int o, int k,
    int left, float scale) {
  constexpr int TAPS = 16, ROWS = POSITIONS + TAPS - 1, PITCH = CHANNELS + 1, PLANE = (ROWS + 3) / 4 * PITCH;
  SHARED(float, rows, 4 * PLANE);
  SHARED(float4, weights, TAPS * CHANNELS);
  const int t = (int)threadIdx.x, lane = lane_index(), warp = warp_index();
  const int tiles = ceil_div(l, POSITIONS), row = (int)blockIdx.x / tiles, q0 = (int)blockIdx.x % tiles * POSITIONS;
  float sum[EACH][4];
#pragma unroll
  for (int j = 0; j < EACH; j++) {
#pragma unroll
    for (int c = 0; c < 4; c++) sum[j][c] = 0.0f;
  }
  for (int channel0 = 0; channel0 < o; channel0 += CHANNELS) {
    for (int step = 0; step < ceil_div(k, TAPS) * (dr == nullptr ? 1 : 2); step++) {
      const bool back = dr != nullptr && step % 2 == 1;
      const int t0 = (dr == nullptr ? step : step / 2) * TAPS;
      const int first = back ? q0 - left + t0 : q0 + left - t0 - (TAPS - 1);
      const float* from = (back ? dr : df) + (long long)row * l * o;
      __syncthreads();   // the last step has been read
      for (int i = warp; i < ROWS; i += 8) {
        const int p = first + i, channel = channel0 + lane;
        rows[i % 4 * PLANE + i / 4 * PITCH + lane] = channel < o && (unsigned)p < (unsigned)l ? from[(long long)p * o + channel] : 0.0f;
      }
      for (int i = t; i < TAPS * CHANNELS; i += 256) {
        const int tap = back ? t0 + i / CHANNELS : t0 + TAPS - 1 - i / CHANNELS, channel = channel0 + i % CHANNELS;
        float v[4];
#pragma unroll
        for (int c = 0; c < 4; c++) v[c] = tap < k && channel < o ? w[((long long)tap * 4 + (back ? 3 - c : c)) * o + channel] : 0.0f;
        weights[i] = make_float4(v[0], v[1], v[2], v[3]);
      }
      __syncthreads();
#pragma unroll 1
      for (int channel = warp; channel < CHANNELS; channel += 8) {
        const float* at = rows + lane * PITCH + channel;
        float d[EACH];
#pragma unroll
        for (int j = 1; j < EACH; j++) d[j] = at[(j - 1) * PLANE];
#pragma unroll
        for (int i = 0; i < TAPS; i++) {
#pragma unroll
          for (int j = 1; j < EACH; j++) d[j - 1] = d[j];
          d[EACH - 1] = at[(i + 3) % 4 * PLANE + (i + 3) / 4 * PITCH];
          const float4 v = weights[i * CHANNELS + channel];
#pragma unroll
          for (int j = 0; j < EACH; j++) {
            sum[j][0] = fmaf(v.x, d[j], sum[j][0]);
            sum[j][1] = fmaf(v.y, d[j], sum[j][1]);
            sum[j][2] = fmaf(v.z, d[j], sum[j][2]);
            sum[j][3] = fmaf(v.w, d[j], sum[j][3]);
          }
        }
      }
    }
  }
  __syncthreads();
#pragma unroll
  for (int j = 0; j < EACH; j++) {
#pragma unroll
    for (int c = 0; c < 4; c++) rows[((j * 4 + c) * 8 + warp) * 32 + lane] = sum[j][c];
  }
  __syncthreads();
  for (int i = t; i < 4 * POSITIONS; i += 256) {
    const int q = q0 + i / 4, j = i / 4 % EACH, c = i % 4, of = i / 16;
    float all = 0.0f;
#pragma unroll
    for (int v = 0; v < 8; v++) all += rows[((j * 4 + c) * 8 + v) * 32 + of];
    if (q < l) dx[((long long)row * l + q) * 4 + c] = all * scale;
  }
}

extern "C" __global__ void __launch_bounds__(256) stem_table_f32(const float* __restrict__ w, float* __restrict__ table, int k, int o) {
  const Stem s{0, 0, o, k, 0, 0};
  each_cell((long long)k * LETTERS, o, [=](long long row, int channel) {
    table[row * o + channel] = letter(w, s, (int)((unsigned)row / LETTERS), (int)((unsigned)row % LETTERS), channel);
  });
}

namespace {

// Sums the changes of both strands at every row of the window and combines them: change(mutant, tape row, position, channel, whole, f, r).
template <typename F>
DRG_DEVICE void delta(const float* values, const int* rows, const int* to, float* y, int m, int width, bool whole, const Stem& s, F change) {
  each_cell((long long)width * m, ceil_div(s.o, 4), [=](long long cell, int column) {
    const int i = (int)((unsigned)cell % (unsigned)m), p = to[i] + (int)((unsigned)cell / (unsigned)m), channel = 4 * column;
    float out[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    if ((unsigned)p < (unsigned)s.l) {
      const int n = rows[i];
      float f[4] = {0.0f, 0.0f, 0.0f, 0.0f}, r[4] = {0.0f, 0.0f, 0.0f, 0.0f}, zf[4] = {0.0f, 0.0f, 0.0f, 0.0f}, zr[4] = {0.0f, 0.0f, 0.0f, 0.0f};
      if (values != nullptr) {
        const float* z = values + ((long long)n * s.l + p) * 2 * s.o;
        load_channels(z, channel, s.o, whole, zf);
        load_channels(z + s.o, channel, s.o, whole, zr);
      }
      change(i, n, p, channel, f, r);
      combined_change(s.mode, zf, zr, f, r, out);
    }
    store_channels(y + cell * s.o, channel, s.o, whole, out);
  });
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 3) stem_delta_f32(
    const unsigned char* __restrict__ x, const float* __restrict__ table, const float* __restrict__ values, const int* __restrict__ edits,
    const int* __restrict__ rows, const int* __restrict__ to, float* __restrict__ y, int m, int width, int l, int o, int k, int left, int mode) {
  const Stem s{0, l, o, k, left, mode};
  const bool whole = in_fours(o) && aligned16(table, y) && (values == nullptr || aligned16(values));
  const Edits sum{x, table, edits, edits + m + 1};
  delta(values, rows, to, y, m, width, whole, s, [=](int i, int n, int p, int channel, float (&f)[4], float (&r)[4]) {
    sum.add(s, i, n, p, [=](const float* row, float (&v)[4]) { load_channels(row, channel, s.o, whole, v); }, f, r);
  });
}

extern "C" __global__ void __launch_bounds__(256, 3) stem_delta_rows_f32(
    const float* __restrict__ d, const float* __restrict__ w, const float* __restrict__ values, const int* __restrict__ rows,
    const int* __restrict__ from, const int* __restrict__ to, float* __restrict__ y, int m, int width, int from_width, int l, int o, int k,
    int left, int mode) {
  const Stem s{0, l, o, k, left, mode};
  const bool whole = in_fours(o) && aligned16(w, y) && (values == nullptr || aligned16(values));
  delta(values, rows, to, y, m, width, whole, s, [=](int i, int, int p, int channel, float (&f)[4], float (&r)[4]) {
    const int first = max(from[i], 0), last = min(from[i] + from_width, s.l);
    const auto add = [&](int q, int tap, bool back, float (&sum)[4]) {
      if (q < first || q >= last) return;
      const float* change = d + ((long long)(q - from[i]) * m + i) * 4;
#pragma unroll
      for (int c = 0; c < 4; c++) {
        float v[4];
        load_channels(w + ((long long)tap * 4 + c) * s.o, channel, s.o, whole, v);
#pragma unroll
        for (int j = 0; j < 4; j++) sum[j] = fmaf(change[back ? 3 - c : c], v[j], sum[j]);
      }
    };
    for (int tap = 0; tap < s.k; tap++) {
      add(p + tap - s.left, tap, false, f);
      if (s.mode != FORWARD) add(p + s.left - tap, tap, true, r);
    }
  });
}
