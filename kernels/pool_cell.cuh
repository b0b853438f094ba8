// pool_cell.cuh: the weighted pool of one window, y = sum_i w_i x_i with w = softmax(x), V channels a thread.
// Twin of src/util/math/pool.rs in f32: formulas and branches are the same; the padding counts as one row of a constant value.
//
//   Rows<CAP, V>       the rows of a window: at most CAP in registers; CAP = 0: any number, read where they are needed
//   Cell<CAP, V>       maximum, sum of exponentials and value of a window; its weights
//   Reference<CAP, V>  what stays the same for all mutants of a window, and the change that one of them makes
#pragma once
#include "drg.cuh"

// Above this increase of a row the delta form would overflow, and it is summed from the new weights instead.
#define DRG_LARGE_CHANGE 30.0f
// Below this remaining weight likewise: everything that mattered has dropped out of the window, and what the sum of the delta form
// is rounded by would be divided by that weight.
#define DRG_SMALL_REST 1e-2f
// Up to here e^x is 0.
#define DRG_EXP_LOW (-104.0f)

// The smaller number; NaN wins.
DRG_DEVICE float smaller(float a, float b) { return b < a || b != b ? b : a; }

// e^x and e^x - 1 for x <= 30, each with small relative error, from one polynomial.
struct Exponentials {
  float e, m;
};
DRG_DEVICE Exponentials exponentials(float x) {
  const float rounder = 12582912.0f;   // 1.5 2^23: leaves the nearest integer in the low bits
  const float y = x < -88.0f ? -88.0f : x;
  const float shifted = fmaf(y, 1.4426950408889634f, rounder), k = shifted - rounder;
  const float r = fmaf(k, 2.1219444e-4f, fmaf(k, -355.0f / 512.0f, y));
  float p = fmaf(1.381444e-3f, r, 8.368797e-3f);
  p = fmaf(p, r, 4.1668396e-2f);
  p = fmaf(p, r, 1.666652e-1f);
  p = fmaf(p, r, 4.9999994e-1f);
  p = fmaf(r * r, p, r);
  const float s = __uint_as_float((__float_as_uint(shifted) << 23) + (127u << 23));   // 2^k
  return {fmaf(p, s, s), fmaf(p, s, s - 1.0f)};
}

// Calls f(i) for the rows 0 to count - 1 of a window.
template <int CAP, typename F> DRG_DEVICE void each_row(int count, F f) {
  if constexpr (CAP > 0) {
#pragma unroll
    for (int i = 0; i < CAP; i++) {
      if (i < count) f(i);
    }
  } else {
    for (int i = 0; i < count; i++) f(i);
  }
}

// Rows `from` to `to` - 1 of a window; the others are zero. p = row `from`, rows lie `pitch` elements apart.
template <int CAP, int V> struct Rows {
  float v[CAP][V];
  __device__ __forceinline__ void set(const float* p, long long pitch, int from, int to) {
#pragma unroll
    for (int i = 0; i < CAP; i++) {
      if (i >= from && i < to) {
        load(p + (i - from) * pitch, v[i]);
      } else {
#pragma unroll
        for (int l = 0; l < V; l++) v[i][l] = 0.0f;
      }
    }
  }
  __device__ __forceinline__ float at(int i, int l) const { return v[i][l]; }
};
template <int V> struct Rows<0, V> {
  const float* p;
  long long pitch;
  int from, to;
  __device__ __forceinline__ void set(const float* p_, long long pitch_, int from_, int to_) {
    p = p_;
    pitch = pitch_;
    from = from_;
    to = to_;
  }
  __device__ __forceinline__ float at(int i, int l) const { return i >= from && i < to ? p[(i - from) * pitch + l] : 0.0f; }
};

// Padding of a window: so many rows of one value; 0 rows for none.
struct Pad {
  int rows;
  float value;
};

template <int CAP, int V> struct Cell {
  float top[V], sums[V], y[V];
  __device__ __forceinline__ void set(const Rows<CAP, V>& x, int count, Pad pad) {
#pragma unroll
    for (int l = 0; l < V; l++) {
      top[l] = pad.rows > 0 ? pad.value : -INFINITY;
      sums[l] = 0.0f;
      y[l] = 0.0f;
    }
    each_row<CAP>(count, [&](int i) {
#pragma unroll
      for (int l = 0; l < V; l++) top[l] = x.at(i, l) > top[l] ? x.at(i, l) : top[l];
    });
    each_row<CAP>(count, [&](int i) {
#pragma unroll
      for (int l = 0; l < V; l++) {
        const float e = expf(x.at(i, l) - top[l]);
        sums[l] += e;
        y[l] = fmaf(e, x.at(i, l), y[l]);
      }
    });
    if (pad.rows > 0) {
#pragma unroll
      for (int l = 0; l < V; l++) {
        const float all = expf(pad.value - top[l]) * (float)pad.rows;
        sums[l] += all;
        y[l] = fmaf(all, pad.value, y[l]);
      }
    }
#pragma unroll
    for (int l = 0; l < V; l++) y[l] = y[l] / sums[l];
  }
  // Gradient of a row of value v; share = dy / sums.
  __device__ __forceinline__ float gradient(float v, int l, float share) const { return expf(v - top[l]) * share * (v - y[l] + 1.0f); }
};

template <int CAP, int V> struct Reference {
  Rows<CAP, V> x;
  Rows<CAP, V> weights;               // CAP = 0: not used, computed again
  float top[V], inverse[V], y[V];
  float rest[V];                      // what rounding left of y, sum w (x - y): the delta form stands on that being 0
  float pad_weight[V];                // of all padding rows together
  Pad pad;
  int count;

  __device__ __forceinline__ float weight(int i, int l) const {
    if constexpr (CAP > 0) {
      return weights.at(i, l);
    } else {
      return expf(x.at(i, l) - top[l]) * inverse[l];
    }
  }

  __device__ __forceinline__ void set(const Rows<CAP, V>& window, int rows, Pad padding) {
    count = rows;
    pad = padding;
    x = window;
    Cell<CAP, V> cell;
    cell.set(x, rows, padding);
#pragma unroll
    for (int l = 0; l < V; l++) {
      top[l] = cell.top[l];
      inverse[l] = 1.0f / cell.sums[l];
      y[l] = cell.y[l];
      rest[l] = 0.0f;
      pad_weight[l] = pad.rows > 0 ? expf(pad.value - top[l]) * inverse[l] * (float)pad.rows : 0.0f;
    }
    each_row<CAP>(count, [&](int i) {
#pragma unroll
      for (int l = 0; l < V; l++) {
        if constexpr (CAP > 0) weights.v[i][l] = expf(x.at(i, l) - top[l]) * inverse[l];
        rest[l] += weight(i, l) * (x.at(i, l) - y[l]);
      }
    });
    if (pad.rows > 0) {
#pragma unroll
      for (int l = 0; l < V; l++) rest[l] += pad_weight[l] * (pad.value - y[l]);
    }
  }

  // One row with weight w and value v that changes by d, in the sums of the delta form.
  static __device__ __forceinline__ void add(float w, float distance, float d, float& above, float& below, float& largest) {
    const Exponentials x = exponentials(d > DRG_LARGE_CHANGE ? DRG_LARGE_CHANGE : d);
    const float term = fmaf(x.e, d < DRG_EXP_LOW ? DRG_EXP_LOW : d > DRG_LARGE_CHANGE ? DRG_LARGE_CHANGE : d, x.m * distance);
    above = fmaf(w, term, above);
    below = fmaf(w, x.e, below);
    largest = d > largest ? d : largest;
  }

  // Change of y when the rows change by d and the padding by `moved`: sum w (e^d d + (e^d - 1)(x - y)) / sum w e^d. No nearly
  // equal numbers are subtracted, so the error is relative to the change.
  __device__ __forceinline__ void change(const Rows<CAP, V>& d, float moved, float (&out)[V]) const {
    float above[V], below[V], largest[V];
#pragma unroll
    for (int l = 0; l < V; l++) above[l] = below[l] = largest[l] = 0.0f;
    each_row<CAP>(count, [&](int i) {
#pragma unroll
      for (int l = 0; l < V; l++) add(weight(i, l), x.at(i, l) - y[l] - rest[l], d.at(i, l), above[l], below[l], largest[l]);
    });
    if (pad.rows > 0) {
#pragma unroll
      for (int l = 0; l < V; l++) add(pad_weight[l], pad.value - y[l] - rest[l], moved, above[l], below[l], largest[l]);
    }
#pragma unroll
    for (int l = 0; l < V; l++) {
      out[l] = above[l] / below[l];
      if (largest[l] > DRG_LARGE_CHANGE || below[l] < DRG_SMALL_REST) out[l] = resummed(d, moved, l) - rest[l];
    }
  }

  // The change of y as sum of the new weights times x + d - y: for large changes, where no digits are lost that way.
  __device__ __forceinline__ float resummed(const Rows<CAP, V>& d, float moved, int l) const {
    const float padding = pad.value - y[l] + moved;
    float most = pad.rows > 0 ? padding : -INFINITY, sum = 0.0f, above = 0.0f;
    each_row<CAP>(count, [&](int i) {
      const float v = x.at(i, l) - y[l] + d.at(i, l);
      most = v > most ? v : most;
    });
    each_row<CAP>(count, [&](int i) {
      const float v = x.at(i, l) - y[l] + d.at(i, l), e = expf(v - most);
      sum += e;
      above = fmaf(e, v, above);
    });
    if (pad.rows > 0) {
      const float e = expf(padding - most) * (float)pad.rows;
      sum += e;
      above = fmaf(e, padding, above);
    }
    return above / sum;
  }
};
