// pool.cu: pooling over positions: maximum, mean, softmax-weighted mean; value, gradient, change under mutation.
// Host side: src/ops/pool/cuda.rs
// Maths:     window o of a sequence holds rows o stride - left to o stride - left + size - 1, those outside of 0 to l - 1 are padding;
//            padding has no weight, or one value a sequence: fill[i * fill_step]. Weighted: pool_cell.cuh; it has stride = size
// Layout:    x [N, L, C], y [N, Lo, C]; dy [R, Lo, C], dx [R, L, C] with tape row rows[r]; changes d [from_width, M, C] of windows that
//            begin at from[i], y [width, M, C] at to[i]
// Entries:   pool_fwd_f32, pool_bwd_f32, pool_delta_f32                              kind 0 maximum, 1 mean
//            pool_weighted_fwd_f32, pool_weighted_bwd_f32, pool_weighted_delta_f32   moved[i]: change of the padding of mutant i
//            all of these: any grid along x, block 256. The deltas: a thread takes `per` mutants of one row after the other, and keeps
//            what it knows of the reference window while they share it
//            pool_least_f32    y[b] = smallest of part b % parts of the `size` numbers x[b / parts], block 256, one block a result
//            pool_minima_f32   minima[i, p] = (smallest of rows 0 to p - 1, of rows p to l - 1) of the minima x [N, L] of rows; a block of
//                              256 a sequence
//            pool_moved_f32    how far every mutant moves the minimum of its map; a block of 256 a mutant
// Limits:    N * Lo, R * L, width * M below 2^31; any C; C % 4 = 0 and addresses of multiples of 16 bytes are fast, and so are
//            windows of up to 8 rows: they are read once
// Order:     every element is written by one thread, sums run over rows in their order; NaN is the smallest number
// Measured:  not on a GPU yet
#include "pool.cuh"

namespace {

template <int V>
DRG_DEVICE void backward_apart(const float* x, const float* fill, const float* dy, const int* rows, float* dx, int r, int kind,
                               int fill_step, const Shape& s) {
  each_cell((long long)r * s.lo, s.c / V, [=](long long row, int column) {
    const int i = (int)((unsigned)row / (unsigned)s.lo), o = (int)((unsigned)row % (unsigned)s.lo), channel = column * V;
    const Span span = span_of(s, o);
    float g[V];
    Most<V> most;
    load(dy + row * s.c + channel, g);
    if (kind == 0) {
      const long long n = rows[i];
      most.find(x + n * s.l * s.c + channel, s.c, span, pad_of(fill, fill_step, n, span));
    }
    const float share = 1.0f / (float)(span.last - span.first);
    const int end = next_first(s, o);
    for (int p = span.first; p < end; p++) {
      float v[V];
#pragma unroll
      for (int l = 0; l < V; l++) v[l] = kind == 0 ? (p == most.row[l] ? g[l] : 0.0f) : (p < span.last ? share * g[l] : 0.0f);
      store(dx + ((long long)i * s.l + p) * s.c + channel, v);
    }
  });
}

// Overlapping windows: every row of the map sums the windows that hold it.
template <int V>
DRG_DEVICE void backward_gathered(const float* x, const float* fill, const float* dy, const int* rows, float* dx, int r, int kind,
                                  int fill_step, const Shape& s) {
  each_cell((long long)r * s.l, s.c / V, [=](long long row, int column) {
    const int i = (int)((unsigned)row / (unsigned)s.l), p = (int)((unsigned)row % (unsigned)s.l), channel = column * V;
    const long long n = rows[i];
    const int least = p + s.left - s.size + 1, o_first = least > 0 ? ceil_div(least, s.stride) : 0;
    const int o_last = min((p + s.left) / s.stride, s.lo - 1);
    float sum[V];
    fill_with(sum, 0.0f);
    for (int o = o_first; o <= o_last; o++) {
      const Span span = span_of(s, o);
      float g[V];
      load(dy + ((long long)i * s.lo + o) * s.c + channel, g);
      if (kind == 0) {
        Most<V> most;
        most.find(x + n * s.l * s.c + channel, s.c, span, pad_of(fill, fill_step, n, span));
#pragma unroll
        for (int l = 0; l < V; l++) {
          if (most.row[l] == p) sum[l] += g[l];
        }
      } else {
        const float share = 1.0f / (float)(span.last - span.first);
#pragma unroll
        for (int l = 0; l < V; l++) sum[l] = fmaf(share, g[l], sum[l]);
      }
    }
    store(dx + row * s.c + channel, sum);
  });
}

// Change of a maximum, relative to the old one, so that the new one is found among small numbers. d = row `a` of the change.
template <int V>
DRG_DEVICE void maximum_change(const float* x, int c, const float* d, long long pitch, int a, int b, const Span& span, Pad pad,
                               float (&out)[V]) {
  Most<V> old;
  old.find(x, c, span, pad);
#pragma unroll
  for (int l = 0; l < V; l++) out[l] = pad.rows > 0 ? pad.value - old.value[l] : -INFINITY;
  for (int p = span.first; p < span.last; p++) {
    float v[V], more[V];
    load(x + (long long)p * c, v);
    fill_with(more, 0.0f);
    if (p >= a && p < b) load(d + (p - a) * pitch, more);
#pragma unroll
    for (int l = 0; l < V; l++) {
      v[l] = v[l] - old.value[l] + more[l];
      out[l] = v[l] > out[l] ? v[l] : out[l];
    }
  }
}

template <int CAP, int V>
DRG_DEVICE void weighted_delta(const float* x, const float* fill, const float* moved, const float* d, float* y, int fill_step,
                               const Sweep& w, const Shape& s) {
  const long long pitch = (long long)w.m * s.c;
  each_mutant<V>(w, s, y, [=](int channel) {
    Reference<CAP, V> reference;
    reference.count = 0;
    int known_n = -1, known_o = -1;
    return [=](int i, int n, int o, const Span& span, int a, int b, int start, float (&out)[V]) mutable {
      const Pad pad = pad_of(fill, fill_step, n, span);
      const float by = pad.rows > 0 && moved != nullptr ? moved[i] : 0.0f;
      if (a >= b && by == 0.0f) return;
      Rows<CAP, V> change;
      const bool some = a < b;
      change.set(some ? d + (a - start) * pitch + (long long)i * s.c + channel : d, pitch, some ? a - span.first : 0, some ? b - span.first : 0);
      if (n != known_n || o != known_o) {
        Rows<CAP, V> window;
        window.set(x + ((long long)n * s.l + span.first) * s.c + channel, s.c, 0, span.last - span.first);
        reference.set(window, span.last - span.first, pad);
        known_n = n;
        known_o = o;
      }
      reference.change(change, by, out);
    };
  });
}

// The smallest number of a block of 256 threads, for every thread.
DRG_DEVICE float block_least(float v) {
  SHARED(float, partial, 8);
#pragma unroll
  for (int offset = 16; offset > 0; offset >>= 1) v = smaller(v, __shfl_xor_sync(0xffffffffu, v, offset));
  if (lane_index() == 0) partial[warp_index()] = v;
  __syncthreads();
  float least = partial[0];
#pragma unroll
  for (int w = 1; w < 8; w++) least = smaller(least, partial[w]);
  return least;
}

}  // namespace

extern "C" __global__ void __launch_bounds__(256, 4) pool_fwd_f32(
    const float* __restrict__ x, const float* __restrict__ fill, float* __restrict__ y, int n, int l, int lo, int c, int size,
    int stride, int left, int kind, int fill_step) {
  const Shape s{l, lo, c, size, stride, left};
  in_pieces(c, [=](auto v) {
    constexpr int V = decltype(v)::value;
    each_cell((long long)n * s.lo, s.c / V, [=](long long row, int column) {
      const int i = (int)((unsigned)row / (unsigned)s.lo), o = (int)((unsigned)row % (unsigned)s.lo), channel = column * V;
      const Span span = span_of(s, o);
      const float* from = x + (long long)i * s.l * s.c + channel;
      if (kind == 0) {
        Most<V> most;
        most.find(from, s.c, span, pad_of(fill, fill_step, i, span));
        store(y + row * s.c + channel, most.value);
        return;
      }
      float sum[V];
      average(from, s.c, span, sum);
      store(y + row * s.c + channel, sum);
    });
  }, x, y);
}

extern "C" __global__ void __launch_bounds__(256, 4) pool_bwd_f32(
    const float* __restrict__ x, const float* __restrict__ fill, const float* __restrict__ dy, const int* __restrict__ rows,
    float* __restrict__ dx, int r, int l, int lo, int c, int size, int stride, int left, int kind, int fill_step) {
  const Shape s{l, lo, c, size, stride, left};
  in_pieces(c, [=](auto v) {
    constexpr int V = decltype(v)::value;
    if (s.stride >= s.size) {
      backward_apart<V>(x, fill, dy, rows, dx, r, kind, fill_step, s);
    } else {
      backward_gathered<V>(x, fill, dy, rows, dx, r, kind, fill_step, s);
    }
  }, x, dy, dx);
}

extern "C" __global__ void __launch_bounds__(256, 4) pool_delta_f32(
    const float* __restrict__ x, const float* __restrict__ fill, const float* __restrict__ d, const int* __restrict__ rows,
    const int* __restrict__ from, const int* __restrict__ to, float* __restrict__ y, int m, int width, int from_width, int l, int lo,
    int c, int size, int stride, int left, int kind, int fill_step) {
  const Shape s{l, lo, c, size, stride, left};
  const Sweep w{rows, from, to, m, width, from_width, 1};
  in_pieces(c, [=](auto v) {
    constexpr int V = decltype(v)::value;
    const long long pitch = (long long)w.m * s.c;
    each_mutant<V>(w, s, y, [=](int channel) {
      return [=](int i, long long n, int, const Span& span, int a, int b, int start, float (&out)[V]) {
        if (a >= b) return;
        const float* change = d + (a - start) * pitch + (long long)i * s.c + channel;
        if (kind == 0) {
          maximum_change(x + n * s.l * s.c + channel, s.c, change, pitch, a, b, span, pad_of(fill, fill_step, n, span), out);
          return;
        }
        const float share = 1.0f / (float)(span.last - span.first);
        for (int p = 0; p < b - a; p++) {
          float more[V];
          load(change + p * pitch, more);
#pragma unroll
          for (int k = 0; k < V; k++) out[k] = fmaf(share, more[k], out[k]);
        }
      };
    });
  }, x, d, y);
}

extern "C" __global__ void __launch_bounds__(256, 3) pool_weighted_fwd_f32(
    const float* __restrict__ x, const float* __restrict__ fill, float* __restrict__ y, int n, int l, int lo, int c, int size, int left,
    int fill_step) {
  const Shape s{l, lo, c, size, size, left};
  in_pieces(c, [=](auto v) {
    with_rows(s.size, [=](auto cap) {
      constexpr int V = decltype(v)::value, CAP = decltype(cap)::value;
      each_cell((long long)n * s.lo, s.c / V, [=](long long row, int column) {
        const int i = (int)((unsigned)row / (unsigned)s.lo), o = (int)((unsigned)row % (unsigned)s.lo), channel = column * V;
        const Span span = span_of(s, o);
        Rows<CAP, V> window;
        window.set(x + ((long long)i * s.l + span.first) * s.c + channel, s.c, 0, span.last - span.first);
        Cell<CAP, V> cell;
        cell.set(window, span.last - span.first, pad_of(fill, fill_step, i, span));
        store(y + row * s.c + channel, cell.y);
      });
    });
  }, x, y);
}

extern "C" __global__ void __launch_bounds__(256, 3) pool_weighted_bwd_f32(
    const float* __restrict__ x, const float* __restrict__ fill, const float* __restrict__ dy, const int* __restrict__ rows,
    float* __restrict__ dx, int r, int l, int lo, int c, int size, int left, int fill_step) {
  const Shape s{l, lo, c, size, size, left};
  in_pieces(c, [=](auto v) {
    with_rows(s.size, [=](auto cap) {
      constexpr int V = decltype(v)::value, CAP = decltype(cap)::value;
      each_cell((long long)r * s.lo, s.c / V, [=](long long row, int column) {
        const int i = (int)((unsigned)row / (unsigned)s.lo), o = (int)((unsigned)row % (unsigned)s.lo), channel = column * V;
        const Span span = span_of(s, o);
        const int count = span.last - span.first;
        const long long n = rows[i];
        float share[V];
        load(dy + row * s.c + channel, share);
        Rows<CAP, V> window;
        window.set(x + (n * s.l + span.first) * s.c + channel, s.c, 0, count);
        Cell<CAP, V> cell;
        cell.set(window, count, pad_of(fill, fill_step, n, span));
#pragma unroll
        for (int k = 0; k < V; k++) share[k] = share[k] / cell.sums[k];
        float* to = dx + ((long long)i * s.l + span.first) * s.c + channel;
        each_row<CAP>(count, [&](int p) {
          float g[V];
#pragma unroll
          for (int k = 0; k < V; k++) g[k] = cell.gradient(window.at(p, k), k, share[k]);
          store(to + (long long)p * s.c, g);
        });
        // Rows behind the last window.
        for (int p = count; p < next_first(s, o) - span.first; p++) {
          float none[V];
          fill_with(none, 0.0f);
          store(to + (long long)p * s.c, none);
        }
      });
    });
  }, x, dy, dx);
}

extern "C" __global__ void __launch_bounds__(256, 2) pool_weighted_delta_f32(
    const float* __restrict__ x, const float* __restrict__ fill, const float* __restrict__ moved, const float* __restrict__ d,
    const int* __restrict__ rows, const int* __restrict__ from, const int* __restrict__ to, float* __restrict__ y, int m, int width,
    int from_width, int per, int l, int lo, int c, int size, int left, int fill_step) {
  const Shape s{l, lo, c, size, size, left};
  const Sweep w{rows, from, to, m, width, from_width, per};
  const bool whole = aligned16(x, d, y);
  if (size <= 4) {
    if (c % 4 == 0 && whole) weighted_delta<4, 4>(x, fill, moved, d, y, fill_step, w, s);
    else weighted_delta<4, 1>(x, fill, moved, d, y, fill_step, w, s);
  } else if (size <= 8) {
    if (c % 2 == 0 && whole) weighted_delta<8, 2>(x, fill, moved, d, y, fill_step, w, s);
    else weighted_delta<8, 1>(x, fill, moved, d, y, fill_step, w, s);
  } else {
    weighted_delta<0, 1>(x, fill, moved, d, y, fill_step, w, s);
  }
}

extern "C" __global__ void __launch_bounds__(256) pool_least_f32(
    const float* __restrict__ x, float* __restrict__ y, long long size, int parts) {
  const long long of = blockIdx.x / (unsigned)parts, part = blockIdx.x % (unsigned)parts, each = ceil_div(size, (long long)parts);
  const long long end = min((part + 1) * each, size);
  float least = INFINITY;
#pragma unroll 4
  for (long long i = part * each + threadIdx.x; i < end; i += blockDim.x) least = smaller(least, x[of * size + i]);
  least = block_least(least);
  if (threadIdx.x == 0) y[blockIdx.x] = least;
}

extern "C" __global__ void __launch_bounds__(256) pool_minima_f32(const float* __restrict__ x, float* __restrict__ minima, int l) {
  SHARED(float, partial, 256);
  const int t = (int)threadIdx.x, each = ceil_div(l, 256), a = min(t * each, l), b = min(a + each, l);
  const float* row = x + (long long)blockIdx.x * l;
  float* to = minima + (long long)blockIdx.x * (l + 1) * 2;
  float mine = INFINITY;
  for (int p = a; p < b; p++) mine = smaller(mine, row[p]);
  partial[t] = mine;
  __syncthreads();
  float before = INFINITY, behind = INFINITY;
  for (int j = 0; j < t; j++) before = smaller(before, partial[j]);
  for (int j = t + 1; j < 256; j++) behind = smaller(behind, partial[j]);
  for (int p = a; p < b; p++) {
    to[2 * p] = before;
    before = smaller(before, row[p]);
  }
  for (int p = b - 1; p >= a; p--) {
    behind = smaller(behind, row[p]);
    to[2 * p + 1] = behind;
  }
  if (t == 255) {
    to[2 * l] = before;
    to[2 * l + 1] = INFINITY;
  }
}

extern "C" __global__ void __launch_bounds__(256) pool_moved_f32(
    const float* __restrict__ x, const float* __restrict__ minima, const float* __restrict__ d, const int* __restrict__ rows,
    const int* __restrict__ from, float* __restrict__ moved, int m, int width, int l, int c) {
  const int i = (int)blockIdx.x, start = from[i];
  const int a = min(max(start, 0), l), b = min(max(start + width, 0), l);
  const long long n = rows[i];
  const float* of = minima + n * (l + 1) * 2;
  const float old = of[1];
  // Relative to the old minimum, so that nothing large is subtracted.
  float least = smaller(of[2 * a] - old, of[2 * b + 1] - old);
  for (int p = a; p < b; p++) {
    const float *row = x + (n * l + p) * c, *change = d + ((long long)(p - start) * m + i) * c;
    for (int j = (int)threadIdx.x; j < c; j += (int)blockDim.x) least = smaller(least, row[j] - old + change[j]);
  }
  least = block_least(least);
  if (threadIdx.x == 0) moved[i] = least;
}
