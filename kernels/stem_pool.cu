// stem_pool.cu: first layer on packed bases, activation and pool in one: neither pass writes the map between them.
// Host side: src/ops/stem_pool/cuda.rs
// Maths:     stem.cuh, math.cuh, pool.cuh and pool_cell.cuh: y = pool(f(stem(x))). Windows do not overlap (size <= stride) and their padding
//            has no weight; kind 0 maximum, 1 mean, 2 softmax-weighted mean
// Layout:    x [N, L] bytes, W [k, 4, O], y [N, Lo, O]; values [N, L, S, O]: z, or both strands (S = 2) where mode is 1 or 3; dy [R, Lo, O],
//            df, dr [R, L, O] with tape row rows[r]; changes y [width, M, O] at to[i]; edits: M + 1 offsets, then position * 8 + new base
// Entries:   stem_pool_fwd_f32, stem_pool_split_f32   a tile of 128 / stride windows and 32 channels; grid (any, O / 32), block 256, dynamic
//                                 shared memory: `chunk` pairs of taps (tile_bytes of the host), then the tile, [128, 32]
//              fwd: values may be null; split: gradients of the strands, dr is null where both are the same or there is one
//            stem_pool_delta_f32  change by edits, which change the map on [from_width, M] from from[i]; any grid, block 256, dynamic shared
//                                 memory of 32 floats a thread; a thread takes `per` mutants of one row after the other
// Limits:    size <= stride <= 128, in delta size <= 16; N * L, width * M, k * O below 2^31; O up to 2^20; O % 4 = 0 and addresses of
//            multiples of 16 bytes are fast, in delta only with size <= 4
// Order:     fixed; every element is written by one thread, rows of a window are summed in their order
// Measured:  not on a GPU yet
#include "math.cuh"
#include "pool.cuh"
#include "stem.cuh"

namespace {

enum Kind { LARGEST, AVERAGE, SOFTMAX };

struct Fused {
  Stem s;
  Shape p;
  int f, kind;
  __device__ __forceinline__ int windows() const { return POSITIONS / p.stride; }   // of a tile
  __device__ __forceinline__ Tiles tiles() const {
    const int step = windows() * p.stride;
    return {ceil_div(p.l + p.left, step), step, -p.left};
  }
  __device__ __forceinline__ bool keeps_both() const { return s.mode == MAXIMUM || s.mode == WEIGHTED; }
};

template <typename F, int V> DRG_DEVICE void values_of(float (&v)[V]) {
#pragma unroll
  for (int i = 0; i < V; i++) v[i] = F::value(v[i]);
}
template <typename F, int V> DRG_DEVICE void times_slope(const float (&z)[V], float (&g)[V]) {
#pragma unroll
  for (int i = 0; i < V; i++) g[i] *= F::slope(z[i]);
}
template <typename F, int V> DRG_DEVICE void differences(const float (&z)[V], float (&d)[V]) {
#pragma unroll
  for (int i = 0; i < V; i++) d[i] = F::difference(z[i], d[i]);
}

// What all threads of a tile share: f of the combined strands, a row of 32 channels a position.
struct Map {
  Fused a;
  float* map;
  DRG_DEVICE float* at(float* map, int position) { return map + position * CHANNELS + (int)threadIdx.x % 8 * 4; }

  // Writes the thread's positions of the map; the barrier behind it is the caller's.
  __device__ __forceinline__ void fill(const Strands& z, int slot) const {
#pragma unroll
    for (int j = 0; j < EACH; j++) {
      float v[4];
      combine(a.s.mode, z.f[j], z.r[j], v);
      store(at(map, slot + 32 * j), v);
    }
    // In place, so that there is one copy of the code.
#pragma unroll 1
    for (int j = 0; j < EACH; j++) {
      float v[4];
      load(at(map, slot + 32 * j), v);
      WITH_CURVE(a.f, values_of<F>(v));
      store(at(map, slot + 32 * j), v);
    }
  }

  // Calls f(window, its rows in the map, their number) for the thread's channels of the tile's windows.
  template <typename F> __device__ __forceinline__ void each_window(int tile, int p0, F f) const {
    const int windows = a.windows();
    for (int i = (int)threadIdx.x / 8; i < windows; i += 32) {
      const int o = tile * windows + i;
      if (o >= a.p.lo) return;
      const Span span = span_of(a.p, o);
      f(o, at(map, span.first - p0), span.last - span.first);
    }
  }
};

struct Pooled {
  Map m;
  float *y, *values;
  bool whole;
  __device__ __forceinline__ void operator()(const Strands& z, int row, int tile, int p0, int slot, int channel) const {
    const Fused& a = m.a;
    const bool here = whole && channel + 4 <= a.s.o;
    m.fill(z, slot);
    if (values != nullptr && channel < a.s.o) {
#pragma unroll
      for (int j = 0; j < EACH; j++) {
        const int p = p0 + slot + 32 * j;
        if (slot + 32 * j >= a.windows() * a.p.stride || (unsigned)p >= (unsigned)a.p.l) continue;
        const long long at = (long long)row * a.p.l + p;
        if (a.keeps_both()) {
          store_channels(values + 2 * at * a.s.o, channel, a.s.o, here, z.f[j]);
          store_channels(values + (2 * at + 1) * a.s.o, channel, a.s.o, here, z.r[j]);
        } else {
          float v[4];
          combine(a.s.mode, z.f[j], z.r[j], v);
          store_channels(values + at * a.s.o, channel, a.s.o, here, v);
        }
      }
    }
    __syncthreads();
    if (channel >= a.s.o) return;
    m.each_window(tile, p0, [&](int o, const float* x, int count) {
      float v[4];
      const Span all{0, count, 0};
      if (a.kind == AVERAGE) {
        average(x, CHANNELS, all, v);
      } else if (a.kind == LARGEST) {
        Most<4> most;
        most.find(x, CHANNELS, all, {0, 0.0f});
#pragma unroll
        for (int i = 0; i < 4; i++) v[i] = most.value[i];
      } else {
        with_rows(a.p.size, [&](auto cap) {
          constexpr int CAP = decltype(cap)::value;
          Rows<CAP, 4> rows;
          rows.set(x, CHANNELS, 0, count);
          Cell<CAP, 4> cell;
          cell.set(rows, count, {0, 0.0f});
#pragma unroll
          for (int i = 0; i < 4; i++) v[i] = cell.y[i];
        });
      }
      store_channels(y + ((long long)row * a.p.lo + o) * a.s.o, channel, a.s.o, here, v);
    });
  }
};

struct Gradient {
  Map m;
  const float* dy;
  float *df, *dr;
  bool whole;

  // The gradient of a window in place of its rows.
  __device__ __forceinline__ void spread(const float (&g)[4], float* x, int count) const {
    if (m.a.kind == SOFTMAX) {
      with_rows(m.a.p.size, [&](auto cap) {
        constexpr int CAP = decltype(cap)::value;
        Rows<CAP, 4> rows;
        rows.set(x, CHANNELS, 0, count);
        Cell<CAP, 4> cell;
        cell.set(rows, count, {0, 0.0f});
        each_row<CAP>(count, [&](int p) {
          float v[4];
#pragma unroll
          for (int i = 0; i < 4; i++) v[i] = cell.gradient(rows.at(p, i), i, g[i] / cell.sums[i]);
          store(x + p * CHANNELS, v);
        });
      });
      return;
    }
    Most<4> most;
    if (m.a.kind == LARGEST) most.find(x, CHANNELS, {0, count, 0}, {0, 0.0f});
    const float share = 1.0f / (float)count;
    for (int p = 0; p < count; p++) {
      float v[4];
#pragma unroll
      for (int i = 0; i < 4; i++) v[i] = m.a.kind == AVERAGE ? share * g[i] : p == most.row[i] ? g[i] : 0.0f;
      store(x + p * CHANNELS, v);
    }
  }

  __device__ __forceinline__ void operator()(const Strands& z, int row, int tile, int p0, int slot, int channel) const {
    const Fused& a = m.a;
    const bool here = whole && channel + 4 <= a.s.o;
    m.fill(z, slot);
    __syncthreads();
    if (channel < a.s.o) {
      m.each_window(tile, p0, [&](int o, float* x, int count) {
        float g[4];
        load_channels(dy + ((long long)row * a.p.lo + o) * a.s.o, channel, a.s.o, here, g);
        spread(g, x, count);
      });
    }
    __syncthreads();
    if (channel >= a.s.o) return;
#pragma unroll
    for (int j = 0; j < EACH; j++) {
      const int inside = slot + 32 * j, p = p0 + inside, window = inside / a.p.stride;
      if (window >= a.windows() || (unsigned)p >= (unsigned)a.p.l) continue;
      float v[4], g[4] = {0.0f, 0.0f, 0.0f, 0.0f};
      if (inside - window * a.p.stride < a.p.size && tile * a.windows() + window < a.p.lo) {
        load(Map::at(m.map, inside), g);
        combine(a.s.mode, z.f[j], z.r[j], v);
        WITH_CURVE(a.f, times_slope<F>(v, g));
      }
      const long long at = ((long long)row * a.p.l + p) * a.s.o;
      if (dr == nullptr) {
        store_channels(df + at, channel, a.s.o, here, g);
      } else {
        float f[4], r[4];
        split(a.s.mode, z.f[j], z.r[j], g, f, r);
        store_channels(df + at, channel, a.s.o, here, f);
        store_channels(dr + at, channel, a.s.o, here, r);
      }
    }
  }
};

// The value z of V channels, and both strands where they are kept.
template <int V> DRG_DEVICE void recorded(const float* values, const Fused& a, long long row, int channel, float (&zf)[V], float (&zr)[V], float (&z)[V]) {
  fill_with(zr, 0.0f);
  if (a.keeps_both()) {
    load(values + 2 * row * a.s.o + channel, zf);
    load(values + (2 * row + 1) * a.s.o + channel, zr);
    combine(a.s.mode, zf, zr, z);
  } else {
    load(values + row * a.s.o + channel, zf);
#pragma unroll
    for (int i = 0; i < V; i++) z[i] = zf[i];
  }
}

// Change of a maximum, relative to the old one, so that the new one is found among small numbers.
template <int CAP, int V> DRG_DEVICE void largest_change(const Rows<CAP, V>& x, const Rows<CAP, V>& d, int count, float (&out)[V]) {
#pragma unroll
  for (int l = 0; l < V; l++) {
    float old = x.at(0, l);
    each_row<CAP>(count, [&](int i) { old = x.at(i, l) > old || x.at(i, l) != x.at(i, l) ? x.at(i, l) : old; });
    out[l] = -INFINITY;
    each_row<CAP>(count, [&](int i) {
      const float v = x.at(i, l) - old + d.at(i, l);
      out[l] = v > out[l] ? v : out[l];
    });
  }
}

template <int CAP, int V>
DRG_DEVICE void changes(const float* values, const Edits& edits, float* y, const Sweep& w, const Fused& a) {
  DYNAMIC_SHARED(float, slots);
  // Row p of the window at p * pitch: loops over rows then need no copies of the code.
  float* const mine = slots + (int)threadIdx.x * V;
  constexpr int pitch = 256 * V;
  each_mutant<V>(w, a.p, y, [=](int channel) {
    Reference<CAP, V> reference;
    reference.count = 0;
    int known_n = -1, known_o = -1;
    return [=](int i, long long n, int o, const Span& span, int first, int last, int, float (&out)[V]) mutable {
      if (first >= last) return;
      const int count = span.last - span.first;
      float zf[V], zr[V], z[V];
      if (n != known_n || o != known_o) {
#pragma unroll 1
        for (int p = 0; p < count; p++) {
          recorded(values, a, n * a.p.l + span.first + p, channel, zf, zr, z);
          WITH_CURVE(a.f, values_of<F>(z));
          store(mine + p * pitch, z);
        }
        Rows<CAP, V> window;
        window.set(mine, pitch, 0, count);
        reference.x = window;
        if (a.kind == SOFTMAX) reference.set(window, count, {0, 0.0f});
        known_n = n;
        known_o = o;
      }
#pragma unroll 1
      for (int p = first; p < last; p++) {
        float f[V], r[V], d[V];
        fill_with(f, 0.0f);
        fill_with(r, 0.0f);
        edits.add(a.s, i, n, p, [=](const float* row, float (&v)[V]) { load(row + channel, v); }, f, r);
        recorded(values, a, n * a.p.l + p, channel, zf, zr, z);
        combined_change(a.s.mode, zf, zr, f, r, d);
        WITH_CURVE(a.f, differences<F>(z, d));
        store(mine + (p - span.first) * pitch, d);
      }
      Rows<CAP, V> change;
      change.set(mine + (first - span.first) * pitch, pitch, first - span.first, last - span.first);
      if (a.kind == SOFTMAX) {
        reference.change(change, 0.0f, out);
      } else if (a.kind == LARGEST) {
        largest_change(reference.x, change, count, out);
      } else {
        const float share = 1.0f / (float)count;
        each_row<CAP>(count, [&](int p) {
#pragma unroll
          for (int l = 0; l < V; l++) out[l] = fmaf(share, change.at(p, l), out[l]);
        });
      }
    };
  });
}

DRG_DEVICE Fused fused(int n, int l, int o, int k, int left, int mode, int f, int lo, int size, int stride, int before, int kind) {
  return {{n, l, o, k, left, mode}, {l, lo, o, size, stride, before}, f, kind};
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 3) stem_pool_fwd_f32(
    const unsigned char* __restrict__ x, const float* __restrict__ w, const float* __restrict__ bias, float* __restrict__ y,
    float* __restrict__ values, int n, int l, int o, int k, int left, int mode, int f, int lo, int size, int stride, int before, int kind,
    int chunk) {
  const Fused a = fused(n, l, o, k, left, mode, f, lo, size, stride, before, kind);
  const Pooled finish{{a, behind_tables(chunk)}, y, values, in_fours(o) && aligned16(y, values)};
  if (mode == FORWARD) {
    packed<false>(x, nullptr, w, bias, a.s, chunk, a.tiles(), finish);
  } else {
    packed<true>(x, nullptr, w, bias, a.s, chunk, a.tiles(), finish);
  }
}

extern "C" __global__ void __launch_bounds__(256, 2) stem_pool_split_f32(
    const unsigned char* __restrict__ x, const int* __restrict__ rows, const float* __restrict__ w, const float* __restrict__ bias,
    const float* __restrict__ dy, float* __restrict__ df, float* __restrict__ dr, int r, int l, int o, int k, int left, int mode, int f,
    int lo, int size, int stride, int before, int kind, int chunk) {
  const Fused a = fused(r, l, o, k, left, mode, f, lo, size, stride, before, kind);
  const Gradient finish{{a, behind_tables(chunk)}, dy, df, dr, in_fours(o) && aligned16(dy, df, dr)};
  if (mode == FORWARD) {
    packed<false>(x, rows, w, bias, a.s, chunk, a.tiles(), finish);
  } else {
    packed<true>(x, rows, w, bias, a.s, chunk, a.tiles(), finish);
  }
}

extern "C" __global__ void __launch_bounds__(256, 2) stem_pool_delta_f32(
    const unsigned char* __restrict__ x, const float* __restrict__ table, const float* __restrict__ values, const int* __restrict__ edits,
    const int* __restrict__ rows, const int* __restrict__ from, const int* __restrict__ to, float* __restrict__ y, int m, int width,
    int from_width, int per, int l, int o, int k, int left, int mode, int f, int lo, int size, int stride, int before, int kind) {
  const Fused a = fused(0, l, o, k, left, mode, f, lo, size, stride, before, kind);
  const Sweep w{rows, from, to, m, width, from_width, per};
  const Edits of{x, table, edits, edits + m + 1};
  if (size <= 4 && in_fours(o) && aligned16(table, values, y)) {
    changes<4, 4>(values, of, y, w, a);
  } else {
    changes<16, 1>(values, of, y, w, a);
  }
}
