// pool.cuh: windows of a pool over positions and the mutants of a delta sweep, for pool.cu and stem_pool.cu. The weighted pool of one
// window is in pool_cell.cuh.
//
//   Shape, Span, span_of   sizes, and the rows that a window holds
//   Most, average          the maximum of a window and who has it, its mean
//   with_rows              calls f with the number of rows that are kept in registers
//   Sweep, each_mutant     calls f for every row of a window of a delta sweep, several mutants a thread
#pragma once
#include "pool_cell.cuh"

namespace {

struct Shape {
  int l, lo, c, size, stride, left;
};

// Rows `first` to `last` - 1 of the sequence are in a window, `pads` padded ones besides.
struct Span {
  int first, last, pads;
};
DRG_DEVICE Span span_of(const Shape& s, int o) {
  const int begin = o * s.stride - s.left, first = max(begin, 0), last = min(begin + s.size, s.l);
  return {first, last, s.size - (last - first)};
}

DRG_DEVICE Pad pad_of(const float* fill, int fill_step, long long n, const Span& span) {
  if (fill == nullptr || span.pads == 0) return {0, 0.0f};
  return {span.pads, fill[n * fill_step]};
}

template <int V> DRG_DEVICE void fill_with(float (&v)[V], float value) {
#pragma unroll
  for (int l = 0; l < V; l++) v[l] = value;
}

// Calls f(V) with the widest pieces of a row that fit.
template <typename F, typename... P> DRG_DEVICE void in_pieces(int c, F f, const P*... pointers) {
  if (c % 4 == 0 && aligned16(pointers...)) {
    f(std::integral_constant<int, 4>{});
  } else {
    f(std::integral_constant<int, 1>{});
  }
}

// Likewise with the number of rows that are kept in registers.
template <typename F> DRG_DEVICE void with_rows(int size, F f) {
  if (size <= 4) {
    f(std::integral_constant<int, 4>{});
  } else if (size <= 8) {
    f(std::integral_constant<int, 8>{});
  } else {
    f(std::integral_constant<int, 0>{});
  }
}

// The maximum of a window, and the row that has it; -1 where the padding does, or NaN.
template <int V> struct Most {
  float value[V];
  int row[V];
  // x = channel of row 0 of the sequence
  __device__ __forceinline__ void find(const float* x, int c, const Span& span, Pad pad) {
    load(x + (long long)span.first * c, value);
#pragma unroll
    for (int l = 0; l < V; l++) row[l] = span.first;
#pragma unroll 4
    for (int p = span.first + 1; p < span.last; p++) {
      float v[V];
      load(x + (long long)p * c, v);
#pragma unroll
      for (int l = 0; l < V; l++) {
        if (v[l] > value[l] || v[l] != v[l]) {
          value[l] = v[l];
          row[l] = p;
        }
      }
    }
#pragma unroll
    for (int l = 0; l < V; l++) {
      if (value[l] != value[l]) row[l] = -1;
      if (pad.rows > 0 && pad.value > value[l]) {
        value[l] = pad.value;
        row[l] = -1;
      }
    }
  }
};

// The mean of a window; x = channel of row 0 of the sequence.
template <int V> DRG_DEVICE void average(const float* x, int c, const Span& span, float (&mean)[V]) {
  load(x + (long long)span.first * c, mean);
#pragma unroll 4
  for (int p = span.first + 1; p < span.last; p++) {
    float more[V];
    load(x + (long long)p * c, more);
#pragma unroll
    for (int l = 0; l < V; l++) mean[l] += more[l];
  }
  const float share = 1.0f / (float)(span.last - span.first);
#pragma unroll
  for (int l = 0; l < V; l++) mean[l] *= share;
}

// Rows of the map that window o writes in a backward pass with windows that do not overlap: up to the next window.
DRG_DEVICE int next_first(const Shape& s, int o) { return o + 1 == s.lo ? s.l : span_of(s, o + 1).first; }

// What a delta sweep works on, and how it walks: calls f(mutant, tape row, window, its span, changed rows a to b - 1 of it, result).
struct Sweep {
  const int *rows, *from, *to;
  int m, width, from_width, per;
};
template <int V, typename F> DRG_DEVICE void each_mutant(const Sweep& w, const Shape& s, float* y, F f) {
  const int groups = ceil_div(w.m, w.per);
  each_cell((long long)w.width * groups, s.c / V, [=](long long row, int column) {
    const int at = (int)((unsigned)row / (unsigned)groups), first = (int)((unsigned)row % (unsigned)groups) * w.per;
    auto reference = f(column * V);
    for (int i = first; i < min(first + w.per, w.m); i++) {
      const int o = w.to[i] + at, start = w.from[i];
      float out[V];
      fill_with(out, 0.0f);
      if ((unsigned)o < (unsigned)s.lo) {
        const Span span = span_of(s, o);
        reference(i, w.rows[i], o, span, max(span.first, start), min(span.last, start + w.from_width), start, out);
      }
      store(y + ((long long)at * w.m + i) * s.c + column * V, out);
    }
  });
}

}  // namespace
